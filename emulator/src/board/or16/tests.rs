use alloc::vec;
use alloc::vec::Vec;
use core::f64::consts::TAU;

use super::settling::Loop;
use super::*;
use crate::board::{I2C_BIT_NS, LATEST_NS, ROOM_CELSIUS};
use crate::device::TemperatureCoefficient;
use crate::flash::{FlashError, SECTOR_BYTES};
use crate::profile::{ConductanceRange, DeviceProfile, InitialState, PulseResponse, Switching};
use crate::truth::CellTruth;
use ohmrig_protocol::bench::Bench;

const V_PER_CODE: f64 = 10.0 / 65536.0;
const ADC_LSB: f64 = 12.5 / 65536.0;
type Board = Rig<Or16>;

const OPTIONS: Options<BoardImperfections> = Options {
    imperfections: BoardImperfections::IDEAL,
    seed: 1,
    boot_nonce: 77,
    flash_bytes: 2 * SECTOR_BYTES,
};

fn device(siemens: f64) -> DeviceProfile {
    let side = Switching { threshold_v: 1.0, reference_v: 2.0, step: 0.1, step_at_bound: 0.0 };
    let conductance =
        ConductanceRange { minimum_s: siemens * 0.5, maximum_s: siemens * 1.5, bound_spread: 0.0 };
    DeviceProfile {
        initial: InitialState { position: 0.5, spread: 0.0 },
        pulse: Some(PulseResponse {
            set: side,
            reset: side,
            reference_width_s: 100e-6,
            amplitude_exponent: 1.0,
            width_exponent: 1.0,
            cycle_spread: 0.0,
            step_spread: 0.0,
            threshold_spread: 0.0,
        }),
        ..DeviceProfile::ideal(conductance)
    }
}

fn array(rows: usize, columns: usize, siemens: f64) -> Crossbar {
    Crossbar::new(rows, columns, &device(siemens), 1).unwrap()
}

fn select(kind: ChipKind, index: u8) -> ChipSelect {
    ChipSelect { kind, index }
}

fn dac(board: &mut Board, kind: ChipKind, index: u8, writes: &[(u8, u16)]) {
    let frames: Vec<u8> =
        writes.iter().flat_map(|(address, data)| [*address, (data >> 8) as u8, *data as u8]).collect();
    board.spi_write(select(kind, index), 3, &frames).unwrap();
}

fn close(board: &mut Board, kind: ChipKind, index: u8, switches: u8) {
    board.spi_write(select(kind, index), 2, &[0x01, switches]).unwrap();
}

fn wait(board: &mut Board, ns: u64) {
    let now_ns = board.now_ns;
    board.wait_until_ns(now_ns + ns).unwrap();
}

fn code(volts: f64) -> u16 {
    libm::rint(volts / V_PER_CODE + 32768.0) as u16
}

/// Everything out of reset; DACs at 0 V in ±5 V; ADCs at ±6.25 V, 220 kHz, one line, no CRC; all switches open.
fn bring_up(crossbar: Crossbar, options: Options<BoardImperfections>) -> Board {
    let mut board = Board::new(crossbar, options).unwrap();
    wait(&mut board, 10_000);
    for line in [OutputLine::DacClear, OutputLine::SwitchReset, OutputLine::AdcReset] {
        board.set_output(line, true).unwrap();
    }
    for (kind, lines) in
        [(ChipKind::RowDac, board.crossbar.rows()), (ChipKind::BiasDac, board.crossbar.columns())]
    {
        for index in 0..lines.div_ceil(16) as u8 {
            let writes = [(0x72, 0xffff), (0x78, 0x8000), (0x72, 0), (0x78, 0x8000), (0x7a, 0x12), (0x7c, 0)];
            dac(&mut board, kind, index, &writes);
        }
    }
    for index in 0..board.analog.chips.adcs.len() as u8 {
        let mut frames = vec![0x6f, 0, 0x02, 0x00, 0x07, 0xff];
        (3..7).for_each(|range| frames.extend([range, 0x22]));
        frames.extend([0, 0]);
        board.spi_write(select(ChipKind::Adc, index), 2, &frames).unwrap();
    }
    wait(&mut board, 100_000);
    board
}

