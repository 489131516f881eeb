//! AD7606C-16: eight simultaneously sampling 16-bit ADC channels, in software mode with one DOUT line and CRC.
//!
//! Sources: Analog Devices no-OS `drivers/adc/ad7606` ("no-OS" below), Linux `drivers/iio/adc/ad7606*.c`, and the AD7606C-16
//! datasheet where named. Conversions are read as one 18-byte frame: eight big-endian samples and a CRC-16. A register
//! frame is read bit and 6-bit address, data byte, and once CRC is on a CRC-8 over both; the reply to a read is in
//! the next frame. A first read frame enters register mode; writing 0 to register 0 leaves it.

use crate::hardware::FramedSpi;
use crc::{CRC_8_SMBUS, CRC_16_OPENSAFETY_B, Crc, NoTable, Table};

#[cfg(test)]
mod tests;

/// Channels of the part.
pub const CHANNELS: usize = 8;
/// How long after a reset the chip needs before the first frame, µs (no-OS: DEVICE_SETUP, 253 µs).
pub const RESET_US: u32 = 253;
/// Magnitude above which a sample counts as saturated on the OR-16, V: its amplifiers are linear to ±5 V and clamp from 5.3 V.
pub const SATURATION_VOLTS: f32 = 5.2;

/// Full scale of the range used, V.
const RANGE_VOLTS: f32 = 6.25;
/// [`SATURATION_VOLTS`] in LSBs.
const SATURATION_CODE: u16 = (SATURATION_VOLTS * 32768.0 / RANGE_VOLTS) as u16;

/// Bytes of a conversion frame: 8 samples and the CRC, 144 clocks.
const CONVERSION: usize = 2 * CHANNELS + 2;
/// Bytes of a register frame with CRC.
const FRAME: usize = 3;
/// Bit of an address byte that makes the frame a read (no-OS `AD7606_SERIAL_RD_FLAG_MSK`, Linux `ad7606b_spi_rd_wr_cmd`).
const READ: u8 = 0x40;
/// DEVICE_ID in bits 7:4, silicon revision in 3:0. Parts read 0x22 (no-OS issue 2283 and pull request 2298, found on
/// hardware); the datasheet says 0x31. An AD7606B has device ID 1.
const DEVICE_IDS: [u8; 2] = [0x2, 0x3];
/// Register 0 written with 0: back to conversion mode.
const LEAVE: [u8; 2] = [0, 0];

/// Conversion frames: polynomial 0x755B, seed 0, over the 16 data bytes (no-OS `ad7606_spi_data_read`).
/// Catalogued as CRC-16/OPENSAFETY-B.
static DATA_CRC: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&CRC_16_OPENSAFETY_B);
/// Register frames: polynomial 0x07, seed 0, over both bytes, either way (no-OS `ad7606_spi_reg_read`). Catalogued as CRC-8/SMBUS.
static REGISTER_CRC: Crc<u8, NoTable> = Crc::<u8, NoTable>::new(&CRC_8_SMBUS);

/// A register (no-OS `ad7606.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Register {
    /// Operation mode, DOUT lines (bits 4:3), status header (bit 6).
    Config = 0x02,
    /// Range of channels 1 (low nibble) and 2 (high nibble).
    Range12 = 0x03,
    /// Range of channels 3 and 4.
    Range34 = 0x04,
    /// Range of channels 5 and 6.
    Range56 = 0x05,
    /// Range of channels 7 and 8.
    Range78 = 0x06,
    /// One bit per channel: wide bandwidth.
    Bandwidth = 0x07,
    /// Which diagnostics are on.
    DiagnosticEnable = 0x21,
    /// Which diagnostics have failed.
    DiagnosticError = 0x22,
    /// Device ID and silicon revision.
    Id = 0x2F,
}

/// Diagnostics that are turned on: CRC of ROM (bit 0), memory map (1), and interface (2), which adds both CRCs
/// to the frames (no-OS `AD7606_*_CRC_ERR_EN_MSK`).
const DIAGNOSTICS: u8 = 0x07;

