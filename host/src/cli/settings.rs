//! Options that several commands share: which cells, how to read, how to program.

use super::Failure;
use crate::instrument::{Instrument, ReadSettings};
use crate::recipe::{Method, Recipe};
use clap::{Args, ValueEnum};
use ohmrig_protocol::message::{Region, Scheme, Staircase};
use ohmrig_protocol::units::Volts;

/// Which cells; all of them unless said otherwise.
#[derive(Clone, Debug, Args)]
pub(super) struct RegionArgs {
    /// First row, counted from 0
    #[arg(long, default_value_t = 0, value_name = "ROW")]
    row: u16,
    /// First column, counted from 0
    #[arg(long, default_value_t = 0, value_name = "COLUMN")]
    column: u16,
    /// Number of rows [default: to the last]
    #[arg(long, value_name = "N")]
    rows: Option<u16>,
    /// Number of columns [default: to the last]
    #[arg(long, value_name = "N")]
    columns: Option<u16>,
}

impl RegionArgs {
    pub(super) fn region(&self, instrument: &Instrument) -> Result<Region, Failure> {
        let whole = instrument.whole();
        let region = Region {
            row: self.row,
            column: self.column,
            rows: self.rows.unwrap_or(whole.rows.saturating_sub(self.row).max(1)),
            columns: self.columns.unwrap_or(whole.columns.saturating_sub(self.column).max(1)),
        };
        instrument.check_region(region)?;
        Ok(region)
    }
}

/// How cells are read.
#[derive(Clone, Debug, Args)]
pub(super) struct ReadArgs {
    /// Read voltage, V; both polarities are applied
    #[arg(long, default_value_t = 0.2, value_name = "V")]
    volts: f64,
    /// Feedback setting of the amplifiers [default: the most sensitive that isn't saturated]
    #[arg(long, value_name = "INDEX")]
    range: Option<u8>,
    /// Conversions at each polarity
    #[arg(long, default_value_t = 16, value_name = "N")]
    conversions: u16,
}

impl ReadArgs {
    pub(super) fn settings(&self) -> Result<ReadSettings, Failure> {
        if !(self.volts.is_finite() && self.volts > 0.0) {
            return Err(Failure::usage(format!("--volts {}: the read voltage must be positive", self.volts)));
        }
        Ok(ReadSettings { volts: self.volts, range: self.range, conversions: self.conversions })
    }
}

/// What unselected lines do during a pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemeArg {
    /// At V/2, the selected column on its amplifier at 0 V
    Half,
    /// Selected row at V/2 and column at −V/2, the others at 0 V; the current isn't measured
    SymmetricHalf,
    /// Rows at V/3, columns at 2V/3
    Third,
    /// At 0 V
    Grounded,
    /// Disconnected
    Floating,
}

impl From<SchemeArg> for Scheme {
    fn from(scheme: SchemeArg) -> Self {
        match scheme {
            SchemeArg::Half => Self::Half,
            SchemeArg::SymmetricHalf => Self::SymmetricHalf,
            SchemeArg::Third => Self::Third,
            SchemeArg::Grounded => Self::Grounded,
            SchemeArg::Floating => Self::Floating,
        }
    }
}

/// START:STEP:STOP in V.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct StaircaseArg(pub(super) Staircase);

impl std::str::FromStr for StaircaseArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not START:STEP:STOP in V, all positive, START at most STOP");
        let numbers: Vec<f32> =
            text.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        match numbers[..] {
            [start, step, stop]
                if [start, step, stop].iter().all(|v| v.is_finite() && *v > 0.0) && start <= stop =>
            {
                Ok(Self(Staircase { start: Volts(start), step: Volts(step), stop: Volts(stop) }))
            }
            _ => Err(wrong()),
        }
    }
}

