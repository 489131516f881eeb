//! Other programs on the same arrays beside ours: installs what can be had of them, and prints how fast they are and how
//! far they agree.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Result,
    command::{command, output, run, rust_tool},
    debian, spice,
};

/// What can't be done without.
const BASE: &str = "base";
const NGSPICE: &str = spice::NGSPICE;

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options<'a> {
    /// End well although a peer is missing.
    pub(crate) allow_missing: bool,
    /// CrossSim's sources, where its repository can't be reached.
    pub(crate) crosssim: Option<&'a str>,
}

impl<'a> Options<'a> {
    /// From the words after `peers`; nothing for words that aren't known.
    pub(crate) fn parse(words: &[&'a str]) -> Option<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "--allow-missing" => options.allow_missing = true,
                "--crosssim" => options.crosssim = Some(words.next()?),
                _ => return None,
            }
        }
        Some(options)
    }
}

/// A peer that isn't there, and why.
struct Missing {
    name: String,
    reason: String,
}

/// Packages that belong to one peer.
#[derive(Debug, PartialEq, Eq)]
struct Group<'a> {
    name: &'a str,
    /// pip is to install these and no others.
    alone: bool,
    packages: Vec<&'a str>,
}

/// Installs the peers, runs them all, prints the tables; an error names the peers that are missing.
pub(crate) fn compare(root: &Path, options: Options<'_>) -> Result<()> {
    let scripts = root.join("xtask/peers");
    let folder = root.join("target/peers");
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let binaries = build(root)?;
    let mut missing = Vec::new();
    if let Err(error) = spice::ensure() {
        missing.push(Missing { name: NGSPICE.to_owned(), reason: cause(&error.to_string()) });
    }
    let requirements = fs::read_to_string(scripts.join("requirements.txt"))?;
    let python = python(&folder, &groups(&requirements), options, &mut missing)?;
    let mut table = command(&python);
    table.env("PYTHONDONTWRITEBYTECODE", "1");
    table.arg(scripts.join("compare.py")).arg("--folder").arg(&folder);
    table
        .arg("--ohmrig")
        .arg(binaries.join("ohmrig"))
        .arg("--operate")
        .arg(binaries.join("examples/operate"))
        .arg("--age")
        .arg(binaries.join("examples/age"))
        .arg("--profiles")
        .arg(root.join("emulator/profiles"));
    for peer in &missing {
        table.arg("--missing").arg(format!("{}={}", peer.name, peer.reason));
    }
    run(&mut table)?;
    if missing.is_empty() || options.allow_missing {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|peer| peer.name.as_str()).collect();
    Err(format!("missing: {} (with --allow-missing this is no failure)", names.join(", ")).into())
}

/// Our side, in release; the folder it is in.
fn build(root: &Path) -> Result<PathBuf> {
    let target = root.join("target");
    for what in [
        ["-p", "ohmrig", "--bins"].as_slice(),
        &["-p", "ohmrig-tests", "--example", "operate", "--example", "age"],
    ] {
        let mut cargo = rust_tool("cargo");
        cargo.current_dir(root).env("CARGO_TARGET_DIR", &target).args(["build", "--release"]).args(what);
        run(&mut cargo)?;
    }
    Ok(target.join("release"))
}

/// A Python with all groups that can be installed.
fn python(
    folder: &Path,
    groups: &[Group<'_>],
    options: Options<'_>,
    missing: &mut Vec<Missing>,
) -> Result<PathBuf> {
    let environment = folder.join("python");
    let python = environment.join("bin/python");
    if !python.exists() {
        if !has_venv() && debian::can_install() {
            debian::install(&["python3-venv"])?;
        }
        run(command("python3").args(["-m", "venv"]).arg(&environment))?;
    }
    for group in groups {
        let mut pip = command(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        if group.alone {
            pip.arg("--no-deps");
        }
        match options.crosssim {
            Some(sources) if group.name == "crosssim" => pip.arg(sources),
            _ => pip.args(&group.packages),
        };
        eprintln!("installing {}", group.name);
        if let Err(error) = output(&mut pip) {
            if group.name == BASE {
                return Err(error);
            }
            missing.push(Missing { name: group.name.to_owned(), reason: cause(&error.to_string()) });
        }
    }
    Ok(python)
}

fn has_venv() -> bool {
    output(command("python3").args(["-c", "import ensurepip, venv"])).is_ok()
}

/// The cause in what pip or apt said: not the advice that comes after it.
fn cause(text: &str) -> String {
    let marked = ["fatal: ", "ERROR: ", "E: "].iter().find_map(|mark| text.find(mark).map(|at| &text[at..]));
    marked.unwrap_or(text).lines().next().unwrap_or("no reason given").trim().to_owned()
}

/// The groups of a requirements file: each begins with a comment `# [name]`, followed by `no-deps` or a remark.
fn groups(requirements: &str) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for line in requirements.lines().map(str::trim) {
        if let Some((name, rest)) = line.strip_prefix("# [").and_then(|head| head.split_once(']')) {
            groups.push(Group { name, alone: rest.trim().starts_with("no-deps"), packages: Vec::new() });
        } else if !line.is_empty()
            && !line.starts_with('#')
            && let Some(group) = groups.last_mut()
        {
            group.packages.push(line);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_its_packages_and_says_whether_pip_may_add_others() {
        let text = "# What is installed.\n# [base]\na==1\nb==2\n\n# [peer] no-deps: it needs none.\nc @ git+https://x\n";
        assert_eq!(
            groups(text),
            [
                Group { name: "base", alone: false, packages: vec!["a==1", "b==2"] },
                Group { name: "peer", alone: true, packages: vec!["c @ git+https://x"] },
            ]
        );
    }

    #[test]
    fn every_package_that_is_installed_has_its_version_pinned() {
        let committed = groups(include_str!("../peers/requirements.txt"));
        assert_eq!(committed[0].name, BASE);
        for package in committed.iter().flat_map(|group| &group.packages) {
            let commit = package.rsplit_once('@').map_or("", |(_, commit)| commit);
            let pinned = package.contains("==") || commit.len() == 40;
            assert!(pinned, "{package}");
        }
    }

    #[test]
    fn the_cause_is_told_and_not_the_advice_after_it() {
        let pip = "`pip` failed: exit status: 1: warning\n  fatal: unable to access 'x'\n  note: not pip's problem.";
        assert_eq!(cause(pip), "fatal: unable to access 'x'");
        assert_eq!(cause("cannot run `python3`: not found"), "cannot run `python3`: not found");
    }

    #[test]
    fn an_unknown_word_is_no_command_line() {
        let options = Options::parse(&["--crosssim", "sources", "--allow-missing"]);
        assert_eq!(options, Some(Options { allow_missing: true, crosssim: Some("sources") }));
        for words in [["--crosssim"].as_slice(), &["--allow"]] {
            assert_eq!(Options::parse(words), None);
        }
    }
}
