//! Vectors side by side.
//!
//! The iteration is linear, so that one sweep's change of the columns' voltages makes the next one's, without any source. Two
//! passes in double precision leave the first change; from then on single precision is enough: changes make changes, each is
//! rounded relative to its own size, and all are added to the outputs in double precision. A vector for which that isn't enough
//! (tight tolerance, a long way to go) is solved anew in double precision alone.
//!
//! Fields and factors lie in strips of [`STRIP`] rows, column by column, so that a pass reads one stream of each and a
//! factor serves all vectors; what the rows' elimination leaves is kept in the field itself until their substitution.

use alloc::vec;
use alloc::vec::Vec;
use core::array;

use super::coarse::{Coarse, Corrections, Straight};
use super::extrapolation::Extrapolation;
use super::lanes::{Lanes, Number, converted, product, scaled, sum_of};
use super::sweep::{MOST_SWEEPS, Sweeper};
use super::{Convergence, PANEL};
use crate::circuit::CircuitError;

/// Vectors side by side in single precision.
const SINGLE: usize = 16;
/// And in double.
const DOUBLE: usize = 8;
/// Rows that are passed at once; their carries fit the registers. A stretch of the coarse array begins with a strip.
pub(super) const STRIP: usize = 4;

/// More sweeps than that are made in double precision.
const MOST_SINGLE_SWEEPS: u32 = 12;

/// From the first pass's field to the change.
const SECOND: u8 = 0;
/// From one change to the next.
const CHANGE: u8 = 1;

/// What a cell's own equations need.
#[derive(Clone, Copy, Default)]
struct Factors<T> {
    device: T,
    /// 1/pivot of its row.
    row: T,
    /// 1/pivot of its column eliminated from the top and from the bottom.
    downwards: T,
    upwards: T,
}

impl Factors<f64> {
    fn single(self) -> Factors<f32> {
        let Self { device, row, downwards, upwards } = self;
        Factors {
            device: device as f32,
            row: row as f32,
            downwards: downwards as f32,
            upwards: upwards as f32,
        }
    }
}

/// What the first pass needs of a cell: its rows stand alone, so that a row's currents are its voltage's multiples.
#[derive(Clone, Copy, Default)]
struct Start {
    /// Current into the column per volt at the row's left end, and what the row's right end adds.
    per_volt: f64,
    constant: f64,
    /// 1/pivot of its column eliminated from the bottom.
    upwards: f64,
}

/// An array as passes read it, strip by strip.
#[derive(Default)]
struct Strips {
    start: Vec<Start>,
    double: Vec<Factors<f64>>,
    single: Vec<Factors<f32>>,
}

impl Strips {
    fn fill(&mut self, sweeper: &Sweeper) {
        fill(self, sweeper);
    }

    #[inline(always)]
    fn take(&mut self, sweeper: &Sweeper) {
        let (rows, columns) = (sweeper.rows, sweeper.columns);
        self.start.resize(rows * columns, Start::default());
        self.double.resize(rows * columns, Factors::default());
        self.single.resize(rows * columns, Factors::default());
        let mut currents = vec![[[0.0; PANEL]; 2]; columns];
        for row in (0..rows / STRIP * STRIP).step_by(STRIP) {
            if row % PANEL == 0 {
                row_currents(sweeper, row, &mut currents);
            }
            self.strip::<STRIP>(sweeper, row, &currents);
        }
        for row in rows / STRIP * STRIP..rows {
            if row % PANEL == 0 {
                row_currents(sweeper, row, &mut currents);
            }
            self.strip::<1>(sweeper, row, &currents);
        }
    }

