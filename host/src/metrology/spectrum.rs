//! Power spectral densities, one-sided, in (unit of the samples)²/Hz: Welch's averaged periodograms to look at and to
//! quote, and sine multitaper spectra for fits.

use super::estimate::variance_interval;
use realfft::RealFftPlanner;
use realfft::num_complex::Complex;
use std::f64::consts::PI;

/// A density at one frequency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Hz.
    pub frequency_hz: f64,
    /// (Unit of the samples)²/Hz.
    pub density: f64,
    /// Degrees of freedom: the density is distributed as its true value times χ²/ν.
    pub freedom: f64,
}

impl Point {
    /// The interval that contains the true density with this probability.
    #[must_use]
    pub fn interval(&self, probability: f64) -> (f64, f64) {
        let (low, high) = variance_interval(probability, self.freedom);
        (low * self.density, high * self.density)
    }
}

/// A spectrum by Welch's method.
#[derive(Clone, Debug, PartialEq)]
pub struct Welch {
    /// From the first frequency above 0 to half the sampling rate.
    pub points: Vec<Point>,
    /// Equivalent noise bandwidth of a point, Hz: a line of rms value a stands as a²/this.
    pub noise_bandwidth_hz: f64,
    /// Segments averaged.
    pub segments: usize,
}

/// Welch's spectrum (IEEE Trans. Audio Electroacoust. 15, 70, 1967) with Hann windows that overlap by half, the mean
/// of each segment taken off. `segment` samples per segment, at least 8; nothing if there are fewer samples.
///
/// Degrees of freedom are Welch's: ν = 2K / (1 + 2 Σ (1 − m/K)·ρ(m)), with ρ(1) = (Σ w(n)·w(n + L/2))² / (Σ w²)² for
/// neighbours (1/36 for Hann) and 0 beyond; half of it at half the sampling rate.
#[must_use]
pub fn welch(samples: &[f64], spacing_s: f64, segment: usize) -> Option<Welch> {
    if segment < 8 || samples.len() < segment {
        return None;
    }
    let window: Vec<f64> =
        (0..segment).map(|n| 0.5 - 0.5 * (2.0 * PI * n as f64 / segment as f64).cos()).collect();
    let (sum, squares) = window.iter().fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    let hop = segment / 2;
    let overlap: f64 = window.iter().zip(&window[hop..]).map(|(a, b)| a * b).sum();
    let neighbours = (overlap / squares).powi(2);
    let plan = RealFftPlanner::<f64>::new().plan_fft_forward(segment);
    let (mut input, mut output) = (plan.make_input_vec(), plan.make_output_vec());
    let mut density = vec![0.0; output.len()];
    let mut segments = 0;
    let mut start = 0;
    while start + segment <= samples.len() {
        let part = &samples[start..start + segment];
        let mean = part.iter().sum::<f64>() / segment as f64;
        for ((x, sample), w) in input.iter_mut().zip(part).zip(&window) {
            *x = (sample - mean) * w;
        }
        // Lengths are the plan's own: this can't fail.
        plan.process(&mut input, &mut output).ok()?;
        for (density, value) in density.iter_mut().zip(&output) {
            *density += value.norm_sqr();
        }
        segments += 1;
        start += hop;
    }
    let k = f64::from(segments);
    let freedom = 2.0 * k / (1.0 + 2.0 * (1.0 - 1.0 / k) * neighbours);
    let resolution = 1.0 / (segment as f64 * spacing_s);
    let even = segment.is_multiple_of(2);
    let last = density.len() - 1;
    let points = density.iter().enumerate().skip(1).map(|(index, power)| {
        let sides = if even && index == last { 1.0 } else { 2.0 };
        Point {
            frequency_hz: index as f64 * resolution,
            density: sides * power * spacing_s / (squares * k),
            freedom: freedom * sides / 2.0,
        }
    });
    Some(Welch {
        points: points.collect(),
        noise_bandwidth_hz: squares / (sum * sum) / spacing_s,
        segments: segments as usize,
    })
}

