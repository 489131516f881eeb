//! The loop that runs the core on a microcontroller: bytes in, one step, bytes out, and sleep while there is nothing
//! to do. The same on boards, with the emulator on board, and in QEMU.

use super::log_ring::LogBatch;
use crate::bench_hardware::BenchHardware;
use crate::core::{Core, Liveness, Next, Now};
use crate::front_end::FrontEnd;
use crate::hardware::{Watchdog, WithFlash};
use ohmrig_protocol::bench::Bench;

/// Longest sleep, ns of link time, so that the core sees to its watchdogs.
pub const IDLE_NS: u64 = 10_000_000;

/// The processor with its link to the host and its watchdog.
pub trait Station: Watchdog {
    /// The link clock, ns: real time since the start.
    fn link_ns(&mut self) -> u64;
    /// Copies what has arrived, as much as fits into `into`, and returns how many bytes that is. Never waits.
    fn read(&mut self, into: &mut [u8]) -> usize;
    /// Takes bytes from the front of `bytes` for sending, and returns how many. Never waits.
    fn write(&mut self, bytes: &[u8]) -> usize;
    /// Moves log records into `into`, as many whole ones as fit. Never waits. None where nothing collects them.
    fn take_log(&mut self, into: &mut [u8]) -> LogBatch {
        let _ = into;
        LogBatch::default()
    }
    /// Sleeps until bytes have arrived or room to send has come, at the latest until the link clock shows `until_ns`.
    fn sleep(&mut self, until_ns: u64);
}

/// The instrument clock: real time on boards, the bench's own where there is a bench.
pub trait InstrumentClock {
    /// What can go wrong: a bench that is gone.
    type Error;
    /// Now, ns.
    fn now_ns(&mut self) -> Result<u64, Self::Error>;
    /// Lets time pass towards `at_ns`. May return early, to be called again; never late by more than it takes to return.
    fn wait_towards_ns(&mut self, at_ns: u64) -> Result<(), Self::Error>;
}

impl<B: Bench> InstrumentClock for BenchHardware<B> {
    type Error = B::Error;

    fn now_ns(&mut self) -> Result<u64, B::Error> {
        Self::now_ns(self)
    }

    fn wait_towards_ns(&mut self, at_ns: u64) -> Result<(), B::Error> {
        self.wait_until_ns(at_ns)
    }
}

impl<H: InstrumentClock, F> InstrumentClock for WithFlash<H, F> {
    type Error = H::Error;

    fn now_ns(&mut self) -> Result<u64, H::Error> {
        self.hardware.now_ns()
    }

    fn wait_towards_ns(&mut self, at_ns: u64) -> Result<(), H::Error> {
        self.hardware.wait_towards_ns(at_ns)
    }
}

/// What one turn leaves to the next: bytes from the host that the core has no room for yet, and whether it gets somewhere.
#[derive(Debug)]
pub struct Turn {
    incoming: [u8; 512],
    filled: usize,
    liveness: Liveness,
}

impl Default for Turn {
    fn default() -> Self {
        Self { incoming: [0; 512], filled: 0, liveness: Liveness::default() }
    }
}

impl Turn {
    /// One turn of the loop. Not inlined into it: the compiler would keep every address that a turn needs on the stack, from
    /// one turn to the next.
    ///
    /// # Errors
    /// The instrument clock's.
    #[inline(never)]
    pub fn once<F: FrontEnd, C: InstrumentClock>(
        &mut self,
        core: &mut Core<'_>,
        front_end: &mut F,
        clock: impl Fn(&mut F) -> &mut C,
        station: &mut impl Station,
    ) -> Result<(), C::Error> {
        self.filled += station.read(self.incoming.get_mut(self.filled..).unwrap_or_default());
        let link_ns = station.link_ns();
        let taken = core.receive(self.incoming.get(..self.filled).unwrap_or_default(), link_ns);
        if taken > 0 {
            self.incoming.copy_within(taken..self.filled, 0);
            self.filled -= taken;
        }

        let instrument_ns = clock(front_end).now_ns()?;
        let next = core.poll(Now { instrument_ns, link_ns }, front_end);

        core.send_log(|into| station.take_log(into));
        let sent = station.write(core.outgoing());
        let answered = core.sent(sent);
        if self.liveness.observe(next, instrument_ns, taken + answered) {
            station.feed();
        }
        match next {
            Next::Ready => {}
            Next::WaitUntil(at_ns) => clock(front_end).wait_towards_ns(at_ns)?,
            // Bytes that are held back are taken once the core has room, which it had to be polled for.
            Next::Idle if taken > 0 || sent > 0 => {}
            Next::Idle => station.sleep(link_ns + IDLE_NS),
        }
        Ok(())
    }
}

/// Turns for ever, or until the instrument clock fails.
pub fn serve<F: FrontEnd, C: InstrumentClock>(
    core: &mut Core<'_>,
    front_end: &mut F,
    clock: impl Fn(&mut F) -> &mut C,
    station: &mut impl Station,
) -> C::Error {
    let mut turn = Turn::default();
    loop {
        if let Err(error) = turn.once(core, front_end, &clock, station) {
            return error;
        }
    }
}