/// Codes of ADC 0.
fn convert(board: &mut Board) -> [i16; 8] {
    board.start_conversion().unwrap();
    wait(board, 1_000);
    assert!(board.conversion_done().unwrap());
    let mut back = [0; 16];
    board.spi_transfer(select(ChipKind::Adc, 0), 16, &[0; 16], &mut back).unwrap();
    core::array::from_fn(|k| i16::from_be_bytes([back[2 * k], back[2 * k + 1]]))
}

fn volts(code: i16) -> f64 {
    f64::from(code) * ADC_LSB
}

fn cell(board: &Board, row: u16, col: u16) -> CellTruth {
    board.crossbar().truth().find(|cell| (cell.row, cell.col) == (row, col)).unwrap()
}

#[test]
fn the_calibration_loop_reads_minus_v_rf_over_rcal() {
    let mut board = bring_up(array(16, 16, 10e-6), OPTIONS);
    close(&mut board, ChipKind::RowCalibrate, 0, 1 << 2);
    close(&mut board, ChipKind::Calibrate, 0, 1 << 5);
    for volts_in in [0.2, -0.4] {
        dac(&mut board, ChipKind::RowDac, 0, &[(0x42, code(volts_in))]);
        wait(&mut board, 100_000);
        let read = convert(&mut board).map(volts);
        let v = (f64::from(code(volts_in)) - 32768.0) * V_PER_CODE;
        // R_cal with the two switches in its loop; an ideal ADC is within half an LSB.
        let expected = -v * 100e3 / (CALIBRATION_OHMS + 2.0 * SWITCH_OHMS);
        assert!((read[5] - expected).abs() <= 0.5 * ADC_LSB, "{} {expected}", read[5]);
        assert!((expected / (-v * 10.0) - 1.0).abs() < 4e-4);
        assert_eq!(read[4], 0.0);
    }
    close(&mut board, ChipKind::Feedback1k, 0, 1 << 5);
    wait(&mut board, 100_000);
    let read = volts(convert(&mut board)[5]);
    let expected = 0.4 * (100e3 / 101.0) / (CALIBRATION_OHMS + 2.0 * SWITCH_OHMS);
    assert!((read - expected).abs() <= 0.6 * ADC_LSB, "{read} {expected}");
}

#[test]
fn the_calibration_loop_of_a_real_board_stays_within_its_limits_and_noise() {
    let imperfections = BoardImperfections {
        hum_v: [0.0; 3],
        supply_flicker_v_per_root_hz: 0.0,
        reference_flicker_per_root_hz: 0.0,
        ..BoardImperfections::OR16
    };
    let mut board = bring_up(array(16, 16, 10e-6), Options { imperfections, ..OPTIONS });
    close(&mut board, ChipKind::RowCalibrate, 0, 1);
    close(&mut board, ChipKind::Calibrate, 0, 1);
    dac(&mut board, ChipKind::RowDac, 0, &[(0x40, code(0.4))]);
    wait(&mut board, 100_000);
    let reads: Vec<f64> = (0..2_000).map(|_| f64::from(convert(&mut board)[0])).collect();
    let mean = reads.iter().sum::<f64>() / 2e3;
    let deviation = libm::sqrt(reads.iter().map(|read| (read - mean) * (read - mean)).sum::<f64>() / 2e3);
    // ADC 0.58 LSB (92 dB below a full-scale sine), DAC 80 nV/√Hz × 10 in the band of the loop, reference 3 ppm of 4 V,
    // supply 10 µV; known to 5/sqrt(4000) = 8 % from 2000 reads.
    let hz = Loop::new(100e3, 10e-12, 1e-4).noise_bandwidth_hz(1.0 / (TAU * 220e3));
    let square = |x: f64| x * x;
    let variance =
        square(0.58) + (square(80e-9 * 10.0) * hz + square(12e-6) + square(10e-6)) / square(ADC_LSB);
    assert!((deviation / libm::sqrt(variance) - 1.0).abs() < 0.08, "{deviation} {variance}");
    // mV, at most: 20 of DAC offset × 10, 3.2 of its gain, 5.3 of its INL, 2 of R_cal, 4 of feedback, 1.5 of switches,
    // 1.1 of TIA, 5.5 of ADC.
    let error = mean * ADC_LSB + 4.0;
    assert!(error.abs() < 0.043 && error.abs() > ADC_LSB, "{error}");
}

