//! The whole way, from requests to ground truth, on the published OpenMENA shield: what it can, what it refuses by name, and
//! that nothing it is asked or that goes wrong on its bus hurts a device.

use ndarray::Array2;
use ohmrig::bench::{Emulation, profile};
use ohmrig::client::Client;
use ohmrig::device::EmulatedDevice;
use ohmrig::instrument::{Instrument, NoBooks, ProductSettings, ReadSettings};
use ohmrig::transport::InProcess;
use ohmrig_protocol::bench::Bench;
use ohmrig_protocol::message::*;
use ohmrig_protocol::units::{Seconds, Siemens, Volts};
use ohmrig_tests::shield_timing::{self, product, published};
use ohmrig_tests::{Answer, Talk, Wire, order};
use proptest::prelude::*;

/// Above every device's threshold on its cell, below every one's on the others.
const PULSE: Pulse = Pulse {
    row: 2,
    column: 3,
    volts: Volts(0.28),
    width: Seconds(1e-3),
    scheme: Scheme::SymmetricHalf,
    gate: None,
};
const READ: ReadCells = ReadCells {
    region: Region { row: 0, column: 0, rows: 8, columns: 8 },
    volts: Volts(0.05),
    range: 0,
    conversions: 16,
};

fn talk(seed: u64) -> Talk {
    Talk::new(Wire::new("openmena", seed))
}

fn armed(seed: u64) -> Talk {
    let mut talk = talk(seed);
    assert_eq!(talk.ask(&Request::Arm { milliseconds: 3_000_000 }), Answer::Done);
    talk
}

fn instrument(seed: u64) -> Instrument {
    let emulation = Emulation::new(profile(Some("openmena")).unwrap(), seed);
    let device = EmulatedDevice::power_up(&emulation).unwrap();
    Instrument::new(Client::connect(Box::new(InProcess::new(device)), "emulated").unwrap())
}

#[test]
fn it_says_what_it_is() {
    let device = talk(1).identity();
    assert_eq!((&*device.front_end, device.rows, device.columns), ("openmena", 8, 8));
    assert!(device.emulated);
    assert_eq!(device.converters.dac_zero, 0x800);
    let ranges: Vec<_> = device.converters.feedback.iter().filter(|feedback| feedback.0 > 0.0).collect();
    assert_eq!(ranges.len(), 1);
    assert_eq!(device.limits.read, Volts(0.1));
}

/// What a cell reads as, worked out from ground truth: its column is no virtual ground but hangs on 680 Ω, against which all
/// cells of the column pull, and its row's driver has a switch and its own 680 Ω before it, behind which the other cells of the row pull.
fn expected(truth: &Array2<f64>, row: usize, column: usize) -> f64 {
    const SHUNT: f64 = 680.0;
    const SOURCE: f64 = 680.0 * 150.0 / 830.0;
    let column_s: f64 = truth.column(column).sum();
    let row_s: f64 = truth.row(row).sum();
    truth[(row, column)] / ((1.0 + SHUNT * column_s) * (1.0 + SOURCE * row_s))
}

fn truth(talk: &mut Talk) -> Array2<f64> {
    let cells = talk.wire.truth();
    Array2::from_shape_fn((8, 8), |(i, j)| cells[i * 8 + j].conductance_s)
}

