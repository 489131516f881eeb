//! Why a request was refused, with the values of both sides.

use super::{FaultCode, JobId, StorageProblem};
use serde::{Deserialize, Serialize};

/// Why a request was refused. Nothing was touched, except by `Fault`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Refusal {
    /// Writing needs [`Request::Arm`](super::Request::Arm) first.
    NotArmed,
    /// A fault is latched; clear it by name.
    Faulted(FaultCode),
    /// A job runs.
    JobRuns(JobId),
    /// A finished job's results are still here; read and release them.
    ResultsHeld(JobId),
    /// No such job here (any more).
    NoSuchJob {
        /// The device's boot nonce: another one than when the job was started means a reset.
        boot_nonce: u64,
    },
    /// No such fault is latched.
    NoSuchFault,
    /// A limit.
    Limit {
        /// Which.
        limit: LimitName,
        /// What was asked, in the limit's unit.
        asked: f32,
        /// What is allowed.
        allowed: f32,
    },
    /// A number that makes no sense here.
    Invalid {
        /// Which.
        field: Field,
        /// What was asked.
        asked: f32,
        /// Smallest allowed.
        min: f32,
        /// Largest allowed.
        max: f32,
    },
    /// Cells outside the array.
    OutsideArray {
        /// Rows there are.
        rows: u16,
        /// Columns there are.
        columns: u16,
    },
    /// The device went to SAFE and latched this while executing.
    Fault(FaultCode),
    /// This front end can't do it.
    Unsupported(Field),
    /// It must survive power loss, and the flash can't be used.
    Storage(StorageProblem),
    /// The flash has no room for the history of another array; forget one by name.
    ArraysFull {
        /// Histories there are, and there is room for.
        slots: u8,
    },
    /// No array of this name is known here.
    NoSuchArray,
    /// This array is plugged in.
    ArrayPlugged,
    /// The flash has no room for another kind of record.
    RecordsFull {
        /// Records there are, and there is room for.
        records: u8,
    },
    /// No such record here.
    NoSuchRecord {
        /// The newest there is; 0 if there is none.
        newest: u32,
    },
    /// The record isn't whole, so it was not put in force: its CRC as stored and as announced.
    RecordCrc {
        /// Of what was stored.
        stored: u32,
        /// As announced.
        announced: u32,
    },
    /// No record was begun.
    NoRecordBegun,
}

/// Names of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitName {
    /// [`Limits::cell`](super::Limits::cell).
    Cell,
    /// [`Limits::half_select`](super::Limits::half_select).
    HalfSelect,
    /// [`Limits::read`](super::Limits::read).
    Read,
    /// [`Limits::width_min`](super::Limits::width_min).
    WidthMin,
    /// [`Limits::width_max`](super::Limits::width_max).
    WidthMax,
    /// [`Limits::current`](super::Limits::current).
    Current,
    /// [`Limits::pulses_per_cell`](super::Limits::pulses_per_cell).
    PulsesPerCell,
    /// [`MAX_CONVERSIONS`](super::MAX_CONVERSIONS).
    Conversions,
    /// Bytes of the reply's frame.
    Frame,
    /// Cells of a job.
    JobCells,
    /// What the DACs can put out.
    DacSpan,
    /// [`Limits::dose_per_cell`](super::Limits::dose_per_cell).
    DosePerCell,
    /// [`Limits::energy_per_cell`](super::Limits::energy_per_cell).
    EnergyPerCell,
}

/// Names of request fields, for [`Refusal::Invalid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    /// A voltage.
    Volts,
    /// A pulse width.
    Width,
    /// A feedback setting.
    Range,
    /// A number of conversions or samples.
    Conversions,
    /// Length of a block of data, bytes.
    Data,
    /// A target conductance.
    Target,
    /// A window.
    Window,
    /// A staircase.
    Staircase,
    /// A limit.
    Limits,
    /// An arming time.
    Arm,
    /// A gate voltage.
    Gate,
    /// A pulse budget.
    MaxPulses,
    /// A scheme of unselected lines.
    Scheme,
    /// A job number.
    Job,
    /// An offset into results.
    Offset,
    /// Time between samples, or all of it together.
    Interval,
    /// Samples of a trace.
    Samples,
    /// An array's name: its length in bytes, all of them printable.
    Name,
    /// A number of a model of the devices.
    Model,
    /// Where a measured current comes from: cells, reference resistors, nothing.
    Source,
    /// A rule by which pulses follow reads.
    Algorithm,
}
