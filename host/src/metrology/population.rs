//! What the cells of an array have in common and how they differ: a quantity of many cells as a straight line of
//! another, with a spread between cells beyond the uncertainty of each; and a spread that itself depends on something.

use super::estimate::Estimate;
use super::least_squares::{FitError, Normal};
use serde::Serialize;

/// A quantity over cells: y = level + slope·(x − centre), and each cell off by `spread`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Population {
    /// Mean of the population at `centre`.
    pub level: Estimate,
    /// Change per unit of x; `None` where the cells' x don't differ enough to tell (fewer than four cells, or all alike).
    pub slope: Option<Estimate>,
    /// Where the level is stated.
    pub centre: f64,
    /// Standard deviation between cells: what their own uncertainties don't explain.
    pub spread: f64,
    /// Cells.
    pub cells: usize,
}

/// Fewest cells that a slope is fitted to.
const LEAST_FOR_SLOPE: usize = 4;

impl Population {
    /// Fits (x, y of a cell with its uncertainty). The spread is found by restricted maximum likelihood (Patterson & Thompson,
    /// Biometrika 58, 545, 1971), line and uncertainties by weighted least squares with it.
    ///
    /// # Errors
    /// [`FitError`] for no cell, or values that aren't numbers.
    pub fn fit(cells: &[(f64, Estimate)]) -> Result<Self, FitError> {
        if cells.is_empty() {
            return Err(FitError::TooFew { got: 0, needed: 1 });
        }
        for (index, (x, y)) in cells.iter().enumerate() {
            for value in [*x, y.value, y.standard_uncertainty] {
                if !value.is_finite() {
                    return Err(FitError::Datum { index, value });
                }
            }
        }
        let n = cells.len() as f64;
        let centre = cells.iter().map(|(x, _)| x).sum::<f64>() / n;
        let width = (cells.iter().map(|(x, _)| (x - centre).powi(2)).sum::<f64>() / n).sqrt();
        let sloped = cells.len() >= LEAST_FOR_SLOPE && width > 1e-6 * centre.abs().max(1.0);
        let scatter = (cells.iter().map(|(_, y)| y.value * y.value).sum::<f64>() / n).sqrt();
        // The likelihood is smooth in ln spread: a coarse search, then golden section. The lowest step stands for none.
        let spread_at = |step: f64| {
            if step < 0.5 { 0.0 } else { scatter.max(1e-300) * 10_f64.powf((step - 60.0) / 10.0) }
        };
        let cost = |step: f64| {
            solve(cells, centre, sloped, spread_at(step)).map_or(f64::INFINITY, |solved| solved.2)
        };
        let best = (0..=70).map(f64::from).min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap_or(0.0);
        let (mut low, mut high) = ((best - 1.0).max(0.0), best + 1.0);
        let golden = 0.5 * (5.0_f64.sqrt() - 1.0);
        for _ in 0..25 {
            let (a, b) = (high - golden * (high - low), low + golden * (high - low));
            if cost(a) < cost(b) { high = b } else { low = a }
        }
        // One cell says nothing of a spread.
        let spread = if cells.len() > 1 && scatter > 0.0 { spread_at(0.5 * (low + high)) } else { 0.0 };
        let (line, covariance, _) = solve(cells, centre, sloped, spread)?;
        let freedom = (n - if sloped { 2.0 } else { 1.0 }).max(1.0);
        let estimate = |k: usize| Estimate::from_scatter(line[k], covariance[k][k].sqrt(), freedom);
        Ok(Self {
            level: estimate(0),
            slope: sloped.then(|| estimate(1)),
            centre,
            spread,
            cells: cells.len(),
        })
    }
}

/// Line and covariance for a known spread, and −2 ln of the restricted likelihood.
type Solved = ([f64; 2], [[f64; 2]; 2], f64);

