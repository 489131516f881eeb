//! One array in any state, for comparison with other circuit solvers (`cargo xtask peers`): a JSON object of its
//! devices, wire segments and ends on standard input, its device voltages and output currents on standard output.

use ohmrig_emulator::circuit::wired::Segments;
use ohmrig_emulator::circuit::{CurrentLaw, Ends, Line, Wires, operate};
use serde::Deserialize;
use std::error::Error;

/// Of every output current and node voltage.
const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Array {
    /// Row-major (S).
    conductance: Vec<f64>,
    law: CurrentLaw,
    /// As [`Segments::Each`] (Ω).
    row_segments: Vec<f64>,
    column_segments: Vec<f64>,
    left: Vec<Line>,
    right: Vec<Line>,
    top: Vec<Line>,
    bottom: Vec<Line>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let array: Array = serde_json::from_reader(std::io::stdin())?;
    let (row, column) = (Segments::Each(array.row_segments), Segments::Each(array.column_segments));
    let ends = Ends { left: &array.left, right: &array.right, top: &array.top, bottom: &array.bottom };
    let wires = Wires::Resistive { row, column };
    let solved = operate(&array.conductance, array.law, &wires, &ends, TOLERANCE)?;
    println!("{}", serde_json::json!({"cell_volts": solved.cell_volts, "bottom": solved.bottom}));
    Ok(())
}
