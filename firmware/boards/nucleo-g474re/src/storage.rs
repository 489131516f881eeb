//! The instrument's storage: the last pages of flash bank 2, through the HAL's driver.

use cortex_m_rt::exception;
use embassy_stm32::flash::{self, Blocking, Flash as Driver};
use embassy_stm32::{Peri, pac, peripherals};
use ohmrig_firmware::hardware::Flash;

use crate::board::{STORAGE_BYTES, STORAGE_OFFSET};

/// Two pages of two-bank mode (2 KiB each; RM0440, "Flash main features"), erased together: the unit the store works in.
const ERASE_BYTES: u32 = 2 * 2048;

/// Storage of [`STORAGE_BYTES`].
pub(crate) struct Storage(Driver<'static, Blocking>);

/// Why flash can't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StorageError {
    #[error("flash bytes {offset} to {offset} + {length} of {STORAGE_BYTES}")]
    Range { offset: u32, length: usize },
    #[error("flash driver")]
    Driver(flash::Error),
}

impl Storage {
    pub(crate) fn new(flash: Peri<'static, peripherals::FLASH>) -> Self {
        Self(Driver::new_blocking(flash))
    }
}

/// Where `offset` is in the whole flash, if all `length` bytes lie within the storage.
fn place(offset: u32, length: usize) -> Result<u32, StorageError> {
    let end = u32::try_from(length).ok().and_then(|length| offset.checked_add(length));
    match end {
        Some(end) if end <= STORAGE_BYTES => Ok(STORAGE_OFFSET + offset),
        _ => Err(StorageError::Range { offset, length }),
    }
}

impl Flash for Storage {
    type Error = StorageError;

    fn capacity(&self) -> u32 {
        STORAGE_BYTES
    }

    fn erase_bytes(&self) -> u32 {
        ERASE_BYTES
    }

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), StorageError> {
        let from = place(offset, into.len())?;
        self.0.blocking_read(from, into).map_err(StorageError::Driver)
    }

    /// Whole words of 8 bytes, each at most once between erasures: they carry ECC. The driver refuses anything else.
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), StorageError> {
        let to = place(offset, bytes.len())?;
        self.0.blocking_write(to, bytes).map_err(StorageError::Driver)
    }

    fn erase(&mut self, offset: u32) -> Result<(), StorageError> {
        let from = place(offset, ERASE_BYTES as usize)?;
        self.0.blocking_erase(from, from + ERASE_BYTES).map_err(StorageError::Driver)
    }
}

/// Two bits or more of a flash word are wrong (RM0440, "Error code correction"). In the bank of the storage that is what a
/// write leaves in which power was lost, and the store finds by its own checks that there is nothing: without this every
/// start would end in the same read. Anywhere else the image itself is damaged.
#[exception]
unsafe fn NonMaskableInt() {
    let errors = pac::FLASH.eccr().read();
    if !(errors.eccd() && errors.bk_ecc()) {
        panic!("the image in flash is damaged, or the clock has failed");
    }
    // Writing the flag as it was read clears it.
    pac::FLASH.eccr().write_value(errors);
}
