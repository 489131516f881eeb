//! Flash as NOR flash is: erasing sets bytes to `0xFF`, programming only clears bits. Power can be lost in the middle of
//! an operation, and sectors wear out.

use alloc::vec;
use alloc::vec::Vec;

/// Erase unit, bytes.
pub const SECTOR_BYTES: u32 = 4096;

/// What no flash can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlashError {
    /// Bytes past the end.
    #[error("flash bytes {offset} to {offset} + {length} of {capacity}")]
    Range {
        /// First byte asked for.
        offset: u32,
        /// Bytes asked for.
        length: usize,
        /// Bytes there are.
        capacity: usize,
    },
    /// An erase that doesn't start at a sector.
    #[error("flash erase at {offset}, which is no multiple of {SECTOR_BYTES}")]
    Alignment {
        /// Where it was to start.
        offset: u32,
    },
    /// A size that isn't whole sectors.
    #[error("a flash of {bytes} bytes, which is no multiple of {SECTOR_BYTES}")]
    Size {
        /// The size.
        bytes: usize,
    },
    /// Power is gone, and with it whatever this operation was to do.
    #[error("flash without power")]
    Power,
    /// Saved contents of another size.
    #[error("saved flash of {saved} bytes for a flash of {bytes}")]
    Saved {
        /// Bytes saved.
        saved: usize,
        /// Bytes of this flash.
        bytes: usize,
    },
}

/// What the operation in which power is lost leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Everything as it was.
    Nothing,
    /// The first half of its bytes done.
    FirstHalf,
    /// The second half of its bytes done.
    SecondHalf,
    /// An erase that has got as far as programming everything to zero, with which erases begin; a write as `FirstHalf`.
    Zeros,
}

/// A loss of power, to spoil an operation with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerCut {
    /// Writes and erases that still succeed.
    pub operations_ahead: u64,
    /// What becomes of the one after them; those behind it do nothing.
    pub tear: Tear,
}

/// One flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    bytes: Vec<u8>,
    operations: u64,
    /// Power is lost here; a flash made of [`contents`](Self::contents) has power again.
    pub cut: Option<PowerCut>,
    /// Numbers of sectors that don't take a bit any more and erase without effect.
    pub worn: Vec<u32>,
}

impl Flash {
    /// An erased flash of `bytes` bytes.
    ///
    /// # Errors
    /// A size that isn't a multiple of [`SECTOR_BYTES`].
    pub fn new(bytes: u32) -> Result<Self, FlashError> {
        Self::from_contents(vec![0xff; bytes as usize])
    }

    /// A flash with contents.
    ///
    /// # Errors
    /// A size that isn't a multiple of [`SECTOR_BYTES`].
    pub fn from_contents(bytes: Vec<u8>) -> Result<Self, FlashError> {
        if bytes.len().is_multiple_of(SECTOR_BYTES as usize) {
            Ok(Self { bytes, operations: 0, cut: None, worn: Vec::new() })
        } else {
            Err(FlashError::Size { bytes: bytes.len() })
        }
    }

    /// Everything in it.
    pub fn contents(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes and erases so far.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Whether power has been lost.
    pub fn has_lost_power(&self) -> bool {
        self.cut.is_some_and(|cut| cut.operations_ahead < self.operations)
    }

    /// Counts an operation; `Some` if power is lost in it.
    fn count(&mut self) -> Result<Option<Tear>, FlashError> {
        if self.has_lost_power() {
            return Err(FlashError::Power);
        }
        self.operations += 1;
        Ok(self.cut.filter(|cut| cut.operations_ahead < self.operations).map(|cut| cut.tear))
    }

    fn range(&mut self, offset: u32, length: usize) -> Result<&mut [u8], FlashError> {
        let capacity = self.bytes.len();
        let start = offset as usize;
        start.checked_add(length).and_then(|end| self.bytes.get_mut(start..end)).ok_or(FlashError::Range {
            offset,
            length,
            capacity,
        })
    }

    /// Reads from `offset`.
    ///
    /// # Errors
    /// A range past the end.
    pub fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), FlashError> {
        if self.has_lost_power() {
            return Err(FlashError::Power);
        }
        into.copy_from_slice(self.range(offset, into.len())?);
        Ok(())
    }

    /// Programs at `offset`: a bit that is 0 already stays 0.
    ///
    /// # Errors
    /// A range past the end.
    pub fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        self.range(offset, bytes.len())?;
        let tear = self.count()?;
        let done = match tear {
            None => 0..bytes.len(),
            Some(Tear::Nothing) => 0..0,
            Some(Tear::FirstHalf | Tear::Zeros) => 0..bytes.len() / 2,
            Some(Tear::SecondHalf) => bytes.len() / 2..bytes.len(),
        };
        let worn = self.worn.contains(&(offset / SECTOR_BYTES));
        let into = self.range(offset, bytes.len())?[done.clone()].iter_mut();
        into.zip(&bytes[done]).filter(|_| !worn).for_each(|(cell, byte)| *cell &= byte);
        if tear.is_some() { Err(FlashError::Power) } else { Ok(()) }
    }

    /// Erases the sector at `offset`.
    ///
    /// # Errors
    /// An offset that is no start of a sector or past the end.
    pub fn erase(&mut self, offset: u32) -> Result<(), FlashError> {
        if !offset.is_multiple_of(SECTOR_BYTES) {
            return Err(FlashError::Alignment { offset });
        }
        self.range(offset, SECTOR_BYTES as usize)?;
        let tear = self.count()?;
        let worn = self.worn.contains(&(offset / SECTOR_BYTES));
        let sector = self.range(offset, SECTOR_BYTES as usize)?;
        let (first, second) = sector.split_at_mut(SECTOR_BYTES as usize / 2);
        match tear {
            _ if worn => {}
            Some(Tear::Nothing) => {}
            Some(Tear::FirstHalf) => first.fill(0xff),
            Some(Tear::SecondHalf) => second.fill(0xff),
            Some(Tear::Zeros) => sector.fill(0),
            None => sector.fill(0xff),
        }
        if tear.is_some() { Err(FlashError::Power) } else { Ok(()) }
    }
}

