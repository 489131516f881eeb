//! What cells have been through is counted per array over all power-ups, never under what ground truth says, and a cell
//! whose budget is spent is refused while the rest go on.

use ohmrig::bench::{Emulation, profile};
use ohmrig::device::EmulatedDevice;
use ohmrig_protocol::message::*;
use ohmrig_protocol::units::{Joules, Seconds, Siemens, VoltSeconds, Volts};
use ohmrig_tests::{Answer, Talk, Wire};

const PULSE: Pulse =
    Pulse { row: 2, column: 3, volts: Volts(1.6), width: Seconds(100e-6), scheme: Scheme::Half, gate: None };
const ARM: Request<'_> = Request::Arm { milliseconds: 60_000 };
const STAIRS: Staircase = Staircase { start: Volts(1.1), step: Volts(0.05), stop: Volts(1.8) };

fn array(name: &str, rows: u16, columns: u16) -> Talk {
    let mut emulation = Emulation::new(profile(Some(name)).unwrap(), 21);
    (emulation.rows, emulation.columns) = (rows, columns);
    let device = EmulatedDevice::power_up(&emulation).unwrap();
    Talk::new(Wire { device, link_ns: 0 })
}

fn one(talk: &mut Talk, row: u16, column: u16) -> CellBudget {
    talk.budgets(Region { row, column, rows: 1, columns: 1 })[0]
}

fn tighten(talk: &mut Talk, change: impl FnOnce(&mut Limits)) {
    let mut limits = talk.identity().limits;
    change(&mut limits);
    assert_eq!(talk.ask(&Request::TightenLimits(limits)), Answer::Done);
    assert_eq!(talk.identity().limits, limits);
}

/// 1.6 V + 20 mV + 0.5 %, for 100 µs, V·ns.
const PULSE_DOSE: u64 = 162_800;

#[test]
fn pulses_are_counted_exactly_over_power_cycles() {
    let mut talk = array("rram-cmo", 16, 16);
    for count in 1..=3u32 {
        assert_eq!(talk.ask(&ARM), Answer::Done);
        assert_eq!(talk.ask(&Request::Pulse(PULSE)), Answer::Pulsed);
        assert_eq!(talk.ask(&Request::Pulse(Pulse { row: 4, ..PULSE })), Answer::Pulsed);
        assert_eq!(talk.ask(&Request::Safe), Answer::Done);
        talk.power_cycle();
        let cell = one(&mut talk, 2, 3);
        assert_eq!((cell.pulses, cell.dose), (count, u64::from(count) * PULSE_DOSE));
        assert_eq!(one(&mut talk, 3, 3).pulses, 0);
        // A cell of the same column was half-selected by both: 0.8 V + 20 mV + 0.5 %, rounded up, for 100 µs each.
        assert_eq!(one(&mut talk, 3, 3).half_select, u64::from(count) * 2 * 82_400);
        assert_eq!(one(&mut talk, 9, 9).half_select, 0);
    }
    assert_eq!(talk.wire.pulses(), 6);
}

#[test]
fn power_lost_while_armed_costs_what_was_reserved_and_that_only_once() {
    let mut talk = array("rram-cmo", 16, 16);
    assert_eq!(talk.ask(&ARM), Answer::Done);
    assert_eq!(talk.ask(&Request::Pulse(PULSE)), Answer::Pulsed);
    talk.power_cycle();
    let after = one(&mut talk, 2, 3);
    assert_eq!((after.pulses, after.dose), (32, 32 * PULSE_DOSE));
    for _ in 0..3 {
        talk.power_cycle();
        assert_eq!(one(&mut talk, 2, 3), after);
    }
}

/// The energy of a pulse in the device is at most V²·G·t with the largest conductance it has in it (a filament grows in
/// SET); the count may not be less, whether the current was sampled (default scheme, 100 µs), sampled for a part of the
/// pulse (1 ms), or not at all.
#[test]
fn energy_is_never_counted_under_what_the_device_got() {
    for (scheme, width_s, volts) in [
        (Scheme::Half, 100e-6, 1.5f32),
        (Scheme::Half, 1e-3, 1.4),
        (Scheme::Half, 20e-6, 1.6),
        (Scheme::SymmetricHalf, 100e-6, 1.5),
        (Scheme::Third, 100e-6, -1.5),
    ] {
        let mut talk = array("rram-cmo", 16, 16);
        assert_eq!(talk.ask(&ARM), Answer::Done);
        let at = 2 * 16 + 3;
        let mut joules = 0.0;
        for _ in 0..5 {
            let before = talk.wire.truth()[at].conductance_s;
            let pulse = Pulse { scheme, width: Seconds(width_s), volts: Volts(volts), ..PULSE };
            assert_eq!(talk.ask(&Request::Pulse(pulse)), Answer::Pulsed);
            let most = talk.wire.truth()[at].conductance_s.max(before);
            joules += f64::from(volts).powi(2) * most * f64::from(width_s);
        }
        let counted = one(&mut talk, 2, 3).energy as f64 * 1e-15;
        assert!(counted >= joules, "{scheme:?}, {width_s} s: {counted:e} J counted of {joules:e} J");
        // Nor absurdly more: 5 mA is the limit.
        let bound = 5.0 * 1.7 * 5e-3 * f64::from(width_s);
        assert!(counted <= bound, "{scheme:?}, {width_s} s: {counted:e} J counted, {bound:e} J at the limit");
    }
}

