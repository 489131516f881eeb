//! The instrument itself: takes bytes, does one bounded step at a time, gives bytes.
//!
//! [`Core::receive`] touches no hardware and [`Core::poll`] never blocks: it does one step and says when it wants
//! the next. Requests are executed one by one in sequence order; a job runs beside them, and the link answers while
//! it does.
//!
//! | module | what it is |
//! | --- | --- |
//! | `link` | sessions, sequence numbers, reply cache |
//! | `outbox` | frames on their way out |
//! | `limits` | bounds no request passes |
//! | `request`, `execute` | the checks of each request; what it may do when; its reply |
//! | `measure`, `pulse`, `program` | the machines that work the front end |
//! | `job` | what outlives the request that started it |
//! | `trace` | samples at even intervals, fetched while they come |
//! | `safety` | arming, watchdogs of link and jobs, faults |
//! | `liveness` | what feeds the hardware watchdog |
//! | `budgets`, `reservation`, `arrays`, `records` | what cells have been through, of which array; calibration records |
//! | `kept` | what survives power loss |

mod acquire;
mod arrays;
mod budgets;
mod execute;
mod job;
mod kept;
mod limits;
mod link;
mod liveness;
mod measure;
mod outbox;
mod program;
mod pulse;
mod records;
mod request;
mod reservation;
mod safety;
mod trace;

pub use budgets::{CellCount, flash_bytes};
pub use liveness::Liveness;
pub use program::JobCell;

use crate::board::log_ring::LogBatch;
use crate::front_end::{Description, FrontEnd, FrontEndError, Progress, Settle};
use crate::log::{Words, log, words};
use acquire::Step;
use budgets::Budgets;
use core::cell::Cell;
use job::{Job, JobMachine};
use kept::{Desk, Keep, Kept, Task};
use link::{Greeting, Link, Verdict};
use measure::{Measurement, Workspace};
use ohmrig_protocol::frame::{self, Body, Decoder, FrameError, Header, Kind, Serialized, SessionId};
use ohmrig_protocol::log::{LogRecords, MAX_RECORD_BYTES};
use ohmrig_protocol::message::{
    Counters, Fault, FaultCode, JobEnd, Limits, Mode, Refusal, Region, Reply, ResetReason, Stack,
    StorageProblem,
};
use ohmrig_protocol::session::{Hello, MAX_WINDOW, Mismatch, Unexecuted};
use ohmrig_protocol::units::Kelvin;
use ohmrig_protocol::version;
use outbox::Outbox;
use pulse::PulseMachine;
use safety::{Safety, Stalled};
use trace::{Tape, TraceStep};

/// The two clocks, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Waits, time stamps, device physics. Virtual in emulation.
    pub instrument_ns: u64,
    /// Watchdog and arming; always real.
    pub link_ns: u64,
}

/// When the core wants to be polled next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once.
    Ready,
    /// At this instrument time, or when bytes have arrived.
    WaitUntil(u64),
    /// When bytes have arrived or been sent, or 10 ms of link time have passed (for the watchdog).
    Idle,
}

/// Who this instrument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nameplate {
    /// Board name.
    pub board: &'static str,
    /// Whether its chips are emulated.
    pub emulated: bool,
    /// Firmware version.
    pub firmware: &'static str,
    /// Git commit of the build.
    pub git: &'static str,
    /// First bytes of the image's build id; empty where there is no image.
    pub build: &'static [u8],
}

/// Why and as which boot it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot<'a> {
    /// A number no earlier boot has had.
    pub nonce: u64,
    /// What ended the last one.
    pub reset: ResetReason,
    /// What the firmware said last, if it panicked and memory kept it.
    pub panic: Option<&'a str>,
}

