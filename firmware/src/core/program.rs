//! Write-verify of a region as a job: column by column, cell by cell, read → pulse → read until the cell is inside
//! its window or a budget is spent.
//!
//! A verify read is taken at +V only, against a zero reading of the same column made once per cell: the amplifier's
//! offset is gone, and a step costs one settling instead of two.

use super::acquire::{Conversion, Step, Sums};
use super::budgets::{Budgets, Exposure};
use super::limits;
use super::pulse::{ColumnCurrent, PulseMachine, PulseOrder, Sense};
use crate::front_end::{FrontEnd, FrontEndError, Selection};
use ohmrig_protocol::message::{Algorithm, CellResult, JobId, Limits, Outcome, Region, Scheme, Staircase};
use ohmrig_protocol::units::{Amperes, Siemens, Volts};

/// Conversions of the zero reading, at least.
const ZERO_CONVERSIONS: u16 = 4;

/// A cell that hasn't reached its target after this many pulses of the largest amplitude is stuck.
const PULSES_AT_STOP: u16 = 20;

/// Target and result of one cell of a job.
#[derive(Clone, Copy, Debug)]
pub struct JobCell {
    pub(super) target: f32,
    pub(super) result: CellResult,
}

impl JobCell {
    /// Of no job.
    pub const EMPTY: Self = Self { target: 0.0, result: CellResult::PENDING };
}

/// What to do, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProgramOrder {
    pub(super) job: JobId,
    pub(super) region: Region,
    pub(super) window: f32,
    pub(super) algorithm: Algorithm,
    pub(super) width_ns: u32,
    pub(super) scheme: Scheme,
    pub(super) read_volts: Volts,
    pub(super) read_code: u16,
    pub(super) range: u8,
    pub(super) conversions: u16,
    pub(super) max_pulses: u16,
    pub(super) max_reversals: u8,
}

impl ProgramOrder {
    /// The most it can do to a cell.
    pub(super) fn most(&self, limits: &Limits) -> Exposure {
        let Algorithm::Incremental { set, reset } = self.algorithm;
        let volts = Volts(set.stop.0.max(reset.stop.0));
        Exposure::of(volts, self.width_ns, self.scheme, limits.current).times(self.max_pulses.into())
    }
}

/// A job under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProgramMachine {
    pub(super) order: ProgramOrder,
    /// Cells finished, in the order of work (column by column).
    pub(super) finished: u32,
    /// Pulses so far.
    pub(super) pulses: u64,
    stage: Stage,
    sums: Sums,
    zero: Sums,
    conversion: Conversion,
    present: Present,
    current: ColumnCurrent,
}

/// The cell at hand.
#[derive(Clone, Copy, Debug)]
struct Present {
    /// +1 SET, −1 RESET, 0 before the first pulse.
    direction: i8,
    amplitude: f32,
    pulses_at_stop: u16,
    /// The last pulse's current passed its limit.
    tripped: bool,
    result: CellResult,
}

impl Present {
    const FRESH: Self =
        Self { direction: 0, amplitude: 0.0, pulses_at_stop: 0, tripped: false, result: CellResult::PENDING };
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Range,
    Select,
    Ground,
    Zero,
    Drive,
    Verify,
    Judge,
    Pulse(PulseMachine),
}

impl ProgramMachine {
    pub(super) fn new(order: ProgramOrder) -> Self {
        Self {
            order,
            finished: 0,
            pulses: 0,
            stage: Stage::Range,
            sums: Sums::default(),
            zero: Sums::default(),
            conversion: Conversion::default(),
            present: Present::FRESH,
            current: ColumnCurrent::default(),
        }
    }

    /// Row and column of the cell at hand.
    fn cell(&self) -> (u16, u16) {
        let rows = u32::from(self.order.region.rows).max(1);
        #[allow(clippy::cast_possible_truncation)] // Both are within a region of u16 sides.
        let (column, row) = ((self.finished / rows) as u16, (self.finished % rows) as u16);
        (self.order.region.row + row, self.order.region.column + column)
    }

