//! The array's effective matrix, measured in circuit: what it multiplies by with all lines connected and all rows driven,
//! series resistance, sneak currents and all.
//!
//! Rows are driven with ± patterns of a Hadamard matrix, so that every vector carries every cell: the noise of the
//! converters is averaged over as many vectors as there are rows (HARP, arXiv 2604.12420, abstract). Each pattern is
//! followed by its negative, which cancels offsets and even orders of the devices' curve.

use super::{Calibration, Corrections};
use crate::instrument::{Instrument, InstrumentError, ProductSettings};
use ndarray::{Array1, Array2, ArrayView2};

/// How it is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EffectiveSettings {
    /// Amplitude of the patterns, V.
    pub volts: f64,
    /// Times all patterns are gone through, at least 2: their scatter is the uncertainty.
    pub repeats: u16,
    /// Conversions per vector.
    pub conversions: u16,
}

/// A measured matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// Column current per row volt, S, (rows, columns).
    pub siemens: Array2<f64>,
    /// Standard uncertainty of that from the scatter of the repeats, S.
    pub uncertainty: Array2<f64>,
    /// Feedback setting it was measured in.
    pub range: u8,
    /// Instrument time at its end, ns.
    pub at_ns: u64,
}

/// The signs of one row over all patterns: a row of the Hadamard matrix (Sylvester's), its sign drawn so that no pattern
/// drives all rows alike.
fn sign(row: usize, pattern: usize) -> f64 {
    let parity = (row & pattern).count_ones() + (row.wrapping_mul(0x9E37_79B9) >> 16 & 1) as u32;
    if parity.is_multiple_of(2) { 1.0 } else { -1.0 }
}

impl Effective {
    /// Measures it, corrected as products will be.
    ///
    /// # Errors
    /// [`InstrumentError`]; `Argument` if fewer than two repeats are asked for or a column saturates in every range.
    pub fn measure(
        instrument: &mut Instrument,
        settings: &EffectiveSettings,
        calibrated: Option<(&Calibration, Corrections)>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Self, InstrumentError> {
        let EffectiveSettings { volts, repeats, conversions } = *settings;
        if repeats < 2 {
            return Err(InstrumentError::Argument(format!(
                "{repeats} repeats; an uncertainty needs at least 2"
            )));
        }
        let rows = usize::from(instrument.device().rows);
        let columns = usize::from(instrument.device().columns);
        let patterns = rows.next_power_of_two();
        let wanted = Array2::from_shape_fn((2 * patterns, rows), |(vector, row)| {
            let negative = if vector % 2 == 0 { 1.0 } else { -1.0 };
            negative * volts * sign(row, vector / 2)
        });
        let inputs = calibrated
            .map_or_else(|| wanted.clone(), |(c, corrections)| c.inputs(wanted.view(), corrections));
        let range = fitting_range(instrument, inputs.view())?;
        let interval_ns = calibrated.map_or(0, |(c, _)| c.hum.interval_ns(conversions));
        let products = ProductSettings { range, conversions, interval_ns };
        let zero = Array1::zeros(columns);
        let of = 2 * patterns * usize::from(repeats);
        let mut sum = Array2::<f64>::zeros((rows, columns));
        let mut squares = Array2::<f64>::zeros((rows, columns));
        for repeat in 0..usize::from(repeats) {
            let before = repeat * 2 * patterns;
            let measured = instrument.mvm(inputs.view(), products, |done| progress(before + done, of))?;
            if measured.saturated > 0 {
                return Err(InstrumentError::Argument(format!(
                    "{} samples saturated in range {range} at ±{volts} V; use a lower voltage",
                    measured.saturated
                )));
            }
            let currents = match calibrated {
                Some((c, corrections)) => {
                    let nominal = (range, instrument.feedback(range)?);
                    c.currents(measured.currents.view(), zero.view(), nominal, corrections, None)
                }
                None => measured.currents,
            };
            let once = wanted.t().dot(&currents) / (2.0 * patterns as f64 * volts * volts);
            squares += &once.mapv(|g| g * g);
            sum += &once;
        }
        let n = f64::from(repeats);
        let siemens = sum / n;
        let scatter = (squares / n - siemens.mapv(|g| g * g)).mapv(|variance| variance.max(0.0));
        let uncertainty = scatter.mapv(|variance| (variance / (n - 1.0)).sqrt());
        let at_ns = instrument.status()?.at_ns;
        Ok(Self { siemens, uncertainty, range, at_ns })
    }
}

/// The most sensitive range in which these inputs saturate nothing, with a tenth to spare, tried in the least sensitive.
pub(crate) fn fitting_range(
    instrument: &mut Instrument,
    inputs: ArrayView2<'_, f64>,
) -> Result<u8, InstrumentError> {
    let least = instrument.least_sensitive_range();
    let settings = ProductSettings { range: least, conversions: 1, interval_ns: 0 };
    let tried = instrument.mvm(inputs, settings, |_| {})?;
    let largest = tried.currents.iter().fold(0.0_f64, |largest, i| largest.max(i.abs()));
    instrument.range_for(1.1 * largest)
}

/// One gain per row and one per column that bring a measured matrix nearest to a wanted one: what series resistance
/// does to whole lines is undone by scaling inputs and outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct LineGains {
    /// For the inputs; their largest is 1, so that no input grows.
    pub rows: Array1<f64>,
    /// For the outputs.
    pub columns: Array1<f64>,
}

