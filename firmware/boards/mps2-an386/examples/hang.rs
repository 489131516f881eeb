//! Hangs with the watchdog running, so that the test run can see the reset, and that the next start knows why it is one.
#![no_std]
#![no_main]

#[allow(dead_code)]
#[path = "../src/hal.rs"]
mod hal;

use hal::Board;
use ohmrig_protocol::message::ResetReason;

/// Exit status of a start that the watchdog caused.
const BITTEN: u32 = 103;

#[cortex_m_rt::entry]
fn main() -> ! {
    let Some(board) = Board::start() else { panic!("started twice") };
    if board.reset == ResetReason::Watchdog {
        hal::say(format_args!("reset by the watchdog"));
        hal::exit(BITTEN);
    }
    let _running = hal::HardwareWatchdog::start(1);
    loop {
        cortex_m::asm::nop();
    }
}
