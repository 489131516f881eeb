//! `ohmrig solve`: output currents of any array with wire resistance, by the emulator's circuit solver alone.

use super::output::si;
use super::{Failure, Global, Kind, Output};
use crate::arrays::{self, ArrayError};
use clap::Args;
use ndarray::{Array2, ArrayView2};
use ohmrig_emulator::circuit::array::{BatchCurrents, solve_in};
use ohmrig_emulator::circuit::wired::{Convergence, Segments, Workspace};
use ohmrig_emulator::circuit::{CircuitError, CurrentLaw, Wires};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most rows, and most columns.
const MOST_LINES: usize = 512;
/// Conductances that the solver takes (S).
const SIEMENS: RangeInclusive<f64> = 0.0..=1e12;
/// Voltages that the solver takes (V).
const VOLTS: RangeInclusive<f64> = -1e3..=1e3;
/// Wire segments that the solver takes besides none at all (Ω).
const OHMS: RangeInclusive<f64> = 1e-3..=1e9;
/// Below, rounding decides; above, the wires hardly matter.
const TOLERANCES: RangeInclusive<f64> = 1e-14..=1e-2;
/// Vectors between two looks at the clock: every call factorises a linear array anew.
const CHUNK: usize = 64;
/// So many vectors are solved once before the clock starts: the first touch of code and memory would be a good part
/// of the figure.
const WARMING: usize = 8;
const SILENT: Duration = Duration::from_secs(2);

/// What `--help` says after the options.
const CONVENTION: &str = "\
Row i is driven at its left end by an ideal source of V[k, i]. Column j ends at its bottom in an ideal 0 V; what flows \
out there is I[k, j]. The other ends are open. One wire segment lies between each source and its first device, between \
neighbouring devices, and between the last device of a column and its output, as in badcrossbar.

JSON: wall_s is the time of the solve alone, of all vectors, on one thread, files not counted, the array's \
factorisation included. It is warm: the first 8 vectors are solved once beforehand. residual is the largest estimated error of an output current, \
relative to it; iterations is the most that a vector needed.";

#[derive(Debug, Args)]
#[command(after_long_help = CONVENTION)]
pub(super) struct SolveCommand {
    /// Conductances, S, .npy of (rows, columns), at most 512 × 512
    conductance: PathBuf,
    /// Row voltages, V, .npy of (batch, rows)
    volts: PathBuf,
    /// Resistance of a wire segment of the rows, Ω; of the columns too unless --r-wire-column is given
    #[arg(long, value_name = "OHM", allow_negative_numbers = true)]
    r_wire: f64,
    /// Resistance of a wire segment of the columns, Ω
    #[arg(long, value_name = "OHM", allow_negative_numbers = true)]
    r_wire_column: Option<f64>,
    /// Devices with I = G·V0·sinh(V/V0), V [default: linear devices]
    #[arg(long, value_name = "VOLT", allow_negative_numbers = true)]
    v0: Option<f64>,
    /// Largest relative error of an output current
    #[arg(long, default_value = "1e-9", value_name = "REL", allow_negative_numbers = true)]
    tolerance: f64,
    /// Solve so many times; wall_s is the median
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeat: u32,
    /// Write the column currents here, A, .npy of (batch, columns)
    #[arg(short, long, value_name = "NPY")]
    output: PathBuf,
}

/// A checked problem.
#[derive(Debug)]
struct Problem {
    rows: usize,
    columns: usize,
    /// Row-major (S).
    conductance: Vec<f64>,
    /// Vector by vector (V).
    volts: Vec<f64>,
    law: CurrentLaw,
    wires: Wires,
    tolerance: f64,
}

