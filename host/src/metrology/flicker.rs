//! Fit of 1/f noise on a white floor to a sampled trace: `S(f) = A·f^−γ + W`, optionally with one Lorentzian, by the
//! Whittle likelihood of a sine multitaper spectrum.
//!
//! Sampling folds what is above half the sampling rate back, and averaging k conversions damps it; the model is folded
//! and damped the same way, so that its parameters are those of the noise before it was sampled. Frequencies folded
//! more than a few times add a floor that is flat, and counts as part of W.

mod hidden_trap;

use super::estimate::Estimate;
use super::least_squares::{FitError, Normal, minimise};
use super::spectrum::{Multitaper, multitaper};
pub use hidden_trap::fit_beside_hidden_trap;
use std::f64::consts::PI;

/// How a trace was sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// From one conversion to the next, s.
    pub interval_s: f64,
    /// Conversions averaged in one sample.
    pub averaged: u32,
}

impl Sampling {
    /// From one sample to the next, s.
    #[must_use]
    pub fn spacing_s(&self) -> f64 {
        self.interval_s * f64::from(self.averaged)
    }

    /// Frequencies above 0 whose noise appears at `f`, with the part of its power that does.
    fn images(&self, f: f64) -> Vec<(f64, f64)> {
        // Sidelobes of the average that matter, and images around multiples of the conversion rate.
        const LOBES: i64 = 16;
        const IMAGES: i64 = 8;
        let k = i64::from(self.averaged);
        let lobes = if k > 1 { -LOBES..=LOBES } else { 0..=0 };
        let images = (-IMAGES..=IMAGES).map(|p| p * k);
        let mut orders: Vec<i64> = lobes.chain(images).collect();
        orders.sort_unstable();
        orders.dedup();
        let image = |order: i64| {
            let hz = f + order as f64 / self.spacing_s();
            let phase = PI * hz * self.interval_s;
            let weight =
                if k == 1 { 1.0 } else { ((phase * k as f64).sin() / (k as f64 * phase.sin())).powi(2) };
            (hz.abs(), weight)
        };
        orders.into_iter().map(image).collect()
    }
}

/// 1/f noise on a white floor.
#[derive(Clone, Debug, PartialEq)]
pub struct FlickerFit {
    /// Whether the trace asks for 1/f noise at all (Bayesian information criterion against a white floor alone). If not,
    /// its level is 0 and neither it nor the exponent is known.
    pub resolved: bool,
    /// ln of A, the density of the 1/f part at 1 Hz in (unit of the samples)²/Hz.
    pub ln_density_1_hz: Estimate,
    /// γ.
    pub exponent: Estimate,
    /// White density W, (unit of the samples)²/Hz; may come out negative where there is none.
    pub white: Estimate,
    /// Covariance of ln A and γ.
    pub covariance: f64,
    /// A Lorentzian beside the 1/f noise, if the data ask for one: telegraph noise of one trap.
    pub lorentzian: Option<Lorentzian>,
    /// Where the 1/f part and everything else are equal, Hz; nothing if that is outside the band of the fit.
    pub corner_hz: Option<f64>,
    /// Frequencies the fit used, Hz.
    pub band_hz: (f64, f64),
    /// Scatter of the spectrum around the model against what it should be; about 1 if the model is right.
    pub reduced_chi_square: f64,
    /// Degrees of freedom of that.
    pub freedom: f64,
    /// Bayesian information criterion: −2 ln of the likelihood plus ln of the number of frequencies per parameter.
    pub(super) criterion: f64,
}

impl FlickerFit {
    /// Density of the 1/f part, (unit of the samples)²/Hz.
    #[must_use]
    pub fn power_law(&self, hz: f64) -> f64 {
        (self.ln_density_1_hz.value - self.exponent.value * hz.ln()).exp()
    }

