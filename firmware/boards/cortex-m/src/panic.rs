//! A panic or a fault ends in a reset at once: the pins let go, and the pull resistors of the analog board bring it to
//! DEAD. The words are kept for the boot that follows.

use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use cortex_m_rt::{ExceptionFrame, exception};

use crate::memory::keep_last_words;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    keep_last_words(format_args!("{info}"));
    SCB::sys_reset()
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    keep_last_words(format_args!("HardFault at {:#010x}, called from {:#010x}", frame.pc(), frame.lr()));
    SCB::sys_reset()
}
