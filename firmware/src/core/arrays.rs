//! Which arrays have been plugged in, by name, and whose budgets are where in flash.

use crate::store::MAX_ARRAYS;
use ohmrig_protocol::bytes::{joined, put};
use ohmrig_protocol::message::{Field, MAX_ARRAY_NAME_BYTES, Refusal};

/// A name: 0 (nobody named it) to [`MAX_ARRAY_NAME_BYTES`] of printable ASCII.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    bytes: [u8; MAX_ARRAY_NAME_BYTES],
    length: u8,
}

impl Name {
    /// Refused if it is too long or not printable.
    #[allow(clippy::cast_precision_loss)] // Numbers for the message only.
    pub(super) fn new(name: &str) -> Result<Self, Refusal> {
        let printable = name.bytes().filter(|byte| (b' '..=b'~').contains(byte)).count();
        let mut bytes = [0; MAX_ARRAY_NAME_BYTES];
        match bytes.get_mut(..name.len()) {
            Some(to) if printable == name.len() => to.copy_from_slice(name.as_bytes()),
            _ => {
                let (asked, max) = (name.len() as f32, MAX_ARRAY_NAME_BYTES as f32);
                return Err(Refusal::Invalid { field: Field::Name, asked, min: 1.0, max });
            }
        }
        #[allow(clippy::cast_possible_truncation)] // At most 24.
        Ok(Self { bytes, length: name.len() as u8 })
    }

    pub(super) fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// One array's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct History {
    /// Never given twice, so that what another array left in the same place is not mistaken for its own; 0 is none.
    id: u16,
    name: Name,
}

const NO_HISTORY: History = History { id: 0, name: Name { bytes: [0; MAX_ARRAY_NAME_BYTES], length: 0 } };

/// Bytes of one history in flash, of what is in front of them, and of all.
const HISTORY_BYTES: usize = 3 + MAX_ARRAY_NAME_BYTES;
const HEAD_BYTES: usize = 7;
pub(super) const ARRAYS_BYTES: usize = HEAD_BYTES + MAX_ARRAYS * HISTORY_BYTES;

/// All histories, each at its place in flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrays {
    /// Rows and columns the flash was laid out for.
    pub(super) geometry: (u16, u16),
    histories: [History; MAX_ARRAYS],
    plugged: u8,
    last_id: u16,
}

impl Arrays {
    /// One array that nobody has named.
    pub(super) fn new(geometry: (u16, u16)) -> Self {
        let mut histories = [NO_HISTORY; MAX_ARRAYS];
        if let Some(first) = histories.first_mut() {
            first.id = 1;
        }
        Self { geometry, histories, plugged: 0, last_id: 1 }
    }

    /// Place and number of the plugged array.
    pub(super) fn plugged(&self) -> (u32, u16) {
        (self.plugged.into(), self.histories.get(usize::from(self.plugged)).map_or(0, |history| history.id))
    }

    pub(super) fn name(&self) -> &str {
        self.histories.get(usize::from(self.plugged)).map_or("", |history| history.name.as_str())
    }

    pub(super) fn is_plugged(&self, name: &Name) -> bool {
        self.find(name) == Some(self.plugged.into())
    }

    fn find(&self, name: &Name) -> Option<usize> {
        self.histories.iter().position(|history| history.id != 0 && history.name == *name)
    }

    /// With the array of this name plugged in, a new one if it has no history yet and one of `slots` is free.
    pub(super) fn plug(&self, name: Name, slots: usize) -> Result<Self, Refusal> {
        let mut arrays = *self;
        let full = Refusal::ArraysFull { slots: u8::try_from(slots).unwrap_or(u8::MAX) };
        let known = self.find(&name);
        let free = self.histories.iter().take(slots).position(|history| history.id == 0);
        let place = known.or(free).ok_or(full)?;
        if known.is_none() {
            arrays.last_id = self.last_id.checked_add(1).ok_or(full)?;
            *arrays.histories.get_mut(place).ok_or(full)? = History { id: arrays.last_id, name };
        }
        arrays.plugged = u8::try_from(place).map_err(|_| full)?;
        Ok(arrays)
    }

