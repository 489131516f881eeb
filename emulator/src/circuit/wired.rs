//! The network when the array's wires have resistance: two unknown voltages per cell, exact to the stated tolerance.
//!
//! With T_r and T_c the tridiagonal equations of all rows and all columns (wire segments, sources and the devices'
//! conductances D on the diagonal), the node voltages w (row side) and c (column side) obey
//! `T_r·w − D·c = b_r` and `T_c·c − D·w = b_c`. Eliminating the rows leaves `S·c = b_c + D·T_r⁻¹·b_r` with
//! `S = T_c − D·T_r⁻¹·D`, symmetric and positive, which conjugate gradients preconditioned by T_c solve in a few
//! iterations: a wire segment conducts far better than a device, so nearly all of the network's stiffness lies along
//! the lines, where both solves are exact. The single-reduction form of Chronopoulos & Gear (J. Comput. Appl. Math.
//! 25, 153, 1989) makes one iteration two passes over the array: `descend` from the top row to the bottom one
//! (residual, forward elimination of the columns) and `ascend` back (back-substitution of the columns, and both
//! sweeps of the rows, [`PANEL`] rows side by side).
//!
//! Where all segments are equal and only output currents are asked for, [`currents()`] needs no residual and no search
//! direction: `sweep` passes over one field alone, and extrapolates the outputs.
//!
//! Sums are taken in fixed lanes and nothing is fused, so that the result doesn't depend on the target's vector width.

// Several arrays of fixed width run along one index: the loops that the compiler turns into vectors read best so.
#![allow(clippy::needless_range_loop)]

use alloc::vec;
use alloc::vec::Vec;

mod batch;
mod coarse;
mod extrapolation;
mod iteration;
mod lanes;
mod nonlinear;
mod pass;
mod sweep;
#[cfg(test)]
mod tests;

use iteration::Iteration;
use sweep::{Memory, Sweeper};

use super::{CircuitError, CurrentLaw, Line, check_length, check_lines};

/// Rows that are eliminated side by side.
pub const PANEL: usize = 8;

/// Resistance of the wire segments of all rows or all columns (Ω, 0.001 or more).
#[derive(Clone, Debug, PartialEq)]
pub enum Segments {
    /// The same everywhere.
    Uniform(f64),
    /// One by one: a line with n cells has n + 1 segments, the first between its first end (left, top) and its
    /// first cell, the last between its last cell and its last end. Line by line.
    Each(Vec<f64>),
}

/// What the array is wired with and connected to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wiring<'a> {
    /// Segments of the rows.
    pub row_segments: &'a Segments,
    /// Segments of the columns.
    pub column_segments: &'a Segments,
    /// Left ends of the rows.
    pub left: &'a [Line],
    /// Right ends of the rows.
    pub right: &'a [Line],
    /// Top ends of the columns.
    pub top: &'a [Line],
    /// Bottom ends of the columns, the outputs.
    pub bottom: &'a [Line],
}

impl Wiring<'_> {
    /// Rows and columns, if everything fits them and is possible.
    fn check(&self, conductance: &[f64]) -> Result<(usize, usize), CircuitError> {
        let (rows, columns) = (self.left.len(), self.bottom.len());
        check_lines("left end", self.left, rows)?;
        check_lines("right end", self.right, rows)?;
        check_lines("top end", self.top, columns)?;
        check_lines("bottom end", self.bottom, columns)?;
        self.row_segments.check("row segment", rows, columns)?;
        self.column_segments.check("column segment", columns, rows)?;
        check_length("conductances", conductance.len(), rows * columns)?;
        let possible = |g: &f64| (0.0..=1e12).contains(g);
        // Without a way out of the loop it runs on vectors.
        if !conductance.iter().fold(true, |all, g| all & possible(g))
            && let Some((index, &value)) = conductance.iter().enumerate().find(|(_, g)| !possible(g))
        {
            return Err(CircuitError::Value { what: "conductance", index, value, allowed: "0 to 1e12 S" });
        }
        Ok((rows, columns))
    }
}

/// How a solution was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Convergence {
    /// Largest estimated error of an output current (or, where all node voltages were asked for, of a node voltage),
    /// relative to it.
    pub residual: f64,
    /// Iterations made.
    pub iterations: u32,
}

impl Convergence {
    fn worse(self, other: Self) -> Self {
        Self {
            residual: self.residual.max(other.residual),
            iterations: self.iterations.max(other.iterations),
        }
    }
}

