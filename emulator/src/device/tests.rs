//! Every law of the devices against the numbers that it claims.

use alloc::vec::Vec;

mod lifetime;
mod phase_change;

use super::{Device, remaining};
use crate::profile::{DeviceProfile, Profile};
use crate::random::Random;

const US: f64 = 1e-6;

/// The default devices, without what voltages below threshold do.
fn cmo() -> DeviceProfile {
    DeviceProfile { disturb: None, ..Profile::built_in("rram-cmo").unwrap().device }
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0);
    (mean, libm::sqrt(variance))
}

/// Fresh devices.
fn draw(profile: &DeviceProfile, count: usize) -> Vec<Device> {
    let (mut random, mut others) = (Random::new(5, 0), Random::new(5, 1));
    (0..count).map(|_| Device::draw(profile, &mut random, &mut others)).collect()
}

/// Position in its own range after one pulse, for `count` devices that start at `position`.
fn after(profile: &DeviceProfile, position: f64, volts: f64, width_s: f64, count: usize) -> Vec<f64> {
    let mut random = Random::new(11, 0);
    draw(profile, count)
        .into_iter()
        .map(|mut device| {
            device.place(profile, position);
            device.expose(profile, volts, width_s, &mut random);
            device.position(profile)
        })
        .collect()
}

#[test]
fn half_of_the_highest_write_amplitude_switches_no_device_of_the_default_profile() {
    // The lowest threshold that the cut at four standard deviations allows is 0.92 V; half of 1.8 V is 0.9 V.
    for volts in [0.9, -0.9] {
        let positions = after(&cmo(), 0.5, volts, 1.0, 10_000);
        assert!(positions.iter().all(|position| libm::fabs(position - 0.5) < 1e-14));
    }
}

