//! `ohmrig solve` against arrays that ngspice, badcrossbar and an independent Newton solve have solved
//! (`data/reference/README.md` says how far they agree with one another).

use ohmrig::arrays;
use ohmrig_tests::{Scratch, ohmrig, run};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/reference").join(name)
}

/// Solves a case, and gives what was printed and the largest relative difference from each of `solved`.
fn solve(kind: &str, n: u32, ohm: u32, options: &[&str], solved: &[&str]) -> (Value, Vec<f64>) {
    let scratch = Scratch::new("solve");
    let found = scratch.path("i.npy");
    let case = format!("{kind}_n{n:03}");
    let (g, v) = (reference(&format!("{case}_G.npy")), reference(&format!("{case}_V.npy")));
    let mut arguments = vec!["--json".into(), "solve".into(), g.into_os_string(), v.into_os_string()];
    arguments.extend([
        "--r-wire".into(),
        ohm.to_string().into(),
        "-o".into(),
        found.clone().into_os_string(),
    ]);
    arguments.extend(options.iter().map(|option| option.into()));
    let printed = serde_json::from_str(&run(arguments)).unwrap();
    let found = arrays::read(&found, "(batch, columns)").unwrap();
    let difference = |name: &&str| {
        let path = reference(&format!("{case}_r{ohm}_{name}.npy"));
        let exact = arrays::read(&path, "(batch, columns)").unwrap();
        assert_eq!(found.dim(), exact.dim());
        found.iter().zip(&exact).map(|(found, exact)| (found / exact - 1.0).abs()).fold(0.0, f64::max)
    };
    (printed, solved.iter().map(difference).collect())
}

#[test]
fn linear_arrays_agree_with_ngspice() {
    for n in [8, 32] {
        for ohm in [1, 5] {
            // 1e-9 is what `solve` promises without --tolerance, and 1e-11 the strict bound of the references' notes.
            for (options, bound) in [(&[][..], 1e-9), (&["--tolerance", "1e-12"][..], 1e-11)] {
                let (printed, differences) = solve("lin", n, ohm, options, &["I"]);
                assert!(differences[0] <= bound, "{n} rows, {ohm} Ω: {differences:?}");
                assert!(printed["residual"].as_f64().unwrap() <= bound, "{printed}");
            }
        }
    }
}

#[test]
fn nonlinear_arrays_agree_with_ngspice_and_with_an_independent_newton_solve() {
    for n in [8, 16, 32] {
        for ohm in [1, 5] {
            let options = ["--v0", "0.25", "--tolerance", "1e-12"];
            let (_, differences) = solve("sinh", n, ohm, &options, &["I", "Inewton"]);
            // ngspice ends its own iteration at 2e-9; the Newton solve has more digits.
            assert!(differences[0] <= 1e-8, "{n} rows, {ohm} Ω: {differences:?}");
            assert!(differences[1] <= 1e-11, "{n} rows, {ohm} Ω: {differences:?}");
        }
    }
}

#[test]
fn the_object_has_the_time_the_residual_and_the_iterations_and_no_board() {
    let (printed, _) = solve("lin", 8, 1, &["--repeat", "3"], &["I"]);
    assert!(printed["wall_s"].as_f64().unwrap() > 0.0, "{printed}");
    assert!(printed["iterations"].as_u64().unwrap() > 0, "{printed}");
    for absent in ["board", "profile", "seed"] {
        assert_eq!(printed.get(absent), Some(&Value::Null), "{printed}");
    }
    assert_eq!(printed["ok"], true);
}

#[test]
fn an_array_without_an_answer_is_a_failure_with_the_residual_and_no_file() {
    let scratch = Scratch::new("solve");
    let found = scratch.path("i.npy");
    // sinh(0.2 V / 1 µV) is beyond all numbers.
    let output = Command::new(ohmrig())
        .arg("solve")
        .args([reference("sinh_n008_G.npy"), reference("sinh_n008_V.npy")])
        .args(["--r-wire", "1", "--v0", "1e-6", "-o"])
        .arg(&found)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    assert!(message.contains("no solution") && message.contains("V across it"), "{message}");
    assert!(!found.exists());
}
