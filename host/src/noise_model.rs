//! A run file's measurements as a noise model that runs elsewhere: programming error, white and 1/f read noise, drift and
//! current–voltage law over conductance, fitted over the cells, written as a module for aihwkit or CrossSim.

use crate::arrays;
use crate::export::ExportError;
use crate::metrology::population::{Deviations, Population};
use crate::metrology::{Estimate, FitError};
use crate::run_file::{Contents, Recorded};
use ndarray::Array2;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Whose noise model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simulator {
    /// IBM's aihwkit: a class derived from its `BaseNoiseModel`, and conductances for its `fusion_import`.
    Aihwkit,
    /// Sandia's CrossSim: a custom device.
    CrossSim,
}

/// Why there is no model.
#[derive(Debug, Error)]
pub enum NoiseModelError {
    /// Nothing to make one of.
    #[error(
        "{}: none of its finished measurements is of kind program, noise, drift or iv; measure at least one of them with --run {} first",
        .path.display(), .path.display()
    )]
    Nothing {
        /// The run file.
        path: PathBuf,
    },
    /// Measurements of a kind that give no fit.
    #[error("{}: {what} can't be fitted: {source}; measure more cells, or leave these measurements out", .path.display())]
    Fit {
        /// The run file.
        path: PathBuf,
        /// Which part.
        what: &'static str,
        /// Why.
        source: FitError,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] ExportError),
}

/// Read noise over the cells: densities of S_G/G² over ln(G/S).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadNoise {
    /// ln of S_G/G² at 1 Hz (1/Hz).
    pub ln_density_1_hz: Population,
    /// γ of 1/f^γ.
    pub exponent: Population,
    /// Mean white density beside it, 1/Hz; fast device noise folded back by sampling included.
    pub white_per_hz: f64,
    /// Lowest and highest frequency that was fitted, Hz.
    pub band_hz: (f64, f64),
}

/// Drift `G(t) = G₀·((t + t₀)/t₀)^−ν` over the cells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// ν over ln(G/S).
    pub exponent: Population,
    /// Median t₀, s.
    pub t0_s: f64,
    /// Latest read, s.
    pub last_s: f64,
}

/// Current–voltage law: the one that most of the information is for over all curves.
#[derive(Clone, Debug, PartialEq)]
pub struct CurrentLaw {
    /// `linear`, `sinh`, `cubic` or `schottky`.
    pub law: String,
    /// Its parameter ([`crate::metrology::current_voltage::Law`]) over ln(G/S).
    pub parameter: Population,
    /// Largest voltage of the curves, V.
    pub volts: f64,
}

/// Everything that could be fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseModel {
    /// Lowest and highest conductance that the measurements are of, S.
    pub range_s: (f64, f64),
    /// Error of programmed cells, S, over target / highest target; only cells that ended inside their window.
    pub programming: Option<Deviations>,
    /// Cells that were given up and are in no fit.
    pub excluded: usize,
    /// Read noise.
    pub read_noise: Option<ReadNoise>,
    /// Drift.
    pub drift: Option<Drift>,
    /// Curve.
    pub current: Option<CurrentLaw>,
    /// The array as it was last read after programming, S.
    pub conductance_s: Option<Array2<f64>>,
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|value| value.is_finite())
}

/// An estimate as commands record it. Logarithms carry a relative uncertainty.
fn estimate(value: &Value) -> Option<Estimate> {
    let uncertainty = number(&value["standard_uncertainty"])?;
    Some(Estimate::new(number(&value["value"])?, uncertainty))
}

fn ln_estimate(value: &Value) -> Option<Estimate> {
    let uncertainty = number(&value["relative_standard_uncertainty"])?;
    number(&value["value"]).filter(|value| *value > 0.0).map(|value| Estimate::new(value.ln(), uncertainty))
}

