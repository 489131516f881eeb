//! Programming against what products see. Write-verify reads one cell at a time; what a cell contributes to a product
//! depends on all the others of its row and column through the resistance of switches and lines. So the array is
//! programmed, its effective matrix measured, the single-cell targets corrected by what that lacks, and the cells that
//! are off programmed again: Gauss–Seidel between the cells and the lines they share.
//!
//! The [MVM-error pass](Instrument::refine_by_products) does the same from the errors of products of random inputs, which is
//! all one has to go by where a matrix can't be read.

use super::{
    Books, Instrument, InstrumentError, ProductSettings, ProgramOrder, Programmed, Progress, Target,
};
use crate::calibration::{Calibration, Corrections, Effective, EffectiveSettings, LineGains};
use ndarray::{Array1, Array2, Axis, Zip};
use ohmrig_emulator::random::Random;
use ohmrig_protocol::message::Outcome;

/// One turn of programming and measuring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// Cells worked on.
    pub cells: usize,
    /// Pulses.
    pub pulses: u64,
    /// Root mean square over cells that can be programmed of effective conductance over its gains, less target, S.
    pub error_rms: f64,
}

/// What in-circuit programming has reached: inputs times `gains.rows`, through the array, times `gains.columns`, is the
/// product with the targets.
#[derive(Clone, Debug, PartialEq)]
pub struct InCircuit {
    /// Cells, over all turns. Conductances are of single-cell reads.
    pub cells: Programmed,
    /// The last measurement.
    pub matrix: Effective,
    /// Fixed after the first turn.
    pub gains: LineGains,
    /// That measurement times the gains, less the targets, S.
    pub error: Array2<f64>,
    /// Turn by turn.
    pub turns: Vec<Turn>,
}

impl InCircuit {
    /// Whether each cell is within ±`window`, S, of its target in the matrix that products see.
    #[must_use]
    pub fn inside(&self, window: f64) -> Array2<bool> {
        self.error.mapv(|error| error.abs() <= window)
    }
}

/// Errors of products of random inputs, column by column and cell by cell.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductErrors {
    /// Output over target output, by least squares.
    pub gain: Array1<f64>,
    /// Output for no input, A.
    pub offset: Array1<f64>,
    /// What each cell seems to have too much over its target, S, once gains are taken off.
    pub excess: Array2<f64>,
    /// Standard uncertainty of that, S.
    pub uncertainty: Array2<f64>,
}

/// Random inputs per row of the array.
const INPUTS_PER_ROW: usize = 10;

impl Instrument {
    /// Programs the whole array so that its effective matrix is `order`'s targets times one gain for each row and column,
    /// in at most `turns`. A turn ends it when no cell is outside the order's window. The matrix, and so the gains, are of
    /// products corrected as in `calibrated`.
    ///
    /// # Errors
    /// [`InstrumentError`]; `Argument` unless the targets cover the array.
    pub fn program_in_circuit(
        &mut self,
        order: &ProgramOrder,
        settings: &EffectiveSettings,
        calibrated: Option<(&Calibration, Corrections)>,
        turns: u8,
        books: &mut dyn Books,
        mut progress: impl FnMut(Progress),
    ) -> Result<InCircuit, InstrumentError> {
        let whole = (usize::from(self.device().rows), usize::from(self.device().columns));
        if order.targets.dim() != whole || order.origin != (0, 0) || turns == 0 {
            return Err(InstrumentError::Argument(format!(
                "in-circuit programming takes targets for the whole array, {} × {}, and one turn at least; here are {} × {} from \
                 row {}, column {}, and {turns}",
                whole.0,
                whole.1,
                order.targets.nrows(),
                order.targets.ncols(),
                order.origin.0,
                order.origin.1
            )));
        }
        // First the devices themselves: gains fitted to what the lines make of them cost the least headroom.
        let done = self.program(
            &ProgramOrder { target: Target::Device, ..order.clone() },
            &[],
            books,
            &mut progress,
        )?;
        let matrix = Effective::measure(self, settings, calibrated, |_, _| {})?;
        let gains = LineGains::between(matrix.siemens.view(), order.targets.view());
        let both = Array2::from_shape_fn(whole, |(i, j)| gains.rows[i] * gains.columns[j]);
        let error = &matrix.siemens * &both - &order.targets;
        let mut here = InCircuit { cells: done, matrix, gains, error, turns: Vec::new() };
        let (mut worked, mut pulses) = (order.targets.len(), here.cells.pulses_sum());
        loop {
            let usable = here.cells.outcome.mapv(|outcome| outcome == Outcome::Inside);
            let squares: Vec<f64> = here
                .error
                .iter()
                .zip(&usable)
                .filter(|(_, usable)| **usable)
                .map(|(error, _)| error * error)
                .collect();
            here.turns.push(Turn {
                cells: worked,
                pulses,
                error_rms: (squares.iter().sum::<f64>() / squares.len().max(1) as f64).sqrt(),
            });
            let off = Zip::from(&here.inside(order.window))
                .and(&usable)
                .map_collect(|inside, usable| *usable && !inside);
            worked = off.iter().filter(|off| **off).count();
            if worked == 0 || here.turns.len() >= usize::from(turns) {
                return Ok(here);
            }
            // The network is linear: a cell read alone, all other lines at 0 V, says what it contributes to a product.
            let shrink = both.iter().fold(1.0, |least: f64, gain| least.min(1.0 / gain));
            let next = ProgramOrder {
                target: Target::InPlace,
                targets: &order.targets / &both,
                work: Some(off),
                window: order.window * shrink,
                guard: order.guard * shrink,
                ..order.clone()
            };
            let done = self.program(&next, &[], books, &mut progress)?;
            pulses = done.pulses_sum();
            here.cells.merge(&done);
            here.matrix = Effective::measure(self, settings, calibrated, |_, _| {})?;
            here.error = &here.matrix.siemens * &both - &order.targets;
        }
    }

