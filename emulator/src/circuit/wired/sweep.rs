//! Output currents of a network with equal segments, by sweeping over the array once per iteration.
//!
//! The iteration is `c ← T_c⁻¹·(b_c + D·T_r⁻¹·(b_r + D·c))` (block Gauss–Seidel on rows and columns). Its column solve
//! eliminates in the direction in which the row solves deliver, and substitutes back in the opposite one, so that one
//! pass over a single field does everything, upwards and downwards in turn. What conjugate gradients gain comes from
//! the outputs alone: they are extrapolated over all iterations so far (reduced-rank extrapolation; Smith, Ford & Sidi,
//! SIAM Review 29, 199, 1987), per vector, so that a vector's result doesn't depend on which others are solved with it.
//! Here one vector is solved; `batch` makes the same sweeps with several.
//!
//! Scaled such that every segment conducts 1: rows by `√(G_r·G_c)/G_r`, columns by 1, devices by `√(G_r·G_c)`.

use alloc::vec::Vec;

use super::batch::Batch;
use super::coarse::{Coarse, Corrections, Straight};
use super::extrapolation::Extrapolation;
use super::lanes::Lanes;
use super::pass::{CORRECTED, FIRST, PLAIN, pass};
use super::{Convergence, PANEL, Source, Wiring};
use crate::circuit::CircuitError;

pub(super) const MOST_SWEEPS: u32 = 1_000;
/// From this size on the coarse array is worth its price.
const FEWEST_CELLS_WITH_COARSE: usize = 128 * 128;

/// A network prepared for sweeps.
#[derive(Default)]
pub(super) struct Sweeper {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// What the outputs end in.
    pub(super) sources: Vec<Source>,
    /// Scaled device conductances in panels.
    pub(super) device: Lanes<f64, PANEL>,
    /// 1/pivot of the rows, in panels.
    pub(super) row: Lanes<f64, PANEL>,
    /// 1/pivot of the columns eliminated from the top, row-major.
    pub(super) downwards: Vec<f64>,
    /// 1/pivot of the columns eliminated from the bottom, row-major.
    pub(super) upwards: Vec<f64>,
    /// What makes a row's left voltages the scaled currents into its first cell.
    pub(super) left: Vec<f64>,
    /// Scaled currents into the rows' last cells.
    pub(super) right: Vec<f64>,
    /// Scaled currents into the columns' first and last cells.
    pub(super) top: Vec<f64>,
    pub(super) bottom: Vec<f64>,
    pub(super) coarse: Option<Coarse>,
}

/// Conductances of what the lines' ends see, scaled to segments of 1.
pub(super) struct Sources {
    pub(super) left: Vec<f64>,
    pub(super) right: Vec<f64>,
    pub(super) top: Vec<f64>,
    pub(super) bottom: Vec<f64>,
}

/// The fields of one vector.
#[derive(Default)]
pub(super) struct Fields {
    /// Currents into the columns, eliminated so far as the last pass went; row-major.
    pub(super) cells: Lanes<f64, 1>,
    /// One panel of rows.
    pub(super) panel: Lanes<f64, PANEL>,
    /// Behind the pass: voltages of the last row, and what its elimination carries on.
    pub(super) volts: Lanes<f64, 1>,
    pub(super) carried: Lanes<f64, 1>,
    /// Column voltages of the bottom row.
    pub(super) outputs: Lanes<f64, 1>,
    /// What the coarse array adds.
    pub(super) straight: Straight<f64, 1>,
}

impl Fields {
    /// Makes room; what an earlier solution left is never read.
    pub(super) fn fit(&mut self, rows: usize, columns: usize) {
        self.cells.resize(rows * columns);
        self.panel.resize(columns);
        for lines in [&mut self.volts, &mut self.carried, &mut self.outputs] {
            lines.resize(columns);
        }
        self.straight.resize(columns);
    }
}

/// Memory for solutions, kept from one to the next.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) one: Fields,
    batch: Batch,
}

/// 1/pivot of one step of an elimination over segments of 1 S from a cell that sees `own` to the ground beside the
/// segment `ahead`, and what the next cell sees behind that segment.
#[inline(always)]
fn eliminate(own: f64, ahead: f64) -> (f64, f64) {
    let pivot = own + ahead;
    // A cell connected to nothing stays at 0 V.
    let inverse = if pivot > 0.0 { 1.0 / pivot } else { 0.0 };
    (inverse, own * inverse)
}

