//! One array, whatever its wires and devices: picks the solver, and puts Newton's method around it for devices whose
//! current isn't proportional to the voltage.

use alloc::vec;
use alloc::vec::Vec;

use super::wired::{Convergence, Network, Segments, Wiring, Workspace};
use super::{CircuitError, CurrentLaw, Line, check_length, lumped};

const MOST_NEWTON_STEPS: u32 = 60;
/// No device conducts better than this (S); a law evaluated far outside its range may say so.
const STEEPEST: f64 = 1e9;
/// The inner solve needn't be more exact than this part of the square of the last Newton step.
const INNER_PART: f64 = 0.1;

/// The resistance of an array's own wires.
#[derive(Clone, Debug, PartialEq)]
pub enum Wires {
    /// None.
    Ideal,
    /// Segments of all rows and of all columns.
    Resistive {
        /// Rows.
        row: Segments,
        /// Columns.
        column: Segments,
    },
}

/// What every end of every line is connected to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ends<'a> {
    /// Left ends of the rows.
    pub left: &'a [Line],
    /// Right ends of the rows; empty if all are open.
    pub right: &'a [Line],
    /// Top ends of the columns; empty if all are open.
    pub top: &'a [Line],
    /// Bottom ends of the columns, the outputs.
    pub bottom: &'a [Line],
}

/// The state of an array.
#[derive(Clone, Debug, PartialEq)]
pub struct Operating {
    /// V_row − V_column across every device, row-major (V).
    pub cell_volts: Vec<f64>,
    /// Out of each column's bottom end into its source (A); 0 where that end floats.
    pub bottom: Vec<f64>,
    /// How it was reached.
    pub convergence: Convergence,
}

