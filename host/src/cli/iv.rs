//! `ohmrig iv`: current over voltage of one cell, up and down, by a staircase of reads or by pulses; and which law it
//! follows.

use super::noise::estimate;
use super::open::{Opened, open};
use super::output::si;
use super::{Failure, Global, Output, calibrate};
use crate::instrument::{InstrumentError, ReadSettings, TraceOrder};
use crate::metrology::current_voltage::{IvPoint, Law, LawFit, fit};
use clap::Args;
use ndarray::Array2;
use ohmrig_protocol::message::{Pulse, Refusal, Region, Scheme, TraceSource};
use ohmrig_protocol::units::{Seconds, Volts};
use serde_json::json;

/// Current over voltage of one cell.
#[derive(Debug, Args)]
pub(super) struct Iv {
    /// Row, counted from 0
    #[arg(long, value_name = "ROW")]
    row: u16,
    /// Column, counted from 0
    #[arg(long, value_name = "COLUMN")]
    column: u16,
    /// Largest voltage, V; the curve goes 0 → +V → 0 → −V → 0
    #[arg(long, default_value_t = 0.4, value_name = "V")]
    max_volts: f64,
    /// Steps from 0 to the largest voltage
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=1000))]
    steps: u16,
    /// Apply each voltage as a pulse of this width, s, with the array armed: beyond the limit of reads, devices switch
    #[arg(long, value_name = "S")]
    pulse_width_s: Option<f64>,
    /// The curve turns back where |current| passes this, A
    #[arg(long, value_name = "A")]
    compliance_a: Option<f64>,
    /// Conversions averaged per point, spread over one period of the mains
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    conversions: u16,
    /// Mains frequency, Hz
    #[arg(long, default_value_t = 50.0, value_name = "HZ")]
    mains_hz: f64,
}

/// OR-16 in series with a row and with a column, Ω (docs/hardware.md): protection and switch; switch.
const ROW_OHM: f64 = 101.5;
const COLUMN_OHM: f64 = 1.5;
/// Integral nonlinearity of converters, codes, as standard uncertainties of even distributions: LTC2688 ±4 LSB at most
/// (LTC2655, data sheet, first page), AD7606C-16 within ±2 LSB.
const DAC_CODES: f64 = 4.0 / 1.732;
const ADC_CODES: f64 = 2.0 / 1.732;
/// An armed curve's pulses take this long at most, ms; renewed at every pulse.
const ARM_MS: u32 = 10_000;

/// What a cell is measured through.
#[derive(Clone, Copy)]
struct Line {
    /// Of the row's other cells together, and its own, as read in place at a low voltage, S.
    others_s: f64,
    own_s: f64,
    /// In series with the row and with the column: as calibrated, else nominal, Ω.
    row_ohm: f64,
    column_ohm: f64,
}

/// One point as measured.
struct Measured {
    point: IvPoint,
    rising: bool,
    saturated: bool,
}

