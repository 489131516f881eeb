//! What the instrument adds to every trace: noise with the rows open, and noise in proportion to the current, as R_cal
//! shows it.

use crate::instrument::Traces;
use crate::metrology::flicker::{self, FlickerFit, Sampling};
use crate::metrology::mains::Mains;
use serde_json::{Value, json};

/// The instrument's noise, column by column.
pub(super) struct InstrumentFloor {
    columns: Vec<ColumnFloor>,
}

struct ColumnFloor {
    /// Mean current with the rows open: what amplifier and converter are off, A.
    offset_a: f64,
    /// Its standard deviation, A.
    deviation_a: f64,
    /// Density with the rows open, A²/Hz.
    open: Option<FlickerFit>,
    /// Density through R_cal, A²/Hz, and the current there, A.
    reference: Option<FlickerFit>,
    reference_a: f64,
}

impl InstrumentFloor {
    pub(super) fn new(
        open: &Traces,
        reference: &Traces,
        step_a: f64,
        sampling: &Sampling,
        mains: Mains,
    ) -> Self {
        let columns = open.codes.iter().zip(&reference.codes).map(|(open, reference)| {
            let amperes = |codes: &[f64]| -> Vec<f64> { codes.iter().map(|code| code * step_a).collect() };
            let (open, reference) = (amperes(open), amperes(reference));
            let n = open.len() as f64;
            let resolution = 1.0 / (n * sampling.spacing_s());
            let leave_out = |hz: f64| mains.stands_at(hz, sampling.spacing_s(), resolution);
            let fit = |samples: &[f64]| flicker::fit(samples, sampling, |_| 0.0, leave_out).ok();
            let mean = |samples: &[f64]| samples.iter().sum::<f64>() / n;
            let offset_a = mean(&open);
            let variance = open.iter().map(|a| (a - offset_a).powi(2)).sum::<f64>() / n;
            ColumnFloor {
                offset_a,
                deviation_a: variance.sqrt(),
                reference_a: mean(&reference) - offset_a,
                open: fit(&open),
                reference: fit(&reference),
            }
        });
        Self { columns: columns.collect() }
    }

    pub(super) fn offset_a(&self, column: usize) -> f64 {
        self.columns[column].offset_a
    }

    pub(super) fn deviation_a(&self, column: usize) -> f64 {
        self.columns[column].deviation_a
    }

    /// Density and its standard uncertainty at a frequency for a cell that carries a current, A²/Hz: that with open rows,
    /// and what R_cal shows beyond it in proportion to the square of the current.
    pub(super) fn density(&self, column: usize, hz: f64, current_a: f64) -> (f64, f64) {
        let floor = &self.columns[column];
        let (open, of_open) = floor.open.as_ref().map_or((0.0, 0.0), |fit| at(fit, hz));
        let (reference, of_reference) = floor.reference.as_ref().map_or((0.0, 0.0), |fit| at(fit, hz));
        let share = (current_a / floor.reference_a).powi(2);
        let density = open + share * (reference - open).max(0.0);
        (density, of_open.hypot(share * of_reference.hypot(of_open)))
    }

    /// Root of the white density with open rows, median of the columns, A/√Hz.
    pub(super) fn white_a(&self) -> f64 {
        median(self.columns.iter().filter_map(|c| Some(c.open.as_ref()?.white.value.max(0.0).sqrt())))
    }

    /// The same of what R_cal shows beyond it, in parts of its current, 1/√Hz.
    pub(super) fn relative_white(&self) -> f64 {
        median(self.columns.iter().filter_map(|c| {
            let more = c.reference.as_ref()?.white.value - c.open.as_ref()?.white.value;
            Some(more.max(0.0).sqrt() / c.reference_a.abs())
        }))
    }

    pub(super) fn json(&self) -> Value {
        let fit = |fit: &Option<FlickerFit>| {
            fit.as_ref().map(|fit| {
                json!({
                    "white_a2_per_hz": super::estimate(&fit.white),
                    "density_1_hz_a2_per_hz": fit.resolved.then(|| super::exponential(&fit.ln_density_1_hz)),
                    "exponent": fit.resolved.then(|| super::estimate(&fit.exponent)),
                })
            })
        };
        self.columns
            .iter()
            .map(|c| {
                json!({"offset_a": c.offset_a, "reference_current_a": c.reference_a, "open": fit(&c.open),
                       "reference": fit(&c.reference)})
            })
            .collect()
    }
}

/// Density of a fit and its standard uncertainty.
fn at(fit: &FlickerFit, hz: f64) -> (f64, f64) {
    let power_law = fit.power_law(hz);
    // Of ln A − γ·ln f.
    let l = hz.ln();
    let relative = if fit.resolved {
        (fit.ln_density_1_hz.standard_uncertainty.powi(2) - 2.0 * l * fit.covariance
            + (l * fit.exponent.standard_uncertainty).powi(2))
        .max(0.0)
        .sqrt()
    } else {
        0.0
    };
    ((power_law + fit.white.value).max(0.0), fit.white.standard_uncertainty.hypot(power_law * relative))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
