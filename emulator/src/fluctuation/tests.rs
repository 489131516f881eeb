//! Spectra, correlations and dwell times against the models' formulas.

use alloc::vec;
use alloc::vec::Vec;
use core::f64::consts::{PI, TAU};

use super::{Flicker, Fluctuations, Telegraph, Trap, poisson};
use crate::random::Random;

const FLICKER: Flicker =
    Flicker { level: 2e-3, exponent: 0.0, ceiling: 0.1, fastest_s: 2e-6, slowest_s: 1e5 };

/// `cells` traces of `samples` relative conductance changes, `interval_ns` apart.
fn traces(noise: &mut Fluctuations, cells: usize, samples: usize, interval_ns: u64) -> Vec<Vec<f64>> {
    let mut traces = vec![Vec::new(); cells];
    for k in 0..samples {
        noise.advance((k as u64 + 1) * interval_ns, &[true]);
        let mut columns = vec![0.0; cells];
        noise.add(&vec![1.0; cells], &vec![noise.level(1e-5, 1e-5); cells], &mut columns);
        for (trace, value) in traces.iter_mut().zip(columns) {
            trace.push(value);
        }
    }
    traces
}

/// Single-sided power spectral density at bins `from..to` of the discrete Fourier transform, Hann window, mean over
/// bins and traces.
fn density(traces: &[Vec<f64>], interval_s: f64, from: usize, to: usize) -> f64 {
    let mut sum = 0.0;
    for trace in traces {
        let n = trace.len();
        let mean = trace.iter().sum::<f64>() / n as f64;
        for bin in from..to {
            let (mut re, mut im) = (0.0, 0.0);
            for (k, value) in trace.iter().enumerate() {
                let phase = TAU * k as f64 / n as f64;
                let windowed = (value - mean) * (1.0 - libm::cos(phase));
                let angle = TAU * ((bin * k) % n) as f64 / n as f64;
                re += windowed * libm::cos(angle);
                im -= windowed * libm::sin(angle);
            }
            // Σ of the squared window 1 − cos is 1.5·n.
            sum += 2.0 * interval_s * (re * re + im * im) / (1.5 * n as f64);
        }
    }
    sum / (traces.len() * (to - from)) as f64
}

fn taus() -> Vec<f64> {
    (0..16).map(|k| 2e-6 * libm::pow(5.0, f64::from(k))).collect()
}

#[test]
fn the_lorentzians_add_up_to_the_stated_flicker_noise_over_six_decades() {
    // Ripple 0.9 % (see the head of this file), and 2·τ·f/π = 1 % missing a factor 60 inside either end.
    let variance = 4e-6 * libm::log(5.0);
    for k in 0..65 {
        let f = 2e-4 * libm::pow(10.0, f64::from(k) / 10.0);
        let density: f64 =
            taus().iter().map(|tau| 4.0 * variance * tau / (1.0 + libm::pow(TAU * f * tau, 2.0))).sum();
        assert!(libm::fabs(density * f / 4e-6 - 1.0) < 0.03, "{f} Hz: {}", density * f / 4e-6);
    }
}

