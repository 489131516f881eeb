//! A Rust toolchain that has `core` for the boards' targets: the selected one, or one laid out under `target/` around
//! Debian's compiler where rustup may not download.

use std::{
    fmt, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Result,
    command::{output, run, rust_tool},
    debian,
};

/// Targets of the boards under `firmware/boards`; `rust-toolchain.toml` lists the same for rustup.
const TARGETS: [&str; 3] = ["thumbv7em-none-eabihf", "thumbv8m.main-none-eabihf", "thumbv6m-none-eabi"];

/// Debian 12's current compiler, cargo, library source and lints. `rustc` there is years older.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"];
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust";

/// What builds the boards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The toolchain that plain `cargo` selects in the repository.
    Selected,
    /// The one laid out in this folder.
    Built(PathBuf),
}

impl Toolchain {
    /// `cargo`, in a clean environment.
    pub(crate) fn cargo(&self) -> Command {
        match self {
            Self::Selected => rust_tool("cargo"),
            Self::Built(folder) => self.tool(folder.join("bin/cargo")),
        }
    }

    /// `cargo clippy`, in a clean environment.
    pub(crate) fn clippy(&self) -> Command {
        let mut clippy = match self {
            Self::Selected => rust_tool("cargo"),
            // Clippy's driver is a compiler of its own and takes its libraries from SYSROOT.
            Self::Built(folder) => {
                let mut clippy = self.tool("/usr/bin/cargo-clippy");
                clippy.env("SYSROOT", folder).env("CARGO", folder.join("bin/cargo"));
                clippy
            }
        };
        clippy.arg("clippy");
        clippy
    }

    fn tool(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut tool = rust_tool(program);
        if let Self::Built(folder) = self {
            // Both ways to say it: cargo itself reads the first, rustup's proxies the second.
            tool.env("RUSTC", folder.join("bin/rustc")).env("RUSTUP_TOOLCHAIN", folder);
        }
        tool
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Selected => write!(f, "the selected toolchain has core for {}", TARGETS.join(", ")),
            Self::Built(folder) => {
                let folder = folder.display();
                write!(f, "core for {} is in {folder}: RUSTUP_TOOLCHAIN={folder}", TARGETS.join(", "))
            }
        }
    }
}

/// What decides how to come by `core`.
#[derive(Clone, Debug)]
struct Facts {
    /// The selected toolchain has `core` for every target.
    selected_has_core: bool,
    /// The folder under `target/` is complete and of the compiler that is installed.
    built_is_current: bool,
    /// There is a rustup, and nothing has told or shown that it can't download.
    rustup_may_download: bool,
    /// Debian packages still needed to build `core`.
    missing_packages: Vec<&'static str>,
    /// This process can install Debian packages.
    can_install: bool,
}

/// The next step towards `core`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    UseSelected,
    UseBuilt,
    AskRustup,
    Install(Vec<&'static str>),
    Build,
    Refuse(Vec<&'static str>),
}

impl Facts {
    fn next_step(&self) -> Step {
        if self.selected_has_core {
            Step::UseSelected
        } else if self.built_is_current {
            Step::UseBuilt
        } else if self.rustup_may_download {
            Step::AskRustup
        } else if self.missing_packages.is_empty() {
            Step::Build
        } else if self.can_install {
            Step::Install(self.missing_packages.clone())
        } else {
            Step::Refuse(self.missing_packages.clone())
        }
    }
}

/// Makes every target buildable and says with what.
pub(crate) fn ensure(root: &Path) -> Result<Toolchain> {
    let folder = root.join("target/arm-toolchain");
    let mut rustup_may_download = std::env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0")
        && output(rust_tool("rustup").arg("--version")).is_ok();
    let mut installed = false;
    loop {
        let missing_packages = missing_packages(root);
        let facts = Facts {
            selected_has_core: selected_has_core(root),
            built_is_current: missing_packages.is_empty() && is_current(root, &folder),
            rustup_may_download,
            missing_packages,
            can_install: !installed && debian::can_install(),
        };
        match facts.next_step() {
            Step::UseSelected => return Ok(Toolchain::Selected),
            Step::UseBuilt => return Ok(Toolchain::Built(folder)),
            Step::AskRustup => {
                let mut rustup = rust_tool("rustup");
                if let Err(error) = run(rustup.current_dir(root).args(["target", "add"]).args(TARGETS)) {
                    eprintln!("xtask: {error}; trying Debian's compiler");
                }
                rustup_may_download = false;
            }
            Step::Install(packages) => {
                debian::install(&packages)?;
                installed = true;
            }
            Step::Build => build(root, &folder)?,
            Step::Refuse(packages) => return Err(refusal(&packages).into()),
        }
    }
}

fn refusal(packages: &[&str]) -> String {
    format!(
        "no `core` for {targets} here, so the board images can't be built. One of:\n  \
         rustup, with internet access:  rustup target add {targets}\n  \
         Debian 12, as root:            apt-get install {packages}\n\
         then run this again. Host-only work doesn't need it: cargo build, cargo test.",
        targets = TARGETS.join(" "),
        packages = packages.join(" "),
    )
}

fn selected_has_core(root: &Path) -> bool {
    output(rust_tool("rustc").current_dir(root).args(["--print", "sysroot"]))
        .is_ok_and(|sysroot| has_core(Path::new(sysroot.trim())))
}

/// Whether `sysroot` has `core` for every target. A target that `rust-toolchain.toml` lists and rustup has not
/// downloaded shows nowhere else before the build fails with E0463.
fn has_core(sysroot: &Path) -> bool {
    TARGETS.iter().all(|target| {
        let libraries = fs::read_dir(sysroot.join("lib/rustlib").join(target).join("lib"));
        libraries.is_ok_and(|libraries| {
            libraries.flatten().any(|library| {
                let name = library.file_name();
                name.to_str().is_some_and(|name| name.starts_with("libcore-") && name.ends_with(".rlib"))
            })
        })
    })
}

fn missing_packages(root: &Path) -> Vec<&'static str> {
    let mut missing = debian::missing(&PACKAGES);
    if missing.is_empty() && linker(root, "").is_none() {
        missing.push("lld");
    }
    missing
}

