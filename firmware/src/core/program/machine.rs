//! The job, step by step.

use super::super::acquire::{Conversion, Step};
use super::super::budgets::{Budgets, Exposure};
use super::super::limits;
use super::super::pulse::{ColumnCurrent, PulseMachine, PulseOrder, Sense};
use super::JobCell;
use super::algorithms::{Experiences, Present};
use super::model::Experience;
use super::verify::{self, Pair, Reading, Verdict};
use crate::front_end::{FrontEnd, FrontEndError, Selection, Settle};
use ohmrig_protocol::message::{Algorithm, JobId, Limits, Outcome, Region, Scheme};
use ohmrig_protocol::units::{Amperes, Siemens, Volts};

/// What to do, checked.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct ProgramOrder {
    pub(in super::super) job: JobId,
    pub(in super::super) region: Region,
    pub(in super::super) window: f32,
    pub(in super::super) algorithm: Algorithm,
    pub(in super::super) width_ns: u32,
    /// To which forming may widen its pulses.
    pub(in super::super) widest_ns: u32,
    /// From a pulse's end to the read after it.
    pub(in super::super) gap_ns: u32,
    pub(in super::super) scheme: Scheme,
    pub(in super::super) read_volts: Volts,
    /// Row codes of +V and −V.
    pub(in super::super) read_codes: [u16; 2],
    pub(in super::super) range: u8,
    pub(in super::super) conversions: u16,
    pub(in super::super) max_conversions: u16,
    pub(in super::super) confirm: u16,
    pub(in super::super) max_pulses: u16,
    pub(in super::super) max_reversals: u8,
}

impl ProgramOrder {
    /// The most it can do to a cell.
    pub(in super::super) fn most(&self, limits: &Limits) -> Exposure {
        let (volts, width_ns) = match &self.algorithm {
            Algorithm::Incremental { set, reset } => (set.stop.0.max(reset.stop.0), self.width_ns),
            Algorithm::Identical { set, reset } => (set.0.max(reset.0), self.width_ns),
            Algorithm::Seeking { stairs } => (stairs.stop.0, self.width_ns),
            Algorithm::Model(model) => (model.set.stop.0.max(model.reset.stop.0), self.width_ns),
            Algorithm::Form(forming) => (forming.volts.stop.0, self.widest_ns),
        };
        Exposure::of(Volts(volts), width_ns, self.scheme, limits.current).times(self.max_pulses.into())
    }
}

/// A job under way.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct ProgramMachine {
    pub(in super::super) order: ProgramOrder,
    /// Cells finished, in the order of work (column by column).
    pub(in super::super) finished: u32,
    /// Pulses so far.
    pub(in super::super) pulses: u64,
    stage: Stage,
    conversion: Conversion,
    sums: Pair,
    /// The row is, or is about to be, at −V.
    minus: bool,
    /// This polarity is the second one of the round.
    second: bool,
    /// Conversions at each polarity that end this round.
    round: u32,
    /// The cell is inside; this read only reports it.
    confirming: bool,
    /// What both polarities of this cell's last whole read had in common, codes.
    offset: Option<f32>,
    present: Present,
    experiences: Experiences,
    current: ColumnCurrent,
    /// The last pulse's current passed its limit.
    tripped: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Range,
    Next,
    Drive,
    Sample,
    Judge,
    Pulse(PulseMachine),
    Rest,
}

impl ProgramMachine {
    #[inline(never)]
    pub(in super::super) fn new(order: ProgramOrder) -> Self {
        let experiences = [Experience::NONE; 2];
        Self {
            order,
            finished: 0,
            pulses: 0,
            stage: Stage::Range,
            conversion: Conversion::default(),
            sums: Pair::default(),
            minus: false,
            second: false,
            round: 0,
            confirming: false,
            offset: None,
            present: Present::start(&order, &experiences),
            experiences,
            current: ColumnCurrent::default(),
            tripped: false,
        }
    }

    /// Row and column of the cell at hand.
    #[inline(never)] // Its overflow checks once.
    fn cell(&self) -> (u16, u16) {
        let rows = u32::from(self.order.region.rows).max(1);
        #[allow(clippy::cast_possible_truncation)] // Both are within a region of u16 sides.
        let (column, row) = ((self.finished / rows) as u16, (self.finished % rows) as u16);
        (self.order.region.row + row, self.order.region.column + column)
    }

    /// Index of the cell at hand in the job's cells, which are kept row by row.
    #[inline(never)] // Likewise.
    fn index(&self) -> usize {
        let (row, column) = self.cell();
        let region = &self.order.region;
        usize::from(row - region.row) * usize::from(region.columns) + usize::from(column - region.column)
    }

