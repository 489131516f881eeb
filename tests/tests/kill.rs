//! `kill -9` of the host at random times during every measuring command: nothing that was reported as done is lost, the
//! same command takes the run up again and says so, and no cell gets a pulse twice. The board is a process of its own,
//! whose ground truth is the judge.
#![cfg(unix)]

use ohmrig::client::{Client, LinkError};
use ohmrig::instrument::Instrument;
use ohmrig::transport::Tcp;
use ohmrig_emulator::random::Random;
use ohmrig_protocol::message::{JobId, JobState, Reply, Request, Trace, TraceSource};
use ohmrig_protocol::units::Volts;
use ohmrig_tests::{Emulated, Scratch, ohmrig};
use rusqlite::Connection;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A run file, a board that outlives its hosts, and what the board's cells really are.
struct Lab {
    scratch: Scratch,
    board: Option<Emulated>,
    dice: Random,
    /// How long the command takes by itself on this machine.
    undisturbed: Duration,
}

impl Lab {
    /// `undisturbed` as [`undisturbed`] measured it.
    fn new(name: &str, profile: &str, seed: u64, undisturbed: Duration) -> Self {
        let scratch = Scratch::new(name);
        let truth = scratch.path("truth.json").display().to_string();
        let serving = ["--seed", "5", "--truth", &truth, "--profile", profile];
        println!("kill times are drawn with seed {seed}, up to {undisturbed:?}");
        let board = Some(Emulated::start("tcp:127.0.0.1:0", serving));
        Self { board, dice: Random::new(seed, 0), undisturbed, scratch }
    }

    fn file(&self) -> PathBuf {
        self.scratch.path("run")
    }

    fn start(&self, command: &[&str]) -> std::process::Child {
        let port = &self.board.as_ref().unwrap().port;
        let run = self.file().display().to_string();
        Command::new(ohmrig())
            .args(["--json", "--port", port, "--run", &run])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs a command that is killed at random times until it comes through; gives its JSON and how many were killed.
    fn until_done(&mut self, command: &[&str]) -> (Value, u32) {
        let mut killed = 0;
        let mut pieces = 0;
        loop {
            let mut child = self.start(command);
            let end = Instant::now() + self.undisturbed.mul_f64(self.dice.uniform());
            // A command that fails to come through ten times is given its time.
            while killed < 10 && Instant::now() < end && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            if killed < 10 && child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
            }
            let output = child.wait_with_output().unwrap();
            let kept = kept(&self.file());
            assert!(kept >= pieces, "{kept} pieces are kept, {pieces} were before");
            pieces = kept;
            // One that was killed after it had said everything has said it.
            let said = serde_json::from_slice::<Value>(&output.stdout);
            if output.status.code().is_none() && said.is_err() {
                killed += 1;
                continue;
            }
            let said = said.unwrap();
            // A machine so busy that the host falls silent for two seconds: a safe stop, and one more interruption.
            if said["error"]["message"].as_str().is_some_and(|why| why.contains("link-silent")) {
                println!("interrupted by a busy machine: {}", said["error"]["message"]);
                continue;
            }
            // A pulse is unknown if a process died after it had opened a session and before it had written that down.
            let unknown = said["unknown"].as_u64().unwrap_or(0) > 0;
            assert_eq!(said["ok"], !unknown, "after {killed} kills: {said}");
            return (said, killed);
        }
    }

    /// Ends the board; pulses of every cell by ground truth, row by row.
    fn pulses(&mut self) -> Vec<u64> {
        self.board.take().unwrap().end();
        let text = std::fs::read_to_string(self.scratch.path("truth.json")).unwrap();
        let truth: Value = serde_json::from_str(&text).unwrap();
        truth["cells"].as_array().unwrap().iter().map(|cell| cell["pulses"].as_u64().unwrap()).collect()
    }
}

/// How long a command takes by itself on a board of this profile: kills are drawn from this time, so that they hit a fast
/// machine's command as well as a slow one's.
fn undisturbed(profile: &str, command: &[&str]) -> Duration {
    let mut lab = Lab::new("kill-undisturbed", profile, 0, Duration::ZERO);
    let begin = Instant::now();
    let output = lab.start(command).wait_with_output().unwrap();
    let took = begin.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lab.board.take().unwrap().end();
    took
}

/// Pieces and results of cells that are kept.
fn kept(file: &Path) -> i64 {
    let Ok(open) = Connection::open(file) else { return 0 };
    let count = |sql| open.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap_or(0);
    count("SELECT count(*) FROM piece WHERE value_json IS NOT NULL") + count("SELECT count(*) FROM job_cell")
}