    #[inline(always)]
    fn strip<const K: usize>(&mut self, sweeper: &Sweeper, first: usize, currents: &[[[f64; PANEL]; 2]]) {
        let columns = sweeper.columns;
        let range = first * columns..(first + K) * columns;
        let start = &mut self.start[range.clone()].as_chunks_mut::<K>().0[..columns];
        let double = &mut self.double[range.clone()].as_chunks_mut::<K>().0[..columns];
        let single = &mut self.single[range].as_chunks_mut::<K>().0[..columns];
        let panel = first / PANEL * columns;
        let (device, row) = (&sweeper.device[panel..][..columns], &sweeper.row[panel..][..columns]);
        let downwards: [&[f64]; K] =
            array::from_fn(|k| &sweeper.downwards[(first + k) * columns..][..columns]);
        let upwards: [&[f64]; K] = array::from_fn(|k| &sweeper.upwards[(first + k) * columns..][..columns]);
        let offset = first % PANEL;
        for j in 0..columns {
            for k in 0..K {
                let at = (offset + k) % PANEL;
                let own = Factors {
                    device: device[j][at],
                    row: row[j][at],
                    downwards: downwards[k][j],
                    upwards: upwards[k][j],
                };
                double[j][k] = own;
                single[j][k] = own.single();
                let [per_volt, constant] = currents[j];
                start[j][k] = Start { per_volt: per_volt[at], constant: constant[at], upwards: own.upwards };
            }
        }
    }
}

#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2"))]
fn fill(strips: &mut Strips, sweeper: &Sweeper) {
    strips.take(sweeper);
}

/// Currents into the columns from the rows of a panel that see 0 V there: per volt at the left end, and from the right end.
#[inline(always)]
fn row_currents(sweeper: &Sweeper, first: usize, currents: &mut [[[f64; PANEL]; 2]]) {
    let columns = sweeper.columns;
    let panel = first / PANEL * columns;
    let (device, inverse) = (&sweeper.device[panel..][..columns], &sweeper.row[panel..][..columns]);
    let at = |values: &[f64]| -> [f64; PANEL] {
        array::from_fn(|k| values.get(first + k).copied().unwrap_or(0.0))
    };
    let (mut carry, mut from_left, mut from_right) = (at(&sweeper.left), [0.0; PANEL], at(&sweeper.right));
    for (current, inverse) in currents.iter_mut().zip(inverse) {
        current[0] = carry;
        carry = product(*inverse, carry);
    }
    for ((current, inverse), device) in currents.iter_mut().zip(inverse).zip(device).rev() {
        from_left = product(*inverse, sum_of(current[0], from_left));
        from_right = product(*inverse, from_right);
        *current = [product(*device, from_left), product(*device, from_right)];
    }
}

/// What passes in `T` over `L` vectors leave to each other.
#[derive(Default)]
struct Fields<T, const L: usize> {
    /// Currents into the columns, eliminated so far as the last pass went.
    cells: Lanes<T, L>,
    /// Behind the pass: voltages of the last row, and what its elimination carries on.
    volts: Lanes<T, L>,
    carried: Lanes<T, L>,
    /// What the coarse array adds.
    straight: Straight<T, L>,
}

impl<T: Number, const L: usize> Fields<T, L> {
    fn fit(&mut self, rows: usize, columns: usize) {
        self.cells.resize(rows * columns);
        self.volts.resize(columns);
        self.carried.resize(columns);
        self.straight.resize(columns);
    }
}

/// Memory for batches, kept from one to the next.
#[derive(Default)]
pub(super) struct Batch {
    strips: Strips,
    start: Fields<f64, DOUBLE>,
    single: (Fields<f32, SINGLE>, Outputs<SINGLE>),
    double: (Fields<f64, DOUBLE>, Outputs<DOUBLE>),
}

