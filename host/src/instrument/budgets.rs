//! What cells have been through, of which array, and limits that hold for good.

use super::read::REPLY_OVERHEAD;
use super::{Instrument, InstrumentError, unexpected};
use ndarray::Array2;
use ohmrig_protocol::frame::body_bytes;
use ohmrig_protocol::message::{BUDGET_BYTES, CellBudget, Limits, Region, Reply, Request};

/// What the cells of a region have got over all power-ups, (rows, columns); each number is at least what really happened.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetMap {
    /// Write pulses with the cell selected.
    pub pulses: Array2<u32>,
    /// Σ |V|·width of those, V·s.
    pub dose_v_s: Array2<f64>,
    /// Their energy, J.
    pub energy_j: Array2<f64>,
    /// Σ |V|·width while another cell was selected, V·s.
    pub half_select_v_s: Array2<f64>,
}

/// The arrays whose budgets a device keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayList {
    /// How many there is room for.
    pub slots: u8,
    /// Their names; empty for the one nobody named.
    pub names: Vec<String>,
    /// Which of them is plugged in.
    pub plugged: usize,
}

impl Instrument {
    /// What the cells of a region have been through.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn budgets(&mut self, region: Region) -> Result<BudgetMap, InstrumentError> {
        self.check_region(region)?;
        let shape = (usize::from(region.rows), usize::from(region.columns));
        let mut map = BudgetMap {
            pulses: Array2::zeros(shape),
            dose_v_s: Array2::zeros(shape),
            energy_j: Array2::zeros(shape),
            half_select_v_s: Array2::zeros(shape),
        };
        let room = body_bytes(self.client.frame_bytes()).saturating_sub(REPLY_OVERHEAD) / BUDGET_BYTES;
        let parts = parts(region, room);
        self.client.pipeline(parts.iter().map(|part| Request::ReadBudgets(*part)), |index, reply| {
            let part = parts[index];
            let Reply::Budgets { cells } = *reply else { return Err(unexpected("read budgets", reply)) };
            let (cells, rest) = cells.as_chunks::<BUDGET_BYTES>();
            if cells.len() != part.cells() as usize || !rest.is_empty() {
                let (expected, got) =
                    (part.cells() as usize * BUDGET_BYTES, cells.len() * BUDGET_BYTES + rest.len());
                return Err(InstrumentError::Size { request: "read budgets", expected, got });
            }
            for (index, bytes) in cells.iter().enumerate() {
                let columns = usize::from(part.columns);
                let at = [
                    usize::from(part.row - region.row) + index / columns,
                    usize::from(part.column - region.column) + index % columns,
                ];
                let budget = CellBudget::from_bytes(bytes);
                map.pulses[at] = budget.pulses;
                map.dose_v_s[at] = budget.dose as f64 * 1e-9;
                map.energy_j[at] = budget.energy as f64 * 1e-15;
                map.half_select_v_s[at] = budget.half_select as f64 * 1e-9;
            }
            Ok(())
        })?;
        Ok(map)
    }

    /// The arrays whose budgets are kept.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn arrays(&mut self) -> Result<ArrayList, InstrumentError> {
        self.client.request(&Request::ListArrays, |reply| match *reply {
            Reply::Arrays { slots, plugged, mut names } => {
                let mut list = Vec::new();
                while let [length, rest @ ..] = names {
                    let (name, rest) = rest.split_at_checked(usize::from(*length)).unwrap_or((rest, &[]));
                    list.push(String::from_utf8_lossy(name).into_owned());
                    names = rest;
                }
                Ok(ArrayList { slots, names: list, plugged: plugged.into() })
            }
            ref other => Err(unexpected("list arrays", other)),
        })
    }

    /// Says which array is plugged in: its budgets count from now on, and writing has to be armed anew.
    ///
    /// # Errors
    /// [`InstrumentError::Refused`] if the flash has no room for another history.
    pub fn plug_array(&mut self, name: &str) -> Result<(), InstrumentError> {
        self.done(&Request::PlugArray { name }, "plug array")?;
        Ok(self.client.identify()?)
    }

    /// Frees the history of an array that is not plugged in.
    ///
    /// # Errors
    /// [`InstrumentError::Refused`] if it is plugged in or unknown.
    pub fn forget_array(&mut self, name: &str) -> Result<(), InstrumentError> {
        self.done(&Request::ForgetArray { name }, "forget array")
    }

    /// Tightens limits for good: they survive resets, and no request loosens them again.
    ///
    /// # Errors
    /// [`InstrumentError::Refused`] if one is looser than the one in force.
    pub fn tighten_limits(&mut self, limits: Limits) -> Result<(), InstrumentError> {
        self.done(&Request::TightenLimits(limits), "tighten limits")?;
        Ok(self.client.identify()?)
    }
}

/// A region in parts of at most `room` cells: rows together, or pieces of rows.
fn parts(region: Region, room: usize) -> Vec<Region> {
    let room = u16::try_from(room.max(1)).unwrap_or(u16::MAX);
    let columns = region.columns.min(room);
    let rows = (room / columns).clamp(1, region.rows);
    let mut parts = Vec::new();
    for row in (0..region.rows).step_by(rows.into()) {
        for column in (0..region.columns).step_by(columns.into()) {
            parts.push(Region {
                row: region.row + row,
                column: region.column + column,
                rows: rows.min(region.rows - row),
                columns: columns.min(region.columns - column),
            });
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_region_once_and_fit() {
        for (rows, columns, room) in [(1, 1, 1), (16, 16, 72), (3, 256, 72), (256, 1, 72), (7, 5, 100)] {
            let region = Region { row: 2, column: 3, rows, columns };
            let mut seen = Array2::<u8>::zeros((300, 300));
            for part in parts(region, room) {
                assert!(part.cells() as usize <= room);
                for row in part.row..part.row + part.rows {
                    for column in part.column..part.column + part.columns {
                        seen[(row.into(), column.into())] += 1;
                    }
                }
            }
            assert_eq!(seen.iter().filter(|&&n| n == 1).count(), region.cells() as usize);
            assert!(seen.iter().all(|&n| n <= 1));
        }
    }
}
