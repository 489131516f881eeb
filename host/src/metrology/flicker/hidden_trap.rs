//! What a trap too weak to be seen does to the 1/f noise beside it.
//!
//! A Lorentzian as strong as a third of the 1/f noise at its corner is hardly told from 1/f noise over a few decades, but it shifts level
//! and exponent by their uncertainties. Neither leaving it out nor fitting it is right: level and exponent are averages over spectra
//! with a trap of several strengths and corners, and without one, each with its posterior probability (Bayesian model averaging:
//! Hoeting et al., Stat. Sci. 14, 382, 1999).

use super::super::estimate::Estimate;
use super::super::least_squares::FitError;
use super::{Fit, FlickerFit, POWER_LAW, Sampling, prepare};
use statrs::distribution::{ContinuousCDF, Normal};

/// Prior probability that a cell has a trap of one of the strengths below. Assumed: of cells as the profile `rram-cmo` describes
/// them, one in eight has a trap, and every fourth of those is as strong. Chosen with seeds below 1000.
const PRIOR: f64 = 1.0 / 15.0;
/// A trap's density against that of the 1/f noise, both at its corner: from what the level's uncertainty hides to as much as the 1/f noise.
const STRENGTHS: [f64; 3] = [0.1, 0.4, 1.2];
/// Corners lie this factor apart: a Lorentzian is as wide as a decade.
const APART: f64 = 3.162_277_660_168_379_5;

/// As [`super::fit`], for a cell that may have a trap: where neither a Lorentzian nor a floor without 1/f noise is the answer, level, exponent and
/// floor are averages over traps that the spectrum doesn't show.
///
/// # Errors
/// Those of [`super::fit`].
pub fn fit_beside_hidden_trap(
    samples: &[f64],
    sampling: &Sampling,
    known: impl Fn(f64) -> f64,
    leave_out: impl Fn(f64) -> bool,
) -> Result<FlickerFit, FitError> {
    let mut fit = prepare(samples, sampling, known, leave_out)?;
    let best = fit.best()?;
    if !best.resolved || best.lorentzian.is_some() {
        return Ok(best);
    }
    let start = fit.run(fit.start())?.0;
    let mut models = vec![(fit.weighed(start)?, (1.0 - PRIOR).ln())];
    let traps = corners(best.band_hz).flat_map(|hz| STRENGTHS.map(|strength| (hz, strength)));
    let traps: Vec<(f64, f64)> = traps.collect();
    let prior = (PRIOR / traps.len() as f64).ln();
    for (corner_hz, strength) in traps {
        fit.place(corner_hz, strength);
        // A trap beside which no 1/f noise fits explains nothing: it has no part in the average.
        if let Ok(model) = fit.weighed(start) {
            models.push((model, prior));
        }
    }
    Ok(average(&models, best))
}

/// From half a decade below the band, where a Lorentzian is as 1/f² in all of it, to its middle. Higher up it shifts the exponent rather than the
/// level, and averages over it would widen the exponent's intervals of cells without a trap to more than 95 %.
fn corners((first, last): (f64, f64)) -> impl Iterator<Item = f64> {
    let middle = (first * last).sqrt();
    std::iter::successors(Some(first / APART), |hz| Some(hz * APART)).take_while(move |&hz| hz <= middle)
}

/// A fitted model and ln of its marginal likelihood (Laplace), up to a constant.
struct Weighed {
    fit: FlickerFit,
    evidence: f64,
}

impl Fit {
    /// A trap with this corner, and this density against that of the 1/f noise there.
    fn place(&mut self, corner_hz: f64, strength: f64) {
        self.ln_corner = corner_hz.ln();
        for datum in &mut self.data {
            let lorentzian = |&(ln_hz, weight): &(f64, f64)| {
                // Half of what it has at low frequencies is left at the corner.
                2.0 * strength * weight / (1.0 + (2.0 * (ln_hz - self.ln_corner)).exp())
            };
            datum.trap = datum.images.iter().map(lorentzian).sum();
        }
    }

