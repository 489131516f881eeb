#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::chips::wire::{answered, on_the_wire, remainder, sent};

/// A frame of ours: payload and its CRC.
fn ours(first: u8, second: u8) -> [u8; 3] {
    [first, second, remainder(&[first, second], 8, 0x07) as u8]
}

/// The chip's answer to a read of `address`.
fn reply(address: u8, data: u8) -> [u8; 3] {
    [0x25, data, remainder(&[0x80 | address, data], 8, 0x07) as u8]
}

/// The chip's answer to a write: only the alignment byte counts.
const WRITTEN: [u8; 3] = [0x25, 0, 0];

#[test]
fn the_bytes_of_a_frame_are_these() {
    // By hand: x⁸ ≡ 0x07, so 0x01 leaves 0x07, and 0x07 ^ 0x0F = x³ leaves 0x07 << 3. Guards the helpers above as much
    // as the driver.
    assert_eq!(sealed([0x01, 0x0F]), ours(0x01, 0x0F));
    assert_eq!(ours(0x01, 0x0F), [0x01, 0x0F, 0x38]);
}

#[test]
fn init_turns_crc_on_in_a_short_frame_then_reads_checks_and_flags_back() {
    let done = on_the_wire(
        &[
            sent(&[0x02, 0x07]),
            answered(&ours(0x6C, 0xA9), &WRITTEN),
            answered(&ours(0x82, 0), &reply(0x02, 0x07)),
            answered(&ours(0x83, 0), &reply(0x03, 0)),
        ],
        |spi| Adgs1414d::new(spi).init(),
    );
    assert_eq!(done, Ok(()));
}

#[test]
fn init_refuses_a_chip_that_did_not_take_the_checks() {
    let refused = on_the_wire(
        &[
            sent(&[0x02, 0x07]),
            answered(&ours(0x6C, 0xA9), &WRITTEN),
            answered(&ours(0x82, 0), &reply(0x02, 0x06)),
            answered(&ours(0x83, 0), &reply(0x03, 0)),
        ],
        |spi| Adgs1414d::new(spi).init(),
    );
    assert_eq!(refused, Err(Error::ReadBack { register: Register::ErrorConfig, expected: 0x07, read: 0x06 }));
}

#[test]
fn init_refuses_a_chip_whose_flags_do_not_clear() {
    let refused = on_the_wire(
        &[
            sent(&[0x02, 0x07]),
            answered(&ours(0x6C, 0xA9), &WRITTEN),
            answered(&ours(0x82, 0), &reply(0x02, 0x07)),
            answered(&ours(0x83, 0), &reply(0x03, 0x02)),
        ],
        |spi| Adgs1414d::new(spi).init(),
    );
    assert_eq!(refused, Err(Error::ReadBack { register: Register::ErrorFlags, expected: 0, read: 0x02 }));
}

#[test]
fn setting_switches_writes_and_reads_back() {
    let done = on_the_wire(
        &[answered(&ours(0x01, 0xA5), &WRITTEN), answered(&ours(0x81, 0), &reply(0x01, 0xA5))],
        |spi| Adgs1414d::new(spi).set(0xA5),
    );
    assert_eq!(done, Ok(()));
}

#[test]
fn a_switch_that_did_not_move_is_an_error_with_both_values() {
    let stuck = on_the_wire(
        &[answered(&ours(0x01, 0x81), &WRITTEN), answered(&ours(0x81, 0), &reply(0x01, 0x80))],
        |spi| Adgs1414d::new(spi).set(0x81),
    );
    assert_eq!(stuck, Err(Error::ReadBack { register: Register::Switches, expected: 0x81, read: 0x80 }));
}

#[test]
fn any_flipped_bit_of_an_answer_is_noticed() {
    let good = reply(0x01, 0x3C);
    for bit in 0..24 {
        let mut bad = good;
        bad[bit / 8] ^= 0x80 >> (bit % 8);
        let noticed = on_the_wire(&[answered(&ours(0x81, 0), &bad)], |spi| Adgs1414d::new(spi).get());
        match noticed {
            Err(Error::Alignment { expected: 0x25, found }) => assert_eq!(found, bad[0]),
            Err(Error::Crc { register: Register::Switches, computed, received }) => {
                assert_eq!(received, bad[2]);
                assert_ne!(computed, received);
            }
            other => panic!("bit {bit}: {other:?}"),
        }
    }
}

#[test]
fn a_chip_that_is_not_there_is_noticed_on_the_write_already() {
    let nothing = [0xFF; 3];
    let noticed =
        on_the_wire(&[answered(&ours(0x01, 0x01), &nothing), answered(&ours(0x81, 0), &nothing)], |spi| {
            Adgs1414d::new(spi).set(0x01)
        });
    assert_eq!(noticed, Err(Error::Alignment { expected: 0x25, found: 0xFF }));
}

#[test]
fn reads_return_what_the_chip_says() {
    let closed =
        on_the_wire(&[answered(&ours(0x81, 0), &reply(0x01, 0x42))], |spi| Adgs1414d::new(spi).get());
    assert_eq!(closed, Ok(0x42));

    let flags =
        on_the_wire(&[answered(&ours(0x83, 0), &reply(0x03, 0x05))], |spi| Adgs1414d::new(spi).error_flags())
            .unwrap();
    assert!(flags.crc() && !flags.clock_count() && flags.address() && !flags.is_clear());
    assert_eq!(flags.bits(), 0x05);
}

#[test]
fn clearing_errors_sends_the_special_frame_with_its_crc_and_reads_back() {
    let done = on_the_wire(
        &[answered(&ours(0x6C, 0xA9), &WRITTEN), answered(&ours(0x83, 0), &reply(0x03, 0))],
        |spi| Adgs1414d::new(spi).clear_errors(),
    );
    assert_eq!(done, Ok(()));
}
