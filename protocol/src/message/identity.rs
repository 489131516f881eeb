//! What a device is: its array, its converters, its limits.

use super::{Fault, StorageProblem};
use crate::units::{Amperes, Joules, Ohms, Seconds, VoltSeconds, Volts};
use serde::{Deserialize, Serialize};

/// Feedback settings of the transimpedance amplifiers a device can announce.
pub const MAX_RANGES: usize = 4;

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
    /// Current of the selected column during a pulse, where it is measured.
    pub current: Amperes,
    /// Pulses one cell may get in all.
    pub pulses_per_cell: u32,
    /// Σ |V|·width of its pulses one cell may get in all.
    pub dose_per_cell: VoltSeconds,
    /// Energy one cell may get in all.
    pub energy_per_cell: Joules,
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
    /// Starts it has counted, this one included; 0 if its flash can't be used.
    pub boots: u32,
    /// Name of the array that is plugged in; empty if nobody named it.
    pub array: &'a str,
    /// What is wrong with its flash, if anything.
    pub storage: Option<StorageProblem>,
    /// The last fault of all, cleared or not, and the start (as counted by `boots`) it happened in.
    pub last_fault: Option<(Fault, u32)>,
    /// What the last panic of all said, and the start that followed it; cut at [`MAX_PANIC_BYTES`].
    pub last_panic: Option<(&'a str, u32)>,
    /// A number of the image it runs alone, [`BUILD_BYTES`] of the linker's; empty where it runs none (in a host process).
    #[serde(serialize_with = "crate::bytes::whole")]
    pub build: &'a [u8],
}

/// What is told of the hash over the image (ELF note `NT_GNU_BUILD_ID`), its first bytes.
pub const BUILD_BYTES: usize = 8;

/// What is kept of a panic message.
pub const MAX_PANIC_BYTES: usize = 96;

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

impl Converters {
    /// Steps of the DAC nearest to a voltage, in the single precision that both sides reckon in: in double precision one
    /// close to the middle between two may be nearest to the other.
    #[must_use]
    pub fn dac_steps(&self, volts: Volts) -> f32 {
        libm::roundf(volts.0 / self.dac_step.0)
    }
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
