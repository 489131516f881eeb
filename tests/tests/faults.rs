//! Whatever goes wrong with a chip, a supply or the processor, at whatever moment: it ends in a named fault in bounded time,
//! or it didn't matter; never in a wrong number. Each fault is latched with the last request and cleared by its name alone.

use ohmrig::device::Wish;
use ohmrig_emulator::chips::{BitFlip, Wire as Line};
use ohmrig_protocol::bench::{Bench, ChipKind, ChipSelect};
use ohmrig_protocol::frame::SessionId;
use ohmrig_protocol::message::*;
use ohmrig_protocol::units::{Amperes, Joules, Seconds, Siemens, VoltSeconds, Volts};
use ohmrig_tests::{Answer, Wire, request};

const READ: ReadCells = ReadCells {
    region: Region { row: 0, column: 0, rows: 2, columns: 16 },
    volts: Volts(0.2),
    range: 1,
    conversions: 1,
};
const PULSE: Pulse =
    Pulse { row: 2, column: 3, volts: Volts(1.6), width: Seconds(50e-6), scheme: Scheme::Half, gate: None };
/// What OR-16 allows, from its description.
const BOARD: Limits = Limits {
    cell: Volts(5.0),
    half_select: Volts(2.6),
    read: Volts(0.5),
    width_min: Seconds(5e-6),
    width_max: Seconds(1.0),
    current: Amperes(5e-3),
    pulses_per_cell: 1_000_000,
    dose_per_cell: VoltSeconds(5e3),
    energy_per_cell: Joules(25.0),
};

/// Every chip of a 16 × 16 board that a request can touch.
fn chips() -> impl Iterator<Item = ChipSelect> {
    let two = [
        ChipKind::Adc,
        ChipKind::RowConnect,
        ChipKind::ColumnSense,
        ChipKind::ColumnBias,
        ChipKind::Calibrate,
        ChipKind::Feedback10k,
        ChipKind::Feedback1k,
        ChipKind::RowCalibrate,
        ChipKind::FormingBypass,
    ];
    let one = [ChipKind::RowDac, ChipKind::BiasDac].map(|kind| ChipSelect { kind, index: 0 });
    one.into_iter().chain(two.into_iter().flat_map(|kind| [0, 1].map(|index| ChipSelect { kind, index })))
}

/// A board without noise or error, so that a number is either the one number or wrong.
fn armed() -> (Wire, SessionId) {
    let mut wire = Wire::new("ideal", 3);
    let session = wire.open(1);
    assert_eq!(wire.exchange(&request(session, 0, &Request::Arm { milliseconds: 600_000 })), [Answer::Done]);
    (wire, session)
}

fn codes() -> Vec<u8> {
    (0..64u16).flat_map(|k| (0x8000 + 37 * (k % 30) - 500).to_le_bytes()).collect()
}

fn status(wire: &mut Wire, session: SessionId, sequence: u32) -> Status {
    match wire.exchange(&request(session, sequence, &Request::Status)).as_slice() {
        [Answer::Status(status)] => *status,
        other => panic!("{other:?}"),
    }
}

fn stairs(start: f32, stop: f32) -> Staircase {
    Staircase { start: Volts(start), step: Volts(0.1), stop: Volts(stop) }
}

fn program(targets: &[u8], columns: u16) -> Program<'_> {
    Program {
        job: JobId(1),
        region: Region { row: 1, column: 2, rows: 1, columns },
        targets,
        window: Siemens(1e-6),
        algorithm: Algorithm::Incremental { set: stairs(1.1, 1.8), reset: stairs(1.1, 1.8) },
        width: Seconds(50e-6),
        scheme: Scheme::Half,
        read_volts: Volts(0.2),
        range: 1,
        conversions: 1,
        max_conversions: 1,
        confirm: 0,
        max_pulses: 40,
        max_reversals: 10,
    }
}

/// Requests that measure and write, one of each kind; the job's results come last.
fn work(codes: &[u8]) -> Vec<Request<'_>> {
    vec![
        Request::ReadCells(READ),
        Request::Mvm(Mvm { range: 1, conversions: 1, interval_ns: 0, codes }),
        Request::ReadReference(ReadReference {
            row: 1,
            column: None,
            volts: Volts(0.2),
            range: 1,
            conversions: 1,
            interval_ns: 0,
        }),
        Request::Pulse(PULSE),
        Request::ReadCells(ReadCells { range: 0, ..READ }),
    ]
}