/// Contents of a flash in state files: as hexadecimal digits, sectors that are erased left out.
pub(crate) mod sparse {
    use super::SECTOR_BYTES;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::fmt::Write;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::{Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let sectors = (0_usize..).zip(bytes.chunks(SECTOR_BYTES as usize));
        let written = sectors.filter(|(_, sector)| sector.iter().any(|byte| *byte != 0xff));
        let digits = written.map(|(number, sector)| {
            let mut text = String::with_capacity(2 * sector.len());
            for byte in sector {
                // Strings take everything.
                let _ = write!(text, "{byte:02x}");
            }
            (number, text)
        });
        (bytes.len(), digits.collect::<Vec<_>>()).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let (length, sectors) = <(usize, Vec<(usize, String)>)>::deserialize(from)?;
        let mut bytes = vec![0xff; length];
        for (number, text) in sectors {
            let wrong = || D::Error::custom(format!("sector {number} of a flash of {length} bytes"));
            let sector = bytes.chunks_mut(SECTOR_BYTES as usize).nth(number).ok_or_else(wrong)?;
            let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
            let digits = digits.filter(|digits| digits.len() == 2 * sector.len()).ok_or_else(wrong)?;
            for (byte, pair) in sector.iter_mut().zip(digits.chunks(2)) {
                *byte = (pair[0] << 4 | pair[1]) as u8;
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programming_clears_bits_and_only_erasing_sets_them() {
        let mut flash = Flash::new(2 * SECTOR_BYTES).unwrap();
        flash.write(10, &[0xf0, 0x12]).unwrap();
        flash.write(10, &[0x3c]).unwrap();
        let mut back = [0; 3];
        flash.read(10, &mut back).unwrap();
        assert_eq!(back, [0x30, 0x12, 0xff]);
        flash.write(SECTOR_BYTES, &[0]).unwrap();
        flash.erase(0).unwrap();
        assert!(flash.contents()[..SECTOR_BYTES as usize].iter().all(|byte| *byte == 0xff));
        assert_eq!(flash.contents()[SECTOR_BYTES as usize], 0);
    }

    #[test]
    fn power_is_lost_in_one_operation_and_those_behind_it_do_nothing() {
        for (tear, left) in [
            (Tear::Nothing, [0xff, 0xff]),
            (Tear::FirstHalf, [0, 0xff]),
            (Tear::SecondHalf, [0xff, 0]),
            (Tear::Zeros, [0, 0xff]),
        ] {
            let mut flash = Flash::new(2 * SECTOR_BYTES).unwrap();
            flash.cut = Some(PowerCut { operations_ahead: 1, tear });
            flash.write(8, &[0, 0]).unwrap();
            assert_eq!(flash.write(10, &[0, 0]), Err(FlashError::Power));
            assert_eq!(flash.erase(0), Err(FlashError::Power));
            assert_eq!(flash.read(0, &mut [0]), Err(FlashError::Power));
            assert_eq!(flash.contents()[8..12], [0, 0, left[0], left[1]], "{tear:?}");
            let mut again = Flash::from_contents(flash.contents().to_vec()).unwrap();
            again.erase(0).unwrap();
        }
    }

    #[test]
    fn a_worn_sector_keeps_what_it_has_and_says_nothing() {
        let mut flash = Flash::new(2 * SECTOR_BYTES).unwrap();
        flash.write(0, &[1]).unwrap();
        flash.worn.push(0);
        flash.write(1, &[0]).unwrap();
        flash.erase(0).unwrap();
        assert_eq!(flash.contents()[..2], [1, 0xff]);
    }

    #[test]
    fn what_lies_outside_is_refused_whole() {
        let mut flash = Flash::new(SECTOR_BYTES).unwrap();
        let range = |offset, length| Err(FlashError::Range { offset, length, capacity: 4096 });
        assert_eq!(flash.write(4095, &[0, 0]), range(4095, 2));
        assert_eq!(flash.read(u32::MAX, &mut [0]), range(u32::MAX, 1));
        assert_eq!(flash.erase(SECTOR_BYTES), range(4096, 4096));
        assert_eq!(flash.erase(1), Err(FlashError::Alignment { offset: 1 }));
        assert!(flash.contents().iter().all(|byte| *byte == 0xff));
        assert_eq!(Flash::new(100), Err(FlashError::Size { bytes: 100 }));
    }
}
