//! Following a job on the device: looks at how far it is, fetches what it has finished, through lost links, to its end.

use super::books::{Books, CellDone, JobNote, is_final};
use super::{Instrument, InstrumentError, unexpected};
use crate::client::LinkError;
use ohmrig_protocol::message::{
    CELL_RESULT_BYTES, CellResult, JobEnd, JobId, JobState, Refusal, Reply, Request,
};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Each arming lasts this long; it is renewed long before it ends.
pub(super) const ARM_MS: u32 = 10_000;
const RENEW: Duration = Duration::from_secs(4);

/// Longest time from one look to the next: an armed device takes two seconds of silence for a lost link.
const LONGEST_LOOK: Duration = Duration::from_millis(500);

/// A job is looked at about this many times; what it has finished is fetched when another such part of it is done. More
/// looks make what a reset leaves unknown smaller and cost round trips: a 16 × 16 array has 40 of them.
const LOOKS: u32 = 3;

/// Times a lost link is picked up again within one job.
pub(super) const RECONNECTS: u32 = 3;

/// What became of a job.
#[derive(Debug)]
pub(super) enum Followed {
    /// It ended, and its results were fetched and written down.
    Ended {
        /// How.
        end: JobEnd,
        /// Pulses in all.
        pulses: u64,
        /// Whether the link was lost on the way.
        reconnected: bool,
    },
    /// The device never had it.
    NeverStarted,
    /// The device was reset since it was sent.
    Reset,
}

/// Results of a job as they come in.
pub(super) struct Received {
    pub(super) cells: Vec<CellDone>,
    seen: BTreeSet<(u16, u16)>,
}

impl Received {
    pub(super) fn new(cells: &[CellDone]) -> Self {
        let seen =
            cells.iter().filter(|cell| is_final(&cell.result)).map(|cell| (cell.row, cell.column)).collect();
        Self { cells: cells.iter().filter(|cell| is_final(&cell.result)).copied().collect(), seen }
    }

    /// Adds what is new; returns where it begins.
    fn add(&mut self, cells: Vec<CellDone>, ended: bool) -> usize {
        let first = self.cells.len();
        for cell in cells {
            let counts = is_final(&cell.result) || ended && cell.result.pulses > 0;
            if counts && self.seen.insert((cell.row, cell.column)) {
                self.cells.push(cell);
            }
        }
        first
    }
}

/// When to look at a job again.
struct Looks {
    shortest: Duration,
    blind: Duration,
    begun: Instant,
}

impl Looks {
    fn new(shortest: Duration) -> Self {
        // Nothing is known of how long it takes: the first looks come at growing intervals.
        Self { shortest, blind: 4 * shortest, begun: Instant::now() }
    }

    /// The pause before the next look at a job that has finished `cells` `of` so many.
    fn pause(&mut self, cells: u32, of: u32) -> Duration {
        let pause = if cells == 0 {
            self.blind *= 2;
            self.blind / 2
        } else {
            let elapsed = self.begun.elapsed();
            let whole = elapsed.mul_f64(f64::from(of.max(cells)) / f64::from(cells));
            // As far as the end, and a little more, so that one look finds it.
            (whole / LOOKS).min(whole.saturating_sub(elapsed) + whole / 20)
        };
        pause.clamp(self.shortest, LONGEST_LOOK.max(self.shortest))
    }
}

