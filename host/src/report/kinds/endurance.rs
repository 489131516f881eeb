//! `endurance`: both states of the cells over cycles, and what is left of the window between them.

use super::super::page::Page;
use super::super::plot::{Axes, BOUND, DATA, Scale, Series, Unit, compared, digits, shade};
use super::cells::{DRAWN, estimate, position, spread_out};
use crate::run_file::Recorded;
use serde_json::Value;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let Some(cells) = recorded.value["cells"].as_array().filter(|cells| !cells.is_empty()) else { return };
    let window = recorded.settings["window"].as_f64().unwrap_or(f64::NAN);
    page.say(verdict(cells, window, &recorded.value["weibull"]));
    let stopped: Vec<Vec<String>> = cells
        .iter()
        .filter_map(|cell| {
            let (row, column) = position(cell);
            let why = cell["stopped"].as_str()?.to_owned();
            let cycles = cell["cycles"].as_f64().map(digits).unwrap_or_default();
            Some(vec![format!("row {row}, column {column}"), cycles, why])
        })
        .collect();
    if !stopped.is_empty() {
        page.table(&["cell", "stopped after cycles", "why"], &stopped);
    }
    states(page, cells);
    windows(page, cells, window, &recorded.value["weibull"]);
}

/// (Cycles, value, standard uncertainty) of one column of a cell's reads; 0 in run files from before it was kept.
fn course(cell: &Value, name: &str, uncertainty: &str) -> Vec<(f64, f64, f64)> {
    let points = cell["points"].as_array().into_iter().flatten();
    let course = |point: &Value| {
        Some((point["cycles"].as_f64()?, point[name].as_f64()?, point[uncertainty].as_f64().unwrap_or(0.0)))
    };
    points.filter_map(course).collect()
}

/// The columns of both states.
const SET: (&str, &str) = ("set_s", "set_uncertainty_s");
const RESET: (&str, &str) = ("reset_s", "reset_uncertainty_s");

fn verdict(cells: &[Value], window: f64, weibull: &Value) -> String {
    let failed: Vec<[f64; 2]> = cells
        .iter()
        .filter_map(|cell| {
            let between = &cell["failed_between"];
            Some([between[0].as_f64()?, between[1].as_f64()?])
        })
        .collect();
    let least = cells.iter().filter_map(|cell| cell["cycles"].as_f64()).fold(f64::INFINITY, f64::min);
    let first = failed.iter().min_by(|a, b| a[1].total_cmp(&b[1]));
    let life = estimate(&weibull["ln_scale"]).map_or(String::new(), |scale| {
        format!(
            "; 63 % have failed by {} cycles (± {:.0} %)",
            digits(scale.value.exp()),
            100.0 * scale.standard_uncertainty
        )
    });
    match first {
        None => format!(
            "All {} cells that were cycled kept a window of {} for {least:.0} cycles or more",
            cells.len(),
            window
        ),
        Some([from, to]) => format!(
            "{} of {} cells lost a window of {}, the first between {from:.0} and {to:.0} cycles{life}",
            failed.len(),
            cells.len(),
            window
        ),
    }
}

/// The mean over reads of all cells of ln of a state, as the state, and the spread between cycles of one cell, both geometric.
fn typical(cells: &[Value], state: &str, spread: &str) -> Option<(f64, f64)> {
    let of = |name: &str, cell: &Value| {
        if name == state { cell[name]["value"].as_f64().map(f64::ln) } else { cell[name].as_f64() }
    };
    let mean = |name: &str| {
        let values: Vec<f64> = cells.iter().filter_map(|cell| of(name, cell)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    Some((mean(state)?.exp(), mean(spread)?))
}

/// SET and RESET of each cell.
fn states(page: &mut Page, cells: &[Value]) {
    let all = || {
        cells.iter().flat_map(|cell| [SET, RESET].into_iter().flat_map(|(state, u)| course(cell, state, u)))
    };
    let unit = Unit::of(all().map(|point| point.1), "S");
    let drawn = spread_out(cells.len(), DRAWN);
    let mut series = Vec::new();
    for (name, (state, uncertainty), colour) in [("SET", SET, DATA), ("RESET", RESET, BOUND)] {
        for (number, &which) in drawn.iter().enumerate() {
            let points = course(&cells[which], state, uncertainty).into_iter();
            let name = if number == 0 { name } else { "" };
            series.push(
                Series::new(name, colour)
                    .points(points.map(|(cycles, siemens, u)| (cycles, siemens / unit.scale, u / unit.scale)))
                    .joined()
                    .thin(),
            );
        }
    }
    let told = |state: &str, spread: &str| {
        typical(cells, state, spread).map_or("unknown".to_owned(), |(siemens, spread)| {
            format!("{} (± {:.1} % from cycle to cycle)", unit.show(siemens), 100.0 * spread)
        })
    };
    page.picture(&compared(
        &format!(
            "{}SET is {}, RESET {}{}",
            if cells.iter().any(|cell| cell["failed_between"].is_array()) { "Before failure " } else { "" },
            told("set_s", "set_spread"),
            told("reset_s", "reset_spread"),
            if drawn.len() < cells.len() {
                format!("; {} of {} cells drawn", drawn.len(), cells.len())
            } else {
                String::new()
            }
        ),
        Axes { x: "cycles", y: &format!("conductance / {}", unit.name) },
        (Scale::Logarithmic, Scale::Logarithmic),
        &series,
        &[],
    ));
}

/// SET over RESET of each cell.
fn windows(page: &mut Page, cells: &[Value], window: f64, weibull: &Value) {
    let drawn = spread_out(cells.len(), DRAWN);
    let series: Vec<Series> = drawn
        .iter()
        .enumerate()
        .map(|(number, &which)| {
            let (row, column) = position(&cells[which]);
            Series::new(format!("[{row}, {column}]"), shade(number, drawn.len()))
                .points(course(&cells[which], "window", "window_uncertainty"))
                .joined()
                .thin()
        })
        .collect();
    page.picture(&compared(
        &format!("{} (red: that window)", verdict(cells, window, weibull)),
        Axes { x: "cycles", y: "SET / RESET" },
        (Scale::Logarithmic, Scale::Logarithmic),
        &series,
        &[window],
    ));
}
