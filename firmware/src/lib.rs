//! The ohmrig instrument: request handling, jobs, limits, front ends and chip drivers.
//!
//! Sans-I/O: bytes are handed in and taken out, time is an argument, hardware is behind traits. The same source runs
//! natively against the emulator, as an ARM image in QEMU, and on boards.
//!
//! `#[inline(never)]` is for size. The compiler inlines a function that has one caller, however long it is, and its model of
//! ARM code sees no price in functions of 18 KB: registers run out, and what spills lies too far up the stack for short
//! instructions. Where the attribute stands it was measured to make the smallest image smaller.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo)]

#[cfg(test)]
extern crate std;

pub mod bench_hardware;
pub mod bench_link;
pub mod board;
pub mod chips;
pub mod core;
pub mod front_end;
pub mod hardware;
mod log;
pub mod openmena;
pub mod or16;
pub mod store;
