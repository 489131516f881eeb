//! The two lock files, of the host's workspace and of the boards': a crate in both must be the same crate in both, or
//! the image would run other code than the tests did.

use std::{collections::BTreeMap, fs, path::Path};

use crate::Result;

/// Versions that Cargo would unify, keyed by name and leading version number, with the version locked.
type Locked<'t> = BTreeMap<(&'t str, &'t str), &'t str>;

/// Fails, naming crate and versions, where the two lock files differ.
pub(crate) fn check(root: &Path) -> Result<()> {
    let read = |path: &str| {
        fs::read_to_string(root.join(path)).map_err(|error| format!("cannot read {path}: {error}"))
    };
    let host = read("Cargo.lock")?;
    let boards = read("firmware/boards/Cargo.lock")?;
    let differences = differences(&locked(&host), &locked(&boards));
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n").into()) }
}

/// Of every `[[package]]`, name and version; `[[package]]`, `name`, `version` come in that order on lines of their own.
fn locked(lock_file: &str) -> Locked<'_> {
    let mut crates = Locked::new();
    let mut name = None;
    for line in lock_file.lines() {
        let value = |key: &str| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"');
        if let Some(found) = value("name") {
            name = Some(found);
        } else if let (Some(version), Some(name)) = (value("version"), name.take()) {
            crates.insert((name, compatible(version)), version);
        }
    }
    crates
}

/// The part of a version that compatible versions share: `1`, or `0.4`, or `0.0.3`.
fn compatible(version: &str) -> &str {
    let mut end = 0;
    for number in version.split('.') {
        end += number.len();
        if number != "0" {
            break;
        }
        end += 1;
    }
    version.get(..end).unwrap_or(version)
}

fn differences(host: &Locked<'_>, boards: &Locked<'_>) -> Vec<String> {
    let both = host.iter().filter_map(|(key, host)| boards.get(key).map(|boards| (key.0, host, boards)));
    both.filter(|(_, host, boards)| host != boards)
        .map(|(name, host, boards)| {
            format!(
                "{name} is {host} in Cargo.lock and {boards} in firmware/boards/Cargo.lock: \
                 cargo update --manifest-path firmware/boards/Cargo.toml {name}@{boards} --precise {host}"
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock_file(crates: &[(&str, &str)]) -> String {
        let package = |(name, version): &(&str, &str)| {
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ndependencies = [\n \"libm\",\n]\n\n"
            )
        };
        format!("version = 4\n\n{}", crates.iter().map(package).collect::<String>())
    }

    #[test]
    fn a_shared_crate_of_two_versions_is_named_with_both() {
        let (host, boards) = (lock_file(&[("libm", "0.2.16")]), lock_file(&[("libm", "0.2.15")]));
        let differences = differences(&locked(&host), &locked(&boards));
        assert_eq!(differences.len(), 1);
        assert!(differences[0].starts_with("libm is 0.2.16 in Cargo.lock and 0.2.15 in"), "{differences:?}");
    }

    #[test]
    fn crates_of_one_side_only_do_not_matter() {
        let host = lock_file(&[("libm", "0.2.16"), ("clap", "4.5.0")]);
        let boards = lock_file(&[("libm", "0.2.16"), ("cortex-m", "0.7.7")]);
        assert!(differences(&locked(&host), &locked(&boards)).is_empty());
    }

    #[test]
    fn incompatible_versions_of_a_name_are_different_crates() {
        let host = lock_file(&[("embedded-hal", "1.0.0")]);
        let boards = lock_file(&[("embedded-hal", "0.2.7"), ("embedded-hal", "1.0.0")]);
        assert!(differences(&locked(&host), &locked(&boards)).is_empty());
    }

    #[test]
    fn compatible_versions_share_the_numbers_up_to_the_first_that_is_not_zero() {
        assert_eq!(["1.4.2", "0.4.2", "0.0.3", "12.0.0"].map(compatible), ["1", "0.4", "0.0.3", "12"]);
    }
}
