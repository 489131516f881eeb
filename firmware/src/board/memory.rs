//! The core's memory as one value, so that a board names its sizes once.

use crate::core::{JobCell, Storage};

/// Memory for arrays of up to `LINES` columns and `CELLS` cells, with frames of `FRAME` bytes and an outbox of `OUTBOX`.
#[derive(Debug)]
pub struct Memory<const CELLS: usize, const LINES: usize, const FRAME: usize, const OUTBOX: usize> {
    receive: [u8; FRAME],
    transmit: [u8; OUTBOX],
    data: [u8; FRAME],
    codes: [i16; LINES],
    pulses: [u32; CELLS],
    job: [JobCell; CELLS],
    /// Samples of a trace on their way to the host: as much as the outbox.
    ring: [u8; OUTBOX],
}

impl<const CELLS: usize, const LINES: usize, const FRAME: usize, const OUTBOX: usize>
    Memory<CELLS, LINES, FRAME, OUTBOX>
{
    /// Empty, for a static.
    #[allow(clippy::new_without_default)] // Too large to be made anywhere but in a static.
    pub const fn new() -> Self {
        Self {
            receive: [0; FRAME],
            transmit: [0; OUTBOX],
            data: [0; FRAME],
            codes: [0; LINES],
            pulses: [0; CELLS],
            job: [JobCell::EMPTY; CELLS],
            ring: [0; OUTBOX],
        }
    }

    /// As the core wants it.
    pub fn storage(&mut self) -> Storage<'_> {
        let Self { receive, transmit, data, codes, pulses, job, ring } = self;
        Storage { receive, transmit, data, codes, pulses, job, ring }
    }
}
