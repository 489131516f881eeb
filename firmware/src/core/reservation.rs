//! What may be written to cells before flash has to be told again: power lost meanwhile costs the cells all that was
//! reserved, never less than they got.
//!
//! Reservations live in epochs. A block of budgets says in which epoch it was written; after power loss it is charged
//! what was reserved in later ones. An epoch ends when every block concerned has been written in it.

use super::budgets::Exposure;
use ohmrig_protocol::message::Region;
use ohmrig_protocol::serial;
use serde::{Deserialize, Serialize};

/// Regions reserved at once.
const ENTRIES: usize = 8;
/// Single pulses reserved at once on one cell.
pub(super) const PULSES_AHEAD: u32 = 32;
/// Bytes of [`Reservations`] in flash, at most: epoch, count, and regions (four `u16`) with six numbers each.
pub(super) const RESERVATION_BYTES: usize = 5 + 1 + ENTRIES * (4 * 3 + 5 + 5 * 10);

/// What was reserved for a region.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) region: Region,
    /// For each of its cells.
    pub(super) reserved: Exposure,
    used: Exposure,
}

const NOTHING: Exposure = Exposure { pulses: 0, dose: 0, energy: 0, row: 0, column: 0, rest: 0 };
const NO_REGION: Region = Region { row: 0, column: 0, rows: 0, columns: 0 };

/// How a wish to write stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// Reserved and now taken: go ahead.
    Taken,
    /// Noted; write the reservations to flash, then ask again.
    ToBeWritten,
    /// No room; settle first, then ask again.
    Full,
}

/// What is reserved at present.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reservations {
    epoch: u32,
    entries: [Entry; ENTRIES],
    length: usize,
    /// Blocks of this epoch are being written: nothing may be added to it.
    settling: bool,
}

impl Default for Reservations {
    fn default() -> Self {
        Self {
            epoch: 1,
            entries: [Entry { region: NO_REGION, reserved: NOTHING, used: NOTHING }; ENTRIES],
            length: 0,
            settling: false,
        }
    }
}

impl Reservations {
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn entries(&self) -> &[Entry] {
        self.entries.get(..self.length).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes `each` for every cell of `region`; if too little is reserved, notes `ahead` times as much.
    pub(super) fn cover(&mut self, region: Region, each: &Exposure, ahead: u32) -> Cover {
        if self.settling {
            return Cover::Full;
        }
        let entries = self.entries.get_mut(..self.length).unwrap_or_default();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.region == region) {
            let used = entry.used.plus(each);
            if used.is_within(&entry.reserved) {
                entry.used = used;
                return Cover::Taken;
            }
            entry.reserved = entry.reserved.plus(&each.times(ahead));
            return Cover::ToBeWritten;
        }
        let Some(entry) = self.entries.get_mut(self.length) else { return Cover::Full };
        *entry = Entry { region, reserved: each.times(ahead), used: NOTHING };
        self.length += 1;
        Cover::ToBeWritten
    }

    /// From now on until [`settled`](Self::settled) the blocks concerned are written.
    pub(super) fn settle(&mut self) {
        self.settling = true;
    }

    /// Every block concerned has been written: what to write to flash, and to go on with.
    pub(super) fn settled(&self) -> Self {
        Self { epoch: self.epoch.saturating_add(1), ..Self::default() }
    }

    /// As in flash.
    pub(super) fn write<'a>(&self, into: &'a mut [u8; RESERVATION_BYTES]) -> Option<&'a [u8]> {
        let mut length = serial::put(&(self.epoch, self.length as u8), into)?;
        for entry in self.entries() {
            let Exposure { pulses, dose, energy, row, column, rest } = entry.reserved;
            let stored = Stored { region: entry.region, pulses, dose, energy, row, column, rest };
            length += serial::put(&stored, into.get_mut(length..)?)?;
        }
        into.get(..length)
    }

    /// The reverse of [`write`](Self::write), nothing of it used.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ((epoch, count), mut rest) = serial::take::<(u32, u8)>(bytes)?;
        let mut reservations = Self { epoch, ..Self::default() };
        for _ in 0..count {
            let (stored, behind) = serial::take::<Stored>(rest)?;
            rest = behind;
            let Stored { region, pulses, dose, energy, row, column, rest } = stored;
            let reserved = Exposure { pulses, dose, energy, row, column, rest };
            *reservations.entries.get_mut(reservations.length)? = Entry { region, reserved, used: reserved };
            reservations.length += 1;
        }
        Some(reservations)
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    region: Region,
    pulses: u32,
    dose: u64,
    energy: u64,
    row: u64,
    column: u64,
    rest: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CELL: Region = Region { row: 1, column: 2, rows: 1, columns: 1 };
    const PULSE: Exposure = Exposure { pulses: 1, dose: 10, energy: 20, row: 5, column: 5, rest: 0 };

    #[test]
    fn pulses_are_taken_from_what_was_written_down_before() {
        let mut reservations = Reservations::default();
        assert_eq!(reservations.cover(CELL, &PULSE, 4), Cover::ToBeWritten);
        for _ in 0..4 {
            assert_eq!(reservations.cover(CELL, &PULSE, 4), Cover::Taken);
        }
        assert_eq!(reservations.cover(CELL, &PULSE, 4), Cover::ToBeWritten);
        // Twice the voltage counts twice.
        let double = Exposure { dose: 20, ..PULSE };
        assert_eq!(reservations.cover(CELL, &double, 4), Cover::Taken);
        assert_eq!(reservations.cover(CELL, &double, 4), Cover::Taken);
        assert_eq!(reservations.cover(CELL, &double, 4), Cover::ToBeWritten);
    }

    #[test]
    fn a_full_list_and_one_being_settled_take_no_more() {
        let mut reservations = Reservations::default();
        for row in 0..ENTRIES as u16 {
            assert_eq!(reservations.cover(Region { row, ..CELL }, &PULSE, 1), Cover::ToBeWritten);
        }
        assert_eq!(reservations.cover(Region { row: 100, ..CELL }, &PULSE, 1), Cover::Full);
        reservations.settle();
        assert_eq!(reservations.cover(CELL, &PULSE, 1), Cover::Full);
        let mut next = reservations.settled();
        assert_eq!((next.epoch(), next.is_empty()), (2, true));
        assert_eq!(next.cover(CELL, &PULSE, 1), Cover::ToBeWritten);
    }

    #[test]
    fn the_largest_list_fits_and_comes_back() {
        let region = Region { row: u16::MAX, column: u16::MAX, rows: u16::MAX, columns: u16::MAX };
        let (pulses, most) = (u32::MAX, u64::MAX);
        let reserved = Exposure { pulses, dose: most, energy: most, row: most, column: most, rest: most };
        let entry = Entry { region, reserved, used: NOTHING };
        let list =
            Reservations { epoch: u32::MAX, entries: [entry; ENTRIES], length: ENTRIES, settling: false };
        let mut bytes = [0; RESERVATION_BYTES];
        let back = Reservations::from_bytes(list.write(&mut bytes).unwrap()).unwrap();
        assert_eq!((back.epoch, back.length), (u32::MAX, ENTRIES));
        assert!(back.entries().iter().all(|entry| entry.region == region && entry.reserved == reserved));
    }
}
