//! Bursts that both ends of a bench link remember, so that one much like an earlier one costs only what differs: the
//! bursts of one write-verify step are those of the step before but for a code or two.
//!
//! Both ends hold a [`Memory`] and do the same to it in the same order: a transfer of 3-byte frames that is sent whole
//! is [remembered](Memory::remember) in the next place in turn, one that is recalled [replaces](Memory::replace) what it was recalled from.

use super::ChipSelect;

/// Bytes of a frame; only bursts of these are remembered.
pub const FRAME: usize = 3;
/// Longest burst that is remembered, frames.
pub const MAX_WORDS: usize = 64;
/// Bursts remembered.
pub const PLACES: usize = 16;

/// One frame each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    sent: [u8; FRAME],
    received: [u8; FRAME],
}

#[derive(Clone, Copy, Debug)]
struct Place {
    select: ChipSelect,
    length: usize,
    words: [Word; MAX_WORDS],
}

/// The last bursts, [`PLACES`] of them.
#[derive(Clone, Debug)]
pub struct Memory {
    places: [Option<Place>; PLACES],
    next: usize,
}

impl Memory {
    /// Nothing yet. A constant, so that a static can hold these 6 KB.
    #[must_use]
    pub const fn new() -> Self {
        Self { places: [None; PLACES], next: 0 }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a burst of so many bytes in frames of so many is remembered.
#[must_use]
pub fn is_remembered(frame: usize, bytes: usize) -> bool {
    frame == FRAME && bytes <= MAX_WORDS * FRAME
}

fn words(bytes: &[u8]) -> &[[u8; FRAME]] {
    bytes.as_chunks::<FRAME>().0
}

/// Positions and frames at which `now` differs from `then`.
fn differing<'a>(
    then: impl Iterator<Item = [u8; FRAME]> + 'a,
    now: &'a [u8],
) -> impl Iterator<Item = (u8, [u8; FRAME])> + 'a {
    (0u8..).zip(then.zip(words(now))).filter(|(_, (then, now))| then != *now).map(|(at, (_, now))| (at, *now))
}

impl Memory {
    fn place(&self, number: u8) -> Option<&Place> {
        self.places.get(usize::from(number))?.as_ref()
    }

    fn words(&self, number: u8) -> impl Iterator<Item = &Word> {
        self.place(number).into_iter().flat_map(|place| place.words.iter().take(place.length))
    }

    /// The place with the burst to this chip, as long as `sent`, that differs from it in the fewest frames, and in how
    /// many; the lowest of equals.
    #[must_use]
    pub fn nearest(&self, select: ChipSelect, sent: &[u8]) -> Option<(u8, usize)> {
        let mut nearest: Option<(u8, usize)> = None;
        for (number, place) in (0u8..).zip(&self.places) {
            let Some(place) = place else { continue };
            if place.select != select || place.length * FRAME != sent.len() {
                continue;
            }
            let count = self.sent_differences(number, sent).count();
            if nearest.is_none_or(|(_, least)| count < least) {
                nearest = Some((number, count));
            }
        }
        nearest
    }

    /// Chip and length in bytes of what is in a place.
    #[must_use]
    pub fn at(&self, number: u8) -> Option<(ChipSelect, usize)> {
        self.place(number).map(|place| (place.select, place.length * FRAME))
    }

