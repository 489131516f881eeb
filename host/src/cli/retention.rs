//! `ohmrig retention`: bands of conductance, programmed once and read at times that grow by a factor; what each band's mean and
//! spread do.

use super::open::{Opened, open};
use super::output::si;
use super::settings::{ReadArgs, RecipeArgs, RegionArgs, recipe_settings};
use super::work::Work;
use super::{Failure, Global, Output};
use crate::instrument::ProgramOrder;
use crate::metrology::Estimate;
use crate::metrology::drift::Read;
use crate::recipe::Recipe;
use crate::run_file::MeasurementOrder;
use clap::Args;
use ndarray::{Array2, Array3, Axis};
use ohmrig_protocol::message::{Outcome, Region};
use serde_json::json;

/// When to read.
#[derive(Clone, Debug, Args)]
pub(super) struct ScheduleArgs {
    /// First read after programming, s
    #[arg(long, default_value_t = 1.0, value_name = "S")]
    first_s: f64,
    /// Last read after programming, s
    #[arg(long, default_value_t = 1e4, value_name = "S")]
    last_s: f64,
    /// Reads per decade of time
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    per_decade: u16,
}

impl ScheduleArgs {
    /// Times after programming, s.
    pub(super) fn times(&self) -> Result<Vec<f64>, Failure> {
        let Self { first_s, last_s, per_decade } = *self;
        // 292 years fit the clock.
        if !(first_s > 0.0 && last_s > first_s && last_s <= 9e9) {
            return Err(Failure::usage(format!(
                "--first-s {first_s} and --last-s {last_s}: the first must be positive, the last later and at most 9e9"
            )));
        }
        let steps = ((last_s / first_s).log10() * f64::from(per_decade)).round().max(1.0);
        let ratio = (last_s / first_s).powf(1.0 / steps);
        Ok((0..=steps as i32).map(|k| first_s * ratio.powi(k)).collect())
    }
}

/// What is programmed, and how and when it is read.
#[derive(Debug, Args)]
pub(super) struct AgingArgs {
    #[command(flatten)]
    region: RegionArgs,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    pub(super) schedule: ScheduleArgs,
    /// Bands between the lowest and the highest target; cells are dealt to them in turn
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    bands: u16,
}

/// Program bands and read them at log-spaced times.
#[derive(Debug, Args)]
pub(super) struct Retention {
    #[command(flatten)]
    aging: AgingArgs,
}

/// A region that was programmed and read again and again.
pub(super) struct Aged {
    pub(super) region: Region,
    pub(super) targets: Array2<f64>,
    /// Cells that write-verify left inside their window.
    pub(super) inside: Array2<bool>,
    /// Since the last pulse of the region, s.
    pub(super) times_s: Vec<f64>,
    /// (reads, rows, columns), S.
    pub(super) conductance: Array3<f64>,
    pub(super) uncertainty: Array3<f64>,
    pub(super) saturated: Array2<bool>,
    /// Of the board at each read, K; `None` where the sensor said nothing.
    pub(super) kelvin: Vec<Option<f64>>,
    /// How long one read of the region took, s.
    pub(super) read_s: f64,
}

/// Targets in bands: cell after cell, the next band.
fn banded(recipe: &Recipe, region: Region, bands: u16) -> Array2<f64> {
    let level = |band: u16| match bands {
        1 => 0.5 * (recipe.g_min + recipe.g_max),
        _ => recipe.g_min + (recipe.g_max - recipe.g_min) * f64::from(band) / f64::from(bands - 1),
    };
    Array2::from_shape_fn((usize::from(region.rows), usize::from(region.columns)), |(row, column)| {
        level(((row * usize::from(region.columns) + column) % usize::from(bands)) as u16)
    })
}

