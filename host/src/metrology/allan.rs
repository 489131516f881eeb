//! Allan deviation: how the mean over a time τ differs from the next, and so how far averaging helps.

use super::estimate::variance_interval;

/// Allan deviation at one averaging time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AllanPoint {
    /// Averaging time τ, s.
    pub tau_s: f64,
    /// In the unit of the samples.
    pub deviation: f64,
    /// Equivalent degrees of freedom of its square.
    pub freedom: f64,
}

impl AllanPoint {
    /// The interval that contains the true deviation with this probability.
    #[must_use]
    pub fn interval(&self, probability: f64) -> (f64, f64) {
        let (low, high) = variance_interval(probability, self.freedom);
        (self.deviation * low.sqrt(), self.deviation * high.sqrt())
    }
}

/// Noise around an averaging time, for the degrees of freedom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoiseType {
    White,
    Flicker,
    RandomWalk,
}

/// Overlapping Allan deviation at averaging times of 1, 2, 4 … samples, to a quarter of the trace: beyond, hardly two
/// independent pairs are left.
///
/// `σ²(τ) = ⟨(ȳ(t + τ) − ȳ(t))²⟩ / 2` over all t (NIST SP 1065, 5.2.4), and equivalent degrees of freedom for white,
/// 1/f and random-walk noise (the same, 5.4.2, table 5, after Howe, Allan & Barnes 1981); which of them it is tells the lag-1 autocorrelation of
/// the means over τ (the same, 5.5.3).
#[must_use]
pub fn overlapping(samples: &[f64], spacing_s: f64) -> Vec<AllanPoint> {
    let mut sums = Vec::with_capacity(samples.len() + 1);
    let mean = samples.iter().sum::<f64>() / samples.len().max(1) as f64;
    let mut sum = 0.0;
    sums.push(sum);
    for sample in samples {
        sum += sample - mean;
        sums.push(sum);
    }
    let mut points = Vec::new();
    let mut m = 1;
    while 4 * m <= samples.len() {
        let differences = sums.windows(2 * m + 1).map(|w| w[2 * m] - 2.0 * w[m] + w[0]);
        let count = sums.len() - 2 * m;
        let square = differences.map(|d| d * d).sum::<f64>() / count as f64;
        points.push(AllanPoint {
            tau_s: m as f64 * spacing_s,
            deviation: (square / 2.0).sqrt() / m as f64,
            freedom: freedom(noise_type(samples, m), samples.len() as f64 + 1.0, m as f64),
        });
        m *= 2;
    }
    points
}

/// From the lag-1 autocorrelation r of means over m samples: δ = r/(1 + r), and −2δ rounded is the exponent of f.
fn noise_type(samples: &[f64], m: usize) -> NoiseType {
    let means: Vec<f64> = samples.chunks_exact(m).map(|c| c.iter().sum::<f64>() / m as f64).collect();
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    let product =
        |lag: usize| means.iter().zip(&means[lag..]).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    // Too few means say nothing; neither do equal ones.
    let (r0, r1) = (product(0), product(1));
    if means.len() < 30 || r0 == 0.0 {
        return NoiseType::Flicker;
    }
    let r = r1 / r0;
    match -2.0 * r / (1.0 + r) {
        exponent if exponent > -0.5 => NoiseType::White,
        exponent if exponent > -1.5 => NoiseType::Flicker,
        _ => NoiseType::RandomWalk,
    }
}

/// `n` phase points (samples and one), `m` samples averaged.
fn freedom(noise: NoiseType, n: f64, m: f64) -> f64 {
    let freedom = match noise {
        NoiseType::White => {
            (3.0 * (n - 1.0) / (2.0 * m) - 2.0 * (n - 2.0) / n) * 4.0 * m * m / (4.0 * m * m + 5.0)
        }
        NoiseType::Flicker if m == 1.0 => 2.0 * (n - 2.0).powi(2) / (2.3 * n - 4.9),
        NoiseType::Flicker => 5.0 * n * n / (4.0 * m * (n + 3.0 * m)),
        NoiseType::RandomWalk => {
            (n - 2.0) / m * ((n - 1.0).powi(2) - 3.0 * m * (n - 1.0) + 4.0 * m * m) / (n - 3.0).powi(2)
        }
    };
    freedom.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{coloured, white};
    use super::*;

    #[test]
    fn white_noise_averages_down_and_the_intervals_contain_it_as_often_as_they_say() {
        let (mut inside, mut all) = (0.0, 0.0_f64);
        for seed in 0..250 {
            for point in overlapping(&white(4096, 1.0, seed), 0.5).into_iter().take(8) {
                let (low, high) = point.interval(0.95);
                let truth = (0.5 / point.tau_s).sqrt();
                inside += f64::from(u8::from(low < truth && truth < high));
                all += 1.0;
            }
        }
        // 2000 intervals, those of one trace nearly independent (octaves): 3.5 binomial standard deviations.
        let allowed = 3.5 * (0.95 * 0.05 / all).sqrt();
        assert!((inside / all - 0.95_f64).abs() < allowed, "{inside} of {all}");
    }

    #[test]
    fn flicker_noise_has_a_floor_that_averaging_does_not_lower() {
        // σ² = 2·ln 2·h for S = h/f; mean of 100 traces at 64 samples, each with ~80 degrees of freedom.
        let mut sum = 0.0;
        for seed in 0..100 {
            sum += overlapping(&coloured(8192, 1.0, seed, |f| 0.1 / f), 1.0)[6].deviation.powi(2) / 100.0;
        }
        let expected = 2.0 * 2.0_f64.ln() * 0.1;
        // Five standard errors, and 2 % for the noise that ends at half the sampling rate.
        assert!((sum / expected - 1.0).abs() < 5.0 * (2.0 / 8000.0_f64).sqrt() + 0.02, "{sum} {expected}");
    }

    #[test]
    fn a_straight_drift_shows_as_its_slope_over_root_two() {
        let samples: Vec<f64> = (0..1000).map(|n| 0.01 * f64::from(n)).collect();
        for point in overlapping(&samples, 1.0) {
            assert!((point.deviation / (0.01 * point.tau_s / 2.0_f64.sqrt()) - 1.0).abs() < 1e-9);
        }
    }
}