    /// Where `sent` differs from what was sent in the burst in a place.
    pub fn sent_differences<'a>(
        &'a self,
        number: u8,
        sent: &'a [u8],
    ) -> impl Iterator<Item = (u8, [u8; FRAME])> + 'a {
        differing(self.words(number).map(|word| word.sent), sent)
    }

    /// Where `received` differs from what came back in the burst in a place.
    pub fn received_differences<'a>(
        &'a self,
        number: u8,
        received: &'a [u8],
    ) -> impl Iterator<Item = (u8, [u8; FRAME])> + 'a {
        differing(self.words(number).map(|word| word.received), received)
    }

    /// Copies what was sent in the burst in a place.
    pub fn sent(&self, number: u8, into: &mut [u8]) {
        for (into, word) in into.as_chunks_mut::<FRAME>().0.iter_mut().zip(self.words(number)) {
            *into = word.sent;
        }
    }

    /// Copies what came back in the burst in a place.
    pub fn received(&self, number: u8, into: &mut [u8]) {
        for (into, word) in into.as_chunks_mut::<FRAME>().0.iter_mut().zip(self.words(number)) {
            *into = word.received;
        }
    }

    /// Puts a burst of at most [`MAX_WORDS`] frames into the next place.
    pub fn remember(&mut self, select: ChipSelect, sent: &[u8], received: &[u8]) {
        let number = self.next;
        self.next = (self.next + 1) % PLACES;
        if let Some(place) = self.places.get_mut(number) {
            let empty = Word { sent: [0; FRAME], received: [0; FRAME] };
            *place = Some(Place { select, length: words(sent).len(), words: [empty; MAX_WORDS] });
        }
        #[allow(clippy::cast_possible_truncation)] // Below PLACES.
        self.replace(number as u8, sent, received);
    }

    /// Puts a burst of the same chip and length into a place.
    pub fn replace(&mut self, number: u8, sent: &[u8], received: &[u8]) {
        if let Some(Some(place)) = self.places.get_mut(usize::from(number)) {
            for ((word, &sent), &received) in place.words.iter_mut().zip(words(sent)).zip(words(received)) {
                *word = Word { sent, received };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::ChipKind;

    const CHIP: ChipSelect = ChipSelect { kind: ChipKind::RowDac, index: 0 };
    const OTHER: ChipSelect = ChipSelect { kind: ChipKind::BiasDac, index: 0 };

    #[test]
    fn the_nearest_burst_is_one_of_the_same_chip_and_length() {
        let mut memory = Memory::default();
        memory.remember(CHIP, &[1, 2, 3, 4, 5, 6], &[0; 6]);
        memory.remember(CHIP, &[1, 2, 3, 4, 5, 7], &[0; 6]);
        memory.remember(OTHER, &[1, 2, 3], &[0; 3]);
        assert_eq!(memory.nearest(CHIP, &[1, 2, 3, 4, 5, 7]), Some((1, 0)));
        assert_eq!(memory.nearest(CHIP, &[9, 2, 3, 4, 5, 6]), Some((0, 1)));
        assert_eq!(memory.nearest(CHIP, &[1, 2, 3]), None);
        assert_eq!(memory.nearest(OTHER, &[1, 2, 3]), Some((2, 0)));
    }

    #[test]
    fn what_differs_is_told_by_position() {
        let mut memory = Memory::default();
        memory.remember(CHIP, &[1, 2, 3, 4, 5, 6], &[7, 8, 9, 10, 11, 12]);
        let different = [1, 2, 3, 4, 0, 6];
        let mut found = memory.sent_differences(0, &different);
        assert_eq!((found.next(), found.next()), (Some((1, [4, 0, 6])), None));
        drop(found);
        memory.replace(0, &different, &[7, 8, 9, 0, 0, 0]);
        let mut back = [0; 6];
        memory.received(0, &mut back);
        assert_eq!(back, [7, 8, 9, 0, 0, 0]);
        assert_eq!(memory.at(0), Some((CHIP, 6)));
    }

    #[test]
    fn the_oldest_place_is_taken_in_turn() {
        let mut memory = Memory::default();
        for number in 0..=PLACES as u8 {
            memory.remember(CHIP, &[number, 0, 0], &[0; 3]);
        }
        assert_eq!(memory.nearest(CHIP, &[PLACES as u8, 0, 0]), Some((0, 0)));
        assert_eq!(memory.nearest(CHIP, &[0, 0, 0]), Some((0, 1)));
    }
}
