//! The network when the array's wires are ideal: one unknown voltage per line.
//!
//! The row voltages follow from the column voltages in closed form; what remains for the columns (a Schur complement)
//! is solved by conjugate gradients with the columns' own conductances as preconditioner.

use alloc::vec;
use alloc::vec::Vec;

use super::{CircuitError, Line, check_length, check_lines};

/// Largest last correction of a column voltage, relative to the largest source voltage.
const TOLERANCE: f64 = 1e-14;
/// A correction this small is rounding noise if it no longer shrinks.
const STAGNATION: f64 = 1e-12;
const MOST_ITERATIONS: u32 = 2_000;

/// The voltage of every line (V).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineVolts {
    /// Rows.
    pub rows: Vec<f64>,
    /// Columns.
    pub columns: Vec<f64>,
}

/// A line's equation: `(own + Σ G)·v = drive + Σ G·v_other`, or a voltage that is given.
struct Node {
    /// 1/(own + Σ G), or 0 for a fixed or isolated line (Ω).
    inverse: f64,
    /// own + Σ G (S).
    total: f64,
    /// Current injected by the source (A); for a fixed line its voltage (V).
    drive: f64,
    fixed: bool,
}

impl Node {
    fn new(line: Line, cells: f64) -> Self {
        match line {
            Line::Driven { volts, ohms: 0.0 } => Self { inverse: 0.0, total: 1.0, drive: volts, fixed: true },
            Line::Driven { volts, ohms } => {
                let total = 1.0 / ohms + cells;
                Self { inverse: 1.0 / total, total, drive: volts / ohms, fixed: false }
            }
            Line::Floating if cells > 0.0 => {
                Self { inverse: 1.0 / cells, total: cells, drive: 0.0, fixed: false }
            }
            // Connected to nothing at all: put at 0 V, where no current flows anyway.
            Line::Floating => Self { inverse: 0.0, total: 1.0, drive: 0.0, fixed: true },
        }
    }

    fn volts(&self, cell_currents: f64) -> f64 {
        if self.fixed { self.drive } else { (self.drive + cell_currents) * self.inverse }
    }
}

/// Line voltages for `conductance` (row-major, S) and, where given, a current `injected` from row to column in
/// parallel to every device (row-major, A).
///
/// # Errors
/// Wrong lengths, impossible values, or [`CircuitError::NotConverged`].
pub fn solve(
    conductance: &[f64],
    injected: Option<&[f64]>,
    rows: &[Line],
    columns: &[Line],
) -> Result<LineVolts, CircuitError> {
    let (row_count, column_count) = (rows.len(), columns.len());
    check_length("conductances", conductance.len(), row_count * column_count)?;
    check_lines("row source", rows, row_count)?;
    check_lines("column source", columns, column_count)?;

    let mut column_sums = vec![0.0; column_count];
    let mut row_nodes = Vec::with_capacity(row_count);
    for (&line, cells) in rows.iter().zip(conductance.chunks_exact(column_count)) {
        for (sum, g) in column_sums.iter_mut().zip(cells) {
            *sum += g;
        }
        row_nodes.push(Node::new(line, cells.iter().sum()));
    }
    let mut column_nodes: Vec<Node> =
        columns.iter().zip(&column_sums).map(|(&line, &sum)| Node::new(line, sum)).collect();
    if let Some(injected) = injected {
        check_length("injected currents", injected.len(), conductance.len())?;
        for (node, currents) in row_nodes.iter_mut().zip(injected.chunks_exact(column_count)) {
            for (column, current) in column_nodes.iter_mut().zip(currents) {
                node.drive -= if node.fixed { 0.0 } else { *current };
                column.drive += if column.fixed { 0.0 } else { *current };
            }
        }
    }

    let scale = rows.iter().chain(columns).filter_map(Line::volts).map(libm::fabs).fold(0.0, f64::max);
    // Starts with every free column at 0 V.
    let mut x: Vec<f64> = column_nodes.iter().map(|node| if node.fixed { node.drive } else { 0.0 }).collect();
    let mut residual: Vec<f64> = column_nodes.iter().map(|node| node.drive).collect();
    for (node, cells) in row_nodes.iter().zip(conductance.chunks_exact(column_count)) {
        let volts = node.volts(dot(cells, &x));
        for (r, g) in residual.iter_mut().zip(cells) {
            *r += g * volts;
        }
    }
    let mut direction = vec![0.0; column_count];
    let mut image = vec![0.0; column_count];
    let mut gamma_before = 0.0;
    let mut smallest = f64::INFINITY;
    let mut iterations = 0;
    loop {
        let mut correction = 0.0_f64;
        let mut gamma = 0.0;
        for (r, node) in residual.iter().zip(&column_nodes) {
            let z = r * node.inverse;
            correction = correction.max(libm::fabs(z));
            gamma += r * z;
        }
        let done = correction <= TOLERANCE * scale
            || (correction <= STAGNATION * scale && correction >= 0.5 * smallest);
        smallest = smallest.min(correction);
        if done || gamma == 0.0 {
            for ((x, r), node) in x.iter_mut().zip(&residual).zip(&column_nodes) {
                *x += r * node.inverse;
            }
            break;
        }
        if iterations == MOST_ITERATIONS || !correction.is_finite() {
            return Err(CircuitError::NotConverged {
                residual: correction / scale,
                tolerance: TOLERANCE,
                iterations,
            });
        }
        let beta = if iterations == 0 { 0.0 } else { gamma / gamma_before };
        gamma_before = gamma;
        for (((p, q), r), node) in direction.iter_mut().zip(&mut image).zip(&residual).zip(&column_nodes) {
            *p = r * node.inverse + beta * *p;
            *q = if node.fixed { 0.0 } else { node.total * *p };
        }
        for (node, cells) in row_nodes.iter().zip(conductance.chunks_exact(column_count)) {
            let volts = dot(cells, &direction) * node.inverse;
            for (q, g) in image.iter_mut().zip(cells) {
                *q -= g * volts;
            }
        }
        let alpha = gamma / dot(&direction, &image);
        for (((x, r), p), q) in x.iter_mut().zip(&mut residual).zip(&direction).zip(&image) {
            *x += alpha * p;
            *r -= alpha * q;
        }
        iterations += 1;
    }
    let rows = row_nodes
        .iter()
        .zip(conductance.chunks_exact(column_count))
        .map(|(node, cells)| node.volts(dot(cells, &x)))
        .collect();
    Ok(LineVolts { rows, columns: x })
}

