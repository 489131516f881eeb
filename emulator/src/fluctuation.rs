//! Noise of the devices that remembers: 1/f fluctuations and random telegraph noise, continuous over every read.
//!
//! 1/f noise is a sum of Ornstein–Uhlenbeck processes whose time constants are a factor `RATIO` = 5 apart: with relative variance
//! `level²·ln(RATIO)` each, their Lorentzians add up to `S_G/G² = level²/f` between 1/(2π·slowest) and 1/(2π·fastest),
//! with a ripple of 2·sech(π²/ln RATIO) = 0.9 %. Each is exact at the instants it is looked at.
//!
//! Rows are looked at only where they matter: one whose cells' fluctuations make up less than `QUIET` of the variance of any column's
//! current keeps its state until it matters, and then catches up with the whole time at once, which is as exact. A trace of one cell
//! costs its row, not the array.

use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::crossbar::TrapTraits;
use crate::random::Random;

/// Ratio of neighbouring time constants.
const RATIO: f64 = 5.0;
const LN_RATIO: f64 = 1.609_437_912_434_100_3;
/// A process is left as it is for this part of its time constant.
const FROZEN: f64 = 1.0 / 32.0;
/// Part of a column's variance that all rows held still make up at most: as much as the ripple of the spectrum.
const QUIET: f64 = 0.01;
/// After this many time constants a trap has forgotten its state (e⁻⁴⁰ = 4e-18).
const FORGOTTEN: f64 = 40.0;
/// More traps than this in one device are drawn again.
const MOST_TRAPS: u32 = 20;

/// 1/f noise: `S_G(f)/G² = (level·(G/maximum_s)^−exponent)²/f` (1/Hz).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flicker {
    /// Square root of f·S_G/G² at the upper bound.
    pub level: f64,
    /// How fast it grows towards small conductances.
    pub exponent: f64,
    /// It never exceeds this.
    pub ceiling: f64,
    /// Shortest time constant (s).
    pub fastest_s: f64,
    /// Longest time constant at least (s).
    pub slowest_s: f64,
}

/// Random telegraph noise: traps that lower the conductance while they are filled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telegraph {
    /// Mean number of traps per device (Poisson).
    pub traps_per_device: f64,
    /// Mean amplitude relative to the conductance (exponentially distributed, cut at 0.5).
    pub amplitude: f64,
    /// Shortest mean dwell time (s); both dwell times of a trap are log-uniform.
    pub fastest_s: f64,
    /// Longest mean dwell time (s).
    pub slowest_s: f64,
}

impl Flicker {
    /// Square root of f·S_G/G² at `conductance_s` of a technology that reaches `maximum_s`.
    pub fn level(&self, conductance_s: f64, maximum_s: f64) -> f64 {
        let growth =
            if self.exponent == 0.0 { 1.0 } else { libm::pow(conductance_s / maximum_s, -self.exponent) };
        (self.level * growth).min(self.ceiling)
    }
}

/// One time constant of all cells.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Process {
    tau_s: f64,
    /// One per row.
    updated_ns: Vec<u64>,
    /// Unit variance, one per cell, row-major.
    state: Vec<f64>,
}

/// One trap.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Trap {
    cell: usize,
    /// Relative loss of conductance while filled.
    amplitude: f64,
    /// Mean times in the empty and in the filled state (s).
    dwell_s: [f64; 2],
    filled: bool,
    /// When `filled` was last looked at.
    updated_ns: u64,
    /// When it changes next (ns).
    next_ns: f64,
}

/// The fluctuations of all cells of an array.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fluctuations {
    flicker: Option<Flicker>,
    processes: Vec<Process>,
    /// Sum of the processes of each cell.
    sums: Vec<f64>,
    traps: Vec<Trap>,
    random: Random,
}

fn exponential(mean: f64, random: &mut Random) -> f64 {
    -mean * libm::log(1.0 - random.uniform())
}

impl Trap {
    fn draw(cell: usize, telegraph: &Telegraph, random: &mut Random) -> Self {
        let decades = libm::log(telegraph.slowest_s / telegraph.fastest_s);
        let mut dwell = || telegraph.fastest_s * libm::exp(decades * random.uniform());
        let dwell_s = [dwell(), dwell()];
        let amplitude = loop {
            let amplitude = exponential(telegraph.amplitude, random);
            if amplitude <= 0.5 {
                break amplitude;
            }
        };
        let mut trap = Self { cell, amplitude, dwell_s, filled: false, updated_ns: 0, next_ns: 0.0 };
        trap.settle(0, random);
        trap
    }

    /// Draws the state from equilibrium.
    fn settle(&mut self, at_ns: u64, random: &mut Random) {
        self.filled = random.uniform() * (self.dwell_s[0] + self.dwell_s[1]) < self.dwell_s[1];
        self.next_ns = at_ns as f64 + 1e9 * exponential(self.dwell_s[usize::from(self.filled)], random);
        self.updated_ns = at_ns;
    }

    fn advance(&mut self, at_ns: u64, random: &mut Random) {
        let now = at_ns as f64;
        if self.next_ns > now {
            return;
        }
        let relaxation_s = 1.0 / (1.0 / self.dwell_s[0] + 1.0 / self.dwell_s[1]);
        if (now - self.next_ns) * 1e-9 > FORGOTTEN * relaxation_s {
            self.settle(at_ns, random);
            return;
        }
        while self.next_ns <= now {
            self.filled = !self.filled;
            self.next_ns += 1e9 * exponential(self.dwell_s[usize::from(self.filled)], random);
        }
        self.updated_ns = at_ns;
    }
}

