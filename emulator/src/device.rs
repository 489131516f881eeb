//! One resistive device: what it was drawn as, and how voltage moves its conductance.

use serde::{Deserialize, Serialize};

use crate::aging::Age;
use crate::profile::{DeviceProfile, PulseResponse, SPREAD_CUT, Switching};
use crate::random::Random;

/// Constants of one device, drawn when the array is made, and the pulse it is in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    lower_s: f64,
    upper_s: f64,
    set: Direction,
    reset: Direction,
    /// The exposure above threshold that is going on.
    stress: Option<Stress>,
    /// Since the last pulse; nothing before the first, since fresh arrays have come to rest.
    age: Option<Age>,
}

/// One device's own numbers for one direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Direction {
    threshold_v: f64,
    step: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Stress {
    set: bool,
    /// How many pieces it has come in.
    pieces: u32,
    /// Time above threshold so far (s).
    elapsed_s: f64,
    /// This pulse's effect relative to the mean pulse.
    effect: f64,
}

/// A normal draw cut at [`SPREAD_CUT`] standard deviations.
fn cut_normal(random: &mut Random) -> f64 {
    loop {
        let draw = random.normal();
        if libm::fabs(draw) <= SPREAD_CUT {
            return draw;
        }
    }
}

impl Device {
    /// A fresh device and its conductance (S).
    pub fn draw(profile: &DeviceProfile, random: &mut Random) -> (Self, f64) {
        let range = &profile.conductance;
        let lower_s = range.minimum_s * (1.0 + range.bound_spread * cut_normal(random));
        let upper_s = range.maximum_s * (1.0 + range.bound_spread * cut_normal(random));
        let position = profile.initial.position + profile.initial.spread * cut_normal(random);
        let (set, reset) = match &profile.pulse {
            Some(pulse) => {
                (Direction::draw(pulse, &pulse.set, random), Direction::draw(pulse, &pulse.reset, random))
            }
            None => (Direction::NEVER, Direction::NEVER),
        };
        (
            Self { lower_s, upper_s, set, reset, stress: None, age: None },
            lower_s + position * (upper_s - lower_s),
        )
    }

    /// |V| above which a voltage of `volts`'s sign moves the device (V); infinite if nothing does.
    pub fn threshold_v(&self, volts: f64) -> f64 {
        if volts > 0.0 { self.set.threshold_v } else { self.reset.threshold_v }
    }

    /// When the conductance has to be worked out again because time has passed (ns).
    pub fn due_ns(&self) -> u64 {
        self.age.as_ref().map_or(u64::MAX, Age::due_ns)
    }

    /// Conductance (S) at `at_ns`, or nothing if it hasn't moved since the last pulse.
    pub fn rest(&mut self, profile: &DeviceProfile, at_ns: u64) -> Option<f64> {
        let maximum_s = profile.conductance.maximum_s;
        let age = self.age.as_mut()?;
        let noise = &profile.read_noise;
        Some(age.conductance(noise.relaxation.as_ref(), noise.drift.as_ref(), maximum_s, at_ns))
    }

    /// A pulse, or a piece of one, has left the device at `conductance_s` at `at_ns`.
    pub fn settle(&mut self, conductance_s: f64, at_ns: u64, random: &mut Random) {
        let going_on = self.stress.is_some_and(|stress| stress.pieces > 1);
        let before = self.age.as_ref().filter(|_| going_on);
        self.age = Some(Age::start(conductance_s, at_ns, before, random));
    }

    /// Ends a pulse: the next voltage above threshold starts a new one.
    pub fn relieve(&mut self) {
        self.stress = None;
    }

