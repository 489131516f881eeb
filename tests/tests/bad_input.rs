//! Bad input at the command line: one line that says what, where and what to do, the exit status of its kind, and no
//! device touched.

use ohmrig_protocol::frame::{self, Decoder, Header, Kind, SessionId};
use ohmrig_protocol::session::Mismatch;
use ohmrig_tests::{Emulated, Scratch, ohmrig};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const REFUSED: i32 = 3;
const LINK: i32 = 4;

/// Runs and expects failure; gives status and message.
fn fail(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(ohmrig()).args(arguments).stdin(Stdio::null()).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{arguments:?} succeeded");
    (output.status.code().unwrap(), message)
}

/// As `fail`, and the message must be one line that has all of `words`.
fn says(arguments: &[&str], status: i32, words: &[&str]) {
    let (got, message) = fail(arguments);
    assert_eq!(got, status, "{arguments:?}: {message}");
    assert_eq!(message.trim_end().lines().count(), 1, "{arguments:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{arguments:?}: no '{word}' in: {message}");
    }
}

/// A `.npy` file (format 1.0) of a header and bytes.
fn npy(scratch: &Scratch, name: &str, descr: &str, shape: &str, data: &[u8]) -> String {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    let path = scratch.path(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

fn floats(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn a_port_that_is_not_there_is_named() {
    says(&["--port", "/dev/no-such-port", "info"], LINK, &["/dev/no-such-port", "ohmrig list"]);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    says(&["--port", &format!("tcp://{free}"), "info"], LINK, &[&free.to_string()]);
}

#[test]
fn a_profile_that_is_not_there_is_named() {
    let (status, message) = fail(&["--port", "emulated:no-such-profile", "info"]);
    assert!([FAILED, USAGE].contains(&status), "{status}: {message}");
    assert!(message.contains("no-such-profile") && message.contains("rram-cmo"), "{message}");
}

#[test]
fn a_port_with_something_else_behind_it_is_told_apart_from_ohmrig() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("tcp://{}", listener.local_addr().unwrap());
    // Something chatty that is no ohmrig.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n\0\0\0");
            let mut sink = [0; 256];
            while stream.read(&mut sink).is_ok_and(|bytes| bytes > 0) {}
        }
    });
    says(&["--port", &port, "info"], LINK, &[&port]);
}

#[test]
fn another_protocol_version_is_named_with_both_sides_numbers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("tcp://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let (mut buffer, mut bytes) = ([0; 4096], [0; 256]);
            let mut decoder = Decoder::new(&mut buffer);
            while let Ok(count) = stream.read(&mut bytes) {
                if count == 0 {
                    break;
                }
                if decoder.feed(&bytes[..count]).1.is_some() {
                    let header =
                        Header { version: 7, kind: Kind::Mismatch, session: SessionId::NONE, sequence: 0 };
                    let mismatch = Mismatch { received: 0, min: 5, current: 7 };
                    let mut out = [0; 64];
                    let length = frame::encode(header, &mismatch, &mut out).unwrap();
                    stream.write_all(&out[..length]).unwrap();
                }
            }
        }
    });
    says(&["--port", &port, "info"], LINK, &["version", "5", "7", "0"]);
}

