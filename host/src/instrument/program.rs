//! Programming conductances: write-verify runs on the device as a job; the host starts it, keeps it armed, follows
//! it, and fetches what came of each cell. A broken link in between costs nothing that the device still knows.

use super::books::{Books, CellDone, JobNote, PastJob, ResetCells, is_final, rectangles};
use super::job::{ARM_MS, Followed, Received};
use super::read::split;
use super::{Instrument, InstrumentError, unexpected};
use crate::client::LinkError;
use ndarray::{Array2, s};
use ohmrig_protocol::frame::body_bytes;
use ohmrig_protocol::message::{
    Algorithm, CellResult, JobEnd, JobId, Outcome, Program, Region, Reply, Request, Scheme,
};
use ohmrig_protocol::units::{Seconds, Siemens, Volts};

/// Bytes of a programming request besides its targets.
const REQUEST_OVERHEAD: usize = 96;

/// Jobs in a row that may be lost with the link before a region is given up.
const JOBS: u32 = 3;

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
    /// Most pulses for one cell in one pass.
    pub max_pulses: u16,
    /// Most changes of direction for one cell in one pass.
    pub max_reversals: u8,
    /// Times the region is gone through. Cells of a row share its series resistance, so that programming one changes
    /// how the others read; a second pass sets right what the first one moved.
    pub passes: u8,
}

/// How far programming is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Cells finished, in all passes.
    pub cells: u32,
    /// Cells in all passes.
    pub of: u32,
    /// Pulses so far in this pass.
    pub pulses: u64,
}

/// What programming did, (rows, columns) each.
#[derive(Clone, Debug, PartialEq)]
pub struct Programmed {
    /// Last verify read, S. For an error that means something, read again.
    pub conductance: Array2<f64>,
    /// Standard uncertainty of that read, S.
    pub uncertainty: Array2<f64>,
    /// Pulses applied in all passes.
    pub pulses: Array2<u32>,
    /// Why each cell was left in the last pass.
    pub outcome: Array2<Outcome>,
    /// Resets of the device that ended a job of an earlier process; pulses that only the lost job knew of are missing.
    pub resets: Vec<ResetCells>,
}

/// One time through the cells of an order.
struct Pass<'a> {
    pass: u8,
    order: &'a ProgramOrder,
    region: Region,
    range: u8,
}

impl Pass<'_> {
    /// Whether any cell of a part is left.
    fn has_any_of(&self, part: Region, left: &Array2<bool>) -> bool {
        let (row, column) =
            (usize::from(part.row - self.region.row), usize::from(part.column - self.region.column));
        let (rows, columns) = (usize::from(part.rows), usize::from(part.columns));
        left.slice(s![row..row + rows, column..column + columns]).iter().any(|&left| left)
    }

    /// Adds results to what is known, and takes cells that are done off what is left.
    fn take_in(&self, cells: &[CellDone], left: &mut Array2<bool>, programmed: &mut Programmed) {
        for cell in cells {
            let index =
                (usize::from(cell.row - self.region.row), usize::from(cell.column - self.region.column));
            programmed.add(index, &cell.result);
            left[index] &= !is_final(&cell.result);
        }
    }
}

impl Programmed {
    fn pending(shape: (usize, usize)) -> Self {
        Self {
            conductance: Array2::from_elem(shape, f64::NAN),
            uncertainty: Array2::from_elem(shape, f64::NAN),
            pulses: Array2::zeros(shape),
            outcome: Array2::from_elem(shape, Outcome::Pending),
            resets: Vec::new(),
        }
    }

