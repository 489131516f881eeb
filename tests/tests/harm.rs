//! What would hurt a device doesn't happen: refused requests touch nothing, no cell sees more than the limit says, and a
//! chip that isn't in order ends in a named fault, never in a number or a pulse. Judged by ground truth.

use ohmrig_emulator::chips::BitFlip;
use ohmrig_protocol::bench::{Bench, ChipKind, ChipSelect};
use ohmrig_protocol::frame::SessionId;
use ohmrig_protocol::message::*;
use ohmrig_protocol::units::{Joules, Seconds, Siemens, VoltSeconds, Volts};
use ohmrig_tests::{Answer, Wire, request};
use proptest::prelude::*;

const PULSE: Pulse =
    Pulse { row: 2, column: 3, volts: Volts(1.6), width: Seconds(50e-6), scheme: Scheme::Half, gate: None };
const STAIRS: Staircase = Staircase { start: Volts(1.1), step: Volts(0.05), stop: Volts(1.8) };
const READ: ReadCells = ReadCells {
    region: Region { row: 0, column: 0, rows: 2, columns: 16 },
    volts: Volts(0.2),
    range: 1,
    conversions: 1,
};

fn armed() -> (Wire, SessionId) {
    let mut wire = Wire::new("rram-cmo", 11);
    let session = wire.open(1);
    assert_eq!(wire.exchange(&request(session, 0, &Request::Arm { milliseconds: 60_000 })), [Answer::Done]);
    (wire, session)
}

fn program(targets: &[u8]) -> Program<'_> {
    Program {
        job: JobId(1),
        region: Region { row: 0, column: 0, rows: 1, columns: 2 },
        targets,
        window: Siemens(1e-6),
        algorithm: Algorithm::Incremental { set: STAIRS, reset: STAIRS },
        width: Seconds(50e-6),
        scheme: Scheme::Half,
        read_volts: Volts(0.2),
        range: 1,
        conversions: 1,
        max_conversions: 1,
        confirm: 0,
        max_pulses: 100,
        max_reversals: 20,
    }
}

/// Whether it is the refusal that should come.
type Expected = fn(&Refusal) -> bool;