/// How pulses follow reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum MethodArg {
    /// One calculated pulse after the other, learning each cell's step
    Model,
    /// Amplitudes that grow until the cell has crossed its target
    Incremental,
    /// One amplitude per direction: the first of --set and of --reset
    Identical,
    /// As incremental, for devices of unknown polarity
    Seeking,
}

impl From<MethodArg> for Method {
    fn from(method: MethodArg) -> Self {
        match method {
            MethodArg::Model => Self::Model,
            MethodArg::Incremental => Self::Incremental,
            MethodArg::Identical => Self::Identical,
            MethodArg::Seeking => Self::Seeking,
        }
    }
}

/// Passes with a wait between them: three narrow the relaxed distribution by 29 % (Wan et al., Nature 608, 504, 2022).
const PASSES_WITH_WAIT: u8 = 3;

/// How devices are programmed; a recipe's numbers unless said otherwise.
#[derive(Clone, Debug, Args)]
pub(super) struct RecipeArgs {
    /// Profile to take programming settings from: a built-in name or a TOML file [default: the board's, else rram-cmo]
    #[arg(long, value_name = "PROFILE")]
    pub(super) recipe: Option<String>,
    /// Lowest target, S
    #[arg(long, value_name = "S")]
    g_min_s: Option<f64>,
    /// Highest target, S
    #[arg(long, value_name = "S")]
    g_max_s: Option<f64>,
    /// A cell should read within ± this of its target afterwards, S
    #[arg(long, value_name = "S")]
    window_s: Option<f64>,
    /// The same in percent of the range of targets
    #[arg(long, value_name = "PCT", conflicts_with = "window_s")]
    window: Option<f64>,
    /// How pulses follow reads [default: model, or incremental with --set or --reset]
    #[arg(long, value_enum, value_name = "ALGORITHM")]
    algorithm: Option<MethodArg>,
    /// SET amplitudes
    #[arg(long, value_name = "START:STEP:STOP")]
    set: Option<StaircaseArg>,
    /// RESET amplitudes (magnitudes)
    #[arg(long, value_name = "START:STEP:STOP")]
    reset: Option<StaircaseArg>,
    /// Pulse width, s
    #[arg(long, value_name = "S")]
    width_s: Option<f64>,
    /// What unselected lines do during a pulse
    #[arg(long, value_enum, value_name = "SCHEME")]
    scheme: Option<SchemeArg>,
    /// Voltage of reads, V
    #[arg(long, value_name = "V")]
    read_volts: Option<f64>,
    /// Conversions at each polarity of a verify read that is clear at once
    #[arg(long, value_name = "N")]
    verify_conversions: Option<u16>,
    /// Most pulses for one cell
    #[arg(long, value_name = "N")]
    max_pulses: Option<u16>,
    /// Most changes of direction for one cell
    #[arg(long, value_name = "N")]
    max_reversals: Option<u8>,
    /// Instrument time between two passes, s, for cells to relax; three passes unless --passes says otherwise
    #[arg(long, value_name = "S")]
    wait: Option<f64>,
    /// Ω between a row's driver and its cells [default: the board's]; 0 takes reads for what they are and makes no survey
    #[arg(long, value_name = "OHM")]
    row_ohms: Option<f64>,
    /// Times the cells are gone through at most; from the second on only those that have left their window
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=10))]
    passes: Option<u8>,
}

