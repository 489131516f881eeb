//! AD7606C-16 in software mode with one data line: eight simultaneously sampled 16-bit channels.
//!
//! Registers, frames and CRCs: ADI no-OS `drivers/adc/ad7606` and Linux `drivers/iio/adc/ad7606*.c`; bandwidths: AD7606C-16
//! data sheet, first page. Single-ended inputs on all channels (the negative ones at ground), inputs inside the ±21 V
//! clamps. The identity register reads 0x22 as it does on silicon (ADI EngineerZone 575145; no-OS `device_id`).
//!
//! What those sources leave open, as modelled: data not yet read go on in the next frame (Linux reads the first word
//! in a frame of its own) until a conversion starts or ends, and after the last bit come zeros; a register reply is a
//! zero byte, the value and, with CRC on, its CRC-8; a command with a bad CRC isn't executed and sets bit 2 of the
//! diagnostic error register; a reset shorter than 3 µs (no-OS waits that long) keeps the registers; the phase and
//! gain registers and the open-circuit, over-range and interface diagnostics are stored without effect.

use super::SpiChip;
use crc::{Algorithm, CRC_8_SMBUS, Crc};

/// Channels of one chip.
pub const CHANNELS: usize = 8;

/// Registers (no-OS `AD7606_REG_*`).
mod register {
    pub(super) const ADC_MODE: u8 = 0x00;
    pub(super) const STATUS: u8 = 0x01;
    pub(super) const CONFIG: u8 = 0x02;
    pub(super) const RANGE: u8 = 0x03;
    pub(super) const BANDWIDTH: u8 = 0x07;
    pub(super) const OVERSAMPLING: u8 = 0x08;
    pub(super) const OFFSET: u8 = 0x11;
    pub(super) const DIAGNOSTICS: u8 = 0x21;
    pub(super) const DIAGNOSTIC_ERRORS: u8 = 0x22;
    pub(super) const ID: u8 = 0x2f;
    pub(super) const COUNT: usize = 0x30;
}

/// Bits of DIAGNOSTICS and DIAGNOSTIC_ERRORS (no-OS `AD7606_*_ERR_EN_MSK`).
mod diagnostic {
    pub(super) const CRC: u8 = 1 << 2;
    pub(super) const WRITE: u8 = 1 << 3;
    pub(super) const READ: u8 = 1 << 4;
    pub(super) const BUSY_STUCK: u8 = 1 << 5;
}

/// A register is read, not written (no-OS `AD7606_SERIAL_RD_FLAG_MSK`).
const READ: u8 = 0x40;
/// A reset was seen; cleared by reading (no-OS `AD7606_RESET_DETECT_MSK`).
const RESET_DETECTED: u8 = 0x80;
/// Any enabled diagnostic error (no-OS `AD7606_DIGITAL_ERROR_MSK`).
const DIGITAL_ERROR: u8 = 0x40;
/// A status byte follows every result (no-OS `AD7606_CONFIG_STATUS_HEADER_MSK`).
const STATUS_HEADER: u8 = 0x40;
/// Shortest reset that also resets the registers, ns (no-OS `ad7606_reset`).
pub const FULL_RESET_NS: u64 = 3_000;
/// BUSY high longer than this is an error, ns (no-OS `busy_stuck_high_err_en`).
const BUSY_LIMIT_NS: u64 = 4_000;
/// One conversion and each further one of an oversampled result, ns: 256-fold takes 255.6 µs on silicon (measured in
/// the public `sunduoze/detector_das`), one at most 1 µs (no-OS `tconv_max`).
const CONVERSION_NS: u64 = 650;
const OVERSAMPLING_NS: u64 = 1_000;
/// −3 dB of the input filters, Hz: BANDWIDTH bit clear and set.
pub const BANDWIDTH_HZ: [f64; 2] = [25e3, 220e3];

