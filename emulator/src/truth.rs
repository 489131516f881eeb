//! What the emulated cells really are and went through, for tests and `--truth` files; never visible to firmware.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::device::Condition;

/// The ground truth of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellTruth {
    /// Row (word line), from 0.
    pub row: u16,
    /// Column (bit line), from 0.
    pub col: u16,
    /// Small-signal conductance at this moment, without read noise (S).
    pub conductance_s: f64,
    /// Write edges during which the cell's voltage passed its switching threshold.
    pub pulses: u64,
    /// The largest |V_row − V_column| that was ever across the cell (V).
    pub max_abs_v: f64,
    /// Whether it works.
    pub condition: Condition,
}

/// The ground truth of a whole array, row by row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// One entry per cell.
    pub cells: Vec<CellTruth>,
}

impl FromIterator<CellTruth> for Truth {
    fn from_iter<I: IntoIterator<Item = CellTruth>>(cells: I) -> Self {
        Self { cells: cells.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::{CellTruth, Condition, Truth};

    #[test]
    fn a_truth_file_has_exactly_the_documented_fields() {
        let condition = Condition::Stuck;
        let cell = CellTruth { row: 1, col: 2, conductance_s: 1e-5, pulses: 3, max_abs_v: 0.5, condition };
        let text = serde_json::to_string(&Truth { cells: alloc::vec![cell] }).unwrap();
        assert_eq!(
            text,
            r#"{"cells":[{"row":1,"col":2,"conductance_s":0.00001,"pulses":3,"max_abs_v":0.5,"condition":"stuck"}]}"#
        );
    }
}
