//! `read`: the map of conductances and how they are distributed.

use super::super::page::Page;
use super::super::plot::{Axes, Colours, Unit, heat_map, histogram};
use crate::run_file::Recorded;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let Some(cells) = recorded.arrays.get("conductance_s") else { return };
    let unit = Unit::of(cells.iter().copied(), "S");
    let values: Vec<f64> = cells.iter().copied().filter(|g| g.is_finite()).collect();
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let spread = (values.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / count).sqrt();
    let uncertainty =
        recorded.arrays.get("uncertainty_s").map(|u| (u.iter().map(|u| u * u).sum::<f64>() / count).sqrt());
    let saturated = recorded.value["saturated"].as_u64().unwrap_or(0);
    page.say(format_args!(
        "{} cells: mean {}, standard deviation {}{}{}.",
        values.len(),
        unit.show(mean),
        unit.show(spread),
        uncertainty
            .map(|u| format!(", standard uncertainty of a cell {} (rms)", Unit::of([u], "S").show(u)))
            .unwrap_or_default(),
        if saturated > 0 { format!("; {saturated} SATURATED, only lower bounds") } else { String::new() }
    ));
    let scaled = cells / unit.scale;
    page.picture(&heat_map(
        &format!("Conductances from {} to {}", unit.show(low(&values)), unit.show(high(&values))),
        scaled.view(),
        &format!("conductance / {}", unit.name),
        Colours::Sequential,
        |_| false,
    ));
    let scaled: Vec<f64> = values.iter().map(|g| g / unit.scale).collect();
    page.picture(&histogram(
        &format!("Cells differ by {} (standard deviation) around {}", unit.show(spread), unit.show(mean)),
        Axes { x: &format!("conductance / {}", unit.name), y: "cells" },
        &scaled,
        &[],
    ));
}

fn low(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn high(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}
