//! How far the board's converters, amplifiers, switches and resistors are from ideal, and the draw for one board.

use alloc::vec::Vec;
use core::array::from_fn;
use core::f64::consts::TAU;

use crate::board::linearity::Linearity;
use crate::random::Random;

/// Harmonics of the mains that are picked up: 50, 100 and 150 Hz.
pub(super) const HARMONICS: usize = 3;
/// The mains, Hz.
pub const MAINS_HZ: f64 = 50.0;

/// Limits from which one board's errors are drawn evenly, and its noise. Relative unless the unit says otherwise; an
/// INL is the peak that every channel has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoardImperfections {
    /// White noise of an ADC result without oversampling, rms LSB, besides its quantisation.
    pub adc_noise_lsb: f64,
    /// ADC offset, V.
    pub adc_offset_v: f64,
    /// ADC gain.
    pub adc_gain: f64,
    /// Smooth part of the ADC's integral nonlinearity, peak LSB.
    pub adc_inl_lsb: f64,
    /// Its bit-weight errors' part (steps where high bits carry), peak LSB.
    pub adc_carry_lsb: f64,
    /// Input offset of a transimpedance amplifier, V.
    pub tia_offset_v: f64,
    /// Each of an amplifier's three feedback resistors.
    pub feedback: f64,
    /// Their temperature coefficient, 1/K.
    pub feedback_per_kelvin: f64,
    /// DAC offset, V.
    pub dac_offset_v: f64,
    /// DAC gain.
    pub dac_gain: f64,
    /// Smooth part of the DACs' integral nonlinearity, peak LSB.
    pub dac_inl_lsb: f64,
    /// Its bit-weight errors' part, peak LSB.
    pub dac_carry_lsb: f64,
    /// White noise of a row DAC's output, V/√Hz.
    pub dac_noise_v_per_root_hz: f64,
    /// Flicker noise of the DACs' reference, of the output voltage, 1/√Hz at 1 Hz.
    pub reference_flicker_per_root_hz: f64,
    /// Its white noise in the band of a sample, rms, of the output voltage.
    pub reference_white: f64,
    /// Calibration resistor.
    pub calibration: f64,
    /// Its temperature coefficient, 1/K.
    pub calibration_per_kelvin: f64,
    /// On resistance of a switch chip against the typical one, Ω.
    pub switch_chip_ohms: f64,
    /// The same of one switch against its chip, Ω.
    pub switch_channel_ohms: f64,
    /// Leakage of an open switch at 25 °C, either direction; doubles every 10 K, A.
    pub leakage_a: f64,
    /// Amplitudes of 50, 100 and 150 Hz at the amplifiers' outputs (V): the most a column has; the least is half of it.
    pub hum_v: [f64; HARMONICS],
    /// How far the mains is from 50 Hz, Hz.
    pub mains_hz: f64,
    /// Flicker noise that the supplies put on all amplifiers' outputs alike, V/√Hz at 1 Hz.
    pub supply_flicker_v_per_root_hz: f64,
    /// White noise that they put there, in the band of a sample, rms V.
    pub supply_white_v: f64,
    /// Standard deviation of the temperature around the ambient one, K.
    pub temperature_k: f64,
}

impl BoardImperfections {
    /// None: resolution, saturation, settling and series resistance stay.
    pub const IDEAL: Self = Self {
        adc_noise_lsb: 0.0,
        adc_offset_v: 0.0,
        adc_gain: 0.0,
        adc_inl_lsb: 0.0,
        adc_carry_lsb: 0.0,
        tia_offset_v: 0.0,
        feedback: 0.0,
        feedback_per_kelvin: 0.0,
        dac_offset_v: 0.0,
        dac_gain: 0.0,
        dac_inl_lsb: 0.0,
        dac_carry_lsb: 0.0,
        dac_noise_v_per_root_hz: 0.0,
        reference_flicker_per_root_hz: 0.0,
        reference_white: 0.0,
        calibration: 0.0,
        calibration_per_kelvin: 0.0,
        switch_chip_ohms: 0.0,
        switch_channel_ohms: 0.0,
        leakage_a: 0.0,
        hum_v: [0.0; HARMONICS],
        mains_hz: 0.0,
        supply_flicker_v_per_root_hz: 0.0,
        supply_white_v: 0.0,
        temperature_k: 0.0,
    };

