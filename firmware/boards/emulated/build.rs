//! The profile, checked and turned from TOML into postcard, so that images need no parser.

use std::{env, error::Error, fs, path::PathBuf};

use ohmrig_emulator::profile::Profile;

/// Small enough for 264 KiB of RAM and for software floating point.
const LINES: u16 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let mut profile = Profile::built_in(Profile::DEFAULT)?;
    (profile.rows, profile.columns) = (LINES, LINES);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("profile.postcard"), postcard::to_allocvec(&profile)?)?;
    println!("cargo:rerun-if-changed=build.rs");
    Ok(())
}
