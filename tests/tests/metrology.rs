//! Measuring commands against the ground truth of emulated boards; the whole run over 2000 of them is `cargo xtask coverage`.

use ohmrig_tests::coverage::{self, Outcome, Tally};
use ohmrig_tests::{Scratch, ohmrig, run};
use serde_json::Value;
use std::process::{Command, Stdio};

fn check(quantities: &[&str], outcomes: &[Outcome], least: f64) {
    for quantity in quantities {
        let tally = Tally::of(quantity, outcomes);
        assert!(tally.count >= least, "{quantity}: quoted {} times", tally.count);
        assert!(
            tally.holds(quantity),
            "{quantity}: {} of {} contain the truth, bias {:.2}",
            tally.covered,
            tally.count,
            tally.bias()
        );
    }
}

fn boards(count: u64, one: fn(u64) -> Vec<Outcome>) -> Vec<Outcome> {
    (1..=count).flat_map(one).collect()
}

#[test]
fn noise_level_and_exponent_are_covered() {
    check(&["1/f level", "1/f exponent"], &boards(30, coverage::flicker), 26.0);
}

#[test]
fn conductances_and_series_resistance_of_calibrated_boards_are_covered() {
    check(
        &["conductance", "series resistance, rows", "series resistance, columns"],
        &boards(40, coverage::calibrated),
        40.0,
    );
}

#[test]
fn v0_is_covered() {
    check(&["V0"], &boards(40, coverage::v0), 35.0);
}

#[test]
fn drift_exponents_are_covered() {
    check(&["drift exponent"], &boards(40, coverage::drift), 35.0);
}

#[test]
fn temperature_coefficients_are_covered() {
    check(&["temperature coefficient"], &boards(20, coverage::temperature), 18.0);
}

#[test]
fn traps_are_found_and_none_is_invented() {
    check(&["RTN traps found"], &boards(6, coverage::telegraph), 6.0);
}

/// Exit status and what was said, as JSON.
fn refused(arguments: &[&str]) -> (i32, String) {
    let output =
        Command::new(ohmrig()).args(["--json"]).args(arguments).stdin(Stdio::null()).output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), json["error"]["message"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn what_cannot_be_measured_is_refused_in_words() {
    let (status, message) = refused(&["noise", "--samples", "1024", "--lowest-hz", "0.01"]);
    assert_eq!(status, 2);
    assert!(message.contains("--samples"), "{message}");
    let (status, message) = refused(&["iv", "--row", "0", "--column", "0", "--max-volts", "1.5"]);
    assert_eq!(status, 2);
    assert!(message.contains("--pulse-width-s"), "{message}");
    let (status, message) = refused(&["drift", "--last-s", "2", "--per-decade", "1"]);
    assert_eq!(status, 2);
    assert!(message.contains("--per-decade"), "{message}");
}

#[test]
fn a_saturated_cell_says_so_instead_of_a_number() {
    // Resistors around 1.2 kΩ: 160 µA at 0.2 V, where range 0 is linear to 52 µA.
    let scratch = Scratch::new("saturated");
    let path = scratch.path("board.toml");
    let text = coverage::small(
        "resistor",
        &[("minimum_s = 10e-6", "minimum_s = 700e-6"), ("maximum_s = 100e-6", "maximum_s = 900e-6")],
    );
    std::fs::write(&path, text).unwrap();
    let port = format!("emulated:{}", path.display());
    let text = run(["--json", "noise", "--rows", "1", "--range", "0", "--samples", "512", "--port", &port]);
    let json: Value = serde_json::from_str(&text).unwrap();
    let saturated = json["cells"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|cell| cell["flags"].to_string().contains("saturated") && cell["flicker"].is_null());
    assert_eq!(saturated.count(), 2, "{}", json["cells"]);
}

#[test]
fn measurements_are_in_the_run_file() {
    let scratch = Scratch::new("metrology");
    let path = scratch.path("run.sqlite").display().to_string();
    run(["--run", &path, "noise", "--rows", "1", "--columns", "1", "--samples", "1024", "--keep-traces"]);
    run(["--run", &path, "iv", "--row", "0", "--column", "1"]);
    let bytes = std::fs::read(&path).unwrap();
    for kind in ["noise", "volts_amperes_uncertainty"] {
        assert!(bytes.windows(kind.len()).any(|window| window == kind.as_bytes()), "{kind}");
    }
    // 1024 samples of 8 bytes.
    assert!(bytes.len() > 8192 * 2);
}
