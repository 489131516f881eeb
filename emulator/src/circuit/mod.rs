//! The array as a resistor network: node voltages and output currents, exact to the stated tolerance.
//!
//! [`lumped`] holds when the array's own wires are ideal and only the lines' sources have resistance, [`wired`] when
//! the wires themselves have some; [`mod@array`] picks between them and handles nonlinear devices.

pub mod array;
pub mod law;
pub mod lumped;
pub mod wired;

pub use array::{Ends, Wires, operate, solve};
pub use law::CurrentLaw;

/// What is connected to one end of a row or column.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Line {
    /// A voltage source of `volts` (V) behind `ohms` (Ω, 0 or more).
    Driven {
        /// Source voltage (V).
        volts: f64,
        /// Source resistance (Ω).
        ohms: f64,
    },
    /// Nothing.
    Floating,
}

impl Line {
    /// Source voltage, or nothing if floating (V).
    pub fn volts(&self) -> Option<f64> {
        match *self {
            Self::Driven { volts, .. } => Some(volts),
            Self::Floating => None,
        }
    }

    /// The same connection with its source at 0 V.
    pub fn grounded(&self) -> Self {
        match *self {
            Self::Driven { ohms, .. } => Self::Driven { volts: 0.0, ohms },
            Self::Floating => Self::Floating,
        }
    }
}

/// Why a network has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CircuitError {
    /// A slice has the wrong length.
    #[error("{what}: {got} values where the array needs {expected}")]
    Shape {
        /// Which slice.
        what: &'static str,
        /// Length needed.
        expected: usize,
        /// Length given.
        got: usize,
    },
    /// A value that no circuit could have.
    #[error("{what} number {index} is {value}; allowed is {allowed}")]
    Value {
        /// Which quantity.
        what: &'static str,
        /// Position of the value.
        index: usize,
        /// The value.
        value: f64,
        /// What it may be.
        allowed: &'static str,
    },
    /// The iteration stopped short of its tolerance.
    #[error(
        "no solution after {iterations} iterations: the last correction was {residual:e}, the tolerance {tolerance:e}"
    )]
    NotConverged {
        /// Relative size of the last correction.
        residual: f64,
        /// What it should have become.
        tolerance: f64,
        /// How many iterations were made.
        iterations: u32,
    },
    /// A device whose current outgrows any number that the iteration could work with.
    #[error(
        "no solution: after {iterations} iterations a device has {volts} V across it, where its law's slope is beyond 1e9 S; lower voltages or a less steep law have one"
    )]
    TooSteep {
        /// Across the device (V).
        volts: f64,
        /// Relative size of the last correction; 1 before any.
        residual: f64,
        /// How many iterations were made.
        iterations: u32,
    },
    /// An interval that ends before it begins.
    #[error("lines held from {from_ns} ns to {to_ns} ns, which is earlier")]
    Backwards {
        /// Start (ns).
        from_ns: u64,
        /// End (ns).
        to_ns: u64,
    },
}

pub(crate) fn check_length(what: &'static str, got: usize, expected: usize) -> Result<(), CircuitError> {
    if got == expected { Ok(()) } else { Err(CircuitError::Shape { what, expected, got }) }
}

pub(crate) fn check_lines(what: &'static str, lines: &[Line], expected: usize) -> Result<(), CircuitError> {
    check_length(what, lines.len(), expected)?;
    for (index, line) in lines.iter().enumerate() {
        if let Line::Driven { volts, ohms } = *line {
            let bad = |value, allowed| Err(CircuitError::Value { what, index, value, allowed });
            if !(-1e3..=1e3).contains(&volts) {
                return bad(volts, "-1000 to 1000 V");
            }
            if !(ohms == 0.0 || (1e-3..=1e12).contains(&ohms)) {
                return bad(ohms, "0, or 0.001 to 1e12 Ω");
            }
        }
    }
    Ok(())
}
