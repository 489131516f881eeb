//! What host and device say to each other within a session.
//!
//! Bulk data travel as little-endian bytes borrowed from the frame: converter codes for matrix-vector products and
//! raw samples, integer sums for reads. Scalars are SI `f32` (see [`units`](crate::units)). Arrays are row-major.

use crate::bench::ChipKind;
use crate::units::{Amperes, Kelvin, Ohms, Seconds, Siemens, Volts};
use serde::{Deserialize, Serialize};

/// Feedback settings of the transimpedance amplifiers a device can announce.
pub const MAX_RANGES: usize = 4;

/// A job's number, chosen by the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobId(pub u64);

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
    /// Tightens limits; none may be looser than the one in force.
    TightenLimits(Limits),
    /// One write pulse. Answered by [`Reply::Pulsed`].
    Pulse(Pulse),
    /// Starts write-verify of a region as a job: answered at once, results read later, in any session.
    Program(Program<'a>),
    /// Ends a job after its present pulse; what it has done stays readable.
    AbortJob(JobId),
    /// Frees a finished job's results.
    ReleaseJob(JobId),
}

/// Longest arming, one hour.
pub const MAX_ARM_MS: u32 = 3_600_000;

/// Most conversions one request may ask for; anything longer is a job or several requests.
pub const MAX_CONVERSIONS: u32 = 4096;

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
            | Self::JobResults { .. } => false,
            Self::Arm { .. }
            | Self::Safe
            | Self::ClearFault(_)
            | Self::TightenLimits(_)
            | Self::Pulse(_)
            | Self::Program(_)
            | Self::AbortJob(_)
            | Self::ReleaseJob(_) => true,
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
        sums: &'a [u8],
    },
    /// To [`Request::ReadColumn`].
    Column {
        /// Instrument time of the first sample, ns.
        at_ns: u64,
        /// ADC codes, i16 each.
        codes: &'a [u8],
    },
    /// To [`Request::ReadReference`]: [`CellSums`] for each column.
    Reference {
        /// `CELL_SUMS_BYTES` per column.
        sums: &'a [u8],
    },
    /// To [`Request::Mvm`].
    Mvm {
        /// Samples beyond the ADC's linear range; the products they went into are not to be believed.
        saturated: u32,
        /// (vectors, columns): ADC codes, i16 if one conversion was asked for, else i32 sums over the conversions.
        codes: &'a [u8],
    },
    /// To [`Request::JobStatus`].
    Job(JobState),
    /// To [`Request::JobResults`].
    Results {
        /// First cell.
        offset: u32,
        /// [`CellResult`] after [`CellResult`], `CELL_RESULT_BYTES` each; as many as fit the frame.
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
    },
}

/// A rectangle of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// First row.
    pub row: u16,
    /// First column.
    pub column: u16,
    /// Rows, at least 1.
    pub rows: u16,
    /// Columns, at least 1.
    pub columns: u16,
}

impl Region {
    /// Cells in it.
    #[must_use]
    pub const fn cells(&self) -> u32 {
        self.rows as u32 * self.columns as u32
    }

    /// Whether it is non-empty and within an array.
    #[must_use]
    pub const fn is_within(&self, rows: u16, columns: u16) -> bool {
        self.rows > 0
            && self.columns > 0
            && self.row as u32 + self.rows as u32 <= rows as u32
            && self.column as u32 + self.columns as u32 <= columns as u32
    }
}

/// Each cell alone: its row at ±`volts`, the others at 0 V, its column at virtual ground.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadCells {
    /// Which cells.
    pub region: Region,
    /// Read voltage, positive.
    pub volts: Volts,
    /// Index of the feedback setting.
    pub range: u8,
    /// Conversions at each polarity, at least 1.
    pub conversions: u16,
}

/// Raw ADC codes of a column while one row is driven.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadColumn {
    /// The driven row; the others are at 0 V.
    pub row: u16,
    /// The sampled column.
    pub column: u16,
    /// Row voltage, either sign.
    pub volts: Volts,
    /// Index of the feedback setting.
    pub range: u8,
    /// Samples, at least 1.
    pub samples: u16,
    /// From one sample to the next, ns; 0 for as fast as conversions go.
    pub interval_ns: u32,
}

/// One row driver through the reference resistor of every column.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadReference {
    /// The row whose driver is used.
    pub row: u16,
    /// Voltage, positive.
    pub volts: Volts,
    /// Index of the feedback setting.
    pub range: u8,
    /// Conversions at each polarity, at least 1.
    pub conversions: u16,
}

/// Matrix-vector products: each vector's codes on the rows, every column sampled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mvm<'a> {
    /// Index of the feedback setting.
    pub range: u8,
    /// Conversions per vector, at least 1.
    pub conversions: u16,
    /// (vectors, rows): DAC codes, u16.
    pub codes: &'a [u8],
}

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

/// Bounds the core enforces whatever is asked. The bound on a cell's voltage is the worst that tolerance allows:
/// as commanded + 20 mV + 0.5 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Across the selected cell in a pulse.
    pub cell: Volts,
    /// Across any other cell in a pulse.
    pub half_select: Volts,
    /// Across any cell in a read or product.
    pub read: Volts,
    /// Shortest pulse.
    pub width_min: Seconds,
    /// Longest pulse.
    pub width_max: Seconds,
    /// Current of the selected column during a pulse, where it is measured; in a job, of the cell as last read.
    pub current: Amperes,
    /// Pulses one cell may get between two power-ups.
    pub pulses_per_cell: u32,
}

