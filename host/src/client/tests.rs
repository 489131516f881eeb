//! The client against the real firmware core over links that lose, repeat and damage frames, and against peers that
//! are no ohmrig.

use super::*;
use crate::bench::{Emulation, profile};
use crate::device::EmulatedDevice;
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
    bytes_per_second: 1e6,
    conversion: Duration::from_millis(2),
    hello: Duration::from_millis(1500),
    poll: Duration::from_millis(1),
};

/// A small random stream (SplitMix64), so that a failing test can be repeated.
struct Dice(u64);

impl Dice {
    fn one_in(&mut self, n: u64) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).is_multiple_of(n)
    }
}

/// A link that does something bad to about one frame in `one_in`, each way.
struct Bad {
    inner: InProcess,
    dice: Dice,
    one_in: u64,
    /// From the device, whole frames only.
    partial: Vec<u8>,
    ready: Vec<u8>,
}

impl Bad {
    fn spoil(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        if !self.dice.one_in(self.one_in) {
            out.extend_from_slice(frame);
            return;
        }
        if self.dice.one_in(3) {
            // Lost.
        } else if self.dice.one_in(2) {
            out.extend_from_slice(frame);
            out.extend_from_slice(frame);
        } else {
            let mut damaged = frame.to_vec();
            if let Some(byte) = damaged.get_mut(frame.len() / 2) {
                *byte ^= 0x10;
            }
            out.extend_from_slice(&damaged);
        }
    }
}

impl Transport for Bad {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        let mut out = Vec::new();
        for frame in bytes.split_inclusive(|&byte| byte == 0) {
            self.spoil(frame, &mut out);
        }
        self.inner.write_all(&out)
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
        let mut raw = [0; 4096];
        let bytes = self.inner.read(&mut raw, timeout)?;
        self.partial.extend_from_slice(&raw[..bytes]);
        while let Some(end) = self.partial.iter().position(|&byte| byte == 0) {
            let frame: Vec<u8> = self.partial.drain(..=end).collect();
            let mut out = Vec::new();
            self.spoil(&frame, &mut out);
            self.ready.extend(out);
        }
        let bytes = buffer.len().min(self.ready.len());
        buffer[..bytes].copy_from_slice(&self.ready[..bytes]);
        self.ready.drain(..bytes);
        Ok(bytes)
    }

    fn pace(&self) -> Pace {
        PACE
    }
}

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
        let bad = Bad {
            inner: InProcess::new(device()),
            dice: Dice(seed),
            one_in: 6,
            partial: Vec::new(),
            ready: Vec::new(),
        };
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