/// Sum of products in four fixed lanes, so that its rounding doesn't depend on the target's vector width.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 4];
    let (a_lanes, a_rest) = a.as_chunks::<4>();
    let (b_lanes, b_rest) = b.as_chunks::<4>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}

#[cfg(test)]
#[allow(clippy::needless_range_loop)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::{LineVolts, solve};
    use crate::circuit::{CircuitError, Line};
    use crate::random::Random;

    fn driven(volts: f64, ohms: f64) -> Line {
        Line::Driven { volts, ohms }
    }

    #[test]
    fn one_device_between_two_sources_is_a_voltage_divider() {
        let LineVolts { rows, columns } =
            solve(&[1e-4], None, &[driven(1.0, 2e3)], &[driven(-1.0, 3e3)]).unwrap();
        // 2 V across 2 kΩ + 10 kΩ + 3 kΩ; a few roundings of 1e-16 V.
        let current = 2.0 / 15e3;
        assert!(libm::fabs(rows[0] - (1.0 - 2e3 * current)) < 1e-14);
        assert!(libm::fabs(columns[0] - (-1.0 + 3e3 * current)) < 1e-14);
    }

    #[test]
    fn a_floating_column_takes_the_conductance_weighted_mean_of_its_rows() {
        let g = [1e-5, 3e-5];
        let volts = solve(&g, None, &[driven(1.0, 0.0), driven(0.0, 0.0)], &[Line::Floating]).unwrap();
        assert!(libm::fabs(volts.columns[0] - 0.25) < 1e-15);
    }

    #[test]
    fn currents_balance_at_every_line_for_random_networks() {
        // Kirchhoff's current law in A; a current of at most 1 mA per line carries about 1e-15 relative rounding from
        // each of up to 24 terms, and corrections stop at 1e-14 of the largest voltage.
        let mut random = Random::new(17, 0);
        for case in 0..200 {
            let (row_count, column_count) = (1 + case % 12, 1 + case * 7 % 24);
            let g: Vec<f64> =
                (0..row_count * column_count).map(|_| libm::exp(-14.0 + 5.0 * random.uniform())).collect();
            let injected: Vec<f64> = g.iter().map(|g| g * (random.uniform() - 0.5) * 0.1).collect();
            let mut line = || match random.next_u64() % 8 {
                0..3 => Line::Floating,
                3 => driven(random.uniform() - 0.5, 0.0),
                _ => driven(random.uniform() - 0.5, 1.0 + 2e4 * random.uniform()),
            };
            let mut rows: Vec<Line> = (0..row_count).map(|_| line()).collect();
            let columns: Vec<Line> = (0..column_count).map(|_| line()).collect();
            rows[0] = driven(0.3, 100.0);
            let volts = solve(&g, Some(&injected), &rows, &columns).unwrap();
            let mut into_rows = vec![0.0; row_count];
            let mut into_columns = vec![0.0; column_count];
            for i in 0..row_count {
                for j in 0..column_count {
                    let cell = i * column_count + j;
                    let current = g[cell] * (volts.rows[i] - volts.columns[j]) + injected[cell];
                    into_rows[i] -= current;
                    into_columns[j] += current;
                }
            }
            let lines = rows.iter().zip(&volts.rows).zip(&into_rows);
            for ((line, &v), &sum) in lines.chain(columns.iter().zip(&volts.columns).zip(&into_columns)) {
                match *line {
                    Line::Driven { volts, ohms: 0.0 } => assert_eq!(v, volts),
                    Line::Driven { volts, ohms } => {
                        assert!(libm::fabs(sum + (volts - v) / ohms) < 1e-14, "case {case}");
                    }
                    Line::Floating => assert!(libm::fabs(sum) < 1e-14, "case {case}: {sum:e}"),
                }
            }
        }
    }

    #[test]
    fn lines_connected_to_nothing_rest_at_zero() {
        let volts = solve(&[0.0, 0.0, 1e-5, 0.0], None, &[Line::Floating; 2], &[Line::Floating; 2]).unwrap();
        assert_eq!(volts, LineVolts { rows: vec![0.0; 2], columns: vec![0.0; 2] });
        let volts = solve(&[0.0], None, &[driven(1.0, 1.0)], &[Line::Floating]).unwrap();
        assert_eq!(volts.columns, [0.0]);
    }

    #[test]
    fn a_source_that_cannot_be_is_refused() {
        let error = solve(&[1e-5], None, &[driven(1.0, -1.0)], &[Line::Floating]).unwrap_err();
        assert!(matches!(error, CircuitError::Value { what: "row source", index: 0, .. }), "{error}");
    }
}
