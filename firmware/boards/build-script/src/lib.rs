//! The build script of every board image: hands the memory map and the linker scripts to the linker, and names the
//! source's git commit (`OHMRIG_GIT_HASH`: twelve digits, `-dirty` where the tree differs from it, `unknown` without git).

use std::{env, error::Error, fs, path::Path, path::PathBuf, process::Command};

/// Does all of it for an image linked by `scripts`, in their order.
///
/// # Errors
/// A folder without `memory.x`, or one that can't be written.
pub fn image(scripts: &[&str]) -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::copy("memory.x", out.join("memory.x"))?;
    println!("cargo:rustc-link-search={}", out.display());
    for script in scripts {
        println!("cargo:rustc-link-arg=-T{script}");
    }
    if Path::new("tests").is_dir() {
        println!("cargo:rustc-link-arg-tests=-Tembedded-test.x");
    }
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=OHMRIG_GIT_HASH={}", commit());
    // What moves the commit, and the sources that end up in the image.
    for name in ["HEAD", "logs/HEAD", "index"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    for folder in ["src", "../cortex-m/src", "../../src", "../../../protocol/src", "../../../emulator/src"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    Ok(())
}

fn commit() -> String {
    match git(&["rev-parse", "--short=12", "HEAD"]) {
        Some(hash) => {
            let dirty = git(&["status", "--porcelain"]).is_none_or(|changes| !changes.is_empty());
            if dirty { format!("{hash}-dirty") } else { hash }
        }
        None => "unknown".to_owned(),
    }
}

/// What git answers, without the final line break; `None` if there is no git or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}