/// A linker for ARM: the rust-lld of any toolchain, else Debian's lld. `host` may be empty for any.
fn linker(root: &Path, host: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let rustup =
        std::env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| home.map(|home| home.join(".rustup")));
    let selected = output(rust_tool("rustc").current_dir(root).args(["--print", "sysroot"])).ok();
    let toolchains = rustup.map(|rustup| children(&rustup.join("toolchains"))).unwrap_or_default();
    let mut sysroots = selected.map(|sysroot| PathBuf::from(sysroot.trim())).into_iter().chain(toolchains);
    let rust_lld = sysroots.find_map(|sysroot| {
        let hosts = children(&sysroot.join("lib/rustlib"));
        let of_host = hosts.into_iter().filter(|folder| folder.ends_with(host) || host.is_empty());
        of_host.map(|folder| folder.join("bin/rust-lld")).find(|path| path.is_file())
    });
    rust_lld.or_else(|| {
        let versions = children(Path::new("/usr/lib")).into_iter();
        let llvm = versions.filter(|path| path.to_string_lossy().starts_with("/usr/lib/llvm-"));
        llvm.map(|path| path.join("bin/lld")).find(|path| path.is_file())
    })
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// What a folder was built from; its scripts hold absolute paths, so a moved repository counts too.
fn stamp(root: &Path, folder: &Path) -> Result<String> {
    let compiler = output(rust_tool("/usr/bin/rustc").arg("-vV"))?;
    let linker = linker(root, "").ok_or("no rust-lld and no lld")?;
    Ok(format!("{compiler}{}\n{}\n{}\n", TARGETS.join(" "), linker.display(), folder.display()))
}

fn is_current(root: &Path, folder: &Path) -> bool {
    let wanted = stamp(root, folder);
    let found = fs::read_to_string(folder.join("stamp"));
    wanted.is_ok_and(|wanted| found.is_ok_and(|found| found == wanted)) && has_core(folder)
}