impl Welch {
    /// The spectrum with at most so many points per decade, each the mean of neighbours: degrees of freedom add, less
    /// what the window correlates (neighbouring Hann bins share power; one bin in 1.5 is independent).
    #[must_use]
    pub fn per_decade(&self, points: f64) -> Vec<Point> {
        let mut binned = Vec::new();
        let mut at = 0;
        while at < self.points.len() {
            let end_hz = self.points[at].frequency_hz * 10_f64.powf(1.0 / points);
            let count = self.points[at..].iter().take_while(|p| p.frequency_hz < end_hz).count().max(1);
            let group = &self.points[at..at + count];
            let mean = |value: fn(&Point) -> f64| group.iter().map(value).sum::<f64>() / count as f64;
            let independent = if count > 1 { 1.0 + (count as f64 - 1.0) / 1.5 } else { 1.0 };
            binned.push(Point {
                frequency_hz: mean(|p| p.frequency_hz),
                density: mean(|p| p.density),
                freedom: independent * mean(|p| p.freedom),
            });
            at += count;
        }
        binned
    }
}

/// A spectrum for likelihood fits: means over groups of neighbouring Fourier frequencies i/T.
#[derive(Clone, Debug, PartialEq)]
pub struct Multitaper {
    /// Groups, frequencies rising.
    pub groups: Vec<Group>,
    /// Variance of any weighted sum over the Fourier frequencies, against that of independent exponential ordinates:
    /// 1 + 1/(2K) for K sine tapers.
    pub inflation: f64,
}

/// Neighbouring Fourier frequencies whose densities are taken as one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Mean frequency, Hz.
    pub frequency_hz: f64,
    /// Mean density.
    pub density: f64,
    /// Fourier frequencies in it.
    pub count: f64,
}

/// Sine tapers used: enough to keep low frequencies from leaking into high ones, few enough to resolve the low ones.
const TAPERS: usize = 3;
/// Fourier frequencies left out at the low end, where a spectrum as steep as 1/f bends within the tapers' bandwidth of
/// ±2 of them: at the eighth the mean of 1/f over that width is 2 % above 1/f.
const LOWEST: usize = 8;
/// Relative width of a group: a spectrum as steep as 1/f² is then linear in it to 1 part in 10⁴.
const WIDTH: f64 = 0.02;

