//! Sectors 0 and 1: which layout the flash has, and which sector is being erased.
//!
//! An erase that power loss interrupts leaves anything: a NOR flash programs a sector to zeros before it erases it, so
//! that even markers of "full" may appear in it, and a map that met them would believe them. Therefore each erase is
//! written down before and crossed out behind, and one that isn't crossed out is repeated before anything is read.

use super::layout::{JOURNAL_SECTORS, LAYOUT, SECTOR_BYTES, WORD_BYTES};
use crate::hardware::Flash;
use ohmrig_protocol::bytes::put;
use ohmrig_protocol::frame::crc32;
use ohmrig_protocol::message::StorageProblem;

type Word = [u8; WORD_BYTES as usize];

const BLANK: Word = [0xFF; WORD_BYTES as usize];
const CROSSED_OUT: Word = [0; WORD_BYTES as usize];
const MAGIC: [u8; 8] = *b"ohmrig\r\n";

/// Erases a journal sector has room for, two words each, behind its header.
const ENTRIES: u32 = (SECTOR_BYTES / WORD_BYTES - 1) / 2;

/// The journal in use: the sector with the higher number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Journal {
    sector: u32,
    sequence: u32,
    /// Entries used.
    used: u32,
}

/// What the first word of a journal sector says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    Blank,
    Ours {
        layout: u16,
        sequence: u32,
    },
    /// A header of this layout that power loss cut short.
    Torn,
    Other,
}

fn failed<E>(offset: u32) -> impl Fn(E) -> StorageProblem {
    move |_| StorageProblem::Failed { offset }
}

pub(super) fn read(flash: &mut impl Flash, offset: u32, into: &mut [u8]) -> Result<(), StorageProblem> {
    flash.read(offset, into).map_err(failed(offset))
}

/// Programs and reads back.
pub(super) fn program(flash: &mut impl Flash, offset: u32, bytes: &[u8]) -> Result<(), StorageProblem> {
    flash.write(offset, bytes).map_err(failed(offset))?;
    verify(flash, offset, bytes.chunks(64))
}

/// Erases a sector and reads it back, with no entry in the journal.
fn erase_sector(flash: &mut impl Flash, offset: u32) -> Result<(), StorageProblem> {
    flash.erase(offset).map_err(failed(offset))?;
    verify(flash, offset, (0..SECTOR_BYTES / 64).map(|_| [0xFF; 64].as_slice()))
}

fn verify<'a>(
    flash: &mut impl Flash,
    mut offset: u32,
    expected: impl Iterator<Item = &'a [u8]>,
) -> Result<(), StorageProblem> {
    for expected in expected {
        let mut back = [0; 64];
        let back = back.get_mut(..expected.len()).ok_or(StorageProblem::Damaged)?;
        read(flash, offset, back)?;
        if back != expected {
            return Err(StorageProblem::Failed { offset });
        }
        offset = offset.saturating_add(expected.len() as u32);
    }
    Ok(())
}

/// A word of up to 28 bytes with a CRC behind.
fn sealed(contents: &[&[u8]]) -> Word {
    let mut word = CROSSED_OUT;
    put(&mut word, contents);
    if let Some((covered, seal)) = word.split_last_chunk_mut::<4>() {
        *seal = crc32(covered).to_le_bytes();
    }
    word
}

fn is_sealed(word: &Word) -> bool {
    word.split_last_chunk::<4>().is_some_and(|(covered, seal)| crc32(covered).to_le_bytes() == *seal)
}

fn header(sequence: u32) -> Word {
    sealed(&[&MAGIC, &LAYOUT.to_le_bytes(), &[0; 2], &sequence.to_le_bytes()])
}

fn entry(sector: u32) -> Word {
    sealed(&[&sector.to_le_bytes()])
}

fn read_word(flash: &mut impl Flash, offset: u32) -> Result<Word, StorageProblem> {
    let mut word = BLANK;
    read(flash, offset, &mut word)?;
    Ok(word)
}

