//! Whole log records on their way to the host: written piece by piece, kept or dropped as a whole, taken oldest first.

use ohmrig_protocol::log::MAX_RECORD_BYTES;

/// What was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBatch {
    /// Bytes of whole records.
    pub bytes: usize,
    /// Records dropped since the last time.
    pub dropped: u32,
}

/// Room for records of together `BYTES` bytes. Each ends with a `0x00` and has no other (as rzCOBS makes them). Where there
/// is no room the record being written is dropped, and counted; those before it stay.
#[derive(Debug)]
pub struct LogRing<const BYTES: usize> {
    bytes: [u8; BYTES],
    /// Where the oldest record begins.
    start: usize,
    /// Bytes of whole records.
    whole: usize,
    /// Bytes of the record being written, behind them.
    open: usize,
    /// The record being written has found no room.
    spilt: bool,
    dropped: u32,
}

impl<const BYTES: usize> LogRing<BYTES> {
    /// Empty, for a static.
    #[allow(clippy::new_without_default)] // A static can't be a `Default`.
    pub const fn new() -> Self {
        Self { bytes: [0; BYTES], start: 0, whole: 0, open: 0, spilt: false, dropped: 0 }
    }

    /// The next bytes of the record being written.
    pub fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let filled = self.whole + self.open;
            let fits = filled < BYTES && self.open < MAX_RECORD_BYTES;
            match self.bytes.get_mut(wrapped::<BYTES>(self.start + filled)) {
                Some(slot) if fits => {
                    *slot = byte;
                    self.open += 1;
                }
                _ => self.spilt = true,
            }
        }
    }

    /// The record being written is whole.
    pub fn close(&mut self) {
        if self.spilt {
            self.dropped = self.dropped.saturating_add(1);
        } else {
            self.whole += self.open;
        }
        self.open = 0;
        self.spilt = false;
    }

    /// A record that couldn't even be begun.
    pub fn drop_one(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
    }

    /// Moves the oldest records into `into`, as many whole ones as fit; any one fits [`MAX_RECORD_BYTES`].
    pub fn take(&mut self, into: &mut [u8]) -> LogBatch {
        let mut bytes = 0;
        for (index, slot) in into.iter_mut().take(self.whole).enumerate() {
            *slot = self.bytes.get(wrapped::<BYTES>(self.start + index)).copied().unwrap_or_default();
            if *slot == 0 {
                bytes = index + 1;
            }
        }
        self.start = wrapped::<BYTES>(self.start + bytes);
        self.whole -= bytes;
        LogBatch { bytes, dropped: core::mem::take(&mut self.dropped) }
    }
}

/// An index of up to twice `BYTES`, less one, within the ring.
const fn wrapped<const BYTES: usize>(index: usize) -> usize {
    if index < BYTES { index } else { index - BYTES }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::vec::Vec;

    fn write<const N: usize>(ring: &mut LogRing<N>, record: &[u8]) {
        let (head, tail) = record.split_at(record.len() / 2);
        ring.push(head);
        ring.push(tail);
        ring.close();
    }

    fn take<const N: usize>(ring: &mut LogRing<N>, room: usize) -> (Vec<u8>, u32) {
        let mut into = std::vec![0xEE; room];
        let LogBatch { bytes, dropped } = ring.take(&mut into);
        into.truncate(bytes);
        (into, dropped)
    }

    #[test]
    fn a_record_without_room_is_dropped_whole_and_counted_and_older_ones_stay() {
        let mut ring = LogRing::<8>::new();
        write(&mut ring, &[1, 2, 3, 0]);
        write(&mut ring, &[4, 5, 6, 7, 0]);
        write(&mut ring, &[8, 9, 0]);
        assert_eq!(take(&mut ring, 100), (std::vec![1, 2, 3, 0, 8, 9, 0], 1));
        assert_eq!(take(&mut ring, 100), (std::vec![], 0));
    }

    #[test]
    fn only_whole_records_are_taken() {
        let mut ring = LogRing::<32>::new();
        write(&mut ring, &[1, 2, 3, 0]);
        write(&mut ring, &[4, 5, 0]);
        ring.push(&[6]);
        assert_eq!(take(&mut ring, 3), (std::vec![], 0));
        assert_eq!(take(&mut ring, 6), (std::vec![1, 2, 3, 0], 0));
        assert_eq!(take(&mut ring, 6), (std::vec![4, 5, 0], 0));
        assert_eq!(take(&mut ring, 6), (std::vec![], 0));
        ring.push(&[0]);
        ring.close();
        assert_eq!(take(&mut ring, 6), (std::vec![6, 0], 0));
    }

    #[test]
    fn a_record_too_long_for_a_frame_is_dropped_even_if_there_is_room() {
        let mut ring = LogRing::<1024>::new();
        let mut record = std::vec![1; MAX_RECORD_BYTES];
        record.push(0);
        write(&mut ring, &record);
        record.remove(0);
        write(&mut ring, &record);
        assert_eq!(take(&mut ring, MAX_RECORD_BYTES), (record, 1));
    }

    proptest! {
        #[test]
        fn what_comes_out_is_what_went_in_less_what_was_counted_as_dropped(
            steps in proptest::collection::vec((0usize..20, 0usize..30), 1..200),
        ) {
            let mut ring = LogRing::<40>::new();
            let (mut kept, mut dropped, mut told) = (VecDeque::new(), 0, 0);
            for (number, (length, room)) in steps.into_iter().enumerate() {
                let mut record = std::vec![1 + (number % 255) as u8; length];
                record.push(0);
                if kept.len() + record.len() <= 40 {
                    kept.extend(record.iter().copied());
                } else {
                    dropped += 1;
                }
                write(&mut ring, &record);
                let (taken, lost) = take(&mut ring, room);
                told += lost;
                prop_assert!(taken.len() <= room && taken.last().is_none_or(|last| *last == 0));
                for byte in taken {
                    prop_assert_eq!(Some(byte), kept.pop_front());
                }
            }
            prop_assert_eq!(told, dropped);
        }
    }
}
