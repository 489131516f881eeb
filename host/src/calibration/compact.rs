//! The shorter form in which the calibration of a large board fits its flash: values in full, what is known about them, and
//! linearity, in single precision. A standard uncertainty has two digits that mean something; this keeps seven.

use super::{Amplifier, Calibration, Curvature, Driver, Estimate, Hum, Linearity, Series, Settling};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Short {
    value: f64,
    u: f32,
}

impl From<Estimate> for Short {
    fn from(estimate: Estimate) -> Self {
        Self { value: estimate.value, u: estimate.u as f32 }
    }
}

impl From<Short> for Estimate {
    fn from(short: Short) -> Self {
        Self { value: short.value, u: short.u.into() }
    }
}

#[derive(Serialize, Deserialize)]
struct ShortAmplifier {
    ohms: Short,
    repeatability_ohms: f32,
    filled: f32,
}

/// As [`Calibration`], field by field.
#[derive(Serialize, Deserialize)]
pub(super) struct Compact {
    board: String,
    unix_s: u64,
    at_ns: u64,
    temperature_k: Option<f64>,
    drivers: Vec<(Short, Short)>,
    ranges: Vec<Vec<ShortAmplifier>>,
    linearity: (Vec<f32>, Vec<f32>, f64, f64),
    hum: Hum,
    settling: Vec<Settling>,
    curvature: Option<Curvature>,
    series: Option<Series>,
}

impl From<&Calibration> for Compact {
    fn from(full: &Calibration) -> Self {
        let amplifier = |a: &Amplifier| ShortAmplifier {
            ohms: a.ohms.into(),
            repeatability_ohms: a.repeatability_ohms as f32,
            filled: a.filled as f32,
        };
        let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
        let Linearity { drivers, converters, mean, u } = &full.linearity;
        Self {
            board: full.board.clone(),
            unix_s: full.unix_s,
            at_ns: full.at_ns,
            temperature_k: full.temperature_k,
            drivers: full.drivers.iter().map(|d| (d.gain.into(), d.offset_v.into())).collect(),
            ranges: full.ranges.iter().map(|range| range.iter().map(amplifier).collect()).collect(),
            linearity: (single(drivers), single(converters), *mean, *u),
            hum: full.hum,
            settling: full.settling.clone(),
            curvature: full.curvature,
            series: full.series,
        }
    }
}

impl From<Compact> for Calibration {
    fn from(compact: Compact) -> Self {
        let amplifier = |a: ShortAmplifier| Amplifier {
            ohms: a.ohms.into(),
            repeatability_ohms: a.repeatability_ohms.into(),
            filled: a.filled.into(),
        };
        let double = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        let (drivers, converters, mean, u) = compact.linearity;
        let driver =
            |(gain, offset_v): (Short, Short)| Driver { gain: gain.into(), offset_v: offset_v.into() };
        Self {
            board: compact.board,
            unix_s: compact.unix_s,
            at_ns: compact.at_ns,
            temperature_k: compact.temperature_k,
            drivers: compact.drivers.into_iter().map(driver).collect(),
            ranges: compact
                .ranges
                .into_iter()
                .map(|range| range.into_iter().map(amplifier).collect())
                .collect(),
            linearity: Linearity { drivers: double(drivers), converters: double(converters), mean, u },
            hum: compact.hum,
            settling: compact.settling,
            curvature: compact.curvature,
            series: compact.series,
        }
    }
}
