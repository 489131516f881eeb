//! The bounds no request passes: voltage on every cell with tolerance, pulse width, pulses per cell.

use crate::front_end::{Description, LineSpan};
use core::cell::Cell;
use ohmrig_protocol::message::{Field, LimitName, Limits, Pulse, Refusal, Scheme};
use ohmrig_protocol::units::{Amperes, Joules, Seconds, VoltSeconds, Volts};

/// Tolerance of a commanded voltage difference: a fixed part (two converters' offsets) …
const TOLERANCE_VOLTS: f32 = 0.020;
/// … and a share (gain, reference).
const TOLERANCE_SHARE: f32 = 0.005;

/// The largest |V| a cell can see for a commanded difference.
#[inline(never)]
pub(super) fn worst_volts(commanded: f32) -> f32 {
    let magnitude = if commanded < 0.0 { -commanded } else { commanded };
    magnitude + TOLERANCE_VOLTS + TOLERANCE_SHARE * magnitude
}

/// What requests are checked against.
pub(super) struct Checks<'a> {
    pub(super) description: &'a Description,
    pub(super) limits: &'a Limits,
    /// Bytes of bulk data a reply can carry.
    pub(super) reply_bytes: usize,
    /// Where it is noted why a request is refused.
    pub(super) refusal: &'a Cell<Option<Refusal>>,
}

/// A check refuses the request and has noted why: a [`Refusal`] is large, and would be copied from check to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

impl Checks<'_> {
    pub(super) fn refuse(&self, refusal: Refusal) -> Refused {
        self.refusal.set(Some(refusal));
        Refused
    }

    /// Refuses what asks for more than a limit allows.
    #[inline(never)]
    pub(super) fn beyond(&self, limit: LimitName, asked: f32, allowed: f32) -> Refused {
        self.refuse(Refusal::Limit { limit, asked, allowed })
    }

    /// Refuses `asked` unless it is at most `allowed`; NaN is refused too.
    fn at_most(&self, limit: LimitName, asked: f32, allowed: f32) -> Result<(), Refused> {
        if asked <= allowed { Ok(()) } else { Err(self.beyond(limit, asked, allowed)) }
    }

    /// Refuses `asked` unless it is within the bounds; NaN is refused too.
    #[inline(never)]
    pub(super) fn within(&self, field: Field, asked: f32, min: f32, max: f32) -> Result<(), Refused> {
        if asked >= min && asked <= max {
            return Ok(());
        }
        Err(self.refuse(Refusal::Invalid { field, asked, min, max }))
    }
}

/// The largest |V| across any cell but the selected one, for a selected cell at `volts`. A row hangs on its driver behind a
/// resistance, so it can be anywhere between its driver and the columns. That is no more than as commanded where unselected
/// rows and columns are at the same voltage; with V/3 and 2V/3 they pull each other, to 2V/3 at worst. A floating line
/// can be anywhere between the driven ones.
pub(super) fn other_cells(volts: f32, scheme: Scheme) -> f32 {
    match scheme {
        Scheme::Half | Scheme::SymmetricHalf => volts / 2.0,
        Scheme::Third => volts * (2.0 / 3.0),
        // The other cells of the selected row see all of it.
        Scheme::Grounded | Scheme::Floating => volts,
    }
}

/// The voltages farthest from 0 V that rows and columns are put to.
fn lines(volts: f32, scheme: Scheme) -> (f32, f32) {
    match scheme {
        Scheme::Half => (volts, volts / 2.0),
        Scheme::SymmetricHalf => (volts / 2.0, -volts / 2.0),
        Scheme::Third => (volts, volts * (2.0 / 3.0)),
        Scheme::Grounded | Scheme::Floating => (volts, 0.0),
    }
}

