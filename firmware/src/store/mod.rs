//! What survives power loss: items by key in a few maps of the flash. After power loss at any point an item is the old
//! or the new one, whole. Which item means what is the business of whoever keeps it.

mod layout;
mod map;
mod words;

pub use layout::{Area, BLOCK_BYTES, MAX_ARRAYS, MAX_ITEM_BYTES, RECORD_CHUNKS, RECORDS_KEPT};

use crate::hardware::Flash;
use layout::{LAYOUT, MAX_ITEMS, SECTOR_BYTES, WORD_BYTES};
use map::Map;
use ohmrig_protocol::message::StorageProblem;

/// Bytes of working memory a [`Store`] is lent: the longest item.
pub const STORE_BYTES: usize = MAX_ITEM_BYTES;

/// Bytes of flash for the budgets of `arrays` arrays of `blocks` blocks each, and everything else.
#[must_use]
pub const fn flash_bytes(blocks: u32, arrays: u32) -> u32 {
    layout::flash_bytes(blocks, arrays)
}

/// The flash's contents by key. Every call blocks until the flash is done; one that writes may erase a sector or two on
/// the way, and move what is still valid in them.
#[derive(Debug)]
pub struct Store<'b> {
    scratch: &'b mut [u8],
    is_open: bool,
    /// The map of small things, that of the records, and the last used one of budgets, as far as they are known.
    maps: [Option<Map>; 3],
}

impl<'b> Store<'b> {
    /// A store that isn't open; `scratch` has [`STORE_BYTES`] at least.
    pub fn new(scratch: &'b mut [u8]) -> Self {
        Self { scratch, is_open: false, maps: [None; 3] }
    }

    /// Checks that the flash is ours or blank. Returns how many arrays of `blocks` blocks it has room for.
    ///
    /// # Errors
    /// Why it can't be used.
    pub fn open(&mut self, flash: &mut impl Flash, blocks: u32) -> Result<usize, StorageProblem> {
        self.is_open = false;
        let arrays = layout::arrays(flash.capacity(), blocks)?;
        let found = flash.erase_bytes();
        if found != SECTOR_BYTES {
            return Err(StorageProblem::EraseUnit { found, own: SECTOR_BYTES });
        }
        if !is_ours(flash)? && !is_new(flash)? {
            return Err(StorageProblem::Foreign);
        }
        self.maps = [None; 3];
        self.is_open = true;
        Ok(arrays)
    }

    /// Replaces an item. When it returns, the item survives power loss.
    ///
    /// # Errors
    /// The flash failed; then the item is the old or the new one.
    pub fn put(
        &mut self,
        flash: &mut impl Flash,
        area: Area,
        key: u16,
        value: &[u8],
    ) -> Result<(), StorageProblem> {
        let mut map = self.take(flash, area)?;
        map.put(flash, key, value)?;
        self.keep(map);
        Ok(())
    }

    /// An item, if there is one.
    ///
    /// # Errors
    /// The flash failed.
    pub fn get(
        &mut self,
        flash: &mut impl Flash,
        area: Area,
        key: u16,
    ) -> Result<Option<&[u8]>, StorageProblem> {
        let map = self.take(flash, area)?;
        self.keep(map);
        map.get(flash, key, self.scratch)
    }

    /// Shows every item of a map to `visit`.
    ///
    /// # Errors
    /// The flash failed.
    pub fn each(
        &mut self,
        flash: &mut impl Flash,
        area: Area,
        visit: &mut dyn FnMut(u16, &[u8]),
    ) -> Result<(), StorageProblem> {
        for key in 0..MAX_ITEMS as u16 {
            if let Some(value) = self.get(flash, area, key)? {
                visit(key, value);
            }
        }
        Ok(())
    }

    /// The map of an area, out of where it is kept: if something goes wrong before it is back there, it is loaded anew.
    fn take(&mut self, flash: &mut impl Flash, area: Area) -> Result<Map, StorageProblem> {
        if !self.is_open {
            return Err(StorageProblem::Damaged);
        }
        let kept = self.maps.get_mut(slot(area)).and_then(Option::take);
        kept.filter(|map| map.area == area).map_or_else(|| Map::load(flash, area), Ok)
    }

    fn keep(&mut self, map: Map) {
        if let Some(kept) = self.maps.get_mut(slot(map.area)) {
            *kept = Some(map);
        }
    }
}

/// Where the map of an area is kept.
fn slot(area: Area) -> usize {
    match area {
        Area::Settings => 0,
        Area::Records => 1,
        Area::Budgets(_) => 2,
    }
}

/// Whether the first map has a sector with our header. One with another layout's is another's.
fn is_ours(flash: &mut impl Flash) -> Result<bool, StorageProblem> {
    let mut is_ours = false;
    for sector in 0..Area::Settings.span().sectors {
        match map::numbers(&words::read_word(flash, sector * SECTOR_BYTES)?) {
            Some((LAYOUT, _)) => is_ours = true,
            Some((found, _)) => return Err(StorageProblem::Layout { found, own: LAYOUT }),
            None => {}
        }
    }
    Ok(is_ours)
}

/// Whether every sector looks erased by its first and its last word; but in the very first word there may be our header,
/// cut short by power loss.
fn is_new(flash: &mut impl Flash) -> Result<bool, StorageProblem> {
    let first = words::read_word(flash, 0)?;
    if !first.iter().zip(map::header(1)).all(|(read, whole)| read & whole == whole) {
        return Ok(false);
    }
    for sector in 0..flash.capacity() / SECTOR_BYTES {
        let start = sector * SECTOR_BYTES;
        let begins_blank = sector == 0 || words::is_blank(flash, start, WORD_BYTES)?;
        if !begins_blank || !words::is_blank(flash, start + SECTOR_BYTES - WORD_BYTES, WORD_BYTES)? {
            return Ok(false);
        }
    }
    Ok(true)
}
