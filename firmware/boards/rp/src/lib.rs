//! What the Raspberry Pi boards share: the link over USB, clock, watchdog, why the processor started, storage.
#![no_std]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::todo)]

mod executor;
mod reset;
mod station;
mod storage;
mod usb;

pub use reset::reset_reason;
pub use station::{Link, StationParts, now_us, start};
pub use storage::{Storage, StorageError};
