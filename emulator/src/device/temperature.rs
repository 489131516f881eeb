//! How conductance follows the temperature.

use serde::{Deserialize, Serialize};

/// Conductance temperature coefficients: `G(T) = G·exp(α·(T − 298.15 K))`, α a straight line between its values at the
/// bounds of the technology, plus each device's own deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemperatureCoefficient {
    /// Mean α at the lower bound (1/K).
    pub lowest_per_k: f64,
    /// Mean α at the upper bound (1/K).
    pub highest_per_k: f64,
    /// Device-to-device standard deviation of α (1/K).
    pub spread_per_k: f64,
}

/// The temperature at which profiles state their conductances (K).
pub const REFERENCE_KELVIN: f64 = 298.15;

impl TemperatureCoefficient {
    /// α at `position` between the bounds, for a device `draw` spreads off the mean (1/K).
    pub(super) fn per_k(&self, position: f64, draw: f64) -> f64 {
        let mean = self.lowest_per_k + (self.highest_per_k - self.lowest_per_k) * position.clamp(0.0, 1.0);
        mean + self.spread_per_k * draw
    }

    /// The factor on its conductance.
    pub(super) fn factor(&self, position: f64, draw: f64, kelvin: f64) -> f64 {
        libm::exp(self.per_k(position, draw) * (kelvin - REFERENCE_KELVIN))
    }
}
