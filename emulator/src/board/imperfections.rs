//! How far the board's converters, amplifiers and resistors are from ideal, and the draw for one board.

use alloc::vec::Vec;

use crate::profile::Imperfections;
use crate::random::Random;

/// Limits from which one board's errors are drawn evenly, and its noise. Relative unless the unit says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoardImperfections {
    /// White noise of an ADC result without oversampling, rms LSB, besides its quantisation.
    pub adc_noise_lsb: f64,
    /// ADC offset, V.
    pub adc_offset_v: f64,
    /// ADC gain.
    pub adc_gain: f64,
    /// Input offset of a transimpedance amplifier, V.
    pub tia_offset_v: f64,
    /// DAC offset, V.
    pub dac_offset_v: f64,
    /// DAC gain.
    pub dac_gain: f64,
    /// Calibration resistor.
    pub calibration: f64,
}

impl BoardImperfections {
    /// None: resolution, saturation, settling and series resistance stay.
    pub const IDEAL: Self = Self {
        adc_noise_lsb: 0.0,
        adc_offset_v: 0.0,
        adc_gain: 0.0,
        tia_offset_v: 0.0,
        dac_offset_v: 0.0,
        dac_gain: 0.0,
        calibration: 0.0,
    };

    /// OR-16. ADC: SNR 92 dB typical, of which quantisation is taken off (sqrt(0.58² − 1/12) LSB), and a total unadjusted
    /// error of 0.05 % of range at most, here half offset and half gain (AD7606C-16 data sheet, first page). TIA offset and
    /// R_cal: the board's design. DAC: 2 mV and 0.08 %, assumed; the board's limits allow 20 mV and 0.5 %.
    pub const OR16: Self = Self {
        adc_noise_lsb: 0.505,
        adc_offset_v: 3.1e-3,
        adc_gain: 5e-4,
        tia_offset_v: 100e-6,
        dac_offset_v: 2e-3,
        dac_gain: 8e-4,
        calibration: 5e-4,
    };
}

impl From<Imperfections> for BoardImperfections {
    fn from(table: Imperfections) -> Self {
        match table {
            Imperfections::Ideal => Self::IDEAL,
            Imperfections::Or16 => Self::OR16,
        }
    }
}

/// A straight line off the ideal one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Channel {
    gain: f64,
    offset_v: f64,
}

impl Channel {
    pub(super) fn distort(&self, volts: f64) -> f64 {
        volts * self.gain + self.offset_v
    }
}

/// What one column has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) bias: Channel,
    pub(super) adc: Channel,
    pub(super) tia_offset_v: f64,
    pub(super) calibration_ohms: f64,
}

/// The errors of one board.
#[derive(Clone, Debug)]
pub(super) struct BoardErrors {
    pub(super) rows: Vec<Channel>,
    pub(super) columns: Vec<Column>,
}

const STREAM: u64 = 0x626f_6172;

impl BoardErrors {
    /// The same arguments give the same board.
    pub(super) fn draw(limits: &BoardImperfections, rows: usize, columns: usize, seed: u64) -> Self {
        let mut random = Random::new(seed, STREAM);
        let mut within = |limit: f64| (2.0 * random.uniform() - 1.0) * limit;
        let rows = (0..rows)
            .map(|_| Channel { gain: 1.0 + within(limits.dac_gain), offset_v: within(limits.dac_offset_v) })
            .collect();
        let columns = (0..columns)
            .map(|_| Column {
                bias: Channel { gain: 1.0 + within(limits.dac_gain), offset_v: within(limits.dac_offset_v) },
                adc: Channel { gain: 1.0 + within(limits.adc_gain), offset_v: within(limits.adc_offset_v) },
                tia_offset_v: within(limits.tia_offset_v),
                calibration_ohms: super::wiring::CALIBRATION_OHMS * (1.0 + within(limits.calibration)),
            })
            .collect();
        Self { rows, columns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ideal_board_has_no_errors_and_a_real_one_stays_within_its_limits() {
        let ideal = BoardErrors::draw(&BoardImperfections::IDEAL, 4, 4, 1);
        assert!(ideal.rows.iter().all(|row| row.distort(0.3) == 0.3));
        assert!(
            ideal.columns.iter().all(|column| column.calibration_ohms == 10e3 && column.tia_offset_v == 0.0)
        );
        let limits = BoardImperfections::OR16;
        let real = BoardErrors::draw(&limits, 256, 256, 1);
        let largest = real.rows.iter().map(|row| row.distort(0.0).abs()).fold(0.0, f64::max);
        // The largest of 256 even draws is below 95 % of the limit once in 500 000.
        assert!(largest <= limits.dac_offset_v && largest > 0.95 * limits.dac_offset_v);
    }

    #[test]
    fn the_seed_alone_decides() {
        let draw = |seed| BoardErrors::draw(&BoardImperfections::OR16, 2, 2, seed).rows;
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }
}