    /// Density of all that was fitted, as sampling shows it.
    pub(super) fn density(&self, hz: f64, sampling: &Sampling) -> f64 {
        let one = |(hz, weight): (f64, f64)| {
            let step = self.lorentzian.map_or(0.0, |l| l.density / (1.0 + (hz / l.corner_hz).powi(2)));
            weight * (self.power_law(hz) + step)
        };
        self.white.value + sampling.images(hz).into_iter().map(one).sum::<f64>()
    }
}

/// `S(f) = L / (1 + (f/f_c)²)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lorentzian {
    /// Density at low frequencies, (unit of the samples)²/Hz.
    pub density: f64,
    /// f_c, Hz.
    pub corner_hz: f64,
}

/// What a fit sees of one group of frequencies.
struct Datum {
    hz: f64,
    density: f64,
    count: f64,
    /// Known part of the density: the instrument's.
    known: f64,
    /// ln of the frequencies that appear here, and their weights.
    images: Vec<(f64, f64)>,
    /// Density of a trap that is taken for given, against that of the 1/f noise at the trap's corner; 0 without one.
    trap: f64,
}

/// Frequencies in a group from which on its mean is nearly normal.
const NEARLY_NORMAL: f64 = 8.0;

/// The model's parameters in the order of the fit: ln A at the pivot, γ, W, ln L, ln f_c.
const POWER_LAW: usize = 3;
const WITH_LORENTZIAN: usize = 5;

struct Fit {
    data: Vec<Datum>,
    /// ln of the frequency at which A is fitted, so that it and γ are hardly correlated.
    ln_pivot: f64,
    inflation: f64,
    /// ln of the corner frequency of a trap that is taken for given.
    ln_corner: f64,
}

impl Fit {
    fn new(spectrum: &Multitaper, sampling: &Sampling, known: impl Fn(f64) -> f64) -> Self {
        let data: Vec<Datum> = spectrum
            .groups
            .iter()
            .map(|group| Datum {
                hz: group.frequency_hz,
                density: group.density,
                count: group.count,
                known: known(group.frequency_hz),
                images: sampling
                    .images(group.frequency_hz)
                    .into_iter()
                    .map(|(hz, weight)| (hz.ln(), weight))
                    .collect(),
                trap: 0.0,
            })
            .collect();
        let ln_pivot = 0.5 * (data[0].hz.ln() + data[data.len() - 1].hz.ln());
        Self { data, ln_pivot, inflation: spectrum.inflation, ln_corner: ln_pivot }
    }

    /// Density and its derivatives with respect to the parameters.
    fn model<const P: usize>(&self, datum: &Datum, p: &[f64; P]) -> (f64, [f64; P]) {
        let mut slope = [0.0; P];
        let mut density = p[2] + datum.known;
        slope[2] = 1.0;
        if datum.trap > 0.0 {
            let apart = self.ln_corner - self.ln_pivot;
            let power = datum.trap * (p[0] - p[1] * apart).exp();
            density += power;
            slope[0] += power;
            slope[1] -= power * apart;
        }
        for &(ln_hz, weight) in &datum.images {
            let power = weight * (p[0] - p[1] * (ln_hz - self.ln_pivot)).exp();
            density += power;
            slope[0] += power;
            slope[1] -= power * (ln_hz - self.ln_pivot);
            if P == WITH_LORENTZIAN {
                let ratio = (2.0 * (ln_hz - p[4])).exp();
                let power = weight * p[3].exp() / (1.0 + ratio);
                density += power;
                slope[3] += power;
                slope[4] += power * 2.0 * ratio / (1.0 + ratio);
            }
        }
        (density, slope)
    }

    /// −ln of the Whittle likelihood.
    fn cost<const P: usize>(&self, p: &[f64; P]) -> f64 {
        let one = |datum: &Datum| {
            let (density, _) = self.model(datum, p);
            if density > 0.0 { datum.count * (density.ln() + datum.density / density) } else { f64::INFINITY }
        };
        self.data.iter().map(one).sum()
    }

