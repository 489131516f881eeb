//! How a technology is programmed: which conductances to use, with which pulses, read how. Taken from a profile, so
//! that the emulated devices and the way they are treated don't drift apart; every number can be overridden.

use crate::instrument::ROW_OHMS;
use ohmrig_emulator::profile::{Profile, PulseResponse, Switching};
use ohmrig_protocol::message::{Algorithm, DoseLaw, Model, Scheme, Staircase};
use ohmrig_protocol::units::{Siemens, Volts};
use thiserror::Error;

/// Rules by which pulses can follow reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A pulse calculated from a model that learns.
    Model,
    /// Growing amplitudes.
    Incremental,
    /// One amplitude per direction.
    Identical,
    /// Growing amplitudes, polarity found out.
    Seeking,
}

impl Method {
    /// As it is called on the command line and in run files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Incremental => "incremental",
            Self::Identical => "identical",
            Self::Seeking => "seeking",
        }
    }
}

/// A technology's programming settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The profile it is from.
    pub name: String,
    /// Lowest target, S.
    pub g_min: f64,
    /// Highest target, S.
    pub g_max: f64,
    /// Half width of the window in which a cell should be read afterwards, S.
    pub window: f64,
    /// How much narrower the window is in which the device lets go of a cell, S: what a cell moves in the moments after.
    pub guard: f64,
    /// Which rule.
    pub method: Method,
    /// For the method of that name.
    pub model: Model,
    /// SET and RESET amplitudes of the staircases. Identical pulses are all of the first one.
    pub stairs: (Staircase, Staircase),
    /// Pulse width, s.
    pub width: f64,
    /// What unselected lines do.
    pub scheme: Scheme,
    /// Voltage of reads and full scale of products, V.
    pub read_volts: f64,
    /// Conversions at each polarity of a verify read that is clear at once, and of one that isn't, at most.
    pub conversions: (u16, u16),
    /// Conversions at each polarity of the read that a finished cell's conductance is reported from.
    pub confirm: u16,
    /// Most pulses for one cell in one pass.
    pub max_pulses: u16,
    /// Most changes of direction for one cell in one pass.
    pub max_reversals: u8,
    /// Times an array is gone through, at most; from the second on only what has left its window.
    pub passes: u8,
    /// Time between two passes, s, for cells to relax.
    pub wait: f64,
    /// Ω between a row's driver and its cells; 0 to take reads for what they are, without a survey of the array.
    pub row_ohms: f64,
}

/// A profile whose devices can't be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the devices of profile {profile} can't be written; choose another profile (`ohmrig list`)")]
pub struct NotWritable {
    /// Its name.
    pub profile: String,
}

/// Voltage of reads, V: far below any switching threshold, and the usual one in publications.
const READ_VOLTS: f64 = 0.2;
/// The same on an OpenMENA shield: what its own scripts read with (`max_volt_read` in `memristor_main.py`).
const SHIELD_READ_VOLTS: f64 = 0.05;

/// Half width of the default window as a fraction of the range of targets.
const WINDOW: f64 = 0.01;

/// The window is at least so many times the 1/f noise of a device in mid-range between two reads a moment apart: a cell
/// noisier than its window is programmed for ever.
const NOISES: f64 = 1.0;
/// e-folds of frequency from a read's length (50 µs) to a job's moment per cell (20 ms).
const NOISE_E_FOLDS: f64 = 6.0;

impl Recipe {
    /// The recipe for a profile's devices.
    ///
    /// Targets keep away from the ends that not every device reaches, and from where a soft-bounds device hardly moves.
    /// Staircases start where a pulse moves a device by the width of the window; amplitudes end below twice the lowest
    /// threshold (three times where others see a third), so that half-selected cells stay where they are.
    ///
    /// # Errors
    /// [`NotWritable`].
    pub fn for_profile(profile: &Profile) -> Result<Self, NotWritable> {
        let pulse =
            profile.device.pulse.as_ref().ok_or_else(|| NotWritable { profile: profile.name.clone() })?;
        let range = &profile.device.conductance;
        let span = range.maximum_s - range.minimum_s;
        let (g_min, g_max) = (range.minimum_s + MARGIN.0 * span, range.maximum_s - MARGIN.1 * span);
        let noise = profile.device.flicker.map_or(0.0, |flicker| {
            let middle = 0.5 * (g_min + g_max);
            let level = flicker.level * (range.maximum_s / middle).powf(flicker.exponent);
            level.min(flicker.ceiling) * NOISE_E_FOLDS.sqrt() * middle
        });
        let window = (WINDOW * (g_max - g_min)).max(NOISES * noise);
        let melting = profile.device.phase_change.is_some();
        let slowest = pulse.set.step.min(pulse.reset.step);
        let wider = (REFERENCE_STEP / slowest).max(1.0).powf(1.0 / pulse.width_exponent);
        let width = (pulse.reference_width_s * wider).clamp(SHORTEST, LONGEST);
        // Melting takes more than twice what crystallises.
        let (scheme, most) = match profile.board.openmena {
            // One driver for all columns can't hold the others at half.
            Some(_) => (Scheme::SymmetricHalf, 1.95),
            None if melting => (Scheme::Third, 2.9),
            None => (Scheme::Half, 1.95),
        };
        let lowest =
            pulse.set.threshold_v.min(pulse.reset.threshold_v) * (1.0 - SPREADS * pulse.threshold_spread);
        let pulses = Pulses { pulse, width, highest: most * lowest, at_driver: at_driver(profile) };
        Ok(Self {
            name: profile.name.clone(),
            g_min,
            g_max,
            window,
            guard: GUARD * window,
            method: Method::Model,
            model: Model {
                set: pulses.law(&pulse.set, false),
                reset: pulses.law(&pulse.reset, melting),
                floor: Siemens(range.minimum_s as f32),
                ceiling: Siemens(range.maximum_s as f32),
                melting,
            },
            stairs: (pulses.stairs(&pulse.set), pulses.stairs(&pulse.reset)),
            width,
            scheme,
            read_volts: if profile.board.openmena.is_some() { SHIELD_READ_VOLTS } else { READ_VOLTS },
            conversions: (2, 64),
            confirm: 8,
            max_pulses: 200,
            max_reversals: 100,
            passes: 1,
            wait: 0.0,
            // A shield's rows hang on resistors to virtual ground, which a survey doesn't know of.
            row_ohms: if profile.board.openmena.is_some() { 0.0 } else { ROW_OHMS },
        })
    }

