//! The effective matrix of an array with resistive wires: what a column's output gains per volt of a row's source, line
//! resistance and sneak paths included. An MVM is then one product.

use alloc::vec;
use alloc::vec::Vec;

use crate::circuit::wired::{self, Segments, Wiring};
use crate::circuit::{CircuitError, Line};
use crate::crossbar::Lines;

/// I_j = offset_j + Σ_i matrix_ij·V_i for fixed column sources.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// Row-major (S).
    matrix: Vec<f64>,
    /// Output currents with every row source at 0 V (A).
    offset: Vec<f64>,
}

fn volts(line: &Line) -> f64 {
    line.volts().unwrap_or(0.0)
}

impl Effective {
    /// Solves the network once per row. It stays valid while conductances, column sources and row resistances do.
    ///
    /// # Errors
    /// Impossible values or a network that doesn't converge.
    pub fn new(
        conductance: &[f64],
        row_segments: &Segments,
        column_segments: &Segments,
        lines: &Lines<'_>,
        tolerance: f64,
    ) -> Result<Self, CircuitError> {
        let (rows, columns) = (lines.rows.len(), lines.columns.len());
        let (open_rows, open_columns) = (vec![Line::Floating; rows], vec![Line::Floating; columns]);
        let mut wiring = Wiring {
            row_segments,
            column_segments,
            left: lines.rows,
            right: &open_rows,
            top: &open_columns,
            bottom: lines.columns,
        };
        let mut offset = vec![0.0; columns];
        wired::currents(conductance, &wiring, &vec![0.0; rows], tolerance, &mut offset)?;

        let grounded: Vec<Line> = lines.columns.iter().map(Line::grounded).collect();
        wiring.bottom = &grounded;
        let mut unit = vec![0.0; rows * rows];
        unit.iter_mut().step_by(rows + 1).for_each(|volts| *volts = 1.0);
        let mut matrix = vec![0.0; rows * columns];
        wired::currents(conductance, &wiring, &unit, tolerance, &mut matrix)?;
        Ok(Self { matrix, offset })
    }

    /// Currents out of the columns (A).
    pub fn currents(&self, lines: &Lines<'_>, currents: &mut [f64]) {
        currents.copy_from_slice(&self.offset);
        for (line, gains) in lines.rows.iter().zip(self.matrix.chunks_exact(self.offset.len())) {
            for (current, gain) in currents.iter_mut().zip(gains) {
                *current += volts(line) * gain;
            }
        }
    }

    /// The current of every cell (row-major, A) as it adds to its column's output.
    ///
    /// Taken as V_row − V_column of the sources times the cell's entry of the matrix: what other rows' currents drop
    /// along the lines changes a cell's voltage in second order only.
    pub fn cell_currents(&self, lines: &Lines<'_>) -> Vec<f64> {
        let rows = lines.rows.iter().zip(self.matrix.chunks_exact(self.offset.len()));
        rows.flat_map(|(row, gains)| {
            let cells = gains.iter().zip(lines.columns);
            cells.map(move |(gain, column)| gain * (volts(row) - volts(column)))
        })
        .collect()
    }
}
