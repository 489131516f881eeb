//! `ohmrig endurance`: SET and RESET cells over and over, and their window over the number of cycles.

use super::noise::{estimate, exponential};
use super::open::{Opened, open};
use super::output::si;
use super::settings::SchemeArg;
use super::train::{Applied, Train, counted, log_grid};
use super::work::Work;
use super::{Failure, Global, Kind, Output};
use crate::instrument::ReadSettings;
use crate::metrology::lifetime::{Cycle, DeviceEndurance, endurance, weibull};
use crate::run_file::MeasurementOrder;
use clap::Args;
use ndarray::Array2;
use ohmrig_protocol::message::{Pulse, Region};
use ohmrig_protocol::units::{Seconds, Volts};
use serde_json::{Value, json};

/// Cycle cells until their budget, a limit or their end. It wears them out: the command says how much of a cell's budget it
/// takes before the first pulse.
#[derive(Debug, Args)]
pub(super) struct Endurance {
    /// First row, counted from 0
    #[arg(long, value_name = "ROW")]
    row: u16,
    /// First column, counted from 0
    #[arg(long, value_name = "COLUMN")]
    column: u16,
    /// Number of rows
    #[arg(long, default_value_t = 1, value_name = "N")]
    rows: u16,
    /// Number of columns
    #[arg(long, default_value_t = 1, value_name = "N")]
    columns: u16,
    /// Cycles of each cell
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    cycles: u32,
    /// Cycles per decade at which both states are read
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    per_decade: u16,
    /// Profile to take pulses from: a built-in name or a TOML file [default: the board's, else rram-cmo]
    #[arg(long, value_name = "PROFILE")]
    recipe: Option<String>,
    /// SET amplitude, V [default: the recipe's largest]
    #[arg(long, value_name = "V")]
    set_volts: Option<f64>,
    /// RESET amplitude (magnitude), V [default: the recipe's largest]
    #[arg(long, value_name = "V")]
    reset_volts: Option<f64>,
    /// Pulse width, s [default: the recipe's]
    #[arg(long, value_name = "S")]
    width_s: Option<f64>,
    /// Pulses to each state
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pulses: u32,
    /// What unselected lines do during a pulse
    #[arg(long, value_enum, default_value = "half")]
    scheme: SchemeArg,
    /// A cycle is good if SET reads at least so many times what RESET does
    #[arg(long, default_value_t = 1.5, value_name = "RATIO")]
    window: f64,
    /// Conversions of each read at each polarity
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    conversions: u16,
}

/// Pulses of a cycle.
#[derive(Clone, Copy)]
struct Pulses {
    set_v: f64,
    reset_v: f64,
    width_s: f64,
    read_v: f64,
}

/// A read of both states.
#[derive(Clone, Copy)]
struct Point {
    /// Cycles that the cell had got.
    cycles: f64,
    states: Cycle,
    /// Standard uncertainties of the reads, S.
    uncertainty: Cycle,
}

/// One cell on its way.
struct Cell {
    row: u16,
    column: u16,
    /// Pulses it had when the measurement was begun.
    before: u64,
    points: Vec<Point>,
    /// Why it gets no more.
    stopped: Option<String>,
}

/// What a cell shows that never had a window, one whose pulses are too weak for the one asked for, and one that has lost it.
const NEVER: &str = "doesn't switch: SET and RESET read alike from the first cycle on";
const NARROW: &str = "its window is narrower than asked for from the first cycle on: more --pulses, higher amplitudes, or a lower --window";
const CLOSED: &str = "its window closed: three reads in a row below the ratio asked for";
/// Ratio of the states up to which a cell counts as not switching: noise alone makes that much of two reads of one state.
const ALIKE: f64 = 1.05;

