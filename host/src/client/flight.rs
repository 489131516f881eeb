//! Requests on their way, in the order they were sent.

use super::LinkError;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A request sent and not yet answered.
pub(super) struct InFlight {
    pub(super) sequence: u32,
    /// Position in the pipeline's requests.
    pub(super) index: usize,
    pub(super) name: &'static str,
    pub(super) once: bool,
    pub(super) frame: Vec<u8>,
    /// Time for an answer from the moment it is the oldest.
    pub(super) budget: Duration,
    pub(super) sent_at: Instant,
    pub(super) attempts: u32,
    pub(super) answered: bool,
}

/// The requests in flight, oldest first.
pub(super) struct Flight {
    pub(super) waiting: VecDeque<InFlight>,
    /// Since when the oldest has been the oldest, or was last sent.
    pub(super) since: Instant,
    pub(super) went_back_to: Option<u32>,
    /// Time-outs in a row of what is the oldest now.
    pub(super) timeouts: u32,
}

impl Default for Flight {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), since: Instant::now(), went_back_to: None, timeouts: 0 }
    }
}

impl Flight {
    pub(super) fn push(&mut self, one: InFlight) {
        if self.waiting.is_empty() {
            self.since = Instant::now();
            self.timeouts = 0;
        }
        self.waiting.push_back(one);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|one| self.since + one.budget)
    }

    pub(super) fn name_of(&self, sequence: u32) -> Option<&'static str> {
        self.waiting.iter().find(|one| one.sequence == sequence && !one.answered).map(|one| one.name)
    }

    /// Notes an answer; `None` for one that nobody waits for.
    pub(super) fn answer(&mut self, sequence: u32) -> Option<(usize, &'static str)> {
        let one = self.waiting.iter_mut().find(|one| one.sequence == sequence && !one.answered)?;
        one.answered = true;
        let answered = (one.index, one.name);
        while self.waiting.front().is_some_and(|one| one.answered) {
            self.waiting.pop_front();
            self.since = Instant::now();
            self.timeouts = 0;
        }
        Some(answered)
    }

    /// Unanswered *once* requests.
    pub(super) fn unknown(&self) -> u32 {
        self.waiting.iter().filter(|one| one.once && !one.answered).count() as u32
    }

    pub(super) fn with_unknown(&self, error: LinkError) -> LinkError {
        match error {
            LinkError::Interrupted { .. } => LinkError::Interrupted { unknown: self.unknown() },
            other => other,
        }
    }
}
