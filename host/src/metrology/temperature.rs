//! Temperature coefficient d(ln G)/dT from reads while the temperature wandered by itself. 1/f noise is slow, and so is a
//! room's temperature: a straight line through the points would take one for the other and be far too sure. So the fit is
//! generalised least squares with the covariance of 1/f noise, whose size the reads tell, and a drift in ln t beside it, as
//! for [`super::drift`].

use super::drift::{CorrelatedReads, Read};
use super::estimate::Estimate;
use super::least_squares::{FitError, Normal};
use thiserror::Error;

/// Least span of temperatures for a coefficient, K: ten times the thermometer's 0.1 K.
pub const LEAST_SPAN_K: f64 = 1.0;
/// Fewest reads.
const LEAST: usize = 8;
/// Intercept, coefficient, drift.
const PARAMETERS: usize = 3;

/// Why there is no coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum NoCoefficient {
    /// The temperature stayed where it was.
    #[error("the temperature wandered by {span_k:.2} K where a coefficient takes at least {LEAST_SPAN_K} K")]
    Span {
        /// By how much it wandered, K.
        span_k: f64,
    },
    /// The reads are too few, or can't be fitted.
    #[error(transparent)]
    Fit(#[from] FitError),
}

/// The coefficient of one cell, 1/K, from reads with the temperature at each, K. Drift is in ln of time + `t0_s`; `read_s` is how
/// long one read takes.
///
/// # Errors
/// [`NoCoefficient`].
pub fn coefficient(
    reads: &[Read],
    kelvin: &[f64],
    read_s: f64,
    t0_s: f64,
) -> Result<Estimate, NoCoefficient> {
    if reads.len() < LEAST || kelvin.len() != reads.len() {
        return Err(FitError::TooFew { got: reads.len().min(kelvin.len()), needed: LEAST }.into());
    }
    let (low, high) =
        kelvin.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &k| (l.min(k), h.max(k)));
    if high.is_nan() || high - low < LEAST_SPAN_K {
        return Err(NoCoefficient::Span { span_k: high - low });
    }
    for (index, read) in reads.iter().enumerate() {
        if !(read.conductance_s.is_finite() && read.conductance_s > 0.0) {
            return Err(FitError::Datum { index, value: read.conductance_s }.into());
        }
        if index > 0 && read.time_s <= reads[index - 1].time_s {
            return Err(FitError::Datum { index, value: read.time_s }.into());
        }
    }
    let problem = Problem::new(reads, kelvin, read_s, t0_s);
    // The restricted likelihood is smooth in ln q: a coarse search, then golden section between its neighbours.
    let ln_q = |step: usize| -14.0 + 0.5 * step as f64;
    let cost = |ln_q: f64| problem.solve(ln_q.exp()).map_or(f64::INFINITY, |solved| solved.2);
    let best = (0..26).min_by(|&a, &b| cost(ln_q(a)).total_cmp(&cost(ln_q(b)))).unwrap_or(0);
    let (mut low, mut high) = (ln_q(best.saturating_sub(1)), ln_q(best + 1));
    let golden = 0.5 * (5.0_f64.sqrt() - 1.0);
    for _ in 0..12 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if cost(a) < cost(b) { high = b } else { low = a }
    }
    let (parameters, covariance, _) = problem.solve((0.5 * (low + high)).exp())?;
    // What part of the variance rests on q, which the reads themselves had to tell (Welch–Satterthwaite).
    let known = problem.solve(1e-7)?.1;
    let share = (1.0 - known[1][1] / covariance[1][1]).clamp(1e-3, 1.0);
    let freedom = (reads.len() - PARAMETERS + 1) as f64 / (share * share);
    Ok(Estimate::from_scatter(parameters[1], covariance[1][1].sqrt(), freedom))
}

struct Problem {
    ln_conductance: Vec<f64>,
    alone: Vec<f64>,
    times_s: Vec<f64>,
    read_s: f64,
    columns: [Vec<f64>; PARAMETERS],
}

/// Parameters, their covariance, and −2 ln of the restricted likelihood.
type Solved = ([f64; PARAMETERS], [[f64; PARAMETERS]; PARAMETERS], f64);

impl Problem {
    fn new(reads: &[Read], kelvin: &[f64], read_s: f64, t0_s: f64) -> Self {
        let n = reads.len() as f64;
        let centred = |values: Vec<f64>| {
            let mean = values.iter().sum::<f64>() / n;
            values.into_iter().map(|value| value - mean).collect::<Vec<f64>>()
        };
        Self {
            ln_conductance: centred(reads.iter().map(|read| read.conductance_s.ln()).collect()),
            alone: reads.iter().map(|r| (r.standard_uncertainty_s / r.conductance_s).powi(2)).collect(),
            times_s: reads.iter().map(|read| read.time_s).collect(),
            read_s,
            columns: [
                vec![1.0; reads.len()],
                centred(kelvin.to_vec()),
                centred(reads.iter().map(|read| (read.time_s + t0_s).ln()).collect()),
            ],
        }
    }