#[test]
fn conductances_read_as_its_circuit_makes_of_the_devices() {
    for seed in 1..4 {
        let mut talk = talk(seed);
        let truth = truth(&mut talk);
        let device = talk.identity();
        let Answer::Other(sums) = talk.ask(&Request::ReadCells(READ)) else { panic!() };
        let converters = device.converters;
        let scale = f64::from(converters.adc_step.0) / f64::from(converters.feedback[0].0);
        let volts = (0.05 / f64::from(converters.dac_step.0)).round() * f64::from(converters.dac_step.0);
        let (mut worst, mut count) = (0.0f64, 0);
        for (index, bytes) in sums.as_chunks::<CELL_SUMS_BYTES>().0.iter().enumerate() {
            let sums = CellSums::from_bytes(bytes);
            assert!(sums.plus_squares >= 0 && sums.minus_squares >= 0, "saturated");
            let codes = f64::from(sums.plus - sums.minus) / (2.0 * f64::from(READ.conversions));
            let read = -codes * scale / volts;
            let expected = expected(&truth, index / 8, index % 8);
            worst = worst.max((read / expected - 1.0).abs());
            count += 1;
        }
        assert_eq!(count, 64);
        // Shunt, gain resistor and row resistor 1 % each, switches 30 of 830 Ω, converters 0.7 %: 7.3 % at worst. And an INL of 1.5 codes of
        // 18 (50 mV on 10 µS), common to both polarities for the most part, and noise of 1 code in 32 conversions: 0.2 of 18.
        assert!(worst < 0.073 + 0.05, "seed {seed}: {worst}");
    }
}

#[test]
fn a_pulse_moves_its_cell_and_no_other() {
    for (sign, column) in [(1.0, 3), (-1.0, 4)] {
        let mut talk = armed(2);
        let before = truth(&mut talk);
        let pulse = Pulse { volts: Volts(sign * 0.28), column, ..PULSE };
        assert_eq!(talk.ask(&Request::Pulse(pulse)), Answer::Pulsed);
        let after = truth(&mut talk);
        for ((i, j), &after) in after.indexed_iter() {
            let moved = after / before[(i, j)] - 1.0;
            if (i, j) == (2, usize::from(column)) {
                assert!(moved * f64::from(sign) > 0.001, "{moved}");
            } else {
                assert!(moved.abs() < 1e-9, "{i}, {j}: {moved}");
            }
        }
        assert_eq!(talk.wire.pulses(), 1);
    }
}

#[test]
fn a_grounded_pulse_tells_its_current_and_a_symmetric_one_does_not() {
    let mut instrument = instrument(3);
    instrument.arm(60_000).unwrap();
    let symmetric = instrument.pulse(PULSE).unwrap();
    assert_eq!(symmetric.current_a, None);
    // The other cells of the row see as much: below their thresholds.
    let grounded = Pulse { volts: Volts(0.1), scheme: Scheme::Grounded, ..PULSE };
    let told = instrument.pulse(grounded).unwrap().current_a.unwrap();
    let region = Region { row: 2, column: 3, rows: 1, columns: 1 };
    let settings = ReadSettings { volts: 0.05, range: Some(0), conversions: 64 };
    let read = instrument.read_cells(region, &settings).unwrap().conductance[(0, 0)];
    // One conversion: 1 code of noise, 1.5 of INL and what is left of the zero, of some 31 nA each.
    assert!((told - 0.1 * read).abs() < 6.0 * 31e-9, "{told:e} A, {read:e} S");
    // Too short for the amplifier to settle: no number rather than a wrong one.
    let short = instrument.pulse(Pulse { width: Seconds(100e-6), ..grounded }).unwrap();
    assert_eq!(short.current_a, None);
}

#[test]
fn an_array_is_programmed_into_its_window() {
    let mut instrument = instrument(4);
    instrument.arm(3_600_000).unwrap();
    let order = order("openmena", (8, 8));
    let done = instrument.program(&order, &[], &mut NoBooks, |_| {}).unwrap();
    let inside = done.outcome.iter().filter(|outcome| **outcome == Outcome::Inside).count();
    // 64 cells; five of them may be out of reach of the amplitudes that spare their neighbours.
    assert!(inside >= 59, "{inside} of 64: {:?}", done.outcome);
    assert!(done.pulses.iter().all(|&pulses| pulses <= 200));
}

