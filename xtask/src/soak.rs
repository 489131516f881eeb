//! The soak: builds it optimised with the checks of a debug build and runs it, with what it was told.

use std::path::Path;

use crate::{
    Result,
    command::{run, rust_tool},
};

/// Runs `tests/examples/soak.rs`; it explains its own arguments.
pub(crate) fn soak(root: &Path, words: &[&str]) -> Result<()> {
    run(rust_tool("cargo")
        .current_dir(root)
        .env("CARGO_TARGET_DIR", root.join("target"))
        .args([
            "run",
            "--quiet",
            "--profile",
            "checked",
            "--package",
            "ohmrig-tests",
            "--example",
            "soak",
            "--",
        ])
        .args(words))
}
