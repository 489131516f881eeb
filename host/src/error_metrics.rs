//! How far measured products are from exact ones, by names that mean one thing each.
//!
//! With exact outputs `y0 = W x` and measured outputs `y` in the same unit, over P vectors:
//!
//! - `l2_relative` = ‖y − y0‖₂ / ‖y0‖₂ over the whole set
//! - `full_scale` = |y − y0| / (rows · Gmax · Vmax): its largest (`worst`) and its root mean square
//! - the linear part, which an affine map of the outputs' inputs can undo: with
//!   `We, b = argmin Σ ‖y − We x − b‖²`, it is `(We − W) x + b`; what is left, `y − We x − b`, is noise and nonlinearity
//! - noise: the deviation of one repetition from another of the same vector; nonlinearity² = residual² − noise²
//!
//! `l2_relative` doesn't fall with the number of rows, `full_scale` falls as its square root: say which one is meant.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::Serialize;

/// All errors of a set of products.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MvmErrors {
    /// Number of vectors.
    pub vectors: usize,
    /// ‖y − y0‖₂ / ‖y0‖₂.
    pub l2_relative: f64,
    /// Largest |y − y0| over full scale.
    pub full_scale_worst: f64,
    /// Root mean square of y − y0 over full scale.
    pub full_scale_rms: f64,
    /// The parts of it; `None` if there are too few vectors for a fit to mean anything.
    pub parts: Option<Parts>,
}

/// Parts of an error: what an affine map can undo, and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Parts {
    /// ‖(We − W) x + b‖₂ / ‖y0‖₂.
    pub linear_l2: f64,
    /// ‖y − We x − b‖₂ / ‖y0‖₂.
    pub residual_l2: f64,
    /// Largest linear part over full scale.
    pub linear_full_scale_worst: f64,
    /// Largest residual over full scale.
    pub residual_full_scale_worst: f64,
    /// ‖noise‖₂ / ‖y0‖₂, if vectors were repeated.
    pub noise_l2: Option<f64>,
    /// √(residual² − noise²), at least 0, if vectors were repeated.
    pub nonlinear_l2: Option<f64>,
}

/// Vectors per fitted coefficient below which a fit says little (ten is usual for a number one relies on).
const VECTORS_PER_COEFFICIENT: usize = 2;

/// Errors of `measured` (vectors, outputs) against `exact`, for `inputs` (vectors, rows). `full_scale` is
/// rows · Gmax · Vmax in the outputs' unit, `noise_rms` from [`noise_rms`].
///
/// # Panics
/// If the shapes don't belong together.
#[must_use]
pub fn errors(
    inputs: ArrayView2<'_, f64>,
    measured: ArrayView2<'_, f64>,
    exact: ArrayView2<'_, f64>,
    full_scale: f64,
    noise_rms: Option<f64>,
) -> MvmErrors {
    assert_eq!(measured.dim(), exact.dim(), "measured and exact outputs");
    assert_eq!(inputs.nrows(), exact.nrows(), "inputs and outputs");
    let difference = &measured - &exact;
    let size = norm(exact);
    let coefficients = inputs.ncols() + 1;
    let parts = (inputs.nrows() >= VECTORS_PER_COEFFICIENT * coefficients).then(|| {
        let linear = affine_fit(inputs, difference.view());
        let residual = &difference - &linear;
        let residual_l2 = norm(residual.view()) / size;
        let noise_l2 = noise_rms.map(|rms| rms * (exact.len() as f64).sqrt() / size);
        Parts {
            linear_l2: norm(linear.view()) / size,
            residual_l2,
            linear_full_scale_worst: largest(linear.view()) / full_scale,
            residual_full_scale_worst: largest(residual.view()) / full_scale,
            noise_l2,
            nonlinear_l2: noise_l2.map(|noise| (residual_l2 * residual_l2 - noise * noise).max(0.0).sqrt()),
        }
    });
    MvmErrors {
        vectors: inputs.nrows(),
        l2_relative: norm(difference.view()) / size,
        full_scale_worst: largest(difference.view()) / full_scale,
        full_scale_rms: norm(difference.view()) / (difference.len().max(1) as f64).sqrt() / full_scale,
        parts,
    }
}

/// Standard deviation of one output's noise from two repetitions of the same vectors: √(mean((a − b)²) / 2).
#[must_use]
pub fn noise_rms(first: ArrayView2<'_, f64>, second: ArrayView2<'_, f64>) -> f64 {
    norm((&first - &second).view()) / (2.0 * first.len().max(1) as f64).sqrt()
}

