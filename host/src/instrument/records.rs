//! Calibration records in the device's flash: opaque here, checked on both ways.

use super::{Instrument, InstrumentError, unexpected};
use ohmrig_protocol::frame::crc32;
use ohmrig_protocol::message::{
    MAX_RECORD_BYTES, RECORD_CHUNK_BYTES, RECORD_ENTRY_BYTES, RecordEntry, RecordLabel, Reply, Request,
};
use sha2::{Digest, Sha256};

/// A record that is in force now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its number.
    pub number: u32,
    /// The record that had to go for it, if the history of its kind was full.
    pub dropped: Option<u32>,
}

impl Instrument {
    /// The records a device has, oldest first.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn records(&mut self) -> Result<Vec<RecordEntry>, InstrumentError> {
        self.client.request(&Request::ListRecords, |reply| match *reply {
            Reply::Records { entries } => {
                Ok(entries.as_chunks::<RECORD_ENTRY_BYTES>().0.iter().map(RecordEntry::from_bytes).collect())
            }
            ref other => Err(unexpected("list records", other)),
        })
    }

    /// Stores a record of a kind and puts it in force, all at once: until then, and if anything goes wrong, the one before
    /// holds. `date` is in seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// [`InstrumentError::Argument`] for a record too long or empty, [`InstrumentError::Refused`] without room.
    pub fn store_record(
        &mut self,
        kind: u8,
        date: u64,
        data: &[u8],
    ) -> Result<StoredRecord, InstrumentError> {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if !(1..=MAX_RECORD_BYTES).contains(&length) {
            return Err(InstrumentError::Argument(format!(
                "a record of {} bytes; the device keeps 1 to {MAX_RECORD_BYTES}",
                data.len()
            )));
        }
        let hash = Sha256::digest(data).into();
        let label = RecordLabel { kind, date, length, crc: crc32(data), hash };
        self.done(&Request::BeginRecord(label), "begin record")?;
        let chunks = (0..length).step_by(RECORD_CHUNK_BYTES).zip(data.chunks(RECORD_CHUNK_BYTES));
        let chunks = chunks.map(|(offset, data)| Request::RecordChunk { offset, data });
        self.client.pipeline(chunks, |_, reply| match reply {
            Reply::Done => Ok(()),
            other => Err(unexpected("record chunk", other)),
        })?;
        self.client.request(&Request::CommitRecord, |reply| match *reply {
            Reply::RecordStored { number, dropped } => Ok(StoredRecord { number, dropped }),
            ref other => Err(unexpected("commit record", other)),
        })
    }

    /// A record's data, checked against its CRC and hash.
    ///
    /// # Errors
    /// [`InstrumentError::Argument`] if they don't match the label.
    pub fn read_record(&mut self, entry: &RecordEntry) -> Result<Vec<u8>, InstrumentError> {
        let RecordEntry { number, label, .. } = *entry;
        let offsets = (0..label.length).step_by(RECORD_CHUNK_BYTES);
        let mut data = Vec::new();
        self.client.pipeline(offsets.map(|offset| Request::ReadRecord { number, offset }), |_, reply| {
            match *reply {
                Reply::Record { offset, data: chunk } if offset as usize == data.len() => {
                    data.extend_from_slice(chunk);
                    Ok(())
                }
                ref other => Err(unexpected("read record", other)),
            }
        })?;
        let hash: [u8; 32] = Sha256::digest(&data).into();
        if data.len() != label.length as usize || crc32(&data) != label.crc || hash != label.hash {
            return Err(InstrumentError::Argument(format!(
                "record {number} is not what was stored: {} bytes with CRC {:#010x} for {} with {:#010x}",
                data.len(),
                crc32(&data),
                label.length,
                label.crc
            )));
        }
        Ok(data)
    }

    /// The record of a kind that is in force, with its data.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn record_in_force(&mut self, kind: u8) -> Result<Option<(RecordEntry, Vec<u8>)>, InstrumentError> {
        let records = self.records()?;
        match records.into_iter().find(|entry| entry.in_force && entry.label.kind == kind) {
            Some(entry) => Ok(Some((entry, self.read_record(&entry)?))),
            None => Ok(None),
        }
    }

    /// Puts an earlier record in force again for its kind.
    ///
    /// # Errors
    /// [`InstrumentError::Refused`] if there is no such record.
    pub fn roll_back_record(&mut self, number: u32) -> Result<(), InstrumentError> {
        self.done(&Request::RollBackRecord { number }, "roll back record")
    }
}
