//! The random numbers of an emulated board, one stream per source.

use serde::{Deserialize, Serialize};

use super::flicker::Flicker;
use crate::random::Random;

/// The board's noise to come, each source with random numbers of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// ADCs.
    pub adc: Random,
    /// Outputs of the row DACs.
    pub dac: Random,
    /// Their common reference.
    pub reference: Flicker,
    /// What the supplies put on every amplifier.
    pub supply: Flicker,
}

/// Streams of the seed.
mod stream {
    pub(super) const ADC: u64 = 0x6164_6373;
    pub(super) const DAC: u64 = 0x6461_636e;
    pub(super) const REFERENCE: u64 = 0x7265_6665;
    pub(super) const SUPPLY: u64 = 0x7375_7070;
}

impl Noise {
    /// From time 0 on.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            adc: Random::new(seed, stream::ADC),
            dac: Random::new(seed, stream::DAC),
            reference: Flicker::new(Random::new(seed, stream::REFERENCE), 0),
            supply: Flicker::new(Random::new(seed, stream::SUPPLY), 0),
        }
    }
}
