//! Register-level models of the chips on the board. Each does what its silicon does with the bits it is sent,
//! right or wrong, and is written from public sources, independently of the firmware's drivers.

pub mod ad5593r;
pub mod ad7606c;
pub mod adgs1414d;
pub mod ltc2688;
pub mod tmp117;

use alloc::vec::Vec;

/// Longest chip-select frame in bytes (the bench seam's limit).
pub const LONGEST_FRAME: usize = 32;

/// A chip behind a chip select.
pub trait SpiChip {
    /// One chip-select frame, `sdi` in and `sdo` out (same length, MSB first), chip select rising at `at_ns` of the
    /// instrument clock. Returns whether anything the chip's analog pins do may have changed.
    fn frame(&mut self, sdi: &[u8], sdo: &mut [u8], at_ns: u64) -> bool;
}

/// Which wire a disturbance is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Into the chip.
    Sdi,
    /// Out of the chip.
    Sdo,
}

/// One bit to turn over in a frame to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitFlip {
    /// Frames to let pass untouched before it: 0 hits the next one.
    pub frames_ahead: u32,
    /// On which wire.
    pub wire: Wire,
    /// Which bit of the frame in the order of the wire: 0 is the first. Past the frame's end it does nothing.
    pub bit: usize,
}

/// Turns over the bits that are due on one wire of the frame at hand.
fn disturb(flips: &[BitFlip], wire: Wire, bytes: &mut [u8]) {
    for flip in flips.iter().filter(|flip| flip.frames_ahead == 0 && flip.wire == wire) {
        turn_over(bytes, flip.bit);
    }
}

/// The frame at hand is over.
fn pass_frame(flips: &mut Vec<BitFlip>) {
    flips.retain_mut(|flip| {
        let pending = flip.frames_ahead > 0;
        flip.frames_ahead = flip.frames_ahead.saturating_sub(1);
        pending
    });
}

/// What tests can do to one chip's wires.
#[derive(Clone, Debug, Default)]
pub struct SpiFaults {
    /// The chip hears nothing and its data line stays high (pulled up).
    pub dead: bool,
    /// Bits to turn over.
    pub flips: Vec<BitFlip>,
}

/// A chip and the wires that lead to it.
#[derive(Clone, Debug)]
pub struct SpiPort<C> {
    /// The chip.
    pub chip: C,
    /// What is wrong with the wires.
    pub faults: SpiFaults,
}

impl<C: SpiChip> SpiPort<C> {
    /// A chip on sound wires.
    pub fn new(chip: C) -> Self {
        Self { chip, faults: SpiFaults::default() }
    }

    /// One frame of at most [`LONGEST_FRAME`] bytes through the wires, as [`SpiChip::frame`].
    pub fn frame(&mut self, sdi: &[u8], sdo: &mut [u8], at_ns: u64) -> bool {
        if self.faults.dead {
            sdo.fill(0xff);
            return false;
        }
        if self.faults.flips.is_empty() {
            return self.chip.frame(sdi, sdo, at_ns);
        }
        let mut disturbed = [0; LONGEST_FRAME];
        let disturbed = &mut disturbed[..sdi.len()];
        disturbed.copy_from_slice(sdi);
        disturb(&self.faults.flips, Wire::Sdi, disturbed);
        let changed = self.chip.frame(disturbed, sdo, at_ns);
        disturb(&self.faults.flips, Wire::Sdo, sdo);
        pass_frame(&mut self.faults.flips);
        changed
    }
}

fn turn_over(bytes: &mut [u8], bit: usize) {
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 0x80 >> (bit % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    struct Echo;
    impl SpiChip for Echo {
        fn frame(&mut self, sdi: &[u8], sdo: &mut [u8], _at_ns: u64) -> bool {
            sdo.copy_from_slice(sdi);
            true
        }
    }

    #[test]
    fn a_flip_hits_one_bit_of_the_frame_it_is_meant_for() {
        let mut port = SpiPort::new(Echo);
        port.faults.flips = vec![
            BitFlip { frames_ahead: 1, wire: Wire::Sdi, bit: 0 },
            BitFlip { frames_ahead: 2, wire: Wire::Sdo, bit: 15 },
        ];
        let mut seen = [[0; 2]; 4];
        for back in &mut seen {
            port.frame(&[0, 0], back, 0);
        }
        assert_eq!(seen, [[0, 0], [0x80, 0], [0, 1], [0, 0]]);
        assert!(port.faults.flips.is_empty());
    }

    #[test]
    fn a_dead_chip_hears_nothing_and_leaves_its_line_high() {
        let mut port = SpiPort::new(Echo);
        port.faults.dead = true;
        let mut back = [0; 3];
        assert!(!port.frame(&[1, 2, 3], &mut back, 0));
        assert_eq!(back, [0xff; 3]);
    }
}
