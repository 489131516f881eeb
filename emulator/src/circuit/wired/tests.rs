//! Kirchhoff's current law at every node of random networks, and the cases that have an answer in closed form.

use alloc::vec;
use alloc::vec::Vec;

use super::{Network, Potentials, Segments, Wiring, Workspace, currents};
use crate::circuit::array::solve_in;
use crate::circuit::{CircuitError, CurrentLaw, Ends, Line, Wires, operate, solve};
use crate::random::Random;

fn driven(volts: f64, ohms: f64) -> Line {
    Line::Driven { volts, ohms }
}

fn left_volts(lines: &[Line]) -> Vec<f64> {
    lines.iter().map(|line| line.volts().unwrap_or(0.0)).collect()
}

/// Largest |sum of currents| at any node (A), largest |current| of any wire segment (A), and the currents out of the
/// bottom ends.
fn imbalance(
    conductance: &[f64],
    injected: Option<&[f64]>,
    wiring: &Wiring<'_>,
    solved: &Potentials,
) -> (f64, f64, Vec<f64>) {
    let (rows, columns) = (wiring.left.len(), wiring.bottom.len());
    let mut sums_row = vec![0.0; rows * columns];
    let mut sums_column = vec![0.0; rows * columns];
    let mut largest = 0.0_f64;
    for cell in 0..rows * columns {
        let current = conductance[cell] * (solved.rows[cell] - solved.columns[cell])
            + injected.map_or(0.0, |injected| injected[cell]);
        sums_row[cell] -= current;
        sums_column[cell] += current;
    }
    let ohm = |segments: &Segments, line: usize, cells: usize, k: usize| match segments {
        Segments::Uniform(ohm) => *ohm,
        Segments::Each(each) => each[line * (cells + 1) + k],
    };
    // Current into a line's end from its source.
    let source = |line: Line, segment: f64, node: f64| match line {
        Line::Driven { volts, ohms } => (volts - node) / (ohms + segment),
        Line::Floating => 0.0,
    };
    for i in 0..rows {
        let at = |j: usize| i * columns + j;
        for j in 1..columns {
            let current =
                (solved.rows[at(j - 1)] - solved.rows[at(j)]) / ohm(wiring.row_segments, i, columns, j);
            largest = largest.max(libm::fabs(current));
            sums_row[at(j - 1)] -= current;
            sums_row[at(j)] += current;
        }
        let first = ohm(wiring.row_segments, i, columns, 0);
        let last = ohm(wiring.row_segments, i, columns, columns);
        sums_row[at(0)] += source(wiring.left[i], first, solved.rows[at(0)]);
        sums_row[at(columns - 1)] += source(wiring.right[i], last, solved.rows[at(columns - 1)]);
    }
    let mut bottom = Vec::new();
    for j in 0..columns {
        let at = |i: usize| i * columns + j;
        for i in 1..rows {
            let current =
                (solved.columns[at(i - 1)] - solved.columns[at(i)]) / ohm(wiring.column_segments, j, rows, i);
            largest = largest.max(libm::fabs(current));
            sums_column[at(i - 1)] -= current;
            sums_column[at(i)] += current;
        }
        let first = ohm(wiring.column_segments, j, rows, 0);
        let last = ohm(wiring.column_segments, j, rows, rows);
        sums_column[at(0)] += source(wiring.top[j], first, solved.columns[at(0)]);
        let into = source(wiring.bottom[j], last, solved.columns[at(rows - 1)]);
        bottom.push(-into);
        sums_column[at(rows - 1)] += into;
    }
    let worst = sums_row.iter().chain(&sums_column).map(|sum| libm::fabs(*sum)).fold(0.0, f64::max);
    (worst, largest, bottom)
}

struct Case {
    conductance: Vec<f64>,
    injected: Vec<f64>,
    row_segments: Segments,
    column_segments: Segments,
    ends: [Vec<Line>; 4],
}