#[test]
fn a_cell_is_read_through_its_series_resistances() {
    let mut board = bring_up(array(1, 1, 100e-6), OPTIONS);
    close(&mut board, ChipKind::RowConnect, 0, 1);
    close(&mut board, ChipKind::ColumnSense, 0, 1);
    close(&mut board, ChipKind::Feedback10k, 0, 1);
    dac(&mut board, ChipKind::RowDac, 0, &[(0x40, code(0.25))]);
    for (bypass, series) in [(1, 0.0), (0, FORMING_OHMS)] {
        close(&mut board, ChipKind::FormingBypass, 0, bypass);
        wait(&mut board, 100_000);
        let amperes = 0.25 / (10e3 + ROW_OHMS + 2.0 * SWITCH_OHMS + series);
        let read = volts(convert(&mut board)[0]);
        assert!((read + amperes * 100e3 / 11.0).abs() <= 0.5 * ADC_LSB, "{read}");
    }
}

#[test]
fn sampling_too_early_is_wrong_by_what_settling_leaves() {
    let mut board = bring_up(array(1, 1, 10e-6), OPTIONS);
    close(&mut board, ChipKind::RowConnect, 0, 1);
    close(&mut board, ChipKind::FormingBypass, 0, 1);
    close(&mut board, ChipKind::ColumnSense, 0, 1);
    let filter_s = 1.0 / (TAU * 220e3);
    // The cell behind 101.5 Ω is the amplifier's load.
    let amplifier = Loop::new(100e3, 10e-12, 1.0 / (100e3 + 101.5));
    let end = 0.5 / (100e3 + 103.0) * -100e3;
    for delay in [0, 1_000, 3_000, 6_000, 40_000] {
        dac(&mut board, ChipKind::RowDac, 0, &[(0x40, code(0.0))]);
        wait(&mut board, 100_000);
        dac(&mut board, ChipKind::RowDac, 0, &[(0x40, code(0.5))]);
        wait(&mut board, delay);
        let left = settling::remaining(delay as f64 * 1e-9, 0.5, &amplifier, filter_s);
        let read = volts(convert(&mut board)[0]);
        assert!((read - end * (1.0 - left)).abs() <= 0.6 * ADC_LSB, "{delay}: {read}");
    }
    // Where a user would notice: 3 µs after the step more than a fifth is missing, after 40 µs nothing.
    assert!(settling::remaining(3e-6, 0.5, &amplifier, filter_s) > 0.2);
}

#[test]
fn a_new_step_starts_from_where_the_last_one_had_settled_even_if_nobody_looked() {
    let mut board = bring_up(array(1, 1, 10e-6), OPTIONS);
    close(&mut board, ChipKind::RowConnect, 0, 1);
    close(&mut board, ChipKind::FormingBypass, 0, 1);
    close(&mut board, ChipKind::ColumnSense, 0, 1);
    dac(&mut board, ChipKind::RowDac, 0, &[(0x40, code(0.5))]);
    wait(&mut board, 100_000);
    dac(&mut board, ChipKind::RowDac, 0, &[(0x40, code(-0.5))]);
    let read = volts(convert(&mut board)[0]);
    assert!((read + 0.5 / (100e3 + 103.0) * 100e3).abs() <= 0.5 * ADC_LSB, "{read}");
}

#[test]
fn the_amplifier_clamps_between_5_and_5_6_v() {
    let mut board = bring_up(array(1, 1, 100e-6), OPTIONS);
    close(&mut board, ChipKind::RowCalibrate, 0, 1);
    close(&mut board, ChipKind::Calibrate, 0, 1);
    dac(&mut board, ChipKind::RowDac, 0, &[(0x40, code(2.0))]);
    wait(&mut board, 100_000);
    let read = volts(convert(&mut board)[0]);
    assert!((-CLAMP_V..-LINEAR_V).contains(&read), "{read}");
}