#[test]
fn a_refused_request_says_why_and_touches_nothing() {
    let (mut wire, session) = armed();
    let before = wire.truth();
    let two = [20e-6f32.to_le_bytes(), 30e-6f32.to_le_bytes()].concat();
    let infinite = [20e-6f32.to_le_bytes(), f32::INFINITY.to_le_bytes()].concat();
    let codes = [0xFF; 32];
    let law =
        DoseLaw { threshold: Volts(1.0), reference: Volts(1.5), dose: 0.3, exponent: 2.0, stop: Volts(1.8) };
    let (floor, ceiling) = (Siemens(90e-6), Siemens(10e-6));
    let upside_down = Model { set: law, reset: law, floor, ceiling, melting: false };
    let violent =
        Forming { volts: Staircase { stop: Volts(5.5), ..STAIRS }, widest: Seconds(1e-3), gap: Seconds(0.0) };
    let refused: Vec<(Request<'_>, Expected)> = vec![
        (
            Request::Pulse(Pulse { volts: Volts(5.2), ..PULSE }),
            |r| matches!(r, Refusal::Limit { limit: LimitName::Cell, asked, allowed } if *asked > 5.2 && *allowed == 5.0),
        ),
        (Request::Pulse(Pulse { volts: Volts(3.0), scheme: Scheme::Floating, ..PULSE }), |r| {
            matches!(r, Refusal::Limit { limit: LimitName::HalfSelect, .. })
        }),
        (Request::Pulse(Pulse { volts: Volts(3.0), scheme: Scheme::Grounded, ..PULSE }), |r| {
            matches!(r, Refusal::Limit { limit: LimitName::HalfSelect, .. })
        }),
        (Request::Pulse(Pulse { volts: Volts(f32::NAN), ..PULSE }), |r| {
            matches!(r, Refusal::Invalid { field: Field::Volts, .. })
        }),
        (Request::Pulse(Pulse { width: Seconds(2.0), ..PULSE }), |r| {
            matches!(r, Refusal::Limit { limit: LimitName::WidthMax, .. })
        }),
        (Request::Pulse(Pulse { width: Seconds(1e-6), ..PULSE }), |r| {
            matches!(r, Refusal::Limit { limit: LimitName::WidthMin, .. })
        }),
        (Request::Pulse(Pulse { row: 16, ..PULSE }), |r| {
            *r == Refusal::OutsideArray { rows: 16, columns: 16 }
        }),
        (Request::Pulse(Pulse { gate: Some(Volts(1.0)), ..PULSE }), |r| {
            *r == Refusal::Unsupported(Field::Gate)
        }),
        (Request::ReadCells(ReadCells { volts: Volts(0.6), ..READ }), |r| {
            matches!(r, Refusal::Limit { limit: LimitName::Read, .. })
        }),
        (Request::ReadCells(ReadCells { range: 3, ..READ }), |r| {
            matches!(r, Refusal::Invalid { field: Field::Range, .. })
        }),
        (Request::ReadCells(ReadCells { conversions: 0, ..READ }), |r| {
            matches!(r, Refusal::Invalid { field: Field::Conversions, .. })
        }),
        (Request::ReadCells(ReadCells { conversions: 4000, ..READ }), |r| {
            matches!(r, Refusal::Limit { limit: LimitName::Conversions, .. })
        }),
        (Request::Mvm(Mvm { range: 1, conversions: 1, interval_ns: 0, codes: &codes }), |r| {
            matches!(r, Refusal::Limit { limit: LimitName::Read, .. })
        }),
        (Request::Mvm(Mvm { range: 1, conversions: 1, interval_ns: 0, codes: &codes[..31] }), |r| {
            matches!(r, Refusal::Invalid { field: Field::Data, .. })
        }),
        (Request::Program(program(&infinite)), |r| {
            matches!(r, Refusal::Invalid { field: Field::Target, .. })
        }),
        (Request::Program(program(&two[..7])), |r| matches!(r, Refusal::Invalid { field: Field::Data, .. })),
        (Request::Program(Program { window: Siemens(-1.0), ..program(&two) }), |r| {
            matches!(r, Refusal::Invalid { field: Field::Window, .. })
        }),
        (
            Request::Program(Program {
                algorithm: Algorithm::Incremental {
                    set: STAIRS,
                    reset: Staircase { stop: Volts(5.5), ..STAIRS },
                },
                ..program(&two)
            }),
            |r| matches!(r, Refusal::Limit { limit: LimitName::Cell, .. }),
        ),
        (Request::Program(Program { algorithm: Algorithm::Model(upside_down), ..program(&two) }), |r| {
            matches!(r, Refusal::Invalid { field: Field::Model, .. })
        }),
        (Request::Program(Program { algorithm: Algorithm::Form(violent), ..program(&two) }), |r| {
            matches!(r, Refusal::Limit { limit: LimitName::Cell, .. })
        }),
        (
            Request::Program(Program { conversions: 2, ..program(&two) }),
            |r| matches!(r, Refusal::Invalid { field: Field::Conversions, asked, min, .. } if *asked == 1.0 && *min == 2.0),
        ),
        (Request::ClearFault(FaultCode::Chip), |r| *r == Refusal::NoSuchFault),
        (Request::AbortJob(JobId(3)), |r| matches!(r, Refusal::NoSuchJob { .. })),
        (Request::Arm { milliseconds: 0 }, |r| matches!(r, Refusal::Invalid { field: Field::Arm, .. })),
    ];
    for (sequence, (asked, expected)) in (1..).zip(refused) {
        match wire.exchange(&request(session, sequence, &asked)).as_slice() {
            [Answer::Refused(refusal)] => assert!(expected(refusal), "{asked:?}: {refusal:?}"),
            other => panic!("{asked:?}: {other:?}"),
        }
    }
    assert_eq!(wire.truth(), before);
}

#[test]
fn nothing_is_written_without_arming_or_after_it_has_run_out() {
    let mut wire = Wire::new("rram-cmo", 11);
    let session = wire.open(1);
    assert_eq!(
        wire.exchange(&request(session, 0, &Request::Pulse(PULSE))),
        [Answer::Refused(Refusal::NotArmed)]
    );
    wire.exchange(&request(session, 1, &Request::Arm { milliseconds: 500 }));
    wire.link_ns += 501_000_000;
    assert_eq!(
        wire.exchange(&request(session, 2, &Request::Pulse(PULSE))),
        [Answer::Refused(Refusal::NotArmed)]
    );
    assert_eq!(wire.pulses(), 0);
}

