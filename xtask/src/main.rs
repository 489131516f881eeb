//! What cargo alone can't do for ohmrig: the ARM toolchain, QEMU, board images, their sizes, the whole test run, and
//! other programs beside ours.

mod command;
mod coverage;
mod debian;
mod fuzz;
mod images;
mod lock_files;
mod netlist;
mod new_board;
mod page;
mod peers;
mod qemu;
mod reproducible;
mod sizes;
mod soak;
mod spice;
mod test_run;
mod toolchain;
#[cfg(test)]
mod unsafe_code;

use std::{path::Path, path::PathBuf, process::ExitCode};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
cargo xtask COMMAND

  test [--full]           everything: format, lints, docs, host tests, board images, tests in QEMU
                          (--full: the long ones in QEMU too)
  images [--board NAME]   board images, release, into target/images
  images --tests          the boards' embedded-test suites, which run on boards only
  reproducible [--board NAME]
                          builds a board's images (mps2-an386) again in another folder and compares
  new-board NAME [--like BOARD]
                          a new folder under firmware/boards, as a copy of BOARD (nucleo-g474re)
  sizes                   flash, static RAM and panic sites of the images against their budgets
  instructions            counts the instructions of a product in QEMU, the firmware's apart from the emulator's
  netlist                 checks OR-16's netlist, rewrites its list of pins and the tables of docs/hardware.md
  spice                   simulates OR-16's amplifiers and switches in ngspice; rewrites tables and plots of
                          docs/hardware
  toolchain               makes the boards' targets buildable
  qemu                    makes qemu-system-arm available
  coverage [FIRST LAST]   emulated boards of these seeds (1000 2999) against their truth, into docs/truth.md; hours,
                          resumes where it was left
  peers [--allow-missing] [--crosssim FOLDER]
                          ngspice, badcrossbar, SciPy, CrossSim and aihwkit beside ours: speed and agreement
                          (FOLDER: CrossSim's sources where GitHub can't be reached)
  fuzz [--seconds N] [TARGET…]
                          the fuzz targets, a minute each unless told otherwise
  soak [--minutes N] [--seed S]
                          random commands, faults and resets against ground truth (one minute, seed 1)";

fn main() -> ExitCode {
    if let Some(status) = reproducible::rustc() {
        return status;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = repository();
    let done = match arguments.as_slice() {
        ["toolchain"] => toolchain::ensure(&root).map(|toolchain| println!("{toolchain}")),
        ["images"] => images::build(&root, None),
        ["images", "--board", board] => images::build(&root, Some(board)),
        ["images", "--tests"] => images::build_tests(&root),
        ["reproducible"] => images::check_reproducible(&root, "mps2-an386"),
        ["reproducible", "--board", board] => images::check_reproducible(&root, board),
        ["new-board", name] => new_board::create(&root, name, new_board::LIKE),
        ["new-board", name, "--like", board] => new_board::create(&root, name, board),
        ["netlist"] => netlist::write(&root),
        ["spice"] => spice::simulate(&root),
        ["sizes"] => sizes::check(&root),
        ["instructions"] => toolchain::ensure(&root)
            .and_then(|toolchain| qemu::ensure().and_then(|_| qemu::check_instructions(&root, &toolchain))),
        ["qemu"] => qemu::ensure().map(|version| println!("{version}")),
        ["test"] => test_run::all(&root, test_run::Extent::Usual),
        ["test", "--full"] => test_run::all(&root, test_run::Extent::Full),
        ["coverage"] => coverage::measure(&root, None),
        ["coverage", first, last] if let (Ok(first), Ok(last)) = (first.parse(), last.parse()) => {
            coverage::measure(&root, Some((first, last)))
        }
        ["peers", words @ ..] if let Some(options) = peers::Options::parse(words) => {
            peers::compare(&root, options)
        }
        ["fuzz", words @ ..] if let Some(options) = fuzz::Options::parse(words) => {
            fuzz::run_targets(&root, &options)
        }
        ["soak", words @ ..] => soak::soak(&root, words),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the root `Cargo.toml`.
fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
