//! `ohmrig selftest`: reads back every chip, checks every row driver and every column amplifier against the reference
//! resistors, and looks for broken and shorted lines with at most 50 mV on the array.

use super::open::{Opened, open};
use super::{Failure, Global, Kind, Output};
use crate::instrument::self_test::{Line, SelfTest};
use crate::instrument::{InstrumentError, ReadSettings, refusal};
use crate::instrument::{NoBooks, ProgramOrder};
use clap::Args;
use ndarray::{Array2, Axis};
use ohmrig_protocol::message::{Outcome, Refusal};
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
    /// Also write every cell up and down, to find those that are stuck
    #[arg(long)]
    write_test: bool,
}

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
        let settings = ReadSettings { volts: self.volts, range: None, conversions: self.conversions };
        let lines =
            usize::from(opened.instrument.device().rows) + usize::from(opened.instrument.device().columns);
        let bar = output.bar(lines, "lines");
        let test = opened.instrument.self_test(&settings, self.tolerance, || bar.inc(1))?;
        bar.finish_and_clear();
        let stuck = if self.write_test { Some(self.stuck_cells(&mut opened)?) } else { None };
        self.report(&test, stuck.as_deref(), output);
        let worst = worst(&test);
        let settings =
            json!({"volts": self.volts, "conversions": self.conversions, "tolerance": self.tolerance});
        let values = json!({"worst_relative": worst, "safe_to_write": !test.is_unsafe()});
        let arrays =
            [("deviation_relative", test.reference.view()), ("conductance_s", test.conductance.view())];
        opened.record("selftest", &settings, &values, &arrays)?;
        if !test.is_unsafe() {
            output.say(format_args!(
                "nothing speaks against writing; references within ±{} % (worst {:.3} %)",
                100.0 * self.tolerance,
                100.0 * worst
            ));
            return Ok(());
        }
        let named = |lines: &[Line], what: &str| {
            let bad = lines.iter().enumerate().filter(|(_, line)| line.is_unsafe());
            bad.map(|(index, line)| format!("{what} {index} {}", line.name())).collect::<Vec<_>>()
        };
        let bad = [named(&test.rows, "row"), named(&test.columns, "column")].concat().join(", ");
        Err(Failure::new(Kind::Refused, format_args!("UNSAFE: {bad}; don't write with this board and array")))
    }

    fn report(&self, test: &SelfTest, stuck: Option<&[(usize, usize)]>, output: &mut Output) {
        for (group, proof) in test.switches(self.tolerance) {
            output.say(format_args!(
                "switches {group:<15} read back as set; by current: {}",
                match proof {
                    "current" => "proven",
                    other => other,
                }
            ));
        }
        let mut tell = |what: &str, lines: &[Line], axis: Axis, switch: &str, proven: &[bool]| {
            let told: Vec<_> = test
                .reference
                .axis_iter(axis)
                .zip(lines)
                .zip(proven)
                .enumerate()
                .map(|(index, ((reference, line), proven))| {
                    let mean = reference.iter().sum::<f64>() / reference.len() as f64;
                    let verdict =
                        if line.is_unsafe() { line.name().to_uppercase() } else { line.name().to_owned() };
                    output.say(format_args!(
                        "{what:<6} {index:>3}  reference {:+.3} % of nominal  {verdict}",
                        100.0 * mean
                    ));
                    let proof = if *proven { "current" } else { "unproven" };
                    json!({what: index, "reference_relative": mean, "verdict": line.name(), switch: proof})
                })
                .collect();
            output.set(&format!("{what}s_tested"), told);
        };
        tell("row", &test.rows, Axis(0), "forming_bypass", &test.bypass);
        tell("column", &test.columns, Axis(1), "column_bias", &test.bias);
        for (row, column) in &test.shorts {
            output.say(format_args!("SHORT across the cell of row {row}, column {column}"));
        }
        for (cells, what) in [(Some(test.open_cells.as_slice()), "doesn't conduct"), (stuck, "is stuck")] {
            for (row, column) in cells.unwrap_or_default() {
                output.say(format_args!("cell at row {row}, column {column} {what}"));
            }
        }
        if stuck.is_none() {
            output.say("stuck cells: unproven (--write-test writes every cell to find them)");
        }
        let bad = |lines: &[Line]| -> Vec<usize> {
            lines.iter().enumerate().filter(|(_, line)| line.is_unsafe()).map(|(index, _)| index).collect()
        };
        let proofs: serde_json::Map<String, serde_json::Value> = test
            .switches(self.tolerance)
            .into_iter()
            .map(|(group, proof)| (group.to_owned(), proof.into()))
            .collect();
        output.set("switches", proofs);
        output.set("shorts", &test.shorts);
        output.set("open_cells", &test.open_cells);
        output.set("stuck_cells", stuck);
        output.set("bad_rows", bad(&test.rows));
        output.set("bad_columns", bad(&test.columns));
        output.set("safe_to_write", !test.is_unsafe());
        output.set("reference.worst_relative", worst(test));
    }

    /// Cells that are where they are whatever is written: written up, then down, with the profile's recipe.
    fn stuck_cells(&self, opened: &mut Opened) -> Result<Vec<(usize, usize)>, Failure> {
        let recipe = opened.recipe(None)?;
        let whole = opened.instrument.whole();
        let shape = (usize::from(whole.rows), usize::from(whole.columns));
        let span = recipe.g_max - recipe.g_min;
        let mut stuck: Option<Vec<(usize, usize)>> = None;
        for share in [0.8, 0.2] {
            let targets = Array2::from_elem(shape, recipe.g_min + share * span);
            let mut order = ProgramOrder::new(&recipe, (0, 0), targets);
            order.window = 0.2 * span;
            order.passes = 1;
            let programmed = opened.instrument.program(&order, &[], &mut NoBooks, |_| {})?;
            let left = |at: &(usize, usize)| programmed.outcome[*at] != Outcome::Inside;
            stuck = Some(match stuck {
                // Stuck up or stuck down: one of the two is out of reach.
                None => ndarray::indices(shape).into_iter().filter(left).collect(),
                Some(mut before) => {
                    before.extend(ndarray::indices(shape).into_iter().filter(left));
                    before.sort_unstable();
                    before.dedup();
                    before
                }
            });
        }
        opened.instrument.safe()?;
        Ok(stuck.unwrap_or_default())
    }
}

fn worst(test: &SelfTest) -> f64 {
    test.reference.iter().fold(0.0_f64, |worst, d| worst.max(d.abs()))
}
