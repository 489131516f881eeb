//! Log records on the link: what the firmware has to say besides answers.
//!
//! A device sends a frame of kind [`Log`](crate::frame::Kind::Log) only within a session and only while nothing else waits to be
//! sent. Its sequence number counts the session's log frames from 0, so that a host sees which were lost on the way; none
//! is ever sent again, and none is answered.

use serde::{Deserialize, Serialize};

/// Most bytes of records in one frame, so that a reply behind it waits for next to nothing; also the longest record.
pub const MAX_RECORD_BYTES: usize = 160;

/// Device → host: some records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecords<'a> {
    /// Records lost for want of room since the frame before; the newest are lost first.
    pub dropped: u32,
    /// Whole records as defmt encodes them (rzCOBS, each ended by `0x00`): the image that sent them is needed to read them.
    #[serde(serialize_with = "crate::bytes::whole")]
    pub records: &'a [u8],
}
