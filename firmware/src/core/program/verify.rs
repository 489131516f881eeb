//! What a read of the cell at hand says: conductance, uncertainty, and inside, outside or not yet clear.
//!
//! A cell is read at +V and −V; half the difference has no offset of driver, amplifier or converter in it, nor any even
//! part of the cell's current. A cell whose offset is known from an earlier such read, and which turns out far from
//! its target at one polarity, isn't read at the other. How often is decided by the window and by the scatter of the codes themselves: a cell
//! far off gets a pulse after the first round, one near the edge is averaged until it is clear on which side it is.

use super::super::acquire::Sums;

/// A cell is outside at once when it is this many standard uncertainties outside, and inside when it is this many
/// inside. The price of a wrong "outside" is a pulse, that of a wrong "inside" a cell off its target.
const CLEAR: f32 = 3.0;

/// A cell this many windows off its target gets its pulse after one polarity.
const FAR: f32 = 4.0;

/// Whether a cell that one polarity finds `error` off its target needn't be read at the other.
pub(super) fn is_far(reading: &Reading, error: f32, window: f32) -> bool {
    libm::fabsf(error) > FAR * window + 2.0 * CLEAR * reading.uncertainty
}

/// Sums at both polarities of the cell's row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pair {
    plus: Sums,
    minus: Sums,
}

/// What a read means for the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Average more.
    Unclear,
    Inside,
    Outside,
    /// Averaged as much as allowed, and its uncertainty is still more than half the window.
    Noisy,
    Saturated,
}

/// A conductance with its standard uncertainty, S.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) conductance: f32,
    pub(super) uncertainty: f32,
}

impl Pair {
    pub(super) fn add(&mut self, minus: bool, code: i16, linear: u16) {
        if minus { &mut self.minus } else { &mut self.plus }.add(code, linear);
    }

    /// Conversions at one polarity.
    pub(super) fn count(&self, minus: bool) -> u32 {
        if minus { self.minus.count } else { self.plus.count }
    }

    /// With `siemens_per_code` for a read at +V.
    pub(super) fn reading(&self, siemens_per_code: f32) -> Reading {
        let scale = 0.5 * siemens_per_code;
        let variance = self.plus.variance_of_mean() + self.minus.variance_of_mean();
        Reading {
            conductance: (self.plus.mean() - self.minus.mean()) * scale,
            uncertainty: libm::sqrtf(variance) * libm::fabsf(scale),
        }
    }

    /// What both polarities have in common, codes.
    pub(super) fn offset(&self) -> f32 {
        0.5 * (self.plus.mean() + self.minus.mean())
    }

    /// What one polarity says if the other has not been read, with an offset from earlier.
    pub(super) fn half(&self, minus: bool, offset: f32, siemens_per_code: f32) -> Option<Reading> {
        let (sums, other) = if minus { (&self.minus, &self.plus) } else { (&self.plus, &self.minus) };
        if other.count > 0 || sums.saturated {
            return None;
        }
        let scale = if minus { -siemens_per_code } else { siemens_per_code };
        Some(Reading {
            conductance: (sums.mean() - offset) * scale,
            uncertainty: libm::sqrtf(sums.variance_of_mean()) * libm::fabsf(scale),
        })
    }

    /// Judges a reading that is `error` off its target; `last` when it can't be made longer.
    pub(super) fn judge(&self, reading: &Reading, error: f32, window: f32, last: bool) -> Verdict {
        let excess = libm::fabsf(error) - window;
        if self.plus.saturated || self.minus.saturated {
            Verdict::Saturated
        } else if libm::fabsf(excess) >= CLEAR * reading.uncertainty {
            if excess > 0.0 { Verdict::Outside } else { Verdict::Inside }
        } else if !last {
            Verdict::Unclear
        } else if 2.0 * reading.uncertainty > window {
            Verdict::Noisy
        } else if excess > 0.0 {
            Verdict::Outside
        } else {
            Verdict::Inside
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pair(plus: [i16; 4], minus: [i16; 4]) -> Pair {
        let mut pair = Pair::default();
        for code in plus {
            pair.add(false, code, 1000);
        }
        for code in minus {
            pair.add(true, code, 1000);
        }
        pair
    }

    #[test]
    fn an_offset_common_to_both_polarities_cancels() {
        let without = pair([-200, -201, -199, -200], [200, 201, 199, 200]).reading(-1e-8);
        let with = pair([-170, -171, -169, -170], [230, 231, 229, 230]).reading(-1e-8);
        assert_eq!(without, with);
        assert!((without.conductance - 2e-6).abs() < 1e-12);
    }

    #[test]
    fn with_a_known_offset_one_polarity_says_the_same_as_both() {
        let both = pair([-170, -171, -169, -170], [230, 231, 229, 230]);
        let mut plus = Pair::default();
        for code in [-170, -171, -169, -170] {
            plus.add(false, code, 1000);
        }
        let half = plus.half(false, both.offset(), -1e-8).unwrap();
        assert!((half.conductance - both.reading(-1e-8).conductance).abs() < 1e-12);
        assert_eq!(both.half(false, 30.0, -1e-8), None);
    }

    #[test]
    fn only_a_read_near_the_edge_is_made_longer() {
        let pair = pair([-200, -210, -190, -200], [200, 210, 190, 200]);
        let reading = pair.reading(-1e-8);
        // Scatter 8.2 codes, of both means together 5.8, of half the difference 2.9: 29 nS.
        let judge = |error: f32, last| pair.judge(&reading, error, 2e-7, last);
        assert!((reading.uncertainty - 2.9e-8).abs() < 1e-9);
        assert_eq!(judge(-4e-7, false), Verdict::Outside);
        assert_eq!(judge(1e-7, false), Verdict::Inside);
        assert_eq!(judge(2.5e-7, false), Verdict::Unclear);
        assert_eq!(judge(-2.5e-7, true), Verdict::Outside);
        assert_eq!(judge(1.9e-7, true), Verdict::Inside);
    }

    #[test]
    fn a_cell_noisier_than_the_window_is_called_so_and_not_inside() {
        let pair = pair([-200, -400, -10, -200], [200, 400, 10, 200]);
        let reading = pair.reading(-1e-8);
        assert_eq!(pair.judge(&reading, 0.0, 1e-7, false), Verdict::Unclear);
        assert_eq!(pair.judge(&reading, 0.0, 1e-7, true), Verdict::Noisy);
        assert_eq!(pair.judge(&reading, 1e-5, 1e-7, false), Verdict::Outside);
    }

    #[test]
    fn one_sample_beyond_the_linear_range_is_the_verdict() {
        let pair = pair([-200, -200, -200, -1001], [200; 4]);
        assert_eq!(pair.judge(&pair.reading(-1e-8), 0.0, 1e-6, false), Verdict::Saturated);
    }
}
