//! Pulse widths as counts of the timer that makes the edges, and as counts of the one that measures them back.

/// No timer count makes this width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pulse of {width_ns} ns; this timer makes {min_ns} to {max_ns} ns")]
pub struct WidthRange {
    /// Asked for.
    pub width_ns: u32,
    /// Shortest.
    pub min_ns: u32,
    /// Longest.
    pub max_ns: u32,
}

/// A pulse came out with another width than it was asked for, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pulse of {asked_ns} ns was measured back as {measured_ns} ns")]
pub struct WidthMismatch {
    /// Asked for, ns.
    pub asked_ns: u32,
    /// Between the edges at the sense pin, ns; 0 where no pulse was seen.
    pub measured_ns: u32,
}

/// A timer that makes or measures pulses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PulseTimer {
    /// Counts per second.
    pub clock_hz: u32,
    /// Counts of the shortest pulse.
    pub min_counts: u32,
    /// Counts of the longest pulse.
    pub max_counts: u32,
}

impl PulseTimer {
    /// Counts of a pulse of `width_ns`, to the nearest.
    ///
    /// # Errors
    /// A width beyond the timer's range.
    pub const fn counts(&self, width_ns: u32) -> Result<u32, WidthRange> {
        let counts = (width_ns as u64 * self.clock_hz as u64 + 500_000_000) / 1_000_000_000;
        if counts < self.min_counts as u64 || counts > self.max_counts as u64 {
            let (min_ns, max_ns) = (self.width_ns(self.min_counts), self.width_ns(self.max_counts));
            return Err(WidthRange { width_ns, min_ns, max_ns });
        }
        Ok(counts as u32)
    }

    /// Width of so many counts, ns, to the nearest; `u32::MAX` for anything longer.
    pub const fn width_ns(&self, counts: u32) -> u32 {
        let hz = self.clock_hz as u64;
        let ns = (counts as u64 * 1_000_000_000 + hz / 2) / hz;
        if ns > u32::MAX as u64 { u32::MAX } else { ns as u32 }
    }

    /// Whether every width from `min_ns` to `max_ns` can be made, each to 1 % or better.
    pub const fn covers(&self, min_ns: u32, max_ns: u32) -> bool {
        match (self.counts(min_ns), self.counts(max_ns)) {
            // Half a count off at most.
            (Ok(shortest), Ok(_)) => shortest >= 50,
            _ => false,
        }
    }
}

/// Whether a measured width is the one asked for: within 1 % + 200 ns, what a write is accurate to.
///
/// # Errors
/// Both widths, where it isn't.
pub const fn check_width(asked_ns: u32, measured_ns: u32) -> Result<(), WidthMismatch> {
    if asked_ns.abs_diff(measured_ns) <= asked_ns / 100 + 200 {
        Ok(())
    } else {
        Err(WidthMismatch { asked_ns, measured_ns })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As on nucleo-g474re: a 32-bit timer at 160 MHz.
    const TIMER: PulseTimer = PulseTimer { clock_hz: 160_000_000, min_counts: 2, max_counts: u32::MAX };

    #[test]
    fn round_widths_are_exact() {
        for (ns, counts) in [(5_000, 800), (20_000, 3_200), (1_000_000_000, 160_000_000)] {
            assert_eq!(TIMER.counts(ns), Ok(counts));
            assert_eq!(TIMER.width_ns(counts), ns);
        }
    }

    #[test]
    fn what_the_timer_cannot_make_is_refused_with_what_it_can() {
        let short = PulseTimer { max_counts: 0xFFFF, ..TIMER };
        assert_eq!(
            short.counts(1_000_000),
            Err(WidthRange { width_ns: 1_000_000, min_ns: 13, max_ns: 409_594 })
        );
        assert!(TIMER.counts(0).is_err());
    }

    #[test]
    fn a_timer_too_coarse_for_one_percent_does_not_cover_the_range() {
        assert!(TIMER.covers(5_000, 1_000_000_000));
        assert!(!PulseTimer { clock_hz: 1_000_000, ..TIMER }.covers(5_000, 1_000_000_000));
        assert!(!PulseTimer { max_counts: 0xFFFF, ..TIMER }.covers(5_000, 1_000_000_000));
    }

    #[test]
    fn a_missing_pulse_is_a_mismatch() {
        assert_eq!(check_width(20_000, 0), Err(WidthMismatch { asked_ns: 20_000, measured_ns: 0 }));
        assert_eq!(check_width(20_000, 20_400), Ok(()));
        assert_eq!(check_width(20_000, 19_600), Ok(()));
        assert!(check_width(20_000, 20_401).is_err());
    }

    proptest! {
        #[test]
        fn a_width_survives_the_way_to_counts_and_back_to_half_a_count(
            width_ns in 5_000u32..=1_000_000_000,
            clock_hz in 100_000_000u32..=200_000_000,
        ) {
            let timer = PulseTimer { clock_hz, ..TIMER };
            let back = timer.width_ns(timer.counts(width_ns).unwrap());
            // Half a count of 10 ns at most, and half a ns of rounding.
            prop_assert!(back.abs_diff(width_ns) <= 6, "{width_ns} ns came back as {back} ns");
        }
    }
}
