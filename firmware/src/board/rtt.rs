//! Log records for a debug probe: an up-channel of SEGGER's Real Time Transfer, which a probe reads from memory while the
//! processor runs.
//!
//! Records are kept or dropped as a whole, and whatever a probe asks for nothing ever waits for it: probe-rs sets a channel
//! to "blocking", and an image that obeyed would stop when its probe is pulled. Layout: SEGGER's `RTT/SEGGER_RTT.h`,
//! `SEGGER_RTT_CB` and `SEGGER_RTT_BUFFER_UP`.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// The control block with one up-channel of `BYTES`. It has to be in RAM under the name `_SEGGER_RTT`.
#[derive(Debug)]
#[repr(C)]
pub struct ControlBlock<const BYTES: usize> {
    id: [u8; 16],
    up_channels: u32,
    down_channels: u32,
    name: &'static [u8; 6],
    buffer: &'static [AtomicU8; BYTES],
    size: u32,
    /// Where the processor writes next; only the processor changes it.
    write: AtomicU32,
    /// Where the probe reads next; only the probe changes it.
    read: AtomicU32,
    /// What the probe asks for. Not obeyed.
    _flags: AtomicU32,
}

impl<const BYTES: usize> ControlBlock<BYTES> {
    /// A channel called `defmt`, by which probe-rs knows what is in it, with room in `buffer`.
    pub const fn new(buffer: &'static [AtomicU8; BYTES]) -> Self {
        Self {
            id: *b"SEGGER RTT\0\0\0\0\0\0",
            up_channels: 1,
            down_channels: 0,
            name: b"defmt\0",
            buffer,
            size: size::<BYTES>(),
            write: AtomicU32::new(0),
            read: AtomicU32::new(0),
            _flags: AtomicU32::new(0),
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // Kilobytes.
const fn size<const BYTES: usize>() -> u32 {
    BYTES as u32
}

/// The record being written. One for each control block.
#[derive(Debug)]
pub struct Writer {
    /// Bytes behind the channel's write index that no probe looks at yet.
    open: u32,
    spilt: bool,
}

impl Writer {
    /// Nothing written.
    #[allow(clippy::new_without_default)] // A static can't be a `Default`.
    pub const fn new() -> Self {
        Self { open: 0, spilt: false }
    }

    /// The next bytes of the record being written.
    pub fn push<const BYTES: usize>(&mut self, block: &ControlBlock<BYTES>, bytes: &[u8]) {
        let size = size::<BYTES>();
        for &byte in bytes {
            let (write, read) = (block.write.load(Ordering::Relaxed), block.read.load(Ordering::Acquire));
            // One place stays empty, or a full ring would look like an empty one. A probe may write anything to its index.
            let room = if read < size { (read + size - write - 1) % size } else { 0 };
            match block.buffer.get(((write + self.open) % size) as usize) {
                Some(slot) if self.open < room => {
                    slot.store(byte, Ordering::Relaxed);
                    self.open += 1;
                }
                _ => self.spilt = true,
            }
        }
    }

    /// The record being written is whole: the probe gets it, or nobody if there was no room.
    pub fn close<const BYTES: usize>(&mut self, block: &ControlBlock<BYTES>) {
        if !self.spilt {
            let write = (block.write.load(Ordering::Relaxed) + self.open) % size::<BYTES>();
            block.write.store(write, Ordering::Release);
        }
        *self = Self::new();
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// What a probe does: reads up to the write index, then says so.
    fn probe<const N: usize>(block: &ControlBlock<N>) -> Vec<u8> {
        let mut seen = Vec::new();
        let mut at = block.read.load(Ordering::Relaxed);
        while at != block.write.load(Ordering::Acquire) {
            seen.push(block.buffer[at as usize].load(Ordering::Relaxed));
            at = (at + 1) % N as u32;
        }
        block.read.store(at, Ordering::Release);
        seen
    }

    #[test]
    fn a_probe_sees_whole_records_only_and_a_full_ring_drops_the_next() {
        static BUFFER: [AtomicU8; 8] = [const { AtomicU8::new(0) }; 8];
        let block = ControlBlock::new(&BUFFER);
        let mut writer = Writer::new();
        writer.push(&block, &[1, 2, 3]);
        assert_eq!(probe(&block), []);
        writer.close(&block);
        writer.push(&block, &[4, 5, 6, 7, 8]);
        writer.close(&block);
        writer.push(&block, &[9, 10, 11, 12]);
        writer.close(&block);
        assert_eq!(probe(&block), [1, 2, 3, 9, 10, 11, 12]);
        for round in 0..20 {
            writer.push(&block, &[round, 1]);
            writer.push(&block, &[2, 3, 4]);
            writer.close(&block);
            assert_eq!(probe(&block), [round, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn a_probe_that_went_away_in_blocking_mode_stops_nothing() {
        static BUFFER: [AtomicU8; 8] = [const { AtomicU8::new(0) }; 8];
        let block = ControlBlock::new(&BUFFER);
        // SEGGER_RTT_MODE_BLOCK_IF_FIFO_FULL
        block._flags.store(2, Ordering::Relaxed);
        let mut writer = Writer::new();
        for _ in 0..100 {
            writer.push(&block, &[1; 5]);
            writer.close(&block);
        }
        assert_eq!(probe(&block), [1; 5]);
        // Nor does one that writes nonsense.
        block.read.store(u32::MAX, Ordering::Relaxed);
        writer.push(&block, &[1; 5]);
        writer.close(&block);
    }
}