    /// Fisher scoring: weighted least squares of the relative deviations.
    fn normal<const P: usize>(&self, p: &[f64; P]) -> Normal<P> {
        let mut normal = Normal::ZERO;
        for datum in &self.data {
            let (density, slope) = self.model(datum, p);
            normal.add(&slope.map(|s| s / density), datum.density / density - 1.0, datum.count);
        }
        normal
    }

    /// Parameters, their covariance and the cost.
    #[allow(clippy::type_complexity)]
    fn run<const P: usize>(&self, start: [f64; P]) -> Result<([f64; P], [[f64; P]; P], f64), FitError> {
        let (p, inverse) = minimise(start, |p| self.cost(p), |p| self.normal(p))?;
        Ok((p, inverse, self.cost(&p)))
    }

    /// A white floor alone.
    fn white_only(&self) -> Result<FlickerFit, FitError> {
        let cost = |p: &[f64; 1]| {
            let one = |datum: &Datum| {
                let density = p[0] + datum.known;
                let ratio = datum.density / density;
                if density > 0.0 { datum.count * (density.ln() + ratio) } else { f64::INFINITY }
            };
            self.data.iter().map(one).sum()
        };
        let step = |p: &[f64; 1]| {
            let mut normal = Normal::<1>::ZERO;
            for datum in &self.data {
                let density = p[0] + datum.known;
                normal.add(&[1.0 / density], datum.density / density - 1.0, datum.count);
            }
            normal
        };
        let largest = self.data.iter().map(|datum| datum.density).fold(0.0, f64::max);
        let (p, inverse) = minimise([largest], cost, step)?;
        let count: f64 = self.data.iter().map(|datum| datum.count).sum();
        let wide = self.data.iter().filter(|datum| datum.count >= NEARLY_NORMAL);
        let (chi_square, groups) = wide.fold((0.0, 0.0), |(sum, groups), datum| {
            let relative = datum.density / (p[0] + datum.known) - 1.0;
            (sum + datum.count * relative * relative / self.inflation, groups + 1.0)
        });
        let freedom = f64::max(groups - 1.0, 1.0);
        Ok(FlickerFit {
            resolved: false,
            ln_density_1_hz: Estimate::new(f64::NEG_INFINITY, f64::INFINITY),
            exponent: Estimate::new(1.0, f64::INFINITY),
            white: Estimate::new(p[0], (self.inflation * inverse[0][0]).sqrt()),
            covariance: 0.0,
            lorentzian: None,
            corner_hz: None,
            band_hz: (self.data[0].hz, self.data[self.data.len() - 1].hz),
            reduced_chi_square: chi_square / freedom,
            freedom,
            criterion: 2.0 * cost(&p) / self.inflation + count.ln(),
        })
    }

    /// The better of 1/f noise on a floor and a floor alone.
    fn plain(&self) -> Result<FlickerFit, FitError> {
        let white = self.white_only()?;
        Ok(match self.run(self.start()) {
            Ok((p, inverse, cost)) => {
                let power_law = self.result(&p, &inverse, cost);
                if power_law.criterion < white.criterion { power_law } else { white }
            }
            // Nothing to tell an exponent from.
            Err(_) => white,
        })
    }

    /// Where to start: the floor from the top of the band, the 1/f part from the bottom.
    fn start(&self) -> [f64; POWER_LAW] {
        let mean = |data: &[Datum], value: &dyn Fn(&Datum) -> f64| {
            let (sum, count) =
                data.iter().fold((0.0, 0.0), |(s, c), d| (s + d.count * value(d), c + d.count));
            sum / count
        };
        let n = self.data.len();
        let top = mean(&self.data[n - n / 10 - 1..], &|d| d.density);
        let low = &self.data[..n.div_ceil(3)];
        let at_pivot =
            mean(low, &|d| (d.density - 0.5 * top).max(0.1 * d.density) * d.hz) / self.ln_pivot.exp();
        [at_pivot.ln(), 1.0, (0.5 * top - at_pivot * 0.1).max(0.01 * top)]
    }

