//! What `ohmrig mvm` corrects products for, as asked for on the command line.

use super::Failure;
use super::calibrate;
use super::line_gains::LineGainsFile;
use super::open::Opened;
use super::output::{Output, percent, si};
use super::work::Work;
use crate::arrays;
use crate::calibration::{Calibration, Corrections, Drift, Effective, EffectiveSettings, on_board};
use crate::instrument::ProductSettings;
use clap::Args;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(next_help_heading = "Corrections")]
pub(super) struct CorrectionArgs {
    /// Correct with this calibration (`ohmrig calibrate --output FILE`) [default: the one in force on the board, if any]
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Correct nothing, even if the board has a calibration
    #[arg(long, conflicts_with_all = ["calibration", "no_predistortion", "no_row_gain", "no_column_affine", "drift_from"])]
    raw: bool,
    /// Don't bend inputs against the devices' curve
    #[arg(long)]
    no_predistortion: bool,
    /// Don't scale inputs to each row's driver
    #[arg(long)]
    no_row_gain: bool,
    /// Don't scale outputs to each column's amplifier, nor subtract what flows at zero input
    #[arg(long)]
    no_column_affine: bool,
    /// Undo drift per column since this effective matrix was measured, S, .npy of (rows, columns)
    #[arg(long, value_name = "NPY")]
    drift_from: Option<PathBuf>,
    /// Scale inputs and outputs by the gains that `ohmrig program --in-circuit --line-gains FILE` has left to be made up for
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    line_gains: Option<PathBuf>,
    /// Measure the array's effective matrix in circuit first and compare with it
    #[arg(long)]
    measured: bool,
    /// Write the effective matrix here, S, .npy of (rows, columns)
    #[arg(long, value_name = "NPY", requires = "measured")]
    effective: Option<PathBuf>,
}

/// Vectors of no input that are averaged, conversions of each, and vectors that drift is told from.
const ZERO_VECTORS: usize = 16;
const ZERO_CONVERSIONS: u16 = 16;
const DRIFT_VECTORS: usize = 32;

/// Times and conversions of an effective matrix.
const REPEATS: u16 = 4;
const CONVERSIONS: u16 = 16;

/// What is known before a device is opened.
pub(super) struct Asked<'a> {
    args: &'a CorrectionArgs,
    pub(super) calibration: Option<Calibration>,
    pub(super) corrections: Corrections,
    line_gains: Option<LineGainsFile>,
    drift_from: Option<Array2<f64>>,
    /// What a reader of the results has to know, in words.
    pub(super) flags: Vec<String>,
}

/// What flows at zero input: nominal means per column, and the scatter of one conversion.
pub(super) struct Zero {
    mean: Array1<f64>,
    /// Standard deviation of one conversion over all columns, A.
    pub(super) noise_a: f64,
}

impl CorrectionArgs {
    /// Whether errors are to be told against the effective matrix.
    pub(super) fn compares(&self) -> bool {
        self.measured
    }

    pub(super) fn ask(&self) -> Result<Asked<'_>, Failure> {
        let calibration = self.calibration.as_deref().map(calibrate::read).transpose()?;
        let drift_from =
            self.drift_from.as_ref().map(|path| arrays::read(path, "(rows, columns)")).transpose()?;
        let corrections = Corrections {
            predistortion: !self.no_predistortion,
            rows: !self.no_row_gain,
            columns: !self.no_column_affine,
            drift: drift_from.is_some(),
        };
        let line_gains = self.line_gains.as_deref().map(LineGainsFile::read).transpose()?;
        Ok(Asked { args: self, calibration, corrections, line_gains, drift_from, flags: Vec::new() })
    }
}

