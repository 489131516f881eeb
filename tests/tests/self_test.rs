//! The self test finds what is wrong with lines, says which line it is, and finds nothing where nothing is.

use ohmrig::bench::{Emulation, profile};
use ohmrig::client::Client;
use ohmrig::device::EmulatedDevice;
use ohmrig::instrument::self_test::{Line, SelfTest};
use ohmrig::instrument::{Instrument, ReadSettings};
use ohmrig::transport::InProcess;
use ohmrig_emulator::board::Board;
use ohmrig_emulator::crossbar::LineDefects;
use ohmrig_emulator::profile::Profile;
use ohmrig_protocol::bench::{ChipKind, ChipSelect};
use ohmrig_tests::{Scratch, ohmrig};
use std::process::{Command, Stdio};

const TOLERANCE: f64 = 0.02;
const NONE: LineDefects = LineDefects {
    open_rows: Vec::new(),
    open_columns: Vec::new(),
    shorted_rows: Vec::new(),
    shorted_columns: Vec::new(),
    shorted_crossings: Vec::new(),
    short_ohm: 10.0,
};

fn test(name: &str, seed: u64, lines: Option<LineDefects>) -> SelfTest {
    test_spoiled(name, seed, lines, |_| {})
}

fn test_spoiled(
    name: &str,
    seed: u64,
    lines: Option<LineDefects>,
    spoil: impl FnOnce(&mut Board),
) -> SelfTest {
    let mut profile = profile(Some(name)).unwrap();
    profile.device.lines = lines;
    let mut device = EmulatedDevice::power_up(&Emulation::new(profile, seed)).unwrap();
    spoil(device.board());
    let client = Client::connect(Box::new(InProcess::new(device)), "emulated").unwrap();
    let mut instrument = Instrument::new(client);
    let settings = ReadSettings { volts: 0.2, range: None, conversions: 16 };
    let test = instrument.self_test(&settings, TOLERANCE, || {}).unwrap();
    let status = instrument.status().unwrap();
    assert_eq!((status.armed_ms, status.fault), (0, None), "{name} {seed}");
    test
}

/// Lines that aren't sound, with what they are.
fn found(lines: &[Line]) -> Vec<(usize, Line)> {
    lines.iter().copied().enumerate().filter(|(_, line)| *line != Line::Sound).collect()
}

/// Twenty boards with each profile's devices, seeds 1 to 20; the shield has no reference resistors to test itself with.
#[test]
fn a_sound_board_gives_no_alarm() {
    for name in Profile::names().filter(|&name| name != "openmena") {
        for seed in 1..=20 {
            let test = test(name, seed, None);
            assert!(
                !test.is_unsafe(),
                "{name}, seed {seed}: {:?} {:?}",
                found(&test.rows),
                found(&test.columns)
            );
            assert!(
                test.feedback.iter().all(|&worst| worst <= 2.0 * TOLERANCE),
                "{name}, seed {seed}: {:?}",
                test.feedback
            );
            assert_eq!(test.open_cells, [], "{name}, seed {seed}");
        }
    }
}

#[test]
fn each_line_defect_is_found_and_named() {
    // Devices that differ: shorted rows are told by reading alike.
    for name in ["rram-cmo", "rram-hfox", "pcm", "ecram"] {
        for seed in [1, 2, 3] {
            let what = format!("{name}, seed {seed}");
            let open_row = test(name, seed, Some(LineDefects { open_rows: vec![0, 7], ..NONE }));
            assert_eq!(found(&open_row.rows), [(0, Line::Open), (7, Line::Open)], "{what}");
            assert_eq!(found(&open_row.columns), [], "{what}");

            let open_column = test(name, seed, Some(LineDefects { open_columns: vec![15], ..NONE }));
            assert_eq!(found(&open_column.columns), [(15, Line::Open)], "{what}");
            assert_eq!(found(&open_column.rows), [], "{what}");

            let columns = test(name, seed, Some(LineDefects { shorted_columns: vec![4, 14], ..NONE }));
            let pairs = [4, 14]
                .into_iter()
                .flat_map(|column| [(column, Line::ShortedToNext), (column + 1, Line::ShortedToPrevious)]);
            assert_eq!(found(&columns.columns), pairs.collect::<Vec<_>>(), "{what}");

            let crossing = test(name, seed, Some(LineDefects { shorted_crossings: vec![[9, 3]], ..NONE }));
            assert_eq!(crossing.shorts, [(9, 3)], "{what}");
            assert_eq!(found(&crossing.rows), [(9, Line::ShortedAcross)], "{what}");
            assert_eq!(found(&crossing.columns), [(3, Line::ShortedAcross)], "{what}");

            let rows = test(name, seed, Some(LineDefects { shorted_rows: vec![11], ..NONE }));
            let pair = [(11, Line::ShortedToNext), (12, Line::ShortedToPrevious)];
            assert_eq!(found(&rows.rows), pair, "{what}");
        }
    }
}

