//! The client against the real firmware core over links that lose, repeat and damage frames, and against peers that
//! are no ohmrig.

use super::*;
use crate::bench::{Emulation, profile};
use crate::device::EmulatedDevice;
use crate::transport::inject::Faulty;
use crate::transport::{InProcess, Pace};
use ohmrig_protocol::frame::{self, Header};
use ohmrig_protocol::message::{Pulse, Scheme};
use ohmrig_protocol::session::Mismatch;
use ohmrig_protocol::units::{Seconds, Volts};
use ohmrig_protocol::version;
use std::sync::{Arc, Mutex};

/// A pace for tests: whatever takes longer is lost.
const PACE: Pace = Pace {
    base: Duration::from_millis(30),
    measuring: Duration::from_millis(30),
    bytes_per_second: 1e6,
    conversion: Duration::from_millis(2),
    hello: Duration::from_millis(1500),
    poll: Duration::from_millis(1),
};

fn device() -> EmulatedDevice {
    EmulatedDevice::power_up(&Emulation::new(profile(Some("ideal")).unwrap(), 1)).unwrap()
}

fn done(reply: &Reply<'_>) -> Result<(), LinkError> {
    match reply {
        Reply::Done => Ok(()),
        other => Err(wrong_reply("request", other)),
    }
}

fn pulse() -> Request<'static> {
    Request::Pulse(Pulse {
        row: 2,
        column: 3,
        volts: Volts(1.2),
        width: Seconds(50e-6),
        scheme: Scheme::Half,
        gate: None,
    })
}

#[test]
fn over_a_bad_link_every_pulse_is_applied_exactly_once() {
    for seed in 0..6 {
        let inject = "drop=0.06,corrupt=0.05,truncate=0.03,duplicate=0.05,reorder=0.05,merge=0.1,split=0.1";
        let inject = format!("{inject},seed={seed}").parse().unwrap();
        let bad = Faulty::new(Box::new(InProcess::new(device())), inject);
        let mut client = Client::connect(Box::new(bad), "bad").unwrap();
        client.request(&Request::Arm { milliseconds: 3_600_000 }, done).unwrap();
        let mut replies = 0;
        let pulses = std::iter::repeat_n(pulse(), 40);
        let result = client.pipeline(pulses, |index, reply| {
            assert!(matches!(reply, Reply::Pulsed { .. }), "pulse {index}: {reply:?}");
            replies += 1;
            Ok::<(), LinkError>(())
        });
        result.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(replies, 40, "seed {seed}");
        let counted = client
            .request(&Request::Status, |reply| match reply {
                Reply::Status(status) => Ok(status.counters.pulses),
                other => Err(wrong_reply("status", other)),
            })
            .unwrap();
        assert_eq!(counted, 40, "seed {seed}");
        assert!(client.traffic().repeated > 0, "seed {seed}: the link was not bad enough to test anything");
    }
}

#[test]
fn replies_are_matched_to_their_requests() {
    let mut client = Client::connect(Box::new(InProcess::new(device())), "emulated").unwrap();
    let requests = [Request::Status, Request::Identify, Request::Safe, Request::Status];
    let mut seen = Vec::new();
    client
        .pipeline(requests, |index, reply| {
            let kind = match reply {
                Reply::Status(_) => 's',
                Reply::Identity(_) => 'i',
                Reply::Done => 'd',
                _ => '?',
            };
            seen.push((index, kind));
            Ok::<(), LinkError>(())
        })
        .unwrap();
    assert_eq!(seen, [(0, 's'), (1, 'i'), (2, 'd'), (3, 's')]);
}

#[test]
fn an_error_of_the_caller_leaves_the_session_in_step() {
    let mut client = Client::connect(Box::new(InProcess::new(device())), "emulated").unwrap();
    let stopped = client.pipeline(std::iter::repeat_n(Request::Status, 20), |index, _| {
        if index == 3 {
            Err(LinkError::WrongReply { request: "status", reply: "mine".into() })
        } else {
            Ok(())
        }
    });
    assert!(matches!(stopped, Err(LinkError::WrongReply { .. })));
    client.request(&Request::Safe, done).unwrap();
}