/// no-OS `ad7606_crc8` (0x07) and `ad7606_crc16` (0x755B), both start at 0.
static CRC8: Crc<u8> = Crc::<u8>::new(&CRC_8_SMBUS);
static CRC16: Crc<u16> = Crc::<u16>::new(&CRC16_ALGORITHM);
static CRC16_ALGORITHM: Algorithm<u16> = Algorithm {
    width: 16,
    poly: 0x755b,
    init: 0,
    refin: false,
    refout: false,
    xorout: 0,
    check: 0x20fe,
    residue: 0,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Frames read results.
    Adc,
    /// Frames read and write registers; the next one carries this reply.
    Register { reply: u8 },
}

/// A conversion under way.
#[derive(Clone, Copy, Debug)]
struct Conversion {
    started_ns: u64,
    ends_ns: u64,
    codes: [u16; CHANNELS],
}

/// One chip.
#[derive(Clone, Debug)]
pub struct Ad7606c {
    /// BUSY stays high from the next conversion on and no result arrives.
    pub stuck_busy: bool,
    registers: [u8; register::COUNT],
    mode: Mode,
    conversion: Option<Conversion>,
    codes: [u16; CHANNELS],
    /// Bytes of the read-out already shifted out.
    position: usize,
    reset_since: Option<u64>,
}

impl Default for Ad7606c {
    fn default() -> Self {
        Self::new()
    }
}

impl Ad7606c {
    /// As after power-on and reset: ±10 V, 25 kHz, two data lines, CRC off, nothing converted.
    pub fn new() -> Self {
        Self {
            stuck_busy: false,
            registers: reset_values(),
            mode: Mode::Adc,
            conversion: None,
            codes: [0; CHANNELS],
            position: 0,
            reset_since: None,
        }
    }

    /// The RESET pin (active high at the chip): `active` begins a reset at `at_ns`, its end carries it out.
    pub fn set_reset(&mut self, active: bool, at_ns: u64) {
        if active {
            self.reset_since.get_or_insert(at_ns);
        } else if let Some(since) = self.reset_since.take() {
            let registers = if at_ns - since >= FULL_RESET_NS { reset_values() } else { self.registers };
            *self = Self { registers, stuck_busy: self.stuck_busy, ..Self::new() };
            self.registers[usize::from(register::STATUS)] |= RESET_DETECTED;
        }
    }

    /// Samples averaged into one result: 1 to 256 (no-OS `ad7606_osr`).
    pub fn oversampling(&self) -> u32 {
        1 << (self.registers[usize::from(register::OVERSAMPLING)] & 0x0f).min(8)
    }

    /// Cut-off of the input filter of `channel` (0–7), Hz.
    pub fn bandwidth_hz(&self, channel: usize) -> f64 {
        BANDWIDTH_HZ[usize::from(self.registers[usize::from(register::BANDWIDTH)] >> channel & 1)]
    }

    /// Volts of one code of `channel` (0–7).
    pub fn lsb_v(&self, channel: usize) -> f64 {
        let (low, high) = self.range_v(channel);
        (high - low) / 65536.0
    }

    /// Input range of `channel`, V (no-OS `ad7606c_range_table`; codes past the table mean its last row).
    fn range_v(&self, channel: usize) -> (f64, f64) {
        let pair = self.registers[usize::from(register::RANGE) + channel / 2];
        match pair >> (4 * (channel % 2)) & 0x0f {
            0 => (-2.5, 2.5),
            1 | 8 => (-5.0, 5.0),
            2 => (-6.25, 6.25),
            3 | 9 => (-10.0, 10.0),
            4 | 10 => (-12.5, 12.5),
            5 => (0.0, 5.0),
            6 => (0.0, 10.0),
            7 => (0.0, 12.5),
            _ => (-20.0, 20.0),
        }
    }