/// Any array: one to 20 lines a side, devices over three decades (some open), segments of 0.1 to 100 Ω one by one,
/// ends driven or floating on any side.
fn random_case(random: &mut Random) -> Case {
    let rows = 1 + (random.next_u64() % 20) as usize;
    let columns = 1 + (random.next_u64() % 20) as usize;
    let mut decades = |from: f64, count: f64| libm::pow(10.0, from + count * random.uniform());
    let row_segments = Segments::Each((0..rows * (columns + 1)).map(|_| decades(-1.0, 3.0)).collect());
    let column_segments = Segments::Each((0..columns * (rows + 1)).map(|_| decades(-1.0, 3.0)).collect());
    let mut conductance: Vec<f64> = (0..rows * columns).map(|_| decades(-6.0, 3.0)).collect();
    for g in &mut conductance {
        if random.next_u64().is_multiple_of(8) {
            *g = 0.0;
        }
    }
    // None into an open device: a line that nothing else reaches would have to carry it nowhere.
    let injected = conductance.iter().map(|g| g * 0.1 * (random.uniform() - 0.5)).collect();
    let mut ends = |lines: usize| -> Vec<Line> {
        let mut line = || match random.next_u64() % 4 {
            0 => Line::Floating,
            1 => driven(random.uniform() - 0.5, 0.0),
            _ => driven(random.uniform() - 0.5, 200.0 * random.uniform() + 0.001),
        };
        (0..lines).map(|_| line()).collect()
    };
    let ends = [ends(rows), ends(rows), ends(columns), ends(columns)];
    Case { conductance, injected, row_segments, column_segments, ends }
}

impl Case {
    fn wiring(&self) -> Wiring<'_> {
        let [left, right, top, bottom] = &self.ends;
        let (row_segments, column_segments) = (&self.row_segments, &self.column_segments);
        Wiring { row_segments, column_segments, left, right, top, bottom }
    }
}

#[test]
fn currents_balance_at_every_node_of_random_networks() {
    let mut random = Random::new(31, 0);
    for case in 0..300 {
        let network = random_case(&mut random);
        let wiring = network.wiring();
        let solved = Network::new(&network.conductance, &wiring)
            .unwrap()
            .potentials(&left_volts(wiring.left), Some(&network.injected), 1e-13)
            .unwrap();
        let (worst, _, bottom) = imbalance(&network.conductance, Some(&network.injected), &wiring, &solved);
        // Node voltages up to 0.5 V carry 1e-16 V of rounding over segments of down to 0.1 Ω: 1e-15 A each, a few per
        // node; the tolerance of 1e-13 V over 0.1 Ω allows 1e-12 A.
        assert!(worst < 4e-12, "case {case}: {worst:e} A");
        for (current, expected) in solved.bottom.iter().zip(&bottom) {
            assert!(libm::fabs(current - expected) < 1e-14, "case {case}: {current:e} for {expected:e}");
        }
    }
}

#[test]
fn nonlinear_devices_of_every_law_balance_at_every_node() {
    // The current of each device at its solved voltage, as an injected current beside nothing, must balance too.
    let mut random = Random::new(32, 0);
    let laws =
        [CurrentLaw::Sinh { v0_v: 0.1 }, CurrentLaw::Cubic { coefficient_per_v2: 2.0 }, CurrentLaw::Milo];
    for case in 0..60 {
        let mut network = random_case(&mut random);
        let law = laws[case % 3];
        if law == CurrentLaw::Milo {
            for g in &mut network.conductance {
                *g = 50e-6 + 175e-6 * random.uniform();
            }
        }
        let wiring = network.wiring();
        let wires =
            Wires::Resistive { row: wiring.row_segments.clone(), column: wiring.column_segments.clone() };
        let ends = Ends { left: wiring.left, right: wiring.right, top: wiring.top, bottom: wiring.bottom };
        let solved = operate(&network.conductance, law, &wires, &ends, 1e-12).unwrap();
        let currents: Vec<f64> =
            network.conductance.iter().zip(&solved.cell_volts).map(|(&g, &u)| law.evaluate(g, u).0).collect();
        // Linear wires carrying exactly these currents must show exactly these cell voltages: checked through the
        // slopes at the solution, which make the network of wires and devices definite.
        let slopes: Vec<f64> =
            network.conductance.iter().zip(&solved.cell_volts).map(|(&g, &u)| law.evaluate(g, u).1).collect();
        let injected: Vec<f64> =
            currents.iter().zip(&slopes).zip(&solved.cell_volts).map(|((i, g), u)| i - g * u).collect();
        let again = Network::new(&slopes, &wiring)
            .unwrap()
            .potentials(&left_volts(wiring.left), Some(&injected), 1e-13)
            .unwrap();
        for ((row, column), volts) in again.rows.iter().zip(&again.columns).zip(&solved.cell_volts) {
            assert!(libm::fabs(row - column - volts) < 3e-12, "case {case}, {law:?}");
        }
    }
}

