//! The front end against registers that read back: what is closed when, what each line is at, what crosses the bus.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod board;

use super::*;
use board::{Board, Spoilt, Witness};
use ohmrig_protocol::bench::ChipSelect;
use ohmrig_protocol::message::{FaultCode, Scheme};
use std::vec::Vec;

/// Half an LSB of ±5 V: what rounding to the nearest code may cost.
const HALF_LSB: f32 = 0.5 * 10.0 / 65536.0;

const ROW_DAC: ChipSelect = ChipSelect { kind: ChipKind::RowDac, index: 0 };
const BIAS_DAC: ChipSelect = ChipSelect { kind: ChipKind::BiasDac, index: 0 };

fn front_end(rows: u16, columns: u16) -> Or16<Board> {
    Or16::new(Board::new(rows, columns), Or16Config { rows, columns, gates: false }).unwrap()
}

fn go_safe(or16: &mut Or16<Board>) -> Result<(), FrontEndError> {
    while let Progress::Again(_) = or16.make_safe()? {}
    Ok(())
}

fn safe(rows: u16, columns: u16) -> Or16<Board> {
    let mut or16 = front_end(rows, columns);
    go_safe(&mut or16).unwrap();
    or16
}

fn selection(row: u16, column: u16, scheme: Scheme) -> Selection {
    Selection { row, column, scheme, forming: false }
}

fn selected(row: u16, column: u16, scheme: Scheme) -> Or16<Board> {
    let mut or16 = safe(16, 16);
    let _ = or16.select(selection(row, column, scheme)).unwrap();
    or16
}

/// One whole pulse; the levels are in the board afterwards.
fn pulse(or16: &mut Or16<Board>, volts: f32) -> Result<(), FrontEndError> {
    let _ = or16.load_pulse(Volts(volts), None, false)?;
    or16.start_pulse(100_000)?;
    assert!(!or16.pulse_done()?);
    or16.hardware_mut().end_pulse();
    assert!(or16.pulse_done()?);
    let _ = or16.unload_pulse()?;
    Ok(())
}

/// Chips of all transactions since the last call.
fn touched(or16: &mut Or16<Board>) -> Vec<ChipSelect> {
    or16.hardware_mut().transactions.drain(..).map(|transaction| transaction.select).collect()
}

fn is_switch(select: &ChipSelect) -> bool {
    population::SWITCHES.contains(&select.kind)
}

#[track_caller]
fn assert_level(is: Option<f32>, volts: f32, what: &str) {
    let is = is.unwrap_or_else(|| panic!("{what} is disconnected"));
    assert!((is - volts).abs() <= HALF_LSB, "{what} at {is} V instead of {volts} V");
}

#[test]
fn safe_has_rows_at_0_v_through_100_ohms_and_columns_on_their_amplifiers() {
    for (rows, columns) in [(1, 1), (16, 16), (17, 9), (256, 256)] {
        let mut or16 = safe(rows, columns);
        let board = or16.hardware_mut();
        let all_rows: Vec<u16> = (0..rows).collect();
        let all_columns: Vec<u16> = (0..columns).collect();
        assert_eq!(board.closed(ChipKind::RowConnect), all_rows);
        assert_eq!(board.closed(ChipKind::FormingBypass), all_rows);
        assert_eq!(board.closed(ChipKind::ColumnSense), all_columns);
        for kind in [
            ChipKind::ColumnBias,
            ChipKind::Calibrate,
            ChipKind::RowCalibrate,
            ChipKind::Feedback10k,
            ChipKind::Feedback1k,
        ] {
            assert_eq!(board.closed(kind), [], "{kind:?}");
        }
        assert!((0..rows).all(|row| board.row_volts(row) == Some(0.0)));
        assert_eq!(board.witness, Witness::default());
    }
}

#[test]
fn nothing_is_closed_before_every_dac_has_been_read_back() {
    let mut or16 = safe(16, 16);
    let board = or16.hardware_mut();
    let closes = |transaction: &board::Transaction| {
        is_switch(&transaction.select) && transaction.sent[0] == 0x01 && transaction.sent[1] != 0
    };
    let first_closed = board.transactions.iter().position(closes).unwrap();
    let last_dac = board.transactions.iter().rposition(|t| t.select.kind == ChipKind::BiasDac).unwrap();
    assert!(last_dac < first_closed);
    assert_eq!(board.witness, Witness::default());
}

#[test]
fn a_board_whose_dac_reads_back_wrong_stays_open() {
    for spoilt in [Spoilt::A(0), Spoilt::B(15), Spoilt::Setting(7), Spoilt::ToggleEnable] {
        let mut or16 = front_end(16, 16);
        or16.hardware_mut().spoilt = Some((BIAS_DAC, spoilt));
        let fault = FrontEndError { code: FaultCode::Chip, chip: Some(BIAS_DAC) };
        assert_eq!(go_safe(&mut or16), Err(fault));
        for kind in population::SWITCHES {
            assert_eq!(or16.hardware_mut().closed(kind), [], "{spoilt:?} {kind:?}");
        }
    }
}