/// An array of the last measurement.
fn array(file: &Path, name: &str) -> Vec<f64> {
    let open = Connection::open(file).unwrap();
    let bytes: Vec<u8> = open
        .query_row(
            "SELECT float64_le FROM array WHERE piece = '' AND name = ?1 ORDER BY measurement DESC LIMIT 1",
            [name],
            |row| row.get(0),
        )
        .unwrap();
    bytes.as_chunks::<8>().0.iter().map(|&value| f64::from_le_bytes(value)).collect()
}

fn npy(path: &Path, array: ndarray::ArrayView2<'_, f64>) -> String {
    ohmrig::arrays::write(path, array).unwrap();
    path.display().to_string()
}

/// After kills, the run file has one measurement, and the JSON says that it was taken up.
fn assert_taken_up(lab: &Lab, said: &Value, killed: u32) {
    let open = Connection::open(lab.file()).unwrap();
    let rows: i64 = open.query_row("SELECT count(*) FROM measurement", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
    println!("{killed} kills; resume {}", said["resume"]);
    // A kill before the command had begun its measurement leaves nothing to take up.
    let sessions: i64 = open
        .query_row("SELECT count(*) FROM run WHERE id >= (SELECT run FROM measurement)", [], |row| row.get(0))
        .unwrap();
    assert_eq!(said["resumed"].as_bool().unwrap(), sessions > 1, "{sessions} sessions: {said}");
}

#[test]
fn a_killed_pulse_train_is_finished_and_every_pulse_counts_once() {
    let (mut resumed, mut certain) = (0, 0);
    let train = ["pulse", "--row=2", "--column=3", "--volts=1.6", "--width-s=50e-6", "--count=150"];
    let alone = undisturbed("rram-cmo", &train);
    // Where a kill hits is chance: until there are two of either kind.
    for seed in 1..=20 {
        if resumed > 1 && certain > 1 {
            break;
        }
        let mut lab = Lab::new("kill-pulse", "rram-cmo", seed, alone);
        let (said, killed) = lab.until_done(&train);
        assert_taken_up(&lab, &said, killed);
        resumed += u32::from(said["resumed"] == true);
        let (applied, unknown) = (said["applied"].as_u64().unwrap(), said["unknown"].as_u64().unwrap());
        let pulses = lab.pulses();
        let real = pulses.iter().sum::<u64>();
        assert_eq!(applied + unknown, 150, "{said}");
        assert!(
            (applied..=150).contains(&real) && pulses[2 * 16 + 3] == real,
            "seed {seed}: {real} in truth: {said}"
        );
        certain += u32::from(unknown == 0);
    }
    assert!(certain > 1, "the device's count could tell in {certain} of 20 only");
    assert!(resumed > 1, "only {resumed} of 20 were interrupted");
}

#[test]
fn killed_programming_goes_on_where_it_stopped_and_tells_every_pulse() {
    let mut resumed = 0;
    let scratch = Scratch::new("kill-targets");
    let targets =
        ndarray::Array2::from_shape_fn((16, 16), |(i, j)| 20e-6 + 3e-6 * ((i * 5 + j * 3) % 12) as f64);
    let targets = npy(&scratch.path("targets.npy"), targets.view());
    let program = ["program", &targets, "--recipe", "rram-cmo"];
    let alone = undisturbed("rram-cmo", &program);
    for seed in 1..=12 {
        if resumed > 1 {
            break;
        }
        let mut lab = Lab::new("kill-program", "rram-cmo", seed, alone);
        let (said, killed) = lab.until_done(&program);
        assert_taken_up(&lab, &said, killed);
        resumed += u32::from(said["resume"]["jobs"].as_u64().unwrap_or(0) > 0);
        assert!(said["inside_window"].as_u64().unwrap() >= 240, "{said}");
        // What was told is what was done, cell by cell: nothing lost, nothing twice.
        let told: Vec<u64> = array(&lab.file(), "pulses").iter().map(|&pulses| pulses as u64).collect();
        assert_eq!(told, lab.pulses(), "seed {seed}");
        assert!(said["reset"].is_null(), "{said}");
    }
    assert!(resumed > 1, "only {resumed} of 12 were interrupted in a job");
}

#[test]
fn cells_that_were_done_before_a_kill_get_no_further_pulse_in_that_pass() {
    let scratch = Scratch::new("kill-targets");
    let targets = ndarray::Array2::from_elem((16, 16), 40e-6);
    let targets = npy(&scratch.path("targets.npy"), targets.view());
    let program = ["program", &targets, "--recipe", "rram-cmo", "--passes", "1"];
    let mut lab = Lab::new("kill-done", "rram-cmo", 3, undisturbed("rram-cmo", &program));
    lab.until_done(&program);
    let open = Connection::open(lab.file()).unwrap();
    // Every cell has one final result, in one job.
    let twice: i64 = open
        .query_row(
            "SELECT count(*) FROM (SELECT row, column FROM job_cell WHERE outcome != 0 GROUP BY row, column \
             HAVING count(*) != 1)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let cells: i64 =
        open.query_row("SELECT count(*) FROM job_cell WHERE outcome != 0", [], |row| row.get(0)).unwrap();
    assert_eq!((twice, cells), (0, 256));
}

#[test]
fn killed_reads_and_products_go_on_with_what_is_missing() {
    let mut resumed = 0;
    let read = ["read", "--conversions", "1024"];
    let read_alone = undisturbed("rram-cmo", &read);
    let scratch = Scratch::new("kill-input");
    let input = ndarray::Array2::from_shape_fn((20_000, 16), |(i, j)| 0.02 * ((i + 3 * j) % 10) as f64);
    let input = npy(&scratch.path("input.npy"), input.view());
    let products = ["mvm", &input, "--repeat"];
    let products_alone = undisturbed("ideal", &products);
    for seed in 1..=6 {
        if resumed > 1 {
            break;
        }
        let mut lab = Lab::new("kill-read", "rram-cmo", seed, read_alone);
        let (said, killed) = lab.until_done(&read);
        assert_taken_up(&lab, &said, killed);
        resumed += u32::from(said["resume"]["pieces"].as_u64().unwrap_or(0) > 0);
        assert_eq!(array(&lab.file(), "conductance_s").len(), 256);
        assert_eq!(lab.pulses().iter().sum::<u64>(), 0);

        let mut lab = Lab::new("kill-mvm", "ideal", seed, products_alone);
        let (said, killed) = lab.until_done(&products);
        assert_taken_up(&lab, &said, killed);
        resumed += u32::from(said["resume"]["pieces"].as_u64().unwrap_or(0) > 0);
        // Without noise, pieces of different processes fit together as if they were of one.
        assert_eq!(said["noise_rms_a"], 0.0, "{said}");
        let currents = array(&lab.file(), "current_a");
        assert_eq!(currents[..160], currents[160 * 7..160 * 8]);
    }
    assert!(resumed > 0, "none of 12 had pieces to go on with");
}

#[test]
fn a_killed_demo_keeps_its_tiles() {
    let demo = ["demo", "--images", "30", "--tiles", "3", "--recipe", "ideal"];
    let mut lab = Lab::new("kill-demo", "ideal", 2, undisturbed("ideal", &demo));
    let (said, killed) = lab.until_done(&demo);
    assert_taken_up(&lab, &said, killed);
    let open = Connection::open(lab.file()).unwrap();
    let told: f64 = open
        .query_row("SELECT sum(json_extract(value_json, '$.pulses')) FROM piece", [], |row| row.get(0))
        .unwrap();
    assert_eq!(told as u64, lab.pulses().iter().sum::<u64>());
}

#[test]
fn a_killed_selftest_leaves_nothing_half_written() {
    let mut lab = Lab::new("kill-selftest", "ideal", 1, undisturbed("ideal", &["selftest"]));
    lab.until_done(&["selftest"]);
    let open = Connection::open(lab.file()).unwrap();
    // One that was killed after it had said its result is there too; none is open.
    let open_ones: i64 = open
        .query_row("SELECT count(*) FROM measurement WHERE state != 'said'", [], |row| row.get(0))
        .unwrap();
    let all: i64 = open.query_row("SELECT count(*) FROM measurement", [], |row| row.get(0)).unwrap();
    assert!(open_ones == 0 && all >= 1, "{open_ones} of {all} are open");
}

/// In this process the board dies with the host; its state file must not fall behind what the run file says was done.
#[test]
fn a_killed_process_with_a_state_file_has_every_pulse_that_it_reported() {
    let mut dice = Random::new(4, 0);
    let scratch = Scratch::new("kill-state");
    let path = |name: &str| scratch.path(name).display().to_string();
    let (state, truth, run) = (path("state"), path("truth.json"), path("run"));
    let arguments = [
        "--json",
        "--state",
        &state,
        "--truth",
        &truth,
        "--run",
        &run,
        "pulse",
        "--row=1",
        "--column=1",
        "--volts=1.6",
        "--width-s=50e-6",
        "--count=60",
    ];
    let mut killed = 0;
    let said = loop {
        let mut child = Command::new(ohmrig())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs_f64(dice.uniform() * 0.5);
        while killed < 3 && Instant::now() < end && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = child.kill();
        if killed >= 3 {
            let _ = child.wait();
            break Command::new(ohmrig()).args(arguments).stdin(Stdio::null()).output().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        // One that was killed after it had said everything has said it.
        if output.status.code().is_some() || serde_json::from_slice::<Value>(&output.stdout).is_ok() {
            break output;
        }
        killed += 1;
    };
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    let (applied, unknown) = (said["applied"].as_u64().unwrap(), said["unknown"].as_u64().unwrap());
    assert_eq!(applied + unknown, 60, "{said}");
    let text = std::fs::read_to_string(&truth).unwrap();
    let cells: Value = serde_json::from_str(&text).unwrap();
    let real: u64 =
        cells["cells"].as_array().unwrap().iter().map(|cell| cell["pulses"].as_u64().unwrap()).sum();
    println!("{killed} kills, {applied} applied, {unknown} unknown, {real} in truth");
    assert!((applied..=applied + unknown).contains(&real), "{real} in truth: {said}");
}

#[test]
fn endurance_counts_every_pulse_however_often_its_host_is_killed() {
    // A window that no noise closes: how a cell switches is not what is asked here.
    let command = [
        "endurance",
        "--row",
        "3",
        "--column",
        "4",
        "--columns",
        "2",
        "--cycles",
        "600",
        "--pulses",
        "1",
        "--window",
        "1.001",
    ];
    let took = undisturbed("rram-cmo", &command);
    let mut killed = 0;
    for seed in 0..3 {
        let mut lab = Lab::new("kill-endurance", "rram-cmo", seed, took);
        let (said, kills) = lab.until_done(&command);
        killed += kills;
        let pulses = lab.pulses();
        for (index, cell) in (0..).zip(said["cells"].as_array().unwrap()) {
            assert!(cell["stopped"].is_null(), "{cell}");
            // A cycle that an interruption cut short, by a kill or by a busy machine, is begun again.
            let cycles = cell["cycles"].as_f64().unwrap();
            assert!((600.0..=620.0).contains(&cycles), "{cycles} after {kills} kills");
            assert_eq!(pulses[3 * 16 + 4 + index] as f64, 2.0 * cycles, "after {kills} kills");
        }
    }
    assert!(killed > 0, "no kill came in time");
}

#[test]
fn results_that_a_killed_command_has_left_are_kept_until_they_are_dropped_by_name() {
    let mut lab = Lab::new("kill-held", "resistor", 0, Duration::ZERO);
    let port = lab.board.as_ref().unwrap().port.clone();
    // A job that its host starts, and never fetches.
    let job = JobId(0x1234);
    let address = port.strip_prefix("tcp://").unwrap();
    let mut instrument =
        Instrument::new(Client::connect(Box::new(Tcp::connect(address).unwrap()), &port).unwrap());
    let trace = Trace {
        job,
        source: TraceSource::Row(0),
        volts: Volts(0.1),
        column: 0,
        columns: 1,
        range: 0,
        samples: 4,
        interval_ns: 1_000_000,
        summed: 1,
    };
    let started = |reply: &Reply<'_>| Ok::<_, LinkError>(matches!(reply, Reply::Done));
    assert!(instrument.client_mut().request(&Request::Trace(trace), started).unwrap());
    while !matches!(instrument.job_state(job).unwrap(), JobState::Ended { .. }) {}
    drop(instrument);

    let ohmrig = |arguments: &[&str]| {
        let output =
            Command::new(ohmrig()).args(["--json", "--port", &port]).args(arguments).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), said)
    };
    let noise = ["noise", "--rows", "1", "--columns", "1", "--samples", "512", "--interval-s", "1e-3"];
    let (status, said) = ohmrig(&noise);
    let why = said["error"]["message"].as_str().unwrap();
    assert!(status != 0 && why.contains("job 0x0000000000001234"), "{said}");
    assert!(why.contains("ohmrig safe --discard-held"), "{said}");
    // Without the word nothing is dropped.
    assert_eq!(ohmrig(&["safe"]).1["discarded_job"], Value::Null);
    assert_ne!(ohmrig(&noise).0, 0);
    let (status, said) = ohmrig(&["safe", "--discard-held"]);
    assert_eq!((status, said["discarded_job"].as_str()), (0, Some("0x0000000000001234")), "{said}");
    assert_eq!(ohmrig(&["safe", "--discard-held"]).0, 0, "nothing to drop is no error");
    let (status, said) = ohmrig(&noise);
    assert_eq!(status, 0, "{said}");
    lab.board.take().unwrap().end();
}