#[test]
fn a_refused_gap_that_comes_late_is_no_reason_to_give_up() {
    // The device's `Expected(0)` overtaken by the reply to number 0: what a reordering link makes of two requests.
    let mut client = Client::connect(Box::new(InProcess::new(device())), "emulated").unwrap();
    let mut flight = Flight::default();
    for (index, request) in [Request::Status, Request::Status].iter().enumerate() {
        let one = client.launch(index, request).unwrap();
        flight.push(one);
    }
    let (first, second) = (flight.waiting[0].sequence, flight.waiting[1].sequence);
    assert!(flight.answer(first).is_some());
    client.unexecuted(Unexecuted::Expected { sequence: first }, second, "status", &mut flight).unwrap();
    let ahead = Unexecuted::Expected { sequence: second + 5 };
    let error = client.unexecuted(ahead, second, "status", &mut flight).unwrap_err();
    assert!(matches!(error, LinkError::OutOfStep { .. }), "{error}");
}

/// A peer that answers what a function says.
struct Peer<F> {
    answer: F,
    ready: Vec<u8>,
}

impl<F: FnMut(&[u8]) -> Vec<u8> + Send> Transport for Peer<F> {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        let answer = (self.answer)(bytes);
        self.ready.extend(answer);
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
        if self.ready.is_empty() {
            std::thread::sleep(timeout);
        }
        let bytes = buffer.len().min(self.ready.len());
        buffer[..bytes].copy_from_slice(&self.ready[..bytes]);
        self.ready.drain(..bytes);
        Ok(bytes)
    }

    fn pace(&self) -> Pace {
        Pace { hello: Duration::from_millis(20), ..PACE }
    }
}

fn connect(answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> LinkError {
    let peer = Peer { answer, ready: Vec::new() };
    Client::connect(Box::new(peer), "peer").err().expect("no session with this peer")
}

#[test]
fn silence_and_chatter_are_told_apart() {
    assert!(matches!(connect(|_| Vec::new()), LinkError::NoAnswer { .. }));
    let error = connect(|_| b"login: ".to_vec());
    assert!(matches!(error, LinkError::NotOhmrig { bytes: 7, .. }), "{error}");
}

#[test]
fn an_echo_is_not_taken_for_a_device() {
    assert!(matches!(connect(<[u8]>::to_vec), LinkError::NotOhmrig { .. }));
}

#[test]
fn another_version_is_named_with_both_sides() {
    let error = connect(|_| {
        let header = Header { version: 9, kind: Kind::Mismatch, session: SessionId::NONE, sequence: 0 };
        let mut out = [0; 64];
        let body = Mismatch { received: version::CURRENT, min: 7, current: 9 };
        let bytes = frame::encode(header, &body, &mut out).unwrap();
        out[..bytes].to_vec()
    });
    assert!(matches!(error, LinkError::Version { min: 7, current: 9 }), "{error}");
}

/// An in-process device that can be replaced by a fresh one behind the client's back.
struct Replaceable(Arc<Mutex<InProcess>>);

impl Transport for Replaceable {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        self.0.lock().unwrap().write_all(bytes)
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
        self.0.lock().unwrap().read(buffer, timeout)
    }

    fn pace(&self) -> Pace {
        PACE
    }
}

#[test]
fn after_a_reset_what_was_in_flight_once_is_unknown_and_not_repeated() {
    let device_in_there = Arc::new(Mutex::new(InProcess::new(device())));
    let transport = Replaceable(Arc::clone(&device_in_there));
    let mut client = Client::connect(Box::new(transport), "emulated").unwrap();
    client.request(&Request::Arm { milliseconds: 1000 }, done).unwrap();
    *device_in_there.lock().unwrap() = InProcess::new(device());
    let error = client.request(&pulse(), done).unwrap_err();
    let LinkError::SessionLost { boot_then, boot_now, unknown: 1 } = error else { panic!("{error}") };
    assert_ne!(boot_then, boot_now);
    client.reconnect().unwrap();
    let pulses = client
        .request(&Request::Status, |reply| match reply {
            Reply::Status(status) => Ok(status.counters.pulses),
            other => Err(wrong_reply("status", other)),
        })
        .unwrap();
    assert_eq!(pulses, 0);
}