impl Asked<'_> {
    /// Takes the board's own calibration if none was named, and refuses what doesn't belong to this board.
    pub(super) fn settle(&mut self, opened: &mut Opened, output: &mut Output) -> Result<(), Failure> {
        let args = self.args;
        if self.calibration.is_none() && !args.raw {
            self.calibration = calibrate::own(opened)?;
            if let Some(own) = &self.calibration {
                output.say(format_args!("corrected by calibration {}, in force on the board", own.id()));
            }
        }
        if let Some(calibration) = &self.calibration {
            calibrate::require(calibration, &opened.instrument)?;
            let id = calibration.id();
            // Boards of one kind and size tell apart by what they keep.
            if on_board::history(&mut opened.instrument)?.iter().all(|kept| kept.id() != id) {
                let flag = format!(
                    "calibration {id} is none that this board keeps; `ohmrig calibrate --check FILE` tells whether it holds here"
                );
                output.say(format_args!("NOTE      {flag}"));
                self.flags.push(flag);
            }
        } else {
            for (given, name) in [
                (args.no_predistortion, "--no-predistortion"),
                (args.no_row_gain, "--no-row-gain"),
                (args.no_column_affine, "--no-column-affine"),
                (args.drift_from.is_some(), "--drift-from"),
            ] {
                if given {
                    return Err(Failure::usage(format!(
                        "{name} needs a calibration, and the board has none: run `ohmrig calibrate`, or name one with \
                         --calibration FILE"
                    )));
                }
            }
        }
        let id = self.calibration.as_ref().map(Calibration::id);
        if let Some(gains) = &self.line_gains {
            gains.require(&opened.instrument)?;
            if gains.calibration() != id.as_deref() {
                let named = |id: Option<&str>| id.map_or("none".to_owned(), |id| format!("calibration {id}"));
                let flag = format!(
                    "line gains were fitted with {}, products are corrected by {}",
                    named(gains.calibration()),
                    named(id.as_deref())
                );
                output.say(format_args!("NOTE      {flag}"));
                self.flags.push(flag);
            }
        }
        output.set("calibration", id);
        let device = opened.instrument.device();
        if let (Some(path), Some(matrix)) = (&self.args.drift_from, &self.drift_from) {
            let (rows, columns) = (usize::from(device.rows), usize::from(device.columns));
            arrays::require_shape(path, matrix, Some(rows), Some(columns))?;
        }
        Ok(())
    }

    /// Whether anything is done to inputs or outputs.
    pub(super) fn corrects(&self) -> bool {
        self.calibration.is_some() || self.line_gains.is_some()
    }

    /// Root mean square of what the outputs are multiplied by after conversion.
    pub(super) fn output_gain_rms(&self) -> f64 {
        self.line_gains().map_or(1.0, |(_, columns)| {
            (columns.iter().map(|gain| gain * gain).sum::<f64>() / columns.len().max(1) as f64).sqrt()
        })
    }

    /// The lines' gains as arrays of one row, for the run file.
    pub(super) fn line_gains(&self) -> Option<(Array2<f64>, Array2<f64>)> {
        self.line_gains.as_ref().map(LineGainsFile::arrays)
    }

    /// For the run file.
    pub(super) fn settings(&self) -> serde_json::Value {
        json!({
            "calibration": self.calibration.as_ref().map(Calibration::id),
            "predistortion": self.corrections.predistortion, "row_gain": self.corrections.rows,
            "column_affine": self.corrections.columns, "drift": self.corrections.drift, "measured": self.args.measured,
        })
    }

    pub(super) fn inputs(&self, wanted: ArrayView2<'_, f64>) -> Array2<f64> {
        let wanted = self.line_gains.as_ref().map_or_else(|| wanted.to_owned(), |g| g.inputs(wanted));
        match &self.calibration {
            Some(calibration) => calibration.inputs(wanted.view(), self.corrections),
            None => wanted,
        }
    }

    /// Spacing of averaged conversions.
    pub(super) fn interval_ns(&self, conversions: u16) -> u32 {
        self.calibration.as_ref().map_or(0, |calibration| calibration.hum.interval_ns(conversions))
    }

    /// Measures what flows at zero input, in one range.
    pub(super) fn zero(&self, opened: &mut Opened, work: &mut Work, range: u8) -> Result<Zero, Failure> {
        let rows = usize::from(opened.instrument.device().rows);
        let currents = match work.done_piece("zero")? {
            Some(_) => work.array("zero", "current_a")?,
            None => {
                let interval_ns = self.interval_ns(ZERO_CONVERSIONS);
                let settings = ProductSettings { range, conversions: ZERO_CONVERSIONS, interval_ns };
                let nothing = Array2::zeros((ZERO_VECTORS, rows));
                let currents = opened.instrument.mvm(nothing.view(), settings, |_| {})?.currents;
                work.keep(opened, "zero", &json!({"range": range}), &[("current_a", currents.view())])?;
                currents
            }
        };
        let mean = currents.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(currents.ncols()));
        let scatter = (&currents - &mean).iter().map(|a| a * a).sum::<f64>();
        let degrees = (currents.nrows() - 1) * currents.ncols();
        let noise_a = (scatter / degrees.max(1) as f64 * f64::from(ZERO_CONVERSIONS)).sqrt();
        Ok(Zero { mean, noise_a })
    }

    /// Currents as they are, from nominal ones.
    pub(super) fn currents(
        &self,
        opened: &Opened,
        nominal: ArrayView2<'_, f64>,
        zero: &Zero,
        range: u8,
        drift: Option<&Drift>,
    ) -> Result<Array2<f64>, Failure> {
        let currents = match &self.calibration {
            Some(calibration) => {
                let feedback = (range, opened.instrument.feedback(range)?);
                calibration.currents(nominal, zero.mean.view(), feedback, self.corrections, drift)
            }
            None => nominal.to_owned(),
        };
        Ok(match &self.line_gains {
            Some(gains) => gains.outputs(currents),
            None => currents,
        })
    }

    /// What the array has drifted by since `--drift-from`.
    pub(super) fn drift(
        &self,
        opened: &mut Opened,
        work: &mut Work,
        zero: &Zero,
        (range, volts): (u8, f64),
        output: &mut Output,
    ) -> Result<Option<Drift>, Failure> {
        let Some(then) = &self.drift_from else { return Ok(None) };
        let rows = then.nrows();
        // Signs of a Hadamard matrix: every row counts alike in every column.
        let wanted = Array2::from_shape_fn((DRIFT_VECTORS, rows), |(vector, row)| {
            if (vector & row).count_ones() % 2 == 0 { volts } else { -volts }
        });
        let currents = match work.done_piece("drift")? {
            Some(_) => work.array("drift", "current_a")?,
            None => {
                let interval_ns = self.interval_ns(CONVERSIONS);
                let settings = ProductSettings { range, conversions: CONVERSIONS, interval_ns };
                let nominal = opened.instrument.mvm(self.inputs(wanted.view()).view(), settings, |_| {})?;
                let currents = self.currents(opened, nominal.currents.view(), zero, range, None)?;
                work.keep(opened, "drift", &json!({"range": range}), &[("current_a", currents.view())])?;
                currents
            }
        };
        let drift = Drift::between(wanted.dot(then).view(), currents.view());
        let mean = drift.gain().mean().unwrap_or(1.0);
        output.say(format_args!("drift     outputs scaled by {mean:.4} on average"));
        output.set("drift_gain_mean", mean);
        Ok(Some(drift))
    }

    /// The effective matrix, S, and when it was measured by the instrument's clock, ns; if it is asked for.
    pub(super) fn effective(
        &self,
        opened: &mut Opened,
        work: &mut Work,
        volts: f64,
        output: &mut Output,
    ) -> Result<Option<(Array2<f64>, u64)>, Failure> {
        if !self.args.measured {
            return Ok(None);
        }
        let (siemens, uncertainty, at_ns) = match work.done_piece("effective")? {
            Some(value) => (
                work.array("effective", "siemens")?,
                work.array("effective", "uncertainty_s")?,
                value["at_ns"].as_u64().unwrap_or(0),
            ),
            None => {
                let bar = output.bar(1, "measuring the matrix");
                let how = EffectiveSettings { volts, repeats: REPEATS, conversions: CONVERSIONS };
                let calibrated = self.calibration.as_ref().map(|c| (c, self.corrections));
                let found = Effective::measure(&mut opened.instrument, &how, calibrated, |done, of| {
                    bar.set_length(of as u64);
                    bar.set_position(done as u64);
                })?;
                bar.finish_and_clear();
                let value = json!({"volts": volts, "range": found.range, "at_ns": found.at_ns});
                let kept = [("siemens", found.siemens.view()), ("uncertainty_s", found.uncertainty.view())];
                work.keep(opened, "effective", &value, &kept)?;
                (found.siemens, found.uncertainty, found.at_ns)
            }
        };
        let (siemens, uncertainty) = match &self.line_gains {
            Some(gains) => (gains.matrix(siemens.view()), gains.matrix(uncertainty.view())),
            None => (siemens, uncertainty),
        };
        let u = (uncertainty.iter().map(|u| u * u).sum::<f64>() / uncertainty.len().max(1) as f64).sqrt();
        output.say(format_args!("matrix    measured in circuit just before, ± {} per cell", si(u, "S")));
        output.set("effective_uncertainty_rms_s", u);
        if let Some(path) = &self.args.effective {
            arrays::write(path, siemens.view()).map_err(Failure::failed)?;
        }
        Ok(Some((siemens, at_ns)))
    }
}