    /// Index of the cell at hand in the job's cells, which are kept row by row.
    fn index(&self) -> usize {
        let (row, column) = self.cell();
        let region = &self.order.region;
        usize::from(row - region.row) * usize::from(region.columns) + usize::from(column - region.column)
    }

    fn selection(&self) -> Selection {
        let (row, column) = self.cell();
        Selection { row, column, scheme: self.order.scheme }
    }

    /// Between pulses: the job may be ended here without losing count of one.
    pub(super) fn is_between_pulses(&self) -> bool {
        !matches!(&self.stage, Stage::Pulse(pulse) if pulse.edge_at_ns.is_some())
    }

    /// Keeps what is known of the cell at hand when the job ends early.
    pub(super) fn put_down(&mut self, cells: &mut [JobCell]) {
        if let Some(cell) = cells.get_mut(self.index())
            && self.finished < self.order.region.cells()
        {
            cell.result = self.present.result;
        }
    }

    /// One step, and whether a conversion was read out in it.
    pub(super) fn step(
        &mut self,
        front_end: &mut impl FrontEnd,
        limits: &Limits,
        cells: &mut [JobCell],
        budgets: &mut Budgets<'_>,
        now_ns: u64,
    ) -> Result<(Step, bool), FrontEndError> {
        let (row, column) = self.cell();
        let mut code = [0];
        let settle = match &mut self.stage {
            Stage::Range => {
                self.stage = Stage::Select;
                front_end.set_range(self.order.range)?
            }
            Stage::Select => {
                self.stage = Stage::Ground;
                self.present = Present::FRESH;
                self.zero = Sums::default();
                front_end.select(self.selection())?
            }
            Stage::Ground => {
                self.stage = Stage::Zero;
                front_end.ground_rows()?
            }
            Stage::Zero => {
                match self.conversion.step(front_end, column, &mut code)? {
                    step @ Step::Again(_) => return Ok((step, false)),
                    Step::Done => {}
                }
                let [code] = code;
                self.zero.add(code, front_end.description().converters.adc_linear);
                if self.zero.count >= u32::from(self.order.conversions.max(ZERO_CONVERSIONS)) {
                    self.stage = Stage::Drive;
                }
                return Ok((Step::NOW, true));
            }
            Stage::Drive => {
                self.stage = Stage::Verify;
                self.sums = Sums::default();
                front_end.drive_row(row, self.order.read_code)?
            }
            Stage::Verify => {
                match self.conversion.step(front_end, column, &mut code)? {
                    step @ Step::Again(_) => return Ok((step, false)),
                    Step::Done => {}
                }
                let [code] = code;
                self.sums.add(code, front_end.description().converters.adc_linear);
                if self.sums.count >= u32::from(self.order.conversions) {
                    self.stage = Stage::Judge;
                }
                return Ok((Step::NOW, true));
            }
            Stage::Judge => {
                let settle = front_end.ground_rows()?;
                let next = self.judge(front_end, limits, cells, budgets);
                return Ok((next.unwrap_or(Step::Again(settle)), false));
            }
            Stage::Pulse(pulse) => {
                let before = pulse.edge_at_ns.is_some();
                let step = pulse.step(front_end, limits, now_ns)?;
                if !before && pulse.edge_at_ns.is_some() {
                    self.pulses += 1;
                    self.present.result.pulses += 1;
                }
                if step != Step::Done {
                    return Ok((step, false));
                }
                self.current.note(pulse);
                self.present.tripped = pulse.tripped;
                self.stage = Stage::Drive;
                return Ok((Step::NOW, false));
            }
        };
        Ok((Step::Again(settle), false))
    }