#[test]
fn tightened_limits_hold_and_cannot_be_loosened() {
    let (mut wire, session) = armed();
    let limits = Limits {
        cell: Volts(1.5),
        half_select: Volts(1.0),
        read: Volts(0.3),
        width_min: Seconds(20e-6),
        width_max: Seconds(1e-3),
        current: ohmrig_protocol::units::Amperes(5e-3),
        pulses_per_cell: 1,
        dose_per_cell: VoltSeconds(1.0),
        energy_per_cell: Joules(1.0),
    };
    assert_eq!(wire.exchange(&request(session, 1, &Request::TightenLimits(limits))), [Answer::Done]);
    assert!(matches!(
        wire.exchange(&request(session, 2, &Request::Pulse(PULSE))).as_slice(),
        [Answer::Refused(Refusal::Limit { limit: LimitName::Cell, .. })]
    ));
    let fine = Request::Pulse(Pulse { volts: Volts(1.4), ..PULSE });
    assert_eq!(wire.exchange(&request(session, 3, &fine)), [Answer::Pulsed]);
    assert!(matches!(
        wire.exchange(&request(session, 4, &fine)).as_slice(),
        [Answer::Refused(Refusal::Limit { limit: LimitName::PulsesPerCell, .. })]
    ));
    let loose = Limits { cell: Volts(1.6), ..limits };
    assert!(matches!(
        wire.exchange(&request(session, 5, &Request::TightenLimits(loose))).as_slice(),
        [Answer::Refused(Refusal::Invalid { field: Field::Limits, .. })]
    ));
    assert_eq!(wire.pulses(), 1);
}

#[test]
fn a_flipped_bit_in_a_dac_frame_stops_the_pulse_before_its_edge() {
    let select = ChipSelect { kind: ChipKind::RowDac, index: 0 };
    let mut stopped = 0;
    // Each of the frames that load and verify a pulse, data bits of which the read-back must notice.
    for frames_ahead in 0..50 {
        let (mut wire, session) = armed();
        let quiet = wire.truth();
        wire.device.board().faults(select).unwrap().flips.push(BitFlip {
            frames_ahead,
            wire: ohmrig_emulator::chips::Wire::Sdi,
            bit: 12,
        });
        match wire.exchange(&request(session, 1, &Request::Pulse(PULSE))).as_slice() {
            [Answer::Refused(Refusal::Fault(FaultCode::Chip))] => {
                stopped += 1;
                assert_eq!(wire.truth().iter().map(|c| c.pulses).sum::<u64>(), 0, "frame {frames_ahead}");
            }
            // A flip in the data of a read or of a no-op changes nothing.
            [Answer::Pulsed] => assert_eq!(wire.pulses(), 1, "frame {frames_ahead}"),
            other => panic!("frame {frames_ahead}: {other:?}"),
        }
        for (cell, before) in wire.truth().iter().zip(quiet) {
            assert!(cell.max_abs_v <= 1.6 * 1.005 + 0.02, "frame {frames_ahead}: {cell:?}, {before:?}");
        }
    }
    assert!(stopped >= 3, "{stopped} flips were in frames that write");
}

