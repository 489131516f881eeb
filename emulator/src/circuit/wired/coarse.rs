//! A coarse array that knows what a sweep converges slowly in: the smooth part of the error.
//!
//! A block of neighbouring cells becomes one cell: its devices in parallel, the wires of its lines in parallel and their
//! segments in series. The coarse array is solved exactly (its columns' Schur complement is banded), and what it says
//! about the error left after a sweep is interpolated linearly and added. The fixed point of the sweeps stays what
//! it is; only the way there gets shorter (two-grid method; Trottenberg, Oosterlee & Schüller, "Multigrid", 2001,
//! chapter 2, with lines as smoother).
//!
//! With r the residual of the columns' equations, S·ê = R·r on the coarse array is the error before the sweep, and
//! ẽ = T_c⁻¹·D·T_r⁻¹·D·ê what the sweep leaves of it.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::PANEL;
use super::batch::STRIP;
use super::lanes::{Lanes, Number, converted, difference, scaled, sum_of};
use super::sweep::Sources;

/// Blocks along each side at most. More cost time in proportion to their cube, and gain no iteration up to 512 × 512.
const MOST_BLOCKS: usize = 16;

/// Blocks of neighbouring lines.
struct Blocks {
    lines: usize,
    /// Lines of each block but the last one, which may have fewer.
    size: usize,
}

impl Blocks {
    fn new(lines: usize) -> Self {
        // Rows come in panels.
        let most = if lines > 256 { MOST_BLOCKS } else { MOST_BLOCKS / 2 };
        Self { lines, size: lines.div_ceil(most).next_multiple_of(PANEL) }
    }

    fn count(&self) -> usize {
        self.lines.div_ceil(self.size)
    }

    fn range(&self, block: usize) -> Range<usize> {
        block * self.size..self.lines.min((block + 1) * self.size)
    }

    fn width(&self, block: usize) -> f64 {
        self.range(block).len() as f64
    }

    /// Position of the middle of a block, in lines.
    fn center(&self, block: usize) -> f64 {
        let range = self.range(block);
        0.5 * (range.start + range.end - 1) as f64
    }
}

/// The coarse array, factorised. Scaled as the fine one.
pub(super) struct Coarse {
    row_blocks: Blocks,
    column_blocks: Blocks,
    /// Devices between rows and columns, row-major.
    device: Vec<f64>,
    /// 1/pivot of the rows and the conductance of the segment behind each cell, row-major.
    row: Vec<(f64, f64)>,
    /// The same of the columns, from the top.
    column: Vec<(f64, f64)>,
    /// Cholesky factor of the Schur complement: the `columns + 1` entries up to the diagonal of each line; on the
    /// diagonal its inverse.
    factor: Vec<f64>,
    /// How far the correction reaches per line above the first and below the last middle, for each fine column.
    ends: [Vec<f64>; 2],
    stretches: Vec<usize>,
    /// Fine columns between the middles of a block and the next one, block by block: the first one's way from the former, and
    /// each one's to its neighbour, in parts of the whole way.
    spans: Vec<(Range<usize>, f64, f64)>,
}

/// What the coarse array keeps of `L` vectors.
pub(super) struct Corrections<const L: usize> {
    /// Sums of the currents into the columns along each row of each block, `[row][column block]`.
    pub(super) row_sums: Vec<[f64; L]>,
    /// Block by block: sums of the currents into the columns.
    pub(super) sums: Vec<[f64; L]>,
    /// Sums over the blocks that the last correction was made of, and what that correction adds to them.
    known: Vec<[f64; L]>,
    /// Block by block: the correction of the columns' voltages.
    pub(super) correction: Vec<[f64; L]>,
    /// And by how much it differs from the one before.
    pub(super) change: Vec<[f64; L]>,
    work: Vec<[f64; L]>,
}

impl<const L: usize> Corrections<L> {
    /// Takes over the state of the `part`-th `M` vectors.
    pub(super) fn take_part<const M: usize>(&mut self, of: &Corrections<M>, part: usize) {
        for (all, of) in [
            (&mut self.sums, &of.sums),
            (&mut self.known, &of.known),
            (&mut self.correction, &of.correction),
            (&mut self.change, &of.change),
        ] {
            for (all, of) in all.iter_mut().zip(of) {
                all[part * M..][..M].copy_from_slice(of);
            }
        }
    }
}