    /// Products of random inputs against those of `targets`, S, (rows, columns): a gain and an offset for each column, and
    /// what is left attributed to cells by least squares.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn product_errors(
        &mut self,
        targets: &Array2<f64>,
        volts: f64,
        settings: ProductSettings,
        seed: u64,
    ) -> Result<ProductErrors, InstrumentError> {
        let rows = targets.nrows();
        let inputs = random_inputs(INPUTS_PER_ROW * rows, rows, volts, seed);
        let outputs = self.mvm(inputs.view(), settings, |_| {})?.currents;
        attribute(&inputs, &outputs, targets).ok_or_else(|| {
            InstrumentError::Argument("targets of a column are all 0: it has no gain".to_owned())
        })
    }

    /// Corrects the cells that do most to the errors of products: those that are outside the order's window by three
    /// standard uncertainties, `most` at most, are programmed to what is missing. Returns the errors found before, and what
    /// was programmed.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn refine_by_products(
        &mut self,
        order: &ProgramOrder,
        settings: ProductSettings,
        seed: u64,
        most: usize,
        books: &mut dyn Books,
    ) -> Result<(ProductErrors, Programmed), InstrumentError> {
        let errors = self.product_errors(&order.targets, order.read_volts, settings, seed)?;
        let mut worst: Vec<(f64, (usize, usize))> = errors
            .excess
            .indexed_iter()
            .filter(|(index, excess)| excess.abs() > order.window + 3.0 * errors.uncertainty[*index])
            .map(|(index, excess)| (excess.abs(), index))
            .collect();
        worst.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut work = Array2::from_elem(order.targets.dim(), false);
        for (_, index) in worst.into_iter().take(most) {
            work[index] = true;
        }
        let gains = errors.gain.view().insert_axis(Axis(0));
        let next = ProgramOrder {
            target: Target::InPlace,
            targets: &order.targets * &gains,
            work: Some(work),
            ..order.clone()
        };
        let done = self.program(&next, &[], books, |_| {})?;
        Ok((errors, done))
    }
}

/// Uniform between ±`volts`, (vectors, rows).
fn random_inputs(vectors: usize, rows: usize, volts: f64, seed: u64) -> Array2<f64> {
    let mut random = Random::new(seed, 0);
    Array2::from_shape_fn((vectors, rows), |_| volts * (2.0 * random.uniform() - 1.0))
}

