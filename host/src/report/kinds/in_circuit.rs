//! `program --in-circuit`: how far what products see is from the targets once gains are taken off, where, and what it took.

use super::super::page::Page;
use super::super::plot::{Axes, line};
use super::program::{convergence, errors};
use crate::run_file::Recorded;
use ndarray::Array2;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let array = |name: &str| recorded.arrays.get(name);
    let (Some(targets), Some(matrix)) = (array("target_s"), array("matrix_s")) else { return };
    let (Some(rows), Some(columns)) = (array("row_gain"), array("column_gain")) else { return };
    if targets.dim() != matrix.dim() || (rows.len(), columns.len()) != matrix.dim() {
        return;
    }
    let (rows, columns): (Vec<f64>, Vec<f64>) =
        (rows.iter().copied().collect(), columns.iter().copied().collect());
    let scaled = Array2::from_shape_fn(matrix.dim(), |(i, j)| rows[i] * matrix[(i, j)] * columns[j]);
    let window = recorded.settings["recipe"]["window_s"].as_f64();
    errors(page, "In circuit, times the gains: ", targets, &scaled, array("outcome"), window);
    if let Some(pulses) = array("pulses") {
        convergence(page, pulses, array("outcome"));
    }
    for (what, gains) in [("row", rows), ("column", columns)] {
        let points: Vec<(f64, f64)> = gains.iter().enumerate().map(|(n, gain)| (n as f64, *gain)).collect();
        page.picture(&line(
            &format!(
                "Gain of each {what}, for the {} of products",
                if what == "row" { "inputs" } else { "outputs" }
            ),
            Axes { x: what, y: "gain" },
            &points,
            &[],
        ));
    }
}
