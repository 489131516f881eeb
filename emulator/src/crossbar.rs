//! The emulated array: devices at the crossings of rows and columns, what the lines' voltages do to them and the
//! currents that come out.

use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::circuit::array::Ends;
use crate::circuit::wired::Segments;
mod reading;
mod recorded;

use recorded::Recorded;

pub use crate::circuit::{CircuitError, Line};
use crate::circuit::{Wires, check_lines, operate};
use crate::device::Device;
use crate::effective::Effective;
use crate::fluctuation::Fluctuations;
use crate::profile::{DeviceProfile, ProfileError};
use crate::random::Random;
use crate::truth::CellTruth;

/// Most rows and most columns.
pub const MOST_LINES: usize = 256;

/// What every line is connected to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lines<'a> {
    /// One per row, at its left end.
    pub rows: &'a [Line],
    /// One per column, at its bottom end.
    pub columns: &'a [Line],
}

/// Why an array can't be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CrossbarError {
    /// Too small or too large.
    #[error("an array of {rows} rows and {columns} columns; allowed is 1 to 256 each")]
    Geometry {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        columns: usize,
    },
    /// The devices are impossible.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

/// Relative error allowed in every output current; with ideal wires the solution is exact to rounding.
const TOLERANCE: f64 = 1e-9;
/// Streams of one seed.
const DEVICES: u64 = 0x6465_7669;
const WRITING: u64 = 0x7772_6974;
const READING: u64 = 0x7265_6164;
const FLUCTUATING: u64 = 0x666c_7563;

/// The array.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Crossbar {
    rows: usize,
    columns: usize,
    profile: DeviceProfile,
    /// Row-major (S).
    conductance: Vec<f64>,
    devices: Vec<Device>,
    max_abs_v: Vec<f64>,
    pulses: Vec<u64>,
    /// Cells that this write edge has already counted; empty before the first edge.
    counted: Vec<bool>,
    /// No conductance has to be worked out anew for the passing of time before this (ns).
    next_aging_ns: u64,
    /// Whether any device is in the middle of a pulse.
    stressed: bool,
    /// No device moves below this |V| (V).
    lowest_threshold_v: f64,
    /// The smallest of `max_abs_v`.
    least_max_abs_v: f64,
    writing: Random,
    reading: Random,
    /// 1/f and telegraph noise.
    fluctuations: Option<Fluctuations>,
    /// Lines that are known not to raise any `max_abs_v`.
    recorded: Option<Recorded>,
    /// The lines that currents were last asked for, and how often their voltages alone have changed since a
    /// conductance or another property of a line did.
    recent: Option<Recent>,
    /// For the lines it was last asked about; dropped whenever a conductance moves.
    #[serde(skip)]
    solution: Option<Solution>,
    /// Taken once the same network was asked so often that it is cheaper; dropped whenever a conductance moves.
    #[serde(skip)]
    effective: Option<Effective>,
    /// Standard deviation of each conductance from sample to sample, relative to it; empty until asked for.
    #[serde(skip)]
    deviations: Vec<f64>,
    /// What the fluctuations need to know of the conductances; empty until asked for.
    #[serde(skip)]
    levels: Vec<f64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Recent {
    rows: Vec<Line>,
    columns: Vec<Line>,
    changes: usize,
}

#[derive(Clone, Debug)]
struct Solution {
    rows: Vec<Line>,
    columns: Vec<Line>,
    /// V_row − V_column of every cell, row-major (V).
    cell_volts: Vec<f64>,
    /// Out of each column into its source (A).
    currents: Vec<f64>,
    /// Through every cell, row-major (A).
    cell_currents: Vec<f64>,
    /// Standard deviation of the white read noise of each column's current (A); empty until asked for.
    noise: Vec<f64>,
}

