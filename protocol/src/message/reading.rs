//! Reads and products: what is asked, and the sums that come back.

use crate::bytes::joined;
use crate::units::Volts;
use serde::{Deserialize, Serialize};

/// Most conversions one request may ask for; anything longer is a job or several requests.
pub const MAX_CONVERSIONS: u32 = 4096;

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
    /// From the row's edge to the first sample, ns, to watch the analog path settle; `None` waits until it has.
    pub delay_ns: Option<u32>,
}

/// One row driver through the reference resistors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadReference {
    /// The row whose driver is used.
    pub row: u16,
    /// The one column whose reference resistor is connected: the driver's switch then carries one resistor's current.
    /// `None` connects all of them, and the switch's resistance shows.
    pub column: Option<u16>,
    /// Voltage, positive.
    pub volts: Volts,
    /// Index of the feedback setting.
    pub range: u8,
    /// Conversions at each polarity, at least 1.
    pub conversions: u16,
    /// From one conversion to the next, ns, to average over a period of hum; 0 for as fast as they go.
    pub interval_ns: u32,
}

/// Matrix-vector products: each vector's codes on the rows, every column sampled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mvm<'a> {
    /// Index of the feedback setting.
    pub range: u8,
    /// Conversions per vector, at least 1.
    pub conversions: u16,
    /// From one conversion of a vector to the next, ns, to average over a period of hum; 0 for as fast as they go.
    pub interval_ns: u32,
    /// (vectors, rows): DAC codes, u16. Last, so that the device finds them at the end of the body.
    #[serde(serialize_with = "crate::bytes::whole")]
    pub codes: &'a [u8],
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
        joined(&[
            &self.plus.to_le_bytes(),
            &self.plus_squares.to_le_bytes(),
            &self.minus.to_le_bytes(),
            &self.minus_squares.to_le_bytes(),
        ])
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
