//! Wire types of ohmrig; nothing here does I/O.
#![no_std]
#![forbid(unsafe_code)]

pub mod bench;
