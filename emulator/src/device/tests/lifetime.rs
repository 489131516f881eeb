//! From the fab to old age: defects, forming, endurance, temperature, retention.

use super::*;
use crate::aging::Clock;
use crate::device::{Condition, Defects, Endurance, Exposure, TemperatureCoefficient};

/// Five standard deviations of a count of `n` with probability `p`.
fn margin(n: usize, p: f64) -> f64 {
    5.0 * libm::sqrt(n as f64 * p * (1.0 - p))
}

#[test]
fn stuck_and_open_devices_are_as_many_as_stated_and_never_move() {
    let mut profile = cmo();
    profile.defects =
        Some(Defects { stuck_fraction: 0.135, stuck_lowest: 0.2, stuck_highest: 0.6, open_fraction: 0.01 });
    let n = 20_000;
    let mut devices = draw(&profile, n);
    let count = |condition| devices.iter().filter(|device| device.condition() == condition).count() as f64;
    assert!(libm::fabs(count(Condition::Stuck) - 0.135 * n as f64) < margin(n, 0.135));
    assert!(libm::fabs(count(Condition::Open) - 0.01 * n as f64) < margin(n, 0.01));
    let stuck: Vec<f64> = devices
        .iter()
        .filter(|device| device.condition() == Condition::Stuck)
        .map(|device| device.position(&profile))
        .collect();
    // Uniform from 0.2 to 0.6: standard deviation 0.4/√12.
    let error = 5.0 * 0.4 / libm::sqrt(12.0 * stuck.len() as f64);
    assert!(libm::fabs(moments(&stuck).0 - 0.4) < error);
    assert!(stuck.iter().all(|position| (0.2 - 1e-12..0.6).contains(position)));
    let mut random = Random::new(1, 0);
    for device in devices.iter_mut().filter(|device| device.condition() != Condition::Sound) {
        let before = device.conductance_s;
        assert!(device.condition() == Condition::Stuck || before == 0.0);
        for volts in [2.0, -2.0, 0.9] {
            assert_eq!(device.expose(&profile, volts, 1e-3, &mut random), Exposure::None);
        }
        assert_eq!(device.conductance_s, before);
    }
}

#[test]
fn defects_change_nothing_about_the_sound_devices() {
    let profile = cmo();
    let mut broken = profile.clone();
    broken.defects =
        Some(Defects { stuck_fraction: 0.3, stuck_lowest: 0.0, stuck_highest: 1.0, open_fraction: 0.1 });
    for (before, now) in draw(&profile, 500).iter().zip(draw(&broken, 500)) {
        assert_eq!((before.lower_s, before.set), (now.lower_s, now.set));
        assert!(now.condition() != Condition::Sound || now.conductance_s == before.conductance_s);
    }
}

fn unformed() -> DeviceProfile {
    let mut profile = cmo();
    profile.forming.as_mut().unwrap().formed = false;
    profile
}

#[test]
fn pristine_devices_form_at_the_stated_voltage_and_spread_in_one_jump() {
    // 3.3 V ± 5 % at 50 µs, 0.15 V less per decade of width: of devices given 3.3 V for 50 µs (3.15 V for 500 µs) half
    // form; of those given one standard deviation more, 84.1 %.
    let profile = unformed();
    let n = 10_000;
    for (volts, width_s, part) in
        [(3.3, 50.0 * US, 0.5), (3.15, 500.0 * US, 0.5), (3.3 * 1.05, 50.0 * US, 0.841_345)]
    {
        let mut random = Random::new(2, 0);
        let mut landed = Vec::new();
        for mut device in draw(&profile, n) {
            assert_eq!((device.condition(), device.conductance_s), (Condition::Unformed, 1e-7));
            device.expose(&profile, volts, width_s, &mut random);
            if device.condition() == Condition::Sound {
                landed.push(device.position(&profile));
            } else {
                assert_eq!(device.conductance_s, 1e-7);
            }
        }
        assert!(libm::fabs(landed.len() as f64 - part * n as f64) < margin(n, part), "{}", landed.len());
        // Position 0.9 ± 0.03; the 0.04 % beyond the bound, cut there, are far below the limits.
        let root = libm::sqrt(landed.len() as f64);
        let (mean, deviation) = moments(&landed);
        assert!(libm::fabs(mean - 0.9) < 5.0 * 0.03 / root, "{mean}");
        assert!(libm::fabs(deviation - 0.03) < 5.0 * 0.03 / (libm::sqrt(2.0) * root), "{deviation}");
    }
}

