//! Resistance between the drivers and the devices of a row, and between the devices of a column and its amplifier.
//!
//! With every line at a given voltage such a resistance is a gain like any other. So the load is changed, twice:
//!
//! - **Rows.** All rows at V/2 and one at V are taken once as a product, columns at 0 V, and once as a half-selected pulse: the other
//!   columns at V/2, which takes what the rows carry to them off their resistance. The measured column gains
//!   `V/2·Σ_k M_kj·(m_k − M_kj)·R/(1 − R·m_k)`, M being what cells read as in place and m a row's sum.
//! - **Columns.** One row is driven, the others grounded or disconnected. Disconnected, they no longer draw current out of the
//!   columns, which are off 0 V by what they drop to their amplifiers: Σ_{k≠i} G_kj/(S_k·(1 + R·S_k))·Σ_l G_kl·I_l·r_l more
//!   (S: sums of the devices' own conductances).
//!
//! Both follow from Kirchhoff's laws, the second to first order in the column's resistance. Each tells one value for all lines: arrays whose cells are much alike show
//! no more than the mean. Voltages are those of reads.

use super::{Amplifier, Curvature, Hum, part};
use crate::instrument::{
    Instrument, InstrumentError, ProductSettings, ReadSettings, ReferenceSettings, TraceOrder,
};
use crate::metrology::Estimate;
use crate::metrology::least_squares::Normal;
use ndarray::{Array1, Array2, Axis};
use ohmrig_protocol::message::{Pulse, Scheme, TraceSource};
use ohmrig_protocol::units::{Seconds, Volts};
use serde::{Deserialize, Serialize};

/// The mean of all rows and that of all columns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// From a driver to the devices of its row, Ω.
    pub row_ohms: Estimate,
    /// From the devices of a column to its amplifier, Ω.
    pub column_ohms: Estimate,
}

/// Voltage of the driven row, at most.
const VOLTS: f64 = 0.4;
/// Lines that are gone through, at most: evenly spaced ones of a larger array.
const LINES: u16 = 16;
/// Pulses of each polarity per column, their width, s, and how long the board is armed for each round, ms.
const PULSES: usize = 24;
const WIDTH_S: f32 = 40e-6;
const ARM_MS: u32 = 10_000;
/// Conversions of a product that they are compared with.
const PRODUCTS: u16 = 16;
/// Conversions of a trace, and times that a row is gone through.
const CONVERSIONS: u16 = 64;
const ROUNDS: usize = 2;
/// Least time between conversions of a trace, ns.
const INTERVAL_NS: u32 = 100_000;
/// Conversions at each polarity of a read of the array.
const READS: u16 = 32;
/// Least column current, A, that a resistance shows in: some hundred codes of the least sensitive range.
const LEAST_A: f64 = 2e-5;

/// What has been found out about the board before.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) ranges: &'a [Vec<Amplifier>],
    pub(super) curvature: Option<&'a Curvature>,
    pub(super) hum: &'a Hum,
}

impl Series {
    /// Measures both; `None` if the array has fewer than two rows or columns, conducts too little to show a resistance of
    /// its lines, or saturates.
    pub(super) fn measure(
        instrument: &mut Instrument,
        known: Known<'_>,
    ) -> Result<Option<Self>, InstrumentError> {
        let device = instrument.device();
        let (rows, columns) = (device.rows, device.columns);
        // The bound that a read is checked against is 0.5 % and 20 mV above what is asked.
        let most = 0.999 * (f64::from(device.limits.read.0) - 0.02) / 1.005;
        let half = instrument.applied_volts(0.5 * VOLTS.min(most));
        if rows < 2 || columns < 2 || half <= 0.0 {
            return Ok(None);
        }
        let Some(drivers) = drivers(instrument, known, half)? else { return Ok(None) };
        let Some(cells) = cells(instrument, known, &drivers, half)? else { return Ok(None) };
        if cells.sum_axis(Axis(0)).iter().any(|column| column * half < LEAST_A) {
            return Ok(None);
        }
        let outcome = rows_of(instrument, known, &drivers, &cells, half);
        // Disarmed whatever came of it.
        instrument.safe()?;
        let row_ohms = match outcome {
            // Where limits leave no pulse, the rest of the calibration is none the worse.
            Err(error @ InstrumentError::Refused { .. }) => {
                log::warn!("series resistance isn't measured: {error}");
                return Ok(None);
            }
            found => found?,
        };
        let Some(row_ohms) = row_ohms else { return Ok(None) };
        let column_ohms = columns_of(instrument, known, &cells, 2.0 * half, row_ohms.value)?;
        Ok(column_ohms.map(|column_ohms| Self { row_ohms, column_ohms }))
    }
}

