//! The bounds no request passes: voltage on every cell with tolerance, pulse width, pulses per cell.

use crate::front_end::Description;
use ohmrig_protocol::message::{Field, LimitName, Limits, Pulse, Refusal, Scheme};
use ohmrig_protocol::units::{Amperes, Joules, Seconds, VoltSeconds, Volts};

/// Tolerance of a commanded voltage difference: a fixed part (two converters' offsets) …
const TOLERANCE_VOLTS: f32 = 0.020;
/// … and a share (gain, reference).
const TOLERANCE_SHARE: f32 = 0.005;

/// The largest |V| a cell can see for a commanded difference.
pub(super) fn worst_volts(commanded: f32) -> f32 {
    let magnitude = if commanded < 0.0 { -commanded } else { commanded };
    magnitude + TOLERANCE_VOLTS + TOLERANCE_SHARE * magnitude
}

/// Refuses `asked` unless it is at most `allowed`; NaN is refused too.
fn at_most(limit: LimitName, asked: f32, allowed: f32) -> Result<(), Refusal> {
    if asked <= allowed { Ok(()) } else { Err(Refusal::Limit { limit, asked, allowed }) }
}

/// Refuses `asked` unless it is within the bounds; NaN is refused too.
#[inline(never)]
pub(super) fn within(field: Field, asked: f32, min: f32, max: f32) -> Result<(), Refusal> {
    if asked >= min && asked <= max { Ok(()) } else { Err(Refusal::Invalid { field, asked, min, max }) }
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

/// Checks the voltages of a pulse against the limits and the converters.
pub(super) fn check_pulse_volts(
    volts: Volts,
    scheme: Scheme,
    limits: &Limits,
    description: &Description,
) -> Result<(), Refusal> {
    if !volts.0.is_finite() || volts.0 == 0.0 {
        let max = limits.cell.0;
        return Err(Refusal::Invalid { field: Field::Volts, asked: volts.0, min: -max, max });
    }
    if !description.schemes.contains(&scheme) {
        return Err(Refusal::Unsupported(Field::Scheme));
    }
    at_most(LimitName::Cell, worst_volts(volts.0), limits.cell.0)?;
    // An array of one cell has no others.
    if description.rows > 1 || description.columns > 1 {
        at_most(LimitName::HalfSelect, worst_volts(other_cells(volts.0, scheme)), limits.half_select.0)?;
    }
    let (row, column) = lines(volts.0, scheme);
    for (volts, span) in [row, column].into_iter().zip([description.spans.0, description.spans.1]) {
        let allowed = if volts > 0.0 { span.highest } else { span.lowest };
        if !(span.lowest.0..=span.highest.0).contains(&volts) {
            return Err(Refusal::Limit { limit: LimitName::DacSpan, asked: volts, allowed: allowed.0 });
        }
    }
    Ok(())
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

/// Checks a pulse's width; the answer is in ns.
pub(super) fn check_width(width: Seconds, limits: &Limits) -> Result<u32, Refusal> {
    at_most(LimitName::WidthMax, width.0, limits.width_max.0)?;
    if width.0 < limits.width_min.0 {
        let (asked, allowed) = (width.0, limits.width_min.0);
        return Err(Refusal::Limit { limit: LimitName::WidthMin, asked, allowed });
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Between the limits: 1 ns to 1 s.
    Ok(libm::roundf(width.0 * 1e9) as u32)
}

/// Checks everything about a single pulse but the cell's own count; the answer is its width in ns.
pub(super) fn check_pulse(pulse: &Pulse, limits: &Limits, description: &Description) -> Result<u32, Refusal> {
    if pulse.row >= description.rows || pulse.column >= description.columns {
        return Err(Refusal::OutsideArray { rows: description.rows, columns: description.columns });
    }
    if let Some(gate) = pulse.gate {
        if !description.gates {
            return Err(Refusal::Unsupported(Field::Gate));
        }
        within(Field::Gate, gate.0, 0.0, 5.0)?;
    }
    check_pulse_volts(pulse.volts, pulse.scheme, limits, description)?;
    check_width(pulse.width, limits)
}

/// Checks a read voltage (any sign, not 0) against the read limit; the answer is its row code.
pub(super) fn check_read_volts(
    volts: Volts,
    limits: &Limits,
    description: &Description,
) -> Result<u16, Refusal> {
    if !volts.0.is_finite() {
        let max = limits.read.0;
        return Err(Refusal::Invalid { field: Field::Volts, asked: volts.0, min: 0.0, max });
    }
    at_most(LimitName::Read, worst_volts(volts.0), limits.read.0)?;
    row_code(volts, description)
}

/// Checks the row codes of matrix-vector products against the read limit.
pub(super) fn check_read_codes(
    codes: &[u8],
    limits: &Limits,
    description: &Description,
) -> Result<(), Refusal> {
    let farthest = codes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|code| u16::from_le_bytes(*code).abs_diff(description.converters.dac_zero))
        .max()
        .unwrap_or(0);
    at_most(
        LimitName::Read,
        worst_volts(f32::from(farthest) * description.converters.dac_step.0),
        limits.read.0,
    )
}

/// The nearest row code to a voltage.
pub(super) fn row_code(volts: Volts, description: &Description) -> Result<u16, Refusal> {
    let converters = &description.converters;
    let step = converters.dac_step.0;
    let code = libm::roundf(volts.0 / step) + f32::from(converters.dac_zero);
    if (0.0..=f32::from(description.dac_top)).contains(&code) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Just checked.
        Ok(code as u16)
    } else {
        let steps = if volts.0 > 0.0 {
            f32::from(description.dac_top.saturating_sub(converters.dac_zero))
        } else {
            -f32::from(converters.dac_zero)
        };
        Err(Refusal::Limit { limit: LimitName::DacSpan, asked: volts.0, allowed: steps * step })
    }
}

/// Those that bound from above, but for the number of pulses, which is none of SI.
fn upper(limits: &Limits) -> [f32; 7] {
    let Limits { cell, half_select, read, width_max, current, dose_per_cell, energy_per_cell, .. } = limits;
    [cell.0, half_select.0, read.0, width_max.0, current.0, dose_per_cell.0, energy_per_cell.0]
}

/// Refuses new limits of which any is looser than those in force.
pub(super) fn tightened(asked: &Limits, present: &Limits) -> Result<(), Refusal> {
    for (asked, present) in upper(asked).into_iter().zip(upper(present)) {
        within(Field::Limits, asked, 0.0, present)?;
    }
    within(Field::Limits, asked.width_min.0, present.width_min.0, present.width_max.0)?;
    if asked.pulses_per_cell > present.pulses_per_cell {
        #[allow(clippy::cast_precision_loss)] // For the message only.
        let (asked, max) = (asked.pulses_per_cell as f32, present.pulses_per_cell as f32);
        return Err(Refusal::Invalid { field: Field::Limits, asked, min: 0.0, max });
    }
    Ok(())
}

/// The tighter of two limits, each by itself: what was tightened for good, on a board that may have become tighter.
pub(super) fn tighter(one: Limits, other: Limits) -> Limits {
    Limits {
        cell: Volts(one.cell.0.min(other.cell.0)),
        half_select: Volts(one.half_select.0.min(other.half_select.0)),
        read: Volts(one.read.0.min(other.read.0)),
        width_min: Seconds(one.width_min.0.max(other.width_min.0)),
        width_max: Seconds(one.width_max.0.min(other.width_max.0)),
        current: Amperes(one.current.0.min(other.current.0)),
        pulses_per_cell: one.pulses_per_cell.min(other.pulses_per_cell),
        dose_per_cell: VoltSeconds(one.dose_per_cell.0.min(other.dose_per_cell.0)),
        energy_per_cell: Joules(one.energy_per_cell.0.min(other.energy_per_cell.0)),
    }
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

    fn refused_by(volts: f32, scheme: Scheme) -> Option<LimitName> {
        match check_pulse_volts(Volts(volts), scheme, &LIMITS, &BOARD) {
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
        assert_eq!(check_pulse_volts(Volts(4.0), Scheme::Grounded, &LIMITS, &board), Ok(()));
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for volts in [f32::NAN, f32::INFINITY] {
            assert!(check_pulse_volts(Volts(volts), Scheme::Half, &LIMITS, &BOARD).is_err(), "{volts}");
            assert!(check_read_volts(Volts(volts), &LIMITS, &BOARD).is_err(), "{volts}");
        }
        // A pulse of nothing is no pulse; a row at 0 V is how noise and offsets are measured.
        assert!(check_pulse_volts(Volts(0.0), Scheme::Half, &LIMITS, &BOARD).is_err());
        assert!(check_read_volts(Volts(0.0), &LIMITS, &BOARD).is_ok());
        assert!(check_width(Seconds(f32::NAN), &LIMITS).is_err());
        assert!(passes_current(Amperes(f32::NAN), &LIMITS));
    }

    #[test]
    fn a_width_is_kept_between_its_limits_and_comes_out_in_nanoseconds() {
        assert_eq!(check_width(Seconds(100e-6), &LIMITS), Ok(100_000));
        assert_eq!(check_width(Seconds(1.0), &LIMITS), Ok(1_000_000_000));
        assert!(check_width(Seconds(4.9e-6), &LIMITS).is_err());
        assert!(check_width(Seconds(1.1), &LIMITS).is_err());
    }

    #[test]
    fn products_are_held_to_the_read_limit_row_by_row() {
        let code = |volts: f32| row_code(Volts(volts), &BOARD).unwrap().to_le_bytes();
        let fine = [code(0.2), code(-0.47)].concat();
        assert_eq!(check_read_codes(&fine, &LIMITS, &BOARD), Ok(()));
        let harmful = [code(0.2), code(-0.49)].concat();
        assert!(matches!(
            check_read_codes(&harmful, &LIMITS, &BOARD),
            Err(Refusal::Limit { limit: LimitName::Read, .. })
        ));
    }

    #[test]
    fn limits_only_tighten() {
        let tighter = Limits { cell: Volts(2.0), pulses_per_cell: 5, ..LIMITS };
        assert_eq!(tightened(&tighter, &LIMITS), Ok(()));
        assert!(tightened(&LIMITS, &tighter).is_err());
        assert!(tightened(&Limits { dose_per_cell: VoltSeconds(1.1), ..LIMITS }, &LIMITS).is_err());
        assert!(tightened(&Limits { energy_per_cell: Joules(f32::NAN), ..LIMITS }, &LIMITS).is_err());
        assert_eq!(super::tighter(tighter, LIMITS), tighter);
        assert_eq!(super::tighter(LIMITS, tighter), tighter);
        assert!(tightened(&Limits { read: Volts(f32::NAN), ..LIMITS }, &LIMITS).is_err());
        assert!(tightened(&Limits { width_min: Seconds(1e-6), ..LIMITS }, &LIMITS).is_err());
    }

    proptest! {
        #[test]
        fn a_row_code_is_within_half_a_step_or_refused(volts in -20.0f32..20.0) {
            match row_code(Volts(volts), &BOARD) {
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
