//! `pulse`: what a train of pulses did to its cell, and the current in each.

use super::super::page::Page;
use super::super::plot::{Axes, Unit, line};
use crate::run_file::Recorded;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let (settings, value) = (&recorded.settings, &recorded.value);
    let siemens = |name: &str| value[name].as_f64().map(|g| Unit::of([g], "S").show(g));
    let change = match (siemens("before_s"), siemens("after_s")) {
        (Some(before), Some(after)) => format!(": {before} before, {after} after"),
        _ => String::new(),
    };
    let kept = recorded.pieces.iter().filter(|piece| piece.name.starts_with("pulse "));
    let unknown = kept.clone().filter(|piece| piece.value.is_null()).count();
    page.say(format_args!(
        "{} of {} pulses of {} V on row {}, column {} were applied, {unknown} are unknown{change}.",
        kept.clone().count() - unknown,
        settings["count"],
        settings["volts"],
        settings["row"],
        settings["column"],
    ));
    let currents: Vec<(f64, f64)> = kept
        .enumerate()
        .filter_map(|(number, piece)| Some((number as f64 + 1.0, piece.value["current_a"].as_f64()?)))
        .collect();
    if currents.len() > 1 {
        let unit = Unit::of(currents.iter().map(|point| point.1), "A");
        let points: Vec<(f64, f64)> = currents.iter().map(|&(n, i)| (n, i / unit.scale)).collect();
        let (first, last) = (currents[0].1, currents[currents.len() - 1].1);
        page.picture(&line(
            &format!(
                "Column current in the pulse went from {} to {} (half-selected cells included)",
                unit.show(first),
                unit.show(last)
            ),
            Axes { x: "pulse", y: &format!("column current / {}", unit.name) },
            &points,
            &[],
        ));
    }
}