/// Evenly spaced lines.
fn some(lines: u16) -> Vec<u16> {
    let count = lines.min(LINES);
    (0..count).map(|n| (u32::from(n) * u32::from(lines) / u32::from(count)) as u16).collect()
}

/// What the rows' drivers put out at ±`volts`, against their mean: at these small voltages nonlinearity makes gains other than those of
/// their range. Nothing if a converter saturates.
fn drivers(
    instrument: &mut Instrument,
    known: Known<'_>,
    volts: f64,
) -> Result<Option<Vec<f64>>, InstrumentError> {
    let range = instrument.range_for(1.1 * volts / f64::from(instrument.device().converters.reference.0))?;
    let interval_ns = known.hum.interval_ns(READS);
    let settings = ReferenceSettings { volts, range, conversions: READS, interval_ns };
    let mut found = Vec::new();
    for row in 0..instrument.device().rows {
        let codes = instrument.reference_codes(row, 0, &settings)?;
        if codes.saturated {
            return Ok(None);
        }
        found.push(codes.odd());
    }
    let mean = found.iter().sum::<f64>() / found.len() as f64;
    Ok(Some(found.into_iter().map(|odd| odd / mean).collect()))
}

/// What the cells read as in place, S, at `volts`; nothing if any saturates.
fn cells(
    instrument: &mut Instrument,
    known: Known<'_>,
    drivers: &[f64],
    volts: f64,
) -> Result<Option<Array2<f64>>, InstrumentError> {
    let whole = instrument.whole();
    let tried = instrument.read_cells(whole, &ReadSettings { volts, range: None, conversions: 1 })?;
    if tried.saturated.iter().any(|&saturated| saturated) {
        return Ok(None);
    }
    let largest = tried.conductance.iter().copied().fold(0.0, f64::max);
    let range = instrument.range_for(1.1 * largest * volts)?;
    let settings = ReadSettings { volts, range: Some(range), conversions: READS };
    let read = instrument.read_cells(whole, &settings)?.conductance;
    let nominal = instrument.feedback(range)?;
    let amplifiers = &known.ranges[usize::from(range)];
    Ok(Some(Array2::from_shape_fn(read.dim(), |(row, column)| {
        read[(row, column)] * nominal / amplifiers[column].ohms.value / drivers[row]
    })))
}

/// Of the rows, from half-selected pulses against products.
fn rows_of(
    instrument: &mut Instrument,
    known: Known<'_>,
    drivers: &[f64],
    cells: &Array2<f64>,
    half: f64,
) -> Result<Option<Estimate>, InstrumentError> {
    let range = instrument.least_sensitive_range();
    let nominal = instrument.feedback(range)?;
    let columns = some(instrument.device().columns);
    let mut differences = vec![Differences::new(known.hum); columns.len()];
    for round in 0..PULSES {
        for sign in [1.0, -1.0] {
            instrument.arm(ARM_MS)?;
            let vector = Array2::from_shape_fn((1, cells.nrows()), |(_, row)| {
                sign * if row == 0 { 2.0 * half } else { half }
            });
            let interval_ns = known.hum.interval_ns(PRODUCTS);
            let settings = ProductSettings { range, conversions: PRODUCTS, interval_ns };
            let product = instrument.mvm(vector.view(), settings, |_| {})?.currents;
            for turn in 0..columns.len() {
                // Another order each time, so that no column's pulses all meet the mains at the same phase.
                let turn = (turn + 5 * round) % columns.len();
                let column = columns[turn];
                let pulse = Pulse {
                    row: 0,
                    column,
                    volts: Volts((sign * 2.0 * half) as f32),
                    width: Seconds(WIDTH_S),
                    scheme: Scheme::Half,
                    gate: None,
                };
                let pulsed = instrument.pulse(pulse)?;
                let current_a = pulsed.current_a.ok_or_else(|| {
                    InstrumentError::Argument("a half-selected pulse of 40 µs has no current".to_owned())
                })?;
                let more_a = current_a - product[(0, usize::from(column))];
                differences[turn].add(sign, more_a, pulsed.at_ns as f64 * 1e-9);
            }
        }
    }
    // Small changes around V/2 see the slope of the devices' curve there, cells were read as chords.
    let slope = known.curvature.and_then(Curvature::characteristic_v).map_or(1.0, |v0| {
        let x = half / v0.value;
        x / x.tanh()
    });
    let amplifiers = &known.ranges[usize::from(range)];
    let sums = cells.sum_axis(Axis(1));
    let mut found = Vec::new();
    let mut shares = vec![0.0; cells.nrows()];
    let mut deviations = Vec::new();
    for (&column, differences) in columns.iter().zip(&differences) {
        let column = usize::from(column);
        let Some((gained_a, residuals)) = differences.odd() else { continue };
        let per_ampere = nominal / amplifiers[column].ohms.value / (half * slope);
        let (ohms, slope) = resistance(gained_a * per_ampere, cells, &sums, column);
        for ((share, row), sum) in shares.iter_mut().zip(cells.rows()).zip(&sums) {
            *share += slope * row[column] * (sum - row[column]) / (1.0 - ohms * sum).powi(2);
        }
        found.push((ohms, slope));
        deviations.push(residuals.into_iter().map(|residual| residual * per_ampere * slope).collect());
    }
    let weights = found.iter().map(|(_, slope)| slope * slope).sum::<f64>();
    let together = common(&deviations) / weights;
    // Bias drivers are of the same kind as the rows', whose gains are known.
    let lines = 1.0 / (f64::from(instrument.device().columns) - 1.0) + 1.0 / drivers.len() as f64;
    let drivers = spread(drivers) * lines.sqrt();
    let reference = part::even(part::R_CAL) / (cells.ncols() as f64).sqrt();
    Ok(mean(&found, drivers.hypot(reference), unequal(&shares).hypot(together)))
}