#[test]
fn an_unformed_device_neither_resets_nor_creeps_and_a_formed_one_switches() {
    let mut profile = unformed();
    profile.disturb = Profile::built_in("rram-cmo").unwrap().device.disturb;
    let mut random = Random::new(3, 0);
    let mut device = draw(&profile, 1).remove(0);
    for volts in [-4.0, 0.9, 1.5, 2.2] {
        assert_eq!(device.expose(&profile, volts, 50.0 * US, &mut random), Exposure::None);
    }
    assert_eq!(device.conductance_s, 1e-7);
    device.expose(&profile, 4.2, 50.0 * US, &mut random);
    let formed = device.position(&profile);
    device.expose(&profile, -1.5, 50.0 * US, &mut random);
    assert!(device.position(&profile) < formed - 0.05);
}

#[test]
fn devices_wear_out_after_as_many_pulses_as_stated_and_their_range_shrinks_before() {
    let mut profile = cmo();
    profile.endurance = Some(Endurance { pulses: 100.0, spread: 0.3, exponent: 2.0, failure_position: 0.8 });
    let mut random = Random::new(4, 0);
    let n = 2_000;
    let mut lives = Vec::new();
    for mut device in draw(&profile, n) {
        let fresh = device.bounds(&profile);
        let mut pulses = 0_u32;
        while device.condition() == Condition::Sound {
            let volts = if pulses.is_multiple_of(2) { 1.8 } else { -1.8 };
            device.expose(&profile, volts, 50.0 * US, &mut random);
            pulses += 1;
            let (lower, upper) = device.bounds(&profile);
            let left = 1.0 - libm::pow(f64::from(pulses) / device.traits.life_pulses, 2.0);
            let expected = left.max(0.0) * (fresh.1 - fresh.0);
            assert!(libm::fabs(upper - lower - expected) < 1e-9 * fresh.1);
            assert!(device.conductance_s >= lower * 0.999_999 && device.conductance_s <= upper * 1.000_001);
        }
        let meeting = fresh.0 + 0.8 * (fresh.1 - fresh.0);
        assert!(libm::fabs(device.conductance_s / meeting - 1.0) < 1e-9);
        assert_eq!(device.expose(&profile, 2.0, 1e-3, &mut random), Exposure::None);
        lives.push(libm::log(f64::from(pulses)));
    }
    // ln N is normal, 100 ± 30 %; counting whole pulses adds half a pulse of about 100. Five standard errors.
    let (mean, deviation) = moments(&lives);
    let root = libm::sqrt(n as f64);
    assert!(libm::fabs(mean - libm::log(100.0) - 0.5 / 100.0) < 5.0 * 0.3 / root + 0.001, "{mean}");
    assert!(libm::fabs(deviation - 0.3) < 5.0 * 0.3 / (libm::sqrt(2.0) * root), "{deviation}");
}

#[test]
fn conductance_follows_the_temperature_with_the_stated_coefficients_and_spread() {
    let mut profile = cmo();
    let law = TemperatureCoefficient { lowest_per_k: 2e-3, highest_per_k: -1e-3, spread_per_k: 3e-4 };
    profile.temperature = Some(law);
    profile.conductance.bound_spread = 0.0;
    let n = 10_000;
    for (position, mean_per_k) in [(0.0, 2e-3), (0.5, 0.5e-3), (1.0, -1e-3)] {
        let slopes: Vec<f64> = draw(&profile, n)
            .into_iter()
            .map(|mut device| {
                device.place(&profile, position);
                let at = |kelvin| device.conductance_s(&profile, kelvin);
                assert_eq!(at(298.15), device.conductance_s);
                libm::log(at(308.15) / at(298.15)) / 10.0
            })
            .collect();
        let (mean, deviation) = moments(&slopes);
        let root = libm::sqrt(n as f64);
        assert!(libm::fabs(mean - mean_per_k) < 5.0 * 3e-4 / root, "{mean}");
        assert!(libm::fabs(deviation - 3e-4) < 5.0 * 3e-4 / (libm::sqrt(2.0) * root), "{deviation}");
    }
}

#[test]
fn retention_times_are_spread_as_stated_and_lead_to_the_rest_position() {
    let mut profile = cmo();
    (profile.relaxation, profile.endurance) = (None, None);
    let law = *profile.retention.as_mut().unwrap();
    let mut random = Random::new(6, 0);
    let n = 10_000;
    let clock = |thermal_s| Clock { at_ns: (thermal_s * 1e9) as u64, thermal_s, acceleration: 1.0 };
    let times: Vec<f64> = draw(&profile, n)
        .into_iter()
        .map(|mut device| {
            device.place(&profile, 0.7);
            device.settle(clock(0.0), &mut random);
            device.rest(&profile, clock(1e9));
            let left = device.position(&profile) / 0.7;
            libm::log(1e9 / -libm::log(left))
        })
        .collect();
    let (mean, deviation) = moments(&times);
    let root = libm::sqrt(n as f64);
    assert!(libm::fabs(mean - libm::log(law.time_s)) < 5.0 * law.spread / root, "{mean}");
    assert!(libm::fabs(deviation - law.spread) < 5.0 * law.spread / (libm::sqrt(2.0) * root), "{deviation}");
}
