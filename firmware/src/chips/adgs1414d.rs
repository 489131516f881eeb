//! ADGS1414D: eight SPST switches behind SPI, in address mode with CRC.
//!
//! Source: Analog Devices ADGS1414D datasheet ("Theory of operation", "Register details"), and no-OS
//! `drivers/switch/adgs5412` (the same interface with four switches), which checks alignment and CRC as done here.
//! A frame is read bit and 7-bit address, data byte, CRC-8 over both (x⁸+x²+x+1, seed 0); without CRC, as after a reset,
//! the last byte is missing. The chip's answer is in the same frame: 0x25, the data, and when reading a CRC-8 over
//! *our* first byte and its data.

use crate::hardware::FramedSpi;
use crc::{CRC_8_SMBUS, Crc, NoTable};

#[cfg(test)]
mod tests;

/// How long after a reset the chip needs before the first frame, µs (datasheet, "Power-on reset").
pub const RESET_US: u32 = 120;

/// Bytes of a frame with CRC.
const FRAME: usize = 3;
/// First byte of every answer (datasheet, "Address mode").
const ALIGNMENT: u8 = 0x25;
/// Bit of an address byte that makes the frame a read.
const READ: u8 = 0x80;
/// Special frame that clears the error flags (datasheet, "Clearing the error flags register").
const CLEAR_ERRORS: [u8; 2] = [0x6C, 0xA9];
/// ERR_CONFIG: CRC (bit 0), SCLK count (bit 1) and read/write address (bit 2) checks on.
const ALL_CHECKS: u8 = 0x07;

/// x⁸+x²+x+1, seed 0, not reflected: catalogued as CRC-8/SMBUS.
static CRC: Crc<u8, NoTable> = Crc::<u8, NoTable>::new(&CRC_8_SMBUS);

/// A register (datasheet, table 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Register {
    /// SW_DATA: bit n−1 closes switch n.
    Switches = 0x01,
    /// ERR_CONFIG: which errors are detected.
    ErrorConfig = 0x02,
    /// ERR_FLAGS: which errors were detected.
    ErrorFlags = 0x03,
}

/// Errors the chip has detected since they were last cleared (ERR_FLAGS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorFlags(u8);

impl ErrorFlags {
    /// A write came with a wrong CRC and was not done.
    pub fn crc(self) -> bool {
        self.0 & 1 != 0
    }

    /// A frame had a wrong number of clocks.
    pub fn clock_count(self) -> bool {
        self.0 & 2 != 0
    }

    /// An address doesn't exist, or can't be written.
    pub fn address(self) -> bool {
        self.0 & 4 != 0
    }

    /// Whether nothing was detected.
    pub fn is_clear(self) -> bool {
        self.0 == 0
    }

    /// The register as read.
    pub fn bits(self) -> u8 {
        self.0
    }
}

/// What can go wrong with an ADGS1414D.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    /// The SPI bus failed.
    #[error("SPI: {0:?}")]
    Bus(E),
    /// An answer didn't start with the alignment byte: no chip, or not in step with it.
    #[error("answer starts with {found:#04x}, expected {expected:#04x}")]
    Alignment {
        /// The alignment byte.
        expected: u8,
        /// What came instead.
        found: u8,
    },
    /// An answer's CRC is wrong.
    #[error("{register:?} came with CRC {received:#04x}, computed {computed:#04x}")]
    Crc {
        /// Which register was read.
        register: Register,
        /// CRC of what was received.
        computed: u8,
        /// CRC that was received.
        received: u8,
    },
    /// A register doesn't read as it must.
    #[error("{register:?} reads {read:#04x}, expected {expected:#04x}")]
    ReadBack {
        /// Which register.
        register: Register,
        /// What was written to it.
        expected: u8,
        /// What came back.
        read: u8,
    },
}

/// The driver.
#[derive(Debug)]
pub struct Adgs1414d<S> {
    spi: S,
}