    /// χ² of groups wide enough to be nearly normal, and how many there are.
    fn chi_square<const P: usize>(&self, p: &[f64; P]) -> (f64, f64) {
        let wide = self.data.iter().filter(|datum| datum.count >= NEARLY_NORMAL);
        wide.fold((0.0, 0.0), |(sum, count), datum| {
            let relative = datum.density / self.model(datum, p).0 - 1.0;
            (sum + datum.count * relative * relative / self.inflation, count + 1.0)
        })
    }

    fn result<const P: usize>(&self, p: &[f64; P], inverse: &[[f64; P]; P], cost: f64) -> FlickerFit {
        let (chi_square, groups) = self.chi_square(p);
        let freedom = (groups - P as f64).max(1.0);
        // A model that doesn't fit has larger uncertainties than its likelihood says (Birge, Phys. Rev. 40, 207,
        // 1932); scatter alone passes this bound once in 700 times.
        let reduced = chi_square / freedom;
        let birge = if reduced > 1.0 + 3.0 * (2.0 / freedom).sqrt() { reduced } else { 1.0 };
        let c = |i: usize, j: usize| self.inflation * birge * inverse[i][j];
        // From the pivot to 1 Hz: ln A(1 Hz) = p0 + γ·ln pivot.
        let l = self.ln_pivot;
        let variance = c(0, 0) + 2.0 * l * c(0, 1) + l * l * c(1, 1);
        let amplitude = p[0] + p[1] * l;
        let rest = |hz: f64| {
            let step =
                if P == WITH_LORENTZIAN { p[3].exp() / (1.0 + (hz / p[4].exp()).powi(2)) } else { 0.0 };
            p[2] + step
        };
        let count: f64 = self.data.iter().map(|datum| datum.count).sum();
        let (first, last) = (self.data[0].hz, self.data[self.data.len() - 1].hz);
        let above = |hz: f64| (amplitude - p[1] * hz.ln()).exp() - rest(hz);
        let corner_hz = (above(first) > 0.0 && above(last) < 0.0).then(|| {
            let (mut low, mut high) = (first.ln(), last.ln());
            for _ in 0..60 {
                let middle = 0.5 * (low + high);
                if above(middle.exp()) > 0.0 { low = middle } else { high = middle }
            }
            low.exp()
        });
        FlickerFit {
            resolved: true,
            ln_density_1_hz: Estimate::new(amplitude, variance.sqrt()),
            exponent: Estimate::new(p[1], c(1, 1).sqrt()),
            white: Estimate::new(p[2], c(2, 2).sqrt()),
            covariance: c(0, 1) + l * c(1, 1),
            lorentzian: (P == WITH_LORENTZIAN)
                .then(|| Lorentzian { density: p[3].exp(), corner_hz: p[4].exp() }),
            corner_hz,
            band_hz: (first, last),
            reduced_chi_square: reduced,
            freedom,
            criterion: 2.0 * cost / self.inflation + (P + usize::from(P > POWER_LAW) * 2) as f64 * count.ln(),
        }
    }
}

/// Least groups of frequencies for a fit.
const LEAST_GROUPS: usize = 12;

/// Fits 1/f noise on a white floor to `samples`. `known` is the part of the density that is known already, the
/// instrument's, as a function of the frequency in Hz; frequencies for which `leave_out` says so (mains) don't count.
///
/// A Lorentzian joins the model if the Bayesian information criterion asks for it. Uncertainties are the inverse Fisher
/// information times the tapers' inflation, and wider where the model doesn't fit.
///
/// # Errors
/// [`FitError::TooFew`] for a trace that is too short; [`FitError::Datum`] for one without any noise.
pub fn fit(
    samples: &[f64],
    sampling: &Sampling,
    known: impl Fn(f64) -> f64,
    leave_out: impl Fn(f64) -> bool,
) -> Result<FlickerFit, FitError> {
    prepare(samples, sampling, known, leave_out)?.best()
}