/// Memory the core works in: statics on boards, vectors on the host.
#[derive(Debug)]
pub struct Storage<'b> {
    /// One incoming frame; its length is the largest frame announced, so at least 512 bytes, and 1 KiB to store
    /// calibration records.
    pub receive: &'b mut [u8],
    /// Outgoing frames; at least as long as `receive`, twice as long to send one reply while the next is made.
    pub transmit: &'b mut [u8],
    /// Bulk data of the reply in the making; as long as `receive`.
    pub data: &'b mut [u8],
    /// One code per column.
    pub codes: &'b mut [i16],
    /// What each cell of the array has been through, row by row.
    pub cells: &'b mut [CellCount],
    /// What its lines have, one number for each row and each column and one more.
    pub lines: &'b mut [u64],
    /// Room for one item on its way to or from flash, [`STORE_BYTES`](crate::store::STORE_BYTES).
    pub item: &'b mut [u8],
    /// Cells of the largest job.
    pub job: &'b mut [JobCell],
    /// Samples of a trace that the host hasn't fetched yet; a few frames' worth.
    pub ring: &'b mut [u8],
}

/// A request that is being executed or waits to be.
#[derive(Clone, Copy, Debug)]
struct Pending {
    sequence: u32,
    crc: u32,
    /// Length of its body, which stays in the decoder's buffer.
    body: usize,
    /// The front end works for it.
    started: bool,
    /// When it came, by the link clock.
    since_ns: u64,
}

/// The body of a request that is being executed or waits to be.
#[inline(never)]
fn body<'a>(pending: &Option<Pending>, decoder: &'a Decoder<'_>) -> &'a [u8] {
    let body = pending.and_then(|pending| decoder.buffer().get(frame::HEADER_BYTES..)?.get(..pending.body));
    body.unwrap_or_default()
}

/// The answer to a request, short of the bulk data it points to.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant)] // There is one, and no heap to put the large one on.
enum Answer {
    /// All of it.
    Plain(Reply<'static>),
    /// The outcome of a measurement, in `data`.
    Measured(Measurement),
    /// A job's results from a cell on, of so many.
    Results { offset: u32, cells: u32 },
    /// Samples of a trace from one on, so many.
    Samples { offset: u32, samples: u32 },
    /// Who this is, and when.
    Identity { at_ns: u64 },
    /// What the cells of a region have been through.
    Budgets(Region),
    /// The arrays.
    Arrays,
    /// The records.
    Records,
    /// Data of a record, in `data`.
    Record { offset: u32, bytes: usize },
    /// The body isn't a request.
    Malformed,
}

/// What the front end is being used for.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant)] // There is no heap to box in, and one activity.
enum Activity {
    /// Nothing: SAFE, or DEAD after a fault.
    None,
    /// On the way to SAFE.
    MakeSafe,
    /// Executing the pending request: reading.
    Measure(Measurement),
    /// Executing the pending request: chip by chip.
    Check(u16),
    /// Executing the pending request: one pulse.
    Pulse(PulseMachine),
    /// A job.
    Job(JobMachine),
    /// Reading or writing flash; nothing is driven.
    Keep(Task),
}

/// The instrument.
#[derive(Debug)]
pub struct Core<'b> {
    nameplate: Nameplate,
    boot: Boot<'b>,
    link: Link,
    decoder: Decoder<'b>,
    outbox: Outbox<'b>,
    data: &'b mut [u8],
    codes: &'b mut [i16],
    budgets: Budgets<'b>,
    kept: Keep<'b>,
    /// A job has ended since budgets were last settled.
    settle_due: bool,
    job_cells: &'b mut [JobCell],
    ring: &'b mut [u8],
    max_frame: usize,
    pending: Option<Pending>,
    activity: Activity,
    /// The reply of the pending request, sent once the front end is in SAFE.
    answer: Option<Answer>,
    /// Why the request that is being checked is refused.
    refusal: Cell<Option<Refusal>>,
    wait_ns: Option<u32>,
    wait_until: u64,
    job: Option<Job>,
    /// What the ring holds, if a trace runs or ran.
    tape: Option<Tape>,
    safety: Safety,
    /// The limits in force; the board's until tightened.
    limits: Option<Limits>,
    counters: Counters,
    /// Log frames of this session.
    log_frames: u32,
    temperature: Option<Kelvin>,
    temperature_due_ns: u64,
    watch_due_ns: u64,
    /// The last step was that: a board that takes longer for it than until the next gets to something else in between.
    watched: bool,
    stalled: Stalled,
    mode: Mode,
    stack: Option<fn() -> Stack>,
}