#[test]
fn below_threshold_devices_creep_by_a_decade_per_tenth_of_a_volt_evenly_in_time() {
    // Dose 0.3 · 1e-3 · 10^(−(1 − u)/0.1 V) per 50 µs, here for devices without spread.
    let mut profile = Profile::built_in("rram-cmo").unwrap().device;
    let pulse = profile.pulse.as_mut().unwrap();
    (pulse.cycle_spread, pulse.step_spread, pulse.threshold_spread) = (0.0, 0.0, 0.0);
    profile.conductance.bound_spread = 0.0;
    let creep = |volts: f64, width_s| after(&profile, 0.5, volts, width_s, 1)[0] - 0.5;
    for (volts, decades) in [(0.9, 1.0), (0.75, 2.5), (0.6, 4.0), (0.4, 6.0)] {
        let dose = 0.3e-3 * libm::pow(10.0, -decades);
        assert!(libm::fabs(creep(volts, 50.0 * US) / (0.5 * dose) - 1.0) < 1e-3 + 1e-15 / dose);
        assert!(libm::fabs(creep(volts, 5e-3) / creep(volts, 50.0 * US) / 100.0 - 1.0) < 0.01 + 1e-15 / dose);
        assert!(libm::fabs(creep(volts, 5e-3) + creep(-volts, 5e-3)) < 1e-15);
    }
    assert_eq!(creep(0.29, 1e3), 0.0);
    // Just above threshold a pulse does as much as just below it, and more from there on.
    assert!(creep(1.001, 50.0 * US) > creep(0.999, 50.0 * US));
    // All 2·(N − 1) half selections of a 64×64 array at 8.5 pulses each move a cell by less than a percent of its range.
    let all = 1_071.0 * creep(0.75, 50.0 * US);
    assert!(all > 1e-4 && all < 1e-2, "{all}");
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
fn the_first_ecram_steps_are_a_thousandth_of_the_range_with_the_published_spreads() {
    // EcRam preset of aihwkit 1.2.0 (Tang et al., IEDM 2018): 0.002 of a range of 2 at w = 0 between 1.1724 and −0.8276, 0.3 from cycle
    // to cycle, 0.1 from device to device (here a factor e^(0.1·ξ), 0.5 % more in the mean). Thresholds off, which the preset
    // hasn't. Five standard errors.
    let mut profile = Profile::built_in("ecram").unwrap().device;
    profile.pulse.as_mut().unwrap().threshold_spread = 0.0;
    let n = 20_000;
    let factor = libm::exp(0.5 * 0.1 * 0.1);
    let both = libm::sqrt(1.09 * libm::exp(0.1 * 0.1) - 1.0);
    let root = libm::sqrt(f64::from(n));
    for (start, volts) in [(0.4138, 0.9), (0.4138, -0.9)] {
        let steps: Vec<f64> = after(&profile, start, volts, 1e-3, n as usize)
            .iter()
            .map(|position| libm::fabs(position - start) / 0.001)
            .collect();
        let (mean, deviation) = moments(&steps);
        // Within one step the rate changes by 0.1 % at most, its mean by half of that.
        assert!(libm::fabs(mean - factor) < 5.0 * both / root + 6e-4, "{mean} for {factor}");
        // The fourth moment of such a product is at most 3.4 times the squared variance, where a normal one's is 3.
        let error = 5.0 * both * libm::sqrt((3.4 - 1.0) / 4.0) / root + 2e-4;
        assert!(libm::fabs(deviation - both * factor) < error, "{deviation} for {}", both * factor);
    }
}

#[test]
fn a_sweep_of_ecram_takes_as_many_pulses_as_the_preset() {
    // ∫dp/step from a tenth to nine tenths of the range with the preset's steps: 0.001·(1.0814 − 0.1967·p) up and
    // 0.001·(0.4915 + 1.2289·p) down. The profile has five digits, a pulse more or less for where the last one ends.
    let mut profile = Profile::built_in("ecram").unwrap().device;
    let pulse = profile.pulse.as_mut().unwrap();
    (pulse.cycle_spread, pulse.step_spread, pulse.threshold_spread) = (0.0, 0.0, 0.0);
    profile.conductance.bound_spread = 0.0;
    let up = libm::log((1.0814 - 0.01967) / (1.0814 - 0.17703)) / 0.1967e-3;
    let down = libm::log((0.4915 + 1.10601) / (0.4915 + 0.12289)) / 1.2289e-3;
    for (from, volts, published) in [(0.1, 0.9, up), (0.9, -0.9, down)] {
        let (mut device, mut random) = (draw(&profile, 1).remove(0), Random::new(4, 0));
        device.place(&profile, from);
        let mut pulses = 0;
        while libm::fabs(device.position(&profile) - from) < 0.8 {
            device.expose(&profile, volts, 1e-3, &mut random);
            device.relieve();
            pulses += 1;
        }
        assert!(libm::fabs(f64::from(pulses) - published) < 2.0, "{pulses} for {published}");
    }
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
    let device = draw(&profile, 1).remove(0);
    let run = |pieces: &[f64]| {
        let (mut device, mut random) = (device.clone(), Random::new(4, 0));
        for &piece in pieces {
            device.expose(&profile, 1.4, piece, &mut random);
        }
        device.conductance_s
    };
    let whole = run(&[100.0 * US]);
    assert!(libm::fabs(run(&[20.0 * US, 70.0 * US, 10.0 * US]) / whole - 1.0) < 1e-12);
}

#[test]
fn the_closed_form_solves_the_rate_equation() {
    // Against 10⁵ explicit Euler steps, whose error is of the order of the step, 1e-5.
    for at_bound in [0.0, 0.3, 0.999_999, 1.0] {
        let (mut x, dose, n) = (0.8, 0.5, 100_000);
        for _ in 0..n {
            x -= (at_bound + (1.0 - at_bound) * x) * dose / f64::from(n);
        }
        assert!(libm::fabs(remaining(0.8, dose, at_bound) - x) < 2e-5, "{at_bound} of a step at the bound");
    }
    // Whatever goes on at the bound reaches it.
    assert_eq!((remaining(0.8, 1.0, 1.0), remaining(0.1, 1.0, 0.3)), (0.0, 0.0));
    assert!(remaining(0.8, 100.0, 0.0) > 0.0);
}

#[test]
fn device_to_device_spreads_are_those_of_the_profile() {
    // 20 000 devices; the cut at four standard deviations narrows a normal by 0.05 %, far below the limits of five
    // standard errors (σ/√(2n) for a standard deviation).
    let profile = cmo();
    let n = 20_000_u32;
    let devices = draw(&profile, n as usize);
    let check = |values: Vec<f64>, mean: f64, deviation: f64| {
        let (got_mean, got_deviation) = moments(&values);
        let error = 5.0 * deviation / libm::sqrt(f64::from(n));
        assert!(libm::fabs(got_mean - mean) < error, "{got_mean} for {mean}");
        assert!(libm::fabs(got_deviation - deviation) < error, "{got_deviation} for {deviation}");
    };
    check(devices.iter().map(|device| device.upper_s / US).collect(), 88.2, 0.02 * 88.2);
    check(devices.iter().map(|device| device.lower_s / US).collect(), 9.0, 0.02 * 9.0);
    check(devices.iter().map(|device| device.set.threshold_v).collect(), 1.0, 0.02);
    check(devices.iter().map(|device| libm::log(device.set.step / 0.3)).collect(), 0.0, 0.3);
    check(devices.iter().map(|device| device.position(&profile)).collect(), 0.1, 0.025);
}