    fn weighed(&self, start: [f64; POWER_LAW]) -> Result<Weighed, FitError> {
        let (p, inverse, cost) = self.run(start)?;
        let [[a, b, c], [_, d, e], [_, _, f]] = inverse;
        let volume = a * (d * f - e * e) - b * (b * f - e * c) + c * (b * e - d * c);
        Ok(Weighed {
            fit: self.result(&p, &inverse, cost),
            evidence: 0.5 * volume.ln() - cost / self.inflation,
        })
    }
}

/// `best` with averages over the models.
fn average(models: &[(Weighed, f64)], best: FlickerFit) -> FlickerFit {
    let ln_weight = |(model, prior): &(Weighed, f64)| model.evidence + prior;
    let most = models.iter().map(ln_weight).filter(|w| w.is_finite()).fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = models.iter().map(|m| (ln_weight(m) - most).exp()).collect();
    let sum: f64 = weights.iter().filter(|w| w.is_finite()).sum();
    let parts: Vec<(f64, &FlickerFit)> = weights
        .iter()
        .zip(models)
        .filter(|(weight, _)| weight.is_finite())
        .map(|(weight, (model, _))| (weight / sum, &model.fit))
        .collect();
    let mixture = |of: fn(&FlickerFit) -> Estimate| {
        Mixture(parts.iter().map(|(weight, fit)| (*weight, of(fit))).collect())
    };
    let level = mixture(|fit| fit.ln_density_1_hz);
    let exponent = mixture(|fit| fit.exponent);
    let (ln_a, gamma) = (level.mean(), exponent.mean());
    let covariance: f64 = parts
        .iter()
        .map(|(weight, fit)| {
            weight * (fit.covariance + (fit.ln_density_1_hz.value - ln_a) * (fit.exponent.value - gamma))
        })
        .sum();
    let correlation = covariance / (level.deviation() * exponent.deviation());
    let (ln_density_1_hz, exponent) = (level.estimate(), exponent.estimate());
    FlickerFit {
        ln_density_1_hz,
        exponent,
        white: mixture(|fit| fit.white).estimate(),
        covariance: correlation * ln_density_1_hz.standard_uncertainty * exponent.standard_uncertainty,
        ..best
    }
}

/// Normal distributions with their weights, which add up to 1.
struct Mixture(Vec<(f64, Estimate)>);

impl Mixture {
    fn mean(&self) -> f64 {
        self.0.iter().map(|(weight, part)| weight * part.value).sum()
    }

    fn deviation(&self) -> f64 {
        let mean = self.mean();
        let one = |(weight, part): &(f64, Estimate)| {
            weight * (part.standard_uncertainty.powi(2) + (part.value - mean).powi(2))
        };
        self.0.iter().map(one).sum::<f64>().sqrt()
    }

    /// Part of it within `half` of its mean.
    fn within(&self, half: f64) -> f64 {
        let mean = self.mean();
        let one = |(weight, part): &(f64, Estimate)| {
            Normal::new(part.value, part.standard_uncertainty)
                .map_or(f64::NAN, |normal| weight * (normal.cdf(mean + half) - normal.cdf(mean - half)))
        };
        self.0.iter().map(one).sum()
    }

    /// The mean, with the standard uncertainty of the normal distribution that has 95 % as close to it: the tails are longer, and
    /// their standard deviation would say too much.
    fn estimate(&self) -> Estimate {
        let (mut low, mut high) = (0.0, 4.0 * self.deviation());
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if self.within(1.96 * middle) < 0.95 { low = middle } else { high = middle }
        }
        Estimate::new(self.mean(), high)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::synthetic::{coloured, telegraph};
    use super::super::fit;
    use super::*;
    use ohmrig_emulator::random::Random;

    const LEVEL: f64 = 4e-6;

    /// 1/f noise with what sampling folds back, and a trap of strength `amplitude` if that isn't 0.
    fn trace(seed: u64, amplitude: f64, dwell_s: [f64; 2]) -> Vec<f64> {
        let (count, keep, fine_s) = (8192, 16, 5e-5);
        let fine = coloured(count * keep, fine_s, seed, |f| LEVEL / f);
        let filled = telegraph(count, fine_s * keep as f64, dwell_s, seed);
        fine.iter()
            .step_by(keep)
            .zip(filled)
            .map(|(x, filled)| x - amplitude * f64::from(u8::from(filled)))
            .collect()
    }

