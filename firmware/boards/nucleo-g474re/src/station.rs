//! The processor's own side: the link over the ST-Link's virtual COM port, received and sent by interrupt through ring
//! buffers; the clocks, the watchdog, and why it started.

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use embassy_stm32::gpio::{Input, Pull};
use embassy_stm32::pac::{DBGMCU, RCC};
use embassy_stm32::rng::{self, Rng};
use embassy_stm32::usart::{self, BufferedUart, BufferedUartRx, BufferedUartTx};
use embassy_stm32::wdg::IndependentWatchdog;
use embassy_stm32::{bind_interrupts, peripherals};
use embassy_time::Instant;
use embedded_io::{Read, ReadReady};
use ohmrig_firmware::board::log_ring::LogBatch;
use ohmrig_firmware::board::serve::Station;
use ohmrig_firmware::hardware::Watchdog;
use ohmrig_protocol::message::ResetReason;
use static_cell::ConstStaticCell;

use crate::board::{BAUD, SLOW_BAUD, StationParts, WATCHDOG_US};
use crate::storage::Storage;

bind_interrupts!(struct Interrupts {
    LPUART1 => usart::BufferedInterruptHandler<peripherals::LPUART1>;
    RNG => rng::InterruptHandler<peripherals::RNG>;
});

/// What may arrive while the core is busy: two of the longest frames and some.
const FROM_HOST_BYTES: usize = 3072;
/// The core keeps its own outbox; this only has to outlast one turn of the loop.
const TO_HOST_BYTES: usize = 1024;
/// The driver takes a write whole or not at all: pieces that find room early.
const PIECE_BYTES: usize = 64;

/// Link, clock and watchdog.
pub(crate) struct Link {
    sender: BufferedUartTx<'static>,
    receiver: BufferedUartRx<'static>,
    watchdog: IndependentWatchdog<'static, peripherals::IWDG>,
}

/// Starts the station: link, storage, and a number no earlier boot has had. `None` the second time, or for a rate the
/// UART can't do.
pub(crate) fn start(parts: StationParts) -> Option<(Link, Storage, u64)> {
    static TO_HOST: ConstStaticCell<[u8; TO_HOST_BYTES]> = ConstStaticCell::new([0; TO_HOST_BYTES]);
    static FROM_HOST: ConstStaticCell<[u8; FROM_HOST_BYTES]> = ConstStaticCell::new([0; FROM_HOST_BYTES]);
    let slow = Input::new(parts.slow_link_button, Pull::Down).is_high();
    let mut config = usart::Config::default();
    config.baudrate = if slow { SLOW_BAUD } else { BAUD };
    let uart = BufferedUart::new(
        parts.link,
        parts.link_rx,
        parts.link_tx,
        TO_HOST.try_take()?,
        FROM_HOST.try_take()?,
        Interrupts,
        config,
    );
    let (sender, receiver) = uart.ok()?.split();
    let nonce = Rng::new(parts.rng, Interrupts).next_u64();
    // A debugger that halts the core must not have it reset.
    DBGMCU.apb1lfzr().modify(|w| w.set_iwdg(true));
    let mut watchdog = IndependentWatchdog::new(parts.watchdog, WATCHDOG_US);
    watchdog.unleash();
    Some((Link { sender, receiver, watchdog }, Storage::new(parts.flash), nonce))
}

/// Why the processor started (RM0440, RCC_CSR), and clears the flags for the next time. `panicked`: words were left.
pub(crate) fn reset_reason(panicked: bool) -> ResetReason {
    let flags = RCC.csr().read();
    RCC.csr().modify(|w| w.set_rmvf(true));
    if flags.iwdgrstf() || flags.wwdgrstf() {
        ResetReason::Watchdog
    } else if panicked {
        ResetReason::Panic
    } else if flags.borrstf() {
        // Of power-on and brown-out the same flag: the supply was below its threshold.
        ResetReason::PowerOn
    } else if flags.pinrstf() || flags.sftrstf() {
        ResetReason::External
    } else {
        ResetReason::Unknown
    }
}

impl Station for Link {
    fn link_ns(&mut self) -> u64 {
        Instant::now().as_micros() * 1_000
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        // The driver's `read` doesn't wait either, but it doesn't promise that.
        match self.receiver.read_ready() {
            Ok(true) if !into.is_empty() => self.receiver.read(into).unwrap_or(0),
            _ => 0,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        for piece in bytes.chunks(PIECE_BYTES) {
            let Some(count) = at_once(embedded_io_async::Write::write(&mut self.sender, piece)) else {
                break;
            };
            taken += count.unwrap_or(0);
        }
        taken
    }

    fn take_log(&mut self, into: &mut [u8]) -> LogBatch {
        ohmrig_log::take(into)
    }

    fn sleep(&mut self, until_ns: u64) {
        while self.link_ns() < until_ns && !self.receiver.read_ready().unwrap_or(true) {
            // An interrupt between the question and the sleep ends the sleep all the same (Armv7-M, event register).
            cortex_m::asm::wfe();
        }
    }
}

impl Watchdog for Link {
    fn feed(&mut self) {
        self.watchdog.pet();
    }
}

/// The future's result if it has one at once.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}