#[test]
fn one_cell_is_a_series_circuit() {
    let segments = Segments::Each(vec![2.0, 1.0]);
    let wiring = Wiring {
        row_segments: &segments,
        column_segments: &Segments::Uniform(3.0),
        left: &[driven(1.0, 95.0)],
        right: &[Line::Floating],
        top: &[Line::Floating],
        bottom: &[driven(-0.5, 0.0)],
    };
    let solved = Network::new(&[1e-3], &wiring).unwrap().potentials(&[1.0], None, 1e-12).unwrap();
    // 1.5 V over 95 + 2 + 1000 + 3 Ω; rounding alone.
    assert!(libm::fabs(solved.bottom[0] - 1.5 / 1100.0) < 1e-15);
    assert!(libm::fabs(solved.rows[0] - (1.0 - 97.0 * 1.5 / 1100.0)) < 1e-14);
}

#[test]
fn equal_segments_give_the_same_numbers_one_by_one_and_at_once() {
    let mut random = Random::new(33, 0);
    let (rows, columns) = (11, 6);
    let g: Vec<f64> = (0..rows * columns).map(|_| 1e-4 * random.uniform()).collect();
    let volts: Vec<f64> = (0..rows).map(|_| random.uniform()).collect();
    let ground = vec![driven(0.0, 10.0); rows.max(columns)];
    let open = vec![Line::Floating; rows.max(columns)];
    let run = |row_segments: &Segments, column_segments: &Segments| {
        let wiring = Wiring {
            row_segments,
            column_segments,
            left: &ground[..rows],
            right: &open[..rows],
            top: &open[..columns],
            bottom: &ground[..columns],
        };
        Network::new(&g, &wiring).unwrap().potentials(&volts, None, 1e-9).unwrap()
    };
    let uniform = run(&Segments::Uniform(2.5), &Segments::Uniform(1.5));
    let each = run(
        &Segments::Each(vec![2.5; rows * (columns + 1)]),
        &Segments::Each(vec![1.5; columns * (rows + 1)]),
    );
    assert_eq!(uniform, each);
}

#[test]
fn vectors_side_by_side_give_what_each_gives_alone() {
    let mut random = Random::new(34, 0);
    let n = 20;
    let g: Vec<f64> = (0..n * n).map(|_| 1e-4 * random.uniform()).collect();
    let segments = Segments::Uniform(5.0);
    let (ground, open) = (vec![driven(0.0, 0.0); n], vec![Line::Floating; n]);
    let wiring = Wiring {
        row_segments: &segments,
        column_segments: &segments,
        left: &ground,
        right: &open,
        top: &open,
        bottom: &ground,
    };
    let network = Network::new(&g, &wiring).unwrap();
    // One of them is all zeros, and must come out as zeros.
    let volts: Vec<[f64; 4]> =
        (0..n).map(|_| [random.uniform(), random.uniform() - 0.5, 0.0, 1e-6 * random.uniform()]).collect();
    let mut together = vec![[0.0; 4]; n];
    network.currents(&volts, 1e-9, &mut together).unwrap();
    for lane in 0..4 {
        let alone: Vec<[f64; 1]> = volts.iter().map(|volts| [volts[lane]]).collect();
        let mut currents = vec![[0.0]; n];
        network.currents(&alone, 1e-9, &mut currents).unwrap();
        let largest = currents.iter().map(|[current]| libm::fabs(*current)).fold(0.0, f64::max);
        for (together, [alone]) in together.iter().zip(&currents) {
            // Both are within 1e-9 of the exact value, or of 1e-5 of the largest.
            let size = libm::fabs(*alone).max(1e-5 * largest);
            assert!(libm::fabs(together[lane] - alone) <= 2e-9 * size);
        }
    }
}