impl SolveCommand {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let files = [("--run", &global.run), ("--truth", &global.truth), ("--state", &global.state)];
        if let Some((option, _)) = files.iter().find(|(_, path)| path.is_some()) {
            return Err(Failure::usage(format!("{option}: `solve` has no board and measures nothing")));
        }
        let problem = self.problem()?;
        let (rows, columns, vectors) = (problem.rows, problem.columns, problem.vectors());
        let mut workspace = Workspace::default();
        problem.solve(&mut workspace, 0..vectors.min(WARMING)).map_err(|error| not_solved(error, output))?;
        let mut timed = || {
            let start = Instant::now();
            let solved =
                problem.solve_all(&mut workspace, output).map_err(|error| not_solved(error, output))?;
            Ok::<_, Failure>((solved, start.elapsed().as_secs_f64()))
        };
        let (BatchCurrents { currents, convergence }, first_s) = timed()?;
        let mut seconds = vec![first_s];
        for _ in 1..self.repeat {
            seconds.push(timed()?.1);
        }
        seconds.sort_by(f64::total_cmp);
        let wall_s = seconds[seconds.len() / 2];
        let currents = ArrayView2::from_shape((vectors, columns), &currents).map_err(Failure::failed)?;
        arrays::write(&self.output, currents).map_err(Failure::failed)?;
        output.say(format_args!(
            "{vectors} vectors through {rows} × {columns} devices in {}: at most {} iterations, residual {:.1e}",
            si(wall_s, "s"),
            convergence.iterations,
            convergence.residual
        ));
        output.set("wall_s", wall_s);
        output.set("residual", convergence.residual);
        output.set("iterations", convergence.iterations);
        output.set("tolerance", self.tolerance);
        output.set("rows", rows);
        output.set("columns", columns);
        output.set("vectors", vectors);
        Ok(())
    }

    /// Reads the arrays and checks everything that was asked for.
    fn problem(&self) -> Result<Problem, Failure> {
        let wires = self.wires()?;
        let law = match self.v0 {
            Some(v0_v) if v0_v > 0.0 && v0_v.is_finite() => CurrentLaw::Sinh { v0_v },
            Some(v0) => return Err(Failure::usage(format!("--v0 is {v0} V; it must be above 0 V"))),
            None => CurrentLaw::Linear,
        };
        require("--tolerance", self.tolerance, "", &TOLERANCES)?;
        let conductance = arrays::read(&self.conductance, "(rows, columns)")?;
        arrays::require_shape(&self.conductance, &conductance, None, None)?;
        let (rows, columns) = conductance.dim();
        if rows.max(columns) > MOST_LINES {
            let expected = format!("at most {MOST_LINES} × {MOST_LINES}");
            let path = self.conductance.clone();
            return Err(ArrayError::Shape { path, found: (rows, columns), expected }.into());
        }
        let volts = arrays::read(&self.volts, "(batch, rows)")?;
        arrays::require_shape(&self.volts, &volts, None, Some(rows))?;
        require_each(&self.conductance, &conductance, "S", &SIEMENS)?;
        require_each(&self.volts, &volts, "V", &VOLTS)?;
        let row_major = |array: Array2<f64>| array.iter().copied().collect();
        let (conductance, volts) = (row_major(conductance), row_major(volts));
        Ok(Problem { rows, columns, conductance, volts, law, wires, tolerance: self.tolerance })
    }

    fn wires(&self) -> Result<Wires, Failure> {
        let row = self.r_wire;
        let (column, option) =
            self.r_wire_column.map_or((row, "--r-wire"), |column| (column, "--r-wire-column"));
        if row == 0.0 && column == 0.0 {
            return Ok(Wires::Ideal);
        }
        for (option, ohm) in [("--r-wire", row), (option, column)] {
            if !OHMS.contains(&ohm) {
                let (low, high) = (OHMS.start(), OHMS.end());
                let allowed = format!("{low} to {high:e} Ω, or 0 for rows and columns alike");
                return Err(Failure::usage(format!("{option} is {ohm} Ω; allowed is {allowed}")));
            }
        }
        Ok(Wires::Resistive { row: Segments::Uniform(row), column: Segments::Uniform(column) })
    }
}

impl Problem {
    fn vectors(&self) -> usize {
        self.volts.len() / self.rows
    }