    const SAMPLING: Sampling = Sampling { interval_s: 8e-4, averaged: 1 };

    /// Intervals that contain the truth, of level and exponent, and the level's mean deviation in standard uncertainties.
    #[derive(Default)]
    struct Tally([f64; 2], f64);

    impl Tally {
        fn add(&mut self, fit: &FlickerFit, n: f64) {
            self.0[0] += f64::from(u8::from(fit.ln_density_1_hz.covers(LEVEL.ln(), 0.95))) / n;
            self.0[1] += f64::from(u8::from(fit.exponent.covers(1.0, 0.95))) / n;
            self.1 += (fit.ln_density_1_hz.value - LEVEL.ln()) / fit.ln_density_1_hz.standard_uncertainty / n;
        }

        /// 3.5 binomial standard deviations; a tenth and 3.5 standard errors.
        fn check(&self, what: &str, n: f64) {
            for (quantity, inside) in ["level", "exponent"].iter().zip(self.0) {
                let allowed = 3.5 * (0.95 * 0.05 / n).sqrt();
                assert!((inside - 0.95).abs() < allowed, "{quantity} {what}: {inside} contain the truth");
            }
            assert!(self.1.abs() < 0.1 + 3.5 / n.sqrt(), "{what}: bias {}", self.1);
        }
    }

    #[test]
    fn level_and_exponent_without_a_trap_are_covered_as_before() {
        let n = 200.0;
        let mut found = Tally::default();
        for seed in 0..200 {
            let samples = trace(seed, 0.0, [1.0; 2]);
            found.add(&fit_beside_hidden_trap(&samples, &SAMPLING, |_| 0.0, |_| false).unwrap(), n);
        }
        found.check("without a trap", n);
    }

    #[test]
    fn a_trap_that_the_spectrum_hides_biases_the_level_less_and_leaves_it_covered() {
        let n = 200.0;
        let (mut found, mut plain) = (Tally::default(), Tally::default());
        for seed in 0..200 {
            // As in the profile `rram-cmo`: dwells log-uniform from 1 ms to 100 s, steps exponential about 1.5 times the level's root.
            let mut random = Random::new(seed, 4);
            let amplitude = -1.5 * LEVEL.sqrt() * (1.0 - random.uniform()).ln();
            let dwell_s = [(); 2].map(|()| 1e-3 * (1e5_f64.ln() * random.uniform()).exp());
            let samples = trace(seed, amplitude, dwell_s);
            found.add(&fit_beside_hidden_trap(&samples, &SAMPLING, |_| 0.0, |_| false).unwrap(), n);
            plain.add(&fit(&samples, &SAMPLING, |_| 0.0, |_| false).unwrap(), n);
        }
        found.check("beside a trap", n);
        assert!(found.1 < plain.1 - 0.05, "bias {} averaged, {} without", found.1, plain.1);
        assert!(found.0[0] > plain.0[0], "{:?} averaged, {:?} without", found.0, plain.0);
    }

    #[test]
    fn a_mixture_of_one_is_what_it_is_made_of_and_of_two_lies_between() {
        let one = Estimate::new(2.0, 0.3);
        let same = Mixture(vec![(1.0, one)]).estimate();
        // 1.96 is the normal distribution's factor to 2e-5.
        assert!((same.value - 2.0).abs() < 1e-12 && (same.standard_uncertainty - 0.3).abs() < 1e-4);
        let both = Mixture(vec![(0.5, one), (0.5, Estimate::new(4.0, 0.3))]);
        let found = both.estimate();
        assert!((found.value - 3.0).abs() < 1e-12);
        // Each half has 5 % beyond: 1 + 1.645 · 0.3.
        assert!((1.96 * found.standard_uncertainty - 1.4935).abs() < 1e-3, "{found:?}");
    }
}