#[test]
fn shorted_columns_are_found_whatever_the_short_s_resistance() {
    for short_ohm in [0.1, 1.0, 100.0] {
        let lines = LineDefects { shorted_columns: vec![2], short_ohm, ..NONE };
        let test = test("rram-cmo", 4, Some(lines));
        assert_eq!(
            found(&test.columns),
            [(2, Line::ShortedToNext), (3, Line::ShortedToPrevious)],
            "{short_ohm}"
        );
    }
}

/// Devices that are all alike, as fresh ones may be: nothing tells rows apart but which of them is free to follow.
#[test]
fn shorted_rows_are_found_whatever_the_cells_and_the_short_s_resistance() {
    for name in ["resistor", "rram-cmo", "ecram"] {
        for short_ohm in [0.1, 10.0, 300.0, 1000.0] {
            let lines = LineDefects { shorted_rows: vec![0, 9], short_ohm, ..NONE };
            let test = test(name, 4, Some(lines));
            let pairs = [0, 9]
                .into_iter()
                .flat_map(|row| [(row, Line::ShortedToNext), (row + 1, Line::ShortedToPrevious)]);
            assert_eq!(found(&test.rows), pairs.collect::<Vec<_>>(), "{name}, {short_ohm} Ω");
        }
    }
}

/// Contacts that don't do what the chip's register says: read-back can't tell.
#[test]
fn a_contact_that_is_broken_or_welded_is_found_by_current() {
    for name in ["resistor", "rram-cmo"] {
        let contact = |kind, broken: bool| {
            test_spoiled(name, 6, None, |board| {
                let chip = board.switch(ChipSelect { kind, index: 1 }).unwrap();
                *(if broken { &mut chip.broken } else { &mut chip.welded }) = 1 << 2;
            })
        };
        let bias = contact(ChipKind::ColumnBias, true);
        assert_eq!(found(&bias.columns), [(10, Line::BiasOpen)], "{name}");
        assert!(!bias.bias[10] && bias.bias[9] && bias.is_unsafe(), "{name}");
        let welded = contact(ChipKind::FormingBypass, false);
        assert_eq!(found(&welded.rows), [(10, Line::BypassStuck)], "{name}");
        assert!(welded.is_unsafe());
        // A row that 10 kΩ never leave conducts too little for their share to be certain: not proven, alone of all rows.
        let broken = contact(ChipKind::FormingBypass, true);
        let unproven: Vec<usize> = (0..16).filter(|&row| !broken.bypass[row]).collect();
        assert_eq!(unproven, [10], "{name}: {:?}", found(&broken.rows));
    }
}

#[test]
fn every_switch_through_which_current_can_flow_is_proven_by_it() {
    // Of other devices the fresh ones conduct too little for a row's 10 kΩ to show with certainty.
    for name in ["resistor", "rram-cmo", "rram-hfox"] {
        let test = test(name, 2, None);
        for (group, proof) in test.switches(TOLERANCE) {
            assert_eq!(proof, "current", "{name}: {group}");
        }
    }
}

#[test]
fn what_makes_writing_unsafe_is_exit_status_3_and_a_line_in_the_report() {
    let scratch = Scratch::new("self-test");
    let path = scratch.path("open.toml");
    let text = include_str!("../../emulator/profiles/rram-cmo.toml");
    std::fs::write(&path, format!("{text}\n[device.lines]\nopen_rows = [5]\n")).unwrap();
    let run = |port: &str| {
        let output = Command::new(ohmrig())
            .args(["--port", port, "--json", "selftest"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), json)
    };
    let (status, json) = run(&format!("emulated:{}", path.display()));
    assert_eq!(status, Some(3), "{json}");
    assert_eq!(json["bad_rows"], serde_json::json!([5]));
    assert_eq!(json["rows_tested"][5]["verdict"], "open");
    let (status, json) = run("emulated");
    assert_eq!(status, Some(0), "{json}");
    assert_eq!(json["safe_to_write"], true);
    for (group, proof) in json["switches"].as_object().unwrap() {
        assert_eq!(proof, "current", "{group}");
    }
    assert_eq!(json["rows_tested"][5]["forming_bypass"], "current");
    assert_eq!(json["columns_tested"][15]["column_bias"], "current");
}