#[test]
fn an_array_without_sources_or_without_devices_carries_no_current() {
    let segments = Segments::Uniform(1.0);
    let open = vec![Line::Floating; 3];
    let wires = Wires::Resistive { row: segments.clone(), column: segments };
    let ends = Ends { left: &open, right: &[], top: &[], bottom: &open };
    let solved = operate(&[1e-5; 9], CurrentLaw::Linear, &wires, &ends, 1e-9).unwrap();
    assert_eq!(solved.cell_volts, [0.0; 9]);
    let ends = Ends { left: &[driven(1.0, 0.0); 3], right: &[], top: &[], bottom: &open };
    let solved = operate(&[0.0; 9], CurrentLaw::Linear, &wires, &ends, 1e-9).unwrap();
    assert_eq!(solved.bottom, [0.0; 3]);
}

#[test]
fn what_does_not_converge_is_an_error_with_its_residual() {
    // 5 V across devices whose current grows e-fold every 20 mV: far outside any device, and beyond Newton's method.
    let ground = [driven(0.0, 0.0); 2];
    let ends = Ends { left: &[driven(5.0, 0.0); 2], right: &[], top: &[], bottom: &ground };
    let wires = Wires::Resistive { row: Segments::Uniform(1.0), column: Segments::Uniform(1.0) };
    let error = operate(&[1e-4; 4], CurrentLaw::Sinh { v0_v: 0.02 }, &wires, &ends, 1e-9).unwrap_err();
    let CircuitError::TooSteep { volts, residual, .. } = error else { panic!("{error}") };
    assert!(volts == 5.0 && residual == 1.0, "{error}");
}

#[test]
fn impossible_wires_are_refused_with_their_place() {
    let (ground, open) = ([driven(0.0, 0.0); 2], [Line::Floating; 2]);
    let mut each = vec![1.0; 6];
    each[4] = -1.0;
    let wiring = Wiring {
        row_segments: &Segments::Each(each),
        column_segments: &Segments::Uniform(1.0),
        left: &ground,
        right: &open,
        top: &open,
        bottom: &ground,
    };
    let error = Network::new(&[1e-5; 4], &wiring).unwrap_err();
    assert!(matches!(error, CircuitError::Value { what: "row segment", index: 4, .. }), "{error}");
    let wiring = Wiring { row_segments: &Segments::Uniform(f64::NAN), ..wiring };
    assert!(matches!(Network::new(&[1e-5; 4], &wiring), Err(CircuitError::Value { index: 0, .. })));
    let wiring = Wiring { row_segments: &Segments::Uniform(1.0), ..wiring };
    let error = Network::new(&[1e-5, 1e-5, -1e-9, 1e-5], &wiring).unwrap_err();
    assert!(matches!(error, CircuitError::Value { what: "conductance", index: 2, .. }), "{error}");
}

/// A square array with equal segments, log-uniform devices, and signed inputs.
fn square(n: usize, vectors: usize, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut random = Random::new(seed, n as u64);
    let g = (0..n * n).map(|_| libm::pow(10.0, -6.0 + 2.0 * random.uniform())).collect();
    let v = (0..n * vectors).map(|_| 0.4 * random.uniform() - 0.2).collect();
    (g, v)
}

#[test]
fn in_a_batch_a_vectors_currents_depend_on_neither_the_others_nor_their_number_by_a_single_bit() {
    // Several widths side by side, and places that stay empty; from 128 × 128 on with a coarse array, here with ragged blocks.
    for (n, vectors) in [(5, 9), (32, 35), (131, 18)] {
        let (g, mut v) = square(n, vectors, 71);
        // One of the others converges more slowly than any, and one isn't there.
        v[n..2 * n].fill(0.0);
        v[2 * n + 1..3 * n].fill(0.0);
        let wires = Wires::Resistive { row: Segments::Uniform(2.0), column: Segments::Uniform(5.0) };
        let solve = |v: &[f64]| solve(&g, n, v, CurrentLaw::Linear, &wires, 1e-9).unwrap().currents;
        let together = solve(&v);
        let same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
        for (k, one) in v.chunks_exact(n).enumerate() {
            let pair = solve(&[&v[2 * n..3 * n], one].concat());
            assert!(same(&pair[n..], &together[k * n..][..n]), "vector {k} of {vectors} at {n}");
            let alone = solve(one);
            let largest = alone.iter().fold(0.0_f64, |most, current| most.max(libm::fabs(*current)));
            for (a, b) in alone.iter().zip(&pair[n..]) {
                // Alone it takes other steps; both are within the tolerance.
                let size = libm::fabs(*a).max(1e-5 * largest);
                assert!(libm::fabs(a - b) <= 2e-9 * size, "vector {k} of {vectors} at {n}: {a:e}, {b:e}");
            }
        }
    }
}

