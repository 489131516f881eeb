//! Drift `G(t) = G₀·((t + t₀)/t₀)^−ν` from reads at times since the last pulse, whose noise is largely 1/f and therefore
//! correlated from read to read.
//!
//! Generalised least squares of ln G with the generalised covariance of 1/f noise, −q²·ln h (Mandelbrot & Van Ness,
//! SIAM Rev. 10, 422, 1968; Cressie, Statistics for Spatial Data, 5.4), q found by restricted maximum likelihood (Patterson &
//! Thompson, Biometrika 58, 545, 1971). t₀ is fitted with a wide prior: published values are 20 s (Nandakumar et al., ICECS
//! 2019) and 200 to 300 s (Le Gallo et al., Nat. Electron. 2023).

use super::estimate::Estimate;
use super::least_squares::{FitError, Normal};
use serde::Serialize;

/// One read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Read {
    /// Since the last pulse, s.
    pub time_s: f64,
    /// S.
    pub conductance_s: f64,
    /// Standard uncertainty of this read alone (what further reads don't share), S.
    pub standard_uncertainty_s: f64,
}

/// A fitted drift.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DriftFit {
    /// ν.
    pub exponent: Estimate,
    /// ln of the conductance in S at `reference_s`.
    pub ln_conductance: Estimate,
    /// Time at which that holds: the geometric mean of the reads' times, s.
    pub reference_s: f64,
    /// ln of t₀ in s.
    pub ln_t0_s: Estimate,
    /// q: relative 1/f fluctuation per square root of an e-fold of frequency.
    pub fluctuation: f64,
}

/// Centre and standard deviation of the prior of ln t₀: 50 s, within a factor of a hundred. A narrower one pulls ν along with t₀
/// wherever noise leaves t₀ open.
const PRIOR: (f64, f64) = (3.912_023_005_428_146, 2.0 * std::f64::consts::LN_10);
/// Fewest reads.
const LEAST: usize = 6;
const PARAMETERS: usize = 3;

