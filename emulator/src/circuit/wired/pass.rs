//! One pass over the array: substitutes the columns back, solves the rows, and eliminates the columns for the next pass,
//! which goes the other way.
//!
//! One vector runs on the rows of a panel side by side, several vectors beside one another. Each value's arithmetic is the
//! same in both, and on any target: nothing is fused, and no sum depends on the width.

use core::array;
use core::ops::Range;

use super::PANEL;
use super::coarse::{Coarse, Corrections};
use super::nonlinear::Devices;
use super::sweep::{Fields, Sweeper};

/// From columns at 0 V.
pub(super) const FIRST: u8 = 0;
/// From what the last pass has eliminated.
pub(super) const PLAIN: u8 = 1;
/// The same, with the correction by the coarse array.
pub(super) const CORRECTED: u8 = 2;
/// From column voltages that were kept before the devices were linearised anew.
pub(super) const RESUMED: u8 = 3;
/// Rows whose carries fit the registers when several vectors are side by side.
const SOME: usize = 4;

/// The pass for `L` vectors of left voltages (`[row][vector]`, V). Where there is a coarse array, the sums that it needs
/// are left behind.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2"))]
pub(super) fn pass<const L: usize, const UP: bool, const KIND: u8>(
    sweeper: &Sweeper,
    fields: &mut Fields<L>,
    left_volts: &[[f64; L]],
    coarse: Option<(&Coarse, &mut Corrections<L>)>,
) {
    Pass::<L, UP, KIND, false>::new(sweeper, fields, left_volts, coarse, None).run();
}

/// The pass for one vector and devices that aren't linear.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2"))]
pub(super) fn nonlinear_pass<const UP: bool, const KIND: u8>(
    sweeper: &Sweeper,
    fields: &mut Fields<1>,
    left_volts: &[[f64; 1]],
    coarse: Option<(&Coarse, &mut Corrections<1>)>,
    devices: &mut Devices,
) {
    Pass::<1, UP, KIND, true>::new(sweeper, fields, left_volts, coarse, Some(devices)).run();
}

struct Pass<'a, const L: usize, const UP: bool, const KIND: u8, const NONLINEAR: bool> {
    sweeper: &'a Sweeper,
    fields: &'a mut Fields<L>,
    left_volts: &'a [[f64; L]],
    coarse: Option<(&'a Coarse, &'a mut Corrections<L>)>,
    devices: Option<&'a mut Devices>,
    stretch: usize,
    inverse_before: &'a [f64],
    inverse_after: &'a [f64],
}