#[test]
fn products_are_linear_in_the_inputs_and_those_of_the_matrix_that_was_measured() {
    let mut instrument = instrument(5);
    let settings = ProductSettings { range: 0, conversions: 64, interval_ns: 0 };
    let full = 0.05;
    let one_hot = Array2::from_shape_fn((8, 8), |(v, row)| if v == row { full } else { 0.0 });
    let zero = Array2::zeros((1, 8));
    let offset = instrument.mvm(zero.view(), settings, |_| {}).unwrap().currents;
    let columns = instrument.mvm(one_hot.view(), settings, |_| {}).unwrap().currents;
    let matrix = (&columns - &offset.row(0)) / full;
    let input = Array2::from_shape_fn((8, 8), |(v, row)| full * (((v * 5 + row * 3) % 9) as f64 / 4.0 - 1.0));
    let found = instrument.mvm(input.view(), settings, |_| {}).unwrap().currents;
    let exact = input.dot(&matrix) + offset.row(0);
    let full_scale = 8.0 * 50e-6 * full;
    for (found, exact) in found.iter().zip(&exact) {
        // Eight row codes off by half of 0.37 mV, two INLs of 1.5 codes (31 nA), read noise of 0.4 % of sums of 4 µA.
        let allowed = 8.0 * 0.18e-3 * 12e-6 + 3.0 * 31e-9 + 20e-9;
        assert!((found - exact).abs() < allowed, "{:e} A of {full_scale:e}", found - exact);
    }
}

#[test]
fn what_it_cannot_do_is_refused_by_name_and_touches_nothing() {
    let mut talk = armed(1);
    let before = talk.wire.truth();
    let law = |stop| DoseLaw {
        threshold: Volts(0.15),
        reference: Volts(0.25),
        dose: 0.1,
        exponent: 2.0,
        stop: Volts(stop),
    };
    let targets = 10e-6f32.to_le_bytes();
    let program = |algorithm, scheme| {
        Request::Program(Program {
            job: JobId(1),
            region: Region { row: 0, column: 0, rows: 1, columns: 1 },
            targets: &targets,
            window: Siemens(1e-6),
            algorithm,
            width: Seconds(1e-3),
            scheme,
            read_volts: Volts(0.05),
            range: 0,
            conversions: 1,
            max_conversions: 1,
            confirm: 0,
            max_pulses: 10,
            max_reversals: 2,
        })
    };
    let model = Algorithm::Model(Model {
        set: law(0.3),
        reset: law(0.3),
        floor: Siemens(1e-6),
        ceiling: Siemens(50e-6),
        melting: false,
    });
    let stairs = Staircase { start: Volts(0.1), step: Volts(0.01), stop: Volts(0.3) };
    let form = Algorithm::Form(Forming { volts: stairs, widest: Seconds(1e-3), gap: Seconds(0.0) });
    let unsupported = |field| Answer::Refused(Refusal::Unsupported(field));
    for scheme in [Scheme::Half, Scheme::Third, Scheme::Floating] {
        let pulse = Request::Pulse(Pulse { scheme, volts: Volts(0.1), ..PULSE });
        assert_eq!(talk.ask(&pulse), unsupported(Field::Scheme), "{scheme:?}");
        assert_eq!(talk.ask(&program(model, scheme)), unsupported(Field::Scheme), "{scheme:?}");
    }
    assert_eq!(talk.ask(&program(form, Scheme::SymmetricHalf)), unsupported(Field::Algorithm));
    let gate = Request::Pulse(Pulse { gate: Some(Volts(1.0)), ..PULSE });
    assert_eq!(talk.ask(&gate), unsupported(Field::Gate));
    let reference =
        ReadReference { row: 0, column: None, volts: Volts(0.05), range: 0, conversions: 1, interval_ns: 0 };
    assert_eq!(talk.ask(&Request::ReadReference(reference)), unsupported(Field::Source));
    for source in [TraceSource::Open, TraceSource::Reference(0), TraceSource::RowAlone(0)] {
        let trace = Trace {
            job: JobId(2),
            source,
            column: 0,
            columns: 1,
            volts: Volts(0.0),
            range: 0,
            samples: 1,
            summed: 1,
            interval_ns: 100_000,
        };
        assert_eq!(talk.ask(&Request::Trace(trace)), unsupported(Field::Source));
    }
    // Within the limit of a cell, but beyond what a line can be put to.
    let span =
        |answer: &Answer| matches!(answer, Answer::Refused(Refusal::Limit { limit: LimitName::DacSpan, .. }));
    for (volts, scheme) in [(0.45, Scheme::SymmetricHalf), (0.76, Scheme::Grounded)] {
        let answer = talk.ask(&Request::Pulse(Pulse { volts: Volts(volts), scheme, ..PULSE }));
        let half = matches!(answer, Answer::Refused(Refusal::Limit { limit: LimitName::HalfSelect, .. }));
        assert!(span(&answer) || half, "{volts}: {answer:?}");
    }
    let symmetric = talk.ask(&Request::Pulse(Pulse { volts: Volts(0.45), ..PULSE }));
    assert!(span(&symmetric), "{symmetric:?}");
    assert!(matches!(
        talk.ask(&Request::ReadCells(ReadCells { range: 1, ..READ })),
        Answer::Refused(Refusal::Invalid { field: Field::Range, .. })
    ));
    assert!(matches!(
        talk.ask(&Request::ReadCells(ReadCells { volts: Volts(0.2), ..READ })),
        Answer::Refused(Refusal::Limit { limit: LimitName::Read, .. })
    ));
    assert_eq!(talk.wire.truth(), before);
}

