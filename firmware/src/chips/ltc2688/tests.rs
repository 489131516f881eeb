#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use super::*;
use crate::chips::wire::{Frame, answered, on_the_wire, sent};
use std::vec::Vec;

const NOTHING: [u8; 3] = [0x99; 3];

fn channel(number: u8) -> Channel {
    Channel::try_from(number).unwrap()
}

#[test]
fn a_channel_is_0_to_15() {
    for number in 0..=u8::MAX {
        assert_eq!(Channel::try_from(number).is_ok(), number < 16);
    }
    assert_eq!(Channel::try_from(16), Err(NoSuchChannel(16)));
    assert!(Channel::all().map(Channel::index).eq(0..16));
    assert_eq!(channel(15).mask(), 0x8000);
}

#[test]
fn a_script_of_writes_is_written_and_nothing_is_read() {
    let mut script = Script::<3>::new();
    script.write(Register::CodeAll, 0x8000).unwrap();
    script.write(Register::Setting(channel(5)), 0x0012).unwrap();
    script.write(Register::UpdateAll, 0).unwrap();
    let done =
        on_the_wire(&[sent(&[0x78, 0x80, 0x00]), sent(&[0x15, 0x00, 0x12]), sent(&[0x7C, 0, 0])], |spi| {
            Ltc2688::new(spi).run(&script, |_, _| panic!("nothing was read"))
        });
    assert_eq!(done, Ok(()));
}

#[test]
fn the_reply_to_a_read_is_taken_from_the_next_frame_whatever_that_is() {
    let mut script = Script::<5>::new();
    script.read(Register::Code(channel(3))).unwrap();
    script.write(Register::AbSelect, 0xFFFF).unwrap();
    script.read(Register::Code(channel(3))).unwrap();
    script.read(Register::ToggleEnable).unwrap();

    let mut delivered = Vec::new();
    on_the_wire(
        &[
            answered(&[0x83, 0, 0], &NOTHING),
            answered(&[0x72, 0xFF, 0xFF], &[0x00, 0x12, 0x34]),
            answered(&[0x83, 0, 0], &NOTHING),
            answered(&[0xF4, 0, 0], &[0xAA, 0x56, 0x78]),
            answered(&[0xFF, 0, 0], &[0x83, 0x00, 0x08]),
        ],
        |spi| Ltc2688::new(spi).run(&script, |address, value| delivered.push((address, value))),
    )
    .unwrap();
    assert_eq!(delivered, [(0x03, 0x1234), (0x03, 0x5678), (0x74, 0x0008)]);
}

#[test]
fn a_script_ends_in_a_no_op_only_if_it_ends_in_a_read() {
    let mut script = Script::<3>::new();
    script.read(Register::Config).unwrap();
    assert_eq!(script.frames(), [[0xF0, 0, 0], [0xFF, 0, 0]]);
    script.write(Register::PowerDown, 1).unwrap();
    assert_eq!(script.frames(), [[0xF0, 0, 0], [0x71, 0, 1]]);
}

#[test]
fn a_full_script_refuses_and_stays_as_it_was() {
    let mut script = Script::<2>::new();
    script.read(Register::Config).unwrap();
    assert_eq!(script.read(Register::Config).unwrap_err(), ScriptError::Full { capacity: 2 });
    assert_eq!(script.frames(), [[0xF0, 0, 0], [0xFF, 0, 0]]);
    script.write(Register::UpdateAll, 0).unwrap();
    assert_eq!(script.write(Register::UpdateAll, 0).unwrap_err(), ScriptError::Full { capacity: 2 });
    assert_eq!(script.frames(), [[0xF0, 0, 0], [0x7C, 0, 0]]);
}

#[test]
fn commands_cannot_be_read_and_status_cannot_be_written() {
    let mut script = Script::<4>::new();
    for register in [Register::CodeUpdate(channel(0)), Register::Update(channel(15)), Register::CodeAll] {
        assert_eq!(script.read(register).unwrap_err(), ScriptError::NotReadable(register));
    }
    let status = Register::ThermalStatus;
    assert_eq!(script.write(status, 0).unwrap_err(), ScriptError::NotWritable(status));
    assert!(script.frames().is_empty());
}