#[test]
fn a_sampled_current_counts_for_less_than_the_limit_would() {
    let energy = |scheme| {
        let mut talk = array("rram-cmo", 16, 16);
        assert_eq!(talk.ask(&ARM), Answer::Done);
        assert_eq!(talk.ask(&Request::Pulse(Pulse { scheme, ..PULSE })), Answer::Pulsed);
        one(&mut talk, 2, 3).energy
    };
    // No amplifier sees the current of the symmetric scheme: 1.628 V · 5 mA · 100 µs.
    assert_eq!(energy(Scheme::SymmetricHalf), 814_000_000);
    assert!(energy(Scheme::Half) < 814_000_000);
}

#[test]
fn a_spent_cell_is_refused_with_both_values_and_its_neighbour_is_not() {
    type Spend = fn(&mut Limits);
    let spends: [(LimitName, Spend); 3] = [
        (LimitName::PulsesPerCell, |limits| limits.pulses_per_cell = 2),
        // Two pulses of 162.8 µV·s, not three.
        (LimitName::DosePerCell, |limits| limits.dose_per_cell = VoltSeconds(400e-6)),
        // At 1 mA at most: 162.8 nJ each.
        (LimitName::EnergyPerCell, |limits| {
            limits.current.0 = 1e-3;
            limits.energy_per_cell = Joules(400e-9);
        }),
    ];
    for (name, spend) in spends {
        let mut talk = array("rram-cmo", 16, 16);
        tighten(&mut talk, spend);
        assert_eq!(talk.ask(&ARM), Answer::Done);
        let pulse = Request::Pulse(Pulse { scheme: Scheme::SymmetricHalf, ..PULSE });
        assert_eq!(talk.ask(&pulse), Answer::Pulsed);
        assert_eq!(talk.ask(&pulse), Answer::Pulsed);
        let before = talk.wire.truth();
        match talk.ask(&pulse) {
            Answer::Refused(Refusal::Limit { limit, asked, allowed }) => {
                assert!(limit == name && asked > allowed, "{limit:?} {asked} {allowed}");
            }
            other => panic!("{name:?}: {other:?}"),
        }
        assert_eq!(talk.wire.truth(), before);
        // Still so after a reset, and the neighbour's budget is its own.
        assert_eq!(talk.ask(&Request::Safe), Answer::Done);
        talk.power_cycle();
        assert_eq!(talk.ask(&ARM), Answer::Done);
        assert!(matches!(talk.ask(&pulse), Answer::Refused(Refusal::Limit { .. })), "{name:?}");
        let neighbour = Pulse { column: 4, scheme: Scheme::SymmetricHalf, ..PULSE };
        assert_eq!(talk.ask(&Request::Pulse(neighbour)), Answer::Pulsed);
    }
}