    /// CONVST at `at_ns`, with the filtered voltage at each input (V), averaged where oversampling asks for it.
    /// Without effect while busy, in reset, or in standby or shut-down.
    pub fn convert(&mut self, inputs_v: &[f64; CHANNELS], at_ns: u64) {
        let powered = matches!(self.registers[usize::from(register::CONFIG)] & 3, 0 | 2);
        if self.reset_since.is_some() || !powered || self.busy(at_ns) {
            return;
        }
        self.finish(at_ns);
        let mut codes = [0; CHANNELS];
        for (channel, (code, volts)) in codes.iter_mut().zip(inputs_v).enumerate() {
            *code = self.code(channel, *volts);
        }
        let ends_ns = at_ns + CONVERSION_NS + OVERSAMPLING_NS * u64::from(self.oversampling() - 1);
        let ends_ns = if self.stuck_busy { u64::MAX } else { ends_ns };
        self.conversion = Some(Conversion { started_ns: at_ns, ends_ns, codes });
        self.position = 0;
    }

    fn code(&self, channel: usize, volts: f64) -> u16 {
        let (low, high) = self.range_v(channel);
        let offset = f64::from(self.registers[usize::from(register::OFFSET) + channel]) - 128.0;
        let code = libm::rint(volts / ((high - low) / 65536.0)) + offset;
        if low < 0.0 { code.clamp(-32768.0, 32767.0) as i16 as u16 } else { code.clamp(0.0, 65535.0) as u16 }
    }

    /// The BUSY pin at `at_ns`.
    pub fn busy(&self, at_ns: u64) -> bool {
        self.conversion.is_some_and(|conversion| at_ns < conversion.ends_ns)
    }

    fn finish(&mut self, at_ns: u64) {
        match self.conversion {
            Some(conversion) if at_ns >= conversion.ends_ns => {
                self.codes = conversion.codes;
                self.conversion = None;
                self.position = 0;
            }
            Some(conversion) if at_ns > conversion.started_ns + BUSY_LIMIT_NS && self.oversampling() == 1 => {
                self.diagnose(diagnostic::BUSY_STUCK);
            }
            _ => {}
        }
    }

    fn diagnose(&mut self, bit: u8) {
        let enabled = self.registers[usize::from(register::DIAGNOSTICS)] & bit;
        self.registers[usize::from(register::DIAGNOSTIC_ERRORS)] |= enabled;
    }

    fn crc_enabled(&self) -> bool {
        self.registers[usize::from(register::DIAGNOSTICS)] & diagnostic::CRC != 0
    }

    fn status(&self) -> u8 {
        let errors = self.registers[usize::from(register::DIAGNOSTIC_ERRORS)] != 0;
        self.registers[usize::from(register::STATUS)] | if errors { DIGITAL_ERROR } else { 0 }
    }

    /// DOUTA of the last conversion: its share of the channels, then their CRC, then zeros.
    fn read_out(&mut self, sdo: &mut [u8]) {
        let config = self.registers[usize::from(register::CONFIG)];
        let channels = CHANNELS >> (config >> 3 & 3);
        let mut stream = [0; 3 * CHANNELS + 2];
        let mut length = 0;
        for (channel, code) in self.codes.iter().take(channels).enumerate() {
            stream[length..length + 2].copy_from_slice(&code.to_be_bytes());
            length += 2;
            if config & STATUS_HEADER != 0 {
                stream[length] = self.status() | channel as u8;
                length += 1;
            }
        }
        if self.crc_enabled() {
            let crc = CRC16.checksum(&stream[..length]);
            stream[length..length + 2].copy_from_slice(&crc.to_be_bytes());
            length += 2;
        }
        let rest = &stream[self.position.min(length)..length];
        for (out, byte) in sdo.iter_mut().zip(rest) {
            *out = *byte;
        }
        self.position = (self.position + sdo.len()).min(length);
    }

    /// The command at the front of a frame, if it is whole and its CRC right.
    fn command(&mut self, sdi: &[u8]) -> Option<(u8, u8)> {
        let &[first, data, ref rest @ ..] = sdi else { return None };
        if self.crc_enabled() {
            let crc = *rest.first()?;
            if crc != CRC8.checksum(&[first, data]) {
                self.diagnose(diagnostic::CRC);
                return None;
            }
        }
        // The first bit is write enable, active low.
        (first & 0x80 == 0).then_some((first, data))
    }

