//! `ohmrig budget`: what cells have been through, of which array; limits that hold for good.

use super::open::open;
use super::output::si;
use super::settings::RegionArgs;
use super::{Failure, Global, Output};
use crate::instrument::BudgetMap;
use clap::Args;
use ndarray::Array2;
use ohmrig_protocol::message::Limits;
use ohmrig_protocol::units::{Amperes, Joules, VoltSeconds};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(super) struct Budget {
    #[command(flatten)]
    region: RegionArgs,
    /// Say which array is plugged in; a new name begins a new history
    #[arg(long, value_name = "NAME")]
    array: Option<String>,
    /// Show the arrays whose budgets the device keeps
    #[arg(long)]
    arrays: bool,
    /// Forget the history of an array that is not plugged in ("" for the one nobody named)
    #[arg(long, value_name = "NAME")]
    forget_array: Option<String>,
    /// Tighten: pulses per cell in all. Like every limit it holds for good, and no command loosens it again
    #[arg(long, value_name = "N")]
    limit_pulses: Option<u32>,
    /// Tighten: Σ |V|·width per cell in all, V s
    #[arg(long, value_name = "V_S")]
    limit_dose_v_s: Option<f64>,
    /// Tighten: energy per cell in all, J
    #[arg(long, value_name = "J")]
    limit_energy_j: Option<f64>,
    /// Tighten: current of a column in a pulse, A; it also bounds the energy counted where a current isn't measured
    #[arg(long, value_name = "A")]
    limit_current_a: Option<f64>,
}

/// Cells shown as text, at most.
const SHOWN: usize = 10;

impl Budget {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        for (value, name) in [
            (self.limit_dose_v_s, "--limit-dose-v-s"),
            (self.limit_energy_j, "--limit-energy-j"),
            (self.limit_current_a, "--limit-current-a"),
        ] {
            if let Some(value) = value
                && !(value.is_finite() && value >= 0.0)
            {
                return Err(Failure::usage(format!("{name} {value}: it must not be negative")));
            }
        }
        let mut opened = open(global, output)?;
        let region = self.region.region(&opened.instrument)?;
        if let Some(name) = &self.array {
            opened.instrument.plug_array(name)?;
        }
        if let Some(name) = &self.forget_array {
            opened.instrument.forget_array(name)?;
            output.say(format_args!("forgotten the history of array {}", quoted(name)));
        }
        let present = opened.instrument.device().limits;
        let tightened = self.tightened(present);
        if tightened != present {
            opened.instrument.tighten_limits(tightened)?;
        }
        let limits = opened.instrument.device().limits;
        output.say(format_args!(
            "limits   {} pulses, {}, {} per cell in all; column {}",
            limits.pulses_per_cell,
            si(limits.dose_per_cell.0.into(), "V s"),
            si(limits.energy_per_cell.0.into(), "J"),
            si(limits.current.0.into(), "A"),
        ));
        let arrays = opened.instrument.arrays()?;
        let plugged = opened.instrument.device().array.clone();
        output.say(format_args!("array    {}", quoted(&plugged)));
        if self.arrays {
            let names: Vec<String> = arrays.names.iter().map(|name| quoted(name)).collect();
            output.say(format_args!("kept     {} of {}: {}", names.len(), arrays.slots, names.join(", ")));
        }
        let map = opened.instrument.budgets(region)?;
        say_map(output, &map, region.row, region.column);
        output.set("array", plugged);
        output.set("arrays", &arrays.names);
        output.set("array_slots", arrays.slots);
        output.set("limits.pulses_per_cell", limits.pulses_per_cell);
        output.set("limits.dose_per_cell_v_s", limits.dose_per_cell.0);
        output.set("limits.energy_per_cell_j", limits.energy_per_cell.0);
        output.set("limits.current_a", limits.current.0);
        output.set("row", region.row);
        output.set("column", region.column);
        output.set("pulses", rows(&map.pulses));
        output.set("dose_v_s", rows(&map.dose_v_s));
        output.set("energy_j", rows(&map.energy_j));
        output.set("half_select_v_s", rows(&map.half_select_v_s));
        Ok(())
    }

    fn tightened(&self, present: Limits) -> Limits {
        let asked = |value: Option<f64>, present: f32| value.map_or(present, |value| value as f32);
        Limits {
            pulses_per_cell: self.limit_pulses.unwrap_or(present.pulses_per_cell),
            dose_per_cell: VoltSeconds(asked(self.limit_dose_v_s, present.dose_per_cell.0)),
            energy_per_cell: Joules(asked(self.limit_energy_j, present.energy_per_cell.0)),
            current: Amperes(asked(self.limit_current_a, present.current.0)),
            ..present
        }
    }
}

/// A name as it is shown.
pub(super) fn quoted(name: &str) -> String {
    if name.is_empty() { "not named".to_owned() } else { format!("`{name}`") }
}

fn rows<T: Clone + serde::Serialize>(values: &Array2<T>) -> Value {
    json!(values.outer_iter().map(|row| row.to_vec()).collect::<Vec<_>>())
}

/// Sums, and the cells that have had most.
fn say_map(output: &Output, map: &BudgetMap, row: u16, column: u16) {
    let touched = map.pulses.iter().filter(|&&pulses| pulses > 0).count();
    let pulses: u64 = map.pulses.iter().map(|&pulses| u64::from(pulses)).sum();
    output.say(format_args!(
        "cells    {touched} of {} have been written, {pulses} pulses in all",
        map.pulses.len()
    ));
    let mut cells: Vec<_> = map.pulses.indexed_iter().filter(|(_, pulses)| **pulses > 0).collect();
    cells.sort_by(|a, b| map.dose_v_s[b.0].total_cmp(&map.dose_v_s[a.0]));
    if cells.is_empty() {
        return;
    }
    output.say("    row  column    pulses          dose        energy   half-selected");
    for &((i, j), pulses) in cells.iter().take(SHOWN) {
        let at = (i, j);
        output.say(format_args!(
            "  {:>5}  {:>6}  {pulses:>8}  {:>12}  {:>12}  {:>14}",
            i + usize::from(row),
            j + usize::from(column),
            si(map.dose_v_s[at], "V s"),
            si(map.energy_j[at], "J"),
            si(map.half_select_v_s[at], "V s"),
        ));
    }
    if cells.len() > SHOWN {
        output.say(format_args!("  … and {} more; --json has all", cells.len() - SHOWN));
    }
}
