//! OR-16's analog connections: from switch positions and DAC outputs to what drives each line of the crossbar and what
//! reaches each amplifier.
//!
//! A row's driver reaches the row through 100 Ω, the 10 kΩ forming resistor unless bypassed, and the connect switch; its
//! tap to the CAL bus is ahead of the 100 Ω, at the DAC. The bus reaches an amplifier's input through the calibrate
//! switch and R_cal. A feedback resistor's switch is taken as part of the resistor.

use alloc::vec::Vec;

use ohmrig_protocol::bench::ChipKind;

use super::chips::Chips;
use super::imperfections::BoardErrors;
use super::settling::clamp;
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
const FEEDBACK: [(f64, f64); 3] = [(100e3, 10e-12), (10e3, 15e-12), (1e3, 56e-12)];

/// One column's amplifier: its settled output is `offset_v − ohms·(share·I + extra_a)`, clamped, with I the current out
/// of the column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Amplifier {
    /// Part of the column's current that reaches it.
    share: f64,
    /// Current from elsewhere, A.
    extra_a: f64,
    offset_v: f64,
    ohms: f64,
    /// Its time constant, s.
    pub(super) settling_s: f64,
}

impl Amplifier {
    pub(super) fn output(&self, column_a: f64) -> f64 {
        clamp(self.offset_v - self.ohms * (self.share * column_a + self.extra_a))
    }
}

/// The settled state of all lines and amplifiers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wiring {
    rows: Vec<Line>,
    columns: Vec<Line>,
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

    /// The largest change of a line's source voltage from `before` to here, V.
    pub(super) fn largest_step_v(&self, before: &Self) -> f64 {
        let both = self.rows.iter().zip(&before.rows).chain(self.columns.iter().zip(&before.columns));
        both.filter_map(|(now, then)| Some(libm::fabs(now.volts()? - then.volts()?))).fold(0.0, f64::max)
    }

    /// Works everything out anew.
    pub(super) fn derive(&mut self, chips: &Chips, errors: &BoardErrors) {
        let driver = |row: usize| Some(errors.rows[row].distort(chips.dac_target(ChipKind::RowDac, row)?));
        let bus_v = bus_volts(chips, errors, driver);
        self.rows.clear();
        self.rows.extend((0..errors.rows.len()).map(|row| {
            if !chips.closed(ChipKind::RowConnect, row) {
                return Line::Floating;
            }
            let forming = if chips.closed(ChipKind::FormingBypass, row) { 0.0 } else { FORMING_OHMS };
            driver(row).map_or(Line::Floating, |volts| Line::Driven {
                volts,
                ohms: ROW_OHMS + forming + SWITCH_OHMS,
            })
        }));
        self.columns.clear();
        self.amplifiers.clear();
        for (column, error) in errors.columns.iter().enumerate() {
            let offset_v = error.tia_offset_v;
            let bias = chips
                .closed(ChipKind::ColumnBias, column)
                .then(|| chips.dac_target(ChipKind::BiasDac, column))
                .flatten()
                .map(|volts| error.bias.distort(volts));
            let (line, share, shorted_a) = match (chips.closed(ChipKind::ColumnSense, column), bias) {
                (false, None) => (Line::Floating, 0.0, 0.0),
                (false, Some(volts)) => (Line::Driven { volts, ohms: SWITCH_OHMS }, 0.0, 0.0),
                (true, None) => (Line::Driven { volts: offset_v, ohms: SWITCH_OHMS }, 1.0, 0.0),
                // Bias source and virtual ground meet at the column, each behind its switch.
                (true, Some(volts)) => (
                    Line::Driven { volts: 0.5 * (volts + offset_v), ohms: 0.5 * SWITCH_OHMS },
                    0.5,
                    (volts - offset_v) / (2.0 * SWITCH_OHMS),
                ),
            };
            let calibration_a = if chips.closed(ChipKind::Calibrate, column) {
                (bus_v - offset_v) / (error.calibration_ohms + SWITCH_OHMS)
            } else {
                0.0
            };
            let (ohms, settling_s) = feedback(
                chips.closed(ChipKind::Feedback10k, column),
                chips.closed(ChipKind::Feedback1k, column),
            );
            self.columns.push(line);
            self.amplifiers.push(Amplifier {
                share,
                extra_a: shorted_a + calibration_a,
                offset_v,
                ohms,
                settling_s,
            });
        }
    }
}

/// Effective feedback resistance, Ω, and time constant, s.
fn feedback(with_10k: bool, with_1k: bool) -> (f64, f64) {
    let [mut siemens, mut farads] = [0.0; 2];
    for ((ohms, farad), closed) in FEEDBACK.into_iter().zip([true, with_10k, with_1k]) {
        if closed {
            siemens += 1.0 / ohms;
            farads += farad;
        }
    }
    (1.0 / siemens, farads / siemens)
}

/// The CAL bus: drivers behind their switches against the calibration resistors to the virtual grounds. A bus nobody
/// is on is at 0 V.
fn bus_volts(chips: &Chips, errors: &BoardErrors, driver: impl Fn(usize) -> Option<f64>) -> f64 {
    let mut siemens = 0.0;
    let mut amperes = 0.0;
    for row in 0..errors.rows.len() {
        if chips.closed(ChipKind::RowCalibrate, row)
            && let Some(volts) = driver(row)
        {
            siemens += 1.0 / SWITCH_OHMS;
            amperes += volts / SWITCH_OHMS;
        }
    }
    for (column, error) in errors.columns.iter().enumerate() {
        if chips.closed(ChipKind::Calibrate, column) {
            let ohms = error.calibration_ohms + SWITCH_OHMS;
            siemens += 1.0 / ohms;
            amperes += error.tia_offset_v / ohms;
        }
    }
    if siemens == 0.0 { 0.0 } else { amperes / siemens }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feedback_is_the_parallel_value_and_its_time_constant_r_times_c() {
        let near = |(r, t): (f64, f64), r0: f64, t0: f64| {
            assert!((r / r0 - 1.0).abs() < 1e-12 && (t / t0 - 1.0).abs() < 1e-12, "{r} {t}");
        };
        near(feedback(false, false), 100e3, 1e-6);
        near(feedback(true, false), 100e3 / 11.0, 100e3 / 11.0 * 25e-12);
        near(feedback(false, true), 100e3 / 101.0, 100e3 / 101.0 * 66e-12);
        near(feedback(true, true), 100e3 / 111.0, 100e3 / 111.0 * 81e-12);
    }
}
