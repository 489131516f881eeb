//! The front end against registers that read back: what is closed when, what each line is at, what crosses the bus.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::hardware::{Hardware, NoFlash, PerFrame};
use core::convert::Infallible;
use embedded_hal::{digital, i2c, spi};
use ohmrig_protocol::bench::{ChipSelect, OutputLine};
use ohmrig_protocol::message::FaultCode;
use std::vec::Vec;

/// What happened, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Switches(u16),
    Armed(u16),
    Bias(u16),
    Code(u8, u16),
    Pulse(u32),
    Stop,
    Convert,
}

/// An AD5593R as Linux `ad5593r.c` talks to one, and a microcontroller.
#[derive(Debug)]
struct Board {
    registers: [u16; 16],
    codes: [u16; 8],
    pointer: u8,
    closed: u16,
    armed: u16,
    bias: u16,
    pulsing: bool,
    adc: [u16; 8],
    events: Vec<Event>,
    /// This bit of the next code that is written is turned over.
    flip: Option<u16>,
}

impl Board {
    fn new() -> Self {
        Self {
            registers: [0; 16],
            codes: [0; 8],
            pointer: 0,
            closed: 0xFFFF,
            armed: 0,
            bias: 0,
            pulsing: false,
            adc: [ZERO_CODE; 8],
            events: Vec::new(),
            flip: None,
        }
    }

    fn write(&mut self, pointer: u8, value: u16) {
        let number = usize::from(pointer & 0xF);
        match pointer >> 4 {
            0 if number == 0xF && value == 0x0DAC => (self.registers, self.codes) = ([0; 16], [0; 8]),
            0 => self.registers[number] = value,
            1 => {
                self.codes[number] = value ^ self.flip.take().unwrap_or(0);
                self.events.push(Event::Code(number as u8, self.codes[number]));
            }
            _ => panic!("pointer {pointer:#04x}"),
        }
    }

    fn read(&self) -> u16 {
        let number = usize::from(self.pointer & 0xF);
        match self.pointer >> 4 {
            5 => 0x8000 | (number as u16) << 12 | self.codes[number],
            7 => self.registers[number],
            _ => panic!("pointer {:#04x}", self.pointer),
        }
    }
}

#[derive(Debug)]
struct Handle<'a>(&'a mut Board);

impl i2c::ErrorType for Handle<'_> {
    type Error = i2c::ErrorKind;
}

impl i2c::I2c for Handle<'_> {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [i2c::Operation<'_>],
    ) -> Result<(), i2c::ErrorKind> {
        if address != 0x11 {
            return Err(i2c::ErrorKind::NoAcknowledge(i2c::NoAcknowledgeSource::Address));
        }
        for operation in operations {
            match operation {
                i2c::Operation::Write([pointer]) => self.0.pointer = *pointer,
                i2c::Operation::Write([pointer, high, low]) => {
                    self.0.write(*pointer, u16::from_be_bytes([*high, *low]));
                }
                i2c::Operation::Read(into) => into.copy_from_slice(&self.0.read().to_be_bytes()),
                other => panic!("{other:?}"),
            }
        }
        Ok(())
    }
}

impl Sequencer for Handle<'_> {
    type Error = Infallible;

    fn start_pulse(&mut self, width_ns: u32) -> Result<(), Infallible> {
        self.0.pulsing = true;
        self.0.events.push(Event::Pulse(width_ns));
        Ok(())
    }
    fn stop_pulse(&mut self) -> Result<(), Infallible> {
        self.0.pulsing = false;
        self.0.events.push(Event::Stop);
        Ok(())
    }
    fn pulse_done(&mut self) -> Result<bool, Infallible> {
        Ok(!self.0.pulsing)
    }
    fn start_conversion(&mut self) -> Result<(), Infallible> {
        self.0.events.push(Event::Convert);
        Ok(())
    }
    fn conversion_done(&mut self) -> Result<bool, Infallible> {
        Ok(true)
    }
}

