//! How far the devices' currents are from proportional to their voltage: one characteristic voltage V0 for the array, of
//! `I = G·V0·sinh(V/V0)`, from reads at several voltages.

use super::Estimate;
use crate::instrument::{Instrument, InstrumentError, ReadSettings};
use serde::{Deserialize, Serialize};

/// Voltages, as fractions of the largest a read may use; the first is what all others are compared with.
const FRACTIONS: [f64; 6] = [0.4, 0.1, 0.2, 0.6, 0.8, 0.95];

/// Times they are gone through: what drifts in between shows as scatter.
const ROUNDS: usize = 6;

/// Cells below this part of the largest hardly add to the sum but add their noise.
const WORTH_COUNTING: f64 = 0.05;

/// The devices' common curvature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curvature {
    /// 1/V0², V⁻²; 0 is a straight line.
    pub inverse_square: Estimate,
    /// Largest voltage it was fitted up to.
    pub fitted_to_v: f64,
    /// χ² per degree of freedom of the fit: well above 1 if a sinh isn't what the devices do.
    pub chi_square: f64,
}

impl Curvature {
    /// V0 with its uncertainty, V, if the curvature is more than three of its uncertainties from none.
    #[must_use]
    pub fn characteristic_v(&self) -> Option<Estimate> {
        let Estimate { value, u } = self.inverse_square;
        (value > 3.0 * u).then(|| {
            let v0 = 1.0 / value.sqrt();
            Estimate { value: v0, u: 0.5 * v0 * u / value }
        })
    }

    /// Measures it on the whole array; `None` if no cell conducts.
    pub(super) fn measure(
        instrument: &mut Instrument,
        conversions: u16,
    ) -> Result<Option<Self>, InstrumentError> {
        // The bound that a read is checked against is 0.5 % and 20 mV above what is asked.
        let most = (f64::from(instrument.device().limits.read.0) - 0.02) / 1.005;
        let whole = instrument.whole();
        let mut sums = vec![Vec::new(); FRACTIONS.len()];
        let mut weights = None;
        for _ in 0..ROUNDS {
            for (fraction, sums) in FRACTIONS.iter().zip(&mut sums) {
                let settings = ReadSettings { volts: fraction * most, range: None, conversions };
                let map = instrument.read_cells(whole, &settings)?;
                let weights = weights.get_or_insert_with(|| {
                    let largest = map.conductance.iter().copied().fold(0.0, f64::max);
                    map.conductance.mapv(|g| f64::from(u8::from(g > WORTH_COUNTING * largest && g > 0.0)))
                });
                // Beyond the linear range it is no conductance.
                let clean = map.saturated.mapv(|saturated| f64::from(u8::from(!saturated)));
                sums.push((&map.conductance * &*weights * clean).sum());
            }
        }
        let volts = FRACTIONS.map(|fraction| instrument.applied_volts(fraction * most));
        Ok(Self::fit(&volts, &sums))
    }

    /// From sums of conductances: `sums[k]` has one value per round at `volts[k]`.
    fn fit(volts: &[f64], sums: &[Vec<f64>]) -> Option<Self> {
        let (first, others) = sums.split_first()?;
        if first.iter().any(|&sum| sum <= 0.0) {
            return None;
        }
        // Within a round, against the first voltage: what drifts between rounds drops out.
        let points: Vec<(f64, Estimate)> = volts[1..]
            .iter()
            .zip(others)
            .map(|(&v, sums)| {
                let ratios: Vec<f64> = sums.iter().zip(first).map(|(sum, first)| sum / first).collect();
                let n = ratios.len() as f64;
                let mean = ratios.iter().sum::<f64>() / n;
                let scatter = ratios.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (n - 1.0) / n;
                // A scatter of six values may come out too small by chance; quantisation is always there.
                (v, Estimate { value: mean, u: scatter.sqrt().max(1e-7) })
            })
            .collect();
        let model = |kappa: f64, v: f64| shape(kappa * v * v) / shape(kappa * volts[0] * volts[0]);
        let mut kappa = 0.0;
        let mut information = 0.0;
        for _ in 0..30 {
            let step = 1e-4;
            let (mut gradient, mut curvature) = (0.0, 0.0);
            for (v, point) in &points {
                let slope = (model(kappa + step, *v) - model(kappa - step, *v)) / (2.0 * step);
                gradient += slope * (point.value - model(kappa, *v)) / point.u.powi(2);
                curvature += slope * slope / point.u.powi(2);
            }
            kappa += gradient / curvature;
            information = curvature;
            if (gradient / curvature).abs() < 1e-9 {
                break;
            }
        }
        let chi_square =
            points.iter().map(|(v, point)| ((point.value - model(kappa, *v)) / point.u).powi(2)).sum::<f64>()
                / (points.len() - 1) as f64;
        // All points share the first voltage's scatter: taken as if it were theirs alone, u is too small by up to the
        // square root of their number; where the fit is bad, by the square root of χ².
        let u = (points.len() as f64 * chi_square.max(1.0) / information).sqrt();
        let fitted_to_v = volts.iter().copied().fold(0.0, f64::max);
        Some(Self { inverse_square: Estimate { value: kappa, u }, fitted_to_v, chi_square })
    }
}

/// sinh(x)/x as a function of x², which may be negative: sin(x)/x then.
fn shape(square: f64) -> f64 {
    if square.abs() < 1e-4 {
        return 1.0 + square / 6.0 + square * square / 120.0;
    }
    let x = square.abs().sqrt();
    if square > 0.0 { x.sinh() / x } else { x.sin() / x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_characteristic_voltage_of_exact_sums_is_found() {
        let volts = FRACTIONS.map(|fraction| fraction * 0.47);
        for v0 in [0.25_f64, 0.5, 1.5] {
            let sums: Vec<Vec<f64>> =
                volts.iter().map(|v| vec![3e-3 * (v / v0).sinh() / (v / v0); ROUNDS]).collect();
            let found = Curvature::fit(&volts, &sums).unwrap().characteristic_v().unwrap();
            assert!((found.value / v0 - 1.0).abs() < 1e-6, "{v0}: {found:?}");
        }
    }

    #[test]
    fn a_straight_line_has_no_characteristic_voltage() {
        let volts = FRACTIONS.map(|fraction| fraction * 0.47);
        let sums = vec![vec![3e-3; ROUNDS]; volts.len()];
        assert_eq!(Curvature::fit(&volts, &sums).unwrap().characteristic_v(), None);
        assert_eq!(Curvature::fit(&volts, &vec![vec![0.0; ROUNDS]; volts.len()]), None);
    }
}
