//! Starts requests and sends their replies: what each may do in which state.

use super::budgets::Exposure;
use super::job::{Job, JobMachine, Wait};
use super::kept::Task;
use super::limits::{Checks, Refused};
use super::link::CachedReply;
use super::measure::{Measurement, Products};
use super::program::ProgramMachine;
use super::pulse::{self, PulseMachine, PulseOrder, Sense};
use super::reservation::{Cover, PULSES_AHEAD};
use super::safety::Stalled;
use super::trace::{SAMPLES_OVERHEAD_BYTES, Tape, TraceMachine};
use super::{Activity, Answer, Core, Now, Pending, body, request};
use crate::front_end::{FrontEnd, Selection};
use ohmrig_protocol::frame::{self, FrameError, Kind};
use ohmrig_protocol::message::{
    BUDGET_BYTES, CELL_RESULT_BYTES, CELL_SUMS_BYTES, FaultCode, Field, Identity, JobEnd, JobId, JobState,
    MAX_ARM_MS, MAX_ARRAY_NAME_BYTES, MAX_INSTANT_NS, MAX_RANGES, Mode, Refusal, Region, Reply, Request,
    Samples, Status,
};
use ohmrig_protocol::session::Unexecuted;
use ohmrig_protocol::units::Ohms;

/// Bytes of a reply's body besides its bulk data: variant, scalars, length.
const REPLY_OVERHEAD_BYTES: usize = 16;

/// A fetch of samples that aren't there yet is answered after this long on the link all the same, ns: well within the
/// time after which a host takes an answer for lost.
const FETCH_PATIENCE_NS: u64 = 50_000_000;

/// What became of a request.
enum Started {
    /// It can be answered now.
    Answered,
    /// The front end works for it.
    Working,
    /// The front end goes to SAFE; then it is answered.
    ThenSafe,
    /// Not yet: a pulse has to end first.
    Later,
    /// Something is written to flash first, then the request is started anew.
    First,
}