impl RecipeArgs {
    /// The recipe with what was said otherwise.
    pub(super) fn apply(&self, mut recipe: Recipe) -> Result<Recipe, Failure> {
        for (name, asked, value) in [
            ("--g-min-s", self.g_min_s, &mut recipe.g_min),
            ("--g-max-s", self.g_max_s, &mut recipe.g_max),
            ("--width-s", self.width_s, &mut recipe.width),
            ("--read-volts", self.read_volts, &mut recipe.read_volts),
        ] {
            let Some(asked) = asked else { continue };
            if !(asked.is_finite() && asked > 0.0) {
                return Err(Failure::usage(format!("{name} {asked}: it must be positive")));
            }
            *value = asked;
        }
        if let Some(asked) = self.window_s {
            if !(asked.is_finite() && asked > 0.0) {
                return Err(Failure::usage(format!("--window-s {asked}: it must be positive")));
            }
            recipe.guard *= asked / recipe.window;
            recipe.window = asked;
        }
        if recipe.g_min >= recipe.g_max {
            return Err(Failure::usage(format!(
                "the lowest target, {} S, must be below the highest, {} S",
                recipe.g_min, recipe.g_max
            )));
        }
        let staircases = self.set.is_some() || self.reset.is_some();
        recipe.method = match self.algorithm.map(Method::from) {
            Some(Method::Model) if staircases => {
                return Err(Failure::usage(
                    "--set and --reset are staircases; --algorithm model has none: leave them out or choose incremental, identical \
                     or seeking",
                ));
            }
            Some(method) => method,
            None if staircases => Method::Incremental,
            None => recipe.method,
        };
        if let Some(StaircaseArg(asked)) = self.set {
            recipe.stairs.0 = asked;
        }
        if let Some(StaircaseArg(asked)) = self.reset {
            recipe.stairs.1 = asked;
        }
        if let Some(percent) = self.window {
            if !(percent.is_finite() && percent > 0.0) {
                return Err(Failure::usage(format!("--window {percent}: it must be positive")));
            }
            recipe.guard *= percent / 100.0 * (recipe.g_max - recipe.g_min) / recipe.window;
            recipe.window = percent / 100.0 * (recipe.g_max - recipe.g_min);
        }
        if let Some(wait) = self.wait {
            if !(wait.is_finite() && wait >= 0.0) {
                return Err(Failure::usage(format!("--wait {wait}: it must be a time in seconds")));
            }
            recipe.wait = wait;
            recipe.passes = recipe.passes.max(PASSES_WITH_WAIT);
        }
        if let Some(scheme) = self.scheme {
            recipe.scheme = scheme.into();
        }
        if let Some(asked) = self.verify_conversions {
            recipe.conversions = (asked, recipe.conversions.1.max(asked));
        }
        if let Some(ohms) = self.row_ohms {
            if !(ohms.is_finite() && ohms >= 0.0) {
                return Err(Failure::usage(format!("--row-ohms {ohms}: it must be a resistance")));
            }
            recipe.row_ohms = ohms;
        }
        recipe.max_pulses = self.max_pulses.unwrap_or(recipe.max_pulses);
        recipe.max_reversals = self.max_reversals.unwrap_or(recipe.max_reversals);
        recipe.passes = self.passes.unwrap_or(recipe.passes);
        Ok(recipe)
    }
}

/// Every number of a recipe, for the run file.
pub(super) fn recipe_settings(recipe: &Recipe) -> serde_json::Value {
    serde_json::json!({
        "name": recipe.name, "g_min_s": recipe.g_min, "g_max_s": recipe.g_max, "window_s": recipe.window,
        "guard_s": recipe.guard, "method": recipe.method.name(), "algorithm": recipe.algorithm(), "width_s": recipe.width,
        "scheme": recipe.scheme, "read_volts": recipe.read_volts, "conversions": recipe.conversions,
        "confirm": recipe.confirm, "max_pulses": recipe.max_pulses, "max_reversals": recipe.max_reversals,
        "passes": recipe.passes, "wait_s": recipe.wait, "row_ohms": recipe.row_ohms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staircase_is_three_positive_voltages() {
        let StaircaseArg(staircase) = "1.1:0.05:1.8".parse().unwrap();
        assert_eq!((staircase.start.0, staircase.step.0, staircase.stop.0), (1.1, 0.05, 1.8));
        for wrong in ["1.1:0.05", "2:0.1:1", "-1:0.1:1", "a:b:c", "1:nan:2", "1:0:2"] {
            assert!(wrong.parse::<StaircaseArg>().is_err(), "{wrong}");
        }
    }
}
