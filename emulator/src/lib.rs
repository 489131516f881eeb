//! The emulated analog bench.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod aging;
pub mod bench_server;
pub mod board;
pub mod chips;
pub mod circuit;
pub mod crossbar;
pub mod device;
pub mod effective;
pub mod flash;
pub mod fluctuation;
pub mod profile;
pub mod random;
pub mod truth;