/// What `deviations`, of each column at each instant, have in common: the standard uncertainty of the mean over the instants of their sum over
/// columns, less what independent ones would make of it. All columns' pulses of a round are compared with the same product, and the
/// noise of that is in no scatter from column to column.
fn common(deviations: &[Vec<f64>]) -> f64 {
    let Some(instants) = deviations.first().map(Vec::len).filter(|&instants| instants > TERMS) else {
        return 0.0;
    };
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let all = squares(&mut (0..instants).map(|at| deviations.iter().map(|column| column[at]).sum()));
    let each = squares(&mut deviations.iter().flatten().copied());
    // Residuals of a fit with `TERMS` parameters.
    ((all - each).max(0.0) / (instants * (instants - TERMS)) as f64).sqrt()
}

/// Differences of one column's currents at both polarities, single conversions each at its instant: what changes sign with
/// the voltage, beside an offset and the mains.
#[derive(Clone)]
struct Differences {
    normal: Normal<TERMS>,
    taken: Vec<([f64; TERMS], f64)>,
    mains_hz: Option<f64>,
}

/// The odd part, the even part, and the mains with its second and third harmonic.
const TERMS: usize = 8;

impl Differences {
    fn new(hum: &Hum) -> Self {
        let mut normal = Normal::ZERO;
        if hum.mains_hz.is_none() {
            for term in 2..TERMS {
                normal.matrix[term][term] = 1.0;
            }
        }
        Self { normal, taken: Vec::new(), mains_hz: hum.mains_hz }
    }

