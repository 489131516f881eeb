//! What pictures of many cells share: estimates as results have them, reads of a region in order, which cells are drawn, and a
//! quantity over the cells' conductance.

use super::super::page::Page;
use super::super::plot::{Axes, BOUND, DATA, Scale, Series, Unit, compared};
use crate::metrology::Estimate;
use crate::metrology::population::Population;
use crate::run_file::{Recorded, RecordedPiece};
use serde_json::Value;

/// Most cells, or bands, that have a colour of their own in a picture.
pub(super) const DRAWN: usize = 8;

/// `most` numbers below `of`, evenly spread; all of them if there are fewer.
pub(super) fn spread_out(of: usize, most: usize) -> Vec<usize> {
    let count = of.min(most);
    (0..count).map(|n| if count == of { n } else { n * (of - 1) / (count - 1).max(1) }).collect()
}

/// A value with its standard uncertainty.
pub(super) fn estimate(value: &Value) -> Option<Estimate> {
    Some(Estimate {
        value: value["value"].as_f64()?,
        standard_uncertainty: value["standard_uncertainty"].as_f64()?,
        degrees_of_freedom: value["degrees_of_freedom"].as_f64(),
    })
}

/// `value ± standard uncertainty`, with as many digits as two of the uncertainty's make.
pub(super) fn plus_minus(value: f64, uncertainty: f64) -> String {
    if !(uncertainty.is_finite() && uncertainty > 0.0) {
        return format!("{value:.3} (uncertainty unknown)");
    }
    let decimals = (1.0 - uncertainty.log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{value:.decimals$} ± {uncertainty:.decimals$}")
}

/// A time in seconds with three digits, as short as it goes.
pub(super) fn seconds(time_s: f64) -> String {
    let rounded: f64 = format!("{time_s:.2e}").parse().unwrap_or(time_s);
    if (1e-3..1e5).contains(&rounded) { format!("{rounded} s") } else { format!("{rounded:e} s") }
}

/// Row and column of a cell in results, counted from the array's first.
pub(super) fn position(cell: &Value) -> (u64, u64) {
    (cell["row"].as_u64().unwrap_or(0), cell["column"].as_u64().unwrap_or(0))
}

/// The same as an index into arrays of the region that was measured.
pub(super) fn index(recorded: &Recorded, cell: &Value) -> (usize, usize) {
    let origin = |name: &str| recorded.settings[name].as_u64().unwrap_or(0);
    let (row, column) = position(cell);
    (row.saturating_sub(origin("row")) as usize, column.saturating_sub(origin("column")) as usize)
}

/// Pieces called `read 0`, `read 1` … that are done, in order.
pub(super) fn reads(recorded: &Recorded) -> Vec<&RecordedPiece> {
    let is_read = |piece: &&RecordedPiece| piece.name.starts_with("read ") && !piece.value.is_null();
    recorded.pieces.iter().filter(is_read).collect()
}

/// One element of an array of a piece.
pub(super) fn element(piece: &RecordedPiece, array: &str, index: (usize, usize)) -> Option<f64> {
    piece.arrays.get(array)?.get(index).copied()
}

/// What cells have in common: (conductance in S, quantity) of each.
pub(super) fn population(cells: &[(f64, Estimate)]) -> Option<Population> {
    let ln: Vec<(f64, Estimate)> =
        cells.iter().filter(|cell| cell.0 > 0.0).map(|cell| (cell.0.ln(), cell.1)).collect();
    Population::fit(&ln).ok()
}

/// A quantity over conductance, with the straight line that the cells have in common, if there are enough of them to tell one.
/// `unit` is of the quantity, `factor` of which are one of the SI unit.
pub(super) fn over_conductance(
    page: &mut Page,
    quantity: &str,
    unit: &str,
    factor: f64,
    cells: &[(f64, Estimate)],
) {
    let Some(all) = population(cells).filter(|_| cells.len() > 1) else { return };
    let siemens = Unit::of(cells.iter().map(|cell| cell.0), "S");
    let per = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    let (conclusion, slope) = match &all.slope {
        None => (
            format!(
                "{} cells are too few, or too alike, to tell whether {quantity} depends on conductance",
                cells.len()
            ),
            0.0,
        ),
        Some(slope) => {
            let by = plus_minus(factor * slope.value, factor * slope.standard_uncertainty);
            let verb = if slope.covers(0.0, 0.95) { "doesn't visibly depend on" } else { "depends on" };
            (
                format!("{quantity} {verb} conductance: {by}{per} per factor e ({} cells)", cells.len()),
                slope.value,
            )
        }
    };
    let extent =
        cells.iter().map(|cell| cell.0).fold((f64::INFINITY, 0.0_f64), |(l, h), g| (l.min(g), h.max(g)));
    let at = |siemens: f64| factor * (all.level.value + slope * (siemens.ln() - all.centre));
    let line = spread_out(50, 50).into_iter().map(|n| extent.0 * (extent.1 / extent.0).powf(n as f64 / 49.0));
    let points =
        cells.iter().map(|(g, y)| (g / siemens.scale, factor * y.value, factor * y.standard_uncertainty));
    page.picture(&compared(
        &conclusion,
        Axes {
            x: &format!("conductance / {}", siemens.name),
            y: &if unit.is_empty() { quantity.to_owned() } else { format!("{quantity} / ({unit})") },
        },
        (Scale::Logarithmic, Scale::Linear),
        &[
            Series::new("cells ± uncertainty", DATA).points(points),
            Series::new("what they have in common", BOUND).line(line.map(|g| (g / siemens.scale, at(g)))),
        ],
        &[0.0],
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uncertainty_says_how_many_digits_there_are() {
        assert_eq!(plus_minus(0.031_234, 0.002_14), "0.0312 ± 0.0021");
        assert_eq!(plus_minus(-412.3, 37.0), "-412 ± 37");
        assert_eq!(plus_minus(1.0, f64::INFINITY), "1.000 (uncertainty unknown)");
    }

    #[test]
    fn a_time_is_short() {
        assert_eq!([1.00636, 31_622.8, 1e6].map(seconds), ["1.01 s", "31600 s", "1e6 s"]);
    }

    #[test]
    fn a_few_of_many_are_spread_from_the_first_to_the_last() {
        assert_eq!(spread_out(3, 8), [0, 1, 2]);
        assert_eq!(spread_out(256, 4), [0, 85, 170, 255]);
        assert!(spread_out(0, 4).is_empty());
    }
}
