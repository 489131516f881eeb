//! Signed weights on an array of positive conductances: differential column pairs, and matrices larger than the array
//! as tiles.

use ndarray::{Array2, ArrayView2, s};
use thiserror::Error;

/// Why a matrix can't be mapped.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum MappingError {
    /// Nothing to scale by.
    #[error("every weight is 0")]
    AllZero,
    /// NaN or infinite.
    #[error("the weight of output {output}, input {input} is {value}")]
    NotFinite {
        /// Which output.
        output: usize,
        /// Which input.
        input: usize,
        /// What it is.
        value: f64,
    },
    /// No room for a pair.
    #[error(
        "an array of {rows} rows × {columns} columns can't hold a differential pair; it takes 1 × 2 at least"
    )]
    ArrayTooSmall {
        /// Rows there are.
        rows: usize,
        /// Columns there are.
        columns: usize,
    },
    /// No range to map to.
    #[error("conductances from {g_min} S to {g_max} S are no range")]
    Range {
        /// Lowest, S.
        g_min: f64,
        /// Highest, S.
        g_max: f64,
    },
}

/// Weight w as `G₊ − G₋ = w · scale`, of which one is at the lowest conductance:
/// `G₊ = g_min + max(w, 0) · scale`, `G₋ = g_min + max(−w, 0) · scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pairs {
    /// Lowest conductance used, S.
    pub g_min: f64,
    /// S per unit of weight.
    pub scale: f64,
}

impl Pairs {
    /// The largest scale at which every weight fits `g_min` to `g_max`.
    ///
    /// # Errors
    /// [`MappingError`].
    pub fn fit(weights: ArrayView2<'_, f64>, g_min: f64, g_max: f64) -> Result<Self, MappingError> {
        if !(g_min >= 0.0 && g_max > g_min && g_max.is_finite()) {
            return Err(MappingError::Range { g_min, g_max });
        }
        if let Some(((output, input), &value)) = weights.indexed_iter().find(|(_, w)| !w.is_finite()) {
            return Err(MappingError::NotFinite { output, input, value });
        }
        let largest = weights.iter().fold(0.0_f64, |largest, w| largest.max(w.abs()));
        if largest == 0.0 {
            return Err(MappingError::AllZero);
        }
        Ok(Self { g_min, scale: (g_max - g_min) / largest })
    }

    /// Conductances of `weights` (outputs, inputs) as (inputs, 2 · outputs): output k on columns 2k (+) and 2k + 1 (−).
    #[must_use]
    pub fn conductances(&self, weights: ArrayView2<'_, f64>) -> Array2<f64> {
        let (outputs, inputs) = weights.dim();
        Array2::from_shape_fn((inputs, 2 * outputs), |(input, column)| {
            let weight = weights[(column / 2, input)];
            let share = if column % 2 == 0 { weight } else { -weight };
            self.g_min + share.max(0.0) * self.scale
        })
    }

    /// Weights of conductances, the reverse of [`conductances`](Self::conductances).
    #[must_use]
    pub fn weights(&self, conductances: ArrayView2<'_, f64>) -> Array2<f64> {
        let (inputs, columns) = conductances.dim();
        Array2::from_shape_fn((columns / 2, inputs), |(output, input)| {
            (conductances[(input, 2 * output)] - conductances[(input, 2 * output + 1)]) / self.scale
        })
    }

    /// Differences of column pairs: (vectors, 2 · outputs) → (vectors, outputs).
    #[must_use]
    pub fn differences(currents: ArrayView2<'_, f64>) -> Array2<f64> {
        &currents.slice(s![.., 0..;2]) - &currents.slice(s![.., 1..;2])
    }
}

/// A part of a large conductance matrix that fits the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// First row in the large matrix.
    pub row: usize,
    /// First column in the large matrix; even.
    pub column: usize,
    /// Rows.
    pub rows: usize,
    /// Columns; even.
    pub columns: usize,
}

impl Tile {
    /// The tiles of a (rows, columns) matrix of column pairs on an array, pairs kept together, row by row.
    ///
    /// # Errors
    /// [`MappingError::ArrayTooSmall`].
    pub fn cut(matrix: (usize, usize), array: (usize, usize)) -> Result<Vec<Self>, MappingError> {
        let (tall, wide) = (array.0, array.1 - array.1 % 2);
        if tall == 0 || wide == 0 {
            return Err(MappingError::ArrayTooSmall { rows: array.0, columns: array.1 });
        }
        let mut tiles = Vec::new();
        for row in (0..matrix.0).step_by(tall) {
            for column in (0..matrix.1).step_by(wide) {
                tiles.push(Self {
                    row,
                    column,
                    rows: tall.min(matrix.0 - row),
                    columns: wide.min(matrix.1 - column),
                });
            }
        }
        Ok(tiles)
    }

    /// This tile's part of the large matrix.
    #[must_use]
    pub fn of<'a>(&self, matrix: &'a Array2<f64>) -> ArrayView2<'a, f64> {
        matrix.slice(s![self.row..self.row + self.rows, self.column..self.column + self.columns])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_weight_raises_one_cell_of_its_pair_above_the_lowest_conductance() {
        let weights = array![[2.0, -1.0, 0.0]];
        let pairs = Pairs::fit(weights.view(), 10e-6, 90e-6).unwrap();
        let conductances = pairs.conductances(weights.view());
        let expected = array![[90e-6, 10e-6], [10e-6, 50e-6], [10e-6, 10e-6]];
        for (got, expected) in conductances.iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-18);
        }
    }

    #[test]
    fn weights_survive_the_way_to_conductances_and_back() {
        let weights = Array2::from_shape_fn((5, 7), |(i, j)| (i as f64 - 2.3) * (j as f64 - 3.1));
        let pairs = Pairs::fit(weights.view(), 9e-6, 88e-6).unwrap();
        let back = pairs.weights(pairs.conductances(weights.view()).view());
        // Differences of numbers near 10⁻⁴ with a scale near 10⁻⁵: 10⁻¹¹ of cancellation at most.
        assert!(weights.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-11));
    }

    #[test]
    fn the_digits_matrix_takes_eight_tiles_of_a_16_by_16_array() {
        let tiles = Tile::cut((64, 20), (16, 16)).unwrap();
        assert_eq!(tiles.len(), 8);
        assert_eq!(tiles[0], Tile { row: 0, column: 0, rows: 16, columns: 16 });
        assert_eq!(tiles[7], Tile { row: 48, column: 16, rows: 16, columns: 4 });
    }

    #[test]
    fn an_odd_array_keeps_pairs_together() {
        assert!(Tile::cut((3, 10), (2, 5)).unwrap().iter().all(|tile| tile.columns % 2 == 0));
        assert!(matches!(Tile::cut((3, 10), (16, 1)), Err(MappingError::ArrayTooSmall { columns: 1, .. })));
    }

    #[test]
    fn what_cannot_be_mapped_is_named() {
        assert_eq!(Pairs::fit(array![[0.0]].view(), 0.0, 1.0), Err(MappingError::AllZero));
        assert!(matches!(
            Pairs::fit(array![[1.0, f64::NAN]].view(), 0.0, 1.0),
            Err(MappingError::NotFinite { output: 0, input: 1, .. })
        ));
        assert!(matches!(Pairs::fit(array![[1.0]].view(), 1.0, 1.0), Err(MappingError::Range { .. })));
    }
}
