//! Random telegraph noise: how many traps a trace shows, how large their steps are and how long they dwell, on a
//! background that may itself be 1/f noise.
//!
//! Slow background imitates traps, so the two are told apart together: in turns, the hidden Markov model sees the trace
//! without the background expected from what it left over, and the background is fitted (Whittle) to what the model left
//! over. A number of traps is judged by the likelihood of the whole: the background's for the rest, less what the path
//! costs under the chains' own prior, by the Bayesian information criterion against no trap at all.

mod chains;

use super::estimate::Estimate;
use super::flicker::{self, FlickerFit, Sampling};
use super::least_squares::{FitError, Normal};
use super::synthetic::coloured;
use chains::{Chains, MOST_TRAPS, Posterior};
use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

/// One trap.
#[derive(Clone, Debug, PartialEq)]
pub struct Trap {
    /// Height of its step, in the unit of the samples.
    pub amplitude: Estimate,
    /// ln of the mean time in the lower and in the upper level, s.
    pub ln_dwell_s: [Estimate; 2],
    /// Transitions on the most probable path.
    pub transitions: usize,
    /// Which of the conditions for a trap to be believed are not met.
    pub doubts: Vec<Doubt>,
}

impl Trap {
    /// Whether the trap is to be relied on.
    #[must_use]
    pub fn is_reliable(&self) -> bool {
        self.doubts.is_empty()
    }
}

/// Why a trap's figures are not to be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Its step is not larger than two standard deviations of the background.
    Small,
    /// Fewer than 30 transitions were seen.
    Rare,
    /// It dwells three samples or less in one of its states.
    Fast,
}

impl Doubt {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Small => "step below two standard deviations of the background",
            Self::Rare => "fewer than 30 transitions",
            Self::Fast => "dwells three samples or less",
        }
    }
}

/// What a trace says about traps.
#[derive(Clone, Debug, PartialEq)]
pub struct TelegraphFit {
    /// Largest step first; empty if the trace doesn't ask for any.
    pub traps: Vec<Trap>,
    /// Most probable path: the sum of the steps of the traps in their upper state, sample by sample.
    pub path: Vec<f64>,
    /// The background, fitted to what the traps left over.
    pub background: FlickerFit,
    /// Standard deviation of what the traps left over.
    pub deviation: f64,
    /// Bayesian information criterion of no trap, one trap and so on as far as tried, less that of no trap.
    pub criteria: Vec<f64>,
}

impl TelegraphFit {
    /// Level with every trap in its upper state, of samples whose mean is `mean`.
    #[must_use]
    pub fn upper_level(&self, mean: f64) -> f64 {
        let steps: f64 = self.traps.iter().map(|trap| trap.amplitude.value).sum();
        mean + steps - self.path.iter().sum::<f64>() / self.path.len() as f64
    }
}

/// Turns between chains and background.
const TURNS: usize = 3;
/// Steps of expectation maximisation from each start and in each turn, at most.
const STEPS: usize = 25;
/// Background is what is slower than this part of half the sampling rate; the rest counts as noise without memory.
const SLOW: f64 = 1.0 / 8.0;
/// Simulated traces.
const REPLICATES: u64 = 40;
const LEAST_REPLICATES: usize = 20;
/// Fewest samples worth looking at.
const LEAST_SAMPLES: usize = 256;

/// A model with some traps, brought to rest.
struct Explained {
    chains: Chains,
    posterior: Posterior,
    /// The samples without the slow background.
    steady: Vec<f64>,
    background: FlickerFit,
    criterion: f64,
    deviation: f64,
}

