//! Board images: every board under `firmware/boards`, release, one ELF each in `target/images`; and, of boards with an
//! analog side, one more with the emulator on the microcontroller.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Result,
    command::{output, run, rust_tool},
    lock_files, new_board, reproducible,
    toolchain::{self, Toolchain},
};

/// One image of one board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    board: String,
    emulated: bool,
}

impl Image {
    /// `nucleo-g474re` or `nucleo-g474re-emulated`.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", self.board, if self.emulated { "-emulated" } else { "" })
    }
}

/// Where the image called `name` is put; `qemu-system-arm -kernel` and probe-rs take it as it is.
pub(crate) fn path(root: &Path, name: &str) -> PathBuf {
    root.join("target/images").join(name).with_extension("elf")
}

/// Boards whose microcontroller is too small for their image with the emulator. None yet.
const TOO_SMALL: [&str; 0] = [];

/// The boards by name: folders under `firmware/boards` with a `.cargo/config.toml`, which says for which target.
pub(crate) fn boards(root: &Path) -> Result<Vec<String>> {
    let mut boards = Vec::new();
    for entry in fs::read_dir(root.join("firmware/boards"))? {
        let entry = entry?;
        if entry.path().join(".cargo/config.toml").is_file() {
            boards.push(entry.file_name().into_string().map_err(|name| format!("board name {name:?}"))?);
        }
    }
    boards.sort();
    if boards.is_empty() { Err("no board under firmware/boards".into()) } else { Ok(boards) }
}

/// The images of `only`, or of every board.
pub(crate) fn images(root: &Path, only: Option<&str>) -> Result<Vec<Image>> {
    let boards = boards(root)?;
    if let Some(only) = only
        && !boards.iter().any(|board| board == only)
    {
        return Err(format!("no board {only}; there are: {}", boards.join(", ")).into());
    }
    let mut images = Vec::new();
    for board in boards.into_iter().filter(|board| only.is_none_or(|only| board == only)) {
        let manifest = fs::read_to_string(root.join("firmware/boards").join(&board).join("Cargo.toml"))?;
        images.push(Image { board: board.clone(), emulated: false });
        if has_emulated_variant(&manifest) && !TOO_SMALL.contains(&board.as_str()) {
            images.push(Image { board, emulated: true });
        }
    }
    Ok(images)
}

/// Whether there is a feature `emulated` that isn't on anyway.
fn has_emulated_variant(manifest: &str) -> bool {
    let line = |start: &str| manifest.lines().find(|line| line.starts_with(start));
    line("emulated = [").is_some()
        && !line("default = [").is_some_and(|default| default.contains("\"emulated\""))
}

/// Builds the images of `only`, or of every board.
pub(crate) fn build(root: &Path, only: Option<&str>) -> Result<()> {
    let images = images(root, only)?;
    lock_files::check(root)?;
    let toolchain = toolchain::ensure(root)?;
    fs::create_dir_all(root.join("target/images"))?;
    for image in &images {
        let mut cargo = toolchain.cargo();
        in_board(cargo.arg("build"), root, &image.board);
        if image.emulated {
            cargo.args(["--features", "emulated"]);
        }
        run(reproducible::build(&mut cargo, root)?)?;
        let placed = path(root, &image.name());
        fs::copy(built(root, &image.board, &image.board)?, &placed)?;
        println!("{}", placed.display());
    }
    // Building may have written new versions into the boards' lock file.
    lock_files::check(root)
}

/// Makes a new board in a copy of the boards' workspace and builds it, with what is compiled already.
pub(crate) fn check_skeleton(root: &Path) -> Result<()> {
    const NAME: &str = "skeleton";
    let folder = root.join("firmware/boards").join(NAME);
    let files = ["firmware/boards/Cargo.toml", "firmware/boards/Cargo.lock"].map(|file| root.join(file));
    let before = files.iter().map(fs::read).collect::<std::io::Result<Vec<_>>>()?;
    let built = new_board::create(root, NAME, new_board::LIKE).and_then(|()| {
        let toolchain = toolchain::ensure(root)?;
        let mut cargo = toolchain.cargo();
        // Its lock file is one crate ahead of the committed one, so `--locked` can't be asked for.
        cargo.current_dir(&folder).args(["build", "--release", "--offline", "--target-dir"]);
        run(reproducible::build(cargo.arg(root.join("target/boards")), root)?)
    });
    for (file, bytes) in files.iter().zip(before) {
        fs::write(file, bytes)?;
    }
    fs::remove_dir_all(&folder)?;
    built
}

