//! Frames captured on the wire and replayed, duplicated, delayed or damaged never apply a second pulse: judged by the
//! emulator's ground truth, not by what the instrument says of itself.

use ohmrig_protocol::frame::{self, Header, Kind, SessionId};
use ohmrig_protocol::message::*;
use ohmrig_protocol::session::{Hello, Unexecuted, session_id};
use ohmrig_protocol::units::{Seconds, Siemens, Volts};
use ohmrig_tests::{Answer, Wire, encode, request};
use proptest::prelude::*;

/// A profile, on the board it brings, and a pulse above the threshold of all of its devices, so that one pulse counts as
/// one on exactly one cell.
#[derive(Clone, Copy, Debug)]
struct Rig {
    profile: &'static str,
    volts: f32,
    scheme: Scheme,
}

/// Each board with what it can do.
const RIGS: [Rig; 2] = [
    Rig { profile: "rram-cmo", volts: 1.6, scheme: Scheme::Half },
    Rig { profile: "openmena", volts: 0.28, scheme: Scheme::SymmetricHalf },
];

impl Rig {
    fn wire(&self) -> Wire {
        Wire::new(self.profile, 7)
    }

    fn pulse(&self) -> Request<'static> {
        self.pulse_on(2, 3)
    }

    fn pulse_on(&self, row: u16, column: u16) -> Request<'static> {
        Request::Pulse(Pulse {
            row,
            column,
            volts: Volts(self.volts),
            width: Seconds(50e-6),
            scheme: self.scheme,
            gate: None,
        })
    }
}

const ARM: Request<'_> = Request::Arm { milliseconds: 60_000 };

#[test]
fn a_pulse_that_comes_again_is_answered_again_and_not_applied_again() {
    for rig in RIGS {
        let mut wire = rig.wire();
        let session = wire.open(1);
        assert_eq!(wire.exchange(&request(session, 0, &ARM)), [Answer::Done]);
        let frame = request(session, 1, &rig.pulse());
        assert_eq!(wire.exchange(&frame), [Answer::Pulsed]);
        assert_eq!(wire.pulses(), 1);
        for _ in 0..5 {
            assert_eq!(wire.exchange(&frame), [Answer::Pulsed]);
        }
        assert_eq!(wire.exchange(&[frame.clone(), frame.clone(), frame].concat()), vec![Answer::Pulsed; 3]);
        assert_eq!(wire.pulses(), 1);
    }
}

#[test]
fn a_pulse_delayed_until_its_reply_is_forgotten_is_stale() {
    for rig in RIGS {
        let mut wire = rig.wire();
        let session = wire.open(1);
        wire.exchange(&request(session, 0, &ARM));
        let frame = request(session, 1, &rig.pulse());
        wire.exchange(&frame);
        for sequence in 2..20 {
            wire.exchange(&request(session, sequence, &Request::Status));
        }
        assert_eq!(wire.exchange(&frame), [Answer::Unexecuted(Unexecuted::Stale { oldest: 12 })]);
        assert_eq!(wire.pulses(), 1);
    }
}

#[test]
fn a_whole_session_replayed_from_its_hello_on_applies_nothing() {
    for rig in RIGS {
        let mut wire = rig.wire();
        let session = wire.open(1);
        let traffic: Vec<_> = [request(session, 0, &ARM), request(session, 1, &rig.pulse())].concat();
        wire.exchange(&traffic);
        assert_eq!(wire.pulses(), 1);
        // While the session is still open: answered from memory.
        assert_eq!(wire.exchange(&traffic), [Answer::Done, Answer::Pulsed]);
        // After another one, hello included.
        wire.open(2);
        let hello = encode(Kind::Hello, SessionId::NONE, 0, &Hello { host_nonce: 1 });
        let answers = wire.exchange(&[hello, traffic].concat());
        assert!(
            matches!(
                answers.as_slice(),
                [
                    Answer::Welcome(_),
                    Answer::Unexecuted(Unexecuted::NoSession { .. }),
                    Answer::Unexecuted(Unexecuted::NoSession { .. })
                ]
            ),
            "{answers:?}"
        );
        assert_eq!(wire.pulses(), 1);
    }
}

