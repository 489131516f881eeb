//! The effective matrix of an array with resistive wires: what a column's output gains per volt of a row's source, line
//! resistance and sneak paths included. An MVM is then one product.

use alloc::vec;
use alloc::vec::Vec;

use crate::circuit::wired::{Network, Segments, Wiring};
use crate::circuit::{CircuitError, Line};
use crate::crossbar::Lines;

/// Row sources solved side by side.
const LANES: usize = 4;

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
        let mut currents = vec![[0.0; LANES]; columns];
        Network::new(conductance, &wiring)?.currents(&vec![[0.0; LANES]; rows], tolerance, &mut currents)?;
        let offset = currents.iter().map(|[current, ..]| *current).collect();

        let grounded: Vec<Line> = lines.columns.iter().map(Line::grounded).collect();
        wiring.bottom = &grounded;
        let network = Network::new(conductance, &wiring)?;
        let mut matrix = vec![0.0; rows * columns];
        for (part, gains) in matrix.chunks_mut(LANES * columns).enumerate() {
            let mut unit = vec![[0.0; LANES]; rows];
            for (lane, row) in unit[part * LANES..].iter_mut().take(LANES).enumerate() {
                row[lane] = 1.0;
            }
            network.currents(&unit, tolerance, &mut currents)?;
            for (lane, row) in gains.chunks_exact_mut(columns).enumerate() {
                for (gain, current) in row.iter_mut().zip(&currents) {
                    *gain = current[lane];
                }
            }
        }
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

    /// Standard deviations of the column currents (A) when every cell's conductance deviates by `deviations` (S).
    ///
    /// A cell's own part of its column's current is taken as V_row − V_column times its entry of the matrix: what
    /// other rows' currents drop along the lines changes a cell's voltage in second order only.
    pub fn noise(&self, lines: &Lines<'_>, conductance: &[f64], deviations: &[f64], noise: &mut [f64]) {
        let columns = self.offset.len();
        noise.fill(0.0);
        let cells = self.matrix.chunks_exact(columns).zip(conductance.chunks_exact(columns));
        let cells = cells.zip(deviations.chunks_exact(columns));
        for (row, ((gains, conductance), deviations)) in lines.rows.iter().zip(cells) {
            let cells = gains.iter().zip(conductance).zip(deviations);
            for ((variance, column), ((gain, g), deviation)) in noise.iter_mut().zip(lines.columns).zip(cells)
            {
                // A device that conducts nothing has no noise either.
                let relative = if *g > 0.0 { deviation / g } else { 0.0 };
                let current = relative * gain * (volts(row) - volts(column));
                *variance += current * current;
            }
        }
        for noise in noise {
            *noise = libm::sqrt(*noise);
        }
    }
}