/// What is written at initialisation while CRC is on, and read back together with [`DIAGNOSTICS`].
const SETUP: [(Register, u8); 6] = [
    // Normal operation, one DOUT line, no status header (the reset value has two lines).
    (Register::Config, 0x00),
    // ±6.25 V single-ended is range code 2 (no-OS `ad7606c_range_table`).
    (Register::Range12, 0x22),
    (Register::Range34, 0x22),
    (Register::Range56, 0x22),
    (Register::Range78, 0x22),
    // 220 kHz instead of 25 kHz on every channel. Address from no-OS; no public driver writes this register, so that
    // That 1 means wide (220 kHz) no public driver shows: unverified, to be confirmed on the first board.
    (Register::Bandwidth, 0xFF),
];

/// One sample, two's complement, ±6.25 V full scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdcCode(pub i16);

impl AdcCode {
    /// Volts at the input: 6.25 V / 32768 per LSB, exact in `f32`.
    pub fn volts(self) -> f32 {
        f32::from(self.0) * RANGE_VOLTS / 32768.0
    }

    /// Whether the magnitude is above [`SATURATION_VOLTS`].
    pub fn is_saturated(self) -> bool {
        self.0.unsigned_abs() > SATURATION_CODE
    }
}

/// Diagnostics that have failed (DIGITAL_DIAG_ERR; no-OS has the bits in `AD7606_REG_DIGITAL_DIAG_ENABLE`'s order).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiagnosticErrors(u8);

impl DiagnosticErrors {
    /// The factory trim in ROM is damaged.
    pub fn rom_crc(self) -> bool {
        self.0 & 1 != 0
    }

    /// A register has changed without being written.
    pub fn memory_map_crc(self) -> bool {
        self.0 & 2 != 0
    }

    /// A register frame came with a wrong CRC.
    pub fn interface_crc(self) -> bool {
        self.0 & 4 != 0
    }

    /// Whether nothing has failed.
    pub fn is_clear(self) -> bool {
        self.0 == 0
    }

    /// The register as read.
    pub fn bits(self) -> u8 {
        self.0
    }
}

/// What can go wrong with an AD7606C-16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    /// The SPI bus failed.
    #[error("SPI: {0:?}")]
    Bus(E),
    /// Something else answers, or nothing.
    #[error("identity is {found:#04x}, an AD7606C-16 has 2 or 3 in the high digit")]
    Identity {
        /// The register as read.
        found: u8,
    },
    /// A conversion frame's CRC is wrong.
    #[error("samples came with CRC {received:#06x}, computed {computed:#06x}")]
    DataCrc {
        /// CRC of the samples received.
        computed: u16,
        /// CRC that was received.
        received: u16,
    },
    /// A register reply's CRC is wrong.
    #[error("{register:?} came with CRC {received:#04x}, computed {computed:#04x}")]
    RegisterCrc {
        /// Which register was read.
        register: Register,
        /// CRC of what was received.
        computed: u8,
        /// CRC that was received.
        received: u8,
    },
    /// A register didn't keep what was written to it.
    #[error("{register:?} reads {read:#04x} after {wrote:#04x} was written")]
    ReadBack {
        /// Which register.
        register: Register,
        /// What was written.
        wrote: u8,
        /// What came back.
        read: u8,
    },
}

/// The driver. Between calls the chip is in conversion mode.
#[derive(Debug)]
pub struct Ad7606c<S> {
    spi: S,
}

impl<S: FramedSpi> Ad7606c<S> {
    /// Takes the chip; sends nothing.
    pub fn new(spi: S) -> Self {
        Self { spi }
    }

    /// Gives the bus handle back.
    pub fn release(self) -> S {
        self.spi
    }

