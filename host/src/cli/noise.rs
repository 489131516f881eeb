//! `ohmrig noise`: spectra, 1/f noise, telegraph noise and Allan deviation of cells, the instrument's own noise beside them.

mod instrument_floor;

use super::open::{Opened, open};
use super::output::si;
use super::settings::RegionArgs;
use super::{Failure, Global, Output};
use crate::instrument::{TraceOrder, Traces};
use crate::metrology::flicker::{self, FlickerFit, Sampling};
use crate::metrology::floor::{Separated, separate};
use crate::metrology::mains::Mains;
use crate::metrology::spectrum::welch;
use crate::metrology::telegraph;
use crate::metrology::{Estimate, allan};
use clap::Args;
use instrument_floor::InstrumentFloor;
use ndarray::{Array2, ArrayView2};
use ohmrig_protocol::message::{Region, TraceSource};
use serde_json::{Value, json};

/// Noise of cells: PSD, 1/f, telegraph noise, Allan deviation.
#[derive(Debug, Args)]
pub(super) struct Noise {
    #[command(flatten)]
    region: RegionArgs,
    /// Voltage of the row while it is sampled, V
    #[arg(long, default_value_t = 0.2, value_name = "V")]
    volts: f64,
    /// Samples of each trace
    #[arg(long, default_value_t = 65_536, value_name = "N", value_parser = clap::value_parser!(u32).range(512..=100_000_000))]
    samples: u32,
    /// From one conversion to the next, s
    #[arg(long, default_value_t = 1e-4, value_name = "S")]
    interval_s: f64,
    /// Conversions averaged in one sample
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    average: u16,
    /// Feedback setting of the amplifiers [default: the most sensitive that isn't saturated]
    #[arg(long, value_name = "INDEX")]
    range: Option<u8>,
    /// Frequency down to which the spectrum must be resolved, Hz; a trace too short for it is refused
    #[arg(long, value_name = "HZ")]
    lowest_hz: Option<f64>,
    /// Mains frequency whose lines are left out of fits, Hz; 0 for none
    #[arg(long, default_value_t = 50.0, value_name = "HZ")]
    mains_hz: f64,
    /// Don't look for telegraph noise, which takes longest
    #[arg(long)]
    no_telegraph: bool,
    /// Keep the raw traces in the run file (mean ADC codes)
    #[arg(long)]
    keep_traces: bool,
}

/// Segments a Welch spectrum has at least: 10 degrees of freedom and more.
const SEGMENTS: usize = 8;
/// Points of a spectrum per decade, as it is published.
const PER_DECADE: f64 = 8.0;
/// Longest trace that telegraph noise is looked for in; longer ones are averaged down to it.
const TELEGRAPH_SAMPLES: usize = 65_536;

/// What was found of one cell.
struct CellNoise {
    row: u16,
    column: u16,
    /// Mean current, A.
    current_a: f64,
    /// Relative densities: of S_I/I², 1/Hz.
    spectrum: Vec<Separated>,
    flicker: Option<FlickerFit>,
    telegraph: Option<telegraph::TelegraphFit>,
    allan: Vec<allan::AllanPoint>,
    flags: Vec<String>,
}