impl<S: FramedSpi> Adgs1414d<S> {
    /// Takes the chip; sends nothing.
    pub fn new(spi: S) -> Self {
        Self { spi }
    }

    /// Gives the bus handle back.
    pub fn release(self) -> S {
        self.spi
    }

    /// Turns all error checks on, clears the flags and reads both back. The switches stay as they are.
    ///
    /// Works whether or not CRC is on already: to a chip that has it on, the first, short frame is one with too
    /// few clocks, which writes nothing and sets a flag that the next frame clears.
    pub fn init(&mut self) -> Result<(), Error<S::Error>> {
        self.spi.write_frames(2, &[Register::ErrorConfig as u8, ALL_CHECKS]).map_err(Error::Bus)?;
        let [_, checks, flags] = self.exchange([
            sealed(CLEAR_ERRORS),
            read_frame(Register::ErrorConfig),
            read_frame(Register::ErrorFlags),
        ])?;
        expect(Register::ErrorConfig, ALL_CHECKS, checked(Register::ErrorConfig, checks)?)?;
        expect(Register::ErrorFlags, 0, checked(Register::ErrorFlags, flags)?)
    }

    /// Closes the switches whose bits are set, opens the others, and reads back that it did. Bit 0 is switch 1.
    pub fn set(&mut self, switches: u8) -> Result<(), Error<S::Error>> {
        let write = sealed([Register::Switches as u8, switches]);
        let [_, answer] = self.exchange([write, read_frame(Register::Switches)])?;
        expect(Register::Switches, switches, checked(Register::Switches, answer)?)
    }

    /// Which switches are closed. Bit 0 is switch 1.
    pub fn get(&mut self) -> Result<u8, Error<S::Error>> {
        self.read(Register::Switches)
    }

    /// Errors the chip has detected since they were last cleared.
    pub fn error_flags(&mut self) -> Result<ErrorFlags, Error<S::Error>> {
        self.read(Register::ErrorFlags).map(ErrorFlags)
    }

    /// Clears the error flags and reads back that they are.
    pub fn clear_errors(&mut self) -> Result<(), Error<S::Error>> {
        let [_, flags] = self.exchange([sealed(CLEAR_ERRORS), read_frame(Register::ErrorFlags)])?;
        expect(Register::ErrorFlags, 0, checked(Register::ErrorFlags, flags)?)
    }

    fn read(&mut self, register: Register) -> Result<u8, Error<S::Error>> {
        let [answer] = self.exchange([read_frame(register)])?;
        checked(register, answer)
    }

    /// Sends `frames` as one burst; every answer must start with the alignment byte.
    fn exchange<const N: usize>(
        &mut self,
        frames: [[u8; FRAME]; N],
    ) -> Result<[[u8; FRAME]; N], Error<S::Error>> {
        let mut answers = [[0; FRAME]; N];
        self.spi
            .transfer_frames(FRAME, frames.as_flattened(), answers.as_flattened_mut())
            .map_err(Error::Bus)?;
        match answers.iter().find(|[first, ..]| *first != ALIGNMENT) {
            Some(&[found, ..]) => Err(Error::Alignment { expected: ALIGNMENT, found }),
            None => Ok(answers),
        }
    }
}

/// `payload` with its CRC.
fn sealed(payload: [u8; 2]) -> [u8; FRAME] {
    let [first, second] = payload;
    [first, second, CRC.checksum(&payload)]
}

fn read_frame(register: Register) -> [u8; FRAME] {
    sealed([READ | register as u8, 0])
}

/// The data of an answer to a read of `register`, if its CRC is right.
fn checked<E>(register: Register, [_, data, received]: [u8; FRAME]) -> Result<u8, Error<E>> {
    let computed = CRC.checksum(&[READ | register as u8, data]);
    if computed == received { Ok(data) } else { Err(Error::Crc { register, computed, received }) }
}

fn expect<E>(register: Register, expected: u8, read: u8) -> Result<(), Error<E>> {
    if read == expected { Ok(()) } else { Err(Error::ReadBack { register, expected, read }) }
}
