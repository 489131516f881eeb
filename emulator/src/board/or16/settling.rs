//! How a column's amplifier output, as its ADC sees it, gets from one settled value to the next, and where it stops.
//!
//! The chain: a DAC output that moves at its slope limit and then exponentially ([`SLEW_V_PER_S`], [`SETTLING_S`]); the
//! amplifier as a closed loop of the second order; the ADC's input filter of the first order.

use core::f64::consts::{LN_2, TAU};

use crate::chips::ltc2688::{SETTLING_S, SLEW_V_PER_S};

/// Linear range of the amplifiers, V.
pub const LINEAR_V: f64 = 5.0;
/// Output they never exceed, V.
pub const CLAMP_V: f64 = 5.6;
/// Gain-bandwidth product of the amplifiers, Hz (the board's design).
pub const GAIN_BANDWIDTH_HZ: f64 = 10e6;
/// Capacitance at an amplifier's input, line and switches included, F (the board's design).
pub const INPUT_F: f64 = 250e-12;

/// Lags closer to each other than this are moved apart: the formulas below divide by differences.
const APART: f64 = 1.01;
/// By then the edge of a pulse is over, in time constants of the exponential part.
const FLAT: f64 = 5.0;

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

/// An amplifier's closed loop, 1/(a·s² + b·s + 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Loop {
    a: f64,
    b: f64,
}

impl Loop {
    /// With feedback R ‖ C and a conductance G at the input beside [`INPUT_F`]: an open loop gain of ω_t/s gives
    /// a = R·(C_in + C)/ω_t and b = R·C + (1 + R·G)/ω_t.
    pub(super) fn new(ohms: f64, farads: f64, load_s: f64) -> Self {
        let unity = TAU * GAIN_BANDWIDTH_HZ;
        Self { a: ohms * (INPUT_F + farads) / unity, b: ohms * farads + (1.0 + ohms * load_s) / unity }
    }

    /// The longest time constant, or more, s.
    fn slowest_s(&self) -> f64 {
        self.b.max(2.0 * self.a / self.b)
    }

    /// Noise bandwidth of this loop with the ADC's filter behind it, Hz: ∫|H|² df over positive frequencies is
    /// c₂/(4·(c₁·c₂ − c₃)) for H = 1/(c₃·s³ + c₂·s² + c₁·s + 1).
    pub(super) fn noise_bandwidth_hz(&self, filter_s: f64) -> f64 {
        let Self { a, b } = *self;
        let (c1, c2, c3) = (b + filter_s, a + b * filter_s, a * filter_s);
        c2 / (4.0 * (c1 * c2 - c3))
    }

    /// Real lags, or the real and imaginary part of a pair of poles.
    fn roots(&self) -> Roots {
        let square = self.b * self.b - 4.0 * self.a;
        let root = libm::sqrt(libm::fabs(square));
        if square >= 0.0 || root < 0.01 * self.b {
            let root = if square >= 0.0 { root } else { 0.0 };
            Roots::Lags([0.5 * (self.b - root), 0.5 * (self.b + root)])
        } else {
            Roots::Pair(Complex { re: -0.5 * self.b / self.a, im: 0.5 * root / self.a })
        }
    }
}

enum Roots {
    Lags([f64; 2]),
    Pair(Complex),
}

#[derive(Clone, Copy, Debug)]
struct Complex {
    re: f64,
    im: f64,
}

impl Complex {
    const ONE: Self = Self { re: 1.0, im: 0.0 };

    fn real(re: f64) -> Self {
        Self { re, im: 0.0 }
    }

    fn conjugate(self) -> Self {
        Self { re: self.re, im: -self.im }
    }

    fn minus(self, other: Self) -> Self {
        Self { re: self.re - other.re, im: self.im - other.im }
    }

    fn scale(self, by: f64) -> Self {
        Self { re: self.re * by, im: self.im * by }
    }

    fn times(self, other: Self) -> Self {
        Self { re: self.re * other.re - self.im * other.im, im: self.re * other.im + self.im * other.re }
    }

    fn over(self, other: Self) -> Self {
        let square = other.re * other.re + other.im * other.im;
        self.times(other.conjugate()).scale(1.0 / square)
    }

    fn exp(self, t: f64) -> Self {
        let size = libm::exp(self.re * t);
        if self.im == 0.0 {
            return Self::real(size);
        }
        Self { re: size * libm::cos(self.im * t), im: size * libm::sin(self.im * t) }
    }
}

