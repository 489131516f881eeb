//! Output currents of a network with equal segments, by sweeping over the array once per iteration.
//!
//! The iteration is `c ← T_c⁻¹·(b_c + D·T_r⁻¹·(b_r + D·c))` (block Gauss–Seidel on rows and columns). Its column solve
//! eliminates in the direction in which the row solves deliver, and substitutes back in the opposite one, so that one
//! pass over a single field does everything, upwards and downwards in turn. What conjugate gradients gain comes from
//! the outputs alone: they are extrapolated over all iterations so far (reduced-rank extrapolation; Smith, Ford & Sidi,
//! SIAM Review 29, 199, 1987), per vector, so that a vector's result doesn't depend on which others are solved with it.
//!
//! Scaled such that every segment conducts 1: rows by `√(G_r·G_c)/G_r`, columns by 1, devices by `√(G_r·G_c)`.

use alloc::vec;
use alloc::vec::Vec;

use super::extrapolation::Extrapolation;
use super::{Convergence, PANEL, Source, Wiring};
use crate::circuit::CircuitError;

/// Rows whose carries fit the registers when several vectors are side by side.
const SOME: usize = 4;
const MOST_SWEEPS: u32 = 1_000;

/// Up to this size, four vectors are solved side by side; their field takes 2 MB. Above, wider fields only wait for
/// memory.
const MOST_CELLS_BY_FOUR: usize = 256 * 256;

/// A network prepared for sweeps.
pub(super) struct Sweeper {
    rows: usize,
    columns: usize,
    /// What the outputs end in.
    sources: Vec<Source>,
    /// Scaled device conductances in panels.
    device: Vec<[f64; PANEL]>,
    /// 1/pivot of the rows, in panels.
    row: Vec<[f64; PANEL]>,
    /// 1/pivot of the columns eliminated from the top, row-major.
    downwards: Vec<f64>,
    /// 1/pivot of the columns eliminated from the bottom, row-major.
    upwards: Vec<f64>,
    /// What makes a row's left voltages the scaled currents into its first cell.
    left: Vec<f64>,
    /// Scaled currents into the rows' last cells.
    right: Vec<f64>,
    /// Scaled currents into the columns' first and last cells.
    top: Vec<f64>,
    bottom: Vec<f64>,
}

/// The fields of `L` vectors.
struct Fields<const L: usize> {
    /// Currents into the columns, eliminated so far as the last pass went; row-major.
    cells: Vec<[f64; L]>,
    /// One panel of rows.
    panel: Vec<[[f64; L]; PANEL]>,
    /// Behind the pass: voltages of the last row, and what its elimination carries on.
    volts: Vec<[f64; L]>,
    carried: Vec<[f64; L]>,
    /// Column voltages of the bottom row.
    outputs: Vec<[f64; L]>,
}

impl<const L: usize> Fields<L> {
    fn new(rows: usize, columns: usize) -> Self {
        Self {
            cells: vec![[0.0; L]; rows * columns],
            panel: vec![[[0.0; L]; PANEL]; columns],
            volts: vec![[0.0; L]; columns],
            carried: vec![[0.0; L]; columns],
            outputs: vec![[0.0; L]; columns],
        }
    }
}

/// 1/pivot of one step of an elimination over segments of 1 S from a cell that sees `own` to the ground beside the
/// segment `ahead`, and what the next cell sees behind that segment.
fn eliminate(own: f64, ahead: f64) -> (f64, f64) {
    let pivot = own + ahead;
    // A cell connected to nothing stays at 0 V.
    let inverse = if pivot > 0.0 { 1.0 / pivot } else { 0.0 };
    (inverse, own * inverse)
}

impl Sweeper {
    /// For checked arguments; segments of `row_siemens` and `column_siemens`.
    pub(super) fn new(
        conductance: &[f64],
        wiring: &Wiring<'_>,
        row_siemens: f64,
        column_siemens: f64,
    ) -> Self {
        let (rows, columns) = (wiring.left.len(), wiring.bottom.len());
        let [left, right] = [(wiring.left, 0), (wiring.right, columns)]
            .map(|(lines, end)| Source::all(lines, wiring.row_segments, columns, end));
        let [top, bottom] = [(wiring.top, 0), (wiring.bottom, rows)]
            .map(|(lines, end)| Source::all(lines, wiring.column_segments, rows, end));
        let row_scale = libm::sqrt(row_siemens / column_siemens) / row_siemens;
        let mut sweeper = Self {
            rows,
            columns,
            device: Vec::new(),
            row: Vec::new(),
            downwards: vec![0.0; rows * columns],
            upwards: vec![0.0; rows * columns],
            left: left.iter().map(|source| source.siemens * row_scale).collect(),
            right: right.iter().map(|source| source.amperes() * row_scale).collect(),
            top: top.iter().map(|source| source.amperes() / column_siemens).collect(),
            bottom: bottom.iter().map(|source| source.amperes() / column_siemens).collect(),
            sources: Vec::new(),
        };
        sweeper.factorise_rows(conductance, row_siemens, column_siemens, &left, &right);
        let factorise = |inverses: &mut [f64], near: &[Source], far: &[Source], up: bool| {
            let mut behind: Vec<f64> = near.iter().map(|source| source.siemens / column_siemens).collect();
            let ends: Vec<f64> = far.iter().map(|source| source.siemens / column_siemens).collect();
            let scale = 1.0 / column_siemens;
            for step in 0..rows {
                let i = if up { rows - 1 - step } else { step };
                let device = &conductance[i * columns..][..columns];
                let inverse = &mut inverses[i * columns..][..columns];
                let (behind, ends) = (&mut behind[..columns], &ends[..columns]);
                let last = step + 1 == rows;
                for j in 0..columns {
                    let ahead = if last { ends[j] } else { 1.0 };
                    (inverse[j], behind[j]) = eliminate(device[j] * scale + behind[j], ahead);
                }
            }
        };
        factorise(&mut sweeper.downwards, &top, &bottom, false);
        factorise(&mut sweeper.upwards, &bottom, &top, true);
        sweeper.sources = bottom;
        sweeper
    }

