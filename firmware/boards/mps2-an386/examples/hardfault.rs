//! Runs an undefined instruction, so that the test run can see QEMU end with the HardFault's exit status.
#![no_std]
#![no_main]

#[allow(dead_code)]
#[path = "../src/hal.rs"]
mod hal;

#[cortex_m_rt::entry]
fn main() -> ! {
    cortex_m::asm::udf()
}