#[test]
fn a_column_goes_from_amplifier_to_bias_and_back_without_ever_being_on_both() {
    let mut or16 = safe(16, 16);
    for (column, scheme) in [
        (0, Scheme::Half),
        (7, Scheme::SymmetricHalf),
        (8, Scheme::Floating),
        (15, Scheme::Third),
        (3, Scheme::Half),
    ] {
        let _ = or16.select(selection(2, column, scheme)).unwrap();
        let board = or16.hardware_mut();
        assert_eq!(board.closed(ChipKind::ColumnSense), [column]);
        assert_eq!(
            board.closed(ChipKind::ColumnBias),
            (0..16).filter(|&other| other != column).collect::<Vec<_>>()
        );
        pulse(&mut or16, 1.0).unwrap();
    }
    go_safe(&mut or16).unwrap();
    let _ = or16.connect(Path::Reference { row: 1, column: None }).unwrap();
    go_safe(&mut or16).unwrap();
    assert_eq!(or16.hardware_mut().witness, Witness::default());
}

#[test]
fn another_cell_in_the_same_column_touches_no_switch() {
    let mut or16 = selected(0, 5, Scheme::Half);
    touched(&mut or16);
    for row in 1..16 {
        assert_eq!(or16.select(selection(row, 5, Scheme::Half)).unwrap(), settling::NONE);
    }
    assert_eq!(touched(&mut or16), []);
}

#[test]
fn another_column_touches_only_the_chips_of_the_two() {
    let mut or16 = selected(0, 1, Scheme::Half);
    touched(&mut or16);
    let _ = or16.select(selection(0, 2, Scheme::Half)).unwrap();
    let chip = |kind, index| ChipSelect { kind, index };
    let [bias, sense] = [chip(ChipKind::ColumnBias, 0), chip(ChipKind::ColumnSense, 0)];
    // Both break, then both make.
    assert_eq!(touched(&mut or16), [bias, sense, sense, bias]);
    let _ = or16.select(selection(0, 9, Scheme::Half)).unwrap();
    let there = [chip(ChipKind::ColumnBias, 1), chip(ChipKind::ColumnSense, 1)];
    assert_eq!(touched(&mut or16), [there[0], sense, there[1], bias]);
}

#[test]
fn a_pulse_puts_every_line_where_its_scheme_says_and_nowhere_else() {
    let v = 1.7;
    // Selected row, other rows, selected column, other columns; None is disconnected.
    let table = [
        (Scheme::Half, Some(v), Some(v / 2.0), Some(0.0), Some(v / 2.0)),
        (Scheme::SymmetricHalf, Some(v / 2.0), Some(0.0), Some(-v / 2.0), Some(0.0)),
        (Scheme::Third, Some(v), Some(v / 3.0), Some(0.0), Some(2.0 * v / 3.0)),
        (Scheme::Grounded, Some(v), Some(0.0), Some(0.0), Some(0.0)),
        (Scheme::Floating, Some(v), None, Some(0.0), None),
    ];
    for (scheme, row, other_rows, column, other_columns) in table {
        let mut or16 = selected(4, 11, scheme);
        pulse(&mut or16, v).unwrap();
        let board = or16.hardware_mut();
        for line in 0..16 {
            let cases = [
                (board.pulse_rows[line], if line == 4 { row } else { other_rows }),
                (board.pulse_columns[line], if line == 11 { column } else { other_columns }),
            ];
            for (is, wanted) in cases {
                match wanted {
                    Some(volts) => assert_level(is, volts, &std::format!("{scheme:?} line {line}")),
                    None => assert_eq!(is, None, "{scheme:?} line {line}"),
                }
            }
        }
        // Nothing before the edge, nothing after it, and the cell can be read again.
        let _ = or16.ground_rows().unwrap();
        let board = or16.hardware_mut();
        assert_eq!(board.witness, Witness::default(), "{scheme:?}");
        assert_eq!(board.closed(ChipKind::ColumnSense), [11]);
        assert_eq!(board.closed(ChipKind::RowConnect).len(), 16);
    }
}

#[test]
fn lines_left_floating_are_rejoined_only_once_the_selected_row_had_its_time_to_fall() {
    let mut or16 = selected(0, 0, Scheme::Floating);
    let _ = or16.load_pulse(Volts(2.0), None, false).unwrap();
    or16.start_pulse(100_000).unwrap();
    or16.hardware_mut().end_pulse();
    touched(&mut or16);
    let settle = or16.unload_pulse().unwrap();
    assert!(settle.ns > 5_000, "a row slews from 2 V");
    assert_eq!(touched(&mut or16), [ROW_DAC, ROW_DAC]);
    assert_eq!(or16.hardware_mut().closed(ChipKind::RowConnect), [0]);
    let _ = or16.drive_row(0, 0x8100).unwrap();
    let after = touched(&mut or16);
    // Written and read back, then put out.
    assert!(after.ends_with(&[ROW_DAC, ROW_DAC]));
    assert!(after.len() > 2 && after[..after.len() - 2].iter().all(is_switch));
    assert_eq!(or16.hardware_mut().closed(ChipKind::RowConnect).len(), 16);
}

