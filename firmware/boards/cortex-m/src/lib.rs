//! What every image does with its processor alone: the words of a panic kept across the reset it causes, how much of
//! the stack was ever used, the hash over its image, and one heap arena for images that carry the emulator.
#![no_std]

mod memory;

#[cfg(feature = "heap")]
pub use memory::Arena;
pub use memory::{build_id, stack, take_last_words};
