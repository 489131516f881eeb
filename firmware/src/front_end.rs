//! What a front end can do: the analog board's vocabulary, one bounded step per call. The core speaks only this;
//! chips, switches and spans are the front end's own business.
//!
//! No call blocks or sleeps. Where the analog path needs time, the call returns it ([`Settle`]) and the caller
//! waits before the next one.

use crate::hardware::Flash;
use ohmrig_protocol::bench::ChipSelect;
use ohmrig_protocol::message::{Converters, FaultCode, Limits, MAX_RANGES, Scheme};
use ohmrig_protocol::units::{Kelvin, Ohms, Volts};

/// Time the analog path needs before the next call, ns; 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "the next call is only valid after this time"]
pub struct Settle {
    /// How long.
    pub ns: u32,
}

/// How far a sequence of several calls is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Call again after this time.
    Again(Settle),
    /// There.
    Done(Settle),
}

/// A front end that doesn't do what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("front end: {code:?} at {chip:?}")]
pub struct FrontEndError {
    /// The fault it means.
    pub code: FaultCode,
    /// The chip, where one is to blame.
    pub chip: Option<ChipSelect>,
}

/// The constants of a front end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Description {
    /// Name, such as `or16`.
    pub name: &'static str,
    /// Rows of the array.
    pub rows: u16,
    /// Columns of the array.
    pub columns: u16,
    /// Codes against SI units.
    pub converters: Converters,
    /// What the board allows at most.
    pub limits: Limits,
    /// Feedback in effect in a pulse that was loaded with its widest, by the feedback setting.
    pub pulse_feedback: [Ohms; MAX_RANGES],
    /// Whether 1T1R gates can be driven.
    pub gates: bool,
    /// What unselected lines can do in a pulse.
    pub schemes: &'static [Scheme],
    /// Whether there are reference resistors, and rows can be disconnected.
    pub references: bool,
    /// Whether rows have forming resistors.
    pub forming: bool,
    /// Largest row code.
    pub dac_top: u16,
    /// Lowest and highest voltage of a row and of a column in a pulse.
    pub spans: (LineSpan, LineSpan),
    /// How long after a pulse's edge the selected column's current is first sampled, to cut a pulse beyond its limit, ns.
    pub guard_after_ns: u32,
    /// How long after a pulse's edge everything has settled, so that the current is told, ns.
    pub report_after_ns: u32,
    /// How a line gets from one voltage to another in a pulse.
    pub edge: PulseEdge,
    /// From CONVST until `conversion_done` may be asked, ns.
    pub conversion_ns: u32,
    /// After this a conversion that isn't done is a fault, ns.
    pub conversion_timeout_ns: u32,
}

/// A driver's step: at its slope limit at first, then as a first-order lag. Numbers of the slowest driver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PulseEdge {
    /// Slope limit, V/µs; infinite if the lag alone says it.
    pub slew_v_per_us: f32,
    /// Lag, µs.
    pub lag_us: f32,
    /// Width below which a pulse has no flat top, ns.
    pub flat_ns: u32,
}

impl PulseEdge {
    /// What a line has reached at least when a pulse of `volts` ends after `width_ns`, V. A cell's two lines step by
    /// `volts` together, so by no more than that each, and a smaller step is over sooner.
    pub fn reached(&self, volts: Volts, width_ns: u32) -> Volts {
        let size = libm::fabsf(volts.0);
        let time_us = width_ns as f32 * 1e-3;
        // Slope and lag meet where that much is left.
        let left = size.min(self.slew_v_per_us * self.lag_us);
        let slewing_us = (size - left) / self.slew_v_per_us;
        let reached = if time_us < slewing_us {
            time_us * self.slew_v_per_us
        } else {
            size - left * libm::expf((slewing_us - time_us) / self.lag_us)
        };
        Volts(libm::copysignf(reached, volts.0))
    }
}

/// What a line can be put to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineSpan {
    /// Lowest voltage.
    pub lowest: Volts,
    /// Highest voltage.
    pub highest: Volts,
}

/// Lines selected for writing one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Selected row.
    pub row: u16,
    /// Selected column.
    pub column: u16,
    /// What the others do.
    pub scheme: Scheme,
    /// Pulses, not reads, go through the selected row's forming resistor.
    pub forming: bool,
}

