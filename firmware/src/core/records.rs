//! Calibration records: which there are, which is in force, and the one on its way.
//!
//! The data lie in chunks at one of five places in flash; the list of records, one item, says which place holds what. A
//! record is uploaded to a free place and exists once the list names it.

use crate::store::{RECORD_CHUNKS, RECORDS_KEPT};
use ohmrig_protocol::bytes::joined;
use ohmrig_protocol::message::{
    Field, MAX_RECORD_BYTES, RECORD_CHUNK_BYTES, RECORD_ENTRY_BYTES, RecordEntry, RecordLabel, Refusal,
};

/// A record and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    entry: RecordEntry,
    place: u16,
}

/// Bytes of the list in flash.
const KEPT_BYTES: usize = RECORD_ENTRY_BYTES + 1;
pub(super) const RECORDS_BYTES: usize = 4 + RECORDS_KEPT * KEPT_BYTES;

/// The list of records, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    kept: [Option<Kept>; RECORDS_KEPT],
    last_number: u32,
}

/// A record on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Upload {
    pub(super) label: RecordLabel,
    place: u16,
    filled: u32,
}

/// Key of a chunk.
fn key(place: u16, offset: u32) -> u16 {
    #[allow(clippy::cast_possible_truncation)] // At most nine chunks.
    let chunk = (offset / RECORD_CHUNK_BYTES as u32) as u16;
    place * RECORD_CHUNKS + chunk.min(RECORD_CHUNKS - 1)
}

#[allow(clippy::cast_precision_loss)] // Numbers for messages only.
fn invalid(field: Field, asked: u32, min: u32, max: u32) -> Refusal {
    Refusal::Invalid { field, asked: asked as f32, min: min as f32, max: max as f32 }
}

impl Upload {
    /// Takes the next data; the answer is their key.
    pub(super) fn take(&mut self, offset: u32, data: &[u8]) -> Result<u16, Refusal> {
        if offset != self.filled {
            return Err(invalid(Field::Offset, offset, self.filled, self.filled));
        }
        let wanted = (self.label.length - self.filled).min(RECORD_CHUNK_BYTES as u32);
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if length != wanted || length == 0 {
            return Err(invalid(Field::Data, length, wanted, wanted));
        }
        self.filled += length;
        Ok(key(self.place, offset))
    }

    /// Keys of all its chunks, if they are all there.
    pub(super) fn chunks(&self) -> Result<impl Iterator<Item = u16> + use<>, Refusal> {
        let Self { label, place, filled } = *self;
        if filled != label.length {
            return Err(invalid(Field::Data, filled, label.length, label.length));
        }
        Ok((0..label.length).step_by(RECORD_CHUNK_BYTES).map(move |offset| key(place, offset)))
    }
}

impl Records {
    fn entries(&self) -> impl DoubleEndedIterator<Item = &Kept> {
        self.kept.iter().flatten()
    }

    /// Makes room for a record on its way.
    pub(super) fn begin(&self, label: RecordLabel) -> Result<Upload, Refusal> {
        if !(1..=MAX_RECORD_BYTES).contains(&label.length) {
            return Err(invalid(Field::Data, label.length, 1, MAX_RECORD_BYTES));
        }
        self.room(label.kind)?;
        let is_free = |place: &u16| self.entries().all(|kept| kept.place != *place);
        let place = (0..=RECORDS_KEPT as u16).find(is_free).unwrap_or_default();
        Ok(Upload { label, place, filled: 0 })
    }

    /// The record that has to go for another of this kind, if one has to: the oldest that isn't in force, or won't be.
    fn room(&self, kind: u8) -> Result<Option<u32>, Refusal> {
        if self.kept.iter().any(Option::is_none) {
            return Ok(None);
        }
        let needless = |kept: &&Kept| !kept.entry.in_force;
        let superseded = |kept: &&Kept| kept.entry.label.kind == kind;
        let oldest = self.entries().find(needless).or_else(|| self.entries().find(superseded));
        let full = Refusal::RecordsFull { records: RECORDS_KEPT as u8 };
        oldest.map(|kept| Some(kept.entry.number)).ok_or(full)
    }

    /// With the uploaded record in force, its number, and that of the one it replaced.
    pub(super) fn commit(&self, upload: &Upload) -> Result<(Self, u32, Option<u32>), Refusal> {
        let dropped = self.room(upload.label.kind)?;
        let number = self.last_number.saturating_add(1);
        let entry = RecordEntry { number, in_force: true, label: upload.label };
        let mut records = Self { kept: [None; RECORDS_KEPT], last_number: number };
        let mut places = records.kept.iter_mut();
        for kept in self.entries().filter(|kept| Some(kept.entry.number) != dropped) {
            if let Some(to) = places.next() {
                let kept = to.insert(*kept);
                kept.entry.in_force &= kept.entry.label.kind != upload.label.kind;
            }
        }
        if let Some(to) = places.next() {
            *to = Some(Kept { entry, place: upload.place });
        }
        Ok((records, number, dropped))
    }

    fn find(&self, number: u32) -> Result<&Kept, Refusal> {
        let newest = self.entries().next_back().map_or(0, |kept| kept.entry.number);
        self.entries().find(|kept| kept.entry.number == number).ok_or(Refusal::NoSuchRecord { newest })
    }

    /// With record `number` in force for its kind.
    pub(super) fn roll_back(&self, number: u32) -> Result<Self, Refusal> {
        let kind = self.find(number)?.entry.label.kind;
        let mut records = *self;
        for kept in records.kept.iter_mut().flatten().filter(|kept| kept.entry.label.kind == kind) {
            kept.entry.in_force = kept.entry.number == number;
        }
        Ok(records)
    }

