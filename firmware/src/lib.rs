//! The ohmrig instrument.
#![no_std]
#![forbid(unsafe_code)]

pub mod chips;
pub mod hardware;
