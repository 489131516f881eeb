//! The gains that in-circuit programming leaves to be made up for, in a file: `ohmrig program --in-circuit` writes it, `ohmrig mvm`
//! multiplies by it.

use super::Failure;
use crate::calibration::LineGains;
use crate::instrument::Instrument;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// As in the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LineGainsFile {
    /// Board that they are of.
    board: String,
    /// Id of the calibration that products were corrected by when they were fitted; `None` for nominal ones.
    calibration: Option<String>,
    /// For the inputs, by row; the largest is 1.
    rows: Vec<f64>,
    /// For the outputs, by column.
    columns: Vec<f64>,
}

impl LineGainsFile {
    pub(super) fn new(board: &str, calibration: Option<String>, gains: &LineGains) -> Self {
        Self {
            board: board.to_owned(),
            calibration,
            rows: gains.rows.to_vec(),
            columns: gains.columns.to_vec(),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(Failure::failed)?;
        std::fs::write(path, text).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
    }

    /// Reads a file and refuses gains that no array has.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let text =
            std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
        let file: Self = serde_json::from_str(&text).map_err(|error| {
            Failure::usage(format!(
                "{name}: {error}: these are no line gains; `ohmrig program --in-circuit --line-gains FILE` writes some"
            ))
        })?;
        // Inputs that grew could pass the limit of reads.
        for (line, gains, most) in [("row", &file.rows, 1.0), ("column", &file.columns, f64::MAX)] {
            let wrong = gains.iter().position(|&gain| !(gain > 0.0 && gain <= most));
            if let Some(at) = wrong {
                let allowed = if most == 1.0 { "above 0 and at most 1" } else { "above 0" };
                return Err(Failure::usage(format!(
                    "{name}: the gain of {line} {at} is {}; it must be {allowed}",
                    gains[at]
                )));
            }
        }
        Ok(file)
    }

    /// Refuses gains of another board or size.
    pub(super) fn require(&self, instrument: &Instrument) -> Result<(), Failure> {
        let device = instrument.device();
        if self.board != device.board {
            return Err(Failure::usage(format!(
                "the line gains are of board `{}`, this is `{}`; program this one with --in-circuit",
                self.board, device.board
            )));
        }
        let (rows, columns) = (usize::from(device.rows), usize::from(device.columns));
        if (self.rows.len(), self.columns.len()) != (rows, columns) {
            return Err(Failure::usage(format!(
                "the line gains are of {} rows and {} columns, this board has {rows} and {columns}; program this one with \
                 --in-circuit",
                self.rows.len(),
                self.columns.len()
            )));
        }
        Ok(())
    }

    /// What is known about products when they were fitted: a calibration's id, or `None`.
    pub(super) fn calibration(&self) -> Option<&str> {
        self.calibration.as_deref()
    }

    /// Inputs (vectors, rows) scaled to each row.
    pub(super) fn inputs(&self, wanted: ArrayView2<'_, f64>) -> Array2<f64> {
        &wanted * &Array1::from(self.rows.clone())
    }

    /// Outputs (vectors, columns) scaled by each column's gain.
    pub(super) fn outputs(&self, currents: Array2<f64>) -> Array2<f64> {
        currents * &Array1::from(self.columns.clone())
    }

    /// What a matrix (rows, columns) is between scaled inputs and scaled outputs.
    pub(super) fn matrix(&self, siemens: ArrayView2<'_, f64>) -> Array2<f64> {
        self.outputs(&siemens * &Array1::from(self.rows.clone()).insert_axis(Axis(1)))
    }

    /// (1, rows) and (1, columns), for the run file.
    pub(super) fn arrays(&self) -> (Array2<f64>, Array2<f64>) {
        let line = |gains: &[f64]| Array1::from(gains.to_vec()).insert_axis(Axis(0));
        (line(&self.rows), line(&self.columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn scaled_inputs_times_the_matrix_times_the_outputs_gains_is_the_scaled_matrix() {
        let file = LineGainsFile {
            board: "b".to_owned(),
            calibration: None,
            rows: vec![1.0, 0.5],
            columns: vec![2.0, 3.0],
        };
        let (matrix, inputs) = (array![[1.0, 2.0], [3.0, 4.0]], array![[0.5, -0.25]]);
        let outputs = file.outputs(file.inputs(inputs.view()).dot(&matrix));
        assert_eq!(outputs, inputs.dot(&file.matrix(matrix.view())));
        assert_eq!(file.matrix(matrix.view()), array![[2.0, 6.0], [3.0, 6.0]]);
    }
}