impl Batch {
    /// Any number of vectors, `[vector][row]` (V) to `[vector][column]` (A). None depends on the others.
    pub(super) fn solve(
        &mut self,
        sweeper: &Sweeper,
        left_volts: &[f64],
        tolerance: f64,
        currents: &mut [f64],
    ) -> Result<Convergence, CircuitError> {
        let (rows, columns) = (sweeper.rows, sweeper.columns);
        self.strips.fill(sweeper);
        let Self { strips, start, single: (single, single_outputs), double: (double, double_outputs) } = self;
        start.fit(rows, columns);
        single.fit(rows, columns);
        single_outputs.fit::<f32>(columns);
        let mut in_single = Run::new(sweeper, strips, &strips.single, single_outputs, tolerance);
        let mut in_double = Run::new(sweeper, strips, &strips.double, double_outputs, tolerance);
        let mut worst = Convergence::default();
        for (volts, currents) in left_volts.chunks(SINGLE * rows).zip(currents.chunks_mut(SINGLE * columns)) {
            let mut left: [bool; SINGLE] = array::from_fn(|l| l * rows < volts.len());
            in_single.solve(start, single, volts);
            worst = worst.worse(in_single.outputs.take(sweeper, &mut left, tolerance, currents));
            if !left.contains(&true) {
                continue;
            }
            double.fit(rows, columns);
            in_double.outputs.fit::<f64>(columns);
            let parts = volts.chunks(DOUBLE * rows).zip(currents.chunks_mut(DOUBLE * columns));
            for ((volts, currents), left) in parts.zip(left.as_chunks_mut::<DOUBLE>().0) {
                if !left.contains(&true) {
                    continue;
                }
                in_double.solve(start, double, volts);
                let reached = in_double.outputs.take(sweeper, left, tolerance, currents);
                if left.contains(&true) {
                    let residual = in_double.outputs.extrapolation.residual();
                    let iterations = reached.iterations;
                    return Err(CircuitError::NotConverged { residual, tolerance, iterations });
                }
                worst = worst.worse(reached);
            }
        }
        Ok(worst)
    }
}

/// The outputs of a run, sweep by sweep.
#[derive(Default)]
struct Outputs<const L: usize> {
    extrapolation: Extrapolation<L>,
    /// Column voltages of the bottom row, and what they change by.
    volts: Vec<[f64; L]>,
    change: Vec<[f64; L]>,
    /// After the second pass: what it has begun with, and what it changes that by.
    begun: Vec<[f64; L]>,
    changed: Vec<[f64; L]>,
    straight: Straight<f64, L>,
    /// What has been added in the fields' precision so far: largest changes of an output, summed up (V).
    added: Vec<f64>,
    sweeps: u32,
    rounding: f64,
    most_sweeps: u32,
}

impl<const L: usize> Outputs<L> {
    /// For fields of `T`.
    fn fit<T: Number>(&mut self, columns: usize) {
        for lines in [&mut self.volts, &mut self.change, &mut self.begun, &mut self.changed] {
            lines.resize(columns, [0.0; L]);
        }
        self.straight.resize(columns);
        self.rounding = T::ROUNDING;
        self.most_sweeps = if T::ROUNDING > 0.0 { MOST_SINGLE_SWEEPS } else { MOST_SWEEPS };
    }

    /// For other vectors.
    fn restart(&mut self, sweeper: &Sweeper) {
        self.extrapolation.restart(&sweeper.sources);
        self.volts.fill([0.0; L]);
        self.added.clear();
        self.added.resize(L, 0.0);
        self.sweeps = 0;
    }

    fn changes<T: Number>(&mut self, lines: &[[T; L]]) {
        for (to, from) in self.change.iter_mut().zip(lines) {
            *to = converted(*from);
        }
    }

    /// Adds what the columns' bottom row changes by, and the coarse array's part. Whether that was the last sweep.
    fn add(&mut self, sweeper: &Sweeper, corrections: &Option<Corrections<L>>, tolerance: f64) -> bool {
        let row = sweeper.rows - 1;
        if let Some((coarse, corrections)) = sweeper.coarse.as_ref().zip(corrections.as_ref()) {
            coarse.interpolate(&corrections.change, coarse.stretch(row), &mut self.straight);
            self.straight.add_at(row, &mut self.change);
        }
        let mut largest = [0.0_f64; L];
        for (volts, change) in self.volts.iter_mut().zip(&self.change) {
            *volts = sum_of(*volts, *change);
            largest = array::from_fn(|l| largest[l].max(libm::fabs(change[l])));
        }
        self.sweeps += 1;
        if self.sweeps > 2 {
            self.added.iter_mut().zip(largest).for_each(|(added, largest)| *added += largest);
        }
        self.extrapolation.add(&self.volts, tolerance);
        self.extrapolation.is_done()
            || self.sweeps >= self.most_sweeps
            || !self.extrapolation.residual().is_finite()
    }

