//! `ohmrig mvm`: vectors of volts in, vectors of amperes out.

use super::correct::{CorrectionArgs, explain, say_budget};
use super::open::{Opened, open};
use super::output::{percent, si};
use super::work::Work;
use super::{Failure, Global, Output};
use crate::arrays;
use crate::error_metrics::{MvmErrors, errors, noise_rms};
use crate::instrument::{ProductSettings, Products, ReadSettings};
use crate::product_noise;
use crate::run_file::MeasurementOrder;
use clap::Args;
use indicatif::ProgressBar;
use ndarray::{Array2, ArrayView2, s};
use ohmrig_emulator::profile::Profile;
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
    /// Matrix that was wanted, S, .npy of (rows, columns), to compare with
    #[arg(long, value_name = "NPY")]
    target: Option<PathBuf>,
    /// Print where the error comes from, source by source, and the noise that repeating finds beside what the emulated board's
    /// profile says it should be; takes everything twice
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    correct: CorrectionArgs,
}

impl MvmCommand {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let input = arrays::read(&self.input, "(batch, rows)")?;
        let reference =
            self.reference.as_ref().map(|path| arrays::read(path, "(batch, columns)")).transpose()?;
        let target = self.target.as_ref().map(|path| arrays::read(path, "(rows, columns)")).transpose()?;
        let mut correct = self.correct.ask()?;
        let mut opened = open(global, output)?;
        correct.settle(&mut opened, output)?;
        let (rows, columns) = (opened.instrument.device().rows, opened.instrument.device().columns);
        arrays::require_shape(&self.input, &input, None, Some(usize::from(rows)))?;
        if let (Some(path), Some(reference)) = (&self.reference, &reference) {
            arrays::require_shape(path, reference, Some(input.nrows()), Some(usize::from(columns)))?;
        }
        if let (Some(path), Some(target)) = (&self.target, &target) {
            arrays::require_shape(path, target, Some(usize::from(rows)), Some(usize::from(columns)))?;
        }
        let largest_input = input.iter().fold(0.0_f64, |largest, v| largest.max(v.abs()));
        let repeat = self.repeat || self.explain;
        let asked = json!({
            "range": self.range, "conversions": self.conversions, "repeat": repeat, "corrections": correct.settings(),
        });
        let mut inputs = vec![("input_v", input.view())];
        inputs.extend(reference.iter().map(|reference| ("reference_a", reference.view())));
        inputs.extend(target.iter().map(|target| ("target_s", target.view())));
        let line_gains = correct.line_gains();
        if let Some((rows, columns)) = &line_gains {
            inputs.extend([("row_gain", rows.view()), ("column_gain", columns.view())]);
        }
        let order = MeasurementOrder { kind: "mvm", settings: &asked, inputs: &inputs, changes_array: false };
        let Some(mut work) = opened.begin(global, &order, output)? else { return Ok(()) };
        // What range and full scale need to know about the array.
        let compared = reference.is_some() || target.is_some() || self.correct.compares();
        let cells = if self.range.is_none() || self.explain || (compared && self.g_max_s.is_none()) {
            Some(cells(&mut opened, &mut work)?)
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
        let effective = correct.effective(&mut opened, &mut work, largest_input, output)?;
        let zero = correct.zero(&mut opened, &mut work, range)?;
        let drift = correct.drift(&mut opened, &mut work, &zero, (range, largest_input), output)?;
        let interval_ns = correct.interval_ns(self.conversions);
        let settings = ProductSettings { range, conversions: self.conversions, interval_ns };
        let applied = correct.inputs(input.view());
        let bar = output.bar(input.nrows(), "multiplying");
        let first_ns = opened.instrument.status()?.at_ns;
        let Multiplied { products, wall_s, bytes } =
            multiply(&mut opened, &mut work, "vectors", applied.view(), settings, &bar)?;
        let currents = correct.currents(&opened, products.currents.view(), &zero, range, drift.as_ref())?;
        let second_ns = opened.instrument.status()?.at_ns;
        let noise = if repeat {
            bar.set_message("repeating");
            let again = multiply(&mut opened, &mut work, "again", applied.view(), settings, &bar)?.products;
            let again = correct.currents(&opened, again.currents.view(), &zero, range, drift.as_ref())?;
            Some(noise_rms(currents.view(), again.view()))
        } else {
            None
        };
        let raw = if compared && correct.corrects() {
            bar.set_message("the same uncorrected");
            let raw_settings = ProductSettings { interval_ns: 0, ..settings };
            Some(multiply(&mut opened, &mut work, "raw", input.view(), raw_settings, &bar)?.products.currents)
        } else {
            None
        };
        bar.finish_and_clear();
        let full_scale = || {
            let g_max = self.g_max_s.unwrap_or_else(|| largest(cells.as_ref()));
            f64::from(rows) * g_max * largest_input
        };
        let against = [
            ("", "the reference", reference),
            ("against_target.", "target", target.map(|matrix| input.dot(&matrix))),
            ("against_measured.", "measured", effective.as_ref().map(|(matrix, _)| input.dot(matrix))),
        ];
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
        let mut all_errors = serde_json::Map::new();
        let mut found_a = None;
        for (prefix, name, exact) in against {
            let Some(exact) = exact else { continue };
            let found = errors(input.view(), currents.view(), exact.view(), full_scale(), noise);
            output.say(format_args!("against {name}"));
            say_errors(output, &found);
            set_errors(output, prefix, &found);
            if let Some(raw) = &raw {
                let raw = errors(input.view(), raw.view(), exact.view(), full_scale(), None);
                output.say(format_args!(
                    "         uncorrected: l2_relative {}; full_scale {} worst",
                    percent(raw.l2_relative),
                    percent(raw.full_scale_worst)
                ));
                set_errors(output, &format!("{prefix}raw."), &raw);
            }
            found_a = Some(found.full_scale_rms * full_scale());
            all_errors.insert(name.to_owned(), json!(found));
        }
        if self.explain
            && let Some(cells) = &cells
        {
            let how = (&zero, range, self.conversions);
            let sources = explain(&correct, &opened, applied.view(), cells.view(), how, noise);
            say_budget(output, &sources, found_a);
            let apart_s = (second_ns - first_ns) as f64 * 1e-9;
            let products = product_noise::Products {
                inputs: applied.view(),
                siemens: cells.view(),
                ohms: opened.instrument.feedback(range)?,
                lsb_v: f64::from(opened.instrument.device().converters.adc_step.0),
                conversions: self.conversions,
                interval_s: match interval_ns {
                    0 => apart_s / input.nrows() as f64 / f64::from(self.conversions),
                    ns => f64::from(ns) * 1e-9,
                },
                over_mains: interval_ns > 0,
                apart_s,
            };
            let scale = correct.output_gain_rms();
            say_noise(output, opened.profile.as_ref(), &products, scale, noise);
        }
        output.set("vectors", input.nrows());
        output.set("wall_s", wall_s);
        output.set("link.bytes_per_mvm", bytes / input.nrows() as f64);
        output.set("link.bytes_per_mvm_minimum", opened.instrument.mvm_payload_bytes(self.conversions));
        output.set("range", range);
        output.set("conversions", self.conversions);
        output.set("saturated", products.saturated);
        let mut flags = std::mem::take(&mut correct.flags);
        if products.saturated > 0 {
            flags.push(format!(
                "{} samples beyond their amplifier's linear range: these currents are too small; choose a higher --range",
                products.saturated
            ));
        }
        let age_s = effective.as_ref().map(|(_, at_ns)| second_ns.saturating_sub(*at_ns) as f64 * 1e-9);
        if let Some(age_s) = age_s.filter(|age_s| *age_s > FRESH_S) {
            let flag = format!(
                "the matrix was measured {age_s:.0} s before the last product; what devices did meanwhile is in the errors against it"
            );
            output.say(format_args!("NOTE      {flag}"));
            flags.push(flag);
        }
        output.set("effective_age_s", age_s);
        output.set("flags", &flags);
        if let Some(path) = &self.output {
            arrays::write(path, currents.view()).map_err(Failure::failed)?;
        }
        let values = json!({
            "wall_s": wall_s, "range": range, "saturated": products.saturated, "flags": flags, "noise_rms_a": noise, "errors": all_errors,
        });
        work.done(&mut opened, output, &values, &[("current_a", currents.view())])
    }
}

