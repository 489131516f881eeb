//! Items by key in a ring of sectors. An item is replaced by writing a new one behind the newest; when a sector is full,
//! the next one begins with what is still valid of the oldest, which is then erased.
//!
//! Each sector begins with two words: its header, with the sector's number, written when it has been erased; and its mark,
//! written when what was valid in the oldest has been moved to it. Only with the mark is it in use. Numbers count up by one,
//! so that they give the place in the ring too. The sector behind the newest is never read: it is erased or about
//! to be, and whatever interrupted erases and moves have left in it, the next one begins by erasing it. An item's data
//! are written before its header, so that an item with a header is whole.
//!
//! | at the loss of power, the device was | what is found | what follows |
//! | --- | --- | --- |
//! | writing an item | something behind the last item | nothing more is written to this sector |
//! | moving to the next sector | that sector without its mark | before the next move it is erased |
//! | erasing the oldest | anything in the sector behind the newest | the same |

use super::layout::{Area, LAYOUT, MAX_ITEM_BYTES, MAX_ITEMS, SECTOR_BYTES, WORD_BYTES};
use super::words::{self, Word};
use crate::hardware::Flash;
use ohmrig_protocol::frame::crc32;
use ohmrig_protocol::message::StorageProblem;

const MAGIC: [u8; 8] = *b"ohmrig\r\n";
/// Where a sector's items begin, behind header and mark.
const ITEMS: u32 = 2 * WORD_BYTES;

/// A sector's first word.
pub(super) fn header(sequence: u32) -> Word {
    words::sealed(&[&MAGIC, &LAYOUT.to_le_bytes(), &[0; 2], &sequence.to_le_bytes()])
}

/// Layout and number in a sector's first word, if it is one of ours.
pub(super) fn numbers(word: &Word) -> Option<(u16, u32)> {
    let [magic @ .., l0, l1, _, _, s0, s1, s2, s3] = *word.first_chunk::<16>()?;
    let ours = magic == MAGIC && words::is_sealed(word);
    ours.then_some((u16::from_le_bytes([l0, l1]), u32::from_le_bytes([s0, s1, s2, s3])))
}

/// A sector's second word, once the sector is in use.
fn mark(sequence: u32) -> Word {
    words::sealed(&[&sequence.to_le_bytes()])
}

/// What an item's header says.
struct Item {
    key: usize,
    /// Bytes of data.
    length: u32,
    crc: u32,
}

impl Item {
    fn word(&self) -> Word {
        #[allow(clippy::cast_possible_truncation)] // Fewer than a sector has bytes.
        let [key, length] = [self.key as u16, self.length as u16].map(u16::to_le_bytes);
        words::sealed(&[&key, &length, &self.crc.to_le_bytes()])
    }

    /// The item at `offset`, if there is one.
    fn at(flash: &mut impl Flash, offset: u32) -> Result<Option<Self>, StorageProblem> {
        let word = words::read_word(flash, offset)?;
        let [k0, k1, l0, l1, crc @ ..] = *word.first_chunk::<8>().unwrap_or(&[0; 8]);
        if !words::is_sealed(&word) {
            return Ok(None);
        }
        let key = usize::from(u16::from_le_bytes([k0, k1]));
        let length = u16::from_le_bytes([l0, l1]).into();
        if key >= MAX_ITEMS || length > MAX_ITEM_BYTES as u32 {
            return Err(StorageProblem::Damaged);
        }
        Ok(Some(Self { key, length, crc: u32::from_le_bytes(crc) }))
    }

    /// Bytes in flash, header included.
    fn bytes(&self) -> u32 {
        WORD_BYTES + self.length.next_multiple_of(WORD_BYTES)
    }
}

/// One map, and where its items are, so that they needn't be looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Map {
    pub(super) area: Area,
    /// Number of the newest sector; 0 before the first.
    sequence: u32,
    /// Where the next item goes in the newest sector, bytes; a whole sector where none does.
    end: u32,
    /// The sector behind the newest was erased since the last start. Before that, who knows: one in which a move was
    /// interrupted may look erased and take nothing.
    next_is_erased: bool,
    /// By key: the valid item, in words from the map's start. 0 for none: there is a header.
    places: [u16; MAX_ITEMS],
}