    /// OR-16.
    ///
    /// | what | value | source |
    /// | --- | --- | --- |
    /// | ADC noise | 0.505 LSB | AD7606C-16 data sheet, first page: SNR 92 dB typical (0.58 LSB), less quantisation: sqrt(0.58² − 1/12) |
    /// | ADC offset, gain | 3.1 mV, 0.05 % | the same: total unadjusted error 0.05 % of the range at most, half of it each |
    /// | ADC INL | 1.5 + 0.4 LSB | assumed: within 2 LSB; the first page gives THD −100 dB |
    /// | TIA offset | 100 µV | the board's design |
    /// | feedback | 0.1 %, 25 ppm/K | assumed: ordinary thin film |
    /// | DAC offset, gain | 2 mV, 0.08 % | assumed; the board's limits allow 20 mV and 0.5 % |
    /// | DAC INL | 3 + 0.45 LSB | assumed: ±4 LSB and monotonic, as the 16-bit LTC2655 (data sheet, first page) |
    /// | DAC noise | 80 nV/√Hz | assumed |
    /// | reference | 0.3 ppm/√Hz at 1 Hz, 3 ppm rms | assumed |
    /// | R_cal | 0.05 %, 5 ppm/K | the board's design |
    /// | switch | ±0.25 Ω per chip | assumed |
    /// | | ±0.05 Ω per switch | ADGS1414D data sheet rev. 0, first page: match between channels 0.1 Ω typical |
    /// | leakage | 0.5 nA | ADGS1414D data sheet rev. 0, table 1: ±0.55 nA at most, open, at 25 °C |
    /// | hum | 0.3, 0.1, 0.05 mV | assumed; ±0.02 Hz is the usual wander of the European grid |
    /// | supply | 5 µV/√Hz at 1 Hz, 10 µV rms | assumed |
    /// | temperature | 0.5 K | assumed: a room; its time constant is `Climate`'s |
    pub const OR16: Self = Self {
        adc_noise_lsb: 0.505,
        adc_offset_v: 3.1e-3,
        adc_gain: 5e-4,
        adc_inl_lsb: 1.5,
        adc_carry_lsb: 0.4,
        tia_offset_v: 100e-6,
        feedback: 1e-3,
        feedback_per_kelvin: 25e-6,
        dac_offset_v: 2e-3,
        dac_gain: 8e-4,
        dac_inl_lsb: 3.0,
        dac_carry_lsb: 0.45,
        dac_noise_v_per_root_hz: 80e-9,
        reference_flicker_per_root_hz: 0.3e-6,
        reference_white: 3e-6,
        calibration: 5e-4,
        calibration_per_kelvin: 5e-6,
        switch_chip_ohms: 0.25,
        switch_channel_ohms: 0.05,
        leakage_a: 0.5e-9,
        hum_v: [0.3e-3, 0.1e-3, 0.05e-3],
        mains_hz: 0.02,
        supply_flicker_v_per_root_hz: 5e-6,
        supply_white_v: 10e-6,
        temperature_k: 0.5,
    };
}

/// A converter's transfer: a straight line off the ideal one, and what deviates from that line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Channel {
    gain: f64,
    offset_v: f64,
    linearity: Linearity,
}

impl Channel {
    /// `volts`, which is `code` (0 to 65536, fractions allowed) of a converter with steps of `lsb_v`.
    pub(super) fn distort(&self, volts: f64, code: f64, lsb_v: f64) -> f64 {
        volts * self.gain + self.offset_v + self.linearity.error_lsb(code) * lsb_v
    }
}

/// What one row has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) dac: Channel,
    pub(super) connect_ohms: f64,
    /// To the CAL bus.
    pub(super) calibrate_ohms: f64,
}

