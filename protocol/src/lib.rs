//! Wire types of ohmrig: what host, device and bench say to each other, how it is framed, and in which units.
//!
//! - [`frame`]: COBS, CRC-32, headers, an incremental decoder
//! - [`session`]: sessions, sequence numbers, refusals of the link
//! - [`message`]: requests and replies
//! - [`mod@bench`]: the hardware below the chip drivers, as calls and as bytes
//! - [`serial`]: values as bytes
//! - [`units`], [`version`], [`bytes`]
//!
//! Nothing here does I/O, allocates or panics.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo)]

#[cfg(test)]
extern crate std;

pub mod bench;
pub mod bytes;
pub mod frame;
pub mod log;
pub mod message;
pub mod serial;
pub mod session;
pub mod units;
pub mod version;
