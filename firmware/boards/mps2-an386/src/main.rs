//! The instrument on `qemu-system-arm -machine mps2-an386`: the host on UART0, a bench on UART1; with the feature
//! `emulated`, the emulator's array and chips on the processor itself instead of a bench.
#![no_std]
#![no_main]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::todo)]

mod hal;

use cortex_m::singleton;
use hal::Board;
use ohmrig_firmware::board::memory::Memory;
use ohmrig_firmware::board::serve::serve;
use ohmrig_firmware::core::{Boot, Core, Nameplate};
use ohmrig_firmware::or16::Or16;

/// Largest array this image has memory for.
const MAX_LINES: usize = 64;
/// Half of the time after which the watchdog resets: longer than a bench may take for an answer (`hal::Silent`).
const WATCHDOG_S: u32 = 15;

/// Frames of 2 KiB, one reply leaving while the next is made.
type CoreMemory = Memory<{ MAX_LINES * MAX_LINES }, MAX_LINES, 2048, 4096>;

#[cortex_m_rt::entry]
fn main() -> ! {
    let Some(Board { mut host, bench, clock, reset }) = Board::start() else { panic!("started twice") };
    let Some(memory) = singleton!(: CoreMemory = Memory::new()) else { panic!("started twice") };
    let (mut front_end, nonce) = front_end(bench);
    let nameplate = Nameplate {
        board: "mps2-an386",
        emulated: true,
        firmware: env!("CARGO_PKG_VERSION"),
        git: env!("OHMRIG_GIT_HASH"),
    };
    let mut core = Core::new(nameplate, Boot { nonce, reset }, memory.storage());
    let mut station = hal::HostLine {
        uart: &mut host,
        clock: &clock,
        watchdog: hal::HardwareWatchdog::start(WATCHDOG_S),
    };
    let _gone = serve(&mut core, &mut front_end, Or16::hardware_mut, &mut station);
    panic!("the bench is gone");
}

/// The OR-16 of the bench on UART1, and the bench's boot nonce.
#[cfg(not(feature = "emulated"))]
fn front_end(
    uart: hal::Uart,
) -> (
    Or16<ohmrig_firmware::bench_hardware::BenchHardware<ohmrig_firmware::bench_link::BenchLink<hal::Uart>>>,
    u64,
) {
    use ohmrig_firmware::bench_hardware::BenchHardware;
    use ohmrig_firmware::bench_link::BenchLink;
    use ohmrig_firmware::or16::Or16Config;

    let bench = match BenchLink::connect(uart).and_then(BenchHardware::new) {
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
    let config = Or16Config { rows: info.rows, columns: info.columns, gates: false };
    match Or16::new(bench, config) {
        Ok(front_end) => (front_end, info.boot_nonce),
        Err(error) => panic!("bench: {error}"),
    }
}

/// The OR-16 on the processor. QEMU has no entropy: the nonce is the time of the start.
#[cfg(feature = "emulated")]
fn front_end(
    _uart: hal::Uart,
) -> (Or16<ohmrig_firmware::bench_hardware::BenchHardware<ohmrig_emulated::Board>>, u64) {
    let nonce = hal::start_nonce();
    (ohmrig_emulated::front_end(nonce), nonce)
}
