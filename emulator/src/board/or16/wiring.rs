//! OR-16's analog connections: from switch positions and DAC outputs to what drives each line of the crossbar and what
//! reaches each amplifier.
//!
//! A row's driver reaches the row through 100 Ω, the 10 kΩ forming resistor unless bypassed, and the connect switch; its
//! tap to the CAL bus is ahead of the 100 Ω, at the DAC. The bus reaches an amplifier's input through the calibrate
//! switch and R_cal. A feedback resistor's switch is taken as part of the resistor.
//!
//! An amplifier holds its input at its offset voltage Vos, which the columns see as their source, so that its effect
//! Vos·(1 + R_f·ΣG) comes out of the circuit. What leaks through open switches at an amplifier's input (calibrate; sense,
//! or bias behind a closed sense switch) goes into the amplifier; what leaks into rows and open columns is left out.

use alloc::vec::Vec;

use ohmrig_protocol::bench::ChipKind;

use super::chips::Chips;
use super::imperfections::{BoardErrors, Column, Row};
use super::settling::{Loop, clamp};
use crate::crossbar::{Line, Lines};

/// A closed switch, Ω (ADGS1414D data sheet rev. 0, typical at ±15 V and 25 °C).
pub const SWITCH_OHMS: f64 = 1.5;
/// In series with every row, Ω.
pub const ROW_OHMS: f64 = 100.0;
/// In series with a row for forming, Ω.
pub const FORMING_OHMS: f64 = 10e3;
/// R_cal, Ω.
pub const CALIBRATION_OHMS: f64 = 10e3;
/// The three feedback branches of an amplifier: always in, and the two that can be switched in parallel (Ω, F).
pub(super) const FEEDBACK: [(f64, f64); 3] = [(100e3, 10e-12), (10e3, 15e-12), (1e3, 56e-12)];
/// Leakage doubles every so many kelvin.
const LEAKAGE_DOUBLES_K: f64 = 10.0;

/// What all amplifiers have in common at an instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    /// Above 25 °C.
    pub(super) kelvin: f64,
    /// All DACs' output voltages against what they should be.
    pub(super) reference: f64,
}

/// One column's amplifier: its settled output is `offset_v − R·(share·I + the other currents)`, clamped, with I the
/// current out of the column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Amplifier {
    /// Part of the column's current that reaches it.
    pub(super) share: f64,
    /// From the CAL bus at 25 °C, A.
    calibration_a: f64,
    /// How that changes with the bus voltage, S, and with temperature, relative, 1/K.
    pub(super) calibration_s: f64,
    calibration_per_kelvin: f64,
    /// From a bias source that is shorted to it, A.
    shorted_a: f64,
    /// Through open switches at 25 °C, A.
    leakage_a: f64,
    offset_v: f64,
    /// Feedback at 25 °C, its temperature coefficient and its capacitance.
    ohms: f64,
    per_kelvin: f64,
    farads: f64,
}

impl Amplifier {
    /// With `column_a` out of the column and `noise_a` from elsewhere.
    pub(super) fn output(&self, column_a: f64, noise_a: f64, conditions: &Conditions) -> f64 {
        let Conditions { kelvin, reference } = *conditions;
        let calibration_a = self.calibration_a * (1.0 - self.calibration_per_kelvin * kelvin);
        let driven_a = (self.share * column_a + calibration_a) * reference;
        let leakage_a = self.leakage_a * libm::exp2(kelvin / LEAKAGE_DOUBLES_K);
        let ohms = self.ohms * (1.0 + self.per_kelvin * kelvin);
        clamp(self.offset_v - ohms * (driven_a + self.shorted_a + leakage_a + noise_a))
    }

    /// Its closed loop when the column shows it a conductance of `load_s`.
    pub(super) fn closed_loop(&self, load_s: f64) -> Loop {
        Loop::new(self.ohms, self.farads, self.share * load_s + self.calibration_s)
    }
}

/// The settled state of all lines and amplifiers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wiring {
    rows: Vec<Line>,
    columns: Vec<Line>,
    /// The CAL bus, V.
    bus_v: f64,
    /// How far it follows each row's driver; empty if nobody is on it.
    pub(super) bus_shares: Vec<f64>,
    pub(super) amplifiers: Vec<Amplifier>,
}

