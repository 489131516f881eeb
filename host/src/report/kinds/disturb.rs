//! `disturb`: how half-selected cells change over pulses on one of them, scheme beside scheme, and which cell changes most.

use super::super::page::Page;
use super::super::plot::{Axes, Colours, Scale, Series, compared, digits, heat_map, shade};
use super::cells::{estimate, plus_minus, position};
use crate::run_file::Recorded;
use ndarray::Array2;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let Some(schemes) = recorded.value["schemes"].as_array() else { return };
    for scheme in schemes {
        if let (Some(name), Some(why)) = (scheme["scheme"].as_str(), scheme["refused"].as_str()) {
            page.say(format_args!("{name}: refused, or stopped: {why}"));
        }
    }
    left_out(recorded, page);
    for place in ["same row", "same column", "elsewhere"] {
        compare(recorded, page, schemes, place);
    }
    if let Some(worst) = worst(recorded, schemes) {
        worst.show(recorded, page);
    }
}

fn left_out(recorded: &Recorded, page: &mut Page) {
    let mut cells: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for cell in recorded.value["left_out"].as_array().into_iter().flatten() {
        let (row, column) = position(cell);
        let why = cell["why"].as_str().unwrap_or("has no value");
        cells.entry(why).or_default().push(format!("[{row}, {column}]"));
    }
    for (why, cells) in cells {
        page.say(format_args!("Left out, since each {why}: {}.", cells.join(", ")));
    }
}

/// Pulses, and the change that they made of the cells of one place, with its uncertainty, %.
fn course(scheme: &Value, place: &str) -> Vec<(f64, f64, f64)> {
    let reads = scheme["reads"].as_array().into_iter().flatten();
    reads
        .filter_map(|read| {
            let excess = estimate(&read[place]["excess"])?.scaled(100.0);
            Some((read["pulses"].as_f64()?, excess.value, excess.standard_uncertainty))
        })
        .collect()
}

/// A scheme beside which the others would be a line at 0: so many times their change.
const APART: f64 = 10.0;

/// What the last read of a scheme says of cells of one place.
struct Last {
    /// Of all schemes: its colour.
    number: usize,
    name: String,
    pulses: f64,
    /// And its standard uncertainty, %.
    change: (f64, f64),
    significant: bool,
}

/// The schemes for cells of one place; where one is far above others that change them too, these once more by themselves.
fn compare(recorded: &Recorded, page: &mut Page, schemes: &[Value], place: &str) {
    let last = |(number, scheme): (usize, &Value)| {
        let &(pulses, change, uncertainty) = course(scheme, place).last()?;
        let read = scheme["reads"].as_array()?.last()?;
        let (name, significant) = (scheme["scheme"].as_str()?.to_owned(), read[place]["significant"] == true);
        Some(Last { number, name, pulses, change: (change, uncertainty), significant })
    };
    let mut among: Vec<Last> = schemes.iter().enumerate().filter_map(last).collect();
    // A change that is told comes before a larger one that may be noise.
    among.sort_by(|a, b| {
        b.significant.cmp(&a.significant).then(b.change.0.abs().total_cmp(&a.change.0.abs()))
    });
    let mut from = 0;
    while let Some(most) = among.get(from) {
        beside(recorded, page, schemes, place, &among[from..]);
        let rest = &among[from + 1..];
        let hidden = rest.first().is_some_and(|next| most.change.0.abs() > APART * next.change.0.abs());
        if !hidden || !rest.iter().any(|scheme| scheme.significant) {
            return;
        }
        from += 1;
    }
}