/// Whether an answer is that of a sound board, or says that there is none.
fn is_right_or_refused(answer: &Answer, sound: &Answer) -> bool {
    answer == sound || matches!(answer, Answer::Refused(Refusal::Fault(_) | Refusal::Faulted(_)))
}

fn sound(codes: &[u8]) -> Vec<Answer> {
    let (mut wire, session) = armed();
    (1..)
        .zip(work(codes))
        .flat_map(|(sequence, asked)| wire.exchange(&request(session, sequence, &asked)))
        .collect()
}

/// Does `disturb` before the work, and holds what comes of it against a sound board. The fault, if there was one.
fn disturbed(
    what: &str,
    sound: &[Answer],
    codes: &[u8],
    disturb: impl FnOnce(&mut Wire),
) -> Option<FaultCode> {
    let (mut wire, session) = armed();
    let before = wire.device.board().now_ns().unwrap();
    disturb(&mut wire);
    for ((sequence, asked), sound) in (1..).zip(work(codes)).zip(sound) {
        let answers = wire.exchange(&request(session, sequence, &asked));
        let [answer] = answers.as_slice() else { panic!("{what}: {answers:?}") };
        assert!(is_right_or_refused(answer, sound), "{what}: {asked:?}: {answer:?} instead of {sound:?}");
    }
    // All of it takes some 10 ms on a sound board, and 20 ms more to set one up again.
    let spent = wire.device.board().now_ns().unwrap() - before;
    assert!(spent < 100_000_000, "{what}: {spent} ns");
    for cell in wire.truth() {
        assert!(cell.max_abs_v <= 5.0, "{what}: {cell:?}");
        assert!(cell.pulses <= 1, "{what}: {cell:?}");
    }
    status(&mut wire, session, 1 + sound.len() as u32).fault.map(|fault| fault.code)
}

#[test]
fn a_bit_turned_over_on_any_wire_at_any_time_is_a_chip_fault_or_does_not_matter() {
    let codes = codes();
    let sound = sound(&codes);
    let mut faults = 0;
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    for select in chips() {
        for line in [Line::Sdi, Line::Sdo] {
            for frames_ahead in (0..12).chain((12..700).step_by(29)) {
                // xorshift64 (Marsaglia 2003, triple 13, 7, 17): a bit anywhere in the longest frame, most often in a short one.
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let bit = if select.kind == ChipKind::Adc { seed % 144 } else { seed % 24 } as usize;
                let what = format!("{select:?}, {line:?}, frame {frames_ahead}, bit {bit}");
                let fault = disturbed(&what, &sound, &codes, |wire| {
                    let flip = BitFlip { frames_ahead, wire: line, bit };
                    wire.device.board().faults(select).unwrap().flips.push(flip);
                });
                assert!(matches!(fault, None | Some(FaultCode::Chip)), "{what}: {fault:?}");
                faults += u32::from(fault.is_some());
            }
        }
    }
    // Most are in frames that never come, or in bits that nobody looks at.
    assert!(faults > 100, "{faults} flips were noticed");
}

/// What a converter is told last in a check is to leave its register mode. One that stays there sends zeros when it is read out,
/// and zeros have a right CRC.
#[test]
fn a_bit_turned_over_in_a_converters_check_makes_no_later_sample_wrong() {
    let sound = {
        let (mut wire, session) = armed();
        wire.exchange(&request(session, 1, &Request::ReadCells(READ)))
    };
    for index in [0, 1] {
        let select = ChipSelect { kind: ChipKind::Adc, index };
        for (frames_ahead, bit) in (0..4).flat_map(|frame| (0..24).map(move |bit| (frame, bit))) {
            let (mut wire, session) = armed();
            let flip = BitFlip { frames_ahead, wire: Line::Sdi, bit };
            wire.device.board().faults(select).unwrap().flips.push(flip);
            wire.exchange(&request(session, 1, &Request::CheckChips));
            let answers = wire.exchange(&request(session, 2, &Request::ReadCells(READ)));
            let right = is_right_or_refused(&answers[0], &sound[0]);
            assert!(right, "{select:?}, frame {frames_ahead}, bit {bit}: {answers:?} instead of {sound:?}");
        }
    }
}