#[test]
fn a_busy_port_is_named() {
    let emulated = Emulated::start("pty", ["--seed", "1"]);
    let holder = Command::new(ohmrig())
        .args(["--port", &emulated.port, "demo"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The first one locks the port for as long as it runs; a demo over a pty takes seconds.
    std::thread::sleep(std::time::Duration::from_millis(400));
    let (status, message) = fail(&["--port", &emulated.port, "info"]);
    let mut holder = holder;
    let _ = holder.kill();
    let _ = holder.wait();
    assert_eq!(status, LINK, "{message}");
    assert!(message.contains(&emulated.port), "{message}");
}

#[test]
fn arrays_of_the_wrong_shape_or_type_are_refused_before_any_device_is_touched() {
    let scratch = Scratch::new("arrays");
    let truth = scratch.path("truth.json");
    let state = scratch.path("state");
    let (truth_name, state_name) = (truth.display().to_string(), state.display().to_string());
    let base = ["--truth", &truth_name, "--state", &state_name];
    let before = |arguments: &[&str]| -> Vec<String> {
        base.iter().chain(arguments).map(|&argument| argument.to_owned()).collect()
    };
    // What the array is like untouched.
    let info = before(&["info"]);
    ohmrig_tests::run(&info);
    let devices = || -> Vec<(f64, u64)> {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&truth).unwrap()).unwrap();
        let cells = json["cells"].as_array().unwrap();
        // Powering up alone puts the drivers' offsets on the cells; SAFE allows 10 mV.
        assert!(cells.iter().all(|cell| cell["max_abs_v"].as_f64().unwrap() <= 0.010));
        cells
            .iter()
            .map(|cell| (cell["conductance_s"].as_f64().unwrap(), cell["pulses"].as_u64().unwrap()))
            .collect()
    };
    let untouched = devices();

    let wide = npy(&scratch, "wide.npy", "<f8", "(1, 17)", &floats(&[20e-6; 17]));
    let text = npy(&scratch, "text.npy", "|S8", "(1, 2)", b"aaaaaaaabbbbbbbb");
    let cube = npy(&scratch, "cube.npy", "<f8", "(1, 1, 2)", &floats(&[20e-6; 2]));
    let short = npy(&scratch, "short.npy", "<f8", "(2, 2)", &floats(&[20e-6; 3]));
    let nan = npy(&scratch, "nan.npy", "<f8", "(1, 2)", &floats(&[20e-6, f64::NAN]));
    let infinite = npy(&scratch, "infinite.npy", "<f8", "(1, 2)", &floats(&[20e-6, f64::INFINITY]));
    let large = npy(&scratch, "large.npy", "<f8", "(1, 2)", &floats(&[20e-6, 5e-3]));
    let fine = npy(&scratch, "fine.npy", "<f8", "(1, 2)", &floats(&[20e-6, 30e-6]));
    let missing = scratch.path("missing.npy").display().to_string();
    let cases: Vec<(Vec<&str>, Vec<&str>)> = vec![
        (vec!["program", &wide], vec!["17", "16"]),
        (vec!["program", &text], vec!["text.npy"]),
        (vec!["program", &cube], vec!["cube.npy"]),
        (vec!["program", &short], vec!["short.npy"]),
        (vec!["program", &nan], vec!["[0, 1]", "NaN"]),
        (vec!["program", &infinite], vec!["[0, 1]", "inf"]),
        (vec!["program", &large], vec!["[0, 1]", "8.18"]),
        (vec!["program", &fine, "--column", "15"], vec!["16"]),
        (vec!["program", &missing], vec!["missing.npy"]),
        (vec!["mvm", &fine], vec!["16"]),
        (vec!["mvm", &nan], vec![]),
    ];
    for (command, words) in &cases {
        let arguments = before(command);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (status, message) = fail(&arguments);
        assert!([FAILED, USAGE, REFUSED].contains(&status), "{command:?}: {status} {message}");
        let line = message.trim_end().lines().last().unwrap();
        for word in words {
            assert!(line.contains(word), "{command:?}: no '{word}' in: {message}");
        }
        assert_eq!(devices(), untouched, "{command:?}");
    }
}

#[test]
fn what_solve_cannot_be_asked_is_refused_with_place_value_and_range() {
    let scratch = Scratch::new("solve-input");
    let out = scratch.path("i.npy").display().to_string();
    let v = npy(&scratch, "v.npy", "<f8", "(1, 2)", &floats(&[0.2, 0.1]));
    let g = |name: &str, values: [f64; 4]| npy(&scratch, name, "<f8", "(2, 2)", &floats(&values));
    let fine = g("fine.npy", [1e-5; 4]);
    let negative = g("negative.npy", [1e-5, 1e-5, -2e-5, 1e-5]);
    let tall = npy(&scratch, "tall.npy", "<f8", "(513, 1)", &floats(&[1e-5; 513]));
    let wide = npy(&scratch, "wide.npy", "<f8", "(1, 513)", &floats(&[1e-5; 513]));
    let cases: [(&str, &[&str], &[&str]); 6] = [
        (&negative, &["--r-wire", "1"], &["negative.npy", "[1, 0]", "-0.00002", "1e12 S"]),
        (&tall, &["--r-wire", "1"], &["tall.npy", "513 × 1", "512 × 512"]),
        (&wide, &["--r-wire", "1"], &["wide.npy", "1 × 513", "512 × 512"]),
        (&fine, &["--r-wire=-3"], &["--r-wire", "-3", "0.001 to 1e9"]),
        (
            &fine,
            &["--r-wire", "1", "--r-wire-column", "1e-4"],
            &["--r-wire-column", "0.0001", "0.001 to 1e9"],
        ),
        (&fine, &["--r-wire", "1", "--v0", "0"], &["--v0", "0 V", "above 0"]),
    ];
    for (g, options, words) in cases {
        let arguments = [&["solve", g, &v, "-o", &out], options].concat();
        says(&arguments, USAGE, words);
        assert!(!std::path::Path::new(&out).exists(), "{arguments:?}");
    }
}