impl<'a, const L: usize, const UP: bool, const KIND: u8, const NONLINEAR: bool>
    Pass<'a, L, UP, KIND, NONLINEAR>
{
    #[inline(always)]
    fn new(
        sweeper: &'a Sweeper,
        fields: &'a mut Fields<L>,
        left_volts: &'a [[f64; L]],
        coarse: Option<(&'a Coarse, &'a mut Corrections<L>)>,
        devices: Option<&'a mut Devices>,
    ) -> Self {
        let (inverse_before, inverse_after) =
            if UP { (&sweeper.downwards, &sweeper.upwards) } else { (&sweeper.upwards, &sweeper.downwards) };
        Self {
            sweeper,
            fields,
            left_volts,
            coarse,
            devices,
            stretch: usize::MAX,
            inverse_before,
            inverse_after,
        }
    }

    #[inline(always)]
    fn run(mut self) {
        let (rows, columns) = (self.sweeper.rows, self.sweeper.columns);
        // A pass upwards reads what was eliminated from the top: its last source is the bottom one; and the reverse.
        let near = if UP { &self.sweeper.bottom } else { &self.sweeper.top };
        for (j, near) in near.iter().enumerate() {
            self.fields.volts[j] = [*near; L];
            self.fields.carried[j] = [*near; L];
        }
        if UP {
            let last = (rows - 1) * columns;
            for j in 0..columns {
                for l in 0..L {
                    self.fields.outputs[j][l] = self.inverse_before[last + j]
                        * (self.fields.cells[last + j][l] + self.fields.volts[j][l]);
                }
            }
            self.correct_outputs();
        }
        if L == 1 {
            let panels = rows.div_ceil(PANEL);
            for step in 0..panels {
                self.panel(if UP { panels - 1 - step } else { step });
            }
        } else {
            let mut done = 0;
            while done < rows {
                // Rows from the top that a step upwards ends with.
                let left = rows - done;
                let whole = if UP { left % SOME == 0 } else { left >= SOME };
                let first = if !UP {
                    done
                } else if whole {
                    left - SOME
                } else {
                    left - 1
                };
                if whole && self.one_stretch(first) {
                    self.some_rows::<SOME>(first);
                    done += SOME;
                } else if whole {
                    for k in 0..SOME {
                        self.some_rows::<1>(first + if UP { SOME - 1 - k } else { k });
                    }
                    done += SOME;
                } else {
                    self.some_rows::<1>(first);
                    done += 1;
                }
            }
        }
        if !UP {
            self.fields.outputs.copy_from_slice(&self.fields.volts);
            self.correct_outputs();
        }
    }

    #[inline(always)]
    fn one_stretch(&self, first: usize) -> bool {
        KIND != CORRECTED
            || self
                .coarse
                .as_ref()
                .is_some_and(|(coarse, _)| coarse.stretch(first) == coarse.stretch(first + SOME - 1))
    }

    /// Makes the correction ready for a row.
    #[inline(always)]
    fn interpolate(&mut self, row: usize) {
        if KIND == CORRECTED
            && let Some((coarse, corrections)) = &mut self.coarse
        {
            let stretch = coarse.stretch(row);
            if stretch != self.stretch {
                coarse.interpolate(corrections, stretch);
                self.stretch = stretch;
            }
        }
    }

    #[inline(always)]
    fn correct_outputs(&mut self) {
        let last = self.sweeper.rows - 1;
        self.interpolate(last);
        if KIND == CORRECTED
            && let Some((_, corrections)) = &self.coarse
        {
            for ((output, base), slope) in
                self.fields.outputs.iter_mut().zip(&corrections.base).zip(&corrections.slope)
            {
                for l in 0..L {
                    output[l] += base[l] + last as f64 * slope[l];
                }
            }
        }
    }

    /// A panel of rows side by side, one vector.
    #[inline(always)]
    fn panel(&mut self, panel: usize) {
        let (rows, columns) = (self.sweeper.rows, self.sweeper.columns);
        let start = panel * PANEL;
        let height = PANEL.min(rows - start);
        if height < PANEL || KIND == FIRST {
            self.fields.panel.fill([[0.0; L]; PANEL]);
        }
        for step in 0..height {
            if KIND == FIRST || KIND == RESUMED {
                break;
            }
            let k = if UP { height - 1 - step } else { step };
            self.interpolate(start + k);
            let row = (start + k) * columns;
            let inverse = &self.inverse_before[row..][..columns];
            let field = &self.fields.cells[row..][..columns];
            let volts = &mut self.fields.volts[..columns];
            let cells = &mut self.fields.panel[..columns];
            if KIND == CORRECTED
                && let Some((_, corrections)) = &self.coarse
            {
                let (base, slope) = (&corrections.base[..columns], &corrections.slope[..columns]);
                let at = (start + k) as f64;
                for j in 0..columns {
                    let now = inverse[j] * (field[j][0] + volts[j][0]);
                    volts[j][0] = now;
                    cells[j][k][0] = now + (base[j][0] + at * slope[j][0]);
                }
            } else {
                for j in 0..columns {
                    let now = inverse[j] * (field[j][0] + volts[j][0]);
                    volts[j][0] = now;
                    cells[j][k][0] = now;
                }
            }
        }
        let device = &self.sweeper.device[panel * columns..][..columns];
        let inverse = &self.sweeper.row[panel * columns..][..columns];
        let cells = &mut self.fields.panel[..columns];
        let mut panel_devices = match &mut self.devices {
            Some(devices) if NONLINEAR => {
                if KIND == RESUMED {
                    devices.restore(start, height, cells);
                }
                Some(devices.panel(panel, start, height, cells))
            }
            _ => None,
        };
        let (mut carry, mut after) = ([0.0; PANEL], [0.0; PANEL]);
        for k in 0..height {
            after[k] = self.sweeper.right[start + k];
            carry[k] = self.sweeper.left[start + k] * self.left_volts[start + k][0];
        }
        for j in 0..columns {
            let mut current = product(device[j], lane(&cells[j]));
            if NONLINEAR && let Some(devices) = &panel_devices {
                current = devices.row_currents(j, current);
            }
            let eliminated = sum_of(current, carry);
            cells[j] = eliminated.map(|value| [value; L]);
            carry = product(inverse[j], eliminated);
        }
        match &mut self.coarse {
            Some((coarse, corrections)) if KIND != PLAIN => {
                let count = coarse.column_block_count();
                for (block, range) in coarse.column_ranges().rev() {
                    let mut sum = [0.0; PANEL];
                    for j in range.rev() {
                        after = product(inverse[j], sum_of(lane(&cells[j]), after));
                        let mut current = product(device[j], after);
                        if NONLINEAR && let Some(devices) = &mut panel_devices {
                            current = devices.column_currents(j, after, current);
                        }
                        cells[j] = current.map(|value| [value; L]);
                        sum = sum_of(sum, current);
                    }
                    for k in 0..height {
                        corrections.row_sums[(start + k) * count + block] = [sum[k]; L];
                    }
                }
            }
            _ => {
                for j in (0..columns).rev() {
                    after = product(inverse[j], sum_of(lane(&cells[j]), after));
                    let mut current = product(device[j], after);
                    if NONLINEAR && let Some(devices) = &mut panel_devices {
                        current = devices.column_currents(j, after, current);
                    }
                    cells[j] = current.map(|value| [value; L]);
                }
            }
        }
        for step in 0..height {
            let k = if UP { height - 1 - step } else { step };
            let row = (start + k) * columns;
            let inverse = &self.inverse_after[row..][..columns];
            let field = &mut self.fields.cells[row..][..columns];
            let carried = &mut self.fields.carried[..columns];
            let cells = &self.fields.panel[..columns];
            for j in 0..columns {
                let eliminated = cells[j][k][0] + carried[j][0];
                field[j][0] = eliminated;
                carried[j][0] = inverse[j] * eliminated;
            }
        }
    }

    /// `K` rows of one panel and one stretch, several vectors side by side.
    #[inline(always)]
    fn some_rows<const K: usize>(&mut self, first: usize) {
        self.interpolate(first);
        let columns = self.sweeper.columns;
        let (panel, offset) = (first / PANEL, first % PANEL);
        let device = &self.sweeper.device[panel * columns..][..columns];
        let inverse = &self.sweeper.row[panel * columns..][..columns];
        let before: [&[f64]; K] =
            array::from_fn(|k| &self.inverse_before[(first + k) * columns..][..columns]);
        let behind: [&[f64]; K] = array::from_fn(|k| &self.inverse_after[(first + k) * columns..][..columns]);
        let volts = &mut self.fields.volts[..columns];
        let carried = &mut self.fields.carried[..columns];
        let cells = &mut self.fields.panel[..columns];
        let mut field = self.fields.cells[first * columns..][..K * columns].chunks_exact_mut(columns);
        let field: [&mut [[f64; L]]; K] = array::from_fn(|_| field.next().unwrap_or_default());
        let (mut carry, mut after) = ([[0.0; L]; K], [[0.0; L]; K]);
        let mut at = [0.0; K];
        for k in 0..K {
            at[k] = (first + k) as f64;
            after[k] = [self.sweeper.right[first + k]; L];
            for l in 0..L {
                carry[k][l] = self.sweeper.left[first + k] * self.left_volts[first + k][l];
            }
        }
        let (mut base, mut slope): (&[[f64; L]], &[[f64; L]]) = (&[], &[]);
        if KIND == CORRECTED
            && let Some((_, corrections)) = &self.coarse
        {
            (base, slope) = (&corrections.base[..columns], &corrections.slope[..columns]);
        }
        for j in 0..columns {
            let mut now = volts[j];
            for step in 0..K {
                let k = if UP { K - 1 - step } else { step };
                let mut column = [0.0; L];
                if KIND != FIRST {
                    now = scaled(before[k][j], sum_of(field[k][j], now));
                    column = now;
                }
                if KIND == CORRECTED {
                    column = sum_of(column, sum_of(base[j], scaled(at[k], slope[j])));
                }
                let eliminated = sum_of(scaled(device[j][(offset + k) % PANEL], column), carry[k]);
                cells[j][k] = eliminated;
                carry[k] = scaled(inverse[j][(offset + k) % PANEL], eliminated);
            }
            volts[j] = now;
        }
        let mut back = Back { device, inverse, behind, cells, carried, field, after, offset };
        match &mut self.coarse {
            Some((coarse, corrections)) if KIND != PLAIN => {
                let count = coarse.column_block_count();
                for (block, range) in coarse.column_ranges().rev() {
                    let sum = back.run::<UP>(range);
                    for k in 0..K {
                        corrections.row_sums[(first + k) * count + block] = sum[k];
                    }
                }
            }
            _ => {
                back.run::<UP>(0..columns);
            }
        }
    }
}