/// All node voltages, and the currents that follow from them.
#[derive(Clone, Debug, PartialEq)]
pub struct Potentials {
    /// Row side of every device, row-major (V).
    pub rows: Vec<f64>,
    /// Column side of every device, row-major (V).
    pub columns: Vec<f64>,
    /// Out of each column's bottom end into its source (A); 0 where that end floats.
    pub bottom: Vec<f64>,
    /// How it was reached.
    pub convergence: Convergence,
}

/// An array of linear devices with its wires and the kind of its sources, factorised: answers any source voltages.
#[derive(Clone, Debug)]
pub struct Network {
    rows: usize,
    columns: usize,
    /// Device conductances in panels: `[panel · columns + column][row in panel]` (S).
    device: Vec<[f64; PANEL]>,
    /// 1/pivot of the rows' elimination, as `device` (Ω).
    row_inverse: Vec<[f64; PANEL]>,
    /// Multiplier from the cell to the left, as `device`, with one more entry per panel so that the cell to the
    /// right of the last one has the multiplier 0.
    row_ratio: Vec<[f64; PANEL]>,
    /// 1/pivot of the columns' elimination, row-major (Ω).
    column_inverse: Vec<f64>,
    /// Multiplier from the cell above, row-major, with one more row of zeros.
    column_ratio: Vec<f64>,
    left: Vec<Source>,
    right: Vec<Source>,
    top: Vec<Source>,
    bottom: Vec<Source>,
}

/// The end of a line: conductance to the outside (S, 0 for an open end) and voltage there (V).
#[derive(Clone, Copy, Debug)]
struct Source {
    siemens: f64,
    volts: f64,
}

impl Source {
    fn new(line: Line, segment_ohm: f64) -> Self {
        match line {
            Line::Driven { volts, ohms } => Self { siemens: 1.0 / (ohms + segment_ohm), volts },
            Line::Floating => Self { siemens: 0.0, volts: 0.0 },
        }
    }

    /// The ends of all lines of one direction, at `segment`.
    fn all(lines: &[Line], segments: &Segments, cells: usize, segment: usize) -> Vec<Self> {
        let each = lines.iter().enumerate();
        each.map(|(index, &line)| Self::new(line, segments.ohm(index, cells, segment))).collect()
    }

    fn amperes(&self) -> f64 {
        self.siemens * self.volts
    }
}

impl Segments {
    fn check(&self, what: &'static str, lines: usize, cells: usize) -> Result<(), CircuitError> {
        let check = |index, ohm: f64| {
            let allowed = "0.001 to 1e9 Ω";
            if (1e-3..=1e9).contains(&ohm) {
                Ok(())
            } else {
                Err(CircuitError::Value { what, index, value: ohm, allowed })
            }
        };
        match self {
            Self::Uniform(ohm) => check(0, *ohm),
            Self::Each(each) => {
                check_length(what, each.len(), lines * (cells + 1))?;
                each.iter().enumerate().try_for_each(|(index, &ohm)| check(index, ohm))
            }
        }
    }

    fn ohm(&self, line: usize, cells: usize, segment: usize) -> f64 {
        match self {
            Self::Uniform(ohm) => *ohm,
            Self::Each(each) => each[line * (cells + 1) + segment],
        }
    }
}

/// One step of an elimination that never subtracts: from the conductance `behind` towards everything already
/// eliminated (own device included) and that of the segment `ahead`, 1/pivot, the multiplier for the next cell, and
/// what the next cell sees behind the segment.
fn eliminate(behind: f64, ahead: f64) -> (f64, f64, f64) {
    let pivot = behind + ahead;
    // A cell connected to nothing stays at 0 V.
    let inverse = if pivot > 0.0 { 1.0 / pivot } else { 0.0 };
    let ratio = ahead * inverse;
    (inverse, ratio, behind * ratio)
}

/// Output currents alone, `[vector][row]` (V) at the left ends to `[vector][column]` (A) out of the bottom ones, for any
/// number of vectors of one network. All other ends keep the voltages of `wiring`. Each current is within `tolerance`
/// relative of its exact value. Among others a vector's currents are the same to the bit whatever these are and however many; a
/// single vector takes other steps, and agrees with the same one in a batch within the tolerance.
///
/// # Errors
/// Wrong lengths, impossible values or [`CircuitError::NotConverged`].
pub fn currents(
    conductance: &[f64],
    wiring: &Wiring<'_>,
    left_volts: &[f64],
    tolerance: f64,
    currents: &mut [f64],
) -> Result<Convergence, CircuitError> {
    Workspace::default().currents(conductance, wiring, left_volts, tolerance, currents)
}

