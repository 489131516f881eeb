//! Uncertainties against the truth over many emulated boards: hours, resumable, into docs/truth.md.

use std::path::Path;

use crate::{
    Result,
    command::{run, rust_tool},
};

/// Seeds for evaluation only, first and last.
const SEEDS: (u64, u64) = (1000, 2999);

/// Measures the boards of `seeds`, or all, that target/coverage.jsonl doesn't have yet, and writes docs/truth.md; an
/// error if any quantity's intervals don't hold.
pub(crate) fn measure(root: &Path, seeds: Option<(u64, u64)>) -> Result<()> {
    let (first, last) = seeds.unwrap_or(SEEDS);
    let cargo = |words: &[&str]| {
        let mut command = rust_tool("cargo");
        command.current_dir(root).args(words).args(["--profile", "checked"]);
        command
    };
    run(&mut cargo(&["build", "-p", "ohmrig"]))?;
    run(cargo(&["run", "-p", "ohmrig-tests", "--example", "coverage"])
        .args(["--", "target/coverage.jsonl", "docs/truth.md"])
        .args([first.to_string(), last.to_string()]))
}
