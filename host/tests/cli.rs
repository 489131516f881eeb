//! The command line as a person meets it first: help that names every command, and statuses scripts can rely on.

use std::process::{Command, Output, Stdio};

fn ohmrig(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ohmrig")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn help_names_every_command_and_each_has_help_of_its_own() {
    let help = String::from_utf8(ohmrig(&["--help"]).stdout).unwrap();
    for command in
        ["demo", "list", "info", "selftest", "read", "pulse", "program", "mvm", "safe", "emulate", "bench"]
    {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command}");
        let own = ohmrig(&[command, "--help"]);
        assert!(own.status.success(), "{command}");
        assert!(String::from_utf8(own.stdout).unwrap().contains("--json"), "{command}");
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