/// A resistor as fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Resistor {
    /// At 25 °C.
    pub(super) ohms: f64,
    pub(super) per_kelvin: f64,
}

/// On resistance and open leakage of a column's switch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Switch {
    pub(super) ohms: f64,
    pub(super) leakage_a: f64,
}

/// What one column has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) bias_dac: Channel,
    pub(super) adc: Channel,
    pub(super) tia_offset_v: f64,
    pub(super) calibration: Resistor,
    /// As in [`FEEDBACK`](super::wiring::FEEDBACK).
    pub(super) feedback: [Resistor; 3],
    pub(super) sense: Switch,
    pub(super) bias: Switch,
    pub(super) calibrate: Switch,
    /// Sine and cosine part of each harmonic of the mains, V.
    pub(super) hum_v: [(f64, f64); HARMONICS],
}

/// The errors of one board.
#[derive(Clone, Debug)]
pub(super) struct BoardErrors {
    pub(super) rows: Vec<Row>,
    pub(super) columns: Vec<Column>,
    /// Period of the mains, ns.
    pub(super) mains_ns: u64,
}

/// Streams of the seed: one per source, so that none depends on whether another is there.
mod stream {
    pub(super) const LINES: u64 = 0x626f_6172;
    pub(super) const DAC_LINEARITY: u64 = 0x6461_6369;
    pub(super) const ADC_LINEARITY: u64 = 0x6164_6369;
    pub(super) const FEEDBACK: u64 = 0x6665_6564;
    pub(super) const COEFFICIENTS: u64 = 0x7465_6d70;
    pub(super) const SWITCHES: u64 = 0x7377_6974;
    pub(super) const LEAKAGE: u64 = 0x6c65_616b;
    pub(super) const HUM: u64 = 0x6875_6d00;
}

/// Even draws around zero.
struct Even(Random);

impl Even {
    fn within(&mut self, limit: f64) -> f64 {
        (2.0 * self.0.uniform() - 1.0) * limit
    }
}

/// Resistances of the switches of one group, eight to a chip, and their leakages.
struct Switches<'a> {
    ohms: Even,
    leakage: Even,
    limits: &'a BoardImperfections,
}

impl Switches<'_> {
    fn group(&mut self, lines: usize) -> Vec<Switch> {
        let mut chip_ohms = 0.0;
        (0..lines)
            .map(|line| {
                if line % crate::chips::adgs1414d::SWITCHES == 0 {
                    chip_ohms = super::wiring::SWITCH_OHMS + self.ohms.within(self.limits.switch_chip_ohms);
                }
                let ohms = chip_ohms + self.ohms.within(self.limits.switch_channel_ohms);
                Switch { ohms, leakage_a: self.leakage.within(self.limits.leakage_a) }
            })
            .collect()
    }
}

