//! Run files at the command line: what can't be used is told in one line with the right exit status and before any
//! device is touched; what is on the disk is what was reported.
#![cfg(unix)]

use ohmrig_tests::{Emulated, Scratch, ohmrig, run};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const LINK: i32 = 4;

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// The output must be a failure of this status, one line with all of `words`.
fn says(output: &Output, status: i32, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{message}");
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    for word in words {
        assert!(message.contains(word), "no '{word}' in: {message}");
    }
}

fn read_into(file: &Path) -> Output {
    let path = file.display().to_string();
    output(Command::new(ohmrig()).args(["--port", "emulated:ideal", "--run", &path, "read"]))
}

fn count(file: &Path, sql: &str) -> i64 {
    rusqlite::Connection::open(file).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn files_that_cannot_be_run_files_are_told_apart_before_a_device_is_touched() {
    let scratch = Scratch::new("run-files");
    let path = |name: &str| scratch.path(name);
    std::fs::write(path("text"), "these are notes, not measurements".repeat(100)).unwrap();
    let other = rusqlite::Connection::open(path("other")).unwrap();
    other.execute_batch("CREATE TABLE bookmarks (x)").unwrap();
    assert!(read_into(&path("newer")).status.success());
    rusqlite::Connection::open(path("newer")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for (name, words) in [
        ("", ["folder", "file in it"]),
        ("text", ["not an SQLite file", "another name"]),
        ("other", ["another program", "another name"]),
        ("newer", ["format 99", "newer ohmrig"]),
        ("nowhere/run", ["nowhere/run", "No such file"]),
    ] {
        says(&read_into(&path(name)), USAGE, &words);
        // A port that isn't there is never looked at.
        let file = path(name).display().to_string();
        let first = output(Command::new(ohmrig()).args(["--port", "/dev/no-such", "--run", &file, "read"]));
        says(&first, USAGE, &words);
    }
    let notes = std::fs::read_to_string(path("text")).unwrap();
    assert!(notes.starts_with("these are notes"));
}

#[test]
fn another_board_is_refused_with_both_names() {
    let scratch = Scratch::new("run-files");
    let file = scratch.path("run");
    assert!(read_into(&file).status.success());
    let path = file.display().to_string();
    let arguments = ["--port", "emulated:ideal", "--seed", "9", "--run", &path, "read"];
    says(&output(Command::new(ohmrig()).args(arguments)), USAGE, &["seed 1", "seed 9", "another file"]);
    assert_eq!(count(&file, "SELECT count(*) FROM measurement"), 1);
}

/// Root may write everywhere, so a test that runs as root becomes somebody else for this.
fn as_somebody(command: &mut Command) -> &mut Command {
    if rustix::process::geteuid().is_root() { command.uid(65534).gid(65534) } else { command }
}

#[test]
fn a_file_or_folder_that_is_read_only_is_an_error_that_says_so() {
    let scratch = Scratch::new("run-files");
    // Where somebody else can run it.
    let program = scratch.path("ohmrig");
    std::fs::copy(ohmrig(), &program).unwrap();
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&program, 0o755);
    let folder = scratch.path("folder");
    std::fs::create_dir(&folder).unwrap();
    mode(&folder, 0o777);
    let file = folder.join("run");
    assert!(read_into(&file).status.success());
    mode(&file, 0o444);
    mode(&folder.join("run.lock"), 0o666);
    let path = file.display().to_string();
    let arguments = ["--port", "emulated:ideal", "--run", &path, "read"];
    says(
        &output(as_somebody(Command::new(&program).args(arguments))),
        FAILED,
        &["can't be written", "permissions"],
    );
    mode(&folder, 0o555);
    let path = folder.join("new").display().to_string();
    let arguments = ["--port", "emulated:ideal", "--run", &path, "read"];
    says(
        &output(as_somebody(Command::new(&program).args(arguments))),
        FAILED,
        &["can't be written", "permissions"],
    );
    mode(&folder, 0o755);
    assert_eq!(count(&file, "SELECT count(*) FROM measurement"), 1);
}

#[test]
fn a_disk_that_is_full_stops_the_command_and_keeps_what_was_done() {
    let scratch = Scratch::new("run-files");
    let file = scratch.path("run");
    assert!(read_into(&file).status.success());
    let before = count(&file, "SELECT count(*) FROM measurement WHERE state = 'said'");
    let path = file.display().to_string();
    // A limit on the size of files, in blocks of 512 bytes: the file as it is and a little more, so that the write-ahead
    // log runs into it. Without the trap the system's signal would end the process.
    let blocks = std::fs::metadata(&file).unwrap().len() / 512 + 20;
    let demo = "--tiles 3 --images 40 --recipe ideal";
    let line = format!(
        "trap '' XFSZ; ulimit -f {blocks}; exec {} --port emulated:ideal --run {path} demo {demo}",
        ohmrig().display()
    );
    let full = output(Command::new("sh").args(["-c", &line]));
    says(&full, FAILED, &["disk is full", "make room", "same command again"]);
    assert_eq!(count(&file, "SELECT count(*) FROM measurement WHERE state = 'said'"), before);
    // With room, the same command goes on.
    let mut again = vec!["--json", "--port", "emulated:ideal", "--run", &path, "demo"];
    again.extend(demo.split(' '));
    let said: Value = serde_json::from_str(&run(again)).unwrap();
    assert_eq!(said["resumed"], true, "{said}");
}

#[test]
fn a_run_file_belongs_to_one_process_at_a_time() {
    let scratch = Scratch::new("run-files");
    let file = scratch.path("run");
    assert!(read_into(&file).status.success());
    let lock = std::fs::File::options().write(true).open(scratch.path("run.lock")).unwrap();
    lock.lock().unwrap();
    says(&read_into(&file), FAILED, &["in use by another ohmrig"]);
    drop(lock);
    assert!(read_into(&file).status.success());
}

#[test]
fn a_second_client_on_one_tcp_port_is_told_who_has_it() {
    let emulated = Emulated::start("tcp:127.0.0.1:0", ["--seed", "1"]);
    let address = emulated.port.strip_prefix("tcp://").unwrap();
    let holder = std::net::TcpStream::connect(address).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let second = output(Command::new(ohmrig()).args(["--port", &emulated.port, "info"]));
    says(&second, LINK, &[&emulated.port, "another client"]);
    drop(holder);
}

#[test]
fn two_virtual_boards_on_one_address_are_refused() {
    let emulated = Emulated::start("tcp:127.0.0.1:0", ["--seed", "1"]);
    let address = emulated.port.replace("tcp://", "tcp:");
    let second = output(Command::new(ohmrig()).args(["emulate", "--listen", &address]));
    says(&second, FAILED, &[&address, "in use"]);
}

#[test]
fn a_run_file_has_everything_a_reader_needs_to_trust_it() {
    let scratch = Scratch::new("run-files");
    let file = scratch.path("run");
    assert!(read_into(&file).status.success());
    let open = rusqlite::Connection::open(&file).unwrap();
    let row = open
        .query_row(
            "SELECT run.board, run.git, run.seed, run.profile, m.settings, m.state, m.temperature_k, m.digest, \
             m.ended_instrument_ns - m.started_instrument_ns FROM measurement m JOIN run ON run.id = m.run",
            [],
            |row| {
                let text = |n: usize| row.get::<_, String>(n);
                Ok((
                    [text(0)?, text(1)?, text(2)?, text(3)?, text(4)?, text(5)?],
                    row.get::<_, Option<f64>>(6)?,
                    text(7)?,
                    row.get::<_, i64>(8)?,
                ))
            },
        )
        .unwrap();
    let ([board, git, seed, profile, settings, state], kelvin, digest, ns) = row;
    assert_eq!([&*board, &*seed, &*profile, &*state], ["or16-emulated", "1", "ideal", "said"]);
    assert!(!git.is_empty() && digest.len() == 64 && ns > 0);
    // The thermometer takes a second for its first reading.
    assert!(kelvin.is_none_or(|kelvin| (250.0..350.0).contains(&kelvin)), "{kelvin:?} K");
    let settings: Value = serde_json::from_str(&settings).unwrap();
    assert_eq!(settings["volts"], 0.2);
}
