//! Frames over a transport: encodes what goes out, finds whole frames in what comes in, counts every byte.

use super::log_inbox::LogInbox;
use crate::interrupt;
use crate::transport::{Pace, Transport, TransportError};
use ohmrig_protocol::frame::{self, FrameError, Header, Kind, SessionId};
use ohmrig_protocol::message::Request;
use ohmrig_protocol::session::Mismatch;
use ohmrig_protocol::version;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use thiserror::Error;

/// No device announces larger frames; more bytes without a delimiter than this are noise.
const LONGEST_FRAME: usize = 1 << 20;

/// Longest time in one read, so that Ctrl-C is noticed.
const SLICE: Duration = Duration::from_millis(50);

/// What can go wrong between this host and a device.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The byte pipe.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Nothing at all came back to a hello.
    #[error(
        "nothing answered on port {port} within {:.1} s ({attempts} attempts); is the board powered, is this its port?",
        .waited.as_secs_f64()
    )]
    NoAnswer {
        /// The port.
        port: String,
        /// Hellos sent.
        attempts: u32,
        /// How long it waited in all.
        waited: Duration,
    },
    /// Bytes came back to a hello, and none of them were ours.
    #[error(
        "what is on port {port} is not an ohmrig: it sent {bytes} bytes and no frame in {attempts} attempts"
    )]
    NotOhmrig {
        /// The port.
        port: String,
        /// Bytes received.
        bytes: u64,
        /// Hellos sent.
        attempts: u32,
    },
    /// The two sides have no version in common.
    #[error(
        "the device speaks protocol versions {min} to {current}, this ohmrig {} to {}; update the older of the two",
        version::MIN,
        version::CURRENT
    )]
    Version {
        /// The device's oldest.
        min: u8,
        /// The device's newest.
        current: u8,
    },
    /// A request got no answer in any of its attempts.
    #[error(
        "{request} (number {sequence}) got no answer in {attempts} attempts over {:.1} s{}",
        .waited.as_secs_f64(),
        unknown_text(*.unknown)
    )]
    TimedOut {
        /// Name of the request.
        request: &'static str,
        /// Its sequence number.
        sequence: u32,
        /// Times it was sent.
        attempts: u32,
        /// Since it was sent first.
        waited: Duration,
        /// Unanswered *once* requests: whether they were executed isn't known.
        unknown: u32,
    },
    /// The device no longer knows the session.
    #[error(
        "the device {}{}",
        if boot_then == boot_now { "was taken over by another session" } else { "was reset" },
        unknown_text(*.unknown)
    )]
    SessionLost {
        /// Boot nonce when the session was opened.
        boot_then: u64,
        /// Boot nonce now; the same if another host opened a session.
        boot_now: u64,
        /// Unanswered *once* requests: whether they were executed isn't known.
        unknown: u32,
    },
    /// The device holds another answer under this number, or none any more.
    #[error("request number {sequence} is out of step with the device: {why}")]
    OutOfStep {
        /// The request's number.
        sequence: u32,
        /// What the device said.
        why: String,
    },
    /// The device can't read a request.
    #[error(
        "the device can't read the request {request}: its firmware {firmware} may be older than this ohmrig"
    )]
    Unread {
        /// Name of the request.
        request: &'static str,
        /// The firmware's version, if it has said it.
        firmware: String,
    },
    /// A reply that isn't one.
    #[error("the reply to {request} can't be read: {source}")]
    Reply {
        /// Name of the request.
        request: &'static str,
        /// What is wrong with it.
        source: FrameError,
    },
    /// A reply of another kind than the request asks for.
    #[error("{request} was answered by {reply}, which is no answer to it")]
    WrongReply {
        /// Name of the request.
        request: &'static str,
        /// What came.
        reply: String,
    },
    /// A request larger than the device's frames.
    #[error("{request} takes more than the {max_frame} bytes of the device's largest frame")]
    TooLarge {
        /// Name of the request.
        request: &'static str,
        /// The device's limit.
        max_frame: u32,
    },
    /// No randomness for a session number.
    #[error("the system gives no random numbers: {0}")]
    Entropy(getrandom::Error),
    /// Ctrl-C.
    #[error("interrupted{}", unknown_text(*.unknown))]
    Interrupted {
        /// Unanswered *once* requests: whether they were executed isn't known.
        unknown: u32,
    },
}

fn unknown_text(unknown: u32) -> String {
    match unknown {
        0 => String::new(),
        1 => "; whether the request in flight was executed is unknown".to_owned(),
        n => format!("; whether the {n} requests in flight were executed is unknown"),
    }
}