    fn solve(&self, q: f64) -> Result<Solved, FitError> {
        let factor = CorrelatedReads::new(&self.times_s, &self.alone, self.read_s, q)?;
        let y = factor.whitened(self.ln_conductance.clone());
        let columns = self.columns.each_ref().map(|column| factor.whitened(column.clone()));
        let mut normal = Normal::<PARAMETERS>::ZERO;
        let row = |i: usize| columns.each_ref().map(|column| column[i]);
        for (i, y) in y.iter().enumerate() {
            normal.add(&row(i), *y, 1.0);
        }
        let (parameters, covariance) = normal.solve()?;
        let square: f64 = y
            .iter()
            .enumerate()
            .map(|(i, y)| (y - row(i).iter().zip(&parameters).map(|(a, p)| a * p).sum::<f64>()).powi(2))
            .sum();
        let [[a, b, c], [_, d, e], [_, _, f]] = covariance;
        let determinant = a * (d * f - e * e) - b * (b * f - e * c) + c * (b * e - d * c);
        Ok((parameters, covariance, square + factor.ln_determinant - determinant.ln()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ohmrig_emulator::random::Random;

    /// A day of reads, every quarter of an hour, of a cell with a coefficient, 1/f noise (Ornstein–Uhlenbeck processes, time constants a
    /// factor 5 apart, relative variance level²·ln 5 each) and a room that wanders by 0.7 K within an hour.
    fn day(coefficient: f64, level: f64, seed: u64) -> (Vec<Read>, Vec<f64>) {
        let mut random = Random::new(seed, 9);
        let taus: Vec<f64> = (0..14).map(|k| 1e-3 * 5_f64.powi(k)).collect();
        let mut states: Vec<f64> = taus.iter().map(|_| random.normal()).collect();
        let mut room = random.normal();
        let mut kelvin = Vec::new();
        let reads = (0..96)
            .map(|k| {
                let mut noise = 0.0;
                for (state, tau) in states.iter_mut().zip(&taus) {
                    let kept = f64::exp(-900.0 / tau);
                    *state = kept * *state + (1.0 - kept * kept).sqrt() * random.normal();
                    noise += level * 5.0_f64.ln().sqrt() * *state;
                }
                let kept = f64::exp(-900.0 / 3600.0);
                room = kept * room + (1.0 - kept * kept).sqrt() * random.normal();
                kelvin.push(298.0 + 0.7 * room);
                let ln = coefficient * 0.7 * room + noise + 1e-4 * random.normal();
                let conductance_s = 2e-5 * ln.exp();
                Read {
                    time_s: 900.0 * f64::from(k + 1),
                    conductance_s,
                    standard_uncertainty_s: 1e-4 * conductance_s,
                }
            })
            .collect();
        (reads, kelvin)
    }

    #[test]
    fn the_coefficient_is_covered_as_often_as_its_uncertainty_says() {
        for (truth, level) in [(1e-3, 1e-3), (-2e-3, 1e-4)] {
            let (mut inside, mut bias, n) = (0.0, 0.0, 150.0);
            for seed in 0..150 {
                let (reads, kelvin) = day(truth, level, seed);
                let found = coefficient(&reads, &kelvin, 1e-2, 50.0).unwrap();
                inside += f64::from(u8::from(found.covers(truth, 0.95)));
                bias += (found.value - truth) / found.standard_uncertainty / n;
            }
            // 3.5 binomial standard deviations; a tenth and 3.5 standard errors.
            let allowed = 3.5 * (0.95 * 0.05 / n).sqrt();
            assert!(
                (inside / n - 0.95_f64).abs() < allowed,
                "{truth}, 1/f {level}: {inside} of {n} contain the truth"
            );
            assert!(bias.abs() < 0.1 + 3.5 / n.sqrt(), "{truth}, 1/f {level}: bias {bias}");
        }
    }

    #[test]
    fn a_room_that_stays_as_warm_as_it_was_gives_no_coefficient() {
        let (reads, kelvin) = day(1e-3, 1e-4, 1);
        let close: Vec<f64> = kelvin.iter().map(|k| 298.0 + 0.05 * (k - 298.0)).collect();
        let error = coefficient(&reads, &close, 1e-2, 50.0).unwrap_err();
        assert!(
            matches!(error, NoCoefficient::Span { .. }) && error.to_string().contains("at least 1 K"),
            "{error}"
        );
        assert!(coefficient(&reads[..4], &kelvin[..4], 1e-2, 50.0).is_err());
    }
}