fn solve(cells: &[(f64, Estimate)], centre: f64, sloped: bool, spread: f64) -> Result<Solved, FitError> {
    let mut normal = Normal::<2>::ZERO;
    let mut cost = 0.0;
    let variance = |y: &Estimate| (spread * spread + y.standard_uncertainty.powi(2)).max(1e-300);
    let row = |x: f64| [1.0, if sloped { x - centre } else { 0.0 }];
    for (x, y) in cells {
        normal.add(&row(*x), y.value, 1.0 / variance(y));
        cost += variance(y).ln();
    }
    if !sloped {
        normal.matrix[1][1] = 1.0;
    }
    let (line, covariance) = normal.solve()?;
    for (x, y) in cells {
        let row = row(*x);
        cost += (y.value - line[0] - line[1] * row[1]).powi(2) / variance(y);
    }
    let determinant = covariance[0][0] * covariance[1][1] - covariance[0][1] * covariance[1][0];
    Ok((line, covariance, cost - determinant.ln()))
}

/// Deviations whose mean and whose spread depend on x: mean = bias₀ + bias₁·x, ln σ = spread₀ + spread₁·x.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Deviations {
    /// Intercept and slope of the mean.
    pub bias: [Estimate; 2],
    /// Intercept and slope of ln σ.
    pub ln_spread: [Estimate; 2],
    /// How many.
    pub count: usize,
}

/// Fewest deviations for four parameters.
const LEAST_DEVIATIONS: usize = 8;

