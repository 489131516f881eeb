//! ADGS1414D: eight SPST switches behind SPI with error detection.
//!
//! Registers, special frames and CRC: ADI no-OS `drivers/mux/adgs5412` and `drivers/switch/adgs6414d` (same interface);
//! behaviour on errors: data sheets ADGS1412 rev. B and ADGS1414D rev. 0, "Theory of Operation". Switching times
//! (below 1 µs) and break-before-make are not modelled: a switch is where its bit is once the frame has ended.

use super::SpiChip;
use crc::{CRC_8_SMBUS, Crc};

/// Switches of one chip; bit n of the switch register is switch n + 1.
pub const SWITCHES: usize = 8;

mod register {
    pub(super) const SW_DATA: u8 = 0x01;
    pub(super) const ERR_CONFIG: u8 = 0x02;
    pub(super) const ERR_FLAGS: u8 = 0x03;
    pub(super) const BURST_EN: u8 = 0x05;
    pub(super) const SOFT_RESETB: u8 = 0x0b;
}

/// Error flags, and the enable bits of the same checks (no-OS `ADGS5412_*_ERR_EN`, `*_ERR_FLAG`).
mod error {
    pub(super) const CRC: u8 = 1 << 0;
    pub(super) const SCLK: u8 = 1 << 1;
    pub(super) const RW: u8 = 1 << 2;
}

/// SCLK-count and address checks on, CRC off (no-OS `ADGS6414D_ERR_CFG_DEFAULT`).
const ERR_CONFIG_RESET: u8 = error::SCLK | error::RW;
/// What SDO shows in the first eight clocks of every frame (no-OS `ADGS5412_ALIGNMENT`).
const ALIGNMENT: u8 = 0x25;
/// Frames that clear the flags and that enter daisy-chain mode (no-OS `ADGS5412_CLR_*`, `ADGS5412_DAISY_CHAIN_*`).
const CLEAR_FLAGS: [u8; 2] = [0x6c, 0xa9];
const DAISY_CHAIN: [u8; 2] = [0x25, 0x00];
/// Two writes in a row to SOFT_RESETB that reset the chip (no-OS `ADGS5412_RESET_*`).
const SOFT_RESET: [u8; 2] = [0xa3, 0x05];
const READ: u8 = 0x80;

/// Polynomial x⁸ + x² + x + 1, start 0 (no-OS `ADGS5412_CRC8_POLY`).
static CRC8: Crc<u8> = Crc::<u8>::new(&CRC_8_SMBUS);

/// One chip.
#[derive(Clone, Debug)]
pub struct Adgs1414d {
    /// Contacts that conduct whatever the register says, bit n for switch n + 1.
    pub welded: u8,
    /// Contacts that never conduct; the register says what it was told.
    pub broken: u8,
    switches: u8,
    config: u8,
    flags: u8,
    burst: bool,
    /// The last frame was the first half of a soft reset.
    half_reset: bool,
    daisy_chain: bool,
    held: bool,
}

impl Default for Adgs1414d {
    fn default() -> Self {
        Self::new()
    }
}

impl Adgs1414d {
    /// As after power-on: all switches open, address mode, RESET high.
    pub fn new() -> Self {
        Self {
            welded: 0,
            broken: 0,
            switches: 0,
            config: ERR_CONFIG_RESET,
            flags: 0,
            burst: false,
            half_reset: false,
            daisy_chain: false,
            held: false,
        }
    }

    /// Which switches conduct, bit n for switch n + 1.
    pub fn closed(&self) -> u8 {
        (self.switches | self.welded) & !self.broken
    }

    /// As after power-on; contacts stay as they are.
    fn fresh(&self) -> Self {
        Self { welded: self.welded, broken: self.broken, ..Self::new() }
    }

    /// The RESET/VL pin, which is the logic supply: while `low`, all is open and SDO stays high.
    pub fn set_reset(&mut self, low: bool) {
        *self = Self { held: low, ..self.fresh() };
    }

    fn crc_enabled(&self) -> bool {
        self.config & error::CRC != 0
    }

    fn flag(&mut self, bit: u8) {
        self.flags |= bit & self.config;
    }

    /// One command of 16 or, with `crc`, 24 bit that arrived whole; what SDO shows goes to `sdo`.
    fn command(&mut self, command: [u8; 2], crc: Option<u8>, sdo: &mut [u8]) {
        let [first, data] = command;
        let address = first & !READ;
        let known = matches!(
            address,
            register::SW_DATA
                | register::ERR_CONFIG
                | register::ERR_FLAGS
                | register::BURST_EN
                | register::SOFT_RESETB
        );
        let half_reset = core::mem::take(&mut self.half_reset);
        if first & READ != 0 {
            if !known {
                self.flag(error::RW);
            }
            let value = self.read(address);
            sdo[1] = value;
            if let Some(out) = sdo.get_mut(2) {
                *out = CRC8.checksum(&[first, value]);
            }
            return;
        }
        let special = command == CLEAR_FLAGS || command == DAISY_CHAIN;
        let writable = special || (known && address != register::ERR_FLAGS);
        if !writable {
            self.flag(error::RW);
        }
        if crc.is_some_and(|crc| crc != CRC8.checksum(&command)) {
            self.flag(error::CRC);
        } else if command == CLEAR_FLAGS {
            self.flags = 0;
        } else if command == DAISY_CHAIN {
            self.daisy_chain = true;
        } else if writable {
            self.write(address, data, half_reset);
        }
    }