#[test]
fn a_read_back_that_is_wrong_stops_before_the_edge() {
    let on = |chip| {
        [Spoilt::A(3), Spoilt::B(3), Spoilt::B(12), Spoilt::Setting(0), Spoilt::ToggleEnable]
            .map(|register| (chip, register))
    };
    for (chip, register) in on(ROW_DAC).into_iter().chain(on(BIAS_DAC)) {
        let mut or16 = selected(3, 5, Scheme::Half);
        or16.hardware_mut().spoilt = Some((chip, register));
        let fault = FrontEndError { code: FaultCode::Chip, chip: Some(chip) };
        assert_eq!(or16.load_pulse(Volts(2.0), None, false).unwrap_err(), fault, "{register:?}");
        assert!(or16.start_pulse(100_000).is_err());
        assert_eq!(or16.hardware_mut().pulses, 0);
        or16.hardware_mut().spoilt = None;
        go_safe(&mut or16).unwrap();
        assert_eq!(or16.hardware_mut().witness, Witness::default());
    }
}

/// What pulses of 2 V do to row 3 and column 5, other rows and other columns; `None` is disconnected.
const EVERY_SCHEME: [(Scheme, [Option<f32>; 4]); 5] = [
    (Scheme::Half, [Some(2.0), Some(0.0), Some(1.0), Some(1.0)]),
    (Scheme::SymmetricHalf, [Some(1.0), Some(-1.0), Some(0.0), Some(0.0)]),
    (Scheme::Third, [Some(2.0), Some(0.0), Some(2.0 / 3.0), Some(4.0 / 3.0)]),
    (Scheme::Grounded, [Some(2.0), Some(0.0), Some(0.0), Some(0.0)]),
    (Scheme::Floating, [Some(2.0), Some(0.0), None, None]),
];

/// The mask of the first channels to toggle, should it be taken for a code: 16 steps of ±5 V.
const MASK_AS_A_CODE_V: f32 = 16.0 * 10.0 / 65536.0;

/// What a frame that becomes another setting could put out if a span took effect before the next update, which no source says
/// and the command "settings and update" speaks against: 0 V in the span of 0–10 V, or a read's 0.5 V in that of 0–5 V.
const ANOTHER_SPAN_V: f32 = 5.0;

/// A read that became a write has what it was to bring for data, and is no such frame.
fn worst_allowed(board: &Board, asked: f32) -> f32 {
    if board.span_at_once && !board.read_became_write { ANOTHER_SPAN_V } else { asked }
}

/// Loads 2 V onto row 3 and column 5 after a pulse of `before` V, on a disturbed board. Whether it is accepted or not, the array
/// sees nothing before the edge; if it is, every line is right after it. Whether it was accepted.
fn load_disturbed(
    (scheme, levels): (Scheme, [Option<f32>; 4]),
    before: f32,
    disturb: impl FnOnce(&mut Board),
    what: &str,
) -> bool {
    let mut or16 = selected(3, 5, scheme);
    pulse(&mut or16, before).unwrap();
    disturb(or16.hardware_mut());
    let accepted = or16.load_pulse(Volts(2.0), None, false).is_ok();
    let board = or16.hardware_mut();
    let allowed = worst_allowed(board, MASK_AS_A_CODE_V);
    assert!(board.witness.worst_v <= allowed, "{what}: {:?}", board.witness);
    if !accepted {
        return false;
    }
    assert!(!board.is_trimmed(), "{what}");
    or16.start_pulse(100_000).unwrap();
    let board = or16.hardware_mut();
    let [row, column, other_rows, other_columns] = levels;
    for line in 0..16 {
        for (is, wanted) in [
            (board.pulse_rows[line], if line == 3 { row } else { other_rows }),
            (board.pulse_columns[line], if line == 5 { column } else { other_columns }),
        ] {
            match wanted {
                Some(volts) => assert_level(is, volts, what),
                None => assert_eq!(is, None, "{what}"),
            }
        }
    }
    true
}

/// Frames of loading that go to each DAC: 24 to have all channels toggle and B selected, then at most 35 to write it.
const LOADING: usize = 24 + 35;

#[test]
fn whichever_frame_of_loading_is_lost_the_array_sees_the_right_pulse_or_nothing() {
    for (scheme, chip, before) in every_case() {
        for lost in 0..LOADING {
            let what = std::format!("{scheme:?} after {before} V, frame {lost} of {chip:?} lost");
            let accepted = load_disturbed(scheme, before, |board| board.deaf = Some((chip, lost)), &what);
            // The first mask to toggle, all of them, B. A read that is lost may read right by chance: the chip then repeats
            // what it was sent before.
            let in_play = chip == ROW_DAC || !matches!(scheme.0, Scheme::Grounded | Scheme::Floating);
            assert!(!(accepted && in_play && [1, 3, 21, 24].contains(&lost)), "{what}");
        }
    }
}