/// Where the error of an output comes from: standard deviations at one output, A, over all inputs and columns; `inputs` as
/// applied, `matrix` as in place.
pub(super) fn explain(
    asked: &Asked<'_>,
    opened: &Opened,
    inputs: ArrayView2<'_, f64>,
    matrix: ArrayView2<'_, f64>,
    (zero, range, conversions): (&Zero, u8, u16),
    noise_a: Option<f64>,
) -> Vec<(&'static str, f64)> {
    let mean_square =
        |values: ArrayView2<'_, f64>| values.iter().map(|v| v * v).sum::<f64>() / values.len().max(1) as f64;
    let columns = matrix.ncols().max(1) as f64;
    // What one volt of independent error on every row does to a column.
    let per_volt = (matrix.iter().map(|g| g * g).sum::<f64>() / columns).sqrt();
    let input_v = mean_square(inputs).sqrt();
    let output_a = mean_square(inputs.dot(&matrix).view()).sqrt();
    let step = f64::from(opened.instrument.device().converters.dac_step.0);
    let electronics = zero.noise_a / f64::from(conversions).sqrt();
    let mut sources = vec![
        ("noise of amplifiers, converters and supplies", electronics),
        ("resolution of the row drivers", step / 12.0_f64.sqrt() * per_volt),
    ];
    let outputs = asked.output_gain_rms();
    if let Some(noise_a) = noise_a {
        let noise_a = noise_a / outputs;
        sources.push(("noise of the devices", (noise_a.powi(2) - electronics.powi(2)).max(0.0).sqrt()));
    }
    if let Some(calibration) = &asked.calibration {
        let amplifiers = &calibration.ranges[usize::from(range)];
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
        let gain = if asked.corrections.columns {
            square(&mut amplifiers.iter().map(|a| a.ohms.u / a.ohms.value))
        } else {
            let mean = amplifiers.iter().map(|a| a.ohms.value).sum::<f64>() / columns;
            square(&mut amplifiers.iter().map(|a| a.ohms.value / mean - 1.0))
        };
        sources.push(("gain of the amplifiers", (gain / columns).sqrt() * output_a));
        let drivers = &calibration.drivers;
        let rows = drivers.len().max(1) as f64;
        let gain = if asked.corrections.rows {
            square(&mut drivers.iter().map(|d| d.gain.u))
        } else {
            square(&mut drivers.iter().map(|d| d.gain.value - 1.0))
        };
        sources.push(("gain of the row drivers", (gain / rows).sqrt() * input_v * per_volt));
        if let Some(v0) = calibration.curvature.and_then(|c| c.characteristic_v())
            && !asked.corrections.predistortion
        {
            // G·V·(V/V0)²/6, of V evenly distributed up to √3 times its rms.
            let cubed = mean_square(inputs.mapv(|v| v.powi(3)).view()).sqrt();
            sources.push(("curve of the devices", cubed / (6.0 * v0.value.powi(2)) * per_volt));
        }
    }
    sources.into_iter().map(|(source, amperes)| (source, amperes * outputs)).collect()
}

/// The budget as lines and fields.
pub(super) fn say_budget(output: &mut Output, sources: &[(&'static str, f64)], found_a: Option<f64>) {
    let sum = sources.iter().map(|(_, a)| a * a).sum::<f64>();
    output.say("error budget, standard deviation of one output (share of the squares' sum)");
    for (source, amperes) in sources {
        let share = if sum > 0.0 { amperes * amperes / sum } else { 0.0 };
        output.say(format_args!("  {source:<46} {:>12}  {}", si(*amperes, "A"), percent(share)));
    }
    output.say(format_args!("  {:<46} {:>12}", "together", si(sum.sqrt(), "A")));
    if let Some(found) = found_a {
        output.say(format_args!("  {:<46} {:>12}", "found against the reference", si(found, "A")));
    }
    let list: Vec<_> =
        sources.iter().map(|(source, amperes)| json!({"source": source, "rms_a": amperes})).collect();
    output.set("budget", list);
    output.set("budget_together_a", sum.sqrt());
}