#[test]
fn cells_outside_and_pulses_beyond_the_limits_are_refused() {
    let pulse = |row: &str, volts: &str, width: &str| {
        let volts = format!("--volts={volts}");
        fail(&["pulse", "--row", row, "--column", "0", &volts, "--width-s", width])
    };
    let (status, message) = pulse("16", "1.5", "1e-4");
    assert!([USAGE, REFUSED].contains(&status) && message.contains("16"), "{status}: {message}");
    let (status, message) = pulse("0", "9", "1e-4");
    assert_eq!(status, REFUSED, "{message}");
    assert!(message.contains("limit") && message.contains('5'), "{message}");
    let (status, message) = pulse("0", "1.5", "30");
    assert_eq!(status, REFUSED, "{message}");
    let (status, message) = pulse("0", "NaN", "1e-4");
    assert!([USAGE, REFUSED].contains(&status), "{status}: {message}");
    let (status, message) = fail(&["read", "--volts", "3"]);
    assert_eq!(status, REFUSED, "{message}");
}

#[test]
fn with_json_an_error_is_one_object_on_standard_output() {
    let output = Command::new(ohmrig())
        .args(["--json", "--port", "/dev/no-such-port", "info"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(LINK));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["ok"], false);
    assert!(json["error"]["kind"].is_string() && json["error"]["message"].is_string(), "{json}");
}

#[test]
fn usage_errors_have_their_own_status() {
    assert_eq!(fail(&["no-such-command"]).0, USAGE);
    assert_eq!(fail(&["demo", "--images", "0"]).0, USAGE);
    assert_eq!(fail(&["emulate", "--listen", "tcp:0.0.0.0:0"]).0, USAGE);
}

#[test]
fn a_state_file_of_every_built_in_profile_can_be_read_again() {
    let scratch = Scratch::new("states");
    for profile in ["ideal", "resistor", "rram-hfox", "rram-cmo", "pcm", "ecram"] {
        let (port, state) = (format!("emulated:{profile}"), scratch.path(profile).display().to_string());
        for _ in 0..2 {
            ohmrig_tests::run(["--port", &port, "--state", &state, "info"]);
        }
    }
}

#[test]
fn a_state_file_keeps_devices_between_processes_and_is_held_by_one() {
    let scratch = Scratch::new("state");
    let path = |name: &str| -> PathBuf { scratch.path(name) };
    let (state, truth) = (path("state").display().to_string(), path("truth.json").display().to_string());
    let command = |rest: &[&str]| {
        let arguments: Vec<&str> =
            ["--state", &state, "--truth", &truth].into_iter().chain(rest.iter().copied()).collect();
        ohmrig_tests::run(arguments);
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&truth).unwrap()).unwrap();
        let cell = json["cells"][0].clone();
        (cell["pulses"].as_u64().unwrap(), cell["conductance_s"].as_f64().unwrap())
    };
    let pulse = ["pulse", "--row", "0", "--column", "0", "--volts", "1.6", "--width-s", "1e-4"];
    let (pulses, first) = command(&pulse);
    assert_eq!(pulses, 1);
    let (pulses, second) = command(&pulse);
    assert_eq!(pulses, 2);
    assert!(second > first);
    let held = Emulated::start("tcp:127.0.0.1:0", ["--state", &state]);
    let (status, message) = fail(&["--state", &state, "info"]);
    assert_eq!(status, FAILED, "{message}");
    assert!(message.contains("in use"), "{message}");
    held.end();
}
