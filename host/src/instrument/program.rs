//! Programming conductances: write-verify runs on the device as a job; the host starts it, keeps it armed, follows
//! it, and fetches what came of each cell. A broken link in between costs nothing that the device still knows.

use super::read::split;
use super::{Instrument, InstrumentError, unexpected};
use crate::client::LinkError;
use ndarray::{Array2, s};
use ohmrig_protocol::frame::body_bytes;
use ohmrig_protocol::message::{
    Algorithm, CELL_RESULT_BYTES, CellResult, JobEnd, JobId, JobState, Outcome, Program, Refusal, Region,
    Reply, Request, Scheme,
};
use ohmrig_protocol::units::{Seconds, Siemens, Volts};
use std::time::{Duration, Instant};

/// Bytes of a programming request besides its targets.
const REQUEST_OVERHEAD: usize = 96;

/// Each arming lasts this long; it is renewed long before it ends.
const ARM_MS: u32 = 10_000;
const RENEW: Duration = Duration::from_secs(2);

/// Times a lost link is picked up again within one job.
const RECONNECTS: u32 = 3;

/// What to program, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramOrder {
    /// First row and column.
    pub origin: (u16, u16),
    /// S, (rows, columns).
    pub targets: Array2<f64>,
    /// A cell is done when read within ± this of its target, S.
    pub window: f64,
    /// How pulses follow reads.
    pub algorithm: Algorithm,
    /// Pulse width, s.
    pub width: f64,
    /// What unselected lines do.
    pub scheme: Scheme,
    /// Voltage of the verify reads, V.
    pub read_volts: f64,
    /// Feedback setting of the verify reads; `None` for the most sensitive that the largest target allows.
    pub range: Option<u8>,
    /// Conversions of a verify read.
    pub conversions: u16,
    /// Most pulses for one cell.
    pub max_pulses: u16,
    /// Most changes of direction for one cell.
    pub max_reversals: u8,
}

/// How far programming is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Cells finished.
    pub cells: u32,
    /// Cells in all.
    pub of: u32,
    /// Pulses so far.
    pub pulses: u64,
}

/// What programming did, (rows, columns) each.
#[derive(Clone, Debug, PartialEq)]
pub struct Programmed {
    /// Last verify read, S. For an error that means something, read again.
    pub conductance: Array2<f64>,
    /// Standard uncertainty of that read, S.
    pub uncertainty: Array2<f64>,
    /// Pulses applied.
    pub pulses: Array2<u16>,
    /// Why each cell was left.
    pub outcome: Array2<Outcome>,
}

impl Programmed {
    fn pending(shape: (usize, usize)) -> Self {
        Self {
            conductance: Array2::from_elem(shape, f64::NAN),
            uncertainty: Array2::from_elem(shape, f64::NAN),
            pulses: Array2::zeros(shape),
            outcome: Array2::from_elem(shape, Outcome::Pending),
        }
    }

    fn set(&mut self, index: (usize, usize), result: &CellResult) {
        self.conductance[index] = f64::from(result.conductance.0);
        self.uncertainty[index] = f64::from(result.uncertainty.0);
        self.pulses[index] = result.pulses;
        self.outcome[index] = result.outcome;
    }

    /// Cells read within their window.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.outcome.iter().filter(|&&outcome| outcome == Outcome::Inside).count()
    }

    /// Mean pulses per cell.
    #[must_use]
    pub fn pulses_mean(&self) -> f64 {
        self.pulses.iter().map(|&pulses| f64::from(pulses)).sum::<f64>() / self.pulses.len().max(1) as f64
    }
}

