//! The CRC-32 of frames and of what is kept in flash: CRC-32/ISO-HDLC (as in Ethernet; polynomial 0x04C11DB7, bits reversed).
//!
//! It goes by half bytes: half as fast as by bytes, with a table of 64 bytes instead of a kilobyte, which is what a small
//! microcontroller has less of.

/// The reversed polynomial.
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// What four bits shifted out do to the others.
#[allow(clippy::indexing_slicing)] // Evaluated by the compiler.
static TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut bits = 0;
    while bits < 16 {
        let mut crc = bits;
        let mut shifted = 0;
        while shifted < 4 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            shifted += 1;
        }
        table[bits as usize] = crc;
        bits += 1;
    }
    table
};

fn half(crc: u32) -> u32 {
    let [low, ..] = crc.to_le_bytes();
    // Four bits: there always is an entry.
    crc >> 4 ^ TABLE.get(usize::from(low & 0xF)).copied().unwrap_or_default()
}

/// The CRC of bytes that come in pieces.
#[derive(Clone, Copy, Debug)]
pub struct RunningCrc(u32);

impl Default for RunningCrc {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl RunningCrc {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = half(half(self.0 ^ u32::from(*byte)));
        }
    }

    /// The CRC of all bytes so far.
    #[must_use]
    pub fn value(self) -> u32 {
        !self.0
    }
}

/// The CRC of `bytes`.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = RunningCrc::default();
    crc.update(bytes);
    crc.value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crc::{CRC_32_ISO_HDLC, Crc};
    use proptest::prelude::*;

    #[test]
    fn it_is_the_one_of_the_catalogue() {
        // Check value of CRC-32/ISO-HDLC in the CRC RevEng catalogue.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    proptest! {
        #[test]
        fn in_one_piece_or_two_it_is_what_the_crate_says(one: std::vec::Vec<u8>, two: std::vec::Vec<u8>) {
            let reference = Crc::<u32>::new(&CRC_32_ISO_HDLC);
            let mut crc = RunningCrc::default();
            crc.update(&one);
            crc.update(&two);
            prop_assert_eq!(crc.value(), reference.checksum(&[one, two].concat()));
        }
    }
}