/// A matrix measured in circuit counts as that of the products for so long, s.
const FRESH_S: f64 = 60.0;

/// The noise that repeating has found beside what the sources of the emulated board's profile add up to, `scale` being the
/// outputs' gain.
fn say_noise(
    output: &mut Output,
    profile: Option<&Profile>,
    products: &product_noise::Products<'_>,
    scale: f64,
    found: Option<f64>,
) {
    // Pieces that an earlier process has done were not timed by this one.
    let predicted = profile
        .filter(|_| products.apart_s > 0.0)
        .and_then(|profile| Some((profile, product_noise::predicted(profile, products)?)));
    let Some((profile, sources)) = predicted else {
        output.say(
            "noise    not predicted: no profile of an OR-16 says what devices and board should add up to",
        );
        return output.set("noise_predicted_a", None::<f64>);
    };
    let together = scale * product_noise::together(&sources);
    output.say(format_args!(
        "noise of one output as predicted from the own sources of profile {} (share of the squares' sum)",
        profile.name
    ));
    for (source, amperes) in &sources {
        let share = if together > 0.0 { (scale * amperes / together).powi(2) } else { 0.0 };
        output.say(format_args!("  {source:<46} {:>12}  {}", si(scale * amperes, "A"), percent(share)));
    }
    output.say(format_args!("  {:<46} {:>12}", "predicted, together", si(together, "A")));
    if let Some(found) = found {
        output.say(format_args!(
            "  {:<46} {:>12}  {:.3} of the predicted",
            "found by repeating",
            si(found, "A"),
            found / together
        ));
    }
    let list: Vec<_> =
        sources.iter().map(|(source, a)| json!({"source": source, "rms_a": scale * a})).collect();
    output.set("noise_sources", list);
    output.set("noise_predicted_a", together);
}

