//! Uncertainties held against the ground truth: the command line measures emulated boards, and every reported quantity is
//! compared with what the emulated devices really are. Whole commands run, flags and all; a value that a command
//! doesn't quote doesn't count.

use crate::Scratch;
use ohmrig::bench::{Emulation, profile};
use ohmrig::device::EmulatedDevice;
use ohmrig_emulator::crossbar::CellTraits;
use serde_json::Value;
use std::path::Path;

/// One reported quantity beside its truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What it is.
    pub quantity: &'static str,
    /// (Value − truth) / standard uncertainty, in the scale in which the quantity was estimated.
    pub deviation: f64,
    /// Whether the 95 % interval contains the truth.
    pub covered: bool,
}

/// Quantities, in the order of the table.
pub const QUANTITIES: [&str; 14] = [
    "conductance",
    "series resistance, rows",
    "series resistance, columns",
    "1/f level",
    "1/f exponent",
    "1/f level beside traps",
    "1/f exponent beside traps",
    "V0",
    "drift exponent",
    "temperature coefficient",
    "RTN amplitude",
    "RTN dwell, lower",
    "RTN dwell, upper",
    "RTN traps found",
];

/// A built-in profile's text with an array of 2 × 2 and other changes.
///
/// # Panics
/// If the profile doesn't have what is to be changed.
#[must_use]
pub fn small(name: &str, changes: &[(&str, &str)]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../emulator/profiles");
    let mut text = std::fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
    for (from, to) in [("rows = 16", "rows = 2"), ("columns = 16", "columns = 2")].iter().chain(changes) {
        assert!(text.contains(from), "{name}: `{from}`");
        text = text.replace(from, to);
    }
    text
}

/// What each cell works as in place, S, row by row: behind its row's resistance with the other cells of the row, and before its
/// column's with those of the column, to first order in the latter (the second is some 1e-6).
fn in_place(device: &mut EmulatedDevice) -> Vec<f64> {
    let (row_ohms, column_ohms) = device.board().line_ohms().unwrap();
    let truth = device.board().truth().unwrap();
    let columns = column_ohms.len();
    let mut cells: Vec<f64> = truth.iter().map(|cell| cell.conductance_s).collect();
    for (row, ohms) in cells.chunks_mut(columns).zip(&row_ohms) {
        let left = 1.0 / (1.0 + ohms * row.iter().sum::<f64>());
        row.iter_mut().for_each(|cell| *cell *= left);
    }
    for (column, ohms) in column_ohms.iter().enumerate() {
        let left = 1.0 / (1.0 + ohms * cells.iter().skip(column).step_by(columns).sum::<f64>());
        cells.iter_mut().skip(column).step_by(columns).for_each(|cell| *cell *= left);
    }
    cells
}

/// Runs a command on a board of a profile's text, and gives its JSON, what cell (0, 0) is afterwards, and as what it works in
/// place, S.
fn measure(text: &str, seed: u64, arguments: &[&str]) -> (Value, CellTraits, f64) {
    let scratch = Scratch::new("coverage");
    let (board, state) = (scratch.path("board.toml"), scratch.path("state"));
    std::fs::write(&board, text).unwrap();
    let port = format!("emulated:{}", board.display());
    let seed_text = seed.to_string();
    let mut all = vec!["--json", "--port", &port, "--seed", &seed_text, "--state"];
    let state_text = state.display().to_string();
    all.push(&state_text);
    all.extend(arguments);
    let json: Value = serde_json::from_str(&crate::run(all)).unwrap();
    let mut emulation = Emulation::new(profile(Some(&board.display().to_string())).unwrap(), seed);
    emulation.state = Some(state);
    let mut device = EmulatedDevice::power_up(&emulation).unwrap();
    let traits = device.board().crossbar().traits(0, 0).unwrap();
    (json, traits, in_place(&mut device)[0])
}

/// A quantity estimated as it is.
fn linear(quantity: &'static str, estimate: &Value, truth: f64) -> Option<Outcome> {
    let value = estimate["value"].as_f64()?;
    let u = estimate["standard_uncertainty"].as_f64()?;
    let covered = covers(estimate, truth)?;
    Some(Outcome { quantity, deviation: (value - truth) / u, covered })
}

/// A quantity whose logarithm was estimated.
fn logarithmic(quantity: &'static str, estimate: &Value, truth: f64) -> Option<Outcome> {
    let value = estimate["value"].as_f64()?;
    let u = estimate["relative_standard_uncertainty"].as_f64()?;
    let covered = covers(estimate, truth)?;
    Some(Outcome { quantity, deviation: (value / truth).ln() / u, covered })
}

