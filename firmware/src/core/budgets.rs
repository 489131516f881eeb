//! What every cell of the plugged array has been through, as far as the electronics can tell: counted before a pulse's
//! edge, never less than what happens.
//!
//! Voltages are the worst that tolerance allows, energies the worst that the current limit allows, until a sample says
//! less. In flash they lie in blocks: of 32 cells row by row, then of 80 lines (rows, columns, and one number for all
//! cells that share neither with a selected one).

use super::limits::{other_cells, worst_volts};
use super::reservation::Reservations;
use crate::front_end::Description;
use crate::store::BLOCK_BYTES;
use ohmrig_protocol::message::{CellBudget, LimitName, Limits, Refusal, Region, Scheme};
use ohmrig_protocol::units::{Amperes, Volts};

/// Cells of a block.
const BLOCK_CELLS: usize = 32;
/// Lines of a block.
const BLOCK_LINES: usize = 80;
/// In front of them: the array's number and the epoch the block was written in.
const BLOCK_HEAD: usize = 6;
/// Bytes of a cell in a block.
const CELL_BYTES: usize = 20;
const _: () = assert!(BLOCK_BYTES == BLOCK_HEAD + BLOCK_CELLS * CELL_BYTES);
const _: () = assert!(BLOCK_CELLS * CELL_BYTES == BLOCK_LINES * 8);

/// Blocks for an array of this many lines.
pub(super) const fn blocks(rows: u16, columns: u16) -> u32 {
    let (rows, columns) = (rows as u32, columns as u32);
    (rows * columns).div_ceil(BLOCK_CELLS as u32) + (rows + columns + 1).div_ceil(BLOCK_LINES as u32)
}

/// Bytes of flash for everything that survives power loss, with the budgets of `arrays` arrays of this size.
#[must_use]
pub const fn flash_bytes(rows: u16, columns: u16, arrays: u32) -> u32 {
    crate::store::flash_bytes(blocks(rows, columns), arrays)
}

/// What one cell has got while it was selected. Kept in 20 bytes, for there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellCount {
    pulses: u32,
    dose: [u32; 2],
    energy: [u32; 2],
}

impl CellCount {
    /// Nothing yet.
    pub const NONE: Self = Self { pulses: 0, dose: [0; 2], energy: [0; 2] };

    fn add(&mut self, exposure: &Exposure) {
        self.pulses = self.pulses.saturating_add(exposure.pulses);
        self.dose = split(join(self.dose).saturating_add(exposure.dose));
        self.energy = split(join(self.energy).saturating_add(exposure.energy));
    }
}

const fn join([low, high]: [u32; 2]) -> u64 {
    low as u64 | (high as u64) << 32
}

#[allow(clippy::cast_possible_truncation)] // Halves.
const fn split(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// What some pulses do, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exposure {
    pub(super) pulses: u32,
    /// To the selected cell, V·ns.
    pub(super) dose: u64,
    /// To the selected cell, fJ.
    pub(super) energy: u64,
    /// To each other cell of its row, V·ns; of its column; and to each of the rest.
    pub(super) row: u64,
    pub(super) column: u64,
    pub(super) rest: u64,
}

impl Exposure {
    /// One pulse, at the worst voltage that tolerance allows and at this current.
    pub(super) fn of(volts: Volts, width_ns: u32, scheme: Scheme, current: Amperes) -> Self {
        let dose = |volts: f32| dose(worst_volts(volts), width_ns);
        let other = dose(other_cells(volts.0, scheme));
        let (column, rest) = match scheme {
            Scheme::Half | Scheme::SymmetricHalf => (other, 0),
            Scheme::Third | Scheme::Floating => (other, other),
            Scheme::Grounded => (0, 0),
        };
        Self {
            pulses: 1,
            dose: dose(volts.0),
            energy: energy(worst_volts(volts.0), current, width_ns),
            row: other,
            column,
            rest,
        }
    }

    fn numbers(&self) -> [u64; 6] {
        let Self { pulses, dose, energy, row, column, rest } = *self;
        [pulses.into(), dose, energy, row, column, rest]
    }

    #[inline(never)]
    fn map(&self, others: [u64; 6], number: fn(u64, u64) -> u64) -> Self {
        let mut numbers = self.numbers();
        for (own, other) in numbers.iter_mut().zip(others) {
            *own = number(*own, other);
        }
        let [pulses, dose, energy, row, column, rest] = numbers;
        let pulses = u32::try_from(pulses).unwrap_or(u32::MAX);
        Self { pulses, dose, energy, row, column, rest }
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        self.map(other.numbers(), u64::saturating_add)
    }

