//! Wear: every switching pulse narrows a device's range a little, until nothing is left.

use serde::{Deserialize, Serialize};

/// After n switching pulses both bounds have moved towards `failure_position` by the fraction `(n/N)^exponent` of their
/// distance; at n ≥ N the device has failed there. N is log-normal between devices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endurance {
    /// Median of N (pulses above threshold, of either direction).
    pub pulses: f64,
    /// Device-to-device standard deviation of ln N.
    pub spread: f64,
    /// How late the range shrinks: 1 = evenly, more = towards the end.
    pub exponent: f64,
    /// Where the bounds meet, as a position in the fresh device's range.
    pub failure_position: f64,
}

impl Endurance {
    /// What is left of the range after `pulses` of a device that lasts for `life`: 1 to 0.
    pub(super) fn left(&self, pulses: u64, life: f64) -> f64 {
        (1.0 - libm::pow(pulses as f64 / life, self.exponent)).max(0.0)
    }
}