/// Lays out `folder` as a toolchain: Debian's rustc and cargo behind scripts that name the sysroot, Debian's libraries
/// for the host, a linker, and `core` and `alloc` compiled from Debian's library source for every target.
fn build(root: &Path, folder: &Path) -> Result<()> {
    let version = output(rust_tool("/usr/bin/rustc").arg("-vV"))?;
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("`rustc -vV` names no host")?;
    let linker = linker(root, host).ok_or("no rust-lld and no lld: apt-get install lld")?;
    eprintln!("xtask: building core and alloc for {} with Debian's compiler", TARGETS.join(", "));

    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let of_host = folder.join("lib/rustlib").join(host);
    fs::create_dir_all(of_host.join("bin"))?;
    symlink(Path::new("/usr/lib/rustlib").join(host).join("lib"), of_host.join("lib"))?;
    symlink(linker, of_host.join("bin/rust-lld"))?;
    fs::create_dir_all(folder.join("bin"))?;
    script(
        &folder.join("bin/rustc"),
        &format!("exec /usr/bin/rustc --sysroot '{}' \"$@\"", folder.display()),
    )?;
    script(&folder.join("bin/cargo"), "exec /usr/bin/cargo \"$@\"")?;

    let scratch = root.join("target/arm-toolchain-build");
    fs::create_dir_all(scratch.join("src"))?;
    fs::write(scratch.join("src/lib.rs"), "#![no_std]\n")?;
    fs::write(
        scratch.join("Cargo.toml"),
        "[package]\nname = \"core-and-alloc\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [profile.release]\ncodegen-units = 1\ndebug = \"line-tables-only\"\n",
    )?;
    let source = fs::canonicalize(DEBIAN_SOURCE)?;
    let mut cargo = Toolchain::Built(folder.to_owned()).cargo();
    cargo
        .current_dir(&scratch)
        // -Zbuild-std is unstable: the release compiler takes it with this set, and cargo, having no rust-src
        // component to look into, is told where the source is.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", source.join("library"))
        .env(
            "RUSTFLAGS",
            format!("-Cembed-bitcode=yes --remap-path-prefix={}=/rustc/debian", source.display()),
        )
        .env("CARGO_TARGET_DIR", scratch.join("target"))
        .args(["build", "-Zbuild-std=core,alloc", "--release"]);
    for target in TARGETS {
        cargo.args(["--target", target]);
    }
    run(&mut cargo)?;

    for target in TARGETS {
        let libraries = folder.join("lib/rustlib").join(target).join("lib");
        fs::create_dir_all(&libraries)?;
        for path in children(&scratch.join("target").join(target).join("release/deps")) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let wanted =
                ["libcore-", "liballoc-", "libcompiler_builtins-"].iter().any(|lib| name.starts_with(lib));
            if wanted && name.ends_with(".rlib") {
                fs::copy(&path, libraries.join(name.as_ref()))?;
            }
        }
    }
    fs::remove_dir_all(&scratch)?;
    if !has_core(folder) {
        return Err(format!("the build left no libcore in {}", folder.display()).into());
    }
    // Last: a folder without it is an interrupted build.
    fs::write(folder.join("stamp"), stamp(root, folder)?)?;
    Ok(())
}

fn script(path: &Path, line: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\n{line}\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with nothing: no core anywhere, no rustup download, no package, no right to install.
    fn bare() -> Facts {
        Facts {
            selected_has_core: false,
            built_is_current: false,
            rustup_may_download: false,
            missing_packages: PACKAGES.to_vec(),
            can_install: false,
        }
    }

    #[test]
    fn an_installed_target_is_used_whatever_else_is_there() {
        let facts =
            Facts { selected_has_core: true, built_is_current: true, rustup_may_download: true, ..bare() };
        assert_eq!(facts.next_step(), Step::UseSelected);
    }

    #[test]
    fn what_was_built_once_is_used_before_asking_the_network() {
        let facts =
            Facts { built_is_current: true, rustup_may_download: true, missing_packages: vec![], ..bare() };
        assert_eq!(facts.next_step(), Step::UseBuilt);
    }

    #[test]
    fn rustup_is_asked_before_packages_are_installed() {
        let facts = Facts { rustup_may_download: true, can_install: true, ..bare() };
        assert_eq!(facts.next_step(), Step::AskRustup);
    }

    #[test]
    fn root_installs_exactly_the_missing_packages() {
        let facts = Facts { can_install: true, missing_packages: vec!["rust-web-clippy"], ..bare() };
        assert_eq!(facts.next_step(), Step::Install(vec!["rust-web-clippy"]));
    }

    #[test]
    fn core_is_built_once_the_packages_are_there() {
        let facts = Facts { missing_packages: vec![], ..bare() };
        assert_eq!(facts.next_step(), Step::Build);
    }

    #[test]
    fn without_rights_the_refusal_names_every_way_out() {
        let Step::Refuse(packages) = bare().next_step() else { panic!("{:?}", bare().next_step()) };
        let said = refusal(&packages);
        assert!(said.contains("rustup target add thumbv7em-none-eabihf"), "{said}");
        assert!(said.contains("apt-get install rustc-web cargo-web rust-web-src rust-web-clippy"), "{said}");
    }

    #[test]
    fn a_listed_target_without_libcore_does_not_count_as_installed() {
        let sysroot = std::env::temp_dir().join(format!("ohmrig-sysroot-{}", std::process::id()));
        for target in TARGETS {
            let libraries = sysroot.join("lib/rustlib").join(target).join("lib");
            fs::create_dir_all(&libraries).unwrap();
            assert!(!has_core(&sysroot), "{target}");
            fs::write(libraries.join("libcore-0123.rlib"), "").unwrap();
        }
        assert!(has_core(&sysroot));
        fs::remove_dir_all(&sysroot).unwrap();
    }
}
