//! How long a product takes on the OpenMENA shield: with our steps, from the instrument clock of the emulated board, which only
//! bus bits, settling and conversions advance; and with the shield's own published firmware, from its delays.

use crate::{Answer, Talk, Wire};
use ohmrig_firmware::openmena::parts::{CONVERSION_NS, READ};
use ohmrig_protocol::bench::Bench;
use ohmrig_protocol::message::{Mvm, Request};
use std::fmt::Write;

/// `delay(5)`, ms: the only wait in `INFEREMULTIPLE` of `memristor_rev.ino`.
const DELAY_MS: f64 = 5.0;
/// Averages of one vector (`N_avg`, the same).
const AVERAGES: u16 = 20;
/// `Serial.begin(115200)` in `memristor_rev.ino` and `BAUDRATE` in `memristor_main.py`: ten bits a byte.
const BYTE_MS: f64 = 10.0 / 115.2;

/// Where the time of products goes, ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Product {
    /// I²C at 400 kHz, of one product.
    pub bus: f64,
    /// Switches, drivers and amplifiers, of one product.
    pub settling: f64,
    /// Conversions of one product.
    pub converting: f64,
    /// Once per request: the drivers' settings looked at, rows back at 0 V.
    pub closing: f64,
}

impl Product {
    /// So many in one request.
    #[must_use]
    pub fn times(&self, vectors: u16) -> f64 {
        f64::from(vectors) * (self.bus + self.settling + self.converting) + self.closing
    }
}

/// Instrument time of one request for products in which every row moves every time, ms.
fn request(vectors: u16, conversions: u16) -> f64 {
    let mut talk = Talk::new(Wire::new("openmena", 1));
    let code = |n: u16| 0x800 - 60 + (n * 37 + n / 8 * 11) % 121;
    let codes: Vec<u8> = (0..vectors * 8).flat_map(|n| code(n).to_le_bytes()).collect();
    let before_ns = talk.wire.device.board().now_ns().unwrap();
    let answer = talk.ask(&Request::Mvm(Mvm { range: 0, conversions, interval_ns: 0, codes: &codes }));
    assert!(matches!(answer, Answer::Other(_)), "{answer:?}");
    (talk.wire.device.board().now_ns().unwrap() - before_ns) as f64 * 1e-6
}

/// Products of so many conversions each.
///
/// # Panics
/// If the emulated shield doesn't answer.
#[must_use]
pub fn product(conversions: u16) -> Product {
    let (eight, sixteen) = (request(8, conversions), request(16, conversions));
    let each = (sixteen - eight) / 8.0;
    let settling = f64::from(READ.ns) * 1e-6;
    let converting = f64::from(conversions) * f64::from(CONVERSION_NS) * 1e-6;
    Product { bus: each - settling - converting, settling, converting, closing: eight - 8.0 * each }
}

/// One product by the published firmware, ms: 5 ms after the switches are opened, 5 ms after each of eight codes, and 20 times
/// 5 ms after they are closed, 5 ms after each of eight readings and 5 ms after they are opened again.
#[must_use]
pub fn published() -> f64 {
    DELAY_MS + 8.0 * DELAY_MS + f64::from(AVERAGES) * (DELAY_MS + 8.0 * DELAY_MS + DELAY_MS)
}

/// Its command and answer for `vectors` of them on the wire, ms, with four characters a code and six an average.
#[must_use]
pub fn published_link(vectors: u16) -> f64 {
    let asked = "INFEREMULTIPLE: 8".len() + usize::from(vectors) * 8 * " 2100".len() + 1;
    let said = "Running inference for 8 input vectors...\r\nINFEREMULTIPLE ADC Averages:\r\nINFEREMULTIPLE complete.\r\n";
    let results = usize::from(vectors) * (8 * "123.45\t".len() + 2);
    (asked + said.len() + results) as f64 * BYTE_MS
}

/// The table of `docs/timing.md`.
///
/// # Panics
/// If the emulated shield doesn't answer.
#[must_use]
pub fn table() -> String {
    let mut text = String::from(
        "| | I²C, 400 kHz | settling | conversions | once per request | one product | eight products |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (name, conversions) in [("`ohmrig`, one conversion", 1), ("`ohmrig`, 20 averaged", AVERAGES)] {
        let product = product(conversions);
        let Product { bus, settling, converting, closing } = product;
        let _ = writeln!(
            text,
            "| {name} | {bus:.2} ms | {settling:.2} ms | {converting:.2} ms | {closing:.2} ms | **{:.1} ms** | **{:.1} ms** |",
            product.times(1),
            product.times(8)
        );
    }
    let own = published();
    let _ = writeln!(
        text,
        "| its own firmware, 20 averaged | | | | | **{own:.0} ms** | **{:.2} s** |",
        (8.0 * own) * 1e-3
    );
    text
}