impl Instrument {
    /// Follows a job to its end. `started` is what sending it led to; `arms` renews the arming, which a job that is
    /// only to be settled must not get.
    pub(super) fn follow(
        &mut self,
        job: &JobNote,
        started: Result<(), InstrumentError>,
        arms: bool,
        received: &mut Received,
        books: &mut dyn Books,
        progress: &mut dyn FnMut(u32, u64),
    ) -> Result<Followed, InstrumentError> {
        let mut reconnects = 0;
        let mut armed = Instant::now();
        let mut looks = Looks::new(self.client.look_every());
        let mut fetched = 0;
        let mut started = started;
        loop {
            let looked = started.and_then(|()| {
                if arms && armed.elapsed() > RENEW {
                    self.arm(ARM_MS)?;
                    armed = Instant::now();
                }
                let state = self.job_state(job.id)?;
                match state {
                    JobState::Running { cells, of, .. } if cells >= fetched + of / LOOKS && cells > 0 => {
                        fetched = cells;
                        let first = received.add(self.fetch(job)?, false);
                        self.client.keep_state()?;
                        let new = &received.cells[first..];
                        books.results(job.id, new).map_err(InstrumentError::NotKept)?;
                    }
                    JobState::Ended { end, .. } => {
                        let first = received.add(self.fetch(job)?, true);
                        self.client.keep_state()?;
                        let new = &received.cells[first..];
                        books.ended(job.id, new, Some(end)).map_err(InstrumentError::NotKept)?;
                        self.release_job(job.id)?;
                    }
                    _ => {}
                }
                Ok(state)
            });
            let pause = match looked {
                Ok(JobState::Running { cells, of, pulses }) => {
                    progress(cells, pulses);
                    looks.pause(cells, of)
                }
                Ok(JobState::Ended { end, cells, pulses, .. }) => {
                    progress(cells, pulses);
                    return Ok(Followed::Ended { end, pulses, reconnected: reconnects > 0 });
                }
                Ok(JobState::Unknown { boot_nonce }) => {
                    books.ended(job.id, &[], None).map_err(InstrumentError::NotKept)?;
                    let reset = boot_nonce != job.boot_nonce;
                    return Ok(if reset { Followed::Reset } else { Followed::NeverStarted });
                }
                // Arming again after a job that ended meanwhile; its state says why.
                Err(InstrumentError::Refused { refusal: Refusal::Faulted(_), .. }) if arms => {
                    armed = Instant::now();
                    looks.shortest
                }
                Err(InstrumentError::Link(
                    error @ (LinkError::TimedOut { .. } | LinkError::SessionLost { .. }),
                )) if reconnects < RECONNECTS => {
                    log::warn!("{error}; opening a new session to ask about job {:#018x}", job.id.0);
                    reconnects += 1;
                    self.client.reconnect()?;
                    armed = Instant::now();
                    looks.shortest
                }
                Err(error) => return Err(error),
            };
            started = self.client.pause_for_look(pause).map_err(InstrumentError::from);
        }
    }

    /// How far a job is.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn job_state(&mut self, job: JobId) -> Result<JobState, InstrumentError> {
        self.client.request(&Request::JobStatus(job), |reply| match reply {
            Reply::Job(state) => Ok(*state),
            other => Err(unexpected("job status", other)),
        })
    }

    /// Fetches a job's results, those of cells that it hasn't finished included.
    fn fetch(&mut self, note: &JobNote) -> Result<Vec<CellDone>, InstrumentError> {
        let (job, region) = (note.id, note.region);
        let columns = u32::from(region.columns);
        let mut all = Vec::new();
        while (all.len() as u32) < region.cells() {
            let offset = all.len() as u32;
            self.client.request(&Request::JobResults { job, offset }, |reply| match reply {
                Reply::Results { offset: first, cells } if *first == offset => {
                    let (results, rest) = cells.as_chunks::<CELL_RESULT_BYTES>();
                    let count = results.len() as u32;
                    if count == 0 || !rest.is_empty() || offset + count > region.cells() {
                        let expected = (region.cells() - offset) as usize * CELL_RESULT_BYTES;
                        return Err(InstrumentError::Size {
                            request: "job results",
                            expected,
                            got: cells.len(),
                        });
                    }
                    for (cell, bytes) in (offset..).zip(results) {
                        let result = CellResult::from_bytes(bytes).ok_or_else(|| LinkError::WrongReply {
                            request: "job results",
                            reply: "a cell outcome this version doesn't have".to_owned(),
                        })?;
                        all.push(CellDone {
                            row: region.row + (cell / columns) as u16,
                            column: region.column + (cell % columns) as u16,
                            result,
                        });
                    }
                    Ok(())
                }
                other => Err(unexpected("job results", other)),
            })?;
        }
        Ok(all)
    }

    /// Drops the results of the last job if nobody has fetched them; which one that was.
    ///
    /// # Errors
    /// [`InstrumentError`]: a job that still runs isn't dropped.
    pub fn discard_held(&mut self) -> Result<Option<JobId>, InstrumentError> {
        let Some(job) = self.status()?.job else { return Ok(None) };
        self.release_job(job)?;
        Ok(Some(job))
    }

    /// Frees the results of a job that were written down, if the device still holds them.
    pub(super) fn release_if_held(&mut self, job: JobId) -> Result<(), InstrumentError> {
        match self.release_job(job) {
            Err(InstrumentError::Refused { refusal: Refusal::NoSuchJob { .. }, .. }) => Ok(()),
            other => other,
        }
    }
}