/// Looks for traps in `samples`, at even spacing as `sampling` says. `leave_out` names frequencies (mains) that don't
/// count for the background.
///
/// # Errors
/// [`FitError`] if there are fewer than 256 samples, or the background can't be fitted.
pub fn fit(
    samples: &[f64],
    sampling: &Sampling,
    leave_out: impl Fn(f64) -> bool + Copy,
) -> Result<TelegraphFit, FitError> {
    if samples.len() < LEAST_SAMPLES {
        return Err(FitError::TooFew { got: samples.len(), needed: LEAST_SAMPLES });
    }
    let quiet = flicker::fit(samples, sampling, |_| 0.0, leave_out)?;
    let mut criteria = vec![0.0];
    let mut best: Option<Explained> = None;
    for traps in 1..=MOST_TRAPS {
        // In the trace as it is, and without the background found so far: either may hide the next trap.
        let views = best.as_ref().map(|known| known.steady.as_slice()).into_iter().chain([samples]);
        let candidates = views.filter_map(|view| {
            let settled = starts(samples, best.as_ref()).into_iter().map(|start| settle(start, view));
            let likeliest = settled.max_by(|a, b| a.1.likelihood.total_cmp(&b.1.likelihood))?;
            explain(samples, sampling, likeliest, leave_out)
        });
        let found = candidates.min_by(|a, b| a.criterion.total_cmp(&b.criterion));
        let Some(found) = found else { break };
        debug_assert_eq!(found.chains.steps.len(), traps);
        criteria.push(found.criterion - quiet.criterion);
        if found.criterion >= best.as_ref().map_or(quiet.criterion, |known| known.criterion) {
            break;
        }
        best = Some(found);
    }
    Ok(match best {
        None => TelegraphFit {
            traps: Vec::new(),
            path: vec![0.0; samples.len()],
            deviation: deviation(samples),
            background: quiet,
            criteria,
        },
        Some(explained) => explained.report(samples, sampling, criteria, leave_out),
    })
}