/// Programs `targets` and reads the region at `times_s`; the device waits in between. What an interrupted run has done
/// isn't done again.
#[allow(clippy::too_many_arguments)] // One measurement's parts; nobody else has them together.
fn age(
    opened: &mut Opened,
    work: &mut Work,
    region: Region,
    recipe: &Recipe,
    targets: Array2<f64>,
    read: &ReadArgs,
    times_s: &[f64],
    output: &mut Output,
) -> Result<Aged, Failure> {
    const PROGRAMMED: &str = "programmed";
    let settings = read.settings()?;
    let (since_ns, inside) = match work.done_piece(PROGRAMMED)? {
        Some(value) => {
            let since_ns = value["since_ns"].as_u64().ok_or_else(|| {
                Failure::failed("the run file doesn't say when programming ended; use another file")
            })?;
            (since_ns, work.array(PROGRAMMED, "inside")?.mapv(|inside| inside != 0.0))
        }
        None => {
            let bar = output.bar(targets.len() * usize::from(recipe.passes), "programming");
            let order = ProgramOrder::new(recipe, (region.row, region.column), targets.clone());
            let programmed = opened.program(work, "", &order, output, |progress| {
                bar.set_position(u64::from(progress.cells));
            })?;
            bar.finish_and_clear();
            opened.instrument.safe()?;
            let since_ns = opened.instrument.status()?.at_ns;
            let inside = programmed.outcome.mapv(|outcome| outcome == Outcome::Inside);
            let kept = inside.mapv(|inside| f64::from(u8::from(inside)));
            work.keep(opened, PROGRAMMED, &json!({"since_ns": since_ns}), &[("inside", kept.view())])?;
            (since_ns, inside)
        }
    };
    if opened.instrument.status()?.at_ns < since_ns {
        return Err(Failure::failed(
            "the instrument's clock was reset since the region was programmed, so times since then are lost; use another --run file",
        ));
    }
    let shape = (times_s.len(), usize::from(region.rows), usize::from(region.columns));
    let mut aged = Aged {
        region,
        inside,
        saturated: Array2::from_elem(targets.dim(), false),
        targets,
        times_s: Vec::new(),
        conductance: Array3::zeros(shape),
        uncertainty: Array3::zeros(shape),
        kelvin: Vec::new(),
        read_s: 0.0,
    };
    let bar = output.bar(times_s.len(), "reading");
    for (index, &time_s) in times_s.iter().enumerate() {
        let name = format!("read {index}");
        if work.done_piece(&name)?.is_none() {
            opened.instrument.wait_until(since_ns + (time_s * 1e9) as u64, |_| {})?;
            let before_ns = opened.instrument.status()?.at_ns;
            let map = opened.instrument.read_cells(region, &settings)?;
            let status = opened.instrument.status()?;
            let saturated = map.saturated.mapv(|saturated| f64::from(u8::from(saturated)));
            // A cell's time is the middle of the region's read.
            let time_s = (0.5 * (before_ns + status.at_ns) as f64 - since_ns as f64) * 1e-9;
            let read_s = (status.at_ns - before_ns) as f64 * 1e-9;
            let kelvin = status.temperature.map(|kelvin| f64::from(kelvin.0));
            aged.take(index, time_s, read_s, kelvin, &map.conductance, &map.uncertainty, &saturated);
            work.keep(
                opened,
                &name,
                &json!({"time_s": time_s, "read_s": read_s, "temperature_k": kelvin}),
                &[
                    ("conductance_s", map.conductance.view()),
                    ("uncertainty_s", map.uncertainty.view()),
                    ("saturated", saturated.view()),
                ],
            )?;
        } else if let Some(value) = work.done_piece(&name)? {
            let number = |key: &str| value[key].as_f64().unwrap_or(f64::NAN);
            let [conductance, uncertainty, saturated] =
                ["conductance_s", "uncertainty_s", "saturated"].map(|array| work.array(&name, array));
            let kelvin = value["temperature_k"].as_f64();
            aged.take(
                index,
                number("time_s"),
                number("read_s"),
                kelvin,
                &conductance?,
                &uncertainty?,
                &saturated?,
            );
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(aged)
}

impl Aged {
    /// One read of one cell.
    pub(super) fn read(&self, read: usize, row: usize, column: usize) -> Read {
        Read {
            time_s: self.times_s[read],
            conductance_s: self.conductance[(read, row, column)],
            standard_uncertainty_s: self.uncertainty[(read, row, column)],
        }
    }

    #[allow(clippy::too_many_arguments)] // One read's parts.
    fn take(
        &mut self,
        index: usize,
        time_s: f64,
        read_s: f64,
        kelvin: Option<f64>,
        conductance: &Array2<f64>,
        uncertainty: &Array2<f64>,
        saturated: &Array2<f64>,
    ) {
        self.times_s.push(time_s);
        self.read_s = read_s;
        self.kelvin.push(kelvin);
        self.conductance.index_axis_mut(Axis(0), index).assign(conductance);
        self.uncertainty.index_axis_mut(Axis(0), index).assign(uncertainty);
        self.saturated.zip_mut_with(saturated, |a, b| *a |= *b != 0.0);
    }
}

impl AgingArgs {
    /// Programs and reads as asked, or goes on where another process stopped; nothing if it is all done and said.
    pub(super) fn measure(
        &self,
        kind: &'static str,
        global: &Global,
        output: &mut Output,
    ) -> Result<Option<(Opened, Work, Aged)>, Failure> {
        let times_s = self.schedule.times()?;
        let read = read_settings(&self.read)?;
        let mut opened = open(global, output)?;
        let region = self.region.region(&opened.instrument)?;
        let recipe = self.recipe.apply(opened.recipe(self.recipe.recipe.as_deref())?)?;
        let targets = banded(&recipe, region, self.bands);
        let asked = json!({"row": region.row, "column": region.column, "bands": self.bands, "times_s": times_s,
                           "recipe": recipe_settings(&recipe), "read": read});
        let measurement = MeasurementOrder {
            kind,
            settings: &asked,
            inputs: &[("target_s", targets.view())],
            changes_array: true,
        };
        let Some(mut work) = opened.begin(global, &measurement, output)? else { return Ok(None) };
        let aged = age(&mut opened, &mut work, region, &recipe, targets, &self.read, &times_s, output)?;
        Ok(Some((opened, work, aged)))
    }
}

impl Retention {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let Some((mut opened, work, aged)) = self.aging.measure("retention", global, output)? else {
            return Ok(());
        };
        let (region, band_count) = (aged.region, self.aging.bands);
        let mut flags = Vec::new();
        let outside = aged.inside.iter().filter(|inside| !**inside).count();
        if outside > 0 {
            flags.push(format!("{outside} cells did not reach their window and are left out"));
        }
        let mut bands = Vec::new();
        for band in 0..band_count {
            let cells: Vec<(usize, usize)> = (0..aged.targets.len())
                .filter(|cell| cell % usize::from(band_count) == usize::from(band))
                .map(|cell| (cell / usize::from(region.columns), cell % usize::from(region.columns)))
                .filter(|&cell| aged.inside[cell] && !aged.saturated[cell])
                .collect();
            let Some(&first) = cells.first() else {
                flags.push(format!("band {band} has no cell that could be programmed"));
                continue;
            };
            if cells.len() < 30 {
                flags.push(format!("band {band} has {} cells; 30 are usual for a spread", cells.len()));
            }
            let reads: Vec<serde_json::Value> = (0..aged.times_s.len())
                .map(|read| {
                    let errors: Vec<f64> = cells
                        .iter()
                        .map(|&(row, column)| {
                            aged.conductance[(read, row, column)] - aged.targets[(row, column)]
                        })
                        .collect();
                    let (mean, spread) = moments(&errors);
                    json!({"time_s": aged.times_s[read], "mean_error_s": super::noise::estimate(&mean),
                           "spread_s": super::noise::estimate(&spread)})
                })
                .collect();
            let last = &reads[reads.len() - 1];
            output.say(format_args!(
                "band {band:2}  target {:>10}  {:3} cells  after {:>9}: mean {:+.3} µS, spread {:.3} µS",
                si(aged.targets[first], "S"),
                cells.len(),
                si(aged.times_s[reads.len() - 1], "s"),
                last["mean_error_s"]["value"].as_f64().unwrap_or(f64::NAN) * 1e6,
                last["spread_s"]["value"].as_f64().unwrap_or(f64::NAN) * 1e6
            ));
            bands.push(json!({"target_s": aged.targets[first], "cells": cells.len(), "reads": reads}));
        }
        for flag in &flags {
            output.say(format_args!("         {flag}"));
        }
        output.set("bands", &bands);
        output.set("flags", &flags);
        work.done(&mut opened, output, &json!({"bands": bands, "flags": flags}), &[])
    }
}

/// How cells are read, for the run file.
pub(super) fn read_settings(read: &ReadArgs) -> Result<serde_json::Value, Failure> {
    let settings = read.settings()?;
    Ok(json!({"volts": settings.volts, "range": settings.range, "conversions": settings.conversions}))
}

/// Mean and standard deviation of normal draws, with their standard uncertainties: s/√n, and s/√(2(n − 1)) (GUM E.4.3).
fn moments(values: &[f64]) -> (Estimate, Estimate) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() < 2 {
        return (Estimate::new(mean, f64::INFINITY), Estimate::new(0.0, f64::INFINITY));
    }
    let spread = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    (
        Estimate::from_scatter(mean, spread / n.sqrt(), n - 1.0),
        Estimate::new(spread, spread / (2.0 * (n - 1.0)).sqrt()),
    )
}
