#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use super::*;
use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
use embedded_hal_mock::eh1::i2c::{Mock, Transaction};
use std::vec;

fn read(register: u8, value: u16) -> Transaction {
    Transaction::write_read(ADDRESS, vec![register], value.to_be_bytes().to_vec())
}

fn on_the_wire<T>(expected: &[Transaction], test: impl FnOnce(&mut Tmp117<Mock>) -> T) -> T {
    let mut bus = Mock::new(expected);
    let result = test(&mut Tmp117::new(bus.clone(), ADDRESS));
    bus.done();
    result
}

#[test]
fn init_checks_the_identity_and_starts_one_conversion_a_second() {
    let expected = [
        read(0x0F, 0x0117),
        Transaction::write(0x48, vec![0x01, 0x02, 0x20]),
        read(0x01, 0x2220), // the data-ready flag doesn't disturb the read-back
    ];
    assert_eq!(on_the_wire(&expected, Tmp117::init), Ok(()));
}

#[test]
fn a_later_silicon_revision_is_still_a_tmp117() {
    let expected = [read(0x0F, 0x1117), Transaction::write(0x48, vec![0x01, 0x02, 0x20]), read(0x01, 0x0220)];
    assert_eq!(on_the_wire(&expected, Tmp117::init), Ok(()));
}

#[test]
fn another_part_is_refused_and_not_configured() {
    // A TMP116 (TI SBOS740A): same registers, another identity.
    let refused = on_the_wire(&[read(0x0F, 0x1116)], Tmp117::init);
    assert_eq!(refused, Err(Error::Identity { expected: 0x117, found: 0x1116 }));
}

#[test]
fn a_configuration_that_does_not_stick_is_an_error_with_both_values() {
    let expected = [read(0x0F, 0x0117), Transaction::write(0x48, vec![0x01, 0x02, 0x20]), read(0x01, 0x0620)];
    assert_eq!(on_the_wire(&expected, Tmp117::init), Err(Error::ReadBack { wrote: 0x0220, read: 0x0620 }));
}

#[test]
fn one_shot_sets_mode_3_with_eight_averages() {
    let expected = [Transaction::write(0x48, vec![0x01, 0x0C, 0x20])];
    assert_eq!(on_the_wire(&expected, Tmp117::one_shot), Ok(()));
}

#[test]
fn a_ready_result_is_in_kelvin() {
    // 25 °C is 0x0C80 and −25 °C 0xF380 at 7.8125 m°C per LSB (datasheet, data format table).
    for (raw, kelvin) in [(0x0C80, 298.15), (0xF380, 248.15), (0x0000, 273.15)] {
        let measured =
            on_the_wire(&[read(0x01, 0x2220), read(0x00, raw), read(0x00, raw)], Tmp117::temperature_kelvin);
        // Exact in f32 but for 273.15 itself, half of whose last place is 15 µK.
        assert!((measured.unwrap().unwrap() - kelvin).abs() < 2.0 * 15.3e-6, "{measured:?}");
    }
}

#[test]
fn nothing_is_reported_before_a_conversion_has_ended() {
    assert_eq!(on_the_wire(&[read(0x01, 0x0220)], Tmp117::temperature_kelvin), Ok(None));
    // The reset value of the result, −256 °C, is no temperature even if the flag claims so.
    let reset = [read(0x01, 0x2220), read(0x00, 0x8000), read(0x00, 0x8000)];
    assert_eq!(on_the_wire(&reset, Tmp117::temperature_kelvin), Ok(None));
}

#[test]
fn a_result_is_believed_once_it_reads_the_same_twice() {
    let ready = read(0x01, 0x2220);
    for codes in [&[0x1C80, 0x0C80, 0x0C80][..], &[0x0C80, 0x0C00, 0x0C80, 0x0C80]] {
        let expected: vec::Vec<_> =
            core::iter::once(ready.clone()).chain(codes.iter().map(|&raw| read(0x00, raw))).collect();
        let measured = on_the_wire(&expected, Tmp117::temperature_kelvin).unwrap().unwrap();
        assert!((measured - 298.15).abs() < 2.0 * 15.3e-6, "{measured}");
    }
    let never = [ready, read(0x00, 1), read(0x00, 2), read(0x00, 1), read(0x00, 2)];
    assert_eq!(on_the_wire(&never, Tmp117::temperature_kelvin), Err(Error::Result { raw: 2 }));
}

#[test]
fn what_the_part_cannot_measure_is_no_temperature() {
    for raw in [150 * 128 + 1, -55 * 128 - 1] {
        let expected = [read(0x01, 0x2220), read(0x00, raw as u16), read(0x00, raw as u16)];
        assert_eq!(on_the_wire(&expected, Tmp117::temperature_kelvin), Err(Error::Result { raw }));
    }
}

#[test]
fn a_bus_error_is_passed_on() {
    let kind = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
    let expected = [read(0x0F, 0).with_error(kind)];
    assert_eq!(on_the_wire(&expected, Tmp117::init), Err(Error::Bus(kind)));
}
