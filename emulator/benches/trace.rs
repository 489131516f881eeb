//! How long a trace of one cell takes, 10⁶ points 100 µs apart: through the registers of a board with all its imperfections, as the
//! firmware's trace job takes it, and by the crossbar alone. 1/f, telegraph and white noise are on. Times are the thread's own where
//! Linux tells them, medians over rounds in which both take turns. A board converts all columns at once, so the other cells of a row
//! cost their noise as well: hence an array of one cell beside the usual one.

#![allow(missing_docs)]

mod processor;

use std::hint::black_box;
use std::time::Instant;

use ohmrig_emulator::board::{Board, BoardOptions};
use ohmrig_emulator::circuit::Line;
use ohmrig_emulator::crossbar::{Crossbar, Lines};
use ohmrig_emulator::flash::SECTOR_BYTES;
use ohmrig_emulator::profile::Profile;
use ohmrig_protocol::bench::{Bench, ChipKind, ChipSelect, OutputLine};

const ROUNDS: usize = 3;
const POINTS: u64 = 1_000_000;
const INTERVAL_NS: u64 = 100_000;
/// 0.2 V from a 16-bit DAC in ±5 V.
const READ_CODE: u16 = 0x8000 + 1311;
const ADC: ChipSelect = ChipSelect { kind: ChipKind::Adc, index: 0 };

/// An array of `side` × `side`, and a cell of its first eight columns that has a trap, so that the trace has all three noises.
fn fresh(profile: &Profile, side: usize) -> (Crossbar, (usize, usize)) {
    assert!(profile.device.flicker.is_some() && profile.device.telegraph.is_some());
    let mut arrays = (1..).map(|seed| Crossbar::new(side, side, &profile.device, seed).unwrap());
    let noisy = |array: Crossbar| {
        let mut cells = (0..side).flat_map(|row| (0..side.min(8)).map(move |column| (row, column)));
        let cell = cells.find(|&(row, column)| !array.traits(row, column).unwrap().traps.is_empty())?;
        Some((array, cell))
    };
    arrays.find_map(noisy).unwrap()
}

fn write(board: &mut Board, kind: ChipKind, index: u8, frame: usize, bytes: &[u8]) {
    board.spi_write(ChipSelect { kind, index }, frame, bytes).unwrap();
}

fn wait(board: &mut Board, ns: u64) {
    let now_ns = board.now_ns().unwrap();
    board.wait_until_ns(now_ns + ns).unwrap();
}

/// Out of reset, DACs in ±5 V, ADCs in ±6.25 V; every row to its driver, every column to its amplifier; all rows at 0 V but `row`.
fn reading(profile: &Profile, array: Crossbar, row: usize) -> Board {
    let groups = array.rows().div_ceil(8) as u8;
    let options = BoardOptions {
        imperfections: profile.board.into(),
        seed: 1,
        boot_nonce: 1,
        flash_bytes: SECTOR_BYTES,
    };
    let mut board = Board::new(array, options).unwrap();
    wait(&mut board, 10_000);
    for line in [OutputLine::DacClear, OutputLine::SwitchReset, OutputLine::AdcReset] {
        board.set_output(line, true).unwrap();
    }
    let bring_up =
        [[0x72, 0xff, 0xff], [0x78, 0x80, 0], [0x72, 0, 0], [0x78, 0x80, 0], [0x7a, 0, 0x12], [0x7c, 0, 0]];
    write(&mut board, ChipKind::RowDac, 0, 3, bring_up.as_flattened());
    for index in 0..groups {
        let mut frames = vec![0x6f, 0, 0x02, 0x00, 0x07, 0xff];
        (3..7).for_each(|range| frames.extend([range, 0x22]));
        frames.extend([0, 0]);
        write(&mut board, ChipKind::Adc, index, 2, &frames);
        for kind in [ChipKind::RowConnect, ChipKind::FormingBypass, ChipKind::ColumnSense] {
            write(&mut board, kind, index, 2, &[0x01, 0xff]);
        }
    }
    let [high, low] = READ_CODE.to_be_bytes();
    write(&mut board, ChipKind::RowDac, 0, 3, &[0x40 + row as u8, high, low]);
    wait(&mut board, 1_000_000);
    board
}

/// 10⁶ points by a board; starts when it is asked.
fn through_registers(board: &mut Board, column: usize) {
    let first_ns = board.now_ns().unwrap();
    let (mut sum, mut squares) = (0.0, 0.0);
    for point in 0..POINTS {
        board.wait_until_ns(first_ns + point * INTERVAL_NS).unwrap();
        board.start_conversion().unwrap();
        while !board.conversion_done().unwrap() {
            wait(board, 100);
        }
        let mut back = [0; 16];
        board.spi_transfer(ADC, 16, &[0; 16], &mut back).unwrap();
        let code = f64::from(i16::from_be_bytes([back[2 * column], back[2 * column + 1]]));
        sum += code;
        squares += code * code;
    }
    let mean = sum / POINTS as f64;
    // −0.2 V over 1 µS into 100 kΩ is 105 codes, and a cell conducts more than that; noise moves the last digits.
    assert!(mean < -100.0 && squares / POINTS as f64 > mean * mean, "{mean}");
}

/// The same by the crossbar alone.
fn by_the_crossbar(array: &mut Crossbar, (row, column): (usize, usize), at_ns: &mut u64) {
    let mut rows = vec![Line::Driven { volts: 0.0, ohms: 103.0 }; array.rows()];
    rows[row] = Line::Driven { volts: 0.2, ohms: 103.0 };
    let columns = vec![Line::Driven { volts: 0.0, ohms: 1.5 }; array.columns()];
    let lines = Lines { rows: &rows, columns: &columns };
    let mut currents = vec![0.0; columns.len()];
    let mut sum = 0.0;
    for _ in 0..POINTS {
        array.hold(&lines, *at_ns, *at_ns + INTERVAL_NS).unwrap();
        *at_ns += INTERVAL_NS;
        array.sample(&lines, *at_ns, &mut currents).unwrap();
        sum += currents[column];
    }
    // 0.2 V over 1 µS, and a cell conducts more than that.
    assert!(black_box(sum) > 0.2e-6 * POINTS as f64);
}

/// How long it takes (s): on the processor where that is known, and by the clock.
fn timed(work: impl FnOnce()) -> (f64, f64) {
    let (start, busy) = (Instant::now(), processor::seconds());
    work();
    let wall = start.elapsed().as_secs_f64();
    (processor::seconds().zip(busy).map_or(wall, |(now, before)| now - before), wall)
}

fn main() {
    let profile = Profile::built_in("rram-cmo").unwrap();
    for side in [1, 16] {
        let (mut array, cell) = fresh(&profile, side);
        let mut board = reading(&profile, array.clone(), cell.0);
        let mut at_ns = 0;
        let mut times: [Vec<(f64, f64)>; 2] = Default::default();
        for _ in 0..ROUNDS {
            times[0].push(timed(|| through_registers(&mut board, cell.1)));
            times[1].push(timed(|| by_the_crossbar(&mut array, cell, &mut at_ns)));
        }
        for (what, mut times) in ["board", "crossbar alone"].into_iter().zip(times) {
            times.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (processor_s, wall_s) = times[ROUNDS / 2];
            let least = times[0].0;
            println!(
                "{side} × {side}, {what}: {processor_s:.2} s for {POINTS} points (least {least:.2} s, by the clock {wall_s:.2} s)"
            );
        }
    }
}