/// The temperature is measured at the start of an activity, at most this often by the instrument clock.
const TEMPERATURE_EVERY_NS: u64 = 1_000_000_000;

/// Supplies and drivers are asked how they are whenever the instrument clock has passed a multiple of this, idle or not, but
/// not within a pulse. Multiples, so that it doesn't depend on how often the link was looked at meanwhile.
const WATCH_EVERY_NS: u64 = 1_000_000_000;

impl<'b> Core<'b> {
    /// An instrument in DEAD that goes to SAFE as soon as it is polled.
    #[must_use]
    pub fn new(nameplate: Nameplate, boot: Boot<'b>, storage: Storage<'b>) -> Self {
        let Storage { receive, transmit, data, codes, cells, lines, item, job, ring } = storage;
        Self {
            nameplate,
            boot,
            link: Link::new(boot.nonce),
            max_frame: receive.len(),
            decoder: Decoder::new(receive),
            outbox: Outbox::new(transmit),
            data,
            codes,
            budgets: Budgets::new(cells, lines),
            kept: Keep::new(item),
            settle_due: false,
            job_cells: job,
            ring,
            pending: None,
            activity: Activity::Keep(Task::Boot),
            answer: None,
            refusal: Cell::new(None),
            wait_ns: None,
            wait_until: 0,
            job: None,
            tape: None,
            safety: Safety::after(boot.reset),
            limits: None,
            counters: Counters::default(),
            log_frames: 0,
            temperature: None,
            temperature_due_ns: 0,
            watch_due_ns: 0,
            watched: false,
            stalled: Stalled::default(),
            mode: Mode::Starting,
            stack: None,
        }
    }

    /// Has the status tell what `stack` does. It is called once per status request.
    pub fn tell_stack(&mut self, stack: fn() -> Stack) {
        self.stack = Some(stack);
    }

