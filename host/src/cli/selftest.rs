//! `ohmrig selftest`: reads back every chip, then checks every row driver and every column amplifier against the
//! reference resistors.

use super::open::open;
use super::{Failure, Global, Kind, Output};
use crate::instrument::{InstrumentError, ReadSettings, refusal};
use clap::Args;
use ndarray::{Array2, Axis};
use ohmrig_protocol::message::Refusal;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct Selftest {
    /// Test voltage, V
    #[arg(long, default_value_t = 0.2, value_name = "V")]
    volts: f64,
    /// Conversions at each polarity
    #[arg(long, default_value_t = 16, value_name = "N")]
    conversions: u16,
    /// Largest deviation of a line from nominal, relative
    #[arg(long, default_value_t = TOLERANCE, value_name = "FRACTION")]
    tolerance: f64,
}

/// On-resistance of a switch, Ω (ADGS1414D data sheet, first page): one is shared by all columns on the calibration
/// bus, one is each column's own.
const SWITCH_OHMS: f64 = 1.5;

/// Largest deviation that isn't a defect: 1 % feedback resistors, 0.5 % drivers and converters at 0.2 V.
const TOLERANCE: f64 = 0.02;

impl Selftest {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        if !(self.volts.is_finite() && self.volts > 0.0) {
            return Err(Failure::usage(format!("--volts {}: it must be positive", self.volts)));
        }
        let mut opened = open(global, output)?;
        match opened.instrument.check_chips() {
            Ok(()) => output.say("chips    every one answers and reads back as set"),
            Err(InstrumentError::Refused { refusal: Refusal::Fault(code), .. }) => {
                let status = opened.instrument.status()?;
                let chip = status.fault.and_then(|fault| fault.chip);
                output.set("chips", "fault");
                return Err(Failure::new(
                    Kind::Refused,
                    format_args!(
                        "UNSAFE: {} fault{}; the board went to SAFE or DEAD: check supplies and wiring, then `ohmrig safe \
                         --clear-fault {}`",
                        refusal::fault(code),
                        chip.map(|(kind, index)| format!(" at {kind:?} {index}")).unwrap_or_default(),
                        refusal::fault(code)
                    ),
                ));
            }
            Err(error) => return Err(error.into()),
        }
        output.set("chips", "ok");
        let device = opened.instrument.device();
        let (rows, columns) = (device.rows, device.columns);
        let shared = SWITCH_OHMS * f64::from(columns);
        let nominal = 1.0 / (f64::from(device.converters.reference.0) + shared + SWITCH_OHMS);
        let settings = ReadSettings { volts: self.volts, range: None, conversions: self.conversions };
        let bar = output.bar(usize::from(rows), "reference loop");
        let mut deviation = Array2::zeros((usize::from(rows), usize::from(columns)));
        for row in 0..rows {
            let map = opened.instrument.read_reference(row, &settings)?;
            for column in 0..usize::from(columns) {
                let value = map.conductance[(0, column)] / nominal - 1.0;
                deviation[(usize::from(row), column)] =
                    if map.saturated[(0, column)] { f64::INFINITY } else { value };
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let bad_rows = lines(&deviation, Axis(0), self.tolerance);
        let bad_columns = lines(&deviation, Axis(1), self.tolerance);
        for (what, bad, axis) in [("row", &bad_rows, Axis(0)), ("column", &bad_columns, Axis(1))] {
            for (index, line) in deviation.axis_iter(axis).enumerate() {
                let mean = line.iter().sum::<f64>() / line.len() as f64;
                let verdict = if bad.contains(&index) { "WRONG" } else { "ok" };
                output
                    .say(format_args!("{what:<6} {index:>3}  {:+.3} % of nominal  {verdict}", 100.0 * mean));
            }
        }
        let worst = deviation.iter().fold(0.0_f64, |worst, d| worst.max(d.abs()));
        output.set("reference.worst_relative", worst);
        output.set("reference.bad_rows", &bad_rows);
        output.set("reference.bad_columns", &bad_columns);
        let settings =
            json!({"volts": self.volts, "conversions": self.conversions, "tolerance": self.tolerance});
        let values = json!({"worst_relative": worst});
        opened.record("selftest", &settings, &values, &[("deviation_relative", deviation.view())])?;
        if bad_rows.is_empty() && bad_columns.is_empty() {
            output.say(format_args!(
                "all lines within ±{} % (worst {:.3} %)",
                100.0 * self.tolerance,
                100.0 * worst
            ));
            return Ok(());
        }
        Err(Failure::new(
            Kind::Refused,
            format_args!(
                "UNSAFE: {} and {} are off by more than {} %; don't program with this board",
                count(&bad_rows, "row drivers"),
                count(&bad_columns, "column amplifiers"),
                100.0 * self.tolerance
            ),
        ))
    }
}

/// How many lines, and the first of them.
fn count(lines: &[usize], what: &str) -> String {
    match lines {
        [] => format!("no {what}"),
        [first, ..] => format!("{} {what} (the first is {first})", lines.len()),
    }
}

/// Lines of which more than half of the crossings are out of tolerance: a line is to blame for all of its crossings,
/// a crossing by itself can't be wrong.
fn lines(deviation: &Array2<f64>, axis: Axis, tolerance: f64) -> Vec<usize> {
    deviation
        .axis_iter(axis)
        .enumerate()
        .filter(|(_, line)| {
            let bad = line.iter().filter(|d| d.is_nan() || d.abs() > tolerance).count();
            2 * bad > line.len()
        })
        .map(|(index, _)| index)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_driver_is_blamed_on_its_row_alone() {
        let mut deviation = Array2::zeros((4, 4));
        deviation.row_mut(2).fill(0.5);
        assert_eq!(lines(&deviation, Axis(0), 0.02), [2]);
        assert!(lines(&deviation, Axis(1), 0.02).is_empty());
    }

    #[test]
    fn a_value_that_is_not_a_number_is_out_of_tolerance() {
        let mut deviation = Array2::zeros((3, 3));
        deviation.column_mut(1).fill(f64::NAN);
        assert_eq!(lines(&deviation, Axis(1), 0.02), [1]);
    }
}
