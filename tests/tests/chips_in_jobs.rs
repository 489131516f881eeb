//! Chips that go wrong in the middle of a job: whichever it is, and whatever the job is doing, the job goes on rightly or ends
//! in the right fault in bounded time. What it has measured is what a sound board measures, and no cell was hurt.

use ohmrig_emulator::board::Board;
use ohmrig_emulator::chips::{BitFlip, Wire as Line};
use ohmrig_emulator::truth::CellTruth;
use ohmrig_protocol::bench::{Bench, ChipKind, ChipSelect};
use ohmrig_protocol::message::*;
use ohmrig_protocol::units::{Seconds, Siemens, Volts};
use ohmrig_tests::{Answer, Talk, Wire};

const MS: u64 = 1_000_000;
/// Supplies and drivers are asked once in so long, ns; everything else when it is next used.
const WATCH_NS: u64 = 1_000_000_000;
/// Reset, setting up every chip, and SAFE take this long at most, ns.
const RECOVERY_NS: u64 = 50 * MS;

/// What a device is asked to do for long.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    /// Write-verify of a 2 × 2 region.
    Program(Scheme),
    /// The same cells, through their forming resistors.
    Form,
    /// Products, several conversions each.
    Products,
    /// A trace of all columns.
    Trace(TraceSource),
    /// Three seconds of nothing.
    Wait,
}

const WORKS: [Work; 10] = [
    Work::Program(Scheme::Half),
    Work::Program(Scheme::SymmetricHalf),
    Work::Form,
    Work::Products,
    Work::Trace(TraceSource::Row(3)),
    Work::Trace(TraceSource::Open),
    Work::Trace(TraceSource::Reference(3)),
    Work::Trace(TraceSource::Bias(5)),
    Work::Trace(TraceSource::Forming { row: 4, driven: 3 }),
    Work::Wait,
];

const JOB: JobId = JobId(7);
const REGION: Region = Region { row: 2, column: 7, rows: 2, columns: 2 };
const CELLS: usize = 4;
const SAMPLES: u32 = 400;
/// Largest amplitude of any pulse, and what tolerance makes of it.
const LARGEST_V: f32 = 1.8;
const SEEN_V: f64 = 1.8 * 1.005 + 0.02;
/// What a frame that becomes another setting can put on lines until it is read back: 0 V in the span of 0–10 V.
const ANOTHER_SPAN_V: f64 = 5.0 * 1.01 + 0.02;

fn stairs() -> Staircase {
    Staircase { start: Volts(1.1), step: Volts(0.1), stop: Volts(LARGEST_V) }
}

fn targets() -> Vec<u8> {
    [20e-6f32, 37e-6, 55e-6, 12e-6].map(f32::to_le_bytes).concat()
}

fn vectors() -> Vec<u8> {
    (0..6 * 16u16).flat_map(|k| (0x8000 + 37 * (k % 30) - 500).to_le_bytes()).collect()
}

impl Work {
    fn request<'a>(self, targets: &'a [u8], vectors: &'a [u8]) -> Request<'a> {
        let program = |algorithm, scheme| {
            Request::Program(Program {
                job: JOB,
                region: REGION,
                targets,
                window: Siemens(3e-6),
                algorithm,
                width: Seconds(50e-6),
                scheme,
                read_volts: Volts(0.2),
                range: 1,
                conversions: 2,
                max_conversions: 2,
                confirm: 2,
                max_pulses: 60,
                max_reversals: 10,
            })
        };
        match self {
            Self::Program(scheme) => {
                program(Algorithm::Incremental { set: stairs(), reset: stairs() }, scheme)
            }
            Self::Form => program(
                Algorithm::Form(Forming { volts: stairs(), widest: Seconds(500e-6), gap: Seconds(1e-4) }),
                Scheme::Third,
            ),
            Self::Products => {
                Request::Mvm(Mvm { range: 1, conversions: 8, interval_ns: 20_000, codes: vectors })
            }
            Self::Trace(source) => Request::Trace(Trace {
                job: JOB,
                source,
                volts: Volts(if source == TraceSource::Open { 0.0 } else { 0.2 }),
                column: 0,
                columns: 16,
                range: 1,
                samples: SAMPLES,
                interval_ns: 50_000,
                summed: 1,
            }),
            Self::Wait => Request::Wait { job: JOB, until_ns: 3_000 * MS },
        }
    }

