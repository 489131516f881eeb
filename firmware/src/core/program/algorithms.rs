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
                self.widen(forming, fresh)?;
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
    fn widen(&mut self, forming: &Forming, fresh: bool) -> Result<(), Outcome> {
        let on_top = !fresh && self.attempt.amplitude >= forming.volts.stop.0;
        if on_top {
            let wider = self.width_ns.saturating_mul(10);
            #[allow(clippy::cast_precision_loss)] // Widths up to 1 s.
            if wider as f32 * 1e-9 > forming.widest.0 * 1.000_001 {
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
