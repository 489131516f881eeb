//! The bench protocol between its two ends: nothing is changed by going through it, damage is always noticed, the
//! bytes are those that the document shows, and they are few.

mod document;
mod instrument;
mod pipe;
mod recorder;

use embedded_io::{Read, Write};
use ohmrig_emulator::bench_server::ServerError;
use ohmrig_firmware::bench_link::{BenchLink, LinkError};
use ohmrig_protocol::bench::recall::Memory;
use ohmrig_protocol::bench::{Bench, BenchInfo, ChipKind, ChipSelect, OutputLine, wire};
use pipe::{Damage, Direction, Fault, Pipe, Stream};
use proptest::prelude::*;
use recorder::{AB_SELECT, CHIPS, FLASH_BYTES, Recorder, RecorderError, Shifts};
use std::cell::RefCell;
use std::convert::Infallible;

use std::rc::Rc;

type Link = BenchLink<'static, Stream<Recorder>>;

/// What a link remembers bursts in.
fn memory() -> &'static mut Memory {
    Box::leak(Box::default())
}

const ROWS: ChipSelect = ChipSelect { kind: ChipKind::RowDac, index: 0 };
const BIAS: ChipSelect = ChipSelect { kind: ChipKind::BiasDac, index: 0 };
const ADC: ChipSelect = ChipSelect { kind: ChipKind::Adc, index: 0 };
const ABSENT: ChipSelect = ChipSelect { kind: ChipKind::Adc, index: CHIPS };

/// One call of [`Bench`] with its arguments.
#[derive(Clone, Debug)]
enum Action {
    Info,
    Now,
    WaitFor(u64),
    WaitUntil(u64),
    SpiWrite { select: ChipSelect, frame: usize, out: Vec<u8> },
    SpiTransfer { select: ChipSelect, frame: usize, out: Vec<u8> },
    I2c { address: u8, out: Vec<u8>, read: usize },
    Output(OutputLine, bool),
    StartPulse(u32),
    StopPulse,
    PulseDone,
    StartConversion,
    ConversionDone,
    SupplyGood,
    FlashRead { offset: u32, length: usize },
    FlashWrite { offset: u32, bytes: Vec<u8> },
    FlashErase { offset: u32 },
    SetSwitches(u16),
    ArmSwitches(u16),
    SetDac(u16),
    ReadAdc { first: u8, count: usize },
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Nothing,
    Info(BenchInfo),
    Time(u64),
    Answer(bool, Vec<u8>),
}

fn perform<B: Bench>(action: &Action, bench: &mut B) -> Result<Outcome, B::Error> {
    let nothing = |()| Outcome::Nothing;
    match action {
        Action::Info => bench.info().map(Outcome::Info),
        Action::Now => bench.now_ns().map(Outcome::Time),
        Action::WaitFor(ns) => {
            let now = bench.now_ns()?;
            bench.wait_until_ns(now + ns).map(nothing)
        }
        Action::WaitUntil(at) => bench.wait_until_ns(*at).map(nothing),
        Action::SpiWrite { select, frame, out } => bench.spi_write(*select, *frame, out).map(nothing),
        Action::SpiTransfer { select, frame, out } => {
            let mut input = vec![0xAA; out.len()];
            bench.spi_transfer(*select, *frame, out, &mut input)?;
            Ok(Outcome::Answer(true, input))
        }
        Action::I2c { address, out, read } => {
            let mut input = vec![0; *read];
            let acknowledged = bench.i2c(*address, out, &mut input)?;
            Ok(Outcome::Answer(acknowledged, input))
        }
        Action::Output(line, high) => bench.set_output(*line, *high).map(nothing),
        Action::StartPulse(width) => bench.start_pulse(*width).map(nothing),
        Action::StopPulse => bench.stop_pulse().map(nothing),
        Action::PulseDone => Ok(Outcome::Answer(bench.pulse_done()?, Vec::new())),
        Action::StartConversion => bench.start_conversion().map(nothing),
        Action::SupplyGood => Ok(Outcome::Answer(bench.supply_good()?, Vec::new())),
        Action::ConversionDone => Ok(Outcome::Answer(bench.conversion_done()?, Vec::new())),
        Action::FlashRead { offset, length } => {
            let mut into = vec![0; *length];
            bench.flash_read(*offset, &mut into)?;
            Ok(Outcome::Answer(true, into))
        }
        Action::FlashWrite { offset, bytes } => bench.flash_write(*offset, bytes).map(nothing),
        Action::FlashErase { offset } => bench.flash_erase(*offset).map(nothing),
        Action::SetSwitches(closed) => bench.set_switches(*closed).map(nothing),
        Action::ArmSwitches(closed) => bench.arm_switches(*closed).map(nothing),
        Action::SetDac(code) => bench.set_dac(*code).map(nothing),
        Action::ReadAdc { first, count } => {
            let mut codes = vec![0; *count];
            bench.read_adc(*first, &mut codes)?;
            Ok(Outcome::Answer(true, codes.into_iter().flat_map(u16::to_le_bytes).collect()))
        }
    }
}