impl Noise {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let sampling = self.sampling()?;
        let mut opened = open(global, output)?;
        let region = self.region.region(&opened.instrument)?;
        let range = self.range(&mut opened, region)?;
        let order = self.order(TraceSource::Open, 0.0, region, range, &sampling);
        let steps = (usize::from(region.rows) + 2) * self.samples as usize;
        let bar = output.bar(steps, "sampling");
        let mut done = 0;
        let mut trace = |opened: &mut Opened, order: &TraceOrder| -> Result<Traces, Failure> {
            let traces =
                opened.instrument.trace(order, |arrived| bar.set_position(done + u64::from(arrived)))?;
            done += u64::from(order.samples);
            Ok(traces)
        };
        let open_rows = trace(&mut opened, &order)?;
        let reference = TraceOrder {
            source: TraceSource::Reference(region.row),
            volts: self.reference_volts(&opened, range)?,
            ..order
        };
        let reference_traces = trace(&mut opened, &reference)?;
        let step_a = current_per_code(&opened, range)?;
        let floor = InstrumentFloor::new(&open_rows, &reference_traces, step_a, &sampling, self.mains());
        let mut cells = Vec::new();
        for row in region.row..region.row + region.rows {
            let order = TraceOrder { source: TraceSource::Row(row), volts: self.volts, ..order };
            let traces = trace(&mut opened, &order)?;
            for (index, codes) in traces.codes.iter().enumerate() {
                let column = region.column + index as u16;
                let amperes: Vec<f64> = codes.iter().map(|code| code * step_a).collect();
                let saturated = codes
                    .iter()
                    .any(|code| code.abs() > f64::from(opened.instrument.device().converters.adc_linear));
                cells.push(self.analyse(row, column, index, &amperes, saturated, &floor, &sampling));
            }
            self.record(&mut opened, row, region, range, &cells, &traces)?;
        }
        bar.finish_and_clear();
        self.report(output, &floor, &cells, &sampling);
        Ok(())
    }

    /// Checks what was asked before a device is touched.
    fn sampling(&self) -> Result<Sampling, Failure> {
        if !(self.interval_s >= 1e-6 && self.interval_s <= 4.0) {
            return Err(Failure::usage(format!("--interval-s {}: it must be 1e-6 to 4", self.interval_s)));
        }
        if !(self.volts.is_finite() && self.volts != 0.0) {
            return Err(Failure::usage(format!("--volts {}: it must not be zero", self.volts)));
        }
        if !(self.mains_hz == 0.0 || (10.0..=1000.0).contains(&self.mains_hz)) {
            return Err(Failure::usage(format!("--mains-hz {}: it must be 0 or 10 to 1000", self.mains_hz)));
        }
        let sampling = Sampling { interval_s: self.interval_s, averaged: u32::from(self.average) };
        if let Some(asked) = self.lowest_hz {
            let lowest = SEGMENTS as f64 / (2.0 * f64::from(self.samples) * sampling.spacing_s());
            if asked.is_nan() || asked < lowest {
                let needed = (SEGMENTS as f64 / (2.0 * asked * sampling.spacing_s())).ceil();
                return Err(Failure::usage(format!(
                    "--lowest-hz {asked}: {} samples every {} s resolve {lowest:.3e} Hz and up with {SEGMENTS} averages; use \
                     --samples {needed} or a longer --interval-s",
                    self.samples,
                    sampling.spacing_s()
                )));
            }
        }
        Ok(sampling)
    }

    fn mains(&self) -> Mains {
        Mains { nominal_hz: self.mains_hz }
    }

    fn order(
        &self,
        source: TraceSource,
        volts: f64,
        region: Region,
        range: u8,
        sampling: &Sampling,
    ) -> TraceOrder {
        TraceOrder {
            source,
            volts,
            column: region.column,
            columns: region.columns,
            range,
            samples: self.samples,
            interval_ns: (sampling.interval_s * 1e9).round() as u32,
            averaged: self.average,
        }
    }

    /// The most sensitive setting that leaves a factor 1.3 for what fluctuates, from a read of the region.
    fn range(&self, opened: &mut Opened, region: Region) -> Result<u8, Failure> {
        if let Some(range) = self.range {
            opened.instrument.feedback(range)?;
            return Ok(range);
        }
        let settings =
            crate::instrument::ReadSettings { volts: self.volts.abs(), range: None, conversions: 4 };
        let map = opened.instrument.read_cells(region, &settings)?;
        let largest = map.conductance.iter().copied().fold(0.0, f64::max);
        Ok(opened.instrument.range_for(1.3 * largest * self.volts.abs())?)
    }

    /// A voltage that puts about as much current through R_cal as fits the range, at most that of the cells.
    fn reference_volts(&self, opened: &Opened, range: u8) -> Result<f64, Failure> {
        let converters = &opened.instrument.device().converters;
        let linear_v = f64::from(converters.adc_linear) * f64::from(converters.adc_step.0);
        let most_a = 0.9 * linear_v / opened.instrument.feedback(range)?;
        Ok(self.volts.abs().min(most_a * f64::from(converters.reference.0)))
    }

    #[allow(clippy::too_many_arguments)]
    fn analyse(
        &self,
        row: u16,
        column: u16,
        index: usize,
        amperes: &[f64],
        saturated: bool,
        floor: &InstrumentFloor,
        sampling: &Sampling,
    ) -> CellNoise {
        let n = amperes.len() as f64;
        let current_a = amperes.iter().sum::<f64>() / n - floor.offset_a(index);
        let mut cell = CellNoise {
            row,
            column,
            current_a,
            spectrum: Vec::new(),
            flicker: None,
            telegraph: None,
            allan: Vec::new(),
            flags: Vec::new(),
        };
        if saturated {
            cell.flags.push("saturated: the amplifier left its linear range; use a less sensitive --range or a lower --volts".to_owned());
            return cell;
        }
        if current_a.abs() <= floor.deviation_a(index) {
            cell.flags.push("no current: the cell is open, or too small for this range".to_owned());
            return cell;
        }
        // Relative to the mean current: S_I/I² = S_G/G².
        let relative: Vec<f64> = amperes.iter().map(|a| (a - floor.offset_a(index)) / current_a).collect();
        let scale = 1.0 / (current_a * current_a);
        let segment = relative.len() / (SEGMENTS / 2);
        if let Some(welch) = welch(&relative, sampling.spacing_s(), segment) {
            let instrument = |hz: f64| {
                let (density, u) = floor.density(index, hz, current_a);
                (density * scale, u * scale)
            };
            cell.spectrum = separate(&welch.per_decade(PER_DECADE), instrument);
        }
        let quoted = cell.spectrum.iter().filter(|point| point.device.is_some()).count();
        if quoted == 0 {
            cell.flags.push(
                "below the instrument: nowhere 3 dB above its noise, so nothing is said about the cell"
                    .to_owned(),
            );
            return cell;
        }
        let resolution = 1.0 / (n * sampling.spacing_s());
        let mains = self.mains();
        let leave_out = |hz: f64| mains.stands_at(hz, sampling.spacing_s(), resolution);
        let known = |hz: f64| floor.density(index, hz, current_a).0 * scale;
        match flicker::fit_beside_hidden_trap(&relative, sampling, known, leave_out) {
            Ok(fit) => {
                if !fit.resolved {
                    cell.flags.push("no 1/f noise above a white floor in this band".to_owned());
                } else if fit.reduced_chi_square > 1.0 + 5.0 * (2.0 / fit.freedom).sqrt() {
                    cell.flags.push(format!(
                        "1/f and white noise don't describe the spectrum (reduced χ² {:.2}); uncertainties are widened",
                        fit.reduced_chi_square
                    ));
                }
                if fit.lorentzian.is_some() {
                    cell.flags.push("a Lorentzian stands in the spectrum".to_owned());
                }
                cell.flicker = Some(fit);
            }
            Err(error) => cell.flags.push(format!("no fit of the spectrum: {error}")),
        }
        cell.allan = allan::overlapping(&relative, sampling.spacing_s());
        if !self.no_telegraph {
            self.look_for_traps(&mut cell, &relative, sampling, leave_out);
        }
        cell
    }

    fn look_for_traps(
        &self,
        cell: &mut CellNoise,
        relative: &[f64],
        sampling: &Sampling,
        leave_out: impl Fn(f64) -> bool + Copy,
    ) {
        let every = relative.len().div_ceil(TELEGRAPH_SAMPLES);
        let means: Vec<f64> =
            relative.chunks_exact(every).map(|c| c.iter().sum::<f64>() / every as f64).collect();
        let coarse = Sampling { averaged: sampling.averaged * every as u32, ..*sampling };
        match telegraph::fit(&means, &coarse, leave_out) {
            Ok(fit) => {
                for (number, trap) in fit.traps.iter().enumerate() {
                    if !trap.is_reliable() {
                        let doubts: Vec<&str> = trap.doubts.iter().map(|doubt| doubt.words()).collect();
                        cell.flags.push(format!("trap {} is doubtful: {}", number + 1, doubts.join(", ")));
                    }
                }
                if !fit.traps.is_empty() {
                    cell.flags.push("1/f noise is that of what the traps leave over".to_owned());
                    cell.flicker = Some(fit.background.clone());
                }
                cell.telegraph = Some(fit);
            }
            Err(error) => cell.flags.push(format!("telegraph noise was not looked for: {error}")),
        }
    }

    fn record(
        &self,
        opened: &mut Opened,
        row: u16,
        region: Region,
        range: u8,
        cells: &[CellNoise],
        traces: &Traces,
    ) -> Result<(), Failure> {
        let here: Vec<Value> = cells.iter().filter(|cell| cell.row == row).map(CellNoise::json).collect();
        let mut arrays: Vec<(&str, ArrayView2<'_, f64>)> = Vec::new();
        let samples = self.samples as usize;
        let kept =
            Array2::from_shape_fn((traces.codes.len(), samples), |(column, k)| traces.codes[column][k]);
        if self.keep_traces {
            arrays.push(("codes", kept.view()));
        }
        opened.record(
            "noise",
            &json!({
                "row": row, "column": region.column, "columns": region.columns, "volts": self.volts, "range": range,
                "samples": self.samples, "interval_s": self.interval_s, "average": self.average, "at_ns": traces.at_ns,
                "mains_hz": self.mains_hz,
            }),
            &json!({"cells": here}),
            &arrays,
        )
    }

    fn report(&self, output: &mut Output, floor: &InstrumentFloor, cells: &[CellNoise], sampling: &Sampling) {
        let lowest = SEGMENTS as f64 / (2.0 * f64::from(self.samples) * sampling.spacing_s());
        output.say(format_args!(
            "noise    {} samples of {} V every {} s: {:.3e} to {:.3e} Hz",
            self.samples,
            self.volts,
            sampling.spacing_s(),
            lowest,
            0.5 / sampling.spacing_s()
        ));
        output.say(format_args!(
            "floor    rows open: {}/√Hz at the top of the band; through R_cal {:.1e}/√Hz of the current more",
            si(floor.white_a(), "A"),
            floor.relative_white()
        ));
        output.say(" row col   current      1/f at 1 Hz (S_G/G²)   exponent        corner    device/instrument   traps");
        for cell in cells {
            output.say(cell.line());
            for flag in &cell.flags {
                output.say(format_args!("          {flag}"));
            }
        }
        output.set("samples", self.samples);
        output.set("spacing_s", sampling.spacing_s());
        output.set("volts", self.volts);
        output.set("lowest_hz", lowest);
        output.set("floor", floor.json());
        output.set("cells", cells.iter().map(CellNoise::json).collect::<Vec<_>>());
    }
}

