//! `calibrate`: how columns' amplifiers and rows' drivers differ, how straight they are, and when the path has settled; and whether a
//! calibration still holds.

use super::super::page::Page;
use super::super::plot::{Axes, DATA, Scale, Series, Unit, compared, digits, shade};
use crate::calibration::{Calibration, Estimate};
use crate::run_file::Recorded;
use serde::Deserialize;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let Ok(found) = Calibration::deserialize(&recorded.value["calibration"]) else { return };
    columns(page, &found);
    rows(page, &found);
    linearity(page, &found);
    settling(page, &found);
    rest(page, &found);
}

/// Smallest and largest.
fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

/// How far the ranges of one column are drawn apart, columns.
const BESIDE: f64 = 0.2;

/// Gain of each column's amplifier against the mean of its range.
fn columns(page: &mut Page, found: &Calibration) {
    let mut series = Vec::new();
    let mut widest: Option<(f64, String)> = None;
    let mut told = Vec::new();
    for (range, amplifiers) in
        found.ranges.iter().enumerate().filter(|(_, amplifiers)| !amplifiers.is_empty())
    {
        let mean = amplifiers.iter().map(|a| a.ohms.value).sum::<f64>() / amplifiers.len() as f64;
        let off = |a: &crate::calibration::Amplifier| 100.0 * (a.ohms.value / mean - 1.0);
        let (low, high) = extent(amplifiers.iter().map(off));
        let own = amplifiers.iter().map(|a| 100.0 * a.repeatability_ohms / a.ohms.value).fold(0.0, f64::max);
        let all = amplifiers.iter().map(|a| 100.0 * a.ohms.u / a.ohms.value).fold(0.0, f64::max);
        let name = Unit::of([mean], "Ω").show(mean);
        if widest.as_ref().is_none_or(|(width, _)| high - low > *width) {
            widest = Some((
                high - low,
                format!("{} to {} % from the mean of range {range}, {name}", signed(low), signed(high)),
            ));
        }
        told.push(format!(
            "range {range} ({name}) ± {} %, of which ± {} % is scatter",
            digits(all),
            digits(own)
        ));
        let points = amplifiers.iter().enumerate().map(|(column, a)| {
            (column as f64 + BESIDE * (range as f64 - 1.0), off(a), 100.0 * a.ohms.u / a.ohms.value)
        });
        series.push(
            Series::new(format!("range {range}: {name}"), shade(range, found.ranges.len())).points(points),
        );
    }
    let Some((_, widest)) = widest else { return };
    page.say(format_args!(
        "Standard uncertainty of columns' gains: {}; the rest is systematic: R_cal's, which all columns share, the switches' and the converters' \
         nonlinearity. Columns have no offset in a calibration: reads and products take both polarities, or zero inputs, instead.",
        told.join("; ")
    ));
    page.picture(&compared(
        &format!("Columns' gains are {widest} (bars: standard uncertainty, R_cal's included)"),
        Axes { x: "column", y: "gain − mean of its range / %" },
        (Scale::Linear, Scale::Linear),
        &series,
        &[0.0],
    ));
}

/// Gain and offset of each row's driver against the mean driver's.
fn rows(page: &mut Page, found: &Calibration) {
    let picture = |page: &mut Page, what: &str, unit: &str, value: &dyn Fn(usize) -> Estimate| {
        let all: Vec<Estimate> = (0..found.drivers.len()).map(value).collect();
        let (low, high) = extent(all.iter().map(|e| e.value));
        let u = all.iter().map(|e| e.u).fold(0.0, f64::max);
        let points = all.iter().enumerate().map(|(row, e)| (row as f64, e.value, e.u));
        page.picture(&compared(
            &format!(
                "Rows' {what}s are {} to {} {unit} off the mean driver's (bars: standard uncertainty, {} {unit})",
                signed(low),
                signed(high),
                digits(u)
            ),
            Axes { x: "row", y: &format!("{what} against the mean driver's / {unit}") },
            (Scale::Linear, Scale::Linear),
            &[Series::new("", DATA).points(points)],
            &[0.0],
        ));
    };
    if found.drivers.is_empty() {
        return;
    }
    picture(page, "gain", "%", &|row| {
        let gain = found.drivers[row].gain;
        Estimate { value: 100.0 * (gain.value - 1.0), u: 100.0 * gain.u }
    });
    picture(page, "offset", "mV", &|row| {
        let offset = found.drivers[row].offset_v;
        Estimate { value: 1e3 * offset.value, u: 1e3 * offset.u }
    });
}

