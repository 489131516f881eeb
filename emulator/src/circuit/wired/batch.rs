//! One pass over the array for several vectors side by side: what `pass` does for one, value by value the same.
//!
//! Fields and factors lie in strips of [`STRIP`] rows, column by column, so that a pass reads one stream of each and a
//! factor serves all vectors; what the rows' elimination leaves is kept in the field itself until their substitution.

use alloc::vec::Vec;
use core::array;

use super::PANEL;
use super::coarse::{Coarse, Corrections};
use super::lanes::{scaled, sum_of};
use super::pass::{CORRECTED, FIRST, PLAIN};
use super::sweep::{Fields, Passes, Sweeper};

/// Rows that are passed at once; their carries fit the registers. A stretch of the coarse array begins with a strip.
pub(super) const STRIP: usize = 4;

/// Where a row's first cell lies, and how far apart its cells are.
fn place(rows: usize, columns: usize, row: usize) -> (usize, usize) {
    let strip = row / STRIP * STRIP;
    if strip + STRIP <= rows { (strip * columns + row - strip, STRIP) } else { (row * columns, 1) }
}

/// What a cell's own equations need.
#[derive(Clone, Copy, Default)]
struct Factors {
    device: f64,
    /// 1/pivot of its row.
    row: f64,
    /// 1/pivot of its column eliminated from the top and from the bottom.
    downwards: f64,
    upwards: f64,
}

/// The factors in strips.
#[derive(Default)]
pub(super) struct Strips(Vec<Factors>);

impl Strips {
    /// Takes over the factors of an array.
    pub(super) fn fill(&mut self, sweeper: &Sweeper) {
        let (rows, columns) = (sweeper.rows, sweeper.columns);
        self.0.resize(rows * columns, Factors::default());
        for row in 0..rows {
            let (panel, k) = (row / PANEL * columns, row % PANEL);
            let (downwards, upwards) =
                (&sweeper.downwards[row * columns..], &sweeper.upwards[row * columns..]);
            let (first, step) = place(rows, columns, row);
            for (j, factors) in self.0[first..].iter_mut().step_by(step).take(columns).enumerate() {
                *factors = Factors {
                    device: sweeper.device[panel + j][k],
                    row: sweeper.row[panel + j][k],
                    downwards: downwards[j],
                    upwards: upwards[j],
                };
            }
        }
    }
}

impl<const L: usize> Passes<L> for Strips {
    fn pass<const UP: bool, const KIND: u8>(
        &self,
        sweeper: &Sweeper,
        fields: &mut Fields<L>,
        left_volts: &[[f64; L]],
        coarse: Option<(&Coarse, &mut Corrections<L>)>,
    ) {
        pass::<L, UP, KIND>(sweeper, self, fields, left_volts, coarse);
    }

    fn place(rows: usize, columns: usize, row: usize) -> (usize, usize) {
        place(rows, columns, row)
    }
}

/// The pass for `L` vectors of left voltages (`[row][vector]`, V). Where there is a coarse array, the sums that it needs
/// are left behind.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2"))]
fn pass<const L: usize, const UP: bool, const KIND: u8>(
    sweeper: &Sweeper,
    strips: &Strips,
    fields: &mut Fields<L>,
    left_volts: &[[f64; L]],
    coarse: Option<(&Coarse, &mut Corrections<L>)>,
) {
    let (rows, columns) = (sweeper.rows, sweeper.columns);
    let near = if UP { &sweeper.bottom } else { &sweeper.top };
    for ((volts, carried), near) in fields.volts.iter_mut().zip(fields.carried.iter_mut()).zip(near) {
        (*volts, *carried) = ([*near; L], [*near; L]);
    }
    let mut pass = Pass::<L, UP, KIND> {
        sweeper,
        factors: &strips.0[..rows * columns],
        cells: &mut fields.cells[..rows * columns],
        volts: &mut fields.volts[..columns],
        carried: &mut fields.carried[..columns],
        left_volts,
        coarse,
        stretch: usize::MAX,
    };
    let whole = rows / STRIP * STRIP;
    if UP {
        (whole..rows).rev().for_each(|row| pass.rows::<1>(row));
        (0..whole).step_by(STRIP).rev().for_each(|row| pass.rows::<STRIP>(row));
    } else {
        (0..whole).step_by(STRIP).for_each(|row| pass.rows::<STRIP>(row));
        (whole..rows).for_each(|row| pass.rows::<1>(row));
    }
}

struct Pass<'a, const L: usize, const UP: bool, const KIND: u8> {
    sweeper: &'a Sweeper,
    factors: &'a [Factors],
    cells: &'a mut [[f64; L]],
    volts: &'a mut [[f64; L]],
    carried: &'a mut [[f64; L]],
    left_volts: &'a [[f64; L]],
    coarse: Option<(&'a Coarse, &'a mut Corrections<L>)>,
    stretch: usize,
}