fn connect(pipe: &Rc<RefCell<Pipe<Recorder>>>) -> Result<Link, LinkError<Infallible>> {
    BenchLink::connect(Stream::new(pipe), memory())
}

fn select() -> impl Strategy<Value = ChipSelect> {
    const KINDS: [ChipKind; 12] = [
        ChipKind::RowDac,
        ChipKind::BiasDac,
        ChipKind::GateDac,
        ChipKind::Adc,
        ChipKind::RowConnect,
        ChipKind::ColumnSense,
        ChipKind::ColumnBias,
        ChipKind::Calibrate,
        ChipKind::Feedback10k,
        ChipKind::Feedback1k,
        ChipKind::RowCalibrate,
        ChipKind::FormingBypass,
    ];
    (prop::sample::select(&KINDS[..]), 0..CHIPS).prop_map(|(kind, index)| ChipSelect { kind, index })
}

/// Bursts of up to 300 words of which neighbours are often equal or counting.
fn burst() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let frame = prop_oneof![3 => Just(3usize), 1 => Just(18usize), 2 => 1usize..=32];
    let words = prop_oneof![3 => 0usize..=20, 1 => 0usize..=300];
    (frame, words).prop_flat_map(|(frame, words)| {
        let steps = prop::collection::vec((0u8..4, 0..frame, any::<u8>()), words);
        steps.prop_map(move |steps| {
            let mut word = vec![0u8; frame];
            let mut out = Vec::new();
            for (step, at, byte) in steps {
                match step {
                    0 => {}
                    1 => word[0] = word[0].wrapping_add(1),
                    2 => word[at] = byte,
                    _ => word.fill(0),
                }
                out.extend_from_slice(&word);
            }
            (frame, out)
        })
    })
}