/// Time for which a step of `step_v` is at the slope limit, s.
fn slewing_s(step_v: f64) -> f64 {
    (step_v / SLEW_V_PER_S - SETTLING_S).max(0.0)
}

/// What is left of a DAC's step of `step_v` when it leaves the slope limit.
fn left_after_slewing(step_v: f64) -> f64 {
    if step_v > SLEW_V_PER_S * SETTLING_S { SLEW_V_PER_S * SETTLING_S / step_v } else { 1.0 }
}

/// Whether a step of `step_v` is certainly over `t_s` after it began, so that less than 10⁻⁶ is left: e⁻²⁰ is 2·10⁻⁹, and
/// four equal lags leave (1 + x + x²/2 + x³/6)·e⁻ˣ, 3·10⁻⁶ at x = 20 and less than 10⁻⁶ at 22.
pub(super) fn is_over(t_s: f64, step_v: f64, amplifier: &Loop, filter_s: f64) -> bool {
    t_s > slewing_s(step_v) + 22.0 * SETTLING_S.max(amplifier.slowest_s()).max(filter_s)
}

/// What is left of a step `t_s` after it began, as a fraction of it; below 0 where the amplifier overshoots. All DACs go
/// through their steps as the one with the largest, `step_v`, does.
///
/// With poles p and residues c = Π p_j/(p_j − p_i) of amplifier and filter, a unit step at their input leaves Σ c·exp(p·t).
/// The DAC's output u is a sum of such steps, so that what is left is 1 − u + Σ c ∫ u'(s)·exp(p·(t − s)) ds, with u'
/// constant during the slewing and exponential after it.
pub(super) fn remaining(t_s: f64, step_v: f64, amplifier: &Loop, filter_s: f64) -> f64 {
    let (mut dac_s, mut filter_s) = (SETTLING_S, filter_s);
    let (first, second) = match amplifier.roots() {
        Roots::Lags(lags) => {
            let mut lags = [dac_s, filter_s, lags[0], lags[1]];
            let mut order = [0, 1, 2, 3];
            order.sort_unstable_by(|&x, &y| f64::total_cmp(&lags[x], &lags[y]));
            for k in 1..4 {
                lags[order[k]] = lags[order[k]].max(lags[order[k - 1]] * APART);
            }
            (dac_s, filter_s) = (lags[0], lags[1]);
            (Complex::real(-1.0 / lags[2]), Complex::real(-1.0 / lags[3]))
        }
        Roots::Pair(pole) => {
            filter_s =
                if libm::fabs(filter_s / dac_s - 1.0) < APART - 1.0 { dac_s * APART } else { filter_s };
            (pole, pole.conjugate())
        }
    };
    let poles = [Complex::real(-1.0 / filter_s), first, second];
    let slewing_s = slewing_s(step_v);
    let left = left_after_slewing(step_v);
    let slope = if slewing_s > 0.0 { (1.0 - left) / slewing_s } else { 0.0 };
    let ramp_s = t_s.min(slewing_s);
    let after_s = t_s - ramp_s;
    let mut remaining = if after_s > 0.0 { left * libm::exp(-after_s / dac_s) } else { 1.0 - slope * ramp_s };
    for (i, &pole) in poles.iter().enumerate() {
        let mut residue = Complex::ONE;
        for (j, &other) in poles.iter().enumerate() {
            if j != i {
                residue = residue.times(other.over(other.minus(pole)));
            }
        }
        let (now, since_ramp) = (pole.exp(t_s), pole.exp(after_s));
        let mut integral = now.minus(since_ramp).over(pole).scale(slope);
        if after_s > 0.0 {
            let exponential = Complex::real(libm::exp(-after_s / dac_s)).minus(since_ramp);
            integral =
                integral.minus(exponential.over(pole.minus(Complex::real(-1.0 / dac_s))).scale(left / dac_s));
        }
        remaining += residue.times(integral).re;
    }
    remaining
}

/// The edge of a pulse as the devices see it: nothing until the line is halfway, then one level, then all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stairs {
    /// From the edge on, until the line is halfway, ns.
    pub(super) half_ns: u64,
    /// From the edge on, until it counts as flat, ns.
    pub(super) flat_ns: u64,
    /// Mean fraction of the step in between.
    pub(super) level: f64,
}

