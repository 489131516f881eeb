//! The emulated analog bench.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod chips;