impl Crossbar {
    /// A fresh array of `rows` × `columns` (1 to 256 each) devices. The same arguments give the same array.
    ///
    /// # Errors
    /// A geometry or a profile that no array could have.
    pub fn new(
        rows: usize,
        columns: usize,
        device: &DeviceProfile,
        seed: u64,
    ) -> Result<Self, CrossbarError> {
        if !(1..=MOST_LINES).contains(&rows) || !(1..=MOST_LINES).contains(&columns) {
            return Err(CrossbarError::Geometry { rows, columns });
        }
        device.validate()?;
        let noise = &device.read_noise;
        let mut random = Random::new(seed, DEVICES);
        let (devices, conductance): (Vec<_>, Vec<_>) =
            (0..rows * columns).map(|_| Device::draw(device, &mut random)).unzip();
        let lowest_threshold_v = devices
            .iter()
            .map(|device| device.threshold_v(1.0).min(device.threshold_v(-1.0)))
            .fold(f64::INFINITY, f64::min);
        Ok(Self {
            rows,
            columns,
            profile: device.clone(),
            max_abs_v: vec![0.0; conductance.len()],
            pulses: vec![0; conductance.len()],
            counted: Vec::new(),
            conductance,
            devices,
            next_aging_ns: u64::MAX,
            stressed: false,
            lowest_threshold_v,
            least_max_abs_v: 0.0,
            writing: Random::new(seed, WRITING),
            reading: Random::new(seed, READING),
            fluctuations: (noise.flicker.is_some() || noise.telegraph.is_some()).then(|| {
                let random = Random::new(seed, FLUCTUATING);
                Fluctuations::new(noise.flicker, noise.telegraph, rows * columns, random)
            }),
            recorded: None,
            recent: None,
            solution: None,
            effective: None,
            deviations: Vec::new(),
            levels: Vec::new(),
        })
    }

    /// Rows (word lines).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns (bit lines).
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Holds the lines constant from `from_ns` to `to_ns`: devices above threshold switch, and largest |V| and pulse
    /// counts are kept. The cell voltages are those at the start of the interval.
    ///
    /// # Errors
    /// Lines that don't fit the array, an interval that ends before it begins, or a network without solution.
    pub fn hold(&mut self, lines: &Lines<'_>, from_ns: u64, to_ns: u64) -> Result<(), CircuitError> {
        let duration_ns = to_ns.checked_sub(from_ns).ok_or(CircuitError::Backwards { from_ns, to_ns })?;
        if duration_ns == 0 {
            return Ok(());
        }
        self.check(lines)?;
        self.age(from_ns);
        // No voltage inside a network of passive devices lies outside those of its sources.
        let driven = || lines.rows.iter().chain(lines.columns).filter_map(Line::volts);
        let bound = driven().fold(f64::NEG_INFINITY, f64::max) - driven().fold(f64::INFINITY, f64::min);
        let harmless = bound <= self.lowest_threshold_v;
        if harmless {
            self.end_pulses();
            if bound <= self.least_max_abs_v
                || self.recorded.as_ref().is_some_and(|known| known.covers(lines))
            {
                return Ok(());
            }
        }
        self.solve(lines)?;
        let Some(solution) = &self.solution else { return Ok(()) };
        let mut least = f64::INFINITY;
        for (largest, volts) in self.max_abs_v.iter_mut().zip(&solution.cell_volts) {
            *largest = largest.max(libm::fabs(*volts));
            least = least.min(*largest);
        }
        self.least_max_abs_v = least;
        self.recorded = Recorded::extend(self.recorded.take(), lines);
        if harmless {
            return Ok(());
        }
        for (((device, volts), counted), pulses) in
            self.devices.iter().zip(&solution.cell_volts).zip(&mut self.counted).zip(&mut self.pulses)
        {
            if !*counted && libm::fabs(*volts) > device.threshold_v(*volts) {
                *counted = true;
                *pulses += 1;
            }
        }
        if let Some(pulse) = &self.profile.pulse {
            let duration_s = duration_ns as f64 * 1e-9;
            let ages =
                self.profile.read_noise.relaxation.is_some() || self.profile.read_noise.drift.is_some();
            let mut stressed = false;
            for ((device, conductance), volts) in
                self.devices.iter_mut().zip(&mut self.conductance).zip(&solution.cell_volts)
            {
                if device.expose(pulse, conductance, *volts, duration_s, &mut self.writing) {
                    stressed = true;
                    if ages {
                        device.settle(*conductance, to_ns, &mut self.writing);
                        self.next_aging_ns = self.next_aging_ns.min(device.due_ns());
                    }
                }
            }
            self.stressed = stressed;
            if stressed {
                self.forget();
            }
        }
        Ok(())
    }