/// Amplifiers invert: current into a column per ADC code, A.
fn current_per_code(opened: &Opened, range: u8) -> Result<f64, Failure> {
    let step = f64::from(opened.instrument.device().converters.adc_step.0);
    Ok(-step / opened.instrument.feedback(range)?)
}

/// An estimate as JSON: value, standard uncertainty and the ends of its 95 % interval.
pub(super) fn estimate(estimate: &Estimate) -> Value {
    let (low, high) = estimate.interval(0.95);
    json!({"value": estimate.value, "standard_uncertainty": estimate.standard_uncertainty,
           "degrees_of_freedom": estimate.degrees_of_freedom, "interval_95": [low, high]})
}

/// The same of a quantity whose logarithm was estimated.
pub(super) fn exponential(ln: &Estimate) -> Value {
    let (low, high) = ln.interval(0.95);
    json!({"value": ln.value.exp(), "relative_standard_uncertainty": ln.standard_uncertainty,
           "interval_95": [low.exp(), high.exp()]})
}

impl CellNoise {
    /// Device over instrument where it is largest, dB.
    fn clearance_db(&self) -> Option<f64> {
        let ratios = self.spectrum.iter().filter_map(|point| point.ratio);
        ratios.max_by(f64::total_cmp).filter(|ratio| *ratio > 0.0).map(|ratio| 10.0 * ratio.log10())
    }

