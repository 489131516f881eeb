//! Integral nonlinearity of drivers and converters, from the reference loop at many voltages.
//!
//! A loop's deviation from a straight line is its driver's plus its converter's. Every driver through one column and one
//! driver through every column give each driver's part against the mean driver, each converter's against the mean
//! converter, and the sum of the two means; which of the two means has how much of that sum can't be told.

use crate::instrument::{InstrumentError, ReferenceCodes};
use serde::{Deserialize, Serialize};

/// Peak deviations from a straight line through the measured points, in converter codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linearity {
    /// By row: the driver's against the mean driver's.
    pub drivers: Vec<f64>,
    /// By column: the amplifier's and converter's against the mean ones.
    pub converters: Vec<f64>,
    /// Mean driver and mean converter together.
    pub mean: f64,
    /// Standard uncertainty of one point of these curves.
    pub u: f64,
}

impl Linearity {
    /// Voltages per loop, as fractions of the largest; both polarities each.
    pub(super) const POINTS: usize = 12;

    /// `loop_at(row, column, fraction)` gives the applied voltage and the codes.
    pub(super) fn measure(
        rows: u16,
        columns: u16,
        mut loop_at: impl FnMut(u16, u16, f64) -> Result<(f64, ReferenceCodes), InstrumentError>,
    ) -> Result<Self, InstrumentError> {
        let mut variance = 0.0;
        let mut curve = |row, column| -> Result<Vec<f64>, InstrumentError> {
            let (mut volts, mut codes) = (Vec::new(), Vec::new());
            for point in 1..=Self::POINTS {
                let (v, measured) = loop_at(row, column, point as f64 / Self::POINTS as f64)?;
                volts.extend([v, -v]);
                codes.extend([measured.plus, measured.minus]);
                variance += measured.uncertainty.powi(2);
            }
            Ok(residuals(&volts, &codes))
        };
        let by_row = (0..rows).map(|row| curve(row, 0)).collect::<Result<Vec<_>, _>>()?;
        let by_column = (0..columns).map(|column| curve(0, column)).collect::<Result<Vec<_>, _>>()?;
        let lines = usize::from(rows) + usize::from(columns);
        let (mean_row, mean_column) = (mean(&by_row), mean(&by_column));
        let against = |curves: &[Vec<f64>], mean: &[f64]| -> Vec<f64> {
            curves.iter().map(|curve| peak(curve.iter().zip(mean).map(|(a, b)| a - b))).collect()
        };
        // by_row[i] = driver i + converter 0 and by_column[j] = driver 0 + converter j, so that
        // mean driver + mean converter = mean_row + mean_column − (driver 0 + converter 0).
        let corner = by_row[0].iter().zip(&by_column[0]).map(|(a, b)| (a + b) / 2.0);
        let both = mean_row.iter().zip(&mean_column).zip(corner).map(|((a, b), c)| a + b - c);
        Ok(Self {
            drivers: against(&by_row, &mean_row),
            converters: against(&by_column, &mean_column),
            mean: peak(both),
            u: (variance / (lines * Self::POINTS) as f64).sqrt(),
        })
    }
}

fn peak(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |peak, value| peak.max(value.abs()))
}

fn mean(curves: &[Vec<f64>]) -> Vec<f64> {
    let points = curves.first().map_or(0, Vec::len);
    (0..points).map(|k| curves.iter().map(|curve| curve[k]).sum::<f64>() / curves.len() as f64).collect()
}

/// Of the straight line that fits best.
fn residuals(x: &[f64], y: &[f64]) -> Vec<f64> {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let sxy: f64 = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let sxx: f64 = x.iter().map(|x| (x - mean_x).powi(2)).sum();
    let slope = if sxx > 0.0 { sxy / sxx } else { 0.0 };
    x.iter().zip(y).map(|(x, y)| y - mean_y - slope * (x - mean_x)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_and_a_converter_that_bend_are_told_apart() {
        // Parabolas in V²: driver 2 bends by 3 codes at full scale, converter 1 by −2, nothing else does.
        let bend = |row: u16, column: u16, fraction: f64| {
            let own = if row == 2 { 3.0 } else { 0.0 } + if column == 1 { -2.0 } else { 0.0 };
            own * fraction * fraction
        };
        let found = Linearity::measure(4, 4, |row, column, fraction| {
            let even = bend(row, column, fraction);
            let odd = 1000.0 * fraction;
            let codes =
                ReferenceCodes { plus: even - odd, minus: even + odd, uncertainty: 0.1, saturated: false };
            Ok((fraction, codes))
        })
        .unwrap();
        let worst = |curves: &[f64]| {
            curves.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(line, _)| line)
        };
        assert_eq!((worst(&found.drivers), worst(&found.converters)), (Some(2), Some(1)));
        // Three quarters of a deviation are left against a mean that has a quarter of it; the others show that quarter.
        assert!((found.drivers[0] / found.drivers[2] - 1.0 / 3.0).abs() < 1e-9, "{found:?}");
        assert!((found.converters[0] / found.converters[1] - 1.0 / 3.0).abs() < 1e-9, "{found:?}");
        assert!((found.u - 0.1).abs() < 1e-12);
    }
}