#[test]
fn bias_and_sense_closed_together_short_the_bias_into_the_amplifier() {
    let mut board = bring_up(array(1, 1, 10e-6), OPTIONS);
    close(&mut board, ChipKind::ColumnSense, 0, 1);
    close(&mut board, ChipKind::ColumnBias, 0, 1);
    dac(&mut board, ChipKind::BiasDac, 0, &[(0x40, code(0.01))]);
    close(&mut board, ChipKind::Feedback1k, 0, 1);
    wait(&mut board, 100_000);
    // 10 mV over two switches are 3.3 mA into 990 Ω.
    let read = volts(convert(&mut board)[0]);
    let expected = -f64::from(code(0.01) - 0x8000) * V_PER_CODE / (2.0 * SWITCH_OHMS) * 100e3 / 101.0;
    assert!((read - expected).abs() <= ADC_LSB, "{read} {expected}");
}

#[test]
fn an_open_board_reads_zero_and_stresses_nothing() {
    let mut board = bring_up(array(4, 4, 10e-6), OPTIONS);
    dac(&mut board, ChipKind::RowDac, 0, &[(0x79, 0xffff)]);
    wait(&mut board, 1_000_000);
    assert_eq!(convert(&mut board), [0; 8]);
    board.catch_up().unwrap();
    assert_eq!(cell(&board, 3, 3).max_abs_v, 0.0);
}

#[test]
fn changing_the_span_with_code_0_puts_5_v_on_the_cells() {
    let mut board = Board::new(array(1, 1, 10e-6), OPTIONS).unwrap();
    for line in [OutputLine::DacClear, OutputLine::SwitchReset] {
        board.set_output(line, true).unwrap();
    }
    close(&mut board, ChipKind::RowConnect, 0, 1);
    close(&mut board, ChipKind::FormingBypass, 0, 1);
    close(&mut board, ChipKind::ColumnSense, 0, 1);
    dac(&mut board, ChipKind::RowDac, 0, &[(0x7a, 2), (0x7c, 0)]);
    wait(&mut board, 1_000);
    board.catch_up().unwrap();
    // All but what falls over 103 Ω of about 100 kΩ.
    assert!((cell(&board, 0, 0).max_abs_v - 5.0).abs() < 0.006);
}

/// Row 0 and column 0 of a 2×2 connected, row 0 toggled between 0 V and `volts` by TGP0.
fn ready_to_pulse(volts: f64) -> Board {
    let mut board = bring_up(array(2, 2, 10e-6), OPTIONS);
    close(&mut board, ChipKind::RowConnect, 0, 0b11);
    close(&mut board, ChipKind::FormingBypass, 0, 0b11);
    close(&mut board, ChipKind::ColumnSense, 0, 0b11);
    dac(&mut board, ChipKind::RowDac, 0, &[(0x72, 1), (0x00, code(volts)), (0x72, 0), (0x74, 1)]);
    wait(&mut board, 100_000);
    board
}

const ROW_DAC: ChipSelect = ChipSelect { kind: ChipKind::RowDac, index: 0 };

#[test]
fn pulse_edges_are_at_their_exact_times() {
    let mut board = ready_to_pulse(1.25);
    let start = board.now_ns;
    board.start_pulse(50_000).unwrap();
    assert_eq!(board.analog.dac(ROW_DAC).unwrap().target(0), Some(1.25));
    assert!(!board.pulse_done().unwrap());
    board.wait_until_ns(start + 49_999).unwrap();
    assert!(!board.pulse_done().unwrap());
    board.wait_until_ns(start + 51_000).unwrap();
    assert!(board.pulse_done().unwrap());
    let chip = board.analog.dac(ROW_DAC).unwrap();
    assert_eq!(chip.target(0), Some(0.0));
    // 1.25 V is below the slope limit's 4 V: exponential from the exact edge on.
    let left = 1.25 * libm::exp(-1_000e-9 / crate::chips::ltc2688::SETTLING_S);
    assert!((chip.output(0, start + 51_000).unwrap() - left).abs() < 1e-9);
    assert_eq!(board.analog.changed_ns, start + 50_000);
}

