//! The instrument on a NUCLEO-G474RE: the host on the ST-Link's virtual COM port, an OR-16 on the headers;
//! with the feature `emulated`, the emulator's array and chips on the microcontroller itself instead.
#![no_std]
#![no_main]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::todo)]

// The table is checked even where the analog side isn't used.
#[cfg_attr(feature = "emulated", allow(dead_code))]
mod board;
#[cfg(not(feature = "emulated"))]
mod burst;
#[cfg(not(feature = "emulated"))]
mod edges;
mod station;
mod storage;
#[cfg(not(feature = "emulated"))]
mod wiring;

use ohmrig_firmware::board::memory::Memory;
use ohmrig_firmware::board::serve::serve;
use ohmrig_firmware::core::{Boot, Core, Nameplate};
#[cfg(not(feature = "emulated"))]
use ohmrig_firmware::hardware::WithFlash;
use ohmrig_firmware::or16::Or16;
use ohmrig_memory_functions as _;
use static_cell::ConstStaticCell;

/// 16 × 16 cells, frames that hold a target for each of them, one reply leaving while the next is made.
static MEMORY: ConstStaticCell<Memory<256, 16, 1152, 2304>> = ConstStaticCell::new(Memory::new());

#[cortex_m_rt::entry]
fn main() -> ! {
    let words = ohmrig_cortex_m::take_last_words();
    let reset = station::reset_reason(words.is_some());
    let (station_parts, analog) = board::parts(embassy_stm32::init(board::clocks()));
    let Some((mut link, flash, nonce)) = station::start(station_parts) else { panic!("started twice") };
    ohmrig_log::set_clock(|| embassy_time::Instant::now().as_micros());
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
        let Some(wiring) = wiring::Wiring::new(analog) else { panic!("started twice") };
        let Ok(front_end) = Or16::new(WithFlash { hardware: wiring, flash }, board::OR16) else {
            panic!("no OR-16 has that geometry")
        };
        front_end
    };
    let _gone = serve(&mut core, &mut front_end, Or16::hardware_mut, &mut link);
    panic!("the instrument clock has stopped")
}
