//! A crossbar instrument in SI units: what it is, reading, pulsing, programming, products.

mod books;
mod budgets;
mod form;
mod in_circuit;
mod job;
mod loading;
mod products;
mod program;
mod read;
mod records;
mod reference;
pub mod refusal;
pub mod self_test;
mod trace;
mod wait;

pub use books::{Books, CellDone, JobNote, NoBooks, PastJob, ResetCells};
pub use budgets::{ArrayList, BudgetMap};
pub use form::{FormOrder, Formed, Stop};
pub use in_circuit::{InCircuit, ProductErrors, Turn};
pub use loading::{Loading, ROW_OHMS, Target};
pub use products::{ProductSettings, Products};
pub use program::{PassRecord, ProgramOrder, Programmed, Progress};
pub use read::{CellMap, ReadSettings, Trace};
pub use records::StoredRecord;
pub use reference::{ReferenceCodes, ReferenceSettings};
pub use trace::{TraceOrder, Traces};

use crate::client::{Client, Device, LinkError, wrong_reply};
use ohmrig_protocol::message::{
    FaultCode, JobEnd, JobId, LimitName, MAX_RANGES, Pulse, Refusal, Region, Reply, Request, Status,
};
use ohmrig_protocol::units::Volts;
use thiserror::Error;

/// A request that didn't lead to what was asked for.
#[derive(Debug, Error)]
pub enum InstrumentError {
    /// The link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The device said no.
    #[error("{}", refusal::describe(request, refusal))]
    Refused {
        /// Name of the request.
        request: &'static str,
        /// Why.
        refusal: Refusal,
    },
    /// Something asked for that no request can be made of; nothing was sent.
    #[error("{0}")]
    Argument(String),
    /// A reply whose data have another size than the request implies.
    #[error("the reply to {request} has {got} bytes of data instead of {expected}")]
    Size {
        /// Name of the request.
        request: &'static str,
        /// Bytes there should be.
        expected: usize,
        /// Bytes there are.
        got: usize,
    },
    /// A job ended before its cells were done. What it did can't be undone; `done` says how far it came.
    #[error("job {job:#018x} ended after {done} of {of} cells: {}", refusal::job_end(*end))]
    JobEnded {
        /// The job.
        job: u64,
        /// How.
        end: JobEnd,
        /// Cells finished.
        done: u32,
        /// Cells in all.
        of: u32,
    },
    /// A job the device doesn't know any more, or never knew.
    #[error(
        "job {job:#018x} is not known to the device{}",
        if *reset { ": it was reset meanwhile" } else { "; it was never started and nothing was done" }
    )]
    JobLost {
        /// The job.
        job: u64,
        /// Whether the device was reset since the job was started.
        reset: bool,
    },
    /// The device was reset in the middle of a job.
    #[error(
        "the device was reset in the middle of job {:#018x}: {} cells are done, {} were never sent, {} are unknown (their \
         results were not received); run the same command again to go on with them, reading first",
        .0.job, .0.done.len(), .0.not_done.len(), .0.unknown.len()
    )]
    JobReset(Box<ResetCells>),
    /// The run file (or whoever keeps the books) could not take down a job before it was sent.
    #[error("the job was not started: {0}")]
    NotRecorded(String),
    /// Results could not be written down.
    #[error("results were not written down: {0}")]
    NotKept(String),
}

pub(crate) fn refused(request: &'static str, refusal: Refusal) -> InstrumentError {
    InstrumentError::Refused { request, refusal }
}

/// What a single pulse did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pulsed {
    /// Current of the selected column during the pulse, A; `None` where the scheme or the width can't tell.
    pub current_a: Option<f64>,
    /// Instrument time of the rising edge, ns.
    pub at_ns: u64,
    /// Too short for a flat top.
    pub slew_limited: bool,
    /// What the lines have reached at least, by the drivers' slowest edge, V.
    pub peak_v: f64,
}

/// A connected instrument.
pub struct Instrument {
    client: Client,
}