impl<const L: usize, const UP: bool, const KIND: u8> Pass<'_, L, UP, KIND> {
    #[inline(always)]
    fn rows<const K: usize>(&mut self, first: usize) {
        let columns = self.sweeper.columns;
        let mut sums = None;
        let mut slopes = None;
        if let Some((coarse, corrections)) = &mut self.coarse {
            if KIND == CORRECTED {
                let stretch = coarse.stretch(first);
                if stretch != self.stretch {
                    coarse.interpolate(corrections, stretch);
                    self.stretch = stretch;
                }
                slopes = Some((&corrections.base[..columns], &corrections.slope[..columns]));
            }
            if KIND != PLAIN {
                sums = Some((*coarse, &mut corrections.row_sums));
            }
        }
        let range = first * columns..(first + K) * columns;
        let factors = &self.factors[range.clone()].as_chunks::<K>().0[..columns];
        let cells = &mut self.cells[range].as_chunks_mut::<K>().0[..columns];
        let mut carry = [[0.0; L]; K];
        let mut at = [0.0; K];
        for k in 0..K {
            at[k] = (first + k) as f64;
            carry[k] = scaled(self.sweeper.left[first + k], self.left_volts[first + k]);
        }
        if let Some((base, slope)) = slopes {
            for ((((cell, factors), volts), base), slope) in
                cells.iter_mut().zip(factors).zip(&mut *self.volts).zip(base).zip(slope)
            {
                let (base, slope) = (*base, *slope);
                let eliminated = forward::<L, K, UP, KIND>(cell, factors, volts, &mut carry, |k, column| {
                    sum_of(column, sum_of(base, scaled(at[k], slope)))
                });
                *cell = eliminated;
            }
        } else {
            for ((cell, factors), volts) in cells.iter_mut().zip(factors).zip(&mut *self.volts) {
                *cell = forward::<L, K, UP, KIND>(cell, factors, volts, &mut carry, |_, column| column);
            }
        }
        let mut after: [[f64; L]; K] = array::from_fn(|k| [self.sweeper.right[first + k]; L]);
        if let Some((coarse, row_sums)) = sums {
            let count = coarse.column_block_count();
            for (block, range) in coarse.column_ranges().rev() {
                let (cells, factors) = (&mut cells[range.clone()], &factors[range.clone()]);
                let sum = back::<L, K, UP>(cells, factors, &mut self.carried[range], &mut after);
                for k in 0..K {
                    row_sums[(first + k) * count + block] = sum[k];
                }
            }
        } else {
            back::<L, K, UP>(cells, factors, self.carried, &mut after);
        }
    }
}

/// `K` rows of one column: its substitution from the last pass, and the rows' elimination.
#[inline(always)]
fn forward<const L: usize, const K: usize, const UP: bool, const KIND: u8>(
    cell: &[[f64; L]; K],
    factors: &[Factors; K],
    volts: &mut [f64; L],
    carry: &mut [[f64; L]; K],
    corrected: impl Fn(usize, [f64; L]) -> [f64; L],
) -> [[f64; L]; K] {
    let mut now = *volts;
    let mut result = [[0.0; L]; K];
    for step in 0..K {
        let k = if UP { K - 1 - step } else { step };
        let factors = &factors[k];
        let mut column = [0.0; L];
        if KIND != FIRST {
            now = scaled(if UP { factors.downwards } else { factors.upwards }, sum_of(cell[k], now));
            column = corrected(k, now);
        }
        result[k] = sum_of(scaled(factors.device, column), carry[k]);
        carry[k] = scaled(factors.row, result[k]);
    }
    *volts = now;
    result
}

/// The way back along `K` rows: their substitution, and the columns' elimination. Sums of the currents into the columns.
#[inline(always)]
fn back<const L: usize, const K: usize, const UP: bool>(
    cells: &mut [[[f64; L]; K]],
    factors: &[[Factors; K]],
    carried: &mut [[f64; L]],
    after: &mut [[f64; L]; K],
) -> [[f64; L]; K] {
    let mut sum = [[0.0; L]; K];
    let mut last = *after;
    for ((cell, factors), carried) in cells.iter_mut().zip(factors).zip(carried).rev() {
        let mut onwards = *carried;
        let mut result = [[0.0; L]; K];
        for step in 0..K {
            let k = if UP { K - 1 - step } else { step };
            let factors = &factors[k];
            last[k] = scaled(factors.row, sum_of(cell[k], last[k]));
            let current = scaled(factors.device, last[k]);
            sum[k] = sum_of(sum[k], current);
            result[k] = sum_of(current, onwards);
            onwards = scaled(if UP { factors.upwards } else { factors.downwards }, result[k]);
        }
        *cell = result;
        *carried = onwards;
    }
    *after = last;
    sum
}
