//! `tempco`: conductance against the board's temperature with the fitted slopes, and the coefficient of every cell.

use super::super::page::Page;
use super::super::plot::{Axes, Scale, Series, compared, shade};
use super::cells::{
    element, estimate, index, over_conductance, plus_minus, population, position, reads, spread_out,
};
use crate::metrology::Estimate;
use crate::run_file::Recorded;
use serde_json::Value;

/// Cells in the picture: more of these clouds hide one another.
const CLOUDS: usize = 3;

/// Kelvin at 0 °C.
const ZERO_CELSIUS_K: f64 = 273.15;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let Some(cells) = recorded.value["cells"].as_array() else { return };
    let kelvin: Vec<f64> =
        reads(recorded).iter().filter_map(|read| read.value["temperature_k"].as_f64()).collect();
    let low = kelvin.iter().copied().fold(f64::INFINITY, f64::min);
    let high = kelvin.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let span = format!("{:.2} to {:.2} °C", low - ZERO_CELSIUS_K, high - ZERO_CELSIUS_K);
    let mut fitted: Vec<(&Value, f64, Estimate)> = cells
        .iter()
        .filter_map(|cell| {
            let coefficient = estimate(&cell["temperature_coefficient_per_k"])?;
            Some((cell, cell["conductance_s"].as_f64()?, coefficient))
        })
        .collect();
    fitted.sort_by(|a, b| a.1.total_cmp(&b.1));
    let coefficients: Vec<(f64, Estimate)> = fitted.iter().map(|cell| (cell.1, cell.2)).collect();
    let Some(all) = population(&coefficients) else {
        let why = cells.iter().find_map(|cell| cell["flag"].as_str()).unwrap_or("nothing was read");
        page.say(format_args!(
            "No temperature coefficient of any of {} cells at {span}: {why}.",
            cells.len()
        ));
        return;
    };
    let ppm = all.level.scaled(1e6);
    let verdict = if ppm.covers(0.0, 0.95) {
        "No common temperature coefficient is told"
    } else {
        "Cells change with temperature"
    };
    let conclusion = format!(
        "{verdict}: {} ppm/K over {} cells, ± {:.0} ppm/K from cell to cell, at {span}",
        plus_minus(ppm.value, ppm.standard_uncertainty),
        coefficients.len(),
        1e6 * all.spread,
    );
    page.say(format_args!(
        "{conclusion}. Slopes are fitted with a drift and with the 1/f noise that reads share, so a line is not the one that the eye would \
         draw; bars are the standard uncertainty of single reads. Limits: {}.",
        recorded.value["limits"].as_str().unwrap_or_default()
    ));
    clouds(recorded, page, &conclusion, &fitted);
    over_conductance(page, "Temperature coefficient", "ppm/K", 1e6, &coefficients);
}

/// Some cells, relative to their means.
fn clouds(recorded: &Recorded, page: &mut Page, conclusion: &str, fitted: &[(&Value, f64, Estimate)]) {
    let reads = reads(recorded);
    let drawn = spread_out(fitted.len(), CLOUDS);
    let series: Vec<Series> = drawn
        .iter()
        .enumerate()
        .map(|(number, &which)| {
            let (cell, _, coefficient) = &fitted[which];
            let at = index(recorded, cell);
            let points: Vec<[f64; 3]> = reads
                .iter()
                .filter_map(|read| {
                    let celsius = read.value["temperature_k"].as_f64()? - ZERO_CELSIUS_K;
                    Some([celsius, element(read, "conductance_s", at)?, element(read, "uncertainty_s", at)?])
                })
                .collect();
            let mean =
                |which: usize| points.iter().map(|point| point[which]).sum::<f64>() / points.len() as f64;
            let (celsius, siemens) = (mean(0), mean(1));
            let ends = points
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(p[0]), h.max(p[0])));
            let (row, column) = position(cell);
            let ppm = coefficient.scaled(1e6);
            let name = format!("[{row}, {column}] {} ppm/K", plus_minus(ppm.value, ppm.standard_uncertainty));
            Series::new(name, shade(number, drawn.len()))
                .points(points.iter().map(|p| (p[0], 100.0 * (p[1] / siemens - 1.0), 100.0 * p[2] / siemens)))
                .line([ends.0, ends.1].map(|at| (at, 100.0 * coefficient.value * (at - celsius))))
        })
        .collect();
    page.picture(&compared(
        &format!("{conclusion} ({} cells drawn, with the fitted slopes)", series.len()),
        Axes { x: "temperature of the board / °C", y: "change of G from its mean / %" },
        (Scale::Linear, Scale::Linear),
        &series,
        &[],
    ));
}
