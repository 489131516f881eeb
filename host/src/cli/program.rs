//! `ohmrig program`: conductances from a file into the array, with write-verify on the device.

use super::calibrate;
use super::line_gains::LineGainsFile;
use super::open::{Opened, open};
use super::output::{percent, si};
use super::settings::{RecipeArgs, recipe_settings};
use super::work::Work;
use super::{Failure, Global, Output};
use crate::arrays;
use crate::calibration::{Calibration, EffectiveSettings};
use crate::instrument::{InCircuit, ProgramOrder, Progress, ReadSettings};
use crate::recipe::Recipe;
use crate::run_file::MeasurementOrder;
use clap::Args;
use ndarray::{Array1, Array2, Axis};
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
    /// Feedback setting of the amplifiers in verify reads [default: the most sensitive that holds one and a half times the largest
    /// target]; the range that products will use keeps one range's gain error against another's out of them
    #[arg(long, value_name = "INDEX")]
    range: Option<u8>,
    /// Write the conductances read afterwards here, S; with --in-circuit the matrix
    #[arg(long, value_name = "NPY")]
    output: Option<PathBuf>,
    /// Program the whole array against the matrix that products see, with a gain for each row and column
    #[arg(long)]
    in_circuit: bool,
    /// Write those gains here (JSON), for `ohmrig mvm --line-gains`
    #[arg(long, value_name = "FILE", requires = "in_circuit")]
    line_gains: Option<PathBuf>,
}

/// Conversions of the read that tells the programming error, independent of the verify reads.
pub(super) const CHECK_CONVERSIONS: u16 = 32;

/// Turns of in-circuit programming, at most.
const TURNS: u8 = 4;

impl ProgramCommand {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let targets = arrays::read(&self.targets, "(rows, columns)")?;
        arrays::require_shape(&self.targets, &targets, None, None)?;
        let mut opened = open(global, output)?;
        let recipe = self.recipe.apply(opened.recipe(self.recipe.recipe.as_deref())?)?;
        check_targets(&self.targets.display().to_string(), &targets, &recipe)?;
        let region = region_of(self.row, self.column, &targets)?;
        opened.instrument.check_region(region)?;
        if let Some(range) = self.range {
            let largest = targets.iter().copied().fold(0.0, f64::max) + recipe.window;
            opened.instrument.check_range(range, largest * recipe.read_volts)?;
        }
        let order = ProgramOrder {
            range: self.range,
            ..ProgramOrder::new(&recipe, (self.row, self.column), targets.clone())
        };
        let range = opened.instrument.verify_range(&order)?;
        output.say(format_args!(
            "targets  {} cells, window ±{}, recipe {}; verify reads in range {range} ({})",
            targets.len(),
            si(recipe.window, "S"),
            recipe.name,
            si(opened.instrument.feedback(range)?, "Ω")
        ));
        output.set("range", range);
        let kind = if self.in_circuit { "program-in-circuit" } else { "program" };
        // Products are corrected by it, so the matrix that they see is measured so.
        let calibration = if self.in_circuit { calibrate::own(&mut opened)? } else { None };
        if let Some(own) = &calibration {
            output.say(format_args!("matrix   corrected by calibration {}, in force on the board", own.id()));
        }
        let asked = json!({"row": self.row, "column": self.column, "recipe": recipe_settings(&recipe), "range": self.range});
        let measurement = MeasurementOrder {
            kind,
            settings: &asked,
            inputs: &[("target_s", targets.view())],
            changes_array: true,
        };
        let Some(mut work) = opened.begin(global, &measurement, output)? else { return Ok(()) };
        let bar = output.bar(targets.len() * usize::from(recipe.passes), "programming");
        let progress = |progress: Progress| bar.set_position(u64::from(progress.cells));
        if self.in_circuit {
            let settings = EffectiveSettings { volts: recipe.read_volts, repeats: 4, conversions: 16 };
            let calibration = calibration.as_ref();
            let done =
                opened.program_in_circuit(&mut work, &order, &settings, calibration, TURNS, progress)?;
            bar.finish_and_clear();
            if let Some(path) = &self.line_gains {
                let id = calibration.map(Calibration::id);
                LineGainsFile::new(&opened.instrument.device().board, id, &done.gains).write(path)?;
            }
            return self.tell_in_circuit(&done, &recipe, &mut opened, work, output);
        }
        let programmed = opened.program(&mut work, "", &order, output, progress)?;
        bar.finish_and_clear();
        let settings =
            ReadSettings { volts: recipe.read_volts, range: self.range, conversions: CHECK_CONVERSIONS };
        let map = opened.instrument.read_cells(region, &settings)?;
        let error = rms(&(&map.conductance - &targets));
        let left = left_list(&programmed.outcome, (self.row, self.column), Outcome::Inside);
        let span = recipe.g_max - recipe.g_min;
        let (cells, inside) = (targets.len(), programmed.inside());
        output.say(format_args!(
            "inside   {inside} of {cells} cells ({}), {:.1} pulses per cell",
            percent(inside as f64 / cells as f64),
            programmed.pulses_mean()
        ));
        for (number, pass) in (1..).zip(&programmed.passes) {
            output.say(format_args!(
                "pass {number}   {} cells, {} pulses; {}{} rms right after",
                pass.cells,
                pass.pulses,
                pass.error_before_rms
                    .map_or_else(String::new, |rms| format!("{} rms before, ", si(rms, "S"))),
                si(pass.error_rms, "S")
            ));
        }
        output.say(format_args!(
            "error    {} rms against the targets ({} of the range), read again at once with {CHECK_CONVERSIONS} conversions per \
             polarity",
            si(error, "S"),
            percent(error / span)
        ));
        for line in left.lines("outside") {
            output.say(line);
        }
        let passes: Vec<_> = programmed
            .passes
            .iter()
            .map(|pass| {
                json!({
                    "cells": pass.cells, "pulses": pass.pulses, "inside": pass.inside, "error_rms_s": pass.error_rms,
                    "error_before_rms_s": pass.error_before_rms,
                })
            })
            .collect();
        output.set("cells", cells);
        output.set("inside_window", inside);
        output.set("excluded", cells - inside);
        output.set("excluded_cells", left.json());
        output.set("current_limited", programmed.current_limited);
        output.set("pulses_per_cell_mean", programmed.pulses_mean());
        output.set("error_rms_s", error);
        output.set("window_s", recipe.window);
        output.set("recipe", &recipe.name);
        output.set("algorithm", recipe.method.name());
        output.set("passes", &passes);
        if let Some(path) = &self.output {
            arrays::write(path, map.conductance.view()).map_err(Failure::failed)?;
        }
        work.done(
            &mut opened,
            output,
            &json!({
                "cells": cells, "inside_window": inside, "error_rms_s": error, "excluded_cells": left.json(),
                "passes": passes, "pulses_per_cell_mean": programmed.pulses_mean(), "range_s": span,
            }),
            &[
                ("conductance_s", map.conductance.view()),
                ("uncertainty_s", map.uncertainty.view()),
                ("verified_s", programmed.conductance.view()),
                ("verified_uncertainty_s", programmed.uncertainty.view()),
                ("pulses", programmed.pulses.mapv(f64::from).view()),
                ("reversals", programmed.reversals.mapv(f64::from).view()),
                ("outcome", programmed.outcome.mapv(|outcome| f64::from(outcome as u8)).view()),
            ],
        )
    }
}

