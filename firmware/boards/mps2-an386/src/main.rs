//! The instrument on `qemu-system-arm -machine mps2-an386`: the host on UART0, a bench on UART1.
#![no_std]
#![no_main]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::todo)]

mod hal;

use hal::Board;
use ohmrig_firmware::{bench_hardware::BenchHardware, bench_link::BenchLink};

#[cortex_m_rt::entry]
fn main() -> ! {
    let Some(Board { mut uart0, uart1, clock }) = Board::start() else { panic!("started twice") };
    let bench = match BenchLink::connect(uart1).and_then(BenchHardware::new) {
        Ok(bench) => bench,
        Err(error) => panic!("bench on UART1: {error}"),
    };
    let info = bench.info();
    hal::say(format_args!(
        "mps2-an386 {}: bench of {} rows, {} columns after {} ms",
        env!("OHMRIG_GIT_HASH"),
        info.rows,
        info.columns,
        clock.now_ns() / 1_000_000
    ));
    let mut buffer = [0; 256];
    loop {
        let count = uart0.read(&mut buffer);
        let mut rest = buffer.get(..count).unwrap_or_default();
        while !rest.is_empty() {
            rest = rest.get(uart0.write(rest)..).unwrap_or_default();
        }
        hal::sleep_until(|| uart0.readable());
    }
}
