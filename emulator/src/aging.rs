//! What a device does by itself after its last pulse: relaxation within seconds to days, drift, and loss of retention.
//!
//! All are functions of the time since that pulse, so that a read a second later and one a year later cost the same.

use serde::{Deserialize, Serialize};

use crate::device::REFERENCE_KELVIN;
use crate::profile::DeviceProfile;
use crate::random::Random;

/// ln of one day in seconds, the second time at which relaxation is stated.
const LN_DAY: f64 = 11.366_742_954_792_146;
/// The least relative growth of the time since the last pulse for which a conductance is worked out anew: one part in
/// a hundred, which moves a device by a hundredth of its change per e-fold of time.
const TIME_STEP: f64 = 1e-2;

/// Relaxation to a value that differs by a normal draw of growing size, the same draw until the next pulse:
/// `G(t) = max(0, G_p + mean + σ·ξ)`, with r = G_p / maximum_s, t the time since the last pulse in s,
/// `σ = max(0, σ_1s(r) + (σ_1day(r) − σ_1s(r))·ln t / ln 86400)` and `mean = mean_per_e_fold_s · max(0, ln t)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relaxation {
    /// Coefficients of σ (S) after one second in powers 0 to 4 of r.
    pub spread_1_second_s: [f64; 5],
    /// Coefficients of σ (S) after one day in powers 0 to 4 of r.
    pub spread_1_day_s: [f64; 5],
    /// Change of the mean per e-fold of time, from one second on (S).
    pub mean_per_e_fold_s: f64,
}

/// Drift `G(t) = G_p·((t + t0)/t0)^−ν` with `ν = |μ + σ·ξ|`, drawn at each pulse; μ and σ are straight lines in
/// ln(G_p / maximum_s) between bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// Time constant t0 (s).
    pub t0_s: f64,
    /// Mean of ν.
    pub mean: LogLine,
    /// Standard deviation of ν.
    pub spread: LogLine,
}

/// Thermally activated loss of what was programmed: the conductance approaches its rest value as
/// `G_rest + (G_p − G_rest)·e^(−∫dt/τ(T))` with `τ(T) = τ·exp(E/k·(1/T − 1/298.15 K))` (Arrhenius), τ log-normal between
/// devices. Fresh arrays are at rest already.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Median of τ at 298.15 K (s).
    pub time_s: f64,
    /// Device-to-device standard deviation of ln τ.
    pub spread: f64,
    /// Activation energy E (eV).
    pub activation_ev: f64,
    /// G_rest, as a position in the device's own range.
    pub rest_position: f64,
}

/// Boltzmann's constant (eV/K; exact in the SI of 2019).
const BOLTZMANN_EV: f64 = 8.617_333_262e-5;

impl Retention {
    /// How many seconds at 298.15 K one second at `kelvin` is worth.
    pub fn acceleration(&self, kelvin: f64) -> f64 {
        libm::exp(self.activation_ev / BOLTZMANN_EV * (1.0 / REFERENCE_KELVIN - 1.0 / kelvin))
    }
}

/// An instant, as devices that age see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// Time (ns).
    pub at_ns: u64,
    /// Time so far as retention counts it: seconds at 298.15 K that do the same.
    pub thermal_s: f64,
    /// How fast that runs now.
    pub acceleration: f64,
}

/// `clamp(slope·ln r + offset, lowest, highest)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// Per unit of ln r.
    pub slope: f64,
    /// At r = 1.
    pub offset: f64,
    /// Lower bound.
    pub lowest: f64,
    /// Upper bound.
    pub highest: f64,
}

impl LogLine {
    fn at(&self, r: f64) -> f64 {
        (self.slope * libm::log(r.max(1e-7)) + self.offset).clamp(self.lowest, self.highest)
    }
}

impl Relaxation {
    /// Standard deviation (S) at relative conductance `r`, `t_s` after the last pulse.
    pub fn spread(&self, r: f64, t_s: f64) -> f64 {
        let at = |c: &[f64; 5]| c.iter().rev().fold(0.0, |sum, c| sum * r + c);
        let (second, day) = (at(&self.spread_1_second_s), at(&self.spread_1_day_s));
        (second + (day - second) * libm::log(t_s) / LN_DAY).max(0.0)
    }
}

/// A device since its last pulse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Age {
    /// Right after the pulse (S).
    programmed_s: f64,
    programmed_at_ns: u64,
    /// The same as retention counts it (s).
    programmed_thermal_s: f64,
    /// Standard normal draw of the relaxation.
    relaxation: f64,
    /// Standard normal draw of the drift exponent.
    exponent: f64,
    /// When the conductance has to be worked out again.
    due_ns: u64,
}

