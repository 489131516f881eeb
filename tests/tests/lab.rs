//! Wear, disturb and temperature against the ground truth of emulated boards, and what can't be measured, said in words.

use ohmrig_tests::coverage::small;
use ohmrig_tests::{Scratch, ohmrig};
use serde_json::Value;
use std::process::{Command, Stdio};

/// A board of a profile's text that keeps its state, with its truth beside it.
struct Bench(Scratch);

impl Bench {
    fn new(name: &str, text: &str) -> Self {
        let scratch = Scratch::new(name);
        std::fs::write(scratch.path("board.toml"), text).unwrap();
        Self(scratch)
    }

    /// Exit status and JSON.
    fn try_run(&self, arguments: &[&str]) -> (i32, Value) {
        let path = |name: &str| self.0.path(name).display().to_string();
        let port = format!("emulated:{}", path("board.toml"));
        let output = Command::new(ohmrig())
            .args(["--json", "--seed", "7", "--port", &port])
            .args(["--state", &path("state"), "--truth", &path("truth.json")])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let json = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().unwrap(), json)
    }

    fn run(&self, arguments: &[&str]) -> Value {
        let (status, json) = self.try_run(arguments);
        assert_eq!(status, 0, "{arguments:?}: {json}");
        json
    }

    /// As refused: its status and message.
    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let (status, json) = self.try_run(arguments);
        let message = json["error"]["message"].as_str();
        (status, message.unwrap_or_else(|| panic!("{arguments:?}: {json}")).to_owned())
    }

    /// (Conductance in S, pulses) of every cell, row by row.
    fn truth(&self) -> Vec<(f64, u64)> {
        let json: Value = serde_json::from_slice(&std::fs::read(self.0.path("truth.json")).unwrap()).unwrap();
        let cells = json["cells"].as_array().unwrap();
        cells.iter().map(|c| (c["conductance_s"].as_f64().unwrap(), c["pulses"].as_u64().unwrap())).collect()
    }
}

/// A built-in profile of 16 × 16 with changes.
fn profile(name: &str, changes: &[(&str, &str)]) -> String {
    small(name, changes).replace("rows = 2\n", "rows = 16\n").replace("columns = 2\n", "columns = 16\n")
}

/// Disturb strong enough to be seen at V/2.
const EASILY_DISTURBED: [(&str, &str); 2] =
    [("at_threshold = 1e-3", "at_threshold = 0.02"), ("volts_per_decade = 0.1", "volts_per_decade = 0.5")];

/// Resistors around 1.2 kΩ: 160 µA at 0.2 V, where range 0 is linear to 52 µA.
const SATURATING: [(&str, &str); 2] =
    [("minimum_s = 10e-6", "minimum_s = 700e-6"), ("maximum_s = 100e-6", "maximum_s = 900e-6")];

#[test]
fn endurance_says_beforehand_what_it_will_use_and_uses_that() {
    let bench = Bench::new("endurance", &small("rram-cmo", &[]));
    let json = bench.run(&[
        "endurance",
        "--row",
        "0",
        "--column",
        "0",
        "--columns",
        "2",
        "--cycles",
        "50",
        "--pulses",
        "1",
        "--window",
        "1.001",
    ]);
    assert_eq!(json["budget"]["pulses"], 100.0, "{json}");
    let truth = bench.truth();
    assert_eq!(truth.iter().map(|cell| cell.1).collect::<Vec<_>>(), [100, 100, 0, 0]);
    for (cell, (siemens, _)) in json["cells"].as_array().unwrap().iter().zip(truth) {
        assert_eq!(cell["cycles"], 50.0);
        let last = cell["points"].as_array().unwrap().last().unwrap();
        // It ended in RESET. 1/f noise of 0.28 % per square root of an e-fold at 10 µS over some 14 of them is 1 %: three of
        // those, and a cell that relaxes on.
        let read = last["reset_s"].as_f64().unwrap();
        assert!((read / siemens - 1.0).abs() < 0.05, "{read} {siemens}");
        // Sixteen conversions of some 70 µV each, of the 200 mV that 10 µS make behind 100 kΩ: a ten-thousandth, and no less
        // than quantisation leaves.
        let known = last["reset_uncertainty_s"].as_f64().unwrap() / read;
        assert!(known > 1e-6 && known < 1e-2, "{last}");
    }
}