impl Stairs {
    /// Of a step of `step_v`.
    pub(super) fn new(step_v: f64) -> Self {
        let (slewing_s, left) = (slewing_s(step_v), left_after_slewing(step_v));
        let flat_s = slewing_s + FLAT * SETTLING_S;
        let (half_s, missing_s) = if left < 0.5 {
            // Halfway on the slope: a trapezoid is missing, then the exponential.
            let half_s = 0.5 * step_v / SLEW_V_PER_S;
            (half_s, 0.5 * (0.5 + left) * (slewing_s - half_s) + left * SETTLING_S * (1.0 - libm::exp(-FLAT)))
        } else {
            let half_s = slewing_s + SETTLING_S * (LN_2 + libm::log(left));
            (half_s, SETTLING_S * (0.5 - left * libm::exp(-FLAT)))
        };
        let ns = |s: f64| libm::rint(s * 1e9) as u64;
        Self { half_ns: ns(half_s), flat_ns: ns(flat_s), level: 1.0 - missing_s / (flat_s - half_s) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const FILTER_S: f64 = 1.0 / (TAU * 220e3);

    /// The chain in small Euler steps: its output after each 1 µs.
    fn simulate(step_v: f64, amplifier: &Loop, filter_s: f64, microseconds: usize) -> Vec<f64> {
        const STEPS: usize = 10_000;
        let dt = 1e-6 / STEPS as f64;
        let (mut dac, mut tia, mut slope, mut filter) = (0.0, 0.0, 0.0, 0.0);
        (0..microseconds)
            .map(|_| {
                for _ in 0..STEPS {
                    let rate = ((1.0 - dac) / SETTLING_S).min(SLEW_V_PER_S / step_v);
                    filter += (tia - filter) * dt / filter_s;
                    tia += slope * dt;
                    slope += (dac - tia - amplifier.b * slope) / amplifier.a * dt;
                    dac += rate * dt;
                }
                filter
            })
            .collect()
    }

    #[test]
    fn the_clamp_is_linear_to_5_v_and_never_reaches_5_6() {
        assert_eq!(clamp(-4.9), -4.9);
        assert_eq!(clamp(5.0), 5.0);
        assert!(clamp(5.001) > 5.0 && clamp(5.001) < 5.001);
        assert!(clamp(-1e6) > -CLAMP_V && clamp(1e6) > 5.59);
    }

    #[test]
    fn what_is_left_is_what_the_equations_of_the_chain_leave() {
        // Overshooting and real loops, without and with slewing; 0.1 ns steps against lags of 100 ns and more.
        for (ohms, farads, load_s) in [(100e3, 10e-12, 0.0), (100e3, 10e-12, 1e-3), (990.0, 66e-12, 1e-3)] {
            let amplifier = Loop::new(ohms, farads, load_s);
            for step_v in [0.5, 9.5] {
                let outputs = simulate(step_v, &amplifier, FILTER_S, 12);
                for (k, output) in outputs.into_iter().enumerate() {
                    let left = remaining((k + 1) as f64 * 1e-6, step_v, &amplifier, FILTER_S);
                    assert!(
                        (left - (1.0 - output)).abs() < 1e-3,
                        "{ohms} {load_s} {step_v} {k}: {left} {output}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_loop_s_poles_are_those_of_its_polynomial() {
        match Loop::new(9.09e3, 25e-12, 2e-3).roots() {
            Roots::Lags([fast, slow]) => {
                let Loop { a, b } = Loop::new(9.09e3, 25e-12, 2e-3);
                assert!((fast * slow / a - 1.0).abs() < 1e-12 && ((fast + slow) / b - 1.0).abs() < 1e-12);
            }
            Roots::Pair(_) => panic!(),
        }
        // 100 kΩ alone rings: b² = 1.03e-12 s², 4a = 1.66e-12 s².
        assert!(matches!(Loop::new(100e3, 10e-12, 0.0).roots(), Roots::Pair(_)));
    }

    #[test]
    fn the_noise_bandwidth_is_the_area_under_the_squared_response() {
        for (ohms, load_s) in [(100e3, 0.0), (100e3, 1.4e-3), (9.09e3, 1e-3)] {
            let amplifier = Loop::new(ohms, 10e-12, load_s);
            let dhz = 100.0;
            let area: f64 = (0..200_000)
                .map(|k| {
                    let w = TAU * (f64::from(k) + 0.5) * dhz;
                    let (re, im) = (1.0 - amplifier.a * w * w, amplifier.b * w);
                    dhz / ((re * re + im * im) * (1.0 + w * w * FILTER_S * FILTER_S))
                })
                .sum();
            // What lies above 20 MHz is below 10⁻⁴.
            assert!(
                (area / amplifier.noise_bandwidth_hz(FILTER_S) - 1.0).abs() < 1e-3,
                "{ohms} {load_s}: {area}"
            );
        }
    }

    /// Where this chain still leaves more than `epsilon` of a 1 V step, the last such time, µs.
    fn over_us(amplifier: &Loop, epsilon: f64) -> f64 {
        let mut backwards = (0..10_000).rev().map(|k| f64::from(k) * 5e-9);
        backwards.find(|&t| libm::fabs(remaining(t, 1.0, amplifier, FILTER_S)) > epsilon).unwrap() * 1e6
    }

    #[test]
    fn the_chain_settles_like_the_circuit_simulated_with_the_amplifier_s_parasitics() {
        // Ranges as in the table: R ‖ C as switched, and the conductance of the stepping cell and of the others.
        let ranges = [
            (100e3, 10e-12, 10e-6),
            (1.0 / (1e-5 + 1e-4), 25e-12, 110e-6),
            (1.0 / (1e-5 + 1e-3), 66e-12, 1000e-6),
        ];
        let mut compared = 0;
        // The design's 250 pF are 195 pF of the board and 55 pF of wires and array.
        for row in include_str!("../../../../docs/hardware/settling.csv").lines().skip(1) {
            let columns: Vec<f64> = row.split(',').map(|column| column.parse().unwrap()).collect();
            let [range, 55.0, _, _, _, a, b, c, _slow] = columns[..] else { continue };
            let (ohms, farads, load_s) = ranges[range as usize];
            let amplifier = Loop::new(ohms, farads, load_s);
            for (epsilon, simulated_us) in [1e-3, 1e-4, libm::exp2(-14.0)].into_iter().zip([a, b, c]) {
                let us = over_us(&amplifier, epsilon);
                // The circuit has a tenth more bandwidth, a second pole, an output resistance, and the capacitances of
                // the branches that are switched off: a tenth of the time.
                assert!((us / simulated_us - 1.0).abs() < 0.1, "{range} {epsilon}: {us} {simulated_us}");
                compared += 1;
            }
        }
        assert_eq!(compared, 9);
    }

    #[test]
    fn equal_lags_are_no_trouble() {
        // Four equal lags leave (1 + x + x²/2 + x³/6)·exp(−x); moving them apart by 1, 2 and 3 % moves that by a few per cent.
        let tau = SETTLING_S;
        let amplifier = Loop { a: tau * tau, b: 2.0 * tau };
        let left = remaining(5.0 * tau, 0.0, &amplifier, tau);
        let exact = (1.0 + 5.0 + 12.5 + 125.0 / 6.0) * libm::exp(-5.0);
        assert!((left - exact).abs() < 0.06 * exact, "{left} {exact}");
    }

    #[test]
    fn what_counts_as_over_is_below_a_millionth() {
        for (ohms, farads) in [(100e3, 10e-12), (9.09e3, 25e-12), (990.0, 66e-12)] {
            for load_s in [0.0, 1e-5, 1e-4, 1e-3, 1e-2] {
                let amplifier = Loop::new(ohms, farads, load_s);
                for step_v in [0.1, 10.0] {
                    let mut t = 1e-6;
                    while !is_over(t, step_v, &amplifier, FILTER_S) {
                        t += 1e-7;
                    }
                    let left = remaining(t, step_v, &amplifier, FILTER_S);
                    assert!(left.abs() < 1e-6, "{ohms} {load_s} {step_v}: {left}");
                }
            }
        }
    }

    #[test]
    fn the_stairs_of_an_edge_have_its_halfway_time_and_its_area() {
        for step_v in [0.5, 1.5, 5.0, 8.0, 9.9] {
            let stairs = Stairs::new(step_v);
            let dac = |t: f64| {
                let (slewing, left) = (slewing_s(step_v), left_after_slewing(step_v));
                if t < slewing {
                    1.0 - t * SLEW_V_PER_S / step_v
                } else {
                    left * libm::exp(-(t - slewing) / SETTLING_S)
                }
            };
            assert!((dac(stairs.half_ns as f64 * 1e-9) - 0.5).abs() < 1e-3, "{step_v}: {stairs:?}");
            let ns = stairs.flat_ns - stairs.half_ns;
            let missing: f64 =
                (0..ns).map(|k| dac((stairs.half_ns + k) as f64 * 1e-9 + 0.5e-9)).sum::<f64>() / ns as f64;
            assert!((1.0 - missing - stairs.level).abs() < 1e-3, "{step_v}: {missing} {stairs:?}");
        }
    }
}
