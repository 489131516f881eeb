//! AD5593R: eight pins on I²C that can be 12-bit DACs, ADCs or digital; here all of them are DACs.
//!
//! Sources: Linux `drivers/iio/dac/ad5592r-base.h` (register numbers, bits, the reset word) and `ad5593r.c` (pointer bytes, byte
//! order), `ad5592r-base.c` (250 µs after a reset, steps of V_REF / 2¹²); Analog Devices AD5593R data sheet rev. D, table 3 (SCL
//! period at least 2.5 µs) and "DAC read back" (channel in bits 14:12). A transaction is a pointer byte and 16 bits, the most
//! significant byte first. Nothing on the wire carries a check, so what matters is read back.

use embedded_hal::i2c::I2c;

#[cfg(test)]
mod tests;

/// Address with A0 high.
pub const ADDRESS: u8 = 0x11;
/// Pins.
pub const CHANNELS: usize = 8;
/// How long it hears nothing after a reset, µs (Linux `ad5592r_reset`).
pub const RESET_US: u32 = 250;

/// Pointer byte: mode in the high nibble, register or channel in the low one (Linux `ad5593r.c`, `AD5593R_MODE_*`).
mod pointer {
    pub(super) const CONFIGURE: u8 = 0x00;
    pub(super) const DAC_WRITE: u8 = 0x10;
    pub(super) const DAC_READ: u8 = 0x50;
    pub(super) const REGISTER_READ: u8 = 0x70;
}

/// Written to [`Register::Reset`], it resets (Linux `ad5592r_reset`).
const RESET_WORD: u16 = 0x0DAC;
/// What counts of a DAC's read-back.
const CODE_MASK: u16 = 0x0FFF;

/// Control registers that are used (Linux `enum ad5592r_registers`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Register {
    /// Ranges: bit 4 makes the DACs' 2·V_REF, bit 5 the ADC's.
    Control = 0x3,
    /// Which pins are DACs.
    DacEnable = 0x5,
    /// 0: a code is put out as it is written.
    Ldac = 0x7,
    /// Bit 9 turns the internal reference on, the others turn channels off.
    PowerDown = 0xB,
    /// Resets.
    Reset = 0xF,
}

/// All pins DACs of 0 to V_REF with the reference from outside, codes put out as they are written.
const SETTINGS: [(Register, u16); 4] =
    [(Register::PowerDown, 0), (Register::Control, 0), (Register::Ldac, 0), (Register::DacEnable, 0xFF)];

/// A pin, 0 to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel(u8);

impl Channel {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..CHANNELS as u8).map(Self)
    }

    /// `None` from 8 on.
    pub fn new(number: u16) -> Option<Self> {
        u8::try_from(number).ok().filter(|&number| usize::from(number) < CHANNELS).map(Self)
    }
}

/// A 12-bit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DacCode(u16);

impl DacCode {
    /// The middle of the range.
    pub const MIDDLE: Self = Self(0x800);
    /// The largest.
    pub const TOP: Self = Self(CODE_MASK);

    /// `None` beyond 12 bits.
    pub fn new(code: u16) -> Option<Self> {
        (code <= CODE_MASK).then_some(Self(code))
    }
}

/// What can go wrong with an AD5593R.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    /// The I²C bus failed.
    #[error("I2C: {0:?}")]
    Bus(E),
    /// A control register isn't as it was written.
    #[error("register {register:?} reads {read:#06x} after {wrote:#06x} was written")]
    Register {
        /// Which.
        register: Register,
        /// What was written.
        wrote: u16,
        /// What came back.
        read: u16,
    },
    /// A DAC's code isn't as it was written.
    #[error("DAC {} reads {read:#05x} after {:#05x} was written", .channel.0, .wrote.0)]
    Code {
        /// Which.
        channel: Channel,
        /// What was written.
        wrote: DacCode,
        /// What came back.
        read: u16,
    },
}

/// The driver.
#[derive(Debug)]
pub struct Ad5593r<I> {
    i2c: I,
    address: u8,
}

impl<I: I2c> Ad5593r<I> {
    /// Takes the bus; sends nothing. `address` is the 7-bit one.
    pub fn new(i2c: I, address: u8) -> Self {
        Self { i2c, address }
    }

    /// Resets it; it hears nothing for [`RESET_US`].
    ///
    /// # Errors
    /// The bus.
    pub fn reset(&mut self) -> Result<(), Error<I::Error>> {
        self.configure(Register::Reset, RESET_WORD)
    }

    /// Makes every pin a DAC at `code`; all of it is read back.
    ///
    /// # Errors
    /// The bus, or what reads back wrong.
    pub fn set_up(&mut self, code: DacCode) -> Result<(), Error<I::Error>> {
        for (register, value) in SETTINGS {
            self.configure(register, value)?;
        }
        for channel in Channel::all() {
            self.write(channel, code)?;
            self.verify(channel, code)?;
        }
        self.check()
    }

    /// Whether it is still set up: a chip that lost its supply is not.
    ///
    /// # Errors
    /// The bus, or the register that isn't as [`set_up`](Self::set_up) left it.
    pub fn check(&mut self) -> Result<(), Error<I::Error>> {
        SETTINGS.iter().try_for_each(|&(register, value)| self.check_register(register, value))
    }

    /// The quickest part of [`check`](Self::check): a reset leaves no pin a DAC.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub fn check_enabled(&mut self) -> Result<(), Error<I::Error>> {
        self.check_register(Register::DacEnable, 0xFF)
    }

    /// Puts one pin at a code.
    ///
    /// # Errors
    /// The bus.
    pub fn write(&mut self, channel: Channel, code: DacCode) -> Result<(), Error<I::Error>> {
        let [high, low] = code.0.to_be_bytes();
        self.i2c.write(self.address, &[pointer::DAC_WRITE | channel.0, high, low]).map_err(Error::Bus)
    }

    /// Whether one pin is at a code.
    ///
    /// # Errors
    /// The bus, or another code.
    pub fn verify(&mut self, channel: Channel, code: DacCode) -> Result<(), Error<I::Error>> {
        let read = self.read(pointer::DAC_READ | channel.0)? & CODE_MASK;
        if read == code.0 { Ok(()) } else { Err(Error::Code { channel, wrote: code, read }) }
    }

    fn check_register(&mut self, register: Register, value: u16) -> Result<(), Error<I::Error>> {
        let read = self.read(pointer::REGISTER_READ | register as u8)?;
        if read == value { Ok(()) } else { Err(Error::Register { register, wrote: value, read }) }
    }

    fn configure(&mut self, register: Register, value: u16) -> Result<(), Error<I::Error>> {
        let [high, low] = value.to_be_bytes();
        self.i2c.write(self.address, &[pointer::CONFIGURE | register as u8, high, low]).map_err(Error::Bus)
    }

    fn read(&mut self, pointer: u8) -> Result<u16, Error<I::Error>> {
        let mut value = [0; 2];
        self.i2c.write_read(self.address, &[pointer], &mut value).map_err(Error::Bus)?;
        Ok(u16::from_be_bytes(value))
    }
}
