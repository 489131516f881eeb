//! The command line as a person meets it first: help that names every command, and statuses scripts can rely on.

use std::process::{Command, Output, Stdio};

fn ohmrig(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ohmrig")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn help_names_every_command_and_each_has_help_of_its_own() {
    let help = String::from_utf8(ohmrig(&["--help"]).stdout).unwrap();
    for command in [
        "demo", "list", "info", "selftest", "read", "pulse", "program", "mvm", "safe", "emulate", "bench",
        "flash", "logs",
    ] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command}");
        let own = ohmrig(&[command, "--help"]);
        assert!(own.status.success(), "{command}");
        assert!(String::from_utf8(own.stdout).unwrap().contains("--json"), "{command}");
    }
}

#[test]
fn logs_of_a_device_in_this_process_are_refused_with_where_they_are() {
    let output = ohmrig(&["logs"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--log-level info"), "{said}");
    let output = ohmrig(&["--port", "qemu", "logs", "--elf", "/nowhere.elf"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nowhere.elf"));
}

#[test]
fn what_list_opens_is_said_and_can_be_left_out() {
    let help = String::from_utf8(ohmrig(&["list", "--help"]).stdout).unwrap();
    assert!(help.contains("opened") && help.contains("--no-open"), "{help}");
    let json: serde_json::Value =
        serde_json::from_slice(&ohmrig(&["--json", "list", "--no-open"]).stdout).unwrap();
    assert_eq!(json["ok"], true);
    assert!(json["probes"].is_array());
    for port in json["serial_ports"].as_array().unwrap() {
        assert_eq!((&port["opened"], &port["device"]), (&false.into(), &serde_json::Value::Null));
    }
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    let completions = ohmrig(&["completions", "bash"]);
    assert!(completions.status.success());
    assert!(String::from_utf8(completions.stdout).unwrap().contains("selftest"));
    let manual = ohmrig(&["man"]);
    assert!(String::from_utf8(manual.stdout).unwrap().starts_with(".ie"));
}

#[test]
fn an_emulated_board_says_that_it_is_one() {
    let output = ohmrig(&["info"]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("EMULATED"));
    let json: serde_json::Value = serde_json::from_slice(&ohmrig(&["--json", "info"]).stdout).unwrap();
    assert_eq!(json["emulated"], true);
    assert_eq!(json["profile"], "rram-cmo");
    assert!(json["seed"].is_number());
}
