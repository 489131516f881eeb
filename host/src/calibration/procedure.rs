//! Measures a board: every driver and every amplifier against the reference resistors, then what the array shows.

use super::linearity::Linearity;
use super::part::{self, even};
use super::series::{Known, Series};
use super::{Amplifier, Calibration, Curvature, Driver, Estimate, Hum, Settling};
use crate::instrument::{Instrument, InstrumentError, ReadSettings, ReferenceCodes, ReferenceSettings};
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// How thoroughly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Conversions at each polarity of each reference measurement.
    pub conversions: u16,
    /// Whether to measure what needs cells: settling, curvature, and the lines' resistance.
    pub array: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { conversions: 64, array: true }
    }
}

/// The driver that all amplifiers are measured with, and the amplifier that all drivers are measured with.
const COMMON_ROW: u16 = 0;
const COMMON_COLUMN: u16 = 0;

/// Part of the converter's linear range that R_cal is to fill, and largest voltage as part of what the drivers can.
const FILL: f64 = 0.85;
const SPAN: f64 = 0.95;

/// One measurement of the loop.
#[derive(Clone, Copy)]
struct Loop {
    /// Converter volts per volt of the driver, positive.
    gain: f64,
    /// Relative standard uncertainty of `gain` from scatter, and from the converter's nonlinearity.
    scatter: f64,
    nonlinearity: f64,
    /// Even part of the codes.
    even: f64,
    /// Part of the linear range that was used.
    filled: f64,
}

struct Bench<'a> {
    instrument: &'a mut Instrument,
    conversions: u16,
    interval_ns: u32,
}

impl Bench<'_> {
    /// The largest voltage that R_cal, the converter and the drivers allow in a range.
    fn volts(&self, range: u8) -> Result<f64, InstrumentError> {
        let converters = &self.instrument.device().converters;
        let linear = f64::from(converters.adc_linear) * f64::from(converters.adc_step.0);
        let span = f64::from(converters.dac_step.0) * f64::from(converters.dac_zero);
        let reference = f64::from(converters.reference.0);
        Ok((FILL * linear * reference / self.instrument.feedback(range)?).min(SPAN * span))
    }

    fn codes(
        &mut self,
        row: u16,
        column: u16,
        range: u8,
        volts: f64,
    ) -> Result<ReferenceCodes, InstrumentError> {
        let (conversions, interval_ns) = (self.conversions, self.interval_ns);
        let settings = ReferenceSettings { volts, range, conversions, interval_ns };
        let codes = self.instrument.reference_codes(row, column, &settings)?;
        if codes.saturated || codes.odd() == 0.0 {
            return Err(InstrumentError::Argument(format!(
                "row {row} through R_cal of column {column} reads {} and {} at ±{volts:.3} V in range {range}{}: the loop \
                 doesn't work; run `ohmrig selftest`",
                codes.plus,
                codes.minus,
                if codes.saturated { " (saturated)" } else { "" }
            )));
        }
        Ok(codes)
    }

    fn measure(&mut self, row: u16, column: u16, range: u8) -> Result<Loop, InstrumentError> {
        let volts = self.volts(range)?;
        let codes = self.codes(row, column, range, volts)?;
        let converters = &self.instrument.device().converters;
        let odd = codes.odd().abs();
        Ok(Loop {
            gain: odd * f64::from(converters.adc_step.0) / self.instrument.applied_volts(volts),
            // Of half a difference of two.
            scatter: codes.uncertainty / 2.0_f64.sqrt() / odd,
            nonlinearity: even(part::ADC_INL) / odd,
            even: codes.even(),
            filled: odd / f64::from(converters.adc_linear),
        })
    }
}

