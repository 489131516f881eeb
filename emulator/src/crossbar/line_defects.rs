//! Lines that are broken or touch each other, as a bad bond or a bad mask leaves them.
//!
//! A line is open between its driver or amplifier and its first cell. A short joins two neighbouring lines at their sources, or
//! a row and a column across their cell. Two shorted lines are taken as what each of them is from its cells: a source behind
//! a resistance, the other line unloaded; the current of cells through the drop of the neighbour's cells is left out.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::circuit::Line;
use crate::profile::ProfileError;

/// Which lines are how. No line may be in two shorts with a neighbour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineDefects {
    /// Rows that no driver reaches.
    #[serde(default)]
    pub open_rows: Vec<u16>,
    /// Columns that reach no amplifier.
    #[serde(default)]
    pub open_columns: Vec<u16>,
    /// Rows shorted to the next one.
    #[serde(default)]
    pub shorted_rows: Vec<u16>,
    /// Columns shorted to the next one.
    #[serde(default)]
    pub shorted_columns: Vec<u16>,
    /// Row and column of shorts across a cell.
    #[serde(default)]
    pub shorted_crossings: Vec<[u16; 2]>,
    /// Of every short (Ω).
    #[serde(default = "default_short_ohm")]
    pub short_ohm: f64,
}

fn default_short_ohm() -> f64 {
    10.0
}

impl LineDefects {
    /// Checks every value against the array.
    ///
    /// # Errors
    /// The first line that isn't there, or the short's resistance.
    pub fn validate(&self, rows: usize, columns: usize) -> Result<(), ProfileError> {
        let bad = |key, value, allowed| {
            Err(ProfileError::OutOfRange { key, value, allowed: Cow::Borrowed(allowed) })
        };
        let ohm = self.short_ohm;
        if !(0.1..=1e3).contains(&ohm) {
            return bad("device.lines.short_ohm", ohm, "0.1 to 1000 Ω");
        }
        for (key, lines, count) in [
            ("device.lines.open_rows", &self.open_rows, rows),
            ("device.lines.open_columns", &self.open_columns, columns),
        ] {
            if let Some(&line) = lines.iter().find(|&&line| usize::from(line) >= count) {
                return bad(key, f64::from(line), "a line of the array, counted from 0");
            }
        }
        for (key, lines, count) in [
            ("device.lines.shorted_rows", &self.shorted_rows, rows),
            ("device.lines.shorted_columns", &self.shorted_columns, columns),
        ] {
            for (at, &line) in lines.iter().enumerate() {
                let shared = lines.iter().take(at).any(|&other| line.abs_diff(other) < 2);
                if usize::from(line) + 1 >= count || shared {
                    return bad(
                        key,
                        f64::from(line),
                        "a line with a next one, and none of both in another short",
                    );
                }
            }
        }
        let crossing =
            |&&[row, column]: &&[u16; 2]| usize::from(row) >= rows || usize::from(column) >= columns;
        match self.shorted_crossings.iter().find(crossing) {
            Some(&[row, _]) => bad("device.lines.shorted_crossings", f64::from(row), "cells of the array"),
            None => Ok(()),
        }
    }

    /// What the cells of each line see, given what the lines are connected to.
    pub(super) fn seen(&self, rows: &[Line], columns: &[Line]) -> (Vec<Line>, Vec<Line>) {
        let see = |lines: &[Line], open: &[u16], shorted: &[u16]| {
            let mut seen = lines.to_vec();
            for &line in open {
                seen[usize::from(line)] = Line::Floating;
            }
            for &line in shorted {
                let line = usize::from(line);
                let (one, other) = (seen[line], seen[line + 1]);
                seen[line] = self.beside(one, other);
                seen[line + 1] = self.beside(other, one);
            }
            seen
        };
        (
            see(rows, &self.open_rows, &self.shorted_rows),
            see(columns, &self.open_columns, &self.shorted_columns),
        )
    }