    /// Decides what follows a verify read; `Some(Done)` ends the job.
    fn judge(
        &mut self,
        front_end: &impl FrontEnd,
        bounds: &Limits,
        cells: &mut [JobCell],
        budgets: &mut Budgets<'_>,
    ) -> Option<Step> {
        self.measure(front_end);
        let target = cells.get(self.index()).map_or(f32::NAN, |cell| cell.target);
        let error = self.present.result.conductance.0 - target;
        let magnitude = if error < 0.0 { -error } else { error };
        let mut outcome = if self.present.tripped {
            Some(Outcome::OverCurrent)
        } else if self.sums.saturated || self.zero.saturated {
            Some(Outcome::Saturated)
        } else if magnitude <= self.order.window {
            Some(Outcome::Inside)
        } else if self.present.result.pulses >= self.order.max_pulses {
            Some(Outcome::Pulses)
        } else {
            self.choose(if error < 0.0 { 1 } else { -1 })
        };
        // No pulse that the cell as last read would already take beyond its limit.
        let current = self.present.result.conductance.0 * self.present.amplitude;
        if outcome.is_none() && limits::passes_current(Amperes(current), bounds) {
            outcome = Some(Outcome::Limit);
        }
        let volts = Volts(f32::from(self.present.direction) * self.present.amplitude);
        // Counted before the edge: a reset in between over-counts, never under-counts.
        if outcome.is_none() {
            let exposure = Exposure::of(volts, self.order.width_ns, self.order.scheme, bounds.current);
            if budgets.charge(self.cell(), &exposure, bounds, front_end.description()).is_err() {
                outcome = Some(Outcome::Budget);
            }
        }
        let Some(outcome) = outcome else {
            let (selection, range) = (self.selection(), self.order.range);
            let widest = self.current.needs_widest(selection.column, volts, range, front_end);
            self.stage = Stage::Pulse(PulseMachine::new(PulseOrder {
                selection,
                volts,
                width_ns: self.order.width_ns,
                gate: None,
                sense: Sense { range, widest, report: false },
            }));
            return None;
        };
        self.present.result.outcome = outcome;
        self.put_down(cells);
        self.finished += 1;
        self.stage = Stage::Select;
        (self.finished >= self.order.region.cells()).then_some(Step::Done)
    }

    /// Conductance and its standard uncertainty from the verify sums against the zero sums.
    fn measure(&mut self, front_end: &impl FrontEnd) {
        let converters = &front_end.description().converters;
        let feedback =
            converters.feedback.get(usize::from(self.order.range)).map_or(f32::NAN, |feedback| feedback.0);
        // Amplifiers invert: output volts = −current · feedback.
        let scale = -converters.adc_step.0 / (feedback * self.order.read_volts.0);
        let variance = self.sums.variance_of_mean() + self.zero.variance_of_mean();
        let magnitude = if scale < 0.0 { -scale } else { scale };
        self.present.result.conductance = Siemens((self.sums.mean() - self.zero.mean()) * scale);
        self.present.result.uncertainty = Siemens(libm::sqrtf(variance) * magnitude);
    }

    /// Chooses the next pulse in `direction`, or the reason why there is none.
    fn choose(&mut self, direction: i8) -> Option<Outcome> {
        let Algorithm::Incremental { set, reset } = self.order.algorithm;
        let Staircase { start, step, stop } = if direction > 0 { set } else { reset };
        let present = &mut self.present;
        if present.direction != direction {
            if present.direction != 0 {
                if present.result.reversals >= self.order.max_reversals {
                    return Some(Outcome::Reversals);
                }
                present.result.reversals += 1;
            }
            present.direction = direction;
            present.amplitude = start.0;
            present.pulses_at_stop = 0;
        } else {
            present.amplitude = (present.amplitude + step.0).min(stop.0);
        }
        if present.amplitude >= stop.0 {
            present.pulses_at_stop += 1;
            if present.pulses_at_stop > PULSES_AT_STOP {
                return Some(Outcome::Stuck);
            }
        }
        None
    }
}
