//! Panics, says at the next start what the panic said, faults, and says that at the start after it: what boards in a lab do
//! (`reset-on-panic`), where the other images here end QEMU instead.
#![no_std]
#![no_main]

#[allow(dead_code)]
#[path = "../src/hal.rs"]
mod hal;

/// Exit status once both were told.
const TOLD: u32 = 104;

#[cortex_m_rt::entry]
fn main() -> ! {
    let Some(words) = ohmrig_cortex_m::take_last_words() else { panic!("panic on purpose") };
    hal::say(format_args!("the last start ended with: {}", words.as_str()));
    if words.as_str().starts_with("HardFault") {
        hal::exit(TOLD);
    }
    cortex_m::asm::udf()
}
