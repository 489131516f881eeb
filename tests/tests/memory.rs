//! A process can have many instruments, one after the other. Alone in its process, so that nothing else grows.
#![cfg(target_os = "linux")]

use ohmrig::bench::{Emulation, profile};
use ohmrig::device::EmulatedDevice;
use ohmrig_tests::soak::resident_bytes;

#[test]
fn an_instrument_that_is_gone_leaves_no_memory_behind() {
    let mut emulation = Emulation::new(profile(Some("ideal")).unwrap(), 1);
    (emulation.rows, emulation.columns) = (64, 64);
    let power = |times: usize| {
        for _ in 0..times {
            let mut device = EmulatedDevice::power_up(&emulation).unwrap();
            device.power_cycle().unwrap();
        }
        resident_bytes().unwrap()
    };
    let (before, after) = (power(20), power(200));
    // 400 boots of 64 × 64 cells work in 130 kB each, 52 MB together.
    assert!(after < before + 10_000_000, "{before} bytes resident, then {after}");
}
