//! How a column's amplifier output, as its ADC sees it, gets from one settled value to the next, and where it stops.

use crate::chips::ltc2688::{SETTLING_S, SLEW_V_PER_S};

/// Linear range of the amplifiers, V.
pub const LINEAR_V: f64 = 5.0;
/// Output they never exceed, V.
pub const CLAMP_V: f64 = 5.6;

/// The amplifier's output for what it would be without its clamp, which sits across the feedback: the virtual ground
/// holds. Linear to [`LINEAR_V`], then ever flatter towards [`CLAMP_V`], with no step in the slope.
pub(super) fn clamp(volts: f64) -> f64 {
    let magnitude = libm::fabs(volts);
    if magnitude <= LINEAR_V {
        return volts;
    }
    let excess = magnitude - LINEAR_V;
    let span = CLAMP_V - LINEAR_V;
    libm::copysign(LINEAR_V + excess * span / (excess + span), volts)
}

/// What is left of a step `t_s` after it began, as a fraction of it: the DACs slew by `slew_v` in all, then three lags in
/// a row: DAC, amplifier (`tia_s`) and input filter of the ADC (`filter_s`). Until the slewing is over, all of it.
///
/// Lags τ in a row leave Σ_i τ_i²/Π_{j≠i}(τ_i − τ_j)·exp(−t/τ_i); lags closer than 1 % are moved 1 % apart.
pub(super) fn remaining(t_s: f64, slew_v: f64, tia_s: f64, filter_s: f64) -> f64 {
    let slewing_s = (slew_v / SLEW_V_PER_S - SETTLING_S).max(0.0);
    let t = t_s - slewing_s;
    if t <= 0.0 {
        return 1.0;
    }
    let mut lags = [SETTLING_S, tia_s, filter_s];
    lags.sort_unstable_by(f64::total_cmp);
    // exp(−40) is 4·10⁻¹⁸: gone, whatever the lags' factors.
    if t > 40.0 * (lags[0] + lags[1] + lags[2]) {
        return 0.0;
    }
    for k in 1..lags.len() {
        lags[k] = lags[k].max(lags[k - 1] * 1.01);
    }
    let [a, b, c] = lags;
    let share =
        |lag: f64, other: f64, third: f64| lag * lag / ((lag - other) * (lag - third)) * libm::exp(-t / lag);
    (share(a, b, c) + share(b, a, c) + share(c, a, b)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clamp_is_linear_to_5_v_and_never_reaches_5_6() {
        assert_eq!(clamp(-4.9), -4.9);
        assert_eq!(clamp(5.0), 5.0);
        assert!(clamp(5.001) > 5.0 && clamp(5.001) < 5.001);
        assert!(clamp(-1e6) > -CLAMP_V && clamp(1e6) > 5.59);
    }

    #[test]
    fn three_lags_leave_what_their_numerical_solution_leaves() {
        let (tia, filter) = (1e-6, 0.7234e-6);
        let mut stages = [0.0; 3];
        let dt = 1e-10;
        for step in 1..=120_000 {
            let mut input = 1.0;
            for (stage, lag) in stages.iter_mut().zip([SETTLING_S, tia, filter]) {
                *stage += (input - *stage) * dt / lag;
                input = *stage;
            }
            if step % 10_000 == 0 {
                let left = remaining(f64::from(step) * dt, 0.0, tia, filter);
                // The Euler steps are 1/7000 of the shortest lag.
                assert!((left - (1.0 - stages[2])).abs() < 1e-3, "{step}: {left} {}", stages[2]);
            }
        }
    }

    #[test]
    fn equal_lags_are_no_trouble() {
        // Three equal lags leave (1 + x + x²/2)·exp(−x); spreading them by 1 % and 2 % moves that by less than 2 %.
        let left = remaining(5.0 * SETTLING_S, 0.0, SETTLING_S, SETTLING_S);
        let exact = 18.5 * libm::exp(-5.0);
        assert!((left - exact).abs() < 0.05 * exact, "{left} {exact}");
        assert_eq!(remaining(1.0, 0.0, SETTLING_S, SETTLING_S), 0.0);
    }

    #[test]
    fn nothing_arrives_before_the_slewing_is_over() {
        assert_eq!(remaining(1e-6, 10.0, 1e-6, 1e-6), 1.0);
        assert!(remaining(1.3e-6, 10.0, 1e-7, 1e-7) < 1.0);
    }
}