#[test]
fn sampled_flicker_noise_has_the_spectrum_of_the_model() {
    // At three sampling rates, 48 cells each. What an instant sees of faster processes folds back, exactly
    // 2Δt·σ²·(1 − a²)/(1 − 2a·cos 2πfΔt + a²) per process with a = e^(−Δt/τ). A density averaged over m independent
    // bins is known to 1/√m; neighbouring Hann bins overlap, which leaves about m/1.9 of them. Limits: five standard
    // errors, plus 5 % for the window's resolution of a steep spectrum and for processes held still up to τ/32.
    let cells = 48;
    let variance = 4e-6 * libm::log(5.0);
    for interval_s in [1e-6, 1e-3, 1.0] {
        let mut noise = Fluctuations::new(Some(FLICKER), None, (1, cells), Random::new(51, 0));
        let samples = 2_048;
        let traces = traces(&mut noise, cells, samples, (interval_s * 1e9) as u64);
        for (from, to) in [(5, 10), (20, 28), (80, 90), (400, 410)] {
            let got = density(&traces, interval_s, from, to);
            let model = |bin: usize| {
                let angle = TAU * bin as f64 / samples as f64;
                let folded = |tau: &f64| {
                    let a = libm::exp(-interval_s / tau);
                    2.0 * interval_s * variance * (1.0 - a * a) / (1.0 - 2.0 * a * libm::cos(angle) + a * a)
                };
                taus().iter().map(folded).sum::<f64>()
            };
            let expected = (from..to).map(model).sum::<f64>() / (to - from) as f64;
            let error = 5.0 / libm::sqrt((cells * (to - from)) as f64 / 1.9) + 0.05;
            assert!(
                libm::fabs(got / expected - 1.0) < error,
                "{interval_s} s, bins {from} to {to}: {got:e} for {expected:e}"
            );
        }
    }
}

#[test]
fn two_reads_are_as_correlated_as_the_model_says_and_as_the_time_between_them_lets_them_be() {
    // 4000 cells; the correlation of two normal numbers is known to (1 − ρ²)/√n. Expected: Σ_k e^(−Δ/τ_k) / count,
    // with processes held for up to 1/32 of their time constant.
    let cells = 4_000;
    let taus = taus();
    for delay_s in [1e-3, 86_400.0] {
        let mut noise = Fluctuations::new(Some(FLICKER), None, (1, cells), Random::new(52, 0));
        let first = 1_000_000_000_u64;
        let mut read = |at_ns| {
            noise.advance(at_ns, &[true]);
            let mut columns = vec![0.0; cells];
            noise.add(&vec![1.0; cells], &vec![noise.level(1e-5, 1e-5); cells], &mut columns);
            columns
        };
        let (a, b) = (read(first), read(first + (delay_s * 1e9) as u64));
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let got = product(&a, &b) / libm::sqrt(product(&a, &a) * product(&b, &b));
        let expected = taus.iter().map(|tau| libm::exp(-delay_s / tau)).sum::<f64>() / taus.len() as f64;
        let error = 5.0 * (1.0 - expected * expected) / libm::sqrt(cells as f64) + 1.0 / 16.0 / 32.0;
        assert!(libm::fabs(got - expected) < error, "{delay_s} s: {got} for {expected}");
    }
}

#[test]
fn a_read_a_moment_later_gives_the_same_fluctuation() {
    let mut noise = Fluctuations::new(Some(FLICKER), None, (1, 1), Random::new(53, 0));
    let mut read = |at_ns| {
        noise.advance(at_ns, &[true]);
        let mut column = [0.0];
        noise.add(&[1.0], &[noise.level(1e-5, 1e-5)], &mut column);
        column[0]
    };
    assert_eq!(read(1_000_000).to_bits(), read(1_000_010).to_bits());
    assert_ne!(read(1_000_000).to_bits(), read(2_000_000).to_bits());
}