/// A device's description.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity<'a> {
    /// Board name.
    pub board: &'a str,
    /// Whether the chips and devices below are emulated: nothing it says is a measurement of anything.
    pub emulated: bool,
    /// Front end name.
    pub front_end: &'a str,
    /// Firmware version.
    pub firmware: &'a str,
    /// Git commit the firmware was built from.
    pub git: &'a str,
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
    /// How codes and volts, currents relate.
    pub converters: Converters,
    /// The limits in force.
    pub limits: Limits,
    /// The limits of the board.
    pub board_limits: Limits,
    /// Why it last started.
    pub reset: ResetReason,
    /// Instrument time, ns.
    pub at_ns: u64,
}

/// Nominal relations between codes and SI units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Converters {
    /// Row volts per DAC code step.
    pub dac_step: Volts,
    /// DAC code of 0 V.
    pub dac_zero: u16,
    /// Amplifier output volts per ADC code step.
    pub adc_step: Volts,
    /// Largest |ADC code| within the linear range.
    pub adc_linear: u16,
    /// Effective feedback of each range, Ω; 0 where there is none. Output volts = −current · feedback.
    pub feedback: [Ohms; MAX_RANGES],
    /// Reference resistor of each column.
    pub reference: Ohms,
}

/// Why a device started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetReason {
    /// Power came up.
    PowerOn,
    /// Reset pin or debugger.
    External,
    /// Hardware watchdog.
    Watchdog,
    /// Supply dipped.
    BrownOut,
    /// Firmware panicked.
    Panic,
    /// The board can't tell.
    Unknown,
}

/// A device's condition.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// What it is doing.
    pub mode: Mode,
    /// Left of the arming, ms; 0 is disarmed.
    pub armed_ms: u32,
    /// The latched fault.
    pub fault: Option<Fault>,
    /// The present or last job.
    pub job: Option<JobId>,
    /// Beside the array.
    pub temperature: Option<Kelvin>,
    /// Instrument time, ns.
    pub at_ns: u64,
    /// Link clock, ms.
    pub link_ms: u64,
    /// Since boot.
    pub counters: Counters,
}

/// What a device is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// All switches open.
    Dead,
    /// On the way from DEAD to SAFE.
    Starting,
    /// Rows at 0 V, columns at virtual ground, nothing asked.
    Safe,
    /// Measuring or writing.
    Busy,
}

/// Counted since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Frames with a good CRC.
    pub frames: u32,
    /// Frames dropped: COBS, CRC, length.
    pub bad_frames: u32,
    /// Requests that came again.
    pub repeated: u32,
    /// Requests out of order or of another session.
    pub unexecuted: u32,
    /// Write pulses started.
    pub pulses: u64,
    /// Conversions.
    pub conversions: u64,
}

/// A latched fault.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Its name, to clear it by.
    pub code: FaultCode,
    /// Chip it is about.
    pub chip: Option<(ChipKind, u8)>,
    /// Instrument time, ns.
    pub at_ns: u64,
    /// The request that was being executed.
    pub sequence: Option<u32>,
}

/// Names of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultCode {
    /// Nothing was heard from the host while armed.
    LinkSilent,
    /// The selected column's current passed its limit in a pulse.
    OverCurrent,
    /// A chip's CRC, read-back or error register is wrong.
    Chip,
    /// A conversion or a pulse didn't end in time.
    Timeout,
    /// A bus doesn't work.
    Bus,
}

/// Why a request was refused. Nothing was touched, except by `Fault`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Refusal {
    /// Writing needs [`Request::Arm`] first.
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
}

/// Names of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitName {
    /// [`Limits::cell`].
    Cell,
    /// [`Limits::half_select`].
    HalfSelect,
    /// [`Limits::read`].
    Read,
    /// [`Limits::width_min`].
    WidthMin,
    /// [`Limits::width_max`].
    WidthMax,
    /// [`Limits::current`].
    Current,
    /// [`Limits::pulses_per_cell`].
    PulsesPerCell,
    /// [`MAX_CONVERSIONS`].
    Conversions,
    /// Bytes of the reply's frame.
    Frame,
    /// Cells of a job.
    JobCells,
    /// What the DACs can put out.
    DacSpan,
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
}

/// Bytes of one [`CellSums`] on the wire.
pub const CELL_SUMS_BYTES: usize = 24;

/// Sums of ADC codes over the conversions at each polarity of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellSums {
    /// Σ code at +V.
    pub plus: i32,
    /// Σ code² at +V; negative if any sample was beyond the linear range (then it is −1).
    pub plus_squares: i64,
    /// Σ code at −V.
    pub minus: i32,
    /// Σ code² at −V; −1 as above.
    pub minus_squares: i64,
}

impl CellSums {
    /// Little-endian, in the order of the fields.
    #[must_use]
    pub fn to_bytes(self) -> [u8; CELL_SUMS_BYTES] {
        let mut bytes = [0; CELL_SUMS_BYTES];
        let fields = self
            .plus
            .to_le_bytes()
            .into_iter()
            .chain(self.plus_squares.to_le_bytes())
            .chain(self.minus.to_le_bytes())
            .chain(self.minus_squares.to_le_bytes());
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        bytes
    }

    /// The reverse of [`to_bytes`](Self::to_bytes).
    #[must_use]
    pub fn from_bytes(bytes: &[u8; CELL_SUMS_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x] = *bytes;
        Self {
            plus: i32::from_le_bytes([a, b, c, d]),
            plus_squares: i64::from_le_bytes([e, f, g, h, i, j, k, l]),
            minus: i32::from_le_bytes([m, n, o, p]),
            minus_squares: i64::from_le_bytes([q, r, s, t, u, v, w, x]),
        }
    }
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
    /// The cell's own limit of pulses is reached, or the next pulse would pass the limit of current.
    Limit = 6,
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
