//! Programming conductances: write-verify runs on the device as a job; the host starts it, keeps it armed, follows
//! it, and fetches what came of each cell. A broken link in between costs nothing that the device still knows.

use super::loading::{Loading, ROW_OHMS, Target};
use super::read::{ReadSettings, split};
use super::{Instrument, InstrumentError, unexpected};
use crate::client::LinkError;
use crate::recipe::Recipe;
use ndarray::{Array2, ArrayView2, Axis, Zip, s};
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

/// The longest pause between two looks at a job: a device that is armed takes two seconds of silence for a lost link.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// Times a lost link is picked up again within one job, and jobs that are started for one region.
const RECONNECTS: u32 = 3;
const JOBS: u32 = 3;

/// What to program, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramOrder {
    /// First row and column.
    pub origin: (u16, u16),
    /// S, (rows, columns).
    pub targets: Array2<f64>,
    /// What the targets are of.
    pub target: Target,
    /// Ω between a row's driver and its cells; 0 to take every read for what it is.
    pub row_ohms: f64,
    /// Which cells to work on; `None` for all.
    pub work: Option<Array2<bool>>,
    /// A cell should be read within ± this of its target afterwards, S.
    pub window: f64,
    /// The device lets go of a cell within a window narrower by this, S.
    pub guard: f64,
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
    /// Conversions at each polarity of a verify read that is clear at once, and of one that isn't, at most.
    pub conversions: (u16, u16),
    /// Conversions at each polarity of the read that a finished cell's conductance is reported from; 0 for the last
    /// verify read.
    pub confirm: u16,
    /// Most pulses for one cell in one pass.
    pub max_pulses: u16,
    /// Most changes of direction for one cell in one pass.
    pub max_reversals: u8,
    /// Times the region is gone through, at most: from the second on only cells that a fresh read finds outside.
    pub passes: u8,
    /// Instrument time between two passes, s.
    pub wait: f64,
}

impl ProgramOrder {
    /// A recipe applied to targets in place on an OR-16.
    #[must_use]
    pub fn new(recipe: &Recipe, origin: (u16, u16), targets: Array2<f64>) -> Self {
        Self {
            origin,
            targets,
            target: Target::InPlace,
            row_ohms: ROW_OHMS,
            work: None,
            window: recipe.window,
            guard: recipe.guard,
            algorithm: recipe.algorithm(),
            width: recipe.width,
            scheme: recipe.scheme,
            read_volts: recipe.read_volts,
            range: None,
            conversions: recipe.conversions,
            confirm: recipe.confirm,
            max_pulses: recipe.max_pulses,
            max_reversals: recipe.max_reversals,
            passes: recipe.passes,
            wait: recipe.wait,
        }
    }

    /// Whether a value is within the window of a cell's target.
    fn is_inside(&self, index: (usize, usize), value: f64) -> bool {
        (value - self.targets[index]).abs() <= self.window
    }
}

/// Conversions at each polarity of the reads before and between passes.
const SURVEY_CONVERSIONS: u16 = 16;

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
    /// As read right after the last pulse, S, in the sense of the order's targets. Unless `confirm` was 0 this read decided
    /// nothing.
    pub conductance: Array2<f64>,
    /// Standard uncertainty of that read, S.
    pub uncertainty: Array2<f64>,
    /// Pulses applied in all passes.
    pub pulses: Array2<u32>,
    /// Changes of direction in all passes.
    pub reversals: Array2<u32>,
    /// Why each cell was left the last time it was worked on.
    pub outcome: Array2<Outcome>,
    /// Pass by pass.
    pub passes: Vec<PassRecord>,
}

/// One time through the region.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PassRecord {
    /// Cells worked on.
    pub cells: usize,
    /// Pulses applied.
    pub pulses: u64,
    /// Cells of the whole region inside by the read that followed their last pulse.
    pub inside: usize,
    /// Root mean square over the whole region of that read's distance from the target, S.
    pub error_rms: f64,
    /// Root mean square over the whole region of the distance that a fresh read before this pass found, S; `None` before
    /// the first.
    pub error_before_rms: Option<f64>,
}