    /// Exposes the device to `volts` (row minus column) for `duration_s`. A pulse may come in pieces: as long as the
    /// voltage stays above threshold with the same sign, time adds up and the cycle-to-cycle draw stays the same.
    /// Returns whether the device is in a pulse.
    pub fn expose(
        &mut self,
        pulse: &PulseResponse,
        conductance_s: &mut f64,
        volts: f64,
        duration_s: f64,
        random: &mut Random,
    ) -> bool {
        let set = volts > 0.0;
        let (own, nominal) = if set { (&self.set, &pulse.set) } else { (&self.reset, &pulse.reset) };
        let overdrive = (libm::fabs(volts) - own.threshold_v) / (nominal.reference_v - own.threshold_v);
        if overdrive <= 0.0 {
            self.stress = None;
            return false;
        }
        let stress = match self.stress {
            Some(stress) if stress.set == set => stress,
            _ => {
                Stress { set, pieces: 0, elapsed_s: 0.0, effect: 1.0 + pulse.cycle_spread * random.normal() }
            }
        };
        let reached = |t: f64| libm::pow(t / pulse.reference_width_s, pulse.width_exponent);
        let elapsed_s = stress.elapsed_s + duration_s;
        let dose = own.step
            * libm::pow(overdrive, pulse.amplitude_exponent)
            * (reached(elapsed_s) - reached(stress.elapsed_s));
        let range = self.upper_s - self.lower_s;
        let distance =
            if set { self.upper_s - *conductance_s } else { *conductance_s - self.lower_s } / range;
        // A spread wider than the step can carry a device against the pulse's direction, but never past its bounds.
        let moved = (distance - remaining(distance, dose, pulse.bound_exponent)) * stress.effect;
        let position = if set { 1.0 - distance + moved } else { distance - moved };
        *conductance_s = self.lower_s + range * position.clamp(0.0, 1.0);
        self.stress = Some(Stress { pieces: stress.pieces.saturating_add(1), elapsed_s, ..stress });
        true
    }
}

impl Direction {
    const NEVER: Self = Self { threshold_v: f64::INFINITY, step: 0.0 };

    fn draw(pulse: &PulseResponse, side: &Switching, random: &mut Random) -> Self {
        Self {
            threshold_v: side.threshold_v * (1.0 + pulse.threshold_spread * cut_normal(random)),
            step: side.step * libm::exp(pulse.step_spread * cut_normal(random)),
        }
    }
}

