//! Profiles: which devices sit in the array and how imperfect the board is, as TOML text or one of the built-in ones.
//!
//! Every key is SI with its unit in the name; a spread is a standard deviation, and draws of a spread are cut at four
//! standard deviations, so that a limit checked here holds for every device drawn.

use alloc::borrow::Cow;
use alloc::string::String;
#[cfg(feature = "std")]
use alloc::string::ToString;
use core::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

mod validation;

use crate::aging::{Drift, Relaxation, Retention};
use crate::board::Shield;
use crate::circuit::CurrentLaw;
use crate::crossbar::LineDefects;
use crate::device::{Defects, Disturb, Endurance, Forming, PhaseChange, TemperatureCoefficient};
use crate::fluctuation::{Flicker, Telegraph};

/// Draws of a device-to-device spread are cut at this many standard deviations.
pub const SPREAD_CUT: f64 = 4.0;

/// An array with its devices, and the board around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Short name, as given to `emulated:NAME`.
    pub name: String,
    /// One sentence: the technology and where its numbers are from.
    pub description: String,
    /// Rows (word lines), 1 to 256.
    #[serde(default = "default_lines", deserialize_with = "lines")]
    pub rows: u16,
    /// Columns (bit lines), 1 to 256.
    #[serde(default = "default_lines", deserialize_with = "lines")]
    pub columns: u16,
    /// The board.
    pub board: BoardProfile,
    /// The devices and the wires between them.
    pub device: DeviceProfile,
}

fn default_lines() -> u16 {
    16
}

/// Which board it is, and how imperfect.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardProfile {
    /// Which table of imperfections holds.
    pub imperfections: Imperfections,
    /// The OpenMENA shield's values, with `imperfections = "openmena"` and only then.
    #[serde(default)]
    pub openmena: Option<Shield>,
}

/// The tables of board imperfections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Imperfections {
    /// Converters, amplifiers and switches without error or noise; resolution, saturation and series resistance stay.
    Ideal,
    /// The OR-16 with the limits of its parts' datasheets.
    Or16,
    /// The OpenMENA shield, with those of its own section.
    OpenMena,
}

/// One technology of resistive device, with the wires of its array. What is absent doesn't happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceProfile {
    /// What a device can be set to.
    pub conductance: ConductanceRange,
    /// Where fresh (formed) devices are.
    pub initial: InitialState,
    /// Current against voltage.
    #[serde(default)]
    pub current: CurrentLaw,
    /// White noise of every read.
    #[serde(default)]
    pub read_noise: ReadNoise,
    /// 1/f noise, continuous over all reads.
    #[serde(default)]
    pub flicker: Option<Flicker>,
    /// Random telegraph noise.
    #[serde(default)]
    pub telegraph: Option<Telegraph>,
    /// What a voltage above threshold does; absent for a device that can't be written.
    #[serde(default)]
    pub pulse: Option<PulseResponse>,
    /// Gradual SET and abrupt RESET in place of soft bounds.
    #[serde(default)]
    pub phase_change: Option<PhaseChange>,
    /// What a voltage below threshold does.
    #[serde(default)]
    pub disturb: Option<Disturb>,
    /// How a pristine device is formed; absent where there is nothing to form.
    #[serde(default)]
    pub forming: Option<Forming>,
    /// Stuck and open devices.
    #[serde(default)]
    pub defects: Option<Defects>,
    /// Broken lines and lines that touch.
    #[serde(default)]
    pub lines: Option<LineDefects>,
    /// What the conductance does in the seconds to days after a pulse.
    #[serde(default)]
    pub relaxation: Option<Relaxation>,
    /// Drift of the conductance after a pulse.
    #[serde(default)]
    pub drift: Option<Drift>,
    /// Thermally activated loss of what was programmed.
    #[serde(default)]
    pub retention: Option<Retention>,
    /// Wear.
    #[serde(default)]
    pub endurance: Option<Endurance>,
    /// How conductance follows the temperature.
    #[serde(default)]
    pub temperature: Option<TemperatureCoefficient>,
    /// The array's wires.
    #[serde(default)]
    pub wires: WireProfile,
}

