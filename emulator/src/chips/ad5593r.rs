//! AD5593R: eight configurable pins on I²C, as far as they are DACs; ADC, GPIO and temperature sequences are not modelled.
//!
//! Registers: Linux `drivers/iio/dac/ad5592r-base.h` and `ad5593r.c`; what a DAC read-back looks like, LDAC modes and values after a
//! reset: Analog Devices data sheet rev. D, "DAC read back", "LDAC mode register", "Reset function".

/// I²C address with A0 high.
pub const ADDRESS: u8 = 0x11;
/// Pins.
pub const CHANNELS: usize = 8;
/// After a reset it acknowledges nothing for so long, ns (Linux `ad5592r_reset`: 250 µs).
const RESET_NS: u64 = 250_000;

/// Modes in the pointer byte's high nibble.
mod mode {
    pub(super) const CONFIGURE: u8 = 0;
    pub(super) const DAC_WRITE: u8 = 1;
    pub(super) const DAC_READ: u8 = 5;
    pub(super) const REGISTER_READ: u8 = 7;
}

/// Registers by number.
mod register {
    pub(super) const CONTROL: usize = 0x3;
    pub(super) const DAC_ENABLE: usize = 0x5;
    pub(super) const LDAC: usize = 0x7;
    pub(super) const POWER_DOWN: usize = 0xb;
    pub(super) const RESET: usize = 0xf;
}

/// Written to the reset register, it resets.
const RESET_WORD: u16 = 0x0dac;
/// The DACs' range is twice the reference.
const DOUBLE_RANGE: u16 = 1 << 4;
/// The reference inside, on.
const INTERNAL_REFERENCE: u16 = 1 << 9;
/// Its voltage, V.
const INTERNAL_V: f64 = 2.5;

/// One chip.
#[derive(Clone, Debug)]
pub struct Ad5593r {
    /// It acknowledges nothing.
    pub dead: bool,
    /// Bits to turn over in what it takes in: transactions ahead, and the bit from the first data byte's highest on.
    pub flips: alloc::vec::Vec<(u32, u8)>,
    external_v: f64,
    registers: [u16; 16],
    input: [u16; CHANNELS],
    output: [u16; CHANNELS],
    pointer: u8,
    deaf_until_ns: u64,
}

impl Ad5593r {
    /// As after power-on, with `external_v` at V_REF.
    pub fn new(external_v: f64) -> Self {
        Self {
            dead: false,
            flips: alloc::vec::Vec::new(),
            external_v,
            registers: [0; 16],
            input: [0; CHANNELS],
            output: [0; CHANNELS],
            pointer: 0,
            deaf_until_ns: 0,
        }
    }

    /// As [`new`](Self::new), with what is wrong with it.
    pub fn restart(&mut self) {
        let (dead, flips) = (self.dead, core::mem::take(&mut self.flips));
        *self = Self { dead, flips, ..Self::new(self.external_v) };
    }

    /// What the DAC of a pin puts out, V, and its code; nothing unless the pin is a DAC that is on.
    pub fn output(&self, channel: usize) -> Option<(f64, u16)> {
        let enabled = self.registers[register::DAC_ENABLE] >> channel & 1 != 0;
        let off = self.registers[register::POWER_DOWN] >> channel & 1 != 0;
        if !enabled || off {
            return None;
        }
        let code = self.output[channel];
        Some((f64::from(code) * self.lsb_v(), code))
    }

    /// A step of a DAC, V.
    pub fn lsb_v(&self) -> f64 {
        let internal = self.registers[register::POWER_DOWN] & INTERNAL_REFERENCE != 0;
        let range = if self.registers[register::CONTROL] & DOUBLE_RANGE != 0 { 2.0 } else { 1.0 };
        range * if internal { INTERNAL_V } else { self.external_v } / 4096.0
    }

    /// Whether it hears its address.
    pub fn listens(&self) -> bool {
        !self.dead
    }

    /// One transaction addressed to this chip: pointer and perhaps 16 bits, then reads. Returns whether it acknowledged.
    pub fn transaction(&mut self, out: &[u8], input: &mut [u8], at_ns: u64) -> bool {
        if self.dead || at_ns < self.deaf_until_ns {
            return false;
        }
        if let [pointer, data @ ..] = out {
            self.pointer = *pointer;
            if let [high, low, ..] = data {
                let mut value = u16::from_be_bytes([*high, *low]);
                self.flips.retain_mut(|(ahead, bit)| {
                    if *ahead == 0 {
                        value ^= 0x8000 >> *bit;
                        return false;
                    }
                    *ahead -= 1;
                    true
                });
                self.write(value, at_ns);
            }
        }
        let value = self.read().to_be_bytes();
        for (byte, value) in input.iter_mut().zip(value.into_iter().cycle()) {
            *byte = value;
        }
        true
    }