#[test]
fn a_pulse_writes_and_counts_and_lasts_as_long_as_it_was_asked_to_whatever_goes_on_meanwhile() {
    let truth = |disturb: bool| {
        let mut board = ready_to_pulse(1.5);
        board.start_pulse(100_000).unwrap();
        if disturb {
            // 90 frames of 1.7 µs each reach beyond the pulse's end.
            board.spi_write(ROW_DAC, 4, &[0; 360]).unwrap();
            convert(&mut board);
        }
        wait(&mut board, 1_000_000);
        board.catch_up().unwrap();
        cell(&board, 0, 0)
    };
    let quiet = truth(false);
    assert_eq!(quiet.pulses, 1);
    assert!(quiet.conductance_s > 10e-6);
    // Missing: 101.5 Ω carrying the current of two cells of 100 kΩ, 1.5 Ω that of one, and less than a code.
    assert!((1.5 - quiet.max_abs_v - 1.5 * (2.0 * 101.5 + 1.5) / 100e3).abs() < V_PER_CODE);
    assert_eq!(truth(true), quiet);
}

#[test]
fn stopping_a_pulse_lowers_tgp0_at_once() {
    let mut board = ready_to_pulse(1.5);
    board.start_pulse(1_000_000_000).unwrap();
    wait(&mut board, 20_000);
    board.stop_pulse().unwrap();
    assert!(board.pulse_done().unwrap());
    assert_eq!(board.analog.dac(ROW_DAC).unwrap().target(0), Some(0.0));
    assert_eq!(board.start_pulse(0), Err(BoardError::NoPulse));
}

#[test]
fn the_reset_lines_take_everything_off_the_array() {
    let mut board = ready_to_pulse(1.5);
    board.start_pulse(1_000_000).unwrap();
    board.set_output(OutputLine::DacClear, false).unwrap();
    assert_eq!(board.analog.dac(ROW_DAC).unwrap().target(0), Some(0.0));
    board.set_output(OutputLine::SwitchReset, false).unwrap();
    for kind in [ChipKind::RowConnect, ChipKind::ColumnSense] {
        assert_eq!(board.analog.switch(select(kind, 0)).unwrap().closed(), 0);
    }
    assert!(!board.analog.wiring.is_live());
}

#[test]
fn at_power_on_the_reset_lines_are_low() {
    let mut board = Board::new(array(1, 1, 10e-6), OPTIONS).unwrap();
    let mut back = [0; 2];
    board.spi_transfer(select(ChipKind::RowConnect, 0), 2, &[0x81, 0], &mut back).unwrap();
    assert_eq!(back, [0xff; 2]);
    close(&mut board, ChipKind::RowConnect, 0, 1);
    assert_eq!(board.analog.switch(select(ChipKind::RowConnect, 0)).unwrap().closed(), 0);
}

#[test]
fn time_passes_by_bits_and_waits_only() {
    let mut board = bring_up(array(1, 1, 10e-6), OPTIONS);
    let start = board.now_ns;
    board.spi_write(ROW_DAC, 3, &[0x40, 0x80, 0, 0x41, 0x80, 0]).unwrap();
    assert_eq!(board.now_ns - start, 2 * (24 * SPI_BIT_NS + CHIP_SELECT_GAP_NS));
    let start = board.now_ns;
    assert!(board.i2c(0x48, &[0x0f], &mut [0; 2]).unwrap());
    // Start, address + acknowledge, three bytes, start and address again, stop.
    assert_eq!(board.now_ns - start, (1 + 9 + 27 + 10 + 1) * I2C_BIT_NS);
    assert!(!board.i2c(0x49, &[0x0f], &mut [0; 2]).unwrap());
    let start = board.now_ns;
    board.start_conversion().unwrap();
    board.conversion_done().unwrap();
    board.info().unwrap();
    board.wait_until_ns(start - 1).unwrap();
    assert_eq!(board.now_ns().unwrap(), start);
}

