//! Programming conductances: write-verify runs on the device as a job; the host starts it, keeps it armed, follows
//! it, and fetches what came of each cell. A broken link in between costs nothing that the device still knows.

use super::books::{Books, CellDone, JobNote, PastJob, ResetCells, is_final};
use super::job::{ARM_MS, Followed, RECONNECTS, Received};
use super::loading::{Loading, Target};
use super::read::{ReadSettings, split};
use super::{Instrument, InstrumentError, unexpected};
use crate::client::LinkError;
use crate::recipe::Recipe;
use ndarray::{Array2, Axis, Zip, s};
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
            row_ohms: recipe.row_ohms,
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
    /// Whether the current of pulses was sampled in time to cut those beyond its limit, in all jobs that were started here;
    /// `None` if none was.
    pub current_limited: Option<bool>,
    /// Pass by pass.
    pub passes: Vec<PassRecord>,
    /// Resets of the device that ended a job of an earlier process; pulses that only the lost job knew of are missing.
    pub resets: Vec<ResetCells>,
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

/// What a pass is to do, (rows, columns) of the region each.
struct Plan {
    /// Which cells to work on.
    work: Array2<bool>,
    /// What each cell has to read as when its turn comes, S.
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

/// One time through the cells of an order.
struct Pass<'a> {
    pass: u8,
    order: &'a ProgramOrder,
    region: Region,
    range: u8,
    plan: &'a Plan,
}

/// A job of an earlier process whose end is known now.
struct Settled {
    note: JobNote,
    cells: Vec<CellDone>,
    /// The device was reset before its results were received.
    reset: bool,
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
            programmed.add(index, &cell.result, self.plan.scale[index]);
            left[index] &= !is_final(&cell.result);
        }
    }
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
            current_limited: None,
            passes: Vec::new(),
            resets: Vec::new(),
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
        self.resets.extend_from_slice(&later.resets);
    }

    /// Mean pulses per cell.
    #[must_use]
    pub fn pulses_mean(&self) -> f64 {
        self.pulses.iter().map(|&pulses| f64::from(pulses)).sum::<f64>() / self.pulses.len().max(1) as f64
    }
}

