//! A 64-bit clock from a counter of 32 bits that wraps.

/// Counts since the start, from a counter that wraps; right as long as it is asked more often than the counter wraps.
#[derive(Clone, Copy, Debug, Default)]
pub struct CycleClock {
    counts: u64,
}

impl CycleClock {
    /// At zero.
    pub const fn new() -> Self {
        Self { counts: 0 }
    }

    /// Counts since the start; `counter` is what the hardware shows now.
    pub fn counts(&mut self, counter: u32) -> u64 {
        // The low half of what was last read, by intent.
        #[allow(clippy::cast_possible_truncation)]
        let passed = counter.wrapping_sub(self.counts as u32);
        self.counts = self.counts.wrapping_add(u64::from(passed));
        self.counts
    }
}

/// `counts` of a clock of `clock_hz`, in ns, rounded down. For less than 2⁶⁴ ns (584 years).
pub const fn to_ns(counts: u64, clock_hz: u32) -> u64 {
    let hz = clock_hz as u64;
    // Whole seconds apart, so that nothing overflows.
    counts / hz * 1_000_000_000 + counts % hz * 1_000_000_000 / hz
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_counter_goes_on() {
        let mut clock = CycleClock::new();
        assert_eq!(clock.counts(0xFFFF_FF00), 0xFFFF_FF00);
        assert_eq!(clock.counts(0x10), 0x1_0000_0010);
        assert_eq!(clock.counts(0x10), 0x1_0000_0010);
        assert_eq!(clock.counts(0xF), 0x2_0000_000F);
    }

    #[test]
    fn counts_become_ns_without_overflow_and_without_drift() {
        assert_eq!(to_ns(160, 160_000_000), 1_000);
        assert_eq!(to_ns(1, 150_000_000), 6);
        // A year at 160 MHz.
        let seconds = 365 * 86_400;
        assert_eq!(to_ns(seconds * 160_000_000, 160_000_000), seconds * 1_000_000_000);
    }
}