/// Some schemes in one picture, the one with the largest change first.
fn beside(recorded: &Recorded, page: &mut Page, schemes: &[Value], place: &str, among: &[Last]) {
    let Some(most) = among.first() else { return };
    let cells =
        if place == "elsewhere" { "cells elsewhere".to_owned() } else { format!("cells of the {place}") };
    let by = plus_minus(most.change.0, most.change.1);
    let mut names: Vec<&Last> = among.iter().collect();
    names.sort_by_key(|scheme| scheme.number);
    let of = names.iter().map(|scheme| scheme.name.as_str()).collect::<Vec<_>>().join(", ");
    let (name, pulses) = (&most.name, most.pulses);
    let title = match (most.significant, among.len()) {
        (true, 1) => format!("Scheme {name} changes {cells} by {by} % after {pulses:.0} pulses"),
        (true, _) => {
            format!("Scheme {name} changes {cells} most: by {by} % after {pulses:.0} pulses (of {of})")
        }
        (false, _) => {
            format!("No visible change of {cells}: {by} % at most, after {pulses:.0} pulses (of {of})")
        }
    };
    let series: Vec<Series> = names
        .iter()
        .map(|scheme| {
            Series::new(scheme.name.as_str(), shade(scheme.number, schemes.len()))
                .points(course(&schemes[scheme.number], place))
                .joined()
        })
        .collect();
    page.picture(&compared(
        &title,
        Axes {
            x: &format!(
                "pulses of {} V",
                recorded.settings["volts"].as_f64().map(digits).unwrap_or_default()
            ),
            y: "mean change, less that without pulses / %",
        },
        (Scale::Logarithmic, Scale::Linear),
        &series,
        &[0.0],
    ));
}

/// The half-selected cell that changed most.
struct Worst {
    scheme: String,
    pulsed: (usize, usize),
    pulses: u64,
    cell: (usize, usize),
    /// Relative changes of all cells.
    changes: Array2<f64>,
}

fn worst(recorded: &Recorded, schemes: &[Value]) -> Option<Worst> {
    let map = |piece: &str| {
        recorded.pieces.iter().find(|p| p.name == piece).and_then(|p| p.arrays.get("conductance_s"))
    };
    let pulsed: Vec<(usize, usize)> =
        schemes.iter().map(position).map(|(row, column)| (row as usize, column as usize)).collect();
    let of_scheme = |(scheme, &at): (&Value, &(usize, usize))| {
        let name = scheme["scheme"].as_str()?.to_owned();
        let before = map(&format!("{name} before"))?;
        let last = recorded.pieces.iter().rev().find(|piece| {
            piece.name.starts_with(&format!("{name} "))
                && piece.value["seconds"].is_f64()
                && !piece.arrays.is_empty()
        })?;
        let after = last.arrays.get("conductance_s").filter(|after| after.dim() == before.dim())?;
        let changes = Array2::from_shape_fn(before.dim(), |index| {
            let (before, after) = (before[index], after[index]);
            if before > 0.0 && after > 0.0 && !pulsed.contains(&index) {
                after / before - 1.0
            } else {
                f64::NAN
            }
        });
        let half_selected = |index: (usize, usize)| index.0 == at.0 || index.1 == at.1;
        let (cell, _) = changes
            .indexed_iter()
            .filter(|(index, change)| half_selected(*index) && change.is_finite())
            .max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))?;
        let pulses = last.value["pulses"].as_u64()?;
        Some(Worst { scheme: name, pulsed: at, pulses, cell, changes })
    };
    schemes
        .iter()
        .zip(&pulsed)
        .filter_map(of_scheme)
        .max_by(|a, b| a.changes[a.cell].abs().total_cmp(&b.changes[b.cell].abs()))
}

impl Worst {
    fn show(&self, recorded: &Recorded, page: &mut Page) {
        let alone = recorded.value["without_pulses"]["spread"].as_f64();
        let noise = alone.map_or(String::new(), |spread| {
            format!("; without pulses cells change by {} % (standard deviation)", digits(100.0 * spread))
        });
        page.picture(&heat_map(
            &format!(
                "Worst half-selected cell: row {}, column {}, by {:+.2} % after {} pulses on row {}, column {} in scheme {} (cross; grey: pulsed by others, or left out){noise}",
                self.cell.0,
                self.cell.1,
                100.0 * self.changes[self.cell],
                self.pulses,
                self.pulsed.0,
                self.pulsed.1,
                self.scheme,
            ),
            (&self.changes * 100.0).view(),
            "change / %",
            Colours::Diverging,
            |index| index == self.pulsed,
        ));
    }
}
