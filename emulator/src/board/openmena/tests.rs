use alloc::vec::Vec;

use ohmrig_protocol::bench::{Bench, ChipKind};

use super::*;
use crate::profile::{ConductanceRange, DeviceProfile, InitialState};

type Board = Rig<OpenMena>;

fn options(imperfections: Shield) -> Options<Shield> {
    Options { imperfections, seed: 1, boot_nonce: 7, flash_bytes: 0 }
}

fn array(side: usize, siemens: f64) -> Crossbar {
    let range = ConductanceRange { minimum_s: 0.5 * siemens, maximum_s: 1.5 * siemens, bound_spread: 0.0 };
    let device =
        DeviceProfile { initial: InitialState { position: 0.5, spread: 0.0 }, ..DeviceProfile::ideal(range) };
    Crossbar::new(side, side, &device, 1).unwrap()
}

fn write(board: &mut Board, pointer: u8, value: u16) {
    let [high, low] = value.to_be_bytes();
    assert!(board.i2c(0x11, &[pointer, high, low], &mut []).unwrap());
}

fn wait(board: &mut Board, ns: u64) {
    let now_ns = board.now_ns;
    board.wait_until_ns(now_ns + ns).unwrap();
}

/// Devices of 10 µS, all pins DACs at the middle, all switches open.
fn bring_up(shield: Shield) -> Board {
    bring_up_with(shield, 10e-6)
}

fn bring_up_with(shield: Shield, siemens: f64) -> Board {
    let mut board = Board::new(array(8, siemens), options(shield)).unwrap();
    write(&mut board, 0x05, 0xff);
    (0..8).for_each(|row| write(&mut board, 0x10 | row, 0x800));
    board
}

fn convert(board: &mut Board) -> Vec<u16> {
    wait(board, 500_000);
    board.start_conversion().unwrap();
    assert!(!board.conversion_done().unwrap());
    wait(board, 8 * CHANNEL_NS);
    assert!(board.conversion_done().unwrap());
    let mut codes = vec![0; 8];
    board.read_adc(0, &mut codes).unwrap();
    codes
}

#[test]
fn without_a_closed_switch_every_amplifier_is_at_its_reference() {
    let mut board = bring_up(Shield::IDEAL);
    assert_eq!(convert(&mut board), [2048; 8]);
    assert!(board.truth().unwrap().iter().all(|cell| cell.max_abs_v == 0.0));
}

#[test]
fn a_row_at_50_mv_is_told_by_shunt_and_gain() {
    let mut board = bring_up(Shield::IDEAL);
    write(&mut board, 0x12, 0x800 + 137);
    board.set_switches(0x00ff).unwrap();
    // The driver behind 150 Ω against 680 Ω and eight cells; the other rows are at 0 V behind both in parallel, the column
    // hangs on its shunt.
    let (driver_v, share) = (137.0 * 1.5 / 4096.0, 680.0 / 830.0);
    let (source_ohm, g) = (680.0 * 150.0 / 830.0, 10e-6);
    // Two unknowns by hand: the driven row's voltage r, the columns' voltage c.
    let others_s = 7.0 * g / (1.0 + source_ohm * 8.0 * g);
    let row_s = 8.0 * g;
    let (mut r, mut c) = (driver_v * share, 0.0);
    for _ in 0..50 {
        c = g * r / (g + others_s + 1.0 / 680.0);
        r = (driver_v * share / source_ohm + row_s * c) / (1.0 / source_ohm + row_s);
    }
    let code = 2048.0 + c * (1.0 + 100e3 / 2200.0) / 3.3 * 4096.0;
    for found in convert(&mut board) {
        // Rounding, and what is left of the settling after 0.5 ms.
        assert!((f64::from(found) - code).abs() <= 0.51, "{found} {code}");
    }
}

#[test]
fn a_pulse_closes_what_was_armed_for_its_width_and_uses_it_up() {
    let mut board = bring_up(Shield::IDEAL);
    write(&mut board, 0x13, 0x800 + 410);
    // 0.75 V − 0.15 V.
    board.set_dac(((0.6 - 0.545) / 2.1945 * 4095.0 + 0.5) as u16).unwrap();
    board.arm_switches(1 << 3 | 1 << (8 + 5)).unwrap();
    wait(&mut board, 100_000);
    assert!(board.truth().unwrap().iter().all(|cell| cell.max_abs_v == 0.0));
    for _ in 0..2 {
        board.start_pulse(50_000).unwrap();
        wait(&mut board, 50_000);
        assert!(board.pulse_done().unwrap());
        wait(&mut board, 50_000);
    }
    assert_eq!((board.analog.armed, board.analog.switches()), (0, 0));
    for cell in board.truth().unwrap() {
        // Each driver loses what its switch (and the column's 100 Ω more) takes of it: 0.15 · 680/830 and 0.15 · 680/930.
        let expected = match (cell.row == 3, cell.col == 5) {
            (true, true) => 0.15 * 680.0 / 830.0 + 0.15 * 680.0 / 930.0,
            (true, false) => 0.15 * 680.0 / 830.0,
            (false, true) => 0.15 * 680.0 / 930.0,
            (false, false) => 0.0,
        };
        // Steps of 0.4 and 0.5 mV, and cells of 80 µS that load lines of 120 to 680 Ω: some 2 % of 0.12 V.
        assert!((cell.max_abs_v - expected).abs() < 0.004, "{cell:?} {expected}");
    }
}

