//! Which pulse comes next, by the rule the job asked for; and when a cell is given up.

use super::machine::ProgramOrder;
use super::model::{Attempt, Direction, Experience, Lesson};
use super::verify::Reading;
use ohmrig_protocol::message::{Algorithm, CellResult, Forming, Outcome, Staircase};

/// So many pulses of the largest amplitude in one direction must move a cell by the width of its window, or it is stuck.
const PULSES_AT_STOP: u8 = 10;

/// What all cells of a job together have taught: SET, RESET.
pub(super) type Experiences = [Experience; 2];

/// Of SET or of RESET.
fn side<T>([set, reset]: &[T; 2], is_set: bool) -> &T {
    if is_set { set } else { reset }
}

fn side_mut<T>([set, reset]: &mut [T; 2], is_set: bool) -> &mut T {
    if is_set { set } else { reset }
}

/// A pulse to give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shot {
    /// Signed, V.
    pub(super) volts: f32,
    pub(super) width_ns: u32,
}

/// The cell at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present {
    /// +1 to raise it, −1 to lower it, 0 before the first pulse.
    direction: i8,
    /// What raises it is negative.
    reversed: bool,
    attempt: Attempt,
    lessons: [Lesson; 2],
    /// As last read before its last pulse, S.
    before: f32,
    width_ns: u32,
    pulses_at_stop: u8,
    /// Conductance when these began, S.
    at_stop: f32,
    pub(super) result: CellResult,
}

impl Present {
    pub(super) fn start(order: &ProgramOrder, experiences: &Experiences) -> Self {
        Self {
            direction: 0,
            reversed: false,
            attempt: Attempt::default(),
            lessons: experiences.each_ref().map(Lesson::start),
            before: 0.0,
            width_ns: order.width_ns,
            pulses_at_stop: 0,
            at_stop: 0.0,
            result: CellResult::PENDING,
        }
    }

    /// Takes note of what the last pulse did, if there was one.
    pub(super) fn learn(&mut self, order: &ProgramOrder, experiences: &mut Experiences, after: &Reading) {
        let set = self.direction > 0;
        match &order.algorithm {
            _ if self.direction == 0 => {}
            Algorithm::Model(model) => {
                let (experience, lesson) = (side_mut(experiences, set), side_mut(&mut self.lessons, set));
                Direction::of(model, set).learn(experience, lesson, &self.attempt, after);
            }
            Algorithm::Seeking { .. } => {
                let moved = (after.conductance - self.before) * f32::from(self.direction);
                if moved < -(order.window.max(3.0 * after.uncertainty)) {
                    self.reversed = !self.reversed;
                    // The staircase begins again.
                    self.direction = 0;
                }
            }
            _ => {}
        }
    }

    /// Chooses the next pulse, or says why there is none.
    pub(super) fn choose(
        &mut self,
        order: &ProgramOrder,
        experiences: &Experiences,
        reading: &Reading,
        target: f32,
    ) -> Result<Shot, Outcome> {
        let set = reading.conductance < target;
        let direction = if set { 1 } else { -1 };
        let fresh = self.direction != direction;
        if fresh {
            if self.direction != 0 {
                if self.result.reversals >= order.max_reversals {
                    return Err(Outcome::Reversals);
                }
                self.result.reversals += 1;
            }
            self.direction = direction;
            self.pulses_at_stop = 0;
        }
        self.before = reading.conductance;
        let stop = match &order.algorithm {
            Algorithm::Incremental { set: stairs, .. } if set => self.climb(stairs, fresh),
            Algorithm::Incremental { reset: stairs, .. } | Algorithm::Seeking { stairs } => {
                self.climb(stairs, fresh)
            }
            Algorithm::Identical { set: volts, .. } if set => self.repeat(volts.0),
            Algorithm::Identical { reset: volts, .. } => self.repeat(volts.0),
            Algorithm::Model(model) => {
                let law = Direction::of(model, set);
                let (experience, lesson) = (side(experiences, set), side(&self.lessons, set));
                self.attempt = law.attempt(experience, lesson, reading.conductance, target);
                law.stop()
            }
            Algorithm::Form(forming) => {
                self.widen(order, forming, fresh)?;
                f32::INFINITY
            }
        };
        if self.attempt.amplitude >= stop && self.is_stuck(reading.conductance, order.window) {
            return Err(Outcome::Stuck);
        }
        let positive = set != self.reversed;
        let volts = if positive { self.attempt.amplitude } else { -self.attempt.amplitude };
        Ok(Shot { volts, width_ns: self.width_ns })
    }