/// Memory that one solution leaves to the next: fresh memory costs a large array a quarter of its time.
#[derive(Default)]
pub struct Workspace {
    sweeper: Sweeper,
    memory: Memory,
}

impl Workspace {
    /// What [`currents()`] says.
    ///
    /// # Errors
    /// Wrong lengths, impossible values or [`CircuitError::NotConverged`].
    pub fn currents(
        &mut self,
        conductance: &[f64],
        wiring: &Wiring<'_>,
        left_volts: &[f64],
        tolerance: f64,
        currents: &mut [f64],
    ) -> Result<Convergence, CircuitError> {
        let (Segments::Uniform(row_ohm), Segments::Uniform(column_ohm)) =
            (wiring.row_segments, wiring.column_segments)
        else {
            return Network::new(conductance, wiring)?.currents_each(left_volts, tolerance, currents);
        };
        let (rows, columns) = wiring.check(conductance)?;
        let vectors = left_volts.len() / rows.max(1);
        check_length("left voltages", left_volts.len(), vectors * rows)?;
        check_length("currents", currents.len(), vectors * columns)?;
        self.sweeper.prepare(conductance, wiring, 1.0 / row_ohm, 1.0 / column_ohm);
        self.sweeper.solve(&mut self.memory, left_volts, tolerance, currents)
    }

    /// The same for one vector and devices of `law`, if it can be had by sweeps: equal segments, and a law that a
    /// linearisation at nearly the right voltages describes. `None` leaves it to Newton's method.
    ///
    /// # Errors
    /// Wrong lengths or impossible values.
    pub fn nonlinear_currents(
        &mut self,
        conductance: &[f64],
        law: CurrentLaw,
        wiring: &Wiring<'_>,
        left_volts: &[f64],
        tolerance: f64,
        currents: &mut [f64],
    ) -> Result<Option<Convergence>, CircuitError> {
        let (Segments::Uniform(row_ohm), Segments::Uniform(column_ohm)) =
            (wiring.row_segments, wiring.column_segments)
        else {
            return Ok(None);
        };
        let (rows, columns) = wiring.check(conductance)?;
        check_length("left voltages", left_volts.len(), rows)?;
        check_length("currents", currents.len(), columns)?;
        let siemens = [1.0 / row_ohm, 1.0 / column_ohm];
        Ok(nonlinear::solve(self, conductance, law, wiring, siemens, left_volts, tolerance, currents))
    }
}

impl Network {
    /// Factorises the network for `conductance` (row-major, S, 0 or more).
    ///
    /// # Errors
    /// Wrong lengths or impossible values.
    pub fn new(conductance: &[f64], wiring: &Wiring<'_>) -> Result<Self, CircuitError> {
        let (rows, columns) = wiring.check(conductance)?;
        let mut network = Self {
            rows,
            columns,
            device: Vec::new(),
            row_inverse: Vec::new(),
            row_ratio: Vec::new(),
            column_inverse: Vec::new(),
            column_ratio: Vec::new(),
            left: Source::all(wiring.left, wiring.row_segments, columns, 0),
            right: Source::all(wiring.right, wiring.row_segments, columns, columns),
            top: Source::all(wiring.top, wiring.column_segments, rows, 0),
            bottom: Source::all(wiring.bottom, wiring.column_segments, rows, rows),
        };
        network.factorise_rows(conductance, wiring.row_segments);
        network.factorise_columns(conductance, wiring.column_segments);
        Ok(network)
    }

    fn factorise_rows(&mut self, conductance: &[f64], segments: &Segments) {
        let (rows, columns) = (self.rows, self.columns);
        let panels = rows.div_ceil(PANEL);
        self.device = vec![[0.0; PANEL]; panels * columns];
        self.row_inverse = vec![[0.0; PANEL]; panels * columns];
        self.row_ratio = vec![[0.0; PANEL]; panels * (columns + 1)];
        for panel in 0..panels {
            let height = PANEL.min(rows - panel * PANEL);
            let device = &mut self.device[panel * columns..][..columns];
            for k in 0..height {
                let row = &conductance[(panel * PANEL + k) * columns..][..columns];
                for (cell, g) in device.iter_mut().zip(row) {
                    cell[k] = *g;
                }
            }
            let inverse = &mut self.row_inverse[panel * columns..][..columns];
            let ratio = &mut self.row_ratio[panel * (columns + 1)..][..columns + 1];
            let mut behind = [0.0; PANEL];
            let mut last = [0.0; PANEL];
            for k in 0..height {
                behind[k] = self.left[panel * PANEL + k].siemens;
                last[k] = self.right[panel * PANEL + k].siemens;
            }
            let mut ahead = [0.0; PANEL];
            if let Segments::Uniform(ohm) = segments {
                ahead[..height].fill(1.0 / ohm);
            }
            for j in 0..columns {
                if j + 1 == columns {
                    ahead = last;
                } else if let Segments::Each(_) = segments {
                    for (k, ahead) in ahead[..height].iter_mut().enumerate() {
                        *ahead = 1.0 / segments.ohm(panel * PANEL + k, columns, j + 1);
                    }
                }
                for k in 0..PANEL {
                    let (i, r, b) = eliminate(device[j][k] + behind[k], ahead[k]);
                    (inverse[j][k], ratio[j + 1][k], behind[k]) = (i, r, b);
                }
            }
            // The far end is no cell to substitute back from.
            ratio[columns] = [0.0; PANEL];
        }
    }