impl BoardErrors {
    /// The same arguments give the same board.
    pub(super) fn draw(limits: &BoardImperfections, rows: usize, columns: usize, seed: u64) -> Self {
        let even = |stream| Even(Random::new(seed, stream));
        let mut lines = even(stream::LINES);
        let mut dac_linearity = Random::new(seed, stream::DAC_LINEARITY);
        let mut adc_linearity = Random::new(seed, stream::ADC_LINEARITY);
        let mut feedback = even(stream::FEEDBACK);
        let mut coefficients = even(stream::COEFFICIENTS);
        let mut switches = Switches { ohms: even(stream::SWITCHES), leakage: even(stream::LEAKAGE), limits };
        let mut hum = Random::new(seed, stream::HUM);
        let mut dac = |lines: &mut Even| Channel {
            gain: 1.0 + lines.within(limits.dac_gain),
            offset_v: lines.within(limits.dac_offset_v),
            linearity: Linearity::draw(limits.dac_inl_lsb, limits.dac_carry_lsb, &mut dac_linearity),
        };
        let connect = switches.group(rows);
        let row_calibrate = switches.group(rows);
        let [sense, bias, calibrate] = from_fn(|_| switches.group(columns));
        let rows = (0..rows)
            .map(|row| Row {
                dac: dac(&mut lines),
                connect_ohms: connect[row].ohms,
                calibrate_ohms: row_calibrate[row].ohms,
            })
            .collect();
        let mains_hz = MAINS_HZ + (2.0 * hum.uniform() - 1.0) * limits.mains_hz;
        let phases: [f64; HARMONICS] = from_fn(|_| TAU * hum.uniform());
        let columns = (0..columns)
            .map(|column| Column {
                bias_dac: dac(&mut lines),
                adc: Channel {
                    gain: 1.0 + lines.within(limits.adc_gain),
                    offset_v: lines.within(limits.adc_offset_v),
                    linearity: Linearity::draw(limits.adc_inl_lsb, limits.adc_carry_lsb, &mut adc_linearity),
                },
                tia_offset_v: lines.within(limits.tia_offset_v),
                calibration: Resistor {
                    ohms: super::wiring::CALIBRATION_OHMS * (1.0 + lines.within(limits.calibration)),
                    per_kelvin: coefficients.within(limits.calibration_per_kelvin),
                },
                feedback: super::wiring::FEEDBACK.map(|(ohms, _)| Resistor {
                    ohms: ohms * (1.0 + feedback.within(limits.feedback)),
                    per_kelvin: coefficients.within(limits.feedback_per_kelvin),
                }),
                sense: sense[column],
                bias: bias[column],
                calibrate: calibrate[column],
                hum_v: from_fn(|harmonic| {
                    let amplitude = limits.hum_v[harmonic] * 0.5 * (1.0 + hum.uniform());
                    (amplitude * libm::cos(phases[harmonic]), amplitude * libm::sin(phases[harmonic]))
                }),
            })
            .collect();
        Self { rows, columns, mains_ns: libm::rint(1e9 / mains_hz) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ideal_board_has_no_errors_and_a_real_one_stays_within_its_limits() {
        let ideal = BoardErrors::draw(&BoardImperfections::IDEAL, 4, 4, 1);
        assert!(ideal.rows.iter().all(|row| row.dac.distort(0.3, 34734.0, 1e-4) == 0.3));
        assert!(ideal.rows.iter().all(|row| row.connect_ohms == 1.5 && row.calibrate_ohms == 1.5));
        assert!(ideal.columns.iter().all(|column| {
            column.calibration == Resistor { ohms: 10e3, per_kelvin: 0.0 }
                && column.tia_offset_v == 0.0
                && column.sense == Switch { ohms: 1.5, leakage_a: 0.0 }
                && column.feedback[0] == Resistor { ohms: 100e3, per_kelvin: 0.0 }
                && column.hum_v == [(0.0, 0.0); HARMONICS]
        }));
        assert_eq!(ideal.mains_ns, 20_000_000);

        let limits = BoardImperfections::OR16;
        let real = BoardErrors::draw(&limits, 256, 256, 1);
        // The largest of 256 even draws is below 95 % of the limit once in 500 000; nothing may be above it.
        let reaches = |limit: f64, of: &mut dyn Iterator<Item = f64>| {
            let largest = of.map(libm::fabs).fold(0.0, f64::max);
            assert!(largest <= limit * (1.0 + 1e-12) && largest > 0.95 * limit, "{largest} {limit}");
        };
        let columns = || real.columns.iter();
        // Code 0 has no INL.
        reaches(limits.dac_offset_v, &mut real.rows.iter().map(|row| row.dac.distort(0.0, 0.0, 1e-4)));
        reaches(limits.adc_offset_v, &mut columns().map(|column| column.adc.distort(0.0, 0.0, 1e-4)));
        reaches(limits.adc_gain, &mut columns().map(|column| column.adc.gain - 1.0));
        reaches(limits.tia_offset_v, &mut columns().map(|column| column.tia_offset_v));
        reaches(limits.calibration, &mut columns().map(|column| column.calibration.ohms / 10e3 - 1.0));
        reaches(limits.calibration_per_kelvin, &mut columns().map(|column| column.calibration.per_kelvin));
        for (branch, (ohms, _)) in super::super::wiring::FEEDBACK.into_iter().enumerate() {
            reaches(limits.feedback, &mut columns().map(|column| column.feedback[branch].ohms / ohms - 1.0));
            reaches(
                limits.feedback_per_kelvin,
                &mut columns().map(|column| column.feedback[branch].per_kelvin),
            );
        }
        reaches(limits.leakage_a, &mut columns().map(|column| column.sense.leakage_a));
        reaches(limits.leakage_a, &mut columns().map(|column| column.calibrate.leakage_a));
    }

    #[test]
    fn switches_of_one_chip_differ_by_the_match_and_chips_by_their_spread() {
        let limits = BoardImperfections::OR16;
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for seed in 0..50 {
            let ohms: Vec<f64> =
                BoardErrors::draw(&limits, 256, 1, seed).rows.iter().map(|row| row.connect_ohms).collect();
            for chip in ohms.chunks(8) {
                let low = chip.iter().copied().fold(f64::INFINITY, f64::min);
                let high = chip.iter().copied().fold(0.0, f64::max);
                assert!(high - low <= 2.0 * limits.switch_channel_ohms);
                (least, most) = (least.min(low), most.max(high));
            }
        }
        let span = limits.switch_chip_ohms + limits.switch_channel_ohms;
        assert!(least >= 1.5 - span && most <= 1.5 + span);
        // Of 1600 chips, one is in the outer 5 % of the chips' range on either side but for once in e⁴⁰.
        assert!(least < 1.5 - 0.9 * limits.switch_chip_ohms && most > 1.5 + 0.9 * limits.switch_chip_ohms);
    }

    #[test]
    fn every_column_hums_with_the_same_phase_and_half_to_all_of_the_amplitude() {
        let limits = BoardImperfections::OR16;
        let errors = BoardErrors::draw(&limits, 1, 256, 3);
        for harmonic in 0..HARMONICS {
            let amplitudes = errors.columns.iter().map(|column| {
                let (sine, cosine) = column.hum_v[harmonic];
                libm::hypot(sine, cosine) / limits.hum_v[harmonic]
            });
            let (mut sum, mut count) = (0.0, 0.0);
            for amplitude in amplitudes {
                assert!((0.5 - 1e-12..=1.0 + 1e-12).contains(&amplitude));
                sum += amplitude;
                count += 1.0;
            }
            // An even distribution of width 0.5: standard error 0.5/sqrt(12·256), five of them.
            assert!((sum / count - 0.75).abs() < 5.0 * 0.5 / libm::sqrt(12.0 * count));
        }
        assert!(errors.mains_ns.abs_diff(20_000_000) <= 8_004);
    }

    #[test]
    fn the_seed_alone_decides() {
        let draw = |seed| BoardErrors::draw(&BoardImperfections::OR16, 2, 2, seed).rows;
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    #[test]
    fn a_source_that_is_switched_off_leaves_all_others_as_they_were() {
        let all = BoardErrors::draw(&BoardImperfections::OR16, 3, 3, 7);
        let quiet = BoardImperfections {
            dac_inl_lsb: 0.0,
            dac_carry_lsb: 0.0,
            adc_inl_lsb: 0.0,
            adc_carry_lsb: 0.0,
            feedback: 0.0,
            leakage_a: 0.0,
            hum_v: [0.0; HARMONICS],
            ..BoardImperfections::OR16
        };
        let some = BoardErrors::draw(&quiet, 3, 3, 7);
        for (all, some) in all.columns.iter().zip(&some.columns) {
            assert_eq!((all.adc.gain, all.adc.offset_v), (some.adc.gain, some.adc.offset_v));
            assert_eq!(all.calibration, some.calibration);
            assert_eq!(all.sense.ohms, some.sense.ohms);
            assert_eq!(all.feedback[1].per_kelvin, some.feedback[1].per_kelvin);
        }
        assert_eq!(all.mains_ns, some.mains_ns);
    }
}
