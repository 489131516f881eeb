//! `ohmrig program`: conductances from a file into the array, with write-verify on the device.

use super::open::open;
use super::output::{percent, si};
use super::settings::RecipeArgs;
use super::{Failure, Global, Output};
use crate::arrays;
use crate::instrument::{ProgramOrder, Programmed, ReadSettings};
use crate::recipe::Recipe;
use clap::Args;
use ndarray::Array2;
use ohmrig_protocol::message::{Outcome, Region};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct ProgramCommand {
    /// Targets, S, .npy of (rows, columns)
    targets: PathBuf,
    /// Row of the array at which the targets begin
    #[arg(long, default_value_t = 0)]
    row: u16,
    /// Column of the array at which the targets begin
    #[arg(long, default_value_t = 0)]
    column: u16,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Write the conductances read afterwards here, S
    #[arg(long, value_name = "NPY")]
    output: Option<PathBuf>,
    /// Drop the results of an earlier job that were never fetched
    #[arg(long)]
    discard_held: bool,
}

/// Conversions of the read that tells the programming error, independent of the verify reads.
pub(super) const CHECK_CONVERSIONS: u16 = 32;

impl ProgramCommand {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let targets = arrays::read(&self.targets, "(rows, columns)")?;
        arrays::require_shape(&self.targets, &targets, None, None)?;
        let mut opened = open(global, output)?;
        let recipe = self.recipe.apply(opened.recipe(self.recipe.recipe.as_deref())?)?;
        check_targets(&self.targets.display().to_string(), &targets, &recipe)?;
        let region = region_of(self.row, self.column, &targets)?;
        opened.instrument.check_region(region)?;
        if self.discard_held
            && let Some(job) = opened.instrument.status()?.job
        {
            opened.instrument.release_job(job)?;
        }
        output.say(format_args!(
            "targets  {} cells, window ±{}, recipe {}",
            targets.len(),
            si(recipe.window, "S"),
            recipe.name
        ));
        let order = ProgramOrder::new(&recipe, (self.row, self.column), targets.clone());
        let bar = output.bar(targets.len() * usize::from(recipe.passes), "programming");
        let run = &mut opened.run;
        let programmed = opened.instrument.program(
            &order,
            |job, region| match run {
                Some(run) => run.job(job, region).map_err(|error| error.to_string()),
                None => Ok(()),
            },
            |progress| bar.set_position(u64::from(progress.cells)),
        )?;
        bar.finish_and_clear();
        let settings = ReadSettings { volts: recipe.read_volts, range: None, conversions: CHECK_CONVERSIONS };
        let map = opened.instrument.read_cells(region, &settings)?;
        let error = rms(&(&map.conductance - &targets));
        let excluded = targets.len() - programmed.inside();
        output.say(format_args!(
            "inside   {} of {} cells ({}), {:.1} pulses per cell",
            programmed.inside(),
            targets.len(),
            percent(programmed.inside() as f64 / targets.len() as f64),
            programmed.pulses_mean()
        ));
        output.say(format_args!(
            "error    {} rms against the targets, read again at once with {CHECK_CONVERSIONS} conversions per polarity",
            si(error, "S")
        ));
        let left = left_out(&programmed);
        if excluded > 0 {
            output.say(format_args!("outside  {left}"));
        }
        output.set("cells", targets.len());
        output.set("inside_window", programmed.inside());
        output.set("excluded", excluded);
        output.set("outcomes", &left);
        output.set("pulses_per_cell_mean", programmed.pulses_mean());
        output.set("error_rms_s", error);
        output.set("window_s", recipe.window);
        output.set("recipe", &recipe.name);
        let pulses = programmed.pulses.mapv(f64::from);
        opened.record(
            "program",
            &json!({"row": self.row, "column": self.column, "recipe": recipe.name, "window_s": recipe.window}),
            &json!({"inside_window": programmed.inside(), "error_rms_s": error}),
            &[
                ("target_s", targets.view()),
                ("conductance_s", map.conductance.view()),
                ("uncertainty_s", map.uncertainty.view()),
                ("pulses", pulses.view()),
            ],
        )?;
        if let Some(path) = &self.output {
            arrays::write(path, map.conductance.view()).map_err(Failure::failed)?;
        }
        Ok(())
    }
}

/// The region that targets take up.
fn region_of(row: u16, column: u16, targets: &Array2<f64>) -> Result<Region, Failure> {
    let side = |n: usize| {
        u16::try_from(n).map_err(|_| Failure::usage(format!("{n} targets in a line; no array is that large")))
    };
    Ok(Region { row, column, rows: side(targets.nrows())?, columns: side(targets.ncols())? })
}

/// Refuses targets outside the devices' range before anything is touched.
fn check_targets(what: &str, targets: &Array2<f64>, recipe: &Recipe) -> Result<(), Failure> {
    let outside = |target: f64| !(recipe.g_min..=recipe.g_max).contains(&target);
    match targets.indexed_iter().find(|(_, target)| outside(**target)) {
        None => Ok(()),
        Some(((row, column), target)) => {
            let count = targets.iter().filter(|target| outside(**target)).count();
            Err(Failure::usage(format!(
                "{what}: target [{row}, {column}] is {target:.4e} S, outside the {:.4e} to {:.4e} S of recipe {} ({count} such \
                 targets); rescale them, or choose --recipe, --g-min-s, --g-max-s",
                recipe.g_min, recipe.g_max, recipe.name
            )))
        }
    }
}

/// Root mean square.
pub(super) fn rms(values: &Array2<f64>) -> f64 {
    (values.iter().map(|v| v * v).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

/// Why cells were left outside their window, with counts.
fn left_out(programmed: &Programmed) -> String {
    let reasons = [
        (Outcome::Pulses, "pulse budget spent"),
        (Outcome::Reversals, "reversal budget spent"),
        (Outcome::Stuck, "stuck"),
        (Outcome::Saturated, "saturated"),
        (Outcome::Limit, "cell's pulse limit reached"),
        (Outcome::Pending, "not reached"),
    ];
    let parts: Vec<String> = reasons
        .into_iter()
        .filter_map(|(outcome, text)| {
            let count = programmed.outcome.iter().filter(|&&o| o == outcome).count();
            (count > 0).then(|| format!("{count} {text}"))
        })
        .collect();
    parts.join(", ")
}
