//! What a calibration does to products: inputs bent against the devices' curve and scaled to each driver, outputs scaled
//! to each amplifier and freed of what flows at zero input.

use super::Calibration;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

/// Which corrections are made; each can be left out to see what it buys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrections {
    /// Inputs against the devices' I–V curve: V0·asinh(u/V0).
    pub predistortion: bool,
    /// Inputs against each row driver's gain.
    pub rows: bool,
    /// Outputs against each column's gain, and what flows at zero input.
    pub columns: bool,
    /// Outputs against what the array's conductance has drifted by.
    pub drift: bool,
}

impl Corrections {
    /// All of them.
    pub const ALL: Self = Self { predistortion: true, rows: true, columns: true, drift: true };
    /// None: raw.
    pub const NONE: Self = Self { predistortion: false, rows: false, columns: false, drift: false };
}

/// Gain per column that undoes drift, from the same inputs before and now.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    gain: Array1<f64>,
}

impl Drift {
    /// From the outputs (vectors, columns) that some inputs gave then and give now: Σ|then| / Σ|now| per column. A column
    /// that gives nothing keeps its gain.
    ///
    /// # Panics
    /// If the shapes differ.
    #[must_use]
    pub fn between(then: ArrayView2<'_, f64>, now: ArrayView2<'_, f64>) -> Self {
        assert_eq!(then.dim(), now.dim(), "outputs then and now");
        let size = |outputs: ArrayView2<'_, f64>| outputs.mapv(f64::abs).sum_axis(Axis(0));
        let (then, now) = (size(then), size(now));
        let gain = then.iter().zip(&now).map(|(&then, &now)| if now > 0.0 { then / now } else { 1.0 });
        Self { gain: gain.collect() }
    }

    /// The gains, by column.
    #[must_use]
    pub fn gain(&self) -> ArrayView1<'_, f64> {
        self.gain.view()
    }
}

impl Calibration {
    /// Voltages to ask the drivers for so that the devices' currents are those of `wanted` (vectors, rows), V, at the
    /// devices' conductance at 0 V.
    #[must_use]
    pub fn inputs(&self, wanted: ArrayView2<'_, f64>, corrections: Corrections) -> Array2<f64> {
        let v0 = self.curvature.filter(|_| corrections.predistortion).and_then(|c| c.characteristic_v());
        Array2::from_shape_fn(wanted.dim(), |(vector, row)| {
            let volts = wanted[(vector, row)];
            let bent = v0.map_or(volts, |v0| v0.value * (volts / v0.value).asinh());
            if corrections.rows { bent / self.drivers[row].gain.value } else { bent }
        })
    }

    /// Column currents (vectors, columns), A, from nominal ones, `zero` (columns) being the nominal ones at zero input
    /// and `nominal_ohms` the feedback they were computed with.
    #[must_use]
    pub fn currents(
        &self,
        nominal: ArrayView2<'_, f64>,
        zero: ArrayView1<'_, f64>,
        (range, nominal_ohms): (u8, f64),
        corrections: Corrections,
        drift: Option<&Drift>,
    ) -> Array2<f64> {
        let amplifiers = &self.ranges[usize::from(range)];
        Array2::from_shape_fn(nominal.dim(), |(vector, column)| {
            let mut current = nominal[(vector, column)];
            if corrections.columns {
                current = (current - zero[column]) * nominal_ohms / amplifiers[column].ohms.value;
            }
            match drift.filter(|_| corrections.drift) {
                Some(drift) => current * drift.gain[column],
                None => current,
            }
        })
    }
}
