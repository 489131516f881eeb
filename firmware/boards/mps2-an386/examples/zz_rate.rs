//! Temporary.
#![no_std]
#![no_main]
#[allow(dead_code)]
#[path = "../src/hal.rs"]
mod hal;
use embedded_io::{Read,Write};
#[cortex_m_rt::entry]
fn main() -> ! {
    let mut b = hal::Board::start().unwrap();
    let mut buf = [0u8; 512];
    let mut wait = 0;
    loop {
        let u = &mut b.uart0;
        Read::read_exact(u, &mut buf[..1]).unwrap();
        if buf[0] == b'W' { wait = 300_000_000; u.write_all(b"k").unwrap(); continue; }
        let (mut n, mut k) = (0, 0u8);
        while n < 50000 {
            if n % 9000 < 300 { let t0 = b.clock.now_ns(); while b.clock.now_ns() < t0 + wait {} }
            let c = Read::read(u, &mut buf).unwrap(); for x in &buf[..c] { assert_eq!(*x, k); k = k.wrapping_add(1); } n += c; }
        u.write_all(b"k").unwrap();
    }
}