impl Peripherals for Handle<'_> {
    type Error = Infallible;

    fn set_switches(&mut self, closed: u16) -> Result<(), Infallible> {
        self.0.closed = closed;
        self.0.events.push(Event::Switches(closed));
        Ok(())
    }
    fn arm_switches(&mut self, closed: u16) -> Result<(), Infallible> {
        self.0.armed = closed;
        self.0.events.push(Event::Armed(closed));
        Ok(())
    }
    fn set_dac(&mut self, code: u16) -> Result<(), Infallible> {
        self.0.bias = code;
        self.0.events.push(Event::Bias(code));
        Ok(())
    }
    fn read_adc(&mut self, first: u8, codes: &mut [u16]) -> Result<(), Infallible> {
        codes.copy_from_slice(&self.0.adc[usize::from(first)..][..codes.len()]);
        Ok(())
    }
}

/// The shield has nothing on SPI and no reset lines.
#[derive(Debug)]
struct Nothing;

impl spi::ErrorType for Nothing {
    type Error = Infallible;
}
impl spi::SpiDevice for Nothing {
    fn transaction(&mut self, _: &mut [spi::Operation<'_, u8>]) -> Result<(), Infallible> {
        panic!("SPI")
    }
}
impl digital::ErrorType for Nothing {
    type Error = Infallible;
}
impl digital::OutputPin for Nothing {
    fn set_low(&mut self) -> Result<(), Infallible> {
        panic!("a reset line")
    }
    fn set_high(&mut self) -> Result<(), Infallible> {
        panic!("a reset line")
    }
}

impl Hardware for Board {
    type Error = Infallible;
    type Spi<'a> = PerFrame<Nothing>;
    type I2c<'a> = Handle<'a>;
    type Output<'a> = Nothing;
    type Sequencer<'a> = Handle<'a>;

    fn chip(&mut self, _: ChipSelect) -> PerFrame<Nothing> {
        PerFrame(Nothing)
    }
    fn i2c(&mut self) -> Handle<'_> {
        Handle(self)
    }
    fn output(&mut self, _: OutputLine) -> Nothing {
        Nothing
    }
    fn sequencer(&mut self) -> Handle<'_> {
        Handle(self)
    }
    fn supply_good(&mut self) -> Result<bool, Infallible> {
        panic!("a supervisor")
    }
}

impl Mounted for Board {
    type Peripherals<'a> = Handle<'a>;
    fn peripherals(&mut self) -> Handle<'_> {
        Handle(self)
    }
}

impl Persistent for Board {
    type Flash<'a> = NoFlash;
    fn flash(&mut self) -> NoFlash {
        NoFlash
    }
}

fn go_safe(shield: &mut OpenMena<Board>) -> Result<(), FrontEndError> {
    while let Progress::Again(_) = shield.make_safe()? {}
    Ok(())
}

fn safe() -> OpenMena<Board> {
    let mut shield = OpenMena::new(Board::new());
    go_safe(&mut shield).unwrap();
    shield.hardware_mut().events.clear();
    shield
}

fn selected(row: u16, column: u16, scheme: Scheme) -> OpenMena<Board> {
    let mut shield = safe();
    let _ = shield.select(Selection { row, column, scheme, forming: false }).unwrap();
    shield
}

fn codes(volts: [f32; 8]) -> Vec<u8> {
    let code = |volts: f32| (0..4096).find(|&code| parts::row_code(volts) == DacCode::new(code)).unwrap();
    volts.into_iter().flat_map(|volts| code(volts).to_le_bytes()).collect()
}

#[test]
fn safe_is_all_switches_open_and_every_driver_in_the_middle() {
    let mut shield = OpenMena::new(Board::new());
    go_safe(&mut shield).unwrap();
    let board = shield.hardware_mut();
    assert_eq!(board.events[0], Event::Stop);
    assert!(board.events.contains(&Event::Switches(0)) && board.closed == 0 && board.armed == 0);
    assert_eq!(board.codes, [0x800; 8]);
    // PD, CTRL, LDAC, DAC_EN.
    assert_eq!([0xB, 0x3, 0x7, 0x5].map(|register| board.registers[register]), [0, 0, 0, 0xFF]);
    assert!((f32::from(board.bias) / 4095.0 * 2.1945 + 0.545 - 0.75).abs() < 3e-4);
    assert_eq!(board.events.iter().filter(|event| **event == Event::Convert).count(), 16);
}

