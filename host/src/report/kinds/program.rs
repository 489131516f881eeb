//! `program`: how far cells are from their targets after programming, where, and what it took.

use super::super::page::Page;
use super::super::plot::{Axes, Colours, Unit, heat_map, histogram, line};
use crate::run_file::Recorded;
use ndarray::Array2;

/// The outcome code of a cell that was read inside its window.
const INSIDE: f64 = 1.0;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let array = |name: &str| recorded.arrays.get(name);
    let (Some(targets), Some(reached)) = (array("target_s"), array("conductance_s")) else { return };
    let window = recorded.settings["recipe"]["window_s"].as_f64();
    errors(page, "", targets, reached, array("outcome"), window);
    if let Some(pulses) = array("pulses") {
        convergence(page, pulses, array("outcome"));
    }
}

/// Heat map and histogram of programming errors.
pub(super) fn errors(
    page: &mut Page,
    what: &str,
    targets: &Array2<f64>,
    reached: &Array2<f64>,
    outcomes: Option<&Array2<f64>>,
    window: Option<f64>,
) {
    if targets.dim() != reached.dim() {
        return;
    }
    let error = reached - targets;
    let finite: Vec<f64> = error.iter().copied().filter(|e| e.is_finite()).collect();
    let rms = (finite.iter().map(|e| e * e).sum::<f64>() / finite.len().max(1) as f64).sqrt();
    let unit = Unit::of(error.iter().copied(), "S");
    let beyond = |index: (usize, usize)| {
        let outside = window.is_some_and(|window| error[index].abs() > window);
        outside || outcomes.is_some_and(|o| o.get(index).is_some_and(|&outcome| outcome != INSIDE))
    };
    let crossed = error.indexed_iter().filter(|(index, _)| beyond(*index)).count();
    let conclusion = match window {
        Some(window) => format!(
            "{} of {} cells read again within ±{} of their target",
            finite.iter().filter(|e| e.abs() <= window).count(),
            error.len(),
            unit.show(window)
        ),
        None => format!("{} cells", error.len()),
    };
    page.say(format_args!(
        "{what}{conclusion}; the programming error is {} (rms), read again after programming.",
        unit.show(rms)
    ));
    let scaled = &error / unit.scale;
    page.picture(&heat_map(
        &format!("{what}{conclusion}; {crossed} crossed: outside, or given up"),
        scaled.view(),
        &format!("read again − target / {}", unit.name),
        Colours::Diverging,
        beyond,
    ));
    let bounds: Vec<f64> = window.map(|w| vec![-w / unit.scale, w / unit.scale]).unwrap_or_default();
    let finite: Vec<f64> = finite.iter().map(|e| e / unit.scale).collect();
    let mean = finite.iter().sum::<f64>() / finite.len().max(1) as f64;
    page.picture(&histogram(
        &format!(
            "{what}Programming error: {} rms, {} on average{}",
            unit.show(rms),
            unit.show(mean * unit.scale),
            if bounds.is_empty() { "" } else { " (lines: the window)" }
        ),
        Axes { x: &format!("read again − target / {}", unit.name), y: "cells" },
        &finite,
        &bounds,
    ));
}

/// The share of cells that were done after so many pulses.
pub(super) fn convergence(page: &mut Page, pulses: &Array2<f64>, outcomes: Option<&Array2<f64>>) {
    let mut done: Vec<f64> = pulses
        .indexed_iter()
        .filter(|(index, _)| outcomes.is_none_or(|o| o.get(*index).is_none_or(|&outcome| outcome == INSIDE)))
        .map(|(_, &pulses)| pulses)
        .filter(|pulses| pulses.is_finite())
        .collect();
    if done.is_empty() {
        return;
    }
    done.sort_by(f64::total_cmp);
    let cells = pulses.len() as f64;
    let mean = pulses.iter().filter(|p| p.is_finite()).sum::<f64>() / cells;
    let mut points = Vec::new();
    for (number, &pulses) in done.iter().enumerate() {
        let before = 100.0 * number as f64 / cells;
        let after = 100.0 * (number + 1) as f64 / cells;
        points.extend([(pulses, before), (pulses, after)]);
    }
    let nine_tenths = done.get((cells * 0.9).ceil() as usize - 1);
    page.picture(&line(
        &format!(
            "{mean:.2} pulses per cell on average; {}",
            match nine_tenths {
                Some(pulses) => format!("nine cells in ten needed {pulses:.0} or fewer"),
                None => "fewer than nine cells in ten were done".to_owned(),
            }
        ),
        Axes { x: "pulses", y: "cells done / %" },
        &points,
        &[90.0],
    ));
}