impl ProgramCommand {
    /// Says and records what in-circuit programming has reached.
    fn tell_in_circuit(
        &self,
        done: &InCircuit,
        recipe: &Recipe,
        opened: &mut Opened,
        work: Work,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let span = recipe.g_max - recipe.g_min;
        let within = done.inside(recipe.window);
        let (cells, inside) = (within.len(), within.iter().filter(|inside| **inside).count());
        for (number, turn) in (1..).zip(&done.turns) {
            output.say(format_args!(
                "turn {number}   {} cells, {} pulses; matrix in circuit {} rms from the targets ({} of the range) after gains",
                turn.cells,
                turn.pulses,
                si(turn.error_rms, "S"),
                percent(turn.error_rms / span)
            ));
        }
        let extent = |gains: &Array1<f64>| {
            let least = gains.iter().copied().fold(f64::INFINITY, f64::min);
            format!("{least:.4} to {:.4}", gains.iter().copied().fold(0.0, f64::max))
        };
        output.say(format_args!(
            "gains    rows {}, columns {}: for the inputs and outputs of products{}",
            extent(&done.gains.rows),
            extent(&done.gains.columns),
            if self.line_gains.is_some() { "" } else { " (--line-gains FILE writes them for `ohmrig mvm`)" }
        ));
        let known = (done.matrix.uncertainty.iter().map(|u| u * u).sum::<f64>() / cells as f64).sqrt();
        output.say(format_args!(
            "inside   {inside} of {cells} cells ({}) in circuit, after gains; the matrix is known to ± {} (rms); {:.1} pulses per cell",
            percent(inside as f64 / cells as f64),
            si(known, "S"),
            done.cells.pulses_mean()
        ));
        let left = left_in_circuit(&done.cells.outcome, &within);
        for line in left.lines("outside") {
            output.say(line);
        }
        let turns: Vec<_> = done
            .turns
            .iter()
            .map(|turn| json!({"cells": turn.cells, "pulses": turn.pulses, "error_rms_s": turn.error_rms}))
            .collect();
        let error = done.turns.last().map(|turn| turn.error_rms);
        output.set("cells", cells);
        output.set("inside_window", inside);
        output.set("excluded", cells - inside);
        output.set("excluded_cells", left.json());
        output.set("current_limited", done.cells.current_limited);
        output.set("pulses_per_cell_mean", done.cells.pulses_mean());
        output.set("error_rms_s", error);
        output.set("window_s", recipe.window);
        output.set("recipe", &recipe.name);
        output.set("algorithm", recipe.method.name());
        output.set("turns", &turns);
        output.set("row_gains", done.gains.rows.to_vec());
        output.set("column_gains", done.gains.columns.to_vec());
        let line = |gains: &Array1<f64>| gains.view().insert_axis(Axis(0)).to_owned();
        if let Some(path) = &self.output {
            arrays::write(path, done.matrix.siemens.view()).map_err(Failure::failed)?;
        }
        work.done(
            opened,
            output,
            &json!({
                "cells": cells, "inside_window": inside, "error_rms_s": error, "excluded_cells": left.json(),
                "turns": turns, "pulses_per_cell_mean": done.cells.pulses_mean(), "range_s": span,
            }),
            &[
                ("matrix_s", done.matrix.siemens.view()),
                ("matrix_uncertainty_s", done.matrix.uncertainty.view()),
                ("row_gain", line(&done.gains.rows).view()),
                ("column_gain", line(&done.gains.columns).view()),
                ("pulses", done.cells.pulses.mapv(f64::from).view()),
                ("outcome", done.cells.outcome.mapv(|outcome| f64::from(outcome as u8)).view()),
            ],
        )
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

/// Cells that were not brought to where they should be, with reasons.
pub(super) struct LeftList {
    cells: Vec<(usize, usize, &'static str)>,
}

/// Of a region that begins at `origin`, all cells but those with the outcome that was wanted.
pub(super) fn left_list(outcomes: &Array2<Outcome>, origin: (u16, u16), wanted: Outcome) -> LeftList {
    let at = |(row, column): (usize, usize)| (usize::from(origin.0) + row, usize::from(origin.1) + column);
    let left = outcomes.indexed_iter().filter(|(_, outcome)| **outcome != wanted);
    LeftList {
        cells: left
            .map(|(index, &outcome)| {
                let (row, column) = at(index);
                (row, column, reason(outcome))
            })
            .collect(),
    }
}

/// Cells that are outside their window in circuit, whatever single-cell reads said of them.
fn left_in_circuit(outcomes: &Array2<Outcome>, within: &Array2<bool>) -> LeftList {
    let outside = within.indexed_iter().filter(|(_, within)| !**within);
    let why = |outcome| match outcome {
        Outcome::Inside => "inside read alone, outside in circuit",
        given_up => reason(given_up),
    };
    LeftList {
        cells: outside.map(|((row, column), _)| (row, column, why(outcomes[(row, column)]))).collect(),
    }
}

impl LeftList {
    /// Most cells that are named on a line of their own reason.
    const NAMED: usize = 8;

    /// A line for each reason.
    pub(super) fn lines(&self, what: &str) -> Vec<String> {
        let mut reasons: Vec<&str> = self.cells.iter().map(|cell| cell.2).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let line = |reason: &str| {
            let cells: Vec<_> = self.cells.iter().filter(|cell| cell.2 == reason).collect();
            let named: Vec<String> =
                cells.iter().take(Self::NAMED).map(|cell| format!("[{}, {}]", cell.0, cell.1)).collect();
            let more = if cells.len() > Self::NAMED { ", …" } else { "" };
            format!("{what:<8} {} {reason}: {}{more}", cells.len(), named.join(", "))
        };
        reasons.into_iter().map(line).collect()
    }

    /// All of them, for scripts.
    pub(super) fn json(&self) -> serde_json::Value {
        self.cells.iter().map(|(row, col, why)| json!({"row": row, "col": col, "why": why})).collect()
    }
}

/// An outcome in words.
fn reason(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pending => "not reached",
        Outcome::Inside => "inside",
        Outcome::Pulses => "pulse budget spent",
        Outcome::Reversals => "reversal budget spent",
        Outcome::Stuck => "doesn't move",
        Outcome::Saturated => "saturates the amplifier",
        Outcome::Limit => "next pulse beyond the current limit",
        Outcome::OverCurrent => "column current passed its limit in a pulse",
        Outcome::Skipped => "left alone",
        Outcome::Noisy => "noisier than the window",
        Outcome::Budget => "cell's budget spent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_for_leaving_a_cell_has_a_line_and_words_of_its_own_in_json() {
        let outcomes: Vec<Outcome> = (0..=u8::MAX).map_while(Outcome::from_code).collect();
        let row = Array2::from_shape_vec((1, outcomes.len()), outcomes.clone()).unwrap();
        let left = left_list(&row, (3, 5), Outcome::Inside);
        let lines = left.lines("outside");
        let json = left.json();
        let told = json.as_array().unwrap();
        assert_eq!(told.len(), outcomes.len() - 1);
        for (column, &outcome) in (5..).zip(&outcomes).filter(|(_, outcome)| **outcome != Outcome::Inside) {
            let line = format!("outside  1 {}: [3, {column}]", reason(outcome));
            assert!(lines.contains(&line), "{lines:?}");
            assert!(told.contains(&json!({"row": 3, "col": column, "why": reason(outcome)})), "{told:?}");
        }
    }
}
