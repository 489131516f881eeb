#![no_std]
#![no_main]
use embassy_rp as _;
#[panic_handler] fn p(_: &core::panic::PanicInfo)->!{loop{}}
#[cortex_m_rt::entry] fn main()->!{loop{}}
