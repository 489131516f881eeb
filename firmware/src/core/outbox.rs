//! Encoded frames on their way to the host.

use super::link::CachedReply;
use ohmrig_protocol::frame::{Body, FrameError, Header, Kind, SessionId, decode, encode, encoded_bytes};
use ohmrig_protocol::log::LogRecords;
use ohmrig_protocol::session::MAX_CACHED_REPLY_BYTES;
use ohmrig_protocol::version;

/// Largest body of a frame the link itself sends (a welcome).
const LINK_BODY_BYTES: usize = 48;

/// A queue of encoded frames, back to back.
#[derive(Debug)]
pub(super) struct Outbox<'b> {
    buffer: &'b mut [u8],
    filled: usize,
    /// How many of the first bytes are log records.
    log: usize,
}

impl<'b> Outbox<'b> {
    pub(super) fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, filled: 0, log: 0 }
    }

    /// What is to be sent.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// Forgets the first `bytes`, and returns how many of them weren't log records.
    pub(super) fn sent(&mut self, bytes: usize) -> usize {
        let bytes = bytes.min(self.filled);
        if bytes == 0 {
            return 0;
        }
        self.buffer.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
        let log = bytes.min(self.log);
        self.log -= log;
        bytes - log
    }

    /// A frame of log records, into an empty queue.
    pub(super) fn push_log(
        &mut self,
        session: SessionId,
        sequence: u32,
        records: &LogRecords<'_>,
    ) -> Result<(), FrameError> {
        self.push(Kind::Log, session, sequence, records)?;
        self.log = self.filled;
        Ok(())
    }

    /// Whether a frame of up to `encoded` bytes fits.
    pub(super) fn has_room(&self, encoded: usize) -> bool {
        self.buffer.len() - self.filled >= encoded
    }

    /// Whether any frame of the link itself fits.
    pub(super) fn has_link_room(&self) -> bool {
        self.has_room(encoded_bytes(LINK_BODY_BYTES))
    }

    #[inline(never)]
    pub(super) fn push(
        &mut self,
        kind: Kind,
        session: SessionId,
        sequence: u32,
        body: &dyn Body,
    ) -> Result<(), FrameError> {
        let header = Header { version: version::CURRENT, kind, session, sequence };
        self.filled += encode(header, body, self.buffer.get_mut(self.filled..).unwrap_or_default())?;
        Ok(())
    }

    /// As [`push`](Self::push), and gives back what the link has to remember of a *once* request's reply. Taken from the
    /// frame itself, so that images needn't carry a second serializer.
    pub(super) fn push_once(
        &mut self,
        session: SessionId,
        sequence: u32,
        body: &dyn Body,
    ) -> (Result<(), FrameError>, Option<CachedReply>) {
        let from = self.filled;
        let pushed = self.push(Kind::Reply, session, sequence, body);
        let mut frame = [0; encoded_bytes(MAX_CACHED_REPLY_BYTES)];
        // Without the delimiter.
        let sent = self.buffer.get(from..self.filled.saturating_sub(1)).unwrap_or_default();
        let body = frame.get_mut(..sent.len()).and_then(|copy| {
            copy.copy_from_slice(sent);
            let (_, body) = decode(copy).ok()?;
            CachedReply::new(body)
        });
        (pushed, body)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]
    use super::*;

    #[test]
    fn log_records_that_have_left_are_not_counted_as_answers() {
        let mut buffer = [0; 512];
        let mut outbox = Outbox::new(&mut buffer);
        let session = SessionId::from_bits(7);
        outbox.push_log(session, 0, &LogRecords { dropped: 0, records: &[1, 0] }).unwrap();
        let log = outbox.bytes().len();
        outbox.push(Kind::Reply, session, 3, &7u8).unwrap();
        let reply = outbox.bytes().len() - log;
        assert_eq!(outbox.sent(log - 1), 0);
        assert_eq!(outbox.sent(3), 2);
        assert_eq!(outbox.sent(usize::MAX), reply - 2);
        assert_eq!(outbox.bytes(), []);
        outbox.push(Kind::Reply, session, 4, &7u8).unwrap();
        assert_eq!(outbox.sent(usize::MAX), reply);
    }
}