impl Instrument {
    /// The feedback setting that an order's verify reads are made in.
    ///
    /// # Errors
    /// [`InstrumentError::Argument`] if the board hasn't got it, or none that is linear up to the largest target.
    pub fn verify_range(&self, order: &ProgramOrder) -> Result<u8, InstrumentError> {
        let largest = order.targets.iter().copied().fold(0.0, f64::max) + order.window;
        let range = match order.range {
            Some(range) => range,
            // A cell may overshoot before it is brought back.
            None => self.range_for(1.5 * largest * order.read_volts)?,
        };
        self.feedback(range)?;
        Ok(range)
    }

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
        let region = self.check_order(order)?;
        let range = self.verify_range(order)?;
        let mut programmed = Programmed::pending(order.targets.dim());
        let mut all = || -> Result<(), InstrumentError> {
            for pass in 0..order.passes {
                let past: Vec<&PastJob> = past.iter().filter(|job| job.note.pass == pass).collect();
                let settled = self.settle(&past, books)?;
                if pass > 0 && order.wait > 0.0 && past.is_empty() {
                    self.wait(order.wait, |_| {})?;
                }
                let plan = self.plan(pass, region, order, &programmed)?;
                let cells = plan.work.iter().filter(|work| **work).count();
                if cells == 0 && past.is_empty() {
                    break;
                }
                let before = programmed.pulses_sum();
                let work = Pass { pass, order, region, range, plan: &plan };
                self.run_pass(&work, &settled, &mut programmed, books, &mut progress)?;
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
        pass: u8,
        region: Region,
        order: &ProgramOrder,
        programmed: &Programmed,
    ) -> Result<Plan, InstrumentError> {
        let first = pass == 0;
        let asked = |index| order.work.as_ref().is_none_or(|work| work[index]);
        if first && order.row_ohms == 0.0 {
            let targets = order.targets.clone();
            let work = Array2::from_shape_fn(targets.dim(), asked);
            let ones = Array2::ones(targets.dim());
            let (scale, left, narrowest, error_rms) = (ones.clone(), ones, 1.0, None);
            return Ok(Plan { work, targets, scale, left, narrowest, error_rms });
        }
        let rows = Region { column: 0, columns: self.device().columns, ..region };
        let settings = ReadSettings { volts: order.read_volts, range: None, conversions: SURVEY_CONVERSIONS };
        let read = self.survey(rows, &settings)?;
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
        let ratio = |a: &f64, b: &f64| if *a > 0.0 && *b > 0.0 { a / b } else { 1.0 };
        let meaning = Zip::from(&order.targets).and(&wanted).map_collect(ratio);
        for (index, wanted) in wanted.indexed_iter_mut() {
            if !work[index] {
                *wanted = before[index];
            }
        }
        let targets = loading.on_the_way(wanted.view(), before, others.view());
        let left = Zip::from(&targets).and(&wanted).map_collect(ratio);
        let scale = &meaning / &left;
        let narrowest = scale.iter().fold(1.0, |least: f64, scale| least.min(1.0 / scale));
        let error_rms = (!first).then(|| rms(&(&found - &order.targets)));
        Ok(Plan { work, targets, scale, left, narrowest, error_rms })
    }

    /// Conductances of whole rows, through lost links: reads may be repeated.
    fn survey(&mut self, rows: Region, settings: &ReadSettings) -> Result<Array2<f64>, InstrumentError> {
        let mut reconnects = 0;
        loop {
            match self.read_cells(rows, settings) {
                Ok(map) => return Ok(map.conductance),
                Err(InstrumentError::Link(
                    error @ (LinkError::TimedOut { .. } | LinkError::SessionLost { .. }),
                )) if reconnects < RECONNECTS => {
                    log::warn!("{error}; opening a new session to read again");
                    reconnects += 1;
                    self.client.reconnect()?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Follows what an earlier process sent to its end.
    fn settle(&mut self, past: &[&PastJob], books: &mut dyn Books) -> Result<Vec<Settled>, InstrumentError> {
        let mut settled = Vec::new();
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
            settled.push(Settled { note: job.note, cells, reset });
        }
        Ok(settled)
    }

    /// Every cell of a plan once, job by job.
    fn run_pass(
        &mut self,
        work: &Pass<'_>,
        settled: &[Settled],
        programmed: &mut Programmed,
        books: &mut dyn Books,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), InstrumentError> {
        let &Pass { pass, order, region, plan, .. } = work;
        let mut left = plan.work.clone();
        let mut pulses = 0;
        for Settled { note, cells, reset } in settled {
            work.take_in(cells, &mut left, programmed);
            pulses += cells.iter().map(|cell| u64::from(cell.result.pulses)).sum::<u64>();
            if *reset && work.has_any_of(note.region, &left) {
                programmed.resets.push(ResetCells::new(note, order.origin, &left));
            }
        }
        let most = (body_bytes(self.client.frame_bytes()).saturating_sub(REQUEST_OVERHEAD) / 4)
            .min(self.client.welcome().job_cells as usize)
            .max(1);
        let of = u32::from(order.passes) * region.cells();
        let mut attempts = 0;
        'again: while left.iter().any(|&left| left) {
            // Bands of columns: the work goes column by column, and within a job rows are loaded alike.
            let band = usize::from(region.rows).min(most);
            for part in split(region, band, most / band) {
                if work.has_any_of(part, &left) {
                    let finished = left.iter().filter(|&&left| !left).count() as u32;
                    let before = Progress { cells: u32::from(pass) * region.cells() + finished, pulses, of };
                    let id = JobId(getrandom::u64().map_err(LinkError::Entropy)?);
                    let note =
                        JobNote { id, pass, region: part, boot_nonce: self.client.welcome().boot_nonce };
                    books.sending(&note).map_err(InstrumentError::NotRecorded)?;
                    let started = self.start_job(id, part, work, &left).map(|current_limited| {
                        programmed.current_limited =
                            Some(current_limited && programmed.current_limited.unwrap_or(true));
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
        part: Region,
        work: &Pass<'_>,
        cells: &Array2<bool>,
    ) -> Result<bool, InstrumentError> {
        let &Pass { order, region, range, plan, .. } = work;
        let (row, column) = (usize::from(part.row - region.row), usize::from(part.column - region.column));
        let here = s![row..row + usize::from(part.rows), column..column + usize::from(part.columns)];
        let targets: Vec<u8> = Zip::from(plan.targets.slice(here))
            .and(cells.slice(here))
            .map_collect(|&target, &work| if work { target as f32 } else { f32::NAN })
            .iter()
            .flat_map(|target| target.to_le_bytes())
            .collect();
        let left = plan.left.slice(here).mean().unwrap_or(1.0);
        self.arm(ARM_MS)?;
        let request = Request::Program(Program {
            job,
            region: part,
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