    /// A write edge (TGP0 rose): a cell whose |V| passes its switching threshold before the next one counts one pulse.
    pub fn note_write_edge(&mut self) {
        self.counted.clear();
        self.counted.resize(self.rows * self.columns, false);
        self.end_pulses();
    }

    /// Ground truth, row by row, as of the last time the array was held or sampled.
    pub fn truth(&self) -> impl Iterator<Item = CellTruth> {
        let columns = self.columns;
        self.conductance.iter().zip(&self.pulses).zip(&self.max_abs_v).enumerate().map(
            move |(cell, ((&conductance_s, &pulses), &max_abs_v))| CellTruth {
                row: (cell / columns) as u16,
                col: (cell % columns) as u16,
                conductance_s,
                pulses,
                max_abs_v,
            },
        )
    }

    /// Lets relaxation and drift catch up with the time.
    fn age(&mut self, at_ns: u64) {
        if at_ns < self.next_aging_ns {
            return;
        }
        self.next_aging_ns = u64::MAX;
        for (device, conductance) in self.devices.iter_mut().zip(&mut self.conductance) {
            if device.due_ns() <= at_ns
                && let Some(now) = device.rest(&self.profile, at_ns)
            {
                *conductance = now;
            }
            self.next_aging_ns = self.next_aging_ns.min(device.due_ns());
        }
        self.forget();
    }

    /// A conductance has moved.
    fn forget(&mut self) {
        self.solution = None;
        self.effective = None;
        self.recent = None;
        self.deviations.clear();
        self.levels.clear();
    }

    fn end_pulses(&mut self) {
        if core::mem::take(&mut self.stressed) {
            for device in &mut self.devices {
                device.relieve();
            }
        }
    }

    fn wires(&self) -> Wires {
        let wires = &self.profile.wires;
        if wires.row_segment_ohm == 0.0 {
            return Wires::Ideal;
        }
        let row = Segments::Uniform(wires.row_segment_ohm);
        Wires::Resistive { row, column: Segments::Uniform(wires.column_segment_ohm) }
    }

    fn check(&self, lines: &Lines<'_>) -> Result<(), CircuitError> {
        check_lines("row source", lines.rows, self.rows)?;
        check_lines("column source", lines.columns, self.columns)
    }

    fn solve(&mut self, lines: &Lines<'_>) -> Result<(), CircuitError> {
        if self
            .solution
            .as_ref()
            .is_some_and(|known| known.rows == lines.rows && known.columns == lines.columns)
        {
            return Ok(());
        }
        let ends = Ends { left: lines.rows, right: &[], top: &[], bottom: lines.columns };
        let solved = operate(&self.conductance, self.profile.current, &self.wires(), &ends, TOLERANCE)?;
        let law = self.profile.current;
        let cells = self.conductance.iter().zip(&solved.cell_volts);
        let cell_currents = cells.map(|(&g, &volts)| law.evaluate(g, volts).0).collect();
        self.solution = Some(Solution {
            cell_currents,
            rows: lines.rows.to_vec(),
            columns: lines.columns.to_vec(),
            cell_volts: solved.cell_volts,
            currents: solved.bottom,
            noise: Vec::new(),
        });
        Ok(())
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;
