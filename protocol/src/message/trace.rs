//! Traces: columns sampled at even intervals for as long as it takes, fetched while they run.

use super::JobId;
use crate::units::Volts;
use serde::{Deserialize, Serialize};

/// What the amplifiers of a trace see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceSource {
    /// The array with this row at the trace's voltage and the others at 0 V.
    Row(u16),
    /// The array with every row disconnected.
    Open,
    /// Reference resistors with this row's driver, the array disconnected; that of the column alone if one is sampled,
    /// else all.
    Reference(u16),
    /// The array alone, its rows disconnected: this column's bias driver at the trace's voltage, the other columns' amplifiers.
    /// What they see has come through its bias switch and two cells each.
    Bias(u16),
    /// As [`Row`](Self::Row), with `driven` at the trace's voltage, and another row's (or its own) forming resistor in circuit.
    Forming {
        /// The row whose resistor isn't bypassed.
        row: u16,
        /// The row at the trace's voltage.
        driven: u16,
    },
    /// The array with this row at the trace's voltage and every other one disconnected: what the others' load does to it is
    /// missing.
    RowAlone(u16),
}

/// A trace of neighbouring columns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The job's number, new.
    pub job: JobId,
    /// What is sampled.
    pub source: TraceSource,
    /// Voltage of the driver, either sign; 0 where nothing is driven.
    pub volts: Volts,
    /// First column.
    pub column: u16,
    /// Columns, at least 1.
    pub columns: u16,
    /// Index of the feedback setting.
    pub range: u8,
    /// Samples, at least 1.
    pub samples: u32,
    /// From one conversion to the next, ns; at least what a conversion takes.
    pub interval_ns: u32,
    /// Conversions summed in one sample, at least 1.
    pub summed: u16,
}

impl Trace {
    /// Bytes of one column's part of a sample: an i16 code, or an i32 sum of several.
    #[must_use]
    pub const fn code_bytes(summed: u16) -> usize {
        if summed == 1 { 2 } else { 4 }
    }
}

/// Samples of a trace, as they are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Samples<'a> {
    /// First sample here, counted from the trace's first.
    pub offset: u32,
    /// Samples taken so far.
    pub taken: u32,
    /// Conversions of any sampled column so far that were beyond the linear range.
    pub saturated: u32,
    /// Instrument time of the trace's first conversion, ns.
    pub first_at_ns: u64,
    /// (samples, columns): ADC codes, i16 if one conversion was asked for, else i32 sums.
    #[serde(serialize_with = "crate::bytes::whole")]
    pub codes: &'a [u8],
}