impl Wiring {
    pub(super) fn lines(&self) -> Lines<'_> {
        Lines { rows: &self.rows, columns: &self.columns }
    }

    /// Whether any column current can be other than zero and anybody would see it.
    pub(super) fn is_live(&self) -> bool {
        self.amplifiers.iter().any(|amplifier| amplifier.share != 0.0)
            && self.rows.iter().chain(&self.columns).filter_map(Line::volts).any(|volts| volts != 0.0)
    }

    fn pairs<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (&'a Line, &'a Line)> {
        self.rows.iter().zip(&before.rows).chain(self.columns.iter().zip(&before.columns))
    }

    /// The largest change of a line's source voltage or of the CAL bus from `before` to here, V.
    pub(super) fn largest_step_v(&self, before: &Self) -> f64 {
        let steps =
            self.pairs(before).filter_map(|(now, then)| Some(libm::fabs(now.volts()? - then.volts()?)));
        steps.fold(libm::fabs(self.bus_v - before.bus_v), f64::max)
    }

    /// Whether the same lines are driven as in `before`.
    pub(super) fn drives_the_lines_of(&self, before: &Self) -> bool {
        self.pairs(before).all(|(now, then)| now.volts().is_some() == then.volts().is_some())
    }

    /// Whether nothing but voltages differs from `before`.
    pub(super) fn has_the_connections_of(&self, before: &Self) -> bool {
        self.pairs(before).all(|(now, then)| match (*now, *then) {
            (Line::Driven { ohms: now, .. }, Line::Driven { ohms: then, .. }) => now == then,
            (now, then) => now == then,
        })
    }

    /// The lines when they are a fraction `level` of the way from `before` to here.
    pub(super) fn set_between(&mut self, before: &Self, after: &Self, level: f64) {
        let between = |(before, after): (&Line, &Line)| match (before.volts(), *after) {
            (Some(from), Line::Driven { volts, ohms }) => {
                Line::Driven { volts: from + (volts - from) * level, ohms }
            }
            _ => *after,
        };
        self.rows.clear();
        self.rows.extend(before.rows.iter().zip(&after.rows).map(between));
        self.columns.clear();
        self.columns.extend(before.columns.iter().zip(&after.columns).map(between));
    }

    /// Works everything out anew.
    pub(super) fn derive(&mut self, chips: &Chips, errors: &BoardErrors) {
        let driver = |row: usize| {
            let output = chips.dac_output(ChipKind::RowDac, row)?;
            Some(errors.rows[row].dac.distort(output.volts, output.code, output.lsb_v))
        };
        self.bus_v = self.derive_bus(chips, errors, driver);
        self.rows.clear();
        self.rows.extend(errors.rows.iter().enumerate().map(|(row, error)| {
            if !chips.closed(ChipKind::RowConnect, row) {
                return Line::Floating;
            }
            let forming = if chips.closed(ChipKind::FormingBypass, row) { 0.0 } else { FORMING_OHMS };
            driver(row).map_or(Line::Floating, |volts| Line::Driven {
                volts,
                ohms: ROW_OHMS + forming + error.connect_ohms,
            })
        }));
        self.columns.clear();
        self.amplifiers.clear();
        for (column, error) in errors.columns.iter().enumerate() {
            let (line, amplifier) = connect(chips, column, error, self.bus_v);
            self.columns.push(line);
            self.amplifiers.push(amplifier);
        }
    }

    /// The CAL bus: drivers behind their switches against the calibration resistors to the virtual grounds. A bus nobody
    /// is on is at 0 V.
    fn derive_bus(
        &mut self,
        chips: &Chips,
        errors: &BoardErrors,
        driver: impl Fn(usize) -> Option<f64>,
    ) -> f64 {
        self.bus_shares.clear();
        if chips.all_open(ChipKind::RowCalibrate) && chips.all_open(ChipKind::Calibrate) {
            return 0.0;
        }
        let mut siemens = 0.0;
        let mut amperes = 0.0;
        let mut share = |(row, error): (usize, &Row)| {
            let volts = chips.closed(ChipKind::RowCalibrate, row).then(|| driver(row)).flatten();
            volts.map_or(0.0, |volts| {
                siemens += 1.0 / error.calibrate_ohms;
                amperes += volts / error.calibrate_ohms;
                1.0 / error.calibrate_ohms
            })
        };
        self.bus_shares.extend(errors.rows.iter().enumerate().map(&mut share));
        for (column, error) in errors.columns.iter().enumerate() {
            if chips.closed(ChipKind::Calibrate, column) {
                let ohms = error.calibration.ohms + error.calibrate.ohms;
                siemens += 1.0 / ohms;
                amperes += error.tia_offset_v / ohms;
            }
        }
        if siemens == 0.0 {
            return 0.0;
        }
        self.bus_shares.iter_mut().for_each(|share| *share /= siemens);
        amperes / siemens
    }
}

