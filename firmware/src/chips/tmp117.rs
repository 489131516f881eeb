//! TMP117: I²C temperature sensor, ±0.1 K, 7.8125 mK per LSB.
//!
//! Source: Texas Instruments TMP117 datasheet SNOSD82D, section 7.6 (register map), and Linux
//! `drivers/iio/temperature/tmp117.c`. Registers are 16 bits, most significant byte first, behind a one-byte pointer.

use embedded_hal::i2c::I2c;

#[cfg(test)]
mod tests;

/// Address with ADD0 tied to ground.
pub const ADDRESS: u8 = 0x48;

/// Temp_Result.
const TEMPERATURE: u8 = 0x00;
/// Configuration.
const CONFIGURATION: u8 = 0x01;
/// Device_ID.
const DEVICE_ID: u8 = 0x0F;

/// Device_ID bits 11:0; bits 15:12 are the silicon revision.
const ID: u16 = 0x117;
const ID_MASK: u16 = 0x0FFF;
/// Configuration: a conversion has ended since the flag was last read (reading clears it).
const DATA_READY: u16 = 1 << 13;
/// Configuration fields that are written: MOD (11:10), CONV (9:7), AVG (6:5).
const CONVERSION_MASK: u16 = 0x0FE0;
/// MOD 00 continuous, CONV 100 one result a second, AVG 01 eight conversions averaged: the factory default, 0x0220.
const CONTINUOUS: u16 = 0x0220;
/// MOD 11 one shot, AVG 01.
const ONE_SHOT: u16 = 0x0C20;
/// Temp_Result after a reset, before the first conversion (−256 °C).
const NO_RESULT: i16 = i16::MIN;
/// 0 °C in kelvin.
const ZERO_CELSIUS: f32 = 273.15;
/// What the part is specified for, −55 to 150 °C (datasheet section 6.3), LSBs.
const RANGE: core::ops::RangeInclusive<i16> = -55 * 128..=150 * 128;
/// Reads of a result among which two in a row must agree: I²C has no check, and a conversion may end between two of them.
const READS: u8 = 4;
/// LSBs per kelvin: 1 / 7.8125 mK.
const LSB_PER_KELVIN: f32 = 128.0;

/// How long a one-shot with eight averages takes at most, ms (datasheet section 6.5: 8 × 17.5 ms).
pub const ONE_SHOT_MS: u32 = 140;

/// What can go wrong with a TMP117.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    /// The I²C bus failed.
    #[error("I2C: {0:?}")]
    Bus(E),
    /// Something else answers at this address.
    #[error("device ID is {found:#06x}, a TMP117 has {expected:#05x} in the low 12 bits")]
    Identity {
        /// The identity of the part, bits 11:0.
        expected: u16,
        /// The whole register as read.
        found: u16,
    },
    /// The configuration didn't keep what was written to it.
    #[error("configuration reads {read:#06x} after {wrote:#06x} was written")]
    ReadBack {
        /// What was written.
        wrote: u16,
        /// What came back in the fields that were written.
        read: u16,
    },
    /// No two reads of a result agree, or they agree on a temperature that the part can't measure.
    #[error("the result reads {raw}, which is no temperature or not the same twice")]
    Result {
        /// The last of them, LSBs.
        raw: i16,
    },
}

/// The driver.
#[derive(Debug)]
pub struct Tmp117<I> {
    i2c: I,
    address: u8,
}

impl<I: I2c> Tmp117<I> {
    /// Takes the bus; sends nothing. `address` is the 7-bit one, [`ADDRESS`] on the OR-16.
    pub fn new(i2c: I, address: u8) -> Self {
        Self { i2c, address }
    }

    /// Gives the bus back.
    pub fn release(self) -> I {
        self.i2c
    }

    /// Checks the identity and starts continuous conversion.
    pub fn init(&mut self) -> Result<(), Error<I::Error>> {
        let found = self.read(DEVICE_ID)?;
        if found & ID_MASK != ID {
            return Err(Error::Identity { expected: ID, found });
        }
        self.continuous()
    }

    /// One result a second, eight conversions averaged; read back.
    pub fn continuous(&mut self) -> Result<(), Error<I::Error>> {
        self.write(CONFIGURATION, CONTINUOUS)?;
        let read = self.read(CONFIGURATION)? & CONVERSION_MASK;
        if read == CONTINUOUS { Ok(()) } else { Err(Error::ReadBack { wrote: CONTINUOUS, read }) }
    }

    /// One result, eight conversions averaged, at most [`ONE_SHOT_MS`] from now; then shutdown.
    /// Not read back: the mode field changes by itself and reading would clear the data-ready flag.
    pub fn one_shot(&mut self) -> Result<(), Error<I::Error>> {
        self.write(CONFIGURATION, ONE_SHOT)
    }

    /// Temperature in kelvin, or `None` if no conversion has ended since the last call. Read until it reads the same twice.
    pub fn temperature_kelvin(&mut self) -> Result<Option<f32>, Error<I::Error>> {
        if self.read(CONFIGURATION)? & DATA_READY == 0 {
            return Ok(None);
        }
        let mut raw = self.read(TEMPERATURE)? as i16;
        for _ in 1..READS {
            let again = self.read(TEMPERATURE)? as i16;
            if again == raw {
                return match raw {
                    NO_RESULT => Ok(None),
                    raw if RANGE.contains(&raw) => Ok(Some(f32::from(raw) / LSB_PER_KELVIN + ZERO_CELSIUS)),
                    raw => Err(Error::Result { raw }),
                };
            }
            raw = again;
        }
        Err(Error::Result { raw })
    }

    fn read(&mut self, register: u8) -> Result<u16, Error<I::Error>> {
        let mut value = [0; 2];
        self.i2c.write_read(self.address, &[register], &mut value).map_err(Error::Bus)?;
        Ok(u16::from_be_bytes(value))
    }

    fn write(&mut self, register: u8, value: u16) -> Result<(), Error<I::Error>> {
        let [high, low] = value.to_be_bytes();
        self.i2c.write(self.address, &[register, high, low]).map_err(Error::Bus)
    }
}
