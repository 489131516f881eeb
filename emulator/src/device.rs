//! One resistive device: what it was drawn as, and how voltage, time and temperature move its conductance.

use serde::{Deserialize, Serialize};

use crate::aging::{Age, Clock};
use crate::profile::{DeviceProfile, PulseResponse, SPREAD_CUT, Switching};
use crate::random::Random;

mod defects;
mod disturb;
mod endurance;
mod forming;
mod phase_change;
mod temperature;
#[cfg(all(test, feature = "std"))]
mod tests;

pub use defects::{Condition, Defects};
pub use disturb::Disturb;
pub use endurance::Endurance;
pub use forming::Forming;
pub use phase_change::PhaseChange;
pub use temperature::{REFERENCE_KELVIN, TemperatureCoefficient};

/// Constants of one device, drawn when the array is made, its state, and the pulse it is in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Bounds before any wear (S).
    lower_s: f64,
    upper_s: f64,
    set: Direction,
    reset: Direction,
    traits: Traits,
    condition: Condition,
    /// Conductance at this moment at the reference temperature (S).
    conductance_s: f64,
    /// Pulses that have worn it.
    pulses: u64,
    /// The exposure above threshold that is going on.
    stress: Option<Stress>,
    /// Since the last pulse; nothing before the first, since fresh arrays have come to rest.
    age: Option<Age>,
}

/// One device's own numbers for one direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Direction {
    threshold_v: f64,
    step: f64,
}

/// One device's own numbers for everything but switching; those that its profile doesn't use are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Traits {
    forming_v: f64,
    life_pulses: f64,
    retention_s: f64,
    /// In units of the spread of the temperature coefficient.
    temperature: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Stress {
    set: bool,
    /// How many pieces it has come in.
    pieces: u32,
    /// Time above threshold so far (s).
    elapsed_s: f64,
    /// This pulse's standard normal draw.
    draw: f64,
    /// Position in the range when it began.
    start: f64,
    /// Dose so far.
    dose: f64,
}

/// What a voltage did to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Nothing.
    None,
    /// It crept below threshold.
    Disturbed,
    /// It is in a pulse.
    Pulsed,
}

/// A normal draw cut at [`SPREAD_CUT`] standard deviations.
fn cut_normal(random: &mut Random) -> f64 {
    loop {
        let draw = random.normal();
        if libm::fabs(draw) <= SPREAD_CUT {
            return draw;
        }
    }
}

impl Traits {
    fn draw(profile: &DeviceProfile, random: &mut Random) -> Self {
        let mut traits = Self::default();
        if let Some(forming) = &profile.forming {
            traits.forming_v = forming.voltage_v * (1.0 + forming.voltage_spread * cut_normal(random));
        }
        if let Some(endurance) = &profile.endurance {
            traits.life_pulses = endurance.pulses * libm::exp(endurance.spread * cut_normal(random));
        }
        if let Some(retention) = &profile.retention {
            traits.retention_s = retention.time_s * libm::exp(retention.spread * cut_normal(random));
        }
        if profile.temperature.is_some() {
            traits.temperature = cut_normal(random);
        }
        traits
    }
}

impl Device {
    /// A fresh device. What only some profiles ask for is drawn from `others`, so that the rest doesn't depend on it.
    pub fn draw(profile: &DeviceProfile, random: &mut Random, others: &mut Random) -> Self {
        let range = &profile.conductance;
        let lower_s = range.minimum_s * (1.0 + range.bound_spread * cut_normal(random));
        let upper_s = range.maximum_s * (1.0 + range.bound_spread * cut_normal(random));
        let position = profile.initial.position + profile.initial.spread * cut_normal(random);
        let (set, reset) = match &profile.pulse {
            Some(pulse) => {
                (Direction::draw(pulse, &pulse.set, random), Direction::draw(pulse, &pulse.reset, random))
            }
            None => (Direction::NEVER, Direction::NEVER),
        };
        let traits = Traits::draw(profile, others);
        let at = |position: f64| lower_s + position * (upper_s - lower_s);
        let (condition, conductance_s) = match profile.defects.map(|defects| defects.draw(others)) {
            Some((Condition::Open, _)) => (Condition::Open, 0.0),
            Some((Condition::Stuck, position)) => (Condition::Stuck, at(position)),
            _ => match &profile.forming {
                Some(forming) if !forming.formed => (Condition::Unformed, forming.pristine_s),
                _ => (Condition::Sound, at(position)),
            },
        };
        let (pulses, stress, age) = (0, None, None);
        Self { lower_s, upper_s, set, reset, traits, condition, conductance_s, pulses, stress, age }
    }

