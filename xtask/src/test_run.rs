//! The whole test run, stage by stage, with the time each took against its budget.

use std::{
    fmt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    Result,
    command::{output, run, rust_tool},
    images, qemu, sizes, toolchain,
};

/// How much of the tests in QEMU to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Those with `qemu` in their name, without `full`.
    Usual,
    /// Those with `full` in their name too; and the tests that run on boards are built.
    Full,
}

/// Parts of the run that share a time budget (docs: two cores, cold).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    SetUp,
    Host,
    Boards,
    Qemu,
}

impl Part {
    const ALL: [Self; 4] = [Self::SetUp, Self::Host, Self::Boards, Self::Qemu];

    fn budget(self) -> Duration {
        Duration::from_secs(
            60 * match self {
                Self::SetUp | Self::Qemu => 6,
                Self::Host => 14,
                Self::Boards => 12,
            },
        )
    }

    fn name(self) -> &'static str {
        match self {
            Self::SetUp => "set-up",
            Self::Host => "host",
            Self::Boards => "boards",
            Self::Qemu => "QEMU",
        }
    }
}

/// Stages done so far.
#[derive(Debug, Default)]
struct Times(Vec<(Part, &'static str, Duration)>);

impl Times {
    fn stage<T>(&mut self, part: Part, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("\n=== {}: {name}", part.name());
        let start = Instant::now();
        let result = work();
        self.0.push((part, name, start.elapsed()));
        result.map_err(|error| format!("stage \"{}: {name}\" failed: {error}", part.name()).into())
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28}{:>10}{:>10}", "stage", "seconds", "budget")?;
        for part in Part::ALL {
            let stages = || self.0.iter().filter(|stage| stage.0 == part);
            for (_, name, time) in stages() {
                writeln!(f, "  {name:<26}{:>10.1}", time.as_secs_f64())?;
            }
            let sum: Duration = stages().map(|stage| stage.2).sum();
            let (name, budget) = (part.name(), part.budget());
            let over = if sum > budget { "  over" } else { "" };
            writeln!(f, "{name:<28}{:>10.1}{:>10}{over}", sum.as_secs_f64(), budget.as_secs())?;
        }
        Ok(())
    }
}

/// Runs every stage up to the first that fails.
pub(crate) fn all(root: &Path, extent: Extent) -> Result<()> {
    let mut times = Times::default();
    let result = stages(root, extent, &mut times);
    println!("\n{times}");
    result
}

fn stages(root: &Path, extent: Extent, times: &mut Times) -> Result<()> {
    let toolchain = times.stage(Part::SetUp, "ARM toolchain", || toolchain::ensure(root))?;
    times.stage(Part::SetUp, "QEMU", qemu::ensure)?;

    let mut host =
        |name, arguments: &[&str]| times.stage(Part::Host, name, || run(cargo(root).args(arguments)));
    host("format", &["fmt", "--all", "--check"])?;
    // One profile for all: build scripts and macros are compiled once.
    host(
        "lints",
        &["clippy", "--workspace", "--all-targets", "--profile", "checked", "--", "-D", "warnings"],
    )?;
    // A workspace of their own, which the line above doesn't see.
    host(
        "fuzz targets",
        &[
            "clippy",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    host("documentation", &["doc", "--workspace", "--no-deps", "--profile", "checked"])?;
    // The `ohmrig` binary comes with it; the end-to-end tests run it.
    host("build", &["build", "--profile", "checked", "--bins", "--tests"])?;
    host("tests", &["test", "--profile", "checked"])?;
    // Without dispatch at run time: what the target itself has (SSE2 on x86-64) has to give the bits of the widest registers.
    let narrow = ["test", "--profile", "checked", "--package", "ohmrig-emulator", "--no-default-features"];
    host("narrowest registers", &[narrow.as_slice(), &["--lib", "circuit"]].concat())?;
    host("tests of xtask", &["test", "--package", "xtask"])?;

    let boards = root.join("firmware/boards");
    times.stage(Part::Boards, "format", || {
        run(rust_tool("cargo").current_dir(&boards).args(["fmt", "--all", "--check"]))
    })?;
    times.stage(Part::Boards, "images", || images::build(root, None))?;
    times.stage(Part::Boards, "lints", || images::lint(root, &toolchain))?;
    times.stage(Part::Boards, "sizes", || sizes::check(root))?;
    times.stage(Part::Boards, "new board", || images::check_skeleton(root))?;

    times.stage(Part::Qemu, "endings", || qemu::check_endings(root, &toolchain))?;
    times.stage(Part::Qemu, "stack", || qemu::check_stack(root, &toolchain))?;
    times.stage(Part::Qemu, "instructions", || qemu::check_instructions(root, &toolchain))?;
    times.stage(Part::Qemu, "tests", || qemu_tests(root, &["qemu", "--skip", "full"]))?;
    if extent == Extent::Full {
        times.stage(Part::Boards, "tests on boards, built", || images::build_tests(root))?;
        times.stage(Part::Qemu, "full tests", || qemu_tests(root, &["full"]))?;
    }
    Ok(())
}

fn cargo(root: &Path) -> Command {
    let mut cargo = rust_tool("cargo");
    cargo.current_dir(root).env("CARGO_TARGET_DIR", root.join("target")).env("RUSTDOCFLAGS", "-D warnings");
    cargo
}

/// Runs the ignored tests that `filter` selects, on the image; of all crates, since selecting one would build another
/// graph. No test is a failure: a filter that matches nothing would otherwise skip the ARM code silently.
fn qemu_tests(root: &Path, filter: &[&str]) -> Result<()> {
    let tests = |last: &[&str]| {
        let mut cargo = cargo(root);
        cargo
            .args(["test", "--profile", "checked", "--tests", "--", "--ignored"])
            .args(filter)
            .args(last)
            .env("OHMRIG_QEMU_IMAGE", images::path(root, "mps2-an386"));
        cargo
    };
    let listed = output(&mut tests(&["--list"]))?;
    if !listed.lines().any(|line| line.ends_with(": test")) {
        return Err(format!("there is no ignored test that `{}` selects", filter.join(" ")).into());
    }
    run(&mut tests(&[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_names_its_stage() {
        let mut times = Times::default();
        let failed = times.stage(Part::Host, "lints", || Err::<(), _>("two warnings".into()));
        assert_eq!(failed.unwrap_err().to_string(), "stage \"host: lints\" failed: two warnings");
    }

    #[test]
    fn the_table_sums_stages_and_marks_a_part_over_its_budget() {
        let times = Times(vec![
            (Part::Qemu, "endings", Duration::from_secs(200)),
            (Part::Qemu, "tests", Duration::from_secs(161)),
        ]);
        let table = times.to_string();
        let line = table.lines().find(|line| line.starts_with("QEMU")).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["QEMU", "361.0", "360", "over"]);
    }
}
