//! The shield's values and what follows from them: codes, voltages, limits, times. One table, each with its source.
//!
//! Published are the schematic and layout (`OpenMiMA_PCB/Memristor_shield/memristor_shield/memristor_shield.kicad_sch`, `.kicad_pcb`), the
//! firmware (`OpenMiMA_firmware/memristor_rev/memristor_rev.ino`) and the host scripts (`OpenMiMA_python_API/memristor_main.py`) of
//! github.com/ali20480/OpenMENA, commit 920fb67. The schematic gives few resistors a value; what it leaves open is *assumed* here,
//! and `docs/openmena.md` lists it.

use crate::chips::ad5593r::DacCode;
use crate::front_end::{LineSpan, PulseEdge, Settle};
use ohmrig_protocol::message::{Converters, Limits, Scheme};
use ohmrig_protocol::units::{Amperes, Joules, Ohms, Seconds, VoltSeconds, Volts};

/// Rows and columns (connectors J8 and J9 of the schematic).
pub const LINES: u16 = 8;

/// V_REF of the AD5593R, V (`Vref_dac` in the firmware).
const REFERENCE_VOLTS: f32 = 1.5;
/// Virtual ground of rows and columns, V (`virt_gnd` in the firmware): the middle of the row DACs, and 0 V everywhere else here.
const VIRTUAL_GROUND_VOLTS: f32 = 0.75;
/// Row volts per code (Linux `ad5592r-base.c`: V_REF / 2¹²).
const DAC_STEP_VOLTS: f32 = REFERENCE_VOLTS / 4096.0;
/// Lowest voltage of the microcontroller's DAC, against ground, V (`min_due_volt` in the firmware).
const BIAS_LOWEST_VOLTS: f32 = 0.545;
/// From there to the highest, V (0.665 · 3.3 V in the firmware's `WEIGHTMODIF`).
const BIAS_WIDTH_VOLTS: f32 = 0.665 * 3.3;
/// Its largest code (the same).
const BIAS_TOP: f32 = 4095.0;

/// From a row or column to virtual ground, Ω: beside R9 in the schematic; R1 to R8, which carry no value, are *assumed* to be as R9 to R16.
const SHUNT_OHMS: f32 = 680.0;
/// Closed DG442, Ω. *Assumed*: no data sheet specifies it at 3.3 V (Vishay 70053: 50 Ω typical at ±15 V; Maxim DG444/DG445: 100 Ω
/// typical at 12 V).
const SWITCH_OHMS: f32 = 150.0;
/// Gain resistor of an INA333, Ω. *Assumed*: R21 to R28 carry no value.
const GAIN_OHMS: f32 = 2200.0;
/// Gain (Texas Instruments SBOS445: 1 + 100 kΩ / R_G).
const GAIN: f32 = 1.0 + 100e3 / GAIN_OHMS;
/// What of a row driver's voltage reaches the row.
const ROW_SHARE: f32 = SHUNT_OHMS / (SHUNT_OHMS + SWITCH_OHMS);

/// Range of the microcontroller's ADC, V, over 2¹² codes (3.3 V, `analogReadResolution(12)` in the firmware).
const ADC_VOLTS: f32 = 3.3;
/// Code of an amplifier without current: R29 and R30 divide 3.3 V. *Assumed* to be equal; only 560 is written, beside R29.
pub(super) const ZERO_CODE: u16 = 2048;
/// How far a board's own may be from it: so that the linear range below is inside the amplifier's.
pub(super) const ZERO_TOLERANCE: u16 = 90;
/// Conversions whose mean is taken for it.
pub(super) const ZERO_CONVERSIONS: u16 = 16;
/// Largest distance from it that is told: an INA333 gets within 50 mV, 62 codes, of its supplies (SBOS445, first page).
const ADC_LINEAR: u16 = 1_880;

/// Codes against SI units. The feedback is that of shunt and amplifier, for the voltage that was asked of the row driver.
pub(super) const CONVERTERS: Converters = Converters {
    dac_step: Volts(DAC_STEP_VOLTS),
    dac_zero: 0x800,
    adc_step: Volts(ADC_VOLTS / 4096.0),
    adc_linear: ADC_LINEAR,
    feedback: [Ohms(SHUNT_OHMS * GAIN * ROW_SHARE), Ohms(0.0), Ohms(0.0), Ohms(0.0)],
    reference: Ohms(0.0),
};

/// What the shield allows at most. A cell: what a row and a column driver apart can do. A half-selected cell: either of
/// them. Reads: twice the published 50 mV (`max_volt_read` in `memristor_main.py`). Widths: from where an interrupt's latency is a few
/// per cent to what passes before anybody looks. Current: what the makers of such devices allow (knowm.org/memristors/memristor-faq:
/// 1 mA for W). In all: a million pulses of 1 ms at 1.5 V and 1 mA.
pub const LIMITS: Limits = Limits {
    cell: Volts(1.53),
    half_select: Volts(0.775),
    read: Volts(0.1),
    width_min: Seconds(20e-6),
    width_max: Seconds(0.1),
    current: Amperes(1e-3),
    pulses_per_cell: 1_000_000,
    dose_per_cell: VoltSeconds(1.53e3),
    energy_per_cell: Joules(1.53),
};

/// The selected column against the selected row, as the published firmware writes, or the row alone. Not the others: one
/// DAC would have to hold seven columns, each at 680 Ω to virtual ground, and no line can be disconnected.
pub const SCHEMES: [Scheme; 2] = [Scheme::SymmetricHalf, Scheme::Grounded];