    /// Checks the identity, sets ±6.25 V and wide bandwidth on all channels, turns the CRCs on, reads all of it back and
    /// returns to conversion mode. The chip must have been reset ([`RESET_US`] ago): one that has CRC on already
    /// ignores the short frames this begins with.
    pub fn init(&mut self) -> Result<(), Error<S::Error>> {
        let id = [READ | Register::Id as u8, 0];
        let mut replies = [[0; 2]; 2];
        self.spi
            .transfer_frames(2, [id, id].as_flattened(), replies.as_flattened_mut())
            .map_err(Error::Bus)?;
        let [_, [_, found]] = replies;
        if !DEVICE_IDS.contains(&(found >> 4)) {
            return Err(Error::Identity { found });
        }
        self.spi.write_frames(2, &[Register::DiagnosticEnable as u8, DIAGNOSTICS]).map_err(Error::Bus)?;
        let writes = SETUP.map(|(register, value)| sealed([register as u8, value]));
        self.spi.write_frames(FRAME, writes.as_flattened()).map_err(Error::Bus)?;

        let [config, range12, range34, range56, range78, bandwidth] = SETUP;
        let kept = [
            (Register::DiagnosticEnable, DIAGNOSTICS),
            config,
            range12,
            range34,
            range56,
            range78,
            bandwidth,
        ];
        let values = self.read_and_leave(kept.map(|(register, _)| register))?;
        match kept.into_iter().zip(values).find(|((_, wrote), read)| wrote != read) {
            Some(((register, wrote), read)) => Err(Error::ReadBack { register, wrote, read }),
            None => Ok(()),
        }
    }

    /// The samples of the last conversion, channel 1 first. BUSY must be low.
    pub fn read(&mut self) -> Result<[AdcCode; CHANNELS], Error<S::Error>> {
        // Zeros on SDI: what writes 0 to register 0, so that reading samples can't configure anything.
        let mut frame = [[0; 2]; CONVERSION / 2];
        self.spi
            .transfer_frames(CONVERSION, &[0; CONVERSION], frame.as_flattened_mut())
            .map_err(Error::Bus)?;
        let [samples @ .., crc] = frame;
        let computed = DATA_CRC.checksum(samples.as_flattened());
        let received = u16::from_be_bytes(crc);
        if computed != received {
            return Err(Error::DataCrc { computed, received });
        }
        // The CRC of zeros is zero: a part that was reset, which sends no CRC, or a line at 0 would pass.
        if received == 0 && samples.as_flattened().iter().all(|&byte| byte == 0) {
            let [read] = self.read_and_leave([Register::DiagnosticEnable])?;
            if read != DIAGNOSTICS {
                return Err(Error::ReadBack {
                    register: Register::DiagnosticEnable,
                    wrote: DIAGNOSTICS,
                    read,
                });
            }
        }
        Ok(samples.map(|sample| AdcCode(i16::from_be_bytes(sample))))
    }

    /// Which diagnostics have failed.
    pub fn diagnostic_errors(&mut self) -> Result<DiagnosticErrors, Error<S::Error>> {
        let [errors] = self.read_and_leave([Register::DiagnosticError])?;
        Ok(DiagnosticErrors(errors))
    }

    /// Reads registers with CRC on and returns to conversion mode, in one burst.
    fn read_and_leave<const N: usize>(
        &mut self,
        registers: [Register; N],
    ) -> Result<[u8; N], Error<S::Error>> {
        // Each read twice, as no-OS does: the second frame carries the first one's reply, whatever mode it was sent in.
        let reads = registers.map(|register| [sealed([READ | register as u8, 0]); 2]);
        let mut replies = [[[0; FRAME]; 2]; N];
        self.spi
            .transfer_frames(
                FRAME,
                reads.as_flattened().as_flattened(),
                replies.as_flattened_mut().as_flattened_mut(),
            )
            .map_err(Error::Bus)?;
        // Twice as well: one that is damaged on its way isn't obeyed, and what a part in register mode sends for samples are zeros
        // with a right CRC. Out of that mode zeros are no command.
        self.spi.write_frames(FRAME, [sealed(LEAVE); 2].as_flattened()).map_err(Error::Bus)?;

        let mut values = [0; N];
        for ((value, register), [_, [first, data, received]]) in values.iter_mut().zip(registers).zip(replies)
        {
            let computed = REGISTER_CRC.checksum(&[first, data]);
            if computed != received {
                return Err(Error::RegisterCrc { register, computed, received });
            }
            *value = data;
        }
        Ok(values)
    }
}

/// `payload` with its CRC.
fn sealed(payload: [u8; 2]) -> [u8; FRAME] {
    let [first, second] = payload;
    [first, second, REGISTER_CRC.checksum(&payload)]
}
