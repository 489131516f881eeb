//! Electroforming: the one-off, abrupt birth of a filament in a pristine device.

use serde::{Deserialize, Serialize};

/// A pristine device stays at `pristine_s` until a positive voltage u above its SET threshold has lasted for t with
/// `u ≥ V_f − volts_per_decade·log₁₀(t / reference_width_s)`, then jumps to `position` in its range: the voltage–time
/// law of dielectric breakdown. What is left of the pulse then acts as on any other device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forming {
    /// Whether devices of a new array are formed already.
    pub formed: bool,
    /// Conductance before (S).
    pub pristine_s: f64,
    /// Mean forming voltage V_f for a pulse of `reference_width_s` (V).
    pub voltage_v: f64,
    /// Device-to-device standard deviation of V_f, relative to it.
    pub voltage_spread: f64,
    /// Pulse width for which V_f is stated (s).
    pub reference_width_s: f64,
    /// How much less is enough for ten times the width (V).
    pub volts_per_decade: f64,
    /// Mean position in the device's own range after forming.
    pub position: f64,
    /// Standard deviation of that position, drawn when it happens; results outside the range are put at its end.
    pub position_spread: f64,
}

impl Forming {
    /// Whether a device with the forming voltage `own_v` (V) forms at `volts` held for `elapsed_s`.
    pub(super) fn happens(&self, own_v: f64, volts: f64, elapsed_s: f64) -> bool {
        volts >= own_v - self.volts_per_decade * libm::log10(elapsed_s / self.reference_width_s)
    }
}
