//! Current against voltage of one device, and its linearisation for a whole array.

use serde::{Deserialize, Serialize};

/// Current through a device of small-signal conductance G (S) at voltage u (V).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum CurrentLaw {
    /// I = G·u.
    #[default]
    Linear,
    /// I = G·v0·sinh(u/v0).
    Sinh {
        /// Voltage scale (V).
        v0_v: f64,
    },
    /// I = G·(u + c·u³).
    Cubic {
        /// c (1/V²).
        coefficient_per_v2: f64,
    },
    /// I = G·u + a(G)·u·|u| + b(G)·u³ for HfO₂ devices of 50 to 225 µS, fitted up to 0.5 V and continued with its
    /// slope there (Milo et al., IRPS 2021; polynomials in log₁₀ G as in CrossSim 3.2, `RRAMMilo`).
    Milo,
}

/// Largest |u| of the fit of [`CurrentLaw::Milo`] (V).
const MILO_VOLTS: f64 = 0.5;

impl CurrentLaw {
    /// Current (A) and differential conductance (S).
    pub fn evaluate(&self, conductance: f64, u: f64) -> (f64, f64) {
        match *self {
            Self::Linear => (conductance * u, conductance),
            Self::Sinh { v0_v } => {
                let (sinh, cosh) = sinh_cosh(u / v0_v);
                (conductance * v0_v * sinh, conductance * cosh)
            }
            Self::Cubic { coefficient_per_v2: c } => {
                (conductance * (u + c * u * u * u), conductance * (1.0 + 3.0 * c * u * u))
            }
            Self::Milo => milo(conductance, u),
        }
    }

    /// Currents (A) of `L` devices, side by side.
    #[inline(always)]
    pub(crate) fn currents<const L: usize>(&self, conductance: [f64; L], volts: [f64; L]) -> [f64; L] {
        let mut currents = [0.0; L];
        match *self {
            Self::Sinh { v0_v } => {
                let mut x = [0.0; L];
                let mut inside = true;
                for l in 0..L {
                    x[l] = volts[l] / v0_v;
                    inside &= libm::fabs(x[l]) <= SERIES_LIMIT;
                }
                if inside {
                    for l in 0..L {
                        currents[l] = conductance[l] * v0_v * sinh_cosh_series(x[l]).0;
                    }
                    return currents;
                }
            }
            Self::Cubic { coefficient_per_v2: c } => {
                for l in 0..L {
                    let u = volts[l];
                    currents[l] = conductance[l] * (u + c * u * u * u);
                }
                return currents;
            }
            Self::Linear | Self::Milo => {}
        }
        for l in 0..L {
            currents[l] = self.evaluate(conductance[l], volts[l]).0;
        }
        currents
    }

    /// Linearises every device around its voltage: differential conductance (S), and the current (A) that has to
    /// flow in parallel to it so that the sum is the device's. All slices are as long as `conductance`.
    pub(crate) fn linearise(
        &self,
        conductance: &[f64],
        volts: &[f64],
        slope: &mut [f64],
        injected: &mut [f64],
    ) {
        let n = conductance.len();
        let (volts, slope, injected) = (&volts[..n], &mut slope[..n], &mut injected[..n]);
        if let Self::Sinh { v0_v } = *self
            && volts.iter().all(|u| libm::fabs(*u) <= SERIES_LIMIT * v0_v)
        {
            // Without a branch per device, so that it runs on vectors.
            for k in 0..n {
                let (sinh, cosh) = sinh_cosh_series(volts[k] / v0_v);
                slope[k] = conductance[k] * cosh;
                injected[k] = conductance[k] * v0_v * sinh - slope[k] * volts[k];
            }
            return;
        }
        for k in 0..n {
            let (current, differential) = self.evaluate(conductance[k], volts[k]);
            slope[k] = differential;
            injected[k] = current - differential * volts[k];
        }
    }
}

/// |x| up to which the Taylor series below is exact to rounding: its first missing terms are 2²⁶/26! = 2e-19.
const SERIES_LIMIT: f64 = 2.0;

fn sinh_cosh_series(x: f64) -> (f64, f64) {
    let y = x * x;
    let (mut sinh, mut cosh) = (1.0, 1.0);
    let mut k = 12;
    while k > 0 {
        let n = 2.0 * k as f64;
        sinh = 1.0 + y * sinh * (1.0 / (n * (n + 1.0)));
        cosh = 1.0 + y * cosh * (1.0 / (n * (n - 1.0)));
        k -= 1;
    }
    (x * sinh, cosh)
}