impl Instrument {
    /// Programs a region. `record` is called with each job's number and region before the job is sent; if it fails,
    /// nothing is.
    ///
    /// # Errors
    /// [`InstrumentError`]; `JobEnded` and `JobLost` say what is known about a job that didn't finish.
    pub fn program(
        &mut self,
        order: &ProgramOrder,
        mut record: impl FnMut(JobId, Region) -> Result<(), String>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Programmed, InstrumentError> {
        let (rows, columns) = order.targets.dim();
        let lines = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        let region = Region {
            row: order.origin.0,
            column: order.origin.1,
            rows: lines(rows),
            columns: lines(columns),
        };
        self.check_region(region)?;
        if let Some(((row, column), target)) =
            order.targets.indexed_iter().find(|(_, target)| !(target.is_finite() && **target >= 0.0))
        {
            return Err(InstrumentError::Argument(format!(
                "target at row {row}, column {column} is {target} S; every target must be finite and not negative"
            )));
        }
        let largest = order.targets.iter().copied().fold(0.0, f64::max) + order.window;
        let range = match order.range {
            Some(range) => range,
            // A cell may overshoot before it is brought back.
            None => self.range_for(1.5 * largest * order.read_volts)?,
        };
        self.feedback(range)?;
        let most = (body_bytes(self.client.frame_bytes()).saturating_sub(REQUEST_OVERHEAD) / 4)
            .min(self.client.welcome().job_cells as usize)
            .max(1);
        let band = usize::from(region.columns).min(most);
        let parts = split(region, most / band, band);
        let result = self.run_jobs(region, parts, order, range, &mut record, &mut progress);
        match &result {
            Err(InstrumentError::Link(LinkError::Interrupted { .. })) => {
                // Nobody waits for an answer any more, but the device needn't wait for its watchdog.
                self.client.send_unanswered(&Request::Safe);
            }
            // A lost link disarms by itself.
            Err(InstrumentError::Link(_)) => {}
            _ => {
                let disarmed = self.safe();
                // What went wrong first is what is told.
                if result.is_ok() {
                    disarmed?;
                }
            }
        }
        result
    }

    /// The jobs of one order, one after the other.
    fn run_jobs(
        &mut self,
        region: Region,
        parts: Vec<Region>,
        order: &ProgramOrder,
        range: u8,
        record: &mut impl FnMut(JobId, Region) -> Result<(), String>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Programmed, InstrumentError> {
        let mut programmed = Programmed::pending(order.targets.dim());
        let mut before = Progress { of: region.cells(), ..Progress::default() };
        for part in parts {
            let job = JobId(getrandom::u64().map_err(LinkError::Entropy)?);
            record(job, part).map_err(InstrumentError::NotRecorded)?;
            let (end, done, pulses) = self.run_job(job, part, order, range, |here| {
                progress(Progress {
                    cells: before.cells + here.cells,
                    pulses: before.pulses + here.pulses,
                    of: before.of,
                });
            })?;
            let corner = (usize::from(part.row - region.row), usize::from(part.column - region.column));
            self.fetch(job, part, |row, column, result| {
                programmed.set((corner.0 + row, corner.1 + column), result);
            })?;
            self.release_job(job)?;
            if end != JobEnd::Finished {
                return Err(InstrumentError::JobEnded { job: job.0, end, done, of: part.cells() });
            }
            before.cells += done;
            before.pulses += pulses;
        }
        Ok(programmed)
    }

    /// Starts a job and follows it to its end: how it ended, cells finished, pulses.
    fn run_job(
        &mut self,
        job: JobId,
        region: Region,
        order: &ProgramOrder,
        range: u8,
        mut progress: impl FnMut(Progress),
    ) -> Result<(JobEnd, u32, u64), InstrumentError> {
        let boot = self.client.welcome().boot_nonce;
        let mut reconnects = 0;
        let mut armed = Instant::now();
        let mut started = self.start_job(job, region, order, range);
        loop {
            let looked = started.and_then(|()| {
                if armed.elapsed() > RENEW {
                    self.arm(ARM_MS)?;
                    armed = Instant::now();
                }
                self.job_state(job)
            });
            match looked {
                Ok(JobState::Running { cells, of, pulses }) => progress(Progress { cells, of, pulses }),
                Ok(JobState::Ended { end, cells, of, pulses }) => {
                    progress(Progress { cells, of, pulses });
                    return Ok((end, cells, pulses));
                }
                Ok(JobState::Unknown { boot_nonce }) => {
                    return Err(InstrumentError::JobLost { job: job.0, reset: boot_nonce != boot });
                }
                // Arming again after a job that ended meanwhile; its state says why.
                Err(InstrumentError::Refused { refusal: Refusal::Faulted(_), .. }) => {
                    armed = Instant::now();
                }
                Err(InstrumentError::Link(
                    error @ (LinkError::TimedOut { .. } | LinkError::SessionLost { .. }),
                )) if reconnects < RECONNECTS => {
                    log::warn!("{error}; opening a new session to ask about job {:#018x}", job.0);
                    reconnects += 1;
                    self.client.reconnect()?;
                    armed = Instant::now();
                }
                Err(error) => return Err(error),
            }
            started = self.client.pause_between_looks().map_err(InstrumentError::from);
        }
    }

    fn start_job(
        &mut self,
        job: JobId,
        region: Region,
        order: &ProgramOrder,
        range: u8,
    ) -> Result<(), InstrumentError> {
        let (row, column) =
            (usize::from(region.row - order.origin.0), usize::from(region.column - order.origin.1));
        let (rows, columns) = (usize::from(region.rows), usize::from(region.columns));
        let targets: Vec<u8> = order
            .targets
            .slice(s![row..row + rows, column..column + columns])
            .iter()
            .flat_map(|&target| (target as f32).to_le_bytes())
            .collect();
        self.arm(ARM_MS)?;
        let request = Request::Program(Program {
            job,
            region,
            targets: &targets,
            window: Siemens(order.window as f32),
            algorithm: order.algorithm,
            width: Seconds(order.width as f32),
            scheme: order.scheme,
            read_volts: Volts(order.read_volts as f32),
            range,
            conversions: order.conversions,
            max_pulses: order.max_pulses,
            max_reversals: order.max_reversals,
        });
        self.done(&request, "program")
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

    /// Fetches the results of an ended job.
    fn fetch(
        &mut self,
        job: JobId,
        region: Region,
        mut each: impl FnMut(usize, usize, &CellResult),
    ) -> Result<(), InstrumentError> {
        let columns = u32::from(region.columns);
        let mut offset = 0;
        while offset < region.cells() {
            let got = self.client.request(&Request::JobResults { job, offset }, |reply| match reply {
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
                        each((cell / columns) as usize, (cell % columns) as usize, &result);
                    }
                    Ok(count)
                }
                other => Err(unexpected("job results", other)),
            })?;
            offset += got;
        }
        Ok(())
    }
}