#[test]
fn a_dead_chip_is_a_named_fault_and_never_a_number() {
    for kind in [ChipKind::Adc, ChipKind::RowDac, ChipKind::ColumnSense, ChipKind::ColumnBias] {
        let (mut wire, session) = armed();
        wire.device.board().faults(ChipSelect { kind, index: 0 }).unwrap().dead = true;
        let asked = Request::CheckChips;
        assert_eq!(
            wire.exchange(&request(session, 1, &asked)),
            [Answer::Refused(Refusal::Fault(FaultCode::Chip))],
            "{kind:?}"
        );
        assert_eq!(
            wire.exchange(&request(session, 2, &Request::ReadCells(READ))),
            [Answer::Refused(Refusal::Faulted(FaultCode::Chip))],
            "{kind:?}"
        );
        let answer = wire.exchange(&request(session, 3, &Request::Status));
        let [Answer::Status(status)] = answer.as_slice() else { panic!("{answer:?}") };
        assert_eq!(status.fault.unwrap().chip, Some((kind, 0)));
        // Mended and cleared by name it measures again.
        wire.device.board().faults(ChipSelect { kind, index: 0 }).unwrap().dead = false;
        assert_eq!(
            wire.exchange(&request(session, 4, &Request::ClearFault(FaultCode::Chip))),
            [Answer::Done],
            "{kind:?}"
        );
        let answer = wire.exchange(&request(session, 5, &Request::ReadCells(READ)));
        assert!(matches!(answer.as_slice(), [Answer::Other(sums)] if sums.len() == 32 * CELL_SUMS_BYTES));
    }
}

#[test]
fn a_conversion_that_never_ends_is_a_fault_in_bounded_time() {
    let (mut wire, session) = armed();
    wire.device.board().adc(0).unwrap().stuck_busy = true;
    let before = wire.device.board().now_ns().unwrap();
    assert_eq!(
        wire.exchange(&request(session, 1, &Request::ReadCells(READ))),
        [Answer::Refused(Refusal::Fault(FaultCode::Timeout))]
    );
    let spent = wire.device.board().now_ns().unwrap() - before;
    assert!(spent < 20_000_000, "{spent} ns");
    // Mended and cleared by name it measures again: the converter was reset, not asked to go on.
    wire.device.board().adc(0).unwrap().stuck_busy = false;
    let clear = Request::ClearFault(FaultCode::Timeout);
    assert_eq!(wire.exchange(&request(session, 2, &clear)), [Answer::Done]);
    let answer = wire.exchange(&request(session, 3, &Request::ReadCells(READ)));
    assert!(
        matches!(answer.as_slice(), [Answer::Other(sums)] if sums.len() == 32 * CELL_SUMS_BYTES),
        "{answer:?}"
    );
}

fn any_volts() -> impl Strategy<Value = f32> {
    prop_oneof![-6.0f32..6.0, -2.0f32..2.0, Just(f32::NAN), Just(0.0)]
}

fn any_request() -> impl Strategy<Value = Request<'static>> {
    let scheme = any_scheme();
    prop_oneof![
        4 => (0u16..18, 0u16..18, any_volts(), 0.0f32..300e-6, scheme).prop_map(
            |(row, column, volts, width, scheme)| Request::Pulse(Pulse {
                row, column, volts: Volts(volts), width: Seconds(width), scheme, gate: None,
            })
        ),
        1 => (any_volts(), 0u8..4).prop_map(|(volts, range)| Request::ReadCells(ReadCells {
            volts: Volts(volts), range, ..READ
        })),
        1 => (0u16..16, any_volts()).prop_map(|(row, volts)| Request::ReadReference(ReadReference {
            row, column: None, volts: Volts(volts), range: 1, conversions: 1, interval_ns: 0,
        })),
        1 => (0u64..10_000_000_000).prop_map(|until_ns| Request::Wait { job: JobId(9), until_ns }),
        1 => Just(Request::ReleaseJob(JobId(9))),
        1 => Just(Request::Safe),
        1 => Just(Request::Arm { milliseconds: 60_000 }),
        1 => Just(Request::CheckChips),
    ]
}

fn any_scheme() -> impl Strategy<Value = Scheme> {
    prop_oneof![
        Just(Scheme::Half),
        Just(Scheme::SymmetricHalf),
        Just(Scheme::Third),
        Just(Scheme::Grounded),
        Just(Scheme::Floating)
    ]
}