impl Fluctuations {
    /// In equilibrium at time 0, for an array of `rows` × `columns`.
    pub fn new(
        flicker: Option<Flicker>,
        telegraph: Option<Telegraph>,
        (rows, columns): (usize, usize),
        mut random: Random,
    ) -> Self {
        let cells = rows * columns;
        let mut processes = Vec::new();
        let mut sums = vec![0.0; cells];
        if let Some(flicker) = flicker {
            let mut tau_s = flicker.fastest_s;
            loop {
                let state: Vec<f64> = (0..cells).map(|_| random.normal()).collect();
                for (sum, state) in sums.iter_mut().zip(&state) {
                    *sum += state;
                }
                processes.push(Process { tau_s, updated_ns: vec![0; rows], state });
                if tau_s >= flicker.slowest_s {
                    break;
                }
                tau_s *= RATIO;
            }
        }
        let mut traps = Vec::new();
        if let Some(telegraph) = telegraph {
            for cell in 0..cells {
                for _ in 0..poisson(telegraph.traps_per_device, &mut random) {
                    traps.push(Trap::draw(cell, &telegraph, &mut random));
                }
            }
        }
        Self { flicker, processes, sums, traps, random }
    }

    /// Lets time pass until `at_ns`; 1/f noise only in the rows that are `heard`.
    pub fn advance(&mut self, at_ns: u64, heard: &[bool]) {
        for process in &mut self.processes {
            let columns = process.state.len() / process.updated_ns.len();
            let rows = process.state.chunks_exact_mut(columns).zip(self.sums.chunks_exact_mut(columns));
            // Rows that were last looked at together share these.
            let (mut elapsed_s, mut kept, mut fresh) = (0.0, 1.0, 0.0);
            for (((state, sums), updated_ns), _) in
                rows.zip(&mut process.updated_ns).zip(heard).filter(|(_, heard)| **heard)
            {
                let since_s = at_ns.saturating_sub(*updated_ns) as f64 * 1e-9;
                if since_s < FROZEN * process.tau_s {
                    continue;
                }
                *updated_ns = at_ns;
                if since_s != elapsed_s {
                    elapsed_s = since_s;
                    kept = libm::exp(-elapsed_s / process.tau_s);
                    fresh = libm::sqrt(1.0 - kept * kept);
                }
                for (state, sum) in state.iter_mut().zip(sums) {
                    let now = kept * *state + fresh * self.random.normal();
                    *sum += now - *state;
                    *state = now;
                }
            }
        }
        for trap in &mut self.traps {
            trap.advance(at_ns, &mut self.random);
        }
    }

    /// The rows whose 1/f noise matters to any column, for these cells' currents and levels (row-major).
    pub fn heard(cell_currents: &[f64], levels: &[f64], columns: usize) -> Vec<bool> {
        let variance = |(current, level): (&f64, &f64)| (current * level) * (current * level);
        let rows = || cell_currents.chunks_exact(columns).zip(levels.chunks_exact(columns));
        let mut least = vec![0.0; columns];
        let share = QUIET / rows().len() as f64;
        for (currents, levels) in rows() {
            for (least, cell) in least.iter_mut().zip(currents.iter().zip(levels)) {
                *least += variance(cell) * share;
            }
        }
        let is_heard = |(currents, levels): (&[f64], &[f64])| {
            currents.iter().zip(levels).zip(&least).any(|(cell, least)| variance(cell) > *least)
        };
        rows().map(is_heard).collect()
    }

    /// The traps of one cell.
    pub fn traps(&self, cell: usize) -> Vec<TrapTraits> {
        let of_cell = self.traps.iter().filter(|trap| trap.cell == cell);
        of_cell.map(|trap| TrapTraits { amplitude: trap.amplitude, dwell_s: trap.dwell_s }).collect()
    }

    /// What [`add`](Self::add) needs to know of a conductance (S) in a technology that reaches `maximum_s`.
    pub fn level(&self, conductance: f64, maximum_s: f64) -> f64 {
        self.flicker
            .as_ref()
            .map_or(0.0, |flicker| libm::sqrt(LN_RATIO) * flicker.level(conductance, maximum_s))
    }

    /// Adds to each column's current (A) what the fluctuations make of the cells' currents (row-major, A).
    pub fn add(&self, cell_currents: &[f64], levels: &[f64], columns: &mut [f64]) {
        let count = columns.len();
        let cells = cell_currents.chunks_exact(count).zip(levels.chunks_exact(count));
        for ((currents, levels), sums) in cells.zip(self.sums.chunks_exact(count)) {
            for (((column, current), level), sum) in columns.iter_mut().zip(currents).zip(levels).zip(sums) {
                *column += current * level * sum;
            }
        }
        for trap in self.traps.iter().filter(|trap| trap.filled) {
            if let (Some(column), Some(current)) =
                (columns.get_mut(trap.cell % count), cell_currents.get(trap.cell))
            {
                *column -= current * trap.amplitude;
            }
        }
    }
}

/// Knuth's method; means here are small.
fn poisson(mean: f64, random: &mut Random) -> u32 {
    let limit = libm::exp(-mean);
    loop {
        let (mut count, mut product) = (0, random.uniform());
        while product > limit && count <= MOST_TRAPS {
            product *= random.uniform();
            count += 1;
        }
        if count <= MOST_TRAPS {
            return count;
        }
    }
}

#[cfg(test)]
mod tests;