/// What amplifiers are connected to other than in SAFE, to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// All columns off the array, one or all of them on their reference resistors, the driver of `row` on the calibration
    /// bus.
    Reference {
        /// The driver.
        row: u16,
        /// The column, or all.
        column: Option<u16>,
    },
    /// Every row disconnected: what amplifiers say without an array that conducts.
    Open,
    /// Every row disconnected, this column on its bias driver, the others on their amplifiers.
    Bias(u16),
    /// As in SAFE, with this row's forming resistor in circuit.
    Forming(u16),
    /// As in SAFE, every row but this one disconnected: without the load that the others are.
    Alone(u16),
}

/// An analog board.
///
/// States: DEAD (all switches open) –[`make_safe`](Self::make_safe)→ SAFE (rows connected at 0 V, columns on their
/// amplifiers) –[`select`](Self::select)→ selected (the selected column on its amplifier, the other columns on bias
/// drivers at 0 V) –`make_safe`→ SAFE. While a pulse is loaded, [`Scheme::Floating`] has the other lines open,
/// [`Scheme::SymmetricHalf`] the selected column on its bias driver, and forming the selected row's resistor in circuit; they are put back by the next call that drives or
/// grounds rows, not by `unload_pulse`, when lines may still be on their way to 0 V.
/// Reading works in SAFE (all columns) and selected (the selected column). After an error other than of a refused
/// argument, only `dead` and `make_safe` are left. A call out of order is refused with [`FaultCode::Chip`] and no chip.
pub trait FrontEnd {
    /// The flash beside the analog board.
    type Flash<'a>: Flash
    where
        Self: 'a;

    /// What survives power loss; not to be written while a pulse or a job is under way.
    fn flash(&mut self) -> Self::Flash<'_>;

    /// The constants.
    fn description(&self) -> &Description;

    /// DEAD at once, by reset lines alone. Never fails: if the lines don't work, nothing would.
    fn dead(&mut self);

    /// One step towards SAFE from anywhere: from DEAD or after an error it resets, checks and sets up every chip
    /// (switches open → codes of 0 V in the span to come → spans → read back → close), otherwise it ends pulses,
    /// grounds rows and restores the switches.
    ///
    /// # Errors
    /// A chip that doesn't answer as it must.
    fn make_safe(&mut self) -> Result<Progress, FrontEndError>;

    /// Feedback setting of all columns, an index into [`Converters::feedback`]. Free when it is set already.
    ///
    /// # Errors
    /// A switch that reads back wrong.
    fn set_range(&mut self, range: u8) -> Result<Settle, FrontEndError>;

    /// Puts all rows at these codes: `codes` has two little-endian bytes per row. While they settle, and before the next
    /// conversion, comes [`confirm_rows`](Self::confirm_rows); and what has been converted before can still be read.
    ///
    /// # Errors
    /// A bus that fails.
    fn drive_rows(&mut self, codes: &[u8]) -> Result<Settle, FrontEndError>;

    /// Makes sure that rows are where `drive_rows` was to put them: by what one frame gone wrong would show in, or by
    /// `everything` there is.
    ///
    /// # Errors
    /// A driver that reads back wrong.
    fn confirm_rows(&mut self, everything: bool) -> Result<(), FrontEndError>;

    /// Puts one row at a code; the others stay.
    ///
    /// # Errors
    /// A bus that fails.
    fn drive_row(&mut self, row: u16, code: u16) -> Result<Settle, FrontEndError>;

    /// Puts all rows at 0 V. Free when they are.
    ///
    /// # Errors
    /// A bus that fails.
    fn ground_rows(&mut self) -> Result<Settle, FrontEndError>;

    /// Starts a conversion of all columns.
    ///
    /// # Errors
    /// A bus that fails.
    fn start_conversion(&mut self) -> Result<(), FrontEndError>;

    /// Whether the conversion is done.
    ///
    /// # Errors
    /// A bus that fails.
    fn conversion_done(&mut self) -> Result<bool, FrontEndError>;

    /// ADC codes of columns `first .. first + codes.len()`. Reads only the chips that sample them.
    ///
    /// # Errors
    /// A read-out whose CRC is wrong.
    fn read_codes(&mut self, first: u16, codes: &mut [i16]) -> Result<(), FrontEndError>;

