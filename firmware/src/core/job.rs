//! Jobs: work that outlives the request that started it. One at a time; asked about, aborted and released by number,
//! in any session.

use super::program::ProgramMachine;
use super::trace::TraceMachine;
use ohmrig_protocol::message::{JobEnd, JobId, JobState};

/// A job that is there to be asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) progress: JobProgress,
    /// `None` while it runs.
    pub(super) end: Option<JobEnd>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct JobProgress {
    /// Cells finished.
    pub(super) finished: u32,
    /// Cells in all; 0 for a job that isn't about cells.
    pub(super) cells: u32,
    pub(super) pulses: u64,
}

impl Job {
    pub(super) fn running(machine: &JobMachine) -> Self {
        Self { id: machine.id(), progress: machine.progress(), end: None }
    }

    pub(super) fn state(&self) -> JobState {
        let JobProgress { finished: cells, cells: of, pulses } = self.progress;
        match self.end {
            None => JobState::Running { cells, of, pulses },
            Some(end) => JobState::Ended { end, cells, of, pulses },
        }
    }
}

/// What a running job does to the front end.
#[allow(clippy::large_enum_variant)] // There is one, and nothing to box it with.
#[derive(Clone, Copy, Debug)]
pub(super) enum JobMachine {
    /// Write-verify of a region.
    Program(ProgramMachine),
    /// Nothing, until an instant.
    Wait(Wait),
    /// Samples at even intervals.
    Trace(TraceMachine),
}

/// Lets time pass: what retention, relaxation and drift need between two reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) id: JobId,
    /// Instrument time, ns.
    pub(super) until_ns: u64,
}

impl JobMachine {
    pub(super) fn id(&self) -> JobId {
        match self {
            Self::Program(program) => program.order.job,
            Self::Wait(wait) => wait.id,
            Self::Trace(trace) => trace.order.trace.job,
        }
    }

    pub(super) fn progress(&self) -> JobProgress {
        match self {
            Self::Program(program) => JobProgress {
                finished: program.finished,
                cells: program.order.region.cells(),
                pulses: program.pulses,
            },
            // A trace's samples are counted on its tape.
            Self::Wait(_) | Self::Trace(_) => JobProgress::default(),
        }
    }

    /// Whether it may be ended here without losing count of a pulse.
    pub(super) fn may_end(&self) -> bool {
        match self {
            Self::Program(program) => program.is_between_pulses(),
            Self::Wait(_) | Self::Trace(_) => true,
        }
    }

    /// Whether it may only go on while armed.
    pub(super) fn writes(&self) -> bool {
        matches!(self, Self::Program(_))
    }
}