impl DeviceProfile {
    /// Linear, noiseless, fixed devices at the lower bound of `conductance`, joined by ideal wires.
    pub fn ideal(conductance: ConductanceRange) -> Self {
        Self {
            conductance,
            initial: InitialState::default(),
            current: CurrentLaw::Linear,
            read_noise: ReadNoise::default(),
            flicker: None,
            telegraph: None,
            pulse: None,
            phase_change: None,
            disturb: None,
            forming: None,
            defects: None,
            lines: None,
            relaxation: None,
            drift: None,
            retention: None,
            endurance: None,
            temperature: None,
            wires: WireProfile::default(),
        }
    }

    /// Whether a conductance moves by itself after a pulse.
    pub(crate) fn ages(&self) -> bool {
        self.relaxation.is_some() || self.drift.is_some() || self.retention.is_some()
    }
}

/// Bounds of a device's conductance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConductanceRange {
    /// Mean lower bound (S).
    pub minimum_s: f64,
    /// Mean upper bound (S).
    pub maximum_s: f64,
    /// Device-to-device standard deviation of each bound, relative to that bound.
    pub bound_spread: f64,
}

/// Where devices are when the array is new, as a position in the device's own range: 0 = its lower bound, 1 = its upper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitialState {
    /// Mean position.
    pub position: f64,
    /// Device-to-device standard deviation of the position.
    pub spread: f64,
}

/// White noise: at each sampling instant the cell's conductance is off by a normal draw of standard deviation
/// `G · min(relative · (G / maximum_s)^−exponent, ceiling)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadNoise {
    /// Standard deviation at the upper bound, relative to the conductance.
    pub relative: f64,
    /// How fast it grows towards small conductances.
    pub exponent: f64,
    /// It never exceeds this.
    pub ceiling: f64,
}

/// Threshold switching with bounds that are approached ever more slowly.
///
/// With u = |V_row − V_column| above the device's threshold for a time t since it got there, and
/// `dose = step · ((u − threshold)/(reference − threshold))^amplitude_exponent · (t/reference_width_s)^width_exponent`,
/// the distance x to the bound, as a fraction of the device's range, obeys dx = −(b + (1 − b)·x) · d(dose) with b = `step_at_bound`.
/// 0 is the soft-bounds model (Fusi & Abbott 2007; Gokmen & Vlasov, Front. Neurosci. 2016 and the device presets after it), 1 a
/// constant step, and between them a step that falls by a straight line. A positive voltage is SET (towards the upper bound), a
/// negative one RESET.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PulseResponse {
    /// Towards the upper bound.
    pub set: Switching,
    /// Towards the lower bound.
    pub reset: Switching,
    /// The width for which `step` is stated (s).
    pub reference_width_s: f64,
    /// Power of (u − threshold)/(reference − threshold) in the dose.
    pub amplitude_exponent: f64,
    /// Power of t/reference_width in the dose.
    pub width_exponent: f64,
    /// Cycle-to-cycle standard deviation of a pulse's effect, relative to it (drawn once per pulse).
    pub cycle_spread: f64,
    /// Device-to-device standard deviation of ln(step), drawn once per device and direction.
    pub step_spread: f64,
    /// Device-to-device standard deviation of the thresholds, relative to them.
    pub threshold_spread: f64,
}

/// One direction of switching.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switching {
    /// |V| below which nothing moves (V).
    pub threshold_v: f64,
    /// |V| for which `step` is stated (V).
    pub reference_v: f64,
    /// Dose of one reference pulse: the fraction of the range it moves from the opposite bound, while small.
    pub step: f64,
    /// What is left of that close to the bound that it moves to, relative to it.
    pub step_at_bound: f64,
}

