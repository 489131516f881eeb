//! Which sectors of the flash hold what. The sizes follow from one rule: items of a map can be replaced for ever if all of
//! them together fill at most its sectors less three (one is kept erased, one is being filled, one gives room to what is
//! replaced).
//!
//! | sectors | what |
//! | --- | --- |
//! | 0 to 5 | small things: boots, limits, fault, panic, arrays, reservations, list of records |
//! | 6 to 20 | calibration records |
//! | 21 … | budgets, in maps of 8 sectors |

use ohmrig_protocol::message::{RECORD_CHUNK_BYTES, RECORD_HISTORY, StorageProblem};

/// Version of everything below; another number is not touched.
pub(super) const LAYOUT: u16 = 2;

/// Erase unit, bytes.
pub(super) const SECTOR_BYTES: u32 = 4096;

/// Every write is a multiple of this, at a multiple of it.
pub(super) const WORD_BYTES: u32 = 32;

const SETTINGS: Span = Span { first: 0, sectors: 6 };
const RECORDS: Span = Span { first: SETTINGS.first + SETTINGS.sectors, sectors: 15 };
const BUDGETS: Span = Span { first: RECORDS.first + RECORDS.sectors, sectors: 8 };

/// Records a device keeps; there is room for one more on its way.
pub const RECORDS_KEPT: usize = RECORD_HISTORY;
const RECORD_PLACES: u16 = RECORDS_KEPT as u16 + 1;
/// Chunks of the longest record.
pub const RECORD_CHUNKS: u16 = 9;
/// Most items of a map: the chunks of all records.
pub(super) const MAX_ITEMS: usize = (RECORD_PLACES * RECORD_CHUNKS) as usize;

/// Longest item: a chunk of a record.
pub const MAX_ITEM_BYTES: usize = RECORD_CHUNK_BYTES;

/// Bytes of a block of budgets.
pub const BLOCK_BYTES: usize = 646;
/// Blocks in one map.
const BLOCKS: u32 = 25;

/// Most arrays whose budgets are kept, however large the flash.
pub const MAX_ARRAYS: usize = 16;

/// Items in a sector of a map, with their header of a word.
const fn items_in_sector(bytes: usize) -> usize {
    let word = WORD_BYTES as usize;
    (SECTOR_BYTES as usize - 2 * word) / (word + bytes.next_multiple_of(word))
}
const _: () = assert!(MAX_ITEMS <= (RECORDS.sectors as usize - 3) * items_in_sector(MAX_ITEM_BYTES));
const _: () = assert!(BLOCKS as usize <= (BUDGETS.sectors as usize - 3) * items_in_sector(BLOCK_BYTES));

/// Some sectors in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u32,
    pub(super) sectors: u32,
}

/// One map of items by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Small things, by a key of whoever keeps them.
    Settings,
    /// Chunks of records.
    Records,
    /// The n-th map of blocks of budgets.
    Budgets(u16),
}

impl Area {
    pub(super) fn span(self) -> Span {
        match self {
            Self::Settings => SETTINGS,
            Self::Records => RECORDS,
            Self::Budgets(n) => Span { first: BUDGETS.first + u32::from(n) * BUDGETS.sectors, ..BUDGETS },
        }
    }

    /// Map and key of a block of budgets, counted through all arrays.
    #[must_use]
    pub fn of_block(block: u32) -> (Self, u16) {
        #[allow(clippy::cast_possible_truncation)] // Fewer maps than sectors, fewer blocks than fit a u16.
        (Self::Budgets((block / BLOCKS) as u16), (block % BLOCKS) as u16)
    }

    /// The first block of a map of budgets; 0 for any other.
    #[must_use]
    pub fn first_block(self) -> u32 {
        match self {
            Self::Budgets(n) => u32::from(n) * BLOCKS,
            Self::Settings | Self::Records => 0,
        }
    }
}

/// Arrays whose budgets a flash of `bytes` has room for, at `blocks` blocks each.
pub(super) fn arrays(bytes: u32, blocks: u32) -> Result<usize, StorageProblem> {
    let maps = (bytes / SECTOR_BYTES).saturating_sub(BUDGETS.first) / BUDGETS.sectors;
    let arrays = (maps * BLOCKS / blocks.max(1)) as usize;
    if arrays == 0 {
        return Err(StorageProblem::TooSmall { bytes, needed: flash_bytes(blocks, 1) });
    }
    Ok(arrays.min(MAX_ARRAYS))
}

/// Bytes of flash for `arrays` arrays of `blocks` blocks of budgets each.
pub(super) const fn flash_bytes(blocks: u32, arrays: u32) -> u32 {
    let maps = (blocks * arrays).div_ceil(BLOCKS);
    (BUDGETS.first + maps * BUDGETS.sectors) * SECTOR_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_flash_that_is_enough_is_enough() {
        for (blocks, wanted) in [(1, 1), (9, 2), (9, 3), (2055, 2)] {
            let bytes = flash_bytes(blocks, wanted);
            assert!(arrays(bytes, blocks).is_ok_and(|arrays| arrays >= wanted as usize), "{blocks}");
        }
        let needed = flash_bytes(9, 1);
        assert_eq!(arrays(needed - 1, 9), Err(StorageProblem::TooSmall { bytes: needed - 1, needed }));
    }
}
