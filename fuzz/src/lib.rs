//! What several fuzz targets use: an instrument on the wire, requests made of arbitrary numbers, the bounds that ground
//! truth must keep, and a file with the input in it.
#![forbid(unsafe_code)]

mod request;
mod wire;

pub use request::{Asked, Volt};
pub use wire::{Bounds, MOST_STEPS, Wire, emulation};

use std::io::Write;
use tempfile::NamedTempFile;

/// A file that holds `bytes`, in memory where the system has such a folder.
///
/// # Panics
/// No room for it.
#[must_use]
pub fn file(bytes: &[u8], suffix: &str) -> NamedTempFile {
    let memory = std::path::Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile_in(folder).expect("a scratch file");
    file.write_all(bytes).expect("room for a scratch file");
    file
}
