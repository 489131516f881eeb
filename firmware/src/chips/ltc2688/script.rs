//! Register writes and reads of an LTC2688, collected so that they cross the bus as one burst.

use super::{CHANNELS, Channel, FRAME, NO_OP, READ, Register};
use heapless::Vec;

/// Up to `N` frames, in order. A read takes its own frame and its reply comes with the frame after it,
/// so a script that ends in a read carries one no-op frame at its end, which counts towards `N`.
#[derive(Clone, Debug, Default)]
pub struct Script<const N: usize> {
    frames: Vec<[u8; FRAME], N>,
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

impl<const N: usize> Script<N> {
    /// An empty script.
    pub const fn new() -> Self {
        Self { frames: Vec::new() }
    }

    /// Appends a write.
    pub fn write(&mut self, register: Register, value: u16) -> Result<&mut Self, ScriptError> {
        if !register.is_writable() {
            return Err(ScriptError::NotWritable(register));
        }
        self.make_room(1)?;
        self.push(register.write_frame(value))?;
        Ok(self)
    }

    /// Appends writes of a channel's input register, ascending, where `codes` differ from what is `held`.
    pub fn write_changed(
        &mut self,
        held: &[u16; CHANNELS],
        codes: &[u16; CHANNELS],
    ) -> Result<&mut Self, ScriptError> {
        let changed = held.iter().zip(codes).filter(|(held, code)| held != code).count();
        if changed == 0 {
            return Ok(self);
        }
        self.make_room(changed)?;
        let first = Register::Code(Channel(0)).address();
        for ((held, code), address) in held.iter().zip(codes).zip(first..) {
            if held != code {
                let [high, low] = code.to_be_bytes();
                self.push([address, high, low])?;
            }
        }
        Ok(self)
    }

    /// Appends a read.
    pub fn read(&mut self, register: Register) -> Result<&mut Self, ScriptError> {
        self.read_from(register, 1)
    }

    /// Appends a read of a per-channel register for every channel, ascending: `read_all(Register::Code)`.
    pub fn read_all(&mut self, register: impl Fn(Channel) -> Register) -> Result<&mut Self, ScriptError> {
        self.read_from(register(Channel(0)), CHANNELS as u8)
    }

    /// Reads of `count` registers from `first` on.
    fn read_from(&mut self, first: Register, count: u8) -> Result<&mut Self, ScriptError> {
        if !first.is_readable() {
            return Err(ScriptError::NotReadable(first));
        }
        self.make_room(usize::from(count) + 1)?;
        let [address, ..] = first.read_frame();
        for address in (address..).take(usize::from(count)) {
            self.push([address, 0, 0])?;
        }
        self.push(NO_OP)?;
        Ok(self)
    }

    /// Frames as they will be sent.
    pub(super) fn frames(&self) -> &[[u8; FRAME]] {
        &self.frames
    }

    pub(super) fn has_reads(&self) -> bool {
        self.frames.iter().any(|frame| is_read(*frame))
    }

    /// Takes the final no-op back if there is one and `wanted` more frames then fit.
    fn make_room(&mut self, wanted: usize) -> Result<(), ScriptError> {
        let ends_in_no_op = self.frames.last() == Some(&NO_OP);
        let kept = self.frames.len() - usize::from(ends_in_no_op);
        if kept + wanted > N {
            return Err(ScriptError::Full { capacity: N });
        }
        self.frames.truncate(kept);
        Ok(())
    }

    fn push(&mut self, frame: [u8; FRAME]) -> Result<(), ScriptError> {
        self.frames.push(frame).map_err(|_| ScriptError::Full { capacity: N })
    }
}

/// Whether a frame asks for a register.
pub(super) fn is_read([address, ..]: [u8; FRAME]) -> bool {
    let [no_op, ..] = NO_OP;
    address & READ != 0 && address != no_op
}