    fn factorise_rows(
        &mut self,
        conductance: &[f64],
        row_siemens: f64,
        column_siemens: f64,
        left: &[Source],
        right: &[Source],
    ) {
        let (rows, columns) = (self.rows, self.columns);
        let panels = rows.div_ceil(PANEL);
        self.device = vec![[0.0; PANEL]; panels * columns];
        self.row = vec![[0.0; PANEL]; panels * columns];
        let scale = 1.0 / libm::sqrt(row_siemens * column_siemens);
        // From the scaled conductance of a device to the one that its row sees.
        let row_scale = libm::sqrt(column_siemens / row_siemens);
        for panel in 0..panels {
            let height = PANEL.min(rows - panel * PANEL);
            let device = &mut self.device[panel * columns..][..columns];
            let (mut behind, mut ends) = ([0.0; PANEL], [0.0; PANEL]);
            for k in 0..height {
                let i = panel * PANEL + k;
                let row = &conductance[i * columns..][..columns];
                for (cell, g) in device.iter_mut().zip(row) {
                    cell[k] = g * scale;
                }
                behind[k] = left[i].siemens / row_siemens;
                ends[k] = right[i].siemens / row_siemens;
            }
            let inverse = &mut self.row[panel * columns..][..columns];
            for j in 0..columns {
                let ahead = if j + 1 == columns { ends } else { [1.0; PANEL] };
                for k in 0..PANEL {
                    (inverse[j][k], behind[k]) = eliminate(device[j][k] * row_scale + behind[k], ahead[k]);
                }
            }
        }
    }

    /// Any number of vectors, `[vector][row]` (V) to `[vector][column]` (A).
    pub(super) fn solve(
        &self,
        left_volts: &[f64],
        tolerance: f64,
        currents: &mut [f64],
    ) -> Result<Convergence, CircuitError> {
        // Every vector's arithmetic is the same at any width.
        let together = if self.rows * self.columns <= MOST_CELLS_BY_FOUR { 4 } else { 2 };
        let vectors = left_volts.len() / self.rows;
        let whole = vectors / together * together;
        let (volts, last_volts) = left_volts.split_at(whole * self.rows);
        let (currents, last_currents) = currents.split_at_mut(whole * self.columns);
        let first = match together {
            4 => self.solve_by::<4>(volts, tolerance, currents)?,
            _ => self.solve_by::<2>(volts, tolerance, currents)?,
        };
        Ok(first.worse(self.solve_by::<1>(last_volts, tolerance, last_currents)?))
    }

    /// A multiple of `L` vectors.
    fn solve_by<const L: usize>(
        &self,
        left_volts: &[f64],
        tolerance: f64,
        currents: &mut [f64],
    ) -> Result<Convergence, CircuitError> {
        let mut worst = Convergence::default();
        if left_volts.is_empty() {
            return Ok(worst);
        }
        let mut fields = Fields::<L>::new(self.rows, self.columns);
        let mut volts = vec![[0.0; L]; self.rows];
        let mut outputs = vec![[0.0; L]; self.columns];
        for (given, currents) in
            left_volts.chunks_exact(self.rows * L).zip(currents.chunks_exact_mut(self.columns * L))
        {
            for (i, lanes) in volts.iter_mut().enumerate() {
                for (l, lane) in lanes.iter_mut().enumerate() {
                    *lane = given[l * self.rows + i];
                }
            }
            worst = worst.worse(self.run(&mut fields, &volts, tolerance, &mut outputs)?);
            for (j, lanes) in outputs.iter().enumerate() {
                for (l, lane) in lanes.iter().enumerate() {
                    currents[l * self.columns + j] = *lane;
                }
            }
        }
        Ok(worst)
    }

