//! What a pulse is expected to do to a cell, and what is learned from what it did.
//!
//! A cell's step differs from its neighbour's and from what is written about its technology, and scatters from pulse to
//! pulse. So each law has a gain for the array, which the first pulses of all cells correct, and each cell one of its
//! own, which starts there and follows the cell's own pulses: as a mean over them with the array's gain for a start, the
//! first in weight like some of them.

use super::verify::Reading;
use ohmrig_protocol::message::{DoseLaw, Model};

/// Part of the way to the target that one pulse is meant to go. Where an effect scatters by the factor 1 ± s, the distance
/// left is smallest in the mean square with 1/(1 + s²); s = 0.4 (Gong, Rasch et al., IEDM 2022: 0.22 to 0.42) gives 0.86.
const AIM: f32 = 0.86;

/// A pulse leaves at least this part of the range to the bound: nearer, the bound isn't known well enough.
const LEAST_LEFT: f32 = 0.02;

/// Pulses that the start of a cell's gain counts for: scatter² over spread², with 0.4 between pulses and 0.3 between
/// devices (Gokmen & Vlasov, Front. Neurosci. 2016), and of the array's gain and exponent.
const CELL_PRIOR: f32 = 1.8;
const ARRAY_PRIOR: f32 = 4.0;
/// Cells over which the array's numbers are a mean; then they follow.
const ARRAY_MEMORY: u16 = 200;

/// What a pulse is believed to do at most and at least, against the law.
const GAINS: (f32, f32) = (0.05, 20.0);
const EXPONENTS: (f32, f32) = (0.5, 5.0);

/// x^y for positive x.
fn power(x: f32, y: f32) -> f32 {
    libm::expf(y * libm::logf(x))
}

/// What an array has taught about one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Experience {
    gain: f32,
    /// To be added to the law's.
    exponent: f32,
    cells: u16,
}

impl Experience {
    pub(super) const NONE: Self = Self { gain: 1.0, exponent: 0.0, cells: 0 };
}

/// One direction of the cell at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lesson {
    gain: f32,
    pulses: u16,
}

impl Lesson {
    pub(super) fn start(experience: &Experience) -> Self {
        Self { gain: experience.gain, pulses: 0 }
    }
}

/// A pulse about to be given or just given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempt {
    pub(super) amplitude: f32,
    /// Conductance before it, S.
    before: f32,
    /// ln of its overdrive against the reference.
    overdrive: f32,
    /// Dose by the law.
    dose: f32,
    /// Change of the conductance, S.
    move_s: f32,
}

/// A model in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direction<'a> {
    law: &'a DoseLaw,
    /// What the pulses approach, S.
    bound: f32,
    range: f32,
    melting: bool,
}

impl<'a> Direction<'a> {
    pub(super) fn of(model: &'a Model, set: bool) -> Self {
        let (law, bound) = if set { (&model.set, model.ceiling.0) } else { (&model.reset, model.floor.0) };
        Self { law, bound, range: model.ceiling.0 - model.floor.0, melting: model.melting && !set }
    }

    /// The largest amplitude.
    pub(super) fn stop(&self) -> f32 {
        self.law.stop.0
    }

    fn exponent(&self, experience: &Experience) -> f32 {
        (self.law.exponent + experience.exponent).clamp(EXPONENTS.0, EXPONENTS.1)
    }

    /// Distance to the bound, S.
    #[inline(never)]
    fn distance(&self, conductance: f32) -> f32 {
        libm::fabsf(conductance - self.bound).max(LEAST_LEFT * self.range)
    }

    /// The pulse that should bring a cell from `before` to `target`.
    pub(super) fn attempt(
        &self,
        experience: &Experience,
        lesson: &Lesson,
        before: f32,
        target: f32,
    ) -> Attempt {
        let from = self.distance(before);
        let to = self.distance(target);
        let wanted = if self.melting {
            libm::logf(self.range / to)
        } else {
            libm::logf(from / (from - AIM * (from - to)).max(LEAST_LEFT * self.range))
        };
        let exponent = self.exponent(experience);
        let own = self.law.dose * lesson.gain;
        let (threshold, swing) = (self.law.threshold.0, self.law.reference.0 - self.law.threshold.0);
        // A dose of nothing would have no logarithm.
        let overdrive = power((wanted / own).max(1e-6), 1.0 / exponent);
        let amplitude = (threshold + swing * overdrive).min(self.law.stop.0);
        let overdrive = libm::logf(((amplitude - threshold) / swing).max(1e-3));
        let dose = own * libm::expf(exponent * overdrive);
        Attempt { amplitude, before, overdrive, dose, move_s: from * (1.0 - libm::expf(-dose)) }
    }

    /// Learns from where the pulse has brought the cell.
    pub(super) fn learn(
        &self,
        experience: &mut Experience,
        lesson: &mut Lesson,
        attempt: &Attempt,
        after: &Reading,
    ) {
        lesson.pulses = lesson.pulses.saturating_add(1);
        let moved = libm::fabsf(attempt.before - self.bound) - libm::fabsf(after.conductance - self.bound);
        if self.melting {
            let reached = |conductance| libm::logf(self.range / self.distance(conductance));
            let ratio = reached(after.conductance) / attempt.dose;
            if moved > 3.0 * after.uncertainty {
                // Where a melted cell ends hardly scatters.
                lesson.gain *= 1.0 + 0.8 * (ratio.clamp(0.2, 5.0) - 1.0);
            } else if ratio < 1.0 {
                // It would have ended above where it was.
                lesson.gain *= ratio.max(0.5);
            } else {
                return;
            }
        } else {
            // A move that drowns in the noise of the reads teaches little.
            let noise = 3.0 * after.uncertainty;
            let clear = attempt.move_s * attempt.move_s;
            let weight = clear / (clear + noise * noise);
            let surprise = (moved / attempt.move_s).clamp(0.0, 4.0) - 1.0;
            if lesson.pulses == 1 {
                experience.cells = (experience.cells + 1).min(ARRAY_MEMORY);
                let weight = weight / (ARRAY_PRIOR + f32::from(experience.cells));
                experience.gain = (experience.gain * (1.0 + weight * surprise)).clamp(GAINS.0, GAINS.1);
                let lever = attempt.overdrive / (1.0 + attempt.overdrive * attempt.overdrive);
                experience.exponent += weight * surprise * lever;
            }
            lesson.gain *= 1.0 + weight * surprise / (CELL_PRIOR + f32::from(lesson.pulses));
        }
        lesson.gain = lesson.gain.clamp(GAINS.0, GAINS.1);
    }
}