    /// A line whose neighbour is shorted to it.
    fn beside(&self, line: Line, neighbour: Line) -> Line {
        match (line, neighbour) {
            (Line::Driven { volts, ohms }, Line::Driven { volts: beyond, ohms: behind }) => {
                let around = behind + self.short_ohm;
                Line::Driven {
                    volts: volts + (beyond - volts) * ohms / (ohms + around),
                    ohms: ohms * around / (ohms + around),
                }
            }
            (Line::Floating, Line::Driven { volts, ohms }) => {
                Line::Driven { volts, ohms: ohms + self.short_ohm }
            }
            (line, Line::Floating) => line,
        }
    }

    /// Turns the currents out of the columns as their cells see them into those that reach what each is connected to.
    pub(super) fn divide(&self, columns: &[Line], currents: &mut [f64]) {
        for &line in &self.shorted_columns {
            let line = usize::from(line);
            let open = |line: usize| self.open_columns.iter().any(|&open| usize::from(open) == line);
            let connection = |line: usize| if open(line) { Line::Floating } else { columns[line] };
            let (one, other) = (currents[line], currents[line + 1]);
            match (connection(line), connection(line + 1)) {
                (Line::Driven { volts, ohms }, Line::Driven { volts: beyond, ohms: behind }) => {
                    let all = ohms + self.short_ohm + behind;
                    let across = (beyond - volts) / all;
                    currents[line] = one * (all - ohms) / all + other * behind / all + across;
                    currents[line + 1] = one * ohms / all + other * (all - behind) / all - across;
                }
                (Line::Driven { .. }, Line::Floating) => {
                    (currents[line], currents[line + 1]) = (one + other, 0.0)
                }
                (Line::Floating, Line::Driven { .. }) => {
                    (currents[line], currents[line + 1]) = (0.0, one + other)
                }
                (Line::Floating, Line::Floating) => {}
            }
        }
    }

    /// Shorts across cells, in parallel to them (S).
    pub(super) fn add_crossings(&self, conductance: &mut [f64], columns: usize) {
        for &[row, column] in &self.shorted_crossings {
            conductance[usize::from(row) * columns + usize::from(column)] += 1.0 / self.short_ohm;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const NONE: LineDefects = LineDefects {
        open_rows: Vec::new(),
        open_columns: Vec::new(),
        shorted_rows: Vec::new(),
        shorted_columns: Vec::new(),
        shorted_crossings: Vec::new(),
        short_ohm: 10.0,
    };

    fn driven(volts: f64, ohms: f64) -> Line {
        Line::Driven { volts, ohms }
    }

    #[test]
    fn two_shorted_sources_are_a_divider_between_them() {
        let defects = LineDefects { shorted_rows: vec![0], ..NONE };
        let (rows, _) = defects.seen(&[driven(1.0, 100.0), driven(0.0, 100.0)], &[]);
        // 1 V over 210 Ω: 100/210 of it drop at the first source.
        assert_eq!(rows[0], driven(1.0 - 100.0 / 210.0, 100.0 * 110.0 / 210.0));
        assert!((rows[1].volts().unwrap() - 100.0 / 210.0).abs() < 1e-15);
    }

    #[test]
    fn shorted_columns_share_what_comes_out_of_them() {
        let defects = LineDefects { shorted_columns: vec![0], ..NONE };
        let columns = [driven(0.0, 1.5), driven(0.02, 1.5), Line::Floating];
        let mut currents = [1e-6, 2e-6, 0.0];
        defects.divide(&columns, &mut currents);
        assert!((currents[0] + currents[1] - 3e-6).abs() < 1e-18);
        assert!((currents[0] - 0.02 / 13.0).abs() < 2e-6);
    }

    #[test]
    fn lines_that_are_not_there_are_refused() {
        for bad in [
            LineDefects { open_rows: vec![4], ..NONE },
            LineDefects { shorted_columns: vec![2], ..NONE },
            LineDefects { shorted_rows: vec![0, 1], ..NONE },
            LineDefects { shorted_crossings: vec![[0, 3]], ..NONE },
            LineDefects { short_ohm: f64::NAN, ..NONE },
        ] {
            assert!(bad.validate(4, 3).is_err(), "{bad:?}");
        }
        assert_eq!(LineDefects { shorted_rows: vec![0, 2], ..NONE }.validate(4, 3), Ok(()));
    }
}
