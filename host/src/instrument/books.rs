//! What is written down about jobs while they run, so that another process can take them up: their numbers before they
//! are sent, their cells as results come in.

use ndarray::Array2;
use ohmrig_protocol::message::{CellResult, JobEnd, JobId, Outcome, Region};

/// A job that is about to be sent, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobNote {
    /// Its number.
    pub id: JobId,
    /// The pass it belongs to, counted from 0.
    pub pass: u8,
    /// Its cells.
    pub region: Region,
    /// The boot of the device it was sent to.
    pub boot_nonce: u64,
}

/// What a job did to a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellDone {
    /// Row of the array.
    pub row: u16,
    /// Column of the array.
    pub column: u16,
    /// Its result. `Pending` with pulses is a cell that the job's end interrupted.
    pub result: CellResult,
}

/// A job that an earlier process sent.
#[derive(Clone, Debug, PartialEq)]
pub struct PastJob {
    /// What was written down before it was sent.
    pub note: JobNote,
    /// Results that were written down.
    pub cells: Vec<CellDone>,
    /// Whether its end, and with it every result, was written down.
    pub ended: bool,
}

/// Whoever keeps the books. An error stops the order; a job that can't be written down is not sent.
pub trait Books {
    /// Before a job is sent.
    ///
    /// # Errors
    /// One line.
    fn sending(&mut self, job: &JobNote) -> Result<(), String>;

    /// Results of cells that a running job has finished.
    ///
    /// # Errors
    /// One line.
    fn results(&mut self, job: JobId, cells: &[CellDone]) -> Result<(), String>;

    /// The end of a job, with the results that weren't reported before; `None` if the device doesn't know it (any more).
    ///
    /// # Errors
    /// One line.
    fn ended(&mut self, job: JobId, cells: &[CellDone], end: Option<JobEnd>) -> Result<(), String>;
}

/// Nobody keeps books.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBooks;

impl Books for NoBooks {
    fn sending(&mut self, _: &JobNote) -> Result<(), String> {
        Ok(())
    }

    fn results(&mut self, _: JobId, _: &[CellDone]) -> Result<(), String> {
        Ok(())
    }

    fn ended(&mut self, _: JobId, _: &[CellDone], _: Option<JobEnd>) -> Result<(), String> {
        Ok(())
    }
}

/// What is known about each cell of a pass after the device was reset in the middle of it: (row, column) of the array.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResetCells {
    /// The job that the reset ended.
    pub job: u64,
    /// The pass it belonged to, counted from 0.
    pub pass: u8,
    /// Certainly done: the results were received.
    pub done: Vec<(u16, u16)>,
    /// Certainly not touched in this pass: no job with them was sent.
    pub not_done: Vec<(u16, u16)>,
    /// Of the job that was lost, result not received: untouched, in the middle, or done.
    pub unknown: Vec<(u16, u16)>,
}

impl ResetCells {
    /// Sorts the cells of an order: `left` are those whose result is missing, (rows, columns) from `origin` on.
    pub(super) fn new(note: &JobNote, origin: (u16, u16), left: &Array2<bool>) -> Self {
        let mut cells = Self { job: note.id.0, pass: note.pass, ..Self::default() };
        for ((row, column), &left) in left.indexed_iter() {
            let cell = (origin.0 + row as u16, origin.1 + column as u16);
            let list = match (left, contains(note.region, cell)) {
                (false, _) => &mut cells.done,
                (true, true) => &mut cells.unknown,
                (true, false) => &mut cells.not_done,
            };
            list.push(cell);
        }
        cells
    }
}

fn contains(region: Region, (row, column): (u16, u16)) -> bool {
    (region.row..region.row + region.rows).contains(&row)
        && (region.column..region.column + region.columns).contains(&column)
}

/// Whether a result is a cell's last one of a job that was to work on it.
pub(super) fn is_final(result: &CellResult) -> bool {
    !matches!(result.outcome, Outcome::Pending | Outcome::Skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_reset_a_cell_is_done_not_done_or_unknown() {
        let region = Region { row: 0, column: 0, rows: 2, columns: 1 };
        let note = JobNote { id: JobId(1), pass: 0, region, boot_nonce: 2 };
        let left = Array2::from_shape_fn((2, 2), |(row, column)| (row, column) != (0, 0));
        let cells = ResetCells::new(&note, (0, 0), &left);
        assert_eq!(cells.done, [(0, 0)]);
        assert_eq!(cells.unknown, [(1, 0)]);
        assert_eq!(cells.not_done, [(0, 1), (1, 1)]);
    }
}