/// How a job ended.
struct Ended {
    end: JobEnd,
    cells: u32,
    pulses: u64,
    /// Whether the device has results of it.
    known: bool,
    /// Whether the link was lost on the way.
    reconnected: bool,
}

/// What a pass is to do, (rows, columns) of the region each.
struct Plan {
    /// What each cell has to read as when its turn comes, S; NaN to leave it alone.
    targets: Array2<f64>,
    /// What a read of it is to be multiplied by to be one in the sense of the order's targets.
    scale: Array2<f64>,
    /// What part of the driver's voltage a read leaves on each cell when its turn comes.
    left: Array2<f64>,
    /// The least that the window shrinks by in terms of reads.
    narrowest: f64,
    /// What a survey found, S.
    error_rms: Option<f64>,
}

/// A pass, ready to be sent.
#[derive(Clone, Copy)]
struct Jobs<'a> {
    region: Region,
    parts: &'a [Region],
    order: &'a ProgramOrder,
    range: u8,
    plan: &'a Plan,
}

/// What part of a pulse's voltage gets to the selected cell, where a read leaves `left` of its own: the row's other cells
/// draw less, by the part of the pulse that their columns are at.
fn pulse_left(left: f64, scheme: Scheme) -> f64 {
    let columns = match scheme {
        // Half of the symmetric pulse comes through the column, which has next to no resistance.
        Scheme::Half | Scheme::SymmetricHalf => 0.5,
        Scheme::Third => 2.0 / 3.0,
        Scheme::Grounded => 0.0,
        Scheme::Floating => 1.0,
    };
    columns + (1.0 - columns) * left
}

/// A model of cells, told in voltages of the driver, of which `left` gets to a cell. Largest amplitudes stay what they are.
fn at_the_driver(algorithm: Algorithm, left: f64) -> Algorithm {
    let Algorithm::Model(mut model) = algorithm else { return algorithm };
    for law in [&mut model.set, &mut model.reset] {
        for volts in [&mut law.threshold, &mut law.reference] {
            volts.0 = (f64::from(volts.0) / left) as f32;
        }
        // A threshold beyond what may be applied leaves the largest amplitude.
        law.threshold.0 = law.threshold.0.min(law.stop.0);
    }
    Algorithm::Model(model)
}

/// Root mean square of what there is: cells never worked on have no error.
fn rms(values: &Array2<f64>) -> f64 {
    let squares = values.iter().filter(|v| !v.is_nan()).map(|v| v * v);
    let (count, sum) = squares.fold((0, 0.0), |(count, sum), square| (count + 1, sum + square));
    (sum / f64::from(count.max(1))).sqrt()
}

impl Programmed {
    fn pending(shape: (usize, usize)) -> Self {
        Self {
            conductance: Array2::from_elem(shape, f64::NAN),
            uncertainty: Array2::from_elem(shape, f64::NAN),
            pulses: Array2::zeros(shape),
            reversals: Array2::zeros(shape),
            outcome: Array2::from_elem(shape, Outcome::Pending),
            passes: Vec::new(),
        }
    }

    /// Adds what a pass did to a cell, whose reads are to be multiplied by `scale`.
    fn add(&mut self, index: (usize, usize), result: &CellResult, scale: f64) {
        if result.outcome == Outcome::Skipped {
            return;
        }
        self.conductance[index] = f64::from(result.conductance.0) * scale;
        self.uncertainty[index] = f64::from(result.uncertainty.0) * scale;
        self.pulses[index] += u32::from(result.pulses);
        self.reversals[index] += u32::from(result.reversals);
        self.outcome[index] = result.outcome;
    }

