//! What host and device say to each other within a session.
//!
//! Bulk data travel as little-endian bytes borrowed from the frame: converter codes for matrix-vector products and
//! raw samples, integer sums for reads. Scalars are SI `f32` (see [`units`](crate::units)). Arrays are row-major.

mod budget;
mod condition;
mod identity;
mod programming;
mod reading;
mod record;
mod refusal;
mod trace;
mod writing;

pub use budget::{BUDGET_BYTES, CellBudget, MAX_ARRAY_NAME_BYTES};
pub use condition::{Counters, Fault, FaultCode, Mode, Stack, Status};
pub use identity::{BUILD_BYTES, Converters, Identity, Limits, MAX_PANIC_BYTES, MAX_RANGES, ResetReason};
pub use programming::{
    Algorithm, CELL_RESULT_BYTES, CellResult, DoseLaw, Forming, Model, Outcome, Program, Staircase,
};
pub use reading::{
    CELL_SUMS_BYTES, CellSums, MAX_CONVERSIONS, Mvm, ReadCells, ReadColumn, ReadReference, Region,
};
pub use record::{
    MAX_RECORD_BYTES, RECORD_CHUNK_BYTES, RECORD_ENTRY_BYTES, RECORD_HISTORY, RecordEntry, RecordLabel,
    StorageProblem,
};
pub use refusal::{Field, LimitName, Refusal};
pub use trace::{Samples, Trace, TraceSource};
pub use writing::{JobEnd, JobId, JobState, MAX_ARM_MS, MAX_INSTANT_NS, Pulse, Scheme};

use crate::units::{Amperes, Volts};
use serde::{Deserialize, Serialize};

/// Host → device. Which requests are *once* says [`Request::is_once`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Who are you? Answered by [`Reply::Identity`].
    Identify,
    /// How are you? Answered by [`Reply::Status`].
    Status,
    /// Measures cells one by one. Answered by [`Reply::Cells`].
    ReadCells(ReadCells),
    /// Raw samples of one column. Answered by [`Reply::Column`].
    ReadColumn(ReadColumn),
    /// Row driver → calibration bus → R_cal → every column's amplifier. Answered by [`Reply::Reference`].
    ReadReference(ReadReference),
    /// A batch of matrix-vector products. Answered by [`Reply::Mvm`].
    #[serde(borrow)]
    Mvm(Mvm<'a>),
    /// Reads back every chip. Answered by [`Reply::Done`], or refused with the first chip that is wrong.
    CheckChips,
    /// How far is a job? Answered by [`Reply::Job`], in any session.
    JobStatus(JobId),
    /// A job's results from a cell on. Answered by [`Reply::Results`], in any session.
    JobResults {
        /// The job.
        job: JobId,
        /// First cell, counted in the job's region row by row.
        offset: u32,
    },
    /// Allows writing for a time; renews it if already armed.
    Arm {
        /// How long, by the link clock; 1 to [`MAX_ARM_MS`].
        milliseconds: u32,
    },
    /// Ends everything, disarms and goes to SAFE.
    Safe,
    /// Clears the latched fault, which must be named.
    ClearFault(FaultCode),
    /// Tightens limits, for good: they survive resets. None may be looser than the one in force.
    TightenLimits(Limits),
    /// One write pulse. Answered by [`Reply::Pulsed`].
    Pulse(Pulse),
    /// Starts write-verify of a region as a job. Answered by [`Reply::Started`] at once; results are read later, in any
    /// session.
    Program(Program<'a>),
    /// Ends a job after its present pulse; what it has done stays readable.
    AbortJob(JobId),
    /// Frees a finished job's results.
    ReleaseJob(JobId),
    /// Starts a job that lets time pass in SAFE. Ends at once if the instant is past; needs no arming.
    Wait {
        /// The job's number, new.
        job: JobId,
        /// Instrument time at which it ends, ns; at most [`MAX_INSTANT_NS`].
        until_ns: u64,
    },
    /// Starts a trace as a job: answered at once, samples fetched while it runs; needs no arming.
    Trace(Trace),
    /// Samples of a trace from `offset` on. Answered by [`Reply::Samples`] once a frame is full or the trace has ended, at
    /// the latest after some 50 ms.
    FetchSamples {
        /// The job.
        job: JobId,
        /// First sample wanted.
        offset: u32,
        /// Samples before this one have arrived and are wanted no more: their room is used again. At most `offset`.
        arrived: u32,
    },
    /// What cells have been through. Answered by [`Reply::Budgets`].
    ReadBudgets(Region),
    /// The arrays whose budgets are kept. Answered by [`Reply::Arrays`].
    ListArrays,
    /// Names the array that is plugged in: its budgets count from now on. A new name begins a history, as far as the
    /// flash has room.
    PlugArray {
        /// 1 to [`MAX_ARRAY_NAME_BYTES`] of printable ASCII.
        name: &'a str,
    },
    /// Frees the history of an array that is not plugged in; an empty name is the one nobody named.
    ForgetArray {
        /// Its name.
        name: &'a str,
    },
    /// The records in flash. Answered by [`Reply::Records`].
    ListRecords,
    /// A record's data from an offset on, at most [`RECORD_CHUNK_BYTES`]. Answered by [`Reply::Record`].
    ReadRecord {
        /// The record.
        number: u32,
        /// First byte, a multiple of [`RECORD_CHUNK_BYTES`].
        offset: u32,
    },
    /// Begins a record; what an earlier one left uncommitted is given up.
    BeginRecord(RecordLabel),
    /// The next data of the record begun: [`RECORD_CHUNK_BYTES`], fewer only at its end.
    RecordChunk {
        /// Where they belong: right behind those before.
        offset: u32,
        /// The bytes.
        #[serde(serialize_with = "crate::bytes::whole")]
        data: &'a [u8],
    },
    /// Checks the record begun against its label and puts it in force, all at once. Answered by
    /// [`Reply::RecordStored`].
    CommitRecord,
    /// Puts an earlier record of a kind in force again; nothing is lost.
    RollBackRecord {
        /// Its number.
        number: u32,
    },
}

impl Request<'_> {
    /// Whether it can change a device or a setting: executed exactly once, its reply cached. The others may run again.
    #[must_use]
    pub const fn is_once(&self) -> bool {
        match self {
            Self::Identify
            | Self::Status
            | Self::ReadCells(_)
            | Self::ReadColumn(_)
            | Self::ReadReference(_)
            | Self::Mvm(_)
            | Self::CheckChips
            | Self::JobStatus(_)
            | Self::JobResults { .. }
            | Self::FetchSamples { .. }
            | Self::ReadBudgets(_)
            | Self::ListArrays
            | Self::ListRecords
            | Self::ReadRecord { .. } => false,
            Self::Arm { .. }
            | Self::Safe
            | Self::ClearFault(_)
            | Self::TightenLimits(_)
            | Self::Pulse(_)
            | Self::Program(_)
            | Self::AbortJob(_)
            | Self::ReleaseJob(_)
            | Self::Wait { .. }
            | Self::Trace(_)
            | Self::PlugArray { .. }
            | Self::ForgetArray { .. }
            | Self::BeginRecord(_)
            | Self::RecordChunk { .. }
            | Self::CommitRecord
            | Self::RollBackRecord { .. } => true,
        }
    }
}