    /// Takes over the currents (`[vector][column]`, A) of all vectors that are `left` and have come to their end.
    fn take(
        &self,
        sweeper: &Sweeper,
        left: &mut [bool; L],
        tolerance: f64,
        currents: &mut [f64],
    ) -> Convergence {
        let mut reached = Convergence { residual: 0.0, iterations: self.sweeps };
        let (done, residuals) = (self.extrapolation.done(), self.extrapolation.residuals());
        let smallest = self.extrapolation.smallest_outputs();
        for (l, currents) in currents.chunks_exact_mut(sweeper.columns).enumerate() {
            let rounding = self.rounding * self.added[l];
            if left[l] && done[l] && rounding <= tolerance * smallest[l] {
                left[l] = false;
                reached.residual = reached.residual.max(residuals[l]);
                self.extrapolation.currents_of(l, currents);
            }
        }
        reached
    }
}

/// Solves for up to `L` vectors at once: two passes in double precision over [`DOUBLE`] and [`DOUBLE`] of them, then in `T`.
struct Run<'a, T, const L: usize> {
    sweeper: &'a Sweeper,
    strips: &'a Strips,
    factors: &'a [Factors<T>],
    start_corrections: Option<Corrections<DOUBLE>>,
    corrections: Option<Corrections<L>>,
    outputs: &'a mut Outputs<L>,
    left_volts: Vec<[f64; DOUBLE]>,
    tolerance: f64,
}

impl<'a, T: Number, const L: usize> Run<'a, T, L> {
    fn new(
        sweeper: &'a Sweeper,
        strips: &'a Strips,
        factors: &'a [Factors<T>],
        outputs: &'a mut Outputs<L>,
        tolerance: f64,
    ) -> Self {
        Self {
            sweeper,
            strips,
            factors,
            start_corrections: sweeper.coarse.as_ref().map(Coarse::corrections),
            corrections: sweeper.coarse.as_ref().map(Coarse::corrections),
            outputs,
            left_volts: vec![[0.0; DOUBLE]; sweeper.rows],
            tolerance,
        }
    }

    /// For left voltages `[vector][row]` (V); leaves the outputs behind. Places without a vector stay at 0 V.
    fn solve(&mut self, start: &mut Fields<f64, DOUBLE>, fields: &mut Fields<T, L>, left_volts: &[f64]) {
        let rows = self.sweeper.rows;
        for part in 0..L / DOUBLE {
            self.left_volts.fill([0.0; DOUBLE]);
            let given = left_volts.chunks_exact(rows).skip(part * DOUBLE).take(DOUBLE);
            for (l, given) in given.enumerate() {
                for (lanes, given) in self.left_volts.iter_mut().zip(given) {
                    lanes[l] = *given;
                }
            }
            self.begin(start, &mut fields.cells, part);
        }
        let Self { sweeper, factors, corrections, outputs, tolerance, .. } = self;
        outputs.restart(sweeper);
        outputs.change.copy_from_slice(&outputs.begun);
        if outputs.add(sweeper, corrections, *tolerance) {
            return;
        }
        correct(sweeper, corrections);
        outputs.change.copy_from_slice(&outputs.changed);
        while !outputs.add(sweeper, corrections, *tolerance) {
            pass::<T, T, L, L, true, CHANGE>(sweeper, factors, fields, corrections, (&mut [], 0));
            correct(sweeper, corrections);
            pass::<T, T, L, L, false, CHANGE>(sweeper, factors, fields, corrections, (&mut [], 0));
            // What a pass upwards begins with is known already; what it gives, when the next one is at the bottom.
            outputs.changes(&fields.volts);
            if outputs.add(sweeper, corrections, *tolerance) {
                return;
            }
            correct(sweeper, corrections);
            outputs.changes(&fields.carried);
        }
    }

