//! Kinds without a file of their own: every array as what its shape suggests.

use super::super::page::Page;
use super::super::plot::{Axes, Colours, heat_map, line};
use super::super::unit_of;
use crate::run_file::Recorded;

/// Arrays larger than this in one direction are shown as lines.
const MAP_SIDE: usize = 256;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    for (name, array) in &recorded.arrays {
        let (unit, scale) = unit_of(name, array.iter().copied());
        let scaled = array / scale;
        let (rows, columns) = array.dim();
        let unit = if unit.is_empty() { name.clone() } else { format!("{name} / {unit}") };
        if rows > 1 && columns > 1 && rows.max(columns) <= MAP_SIDE {
            page.picture(&heat_map(
                &format!("{name} of {}", recorded.kind),
                scaled.view(),
                &unit,
                Colours::Sequential,
                |_| false,
            ));
        } else if rows * columns > 1 {
            let points: Vec<(f64, f64)> = scaled.iter().enumerate().map(|(n, &v)| (n as f64, v)).collect();
            page.picture(&line(
                &format!("{name} of {}, in order", recorded.kind),
                Axes { x: "number", y: &unit },
                &points,
                &[],
            ));
        }
    }
}
