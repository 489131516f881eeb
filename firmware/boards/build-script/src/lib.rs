//! The build script of every board image: hands the memory map and the linker scripts to the linker, has it hash the image
//! (build id), and says in the image's section `.ohmrig` what it is, so that `ohmrig flash` and `ohmrig logs` can tell. Names
//! the source's git commit (`OHMRIG_GIT_HASH`: twelve digits; where the tree differs from it `-dirty-` and eight digits of the
//! difference; `unknown` without git).

use std::{
    env,
    error::Error,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Does all of it for an image linked by `scripts`, in their order.
///
/// # Errors
/// A folder without `memory.x`, or one that can't be written.
pub fn image(scripts: &[&str]) -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::copy("memory.x", out.join("memory.x"))?;
    let commit = commit();
    fs::write(out.join("ohmrig.x"), label_script(&label(&commit)?))?;
    println!("cargo:rustc-link-search={}", out.display());
    for script in scripts.iter().chain(&["defmt.x", "ohmrig.x"]) {
        println!("cargo:rustc-link-arg=-T{script}");
    }
    println!("cargo:rustc-link-arg=--build-id=sha1");
    // Functions with the same code are one: nothing compares the addresses of functions.
    println!("cargo:rustc-link-arg=--icf=all");
    if Path::new("tests").is_dir() {
        println!("cargo:rustc-link-arg-tests=-Tembedded-test.x");
        // Asked for by embedded-test's macro.
        println!("cargo:rustc-check-cfg=cfg(rust_analyzer)");
    }
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=.cargo/config.toml");
    println!("cargo:rustc-env=OHMRIG_GIT_HASH={commit}");
    // What moves the commit, and the sources that end up in the image.
    for name in ["HEAD", "logs/HEAD", "index"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    for folder in [
        "src",
        "../cortex-m/src",
        "../log/src",
        "../../src",
        "../../../protocol/src",
        "../../../emulator/src",
    ] {
        println!("cargo:rerun-if-changed={folder}");
    }
    Ok(())
}

/// What the image is, as `host/src/image.rs` reads it: lines of a key, `=` and a value.
fn label(commit: &str) -> Result<String, Box<dyn Error>> {
    let variable = |name| env::var(name).map_err(|error| format!("{name}: {error}"));
    let variant = if env::var_os("CARGO_FEATURE_EMULATED").is_some() { "emulated" } else { "" };
    let chip = chip(&fs::read_to_string(".cargo/config.toml")?);
    Ok(format!(
        "ohmrig=1\nboard={}\nvariant={variant}\nchip={}\nfirmware={}\ngit={commit}\n",
        variable("CARGO_PKG_NAME")?,
        chip.unwrap_or_default(),
        variable("CARGO_PKG_VERSION")?,
    ))
}

/// The chip that `cargo run` in the board's folder flashes; `None` for a board that isn't flashed.
fn chip(config: &str) -> Option<String> {
    let (_, behind) = config.split_once("\"--chip\"")?;
    behind.split('"').nth(1).map(str::to_owned)
}

/// A linker script that puts `text` into a section which isn't loaded, and the build id behind constants, where the image
/// itself reads it.
fn label_script(text: &str) -> String {
    let bytes: String = text.bytes().map(|byte| format!("    BYTE({byte})\n")).collect();
    format!(
        "SECTIONS\n{{\n  .ohmrig 0 (INFO) :\n  {{\n{bytes}  }}\n}}\n\
         SECTIONS\n{{\n  .note.gnu.build-id : ALIGN(4)\n  {{\n    __ohmrig_build_id = .;\n    \
         KEEP(*(.note.gnu.build-id));\n    . = ALIGN(4);\n  }} > FLASH\n}}\nINSERT AFTER .rodata;\n"
    )
}

fn commit() -> String {
    let Some(hash) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    if git(&["status", "--porcelain"]).is_some_and(|changes| changes.is_empty()) {
        return hash;
    }
    match difference() {
        Some(digits) => format!("{hash}-dirty-{digits}"),
        None => format!("{hash}-dirty"),
    }
}

/// Eight digits of a hash over what the tree has that the commit hasn't.
fn difference() -> Option<String> {
    let changes = Command::new("git").args(["diff", "HEAD", "--binary"]).output().ok()?;
    let mut hash = Command::new("git")
        .args(["hash-object", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    hash.stdin.take()?.write_all(&changes.stdout).ok()?;
    let output = hash.wait_with_output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.get(..8)?.to_owned())
}

/// What git answers, without the final line break; `None` if there is no git or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}