fn signed(value: f64) -> String {
    format!("{}{}", if value > 0.0 { "+" } else { "" }, digits(value))
}

/// Peak deviation of each line from a straight line.
fn linearity(page: &mut Page, found: &Calibration) {
    let linearity = &found.linearity;
    let (_, driver) = extent(linearity.drivers.iter().copied());
    let (_, converter) = extent(linearity.converters.iter().copied());
    if !(driver.is_finite() && converter.is_finite()) {
        return;
    }
    let series = |name: &str, index, lines: &[f64]| {
        let points = lines.iter().enumerate().map(|(line, &peak)| (line as f64, peak, linearity.u));
        Series::new(name, shade(index, 3)).points(points.collect::<Vec<_>>())
    };
    page.picture(&compared(
        &format!(
            "Integral nonlinearity: drivers {} and converters {} codes at worst against their means, the means together {} (red), ± {}",
            digits(driver),
            digits(converter),
            digits(linearity.mean),
            digits(linearity.u)
        ),
        Axes { x: "row, or column", y: "peak deviation from a straight line / codes" },
        (Scale::Linear, Scale::Linear),
        &[series("drivers, by row", 0, &linearity.drivers), series("converters, by column", 1, &linearity.converters)],
        &[linearity.mean],
    ));
}

fn settling(page: &mut Page, found: &Calibration) {
    if found.settling.is_empty() {
        page.say("Settling isn't told: no cell conducts enough, or cells were left out (--no-array).");
        return;
    }
    let rows: Vec<Vec<String>> = found
        .settling
        .iter()
        .map(|settling| {
            vec![
                settling.range.to_string(),
                Unit::of([settling.seconds], "s").show(settling.seconds),
                format!("{} %", digits(100.0 * settling.resolution.max(1e-3))),
                format!("{} %", signed(100.0 * settling.left_when_sampled)),
            ]
        })
        .collect();
    page.say("How soon a column has settled after a row's step, and what is left of the step when the instrument samples by itself:");
    page.table(&["range", "settled after", "to within", "left when sampled"], &rows);
}

fn rest(page: &mut Page, found: &Calibration) {
    match found.hum.mains_hz {
        Some(hz) => page.say(format_args!(
            "Hum: {hz} Hz, {} at an amplifier's output; conversions are spread over its period.",
            Unit::of([found.hum.amplitude_v], "V").show(found.hum.amplitude_v)
        )),
        None => page.say(format_args!(
            "Hum: none above {} at an amplifier's output.",
            Unit::of([found.hum.floor_v], "V").show(found.hum.floor_v)
        )),
    }
    if let Some(curvature) = &found.curvature {
        page.say(match curvature.characteristic_v() {
            Some(v0) => format!(
                "Devices: I ∝ sinh(V/V0), V0 = {:.4} ± {:.4} V up to {:.2} V.",
                v0.value, v0.u, curvature.fitted_to_v
            ),
            None => format!("Devices: current proportional to voltage up to {:.2} V.", curvature.fitted_to_v),
        });
    }
    if let Some(series) = &found.series {
        page.say(format_args!(
            "In series with a row {:.2} ± {:.2} Ω, with a column {:.2} ± {:.2} Ω (means of all).",
            series.row_ohms.value,
            series.row_ohms.standard_uncertainty,
            series.column_ohms.value,
            series.column_ohms.standard_uncertainty
        ));
    }
}

/// `calibrate --check`: which lines moved.
pub(super) fn check(recorded: &Recorded, page: &mut Page) {
    let Some(moved) = recorded.value["moved"].as_array() else { return };
    page.say(format_args!(
        "The calibration {}: {} of {} comparisons moved by more than three standard uncertainties, the worst by {}.",
        if moved.is_empty() { "holds" } else { "doesn't hold" },
        moved.len(),
        recorded.value["of"],
        recorded.value["worst"].as_f64().map(digits).unwrap_or_default()
    ));
    let percent = |value: &serde_json::Value| value.as_f64().map(|v| signed(100.0 * v)).unwrap_or_default();
    let rows: Vec<Vec<String>> = moved
        .iter()
        .map(|line| {
            vec![
                line["line"].as_str().unwrap_or_default().to_owned(),
                percent(&line["relative"]),
                percent(&line["u"]),
            ]
        })
        .collect();
    if !rows.is_empty() {
        page.table(&["line", "change / %", "standard uncertainty / %"], &rows);
    }
}