    pub(super) fn times(&self, count: u32) -> Self {
        self.map([count.into(); 6], u64::saturating_mul)
    }

    /// Whether all of it is within `other`.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.numbers().iter().zip(other.numbers()).all(|(&own, other)| own <= other)
    }
}

/// A non-negative number in steps of 1/`scale`, rounded up; what is no number is as much as can be.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Saturates, as it should.
#[inline(never)]
fn steps_up(value: f32, scale: f32) -> u64 {
    if value.is_nan() { u64::MAX } else { libm::ceilf(value * scale) as u64 }
}

/// `one` times `other`, as far as that can be told, in whole `parts`, rounded up.
#[inline(never)] // 64 bits wide.
fn share(one: u64, other: u64, parts: u64) -> u64 {
    one.saturating_mul(other).div_ceil(parts)
}

/// V·ns, rounded up.
fn dose(volts: f32, width_ns: u32) -> u64 {
    share(steps_up(volts, 1e6), width_ns.into(), 1_000_000)
}

/// fJ, rounded up: µV times nA in whole nW, times ns.
fn energy(volts: f32, current: Amperes, width_ns: u32) -> u64 {
    let nanowatts = share(steps_up(volts, 1e6), steps_up(current.0, 1e9), 1_000_000);
    share(nanowatts, width_ns.into(), 1_000)
}

/// The energy of a pulse sampled at `samples_ns` behind its edge and before, fJ: up to there at the largest current
/// sampled, from there on at the limit.
pub(super) fn sampled_energy(
    volts: Volts,
    width_ns: u32,
    peak: Amperes,
    samples_ns: u32,
    limit: Amperes,
) -> u64 {
    let volts = worst_volts(volts.0);
    let sampled_ns = samples_ns.min(width_ns);
    energy(volts, peak, sampled_ns).saturating_add(energy(volts, limit, width_ns - sampled_ns))
}

/// A limit in the steps of its budget.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Saturates.
fn steps(limit: f32, scale: f32) -> u64 {
    (limit * scale) as u64
}

/// Counters of the plugged array, row by row, and of its lines: rows, columns, all.
#[derive(Debug)]
pub(super) struct Budgets<'b> {
    cells: &'b mut [CellCount],
    lines: &'b mut [u64],
}

impl<'b> Budgets<'b> {
    pub(super) fn new(cells: &'b mut [CellCount], lines: &'b mut [u64]) -> Self {
        Self { cells, lines }
    }

    pub(super) fn clear(&mut self) {
        self.cells.fill(CellCount::NONE);
        self.lines.fill(0);
    }

    fn cell(&mut self, row: u16, column: u16, board: &Description) -> Option<&mut CellCount> {
        self.cells.get_mut(usize::from(row) * usize::from(board.columns) + usize::from(column))
    }

    /// Whether a cell may get one more exposure.
    #[allow(clippy::cast_precision_loss)] // Numbers for the message only.
    pub(super) fn check(
        &mut self,
        (row, column): (u16, u16),
        exposure: &Exposure,
        limits: &Limits,
        board: &Description,
    ) -> Result<(), Refusal> {
        let outside = Refusal::OutsideArray { rows: board.rows, columns: board.columns };
        let mut after = *self.cell(row, column, board).ok_or(outside)?;
        after.add(exposure);
        let (dose, energy) = (join(after.dose), join(after.energy));
        let refused = |limit, asked, allowed| Err(Refusal::Limit { limit, asked, allowed });
        if after.pulses > limits.pulses_per_cell {
            let (asked, allowed) = (after.pulses as f32, limits.pulses_per_cell as f32);
            return refused(LimitName::PulsesPerCell, asked, allowed);
        }
        if dose > steps(limits.dose_per_cell.0, 1e9) {
            return refused(LimitName::DosePerCell, dose as f32 * 1e-9, limits.dose_per_cell.0);
        }
        if energy > steps(limits.energy_per_cell.0, 1e15) {
            return refused(LimitName::EnergyPerCell, energy as f32 * 1e-15, limits.energy_per_cell.0);
        }
        Ok(())
    }

