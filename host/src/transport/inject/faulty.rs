//! The transport that wraps another one and passes what goes through it by way of two faulty lanes.

use super::lane::Reset;
use super::{Inject, Lane, Tally};
use crate::transport::{Pace, Transport, TransportError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a piece waits for another one to be merged with.
const MERGE: Duration = Duration::from_millis(2);

/// Longest that a device in this process is given to deal with a frame before it is power-cycled.
const BEFORE_RESET: Duration = Duration::from_millis(200);

/// A transport with faults.
pub struct Faulty {
    inner: Box<dyn Transport>,
    to_device: Lane,
    to_host: Lane,
    /// Of a piece that the reader's buffer was too small for.
    rest: Vec<u8>,
    tally: Arc<Tally>,
}

impl Faulty {
    /// Wraps a transport. Power cycles work on one whose device is in this process.
    #[must_use]
    pub fn new(inner: Box<dyn Transport>, inject: Inject) -> Self {
        let tally = Arc::new(Tally::default());
        Self {
            inner,
            to_device: Lane::to_device(inject, Arc::clone(&tally)),
            to_host: Lane::to_host(inject, Arc::clone(&tally)),
            rest: Vec::new(),
            tally,
        }
    }

    /// What is injected, counted as it happens.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Sends what has arrived at the device's end.
    fn pump(&mut self, hurry: bool) -> Result<(), TransportError> {
        while let Some(piece) = self.to_device.take(Instant::now(), hurry) {
            if piece.reset == Some(Reset::Before) {
                self.inner.power_cycle()?;
                continue;
            }
            self.inner.write_all(&piece.bytes)?;
            if piece.reset == Some(Reset::After) {
                let end = Instant::now() + BEFORE_RESET;
                let mut lost = [0; 4096];
                while !self.inner.is_silent() && Instant::now() < end {
                    self.inner.read(&mut lost, Duration::from_millis(1))?;
                }
                self.inner.power_cycle()?;
            }
        }
        Ok(())
    }
}

impl Transport for Faulty {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        self.to_device.feed(bytes, Instant::now());
        self.pump(false)
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
        let end = Instant::now() + timeout;
        let mut raw = [0; 4096];
        let mut hurry = false;
        loop {
            self.pump(true)?;
            let now = Instant::now();
            if self.rest.is_empty()
                && let Some(piece) = self.to_host.take(now, hurry)
            {
                self.rest = piece.bytes;
            }
            if !self.rest.is_empty() {
                let bytes = buffer.len().min(self.rest.len());
                buffer[..bytes].copy_from_slice(&self.rest[..bytes]);
                self.rest.drain(..bytes);
                return Ok(bytes);
            }
            if now >= end {
                return Ok(0);
            }
            let due = self.to_device.stalled_until(now).map_or(end, |due| due.min(end));
            if let Some(stalled) = self.to_host.stalled_until(now) {
                // A reader that doesn't read: what the device says backs up where it is.
                std::thread::sleep(due.min(stalled) - now);
                continue;
            }
            let waits_for_more = !self.to_host.is_empty();
            let wait = if waits_for_more { MERGE.min(due - now) } else { due - now };
            let bytes = self.inner.read(&mut raw, wait)?;
            self.to_host.feed(&raw[..bytes], Instant::now());
            hurry = waits_for_more && bytes == 0;
            if bytes == 0 && self.is_silent() {
                return Ok(0);
            }
        }
    }

    fn pace(&self) -> Pace {
        self.inner.pace()
    }

    fn is_silent(&self) -> bool {
        self.to_device.is_empty() && self.to_host.is_empty() && self.rest.is_empty() && self.inner.is_silent()
    }

    fn keep_state(&mut self) -> Result<(), TransportError> {
        self.inner.keep_state()
    }

    fn power_cycle(&mut self) -> Result<(), TransportError> {
        self.inner.power_cycle()
    }
}