fn covers(estimate: &Value, truth: f64) -> Option<bool> {
    let (low, high) = (estimate["interval_95"][0].as_f64()?, estimate["interval_95"][1].as_f64()?);
    Some((low..=high).contains(&truth))
}

/// One resistor of an array of 16 × 16 as `ohmrig read` gives it on a calibrated board, and what `ohmrig calibrate` finds in
/// series with the array's lines. Another cell on each board: those of one board share its errors.
///
/// # Panics
/// If a command doesn't do what it is asked.
#[must_use]
pub fn calibrated(seed: u64) -> Vec<Outcome> {
    let scratch = Scratch::new("coverage");
    let state = scratch.path("state");
    let (seed_text, state_text) = (seed.to_string(), state.display().to_string());
    let board = ["--json", "--port", "emulated:resistor", "--seed", &seed_text, "--state", &state_text];
    let run = |arguments: &[&str]| -> Value {
        serde_json::from_str(&crate::run(board.iter().chain(arguments).copied())).unwrap()
    };
    let found = run(&["calibrate", "--conversions", "16"]);
    let read = run(&["read", "--conversions", "32"]);
    let mut emulation = Emulation::new(profile(Some("resistor")).unwrap(), seed);
    emulation.state = Some(state);
    let mut device = EmulatedDevice::power_up(&emulation).unwrap();
    let (row_ohms, column_ohms) = device.board().line_ohms().unwrap();
    let (rows, columns) = (row_ohms.len(), column_ohms.len());
    let (row, column) = (seed as usize % rows, seed as usize / rows % columns);
    let in_place = in_place(&mut device)[row * columns + column];
    let number = |key: &str| read[key][row][column].as_f64().unwrap();
    let (value, half) = (number("conductance_s"), number("half_width_95_s"));
    let deviation = (value - in_place) / number("uncertainty_s");
    let conductance =
        Outcome { quantity: "conductance", deviation, covered: (value - in_place).abs() <= half };
    let mean = |ohms: &[f64]| ohms.iter().sum::<f64>() / ohms.len() as f64;
    let rows = linear("series resistance, rows", &found["row_ohms"], mean(&row_ohms));
    let columns = linear("series resistance, columns", &found["column_ohms"], mean(&column_ohms));
    [Some(conductance), rows, columns].into_iter().flatten().collect()
}

/// 1/f level and exponent of a cell as the profile has it; cells with traps are counted apart.
#[must_use]
pub fn flicker(seed: u64) -> Vec<Outcome> {
    let arguments = [
        "noise",
        "--rows",
        "1",
        "--columns",
        "1",
        "--samples",
        "16384",
        "--interval-s",
        "2e-4",
        "--no-telegraph",
    ];
    let (json, traits, _) = measure(&small("rram-cmo", &[]), seed, &arguments);
    let fit = &json["cells"][0]["flicker"];
    if fit["resolved"] != true {
        return Vec::new();
    }
    // S_G/G² = level²/f. A trap adds to the spectrum what the fit can't know to be a trap: told apart.
    let density = traits.flicker_level.unwrap().powi(2);
    let [level, exponent] = if traits.traps.is_empty() {
        ["1/f level", "1/f exponent"]
    } else {
        ["1/f level beside traps", "1/f exponent beside traps"]
    };
    [logarithmic(level, &fit["density_1_hz_per_hz"], density), linear(exponent, &fit["exponent"], 1.0)]
        .into_iter()
        .flatten()
        .collect()
}

/// V0 of devices with a sinh law.
#[must_use]
pub fn v0(seed: u64) -> Vec<Outcome> {
    let text = small("rram-cmo", &[("current = \"linear\"", "current = { sinh = { v0_v = 0.25 } }")]);
    let (json, _, _) = measure(&text, seed, &["iv", "--row", "0", "--column", "0"]);
    let sinh = json["laws"].as_array().unwrap().iter().find(|law| law["law"] == "sinh").unwrap();
    linear("V0", &sinh["v0_v"], 0.25).into_iter().collect()
}

/// ν of a phase-change cell.
#[must_use]
pub fn drift(seed: u64) -> Vec<Outcome> {
    let arguments = ["drift", "--rows", "1", "--columns", "1", "--last-s", "1e5", "--bands", "1"];
    let (json, traits, _) = measure(&small("pcm", &[]), seed, &arguments);
    let Some(truth) = traits.drift_exponent else { return Vec::new() };
    linear("drift exponent", &json["cells"][0]["exponent"], truth).into_iter().collect()
}