impl Endurance {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        for (name, value) in [
            ("--set-volts", self.set_volts),
            ("--reset-volts", self.reset_volts),
            ("--width-s", self.width_s),
        ] {
            if let Some(value) = value
                && !(value.is_finite() && value > 0.0)
            {
                return Err(Failure::usage(format!("{name} {value}: it must be positive")));
            }
        }
        if !(self.window.is_finite() && self.window > 1.0) {
            return Err(Failure::usage(format!("--window {}: a ratio above 1", self.window)));
        }
        let mut opened = open(global, output)?;
        let region = Region { row: self.row, column: self.column, rows: self.rows, columns: self.columns };
        opened.instrument.check_region(region)?;
        let recipe = opened.recipe(self.recipe.as_deref())?;
        let pulses = Pulses {
            set_v: self.set_volts.unwrap_or(f64::from(recipe.stairs.0.stop.0)),
            reset_v: self.reset_volts.unwrap_or(f64::from(recipe.stairs.1.stop.0)),
            width_s: self.width_s.unwrap_or(recipe.width),
            read_v: recipe.read_volts,
        };
        let asked = json!({
            "row": self.row, "column": self.column, "rows": self.rows, "columns": self.columns, "cycles": self.cycles,
            "per_decade": self.per_decade, "set_v": pulses.set_v, "reset_v": pulses.reset_v, "width_s": pulses.width_s,
            "pulses": self.pulses, "scheme": format!("{:?}", self.scheme), "window": self.window,
            "conversions": self.conversions, "read_v": pulses.read_v,
        });
        let order =
            MeasurementOrder { kind: "endurance", settings: &asked, inputs: &[], changes_array: true };
        let Some(mut work) = opened.begin(global, &order, output)? else { return Ok(()) };
        let mut cells = self.begin(&mut opened, &mut work, region)?;
        self.check_budget(&mut opened, &cells, region, pulses, recipe.g_max, output)?;
        let grid = log_grid(u64::from(self.cycles), self.per_decade);
        let bar = output.bar(self.cycles as usize * cells.len(), "cycling");
        let mut train = Train::default();
        for &goal in &grid {
            let name = format!("cycle {goal}");
            if work.done_piece(&name)?.is_some() {
                take(&mut cells, &work, &name)?;
                continue;
            }
            for cell in cells.iter_mut().filter(|cell| cell.stopped.is_none()) {
                self.cycle(&mut opened, &mut train, cell, goal, pulses, || bar.inc(1))?;
            }
            train.end(&mut opened)?;
            let last =
                |value: fn(&Point) -> f64| line(&cells, |cell| cell.points.last().map_or(f64::NAN, value));
            let stopped: Vec<&Option<String>> = cells.iter().map(|cell| &cell.stopped).collect();
            work.keep(
                &mut opened,
                &name,
                &json!({"stopped": stopped}),
                &[
                    ("cycles", last(|point| point.cycles).view()),
                    ("set_s", last(|point| point.states.set_s).view()),
                    ("reset_s", last(|point| point.states.reset_s).view()),
                    ("set_uncertainty_s", last(|point| point.uncertainty.set_s).view()),
                    ("reset_uncertainty_s", last(|point| point.uncertainty.reset_s).view()),
                ],
            )?;
            if cells.iter().all(|cell| cell.stopped.is_some()) {
                break;
            }
        }
        bar.finish_and_clear();
        self.report(&mut opened, work, &cells, output)
    }

    /// The cells with the pulses that they had before.
    fn begin(&self, opened: &mut Opened, work: &mut Work, region: Region) -> Result<Vec<Cell>, Failure> {
        const BEFORE: &str = "before";
        let before = if work.done_piece(BEFORE)?.is_some() {
            work.array(BEFORE, "pulses")?
        } else {
            let before = opened.instrument.budgets(region)?.pulses.mapv(f64::from);
            work.keep(opened, BEFORE, &json!({}), &[("pulses", before.view())])?;
            before
        };
        let cell = |((row, column), before): ((usize, usize), &f64)| Cell {
            row: region.row + row as u16,
            column: region.column + column as u16,
            before: *before as u64,
            points: Vec::new(),
            stopped: None,
        };
        Ok(before.indexed_iter().map(cell).collect())
    }

    /// Says what the cycles take of the cells' budgets, before any pulse; refuses what they can't have.
    fn check_budget(
        &self,
        opened: &mut Opened,
        cells: &[Cell],
        region: Region,
        pulses: Pulses,
        g_max: f64,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let limits = opened.instrument.device().limits;
        let used = opened.instrument.budgets(region)?;
        let per_cycle = f64::from(self.pulses);
        let (set_v, reset_v, width_s) = (pulses.set_v, pulses.reset_v, pulses.width_s);
        // Energy as if the cell were at the recipe's highest conductance all along.
        let parts = [
            ("pulses", 2.0 * per_cycle, f64::from(limits.pulses_per_cell), used.pulses.mapv(f64::from)),
            (
                "V s",
                per_cycle * width_s * (set_v + reset_v),
                f64::from(limits.dose_per_cell.0),
                used.dose_v_s,
            ),
            (
                "J",
                per_cycle * width_s * g_max * (set_v * set_v + reset_v * reset_v),
                f64::from(limits.energy_per_cell.0),
                used.energy_j,
            ),
        ];
        let mut said = Vec::new();
        let mut possible = f64::INFINITY;
        let mut tightest = (0, 0);
        for (number, (unit, each, allowed, used)) in parts.iter().enumerate() {
            for (index, used_here) in used.indexed_iter() {
                let cell = &cells[index.0 * usize::from(region.columns) + index.1];
                // What an interrupted process has applied is in the count already.
                let done = parts[0].3[index] - cell.before as f64;
                let cycles = (allowed - used_here).max(0.0) / each + done / parts[0].1;
                // The energy is an estimate: it doesn't refuse.
                if number < 2 && cycles < possible {
                    (possible, tightest) = (cycles, index);
                }
            }
            let needed = each * f64::from(self.cycles);
            let amount = if number == 0 { format!("{needed:.0} pulses") } else { si(needed, unit) };
            said.push(format!("{amount} ({:.2} %)", 100.0 * needed / allowed));
            output.set(["budget.pulses", "budget.dose_v_s", "budget.energy_j"][number], needed);
        }
        output.say(format_args!(
            "budget   {} cycles take {} and about {} of what each cell may get in its life; {} cells",
            self.cycles,
            said[..2].join(", "),
            said[2],
            cells.len()
        ));
        let possible = possible.floor();
        output.set("budget.cycles_possible", possible);
        if f64::from(self.cycles) > possible {
            return Err(Failure::new(
                Kind::Refused,
                format!(
                    "--cycles {}: row {}, column {} has budget for {possible} cycles of these pulses; ask for fewer, or for other cells \
                     (`ohmrig budget` shows them)",
                    self.cycles,
                    usize::from(region.row) + tightest.0,
                    usize::from(region.column) + tightest.1
                ),
            ));
        }
        Ok(())
    }

    /// Brings one cell to its `goal`-th cycle and reads both states of that one.
    fn cycle(
        &self,
        opened: &mut Opened,
        train: &mut Train,
        cell: &mut Cell,
        goal: u64,
        pulses: Pulses,
        mut tick: impl FnMut(),
    ) -> Result<(), Failure> {
        let per_cycle = 2 * u64::from(self.pulses);
        let here = Region { row: cell.row, column: cell.column, rows: 1, columns: 1 };
        let settings = ReadSettings { volts: pulses.read_v, range: None, conversions: self.conversions };
        let mut got = counted(opened, cell.row, cell.column)?.saturating_sub(cell.before);
        loop {
            // A cycle that an interrupted process has only begun is begun again; the count has its pulses.
            let measured = got / per_cycle + 1 >= goal;
            let mut reads = [(f64::NAN, f64::NAN); 2];
            for (read, volts) in reads.iter_mut().zip([pulses.set_v, -pulses.reset_v]) {
                for _ in 0..self.pulses {
                    let pulse = Pulse {
                        row: cell.row,
                        column: cell.column,
                        volts: Volts(volts as f32),
                        width: Seconds(pulses.width_s as f32),
                        scheme: self.scheme.into(),
                        gate: None,
                    };
                    match train.pulse(opened, pulse)? {
                        Applied::Yes => got += 1,
                        Applied::NoMore(why) => {
                            cell.stopped = Some(why);
                            return Ok(());
                        }
                        Applied::NoScheme(why) => return Err(Failure::usage(why)),
                    }
                }
                if measured {
                    let map = opened.instrument.read_cells(here, &settings)?;
                    if map.saturated[(0, 0)] {
                        cell.stopped = Some("saturates the amplifier: no value".to_owned());
                        return Ok(());
                    }
                    *read = (map.conductance[(0, 0)], map.uncertainty[(0, 0)]);
                }
            }
            tick();
            if measured {
                let [set, reset] = reads;
                cell.points.push(Point {
                    cycles: got as f64 / per_cycle as f64,
                    states: Cycle { set_s: set.0, reset_s: reset.0 },
                    uncertainty: Cycle { set_s: set.1, reset_s: reset.1 },
                });
                self.judge(cell);
                return Ok(());
            }
        }
    }

    /// Three reads in a row without a window are the end.
    fn judge(&self, cell: &mut Cell) {
        let cycles: Vec<Cycle> = cell.points.iter().map(|point| point.states).collect();
        if let Some(at) = endurance(&cycles, self.window).and_then(|found| found.failed_at) {
            let alike = cycles.iter().all(|cycle| cycle.set_s < ALIKE * cycle.reset_s);
            let why = match (at, alike) {
                (1, true) => NEVER,
                (1, false) => NARROW,
                _ => CLOSED,
            };
            cell.stopped = Some(why.to_owned());
        }
    }

    fn report(
        &self,
        opened: &mut Opened,
        work: Work,
        cells: &[Cell],
        output: &mut Output,
    ) -> Result<(), Failure> {
        let mut lives = Vec::new();
        let mut told = Vec::new();
        for cell in cells {
            let cycles: Vec<Cycle> = cell.points.iter().map(|point| point.states).collect();
            let found = endurance(&cycles, self.window);
            let reached = cell.points.last().map_or(0.0, |point| point.cycles);
            let failed = found.and_then(|found| found.failed_at).map(|at| {
                let at = at as usize - 1;
                // Between the last good read and the first bad one.
                [if at == 0 { 0.0 } else { cell.points[at - 1].cycles }, cell.points[at].cycles]
            });
            match failed {
                Some([_, first]) => lives.push((first, true)),
                None if reached > 0.0 => lives.push((reached, false)),
                None => {}
            }
            output.say(self.line(cell, found.as_ref(), reached, failed));
            let points = cell.points.iter().map(|Point { cycles, states, uncertainty }| {
                let window = states.set_s / states.reset_s;
                let relative = (uncertainty.set_s / states.set_s).hypot(uncertainty.reset_s / states.reset_s);
                json!({"cycles": cycles, "set_s": states.set_s, "set_uncertainty_s": uncertainty.set_s, "reset_s": states.reset_s,
                       "reset_uncertainty_s": uncertainty.reset_s, "window": window, "window_uncertainty": window.abs() * relative})
            });
            told.push(json!({
                "row": cell.row, "column": cell.column, "cycles": reached, "stopped": cell.stopped,
                "failed_between": failed, "points": points.collect::<Vec<_>>(),
                "set_s": found.as_ref().map(|f| exponential(&f.ln_set)), "set_spread": found.map(|f| f.set_spread),
                "reset_s": found.as_ref().map(|f| exponential(&f.ln_reset)), "reset_spread": found.map(|f| f.reset_spread),
            }));
        }
        let life = match weibull(&lives) {
            Ok(life) => {
                output.say(format_args!(
                    "life     63 % have failed by {:.3e} cycles ({:.0} %), shape {:.2}; {} failed, {} didn't (Weibull; a failure counts \
                     at the first read that shows it)",
                    life.ln_scale.value.exp(),
                    100.0 * life.ln_scale.standard_uncertainty,
                    life.ln_shape.value.exp(),
                    life.failures,
                    life.survivors
                ));
                json!({"ln_scale": estimate(&life.ln_scale), "ln_shape": estimate(&life.ln_shape),
                       "failures": life.failures, "survivors": life.survivors})
            }
            Err(error) => {
                output.say(format_args!("life     no distribution of lives: {error}"));
                Value::Null
            }
        };
        output.set("cells", &told);
        output.set("weibull", &life);
        work.done(opened, output, &json!({"cells": told, "weibull": life}), &[])
    }

    fn line(
        &self,
        cell: &Cell,
        found: Option<&DeviceEndurance>,
        reached: f64,
        failed: Option<[f64; 2]>,
    ) -> String {
        let states = found.map_or_else(
            || "fewer than two cycles were read".to_owned(),
            |found| {
                format!(
                    "SET {} ± {:.1} %, RESET {} ± {:.1} % from cycle to cycle",
                    si(found.ln_set.value.exp(), "S"),
                    100.0 * found.set_spread,
                    si(found.ln_reset.value.exp(), "S"),
                    100.0 * found.reset_spread
                )
            },
        );
        let failed =
            failed.map_or_else(String::new, |[from, to]| format!("; failed between {from:.0} and {to:.0}"));
        let stopped = cell.stopped.as_ref().map_or_else(String::new, |why| format!("; stopped: {why}"));
        format!(
            "cell     row {}, column {}: {reached:.0} cycles, {states}{failed}{stopped}",
            cell.row, cell.column
        )
    }
}

