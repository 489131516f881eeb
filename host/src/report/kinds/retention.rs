//! `retention`: the state of each band over time against its window, and how many cells are still inside theirs.

use super::super::page::Page;
use super::super::plot::{Axes, DATA, Scale, Series, Unit, compared, digits, shade};
use super::cells::{DRAWN, element, plus_minus, reads, seconds, spread_out};
use crate::run_file::{Recorded, RecordedPiece};
use ndarray::Array2;
use serde_json::Value;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    if let Some(bands) = recorded.value["bands"].as_array() {
        states(page, bands);
        errors(page, bands, recorded.settings["recipe"]["window_s"].as_f64());
    }
    still_inside(recorded, page);
}

/// Time, mean error, its standard uncertainty and the spread between cells of each read, S.
fn course(band: &Value) -> Vec<[f64; 4]> {
    let reads = band["reads"].as_array().into_iter().flatten();
    let number = |value: &Value, name: &str| value[name].as_f64();
    reads
        .filter_map(|read| {
            let mean = &read["mean_error_s"];
            Some([
                number(read, "time_s")?,
                number(mean, "value")?,
                number(mean, "standard_uncertainty").unwrap_or(f64::INFINITY),
                number(&read["spread_s"], "value")?,
            ])
        })
        .collect()
}

fn target(band: &Value) -> f64 {
    band["target_s"].as_f64().unwrap_or(f64::NAN)
}

/// The levels themselves: do they stay apart?
fn states(page: &mut Page, bands: &[Value]) {
    let unit = Unit::of(bands.iter().map(target), "S");
    let ends: Vec<(f64, f64)> = bands
        .iter()
        .filter_map(|band| course(band).last().map(|last| (target(band) + last[1], last[3])))
        .collect();
    // How many standard deviations of cells fit between neighbouring means.
    let apart = ends.windows(2).map(|pair| (pair[1].0 - pair[0].0).abs() / pair[0].1.hypot(pair[1].1));
    let closest = apart.fold(f64::INFINITY, f64::min);
    let after = bands.first().and_then(|band| course(band).last().map(|last| last[0]));
    let conclusion = match after {
        Some(after) if closest.is_finite() => format!(
            "{} states after {}: neighbours are {closest:.1} standard deviations of single cells apart, or more (bars: one)",
            ends.len(),
            seconds(after)
        ),
        Some(after) => format!("One state, over {}", seconds(after)),
        None => return,
    };
    let drawn = spread_out(bands.len(), DRAWN);
    let series: Vec<Series> =
        drawn
            .iter()
            .enumerate()
            .map(|(number, &which)| {
                let level = target(&bands[which]) / unit.scale;
                let points = course(&bands[which]).into_iter();
                Series::new(
                    format!("{} {}, {} cells", digits(level), unit.name, bands[which]["cells"]),
                    shade(number, drawn.len()),
                )
                .points(points.map(|[time_s, mean, _, spread]| {
                    (time_s, level + mean / unit.scale, spread / unit.scale)
                }))
                .joined()
            })
            .collect();
    page.picture(&compared(
        &conclusion,
        Axes { x: "time since programming / s", y: &format!("mean of the cells / {}", unit.name) },
        (Scale::Logarithmic, Scale::Linear),
        &series,
        &[],
    ));
}

/// How far the means are from their targets, against the window.
fn errors(page: &mut Page, bands: &[Value], window_s: Option<f64>) {
    let ends = bands.iter().filter_map(|band| Some((band, *course(band).last()?)));
    let Some((band, [time_s, mean, uncertainty, spread])) =
        ends.max_by(|a, b| a.1[1].abs().total_cmp(&b.1[1].abs()))
    else {
        return;
    };
    let unit = Unit::of([mean, window_s.unwrap_or(0.0)], "S");
    let siemens = Unit::of([target(band)], "S");
    let conclusion = format!(
        "Farthest off after {}: the cells of {}, by {} {} on average, ± {} from cell to cell{}",
        seconds(time_s),
        siemens.show(target(band)),
        plus_minus(mean / unit.scale, uncertainty / unit.scale),
        unit.name,
        unit.show(spread),
        window_s.map_or(String::new(), |w| format!(" (red: the window, ±{})", unit.show(w)))
    );
    page.say(format_args!("{conclusion}. Bars are the standard uncertainty of the mean."));
    let drawn = spread_out(bands.len(), DRAWN);
    let series: Vec<Series> = drawn
        .iter()
        .enumerate()
        .map(|(number, &which)| {
            let points = course(&bands[which]).into_iter();
            Series::new(siemens.show(target(&bands[which])), shade(number, drawn.len()))
                .points(points.map(|[time_s, mean, u, _]| (time_s, mean / unit.scale, u / unit.scale)))
                .joined()
        })
        .collect();
    let window = window_s.map(|w| vec![-w / unit.scale, w / unit.scale]).unwrap_or_default();
    page.picture(&compared(
        &conclusion,
        Axes { x: "time since programming / s", y: &format!("mean − target / {}", unit.name) },
        (Scale::Logarithmic, Scale::Linear),
        &series,
        &window,
    ));
}

/// How many of the cells that programming left inside their window are there at each read.
fn still_inside(recorded: &Recorded, page: &mut Page) {
    let Some(targets) = recorded.arrays.get("target_s") else { return };
    let Some(window) = recorded.settings["recipe"]["window_s"].as_f64() else { return };
    let programmed = recorded.pieces.iter().find_map(|piece| piece.arrays.get("inside"));
    let Some(programmed) = programmed.filter(|inside| inside.dim() == targets.dim()) else { return };
    let (points, cells) = share_inside(&reads(recorded), targets, programmed, window);
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let named: Vec<Series> =
        vec![Series::new("± standard (binomial)", DATA).points(points.iter().copied()).joined()];
    let unit = Unit::of(targets.iter().copied(), "S");
    page.picture(&compared(
        &format!(
            "{} % of {cells} programmed cells read within ±{} after {}, {} % after {}",
            plus_minus(first.1, first.2.max(0.01)),
            unit.show(window),
            seconds(first.0),
            plus_minus(last.1, last.2.max(0.01)),
            seconds(last.0),
        ),
        Axes { x: "time since programming / s", y: "cells inside their window / %" },
        (Scale::Logarithmic, Scale::Linear),
        &named,
        &[],
    ));
}

/// Time, percentage and its binomial standard uncertainty at each read; and of how many cells.
fn share_inside(
    reads: &[&RecordedPiece],
    targets: &Array2<f64>,
    programmed: &Array2<f64>,
    window: f64,
) -> (Vec<(f64, f64, f64)>, usize) {
    let followed: Vec<((usize, usize), f64)> = targets
        .indexed_iter()
        .filter(|(index, _)| programmed[*index] != 0.0)
        .map(|(index, target)| (index, *target))
        .collect();
    let n = followed.len() as f64;
    let points = reads.iter().filter_map(|read| {
        let inside = |(index, target): &((usize, usize), f64)| {
            element(read, "conductance_s", *index).is_some_and(|g| (g - target).abs() <= window)
        };
        let share = followed.iter().filter(|cell| inside(cell)).count() as f64 / n;
        Some((read.value["time_s"].as_f64()?, 100.0 * share, 100.0 * (share * (1.0 - share) / n).sqrt()))
    });
    (if followed.is_empty() { Vec::new() } else { points.collect() }, followed.len())
}