#[test]
fn amplifiers_that_are_not_in_the_middle_without_current_keep_the_board_from_safe() {
    for code in [0, ZERO_CODE - 91, ZERO_CODE + 91, 4095] {
        let mut board = Board::new();
        board.adc[6] = code;
        let mut shield = OpenMena::new(board);
        assert_eq!(go_safe(&mut shield), Err(FrontEndError { code: FaultCode::Chip, chip: None }), "{code}");
        assert_eq!(shield.hardware_mut().closed, 0);
    }
}

#[test]
fn codes_are_told_against_the_zero_that_was_found_and_inverted() {
    let mut board = Board::new();
    board.adc = [2000, 2010, 2020, 2030, 2040, 2050, 2060, 2070];
    let mut shield = OpenMena::new(board);
    go_safe(&mut shield).unwrap();
    shield.hardware_mut().adc = [2100, 2010, 2020, 2030, 2040, 2040, 2060, 0];
    let mut found = [0; 8];
    shield.read_codes(0, &mut found).unwrap();
    assert_eq!(found, [-100, 0, 0, 0, 0, 10, 0, 2070]);
    let mut found = [0; 2];
    shield.read_codes(5, &mut found).unwrap();
    assert_eq!(found, [10, 0]);
    assert!(shield.read_codes(7, &mut found).is_err());
}

#[test]
fn rows_are_connected_only_after_their_codes_have_been_read_back() {
    let mut shield = safe();
    let volts = codes([0.05, 0.0, -0.05, 0.0, 0.02, 0.0, 0.0, 0.01]);
    assert_eq!(shield.drive_rows(&volts), Ok(parts::READ));
    let board = shield.hardware_mut();
    assert_eq!(board.closed, 0xFF);
    let moved = [(0, 0x889), (2, 0x777), (4, 0x837), (7, 0x81B)].map(|(row, code)| Event::Code(row, code));
    assert_eq!(board.events, [&moved[..], &[Event::Switches(0xFF)]].concat());
    // The same again moves nothing; other codes are written off the rows.
    board.events.clear();
    assert_eq!(shield.drive_rows(&volts), Ok(parts::NONE));
    assert_eq!(shield.hardware_mut().events, []);
    let _ = shield.drive_row(4, 0x800).unwrap();
    let events = [Event::Switches(0), Event::Code(4, 0x800), Event::Switches(0xFF)];
    assert_eq!(shield.hardware_mut().events, events);
}

#[test]
fn a_code_damaged_on_the_bus_never_reaches_a_row() {
    for bit in 0..12 {
        let mut shield = safe();
        shield.hardware_mut().flip = Some(1 << bit);
        let found = shield.drive_row(3, 0x880);
        assert_eq!(found, Err(FrontEndError { code: FaultCode::Chip, chip: None }));
        assert_eq!(shield.hardware_mut().closed, 0);
        assert!(shield.drive_row(3, 0x880).is_err(), "nothing is believed any more");
        go_safe(&mut shield).unwrap();
        assert_eq!(shield.hardware_mut().codes, [0x800; 8]);
    }
}