    fn read(&mut self, address: u8) -> u8 {
        let value = match address {
            register::STATUS => self.status(),
            register::ID => 0x22,
            _ => match self.registers.get(usize::from(address)) {
                Some(value) => *value,
                None => {
                    self.diagnose(diagnostic::READ);
                    0
                }
            },
        };
        if address == register::STATUS {
            self.registers[usize::from(address)] &= !RESET_DETECTED;
        }
        value
    }

    fn write(&mut self, address: u8, data: u8) {
        match address {
            register::ADC_MODE => self.mode = Mode::Adc,
            register::DIAGNOSTIC_ERRORS => self.registers[usize::from(address)] &= !data,
            register::CONFIG..register::DIAGNOSTIC_ERRORS | 0x23 | 0x25 | 0x28..=0x2c => {
                self.registers[usize::from(address)] = data;
            }
            _ => self.diagnose(diagnostic::WRITE),
        }
    }

    fn register_frame(&mut self, sdi: &[u8], sdo: &mut [u8], reply: u8) {
        let words = [0, reply, if self.crc_enabled() { CRC8.checksum(&[0, reply]) } else { 0 }];
        for (out, byte) in sdo.iter_mut().zip(words) {
            *out = byte;
        }
        let Some((first, data)) = self.command(sdi) else { return };
        self.mode = Mode::Register { reply: 0 };
        if first & READ != 0 {
            self.mode = Mode::Register { reply: self.read(first & 0x3f) };
        } else {
            self.write(first & 0x3f, data);
        }
    }
}

/// Register values after reset: ±10 V (no-OS `ad7606_reset_settings`, EngineerZone 601457), two data lines and the
/// ROM check on (no-OS), offsets at their middle.
fn reset_values() -> [u8; register::COUNT] {
    let mut registers = [0; register::COUNT];
    registers[usize::from(register::CONFIG)] = 0x08;
    registers[usize::from(register::RANGE)..][..CHANNELS / 2].fill(0x33);
    registers[usize::from(register::OFFSET)..][..CHANNELS].fill(0x80);
    registers[usize::from(register::DIAGNOSTICS)] = 0x01;
    registers
}