fn action() -> impl Strategy<Value = Action> {
    let time = any::<(u64, u8)>().prop_map(|(ns, shift)| ns >> (24 + shift % 40));
    let line =
        prop::sample::select(&[OutputLine::DacClear, OutputLine::SwitchReset, OutputLine::AdcReset][..]);
    let bytes = |most: usize| prop::collection::vec(any::<u8>(), 0..=most);
    prop_oneof![
        Just(Action::Info),
        Just(Action::Now),
        time.clone().prop_map(Action::WaitFor),
        time.prop_map(Action::WaitUntil),
        (select(), burst()).prop_map(|(select, (frame, out))| Action::SpiWrite { select, frame, out }),
        (select(), burst()).prop_map(|(select, (frame, out))| Action::SpiTransfer { select, frame, out }),
        (0u8..0x80, bytes(wire::MAX_I2C_BYTES), 0..=wire::MAX_I2C_BYTES)
            .prop_map(|(address, out, read)| Action::I2c { address, out, read }),
        (line, any::<bool>()).prop_map(|(line, high)| Action::Output(line, high)),
        any::<u32>().prop_map(Action::StartPulse),
        Just(Action::StopPulse),
        Just(Action::PulseDone),
        Just(Action::StartConversion),
        Just(Action::ConversionDone),
        Just(Action::SupplyGood),
        (0..FLASH_BYTES / 2, 0usize..700).prop_map(|(offset, length)| Action::FlashRead { offset, length }),
        (0..FLASH_BYTES / 2, bytes(700)).prop_map(|(offset, bytes)| Action::FlashWrite { offset, bytes }),
        (0u32..4).prop_map(|sector| Action::FlashErase { offset: 4096 * sector }),
        any::<u16>().prop_map(Action::SetSwitches),
        any::<u16>().prop_map(Action::ArmSwitches),
        any::<u16>().prop_map(Action::SetDac),
        (any::<u8>(), 0..=wire::MAX_ADC_CODES).prop_map(|(first, count)| Action::ReadAdc { first, count }),
    ]
}

proptest! {
    #[test]
    fn calls_through_the_tunnel_are_the_calls_made_directly(
        actions in prop::collection::vec(action(), 0..40),
        chunk in 1usize..700,
    ) {
        let mut direct = Recorder::default();
        let pipe = Pipe::new(Recorder::default(), chunk);
        let mut link = connect(&pipe).unwrap();
        for action in &actions {
            let expected = perform(action, &mut direct).unwrap();
            prop_assert_eq!(perform(action, &mut link).unwrap(), expected, "{:?}", action);
        }
        prop_assert_eq!(link.now_ns(), Ok(direct.now_ns));
        pipe.borrow_mut().deliver();
        prop_assert_eq!(&pipe.borrow().bench.calls, &direct.calls);
    }
}

/// A DAC burst as the write path makes it: code B, setting and toggle of one channel are set, then A, B and setting of
/// all channels and the toggle register are read back. Register addresses of the LTC2688 as in Linux
/// `drivers/iio/dac/ltc2688.c`.
fn arm_channel(select: ChipSelect, channel: u8, code: u16) -> Action {
    const CODE: u8 = 0x00;
    const SETTING: u8 = 0x10;
    const TOGGLE_ENABLE: u8 = 0x74;
    const READ: u8 = 0x80;
    const NO_OPERATION: [u8; 3] = [0xFF, 0, 0];
    let [high, low] = code.to_be_bytes();
    let [mask_high, mask_low] = (1u16 << channel).to_be_bytes();
    let mut words = vec![
        [AB_SELECT, mask_high, mask_low],
        [CODE + channel, high, low],
        [SETTING + channel, 0x80, 0x01],
        [TOGGLE_ENABLE, mask_high, mask_low],
        [0x7C, 0, 0],
        [AB_SELECT, 0, 0],
    ];
    words.extend((0..16).map(|channel| [READ | (CODE + channel), 0, 0]));
    words.push([AB_SELECT, 0xFF, 0xFF]);
    words.extend((0..16).map(|channel| [READ | (CODE + channel), 0, 0]));
    words.extend((0..16).map(|channel| [READ | (SETTING + channel), 0, 0]));
    words.extend([[READ | TOGGLE_ENABLE, 0, 0], [AB_SELECT, 0, 0], NO_OPERATION]);
    Action::SpiTransfer { select, frame: 3, out: words.concat() }
}

/// One write pulse of 100 µs with both DACs armed and read back, and the read that verifies it.
fn pulse_verify() -> Vec<Action> {
    vec![
        arm_channel(ROWS, 5, 0xA3D7),
        arm_channel(BIAS, 9, 0x91EC),
        Action::StartPulse(100_000),
        Action::WaitFor(100_000),
        Action::PulseDone,
        Action::SpiWrite { select: ROWS, frame: 3, out: vec![0x74, 0, 0, 0x05, 0x85, 0x1F] },
        Action::SpiWrite { select: BIAS, frame: 3, out: vec![0x74, 0, 0] },
        Action::Now,
        Action::WaitFor(20_000),
        Action::StartConversion,
        Action::WaitFor(1_000),
        Action::ConversionDone,
        Action::SpiTransfer { select: ADC, frame: 18, out: vec![0; 18] },
        Action::SpiWrite { select: ROWS, frame: 3, out: vec![0x05, 0x80, 0x00] },
    ]
}