#[test]
fn a_symmetric_pulse_closes_the_selected_row_and_column_and_nothing_else() {
    let mut shield = selected(2, 6, Scheme::SymmetricHalf);
    let _ = shield.load_pulse(Volts(-0.6), None, false).unwrap();
    let board = shield.hardware_mut();
    assert_eq!((board.closed, board.armed), (0, 1 << 2 | 1 << 14));
    assert_eq!(board.codes, [0x800, 0x800, 0x4CD, 0x800, 0x800, 0x800, 0x800, 0x800]);
    assert!((f32::from(board.bias) / 4095.0 * 2.1945 + 0.545 - 1.05).abs() < 3e-4);
    board.events.clear();
    shield.start_pulse(100_000).unwrap();
    assert_eq!(shield.hardware_mut().events, [Event::Pulse(100_000)]);
    assert!(shield.start_pulse(100_000).is_err(), "one edge for each load");
    shield.hardware_mut().pulsing = false;
    assert_eq!(shield.pulse_done(), Ok(true));
    assert_eq!(shield.unload_pulse(), Ok(parts::READ));
    let board = shield.hardware_mut();
    assert_eq!((board.codes, board.closed, board.armed), ([0x800; 8], 0, 0));
}

#[test]
fn a_grounded_pulse_closes_the_row_alone() {
    let mut shield = selected(7, 0, Scheme::Grounded);
    let _ = shield.load_pulse(Volts(0.3), None, true).unwrap();
    let board = shield.hardware_mut();
    assert_eq!((board.closed, board.armed, board.codes[7]), (0, 1 << 7, 0xB33));
    // SAFE in the middle of it: nothing is left of the pulse.
    shield.start_pulse(1_000_000).unwrap();
    go_safe(&mut shield).unwrap();
    let board = shield.hardware_mut();
    assert_eq!((board.codes, board.closed, board.armed, board.pulsing), ([0x800; 8], 0, 0, false));
}

#[test]
fn what_the_shield_cannot_do_is_refused_and_touches_nothing() {
    let mut shield = safe();
    for scheme in [Scheme::Half, Scheme::Third, Scheme::Floating] {
        assert!(shield.select(Selection { row: 0, column: 0, scheme, forming: false }).is_err());
    }
    assert!(shield.select(Selection { row: 0, column: 0, scheme: Scheme::Grounded, forming: true }).is_err());
    assert!(
        shield.select(Selection { row: 8, column: 0, scheme: Scheme::Grounded, forming: false }).is_err()
    );
    assert!(shield.connect_reference(0, None).is_err());
    assert!(shield.open_rows(None).is_err());
    assert!(shield.set_range(1).is_err());
    assert!(shield.drive_row(0, 0x1000).is_err());
    assert!(shield.drive_rows(&[0; 14]).is_err());
    assert_eq!(shield.temperature(), Ok(None));
    assert_eq!(shield.hardware_mut().events, []);
    let mut shield = selected(0, 0, Scheme::SymmetricHalf);
    // A column reaches −205 mV, a row ±750 mV.
    for volts in [0.42, -1.52, f32::NAN] {
        assert!(shield.load_pulse(Volts(volts), None, false).is_err(), "{volts}");
    }
    assert!(shield.load_pulse(Volts(0.1), Some(Volts(1.0)), false).is_err());
    assert_eq!(shield.hardware_mut().events, []);
}

#[test]
fn a_driver_that_lost_its_supply_is_a_brown_out() {
    let mut shield = safe();
    assert_eq!(shield.watch(), Ok(()));
    shield.hardware_mut().registers = [0; 16];
    let fault = FrontEndError { code: FaultCode::BrownOut, chip: None };
    assert_eq!(shield.watch(), Err(fault));
    go_safe(&mut shield).unwrap();
    assert_eq!(shield.confirm_supply(), Ok(()));
    assert_eq!(shield.check_chip(0), Ok(Progress::Done(parts::NONE)));
    shield.hardware_mut().codes[5] ^= 1;
    assert_eq!(shield.check_chip(0), Err(FrontEndError { code: FaultCode::Chip, chip: None }));
}

#[test]
fn dead_opens_every_switch_whatever_the_bus_does() {
    let mut shield = safe();
    let _ = shield.drive_row(1, 0x880).unwrap();
    shield.dead();
    assert_eq!(shield.hardware_mut().closed, 0);
    assert!(shield.drive_row(1, 0x880).is_err());
}