impl Checks<'_> {
    /// Checks the voltages of a pulse against the limits and the converters.
    pub(super) fn pulse_volts(&self, volts: Volts, scheme: Scheme) -> Result<(), Refused> {
        if !volts.0.is_finite() || volts.0 == 0.0 {
            let max = self.limits.cell.0;
            return Err(self.refuse(Refusal::Invalid {
                field: Field::Volts,
                asked: volts.0,
                min: -max,
                max,
            }));
        }
        if !self.description.schemes.contains(&scheme) {
            return Err(self.refuse(Refusal::Unsupported(Field::Scheme)));
        }
        self.at_most(LimitName::Cell, worst_volts(volts.0), self.limits.cell.0)?;
        // An array of one cell has no others.
        if self.description.rows > 1 || self.description.columns > 1 {
            self.at_most(
                LimitName::HalfSelect,
                worst_volts(other_cells(volts.0, scheme)),
                self.limits.half_select.0,
            )?;
        }
        let (row, column) = lines(volts.0, scheme);
        self.span(row, &self.description.spans.0)?;
        self.span(column, &self.description.spans.1)
    }

    #[inline(never)]
    fn span(&self, volts: f32, span: &LineSpan) -> Result<(), Refused> {
        let allowed = if volts > 0.0 { span.highest } else { span.lowest };
        if !(span.lowest.0..=span.highest.0).contains(&volts) {
            return Err(self.beyond(LimitName::DacSpan, volts, allowed.0));
        }
        Ok(())
    }

    /// Checks a pulse's width; the answer is in ns.
    pub(super) fn width(&self, width: Seconds) -> Result<u32, Refused> {
        self.at_most(LimitName::WidthMax, width.0, self.limits.width_max.0)?;
        if width.0 < self.limits.width_min.0 {
            let (asked, allowed) = (width.0, self.limits.width_min.0);
            return Err(self.beyond(LimitName::WidthMin, asked, allowed));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Between the limits: 1 ns to 1 s.
        Ok(libm::roundf(width.0 * 1e9) as u32)
    }

    /// Checks everything about a single pulse but the cell's own count; the answer is its width in ns.
    pub(super) fn pulse(&self, pulse: &Pulse) -> Result<u32, Refused> {
        if pulse.row >= self.description.rows || pulse.column >= self.description.columns {
            return Err(self.refuse(Refusal::OutsideArray {
                rows: self.description.rows,
                columns: self.description.columns,
            }));
        }
        if let Some(gate) = pulse.gate {
            if !self.description.gates {
                return Err(self.refuse(Refusal::Unsupported(Field::Gate)));
            }
            self.within(Field::Gate, gate.0, 0.0, 5.0)?;
        }
        self.pulse_volts(pulse.volts, pulse.scheme)?;
        self.width(pulse.width)
    }

    /// Checks a read voltage (any sign, not 0) against the read limit; the answer is its row code.
    pub(super) fn read_volts(&self, volts: Volts) -> Result<u16, Refused> {
        if !volts.0.is_finite() {
            let max = self.limits.read.0;
            return Err(self.refuse(Refusal::Invalid { field: Field::Volts, asked: volts.0, min: 0.0, max }));
        }
        self.at_most(LimitName::Read, worst_volts(volts.0), self.limits.read.0)?;
        self.row_code(volts)
    }

    /// Checks the row codes of matrix-vector products against the read limit.
    pub(super) fn read_codes(&self, codes: &[u8]) -> Result<(), Refused> {
        let farthest = codes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|code| u16::from_le_bytes(*code).abs_diff(self.description.converters.dac_zero))
            .max()
            .unwrap_or(0);
        self.at_most(
            LimitName::Read,
            worst_volts(f32::from(farthest) * self.description.converters.dac_step.0),
            self.limits.read.0,
        )
    }

    /// The nearest row code to a voltage.
    pub(super) fn row_code(&self, volts: Volts) -> Result<u16, Refused> {
        let converters = &self.description.converters;
        let step = converters.dac_step.0;
        let code = converters.dac_steps(volts) + f32::from(converters.dac_zero);
        if (0.0..=f32::from(self.description.dac_top)).contains(&code) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Just checked.
            Ok(code as u16)
        } else {
            let steps = if volts.0 > 0.0 {
                f32::from(self.description.dac_top.saturating_sub(converters.dac_zero))
            } else {
                -f32::from(converters.dac_zero)
            };
            Err(self.beyond(LimitName::DacSpan, volts.0, steps * step))
        }
    }

    /// Refuses new limits of which any is looser than those in force.
    pub(super) fn tightened(&self, asked: &Limits) -> Result<(), Refused> {
        for (asked, present) in upper(asked).iter().zip(&upper(self.limits)) {
            self.within(Field::Limits, *asked, 0.0, *present)?;
        }
        self.within(Field::Limits, asked.width_min.0, self.limits.width_min.0, self.limits.width_max.0)?;
        if asked.pulses_per_cell > self.limits.pulses_per_cell {
            #[allow(clippy::cast_precision_loss)] // For the message only.
            let (asked, max) = (asked.pulses_per_cell as f32, self.limits.pulses_per_cell as f32);
            return Err(self.refuse(Refusal::Invalid { field: Field::Limits, asked, min: 0.0, max }));
        }
        Ok(())
    }
}

