//! What `cargo xtask soak` does for half an hour, as far as seconds allow.

use ohmrig_tests::soak::{Length, Options, run};

/// Without stalls, which take real time: nothing here waits for a clock.
const INJECT: &str = "drop=0.03,gap=0.01,corrupt=0.02,truncate=0.01,duplicate=0.03,reorder=0.02,merge=0.02,split=0.02,reset=0.002";

#[test]
fn random_commands_on_a_bad_link_with_failing_chips_break_no_promise() {
    let options = Options { seed: 1, length: Length::Commands(3_000), inject: INJECT.parse().unwrap() };
    let totals = run(&options, |line| println!("{line}")).unwrap_or_else(|violation| panic!("{violation}"));
    // It did what it is for.
    assert!(totals.acknowledged > 500 && totals.unknown > 20 && totals.unknown_applied > 0, "{totals:?}");
    assert!(totals.jobs > 20 && totals.job_pulses > 200 && totals.values > 5_000, "{totals:?}");
    assert!(totals.faults > 20 && totals.power_cycles > 20 && totals.link_faults > 500, "{totals:?}");
}