/// What a column is connected to, and its amplifier.
fn connect(chips: &Chips, column: usize, error: &Column, bus_v: f64) -> (Line, Amplifier) {
    let offset_v = error.tia_offset_v;
    let (sense, bias) = (error.sense.ohms, error.bias.ohms);
    let closed = |kind| chips.closed(kind, column);
    let bias_v = closed(ChipKind::ColumnBias)
        .then(|| chips.dac_output(ChipKind::BiasDac, column))
        .flatten()
        .map(|output| error.bias_dac.distort(output.volts, output.code, output.lsb_v));
    let (line, share, shorted_a) = match (closed(ChipKind::ColumnSense), bias_v) {
        (false, None) => (Line::Floating, 0.0, 0.0),
        (false, Some(volts)) => (Line::Driven { volts, ohms: bias }, 0.0, 0.0),
        (true, None) => (Line::Driven { volts: offset_v, ohms: sense }, 1.0, 0.0),
        // Bias source and virtual ground meet at the column, each behind its switch.
        (true, Some(volts)) => (
            Line::Driven {
                volts: (volts * sense + offset_v * bias) / (sense + bias),
                ohms: sense * bias / (sense + bias),
            },
            bias / (sense + bias),
            (volts - offset_v) / (sense + bias),
        ),
    };
    let mut leakage_a = 0.0;
    let calibration_ohms = error.calibration.ohms + error.calibrate.ohms;
    let calibration_s = if closed(ChipKind::Calibrate) {
        1.0 / calibration_ohms
    } else {
        leakage_a += error.calibrate.leakage_a;
        0.0
    };
    if !closed(ChipKind::ColumnSense) {
        leakage_a += error.sense.leakage_a;
    } else if bias_v.is_none() {
        leakage_a += error.bias.leakage_a;
    }
    let feedback = feedback(error, closed(ChipKind::Feedback10k), closed(ChipKind::Feedback1k));
    let amplifier = Amplifier {
        share,
        calibration_a: (bus_v - offset_v) * calibration_s,
        calibration_s,
        calibration_per_kelvin: error.calibration.per_kelvin * error.calibration.ohms / calibration_ohms,
        shorted_a,
        leakage_a,
        offset_v,
        ohms: feedback.ohms,
        per_kelvin: feedback.per_kelvin,
        farads: feedback.farads,
    };
    (line, amplifier)
}

/// The branches of an amplifier's feedback that are connected, in parallel.
struct Feedback {
    ohms: f64,
    /// Mean of the branches' coefficients, weighted with their conductances, 1/K.
    per_kelvin: f64,
    farads: f64,
}

fn feedback(error: &Column, with_10k: bool, with_1k: bool) -> Feedback {
    let [mut siemens, mut change, mut farads] = [0.0; 3];
    for ((resistor, (_, farad)), closed) in error.feedback.iter().zip(FEEDBACK).zip([true, with_10k, with_1k])
    {
        if closed {
            siemens += 1.0 / resistor.ohms;
            change += resistor.per_kelvin / resistor.ohms;
            farads += farad;
        }
    }
    Feedback { ohms: 1.0 / siemens, per_kelvin: change / siemens, farads }
}

#[cfg(test)]
mod tests {
    use super::super::imperfections::BoardImperfections;
    use super::*;

    #[test]
    fn the_feedback_is_the_parallel_value_of_resistors_capacitors_and_temperature_coefficients() {
        let ideal = BoardErrors::draw(&BoardImperfections::IDEAL, 1, 1, 1).columns.remove(0);
        let near = |found: Feedback, ohms: f64, farads: f64| {
            assert!((found.ohms / ohms - 1.0).abs() < 1e-12 && (found.farads / farads - 1.0).abs() < 1e-12);
            assert_eq!(found.per_kelvin, 0.0);
        };
        near(feedback(&ideal, false, false), 100e3, 10e-12);
        near(feedback(&ideal, true, false), 100e3 / 11.0, 25e-12);
        near(feedback(&ideal, false, true), 100e3 / 101.0, 66e-12);
        near(feedback(&ideal, true, true), 100e3 / 111.0, 81e-12);

        let limits = BoardImperfections::OR16;
        let real = BoardErrors::draw(&limits, 1, 1, 1).columns.remove(0);
        let at = |kelvin: f64| -> f64 {
            let siemens: f64 =
                real.feedback.iter().map(|r| 1.0 / (r.ohms * (1.0 + r.per_kelvin * kelvin))).sum();
            1.0 / siemens
        };
        let found = feedback(&real, true, true);
        assert!((found.ohms / at(0.0) - 1.0).abs() < 1e-12);
        // The exact coefficient's slope over ±1 K; its second order is (25 ppm)².
        assert!((found.per_kelvin - (at(1.0) - at(-1.0)) / 2.0 / at(0.0)).abs() < 1e-9);
    }
}
