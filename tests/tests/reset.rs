//! The device is reset in the middle of a job: every cell is told as certainly done, certainly not begun, or unknown,
//! and the same command goes on with what is missing.
#![cfg(unix)]

use ohmrig_emulator::random::Random;
use ohmrig_tests::{Emulated, Scratch, ohmrig};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn ohmrig_with(arguments: &[&str]) -> Output {
    Command::new(ohmrig()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn cells(list: &Value) -> BTreeSet<(u64, u64)> {
    let number = |value: &Value| value.as_u64().unwrap();
    list.as_array().unwrap().iter().map(|cell| (number(&cell[0]), number(&cell[1]))).collect()
}

fn targets(scratch: &Scratch) -> String {
    let path = scratch.path("targets.npy");
    ohmrig::arrays::write(&path, ndarray::Array2::from_elem((16, 16), 40e-6).view()).unwrap();
    path.display().to_string()
}

/// Pulses of every cell by a truth file.
fn pulses(path: &str) -> Vec<u64> {
    let truth: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    truth["cells"].as_array().unwrap().iter().map(|cell| cell["pulses"].as_u64().unwrap()).collect()
}

/// Every cell is in exactly one list; without a job that was never sent, nothing is certainly not begun.
fn assert_sorted(reset: &Value) -> [BTreeSet<(u64, u64)>; 3] {
    let lists = ["done", "not_done", "unknown"].map(|name| cells(&reset[name]));
    let all: BTreeSet<_> = lists.iter().flatten().copied().collect();
    assert_eq!(all.len(), 256, "{reset}");
    assert_eq!(lists.iter().map(BTreeSet::len).sum::<usize>(), 256, "{reset}");
    lists
}

#[test]
fn an_injected_reset_is_told_cell_by_cell_in_words_and_json() {
    let scratch = Scratch::new("reset");
    let targets = targets(&scratch);
    let (mut seen, mut done_in_all) = (0, 0);
    for seed in 1..=30 {
        let inject = format!("reset=0.12,seed={seed}");
        let truth = scratch.path("truth.json").display().to_string();
        let arguments = [
            "--truth", &truth, "--inject", &inject, "program", &targets, "--recipe", "rram-cmo", "--passes",
            "1",
        ];
        let output = ohmrig_with(&[&["--json"], arguments.as_slice()].concat());
        let said = json(&output);
        if said["reset"].is_null() {
            continue;
        }
        seen += 1;
        assert_eq!(output.status.code(), Some(4), "{said}");
        let [done, not_done, unknown] = assert_sorted(&said["reset"]);
        assert!(not_done.is_empty() && !unknown.is_empty());
        done_in_all += done.len();
        // Ground truth: what is not in any list as touched has no pulse, and words and JSON agree.
        let message = said["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("{} cells are done", done.len())), "{message}");
        assert!(message.contains("reset") && message.contains("run the same command again"), "{message}");
        if seen == 1 {
            let words = String::from_utf8(ohmrig_with(&arguments).stdout).unwrap();
            assert!(words.contains("certainly done") && words.contains("unknown"), "{words}");
        }
    }
    println!("{seen} resets in a job, {done_in_all} cells certainly done in all");
    assert!(seen > 3);
}

/// Waits until the run file has the first results of a job.
fn until_cells_are_kept(run: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        let kept = rusqlite::Connection::open(run)
            .and_then(|open| open.query_row("SELECT count(*) FROM job_cell", [], |row| row.get::<_, i64>(0)));
        if kept.is_ok_and(|kept| kept > 0) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no results within a minute");
}

#[test]
fn a_board_that_is_switched_off_and_on_in_a_job_is_gone_on_with() {
    let mut dice = Random::new(6, 0);
    let (mut resets, mut done_in_all) = (0, 0);
    for attempt in 0..4 {
        let scratch = Scratch::new("reset-board");
        let targets = targets(&scratch);
        let path = |name: &str| scratch.path(name).display().to_string();
        let (state, truth, run) = (path("state"), path("truth.json"), path("run"));
        let serving = ["--seed", "5", "--profile", "rram-cmo", "--state", &state, "--truth", &truth];
        let board = Emulated::start("tcp:127.0.0.1:0", serving);
        let address = board.port.replace("tcp://", "tcp:");
        let program = ["program", &targets, "--recipe", "rram-cmo", "--passes", "1"];
        let start = [&["--json", "--run", &run, "--port", &board.port], program.as_slice()].concat();
        let host = Command::new(ohmrig())
            .args(&start)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if attempt % 2 == 0 {
            std::thread::sleep(Duration::from_secs_f64(0.1 + 0.5 * dice.uniform()));
        } else {
            until_cells_are_kept(&run);
        }
        board.end();
        // The host finds the link closed; what it has is in the run file.
        let first = json(&host.wait_with_output().unwrap());
        let board = Emulated::start(&address, serving);
        let again = [&["--json", "--run", &run, "--port", &board.port], program.as_slice()].concat();
        let said = json(&ohmrig_with(&again));
        board.end();
        assert_eq!(said["ok"], true, "attempt {attempt}: {first} then {said}");
        if first["ok"] == true {
            continue;
        }
        assert!(said["inside_window"].as_u64().unwrap() >= 240, "{said}");
        if said["reset"].is_null() {
            continue;
        }
        resets += 1;
        done_in_all += cells(&said["reset"]["done"]).len();
        let [done, _, unknown] = assert_sorted(&said["reset"]);
        assert!(!unknown.is_empty());
        // Cells that were done got no pulse after the reset: told and true counts are the same for them.
        let open = rusqlite::Connection::open(&run).unwrap();
        let true_pulses = pulses(&truth);
        for &(row, column) in &done {
            let told: i64 = open
                .query_row(
                    "SELECT sum(pulses) FROM job_cell WHERE row = ?1 AND column = ?2",
                    [row as i64, column as i64],
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(told as u64, true_pulses[(row * 16 + column) as usize], "row {row}, column {column}");
        }
        println!("attempt {attempt}: {} done, {} unknown", done.len(), unknown.len());
    }
    assert!(
        resets > 0 && done_in_all > 0,
        "{resets} resets fell into a job, {done_in_all} cells were done before"
    );
}

#[test]
fn programming_an_array_takes_at_most_forty_round_trips() {
    use ohmrig::bench::{Emulation, profile};
    use ohmrig::client::Client;
    use ohmrig::device::EmulatedDevice;
    use ohmrig::instrument::Instrument;
    use ohmrig::transport::InProcess;
    let emulation = Emulation::new(profile(Some("rram-cmo")).unwrap(), 3);
    let device = EmulatedDevice::power_up(&emulation).unwrap();
    let client = Client::connect(Box::new(InProcess::new(device)), "emulated").unwrap();
    let mut instrument = Instrument::new(client);
    let order = ohmrig_tests::order("rram-cmo", (16, 16));
    let before = instrument.status().unwrap().counters.frames;
    instrument.program(&order, &[], &mut ohmrig::instrument::NoBooks, |_| {}).unwrap();
    // The status that tells is one itself.
    let requests = instrument.status().unwrap().counters.frames - before - 1;
    println!("{requests} requests");
    assert!(requests <= 40, "{requests} requests");
}