    /// Cells that the verify read found within the device's window.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.outcome.iter().filter(|&&outcome| outcome == Outcome::Inside).count()
    }

    /// Pulses on all cells.
    #[must_use]
    pub fn pulses_sum(&self) -> u64 {
        self.pulses.iter().map(|&pulses| u64::from(pulses)).sum()
    }

    /// Adds what was done later to some of the cells.
    pub(super) fn merge(&mut self, later: &Self) {
        for (index, &outcome) in later.outcome.indexed_iter() {
            if outcome != Outcome::Pending && outcome != Outcome::Skipped {
                self.conductance[index] = later.conductance[index];
                self.uncertainty[index] = later.uncertainty[index];
                self.outcome[index] = outcome;
                self.pulses[index] += later.pulses[index];
                self.reversals[index] += later.reversals[index];
            }
        }
        self.passes.extend_from_slice(&later.passes);
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
        let region = self.check_order(order)?;
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
        // Bands of columns: the work goes column by column, and within a job rows are loaded alike.
        let band = usize::from(region.rows).min(most);
        let parts = split(region, band, most / band);
        let mut programmed = Programmed::pending(order.targets.dim());
        let mut all = || -> Result<(), InstrumentError> {
            for pass in 0..order.passes {
                if pass > 0 && order.wait > 0.0 {
                    self.wait(order.wait, |_| {})?;
                }
                let plan = self.plan(region, order, &programmed)?;
                let cells = plan.targets.iter().filter(|target| !target.is_nan()).count();
                if cells == 0 {
                    break;
                }
                let before = programmed.pulses_sum();
                let job = Jobs { region, parts: &parts, order, range, plan: &plan };
                self.run_pass(&job, &mut programmed, &mut record, &mut |here| {
                    let done = u32::from(pass) * region.cells();
                    progress(Progress { cells: done + here.cells, ..here });
                })?;
                let error = &programmed.conductance - &order.targets;
                let inside = |&(index, &value): &((usize, usize), &f64)| order.is_inside(index, value);
                programmed.passes.push(PassRecord {
                    cells,
                    pulses: programmed.pulses_sum() - before,
                    inside: programmed.conductance.indexed_iter().filter(inside).count(),
                    error_rms: rms(&error),
                    error_before_rms: plan.error_rms,
                });
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

    /// Checks an order; the answer is its region.
    fn check_order(&self, order: &ProgramOrder) -> Result<Region, InstrumentError> {
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
        let ProgramOrder { window, guard, row_ohms, .. } = *order;
        if !(guard >= 0.0 && window > guard && window.is_finite()) {
            return Err(InstrumentError::Argument(format!(
                "a window of ±{window} S with a guard of {guard} S; the window must be the wider of the two"
            )));
        }
        if let Some(work) = &order.work
            && work.dim() != order.targets.dim()
        {
            return Err(InstrumentError::Argument(format!(
                "which of {:?} cells to work on doesn't fit {:?} targets",
                work.dim(),
                order.targets.dim()
            )));
        }
        if !(row_ohms.is_finite() && row_ohms >= 0.0) {
            return Err(InstrumentError::Argument(format!(
                "a row resistance of {row_ohms} Ω is not possible"
            )));
        }
        Ok(region)
    }

    /// What each cell has to read as when its turn comes. Before the first pass the array is surveyed if rows load their
    /// cells; before each later one it is surveyed to find what has left its window.
    fn plan(
        &mut self,
        region: Region,
        order: &ProgramOrder,
        programmed: &Programmed,
    ) -> Result<Plan, InstrumentError> {
        let first = programmed.passes.is_empty();
        let asked = |index| order.work.as_ref().is_none_or(|work| work[index]);
        if first && order.row_ohms == 0.0 {
            let mut targets = order.targets.clone();
            for (index, target) in targets.indexed_iter_mut() {
                if !asked(index) {
                    *target = f64::NAN;
                }
            }
            let error_rms = None;
            let ones = Array2::ones(targets.dim());
            return Ok(Plan { scale: ones.clone(), left: ones, narrowest: 1.0, targets, error_rms });
        }
        let rows = Region { column: 0, columns: self.device().columns, ..region };
        let settings = ReadSettings { volts: order.read_volts, range: None, conversions: SURVEY_CONVERSIONS };
        let read = self.read_cells(rows, &settings)?.conductance;
        let loading = Loading { ohms: order.row_ohms };
        let devices = loading.devices(read.view());
        let (from, to) = (usize::from(region.column), usize::from(region.column + region.columns));
        let before = devices.slice(s![.., from..to]);
        let others = &devices.sum_axis(Axis(1)) - &before.sum_axis(Axis(1));
        let found = match order.target {
            Target::InPlace => read.slice(s![.., from..to]),
            Target::Device => before,
        };
        let mut wanted = loading.wanted(order.target, order.targets.view(), others.view());
        let work = Array2::from_shape_fn(wanted.dim(), |index| {
            let left =
                || programmed.outcome[index] == Outcome::Inside && !order.is_inside(index, found[index]);
            asked(index) && (first || left())
        });
        for (index, wanted) in wanted.indexed_iter_mut() {
            if !work[index] {
                *wanted = before[index];
            }
        }
        let mut targets = loading.on_the_way(wanted.view(), before, others.view());
        let part = |read: &f64, wanted: &f64| if *wanted > 0.0 { read / wanted } else { 1.0 };
        let left = Zip::from(&targets).and(&wanted).map_collect(part);
        let scale = Array2::from_shape_fn(wanted.dim(), |index| {
            if targets[index] > 0.0 && order.targets[index] > 0.0 && work[index] {
                order.targets[index] / targets[index]
            } else {
                1.0
            }
        });
        let narrowest = scale.iter().fold(1.0, |least: f64, scale| least.min(1.0 / scale));
        for (index, target) in targets.indexed_iter_mut() {
            if !work[index] {
                *target = f64::NAN;
            }
        }
        let error_rms = (!first).then(|| rms(&(&found - &order.targets)));
        Ok(Plan { targets, scale, left, narrowest, error_rms })
    }

    /// Every cell of a plan once, job by job.
    fn run_pass(
        &mut self,
        jobs: &Jobs<'_>,
        programmed: &mut Programmed,
        record: &mut impl FnMut(JobId, Region) -> Result<(), String>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), InstrumentError> {
        let Jobs { region, parts, order, plan, .. } = *jobs;
        let of = u32::from(order.passes) * region.cells();
        let mut before = Progress::default();
        for &part in parts {
            let corner = (usize::from(part.row - region.row), usize::from(part.column - region.column));
            let (rows, columns) = (usize::from(part.rows), usize::from(part.columns));
            let here = s![corner.0..corner.0 + rows, corner.1..corner.1 + columns];
            let targets = plan.targets.slice(here);
            if targets.iter().all(|target| target.is_nan()) {
                before.cells += part.cells();
                continue;
            }
            for attempt in 1.. {
                let job = JobId(getrandom::u64().map_err(LinkError::Entropy)?);
                record(job, part).map_err(InstrumentError::NotRecorded)?;
                let ended = self.run_job(job, part, jobs, targets, |here| {
                    progress(Progress {
                        cells: before.cells + here.cells,
                        pulses: before.pulses + here.pulses,
                        of,
                    });
                })?;
                if ended.known {
                    self.fetch(job, part, |row, column, result| {
                        let index = (corner.0 + row, corner.1 + column);
                        programmed.add(index, result, plan.scale[index]);
                    })?;
                    self.release_job(job)?;
                }
                before.pulses += ended.pulses;
                match ended.end {
                    JobEnd::Finished => break,
                    // A new session ends the job of the old one. Cells inside their window are left alone by the next.
                    JobEnd::Disarmed | JobEnd::Aborted if ended.reconnected && attempt < JOBS => {
                        log::warn!(
                            "job {:#018x} ended with the link; starting another for its region",
                            job.0
                        );
                    }
                    end => {
                        let (done, of) = (ended.cells, part.cells());
                        return Err(InstrumentError::JobEnded { job: job.0, end, done, of });
                    }
                }
            }
            before.cells += part.cells();
        }
        Ok(())
    }

    /// Starts a job and follows it to its end, through lost links.
    fn run_job(
        &mut self,
        job: JobId,
        region: Region,
        jobs: &Jobs<'_>,
        targets: ArrayView2<'_, f64>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Ended, InstrumentError> {
        let boot = self.client.welcome().boot_nonce;
        let mut reconnects = 0;
        let mut armed = Instant::now();
        let mut pause = self.client.poll_time();
        let mut started = self.start_job(job, region, jobs, targets);
        loop {
            let looked = started.and_then(|()| {
                if armed.elapsed() > RENEW {
                    self.arm(ARM_MS)?;
                    armed = Instant::now();
                }
                self.job_state(job)
            });
            match looked {
                Ok(JobState::Running { cells, of, pulses }) => {
                    progress(Progress { cells, of, pulses });
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
                Ok(JobState::Ended { end, cells, of, pulses }) => {
                    progress(Progress { cells, of, pulses });
                    return Ok(Ended { end, cells, pulses, known: true, reconnected: reconnects > 0 });
                }
                // The link was lost before the job had arrived.
                Ok(JobState::Unknown { boot_nonce }) if boot_nonce == boot && reconnects > 0 => {
                    let end = JobEnd::Aborted;
                    return Ok(Ended { end, cells: 0, pulses: 0, known: false, reconnected: true });
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
            started = self.client.pause_for_job(pause).map_err(InstrumentError::from);
        }
    }

    fn start_job(
        &mut self,
        job: JobId,
        region: Region,
        jobs: &Jobs<'_>,
        targets: ArrayView2<'_, f64>,
    ) -> Result<(), InstrumentError> {
        let Jobs { order, range, plan, .. } = *jobs;
        let (row, column) =
            (usize::from(region.row - order.origin.0), usize::from(region.column - order.origin.1));
        let (rows, columns) = (usize::from(region.rows), usize::from(region.columns));
        let left = plan.left.slice(s![row..row + rows, column..column + columns]).mean().unwrap_or(1.0);
        let targets: Vec<u8> = targets.iter().flat_map(|&target| (target as f32).to_le_bytes()).collect();
        self.arm(ARM_MS)?;
        let request = Request::Program(Program {
            job,
            region,
            targets: &targets,
            window: Siemens(((order.window - order.guard) * plan.narrowest) as f32),
            algorithm: at_the_driver(order.algorithm, pulse_left(left, order.scheme)),
            width: Seconds(order.width as f32),
            scheme: order.scheme,
            read_volts: Volts(order.read_volts as f32),
            range,
            conversions: order.conversions.0,
            max_conversions: order.conversions.1,
            confirm: order.confirm,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Emulation, profile};
    use crate::client::Client;
    use crate::device::EmulatedDevice;
    use crate::transport::{InProcess, Pace, Transport, TransportError};

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

    fn order(rows: usize, columns: usize) -> ProgramOrder {
        let recipe = Recipe::for_profile(&profile(Some("rram-cmo")).unwrap()).unwrap();
        let span = recipe.g_max - recipe.g_min;
        let targets = Array2::from_shape_fn((rows, columns), |(i, j)| {
            recipe.g_min + span * ((i * 5 + j * 3) % 10) as f64 / 12.0
        });
        ProgramOrder::new(&recipe, (1, 2), targets)
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
            let mut jobs = Vec::new();
            let programmed = instrument
                .program(
                    &order(14, 14),
                    |job, _| {
                        jobs.push(job);
                        Ok(())
                    },
                    |_| {},
                )
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
    fn a_model_is_told_in_volts_of_a_driver_whose_row_is_loaded() {
        let recipe = Recipe::for_profile(&profile(Some("rram-cmo")).unwrap()).unwrap();
        // 64 cells of 45 µS behind 100 Ω leave 78 % of a read and, their columns being at half, 89 % of a pulse.
        let left = 1.0 / (1.0 + 100.0 * 64.0 * 45e-6);
        let part = pulse_left(left, Scheme::Half);
        assert!((part - 0.888).abs() < 1e-3, "{part}");
        let Algorithm::Model(model) = at_the_driver(recipe.algorithm(), part) else { panic!("not a model") };
        assert!((f64::from(model.set.threshold.0) * part - 1.0).abs() < 1e-6);
        assert!((f64::from(model.set.reference.0) * part - 1.5).abs() < 1e-6);
        assert_eq!(model.set.stop, recipe.model.set.stop);
    }

    #[test]
    fn a_job_that_cannot_be_recorded_is_not_sent() {
        let mut instrument = instrument(0..0);
        let error = instrument.program(&order(2, 2), |_, _| Err("disk full".to_owned()), |_| {}).unwrap_err();
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
            let error = instrument.program(&order, |_, _| Ok(()), |_| {}).unwrap_err();
            assert!(matches!(error, InstrumentError::Argument(_)), "{error}");
            assert_eq!(instrument.client().traffic().sent, before);
        }
    }
}
