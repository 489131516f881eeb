//! What a device keeps in flash: calibration records (opaque here), and whether its flash is in order.

use crate::bytes::joined;
use serde::{Deserialize, Serialize};

/// Most data of one [`Request::RecordChunk`](super::Request::RecordChunk), and of every chunk but the last.
pub const RECORD_CHUNK_BYTES: usize = 912;

/// Longest record, bytes.
pub const MAX_RECORD_BYTES: u32 = 9 * RECORD_CHUNK_BYTES as u32;

/// Records a device keeps; storing one more drops the oldest that isn't in force.
pub const RECORD_HISTORY: usize = 4;

/// Bytes of one [`RecordEntry`] on the wire.
pub const RECORD_ENTRY_BYTES: usize = 54;

/// A record's label, as the host gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordLabel {
    /// What it is, a number the host chose; one record of each kind is in force.
    pub kind: u8,
    /// When it was made, seconds since 1970-01-01 UTC by the host's clock.
    pub date: u64,
    /// Bytes in all, 1 to [`MAX_RECORD_BYTES`].
    pub length: u32,
    /// CRC-32/ISO-HDLC of them; the device checks it against what it has stored before it commits.
    pub crc: u32,
    /// Hash of them, for whoever reads it later; the device only keeps it.
    #[serde(with = "crate::bytes::array")]
    pub hash: [u8; 32],
}

/// A record a device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordEntry {
    /// Its number: larger is newer, never used again.
    pub number: u32,
    /// Whether it is the one of its kind to be used.
    pub in_force: bool,
    /// Its label.
    pub label: RecordLabel,
}

impl RecordEntry {
    /// Little-endian: number, in force (0 or 1), kind, date, length, CRC, hash.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; RECORD_ENTRY_BYTES] {
        let RecordLabel { kind, date, length, crc, hash } = self.label;
        joined(&[
            &self.number.to_le_bytes(),
            &[u8::from(self.in_force), kind],
            &date.to_le_bytes(),
            &length.to_le_bytes(),
            &crc.to_le_bytes(),
            &hash,
        ])
    }

    /// The reverse of [`to_bytes`](Self::to_bytes).
    #[must_use]
    pub fn from_bytes(bytes: &[u8; RECORD_ENTRY_BYTES]) -> Self {
        let [n0, n1, n2, n3, in_force, kind, rest @ ..] = *bytes;
        let [d0, d1, d2, d3, d4, d5, d6, d7, l0, l1, l2, l3, c0, c1, c2, c3, hash @ ..] = rest;
        Self {
            number: u32::from_le_bytes([n0, n1, n2, n3]),
            in_force: in_force != 0,
            label: RecordLabel {
                kind,
                date: u64::from_le_bytes([d0, d1, d2, d3, d4, d5, d6, d7]),
                length: u32::from_le_bytes([l0, l1, l2, l3]),
                crc: u32::from_le_bytes([c0, c1, c2, c3]),
                hash,
            },
        }
    }
}

/// Why a device's flash can't be used. It still measures; whatever must be kept is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageProblem {
    /// There is none, or too little for this array.
    TooSmall {
        /// Bytes there are.
        bytes: u32,
        /// Bytes needed.
        needed: u32,
    },
    /// Its erase unit isn't the one this firmware was built for.
    EraseUnit {
        /// Bytes the flash erases at once.
        found: u32,
        /// Bytes this firmware erases at once.
        own: u32,
    },
    /// Another firmware's layout; nothing was changed.
    Layout {
        /// Its version.
        found: u16,
        /// This firmware's.
        own: u16,
    },
    /// Contents that no ohmrig has written; nothing was changed.
    Foreign,
    /// A read, write or erase failed, or didn't read back as it was written.
    Failed {
        /// Where, bytes from the start.
        offset: u32,
    },
    /// The contents contradict themselves.
    Damaged,
    /// The plugged array was last seen with another geometry.
    Geometry {
        /// Rows then.
        rows: u16,
        /// Columns then.
        columns: u16,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_the_wire() {
        let mut hash = [0; 32];
        hash.iter_mut().zip(1..).for_each(|(byte, n)| *byte = n);
        let label = RecordLabel { kind: 3, date: 1 << 40, length: 5, crc: 0xDEAD_BEEF, hash };
        let entry = RecordEntry { number: 77, in_force: true, label };
        assert_eq!(RecordEntry::from_bytes(&entry.to_bytes()), entry);
    }
}
