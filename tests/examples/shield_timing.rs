//! Prints how long products take on the OpenMENA shield, as in `docs/timing.md`:
//! `cargo run --profile checked -p ohmrig-tests --example shield_timing`.

use ohmrig_tests::shield_timing::{product, published_link, table};

fn main() {
    print!("{}", table());
    println!("{:.0} ms more on the link of its own firmware, for eight", published_link(8));
    let product = product(1);
    println!(
        "{:.1} ms for eight if the row drivers could take 1 MHz",
        product.times(8) - 0.6 * 8.0 * product.bus
    );
}
