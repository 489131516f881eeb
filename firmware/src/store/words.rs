//! Flash by the word: every write and every erase is read back, and a word under a CRC tells what was written whole from
//! what power loss has left.

use super::layout::{SECTOR_BYTES, WORD_BYTES};
use crate::hardware::Flash;
use ohmrig_protocol::bytes::put;
use ohmrig_protocol::frame::crc32;
use ohmrig_protocol::message::StorageProblem;

pub(super) type Word = [u8; WORD_BYTES as usize];

/// Bytes read at once to be looked at or moved.
const CHUNK_BYTES: u32 = 4 * WORD_BYTES;
type Chunk = [u8; CHUNK_BYTES as usize];

/// An access that failed.
fn failed<E>(offset: u32) -> impl Fn(E) -> StorageProblem {
    move |_| StorageProblem::Failed { offset }
}

pub(super) fn read(flash: &mut impl Flash, offset: u32, into: &mut [u8]) -> Result<(), StorageProblem> {
    flash.read(offset, into).map_err(failed(offset))
}

pub(super) fn read_word(flash: &mut impl Flash, offset: u32) -> Result<Word, StorageProblem> {
    let mut word = [0; WORD_BYTES as usize];
    read(flash, offset, &mut word)?;
    Ok(word)
}

/// The next of `left` bytes, as many as a chunk has room for.
fn read_chunk<'c>(
    flash: &mut impl Flash,
    offset: u32,
    left: u32,
    chunk: &'c mut Chunk,
) -> Result<&'c [u8], StorageProblem> {
    let chunk = chunk.get_mut(..left.min(CHUNK_BYTES) as usize).ok_or(StorageProblem::Damaged)?;
    read(flash, offset, chunk)?;
    Ok(chunk)
}

/// Shows `bytes` bytes from `offset` on, a chunk at a time with its offset, until `is_fine` finds that one isn't.
fn all(
    flash: &mut impl Flash,
    offset: u32,
    bytes: u32,
    mut is_fine: impl FnMut(&[u8], usize) -> bool,
) -> Result<bool, StorageProblem> {
    let mut done = 0;
    while done < bytes {
        let mut chunk: Chunk = [0; CHUNK_BYTES as usize];
        let chunk = read_chunk(flash, offset + done, bytes - done, &mut chunk)?;
        if !is_fine(chunk, done as usize) {
            return Ok(false);
        }
        done += chunk.len() as u32;
    }
    Ok(true)
}

/// Whether `bytes` bytes from `offset` on are as an erase leaves them.
pub(super) fn is_blank(flash: &mut impl Flash, offset: u32, bytes: u32) -> Result<bool, StorageProblem> {
    all(flash, offset, bytes, |chunk, _| chunk.iter().all(|byte| *byte == 0xFF))
}

/// Programs whole words and reads them back.
pub(super) fn program(flash: &mut impl Flash, offset: u32, bytes: &[u8]) -> Result<(), StorageProblem> {
    flash.write(offset, bytes).map_err(failed(offset))?;
    #[allow(clippy::cast_possible_truncation)] // Less than a sector.
    let length = bytes.len() as u32;
    let is_there = all(flash, offset, length, |chunk, done| {
        bytes.get(done..).is_some_and(|rest| rest.starts_with(chunk))
    })?;
    if is_there { Ok(()) } else { Err(StorageProblem::Failed { offset }) }
}

/// Erases a sector and reads it back.
pub(super) fn erase(flash: &mut impl Flash, offset: u32) -> Result<(), StorageProblem> {
    flash.erase(offset).map_err(failed(offset))?;
    if is_blank(flash, offset, SECTOR_BYTES)? { Ok(()) } else { Err(StorageProblem::Failed { offset }) }
}

/// Copies whole words.
pub(super) fn copy(flash: &mut impl Flash, from: u32, to: u32, bytes: u32) -> Result<(), StorageProblem> {
    let mut done = 0;
    while done < bytes {
        let mut chunk: Chunk = [0; CHUNK_BYTES as usize];
        let chunk = read_chunk(flash, from + done, bytes - done, &mut chunk)?;
        program(flash, to + done, chunk)?;
        done += chunk.len() as u32;
    }
    Ok(())
}

/// A word of up to 28 bytes with their CRC behind. Neither a blank word nor one of zeros is one, nor is one of which a
/// part was written.
pub(super) fn sealed(contents: &[&[u8]]) -> Word {
    let mut word = [0; WORD_BYTES as usize];
    put(&mut word, contents);
    if let Some((covered, seal)) = word.split_last_chunk_mut::<4>() {
        *seal = crc32(covered).to_le_bytes();
    }
    word
}

/// Whether [`sealed`] made it.
pub(super) fn is_sealed(word: &Word) -> bool {
    word.split_last_chunk::<4>().is_some_and(|(covered, seal)| crc32(covered).to_le_bytes() == *seal)
}