    /// Whether it does what its profile says.
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// Conductance at `kelvin` (S).
    pub fn conductance_s(&self, profile: &DeviceProfile, kelvin: f64) -> f64 {
        let Some(temperature) = &profile.temperature else { return self.conductance_s };
        let range = &profile.conductance;
        let position = (self.conductance_s - range.minimum_s) / (range.maximum_s - range.minimum_s);
        self.conductance_s * temperature.factor(position, self.traits.temperature, kelvin)
    }

    /// d(ln G)/dT where it is now (1/K).
    pub fn temperature_per_k(&self, profile: &DeviceProfile) -> Option<f64> {
        let range = &profile.conductance;
        let position = (self.conductance_s - range.minimum_s) / (range.maximum_s - range.minimum_s);
        profile.temperature.as_ref().map(|coefficient| coefficient.per_k(position, self.traits.temperature))
    }

    /// |V| above which a voltage of `volts`'s sign switches the device, or would if it were sound (V); infinite if
    /// nothing does.
    pub fn threshold_v(&self, volts: f64) -> f64 {
        if volts > 0.0 { self.set.threshold_v } else { self.reset.threshold_v }
    }

    /// ν since the last pulse.
    pub fn drift_exponent(&self, profile: &DeviceProfile) -> Option<f64> {
        self.age.as_ref().and_then(|age| age.drift_exponent(profile))
    }

    /// When the conductance has to be worked out again because time has passed (ns).
    pub fn due_ns(&self) -> u64 {
        self.age.as_ref().map_or(u64::MAX, Age::due_ns)
    }

    /// Works the conductance out again at once, since time has begun to pass at another pace.
    pub fn hasten(&mut self) {
        if let Some(age) = &mut self.age {
            age.hasten();
        }
    }

    /// Lets the conductance follow the time since the last pulse.
    pub fn rest(&mut self, profile: &DeviceProfile, clock: Clock) {
        let (lower, upper) = (self.lower_s, self.upper_s);
        if let Some(age) = &mut self.age {
            let rest_s = profile.retention.map_or(0.0, |law| lower + law.rest_position * (upper - lower));
            self.conductance_s = age.conductance(profile, clock, self.traits.retention_s, rest_s);
        }
    }

    /// A pulse, or a piece of one, has just ended.
    pub fn settle(&mut self, clock: Clock, random: &mut Random) {
        let going_on = self.stress.is_some_and(|stress| stress.pieces > 1);
        let before = self.age.as_ref().filter(|_| going_on);
        self.age = Some(Age::start(self.conductance_s, clock, before, random));
    }

    /// Ends a pulse: the next voltage above threshold starts a new one.
    pub fn relieve(&mut self) {
        self.stress = None;
    }

    /// Bounds at this age (S).
    fn bounds(&self, profile: &DeviceProfile) -> (f64, f64) {
        let Some(endurance) = &profile.endurance else { return (self.lower_s, self.upper_s) };
        let left = endurance.left(self.pulses, self.traits.life_pulses);
        let meeting = self.lower_s + endurance.failure_position * (self.upper_s - self.lower_s);
        (meeting + left * (self.lower_s - meeting), meeting + left * (self.upper_s - meeting))
    }

    /// Exposes the device to `volts` (row minus column) for `duration_s`. A pulse may come in pieces: as long as the
    /// voltage stays above threshold with the same sign, time adds up and the cycle-to-cycle draw stays the same.
    pub fn expose(
        &mut self,
        profile: &DeviceProfile,
        volts: f64,
        duration_s: f64,
        random: &mut Random,
    ) -> Exposure {
        let Some(pulse) = &profile.pulse else { return Exposure::None };
        if matches!(self.condition, Condition::Stuck | Condition::Open | Condition::Worn) {
            return Exposure::None;
        }
        let set = volts > 0.0;
        let (own, nominal) = if set { (self.set, &pulse.set) } else { (self.reset, &pulse.reset) };
        let overdrive = (libm::fabs(volts) - own.threshold_v) / (nominal.reference_v - own.threshold_v);
        if overdrive <= 0.0 {
            self.stress = None;
            return self.creep(profile, pulse, volts, duration_s);
        }
        let mut stress = match self.stress {
            Some(stress) if stress.set == set => stress,
            _ => {
                self.wear(profile);
                let draw = random.normal();
                Stress { set, pieces: 0, elapsed_s: 0.0, draw, start: self.position(profile), dose: 0.0 }
            }
        };
        let reached = |t: f64| libm::pow(t / pulse.reference_width_s, pulse.width_exponent);
        let before_s = stress.elapsed_s;
        stress.elapsed_s += duration_s;
        stress.pieces = stress.pieces.saturating_add(1);
        let amplitude = libm::pow(overdrive, pulse.amplitude_exponent);
        let below = profile.disturb.map_or(0.0, |law| law.dose(0.0, duration_s, pulse.reference_width_s));
        let dose = own.step * (amplitude * (reached(stress.elapsed_s) - reached(before_s)) + below);
        stress.dose += dose;
        self.stress = Some(stress);
        if self.condition == Condition::Worn {
            return Exposure::Pulsed;
        }
        if self.condition == Condition::Unformed {
            return self.try_forming(profile, volts, stress.elapsed_s, random);
        }
        let position = self.position(profile);
        let spread = pulse.cycle_spread;
        let position = match &profile.phase_change {
            Some(law) if set => {
                stress.start + law.crystallised(stress.start, stress.dose, own.step, spread, stress.draw)
            }
            Some(law) => law.molten(position, own.step * amplitude, stress.draw),
            None => {
                let distance = if set { 1.0 - position } else { position };
                // A spread wider than the step can carry a device against the pulse's direction, but never past its
                // bounds.
                let moved = distance - remaining(distance, dose, nominal.step_at_bound);
                let moved = moved * (1.0 + spread * stress.draw);
                if set { position + moved } else { position - moved }
            }
        };
        self.place(profile, position);
        Exposure::Pulsed
    }

