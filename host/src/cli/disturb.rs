//! `ohmrig disturb`: what pulses on one cell do to the others, scheme beside scheme.

use super::noise::estimate;
use super::open::{Opened, open};
use super::output::si;
use super::settings::SchemeArg;
use super::train::{Applied, Train, counted, log_grid};
use super::work::Work;
use super::{Failure, Global, Output};
use crate::instrument::{CellMap, Loading, ROW_OHMS, ReadSettings};
use crate::metrology::Estimate;
use crate::metrology::lifetime::disturb;
use crate::run_file::MeasurementOrder;
use clap::{Args, ValueEnum};
use ndarray::Array2;
use ohmrig_protocol::message::Pulse;
use ohmrig_protocol::units::{Seconds, Volts};
use serde_json::{Value, json};

/// Pulse one cell per scheme and watch all others.
#[derive(Debug, Args)]
pub(super) struct DisturbCommand {
    /// Row of the first scheme's pulsed cell, counted from 0; the next scheme's is one row and one column further
    #[arg(long, default_value_t = 0, value_name = "ROW")]
    row: u16,
    /// Its column
    #[arg(long, default_value_t = 0, value_name = "COLUMN")]
    column: u16,
    /// Pulses of each scheme
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pulses: u32,
    /// Numbers of pulses per decade after which the array is read
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    per_decade: u16,
    /// Amplitude, V; negative for RESET [default: the recipe's largest SET]
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    volts: Option<f64>,
    /// Pulse width, s [default: the recipe's]
    #[arg(long, value_name = "S")]
    width_s: Option<f64>,
    /// Profile to take pulses from: a built-in name or a TOML file [default: the board's, else rram-cmo]
    #[arg(long, value_name = "PROFILE")]
    recipe: Option<String>,
    /// Schemes to compare, in this order
    #[arg(long, value_enum, value_delimiter = ',', default_value = "half,third,floating,grounded")]
    schemes: Vec<SchemeArg>,
    /// Conversions of each read at each polarity
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    conversions: u16,
}

/// Where a cell is, seen from the pulsed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Row,
    Column,
    Elsewhere,
}

const PLACES: [(Place, &str); 3] =
    [(Place::Row, "same row"), (Place::Column, "same column"), (Place::Elsewhere, "elsewhere")];

/// One scheme's part of the measurement, or the one without pulses.
struct Part {
    name: String,
    pulsed: Option<(u16, u16)>,
    refused: Option<String>,
    /// How long it took by the instrument's clock, s.
    seconds: f64,
    before: Array2<f64>,
    /// After so many pulses.
    after: Vec<(u64, Array2<f64>)>,
}

