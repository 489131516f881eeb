//! A measured quantity: value, standard uncertainty, degrees of freedom (GUM, JCGM 100:2008).

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF, StudentsT};

/// A value with its standard uncertainty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Best estimate.
    pub value: f64,
    /// Standard uncertainty, in the unit of the value.
    pub standard_uncertainty: f64,
    /// Degrees of freedom of the standard uncertainty (GUM G.3); `None` where it is as good as exact.
    pub degrees_of_freedom: Option<f64>,
}

impl Estimate {
    /// With an uncertainty that is itself known well.
    #[must_use]
    pub const fn new(value: f64, standard_uncertainty: f64) -> Self {
        Self { value, standard_uncertainty, degrees_of_freedom: None }
    }

    /// With an uncertainty found from scatter with that many degrees of freedom.
    #[must_use]
    pub const fn from_scatter(value: f64, standard_uncertainty: f64, degrees_of_freedom: f64) -> Self {
        Self { value, standard_uncertainty, degrees_of_freedom: Some(degrees_of_freedom) }
    }

    /// Lower and upper end of the interval that contains the true value with this probability (0 to 1): the value ±
    /// Student's t times the standard uncertainty (GUM G.3.2).
    #[must_use]
    pub fn interval(&self, probability: f64) -> (f64, f64) {
        let half = coverage_factor(probability, self.degrees_of_freedom) * self.standard_uncertainty;
        (self.value - half, self.value + half)
    }

    /// Whether that interval contains `truth`.
    #[must_use]
    pub fn covers(&self, truth: f64, probability: f64) -> bool {
        let (low, high) = self.interval(probability);
        (low..=high).contains(&truth)
    }

    /// The same quantity in another unit, `factor` of which are one of the old.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self {
            value: self.value * factor,
            standard_uncertainty: self.standard_uncertainty * factor.abs(),
            ..*self
        }
    }
}

/// Two-sided coverage factor k of Student's t; of the normal distribution without degrees of freedom.
#[must_use]
pub fn coverage_factor(probability: f64, degrees_of_freedom: Option<f64>) -> f64 {
    // Beyond this the normal distribution's is the same to 1e-3.
    const AS_GOOD_AS_NORMAL: f64 = 2_000.0;
    let freedom = degrees_of_freedom.unwrap_or(f64::INFINITY).min(AS_GOOD_AS_NORMAL);
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::NAN, |t| t.inverse_cdf(0.5 + probability / 2.0))
}

/// Factors by which to multiply a variance (or a density) found with `freedom` degrees of freedom for the ends of the
/// interval that contains its true value with this probability: ν/χ² (Bendat & Piersol, Random Data, ch. 8).
#[must_use]
pub fn variance_interval(probability: f64, freedom: f64) -> (f64, f64) {
    let tail = (1.0 - probability) / 2.0;
    ChiSquared::new(freedom).map_or((f64::NAN, f64::NAN), |chi| {
        (freedom / chi.inverse_cdf(1.0 - tail), freedom / chi.inverse_cdf(tail))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_factors_are_those_of_the_tables() {
        // GUM table G.2, p = 95 %: 4.30 at 2, 2.23 at 10, 1.960 at infinity.
        for (freedom, expected) in [(Some(2.0), 4.30), (Some(10.0), 2.23), (None, 1.96)] {
            assert!((coverage_factor(0.95, freedom) - expected).abs() < 5e-3);
        }
    }

    #[test]
    fn variance_intervals_are_those_of_the_tables() {
        // χ² table: 10 degrees of freedom, 2.5 % and 97.5 %: 3.247 and 20.483.
        let (low, high) = variance_interval(0.95, 10.0);
        assert!((low - 10.0 / 20.483).abs() < 1e-4 && (high - 10.0 / 3.247).abs() < 1e-3);
    }

    #[test]
    fn an_interval_is_as_wide_as_its_freedom_demands() {
        let known = Estimate::new(1.0, 0.1);
        let scattered = Estimate::from_scatter(1.0, 0.1, 3.0);
        assert!(!known.covers(1.25, 0.95) && scattered.covers(1.25, 0.95));
    }
}
