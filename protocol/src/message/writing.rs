//! Pulses and write-verify jobs: what is asked, how far they are, what they did.

use super::{FaultCode, Region};
use crate::units::{Seconds, Siemens, Volts};
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

/// Write-verify of a region.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program<'a> {
    /// The job's number, new.
    pub job: JobId,
    /// Which cells.
    pub region: Region,
    /// Conductance wanted of each cell, S, f32.
    pub targets: &'a [u8],
    /// A cell is done when it is read within ± this of its target.
    pub window: Siemens,
    /// How pulses follow reads.
    pub algorithm: Algorithm,
    /// Pulse width.
    pub width: Seconds,
    /// What unselected lines do.
    pub scheme: Scheme,
    /// Voltage of the verify read, positive.
    pub read_volts: Volts,
    /// Index of the feedback setting of the verify read.
    pub range: u8,
    /// Conversions of one verify read.
    pub conversions: u16,
    /// Most pulses for one cell.
    pub max_pulses: u16,
    /// Most changes of direction for one cell.
    pub max_reversals: u8,
}

/// How write-verify chooses its pulses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Algorithm {
    /// Incremental pulses: the amplitude grows by a step while the cell stays on one side of its target, and starts
    /// again from the bottom when it has crossed.
    Incremental {
        /// SET amplitudes, positive.
        set: Staircase,
        /// RESET amplitudes; magnitudes, applied negative.
        reset: Staircase,
    },
}

/// Amplitudes of growing pulses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Staircase {
    /// First.
    pub start: Volts,
    /// From one to the next, positive.
    pub step: Volts,
    /// Largest.
    pub stop: Volts,
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

/// Bytes of one [`CellResult`] on the wire.
pub const CELL_RESULT_BYTES: usize = 12;

/// What write-verify did to a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellResult {
    /// As last read.
    pub conductance: Siemens,
    /// Standard uncertainty of that read.
    pub uncertainty: Siemens,
    /// Pulses applied.
    pub pulses: u16,
    /// Changes of direction.
    pub reversals: u8,
    /// Why it stopped.
    pub outcome: Outcome,
}

/// Why write-verify left a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Not dealt with yet.
    Pending = 0,
    /// Read within the window.
    Inside = 1,
    /// The pulse budget is spent.
    Pulses = 2,
    /// The reversal budget is spent.
    Reversals = 3,
    /// The largest pulse doesn't move it.
    Stuck = 4,
    /// The verify read is beyond the linear range.
    Saturated = 5,
    /// The next pulse would pass the limit of current.
    Limit = 6,
    /// The selected column's current passed its limit in the last pulse, which was cut.
    OverCurrent = 7,
    /// The cell's own budget of pulses, dose or energy is spent.
    Budget = 8,
}

impl Outcome {
    /// The outcome of a code, if it is one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Pending,
            1 => Self::Inside,
            2 => Self::Pulses,
            3 => Self::Reversals,
            4 => Self::Stuck,
            5 => Self::Saturated,
            6 => Self::Limit,
            7 => Self::OverCurrent,
            8 => Self::Budget,
            _ => return None,
        })
    }
}

impl CellResult {
    /// Of a cell that was not dealt with.
    pub const PENDING: Self = Self {
        conductance: Siemens(0.0),
        uncertainty: Siemens(0.0),
        pulses: 0,
        reversals: 0,
        outcome: Outcome::Pending,
    };

    /// Little-endian, in the order of the fields.
    #[must_use]
    pub fn to_bytes(self) -> [u8; CELL_RESULT_BYTES] {
        let [a, b, c, d] = self.conductance.0.to_le_bytes();
        let [e, f, g, h] = self.uncertainty.0.to_le_bytes();
        let [i, j] = self.pulses.to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j, self.reversals, self.outcome as u8]
    }

    /// The reverse of [`to_bytes`](Self::to_bytes); `None` for an outcome this version doesn't have.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; CELL_RESULT_BYTES]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, i, j, reversals, outcome] = *bytes;
        Some(Self {
            conductance: Siemens(f32::from_le_bytes([a, b, c, d])),
            uncertainty: Siemens(f32::from_le_bytes([e, f, g, h])),
            pulses: u16::from_le_bytes([i, j]),
            reversals,
            outcome: Outcome::from_code(outcome)?,
        })
    }
}