/// A bench some seconds after its start, whose DACs hold mid-scale codes and one setting for all channels.
fn running_bench(shifts: Shifts) -> Recorder {
    let mut bench = Recorder::default();
    bench.now_ns = 7_654_321_987;
    for select in [ROWS, BIAS] {
        bench.shifts.insert(select, shifts);
        for channel in 0..16 {
            bench.registers.insert((select, channel), 0x8000);
            bench.registers.insert((select, 0x80 | channel), 0x8000);
            bench.registers.insert((select, 0x10 + channel), 0x8001);
        }
    }
    bench
}

#[test]
fn a_pulse_verify_costs_at_most_260_bytes() {
    for shifts in [Shifts::RegistersAndEcho, Shifts::RegistersAndZeros] {
        let pipe = Pipe::new(running_bench(shifts), 64);
        let mut link = connect(&pipe).unwrap();
        for repeat in 0..3 {
            pipe.borrow_mut().transcript.clear();
            for action in pulse_verify() {
                perform(&action, &mut link).unwrap();
            }
            let bytes = pipe.borrow().bytes();
            assert!(bytes <= 260, "{bytes} bytes in pulse {repeat} with {shifts:?}");
            // Two DACs, pulse, clock, conversion, ADC.
            assert_eq!(pipe.borrow().round_trips(), 6);
        }
    }
}

/// One MVM: 16 new row codes, an update, settling, a conversion, both ADCs.
fn mvm() -> Vec<Action> {
    let codes = (0..16u8).flat_map(|row| [row, 0x80 + 7 * row, 0x31]).chain([0x7C, 0, 0]);
    vec![
        Action::SpiWrite { select: ROWS, frame: 3, out: codes.collect() },
        Action::Now,
        Action::WaitFor(20_000),
        Action::StartConversion,
        Action::WaitFor(1_000),
        Action::ConversionDone,
        Action::SpiTransfer { select: ADC, frame: 18, out: vec![0; 18] },
        Action::SpiTransfer { select: ChipSelect { index: 1, ..ADC }, frame: 18, out: vec![0; 18] },
    ]
}

#[test]
fn an_mvm_waits_for_the_bench_four_times() {
    let pipe = Pipe::new(running_bench(Shifts::RegistersAndEcho), 64);
    let mut link = connect(&pipe).unwrap();
    pipe.borrow_mut().transcript.clear();
    for action in mvm() {
        perform(&action, &mut link).unwrap();
    }
    assert_eq!(pipe.borrow().round_trips(), 4);
}

/// Everything an awaited reply can depend on, ending with one.
fn damaged_conversation() -> Vec<Action> {
    let mut actions = pulse_verify();
    actions.extend([
        Action::FlashWrite { offset: 3, bytes: vec![1, 2, 3] },
        Action::I2c { address: 0x48, out: vec![0], read: 2 },
        Action::FlashRead { offset: 0, length: 8 },
        Action::Output(OutputLine::AdcReset, true),
        Action::WaitUntil(3),
        Action::SpiWrite {
            select: ChipSelect { index: CHIPS - 1, ..ADC },
            frame: 5,
            out: vec![0, 1, 2, 3, 4],
        },
        Action::Now,
    ]);
    actions
}