    fn add(&mut self, sign: f64, amperes: f64, at_s: f64) {
        let mut terms = [sign, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        if let Some(hz) = self.mains_hz {
            let phase = 2.0 * std::f64::consts::PI * (hz * at_s).fract();
            for (harmonic, pair) in (1..).zip(terms[2..].chunks_exact_mut(2)) {
                (pair[0], pair[1]) = (f64::from(harmonic) * phase).sin_cos();
            }
        }
        self.normal.add(&terms, amperes, 1.0);
        self.taken.push((terms, amperes));
    }

    /// The odd part, A, and what each difference adds to it beyond the fit; nothing if the pulses met the mains at too few phases to tell
    /// the two apart.
    fn odd(&self) -> Option<(f64, Vec<f64>)> {
        let (found, _) = self.normal.solve().ok()?;
        let residual = |(terms, amperes): &([f64; TERMS], f64)| {
            let fitted = terms.iter().zip(&found).map(|(term, value)| term * value).sum::<f64>();
            terms[0] * (amperes - fitted)
        };
        Some((found[0], self.taken.iter().map(residual).collect()))
    }
}

/// The resistance R of all rows with `gained = Σ_k M_kj·(m_k − M_kj)·R/(1 − R·m_k)`, Ω, and the slope of that in it.
fn resistance(gained_s: f64, cells: &Array2<f64>, sums: &Array1<f64>, column: usize) -> (f64, f64) {
    let mut ohms = 0.0;
    let mut slope = 0.0;
    for _ in 0..20 {
        let mut expected = 0.0;
        slope = 0.0;
        for (row, sum) in cells.rows().into_iter().zip(sums) {
            let others = row[column] * (sum - row[column]);
            let left = 1.0 - ohms * sum;
            expected += others * ohms / left;
            slope += others / (left * left);
        }
        ohms += (gained_s - expected) / slope;
    }
    (ohms, slope)
}

/// Of the columns, from one row alone against the same with all others at 0 V.
fn columns_of(
    instrument: &mut Instrument,
    known: Known<'_>,
    cells: &Array2<f64>,
    volts: f64,
    row_ohms: f64,
) -> Result<Option<Estimate>, InstrumentError> {
    let largest = cells.iter().copied().fold(0.0, f64::max);
    let range = instrument.range_for(1.1 * largest * volts)?;
    let step_v = f64::from(instrument.device().converters.adc_step.0);
    let amplifiers = &known.ranges[usize::from(range)];
    let per_code: Vec<f64> = amplifiers.iter().map(|amplifier| -step_v / amplifier.ohms.value).collect();
    let sums = cells.sum_axis(Axis(1));
    // The devices' own conductances, and what their rows' loads make of a drop at the columns.
    let own = |row: usize, column: usize| cells[(row, column)] / (1.0 - row_ohms * sums[row]);
    let own_sum: Vec<f64> = sums.iter().map(|sum| sum / (1.0 - row_ohms * sum)).collect();
    let order = TraceOrder {
        source: TraceSource::Open,
        volts,
        column: 0,
        columns: instrument.device().columns,
        range,
        samples: u32::from(CONVERSIONS),
        interval_ns: known.hum.interval_ns(CONVERSIONS).max(INTERVAL_NS),
        averaged: 1,
    };
    let mut found = Vec::new();
    let mut shares = vec![0.0; per_code.len()];
    for driven in some(instrument.device().rows) {
        let mut current = vec![0.0; per_code.len()];
        let mut gained = vec![0.0; per_code.len()];
        for _ in 0..ROUNDS {
            for sign in [1.0, -1.0] {
                // In this order what drifts evenly drops out.
                for (alone, weight) in [(false, -0.5), (true, 0.5), (true, 0.5), (false, -0.5)] {
                    let source = if alone { TraceSource::RowAlone(driven) } else { TraceSource::Row(driven) };
                    let order = TraceOrder { source, volts: sign * volts, ..order };
                    let traces = instrument.trace(&order, |_| {})?;
                    for (column, codes) in traces.codes.iter().enumerate() {
                        let mean = codes.iter().sum::<f64>() / codes.len() as f64;
                        let amperes = sign * mean * per_code[column] / (2 * ROUNDS) as f64;
                        gained[column] += weight * amperes;
                        current[column] += if alone { 0.0 } else { 0.5 * amperes };
                    }
                }
            }
        }
        let driven = usize::from(driven);
        let mut expected = vec![0.0; per_code.len()];
        for row in (0..own_sum.len()).filter(|&row| row != driven) {
            let seen = current.iter().enumerate().map(|(column, a)| own(row, column) * a).sum::<f64>();
            let share = seen / (own_sum[row] * (1.0 + row_ohms * own_sum[row])).max(f64::MIN_POSITIVE);
            for (column, expected) in expected.iter_mut().enumerate() {
                *expected += own(row, column) * share;
            }
            // To first order every column counts by what its own drop brings into this row.
            for (column, part) in shares.iter_mut().enumerate() {
                *part += own(row, column) * current[column] / seen.max(f64::MIN_POSITIVE) * share;
            }
        }
        let square = expected.iter().map(|a| a * a).sum::<f64>();
        let product = expected.iter().zip(&gained).map(|(a, b)| a * b).sum::<f64>();
        if square > 0.0 {
            found.push((product / square, square.sqrt()));
        }
    }
    // The devices' own conductances are larger by what their columns take off, too, and so is what is expected.
    let load = cells.sum() / cells.ncols() as f64;
    Ok(mean(&found, 0.0, unequal(&shares)).map(|ohms| ohms.scaled(1.0 - ohms.value * load)))
}

/// Standard deviation.
fn spread(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt()
}

/// How far, Ω, the mean of lines that count by their `shares` may be off the plain one: switches differ from chip to chip and,
/// less, on a chip.
fn unequal(shares: &[f64]) -> f64 {
    let sum = shares.iter().sum::<f64>();
    let excess: Vec<f64> = shares.iter().map(|share| share / sum - 1.0 / shares.len() as f64).collect();
    let squares = |excess: &mut dyn Iterator<Item = f64>| excess.map(|part| part * part).sum::<f64>().sqrt();
    let chips = squares(&mut excess.chunks(part::LINES_PER_CHIP).map(|chip| chip.iter().sum()));
    (part::even(part::CHIP_OHM) * chips)
        .hypot(part::even(part::CHANNEL_OHM) * squares(&mut excess.iter().copied()))
}

/// Mean of values found with slopes, which is what they are worth; from their scatter, a relative uncertainty that they all
/// share, and one in Ω.
fn mean(found: &[(f64, f64)], shared: f64, ohms: f64) -> Option<Estimate> {
    if found.len() < 2 {
        return None;
    }
    let n = found.len() as f64;
    let weights = found.iter().map(|(_, slope)| slope * slope).sum::<f64>();
    let value = found.iter().map(|(value, slope)| value * slope * slope).sum::<f64>() / weights;
    let scatter = found.iter().map(|(x, slope)| (slope * slope * (x - value) / weights).powi(2)).sum::<f64>();
    let scatter = scatter * n / (n - 1.0);
    let variance = scatter + (value * shared).powi(2) + ohms * ohms;
    // Welch–Satterthwaite: only the scatter's own uncertainty counts.
    Some(Estimate::from_scatter(value, variance.sqrt(), (n - 1.0) * (variance / scatter).powi(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resistance_of_exact_gains_is_found() {
        let own = Array2::from_shape_fn((6, 5), |(i, j)| 1e-5 * (2 + (3 * i + 2 * j) % 7) as f64);
        let ohms = 101.5;
        let sums = own.sum_axis(Axis(1));
        let cells = Array2::from_shape_fn((6, 5), |(i, j)| own[(i, j)] / (1.0 + ohms * sums[i]));
        for column in 0..5 {
            // With the other columns at 1 V, row k is lifted by (S_k − G_kj)·R/(1 + R·S_k).
            let gained = (0..6)
                .map(|k| own[(k, column)] * (sums[k] - own[(k, column)]) * ohms / (1.0 + ohms * sums[k]));
            let (found, _) = resistance(gained.sum(), &cells, &cells.sum_axis(Axis(1)), column);
            assert!((found / ohms - 1.0).abs() < 1e-12, "{found}");
        }
    }

    #[test]
    fn only_what_columns_have_in_common_counts_beside_their_scatter() {
        // Twenty instants, ±1 in turn: the same in four columns, or of alternating sign from column to column.
        let turns = |sign: f64| (0..20).map(|at| if at % 2 == 0 { sign } else { -sign }).collect::<Vec<_>>();
        // (16 − 4) per instant, of 20 instants with twelve degrees of freedom.
        assert!((common(&vec![turns(1.0); 4]) - 1.0).abs() < 1e-12);
        assert_eq!(common(&[turns(1.0), turns(-1.0), turns(1.0), turns(-1.0)]), 0.0);
        assert_eq!(common(&[]), 0.0);
    }

    #[test]
    fn lines_that_count_alike_show_their_mean() {
        assert_eq!(unequal(&[3.0; 16]), 0.0);
        // The first chip counts by a tenth of its share too much, the second too little.
        let tilted: Vec<f64> = (0..16).map(|line| if line < 8 { 1.1 } else { 0.9 }).collect();
        assert!((unequal(&tilted) - 0.05 * (2.0_f64 / 3.0).sqrt() * 0.25).abs() < 2e-3);
    }

    #[test]
    fn lines_are_evenly_spaced_and_all_of_a_small_array() {
        assert_eq!(some(3), [0, 1, 2]);
        assert_eq!(some(64), (0..16).map(|n| 4 * n).collect::<Vec<_>>());
    }

    #[test]
    fn a_mean_is_weighed_by_slopes_and_knows_what_all_share() {
        let found = mean(&[(1.0, 1.0), (3.0, 1.0), (100.0, 0.0)], 0.0, 0.0).unwrap();
        assert!((found.value - 2.0).abs() < 1e-12);
        let shared = mean(&[(2.0, 1.0), (2.2, 1.0)], 0.5, 0.0).unwrap();
        assert!((shared.standard_uncertainty - 1.05_f64.hypot(0.1)).abs() < 1e-12);
        assert!(shared.degrees_of_freedom.unwrap() > 1000.0);
    }
}