    /// Currents (A) of a range of vectors, row-major.
    fn solve(&self, workspace: &mut Workspace, vectors: Range<usize>) -> Result<BatchCurrents, CircuitError> {
        let volts = &self.volts[vectors.start * self.rows..vectors.end * self.rows];
        let Self { conductance, rows, law, wires, tolerance, .. } = self;
        solve_in(workspace, conductance, *rows, volts, *law, wires, *tolerance)
    }

    /// Currents (A) of all vectors, with a progress bar once it has taken a while.
    fn solve_all(&self, workspace: &mut Workspace, output: &Output) -> Result<BatchCurrents, CircuitError> {
        let vectors = self.vectors();
        let chunk = if self.law == CurrentLaw::Linear { CHUNK } else { 1 };
        let currents = Vec::with_capacity(vectors * self.columns);
        let mut all = BatchCurrents { currents, convergence: Convergence::default() };
        let start = Instant::now();
        let mut bar = None;
        for first in (0..vectors).step_by(chunk) {
            let end = vectors.min(first + chunk);
            let part = self.solve(workspace, first..end)?;
            all.currents.extend(part.currents);
            all.convergence.residual = all.convergence.residual.max(part.convergence.residual);
            all.convergence.iterations = all.convergence.iterations.max(part.convergence.iterations);
            if start.elapsed() > SILENT {
                bar.get_or_insert_with(|| output.bar(vectors, "solving")).set_position(end as u64);
            }
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        Ok(all)
    }
}

/// Refuses a value outside of what is allowed.
fn require(what: &str, value: f64, unit: &str, allowed: &RangeInclusive<f64>) -> Result<(), Failure> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let text =
        format!("{what} is {value}{unit}; allowed is {:e} to {:e}{unit}", allowed.start(), allowed.end());
    Err(Failure::usage(text))
}

fn require_each(
    path: &Path,
    array: &Array2<f64>,
    unit: &str,
    allowed: &RangeInclusive<f64>,
) -> Result<(), Failure> {
    array.indexed_iter().try_for_each(|((i, j), &value)| {
        let what = format!("{}: element [{i}, {j}]", path.display());
        require(&what, value, &format!(" {unit}"), allowed)
    })
}

/// What the solver could not do; how far it came is in the object, too.
fn not_solved(error: CircuitError, output: &mut Output) -> Failure {
    if let CircuitError::NotConverged { residual, iterations, .. }
    | CircuitError::TooSteep { residual, iterations, .. } = error
    {
        output.set("residual", residual);
        output.set("iterations", iterations);
        return Failure::failed(format!("{error}; nothing was written"));
    }
    Failure::new(Kind::Usage, error)
}

#[cfg(test)]
mod tests {
    use crate::arrays;
    use crate::cli::{Cli, Command, Output};
    use clap::Parser;
    use ndarray::{Array2, array};
    use std::ffi::OsString;

