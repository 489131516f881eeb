//! The circuit solver against solved cases of ngspice and of an independent Newton solve, see
//! `tests/data/reference/README.md` for their origin, netlist convention and accuracy.

use std::path::Path;

use ohmrig_emulator::circuit::wired::{Network, Segments, Wiring};
use ohmrig_emulator::circuit::{CurrentLaw, Line, Wires, solve};

/// The float64 values of a `.npy` file (format version 1.0, C order), checked against `shape`.
fn load(name: &str, shape: (usize, usize)) -> Vec<f64> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/reference").join(format!("{name}.npy"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "{name}");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(header.contains("'descr': '<f8', 'fortran_order': False"), "{name}: {header}");
    assert!(header.contains(&format!("'shape': ({}, {})", shape.0, shape.1)), "{name}: {header}");
    let values: Vec<f64> =
        bytes[start..].as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    assert_eq!(values.len(), shape.0 * shape.1);
    values
}

fn wires(ohm: f64) -> Wires {
    Wires::Resistive { row: Segments::Uniform(ohm), column: Segments::Uniform(ohm) }
}

fn worst(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).map(|(got, expected)| (got / expected - 1.0).abs()).fold(0.0, f64::max)
}

#[test]
fn linear_arrays_agree_with_ngspice() {
    for n in [8, 32] {
        let g = load(&format!("lin_n{n:03}_G"), (n, n));
        let v = load(&format!("lin_n{n:03}_V"), (64, n));
        for ohm in [1.0, 5.0] {
            let reference = load(&format!("lin_n{n:03}_r{ohm}_I"), (64, n));
            // The references agree among themselves to 7e-14: what is asked of the solver is what is seen.
            for tolerance in [1e-6, 1e-9, 1e-11] {
                let solved = solve(&g, n, &v, CurrentLaw::Linear, &wires(ohm), tolerance).unwrap();
                let error = worst(&solved.currents, &reference);
                assert!(error < tolerance, "{n}×{n}, {ohm} Ω, asked {tolerance:e}: {error:e}");
                assert!(solved.convergence.residual <= tolerance);
            }
        }
    }
}

#[test]
fn node_voltages_agree_with_ngspice() {
    let n = 8;
    let g = load("lin_n008_G", (n, n));
    let v = load("lin_n008_V", (64, n));
    for ohm in [1.0, 5.0] {
        let (ground, open) = (vec![Line::Driven { volts: 0.0, ohms: 0.0 }; n], vec![Line::Floating; n]);
        let segments = Segments::Uniform(ohm);
        let wiring = Wiring {
            row_segments: &segments,
            column_segments: &segments,
            left: &ground,
            right: &open,
            top: &open,
            bottom: &ground,
        };
        let solved = Network::new(&g, &wiring).unwrap().potentials(&v[..n], None, 1e-12).unwrap();
        let rows = worst(&solved.rows, &load(&format!("lin_n008_r{ohm}_Vrow0"), (n, n)));
        let columns = worst(&solved.columns, &load(&format!("lin_n008_r{ohm}_Vcol0"), (n, n)));
        // Column voltages are some 1e-4 of the inputs: 1e-12 of the inputs is 1e-8 of the smallest of them.
        assert!(rows < 1e-12 && columns < 1e-9, "{ohm} Ω: rows {rows:e}, columns {columns:e}");
    }
}

#[test]
fn arrays_of_sinh_devices_agree_with_ngspice_and_an_independent_newton_solve() {
    let law = CurrentLaw::Sinh { v0_v: 0.25 };
    for n in [8, 16, 32] {
        let g = load(&format!("sinh_n{n:03}_G"), (n, n));
        let v = load(&format!("sinh_n{n:03}_V"), (64, n));
        for ohm in [1.0, 5.0] {
            let spice = load(&format!("sinh_n{n:03}_r{ohm}_I"), (64, n));
            let newton = load(&format!("sinh_n{n:03}_r{ohm}_Inewton"), (64, n));
            let solved = solve(&g, n, &v, law, &wires(ohm), 1e-9).unwrap();
            let error = worst(&solved.currents, &spice);
            assert!(error < 1e-8, "{n}×{n}, {ohm} Ω against ngspice: {error:e}");
            let solved = solve(&g, n, &v, law, &wires(ohm), 1e-12).unwrap();
            let error = worst(&solved.currents, &newton);
            assert!(error < 1e-11, "{n}×{n}, {ohm} Ω against Newton: {error:e}");
        }
    }
}
