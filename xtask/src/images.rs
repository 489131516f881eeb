//! Board images: every crate under `firmware/boards`, release, one ELF each in `target/images`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Result,
    command::run,
    lock_files,
    toolchain::{self, Toolchain},
};

/// Where the image of `board` is put; `qemu-system-arm -kernel` takes it as it is.
pub(crate) fn path(root: &Path, board: &str) -> PathBuf {
    root.join("target/images").join(board).with_extension("elf")
}

/// The boards by name: folders under `firmware/boards` with a `Cargo.toml`.
pub(crate) fn boards(root: &Path) -> Result<Vec<String>> {
    let mut boards = Vec::new();
    for entry in fs::read_dir(root.join("firmware/boards"))? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            boards.push(entry.file_name().into_string().map_err(|name| format!("board name {name:?}"))?);
        }
    }
    boards.sort();
    if boards.is_empty() { Err("no board under firmware/boards".into()) } else { Ok(boards) }
}

/// Builds the image of `only`, or every board's.
pub(crate) fn build(root: &Path, only: Option<&str>) -> Result<()> {
    let boards = boards(root)?;
    if let Some(only) = only
        && !boards.iter().any(|board| board == only)
    {
        return Err(format!("no board {only}; there are: {}", boards.join(", ")).into());
    }
    lock_files::check(root)?;
    let toolchain = toolchain::ensure(root)?;
    fs::create_dir_all(root.join("target/images"))?;
    for board in boards.iter().filter(|board| only.is_none_or(|only| *board == only)) {
        run(in_board(toolchain.cargo().arg("build"), root, board))?;
        let image = path(root, board);
        fs::copy(built(root, board, board)?, &image)?;
        println!("{}", image.display());
    }
    // Building may have written new versions into the boards' lock file.
    lock_files::check(root)
}

/// Lints the crate of every board.
pub(crate) fn lint(root: &Path, toolchain: &Toolchain) -> Result<()> {
    for board in boards(root)? {
        run(in_board(&mut toolchain.clippy(), root, &board).args(["--all-targets", "--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// Builds the example `name` of `board` and returns its ELF.
pub(crate) fn example(root: &Path, toolchain: &Toolchain, board: &str, name: &str) -> Result<PathBuf> {
    run(in_board(toolchain.cargo().args(["build", "--example", name]), root, board))?;
    built(root, board, &format!("examples/{name}"))
}

/// Has `cargo` work in the board's folder, whose `.cargo/config.toml` says for which target; release, one folder for
/// all boards, and in CI with the committed lock file.
fn in_board<'c>(cargo: &'c mut Command, root: &Path, board: &str) -> &'c mut Command {
    cargo.current_dir(root.join("firmware/boards").join(board)).arg("--release");
    cargo.arg("--target-dir").arg(root.join("target/boards"));
    if std::env::var_os("CI").is_some() {
        cargo.arg("--locked");
    }
    cargo
}

/// The one file `name` among the release folders of all targets that `board` may have.
fn built(root: &Path, board: &str, name: &str) -> Result<PathBuf> {
    let config = fs::read_to_string(root.join("firmware/boards").join(board).join(".cargo/config.toml"))?;
    let target = config
        .lines()
        .find_map(|line| line.strip_prefix("target = \"")?.strip_suffix('"'))
        .ok_or_else(|| format!("firmware/boards/{board}/.cargo/config.toml sets no target"))?;
    Ok(root.join("target/boards").join(target).join("release").join(name))
}