#[test]
fn traffic_captured_before_a_reset_is_worthless_after_it() {
    for rig in RIGS {
        let mut wire = rig.wire();
        let session = wire.open(1);
        let traffic: Vec<_> = [request(session, 0, &ARM), request(session, 1, &rig.pulse())].concat();
        wire.exchange(&traffic);
        // The same seed, another boot: the nonce is entropy.
        let mut wire = rig.wire();
        let hello = encode(Kind::Hello, SessionId::NONE, 0, &Hello { host_nonce: 1 });
        wire.exchange(&[hello, traffic].concat());
        assert_eq!(wire.pulses(), 0);
    }
}

#[test]
fn a_missing_request_holds_up_those_behind_it() {
    for rig in RIGS {
        let mut wire = rig.wire();
        let session = wire.open(1);
        wire.exchange(&request(session, 0, &ARM));
        assert_eq!(
            wire.exchange(&request(session, 2, &rig.pulse())),
            [Answer::Unexecuted(Unexecuted::Expected { sequence: 1 })]
        );
        assert_eq!(wire.pulses(), 0);
        wire.exchange(&request(session, 1, &Request::Status));
        assert_eq!(wire.exchange(&request(session, 2, &rig.pulse())), [Answer::Pulsed]);
        assert_eq!(wire.pulses(), 1);
    }
}

#[test]
fn another_request_under_a_used_number_is_refused() {
    for rig in RIGS {
        let mut wire = rig.wire();
        let session = wire.open(1);
        wire.exchange(&request(session, 0, &ARM));
        assert_eq!(
            wire.exchange(&request(session, 0, &rig.pulse())),
            [Answer::Unexecuted(Unexecuted::Reused)]
        );
        assert_eq!(wire.pulses(), 0);
    }
}

#[test]
fn a_new_session_is_not_armed_by_the_old_one() {
    for rig in RIGS {
        let mut wire = rig.wire();
        let session = wire.open(1);
        wire.exchange(&request(session, 0, &ARM));
        let session = wire.open(2);
        assert_eq!(wire.exchange(&request(session, 0, &rig.pulse())), [Answer::Refused(Refusal::NotArmed)]);
        assert_eq!(wire.pulses(), 0);
    }
}

#[test]
fn a_new_session_s_arming_does_not_keep_the_old_session_s_job_alive() {
    let stairs = Staircase { start: Volts(1.1), step: Volts(0.01), stop: Volts(1.8) };
    let targets: Vec<u8> = [60e-6_f32; 16].iter().flat_map(|target| target.to_le_bytes()).collect();
    let job = JobId(5);
    let program = Request::Program(Program {
        job,
        region: Region { row: 0, column: 0, rows: 1, columns: 16 },
        targets: &targets,
        window: Siemens(1e-7),
        algorithm: Algorithm::Incremental { set: stairs, reset: stairs },
        width: Seconds(1e-3),
        scheme: Scheme::Half,
        read_volts: Volts(0.2),
        range: 1,
        conversions: 1,
        max_conversions: 1,
        confirm: 0,
        max_pulses: 200,
        max_reversals: 50,
    });
    // Whatever the job is doing when the new session's frames come, all at once.
    for steps in 0..60 {
        let session = SessionId::NONE;
        let mut wire = Wire::new("rram-cmo", 7);
        let Answer::Welcome(welcome) =
            wire.exchange(&encode(Kind::Hello, session, 0, &Hello { host_nonce: 1 })).remove(0)
        else {
            panic!("no welcome")
        };
        wire.exchange(&request(welcome.session(), 0, &ARM));
        let mut out = Vec::new();
        let bytes = request(welcome.session(), 1, &program);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (taken, _) = wire.device.step(rest, wire.link_ns, &mut out).unwrap();
            rest = &rest[taken..];
        }
        for _ in 0..20 + steps {
            wire.device.step(&[], wire.link_ns, &mut out).unwrap();
        }
        let next = session_id(2, welcome.boot_nonce, welcome.sessions + 1);
        let hello = encode(Kind::Hello, SessionId::NONE, 0, &Hello { host_nonce: 2 });
        wire.exchange(&[hello, request(next, 0, &ARM)].concat());
        let pulses = wire.pulses();
        assert!(pulses <= 20, "{steps} steps on, the job went on to {pulses} pulses");
    }
}