/// Device → host.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply<'a> {
    /// To [`Request::Identify`].
    #[serde(borrow)]
    Identity(Identity<'a>),
    /// To [`Request::Status`].
    Status(Status),
    /// Executed; there is nothing more to say.
    Done,
    /// Not executed, nothing was touched, or (chip errors) the device went to SAFE.
    Refused(Refusal),
    /// To [`Request::ReadCells`]: [`CellSums`] for each cell of the region.
    Cells {
        /// `CELL_SUMS_BYTES` per cell.
        #[serde(serialize_with = "crate::bytes::whole")]
        sums: &'a [u8],
    },
    /// To [`Request::ReadColumn`].
    Column {
        /// Instrument time of the first sample, ns.
        at_ns: u64,
        /// ADC codes, i16 each.
        #[serde(serialize_with = "crate::bytes::whole")]
        codes: &'a [u8],
    },
    /// To [`Request::ReadReference`]: [`CellSums`] of the column asked for, or of each.
    Reference {
        /// `CELL_SUMS_BYTES` per column.
        #[serde(serialize_with = "crate::bytes::whole")]
        sums: &'a [u8],
    },
    /// To [`Request::Mvm`].
    Mvm {
        /// Samples beyond the ADC's linear range; the products they went into are not to be believed.
        saturated: u32,
        /// (vectors, columns): ADC codes, i16 if one conversion was asked for, else i32 sums over the conversions.
        #[serde(serialize_with = "crate::bytes::whole")]
        codes: &'a [u8],
    },
    /// To [`Request::JobStatus`].
    Job(JobState),
    /// To [`Request::JobResults`].
    Results {
        /// First cell.
        offset: u32,
        /// [`CellResult`] after [`CellResult`], `CELL_RESULT_BYTES` each; as many as fit the frame.
        #[serde(serialize_with = "crate::bytes::whole")]
        cells: &'a [u8],
    },
    /// To [`Request::Pulse`].
    Pulsed {
        /// Current of the selected column during the pulse, half-selected cells included; `None` if the scheme or the
        /// width can't tell.
        current: Option<Amperes>,
        /// Instrument time of the pulse's rising edge, ns.
        at_ns: u64,
        /// The width is below what the drivers' slew rate needs for a flat top.
        slew_limited: bool,
        /// What the lines have reached at least by the pulse's end, by the drivers' slowest edge, V; what drops in switches
        /// and lines is not taken off.
        peak: Volts,
    },
    /// To [`Request::Program`]: the job runs.
    Started {
        /// Each of its pulses is cut if the selected column's current passes the limit. Not with a scheme or a width that
        /// doesn't let the current be measured.
        current_limited: bool,
    },
    /// To [`Request::FetchSamples`].
    Samples(Samples<'a>),
    /// To [`Request::ReadBudgets`]: [`CellBudget`] for each cell of the region.
    Budgets {
        /// `BUDGET_BYTES` per cell.
        #[serde(serialize_with = "crate::bytes::whole")]
        cells: &'a [u8],
    },
    /// To [`Request::ListArrays`].
    Arrays {
        /// Histories the flash has room for.
        slots: u8,
        /// Which of the names is plugged in, from 0.
        plugged: u8,
        /// Each name: its length in one byte, then the name. Empty for the array nobody named.
        #[serde(serialize_with = "crate::bytes::whole")]
        names: &'a [u8],
    },
    /// To [`Request::ListRecords`]: [`RecordEntry`] after [`RecordEntry`], oldest first.
    Records {
        /// `RECORD_ENTRY_BYTES` each.
        #[serde(serialize_with = "crate::bytes::whole")]
        entries: &'a [u8],
    },
    /// To [`Request::ReadRecord`].
    Record {
        /// First byte.
        offset: u32,
        /// The bytes.
        #[serde(serialize_with = "crate::bytes::whole")]
        data: &'a [u8],
    },
    /// To [`Request::CommitRecord`].
    RecordStored {
        /// Number of the new record.
        number: u32,
        /// The record that was dropped for it, if the history of its kind was full.
        dropped: Option<u32>,
    },
}
