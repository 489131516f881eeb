//! `cargo xtask new-board`: a new board's folder, as a renamed copy of one that exists, which builds as it is.

use std::{fs, path::Path};

use crate::{Result, images};

/// Copied unless said otherwise: the board with everything a board can have.
pub(crate) const LIKE: &str = "nucleo-g474re";

/// Makes `firmware/boards/NAME` and lists it in the workspace.
pub(crate) fn create(root: &Path, name: &str, like: &str) -> Result<()> {
    let boards = images::boards(root)?;
    if !is_name(name) {
        return Err(format!("{name:?} is no board name: lower-case letters, digits and hyphens").into());
    }
    if !boards.iter().any(|board| board == like) {
        return Err(format!("no board {like}; there are: {}", boards.join(", ")).into());
    }
    let folder = root.join("firmware/boards").join(name);
    if folder.exists() {
        return Err(format!("{} is there already", folder.display()).into());
    }
    copy(&root.join("firmware/boards").join(like), &folder, like, name)?;
    let manifest = root.join("firmware/boards/Cargo.toml");
    let workspace = fs::read_to_string(&manifest)?;
    let listed =
        with_member(&workspace, name).ok_or("firmware/boards/Cargo.toml has no line `members = [`")?;
    fs::write(&manifest, listed)?;
    println!(
        "{}: a copy of {like}\nnext: its table in src/board.rs, its memory in memory.x, its chip in Cargo.toml and \
         .cargo/config.toml,\nits budget in xtask/src/sizes.rs; then `cargo xtask images --board {name}`. See \
         docs/new-board.md.",
        folder.display()
    );
    Ok(())
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Copies a folder, with its board's name replaced in every file.
fn copy(from: &Path, to: &Path, like: &str, name: &str) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target, like, name)?;
        } else {
            fs::write(target, fs::read_to_string(entry.path())?.replace(like, name))?;
        }
    }
    Ok(())
}

/// The workspace's manifest with one more member.
fn with_member(workspace: &str, name: &str) -> Option<String> {
    let (before, after) = workspace.split_once("members = [")?;
    Some(format!("{before}members = [\"{name}\", {after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_member_joins_the_others() {
        let workspace = "[workspace]\nmembers = [\"a\", \"b\"]\n";
        assert_eq!(
            with_member(workspace, "c").as_deref(),
            Some("[workspace]\nmembers = [\"c\", \"a\", \"b\"]\n")
        );
        assert_eq!(with_member("[workspace]\n", "c"), None);
    }

    #[test]
    fn names_are_those_a_crate_and_a_file_may_have() {
        assert!(is_name("my-board-2"));
        for name in ["", "2nd", "-x", "My-board", "a/b", "a_b", "../a"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_copy_carries_the_new_name_in_every_file() {
        let root = std::env::temp_dir().join(format!("ohmrig-new-board-{}", std::process::id()));
        fs::create_dir_all(root.join("old/src")).unwrap();
        fs::write(root.join("old/src/board.rs"), "const NAME: &str = \"old\";").unwrap();
        copy(&root.join("old"), &root.join("new"), "old", "new").unwrap();
        let copied = fs::read_to_string(root.join("new/src/board.rs")).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(copied, "const NAME: &str = \"new\";");
    }
}