/// Every scheme, each of its DACs, after a pulse that was another and one that was the same.
fn every_case() -> impl Iterator<Item = ((Scheme, [Option<f32>; 4]), ChipSelect, f32)> {
    let dacs = [ROW_DAC, BIAS_DAC];
    let cases = EVERY_SCHEME.into_iter().flat_map(move |scheme| dacs.map(|chip| (scheme, chip)));
    cases.flat_map(|(scheme, chip)| [-2.2, 2.0].map(|before| (scheme, chip, before)))
}

#[test]
fn whichever_bit_of_loading_turns_over_the_array_sees_the_right_pulse_or_the_load_is_refused() {
    for (scheme, chip, before) in every_case() {
        for (frame, bit) in (0..LOADING).flat_map(|frame| (0..24).map(move |bit| (frame, bit))) {
            for span_at_once in [false, true] {
                let what =
                    std::format!("{scheme:?} after {before} V, bit {bit} of frame {frame} of {chip:?}");
                let flip = |board: &mut Board| {
                    board.span_at_once = span_at_once;
                    board.flip = Some((chip, frame, bit));
                };
                load_disturbed(scheme, before, flip, &what);
            }
        }
    }
}

#[test]
fn whichever_frame_or_bit_of_unloading_goes_wrong_it_shows_or_does_not_matter() {
    // B cleared and A selected, with reads: at most 2 + 1 + 1 + 16 + 1 + 1 frames. Then toggling off, and 19 reads.
    const UNLOADING: usize = 22 + 21;
    let disturbances = |frame| {
        let flips = (0..24).map(move |bit| (Some(bit), frame));
        flips.chain([(None, frame)])
    };
    for ((scheme, _), chip, volts) in every_case() {
        for (bit, frame) in (0..UNLOADING).flat_map(disturbances) {
            for span_at_once in [false, true] {
                let what = std::format!("{scheme:?} of {volts} V, {bit:?} of frame {frame} of {chip:?}");
                let mut or16 = selected(3, 5, scheme);
                let _ = or16.load_pulse(Volts(volts), None, false).unwrap();
                or16.start_pulse(100_000).unwrap();
                or16.hardware_mut().end_pulse();
                or16.hardware_mut().span_at_once = span_at_once;
                match bit {
                    Some(bit) => or16.hardware_mut().flip = Some((chip, frame, bit)),
                    None => or16.hardware_mut().deaf = Some((chip, frame)),
                }
                let unloaded = or16.unload_pulse().is_ok();
                let board = or16.hardware_mut();
                let worst_v = board.witness.worst_v;
                assert!(worst_v <= worst_allowed(board, MASK_AS_A_CODE_V), "{what}: {worst_v} V");
                // Frames that unloading doesn't have are none of its own.
                let in_play = or16.hardware_mut().flip.is_none() && or16.hardware_mut().deaf.is_none();
                if unloaded && in_play {
                    // Believed: then it reads, and takes another pulse.
                    assert!(!or16.hardware_mut().is_trimmed(), "{what}");
                    or16.hardware_mut().reading = true;
                    let _ = or16.drive_row(3, 0x8A00).unwrap();
                    assert_level(or16.hardware_mut().row_volts(3), 0xA00 as f32 * 10.0 / 65536.0, &what);
                    let _ = or16.load_pulse(Volts(1.0), None, false).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_pulse_that_is_abandoned_leaves_no_code_to_be_put_out() {
    for (scheme, _) in EVERY_SCHEME {
        for is_under_way in [false, true] {
            let mut or16 = selected(3, 5, scheme);
            let _ = or16.load_pulse(Volts(2.0), None, false).unwrap();
            if is_under_way {
                or16.start_pulse(100_000).unwrap();
            }
            go_safe(&mut or16).unwrap();
            assert_eq!(or16.hardware_mut().witness, Witness::default(), "{scheme:?}");
        }
    }
}

/// Frames of driving one row: a write, 16 + 1 reads and one more; two updates, 16 + 16 + 3 reads and one more.
const DRIVING: usize = 19 + 38;

#[test]
fn whichever_bit_of_driving_a_row_turns_over_no_row_gets_a_code_that_was_not_asked_for_and_no_wrong_voltage_is_believed()
 {
    for (frame, bit) in (0..DRIVING).flat_map(|frame| (0..24).map(move |bit| (frame, bit))) {
        for span_at_once in [false, true] {
            let what = std::format!("bit {bit} of frame {frame} turned over");
            let mut or16 = safe(16, 16);
            let _ = or16.drive_row(7, 0x8500).unwrap();
            or16.hardware_mut().witness = Witness::default();
            or16.hardware_mut().span_at_once = span_at_once;
            or16.hardware_mut().flip = Some((ROW_DAC, frame, bit));
            let believed = or16.drive_row(3, 0x8A00).is_ok();
            let board = or16.hardware_mut();
            let asked = 0xA00 as f32 * 10.0 / 65536.0;
            let allowed = worst_allowed(board, asked);
            assert!(board.witness.worst_v <= allowed, "{what}: {:?}", board.witness);
            if believed {
                assert!(!board.is_trimmed(), "{what}");
                for row in 0..16 {
                    let code = match row {
                        3 => 0xA00,
                        7 => 0x500,
                        _ => 0,
                    };
                    assert_level(board.row_volts(row), code as f32 * 10.0 / 65536.0, &what);
                }
            }
        }
    }
}

/// Frames of a vector after another: 16 writes, 16 + 1 reads and one more, two updates; 5 reads and one more.
const FOLLOWING: usize = 34 + 2 + 6;

#[test]
fn whichever_frame_or_bit_of_one_vector_after_another_goes_wrong_the_rows_are_right_or_it_shows() {
    let vector =
        |factor: u16| -> [u16; 16] { core::array::from_fn(|row| 0x8000 + factor * (row as u16 % 13)) };
    let bytes = |codes: [u16; 16]| codes.map(u16::to_le_bytes).concat();
    let volts = |code: u16| (f32::from(code) - 32768.0) * 10.0 / 65536.0;
    // All rows differ from those before but 0 and 13, at 0 V; or the three rows do that nothing else would show in.
    let mut few = vector(150);
    (few[1], few[12], few[15]) = (0x8333, 0x8444, 0x8555);
    for (next, frames) in [(vector(200), FOLLOWING), (few, FOLLOWING)] {
        for (frame, bit) in (0..frames).flat_map(|frame| (0..=24).map(move |bit| (frame, bit))) {
            for span_at_once in [false, true] {
                let what = std::format!("bit {bit} of frame {frame}");
                let mut or16 = safe(16, 16);
                let _ = or16.drive_rows(&bytes(vector(150))).unwrap();
                or16.confirm_rows(false).unwrap();
                let board = or16.hardware_mut();
                board.witness = Witness::default();
                board.span_at_once = span_at_once;
                // The last "bit" is all of them: the frame isn't heard.
                if bit < 24 {
                    board.flip = Some((ROW_DAC, frame, bit));
                } else {
                    board.deaf = Some((ROW_DAC, frame));
                }
                let believed = or16.drive_rows(&bytes(next)).and_then(|_| or16.confirm_rows(false)).is_ok();
                let board = or16.hardware_mut();
                let asked = vector(150).into_iter().chain(next).map(volts).fold(0.0, f32::max);
                let allowed = worst_allowed(board, asked);
                assert!(board.witness.worst_v <= allowed, "{what}: {:?}", board.witness);
                if believed {
                    assert!(!board.is_trimmed(), "{what}");
                    for (row, code) in (0..).zip(next) {
                        assert_level(board.row_volts(row), volts(code), &what);
                    }
                }
            }
        }
    }
}

#[test]
fn whichever_bit_of_setting_up_turns_over_no_switch_is_closed_on_it() {
    // Writes and reads of setting up a DAC, its trims, and what is read of it before the switches close.
    const SETTING_UP: usize = 60 + 33;
    for chip in [ROW_DAC, BIAS_DAC] {
        for (frame, bit) in (0..SETTING_UP).flat_map(|frame| (0..24).map(move |bit| (frame, bit))) {
            let what = std::format!("bit {bit} of frame {frame} of {chip:?} turned over");
            let mut or16 = front_end(16, 16);
            or16.hardware_mut().flip = Some((chip, frame, bit));
            if go_safe(&mut or16).is_ok() {
                assert!(!or16.hardware_mut().is_trimmed(), "{what}");
                let _ = or16.select(selection(3, 5, Scheme::Half)).unwrap();
                // What the flip has left, or a flip of a later frame than these, may still be found here.
                if pulse(&mut or16, 2.0).is_ok() {
                    let _ = or16.ground_rows().unwrap();
                }
                // A read of another channel's setting, which is the same, is one that the witness misses.
                let witness = &or16.hardware_mut().witness;
                assert!(witness.worst_v <= MASK_AS_A_CODE_V && !witness.sense_on_bias, "{what}: {witness:?}");
            } else {
                assert_eq!(or16.hardware_mut().closed(ChipKind::RowConnect), [], "{what}");
            }
        }
    }
}

#[test]
fn what_a_chip_complains_of_after_a_brown_out_is_a_brown_out() {
    let mut or16 = safe(16, 16);
    or16.hardware_mut().dipped = true;
    or16.hardware_mut().spoilt = Some((ROW_DAC, Spoilt::A(3)));
    let fault = FrontEndError { code: FaultCode::BrownOut, chip: None };
    assert_eq!(or16.drive_row(3, 0x8A00), Err(fault));
    // And once a second without any complaint.
    or16.hardware_mut().spoilt = None;
    go_safe(&mut or16).unwrap();
    assert_eq!(or16.watch(), Ok(()));
    or16.hardware_mut().dipped = true;
    assert_eq!(or16.watch(), Err(fault));
}

#[test]
fn the_widest_feedback_is_the_selected_column_s_alone_and_for_the_pulse_alone() {
    let mut or16 = selected(3, 11, Scheme::Half);
    let _ = or16.set_range(1).unwrap();
    let _ = or16.load_pulse(Volts(1.0), None, true).unwrap();
    assert_eq!(or16.hardware_mut().closed(ChipKind::Feedback1k), [11]);
    or16.start_pulse(100_000).unwrap();
    or16.hardware_mut().end_pulse();
    let _ = or16.unload_pulse().unwrap();
    or16.hardware_mut().reading = true;
    assert!(or16.drive_row(3, 0x8100).unwrap().ns > 0);
    assert_eq!(or16.hardware_mut().closed(ChipKind::Feedback1k), []);
    assert_eq!(or16.hardware_mut().closed(ChipKind::Feedback10k).len(), 16);
    let _ = or16.load_pulse(Volts(1.0), None, true).unwrap();
    go_safe(&mut or16).unwrap();
    assert_eq!(or16.hardware_mut().closed(ChipKind::Feedback1k), []);
}

#[test]
fn every_edge_needs_a_load_of_its_own() {
    let mut or16 = selected(1, 1, Scheme::Half);
    assert!(or16.start_pulse(100_000).is_err());
    let _ = or16.load_pulse(Volts(1.0), None, false).unwrap();
    or16.start_pulse(100_000).unwrap();
    or16.hardware_mut().end_pulse();
    assert!(or16.start_pulse(100_000).is_err());
    assert_eq!(or16.hardware_mut().pulses, 1);
    let _ = or16.unload_pulse().unwrap();
    assert!(or16.start_pulse(100_000).is_err());
}

#[test]
fn a_loaded_pulse_keeps_rows_and_switches_from_being_touched() {
    let mut or16 = selected(1, 1, Scheme::Half);
    let _ = or16.load_pulse(Volts(1.0), None, false).unwrap();
    touched(&mut or16);
    assert!(or16.drive_row(0, 0x9000).is_err());
    assert!(or16.drive_rows(&[0; 32]).is_err());
    assert!(or16.select(selection(1, 2, Scheme::Half)).is_err());
    assert!(or16.connect(Path::Reference { row: 0, column: None }).is_err());
    assert_eq!(or16.ground_rows().unwrap(), settling::NONE);
    assert_eq!(touched(&mut or16), []);
    // None of these refusals has cost the load.
    or16.start_pulse(100_000).unwrap();
}

#[test]
fn loading_grounds_rows_first() {
    let mut or16 = selected(1, 1, Scheme::Half);
    or16.hardware_mut().reading = true;
    let _ = or16.drive_row(9, 0x9000).unwrap();
    assert!(or16.load_pulse(Volts(1.0), None, false).unwrap().ns > 0);
    assert_eq!(or16.hardware_mut().row_volts(9), Some(0.0));
}

#[test]
fn making_safe_ends_a_pulse_under_way() {
    let mut or16 = selected(1, 1, Scheme::Floating);
    let _ = or16.load_pulse(Volts(3.0), None, false).unwrap();
    or16.start_pulse(1_000_000_000).unwrap();
    go_safe(&mut or16).unwrap();
    let board = or16.hardware_mut();
    assert!((0..16).all(|row| board.row_volts(row) == Some(0.0)));
    assert_eq!(board.closed(ChipKind::ColumnSense).len(), 16);
    assert_eq!(board.witness, Witness::default());
}

#[test]
fn dead_opens_everything_and_safe_starts_over_from_it() {
    let mut or16 = selected(1, 1, Scheme::Half);
    or16.dead();
    for kind in population::SWITCHES {
        assert_eq!(or16.hardware_mut().closed(kind), []);
    }
    assert!(or16.drive_row(0, 0x8000).is_err());
    assert!(or16.start_conversion().is_err());
    go_safe(&mut or16).unwrap();
    assert_eq!(or16.hardware_mut().closed(ChipKind::RowConnect).len(), 16);
    assert_eq!(or16.hardware_mut().witness, Witness::default());
}

#[test]
fn a_switch_that_does_not_close_is_named() {
    let mut or16 = safe(16, 16);
    let stuck = ChipSelect { kind: ChipKind::ColumnBias, index: 1 };
    or16.hardware_mut().stuck = Some(stuck);
    let fault = FrontEndError { code: FaultCode::Chip, chip: Some(stuck) };
    assert_eq!(or16.select(selection(0, 0, Scheme::Half)).unwrap_err(), fault);
}

#[test]
fn the_range_changes_all_columns_once() {
    let mut or16 = safe(4, 12);
    let columns: Vec<u16> = (0..12).collect();
    assert!(or16.set_range(1).unwrap().ns > 0);
    assert_eq!(or16.hardware_mut().closed(ChipKind::Feedback10k), columns);
    assert!(or16.set_range(2).unwrap().ns > 0);
    assert_eq!(or16.hardware_mut().closed(ChipKind::Feedback10k), []);
    assert_eq!(or16.hardware_mut().closed(ChipKind::Feedback1k), columns);
    touched(&mut or16);
    assert_eq!(or16.set_range(2).unwrap(), settling::NONE);
    assert!(or16.set_range(3).is_err());
    assert_eq!(touched(&mut or16), []);
    let _ = or16.set_range(0).unwrap();
    assert_eq!(or16.hardware_mut().closed(ChipKind::Feedback1k), []);
}

#[test]
fn rows_are_put_out_when_all_have_been_read_back_and_grounded_where_they_are_not_at_0_v() {
    let mut or16 = safe(18, 4);
    or16.hardware_mut().reading = true;
    let codes: Vec<u8> = (0..18u16).flat_map(|row| (0x8000 + 100 * row).to_le_bytes()).collect();
    touched(&mut or16);
    let _ = or16.drive_rows(&codes).unwrap();
    let board = or16.hardware_mut();
    for row in 0..18 {
        assert_level(board.row_volts(row), f32::from(100 * row) * 10.0 / 65536.0, "row");
    }
    let bursts: Vec<_> =
        board.transactions.drain(..).map(|t| (t.select.index, t.sent[0], t.sent.len() / 3)).collect();
    // Codes of both DACs (row 0 has its already) with the reads that follow them, then the updates of both.
    assert_eq!(bursts, [(0, 0x01, 15 + 18), (1, 0x00, 2 + 18), (0, 0x7C, 2), (1, 0x7C, 2)]);
    // Nothing is converted before it is certain that they did what they should.
    assert!(or16.start_conversion().is_err());
    or16.confirm_rows(false).unwrap();
    let frames = |or16: &mut Or16<Board>| -> Vec<usize> {
        or16.hardware_mut().transactions.drain(..).map(|t| t.sent.len() / 3).collect()
    };
    assert_eq!(frames(&mut or16), [6, 6]);
    or16.confirm_rows(true).unwrap();
    assert_eq!(frames(&mut or16), [35, 35]);
    or16.start_conversion().unwrap();

    let _ = or16.drive_row(17, 0x8000).unwrap();
    let _ = or16.drive_row(16, 0x8000).unwrap();
    touched(&mut or16);
    assert!(or16.ground_rows().unwrap().ns > 0);
    assert_eq!(touched(&mut or16), [ROW_DAC, ROW_DAC]);
    assert!((0..18).all(|row| or16.hardware_mut().row_volts(row) == Some(0.0)));
    assert_eq!(or16.ground_rows().unwrap(), settling::NONE);
    assert_eq!(touched(&mut or16), []);
    assert!(or16.drive_rows(&codes[1..]).is_err());
}

#[test]
fn codes_come_from_the_converters_of_the_asked_columns_only() {
    let mut or16 = safe(4, 20);
    for index in 0..3u8 {
        let first = 8 * i16::from(index);
        or16.hardware_mut().set_samples(index, core::array::from_fn(|n| 100 + first + n as i16));
    }
    touched(&mut or16);
    for (first, count, chips) in [(0, 20, 3), (5, 1, 1), (7, 2, 2), (8, 8, 1), (6, 12, 3), (19, 1, 1)] {
        let mut codes = std::vec![0; count];
        or16.read_codes(first, &mut codes).unwrap();
        let expected: Vec<i16> = (0..count as i16).map(|n| 100 + first as i16 + n).collect();
        assert_eq!(codes, expected);
        assert_eq!(touched(&mut or16).len(), chips);
    }
    assert!(or16.read_codes(19, &mut [0; 2]).is_err());
}

#[test]
fn the_reference_takes_the_array_off_and_one_driver_onto_the_bus() {
    let mut or16 = selected(2, 2, Scheme::Half);
    let _ = or16.connect(Path::Reference { row: 13, column: None }).unwrap();
    let board = or16.hardware_mut();
    for kind in [ChipKind::RowConnect, ChipKind::ColumnSense, ChipKind::ColumnBias] {
        assert_eq!(board.closed(kind), []);
    }
    assert_eq!(board.closed(ChipKind::RowCalibrate), [13]);
    assert_eq!(board.closed(ChipKind::Calibrate).len(), 16);
    let _ = or16.drive_row(13, 0x9000).unwrap();
    go_safe(&mut or16).unwrap();
    let board = or16.hardware_mut();
    assert_eq!(board.closed(ChipKind::RowCalibrate), []);
    assert_eq!(board.witness, Witness::default());
}

#[test]
fn a_bias_driver_is_the_only_one_that_moves_and_the_rows_are_off_meanwhile() {
    let mut or16 = safe(4, 20);
    assert!(or16.drive_bias(0x8100).is_err());
    let _ = or16.connect(Path::Bias(17)).unwrap();
    or16.hardware_mut().reading = true;
    let _ = or16.drive_bias(0x8100).unwrap();
    let board = or16.hardware_mut();
    assert_eq!(board.closed(ChipKind::RowConnect), []);
    assert_eq!(board.closed(ChipKind::ColumnBias), [17]);
    for column in 0..20 {
        let code = if column == 17 { 0x100 } else { 0 };
        assert_level(board.column_volts(column), code as f32 * 10.0 / 65536.0, "column");
    }
    // The next path begins at 0 V, and so does SAFE.
    let _ = or16.connect(Path::Bias(3)).unwrap();
    assert!((0..20).all(|column| or16.hardware_mut().column_volts(column) == Some(0.0)));
    let _ = or16.drive_bias(0x8100).unwrap();
    go_safe(&mut or16).unwrap();
    or16.hardware_mut().reading = false;
    let _ = or16.select(selection(0, 0, Scheme::Half)).unwrap();
    assert!((0..20).all(|column| or16.hardware_mut().column_volts(column) == Some(0.0)));
    assert_eq!(or16.hardware_mut().witness, Witness::default());
    assert!(or16.connect(Path::Bias(20)).is_err() && or16.connect(Path::Forming(4)).is_err());
}

#[test]
fn a_forming_resistor_comes_into_circuit_for_one_row_and_goes_again() {
    let mut or16 = safe(4, 4);
    let _ = or16.connect(Path::Forming(2)).unwrap();
    assert_eq!(or16.hardware_mut().closed(ChipKind::FormingBypass), [0, 1, 3]);
    assert_eq!(or16.hardware_mut().closed(ChipKind::RowConnect), [0, 1, 2, 3]);
    go_safe(&mut or16).unwrap();
    assert_eq!(or16.hardware_mut().closed(ChipKind::FormingBypass), [0, 1, 2, 3]);
    assert_eq!(or16.hardware_mut().witness, Witness::default());
}

#[test]
fn a_check_asks_every_chip_once_and_finds_what_has_moved_by_itself() {
    let mut or16 = safe(16, 16);
    let check = |or16: &mut Or16<Board>| {
        touched(or16);
        let mut step = 0;
        while let Progress::Again(_) = or16.check_chip(step)? {
            step += 1;
        }
        let mut chips = touched(or16);
        chips.dedup();
        Ok::<_, FrontEndError>(chips.len())
    };
    // 8 groups of 2 switch chips, 2 DACs, 2 ADCs.
    assert_eq!(check(&mut or16), Ok(20));
    let _ = or16.select(selection(0, 3, Scheme::Half)).unwrap();
    or16.hardware_mut().reading = true;
    let _ = or16.drive_row(5, 0x8123).unwrap();
    assert_eq!(check(&mut or16), Ok(20));
    or16.hardware_mut().spoilt = Some((ROW_DAC, Spoilt::A(6)));
    assert_eq!(check(&mut or16), Err(FrontEndError { code: FaultCode::Chip, chip: Some(ROW_DAC) }));
}

#[test]
fn temperature_is_none_before_the_sensor_is_set_up_and_kept_afterwards() {
    let mut or16 = front_end(1, 1);
    assert_eq!(or16.temperature(), Ok(None));
    go_safe(&mut or16).unwrap();
    assert_eq!(or16.temperature(), Ok(Some(Kelvin(298.15))));
    or16.dead();
    assert_eq!(or16.temperature(), Ok(Some(Kelvin(298.15))));
}

#[test]
fn geometries_that_cannot_be_addressed_are_refused() {
    for (rows, columns) in [(0, 1), (1, 0), (257, 1), (1, 257)] {
        let config = Or16Config { rows, columns, gates: false };
        assert_eq!(Or16::new(Board::new(0, 0), config).err(), Some(NoSuchGeometry { rows, columns }));
    }
}

#[test]
fn the_linear_range_told_is_the_one_the_converter_s_driver_knows() {
    let linear = CONVERTERS.adc_linear as i16;
    let saturated = |code| crate::chips::ad7606c::AdcCode(code).is_saturated();
    assert!(!saturated(linear) && !saturated(-linear) && saturated(linear + 1) && saturated(-linear - 1));
}

#[test]
fn a_write_verify_step_is_a_dozen_bursts_or_so() {
    let mut or16 = selected(3, 5, Scheme::Half);
    or16.hardware_mut().set_samples(0, [1; 8]);
    or16.hardware_mut().reading = true;
    pulse(&mut or16, 1.1).unwrap();
    touched(&mut or16);
    pulse(&mut or16, 1.3).unwrap();
    let _ = or16.drive_row(3, 0x8A00).unwrap();
    or16.start_conversion().unwrap();
    assert!(or16.conversion_done().unwrap());
    or16.read_codes(5, &mut [0]).unwrap();
    let _ = or16.ground_rows().unwrap();
    // Toggling, writing B, clearing it and toggling no more on two DACs; reading: codes and update, ADC, codes and update.
    assert_eq!(touched(&mut or16).len(), 4 * 2 + 2 + 1 + 2);
}