/// Sine multitaper spectrum (Riedel & Sidorenko, IEEE Trans. Signal Process. 43, 188, 1995) of all samples, their mean
/// taken off, without frequencies for which `leave_out` says so. Nothing for fewer than 32 samples.
pub fn multitaper(samples: &[f64], spacing_s: f64, leave_out: impl Fn(f64) -> bool) -> Option<Multitaper> {
    let n = samples.len();
    if n < 32 {
        return None;
    }
    let mean = samples.iter().sum::<f64>() / n as f64;
    // With y(0) = 0 and y(m + 1) = x(m), padded to 2(N + 1), multiplying by the k-th sine taper is a difference of two
    // Fourier coefficients k to either side.
    let length = 2 * (n + 1);
    let plan = RealFftPlanner::<f64>::new().plan_fft_forward(length);
    let (mut input, mut output) = (plan.make_input_vec(), plan.make_output_vec());
    for (slot, sample) in input[1..].iter_mut().zip(samples) {
        *slot = sample - mean;
    }
    plan.process(&mut input, &mut output).ok()?;
    let density = |index: usize| -> f64 {
        let taper = |k: usize| {
            let difference: Complex<f64> = output[index - k] - output[index + k];
            difference.norm_sqr()
        };
        (1..=TAPERS).map(taper).sum::<f64>() * spacing_s / ((n + 1) as f64 * TAPERS as f64)
    };
    let hz = 1.0 / (length as f64 * spacing_s);
    let mut groups: Vec<Group> = Vec::new();
    let mut open = Group { frequency_hz: 0.0, density: 0.0, count: 0.0 };
    let mut opened_hz = 0.0;
    let mut close = |open: &mut Group| {
        if open.count > 0.0 {
            let Group { frequency_hz, density, count } = *open;
            groups.push(Group { frequency_hz: frequency_hz / count, density: density / count, count });
        }
        *open = Group { frequency_hz: 0.0, density: 0.0, count: 0.0 };
    };
    let mut index = 2 * LOWEST;
    while index + TAPERS < output.len() {
        let frequency_hz = index as f64 * hz;
        if leave_out(frequency_hz) {
            close(&mut open);
        } else {
            if open.count > 0.0 && frequency_hz > opened_hz * (1.0 + WIDTH) {
                close(&mut open);
            }
            if open.count == 0.0 {
                opened_hz = frequency_hz;
            }
            open.frequency_hz += frequency_hz;
            open.density += density(index);
            open.count += 1.0;
        }
        index += 2;
    }
    close(&mut open);
    Some(Multitaper { groups, inflation: 1.0 + 0.5 / TAPERS as f64 })
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::white;
    use super::*;

    #[test]
    fn white_noise_has_twice_its_variance_times_the_spacing_as_its_density() {
        let (spacing_s, variance) = (1e-3, 4.0);
        let samples = white(1 << 16, variance, 1);
        let welch = welch(&samples, spacing_s, 256).unwrap();
        let mean = welch.points.iter().map(|p| p.density).sum::<f64>() / welch.points.len() as f64;
        // 128 points of 970 degrees of freedom, one in 1.5 independent: 5 standard errors.
        let allowed = 5.0 * (2.0 / 970.0_f64 / 85.0).sqrt();
        assert!((mean / (2.0 * variance * spacing_s) - 1.0).abs() < allowed, "{mean}");
        let multitaper = multitaper(&samples, spacing_s, |_| false).unwrap();
        let (sum, count) =
            multitaper.groups.iter().fold((0.0, 0.0), |(s, c), g| (s + g.density * g.count, c + g.count));
        let allowed = 5.0 * (multitaper.inflation / count).sqrt();
        assert!((sum / count / (2.0 * variance * spacing_s) - 1.0).abs() < allowed);
    }

    #[test]
    fn a_sine_stands_above_the_rest_by_its_power_over_the_noise_bandwidth() {
        let spacing_s = 1e-3;
        let samples: Vec<f64> =
            (0..8192).map(|n| 3.0 * (2.0 * PI * 125.0 * n as f64 * spacing_s).sin()).collect();
        let welch = welch(&samples, spacing_s, 256).unwrap();
        let peak = welch.points.iter().map(|p| p.density).fold(0.0, f64::max);
        // 125 Hz is a multiple of 1/256 ms: exact up to the rounding of sums.
        assert!((peak * welch.noise_bandwidth_hz / 4.5 - 1.0).abs() < 1e-9, "{peak}");
        // Hann: 1.5 bins.
        assert!((welch.noise_bandwidth_hz - 1.5 / 0.256).abs() < 1e-9);
    }

    #[test]
    fn intervals_of_the_density_contain_the_truth_as_often_as_they_say() {
        let (spacing_s, mut inside, mut all) = (1.0, 0.0, 0.0_f64);
        for seed in 0..400 {
            let samples = white(2048, 1.0, seed);
            let welch = welch(&samples, spacing_s, 256).unwrap();
            for point in [welch.points[20], welch.points[60], welch.points[100], welch.per_decade(8.0)[9]] {
                let (low, high) = point.interval(0.95);
                inside += f64::from(u8::from(low < 2.0 && 2.0 < high));
                all += 1.0;
            }
        }
        // 3.5 binomial standard deviations of 1600 draws.
        let allowed = 3.5 * (0.95 * 0.05 / all).sqrt();
        assert!((inside / all - 0.95_f64).abs() < allowed, "{inside} of {all}");
    }

    #[test]
    fn too_few_samples_give_no_spectrum() {
        assert!(welch(&[0.0; 100], 1.0, 128).is_none());
        assert!(multitaper(&[0.0; 31], 1.0, |_| false).is_none());
    }
}