    fn read(&self, address: u8) -> u8 {
        match address {
            register::SW_DATA => self.switches,
            register::ERR_CONFIG => self.config,
            register::ERR_FLAGS => self.flags,
            register::BURST_EN => u8::from(self.burst),
            _ => 0,
        }
    }

    fn write(&mut self, address: u8, data: u8, half_reset: bool) {
        match address {
            register::SW_DATA => self.switches = data,
            register::ERR_CONFIG => self.config = data & (error::CRC | error::SCLK | error::RW),
            register::BURST_EN => self.burst = data & 1 != 0,
            register::SOFT_RESETB if half_reset && data == SOFT_RESET[1] => *self = self.fresh(),
            register::SOFT_RESETB => self.half_reset = data == SOFT_RESET[0],
            _ => {}
        }
    }

    /// Daisy-chain mode: the last eight bits set the switches, SDO is SDI eight clocks late. Only RESET ends it.
    fn chain(&mut self, sdi: &[u8], sdo: &mut [u8]) {
        if let ([head @ .., last], [first, tail @ ..]) = (sdi, sdo) {
            *first = 0;
            tail.copy_from_slice(head);
            self.switches = *last;
        }
    }
}

impl SpiChip for Adgs1414d {
    /// Executes a frame of 16 clocks, 24 with the CRC enabled; too few clocks execute nothing, with too many the first
    /// 16 or 24 count, and both raise the SCLK flag. In burst mode every whole command of a frame counts.
    fn frame(&mut self, sdi: &[u8], sdo: &mut [u8], _at_ns: u64) -> bool {
        if self.held {
            sdo.fill(0xff);
            return false;
        }
        let before = self.switches;
        if self.daisy_chain {
            self.chain(sdi, sdo);
            return self.switches != before;
        }
        let length = if self.crc_enabled() { 3 } else { 2 };
        let commands = if self.burst { sdi.len() / length } else { (sdi.len() / length).min(1) };
        sdo.fill(0);
        if let Some(first) = sdo.first_mut() {
            *first = ALIGNMENT;
        }
        if sdi.len() != (commands * length).max(length) {
            self.flag(error::SCLK);
        }
        for (sdi, sdo) in sdi.chunks_exact(length).zip(sdo.chunks_exact_mut(length)).take(commands) {
            sdo[0] = ALIGNMENT;
            self.command([sdi[0], sdi[1]], sdi.get(2).copied(), sdo);
        }
        self.switches != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send<const N: usize>(chip: &mut Adgs1414d, frame: [u8; N]) -> [u8; N] {
        let mut back = [0; N];
        chip.frame(&frame, &mut back, 0);
        back
    }

    fn with_crc(first: u8, data: u8) -> [u8; 3] {
        [first, data, CRC8.checksum(&[first, data])]
    }

    fn flags(chip: &mut Adgs1414d) -> u8 {
        send(chip, [READ | register::ERR_FLAGS, 0])[1]
    }

    fn crc_on() -> Adgs1414d {
        let mut chip = Adgs1414d::new();
        send(&mut chip, [register::ERR_CONFIG, 7]);
        chip
    }

    #[test]
    fn the_crc_is_the_one_of_the_published_driver() {
        // CRC-8 with polynomial 0x07 and start 0 of "123456789" in every catalogue of CRCs.
        assert_eq!(CRC8.checksum(b"123456789"), 0xf4);
    }

    #[test]
    fn all_switches_are_open_after_power_on_and_close_on_a_16_bit_write() {
        let mut chip = Adgs1414d::new();
        assert_eq!(chip.closed(), 0);
        assert_eq!(send(&mut chip, [register::SW_DATA, 0xa5]), [ALIGNMENT, 0]);
        assert_eq!(chip.closed(), 0xa5);
        assert_eq!(send(&mut chip, [READ | register::SW_DATA, 0]), [ALIGNMENT, 0xa5]);
        assert_eq!(send(&mut chip, [READ | register::ERR_CONFIG, 0]), [ALIGNMENT, 6]);
    }

    #[test]
    fn with_the_crc_on_frames_have_24_bit_and_reads_carry_a_crc_over_command_and_data() {
        let mut chip = crc_on();
        send(&mut chip, with_crc(register::SW_DATA, 0x3c));
        assert_eq!(chip.closed(), 0x3c);
        let back = send(&mut chip, [READ | register::SW_DATA, 0, 0]);
        assert_eq!(back, [ALIGNMENT, 0x3c, CRC8.checksum(&[READ | register::SW_DATA, 0x3c])]);
    }

    #[test]
    fn a_bad_crc_latches_its_flag_and_the_write_is_not_executed() {
        let mut chip = crc_on();
        let [first, data, crc] = with_crc(register::SW_DATA, 0xff);
        send(&mut chip, [first, data, crc ^ 1]);
        assert_eq!(chip.closed(), 0);
        let back = send(&mut chip, [READ | register::ERR_FLAGS, 0, 0]);
        assert_eq!(back[1], error::CRC);
        let [first, data, crc] = with_crc(CLEAR_FLAGS[0], CLEAR_FLAGS[1]);
        send(&mut chip, [first, data, crc ^ 0x80]);
        assert_eq!(chip.flags, error::CRC);
        send(&mut chip, [first, data, crc]);
        assert_eq!(chip.flags, 0);
    }

    #[test]
    fn too_few_clocks_execute_nothing_and_too_many_execute_the_first_command_and_both_are_flagged() {
        let mut chip = Adgs1414d::new();
        send(&mut chip, [register::SW_DATA]);
        assert_eq!((chip.closed(), flags(&mut chip)), (0, error::SCLK));
        send(&mut chip, CLEAR_FLAGS);
        send(&mut chip, [register::SW_DATA, 0x11, 0x22]);
        assert_eq!((chip.closed(), flags(&mut chip)), (0x11, error::SCLK));
        let mut chip = crc_on();
        send(&mut chip, [register::SW_DATA, 0x11]);
        assert_eq!((chip.closed(), chip.flags), (0, error::SCLK));
    }

    #[test]
    fn unknown_addresses_and_writes_to_read_only_registers_are_flagged_and_not_executed() {
        for frame in [[0x04, 1], [READ | 0x10, 0], [register::ERR_FLAGS, 0]] {
            let mut chip = Adgs1414d::new();
            send(&mut chip, frame);
            assert_eq!((chip.closed(), flags(&mut chip)), (0, error::RW));
        }
    }

    #[test]
    fn a_check_that_is_off_raises_no_flag() {
        let mut chip = Adgs1414d::new();
        send(&mut chip, [register::ERR_CONFIG, 0]);
        send(&mut chip, [0x04, 1]);
        send(&mut chip, [register::SW_DATA, 0, 0]);
        assert_eq!(flags(&mut chip), 0);
    }

    #[test]
    fn soft_reset_takes_its_two_words_in_a_row() {
        let mut chip = crc_on();
        send(&mut chip, with_crc(register::SW_DATA, 1));
        send(&mut chip, with_crc(register::SOFT_RESETB, SOFT_RESET[0]));
        send(&mut chip, [READ | register::SW_DATA, 0, 0]);
        send(&mut chip, with_crc(register::SOFT_RESETB, SOFT_RESET[1]));
        assert_eq!(chip.closed(), 1);
        send(&mut chip, with_crc(register::SOFT_RESETB, SOFT_RESET[0]));
        send(&mut chip, with_crc(register::SOFT_RESETB, SOFT_RESET[1]));
        assert_eq!(chip.closed(), 0);
        assert!(!chip.crc_enabled());
    }

    #[test]
    fn the_reset_pin_opens_all_and_keeps_them_open() {
        let mut chip = crc_on();
        send(&mut chip, with_crc(register::SW_DATA, 0xff));
        chip.set_reset(true);
        assert_eq!(send(&mut chip, [register::SW_DATA, 0xff]), [0xff; 2]);
        assert_eq!(chip.closed(), 0);
        chip.set_reset(false);
        assert_eq!(chip.closed(), 0);
        send(&mut chip, [register::SW_DATA, 0x0f]);
        assert_eq!(chip.closed(), 0x0f);
    }

    #[test]
    fn burst_mode_executes_every_command_of_a_frame() {
        let mut chip = Adgs1414d::new();
        send(&mut chip, [register::BURST_EN, 1]);
        let back = send(&mut chip, [register::SW_DATA, 7, READ | register::SW_DATA, 0]);
        assert_eq!(back, [ALIGNMENT, 0, ALIGNMENT, 7]);
        assert_eq!(flags(&mut chip), 0);
    }

    #[test]
    fn daisy_chain_mode_takes_the_last_byte_and_only_the_reset_pin_ends_it() {
        let mut chip = Adgs1414d::new();
        send(&mut chip, DAISY_CHAIN);
        assert_eq!(send(&mut chip, [0x01, 0x80]), [0, 0x01]);
        assert_eq!(chip.closed(), 0x80);
        send(&mut chip, [register::SOFT_RESETB, SOFT_RESET[0]]);
        send(&mut chip, [register::SOFT_RESETB, SOFT_RESET[1]]);
        assert_eq!(chip.closed(), SOFT_RESET[1]);
        chip.set_reset(true);
        chip.set_reset(false);
        send(&mut chip, [register::SW_DATA, 2]);
        assert_eq!(chip.closed(), 2);
    }
}
