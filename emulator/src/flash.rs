//! Flash as NOR flash is: erasing sets bytes to `0xFF`, programming only clears bits.

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
    /// Saved contents of another size.
    #[error("saved flash of {saved} bytes for a flash of {bytes}")]
    Saved {
        /// Bytes saved.
        saved: usize,
        /// Bytes of this flash.
        bytes: usize,
    },
}

/// One flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    bytes: Vec<u8>,
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
            Ok(Self { bytes })
        } else {
            Err(FlashError::Size { bytes: bytes.len() })
        }
    }

    /// Everything in it.
    pub fn contents(&self) -> &[u8] {
        &self.bytes
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
        into.copy_from_slice(self.range(offset, into.len())?);
        Ok(())
    }

    /// Programs at `offset`: a bit that is 0 already stays 0.
    ///
    /// # Errors
    /// A range past the end.
    pub fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        for (cell, byte) in self.range(offset, bytes.len())?.iter_mut().zip(bytes) {
            *cell &= byte;
        }
        Ok(())
    }

    /// Erases the sector at `offset`.
    ///
    /// # Errors
    /// An offset that is no start of a sector or past the end.
    pub fn erase(&mut self, offset: u32) -> Result<(), FlashError> {
        if !offset.is_multiple_of(SECTOR_BYTES) {
            return Err(FlashError::Alignment { offset });
        }
        self.range(offset, SECTOR_BYTES as usize)?.fill(0xff);
        Ok(())
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