/// Least squares in two steps: a gain and an offset for each column, then what is left on the inputs.
fn attribute(inputs: &Array2<f64>, outputs: &Array2<f64>, targets: &Array2<f64>) -> Option<ProductErrors> {
    let (vectors, n) = (inputs.nrows(), inputs.nrows() as f64);
    let (rows, columns) = targets.dim();
    let exact = inputs.dot(targets);
    let mut gain = Array1::zeros(columns);
    let mut offset = Array1::zeros(columns);
    let mut left = outputs.clone();
    for column in 0..columns {
        let (x, y) = (exact.column(column), outputs.column(column));
        let (mean_x, mean_y) = (x.sum() / n, y.sum() / n);
        let variance: f64 = x.iter().map(|x| (x - mean_x).powi(2)).sum();
        if variance <= 0.0 {
            return None;
        }
        let covariance: f64 = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        gain[column] = covariance / variance;
        offset[column] = mean_y - gain[column] * mean_x;
        for vector in 0..vectors {
            left[(vector, column)] -= offset[column] + gain[column] * exact[(vector, column)];
        }
    }
    // Normal equations of the inputs about their means, since the offsets are off already; these are random and ten times
    // as many as rows, hence well conditioned.
    let centred = inputs - &inputs.mean_axis(Axis(0))?;
    let inverse = inverse(&centred.t().dot(&centred))?;
    let slope = inverse.dot(&centred.t().dot(&left));
    let residual = &left - &centred.dot(&slope);
    let free = (vectors - rows - 2).max(1) as f64;
    let spread = residual.map_axis(Axis(0), |column| column.dot(&column) / free);
    let excess = Array2::from_shape_fn((rows, columns), |(i, j)| slope[(i, j)] / gain[j]);
    let uncertainty =
        Array2::from_shape_fn((rows, columns), |(i, j)| (spread[j] * inverse[(i, i)]).sqrt() / gain[j].abs());
    Some(ProductErrors { gain, offset, excess, uncertainty })
}

/// Gauss–Jordan; `None` for a matrix that is singular. Positive definite ones need no pivoting (Golub & Van Loan, Matrix
/// Computations, 4.2).
fn inverse(matrix: &Array2<f64>) -> Option<Array2<f64>> {
    let n = matrix.nrows();
    let (mut a, mut b) = (matrix.clone(), Array2::eye(n));
    for k in 0..n {
        let pivot = a[(k, k)];
        if pivot <= 0.0 {
            return None;
        }
        for j in 0..n {
            a[(k, j)] /= pivot;
            b[(k, j)] /= pivot;
        }
        for i in (0..n).filter(|&i| i != k) {
            let factor = a[(i, k)];
            for j in 0..n {
                a[(i, j)] -= factor * a[(k, j)];
                b[(i, j)] -= factor * b[(k, j)];
            }
        }
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_cell_has_too_much_is_found_in_that_cell_once_gain_and_offset_are_off() {
        let targets = Array2::from_shape_fn((16, 3), |(i, j)| 1e-5 * (1.0 + (i * 3 + j) as f64 % 5.0));
        let inputs = random_inputs(160, 16, 0.2, 1);
        let (mut actual, excess) = (targets.clone(), 2e-6);
        actual[(4, 1)] += excess;
        let outputs = inputs.dot(&actual).mapv(|i| 0.9 * i + 3e-7);
        let found = attribute(&inputs, &outputs, &targets).unwrap();
        let squares: f64 = targets.column(1).iter().map(|g| g * g).sum();
        for ((row, column), seen) in found.excess.indexed_iter() {
            // The column's gain takes a part of it, and gives it to all of the column's cells.
            let by_gain = excess * targets[(4, 1)] * targets[(row, column)] / squares;
            let expected = if column == 1 { f64::from(u8::from(row == 4)) * excess - by_gain } else { 0.0 };
            // Of 160 random inputs two rows' correlate by 8 %.
            assert!(
                (seen - expected).abs() < 3.0 * 0.08 * excess,
                "[{row}, {column}]: {seen:e} {expected:e}"
            );
        }
        assert!((found.gain[0] - 0.9).abs() < 1e-9 && (found.offset[0] - 3e-7).abs() < 1e-15);
        assert!(found.uncertainty.iter().all(|u| *u < 1e-12));
    }

    #[test]
    fn an_inverse_times_its_matrix_is_one() {
        let inputs = random_inputs(40, 7, 1.0, 3);
        let matrix = inputs.t().dot(&inputs);
        let product = inverse(&matrix).unwrap().dot(&matrix);
        assert!((&product - &Array2::<f64>::eye(7)).iter().all(|e| e.abs() < 1e-12));
        assert_eq!(inverse(&Array2::zeros((2, 2))), None);
    }
}
