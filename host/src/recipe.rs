//! How a technology is programmed: which conductances to use, with which pulses, read how. Taken from a profile, so
//! that the emulated devices and the way they are treated don't drift apart; every number can be overridden.

use ohmrig_emulator::profile::{Profile, Switching};
use ohmrig_protocol::message::{Algorithm, Scheme, Staircase};
use ohmrig_protocol::units::Volts;
use thiserror::Error;

/// A technology's programming settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The profile it is from.
    pub name: String,
    /// Lowest target, S.
    pub g_min: f64,
    /// Highest target, S.
    pub g_max: f64,
    /// Half width of the window in which a cell is done, S.
    pub window: f64,
    /// SET and RESET amplitudes.
    pub algorithm: Algorithm,
    /// Pulse width, s.
    pub width: f64,
    /// What unselected lines do.
    pub scheme: Scheme,
    /// Voltage of reads and full scale of products, V.
    pub read_volts: f64,
    /// Conversions of a verify read.
    pub conversions: u16,
    /// Most pulses for one cell.
    pub max_pulses: u16,
    /// Most changes of direction for one cell.
    pub max_reversals: u8,
    /// Times an array is gone through.
    pub passes: u8,
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

/// The first pass leaves cells off that later ones of their row have loaded; the second finds nearly all inside.
const PASSES: u8 = 2;

/// Half width of the default window as a fraction of the range of targets.
const WINDOW: f64 = 0.01;

impl Recipe {
    /// The recipe for a profile's devices.
    ///
    /// Targets keep away from the ends that not every device reaches, and from where a soft-bounds device hardly moves.
    /// Amplitudes start where a pulse moves a device by the width of the window and end below twice the lowest threshold,
    /// so that half-selected cells stay where they are.
    ///
    /// # Errors
    /// [`NotWritable`].
    pub fn for_profile(profile: &Profile) -> Result<Self, NotWritable> {
        let pulse =
            profile.device.pulse.as_ref().ok_or_else(|| NotWritable { profile: profile.name.clone() })?;
        let range = &profile.device.conductance;
        let span = range.maximum_s - range.minimum_s;
        let (g_min, g_max) = (range.minimum_s + MARGIN.0 * span, range.maximum_s - MARGIN.1 * span);
        let lowest =
            pulse.set.threshold_v.min(pulse.reset.threshold_v) * (1.0 - 4.0 * pulse.threshold_spread);
        let slowest = pulse.set.step.min(pulse.reset.step);
        let wider = (REFERENCE_STEP / slowest).max(1.0).powf(1.0 / pulse.width_exponent);
        let width = (pulse.reference_width_s * wider).clamp(SHORTEST, LONGEST);
        let gain = (width / pulse.reference_width_s).powf(pulse.width_exponent);
        let staircase = |switching: &Switching| {
            let overdrive = switching.reference_v - switching.threshold_v;
            let first = (START_STEP / (switching.step * gain)).powf(1.0 / pulse.amplitude_exponent).min(1.0);
            let stop = (switching.threshold_v + STOP * overdrive).min(1.95 * lowest);
            Staircase {
                start: Volts((switching.threshold_v + first * overdrive).min(stop) as f32),
                step: Volts((STEP * overdrive) as f32),
                stop: Volts(stop as f32),
            }
        };
        Ok(Self {
            name: profile.name.clone(),
            g_min,
            g_max,
            window: WINDOW * (g_max - g_min),
            algorithm: Algorithm::Incremental { set: staircase(&pulse.set), reset: staircase(&pulse.reset) },
            width,
            scheme: Scheme::Half,
            read_volts: READ_VOLTS,
            conversions: 8,
            max_pulses: 200,
            max_reversals: 30,
            passes: PASSES,
        })
    }
}

/// Shortest pulse with a flat top on the OR-16, and a long one that still lets an array be programmed in minutes, s.
const SHORTEST: f64 = 20e-6;
const LONGEST: f64 = 0.1;

/// Distance of the lowest and highest target from the ends of the devices' range, as fractions of it.
const MARGIN: (f64, f64) = (0.05, 0.08);

/// Fraction of the range that the reference amplitude moves a fresh device by, at least: pulses are widened until it does.
const REFERENCE_STEP: f64 = 0.05;

/// Fraction of the range that the first amplitude moves a fresh device by: the width of the default window.
const START_STEP: f64 = 2.0 * WINDOW;

/// From one amplitude to the next, and the last one above threshold, in units of the reference overdrive. With these the
/// demo's tiles take 4 to 5 pulses per cell for `rram-cmo` at ±1 %; halving the step adds one pulse per cell and gains
/// nothing in accuracy.
const STEP: f64 = 0.15;
const STOP: f64 = 1.6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_writable_profile_has_a_recipe_that_spares_half_selected_cells() {
        for name in Profile::names() {
            let profile = Profile::built_in(name).unwrap();
            let Ok(recipe) = Recipe::for_profile(&profile) else {
                assert!(profile.device.pulse.is_none(), "{name}");
                continue;
            };
            let pulse = profile.device.pulse.unwrap();
            let Algorithm::Incremental { set, reset } = recipe.algorithm;
            for staircase in [set, reset] {
                assert!(staircase.start.0 <= staircase.stop.0 && staircase.step.0 > 0.0, "{name}");
                let lowest = pulse.set.threshold_v.min(pulse.reset.threshold_v);
                assert!(
                    f64::from(staircase.stop.0) / 2.0 < lowest * (1.0 - 4.0 * pulse.threshold_spread),
                    "{name}"
                );
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
