//! What the drivers' exact-bytes tests expect on an SPI bus, and a CRC that shares no code with the one under test.

use crate::hardware::PerFrame;
use embedded_hal_mock::eh1::spi::{Mock, Transaction};
use std::vec::Vec;

/// One chip-select frame: what must be sent, and what comes back if the driver is to look.
pub(super) type Frame<'a> = (&'a [u8], Option<&'a [u8]>);

/// `out` as a frame whose answer nobody reads.
pub(super) fn sent(out: &[u8]) -> Frame<'_> {
    (out, None)
}

/// `out` as a frame answered by `back`.
pub(super) fn answered<'a>(out: &'a [u8], back: &'a [u8]) -> Frame<'a> {
    (out, Some(back))
}

/// Runs `test` with a bus that accepts exactly `frames`, in order, and checks that all were sent.
pub(super) fn on_the_wire<T>(frames: &[Frame<'_>], test: impl FnOnce(PerFrame<Mock<u8>>) -> T) -> T {
    let mut expected = Vec::new();
    for (out, back) in frames {
        expected.push(Transaction::transaction_start());
        expected.push(match back {
            Some(back) => Transaction::transfer(out.to_vec(), back.to_vec()),
            None => Transaction::write_vec(out.to_vec()),
        });
        expected.push(Transaction::transaction_end());
    }
    let mut bus = Mock::new(&expected);
    let result = test(PerFrame(bus.clone()));
    bus.done();
    result
}

/// CRC of `bytes` by long division, bit by bit: seed 0, most significant bit first.
pub(super) fn remainder(bytes: &[u8], width: u32, polynomial: u32) -> u32 {
    let top = 1 << (width - 1);
    let mut register = 0;
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |n| u32::from(byte >> n & 1))) {
        let out = register & top != 0;
        register = (register << 1) & (2 * top - 1);
        if out != (bit == 1) {
            register ^= polynomial;
        }
    }
    register
}

#[test]
fn the_bitwise_crc_gives_the_catalogued_check_values() {
    // CRC RevEng catalogue: CRC-8/SMBUS and CRC-16/OPENSAFETY-B of "123456789".
    assert_eq!(remainder(b"123456789", 8, 0x07), 0xF4);
    assert_eq!(remainder(b"123456789", 16, 0x755B), 0x20FE);
}
