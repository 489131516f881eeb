//! `noise`: spectra of single cells beside the instrument's, and how the level of 1/f noise goes with conductance.

use super::super::page::Page;
use super::super::plot::{Axes, BOUND, DATA, Scale, Series, compared, digits, histogram};
use crate::run_file::Recorded;
use serde_json::Value;

/// Cells whose spectrum is drawn.
const SPECTRA: usize = 8;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let Some(cells) = recorded.value["cells"].as_array() else { return };
    let level = |cell: &Value| cell["flicker"]["density_1_hz_per_hz"]["value"].as_f64();
    let exponent = |cell: &Value| cell["flicker"]["exponent"]["value"].as_f64();
    let quoted = cells.iter().filter(|cell| level(cell).is_some()).count();
    let flagged = cells.iter().filter(|cell| cell["flags"].as_array().is_some_and(|f| !f.is_empty())).count();
    page.say(format_args!(
        "{} cells: 1/f noise is quoted of {quoted}; {flagged} have flags, which say in the results what can't be told of them.",
        cells.len()
    ));
    for cell in cells.iter().take(SPECTRA) {
        let points = |density: &str| -> Vec<(f64, f64)> {
            let spectrum = cell["spectrum_relative_per_hz"].as_array().into_iter().flatten();
            spectrum
                .filter_map(|point| Some((point["frequency_hz"].as_f64()?, point[density].as_f64()?)))
                .collect()
        };
        let fitted = match (level(cell), exponent(cell)) {
            (Some(level), Some(exponent)) => {
                format!("1/f noise of {} /Hz at 1 Hz, exponent {}", digits(level), digits(exponent))
            }
            _ => "no 1/f noise told".to_owned(),
        };
        page.picture(&compared(
            &format!("Row {}, column {}: {fitted}", cell["row"], cell["column"]),
            Axes { x: "frequency / Hz", y: "S_I/I² / (1/Hz)" },
            (Scale::Logarithmic, Scale::Logarithmic),
            &[
                Series::new("the instrument at this current", BOUND).line(points("instrument")),
                Series::new("the device", DATA).line(points("device")),
            ],
            &[],
        ));
    }
    let levels: Vec<f64> =
        cells.iter().filter_map(level).filter(|level| *level > 0.0).map(f64::log10).collect();
    if levels.len() > 1 {
        page.picture(&histogram(
            &format!("Level of 1/f noise of {} cells", levels.len()),
            Axes { x: "log10 of S_I/I² at 1 Hz / (1/Hz)", y: "cells" },
            &levels,
            &[],
        ));
    }
}
