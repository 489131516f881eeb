//! The executor of the USB tasks, in a software interrupt above the main loop. The one file with `unsafe`.

use embassy_executor::{InterruptExecutor, SendSpawner};
use embassy_rp::interrupt::{self, InterruptExt, Priority};

static EXECUTOR: InterruptExecutor = InterruptExecutor::new();

/// Starts it; once.
pub(crate) fn start() -> SendSpawner {
    interrupt::SWI_IRQ_0.set_priority(Priority::P3);
    EXECUTOR.start(interrupt::SWI_IRQ_0)
}

#[allow(non_snake_case)]
#[embassy_rp::interrupt]
unsafe fn SWI_IRQ_0() {
    // SAFETY: this is the interrupt it was started with.
    unsafe { EXECUTOR.on_interrupt() }
}