#[test]
fn a_trap_dwells_as_long_as_stated_and_its_noise_is_a_lorentzian() {
    // Dwell times are exponential: the mean of n of them is known to 1/√n, their variance equals the squared mean.
    let mut random = Random::new(54, 0);
    let telegraph = Telegraph { traps_per_device: 1.0, amplitude: 0.01, fastest_s: 1e-2, slowest_s: 1e-2 };
    let mut trap = Trap::draw(0, &telegraph, &mut random);
    (trap.dwell_s, trap.amplitude) = ([0.02, 0.005], 0.01);
    let step_ns = 50_000_u64;
    let (mut dwells, mut since, mut filled) = ([Vec::new(), Vec::new()], None, trap.filled);
    let mut trace = Vec::new();
    for k in 1..=2_000_000_u64 {
        trap.advance(k * step_ns, &mut random);
        trace.push(if trap.filled { -0.01 } else { 0.0 });
        if trap.filled != filled {
            if let Some(since) = since {
                dwells[usize::from(filled)].push((k - since) as f64 * 50e-6);
            }
            (since, filled) = (Some(k), trap.filled);
        }
    }
    for (dwells, expected) in dwells.iter().zip([0.02, 0.005]) {
        let n = dwells.len() as f64;
        let mean = dwells.iter().sum::<f64>() / n;
        // Dwells shorter than the 50 µs between looks are missed: 50 µs/5 ms = 1 % of the shorter ones, which
        // lengthens the others by as much.
        assert!(libm::fabs(mean / expected - 1.0) < 5.0 / libm::sqrt(n) + 0.02, "{mean} for {expected}");
    }
    // Machlup's spectrum 4·ΔI²/((t0+t1)·((1/t0+1/t1)² + (2πf)²)) in segments of 4096 samples (0.2 s).
    let segments: Vec<Vec<f64>> = trace.chunks_exact(4_096).map(<[f64]>::to_vec).collect();
    for bin in [3, 8, 40] {
        let f = bin as f64 / (4_096.0 * 50e-6);
        let rate = 1.0 / 0.02 + 1.0 / 0.005;
        let expected = 4.0 * 1e-4 / (0.025 * (rate * rate + 4.0 * PI * PI * f * f));
        let got = density(&segments, 50e-6, bin, bin + 1);
        let error = 5.0 / libm::sqrt(segments.len() as f64) + 0.05;
        assert!(libm::fabs(got / expected - 1.0) < error, "{f} Hz: {got:e} for {expected:e}");
    }
}

#[test]
fn traps_are_as_many_as_large_and_as_filled_as_stated() {
    let telegraph = Telegraph { traps_per_device: 0.3, amplitude: 5e-3, fastest_s: 1e-3, slowest_s: 10.0 };
    let cells = 40_000;
    let mut noise = Fluctuations::new(None, Some(telegraph), (1, cells), Random::new(55, 0));
    let n = noise.traps.len() as f64;
    // Poisson: standard deviation √(0.3·cells). Exponential amplitudes: mean known to 1/√n.
    assert!(libm::fabs(n - 0.3 * cells as f64) < 5.0 * libm::sqrt(0.3 * cells as f64), "{n}");
    let mean = noise.traps.iter().map(|trap| trap.amplitude).sum::<f64>() / n;
    assert!(libm::fabs(mean / 5e-3 - 1.0) < 5.0 / libm::sqrt(n), "{mean}");
    // Both dwell times have the same distribution: half are filled, at the start and a year later.
    for at_ns in [0, 31_536_000_000_000_000] {
        noise.advance(at_ns, &[true]);
        let filled = noise.traps.iter().filter(|trap| trap.filled).count() as f64 / n;
        assert!(libm::fabs(filled - 0.5) < 2.5 / libm::sqrt(n), "{filled}");
    }
}

#[test]
fn poisson_numbers_have_their_mean_and_variance() {
    let mut random = Random::new(56, 0);
    let n = 100_000;
    let values: Vec<f64> = (0..n).map(|_| f64::from(poisson(1.7, &mut random))).collect();
    let mean = values.iter().sum::<f64>() / f64::from(n);
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / f64::from(n);
    // Standard errors √(λ/n) and √((λ + 2λ²)/n).
    assert!(libm::fabs(mean - 1.7) < 5.0 * libm::sqrt(1.7 / f64::from(n)), "{mean}");
    assert!(libm::fabs(variance - 1.7) < 5.0 * libm::sqrt(7.48 / f64::from(n)), "{variance}");
}

