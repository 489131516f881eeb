//! A flash in RAM: forgets with the power, and otherwise does what NOR flash does.

use ohmrig_firmware::core::flash_bytes;
use ohmrig_firmware::hardware::Flash;
use static_cell::ConstStaticCell;

/// Enough for an array of 16 × 16.
const BYTES: usize = flash_bytes(16, 16, 1) as usize;
const ERASE_BYTES: usize = 4096;

static CELLS: ConstStaticCell<[u8; BYTES]> = ConstStaticCell::new([0; BYTES]);

/// The flash; each byte is kept inverted, so that memory which starts at zero is erased.
#[derive(Debug)]
pub struct RamFlash(&'static mut [u8; BYTES]);

/// An access beyond the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("flash bytes {offset} to {offset} + {length} of {BYTES}")]
pub struct OutOfRange {
    /// First byte asked for.
    pub offset: u32,
    /// Bytes asked for.
    pub length: usize,
}

impl RamFlash {
    /// The one there is; `None` the second time.
    pub fn take() -> Option<Self> {
        CELLS.try_take().map(Self)
    }

    fn part(&mut self, offset: u32, length: usize) -> Result<&mut [u8], OutOfRange> {
        let start = offset as usize;
        let part = start.checked_add(length).and_then(|end| self.0.get_mut(start..end));
        part.ok_or(OutOfRange { offset, length })
    }
}

impl Flash for RamFlash {
    type Error = OutOfRange;

    fn capacity(&self) -> u32 {
        BYTES as u32
    }

    fn erase_bytes(&self) -> u32 {
        ERASE_BYTES as u32
    }

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), OutOfRange> {
        let part = self.part(offset, into.len())?;
        into.iter_mut().zip(part).for_each(|(to, from)| *to = !*from);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfRange> {
        let part = self.part(offset, bytes.len())?;
        part.iter_mut().zip(bytes).for_each(|(to, from)| *to |= !*from);
        Ok(())
    }

    fn erase(&mut self, offset: u32) -> Result<(), OutOfRange> {
        self.part(offset, ERASE_BYTES)?.fill(0);
        Ok(())
    }
}
