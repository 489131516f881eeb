#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use super::*;
use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
use embedded_hal_mock::eh1::i2c::{Mock, Transaction};
use std::vec;
use std::vec::Vec;

fn write(pointer: u8, value: u16) -> Transaction {
    let [high, low] = value.to_be_bytes();
    Transaction::write(ADDRESS, vec![pointer, high, low])
}

fn read(pointer: u8, value: u16) -> Transaction {
    Transaction::write_read(ADDRESS, vec![pointer], value.to_be_bytes().to_vec())
}

fn on_the_wire<T>(expected: &[Transaction], test: impl FnOnce(&mut Ad5593r<Mock>) -> T) -> T {
    let mut bus = Mock::new(expected);
    let result = test(&mut Ad5593r::new(bus.clone(), ADDRESS));
    bus.done();
    result
}

/// Registers as they are read back at the end of the set-up.
fn settings() -> [Transaction; 4] {
    [read(0x7B, 0), read(0x73, 0), read(0x77, 0), read(0x75, 0x00FF)]
}

fn set_up() -> Vec<Transaction> {
    let mut expected = vec![write(0x0B, 0), write(0x03, 0), write(0x07, 0), write(0x05, 0x00FF)];
    for channel in 0..8u8 {
        expected.push(write(0x10 | channel, 0x800));
        // Bit 15 is set and bits 14:12 are the channel in what comes back (data sheet, "DAC read back").
        expected.push(read(0x50 | channel, 0x8800 | u16::from(channel) << 12));
    }
    expected.extend(settings());
    expected
}

#[test]
fn set_up_makes_eight_dacs_of_the_outside_reference_and_reads_everything_back() {
    assert_eq!(on_the_wire(&set_up(), |chip| chip.set_up(DacCode::MIDDLE)), Ok(()));
}

#[test]
fn a_reset_is_the_magic_word() {
    assert_eq!(on_the_wire(&[write(0x0F, 0x0DAC)], Ad5593r::reset), Ok(()));
}

#[test]
fn a_code_that_reads_back_wrong_is_an_error_with_both_values() {
    let channel = Channel::new(5).unwrap();
    let wrote = DacCode::new(0x123).unwrap();
    let found = on_the_wire(&[read(0x55, 0xD133)], |chip| chip.verify(channel, wrote));
    assert_eq!(found, Err(Error::Code { channel, wrote, read: 0x133 }));
}

#[test]
fn a_chip_that_has_started_anew_is_noticed() {
    let register = Register::DacEnable;
    let found = on_the_wire(&[read(0x75, 0)], Ad5593r::check_enabled);
    assert_eq!(found, Err(Error::Register { register, wrote: 0xFF, read: 0 }));
    let mut registers = settings();
    registers[1] = read(0x73, 1 << 4);
    let found = on_the_wire(&registers[..2], Ad5593r::check);
    assert_eq!(found, Err(Error::Register { register: Register::Control, wrote: 0, read: 0x10 }));
}

#[test]
fn there_are_eight_channels_and_twelve_bits() {
    assert_eq!(Channel::all().count(), CHANNELS);
    assert_eq!(Channel::new(8), None);
    assert_eq!(DacCode::new(0x1000), None);
    assert_eq!(DacCode::new(0xFFF), Some(DacCode::TOP));
}

#[test]
fn a_bus_error_is_passed_on() {
    let kind = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
    let expected = [write(0x10, 0x800).with_error(kind)];
    let channel = Channel::new(0).unwrap();
    assert_eq!(on_the_wire(&expected, |chip| chip.write(channel, DacCode::MIDDLE)), Err(Error::Bus(kind)));
}