    /// Counts an exposure that is about to happen, if [`check`](Self::check) allows it.
    pub(super) fn charge(
        &mut self,
        (row, column): (u16, u16),
        exposure: &Exposure,
        limits: &Limits,
        board: &Description,
    ) -> Result<(), Refusal> {
        self.check((row, column), exposure, limits, board)?;
        if let Some(cell) = self.cell(row, column, board) {
            cell.add(exposure);
        }
        let rows = usize::from(board.rows);
        let all = rows + usize::from(board.columns);
        let lines = [
            (usize::from(row), exposure.row),
            (rows + usize::from(column), exposure.column),
            (all, exposure.rest),
        ];
        for (line, dose) in lines {
            if let Some(line) = self.lines.get_mut(line) {
                *line = line.saturating_add(dose);
            }
        }
        Ok(())
    }

    /// Takes back energy (fJ) of a pulse that turned out to need less than was counted for it.
    pub(super) fn refund(&mut self, (row, column): (u16, u16), energy: u64, board: &Description) {
        if let Some(cell) = self.cell(row, column, board) {
            cell.energy = split(join(cell.energy).saturating_sub(energy));
        }
    }

    /// What a cell has been through.
    pub(super) fn of(&self, row: u16, column: u16, board: &Description) -> CellBudget {
        let index = usize::from(row) * usize::from(board.columns) + usize::from(column);
        let cell = self.cells.get(index).copied().unwrap_or(CellCount::NONE);
        let rows = usize::from(board.rows);
        let all = rows + usize::from(board.columns);
        let line = |line: usize| self.lines.get(line).copied().unwrap_or_default();
        let half_select = line(usize::from(row)).saturating_add(line(rows + usize::from(column)));
        CellBudget {
            pulses: cell.pulses,
            dose: join(cell.dose),
            energy: join(cell.energy),
            half_select: half_select.saturating_add(line(all)),
        }
    }

    /// Counts all that is reserved in `reservations` and not yet in a block written in `epoch`.
    pub(super) fn charge_block(
        &mut self,
        block: u32,
        epoch: u32,
        reservations: &Reservations,
        board: &Description,
    ) {
        if epoch >= reservations.epoch() {
            return;
        }
        let columns = usize::from(board.columns).max(1);
        let rows = usize::from(board.rows);
        for entry in reservations.entries() {
            let Region { row, column, rows: height, columns: width } = entry.region;
            match Part::of(block, board) {
                Part::Cells(first) => {
                    for (index, cell) in (first..).zip(self.cells.iter_mut().skip(first).take(BLOCK_CELLS)) {
                        if contains(&entry.region, index / columns, index % columns) {
                            cell.add(&entry.reserved);
                        }
                    }
                }
                Part::Lines(first) => {
                    for (index, line) in (first..).zip(self.lines.iter_mut().skip(first).take(BLOCK_LINES)) {
                        let reserved = entry.reserved;
                        let is_row = index < rows;
                        let dose = if is_row && spans(row, height, index) {
                            reserved.row.saturating_mul(width.into())
                        } else if !is_row && index < rows + columns && spans(column, width, index - rows) {
                            reserved.column.saturating_mul(height.into())
                        } else if index == rows + columns {
                            reserved.rest.saturating_mul(entry.region.cells().into())
                        } else {
                            0
                        };
                        *line = line.saturating_add(dose);
                    }
                }
            }
        }
    }

    /// Whether anything reserved is in this block.
    pub(super) fn concerns(block: u32, reservations: &Reservations, board: &Description) -> bool {
        let columns = usize::from(board.columns).max(1);
        match Part::of(block, board) {
            Part::Lines(_) => true,
            Part::Cells(first) => (first..first + BLOCK_CELLS).any(|index| {
                reservations.entries().iter().any(|e| contains(&e.region, index / columns, index % columns))
            }),
        }
    }

    /// A block's bytes.
    pub(super) fn block(&self, block: u32, array: u16, epoch: u32, board: &Description) -> [u8; BLOCK_BYTES] {
        let mut bytes = [0; BLOCK_BYTES];
        let mut put = bytes.iter_mut();
        let mut write = |value: &[u8]| put.by_ref().zip(value).for_each(|(to, from)| *to = *from);
        write(&array.to_le_bytes());
        write(&epoch.to_le_bytes());
        match Part::of(block, board) {
            Part::Cells(first) => {
                for cell in self.cells.iter().skip(first).take(BLOCK_CELLS) {
                    let [a, b] = cell.dose;
                    let [c, d] = cell.energy;
                    for word in [cell.pulses, a, b, c, d] {
                        write(&word.to_le_bytes());
                    }
                }
            }
            Part::Lines(first) => {
                for line in self.lines.iter().skip(first).take(BLOCK_LINES) {
                    write(&line.to_le_bytes());
                }
            }
        }
        bytes
    }

