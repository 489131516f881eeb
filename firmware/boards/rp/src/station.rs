//! The processor's own side: link, clocks, watchdog, entropy.

use embassy_rp::Peri;
use embassy_rp::clocks::RoscRng;
use embassy_rp::peripherals::{FLASH, USB, WATCHDOG};
use embassy_rp::watchdog::Watchdog;
use embassy_time::{Duration, Instant};
use ohmrig_firmware::board::log_ring::LogBatch;
use ohmrig_firmware::board::serve::Station;
use ohmrig_firmware::hardware::Watchdog as Feed;
use static_cell::ConstStaticCell;

use crate::storage::Storage;
use crate::{executor, usb};

/// A loop that hasn't come round in this time is reset: longer than the erasure of a flash sector (45 ms, W25Q16JV), and
/// than a step of the emulator.
const WATCHDOG: Duration = Duration::from_millis(1_000);

/// What the station takes.
pub struct StationParts {
    /// The port.
    pub usb: Peri<'static, USB>,
    /// The watchdog.
    pub watchdog: Peri<'static, WATCHDOG>,
    /// The flash the image runs from.
    pub flash: Peri<'static, FLASH>,
}

/// Link, clock and watchdog.
pub struct Link {
    watchdog: Watchdog,
}

/// Starts the station on a board with `FLASH_BYTES` of flash: link, storage, and a number no earlier boot has had. `None`
/// the second time.
pub fn start<const FLASH_BYTES: usize>(
    parts: StationParts,
    product: &'static str,
) -> Option<(Link, Storage<FLASH_BYTES>, u64)> {
    static SERIAL: ConstStaticCell<[u8; 16]> = ConstStaticCell::new([0; 16]);
    let mut storage = Storage::new(parts.flash);
    let serial = SERIAL.try_take()?;
    for (digit, place) in serial.iter_mut().zip((0..16).rev()) {
        // One hexadecimal digit.
        #[allow(clippy::cast_possible_truncation)]
        let value = (storage.chip_id() >> (4 * place) & 0xF) as u8;
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
    }
    let serial = core::str::from_utf8(serial).ok()?;
    executor::start().spawn(usb::port(parts.usb, product, serial).ok()?);
    let mut watchdog = Watchdog::new(parts.watchdog);
    watchdog.pause_on_debug(true);
    watchdog.start(WATCHDOG);
    Some((Link { watchdog }, storage, RoscRng.next_u64()))
}

/// Microseconds since the start.
#[must_use]
pub fn now_us() -> u64 {
    Instant::now().as_micros()
}

impl Station for Link {
    fn link_ns(&mut self) -> u64 {
        now_us() * 1_000
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        usb::FROM_HOST.try_read(into).unwrap_or(0)
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        usb::TO_HOST.try_write(bytes).unwrap_or(0)
    }

    fn take_log(&mut self, into: &mut [u8]) -> LogBatch {
        ohmrig_log::take(into)
    }

    fn sleep(&mut self, until_ns: u64) {
        while self.link_ns() < until_ns && usb::FROM_HOST.is_empty() {
            // USB's start of frame comes every millisecond; an interrupt before the sleep ends it all the same.
            cortex_m::asm::wfe();
        }
    }
}

impl Feed for Link {
    fn feed(&mut self) {
        self.watchdog.feed(WATCHDOG);
    }
}