/// A correction in the fine columns along one stretch of rows: `base + row·slope`.
#[derive(Default)]
pub(super) struct Straight<T, const L: usize> {
    pub(super) base: Lanes<T, L>,
    pub(super) slope: Lanes<T, L>,
}

impl<T: Number, const L: usize> Straight<T, L> {
    pub(super) fn resize(&mut self, columns: usize) {
        self.base.resize(columns);
        self.slope.resize(columns);
    }

    /// Adds the correction at a row.
    pub(super) fn add_at(&self, row: usize, volts: &mut [[f64; L]]) {
        let at = T::of(row as f64);
        for ((volts, base), slope) in volts.iter_mut().zip(&*self.base).zip(&*self.slope) {
            *volts = sum_of(*volts, converted(sum_of(*base, scaled(at, *slope))));
        }
    }
}

/// Sets values one by one: side by side, the compiler would gather them.
#[inline(always)]
fn flat<const L: usize>(values: &mut [[f64; L]], of: impl Fn(usize) -> f64) {
    values.as_flattened_mut().iter_mut().enumerate().for_each(|(at, value)| *value = of(at));
}

/// Fine conductances of the sources that a block of lines sees from its middle, `half` segments further on.
fn behind(sources: &[f64], half: f64) -> f64 {
    sources.iter().map(|g| g / (1.0 + g * half)).sum()
}

impl Coarse {
    /// From unscaled conductances (row-major) and the scales of rows, columns and what couples them; `sources` are
    /// scaled to segments of 1.
    pub(super) fn new(conductance: &[f64], scales: [f64; 3], sources: &Sources) -> Self {
        let (row_blocks, column_blocks) =
            (Blocks::new(sources.left.len()), Blocks::new(sources.bottom.len()));
        let (rows, columns) = (row_blocks.count(), column_blocks.count());
        let mut sums = vec![0.0; rows * columns];
        for i in 0..row_blocks.lines {
            let row = &conductance[i * column_blocks.lines..][..column_blocks.lines];
            let sums = &mut sums[i / row_blocks.size * columns..][..columns];
            for (sum, cells) in sums.iter_mut().zip(row.chunks(column_blocks.size)) {
                let mut lanes = [0.0; PANEL];
                for cells in cells.chunks(PANEL) {
                    for (lane, g) in lanes.iter_mut().zip(cells) {
                        *lane += g;
                    }
                }
                *sum += lanes.iter().sum::<f64>();
            }
        }
        let [row_scale, column_scale, scale] = scales;
        let mut coarse = Self {
            device: sums.iter().map(|sum| sum * scale).collect(),
            row: vec![(0.0, 0.0); rows * columns],
            column: vec![(0.0, 0.0); rows * columns],
            factor: Vec::new(),
            ends: [(&sources.top, 0), (&sources.bottom, rows - 1)].map(|(ends, block)| {
                let half = 0.5 * (row_blocks.width(block) - 1.0);
                ends.iter().map(|g| g / (1.0 + g * half)).collect()
            }),
            stretches: (0..row_blocks.lines)
                // Rows that are passed at once lie in one stretch.
                .map(|row| row / STRIP * STRIP)
                .map(|row| (0..rows).filter(|&block| row_blocks.center(block) <= row as f64).count())
                .collect(),
            spans: Vec::new(),
            row_blocks,
            column_blocks,
        };
        coarse.lay_spans();
        let (row_blocks, column_blocks) = (&coarse.row_blocks, &coarse.column_blocks);
        let mut pivots = vec![0.0; rows * columns];
        for i in 0..rows {
            let lines = row_blocks.range(i);
            let mut own = behind(&sources.left[lines.clone()], 0.5 * (column_blocks.width(0) - 1.0));
            for j in 0..columns {
                own += sums[i * columns + j] * row_scale;
                let ahead = if j + 1 < columns {
                    row_blocks.width(i) / (column_blocks.center(j + 1) - column_blocks.center(j))
                } else {
                    behind(&sources.right[lines.clone()], 0.5 * (column_blocks.width(j) - 1.0))
                };
                let inverse = if own + ahead > 0.0 { 1.0 / (own + ahead) } else { 0.0 };
                coarse.row[i * columns + j] = (inverse, ahead);
                own *= ahead * inverse;
            }
        }
        for j in 0..columns {
            let lines = column_blocks.range(j);
            let mut own = behind(&sources.top[lines.clone()], 0.5 * (row_blocks.width(0) - 1.0));
            for i in 0..rows {
                own += sums[i * columns + j] * column_scale;
                let ahead = if i + 1 < rows {
                    column_blocks.width(j) / (row_blocks.center(i + 1) - row_blocks.center(i))
                } else {
                    behind(&sources.bottom[lines.clone()], 0.5 * (row_blocks.width(i) - 1.0))
                };
                pivots[i * columns + j] += sums[i * columns + j] * column_scale + ahead;
                if i + 1 < rows {
                    pivots[(i + 1) * columns + j] += ahead;
                }
                if i == 0 {
                    pivots[j] += behind(&sources.top[lines.clone()], 0.5 * (row_blocks.width(0) - 1.0));
                }
                let inverse = if own + ahead > 0.0 { 1.0 / (own + ahead) } else { 0.0 };
                coarse.column[i * columns + j] = (inverse, ahead);
                own *= ahead * inverse;
            }
        }
        coarse.factorise(&pivots);
        coarse
    }