fn sinh_cosh(x: f64) -> (f64, f64) {
    if libm::fabs(x) <= SERIES_LIMIT {
        return sinh_cosh_series(x);
    }
    let e = libm::exp(libm::fabs(x));
    let inverse = 1.0 / e;
    (libm::copysign(0.5 * (e - inverse), x), 0.5 * (e + inverse))
}

fn milo(conductance: f64, u: f64) -> (f64, f64) {
    if conductance == 0.0 {
        return (0.0, 0.0);
    }
    let l = libm::log10(conductance);
    let square = ((1.388e-4 * l + 1.541e-3) * l + 5.711e-3) * l + 7.063e-3;
    let cubic = (8.871e-5 * l + 6.7919e-4) * l + 1.2968e-3;
    let size = libm::fabs(u).min(MILO_VOLTS);
    let slope = conductance + 2.0 * square * size + 3.0 * cubic * size * size;
    let inside = (conductance + (square + cubic * size) * size) * size;
    let current = inside + slope * (libm::fabs(u) - size);
    (libm::copysign(current, u), slope)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::CurrentLaw;

    const LAWS: [CurrentLaw; 4] = [
        CurrentLaw::Linear,
        CurrentLaw::Sinh { v0_v: 0.25 },
        CurrentLaw::Cubic { coefficient_per_v2: 0.8 },
        CurrentLaw::Milo,
    ];

    #[test]
    fn the_slope_is_the_derivative_and_the_current_is_odd() {
        let (g, h) = (1e-4, 1e-5);
        for law in LAWS {
            for u in [-1.3, -0.49, -0.1, 0.0, 0.02, 0.3, 0.7] {
                let (current, slope) = law.evaluate(g, u);
                let difference = (law.evaluate(g, u + h).0 - law.evaluate(g, u - h).0) / (2.0 * h);
                // The central difference misses h²/6 of the third derivative, at most 5e-7 of the slope here (sinh at
                // 1.3 V), and 1e-16/h of rounding.
                assert!(libm::fabs(difference / slope - 1.0) < 1e-6, "{law:?} at {u} V");
                assert_eq!(law.evaluate(g, -u).0, -current);
            }
        }
    }

    #[test]
    fn the_hyperbolic_sine_agrees_with_libm_on_both_sides_of_the_series_limit() {
        let law = CurrentLaw::Sinh { v0_v: 1.0 };
        for k in -600..600 {
            let x = f64::from(k) * 0.01 + 0.003;
            let (current, slope) = law.evaluate(1.0, x);
            // A few roundings.
            assert!(libm::fabs(current / libm::sinh(x) - 1.0) < 2e-15, "{x}");
            assert!(libm::fabs(slope / libm::cosh(x) - 1.0) < 2e-15, "{x}");
        }
    }

    #[test]
    fn milo_matches_the_published_polynomials() {
        // At 100 µS, log₁₀ G = −4: a = −8.0e-6 A/V², b = −6.4e-7 A/V³ by hand from the published coefficients.
        let a = 1.388e-4 * -64.0 + 1.541e-3 * 16.0 + 5.711e-3 * -4.0 + 7.063e-3;
        let b = 8.871e-5 * 16.0 + 6.7919e-4 * -4.0 + 1.2968e-3;
        let (current, _) = CurrentLaw::Milo.evaluate(1e-4, 0.4);
        assert!(libm::fabs(current - (1e-4 * 0.4 + a * 0.16 + b * 0.064)) < 1e-17);
    }

    #[test]
    fn linearising_an_array_is_linearising_each_device() {
        let conductance = vec![1e-5, 6e-5, 1e-4];
        for law in LAWS {
            for volts in [vec![0.1, -0.2, 0.4], vec![0.9, 0.0, -0.1]] {
                let (mut slope, mut injected) = (vec![0.0; 3], vec![0.0; 3]);
                law.linearise(&conductance, &volts, &mut slope, &mut injected);
                for k in 0..3 {
                    let (current, differential) = law.evaluate(conductance[k], volts[k]);
                    assert_eq!(slope[k], differential);
                    assert_eq!(injected[k], current - differential * volts[k]);
                }
            }
        }
    }
}
