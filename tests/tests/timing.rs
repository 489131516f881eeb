//! What `docs/timing.md` says of products on the OR-16, against the emulated board's clock.

use ohmrig_emulator::board::{CHIP_SELECT_GAP_NS, SPI_BIT_NS};
use ohmrig_tests::product_timing::product_ns;

const DAC_FRAME_NS: u64 = 24 * SPI_BIT_NS + CHIP_SELECT_GAP_NS;
const ADC_FRAME_NS: u64 = 144 * SPI_BIT_NS + CHIP_SELECT_GAP_NS;
const CONVERSION_NS: u64 = 1_000;

#[test]
fn converters_are_read_and_rows_confirmed_while_the_rows_settle() {
    // 16 codes, read back with the toggle mask and a last frame for the reply, put out twice; then what confirms it.
    let (stage, put_out, confirm) = (16 + 17 + 1, 2, 6);
    let meanwhile = 2 * ADC_FRAME_NS + confirm * DAC_FRAME_NS;
    // At 100 kΩ, which settles longest; and whose codes aren't all zero, when the converters' settings would be read too.
    assert!(meanwhile > 18_700, "settling is over before that");
    let expected = (stage + put_out) * DAC_FRAME_NS + meanwhile + CONVERSION_NS;
    assert_eq!(product_ns(0), expected);
}