    /// Takes bytes from the host; touches no hardware. Returns how many it took: fewer than given means that a
    /// request is being executed or replies wait to be sent, so poll, send, and hand in the rest.
    pub fn receive(&mut self, bytes: &[u8], link_ns: u64) -> usize {
        let mut taken = 0;
        // No session before it is known which boot this is.
        if !self.kept.has_booted() {
            return taken;
        }
        while self.pending.is_none() && self.outbox.has_link_room() {
            let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) else { break };
            let dropped = self.decoder.dropped();
            let (used, frame) = self.decoder.feed(rest);
            let decoded = frame.map(|bytes| frame::decode(bytes).map(|(header, body)| (header, body.len())));
            taken += used;
            let dropped = self.decoder.dropped().wrapping_sub(dropped);
            self.counters.bad_frames = self.counters.bad_frames.wrapping_add(dropped);
            match decoded {
                None => {}
                Some(Ok((header, body))) => self.frame(header, body, link_ns),
                Some(Err(FrameError::Version { received })) => {
                    let mismatch = Mismatch { received, min: version::MIN, current: version::CURRENT };
                    self.send(Kind::Mismatch, SessionId::NONE, 0, &mismatch);
                }
                Some(Err(error)) => {
                    log!(debug, "frame dropped: {}", error_name(error));
                    self.counters.bad_frames = self.counters.bad_frames.wrapping_add(1);
                }
            }
        }
        taken
    }

    /// Bytes for the host.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        self.outbox.bytes()
    }

    /// The first `bytes` of [`outgoing`](Self::outgoing) are on their way. Returns how many of them belong to answers:
    /// log records are no sign that the instrument gets anywhere.
    pub fn sent(&mut self, bytes: usize) -> usize {
        self.outbox.sent(bytes)
    }

    /// Lets log records go to the host if somebody is there and nothing else waits to be sent. `take` puts whole records
    /// into the room it is given.
    pub fn send_log(&mut self, take: impl FnOnce(&mut [u8]) -> LogBatch) {
        if self.link.session() == SessionId::NONE || !self.outbox.bytes().is_empty() {
            return;
        }
        let mut records = [0; MAX_RECORD_BYTES];
        let LogBatch { bytes, dropped } = take(&mut records);
        if bytes == 0 && dropped == 0 {
            return;
        }
        let records = LogRecords { dropped, records: records.get(..bytes).unwrap_or_default() };
        // The outbox is empty, and larger than any such frame: it can't be refused. If it were, the host would see its
        // number missing.
        let _ = self.outbox.push_log(self.link.session(), self.log_frames, &records);
        self.log_frames = self.log_frames.wrapping_add(1);
    }

    /// Does one step.
    pub fn poll(&mut self, now: Now, front_end: &mut impl FrontEnd) -> Next {
        if let Some(code) = self.safety.watch(now.link_ns) {
            self.trip(FrontEndError { code, chip: None }, now, front_end);
        }
        if matches!(self.activity, Activity::None)
            && let Some(task) = self.due(now)
        {
            self.activity = Activity::Keep(task);
        }
        if self.pending.is_some() && self.execute(now, front_end) {
            return Next::Ready;
        }
        if let Some(ns) = self.wait_ns.take() {
            self.wait_until = now.instrument_ns.saturating_add(u64::from(ns));
        }
        if now.instrument_ns < self.wait_until {
            // A wait of hours is watched over as idling is.
            let is_job = matches!(self.activity, Activity::Job(JobMachine::Wait(_)));
            if !(is_job && now.instrument_ns >= self.watch_due_ns) {
                return Next::WaitUntil(self.wait_until);
            }
            if let Err(error) = self.watch(now, front_end) {
                self.trip(error, now, front_end);
            }
            return Next::Ready;
        }
        match self.step(now, front_end) {
            Ok(Some(Settle { ns: 0 })) => Next::Ready,
            Ok(Some(Settle { ns })) => {
                self.wait_ns = Some(ns);
                Next::Ready
            }
            Ok(None) => Next::Idle,
            Err(error) => {
                self.trip(error, now, front_end);
                Next::Ready
            }
        }
    }

    /// Whether no edge of a pulse is under way.
    fn is_between_pulses(&self) -> bool {
        match &self.activity {
            Activity::Pulse(pulse) => pulse.edge_at_ns.is_none(),
            Activity::Job(machine) => machine.may_end(),
            _ => true,
        }
    }

    fn watch(&mut self, now: Now, front_end: &mut impl FrontEnd) -> Result<(), FrontEndError> {
        self.watch_due_ns = (now.instrument_ns / WATCH_EVERY_NS + 1).saturating_mul(WATCH_EVERY_NS);
        front_end.watch()
    }

    /// One step of the present activity; `None` when there is nothing to do.
    fn step(&mut self, now: Now, front_end: &mut impl FrontEnd) -> Result<Option<Settle>, FrontEndError> {
        if let Activity::Keep(task) = self.activity {
            return self.keep(task, now, front_end).map(|()| Some(Settle::default()));
        }
        self.watched = now.instrument_ns >= self.watch_due_ns && !self.watched && self.is_between_pulses();
        if self.watched {
            self.watch(now, front_end)?;
            return Ok(Some(Settle::default()));
        }
        let Self { activity, decoder, data, codes, budgets, job_cells, ring, tape, pending, .. } = self;
        let limits = &self.limits;
        let (mut converted, mut pulsed) = (false, false);
        let step = match activity {
            Activity::None | Activity::Keep(_) => return Ok(None),
            Activity::MakeSafe => match front_end.make_safe()? {
                Progress::Again(settle) => Step::Again(settle),
                Progress::Done(settle) => {
                    self.mode = Mode::Safe;
                    self.activity = Activity::None;
                    return Ok(Some(settle));
                }
            },
            Activity::Check(step) => match front_end.check_chip(*step)? {
                Progress::Again(settle) => {
                    *step = step.saturating_add(1);
                    Step::Again(settle)
                }
                Progress::Done(_) => Step::Done,
            },
            Activity::Measure(measurement) => {
                let body = body(pending, decoder);
                let columns = usize::from(front_end.description().columns);
                let codes = codes.get_mut(..columns).unwrap_or_default();
                let work = Workspace { data, codes, body, now_ns: now.instrument_ns };
                let step;
                (step, converted) = measurement.step(front_end, work)?;
                step
            }
            Activity::Pulse(pulse) => {
                let before = pulse.edge_at_ns.is_some();
                let limits = limits.unwrap_or(front_end.description().limits);
                let step = pulse.step(front_end, &limits, now.instrument_ns)?;
                pulsed = !before && pulse.edge_at_ns.is_some();
                step
            }
            Activity::Job(machine)
                if machine.writes() && machine.may_end() && !self.safety.is_armed(now.link_ns) =>
            {
                self.end_job(JobEnd::Disarmed);
                return Ok(Some(Settle::default()));
            }
            // However long, one wait.
            Activity::Job(JobMachine::Wait(wait)) if now.instrument_ns < wait.until_ns => {
                self.wait_until = wait.until_ns;
                return Ok(Some(Settle::default()));
            }
            Activity::Job(JobMachine::Wait(_)) => Step::Done,
            Activity::Job(JobMachine::Program(program)) => {
                let before = program.pulses;
                let limits = limits.unwrap_or(front_end.description().limits);
                let step;
                (step, converted) =
                    program.step(front_end, &limits, job_cells, budgets, now.instrument_ns)?;
                pulsed = program.pulses != before;
                if self.stalled.watch(converted || pulsed, now.instrument_ns) {
                    return Err(FrontEndError { code: FaultCode::JobStalled, chip: None });
                }
                step
            }
            Activity::Job(JobMachine::Trace(trace)) => {
                let Some(tape) = tape else { return Ok(None) };
                let step;
                (step, converted) = trace.step(front_end, tape, ring, codes, now.instrument_ns)?;
                match step {
                    TraceStep::On(step) => step,
                    TraceStep::Full => return Ok(None),
                    TraceStep::Lost => {
                        self.end_job(JobEnd::LostSample);
                        return Ok(Some(Settle::default()));
                    }
                }
            }
        };
        self.counters.conversions += u64::from(converted);
        self.counters.pulses += u64::from(pulsed);
        match step {
            Step::Again(settle) => Ok(Some(settle)),
            Step::Done => {
                front_end.confirm_supply()?;
                self.conclude(now, front_end);
                Ok(Some(Settle::default()))
            }
        }
    }

    /// The present activity has ended by itself: on to SAFE, with its reply in mind.
    #[inline(never)]
    fn conclude(&mut self, now: Now, front_end: &mut impl FrontEnd) {
        match self.activity {
            Activity::Job(_) => return self.end_job(JobEnd::Finished),
            Activity::Measure(measurement) => self.answer = Some(Answer::Measured(measurement)),
            Activity::Check(_) => self.answer = Some(Answer::Plain(Reply::Done)),
            Activity::Pulse(PulseMachine { tripped: true, .. }) => {
                return self.trip(FrontEndError { code: FaultCode::OverCurrent, chip: None }, now, front_end);
            }
            Activity::Pulse(pulse) => {
                let edge = front_end.description().edge;
                let limits = self.limits.unwrap_or(front_end.description().limits);
                if let Some((cell, energy)) = pulse.unused_energy(&limits) {
                    self.budgets.refund(cell, energy, front_end.description());
                }
                self.answer = Some(Answer::Plain(Reply::Pulsed {
                    current: pulse.current,
                    at_ns: pulse.edge_at_ns.unwrap_or(now.instrument_ns),
                    slew_limited: pulse.width_ns() < edge.flat_ns,
                    peak: edge.reached(pulse.volts(), pulse.width_ns()),
                }));
            }
            Activity::MakeSafe | Activity::None | Activity::Keep(_) => {}
        }
        self.activity = Activity::MakeSafe;
    }

    /// What has to be written to flash before anything else happens, now that nothing is driven.
    fn due(&self, now: Now) -> Option<Task> {
        let may_settle = self.mode == Mode::Safe && (self.settle_due || !self.safety.is_armed(now.link_ns));
        matches!(self.mode, Mode::Safe | Mode::Dead).then(|| self.kept.due(may_settle)).flatten()
    }

    /// One step of the work with the flash.
    #[inline(never)]
    fn keep(&mut self, task: Task, now: Now, front_end: &mut impl FrontEnd) -> Result<(), FrontEndError> {
        let board = *front_end.description();
        let desk = Desk {
            budgets: &mut self.budgets,
            board: &board,
            body: body(&self.pending, &self.decoder),
            data: self.data,
            panic: self.boot.panic,
        };
        // A flash may take longer than the watchdog; frames wait meanwhile, and their sender isn't silent.
        self.safety.heard(now.link_ns);
        let boots = !self.kept.has_booted();
        let kept = self.kept.work(task, &mut front_end.flash(), desk);
        if boots && self.kept.has_booted() {
            self.booted(&board);
        }
        let started = self.pending.is_some_and(|pending| pending.started);
        let answer = match kept {
            Ok(Kept::Next(task)) => {
                self.activity = Activity::Keep(task);
                return Ok(());
            }
            Ok(Kept::Done) => Answer::Plain(Reply::Done),
            Ok(Kept::Stored { number, dropped }) => Answer::Plain(Reply::RecordStored { number, dropped }),
            Ok(Kept::Refused(refusal)) => Answer::Plain(Reply::Refused(refusal)),
            Ok(Kept::Data { offset, bytes }) => Answer::Record { offset, bytes },
            Err(StorageProblem::Failed { .. } | StorageProblem::Damaged) => {
                return Err(FrontEndError { code: FaultCode::Flash, chip: None });
            }
            Err(_) => Answer::Plain(Reply::Done),
        };
        match task {
            Task::Limits(limits) => self.limits = Some(limits),
            Task::Settle(_) => self.settle_due = false,
            _ => {}
        }
        // A task in front of a request, or of nobody, has no answer of its own.
        if started && self.answer.is_none() {
            self.answer = Some(answer);
        }
        self.activity = if boots { Activity::MakeSafe } else { Activity::None };
        Ok(())
    }

    /// The flash has been read, or can't be: what it says holds from here on.
    fn booted(&mut self, board: &Description) {
        if self.kept.problem().is_none() {
            let (count, random) = (u64::from(self.kept.boots()), self.boot.nonce & u64::from(u32::MAX));
            self.link.set_boot_nonce(count << 32 | random);
        }
        log!(info, "start {} of this board, {}", self.kept.boots(), reset_name(self.boot.reset));
        if self.kept.problem().is_some() {
            log!(error, "flash not in use: nothing can be written to cells");
        }
        self.limits = self.kept.limits().map(|kept| limits::tighter(kept, board.limits));
        // A fault that was never cleared was there before the one that this start itself may be.
        match (self.kept.latched_fault(), self.safety.fault()) {
            (Some(before), _) => self.safety.latched_before(before),
            (None, Some(start)) => self.kept.note_fault(start),
            (None, None) => {}
        }
    }

    /// A fault: SAFE first, or DEAD if SAFE is what failed; then latched, with the request it happened in.
    fn trip(&mut self, error: FrontEndError, now: Now, front_end: &mut impl FrontEnd) {
        let FrontEndError { code, chip } = error;
        log!(error, "fault {}", fault_name(code));
        let started = self.pending.filter(|pending| pending.started);
        let fault = Fault {
            code,
            chip: chip.map(|chip| (chip.kind, chip.index)),
            at_ns: now.instrument_ns,
            sequence: started.map(|pending| pending.sequence).or(self.link.last()),
        };
        if self.safety.fault().is_none() {
            self.kept.note_fault(fault);
        }
        self.safety.latch(fault);
        if started.is_some() {
            self.answer = Some(Answer::Plain(Reply::Refused(Refusal::Fault(code))));
        }
        self.wait_ns = None;
        self.wait_until = 0;
        if code == FaultCode::Timeout {
            // Something waits for ever: only its reset line ends that, on the way to SAFE.
            front_end.dead();
        }
        if matches!(self.activity, Activity::Job(_)) {
            self.end_job(JobEnd::Fault(code));
        } else if matches!(self.activity, Activity::MakeSafe) {
            self.die(front_end);
        } else if self.mode != Mode::Dead {
            self.activity = Activity::MakeSafe;
        }
        if code == FaultCode::BrownOut {
            // The supervisor has opened everything already; it stays so until somebody has looked at the supplies.
            self.die(front_end);
        }
    }

    fn die(&mut self, front_end: &mut impl FrontEnd) {
        front_end.dead();
        self.mode = Mode::Dead;
        self.activity = Activity::None;
    }

    /// Ends the running job, keeps its results and goes to SAFE.
    fn end_job(&mut self, end: JobEnd) {
        let Activity::Job(machine) = &self.activity else { return };
        match machine {
            JobMachine::Program(program) => program.put_down(self.job_cells),
            JobMachine::Wait(_) | JobMachine::Trace(_) => self.wait_until = 0,
        }
        let job = self.running(machine);
        log!(info, "job {} {}, {} cells done", job.id.0, end_name(end), job.progress.finished);
        self.job = Some(Job { end: Some(end), ..job });
        self.settle_due = true;
        self.activity = Activity::MakeSafe;
    }

    /// The state of a running job; a trace's samples count as its cells.
    fn running(&self, machine: &JobMachine) -> Job {
        let mut job = Job::running(machine);
        if let (JobMachine::Trace(trace), Some(tape)) = (machine, &self.tape) {
            (job.progress.finished, job.progress.cells) = (tape.taken, trace.order.trace.samples);
        }
        job
    }

    /// A frame with a good CRC, of a version we speak.
    #[inline(never)]
    fn frame(&mut self, header: Header, body: usize, link_ns: u64) {
        self.counters.frames = self.counters.frames.wrapping_add(1);
        let bytes = self.decoder.buffer().get(frame::HEADER_BYTES..).unwrap_or_default();
        let (bytes, behind) = bytes.split_at_checked(body).unwrap_or_default();
        // The frame's own CRC tells requests of one session and number apart by their bodies.
        let crc = behind.first_chunk().map_or(0, |crc| u32::from_le_bytes(*crc));
        match header.kind {
            Kind::Hello => {
                if let Ok(hello) = frame::decode_body(bytes) {
                    self.hello(hello, link_ns);
                } else {
                    self.counters.bad_frames = self.counters.bad_frames.wrapping_add(1);
                }
            }
            Kind::Request => {
                let verdict = self.link.judge(header.session, header.sequence, crc);
                if !matches!(verdict, Verdict::Refuse(Unexecuted::NoSession { .. })) {
                    self.safety.heard(link_ns);
                }
                match verdict {
                    Verdict::Execute { first } => {
                        self.counters.repeated = self.counters.repeated.wrapping_add(u32::from(!first));
                        self.pending = Some(Pending {
                            sequence: header.sequence,
                            crc,
                            body,
                            started: false,
                            since_ns: link_ns,
                        });
                    }
                    Verdict::Resend(reply) => {
                        self.counters.repeated = self.counters.repeated.wrapping_add(1);
                        let body = Serialized(reply.body());
                        self.send(Kind::Reply, self.link.session(), header.sequence, &body);
                    }
                    Verdict::Refuse(why) => {
                        self.counters.unexecuted = self.counters.unexecuted.wrapping_add(1);
                        self.send(Kind::Unexecuted, header.session, header.sequence, &why);
                    }
                }
            }
            // Ours to send, not to receive: an echo.
            Kind::Welcome | Kind::Reply | Kind::Unexecuted | Kind::Log | Kind::Mismatch => {
                self.counters.bad_frames = self.counters.bad_frames.wrapping_add(1);
            }
        }
    }

    fn hello(&mut self, hello: Hello, link_ns: u64) {
        #[allow(clippy::cast_possible_truncation)] // Buffers of a few KiB, cells of at most 256 × 256.
        let (max_frame, job_cells) = (self.max_frame as u32, self.job_cells.len() as u32);
        let welcome = match self.link.hello(hello, max_frame, MAX_WINDOW as u8, job_cells) {
            Greeting::Opened(welcome) => {
                // Somebody new is in charge: nothing of the old session may go on writing. A job ends after its
                // present pulse because it is disarmed; its results stay.
                self.safety.disarm();
                if matches!(self.activity, Activity::Job(JobMachine::Wait(_))) {
                    self.end_job(JobEnd::Aborted);
                }
                self.safety.heard(link_ns);
                self.log_frames = 0;
                log!(info, "session {} of this start", welcome.sessions);
                welcome
            }
            Greeting::Again(welcome) => welcome,
            Greeting::Late => return,
        };
        self.send(Kind::Welcome, welcome.session(), 0, &welcome);
    }

    /// Sends a frame of the link itself; `receive` made sure of the room.
    fn send(&mut self, kind: Kind, session: SessionId, sequence: u32, body: &dyn Body) {
        let sent = self.outbox.push(kind, session, sequence, body);
        self.note_unsent(sent);
    }

    /// A frame that didn't fit is lost like one lost on the wire: the host asks again.
    fn note_unsent(&mut self, sent: Result<(), FrameError>) {
        if let Err(error) = sent {
            log!(warn, "frame not sent: {}", error_name(error));
            self.counters.bad_frames = self.counters.bad_frames.wrapping_add(1);
        }
    }
}