/// Scaled conductances and 1/pivot of rows and columns, from unscaled ones and what scales rows, columns and the coupling.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2"))]
fn factorise(sweeper: &mut Sweeper, conductance: &[f64], scales: [f64; 3], ends: &Sources) {
    let [row_scale, column_scale, scale] = scales;
    let (rows, columns) = (sweeper.rows, sweeper.columns);
    for panel in 0..rows.div_ceil(PANEL) {
        let start = panel * PANEL;
        let height = PANEL.min(rows - start);
        let device = &mut sweeper.device[panel * columns..][..columns];
        let (mut behind, mut last) = ([0.0; PANEL], [0.0; PANEL]);
        if height < PANEL {
            device.fill([0.0; PANEL]);
        }
        for k in 0..height {
            let row = &conductance[(start + k) * columns..][..columns];
            for (cell, g) in device.iter_mut().zip(row) {
                cell[k] = g * scale;
            }
            behind[k] = ends.left[start + k];
            last[k] = ends.right[start + k];
        }
        // From the scaled conductance of a device to the one that its row sees.
        let to_row = row_scale / scale;
        let inverse = &mut sweeper.row[panel * columns..][..columns];
        for j in 0..columns {
            let ahead = if j + 1 == columns { last } else { [1.0; PANEL] };
            for k in 0..PANEL {
                (inverse[j][k], behind[k]) = eliminate(device[j][k] * to_row + behind[k], ahead[k]);
            }
        }
    }
    for up in [false, true] {
        let (inverses, near, far) = if up {
            (&mut sweeper.upwards, &ends.bottom, &ends.top)
        } else {
            (&mut sweeper.downwards, &ends.top, &ends.bottom)
        };
        let mut behind = near.clone();
        for step in 0..rows {
            let i = if up { rows - 1 - step } else { step };
            let device = &conductance[i * columns..][..columns];
            let inverse = &mut inverses[i * columns..][..columns];
            let (behind, far) = (&mut behind[..columns], &far[..columns]);
            if step + 1 == rows {
                for j in 0..columns {
                    (inverse[j], behind[j]) = eliminate(device[j] * column_scale + behind[j], far[j]);
                }
            } else {
                for j in 0..columns {
                    (inverse[j], behind[j]) = eliminate(device[j] * column_scale + behind[j], 1.0);
                }
            }
        }
    }
}

impl Sweeper {
    /// Takes over a network, for checked arguments; segments of `row_siemens` and `column_siemens`. Memory of an earlier one
    /// is used again.
    pub(super) fn prepare(
        &mut self,
        conductance: &[f64],
        wiring: &Wiring<'_>,
        row_siemens: f64,
        column_siemens: f64,
    ) {
        let (rows, columns) = (wiring.left.len(), wiring.bottom.len());
        (self.rows, self.columns) = (rows, columns);
        let [left, right] = [(wiring.left, 0), (wiring.right, columns)]
            .map(|(lines, end)| Source::all(lines, wiring.row_segments, columns, end));
        let [top, bottom] = [(wiring.top, 0), (wiring.bottom, rows)]
            .map(|(lines, end)| Source::all(lines, wiring.column_segments, rows, end));
        let scaled =
            |ends: &[Source], siemens: f64| ends.iter().map(|end| end.siemens / siemens).collect::<Vec<_>>();
        let ends = Sources {
            left: scaled(&left, row_siemens),
            right: scaled(&right, row_siemens),
            top: scaled(&top, column_siemens),
            bottom: scaled(&bottom, column_siemens),
        };
        let coupling = libm::sqrt(row_siemens * column_siemens);
        let row_scale = coupling / row_siemens / column_siemens;
        self.left = left.iter().map(|source| source.siemens * row_scale).collect();
        self.right = right.iter().map(|source| source.amperes() * row_scale).collect();
        self.top = top.iter().map(|source| source.amperes() / column_siemens).collect();
        self.bottom = bottom.iter().map(|source| source.amperes() / column_siemens).collect();
        self.sources = bottom;
        let scales = [1.0 / row_siemens, 1.0 / column_siemens, 1.0 / coupling];
        let panels = rows.div_ceil(PANEL);
        self.device.resize(panels * columns);
        self.row.resize(panels * columns);
        self.downwards.resize(rows * columns, 0.0);
        self.upwards.resize(rows * columns, 0.0);
        factorise(self, conductance, scales, &ends);
        self.coarse =
            (rows * columns >= FEWEST_CELLS_WITH_COARSE).then(|| Coarse::new(conductance, scales, &ends));
    }

