//! Gradual SET and abrupt RESET against the PCM preset of aihwkit 1.2.0 (Nandakumar et al., Front. Neurosci. 2020).

use super::*;

fn pcm() -> DeviceProfile {
    let mut device = DeviceProfile { disturb: None, ..Profile::built_in("pcm").unwrap().device };
    let pulse = device.pulse.as_mut().unwrap();
    (pulse.step_spread, pulse.threshold_spread) = (0.0, 0.0);
    device
}

/// The preset's step in its own units (weights 0 to 2) and its noise, for position x of 0 to 1.
fn preset(x: f64) -> (f64, f64) {
    let w = 2.0 * x;
    let step = 0.01 * (1.0 + 27.235 * libm::exp(-2.5 * w));
    (step / 2.0, 0.6 * (step + 0.042 + 0.108 * w) / 2.0)
}

#[test]
fn set_steps_have_the_published_mean_and_spread_at_every_position() {
    // Five standard errors of 10⁴ draws; at these positions a step leaves the range (and is cut) by more than four of its
    // standard deviations at the nearest, so that the cut doesn't count.
    let n = 10_000;
    for position in [0.3, 0.4, 0.5, 0.6] {
        let (mean, deviation) = moments(&after(&pcm(), position, 1.5, 50.0 * US, n));
        let (step, spread) = preset(position);
        let root = libm::sqrt(n as f64);
        assert!(libm::fabs(mean - position - step) < 5.0 * spread / root, "{mean} at {position}");
        let error = 5.0 * spread / (libm::sqrt(2.0) * root);
        assert!(libm::fabs(deviation - spread) < error, "{deviation} at {position}");
    }
    // From RESET without noise: 14 % of the range at once, then ever less.
    let mut quiet = pcm();
    quiet.pulse.as_mut().unwrap().cycle_spread = 0.0;
    let step = |position| after(&quiet, position, 1.5, 50.0 * US, 1)[0] - position;
    for position in [0.0, 0.1, 0.5, 0.8] {
        assert!(libm::fabs(step(position) - preset(position).0) < 1e-6);
    }
}

#[test]
fn one_reset_pulse_reaches_the_published_residue_from_anywhere_and_short_pulses_do_too() {
    // Residue 0.005 ± 0.005 of the range plus e⁻⁶, cut at 0: mean μΦ(μ/σ) + σφ(μ/σ) of a normal number cut at 0.
    let (mu, sigma) = (0.005 + 0.995 * libm::exp(-6.0), 0.005);
    let z = mu / sigma;
    let density = libm::exp(-0.5 * z * z) / libm::sqrt(2.0 * core::f64::consts::PI);
    let below = 0.5 * libm::erfc(-z / libm::sqrt(2.0));
    let expected = mu * below + sigma * density;
    let n = 10_000;
    for position in [1.0, 0.3] {
        for width in [50.0 * US, 1.0 * US] {
            let (mean, _) = moments(&after(&pcm(), position, -2.2, width, n));
            assert!(
                libm::fabs(mean - expected) < 5.0 * sigma / libm::sqrt(n as f64),
                "{mean} for {expected}"
            );
        }
    }
    // RESET never crystallises.
    assert!(after(&pcm(), 0.001, -1.5, 50.0 * US, 1_000).iter().all(|position| *position <= 0.001 + 1e-12));
}

#[test]
fn set_in_pieces_does_what_the_whole_pulse_does_noise_included() {
    let profile = pcm();
    let device = draw(&profile, 1).remove(0);
    let run = |pieces: &[f64]| {
        let (mut device, mut random) = (device.clone(), Random::new(4, 0));
        for &piece in pieces {
            device.expose(&profile, 1.5, piece, &mut random);
        }
        device.conductance_s
    };
    assert!(libm::fabs(run(&[10.0 * US, 5.0 * US, 35.0 * US]) / run(&[50.0 * US]) - 1.0) < 1e-12);
}