impl DisturbCommand {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        if let Some(volts) = self.volts
            && !(volts.is_finite() && volts != 0.0)
        {
            return Err(Failure::usage(format!("--volts {volts}: it must be a voltage other than 0")));
        }
        if let Some(width) = self.width_s
            && !(width.is_finite() && width > 0.0)
        {
            return Err(Failure::usage(format!("--width-s {width}: it must be positive")));
        }
        let mut opened = open(global, output)?;
        let whole = opened.instrument.whole();
        let count = self.schemes.len() as u16;
        if u32::from(self.row) + u32::from(count) > u32::from(whole.rows)
            || u32::from(self.column) + u32::from(count) > u32::from(whole.columns)
        {
            return Err(Failure::usage(format!(
                "{count} schemes from row {}, column {} on need as many rows and columns; the array has {} × {}: begin nearer to 0 or \
                 choose fewer --schemes",
                self.row, self.column, whole.rows, whole.columns
            )));
        }
        let recipe = opened.recipe(self.recipe.as_deref())?;
        let volts = self.volts.unwrap_or(f64::from(recipe.stairs.0.stop.0));
        let width_s = self.width_s.unwrap_or(recipe.width);
        let names: Vec<String> = self.schemes.iter().map(|scheme| name(*scheme)).collect();
        let asked = json!({
            "row": self.row, "column": self.column, "pulses": self.pulses, "per_decade": self.per_decade, "volts": volts,
            "width_s": width_s, "schemes": names, "conversions": self.conversions, "read_v": recipe.read_volts,
        });
        let order = MeasurementOrder { kind: "disturb", settings: &asked, inputs: &[], changes_array: true };
        let Some(mut work) = opened.begin(global, &order, output)? else { return Ok(()) };
        let settings = ReadSettings { volts: recipe.read_volts, range: None, conversions: self.conversions };
        let bar = output.bar(self.pulses as usize * self.schemes.len(), "pulsing");
        let mut parts = Vec::new();
        for (index, scheme) in (0..).zip(&self.schemes) {
            let pulse = Pulse {
                row: self.row + index,
                column: self.column + index,
                volts: Volts(volts as f32),
                width: Seconds(width_s as f32),
                scheme: (*scheme).into(),
                gate: None,
            };
            parts.push(self.part(&mut opened, &mut work, &name(*scheme), pulse, &settings, || bar.inc(1))?);
        }
        bar.finish_and_clear();
        let longest = parts.iter().map(|part| part.seconds).fold(0.0, f64::max);
        parts.push(idle(&mut opened, &mut work, &settings, longest)?);
        self.report(&mut opened, work, &parts, volts, output)
    }

    /// Applies one scheme's pulses and reads the array in between.
    fn part(
        &self,
        opened: &mut Opened,
        work: &mut Work,
        scheme: &str,
        pulse: Pulse,
        settings: &ReadSettings,
        mut tick: impl FnMut(),
    ) -> Result<Part, Failure> {
        let name = format!("{scheme} before");
        let (row, column) = (pulse.row, pulse.column);
        let (begun, before) = match work.done_piece(&name)? {
            Some(value) => (value, work.array(&name, "conductance_s")?),
            None => {
                let had = counted(opened, row, column)?;
                let at_ns = opened.instrument.status()?.at_ns;
                let map = read(opened, settings)?;
                let value = json!({"pulses": had, "at_ns": at_ns});
                work.keep(opened, &name, &value, &[("conductance_s", map.conductance.view())])?;
                (value, map.conductance)
            }
        };
        let (had, since_ns) = (begun["pulses"].as_u64().unwrap_or(0), begun["at_ns"].as_u64().unwrap_or(0));
        let mut part = Part::new(scheme, before);
        part.pulsed = Some((row, column));
        let mut train = Train::default();
        for goal in log_grid(u64::from(self.pulses), self.per_decade) {
            let name = format!("{} {goal}", part.name);
            let kept = work.done_piece(&name)?;
            if let Some(value) = kept {
                part.seconds = value["seconds"].as_f64().unwrap_or(0.0);
                if let Some(why) = value["refused"].as_str() {
                    part.refused = Some(why.to_owned());
                    return Ok(part);
                }
                part.after
                    .push((value["pulses"].as_u64().unwrap_or(goal), work.array(&name, "conductance_s")?));
                continue;
            }
            let mut got = counted(opened, pulse.row, pulse.column)?.saturating_sub(had);
            while got < goal {
                let refused = match train.pulse(opened, pulse) {
                    Ok(Applied::Yes) => None,
                    Ok(Applied::NoMore(why) | Applied::NoScheme(why)) => Some(why),
                    // A limit says no to the scheme, not to the command.
                    Err(failure) if failure.kind == super::Kind::Refused && got == 0 => Some(failure.message),
                    Err(failure) => return Err(failure),
                };
                if let Some(why) = refused {
                    train.end(opened)?;
                    work.keep(opened, &name, &json!({"refused": why, "seconds": part.seconds}), &[])?;
                    part.refused = Some(why);
                    return Ok(part);
                }
                got += 1;
                tick();
            }
            train.end(opened)?;
            let map = read(opened, settings)?;
            let now_ns = opened.instrument.status()?.at_ns;
            part.seconds = now_ns.saturating_sub(since_ns) as f64 * 1e-9;
            let value = json!({"pulses": got, "seconds": part.seconds});
            work.keep(opened, &name, &value, &[("conductance_s", map.conductance.view())])?;
            part.after.push((got, map.conductance));
        }
        Ok(part)
    }

    fn report(
        &self,
        opened: &mut Opened,
        work: Work,
        parts: &[Part],
        volts: f64,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let pulsed: Vec<(u16, u16)> = parts.iter().filter_map(|part| part.pulsed).collect();
        // Without pulses, over as long a time: what must be taken off.
        let idle = parts.last().and_then(|part| part.after.last().map(|(_, after)| (part, after)));
        let idle_changes = |at: (u16, u16), place: Place| {
            idle.and_then(|(part, after)| {
                let (b, a) = group(&part.before, after, at, place, &pulsed);
                disturb(&b, &a).map(|found| found.change)
            })
        };
        output.say(format_args!(
            "disturb  {}; change of the other cells' conductance, what it is without pulses taken off",
            si(volts, "V")
        ));
        let mut schemes = Vec::new();
        for part in parts {
            let Some(at) = part.pulsed else { continue };
            if let Some(why) = &part.refused
                && part.after.is_empty()
            {
                output.say(format_args!("{:<15} refused: {why}", part.name));
                schemes.push(json!({"scheme": part.name, "refused": why, "reads": []}));
                continue;
            }
            let mut reads = Vec::new();
            for (pulses, after) in &part.after {
                let mut told = json!({"pulses": pulses});
                let mut words = Vec::new();
                for (place, title) in PLACES {
                    let (b, a) = group(&part.before, after, at, place, &pulsed);
                    let Some(found) = disturb(&b, &a) else { continue };
                    let without = idle_changes(at, place).unwrap_or(Estimate::new(0.0, 0.0));
                    let excess = Estimate {
                        value: found.change.value - without.value,
                        standard_uncertainty: found
                            .change
                            .standard_uncertainty
                            .hypot(without.standard_uncertainty),
                        degrees_of_freedom: found.change.degrees_of_freedom,
                    };
                    let significant = !excess.covers(0.0, 0.95);
                    told[title] = json!({
                        "cells": b.len(), "change": estimate(&found.change), "excess": estimate(&excess), "spread": found.spread,
                        "worst": found.worst, "significant": significant,
                    });
                    let nothing = if significant { "" } else { " (none)" };
                    words.push(format!(
                        "{title} {:+.3} ± {:.3} %{nothing}",
                        100.0 * excess.value,
                        100.0 * excess.standard_uncertainty
                    ));
                }
                output.say(format_args!("{:<15} {pulses:>8} pulses   {}", part.name, words.join("   ")));
                reads.push(told);
            }
            if let Some(why) = &part.refused {
                output.say(format_args!("{:<15} stopped: {why}", part.name));
            }
            schemes.push(json!({
                "scheme": part.name, "refused": part.refused, "row": at.0, "column": at.1, "seconds": part.seconds, "reads": reads,
            }));
        }
        let without: Value = idle.map_or(Value::Null, |(part, after)| {
            let all = disturb(&flat(&part.before), &flat(after));
            json!({"seconds": part.seconds, "change": all.as_ref().map(|d| estimate(&d.change)), "spread": all.map(|d| d.spread)})
        });
        let left_out = left_out(parts);
        for why in [SATURATED, OPEN] {
            let cells: Vec<_> = left_out.iter().filter(|cell| cell.1 == why).map(|cell| cell.0).collect();
            if cells.is_empty() {
                continue;
            }
            let named: Vec<String> =
                cells.iter().take(8).map(|(row, column)| format!("[{row}, {column}]")).collect();
            let more = if cells.len() > named.len() { ", …" } else { "" };
            output.say(format_args!("left out        {} {why}: {}{more}", cells.len(), named.join(", ")));
        }
        let left_out: Vec<Value> = left_out
            .iter()
            .map(|((row, column), why)| json!({"row": row, "column": column, "why": why}))
            .collect();
        output.set("left_out", &left_out);
        output.set("volts", volts);
        output.set("schemes", &schemes);
        output.set("without_pulses", &without);
        let kept = json!({"schemes": schemes, "without_pulses": without, "left_out": left_out});
        work.done(opened, output, &kept, &[])
    }
}

