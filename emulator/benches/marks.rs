//! Ratios of solution times: growth with size, many vectors over one, nonlinear over linear devices. All cases run in turn, round
//! after round, so that a machine that slows down slows all of them; a ratio is the median over the rounds of the ratios within
//! each. Times are the thread's own where Linux tells them, so that a busy machine does no harm; wall times elsewhere. One thread, 1 Ω per segment, to 1e-9 of every output current, factorisation included, memory kept between
//! solutions. Devices are log-uniform from 1 to 100 µS, inputs uniform to 0.2 V (sinh with V0 = 0.25 V: to 0.5 V).

#![allow(missing_docs)]

mod processor;

use std::hint::black_box;
use std::time::Instant;

use ohmrig_emulator::circuit::array::solve_in;
use ohmrig_emulator::circuit::wired::{Segments, Workspace};
use ohmrig_emulator::circuit::{CurrentLaw, Wires};
use ohmrig_emulator::random::Random;

const ROUNDS: usize = 31;
const SIZES: [usize; 5] = [32, 64, 128, 256, 512];

struct Case {
    n: usize,
    vectors: usize,
    law: CurrentLaw,
    conductance: Vec<f64>,
    volts: Vec<f64>,
    workspace: Workspace,
    /// Solutions per round, so that small arrays are timed over a while.
    repeats: usize,
    /// Of each round (s).
    seconds: Vec<f64>,
    iterations: u32,
}

impl Case {
    fn new(n: usize, vectors: usize, law: CurrentLaw) -> Self {
        let mut random = Random::new(1234, n as u64);
        let highest = if law == CurrentLaw::Linear { 0.2 } else { 0.5 };
        Self {
            n,
            vectors,
            law,
            conductance: (0..n * n).map(|_| libm::pow(10.0, -6.0 + 2.0 * random.uniform())).collect(),
            volts: (0..n * vectors).map(|_| highest * random.uniform()).collect(),
            workspace: Workspace::default(),
            repeats: (1 << 16) / (n * n * vectors) + 1,
            seconds: Vec::new(),
            iterations: 0,
        }
    }

    fn solve(&mut self) {
        let wires = Wires::Resistive { row: Segments::Uniform(1.0), column: Segments::Uniform(1.0) };
        let (g, v) = (black_box(&self.conductance), black_box(&self.volts));
        let solved = solve_in(&mut self.workspace, g, self.n, v, self.law, &wires, 1e-9).unwrap();
        self.iterations = black_box(solved).convergence.iterations;
    }

    fn round(&mut self) {
        // What the other cases have pushed out of the caches comes back.
        self.solve();
        let (start, busy) = (Instant::now(), processor::seconds());
        for _ in 0..self.repeats {
            self.solve();
        }
        let wall = start.elapsed().as_secs_f64();
        let seconds = processor::seconds().zip(busy).map_or(wall, |(now, before)| now - before);
        self.seconds.push(seconds / self.repeats as f64);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Median over the rounds of what `of` makes of the times of two cases in one round.
fn paired(a: &Case, b: &Case, of: impl Fn(f64, f64) -> f64) -> f64 {
    median(a.seconds.iter().zip(&b.seconds).map(|(a, b)| of(*a, *b)).collect())
}

fn main() {
    let sinh = CurrentLaw::Sinh { v0_v: 0.25 };
    let mut cases: Vec<Case> = SIZES.iter().map(|&n| Case::new(n, 1, CurrentLaw::Linear)).collect();
    cases.extend(SIZES.iter().map(|&n| Case::new(n, 1, sinh)));
    cases.extend([Case::new(128, 2, CurrentLaw::Linear), Case::new(128, 64, CurrentLaw::Linear)]);
    for _ in 0..ROUNDS {
        cases.iter_mut().for_each(Case::round);
    }
    println!("{ROUNDS} rounds\n    n  vectors  devices  iterations  median ms     min ms");
    for case in &cases {
        let devices = if case.law == CurrentLaw::Linear { "linear" } else { "sinh" };
        let least = case.seconds.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "{:5} {:8}  {devices:>7} {:11} {:10.4} {:10.4}",
            case.n,
            case.vectors,
            case.iterations,
            1e3 * median(case.seconds.clone()),
            1e3 * least,
        );
    }
    let (linear, rest) = cases.split_at(SIZES.len());
    let (sinh, batches) = rest.split_at(SIZES.len());
    let cells = |case: &Case| (case.n * case.n) as f64;
    let (small, large) = (&linear[1], &linear[4]);
    let power = paired(small, large, |a, b| libm::log(b / a)) / libm::log(cells(large) / cells(small));
    println!("\n64² to 512²: cells^{power:.3} (mark: 1.25)");
    for (linear, sinh) in linear.iter().zip(sinh) {
        println!("sinh over linear, {}: {:.1} (mark: 10)", linear.n, paired(linear, sinh, |a, b| b / a));
    }
    let (one, two, many) = (&linear[2], &batches[0], &batches[1]);
    println!("64 vectors at 128 × 128 over one: {:.1} (mark: 8)", paired(one, many, |a, b| b / a));
    let more = paired(one, two, |a, b| b - a);
    println!(
        "64 vectors at 128 × 128 over one more of a factorised array: {:.1}",
        median(many.seconds.clone()) / more
    );
}
