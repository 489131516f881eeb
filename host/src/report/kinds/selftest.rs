//! `selftest`: how far every driver and amplifier is from nominal, by the reference loop.

use super::super::page::Page;
use super::super::plot::{Colours, digits, heat_map};
use crate::run_file::Recorded;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let Some(deviation) = recorded.arrays.get("deviation_relative") else { return };
    let worst = deviation.iter().fold(0.0_f64, |worst, d| worst.max(d.abs()));
    let tolerance = recorded.settings["tolerance"].as_f64();
    let verdict = match tolerance {
        Some(tolerance) if worst <= tolerance => {
            format!("every line is within ±{} %", digits(100.0 * tolerance))
        }
        Some(tolerance) => format!("some crossings are beyond ±{} %", digits(100.0 * tolerance)),
        None => "deviation from nominal".to_owned(),
    };
    let scaled = deviation * 100.0;
    page.picture(&heat_map(
        &format!("Reference loop: {verdict}; the worst is {} %", digits(100.0 * worst)),
        scaled.view(),
        "deviation / %",
        Colours::Diverging,
        |index| {
            tolerance.is_some_and(|tolerance| deviation[index].is_nan() || deviation[index].abs() > tolerance)
        },
    ));
}