/// What rows can be put to.
pub(super) const ROW_SPAN: LineSpan = LineSpan {
    lowest: Volts(-VIRTUAL_GROUND_VOLTS),
    highest: Volts(REFERENCE_VOLTS - DAC_STEP_VOLTS - VIRTUAL_GROUND_VOLTS),
};
/// What columns can be put to.
pub(super) const COLUMN_SPAN: LineSpan = LineSpan {
    lowest: Volts(BIAS_LOWEST_VOLTS - VIRTUAL_GROUND_VOLTS),
    highest: Volts(BIAS_LOWEST_VOLTS + BIAS_WIDTH_VOLTS - VIRTUAL_GROUND_VOLTS),
};

/// The nearest code of a row; `None` outside [`ROW_SPAN`].
pub(super) fn row_code(volts: f32) -> Option<DacCode> {
    nearest((volts + VIRTUAL_GROUND_VOLTS) / DAC_STEP_VOLTS, 4095.0).and_then(DacCode::new)
}

/// The nearest code of the column driver; `None` outside [`COLUMN_SPAN`].
pub(super) fn bias_code(volts: f32) -> Option<u16> {
    nearest((volts + VIRTUAL_GROUND_VOLTS - BIAS_LOWEST_VOLTS) * (BIAS_TOP / BIAS_WIDTH_VOLTS), BIAS_TOP)
}

fn nearest(steps: f32, top: f32) -> Option<u16> {
    let code = libm::floorf(steps + 0.5);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Just checked.
    (0.0..=top).contains(&code).then_some(code as u16)
}

/// One channel of the ADC, ns. *Assumed*: a SAM3X takes 1 µs and some tracking; any microcontroller can.
const CHANNEL_NS: u32 = 2_000;
/// Eight of them, one after the other.
pub const CONVERSION_NS: u32 = LINES as u32 * CHANNEL_NS;
/// No conversion takes as long.
pub(super) const CONVERSION_TIMEOUT_NS: u32 = 8 * CONVERSION_NS;

/// The DACs and the switches, ns: an AD5593R settles within 6 µs (data sheet, first pages), a DG442 switches in 0.25 µs (70053).
const DRIVE_NS: u32 = 10_000;
/// The amplifiers: 3.3 V at 0.16 V/µs, and what 35 kHz at gain 10 (Texas Instruments SLAA486B, table of amplifiers) leave at
/// this gain, 21.1 µs, times ln 2¹³ = 9.01, so that half a code of full scale is left; ns.
const SENSE_NS: u32 = 20_625 + 190_350;

/// A pulse's edge: those 6 µs, to half a step of 4096.
pub(super) const PULSE_EDGE: PulseEdge =
    PulseEdge { slew_v_per_us: f32::INFINITY, lag_us: 6.0 / 9.0, flat_ns: 0 };
/// Nothing to wait for.
pub(super) const NONE: Settle = Settle { ns: 0 };
/// Lines have moved, and are only driven.
pub(super) const DRIVE: Settle = Settle { ns: DRIVE_NS };
/// Lines have moved, and will be read.
pub const READ: Settle = Settle { ns: DRIVE_NS + SENSE_NS };
/// From an edge until the selected column's current can be told, ns.
pub(super) const REPORT_AFTER_NS: u32 = READ.ns;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_amplifiers_time_is_that_of_their_bandwidth() {
        let tau_ns = 1e9 * f64::from(GAIN) / (2.0 * core::f64::consts::PI * 350e3);
        let needed = 3.3 / 0.16 * 1e3 + tau_ns * 8192f64.ln();
        assert!((f64::from(SENSE_NS) - needed).abs() < 100.0, "{needed}");
    }

    #[test]
    fn lines_are_within_half_a_step_or_refused() {
        for tenth_mv in -7500..7496 {
            let volts = tenth_mv as f32 * 1e-4;
            let code = row_code(volts).unwrap();
            let number = (0..4096).find(|&number| DacCode::new(number) == Some(code)).unwrap();
            assert!(
                (f32::from(number) * DAC_STEP_VOLTS - VIRTUAL_GROUND_VOLTS - volts).abs()
                    <= 0.501 * DAC_STEP_VOLTS
            );
        }
        for volts in [0.75, -0.7503, f32::NAN, f32::INFINITY] {
            assert_eq!(row_code(volts), None, "{volts}");
        }
        let at = |code: u16| {
            BIAS_LOWEST_VOLTS + f32::from(code) / BIAS_TOP * BIAS_WIDTH_VOLTS - VIRTUAL_GROUND_VOLTS
        };
        for volts in [-0.2, 0.0, 0.75, 1.9] {
            assert!((bias_code(volts).map_or(9.0, at) - volts).abs() <= 0.501 * BIAS_WIDTH_VOLTS / BIAS_TOP);
        }
        assert_eq!(bias_code(-0.206), None);
        assert_eq!(bias_code(2.0), None);
    }

    #[test]
    fn the_linear_range_is_inside_the_amplifiers_for_every_zero_that_is_accepted() {
        let code = |volts: f32| volts / ADC_VOLTS * 4096.0;
        assert!(f32::from(ZERO_CODE - ZERO_TOLERANCE - ADC_LINEAR) > code(0.05));
        assert!(f32::from(ZERO_CODE + ZERO_TOLERANCE + ADC_LINEAR) < code(3.25));
    }
}
