//! The bytes of the bench protocol that both ends must agree on: opcodes, limits, small encodings and the check over
//! a whole conversation. `docs/bench-protocol.md` says how they follow each other.

use super::{BenchInfo, ChipKind, ChipSelect, OutputLine};
use crate::bytes::joined;
use crc::{CRC_16_IBM_3740, Crc, Digest, NoTable};

/// Version of the bench protocol, stated by both ends in the greeting. Unrelated to the host protocol's.
pub const VERSION: u16 = 1;

/// Starts a greeting, wherever in the stream it appears. The first byte occurs nowhere else in it and is no opcode.
pub const HELLO: [u8; 8] = *b"\xA5ohmrig?";

/// Starts the answer to a greeting.
pub const HELLO_REPLY: [u8; 8] = *b"\xA5ohmrig!";

/// Most words in one SPI operation; a longer burst is several operations.
pub const MAX_BURST_WORDS: usize = 128;

/// Most bytes in one SPI operation.
pub const MAX_BURST_BYTES: usize = 384;

/// Most bytes an I²C operation writes, and most it reads.
pub const MAX_I2C_BYTES: usize = 32;

/// Most bytes a flash operation moves; a longer access is several operations.
pub const MAX_FLASH_CHUNK: usize = 256;

/// Most codes that one operation reads from the microcontroller's ADC.
pub const MAX_ADC_CODES: usize = 16;

/// In place of the number of frames that differ in the reply to [`opcode::SPI_RECALL`]: segments follow.
pub const RUN_CODED: u8 = 0xFF;

/// First byte of every operation but the greeting.
pub mod opcode {
    /// Asks for the clock only. Awaited.
    pub const NOW: u8 = 0x01;
    /// Varint ns: lets so much instrument time pass. Posted.
    pub const WAIT: u8 = 0x02;
    /// u64 LE ns: lets instrument time pass until then. Posted.
    pub const WAIT_UNTIL: u8 = 0x03;
    /// Line in the low 7 bits, level in the top one. Posted.
    pub const SET_OUTPUT: u8 = 0x04;
    /// Awaited; the answer is in the status.
    pub const SUPPLY_GOOD: u8 = 0x05;
    /// Varint ns. Posted.
    pub const START_PULSE: u8 = 0x08;
    /// Posted.
    pub const STOP_PULSE: u8 = 0x09;
    /// Awaited; the answer is in the status.
    pub const PULSE_DONE: u8 = 0x0A;
    /// Posted.
    pub const START_CONVERSION: u8 = 0x0C;
    /// Awaited; the answer is in the status.
    pub const CONVERSION_DONE: u8 = 0x0D;
    /// Chip, bytes per frame, frames, segments. Posted.
    pub const SPI_WRITE: u8 = 0x10;
    /// [`SPI_WRITE`] with frames of 3 bytes, which are not told.
    pub const SPI_WRITE_3: u8 = 0x11;
    /// [`SPI_WRITE`] with frames of 18 bytes, which are not told.
    pub const SPI_WRITE_18: u8 = 0x12;
    /// As [`SPI_WRITE`]. Awaited; the reply has segments.
    pub const SPI_TRANSFER: u8 = 0x14;
    /// [`SPI_TRANSFER`] with frames of 3 bytes, which are not told.
    pub const SPI_TRANSFER_3: u8 = 0x15;
    /// [`SPI_TRANSFER`] with frames of 18 bytes, which are not told.
    pub const SPI_TRANSFER_18: u8 = 0x16;
    /// Place in the memory, frames that differ, each with its position. Awaited; the reply tells what differs, or
    /// [`RUN_CODED`](super::RUN_CODED) and segments.
    pub const SPI_RECALL: u8 = 0x18;
    /// Address, bytes to write, bytes to read, the bytes to write. Awaited; the acknowledge is in the status.
    pub const I2C: u8 = 0x20;
    /// u32 LE offset, bytes − 1. Awaited.
    pub const FLASH_READ: u8 = 0x30;
    /// u32 LE offset, bytes − 1, bytes. Awaited.
    pub const FLASH_WRITE: u8 = 0x31;
    /// u32 LE offset. Awaited.
    pub const FLASH_ERASE: u8 = 0x32;
    /// u16 LE: closed switches. Posted.
    pub const SET_SWITCHES: u8 = 0x40;
    /// u16 LE: switches closed in a pulse. Posted.
    pub const ARM_SWITCHES: u8 = 0x41;
    /// u16 LE: code of the microcontroller's DAC. Posted.
    pub const SET_DAC: u8 = 0x42;
    /// First column, codes. Awaited; the reply has the codes, u16 LE.
    pub const READ_ADC: u8 = 0x43;
}

