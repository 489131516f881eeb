//! The emulator's array and chips in an image: what `ohmrig emulate` is on a host, on the microcontroller itself, with
//! nothing attached. Its instrument time is virtual; how long a product takes is up to the processor.
#![no_std]
#![forbid(unsafe_code)]

use ohmrig_cortex_m::Arena;
pub use ohmrig_emulator::board::Board;
use ohmrig_emulator::board::BoardOptions;
use ohmrig_emulator::crossbar::Crossbar;
use ohmrig_emulator::profile::Profile;
use ohmrig_firmware::bench_hardware::BenchHardware;
use ohmrig_firmware::hardware::{Flash, WithFlash};
use ohmrig_firmware::or16::{Or16, Or16Config};

/// Bytes of the heap: 54 KiB are in use at most while an 8 × 8 array is read.
pub const HEAP_BYTES: usize = 64 * 1024;

#[global_allocator]
static HEAP: Arena<HEAP_BYTES> = Arena::new();

/// Draws the devices; every start has the same array.
const SEED: u64 = 1;
/// The emulated board, with a flash that isn't.
pub type Hardware<F> = WithFlash<BenchHardware<Board>, F>;

/// What needs a flash's worth of memory, for processors without a flash to write to.
mod ram_flash;
pub use ram_flash::RamFlash;

/// An OR-16 with its array, all emulated but its flash, behind its front end. Panics as [`board`] does.
#[must_use]
pub fn front_end<F: Flash>(boot_nonce: u64, flash: F) -> Or16<Hardware<F>> {
    let Ok(hardware) = BenchHardware::new(board(boot_nonce)) else {
        panic!("the emulated board doesn't answer")
    };
    let config = Or16Config { rows: hardware.info().rows, columns: hardware.info().columns, gates: false };
    let hardware = WithFlash { hardware, flash };
    let Ok(front_end) = Or16::new(hardware, config) else { panic!("no OR-16 has that geometry") };
    front_end
}

/// A board with its array. `boot_nonce`: a number no earlier boot has had. Panics if the heap is too small,
/// which shows at the first start of an image.
#[must_use]
pub fn board(boot_nonce: u64) -> Board {
    HEAP.start();
    let profile: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/profile.postcard"));
    let Ok(profile) = postcard::from_bytes::<Profile>(profile) else { panic!("the profile is damaged") };
    let (rows, columns) = (profile.rows, profile.columns);
    let options = BoardOptions {
        imperfections: profile.board.into(),
        seed: SEED,
        boot_nonce,
        // The board brings a real one.
        flash_bytes: 0,
    };
    let Ok(crossbar) = Crossbar::new(rows.into(), columns.into(), &profile.device, SEED) else {
        panic!("no array has that profile")
    };
    drop(profile);
    let Ok(board) = Board::new(crossbar, options) else { panic!("no board has that flash") };
    board
}

/// Bytes of the heap in use, an estimate.
#[must_use]
pub fn heap_used_bytes() -> usize {
    HEAP.used_bytes()
}