#[test]
fn a_brown_out_at_any_time_is_a_brown_out_and_the_board_is_dead_until_it_is_cleared() {
    let codes = codes();
    let sound = sound(&codes);
    for step in 0..80u64 {
        let at_ns = 130_000 * step;
        let what = format!("brown-out after {at_ns} ns");
        let fault = disturbed(&what, &sound, &codes, |wire| {
            let now_ns = wire.device.board().now_ns().unwrap();
            wire.device.board().brown_out_at(now_ns + at_ns);
        });
        assert!(matches!(fault, None | Some(FaultCode::BrownOut)), "{what}: {fault:?}");
        // The work takes more than half of these times.
        assert!(fault.is_some() || step > 20, "{what} was not noticed");
    }
}

#[test]
fn a_dead_chip_at_any_time_is_a_chip_fault() {
    let codes = codes();
    let sound = sound(&codes);
    for select in chips() {
        let fault = disturbed(&format!("{select:?} dead"), &sound, &codes, |wire| {
            wire.device.board().faults(select).unwrap().dead = true;
        });
        // Not needed here: forming resistors are bypassed when the board is set up, and row 1 has the first of the others.
        let used = select.kind != ChipKind::FormingBypass
            && select != ChipSelect { kind: ChipKind::RowCalibrate, index: 1 };
        assert!(fault == Some(FaultCode::Chip) || !used, "{select:?}: {fault:?}");
    }
}

/// What provokes each fault, and what it leaves behind.
#[test]
fn every_fault_is_latched_with_the_last_request_and_cleared_by_its_name_alone() {
    /// Gives the next sequence number.
    type Provoke = fn(&mut Wire, SessionId) -> u32;
    let table: [(FaultCode, Mode, Provoke); 6] = [
        (FaultCode::LinkSilent, Mode::Safe, |wire, _| {
            wire.link_ns += 2_100_000_000;
            wire.exchange(&[]);
            1
        }),
        (FaultCode::OverCurrent, Mode::Safe, |wire, session| {
            let board = Limits { current: Amperes(1e-6), ..BOARD };
            wire.exchange(&request(session, 1, &Request::TightenLimits(board)));
            wire.exchange(&request(session, 2, &Request::Pulse(PULSE)));
            3
        }),
        (FaultCode::Chip, Mode::Dead, |wire, session| {
            wire.device.board().faults(ChipSelect { kind: ChipKind::RowDac, index: 0 }).unwrap().dead = true;
            wire.exchange(&request(session, 1, &Request::ReadCells(READ)));
            2
        }),
        (FaultCode::Timeout, Mode::Safe, |wire, session| {
            wire.device.board().adc(0).unwrap().stuck_busy = true;
            wire.exchange(&request(session, 1, &Request::ReadCells(READ)));
            2
        }),
        (FaultCode::Bus, Mode::Safe, |wire, session| {
            let now_ns = wire.device.board().now_ns().unwrap();
            wire.device.board().wait_until_ns(now_ns + 2_000_000_000).unwrap();
            wire.device.board().thermometer().unwrap().dead = true;
            wire.exchange(&request(session, 1, &Request::ReadCells(READ)));
            2
        }),
        (FaultCode::BrownOut, Mode::Dead, |wire, session| {
            let now_ns = wire.device.board().now_ns().unwrap();
            wire.device.board().brown_out_at(now_ns);
            wire.exchange(&request(session, 1, &Request::ReadCells(READ)));
            2
        }),
    ];
    for (code, mode, provoke) in table {
        let (mut wire, session) = armed();
        let began_ns = wire.device.board().now_ns().unwrap();
        let next = provoke(&mut wire, session);
        let found = status(&mut wire, session, next);
        let fault = found.fault.unwrap_or_else(|| panic!("{code:?} is not latched"));
        assert_eq!((fault.code, found.mode), (code, mode));
        assert!(fault.at_ns >= began_ns && fault.at_ns <= found.at_ns, "{code:?}: {fault:?}");
        assert_eq!(found.armed_ms, 0, "{code:?}");
        // Mended; then nothing but its own name clears it, and nothing is written before.
        wire.device.board().faults(ChipSelect { kind: ChipKind::RowDac, index: 0 }).unwrap().dead = false;
        wire.device.board().adc(0).unwrap().stuck_busy = false;
        wire.device.board().thermometer().unwrap().dead = false;
        assert_eq!(fault.sequence, next.checked_sub(1), "{code:?}");
        let mut sequence = next + 1;
        let mut ask = |wire: &mut Wire, asked: &Request<'_>| {
            let answers = wire.exchange(&request(session, sequence, asked));
            sequence += 1;
            answers
        };
        assert_eq!(
            ask(&mut wire, &Request::Arm { milliseconds: 1000 }),
            [Answer::Refused(Refusal::Faulted(code))]
        );
        let other = if code == FaultCode::Chip { FaultCode::Bus } else { FaultCode::Chip };
        assert_eq!(ask(&mut wire, &Request::ClearFault(other)), [Answer::Refused(Refusal::NoSuchFault)]);
        assert_eq!(ask(&mut wire, &Request::ClearFault(code)), [Answer::Done], "{code:?}");
        assert!(
            matches!(ask(&mut wire, &Request::ReadCells(READ)).as_slice(), [Answer::Other(_)]),
            "{code:?}"
        );
        assert_eq!(ask(&mut wire, &Request::Arm { milliseconds: 1000 }), [Answer::Done], "{code:?}");
    }
}