impl Core<'_> {
    /// Starts the pending request, or sends its reply if that is due. Returns whether it did something.
    pub(super) fn execute(&mut self, now: Now, front_end: &mut impl FrontEnd) -> bool {
        let Some(pending) = self.pending else { return false };
        let idle = matches!(self.activity, Activity::None);
        let runs_job = matches!(self.activity, Activity::Job(_));
        if !self.outbox.has_room(self.max_frame) || !(idle || runs_job && !pending.started) {
            return false;
        }
        if self.answer.is_none() {
            match self.start(now, front_end) {
                Ok(Started::Later) => return false,
                Ok(Started::First) => return true,
                Ok(Started::ThenSafe) => {
                    self.pending = Some(Pending { started: true, ..pending });
                    return true;
                }
                Ok(Started::Working) => {
                    self.pending = Some(Pending { started: true, ..pending });
                    self.note_temperature(now, front_end);
                    return true;
                }
                Ok(Started::Answered) => {}
                Err(Refused) => {
                    self.answer = self.refusal.take().map(|refusal| Answer::Plain(Reply::Refused(refusal)));
                }
            }
        }
        self.reply(pending, front_end);
        true
    }

    /// See [`Refused`].
    fn refuse(&self, refusal: Refusal) -> Refused {
        self.refusal.set(Some(refusal));
        Refused
    }

    fn answer(&mut self, answer: Answer) -> Started {
        self.answer = Some(answer);
        Started::Answered
    }

    fn reply_with(&mut self, reply: Reply<'static>) -> Started {
        self.answer(Answer::Plain(reply))
    }

    fn done(&mut self) -> Started {
        self.reply_with(Reply::Done)
    }

    fn work(&mut self, activity: Activity) -> Started {
        self.activity = activity;
        Started::Working
    }

    fn measure(&mut self, measurement: Measurement) -> Started {
        self.work(Activity::Measure(measurement))
    }

    fn first(&mut self, task: Task) -> Started {
        self.activity = Activity::Keep(task);
        Started::First
    }

    fn then_safe(&mut self) -> Started {
        self.answer = Some(Answer::Plain(Reply::Done));
        self.activity = Activity::MakeSafe;
        Started::ThenSafe
    }

    /// Checks a request, and notes its answer or what front end or flash are to do for it.
    #[inline(never)]
    fn start(&mut self, now: Now, front_end: &impl FrontEnd) -> Result<Started, Refused> {
        let request = request::asked(body(&self.pending, &self.decoder));
        // Not taken out of it: it is large.
        let Some(request) = &request else { return Ok(self.answer(Answer::Malformed)) };
        let description = front_end.description();
        let limits = self.limits.as_ref().unwrap_or(&description.limits);
        let reply_bytes =
            self.data.len().min(frame::body_bytes(self.max_frame).saturating_sub(REPLY_OVERHEAD_BYTES));
        let checks = Checks { description, limits, reply_bytes, refusal: &self.refusal };
        self.permits(request, now)?;
        Ok(match request {
            Request::Identify => self.answer(Answer::Identity { at_ns: now.instrument_ns }),
            Request::Status => self.reply_with(self.status(now)),
            Request::ReadCells(asked) => self.measure(checks.read_cells(asked)?),
            Request::ReadColumn(asked) => self.measure(checks.read_column(asked)?),
            Request::ReadReference(asked) => self.measure(checks.read_reference(asked)?),
            Request::Mvm(asked) => self.measure(checks.products(asked)?),
            Request::CheckChips => self.work(Activity::Check(0)),
            Request::JobStatus(id) => self.reply_with(Reply::Job(self.job_state(*id))),
            &Request::JobResults { job, offset } => {
                let cells = self.job(job)?.progress.cells;
                if offset > cells {
                    #[allow(clippy::cast_precision_loss)] // For the message only.
                    let (asked, max) = (offset as f32, cells as f32);
                    return Err(self.refuse(Refusal::Invalid { field: Field::Offset, asked, min: 0.0, max }));
                }
                self.answer(Answer::Results { offset, cells })
            }
            &Request::Arm { milliseconds } => {
                #[allow(clippy::cast_precision_loss)] // At most 3.6 million: exact.
                checks.within(Field::Arm, milliseconds as f32, 1.0, MAX_ARM_MS as f32)?;
                if let Activity::Job(machine) = &self.activity
                    && machine.writes()
                    && !self.safety.is_armed(now.link_ns)
                {
                    // Its arming has ended, perhaps with its session, and it ends after its present pulse: whoever arms
                    // next doesn't mean this job.
                    return Ok(Started::Later);
                }
                self.safety.arm(now.link_ns, milliseconds);
                self.done()
            }
            Request::Safe => {
                self.safety.disarm();
                match &self.activity {
                    Activity::Job(machine) if !machine.may_end() => Started::Later,
                    // DEAD is safer than SAFE, and left only by clearing the fault.
                    _ if self.mode == Mode::Dead => self.done(),
                    _ => {
                        self.end_job(JobEnd::Aborted);
                        self.then_safe()
                    }
                }
            }
            Request::ClearFault(code) => {
                if !self.safety.clear(*code) {
                    return Err(self.refuse(Refusal::NoSuchFault));
                }
                self.kept.note_cleared();
                if self.mode == Mode::Dead {
                    self.mode = Mode::Starting;
                }
                self.then_safe()
            }
            Request::TightenLimits(asked) => {
                checks.tightened(asked)?;
                self.may_keep()?;
                let limits = *asked;
                self.work(Activity::Keep(Task::Limits(limits)))
            }
            Request::Pulse(pulse) => {
                let width_ns = checks.pulse(pulse)?;
                let cell = (pulse.row, pulse.column);
                let exposure = Exposure::of(pulse.volts, width_ns, pulse.scheme, limits.current);
                self.budgets
                    .check(cell, &exposure, limits, description)
                    .map_err(|refusal| self.refuse(refusal))?;
                let region = Region { row: pulse.row, column: pulse.column, rows: 1, columns: 1 };
                match self.kept.reservations.cover(region, &exposure, PULSES_AHEAD) {
                    Cover::Taken => {}
                    Cover::ToBeWritten => return Ok(self.first(Task::Reserve)),
                    Cover::Full => return Ok(self.first(Task::Settle(0))),
                }
                // Counted before the edge: a reset in between over-counts, never under-counts.
                self.budgets
                    .charge(cell, &exposure, limits, description)
                    .map_err(|refusal| self.refuse(refusal))?;
                let selection =
                    Selection { row: pulse.row, column: pulse.column, scheme: pulse.scheme, forming: false };
                let machine = PulseMachine::new(PulseOrder {
                    selection,
                    volts: pulse.volts,
                    width_ns,
                    gate: pulse.gate,
                    sense: Sense {
                        range: widest_range(&description.converters.feedback),
                        widest: false,
                        report: true,
                    },
                });
                self.work(Activity::Pulse(machine))
            }
            Request::Program(asked) => {
                let order = checks.program(asked, self.job_cells)?;
                match self.kept.reservations.cover(order.region, &order.most(limits), 1) {
                    Cover::Taken => {}
                    Cover::ToBeWritten => return Ok(self.first(Task::Reserve)),
                    Cover::Full => return Ok(self.first(Task::Settle(0))),
                }
                let current_limited = pulse::is_current_limited(order.scheme, order.width_ns, description);
                self.begin_job(JobMachine::Program(ProgramMachine::new(order)));
                self.reply_with(Reply::Started { current_limited })
            }
            &Request::Wait { job, until_ns } => {
                #[allow(clippy::cast_precision_loss)] // For the message only.
                if until_ns > MAX_INSTANT_NS {
                    let seconds = |ns: u64| ns as f32 * 1e-9;
                    let (asked, max) = (seconds(until_ns), seconds(MAX_INSTANT_NS));
                    return Err(self.refuse(Refusal::Invalid {
                        field: Field::Interval,
                        asked,
                        min: 0.0,
                        max,
                    }));
                }
                self.begin_job(JobMachine::Wait(Wait { id: job, until_ns }));
                self.done()
            }
            Request::Trace(asked) => {
                let machine = TraceMachine::new(checks.trace(asked, self.ring)?);
                self.tape = Some(Tape::new(asked, self.ring));
                self.begin_job(JobMachine::Trace(machine));
                self.done()
            }
            &Request::FetchSamples { job, offset, arrived } => {
                return self.fetch_samples(job, offset, arrived, reply_bytes, now);
            }
            &Request::AbortJob(id) => {
                self.job(id)?;
                match &self.activity {
                    Activity::Job(machine) if !machine.may_end() => Started::Later,
                    _ => {
                        self.end_job(JobEnd::Aborted);
                        self.done()
                    }
                }
            }
            &Request::ReleaseJob(id) => {
                if self.job(id)?.end.is_none() {
                    return Err(self.refuse(Refusal::JobRuns(id)));
                }
                self.job = None;
                self.tape = None;
                self.done()
            }
            &Request::ReadBudgets(region) => {
                checks.budgets(region)?;
                self.answer(Answer::Budgets(region))
            }
            Request::ListArrays => self.answer(Answer::Arrays),
            Request::PlugArray { name } => {
                if name.is_empty() {
                    let (asked, max) = (0.0, MAX_ARRAY_NAME_BYTES as f32);
                    return Err(self.refuse(Refusal::Invalid { field: Field::Name, asked, min: 1.0, max }));
                }
                let (name, already) = self.kept.plug(name).map_err(|refusal| self.refuse(refusal))?;
                if already {
                    return Ok(self.done());
                }
                // What was reserved was for the array that is plugged in now. The other one is armed for anew.
                self.safety.disarm();
                if !self.kept.reservations.is_empty() {
                    return Ok(self.first(Task::Settle(0)));
                }
                self.work(Activity::Keep(Task::Plug(name)))
            }
            Request::ForgetArray { name } => self.work(Activity::Keep(Task::Forget(
                self.kept.forget(name).map_err(|refusal| self.refuse(refusal))?,
            ))),
            Request::ListRecords => self.answer(Answer::Records),
            &Request::ReadRecord { number, offset } => {
                self.work(Activity::Keep(Task::ReadRecord(number, offset)))
            }
            Request::BeginRecord(label) => {
                self.kept.begin_record(*label).map_err(|refusal| self.refuse(refusal))?;
                self.done()
            }
            Request::RecordChunk { .. } => self.work(Activity::Keep(Task::Chunk)),
            Request::CommitRecord => self.work(Activity::Keep(Task::Commit)),
            &Request::RollBackRecord { number } => self.work(Activity::Keep(Task::RollBack(number))),
        })
    }

    /// Refuses what mustn't be done in the state that everything is in, whatever exactly is asked for.
    #[inline(never)]
    fn permits(&self, request: &Request<'_>, now: Now) -> Result<(), Refused> {
        match request {
            Request::Program(_) => {
                self.may_write(now)?;
                self.no_job()
            }
            Request::Pulse(_) => self.may_write(now),
            Request::Wait { .. } | Request::Trace(_) => {
                self.may_measure()?;
                self.no_job()
            }
            Request::ReadCells(_)
            | Request::ReadColumn(_)
            | Request::ReadReference(_)
            | Request::Mvm(_)
            | Request::CheckChips => self.may_measure(),
            Request::PlugArray { .. }
            | Request::ForgetArray { .. }
            | Request::ReadRecord { .. }
            | Request::BeginRecord(_)
            | Request::RecordChunk { .. }
            | Request::CommitRecord
            | Request::RollBackRecord { .. } => self.may_keep(),
            Request::Arm { .. } => self.no_fault(),
            // Looked at first: a loose limit is refused as such, whatever runs.
            Request::TightenLimits(_)
            | Request::Identify
            | Request::Status
            | Request::JobStatus(_)
            | Request::JobResults { .. }
            | Request::Safe
            | Request::ClearFault(_)
            | Request::FetchSamples { .. }
            | Request::AbortJob(_)
            | Request::ReleaseJob(_)
            | Request::ReadBudgets(_)
            | Request::ListArrays
            | Request::ListRecords => Ok(()),
        }
    }

    #[inline(never)]
    fn begin_job(&mut self, machine: JobMachine) {
        self.job = Some(self.running(&machine));
        self.activity = Activity::Job(machine);
        self.stalled = Stalled::default();
    }

    /// As many samples as fit a frame: at once if that many are there, none can be added, or the host has waited long.
    #[inline(never)]
    fn fetch_samples(
        &mut self,
        job: JobId,
        offset: u32,
        arrived: u32,
        reply_bytes: usize,
        now: Now,
    ) -> Result<Started, Refused> {
        let running = self.job(job)?.end.is_none();
        let Some(tape) = self.tape.as_mut().filter(|tape| tape.job == job) else {
            return Err(self.no_such_job());
        };
        #[allow(clippy::cast_precision_loss)] // For the message only.
        if offset < tape.arrived || offset > tape.taken || arrived > offset {
            let (asked, min, max) = (offset as f32, tape.arrived.max(arrived) as f32, tape.taken as f32);
            return Err(self.refuse(Refusal::Invalid { field: Field::Offset, asked, min, max }));
        }
        tape.arrived = tape.arrived.max(arrived);
        let bytes = reply_bytes.saturating_sub(SAMPLES_OVERHEAD_BYTES);
        let room = u32::try_from(bytes / tape.sample_bytes.max(1)).unwrap_or(u32::MAX);
        let samples = room.min(tape.taken - offset);
        let waited_ns = self.pending.map_or(0, |pending| now.link_ns.saturating_sub(pending.since_ns));
        if running && samples < room && !tape.is_full() && waited_ns < FETCH_PATIENCE_NS {
            return Ok(Started::Later);
        }
        Ok(self.answer(Answer::Samples { offset, samples }))
    }

    fn no_job(&self) -> Result<(), Refused> {
        self.job.map_or(Ok(()), |job| Err(self.refuse(Refusal::ResultsHeld(job.id))))
    }

    /// Flash isn't touched while a job runs.
    fn may_keep(&self) -> Result<(), Refused> {
        if let Activity::Job(machine) = &self.activity {
            return Err(self.refuse(Refusal::JobRuns(machine.id())));
        }
        self.kept.usable().map_err(|refusal| self.refuse(refusal))
    }

    fn may_measure(&self) -> Result<(), Refused> {
        if let Activity::Job(machine) = &self.activity {
            return Err(self.refuse(Refusal::JobRuns(machine.id())));
        }
        match self.safety.fault() {
            // What a chip that isn't in order says is not a measurement.
            Some(fault)
                if self.mode == Mode::Dead
                    || matches!(fault.code, FaultCode::Chip | FaultCode::Bus | FaultCode::Timeout) =>
            {
                Err(self.refuse(Refusal::Faulted(fault.code)))
            }
            _ => Ok(()),
        }
    }

    fn no_fault(&self) -> Result<(), Refused> {
        self.safety.fault().map_or(Ok(()), |fault| Err(self.refuse(Refusal::Faulted(fault.code))))
    }

    fn may_write(&self, now: Now) -> Result<(), Refused> {
        self.no_fault()?;
        self.may_measure()?;
        // What cells get must be counted for good.
        self.kept.usable().map_err(|refusal| self.refuse(refusal))?;
        if !self.safety.is_armed(now.link_ns) {
            return Err(self.refuse(Refusal::NotArmed));
        }
        Ok(())
    }

    fn job(&self, id: JobId) -> Result<Job, Refused> {
        self.job.filter(|job| job.id == id).ok_or_else(|| self.no_such_job())
    }

    fn no_such_job(&self) -> Refused {
        self.refuse(Refusal::NoSuchJob { boot_nonce: self.link.boot_nonce() })
    }

    fn job_state(&self, id: JobId) -> JobState {
        let Some(job) = self.job.filter(|job| job.id == id) else {
            return JobState::Unknown { boot_nonce: self.link.boot_nonce() };
        };
        match &self.activity {
            Activity::Job(machine) => self.running(machine).state(),
            _ => job.state(),
        }
    }

    #[inline(never)]
    fn status(&self, now: Now) -> Reply<'static> {
        Reply::Status(Status {
            mode: match self.activity {
                Activity::None | Activity::MakeSafe => self.mode,
                _ => Mode::Busy,
            },
            armed_ms: self.safety.armed_ms(now.link_ns),
            fault: self.safety.fault(),
            job: self.job.map(|job| job.id),
            temperature: self.temperature,
            at_ns: now.instrument_ns,
            link_ms: now.link_ns / 1_000_000,
            counters: self.counters,
            stack: self.stack.map(|stack| stack()),
        })
    }

    /// Sends the answer to the pending request and remembers that it was dealt with.
    fn reply(&mut self, pending: Pending, front_end: &impl FrontEnd) {
        let session = self.link.session();
        let description = front_end.description();
        let Some(answer) = &self.answer else { return };
        let reply = match answer {
            Answer::Malformed => {
                self.counters.unexecuted = self.counters.unexecuted.wrapping_add(1);
                self.link.executed(pending.sequence, pending.crc, None);
                let refusal = Unexecuted::Malformed;
                let sent = self.outbox.push(Kind::Unexecuted, session, pending.sequence, &refusal);
                return self.replied(sent);
            }
            Answer::Plain(reply) => {
                let (sent, cached) = self.outbox.push_once(session, pending.sequence, reply);
                // Every reply of a once request fits (tested); were one not to, an empty one would be sent again
                // rather than the request be executed again.
                let cached = cached.or(CachedReply::new(&[])).filter(|_| self.is_once());
                self.link.executed(pending.sequence, pending.crc, cached);
                return self.replied(sent);
            }
            &Answer::Identity { at_ns } => Reply::Identity(Identity {
                board: self.nameplate.board,
                emulated: self.nameplate.emulated,
                front_end: description.name,
                firmware: self.nameplate.firmware,
                git: self.nameplate.git,
                rows: description.rows,
                columns: description.columns,
                converters: description.converters,
                limits: self.limits.unwrap_or(description.limits),
                board_limits: description.limits,
                reset: self.boot.reset,
                at_ns,
                boots: self.kept.boots(),
                array: self.kept.array(),
                storage: self.kept.problem(),
                last_fault: self.kept.last_fault(),
                last_panic: self.kept.last_panic(),
                build: self.nameplate.build,
            }),
            &Answer::Budgets(region) => {
                let mut slots = self.data.as_chunks_mut::<BUDGET_BYTES>().0.iter_mut();
                for row in (region.row..).take(region.rows.into()) {
                    for column in (region.column..).take(region.columns.into()) {
                        if let Some(slot) = slots.next() {
                            *slot = self.budgets.of(row, column, description).to_bytes();
                        }
                    }
                }
                let cells = self.data.get(..region.cells() as usize * BUDGET_BYTES).unwrap_or_default();
                Reply::Budgets { cells }
            }
            Answer::Arrays => {
                let (slots, plugged, bytes) = self.kept.list_arrays(self.data);
                let names = self.data.get(..bytes).unwrap_or_default();
                Reply::Arrays { slots, plugged, names }
            }
            Answer::Records => {
                let bytes = self.kept.list_records(self.data);
                let entries = self.data.get(..bytes).unwrap_or_default();
                Reply::Records { entries }
            }
            &Answer::Record { offset, bytes } => {
                let data = self.data.get(..bytes).unwrap_or_default();
                Reply::Record { offset, data }
            }
            Answer::Measured(Measurement::Cells(scan)) => {
                let bytes = scan.region.cells() as usize * CELL_SUMS_BYTES;
                let sums = self.data.get(..bytes).unwrap_or_default();
                if scan.reference.is_some() { Reply::Reference { sums } } else { Reply::Cells { sums } }
            }
            Answer::Measured(Measurement::Column(trace)) => {
                let codes = self.data.get(..usize::from(trace.samples) * 2).unwrap_or_default();
                Reply::Column { at_ns: trace.pace.first_at_ns.unwrap_or_default(), codes }
            }
            Answer::Measured(Measurement::Products(products)) => {
                let outputs = usize::from(products.vectors) * usize::from(description.columns);
                let bytes = outputs * Products::output_bytes(products.conversions);
                let codes = self.data.get(..bytes).unwrap_or_default();
                Reply::Mvm { saturated: products.saturated, codes }
            }
            &Answer::Samples { offset, samples } => {
                let Some(tape) = self.tape else { return self.replied(Ok(())) };
                let places = self.data.chunks_exact_mut(tape.sample_bytes.max(1));
                for (index, place) in (offset..offset.saturating_add(samples)).zip(places) {
                    if let Some(sample) = self.ring.get(tape.place(index)) {
                        place.copy_from_slice(sample);
                    }
                }
                let codes = self.data.get(..samples as usize * tape.sample_bytes).unwrap_or_default();
                let Tape { taken, saturated, first_at_ns, .. } = tape;
                let first_at_ns = first_at_ns.unwrap_or_default();
                Reply::Samples(Samples { offset, taken, saturated, first_at_ns, codes })
            }
            &Answer::Results { offset, cells } => {
                let room = frame::body_bytes(self.max_frame).saturating_sub(REPLY_OVERHEAD_BYTES);
                let left = self.job_cells.get(offset as usize..cells as usize).unwrap_or_default();
                let mut bytes = 0;
                let slots = self.data.as_chunks_mut::<CELL_RESULT_BYTES>().0.iter_mut();
                for (slot, cell) in slots.zip(left).take(room / CELL_RESULT_BYTES) {
                    *slot = cell.result.to_bytes();
                    bytes += CELL_RESULT_BYTES;
                }
                let cells = self.data.get(..bytes).unwrap_or_default();
                Reply::Results { offset, cells }
            }
        };
        self.link.executed(pending.sequence, pending.crc, None);
        let sent = self.outbox.push(Kind::Reply, session, pending.sequence, &reply);
        self.replied(sent);
    }

    fn replied(&mut self, sent: Result<(), FrameError>) {
        (self.pending, self.answer) = (None, None);
        self.note_unsent(sent);
    }

    fn is_once(&self) -> bool {
        // Anything undecodable is not executed, so nothing of it needs to be remembered.
        request::asked(body(&self.pending, &self.decoder)).is_some_and(|request| request.is_once())
    }

    /// Measures the temperature if it is due; `start of an activity` is the same moment in every body of the
    /// instrument, so that results don't depend on how often the link is looked at.
    fn note_temperature(&mut self, now: Now, front_end: &mut impl FrontEnd) {
        if now.instrument_ns < self.temperature_due_ns {
            return;
        }
        self.temperature_due_ns = now.instrument_ns.saturating_add(super::TEMPERATURE_EVERY_NS);
        match front_end.temperature() {
            Ok(Some(kelvin)) => self.temperature = Some(kelvin),
            Ok(None) => {}
            Err(error) => self.trip(error, now, front_end),
        }
    }
}

