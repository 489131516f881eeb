//! When the analog path has settled: found by sampling it before it has, not assumed.

use crate::instrument::{Instrument, InstrumentError};
use ohmrig_protocol::message::ReadColumn;
use ohmrig_protocol::units::Volts;
use serde::{Deserialize, Serialize};

/// Delays that are tried, µs: finer than any stage of the path is slow.
const DELAYS_US: std::ops::RangeInclusive<u32> = 1..=60;

/// The path counts as settled within this fraction of its step.
const SETTLED: f64 = 1e-3;

/// Repetitions that one delay's value is the mean of.
const REPETITIONS: u16 = 16;

/// Standard uncertainties that a deviation must exceed to count: normal noise does so once in 2500 scans of 60 delays.
const TOLD: f64 = 4.5;

/// From the sample that is looked at to the one that it is compared with, ns: later than any stage of the path needs, and
/// soon enough that hum and slow noise are the same in both.
const LATER_NS: u32 = 200_000;

/// How one range settles after a step of a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settling {
    /// Feedback setting.
    pub range: u8,
    /// From the row's edge until the output stays within 0.1 % of its step, or within the noise if that is more, s.
    pub seconds: f64,
    /// What 0.1 % could be told from, as a fraction of the step: 4.5 standard uncertainties of one delay's value.
    pub resolution: f64,
    /// Deviation at the moment the instrument samples by itself, as a fraction of the step.
    pub left_when_sampled: f64,
}

impl Settling {
    /// Steps one row and watches one column. `None` if the cell between them moves the output by less than a hundred
    /// codes: too little to tell 0.1 %.
    pub(super) fn watch(
        instrument: &mut Instrument,
        row: u16,
        column: u16,
        range: u8,
        volts: f64,
    ) -> Result<Option<Self>, InstrumentError> {
        let read = |delay_ns, volts: f64| ReadColumn {
            row,
            column,
            volts: Volts(volts as f32),
            range,
            samples: 2,
            interval_ns: LATER_NS,
            delay_ns,
        };
        let mut pair = |delay_ns, volts| -> Result<(f64, f64), InstrumentError> {
            let codes = instrument.read_column(read(delay_ns, volts))?.codes;
            Ok((f64::from(codes[0]), f64::from(codes[1])))
        };
        let step = pair(Some(LATER_NS), volts)?.1 - pair(Some(LATER_NS), 0.0)?.1;
        if step.abs() < 100.0 {
            return Ok(None);
        }
        // Deviation from the later sample, and its standard uncertainty, as fractions of the step.
        let mut deviation = |delay_ns| -> Result<(f64, f64), InstrumentError> {
            let n = f64::from(REPETITIONS);
            let mut differences = Vec::new();
            for _ in 0..REPETITIONS {
                let (sample, later) = pair(delay_ns, volts)?;
                differences.push((sample - later) / step);
            }
            let mean = differences.iter().sum::<f64>() / n;
            let scatter = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0);
            // Two codes, each rounded.
            let rounding = (2.0 / 12.0_f64).sqrt() / step.abs();
            Ok((mean, scatter.sqrt().max(rounding) / n.sqrt()))
        };
        let (left_when_sampled, u) = deviation(None)?;
        let resolution = TOLD * u;
        let mut settled_us = *DELAYS_US.start();
        for us in DELAYS_US {
            let (left, u) = deviation(Some(us * 1000))?;
            if left.abs() > SETTLED.max(TOLD * u) {
                settled_us = us + 1;
            }
        }
        Ok(Some(Self { range, seconds: f64::from(settled_us) * 1e-6, resolution, left_when_sampled }))
    }
}