impl Iv {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        for (name, value) in [
            ("--max-volts", Some(self.max_volts)),
            ("--pulse-width-s", self.pulse_width_s),
            ("--compliance-a", self.compliance_a),
            ("--mains-hz", Some(self.mains_hz)),
        ] {
            if let Some(value) = value
                && !(value.is_finite() && value > 0.0)
            {
                return Err(Failure::usage(format!("{name} {value}: it must be positive")));
            }
        }
        let mut opened = open(global, output)?;
        let cell = Region { row: self.row, column: self.column, rows: 1, columns: 1 };
        opened.instrument.check_region(cell)?;
        let device = opened.instrument.device();
        let allowed = f64::from(device.limits.read.0);
        if self.pulse_width_s.is_none() && self.max_volts * 1.005 + 0.02 > allowed {
            return Err(Failure::usage(format!(
                "--max-volts {}: reads are limited to {allowed} V with tolerance, beyond which devices move; use --pulse-width-s to \
                 go further with pulses",
                self.max_volts
            )));
        }
        // What else the row carries lowers its voltage.
        let row = Region { row: self.row, column: 0, rows: 1, columns: device.columns };
        let volts = self.max_volts.min(opened.instrument.usual_read_volts());
        let settings = ReadSettings { volts, range: None, conversions: 16 };
        let row = opened.instrument.read_cells(row, &settings)?;
        let total_s: f64 = row.conductance.iter().sum();
        let own_s = row.conductance[(0, usize::from(self.column))];
        let largest_s = row.conductance.iter().fold(0.0, |largest: f64, g| largest.max(g.abs()));
        let range = opened.instrument.range_for(2.0 * largest_s * self.max_volts)?;
        let series = calibrate::own(&mut opened)?.and_then(|calibration| calibration.series);
        let (row_ohm, column_ohm) =
            series.map_or((ROW_OHM, COLUMN_OHM), |series| (series.row_ohms.value, series.column_ohms.value));
        let line = Line { others_s: total_s - own_s, own_s, row_ohm, column_ohm };
        let (measured, turned) = self.curve(&mut opened, range, line, output)?;
        let mut flags = Vec::new();
        if let Some(volts) = turned {
            flags.push(format!("compliance reached at {volts} V: the curve turned back there"));
        }
        if measured.iter().any(|point| point.saturated) {
            flags.push("saturated: at some points a column of the row is beyond its amplifier's range; these are left out".to_owned());
        }
        let points: Vec<IvPoint> = measured.iter().filter(|p| !p.saturated).map(|p| p.point).collect();
        let fits = fit(&points).map_err(Failure::failed)?;
        if let Some(volts) = moved(&measured, &fits[0]) {
            flags.push(format!(
                "up and down differ by more than five standard uncertainties at {volts} V: the cell moved, and the laws are of \
                 a mixture of its states"
            ));
        }
        if fits[0].conductance_s.covers(0.0, 0.999) {
            flags.push("no current: the cell is open, or too small for this range".to_owned());
        }
        if !fits[0].is_adequate() {
            flags.push("none of the laws fits within the uncertainties; theirs are widened".to_owned());
        }
        self.report(output, &fits, &flags, &measured);
        let table = Array2::from_shape_fn((measured.len(), 3), |(k, column)| {
            let point = measured[k].point;
            [point.volts, point.amperes, point.total_uncertainty_a()][column]
        });
        opened.record(
            "iv",
            &json!({"row": self.row, "column": self.column, "max_volts": self.max_volts, "steps": self.steps,
                    "pulse_width_s": self.pulse_width_s, "compliance_a": self.compliance_a, "range": range}),
            &json!({"fits": fits, "flags": flags}),
            &[("volts_amperes_uncertainty", table.view())],
        )
    }

    /// 0 → +V → 0 → −V → 0, and where compliance turned it back.
    fn curve(
        &self,
        opened: &mut Opened,
        range: u8,
        line: Line,
        output: &Output,
    ) -> Result<(Vec<Measured>, Option<f64>), Failure> {
        let steps = i32::from(self.steps);
        let bar = output.bar(4 * self.steps as usize, "stairs");
        let mut measured = Vec::new();
        let mut turned = None;
        for sign in [1.0, -1.0] {
            let mut top = steps;
            for step in 0..=steps {
                let volts = sign * self.max_volts * f64::from(step) / f64::from(steps);
                let point = self.point(opened, volts, range, line, true)?;
                bar.inc(1);
                let beyond = match &point {
                    None => true,
                    Some(point) => self.compliance_a.is_some_and(|most| point.point.amperes.abs() > most),
                };
                measured.extend(point);
                if beyond {
                    turned.get_or_insert(volts);
                    top = step;
                    break;
                }
            }
            for step in (0..top).rev() {
                let volts = sign * self.max_volts * f64::from(step) / f64::from(steps);
                measured.extend(self.point(opened, volts, range, line, false)?);
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        if self.pulse_width_s.is_some() {
            opened.instrument.safe()?;
        }
        Ok((measured, turned))
    }

    /// One point; nothing where the device's own current limit refused or tripped.
    fn point(
        &self,
        opened: &mut Opened,
        volts: f64,
        range: u8,
        line: Line,
        rising: bool,
    ) -> Result<Option<Measured>, Failure> {
        let Line { others_s, own_s, row_ohm, column_ohm } = line;
        let instrument = &mut opened.instrument;
        let converters = instrument.device().converters;
        let code_a = f64::from(converters.adc_step.0) / instrument.feedback(range)?;
        let applied_v = instrument.applied_volts(volts);
        // As the row was read at a low voltage; measured where it can be.
        let mut others_a = applied_v * others_s / (1.0 + row_ohm * (others_s + own_s));
        let (amperes, scatter_a, converter_a, saturated, at_ns) = match self.pulse_width_s {
            // No pulse has no current to show.
            Some(_) if volts == 0.0 => return Ok(None),
            Some(width) => {
                instrument.arm(ARM_MS)?;
                let pulse = Pulse {
                    row: self.row,
                    column: self.column,
                    volts: Volts(volts as f32),
                    width: Seconds(width as f32),
                    scheme: Scheme::Grounded,
                    gate: None,
                };
                match instrument.pulse(pulse) {
                    Ok(pulsed) => {
                        let current = pulsed.current_a.ok_or_else(|| {
                            Failure::usage(format!(
                                "--pulse-width-s {width}: too short for the current to be sampled; use a longer one"
                            ))
                        })?;
                        // Two conversions in the least sensitive range.
                        let least = converters.feedback.iter().map(|r| f64::from(r.0)).filter(|r| *r > 0.0);
                        let least_ohm = least.fold(f64::INFINITY, f64::min);
                        let code_a = f64::from(converters.adc_step.0) / least_ohm;
                        (current, 0.5 * code_a, code_a * ADC_CODES, false, pulsed.at_ns)
                    }
                    Err(InstrumentError::Refused { refusal: Refusal::Fault(code), .. }) => {
                        instrument.clear_fault(code)?;
                        return Ok(None);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            None => {
                let interval_ns = (1e9 / self.mains_hz / f64::from(self.conversions)) as u32;
                // The whole row: what it carries lowers the voltage of the cell.
                let order = TraceOrder {
                    source: TraceSource::Row(self.row),
                    volts,
                    column: 0,
                    columns: instrument.device().columns,
                    range,
                    samples: u32::from(self.conversions),
                    interval_ns,
                    averaged: 1,
                };
                let traces = instrument.trace(&order, |_| {})?;
                let n = f64::from(self.conversions);
                let mean = |codes: &[f64]| codes.iter().sum::<f64>() / n;
                let codes = &traces.codes[usize::from(self.column)];
                let own = mean(codes);
                let square = codes.iter().map(|code| (code - own).powi(2)).sum::<f64>();
                let scatter = (square / (n - 1.0).max(1.0) / n + 1.0 / 12.0).sqrt();
                let row: f64 = traces.codes.iter().map(|codes| mean(codes)).sum();
                others_a = (own - row) * code_a;
                let beyond = traces.saturated > 0;
                (-own * code_a, code_a * scatter, code_a * ADC_CODES, beyond, traces.at_ns)
            }
        };
        // The row's own voltage with everything it carries, and the drop at the column's switch.
        let row_v = applied_v - row_ohm * (others_a + amperes);
        let cell_v = row_v - column_ohm * amperes;
        let from_volts_a = own_s * DAC_CODES * f64::from(converters.dac_step.0);
        let point = IvPoint {
            time_s: at_ns as f64 * 1e-9,
            driver_v: volts,
            volts: cell_v,
            amperes,
            standard_uncertainty_a: scatter_a,
            nonlinearity_a: converter_a.hypot(from_volts_a),
        };
        Ok(Some(Measured { point, rising, saturated }))
    }

    fn report(&self, output: &mut Output, fits: &[LawFit], flags: &[String], measured: &[Measured]) {
        output.say(format_args!(
            "iv       row {}, column {}: {} points",
            self.row,
            self.column,
            measured.len()
        ));
        for fit in fits {
            let parameter = match fit.law {
                Law::Linear => String::new(),
                Law::Sinh => match fit.v0_v() {
                    Some(v0) => format!("V0 = {:.4} ± {:.4} V", v0.value, v0.standard_uncertainty),
                    None => "no curvature: V0 is not determined".to_owned(),
                },
                Law::Cubic => {
                    format!("c = {:.4} ± {:.4} /V²", fit.parameter.value, fit.parameter.standard_uncertainty)
                }
                Law::Schottky => format!(
                    "1/√V_s = {:.4} ± {:.4} /√V",
                    fit.parameter.value, fit.parameter.standard_uncertainty
                ),
            };
            output.say(format_args!(
                "{:9} G = {} ± {}   χ²/ν {:.2}   ΔBIC {:5.1}   {parameter}",
                fit.law.name(),
                si(fit.conductance_s.value, "S"),
                si(fit.conductance_s.standard_uncertainty, "S"),
                fit.chi_square / fit.freedom,
                fit.criterion,
            ));
        }
        output.say(format_args!("best     {}", fits[0].law.name()));
        for flag in flags {
            output.say(format_args!("         {flag}"));
        }
        let points = measured.iter().map(|m| {
            json!({"time_s": m.point.time_s, "asked_v": m.point.driver_v, "cell_v": m.point.volts, "current_a": m.point.amperes,
                   "standard_uncertainty_a": m.point.total_uncertainty_a(), "nonlinearity_a": m.point.nonlinearity_a,
                   "rising": m.rising, "saturated": m.saturated})
        });
        output.set("points", points.collect::<Vec<_>>());
        output.set("best", fits[0].law);
        let laws = fits.iter().map(|fit| {
            json!({"law": fit.law, "conductance_s": estimate(&fit.conductance_s), "parameter": estimate(&fit.parameter),
                   "v0_v": fit.v0_v().as_ref().map(estimate), "offset_a": estimate(&fit.offset_a),
                   "chi_square": fit.chi_square, "degrees_of_freedom": fit.freedom, "delta_bic": fit.criterion,
                   "adequate": fit.is_adequate()})
        });
        output.set("laws", laws.collect::<Vec<_>>());
        output.set("flags", flags);
    }
}

/// The voltage at which up and down differ by more than five standard uncertainties, most of which both share.
fn moved(measured: &[Measured], best: &LawFit) -> Option<f64> {
    let slope = best.conductance_s.value;
    measured.iter().filter(|up| up.rising).find_map(|up| {
        let down = measured.iter().find(|down| !down.rising && down.point.driver_v == up.point.driver_v)?;
        let difference = up.point.amperes - down.point.amperes - slope * (up.point.volts - down.point.volts);
        // Two points of a fluctuating device differ by more than their own uncertainties.
        let fluctuation_a = 3.0 * best.fluctuation * up.point.amperes;
        let u = up.point.total_uncertainty_a().hypot(down.point.total_uncertainty_a()).hypot(fluctuation_a);
        (difference.abs() > 5.0 * u).then_some(up.point.driver_v)
    })
}