    /// Any number of vectors, `[vector][row]` (V) to `[vector][column]` (A).
    pub(super) fn solve(
        &self,
        memory: &mut Memory,
        left_volts: &[f64],
        tolerance: f64,
        currents: &mut [f64],
    ) -> Result<Convergence, CircuitError> {
        if left_volts.len() > self.rows {
            return memory.batch.solve(self, left_volts, tolerance, currents);
        }
        if left_volts.is_empty() {
            return Ok(Convergence::default());
        }
        self.solve_one(&mut memory.one, left_volts.as_chunks().0, tolerance, currents.as_chunks_mut().0)
    }

    /// One vector of left voltages (V): currents out of the bottom ends (A).
    fn solve_one(
        &self,
        fields: &mut Fields,
        left_volts: &[[f64; 1]],
        tolerance: f64,
        currents: &mut [[f64; 1]],
    ) -> Result<Convergence, CircuitError> {
        fields.fit(self.rows, self.columns);
        let mut corrections = self.coarse.as_ref().map(Coarse::corrections_by_row);
        let mut coarse = self.coarse.as_ref().zip(corrections.as_mut());
        let mut extrapolation = Extrapolation::<1>::new(&self.sources);
        if let Some((coarse, corrections)) = &mut coarse {
            coarse.start(corrections, &self.top, &self.bottom);
        }
        pass::<true, FIRST>(self, fields, left_volts, coarse.as_mut().map(|(a, b)| (*a, &mut **b)));
        let mut up = false;
        let mut sweeps = 0;
        loop {
            if let Some((coarse, corrections)) = &mut coarse {
                coarse.correct(corrections);
            }
            if !up {
                match &mut coarse {
                    Some((coarse, corrections)) => {
                        pass::<false, CORRECTED>(self, fields, left_volts, Some((coarse, corrections)));
                    }
                    None => pass::<false, PLAIN>(self, fields, left_volts, None),
                }
            }
            self.outputs(fields, &mut coarse, up);
            sweeps += 1;
            extrapolation.add(&fields.outputs, tolerance);
            let residual = extrapolation.residual();
            if extrapolation.is_done() {
                extrapolation.currents(currents);
                return Ok(Convergence { residual, iterations: sweeps });
            }
            if sweeps == MOST_SWEEPS || !residual.is_finite() {
                return Err(CircuitError::NotConverged { residual, tolerance, iterations: sweeps });
            }
            if up {
                match &mut coarse {
                    Some((coarse, corrections)) => {
                        pass::<true, CORRECTED>(self, fields, left_volts, Some((coarse, corrections)));
                    }
                    None => pass::<true, PLAIN>(self, fields, left_volts, None),
                }
            }
            up = !up;
        }
    }

    /// Column voltages of the bottom row: what a pass upwards begins with, or one downwards has ended with.
    pub(super) fn outputs(
        &self,
        fields: &mut Fields,
        coarse: &mut Option<(&Coarse, &mut Corrections<1>)>,
        up: bool,
    ) {
        let last = (self.rows - 1) * self.columns;
        if up {
            let (cells, inverses) = (&fields.cells[last..], &self.downwards[last..]);
            for ((([output], [cell]), inverse), source) in
                fields.outputs.iter_mut().zip(cells).zip(inverses).zip(&self.bottom)
            {
                *output = inverse * (cell + source);
            }
        } else {
            fields.outputs.copy_from_slice(&fields.volts);
        }
        if let Some((coarse, corrections)) = coarse {
            coarse.interpolate(&corrections.correction, coarse.stretch(self.rows - 1), &mut fields.straight);
            fields.straight.add_at(self.rows - 1, &mut fields.outputs);
        }
    }
}