/// Alternations until the gains stand still; each leaves a small fraction of what the one before left.
const ALTERNATIONS: usize = 50;

impl LineGains {
    /// Minimises Σ (r_i·M_ij·c_j − T_ij)². Lines that conduct nothing keep the gain 1.
    ///
    /// # Panics
    /// If the shapes differ.
    #[must_use]
    pub fn between(measured: ArrayView2<'_, f64>, wanted: ArrayView2<'_, f64>) -> Self {
        assert_eq!(measured.dim(), wanted.dim(), "measured and wanted matrix");
        let (rows, columns) = measured.dim();
        let (mut r, mut c) = (Array1::<f64>::ones(rows), Array1::<f64>::ones(columns));
        // The best gain of one line, given those of all that cross it.
        let fit = |cells: &mut dyn Iterator<Item = (f64, f64)>| {
            let (product, square) =
                cells.fold((0.0, 0.0), |(product, square), (m, t)| (product + m * t, square + m * m));
            if square > 0.0 && product > 0.0 { product / square } else { 1.0 }
        };
        for _ in 0..ALTERNATIONS {
            for (i, gain) in r.indexed_iter_mut() {
                *gain = fit(&mut (0..columns).map(|j| (measured[(i, j)] * c[j], wanted[(i, j)])));
            }
            for (j, gain) in c.indexed_iter_mut() {
                *gain = fit(&mut (0..rows).map(|i| (measured[(i, j)] * r[i], wanted[(i, j)])));
            }
        }
        let largest = r.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        Self { rows: r / largest, columns: c * largest }
    }
}

/// Root mean square difference over that of the wanted matrix.
#[must_use]
pub fn relative_difference(measured: ArrayView2<'_, f64>, wanted: ArrayView2<'_, f64>) -> f64 {
    let square = |m: Array2<f64>| m.iter().map(|g| g * g).sum::<f64>();
    (square(&measured - &wanted) / square(wanted.to_owned()).max(f64::MIN_POSITIVE)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_different_rows_are_orthogonal_and_none_drives_all_rows_alike() {
        for rows in [2_usize, 8, 16, 64, 256] {
            for a in 0..rows {
                for b in 0..a.min(20) {
                    assert_eq!((0..rows).map(|p| sign(a, p) * sign(b, p)).sum::<f64>(), 0.0);
                }
            }
            if rows > 2 {
                for pattern in 0..rows {
                    let sum: f64 = (0..rows).map(|row| sign(row, pattern)).sum();
                    assert!(sum.abs() < rows as f64, "{rows} rows, pattern {pattern}");
                }
            }
        }
    }

    #[test]
    fn gains_of_lines_are_found_and_no_input_grows() {
        let wanted = Array2::from_shape_fn((5, 4), |(i, j)| 1e-5 * (1 + (3 * i + 2 * j) % 7) as f64);
        let measured = Array2::from_shape_fn((5, 4), |(i, j)| {
            wanted[(i, j)] / (1.0 + 0.02 * i as f64) / (1.0 + 0.03 * j as f64)
        });
        let gains = LineGains::between(measured.view(), wanted.view());
        let corrected =
            Array2::from_shape_fn((5, 4), |(i, j)| gains.rows[i] * measured[(i, j)] * gains.columns[j]);
        assert!(relative_difference(corrected.view(), wanted.view()) < 1e-12);
        assert!(gains.rows.iter().all(|&gain| gain <= 1.0));
        assert!(relative_difference(measured.view(), wanted.view()) > 0.03);
    }
}