/// A value of each cell, in a line.
fn line(cells: &[Cell], value: impl Fn(&Cell) -> f64) -> Array2<f64> {
    Array2::from_shape_fn((1, cells.len()), |(_, index)| value(&cells[index]))
}

/// Takes what an earlier process has read at one number of cycles.
fn take(cells: &mut [Cell], work: &Work, name: &str) -> Result<(), Failure> {
    let read = |array| work.array(name, array);
    let (cycles, set_s, reset_s) = (read("cycles")?, read("set_s")?, read("reset_s")?);
    let (set_u, reset_u) = (read("set_uncertainty_s")?, read("reset_uncertainty_s")?);
    let stopped = work.done_piece(name)?.unwrap_or_default();
    for (index, cell) in cells.iter_mut().enumerate() {
        let at = (0, index);
        // A cell that had stopped before has its last point there again.
        if cell.stopped.is_none() && cycles[at] > cell.points.last().map_or(0.0, |point| point.cycles) {
            cell.points.push(Point {
                cycles: cycles[at],
                states: Cycle { set_s: set_s[at], reset_s: reset_s[at] },
                uncertainty: Cycle { set_s: set_u[at], reset_s: reset_u[at] },
            });
        }
        cell.stopped = stopped["stopped"][index].as_str().map(str::to_owned);
    }
    Ok(())
}