    fn selection(&self) -> Selection {
        let (row, column) = self.cell();
        let forming = matches!(self.order.algorithm, Algorithm::Form(_));
        Selection { row, column, scheme: self.order.scheme, forming }
    }

    /// Between pulses: the job may be ended here without losing count of one.
    pub(in super::super) fn is_between_pulses(&self) -> bool {
        !matches!(&self.stage, Stage::Pulse(pulse) if pulse.edge_at_ns.is_some())
    }

    /// Keeps what is known of the cell at hand when the job ends early.
    pub(in super::super) fn put_down(&self, cells: &mut [JobCell]) {
        if let Some(cell) = cells.get_mut(self.index())
            && self.finished < self.order.region.cells()
        {
            cell.result = self.present.result;
        }
    }

    /// One step, and whether a conversion was read out in it.
    #[inline(never)]
    pub(in super::super) fn step(
        &mut self,
        front_end: &mut impl FrontEnd,
        limits: &Limits,
        cells: &mut [JobCell],
        budgets: &mut Budgets<'_>,
        now_ns: u64,
    ) -> Result<(Step, bool), FrontEndError> {
        let (row, column) = self.cell();
        let settle = match &mut self.stage {
            Stage::Range => {
                self.stage = Stage::Next;
                front_end.set_range(self.order.range)?
            }
            Stage::Next => {
                if cells.get(self.index()).is_none_or(|cell| cell.target.is_nan()) {
                    self.present.result.outcome = Outcome::Skipped;
                    return Ok((self.finish(cells), false));
                }
                (self.offset, self.tripped) = (None, false);
                self.begin_read(false);
                front_end.select(self.selection())?
            }
            Stage::Drive => {
                self.stage = Stage::Sample;
                let [plus, minus] = self.order.read_codes;
                front_end.drive_row(row, if self.minus { minus } else { plus })?
            }
            Stage::Sample => {
                let mut code = [0];
                match self.conversion.step(front_end, column, &mut code)? {
                    step @ Step::Again(_) => return Ok((step, false)),
                    Step::Done => {}
                }
                let [code] = code;
                self.sums.add(self.minus, code, front_end.description().converters.adc_linear);
                if self.sums.count(self.minus) >= self.round {
                    self.stage = Stage::Judge;
                }
                return Ok((Step::NOW, true));
            }
            Stage::Judge => return Ok((self.judge(front_end, limits, cells, budgets)?, false)),
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
                self.tripped = pulse.tripped;
                self.stage = Stage::Rest;
                Settle { ns: self.order.gap_ns }
            }
            Stage::Rest => {
                self.begin_read(false);
                return Ok((Step::NOW, false));
            }
        };
        Ok((Step::Again(settle), false))
    }

    /// A read from nothing, at +V first.
    fn begin_read(&mut self, confirming: bool) {
        self.confirming = confirming;
        self.sums = Pair::default();
        self.minus = false;
        self.second = false;
        self.round = u32::from(if confirming { self.order.confirm } else { self.order.conversions });
        self.stage = Stage::Drive;
    }

    /// Decides what follows a round of conversions.
    fn judge(
        &mut self,
        front_end: &mut impl FrontEnd,
        bounds: &Limits,
        cells: &mut [JobCell],
        budgets: &mut Budgets<'_>,
    ) -> Result<Step, FrontEndError> {
        let scale = self.siemens_per_code(front_end);
        let target = cells.get(self.index()).map_or(f32::NAN, |cell| cell.target);
        if !self.second {
            let half = self.offset.and_then(|offset| self.sums.half(self.minus, offset, scale));
            let far = |half: &Reading| verify::is_far(half, self.error(half, target), self.order.window);
            if let Some(reading) = half.filter(far).filter(|_| !self.confirming && !self.tripped) {
                return self.outside(front_end, bounds, cells, budgets, &reading, target);
            }
            self.second = true;
            self.minus = !self.minus;
            self.stage = Stage::Drive;
            return Ok(Step::NOW);
        }
        let reading = self.sums.reading(scale);
        self.offset = Some(self.sums.offset());
        self.present.result.conductance = Siemens(reading.conductance);
        self.present.result.uncertainty = Siemens(reading.uncertainty);
        if self.tripped {
            return self.leave(front_end, cells, Outcome::OverCurrent);
        }
        let verdict = self.verdict(&reading, target);
        if self.confirming {
            return self.leave(front_end, cells, Outcome::Inside);
        }
        let outcome = match verdict {
            Verdict::Unclear => {
                let most = u32::from(self.order.max_conversions);
                self.round = (2 * self.round).min(most);
                // The next round begins at the polarity at which this one has ended.
                self.second = false;
                self.stage = Stage::Sample;
                return Ok(Step::NOW);
            }
            Verdict::Saturated => Outcome::Saturated,
            Verdict::Inside if self.order.confirm > 0 => {
                self.begin_read(true);
                return Ok(Step::NOW);
            }
            Verdict::Inside => Outcome::Inside,
            Verdict::Noisy => Outcome::Noisy,
            Verdict::Outside => {
                return self.outside(front_end, bounds, cells, budgets, &reading, target);
            }
        };
        self.leave(front_end, cells, outcome)
    }

    /// A cell that needs a pulse: gives it, or gives up.
    fn outside(
        &mut self,
        front_end: &mut impl FrontEnd,
        bounds: &Limits,
        cells: &mut [JobCell],
        budgets: &mut Budgets<'_>,
        reading: &Reading,
        target: f32,
    ) -> Result<Step, FrontEndError> {
        self.present.result.conductance = Siemens(reading.conductance);
        self.present.result.uncertainty = Siemens(reading.uncertainty);
        self.present.learn(&self.order, &mut self.experiences, reading);
        match self.next_pulse(front_end, bounds, reading, target, budgets) {
            Ok(pulse) => {
                self.stage = Stage::Pulse(pulse);
                Ok(Step::NOW)
            }
            Err(outcome) => self.leave(front_end, cells, outcome),
        }
    }

    /// How far a cell is off its target, S.
    fn error(&self, reading: &Reading, target: f32) -> f32 {
        let error = reading.conductance - target;
        // A formed cell is at its target or anywhere above.
        if matches!(self.order.algorithm, Algorithm::Form(_)) { error.min(0.0) } else { error }
    }

    fn verdict(&self, reading: &Reading, target: f32) -> Verdict {
        let last = self.round >= u32::from(self.order.max_conversions);
        self.sums.judge(reading, self.error(reading, target), self.order.window, last)
    }

    /// The next pulse, or why there is none.
    fn next_pulse(
        &mut self,
        front_end: &impl FrontEnd,
        bounds: &Limits,
        reading: &Reading,
        target: f32,
        budgets: &mut Budgets<'_>,
    ) -> Result<PulseMachine, Outcome> {
        if self.present.result.pulses >= self.order.max_pulses {
            return Err(Outcome::Pulses);
        }
        let shot = self.present.choose(&self.order, &self.experiences, reading, target)?;
        // No pulse that the cell as last read would already take beyond its limit.
        if limits::passes_current(Amperes(reading.conductance * shot.volts), bounds) {
            return Err(Outcome::Limit);
        }
        let (selection, volts, range) = (self.selection(), Volts(shot.volts), self.order.range);
        // Counted before the edge: a reset in between over-counts, never under-counts.
        let exposure = Exposure::of(volts, shot.width_ns, self.order.scheme, bounds.current);
        budgets
            .charge(self.cell(), &exposure, bounds, front_end.description())
            .map_err(|_| Outcome::Budget)?;
        let widest = self.current.needs_widest(selection.column, volts, range, front_end);
        Ok(PulseMachine::new(PulseOrder {
            selection,
            volts,
            width_ns: shot.width_ns,
            gate: None,
            sense: Sense { range, widest, report: false },
        }))
    }

    /// Ends the work on the cell at hand, its row back at 0 V.
    fn leave(
        &mut self,
        front_end: &mut impl FrontEnd,
        cells: &mut [JobCell],
        outcome: Outcome,
    ) -> Result<Step, FrontEndError> {
        self.present.result.outcome = outcome;
        let settle = front_end.ground_rows()?;
        Ok(match self.finish(cells) {
            Step::Done => Step::Done,
            Step::Again(_) => Step::Again(settle),
        })
    }

    /// On to the next cell, if there is one.
    fn finish(&mut self, cells: &mut [JobCell]) -> Step {
        self.put_down(cells);
        self.finished += 1;
        // Nothing is known of the next one: a job that ends before its first read must not hand it this one's result.
        self.present = Present::start(&self.order, &self.experiences);
        self.stage = Stage::Next;
        if self.finished >= self.order.region.cells() { Step::Done } else { Step::NOW }
    }

    /// Amplifiers invert: output volts = −current · feedback.
    fn siemens_per_code(&self, front_end: &impl FrontEnd) -> f32 {
        let converters = &front_end.description().converters;
        let feedback =
            converters.feedback.get(usize::from(self.order.range)).map_or(f32::NAN, |feedback| feedback.0);
        -converters.adc_step.0 / (feedback * self.order.read_volts.0)
    }
}