    /// Runs `ohmrig solve` on two arrays in a new folder; gives the exit status and the currents if any.
    fn solve(conductance: &Array2<f64>, volts: &Array2<f64>, options: &str) -> (u8, Option<Array2<f64>>) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        arrays::write(&path("g.npy"), conductance.view()).unwrap();
        arrays::write(&path("v.npy"), volts.view()).unwrap();
        let mut arguments: Vec<OsString> = ["ohmrig", "solve"].map(OsString::from).to_vec();
        arguments.extend([path("g.npy").into(), path("v.npy").into(), "-o".into(), path("i.npy").into()]);
        arguments.extend(options.split_whitespace().map(OsString::from));
        let cli = Cli::try_parse_from(arguments).unwrap();
        let Command::Solve(command) = &cli.command else { panic!("another command") };
        let status = command
            .run(&cli.global, &mut Output::new(true))
            .map_or_else(|failure| failure.kind.status(), |()| 0);
        (status, arrays::read(&path("i.npy"), "(batch, columns)").ok())
    }

    fn close(found: &Array2<f64>, expected: &Array2<f64>, tolerance: f64) {
        assert_eq!(found.dim(), expected.dim());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found / expected - 1.0).abs() <= tolerance, "{found} A instead of {expected} A");
        }
    }

    #[test]
    fn one_device_is_a_voltage_divider_of_its_two_segments() {
        let (status, currents) =
            solve(&array![[1e-3]], &array![[0.3], [-0.1]], "--r-wire 20 --r-wire-column 5");
        assert_eq!(status, 0);
        // 1 kΩ with 20 Ω ahead of it and 5 Ω behind; 1e-9 is the default tolerance.
        close(&currents.unwrap(), &array![[0.3 / 1025.0], [-0.1 / 1025.0]], 1e-9);
    }

    #[test]
    fn without_resistance_it_is_the_matrix_product() {
        let (conductance, volts) = (array![[1e-5, 2e-5, 3e-5], [4e-5, 5e-5, 6e-5]], array![[0.1, 0.2]]);
        let (status, currents) = solve(&conductance, &volts, "--r-wire 0");
        assert_eq!(status, 0);
        // Roundings of a sum of two products.
        close(&currents.unwrap(), &volts.dot(&conductance), 1e-15);
    }

    #[test]
    fn every_vector_of_a_batch_longer_than_a_chunk_has_its_own_currents() {
        let conductance = Array2::from_elem((3, 2), 2e-5);
        let volts = Array2::from_shape_fn((150, 3), |(k, i)| 1e-3 * (1 + k + 7 * i) as f64);
        let (status, currents) = solve(&conductance, &volts, "--r-wire 2");
        assert_eq!(status, 0);
        let (_, last) = solve(&conductance, &volts.slice(ndarray::s![149.., ..]).to_owned(), "--r-wire 2");
        let currents = currents.unwrap();
        assert_eq!(currents.dim(), (150, 2));
        // Alone and in a batch: each within the default tolerance of 1e-9.
        let own = currents.slice(ndarray::s![149.., ..]).to_owned();
        close(&own, &last.unwrap(), 2e-9);
    }

    #[test]
    fn a_device_with_a_voltage_scale_follows_the_hyperbolic_sine() {
        let (status, currents) = solve(&array![[1e-6]], &array![[0.5]], "--r-wire 0 --v0 0.25");
        assert_eq!(status, 0);
        close(&currents.unwrap(), &array![[1e-6 * 0.25 * 2.0_f64.sinh()]], 1e-9);
    }

    #[test]
    fn what_no_array_can_be_is_a_usage_error_and_writes_nothing() {
        let (g, v) = (array![[1e-5, 1e-5]], array![[0.1]]);
        let tall = Array2::from_elem((513, 1), 1e-5);
        let cases: [(Array2<f64>, Array2<f64>, &str); 13] = [
            (g.clone(), array![[0.1, 0.1]], "--r-wire 1"),
            (array![[1e-5, f64::NAN]], v.clone(), "--r-wire 1"),
            (g.clone(), array![[f64::INFINITY]], "--r-wire 1"),
            (array![[1e-5, -1e-5]], v.clone(), "--r-wire 1"),
            (tall, Array2::from_elem((1, 513), 0.1), "--r-wire 1"),
            (g.clone(), v.clone(), "--r-wire -1"),
            (g.clone(), v.clone(), "--r-wire nan"),
            (g.clone(), v.clone(), "--r-wire 1 --r-wire-column -1"),
            (g.clone(), v.clone(), "--r-wire 1 --r-wire-column 0"),
            (g.clone(), v.clone(), "--r-wire 1 --v0 0"),
            (g.clone(), v.clone(), "--r-wire 1 --v0 -0.25"),
            (g.clone(), v.clone(), "--r-wire 1 --tolerance 0"),
            (g.clone(), v.clone(), "--r-wire 1 --run x.db"),
        ];
        for (conductance, volts, options) in cases {
            assert_eq!(solve(&conductance, &volts, options), (2, None), "{conductance} {volts} {options}");
        }
        assert_eq!(solve(&g, &Array2::zeros((0, 1)), "--r-wire 1"), (2, None));
    }

    #[test]
    fn an_array_of_no_device_at_all_gives_no_current() {
        let (status, currents) = solve(&array![[0.0, 0.0]], &array![[0.2]], "--r-wire 1");
        assert_eq!((status, currents), (0, Some(array![[0.0, 0.0]])));
    }
}