#[cfg(feature = "std")]
#[test]
fn a_day_of_read_noise_is_what_was_published() {
    // Standard deviation of G after a day, relative to it (Nandakumar et al., ICECS 2019: t_r = 250 ns, G/25 µS; Lombardo et al.,
    // DRC 2024: G in µS, t_r = 1 µs; both as in aihwkit 1.2.0). The published root of a logarithm against our 17 processes: 2.9 and
    // 5.8 % less; a power of G against log G / G: 5 % at most. 20 000 cells know a deviation to 1/√(2n): five of these.
    use crate::profile::Profile;
    let cells = 20_000;
    let day = 86_400.0;
    let pcm = |us: f64| 0.0088 * libm::pow(us / 25.0, -0.65) * libm::sqrt(libm::log(day / 5e-7));
    let cmo = |us: f64| 0.027_731_648_3 * libm::log10(us) / us * libm::sqrt(libm::log(day / 2e-6));
    for (name, us, published, model) in [
        ("pcm", 5.0, pcm(5.0), 0.03),
        ("pcm", 12.5, pcm(12.5), 0.03),
        ("pcm", 22.5, pcm(22.5), 0.03),
        ("rram-cmo", 20.0, cmo(20.0), 0.11),
        ("rram-cmo", 50.0, cmo(50.0), 0.11),
        ("rram-cmo", 80.0, cmo(80.0), 0.11),
    ] {
        let device = Profile::built_in(name).unwrap().device;
        let mut noise = Fluctuations::new(device.flicker, None, (1, cells), Random::new(56, 0));
        let level = noise.level(us * 1e-6, device.conductance.maximum_s);
        noise.advance((day * 1e9) as u64, &[true]);
        let mut columns = vec![0.0; cells];
        noise.add(&vec![1.0; cells], &vec![level; cells], &mut columns);
        let deviation = libm::sqrt(columns.iter().map(|x| x * x).sum::<f64>() / cells as f64);
        let allowed = model + 5.0 / libm::sqrt(2.0 * cells as f64);
        assert!(
            libm::fabs(deviation / published - 1.0) < allowed,
            "{name}, {us} µS: {deviation} for {published}"
        );
    }
}

#[test]
fn only_rows_that_matter_are_heard_and_the_others_catch_up_exactly() {
    // Two rows of one column each at 1 and 1/1000 of the current: the second has 1e-6 of the variance, far below 1 %.
    assert_eq!(Fluctuations::heard(&[1.0, 1e-3], &[0.1, 0.1], 1), [true, false]);
    // In another column it is the one that matters.
    assert_eq!(Fluctuations::heard(&[1.0, 1e-5, 1e-3, 1e-3], &[0.1; 4], 2), [true, true]);
    assert_eq!(Fluctuations::heard(&[0.0; 2], &[0.1; 2], 1), [false, false]);

    // A row that wasn't heard for a second is as correlated with what it was as one that was: e^(−Δ/τ) per process. 4000 cells
    // know a correlation to (1 − ρ²)/√n.
    let cells = 4_000;
    let mut noise = Fluctuations::new(Some(FLICKER), None, (2, cells), Random::new(57, 0));
    let both = |noise: &Fluctuations| {
        let (first, second) = noise.sums.split_at(cells);
        [first.to_vec(), second.to_vec()]
    };
    noise.advance(1_000_000_000, &[true, true]);
    let before = both(&noise);
    for k in 1..1_000 {
        noise.advance(1_000_000_000 + k * 1_000_000, &[true, false]);
    }
    assert_eq!(both(&noise)[1], before[1]);
    noise.advance(2_000_000_000, &[true, true]);
    let after = both(&noise);
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let expected = taus().iter().map(|tau| libm::exp(-1.0 / tau)).sum::<f64>() / taus().len() as f64;
    for (a, b) in before.iter().zip(&after) {
        let got = product(a, b) / libm::sqrt(product(a, a) * product(b, b));
        let error = 5.0 * (1.0 - expected * expected) / libm::sqrt(cells as f64) + 1.0 / 16.0 / 32.0;
        assert!(libm::fabs(got - expected) < error, "{got} for {expected}");
    }
}