#[test]
fn every_channel_is_read_upwards_and_only_what_changes_is_written() {
    let mut script = Script::<20>::new();
    let held = core::array::from_fn(|n| 0x8000 + n as u16);
    let mut codes = held;
    (codes[3], codes[15]) = (0x1234, 0x5678);
    script.read(Register::ToggleEnable).unwrap();
    script.write_changed(&held, &codes).unwrap().read_all(Register::Setting, 0).unwrap();
    let mut frames = Vec::from([[0xF4, 0, 0], [0x03, 0x12, 0x34], [0x0F, 0x56, 0x78]]);
    frames.extend((0..16).map(|n| [0x90 + n, 0, 0]));
    frames.push([0xFF, 0, 0]);
    assert_eq!(script.frames(), frames);
    let full = ScriptError::Full { capacity: 20 };
    assert_eq!(script.write_changed(&held, &codes).unwrap_err(), full);
    // Nothing to write leaves the reply to the last read its frame.
    script.write_changed(&held, &held).unwrap();
    assert_eq!(script.frames(), frames);
}

#[test]
fn each_call_sends_these_bytes() {
    type Call = fn(&mut Ltc2688<crate::hardware::PerFrame<embedded_hal_mock::eh1::spi::Mock<u8>>>);
    let table: [(Call, &[[u8; 3]]); 10] = [
        (|dac| dac.software_reset().unwrap(), &[[0x70, 0x80, 0x00]]),
        (
            |dac| {
                let row = Setting { span: Span::Bipolar5, toggle: ToggleSource::Tgp0 };
                dac.set_setting(channel(1), row).unwrap();
            },
            &[[0x11, 0x00, 0x12]],
        ),
        (
            |dac| dac.write_code(InputRegister::A, channel(2), DacCode(0x1234)).unwrap(),
            &[[0x72, 0x00, 0x00], [0x02, 0x12, 0x34]],
        ),
        (
            |dac| dac.write_code(InputRegister::B, channel(2), DacCode(0x1234)).unwrap(),
            &[[0x72, 0xFF, 0xFF], [0x02, 0x12, 0x34], [0x72, 0x00, 0x00]],
        ),
        (|dac| dac.update(channel(7)).unwrap(), &[[0x72, 0, 0], [0x67, 0, 0]]),
        (|dac| dac.update_all().unwrap(), &[[0x72, 0, 0], [0x7C, 0, 0]]),
        (
            |dac| dac.write_and_update(channel(8), DacCode::MID_SCALE).unwrap(),
            &[[0x72, 0, 0], [0x48, 0x80, 0x00]],
        ),
        (|dac| dac.set_toggle_enable(0x8001).unwrap(), &[[0x74, 0x80, 0x01]]),
        (|dac| dac.set_ab_select(0x00FF).unwrap(), &[[0x72, 0x00, 0xFF]]),
        (
            |dac| {
                let gate = Setting { span: Span::Unipolar5, toggle: ToggleSource::Software };
                dac.set_setting(channel(15), gate).unwrap();
            },
            &[[0x1F, 0x00, 0x00]],
        ),
    ];
    for (call, frames) in table {
        let frames = frames.iter().map(|frame| sent(frame)).collect::<Vec<Frame<'_>>>();
        on_the_wire(&frames, |spi| call(&mut Ltc2688::new(spi)));
    }
}

#[test]
fn addresses_are_those_of_the_public_drivers() {
    let last = channel(15);
    let table = [
        (Register::Offset(last), 0x2F),
        (Register::Gain(last), 0x3F),
        (Register::CodeUpdate(last), 0x4F),
        (Register::CodeUpdateAll(last), 0x5F),
        (Register::Update(last), 0x6F),
        (Register::SoftwareToggle, 0x73),
        (Register::MuxControl, 0x75),
        (Register::CodeAllUpdateAll, 0x79),
        (Register::SettingAll, 0x7A),
        (Register::SettingAllUpdateAll, 0x7B),
    ];
    for (register, address) in table {
        assert_eq!(register.address(), address, "{register:?}");
    }
}

