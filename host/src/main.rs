//! The `ohmrig` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(ohmrig::cli::run(std::env::args_os()))
}
