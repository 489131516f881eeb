//! Devices that never worked, and what became of those that did.

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// Fractions of devices that came broken from the fab; each device's fate is drawn independently.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defects {
    /// Fraction of devices stuck at a conductance.
    pub stuck_fraction: f64,
    /// Where stuck devices are, as a position in the device's own range: uniform from here …
    pub stuck_lowest: f64,
    /// … to here.
    pub stuck_highest: f64,
    /// Fraction of devices that don't conduct at all (broken line or via).
    pub open_fraction: f64,
}

/// Whether a device does what the rest of its profile says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It does.
    Sound,
    /// Not formed yet: conducts its pristine conductance until it is.
    Unformed,
    /// Stuck since it was made.
    Stuck,
    /// Doesn't conduct.
    Open,
    /// Its range has shrunk to nothing: it doesn't switch any more.
    Worn,
}

impl Defects {
    /// What becomes of a device, and where it is if it is stuck. Takes two numbers, whatever the outcome.
    pub(super) fn draw(&self, random: &mut Random) -> (Condition, f64) {
        let fate = random.uniform();
        let position = self.stuck_lowest + (self.stuck_highest - self.stuck_lowest) * random.uniform();
        let condition = if fate < self.open_fraction {
            Condition::Open
        } else if fate < self.open_fraction + self.stuck_fraction {
            Condition::Stuck
        } else {
            Condition::Sound
        };
        (condition, position)
    }
}