    /// The first two passes for one part of the vectors; leaves the change in `cells`.
    fn begin(&mut self, start: &mut Fields<f64, DOUBLE>, cells: &mut [[T; L]], part: usize) {
        let Self { sweeper, strips, start_corrections: corrections, left_volts, outputs, .. } = self;
        if let Some((coarse, corrections)) = sweeper.coarse.as_ref().zip(corrections.as_mut()) {
            coarse.start(corrections, &sweeper.top, &sweeper.bottom);
        }
        first_pass(sweeper, &strips.start, start, left_volts, corrections);
        correct(sweeper, corrections);
        pass::<f64, T, DOUBLE, L, false, SECOND>(sweeper, &strips.double, start, corrections, (cells, part));
        if let Some((all, part_corrections)) = self.corrections.as_mut().zip(corrections.as_ref()) {
            all.take_part(part_corrections, part);
        }
        for (all, lines) in [(&mut outputs.begun, &start.volts), (&mut outputs.changed, &start.carried)] {
            for (all, line) in all.iter_mut().zip(lines.iter()) {
                all[part * DOUBLE..][..DOUBLE].copy_from_slice(line);
            }
        }
    }
}

fn correct<const L: usize>(sweeper: &Sweeper, corrections: &mut Option<Corrections<L>>) {
    if let Some((coarse, corrections)) = sweeper.coarse.as_ref().zip(corrections.as_mut()) {
        coarse.correct_differences(corrections);
    }
}

/// The first pass, from columns at 0 V upwards.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2"))]
fn first_pass<const L: usize>(
    sweeper: &Sweeper,
    start: &[Start],
    fields: &mut Fields<f64, L>,
    left_volts: &[[f64; L]],
    corrections: &mut Option<Corrections<L>>,
) {
    let (rows, columns) = (sweeper.rows, sweeper.columns);
    for (carried, near) in fields.carried.iter_mut().zip(&sweeper.bottom) {
        *carried = [*near; L];
    }
    let mut coarse = sweeper.coarse.as_ref().zip(corrections.as_mut());
    if let Some((_, corrections)) = &mut coarse {
        corrections.sums.fill([0.0; L]);
    }
    for row in (rows / STRIP * STRIP..rows).rev() {
        first_rows::<L, 1>(row, columns, start, fields, left_volts, &mut coarse);
    }
    for row in (0..rows / STRIP * STRIP).step_by(STRIP).rev() {
        first_rows::<L, STRIP>(row, columns, start, fields, left_volts, &mut coarse);
    }
}

#[inline(always)]
fn first_rows<const L: usize, const K: usize>(
    first: usize,
    columns: usize,
    start: &[Start],
    fields: &mut Fields<f64, L>,
    left_volts: &[[f64; L]],
    coarse: &mut Option<(&Coarse, &mut Corrections<L>)>,
) {
    let range = first * columns..(first + K) * columns;
    let start = &start[range.clone()].as_chunks::<K>().0[..columns];
    let cells = &mut fields.cells[range].as_chunks_mut::<K>().0[..columns];
    let carried = &mut fields.carried[..columns];
    let volts: [[f64; L]; K] = array::from_fn(|k| left_volts[first + k]);
    if let Some((coarse, corrections)) = coarse {
        let sums = &mut corrections.sums[coarse.row_of_blocks(first)..];
        for (block, range) in coarse.column_ranges() {
            let (cells, start) = (&mut cells[range.clone()], &start[range.clone()]);
            let sum = first_cells(cells, start, &mut carried[range], &volts);
            sums[block] = sum_of(sums[block], sum);
        }
    } else {
        first_cells(cells, start, carried, &volts);
    }
}

/// Rows' currents into `K` rows of columns, and the columns' elimination. Sum of the currents.
#[inline(always)]
fn first_cells<const L: usize, const K: usize>(
    cells: &mut [[[f64; L]; K]],
    start: &[[Start; K]],
    carried: &mut [[f64; L]],
    volts: &[[f64; L]; K],
) -> [f64; L] {
    let mut sum = [[0.0; L]; K];
    for ((cell, start), carried) in cells.iter_mut().zip(start).zip(carried) {
        let mut onwards = *carried;
        for k in (0..K).rev() {
            let current = sum_of(scaled(start[k].per_volt, volts[k]), [start[k].constant; L]);
            sum[k] = sum_of(sum[k], current);
            cell[k] = sum_of(current, onwards);
            onwards = scaled(start[k].upwards, cell[k]);
        }
        *carried = onwards;
    }
    total(&sum)
}