/// Resistance of the array's own wires; both zero (ideal wires) or both at least 1 mΩ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireProfile {
    /// Segment between neighbouring cells of a row, and between the row's source and its first cell (Ω).
    pub row_segment_ohm: f64,
    /// Segment between neighbouring cells of a column, and between its last cell and its amplifier (Ω).
    pub column_segment_ohm: f64,
}

/// Why a profile is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// A value that no device or board could have.
    #[error("profile key `{key}` is {value}; allowed is {allowed}")]
    OutOfRange {
        /// Path of the key.
        key: &'static str,
        /// What it was.
        value: f64,
        /// What it may be.
        allowed: Cow<'static, str>,
    },
    /// Not TOML, a missing or unknown key, or a value of the wrong type.
    #[error("profile can't be read: {message}")]
    Syntax {
        /// What the parser says, with line and key.
        message: String,
    },
    /// No built-in profile of that name.
    #[error("no profile is called `{name}`; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What exists.
        known: String,
    },
}

impl ReadNoise {
    /// Standard deviation at `conductance_s` of a technology that reaches `maximum_s`, relative to the conductance.
    pub fn deviation(&self, conductance_s: f64, maximum_s: f64) -> f64 {
        let growth =
            if self.exponent == 0.0 { 1.0 } else { libm::pow(conductance_s / maximum_s, -self.exponent) };
        (self.relative * growth).min(self.ceiling)
    }
}

/// The built-in profiles: name and text.
#[cfg(feature = "std")]
const BUILT_IN: [(&str, &str); 7] = [
    ("ideal", include_str!("../profiles/ideal.toml")),
    ("resistor", include_str!("../profiles/resistor.toml")),
    ("rram-cmo", include_str!("../profiles/rram-cmo.toml")),
    ("rram-hfox", include_str!("../profiles/rram-hfox.toml")),
    ("pcm", include_str!("../profiles/pcm.toml")),
    ("ecram", include_str!("../profiles/ecram.toml")),
    ("openmena", include_str!("../profiles/openmena.toml")),
];

#[cfg(feature = "std")]
impl Profile {
    /// The profile used when none is named.
    pub const DEFAULT: &'static str = "rram-cmo";

    /// Names of the built-in profiles.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|&(name, _)| name)
    }

    /// A built-in profile.
    ///
    /// # Errors
    /// [`ProfileError::Unknown`] with the names that exist.
    pub fn built_in(name: &str) -> Result<Self, ProfileError> {
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::from_toml(text),
            None => {
                let known: alloc::vec::Vec<&str> = Self::names().collect();
                Err(ProfileError::Unknown { name: name.to_string(), known: known.join(", ") })
            }
        }
    }

    /// A profile from TOML text, checked.
    ///
    /// # Errors
    /// What the parser objects to (unknown keys included), or the first value out of range.
    pub fn from_toml(text: &str) -> Result<Self, ProfileError> {
        let profile: Self =
            toml::from_str(text).map_err(|error| ProfileError::Syntax { message: error.to_string() })?;
        profile.validate()?;
        Ok(profile)
    }
}

