//! `ohmrig drift`: the drift exponent ν of every cell, and temperature coefficients where the board's temperature wandered enough.

use super::noise::{estimate, exponential};
use super::retention::{Aged, AgingArgs};
use super::{Failure, Global, Output};
use crate::metrology::drift::{self, DriftFit, Read};
use crate::metrology::temperature::{self, LEAST_SPAN_K};
use clap::Args;
use ndarray::Array2;
use serde_json::{Value, json};

/// Program cells, read them at log-spaced times, fit ν.
#[derive(Debug, Args)]
pub(super) struct Drift {
    #[command(flatten)]
    aging: AgingArgs,
}

impl Drift {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let reads = self.aging.schedule.times()?.len();
        if reads < 6 {
            return Err(Failure::usage(format!(
                "{reads} reads are too few for a drift exponent; choose a later --last-s or more --per-decade, for at least 6"
            )));
        }
        let Some((mut opened, work, aged)) = self.aging.measure("drift", global, output)? else {
            return Ok(());
        };
        let mut cells = Vec::new();
        let mut exponents = Array2::from_elem(aged.targets.dim(), f64::NAN);
        let mut uncertainties = exponents.clone();
        output.say(" row col      ν");
        for row in 0..aged.targets.nrows() {
            for column in 0..aged.targets.ncols() {
                let (found, flags) = one(&aged, row, column);
                let (line, column_line) =
                    (aged.region.row as usize + row, aged.region.column as usize + column);
                if let Some(fit) = &found {
                    exponents[(row, column)] = fit.exponent.value;
                    uncertainties[(row, column)] = fit.exponent.standard_uncertainty;
                    output.say(format_args!(
                        "{line:4} {column_line:3}   {:+.4} ± {:.4}  {}",
                        fit.exponent.value,
                        fit.exponent.standard_uncertainty,
                        flags.join("; ")
                    ));
                } else {
                    output.say(format_args!("{line:4} {column_line:3}   {}", flags.join("; ")));
                }
                cells.push(json!({
                    "row": line, "column": column_line, "exponent": found.as_ref().map(|f| estimate(&f.exponent)),
                    "conductance_s": found.as_ref().map(|f| exponential(&f.ln_conductance)),
                    "reference_s": found.as_ref().map(|f| f.reference_s),
                    "t0_s": found.as_ref().map(|f| exponential(&f.ln_t0_s)),
                    "fluctuation_relative": found.as_ref().map(|f| f.fluctuation), "flags": flags,
                    "temperature_coefficient_per_k": coefficient(&aged, row, column, found.as_ref()),
                }));
            }
        }
        let measured = cells.iter().any(|cell| !cell["temperature_coefficient_per_k"].is_null());
        if !measured {
            output.say(format_args!(
                "temperature coefficients are unmeasurable: the board's temperature wandered by less than {LEAST_SPAN_K} K, or the \
                 sensor said nothing"
            ));
        }
        output.set("temperature_coefficients_measurable", measured);
        output.set("temperature_k", &aged.kelvin);
        output.set("cells", &cells);
        work.done(
            &mut opened,
            output,
            &json!({"cells": cells}),
            &[("exponent", exponents.view()), ("exponent_uncertainty", uncertainties.view())],
        )
    }
}

/// The fit of one cell, and what is to be said about it.
fn one(aged: &Aged, row: usize, column: usize) -> (Option<DriftFit>, Vec<String>) {
    let mut flags = Vec::new();
    if aged.saturated[(row, column)] {
        return (None, vec!["saturated: no value".to_owned()]);
    }
    if !aged.inside[(row, column)] {
        flags.push("did not reach its window: it hardly switches, or its noise is wider".to_owned());
    }
    let reads: Vec<Read> = (0..aged.times_s.len()).map(|read| aged.read(read, row, column)).collect();
    match drift::fit(&reads, aged.read_s / aged.targets.nrows() as f64) {
        Ok(fit) => (Some(fit), flags),
        Err(error) => {
            flags.push(format!("no fit: {error}"));
            (None, flags)
        }
    }
}

/// d(ln G)/dT beside the drift; null if the temperature wandered too little.
fn coefficient(aged: &Aged, row: usize, column: usize, fit: Option<&DriftFit>) -> Value {
    let Some(fit) = fit else { return Value::Null };
    let with = aged.kelvin.iter().enumerate().filter_map(|(read, kelvin)| Some((read, (*kelvin)?)));
    let (which, kelvin): (Vec<usize>, Vec<f64>) = with.unzip();
    let reads: Vec<Read> = which.into_iter().map(|read| aged.read(read, row, column)).collect();
    let (read_s, t0_s) = (aged.read_s / aged.targets.nrows() as f64, fit.ln_t0_s.value.exp());
    temperature::coefficient(&reads, &kelvin, read_s, t0_s).as_ref().map_or(Value::Null, estimate)
}