impl Instrument {
    /// Takes over a connected client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The link below, for its counters.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The link below.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Who it is.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.client.device()
    }

    /// The whole array.
    #[must_use]
    pub fn whole(&self) -> Region {
        Region { row: 0, column: 0, rows: self.device().rows, columns: self.device().columns }
    }

    /// Effective feedback resistance of a range, Ω.
    ///
    /// # Errors
    /// [`InstrumentError::Argument`] if there is no such range.
    pub fn feedback(&self, range: u8) -> Result<f64, InstrumentError> {
        let feedback = &self.device().converters.feedback;
        feedback.get(usize::from(range)).map(|r| f64::from(r.0)).filter(|&r| r > 0.0).ok_or_else(|| {
            let ranges = feedback.iter().filter(|r| r.0 > 0.0).count();
            InstrumentError::Argument(format!("there is no range {range}; the board has 0 to {}", ranges - 1))
        })
    }

    /// Refuses a range that the board hasn't got, or that isn't linear up to `current_a`, A.
    ///
    /// # Errors
    /// [`InstrumentError::Argument`].
    pub fn check_range(&self, range: u8, current_a: f64) -> Result<(), InstrumentError> {
        let most = self.linear_volts() / self.feedback(range)?;
        if current_a.abs() <= most {
            return Ok(());
        }
        Err(InstrumentError::Argument(format!(
            "range {range} is linear up to {most:.3e} A, and {current_a:.3e} A are asked of it; choose a higher range or a lower voltage"
        )))
    }

    /// The most sensitive range that is linear up to `current_a`, A.
    ///
    /// # Errors
    /// [`InstrumentError::Argument`] if it is too much for every range.
    pub fn range_for(&self, current_a: f64) -> Result<u8, InstrumentError> {
        let linear = self.linear_volts();
        let fitting = self.ranges().into_iter().find(|&(_, ohms)| current_a.abs() * ohms <= linear);
        fitting.map(|(range, _)| range).ok_or_else(|| {
            let most = self.ranges().last().map_or(0.0, |&(_, ohms)| linear / ohms);
            InstrumentError::Argument(format!(
                "a column current of {current_a:.3e} A is beyond the least sensitive range ({most:.3e} A); use a lower voltage"
            ))
        })
    }

    /// The range of the smallest feedback.
    #[must_use]
    pub fn least_sensitive_range(&self) -> u8 {
        self.ranges().last().map_or(0, |&(range, _)| range)
    }

    /// Ranges and their feedback in Ω, most sensitive first.
    fn ranges(&self) -> Vec<(u8, f64)> {
        let feedback = self.device().converters.feedback;
        let mut ranges: Vec<(u8, f64)> = (0..MAX_RANGES as u8)
            .zip(feedback)
            .map(|(i, r)| (i, f64::from(r.0)))
            .filter(|r| r.1 > 0.0)
            .collect();
        ranges.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranges
    }

    /// Largest amplifier output that is measured linearly, V.
    fn linear_volts(&self) -> f64 {
        let converters = &self.device().converters;
        f64::from(converters.adc_linear) * f64::from(converters.adc_step.0)
    }

    /// What the row driver puts out when asked for `volts`: the nearest code's voltage.
    #[must_use]
    pub fn applied_volts(&self, volts: f64) -> f64 {
        let converters = &self.device().converters;
        f64::from(converters.dac_steps(Volts(volts as f32))) * f64::from(converters.dac_step.0)
    }

    /// 0.2 V, the usual voltage of reads, or less where the limits in force allow less.
    #[must_use]
    pub fn usual_read_volts(&self) -> f64 {
        // A thousandth less than what the device refuses: it reckons in f32.
        let most = (f64::from(self.device().limits.read.0) - 0.02) / 1.005;
        (0.999 * most).clamp(0.0, 0.2)
    }

    /// Checks a voltage for reads and products against the limits in force.
    fn check_read_volts(&self, volts: f64) -> Result<f32, InstrumentError> {
        let allowed = f64::from(self.device().limits.read.0);
        // As commanded + 20 mV + 0.5 %: the bound the device will apply.
        if volts.abs() * 1.005 + 0.02 <= allowed {
            Ok(volts as f32)
        } else {
            let (asked, allowed) = ((volts.abs() * 1.005 + 0.02) as f32, allowed as f32);
            Err(refused("read", Refusal::Limit { limit: LimitName::Read, asked, allowed }))
        }
    }

    /// Checks a region against the array.
    ///
    /// # Errors
    /// [`InstrumentError::Argument`] with both sizes.
    pub fn check_region(&self, region: Region) -> Result<(), InstrumentError> {
        let device = self.device();
        if region.is_within(device.rows, device.columns) {
            return Ok(());
        }
        Err(InstrumentError::Argument(format!(
            "rows {}..{} and columns {}..{} are not all inside the array of {} rows × {} columns (counted from 0)",
            region.row,
            u32::from(region.row) + u32::from(region.rows),
            region.column,
            u32::from(region.column) + u32::from(region.columns),
            device.rows,
            device.columns
        )))
    }

    /// How it is.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn status(&mut self) -> Result<Status, InstrumentError> {
        self.client.request(&Request::Status, |reply| match reply {
            Reply::Status(status) => Ok(*status),
            other => Err(unexpected("status", other)),
        })
    }

    fn done(&mut self, request: &Request<'_>, name: &'static str) -> Result<(), InstrumentError> {
        self.client.request(request, |reply| match reply {
            Reply::Done => Ok(()),
            other => Err(unexpected(name, other)),
        })
    }

    /// Allows writing for a time.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn arm(&mut self, milliseconds: u32) -> Result<(), InstrumentError> {
        self.done(&Request::Arm { milliseconds }, "arm")
    }

    /// Ends everything and goes to SAFE.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn safe(&mut self) -> Result<(), InstrumentError> {
        self.done(&Request::Safe, "safe")
    }

    /// Clears the latched fault, by name.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn clear_fault(&mut self, code: FaultCode) -> Result<(), InstrumentError> {
        self.done(&Request::ClearFault(code), "clear fault")
    }

    /// Reads back every chip.
    ///
    /// # Errors
    /// [`InstrumentError::Refused`] if one is wrong.
    pub fn check_chips(&mut self) -> Result<(), InstrumentError> {
        self.done(&Request::CheckChips, "check chips")
    }

    /// One write pulse; [`arm`](Self::arm) first.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn pulse(&mut self, pulse: Pulse) -> Result<Pulsed, InstrumentError> {
        self.client.request(&Request::Pulse(pulse), |reply| match *reply {
            Reply::Pulsed { current, at_ns, slew_limited, peak } => {
                let current_a = current.map(|a| f64::from(a.0));
                Ok(Pulsed { current_a, at_ns, slew_limited, peak_v: f64::from(peak.0) })
            }
            ref other => Err(unexpected("pulse", other)),
        })
    }

    /// Disarms after something went wrong, as far as the link still allows, so that the device doesn't have to take the
    /// host's silence for a fault.
    pub fn give_up(&mut self, error: &InstrumentError) {
        match error {
            // Nobody waits for an answer any more.
            InstrumentError::Link(LinkError::Interrupted { .. }) => {
                self.client.send_unanswered(&Request::Safe)
            }
            // What doesn't get through doesn't get through; the device's watchdog disarms it.
            InstrumentError::Link(_) => {}
            _ => {
                if let Err(error) = self.safe() {
                    log::warn!("the device was not disarmed: {error}");
                }
            }
        }
    }

    /// Frees a job's results without reading them.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn release_job(&mut self, job: JobId) -> Result<(), InstrumentError> {
        self.done(&Request::ReleaseJob(job), "release job")
    }
}

/// A refusal, or a reply that is no answer.
fn unexpected(request: &'static str, reply: &Reply<'_>) -> InstrumentError {
    match reply {
        Reply::Refused(refusal) => refused(request, *refusal),
        other => wrong_reply(request, other).into(),
    }
}