/// d(ln G)/dT of a cell over a day in a room.
#[must_use]
pub fn temperature(seed: u64) -> Vec<Outcome> {
    let arguments = ["tempco", "--rows", "1", "--columns", "1", "--reads", "64"];
    let (json, traits, _) = measure(&small("rram-cmo", &[]), seed, &arguments);
    let Some(truth) = traits.temperature_per_k else { return Vec::new() };
    let found = &json["cells"][0]["temperature_coefficient_per_k"];
    linear("temperature coefficient", found, truth).into_iter().collect()
}

/// Amplitude and dwell times of one trap that a trace of 6.5 s sees well, and whether traps were missed or invented.
#[must_use]
pub fn telegraph(seed: u64) -> Vec<Outcome> {
    let text = small(
        "rram-cmo",
        &[
            // A driver's offset, 1 % of a read's voltage, would be in every step and in no trace.
            ("imperfections = \"or16\"", "imperfections = \"ideal\""),
            ("traps_per_device = 0.13", "traps_per_device = 0.7"),
            ("amplitude = 0.003", "amplitude = 0.1"),
            ("fastest_s = 1e-3\nslowest_s = 100.0", "fastest_s = 5e-3\nslowest_s = 50e-3"),
        ],
    );
    let arguments = ["noise", "--rows", "1", "--columns", "1", "--samples", "32768", "--interval-s", "2e-4"];
    let (json, traits, in_place_s) = measure(&text, seed, &[&arguments[..], &["--range", "0"]].concat());
    let cell = &json["cells"][0];
    let reliable: Vec<&Value> = cell["telegraph"]["traps"]
        .as_array()
        .map(|traps| traps.iter().filter(|trap| trap["reliable"] == true).collect())
        .unwrap_or_default();
    let background = cell["telegraph"]["background_deviation_relative"].as_f64().unwrap_or(f64::INFINITY);
    // Those that stand clear; weaker ones may or may not be seen.
    let clear: Vec<_> = traits.traps.iter().filter(|trap| trap.amplitude > 3.0 * background).collect();
    let right = clear.len() <= reliable.len() && reliable.len() <= traits.traps.len();
    let mut outcomes = vec![Outcome { quantity: "RTN traps found", deviation: 0.0, covered: right }];
    if let ([truth], [_], [found]) = (traits.traps.as_slice(), clear.as_slice(), reliable.as_slice()) {
        // Of the conductance without 1/f noise, which has the trace's own level off by more than the step is uncertain.
        let step_a = truth.amplitude * in_place_s * json["volts"].as_f64().unwrap();
        outcomes.extend(linear("RTN amplitude", &found["amplitude_a"], step_a));
        outcomes.extend(logarithmic("RTN dwell, lower", &found["dwell_lower_s"], truth.dwell_s[1]));
        outcomes.extend(logarithmic("RTN dwell, upper", &found["dwell_upper_s"], truth.dwell_s[0]));
    }
    outcomes
}

/// Everything about one board.
#[must_use]
pub fn board(seed: u64) -> Vec<Outcome> {
    [calibrated(seed), flicker(seed), v0(seed), drift(seed), temperature(seed), telegraph(seed)].concat()
}

/// How often a quantity's interval contained the truth, and its bias.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Values quoted.
    pub count: f64,
    /// Intervals that contain the truth.
    pub covered: f64,
    /// Sum of the deviations in standard uncertainties.
    pub deviations: f64,
}

impl Tally {
    /// Of one quantity.
    #[must_use]
    pub fn of(quantity: &str, outcomes: &[Outcome]) -> Self {
        let mut tally = Self::default();
        for outcome in outcomes.iter().filter(|outcome| outcome.quantity == quantity) {
            tally.count += 1.0;
            tally.covered += f64::from(u8::from(outcome.covered));
            tally.deviations += outcome.deviation;
        }
        tally
    }

    /// Part of the intervals that contain the truth.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        self.covered / self.count
    }

    /// Mean deviation in standard uncertainties.
    #[must_use]
    pub fn bias(&self) -> f64 {
        self.deviations / self.count
    }

    /// Whether coverage is 95 % within 3.5 binomial standard deviations (traps: 90 to 99 %, more where `few`), and the bias
    /// below a tenth (traps: a fifth) of the standard uncertainty plus 3.5 standard errors.
    #[must_use]
    pub fn holds(&self, quantity: &str) -> bool {
        let deviations = |p: f64| 3.5 * (p * (1.0 - p) / self.count).sqrt();
        let traps = quantity.starts_with("RTN");
        let covered = if traps {
            self.coverage() >= 0.90 - deviations(0.90)
        } else {
            (self.coverage() - 0.95).abs() <= deviations(0.95)
        };
        covered && self.bias().abs() <= if traps { 0.2 } else { 0.1 } + 3.5 / self.count.sqrt()
    }
}