fn read_header(flash: &mut impl Flash, sector: u32) -> Result<Header, StorageProblem> {
    let word = read_word(flash, sector * SECTOR_BYTES)?;
    let [magic @ .., l0, l1, _, _, s0, s1, s2, s3] = *word.first_chunk::<16>().unwrap_or(&[0; 16]);
    let is_torn =
        |expected: Word| word.iter().zip(expected).all(|(read, expected)| read & expected == expected);
    Ok(if word == BLANK {
        Header::Blank
    } else if magic == MAGIC && is_sealed(&word) {
        let (layout, sequence) = (u16::from_le_bytes([l0, l1]), u32::from_le_bytes([s0, s1, s2, s3]));
        Header::Ours { layout, sequence }
    } else if is_torn(header(1)) {
        Header::Torn
    } else {
        Header::Other
    })
}

/// Whether every other sector looks erased by its first and its last word.
fn is_blank(flash: &mut impl Flash) -> Result<bool, StorageProblem> {
    for sector in JOURNAL_SECTORS..flash.capacity() / SECTOR_BYTES {
        for offset in [sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES - WORD_BYTES] {
            if read_word(flash, offset)? != BLANK {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

impl Journal {
    /// Finds the journal, or begins one in a blank flash, and repeats an erase that power loss interrupted.
    pub(super) fn open(flash: &mut impl Flash) -> Result<Self, StorageProblem> {
        let headers = [read_header(flash, 0)?, read_header(flash, 1)?];
        let mut newest: Option<Self> = None;
        for (sector, header) in (0..).zip(headers) {
            if let Header::Ours { layout, sequence } = header {
                if layout != LAYOUT {
                    return Err(StorageProblem::Layout { found: layout, own: LAYOUT });
                }
                if newest.is_none_or(|newest| sequence > newest.sequence) {
                    newest = Some(Self { sector, sequence, used: 0 });
                }
            }
        }
        let Some(mut journal) = newest else { return Self::format(flash, headers) };
        let interrupted = journal.last(flash)?;
        if let Some(sector) = interrupted {
            journal.erase(flash, sector)?;
        }
        Ok(journal)
    }

    fn format(flash: &mut impl Flash, headers: [Header; 2]) -> Result<Self, StorageProblem> {
        if !matches!(headers, [Header::Blank | Header::Torn, Header::Blank]) || !is_blank(flash)? {
            return Err(StorageProblem::Foreign);
        }
        if headers != [Header::Blank; 2] {
            erase_sector(flash, 0)?;
        }
        program(flash, 0, &header(1))?;
        Ok(Self { sector: 0, sequence: 1, used: 0 })
    }

    fn offset(&self, entry: u32) -> u32 {
        self.sector * SECTOR_BYTES + (1 + 2 * entry) * WORD_BYTES
    }

    /// Counts the entries; the sector of the last one if it isn't crossed out.
    fn last(&mut self, flash: &mut impl Flash) -> Result<Option<u32>, StorageProblem> {
        let mut open = None;
        while self.used < ENTRIES {
            let word = read_word(flash, self.offset(self.used))?;
            if word == BLANK {
                break;
            }
            let done = read_word(flash, self.offset(self.used) + WORD_BYTES)? == CROSSED_OUT;
            // An entry that was cut short: its erase was never begun.
            let [a, b, c, d] = *word.first_chunk::<4>().unwrap_or(&[0; 4]);
            open = (!done && is_sealed(&word)).then_some(u32::from_le_bytes([a, b, c, d]));
            self.used += 1;
        }
        Ok(open)
    }

    /// Erases the sector of this number.
    pub(super) fn erase(&mut self, flash: &mut impl Flash, sector: u32) -> Result<(), StorageProblem> {
        if sector < JOURNAL_SECTORS || sector >= flash.capacity() / SECTOR_BYTES {
            return Err(StorageProblem::Damaged);
        }
        if self.used >= ENTRIES {
            // Every entry here is crossed out or being repeated, so that losing power now loses nothing.
            let other = Self { sector: 1 - self.sector.min(1), sequence: self.sequence + 1, used: 0 };
            erase_sector(flash, other.sector * SECTOR_BYTES)?;
            program(flash, other.sector * SECTOR_BYTES, &header(other.sequence))?;
            *self = other;
        }
        let offset = self.offset(self.used);
        self.used += 1;
        program(flash, offset, &entry(sector))?;
        erase_sector(flash, sector * SECTOR_BYTES)?;
        program(flash, offset + WORD_BYTES, &CROSSED_OUT)
    }
}
