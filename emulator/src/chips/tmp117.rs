//! TMP117: a digital temperature sensor on I²C, converting on the instrument clock.
//!
//! Registers: Linux `drivers/iio/temperature/tmp117.c` and TI data sheet SNOSD82D, register map and "Device Functional
//! Modes". EEPROM programming, the ALERT pin and therm mode are not modelled.

use super::{BitFlip, LONGEST_FRAME, Wire, disturb, pass_frame};
use alloc::vec::Vec;

/// I²C address with ADD0 to ground (Linux: 0x48 to 0x4B).
pub const ADDRESS: u8 = 0x48;

mod register {
    pub(super) const RESULT: u8 = 0x00;
    pub(super) const CONFIGURATION: u8 = 0x01;
    pub(super) const HIGH_LIMIT: u8 = 0x02;
    pub(super) const LOW_LIMIT: u8 = 0x03;
    pub(super) const OFFSET: u8 = 0x07;
    pub(super) const DEVICE_ID: u8 = 0x0f;
}

/// Identity (Linux `TMP117_DEVICE_ID`).
const DEVICE_ID: u16 = 0x0117;
/// Registers 0 to 8 after reset (SNOSD82D, register map). The scratch EEPROM words are taken as blank.
const RESET: [u16; 9] = [0x8000, 0x0220, 0x6000, 0x8000, 0, 0, 0, 0, 0];
/// Steps per kelvin: 7.8125 m°C each (SNOSD82D, temperature register).
const STEPS_PER_KELVIN: f64 = 128.0;

/// Configuration fields (SNOSD82D, configuration register).
mod field {
    pub(super) const HIGH_ALERT: u16 = 1 << 15;
    pub(super) const LOW_ALERT: u16 = 1 << 14;
    pub(super) const DATA_READY: u16 = 1 << 13;
    pub(super) const SHUTDOWN: u16 = 1 << 10;
    pub(super) const MODE: u16 = 3 << 10;
    pub(super) const ONE_SHOT: u16 = 3 << 10;
    pub(super) const WRITABLE: u16 = 0x0ffc;
    pub(super) const SOFT_RESET: u16 = 1 << 1;
}

/// Active conversion time for the four averaging settings (1, 8, 32, 64 conversions), ns (SNOSD82D, "Averaging").
const ACTIVE_NS: [u64; 4] = [15_500_000, 125_000_000, 500_000_000, 1_000_000_000];
/// Cycle time by CONV where it is longer than the active time, ns (SNOSD82D, conversion cycle table).
const CYCLE_NS: [u64; 8] = [
    15_500_000,
    125_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    4_000_000_000,
    8_000_000_000,
    16_000_000_000,
];

/// Conversions that have ended.
struct Due {
    /// Since the configuration was written.
    finished: u64,
    /// End of the last one.
    ended_ns: u64,
}

/// One chip.
#[derive(Clone, Debug)]
pub struct Tmp117 {
    /// It acknowledges nothing.
    pub dead: bool,
    /// Bits to turn over on SDA, by transaction: [`Wire::Sdi`] in what is written, [`Wire::Sdo`] in what is read, the address
    /// apart.
    pub flips: Vec<BitFlip>,
    celsius: f64,
    registers: [u16; 9],
    pointer: u8,
    /// Start of the conversion under way or of the first cycle, ns.
    started_ns: u64,
    /// Conversions finished since.
    finished: u64,
}

impl Tmp117 {
    /// As after power-on at `at_ns` (continuous conversion, 8 averages, 1 s cycle) at `celsius` °C.
    pub fn new(celsius: f64, at_ns: u64) -> Self {
        Self {
            dead: false,
            flips: Vec::new(),
            celsius,
            registers: RESET,
            pointer: 0,
            started_ns: at_ns,
            finished: 0,
        }
    }

    /// Temperature at the chip from `at_ns` on, °C.
    pub fn set_celsius(&mut self, celsius: f64, at_ns: u64) {
        self.pass(at_ns);
        self.celsius = celsius;
    }

    /// Lets it follow a temperature that changes: the conversions due by `at_ns` are finished with what `celsius` says
    /// (°C) of the time (ns) at which the last of them ended.
    pub fn follow(&mut self, at_ns: u64, celsius: impl FnOnce(u64) -> f64) {
        if let Some(due) = self.due(at_ns) {
            self.celsius = celsius(due.ended_ns);
        }
        self.pass(at_ns);
    }

