//! Same source, same toolchain, same bytes, whatever folder the repository is in.
//!
//! Two things would carry the folder's name into an image: paths in panic messages and debug information, which rustc
//! remaps; and the hashes in symbols of crates that cargo finds by path, which decide in which order functions are laid
//! out. For these, xtask puts itself before rustc and names the crate by its place in the repository instead.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use crate::Result;

/// Set for rustc runs of a build that must be reproducible: the repository's folder.
const ROOT: &str = "OHMRIG_REPRODUCIBLE_ROOT";

/// Has `cargo` build that way.
pub(crate) fn build<'c>(cargo: &'c mut Command, root: &Path) -> Result<&'c mut Command> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let cargo_home = cargo_home.ok_or("neither CARGO_HOME nor a home folder")?;
    // Short, since every panic message has one; paths in the repository begin there. Of those that fit, the last is taken.
    let mut folders = vec![(cargo_home.clone(), "/cargo"), (root.to_path_buf(), "")];
    if let Ok(registries) = std::fs::read_dir(cargo_home.join("registry/src")) {
        let mut registries: Vec<_> = registries.flatten().map(|entry| (entry.path(), "/crates")).collect();
        registries.sort();
        folders.extend(registries);
    }
    let flags: Vec<String> =
        folders.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
    // As configuration, which cargo joins with the flags that a board has of its own; a list of strings is the same in Rust
    // and in TOML.
    Ok(cargo
        .args(["--config", &format!("target.'cfg(all())'.rustflags={flags:?}")])
        .env("RUSTC_WRAPPER", std::env::current_exe()?)
        .env(ROOT, root))
}

/// If cargo called this program in place of rustc: runs rustc, with a name of our own for crates of the repository.
pub(crate) fn rustc() -> Option<ExitCode> {
    let root = std::env::var_os(ROOT)?;
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next()?;
    let mut arguments: Vec<_> = arguments.collect();
    let place = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    if let Some(place) = place.as_deref().and_then(|place| place.strip_prefix(root).ok()) {
        let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        for (index, name) in renamed(&words, place) {
            if let Some(argument) = arguments.get_mut(index) {
                *argument = name.into();
            }
        }
    }
    let status = Command::new(&program).args(&arguments).status();
    match status {
        Ok(status) => Some(ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1))),
        Err(error) => {
            eprintln!("xtask: cannot run {}: {error}", program.display());
            Some(ExitCode::FAILURE)
        }
    }
}

/// Index and new value of the arguments `metadata=…` of a rustc run that compiles the crate in folder `place`.
fn renamed(words: &[String], place: &Path) -> Vec<(usize, String)> {
    let mut hash = Fnv::default();
    hash.add(&place.to_string_lossy());
    // What else tells two compilations of one folder apart: bin, lib or example, features, target.
    for (word, next) in words.iter().zip(words.iter().skip(1)) {
        if ["--crate-name", "--crate-type", "--cfg", "--target"].contains(&word.as_str()) {
            hash.add(next);
        }
    }
    let is_metadata = |word: &String| word.starts_with("metadata=");
    let found = words.iter().enumerate().filter(|(_, word)| is_metadata(word));
    found.map(|(index, _)| (index, format!("metadata={:016x}", hash.0))).collect()
}

/// FNV-1a, 64 bit (Fowler, Noll, Vo): names only have to differ.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, word: &str) {
        for byte in word.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(place: &str, line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let renamed = renamed(&words, Path::new(place));
        assert_eq!(renamed.len(), 1, "{line}");
        renamed[0].1.clone()
    }

    #[test]
    fn a_crate_is_named_by_its_place_and_not_by_what_cargo_made_of_the_folder_above() {
        let line =
            |hash| format!("--crate-name a --crate-type lib -C metadata={hash} -C extra-filename=-{hash}");
        assert_eq!(metadata("protocol", &line("1234")), metadata("protocol", &line("abcd")));
        assert_ne!(metadata("protocol", &line("1234")), metadata("firmware", &line("1234")));
    }

    #[test]
    fn features_and_kinds_of_one_folder_are_different_crates() {
        let plain = "--crate-name a --crate-type bin -C metadata=1";
        let featured = "--crate-name a --crate-type bin --cfg feature=\"emulated\" -C metadata=1";
        let library = "--crate-name a --crate-type lib -C metadata=1";
        assert_ne!(metadata("b", plain), metadata("b", featured));
        assert_ne!(metadata("b", plain), metadata("b", library));
    }
}