/// Of the rows of a strip.
#[inline(always)]
fn total<T: Number, const L: usize, const K: usize>(sums: &[[T; L]; K]) -> [T; L] {
    let mut whole = sums[0];
    for k in 1..K {
        whole = sum_of(whole, sums[k]);
    }
    whole
}

/// One pass: substitutes the columns back, solves the rows, and eliminates the columns for the next one, which goes the other
/// way. Where there is a coarse array, the sums that it needs are added up. The second pass leaves its result in one part of
/// other cells, `into`.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2"))]
fn pass<T: Number, U: Number, const L: usize, const M: usize, const UP: bool, const KIND: u8>(
    sweeper: &Sweeper,
    factors: &[Factors<T>],
    fields: &mut Fields<T, L>,
    corrections: &mut Option<Corrections<L>>,
    into: (&mut [[U; M]], usize),
) {
    let (rows, columns) = (sweeper.rows, sweeper.columns);
    let near = if UP { &sweeper.bottom } else { &sweeper.top };
    // Only the field of the first pass has sources.
    for (volts, near) in fields.volts.iter_mut().zip(near) {
        *volts = if KIND == SECOND { [T::of(*near); L] } else { [T::default(); L] };
    }
    fields.carried.fill([T::default(); L]);
    let mut coarse = sweeper.coarse.as_ref().zip(corrections.as_mut());
    if let Some((_, corrections)) = &mut coarse {
        corrections.sums.fill([0.0; L]);
    }
    let mut pass = Pass::<T, U, L, M, UP, KIND> {
        sweeper,
        factors: &factors[..rows * columns],
        cells: &mut fields.cells[..rows * columns],
        volts: &mut fields.volts[..columns],
        carried: &mut fields.carried[..columns],
        straight: &mut fields.straight,
        coarse,
        stretch: usize::MAX,
        into: into.0,
        part: into.1,
    };
    let (strips, rest) = (rows / STRIP, rows % STRIP);
    if UP {
        for row in (rows - rest..rows).rev() {
            pass.rows::<1>(row);
        }
        for strip in (0..strips).rev() {
            pass.rows::<STRIP>(strip * STRIP);
        }
    } else {
        for strip in 0..strips {
            pass.rows::<STRIP>(strip * STRIP);
        }
        for row in rows - rest..rows {
            pass.rows::<1>(row);
        }
    }
}

struct Pass<'a, T, U, const L: usize, const M: usize, const UP: bool, const KIND: u8> {
    sweeper: &'a Sweeper,
    factors: &'a [Factors<T>],
    cells: &'a mut [[T; L]],
    volts: &'a mut [[T; L]],
    carried: &'a mut [[T; L]],
    straight: &'a mut Straight<T, L>,
    coarse: Option<(&'a Coarse, &'a mut Corrections<L>)>,
    stretch: usize,
    into: &'a mut [[U; M]],
    part: usize,
}

