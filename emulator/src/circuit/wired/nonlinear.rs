//! Sweeps for devices whose current isn't proportional to the voltage.
//!
//! Every device is a conductance in parallel to a current that makes up for the rest: `I(u) = g·u + (I(u) − g·u)`. The
//! conductances are linearised twice (at the input voltages, and after a sweep, when the drops are known), and factorised;
//! from then on each sweep evaluates the devices where it meets them, and takes the rest from there (a chord method with one
//! step per sweep). The rest's own convergence is faster than the sweeps', so that the count of these hardly grows.

use alloc::vec;
use alloc::vec::Vec;

use super::coarse::Coarse;
use super::extrapolation::Extrapolation;
use super::pass::{CORRECTED, FIRST, PLAIN, RESUMED, nonlinear_pass};
use super::{Convergence, PANEL, Wiring, Workspace};
use crate::circuit::CurrentLaw;

/// More than any array needs on which the linearisation holds; others are left to Newton's method.
const MOST_SWEEPS: u32 = 40;
/// Sweeps before the devices are linearised for good.
const EARLY_SWEEPS: u32 = 1;
/// Looser, the sweeps may end before the devices' rest has begun to settle.
const LOOSEST: f64 = 1e-6;
/// No device conducts better than this (S).
const STEEPEST: f64 = 1e9;

/// The devices and what they carry besides their linear part; in panels.
pub(super) struct Devices {
    law: CurrentLaw,
    columns: usize,
    /// Small-signal conductance (S).
    conductance: Vec<[f64; PANEL]>,
    /// Differential conductance of the linear part, scaled to the columns' segments.
    slope: Vec<[f64; PANEL]>,
    /// Current in parallel to the linear part, from row to column, scaled to the columns' segments.
    rest: Vec<[f64; PANEL]>,
    /// Voltage across (V).
    volts: Vec<[f64; PANEL]>,
    /// Column voltages, row-major (V), for [`RESUMED`].
    kept: Vec<f64>,
    keeps: bool,
    /// Column voltages of the panel at hand.
    column: Vec<[f64; PANEL]>,
    /// From currents scaled to columns to those scaled to rows.
    to_rows: f64,
    /// From scaled row voltages to volts.
    row_volts: f64,
    /// From amperes to currents scaled to the columns' segments.
    amperes: f64,
}

/// The devices of one panel.
pub(super) struct PanelDevices<'a> {
    law: CurrentLaw,
    conductance: &'a [[f64; PANEL]],
    slope: &'a [[f64; PANEL]],
    rest: &'a mut [[f64; PANEL]],
    volts: &'a mut [[f64; PANEL]],
    column: &'a [[f64; PANEL]],
    to_rows: f64,
    row_volts: f64,
    amperes: f64,
}

impl PanelDevices<'_> {
    /// What drives the rows in a column of the panel, from its linear part.
    #[inline(always)]
    pub(super) fn row_currents(&self, j: usize, linear: [f64; PANEL]) -> [f64; PANEL] {
        let mut currents = linear;
        for k in 0..PANEL {
            currents[k] -= self.to_rows * self.rest[j][k];
        }
        currents
    }

    /// What drives the columns: evaluates the devices at the rows' new voltages.
    #[inline(always)]
    pub(super) fn column_currents(
        &mut self,
        j: usize,
        row: [f64; PANEL],
        linear: [f64; PANEL],
    ) -> [f64; PANEL] {
        let mut volts = [0.0; PANEL];
        for k in 0..PANEL {
            volts[k] = self.row_volts * row[k] - self.column[j][k];
        }
        let amperes = self.law.currents(self.conductance[j], volts);
        let mut currents = linear;
        let mut rest = [0.0; PANEL];
        for k in 0..PANEL {
            rest[k] = self.amperes * amperes[k] - self.slope[j][k] * volts[k];
            currents[k] += rest[k];
        }
        self.rest[j] = rest;
        self.volts[j] = volts;
        currents
    }
}