/// Log lines take names, not `Debug`, which would pull formatting into images.
fn error_name(error: FrameError) -> Words {
    match error {
        FrameError::Cobs => words!("not COBS"),
        FrameError::Short { .. } => words!("too short"),
        FrameError::Crc { .. } => words!("wrong CRC"),
        FrameError::Version { .. } => words!("another version"),
        FrameError::Kind { .. } => words!("unknown kind"),
        FrameError::Body { .. } => words!("not a message"),
        FrameError::TooLarge { .. } => words!("too large"),
    }
}

fn reset_name(reason: ResetReason) -> Words {
    match reason {
        ResetReason::PowerOn => words!("by power-on"),
        ResetReason::External => words!("by reset pin or debugger"),
        ResetReason::Watchdog => words!("by the watchdog"),
        ResetReason::BrownOut => words!("by a supply dip"),
        ResetReason::Panic => words!("by a panic"),
        ResetReason::Unknown => words!("for an unknown reason"),
    }
}

fn end_name(end: JobEnd) -> Words {
    match end {
        JobEnd::Finished => words!("finished"),
        JobEnd::Aborted => words!("aborted"),
        JobEnd::Fault(_) => words!("ended by a fault"),
        JobEnd::Disarmed => words!("ended, disarmed"),
        JobEnd::LostSample => words!("ended, a sample came too late"),
    }
}

fn fault_name(code: FaultCode) -> Words {
    match code {
        FaultCode::LinkSilent => words!("link silent"),
        FaultCode::OverCurrent => words!("over-current"),
        FaultCode::Chip => words!("chip"),
        FaultCode::Timeout => words!("time-out"),
        FaultCode::Bus => words!("bus"),
        FaultCode::BrownOut => words!("brown-out"),
        FaultCode::JobStalled => words!("job stalled"),
        FaultCode::Watchdog => words!("watchdog"),
        FaultCode::Panic => words!("panic"),
        FaultCode::Flash => words!("flash"),
    }
}
