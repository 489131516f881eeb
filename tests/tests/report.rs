//! Report and export of a run: complete, self-contained, and refused where boards are mixed.

use ohmrig_tests::{Scratch, ohmrig, run};
use serde_json::Value;
use std::process::{Command, Stdio};

/// A run file with a programming order, products and a read of one emulated array.
fn measured(scratch: &Scratch) -> String {
    let path = |name: &str| scratch.path(name).display().to_string();
    let (file, state) = (path("run"), path("state"));
    let targets = ndarray::Array2::from_shape_fn((4, 5), |(i, j)| 20e-6 + 2e-6 * (i * 5 + j) as f64);
    let input = ndarray::Array2::from_shape_fn((20, 16), |(i, j)| 0.01 * ((i * 7 + j) % 13) as f64);
    for (name, array) in [("targets.npy", &targets), ("input.npy", &input)] {
        ohmrig::arrays::write(&scratch.path(name), array.view()).unwrap();
    }
    let (targets, input) = (path("targets.npy"), path("input.npy"));
    for command in [vec!["program", &targets], vec!["mvm", &input], vec!["read", "--rows", "4"]] {
        run([&["--seed", "7", "--state", &state, "--run", &file], command.as_slice()].concat());
    }
    file
}

#[test]
fn a_report_is_one_file_that_says_where_its_numbers_are_from() {
    let scratch = Scratch::new("report");
    let file = measured(&scratch);
    let path = scratch.path("report.html");
    let said = run(["report", &file, "-o", &path.display().to_string()]);
    assert!(said.contains("report.html"), "{said}");
    let html = std::fs::read_to_string(&path).unwrap();
    for text in [
        "EMULATED",
        "or16-emulated",
        "rram-cmo",
        "seed 7",
        "window_s",
        "digest",
        "conductance_s",
        "pulses per cell",
    ] {
        assert!(html.contains(text), "no {text}");
    }
    // Error map, its histogram, convergence; currents; map and histogram of the read.
    assert_eq!(html.matches("<svg").count(), 6);
    // Nothing is fetched: the only addresses are names of formats.
    for outside in ["src=\"http", "href=\"http", "url(", "<script", "@import"] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn an_export_has_every_array_to_the_last_digit() {
    let scratch = Scratch::new("export");
    let file = measured(&scratch);
    let folder = |name: &str| scratch.path(name).display().to_string();
    run(["export", &file, "--to", "npy", "-o", &folder("npy")]);
    run(["export", &file, "--to", "csv", "-o", &folder("csv")]);
    let index = std::fs::read_to_string(scratch.path("npy/measurements.json")).unwrap();
    let index: Value = serde_json::from_str(&index).unwrap();
    assert_eq!((&index["emulated"], &index["runs"][0]["seed"]), (&Value::from(true), &Value::from("7")));
    let mut arrays = 0;
    for measurement in index["measurements"].as_array().unwrap() {
        for (name, entry) in measurement["arrays"].as_object().unwrap() {
            let npy = entry["file"].as_str().unwrap();
            let binary =
                ohmrig::arrays::read(&scratch.path(&format!("npy/{npy}")), "(rows, columns)").unwrap();
            let csv = std::fs::read_to_string(scratch.path("csv").join(npy.replace(".npy", ".csv"))).unwrap();
            let text: Vec<f64> =
                csv.lines().flat_map(|line| line.split(',')).map(|v| v.parse().unwrap()).collect();
            assert_eq!(text, binary.iter().copied().collect::<Vec<_>>(), "{name}");
            arrays += 1;
        }
    }
    // What the file has, by its own account; npy and csv of each were compared.
    assert!(arrays >= 9, "{arrays}");
}

#[test]
fn emulated_and_real_in_one_file_are_refused_and_so_is_what_is_no_run_file() {
    let scratch = Scratch::new("mixed");
    let file = measured(&scratch);
    let open = rusqlite::Connection::open(&file).unwrap();
    open.execute_batch("UPDATE run SET array = 'real board or16, 16 × 16', emulated = 0 WHERE id = 2")
        .unwrap();
    let missing = scratch.path("nothing").display().to_string();
    for (command, file, words) in [
        (["report", "-o", "x.html"], &file, ["mixes", "real board"]),
        (["export", "--to", "csv"], &file, ["mixes", "real board"]),
        (["report", "-o", "x.html"], &missing, ["nothing", "no run file"]),
    ] {
        let output = Command::new(ohmrig()).args(command).arg(file).stdin(Stdio::null()).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
}