    /// Where fine columns lie between the middles of blocks; beyond the outermost ones, too.
    fn lay_spans(&mut self) {
        let blocks = &self.column_blocks;
        let last = blocks.count() - 1;
        let mut start = 0;
        for left in 0..last.max(1) {
            let from = blocks.center(left);
            let to = blocks.center((left + 1).min(last));
            let end = if left + 1 >= last { blocks.lines } else { libm::ceil(to) as usize };
            let part = if to > from { 1.0 / (to - from) } else { 0.0 };
            self.spans.push((start..end, (start as f64 - from) * part, part));
            start = end;
        }
    }

    /// S = T_c − D·T_r⁻¹·D from the diagonal of T_c, and its Cholesky factor.
    fn factorise(&mut self, diagonal: &[f64]) {
        let (rows, columns) = (self.row_blocks.count(), self.column_blocks.count());
        let width = columns + 1;
        let mut factor = vec![0.0; rows * columns * width];
        let (mut unit, mut ignored) = (vec![[0.0; 1]; columns], vec![[0.0; 1]; columns]);
        for i in 0..rows {
            for j in 0..columns {
                let line = i * columns + j;
                factor[line * width + columns] = diagonal[line];
                if i > 0 {
                    factor[line * width] = -self.column[line - columns].1;
                }
            }
            for k in 0..columns {
                unit.fill([0.0]);
                unit[k] = [1.0];
                self.row_sweep(i, &mut unit, &mut ignored);
                for j in k..columns {
                    factor[(i * columns + j) * width + columns - (j - k)] -= unit[j][0];
                }
            }
        }
        for line in 0..rows * columns {
            let first = line.saturating_sub(columns);
            for other in first..=line {
                let start = first.max(other.saturating_sub(columns));
                let mut rest = factor[line * width + columns - (line - other)];
                for k in start..other {
                    rest -= factor[line * width + columns - (line - k)]
                        * factor[other * width + columns - (other - k)];
                }
                factor[line * width + columns - (line - other)] = if other < line {
                    rest * factor[other * width + columns]
                } else if rest > f64::EPSILON * diagonal[line] {
                    1.0 / libm::sqrt(rest)
                } else {
                    // Nothing holds this part of the array at any voltage: no correction there.
                    0.0
                };
            }
        }
        self.factor = factor;
    }

    /// D·T_r⁻¹·D of one coarse row, in place; adds the result to `known`.
    #[inline(always)]
    fn row_sweep<const L: usize>(&self, i: usize, values: &mut [[f64; L]], known: &mut [[f64; L]]) {
        let range = i * values.len()..(i + 1) * values.len();
        let (row, device) = (&self.row[range.clone()], &self.device[range]);
        let mut carry = [0.0; L];
        for ((value, (inverse, ahead)), device) in values.iter_mut().zip(row).zip(device) {
            *value = sum_of(scaled(*device, *value), carry);
            carry = scaled(ahead * inverse, *value);
        }
        let mut after = [0.0; L];
        for (((value, (inverse, ahead)), device), known) in
            values.iter_mut().zip(row).zip(device).zip(known).rev()
        {
            after = scaled(*inverse, sum_of(*value, scaled(*ahead, after)));
            *value = scaled(*device, after);
            *known = sum_of(*known, *value);
        }
    }

