//! The instrument's storage: the last 16 KiB of the flash the image runs from. While it is written nothing else runs.

use embassy_rp::Peri;
use embassy_rp::flash::{Blocking, ERASE_SIZE, Error, Flash as Driver};
use embassy_rp::peripherals::FLASH;
use ohmrig_firmware::hardware::Flash;

/// Bytes of the storage; `memory.x` keeps them free.
const STORAGE_BYTES: u32 = 16 * 1024;

/// Storage at the end of `FLASH_BYTES` of flash.
pub struct Storage<const FLASH_BYTES: usize>(Driver<'static, FLASH, Blocking, FLASH_BYTES>);

/// Why flash can't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// Bytes beyond the storage.
    #[error("flash bytes {offset} to {offset} + {length} of {STORAGE_BYTES}")]
    Range {
        /// First byte asked for.
        offset: u32,
        /// Bytes asked for.
        length: usize,
    },
    /// The driver's.
    #[error("flash driver")]
    Driver(Error),
}

impl<const FLASH_BYTES: usize> Storage<FLASH_BYTES> {
    pub(crate) fn new(flash: Peri<'static, FLASH>) -> Self {
        Self(Driver::new_blocking(flash))
    }

    /// A number of this chip alone; 0 if it can't be read.
    #[cfg(feature = "rp2040")]
    pub(crate) fn chip_id(&mut self) -> u64 {
        let mut id = [0; 8];
        self.0.blocking_unique_id(&mut id).map_or(0, |()| u64::from_be_bytes(id))
    }

    /// A number of this chip alone; 0 if it can't be read.
    #[cfg(feature = "rp2350")]
    pub(crate) fn chip_id(&mut self) -> u64 {
        embassy_rp::otp::get_chipid().unwrap_or(0)
    }

    /// Where `offset` is in the whole flash, if all `length` bytes lie within the storage.
    fn place(offset: u32, length: usize) -> Result<u32, StorageError> {
        let end = u32::try_from(length).ok().and_then(|length| offset.checked_add(length));
        match end {
            // A flash of a few MiB.
            #[allow(clippy::cast_possible_truncation)]
            Some(end) if end <= STORAGE_BYTES => Ok(FLASH_BYTES as u32 - STORAGE_BYTES + offset),
            _ => Err(StorageError::Range { offset, length }),
        }
    }
}

impl<const FLASH_BYTES: usize> Flash for Storage<FLASH_BYTES> {
    type Error = StorageError;

    fn capacity(&self) -> u32 {
        STORAGE_BYTES
    }

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), StorageError> {
        let from = Self::place(offset, into.len())?;
        self.0.blocking_read(from, into).map_err(StorageError::Driver)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), StorageError> {
        let to = Self::place(offset, bytes.len())?;
        self.0.blocking_write(to, bytes).map_err(StorageError::Driver)
    }

    fn erase(&mut self, offset: u32) -> Result<(), StorageError> {
        let from = Self::place(offset, ERASE_SIZE)?;
        // ERASE_SIZE is 4096.
        #[allow(clippy::cast_possible_truncation)]
        let to = from + ERASE_SIZE as u32;
        self.0.blocking_erase(from, to).map_err(StorageError::Driver)
    }
}
