//! Prints the table of programming marks that `docs/programming.md` shows: `cargo run --release -p ohmrig-tests --example
//! programming_marks -- [FIRST_SEED [ARRAYS [SIDE]]]`; a sixteenth of as many large arrays follow the small ones, and SIDE leaves out
//! all but 16 × 16 or 64 × 64. Seeds from 1000 on are for evaluation only; tune on lower ones.

use ohmrig_tests::marks::{Mark, Tally};

/// A mark with what is asked of it.
struct Row {
    mark: Mark,
    /// Mean pulses per cell, at most.
    pulses: f64,
}

const ROWS: [Row; 6] = [
    Row { mark: Mark { profile: "rram-cmo", side: 16, window_percent: 1.0 }, pulses: 5.0 },
    Row { mark: Mark { profile: "rram-cmo", side: 16, window_percent: 0.3 }, pulses: 8.0 },
    Row { mark: Mark { profile: "rram-hfox", side: 16, window_percent: 2.5 }, pulses: 8.52 },
    Row { mark: Mark { profile: "rram-cmo", side: 64, window_percent: 1.0 }, pulses: 5.0 },
    Row { mark: Mark { profile: "rram-cmo", side: 64, window_percent: 0.3 }, pulses: 8.0 },
    Row { mark: Mark { profile: "rram-hfox", side: 64, window_percent: 2.5 }, pulses: 8.52 },
];

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let first = arguments.next().unwrap_or(1000);
    let arrays = arguments.next().unwrap_or(16);
    let side = arguments.next();
    println!(
        "| profile | array | window | seeds | pulses per cell | inside, re-read | 95 % interval | excluded / defective | rms then | rms 1 s later | relaxation alone | ratio | frames | s per array |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for Row { mark, pulses } in ROWS {
        // Sixteen small arrays are one large one.
        let arrays = if mark.side == 16 { arrays } else { arrays / 16 };
        if arrays == 0 || side.is_some_and(|side| side != u64::from(mark.side)) {
            continue;
        }
        let mut tally = Tally::default();
        for seed in first..first + arrays {
            tally.add(&mark.evaluate(seed, |_| {}));
        }
        let (mean, error) = tally.pulses_mean();
        let (inside, low, high) = tally.inside_fraction();
        let (then, later, alone) = tally.errors();
        println!(
            "| `{}` | {side} × {side} | ±{} % | {first}–{} | {mean:.2} ± {:.2} (≤ {pulses}) | {:.2} % | {:.2}–{:.2} % | {} / {} of {} | {:.0} nS | {:.0} nS | {:.0} nS | {:.3} | {} | {:.2} |",
            mark.profile,
            mark.window_percent,
            first + arrays - 1,
            1.96 * error,
            100.0 * inside,
            100.0 * low,
            100.0 * high,
            tally.excluded,
            tally.defective,
            tally.cells,
            1e9 * then,
            1e9 * later,
            1e9 * alone,
            later / alone,
            tally.frames,
            tally.seconds / arrays as f64,
            side = mark.side,
        );
    }
}