impl Part {
    fn new(name: &str, before: Array2<f64>) -> Self {
        Self { name: name.to_owned(), pulsed: None, refused: None, seconds: 0.0, before, after: Vec::new() }
    }
}

/// The same reads as long apart, with no pulse between them.
fn idle(
    opened: &mut Opened,
    work: &mut Work,
    settings: &ReadSettings,
    seconds: f64,
) -> Result<Part, Failure> {
    const NAMES: [&str; 2] = ["without pulses, before", "without pulses, after"];
    let mut reads = Vec::new();
    for piece in NAMES {
        if work.done_piece(piece)?.is_none() {
            if piece == NAMES[1] {
                opened.instrument.wait(seconds, |_| {})?;
            }
            let map = read(opened, settings)?;
            work.keep(opened, piece, &json!({}), &[("conductance_s", map.conductance.view())])?;
            reads.push(map.conductance);
        } else {
            reads.push(work.array(piece, "conductance_s")?);
        }
    }
    let after = reads.pop().unwrap_or_default();
    let mut part = Part::new("without pulses", reads.pop().unwrap_or_default());
    part.seconds = seconds;
    part.after.push((0, after));
    Ok(part)
}

/// The devices' own conductances: the pulsed cell draws its row's voltage down, and a change of it must not be taken for one of
/// its neighbours.
fn read(opened: &mut Opened, settings: &ReadSettings) -> Result<CellMap, Failure> {
    let mut map = opened.instrument.read_cells(opened.instrument.whole(), settings)?;
    map.conductance = Loading { ohms: ROW_OHMS }.devices(map.conductance.view());
    // A saturated cell has no value, and one that is open none that a change could be a part of: both are kept out of every group.
    map.conductance.zip_mut_with(&map.uncertainty, |siemens, uncertainty| {
        if *siemens < CONDUCTS * uncertainty {
            *siemens = 0.0;
        }
    });
    map.conductance.zip_mut_with(&map.saturated, |siemens, saturated| {
        if *saturated {
            *siemens = f64::NAN;
        }
    });
    Ok(map)
}

