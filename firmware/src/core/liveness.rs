//! Whether the loop that runs the core gets somewhere: what feeds the hardware watchdog, and what doesn't.

use super::Next;

/// Polls without any sign of progress after which the watchdog is no longer fed. Progress between two waits takes a
/// dozen polls; a 256 × 256 board's bring-up some two hundred.
const BARREN_POLLS: u32 = 10_000;

/// Watches the loop. A call into the hardware that never returns needs no watching: then nothing feeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Liveness {
    instrument_ns: u64,
    barren: u32,
}

impl Liveness {
    /// To be told of every poll: what it said, the instrument time before it, and how many bytes were taken and sent
    /// around it. Whether the loop is alive: idle by the core's own word, or moving time or bytes.
    #[must_use]
    pub fn observe(&mut self, next: Next, instrument_ns: u64, bytes: usize) -> bool {
        if next == Next::Idle || instrument_ns != self.instrument_ns || bytes > 0 {
            *self = Self { instrument_ns, barren: 0 };
        }
        self.barren = self.barren.saturating_add(1);
        self.barren <= BARREN_POLLS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_polls_on_without_time_or_bytes_moving_is_not_alive() {
        let mut liveness = Liveness::default();
        assert!((0..BARREN_POLLS).all(|_| liveness.observe(Next::Ready, 5, 0)));
        assert!(!liveness.observe(Next::WaitUntil(9), 5, 0));
        assert!(liveness.observe(Next::Ready, 5, 1));
    }

    #[test]
    fn idling_and_working_are_alive() {
        let mut liveness = Liveness::default();
        assert!((0..3 * BARREN_POLLS).all(|_| liveness.observe(Next::Idle, 5, 0)));
        assert!((0..3 * u64::from(BARREN_POLLS)).all(|ns| liveness.observe(Next::Ready, ns, 0)));
    }
}