    /// Connects a path, everything at 0 V. Then `drive_row`, or `drive_bias` where it begins at a bias driver. Left by
    /// [`make_safe`](Self::make_safe).
    ///
    /// # Errors
    /// A switch that reads back wrong.
    fn connect(&mut self, path: Path) -> Result<Settle, FrontEndError>;

    /// Puts the bias driver of the column of a [`Path::Bias`] that is connected at a code.
    ///
    /// # Errors
    /// A bus that fails.
    fn drive_bias(&mut self, code: u16) -> Result<Settle, FrontEndError>;

    /// Prepares the switches for writing and verifying one cell. Free when it is selected already.
    ///
    /// # Errors
    /// A switch that reads back wrong.
    fn select(&mut self, selection: Selection) -> Result<Settle, FrontEndError>;

    /// Loads the pulse of the selection and reads back every channel that will move: nothing moves yet.
    /// Refuses (`Err` with [`FaultCode::Chip`]) unless everything reads back as it must. With `widest` the selected column's
    /// amplifier can tell the largest current there is, with the feedback of [`Description::pulse_feedback`], until
    /// rows are driven or grounded again; else it stays on the feedback that is set.
    ///
    /// # Errors
    /// A channel that reads back wrong.
    fn load_pulse(
        &mut self,
        volts: Volts,
        gate: Option<Volts>,
        widest: bool,
    ) -> Result<Settle, FrontEndError>;

    /// The rising edge; hardware makes the falling one.
    ///
    /// # Errors
    /// A bus that fails.
    fn start_pulse(&mut self, width_ns: u32) -> Result<(), FrontEndError>;

    /// Whether the pulse is over.
    ///
    /// # Errors
    /// A bus that fails.
    fn pulse_done(&mut self) -> Result<bool, FrontEndError>;

    /// Ends the pulse now.
    ///
    /// # Errors
    /// A bus that fails.
    fn stop_pulse(&mut self) -> Result<(), FrontEndError>;

    /// Takes the pulse's codes away again: toggling off, everything at 0 V.
    ///
    /// # Errors
    /// A bus that fails.
    fn unload_pulse(&mut self) -> Result<Settle, FrontEndError>;

    /// Reads back every chip's identity, settings and error flags. One chip per call, `step` from 0.
    ///
    /// # Errors
    /// The first chip that is wrong.
    fn check_chip(&mut self, step: u16) -> Result<Progress, FrontEndError>;

    /// What has to be asked once a second: whether the supplies have been good since, and whether a driver complains. Nothing
    /// before the board is set up.
    ///
    /// # Errors
    /// [`FaultCode::BrownOut`], or the driver that complains.
    fn watch(&mut self) -> Result<(), FrontEndError>;

    /// Whether the supplies have been good since this was last asked: what was measured meanwhile is to be believed.
    ///
    /// # Errors
    /// [`FaultCode::BrownOut`].
    fn confirm_supply(&mut self) -> Result<(), FrontEndError>;

    /// Temperature beside the array; `None` while none has been measured yet.
    ///
    /// # Errors
    /// A sensor that doesn't answer.
    fn temperature(&mut self) -> Result<Option<Kelvin>, FrontEndError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_a_slope_and_then_a_lag() {
        let edge = PulseEdge { slew_v_per_us: 2.0, lag_us: 1.0, flat_ns: 20_000 };
        let reached = |volts, width_ns| edge.reached(Volts(volts), width_ns).0;
        // 2 V are left when 3 V of 5 are behind, after 1.5 µs.
        assert!((reached(5.0, 1_000) - 2.0).abs() < 1e-6);
        assert!((reached(5.0, 1_500) - 3.0).abs() < 1e-6);
        assert!((reached(-5.0, 2_500) + 5.0 - 2.0 * libm::expf(-1.0)).abs() < 1e-6);
        // Below that all is lag.
        assert!((reached(1.0, 1_000) - (1.0 - libm::expf(-1.0))).abs() < 1e-6);
        assert!((reached(5.0, 20_000) - 5.0).abs() < 1e-6);
        let lag = PulseEdge { slew_v_per_us: f32::INFINITY, ..edge };
        assert!((lag.reached(Volts(5.0), 1_000).0 - 5.0 * (1.0 - libm::expf(-1.0))).abs() < 1e-6);
    }
}
