//! `ohmrig form`: electroforming through the forming resistors.

use super::open::open;
use super::output::si;
use super::program::left_list;
use super::settings::{RegionArgs, SchemeArg, StaircaseArg};
use super::{Failure, Global, Output};
use crate::instrument::{FormOrder, Stop};
use crate::run_file::MeasurementOrder;
use clap::Args;
use ohmrig_protocol::message::Outcome;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct FormCommand {
    #[command(flatten)]
    region: RegionArgs,
    /// Profile to take forming settings from: a built-in name or a TOML file [default: the board's, else rram-cmo]
    #[arg(long, value_name = "PROFILE")]
    recipe: Option<String>,
    /// Amplitudes at each width
    #[arg(long, value_name = "START:STEP:STOP")]
    volts: Option<StaircaseArg>,
    /// First pulse width, s
    #[arg(long, value_name = "S")]
    width_s: Option<f64>,
    /// Widest pulse, s; each staircase is ten times as wide as the one before
    #[arg(long, value_name = "S")]
    widest_s: Option<f64>,
    /// Between a pulse and the read after it, s
    #[arg(long, value_name = "S")]
    gap_s: Option<f64>,
    /// A cell is formed when it conducts this much, S
    #[arg(long, value_name = "S", conflicts_with = "stop_ratio")]
    stop_s: Option<f64>,
    /// A cell is formed when it conducts this many times what it did before
    #[arg(long, value_name = "RATIO")]
    stop_ratio: Option<f64>,
    /// Most pulses for one cell
    #[arg(long, value_name = "N")]
    max_pulses: Option<u16>,
    /// What unselected lines do during a pulse
    #[arg(long, value_enum, value_name = "SCHEME")]
    scheme: Option<SchemeArg>,
}

impl FormCommand {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        for (name, value, least) in [
            ("--width-s", self.width_s, 0.0),
            ("--widest-s", self.widest_s, 0.0),
            ("--stop-s", self.stop_s, 0.0),
            ("--stop-ratio", self.stop_ratio, 1.0),
        ] {
            if let Some(value) = value
                && !(value.is_finite() && value > least)
            {
                return Err(Failure::usage(format!("{name} {value}: it must be more than {least}")));
            }
        }
        let mut opened = open(global, output)?;
        let region = self.region.region(&opened.instrument)?;
        let limits = opened.instrument.device().limits;
        let profile = opened.recipe_profile(self.recipe.as_deref())?;
        let mut order = FormOrder::for_profile(&profile, region, &limits).ok_or_else(|| {
            Failure::usage(format!(
                "the devices of profile {} need no forming; choose --recipe with a profile that has a forming section",
                profile.name
            ))
        })?;
        if let Some(StaircaseArg(volts)) = self.volts {
            order.volts = volts;
        }
        order.widths.0 = self.width_s.unwrap_or(order.widths.0);
        order.widths.1 = self.widest_s.unwrap_or(order.widths.1.max(order.widths.0));
        order.gap = self.gap_s.unwrap_or(order.gap);
        order.max_pulses = self.max_pulses.unwrap_or(order.max_pulses);
        order.scheme = self.scheme.map_or(order.scheme, Into::into);
        order.stop = match (self.stop_s, self.stop_ratio) {
            (Some(siemens), _) => Stop::Absolute(siemens),
            (None, Some(ratio)) => Stop::Relative(ratio),
            (None, None) => order.stop,
        };
        let volts = order.volts;
        output.say(format_args!(
            "forming  {} cells through 10 kΩ, {} to {} in steps of {}, pulses of {} to {}",
            region.cells(),
            si(f64::from(volts.start.0), "V"),
            si(f64::from(volts.stop.0), "V"),
            si(f64::from(volts.step.0), "V"),
            si(order.widths.0, "s"),
            si(order.widths.1, "s"),
        ));
        let asked = json!({
            "row": region.row, "column": region.column, "rows": region.rows, "columns": region.columns,
            "volts": [volts.start.0, volts.step.0, volts.stop.0], "width_s": order.widths.0,
            "widest_s": order.widths.1, "gap_s": order.gap, "stop": format!("{:?}", order.stop),
        });
        let measurement =
            MeasurementOrder { kind: "form", settings: &asked, inputs: &[], changes_array: true };
        let Some(mut work) = opened.begin(global, &measurement, output)? else { return Ok(()) };
        let bar = output.bar(region.cells() as usize, "forming");
        let formed =
            opened.form(&mut work, &order, |progress| bar.set_position(u64::from(progress.cells)))?;
        bar.finish_and_clear();
        let count = formed.formed();
        output.say(format_args!(
            "formed   {count} of {} cells, {:.1} pulses per cell",
            region.cells(),
            formed.cells.pulses_mean()
        ));
        let left = left_list(&formed.cells.outcome, (region.row, region.column), Outcome::Inside);
        for line in left.lines("not formed") {
            output.say(line);
        }
        output.set("cells", region.cells());
        output.set("formed", count);
        output.set("not_formed", left.json());
        output.set("current_limited", formed.cells.current_limited);
        output.set("pulses_per_cell_mean", formed.cells.pulses_mean());
        work.done(
            &mut opened,
            output,
            &json!({
                "formed": count, "not_formed": left.json(), "pulses_per_cell_mean": formed.cells.pulses_mean(),
            }),
            &[
                ("before_s", formed.before.view()),
                ("threshold_s", formed.threshold.view()),
                ("conductance_s", formed.cells.conductance.view()),
                ("uncertainty_s", formed.cells.uncertainty.view()),
                ("pulses", formed.cells.pulses.mapv(f64::from).view()),
                ("outcome", formed.cells.outcome.mapv(|outcome| f64::from(outcome as u8)).view()),
            ],
        )
    }
}