#[test]
fn check_passes_a_part_that_keeps_both_patterns_and_names_the_one_that_is_lost() {
    let check = |second: u16| {
        let [high, low] = second.to_be_bytes();
        on_the_wire(
            &[
                answered(&[0x72, 0x5A, 0xA5], &NOTHING),
                answered(&[0xF2, 0, 0], &NOTHING),
                answered(&[0x72, 0xA5, 0x5A], &[0, 0x5A, 0xA5]),
                answered(&[0xF2, 0, 0], &NOTHING),
                answered(&[0x72, 0, 0], &[0, high, low]),
                answered(&[0xF2, 0, 0], &NOTHING),
                answered(&[0xFF, 0, 0], &[0, 0, 0]),
            ],
            |spi| Ltc2688::new(spi).check(),
        )
    };
    assert_eq!(check(0xA55A), Ok(()));
    assert_eq!(
        check(0xA55B),
        Err(Error::ReadBack { register: Register::AbSelect, wrote: 0xA55A, read: 0xA55B })
    );
}

#[test]
fn faults_are_both_registers_as_they_stand() {
    let faults = on_the_wire(
        &[
            answered(&[0xF6, 0, 0], &NOTHING),
            answered(&[0xF7, 0, 0], &[0, 0x00, 0x20]),
            answered(&[0xFF, 0, 0], &[0, 0x80, 0x01]),
        ],
        |spi| Ltc2688::new(spi).faults(),
    )
    .unwrap();
    assert_eq!(faults, Faults { fault: 0x0020, thermal: 0x8001 });
    assert!(!faults.is_clear() && Faults::default().is_clear());
}

const SPANS: [(Span, f32, f32); 5] = [
    (Span::Unipolar5, 0.0, 5.0),
    (Span::Unipolar10, 0.0, 10.0),
    (Span::Bipolar5, -5.0, 5.0),
    (Span::Bipolar10, -10.0, 10.0),
    (Span::Bipolar15, -15.0, 15.0),
];

#[test]
fn every_code_of_every_span_survives_the_way_to_volts_and_back() {
    for (span, lowest, end) in SPANS {
        let step = (end - lowest) / 65536.0;
        assert_eq!(span.limits(), (lowest, end - step));
        for code in (0..=u16::MAX).map(DacCode) {
            assert_eq!(span.code(span.volts(code)), Ok(code), "{span:?} {code:?}");
        }
    }
    assert_eq!(Span::Bipolar5.volts(DacCode::MID_SCALE), 0.0);
    assert_eq!(Span::Bipolar5.volts(DacCode(0)), -5.0);
    assert_eq!(Span::Unipolar5.volts(DacCode::MID_SCALE), 2.5);
}

#[test]
fn volts_go_to_the_nearest_code() {
    let step = 10.0 / 65536.0;
    for (volts, code) in
        [(0.49 * step, 0x8000), (0.5 * step, 0x8001), (-0.49 * step, 0x8000), (-0.51 * step, 0x7FFF)]
    {
        assert_eq!(Span::Bipolar5.code(volts), Ok(DacCode(code)), "{volts} V");
    }
}

#[test]
fn what_no_code_is_nearest_to_is_refused_with_what_was_asked_and_what_is_allowed() {
    for (span, lowest, end) in SPANS {
        let step = (end - lowest) / 65536.0;
        let highest = end - step;
        assert_eq!(span.code(end - 0.6 * step), Ok(DacCode(u16::MAX)));
        assert_eq!(span.code(lowest - 0.4 * step), Ok(DacCode(0)));
        for asked in [end, end - 0.4 * step, lowest - 0.6 * step, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(span.code(asked), Err(OutOfSpan { asked, lowest, highest }));
        }
        assert!(span.code(f32::NAN).is_err());
    }
}