/// The name of a request, for messages.
#[must_use]
pub fn name(request: &Request<'_>) -> &'static str {
    match request {
        Request::Identify => "identify",
        Request::Status => "status",
        Request::ReadCells(_) => "read cells",
        Request::ReadColumn(_) => "read column",
        Request::ReadReference(_) => "read reference",
        Request::Mvm(_) => "MVM",
        Request::CheckChips => "check chips",
        Request::JobStatus(_) => "job status",
        Request::JobResults { .. } => "job results",
        Request::Arm { .. } => "arm",
        Request::Safe => "safe",
        Request::ClearFault(_) => "clear fault",
        Request::TightenLimits(_) => "tighten limits",
        Request::Pulse(_) => "pulse",
        Request::Program(_) => "program",
        Request::AbortJob(_) => "abort job",
        Request::ReleaseJob(_) => "release job",
        Request::Wait { .. } => "wait",
        Request::Trace(_) => "trace",
        Request::FetchSamples { .. } => "fetch samples",
        Request::ReadBudgets(_) => "read budgets",
        Request::ListArrays => "list arrays",
        Request::PlugArray { .. } => "plug array",
        Request::ForgetArray { .. } => "forget array",
        Request::ListRecords => "list records",
        Request::ReadRecord { .. } => "read record",
        Request::BeginRecord(_) => "begin record",
        Request::RecordChunk { .. } => "record chunk",
        Request::CommitRecord => "commit record",
        Request::RollBackRecord { .. } => "roll back record",
    }
}

/// Bytes and frames, counted since the port was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes sent, repetitions included.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Frames received and dropped: COBS, CRC, kind.
    pub bad_frames: u64,
    /// Request frames sent again.
    pub repeated: u64,
}

/// A transport with frames on it.
pub(super) struct Link {
    transport: Box<dyn Transport>,
    /// Bytes received and not yet looked at.
    fresh: Vec<u8>,
    /// Bytes since the last delimiter.
    partial: Vec<u8>,
    pub(super) traffic: Traffic,
    pub(super) log: LogInbox,
}

/// A received frame.
pub(super) struct Frame {
    pub(super) header: Header,
    pub(super) body: Vec<u8>,
}

impl Link {
    pub(super) fn new(transport: Box<dyn Transport>) -> Self {
        Self {
            transport,
            fresh: Vec::new(),
            partial: Vec::new(),
            traffic: Traffic::default(),
            log: LogInbox::default(),
        }
    }

    pub(super) fn pace(&self) -> Pace {
        self.transport.pace()
    }

    pub(super) fn is_silent(&self) -> bool {
        self.fresh.is_empty() && self.transport.is_silent()
    }

    pub(super) fn keep_state(&mut self) -> Result<(), LinkError> {
        Ok(self.transport.keep_state()?)
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.traffic.sent += bytes.len() as u64;
        Ok(self.transport.write_all(bytes)?)
    }

    /// The next good frame, or `None` if none came until `deadline` or none can come before something is sent.
    pub(super) fn receive(&mut self, deadline: Instant) -> Result<Option<Frame>, LinkError> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            if interrupt::requested() {
                return Err(LinkError::Interrupted { unknown: 0 });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let bytes = self.transport.read(&mut buffer, left.min(SLICE))?;
            if bytes == 0 && self.transport.is_silent() {
                return Ok(None);
            }
            self.traffic.received += bytes as u64;
            self.fresh.extend_from_slice(&buffer[..bytes]);
        }
    }

    /// The next good frame among the bytes that are here.
    fn take_frame(&mut self) -> Result<Option<Frame>, LinkError> {
        while let Some(end) = self.fresh.iter().position(|&byte| byte == 0) {
            self.partial.extend(self.fresh.drain(..=end));
            self.partial.pop();
            if self.partial.is_empty() {
                continue;
            }
            let decoded =
                frame::decode(&mut self.partial).map(|(header, body)| Frame { header, body: body.to_vec() });
            self.partial.clear();
            match decoded {
                Ok(Frame { header, body }) if header.kind == Kind::Mismatch => {
                    return Err(match decode_body::<Mismatch>(&body) {
                        Ok(Mismatch { min, current, .. }) => LinkError::Version { min, current },
                        Err(_) => LinkError::Version { min: header.version, current: header.version },
                    });
                }
                // Not an answer to anything: whoever waits for one waits on.
                Ok(frame) if frame.header.kind == Kind::Log => self.log.take(&frame),
                Ok(frame) => return Ok(Some(frame)),
                Err(FrameError::Version { received }) => {
                    return Err(LinkError::Version { min: received, current: received });
                }
                Err(error) => {
                    log::debug!("frame dropped: {error}");
                    self.traffic.bad_frames += 1;
                }
            }
        }
        self.partial.append(&mut self.fresh);
        if self.partial.len() > LONGEST_FRAME {
            self.partial.clear();
            self.traffic.bad_frames += 1;
        }
        Ok(None)
    }
}

/// A frame of this version, delimiter included; `None` if it takes more than `max_frame` bytes.
pub(super) fn encode<B: Serialize>(
    kind: Kind,
    session: SessionId,
    sequence: u32,
    body: &B,
    max_frame: u32,
) -> Option<Vec<u8>> {
    let mut out = vec![0; max_frame as usize];
    let header = Header { version: version::CURRENT, kind, session, sequence };
    // By postcard itself, as everything in this crate: the device has a smaller writer and reader of the format, and so every
    // exchange holds the one to the other.
    let body = postcard::to_allocvec(body).ok()?;
    let bytes = frame::encode(header, &frame::Serialized(&body), &mut out).ok()?;
    out.truncate(bytes);
    Some(out)
}

/// What a body says.
pub(super) fn decode_body<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(FrameError::Body { left_over: rest.len() }),
        Err(_) => Err(FrameError::Body { left_over: 0 }),
    }
}
