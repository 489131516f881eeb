//! `mvm`: measured products against exact ones, or their distribution where no exact ones were given.

use super::super::page::Page;
use super::super::plot::{Axes, Unit, digits, histogram, scatter};
use crate::run_file::Recorded;
use ndarray::Array2;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let Some(measured) = recorded.arrays.get("current_a") else { return };
    let compared = exact(recorded);
    match &compared {
        Some((name, exact)) if exact.dim() == measured.dim() => {
            let errors = &recorded.value["errors"][name];
            let percent = |name: &str| errors[name].as_f64().map(|e| digits(100.0 * e));
            if let (Some(l2), Some(worst), Some(rms)) =
                (percent("l2_relative"), percent("full_scale_worst"), percent("full_scale_rms"))
            {
                page.say(format_args!(
                    "{} vectors: l2_relative {l2} %, full_scale {worst} % worst and {rms} % rms, against {name}.",
                    measured.nrows()
                ));
            }
            against(page, "", measured, exact);
        }
        _ => {
            let unit = Unit::of(measured.iter().copied(), "A");
            let values: Vec<f64> = measured.iter().map(|i| i / unit.scale).collect();
            page.picture(&histogram(
                &format!(
                    "Column currents of {} products; nothing exact was given to compare with",
                    measured.nrows()
                ),
                Axes { x: &format!("column current / {}", unit.name), y: "outputs" },
                &values,
                &[],
            ));
        }
    }
}

/// What the products are compared with, by the name that errors have: what was given, what was wanted, what was measured in circuit.
fn exact(recorded: &Recorded) -> Option<(&'static str, Array2<f64>)> {
    let array = |name: &str| recorded.arrays.get(name);
    let product = |matrix: &Array2<f64>| {
        array("input_v").filter(|input| input.ncols() == matrix.nrows()).map(|input| input.dot(matrix))
    };
    let measured = || {
        let piece = recorded.pieces.iter().find(|piece| piece.name == "effective")?;
        product(piece.arrays.get("siemens")?)
    };
    array("reference_a")
        .map(|exact| ("the reference", exact.clone()))
        .or_else(|| Some(("target", product(array("target_s")?)?)))
        .or_else(|| Some(("measured", measured()?)))
}

/// Measured against exact, and the error against exact.
pub(super) fn against(page: &mut Page, what: &str, measured: &Array2<f64>, exact: &Array2<f64>) {
    if measured.dim() != exact.dim() || measured.is_empty() {
        return;
    }
    let unit = Unit::of(exact.iter().copied(), "A");
    let norm = |a: &Array2<f64>| a.iter().map(|v| v * v).sum::<f64>().sqrt();
    let relative = norm(&(measured - exact)) / norm(exact);
    let pairs: Vec<(f64, f64)> =
        exact.iter().zip(measured).map(|(e, m)| (e / unit.scale, m / unit.scale)).collect();
    let (x, y) = (format!("exact / {}", unit.name), format!("measured / {}", unit.name));
    page.picture(&scatter(
        &format!(
            "{what}Measured products are {} % off exact ones (l2_relative; line: no error)",
            digits(100.0 * relative)
        ),
        Axes { x: &x, y: &y },
        &pairs,
        true,
    ));
    let error = Unit::of(exact.iter().zip(measured).map(|(e, m)| m - e), "A");
    let points: Vec<(f64, f64)> =
        exact.iter().zip(measured).map(|(e, m)| (e / unit.scale, (m - e) / error.scale)).collect();
    // Least squares through the origin: what a gain would explain.
    let slope = exact.iter().zip(measured).map(|(e, m)| e * (m - e)).sum::<f64>()
        / exact.iter().map(|e| e * e).sum::<f64>();
    page.picture(&scatter(
        &format!(
            "{what}A common gain is {} % off; what is left is offset, noise and single cells",
            digits(100.0 * slope)
        ),
        Axes { x: &x, y: &format!("measured − exact / {}", error.name) },
        &points,
        false,
    ));
}
