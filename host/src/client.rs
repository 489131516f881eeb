//! A blocking client: one session, several requests in flight, lost frames repeated, nothing ever done twice.

mod flight;
mod link;
mod log_inbox;

pub use link::{LinkError, Traffic, name};
pub use log_inbox::{LogBatch, LogListener};

use crate::transport::{Transport, TransportError};
use flight::{Flight, InFlight};
use link::{Frame, Link, decode_body, encode};
use ohmrig_protocol::frame::{Kind, SessionId, encoded_bytes};
use ohmrig_protocol::message::{
    Converters, Fault, Identity, Limits, Reply, Request, ResetReason, StorageProblem,
};
use ohmrig_protocol::session::{Hello, Unexecuted, Welcome};
use std::time::{Duration, Instant};

/// Times the oldest request goes unanswered before it counts as lost. A link that loses every third exchange loses this
/// many in a row once in forty million requests.
const ATTEMPTS: u32 = 16;

/// From one hello to the next, and most of them.
const HELLO_EVERY: Duration = Duration::from_millis(250);
const HELLOS: u32 = 100;

/// Bytes of a frame that carries no bulk data, at most; an identity is the longest.
const PLAIN_FRAME: usize = 512;

/// The largest frame ohmrig plans for, even if the device takes more: batches, and with them the order of events on
/// the instrument, are then the same on every device that takes at least this much.
pub const PLANNED_FRAME: u32 = 2048;

/// A device's description, as [`Identity`], owned.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Board name.
    pub board: String,
    /// Whether its chips and devices are emulated.
    pub emulated: bool,
    /// Front end name.
    pub front_end: String,
    /// Firmware version.
    pub firmware: String,
    /// Git commit the firmware was built from.
    pub git: String,
    /// Rows of the array.
    pub rows: u16,
    /// Columns of the array.
    pub columns: u16,
    /// How codes relate to volts and currents.
    pub converters: Converters,
    /// The limits in force.
    pub limits: Limits,
    /// The limits of the board.
    pub board_limits: Limits,
    /// Why it last started.
    pub reset: ResetReason,
    /// Starts it has counted; 0 if its flash can't be used.
    pub boots: u32,
    /// Name of the array that is plugged in; empty if nobody named it.
    pub array: String,
    /// What is wrong with its flash.
    pub storage: Option<StorageProblem>,
    /// The last fault of all, cleared or not, and the start it happened in.
    pub last_fault: Option<(Fault, u32)>,
    /// What the last panic of all said, and the start that followed it.
    pub last_panic: Option<(String, u32)>,
    /// First bytes of the build id of the image it runs, in hexadecimal digits; empty for a device that runs none.
    pub build: String,
}