#[test]
fn a_bit_turned_over_on_the_bus_never_reaches_the_array() {
    // Of a pulse's two writes the first loads and the second takes away: both with the switches open.
    for (ahead, pulses) in [(0, 0), (1, 1), (2, 1)] {
        for bit in [4, 9, 15] {
            let mut talk = armed(6);
            talk.wire.device.board().row_drivers().unwrap().flips.push((ahead, bit));
            let answer = talk.ask(&Request::Pulse(PULSE));
            let fault = Answer::Refused(Refusal::Fault(FaultCode::Chip));
            assert_eq!(answer, if ahead < 2 { fault } else { Answer::Pulsed }, "{ahead}, {bit}");
            assert_eq!(talk.wire.pulses(), pulses, "{ahead}, {bit}");
            for cell in talk.wire.truth() {
                let selected = (cell.row, cell.col) == (PULSE.row, PULSE.column);
                let allowed = if selected { 0.28 } else { 0.14 } * pulses as f64;
                assert!(cell.max_abs_v <= allowed, "{ahead}, {bit}: {cell:?}");
            }
        }
    }
}

#[test]
fn a_dead_or_restarted_driver_is_a_named_fault() {
    let mut talk = talk(1);
    talk.wire.device.board().row_drivers().unwrap().dead = true;
    assert_eq!(talk.ask(&Request::ReadCells(READ)), Answer::Refused(Refusal::Fault(FaultCode::Bus)));
    talk.wire.device.board().row_drivers().unwrap().dead = false;
    assert_eq!(talk.ask(&Request::ReadCells(READ)), Answer::Refused(Refusal::Faulted(FaultCode::Bus)));
    assert_eq!(talk.ask(&Request::ClearFault(FaultCode::Bus)), Answer::Done);
    assert!(matches!(talk.ask(&Request::ReadCells(READ)), Answer::Other(_)));

    let now_ns = talk.wire.device.board().now_ns().unwrap();
    talk.wire.device.board().brown_out_at(now_ns + 5_000_000);
    let answer = talk.ask(&Request::ReadCells(READ));
    assert!(
        matches!(answer, Answer::Refused(Refusal::Fault(FaultCode::BrownOut | FaultCode::Chip))),
        "{answer:?}"
    );
}

