//! The temperature at the board: an Ornstein–Uhlenbeck process around the ambient one, as a function of seed and time
//! alone.
//!
//! Its values at whole seconds come from bisection: nodes 2¹⁶ s apart, 18 time constants, are independent, and each
//! midpoint between two known values is drawn from its conditional distribution given those two (exact for this
//! process, because it is Markov), with a random number that belongs to that second. So it does not matter when, how
//! often and in which order it is asked, and a year ahead costs as much as a second. In between it is linear.

use crate::random::Random;

/// Correlation falls as exp(−t/this), s: temperature changes within an hour. Assumed.
pub const TIME_CONSTANT_S: f64 = 3600.0;

/// Levels of bisection.
const LEVELS: usize = 16;
/// Streams from here on belong to it alone: those of other sources have no such high bit.
const STREAM: u64 = 1 << 63;

/// How one midpoint follows from its neighbours.
#[derive(Clone, Copy, Debug)]
struct Bridge {
    /// Of the sum of both neighbours.
    weight: f64,
    deviation: f64,
}

/// The process.
#[derive(Clone, Debug)]
pub(super) struct Climate {
    deviation_k: f64,
    seed: u64,
    /// By log₂ of the distance to each neighbour, s.
    bridges: [Bridge; LEVELS],
    /// A second with its value and that of the next, K.
    recent: Option<(u64, f64, f64)>,
}

impl Climate {
    /// With standard deviation `deviation_k`.
    pub(super) fn new(deviation_k: f64, seed: u64) -> Self {
        let bridges = core::array::from_fn(|level| {
            // With correlation r to either neighbour: the mean is r/(1 + r²) of their sum, the variance (1 − r²)/(1 + r²).
            let r = libm::exp(-f64::from(1_u32 << level) / TIME_CONSTANT_S);
            Bridge { weight: r / (1.0 + r * r), deviation: libm::sqrt((1.0 - r * r) / (1.0 + r * r)) }
        });
        Self { deviation_k, seed, bridges, recent: None }
    }

    /// Difference to the ambient temperature at `at_ns`, K.
    pub(super) fn deviation(&mut self, at_ns: u64) -> f64 {
        if self.deviation_k == 0.0 {
            return 0.0;
        }
        let (second, rest_ns) = (at_ns / 1_000_000_000, at_ns % 1_000_000_000);
        let (now, next) = match self.recent {
            Some((known, now, next)) if known == second => (now, next),
            _ => {
                let values = (self.at_second(second), self.at_second(second + 1));
                self.recent = Some((second, values.0, values.1));
                values
            }
        };
        self.deviation_k * (now + (next - now) * (rest_ns as f64 * 1e-9))
    }

    fn at_second(&self, second: u64) -> f64 {
        let mut from = second >> LEVELS << LEVELS;
        let mut low = self.normal(from);
        if second == from {
            return low;
        }
        let mut high = self.normal(from + (1 << LEVELS));
        for (level, bridge) in self.bridges.iter().enumerate().rev() {
            let middle = from + (1 << level);
            let value = bridge.weight * (low + high) + bridge.deviation * self.normal(middle);
            if second < middle {
                high = value;
            } else if second == middle {
                return value;
            } else {
                (from, low) = (middle, value);
            }
        }
        low
    }

    /// The random number of a second.
    fn normal(&self, second: u64) -> f64 {
        Random::new(self.seed, STREAM | second).normal()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn it_does_not_matter_when_and_how_often_it_is_asked() {
        let mut often = Climate::new(0.5, 9);
        let trace: Vec<f64> = (0..5_000).map(|k| often.deviation(k * SECOND / 2)).collect();
        let mut once = Climate::new(0.5, 9);
        for k in [4_999_u64, 17, 3_000, 0, 1] {
            assert_eq!(once.deviation(k * SECOND / 2), trace[k as usize]);
        }
        assert_ne!(Climate::new(0.5, 10).deviation(17 * SECOND), trace[34]);
        assert_eq!(Climate::new(0.0, 9).deviation(17 * SECOND), 0.0);
    }

    #[test]
    fn its_spread_and_correlation_are_those_of_the_process() {
        // 4000 seeds, so that the samples are independent: standard errors are σ²·sqrt(2/n) for a variance and
        // sqrt((1 + ρ²)/n) for the correlation of unit normals; five of them.
        let n = 4_000.0;
        for lag_s in [60_u64, 3_600, 7_200, 40_000] {
            let (mut variance, mut covariance) = (0.0, 0.0);
            for seed in 0..4_000 {
                let mut climate = Climate::new(2.0, seed);
                // Across a node of the coarse grid.
                let (a, b) =
                    (climate.deviation(60_000 * SECOND), climate.deviation((60_000 + lag_s) * SECOND));
                variance += a * a / n;
                covariance += a * b / n;
            }
            let rho = libm::exp(-(lag_s as f64) / TIME_CONSTANT_S);
            assert!((variance / 4.0 - 1.0).abs() < 5.0 * libm::sqrt(2.0 / n), "{lag_s}: {variance}");
            let error = 5.0 * libm::sqrt((1.0 + rho * rho) / n);
            assert!((covariance / 4.0 - rho).abs() < error, "{lag_s}: {covariance}");
        }
    }

    #[test]
    fn it_is_continuous_from_one_moment_to_the_next() {
        let mut climate = Climate::new(0.5, 2);
        // Within a second it moves by the process' own step: rms 0.5·sqrt(2/3600) = 12 mK.
        let steps: Vec<f64> = (0..10_000)
            .map(|k| climate.deviation((k + 1) * SECOND) - climate.deviation(k * SECOND))
            .collect();
        let rms = libm::sqrt(steps.iter().map(|step| step * step).sum::<f64>() / 1e4);
        let expected = 0.5 * libm::sqrt(2.0 * (1.0 - libm::exp(-1.0 / TIME_CONSTANT_S)));
        // Independent normal steps but for 1/3600: 1/sqrt(2·10⁴) is one standard error.
        assert!((rms / expected - 1.0).abs() < 5.0 / libm::sqrt(2e4), "{rms}");
        let near = climate.deviation(7 * SECOND + 1) - climate.deviation(7 * SECOND);
        assert!(near.abs() < 1e-9);
    }
}