/// The way back along `K` rows: their substitution, and the elimination of the columns.
struct Back<'a, const L: usize, const K: usize> {
    device: &'a [[f64; PANEL]],
    inverse: &'a [[f64; PANEL]],
    behind: [&'a [f64]; K],
    cells: &'a [[[f64; L]; PANEL]],
    carried: &'a mut [[f64; L]],
    field: [&'a mut [[f64; L]]; K],
    after: [[f64; L]; K],
    offset: usize,
}

impl<const L: usize, const K: usize> Back<'_, L, K> {
    /// Through some columns; the sums of the currents into them.
    #[inline(always)]
    fn run<const UP: bool>(&mut self, columns: Range<usize>) -> [[f64; L]; K] {
        let mut sum = [[0.0; L]; K];
        let mut after = self.after;
        for j in columns.rev() {
            let mut onwards = self.carried[j];
            for step in 0..K {
                let k = if UP { K - 1 - step } else { step };
                let inverse = self.inverse[j][(self.offset + k) % PANEL];
                let device = self.device[j][(self.offset + k) % PANEL];
                after[k] = scaled(inverse, sum_of(self.cells[j][k], after[k]));
                let current = scaled(device, after[k]);
                sum[k] = sum_of(sum[k], current);
                let eliminated = sum_of(current, onwards);
                self.field[k][j] = eliminated;
                onwards = scaled(self.behind[k][j], eliminated);
            }
            self.carried[j] = onwards;
        }
        self.after = after;
        sum
    }
}

#[inline(always)]
fn scaled<const L: usize>(factor: f64, values: [f64; L]) -> [f64; L] {
    values.map(|value| factor * value)
}

#[inline(always)]
fn sum_of<const L: usize>(a: [f64; L], b: [f64; L]) -> [f64; L] {
    array::from_fn(|l| a[l] + b[l])
}

#[inline(always)]
fn product<const L: usize>(a: [f64; L], b: [f64; L]) -> [f64; L] {
    array::from_fn(|l| a[l] * b[l])
}

/// The first of the vectors side by side.
#[inline(always)]
fn lane<const L: usize>(cells: &[[f64; L]; PANEL]) -> [f64; PANEL] {
    array::from_fn(|k| cells[k][0])
}