/// Performs `actions`, and says what came of each up to the first error.
fn converse(
    actions: &[Action],
    pipe: &Rc<RefCell<Pipe<Recorder>>>,
) -> (Vec<Outcome>, Option<LinkError<Infallible>>) {
    let mut link = match connect(pipe) {
        Ok(link) => link,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut outcomes = Vec::new();
    for action in actions {
        match perform(action, &mut link) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => {
                assert_eq!(perform(&Action::PulseDone, &mut link), Err(LinkError::Broken));
                return (outcomes, Some(error));
            }
        }
    }
    (outcomes, None)
}

#[test]
fn every_byte_lost_doubled_or_changed_is_noticed_before_a_wrong_result() {
    let actions = damaged_conversation();
    let bench = running_bench(Shifts::RegistersAndEcho);
    let sound = Pipe::new(bench.clone(), 64);
    let (expected, error) = converse(&actions, &sound);
    assert_eq!(error, None);
    for direction in [Direction::ToBench, Direction::FromBench] {
        let bytes: usize = sound
            .borrow()
            .transcript
            .iter()
            .filter(|said| said.0 == direction)
            .map(|said| said.1.len())
            .sum();
        let damages = [Damage::Lost, Damage::Doubled].into_iter();
        for damage in damages.chain((0..8).map(|bit| Damage::Flipped { bit })) {
            for at in 0..bytes {
                let pipe = Pipe::new(bench.clone(), 64);
                pipe.borrow_mut().fault = Some(Fault { direction, at, damage });
                let (outcomes, error) = converse(&actions, &pipe);
                assert!(expected.starts_with(&outcomes), "{direction:?} {at} {damage:?}: {outcomes:?}");
                if error.is_none() {
                    // Only what was no part of the conversation may pass: a byte before the greeting, one at the end.
                    assert_eq!(damage, Damage::Doubled, "{direction:?} {at}");
                    assert!(at == 0 || at == bytes - 1, "{direction:?} {at}");
                    assert_eq!(pipe.borrow().bench.calls, sound.borrow().bench.calls);
                }
            }
        }
    }
}

#[test]
fn an_absent_chip_fails_the_next_awaited_call_and_ends_the_conversation() {
    let pipe = Pipe::new(Recorder::default(), 64);
    let mut link = connect(&pipe).unwrap();
    link.spi_write(ABSENT, 3, &[1, 2, 3]).unwrap();
    link.set_output(OutputLine::DacClear, true).unwrap();
    let failed = LinkError::Failed { opcode: wire::opcode::SPI_WRITE_3, fault: wire::Fault::Refused };
    assert_eq!(link.pulse_done(), Err(failed));
    assert_eq!(link.start_pulse(20_000), Err(LinkError::Broken));
    assert_eq!(pipe.borrow().bench.calls, []);
    assert_eq!(
        pipe.borrow().server_errors,
        [ServerError::Bench { opcode: wire::opcode::SPI_WRITE_3, error: RecorderError::Absent(ABSENT) }]
    );

    let mut link = connect(&pipe).unwrap();
    assert_eq!(link.pulse_done(), Ok(true));
}

#[test]
fn a_firmware_that_restarts_amid_an_operation_is_greeted_and_the_rest_never_happens() {
    let pipe = Pipe::new(Recorder::default(), 64);
    let _ = connect(&pipe).unwrap();
    let mut stream = Stream::new(&pipe);
    // A literal of 4 words of which one arrives.
    let half = [wire::opcode::SPI_WRITE_3, 0x00, 4, 0x03, 0x12, 0x34, 0x56];
    stream.write_all(&half).unwrap();
    let mut link = connect(&pipe).unwrap();
    assert_eq!(link.now_ns(), Ok(0));
    assert_eq!(pipe.borrow().bench.calls, []);
    assert_eq!(pipe.borrow().server_errors, []);
}

/// A stream with something to say, whatever it is told.
struct Recording<'a>(&'a [u8]);

impl embedded_io::ErrorType for Recording<'_> {
    type Error = Infallible;
}

impl Read for Recording<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        self.0.read(into)
    }
}

