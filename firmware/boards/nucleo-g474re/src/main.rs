//! The instrument on a NUCLEO-G474RE: the host on the ST-Link's virtual COM port, an OR-16 on the headers.
#![no_std]
#![no_main]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::todo)]

mod board;
mod burst;
mod edges;
mod station;
mod storage;
mod wiring;

use defmt_rtt as _;
use ohmrig_firmware::board::serve::serve;
use ohmrig_firmware::core::{Boot, Core, JobCell, Nameplate, Storage};
use ohmrig_firmware::or16::Or16;
use static_cell::ConstStaticCell;
use wiring::Wiring;

const CELLS: usize = board::OR16.rows as usize * board::OR16.columns as usize;
/// Largest frame either way.
const FRAME_BYTES: usize = 2048;

#[cortex_m_rt::entry]
fn main() -> ! {
    let words = ohmrig_cortex_m::take_last_words();
    if let Some(words) = &words {
        defmt::error!("the last start ended: {=str}", words.as_str());
    }
    let reset = station::reset_reason(words.is_some());
    let (station_parts, analog) = board::parts(embassy_stm32::init(board::clocks()));
    let Some((mut link, _flash, nonce)) = station::start(station_parts) else { panic!("started twice") };
    let nameplate = Nameplate {
        board: board::NAME,
        emulated: false,
        firmware: env!("CARGO_PKG_VERSION"),
        git: env!("OHMRIG_GIT_HASH"),
    };
    let Some(storage) = storage() else { panic!("started twice") };
    let mut core = Core::new(nameplate, Boot { nonce, reset }, storage);
    let Some(wiring) = Wiring::new(analog) else { panic!("started twice") };
    let Ok(mut front_end) = Or16::new(wiring, board::OR16) else { panic!("no OR-16 has that geometry") };
    match serve(&mut core, &mut front_end, Or16::hardware_mut, &mut link) {}
}

/// The core's memory, once.
fn storage() -> Option<Storage<'static>> {
    static RECEIVE: ConstStaticCell<[u8; FRAME_BYTES]> = ConstStaticCell::new([0; FRAME_BYTES]);
    static TRANSMIT: ConstStaticCell<[u8; 2 * FRAME_BYTES]> = ConstStaticCell::new([0; 2 * FRAME_BYTES]);
    static DATA: ConstStaticCell<[u8; FRAME_BYTES]> = ConstStaticCell::new([0; FRAME_BYTES]);
    static CODES: ConstStaticCell<[i16; 16]> = ConstStaticCell::new([0; 16]);
    static PULSES: ConstStaticCell<[u32; CELLS]> = ConstStaticCell::new([0; CELLS]);
    static JOB: ConstStaticCell<[JobCell; CELLS]> = ConstStaticCell::new([JobCell::EMPTY; CELLS]);
    Some(Storage {
        receive: RECEIVE.try_take()?,
        transmit: TRANSMIT.try_take()?,
        data: DATA.try_take()?,
        codes: CODES.try_take()?,
        pulses: PULSES.try_take()?,
        job: JOB.try_take()?,
    })
}