impl Deviations {
    /// Fits (x, deviation) by maximum likelihood (Harvey, Econometrica 44, 461, 1976). With all x alike, slopes are zero.
    ///
    /// # Errors
    /// [`FitError`] for fewer than eight, or where they are all the same.
    pub fn fit(deviations: &[(f64, f64)]) -> Result<Self, FitError> {
        let n = deviations.len() as f64;
        if deviations.len() < LEAST_DEVIATIONS {
            return Err(FitError::TooFew { got: deviations.len(), needed: LEAST_DEVIATIONS });
        }
        if let Some((index, (x, value))) =
            deviations.iter().enumerate().find(|(_, (x, value))| !(x.is_finite() && value.is_finite()))
        {
            return Err(FitError::Datum { index, value: if x.is_finite() { *value } else { *x } });
        }
        let first = deviations[0].0;
        let sloped = deviations.iter().any(|(x, _)| (x - first).abs() > 1e-9 * first.abs());
        let parameters = if sloped { 2.0 } else { 1.0 };
        let row = |x: f64| [1.0, if sloped { x } else { 0.0 }];
        let at = |line: [f64; 2], x: f64| line[0] + line[1] * row(x)[1];
        let free = |mut normal: Normal<2>| {
            if !sloped {
                normal.matrix[1][1] = 1.0;
            }
            normal
        };
        let mean = deviations.iter().map(|(_, d)| d).sum::<f64>() / n;
        let variance = deviations.iter().map(|(_, d)| (d - mean).powi(2)).sum::<f64>() / n;
        // Rounding alone.
        if variance <= 1e-24 * mean * mean {
            return Err(FitError::Singular { parameters: 2 });
        }
        let (mut bias, mut spread) = ([mean, 0.0], [0.5 * variance.ln(), 0.0]);
        let (mut of_bias, mut of_spread) = ([[0.0; 2]; 2], [[0.0; 2]; 2]);
        const STEPS: usize = 200;
        for step in 0.. {
            let (mut means, mut scores) = (Normal::<2>::ZERO, Normal::<2>::ZERO);
            for &(x, d) in deviations {
                means.add(&row(x), d, (-2.0 * at(spread, x)).exp());
            }
            (bias, of_bias) = free(means).solve()?;
            for &(x, d) in deviations {
                let square = (d - at(bias, x)).powi(2) * (-2.0 * at(spread, x)).exp();
                scores.add(&row(x), 0.5 * (square - 1.0), 1.0);
            }
            let (moved, inverse) = free(scores).solve()?;
            // Steps of more than an e-fold overshoot.
            let damping = (1.0 / moved[0].abs().max(moved[1].abs())).min(1.0);
            spread = [spread[0] + damping * moved[0], spread[1] + damping * moved[1]];
            of_spread = inverse.map(|row| row.map(|v| 0.5 * v));
            if moved[0].abs() < 1e-9 && moved[1].abs() < 1e-9 {
                break;
            }
            if step == STEPS {
                return Err(FitError::NotConverged { steps: STEPS });
            }
        }
        // What the mean's own parameters took off the scatter.
        spread[0] += 0.5 * (n / (n - parameters)).ln();
        let freedom = n - parameters;
        let estimate = |value: f64, variance: f64, used: bool| {
            Estimate::from_scatter(value, if used { variance.sqrt() } else { 0.0 }, freedom)
        };
        let pair = |line: [f64; 2], covariance: [[f64; 2]; 2]| {
            [estimate(line[0], covariance[0][0], true), estimate(line[1], covariance[1][1], sloped)]
        };
        Ok(Self { bias: pair(bias, of_bias), ln_spread: pair(spread, of_spread), count: deviations.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ohmrig_emulator::random::Random;

    /// Within 3.5 binomial standard deviations of 95 %.
    fn check(what: &str, inside: f64, n: f64) {
        assert!((inside / n - 0.95).abs() < 3.5 * (0.95 * 0.05 / n).sqrt(), "{what}: {inside} of {n}");
    }

    #[test]
    fn level_and_slope_of_a_population_are_covered_and_its_spread_is_found() {
        let n = 400;
        let (mut level, mut slope, mut spread) = (0.0, 0.0, 0.0);
        for seed in 0..n {
            let mut random = Random::new(seed, 1);
            let cells: Vec<(f64, Estimate)> = (0..24)
                .map(|k| {
                    let x = f64::from(k) / 8.0;
                    // Spread 0.2 between cells, read to 0.1 or 0.3.
                    let u = if k % 2 == 0 { 0.1 } else { 0.3 };
                    let y = 1.0 - 0.5 * (x - 23.0 / 16.0) + 0.2 * random.normal() + u * random.normal();
                    (x, Estimate::new(y, u))
                })
                .collect();
            let fit = Population::fit(&cells).unwrap();
            level += f64::from(u8::from(fit.level.covers(1.0, 0.95)));
            slope += f64::from(u8::from(fit.slope.unwrap().covers(-0.5, 0.95)));
            spread += fit.spread.powi(2) / f64::from(n as u32);
        }
        check("level", level, f64::from(n as u32));
        check("slope", slope, f64::from(n as u32));
        // Mean variance of 400 fits of 24 cells whose variances (0.05 and 0.13) are told to √(2/22) each: 1.5 %·0.09/0.04,
        // five of them; truncation at zero adds a little.
        assert!((spread / 0.04 - 1.0).abs() < 0.2, "{spread}");
    }

    #[test]
    fn a_spread_that_grows_is_told_with_its_uncertainty() {
        let n = 400;
        let mut inside = [0.0; 4];
        for seed in 0..n {
            let mut random = Random::new(seed, 2);
            let deviations: Vec<(f64, f64)> = (0..60)
                .map(|k| {
                    let x = f64::from(k) / 60.0;
                    (x, 0.3 - 0.2 * x + (-1.0 + 1.5 * x).exp() * random.normal())
                })
                .collect();
            let fit = Deviations::fit(&deviations).unwrap();
            let pairs =
                [(fit.bias[0], 0.3), (fit.bias[1], -0.2), (fit.ln_spread[0], -1.0), (fit.ln_spread[1], 1.5)];
            for (count, (estimate, truth)) in inside.iter_mut().zip(pairs) {
                *count += f64::from(u8::from(estimate.covers(truth, 0.95)));
            }
        }
        for (what, inside) in ["bias", "its slope", "ln σ", "its slope"].into_iter().zip(inside) {
            check(what, inside, f64::from(n as u32));
        }
    }

    #[test]
    fn too_few_or_impossible_values_are_refused() {
        assert!(Population::fit(&[]).is_err());
        assert!(Population::fit(&[(1.0, Estimate::new(f64::NAN, 0.1))]).is_err());
        assert!(Deviations::fit(&[(1.0, 0.1); 3]).is_err());
        assert!(Deviations::fit(&[(1.0, 0.1); 20]).is_err(), "no scatter at all");
    }
}
