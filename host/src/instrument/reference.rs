//! The reference loop: a row's driver, one column's R_cal, that column's amplifier and converter, as raw codes.

use super::read::{parse_sums, variance_of_mean};
use super::{Instrument, InstrumentError, unexpected};
use ohmrig_protocol::message::{ReadReference, Region, Reply, Request};
use ohmrig_protocol::units::Volts;

/// How the loop is driven and sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferenceSettings {
    /// V, positive; both polarities are applied.
    pub volts: f64,
    /// Feedback setting.
    pub range: u8,
    /// Conversions at each polarity.
    pub conversions: u16,
    /// From one conversion to the next, ns; 0 for as fast as they go.
    pub interval_ns: u32,
}

/// Mean codes at both polarities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferenceCodes {
    /// At +V.
    pub plus: f64,
    /// At −V.
    pub minus: f64,
    /// Standard uncertainty of either, from scatter and quantisation.
    pub uncertainty: f64,
    /// Whether any sample was beyond the linear range.
    pub saturated: bool,
}

impl ReferenceCodes {
    /// Half the difference: what follows the voltage.
    #[must_use]
    pub fn odd(&self) -> f64 {
        (self.plus - self.minus) / 2.0
    }

    /// Half the sum: what doesn't.
    #[must_use]
    pub fn even(&self) -> f64 {
        (self.plus + self.minus) / 2.0
    }
}

impl Instrument {
    /// Measures one column's R_cal through one row's driver, alone on the calibration bus.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn reference_codes(
        &mut self,
        row: u16,
        column: u16,
        settings: &ReferenceSettings,
    ) -> Result<ReferenceCodes, InstrumentError> {
        self.check_region(Region { row, column, rows: 1, columns: 1 })?;
        let ReferenceSettings { volts, range, conversions, interval_ns } = *settings;
        let request = Request::ReadReference(ReadReference {
            row,
            column: Some(column),
            volts: Volts(volts as f32),
            range,
            conversions,
            interval_ns,
        });
        let sums = self.client.request(&request, |reply| match reply {
            Reply::Reference { sums } => parse_sums("read reference", sums, 1),
            other => Err(unexpected("read reference", other)),
        })?;
        let (sums, n) = (sums[0], f64::from(conversions));
        let plus = variance_of_mean(f64::from(sums.plus), sums.plus_squares as f64, n);
        let minus = variance_of_mean(f64::from(sums.minus), sums.minus_squares as f64, n);
        Ok(ReferenceCodes {
            plus: f64::from(sums.plus) / n,
            minus: f64::from(sums.minus) / n,
            uncertainty: ((plus + minus) / 2.0).sqrt(),
            saturated: sums.plus_squares < 0 || sums.minus_squares < 0,
        })
    }
}