#[test]
fn an_amplifier_is_on_its_way_before_it_is_there() {
    let mut board = bring_up(Shield::IDEAL);
    (0..8).for_each(|row| write(&mut board, 0x10 | row, 0x800 + 200));
    let at = |board: &mut Board, after_ns: u64| {
        board.set_switches(0).unwrap();
        wait(board, 1_000_000);
        board.set_switches(0xff).unwrap();
        wait(board, after_ns);
        board.start_conversion().unwrap();
        f64::from(board.analog.codes[0]) - 2048.0
    };
    let settled = at(&mut board, 1_000_000);
    assert!(settled > 150.0, "{settled}");
    assert_eq!(at(&mut board, 0), 0.0);
    // Gain 46.5 of 350 kHz: 21.1 µs. A step of this size isn't limited by the slope for longer than a fraction of that.
    let part = at(&mut board, 42_200) / settled;
    assert!((part - (1.0 - libm::exp(-2.0))).abs() < 0.04, "{part}");
    assert!((at(&mut board, 210_000) - settled).abs() <= 1.0);
}

#[test]
fn an_amplifier_stops_before_its_supplies() {
    let mut board = bring_up_with(Shield::IDEAL, 50e-6);
    (0..8).for_each(|row| write(&mut board, 0x10 | row, 0xfff));
    board.set_switches(0x00ff).unwrap();
    assert_eq!(convert(&mut board), [4034; 8]);
    (0..8).for_each(|row| write(&mut board, 0x10 | row, 0));
    assert_eq!(convert(&mut board), [62; 8]);
}

#[test]
fn errors_stay_within_their_limits_and_noise_has_its_size() {
    let real = Shield {
        adc_noise_lsb: 2.0,
        output_reference_error_v: 0.01,
        switch_error_ohm: 30.0,
        dac_offset_v: 0.003,
        ..Shield::IDEAL
    };
    let mut board = bring_up(real);
    let limit = 0.01 / 3.3 * 4096.0;
    let (mut sum, mut squares, count) = (0.0, 0.0, 400.0);
    for _ in 0..400 {
        board.start_conversion().unwrap();
        wait(&mut board, 20_000);
        let code = f64::from(board.analog.codes[0]);
        sum += code;
        squares += code * code;
    }
    let mean: f64 = sum / count;
    assert!((mean - 2048.0).abs() <= limit + 0.5, "{mean}");
    let deviation = libm::sqrt(squares / count - mean * mean);
    // 2 codes and rounding; 400 draws tell a standard deviation to 3.5 %, five of them.
    let expected = libm::sqrt(4.0 + 1.0 / 12.0);
    assert!((deviation / expected - 1.0).abs() < 5.0 * 0.035, "{deviation}");
    assert!(board.analog.rows.iter().all(|row| (row.switch_ohm - 150.0).abs() <= 30.0));
    assert!(board.analog.rows.iter().any(|row| (row.switch_ohm - 150.0).abs() > 1.0));
}

#[test]
fn a_chip_that_the_shield_has_not_is_not_there() {
    let mut board = bring_up(Shield::IDEAL);
    let select = ChipSelect { kind: ChipKind::RowDac, index: 0 };
    assert_eq!(board.spi_write(select, 3, &[0; 3]), Err(BoardError::Absent { select, fitted: 0 }));
    assert_eq!(board.i2c(0x48, &[0], &mut [0; 2]), Ok(false));
    assert!(board.set_output(OutputLine::DacClear, true).is_err());
    assert!(board.set_dac(4096).is_err());
    assert!(board.read_adc(7, &mut [0; 2]).is_err());
    let refused = BoardError::Lines { rows: 4, columns: 4, lines: 8 };
    assert_eq!(require_lines(&array(4, 1e-6)), Err(refused));
}

#[test]
fn a_supply_that_dips_takes_the_drivers_settings_with_it() {
    let mut board = bring_up(Shield::IDEAL);
    write(&mut board, 0x10, 0x900);
    board.set_switches(0x00ff).unwrap();
    let at_ns = board.now_ns + 1_000;
    board.brown_out_at(at_ns);
    wait(&mut board, 10_000);
    let mut back = [0xff; 2];
    assert!(board.i2c(0x11, &[0x75], &mut back).unwrap());
    assert_eq!(back, [0, 0]);
    assert_eq!(convert(&mut board), [2048; 8]);
}