impl<T: Number, U: Number, const L: usize, const M: usize, const UP: bool, const KIND: u8>
    Pass<'_, T, U, L, M, UP, KIND>
{
    #[inline(always)]
    fn rows<const K: usize>(&mut self, first: usize) {
        let columns = self.sweeper.columns;
        let (mut carry, mut after) = ([[T::default(); L]; K], [[T::default(); L]; K]);
        match &self.coarse {
            Some((coarse, corrections)) => {
                let stretch = coarse.stretch(first);
                if stretch != self.stretch {
                    coarse.interpolate(&corrections.change, stretch, self.straight);
                    self.stretch = stretch;
                }
                self.forward::<K, true>(first, &mut carry);
            }
            None => self.forward::<K, false>(first, &mut carry),
        }
        let range = first * columns..(first + K) * columns;
        let factors = &self.factors[range.clone()].as_chunks::<K>().0[..columns];
        let cells = &mut self.cells[range.clone()].as_chunks_mut::<K>().0[..columns];
        let into = if KIND == SECOND { self.into[range].as_chunks_mut::<K>().0 } else { &mut [] };
        let Some((coarse, corrections)) = &mut self.coarse else {
            back::<T, U, L, M, K, UP, KIND>(cells, factors, self.carried, &mut after, into, self.part);
            return;
        };
        let sums = &mut corrections.sums[coarse.row_of_blocks(first)..][..coarse.column_block_count()];
        for (block, range) in coarse.column_ranges().rev() {
            let sum = back::<T, U, L, M, K, UP, KIND>(
                &mut cells[range.clone()],
                &factors[range.clone()],
                &mut self.carried[range.clone()],
                &mut after,
                if KIND == SECOND { &mut into[range] } else { &mut [] },
                self.part,
            );
            sums[block] = sum_of(sums[block], converted(sum));
        }
    }

    /// The columns' substitution from the last pass, and the rows' elimination.
    #[inline(always)]
    fn forward<const K: usize, const CORRECTED: bool>(&mut self, first: usize, carry: &mut [[T; L]; K]) {
        let columns = self.sweeper.columns;
        let range = first * columns..(first + K) * columns;
        let factors = &self.factors[range.clone()].as_chunks::<K>().0[..columns];
        let cells = &mut self.cells[range].as_chunks_mut::<K>().0[..columns];
        let volts = &mut self.volts[..columns];
        let (base, slope): (&[[T; L]], &[[T; L]]) = if CORRECTED {
            (&self.straight.base[..columns], &self.straight.slope[..columns])
        } else {
            (&[], &[])
        };
        // The same in all rows of a strip.
        let at = T::of(first as f64 + 0.5 * (K - 1) as f64);
        for j in 0..columns {
            let mut now = volts[j];
            let mut result = [[T::default(); L]; K];
            let mut correction = [T::default(); L];
            if CORRECTED {
                correction = sum_of(base[j], scaled(at, slope[j]));
            }
            for step in 0..K {
                let k = if UP { K - 1 - step } else { step };
                let factors = &factors[j][k];
                let inverse = if UP { factors.downwards } else { factors.upwards };
                now = scaled(inverse, sum_of(cells[j][k], now));
                let column = if CORRECTED { sum_of(now, correction) } else { now };
                result[k] = sum_of(scaled(factors.device, column), carry[k]);
                carry[k] = scaled(factors.row, result[k]);
            }
            volts[j] = now;
            cells[j] = result;
        }
    }
}

/// The way back along `K` rows: their substitution, and the columns' elimination. Sum of the currents into the columns.
#[inline(always)]
fn back<
    T: Number,
    U: Number,
    const L: usize,
    const M: usize,
    const K: usize,
    const UP: bool,
    const KIND: u8,
>(
    cells: &mut [[[T; L]; K]],
    factors: &[[Factors<T>; K]],
    carried: &mut [[T; L]],
    after: &mut [[T; L]; K],
    into: &mut [[[U; M]; K]],
    part: usize,
) -> [T; L] {
    let mut sum = [[T::default(); L]; K];
    let mut last = *after;
    let columns = cells.len();
    let (factors, carried) = (&factors[..columns], &mut carried[..columns]);
    let into = if KIND == SECOND { &mut into[..columns] } else { into };
    for j in (0..columns).rev() {
        let factors = &factors[j];
        let mut onwards = carried[j];
        let mut result = [[T::default(); L]; K];
        for step in 0..K {
            let k = if UP { K - 1 - step } else { step };
            last[k] = scaled(factors[k].row, sum_of(cells[j][k], last[k]));
            let current = scaled(factors[k].device, last[k]);
            sum[k] = sum_of(sum[k], current);
            result[k] = sum_of(current, onwards);
            onwards = scaled(if UP { factors[k].upwards } else { factors[k].downwards }, result[k]);
        }
        if KIND == SECOND {
            let first = if L == M { 0 } else { part * L };
            for k in 0..K {
                let cell = &mut into[j][k][first..][..L];
                for l in 0..L {
                    cell[l] = U::of(result[k][l].double());
                }
            }
        } else {
            cells[j] = result;
        }
        carried[j] = onwards;
    }
    *after = last;
    total(&sum)
}
