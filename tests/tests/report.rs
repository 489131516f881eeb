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

/// What a page says, pictures included, without markup and line breaks.
fn words(html: &str) -> String {
    let parts: Vec<&str> = html.split('<').filter_map(|part| Some(part.split_once('>')?.1)).collect();
    let text = parts.join(" ");
    let text =
        text.replace("&apos;", "'").replace("&#39;", "'").replace("&quot;", "\"").replace("&amp;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `value ± uncertainty`, S, A, 1/K or what it is in units of `scale`, with two digits of the uncertainty.
fn plus_minus(estimate: &Value, scale: f64) -> String {
    let number = |name: &str| estimate[name].as_f64().unwrap_or_else(|| panic!("{name}: {estimate}")) / scale;
    let (value, uncertainty) = (number("value"), number("standard_uncertainty"));
    let decimals = (1.0 - uncertainty.log10().floor()).max(0.0) as usize;
    format!("{value:.decimals$} ± {uncertainty:.decimals$}")
}

/// Runs commands on one array with one run file; what each said, and the report's words.
fn reported(scratch: &Scratch, port: &str, commands: &[&[&str]]) -> (Vec<Value>, String) {
    let path = |name: &str| scratch.path(name).display().to_string();
    let (file, state, page) = (path("run"), path("state"), path("report.html"));
    let base = ["--json", "--seed", "7", "--port", port, "--state", &state, "--run", &file];
    let said = commands
        .iter()
        .map(|command| serde_json::from_str(&run([&base[..], command].concat())).unwrap())
        .collect();
    run(["report", &file, "-o", &page]);
    (said, words(&std::fs::read_to_string(page).unwrap()))
}

fn assert_says(page: &str, texts: &[String]) {
    for text in texts {
        assert!(page.contains(text), "no `{text}` in {page}");
    }
}

#[test]
fn pictures_of_aging_say_what_the_run_found() {
    let scratch = Scratch::new("report-aging");
    let region = ["--rows", "2", "--columns", "2"];
    let (said, page) = reported(
        &scratch,
        "emulated",
        &[
            &[&["drift", "--last-s", "1000"], &region[..]].concat(),
            &["retention", "--rows", "4", "--last-s", "1000"],
        ],
    );
    let [drift, retention] = &said[..] else { panic!("{said:?}") };
    let cells = drift["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 4);
    for cell in cells {
        let exponent = plus_minus(&cell["exponent"], 1.0);
        assert!(page.contains(&format!("[{}, {}]", cell["row"], cell["column"])), "{cell}");
        assert_says(&page, &[format!("ν {exponent}")]);
    }
    let bands = retention["bands"].as_array().unwrap();
    let last = |band: &Value| band["reads"].as_array().unwrap().last().unwrap()["mean_error_s"].clone();
    let size = |band: &&Value| last(band)["value"].as_f64().unwrap().abs();
    let worst = bands.iter().max_by(|a, b| size(a).total_cmp(&size(b))).unwrap();
    // Errors and the window are told in one unit.
    let largest = size(&worst).max(retention_window(&scratch));
    let (unit, scale) = if largest >= 1e-6 { ("µS", 1e-6) } else { ("nS", 1e-9) };
    assert_says(
        &page,
        &[
            "over 4 cells".to_owned(),
            "4 states after 1000 s".to_owned(),
            format!("by {} {unit} on average", plus_minus(&last(worst), scale)),
            "programmed cells read within".to_owned(),
        ],
    );
}

/// Half width of the window that cells were programmed into, S.
fn retention_window(scratch: &Scratch) -> f64 {
    let contents = ohmrig::run_file::Contents::read(&scratch.path("run")).unwrap();
    let recorded = contents.measurements.iter().find(|recorded| recorded.kind == "retention").unwrap();
    recorded.settings["recipe"]["window_s"].as_f64().unwrap()
}

#[test]
fn pictures_of_wear_and_disturb_say_what_the_run_found() {
    let scratch = Scratch::new("report-wear");
    let (said, page) = reported(
        &scratch,
        "emulated",
        &[
            &["endurance", "--row", "0", "--column", "0", "--columns", "2", "--cycles", "20"],
            &["disturb", "--row", "4", "--column", "4", "--schemes", "half,third", "--pulses", "300"],
        ],
    );
    let [endurance, disturb] = &said[..] else { panic!("{said:?}") };
    let geometric = |state: &str| {
        let cells = endurance["cells"].as_array().unwrap();
        let ln = cells.iter().map(|cell| cell[state]["value"].as_f64().unwrap().ln());
        format!("{:.2} µS", (ln.sum::<f64>() / cells.len() as f64).exp() * 1e6)
    };
    let last = |scheme: usize| disturb["schemes"][scheme]["reads"].as_array().unwrap().last().unwrap();
    let worst = [0, 1]
        .into_iter()
        .flat_map(|scheme| {
            ["same row", "same column"].map(|place| last(scheme)[place]["worst"].as_f64().unwrap())
        })
        .fold(0.0, f64::max);
    assert_says(
        &page,
        &[
            "All 2 cells that were cycled kept a window of 1.5 for 20 cycles".to_owned(),
            format!("SET is {}", geometric("set_s")),
            format!("RESET {}", geometric("reset_s")),
            format!("{} %", plus_minus(&last(0)["same column"]["excess"], 1e-2)),
            format!("{:.2} % after 300 pulses", 100.0 * worst),
            "Worst half-selected cell: row".to_owned(),
        ],
    );
}

#[test]
fn pictures_of_the_board_and_its_temperature_say_what_the_run_found() {
    let scratch = Scratch::new("report-board");
    let port = scratch.path("board.toml");
    let text = ohmrig_tests::coverage::small("rram-cmo", &[]);
    std::fs::write(&port, text).unwrap();
    let port = format!("emulated:{}", port.display());
    let (said, page) =
        reported(&scratch, &port, &[&["calibrate"], &["calibrate", "--check"], &["tempco", "--reads", "48"]]);
    let [calibrate, check, tempco] = &said[..] else { panic!("{said:?}") };
    let linearity = &calibrate["calibration"]["linearity"];
    let largest = |lines: &str| {
        let peaks = linearity[lines].as_array().unwrap().iter().map(|peak| peak.as_f64().unwrap());
        format!("{:.3}", peaks.fold(0.0, f64::max))
    };
    let cells = tempco["cells"].as_array().unwrap();
    assert_eq!(tempco["measurable"], true, "a day's wandering of this seed is more than 1 K");
    let coefficients = cells.iter().map(|cell| plus_minus(&cell["temperature_coefficient_per_k"], 1e-6));
    let texts = [
        "Columns' gains are".to_owned(),
        "Rows' offsets are".to_owned(),
        format!("drivers {}", largest("drivers")),
        format!("converters {}", largest("converters")),
        "settled after".to_owned(),
        format!("The calibration holds: 0 of {} comparisons moved", check["check"]["of"]),
        format!("{} ppm/K over 4 cells", plus_minus(&tempco["together"]["coefficient_per_k"], 1e-6)),
    ];
    // As many as are drawn.
    let drawn = coefficients.filter(|coefficient| page.contains(&format!("] {coefficient} ppm/K"))).count();
    assert!(drawn >= 3, "{drawn} of {cells:?}");
    assert_says(&page, &texts);

    // A minute isn't enough for it.
    let scratch = Scratch::new("report-still");
    let (_, page) = reported(&scratch, &port, &[&["tempco", "--for-s", "60", "--reads", "8"]]);
    assert_says(
        &page,
        &["No temperature coefficient of any of 4 cells".to_owned(), "wandered by".to_owned()],
    );
}
