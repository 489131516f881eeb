//! The instrument's own noise beside a device's: densities measured without a device are subtracted as densities, and
//! where the device doesn't stand clear of the instrument, no device value is quoted.

use super::spectrum::Point;
use serde::Serialize;

/// Device over instrument below which nothing is said about the device: 3 dB.
pub const QUOTED_FROM: f64 = 2.0;

/// Noise at one frequency, device and instrument apart. Densities in (unit of the samples)²/Hz.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Separated {
    /// Hz.
    pub frequency_hz: f64,
    /// Measured with the device.
    pub total: f64,
    /// Of the instrument.
    pub instrument: f64,
    /// Of the device; `None` where it is less than 3 dB above the instrument.
    pub device: Option<f64>,
    /// Standard uncertainty of that.
    pub device_uncertainty: Option<f64>,
    /// (Total − instrument) / instrument; `None` where the instrument's is zero.
    pub ratio: Option<f64>,
}

/// Subtracts the instrument's density from that with a device, point by point. `instrument` gives a density and its
/// standard uncertainty at a frequency in Hz.
pub fn separate(total: &[Point], instrument: impl Fn(f64) -> (f64, f64)) -> Vec<Separated> {
    total
        .iter()
        .map(|point| {
            let (instrument, of_instrument) = instrument(point.frequency_hz);
            let of_total = point.density * (2.0 / point.freedom).sqrt();
            let device = point.density - instrument;
            let ratio = (instrument > 0.0).then(|| device / instrument);
            let quoted = ratio.is_none_or(|ratio| ratio >= QUOTED_FROM);
            Separated {
                frequency_hz: point.frequency_hz,
                total: point.density,
                instrument,
                device: quoted.then_some(device),
                device_uncertainty: quoted.then(|| of_total.hypot(of_instrument)),
                ratio,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_less_than_three_decibels_above_the_instrument_is_not_quoted() {
        let point = |density| Point { frequency_hz: 1.0, density, freedom: 200.0 };
        let separated = separate(&[point(5.0), point(2.5)], |_| (1.0, 0.05));
        assert_eq!(separated[0].device, Some(4.0));
        // 5·√(2/200) = 0.5 and 0.05 in quadrature.
        assert!((separated[0].device_uncertainty.unwrap() - 0.5_f64.hypot(0.05)).abs() < 1e-12);
        assert_eq!((separated[1].device, separated[1].ratio), (None, Some(1.5)));
    }
}
