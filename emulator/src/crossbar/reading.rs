//! What comes out of the columns.

use alloc::vec;
use alloc::vec::Vec;

use super::{CircuitError, Crossbar, Line, Lines, Recent, TOLERANCE};
use crate::circuit::{CurrentLaw, Wires, check_length};
use crate::effective::Effective;
use crate::fluctuation::Fluctuations;

/// Standard deviation of each column's current (A) when every cell's conductance deviates by the relative
/// `deviations` and carries `cell_currents` (A).
pub(super) fn column_noise(deviations: &[f64], cell_currents: &[f64], columns: usize) -> Vec<f64> {
    let mut variance = vec![0.0; columns];
    for (deviations, currents) in deviations.chunks_exact(columns).zip(cell_currents.chunks_exact(columns)) {
        for ((variance, deviation), current) in variance.iter_mut().zip(deviations).zip(currents) {
            let noise = deviation * current;
            *variance += noise * noise;
        }
    }
    variance.into_iter().map(libm::sqrt).collect()
}

impl Crossbar {
    /// Current (A) out of each column into its line's source, 0 for a floating one, with the devices' noise of this
    /// instant. One call is one sampling instant.
    ///
    /// The white noise of cell (i, j), a relative standard deviation σ_ij of its conductance (see
    /// [`ReadNoise`](crate::profile::ReadNoise)), is drawn for all cells of a column at once: the sum of independent
    /// normal numbers is one normal number with standard deviation sqrt(Σ_i (σ_ij·I_ij)²). 1/f and telegraph noise are
    /// each cell's own. All of them are small: they change the cells' currents, but not the voltages of the lines.
    ///
    /// # Errors
    /// Lines or `currents` that don't fit the array, or a network without solution.
    pub fn sample(
        &mut self,
        lines: &Lines<'_>,
        at_ns: u64,
        currents: &mut [f64],
    ) -> Result<(), CircuitError> {
        self.check(lines)?;
        let Some((rows, columns)) = self.seen(lines) else { return self.sample_seen(lines, at_ns, currents) };
        self.sample_seen(&Lines { rows: &rows, columns: &columns }, at_ns, currents)?;
        self.divide(lines, currents);
        Ok(())
    }

    /// What the neighbours of shorted columns share.
    fn divide(&self, lines: &Lines<'_>, currents: &mut [f64]) {
        if let Some(defects) = &self.profile.lines {
            defects.divide(lines.columns, currents);
        }
    }

    fn sample_seen(
        &mut self,
        lines: &Lines<'_>,
        at_ns: u64,
        currents: &mut [f64],
    ) -> Result<(), CircuitError> {
        self.age(at_ns);
        self.currents_seen(lines, currents)?;
        let noise = self.profile.read_noise;
        if noise.relative == 0.0 && self.fluctuations.is_none() {
            return Ok(());
        }
        self.note_noise();
        let through_matrix = self.effective.as_ref().map(|effective| {
            let cell_currents = effective.cell_currents(lines);
            let noise = column_noise(&self.deviations, &cell_currents, self.columns);
            let heard = Fluctuations::heard(&cell_currents, &self.levels, self.columns);
            (cell_currents, noise, heard)
        });
        let (cell_currents, deviations, heard) = match (&through_matrix, &mut self.solution) {
            (Some((cell_currents, noise, heard)), _) => (cell_currents, noise, heard),
            (None, Some(solution)) => {
                if solution.noise.is_empty() {
                    let cell_currents = &solution.cell_currents;
                    solution.noise = column_noise(&self.deviations, cell_currents, self.columns);
                    solution.heard = Fluctuations::heard(cell_currents, &self.levels, self.columns);
                }
                (&solution.cell_currents, &solution.noise, &solution.heard)
            }
            (None, None) => return Ok(()),
        };
        if noise.relative > 0.0 {
            for ((current, deviation), line) in currents.iter_mut().zip(deviations).zip(lines.columns) {
                if *line != Line::Floating {
                    *current += deviation * self.reading.normal();
                }
            }
        }
        if let Some(fluctuations) = &mut self.fluctuations {
            fluctuations.advance(at_ns, heard);
            let before = currents.to_vec();
            fluctuations.add(cell_currents, &self.levels, currents);
            for ((current, before), line) in currents.iter_mut().zip(before).zip(lines.columns) {
                if *line == Line::Floating {
                    *current = before;
                }
            }
        }
        Ok(())
    }

