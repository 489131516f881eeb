//! Where `unsafe` is: nowhere in the crates that carry the instrument, one named place in the host, one file per board.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::Result;

/// Crates whose whole code is safe, by the compiler's word.
const FORBIDDEN: [&str; 3] = ["protocol/src/lib.rs", "firmware/src/lib.rs", "emulator/src/lib.rs"];

/// The one place in the host: the call between fork and exec that ties QEMU's life to ours.
const HOST: &str = "host/src/qemu.rs";

/// Every Rust file below `folder`, build folders left out.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                rust_files(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// Whether a line of code, comments apart, has the keyword itself.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == "unsafe")
}

/// Files below `folder` that have unsafe code.
fn unsafe_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    rust_files(folder, &mut files)?;
    files.sort();
    let mut unsafe_ones = Vec::new();
    for path in files {
        if fs::read_to_string(&path)?.lines().any(is_unsafe) {
            unsafe_ones.push(path);
        }
    }
    Ok(unsafe_ones)
}

/// Everything wrong with where unsafe code is.
fn complaints(root: &Path) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for file in FORBIDDEN {
        let text = fs::read_to_string(root.join(file)).map_err(|error| format!("{file}: {error}"))?;
        if !text.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]") {
            complaints.push(format!("{file} doesn't forbid unsafe code"));
        }
    }
    for file in unsafe_files(&root.join("host/src"))? {
        if file != root.join(HOST) {
            complaints.push(format!("{} has unsafe code; in the host only {HOST} may", file.display()));
        }
    }
    for board in fs::read_dir(root.join("firmware/boards"))? {
        let board = board?.path();
        let source = board.join("src");
        if !source.is_dir() {
            continue;
        }
        let files = unsafe_files(&source)?;
        if files.len() > 1 {
            let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            complaints
                .push(format!("unsafe code of a board belongs in one file; it is in {}", names.join(", ")));
        }
    }
    Ok(complaints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_code_is_where_it_may_be() {
        assert_eq!(complaints(&crate::repository()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn the_keyword_is_told_from_a_lint_s_name_and_from_a_comment() {
        for line in ["unsafe {", "    unsafe fn x() {", "pub unsafe extern \"C\" {", "unsafe impl A for B {}"]
        {
            assert!(is_unsafe(line), "{line}");
        }
        for line in ["#![deny(unsafe_code)]", "// unsafe {", "let safe = 1; // not unsafe"] {
            assert!(!is_unsafe(line), "{line}");
        }
    }
}
