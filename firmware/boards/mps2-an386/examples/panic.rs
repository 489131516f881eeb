//! Panics, so that the test run can see QEMU end with the panic's exit status and message.
#![no_std]
#![no_main]

#[allow(dead_code)]
#[path = "../src/hal.rs"]
mod hal;

#[cortex_m_rt::entry]
fn main() -> ! {
    panic!("panic on purpose")
}
