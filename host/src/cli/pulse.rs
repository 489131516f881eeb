//! `ohmrig pulse`: write pulses on one cell, each counted.

use super::open::{Opened, open};
use super::output::si;
use super::settings::SchemeArg;
use super::work::Work;
use super::{Failure, Global, Output};
use crate::client::LinkError;
use crate::instrument::{InstrumentError, Pulsed, ReadSettings};
use crate::run_file::MeasurementOrder;
use clap::Args;
use ohmrig_protocol::message::{Pulse, Refusal, Region};
use ohmrig_protocol::units::{Seconds, Volts};
use serde_json::{Value, json};

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
    /// With --run: repeat pulses of an interrupted command of which nobody knows whether they were applied
    #[arg(long, conflicts_with = "leave")]
    again: bool,
    /// With --run: end an interrupted command as it is, its unknown pulses unknown
    #[arg(long)]
    leave: bool,
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
        let asked = json!({
            "row": self.row, "column": self.column, "volts": self.volts, "width_s": self.width_s,
            "scheme": format!("{:?}", self.scheme), "count": self.count, "read": !self.no_read,
        });
        let order = MeasurementOrder { kind: "pulse", settings: &asked, inputs: &[], changes_array: true };
        let Some(mut work) = opened.begin(global, &order, output)? else { return Ok(()) };
        let before = self.read(&mut opened, &mut work, "before", cell)?;
        let Train { applied, unknown, last, failure } = self.apply(&mut opened, &mut work, pulse)?;
        output.set("applied", applied);
        output.set("unknown", unknown);
        output.set("current_a", last.and_then(|pulsed| pulsed.current_a));
        output.set("slew_limited", last.map(|pulsed| pulsed.slew_limited));
        output.set("peak_v", last.map(|pulsed| pulsed.peak_v));
        if let Some(error) = failure {
            let failure = Failure::from(error);
            return Err(Failure::new(
                failure.kind,
                format_args!("{failure} ({applied} of {} pulses applied, {unknown} unknown)", self.count),
            ));
        }
        if unknown > 0 && !self.leave {
            return Err(Failure::failed(format_args!(
                "{applied} of {} pulses applied, {unknown} unknown: an earlier process sent them and didn't live to hear the \
                 answer, and the device can't tell any more; they are not repeated (--again repeats them, --leave ends it \
                 here; `ohmrig read` shows the cell)",
                self.count
            )));
        }
        let after = self.read(&mut opened, &mut work, "after", cell)?;
        output.set("before_s", before);
        output.set("after_s", after);
        output.say(format_args!(
            "{applied} pulses of {} V, {} on row {}, column {}{}{}",
            self.volts,
            si(self.width_s, "s"),
            self.row,
            self.column,
            if unknown > 0 { format!(" and {unknown} UNKNOWN") } else { String::new() },
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
                output.say(format_args!(
                    "the drivers' slew rate leaves no flat top at this width: of {} V they reach {:.2} V or more",
                    self.volts, pulsed.peak_v
                ));
            }
        }
        let values = json!({
            "applied": applied, "unknown": unknown, "before_s": before, "after_s": after,
            "current_a": last.and_then(|pulsed| pulsed.current_a),
        });
        work.done(&mut opened, output, &values, &[])
    }

    /// The cell's conductance, S, unless it isn't to be read; read once per measurement.
    fn read(
        &self,
        opened: &mut Opened,
        work: &mut Work,
        name: &str,
        cell: Region,
    ) -> Result<Option<f64>, Failure> {
        if self.no_read {
            return Ok(None);
        }
        if let Some(value) = work.done_piece(name)? {
            return Ok(value["conductance_s"].as_f64());
        }
        let volts = opened.instrument.usual_read_volts();
        let settings = ReadSettings { volts, range: None, conversions: 16 };
        let conductance = opened.instrument.read_cells(cell, &settings)?.conductance[(0, 0)];
        work.keep(opened, name, &json!({"conductance_s": conductance}), &[])?;
        Ok(Some(conductance))
    }

    /// Applies what of the train wasn't applied yet. Each pulse is written down before it is sent and after it was
    /// answered, so that none is ever sent twice.
    fn apply(&self, opened: &mut Opened, work: &mut Work, pulse: Pulse) -> Result<Train, Failure> {
        let mut train = Train { applied: 0, unknown: 0, last: None, failure: None };
        let status = opened.instrument.status()?;
        let mut present = Counted::now(opened, status.counters.pulses);
        for number in 1..=self.count {
            let name = format!("pulse {number}");
            let piece = work.piece(&name)?;
            if let Some(value) = piece.as_ref().and_then(|piece| piece.value.as_ref()) {
                train.applied += 1;
                train.last = Pulsed::from_json(value).or(train.last);
                continue;
            }
            if let Some(intent) = piece.and_then(|piece| piece.intent) {
                match present.tells(&intent, work)? {
                    Some(true) => {
                        work.keep(
                            opened,
                            &name,
                            &json!({"applied": "the device's count of pulses says so"}),
                            &[],
                        )?;
                        train.applied += 1;
                        continue;
                    }
                    None if !self.again => {
                        train.unknown += 1;
                        continue;
                    }
                    _ => {}
                }
            }
            if self.leave {
                break;
            }
            work.intend(&name, &present.to_json())?;
            match opened.instrument.arm(ARM_MS).and_then(|()| opened.instrument.pulse(pulse)) {
                Ok(pulsed) => {
                    train.applied += 1;
                    present.pulses += 1;
                    train.last = Some(pulsed);
                    work.keep(opened, &name, &pulsed.to_json(), &[])?;
                }
                Err(error) => {
                    let lost = unknown_pulses(&error);
                    train.unknown += lost;
                    if lost == 0 && !matches!(error, InstrumentError::Link(_)) && !is_fault(&error) {
                        work.forget(&name)?;
                    }
                    opened.instrument.give_up(&error);
                    train.failure = Some(error);
                    return Ok(train);
                }
            }
        }
        opened.instrument.safe()?;
        Ok(train)
    }
}