#[test]
fn in_a_job_a_spent_cell_says_so_and_the_rest_go_on() {
    let mut talk = array("rram-cmo", 16, 16);
    assert_eq!(talk.ask(&ARM), Answer::Done);
    for _ in 0..2 {
        assert_eq!(talk.ask(&Request::Pulse(Pulse { row: 0, column: 1, ..PULSE })), Answer::Pulsed);
    }
    tighten(&mut talk, |limits| limits.pulses_per_cell = 2);
    let targets: Vec<u8> = [80e-6f32; 3].iter().flat_map(|target| target.to_le_bytes()).collect();
    let program = Program {
        job: JobId(1),
        region: Region { row: 0, column: 0, rows: 1, columns: 3 },
        targets: &targets,
        window: Siemens(1e-7),
        algorithm: Algorithm::Incremental { set: STAIRS, reset: STAIRS },
        width: Seconds(50e-6),
        scheme: Scheme::Half,
        read_volts: Volts(0.2),
        range: 1,
        conversions: 2,
        max_conversions: 4,
        confirm: 0,
        max_pulses: 50,
        max_reversals: 10,
    };
    let before = talk.wire.truth();
    assert_eq!(talk.ask(&Request::Program(program)), Answer::Done);
    let Answer::Other(results) = talk.ask(&Request::JobResults { job: JobId(1), offset: 0 }) else {
        panic!()
    };
    let results: Vec<_> =
        results.as_chunks::<CELL_RESULT_BYTES>().0.iter().map(CellResult::from_bytes).collect();
    let outcome = |index: usize| results[index].map(|result| (result.outcome, result.pulses));
    assert_eq!(outcome(1), Some((Outcome::Budget, 0)));
    for index in [0, 2] {
        assert_eq!(outcome(index), Some((Outcome::Budget, 2)), "cell {index}");
    }
    assert_eq!(talk.wire.truth()[1].pulses, before[1].pulses);
    for column in 0..3 {
        assert_eq!(one(&mut talk, 0, column).pulses, 2);
    }
}

#[test]
fn every_array_has_a_history_of_its_own_and_a_full_flash_refuses_another() {
    let mut talk = array("rram-cmo", 16, 16);
    let pulses = |talk: &mut Talk, name: &str, count: u32| {
        assert_eq!(talk.ask(&Request::PlugArray { name }), Answer::Done, "{name}");
        assert_eq!(talk.identity().array, name);
        // Another array has to be armed for anew.
        assert_eq!(talk.ask(&Request::Pulse(PULSE)), Answer::Refused(Refusal::NotArmed));
        assert_eq!(talk.ask(&ARM), Answer::Done);
        for _ in 0..count {
            assert_eq!(talk.ask(&Request::Pulse(PULSE)), Answer::Pulsed);
        }
    };
    pulses(&mut talk, "wafer 7", 3);
    pulses(&mut talk, "wafer 8", 5);
    assert_eq!(talk.ask(&Request::PlugArray { name: "wafer 7" }), Answer::Done);
    assert_eq!(one(&mut talk, 2, 3).pulses, 3);
    talk.power_cycle();
    assert_eq!(talk.identity().array, "wafer 7");
    assert_eq!(talk.ask(&Request::PlugArray { name: "wafer 8" }), Answer::Done);
    assert_eq!(one(&mut talk, 2, 3).pulses, 5);
    // Five fit: the one nobody named, these two, and two more.
    for name in ["c", "d"] {
        assert_eq!(talk.ask(&Request::PlugArray { name }), Answer::Done);
    }
    assert_eq!(
        talk.ask(&Request::PlugArray { name: "e" }),
        Answer::Refused(Refusal::ArraysFull { slots: 5 })
    );
    assert_eq!(talk.identity().array, "d");
    assert_eq!(talk.ask(&Request::ForgetArray { name: "d" }), Answer::Refused(Refusal::ArrayPlugged));
    assert_eq!(talk.ask(&Request::ForgetArray { name: "nobody" }), Answer::Refused(Refusal::NoSuchArray));
    assert_eq!(talk.ask(&Request::ForgetArray { name: "wafer 8" }), Answer::Done);
    assert_eq!(talk.ask(&Request::PlugArray { name: "e" }), Answer::Done);
    // Nothing of the array whose place it has.
    assert_eq!(one(&mut talk, 2, 3), CellBudget::default());
    for name in ["", "with\nbreak", "a name of more than twenty-four"] {
        let answer = talk.ask(&Request::PlugArray { name });
        assert!(matches!(answer, Answer::Refused(Refusal::Invalid { field: Field::Name, .. })), "{answer:?}");
    }
}

#[test]
fn cells_at_the_corners_of_any_array_are_counted() {
    for (rows, columns) in [(1, 1), (1, 256), (256, 1), (33, 65), (256, 256)] {
        let mut talk = array("ideal", rows, columns);
        let mut corners = vec![(0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1)];
        corners.sort_unstable();
        corners.dedup();
        assert_eq!(talk.ask(&ARM), Answer::Done);
        for &(row, column) in &corners {
            assert_eq!(talk.ask(&Request::Pulse(Pulse { row, column, ..PULSE })), Answer::Pulsed);
        }
        assert_eq!(talk.ask(&Request::Safe), Answer::Done);
        talk.power_cycle();
        for &(row, column) in &corners {
            let cell = one(&mut talk, row, column);
            assert_eq!((cell.pulses, cell.dose), (1, PULSE_DOSE), "{rows}×{columns}, cell {row}, {column}");
        }
    }
}
