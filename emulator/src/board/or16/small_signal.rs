//! What small changes of the row voltages do to the columns' currents, and what the array looks like to an amplifier:
//! from the devices' conductances and the rows' series resistances, wires and columns taken as ideal. Good enough for
//! the gain of noise and for the amplifiers' speed, and far cheaper than the circuit.

use alloc::vec::Vec;

use super::wiring::Wiring;
use crate::crossbar::{Crossbar, Line};

/// For one wiring and one state of the devices.
#[derive(Debug, Default)]
pub(super) struct SmallSignal {
    /// Row-major: current out of a column per volt at a row's driver, S.
    transfer: Vec<f64>,
    /// Per column: conductance that it shows its amplifier, S.
    load: Vec<f64>,
    columns: usize,
    /// Conductances of one row, S.
    row: Vec<f64>,
}

impl SmallSignal {
    /// Works it out anew.
    pub(super) fn update(&mut self, crossbar: &Crossbar, wiring: &Wiring) {
        self.columns = crossbar.columns();
        self.transfer.clear();
        self.load.clear();
        self.load.resize(self.columns, 0.0);
        let lines = wiring.lines();
        let mut cells = crossbar.truth();
        for line in lines.rows {
            self.row.clear();
            self.row.extend(lines.columns.iter().zip(cells.by_ref()).map(|(column, cell)| match column {
                Line::Driven { .. } => cell.conductance_s,
                Line::Floating => 0.0,
            }));
            let source_s = match *line {
                Line::Driven { ohms, .. } => 1.0 / ohms,
                Line::Floating => 0.0,
            };
            let total_s = source_s + self.row.iter().sum::<f64>();
            if total_s == 0.0 {
                self.transfer.extend(&self.row);
                continue;
            }
            let share = source_s / total_s;
            for (conductance, load) in self.row.iter().zip(&mut self.load) {
                self.transfer.push(conductance * share);
                *load += conductance * (total_s - conductance) / total_s;
            }
        }
    }

    /// Conductance that `column` shows its amplifier, S.
    pub(super) fn load_s(&self, column: usize) -> f64 {
        self.load[column]
    }

    /// Adds what `volts` at the rows' drivers do to the columns' currents (A).
    pub(super) fn add_currents(&self, volts: &[f64], currents: &mut [f64]) {
        for (row, volts) in self.transfer.chunks_exact(self.columns).zip(volts) {
            for (current, transfer) in currents.iter_mut().zip(row) {
                *current += transfer * volts;
            }
        }
    }
}
