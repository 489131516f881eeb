//! Noise with known truth: for the tests of this folder, and to see what an analysis makes of what it found.

use ohmrig_emulator::random::Random;
use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

/// White normal noise.
#[cfg(test)]
pub(super) fn white(count: usize, variance: f64, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed, 1);
    (0..count).map(|_| variance.sqrt() * random.normal()).collect()
}

/// Gaussian noise of one-sided density `density(f)` at every frequency of a period four times as long as what is
/// returned, so that the returned stretch is not periodic and has power below its own resolution.
pub(super) fn coloured(count: usize, spacing_s: f64, seed: u64, density: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut random = Random::new(seed, 2);
    let period = 4 * count;
    let plan = RealFftPlanner::<f64>::new().plan_fft_inverse(period);
    let mut spectrum = plan.make_input_vec();
    let last = spectrum.len() - 1;
    for (index, slot) in spectrum.iter_mut().enumerate().skip(1) {
        let hz = index as f64 / (period as f64 * spacing_s);
        // E|X|² = S·N/(2·dt), half of it in each quadrature.
        let amplitude = (density(hz) * period as f64 / (4.0 * spacing_s)).sqrt();
        *slot = Complex::new(amplitude * random.normal(), amplitude * random.normal());
        if index == last {
            slot.im = 0.0;
        }
    }
    let mut samples = plan.make_output_vec();
    if plan.process(&mut spectrum, &mut samples).is_err() {
        // The lengths are the plan's own.
        unreachable!("{period} samples");
    }
    samples.truncate(count);
    samples.iter_mut().for_each(|x| *x /= period as f64);
    samples
}

#[cfg(test)]
/// A trap's states, sampled: 1 while filled. Mean times in the empty and in the filled state, s.
pub(super) fn telegraph(count: usize, spacing_s: f64, dwell_s: [f64; 2], seed: u64) -> Vec<bool> {
    let mut random = Random::new(seed, 3);
    let mut filled = random.uniform() * (dwell_s[0] + dwell_s[1]) < dwell_s[1];
    let mut exponential = |mean: f64| -mean * (1.0 - random.uniform()).ln();
    let mut next_s = exponential(dwell_s[usize::from(filled)]);
    (0..count)
        .map(|index| {
            while next_s <= index as f64 * spacing_s {
                filled = !filled;
                next_s += exponential(dwell_s[usize::from(filled)]);
            }
            filled
        })
        .collect()
}
