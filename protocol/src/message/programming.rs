//! Write-verify jobs: what is asked, by which rule pulses follow reads, and what came of each cell.

use super::{JobId, Region, Scheme};
use crate::units::{Seconds, Siemens, Volts};
use serde::{Deserialize, Serialize};

/// Write-verify of a region.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program<'a> {
    /// The job's number, new.
    pub job: JobId,
    /// Which cells.
    pub region: Region,
    /// Conductance wanted of each cell, S, f32; NaN leaves a cell alone. For [`Algorithm::Form`] the conductance from
    /// which on a cell counts as formed.
    #[serde(serialize_with = "crate::bytes::whole")]
    pub targets: &'a [u8],
    /// A cell is done when it is read within ± this of its target.
    pub window: Siemens,
    /// How pulses follow reads.
    pub algorithm: Algorithm,
    /// Pulse width.
    pub width: Seconds,
    /// What unselected lines do.
    pub scheme: Scheme,
    /// Voltage of the verify read, positive; both polarities are applied.
    pub read_volts: Volts,
    /// Index of the feedback setting of the verify read.
    pub range: u8,
    /// Conversions at each polarity of a verify read that is clear.
    pub conversions: u16,
    /// Conversions at each polarity, at most, of one that is near the edge of the window.
    pub max_conversions: u16,
    /// Conversions at each polarity of a second read of a cell that was found inside: it decides nothing, so that the
    /// conductance it reports isn't one selected for its noise. 0 for none.
    pub confirm: u16,
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
    /// Identical pulses: one amplitude for each direction.
    Identical {
        /// SET, positive.
        set: Volts,
        /// RESET; magnitude, applied negative.
        reset: Volts,
    },
    /// Incremental pulses of cells whose polarity isn't known: when a pulse has plainly moved a cell the wrong way, what
    /// raises it and what lowers it change places.
    Seeking {
        /// Amplitudes of both polarities, positive.
        stairs: Staircase,
    },
    /// One pulse calculated from a model to reach the target, then again from where it got; the model's numbers are
    /// corrected by what each pulse did.
    Model(Model),
    /// Electroforming: SET pulses of growing amplitude, then of growing width, through the row's forming resistor, until
    /// a cell conducts.
    Form(Forming),
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

/// What a pulse is expected to do. SET leaves e^−D of the distance to the ceiling, RESET e^−D of the distance to the
/// floor, D being the dose: the soft-bounds device (Fusi & Abbott, Nat. Neurosci. 10, 485, 2007) after D pulses' worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Dose of a positive pulse.
    pub set: DoseLaw,
    /// Dose of a negative pulse; amplitudes as magnitudes.
    pub reset: DoseLaw,
    /// What RESET approaches.
    pub floor: Siemens,
    /// What SET approaches.
    pub ceiling: Siemens,
    /// RESET melts: it leaves e^−D of the whole range above the floor, from wherever the cell was, and never raises it
    /// (phase-change memory; Papandreou et al., ISCAS 2011, program levels by the amplitude of such partial RESETs).
    pub melting: bool,
}

/// D = dose · ((V − threshold) / (reference − threshold))^exponent at the job's pulse width.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DoseLaw {
    /// Amplitude below which nothing moves.
    pub threshold: Volts,
    /// Amplitude for which `dose` is stated, above the threshold.
    pub reference: Volts,
    /// Dose at the reference.
    pub dose: f32,
    /// Power of the overdrive.
    pub exponent: f32,
    /// Largest amplitude.
    pub stop: Volts,
}

/// Pulses of forming.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forming {
    /// Amplitudes at each width, positive.
    pub volts: Staircase,
    /// The width grows tenfold when the largest amplitude hasn't formed a cell, up to this.
    pub widest: Seconds,
    /// Between a pulse and the read after it.
    pub gap: Seconds,
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
    /// Its target says to leave it alone.
    Skipped = 8,
    /// Averaged as much as allowed, the read still can't tell inside from outside: noisier than the window.
    Noisy = 9,
    /// The cell's own budget of pulses, dose or energy is spent.
    Budget = 10,
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
            8 => Self::Skipped,
            9 => Self::Noisy,
            10 => Self::Budget,
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