impl SpiChip for Ad7606c {
    fn frame(&mut self, sdi: &[u8], sdo: &mut [u8], at_ns: u64) -> bool {
        sdo.fill(0);
        if self.reset_since.is_some() {
            return false;
        }
        self.finish(at_ns);
        match self.mode {
            Mode::Register { reply } => self.register_frame(sdi, sdo, reply),
            Mode::Adc => {
                self.read_out(sdo);
                // Only a read leads out of ADC mode; the zeros of a plain read-out are no command.
                if sdi.first().is_some_and(|first| first & READ != 0)
                    && let Some((first, _)) = self.command(sdi)
                {
                    self.mode = Mode::Register { reply: self.read(first & 0x3f) };
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame<const N: usize>(chip: &mut Ad7606c, sdi: [u8; N], at_ns: u64) -> [u8; N] {
        let mut back = [0; N];
        chip.frame(&sdi, &mut back, at_ns);
        back
    }

    fn command<const N: usize>(chip: &mut Ad7606c, sdi: [u8; 2]) -> [u8; N] {
        let words = [sdi[0], sdi[1], CRC8.checksum(&sdi)];
        let mut out = [0; N];
        out.copy_from_slice(&words[..N]);
        frame(chip, out, 0)
    }

    fn read(chip: &mut Ad7606c, address: u8) -> u8 {
        frame(chip, [READ | address, 0], 0);
        frame(chip, [READ | address, 0], 0)[1]
    }

    /// ±6.25 V, wide bandwidth, one data line, CRC on, back in ADC mode: as on the board.
    fn set_up() -> Ad7606c {
        let mut chip = Ad7606c::new();
        read(&mut chip, register::ID);
        frame(&mut chip, [register::CONFIG, 0], 0);
        for pair in 0..4 {
            frame(&mut chip, [register::RANGE + pair, 0x22], 0);
        }
        frame(&mut chip, [register::BANDWIDTH, 0xff], 0);
        frame(&mut chip, [register::DIAGNOSTICS, diagnostic::CRC], 0);
        command::<3>(&mut chip, [0, 0]);
        chip
    }

    const VOLTS: [f64; 8] = [0.0, 1.0, -1.0, 6.0, -6.25, 7.0, -7.0, 0.0001];

    fn codes(bytes: &[u8]) -> [i16; 8] {
        core::array::from_fn(|k| i16::from_be_bytes([bytes[2 * k], bytes[2 * k + 1]]))
    }

    #[test]
    fn its_crc16_is_that_of_the_published_polynomial() {
        // Worked out bit by bit with polynomial 0x755B from 0.
        assert_eq!(CRC16.checksum(b"123456789"), 0x20fe);
        assert_eq!(CRC16.checksum(&[0x01]), 0x755b);
    }

    #[test]
    fn it_tells_its_identity_in_the_frame_after_the_question() {
        let mut chip = Ad7606c::new();
        assert_eq!(frame(&mut chip, [READ | register::ID, 0], 0), [0, 0]);
        assert_eq!(frame(&mut chip, [READ | register::RANGE, 0], 0), [0, 0x22]);
        assert_eq!(frame(&mut chip, [READ | register::CONFIG, 0], 0), [0, 0x33]);
        assert_eq!(frame(&mut chip, [READ | register::CONFIG, 0], 0), [0, 0x08]);
    }

    #[test]
    fn results_come_in_order_with_their_crc_after_channel_8() {
        let mut chip = set_up();
        chip.convert(&VOLTS, 1000);
        let back = frame(&mut chip, [0; 18], 5000);
        let lsb = 12.5 / 65536.0;
        let expected = VOLTS.map(|v| libm::rint(v / lsb).clamp(-32768.0, 32767.0) as i16);
        assert_eq!(codes(&back), expected);
        assert_eq!(CRC16.checksum(&back[..16]).to_be_bytes(), back[16..]);
    }

    #[test]
    fn busy_lasts_the_conversion_time_and_a_read_meanwhile_gives_the_previous_result() {
        let mut chip = set_up();
        chip.convert(&[1.0; 8], 0);
        let first = frame(&mut chip, [0; 18], 10_000);
        chip.convert(&[2.0; 8], 20_000);
        assert!(chip.busy(20_649) && !chip.busy(20_650));
        assert_eq!(frame(&mut chip, [0; 18], 20_649), first);
        assert_ne!(frame(&mut chip, [0; 18], 20_650), first);
    }

    #[test]
    fn nothing_converted_reads_zeros() {
        assert_eq!(frame(&mut set_up(), [0; 18], 0), [0; 18]);
    }

    #[test]
    fn a_read_out_goes_on_where_the_last_frame_stopped_and_ends_in_zeros() {
        let mut chip = set_up();
        chip.convert(&VOLTS, 0);
        let mut whole = [0; 18];
        whole[..2].copy_from_slice(&frame(&mut chip, [0; 2], 1000));
        whole[2..].copy_from_slice(&frame(&mut chip, [0; 16], 1000));
        assert_eq!(CRC16.checksum(&whole), 0, "a block followed by its CRC has CRC 0");
        assert_ne!(whole, [0; 18]);
        assert_eq!(frame(&mut chip, [0; 18], 1000), [0; 18]);
    }

    #[test]
    fn two_data_lines_as_after_reset_leave_only_four_channels_on_the_one_that_is_wired() {
        let mut chip = Ad7606c::new();
        chip.convert(&[1.0; 8], 0);
        let back = codes(&frame(&mut chip, [0; 16], 1000));
        assert!(back[..4].iter().all(|code| *code == 3277) && back[4..] == [0; 4]);
    }

    #[test]
    fn reading_out_in_register_mode_yields_no_data() {
        let mut chip = set_up();
        chip.convert(&VOLTS, 0);
        command::<3>(&mut chip, [READ | register::CONFIG, 0]);
        assert_eq!(frame(&mut chip, [0; 18], 1000), [0; 18]);
        assert_ne!(frame(&mut chip, [0; 18], 1000), [0; 18]);
    }

    #[test]
    fn a_write_in_adc_mode_is_not_executed() {
        let mut chip = Ad7606c::new();
        frame(&mut chip, [register::CONFIG, 0], 0);
        assert_eq!(read(&mut chip, register::CONFIG), 0x08);
    }

    #[test]
    fn a_register_write_with_a_bad_crc_is_not_executed_and_leaves_its_mark() {
        let mut chip = set_up();
        command::<3>(&mut chip, [READ | register::BANDWIDTH, 0]);
        let sdi = [register::BANDWIDTH, 0];
        frame(&mut chip, [sdi[0], sdi[1], CRC8.checksum(&sdi) ^ 4], 0);
        command::<3>(&mut chip, [READ | register::BANDWIDTH, 0]);
        let back = command::<3>(&mut chip, [READ | register::DIAGNOSTIC_ERRORS, 0]);
        assert_eq!(back, [0, 0xff, CRC8.checksum(&[0, 0xff])]);
        let back = command::<3>(&mut chip, [READ | register::STATUS, 0]);
        assert_eq!(back[1], diagnostic::CRC);
        assert_eq!(command::<3>(&mut chip, [READ, 0])[1], DIGITAL_ERROR);
        command::<3>(&mut chip, [register::DIAGNOSTIC_ERRORS, diagnostic::CRC]);
        command::<3>(&mut chip, [READ | register::DIAGNOSTIC_ERRORS, 0]);
        assert_eq!(command::<3>(&mut chip, [READ, 0])[1], 0);
    }

    #[test]
    fn a_short_reset_keeps_the_registers_and_a_long_one_does_not() {
        let mut chip = set_up();
        chip.convert(&VOLTS, 0);
        chip.set_reset(true, 1_000);
        assert_eq!(frame(&mut chip, [0; 18], 1_500), [0; 18]);
        chip.set_reset(false, 2_000);
        assert_eq!(frame(&mut chip, [0; 18], 3_000), [0; 18]);
        assert!(chip.crc_enabled());
        chip.set_reset(true, 4_000);
        chip.set_reset(false, 4_000 + FULL_RESET_NS);
        assert!(!chip.crc_enabled());
        assert_eq!(read(&mut chip, register::STATUS), RESET_DETECTED);
        assert_eq!(read(&mut chip, register::STATUS), 0);
    }

    #[test]
    fn oversampling_stretches_busy() {
        let mut chip = Ad7606c::new();
        read(&mut chip, register::ID);
        frame(&mut chip, [register::OVERSAMPLING, 8], 0);
        frame(&mut chip, [0, 0], 0);
        assert_eq!(chip.oversampling(), 256);
        chip.convert(&[0.0; 8], 0);
        assert!(chip.busy(255_649) && !chip.busy(255_650));
    }

    #[test]
    fn a_stuck_busy_never_ends_and_is_diagnosed() {
        let mut chip = Ad7606c::new();
        read(&mut chip, register::ID);
        frame(&mut chip, [register::DIAGNOSTICS, diagnostic::BUSY_STUCK], 0);
        chip.stuck_busy = true;
        chip.convert(&[1.0; 8], 0);
        assert!(chip.busy(u64::MAX - 1));
        frame(&mut chip, [READ | register::DIAGNOSTIC_ERRORS, 0], 10_000);
        assert_eq!(read(&mut chip, register::DIAGNOSTIC_ERRORS), diagnostic::BUSY_STUCK);
    }

    #[test]
    fn ranges_and_bandwidths_are_per_channel() {
        let mut chip = Ad7606c::new();
        read(&mut chip, register::ID);
        frame(&mut chip, [register::RANGE, 0x52], 0);
        frame(&mut chip, [register::BANDWIDTH, 2], 0);
        assert_eq!(chip.range_v(0), (-6.25, 6.25));
        assert_eq!(chip.range_v(1), (0.0, 5.0));
        assert_eq!((chip.bandwidth_hz(0), chip.bandwidth_hz(1)), (25e3, 220e3));
        assert_eq!(chip.code(1, 2.5), 32768);
    }
}
