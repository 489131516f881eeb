//! Reduced-rank extrapolation of the outputs of an iteration, `L` vectors side by side and each by itself.
//!
//! With differences Δ_i = y_{i+1} − y_i (y_0 = 0), the factors γ with Σγ = 1 that make ‖Σγ_i·Δ_i‖ smallest give the
//! estimate s = Σγ_i·y_{i+1}: the polynomial of the iteration that a minimal-residual method would choose, as far as the
//! outputs show it. Δ = Q·R by modified Gram–Schmidt; γ ∝ R⁻¹·R⁻ᵀ·1.

use alloc::vec;
use alloc::vec::Vec;
use core::array;

use super::Source;
use super::lanes::{difference, product, sum_of};

/// As many iterations are combined at most; then the combination starts anew.
const MOST_COMBINED: usize = 24;
/// What the rate of convergence so far is multiplied with, to guess what the last estimate still misses.
const CAUTION: f64 = 16.0;
/// From this rate of convergence on, changes come and go.
const LONG_WAY: f64 = 0.02;
/// An output smaller than this part of the largest one is held to the tolerance of this part.
const SMALLEST_OUTPUT: f64 = 1e-5;
/// Differences below this part of the voltages are rounding.
const ROUNDING: f64 = 4.0 * f64::EPSILON;

pub(super) struct Extrapolation<const L: usize> {
    sources: Vec<Source>,
    most: usize,
    /// y of the iterations that are combined, the last one included, one after another.
    outputs: Vec<[f64; L]>,
    before: Vec<[f64; L]>,
    /// Q, each times its length, and the squares of these.
    directions: Vec<[f64; L]>,
    squares: Vec<[f64; L]>,
    /// `[column][row]` of R.
    triangle: Vec<Vec<[f64; L]>>,
    estimate: Vec<[f64; L]>,
    /// What the iterations so far combine to.
    combined: Vec<[f64; L]>,
    /// Largest change of an output by the last iteration, relative to it.
    change: [f64; L],
    /// By how much the last iteration made that change smaller.
    rate: [f64; L],
    residual: [f64; L],
    iterations: u32,
    done: [bool; L],
}

impl<const L: usize> Default for Extrapolation<L> {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            most: 1,
            outputs: Vec::new(),
            before: Vec::new(),
            directions: Vec::new(),
            squares: Vec::new(),
            triangle: Vec::new(),
            estimate: Vec::new(),
            combined: Vec::new(),
            change: [0.0; L],
            rate: [0.0; L],
            residual: [0.0; L],
            iterations: 0,
            done: [false; L],
        }
    }
}

impl<const L: usize> Extrapolation<L> {
    /// For column voltages in front of `sources`.
    pub(super) fn new(sources: &[Source]) -> Self {
        let mut extrapolation = Self::default();
        extrapolation.restart(sources);
        extrapolation
    }

    /// The same in the memory of an earlier one.
    pub(super) fn restart(&mut self, sources: &[Source]) {
        self.sources.clear();
        self.sources.extend_from_slice(sources);
        self.most = (sources.len() / 2).clamp(1, MOST_COMBINED);
        self.forget();
        self.before.clear();
        self.before.resize(sources.len(), [0.0; L]);
        self.combined.resize(sources.len(), [0.0; L]);
        // Nothing flows yet.
        self.estimate.clear();
        self.estimate.extend(sources.iter().map(|source| [source.volts; L]));
        self.change = [f64::INFINITY; L];
        self.rate = [0.0; L];
        self.residual = [f64::INFINITY; L];
        self.iterations = 0;
        self.done = [false; L];
    }

    /// The next combination begins with the next iteration.
    fn forget(&mut self) {
        self.outputs.clear();
        self.directions.clear();
        self.squares.clear();
        self.triangle.clear();
    }

    /// Outputs that the first iteration starts from; 0 V without.
    pub(super) fn start(&mut self, outputs: &[[f64; L]]) {
        self.before.copy_from_slice(outputs);
    }

    /// One more iteration's outputs. A vector that has reached the tolerance stays as it is.
    pub(super) fn add(&mut self, outputs: &[[f64; L]], tolerance: f64) {
        add(self, outputs, tolerance);
    }