    fn line(&self) -> String {
        let flicker = match &self.flicker {
            Some(fit) if fit.resolved => format!(
                "{:.2e} ± {:>2.0} %   {:.3} ± {:.3}   {:>9}",
                fit.ln_density_1_hz.value.exp(),
                100.0 * fit.ln_density_1_hz.standard_uncertainty,
                fit.exponent.value,
                fit.exponent.standard_uncertainty,
                fit.corner_hz.map_or_else(|| "-".to_owned(), |hz| si(hz, "Hz"))
            ),
            _ => format!("{:>44}", "-"),
        };
        let traps = self.telegraph.as_ref().map_or_else(String::new, |fit| {
            let upper = fit.upper_level(1.0);
            let each = fit.traps.iter().map(|trap| {
                format!(
                    "ΔG/G {:.2e}, {} / {}",
                    trap.amplitude.value / upper,
                    si(trap.ln_dwell_s[0].value.exp(), "s"),
                    si(trap.ln_dwell_s[1].value.exp(), "s")
                )
            });
            each.collect::<Vec<_>>().join("; ")
        });
        let clear = self.clearance_db().map_or_else(|| "-".to_owned(), |db| format!("{db:.0} dB"));
        format!(
            "{:4} {:3}   {:>10}   {flicker}   {clear:>10}   {traps}",
            self.row,
            self.column,
            si(self.current_a, "A")
        )
    }

