//! How long the circuit solver takes, conductances in, currents out (factorisation included), one thread, to 1e-9 of
//! every output current, in memory that was used before. Devices are log-uniform from 1 to 100 µS, inputs uniform to 0.2 V (sinh: 0.5 V).

#![allow(missing_docs)]

use divan::{Bencher, black_box};
use ohmrig_emulator::circuit::array::solve_in;
use ohmrig_emulator::circuit::wired::{Segments, Workspace};
use ohmrig_emulator::circuit::{CurrentLaw, Line, Wires};
use ohmrig_emulator::crossbar::{Crossbar, Lines};
use ohmrig_emulator::profile::Profile;
use ohmrig_emulator::random::Random;

fn main() {
    divan::main();
}

fn wires(ohm: f64) -> Wires {
    Wires::Resistive { row: Segments::Uniform(ohm), column: Segments::Uniform(ohm) }
}

fn problem(n: usize, vectors: usize, highest: f64) -> (Vec<f64>, Vec<f64>) {
    let mut random = Random::new(1234, n as u64);
    let g = (0..n * n).map(|_| libm::pow(10.0, -6.0 + 2.0 * random.uniform())).collect();
    let v = (0..n * vectors).map(|_| highest * random.uniform()).collect();
    (g, v)
}

fn run(bencher: Bencher<'_, '_>, n: usize, vectors: usize, law: CurrentLaw, ohm: f64) {
    let (g, v) = problem(n, vectors, if law == CurrentLaw::Linear { 0.2 } else { 0.5 });
    let wires = wires(ohm);
    let mut workspace = Workspace::default();
    bencher.bench_local(|| {
        solve_in(&mut workspace, black_box(&g), n, black_box(&v), law, &wires, 1e-9).unwrap()
    });
}

#[divan::bench(args = [32, 64, 128, 256, 512])]
fn linear_1_ohm(bencher: Bencher<'_, '_>, n: usize) {
    run(bencher, n, 1, CurrentLaw::Linear, 1.0);
}

#[divan::bench(args = [32, 64, 128, 256, 512])]
fn linear_5_ohm(bencher: Bencher<'_, '_>, n: usize) {
    run(bencher, n, 1, CurrentLaw::Linear, 5.0);
}

#[divan::bench(args = [32, 64, 128, 256, 512])]
fn sinh_1_ohm(bencher: Bencher<'_, '_>, n: usize) {
    run(bencher, n, 1, CurrentLaw::Sinh { v0_v: 0.25 }, 1.0);
}

#[divan::bench(args = [32, 64, 128, 256])]
fn linear_1_ohm_64_vectors(bencher: Bencher<'_, '_>, n: usize) {
    run(bencher, n, 64, CurrentLaw::Linear, 1.0);
}

/// One MVM of the emulated array as the board asks for it: new row voltages, held and sampled with noise.
fn mvm(bencher: Bencher<'_, '_>, n: usize, ohm: f64) {
    let mut device = Profile::built_in(Profile::DEFAULT).unwrap().device;
    (device.wires.row_segment_ohm, device.wires.column_segment_ohm) = (ohm, ohm);
    let mut array = Crossbar::new(n, n, &device, 1).unwrap();
    let columns = vec![Line::Driven { volts: 0.0, ohms: 1.5 }; n];
    let mut random = Random::new(2, 0);
    let mut currents = vec![0.0; n];
    let mut at_ns = 0;
    bencher.bench_local(|| {
        let rows: Vec<Line> =
            (0..n).map(|_| Line::Driven { volts: 0.2 * random.uniform(), ohms: 103.0 }).collect();
        let lines = Lines { rows: &rows, columns: &columns };
        array.hold(&lines, at_ns, at_ns + 10_000).unwrap();
        at_ns += 10_000;
        array.sample(&lines, at_ns, &mut currents).unwrap();
        currents[0]
    });
}

#[divan::bench(args = [1, 16, 64, 256], sample_count = 500)]
fn mvm_ideal_wires(bencher: Bencher<'_, '_>, n: usize) {
    mvm(bencher, n, 0.0);
}

#[divan::bench(args = [16, 64, 256], sample_count = 500)]
fn mvm_1_ohm_wires(bencher: Bencher<'_, '_>, n: usize) {
    mvm(bencher, n, 1.0);
}
