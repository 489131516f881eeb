#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use super::*;
use crate::chips::wire::{Frame, answered, on_the_wire, remainder, sent};
use std::vec::Vec;

fn with_crc(first: u8, second: u8) -> [u8; 3] {
    [first, second, remainder(&[first, second], 8, 0x07) as u8]
}

/// What a part holds after a good initialisation, in the order it is read back.
const HELD: [(u8, u8); 7] =
    [(0x21, 0x07), (0x02, 0x00), (0x03, 0x22), (0x04, 0x22), (0x05, 0x22), (0x06, 0x22), (0x07, 0xFF)];

/// Runs `init` on a part with this identity that answers its read-backs with `replies` of [`HELD`]'s registers.
fn init(id: u8, replies: [[u8; 3]; 7]) -> Result<(), Error<embedded_hal::spi::ErrorKind>> {
    let writes = HELD[1..].iter().map(|&(address, value)| with_crc(address, value)).collect::<Vec<_>>();
    let reads = HELD.map(|(address, _)| with_crc(0x40 | address, 0));
    let identity = [0x6F, id];
    let mut frames: Vec<Frame<'_>> = Vec::from([
        // The first frame only enters register mode: what comes back is sample data.
        answered(&[0x6F, 0x00], &[0x12, 0x34]),
        answered(&[0x6F, 0x00], &identity),
    ]);
    if matches!(id >> 4, 2 | 3) {
        frames.push(sent(&[0x21, 0x07]));
        frames.extend(writes.iter().map(|frame| sent(frame)));
        for (read, reply) in reads.iter().zip(&replies) {
            frames.push(answered(read, &[0x55; 3]));
            frames.push(answered(read, reply));
        }
        frames.extend([sent(&[0x00, 0x00, 0x00]), sent(&[0x00, 0x00, 0x00])]);
    }
    on_the_wire(&frames, |spi| Ad7606c::new(spi).init())
}

fn good() -> [[u8; 3]; 7] {
    HELD.map(|(address, value)| with_crc(address, value))
}

#[test]
fn init_identifies_configures_reads_back_and_leaves_register_mode() {
    assert_eq!(init(0x22, good()), Ok(()));
    assert_eq!(init(0x31, good()), Ok(()), "the datasheet's identity is taken as well");
}

#[test]
fn init_refuses_another_part_and_a_silent_bus() {
    for found in [0x14, 0x00, 0xFF] {
        assert_eq!(init(found, good()), Err(Error::Identity { found }));
    }
}

#[test]
fn a_register_that_does_not_keep_its_value_is_named_with_both_values() {
    for (index, register) in [
        (0, Register::DiagnosticEnable),
        (1, Register::Config),
        (2, Register::Range12),
        (5, Register::Range78),
        (6, Register::Bandwidth),
    ] {
        let mut replies = good();
        let (address, wrote) = HELD[index];
        let read = wrote ^ 0x10;
        replies[index] = with_crc(address, read);
        assert_eq!(init(0x22, replies), Err(Error::ReadBack { register, wrote, read }));
    }
}

#[test]
fn a_corrupted_register_reply_is_an_error_and_register_mode_is_left_all_the_same() {
    let mut replies = good();
    replies[2][1] ^= 0x01;
    let computed = remainder(&replies[2][..2], 8, 0x07) as u8;
    let received = replies[2][2];
    // `init` above expects the leaving frame in every case.
    assert_eq!(
        init(0x22, replies),
        Err(Error::RegisterCrc { register: Register::Range12, computed, received })
    );
}

/// A conversion frame of these samples.
fn conversion(samples: [i16; 8]) -> [u8; 18] {
    let mut frame = [0; 18];
    for (bytes, sample) in frame.chunks_mut(2).zip(samples) {
        bytes.copy_from_slice(&sample.to_be_bytes());
    }
    let crc = remainder(&frame[..16], 16, 0x755B) as u16;
    frame[16..].copy_from_slice(&crc.to_be_bytes());
    frame
}

#[test]
fn samples_come_in_one_frame_of_144_clocks_channel_1_first() {
    let samples = [1, -1, 0, i16::MAX, i16::MIN, 0x1234, -0x1234, 27263];
    let frame = conversion(samples);
    let read = on_the_wire(&[answered(&[0; 18], &frame)], |spi| Ad7606c::new(spi).read());
    assert_eq!(read, Ok(samples.map(AdcCode)));
}

#[test]
fn any_flipped_bit_of_a_conversion_frame_is_an_error_with_both_crcs() {
    let good = conversion([100, -200, 300, -400, 500, -600, 700, -800]);
    for bit in 0..144 {
        let mut bad = good;
        bad[bit / 8] ^= 0x80 >> (bit % 8);
        let received = u16::from_be_bytes([bad[16], bad[17]]);
        let computed = remainder(&bad[..16], 16, 0x755B) as u16;
        let noticed = on_the_wire(&[answered(&[0; 18], &bad)], |spi| Ad7606c::new(spi).read());
        assert_eq!(noticed, Err(Error::DataCrc { computed, received }), "bit {bit}");
    }
}

#[test]
fn diagnostics_are_read_with_crc_and_typed() {
    let read = with_crc(0x62, 0);
    let reply = with_crc(0x22, 0x06);
    let leave = [0; 3];
    let frames = [answered(&read, &[0; 3]), answered(&read, &reply), sent(&leave), sent(&leave)];
    let errors = on_the_wire(&frames, |spi| Ad7606c::new(spi).diagnostic_errors()).unwrap();
    assert!(!errors.rom_crc() && errors.memory_map_crc() && errors.interface_crc() && !errors.is_clear());
    assert_eq!(errors.bits(), 0x06);
}

#[test]
fn codes_are_volts_of_a_6_25_v_range() {
    // Exact: 6.25 / 32768 = 25 / 2¹⁷, and 25 · code needs 20 of the 24 bits of an f32.
    assert_eq!(AdcCode(i16::MIN).volts(), -6.25);
    assert_eq!(AdcCode(0).volts(), 0.0);
    assert_eq!(AdcCode(1).volts(), 6.25 / 32768.0);
    assert_eq!(AdcCode(26214).volts(), 26214.0 * 25.0 / 131072.0);
}

#[test]
fn a_sample_is_saturated_above_5_2_v_of_either_sign() {
    for code in i16::MIN..=i16::MAX {
        let code = AdcCode(code);
        assert_eq!(code.is_saturated(), code.volts().abs() > SATURATION_VOLTS, "{code:?}");
    }
}
