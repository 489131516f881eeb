//! Noise with a 1/f spectrum that goes on between samples, and white noise on top.

use core::f64::consts::{LN_10, TAU};

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// Lorentzians, one per decade of corner frequency from [`LOWEST_HZ`] up: their sum is 1/f within 6 % from there to 100 kHz, flat
/// below. One per decade with equal variance v has the one-sided density v/(f·ln 10) on average over a decade.
const LORENTZIANS: usize = 9;
const LOWEST_HZ: f64 = 1e-3;

/// One noise source, stationary from the start, of density 1/f + white. Time goes forward only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flicker {
    /// Ornstein–Uhlenbeck processes of unit variance, lowest corner frequency first.
    #[serde(with = "bits")]
    states: [f64; LORENTZIANS],
    at_ns: u64,
    random: Random,
    /// Correlation of each state over the last step and the deviation of what is new, for steps of equal length.
    #[serde(skip)]
    step: Option<Step>,
}

impl PartialEq for Flicker {
    fn eq(&self, other: &Self) -> bool {
        (self.states, self.at_ns, &self.random) == (other.states, other.at_ns, &other.random)
    }
}

/// States as their bits: a decimal text may be read back one unit in the last place off.
mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::LORENTZIANS;

    pub(super) fn serialize<S: Serializer>(states: &[f64; LORENTZIANS], to: S) -> Result<S::Ok, S::Error> {
        states.map(f64::to_bits).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[f64; LORENTZIANS], D::Error> {
        Ok(<[u64; LORENTZIANS]>::deserialize(from)?.map(f64::from_bits))
    }
}

#[derive(Clone, Copy, Debug)]
struct Step {
    ns: u64,
    factors: [(f64, f64); LORENTZIANS],
}

impl Step {
    fn new(ns: u64) -> Self {
        let mut corner_hz = LOWEST_HZ;
        let factors = core::array::from_fn(|_| {
            let r = libm::exp(-TAU * corner_hz * (ns as f64 * 1e-9));
            corner_hz *= 10.0;
            (r, libm::sqrt(1.0 - r * r))
        });
        Self { ns, factors }
    }
}

impl Flicker {
    /// At `at_ns`, with random numbers of its own.
    pub(super) fn new(mut random: Random, at_ns: u64) -> Self {
        let states = core::array::from_fn(|_| random.normal());
        Self { states, at_ns, random, step: None }
    }