    /// The rule as the device takes it.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        let (set, reset) = self.stairs;
        match self.method {
            Method::Model => Algorithm::Model(self.model),
            Method::Incremental => Algorithm::Incremental { set, reset },
            Method::Identical => Algorithm::Identical { set: set.start, reset: reset.start },
            Method::Seeking => Algorithm::Seeking { stairs: set },
        }
    }
}

/// Pulses of one width.
struct Pulses<'a> {
    pulse: &'a PulseResponse,
    width: f64,
    /// Largest amplitude at the cell, V.
    highest: f64,
    /// What a driver puts out for 1 V at a cell.
    at_driver: f64,
}

/// What a driver puts out for 1 V at a cell: a shield's switch and line resistor divide it.
fn at_driver(profile: &Profile) -> f64 {
    profile.board.openmena.map_or(1.0, |shield| 1.0 + shield.switch_ohm / shield.row_ohm)
}

impl Pulses<'_> {
    fn width_gain(&self) -> f64 {
        (self.width / self.pulse.reference_width_s).powf(self.pulse.width_exponent)
    }

    fn law(&self, switching: &Switching, melting: bool) -> DoseLaw {
        // How deep a pulse melts doesn't depend on its width.
        let gain = if melting { 1.0 } else { self.width_gain() };
        DoseLaw {
            threshold: Volts((switching.threshold_v * self.at_driver) as f32),
            reference: Volts((switching.reference_v * self.at_driver) as f32),
            dose: (switching.step * gain) as f32,
            exponent: self.pulse.amplitude_exponent as f32,
            stop: Volts((self.highest * self.at_driver) as f32),
        }
    }

    fn stairs(&self, switching: &Switching) -> Staircase {
        let overdrive = switching.reference_v - switching.threshold_v;
        let full = switching.step * self.width_gain();
        let first = (START_STEP / full).powf(1.0 / self.pulse.amplitude_exponent).min(1.0);
        let stop = (switching.threshold_v + STOP * overdrive).min(self.highest);
        let volts = |at_cell: f64| Volts((at_cell * self.at_driver) as f32);
        Staircase {
            start: volts((switching.threshold_v + first * overdrive).min(stop)),
            step: volts(STEP * overdrive),
            stop: volts(stop),
        }
    }
}

/// Shortest pulse with a flat top on the OR-16, and a long one that still lets an array be programmed in minutes, s.
const SHORTEST: f64 = 20e-6;
const LONGEST: f64 = 0.1;

/// Distance of the lowest and highest target from the ends of the devices' range, as fractions of it.
const MARGIN: (f64, f64) = (0.05, 0.08);

/// Fraction of the range that the reference amplitude moves a fresh device by, at least: pulses are widened until it does.
const REFERENCE_STEP: f64 = 0.05;

/// Fraction of the range that the first amplitude of a staircase moves a fresh device by: the width of the default window.
const START_STEP: f64 = 2.0 * WINDOW;

/// From one amplitude to the next, and the last one above threshold, in units of the reference overdrive. Halving the step
/// adds one pulse per cell and gains nothing in accuracy.
const STEP: f64 = 0.15;
const STOP: f64 = 1.6;

/// Part of the window by which the device's own is narrower.
const GUARD: f64 = 0.25;

/// Standard deviations of the thresholds that are spared.
const SPREADS: f64 = 4.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_writable_profile_has_a_recipe_that_spares_the_cells_beside() {
        for name in Profile::names() {
            let profile = Profile::built_in(name).unwrap();
            let Ok(recipe) = Recipe::for_profile(&profile) else {
                assert!(profile.device.pulse.is_none(), "{name}");
                continue;
            };
            let pulse = profile.device.pulse.unwrap();
            let part = if recipe.scheme == Scheme::Third { 3.0 } else { 2.0 } * at_driver(&profile);
            let lowest = pulse.set.threshold_v.min(pulse.reset.threshold_v);
            let spared = lowest * (1.0 - SPREADS * pulse.threshold_spread);
            for staircase in [recipe.stairs.0, recipe.stairs.1] {
                assert!(staircase.start.0 <= staircase.stop.0 && staircase.step.0 > 0.0, "{name}");
                assert!(f64::from(staircase.stop.0) / part < spared, "{name}");
            }
            for law in [recipe.model.set, recipe.model.reset] {
                assert!(law.threshold.0 < law.stop.0 && f64::from(law.stop.0) / part < spared, "{name}");
            }
            let range = profile.device.conductance;
            assert!(
                range.minimum_s < recipe.g_min
                    && recipe.g_min < recipe.g_max
                    && recipe.g_max < range.maximum_s
            );
        }
    }
}