    /// Works out how much each cell is noisy, where that isn't known: a pulse moves few cells of a large array, and powers
    /// are slow.
    fn note_noise(&mut self) {
        if core::mem::replace(&mut self.is_noted, true) {
            return;
        }
        let cells = self.conductance.len();
        self.noted.resize(cells, f64::NAN);
        self.deviations.resize(cells, 0.0);
        self.levels.resize(cells, 0.0);
        let (noise, maximum_s) = (self.profile.read_noise, self.profile.conductance.maximum_s);
        for (((&g, noted), deviation), level) in
            self.conductance.iter().zip(&mut self.noted).zip(&mut self.deviations).zip(&mut self.levels)
        {
            if *noted != g {
                *noted = g;
                *deviation = noise.deviation(g, maximum_s);
                *level = self.fluctuations.as_ref().map_or(0.0, |all| all.level(g, maximum_s));
            }
        }
    }

    /// The same without noise, and without consuming randomness.
    ///
    /// # Errors
    /// Lines or `currents` that don't fit the array, or a network without solution.
    pub fn currents(&mut self, lines: &Lines<'_>, currents: &mut [f64]) -> Result<(), CircuitError> {
        self.check(lines)?;
        let Some((rows, columns)) = self.seen(lines) else { return self.currents_seen(lines, currents) };
        self.currents_seen(&Lines { rows: &rows, columns: &columns }, currents)?;
        self.divide(lines, currents);
        Ok(())
    }

    fn currents_seen(&mut self, lines: &Lines<'_>, currents: &mut [f64]) -> Result<(), CircuitError> {
        check_length("column currents", currents.len(), self.columns)?;
        if self.is_reused(lines) {
            if self.effective.is_none()
                && let Wires::Resistive { row, column } = &self.wires()
            {
                self.effective = Some(Effective::new(&self.conductance, row, column, lines, TOLERANCE)?);
            }
            if let Some(effective) = &self.effective {
                effective.currents(lines, currents);
            }
            return Ok(());
        }
        self.solve(lines)?;
        if let Some(solution) = &self.solution {
            currents.copy_from_slice(&solution.currents);
        }
        Ok(())
    }

    /// Notes what is asked, and says whether an effective matrix pays: it costs about as many solutions as there are
    /// rows, so it does once so many have been asked for. With ideal wires it never does.
    fn is_reused(&mut self, lines: &Lines<'_>) -> bool {
        let same = |a: &Line, b: &Line| match (a, b) {
            (Line::Driven { ohms: a, .. }, Line::Driven { ohms: b, .. }) => a == b,
            _ => a == b,
        };
        let changes = match &mut self.recent {
            Some(recent) if recent.rows == lines.rows && recent.columns == lines.columns => recent.changes,
            Some(recent)
                if recent.columns == lines.columns
                    && recent.rows.iter().zip(lines.rows).all(|(a, b)| same(a, b)) =>
            {
                recent.rows.copy_from_slice(lines.rows);
                recent.changes += 1;
                recent.changes
            }
            _ => {
                let (rows, columns) = (lines.rows.to_vec(), lines.columns.to_vec());
                self.recent = Some(Recent { rows, columns, changes: 0 });
                self.effective = None;
                0
            }
        };
        changes >= self.rows
            && self.profile.lines.is_none()
            && self.profile.current == CurrentLaw::Linear
            && self.profile.wires.row_segment_ohm > 0.0
            && lines.rows.iter().chain(lines.columns).all(|line| *line != Line::Floating)
    }
}
