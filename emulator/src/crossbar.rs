//! The emulated array: devices at the crossings of rows and columns, what the lines' voltages do to them and the
//! currents that come out.

use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::circuit::array::Ends;
use crate::circuit::wired::Segments;
mod line_defects;
mod reading;
mod recorded;
mod traits;

pub use line_defects::LineDefects;
use recorded::Recorded;
pub use traits::{CellTraits, TrapTraits};

use crate::aging::Clock;
pub use crate::circuit::{CircuitError, Line};
use crate::circuit::{Wires, check_lines, operate};
use crate::device::{Device, Exposure, REFERENCE_KELVIN};
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
const OTHER_TRAITS: u64 = 0x7472_6169;
/// A temperature closer to the last one than this changes nothing (K): a thermometer's resolution, and conductances that
/// stay the same let solutions be reused.
const TEMPERATURE_STEP: f64 = 0.01;

/// The array.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Crossbar {
    rows: usize,
    columns: usize,
    profile: DeviceProfile,
    /// At the present temperature, row-major (S).
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
    harmless_v: f64,
    kelvin: f64,
    /// When the lines were last held or sampled.
    latest_ns: u64,
    /// Seconds at the reference temperature that retention had counted when `kelvin` was set, and when that was.
    thermal_s: f64,
    thermal_at_ns: u64,
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
    /// The conductances for which these two were worked out (S).
    #[serde(skip)]
    noted: Vec<f64>,
    /// Whether these are the present ones.
    #[serde(skip)]
    is_noted: bool,
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
    /// The rows whose 1/f noise matters; empty until asked for.
    heard: Vec<bool>,
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
        if let Some(defects) = &device.lines {
            defects.validate(rows, columns)?;
        }
        let (mut random, mut others) = (Random::new(seed, DEVICES), Random::new(seed, OTHER_TRAITS));
        let devices: Vec<_> =
            (0..rows * columns).map(|_| Device::draw(device, &mut random, &mut others)).collect();
        let conductance: Vec<f64> =
            devices.iter().map(|cell| cell.conductance_s(device, REFERENCE_KELVIN)).collect();
        let lowest_threshold_v = devices
            .iter()
            .map(|device| device.threshold_v(1.0).min(device.threshold_v(-1.0)))
            .fold(f64::INFINITY, f64::min);
        let disturbed_v = device.disturb.filter(|_| device.pulse.is_some()).map(|law| law.from_v);
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
            harmless_v: disturbed_v.unwrap_or(f64::INFINITY).min(lowest_threshold_v),
            kelvin: REFERENCE_KELVIN,
            latest_ns: 0,
            thermal_s: 0.0,
            thermal_at_ns: 0,
            least_max_abs_v: 0.0,
            writing: Random::new(seed, WRITING),
            reading: Random::new(seed, READING),
            fluctuations: (device.flicker.is_some() || device.telegraph.is_some()).then(|| {
                let random = Random::new(seed, FLUCTUATING);
                Fluctuations::new(device.flicker, device.telegraph, (rows, columns), random)
            }),
            recorded: None,
            recent: None,
            solution: None,
            effective: None,
            deviations: Vec::new(),
            levels: Vec::new(),
            noted: Vec::new(),
            is_noted: false,
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
        self.check(lines)?;
        let Some((rows, columns)) = self.seen(lines) else { return self.hold_seen(lines, from_ns, to_ns) };
        self.hold_seen(&Lines { rows: &rows, columns: &columns }, from_ns, to_ns)
    }

    /// The lines as the cells see them, if that is otherwise than they are connected.
    fn seen(&self, lines: &Lines<'_>) -> Option<(Vec<Line>, Vec<Line>)> {
        self.profile.lines.as_ref().map(|defects| defects.seen(lines.rows, lines.columns))
    }

    fn hold_seen(&mut self, lines: &Lines<'_>, from_ns: u64, to_ns: u64) -> Result<(), CircuitError> {
        let duration_ns = to_ns.checked_sub(from_ns).ok_or(CircuitError::Backwards { from_ns, to_ns })?;
        if duration_ns == 0 {
            return Ok(());
        }
        self.age(from_ns);
        self.latest_ns = to_ns;
        // No voltage inside a network of passive devices lies outside those of its sources.
        let driven = || lines.rows.iter().chain(lines.columns).filter_map(Line::volts);
        let bound = driven().fold(f64::NEG_INFINITY, f64::max) - driven().fold(f64::INFINITY, f64::min);
        let harmless = bound <= self.harmless_v;
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
        let duration_s = duration_ns as f64 * 1e-9;
        let (profile, clock) = (&self.profile, self.clock(to_ns));
        let (mut stressed, mut moved) = (false, false);
        for ((device, conductance), volts) in
            self.devices.iter_mut().zip(&mut self.conductance).zip(&solution.cell_volts)
        {
            let exposure = device.expose(profile, *volts, duration_s, &mut self.writing);
            if exposure == Exposure::None {
                continue;
            }
            moved = true;
            *conductance = device.conductance_s(profile, self.kelvin);
            if exposure == Exposure::Pulsed {
                stressed = true;
                if profile.ages() {
                    device.settle(clock, &mut self.writing);
                    self.next_aging_ns = self.next_aging_ns.min(device.due_ns());
                }
            }
        }
        self.stressed = stressed;
        if moved {
            self.forget();
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
        let cells = self.conductance.iter().zip(&self.devices).zip(&self.pulses).zip(&self.max_abs_v);
        cells.enumerate().map(move |(cell, (((&conductance_s, device), &pulses), &max_abs_v))| CellTruth {
            row: (cell / columns) as u16,
            col: (cell % columns) as u16,
            conductance_s,
            pulses,
            max_abs_v,
            condition: device.condition(),
        })
    }

    /// The array's temperature from now on (K); fresh arrays are at 298.15 K.
    ///
    /// # Errors
    /// A temperature outside 1 to 1000 K.
    pub fn set_temperature(&mut self, kelvin: f64) -> Result<(), CircuitError> {
        if !(1.0..=1000.0).contains(&kelvin) {
            let (what, allowed) = ("temperature", "1 to 1000 K");
            return Err(CircuitError::Value { what, index: 0, value: kelvin, allowed });
        }
        if libm::fabs(kelvin - self.kelvin) < TEMPERATURE_STEP {
            return Ok(());
        }
        self.thermal_s = self.clock(self.latest_ns).thermal_s;
        self.thermal_at_ns = self.latest_ns;
        self.kelvin = kelvin;
        if self.profile.retention.is_some() {
            self.devices.iter_mut().for_each(Device::hasten);
            self.next_aging_ns = 0;
        }
        if self.profile.temperature.is_some() {
            for (device, conductance) in self.devices.iter().zip(&mut self.conductance) {
                *conductance = device.conductance_s(&self.profile, kelvin);
            }
            self.forget();
        }
        Ok(())
    }

    fn clock(&self, at_ns: u64) -> Clock {
        let acceleration = self.profile.retention.map_or(1.0, |law| law.acceleration(self.kelvin));
        let since_s = at_ns.saturating_sub(self.thermal_at_ns) as f64 * 1e-9;
        Clock { at_ns, thermal_s: self.thermal_s + since_s * acceleration, acceleration }
    }

    /// Lets relaxation, drift and retention catch up with the time.
    fn age(&mut self, at_ns: u64) {
        self.latest_ns = self.latest_ns.max(at_ns);
        if at_ns < self.next_aging_ns {
            return;
        }
        self.next_aging_ns = u64::MAX;
        let clock = self.clock(at_ns);
        for (device, conductance) in self.devices.iter_mut().zip(&mut self.conductance) {
            if device.due_ns() <= at_ns {
                device.rest(&self.profile, clock);
                *conductance = device.conductance_s(&self.profile, self.kelvin);
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
        self.is_noted = false;
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
        let mut crossings = Vec::new();
        let conductance = match &self.profile.lines {
            Some(defects) => {
                crossings.clone_from(&self.conductance);
                defects.add_crossings(&mut crossings, self.columns);
                &crossings
            }
            None => &self.conductance,
        };
        let solved = operate(conductance, self.profile.current, &self.wires(), &ends, TOLERANCE)?;
        let law = self.profile.current;
        let cells = conductance.iter().zip(&solved.cell_volts);
        let cell_currents = cells.map(|(&g, &volts)| law.evaluate(g, volts).0).collect();
        self.solution = Some(Solution {
            cell_currents,
            rows: lines.rows.to_vec(),
            columns: lines.columns.to_vec(),
            cell_volts: solved.cell_volts,
            currents: solved.bottom,
            noise: Vec::new(),
            heard: Vec::new(),
        });
        Ok(())
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;
