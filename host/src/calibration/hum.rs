//! The mains: whether columns pick it up, and how conversions are spaced so that it averages out.

use crate::instrument::{Instrument, InstrumentError};
use ohmrig_protocol::message::ReadColumn;
use ohmrig_protocol::units::Volts;
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// A trace of this many samples at this distance: 25 periods of 50 Hz and 30 of 60 Hz, resolution 2 Hz.
const SAMPLES: u16 = 500;
const INTERVAL_NS: u32 = 1_000_000;

/// The frequencies there are.
const MAINS_HZ: [f64; 2] = [50.0, 60.0];

/// A line this many times higher than the median of the spectrum is no accident: of 250 bins of white noise, whose
/// amplitudes follow a Rayleigh distribution, one exceeds five medians once in 10⁵ traces.
const SIGNIFICANT: f64 = 5.0;

/// What is picked up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hum {
    /// The mains frequency, if it stands out of the noise.
    pub mains_hz: Option<f64>,
    /// Largest amplitude of the fundamental at an amplifier's output, V.
    pub amplitude_v: f64,
    /// Median amplitude of the spectrum, V.
    pub floor_v: f64,
}

impl Hum {
    /// Listens to some columns with all rows at 0 V.
    pub(super) fn listen(instrument: &mut Instrument, range: u8) -> Result<Self, InstrumentError> {
        let columns = instrument.device().columns;
        let volts_per_code = f64::from(instrument.device().converters.adc_step.0);
        let mut found = Self { mains_hz: None, amplitude_v: 0.0, floor_v: 0.0 };
        for column in (0..columns).step_by(usize::from(columns.div_ceil(4))) {
            let read = ReadColumn {
                row: 0,
                column,
                volts: Volts(0.0),
                range,
                samples: SAMPLES,
                interval_ns: INTERVAL_NS,
                delay_ns: None,
            };
            let trace = instrument.read_column(read)?;
            let volts: Vec<f64> = trace.codes.iter().map(|&code| f64::from(code) * volts_per_code).collect();
            found = found.or(&volts);
        }
        Ok(found)
    }

    /// With one more trace at [`INTERVAL_NS`]: the louder one counts.
    fn or(self, volts: &[f64]) -> Self {
        let seconds = f64::from(INTERVAL_NS) * 1e-9;
        let mut floor: Vec<f64> = (1..volts.len() / 2)
            .map(|bin| amplitude(volts, bin as f64 / (volts.len() as f64 * seconds), seconds))
            .collect();
        floor.sort_by(f64::total_cmp);
        let floor_v = floor.get(floor.len() / 2).copied().unwrap_or(0.0);
        let loudest = MAINS_HZ
            .map(|hz| (amplitude(volts, hz, seconds), hz))
            .into_iter()
            .filter(|&(amplitude_v, _)| amplitude_v > SIGNIFICANT * floor_v && amplitude_v > self.amplitude_v)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        match loudest {
            Some((amplitude_v, hz)) => Self { mains_hz: Some(hz), amplitude_v, floor_v },
            None => Self { floor_v: self.floor_v.max(floor_v), ..self },
        }
    }

    /// Distance of `conversions` that together take one period of the mains, ns; 0 where there is no mains to average.
    #[must_use]
    pub fn interval_ns(&self, conversions: u16) -> u32 {
        match self.mains_hz {
            Some(hz) if conversions > 1 => (1e9 / hz / f64::from(conversions)).round() as u32,
            _ => 0,
        }
    }
}

/// Amplitude of one frequency in evenly spaced samples, their mean left out.
fn amplitude(samples: &[f64], hz: f64, interval_s: f64) -> f64 {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let (mut cosine, mut sine) = (0.0, 0.0);
    for (k, sample) in samples.iter().enumerate() {
        let (s, c) = (TAU * hz * interval_s * k as f64).sin_cos();
        cosine += (sample - mean) * c;
        sine += (sample - mean) * s;
    }
    2.0 / n * cosine.hypot(sine)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Hum = Hum { mains_hz: None, amplitude_v: 0.0, floor_v: 0.0 };

    fn trace(hz: f64, amplitude: f64) -> Vec<f64> {
        // A fixed sequence that isn't periodic, with steps of a hundredth of the amplitude asked for.
        let noise = (0..500_u64).map(|k| (k * k * 2_654_435_761 % 1000) as f64 * 1e-6 - 5e-4);
        let tone = (0..500).map(|k| amplitude * (TAU * hz * 1e-3 * f64::from(k) + 0.3).sin());
        noise.zip(tone).map(|(a, b)| 0.4 + a + b).collect()
    }

    #[test]
    fn either_mains_is_told_from_the_other_and_from_none() {
        for hz in MAINS_HZ {
            let hum = NONE.or(&trace(hz, 1e-2));
            assert_eq!(hum.mains_hz, Some(hz));
            // The noise is 0.3 mV rms: 0.02 mV in one bin of 250.
            assert!((hum.amplitude_v / 1e-2 - 1.0).abs() < 0.01, "{hum:?}");
            assert_eq!(hum.interval_ns(10), (1e8 / hz).round() as u32);
        }
        let quiet = NONE.or(&trace(50.0, 0.0));
        assert_eq!(quiet.mains_hz, None, "{quiet:?}");
        assert_eq!(quiet.interval_ns(10), 0);
    }
}