    /// One transaction addressed to this chip: pointer and perhaps a register value, then reads of the register.
    /// Returns whether it acknowledged.
    pub fn transaction(&mut self, out: &[u8], input: &mut [u8], at_ns: u64) -> bool {
        if self.dead {
            return false;
        }
        self.pass(at_ns);
        let mut heard = [0; LONGEST_FRAME];
        let heard = &mut heard[..out.len().min(LONGEST_FRAME)];
        heard.copy_from_slice(&out[..heard.len()]);
        disturb(&self.flips, Wire::Sdi, heard);
        if let [pointer, data @ ..] = &*heard {
            self.pointer = pointer & 0x0f;
            if let [high, low, ..] = data {
                self.write(u16::from_be_bytes([*high, *low]), at_ns);
            }
        }
        if !input.is_empty() {
            let value = self.read().to_be_bytes();
            // The bus is released after the register's two bytes.
            input.fill(0xff);
            for (byte, value) in input.iter_mut().zip(value) {
                *byte = value;
            }
        }
        disturb(&self.flips, Wire::Sdo, input);
        pass_frame(&mut self.flips);
        true
    }

    fn configuration(&mut self) -> &mut u16 {
        &mut self.registers[usize::from(register::CONFIGURATION)]
    }

    fn write(&mut self, value: u16, at_ns: u64) {
        match self.pointer {
            register::CONFIGURATION if value & field::SOFT_RESET != 0 => {
                let flips = core::mem::take(&mut self.flips);
                *self = Self { dead: self.dead, flips, ..Self::new(self.celsius, at_ns) };
            }
            register::CONFIGURATION => {
                let configuration = self.configuration();
                *configuration = (*configuration & !field::WRITABLE) | (value & field::WRITABLE);
                self.started_ns = at_ns;
                self.finished = 0;
            }
            register::RESULT => {}
            pointer => {
                if let Some(register) = self.registers.get_mut(usize::from(pointer)) {
                    *register = value;
                }
            }
        }
    }

    fn read(&mut self) -> u16 {
        let value = match self.pointer {
            register::DEVICE_ID => DEVICE_ID,
            pointer => self.registers.get(usize::from(pointer)).copied().unwrap_or(0),
        };
        match self.pointer {
            register::RESULT => *self.configuration() &= !field::DATA_READY,
            register::CONFIGURATION => {
                *self.configuration() &= !(field::DATA_READY | field::HIGH_ALERT | field::LOW_ALERT);
            }
            _ => {}
        }
        value
    }

    /// The conversions that are over by `at_ns` and not yet finished.
    fn due(&self, at_ns: u64) -> Option<Due> {
        let configuration = self.registers[usize::from(register::CONFIGURATION)];
        let active_ns = ACTIVE_NS[usize::from(configuration >> 5 & 3)];
        let cycle_ns = CYCLE_NS[usize::from(configuration >> 7 & 7)].max(active_ns);
        let elapsed = at_ns.saturating_sub(self.started_ns);
        let finished = match configuration & field::MODE {
            field::SHUTDOWN => 0,
            _ if elapsed < active_ns => 0,
            field::ONE_SHOT => 1,
            _ => 1 + (elapsed - active_ns) / cycle_ns,
        };
        let ended_ns = self.started_ns + active_ns + finished.saturating_sub(1) * cycle_ns;
        (finished > self.finished).then_some(Due { finished, ended_ns })
    }

    /// Finishes the conversions due by `at_ns`.
    fn pass(&mut self, at_ns: u64) {
        let Some(due) = self.due(at_ns) else { return };
        self.finished = due.finished;
        let configuration = *self.configuration();
        if configuration & field::MODE == field::ONE_SHOT {
            *self.configuration() = (configuration & !field::MODE) | field::SHUTDOWN;
            self.finished = 0;
        }
        self.latch();
    }