fn listed(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl NoiseModel {
    /// Fits what the finished measurements of a run file hold.
    ///
    /// # Errors
    /// [`NoiseModelError`].
    pub fn fit(contents: &Contents) -> Result<Self, NoiseModelError> {
        let of = |kind: &str| -> Vec<&Recorded> {
            contents.measurements.iter().filter(|m| m.kind == kind && m.is_done()).collect()
        };
        let failed = |what| {
            let path = contents.path.clone();
            move |source| NoiseModelError::Fit { path, what, source }
        };
        let (programs, noises, drifts, curves) = (of("program"), of("noise"), of("drift"), of("iv"));
        if [&programs, &noises, &drifts, &curves].iter().all(|kind| kind.is_empty()) {
            return Err(NoiseModelError::Nothing { path: contents.path.clone() });
        }
        let mut range_s = (f64::INFINITY, 0.0_f64);
        let mut seen = |siemens: f64| range_s = (range_s.0.min(siemens), range_s.1.max(siemens));
        let programmed = Programmed::collect(&programs);
        programmed.cells.iter().for_each(|cell| seen(cell.0));
        let mut noise = NoiseCells::default();
        for measurement in &noises {
            noise.add(measurement, &mut seen);
        }
        let mut drifting = DriftCells::default();
        for measurement in &drifts {
            drifting.add(measurement, &mut seen);
        }
        let current = current_law(&curves, &mut seen).map_err(failed("the current–voltage law"))?;
        let highest = range_s.1;
        let deviations: Vec<(f64, f64)> =
            programmed.cells.iter().map(|(target, error)| (target / highest, *error)).collect();
        let programming = (!deviations.is_empty())
            .then(|| Deviations::fit(&deviations))
            .transpose()
            .map_err(failed("the programming error"))?;
        Ok(Self {
            range_s,
            programming,
            excluded: programmed.excluded,
            read_noise: noise.fit().map_err(failed("the read noise"))?,
            drift: drifting.fit().map_err(failed("the drift"))?,
            current,
            conductance_s: programmed.last,
        })
    }

    /// The numbers by name, as the written module has them: conductances in µS, which is aihwkit's unit, times in s,
    /// frequencies in Hz.
    #[must_use]
    pub fn parameters(&self, contents: &Contents) -> Value {
        let session = &contents.sessions[0];
        let one = |estimate: &Estimate| json!([estimate.value, estimate.standard_uncertainty]);
        let population = |p: &Population| {
            json!({"level": one(&p.level), "slope": p.slope.as_ref().map_or(json!([0.0, 0.0]), one), "centre": p.centre,
                   "spread": p.spread, "cells": p.cells})
        };
        // x of these populations is ln(G/S) in here and ln(G/µS) there.
        let micro = |p: &Population| population(&Population { centre: p.centre + 1e6_f64.ln(), ..*p });
        let ids = |kind: &str| -> Vec<i64> {
            contents.measurements.iter().filter(|m| m.kind == kind && m.is_done()).map(|m| m.id).collect()
        };
        json!({
            "board": session.board, "emulated": session.emulated, "profile": session.profile, "seed": session.seed,
            "firmware": session.firmware, "git": session.git, "ohmrig": session.ohmrig,
            "measurements": {"program": ids("program"), "noise": ids("noise"), "drift": ids("drift"), "iv": ids("iv")},
            "g_min_us": self.range_s.0 * 1e6, "g_max_us": self.range_s.1 * 1e6,
            "programming": self.programming.map(|d| json!({
                "bias_us": [one(&d.bias[0].scaled(1e6)), one(&d.bias[1].scaled(1e6))],
                "ln_sigma_us": [
                    [d.ln_spread[0].value + 1e6_f64.ln(), d.ln_spread[0].standard_uncertainty], one(&d.ln_spread[1])
                ],
                "cells": d.count, "excluded": self.excluded,
            })),
            "read_noise": self.read_noise.map(|n| json!({
                "ln_density_1_hz": micro(&n.ln_density_1_hz), "exponent": micro(&n.exponent),
                "white_per_hz": n.white_per_hz, "band_hz": [n.band_hz.0, n.band_hz.1],
            })),
            "drift": self.drift.map(|d| json!({"exponent": micro(&d.exponent), "t0_s": d.t0_s, "last_s": d.last_s})),
            "current": self.current.as_ref().map(|c| json!({
                "law": c.law, "volts": c.volts, "cells": c.parameter.cells,
                "parameter": (c.law != "linear").then(|| micro(&c.parameter)),
            })),
        })
    }

    /// Writes the module, and for aihwkit the conductances, into a folder. Returns the files.
    ///
    /// # Errors
    /// [`NoiseModelError::Write`].
    pub fn write(
        &self,
        contents: &Contents,
        simulator: Simulator,
        folder: &Path,
    ) -> Result<Vec<PathBuf>, NoiseModelError> {
        let at = |path: &Path, source| NoiseModelError::Write(ExportError { path: path.to_owned(), source });
        std::fs::create_dir_all(folder).map_err(|source| at(folder, source))?;
        let (name, template) = match simulator {
            Simulator::Aihwkit => ("ohmrig_aihwkit.py", include_str!("noise_model/aihwkit.py")),
            Simulator::CrossSim => ("ohmrig_crosssim.py", include_str!("noise_model/crosssim.py")),
        };
        let mut literal = String::new();
        python(&self.parameters(contents), 0, &mut literal);
        let mut files = vec![(name, template.replace("FIT = {}", &format!("FIT = {literal}")))];
        if let (Simulator::Aihwkit, Some(conductance)) = (simulator, &self.conductance_s) {
            files.push(("conductances.csv", fusion_csv(conductance)));
        }
        let mut written = Vec::new();
        for (name, text) in files {
            let path = folder.join(name);
            arrays::replace(&path, text.as_bytes()).map_err(|source| at(&path, source))?;
            written.push(path);
        }
        Ok(written)
    }
}

/// Programmed cells.
#[derive(Default)]
struct Programmed {
    /// Target and error of those that ended inside, S.
    cells: Vec<(f64, f64)>,
    excluded: usize,
    last: Option<Array2<f64>>,
}

impl Programmed {
    fn collect(measurements: &[&Recorded]) -> Self {
        let mut all = Self::default();
        for measurement in measurements {
            let array = |name: &str| measurement.arrays.get(name);
            let (Some(targets), Some(read)) = (array("target_s"), array("conductance_s")) else { continue };
            for (index, &target) in targets.indexed_iter() {
                let inside = array("outcome").is_none_or(|outcome| outcome.get(index) == Some(&INSIDE));
                match read.get(index).filter(|read| inside && read.is_finite()) {
                    Some(read) => all.cells.push((target, read - target)),
                    None => all.excluded += 1,
                }
            }
            all.last = Some(read.clone());
        }
        all
    }
}

/// Of cells that ended inside their window, in the array `outcome`.
const INSIDE: f64 = ohmrig_protocol::message::Outcome::Inside as u8 as f64;

#[derive(Default)]
struct NoiseCells {
    density: Vec<(f64, Estimate)>,
    exponent: Vec<(f64, Estimate)>,
    white: Vec<f64>,
    band_hz: Option<(f64, f64)>,
}

impl NoiseCells {
    fn add(&mut self, measurement: &Recorded, seen: &mut impl FnMut(f64)) {
        let Some(volts) = number(&measurement.settings["volts"]) else { return };
        for cell in listed(&measurement.value["cells"]) {
            let fit = &cell["flicker"];
            let (Some(current), true) = (number(&cell["current_a"]), fit["resolved"] == true) else {
                continue;
            };
            let siemens = (current / volts).abs();
            let (Some(density), Some(exponent)) =
                (ln_estimate(&fit["density_1_hz_per_hz"]), estimate(&fit["exponent"]))
            else {
                continue;
            };
            seen(siemens);
            self.density.push((siemens.ln(), density));
            self.exponent.push((siemens.ln(), exponent));
            self.white.push(number(&fit["white_per_hz"]["value"]).unwrap_or(0.0).max(0.0));
            if let (Some(low), Some(high)) = (number(&fit["band_hz"][0]), number(&fit["band_hz"][1])) {
                let band = self.band_hz.get_or_insert((low, high));
                *band = (band.0.min(low), band.1.max(high));
            }
        }
    }

    fn fit(&self) -> Result<Option<ReadNoise>, FitError> {
        let Some(band_hz) = self.band_hz else { return Ok(None) };
        Ok(Some(ReadNoise {
            ln_density_1_hz: Population::fit(&self.density)?,
            exponent: Population::fit(&self.exponent)?,
            white_per_hz: self.white.iter().sum::<f64>() / self.white.len() as f64,
            band_hz,
        }))
    }
}

#[derive(Default)]
struct DriftCells {
    exponent: Vec<(f64, Estimate)>,
    t0_s: Vec<f64>,
    last_s: f64,
}

impl DriftCells {
    fn add(&mut self, measurement: &Recorded, seen: &mut impl FnMut(f64)) {
        for cell in listed(&measurement.value["cells"]) {
            let (Some(siemens), Some(exponent), Some(t0_s)) = (
                number(&cell["conductance_s"]["value"]).filter(|siemens| *siemens > 0.0),
                estimate(&cell["exponent"]),
                number(&cell["t0_s"]["value"]),
            ) else {
                continue;
            };
            seen(siemens);
            self.exponent.push((siemens.ln(), exponent));
            self.t0_s.push(t0_s);
        }
        for time_s in listed(&measurement.settings["times_s"]) {
            self.last_s = self.last_s.max(number(time_s).unwrap_or(0.0));
        }
    }

    fn fit(mut self) -> Result<Option<Drift>, FitError> {
        if self.exponent.is_empty() {
            return Ok(None);
        }
        self.t0_s.sort_by(f64::total_cmp);
        let t0_s = self.t0_s[self.t0_s.len() / 2];
        Ok(Some(Drift { exponent: Population::fit(&self.exponent)?, t0_s, last_s: self.last_s }))
    }
}

/// The law whose information criteria, summed over all curves, are least.
fn current_law(curves: &[&Recorded], seen: &mut impl FnMut(f64)) -> Result<Option<CurrentLaw>, FitError> {
    /// Name, sum of criteria, cells.
    type Sum = (String, f64, Vec<(f64, Estimate)>);
    let mut laws: Vec<Sum> = Vec::new();
    let mut volts = 0.0_f64;
    for curve in curves {
        volts = volts.max(number(&curve.settings["max_volts"]).unwrap_or(0.0));
        for fit in listed(&curve.value["fits"]) {
            let (Some(law), Some(criterion), Some(siemens), Some(parameter)) = (
                fit["law"].as_str(),
                number(&fit["criterion"]),
                number(&fit["conductance_s"]["value"]).filter(|siemens| *siemens > 0.0),
                estimate(&fit["parameter"]),
            ) else {
                continue;
            };
            seen(siemens);
            let place = laws.iter().position(|known| known.0 == law).unwrap_or_else(|| {
                laws.push((law.to_owned(), 0.0, Vec::new()));
                laws.len() - 1
            });
            laws[place].1 += criterion;
            laws[place].2.push((siemens.ln(), parameter));
        }
    }
    // A law that didn't fit one of the curves is none of all.
    let most = laws.iter().map(|law| law.2.len()).max().unwrap_or(0);
    let complete = laws.into_iter().filter(|law| law.2.len() == most);
    let Some((law, _, cells)) = complete.min_by(|a, b| a.1.total_cmp(&b.1)) else { return Ok(None) };
    Ok(Some(CurrentLaw { law, parameter: Population::fit(&cells)?, volts }))
}

/// The file that aihwkit's `fusion_import` reads for a model of one `AnalogLinear` (in: rows, out: columns) in an
/// `AnalogSequential`: id, class, number of weights, height, width, then the layer's name and its conductances in µS,
/// output by output (aihwkit 1.1.0, utils/export.py).
fn fusion_csv(conductance: &Array2<f64>) -> String {
    let (rows, columns) = conductance.dim();
    let cells: Vec<String> = conductance.t().iter().map(|siemens| format!("{:e}", siemens * 1e6)).collect();
    format!("1\nAnalogLinear\n{}\n{columns}\n{rows}\n0\n{}\n", rows * columns, cells.join(","))
}

/// A JSON value as a Python literal.
fn python(value: &Value, depth: usize, text: &mut String) {
    let line = |depth: usize| format!("\n{}", "    ".repeat(depth));
    match value {
        Value::Null => text.push_str("None"),
        Value::Bool(yes) => text.push_str(if *yes { "True" } else { "False" }),
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                python(value, depth, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            text.push('{');
            for (name, value) in fields {
                // JSON's strings are Python's.
                let _ = write!(text, "{}{}: ", line(depth + 1), Value::from(name.as_str()));
                python(value, depth + 1, text);
                text.push(',');
            }
            text.push_str(&line(depth));
            text.push('}');
        }
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

#[cfg(test)]
mod tests;