    #[inline(always)]
    fn extend(&mut self, outputs: &[[f64; L]], tolerance: f64) {
        if self.triangle.len() == self.most {
            self.forget();
        }
        let mut whole = [0.0; L];
        for (output, before) in outputs.iter().zip(&mut self.before) {
            let change = difference(*output, *before);
            self.directions.push(change);
            *before = *output;
            whole = sum_of(whole, product(change, change));
        }
        self.outputs.extend_from_slice(outputs);
        self.orthogonalise(whole);
        let factors = self.factors();
        self.judge(&factors, tolerance);
    }

    /// Makes the last difference of the outputs, whose square is `whole`, a column of Q (not normalised) and R.
    #[inline(always)]
    fn orthogonalise(&mut self, whole: [f64; L]) {
        let mut column = Vec::with_capacity(self.triangle.len() + 1);
        let mut square = whole;
        let columns = self.sources.len();
        let (known, direction) = self.directions.split_at_mut(self.triangle.len() * columns);
        for ((known, known_square), diagonal) in known
            .chunks_exact(columns)
            .zip(&self.squares)
            .zip(self.triangle.iter().map(|column| column.last()))
        {
            let mut part = [0.0; L];
            for (a, b) in known.iter().zip(&*direction) {
                part = sum_of(part, product(*a, *b));
            }
            let length = diagonal.copied().unwrap_or([0.0; L]);
            let along: [f64; L] =
                array::from_fn(|l| if known_square[l] > 0.0 { part[l] / known_square[l] } else { 0.0 });
            square = [0.0; L];
            for (a, b) in known.iter().zip(&mut *direction) {
                *b = difference(*b, product(along, *a));
                square = sum_of(square, product(*b, *b));
            }
            column.push(product(along, length));
        }
        // A direction that is there already counts as new by no more than rounding.
        let length = array::from_fn(|l| libm::sqrt(square[l]).max(f64::EPSILON * libm::sqrt(whole[l])));
        column.push(length);
        self.triangle.push(column);
        self.squares.push(square);
    }

    /// γ for every iteration that is combined.
    #[inline(always)]
    fn factors(&self) -> Vec<[f64; L]> {
        let count = self.triangle.len();
        let mut factors = vec![[0.0; L]; count];
        for l in 0..L {
            if let Some(still) = (0..count).find(|&i| self.triangle[i][i][l] == 0.0) {
                // The outputs have stopped changing.
                factors[still][l] = 1.0;
                continue;
            }
            for i in 0..count {
                let known: f64 = (0..i).map(|k| self.triangle[i][k][l] * factors[k][l]).sum();
                factors[i][l] = (1.0 - known) / self.triangle[i][i][l];
            }
            for i in (0..count).rev() {
                let known: f64 = (i + 1..count).map(|k| self.triangle[k][i][l] * factors[k][l]).sum();
                factors[i][l] = (factors[i][l] - known) / self.triangle[i][i][l];
            }
            let sum: f64 = factors.iter().map(|factor| factor[l]).sum();
            factors.iter_mut().for_each(|factor| factor[l] /= sum);
        }
        factors
    }

