//! Phase-change memory: SET crystallises a little more with every pulse, RESET melts and quenches in one.

use serde::{Deserialize, Serialize};

/// How a phase-change device answers pulses, in place of the soft-bounds law.
///
/// SET, x the position in the device's range when the pulse begins:
/// `Δx = dose·(1 + gain·e^(−rate·x)) / (1 + gain)`, the exponential-step model (ExpStep of aihwkit 1.2.0), with the
/// noise `cycle_spread·ξ·(Δx + (cycle_floor + cycle_slope·x)·min(1, dose / step))`.
///
/// RESET leaves the device at `residue + (1 − residue)·e^(−dose) + residue_spread·ξ` (0 at least), or where it was if
/// that is lower. Its dose doesn't depend on the width: melting takes nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseChange {
    /// How many times its last step the first SET step exceeds, less one.
    pub gain: f64,
    /// How fast steps shrink with the position.
    pub rate: f64,
    /// Noise of a SET pulse that doesn't depend on its effect, before `cycle_spread`; as a fraction of the range.
    pub cycle_floor: f64,
    /// The same, per position.
    pub cycle_slope: f64,
    /// Position after a RESET of infinite amplitude.
    pub residue: f64,
    /// Its standard deviation from pulse to pulse.
    pub residue_spread: f64,
}

impl PhaseChange {
    /// Change of the position by a SET pulse that began at `start` and has reached `dose`, for a device whose
    /// reference dose is `step`.
    pub(super) fn crystallised(&self, start: f64, dose: f64, step: f64, spread: f64, draw: f64) -> f64 {
        let moved = dose * (1.0 + self.gain * libm::exp(-self.rate * start)) / (1.0 + self.gain);
        let part = (dose / step).min(1.0);
        moved + spread * draw * (moved + (self.cycle_floor + self.cycle_slope * start) * part)
    }

    /// Position after a RESET of `dose` of a device at `start`.
    pub(super) fn molten(&self, start: f64, dose: f64, draw: f64) -> f64 {
        let left = self.residue + (1.0 - self.residue) * libm::exp(-dose) + self.residue_spread * draw;
        start.min(left.max(0.0))
    }
}