/// The feedback setting with the smallest resistance: the one that measures the largest current. The first of a board
/// without any: the front end refuses what isn't there.
fn widest_range(feedback: &[Ohms; MAX_RANGES]) -> u8 {
    let (mut widest, mut least) = (0, f32::INFINITY);
    for (range, ohms) in (0..).zip(feedback) {
        if ohms.0 > 0.0 && ohms.0 < least {
            (widest, least) = (range, ohms.0);
        }
    }
    widest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ohmrig_protocol::message::{LimitName, StorageProblem};
    use ohmrig_protocol::session::MAX_CACHED_REPLY_BYTES;
    use ohmrig_protocol::units::{Amperes, Volts};

    #[test]
    fn every_reply_to_a_once_request_fits_the_cache() {
        let refusals = [
            Refusal::NotArmed,
            Refusal::Faulted(FaultCode::Chip),
            Refusal::JobRuns(JobId(u64::MAX)),
            Refusal::ResultsHeld(JobId(u64::MAX)),
            Refusal::NoSuchJob { boot_nonce: u64::MAX },
            Refusal::Limit { limit: LimitName::DacSpan, asked: f32::MAX, allowed: f32::MAX },
            Refusal::Invalid { field: Field::Interval, asked: f32::MAX, min: f32::MAX, max: f32::MAX },
            Refusal::OutsideArray { rows: u16::MAX, columns: u16::MAX },
            Refusal::Storage(StorageProblem::TooSmall { bytes: u32::MAX, needed: u32::MAX }),
            Refusal::RecordCrc { stored: u32::MAX, announced: u32::MAX },
            Refusal::NoSuchRecord { newest: u32::MAX },
        ];
        let mut replies = refusals.map(Reply::Refused).to_vec();
        replies.push(Reply::Done);
        replies.push(Reply::Started { current_limited: true });
        replies.push(Reply::RecordStored { number: u32::MAX, dropped: Some(u32::MAX) });
        replies.push(Reply::Pulsed {
            current: Some(Amperes(1.0)),
            at_ns: u64::MAX,
            slew_limited: true,
            peak: Volts(5.0),
        });
        for reply in replies {
            let mut bytes = [0; MAX_CACHED_REPLY_BYTES];
            assert!(ohmrig_protocol::serial::put(&reply, &mut bytes).is_some(), "{reply:?}");
        }
    }

    #[test]
    fn the_widest_range_is_that_of_the_smallest_feedback() {
        assert_eq!(widest_range(&[100e3, 9e3, 990.0, 0.0].map(Ohms)), 2);
        assert_eq!(widest_range(&[100e3, 0.0, 0.0, 0.0].map(Ohms)), 0);
    }
}
