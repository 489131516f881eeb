//! Calibrations in the board's flash: the one in force, those before it, and going back.

use super::{Calibration, Mismatch};
use crate::instrument::{Instrument, InstrumentError, StoredRecord};
use ohmrig_protocol::message::{MAX_RECORD_BYTES, RecordEntry};

/// Kind of the records that hold calibrations.
const KIND: u8 = 1;

/// A calibration that the board keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    entry: RecordEntry,
}

/// Why a board's calibration can't be had.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// The board didn't give it.
    #[error(transparent)]
    Instrument(#[from] InstrumentError),
    /// It is there and isn't readable here.
    #[error("calibration record {number} on the board: {mismatch}")]
    Unreadable {
        /// Its number.
        number: u32,
        /// Why.
        mismatch: Mismatch,
    },
    /// It doesn't fit.
    #[error(
        "a calibration of {bytes} bytes; the board keeps up to {most}: keep it with --output FILE --no-store"
    )]
    TooLong {
        /// How many it has.
        bytes: usize,
        /// How many there may be.
        most: u32,
    },
}

impl Kept {
    /// Its number, by which [`roll_back`] knows it.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.entry.number
    }

    /// [`Calibration::id`] of what it holds.
    #[must_use]
    pub fn id(&self) -> String {
        super::id(&self.entry.label.hash)
    }

    /// Whether it is the one that holds.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        self.entry.in_force
    }

    /// When it was made, seconds since 1970-01-01 UTC by that host's clock.
    #[must_use]
    pub fn unix_s(&self) -> u64 {
        self.entry.label.date
    }

    /// The calibration itself.
    ///
    /// # Errors
    /// [`KeptError`], for one of another version too.
    pub fn read(&self, instrument: &mut Instrument) -> Result<Calibration, KeptError> {
        let bytes = instrument.read_record(&self.entry)?;
        let number = self.entry.number;
        Calibration::from_bytes(&bytes).map_err(|mismatch| KeptError::Unreadable { number, mismatch })
    }
}

/// What the board keeps, oldest first; nothing if its flash can't be used.
///
/// # Errors
/// [`InstrumentError`].
pub fn history(instrument: &mut Instrument) -> Result<Vec<Kept>, InstrumentError> {
    if instrument.device().storage.is_some() {
        return Ok(Vec::new());
    }
    let records = instrument.records()?;
    Ok(records.into_iter().filter(|entry| entry.label.kind == KIND).map(|entry| Kept { entry }).collect())
}

/// The one that holds, if the board has any.
///
/// # Errors
/// [`InstrumentError`].
pub fn in_force(instrument: &mut Instrument) -> Result<Option<Kept>, InstrumentError> {
    Ok(history(instrument)?.into_iter().find(Kept::is_in_force))
}

/// Has the board keep a calibration, in force from now on. The one before stays in the history.
///
/// # Errors
/// [`KeptError`].
pub fn store(instrument: &mut Instrument, calibration: &Calibration) -> Result<StoredRecord, KeptError> {
    let bytes = calibration.to_bytes();
    if bytes.len() as u64 > u64::from(MAX_RECORD_BYTES) {
        return Err(KeptError::TooLong { bytes: bytes.len(), most: MAX_RECORD_BYTES });
    }
    Ok(instrument.store_record(KIND, calibration.unix_s, &bytes)?)
}

/// Puts an earlier one in force again.
///
/// # Errors
/// [`InstrumentError::Argument`] if the board has none of that number.
pub fn roll_back(instrument: &mut Instrument, number: u32) -> Result<(), InstrumentError> {
    let kept = history(instrument)?;
    if kept.iter().all(|kept| kept.number() != number) {
        let numbers: Vec<String> = kept.iter().map(|kept| kept.number().to_string()).collect();
        let numbers = if numbers.is_empty() { "none".to_owned() } else { numbers.join(", ") };
        return Err(InstrumentError::Argument(format!(
            "calibration {number} is not on the board; it has {numbers}"
        )));
    }
    instrument.roll_back_record(number)
}