fn deviation(samples: &[f64]) -> f64 {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    (samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// Where to start with one trap more than `known`: in what is left over, at several paces.
fn starts(samples: &[f64], known: Option<&Explained>) -> Vec<Chains> {
    let mean = samples.iter().sum::<f64>() / samples.len() as f64;
    let spread = deviation(samples);
    [0.2, 0.03, 0.003]
        .into_iter()
        .map(|pace| match known {
            None => Chains {
                base: mean - spread,
                steps: vec![2.0 * spread],
                leave: vec![[pace; 2]],
                variance: 0.3 * spread * spread,
            },
            Some(Explained { chains, .. }) => {
                let mut chains = chains.clone();
                let step = 1.5 * chains.variance.sqrt();
                chains.base -= 0.5 * step;
                chains.steps.push(step);
                chains.leave.push([pace; 2]);
                chains.variance *= 0.5;
                chains
            }
        })
        .collect()
}

/// Expectation maximisation from `start` until the likelihood hardly grows.
fn settle(mut chains: Chains, samples: &[f64]) -> (Chains, Posterior) {
    let mut posterior = chains.posterior(samples);
    for _ in 0..STEPS {
        let improved = chains.improved(samples, &posterior);
        let next = improved.posterior(samples);
        if !next.likelihood.is_finite() {
            break;
        }
        let gain = next.likelihood - posterior.likelihood;
        (chains, posterior) = (improved, next);
        if gain.abs() < 1e-2 {
            break;
        }
    }
    (chains, posterior)
}

/// Expected contribution of the traps at every sample.
fn expected(chains: &Chains, posterior: &Posterior) -> Vec<f64> {
    let levels: Vec<f64> = (0..chains.states()).map(|state| chains.level(state)).collect();
    let mean = |states: &[f64]| states.iter().zip(&levels).map(|(p, level)| p * level).sum();
    posterior.states.chunks_exact(chains.states()).map(mean).collect()
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn explain(
    samples: &[f64],
    sampling: &Sampling,
    (mut chains, mut posterior): (Chains, Posterior),
    leave_out: impl Fn(f64) -> bool + Copy,
) -> Option<Explained> {
    let mut steady = samples.to_vec();
    let mut turn = 0;
    loop {
        let rest = difference(samples, &expected(&chains, &posterior));
        let background = flicker::fit_plain(&rest, sampling, |_| 0.0, leave_out).ok()?;
        if turn == TURNS {
            let deviation = deviation(&rest);
            let cost = path_cost(&chains, &posterior, &steady);
            let parameters = 3.0 * chains.steps.len() as f64;
            let criterion = background.criterion + 2.0 * cost + parameters * (samples.len() as f64).ln();
            return Some(Explained { chains, posterior, steady, background, criterion, deviation });
        }
        let slow = slow_part(&rest, sampling, &background);
        steady = difference(samples, &slow);
        (chains, posterior) = settle(chains, &steady);
        turn += 1;
    }
}

/// What the path takes off the likelihood: its Kullback–Leibler distance from the chains' prior, and the spread of the
/// levels that it leaves open.
fn path_cost(chains: &Chains, posterior: &Posterior, steady: &[f64]) -> f64 {
    let levels: Vec<f64> = (0..chains.states()).map(|state| chains.level(state)).collect();
    let normal = -0.5 * (2.0 * std::f64::consts::PI * chains.variance).ln();
    let (mut emission, mut open) = (0.0, 0.0);
    for (sample, states) in steady.iter().zip(posterior.states.chunks_exact(chains.states())) {
        let (mut mean, mut square) = (0.0, 0.0);
        for (level, probability) in levels.iter().zip(states) {
            emission += probability * (normal - 0.5 * (sample - level).powi(2) / chains.variance);
            mean += probability * level;
            square += probability * level * level;
        }
        open += (square - mean * mean).max(0.0);
    }
    emission - posterior.likelihood + 0.5 * open / chains.variance
}

/// The background expected from what is left over (Wiener): its density above that at the bound of slowness against all.
fn slow_part(rest: &[f64], sampling: &Sampling, background: &FlickerFit) -> Vec<f64> {
    let n = rest.len();
    let mut planner = RealFftPlanner::<f64>::new();
    let (forward, backward) = (planner.plan_fft_forward(2 * n), planner.plan_fft_inverse(2 * n));
    // Mirrored at its end, so that it has no step there.
    let mut samples: Vec<f64> = rest.iter().chain(rest.iter().rev()).copied().collect();
    let mut spectrum = forward.make_output_vec();
    if forward.process(&mut samples, &mut spectrum).is_err() {
        return vec![0.0; n];
    }
    let hz = 1.0 / (2.0 * n as f64 * sampling.spacing_s());
    let bound_hz = SLOW * 0.5 / sampling.spacing_s();
    let fast = background.power_law(bound_hz) + background.white.value.max(0.0);
    let last = spectrum.len() - 1;
    for (index, value) in spectrum.iter_mut().enumerate() {
        let f = index as f64 * hz;
        let gain = if index == 0 {
            0.0
        } else if f < bound_hz {
            let slow = background.power_law(f) - background.power_law(bound_hz);
            slow / (slow + fast)
        } else {
            0.0
        };
        *value *= gain / (2 * n) as f64;
        if index == 0 || index == last {
            value.im = 0.0;
        }
    }
    let mut slow = backward.make_output_vec();
    if backward.process(&mut spectrum, &mut slow).is_err() {
        return vec![0.0; n];
    }
    slow.truncate(n);
    slow
}

impl Explained {
    fn report(
        mut self,
        samples: &[f64],
        sampling: &Sampling,
        criteria: Vec<f64>,
        leave_out: impl Fn(f64) -> bool + Copy,
    ) -> TelegraphFit {
        let spacing_s = sampling.spacing_s();
        let mut amplitudes = self.amplitudes(samples, sampling);
        if self.is_coloured(spacing_s) {
            self.replicate(&mut amplitudes, samples.len(), sampling, leave_out);
        }
        for (step, amplitude) in self.chains.steps.iter_mut().zip(&amplitudes) {
            *step = amplitude.value;
        }
        let dwells = self.dwells(spacing_s);
        let states = self.chains.path(&self.steady);
        let mut traps: Vec<Trap> = (0..amplitudes.len())
            .map(|k| {
                let upside_down = amplitudes[k].value < 0.0;
                let mut ln_dwell_s = dwells[k];
                if upside_down {
                    ln_dwell_s.reverse();
                }
                let amplitude = Estimate { value: amplitudes[k].value.abs(), ..amplitudes[k] };
                let transitions = states.windows(2).filter(|pair| (pair[0] ^ pair[1]) >> k & 1 == 1).count();
                let mut doubts = Vec::new();
                if amplitude.value <= 2.0 * self.deviation {
                    doubts.push(Doubt::Small);
                }
                if transitions < 30 {
                    doubts.push(Doubt::Rare);
                }
                if ln_dwell_s.iter().any(|dwell| dwell.value.exp() <= 3.0 * spacing_s) {
                    doubts.push(Doubt::Fast);
                }
                Trap { amplitude, ln_dwell_s, transitions, doubts }
            })
            .collect();
        traps.sort_by(|a, b| b.amplitude.value.total_cmp(&a.amplitude.value));
        let base = (0..self.chains.states()).map(|s| self.chains.level(s)).fold(f64::INFINITY, f64::min);
        let path = states.iter().map(|&state| self.chains.level(usize::from(state)) - base).collect();
        TelegraphFit { traps, path, background: self.background, deviation: self.deviation, criteria }
    }

    /// Whether at the corner of any trap's own spectrum the background is more 1/f noise than white.
    fn is_coloured(&self, spacing_s: f64) -> bool {
        let white = self.background.white.value.max(0.0);
        self.background.resolved
            && self.chains.leave.iter().any(|leave| {
                let corner_hz = (leave[0] + leave[1]) / spacing_s / (2.0 * std::f64::consts::PI);
                self.background.power_law(corner_hz) > white
            })
    }

    /// The chains take noise for having no memory. Where it has, they mistake some of it for moves: steps come out small, and
    /// vary by more than their states alone tell. How much, is seen in simulated traces of the model itself (parametric
    /// bootstrap: Efron & Tibshirani, An Introduction to the Bootstrap, 6.5 and 10.2), which are analysed alike.
    fn replicate(
        &self,
        amplitudes: &mut [Estimate],
        count: usize,
        sampling: &Sampling,
        leave_out: impl Fn(f64) -> bool + Copy,
    ) {
        let mut model = self.chains.clone();
        for (step, amplitude) in model.steps.iter_mut().zip(amplitudes.iter()) {
            *step = amplitude.value;
        }
        let density = |f: f64| self.background.density(f, sampling);
        let ratios: Vec<Vec<f64>> = (0..REPLICATES)
            .filter_map(|seed| {
                let mut samples = coloured(count, sampling.spacing_s(), seed, density);
                for (sample, state) in samples.iter_mut().zip(model.draw(count, seed)) {
                    *sample += model.level(state);
                }
                let explained = explain(&samples, sampling, settle(model.clone(), &samples), leave_out)?;
                let found = explained.amplitudes(&samples, sampling);
                Some(found.iter().zip(&model.steps).map(|(found, step)| found.value / step).collect())
            })
            .collect();
        let n = ratios.len() as f64;
        for (k, amplitude) in amplitudes.iter_mut().enumerate() {
            let mut sorted: Vec<f64> = ratios.iter().map(|ratios| ratios[k]).collect();
            if sorted.len() < LEAST_REPLICATES {
                amplitude.standard_uncertainty = f64::INFINITY;
                continue;
            }
            // Median and half of what the middle 68 % span: now and then a simulated trace is taken for something else.
            sorted.sort_by(f64::total_cmp);
            let at = |part: f64| sorted[(part * (n - 1.0)).round() as usize];
            let (middle, spread) = (at(0.5), 0.5 * (at(0.841) - at(0.159)));
            let value = amplitude.value / middle;
            // One more draw from the same spread, about a median of n (variance π/2n); the span is worth some 0.4·n degrees of
            // freedom.
            let u = value * spread / middle * (1.0 + std::f64::consts::FRAC_PI_2 / n).sqrt();
            *amplitude = Estimate::from_scatter(value, u.abs(), 0.4 * n);
        }
    }

    /// Steps by generalised least squares against the background's spectrum, with the expected states as regressors.
    fn amplitudes(&self, samples: &[f64], sampling: &Sampling) -> Vec<Estimate> {
        let traps = self.chains.steps.len();
        let n = samples.len();
        let plan = RealFftPlanner::<f64>::new().plan_fft_forward(n);
        let transform = |values: &[f64]| -> Vec<Complex<f64>> {
            let mean = values.iter().sum::<f64>() / n as f64;
            let mut input: Vec<f64> = values.iter().map(|x| x - mean).collect();
            let mut output = plan.make_output_vec();
            if plan.process(&mut input, &mut output).is_err() {
                output.fill(Complex::default());
            }
            output
        };
        let upper: Vec<Vec<f64>> = (0..traps).map(|k| self.posterior.upper(k, traps)).collect();
        let open: Vec<f64> = upper.iter().map(|p| p.iter().map(|p| p * (1.0 - p)).sum()).collect();
        let regressors: Vec<Vec<Complex<f64>>> = upper.iter().map(|p| transform(p)).collect();
        let signal = transform(samples);
        let spacing_s = sampling.spacing_s();
        let mut seen = Normal::<MOST_TRAPS>::ZERO;
        let mut all = Normal::<MOST_TRAPS>::ZERO;
        for k in traps..MOST_TRAPS {
            seen.matrix[k][k] = 1.0;
            all.matrix[k][k] = 1.0;
        }
        for index in 1..signal.len() {
            let density = self.background.density(index as f64 / (n as f64 * spacing_s), sampling);
            let weight = 4.0 * spacing_s / (n as f64 * density);
            for i in 0..traps {
                let a = regressors[i][index];
                all.vector[i] += weight * (a.conj() * signal[index]).re;
                all.matrix[i][i] += weight * open[i];
                #[allow(clippy::needless_range_loop)] // Indices of a matrix.
                for j in 0..traps {
                    let product = weight * (a.conj() * regressors[j][index]).re;
                    all.matrix[i][j] += product;
                    seen.matrix[i][j] += product;
                }
            }
        }
        let solved = all.solve().and_then(|(solution, _)| Ok((solution, seen.inverse()?)));
        match solved {
            Ok((solution, covariance)) => {
                (0..traps).map(|k| Estimate::new(solution[k], covariance[k][k].sqrt())).collect()
            }
            Err(_) => self.chains.steps.iter().map(|&step| Estimate::new(step, f64::INFINITY)).collect(),
        }
    }

    /// ln of the mean times in the lower and the upper state. The sampled chain leaves with p₀ and p₁; the continuous one
    /// has p₀ + p₁ = 1 − e^(−λ·dt) with λ = 1/τ₀ + 1/τ₁, so that moves there and back within a sample are not missed.
    fn dwells(&self, spacing_s: f64) -> Vec<[Estimate; 2]> {
        const MOST: usize = 2 * MOST_TRAPS;
        let traps = self.chains.steps.len();
        let parameters = 2 * traps;
        let logit = |p: f64| (p / (1.0 - p)).ln();
        let inverse_logit = |x: f64| 1.0 / (1.0 + (-x).exp());
        let value = |shifts: &[(usize, f64)]| {
            let mut chains = self.chains.clone();
            for &(parameter, shift) in shifts {
                let (k, side) = (parameter / 2, parameter % 2);
                chains.leave[k][side] = inverse_logit(logit(chains.leave[k][side]) + shift);
            }
            chains.likelihood(&self.steady)
        };
        // A third of a standard deviation, were every transition seen.
        let steps: Vec<f64> = (0..parameters)
            .map(|parameter| {
                let [up, down] = self.chains.leave[parameter / 2];
                let moves = self.steady.len() as f64 * up * down / (up + down);
                (0.3 / moves.max(1.0).sqrt()).clamp(1e-3, 0.3)
            })
            .collect();
        let centre = value(&[]);
        let mut information = Normal::<MOST>::ZERO;
        for i in 0..MOST {
            if i >= parameters {
                information.matrix[i][i] = 1.0;
                continue;
            }
            let h = steps[i];
            information.matrix[i][i] = -(value(&[(i, h)]) - 2.0 * centre + value(&[(i, -h)])) / (h * h);
            #[allow(clippy::needless_range_loop)] // Indices of a matrix.
            for j in 0..i {
                let g = steps[j];
                let mixed = value(&[(i, h), (j, g)]) - value(&[(i, h), (j, -g)]) - value(&[(i, -h), (j, g)])
                    + value(&[(i, -h), (j, -g)]);
                information.matrix[i][j] = -mixed / (4.0 * h * g);
                information.matrix[j][i] = information.matrix[i][j];
            }
        }
        let covariance = information.inverse();
        (0..traps)
            .map(|k| {
                let ln_dwells = |shift: [f64; 2]| -> [f64; 2] {
                    let [up, down] =
                        [0, 1].map(|side| inverse_logit(logit(self.chains.leave[k][side]) + shift[side]));
                    let sum = (up + down).min(1.0 - 1e-9);
                    let rate = -(1.0 - sum).ln() / spacing_s;
                    [((up + down) / (rate * up)).ln(), ((up + down) / (rate * down)).ln()]
                };
                let here = ln_dwells([0.0; 2]);
                let h = 1e-5;
                let slopes = [ln_dwells([h, 0.0]), ln_dwells([0.0, h])];
                [0, 1].map(|side| {
                    let slope = slopes.map(|moved| (moved[side] - here[side]) / h);
                    let variance = covariance.as_ref().map_or(f64::INFINITY, |c| {
                        let at = |a: usize, b: usize| slope[a] * slope[b] * c[2 * k + a][2 * k + b];
                        at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)
                    });
                    Estimate::new(here[side], variance.sqrt())
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