/// A board with a built-in profile's devices, and wires of so many Ω per segment.
fn wired(name: &str, segment_ohm: f64, seed: u64) -> Wire {
    let mut profile = ohmrig::bench::profile(Some(name)).unwrap();
    profile.device.wires.row_segment_ohm = segment_ohm;
    profile.device.wires.column_segment_ohm = segment_ohm;
    let emulation = ohmrig::bench::Emulation::new(profile, seed);
    Wire { device: ohmrig::device::EmulatedDevice::power_up(&emulation).unwrap(), link_ns: 0 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Jobs of every scheme on every profile, with DAC settling and line resistance: what the selected cell may see is the
    /// larger of its staircases, tolerance included; any other cell what the scheme leaves it; and a refused job changes nothing.
    #[test]
    fn no_cell_of_a_job_ever_sees_more_than_its_limit(
        profile in 0usize..6,
        segment_ohm in prop_oneof![Just(0.0), 1.0f64..50.0],
        scheme in any_scheme(),
        set in 0.5f32..5.5,
        reset in 0.5f32..5.5,
        half_select in 0.3f32..2.6,
        (row, column) in (0u16..15, 0u16..15),
    ) {
        let name = ohmrig_emulator::profile::Profile::names().nth(profile).unwrap();
        let mut wire = wired(name, segment_ohm, 7);
        let session = wire.open(1);
        wire.exchange(&request(session, 0, &Request::Arm { milliseconds: 3_000_000 }));
        let tight = Limits {
            cell: Volts(5.0),
            half_select: Volts(half_select),
            read: Volts(0.5),
            width_min: Seconds(5e-6),
            width_max: Seconds(1.0),
            current: ohmrig_protocol::units::Amperes(5e-3),
            pulses_per_cell: 1_000_000,
            dose_per_cell: VoltSeconds(1.0),
            energy_per_cell: Joules(1.0),
        };
        prop_assert_eq!(wire.exchange(&request(session, 1, &Request::TightenLimits(tight))), [Answer::Done]);
        let before = wire.truth();
        let targets = [10e-6f32, 60e-6, 30e-6, 5e-6].map(f32::to_le_bytes).concat();
        let stairs = |stop: f32| Staircase { start: Volts(stop / 2.0), step: Volts(stop / 6.0), stop: Volts(stop) };
        let asked = Program {
            region: Region { row, column, rows: 2, columns: 2 },
            algorithm: Algorithm::Incremental { set: stairs(set), reset: stairs(reset) },
            scheme,
            max_pulses: 8,
            ..program(&targets)
        };
        let answers = wire.exchange(&request(session, 2, &Request::Program(asked)));
        let worst = |volts: f64| volts * 1.005 + 0.02;
        let largest = f64::from(set.max(reset));
        let others = match scheme {
            Scheme::Half | Scheme::SymmetricHalf => largest / 2.0,
            // V/3 as commanded; rows and columns at different voltages pull each other through their cells.
            Scheme::Third => largest * 2.0 / 3.0,
            Scheme::Grounded | Scheme::Floating => largest,
        };
        // Within 10⁻⁶ of a limit, f32 may see it on either side.
        let fits = worst(largest) <= 5.0 && worst(others) <= f64::from(half_select);
        let close = (worst(largest) - 5.0).abs() < 1e-5 || (worst(others) - f64::from(half_select)).abs() < 1e-5;
        if answers.as_slice() == [Answer::Done] {
            prop_assert!(fits || close, "{asked:?} was accepted");
        } else {
            prop_assert!(!fits || close, "{asked:?}: {answers:?}");
            prop_assert_eq!(wire.truth(), before);
            return Ok(());
        }
        for cell in wire.truth() {
            let inside = (row..row + 2).contains(&cell.row) && (column..column + 2).contains(&cell.col);
            let allowed = if inside { worst(largest).min(5.0) } else { worst(others).min(f64::from(half_select)) };
            prop_assert!(cell.max_abs_v <= allowed, "{name}, {segment_ohm} Ω, {cell:?} of {asked:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is asked in whatever order: no cell ever sees more than the largest pulse that was accepted allows,
    /// tolerance included, and never more than the limit.
    #[test]
    fn no_cell_ever_sees_more_than_its_limit(requests in proptest::collection::vec(any_request(), 1..30)) {
        let (mut wire, session) = armed();
        let mut allowed = 0.5f64 * 1.005 + 0.02;
        for (sequence, asked) in (1..).zip(&requests) {
            let answers = wire.exchange(&request(session, sequence, asked));
            if let (Request::Pulse(pulse), [Answer::Pulsed]) = (asked, answers.as_slice()) {
                allowed = allowed.max(f64::from(pulse.volts.0.abs()) * 1.005 + 0.02);
            }
            for cell in wire.truth() {
                prop_assert!(cell.max_abs_v <= allowed.min(5.0), "{cell:?} after {asked:?}: {answers:?}");
            }
        }
    }
}

#[test]
fn a_wait_that_the_clock_cannot_pass_is_refused_and_the_instrument_goes_on() {
    let mut wire = Wire::new("ideal", 1);
    let session = wire.open(1);
    for (sequence, until_ns) in [(0, u64::MAX), (1, MAX_INSTANT_NS + 1)] {
        let wait = Request::Wait { job: JobId(1), until_ns };
        assert!(matches!(
            wire.exchange(&request(session, sequence, &wait)).as_slice(),
            [Answer::Refused(Refusal::Invalid { field: Field::Interval, .. })]
        ));
    }
    let last = Request::Wait { job: JobId(2), until_ns: MAX_INSTANT_NS };
    assert_eq!(wire.exchange(&request(session, 2, &last)), [Answer::Done]);
    assert!(matches!(
        wire.exchange(&request(session, 3, &Request::ReleaseJob(JobId(2)))).as_slice(),
        [Answer::Done]
    ));
    let answer = wire.exchange(&request(session, 4, &Request::ReadCells(READ)));
    assert!(matches!(answer.as_slice(), [Answer::Other(sums)] if sums.len() == 32 * CELL_SUMS_BYTES));
}

/// Series resistance moves lines towards each other: what was commanded is not what a cell sees.
#[test]
fn no_scheme_passes_the_half_select_limit_on_an_array_that_pulls_its_lines() {
    let mut conducting = ohmrig::bench::profile(Some("resistor")).unwrap();
    conducting.device.initial.position = 1.0;
    conducting.device.initial.spread = 0.0;
    let mut emulation = ohmrig::bench::Emulation::new(conducting, 1);
    emulation.columns = 48;
    let limits = Limits {
        cell: Volts(5.0),
        half_select: Volts(0.9),
        read: Volts(0.5),
        width_min: Seconds(5e-6),
        width_max: Seconds(1.0),
        current: ohmrig_protocol::units::Amperes(5e-3),
        pulses_per_cell: 1_000_000,
        dose_per_cell: VoltSeconds(1.0),
        energy_per_cell: Joules(1.0),
    };
    for scheme in [Scheme::Half, Scheme::SymmetricHalf, Scheme::Third, Scheme::Grounded, Scheme::Floating] {
        let device = ohmrig::device::EmulatedDevice::power_up(&emulation).unwrap();
        let mut wire = Wire { device, link_ns: 0 };
        let session = wire.open(1);
        wire.exchange(&request(session, 0, &Request::Arm { milliseconds: 60_000 }));
        assert_eq!(wire.exchange(&request(session, 1, &Request::TightenLimits(limits))), [Answer::Done]);
        let mut accepted = 0;
        for (sequence, volts) in (2..).zip((1..=30).map(|n| n as f32 * 0.1)) {
            let pulse = Pulse { volts: Volts(volts), scheme, ..PULSE };
            accepted += u32::from(
                wire.exchange(&request(session, sequence, &Request::Pulse(pulse))) == [Answer::Pulsed],
            );
        }
        assert!((8..30).contains(&accepted), "{scheme:?}: {accepted} accepted");
        for cell in wire.truth().iter().filter(|cell| (cell.row, cell.col) != (PULSE.row, PULSE.column)) {
            assert!(cell.max_abs_v <= 0.9, "{scheme:?}: {cell:?}");
        }
    }
}

/// Ground truth is for whoever watches: how often they look must not show in the devices, not even in the last bits.
#[test]
fn looking_at_ground_truth_changes_nothing() {
    let run = |look: bool| {
        let (mut wire, session) = armed();
        let mut answers = Vec::new();
        for number in 0..8u16 {
            let sequence = 1 + 2 * u32::from(number);
            let pulse = Request::Pulse(Pulse { row: number, column: number, ..PULSE });
            answers.extend(wire.exchange(&request(session, sequence, &pulse)));
            if look {
                wire.truth();
            }
            answers.extend(wire.exchange(&request(session, sequence + 1, &Request::ReadCells(READ))));
        }
        (answers, wire.truth())
    };
    assert_eq!(run(true), run(false));
}