/// Short ways and long ones (50 Ω at 256 lines lose nearly all of the voltage), in a batch and alone; against solutions that are
/// tighter by four orders.
#[test]
fn no_output_is_ever_off_by_more_than_the_tolerance() {
    let (mut worst, mut worst_alone) = (0.0_f64, 0.0_f64);
    for n in [16, 32, 64, 128, 256] {
        for ohm in [1.0, 5.0, 50.0] {
            let wires = Wires::Resistive { row: Segments::Uniform(ohm), column: Segments::Uniform(ohm) };
            for seed in 0..6 {
                let (g, mut v) = square(n, 3, 200 + seed);
                // Signed inputs, inputs of one sign, and a single row.
                v[n..2 * n].iter_mut().for_each(|v| *v = libm::fabs(*v));
                v[2 * n..].fill(0.0);
                v[2 * n + n / 3] = 0.2;
                let solve = |v: &[f64], tolerance| {
                    solve(&g, n, v, CurrentLaw::Linear, &wires, tolerance).unwrap().currents
                };
                let together = solve(&v, 1e-9);
                for (v, together) in v.chunks_exact(n).zip(together.chunks_exact(n)) {
                    let exact = solve(v, 1e-13);
                    let largest = exact.iter().fold(0.0_f64, |most, current| most.max(libm::fabs(*current)));
                    let error = |currents: &[f64]| {
                        let each = currents.iter().zip(&exact);
                        let relative =
                            |(a, b): (&f64, &f64)| libm::fabs(a - b) / libm::fabs(*b).max(1e-5 * largest);
                        each.map(relative).fold(0.0, f64::max)
                    };
                    let (batch, alone) = (error(together), error(&solve(v, 1e-9)));
                    (worst, worst_alone) = (worst.max(batch), worst_alone.max(alone));
                    assert!(
                        batch <= 1e-9 && alone <= 1e-9,
                        "{n}, {ohm} Ω, seed {seed}: {batch:e}, {alone:e}"
                    );
                }
            }
        }
    }
    assert!(worst > 0.0 && worst_alone > 0.0);
}

#[test]
fn sweeps_and_conjugate_gradients_agree_within_the_tolerance_also_on_heavily_loaded_lines() {
    // 50 Ω per segment lose nine tenths of the voltage; sources at all four sides, single rows and signed inputs.
    // The last two have a coarse array.
    for (n, ohm) in [(1, 5.0), (3, 1.0), (17, 50.0), (40, 5.0), (64, 50.0), (130, 10.0), (157, 1.0)] {
        let (g, mut v) = square(n, 3, 72);
        v[..n].fill(0.0);
        v[n / 2] = 1.0;
        let (rows, columns) = (Segments::Uniform(ohm), Segments::Uniform(0.3 * ohm));
        let left = vec![driven(0.0, 3.0); n];
        let right: Vec<_> =
            (0..n).map(|i| if i % 3 == 1 { driven(0.1, 10.0) } else { Line::Floating }).collect();
        let top: Vec<_> =
            (0..n).map(|j| if j % 4 == 2 { driven(-0.05, 0.0) } else { Line::Floating }).collect();
        let bottom: Vec<_> =
            (0..n).map(|j| if n > 1 && j == 1 { Line::Floating } else { driven(0.02, 1.0) }).collect();
        let wiring = Wiring {
            row_segments: &rows,
            column_segments: &columns,
            left: &left,
            right: &right,
            top: &top,
            bottom: &bottom,
        };
        let mut swept = vec![0.0; v.len()];
        currents(&g, &wiring, &v, 1e-9, &mut swept).unwrap();
        let network = Network::new(&g, &wiring).unwrap();
        let solve = |v: &[f64]| network.potentials(v, None, 1e-15).unwrap().bottom;
        let reference: Vec<f64> = v.chunks_exact(n).flat_map(solve).collect();
        for (swept, reference) in swept.chunks_exact(n).zip(reference.chunks_exact(n)) {
            let largest = reference.iter().fold(0.0_f64, |most, current| most.max(libm::fabs(*current)));
            for (a, b) in swept.iter().zip(reference) {
                // Outputs below 1e-5 of the largest are held to that part's tolerance.
                let size = libm::fabs(*b).max(1e-5 * largest);
                assert!(libm::fabs(a - b) <= 1.01e-9 * size, "{a:e} for {b:e} at {n}, {ohm} Ω");
            }
        }
    }
}

