//! The instrument on a Raspberry Pi Pico with nothing attached: the host on USB, array and chips emulated on the
//! microcontroller itself.
#![no_std]
#![no_main]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::todo)]

use ohmrig_firmware::board::memory::Memory;
use ohmrig_firmware::board::serve::serve;
use ohmrig_firmware::core::{Boot, Core, Nameplate};
use ohmrig_firmware::or16::Or16;
use ohmrig_rp::StationParts;
use static_cell::ConstStaticCell;

/// Bytes of the Pico's flash.
const FLASH_BYTES: usize = 2 * 1024 * 1024;
/// 8 × 8 cells, frames of 2 KiB, one reply leaving while the next is made.
static MEMORY: ConstStaticCell<Memory<64, 8, 2048, 4096>> = ConstStaticCell::new(Memory::new());

#[cortex_m_rt::entry]
fn main() -> ! {
    let words = ohmrig_cortex_m::take_last_words();
    let reset = ohmrig_rp::reset_reason(words.is_some());
    let all = embassy_rp::init(embassy_rp::config::Config::default());
    let parts = StationParts { usb: all.USB, watchdog: all.WATCHDOG, flash: all.FLASH };
    let Some((mut link, flash, nonce)) = ohmrig_rp::start::<FLASH_BYTES>(parts, "pico") else {
        panic!("started twice")
    };
    ohmrig_log::set_clock(ohmrig_rp::now_us);
    if let Some(words) = &words {
        defmt::error!("the last start ended: {=str}", words.as_str());
    }
    let nameplate = Nameplate {
        board: "pico",
        emulated: true,
        firmware: env!("CARGO_PKG_VERSION"),
        git: env!("OHMRIG_GIT_HASH"),
        build: ohmrig_cortex_m::build_id(),
    };
    let boot = Boot { nonce, reset, panic: words.as_ref().map(|words| words.as_str()) };
    let mut core = Core::new(nameplate, boot, MEMORY.take().storage());
    core.tell_stack(ohmrig_cortex_m::stack);
    let mut front_end = ohmrig_emulated::front_end(nonce, flash);
    defmt::info!(
        "heap {=usize} of {=usize} bytes",
        ohmrig_emulated::heap_used_bytes(),
        ohmrig_emulated::HEAP_BYTES
    );
    let _gone = serve(&mut core, &mut front_end, Or16::hardware_mut, &mut link);
    panic!("the emulated circuit has no solution")
}
