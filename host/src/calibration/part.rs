//! What the parts are specified to: half widths, each taken as evenly distributed (GUM 4.3.7).

/// R_cal, relative, and its temperature coefficient, 1/K (the board's design, docs/hardware.md).
pub(super) const R_CAL: f64 = 5e-4;
pub(super) const R_CAL_PER_KELVIN: f64 = 5e-6;
/// Where R_cal has its nominal value.
pub(super) const NOMINAL_K: f64 = 298.15;
/// Two switches of 1.5 Ω typical each (ADGS1414D data sheet rev. 0, first page) and how far each may be off, Ω.
pub(super) const SWITCHES_OHM: f64 = 3.0;
pub(super) const SWITCH_OHM: f64 = 0.5;
/// One switch against another on its chip, and chips against one another, Ω (the same page: match of 0.1 Ω typical; chips assumed,
/// docs/hardware.md), and lines that share a chip.
pub(super) const CHANNEL_OHM: f64 = 0.05;
pub(super) const CHIP_OHM: f64 = 0.25;
pub(super) const LINES_PER_CHIP: usize = 8;
/// The converter's integral nonlinearity, LSB (AD7606C-16 data sheet, first page).
pub(super) const ADC_INL: f64 = 2.0;
/// The feedback resistors' temperature coefficient, 1/K.
pub(super) const FEEDBACK_PER_KELVIN: f64 = 25e-6;

/// Evenly distributed within ±`half_width`.
pub(super) fn even(half_width: f64) -> f64 {
    half_width / 3.0_f64.sqrt()
}