    /// Key of the chunk of a record that begins at `offset`.
    pub(super) fn chunk(&self, number: u32, offset: u32) -> Result<u16, Refusal> {
        let kept = self.find(number)?;
        let last = kept.entry.label.length - 1;
        if offset > last || !offset.is_multiple_of(RECORD_CHUNK_BYTES as u32) {
            return Err(invalid(Field::Offset, offset, 0, last - last % RECORD_CHUNK_BYTES as u32));
        }
        Ok(key(kept.place, offset))
    }

    /// For the host; returns the number of bytes.
    pub(super) fn list(&self, into: &mut [u8]) -> usize {
        let slots = into.as_chunks_mut::<RECORD_ENTRY_BYTES>().0.iter_mut();
        slots.zip(self.entries()).map(|(slot, kept)| *slot = kept.entry.to_bytes()).count()
            * RECORD_ENTRY_BYTES
    }

    /// As in flash; a number of 0 is none.
    pub(super) fn to_bytes(self) -> [u8; RECORDS_BYTES] {
        let mut bytes = [0; RECORDS_BYTES];
        if let Some((last_number, kept)) = bytes.split_first_chunk_mut::<4>() {
            *last_number = self.last_number.to_le_bytes();
            for (to, Kept { entry, place }) in
                kept.as_chunks_mut::<KEPT_BYTES>().0.iter_mut().zip(self.entries())
            {
                #[allow(clippy::cast_possible_truncation)] // Five places.
                let place = *place as u8;
                *to = joined(&[&entry.to_bytes(), &[place]]);
            }
        }
        bytes
    }

    /// The reverse of [`to_bytes`](Self::to_bytes).
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (last_number, rest) = bytes.split_first_chunk::<4>()?;
        let mut records = Self { kept: [None; RECORDS_KEPT], last_number: u32::from_le_bytes(*last_number) };
        for (kept, stored) in records.kept.iter_mut().zip(rest.as_chunks::<KEPT_BYTES>().0) {
            let (entry, place) = stored.split_first_chunk::<RECORD_ENTRY_BYTES>()?;
            let entry = RecordEntry::from_bytes(entry);
            let place = u16::from(*place.first()?);
            let makes_sense = (1..=MAX_RECORD_BYTES).contains(&entry.label.length);
            *kept = (entry.number != 0 && makes_sense).then_some(Kept { entry, place });
        }
        Some(records)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::vec::Vec;

    const LABEL: RecordLabel = RecordLabel { kind: 1, date: 5, length: 2000, crc: 7, hash: [9; 32] };

    fn upload(records: &Records, kind: u8) -> Upload {
        let mut upload = records.begin(RecordLabel { kind, ..LABEL }).unwrap();
        for (offset, length) in [(0, 912), (912, 912), (1824, 176)] {
            upload.take(offset, [0; 912].get(..length).unwrap()).unwrap();
        }
        upload
    }

    fn numbers(records: &Records) -> Vec<(u32, bool)> {
        records.entries().map(|kept| (kept.entry.number, kept.entry.in_force)).collect()
    }

    #[test]
    fn a_fifth_record_takes_the_place_of_the_oldest_that_is_not_in_force() {
        let mut records = Records::default();
        for number in 1..=4 {
            let (next, stored, dropped) = records.commit(&upload(&records, 1)).unwrap();
            assert_eq!((stored, dropped), (number, None));
            records = next;
        }
        records = records.roll_back(1).unwrap();
        assert_eq!(numbers(&records), [(1, true), (2, false), (3, false), (4, false)]);
        let (records, stored, dropped) = records.commit(&upload(&records, 1)).unwrap();
        assert_eq!((stored, dropped), (5, Some(2)));
        assert_eq!(numbers(&records), [(1, false), (3, false), (4, false), (5, true)]);
        assert_eq!(Records::from_bytes(&records.to_bytes()), Some(records));
    }

    #[test]
    fn no_upload_touches_a_place_in_use_and_a_fifth_kind_finds_no_room() {
        let mut records = Records::default();
        for kind in [1, 2, 1, 2, 3, 2, 4, 1] {
            let next = upload(&records, kind);
            assert!(records.entries().all(|kept| kept.place != next.place));
            records = records.commit(&next).unwrap().0;
        }
        // All four are in force: one of a known kind replaces its own.
        assert_eq!(numbers(&records), [(5, true), (6, true), (7, true), (8, true)]);
        let (after, _, dropped) = records.commit(&upload(&records, 2)).unwrap();
        assert_eq!((numbers(&after).len(), dropped), (4, Some(6)));
        assert_eq!(
            records.begin(RecordLabel { kind: 5, ..LABEL }),
            Err(Refusal::RecordsFull { records: RECORDS_KEPT as u8 })
        );
    }

    #[test]
    fn data_come_in_order_and_whole() {
        let mut upload = Records::default().begin(LABEL).unwrap();
        assert!(matches!(upload.take(912, &[0; 912]), Err(Refusal::Invalid { field: Field::Offset, .. })));
        assert!(matches!(upload.take(0, &[0; 911]), Err(Refusal::Invalid { field: Field::Data, .. })));
        assert!(upload.chunks().is_err());
        assert_eq!(Records::default().chunk(1, 0), Err(Refusal::NoSuchRecord { newest: 0 }));
    }
}
