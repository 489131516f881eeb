//! How a device is: mode, counters, faults.

use super::JobId;
use crate::bench::ChipKind;
use crate::units::Kelvin;
use serde::{Deserialize, Serialize};

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
    /// Of the processor; `None` where there is no stack of a microcontroller.
    pub stack: Option<Stack>,
}

/// Use of a stack that was painted before the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Its size, bytes.
    pub bytes: u32,
    /// Ever used: its high-water mark, bytes.
    pub used: u32,
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
    /// The request that was being executed, or else the last one that was; `None` before the first of a session.
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
    /// The supplies dipped: the chips have lost what they were set to, and perhaps the device was reset.
    BrownOut,
    /// A job got nowhere for too long.
    JobStalled,
    /// The hardware watchdog reset the device: its firmware hung.
    Watchdog,
    /// The firmware panicked and was reset.
    Panic,
    /// What must survive power loss can't be written.
    Flash,
}