    fn factorise_columns(&mut self, conductance: &[f64], segments: &Segments) {
        let (rows, columns) = (self.rows, self.columns);
        self.column_inverse = vec![0.0; rows * columns];
        self.column_ratio = vec![0.0; (rows + 1) * columns];
        let mut behind: Vec<f64> = self.top.iter().map(|source| source.siemens).collect();
        let mut ahead = match segments {
            Segments::Uniform(ohm) => vec![1.0 / ohm; columns],
            Segments::Each(_) => vec![0.0; columns],
        };
        for i in 0..rows {
            if i + 1 == rows {
                for (ahead, source) in ahead.iter_mut().zip(&self.bottom) {
                    *ahead = source.siemens;
                }
            } else if let Segments::Each(_) = segments {
                for (j, ahead) in ahead.iter_mut().enumerate() {
                    *ahead = 1.0 / segments.ohm(j, rows, i + 1);
                }
            }
            let device = &conductance[i * columns..][..columns];
            let inverse = &mut self.column_inverse[i * columns..][..columns];
            let ratio = &mut self.column_ratio[(i + 1) * columns..][..columns];
            let (behind, ahead) = (&mut behind[..columns], &ahead[..columns]);
            for j in 0..columns {
                (inverse[j], ratio[j], behind[j]) = eliminate(device[j] + behind[j], ahead[j]);
            }
        }
        self.column_ratio[rows * columns..].fill(0.0);
    }

    /// Rows of the array.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the array.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Currents out of the bottom ends (A, 0 for a floating one) for `L` vectors of voltages at the left ends at once
    /// (`[row][vector]`, V; those of floating ends don't matter), each within `tolerance` relative of its exact value.
    /// All other ends keep the voltages that the network was made with.
    ///
    /// # Errors
    /// Wrong lengths or [`CircuitError::NotConverged`].
    pub fn currents<const L: usize>(
        &self,
        left_volts: &[[f64; L]],
        tolerance: f64,
        currents: &mut [[f64; L]],
    ) -> Result<Convergence, CircuitError> {
        check_length("left voltages", left_volts.len(), self.rows)?;
        check_length("currents", currents.len(), self.columns)?;
        let mut iteration = Iteration::<L>::new(self);
        let convergence = iteration.run(left_volts, None, tolerance)?;
        currents.copy_from_slice(&iteration.bottom_currents());
        Ok(convergence)
    }

    /// The same for any number of vectors one after another, `[vector][row]` (V) to `[vector][column]` (A).
    ///
    /// # Errors
    /// Wrong lengths or [`CircuitError::NotConverged`].
    pub fn currents_each(
        &self,
        left_volts: &[f64],
        tolerance: f64,
        currents: &mut [f64],
    ) -> Result<Convergence, CircuitError> {
        let vectors = left_volts.len() / self.rows.max(1);
        check_length("left voltages", left_volts.len(), vectors * self.rows)?;
        check_length("currents", currents.len(), vectors * self.columns)?;
        let mut iteration = Iteration::<1>::new(self);
        let mut worst = Convergence::default();
        for (volts, currents) in
            left_volts.chunks_exact(self.rows).zip(currents.chunks_exact_mut(self.columns))
        {
            let convergence = iteration.run(volts.as_chunks::<1>().0, None, tolerance)?;
            worst = worst.worse(convergence);
            currents.as_chunks_mut::<1>().0.copy_from_slice(&iteration.bottom_currents());
        }
        Ok(worst)
    }