/// Those that bound from above, but for the number of pulses, which is none of SI.
fn upper(limits: &Limits) -> [f32; 7] {
    let Limits { cell, half_select, read, width_max, current, dose_per_cell, energy_per_cell, .. } = limits;
    [cell.0, half_select.0, read.0, width_max.0, current.0, dose_per_cell.0, energy_per_cell.0]
}

/// The tighter of two limits, each by itself: what was tightened for good, on a board that may have become tighter.
pub(super) fn tighter(one: Limits, other: Limits) -> Limits {
    Limits {
        cell: Volts(lower(one.cell.0, other.cell.0)),
        half_select: Volts(lower(one.half_select.0, other.half_select.0)),
        read: Volts(lower(one.read.0, other.read.0)),
        width_min: Seconds(one.width_min.0.max(other.width_min.0)),
        width_max: Seconds(lower(one.width_max.0, other.width_max.0)),
        current: Amperes(lower(one.current.0, other.current.0)),
        pulses_per_cell: one.pulses_per_cell.min(other.pulses_per_cell),
        dose_per_cell: VoltSeconds(lower(one.dose_per_cell.0, other.dose_per_cell.0)),
        energy_per_cell: Joules(lower(one.energy_per_cell.0, other.energy_per_cell.0)),
    }
}

/// Not inlined: a comparison that minds NaN is long.
#[inline(never)]
fn lower(one: f32, other: f32) -> f32 {
    one.min(other)
}