    /// T_c⁻¹ of all coarse columns, in place.
    #[inline(always)]
    fn solve_columns<const L: usize>(&self, values: &mut [[f64; L]]) {
        let columns = self.column_blocks.count();
        for at in columns..values.len() {
            let (inverse, ahead) = self.column[at - columns];
            values[at] = sum_of(values[at], scaled(ahead * inverse, values[at - columns]));
        }
        for at in (0..values.len()).rev() {
            let (inverse, ahead) = self.column[at];
            let below = values.get(at + columns).map_or([0.0; L], |below| scaled(ahead, *below));
            values[at] = scaled(inverse, sum_of(values[at], below));
        }
    }

    /// S⁻¹, in place.
    #[inline(always)]
    fn solve_complement<const L: usize>(&self, values: &mut [[f64; L]]) {
        let columns = self.column_blocks.count();
        let width = columns + 1;
        for line in 0..values.len() {
            let first = line.saturating_sub(columns);
            let factor = &self.factor[line * width..][..width];
            let mut rest = values[line];
            for (known, f) in values[first..line].iter().zip(&factor[columns - (line - first)..]) {
                rest = difference(rest, scaled(*f, *known));
            }
            values[line] = scaled(factor[columns], rest);
        }
        for line in (0..values.len()).rev() {
            let first = line.saturating_sub(columns);
            let factor = &self.factor[line * width..][..width];
            let value = scaled(factor[columns], values[line]);
            values[line] = value;
            for (other, f) in values[first..line].iter_mut().zip(&factor[columns - (line - first)..]) {
                *other = difference(*other, scaled(*f, value));
            }
        }
    }

