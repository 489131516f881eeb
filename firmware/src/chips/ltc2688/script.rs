//! Register writes and reads of an LTC2688, collected so that they cross the bus as one burst.

use super::{CHANNELS, Channel, FRAME, NO_OP, READ, Register};

/// Up to `N` frames, in order. A read takes its own frame and its reply comes with the frame after it,
/// so a script that ends in a read carries one no-op frame at its end, which counts towards `N`.
#[derive(Clone, Debug)]
pub struct Script<const N: usize> {
    frames: [[u8; FRAME]; N],
    length: usize,
}

/// A script could not take an entry; it is left as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// No room.
    #[error("more frames than the script's {capacity}")]
    Full {
        /// Frames it has room for, the final no-op included.
        capacity: usize,
    },
    /// The register is a write-only command.
    #[error("{0:?} cannot be read")]
    NotReadable(Register),
    /// The register is read-only.
    #[error("{0:?} cannot be written")]
    NotWritable(Register),
}

impl<const N: usize> Default for Script<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Script<N> {
    /// No frames, or no replies yet: a constant, which is copied as a whole where an expression would be built one by one.
    pub(super) const EMPTY: [[u8; FRAME]; N] = [[0; FRAME]; N];

    /// An empty script. Built where it is to be: it is long.
    #[inline(always)]
    pub const fn new() -> Self {
        Self { frames: Self::EMPTY, length: 0 }
    }

    /// Appends a write.
    pub fn write(&mut self, register: Register, value: u16) -> Result<&mut Self, ScriptError> {
        if !register.is_writable() {
            return Err(ScriptError::NotWritable(register));
        }
        if let [place] = self.room(1, 0)? {
            *place = register.write_frame(value);
        }
        Ok(self)
    }

    /// Appends writes of a channel's input register, ascending, where `codes` differ from what is `held`.
    #[allow(clippy::explicit_counter_loop)] // Here a zip is a call for every item.
    pub fn write_changed(
        &mut self,
        held: &[u16; CHANNELS],
        codes: &[u16; CHANNELS],
    ) -> Result<&mut Self, ScriptError> {
        let mut changed = 0;
        let mut before = held.iter();
        for code in codes {
            changed += usize::from(before.next() != Some(code));
        }
        if changed == 0 {
            return Ok(self);
        }
        let mut places = self.room(changed, 0)?.iter_mut();
        let mut before = held.iter();
        let mut address = Register::Code(Channel(0)).address();
        for code in codes {
            if before.next() != Some(code)
                && let Some(place) = places.next()
            {
                let [high, low] = code.to_be_bytes();
                *place = [address, high, low];
            }
            address += 1;
        }
        Ok(self)
    }

    /// Appends a read.
    pub fn read(&mut self, register: Register) -> Result<&mut Self, ScriptError> {
        self.read_from(register, 1, 0)
    }

    /// Appends a read of a register that holds `value`.
    pub fn read_held(&mut self, register: Register, value: u16) -> Result<&mut Self, ScriptError> {
        self.read_from(register, 1, carried(register, value))
    }

    /// Appends a read of a per-channel register for every channel, ascending: `read_all(Register::Code, 0)`. All settings
    /// hold `setting`.
    pub fn read_all(
        &mut self,
        register: impl Fn(Channel) -> Register,
        setting: u16,
    ) -> Result<&mut Self, ScriptError> {
        let first = register(Channel(0));
        self.read_from(first, CHANNELS, carried(first, setting))
    }

    /// Reads of `count` registers from `first` on, with `data`, and a no-op.
    fn read_from(&mut self, first: Register, count: usize, data: u16) -> Result<&mut Self, ScriptError> {
        let [high, low] = data.to_be_bytes();
        if !first.is_readable() {
            return Err(ScriptError::NotReadable(first));
        }
        let [mut address, ..] = first.read_frame();
        if let [reads @ .., last] = self.room(count, 1)? {
            for place in reads {
                *place = [address, high, low];
                address = address.wrapping_add(1);
            }
            *last = NO_OP;
        }
        Ok(self)
    }

    /// Frames as they will be sent.
    pub(super) fn frames(&self) -> &[[u8; FRAME]] {
        self.frames.get(..self.length).unwrap_or_default()
    }

    pub(super) fn has_reads(&self) -> bool {
        self.frames().iter().any(|frame| is_read(*frame))
    }

    /// Room for `wanted` more frames and `no_ops`, in place of the final no-op if there is one.
    fn room(&mut self, wanted: usize, no_ops: usize) -> Result<&mut [[u8; FRAME]], ScriptError> {
        let ends_in_no_op = self.frames().last() == Some(&NO_OP);
        let kept = self.length - usize::from(ends_in_no_op);
        let end = kept + wanted + no_ops;
        let room = self.frames.get_mut(kept..end).ok_or(ScriptError::Full { capacity: N })?;
        self.length = end;
        Ok(room)
    }
}

/// Whether a frame asks for a register.
pub(super) fn is_read([address, ..]: [u8; FRAME]) -> bool {
    let [no_op, ..] = NO_OP;
    address & READ != 0 && address != no_op
}

/// Data of a read, which the part doesn't look at. A setting's is what the setting holds: if a bit turned over makes a write of
/// the read, that changes nothing, where zeros would be another span.
fn carried(register: Register, value: u16) -> u16 {
    if matches!(register, Register::Setting(_)) { value } else { 0 }
}