/// Bytes per chip-select frame, 1 to [`FrameSize::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSize(u8);

impl FrameSize {
    /// The longest frame.
    pub const MAX: usize = 32;

    /// `None` outside 1 to [`FrameSize::MAX`].
    pub fn new(bytes: usize) -> Option<Self> {
        if (1..=Self::MAX).contains(&bytes) { u8::try_from(bytes).ok().map(Self) } else { None }
    }

    /// Bytes per frame.
    pub fn bytes(self) -> usize {
        usize::from(self.0)
    }

    /// Most frames of this size in one operation.
    pub fn max_words(self) -> usize {
        MAX_BURST_WORDS.min(MAX_BURST_BYTES / self.bytes())
    }
}

/// A chip select on the wire: kind in the low nibble and index in the high one, or, from index 16 on, `0xF` in the
/// low nibble, kind in the high one, and the index as a second byte.
#[derive(Clone, Copy, Debug)]
pub struct SelectBytes([u8; 2], bool);

impl SelectBytes {
    const ESCAPE: u8 = 0xF;

    /// Encodes `select`.
    pub fn new(select: ChipSelect) -> Self {
        let kind = select.kind as u8;
        if select.index < 16 {
            Self([select.index << 4 | kind, 0], false)
        } else {
            Self([kind << 4 | Self::ESCAPE, select.index], true)
        }
    }

    /// What goes onto the wire.
    pub fn bytes(&self) -> &[u8] {
        let Self([first, _], two) = self;
        if *two { &self.0 } else { core::slice::from_ref(first) }
    }

    /// Whether a second byte follows `first`.
    pub fn is_escaped(first: u8) -> bool {
        first & 0xF == Self::ESCAPE
    }

    /// The chip that `first` and, if [`SelectBytes::is_escaped`], `second` stand for; `None` for an unknown kind.
    pub fn decode(first: u8, second: u8) -> Option<ChipSelect> {
        let (kind, index) =
            if Self::is_escaped(first) { (first >> 4, second) } else { (first & 0xF, first >> 4) };
        Some(ChipSelect { kind: chip_kind(kind)?, index })
    }
}

fn chip_kind(number: u8) -> Option<ChipKind> {
    Some(match number {
        0 => ChipKind::RowDac,
        1 => ChipKind::BiasDac,
        2 => ChipKind::GateDac,
        3 => ChipKind::Adc,
        4 => ChipKind::RowConnect,
        5 => ChipKind::ColumnSense,
        6 => ChipKind::ColumnBias,
        7 => ChipKind::Calibrate,
        8 => ChipKind::Feedback10k,
        9 => ChipKind::Feedback1k,
        10 => ChipKind::RowCalibrate,
        11 => ChipKind::FormingBypass,
        _ => return None,
    })
}

/// Argument of [`opcode::SET_OUTPUT`].
pub fn output_byte(line: OutputLine, high: bool) -> u8 {
    u8::from(high) << 7 | line as u8
}

/// Inverse of [`output_byte`]; `None` for an unknown line.
pub fn output_from_byte(byte: u8) -> Option<(OutputLine, bool)> {
    let line = match byte & 0x7F {
        0 => OutputLine::DacClear,
        1 => OutputLine::SwitchReset,
        2 => OutputLine::AdcReset,
        _ => return None,
    };
    Some((line, byte >> 7 == 1))
}

/// A u64 in groups of 7 bits, low group first, top bit set in all bytes but the last (LEB128).
#[derive(Clone, Copy, Debug)]
pub struct Varint {
    bytes: [u8; Varint::MAX_BYTES],
    length: usize,
}

impl Varint {
    /// Bytes of the longest one.
    pub const MAX_BYTES: usize = 10;

    /// Encodes `value`.
    pub fn new(mut value: u64) -> Self {
        let mut bytes = [0; Self::MAX_BYTES];
        let mut length = 0;
        for byte in &mut bytes {
            length += 1;
            *byte = (value & 0x7F) as u8;
            value >>= 7;
            if value == 0 {
                break;
            }
            *byte |= 0x80;
        }
        Self { bytes, length }
    }