/// ‖a‖₂ over all elements.
fn norm(values: ArrayView2<'_, f64>) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Largest |element|.
fn largest(values: ArrayView2<'_, f64>) -> f64 {
    values.iter().fold(0.0, |largest: f64, v| largest.max(v.abs()))
}

/// The values at `inputs` of the affine map that fits `outputs` best in the least-squares sense. Inputs that never
/// vary are allowed (a pixel that is always dark): the smallest solution is taken.
fn affine_fit(inputs: ArrayView2<'_, f64>, outputs: ArrayView2<'_, f64>) -> Array2<f64> {
    let centre = |a: ArrayView2<'_, f64>| -> (Array2<f64>, Array1<f64>) {
        let mean = a.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(a.ncols()));
        (&a - &mean, mean)
    };
    let (x, _) = centre(inputs);
    let (y, offset) = centre(outputs);
    let mut normal = x.t().dot(&x);
    let n = normal.nrows();
    // Keeps the matrix regular; biases the fit by 10⁻¹⁰ of its size.
    let ridge = normal.diag().sum() / n.max(1) as f64 * 1e-10 + f64::MIN_POSITIVE;
    normal.diag_mut().mapv_inplace(|v| v + ridge);
    let coefficients = solve_positive_definite(normal, x.t().dot(&y));
    x.dot(&coefficients) + &offset
}

/// Solves `a z = b` for a symmetric positive definite `a` (Cholesky, Golub & Van Loan, Matrix Computations, 4.2).
fn solve_positive_definite(mut a: Array2<f64>, mut b: Array2<f64>) -> Array2<f64> {
    let n = a.nrows();
    for j in 0..n {
        for k in 0..j {
            let factor = a[(j, k)];
            for i in j..n {
                a[(i, j)] -= a[(i, k)] * factor;
            }
        }
        let pivot = a[(j, j)].sqrt();
        for i in j..n {
            a[(i, j)] /= pivot;
        }
    }
    for column in 0..b.ncols() {
        for i in 0..n {
            let known: f64 = (0..i).map(|k| a[(i, k)] * b[(k, column)]).sum();
            b[(i, column)] = (b[(i, column)] - known) / a[(i, i)];
        }
        for i in (0..n).rev() {
            let known: f64 = (i + 1..n).map(|k| a[(k, i)] * b[(k, column)]).sum();
            b[(i, column)] = (b[(i, column)] - known) / a[(i, i)];
        }
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn errors_of_a_hand_computed_set() {
        let inputs = array![[1.0], [0.0]];
        let (exact, measured) = (array![[3.0], [4.0]], array![[3.0], [4.5]]);
        let errors = errors(inputs.view(), measured.view(), exact.view(), 10.0, None);
        // Differences 0 and 0.5, ‖y0‖ = 5.
        assert!((errors.l2_relative - 0.1).abs() < 1e-15);
        assert!((errors.full_scale_worst - 0.05).abs() < 1e-15);
        assert!((errors.full_scale_rms - 0.05 / 2.0_f64.sqrt()).abs() < 1e-15);
        assert_eq!(errors.parts, None);
    }

    #[test]
    fn a_gain_and_an_offset_are_all_linear_part() {
        let inputs = Array2::from_shape_fn((40, 3), |(i, j)| ((i * 7 + j * 13) % 11) as f64 / 11.0);
        let exact = inputs.dot(&array![[1.0, -2.0], [0.5, 0.0], [0.3, 1.0]]);
        let measured = &exact * 1.02 + 0.01;
        let errors = errors(inputs.view(), measured.view(), exact.view(), 3.0, Some(0.0));
        let parts = errors.parts.unwrap();
        // The ridge biases the fit by 10⁻¹⁰.
        assert!((parts.linear_l2 / errors.l2_relative - 1.0).abs() < 1e-8);
        assert!(parts.residual_l2 < 1e-8 * parts.linear_l2.max(1.0));
    }

    #[test]
    fn a_square_term_is_residual_and_not_noise() {
        let inputs = Array2::from_shape_fn((41, 1), |(i, _)| i as f64 / 20.0 - 1.0);
        let measured = inputs.mapv(|x| x + 0.1 * x * x);
        let errors = errors(inputs.view(), measured.view(), inputs.view(), 1.0, Some(0.0));
        let parts = errors.parts.unwrap();
        assert!(parts.residual_l2 > 0.04);
        assert_eq!(parts.nonlinear_l2, Some(parts.residual_l2));
        // The mean of the square term is an offset, hence linear.
        assert!(parts.linear_l2 > 0.04);
    }

    #[test]
    fn an_input_that_never_varies_does_not_hurt_the_fit() {
        let inputs = Array2::from_shape_fn((30, 2), |(i, j)| if j == 0 { 0.0 } else { i as f64 });
        let exact = inputs.clone();
        let errors = errors(inputs.view(), (&exact * 1.5).view(), exact.view(), 1.0, None);
        assert!(errors.parts.unwrap().residual_l2 < 1e-8);
    }

    #[test]
    fn noise_is_the_deviation_of_one_repetition() {
        assert!(
            (noise_rms(array![[1.0, 1.0]].view(), array![[3.0, -1.0]].view()) - 2.0_f64.sqrt()).abs() < 1e-15
        );
    }
}
