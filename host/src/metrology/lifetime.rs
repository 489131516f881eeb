//! Wear and disturb: what many cycles do to a cell's two states, and what pulses on other cells do to a bystander.

use super::estimate::Estimate;
use super::least_squares::{FitError, Normal, minimise};
use serde::Serialize;

/// One cycle of one device: read after SET and after RESET.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cycle {
    /// After SET, S.
    pub set_s: f64,
    /// After RESET, S.
    pub reset_s: f64,
}

/// What one device did over its cycles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DeviceEndurance {
    /// ln of the conductance after SET, mean over cycles before failure; the scatter of a single cycle is `set_spread`.
    pub ln_set: Estimate,
    /// ln of the conductance after RESET, likewise.
    pub ln_reset: Estimate,
    /// Cycle-to-cycle standard deviation of ln G after SET.
    pub set_spread: f64,
    /// Cycle-to-cycle standard deviation of ln G after RESET.
    pub reset_spread: f64,
    /// First cycle (from 1) of the first three in a row whose window was below the ratio asked for; `None` if it never failed.
    pub failed_at: Option<u64>,
    /// Cycles seen.
    pub cycles: u64,
}

/// Cycles in a row below the window that make a failure: one alone is a misread or a stray pulse.
const IN_A_ROW: usize = 3;

/// Statistics of one device. A cycle is good if SET is at least `ratio` times RESET.
#[must_use]
pub fn endurance(cycles: &[Cycle], ratio: f64) -> Option<DeviceEndurance> {
    let failed = |cycle: &Cycle| {
        let good = cycle.reset_s > 0.0 && cycle.set_s >= ratio * cycle.reset_s;
        !good
    };
    let failure = cycles.windows(IN_A_ROW).position(|row| row.iter().all(failed));
    let alive: Vec<&Cycle> = cycles[..failure.unwrap_or(cycles.len())]
        .iter()
        .filter(|cycle| cycle.set_s > 0.0 && cycle.reset_s > 0.0)
        .collect();
    // A device that never switched has states all the same.
    let alive = if alive.len() >= 2 {
        alive
    } else {
        cycles.iter().filter(|cycle| cycle.set_s > 0.0 && cycle.reset_s > 0.0).collect()
    };
    if alive.len() < 2 {
        return None;
    }
    let state = |value: fn(&Cycle) -> f64| {
        let n = alive.len() as f64;
        let mean = alive.iter().map(|c| value(c).ln()).sum::<f64>() / n;
        let variance = alive.iter().map(|c| (value(c).ln() - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (Estimate::from_scatter(mean, (variance / n).sqrt(), n - 1.0), variance.sqrt())
    };
    let (ln_set, set_spread) = state(|cycle| cycle.set_s);
    let (ln_reset, reset_spread) = state(|cycle| cycle.reset_s);
    Some(DeviceEndurance {
        ln_set,
        ln_reset,
        set_spread,
        reset_spread,
        failed_at: failure.map(|index| index as u64 + 1),
        cycles: cycles.len() as u64,
    })
}

/// Weibull distribution of the cycles to failure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Weibull {
    /// ln of the scale: by then 63 % have failed.
    pub ln_scale: Estimate,
    /// ln of the shape.
    pub ln_shape: Estimate,
    /// Devices that failed.
    pub failures: usize,
    /// Devices that hadn't when they were last looked at.
    pub survivors: usize,
}

/// Fewest failures for a Weibull distribution.
const LEAST_FAILURES: usize = 5;

/// Fits cycles to failure by maximum likelihood, survivors counted as such (Meeker & Escobar, Statistical Methods for
/// Reliability Data, ch. 8): (cycles, whether it failed then).
///
/// # Errors
/// [`FitError::TooFew`] for fewer than five failures.
pub fn weibull(lives: &[(f64, bool)]) -> Result<Weibull, FitError> {
    let failures = lives.iter().filter(|(_, failed)| *failed).count();
    if failures < LEAST_FAILURES {
        return Err(FitError::TooFew { got: failures, needed: LEAST_FAILURES });
    }
    if let Some((index, &(value, _))) =
        lives.iter().enumerate().find(|(_, (life, _))| life.is_nan() || *life <= 0.0)
    {
        return Err(FitError::Datum { index, value });
    }
    // With z = β(ln t − ln η): −ln L = Σ e^z − Σ_failed (ln β + z).
    let z = |p: &[f64; 2], life: f64| p[1].exp() * (life.ln() - p[0]);
    let cost = |p: &[f64; 2]| {
        let one = |&(life, failed): &(f64, bool)| {
            let z = z(p, life);
            z.exp() - if failed { p[1] + z } else { 0.0 }
        };
        lives.iter().map(one).sum()
    };
    let step = |p: &[f64; 2]| {
        let shape = p[1].exp();
        let mut normal = Normal::<2>::ZERO;
        for &(life, failed) in lives {
            let z = z(p, life);
            let (e, failed) = (z.exp(), f64::from(u8::from(failed)));
            // Gradient of ln L, and its negative second derivatives as they are where the gradient vanishes: positive
            // definite everywhere.
            normal.vector[0] += shape * (e - failed);
            normal.vector[1] += failed * (1.0 + z) - z * e;
            normal.matrix[0][0] += shape * shape * e;
            let mixed = -shape * z * e;
            normal.matrix[0][1] += mixed;
            normal.matrix[1][0] += mixed;
            normal.matrix[1][1] += z * z * e + failed;
        }
        normal
    };
    let mean = lives.iter().map(|(life, _)| life.ln()).sum::<f64>() / lives.len() as f64;
    let (p, inverse) = minimise([mean, 0.0], cost, step)?;
    Ok(Weibull {
        ln_scale: Estimate::new(p[0], inverse[0][0].sqrt()),
        ln_shape: Estimate::new(p[1], inverse[1][1].sqrt()),
        failures,
        survivors: lives.len() - failures,
    })
}

/// What pulses elsewhere did to a group of bystanders.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Disturbed {
    /// Mean relative change of conductance.
    pub change: Estimate,
    /// Standard deviation of that change between cells.
    pub spread: f64,
    /// Largest |change| of a cell.
    pub worst: f64,
    /// Whether the mean change is more than the 95 % interval of none.
    pub significant: bool,
}

