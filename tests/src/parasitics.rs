//! What switches and lines of 50 Ω do to the products of an array, and what in-circuit programming with gains for rows and columns
//! leaves of it: the command line calibrates, programs and multiplies on an emulated board, and the network with the devices
//! and switches that this board really has is solved exactly.
//!
//! The *parasitic error* of a matrix is the root mean square of its difference from the targets over that of the targets, which for
//! independent inputs of one variance is the `l2_relative` of its products. Before: devices exactly as their targets, so that
//! nothing but resistance is in it. After: the devices as programmed, times the gains; programming and relaxation are in it too,
//! and what those alone make is measured on the same board with ideal lines.

use crate::{Scratch, ohmrig};
use ndarray::Array2;
use ohmrig::bench::{Emulation, profile};
use ohmrig::calibration::relative_difference;
use ohmrig::device::EmulatedDevice;
use ohmrig_emulator::circuit::wired::Segments;
use ohmrig_emulator::circuit::{CurrentLaw, Ends, Line, Wires, operate};
use ohmrig_emulator::profile::{Imperfections, Profile};
use serde_json::Value;
use std::process::{Command, Stdio};

/// From a row's driver over all of its line, and the same of a column, Ω, beside what the board has of its own.
pub const LINE_OHMS: f64 = 50.0;

/// What `program --in-circuit` says of a cell that single-cell reads found inside its window and products don't.
pub const OUTSIDE: &str = "inside read alone, outside in circuit";

/// One array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Experiment {
    /// Built-in profile of its devices; the board is an OR-16 with all its imperfections.
    pub devices: &'static str,
    /// Rows and columns.
    pub side: u16,
    /// Half width of the window, percent of the range of targets.
    pub window_percent: f64,
    /// Draws the board.
    pub seed: u64,
    /// Of a row's and of a column's line, Ω, in equal segments; 0 for ideal lines.
    pub line_ohms: f64,
}

/// What came of it; errors are relative to the targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Of devices exactly as their targets behind these switches and lines.
    pub before: f64,
    /// Of the devices as programmed in circuit, times the gains.
    pub after: f64,
    /// `l2_relative` of products of single conversions by `ohmrig mvm`, and its noise part.
    pub products: (f64, f64),
    /// The same without gains or calibration.
    pub products_raw: f64,
    /// Mean pulses per cell.
    pub pulses: f64,
    /// Cells given up; what is merely outside its window in circuit is in the errors.
    pub given_up: usize,
}

impl Experiment {
    fn text(&self) -> String {
        let built_in = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../emulator/profiles/{}.toml", self.devices));
        let mut text = std::fs::read_to_string(built_in).unwrap();
        for (from, to) in [
            ("rows = 16".to_owned(), format!("rows = {}", self.side)),
            ("columns = 16".to_owned(), format!("columns = {}", self.side)),
            ("imperfections = \"ideal\"".to_owned(), "imperfections = \"or16\"".to_owned()),
        ] {
            text = text.replace(&from, &to);
        }
        let segment = self.line_ohms / f64::from(self.side);
        let wires = format!("row_segment_ohm = {segment:?}\ncolumn_segment_ohm = {segment:?}\n");
        match text.find("row_segment_ohm") {
            Some(at) => text.replace_range(at.., &wires),
            None => text.push_str(&format!("\n[device.wires]\n{wires}")),
        }
        text
    }