/// Calibrates a board. `progress` is told how many of how many steps are done.
///
/// # Errors
/// [`InstrumentError`]; a loop that doesn't work is `Argument`, with its row and column.
pub fn calibrate(
    instrument: &mut Instrument,
    plan: Plan,
    mut progress: impl FnMut(usize, usize),
) -> Result<Calibration, InstrumentError> {
    let device = instrument.device();
    let (board, rows, columns) = (device.board.clone(), device.rows, device.columns);
    let (adc_step, reference) =
        (f64::from(device.converters.adc_step.0), f64::from(device.converters.reference.0));
    let ranges = device.converters.feedback.iter().take_while(|ohms| ohms.0 > 0.0).count() as u8;
    let lines = usize::from(rows) + usize::from(columns);
    let of = lines + usize::from(columns) * usize::from(ranges - 1) + Linearity::POINTS * lines + 3;
    let mut done = 0;
    let mut tick = |steps| {
        done += steps;
        progress(done, of);
    };
    let hum = Hum::listen(instrument, 0)?;
    let status = instrument.status()?;
    let mut bench =
        Bench { instrument, conversions: plan.conversions, interval_ns: hum.interval_ns(plan.conversions) };
    // The range that R_cal fills best compares the drivers.
    let mut best = (0, 0.0);
    let mut loops = Vec::new();
    for range in 0..ranges {
        let mut amplifiers = Vec::new();
        for column in 0..columns {
            amplifiers.push(bench.measure(COMMON_ROW, column, range)?);
            tick(1);
        }
        let filled = amplifiers.iter().map(|l| l.filled).fold(f64::INFINITY, f64::min);
        if filled >= best.1 {
            best = (range, filled);
        }
        loops.push(amplifiers);
    }
    let mut by_row = Vec::new();
    for row in 0..rows {
        by_row.push(bench.measure(row, COMMON_COLUMN, best.0)?);
        tick(1);
    }
    let count = f64::from(rows);
    let mean_gain = by_row.iter().map(|l| l.gain).sum::<f64>() / count;
    let mean_even = by_row.iter().map(|l| l.even).sum::<f64>() / count;
    let drivers: Vec<Driver> = by_row
        .iter()
        .map(|l| Driver {
            gain: Estimate { value: l.gain / mean_gain, u: l.scatter.hypot(l.scatter / count.sqrt()) },
            offset_v: Estimate {
                value: -(l.even - mean_even) * adc_step / mean_gain,
                u: l.scatter * l.filled * 5.0 / mean_gain,
            },
        })
        .collect();
    let common = drivers[usize::from(COMMON_ROW)].gain;
    // From the driver through two switches and R_cal to the virtual ground.
    let ohms = reference + part::SWITCHES_OHM;
    let warmer = status.temperature.map_or(0.0, |kelvin| f64::from(kelvin.0) - part::NOMINAL_K);
    let systematic = [
        even(part::R_CAL),
        even(part::R_CAL_PER_KELVIN * warmer),
        even(part::SWITCH_OHM) * 2.0_f64.sqrt() / ohms,
        common.u,
    ];
    let ranges: Vec<Vec<Amplifier>> = loops
        .iter()
        .map(|amplifiers| {
            amplifiers
                .iter()
                .map(|l| {
                    let value = l.gain / common.value * ohms;
                    let all = systematic.into_iter().chain([l.scatter, l.nonlinearity]);
                    Amplifier {
                        ohms: Estimate { value, u: value * all.map(|u| u * u).sum::<f64>().sqrt() },
                        repeatability_ohms: value * l.scatter,
                        filled: l.filled,
                    }
                })
                .collect()
        })
        .collect();
    let linearity = Linearity::measure(rows, columns, |row, column, fraction| {
        let volts = fraction * bench.volts(best.0)?;
        let codes = bench.codes(row, column, best.0, volts)?;
        tick(1);
        Ok((bench.instrument.applied_volts(volts), codes))
    })?;
    let (mut settling, mut curvature, mut series) = (Vec::new(), None, None);
    if plan.array {
        settling = watch_settling(bench.instrument, loops.len() as u8)?;
        tick(1);
        curvature = Curvature::measure(bench.instrument, plan.conversions.min(32))?;
        tick(1);
        let known = Known { ranges: &ranges, curvature: curvature.as_ref(), hum: &hum };
        series = Series::measure(bench.instrument, known)?;
        tick(1);
    }
    Ok(Calibration {
        board,
        unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        at_ns: status.at_ns,
        temperature_k: status.temperature.map(|kelvin| f64::from(kelvin.0)),
        drivers,
        ranges,
        linearity,
        hum,
        settling,
        curvature,
        series,
    })
}

