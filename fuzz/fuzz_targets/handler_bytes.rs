//! The instrument on any bytes: raw ones, and bodies in frames as they should be. It answers in bounded time, doesn't
//! panic, and no cell sees more than a limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ohmrig_fuzz::{Bounds, Wire, emulation};
use ohmrig_protocol::frame;
use ohmrig_protocol::message::{Reply, Request};

fuzz_target!(|data: &[u8]| {
    let Some((&[profile, rows, columns], mut rest)) = data.split_first_chunk::<3>() else { return };
    let emulation = emulation(profile, rows, columns);
    let mut wire = Wire::open(&emulation);
    let mut bounds = Bounds::new(&emulation);
    while let Some((&[kind, length], more)) = rest.split_first_chunk::<2>() {
        let (bytes, after) = more.split_at(usize::from(length).min(more.len()));
        if kind % 4 == 0 {
            wire.exchange(bytes, |_, _| {});
            // A request's frame among them would have to guess the session's number; what is left of them is ended.
            wire.exchange(&[0], |_, _| {});
        } else {
            let mut accepted = false;
            wire.request(bytes, |reply| accepted = !matches!(reply, Reply::Refused(_)));
            if accepted && let Ok(request) = frame::decode_body::<Request<'_>>(bytes) {
                bounds.accepted(&request);
            }
        }
        bounds.check(&mut wire);
        rest = after;
    }
});
