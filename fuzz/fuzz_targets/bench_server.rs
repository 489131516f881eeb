//! The bench's end of the bench protocol on any bytes, with a whole emulated board behind it: no panic, no answer without a
//! question, no operation that takes for ever.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ohmrig_emulator::bench_server::BenchServer;
use ohmrig_fuzz::emulation;
use ohmrig_protocol::bench::wire;

/// Most bytes of an answer: a burst and its segments, or a block of flash, with status, clock and check.
const LONGEST_ANSWER: usize = 640;

fuzz_target!(|data: &[u8]| {
    let Some((&[profile, rows, columns, chunk], bytes)) = data.split_first_chunk::<4>() else { return };
    let (mut board, _files) = emulation(profile, rows, columns).power_up().expect("an emulated board");
    let mut server = BenchServer::new();
    let mut out = Vec::new();
    let greeting = [&wire::HELLO[..], &wire::VERSION.to_le_bytes()].concat();
    server.feed(&greeting, &mut board, &mut out).expect("a greeting");
    for part in bytes.chunks(usize::from(chunk) + 1) {
        out.clear();
        // An error ends the conversation; a greeting among the bytes starts another.
        let _ = server.feed(part, &mut board, &mut out);
        assert!(out.len() <= LONGEST_ANSWER * part.len(), "{} bytes for {}", out.len(), part.len());
    }
});