impl From<Identity<'_>> for Device {
    fn from(identity: Identity<'_>) -> Self {
        Self {
            board: identity.board.to_owned(),
            emulated: identity.emulated,
            front_end: identity.front_end.to_owned(),
            firmware: identity.firmware.to_owned(),
            git: identity.git.to_owned(),
            rows: identity.rows,
            columns: identity.columns,
            converters: identity.converters,
            limits: identity.limits,
            board_limits: identity.board_limits,
            reset: identity.reset,
            boots: identity.boots,
            array: identity.array.to_owned(),
            storage: identity.storage,
            last_fault: identity.last_fault,
            last_panic: identity.last_panic.map(|(text, boot)| (text.to_owned(), boot)),
            build: identity.build.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// A reply that was waited for.
struct Answer {
    /// Position in the pipeline's requests.
    index: usize,
    request: &'static str,
    body: Vec<u8>,
}

/// A session with a device.
pub struct Client {
    link: Link,
    port: String,
    welcome: Welcome,
    session: SessionId,
    next: u32,
    device: Option<Device>,
}

impl Client {
    /// Opens a session on `transport`; `port` is its name for messages.
    ///
    /// # Errors
    /// [`LinkError`]: nothing answers, something else answers, another protocol version.
    pub fn connect(transport: Box<dyn Transport>, port: &str) -> Result<Self, LinkError> {
        Self::open(transport, port, None)
    }

    /// As [`connect`](Self::connect), for a port that may have anything behind it: gives up after `patience`.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub fn connect_within(
        transport: Box<dyn Transport>,
        port: &str,
        patience: Duration,
    ) -> Result<Self, LinkError> {
        Self::open(transport, port, Some(patience))
    }

    fn open(
        transport: Box<dyn Transport>,
        port: &str,
        patience: Option<Duration>,
    ) -> Result<Self, LinkError> {
        let mut link = Link::new(transport);
        let welcome = greet(&mut link, port, patience)?;
        let mut client =
            Self { link, port: port.to_owned(), session: welcome.session(), welcome, next: 0, device: None };
        client.identify()?;
        Ok(client)
    }

    /// Hands every batch of log records to `listener`: those that came since the session was opened at once, the others as
    /// they come.
    pub fn listen_to_log(&mut self, listener: LogListener) {
        self.link.log.listen(listener);
    }

    /// Opens a new session on the same port, after a time-out or a reset of the device.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn reconnect(&mut self) -> Result<(), LinkError> {
        self.welcome = greet(&mut self.link, &self.port, None)?;
        self.session = self.welcome.session();
        self.next = 0;
        self.identify()
    }

    /// What the device said it is when the session was opened.
    ///
    /// # Panics
    /// Never: every way to a client asks for it.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.device.as_ref().expect("connect identifies")
    }

    /// What the device said when the session was opened.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// The port's name.
    #[must_use]
    pub fn port(&self) -> &str {
        &self.port
    }

    /// Bytes and frames so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.link.traffic
    }

    /// The largest frame to plan for.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        self.welcome.max_frame.min(PLANNED_FRAME) as usize
    }

    /// Asks again who the device is: its limits or its array may be others now.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn identify(&mut self) -> Result<(), LinkError> {
        let device = self.request(&Request::Identify, |reply| match reply {
            Reply::Identity(identity) => Ok(Device::from(*identity)),
            other => Err(wrong_reply("identify", other)),
        })?;
        self.device = Some(device);
        Ok(())
    }

    /// Sends one request and hands its reply to `on_reply`.
    ///
    /// # Errors
    /// [`LinkError`], or what `on_reply` returns.
    pub fn request<T, E: From<LinkError>>(
        &mut self,
        request: &Request<'_>,
        mut on_reply: impl FnMut(&Reply<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut answer = None;
        self.pipeline([*request], |_, reply| {
            answer = Some(on_reply(reply)?);
            Ok::<(), E>(())
        })?;
        // A pipeline that returns Ok has handed over the reply of every request.
        answer.ok_or_else(|| {
            LinkError::WrongReply { request: name(request), reply: "nothing".to_owned() }.into()
        })
    }

    /// Sends requests one behind the other, as many in flight as the device takes, and hands over each reply with the
    /// position of its request as it comes. Lost requests are sent again within this session.
    ///
    /// # Errors
    /// [`LinkError`], or the first that `on_reply` returns; what is in flight then is still waited for.
    pub fn pipeline<'r, E: From<LinkError>>(
        &mut self,
        requests: impl IntoIterator<Item = Request<'r>>,
        mut on_reply: impl FnMut(usize, &Reply<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut requests = requests.into_iter().enumerate();
        let mut flight = Flight::default();
        let mut failed = None;
        loop {
            while failed.is_none() && flight.waiting.len() < usize::from(self.welcome.window.max(1)) {
                let Some((index, request)) = requests.next() else { break };
                match self.launch(index, &request) {
                    Ok(one) => flight.push(one),
                    Err(error) if flight.waiting.is_empty() => return Err(error.into()),
                    Err(error) => failed = Some(error.into()),
                }
            }
            let Some(deadline) = flight.deadline() else {
                return failed.map_or(Ok(()), Err);
            };
            let received = self.link.receive(deadline).map_err(|error| flight.with_unknown(error))?;
            let Some(frame) = received else {
                self.repeat_overdue(&mut flight)?;
                continue;
            };
            if let Some(Answer { index, request, body }) = self.take(frame, &mut flight)? {
                let handled = match decode_body::<Reply<'_>>(&body) {
                    Ok(reply) if failed.is_none() => on_reply(index, &reply),
                    Ok(_) => Ok(()),
                    Err(source) => Err(LinkError::Reply { request, source }.into()),
                };
                if let Err(error) = handled {
                    failed.get_or_insert(error);
                }
            }
        }
    }

    /// Waits as long as this port's pace says between two looks at a job.
    ///
    /// # Errors
    /// [`LinkError`] of the transport.
    pub fn pause_between_looks(&mut self) -> Result<(), LinkError> {
        self.pause(self.link.pace().poll)
    }

    /// Shortest sensible time between two looks at a job on this port.
    #[must_use]
    pub fn look_every(&self) -> Duration {
        self.link.pace().poll
    }

    /// Lets a job go on for `time`, or until it is known that nothing goes on any more.
    ///
    /// # Errors
    /// [`LinkError`] of the transport.
    pub fn pause_for_look(&mut self, time: Duration) -> Result<(), LinkError> {
        let deadline = Instant::now() + time;
        while self.link.receive(deadline)?.is_some() || Instant::now() < deadline && !self.link.is_silent() {}
        Ok(())
    }

    /// Makes what an emulated device in this process is now outlive the process, if it has a state file.
    ///
    /// # Errors
    /// [`LinkError`] of the transport.
    pub fn keep_state(&mut self) -> Result<(), LinkError> {
        self.link.keep_state()
    }

    /// Sends a request and waits for nothing: the last word of a host that is about to go.
    pub fn send_unanswered(&mut self, request: &Request<'_>) {
        if let Err(error) = self.launch(0, request) {
            log::debug!("last request not sent: {error}");
        }
    }

    /// Lets time pass for the device and drops what it says meanwhile.
    ///
    /// # Errors
    /// [`LinkError`] of the transport.
    pub fn pause(&mut self, time: Duration) -> Result<(), LinkError> {
        let deadline = Instant::now() + time;
        // A device that has nothing to say now may be given its time all the same.
        while self.link.receive(deadline)?.is_some() || Instant::now() < deadline {}
        Ok(())
    }

    fn launch(&mut self, index: usize, request: &Request<'_>) -> Result<InFlight, LinkError> {
        let max_frame = self.welcome.max_frame;
        let name = name(request);
        let frame = encode(Kind::Request, self.session, self.next, request, max_frame)
            .ok_or(LinkError::TooLarge { request: name, max_frame })?;
        let budget = self.budget(request, frame.len());
        self.link.send(&frame)?;
        let sequence = self.next;
        self.next += 1;
        Ok(InFlight {
            sequence,
            index,
            name,
            once: request.is_once(),
            frame,
            budget,
            sent_at: Instant::now(),
            attempts: 1,
            answered: false,
        })
    }

    /// How long an answer may take: the way, the bytes, and the work asked for.
    fn budget(&self, request: &Request<'_>, frame: usize) -> Duration {
        let pace = self.link.pace();
        let (rows, columns) = self.device.as_ref().map_or((1, 1), |d| (d.rows.max(1), d.columns.max(1)));
        let (conversions, seconds) = match request {
            Request::ReadCells(read) => {
                (f64::from(read.region.rows) * 2.0 * f64::from(read.conversions), 0.0)
            }
            Request::ReadColumn(read) => {
                (f64::from(read.samples), f64::from(read.samples) * f64::from(read.interval_ns) * 1e-9)
            }
            Request::ReadReference(read) => {
                let conversions = 2.0 * f64::from(read.conversions);
                (conversions, conversions * f64::from(read.interval_ns) * 1e-9)
            }
            Request::Mvm(mvm) => {
                let vectors = mvm.codes.len() as f64 / (2.0 * f64::from(rows));
                let conversions = vectors * f64::from(mvm.conversions);
                (conversions, conversions * f64::from(mvm.interval_ns) * 1e-9)
            }
            Request::Pulse(pulse) => (4.0, f64::from(pulse.width.0)),
            // Chip by chip, or the way to SAFE, which touches every chip.
            Request::CheckChips | Request::Safe | Request::ClearFault(_) => (16.0, 0.0),
            _ => (1.0, 0.0),
        };
        let width = (f64::from(rows) * f64::from(columns) / 256.0).max(1.0);
        let (base, reply) = match request {
            Request::ReadCells(_) | Request::ReadColumn(_) | Request::ReadReference(_) | Request::Mvm(_) => {
                (pace.measuring, self.frame_bytes())
            }
            Request::JobResults { .. }
            | Request::FetchSamples { .. }
            | Request::ReadBudgets(_)
            | Request::ReadRecord { .. } => (pace.base, self.frame_bytes()),
            _ => (pace.base, PLAIN_FRAME),
        };
        let bytes = (frame + reply) as f64;
        let work = conversions * width * pace.conversion.as_secs_f64();
        base + Duration::from_secs_f64(bytes / pace.bytes_per_second + work + seconds)
    }

    /// Sends everything unanswered again, or gives up.
    fn repeat_overdue(&mut self, flight: &mut Flight) -> Result<(), LinkError> {
        flight.timeouts += 1;
        if let Some(oldest) = flight.waiting.front()
            && flight.timeouts >= ATTEMPTS
        {
            return Err(LinkError::TimedOut {
                request: oldest.name,
                sequence: oldest.sequence,
                attempts: oldest.attempts,
                waited: oldest.sent_at.elapsed(),
                unknown: flight.unknown(),
            });
        }
        flight.went_back_to = None;
        self.go_back(flight, 0)
    }

    fn go_back(&mut self, flight: &mut Flight, from: u32) -> Result<(), LinkError> {
        // The delimiter in front ends what the device has half received, which would swallow the repetition too.
        let mut bytes = vec![0];
        for one in flight.waiting.iter_mut().filter(|one| !one.answered && one.sequence >= from) {
            one.attempts += 1;
            self.link.traffic.repeated += 1;
            bytes.extend_from_slice(&one.frame);
        }
        self.link.send(&bytes)?;
        flight.since = Instant::now();
        Ok(())
    }

    /// What a frame means for the requests in flight.
    fn take(&mut self, frame: Frame, flight: &mut Flight) -> Result<Option<Answer>, LinkError> {
        let Frame { header, body } = frame;
        if header.session != self.session {
            // Meant for an earlier session; a device that lost ours says so in ours.
            return Ok(None);
        }
        match header.kind {
            Kind::Reply => {
                Ok(flight.answer(header.sequence).map(|(index, request)| Answer { index, request, body }))
            }
            Kind::Unexecuted => {
                let Some(name) = flight.name_of(header.sequence) else { return Ok(None) };
                let unexecuted = decode_body::<Unexecuted>(&body)
                    .map_err(|source| LinkError::Reply { request: name, source })?;
                self.unexecuted(unexecuted, header.sequence, name, flight)?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn unexecuted(
        &mut self,
        unexecuted: Unexecuted,
        sequence: u32,
        name: &'static str,
        flight: &mut Flight,
    ) -> Result<(), LinkError> {
        let out_of_step = |why: String| Err(LinkError::OutOfStep { sequence, why });
        match unexecuted {
            Unexecuted::Expected { sequence: expected } => {
                if flight.waiting.front().is_some_and(|oldest| expected < oldest.sequence) {
                    // Overtaken by the reply to that very number.
                    return Ok(());
                }
                if !flight.waiting.iter().any(|one| one.sequence == expected) {
                    return out_of_step(format!("it expects number {expected}"));
                }
                // Every request behind a gap is answered so; going back once is enough.
                if flight.went_back_to != Some(expected) {
                    flight.went_back_to = Some(expected);
                    self.go_back(flight, expected)?;
                }
                Ok(())
            }
            Unexecuted::Stale { oldest } => {
                out_of_step(format!("it was dealt with, and only replies from {oldest} on are kept"))
            }
            Unexecuted::Reused => out_of_step("another request had this number".to_owned()),
            Unexecuted::NoSession { boot_nonce } => Err(LinkError::SessionLost {
                boot_then: self.welcome.boot_nonce,
                boot_now: boot_nonce,
                unknown: flight.unknown(),
            }),
            Unexecuted::Malformed => Err(LinkError::Unread {
                request: name,
                firmware: self.device.as_ref().map(|d| d.firmware.clone()).unwrap_or_default(),
            }),
        }
    }
}

/// Says hello until a device answers.
fn greet(link: &mut Link, port: &str, patience: Option<Duration>) -> Result<Welcome, LinkError> {
    let start = Instant::now();
    let end = start + patience.unwrap_or(link.pace().hello);
    let before = link.traffic.received;
    let host_nonce = getrandom::u64().map_err(LinkError::Entropy)?;
    let mut attempts = 0;
    while attempts == 0 || attempts < HELLOS && Instant::now() < end {
        attempts += 1;
        // The delimiter in front ends whatever the device has half received.
        let hello = Hello { host_nonce };
        let mut bytes = vec![0];
        if let Some(frame) = encode(Kind::Hello, SessionId::NONE, 0, &hello, encoded_bytes(16) as u32) {
            bytes.extend(frame);
        }
        link.send(&bytes).map_err(closed_at_once)?;
        let deadline = Instant::now() + HELLO_EVERY;
        while let Some(frame) = link.receive(deadline).map_err(closed_at_once)? {
            if frame.header.kind == Kind::Welcome
                && let Ok(welcome) = decode_body::<Welcome>(&frame.body)
                && welcome.host_nonce == host_nonce
            {
                link.log.begin(welcome.session());
                return Ok(welcome);
            }
        }
    }
    let bytes = link.traffic.received - before;
    Err(match bytes {
        0 => LinkError::NoAnswer { port: port.to_owned(), attempts, waited: start.elapsed() },
        _ => LinkError::NotOhmrig { port: port.to_owned(), bytes, attempts },
    })
}

/// A port that closes before a device has said anything.
fn closed_at_once(error: LinkError) -> LinkError {
    match error {
        LinkError::Transport(TransportError::Closed { port, reason: None }) => {
            let reason = Some("before any device answered; it may be serving another client".to_owned());
            LinkError::Transport(TransportError::Closed { port, reason })
        }
        other => other,
    }
}

/// The error for a reply of a kind that doesn't answer the request.
#[must_use]
pub fn wrong_reply(request: &'static str, reply: &Reply<'_>) -> LinkError {
    let mut reply = format!("{reply:?}");
    if let Some((end, _)) = reply.char_indices().nth(80) {
        reply.truncate(end);
    }
    LinkError::WrongReply { request, reply }
}

#[cfg(test)]
mod tests;