impl Devices {
    fn new(conductance: &[f64], columns: usize, law: CurrentLaw, siemens: [f64; 2]) -> Self {
        let [row_siemens, column_siemens] = siemens;
        let rows = conductance.len() / columns;
        let panels = rows.div_ceil(PANEL) * columns;
        let mut devices = Self {
            law,
            columns,
            conductance: vec![[0.0; PANEL]; panels],
            slope: vec![[0.0; PANEL]; panels],
            rest: vec![[0.0; PANEL]; panels],
            volts: vec![[0.0; PANEL]; panels],
            kept: vec![0.0; rows * columns],
            keeps: false,
            column: vec![[0.0; PANEL]; columns],
            to_rows: libm::sqrt(column_siemens / row_siemens),
            row_volts: libm::sqrt(column_siemens / row_siemens),
            amperes: 1.0 / column_siemens,
        };
        panelled(conductance, columns, 1.0, &mut devices.conductance);
        devices
    }

    /// Linearises at `volts` (row-major): the conductances for the sweeps (S), if there are any.
    fn linearise(&mut self, conductance: &[f64], volts: &[f64]) -> Option<Vec<f64>> {
        let (mut slope, mut rest) = (vec![0.0; volts.len()], vec![0.0; volts.len()]);
        self.law.linearise(conductance, volts, &mut slope, &mut rest);
        if slope.iter().any(|slope| !(0.0..=STEEPEST).contains(slope)) {
            return None;
        }
        panelled(&slope, self.columns, self.amperes, &mut self.slope);
        panelled(&rest, self.columns, self.amperes, &mut self.rest);
        Some(slope)
    }

    /// Voltages across the devices, row-major (V).
    fn volts(&self) -> Vec<f64> {
        let mut volts = vec![0.0; self.kept.len()];
        for (at, volts) in volts.iter_mut().enumerate() {
            let (i, j) = (at / self.columns, at % self.columns);
            *volts = self.volts[i / PANEL * self.columns + j][i % PANEL];
        }
        volts
    }

    /// Puts the kept column voltages into a panel.
    pub(super) fn restore(&self, start: usize, height: usize, cells: &mut [[f64; PANEL]]) {
        for k in 0..height {
            let row = &self.kept[(start + k) * self.columns..][..self.columns];
            for (cell, kept) in cells.iter_mut().zip(row) {
                cell[k] = *kept;
            }
        }
    }

    /// The devices of a panel that is about to be solved from `cells`.
    #[inline(always)]
    pub(super) fn panel(
        &mut self,
        panel: usize,
        start: usize,
        height: usize,
        cells: &[[f64; PANEL]],
    ) -> PanelDevices<'_> {
        let columns = self.columns;
        self.column.copy_from_slice(cells);
        if self.keeps {
            for k in 0..height {
                let row = &mut self.kept[(start + k) * columns..][..columns];
                for (kept, cell) in row.iter_mut().zip(&self.column) {
                    *kept = cell[k];
                }
            }
        }
        let at = panel * columns;
        PanelDevices {
            law: self.law,
            conductance: &self.conductance[at..][..columns],
            slope: &self.slope[at..][..columns],
            rest: &mut self.rest[at..][..columns],
            volts: &mut self.volts[at..][..columns],
            column: &self.column[..columns],
            to_rows: self.to_rows,
            row_volts: self.row_volts,
            amperes: self.amperes,
        }
    }
}

/// Row-major values times `scale`, in panels.
fn panelled(values: &[f64], columns: usize, scale: f64, panels: &mut [[f64; PANEL]]) {
    for (panel, rows) in panels.chunks_exact_mut(columns).zip(values.chunks(PANEL * columns)) {
        for (k, row) in rows.chunks_exact(columns).enumerate() {
            for (cell, value) in panel.iter_mut().zip(row) {
                cell[k] = value * scale;
            }
        }
    }
}