    fn json(&self) -> Value {
        let flicker = self.flicker.as_ref().map(|fit| {
            json!({
                "resolved": fit.resolved,
                "density_1_hz_per_hz": exponential(&fit.ln_density_1_hz),
                "exponent": estimate(&fit.exponent),
                "white_per_hz": estimate(&fit.white),
                "corner_hz": fit.corner_hz,
                "band_hz": [fit.band_hz.0, fit.band_hz.1],
                "reduced_chi_square": fit.reduced_chi_square,
                "lorentzian": fit.lorentzian.map(|l| json!({"density_per_hz": l.density, "corner_hz": l.corner_hz})),
            })
        });
        let traps = self.telegraph.as_ref().map(|fit| {
            // Samples are relative to their mean; a step is of the conductance with every trap in its upper state.
            let upper = fit.upper_level(1.0);
            let trap = |trap: &telegraph::Trap| {
                json!({
                    "amplitude_relative": estimate(&trap.amplitude.scaled(1.0 / upper)),
                    "amplitude_a": estimate(&trap.amplitude.scaled(self.current_a)),
                    "dwell_lower_s": exponential(&trap.ln_dwell_s[0]),
                    "dwell_upper_s": exponential(&trap.ln_dwell_s[1]),
                    "transitions": trap.transitions,
                    "reliable": trap.is_reliable(),
                })
            };
            json!({
                "traps": fit.traps.iter().map(trap).collect::<Vec<_>>(),
                "background_deviation_relative": fit.deviation,
                "criteria": fit.criteria,
            })
        });
        let allan: Vec<Value> = self
            .allan
            .iter()
            .map(|point| {
                let (low, high) = point.interval(0.95);
                json!({"tau_s": point.tau_s, "deviation_relative": point.deviation, "interval_95": [low, high]})
            })
            .collect();
        json!({
            "row": self.row, "column": self.column, "current_a": self.current_a,
            "spectrum_relative_per_hz": self.spectrum, "flicker": flicker, "telegraph": traps, "allan": allan,
            "flags": self.flags,
        })
    }
}