    fn writes(self) -> bool {
        matches!(self, Self::Program(_) | Self::Form)
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    fault: Option<Fault>,
    /// A trace that couldn't keep its pace.
    lost_sample: bool,
    /// What products or a trace have told.
    codes: Vec<u8>,
    cells: Vec<CellResult>,
    truth: Vec<CellTruth>,
    /// Instrument time of the start, of the disturbance and of the end.
    began_ns: u64,
    disturbed_ns: Option<u64>,
    ended_ns: u64,
    celsius: Option<f32>,
}

/// Does the work and disturbs the board once the instrument clock has gone on by `after_ns`.
fn run(work: Work, after_ns: u64, disturb: impl FnOnce(&mut Board)) -> Outcome {
    let mut talk = Talk::new(Wire::new("ideal", 3));
    // Something to read.
    assert_eq!(talk.ask(&Request::Arm { milliseconds: 3_600_000 }), Answer::Done);
    let began_ns = talk.wire.device.board().now_ns().unwrap();
    let (mut disturb, mut disturbed_ns) = (Some(disturb), None);
    let (targets, vectors) = (targets(), vectors());
    let answer = talk.ask_while(&work.request(&targets, &vectors), |board| {
        let now_ns = board.now_ns().unwrap();
        if now_ns >= began_ns + after_ns
            && let Some(disturb) = disturb.take()
        {
            disturbed_ns = Some(now_ns);
            disturb(board);
        }
    });
    let ended_ns = talk.wire.device.board().now_ns().unwrap();
    let mut codes = Vec::new();
    let mut cells = Vec::new();
    let (mut end, mut lost_sample) = (None, false);
    match answer {
        Answer::Other(products) => codes = products,
        Answer::Refused(Refusal::Fault(code)) => end = Some(code),
        // A job: however it ends, its results stay.
        Answer::Done => {
            let Answer::Job(JobState::Ended { end: ended, cells: taken, .. }) =
                talk.ask(&Request::JobStatus(JOB))
            else {
                panic!("{work:?} has not ended")
            };
            end = match ended {
                JobEnd::Fault(code) => Some(code),
                JobEnd::Finished => None,
                JobEnd::LostSample => {
                    lost_sample = true;
                    None
                }
                other => panic!("{work:?} ended {other:?}"),
            };
            if work.writes() {
                let results = talk.ask(&Request::JobResults { job: JOB, offset: 0 });
                let Answer::Other(bytes) = results else { panic!("{results:?}") };
                let results = bytes.as_chunks::<CELL_RESULT_BYTES>().0.iter();
                cells = results.map(|bytes| CellResult::from_bytes(bytes).unwrap()).collect();
                assert_eq!(cells.len(), CELLS);
            } else if matches!(work, Work::Trace(_)) {
                let mut offset = 0;
                while offset < taken {
                    let fetched = talk.ask(&Request::FetchSamples { job: JOB, offset, arrived: offset });
                    let Answer::Samples { codes: more, .. } = fetched else { panic!("{fetched:?}") };
                    offset += more.len() as u32 / 32;
                    codes.extend(more);
                }
            }
        }
        other => panic!("{work:?}: {other:?}"),
    }
    // Idle for a second: what was too late for the work is found then.
    talk.wire.device.board().wait_until_ns(ended_ns + WATCH_NS).unwrap();
    talk.wire.exchange(&[]);
    let Answer::Status(status) = talk.ask(&Request::Status) else { panic!() };
    // What ended it is what is latched; a fault that came after the end ended nothing.
    if let Some(code) = end {
        assert_eq!(status.fault.map(|fault| fault.code), Some(code), "{work:?}");
    }
    Outcome {
        fault: status.fault,
        lost_sample,
        codes,
        cells,
        truth: talk.wire.truth(),
        began_ns,
        disturbed_ns,
        ended_ns,
        celsius: status.temperature.map(|kelvin| kelvin.0 - 273.15),
    }
}

/// Runs it disturbed and holds what comes of it against what a sound board says and what the cells have seen.
fn hold(
    what: &str,
    work: Work,
    sound: &Outcome,
    after_ns: u64,
    worst_v: f64,
    disturb: impl FnOnce(&mut Board),
) -> Outcome {
    let found = run(work, after_ns, disturb);
    // Bounded: what is left of the work, the next look at supplies and drivers, and the way to SAFE.
    let latest_ns = sound.ended_ns + WATCH_NS + RECOVERY_NS;
    assert!(found.ended_ns <= latest_ns, "{what}: ended at {} ns, at most {latest_ns}", found.ended_ns);
    if let (Some(fault), Some(disturbed_ns)) = (found.fault, found.disturbed_ns) {
        assert!(fault.at_ns >= disturbed_ns, "{what}: {fault:?}");
    }
    // Numbers: as many as there are, those of a sound board.
    assert!(sound.codes.starts_with(&found.codes), "{what}: another number than a sound board's");
    assert!(found.fault.is_some() || found.codes.len() == sound.codes.len(), "{what}: numbers are missing");
    for ((place, cell), sound_cell) in found.cells.iter().enumerate().zip(&sound.cells) {
        let (row, column) = (REGION.row + place as u16 / 2, REGION.column + place as u16 % 2);
        let of = |truth: &[CellTruth]| {
            truth.iter().find(|truth| (truth.row, truth.col) == (row, column)).unwrap().pulses
        };
        let (told, felt) = (u64::from(cell.pulses), of(&found.truth));
        if cell.outcome == ohmrig_protocol::message::Outcome::Pending {
            assert!(found.fault.is_some(), "{what}: [{row}, {column}] was left out");
            assert!(felt <= told, "{what}: {cell:?}, felt {felt}");
            // An edge that a dip came before is counted and may not have been felt; pulses too small to be felt are forming's.
            assert!(work == Work::Form || felt + 1 >= told, "{what}: {cell:?}, felt {felt}");
        } else {
            assert_eq!(cell, sound_cell, "{what}: [{row}, {column}]");
            assert_eq!(felt, of(&sound.truth), "{what}: [{row}, {column}]");
        }
    }
    for cell in &found.truth {
        let inside = (REGION.row..REGION.row + REGION.rows).contains(&cell.row)
            && (REGION.column..REGION.column + REGION.columns).contains(&cell.col);
        assert!(cell.max_abs_v <= worst_v, "{what}: {cell:?}");
        assert!(inside || worst_v > SEEN_V || cell.pulses == 0, "{what}: {cell:?}");
    }
    if let Some(celsius) = found.celsius {
        // Room temperature, and nothing that a converter or a wire made of it.
        assert!((20.0..30.0).contains(&celsius), "{what}: {celsius} °C");
    }
    found
}

/// Every chip of a 16 × 16 board.
fn chips() -> impl Iterator<Item = ChipSelect> {
    let kinds = [
        (ChipKind::RowDac, 1),
        (ChipKind::BiasDac, 1),
        (ChipKind::Adc, 2),
        (ChipKind::RowConnect, 2),
        (ChipKind::ColumnSense, 2),
        (ChipKind::ColumnBias, 2),
        (ChipKind::Calibrate, 2),
        (ChipKind::Feedback10k, 2),
        (ChipKind::Feedback1k, 2),
        (ChipKind::RowCalibrate, 2),
        (ChipKind::FormingBypass, 2),
    ];
    kinds.into_iter().flat_map(|(kind, count)| (0..count).map(move |index| ChipSelect { kind, index }))
}

/// Eight instants of a work, ns after its start; at none of them has it ended.
fn instants(sound: &Outcome) -> impl Iterator<Item = u64> + use<> {
    let whole_ns = sound.ended_ns - sound.began_ns;
    (0..8).map(move |part| whole_ns * (2 * part + 1) / 17)
}

fn code(found: &Outcome) -> Option<FaultCode> {
    found.fault.map(|fault| fault.code)
}

#[test]
fn the_works_are_what_they_should_be() {
    for work in WORKS {
        let sound = run(work, 0, |_| {});
        assert_eq!(sound.fault, None, "{work:?}");
        assert!(
            sound.cells.iter().all(|cell| cell.outcome == ohmrig_protocol::message::Outcome::Inside),
            "{sound:?}"
        );
        assert!(!work.writes() || sound.cells.iter().map(|cell| cell.pulses).sum::<u16>() >= 8, "{sound:?}");
        println!("{work:?} takes {} µs", (sound.ended_ns - sound.began_ns) / 1000);
    }
}

#[test]
fn a_chip_that_dies_within_a_job_is_a_chip_fault_or_was_not_needed() {
    for work in WORKS {
        let sound = run(work, 0, |_| {});
        let mut faults = 0;
        for select in chips() {
            for after_ns in instants(&sound) {
                let what = format!("{work:?}, {select:?} dead after {after_ns} ns");
                let found = hold(&what, work, &sound, after_ns, SEEN_V, |board| {
                    board.faults(select).unwrap().dead = true;
                });
                assert!(matches!(code(&found), None | Some(FaultCode::Chip)), "{what}: {:?}", found.fault);
                faults += u32::from(found.fault.is_some());
            }
        }
        assert!(faults >= 8, "{work:?}: {faults} noticed");
    }
}

#[test]
fn a_converter_that_hangs_within_a_job_is_a_timeout() {
    for work in WORKS {
        let sound = run(work, 0, |_| {});
        for after_ns in instants(&sound) {
            for index in [0, 1] {
                let what = format!("{work:?}, BUSY of ADC {index} stuck after {after_ns} ns");
                let found = hold(&what, work, &sound, after_ns, SEEN_V, |board| {
                    board.adc(index).unwrap().stuck_busy = true;
                });
                // Nothing is converted while waiting; everything else goes on converting to its end.
                let expected = (work != Work::Wait).then_some(FaultCode::Timeout);
                assert_eq!(code(&found), expected, "{what}");
            }
        }
    }
}

#[test]
fn supplies_that_dip_within_a_job_are_a_brown_out() {
    for work in WORKS {
        let sound = run(work, 0, |_| {});
        for part in 0..40 {
            let after_ns = (sound.ended_ns - sound.began_ns) * part / 41;
            let what = format!("{work:?}, a dip after {after_ns} ns");
            let found = hold(&what, work, &sound, after_ns, SEEN_V, |board| {
                let now_ns = board.now_ns().unwrap();
                board.brown_out_at(now_ns);
            });
            assert_eq!(code(&found), Some(FaultCode::BrownOut), "{what}");
        }
    }
}

#[test]
fn a_driver_that_complains_within_a_job_is_a_chip_fault_within_a_second() {
    for work in WORKS {
        let sound = run(work, 0, |_| {});
        for kind in [ChipKind::RowDac, ChipKind::BiasDac] {
            let what = format!("{work:?}, {kind:?} complains");
            let select = ChipSelect { kind, index: 0 };
            let found = hold(&what, work, &sound, 0, SEEN_V, |board| board.dac(select).unwrap().set_fault(1));
            match found.fault {
                Some(fault) => {
                    assert_eq!((fault.code, fault.chip), (FaultCode::Chip, Some((kind, 0))), "{what}");
                    // An emulated board passes a wait in one leap, and is asked at its end.
                    let from_ns =
                        if work == Work::Wait { found.ended_ns } else { found.disturbed_ns.unwrap() };
                    assert!(fault.at_ns <= from_ns + WATCH_NS + RECOVERY_NS, "{what}: {fault:?}");
                }
                None => panic!("{what} and nobody asked"),
            }
        }
    }
}

#[test]
fn a_bit_turned_over_on_any_wire_within_a_job_is_a_chip_fault_or_does_not_matter() {
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut faults = 0;
    for work in WORKS {
        let sound = run(work, 0, |_| {});
        for select in chips() {
            for line in [Line::Sdi, Line::Sdo] {
                for after_ns in instants(&sound) {
                    // xorshift64 (Marsaglia 2003, triple 13, 7, 17).
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    let is_adc = select.kind == ChipKind::Adc;
                    let bit = (seed >> 16) as usize % if is_adc { 144 } else { 24 };
                    let flip = BitFlip { frames_ahead: (seed % 60) as u32, wire: line, bit };
                    let what = format!("{work:?}, {select:?} after {after_ns} ns, {flip:?}");
                    let found = hold(&what, work, &sound, after_ns, ANOTHER_SPAN_V, |board| {
                        board.faults(select).unwrap().flips.push(flip);
                    });
                    assert!(
                        matches!(code(&found), None | Some(FaultCode::Chip)),
                        "{what}: {:?}",
                        found.fault
                    );
                    faults += u32::from(found.fault.is_some());
                }
            }
        }
    }
    println!("{faults} flips were noticed");
    // Most are in bits that nobody looks at, or in frames that never come.
    assert!(faults > 100);
}

#[test]
fn a_thermometer_that_goes_wrong_within_a_job_is_a_fault_or_tells_the_right_temperature() {
    let mut seed = 0xD1B5_4A32_D192_ED03_u64;
    for work in WORKS {
        let sound = run(work, 0, |_| {});
        let what = format!("{work:?}, a dead thermometer");
        let found = hold(&what, work, &sound, 0, SEEN_V, |board| board.thermometer().unwrap().dead = true);
        assert!(matches!(code(&found), None | Some(FaultCode::Bus)), "{what}: {:?}", found.fault);
        for frames_ahead in 0..8 {
            for line in [Line::Sdi, Line::Sdo] {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let bit = (seed >> 16) as usize % if line == Line::Sdi { 8 } else { 16 };
                let flip = BitFlip { frames_ahead, wire: line, bit };
                let what = format!("{work:?}, thermometer, {flip:?}");
                let found = hold(&what, work, &sound, 0, SEEN_V, |board| {
                    board.thermometer().unwrap().flips.push(flip);
                });
                assert!(matches!(code(&found), None | Some(FaultCode::Chip)), "{what}: {:?}", found.fault);
            }
        }
    }
}

#[test]
fn a_bus_that_somebody_else_holds_ends_a_job_of_pulses_as_stalled_and_any_other_in_time() {
    // Half a minute for the frames of one burst.
    const STRETCH_NS: u64 = 1_000 * MS;
    for work in WORKS {
        let sound = run(work, 0, |_| {});
        let found = run(work, MS, |board| board.stretch_frames(STRETCH_NS));
        println!("{work:?}: {:?} at {} s", found.fault, found.ended_ns / 1_000_000_000);
        match work {
            Work::Program(_) | Work::Form => {
                assert_eq!(code(&found), Some(FaultCode::JobStalled), "{work:?}")
            }
            // Samples that can't come in time are told to be missing, and nothing else is wrong.
            Work::Trace(_) => {
                assert!(found.lost_sample && found.fault.is_none(), "{work:?}");
                assert!(sound.codes.starts_with(&found.codes), "{work:?}");
            }
            Work::Products => assert_eq!((&found.codes, found.fault), (&sound.codes, None)),
            Work::Wait => assert_eq!(found.fault, None),
        }
        // The work, until somebody gives up, and as many frames as setting up takes.
        assert!(found.ended_ns < 2_000 * WATCH_NS, "{work:?}: {} ns", found.ended_ns);
    }
}