/// Builds the `embedded-test` suites of every board that has one; running them takes a board with its jumper wires.
pub(crate) fn build_tests(root: &Path) -> Result<()> {
    let toolchain = toolchain::ensure(root)?;
    let mut suites = 0;
    for board in boards(root)? {
        if root.join("firmware/boards").join(&board).join("tests").is_dir() {
            let mut cargo = toolchain.cargo();
            // Without the panic handler that resets: a test that fails must say so.
            in_board(cargo.args(["test", "--no-run", "--no-default-features"]), root, &board);
            run(reproducible::build(&mut cargo, root)?)?;
            suites += 1;
        }
    }
    if suites == 0 { Err("no board has tests".into()) } else { Ok(()) }
}

/// Lints the crate of every board, with and without the emulator.
pub(crate) fn lint(root: &Path, toolchain: &Toolchain) -> Result<()> {
    for image in images(root, None)? {
        let mut clippy = toolchain.clippy();
        in_board(&mut clippy, root, &image.board);
        // Examples bring no heap of their own, which the emulator would need; tests are another command's: their harness is
        // a dependency that images don't have.
        clippy.args(if image.emulated {
            &["--bins", "--features", "emulated"] as &[_]
        } else {
            &["--bins", "--examples"]
        });
        run(clippy.args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// Builds the example `name` of `board`, with more options for cargo, and returns its ELF.
pub(crate) fn example(
    root: &Path,
    toolchain: &Toolchain,
    board: &str,
    name: &str,
    options: &[&str],
) -> Result<PathBuf> {
    let mut cargo = toolchain.cargo();
    in_board(cargo.args(["build", "--example", name]).args(options), root, board);
    // As the images are built, or dependencies would be compiled twice.
    run(reproducible::build(&mut cargo, root)?)?;
    built(root, board, &format!("examples/{name}"))
}

/// Builds the images of `board` again from the last commit in another folder and compares them byte by byte.
pub(crate) fn check_reproducible(root: &Path, board: &str) -> Result<()> {
    let changes = output(rust_tool("git").current_dir(root).args(["status", "--porcelain"]))?;
    if !changes.is_empty() {
        return Err(format!("the tree differs from the last commit, so a copy would too:\n{changes}").into());
    }
    build(root, Some(board))?;
    let copy = std::env::temp_dir().join(format!("ohmrig-copy-{}", std::process::id()));
    run(rust_tool("git").arg("clone").arg("--quiet").arg(root).arg(&copy))?;
    let compared = build(&copy, Some(board)).and_then(|()| {
        for image in images(root, Some(board))? {
            let name = image.name();
            if fs::read(path(root, &name))? != fs::read(path(&copy, &name))? {
                return Err(format!("{name} built in {} has other bytes", copy.display()).into());
            }
            println!("{name} built in another folder has the same bytes");
        }
        Ok(())
    });
    fs::remove_dir_all(&copy)?;
    compared
}

/// Has `cargo` work in the board's folder, whose `.cargo/config.toml` says for which target; release, one folder for
/// all boards, and in CI with the committed lock file.
pub(crate) fn in_board<'c>(cargo: &'c mut Command, root: &Path, board: &str) -> &'c mut Command {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulated_variant_is_one_that_is_not_the_image_itself() {
        assert!(has_emulated_variant("[features]\nemulated = [\"dep:ohmrig-emulated\"]\n"));
        assert!(!has_emulated_variant("[features]\ndefault = [\"emulated\"]\nemulated = []\n"));
        assert!(!has_emulated_variant("[dependencies]\n"));
    }
}
