//! Log frames of a session, on their way to whoever reads them.

use super::link::{Frame, decode_body};
use ohmrig_protocol::frame::SessionId;
use ohmrig_protocol::log::LogRecords;
use std::collections::VecDeque;

/// What one log frame brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogBatch {
    /// Log frames before this one that didn't arrive.
    pub frames_lost: u32,
    /// Records before these that the device had no room for.
    pub dropped: u32,
    /// Whole records, as defmt encodes them.
    pub records: Vec<u8>,
}

/// Takes batches as they come.
pub type LogListener = Box<dyn FnMut(LogBatch) + Send>;

/// Batches that wait until somebody listens.
const MOST_WAITING: usize = 256;

/// The log of one session.
#[derive(Default)]
pub(super) struct LogInbox {
    session: SessionId,
    next: u32,
    waiting: VecDeque<LogBatch>,
    /// Batches given up because nobody listens.
    overflown: u32,
    listener: Option<LogListener>,
}

impl LogInbox {
    /// A new session counts anew.
    pub(super) fn begin(&mut self, session: SessionId) {
        self.session = session;
        self.next = 0;
    }

    /// Takes a log frame; one of another session, or late, is nobody's.
    pub(super) fn take(&mut self, frame: &Frame) {
        let Frame { header, body } = frame;
        if header.session != self.session || header.sequence < self.next {
            return;
        }
        let Ok(LogRecords { dropped, records }) = decode_body(body) else { return };
        let frames_lost = header.sequence - self.next;
        self.next = header.sequence.saturating_add(1);
        let batch = LogBatch { frames_lost, dropped, records: records.to_vec() };
        match &mut self.listener {
            Some(listener) => listener(batch),
            None => {
                if self.waiting.len() == MOST_WAITING {
                    self.waiting.pop_front();
                    self.overflown = self.overflown.saturating_add(1);
                }
                self.waiting.push_back(batch);
            }
        }
    }

    pub(super) fn listen(&mut self, mut listener: LogListener) {
        if self.overflown > 0 {
            listener(LogBatch { frames_lost: self.overflown, ..LogBatch::default() });
        }
        self.overflown = 0;
        self.waiting.drain(..).for_each(&mut listener);
        self.listener = Some(listener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ohmrig_protocol::frame::{Header, Kind};
    use std::sync::{Arc, Mutex};

    const SESSION: SessionId = SessionId::from_bits(7);

    fn frame(session: SessionId, sequence: u32, record: u8) -> Frame {
        let records = LogRecords { dropped: 0, records: &[record, 0] };
        let body = postcard::to_allocvec(&records).unwrap();
        Frame { header: Header { version: 0, kind: Kind::Log, session, sequence }, body }
    }

    /// What a listener hears from now on: lost frames and first bytes.
    fn listen(inbox: &mut LogInbox) -> Arc<Mutex<Vec<(u32, u8)>>> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        inbox.listen(Box::new(move |batch| {
            ear.lock().unwrap().push((batch.frames_lost, batch.records.first().copied().unwrap_or(0)));
        }));
        heard
    }

    #[test]
    fn what_came_before_anybody_listened_is_heard_first_and_lost_frames_are_counted() {
        let mut inbox = LogInbox::default();
        inbox.begin(SESSION);
        inbox.take(&frame(SESSION, 0, 1));
        inbox.take(&frame(SESSION, 2, 2));
        let heard = listen(&mut inbox);
        inbox.take(&frame(SESSION, 3, 3));
        assert_eq!(*heard.lock().unwrap(), [(0, 1), (1, 2), (0, 3)]);
    }

    #[test]
    fn frames_of_another_session_and_frames_that_come_twice_are_not_heard() {
        let mut inbox = LogInbox::default();
        inbox.begin(SESSION);
        let heard = listen(&mut inbox);
        inbox.take(&frame(SessionId::from_bits(6), 0, 1));
        inbox.take(&frame(SESSION, 0, 2));
        inbox.take(&frame(SESSION, 0, 2));
        inbox.begin(SessionId::from_bits(8));
        inbox.take(&frame(SessionId::from_bits(8), 0, 3));
        assert_eq!(*heard.lock().unwrap(), [(0, 2), (0, 3)]);
    }

    #[test]
    fn a_log_that_nobody_reads_keeps_its_end_and_says_what_is_missing() {
        let mut inbox = LogInbox::default();
        inbox.begin(SESSION);
        for sequence in 0..MOST_WAITING as u32 + 5 {
            inbox.take(&frame(SESSION, sequence, 1));
        }
        let heard = listen(&mut inbox);
        assert_eq!(heard.lock().unwrap().len(), MOST_WAITING + 1);
        assert_eq!(heard.lock().unwrap()[0], (5, 0));
    }
}
