//! `iv`: current over the cell's voltage, and which law fits it.

use super::super::page::Page;
use super::super::plot::{Axes, Unit, digits, line};
use crate::run_file::Recorded;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let Some(measured) = recorded.arrays.values().find(|array| array.ncols() == 3) else { return };
    let fits = recorded.value["fits"].as_array();
    let law = fits.and_then(|fits| {
        fits.iter().min_by(|a, b| {
            let criterion = |fit: &serde_json::Value| fit["criterion"].as_f64().unwrap_or(f64::INFINITY);
            criterion(a).total_cmp(&criterion(b))
        })
    });
    let unit = Unit::of(measured.column(1).iter().copied(), "A");
    let points: Vec<(f64, f64)> =
        measured.rows().into_iter().map(|row| (row[0], row[1] / unit.scale)).collect();
    let said = law.map_or_else(String::new, |fit| {
        let siemens = fit["conductance_s"]["value"].as_f64().or_else(|| fit["conductance_s"].as_f64());
        format!(
            "; {} fits best{}",
            fit["law"].as_str().unwrap_or("no law"),
            siemens.map_or_else(String::new, |g| format!(", {} S at 0 V", digits(g)))
        )
    });
    page.picture(&line(
        &format!("{} points, in the order they were taken{said}", points.len()),
        Axes { x: "voltage at the cell / V", y: &format!("current / {}", unit.name) },
        &points,
        &[],
    ));
}