#[test]
fn silence_while_armed_latches_a_fault_that_must_be_cleared_by_name() {
    for rig in RIGS {
        let mut wire = rig.wire();
        let session = wire.open(1);
        wire.exchange(&request(session, 0, &ARM));
        wire.link_ns += 2_100_000_000;
        wire.exchange(&[]);
        assert_eq!(
            wire.exchange(&request(session, 1, &rig.pulse())),
            [Answer::Refused(Refusal::Faulted(FaultCode::LinkSilent))]
        );
        let clear = |code| Request::ClearFault(code);
        assert_eq!(
            wire.exchange(&request(session, 2, &clear(FaultCode::Chip))),
            [Answer::Refused(Refusal::NoSuchFault)]
        );
        assert_eq!(wire.exchange(&request(session, 3, &clear(FaultCode::LinkSilent))), [Answer::Done]);
        wire.exchange(&request(session, 4, &ARM));
        assert_eq!(wire.exchange(&request(session, 5, &rig.pulse())), [Answer::Pulsed]);
        assert_eq!(wire.pulses(), 1);
    }
}

#[test]
fn another_version_is_told_so_and_not_executed() {
    for rig in RIGS {
        let mut wire = rig.wire();
        let header = Header { version: 9, kind: Kind::Hello, session: SessionId::NONE, sequence: 0 };
        let mut bytes = [0; 64];
        let length = frame::encode(header, &Hello { host_nonce: 1 }, &mut bytes).unwrap();
        assert_eq!(wire.exchange(&bytes[..length]), [Answer::Mismatch]);
    }
}

/// What a bad link does to a list of frames.
#[derive(Clone, Debug)]
enum Mishap {
    Send(usize),
    Flip(usize, usize),
    Cut(usize, usize),
    Garbage(Vec<u8>),
}

fn mishaps(frames: usize) -> impl Strategy<Value = Vec<Mishap>> {
    let mishap = prop_oneof![
        4 => (0..frames).prop_map(Mishap::Send),
        1 => (0..frames, any::<usize>()).prop_map(|(frame, bit)| Mishap::Flip(frame, bit)),
        1 => (0..frames, any::<usize>()).prop_map(|(frame, at)| Mishap::Cut(frame, at)),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Mishap::Garbage),
    ];
    proptest::collection::vec(mishap, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Ten different pulses, sent in any order, any number of times, damaged in any way: each is applied at most
    /// once, and at least as often as it was acknowledged under its own number.
    #[test]
    fn no_order_of_losses_copies_and_damage_applies_a_pulse_twice(plan in mishaps(11), rig in prop::sample::select(&RIGS[..])) {
        let mut wire = rig.wire();
        let session = wire.open(1);
        let mut frames = vec![request(session, 0, &ARM)];
        for number in 1..=10u16 {
            frames.push(request(session, number.into(), &rig.pulse_on(number % 8, number % 7)));
        }
        for mishap in plan {
            match mishap {
                Mishap::Send(number) => { wire.exchange(&frames[number]); }
                Mishap::Flip(number, bit) => {
                    let mut bytes = frames[number].clone();
                    let bit = bit % (bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    wire.exchange(&bytes);
                }
                Mishap::Cut(number, at) => {
                    let bytes = &frames[number];
                    wire.exchange(&bytes[..at % bytes.len()]);
                }
                Mishap::Garbage(bytes) => { wire.exchange(&bytes); }
            }
            for cell in wire.truth() {
                prop_assert!(cell.pulses <= 1, "{cell:?}");
            }
        }
        // Delivered properly in the end, each is applied exactly once.
        for (number, frame) in frames.iter().enumerate() {
            // The delimiter ends whatever damage left in the decoder.
            let bytes = [&[0], frame.as_slice()].concat();
            let answers = wire.exchange(&bytes);
            let early = number + 8 < 11 && answers.iter().any(|a| matches!(a, Answer::Unexecuted(Unexecuted::Stale { .. })));
            prop_assert!(early || answers.iter().any(|a| matches!(a, Answer::Done | Answer::Pulsed)), "{answers:?}");
        }
        prop_assert_eq!(wire.pulses(), 10);
    }
}