    /// Column blocks and the fine columns of each.
    pub(super) fn column_ranges(&self) -> impl DoubleEndedIterator<Item = (usize, Range<usize>)> + '_ {
        (0..self.column_blocks.count()).map(|block| (block, self.column_blocks.range(block)))
    }

    pub(super) fn column_block_count(&self) -> usize {
        self.column_blocks.count()
    }

    /// The same, and room for sums along rows.
    pub(super) fn corrections_by_row<const L: usize>(&self) -> Corrections<L> {
        let row_sums = vec![[0.0; L]; self.row_blocks.lines * self.column_blocks.count()];
        Corrections { row_sums, ..self.corrections() }
    }

    /// Room for `L` vectors.
    pub(super) fn corrections<const L: usize>(&self) -> Corrections<L> {
        let blocks = self.device.len();
        Corrections {
            row_sums: Vec::new(),
            sums: vec![[0.0; L]; blocks],
            known: vec![[0.0; L]; blocks],
            correction: vec![[0.0; L]; blocks],
            change: vec![[0.0; L]; blocks],
            work: vec![[0.0; L]; blocks],
        }
    }

    /// Before the first pass, which starts from columns at 0 V: their sources are all that is known to be missing.
    pub(super) fn start<const L: usize>(&self, state: &mut Corrections<L>, top: &[f64], bottom: &[f64]) {
        state.known.fill([0.0; L]);
        state.correction.fill([0.0; L]);
        let columns = self.column_blocks.count();
        let last = state.known.len() - columns;
        for (block, range) in self.column_ranges() {
            let sum = |ends: &[f64]| ends[range.clone()].iter().sum::<f64>();
            for l in 0..L {
                state.known[block][l] -= sum(top);
                state.known[last + block][l] -= sum(bottom);
            }
        }
    }

    /// From the sums that a pass has left, the correction for the next one.
    pub(super) fn correct<const L: usize>(&self, state: &mut Corrections<L>) {
        self.add_up(state);
        correct(self, state, false);
    }

    /// The same where the next pass leaves by how much its sums differ from these.
    pub(super) fn correct_differences<const L: usize>(&self, state: &mut Corrections<L>) {
        correct(self, state, true);
    }

    #[inline(always)]
    fn find<const L: usize>(&self, state: &mut Corrections<L>, differences: bool) {
        let (rows, columns) = (self.row_blocks.count(), self.column_blocks.count());
        let Corrections { sums, known, correction, change, work, .. } = state;
        flat(work, |at| sums.as_flattened()[at] - known.as_flattened()[at]);
        if differences {
            known.fill([0.0; L]);
        } else {
            known.copy_from_slice(sums);
        }
        self.solve_complement(work);
        for i in 0..rows {
            let row = i * columns..(i + 1) * columns;
            let known = &mut known[row.clone()];
            self.row_sweep(i, &mut work[row], known);
        }
        self.solve_columns(work);
        flat(change, |at| work.as_flattened()[at] - correction.as_flattened()[at]);
        correction.copy_from_slice(work);
    }

    /// After a pass from columns that no elimination has led to: there is nothing to correct yet.
    pub(super) fn resume<const L: usize>(&self, state: &mut Corrections<L>) {
        self.add_up(state);
        state.known.copy_from_slice(&state.sums);
        state.correction.fill([0.0; L]);
    }

    /// Sums over the blocks from those along the rows.
    pub(super) fn add_up<const L: usize>(&self, state: &mut Corrections<L>) {
        let (rows, columns) = (self.row_blocks.count(), self.column_blocks.count());
        for i in 0..rows {
            for j in 0..columns {
                let mut sum = [0.0; L];
                for line in self.row_blocks.range(i) {
                    sum = sum_of(sum, state.row_sums[line * columns + j]);
                }
                state.sums[i * columns + j] = sum;
            }
        }
    }

    /// The block of the first column of a row.
    pub(super) fn row_of_blocks(&self, row: usize) -> usize {
        row / self.row_blocks.size * self.column_blocks.count()
    }

    /// Between which middles of blocks a row lies: above the first one (0) to below the last one.
    pub(super) fn stretch(&self, row: usize) -> usize {
        self.stretches[row]
    }

    /// A correction, or a change of it, given block by block, in the rows of a stretch.
    #[inline(always)]
    pub(super) fn interpolate<T: Number, const L: usize>(
        &self,
        blocks: &[[f64; L]],
        stretch: usize,
        straight: &mut Straight<T, L>,
    ) {
        let (rows, columns) = (self.row_blocks.count(), self.column_blocks.count());
        let (above, below) = (stretch.saturating_sub(1), stretch.min(rows - 1));
        let [first, last] = [above, below].map(|row| &blocks[row * columns..][..columns]);
        let center = self.row_blocks.center(above);
        let per_line = 1.0 / (self.row_blocks.center(below) - center);
        // Beyond the outermost middles the correction falls off towards the columns' ends.
        let end = if stretch == 0 {
            Some((&self.ends[0], 1.0))
        } else if stretch == rows {
            Some((&self.ends[1], -1.0))
        } else {
            None
        };
        for (left, (span, first_step, step)) in self.spans.iter().enumerate() {
            let right = (left + 1).min(columns - 1);
            // From one column to the next the straight line goes on by the same step.
            let along = |row: &[[f64; L]]| {
                let all = difference(row[right], row[left]);
                (sum_of(row[left], scaled(*first_step, all)), scaled(*step, all))
            };
            let ((mut value, step), (to, to_step)) = (along(first), along(last));
            let mut slope_now = scaled(per_line, difference(to, value));
            let slope_step = scaled(per_line, difference(to_step, step));
            let lines = straight.base[span.clone()].iter_mut().zip(&mut straight.slope[span.clone()]);
            match end {
                Some((ends, sign)) => {
                    for ((base, slope), end) in lines.zip(&ends[span.clone()]) {
                        let now = scaled(sign * end, value);
                        (*slope, *base) = (converted(now), converted(difference(value, scaled(center, now))));
                        value = sum_of(value, step);
                    }
                }
                None => {
                    for (base, slope) in lines {
                        *slope = converted(slope_now);
                        *base = converted(difference(value, scaled(center, slope_now)));
                        value = sum_of(value, step);
                        slope_now = sum_of(slope_now, slope_step);
                    }
                }
            }
        }
    }
}

#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2"))]
fn correct<const L: usize>(coarse: &Coarse, state: &mut Corrections<L>, differences: bool) {
    coarse.find(state, differences);
}