    /// Solves for `L` vectors of left voltages (`[row][vector]`, V): currents out of the bottom ends (A).
    fn run<const L: usize>(
        &self,
        fields: &mut Fields<L>,
        left_volts: &[[f64; L]],
        tolerance: f64,
        currents: &mut [[f64; L]],
    ) -> Result<Convergence, CircuitError> {
        let mut extrapolation = Extrapolation::<L>::new(&self.sources);
        // Voltages of 0 V and no elimination so far: what the first pass reads is multiplied by its zero voltages.
        fields.cells.fill([0.0; L]);
        self.pass::<L, true>(fields, left_volts, true);
        let mut up = false;
        let mut sweeps = 0;
        loop {
            if up {
                self.pass::<L, true>(fields, left_volts, false);
            } else {
                self.pass::<L, false>(fields, left_volts, false);
            }
            up = !up;
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
        }
    }

    /// One pass: substitutes the columns back, solves the rows, and eliminates the columns for the next pass, which
    /// goes the other way. The `first` pass starts from columns at 0 V.
    fn pass<const L: usize, const UP: bool>(
        &self,
        fields: &mut Fields<L>,
        left_volts: &[[f64; L]],
        first: bool,
    ) {
        let (rows, columns) = (self.rows, self.columns);
        let (volts, carried) = (&mut fields.volts[..columns], &mut fields.carried[..columns]);
        // A pass upwards reads what was eliminated from the top: its last source is the bottom one; and the reverse.
        let (near, inverse_before, inverse_after) = if UP {
            (&self.bottom, &self.downwards, &self.upwards)
        } else {
            (&self.top, &self.upwards, &self.downwards)
        };
        for j in 0..columns {
            volts[j] = [near[j]; L];
            carried[j] = [near[j]; L];
        }
        let panels = rows.div_ceil(PANEL);
        for step in 0..panels {
            let panel = if UP { panels - 1 - step } else { step };
            let start = panel * PANEL;
            let height = PANEL.min(rows - start);
            let cells = &mut fields.panel[..columns];
            if height < PANEL {
                cells.fill([[0.0; L]; PANEL]);
            }
            for step in 0..height {
                let k = if UP { height - 1 - step } else { step };
                let row = (start + k) * columns;
                let inverse = &inverse_before[row..][..columns];
                let field = &fields.cells[row..][..columns];
                for j in 0..columns {
                    let (field, before) = (field[j], volts[j]);
                    let mut now = [0.0; L];
                    for l in 0..L {
                        now[l] = inverse[j] * (field[l] + before[l]);
                    }
                    volts[j] = now;
                    cells[j][k] = now;
                }
                if start + k == rows - 1 {
                    fields.outputs.copy_from_slice(volts);
                }
            }
            if first {
                cells.fill([[0.0; L]; PANEL]);
            }
            self.solve_rows(panel, height, left_volts, cells);
            for step in 0..height {
                let k = if UP { height - 1 - step } else { step };
                let row = (start + k) * columns;
                let inverse = &inverse_after[row..][..columns];
                let field = &mut fields.cells[row..][..columns];
                for j in 0..columns {
                    let (mut eliminated, mut onwards) = (cells[j][k], carried[j]);
                    for l in 0..L {
                        eliminated[l] += onwards[l];
                        onwards[l] = inverse[j] * eliminated[l];
                    }
                    field[j] = eliminated;
                    carried[j] = onwards;
                }
            }
        }
    }

    /// From a panel's column voltages to the currents that its rows drive into the columns, in place.
    #[inline(always)]
    fn solve_rows<const L: usize>(
        &self,
        panel: usize,
        height: usize,
        left_volts: &[[f64; L]],
        cells: &mut [[[f64; L]; PANEL]],
    ) {
        let columns = cells.len();
        let device = &self.device[panel * columns..][..columns];
        let inverse = &self.row[panel * columns..][..columns];
        // As many rows at once as their carries fit the registers.
        if L == 1 {
            self.solve_some::<L, PANEL>(panel, 0, height, left_volts, device, inverse, cells);
        } else {
            for first in (0..height).step_by(SOME) {
                self.solve_some::<L, SOME>(panel, first, height, left_volts, device, inverse, cells);
            }
        }
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn solve_some<const L: usize, const K: usize>(
        &self,
        panel: usize,
        first: usize,
        height: usize,
        left_volts: &[[f64; L]],
        device: &[[f64; PANEL]],
        inverse: &[[f64; PANEL]],
        cells: &mut [[[f64; L]; PANEL]],
    ) {
        let columns = cells.len();
        let (device, inverse) = (&device[..columns], &inverse[..columns]);
        let mut carry = [[0.0; L]; K];
        let mut after = [[0.0; L]; K];
        for k in 0..K.min(height - first) {
            let row = panel * PANEL + first + k;
            after[k] = [self.right[row]; L];
            for l in 0..L {
                carry[k][l] = self.left[row] * left_volts[row][l];
            }
        }
        for j in 0..columns {
            for k in 0..K {
                for l in 0..L {
                    let eliminated = device[j][first + k] * cells[j][first + k][l] + carry[k][l];
                    cells[j][first + k][l] = eliminated;
                    carry[k][l] = inverse[j][first + k] * eliminated;
                }
            }
        }
        for j in (0..columns).rev() {
            for k in 0..K {
                for l in 0..L {
                    after[k][l] = inverse[j][first + k] * (cells[j][first + k][l] + after[k][l]);
                    cells[j][first + k][l] = device[j][first + k] * after[k][l];
                }
            }
        }
    }
}