impl Fit {
    /// 1/f noise on a floor or a floor alone, with a Lorentzian if the data ask for one.
    fn best(&self) -> Result<FlickerFit, FitError> {
        let mut best = self.plain()?;
        let p = if best.resolved {
            let pivot = best.ln_density_1_hz.value - best.exponent.value * self.ln_pivot;
            [pivot, best.exponent.value, best.white.value]
        } else {
            self.start()
        };
        // Corners to start from, once a decade of the band.
        let (first, last) = best.band_hz;
        let mut corner_hz = 2.0 * first;
        while corner_hz < last {
            let at_corner = self.data.iter().find(|d| d.hz >= corner_hz).map_or(0.0, |d| self.model(d, &p).0);
            let start = [p[0] - 0.3, p[1], p[2], (0.3 * at_corner).ln(), corner_hz.ln()];
            if let Ok((q, inverse, cost)) = self.run(start)
                && (first.ln()..last.ln()).contains(&q[4])
            {
                let found: FlickerFit = self.result(&q, &inverse, cost);
                if found.criterion < best.criterion {
                    best = found;
                }
            }
            corner_hz *= 10.0;
        }
        Ok(best)
    }
}

/// The same without a Lorentzian.
pub(super) fn fit_plain(
    samples: &[f64],
    sampling: &Sampling,
    known: impl Fn(f64) -> f64,
    leave_out: impl Fn(f64) -> bool,
) -> Result<FlickerFit, FitError> {
    prepare(samples, sampling, known, leave_out)?.plain()
}