    fn write(&mut self, value: u16, at_ns: u64) {
        let number = usize::from(self.pointer & 0xf);
        match self.pointer >> 4 {
            mode::DAC_WRITE if number < CHANNELS => {
                self.input[number] = value & 0xfff;
                if self.registers[register::LDAC] & 3 == 0 {
                    self.output[number] = self.input[number];
                }
            }
            mode::CONFIGURE if number == register::RESET && value == RESET_WORD => {
                self.restart();
                self.deaf_until_ns = at_ns + RESET_NS;
            }
            mode::CONFIGURE if number != register::RESET => {
                self.registers[number] = value;
                // Mode 2 puts all of them out once.
                if number == register::LDAC && value & 3 == 2 {
                    self.output = self.input;
                }
            }
            _ => {}
        }
    }

    fn read(&self) -> u16 {
        let number = usize::from(self.pointer & 0xf);
        match self.pointer >> 4 {
            mode::DAC_READ if number < CHANNELS => 0x8000 | (number as u16) << 12 | self.output[number],
            mode::REGISTER_READ => self.registers[number],
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(chip: &mut Ad5593r, pointer: u8, value: u16) {
        let [high, low] = value.to_be_bytes();
        assert!(chip.transaction(&[pointer, high, low], &mut [], 1_000_000));
    }

    fn read(chip: &mut Ad5593r, pointer: u8) -> u16 {
        let mut back = [0; 2];
        assert!(chip.transaction(&[pointer], &mut back, 1_000_000));
        u16::from_be_bytes(back)
    }

    #[test]
    fn a_pin_puts_out_its_code_once_it_is_a_dac() {
        let mut chip = Ad5593r::new(1.5);
        write(&mut chip, 0x13, 0x800);
        assert_eq!(chip.output(3), None);
        write(&mut chip, 0x05, 0xff);
        assert_eq!(chip.output(3), Some((0.75, 0x800)));
        write(&mut chip, 0x03, DOUBLE_RANGE);
        assert_eq!(chip.output(3), Some((1.5, 0x800)));
        assert_eq!(read(&mut chip, 0x53), 0xb800);
        assert_eq!(read(&mut chip, 0x75), 0xff);
        write(&mut chip, 0x0b, 1 << 3 | INTERNAL_REFERENCE);
        assert_eq!(chip.output(3), None);
        assert_eq!(chip.lsb_v(), 5.0 / 4096.0);
    }

    #[test]
    fn codes_wait_for_ldac_where_they_are_told_to() {
        let mut chip = Ad5593r::new(1.5);
        write(&mut chip, 0x05, 0xff);
        write(&mut chip, 0x07, 1);
        write(&mut chip, 0x10, 0x400);
        assert_eq!(chip.output(0), Some((0.0, 0)));
        write(&mut chip, 0x07, 2);
        assert_eq!(chip.output(0), Some((0.375, 0x400)));
    }

    #[test]
    fn a_reset_forgets_everything_and_takes_its_time() {
        let mut chip = Ad5593r::new(1.5);
        write(&mut chip, 0x05, 0xff);
        write(&mut chip, 0x0f, 0x0dad);
        assert_eq!(read(&mut chip, 0x75), 0xff);
        write(&mut chip, 0x0f, RESET_WORD);
        assert!(!chip.transaction(&[0x75], &mut [0; 2], 1_000_000 + RESET_NS - 1));
        assert!(chip.transaction(&[0x75], &mut [0; 2], 1_000_000 + RESET_NS));
        assert_eq!(chip.output(0), None);
    }

    #[test]
    fn a_flip_hits_the_write_it_is_meant_for() {
        let mut chip = Ad5593r::new(1.5);
        chip.flips.push((1, 4));
        write(&mut chip, 0x10, 0);
        write(&mut chip, 0x11, 0);
        write(&mut chip, 0x12, 0);
        assert_eq!([0x50, 0x51, 0x52].map(|pointer| read(&mut chip, pointer) & 0xfff), [0, 0x800, 0]);
    }
}
