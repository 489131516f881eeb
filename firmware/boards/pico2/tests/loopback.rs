//! What only silicon can prove, run with a board behind a debug probe: `cargo test --release --no-default-features` in
//! this folder (needs `probe-rs`). Jumper wires, no analog board:
//!
//! | from | to | proves |
//! | --- | --- | --- |
//! | GP7 (TGP0) | GP14 (its sense pin) | pulse widths, early end |
//! | GP11 (MOSI) | GP12 (MISO) | SPI1 clocks and phase |
#![no_std]
#![no_main]

// What only the image uses.
#[allow(dead_code)]
#[path = "../src/board.rs"]
mod board;
#[path = "../src/edges.rs"]
mod edges;
#[path = "../src/wiring.rs"]
mod wiring;

use ohmrig_log as _;

#[cfg(test)]
#[embedded_test::tests]
mod tests {
    use super::{board, wiring::Wiring};
    use embedded_hal::spi::SpiDevice;
    use ohmrig_firmware::hardware::{ChipSelect, Hardware, Sequencer};
    use ohmrig_protocol::bench::ChipKind;

    #[init]
    fn init() -> Wiring {
        let (_, analog) = board::parts(embassy_rp::init(embassy_rp::config::Config::default()));
        Wiring::new(analog)
    }

    /// `pulse_done` itself fails on a width off by more than 1 % + 200 ns.
    #[test]
    fn pulses_come_back_as_wide_as_asked(mut wiring: Wiring) {
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
    fn a_stopped_pulse_is_over(mut wiring: Wiring) {
        assert_eq!(wiring.sequencer().start_pulse(1_000_000_000), Ok(()));
        assert_eq!(wiring.sequencer().pulse_done(), Ok(false));
        assert_eq!(wiring.sequencer().stop_pulse(), Ok(()));
        assert_eq!(wiring.sequencer().pulse_done(), Ok(true));
    }

    #[test]
    fn a_dac_frame_comes_back_over_a_jumper(mut wiring: Wiring) {
        let mut back = [0; 3];
        let rows = ChipSelect { kind: ChipKind::RowDac, index: 0 };
        assert_eq!(wiring.chip(rows).transfer(&mut back, &[0xA5, 0x0F, 0x81]), Ok(()));
        assert_eq!(back, [0xA5, 0x0F, 0x81]);
    }
}