    /// What goes onto the wire.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }

    /// Decodes one from `next`, which gives the bytes in order; `None` if it doesn't fit a u64.
    pub fn decode<E>(mut next: impl FnMut() -> Result<u8, E>) -> Result<Option<u64>, E> {
        let mut value = 0u64;
        for shift in (0..Self::MAX_BYTES as u32).map(|n| 7 * n) {
            let byte = next()?;
            let group = u64::from(byte & 0x7F);
            if group << shift >> shift != group {
                return Ok(None);
            }
            value |= group << shift;
            if byte & 0x80 == 0 {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

/// First byte of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Done {
        /// What [`opcode::PULSE_DONE`], [`opcode::CONVERSION_DONE`] and [`opcode::I2C`] ask; false otherwise.
        answer: bool,
        /// How many low bytes of the clock follow, 0 to 8. The others are as in the reply before.
        clock_bytes: usize,
    },
    /// The conversation is over; a [`Fault`] byte and the opcode follow, and no check.
    Failed,
}

impl Status {
    const FAILED: u8 = 0xE5;
    const DONE: u8 = 0x40;
    const ANSWER: u8 = 0x10;

    /// The byte that stands for this status.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Failed => Self::FAILED,
            Self::Done { answer, clock_bytes } => {
                Self::DONE | if answer { Self::ANSWER } else { 0 } | (clock_bytes & 0xF) as u8
            }
        }
    }

    /// The status that `byte` stands for, if any.
    pub fn from_byte(byte: u8) -> Option<Self> {
        let clock_bytes = usize::from(byte & 0xF);
        match byte & 0xF0 {
            _ if byte == Self::FAILED => Some(Self::Failed),
            high @ (0x40 | 0x50) if clock_bytes <= 8 => {
                Some(Self::Done { answer: high & Self::ANSWER != 0, clock_bytes })
            }
            _ => None,
        }
    }
}

/// How many low bytes of `now` must be told to somebody who has `before`.
pub fn clock_bytes(before: u64, now: u64) -> usize {
    8 - (before ^ now).leading_zeros() as usize / 8
}

/// The clock, from the one `before` and the low bytes that were told.
pub fn clock_from(before: u64, told: &[u8]) -> u64 {
    let mut bytes = before.to_le_bytes();
    for (byte, &told) in bytes.iter_mut().zip(told) {
        *byte = told;
    }
    u64::from_le_bytes(bytes)
}

/// Why a bench ended a conversation. The numbers are the wire encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// No operation has this opcode.
    UnknownOpcode = 1,
    /// An argument has a value that the operation can't have.
    BadArgument = 2,
    /// The bench could not do it, for example because the chip is absent.
    Refused = 3,
}

impl Fault {
    /// The fault that `byte` stands for, if any.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::UnknownOpcode),
            2 => Some(Self::BadArgument),
            3 => Some(Self::Refused),
            _ => None,
        }
    }
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::UnknownOpcode => "no such opcode",
            Self::BadArgument => "argument outside its range",
            Self::Refused => "the bench can't, for example because the chip is absent",
        })
    }
}

/// Bytes of a [`BenchInfo`] in the answer to a greeting.
pub const INFO_BYTES: usize = 20;

/// `info` on the wire, all little-endian in the order of its fields.
pub fn info_bytes(info: &BenchInfo) -> [u8; INFO_BYTES] {
    joined(&[
        &info.rows.to_le_bytes(),
        &info.columns.to_le_bytes(),
        &info.flash_bytes.to_le_bytes(),
        &info.flash_erase_bytes.to_le_bytes(),
        &info.boot_nonce.to_le_bytes(),
    ])
}

/// Inverse of [`info_bytes`].
pub fn info_from_bytes(bytes: &[u8; INFO_BYTES]) -> BenchInfo {
    let field = |start: usize, length: usize| {
        bytes.iter().skip(start).take(length).rev().fold(0u64, |high, &byte| high << 8 | u64::from(byte))
    };
    BenchInfo {
        rows: field(0, 2) as u16,
        columns: field(2, 2) as u16,
        flash_bytes: field(4, 4) as u32,
        flash_erase_bytes: field(8, 4) as u32,
        boot_nonce: field(12, 8),
    }
}