/// Compares bystanders before and after, S each. `None` for fewer than two cells that conduct.
#[must_use]
pub fn disturb(before_s: &[f64], after_s: &[f64]) -> Option<Disturbed> {
    let changes: Vec<f64> =
        before_s.iter().zip(after_s).filter(|(b, _)| **b > 0.0).map(|(b, a)| a / b - 1.0).collect();
    let n = changes.len() as f64;
    if changes.len() < 2 {
        return None;
    }
    let mean = changes.iter().sum::<f64>() / n;
    let spread = (changes.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    let change = Estimate::from_scatter(mean, spread / n.sqrt(), n - 1.0);
    Some(Disturbed {
        change,
        spread,
        worst: changes.iter().fold(0.0, |worst, c| worst.max(c.abs())),
        significant: !change.covers(0.0, 0.95),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ohmrig_emulator::random::Random;

    #[test]
    fn weibull_parameters_are_covered_as_often_as_their_uncertainties_say() {
        let (mut inside, n) = (0.0, 400.0);
        for seed in 0..400 {
            let mut random = Random::new(seed, 4);
            // Shape 2, scale 1000; those that live past 1200 are survivors.
            let lives: Vec<(f64, bool)> = (0..60)
                .map(|_| 1000.0 * (-(1.0 - random.uniform()).ln()).sqrt())
                .map(|life| if life > 1200.0 { (1200.0, false) } else { (life, true) })
                .collect();
            let fit = weibull(&lives).unwrap();
            inside += f64::from(u8::from(fit.ln_scale.covers(1000.0_f64.ln(), 0.95)));
        }
        // 3.5 binomial standard deviations.
        assert!((inside / n - 0.95_f64).abs() < 3.5 * (0.95 * 0.05 / n).sqrt(), "{inside} of {n}");
    }

    #[test]
    fn three_closed_windows_in_a_row_are_a_failure_and_one_is_not() {
        let cycle = |set_s| Cycle { set_s, reset_s: 1e-6 };
        let mut cycles = vec![cycle(1e-5); 20];
        cycles[5] = cycle(1e-6);
        assert_eq!(endurance(&cycles, 3.0).unwrap().failed_at, None);
        cycles.extend([cycle(1e-6); 3]);
        let found = endurance(&cycles, 3.0).unwrap();
        assert_eq!((found.failed_at, found.cycles), (Some(21), 23));
        // The odd cycle counts in the spread, the dead ones don't.
        assert!((found.ln_set.value - (19.0 * 1e-5_f64.ln() + 1e-6_f64.ln()) / 20.0).abs() < 1e-9);
    }

    #[test]
    fn a_change_of_all_bystanders_is_significant_and_scatter_is_not() {
        let before = [1e-5; 8];
        let moved: Vec<f64> = (0..8).map(|k| 1e-5 * (1.02 + 1e-4 * f64::from(k))).collect();
        let found = disturb(&before, &moved).unwrap();
        assert!(found.significant && (found.change.value - 0.020_35).abs() < 1e-9);
        let scattered: Vec<f64> =
            (0..8).map(|k| 1e-5 * (1.0 + if k % 2 == 0 { 0.01 } else { -0.01 })).collect();
        assert!(!disturb(&before, &scattered).unwrap().significant);
    }
}