fn prepare(
    samples: &[f64],
    sampling: &Sampling,
    known: impl Fn(f64) -> f64,
    leave_out: impl Fn(f64) -> bool,
) -> Result<Fit, FitError> {
    let spectrum = multitaper(samples, sampling.spacing_s(), leave_out)
        .ok_or(FitError::TooFew { got: samples.len(), needed: 32 })?;
    if spectrum.groups.len() < LEAST_GROUPS {
        return Err(FitError::TooFew { got: spectrum.groups.len(), needed: LEAST_GROUPS });
    }
    if let Some((index, group)) =
        spectrum.groups.iter().enumerate().find(|(_, g)| !(g.density.is_finite() && g.density > 0.0))
    {
        return Err(FitError::Datum { index, value: group.density });
    }
    Ok(Fit::new(&spectrum, sampling, known))
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{coloured, telegraph};
    use super::*;

    const SAMPLING: Sampling = Sampling { interval_s: 1e-3, averaged: 1 };

    /// Coverage and bias of a quantity: (contained, sum of deviations in standard uncertainties, their number).
    #[derive(Default)]
    struct Tally(f64, f64, f64);

    impl Tally {
        fn add(&mut self, estimate: Estimate, truth: f64) {
            self.0 += f64::from(u8::from(estimate.covers(truth, 0.95)));
            self.1 += (estimate.value - truth) / estimate.standard_uncertainty;
            self.2 += 1.0;
        }

        /// 95 % within 3.5 binomial standard deviations; bias below a tenth of the standard uncertainty and 3.5 standard
        /// errors.
        fn check(&self, what: &str) {
            let Self(inside, deviations, n) = *self;
            let allowed = 3.5 * (0.95 * 0.05 / n).sqrt();
            assert!((inside / n - 0.95).abs() < allowed, "{what}: {inside} of {n} contain the truth");
            assert!((deviations / n).abs() < 0.1 + 3.5 / n.sqrt(), "{what}: bias {}", deviations / n);
        }
    }

    #[test]
    fn level_exponent_and_floor_are_covered_as_often_as_their_uncertainties_say() {
        for (gamma, white) in [(1.0, 0.02), (0.8, 0.1), (1.3, 0.01)] {
            let (mut level, mut exponent, mut floor) = (Tally::default(), Tally::default(), Tally::default());
            for seed in 0..300 {
                let samples = coloured(8192, 1e-3, seed, |f| 0.3 * f.powf(-gamma) + white);
                // Made at these samples: nothing is folded back.
                let sampling = SAMPLING;
                let fit = fit_unfolded(&samples, &sampling);
                level.add(fit.ln_density_1_hz, 0.3_f64.ln());
                exponent.add(fit.exponent, gamma);
                floor.add(fit.white, white);
            }
            level.check(&format!("level at γ = {gamma}"));
            exponent.check(&format!("exponent {gamma}"));
            floor.check(&format!("floor at γ = {gamma}"));
        }
    }

    /// As `fit`, for samples whose noise ends at half the sampling rate.
    fn fit_unfolded(samples: &[f64], sampling: &Sampling) -> FlickerFit {
        let spectrum = multitaper(samples, sampling.spacing_s(), |_| false).unwrap();
        let mut fit = Fit::new(&spectrum, sampling, |_| 0.0);
        for datum in &mut fit.data {
            datum.images = vec![(datum.hz.ln(), 1.0)];
        }
        let (p, inverse, cost) = fit.run(fit.start()).unwrap();
        fit.result(&p, &inverse, cost)
    }

    #[test]
    fn noise_folded_back_by_slow_sampling_or_damped_by_averaging_does_not_bend_the_exponent() {
        // 1/f to 16 times half the sampling rate, then every 16th sample, or means of 4 of every 4th.
        for (keep, averaged) in [(16, 1), (4, 4)] {
            let mut exponent = Tally::default();
            for seed in 0..150 {
                let fine = coloured(1 << 16, 1e-4, seed, |f| 1.0 / f);
                let raw: Vec<f64> = fine.iter().step_by(keep).copied().collect();
                let samples: Vec<f64> =
                    raw.chunks_exact(averaged).map(|c| c.iter().sum::<f64>() / averaged as f64).collect();
                let sampling = Sampling { interval_s: 1e-4 * keep as f64, averaged: averaged as u32 };
                exponent.add(fit(&samples, &sampling, |_| 0.0, |_| false).unwrap().exponent, 1.0);
            }
            exponent.check(&format!("exponent of every {keep}th sample, {averaged} averaged"));
        }
    }

    #[test]
    fn strong_telegraph_noise_appears_as_a_lorentzian_and_leaves_the_exponent_alone() {
        let (mut found, mut invented) = (0, 0);
        for seed in 0..40 {
            let mut samples = coloured(16_384, 1e-3, seed, |f| 0.02 / f + 1e-4);
            let quiet = fit(&samples, &SAMPLING, |_| 0.0, |_| false).unwrap();
            invented += u32::from(quiet.lorentzian.is_some());
            for (x, filled) in samples.iter_mut().zip(telegraph(16_384, 1e-3, [0.03, 0.05], seed)) {
                *x += f64::from(u8::from(filled));
            }
            let fit = fit(&samples, &SAMPLING, |_| 0.0, |_| false).unwrap();
            if let Some(lorentzian) = fit.lorentzian {
                // f_c = (1/0.03 + 1/0.05)/2π = 8.5 Hz, with some 400 periods in a trace and 1/f noise as strong beside it.
                assert!((lorentzian.corner_hz / 8.49).ln().abs() < 0.5, "seed {seed}: {lorentzian:?}");
                found += 1;
                assert!(
                    (fit.exponent.value - 1.0).abs() < 5.0 * fit.exponent.standard_uncertainty,
                    "seed {seed}"
                );
            }
        }
        assert_eq!(invented, 0);
        // It stands four times above the 1/f noise at its corner: not enough for the penalty in every trace.
        assert!(found >= 30, "{found} of 40");
    }

    #[test]
    fn a_trace_that_is_too_short_is_refused() {
        assert!(matches!(fit(&[1.0; 20], &SAMPLING, |_| 0.0, |_| false), Err(FitError::TooFew { .. })));
        assert!(matches!(fit(&[1.0; 4096], &SAMPLING, |_| 0.0, |_| false), Err(FitError::Datum { .. })));
    }
}