static CRC: Crc<u16, NoTable> = Crc::<u16, NoTable>::new(&CRC_16_IBM_3740);

/// CRC-16/IBM-3740 over everything said in both directions since the greeting, checks themselves excluded. Each
/// reply ends with it, so a byte lost, added or changed in either direction since the greeting shows at the next reply.
#[derive(Clone)]
pub struct Check(Digest<'static, u16, NoTable>);

impl core::fmt::Debug for Check {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Check({:#06x})", self.value())
    }
}

impl Default for Check {
    fn default() -> Self {
        Self(CRC.digest())
    }
}

impl Check {
    /// Takes in what was said.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The check over all that was said so far.
    pub fn value(&self) -> u16 {
        self.0.clone().finalize()
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_chip_select_survives_and_takes_one_byte_below_index_16() {
        for kind in (0..12).map(|number| chip_kind(number).unwrap()) {
            for index in 0..=255 {
                let select = ChipSelect { kind, index };
                let encoded = SelectBytes::new(select);
                let [first, rest @ ..] = encoded.bytes() else { panic!("no bytes") };
                assert_eq!(rest.is_empty(), index < 16);
                assert_eq!(SelectBytes::is_escaped(*first), !rest.is_empty());
                assert_eq!(SelectBytes::decode(*first, rest.first().copied().unwrap_or(0)), Some(select));
            }
        }
        assert_eq!(SelectBytes::decode(0x0C, 0), None);
        assert_eq!(SelectBytes::decode(0xCF, 0), None);
    }

    #[test]
    fn every_output_level_survives() {
        for line in [OutputLine::DacClear, OutputLine::SwitchReset, OutputLine::AdcReset] {
            for high in [false, true] {
                assert_eq!(output_from_byte(output_byte(line, high)), Some((line, high)));
            }
        }
        assert_eq!(output_from_byte(3), None);
    }

    #[test]
    fn a_varint_beyond_64_bits_is_refused() {
        let decode = |bytes: &[u8]| {
            let mut bytes = bytes.iter().copied();
            Varint::decode(|| bytes.next().ok_or(()))
        };
        assert_eq!(decode(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]), Ok(Some(u64::MAX)));
        assert_eq!(decode(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02]), Ok(None));
        assert_eq!(decode(&[0x80; 12]), Ok(None));
        assert_eq!(decode(&[0x80]), Err(()));
    }

    #[test]
    fn a_status_is_its_byte_and_no_other_byte_is_a_status() {
        let valid = (0..=255).filter(|&byte| match Status::from_byte(byte) {
            Some(status) => {
                assert_eq!(status.to_byte(), byte);
                true
            }
            None => false,
        });
        assert_eq!(valid.count(), 2 * 9 + 1);
    }

    #[test]
    fn the_check_is_the_published_crc() {
        let mut check = Check::default();
        check.update(b"12345");
        check.update(b"6789");
        // Check value of CRC-16/IBM-3740 in the catalogue of parametrised CRC algorithms (reveng).
        assert_eq!(check.value(), 0x29B1);
    }

    proptest! {
        #[test]
        fn a_varint_decodes_to_itself(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let encoded = Varint::new(value);
            let mut bytes = encoded.bytes().iter().copied();
            prop_assert_eq!(Varint::decode(|| bytes.next().ok_or(())), Ok(Some(value)));
            prop_assert_eq!(bytes.next(), None);
        }

        #[test]
        fn a_clock_is_told_by_the_bytes_that_changed(before: u64, now: u64, shift in 0u32..64) {
            let now = before ^ (now >> shift);
            let bytes = clock_bytes(before, now);
            prop_assert_eq!(clock_from(before, &now.to_le_bytes()[..bytes]), now);
            prop_assert!(bytes == 0 || clock_from(before, &now.to_le_bytes()[..bytes - 1]) != now);
        }

        #[test]
        fn an_info_survives(rows: u16, columns: u16, flash_bytes: u32, flash_erase_bytes: u32, boot_nonce: u64) {
            let info = BenchInfo { rows, columns, flash_bytes, flash_erase_bytes, boot_nonce };
            prop_assert_eq!(info_from_bytes(&info_bytes(&info)), info);
        }
    }
}
