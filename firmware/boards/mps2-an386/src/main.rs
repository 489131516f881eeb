//! The instrument on `qemu-system-arm -machine mps2-an386`.
#![no_std]
#![no_main]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::todo)]

mod hal;

use hal::Board;

#[cortex_m_rt::entry]
fn main() -> ! {
    let Some(Board { mut uart0, mut uart1, clock }) = Board::start() else { hal::exit(hal::EXIT_PANIC) };
    let mut buffer = [0; 256];
    loop {
        for uart in [&mut uart0, &mut uart1] {
            let count = uart.read(&mut buffer);
            let mut rest = buffer.get(..count).unwrap_or_default();
            while !rest.is_empty() {
                rest = rest.get(uart.write(rest)..).unwrap_or_default();
            }
        }
        let _ = clock.now_ns();
        hal::sleep_until(|| uart0.readable() || uart1.readable());
    }
}