/// In every range in which the best conducting cell shows.
fn watch_settling(instrument: &mut Instrument, ranges: u8) -> Result<Vec<Settling>, InstrumentError> {
    let most = (f64::from(instrument.device().limits.read.0) - 0.02) / 1.005;
    let whole = instrument.whole();
    let map =
        instrument.read_cells(whole, &ReadSettings { volts: most / 2.0, range: None, conversions: 4 })?;
    let clean = map.conductance.indexed_iter().filter(|&(index, _)| !map.saturated[index]);
    let Some(((row, column), &conductance)) = clean.max_by(|a, b| a.1.total_cmp(b.1)) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for range in 0..ranges {
        let converters = &instrument.device().converters;
        let linear = f64::from(converters.adc_linear) * f64::from(converters.adc_step.0);
        let volts = (0.9 * linear / instrument.feedback(range)? / conductance.max(1e-12)).min(most);
        found.extend(Settling::watch(instrument, row as u16, column as u16, range, volts)?);
    }
    Ok(found)
}

/// Whether a calibration still holds: every driver and every amplifier measured again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Lines that moved by more than three standard uncertainties of the comparison.
    pub moved: Vec<Moved>,
    /// Largest deviation, in those uncertainties.
    pub worst: f64,
    /// Comparisons made.
    pub of: usize,
    /// Warmer than at the calibration, K; `None` if either temperature is unknown.
    pub warmer_k: Option<f64>,
}

/// A line that isn't what it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moved {
    /// Such as `column 3, range 1`.
    pub line: String,
    /// Relative change.
    pub relative: f64,
    /// Standard uncertainty of that, including what the temperature explains.
    pub u: f64,
}

/// Checks a calibration against the board as it is now.
///
/// # Errors
/// As [`calibrate`].
pub fn check(
    instrument: &mut Instrument,
    calibration: &Calibration,
    conversions: u16,
    progress: impl FnMut(usize, usize),
) -> Result<Check, InstrumentError> {
    let now = calibrate(instrument, Plan { conversions, array: false }, progress)?;
    let warmer_k = now.temperature_k.zip(calibration.temperature_k).map(|(now, then)| now - then);
    let mut found = Check { moved: Vec::new(), worst: 0.0, of: 0, warmer_k };
    let mut compare = |line: String, relative: f64, u: f64| {
        found.of += 1;
        found.worst = found.worst.max(relative.abs() / u);
        if relative.abs() > 3.0 * u {
            found.moved.push(Moved { line, relative, u });
        }
    };
    for (row, (now, then)) in now.drivers.iter().zip(&calibration.drivers).enumerate() {
        compare(format!("row {row}"), now.gain.value / then.gain.value - 1.0, now.gain.u.hypot(then.gain.u));
    }
    let explained = even(part::FEEDBACK_PER_KELVIN * warmer_k.unwrap_or(0.0));
    for (range, (now, then)) in now.ranges.iter().zip(&calibration.ranges).enumerate() {
        for (column, (now, then)) in now.iter().zip(then).enumerate() {
            let u = (now.repeatability_ohms / now.ohms.value)
                .hypot(then.repeatability_ohms / then.ohms.value)
                .hypot(explained)
                .hypot(calibration.drivers[usize::from(COMMON_ROW)].gain.u);
            compare(format!("column {column}, range {range}"), now.ohms.value / then.ohms.value - 1.0, u);
        }
    }
    Ok(found)
}
