//! What only silicon can prove, run with a board on USB: `cargo test --release --no-default-features` in this folder
//! (needs `probe-rs`). Jumper wires, no analog board:
//!
//! | from | to | proves |
//! | --- | --- | --- |
//! | PA0 (TGP0) | PB2 (its sense pin) | pulse widths, early end |
//! | PB5 (DAC MOSI) | PB4 (DAC MISO) | SPI1 clocks and phase |
//! | PC5 (row DAC's select) | PB2, in place of PA0, for `a_burst_selects_…` | chip select around each frame of a DMA burst |
//!
//! With an OR-16 in DEAD-to-SAFE order and 10 kΩ between row 0 and column 0: `a_resistor_reads_as_its_value`.
#![no_std]
#![no_main]

// What only the image uses.
#[allow(dead_code)]
#[path = "../src/board.rs"]
mod board;
#[path = "../src/burst.rs"]
mod burst;
#[path = "../src/edges.rs"]
mod edges;
#[path = "../src/storage.rs"]
mod storage;
#[path = "../src/wiring.rs"]
mod wiring;

use ohmrig_log as _;

#[cfg(test)]
#[embedded_test::tests]
mod tests {
    use super::{board, storage::Storage, wiring::Wiring};
    use embassy_stm32::pac::TIM5;
    use embedded_hal::spi::SpiDevice;
    use ohmrig_firmware::board::serve::InstrumentClock;
    use ohmrig_firmware::front_end::{FrontEnd, Progress, Settle};
    use ohmrig_firmware::hardware::{ChipSelect, FramedSpi, Hardware, Sequencer, WithFlash};
    use ohmrig_firmware::or16::Or16;
    use ohmrig_protocol::bench::ChipKind;

    const ROWS: ChipSelect = ChipSelect { kind: ChipKind::RowDac, index: 0 };

    #[init]
    fn init() -> WithFlash<Wiring, Storage> {
        let (station, analog) = board::parts(embassy_stm32::init(board::clocks()));
        let Some(hardware) = Wiring::new(analog) else { panic!("started twice") };
        WithFlash { hardware, flash: Storage::new(station.flash) }
    }

    /// `pulse_done` itself fails on a width off by more than 1 % + 200 ns.
    #[test]
    fn pulses_come_back_as_wide_as_asked(mut wiring: WithFlash<Wiring, Storage>) {
        for width_ns in [5_000, 20_000, 1_000_000, 100_000_000] {
            assert_eq!(wiring.sequencer().start_pulse(width_ns), Ok(()));
            let done = loop {
                match wiring.sequencer().pulse_done() {
                    Ok(false) => {}
                    done => break done,
                }
            };
            assert_eq!(done, Ok(true), "{width_ns} ns");
        }
    }

    #[test]
    fn a_stopped_pulse_is_over(mut wiring: WithFlash<Wiring, Storage>) {
        assert_eq!(wiring.sequencer().start_pulse(1_000_000_000), Ok(()));
        assert_eq!(wiring.sequencer().pulse_done(), Ok(false));
        assert_eq!(wiring.sequencer().stop_pulse(), Ok(()));
        assert_eq!(wiring.sequencer().pulse_done(), Ok(true));
    }

    #[test]
    fn a_dac_frame_comes_back_over_a_jumper(mut wiring: WithFlash<Wiring, Storage>) {
        let mut back = [0; 3];
        assert_eq!(wiring.hardware.chip(ROWS).transfer(&mut back, &[0xA5, 0x0F, 0x81]), Ok(()));
        assert_eq!(back, [0xA5, 0x0F, 0x81]);
    }

    #[test]
    fn a_burst_that_answers_comes_back_over_a_jumper(mut wiring: WithFlash<Wiring, Storage>) {
        let sent: [u8; 3 * 8] = core::array::from_fn(|n| 0x35 ^ 29 * n as u8);
        let mut back = [0; 3 * 8];
        let mut chip = wiring.hardware.chip(ROWS);
        assert_eq!(chip.transfer_frames(3, &sent, &mut back), Ok(()));
        assert_eq!(back, sent);
        // And the driver has its bus back.
        let mut back = [0; 3];
        assert_eq!(chip.transfer(&mut back, &[0xA5, 0x0F, 0x81]), Ok(()));
        assert_eq!(back, [0xA5, 0x0F, 0x81]);
    }

    /// The time the select is high between frames is what TIM5 measures there: period less the frame.
    #[test]
    fn a_burst_selects_around_each_frame(mut wiring: WithFlash<Wiring, Storage>) {
        assert_eq!(wiring.hardware.chip(ROWS).write_frames(3, &[0x12; 3 * 16]), Ok(()));
        let Ok(_) = wiring.hardware.now_ns();
        let high = TIM5.ccr(1).read();
        let expected = u32::from(board::FRAMES.period - board::FRAMES.release + board::FRAMES.select);
        assert!(
            high.abs_diff(expected) <= u32::from(ohmrig_firmware::board::frame_timer::DMA_COUNTS),
            "{high}"
        );
    }

    #[test]
    fn a_resistor_reads_as_its_value(wiring: WithFlash<Wiring, Storage>) {
        let Ok(mut board) = Or16::new(wiring, board::OR16) else { panic!("no OR-16 has that geometry") };
        loop {
            match board.make_safe() {
                Ok(Progress::Again(settle)) => pass(&mut board, settle),
                Ok(Progress::Done(settle)) => break pass(&mut board, settle),
                Err(error) => panic!("{error}"),
            }
        }
        // 100 mV through 10 kΩ and the row's 100 Ω, into 9.09 kΩ: 90 mV at the ADC, 472 codes, negative; 3 % for offsets
        // and the nominal gain.
        let range = board.set_range(1).unwrap();
        pass(&mut board, range);
        let driven = board.drive_row(0, 0x8000 + 655).unwrap();
        pass(&mut board, driven);
        board.start_conversion().unwrap();
        pass(&mut board, Settle { ns: 20_000 });
        assert_eq!(board.conversion_done(), Ok(true));
        let mut code = [0i16];
        board.read_codes(0, &mut code).unwrap();
        assert!((code[0] + 472).abs() < 14, "{}", code[0]);
    }

    fn pass(board: &mut Or16<WithFlash<Wiring, Storage>>, settle: Settle) {
        let Ok(start) = board.hardware_mut().now_ns();
        let Ok(mut now) = board.hardware_mut().now_ns();
        while now < start + u64::from(settle.ns) {
            let Ok(later) = board.hardware_mut().now_ns();
            now = later;
        }
    }
}
