//! What every image does with its processor alone: the words of a panic kept across the reset it causes, how much of
//! the stack was ever used, and one heap arena for images that carry the emulator.
#![no_std]

#[cfg(feature = "heap")]
mod arena;
mod memory;
#[cfg(feature = "reset-on-panic")]
mod panic;

#[cfg(feature = "heap")]
pub use arena::Arena;
pub use memory::{stack_bytes, stack_used_bytes, take_last_words};
