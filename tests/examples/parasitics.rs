//! Prints the table of parasitic errors that `docs/calibration.md` shows: `cargo run --release -p ohmrig-tests --example parasitics --
//! [FIRST_SEED [ARRAYS [SIDE]]]`, after `cargo build --release -p ohmrig`. Seeds from 1000 on are for evaluation only.

use ohmrig_tests::parasitics::{Experiment, LINE_OHMS};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u16>().expect("a number"));
    let first = arguments.next().unwrap_or(1000);
    let arrays = arguments.next().unwrap_or(1);
    let side = arguments.next().unwrap_or(64);
    println!(
        "| devices | array | seed | before | after | before / after | with ideal lines | lines alone, at most | before / that | \
         products | of which noise | uncorrected | pulses per cell | excluded |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for seed in first..first + arrays {
        for (devices, window_percent) in [("ideal", 0.3), ("rram-cmo", 1.0)] {
            let lines = Experiment { devices, side, window_percent, seed: seed.into(), line_ohms: LINE_OHMS };
            let found = lines.evaluate();
            let ideal = Experiment { line_ohms: 0.0, ..lines }.evaluate();
            // What lines leave adds to what is there without them. Either square is known to √(2/n) from n cells, so with 95 % the
            // difference is at most 1.645 standard deviations above what is found, or above none.
            let n = f64::from(side).powi(2);
            let u = (2.0 / n).sqrt() * (found.after.powi(4) + ideal.after.powi(4)).sqrt();
            let alone = ((found.after.powi(2) - ideal.after.powi(2)).max(0.0) + 1.645 * u).sqrt();
            println!(
                "| `{devices}` | {side} × {side} | {seed} | {:.2} % | {:.3} % | {:.0} | {:.3} % | {:.3} % | {:.0} | {:.3} % | {:.3} % | \
                 {:.1} % | {:.1} | {} |",
                100.0 * found.before,
                100.0 * found.after,
                found.before / found.after,
                100.0 * ideal.after,
                100.0 * alone,
                found.before / alone,
                100.0 * found.products.0,
                100.0 * found.products.1,
                100.0 * found.products_raw,
                found.pulses,
                found.given_up
            );
        }
    }
}