#[test]
fn a_device_fails_where_its_truth_does() {
    // Range left 1 − (n/1200)²: bounds meet at 0.8 of the range after 1200 pulses, 200 cycles; a fully switched device is below 1.5
    // after 0.82 of them, one whose pulses fall short earlier.
    let text = small("rram-cmo", &[("pulses = 1e8\nspread = 0.5", "pulses = 1200.0\nspread = 0.0")]);
    let bench = Bench::new("wear", &text);
    let json =
        bench.run(&["endurance", "--row", "0", "--column", "0", "--cycles", "2000", "--per-decade", "20"]);
    let cell = &json["cells"][0];
    assert!(cell["stopped"].as_str().unwrap().contains("window closed"), "{cell}");
    let between: Vec<f64> =
        cell["failed_between"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    // The grid's next number after 200 is 224.
    assert!(between[0] >= 80.0 && between[0] <= 200.0 && between[1] <= 225.0, "{between:?}");
    // Three reads without a window, and no pulse more.
    assert!(cell["cycles"].as_f64().unwrap() < 300.0, "{cell}");
}

#[test]
fn cycles_beyond_a_cells_budget_are_refused_before_the_first_pulse() {
    let bench = Bench::new("budget", &small("rram-cmo", &[]));
    bench.run(&["budget", "--limit-pulses", "100"]);
    let (status, message) =
        bench.refused(&["endurance", "--row", "1", "--column", "0", "--cycles", "51", "--pulses", "1"]);
    assert_eq!(status, 3, "{message}");
    assert!(message.contains("row 1, column 0") && message.contains("50 cycles"), "{message}");
    assert!(bench.truth().iter().all(|cell| cell.1 == 0));
    bench.run(&[
        "endurance",
        "--row",
        "1",
        "--column",
        "0",
        "--cycles",
        "50",
        "--pulses",
        "1",
        "--window",
        "1.001",
    ]);
    assert_eq!(bench.truth()[2].1, 100);
}

#[test]
fn a_device_that_does_not_switch_is_said_to() {
    let text = small("rram-cmo", &[("stuck_fraction = 0.0", "stuck_fraction = 1.0")]);
    let bench = Bench::new("stuck", &text);
    let json = bench.run(&["endurance", "--row", "0", "--column", "0", "--cycles", "1000"]);
    let cell = &json["cells"][0];
    assert!(cell["stopped"].as_str().unwrap().contains("doesn't switch"), "{cell}");
    assert!(cell["cycles"].as_f64().unwrap() <= 4.0, "after three reads it is left alone: {cell}");
    let targets = bench.0.path("targets.npy");
    ohmrig::arrays::write(&targets, ndarray::array![[80e-6, 80e-6]].view()).unwrap();
    let json = bench.run(&["program", &targets.display().to_string()]);
    let excluded = json["excluded_cells"].as_array().unwrap();
    assert!(excluded.iter().any(|cell| cell["why"] == "doesn't move"), "{json}");
}

#[test]
fn disturbed_cells_change_as_their_truth_does() {
    let bench = Bench::new("disturb", &profile("rram-cmo", &EASILY_DISTURBED));
    bench.run(&["info"]);
    let before = bench.truth();
    let json = bench.run(&["disturb", "--schemes", "half", "--pulses", "300"]);
    let after = bench.truth();
    let change = |cells: &[usize]| {
        cells.iter().map(|&cell| after[cell].0 / before[cell].0 - 1.0).sum::<f64>() / cells.len() as f64
    };
    let row: Vec<usize> = (1..16).collect();
    let column: Vec<usize> = (1..16).map(|row| 16 * row).collect();
    let last = json["schemes"][0]["reads"].as_array().unwrap().last().unwrap();
    assert_eq!(last["pulses"], 300);
    for (place, cells) in [("same row", row), ("same column", column)] {
        let (truth, found) = (change(&cells), last[place]["change"]["value"].as_f64().unwrap());
        println!("{place}: {found:.4}, truly {truth:.4}");
        // 1/f noise of 0.28 % per square root of an e-fold, in two reads some 14 e-folds apart: 1.5 % of a cell, 0.4 % of the mean
        // of 15; 3.5 of them.
        assert!((found - truth).abs() < 0.014, "{place}: {found}, truly {truth}");
        assert!(truth > 0.03 && last[place]["significant"] == true, "{place}: {truth}, {last}");
    }
    // 225 cells at 0 V: nothing happens to them; the mean of their noise is 0.1 %.
    let elsewhere = &last["elsewhere"]["excess"];
    assert!(elsewhere["value"].as_f64().unwrap().abs() < 0.005, "{elsewhere}");
}

#[test]
fn jobs_say_whether_the_current_of_their_pulses_is_limited() {
    let bench = Bench::new("current", &small("rram-hfox", &[]));
    let targets = bench.0.path("targets.npy");
    ohmrig::arrays::write(&targets, ndarray::array![[20e-6, 20e-6], [20e-6, 20e-6]].view()).unwrap();
    let targets = targets.display().to_string();
    for (scheme, limited) in [("half", true), ("symmetric-half", false)] {
        let formed = bench.run(&["form", "--volts", "1:0.1:1.2", "--max-pulses", "3", "--scheme", scheme]);
        assert_eq!(formed["current_limited"], limited, "{scheme}: {formed}");
        let programmed = bench.run(&["program", &targets, "--passes", "1", "--scheme", scheme]);
        assert_eq!(programmed["current_limited"], limited, "{scheme}: {programmed}");
    }
}

#[test]
fn schemes_are_compared_side_by_side_and_those_that_limits_refuse_are_named() {
    let bench = Bench::new("schemes", &profile("rram-cmo", &EASILY_DISTURBED));
    let json = bench.run(&["disturb", "--volts", "1.6", "--pulses", "100"]);
    let schemes = json["schemes"].as_array().unwrap();
    let names: Vec<&str> = schemes.iter().map(|scheme| scheme["scheme"].as_str().unwrap()).collect();
    assert_eq!(names, ["half", "third", "floating", "grounded"]);
    let last = |scheme: usize, place: &str| {
        let read = schemes[scheme]["reads"].as_array().unwrap().last().unwrap();
        read[place]["excess"]["value"].as_f64().unwrap()
    };
    // With other columns at 0 V, cells of the row get all of V; those of the column nothing.
    assert!(last(3, "same row") > 2.0 * last(0, "same row"), "{json}");
    assert!(last(0, "same column") > 2.0 * last(3, "same column").abs(), "{json}");
    assert!(last(0, "same row") > last(1, "same row"), "V/2 disturbs more than V/3: {json}");

    let json = bench.run(&["disturb", "--row", "8", "--column", "8", "--volts", "3", "--pulses", "2"]);
    for scheme in json["schemes"].as_array().unwrap() {
        let limited = ["floating", "grounded"].contains(&scheme["scheme"].as_str().unwrap());
        assert_eq!(scheme["refused"].is_string(), limited, "{scheme}");
        assert!(!limited || scheme["refused"].as_str().unwrap().contains("2.6"), "{scheme}");
    }
}

#[test]
fn a_scheme_that_a_board_has_not_is_named_and_the_others_are_compared() {
    let bench = Bench::new("shield", include_str!("../../emulator/profiles/openmena.toml"));
    let json = bench.run(&["disturb", "--schemes", "half,grounded,symmetric-half", "--pulses", "2"]);
    let schemes = json["schemes"].as_array().unwrap();
    assert!(schemes[0]["refused"].as_str().unwrap().contains("the scheme of unselected lines"), "{json}");
    for scheme in &schemes[1..] {
        assert_eq!(scheme["reads"].as_array().unwrap().last().unwrap()["pulses"], 2, "{json}");
    }
    // The cell of the scheme that isn't there got no pulse, nor did its row; the others got theirs.
    let pulses: Vec<u64> = bench.truth().iter().map(|cell| cell.1).collect();
    assert_eq!((&pulses[..8], pulses[8 + 1], pulses[16 + 2]), (&[0; 8][..], 2, 2));

    let (status, message) = bench.refused(&["endurance", "--row", "0", "--column", "0", "--scheme", "half"]);
    assert_eq!(status, 2, "{message}");
    assert!(message.contains("the scheme of unselected lines"), "{message}");
}

#[test]
fn cells_that_have_no_change_are_left_out_of_disturb_with_the_reason() {
    let bench =
        Bench::new("left-out", &profile("rram-cmo", &[("open_fraction = 0.0", "open_fraction = 0.02")]));
    let json = bench.run(&["disturb", "--schemes", "half", "--pulses", "3"]);
    let open: Vec<Value> = bench
        .truth()
        .iter()
        .enumerate()
        .filter(|(_, cell)| cell.0 == 0.0)
        .map(|(cell, _)| serde_json::json!({"row": cell / 16, "column": cell % 16, "why": "doesn't conduct"}))
        .collect();
    assert!(!open.is_empty(), "this seed has open cells");
    assert_eq!(json["left_out"], Value::from(open.clone()), "{json}");
    // All others but the pulsed one are in some group.
    let last = json["schemes"][0]["reads"].as_array().unwrap().last().unwrap();
    let told = ["same row", "same column", "elsewhere"].map(|place| last[place]["cells"].as_u64().unwrap());
    let pulsed_is_open = open.iter().any(|cell| cell["row"] == 0 && cell["column"] == 0);
    assert_eq!(told.iter().sum::<u64>() as usize, 256 - open.len() - usize::from(!pulsed_is_open), "{last}");
}

#[test]
fn disturb_refuses_what_it_cannot_do_before_any_pulse() {
    let bench = Bench::new("disturb-refused", &small("rram-cmo", &[]));
    bench.run(&["info"]);
    for (arguments, words) in [
        (&["--volts", "0"][..], "--volts 0"),
        (&["--volts", "NaN"], "--volts NaN"),
        (&["--width-s", "0"], "--width-s 0"),
        (&["--pulses", "0"], "--pulses"),
        (&["--schemes", "quarter"], "quarter"),
        (&["--conversions", "0"], "--conversions"),
        // Four schemes take four rows and columns.
        (&[], "4 schemes from row 0, column 0"),
        (&["--schemes", "half,third", "--row", "1"], "2 schemes from row 1, column 0"),
    ] {
        let (status, message) = bench.refused(&[&["disturb"], arguments].concat());
        assert_eq!(status, 2, "{arguments:?}: {message}");
        assert!(message.contains(words), "{arguments:?}: {message}");
    }
    assert!(bench.truth().iter().all(|cell| cell.1 == 0), "no cell got a pulse");
}

#[test]
fn verify_reads_use_the_range_that_was_asked_for() {
    let bench = Bench::new("verify-range", &small("rram-cmo", &[]));
    let targets = bench.0.path("targets.npy");
    ohmrig::arrays::write(&targets, ndarray::array![[40e-6, 40e-6], [60e-6, 60e-6]].view()).unwrap();
    let (targets, file) = (targets.display().to_string(), bench.0.path("run"));
    let file = file.display().to_string();
    let uncertainty = |range: &[&str]| {
        bench.run(&[&["--run", &file, "program", &targets, "--window", "5"], range].concat());
        let contents = ohmrig::run_file::Contents::read(file.as_ref()).unwrap();
        let last = contents.measurements.last().unwrap();
        last.arrays["uncertainty_s"].mean().unwrap()
    };
    // A code is a hundred times the conductance in the least sensitive range; 12 µA are a thousandth of that range.
    let (by_itself, least_sensitive) = (uncertainty(&[]), uncertainty(&["--range", "2"]));
    assert!(least_sensitive > 3.0 * by_itself, "{least_sensitive:e} S, by itself {by_itself:e} S");
    let (status, message) = bench.refused(&["program", &targets, "--range", "3"]);
    assert_eq!(status, 2, "{message}");
    assert!(message.contains("no range 3") && message.contains("0 to 2"), "{message}");

    // 450 µS at 0.2 V draw 90 µA, where range 0 is linear to 52 µA.
    let bench =
        Bench::new("verify-range-far", &small("rram-cmo", &[("maximum_s = 88.2e-6", "maximum_s = 900e-6")]));
    let targets = bench.0.path("targets.npy");
    ohmrig::arrays::write(&targets, ndarray::array![[450e-6]].view()).unwrap();
    let (status, message) = bench.refused(&["program", &targets.display().to_string(), "--range", "0"]);
    assert_eq!(status, 2, "{message}");
    assert!(message.contains("range 0 is linear up to 5.2"), "{message}");
    assert!(bench.truth().iter().all(|cell| cell.1 == 0), "no cell got a pulse");
}

#[test]
fn programmed_in_circuit_cells_count_as_inside_where_products_see_them_so() {
    let bench = Bench::new("inside-in-circuit", &profile("rram-cmo", &[]));
    let path = |name: &str| bench.0.path(name).display().to_string();
    let targets =
        ndarray::Array2::from_shape_fn((16, 16), |(i, j)| 20e-6 + 4e-6 * ((i * 7 + j * 5) % 11) as f64);
    ohmrig::arrays::write(&bench.0.path("targets.npy"), targets.view()).unwrap();
    let (target, matrix, gains) = (path("targets.npy"), path("matrix.npy"), path("gains.json"));
    // A third of a percent: devices relax by more than that before the matrix is measured.
    let json = bench.run(&[
        "program",
        &target,
        "--in-circuit",
        "--window",
        "0.3",
        "--output",
        &matrix,
        "--line-gains",
        &gains,
    ]);
    let matrix = ohmrig::arrays::read(matrix.as_ref(), "(rows, columns)").unwrap();
    let (window, gain) =
        (json["window_s"].as_f64().unwrap(), |what: &str, n: usize| json[what][n].as_f64().unwrap());
    let outside: Vec<(usize, usize)> = targets
        .indexed_iter()
        .filter(|((i, j), target)| {
            (gain("row_gains", *i) * matrix[(*i, *j)] * gain("column_gains", *j) - **target).abs() > window
        })
        .map(|(index, _)| index)
        .collect();
    assert!(!outside.is_empty(), "relaxation leaves some outside");
    assert_eq!(json["inside_window"], 256 - outside.len(), "{json}");
    assert_eq!(json["excluded"], outside.len(), "{json}");
    let listed = json["excluded_cells"].as_array().unwrap();
    let cells: Vec<(usize, usize)> = listed
        .iter()
        .map(|cell| (cell["row"].as_u64().unwrap() as usize, cell["col"].as_u64().unwrap() as usize))
        .collect();
    assert_eq!(cells, outside);
    assert!(listed.iter().any(|cell| cell["why"] == ohmrig_tests::parasitics::OUTSIDE), "{json}");
}

#[test]
fn a_temperature_that_does_not_wander_gives_no_coefficient_and_says_why() {
    let bench = Bench::new("tempco", &small("rram-cmo", &[]));
    let json = bench.run(&["tempco", "--for-s", "60", "--reads", "8"]);
    assert_eq!(json["measurable"], false);
    for cell in json["cells"].as_array().unwrap() {
        assert!(cell["temperature_coefficient_per_k"].is_null());
        assert!(cell["flag"].as_str().unwrap().contains("wandered by"), "{cell}");
    }
    assert!(json["limits"].as_str().unwrap().contains("without a chamber"));
}

#[test]
fn a_cell_noisier_than_its_window_is_said_to_be() {
    // 1/f noise of 1 % per square root of an e-fold, in a window of 0.1 % of the range.
    let bench = Bench::new("noisy", &small("rram-cmo", &[("level = 6.1e-4", "level = 1e-2")]));
    let targets = bench.0.path("targets.npy");
    ohmrig::arrays::write(&targets, ndarray::array![[40e-6, 40e-6], [60e-6, 60e-6]].view()).unwrap();
    let json = bench.run(&["program", &targets.display().to_string(), "--window", "0.1"]);
    let excluded = json["excluded_cells"].as_array().unwrap();
    assert!(excluded.iter().any(|cell| cell["why"] == "noisier than the window"), "{json}");
}

#[test]
fn a_saturated_amplifier_is_said_wherever_cells_are_read() {
    let bench = Bench::new("saturated", &small("resistor", &SATURATING));
    let port = format!("emulated:{}", bench.0.path("board.toml").display());
    let said = |arguments: &[&str]| -> Value {
        let base = ["--json", "--port", &port];
        serde_json::from_str(&ohmrig_tests::run(base.iter().chain(arguments))).unwrap()
    };
    let json = said(&["read", "--range", "0"]);
    assert_eq!(json["saturated"], 4, "{json}");
    let json = said(&["tempco", "--range", "0", "--for-s", "60", "--reads", "8"]);
    for cell in json["cells"].as_array().unwrap() {
        assert!(cell["flag"].as_str().unwrap().contains("saturated"), "{cell}");
    }
    let json = said(&["noise", "--range", "0", "--samples", "4096"]);
    for cell in json["cells"].as_array().unwrap() {
        assert!(cell["flags"].to_string().contains("saturated"), "{cell}");
        assert!(cell["flicker"].is_null(), "{cell}");
    }
    let vectors = bench.0.path("v.npy").display().to_string();
    ohmrig::arrays::write(&bench.0.path("v.npy"), ndarray::array![[0.2, 0.2]].view()).unwrap();
    let json = said(&["mvm", &vectors, "--range", "0"]);
    assert_eq!(json["saturated"], 2, "{json}");
    assert!(json["flags"][0].as_str().unwrap().contains("linear range"), "{json}");
}

/// Memristors that conduct nine times what the verify reads' range holds.
const FAR_ABOVE: [(&str, &str); 2] =
    [("maximum_s = 88.2e-6", "maximum_s = 900e-6"), ("position = 0.1", "position = 0.9")];

#[test]
fn cells_that_saturate_the_verify_reads_are_listed_as_such() {
    let bench = Bench::new("saturated-verify", &small("rram-cmo", &FAR_ABOVE));
    let targets = bench.0.path("targets.npy");
    ohmrig::arrays::write(&targets, ndarray::array![[1e-4, 1e-4]].view()).unwrap();
    let json = bench.run(&["program", &targets.display().to_string()]);
    let excluded = json["excluded_cells"].as_array().unwrap();
    assert_eq!(excluded.len(), 2, "{json}");
    assert!(excluded.iter().all(|cell| cell["why"] == "saturates the amplifier"), "{json}");
    assert_eq!((&json["inside_window"], &json["excluded"]), (&Value::from(0), &Value::from(2)), "{json}");
}

#[test]
fn a_calibration_of_another_board_is_refused_and_one_of_a_like_board_found_out() {
    let here = Bench::new("calibration", &profile("resistor", &[]));
    let file = here.0.path("calibration.json").display().to_string();
    here.run(&["calibrate", "--output", &file]);
    let other = Bench::new("calibration-other", &small("resistor", &[]));
    let vectors = other.0.path("v.npy");
    ohmrig::arrays::write(&vectors, ndarray::array![[0.1, 0.1]].view()).unwrap();
    let (status, message) = other.refused(&["mvm", &vectors.display().to_string(), "--calibration", &file]);
    assert_eq!(status, 2, "{message}");
    assert!(message.contains("16") && message.contains('2'), "{message}");
    // Of the same kind and size: the board keeps others, which is said beside the products, and measuring tells.
    let twin = Bench::new("calibration-twin", &profile("resistor", &[]));
    let vectors = twin.0.path("v.npy");
    ohmrig::arrays::write(&vectors, ndarray::Array2::from_elem((1, 16), 0.1).view()).unwrap();
    let with = |bench: &Bench| {
        bench.run(&["mvm", &vectors.display().to_string(), "--calibration", &file])["flags"].clone()
    };
    assert!(with(&twin)[0].as_str().unwrap().contains("none that this board keeps"));
    assert_eq!(with(&here), Value::Array(Vec::new()));
    let port = format!("emulated:{}", here.0.path("board.toml").display());
    let output = Command::new(ohmrig())
        .args(["--json", "--seed", "8", "--port", &port, "calibrate", "--check", &file])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{json}");
    assert!(json["error"]["message"].as_str().unwrap().contains("doesn't hold"), "{json}");
}

#[test]
fn a_trace_too_short_for_the_asked_frequency_is_refused_with_the_length_it_takes() {
    let bench = Bench::new("short", &small("rram-cmo", &[]));
    let (status, message) = bench.refused(&["noise", "--samples", "1024", "--lowest-hz", "0.01"]);
    assert_eq!(status, 2);
    // Four hundred seconds of samples every 0.1 ms.
    assert!(message.contains("--samples 4000000"), "{message}");
}
