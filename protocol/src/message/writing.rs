//! Single pulses, and jobs: how far they are and how they ended.

use super::FaultCode;
use crate::units::{Seconds, Volts};
use serde::{Deserialize, Serialize};

/// A job's number, chosen by the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// Longest arming, one hour.
pub const MAX_ARM_MS: u32 = 3_600_000;

/// The last instant that a wait may end at, ns on the instrument clock: what comes after it must still fit the clock.
pub const MAX_INSTANT_NS: u64 = i64::MAX as u64;

/// How unselected lines are held during a pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// Selected row at V, selected column on its amplifier at 0 V, unselected rows and columns at V/2.
    Half,
    /// Selected row at V/2, selected column at −V/2, the others at 0 V. The current isn't measured.
    SymmetricHalf,
    /// Selected row at V, selected column at 0 V, unselected rows at V/3, unselected columns at 2V/3.
    Third,
    /// Selected row at V, everything else at 0 V.
    Grounded,
    /// Selected row at V, selected column at 0 V, unselected rows and columns disconnected.
    Floating,
}

/// One write pulse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pulse {
    /// Selected row.
    pub row: u16,
    /// Selected column.
    pub column: u16,
    /// Row against column; positive is SET.
    pub volts: Volts,
    /// Between the 50 % points.
    pub width: Seconds,
    /// What the other lines do.
    pub scheme: Scheme,
    /// Gate voltage of the selected line in 1T1R arrays.
    pub gate: Option<Volts>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Still at it.
    Running {
        /// Cells finished.
        cells: u32,
        /// Cells in all.
        of: u32,
        /// Pulses so far.
        pulses: u64,
    },
    /// Ended; results can be read until released.
    Ended {
        /// How.
        end: JobEnd,
        /// Cells finished.
        cells: u32,
        /// Cells in all.
        of: u32,
        /// Pulses in all.
        pulses: u64,
    },
    /// Not known here: never started, released, or lost in a reset.
    Unknown {
        /// The device's boot nonce.
        boot_nonce: u64,
    },
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobEnd {
    /// Every cell was dealt with.
    Finished,
    /// Somebody asked.
    Aborted,
    /// A fault.
    Fault(FaultCode),
    /// The arming ran out.
    Disarmed,
    /// A trace's conversion wasn't started in time: the interval is too short, or its samples weren't fetched in time. The
    /// samples before it are there; it is the next one that is lost.
    LostSample,
}