    /// A sample at `to_ns`, no earlier than the last: flicker noise of `flicker` per √Hz at 1 Hz, and white noise of
    /// standard deviation `white`. Nothing is drawn if both are 0.
    pub(super) fn sample(&mut self, to_ns: u64, flicker: f64, white: f64) -> f64 {
        if flicker == 0.0 && white == 0.0 {
            return 0.0;
        }
        let ns = to_ns.saturating_sub(self.at_ns);
        if ns > 0 {
            self.at_ns = to_ns;
            let step = match self.step {
                Some(step) if step.ns == ns => step,
                _ => *self.step.insert(Step::new(ns)),
            };
            for (state, (r, fresh)) in self.states.iter_mut().zip(step.factors) {
                *state = r * *state + fresh * self.random.normal();
            }
        }
        flicker * libm::sqrt(LN_10) * self.states.iter().sum::<f64>() + white * self.random.normal()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// One-sided density at `hz` from `blocks` stretches of `n` samples `dt_s` apart, each with its mean taken off and
    /// under a Hann window.
    fn density(noise: &mut Flicker, blocks: u32, n: u32, dt_s: f64, hz: f64, now_ns: &mut u64) -> f64 {
        let mut sum = 0.0;
        for _ in 0..blocks {
            let trace: Vec<f64> = (0..n)
                .map(|_| {
                    *now_ns += (dt_s * 1e9) as u64;
                    noise.sample(*now_ns, 2.0, 0.0)
                })
                .collect();
            let mean = trace.iter().sum::<f64>() / f64::from(n);
            let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
            for (k, value) in trace.iter().enumerate() {
                let window = 0.5 - 0.5 * libm::cos(TAU * k as f64 / f64::from(n));
                let angle = TAU * hz * k as f64 * dt_s;
                re += window * (value - mean) * libm::cos(angle);
                im += window * (value - mean) * libm::sin(angle);
                power += window * window;
            }
            sum += 2.0 * dt_s * (re * re + im * im) / power;
        }
        sum / f64::from(blocks)
    }

    /// One-sided density that is claimed at `hz` with samples every `dt_s`: A²/f from 10⁻³·⁵ to 10⁵·⁵ Hz, where half of
    /// it is left, with all that folds back.
    fn claimed(hz: f64, dt_s: f64) -> f64 {
        let rolled_off =
            |f: f64| 2.0 / core::f64::consts::PI * libm::atan(libm::pow(10.0, 5.5) / f) * 4.0 / f;
        let rate = 1.0 / dt_s;
        let near: f64 =
            (1..1_000).map(|k| f64::from(k) * rate).map(|f| rolled_off(f - hz) + rolled_off(f + hz)).sum();
        // Beyond, the sum over k is an integral over f, here in steps of 1 % of f.
        let mut far = 0.0;
        let mut f = 999.5 * rate;
        while f < 1e9 {
            far += 2.0 * rolled_off(1.005 * f) * 0.01 * f / rate;
            f *= 1.01;
        }
        rolled_off(hz) + near + far
    }

    #[test]
    fn its_spectrum_is_a_squared_over_f_at_four_frequencies() {
        for (dt_s, seed) in [(10.0, 1), (0.1, 2), (1e-3, 3), (2e-5, 4)] {
            let mut noise = Flicker::new(Random::new(seed, 0), 0);
            let mut now_ns = 0;
            let blocks = 1_000;
            // 8 periods a stretch: far from what the mean and the window take away.
            let hz = 8.0 / (128.0 * dt_s);
            let found = density(&mut noise, blocks, 128, dt_s, hz, &mut now_ns);
            let expected = claimed(hz, dt_s);
            // A periodogram has a relative standard deviation of 1: five of them over sqrt(1000), and 6 % for the ripple.
            let allowed = 5.0 / libm::sqrt(f64::from(blocks)) + 0.06;
            assert!((found / expected - 1.0).abs() < allowed, "{hz} Hz: {found} {expected}");
        }
    }

    #[test]
    fn samples_close_together_are_alike_and_those_far_apart_are_not() {
        let n = 4_000;
        let mut products = [0.0; 2];
        let mut variance = 0.0;
        for seed in 0..n {
            let mut noise = Flicker::new(Random::new(seed, 1), 0);
            let first = noise.sample(0, 1.0, 0.0);
            products[0] += first * noise.sample(1_000_000, 1.0, 0.0);
            products[1] += first * noise.sample(86_400_000_000_000, 1.0, 0.0);
            variance += first * first;
        }
        let n = n as f64;
        // Nine processes of variance ln 10.
        let expected = 9.0 * LN_10;
        assert!((variance / n / expected - 1.0).abs() < 5.0 * libm::sqrt(2.0 / n));
        // Over 1 ms: Σ exp(−2π·10ᵏ·1 ms)/9 for k from −3 to 5.
        let rho = (-3..=5).map(|k| libm::exp(-TAU * libm::pow(10.0, f64::from(k)) * 1e-3)).sum::<f64>() / 9.0;
        assert!((products[0] / n / expected - rho).abs() < 5.0 * libm::sqrt((1.0 + rho * rho) / n));
        assert!((products[1] / n / expected).abs() < 5.0 / libm::sqrt(n));
    }

    #[test]
    fn at_one_instant_only_the_white_part_differs() {
        let mut noise = Flicker::new(Random::new(1, 1), 0);
        assert_eq!(noise.sample(5, 1.0, 0.0), noise.sample(5, 1.0, 0.0));
        assert_ne!(noise.sample(5, 1.0, 1.0), noise.sample(5, 1.0, 1.0));
        let n = 20_000;
        let square: f64 = (0..n).map(|_| noise.sample(5, 0.0, 3.0)).map(|x| x * x).sum();
        assert!((square / f64::from(n) / 9.0 - 1.0).abs() < 5.0 * libm::sqrt(2.0 / f64::from(n)));
    }

    #[test]
    fn saved_and_restored_it_goes_on_as_if_nothing_had_happened() {
        let mut noise = Flicker::new(Random::new(1, 1), 0);
        noise.sample(1_000, 1.0, 1.0);
        let mut again: Flicker = serde_json::from_str(&serde_json::to_string(&noise).unwrap()).unwrap();
        for at_ns in [2_000, 3_000, 1_000_000] {
            assert_eq!(noise.sample(at_ns, 1.0, 1.0), again.sample(at_ns, 1.0, 1.0));
        }
    }
}
