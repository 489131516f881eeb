//! Uses a known amount of stack and prints the high-water mark before and after, so that the test run can see that the
//! mark is that of the stack.
#![no_std]
#![no_main]

#[allow(dead_code)]
#[path = "../src/hal.rs"]
mod hal;

use core::hint::black_box;

/// Bytes on the stack at once.
const DEPTH: usize = 4096;

#[cortex_m_rt::entry]
fn main() -> ! {
    let before = ohmrig_cortex_m::stack();
    deep();
    let after = ohmrig_cortex_m::stack();
    let more = after.used - before.used;
    hal::say(format_args!("stack: {more} bytes more of {}", after.bytes));
    // Within 1 KiB: what else the call needs, and an interrupt.
    hal::exit(if (DEPTH..DEPTH + 1024).contains(&(more as usize)) { 0 } else { 1 })
}

#[inline(never)]
fn deep() {
    let mut room = [1u8; DEPTH];
    black_box(&mut room);
}
