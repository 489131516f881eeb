//! Calibration of the analog path: what the drivers, amplifiers and devices of this board really do, traceable to the
//! reference resistors, with uncertainties; and its use on products.
//!
//! | module | what it is |
//! | --- | --- |
//! | `procedure` | measures all of it |
//! | `settling` | when the path has settled, found by sampling before it has |
//! | `hum` | whether the mains is picked up, and how conversions are spaced against it |
//! | `linearity` | how far drivers and converters are from straight lines |
//! | `curvature` | nonlinearity of the devices' I–V curves |
//! | `series` | resistance in series with rows and columns |
//! | `effective` | the matrix that the array multiplies by, measured in circuit |
//! | `conductance` | reads of cells |
//! | `correction` | inputs and outputs of products |
//! | `compact` | the shorter form in which a large board's fits its flash |
//! | `on_board` | the one in force, kept in the board's flash with those before it |
//!
//! Voltages are in units of the mean row driver, so that conductances are ratios to R_cal whatever the converters'
//! absolute scale is; a current carries that scale's uncertainty besides.

mod compact;
mod conductance;
mod correction;
mod curvature;
mod effective;
mod hum;
mod linearity;
pub mod on_board;
mod part;
mod procedure;
mod series;
mod settling;

pub use conductance::{Conductances, UNCALIBRATED};
pub use correction::{Corrections, Drift};
pub use curvature::Curvature;

pub use effective::{Effective, EffectiveSettings, LineGains, relative_difference};
pub use hum::Hum;
pub use linearity::Linearity;
pub use procedure::{Check, Moved, Plan, calibrate, check};
pub use series::Series;
pub use settling::Settling;

use compact::Compact;
use ohmrig_protocol::message::MAX_RECORD_BYTES;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A value with its standard uncertainty, in the same unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Its standard uncertainty.
    pub u: f64,
}

/// One row's driver.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Driver {
    /// Output against that of the mean driver.
    pub gain: Estimate,
    /// Output at the code of 0 V against the mean driver's, V.
    pub offset_v: Estimate,
}

/// One column's amplifier and converter in one range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Amplifier {
    /// Converter volts per ampere out of the column, Ω.
    pub ohms: Estimate,
    /// The part of `ohms.u` that a measurement repeated at once shares nothing of, Ω.
    pub repeatability_ohms: f64,
    /// Deepest part of the converter's range that R_cal could reach, as a fraction of it.
    pub filled: f64,
}

/// What was found out about a board at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Board name.
    pub board: String,
    /// When, seconds since 1970-01-01 UTC by the host's clock.
    pub unix_s: u64,
    /// When by the instrument's clock, ns.
    pub at_ns: u64,
    /// Beside the array.
    pub temperature_k: Option<f64>,
    /// By row.
    pub drivers: Vec<Driver>,
    /// By range, then column.
    pub ranges: Vec<Vec<Amplifier>>,
    /// Of drivers and converters.
    pub linearity: Linearity,
    /// The mains, if it is picked up.
    pub hum: Hum,
    /// By range; empty if no cell conducts enough to tell.
    pub settling: Vec<Settling>,
    /// Of the devices; `None` if none conducts enough to tell.
    pub curvature: Option<Curvature>,
    /// In series with rows and columns; `None` if the array doesn't conduct enough to tell.
    pub series: Option<Series>,
}

/// A calibration that doesn't fit what it is to be used on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another board.
    #[error(
        "the calibration is of board `{calibrated}`, this is `{board}`; run `ohmrig calibrate` on this one"
    )]
    Board {
        /// The calibration's.
        calibrated: String,
        /// The one at hand.
        board: String,
    },
    /// Another size.
    #[error(
        "the calibration is of {calibrated_rows} rows, {calibrated_columns} columns and {calibrated_ranges} ranges, \
         this board has {rows}, {columns} and {ranges}; run `ohmrig calibrate` on this one"
    )]
    Size {
        /// The calibration's.
        calibrated_rows: usize,
        /// The calibration's.
        calibrated_columns: usize,
        /// The calibration's.
        calibrated_ranges: usize,
        /// The board's.
        rows: usize,
        /// The board's.
        columns: usize,
        /// The board's.
        ranges: usize,
    },
    /// Bytes that are no calibration of this version.
    #[error("these {bytes} bytes are not a calibration of this version; run `ohmrig calibrate`")]
    Format {
        /// How many.
        bytes: usize,
    },
}

/// What the compact form begins with. The full one begins with the length of the board's name, and no board is called nothing.
const COMPACT: u8 = 0;

fn id(hash: &[u8; 32]) -> String {
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Calibration {
    /// A number that names it: the first eight bytes of the SHA-256 of its bytes, in hexadecimal.
    #[must_use]
    pub fn id(&self) -> String {
        id(&Sha256::digest(self.to_bytes()).into())
    }

    /// As stored on the board: in full, or, where a record is too short for that, compact, behind a byte of zero.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Numbers, text and lists of them: nothing in it that the format can't hold.
        let full = postcard::to_allocvec(self).unwrap_or_default();
        if full.len() as u64 <= u64::from(MAX_RECORD_BYTES) {
            return full;
        }
        let mut compact = vec![COMPACT];
        compact.extend(postcard::to_allocvec(&Compact::from(self)).unwrap_or_default());
        compact
    }

    /// The reverse of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`Mismatch::Format`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
        let read = match bytes {
            [COMPACT, rest @ ..] => {
                postcard::take_from_bytes::<Compact>(rest).map(|(compact, rest)| (compact.into(), rest))
            }
            _ => postcard::take_from_bytes(bytes),
        };
        match read {
            Ok((calibration, [])) => Ok(calibration),
            _ => Err(Mismatch::Format { bytes: bytes.len() }),
        }
    }

    /// Whether it belongs to a board of this name and size.
    ///
    /// # Errors
    /// [`Mismatch`] with both sides.
    pub fn require(&self, board: &str, rows: usize, columns: usize, ranges: usize) -> Result<(), Mismatch> {
        if self.board != board {
            return Err(Mismatch::Board { calibrated: self.board.clone(), board: board.to_owned() });
        }
        let calibrated_columns = self.ranges.first().map_or(0, Vec::len);
        if (self.drivers.len(), calibrated_columns, self.ranges.len()) == (rows, columns, ranges) {
            return Ok(());
        }
        Err(Mismatch::Size {
            calibrated_rows: self.drivers.len(),
            calibrated_columns,
            calibrated_ranges: self.ranges.len(),
            rows,
            columns,
            ranges,
        })
    }
}