    /// Takes over a block's bytes, if they are of this array, and returns the epoch they were written in.
    pub(super) fn take_block(
        &mut self,
        block: u32,
        array: u16,
        bytes: &[u8],
        board: &Description,
    ) -> Option<u32> {
        let ([a0, a1, e0, e1, e2, e3], rest) = bytes.split_first_chunk::<BLOCK_HEAD>()?;
        if u16::from_le_bytes([*a0, *a1]) != array || bytes.len() != BLOCK_BYTES {
            return None;
        }
        match Part::of(block, board) {
            Part::Cells(first) => {
                let stored = rest.as_chunks::<CELL_BYTES>().0;
                for (cell, stored) in self.cells.iter_mut().skip(first).zip(stored) {
                    let mut words = stored.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
                    let mut word = || words.next().unwrap_or_default();
                    let pulses = word();
                    *cell = CellCount { pulses, dose: [word(), word()], energy: [word(), word()] };
                }
            }
            Part::Lines(first) => {
                let stored = rest.as_chunks::<8>().0;
                for (line, stored) in self.lines.iter_mut().skip(first).zip(stored) {
                    *line = u64::from_le_bytes(*stored);
                }
            }
        }
        Some(u32::from_le_bytes([*e0, *e1, *e2, *e3]))
    }
}

/// What a block holds, from which cell or line on.
enum Part {
    Cells(usize),
    Lines(usize),
}

impl Part {
    fn of(block: u32, board: &Description) -> Self {
        let cells = usize::from(board.rows) * usize::from(board.columns);
        let cell_blocks = cells.div_ceil(BLOCK_CELLS);
        match (block as usize).checked_sub(cell_blocks) {
            None => Self::Cells(block as usize * BLOCK_CELLS),
            Some(block) => Self::Lines(block * BLOCK_LINES),
        }
    }
}

fn spans(first: u16, length: u16, index: usize) -> bool {
    (usize::from(first)..usize::from(first) + usize::from(length)).contains(&index)
}

fn contains(region: &Region, row: usize, column: usize) -> bool {
    spans(region.row, region.rows, row) && spans(region.column, region.columns, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_CURRENT: Amperes = Amperes(0.0);

    #[test]
    fn a_dose_is_the_worst_voltage_times_the_width() {
        // 1 V + 20 mV + 0.5 % for 100 µs.
        let exposure = Exposure::of(Volts(-1.0), 100_000, Scheme::Half, NO_CURRENT);
        assert_eq!(exposure.dose, 102_500);
        // Half of it across the others of row and column: 0.5 V + 20 mV + 0.5 %.
        assert_eq!((exposure.row, exposure.column, exposure.rest), (52_250, 52_250, 0));
        // Two thirds at worst: 2 V + 20 mV + 0.5 %.
        let third = Exposure::of(Volts(3.0), 1_000, Scheme::Third, NO_CURRENT);
        assert_eq!((third.row, third.column, third.rest), (2030, 2030, 2030));
        let grounded = Exposure::of(Volts(1.0), 1_000, Scheme::Grounded, NO_CURRENT);
        assert_eq!((grounded.row, grounded.column, grounded.rest), (1025, 0, 0));
    }

    #[test]
    fn an_energy_is_volts_times_amperes_times_seconds() {
        // 1.025 V · 5 mA · 100 µs = 512.5 nJ.
        let exposure = Exposure::of(Volts(1.0), 100_000, Scheme::Half, Amperes(5e-3));
        assert_eq!(exposure.energy, 512_500_000);
        // A quarter of it at 1 mA, the rest at the limit: 25.625 + 384.375 nJ, and the roundings up.
        let sampled = sampled_energy(Volts(1.0), 100_000, Amperes(1e-3), 25_000, Amperes(5e-3));
        assert!((410_000_000..410_000_100).contains(&sampled), "{sampled}");
    }

    #[test]
    fn the_largest_exposure_does_not_overflow() {
        let exposure = Exposure::of(Volts(10.0), 1_000_000_000, Scheme::Floating, Amperes(0.1));
        // 10.07 V · 0.1 A · 1 s, to the rounding of f32.
        assert!((exposure.energy as f64 / 1.007e15 - 1.0).abs() < 1e-6);
        assert_eq!(Exposure::of(Volts(f32::NAN), 1, Scheme::Half, NO_CURRENT).dose, u64::MAX / 1_000_000 + 1);
        assert_eq!(exposure.times(u32::MAX).plus(&exposure.times(u32::MAX)).pulses, u32::MAX);
    }
}
