use super::super::synthetic::{coloured, telegraph};
use super::*;

const SPACING_S: f64 = 1e-3;
const SAMPLING: Sampling = Sampling { interval_s: SPACING_S, averaged: 1 };

/// Background of the given white and 1/f densities, and traps of (step, dwell times in lower and upper level).
fn trace(count: usize, white: f64, flicker: f64, traps: &[(f64, [f64; 2])], seed: u64) -> Vec<f64> {
    let mut samples = coloured(count, SPACING_S, seed, |f| flicker / f + white);
    for (index, &(step, dwell_s)) in traps.iter().enumerate() {
        let states = telegraph(count, SPACING_S, dwell_s, seed ^ (index as u64 + 1) << 32);
        for (x, upper) in samples.iter_mut().zip(states) {
            *x += step * f64::from(u8::from(upper));
        }
    }
    samples
}

fn find(samples: &[f64]) -> TelegraphFit {
    fit(samples, &SAMPLING, |_| false).unwrap()
}

/// How often a quantity's 95 % interval contains the truth, and its bias in standard uncertainties.
#[derive(Default)]
struct Tally(f64, f64, f64);

impl Tally {
    fn add(&mut self, estimate: Estimate, truth: f64) {
        self.0 += f64::from(u8::from(estimate.covers(truth, 0.95)));
        self.1 += (estimate.value - truth) / estimate.standard_uncertainty;
        self.2 += 1.0;
    }

    /// 90 to 99 %, and bias below 0.2 standard uncertainties, each with 3.5 standard errors of so many seeds.
    fn check(&self, what: &str) {
        let Self(inside, deviations, n) = *self;
        let low = 0.90 - 3.5 * (0.90 * 0.10 / n).sqrt();
        assert!(inside / n >= low, "{what}: {inside} of {n} contain the truth");
        assert!((deviations / n).abs() < 0.2 + 3.5 / n.sqrt(), "{what}: bias {}", deviations / n);
    }
}

/// One trap of step 1 on a background, with this many seeds: how its step and its dwell times are covered. `each` looks at every
/// trap that is found.
fn one_trap(seeds: u64, white: f64, flicker: f64, each: impl Fn(&Trap)) -> [Tally; 3] {
    let mut tallies: [Tally; 3] = Default::default();
    let mut wrong = 0;
    for seed in 0..seeds {
        let found = find(&trace(8192, white, flicker, &[(1.0, [0.02, 0.04])], seed));
        let [trap] = found.traps.as_slice() else {
            wrong += 1;
            continue;
        };
        each(trap);
        let [step, lower, upper] = &mut tallies;
        step.add(trap.amplitude, 1.0);
        lower.add(trap.ln_dwell_s[0], 0.02_f64.ln());
        upper.add(trap.ln_dwell_s[1], 0.04_f64.ln());
    }
    assert!(
        wrong <= seeds / 12,
        "white {white}, 1/f {flicker}: {wrong} of {seeds} with another number of traps"
    );
    tallies
}

#[test]
fn step_and_dwell_times_of_one_trap_are_covered_on_white_background() {
    // White of deviation 0.25.
    let [step, lower, upper] =
        one_trap(16, 1.25e-4, 0.0, |trap| assert!(trap.doubts.is_empty(), "{:?}", trap.doubts));
    step.check("step");
    lower.check("lower dwell");
    upper.check("upper dwell");
}

#[test]
fn step_and_dwell_times_are_covered_on_flicker_background() {
    let [step, lower, upper] = one_trap(16, 2e-5, 9e-3, |trap| {
        assert!(trap.is_reliable(), "{:?}", trap.doubts);
    });
    lower.check("lower dwell");
    upper.check("upper dwell");
    step.check("step");
}

#[test]
fn two_traps_are_told_apart() {
    let (mut wrong, mut slow, mut fast) = (0, Tally::default(), Tally::default());
    for seed in 0..6 {
        let found = find(&trace(16_384, 2e-5, 0.0, &[(1.0, [0.1, 0.15]), (0.5, [0.015, 0.03])], seed));
        if found.traps.len() != 2 {
            wrong += 1;
            continue;
        }
        slow.add(found.traps[0].amplitude, 1.0);
        fast.add(found.traps[1].amplitude, 0.5);
    }
    assert!(wrong <= 1, "{wrong} of 6 with another number of traps");
    slow.check("larger step");
    fast.check("smaller step");
}

#[test]
fn flicker_noise_alone_shows_no_trap() {
    let invented: usize = (0..18)
        .map(|seed| {
            let level = [1e-3, 1e-2, 1e-4][seed as usize % 3];
            find(&trace(4096, 1e-4, level, &[], seed)).traps.len()
        })
        .sum();
    assert_eq!(invented, 0);
}

#[test]
fn a_trap_that_hardly_switches_or_hardly_shows_is_doubted() {
    let rare = find(&trace(8192, 1e-4, 0.0, &[(1.0, [1.0, 1.5])], 1));
    assert_eq!(rare.traps.len(), 1);
    assert_eq!(rare.traps[0].doubts, [Doubt::Rare]);
    let small = find(&trace(16_384, 1e-3, 0.0, &[(1.0, [0.05, 0.05])], 2));
    assert_eq!(small.traps.len(), 1);
    assert_eq!(small.traps[0].doubts, [Doubt::Small]);
}

#[test]
fn the_path_follows_the_trap() {
    let states = telegraph(8192, SPACING_S, [0.05, 0.05], 5 ^ 1 << 32);
    let found = find(&trace(8192, 2e-5, 0.0, &[(1.0, [0.05, 0.05])], 5));
    let agree = found.path.iter().zip(states).filter(|(level, upper)| (**level > 0.5) == *upper).count();
    // A step of ten standard deviations: wrong only where a sample falls into the switching, and never that.
    assert!(agree >= 8190, "{agree}");
}