#[test]
fn a_hung_processor_is_reset_by_its_watchdog_which_is_told_and_latched() {
    let (mut wire, session) = armed();
    wire.device.board().hang();
    assert_eq!(wire.exchange(&request(session, 1, &Request::ReadCells(READ))), []);
    wire.link_ns += 900_000_000;
    assert_eq!(wire.exchange(&request(session, 1, &Request::ReadCells(READ))), []);
    wire.link_ns += 200_000_000;
    wire.exchange(&[]);
    let session = wire.open(2);
    let found = status(&mut wire, session, 0);
    assert_eq!(found.fault.map(|fault| fault.code), Some(FaultCode::Watchdog));
    assert_eq!(
        wire.exchange(&request(session, 1, &Request::Arm { milliseconds: 1000 })),
        [Answer::Refused(Refusal::Faulted(FaultCode::Watchdog))]
    );
    assert_eq!(
        wire.exchange(&request(session, 2, &Request::ClearFault(FaultCode::Watchdog))),
        [Answer::Done]
    );
    // Idle for long is no reason to reset.
    wire.link_ns += 60_000_000_000;
    assert_eq!(wire.device.step(&[], wire.link_ns, &mut Vec::new()).unwrap().1, Wish::Bytes);
    assert_eq!(status(&mut wire, session, 3).fault, None);
}

#[test]
fn a_driver_that_complains_is_found_within_a_second_even_when_nothing_is_asked() {
    let (mut wire, session) = armed();
    wire.exchange(&request(session, 1, &Request::Safe));
    let driver = ChipSelect { kind: ChipKind::BiasDac, index: 0 };
    wire.device.board().dac(driver).unwrap().set_fault(1);
    let now_ns = wire.device.board().now_ns().unwrap();
    wire.device.board().wait_until_ns(now_ns + 1_000_000_000).unwrap();
    wire.exchange(&[]);
    let fault = status(&mut wire, session, 2).fault.unwrap();
    assert_eq!((fault.code, fault.chip), (FaultCode::Chip, Some((ChipKind::BiasDac, 0))));
}

/// The train of a cell whose pulse draws too much ends, the job goes on with the others.
#[test]
fn a_job_s_pulse_beyond_the_current_limit_is_cut_and_ends_the_train_of_its_cell_alone() {
    let mut wire = Wire::new("rram-cmo", 5);
    let session = wire.open(1);
    wire.exchange(&request(session, 0, &Request::Arm { milliseconds: 600_000 }));
    // Half-selected cells alone draw more than that: 15 of 9 µS at 0.55 V.
    let tight = Limits { current: Amperes(60e-6), ..BOARD };
    assert_eq!(wire.exchange(&request(session, 1, &Request::TightenLimits(tight))), [Answer::Done]);
    let targets: Vec<u8> = [40e-6f32, 40e-6].iter().flat_map(|target| target.to_le_bytes()).collect();
    assert_eq!(wire.exchange(&request(session, 2, &Request::Program(program(&targets, 2)))), [Answer::Done]);
    let answers = wire.exchange(&request(session, 3, &Request::JobResults { job: JobId(1), offset: 0 }));
    let [Answer::Other(bytes)] = answers.as_slice() else { panic!("{answers:?}") };
    let results: Vec<CellResult> = bytes
        .as_chunks::<CELL_RESULT_BYTES>()
        .0
        .iter()
        .map(|cell| CellResult::from_bytes(cell).unwrap())
        .collect();
    for result in &results {
        assert_eq!((result.outcome, result.pulses), (Outcome::OverCurrent, 1), "{results:?}");
    }
    assert_eq!(status(&mut wire, session, 4).fault, None);
}