    /// A voltage below threshold.
    fn creep(
        &mut self,
        profile: &DeviceProfile,
        pulse: &PulseResponse,
        volts: f64,
        duration_s: f64,
    ) -> Exposure {
        let Some(law) = profile.disturb.filter(|law| libm::fabs(volts) > law.from_v) else {
            return Exposure::None;
        };
        let set = volts > 0.0;
        // Below its melting point a phase-change device only crystallises.
        if self.condition != Condition::Sound || (profile.phase_change.is_some() && !set) {
            return Exposure::None;
        }
        let (own, nominal) = if set { (self.set, &pulse.set) } else { (self.reset, &pulse.reset) };
        let below_v = own.threshold_v - libm::fabs(volts);
        let dose = own.step * law.dose(below_v, duration_s, pulse.reference_width_s);
        let position = self.position(profile);
        let position = match &profile.phase_change {
            Some(law) => position + law.crystallised(position, dose, own.step, 0.0, 0.0),
            None if set => 1.0 - remaining(1.0 - position, dose, nominal.step_at_bound),
            None => remaining(position, dose, nominal.step_at_bound),
        };
        let before_s = self.conductance_s;
        self.place(profile, position);
        if let Some(age) = &mut self.age {
            age.shift(self.conductance_s - before_s);
        }
        Exposure::Disturbed
    }

    fn try_forming(
        &mut self,
        profile: &DeviceProfile,
        volts: f64,
        elapsed_s: f64,
        random: &mut Random,
    ) -> Exposure {
        let Some(law) = profile.forming.filter(|law| law.happens(self.traits.forming_v, volts, elapsed_s))
        else {
            return Exposure::None;
        };
        self.condition = Condition::Sound;
        self.place(profile, law.position + law.position_spread * random.normal());
        Exposure::Pulsed
    }

    /// One more switching pulse.
    fn wear(&mut self, profile: &DeviceProfile) {
        if profile.endurance.is_none() || self.condition != Condition::Sound {
            return;
        }
        self.pulses += 1;
        let (lower, upper) = self.bounds(profile);
        if upper <= lower {
            self.condition = Condition::Worn;
            self.conductance_s = lower;
        }
    }

    /// Between the bounds of this age, 0 to 1.
    fn position(&self, profile: &DeviceProfile) -> f64 {
        let (lower, upper) = self.bounds(profile);
        if upper > lower { (self.conductance_s - lower) / (upper - lower) } else { 0.0 }
    }

    fn place(&mut self, profile: &DeviceProfile, position: f64) {
        let (lower, upper) = self.bounds(profile);
        self.conductance_s = lower + (upper - lower) * position.clamp(0.0, 1.0);
    }
}

impl Direction {
    /// No voltage is as large. Not infinity, which JSON doesn't have: a state file would keep it as null.
    const NEVER: Self = Self { threshold_v: f64::MAX, step: 0.0 };

    fn draw(pulse: &PulseResponse, side: &Switching, random: &mut Random) -> Self {
        Self {
            threshold_v: side.threshold_v * (1.0 + pulse.threshold_spread * cut_normal(random)),
            step: side.step * libm::exp(pulse.step_spread * cut_normal(random)),
        }
    }
}

/// A slope below which rounding would show more than the slope does.
const STRAIGHT: f64 = 1e-6;

/// What is left of `distance` after `dose`: the solution of dx = −(b + (1 − b)·x) · d(dose) with b = `step_at_bound`.
fn remaining(distance: f64, dose: f64, step_at_bound: f64) -> f64 {
    let slope = 1.0 - step_at_bound;
    if slope < STRAIGHT {
        return (distance - dose).max(0.0);
    }
    let rate = (step_at_bound + slope * distance) * libm::exp(-slope * dose);
    ((rate - step_at_bound) / slope).max(0.0)
}