    /// The next step of a staircase, or its first; the answer is its top.
    #[inline(never)]
    fn climb(&mut self, stairs: &Staircase, fresh: bool) -> f32 {
        let next = self.attempt.amplitude + stairs.step.0;
        self.attempt.amplitude = if fresh { stairs.start.0 } else { next.min(stairs.stop.0) };
        stairs.stop.0
    }

    fn repeat(&mut self, volts: f32) -> f32 {
        self.attempt.amplitude = volts;
        volts
    }

    /// The next step of forming: up the staircase, then from its foot with ten times the width.
    fn widen(&mut self, order: &ProgramOrder, forming: &Forming, fresh: bool) -> Result<(), Outcome> {
        let on_top = !fresh && self.attempt.amplitude >= forming.volts.stop.0;
        if on_top {
            let wider = self.width_ns.saturating_mul(10);
            if wider > order.widest_ns {
                return Err(Outcome::Stuck);
            }
            self.width_ns = wider;
        }
        self.climb(&forming.volts, fresh || on_top);
        Ok(())
    }

    /// One more pulse at the largest amplitude: whether enough of them have moved too little.
    fn is_stuck(&mut self, conductance: f32, window: f32) -> bool {
        if self.pulses_at_stop == 0 {
            self.at_stop = conductance;
        } else if self.pulses_at_stop >= PULSES_AT_STOP {
            if libm::fabsf(conductance - self.at_stop) < window {
                return true;
            }
            self.pulses_at_stop = 0;
            self.at_stop = conductance;
        }
        self.pulses_at_stop += 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ohmrig_protocol::message::{DoseLaw, JobId, Model, Region, Scheme};
    use ohmrig_protocol::units::{Seconds, Siemens, Volts};
    use std::vec::Vec;

    const STAIRS: Staircase = Staircase { start: Volts(1.1), step: Volts(0.05), stop: Volts(1.8) };
    const LAW: DoseLaw =
        DoseLaw { threshold: Volts(1.0), reference: Volts(1.5), dose: 0.3, exponent: 2.0, stop: Volts(1.79) };
    const MODEL: Model =
        Model { set: LAW, reset: LAW, floor: Siemens(10e-6), ceiling: Siemens(90e-6), melting: false };

    fn order(algorithm: Algorithm) -> ProgramOrder {
        ProgramOrder {
            job: JobId(1),
            region: Region { row: 0, column: 0, rows: 1, columns: 1 },
            window: 0.5e-6,
            algorithm,
            width_ns: 50_000,
            widest_ns: 50_000,
            gap_ns: 0,
            scheme: Scheme::Half,
            read_volts: Volts(0.2),
            read_codes: [0, 0],
            range: 0,
            conversions: 2,
            max_conversions: 4,
            confirm: 0,
            max_pulses: 200,
            max_reversals: 30,
        }
    }

    /// Programs one soft-bounds cell of `step` without any noise, and counts its pulses.
    fn program(
        order: &ProgramOrder,
        experiences: &mut Experiences,
        step: f32,
        polarity: f32,
        target: f32,
    ) -> Result<u32, Outcome> {
        let mut present = Present::start(order, experiences);
        let mut conductance = 20e-6f32;
        for pulses in 0..200 {
            let reading = Reading { conductance, uncertainty: 1e-8 };
            if pulses > 0 {
                present.learn(order, experiences, &reading);
            }
            if libm::fabsf(conductance - target) < order.window {
                return Ok(pulses);
            }
            let volts = polarity * present.choose(order, experiences, &reading, target)?.volts;
            let overdrive = ((libm::fabsf(volts) - 1.0) / 0.5).max(0.0);
            let left = libm::expf(-step * overdrive * overdrive);
            let bound = if volts > 0.0 { 90e-6 } else { 10e-6 };
            conductance = bound + (conductance - bound) * left;
        }
        Err(Outcome::Pulses)
    }

    #[test]
    fn a_model_that_is_right_takes_few_pulses_and_one_that_is_wrong_is_corrected_by_the_array() {
        let order = order(Algorithm::Model(MODEL));
        for step in [0.1, 0.3, 0.9] {
            let mut experiences = [Experience::NONE; 2];
            let counts: Vec<u32> = (0..200)
                .map(|n| {
                    let target = 15e-6 + 65e-6 * (n * 37 % 100) as f32 / 100.0;
                    program(&order, &mut experiences, step, 1.0, target).unwrap_or(200)
                })
                .collect();
            let mean = |from: usize| f64::from(counts.iter().skip(from).take(20).sum::<u32>()) / 20.0;
            let (first, last) = (mean(0), mean(180));
            // Without scatter each pulse leaves 14 % of the way, once the step is known: 40 µS take three.
            assert!(last <= 4.0, "step {step}: {last} pulses at last, {first} at first");
            assert!(
                first <= 8.0 && last <= first + 0.5,
                "step {step}: {first} pulses at first, {last} at last"
            );
        }
    }

    #[test]
    fn a_cell_mounted_upside_down_is_found_out_by_seeking_and_by_nothing_else() {
        let mut experiences = [Experience::NONE; 2];
        for polarity in [1.0, -1.0] {
            let seeking = order(Algorithm::Seeking { stairs: STAIRS });
            assert!(program(&seeking, &mut experiences, 0.3, polarity, 50e-6).is_ok());
        }
        let incremental = order(Algorithm::Incremental { set: STAIRS, reset: STAIRS });
        assert!(program(&incremental, &mut experiences, 0.3, 1.0, 50e-6).is_ok());
        assert!(program(&incremental, &mut experiences, 0.3, -1.0, 50e-6).is_err());
    }

    #[test]
    fn a_cell_that_the_largest_pulses_do_not_move_is_stuck_long_before_its_budget_is_spent() {
        for algorithm in [
            Algorithm::Model(MODEL),
            Algorithm::Incremental { set: STAIRS, reset: STAIRS },
            Algorithm::Identical { set: Volts(1.5), reset: Volts(1.5) },
        ] {
            let stuck = program(&order(algorithm), &mut [Experience::NONE; 2], 0.0, 1.0, 50e-6);
            assert_eq!(stuck, Err(Outcome::Stuck), "{algorithm:?}");
        }
    }

    #[test]
    fn forming_goes_up_the_staircase_and_then_wider_until_it_has_done_all() {
        let volts = Staircase { start: Volts(2.0), step: Volts(1.0), stop: Volts(3.5) };
        let forming = Forming { volts, widest: Seconds(5e-3), gap: Seconds(0.0) };
        let order = ProgramOrder { widest_ns: 5_000_000, ..order(Algorithm::Form(forming)) };
        let mut present = Present::start(&order, &[Experience::NONE; 2]);
        let reading = Reading { conductance: 1e-8, uncertainty: 1e-9 };
        let mut shots = Vec::new();
        let end = loop {
            match present.choose(&order, &[Experience::NONE; 2], &reading, 1e-6) {
                Ok(Shot { volts, width_ns }) => shots.push((volts, width_ns)),
                Err(outcome) => break outcome,
            }
        };
        let at = |width| [2.0, 3.0, 3.5].map(|volts| (volts, width));
        assert_eq!(shots, [at(50_000), at(500_000), at(5_000_000)].concat());
        assert_eq!(end, Outcome::Stuck);
    }
}
