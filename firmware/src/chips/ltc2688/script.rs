//! Register writes and reads of an LTC2688, collected so that they cross the bus as one burst.

use super::{Channel, FRAME, NO_OP, Register};
use heapless::Vec;

/// Up to `N` frames, in order. A read takes its own frame and its reply comes with the frame after it,
/// so a script that ends in a read carries one no-op frame at its end, which counts towards `N`.
#[derive(Clone, Debug, Default)]
pub struct Script<const N: usize> {
    frames: Vec<[u8; FRAME], N>,
    /// What each frame reads, if it does; as long as `frames`.
    reads: Vec<Option<Register>, N>,
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
        Self { frames: Vec::new(), reads: Vec::new() }
    }

    /// Appends a write.
    pub fn write(&mut self, register: Register, value: u16) -> Result<&mut Self, ScriptError> {
        if !register.is_writable() {
            return Err(ScriptError::NotWritable(register));
        }
        self.make_room(1)?;
        self.push(register.write_frame(value), None)?;
        Ok(self)
    }

    /// Appends a read.
    pub fn read(&mut self, register: Register) -> Result<&mut Self, ScriptError> {
        if !register.is_readable() {
            return Err(ScriptError::NotReadable(register));
        }
        self.make_room(2)?;
        self.push(register.read_frame(), Some(register))?;
        self.push(NO_OP, None)?;
        Ok(self)
    }

    /// Appends a read of a per-channel register for every channel, ascending: `read_all(Register::Code)`.
    pub fn read_all(&mut self, register: impl Fn(Channel) -> Register) -> Result<&mut Self, ScriptError> {
        for channel in Channel::all() {
            self.read(register(channel))?;
        }
        Ok(self)
    }

    /// Frames as they will be sent.
    pub(super) fn frames(&self) -> &[[u8; FRAME]] {
        &self.frames
    }

    /// What each frame reads, if it does.
    pub(super) fn reads(&self) -> impl Iterator<Item = Option<Register>> {
        self.reads.iter().copied()
    }

    pub(super) fn has_reads(&self) -> bool {
        self.reads.iter().any(Option::is_some)
    }

    /// Takes the final no-op back if there is one and `wanted` more frames then fit.
    fn make_room(&mut self, wanted: usize) -> Result<(), ScriptError> {
        let ends_in_no_op = self.frames.last() == Some(&NO_OP);
        let kept = self.frames.len() - usize::from(ends_in_no_op);
        if kept + wanted > N {
            return Err(ScriptError::Full { capacity: N });
        }
        self.frames.truncate(kept);
        self.reads.truncate(kept);
        Ok(())
    }

    fn push(&mut self, frame: [u8; FRAME], read: Option<Register>) -> Result<(), ScriptError> {
        let full = ScriptError::Full { capacity: N };
        self.frames.push(frame).map_err(|_| full)?;
        self.reads.push(read).map_err(|_| full)
    }
}