fn any_request() -> impl Strategy<Value = Request<'static>> {
    let scheme = prop_oneof![
        3 => Just(Scheme::SymmetricHalf), 2 => Just(Scheme::Grounded),
        1 => Just(Scheme::Half), 1 => Just(Scheme::Third), 1 => Just(Scheme::Floating)
    ];
    let volts = || prop_oneof![-2.0f32..2.0, -0.5f32..0.5, Just(f32::NAN), Just(0.0)];
    prop_oneof![
        5 => (0u16..9, 0u16..9, volts(), 0.0f32..2e-3, scheme).prop_map(
            |(row, column, volts, width, scheme)| Request::Pulse(Pulse {
                row, column, volts: Volts(volts), width: Seconds(width), scheme, gate: None,
            })
        ),
        1 => (volts(), 0u8..2).prop_map(|(volts, range)| Request::ReadCells(ReadCells {
            volts: Volts(volts), range, conversions: 1, ..READ
        })),
        1 => (0u16..8, volts()).prop_map(|(row, volts)| Request::ReadReference(ReadReference {
            row, column: None, volts: Volts(volts), range: 0, conversions: 1, interval_ns: 0,
        })),
        1 => Just(Request::Safe),
        1 => Just(Request::Arm { milliseconds: 60_000 }),
        1 => Just(Request::CheckChips),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever is asked in whatever order, on whatever board: no selected cell ever sees more than the largest pulse that
    /// was accepted allows, tolerance included, no other more than the scheme leaves it.
    #[test]
    fn no_cell_ever_sees_more_than_its_limit(
        seed in 0u64..1000,
        requests in proptest::collection::vec(any_request(), 1..30),
    ) {
        let mut talk = armed(seed);
        let worst = |volts: f32| f64::from(volts.abs()) * 1.005 + 0.02;
        let mut selected = Array2::from_elem((8, 8), 0.1);
        let mut others = 0.1f64;
        for asked in &requests {
            let answer = talk.ask(asked);
            if let (Request::Pulse(pulse), Answer::Pulsed) = (asked, &answer) {
                prop_assert!(talk_can(pulse.scheme), "{pulse:?}");
                let cell = &mut selected[(usize::from(pulse.row), usize::from(pulse.column))];
                *cell = f64::max(*cell, worst(pulse.volts.0));
                let left = if pulse.scheme == Scheme::Grounded { pulse.volts.0 } else { pulse.volts.0 / 2.0 };
                others = others.max(worst(left));
            }
            for cell in talk.wire.truth() {
                let allowed = others.max(selected[(usize::from(cell.row), usize::from(cell.col))]);
                prop_assert!(cell.max_abs_v <= allowed.min(1.53), "{cell:?} after {asked:?}: {answer:?}");
                prop_assert!(cell.max_abs_v <= 0.775 || selected[(usize::from(cell.row), usize::from(cell.col))] > 0.775);
            }
        }
    }
}

fn talk_can(scheme: Scheme) -> bool {
    matches!(scheme, Scheme::SymmetricHalf | Scheme::Grounded)
}

#[test]
fn a_product_takes_milliseconds_where_its_own_firmware_takes_a_second() {
    let ours = product(1);
    assert!(ours.times(1) < 5.0 && ours.times(8) < 20.0, "{ours:?}");
    assert!(product(20).times(1) < 5.0);
    // What is in no settling and no conversion is bits of I²C at 2.5 µs: eight codes written (38 bits) and read back (48).
    assert!((ours.bus - 8.0 * (38.0 + 48.0) * 2.5e-3).abs() < 1e-6, "{ours:?}");
    assert!((published() - 1045.0).abs() < 1e-9);
}

#[test]
fn the_page_on_timing_has_the_figures_that_are_derived() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/timing.md"));
    for line in shield_timing::table().lines() {
        assert!(page.contains(line), "docs/timing.md lacks: {line}");
    }
}