    /// Programs and multiplies.
    ///
    /// # Panics
    /// If anything on the way fails.
    #[must_use]
    pub fn evaluate(&self) -> Found {
        let scratch = Scratch::new("parasitics");
        let path = |name: &str| scratch.path(name).display().to_string();
        let (board, state) = (path("board.toml"), path("state"));
        std::fs::write(&board, self.text()).unwrap();
        let side = usize::from(self.side);
        // 20 to 60 µS in any order: SplitMix64 of the cell's number.
        let targets = Array2::from_shape_fn((side, side), |(i, j)| {
            20e-6 + 40e-6 * crate::marks::uniform(self.seed, (i * side + j) as u64)
        });
        let inputs = Array2::from_shape_fn((4 * (side + 1), side), |(vector, row)| {
            0.4 * crate::marks::uniform(self.seed + 1, (vector * side + row) as u64) - 0.2
        });
        ohmrig::arrays::write(&scratch.path("targets.npy"), targets.view()).unwrap();
        ohmrig::arrays::write(&scratch.path("inputs.npy"), inputs.view()).unwrap();
        let run = |arguments: &[&str]| -> Value {
            let mut command = Command::new(ohmrig());
            command.args(["--json", "--port", &format!("emulated:{board}"), "--state", &state]);
            command.args(["--seed", &self.seed.to_string()]).args(arguments).stdin(Stdio::null());
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{arguments:?}: {said}");
            serde_json::from_str(&said).unwrap()
        };
        let (target, input, gains) = (path("targets.npy"), path("inputs.npy"), path("gains.json"));
        let calibration = run(&["calibrate"])["id"].clone();
        assert!(calibration.is_string(), "the board keeps it");
        let window = self.window_percent.to_string();
        let programmed =
            run(&["program", &target, "--in-circuit", "--window", &window, "--line-gains", &gains]);
        let multiplied = run(&["mvm", &input, "--target", &target, "--line-gains", &gains, "--repeat"]);
        assert_eq!(multiplied["calibration"], calibration);
        let number = |json: &Value, key: &str| json[key].as_f64().unwrap_or_else(|| panic!("{key}: {json}"));
        let against = &multiplied["against_target"];

        let mut emulation = Emulation::new(profile(Some(&board)).unwrap(), self.seed);
        emulation.state = Some(scratch.path("state"));
        let mut device = EmulatedDevice::power_up(&emulation).unwrap();
        let truth = device.board().truth().unwrap();
        let ohms = device.board().line_ohms().unwrap();
        let devices = Array2::from_shape_fn((side, side), |(i, j)| truth[i * side + j].conductance_s);
        let gain = |key: &str, line: usize| programmed[key][line].as_f64().unwrap();
        let after = effective(&emulation.profile, &ohms, &devices);
        let after = Array2::from_shape_fn((side, side), |(i, j)| {
            gain("row_gains", i) * after[(i, j)] * gain("column_gains", j)
        });
        assert_eq!(emulation.profile.board.imperfections, Imperfections::Or16);
        Found {
            before: relative_difference(
                effective(&emulation.profile, &ohms, &targets).view(),
                targets.view(),
            ),
            after: relative_difference(after.view(), targets.view()),
            products: (number(against, "l2_relative"), number(against, "noise_l2")),
            products_raw: number(&against["raw"], "l2_relative"),
            pulses: number(&programmed, "pulses_per_cell_mean"),
            given_up: programmed["excluded_cells"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|cell| cell["why"] != OUTSIDE)
                .count(),
        }
    }
}

/// What an array of these conductances multiplies by behind these resistances of its rows and columns, S: 1 V on one row after the
/// other, all others at 0 V, every node of the network solved.
fn effective(profile: &Profile, ohms: &(Vec<f64>, Vec<f64>), siemens: &Array2<f64>) -> Array2<f64> {
    let (rows, columns) = siemens.dim();
    let wires = profile.device.wires;
    let wires = if wires.row_segment_ohm == 0.0 {
        Wires::Ideal
    } else {
        Wires::Resistive {
            row: Segments::Uniform(wires.row_segment_ohm),
            column: Segments::Uniform(wires.column_segment_ohm),
        }
    };
    let conductance: Vec<f64> = siemens.iter().copied().collect();
    let bottom: Vec<Line> = ohms.1.iter().map(|&ohms| Line::Driven { volts: 0.0, ohms }).collect();
    let mut matrix = Array2::zeros((rows, columns));
    for row in 0..rows {
        let volts = |i| f64::from(u8::from(i == row));
        let left: Vec<Line> =
            ohms.0.iter().enumerate().map(|(i, &ohms)| Line::Driven { volts: volts(i), ohms }).collect();
        let ends = Ends { left: &left, right: &[], top: &[], bottom: &bottom };
        let solved = operate(&conductance, CurrentLaw::Linear, &wires, &ends, 1e-9).unwrap();
        for (column, amperes) in solved.bottom.into_iter().enumerate() {
            matrix[(row, column)] = amperes;
        }
    }
    matrix
}