    /// All node voltages for `left_volts` at the left ends (V) and, where given, a current `injected` from row to
    /// column in parallel to every device (row-major, A), each node within `tolerance` of the largest source voltage.
    ///
    /// # Errors
    /// Wrong lengths or [`CircuitError::NotConverged`].
    pub fn potentials(
        &self,
        left_volts: &[f64],
        injected: Option<&[f64]>,
        tolerance: f64,
    ) -> Result<Potentials, CircuitError> {
        check_length("left voltages", left_volts.len(), self.rows)?;
        if let Some(injected) = injected {
            check_length("injected currents", injected.len(), self.rows * self.columns)?;
        }
        let (left_volts, _) = left_volts.as_chunks::<1>();
        let mut iteration = Iteration::<1>::new(self);
        let convergence = iteration.run(left_volts, injected, tolerance)?;
        let bottom = iteration.bottom_currents().into_iter().map(|[current]| current).collect();
        let columns: Vec<f64> =
            core::mem::take(&mut iteration.nodes.volts).into_iter().map(|[v]| v).collect();
        let rows = self.row_volts(left_volts, injected, &columns);
        Ok(Potentials { rows, columns, bottom, convergence })
    }

    /// Row-side voltages that belong to `columns`.
    fn row_volts(&self, left_volts: &[[f64; 1]], injected: Option<&[f64]>, columns: &[f64]) -> Vec<f64> {
        let mut volts = vec![0.0; self.rows * self.columns];
        let mut panel_volts = vec![[[0.0; 1]; PANEL]; self.columns];
        for panel in 0..self.rows.div_ceil(PANEL) {
            self.row_sources(panel, left_volts, injected, &mut panel_volts);
            let first = panel * PANEL;
            let height = PANEL.min(self.rows - first);
            let device = &self.device[panel * self.columns..][..self.columns];
            for k in 0..height {
                let row = &columns[(first + k) * self.columns..][..self.columns];
                for ((sum, g), volts) in panel_volts.iter_mut().zip(device).zip(row) {
                    sum[k][0] += g[k] * volts;
                }
            }
            self.row_forward(panel, &mut panel_volts);
            self.row_back(panel, &mut panel_volts);
            for k in 0..height {
                let row = &mut volts[(first + k) * self.columns..][..self.columns];
                for (volts, solved) in row.iter_mut().zip(&panel_volts) {
                    *volts = solved[k][0];
                }
            }
        }
        volts
    }

    /// Currents that sources (and `injected`) feed into the rows of a panel (A).
    fn row_sources<const L: usize>(
        &self,
        panel: usize,
        left_volts: &[[f64; L]],
        injected: Option<&[f64]>,
        amperes: &mut [[[f64; L]; PANEL]],
    ) {
        amperes.fill([[0.0; L]; PANEL]);
        let first = panel * PANEL;
        for k in 0..PANEL.min(self.rows - first) {
            let row = first + k;
            for l in 0..L {
                amperes[0][k][l] += self.left[row].siemens * left_volts[row][l];
                amperes[self.columns - 1][k][l] += self.right[row].amperes();
            }
            if let Some(injected) = injected {
                for (sum, current) in amperes.iter_mut().zip(&injected[row * self.columns..]) {
                    for l in 0..L {
                        sum[k][l] -= current;
                    }
                }
            }
        }
    }

    /// Forward elimination of a panel's rows, in place.
    fn row_forward<const L: usize>(&self, panel: usize, values: &mut [[[f64; L]; PANEL]]) {
        let ratio = &self.row_ratio[panel * (self.columns + 1)..][..self.columns];
        let mut before = [[0.0; L]; PANEL];
        for (value, ratio) in values.iter_mut().zip(ratio) {
            for k in 0..PANEL {
                for l in 0..L {
                    before[k][l] = value[k][l] + ratio[k] * before[k][l];
                }
            }
            *value = before;
        }
    }

    /// Back-substitution of a panel's rows, in place.
    fn row_back<const L: usize>(&self, panel: usize, values: &mut [[[f64; L]; PANEL]]) {
        let inverse = &self.row_inverse[panel * self.columns..][..self.columns];
        let ratio = &self.row_ratio[panel * (self.columns + 1) + 1..][..self.columns];
        let mut after = [[0.0; L]; PANEL];
        for ((value, inverse), ratio) in values.iter_mut().zip(inverse).zip(ratio).rev() {
            for k in 0..PANEL {
                for l in 0..L {
                    after[k][l] = value[k][l] * inverse[k] + ratio[k] * after[k][l];
                }
            }
            *value = after;
        }
    }
}
