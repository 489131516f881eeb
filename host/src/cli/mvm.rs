//! `ohmrig mvm`: vectors of volts in, vectors of amperes out.

use super::open::open;
use super::output::{percent, si};
use super::{Failure, Global, Output};
use crate::arrays;
use crate::error_metrics::{MvmErrors, errors, noise_rms};
use crate::instrument::{ProductSettings, ReadSettings};
use clap::Args;
use ndarray::Array2;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Debug, Args)]
pub(super) struct MvmCommand {
    /// Row voltages, V, .npy of (batch, rows)
    input: PathBuf,
    /// Write the column currents here, A, .npy of (batch, columns)
    #[arg(long, value_name = "NPY")]
    output: Option<PathBuf>,
    /// Exact column currents to compare with, A, .npy of (batch, columns)
    #[arg(long, value_name = "NPY")]
    reference: Option<PathBuf>,
    /// Feedback setting of the amplifiers [default: what the largest current needs, measured first]
    #[arg(long, value_name = "INDEX")]
    range: Option<u8>,
    /// Conversions averaged per vector
    #[arg(long, default_value_t = 1, value_name = "N")]
    conversions: u16,
    /// Take everything twice, to tell noise from nonlinearity
    #[arg(long)]
    repeat: bool,
    /// Highest conductance that full scale counts with, S [default: the largest cell, measured]
    #[arg(long, value_name = "S")]
    g_max_s: Option<f64>,
}

impl MvmCommand {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let input = arrays::read(&self.input, "(batch, rows)")?;
        let reference =
            self.reference.as_ref().map(|path| arrays::read(path, "(batch, columns)")).transpose()?;
        let mut opened = open(global, output)?;
        let (rows, columns) = (opened.instrument.device().rows, opened.instrument.device().columns);
        arrays::require_shape(&self.input, &input, None, Some(usize::from(rows)))?;
        if let (Some(path), Some(reference)) = (&self.reference, &reference) {
            arrays::require_shape(path, reference, Some(input.nrows()), Some(usize::from(columns)))?;
        }
        let largest_input = input.iter().fold(0.0_f64, |largest, v| largest.max(v.abs()));
        // What range and full scale need to know about the array.
        let cells = if self.range.is_none() || (reference.is_some() && self.g_max_s.is_none()) {
            let settings = ReadSettings { volts: 0.2, range: None, conversions: 4 };
            let whole = opened.instrument.whole();
            Some(opened.instrument.read_cells(whole, &settings)?.conductance)
        } else {
            None
        };
        let range = match (self.range, &cells) {
            (Some(range), _) => range,
            (None, Some(cells)) => {
                // A tenth more than the cells as read would draw.
                let current = input.dot(cells).iter().fold(0.0_f64, |largest, i| largest.max(i.abs()));
                opened.instrument.range_for(1.1 * current)?
            }
            (None, None) => 0,
        };
        let settings = ProductSettings { range, conversions: self.conversions, interval_ns: 0 };
        let bar = output.bar(input.nrows(), "multiplying");
        let before = opened.instrument.client().traffic();
        let start = Instant::now();
        let products = opened.instrument.mvm(input.view(), settings, |done| bar.set_position(done as u64))?;
        let wall_s = start.elapsed().as_secs_f64();
        let after = opened.instrument.client().traffic();
        let bytes = after.sent + after.received - before.sent - before.received;
        bar.finish_and_clear();
        let noise = if self.repeat {
            let again = opened.instrument.mvm(input.view(), settings, |_| {})?;
            Some(noise_rms(products.currents.view(), again.currents.view()))
        } else {
            None
        };
        let found: Option<MvmErrors> = reference.as_ref().map(|exact| {
            let g_max = self.g_max_s.unwrap_or_else(|| largest(cells.as_ref()));
            let full_scale = f64::from(rows) * g_max * largest_input;
            errors(input.view(), products.currents.view(), exact.view(), full_scale, noise)
        });
        output.say(format_args!(
            "{} vectors in {:.3} s ({:.0} per second), range {range}, {} conversions each{}",
            input.nrows(),
            wall_s,
            input.nrows() as f64 / wall_s,
            self.conversions,
            match products.saturated {
                0 => String::new(),
                n => format!("; {n} SATURATED samples, choose a higher --range"),
            }
        ));
        if let Some(noise) = noise {
            output.say(format_args!("noise      {} rms", si(noise, "A")));
            output.set("noise_rms_a", noise);
        }
        if let Some(found) = &found {
            say_errors(output, found);
            set_errors(output, "", found);
        }
        output.set("vectors", input.nrows());
        output.set("wall_s", wall_s);
        output.set("link.bytes_per_mvm", bytes as f64 / input.nrows() as f64);
        output.set("link.bytes_per_mvm_minimum", opened.instrument.mvm_payload_bytes(self.conversions));
        output.set("range", range);
        output.set("conversions", self.conversions);
        output.set("saturated", products.saturated);
        let values = json!({"wall_s": wall_s, "saturated": products.saturated, "errors": found});
        opened.record(
            "mvm",
            &json!({"range": range, "conversions": self.conversions}),
            &values,
            &[("input_v", input.view()), ("current_a", products.currents.view())],
        )?;
        if let Some(path) = &self.output {
            arrays::write(path, products.currents.view()).map_err(Failure::failed)?;
        }
        Ok(())
    }
}

fn largest(cells: Option<&Array2<f64>>) -> f64 {
    cells.map_or(0.0, |cells| cells.iter().copied().fold(0.0, f64::max))
}

/// Errors for people.
pub(super) fn say_errors(output: &Output, errors: &MvmErrors) {
    output.say(format_args!(
        "products l2_relative {}; full_scale {} worst, {} rms ({} vectors, against exact arithmetic)",
        percent(errors.l2_relative),
        percent(errors.full_scale_worst),
        percent(errors.full_scale_rms),
        errors.vectors
    ));
    if let Some(parts) = &errors.parts {
        let rest = match (parts.noise_l2, parts.nonlinear_l2) {
            (Some(noise), Some(nonlinear)) => {
                format!(", noise {}, nonlinear {}", percent(noise), percent(nonlinear))
            }
            _ => format!(", residual {}", percent(parts.residual_l2)),
        };
        output.say(format_args!(
            "         of which linear (calibration can undo it) {}{rest}",
            percent(parts.linear_l2)
        ));
    }
}

/// Errors for scripts, under `prefix`.
pub(super) fn set_errors(output: &mut Output, prefix: &str, errors: &MvmErrors) {
    let mut set = |name: &str, value: Option<f64>| output.set(&format!("{prefix}{name}"), value);
    set("l2_relative", Some(errors.l2_relative));
    set("full_scale_worst", Some(errors.full_scale_worst));
    set("full_scale_rms", Some(errors.full_scale_rms));
    set("full_scale", Some(errors.full_scale_worst));
    let parts = errors.parts;
    set("linear_l2", parts.map(|p| p.linear_l2));
    set("residual_l2", parts.map(|p| p.residual_l2));
    set("linear_full_scale_worst", parts.map(|p| p.linear_full_scale_worst));
    set("residual_full_scale_worst", parts.map(|p| p.residual_full_scale_worst));
    set("noise_l2", parts.and_then(|p| p.noise_l2));
    set("nonlinear_l2", parts.and_then(|p| p.nonlinear_l2));
}
