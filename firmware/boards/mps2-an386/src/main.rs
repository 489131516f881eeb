//! The instrument on `qemu-system-arm -machine mps2-an386`: the host on UART0, a bench on UART1; with the feature
//! `emulated`, the emulator's array and chips on the processor itself instead of a bench.
#![no_std]
#![no_main]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::todo)]

mod hal;

use hal::Board;
use ohmrig_firmware::board::memory::Memory;
use ohmrig_firmware::board::serve::serve;
use ohmrig_firmware::core::{Boot, Core, Nameplate};
use ohmrig_firmware::or16::Or16;
use static_cell::ConstStaticCell;

/// Largest array this image has memory for.
const MAX_LINES: usize = 64;
const MAX_CELLS: usize = 48 * 48;
/// Half of the time after which the watchdog resets: longer than a bench may take for an answer (`hal::Silent`).
const WATCHDOG_S: u32 = 15;

/// Frames of 2 KiB, one reply leaving while the next is made.
static MEMORY: ConstStaticCell<Memory<MAX_CELLS, MAX_LINES, 2048, 4096>> =
    ConstStaticCell::new(Memory::new());

#[cortex_m_rt::entry]
fn main() -> ! {
    let Some(Board { host, bench, clock, reset }) = Board::start() else { panic!("started twice") };
    ohmrig_log::set_clock(hal::now_us);
    let (mut front_end, nonce) = front_end(bench);
    let nameplate = Nameplate {
        board: "mps2-an386",
        emulated: true,
        firmware: env!("CARGO_PKG_VERSION"),
        git: env!("OHMRIG_GIT_HASH"),
        build: ohmrig_cortex_m::build_id(),
    };
    let boot = Boot { nonce, reset, panic: None };
    let mut core = Core::new(nameplate, boot, MEMORY.take().storage());
    core.tell_stack(ohmrig_cortex_m::stack);
    let watchdog = hal::HardwareWatchdog::start(WATCHDOG_S);
    let mut station = hal::HostLine { uart: host, clock, watchdog };
    let _gone = serve(&mut core, &mut front_end, Or16::hardware_mut, &mut station);
    panic!("the bench is gone");
}

/// The OR-16 of the bench on UART1, and the bench's boot nonce.
#[cfg(not(feature = "emulated"))]
fn front_end(
    uart: hal::Uart,
) -> (
    Or16<
        ohmrig_firmware::bench_hardware::BenchHardware<
            ohmrig_firmware::bench_link::BenchLink<'static, hal::Uart>,
        >,
    >,
    u64,
) {
    use ohmrig_firmware::bench_hardware::BenchHardware;
    use ohmrig_firmware::bench_link::BenchLink;
    use ohmrig_firmware::or16::Or16Config;

    /// The last bursts, which the link tells only changes of. Not on the stack, where every move would be one more copy.
    static BURSTS: ConstStaticCell<ohmrig_protocol::bench::recall::Memory> =
        ConstStaticCell::new(ohmrig_protocol::bench::recall::Memory::new());
    let bench = match BenchLink::connect(uart, BURSTS.take()).and_then(BenchHardware::new) {
        Ok(bench) => bench,
        Err(error) => panic!("bench on UART1: {error}"),
    };
    let info = *bench.info();
    let (rows, columns) = (usize::from(info.rows), usize::from(info.columns));
    if rows.max(columns) > MAX_LINES || rows * columns > MAX_CELLS {
        panic!(
            "an array of {rows} rows, {columns} columns; this image has room for {MAX_LINES} of each, {MAX_CELLS} cells"
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
fn front_end(_uart: hal::Uart) -> (Or16<ohmrig_emulated::Hardware<ohmrig_emulated::RamFlash>>, u64) {
    let nonce = hal::start_nonce();
    let Some(flash) = ohmrig_emulated::RamFlash::take() else { panic!("started twice") };
    (ohmrig_emulated::front_end(nonce, flash), nonce)
}