#[test]
fn sweeps_and_newtons_method_agree_within_the_tolerance_for_devices_of_every_law() {
    let laws = [
        CurrentLaw::Sinh { v0_v: 0.25 },
        CurrentLaw::Sinh { v0_v: 0.1 },
        CurrentLaw::Cubic { coefficient_per_v2: 2.0 },
        CurrentLaw::Milo,
    ];
    // Drops of per cents to most of the voltage; the last ones have a coarse array.
    for (n, ohm) in [(1, 1.0), (6, 1.0), (33, 1.0), (33, 20.0), (64, 5.0), (130, 1.0), (130, 5.0)] {
        for law in laws {
            let (mut g, v) = square(n, 1, 73);
            let v: Vec<f64> = v.iter().map(|v| 2.5 * v).collect();
            if law == CurrentLaw::Milo {
                g.iter_mut().for_each(|g| *g = 50e-6 + 1.75 * *g);
            }
            let (row, column) = (Segments::Uniform(ohm), Segments::Uniform(0.5 * ohm));
            let (open, ground) = (vec![Line::Floating; n], vec![driven(0.0, 0.0); n]);
            let wiring = Wiring {
                row_segments: &row,
                column_segments: &column,
                left: &ground,
                right: &open,
                top: &open,
                bottom: &ground,
            };
            let mut swept = vec![0.0; n];
            let reached =
                Workspace::default().nonlinear_currents(&g, law, &wiring, &v, 1e-9, &mut swept).unwrap();
            // Steep devices on long lines are left to Newton's method; nothing else is.
            if reached.is_none() && law == (CurrentLaw::Sinh { v0_v: 0.1 }) {
                continue;
            }
            assert!(reached.is_some(), "no result by sweeps at {n}, {ohm} Ω, {law:?}");
            let left: Vec<Line> = v.iter().map(|&volts| driven(volts, 0.0)).collect();
            let wires = Wires::Resistive { row: row.clone(), column: column.clone() };
            let ends = Ends { left: &left, right: &[], top: &[], bottom: &ground };
            let exact = operate(&g, law, &wires, &ends, 1e-13).unwrap().bottom;
            let largest = exact.iter().fold(0.0_f64, |most, current| most.max(libm::fabs(*current)));
            for (a, b) in swept.iter().zip(&exact) {
                let size = libm::fabs(*b).max(1e-5 * largest);
                assert!(libm::fabs(a - b) <= 1.01e-9 * size, "{a:e} for {b:e} at {n}, {ohm} Ω, {law:?}");
            }
        }
    }
}

#[test]
fn memory_of_another_array_leaves_no_trace() {
    let wires = |ohm| Wires::Resistive { row: Segments::Uniform(ohm), column: Segments::Uniform(ohm) };
    let mut workspace = Workspace::default();
    for (n, vectors, law) in [
        (131, 9, CurrentLaw::Linear),
        (20, 9, CurrentLaw::Linear),
        (37, 1, CurrentLaw::Sinh { v0_v: 0.25 }),
        (3, 10, CurrentLaw::Linear),
        (140, 1, CurrentLaw::Linear),
    ] {
        let (g, v) = square(n, vectors, 74);
        let again = solve_in(&mut workspace, &g, n, &v, law, &wires(3.0), 1e-9).unwrap();
        let fresh = solve(&g, n, &v, law, &wires(3.0), 1e-9).unwrap();
        assert_eq!(again, fresh);
    }
}