impl Age {
    /// A pulse has just ended (or goes on: the draws of `before` then stay).
    pub fn start(conductance_s: f64, clock: Clock, before: Option<&Self>, random: &mut Random) -> Self {
        let (relaxation, exponent) = match before {
            Some(before) => (before.relaxation, before.exponent),
            None => (random.normal(), random.normal()),
        };
        let Clock { at_ns, thermal_s, .. } = clock;
        let (programmed_s, due_ns) = (conductance_s, at_ns + 1);
        Self {
            programmed_s,
            programmed_at_ns: at_ns,
            programmed_thermal_s: thermal_s,
            relaxation,
            exponent,
            due_ns,
        }
    }

    /// ν since the pulse, before any loss of retention.
    pub fn drift_exponent(&self, profile: &DeviceProfile) -> Option<f64> {
        let r = self.programmed_s / profile.conductance.maximum_s;
        profile.drift.map(|drift| libm::fabs(drift.mean.at(r) + drift.spread.at(r) * self.exponent))
    }

    /// When the conductance has to be worked out again (ns).
    pub fn due_ns(&self) -> u64 {
        self.due_ns
    }

    /// Has the conductance worked out again at once.
    pub fn hasten(&mut self) {
        self.due_ns = 0;
    }

    /// Something other than time has moved the device by `by_s` (S).
    pub fn shift(&mut self, by_s: f64) {
        self.programmed_s = (self.programmed_s + by_s).max(0.0);
    }

