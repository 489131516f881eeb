//! Fuzzing with libFuzzer and the stable toolchain: what `cargo fuzz run --sanitizer none` does, without cargo-fuzz. Our
//! code is safe Rust; what a sanitizer would find, panics and bounds checks find here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use crate::{
    Result,
    command::{command, output, run, rust_tool},
};

/// Of each target, unless told otherwise.
const SECONDS: u32 = 60;

/// Edge coverage with inline counters, and comparisons that steer mutation (cargo-fuzz 0.13, `project.rs`).
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// One input may take this long, s, and the process this much memory, MB.
const TIMEOUT: u32 = 20;
const MEMORY: u32 = 2048;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options<'a> {
    seconds: u32,
    /// None for all.
    targets: Vec<&'a str>,
}

impl<'a> Options<'a> {
    /// `None` if the words aren't `[--seconds N] [TARGET…]`.
    pub(crate) fn parse(words: &[&'a str]) -> Option<Self> {
        let (seconds, targets) = match words {
            ["--seconds", seconds, targets @ ..] => (seconds.parse().ok().filter(|&n| n > 0)?, targets),
            targets => (SECONDS, targets),
        };
        let plain = targets.iter().all(|target| !target.starts_with('-'));
        plain.then(|| Self { seconds, targets: targets.to_vec() })
    }
}

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    executions: u64,
    /// Edges.
    coverage: u64,
}

/// The figures in libFuzzer's last line about itself.
fn figures(log: &str) -> Option<Figures> {
    let number_after = |line: &str, word: &str| -> Option<u64> {
        let mut words = line.split_whitespace();
        words.find(|&other| other == word)?;
        words.next()?.parse().ok()
    };
    let line = log.lines().rfind(|line| line.starts_with('#') && line.contains(" cov: "))?;
    let executions = line.split_whitespace().next()?.trim_start_matches('#').parse().ok()?;
    Some(Figures { executions, coverage: number_after(line, "cov:")? })
}

/// The targets there are, by their files.
fn all_targets(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("fuzz/fuzz_targets"))? {
        if let Some(name) = entry?.path().file_stem().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Builds all targets and runs the chosen ones, each for the time given; fails with the first finding.
pub(crate) fn run_targets(root: &Path, options: &Options<'_>) -> Result<()> {
    let all = all_targets(root)?;
    if let Some(unknown) = options.targets.iter().find(|&&target| !all.iter().any(|name| name == target)) {
        return Err(format!("there is no fuzz target {unknown}; there are {}", all.join(", ")).into());
    }
    let chosen =
        all.iter().filter(|name| options.targets.is_empty() || options.targets.contains(&name.as_str()));
    let host = host_triple()?;
    let build = root.join("target/fuzz");
    // With a target named, build scripts and macros are built without the instrumentation.
    run(rust_tool("cargo")
        .current_dir(root.join("fuzz"))
        .env("RUSTFLAGS", RUSTFLAGS)
        .env("CARGO_TARGET_DIR", &build)
        .args(["build", "--release", "--locked", "--bins", "--target", &host]))?;
    let mut table = format!("{:<20}{:>14}{:>12}{:>10}\n", "target", "executions", "per second", "edges");
    for name in chosen {
        let Figures { executions, coverage } = fuzz(root, &build, &host, name, options.seconds)?;
        let rate = executions / u64::from(options.seconds);
        table += &format!("{name:<20}{executions:>14}{rate:>12}{coverage:>10}\n");
    }
    println!("\n{table}");
    Ok(())
}

fn host_triple() -> Result<String> {
    let version = output(rust_tool("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc doesn't say what it runs on".into())
}

/// One target. What it learns is kept under `target/`; the committed corpus is where it starts from.
fn fuzz(root: &Path, build: &Path, host: &str, name: &str, seconds: u32) -> Result<Figures> {
    let learned: PathBuf = build.join("corpus").join(name);
    let findings = build.join("findings").join(name);
    fs::create_dir_all(&learned)?;
    fs::create_dir_all(&findings)?;
    let log = build.join(format!("{name}.log"));
    eprintln!("fuzzing {name} for {:?}; log in {}", Duration::from_secs(seconds.into()), log.display());
    let status = command(build.join(host).join("release").join(name))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={TIMEOUT}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .arg("-print_final_stats=1")
        .arg(&learned)
        .arg(root.join("fuzz/corpus").join(name))
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?)
        .status()?;
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        let last: Vec<&str> = said.lines().rev().take(30).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        return Err(format!(
            "{name} found something ({status}); the input is in {}:\n{}",
            findings.display(),
            last.join("\n")
        )
        .into());
    }
    figures(&said).ok_or_else(|| format!("no figures in {}", log.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_targets_may_be_told() {
        assert_eq!(Options::parse(&[]), Some(Options { seconds: SECONDS, targets: Vec::new() }));
        assert_eq!(
            Options::parse(&["--seconds", "5", "frames"]),
            Some(Options { seconds: 5, targets: vec!["frames"] })
        );
        for wrong in [&["--seconds"][..], &["--seconds", "0"], &["--quick"], &["frames", "--seconds"]] {
            assert_eq!(Options::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_last_figures_count() {
        let log = "INFO: seed corpus\n#2\tINITED cov: 120 ft: 150 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                   #5000\tDONE   cov: 345 ft: 900 corp: 80/2Kb lim: 40 exec/s: 500 rss: 60Mb\nDone 5000 runs\n";
        assert_eq!(figures(log), Some(Figures { executions: 5000, coverage: 345 }));
        assert_eq!(figures("nothing"), None);
    }

    #[test]
    fn every_target_is_built_and_has_a_corpus() {
        let root = crate::repository();
        let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        for name in all_targets(&root).unwrap() {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            let inputs = fs::read_dir(root.join("fuzz/corpus").join(&name)).unwrap().count();
            assert!(inputs > 0, "{name} has no corpus");
        }
    }
}
