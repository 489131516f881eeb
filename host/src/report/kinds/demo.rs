//! `demo`: the accuracy, the errors of programming and of products over all tiles, and each tile in a table.

use super::super::page::Page;
use super::super::plot::{Axes, Unit, digits, histogram};
use super::mvm::against;
use super::program::convergence;
use crate::run_file::{Recorded, RecordedPiece};
use ndarray::{Array2, Axis, concatenate};

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let percent = |name: &str| recorded.value[name].as_f64().map(|share| digits(100.0 * share));
    if let (Some(accuracy), Some(float)) = (percent("accuracy"), percent("accuracy_float")) {
        page.say(format_args!(
            "The crossbar classifies {accuracy} % of {} images correctly; the same weights in floating point {float} %.",
            recorded.settings["images"]
        ));
    }
    let tiles: Vec<&RecordedPiece> =
        recorded.pieces.iter().filter(|piece| piece.arrays.contains_key("target_s")).collect();
    let mut errors = Vec::new();
    for tile in &tiles {
        let pair = (tile.arrays.get("conductance_s"), tile.arrays.get("target_s"));
        if let (Some(reached), Some(target)) = pair
            && reached.dim() == target.dim()
        {
            errors.extend((reached - target).iter().copied());
        }
    }
    if errors.is_empty() {
        return;
    }
    let rms = (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
    let unit = Unit::of(errors.iter().copied(), "S");
    let scaled: Vec<f64> = errors.iter().map(|e| e / unit.scale).collect();
    let window = recorded.settings["recipe"]["window_s"].as_f64().map(|w| w / unit.scale);
    let bounds: Vec<f64> = window.map(|w| vec![-w, w]).unwrap_or_default();
    page.picture(&histogram(
        &format!("Programming error of {} cells: {} rms (lines: the window)", errors.len(), unit.show(rms)),
        Axes { x: &format!("read again − target / {}", unit.name), y: "cells" },
        &scaled,
        &bounds,
    ));
    let flat = |name: &str| -> Option<Array2<f64>> {
        let parts: Vec<Array2<f64>> = tiles
            .iter()
            .filter_map(|tile| tile.arrays.get(name))
            .map(|array| {
                Array2::from_shape_fn((array.len(), 1), |(n, _)| {
                    array[(n / array.ncols(), n % array.ncols())]
                })
            })
            .collect();
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        concatenate(Axis(0), &views).ok()
    };
    if let Some(pulses) = flat("pulses") {
        convergence(page, &pulses, None);
    }
    if let (Some(measured), Some(exact)) = (flat("product_a"), flat("exact_a")) {
        against(page, "All tiles: ", &measured, &exact);
    }
    let rows: Vec<Vec<String>> = tiles
        .iter()
        .map(|tile| {
            let text = |name: &str| tile.value[name].as_f64().map(digits).unwrap_or_default();
            let error =
                tile.value["error_rms_s"].as_f64().map(|e| Unit::of([e], "S").show(e)).unwrap_or_default();
            vec![tile.name.clone(), text("inside_window"), text("pulses"), error, text("saturated")]
        })
        .collect();
    page.table(&["tile", "cells inside", "pulses", "programming error (rms)", "saturated samples"], &rows);
}