    /// Without the history of this name.
    pub(super) fn forget(&self, name: Name) -> Result<Self, Refusal> {
        let mut arrays = *self;
        let place = self.find(&name).ok_or(Refusal::NoSuchArray)?;
        if place == usize::from(self.plugged) {
            return Err(Refusal::ArrayPlugged);
        }
        *arrays.histories.get_mut(place).ok_or(Refusal::NoSuchArray)? = NO_HISTORY;
        Ok(arrays)
    }

    /// For the host: names with their lengths in front, as many bytes as returned; and which of them is plugged.
    pub(super) fn list(&self, into: &mut [u8]) -> (usize, u8) {
        let (mut length, mut plugged) = (0, 0);
        let known = (0u8..).zip(&self.histories).filter(|(_, history)| history.id != 0);
        for (position, (place, history)) in (0u8..).zip(known) {
            if place == self.plugged {
                plugged = position;
            }
            let free = into.get_mut(length..).unwrap_or_default();
            length += put(free, &[&[history.name.length], history.name.as_str().as_bytes()]);
        }
        (length, plugged)
    }

    /// As in flash.
    pub(super) fn to_bytes(self) -> [u8; ARRAYS_BYTES] {
        let mut bytes = [0; ARRAYS_BYTES];
        let (rows, columns) = self.geometry;
        if let Some((head, histories)) = bytes.split_first_chunk_mut::<HEAD_BYTES>() {
            *head = joined(&[
                &rows.to_le_bytes(),
                &columns.to_le_bytes(),
                &self.last_id.to_le_bytes(),
                &[self.plugged],
            ]);
            let histories = histories.as_chunks_mut::<HISTORY_BYTES>().0;
            for (to, History { id, name }) in histories.iter_mut().zip(&self.histories) {
                *to = joined(&[&id.to_le_bytes(), &[name.length], &name.bytes]);
            }
        }
        bytes
    }

    /// The reverse of [`to_bytes`](Self::to_bytes).
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ([r0, r1, c0, c1, l0, l1, plugged], rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let geometry = (u16::from_le_bytes([*r0, *r1]), u16::from_le_bytes([*c0, *c1]));
        let mut arrays = Self::new(geometry);
        let stored = rest.as_chunks::<HISTORY_BYTES>().0;
        if stored.len() != MAX_ARRAYS || usize::from(*plugged) >= MAX_ARRAYS {
            return None;
        }
        for (history, [i0, i1, length, name @ ..]) in arrays.histories.iter_mut().zip(stored) {
            let name = Name { bytes: *name, length: *length };
            *history = History { id: u16::from_le_bytes([*i0, *i1]), name };
        }
        Some(Self { plugged: *plugged, last_id: u16::from_le_bytes([*l0, *l1]), ..arrays })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(name: &str) -> Name {
        Name::new(name).unwrap()
    }

    #[test]
    fn a_name_that_comes_back_finds_its_history_and_a_full_flash_refuses_a_new_one() {
        let first = Arrays::new((4, 4));
        let wafer = first.plug(name("wafer 7"), 2).unwrap();
        assert_eq!((wafer.plugged(), wafer.name()), ((1, 2), "wafer 7"));
        assert_eq!(wafer.plug(name("other"), 2), Err(Refusal::ArraysFull { slots: 2 }));
        assert_eq!(wafer.plug(name(""), 2).unwrap().plugged(), (0, 1));
        assert_eq!(wafer.forget(name("wafer 7")), Err(Refusal::ArrayPlugged));
        assert_eq!(wafer.forget(name("none")), Err(Refusal::NoSuchArray));
        // Its place is used again, under a number that no block in it has.
        let other = wafer.forget(name("")).unwrap().plug(name("other"), 2).unwrap();
        assert_eq!(other.plugged(), (0, 3));
        assert_eq!(Arrays::from_bytes(&other.to_bytes()), Some(other));
        let mut list = [0; 64];
        let (length, plugged) = other.list(&mut list);
        assert_eq!((list.get(..length).unwrap(), plugged), (b"\x05other\x07wafer 7".as_slice(), 0));
    }

    #[test]
    fn names_are_short_and_printable() {
        assert!(Name::new("x".repeat(24).as_str()).is_ok());
        for bad in ["x".repeat(25).as_str(), "a\nb", "Größe"] {
            assert!(matches!(Name::new(bad), Err(Refusal::Invalid { field: Field::Name, .. })), "{bad:?}");
        }
    }
}
