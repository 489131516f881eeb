//! Where an image's defmt records go: to the host over the link, and, with the feature `rtt`, to a debug probe. Neither is ever
//! waited for. All `unsafe` of it is in this file: what defmt's contract asks for, and the name RTT is found by.
#![no_std]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo)]

use core::cell::{Cell, RefCell};

use critical_section::{CriticalSection, Mutex, RestoreState};
use ohmrig_firmware::board::log_ring::{LogBatch, LogRing};

/// Records that wait for the host: what is said at a start, before anybody asks, and some.
const LINK_BYTES: usize = 1024;

#[cfg(feature = "rtt")]
mod rtt {
    use core::sync::atomic::AtomicU8;
    use ohmrig_firmware::board::rtt::ControlBlock;

    const BYTES: usize = 1024;
    static BUFFER: [AtomicU8; BYTES] = [const { AtomicU8::new(0) }; BYTES];

    // SAFETY: no other symbol has this name, which is how probes find the block.
    #[unsafe(export_name = "_SEGGER_RTT")]
    #[used]
    pub(crate) static BLOCK: ControlBlock<BYTES> = ControlBlock::new(&BUFFER);
}

/// Both ways a record goes.
struct Ways {
    link: LogRing<LINK_BYTES>,
    #[cfg(feature = "rtt")]
    probe: ohmrig_firmware::board::rtt::Writer,
}

impl Ways {
    fn push(&mut self, bytes: &[u8]) {
        self.link.push(bytes);
        #[cfg(feature = "rtt")]
        self.probe.push(&rtt::BLOCK, bytes);
    }

    fn close(&mut self) {
        self.link.close();
        #[cfg(feature = "rtt")]
        self.probe.close(&rtt::BLOCK);
    }
}

struct Log {
    encoder: defmt::Encoder,
    ways: Ways,
}

static LOG: Mutex<RefCell<Log>> = Mutex::new(RefCell::new(Log {
    encoder: defmt::Encoder::new(),
    ways: Ways {
        link: LogRing::new(),
        #[cfg(feature = "rtt")]
        probe: ohmrig_firmware::board::rtt::Writer::new(),
    },
}));

/// Records begun and not ended: 0 or 1, unless a value that is logged logs itself.
static DEPTH: Mutex<Cell<u8>> = Mutex::new(Cell::new(0));

/// How interrupts were before the record being written.
static RESTORE: Mutex<Cell<RestoreState>> = Mutex::new(Cell::new(RestoreState::invalid()));

/// Gives the time of a record, µs since the start.
#[allow(clippy::type_complexity)]
static CLOCK: Mutex<Cell<Option<fn() -> u64>>> = Mutex::new(Cell::new(None));

defmt::timestamp!("{=u64:us}", {
    let clock = critical_section::with(|cs| CLOCK.borrow(cs).get());
    clock.map_or(0, |now_us| now_us())
});

/// From here on records carry the time, µs since the start; 0 before.
pub fn set_clock(now_us: fn() -> u64) {
    critical_section::with(|cs| CLOCK.borrow(cs).set(Some(now_us)));
}

/// Moves records for the host into `into`, as many whole ones as fit.
pub fn take(into: &mut [u8]) -> LogBatch {
    critical_section::with(|cs| with_log(cs, |log| log.ways.link.take(into))).unwrap_or_default()
}

/// `None` is impossible: whoever has it is in a critical section and calls nothing that logs.
fn with_log<T>(cs: CriticalSection<'_>, work: impl FnOnce(&mut Log) -> T) -> Option<T> {
    LOG.borrow(cs).try_borrow_mut().ok().map(|mut log| work(&mut log))
}

#[defmt::global_logger]
struct Logger;

// SAFETY: between `acquire` and `release` there is a critical section, so that no record is written into another; one within
// another, by a value that logs while it is logged, is dropped and counted.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // SAFETY: `release` ends it, as often as it was begun and in the opposite order, as defmt promises.
        let restore = unsafe { critical_section::acquire() };
        // SAFETY: it has just begun.
        let cs = unsafe { CriticalSection::new() };
        let depth = DEPTH.borrow(cs).get();
        DEPTH.borrow(cs).set(depth.saturating_add(1));
        if depth == 0 {
            RESTORE.borrow(cs).set(restore);
            // The delimiter that the encoder begins a stream with is an empty record.
            with_log(cs, |log| log.encoder.start_frame(|bytes| log.ways.push(bytes)));
        } else {
            // Still within the outer record's critical section: there is nothing to restore.
            with_log(cs, |log| log.ways.link.drop_one());
        }
    }

    unsafe fn flush() {
        // Nothing waits for a host or a probe.
    }

    unsafe fn release() {
        // SAFETY: defmt calls this after `acquire`, within the critical section that that began.
        let cs = unsafe { CriticalSection::new() };
        let depth = DEPTH.borrow(cs).get();
        DEPTH.borrow(cs).set(depth.saturating_sub(1));
        if depth == 1 {
            with_log(cs, |log| {
                log.encoder.end_frame(|bytes| log.ways.push(bytes));
                log.ways.close();
            });
            let restore = RESTORE.borrow(cs).get();
            // SAFETY: the state that the outermost `acquire` found.
            unsafe { critical_section::release(restore) }
        }
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: as in `release`.
        let cs = unsafe { CriticalSection::new() };
        if DEPTH.borrow(cs).get() == 1 {
            with_log(cs, |log| log.encoder.write(bytes, |bytes| log.ways.push(bytes)));
        }
    }
}