    fn latch(&mut self) {
        let steps = libm::rint(self.celsius * STEPS_PER_KELVIN) as i32;
        let offset = i32::from(self.registers[usize::from(register::OFFSET)] as i16);
        let result = (steps + offset).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
        self.registers[usize::from(register::RESULT)] = result as u16;
        let above = result > self.registers[usize::from(register::HIGH_LIMIT)] as i16;
        let below = result < self.registers[usize::from(register::LOW_LIMIT)] as i16;
        let mut flags = field::DATA_READY;
        flags |= if above { field::HIGH_ALERT } else { 0 };
        flags |= if below { field::LOW_ALERT } else { 0 };
        *self.configuration() |= flags;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn read(chip: &mut Tmp117, pointer: u8, at_ns: u64) -> u16 {
        let mut input = [0; 2];
        assert!(chip.transaction(&[pointer], &mut input, at_ns));
        u16::from_be_bytes(input)
    }

    fn write(chip: &mut Tmp117, pointer: u8, value: u16, at_ns: u64) {
        let [high, low] = value.to_be_bytes();
        assert!(chip.transaction(&[pointer, high, low], &mut [], at_ns));
    }

    #[test]
    fn it_tells_its_identity() {
        assert_eq!(read(&mut Tmp117::new(25.0, 0), register::DEVICE_ID, 0), 0x0117);
    }

    #[test]
    fn the_result_reads_minus_256_until_the_first_conversion_and_then_the_temperature() {
        let mut chip = Tmp117::new(25.0, 0);
        assert_eq!(read(&mut chip, register::RESULT, 124 * MS), 0x8000);
        assert_eq!(read(&mut chip, register::RESULT, 125 * MS), 25 * 128);
    }

    #[test]
    fn continuous_conversion_follows_the_temperature_once_a_cycle() {
        let mut chip = Tmp117::new(25.0, 0);
        chip.set_celsius(-10.0, 500 * MS);
        assert_eq!(read(&mut chip, register::RESULT, 1_124 * MS), 25 * 128);
        assert_eq!(read(&mut chip, register::RESULT, 1_125 * MS) as i16, -10 * 128);
    }

    #[test]
    fn a_changing_temperature_is_read_as_it_was_when_the_conversion_ended() {
        let mut chip = Tmp117::new(25.0, 0);
        // Conversions end 125 ms after each whole second.
        chip.follow(10_000 * MS, |ns| 20.0 + ns as f64 / 1e9);
        assert_eq!(read(&mut chip, register::RESULT, 10_000 * MS), (29.125 * 128.0) as u16);
        chip.follow(10_001 * MS, |_| unreachable!());
    }

    #[test]
    fn a_one_shot_takes_its_conversion_time_and_ends_in_shutdown() {
        let mut chip = Tmp117::new(25.0, 0);
        chip.set_celsius(30.0, 200 * MS);
        write(&mut chip, register::CONFIGURATION, field::ONE_SHOT, 200 * MS);
        assert_eq!(read(&mut chip, register::CONFIGURATION, 215 * MS), field::ONE_SHOT | field::DATA_READY);
        assert_eq!(read(&mut chip, register::CONFIGURATION, 215 * MS), field::ONE_SHOT);
        assert_eq!(read(&mut chip, register::CONFIGURATION, 216 * MS), field::SHUTDOWN | field::DATA_READY);
        chip.set_celsius(40.0, 216 * MS);
        assert_eq!(read(&mut chip, register::RESULT, 60_000 * MS), 30 * 128);
    }

    #[test]
    fn reading_configuration_or_result_clears_data_ready() {
        let mut chip = Tmp117::new(25.0, 0);
        assert_eq!(read(&mut chip, register::CONFIGURATION, 125 * MS), 0x0220 | field::DATA_READY);
        assert_eq!(read(&mut chip, register::CONFIGURATION, 126 * MS), 0x0220);
        read(&mut chip, register::RESULT, 1_125 * MS);
        assert_eq!(read(&mut chip, register::CONFIGURATION, 1_125 * MS), 0x0220);
    }

    #[test]
    fn limits_raise_alerts_and_the_offset_is_added() {
        let mut chip = Tmp117::new(25.0, 0);
        write(&mut chip, register::HIGH_LIMIT, 20 * 128, 0);
        write(&mut chip, register::OFFSET, 128, 0);
        assert_eq!(read(&mut chip, register::RESULT, 125 * MS), 26 * 128);
        assert_eq!(read(&mut chip, register::CONFIGURATION, 125 * MS), 0x0220 | field::HIGH_ALERT);
    }

    #[test]
    fn soft_reset_goes_back_to_power_on() {
        let mut chip = Tmp117::new(25.0, 0);
        write(&mut chip, register::CONFIGURATION, field::SHUTDOWN, 0);
        write(&mut chip, register::CONFIGURATION, field::SOFT_RESET, 10 * MS);
        assert_eq!(read(&mut chip, register::CONFIGURATION, 10 * MS), 0x0220);
        assert_eq!(read(&mut chip, register::RESULT, 20 * MS), 0x8000);
    }

    #[test]
    fn a_bit_turned_over_is_heard_or_read_wrong_once() {
        let mut chip = Tmp117::new(25.0, 0);
        chip.flips.push(BitFlip { frames_ahead: 1, wire: Wire::Sdo, bit: 3 });
        chip.flips.push(BitFlip { frames_ahead: 2, wire: Wire::Sdi, bit: 7 });
        let reads: [u16; 4] = core::array::from_fn(|_| read(&mut chip, register::RESULT, 125 * MS));
        // The third reads the configuration instead.
        assert_eq!(reads, [0x0c80, 0x1c80, 0x0220, 0x0c80]);
    }

    #[test]
    fn a_dead_chip_does_not_acknowledge() {
        let mut chip = Tmp117::new(25.0, 0);
        chip.dead = true;
        assert!(!chip.transaction(&[register::DEVICE_ID], &mut [0; 2], 0));
    }
}
