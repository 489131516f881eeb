//! A link damaged on purpose (`--inject`), in this process and over TCP: what comes out is what comes out without
//! damage, every acknowledged pulse is one pulse in ground truth, and a link that is really gone is given up in bounded
//! time with one line.

use ohmrig::bench::{Emulation, profile};
use ohmrig::client::{Client, LinkError};
use ohmrig::device::EmulatedDevice;
use ohmrig::instrument::{Instrument, InstrumentError};
use ohmrig::transport::inject::{Fault, Faulty};
use ohmrig::transport::{InProcess, Pace, Transport, TransportError};
use ohmrig_protocol::message::{Pulse, Scheme};
use ohmrig_protocol::units::{Seconds, Volts};
use ohmrig_tests::{Emulated, Scratch, ohmrig, run};
use serde_json::Value;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// About every third exchange suffers something that loses it.
const FAULTS: &str = "drop=0.05,gap=0.02,corrupt=0.03,truncate=0.03,duplicate=0.04,reorder=0.03,stall=0.02,\
                      merge=0.05,split=0.05";
const SEEDS: std::ops::Range<u64> = 1..11;

fn faults(seed: u64) -> String {
    format!("{FAULTS},seed={seed}")
}

fn try_run(arguments: &[&str]) -> Output {
    Command::new(ohmrig()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("--json prints one JSON object")
}

fn injected(json: &Value) -> u64 {
    Fault::ALL.iter().map(|fault| json["link"]["injected"][fault.name()].as_u64().unwrap()).sum()
}

/// Pulses of every cell in a truth file.
fn pulses(truth: &str) -> Vec<u64> {
    let truth = json(&fs::read_to_string(truth).unwrap());
    truth["cells"].as_array().unwrap().iter().map(|cell| cell["pulses"].as_u64().unwrap()).collect()
}

/// A command's JSON and the truth file it, or the board it talked to, left behind.
fn in_process(profile: &str, command: &[&str], inject: Option<&str>) -> (Value, String) {
    let scratch = Scratch::new("inject");
    let truth = scratch.path("truth.json").display().to_string();
    let port = format!("emulated:{profile}");
    let mut arguments = vec!["--port", &port, "--json", "--seed", "5", "--truth", &truth];
    arguments.extend(inject.iter().flat_map(|inject| ["--inject", inject]));
    arguments.extend(command);
    let said = json(&run(arguments));
    (said, fs::read_to_string(truth).unwrap())
}

fn over_tcp(profile: &str, command: &[&str], inject: &str) -> (Value, String) {
    let scratch = Scratch::new("inject-tcp");
    let truth = scratch.path("truth.json").display().to_string();
    let serving = ["--seed", "5", "--truth", &truth, "--profile", profile];
    let emulated = Emulated::start("tcp:127.0.0.1:0", serving);
    let mut arguments = vec!["--port", &emulated.port, "--json", "--inject", inject];
    arguments.extend(command);
    let said = json(&run(arguments));
    emulated.end();
    (said, fs::read_to_string(truth).unwrap())
}

const PULSES: [&str; 10] =
    ["pulse", "--row", "2", "--column", "3", "--volts", "1.6", "--width-s", "50e-6", "--count=25"];

/// Every pulse of the command acknowledged, each on its cell once, no other cell touched.
fn assert_each_once(seed: u64, said: &Value, truth: &str) {
    assert_eq!((&said["applied"], &said["unknown"]), (&25.into(), &0.into()), "seed {seed}");
    let cells = json(truth);
    for cell in cells["cells"].as_array().unwrap() {
        let here = (cell["row"] == 2) && (cell["col"] == 3);
        assert_eq!(cell["pulses"], if here { 25 } else { 0 }, "seed {seed}: {cell}");
    }
    assert!(injected(said) > 0, "seed {seed}: the link was not bad enough to test anything");
}

#[test]
fn every_acknowledged_pulse_is_one_pulse_in_ground_truth_in_process() {
    for seed in SEEDS {
        let (said, truth) = in_process("rram-cmo", &PULSES, Some(&faults(seed)));
        assert_each_once(seed, &said, &truth);
    }
}

#[test]
fn every_acknowledged_pulse_is_one_pulse_in_ground_truth_over_tcp() {
    for seed in SEEDS {
        let (said, truth) = over_tcp("rram-cmo", &PULSES, &faults(seed));
        assert_each_once(seed, &said, &truth);
    }
}

const DEMO: [&str; 5] = ["demo", "--images", "2", "--tiles", "1"];

/// Over TCP the host doesn't know the devices' profile, so its recipe is named.
const IDEAL_DEMO: [&str; 7] = ["demo", "--images", "2", "--tiles", "1", "--recipe", "ideal"];

/// What must not depend on the link. On devices and a board without noise, everything: a measurement that runs again
/// because its reply was lost gives the same numbers.
fn assert_same(seed: u64, got: &(Value, String), undamaged: &(Value, String)) {
    for field in ["classes", "scores", "programming"] {
        assert_eq!(got.0[field], undamaged.0[field], "seed {seed}, {field}");
    }
    assert_eq!(got.1, undamaged.1, "seed {seed}: ground truth");
    assert!(injected(&got.0) > 0, "seed {seed}: the link was not bad enough to test anything");
}

#[test]
fn the_demo_gives_the_same_over_a_damaged_link_in_process() {
    let undamaged = in_process("ideal", &IDEAL_DEMO, None);
    for seed in SEEDS {
        assert_same(seed, &in_process("ideal", &IDEAL_DEMO, Some(&faults(seed))), &undamaged);
    }
}

#[test]
fn the_demo_gives_the_same_over_a_damaged_link_over_tcp() {
    let undamaged = in_process("ideal", &IDEAL_DEMO, None);
    for seed in SEEDS {
        assert_same(seed, &over_tcp("ideal", &IDEAL_DEMO, &faults(seed)), &undamaged);
    }
}

/// With noise, a measurement that runs again draws new noise, so scores differ in their last digits; what a job does to
/// devices doesn't, if it was asked the same: without a survey before it.
#[test]
fn noisy_devices_are_programmed_the_same_over_a_damaged_link() {
    let demo = [DEMO.as_slice(), &["--row-ohms", "0"]].concat();
    let (undamaged, truth) = in_process("rram-cmo", &demo, None);
    for seed in SEEDS.take(3) {
        let (said, after) = in_process("rram-cmo", &demo, Some(&faults(seed)));
        let what = ["cells", "inside_window", "pulses_per_cell_mean"];
        for field in what {
            assert_eq!(said["programming"][field], undamaged["programming"][field], "seed {seed}, {field}");
        }
        assert_eq!(said["classes"], undamaged["classes"], "seed {seed}");
        let counts = |truth: &str| -> Vec<Value> {
            let cells = json(truth)["cells"].as_array().unwrap().clone();
            cells.into_iter().map(|cell| cell["pulses"].clone()).collect()
        };
        assert_eq!(counts(&after), counts(&truth), "seed {seed}");
    }
}

#[test]
fn the_serving_end_can_damage_the_link_too() {
    let scratch = Scratch::new("inject-serve");
    let truth = scratch.path("truth.json").display().to_string();
    let inject = faults(4);
    let serving = ["--seed", "5", "--truth", &truth, "--inject", &inject];
    let emulated = Emulated::start("tcp:127.0.0.1:0", serving);
    let mut arguments = vec!["--port", &emulated.port, "--json"];
    arguments.extend(PULSES);
    let said = json(&run(arguments));
    emulated.end();
    assert_eq!(said["applied"], 25);
    assert_eq!(pulses(&truth).iter().sum::<u64>(), 25);
}

#[test]
fn a_link_that_loses_everything_ends_with_status_4_and_one_line() {
    let scratch = Scratch::new("inject-lost");
    let truth = scratch.path("truth.json").display().to_string();
    let emulated = Emulated::start("tcp:127.0.0.1:0", ["--truth", &truth]);
    for port in ["emulated", &emulated.port] {
        let start = Instant::now();
        let mut arguments = vec!["--port", port, "--inject", "drop=1"];
        arguments.extend(PULSES);
        let output = try_run(&arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{message}");
        // Hellos go on for 3 s at most; the rest is for a busy machine.
        assert!(start.elapsed() < Duration::from_secs(10), "{port}: {:?}", start.elapsed());
    }
    emulated.end();
    assert_eq!(pulses(&truth).iter().sum::<u64>(), 0);
}

/// A device in this process whose link works until it is cut: then nothing comes back, or nothing gets there.
struct Cut {
    inner: InProcess,
    deaf: Arc<AtomicBool>,
    mute: Arc<AtomicBool>,
}

impl Transport for Cut {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        if self.deaf.load(Ordering::Relaxed) { Ok(()) } else { self.inner.write_all(bytes) }
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
        let bytes = self.inner.read(buffer, timeout)?;
        Ok(if self.mute.load(Ordering::Relaxed) { 0 } else { bytes })
    }

    fn pace(&self) -> Pace {
        Pace { base: Duration::from_millis(20), ..Pace::IN_PROCESS }
    }
}

const PULSE: Pulse =
    Pulse { row: 2, column: 3, volts: Volts(1.6), width: Seconds(50e-6), scheme: Scheme::Half, gate: None };

fn device(seed: u64) -> EmulatedDevice {
    EmulatedDevice::power_up(&Emulation::new(profile(Some("rram-cmo")).unwrap(), seed)).unwrap()
}

fn counted(instrument: &mut Instrument) -> u64 {
    instrument.status().unwrap().counters.pulses
}

#[test]
fn a_pulse_on_a_link_that_dies_is_unknown_and_was_applied_at_most_once() {
    for cut_there in [true, false] {
        let (deaf, mute) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let cut = Cut { inner: InProcess::new(device(7)), deaf: Arc::clone(&deaf), mute: Arc::clone(&mute) };
        let mut instrument = Instrument::new(Client::connect(Box::new(cut), "cut").unwrap());
        instrument.arm(10_000).unwrap();
        instrument.pulse(PULSE).unwrap();
        if cut_there { &deaf } else { &mute }.store(true, Ordering::Relaxed);
        let start = Instant::now();
        let error = instrument.pulse(PULSE).unwrap_err();
        // Sixteen attempts of 20 ms and some.
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let InstrumentError::Link(LinkError::TimedOut { unknown: 1, .. }) = error else { panic!("{error}") };
        deaf.store(false, Ordering::Relaxed);
        mute.store(false, Ordering::Relaxed);
        instrument.client_mut().reconnect().unwrap();
        assert_eq!(counted(&mut instrument), if cut_there { 1 } else { 2 });
    }
}

/// Resets between pulses and while one is on its way: acknowledged pulses were applied, one that is unknown was or
/// wasn't, and none was applied twice.
#[test]
fn after_resets_ground_truth_lies_between_acknowledged_and_unknown() {
    let scratch = Scratch::new("inject-reset");
    let (mut resets, mut acknowledged, mut unknown_in_all, mut lost) = (0, 0, 0, 0);
    for seed in SEEDS {
        let truth = scratch.path(&format!("truth-{seed}.json"));
        let mut emulation = Emulation::new(profile(Some("rram-cmo")).unwrap(), seed);
        emulation.truth = Some(truth.clone());
        let device = EmulatedDevice::power_up(&emulation).unwrap();
        let inject = format!("reset=0.05,drop=0.05,duplicate=0.05,seed={seed}").parse().unwrap();
        let faulty = Faulty::new(Box::new(InProcess::new(device)), inject);
        let tally = faulty.tally();
        // A reset between hello and identity leaves nothing to test.
        let Ok(client) = Client::connect(Box::new(faulty), "resetting") else { continue };
        let mut instrument = Instrument::new(client);
        let (mut applied, mut unknown) = (0, 0);
        for _ in 0..40 {
            let armed = instrument.arm(10_000);
            match armed.and_then(|()| instrument.pulse(PULSE)) {
                Ok(_) => applied += 1,
                Err(InstrumentError::Link(LinkError::SessionLost {
                    boot_then,
                    boot_now,
                    unknown: in_flight,
                })) => {
                    assert_ne!(boot_then, boot_now, "seed {seed}: a reset is told from another session");
                    unknown += u64::from(in_flight);
                    while instrument.client_mut().reconnect().is_err() {}
                }
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        drop(instrument);
        let counted = pulses(&truth.display().to_string()).iter().sum::<u64>();
        assert!(
            (applied..=applied + unknown).contains(&counted),
            "seed {seed}: {applied} acknowledged, {unknown} unknown, {counted} in truth"
        );
        resets += tally.count(Fault::Reset);
        acknowledged += applied;
        unknown_in_all += unknown;
        lost += counted - applied;
    }
    println!(
        "{resets} resets, {acknowledged} acknowledged, {unknown_in_all} unknown, {lost} of them applied"
    );
    assert!(resets > 20 && acknowledged > 200 && unknown_in_all > lost && lost > 0);
}

#[test]
fn a_reset_in_the_middle_of_a_job_is_reported_as_one() {
    let output = try_run(&["--inject", "reset=0.2,seed=2", "demo", "--images", "2", "--tiles", "1"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(message.contains("reset"), "{message}");
}

#[test]
fn a_wrong_specification_is_refused_with_key_value_and_what_is_allowed() {
    for (arguments, words) in [
        (["info", "--inject", "drop=1.5"], ["drop", "1.5", "0 to 1"]),
        (["info", "--inject", "stall=NaN"], ["stall", "NaN", "0 to 1"]),
        (["info", "--inject", "loss=0.1"], ["loss", "0.1", "reorder"]),
        (["list", "--inject", "drop=0.1"], ["--inject", "no link", "command"]),
        (["--port=/dev/null", "info", "--inject=reset=0.1"], ["reset", "0.1", "/dev/null"]),
    ] {
        let output = try_run(&arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        for word in words {
            assert!(message.contains(word), "{arguments:?}: no {word} in {message}");
        }
    }
}
