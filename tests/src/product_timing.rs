//! How long a product takes on the OR-16: on the instrument clock of the emulated board, which only bus bits, settling and
//! conversions advance, and from that and counted instructions on boards.

use crate::{Answer, Talk, Wire};
use ohmrig_protocol::bench::Bench;
use ohmrig_protocol::message::{Mvm, Request};

/// Vectors of the longer of two requests; the shorter has half of them.
const VECTORS: u16 = 60;

/// Instrument time of one request for products in which every row moves every time, ns.
fn request(talk: &mut Talk, range: u8, vectors: u16) -> u64 {
    let code = |n: u16| 0x8000 - 1_000 + (n * 37 + n / 16 * 11) % 2_000;
    let codes: Vec<u8> = (0..vectors * 16).flat_map(|n| code(n).to_le_bytes()).collect();
    let before_ns = talk.wire.device.board().now_ns().unwrap();
    let answer = talk.ask(&Request::Mvm(Mvm { range, conversions: 1, interval_ns: 0, codes: &codes }));
    assert!(matches!(answer, Answer::Other(_)), "{answer:?}");
    talk.wire.device.board().now_ns().unwrap() - before_ns
}

/// Instrument time of one 16 × 16 product within a batch, ns.
///
/// # Panics
/// If the emulated board doesn't answer.
#[must_use]
pub fn product_ns(range: u8) -> u64 {
    let mut talk = Talk::new(Wire::new("ideal", 1));
    // Supplies and drivers are looked at when the clock has passed a second: in the first request, which isn't counted.
    let next_s = talk.wire.device.board().now_ns().unwrap() / 1_000_000_000 + 1;
    talk.wire.device.board().wait_until_ns(next_s * 1_000_000_000).unwrap();
    let _ = request(&mut talk, range, 1);
    let half = request(&mut talk, range, VECTORS / 2);
    let more = request(&mut talk, range, VECTORS) - half;
    let vectors = u64::from(VECTORS / 2);
    assert_eq!(more % vectors, 0, "every product takes the same time");
    more / vectors
}