/// Fits the drift of one cell. `read_s` is how long one read takes: faster fluctuations average out within it.
///
/// # Errors
/// [`FitError`] for fewer than six reads, conductances that aren't positive, or times that don't increase.
pub fn fit(reads: &[Read], read_s: f64) -> Result<DriftFit, FitError> {
    if reads.len() < LEAST {
        return Err(FitError::TooFew { got: reads.len(), needed: LEAST });
    }
    for (index, read) in reads.iter().enumerate() {
        for value in [read.conductance_s, read.time_s] {
            if !(value.is_finite() && value > 0.0) {
                return Err(FitError::Datum { index, value });
            }
        }
        if index > 0 && read.time_s <= reads[index - 1].time_s {
            return Err(FitError::Datum { index, value: read.time_s });
        }
    }
    let problem = Problem::new(reads, read_s);
    // The restricted likelihood is smooth in ln q: a coarse search, then golden section between its neighbours.
    let ln_q = |step: usize| -14.0 + 0.5 * step as f64;
    let best = (0..26)
        .filter_map(|step| problem.solve(ln_q(step).exp()).ok().map(|solved| (step, solved.cost)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .ok_or(FitError::Singular { parameters: PARAMETERS })?
        .0;
    let (mut low, mut high) = (ln_q(best.saturating_sub(1)), ln_q(best + 1));
    let golden = 0.5 * (5.0_f64.sqrt() - 1.0);
    for _ in 0..25 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        let cost = |ln_q: f64| problem.solve(ln_q.exp()).map_or(f64::INFINITY, |solved| solved.cost);
        if cost(a) < cost(b) { high = b } else { low = a }
    }
    let q = (0.5 * (low + high)).exp();
    let solved = problem.solve(q)?;
    // What part of the variance rests on q, which the reads themselves had to tell (Welch–Satterthwaite).
    let known = problem.solve(1e-7)?;
    let freedom = (reads.len() - PARAMETERS + 1) as f64;
    let estimate = |index: usize| {
        let variance = solved.covariance[index][index];
        let share = (1.0 - known.covariance[index][index] / variance).clamp(1e-3, 1.0);
        Estimate::from_scatter(solved.parameters[index], variance.sqrt(), freedom / (share * share))
    };
    Ok(DriftFit {
        exponent: estimate(1),
        ln_conductance: estimate(0),
        reference_s: problem.reference_s,
        ln_t0_s: estimate(2),
        fluctuation: q,
    })
}

/// A solution for one q.
struct Solved {
    /// ln G at the reference time, ν, ln t₀.
    parameters: [f64; PARAMETERS],
    covariance: [[f64; PARAMETERS]; PARAMETERS],
    /// −2 ln of the restricted likelihood.
    cost: f64,
}

struct Problem {
    ln_conductance: Vec<f64>,
    /// Relative variance of each read alone.
    alone: Vec<f64>,
    times_s: Vec<f64>,
    read_s: f64,
    reference_s: f64,
}

impl Problem {
    fn new(reads: &[Read], read_s: f64) -> Self {
        let times_s: Vec<f64> = reads.iter().map(|read| read.time_s).collect();
        let mean = times_s.iter().map(|t| t.ln()).sum::<f64>() / times_s.len() as f64;
        Self {
            ln_conductance: reads.iter().map(|read| read.conductance_s.ln()).collect(),
            alone: reads.iter().map(|r| (r.standard_uncertainty_s / r.conductance_s).powi(2)).collect(),
            times_s,
            read_s,
            reference_s: mean.exp(),
        }
    }

    fn solve(&self, q: f64) -> Result<Solved, FitError> {
        let factor = CorrelatedReads::new(&self.times_s, &self.alone, self.read_s, q)?;
        let (determinant, whiten) = (factor.ln_determinant, |values: Vec<f64>| factor.whitened(values));
        let mut parameters = [self.ln_conductance[0], 0.0, PRIOR.0];
        let step = |parameters: &mut [f64; PARAMETERS]| -> Result<Solved, FitError> {
            let t0_s = parameters[2].exp();
            let since = |t: f64| ((t + t0_s) / (self.reference_s + t0_s)).ln();
            let residual = self.times_s.iter().zip(&self.ln_conductance);
            let residual = residual.map(|(&t, y)| y - parameters[0] + parameters[1] * since(t)).collect();
            let by_exponent = self.times_s.iter().map(|&t| -since(t)).collect();
            let by_t0 = self
                .times_s
                .iter()
                .map(|&t| -parameters[1] * t0_s * (1.0 / (t + t0_s) - 1.0 / (self.reference_s + t0_s)));
            let residual = whiten(residual);
            let columns =
                [whiten(vec![1.0; self.times_s.len()]), whiten(by_exponent), whiten(by_t0.collect())];
            let mut normal = Normal::<PARAMETERS>::ZERO;
            for (i, residual) in residual.iter().enumerate() {
                normal.add(&[columns[0][i], columns[1][i], columns[2][i]], *residual, 1.0);
            }
            let off = PRIOR.0 - parameters[2];
            normal.add(&[0.0, 0.0, 1.0], off, PRIOR.1.powi(-2));
            let (direction, covariance) = normal.solve()?;
            let square = residual.iter().map(|r| r * r).sum::<f64>() + (off / PRIOR.1).powi(2);
            // ln det of the information, by its inverse's Cholesky pivots: three of them, by hand.
            let [[a, b, c], [_, d, e], [_, _, f]] = covariance;
            let minor = a * (d * f - e * e) - b * (b * f - e * c) + c * (b * e - d * c);
            let solved =
                Solved { parameters: *parameters, covariance, cost: square + determinant - minor.ln() };
            for (parameter, change) in parameters.iter_mut().zip(direction) {
                *parameter += change;
            }
            // Where ν is near zero a step in ln t₀ can be anything.
            parameters[2] = parameters[2].clamp(PRIOR.0 - 2.0 * PRIOR.1, PRIOR.0 + 2.0 * PRIOR.1);
            Ok(solved)
        };
        let mut solved = step(&mut parameters)?;
        for _ in 0..60 {
            let next = step(&mut parameters)?;
            let moved = (0..PARAMETERS).any(|i| {
                (next.parameters[i] - solved.parameters[i]).abs() > 1e-4 * next.covariance[i][i].sqrt()
            });
            solved = next;
            if !moved {
                break;
            }
        }
        Ok(solved)
    }
}

/// Covariance of reads that share 1/f noise, as its lower Cholesky factor.
pub(super) struct CorrelatedReads {
    lower: Vec<Vec<f64>>,
    /// ln of its determinant.
    pub(super) ln_determinant: f64,
}

impl CorrelatedReads {
    /// Of reads at `times_s` with relative variances `alone` of their own, each `read_s` long. `q²·ln((T + δ)/(h + δ))` is 1/f
    /// noise's −ln h, finite at h = δ, the length of a read, and zero at the whole length T: a constant that the intercept
    /// takes up.
    pub(super) fn new(times_s: &[f64], alone: &[f64], read_s: f64, q: f64) -> Result<Self, FitError> {
        let n = times_s.len();
        let whole_s = times_s[n - 1] - times_s[0] + read_s;
        let mut lower = vec![vec![0.0; n]; n];
        let mut ln_determinant = 0.0;
        for i in 0..n {
            for j in 0..=i {
                let apart_s = times_s[i] - times_s[j] + read_s;
                let own = if i == j { alone[i] } else { 0.0 };
                let covariance = q * q * (whole_s / apart_s).ln() + own;
                let (done, rest) = lower.split_at_mut(i);
                let row = &mut rest[0];
                let other = if j < i { &done[j] } else { &*row };
                let dot: f64 = row[..j].iter().zip(&other[..j]).map(|(a, b)| a * b).sum();
                row[j] = if i == j {
                    let pivot = covariance - dot;
                    if pivot.is_nan() || pivot <= 0.0 {
                        return Err(FitError::Singular { parameters: PARAMETERS });
                    }
                    ln_determinant += pivot.ln();
                    pivot.sqrt()
                } else {
                    (covariance - dot) / other[j]
                };
            }
        }
        Ok(Self { lower, ln_determinant })
    }

    /// Values with unit covariance.
    pub(super) fn whitened(&self, values: Vec<f64>) -> Vec<f64> {
        let mut out: Vec<f64> = Vec::with_capacity(values.len());
        for (value, row) in values.into_iter().zip(&self.lower) {
            let dot: f64 = out.iter().zip(row).map(|(a, b)| a * b).sum();
            out.push((value - dot) / row[out.len()]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ohmrig_emulator::random::Random;

    /// Reads of a drifting cell with 1/f noise from Ornstein–Uhlenbeck processes (time constants a factor 5 apart,
    /// relative variance level²·ln 5 each) and white noise.
    fn reads(exponent: f64, t0_s: f64, level: f64, alone: f64, seed: u64) -> Vec<Read> {
        let mut random = Random::new(seed, 9);
        let mut taus = vec![1e-3];
        while *taus.last().unwrap() < 1e6 {
            taus.push(taus.last().unwrap() * 5.0);
        }
        let mut states: Vec<f64> = taus.iter().map(|_| random.normal()).collect();
        let mut before_s = 0.0;
        (0..24)
            .map(|k| {
                let time_s = 10_f64.powf(0.2 * f64::from(k));
                let mut noise = 0.0;
                for (state, tau) in states.iter_mut().zip(&taus) {
                    let kept = f64::exp(-(time_s - before_s) / tau);
                    *state = kept * *state + (1.0 - kept * kept).sqrt() * random.normal();
                    noise += level * 5.0_f64.ln().sqrt() * *state;
                }
                before_s = time_s;
                let conductance_s =
                    1e-5 * ((time_s + t0_s) / t0_s).powf(-exponent) * (1.0 + noise + alone * random.normal());
                Read { time_s, conductance_s, standard_uncertainty_s: alone * conductance_s }
            })
            .collect()
    }

    #[test]
    fn the_exponent_is_covered_as_often_as_its_uncertainty_says() {
        for (exponent, t0_s, level, alone) in
            [(0.05, 20.0, 0.01, 1e-3), (0.1, 200.0, 1e-3, 3e-3), (0.0, 20.0, 0.003, 1e-4)]
        {
            let (mut inside, mut bias, n) = (0.0, 0.0, 400.0);
            for seed in 0..400 {
                let fit = fit(&reads(exponent, t0_s, level, alone, seed), 1e-3).unwrap();
                inside += f64::from(u8::from(fit.exponent.covers(exponent, 0.95)));
                bias += (fit.exponent.value - exponent) / fit.exponent.standard_uncertainty / n;
            }
            // 3.5 binomial standard deviations; a tenth and 3.5 standard errors.
            let allowed = 3.5 * (0.95 * 0.05 / n).sqrt();
            let case = format!("ν {exponent}, t₀ {t0_s}, 1/f {level}, white {alone}");
            assert!((inside / n - 0.95_f64).abs() < allowed, "{case}: {inside} of {n} contain the truth");
            assert!(bias.abs() < 0.1 + 3.5 / n.sqrt(), "{case}: bias {bias}");
        }
    }

    #[test]
    fn impossible_reads_are_named() {
        let mut bad = reads(0.05, 20.0, 0.0, 1e-3, 1);
        bad[3].conductance_s = -1.0;
        assert_eq!(fit(&bad, 1e-3).unwrap_err(), FitError::Datum { index: 3, value: -1.0 });
        assert!(matches!(fit(&bad[..4], 1e-3), Err(FitError::TooFew { got: 4, .. })));
    }
}
