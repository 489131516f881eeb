//! One pass over the array: substitutes the columns back, solves the rows, and eliminates the columns for the next pass,
//! which goes the other way.
//!
//! One vector, on the rows of a panel side by side; several ones run beside one another in `batch`. The arithmetic is the same
//! on any target: nothing is fused, and no sum depends on the width.

use core::ops::Range;

use super::PANEL;
use super::batch::STRIP;
use super::coarse::{Coarse, Corrections};
use super::lanes::{product, sum_of};
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

/// The pass for left voltages `[row]` (V). Where there is a coarse array, the sums that it needs are left behind.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2"))]
pub(super) fn pass<const UP: bool, const KIND: u8>(
    sweeper: &Sweeper,
    fields: &mut Fields,
    left_volts: &[[f64; 1]],
    coarse: Option<(&Coarse, &mut Corrections<1>)>,
) {
    Pass::<UP, KIND, false>::new(sweeper, fields, left_volts, coarse, None).run();
}

/// The pass for one vector and devices that aren't linear.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2"))]
pub(super) fn nonlinear_pass<const UP: bool, const KIND: u8>(
    sweeper: &Sweeper,
    fields: &mut Fields,
    left_volts: &[[f64; 1]],
    coarse: Option<(&Coarse, &mut Corrections<1>)>,
    devices: &mut Devices,
) {
    Pass::<UP, KIND, true>::new(sweeper, fields, left_volts, coarse, Some(devices)).run();
}

/// Columns of a panel that stay in the fastest cache while its rows are turned into lanes and back.
const CHUNK: usize = 128;

struct Pass<'a, const UP: bool, const KIND: u8, const NONLINEAR: bool> {
    sweeper: &'a Sweeper,
    fields: &'a mut Fields,
    left_volts: &'a [[f64; 1]],
    coarse: Option<(&'a Coarse, &'a mut Corrections<1>)>,
    devices: Option<&'a mut Devices>,
    stretch: usize,
    inverse_before: &'a [f64],
    inverse_after: &'a [f64],
}

impl<'a, const UP: bool, const KIND: u8, const NONLINEAR: bool> Pass<'a, UP, KIND, NONLINEAR> {
    #[inline(always)]
    fn new(
        sweeper: &'a Sweeper,
        fields: &'a mut Fields,
        left_volts: &'a [[f64; 1]],
        coarse: Option<(&'a Coarse, &'a mut Corrections<1>)>,
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
        let rows = self.sweeper.rows;
        // A pass upwards reads what was eliminated from the top: its last source is the bottom one; and the reverse.
        let near = if UP { &self.sweeper.bottom } else { &self.sweeper.top };
        for (j, near) in near.iter().enumerate() {
            self.fields.volts[j] = [*near; 1];
            self.fields.carried[j] = [*near; 1];
        }
        let panels = rows.div_ceil(PANEL);
        for step in 0..panels {
            self.panel(if UP { panels - 1 - step } else { step });
        }
    }

    /// Makes the correction ready for a row.
    #[inline(always)]
    fn interpolate(&mut self, row: usize) {
        if KIND == CORRECTED
            && let Some((coarse, corrections)) = &mut self.coarse
        {
            let stretch = coarse.stretch(row);
            if stretch != self.stretch {
                coarse.interpolate(&corrections.correction, stretch, &mut self.fields.straight);
                self.stretch = stretch;
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
            self.fields.panel.fill([0.0; PANEL]);
        }
        match KIND {
            PLAIN => self.substitute_columns(start, 0..height),
            CORRECTED => {
                for strip in 0..PANEL / STRIP {
                    let first = STRIP * if UP { PANEL / STRIP - 1 - strip } else { strip };
                    self.substitute_columns(start, first..height.min(first + STRIP));
                }
            }
            _ => {}
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
            let mut current = product(device[j], cells[j]);
            if NONLINEAR && let Some(devices) = &panel_devices {
                current = devices.row_currents(j, current);
            }
            let eliminated = sum_of(current, carry);
            cells[j] = eliminated;
            carry = product(inverse[j], eliminated);
        }
        match &mut self.coarse {
            Some((coarse, corrections)) if KIND != PLAIN => {
                let count = coarse.column_block_count();
                for (block, range) in coarse.column_ranges().rev() {
                    let mut sum = [0.0; PANEL];
                    for j in range.rev() {
                        after = product(inverse[j], sum_of(cells[j], after));
                        let mut current = product(device[j], after);
                        if NONLINEAR && let Some(devices) = &mut panel_devices {
                            current = devices.column_currents(j, after, current);
                        }
                        cells[j] = current;
                        sum = sum_of(sum, current);
                    }
                    for k in 0..height {
                        corrections.row_sums[(start + k) * count + block] = [sum[k]; 1];
                    }
                }
            }
            _ => {
                for j in (0..columns).rev() {
                    after = product(inverse[j], sum_of(cells[j], after));
                    let mut current = product(device[j], after);
                    if NONLINEAR && let Some(devices) = &mut panel_devices {
                        current = devices.column_currents(j, after, current);
                    }
                    cells[j] = current;
                }
            }
        }
        for at in (0..columns).step_by(CHUNK) {
            let width = CHUNK.min(columns - at);
            for step in 0..height {
                let k = if UP { height - 1 - step } else { step };
                let row = (start + k) * columns + at;
                let inverse = &self.inverse_after[row..][..width];
                let field = &mut self.fields.cells[row..][..width];
                let carried = &mut self.fields.carried[at..][..width];
                let cells = &self.fields.panel[at..][..width];
                for j in 0..width {
                    let eliminated = cells[j][k] + carried[j][0];
                    field[j][0] = eliminated;
                    carried[j][0] = inverse[j] * eliminated;
                }
            }
        }
    }

    /// Substitutes the columns back into some rows of a panel, which lie in one stretch if there is a coarse array.
    #[inline(always)]
    fn substitute_columns(&mut self, start: usize, rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        let columns = self.sweeper.columns;
        self.interpolate(start + rows.start);
        for at in (0..columns).step_by(CHUNK) {
            let width = CHUNK.min(columns - at);
            for step in 0..rows.len() {
                let k = if UP { rows.end - 1 - step } else { rows.start + step };
                let row = (start + k) * columns + at;
                let inverse = &self.inverse_before[row..][..width];
                let field = &self.fields.cells[row..][..width];
                let volts = &mut self.fields.volts[at..][..width];
                let cells = &mut self.fields.panel[at..][..width];
                if KIND == CORRECTED {
                    let straight = &self.fields.straight;
                    let (base, slope) = (&straight.base[at..][..width], &straight.slope[at..][..width]);
                    let line = (start + k) as f64;
                    for j in 0..width {
                        let now = inverse[j] * (field[j][0] + volts[j][0]);
                        volts[j][0] = now;
                        cells[j][k] = now + (base[j][0] + line * slope[j][0]);
                    }
                } else {
                    for j in 0..width {
                        let now = inverse[j] * (field[j][0] + volts[j][0]);
                        volts[j][0] = now;
                        cells[j][k] = now;
                    }
                }
            }
        }
    }
}