/// What is left of `distance` after `dose`: the solution of dx = −x^exponent · d(dose).
fn remaining(distance: f64, dose: f64, exponent: f64) -> f64 {
    if distance <= 0.0 {
        return 0.0;
    }
    if exponent == 1.0 {
        return distance * libm::exp(-dose);
    }
    let power = 1.0 - exponent;
    let left = libm::pow(distance, power) - power * dose;
    // Below 1 the bound is reached in finite time; above 1 `left` only grows.
    if left <= 0.0 { 0.0 } else { libm::pow(left, 1.0 / power) }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use alloc::vec::Vec;

    use super::{Device, remaining};
    use crate::profile::{DeviceProfile, Profile};
    use crate::random::Random;

    const US: f64 = 1e-6;

    fn cmo() -> DeviceProfile {
        Profile::built_in("rram-cmo").unwrap().device
    }

    /// Mean and standard deviation.
    fn moments(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0);
        (mean, libm::sqrt(variance))
    }

    /// Position in its own range after one pulse, for `count` devices that start at `position`.
    fn after(profile: &DeviceProfile, position: f64, volts: f64, width_s: f64, count: usize) -> Vec<f64> {
        let mut random = Random::new(11, 0);
        let pulse = profile.pulse.unwrap();
        (0..count)
            .map(|_| {
                let (mut device, _) = Device::draw(profile, &mut random);
                let range = device.upper_s - device.lower_s;
                let mut conductance = device.lower_s + position * range;
                device.expose(&pulse, &mut conductance, volts, width_s, &mut random);
                (conductance - device.lower_s) / range
            })
            .collect()
    }

    #[test]
    fn half_of_the_highest_write_amplitude_moves_no_device_of_the_default_profile() {
        // The lowest threshold that the cut at four standard deviations allows is 0.92 V; half of 1.8 V is 0.9 V.
        for volts in [0.9, -0.9] {
            let positions = after(&cmo(), 0.5, volts, 1.0, 10_000);
            assert!(positions.iter().all(|position| libm::fabs(position - 0.5) < 1e-14));
        }
    }

    #[test]
    fn a_reference_pulse_moves_the_mean_device_by_the_stated_step_with_the_stated_spread() {
        // From the bound, the soft-bounds law moves 1 − exp(−step·overdrive²), with the
        // device spreads off 1 − exp(−0.3) = 0.2592, with relative cycle spread 0.4; limits are five standard errors of 10⁴ draws.
        let mut profile = cmo();
        let pulse = profile.pulse.as_mut().unwrap();
        (pulse.step_spread, pulse.threshold_spread) = (0.0, 0.0);
        let n = 10_000;
        let (mean, deviation) = moments(&after(&profile, 0.0, 1.5, 50.0 * US, n));
        let expected = 1.0 - libm::exp(-0.3);
        let root = libm::sqrt(n as f64);
        assert!(libm::fabs(mean - expected) < 5.0 * 0.4 * expected / root, "{mean}");
        let error = 5.0 * 0.4 * expected / (libm::sqrt(2.0) * root);
        assert!(libm::fabs(deviation - 0.4 * expected) < error, "{deviation}");
    }

    #[test]
    fn steps_shrink_towards_the_bound_and_grow_with_amplitude_and_width() {
        let mut profile = cmo();
        let pulse = profile.pulse.as_mut().unwrap();
        (pulse.cycle_spread, pulse.step_spread, pulse.threshold_spread) = (0.0, 0.0, 0.0);
        let step = |position, volts, width| after(&profile, position, volts, width, 1)[0] - position;
        assert!(step(0.9, 1.5, 50.0 * US) < step(0.5, 1.5, 50.0 * US));
        assert!(step(0.5, 1.5, 50.0 * US) < step(0.1, 1.5, 50.0 * US));
        assert_eq!(step(1.0, 1.5, 50.0 * US), 0.0);
        assert!(step(0.5, 1.3, 50.0 * US) < step(0.5, 1.5, 50.0 * US));
        assert!(step(0.5, 1.5, 20.0 * US) < step(0.5, 1.5, 50.0 * US));
        // RESET mirrors SET.
        assert!(libm::fabs(step(0.5, 1.5, 50.0 * US) + step(0.5, -1.5, 50.0 * US)) < 1e-15);
        // Overdrive 0.8 with exponent 2 and width ratio 1/4 with exponent 1/2, on the logarithm of the distance left.
        let dose = |s: f64| -libm::log((0.9 - s) / 0.9);
        let ratio = dose(step(0.1, 1.4, 12.5 * US)) / dose(step(0.1, 1.5, 50.0 * US));
        assert!(libm::fabs(ratio - 0.64 * 0.5) < 1e-12, "{ratio}");
    }

    #[test]
    fn a_pulse_in_pieces_does_what_the_whole_pulse_does() {
        let mut profile = cmo();
        // Multiplicative noise on each piece's step composes exactly only without it.
        profile.pulse.as_mut().unwrap().cycle_spread = 0.0;
        let pulse = profile.pulse.unwrap();
        let (device, start) = Device::draw(&profile, &mut Random::new(3, 0));
        let run = |pieces: &[f64]| {
            let (mut device, mut conductance) = (device.clone(), start);
            let mut random = Random::new(4, 0);
            for &piece in pieces {
                device.expose(&pulse, &mut conductance, 1.4, piece, &mut random);
            }
            conductance
        };
        let whole = run(&[100.0 * US]);
        assert!(libm::fabs(run(&[20.0 * US, 70.0 * US, 10.0 * US]) / whole - 1.0) < 1e-12);
    }

    #[test]
    fn the_closed_form_solves_the_rate_equation() {
        // Against 10⁵ explicit Euler steps, whose error is of the order of the step, 1e-5.
        for exponent in [0.0, 0.3, 1.0, 2.0] {
            let (mut x, dose, n) = (0.8, 0.5, 100_000);
            for _ in 0..n {
                x -= libm::pow(x, exponent) * dose / f64::from(n);
            }
            assert!(libm::fabs(remaining(0.8, dose, exponent) - x) < 2e-5, "exponent {exponent}");
        }
        assert_eq!(remaining(0.8, 1.0, 0.0), 0.0);
    }

    #[test]
    fn device_to_device_spreads_are_those_of_the_profile() {
        // 20 000 devices; the cut at four standard deviations narrows a normal by 0.05 %, far below the limits of five
        // standard errors (σ/√(2n) for a standard deviation).
        let profile = cmo();
        let mut random = Random::new(5, 0);
        let n = 20_000;
        let devices: Vec<_> = (0..n).map(|_| Device::draw(&profile, &mut random)).collect();
        let check = |values: Vec<f64>, mean: f64, deviation: f64| {
            let (got_mean, got_deviation) = moments(&values);
            let error = 5.0 * deviation / libm::sqrt(f64::from(n));
            assert!(libm::fabs(got_mean - mean) < error, "{got_mean} for {mean}");
            assert!(libm::fabs(got_deviation - deviation) < error, "{got_deviation} for {deviation}");
        };
        check(devices.iter().map(|(device, _)| device.upper_s / US).collect(), 88.2, 0.02 * 88.2);
        check(devices.iter().map(|(device, _)| device.lower_s / US).collect(), 9.0, 0.02 * 9.0);
        check(devices.iter().map(|(device, _)| device.set.threshold_v).collect(), 1.0, 0.02);
        check(devices.iter().map(|(device, _)| libm::log(device.set.step / 0.3)).collect(), 0.0, 0.3);
        let position = |(device, g): &(Device, f64)| (g - device.lower_s) / (device.upper_s - device.lower_s);
        check(devices.iter().map(position).collect(), 0.1, 0.025);
    }
}