/// Cell voltages and output currents of an array with small-signal conductances `conductance` (row-major, S).
///
/// # Errors
/// Wrong lengths, impossible values, ends at both sides of a line of an array with ideal wires, or
/// [`CircuitError::NotConverged`], or [`CircuitError::TooSteep`].
pub fn operate(
    conductance: &[f64],
    law: CurrentLaw,
    wires: &Wires,
    ends: &Ends<'_>,
    tolerance: f64,
) -> Result<Operating, CircuitError> {
    let (rows, columns) = (ends.left.len(), ends.bottom.len());
    check_length("conductances", conductance.len(), rows * columns)?;
    if law == CurrentLaw::Linear {
        return linear(conductance, None, wires, ends, tolerance);
    }
    let driven =
        || ends.left.iter().chain(ends.right).chain(ends.top).chain(ends.bottom).filter_map(Line::volts);
    let (lowest, highest) = driven().fold((0.0_f64, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
    let span = highest - lowest;
    // As if nothing dropped along the lines; what floats is guessed at 0 V.
    let volts = |line: &Line| line.volts().unwrap_or(0.0);
    let mut cell_volts = Vec::with_capacity(conductance.len());
    for row in ends.left {
        cell_volts.extend(ends.bottom.iter().map(|column| volts(row) - volts(column)));
    }
    let (mut slope, mut injected) = (vec![0.0; conductance.len()], vec![0.0; conductance.len()]);
    let (mut before, mut inner) = (1.0_f64, tolerance.max(1e-3));
    let mut iterations = 0;
    let mut residual = 1.0;
    for _ in 0..MOST_NEWTON_STEPS {
        law.linearise(conductance, &cell_volts, &mut slope, &mut injected);
        let steep = |(slope, _): &(&f64, &f64)| !(0.0..=STEEPEST).contains(*slope);
        if let Some((_, &volts)) = slope.iter().zip(&cell_volts).find(steep) {
            return Err(CircuitError::TooSteep { volts, residual, iterations });
        }
        let mut solved = linear(&slope, Some(&injected), wires, ends, inner)?;
        iterations += solved.convergence.iterations;
        let mut change = 0.0_f64;
        for (new, old) in solved.cell_volts.iter_mut().zip(&cell_volts) {
            // No voltage in a network of passive devices exceeds the span of its sources; a Newton step may.
            *new = new.clamp(-span, span);
            change = change.max(libm::fabs(*new - *old));
        }
        let change = if span > 0.0 { change / span } else { 0.0 };
        // Newton's steps shrink quadratically; taking only change²/before for the next one is on the safe side.
        residual = change * (change / before).min(1.0);
        if residual <= tolerance && inner <= tolerance {
            solved.convergence =
                Convergence { residual: residual.max(solved.convergence.residual), iterations };
            return Ok(solved);
        }
        cell_volts = solved.cell_volts;
        before = change.max(f64::MIN_POSITIVE);
        inner = (INNER_PART * change * change).clamp(tolerance, inner);
    }
    Err(CircuitError::NotConverged { residual, tolerance, iterations })
}

/// Linear devices, in parallel to a given current from row to column each.
fn linear(
    conductance: &[f64],
    injected: Option<&[f64]>,
    wires: &Wires,
    ends: &Ends<'_>,
    tolerance: f64,
) -> Result<Operating, CircuitError> {
    let columns = ends.bottom.len();
    match wires {
        Wires::Ideal => {
            for (what, end) in [("right end of ideal row", ends.right), ("top end of ideal column", ends.top)]
            {
                if let Some((index, value)) =
                    end.iter().enumerate().find_map(|(index, line)| line.volts().map(|volts| (index, volts)))
                {
                    return Err(CircuitError::Value { what, index, value, allowed: "an open end" });
                }
            }
            let volts = lumped::solve(conductance, injected, ends.left, ends.bottom)?;
            let mut cell_volts = Vec::with_capacity(conductance.len());
            let mut bottom = vec![0.0; columns];
            for (row, conductances) in volts.rows.iter().zip(conductance.chunks_exact(columns)) {
                for ((current, column), g) in bottom.iter_mut().zip(&volts.columns).zip(conductances) {
                    cell_volts.push(row - column);
                    *current += g * (row - column);
                }
            }
            for currents in injected.into_iter().flat_map(|injected| injected.chunks_exact(columns)) {
                for (sum, current) in bottom.iter_mut().zip(currents) {
                    *sum += current;
                }
            }
            for (current, line) in bottom.iter_mut().zip(ends.bottom) {
                if *line == Line::Floating {
                    *current = 0.0;
                }
            }
            Ok(Operating { cell_volts, bottom, convergence: Convergence { residual: 0.0, iterations: 1 } })
        }
        Wires::Resistive { row, column } => {
            let network = wired_network(conductance, row, column, ends)?;
            let left: Vec<f64> = ends.left.iter().map(|line| line.volts().unwrap_or(0.0)).collect();
            let solved = network.potentials(&left, injected, tolerance)?;
            let mut cell_volts = solved.rows;
            for (volts, column) in cell_volts.iter_mut().zip(&solved.columns) {
                *volts -= column;
            }
            Ok(Operating { cell_volts, bottom: solved.bottom, convergence: solved.convergence })
        }
    }
}

fn wired_network(
    conductance: &[f64],
    row_segments: &Segments,
    column_segments: &Segments,
    ends: &Ends<'_>,
) -> Result<Network, CircuitError> {
    let open_rows = vec![Line::Floating; if ends.right.is_empty() { ends.left.len() } else { 0 }];
    let open_columns = vec![Line::Floating; if ends.top.is_empty() { ends.bottom.len() } else { 0 }];
    let right = if ends.right.is_empty() { &open_rows } else { ends.right };
    let top = if ends.top.is_empty() { &open_columns } else { ends.top };
    let wiring = Wiring { row_segments, column_segments, left: ends.left, right, top, bottom: ends.bottom };
    Network::new(conductance, &wiring)
}

/// Output currents of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchCurrents {
    /// `[vector][column]`, row-major: current out of each column's bottom end (A).
    pub currents: Vec<f64>,
    /// The worst residual and the largest number of iterations of any vector.
    pub convergence: Convergence,
}

/// Column currents for a batch of input vectors: row i is driven with `volts[k][i]` (V) at its left end by an ideal
/// source, every column ends at its bottom in an ideal 0 V, all other ends are open.
///
/// This is the netlist of badcrossbar: with a wire segment between each source and its first device, between
/// neighbouring devices, and between the last device of a column and its output. `conductance` is row-major
/// (`rows` × columns, S); every output current is within `tolerance` relative of its exact value.
///
/// ```
/// use ohmrig_emulator::circuit::{CurrentLaw, Wires, solve, wired::Segments};
///
/// // Two rows, one column of 10 kΩ devices, 1 Ω per wire segment; two input vectors.
/// let wires = Wires::Resistive { row: Segments::Uniform(1.0), column: Segments::Uniform(1.0) };
/// let volts = [0.2, 0.1, 0.0, 0.2];
/// let solved = solve(&[1e-4, 1e-4], 2, &volts, CurrentLaw::Linear, &wires, 1e-9).unwrap();
/// // Without wires it would be 30 and 20 µA.
/// assert!((solved.currents[0] - 29.989e-6).abs() < 1e-9);
/// assert!((solved.currents[1] - 19.994e-6).abs() < 1e-9);
/// ```
///
/// # Errors
/// Wrong lengths, impossible values, or [`CircuitError::NotConverged`].
pub fn solve(
    conductance: &[f64],
    rows: usize,
    volts: &[f64],
    law: CurrentLaw,
    wires: &Wires,
    tolerance: f64,
) -> Result<BatchCurrents, CircuitError> {
    solve_in(&mut Workspace::default(), conductance, rows, volts, law, wires, tolerance)
}

/// [`solve()`] in the memory of earlier solutions.
///
/// # Errors
/// Wrong lengths, impossible values, or [`CircuitError::NotConverged`].
pub fn solve_in(
    workspace: &mut Workspace,
    conductance: &[f64],
    rows: usize,
    volts: &[f64],
    law: CurrentLaw,
    wires: &Wires,
    tolerance: f64,
) -> Result<BatchCurrents, CircuitError> {
    if rows == 0 || conductance.is_empty() || !conductance.len().is_multiple_of(rows) {
        return Err(CircuitError::Shape { what: "conductances", expected: rows, got: conductance.len() });
    }
    if !volts.len().is_multiple_of(rows) {
        return Err(CircuitError::Shape { what: "input voltages", expected: rows, got: volts.len() });
    }
    let columns = conductance.len() / rows;
    let ground = Line::Driven { volts: 0.0, ohms: 0.0 };
    let bottom = vec![ground; columns];
    let mut currents = vec![0.0; volts.len() / rows * columns];
    let check = |(index, &value): (usize, &f64)| {
        let (what, allowed) = ("input voltage", "-1000 to 1000 V");
        let possible = (-1e3..=1e3).contains(&value);
        if possible { Ok(()) } else { Err(CircuitError::Value { what, index, value, allowed }) }
    };
    volts.iter().enumerate().try_for_each(check)?;
    let (left, open_rows) = (vec![ground; rows], vec![Line::Floating; rows]);
    let open_columns = vec![Line::Floating; columns];
    let wiring = match wires {
        Wires::Ideal => None,
        Wires::Resistive { row, column } => Some(Wiring {
            row_segments: row,
            column_segments: column,
            left: &left,
            right: &open_rows,
            top: &open_columns,
            bottom: &bottom,
        }),
    };
    if let Some(wiring) = &wiring
        && law == CurrentLaw::Linear
    {
        let convergence = workspace.currents(conductance, wiring, volts, tolerance, &mut currents)?;
        return Ok(BatchCurrents { currents, convergence });
    }
    let mut convergence = Convergence::default();
    for (volts, currents) in volts.chunks_exact(rows).zip(currents.chunks_exact_mut(columns)) {
        let swept = match &wiring {
            Some(wiring) => {
                workspace.nonlinear_currents(conductance, law, wiring, volts, tolerance, currents)?
            }
            None => None,
        };
        let reached = match swept {
            Some(convergence) => convergence,
            None => {
                let left: Vec<Line> = volts.iter().map(|&volts| Line::Driven { volts, ohms: 0.0 }).collect();
                let ends = Ends { left: &left, right: &[], top: &[], bottom: &bottom };
                let solved = operate(conductance, law, wires, &ends, tolerance)?;
                currents.copy_from_slice(&solved.bottom);
                solved.convergence
            }
        };
        convergence.residual = convergence.residual.max(reached.residual);
        convergence.iterations = convergence.iterations.max(reached.iterations);
    }
    Ok(BatchCurrents { currents, convergence })
}