impl Map {
    /// Finds everything in the map of this area.
    #[inline(never)]
    pub(super) fn load(flash: &mut impl Flash, area: Area) -> Result<Self, StorageProblem> {
        let mut map =
            Self { area, sequence: 0, end: SECTOR_BYTES, next_is_erased: false, places: [0; MAX_ITEMS] };
        let sectors = area.span().sectors;
        let mut last = 0;
        for place in 0..sectors {
            let (sequence, in_use) = map.look(flash, place)?;
            last = last.max(sequence);
            if in_use {
                map.sequence = map.sequence.max(sequence);
            }
        }
        // Before the first sector is in use, no other was ever begun.
        if last > map.sequence + 1 {
            return Err(StorageProblem::Damaged);
        }
        for sequence in (map.sequence + 2).saturating_sub(sectors).max(1)..=map.sequence {
            if map.look(flash, map.place(sequence))? != (sequence, true) {
                return Err(StorageProblem::Damaged);
            }
            let start = map.start(sequence);
            map.end = ITEMS;
            while map.end < SECTOR_BYTES
                && let Some(item) = Item::at(flash, start + map.end)?
            {
                let place = map.words(start + map.end);
                map.end += item.bytes();
                if let Some(known) = map.places.get_mut(item.key) {
                    *known = place;
                }
            }
            let rest = SECTOR_BYTES.checked_sub(map.end).ok_or(StorageProblem::Damaged)?;
            if !words::is_blank(flash, start + map.end, rest)? {
                // An item that was cut short has nothing behind it: if there is another, this one has lost its header since.
                while map.end < SECTOR_BYTES {
                    if words::is_sealed(&words::read_word(flash, start + map.end)?) {
                        return Err(StorageProblem::Damaged);
                    }
                    map.end += WORD_BYTES;
                }
            }
        }
        Ok(map)
    }

    /// Where in the ring the sector of this number is.
    fn place(&self, sequence: u32) -> u32 {
        sequence.wrapping_sub(1) % self.area.span().sectors
    }

    /// Where in flash the sector of this number begins.
    fn start(&self, sequence: u32) -> u32 {
        (self.area.span().first + self.place(sequence)) * SECTOR_BYTES
    }

    /// An offset in flash as words from the map's start.
    fn words(&self, offset: u32) -> u16 {
        #[allow(clippy::cast_possible_truncation)] // A map has at most 15 sectors of 128 words.
        let words = (offset / WORD_BYTES - self.area.span().first * (SECTOR_BYTES / WORD_BYTES)) as u16;
        words
    }

    /// The reverse of [`words`](Self::words).
    fn offset(&self, words: u16) -> u32 {
        self.area.span().first * SECTOR_BYTES + u32::from(words) * WORD_BYTES
    }

    /// The number of the sector at this place, 0 if it has none that belongs there, and whether it is in use.
    fn look(&self, flash: &mut impl Flash, place: u32) -> Result<(u32, bool), StorageProblem> {
        let start = (self.area.span().first + place) * SECTOR_BYTES;
        let found = numbers(&words::read_word(flash, start)?);
        let Some((LAYOUT, sequence)) = found.filter(|(_, sequence)| self.place(*sequence) == place) else {
            return Ok((0, false));
        };
        Ok((sequence, words::read_word(flash, start + WORD_BYTES)? == mark(sequence)))
    }

