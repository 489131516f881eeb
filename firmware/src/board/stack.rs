//! How much of the stack has ever been used, from the paint it was given before the start.

/// What unused words hold (`STACK_PAINT_VALUE` of cortex-m-rt's `paint-stack`).
pub const PAINT: u32 = 0xcccc_cccc;

/// Bytes used at most: all but the unbroken paint at the stack's low end. `words` is the whole stack, lowest address
/// first.
pub fn high_water_bytes(words: impl ExactSizeIterator<Item = u32>) -> usize {
    let all = words.len();
    let untouched = words.take_while(|word| *word == PAINT).count();
    (all - untouched) * size_of::<u32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_the_lowest_word_ever_written() {
        assert_eq!(high_water_bytes([PAINT, PAINT, 7, PAINT, 0].into_iter()), 12);
        assert_eq!(high_water_bytes([PAINT; 4].into_iter()), 0);
        assert_eq!(high_water_bytes([1, PAINT].into_iter()), 8);
    }
}