/// FNV-1a over the bits.
fn digest(values: &[f64]) -> u64 {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[test]
fn every_processor_gives_the_same_bits() {
    // Recorded with AVX-512; with AVX2, SSE2 (`--no-default-features` leaves what the build's own target has) and on ARM they must
    // be these, too. A change of the solver changes them; then they are to be recorded anew.
    let wires = Wires::Resistive { row: Segments::Uniform(2.0), column: Segments::Uniform(5.0) };
    let mut digests = Vec::new();
    for (n, vectors, law) in [
        (32, 1, CurrentLaw::Linear),
        (32, 9, CurrentLaw::Linear),
        (131, 1, CurrentLaw::Linear),
        (131, 9, CurrentLaw::Linear),
        (37, 1, CurrentLaw::Sinh { v0_v: 0.25 }),
        (131, 1, CurrentLaw::Cubic { coefficient_per_v2: 2.0 }),
    ] {
        let (g, v) = square(n, vectors, 75);
        digests.push(digest(&solve(&g, n, &v, law, &wires, 1e-9).unwrap().currents));
    }
    let (g, v) = square(20, 1, 76);
    let left: Vec<Line> = v.iter().map(|&volts| driven(volts, 10.0)).collect();
    let ends = Ends { left: &left, right: &[], top: &[], bottom: &[driven(0.0, 50.0); 20] };
    for law in [CurrentLaw::Linear, CurrentLaw::Sinh { v0_v: 0.1 }] {
        let solved = operate(&g, law, &wires, &ends, 1e-9).unwrap();
        digests.push(digest(&solved.cell_volts));
    }
    let recorded = [
        0x567b_6179_799b_2a67,
        0x48de_ceda_c091_ebbf,
        0x084e_205b_49b5_45b0,
        0x98b8_751b_640c_570b,
        0xfda8_907c_7e0f_6747,
        0xfa67_9f9c_6d1c_7454,
        0x4d3b_b230_0426_0174,
        0x9db4_06a1_a7dc_5216,
    ];
    assert_eq!(digests, recorded, "{digests:#018x?}");
}

/// A floating column converges more slowly than driven ones and hardly weighs beside them; in an array of one row no current
/// may flow through its device.
#[test]
fn a_floating_column_among_driven_ones_is_solved_as_exactly_as_they_are() {
    let conductance = [7.46e-5, 3e-6, 8.7e-5, 1.45e-6, 1.88e-6, 3.26e-6, 1.54e-6, 1.38e-5, 2.66e-6, 3.74e-5];
    let row = vec![1.43, 0.47, 0.11, 5.37, 3.9, 10.3, 0.91, 19.4, 0.11, 19.8, 8.16];
    let column = vec![
        0.18, 29.4, 0.17, 7.5, 0.4, 5.3, 12.4, 0.2, 0.65, 17.3, 1.56, 0.24, 0.16, 0.2, 0.18, 0.78, 8.7, 1.36,
        0.18, 0.76,
    ];
    let wires = Wires::Resistive { row: Segments::Each(row), column: Segments::Each(column) };
    let floats = [2, 5, 8, 9];
    let line = |j: usize, volts: [f64; 10], floating: &[usize]| {
        if floating.contains(&j) { Line::Floating } else { driven(volts[j], 0.0) }
    };
    let top: Vec<Line> = (0..10)
        .map(|j| line(j, [0.0, -0.35, 0.0, -0.33, 0.03, 0.0, 0.0, 0.0, 0.0, 0.21], &floats[..3]))
        .collect();
    let bottom: Vec<Line> = (0..10)
        .map(|j| line(j, [0.0, -0.2, 0.0, -0.37, 0.0, -0.32, 0.0, 0.18, 0.49, 0.0], &[2, 9]))
        .collect();
    let ends = Ends { left: &[driven(0.3, 0.0)], right: &[driven(-0.045, 0.0)], top: &top, bottom: &bottom };
    for law in
        [CurrentLaw::Linear, CurrentLaw::Cubic { coefficient_per_v2: 0.8 }, CurrentLaw::Sinh { v0_v: 0.25 }]
    {
        let volts = operate(&conductance, law, &wires, &ends, 1e-12).unwrap().cell_volts[2];
        assert!(volts.abs() < 1e-12, "{law:?}: {volts:e} V");
    }
}
