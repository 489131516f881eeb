//! Current against voltage of one device.

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
}

impl CurrentLaw {
    /// Current (A) and differential conductance (S).
    pub fn evaluate(&self, conductance: f64, u: f64) -> (f64, f64) {
        match *self {
            Self::Linear => (conductance * u, conductance),
            Self::Sinh { v0_v } => {
                let x = u / v0_v;
                // sinh from expm1, so that small arguments keep their digits.
                let e = libm::expm1(x);
                let inverse = 1.0 / (e + 1.0);
                (conductance * v0_v * 0.5 * (e + e * inverse), conductance * 0.5 * (e + 1.0 + inverse))
            }
            Self::Cubic { coefficient_per_v2: c } => {
                (conductance * (u + c * u * u * u), conductance * (1.0 + 3.0 * c * u * u))
            }
        }
    }
}
