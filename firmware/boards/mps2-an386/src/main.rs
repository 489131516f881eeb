//! The instrument on `qemu-system-arm -machine mps2-an386`: the host on UART0, a bench on UART1.
#![no_std]
#![no_main]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::todo)]

mod hal;

use cortex_m::singleton;
use hal::Board;
use ohmrig_firmware::bench_hardware::BenchHardware;
use ohmrig_firmware::bench_link::BenchLink;
use ohmrig_firmware::core::{Boot, Core, JobCell, Liveness, Nameplate, Next, Now, Storage};
use ohmrig_firmware::hardware::Watchdog;
use ohmrig_firmware::or16::{Or16, Or16Config};

/// Largest frame either way.
const FRAME_BYTES: usize = 2048;
/// Largest array this image has memory for.
const MAX_LINES: usize = 64;
const MAX_CELLS: usize = MAX_LINES * MAX_LINES;
/// Longest sleep, so that the core sees to its watchdog.
const IDLE_NS: u64 = 10_000_000;
/// Half of the time after which the watchdog resets: longer than a bench may take for an answer (`hal::Silent`).
const WATCHDOG_S: u32 = 15;

#[cortex_m_rt::entry]
fn main() -> ! {
    let Some(Board { mut uart0, uart1, clock, reset }) = Board::start() else { panic!("started twice") };
    let bench = match BenchLink::connect(uart1).and_then(BenchHardware::new) {
        Ok(bench) => bench,
        Err(error) => panic!("bench on UART1: {error}"),
    };
    let info = *bench.info();
    if usize::from(info.rows.max(info.columns)) > MAX_LINES {
        panic!(
            "an array of {} rows, {} columns; this image has room for {MAX_LINES}",
            info.rows, info.columns
        );
    }
    let Some(storage) = storage() else { panic!("started twice") };
    let nameplate = Nameplate {
        board: "mps2-an386",
        emulated: true,
        firmware: env!("CARGO_PKG_VERSION"),
        git: env!("OHMRIG_GIT_HASH"),
    };
    let mut core = Core::new(nameplate, Boot { nonce: info.boot_nonce, reset }, storage);
    let config = Or16Config { rows: info.rows, columns: info.columns, gates: false };
    let mut front_end = match Or16::new(bench, config) {
        Ok(front_end) => front_end,
        Err(error) => panic!("bench: {error}"),
    };
    let mut incoming = [0; 512];
    let mut filled = 0;
    let mut liveness = Liveness::default();
    let mut watchdog = hal::HardwareWatchdog::start(WATCHDOG_S);
    loop {
        filled += hal::Uart::read(&mut uart0, incoming.get_mut(filled..).unwrap_or_default());
        let link_ns = clock.now_ns();
        let taken = core.receive(incoming.get(..filled).unwrap_or_default(), link_ns);
        incoming.copy_within(taken..filled, 0);
        filled -= taken;

        let hardware = front_end.hardware_mut();
        let Ok(instrument_ns) = hardware.now_ns() else { panic!("the bench is gone") };
        let next = core.poll(Now { instrument_ns, link_ns }, &mut front_end);

        let sent = uart0.write(core.outgoing());
        core.sent(sent);
        if liveness.observe(next, instrument_ns, taken + sent) {
            watchdog.feed();
        }
        match next {
            Next::Ready => {}
            Next::WaitUntil(at_ns) => {
                if front_end.hardware_mut().wait_until_ns(at_ns).is_err() {
                    panic!("the bench is gone");
                }
            }
            // Bytes that are held back are taken once the core has room, which it had to be polled for.
            Next::Idle if taken > 0 || sent > 0 => {}
            Next::Idle => {
                let look_again = clock.now_ns() + IDLE_NS;
                hal::sleep_until(|| uart0.readable() || clock.now_ns() >= look_again);
            }
        }
    }
}

/// The core's memory, once.
fn storage() -> Option<Storage<'static>> {
    Some(Storage {
        receive: singleton!(: [u8; FRAME_BYTES] = [0; FRAME_BYTES])?,
        transmit: singleton!(: [u8; 2 * FRAME_BYTES] = [0; 2 * FRAME_BYTES])?,
        data: singleton!(: [u8; FRAME_BYTES] = [0; FRAME_BYTES])?,
        codes: singleton!(: [i16; MAX_LINES] = [0; MAX_LINES])?,
        pulses: singleton!(: [u32; MAX_CELLS] = [0; MAX_CELLS])?,
        job: singleton!(: [JobCell; MAX_CELLS] = [JobCell::EMPTY; MAX_CELLS])?,
    })
}
