//! The instrument on a Raspberry Pi Pico 2: the host on USB, an OR-16 on the headers; with the feature `emulated`, the
//! emulator's array and chips on the microcontroller itself instead.
#![no_std]
#![no_main]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::todo)]

// The table is checked even where the analog side isn't used.
#[cfg_attr(feature = "emulated", allow(dead_code))]
mod board;
#[cfg(not(feature = "emulated"))]
mod edges;
#[cfg(not(feature = "emulated"))]
mod wiring;

use ohmrig_firmware::board::memory::Memory;
use ohmrig_firmware::board::serve::serve;
use ohmrig_firmware::core::{Boot, Core, Nameplate};
#[cfg(not(feature = "emulated"))]
use ohmrig_firmware::hardware::WithFlash;
use ohmrig_firmware::or16::Or16;
use ohmrig_rp::StationParts;
use static_cell::ConstStaticCell;

/// 16 × 16 cells, frames of 2 KiB, one reply leaving while the next is made.
static MEMORY: ConstStaticCell<Memory<256, 16, 2048, 4096>> = ConstStaticCell::new(Memory::new());

#[cortex_m_rt::entry]
fn main() -> ! {
    let words = ohmrig_cortex_m::take_last_words();
    let reset = ohmrig_rp::reset_reason(words.is_some());
    let (processor, analog) = board::parts(embassy_rp::init(embassy_rp::config::Config::default()));
    let parts = StationParts { usb: processor.usb, watchdog: processor.watchdog, flash: processor.flash };
    let started = ohmrig_rp::start::<{ board::FLASH_BYTES }>(parts, board::NAME);
    let Some((mut link, flash, nonce)) = started else { panic!("started twice") };
    ohmrig_log::set_clock(ohmrig_rp::now_us);
    if let Some(words) = &words {
        defmt::error!("the last start ended: {=str}", words.as_str());
    }
    let nameplate = Nameplate {
        board: board::NAME,
        emulated: cfg!(feature = "emulated"),
        firmware: env!("CARGO_PKG_VERSION"),
        git: env!("OHMRIG_GIT_HASH"),
        build: ohmrig_cortex_m::build_id(),
    };
    let boot = Boot { nonce, reset, panic: words.as_ref().map(|words| words.as_str()) };
    let mut core = Core::new(nameplate, boot, MEMORY.take().storage());
    core.tell_stack(ohmrig_cortex_m::stack);
    #[cfg(feature = "emulated")]
    let mut front_end = {
        let _ = analog;
        ohmrig_emulated::front_end(nonce, flash)
    };
    #[cfg(not(feature = "emulated"))]
    let mut front_end = {
        let wiring = wiring::Wiring::new(analog);
        let Ok(front_end) = Or16::new(WithFlash { hardware: wiring, flash }, board::OR16) else {
            panic!("no OR-16 has that geometry")
        };
        front_end
    };
    let _gone = serve(&mut core, &mut front_end, Or16::hardware_mut, &mut link);
    panic!("the instrument clock has stopped")
}
