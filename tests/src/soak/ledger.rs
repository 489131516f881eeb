//! Pulses and voltages of every cell: what commands may have done, and what ground truth says they did.

use ohmrig_emulator::truth::CellTruth;
use std::ops::RangeInclusive;

/// The account of an array's cells, row by row.
pub(super) struct Ledger {
    columns: usize,
    truth: Vec<CellTruth>,
    /// The most that any command so far allowed each cell to see, V.
    allowed_v: Vec<f64>,
}

/// How many pulses each of some cells may have got from a command; all others none.
pub(super) type Expected = Vec<(usize, RangeInclusive<u64>)>;

impl Ledger {
    /// Of a board at rest, whose cells have seen no more than `rest_v`, V.
    pub(super) fn new(columns: u16, truth: Vec<CellTruth>, rest_v: f64) -> Self {
        let allowed_v = vec![rest_v; truth.len()];
        Self { columns: usize::from(columns), truth, allowed_v }
    }

    pub(super) fn index(&self, row: u16, column: u16) -> usize {
        usize::from(row) * self.columns + usize::from(column)
    }

    /// Truth as of the last time.
    pub(super) fn truth(&self) -> &[CellTruth] {
        &self.truth
    }

    /// A command is about to be sent that may put `all_v` across any cell, V.
    pub(super) fn allow(&mut self, all_v: f64) {
        for allowed in &mut self.allowed_v {
            *allowed = allowed.max(all_v);
        }
    }

    /// As [`allow`](Self::allow), one cell.
    pub(super) fn allow_cell(&mut self, cell: usize, volts: f64) {
        self.allowed_v[cell] = self.allowed_v[cell].max(volts);
    }

    /// Compares the cells with what they may have seen, and takes over the new truth. Returns how many pulses came in all.
    pub(super) fn settle(&mut self, now: Vec<CellTruth>, expected: &Expected) -> Result<u64, String> {
        let mut all = 0;
        let mut allowed = vec![0..=0; now.len()];
        for (cell, range) in expected {
            allowed[*cell] = range.clone();
        }
        for (cell, ((now, before), allowed)) in now.iter().zip(&self.truth).zip(allowed).enumerate() {
            let CellTruth { row, col, .. } = *now;
            let came = now.pulses - before.pulses;
            if !allowed.contains(&came) {
                return Err(format!(
                    "cell {row}, {col} got {came} pulses; by what was acknowledged and reported it must be {allowed:?}"
                ));
            }
            if now.max_abs_v > self.allowed_v[cell] {
                return Err(format!(
                    "cell {row}, {col} saw {} V; no command so far allows more than {} V",
                    now.max_abs_v, self.allowed_v[cell]
                ));
            }
            all += came;
        }
        self.truth = now;
        Ok(all)
    }
}