/// Whether a measured pulse current passes its limit; NaN passes none and is refused.
pub(super) fn passes_current(current: Amperes, limits: &Limits) -> bool {
    let magnitude = if current.0 < 0.0 { -current.0 } else { current.0 };
    magnitude > limits.current.0 || magnitude.is_nan()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::front_end::PulseEdge;
    use ohmrig_protocol::message::Converters;
    use ohmrig_protocol::units::Ohms;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        cell: Volts(5.0),
        half_select: Volts(1.0),
        read: Volts(0.5),
        width_min: Seconds(5e-6),
        width_max: Seconds(1.0),
        current: Amperes(5e-3),
        pulses_per_cell: 10,
        dose_per_cell: VoltSeconds(1.0),
        energy_per_cell: Joules(1.0),
    };

    const BOARD: Description = Description {
        name: "test",
        rows: 16,
        columns: 16,
        converters: Converters {
            dac_step: Volts(10.0 / 65536.0),
            dac_zero: 0x8000,
            adc_step: Volts(12.5 / 65536.0),
            adc_linear: 27262,
            feedback: [Ohms(100e3), Ohms(0.0), Ohms(0.0), Ohms(0.0)],
            reference: Ohms(10e3),
        },
        limits: LIMITS,
        pulse_feedback: [Ohms(1e3), Ohms(0.0), Ohms(0.0), Ohms(0.0)],
        gates: false,
        schemes: &crate::or16::SCHEMES,
        references: true,
        forming: true,
        dac_top: u16::MAX,
        spans: (crate::or16::SPAN, crate::or16::SPAN),
        guard_after_ns: 10_000,
        report_after_ns: 25_000,
        edge: PulseEdge { slew_v_per_us: 2.0, lag_us: 1.0, flat_ns: 20_000 },
        conversion_ns: 1000,
        conversion_timeout_ns: 10_000,
    };

    /// What `check` says with these limits on this board.
    fn on<T>(
        limits: &Limits,
        description: &Description,
        check: impl FnOnce(&Checks<'_>) -> Result<T, Refused>,
    ) -> Result<T, Refusal> {
        let refusal = Cell::new(None);
        let checks = Checks { description, limits, reply_bytes: 0, refusal: &refusal };
        check(&checks).map_err(|Refused| refusal.take().unwrap())
    }

    fn checked<T>(check: impl FnOnce(&Checks<'_>) -> Result<T, Refused>) -> Result<T, Refusal> {
        on(&LIMITS, &BOARD, check)
    }

    fn refused_by(volts: f32, scheme: Scheme) -> Option<LimitName> {
        match checked(|checks| checks.pulse_volts(Volts(volts), scheme)) {
            Err(Refusal::Limit { limit, .. }) => Some(limit),
            Ok(()) => None,
            Err(other) => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn each_scheme_is_judged_by_what_its_other_cells_see() {
        // Limit 1 V with 20 mV and 0.5 % of tolerance leaves 0.975 V as commanded.
        assert_eq!(refused_by(1.94, Scheme::Half), None);
        assert_eq!(refused_by(1.96, Scheme::Half), Some(LimitName::HalfSelect));
        assert_eq!(refused_by(-1.96, Scheme::SymmetricHalf), Some(LimitName::HalfSelect));
        assert_eq!(refused_by(1.46, Scheme::Third), None);
        assert_eq!(refused_by(1.47, Scheme::Third), Some(LimitName::HalfSelect));
        assert_eq!(refused_by(0.97, Scheme::Grounded), None);
        assert_eq!(refused_by(1.2, Scheme::Grounded), Some(LimitName::HalfSelect));
        assert_eq!(refused_by(1.2, Scheme::Floating), Some(LimitName::HalfSelect));
    }

    #[test]
    fn a_single_cell_has_no_half_selected_neighbours() {
        let board = Description { rows: 1, columns: 1, ..BOARD };
        assert_eq!(on(&LIMITS, &board, |checks| checks.pulse_volts(Volts(4.0), Scheme::Grounded)), Ok(()));
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for volts in [f32::NAN, f32::INFINITY] {
            assert!(checked(|checks| checks.pulse_volts(Volts(volts), Scheme::Half)).is_err(), "{volts}");
            assert!(checked(|checks| checks.read_volts(Volts(volts))).is_err(), "{volts}");
        }
        // A pulse of nothing is no pulse; a row at 0 V is how noise and offsets are measured.
        assert!(checked(|checks| checks.pulse_volts(Volts(0.0), Scheme::Half)).is_err());
        assert!(checked(|checks| checks.read_volts(Volts(0.0))).is_ok());
        assert!(checked(|checks| checks.width(Seconds(f32::NAN))).is_err());
        assert!(passes_current(Amperes(f32::NAN), &LIMITS));
    }

    #[test]
    fn a_width_is_kept_between_its_limits_and_comes_out_in_nanoseconds() {
        assert_eq!(checked(|checks| checks.width(Seconds(100e-6))), Ok(100_000));
        assert_eq!(checked(|checks| checks.width(Seconds(1.0))), Ok(1_000_000_000));
        assert!(checked(|checks| checks.width(Seconds(4.9e-6))).is_err());
        assert!(checked(|checks| checks.width(Seconds(1.1))).is_err());
    }

    #[test]
    fn products_are_held_to_the_read_limit_row_by_row() {
        let code = |volts: f32| checked(|checks| checks.row_code(Volts(volts))).unwrap().to_le_bytes();
        let fine = [code(0.2), code(-0.47)].concat();
        assert_eq!(checked(|checks| checks.read_codes(&fine)), Ok(()));
        let harmful = [code(0.2), code(-0.49)].concat();
        assert!(matches!(
            checked(|checks| checks.read_codes(&harmful)),
            Err(Refusal::Limit { limit: LimitName::Read, .. })
        ));
    }

    #[test]
    fn limits_only_tighten() {
        let tighter = Limits { cell: Volts(2.0), pulses_per_cell: 5, ..LIMITS };
        assert_eq!(on(&LIMITS, &BOARD, |checks| checks.tightened(&tighter)), Ok(()));
        assert!(on(&tighter, &BOARD, |checks| checks.tightened(&LIMITS)).is_err());
        assert!(
            on(&LIMITS, &BOARD, |checks| checks
                .tightened(&Limits { dose_per_cell: VoltSeconds(1.1), ..LIMITS }))
            .is_err()
        );
        assert!(
            on(&LIMITS, &BOARD, |checks| checks
                .tightened(&Limits { energy_per_cell: Joules(f32::NAN), ..LIMITS }))
            .is_err()
        );
        assert_eq!(super::tighter(tighter, LIMITS), tighter);
        assert_eq!(super::tighter(LIMITS, tighter), tighter);
        assert!(
            on(&LIMITS, &BOARD, |checks| checks.tightened(&Limits { read: Volts(f32::NAN), ..LIMITS }))
                .is_err()
        );
        assert!(
            on(&LIMITS, &BOARD, |checks| checks.tightened(&Limits { width_min: Seconds(1e-6), ..LIMITS }))
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn a_row_code_is_within_half_a_step_or_refused(volts in -20.0f32..20.0) {
            match checked(|checks| checks.row_code(Volts(volts))) {
                Ok(code) => {
                    let back = (f32::from(code) - 32768.0) * BOARD.converters.dac_step.0;
                    prop_assert!((back - volts).abs() <= BOARD.converters.dac_step.0 * 0.501);
                }
                Err(Refusal::Limit { limit, .. }) => {
                    prop_assert_eq!(limit, LimitName::DacSpan);
                    prop_assert!(!(-5.0..4.9998).contains(&volts));
                }
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