    /// Conductance (S) of a device that loses retention within `retention_s` towards `rest_s`.
    pub fn conductance(
        &mut self,
        profile: &DeviceProfile,
        clock: Clock,
        retention_s: f64,
        rest_s: f64,
    ) -> f64 {
        let elapsed_ns = clock.at_ns.saturating_sub(self.programmed_at_ns);
        if elapsed_ns == 0 {
            self.due_ns = clock.at_ns.saturating_add(1);
            return self.programmed_s;
        }
        let mut step_ns = elapsed_ns as f64 * TIME_STEP;
        let t_s = elapsed_ns as f64 * 1e-9;
        let mut conductance = self.programmed_s;
        if profile.retention.is_some() {
            let lost = (clock.thermal_s - self.programmed_thermal_s) / retention_s;
            conductance = rest_s + (conductance - rest_s) * libm::exp(-lost);
            step_ns = step_ns.min(TIME_STEP * retention_s / clock.acceleration * 1e9);
        }
        self.due_ns = clock.at_ns.saturating_add(1 + step_ns as u64);
        let maximum_s = profile.conductance.maximum_s;
        let r = conductance / maximum_s;
        if let Some(relaxation) = &profile.relaxation {
            let mean = relaxation.mean_per_e_fold_s * libm::log(t_s).max(0.0);
            conductance = (conductance + mean + relaxation.spread(r, t_s) * self.relaxation).max(0.0);
        }
        if let Some(drift) = &profile.drift {
            let exponent = libm::fabs(drift.mean.at(r) + drift.spread.at(r) * self.exponent);
            conductance *= libm::pow((t_s + drift.t0_s) / drift.t0_s, -exponent);
        }
        conductance
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use alloc::vec::Vec;

    use super::{Age, Clock, LogLine, Retention};
    use crate::profile::{DeviceProfile, Profile};
    use crate::random::Random;

    const US: f64 = 1e-6;

    /// At 298.15 K since time 0.
    fn clock(at_ns: u64) -> Clock {
        Clock { at_ns, thermal_s: at_ns as f64 * 1e-9, acceleration: 1.0 }
    }

    /// A built-in profile's devices, without loss of retention.
    fn keeping(profile: &str) -> DeviceProfile {
        DeviceProfile { retention: None, ..Profile::built_in(profile).unwrap().device }
    }

    /// Conductances of `count` devices programmed to `programmed_s`, `t_s` later.
    fn population(device: &DeviceProfile, programmed_s: f64, t_s: f64, count: usize) -> Vec<f64> {
        let mut random = Random::new(41, 0);
        (0..count)
            .map(|_| {
                let mut age = Age::start(programmed_s, clock(5_000), None, &mut random);
                age.conductance(device, clock(5_000 + (t_s * 1e9) as u64), 1.0, 0.0)
            })
            .collect()
    }

    fn moments(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, libm::sqrt(values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0)))
    }

    /// Five standard errors of mean and standard deviation of `count` normal draws around the published values.
    fn agrees(values: &[f64], mean: f64, deviation: f64) {
        let (got_mean, got_deviation) = moments(values);
        let error = 5.0 * deviation / libm::sqrt(values.len() as f64);
        assert!(libm::fabs(got_mean - mean) < error, "mean {got_mean:e} for {mean:e}");
        let error = error / core::f64::consts::SQRT_2;
        assert!(
            libm::fabs(got_deviation - deviation) < error,
            "deviation {got_deviation:e} for {deviation:e}"
        );
    }

    #[test]
    fn cmo_devices_relax_as_published() {
        // ReRamCMONoiseModel of aihwkit 1.2.0: −0.08900206 ln t ± (0.04201137 ln t + 0.41183342) µS, t in s from 1 s on.
        let device = keeping("rram-cmo");
        for t in [1.0, 60.0, 3_600.0, 86_400.0, 3.15e7] {
            let ln = libm::log(t);
            let values = population(&device, 50.0 * US, t, 20_000);
            agrees(&values, (50.0 - 0.089_002_06 * ln) * US, (0.042_011_37 * ln + 0.411_833_42) * US);
        }
    }

    #[test]
    fn hfox_devices_relax_as_published() {
        // Wan et al. 2022 as fitted in aihwkit 1.2.0 (µS over r = G/40 µS), at two conductances far from zero.
        let device = keeping("rram-hfox");
        for r in [0.5, 0.8] {
            let at = |c: [f64; 5]| c.iter().rev().fold(0.0, |sum, c| sum * r + c) * US;
            let second = at([0.348, 16.030, -43.853, 45.393, -16.815]);
            let day = at([0.701, 22.086, -50.773, 47.095, -16.458]);
            agrees(&population(&device, r * 40.0 * US, 1.0, 20_000), r * 40.0 * US, second);
            agrees(&population(&device, r * 40.0 * US, 86_400.0, 20_000), r * 40.0 * US, day);
        }
    }

    #[test]
    fn pcm_drifts_as_published() {
        // Nandakumar et al. 2019: ν = |μ + σξ|, μ = clamp(−0.0155 ln r + 0.0244, 0.049, 0.1),
        // σ = clamp(−0.0125 ln r − 0.0059, 0.008, 0.045), t0 = 20 s. At r = 0.5 (μ = 0.049 = 6σ) the modulus does nothing.
        let device = keeping("pcm");
        let t = 86_400.0;
        let factor = libm::log((t + 20.0) / 20.0);
        let values: Vec<f64> = population(&device, 12.5 * US, t, 20_000)
            .iter()
            .map(|g| -libm::log(g / (12.5 * US)) / factor)
            .collect();
        agrees(&values, 0.049, 0.008);
        // Low conductances drift more: r = 0.01 has μ = 0.0958, σ = 0.045.
        let values: Vec<f64> = population(&device, 0.25 * US, t, 20_000)
            .iter()
            .map(|g| -libm::log(g / (0.25 * US)) / factor)
            .collect();
        let (mean, _) = moments(&values);
        // The modulus folds 1.7 % of the draws and lifts the mean by less than 1 %.
        assert!(libm::fabs(mean - 0.0958) < 0.0958 * 0.01 + 5.0 * 0.045 / libm::sqrt(20_000.0), "{mean}");
    }

    #[test]
    fn one_device_moves_smoothly_and_for_years_in_one_step() {
        let device = keeping("rram-cmo");
        let mut age = Age::start(50.0 * US, clock(0), None, &mut Random::new(1, 0));
        let mut at = |ns| age.conductance(&device, clock(ns), 1.0, 0.0);
        assert_eq!(at(0), 50.0 * US);
        let mut before = at(1_000);
        // Ten steps per decade from 1 µs to 30 years: at most 0.042 µS · 0.23 · 4 + 0.089 µS · 0.23 each.
        for k in 0..150 {
            let now = at((1e3 * libm::pow(10.0, f64::from(k) / 10.0)) as u64);
            assert!(libm::fabs(now - before) < 0.06 * US);
            before = now;
        }
    }

    #[test]
    fn a_line_in_the_logarithm_stays_between_its_bounds() {
        let line = LogLine { slope: -0.0155, offset: 0.0244, lowest: 0.049, highest: 0.1 };
        assert_eq!((line.at(1.0), line.at(1e-9)), (0.049, 0.1));
    }

    #[test]
    fn retention_is_lost_as_arrhenius_says() {
        // 0.9 eV: from 298.15 K to 358.15 K a factor exp(0.9/k·(1/298.15 − 1/358.15)) = 354.
        let law = Retention { time_s: 1e8, spread: 0.0, activation_ev: 0.9, rest_position: 0.0 };
        let faster = law.acceleration(358.15);
        assert!(libm::fabs(faster / 354.0 - 1.0) < 5e-3, "{faster}");
        assert_eq!(law.acceleration(298.15), 1.0);
        let mut device = keeping("ideal");
        device.retention = Some(law);
        let mut age = Age::start(50.0 * US, clock(0), None, &mut Random::new(1, 0));
        // A third of the median time at 298.15 K, then the rest of one at 358.15 K.
        let hot = Clock { at_ns: 35_000_000_000_000_000, thermal_s: 1e8, acceleration: faster };
        let third = age.conductance(&device, clock(33_333_333_333_333_333), 1e8, 10.0 * US);
        assert!(libm::fabs(third - (10.0 + 40.0 * libm::exp(-1.0 / 3.0)) * US) < 1e-13);
        let whole = age.conductance(&device, hot, 1e8, 10.0 * US);
        assert!(libm::fabs(whole - (10.0 + 40.0 * libm::exp(-1.0)) * US) < 1e-13);
    }
}