    /// Takes over the estimate Σ factor·output of every vector that isn't done, and guesses how far it is off.
    #[inline(always)]
    fn judge(&mut self, factors: &[[f64; L]], tolerance: f64) {
        let mut largest = [0.0_f64; L];
        for (j, (estimate, source)) in self.combined.iter_mut().zip(&self.sources).enumerate() {
            let mut sum = [0.0; L];
            for (output, factor) in self.outputs[j..].iter().step_by(self.sources.len()).zip(factors) {
                sum = sum_of(sum, product(*factor, *output));
            }
            *estimate = sum;
            if source.siemens != 0.0 {
                let size = estimate.map(|estimate| libm::fabs(estimate - source.volts));
                largest = array::from_fn(|l| if size[l] > largest[l] { size[l] } else { largest[l] });
            }
        }
        // Relative to each output, since small ones may converge more slowly than large ones.
        let done = self.done;
        let mut change = [0.0_f64; L];
        for ((estimate, kept), source) in self.combined.iter().zip(&mut self.estimate).zip(&self.sources) {
            if source.siemens != 0.0 {
                let rounding =
                    estimate.map(|volts| ROUNDING * (libm::fabs(volts) + libm::fabs(source.volts)));
                let moved = difference(difference(*estimate, *kept).map(libm::fabs), rounding);
                let size = estimate.map(|estimate| libm::fabs(estimate - source.volts));
                let size: [f64; L] = array::from_fn(|l| size[l].max(SMALLEST_OUTPUT * largest[l]));
                let relative: [f64; L] = array::from_fn(|l| moved[l] / size[l]);
                // Not a number where nothing flows or moves: no change.
                change = array::from_fn(|l| if relative[l] > change[l] { relative[l] } else { change[l] });
            }
            *kept = array::from_fn(|l| if done[l] { kept[l] } else { estimate[l] });
        }
        let (mut residual, mut rates) = ([0.0_f64; L], [0.0; L]);
        for l in 0..L {
            // The slower one of the last two; from the first to the second iteration not yet a rate, but what the start was
            // off by.
            let last = change[l] / self.change[l].max(f64::MIN_POSITIVE);
            let rate = if self.iterations < 2 { 1.0 } else { CAUTION * last.max(self.rate[l]) };
            rates[l] = if self.iterations < 1 { 0.0 } else { last };
            // Where the way is long, a change may be small by chance.
            let usual = if self.rate[l] > LONG_WAY { self.rate[l] * self.change[l] } else { 0.0 };
            residual[l] = rate * change[l].max(usual.min(self.change[l]));
        }
        for l in 0..L {
            if !done[l] {
                (self.change[l], self.residual[l], self.rate[l]) = (change[l], residual[l], rates[l]);
                self.done[l] = residual[l] <= tolerance;
            }
        }
        self.iterations += 1;
    }

    /// Largest relative error of any output that its vector is guessed to have.
    pub(super) fn residual(&self) -> f64 {
        self.residual.iter().fold(0.0, |worst, residual| if *residual > worst { *residual } else { worst })
    }

    /// That of each vector.
    pub(super) fn residuals(&self) -> [f64; L] {
        self.residual
    }

    /// Which vectors have reached the tolerance.
    pub(super) fn done(&self) -> [bool; L] {
        self.done
    }

    /// Each vector's smallest output, as far as the tolerance is relative to that (V in front of its source).
    pub(super) fn smallest_outputs(&self) -> [f64; L] {
        let (mut smallest, mut largest) = ([f64::INFINITY; L], [0.0_f64; L]);
        for (estimate, source) in
            self.estimate.iter().zip(&self.sources).filter(|(_, source)| source.siemens != 0.0)
        {
            for l in 0..L {
                let size = libm::fabs(estimate[l] - source.volts);
                (smallest[l], largest[l]) = (smallest[l].min(size), largest[l].max(size));
            }
        }
        array::from_fn(|l| smallest[l].max(SMALLEST_OUTPUT * largest[l]))
    }

    /// Whether every vector has reached the tolerance.
    pub(super) fn is_done(&self) -> bool {
        self.done.iter().all(|done| *done)
    }

    /// Currents of one vector into the sources (A).
    pub(super) fn currents_of(&self, vector: usize, currents: &mut [f64]) {
        for ((current, volts), source) in currents.iter_mut().zip(&self.estimate).zip(&self.sources) {
            *current = (volts[vector] - source.volts) * source.siemens;
        }
    }

    /// Currents into the sources (A).
    pub(super) fn currents(&self, currents: &mut [[f64; L]]) {
        for ((current, volts), source) in currents.iter_mut().zip(&self.estimate).zip(&self.sources) {
            *current = volts.map(|volts| (volts - source.volts) * source.siemens);
        }
    }
}

#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2"))]
fn add<const L: usize>(extrapolation: &mut Extrapolation<L>, outputs: &[[f64; L]], tolerance: f64) {
    extrapolation.extend(outputs, tolerance);
}