impl Write for Recording<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[test]
fn a_bench_of_another_version_is_refused_with_both_versions() {
    let answer = [&wire::HELLO_REPLY[..], &[0x34, 0x12]].concat();
    let error = BenchLink::connect(Recording(&answer), memory()).err().unwrap();
    assert_eq!(error, LinkError::Version { link: wire::VERSION, bench: 0x1234 });
    assert_eq!(error.to_string(), "bench protocol version 4660 at the bench, 1 here");
}

#[test]
fn something_that_is_no_bench_is_given_up() {
    let chatter = [0xA5; 10_000];
    assert_eq!(
        BenchLink::connect(Recording(&chatter), memory()).err(),
        Some(LinkError::NoBench { skipped: 4096 })
    );
    assert_eq!(BenchLink::connect(Recording(b"login: "), memory()).err(), Some(LinkError::Closed));
}

#[test]
fn a_call_the_protocol_cannot_carry_is_refused_and_the_conversation_goes_on() {
    let pipe = Pipe::new(Recorder::default(), 64);
    let mut link = connect(&pipe).unwrap();
    let mut input = [0; 6];
    assert_eq!(link.spi_write(ADC, 0, &[]), Err(LinkError::FrameSize { bytes: 0 }));
    assert_eq!(link.spi_write(ADC, 33, &[0; 33]), Err(LinkError::FrameSize { bytes: 33 }));
    assert_eq!(link.spi_write(ADC, 3, &[0; 7]), Err(LinkError::NotWholeFrames { bytes: 7, frame: 3 }));
    assert_eq!(
        link.spi_transfer(ADC, 3, &[0; 9], &mut input),
        Err(LinkError::UnequalLengths { out: 9, input: 6 })
    );
    assert_eq!(link.i2c(0x48, &[0; 33], &mut input), Err(LinkError::I2cLength { bytes: 33 }));
    assert_eq!(link.read_adc(0, &mut [0; 17]), Err(LinkError::AdcLength { codes: 17 }));
    assert_eq!(
        link.flash_write(u32::MAX, &[0; 6]),
        Err(LinkError::FlashRange { offset: u32::MAX, bytes: 6 })
    );
    assert_eq!(link.pulse_done(), Ok(true));
    assert_eq!(pipe.borrow().bench.calls, [recorder::Call::PulseDone { at_ns: 0 }]);
}

#[test]
fn the_clock_is_asked_for_only_after_posted_transactions() {
    let pipe = Pipe::new(Recorder::default(), 64);
    let mut link = connect(&pipe).unwrap();
    let trips = |link: &mut Link, call: &dyn Fn(&mut Link)| {
        let before = pipe.borrow().round_trips();
        call(link);
        link.now_ns().unwrap();
        pipe.borrow().round_trips() - before
    };
    assert_eq!(trips(&mut link, &|_| ()), 0);
    assert_eq!(trips(&mut link, &|link| link.wait_until_ns(5_000).unwrap()), 0);
    assert_eq!(trips(&mut link, &|link| link.wait_until_ns(4_000).unwrap()), 0);
    assert_eq!(trips(&mut link, &|link| link.start_pulse(1_000_000).unwrap()), 0);
    assert_eq!(trips(&mut link, &|link| link.spi_write(ADC, 3, &[0; 3]).unwrap()), 1);
    assert_eq!(trips(&mut link, &|_| ()), 0);
    assert_eq!(link.now_ns(), Ok(pipe.borrow().bench.now_ns));
}

#[test]
fn a_bench_whose_clock_moves_by_itself_is_refused() {
    let pipe = Pipe::new(Recorder::default(), 64);
    let mut link = connect(&pipe).unwrap();
    link.wait_until_ns(1_000).unwrap();
    link.start_pulse(20_000).unwrap();
    pipe.borrow_mut().deliver();
    pipe.borrow_mut().bench.now_ns += 7;
    assert_eq!(link.pulse_done(), Err(LinkError::Clock { link: 1_000, bench: 1_007 }));
}
