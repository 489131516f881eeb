//! `ohmrig pulse`: write pulses on one cell, each counted.

use super::open::open;
use super::output::si;
use super::settings::SchemeArg;
use super::{Failure, Global, Output};
use crate::client::LinkError;
use crate::instrument::{InstrumentError, ReadSettings};
use clap::Args;
use ohmrig_protocol::message::{Pulse, Region};
use ohmrig_protocol::units::{Seconds, Volts};
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct PulseCommand {
    /// Row of the cell, counted from 0
    #[arg(long)]
    row: u16,
    /// Column of the cell, counted from 0
    #[arg(long)]
    column: u16,
    /// Amplitude, row against column, V; positive is SET
    #[arg(long, allow_negative_numbers = true)]
    volts: f64,
    /// Width, s
    #[arg(long, value_name = "S")]
    width_s: f64,
    /// What the other lines do
    #[arg(long, value_enum, default_value = "half")]
    scheme: SchemeArg,
    /// Number of pulses
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// Don't read the cell before and after
    #[arg(long)]
    no_read: bool,
}

/// An arming is renewed with every pulse; pulses are at most 1 s.
const ARM_MS: u32 = 5_000;

impl PulseCommand {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        if !(self.volts.is_finite() && self.volts != 0.0) {
            return Err(Failure::usage(format!("--volts {}: it must be a voltage other than 0", self.volts)));
        }
        if !(self.width_s.is_finite() && self.width_s > 0.0) {
            return Err(Failure::usage(format!("--width-s {}: it must be positive", self.width_s)));
        }
        let mut opened = open(global, output)?;
        let cell = Region { row: self.row, column: self.column, rows: 1, columns: 1 };
        opened.instrument.check_region(cell)?;
        let pulse = Pulse {
            row: self.row,
            column: self.column,
            volts: Volts(self.volts as f32),
            width: Seconds(self.width_s as f32),
            scheme: self.scheme.into(),
            gate: None,
        };
        let settings = ReadSettings { volts: 0.2, range: None, conversions: 16 };
        let read = |opened: &mut super::open::Opened| -> Result<Option<f64>, Failure> {
            if self.no_read {
                return Ok(None);
            }
            Ok(Some(opened.instrument.read_cells(cell, &settings)?.conductance[(0, 0)]))
        };
        let before = read(&mut opened)?;
        let mut applied = 0_u32;
        let mut unknown = 0;
        let mut last = None;
        let mut failure = None;
        while applied < self.count {
            let pulsed = opened.instrument.arm(ARM_MS).and_then(|()| opened.instrument.pulse(pulse));
            match pulsed {
                Ok(pulsed) => {
                    applied += 1;
                    last = Some(pulsed);
                }
                Err(error) => {
                    unknown = unknown_pulses(&error);
                    opened.instrument.give_up(&error);
                    failure = Some(error);
                    break;
                }
            }
        }
        if failure.is_none() {
            opened.instrument.safe()?;
        }
        output.set("applied", applied);
        output.set("unknown", unknown);
        output.set("current_a", last.and_then(|pulsed| pulsed.current_a));
        output.set("slew_limited", last.map(|pulsed| pulsed.slew_limited));
        let settings = json!({
            "row": self.row, "column": self.column, "volts": self.volts, "width_s": self.width_s,
            "scheme": format!("{:?}", self.scheme), "count": self.count,
        });
        if let Some(error) = failure {
            opened.record("pulse", &settings, &json!({"applied": applied, "unknown": unknown}), &[])?;
            let failure = Failure::from(error);
            return Err(Failure::new(
                failure.kind,
                format_args!("{failure} ({applied} of {} pulses applied, {unknown} unknown)", self.count),
            ));
        }
        let after = read(&mut opened)?;
        let values = json!({
            "applied": applied, "unknown": unknown, "before_s": before, "after_s": after,
            "current_a": last.and_then(|pulsed| pulsed.current_a),
        });
        opened.record("pulse", &settings, &values, &[])?;
        output.set("before_s", before);
        output.set("after_s", after);
        output.say(format_args!(
            "{applied} pulses of {} V, {} on row {}, column {}{}",
            self.volts,
            si(self.width_s, "s"),
            self.row,
            self.column,
            match (before, after) {
                (Some(before), Some(after)) => format!(": {} -> {}", si(before, "S"), si(after, "S")),
                _ => String::new(),
            }
        ));
        if let Some(pulsed) = last {
            match pulsed.current_a {
                Some(current) => output.say(format_args!(
                    "column current in the last pulse {} (half-selected cells included)",
                    si(current, "A")
                )),
                None => output.say("column current not measured (this scheme or width can't)"),
            }
            if pulsed.slew_limited {
                output.say("the drivers' slew rate leaves no flat top at this width");
            }
        }
        Ok(())
    }
}

/// Pulses of which nobody knows whether they were applied.
fn unknown_pulses(error: &InstrumentError) -> u32 {
    match error {
        InstrumentError::Link(
            LinkError::SessionLost { unknown, .. }
            | LinkError::TimedOut { unknown, request: "pulse", .. }
            | LinkError::Interrupted { unknown },
        ) => *unknown,
        InstrumentError::Link(LinkError::Transport(_)) => 1,
        _ => 0,
    }
}