/// What became of a train of pulses.
struct Train {
    applied: u32,
    unknown: u32,
    last: Option<Pulsed>,
    failure: Option<InstrumentError>,
}

/// The device's count of pulses, with what says whether anybody else could have added to it.
struct Counted {
    boot: u64,
    sessions: u32,
    pulses: u64,
}

impl Counted {
    fn now(opened: &Opened, pulses: u64) -> Self {
        let welcome = opened.instrument.client().welcome();
        Self { boot: welcome.boot_nonce, sessions: welcome.sessions, pulses }
    }

    fn to_json(&self) -> Value {
        json!({"boot": format!("{:#018x}", self.boot), "session": self.sessions, "pulses_before": self.pulses})
    }

    /// Whether a pulse was applied that was about to be when an earlier process wrote down `intent`, if the count can
    /// tell: same boot, and every session since was one of this run file, which has every pulse it meant to send.
    fn tells(&self, intent: &Value, work: &Work) -> Result<Option<bool>, Failure> {
        let field = |name: &str| intent[name].as_u64();
        let (Some(session), Some(before)) = (field("session"), field("pulses_before")) else {
            return Ok(None);
        };
        if intent["boot"] != format!("{:#018x}", self.boot).as_str() {
            return Ok(None);
        }
        let ours = match u32::try_from(session) {
            Ok(session) => work.sessions_are_ours(self.boot, session, self.sessions)?,
            Err(_) => false,
        };
        Ok(match self.pulses.checked_sub(before) {
            // Nobody applied any.
            Some(0) => Some(false),
            Some(1) if ours => Some(true),
            _ => None,
        })
    }
}

impl Pulsed {
    fn to_json(self) -> Value {
        json!({"current_a": self.current_a, "at_ns": self.at_ns, "slew_limited": self.slew_limited, "peak_v": self.peak_v})
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            current_a: value["current_a"].as_f64(),
            at_ns: value["at_ns"].as_u64()?,
            slew_limited: value["slew_limited"].as_bool()?,
            peak_v: value["peak_v"].as_f64()?,
        })
    }
}

/// Whether the device tripped while executing: the edge may have happened.
fn is_fault(error: &InstrumentError) -> bool {
    matches!(error, InstrumentError::Refused { refusal: Refusal::Fault(_), .. })
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