#[test]
fn every_geometry_has_its_chips_and_no_more() {
    for (rows, columns) in [(1, 1), (16, 16), (17, 9), (256, 256)] {
        let mut board = Board::new(array(rows, columns, 10e-6), OPTIONS).unwrap();
        let mut fitted = |kind, lines: usize, per_chip| {
            let count = lines.div_ceil(per_chip);
            let start = board.now_ns;
            for index in 0..count {
                board.spi_write(select(kind, index as u8), 2, &[0, 0]).unwrap();
            }
            let passed = board.now_ns - start;
            assert_eq!(passed, count as u64 * (16 * SPI_BIT_NS + CHIP_SELECT_GAP_NS));
            let absent = select(kind, count as u8);
            assert_eq!(
                board.spi_write(absent, 2, &[0, 0]),
                Err(BoardError::Absent { select: absent, fitted: count })
            );
        };
        fitted(ChipKind::RowDac, rows, 16);
        fitted(ChipKind::BiasDac, columns, 16);
        fitted(ChipKind::GateDac, columns, 16);
        fitted(ChipKind::Adc, columns, 8);
        for kind in [ChipKind::RowConnect, ChipKind::RowCalibrate, ChipKind::FormingBypass] {
            fitted(kind, rows, 8);
        }
        for kind in [ChipKind::ColumnSense, ChipKind::ColumnBias, ChipKind::Calibrate] {
            fitted(kind, columns, 8);
        }
        for kind in [ChipKind::Feedback10k, ChipKind::Feedback1k] {
            fitted(kind, columns, 8);
        }
    }
}

#[test]
fn frames_that_are_none_are_refused() {
    let mut board = bring_up(array(1, 1, 10e-6), OPTIONS);
    for (frame, bytes, input) in [(0, 3, 3), (33, 33, 33), (3, 4, 4), (3, 3, 2)] {
        let error = board.spi_transfer(ROW_DAC, frame, &vec![0; bytes], &mut vec![0; input]);
        assert_eq!(error, Err(BoardError::Frame { frame, bytes, input }));
    }
}

#[test]
fn a_column_of_the_second_adc_arrives_there() {
    let mut board = bring_up(array(1, 12, 100e-6), OPTIONS);
    close(&mut board, ChipKind::RowCalibrate, 0, 1);
    close(&mut board, ChipKind::Calibrate, 1, 1 << 3);
    dac(&mut board, ChipKind::RowDac, 0, &[(0x40, code(0.3))]);
    wait(&mut board, 100_000);
    board.start_conversion().unwrap();
    wait(&mut board, 1_000);
    let mut back = [0; 16];
    board.spi_transfer(select(ChipKind::Adc, 1), 16, &[0; 16], &mut back).unwrap();
    let read = volts(i16::from_be_bytes([back[6], back[7]]));
    assert!((read + 3.0).abs() < 2e-3, "{read}");
    assert!(back[..6].iter().chain(&back[8..]).all(|byte| *byte == 0));
}

#[test]
fn oversampling_averages_the_noise() {
    let imperfections = BoardImperfections { adc_noise_lsb: 0.505, ..BoardImperfections::IDEAL };
    let options = Options { imperfections, ..OPTIONS };
    let spread = |ratio| {
        let mut board = bring_up(array(1, 8, 10e-6), options);
        board.spi_write(select(ChipKind::Adc, 0), 2, &[0x6f, 0, 0x08, ratio, 0, 0]).unwrap();
        let codes: Vec<i16> = (0..200)
            .map(|_| {
                board.start_conversion().unwrap();
                wait(&mut board, 100_000);
                let mut back = [0; 2];
                board.spi_transfer(select(ChipKind::Adc, 0), 2, &[0; 2], &mut back).unwrap();
                i16::from_be_bytes(back)
            })
            .collect();
        codes.iter().max().unwrap() - codes.iter().min().unwrap()
    };
    // 0.505 LSB of noise spreads 200 results over about 5 × 0.505 LSB, an eighth of it over one or two codes.
    assert!(spread(0) >= 2);
    assert!(spread(6) <= 1);
}

#[test]
fn a_stuck_busy_and_a_dead_chip_show_at_the_seam() {
    let mut board = bring_up(array(1, 1, 10e-6), OPTIONS);
    board.analog.adc(0).unwrap().stuck_busy = true;
    board.start_conversion().unwrap();
    wait(&mut board, 1_000_000_000);
    assert!(!board.conversion_done().unwrap());
    board.analog.faults(ROW_DAC).unwrap().dead = true;
    let mut back = [0; 3];
    board.spi_transfer(ROW_DAC, 3, &[0xf0, 0, 0], &mut back).unwrap();
    assert_eq!(back, [0xff; 3]);
    board.analog.thermometer().dead = true;
    assert!(!board.i2c(0x48, &[0x0f], &mut [0; 2]).unwrap());
}

