//! The instrument on sequences of plausible requests, waits, power cycles and new sessions: it answers in bounded time,
//! doesn't panic, no cell sees more than a limit, and what is refused changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ohmrig_fuzz::{Asked, Bounds, Wire, emulation};
use ohmrig_protocol::frame;
use ohmrig_protocol::message::{Refusal, Reply, Request};

/// Requests of one input; libFuzzer finds longer ones where they lead further.
const MOST: usize = 40;

fuzz_target!(|input: ((u8, u8, u8), Vec<Asked>)| {
    let ((profile, rows, columns), asked) = input;
    let emulation = emulation(profile, rows, columns);
    let mut wire = Wire::open(&emulation);
    let mut bounds = Bounds::new(&emulation);
    for asked in asked.iter().take(MOST) {
        let body = match asked {
            Asked::Wait(ms) => {
                wire.wait(*ms);
                continue;
            }
            Asked::PowerCycle => {
                wire.device.power_cycle().expect("a board that comes up again");
                wire.hello();
                continue;
            }
            Asked::Hello => {
                wire.wait(1);
                wire.hello();
                continue;
            }
            Asked::Body(body) => body.clone(),
            plain => plain
                .with(emulation.rows, |request| postcard::to_allocvec(request).expect("a request"))
                .expect("the others are none"),
        };
        let before: Vec<u64> =
            wire.device.board().truth().expect("ground truth").iter().map(|cell| cell.pulses).collect();
        let (mut accepted, mut refused) = (false, false);
        wire.request(&body, |reply| match reply {
            // A job that runs goes on whatever is refused meanwhile; a fault comes after the edge.
            Reply::Refused(Refusal::JobRuns(_) | Refusal::Fault(_)) => accepted = true,
            Reply::Refused(_) => refused = true,
            _ => accepted = true,
        });
        if accepted && let Ok(request) = frame::decode_body::<Request<'_>>(&body) {
            bounds.accepted(&request);
        }
        bounds.check(&mut wire);
        let after = wire.device.board().truth().expect("ground truth");
        let pulse = matches!(frame::decode_body(&body), Ok(Request::Pulse(_)));
        if refused && pulse {
            // Refused with a job running is told as such, so nothing else can have written.
            let changed = after.iter().zip(&before).any(|(cell, before)| cell.pulses != *before);
            assert!(!changed, "a refused pulse was applied");
        }
    }
});
