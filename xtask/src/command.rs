//! Child processes: without a terminal, and for cargo and rustc without what the outer cargo put into the environment.

use std::process::{Command, Stdio};

use crate::Result;

/// What stays of cargo's and rustup's variables: where their files are and how to reach the registry.
const KEPT: [&str; 5] = ["CARGO_HOME", "RUSTUP_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR"];

/// Whether a nested cargo must not see the variable: the outer one's toolchain, flags and package would steer it.
fn is_cleared(variable: &str) -> bool {
    let cargos = variable.starts_with("CARGO") || variable.starts_with("RUSTC") || variable == "RUSTFLAGS";
    (cargos || variable == "RUSTUP_TOOLCHAIN" || variable == "RUSTDOCFLAGS")
        && !KEPT.iter().any(|kept| variable.starts_with(kept))
}

/// `program` with standard input closed.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// `program`, a tool of the Rust toolchain, in a clean environment.
pub(crate) fn rust_tool(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = command(program);
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(is_cleared) {
            command.env_remove(variable);
        }
    }
    command
}

/// Runs to the end, output on the terminal; an error names the command line unless it succeeded.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("$ {line}");
    let status = command.status().map_err(|error| format!("cannot run `{line}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` failed: {status}").into()) }
}

/// Runs to the end and returns standard output; an error names the command line unless it succeeded.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command.output().map_err(|error| format!("cannot run `{line}`: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("`{line}` failed: {}: {}", output.status, said.trim()).into())
    }
}

fn line(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::is_cleared;

    #[test]
    fn a_nested_cargo_sees_no_setting_of_the_outer_one() {
        for variable in [
            "CARGO",
            "CARGO_MANIFEST_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(is_cleared(variable), "{variable}");
        }
    }

    #[test]
    fn a_nested_cargo_still_finds_its_home_and_the_registry() {
        for variable in [
            "CARGO_HOME",
            "RUSTUP_HOME",
            "RUSTUP_AUTO_INSTALL",
            "CARGO_HTTP_CAINFO",
            "CARGO_NET_OFFLINE",
            "PATH",
        ] {
            assert!(!is_cleared(variable), "{variable}");
        }
    }
}
