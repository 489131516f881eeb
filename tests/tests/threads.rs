//! Results don't depend on threads: two instruments, each in a thread of its own and both at once, give to the last bit what one
//! gives alone, and so do two solutions of one array.

use ndarray::Array2;
use ohmrig::bench::{Emulation, profile};
use ohmrig::client::Client;
use ohmrig::device::EmulatedDevice;
use ohmrig::instrument::{Instrument, ProductSettings, ReadSettings, TraceOrder};
use ohmrig::transport::InProcess;
use ohmrig_emulator::circuit::array::solve;
use ohmrig_emulator::circuit::wired::Segments;
use ohmrig_emulator::circuit::{CurrentLaw, Wires};
use ohmrig_emulator::random::Random;
use ohmrig_protocol::message::{Pulse, Region, Scheme, TraceSource};
use ohmrig_protocol::units::{Seconds, Volts};
use std::sync::Barrier;

/// Runs the same twice in two threads that start together.
fn both<T: Send>(run: impl Fn() -> T + Sync) -> [T; 2] {
    let together = Barrier::new(2);
    let work = || {
        together.wait();
        run()
    };
    std::thread::scope(|scope| [scope.spawn(work), scope.spawn(work)].map(|thread| thread.join().unwrap()))
}

fn bits<'a>(values: impl IntoIterator<Item = &'a f64>) -> Vec<u64> {
    values.into_iter().map(|value| value.to_bits()).collect()
}

/// The bits of everything that a fresh instrument answers to pulses, reads, products, a trace and waits.
fn session(name: &str, seed: u64) -> Vec<u64> {
    let emulation = Emulation::new(profile(Some(name)).unwrap(), seed);
    let transport = InProcess::new(EmulatedDevice::power_up(&emulation).unwrap());
    let mut instrument = Instrument::new(Client::connect(Box::new(transport), "emulated").unwrap());
    let (rows, columns) = (instrument.device().rows, instrument.device().columns);
    let whole = Region { row: 0, column: 0, rows, columns };
    let read = ReadSettings { volts: 0.2, range: Some(0), conversions: 4 };
    let products = ProductSettings { range: 0, conversions: 2, interval_ns: 0 };
    let volts = Array2::from_shape_fn((8, usize::from(rows)), |(vector, row)| {
        0.02 * ((3 * vector + 7 * row) % 9) as f64 - 0.08
    });
    let mut found = Vec::new();
    for round in 0..3 {
        instrument.arm(10_000).unwrap();
        for at in 0..6 {
            let sign = if (round + at) % 2 == 0 { 1.0 } else { -1.0 };
            let pulse = Pulse {
                row: (5 * at) % rows,
                column: (3 * at + round) % columns,
                volts: Volts(sign * 1.4),
                width: Seconds(100e-6),
                scheme: Scheme::Half,
                gate: None,
            };
            let pulsed = instrument.pulse(pulse).unwrap();
            // No current is as telling as a current.
            found.push(pulsed.current_a.map_or(u64::MAX, f64::to_bits));
            found.push(pulsed.at_ns);
            found.push(pulsed.peak_v.to_bits());
        }
        instrument.safe().unwrap();
        found.extend(bits(&instrument.read_cells(whole, &read).unwrap().conductance));
        found.extend(bits(&instrument.mvm(volts.view(), products, |_| {}).unwrap().currents));
        let order = TraceOrder {
            source: TraceSource::Row(2),
            volts: 0.2,
            column: 1,
            columns: 3,
            range: 0,
            samples: 500,
            interval_ns: 50_000,
            averaged: 1,
        };
        let traces = instrument.trace(&order, |_| {}).unwrap();
        found.push(traces.at_ns);
        found.extend(traces.codes.iter().flat_map(bits));
        instrument.wait(3600.0, |_| {}).unwrap();
        found.push(instrument.status().unwrap().at_ns);
    }
    found
}

#[test]
fn two_instruments_at_once_answer_as_one_alone() {
    for name in ["rram-cmo", "pcm"] {
        let alone = session(name, 11);
        // Three rounds of 256 conductances, 8 × 16 currents and 3 × 500 codes, and not the same ones for each seed.
        assert!(alone.len() > 3 * (256 + 128 + 1500));
        assert_ne!(alone, session(name, 12), "{name}");
        for (thread, at_once) in both(|| session(name, 11)).into_iter().enumerate() {
            assert_eq!(at_once, alone, "{name}, thread {thread}");
        }
    }
}

#[test]
fn an_array_solved_in_two_threads_at_once_has_the_currents_of_one() {
    // Enough cells and vectors for the coarse array and for a batch.
    let n = 128;
    let mut random = Random::new(21, 0);
    let g: Vec<f64> = (0..n * n).map(|_| 1e-6 + 99e-6 * random.uniform()).collect();
    let v: Vec<f64> = (0..n * 20).map(|_| 0.5 * random.uniform()).collect();
    let wires = Wires::Resistive { row: Segments::Uniform(1.0), column: Segments::Uniform(1.0) };
    for law in [CurrentLaw::Linear, CurrentLaw::Sinh { v0_v: 0.25 }] {
        for vectors in [1, 20] {
            let run = || bits(&solve(&g, n, &v[..n * vectors], law, &wires, 1e-9).unwrap().currents);
            let alone = run();
            assert_eq!(alone.len(), n * vectors);
            for at_once in both(run) {
                assert_eq!(at_once, alone, "{law:?}, {vectors} vectors");
            }
        }
    }
}