/// A number of lines, whose refusal says what it may be even if it doesn't fit its type.
fn lines<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    struct Lines;
    impl Visitor<'_> for Lines {
        type Value = u16;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("1 to 256 lines")
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<u16, E> {
            u16::try_from(value).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<u16, E> {
            u16::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
        }
    }
    deserializer.deserialize_u16(Lines)
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use alloc::string::ToString;

    use super::{Profile, ProfileError};

    #[test]
    fn every_built_in_profile_is_valid_and_carries_its_own_name() {
        for name in Profile::names() {
            let profile = Profile::built_in(name).unwrap();
            assert_eq!(profile.name, name);
            let side = if name == "openmena" { 8 } else { 16 };
            assert_eq!((profile.rows, profile.columns), (side, side));
        }
        assert!(Profile::names().any(|name| name == Profile::DEFAULT));
    }

    #[test]
    fn an_unknown_profile_is_refused_with_the_known_names() {
        let message = Profile::built_in("rram").unwrap_err().to_string();
        assert!(message.contains("`rram`") && message.contains("rram-cmo"), "{message}");
    }

    fn refused(key: &str, from: &str, to: &str) -> ProfileError {
        let text = include_str!("../profiles/rram-cmo.toml");
        assert!(text.contains(from), "`{from}` is not in the profile");
        let error = Profile::from_toml(&text.replace(from, to)).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(key), "{message}");
        error
    }

    #[test]
    fn values_that_no_array_could_have_are_refused_with_key_value_and_what_is_allowed() {
        refused("rows", "rows = 16", "rows = 257");
        refused("columns", "columns = 16", "columns = 0");
        for far in ["300000", "-1"] {
            let error = refused("rows", "rows = 16", &alloc::format!("rows = {far}")).to_string();
            assert!(error.contains(far) && error.contains("1 to 256"), "{error}");
        }
        refused("device.conductance.minimum_s", "minimum_s = 9e-6", "minimum_s = -9e-6");
        refused("device.conductance.maximum_s", "maximum_s = 88.2e-6", "maximum_s = 9e-6");
        refused("device.conductance.maximum_s", "maximum_s = 88.2e-6", "maximum_s = nan");
        refused("device.conductance.bound_spread", "bound_spread = 0.02", "bound_spread = 0.3");
        refused("device.wires.row_segment_ohm", "row_segment_ohm = 0.0", "row_segment_ohm = -1.0");
        refused("device.wires.column_segment_ohm", "row_segment_ohm = 0.0", "row_segment_ohm = 1.0");
        // A bound that depends on another key is named with that key's value.
        let error = refused("device.conductance.maximum_s", "maximum_s = 88.2e-6", "maximum_s = 8e-6");
        assert_eq!(
            error.to_string(),
            "profile key `device.conductance.maximum_s` is 0.000008; \
             allowed is above minimum_s, which is 0.000009, and at most 1 S"
        );
        let error = refused("device.read_noise.relative", "relative = 0.0001", "relative = 0.5");
        assert!(error.to_string().contains("0.5") && error.to_string().contains("0 to 0.2"), "{error}");
    }

    #[test]
    fn impossible_lifetimes_are_refused_too() {
        refused("device.defects.stuck_fraction", "stuck_fraction = 0.0", "stuck_fraction = 1.5");
        refused("device.defects.open_fraction", "open_fraction = 0.0", "open_fraction = -0.1");
        refused("device.defects.stuck_highest", "stuck_highest = 1.0", "stuck_highest = 1.1");
        refused("device.disturb.volts_per_decade", "volts_per_decade = 0.1", "volts_per_decade = 0.0");
        refused("device.forming.voltage_v", "voltage_v = 3.3", "voltage_v = 0.5");
        refused("device.forming.pristine_s", "pristine_s = 1e-7", "pristine_s = 1.0");
        refused("device.retention.time_s", "time_s = 1e10", "time_s = 0.0");
        refused("device.endurance.pulses", "pulses = 1e8", "pulses = -1.0");
        refused("device.temperature.lowest_per_k", "lowest_per_k = 1e-3", "lowest_per_k = 1.0");
        refused("formed", "formed = true", "formed = maybe");
        refused("device.relaxation", "mean_per_e_fold_s = -0.08900206e-6", "mean_per_e_fold_s = 1.0");
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        refused("minimun_s", "minimum_s = 9e-6", "minimun_s = 9e-6");
        refused("vO_v", "current = \"linear\"", "current = { sinh = { vO_v = 0.25 } }");
        refused("colour", "rows = 16", "rows = 16\ncolour = \"red\"");
    }
}