    /// Adds what a pass did to a cell.
    fn add(&mut self, index: (usize, usize), result: &CellResult) {
        self.conductance[index] = f64::from(result.conductance.0);
        self.uncertainty[index] = f64::from(result.uncertainty.0);
        self.pulses[index] += u32::from(result.pulses);
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
    /// Programs a region. `books` is told of each job before it is sent (if it fails, nothing is sent) and of results as
    /// they come in; `past` is what books of an earlier process say of the same order: what is done is not done again.
    ///
    /// # Errors
    /// [`InstrumentError`]; `JobEnded` and `JobReset` say what is known about a job that didn't finish.
    pub fn program(
        &mut self,
        order: &ProgramOrder,
        past: &[PastJob],
        books: &mut dyn Books,
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
        let mut programmed = Programmed::pending(order.targets.dim());
        let mut all = || -> Result<(), InstrumentError> {
            for pass in 0..order.passes {
                let past: Vec<&PastJob> = past.iter().filter(|job| job.note.pass == pass).collect();
                let work = Pass { pass, order, region, range };
                self.run_pass(&work, &past, &mut programmed, books, &mut progress)?;
            }
            Ok(())
        };
        if let Err(error) = all() {
            self.give_up(&error);
            return Err(error);
        }
        self.safe()?;
        Ok(programmed)
    }

    /// Every cell of an order once, job by job.
    fn run_pass(
        &mut self,
        work: &Pass<'_>,
        past: &[&PastJob],
        programmed: &mut Programmed,
        books: &mut dyn Books,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), InstrumentError> {
        let &Pass { pass, order, region, .. } = work;
        let mut left = Array2::from_elem(order.targets.dim(), true);
        let mut pulses = 0;
        for (number, job) in past.iter().enumerate() {
            let mut cells = job.cells.clone();
            let mut reset = false;
            if !job.ended {
                let mut received = Received::new(&job.cells);
                let followed = self.follow(&job.note, Ok(()), false, &mut received, books, &mut |_, _| {})?;
                reset = matches!(followed, Followed::Reset);
                cells = received.cells;
            } else if number + 1 == past.len() {
                self.release_if_held(job.note.id)?;
            }
            work.take_in(&cells, &mut left, programmed);
            pulses += cells.iter().map(|cell| u64::from(cell.result.pulses)).sum::<u64>();
            if reset && work.has_any_of(job.note.region, &left) {
                programmed.resets.push(ResetCells::new(&job.note, order.origin, &left));
            }
        }
        let most = (body_bytes(self.client.frame_bytes()).saturating_sub(REQUEST_OVERHEAD) / 4)
            .min(self.client.welcome().job_cells as usize)
            .max(1);
        let of = u32::from(order.passes) * region.cells();
        let mut attempts = 0;
        'again: while left.iter().any(|&left| left) {
            for rectangle in rectangles(order.origin, &left) {
                let band = usize::from(rectangle.columns).min(most);
                for part in split(rectangle, most / band, band) {
                    let finished = left.iter().filter(|&&left| !left).count() as u32;
                    let before = Progress { cells: u32::from(pass) * region.cells() + finished, pulses, of };
                    let id = JobId(getrandom::u64().map_err(LinkError::Entropy)?);
                    let note =
                        JobNote { id, pass, region: part, boot_nonce: self.client.welcome().boot_nonce };
                    books.sending(&note).map_err(InstrumentError::NotRecorded)?;
                    let started = self.start_job(id, part, order, work.range).map(|current_limited| {
                        if !current_limited {
                            log::warn!(
                                "the current of its pulses isn't limited: this scheme or width doesn't let it be measured"
                            );
                        }
                    });
                    let mut received = Received::new(&[]);
                    let followed =
                        self.follow(&note, started, true, &mut received, books, &mut |cells, pulses| {
                            let (cells, pulses) = (before.cells + cells, before.pulses + pulses);
                            progress(Progress { cells, pulses, of });
                        })?;
                    work.take_in(&received.cells, &mut left, programmed);
                    match followed {
                        Followed::Ended { end: JobEnd::Finished, pulses: here, .. } => {
                            pulses += here;
                            attempts = 0;
                        }
                        // A new session ends the job of the old one; what it left goes into another.
                        Followed::Ended {
                            end: JobEnd::Disarmed | JobEnd::Aborted,
                            pulses: here,
                            reconnected: true,
                        } if attempts < JOBS => {
                            log::warn!("job {:#018x} ended with the link; another goes on", id.0);
                            pulses += here;
                            attempts += 1;
                            continue 'again;
                        }
                        Followed::NeverStarted if attempts < JOBS => {
                            attempts += 1;
                            continue 'again;
                        }
                        Followed::Ended { end, .. } => {
                            let done =
                                received.cells.iter().filter(|cell| is_final(&cell.result)).count() as u32;
                            return Err(InstrumentError::JobEnded { job: id.0, end, done, of: part.cells() });
                        }
                        Followed::NeverStarted => {
                            return Err(InstrumentError::JobLost { job: id.0, reset: false });
                        }
                        // Every result had been received when it happened.
                        Followed::Reset if !work.has_any_of(part, &left) => attempts = 0,
                        Followed::Reset => {
                            let cells = ResetCells::new(&note, order.origin, &left);
                            return Err(InstrumentError::JobReset(Box::new(cells)));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn start_job(
        &mut self,
        job: JobId,
        region: Region,
        order: &ProgramOrder,
        range: u8,
    ) -> Result<bool, InstrumentError> {
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
        self.client.request(&request, |reply| match reply {
            Reply::Started { current_limited } => Ok(*current_limited),
            other => Err(unexpected("program", other)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Emulation, profile};
    use crate::client::Client;
    use crate::device::EmulatedDevice;
    use crate::instrument::NoBooks;
    use crate::recipe::Recipe;
    use crate::transport::{InProcess, Pace, Transport, TransportError};
    use std::time::Duration;

    /// A link to an emulated device that swallows everything for a while, some time after programming has begun.
    struct Outage {
        inner: InProcess,
        writes: u32,
        swallow: std::ops::Range<u32>,
    }

    impl Transport for Outage {
        fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
            self.writes += 1;
            if self.swallow.contains(&self.writes) { Ok(()) } else { self.inner.write_all(bytes) }
        }

        fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
            self.inner.read(buffer, timeout)
        }

        fn pace(&self) -> Pace {
            Pace { base: Duration::from_millis(10), poll: Duration::from_micros(200), ..Pace::IN_PROCESS }
        }
    }

    /// Books that remember job numbers, or refuse them.
    #[derive(Debug, Default)]
    struct Sent {
        jobs: Vec<JobId>,
        full: bool,
    }

    impl Books for Sent {
        fn sending(&mut self, job: &JobNote) -> Result<(), String> {
            self.jobs.push(job.id);
            if self.full { Err("disk full".to_owned()) } else { Ok(()) }
        }

        fn results(&mut self, _: JobId, _: &[CellDone]) -> Result<(), String> {
            Ok(())
        }

        fn ended(&mut self, _: JobId, _: &[CellDone], _: Option<JobEnd>) -> Result<(), String> {
            Ok(())
        }
    }

    fn order(rows: usize, columns: usize) -> ProgramOrder {
        let recipe = Recipe::for_profile(&profile(Some("rram-cmo")).unwrap()).unwrap();
        let span = recipe.g_max - recipe.g_min;
        ProgramOrder {
            origin: (1, 2),
            targets: Array2::from_shape_fn((rows, columns), |(i, j)| {
                recipe.g_min + span * ((i * 5 + j * 3) % 10) as f64 / 12.0
            }),
            window: recipe.window,
            algorithm: recipe.algorithm,
            width: recipe.width,
            scheme: recipe.scheme,
            read_volts: recipe.read_volts,
            range: None,
            conversions: recipe.conversions,
            max_pulses: recipe.max_pulses,
            max_reversals: recipe.max_reversals,
            passes: 1,
        }
    }

    fn instrument(swallow: std::ops::Range<u32>) -> Instrument {
        let emulation = Emulation::new(profile(Some("rram-cmo")).unwrap(), 3);
        let inner = InProcess::new(EmulatedDevice::power_up(&emulation).unwrap());
        let outage = Outage { inner, writes: 0, swallow };
        Instrument::new(Client::connect(Box::new(outage), "outage").unwrap())
    }

    #[test]
    fn programming_goes_on_after_an_outage_and_counts_every_pulse() {
        // Hello, identify, arm, program and six looks at the job; then every attempt in vain, and the first hellos.
        for first in [3, 4, 5, 10] {
            let mut instrument = instrument(first..first + 18);
            let mut jobs = Sent::default();
            let programmed = instrument
                .program(&order(14, 14), &[], &mut jobs, |_| {})
                .unwrap_or_else(|error| panic!("outage from write {first} on: {error}"));
            assert!(instrument.client().traffic().repeated > 0, "outage from write {first} on did nothing");
            // Series resistance puts a high target here and there out of reach.
            assert!(programmed.inside() >= 190, "{} inside", programmed.inside());
            let counted = instrument.status().unwrap().counters.pulses;
            let told: u32 = programmed.pulses.iter().sum();
            assert_eq!(u64::from(told), counted, "outage from write {first} on, jobs {jobs:?}");
        }
    }

    #[test]
    fn a_job_that_cannot_be_recorded_is_not_sent() {
        let mut instrument = instrument(0..0);
        let mut books = Sent { full: true, ..Sent::default() };
        let error = instrument.program(&order(2, 2), &[], &mut books, |_| {}).unwrap_err();
        assert!(matches!(error, InstrumentError::NotRecorded(_)), "{error}");
        assert_eq!(instrument.status().unwrap().counters.pulses, 0);
    }

    #[test]
    fn targets_that_are_no_conductances_are_refused_before_anything_is_sent() {
        let mut instrument = instrument(0..0);
        for bad in [f64::NAN, f64::INFINITY, -1e-6] {
            let mut order = order(2, 2);
            order.targets[(1, 0)] = bad;
            let before = instrument.client().traffic().sent;
            let error = instrument.program(&order, &[], &mut NoBooks, |_| {}).unwrap_err();
            assert!(matches!(error, InstrumentError::Argument(_)), "{error}");
            assert_eq!(instrument.client().traffic().sent, before);
        }
    }
}
