//! `docs/bench-protocol.md` against both ends: its example is what they really say, its table has their opcodes.

use crate::pipe::{Direction, Pipe};
use crate::recorder::{Recorder, Shifts};
use crate::{ADC, Action, ROWS, connect, perform};
use ohmrig_firmware::bench_link::LinkError;
use ohmrig_protocol::bench::wire::{Fault, opcode};
use ohmrig_protocol::bench::{ChipKind, ChipSelect};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/bench-protocol.md"));

/// The example: who says what, consecutive lines of one end together.
fn example() -> Vec<(Direction, Vec<u8>)> {
    let (_, rest) = DOCUMENT.split_once("```hex\n").expect("an example");
    let (lines, _) = rest.split_once("```").expect("its end");
    let mut said: Vec<(Direction, Vec<u8>)> = Vec::new();
    for line in lines.lines() {
        let bytes = line.split(';').next().unwrap_or_default();
        let (direction, bytes) = match bytes.trim().split_at_checked(1) {
            Some((">", bytes)) => (Direction::ToBench, bytes),
            Some(("<", bytes)) => (Direction::FromBench, bytes),
            None => continue,
            Some(other) => panic!("a line that is neither end's: {other:?}"),
        };
        let bytes = bytes.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect(line));
        match said.last_mut() {
            Some((last, so_far)) if *last == direction => so_far.extend(bytes),
            _ => said.push((direction, bytes.collect())),
        }
    }
    said
}

#[test]
fn the_example_is_what_both_ends_say() {
    let mut bench = Recorder::default();
    bench.now_ns = 5_000_000_000;
    bench.shifts.insert(ROWS, Shifts::RegistersAndEcho);
    let pipe = Pipe::new(bench, 64);
    let mut link = connect(&pipe).unwrap();
    let codes = [[0x00, 0xC0, 0x00], [0x01, 0x40, 0x00], [0x02, 0x99, 0x9A]];
    let zero_volts = (3..16).map(|channel| [channel, 0x80, 0x00]);
    let update_all = [0x7C, 0, 0];
    let drive: Vec<[u8; 3]> = codes.into_iter().chain(zero_volts).chain([update_all]).collect();
    let scan: Vec<[u8; 3]> = (0..16).map(|channel| [0x80 | channel, 0, 0]).chain([[0xFF, 0, 0]]).collect();
    for action in [
        Action::SpiWrite { select: ROWS, frame: 3, out: drive.concat() },
        Action::Now,
        Action::WaitFor(20_000),
        Action::StartConversion,
        Action::WaitFor(1_000),
        Action::ConversionDone,
        Action::SpiTransfer { select: ADC, frame: 18, out: vec![0; 18] },
        Action::SpiTransfer { select: ChipSelect { index: 1, ..ADC }, frame: 18, out: vec![0; 18] },
        Action::SpiTransfer { select: ROWS, frame: 3, out: scan.concat() },
    ] {
        perform(&action, &mut link).unwrap();
    }
    let absent = ChipSelect { kind: ChipKind::Adc, index: 40 };
    perform(&Action::SpiWrite { select: absent, frame: 3, out: vec![0; 3] }, &mut link).unwrap();
    assert_eq!(
        perform(&Action::PulseDone, &mut link),
        Err(LinkError::Failed { opcode: opcode::SPI_WRITE_3, fault: Fault::Refused })
    );
    assert_eq!(example(), pipe.borrow().transcript);
}

#[test]
fn the_table_has_every_opcode() {
    let rows: Vec<(u8, &str)> = DOCUMENT
        .lines()
        .filter_map(|line| {
            let (number, rest) = line.strip_prefix("| `")?.split_once("` | `")?;
            Some((u8::from_str_radix(number, 16).ok()?, rest.split_once('`')?.0))
        })
        .collect();
    let opcodes = [
        (opcode::NOW, "NOW"),
        (opcode::WAIT, "WAIT"),
        (opcode::WAIT_UNTIL, "WAIT_UNTIL"),
        (opcode::SET_OUTPUT, "SET_OUTPUT"),
        (opcode::SUPPLY_GOOD, "SUPPLY_GOOD"),
        (opcode::START_PULSE, "START_PULSE"),
        (opcode::STOP_PULSE, "STOP_PULSE"),
        (opcode::PULSE_DONE, "PULSE_DONE"),
        (opcode::START_CONVERSION, "START_CONVERSION"),
        (opcode::CONVERSION_DONE, "CONVERSION_DONE"),
        (opcode::SPI_WRITE, "SPI_WRITE"),
        (opcode::SPI_WRITE_3, "SPI_WRITE_3"),
        (opcode::SPI_WRITE_18, "SPI_WRITE_18"),
        (opcode::SPI_TRANSFER, "SPI_TRANSFER"),
        (opcode::SPI_TRANSFER_3, "SPI_TRANSFER_3"),
        (opcode::SPI_TRANSFER_18, "SPI_TRANSFER_18"),
        (opcode::SPI_RECALL, "SPI_RECALL"),
        (opcode::I2C, "I2C"),
        (opcode::FLASH_READ, "FLASH_READ"),
        (opcode::FLASH_WRITE, "FLASH_WRITE"),
        (opcode::FLASH_ERASE, "FLASH_ERASE"),
        (opcode::SET_SWITCHES, "SET_SWITCHES"),
        (opcode::ARM_SWITCHES, "ARM_SWITCHES"),
        (opcode::SET_DAC, "SET_DAC"),
        (opcode::READ_ADC, "READ_ADC"),
    ];
    assert_eq!(rows, opcodes);
}