/// The array as it is, read once per measurement.
fn cells(opened: &mut Opened, work: &mut Work) -> Result<Array2<f64>, Failure> {
    if work.done_piece("cells")?.is_some() {
        return work.array("cells", "conductance_s");
    }
    let volts = opened.instrument.usual_read_volts();
    let settings = ReadSettings { volts, range: None, conversions: 4 };
    let whole = opened.instrument.whole();
    let cells = opened.instrument.read_cells(whole, &settings)?.conductance;
    work.keep(
        opened,
        "cells",
        &json!({"volts": volts, "conversions": 4}),
        &[("conductance_s", cells.view())],
    )?;
    Ok(cells)
}

/// Products with what they took.
struct Multiplied {
    products: Products,
    wall_s: f64,
    bytes: f64,
}

/// Conversions of one piece of a batch, about: a second on a board.
const PIECE_CONVERSIONS: usize = 1 << 12;

/// Multiplies piece by piece, each kept in the run file when it is done.
fn multiply(
    opened: &mut Opened,
    work: &mut Work,
    what: &str,
    input: ArrayView2<'_, f64>,
    settings: ProductSettings,
    bar: &ProgressBar,
) -> Result<Multiplied, Failure> {
    let per_piece = (PIECE_CONVERSIONS / usize::from(settings.conversions.max(1))).max(1);
    let columns = usize::from(opened.instrument.device().columns);
    let mut currents = Array2::zeros((input.nrows(), columns));
    let (mut saturated, mut wall_s, mut bytes) = (0, 0.0, 0.0);
    for first in (0..input.nrows()).step_by(per_piece) {
        let last = (first + per_piece).min(input.nrows());
        let name = format!("{what} {first}-{}", last - 1);
        let value = match work.done_piece(&name)? {
            Some(value) => {
                currents.slice_mut(s![first..last, ..]).assign(&work.array(&name, "current_a")?);
                value
            }
            None => {
                let before = opened.instrument.client().traffic();
                let start = Instant::now();
                let here = input.slice(s![first..last, ..]);
                let found =
                    opened.instrument.mvm(here, settings, |done| bar.set_position((first + done) as u64))?;
                let wall_s = start.elapsed().as_secs_f64();
                let after = opened.instrument.client().traffic();
                let bytes = after.sent + after.received - before.sent - before.received;
                let value = json!({"wall_s": wall_s, "bytes": bytes, "saturated": found.saturated});
                work.keep(opened, &name, &value, &[("current_a", found.currents.view())])?;
                currents.slice_mut(s![first..last, ..]).assign(&found.currents);
                value
            }
        };
        saturated += value["saturated"].as_u64().unwrap_or(0);
        wall_s += value["wall_s"].as_f64().unwrap_or(0.0);
        bytes += value["bytes"].as_f64().unwrap_or(0.0);
    }
    Ok(Multiplied { products: Products { currents, saturated }, wall_s, bytes })
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