/// Output currents (A) for one vector of left voltages (V), all other ends as `wiring` says; for checked arguments. `None` if
/// the sweeps don't get there.
#[allow(clippy::too_many_arguments)]
pub(super) fn solve(
    workspace: &mut Workspace,
    conductance: &[f64],
    law: CurrentLaw,
    wiring: &Wiring<'_>,
    siemens: [f64; 2],
    left_volts: &[f64],
    tolerance: f64,
    currents: &mut [f64],
) -> Option<Convergence> {
    let [row_siemens, column_siemens] = siemens;
    let (rows, columns) = (left_volts.len(), currents.len());
    let mut devices = Devices::new(conductance, columns, law, siemens);
    let Workspace { sweeper, memory } = workspace;
    let fields = &mut memory.one;
    fields.fit(rows, columns);
    let (left_lanes, _) = left_volts.as_chunks::<1>();
    // As if nothing dropped along the lines.
    let mut volts = Vec::with_capacity(conductance.len());
    for (line, volts_of_row) in wiring.left.iter().zip(left_volts) {
        let row = line.volts().map_or(0.0, |_| *volts_of_row);
        volts.extend(wiring.bottom.iter().map(|column| row - column.volts().unwrap_or(0.0)));
    }
    let tolerance = tolerance.min(LOOSEST);
    let mut sweeps = 0;
    for last in [false, true] {
        let slope = devices.linearise(conductance, &volts)?;
        sweeper.prepare(&slope, wiring, row_siemens, column_siemens);
        let sweeper = &*sweeper;
        let mut corrections = sweeper.coarse.as_ref().map(Coarse::corrections_by_row);
        let mut coarse = sweeper.coarse.as_ref().zip(corrections.as_mut());
        if let Some((coarse, corrections)) = &mut coarse {
            coarse.start(corrections, &sweeper.top, &sweeper.bottom);
        }
        let mut extrapolation = Extrapolation::<1>::new(&sweeper.sources);
        devices.keeps = false;
        if last {
            extrapolation.start(&fields.outputs);
            let coarse = coarse.as_mut().map(|(a, b)| (*a, &mut **b));
            nonlinear_pass::<true, RESUMED>(sweeper, fields, left_lanes, coarse, &mut devices);
        } else {
            let coarse = coarse.as_mut().map(|(a, b)| (*a, &mut **b));
            nonlinear_pass::<true, FIRST>(sweeper, fields, left_lanes, coarse, &mut devices);
        }
        let mut up = false;
        for sweep in 1..=MOST_SWEEPS {
            devices.keeps = !last && sweep == EARLY_SWEEPS;
            if let Some((coarse, corrections)) = &mut coarse {
                if last && sweep == 1 {
                    coarse.resume(corrections);
                } else {
                    coarse.correct(corrections);
                }
            }
            if !up {
                match &mut coarse {
                    Some((coarse, corrections)) => {
                        let coarse = Some((*coarse, &mut **corrections));
                        nonlinear_pass::<false, CORRECTED>(sweeper, fields, left_lanes, coarse, &mut devices);
                    }
                    None => nonlinear_pass::<false, PLAIN>(sweeper, fields, left_lanes, None, &mut devices),
                }
            }
            sweeper.outputs(fields, &mut coarse, up);
            sweeps += 1;
            if devices.keeps {
                break;
            }
            extrapolation.add(&fields.outputs, tolerance);
            let residual = extrapolation.residual();
            if extrapolation.is_done() {
                extrapolation.currents(currents.as_chunks_mut::<1>().0);
                return Some(Convergence { residual, iterations: sweeps });
            }
            if !residual.is_finite() {
                return None;
            }
            if up {
                match &mut coarse {
                    Some((coarse, corrections)) => {
                        let coarse = Some((*coarse, &mut **corrections));
                        nonlinear_pass::<true, CORRECTED>(sweeper, fields, left_lanes, coarse, &mut devices);
                    }
                    None => nonlinear_pass::<true, PLAIN>(sweeper, fields, left_lanes, None, &mut devices),
                }
            }
            up = !up;
        }
        volts = devices.volts();
    }
    None
}
