//! Conductances of cells freed of the gains that a calibration knows, with everything that is known of their uncertainty.

use super::{Calibration, part};
use crate::instrument::CellMap;
use ndarray::Array2;
use ohmrig_protocol::message::Converters;
use statrs::function::erf::erf;

/// A map of calibrated conductances, (rows, columns) of the region that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Conductances {
    /// S.
    pub siemens: Array2<f64>,
    /// Standard uncertainty, S: scatter, calibration and nonlinearity.
    pub uncertainty: Array2<f64>,
    /// Half the width of the interval that contains the cell's conductance with a probability of 95 %, S.
    pub half_width_95: Array2<f64>,
}

/// Relative bound of the gains of driver, amplifier and converter that nobody has calibrated: the parts' tolerances added up
/// (feedback 0.1 %, driver 0.08 %, converter 0.05 %; docs/hardware.md).
pub const UNCALIBRATED: f64 = 2.3e-3;

impl Calibration {
    /// Conductances of a region whose first cell is `first`, as read at ±`volts` with nominal gains.
    ///
    /// # Panics
    /// If the region isn't within the calibrated board.
    #[must_use]
    pub fn conductances(
        &self,
        map: &CellMap,
        first: (usize, usize),
        converters: &Converters,
        volts: f64,
    ) -> Conductances {
        let mut found = Conductances {
            siemens: map.conductance.clone(),
            uncertainty: map.uncertainty.clone(),
            half_width_95: map.uncertainty.clone(),
        };
        // The range in which linearity was measured: the one that R_cal fills best.
        let filled =
            |range: &[super::Amplifier]| range.iter().map(|a| a.filled).fold(f64::INFINITY, f64::min);
        let best = self.ranges.iter().map(|range| filled(range)).enumerate();
        let best = best.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(range, _)| range);
        let feedback = |range: usize| f64::from(converters.feedback[range].0);
        let adc_step = f64::from(converters.adc_step.0);
        for (index, &nominal_s) in map.conductance.indexed_iter() {
            let (row, column, range) = (first.0 + index.0, first.1 + index.1, usize::from(map.range[index]));
            let (amplifier, driver) = (self.ranges[range][column], self.drivers[row]);
            let gain = feedback(range) / amplifier.ohms.value / driver.gain.value;
            let siemens = nominal_s * gain;
            // R_cal's tolerance is no scatter: anything within it is as likely.
            let reference = part::R_CAL * siemens.abs();
            let others = (amplifier.ohms.u / amplifier.ohms.value).powi(2) - part::even(part::R_CAL).powi(2);
            // A driver's bow, seen through R_cal, is the larger part of its loop's.
            let bow_v =
                self.linearity.drivers[row] * adc_step * f64::from(converters.reference.0) / feedback(best);
            let bow = part::even(bow_v) / volts / 2.0_f64.sqrt();
            let relative = (others.max(0.0) + driver.gain.u.powi(2)).sqrt().hypot(bow);
            // Of half a difference of two, as the bow.
            let converter = part::even(self.linearity.converters[column]) * adc_step
                / feedback(range)
                / volts
                / 2.0_f64.sqrt();
            let normal = (map.uncertainty[index] * gain).hypot(relative * siemens).hypot(converter);
            found.siemens[index] = siemens;
            found.uncertainty[index] = normal.hypot(part::even(reference));
            found.half_width_95[index] = half_width(normal, reference, 0.95);
        }
        found
    }
}

/// Half the width of the interval about 0 that contains, with this probability, the sum of a normal quantity of standard
/// deviation `normal` and one evenly distributed within ±`even` (their convolution: GUM supplement 1, 6.4 and 7).
fn half_width(normal: f64, even: f64, probability: f64) -> f64 {
    let normal = normal.max(1e-9 * even).max(f64::MIN_POSITIVE);
    // ∫Φ = x·Φ(x) + φ(x).
    let integral = |x: f64| {
        0.5 * x * (1.0 + erf(x / 2.0_f64.sqrt())) + (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
    };
    let within = |half: f64| {
        if even <= 1e-3 * normal {
            return erf(half / normal / 2.0_f64.sqrt());
        }
        let (low, high) = ((half - even) / normal, (half + even) / normal);
        2.0 * normal / (2.0 * even) * (integral(high) - integral(low)) - 1.0
    };
    let (mut low, mut high) = (0.0, 10.0 * normal + even);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if within(middle) < probability { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_a_normal_and_of_an_even_distribution_where_one_is_alone() {
        assert!((half_width(2.0, 0.0, 0.95) / 2.0 - 1.959_964).abs() < 1e-5);
        assert!((half_width(1e-6, 1.0, 0.95) - 0.95).abs() < 1e-5);
    }

    #[test]
    fn an_interval_of_both_contains_as_many_sums_as_it_says() {
        // A grid instead of draws: 400 quantiles of each.
        let quantile = |p: f64| 2.0_f64.sqrt() * statrs::function::erf::erf_inv(2.0 * p - 1.0);
        let grid = || (0..400).map(|k| (f64::from(k) + 0.5) / 400.0);
        for ratio in [0.3, 1.0, 3.0] {
            let half = half_width(1.0, ratio, 0.95);
            let sums = grid().flat_map(|p| grid().map(move |q| quantile(p) + ratio * (2.0 * q - 1.0)));
            let inside = sums.filter(|sum| sum.abs() <= half).count() as f64 / 160_000.0;
            // The grid's own steps: a few thousandths.
            assert!((inside - 0.95).abs() < 3e-3, "{ratio}: {inside}");
        }
    }
}