#[test]
fn clock_noise_and_flash_outlive_a_power_cycle_and_chip_settings_do_not() {
    let options = Options { imperfections: BoardImperfections::OR16, ..OPTIONS };
    let mut board = bring_up(array(2, 2, 10e-6), options);
    close(&mut board, ChipKind::RowConnect, 0, 1);
    convert(&mut board);
    board.flash_write(5, &[1, 2, 3]).unwrap();
    let text = serde_json::to_string(&board.save().unwrap()).unwrap();
    let state: BoardState = serde_json::from_str(&text).unwrap();
    let crossbar = board.crossbar().clone();
    let mut again =
        Board::restore(crossbar.clone(), Options { boot_nonce: 78, ..options }, state.clone()).unwrap();
    assert_eq!(again.now_ns().unwrap(), board.now_ns().unwrap());
    assert_eq!(again.info().unwrap().boot_nonce, 78);
    assert_eq!(again.noise, board.noise);
    assert_eq!(again.analog.switch(select(ChipKind::RowConnect, 0)).unwrap().closed(), 0);
    let mut back = [0; 4];
    again.flash_read(4, &mut back).unwrap();
    assert_eq!(back, [0xff, 1, 2, 3]);
    let small = Options { flash_bytes: SECTOR_BYTES, ..options };
    assert_eq!(
        Board::restore(crossbar, small, state).unwrap_err(),
        BoardError::Flash(FlashError::Saved { saved: 8192, bytes: 4096 })
    );
}

#[test]
fn the_same_seed_gives_the_same_codes_and_another_does_not() {
    let run = |seed| {
        let options = Options { imperfections: BoardImperfections::OR16, seed, ..OPTIONS };
        let mut board = bring_up(array(2, 8, 10e-6), options);
        [convert(&mut board), convert(&mut board)]
    };
    assert_eq!(run(4), run(4));
    assert_ne!(run(4), run(5));
    assert_ne!(run(4)[0], run(4)[1]);
}

mod analog;

#[test]
fn devices_follow_the_temperature_of_the_board_by_their_coefficient() {
    // G(T) = G(25 °C)·exp(α·ΔT); α = 1e-3/K without spread, 50 K warmer; the ideal board's temperature doesn't wander.
    let warm = DeviceProfile {
        temperature: Some(TemperatureCoefficient {
            lowest_per_k: 1e-3,
            highest_per_k: 1e-3,
            spread_per_k: 0.0,
        }),
        ..device(10e-6)
    };
    let mut board = Board::new(Crossbar::new(1, 1, &warm, 1).unwrap(), OPTIONS).unwrap();
    wait(&mut board, 1_000);
    let before = board.truth().unwrap()[0].conductance_s;
    board.set_ambient_celsius(ROOM_CELSIUS + 50.0);
    wait(&mut board, 1_000);
    let after = board.truth().unwrap()[0].conductance_s;
    assert!(libm::fabs(after / before / libm::exp(0.05) - 1.0) < 1e-12, "{before} {after}");
}

#[test]
fn an_instant_that_the_clock_cannot_pass_is_refused() {
    let mut board = Board::new(array(1, 1, 1e-5), OPTIONS).unwrap();
    for at_ns in [LATEST_NS + 1, u64::MAX] {
        assert_eq!(board.wait_until_ns(at_ns), Err(BoardError::Clock { at_ns }));
    }
    board.wait_until_ns(LATEST_NS).unwrap();
    // Time still passes by what is done there.
    board.start_pulse(u32::MAX).unwrap();
    board.spi_write(select(ChipKind::RowDac, 0), 3, &[0; 3]).unwrap();
    let mut state = board.save().unwrap();
    state.now_ns = u64::MAX;
    let restored = Board::restore(array(1, 1, 1e-5), OPTIONS, state);
    assert!(matches!(restored, Err(BoardError::Clock { at_ns: u64::MAX })));
}