    /// The item of this key, read into `into`.
    pub(super) fn get<'i>(
        &self,
        flash: &mut impl Flash,
        key: u16,
        into: &'i mut [u8],
    ) -> Result<Option<&'i [u8]>, StorageProblem> {
        let place = self.places.get(usize::from(key)).copied().ok_or(StorageProblem::Damaged)?;
        if place == 0 {
            return Ok(None);
        }
        let offset = self.offset(place);
        let item = Item::at(flash, offset)?.ok_or(StorageProblem::Damaged)?;
        let into = into.get_mut(..item.length as usize).ok_or(StorageProblem::Damaged)?;
        words::read(flash, offset + WORD_BYTES, into)?;
        if crc32(into) == item.crc { Ok(Some(into)) } else { Err(StorageProblem::Damaged) }
    }

    /// Replaces the item of this key.
    pub(super) fn put(
        &mut self,
        flash: &mut impl Flash,
        key: u16,
        value: &[u8],
    ) -> Result<(), StorageProblem> {
        #[allow(clippy::cast_possible_truncation)] // More is Damaged below.
        let item = Item { key: key.into(), length: value.len() as u32, crc: crc32(value) };
        if item.key >= MAX_ITEMS || value.len() > MAX_ITEM_BYTES {
            return Err(StorageProblem::Damaged);
        }
        let mut failed = false;
        loop {
            self.make_room(flash, item.bytes())?;
            match self.append(flash, &item, value) {
                // What an interrupted write has left may look erased and take nothing all the same: words with a checksum of
                // their own don't, if they were programmed with ones. The next sector has been erased.
                Err(StorageProblem::Failed { .. }) if !failed => {
                    failed = true;
                    self.end = SECTOR_BYTES;
                }
                done => return done,
            }
        }
    }

    /// Goes on until `bytes` bytes have room in the newest sector.
    fn make_room(&mut self, flash: &mut impl Flash, bytes: u32) -> Result<(), StorageProblem> {
        // Full it can't be by the layout's arithmetic: once around, there is room.
        for _ in 0..=self.area.span().sectors {
            if self.end + bytes <= SECTOR_BYTES {
                return Ok(());
            }
            self.turn(flash)?;
        }
        Err(StorageProblem::Damaged)
    }

    /// Writes an item that has room.
    fn append(&mut self, flash: &mut impl Flash, item: &Item, value: &[u8]) -> Result<(), StorageProblem> {
        let offset = self.start(self.sequence) + self.end;
        let (whole, rest) = value.as_chunks::<{ WORD_BYTES as usize }>();
        let whole = whole.as_flattened();
        if !whole.is_empty() {
            words::program(flash, offset + WORD_BYTES, whole)?;
        }
        if !rest.is_empty() {
            let mut last = [0; WORD_BYTES as usize];
            ohmrig_protocol::bytes::put(&mut last, &[rest]);
            words::program(flash, offset + WORD_BYTES + whole.len() as u32, &last)?;
        }
        words::program(flash, offset, &item.word())?;
        self.end += item.bytes();
        let place = self.words(offset);
        if let Some(known) = self.places.get_mut(item.key) {
            *known = place;
        }
        Ok(())
    }

    /// Goes on to the next sector, with what is valid in the oldest.
    #[inline(never)]
    fn turn(&mut self, flash: &mut impl Flash) -> Result<(), StorageProblem> {
        let next = self.sequence + 1;
        let start = self.start(next);
        if !self.next_is_erased {
            self.prepare(flash, next)?;
        }
        let mut moved = Self { sequence: next, end: ITEMS, next_is_erased: false, ..*self };
        let oldest = self.start(next + 1);
        for key in 0..MAX_ITEMS {
            let from = self.offset(self.places.get(key).copied().unwrap_or(0));
            if !(oldest + ITEMS..oldest + SECTOR_BYTES).contains(&from) {
                continue;
            }
            let item = Item::at(flash, from)?.ok_or(StorageProblem::Damaged)?;
            let to = start + moved.end;
            words::copy(flash, from, to, item.bytes())?;
            moved.end += item.bytes();
            if let Some(known) = moved.places.get_mut(key) {
                *known = self.words(to);
            }
        }
        words::program(flash, start + WORD_BYTES, &mark(next))?;
        *self = moved;
        self.prepare(flash, next + 1)?;
        self.next_is_erased = true;
        Ok(())
    }

    /// Erases the sector that will have this number, and gives it.
    #[inline(never)]
    fn prepare(&self, flash: &mut impl Flash, sequence: u32) -> Result<(), StorageProblem> {
        let start = self.start(sequence);
        // The first of all was never ours: it has no interrupted erase, and if a flash's first one were to be interrupted, it
        // wouldn't be known as ours.
        if sequence != 1 || !words::is_blank(flash, start, SECTOR_BYTES)? {
            words::erase(flash, start)?;
        }
        words::program(flash, start, &header(sequence))
    }
}