/// Standard uncertainties of a read that a cell must conduct more than: the noise of an open one reaches that once in 10⁷ reads.
const CONDUCTS: f64 = 5.0;

/// Why a cell is left out.
const SATURATED: &str = "saturates the amplifier";
const OPEN: &str = "doesn't conduct";

/// Cells without a value in some read, with the reason: no group has them in that read.
fn left_out(parts: &[Part]) -> Vec<((usize, usize), &'static str)> {
    let Some(first) = parts.first() else { return Vec::new() };
    let reads = || parts.iter().flat_map(|part| part.after.iter().map(|(_, map)| map).chain([&part.before]));
    let why = |index: (usize, usize)| {
        let mut values = reads().filter_map(|map| map.get(index).copied());
        let saturated = values.clone().any(f64::is_nan);
        let open = values.any(|siemens| siemens <= 0.0);
        if saturated { Some(SATURATED) } else { open.then_some(OPEN) }
    };
    let cells = first.before.indexed_iter().map(|(index, _)| index);
    cells.filter_map(|index| Some((index, why(index)?))).collect()
}

/// As on the command line.
fn name(scheme: SchemeArg) -> String {
    scheme.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn flat(map: &Array2<f64>) -> Vec<f64> {
    map.iter().copied().collect()
}

/// Cells of a place, before and after, S; none of those that any scheme pulses.
fn group(
    before: &Array2<f64>,
    after: &Array2<f64>,
    at: (u16, u16),
    place: Place,
    pulsed: &[(u16, u16)],
) -> (Vec<f64>, Vec<f64>) {
    let here = |row: usize, column: usize| match (row == usize::from(at.0), column == usize::from(at.1)) {
        (true, _) => Place::Row,
        (_, true) => Place::Column,
        _ => Place::Elsewhere,
    };
    before
        .indexed_iter()
        .filter(|((row, column), siemens)| {
            here(*row, *column) == place
                && !pulsed.contains(&(*row as u16, *column as u16))
                && **siemens > 0.0
                && after[(*row, *column)] > 0.0
        })
        .map(|(index, siemens)| (*siemens, after[index]))
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_cell_without_a_value_in_any_read_is_left_out_with_its_reason_and_is_in_no_group() {
        let mut first = Part::new("half", array![[1e-5, 2e-5, f64::NAN], [1e-5, 3e-5, 4e-5]]);
        first.after = vec![
            (1, array![[1e-5, 2e-5, 5e-5], [0.0, 3e-5, 4e-5]]),
            (3, array![[1e-5, 2e-5, 5e-5], [1e-5, f64::NAN, 4e-5]]),
        ];
        let idle = Part::new("without pulses", array![[1e-5, 2e-5, 5e-5], [1e-5, 0.0, 4e-5]]);
        let (before, after) = (first.before.clone(), first.after[0].1.clone());
        assert_eq!(
            left_out(&[first, idle]),
            [((0, 2), SATURATED), ((1, 0), OPEN), ((1, 1), SATURATED)],
            "a cell that saturates in one read and is open in another is said to saturate"
        );
        let here = |place| group(&before, &after, (0, 0), place, &[(0, 0)]).0;
        assert_eq!((here(Place::Row), here(Place::Column)), (vec![2e-5], vec![]));
        assert_eq!(here(Place::Elsewhere), [3e-5, 4e-5]);
    }
}
