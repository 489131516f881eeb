//! What survives power loss: items by key in a few maps of the flash.
//!
//! The maps are `sequential-storage`'s: an item is replaced by appending a new one with its CRC, so that after power
//! loss at any point the old or the new is there, whole. Below them lies a journal of erases, and every write
//! and erase is read back. Which item means what is the business of whoever keeps it.

mod journal;
mod layout;
mod nor;

pub use layout::{Area, BLOCK_BYTES, MAX_ARRAYS, MAX_ITEM_BYTES, RECORD_CHUNKS, RECORDS_KEPT};

use crate::hardware::Flash;
use journal::Journal;
use layout::{MAX_ITEMS, MAX_SPAN, SECTOR_BYTES};
use nor::{Nor, NorError, at_once};
use ohmrig_protocol::message::StorageProblem;
use sequential_storage::Error;
use sequential_storage::cache::Cache;
use sequential_storage::cache::key_pointers::ArrayKeyPointers;
use sequential_storage::cache::page_pointers::ArrayPagePointers;
use sequential_storage::cache::page_states::ArrayPageStates;
use sequential_storage::map::{MapConfig, MapStorage};

/// Bytes of working memory a [`Store`] is lent: the longest item with its key, in whole words.
pub const STORE_BYTES: usize = (MAX_ITEM_BYTES + 2).next_multiple_of(layout::WORD_BYTES as usize);

/// Bytes of flash for the budgets of `arrays` arrays of `blocks` blocks each, and everything else.
#[must_use]
pub const fn flash_bytes(blocks: u32, arrays: u32) -> u32 {
    layout::flash_bytes(blocks, arrays)
}

/// Where pages and items of one map are, so that they needn't be looked for.
type Known =
    Cache<ArrayPageStates<MAX_SPAN>, ArrayPagePointers<MAX_SPAN>, ArrayKeyPointers<u16, MAX_ITEMS>, u16>;
type Map<'f, F> = MapStorage<u16, Nor<'f, F>, Known>;

fn unknown() -> Known {
    Cache::new(ArrayPageStates::new(), ArrayPagePointers::new(), ArrayKeyPointers::new())
}

/// The flash's contents by key. Every call blocks until the flash is done; one that writes may erase a sector or two on
/// the way, and move what is still valid in them.
#[derive(Debug)]
pub struct Store<'b> {
    scratch: &'b mut [u8],
    journal: Option<Journal>,
    /// What is known of the map of small things, of the records, and of the last used map of budgets.
    known: [(Option<Area>, Option<Known>); 3],
}

impl<'b> Store<'b> {
    /// A store that isn't open; `scratch` has [`STORE_BYTES`] at least.
    pub fn new(scratch: &'b mut [u8]) -> Self {
        Self { scratch, journal: None, known: [const { (None, None) }; 3] }
    }

    /// Checks that the flash is ours, formats it if it is blank, ends an interrupted erase. Returns how many arrays of
    /// `blocks` blocks it has room for.
    ///
    /// # Errors
    /// Why it can't be used; nothing was changed unless it was `Failed`.
    pub fn open(&mut self, flash: &mut impl Flash, blocks: u32) -> Result<usize, StorageProblem> {
        let arrays = layout::arrays(flash.capacity(), blocks)?;
        let found = flash.erase_bytes();
        if found != SECTOR_BYTES {
            return Err(StorageProblem::EraseUnit { found, own: SECTOR_BYTES });
        }
        self.journal = Some(Journal::open(flash)?);
        self.known = [const { (None, None) }; 3];
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
        let (mut map, scratch) = self.map(flash, area)?;
        let done = at_once(map.store_item(scratch, &key, &value));
        let known = map.destroy().1;
        self.keep(area, known, done)
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
        let (mut map, scratch) = self.map(flash, area)?;
        let found = at_once(map.fetch_item::<&[u8]>(scratch, &key));
        let found = found.map(|found| found.map(|value| value.map(<[u8]>::len)));
        let known = map.destroy().1;
        let length = self.keep(area, known, found)?;
        // The key, two bytes, is in front of the value.
        Ok(length.and_then(|length| self.scratch.get(2..2 + length)))
    }

    /// Shows every item of a map to `visit`, with what it replaced before it: the last of a key is the valid one.
    ///
    /// # Errors
    /// The flash failed.
    pub fn each(
        &mut self,
        flash: &mut impl Flash,
        area: Area,
        visit: &mut dyn FnMut(u16, &[u8]),
    ) -> Result<(), StorageProblem> {
        let (mut map, scratch) = self.map(flash, area)?;
        let done = at_once(async {
            let mut items = map.fetch_all_items(scratch).await?;
            while let Some((key, value)) = items.next::<&[u8]>(scratch).await? {
                visit(key, value);
            }
            Ok(())
        });
        let known = map.destroy().1;
        self.keep(area, known, done)
    }

    /// The map of an area with what is known of it.
    fn map<'f, F: Flash>(
        &'f mut self,
        flash: &'f mut F,
        area: Area,
    ) -> Result<(Map<'f, F>, &'f mut [u8]), StorageProblem> {
        let Self { scratch, journal, known } = self;
        let journal = journal.as_mut().ok_or(StorageProblem::Damaged)?;
        let range = area.span().bytes();
        let config = MapConfig::try_new(range).map_err(|_| StorageProblem::Damaged)?;
        let kept = slot(known, area).filter(|(of, _)| *of == Some(area)).and_then(|(_, known)| known.take());
        let map = MapStorage::new(Nor { flash, journal }, config, kept.unwrap_or_else(unknown));
        Ok((map, scratch))
    }

    /// Keeps what is known for the next time, unless something went wrong.
    fn keep<T>(
        &mut self,
        area: Area,
        known: Known,
        done: Option<Result<T, Error<NorError>>>,
    ) -> Result<T, StorageProblem> {
        match done {
            Some(Ok(value)) => {
                if let Some(slot) = slot(&mut self.known, area) {
                    *slot = (Some(area), Some(known));
                }
                Ok(value)
            }
            Some(Err(Error::Storage { value: NorError(problem), .. })) => Err(problem),
            // Full it can't be by the layout's arithmetic; the rest are contents that make no sense.
            Some(Err(_)) | None => Err(StorageProblem::Damaged),
        }
    }
}

/// Where it is kept what is known of a map.
fn slot(
    known: &mut [(Option<Area>, Option<Known>); 3],
    area: Area,
) -> Option<&mut (Option<Area>, Option<Known>)> {
    known.get_mut(match area {
        Area::Settings => 0,
        Area::Records => 1,
        Area::Budgets(_) => 2,
    })
}
