//! What voltages below the switching threshold do, half-selected cells' above all.

use serde::{Deserialize, Serialize};

/// Below threshold a device creeps in the direction of the voltage: per reference width its dose is
/// `step · at_threshold · 10^(−(threshold − |V|) / volts_per_decade)`, linear in time; nothing below `from_v`. (Above
/// threshold, `step · at_threshold` per reference width adds to the pulse's dose, so that the whole is continuous.)
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disturb {
    /// Dose right at threshold in a reference width, relative to that of a reference pulse.
    pub at_threshold: f64,
    /// The voltage that makes it ten times more (V).
    pub volts_per_decade: f64,
    /// |V| below which nothing is disturbed (V).
    pub from_v: f64,
}

impl Disturb {
    /// Dose relative to a reference pulse's after `duration_s` at `below_v` under the threshold (0 or more, V).
    pub(super) fn dose(&self, below_v: f64, duration_s: f64, reference_width_s: f64) -> f64 {
        let rate = self.at_threshold * libm::exp10(-below_v / self.volts_per_decade);
        rate * duration_s / reference_width_s
    }
}
