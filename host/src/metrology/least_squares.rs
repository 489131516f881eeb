//! Small symmetric systems and iteratively reweighted least squares: what all fits of this folder share.

use thiserror::Error;

/// Why a fit gives no result.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum FitError {
    /// Fewer data than the model needs.
    #[error("{got} points where the fit needs at least {needed}")]
    TooFew {
        /// What there is.
        got: usize,
        /// What it takes.
        needed: usize,
    },
    /// The data don't determine the parameters.
    #[error("the data don't determine all {parameters} parameters of the model")]
    Singular {
        /// Parameters of the model.
        parameters: usize,
    },
    /// No minimum was found.
    #[error("the fit didn't converge within {steps} steps")]
    NotConverged {
        /// Steps taken.
        steps: usize,
    },
    /// A datum that can't be one.
    #[error("point {index} is {value}, which no fit can use")]
    Datum {
        /// Which.
        index: usize,
        /// What it is.
        value: f64,
    },
}

/// A symmetric positive definite matrix with right-hand side, accumulated row by row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Normal<const P: usize> {
    pub(crate) matrix: [[f64; P]; P],
    pub(crate) vector: [f64; P],
}

impl<const P: usize> Normal<P> {
    pub(crate) const ZERO: Self = Self { matrix: [[0.0; P]; P], vector: [0.0; P] };

    /// Adds an observation: `row` of the design matrix, what is to be explained, and its weight (1/variance).
    pub(crate) fn add(&mut self, row: &[f64; P], residual: f64, weight: f64) {
        for (i, a) in row.iter().enumerate() {
            for (j, b) in row.iter().enumerate() {
                self.matrix[i][j] += weight * a * b;
            }
            self.vector[i] += weight * a * residual;
        }
    }

    /// The inverse matrix. Scaled to a unit diagonal first, so that units don't matter.
    pub(crate) fn inverse(&self) -> Result<[[f64; P]; P], FitError> {
        let singular = FitError::Singular { parameters: P };
        let scale: [f64; P] = std::array::from_fn(|i| self.matrix[i][i].sqrt().recip());
        if scale.iter().any(|s| !s.is_finite()) {
            return Err(singular);
        }
        // Cholesky: A = L·Lᵀ, then columns of the inverse by substitution.
        let mut lower = [[0.0; P]; P];
        for i in 0..P {
            for j in 0..=i {
                let dot: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
                let value = self.matrix[i][j] * scale[i] * scale[j] - dot;
                if i == j {
                    // 1e-12: parameters correlated to six nines are not told apart by double precision sums.
                    if value.is_nan() || value < 1e-12 {
                        return Err(singular);
                    }
                    lower[i][i] = value.sqrt();
                } else {
                    lower[i][j] = value / lower[j][j];
                }
            }
        }
        let mut inverse = [[0.0; P]; P];
        for column in 0..P {
            let mut x = [0.0; P];
            for i in 0..P {
                let dot: f64 = (0..i).map(|k| lower[i][k] * x[k]).sum();
                x[i] = (f64::from(u8::from(i == column)) - dot) / lower[i][i];
            }
            for i in (0..P).rev() {
                let dot: f64 = (i + 1..P).map(|k| lower[k][i] * x[k]).sum();
                x[i] = (x[i] - dot) / lower[i][i];
            }
            for i in 0..P {
                inverse[i][column] = x[i] * scale[i] * scale[column];
            }
        }
        Ok(inverse)
    }

    /// Solution and inverse matrix.
    pub(crate) fn solve(&self) -> Result<([f64; P], [[f64; P]; P]), FitError> {
        let inverse = self.inverse()?;
        let solution = std::array::from_fn(|i| (0..P).map(|j| inverse[i][j] * self.vector[j]).sum());
        Ok((solution, inverse))
    }
}

/// Most steps of an iteration.
const STEPS: usize = 200;

/// Minimises `cost` from `start` by steps that `step` proposes (Gauss–Newton, Fisher scoring: the solution of its
/// normal equations), halved until the cost falls. Ends when a step no longer moves any parameter by more than
/// `1e-4` of its standard deviation, which is the square root of the inverse matrix's diagonal.
///
/// # Errors
/// Of the normal equations; [`FitError::NotConverged`] after 200 steps, or at a step that isn't a number.
pub(super) fn minimise<const P: usize>(
    start: [f64; P],
    mut cost: impl FnMut(&[f64; P]) -> f64,
    mut step: impl FnMut(&[f64; P]) -> Normal<P>,
) -> Result<([f64; P], [[f64; P]; P]), FitError> {
    let mut parameters = start;
    let mut best = cost(&parameters);
    for steps in 0..STEPS {
        let (direction, inverse) = step(&parameters).solve()?;
        // A start outside the model's domain, say. Halving would never end.
        if !(0..P).all(|i| direction[i].is_finite() && inverse[i][i] > 0.0) {
            return Err(FitError::NotConverged { steps });
        }
        let negligible =
            |scale: f64| (0..P).all(|i| (scale * direction[i]).abs() <= 1e-4 * inverse[i][i].sqrt());
        if negligible(1.0) {
            return Ok((parameters, inverse));
        }
        let mut scale = 1.0;
        loop {
            let trial: [f64; P] = std::array::from_fn(|i| parameters[i] + scale * direction[i]);
            let value = cost(&trial);
            if value.is_finite() && value < best {
                (parameters, best) = (trial, value);
                break;
            }
            scale *= 0.5;
            if negligible(scale) {
                return Ok((parameters, inverse));
            }
        }
    }
    Err(FitError::NotConverged { steps: STEPS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_times_the_matrix_is_one() {
        let mut normal = Normal::<3>::ZERO;
        for k in 0..7 {
            let x = f64::from(k);
            normal.add(&[1.0, 1e-6 * x, 1e6 * x * x], 1.0, 1.0 + x);
        }
        let inverse = normal.inverse().unwrap();
        #[allow(clippy::needless_range_loop)] // Indices of a matrix.
        for i in 0..3 {
            for j in 0..3 {
                let product: f64 = (0..3).map(|k| inverse[i][k] * normal.matrix[k][j]).sum();
                // Units differ by 10¹²: compare on the scale of the two parameters.
                let scale = (normal.matrix[j][j] / normal.matrix[i][i]).sqrt();
                let expected = f64::from(u8::from(i == j));
                assert!((product / scale - expected).abs() < 1e-9, "{i} {j} {product}");
            }
        }
    }

    #[test]
    fn a_start_that_is_no_number_ends_in_an_error() {
        let line = |p: &[f64; 1]| {
            let mut normal = Normal::ZERO;
            normal.add(&[1.0], 2.0 - p[0], 1.0);
            normal
        };
        let cost = |p: &[f64; 1]| (2.0 - p[0]).powi(2);
        assert_eq!(minimise([0.0], cost, line).unwrap().0, [2.0]);
        assert!(matches!(minimise([f64::NAN], cost, line), Err(FitError::NotConverged { steps: 0 })));
    }

    #[test]
    fn parameters_that_the_data_cannot_tell_apart_are_refused() {
        let mut normal = Normal::<2>::ZERO;
        for _ in 0..5 {
            normal.add(&[1.0, 2.0], 1.0, 1.0);
        }
        assert_eq!(normal.solve().unwrap_err(), FitError::Singular { parameters: 2 });
    }
}
