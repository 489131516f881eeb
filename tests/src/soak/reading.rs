//! Measurements against ground truth: every value within what profile and board allow.

use super::Totals;
use super::campaign::{Campaign, Failure, Result, worst_v};
use super::ledger::Expected;
use super::prediction::Expectation;
use ndarray::Array2;
use ohmrig::instrument::{InstrumentError, ProductSettings, ReadSettings};
use ohmrig_protocol::message::{ReadColumn, Region};
use ohmrig_protocol::units::Volts;

impl Campaign {
    /// The most sensitive range but one that is linear for all of `currents`, or none.
    pub(super) fn range(&mut self, currents: impl Iterator<Item = f64> + Clone) -> Option<u8> {
        let fits = |range: &u8| currents.clone().all(|current| self.prediction.is_linear(current, *range));
        (0..3u8).find(fits)
    }

    pub(super) fn conductance(&self) -> Vec<f64> {
        self.ledger.truth().iter().map(|cell| cell.conductance_s).collect()
    }

    /// After a read that failed.
    pub(super) fn read_failed(&mut self, error: InstrumentError, totals: &mut Totals) -> Result<()> {
        match self.failure(error, totals)? {
            Failure::Refused(refusal) => self.must_be_latched(&refusal),
            _ => Ok(()),
        }
    }

    pub(super) fn read(
        &mut self,
        region: Region,
        volts: f64,
        conversions: u16,
        totals: &mut Totals,
    ) -> Result<()> {
        let before = self.conductance();
        let rows = usize::from(region.row)..usize::from(region.row + region.rows);
        let columns = usize::from(region.column)..usize::from(region.column + region.columns);
        let applied = self.instrument.applied_volts(volts);
        let row = |campaign: &Self, cells: &[f64], row, range| {
            campaign.prediction.row(cells, row, applied, range, conversions)
        };
        let expected: Vec<Vec<Expectation>> = rows.clone().map(|i| row(self, &before, i, 0)).collect();
        let currents =
            expected.iter().flat_map(|cells| cells[columns.clone()].iter()).map(|cell| cell.value * applied);
        let Some(range) = self.range(currents) else { return Ok(()) };
        self.ledger.allow(worst_v(volts));
        let settings = ReadSettings { volts, range: Some(range), conversions };
        let map = match self.instrument.read_cells(region, &settings) {
            Ok(map) => map,
            Err(error) => return self.read_failed(error, totals),
        };
        self.settle(&Expected::new(), totals)?;
        let after = self.conductance();
        for (i, at) in rows.enumerate() {
            let (then, now) = (row(self, &before, at, range), row(self, &after, at, range));
            for (j, column) in columns.clone().enumerate() {
                totals.values += 1;
                let measured = map.conductance[[i, j]];
                if !Expectation::allows(then[column], now[column], measured) {
                    let truth = (before[at * then.len() + column], after[at * then.len() + column]);
                    return Err(format!(
                        "cell {at}, {column} reads {measured:e} S in range {range}; it is {truth:?} S, so that \
                         {:?} before and {:?} after were expected",
                        then[column], now[column]
                    ));
                }
            }
        }
        Ok(())
    }

    pub(super) fn reference(&mut self, row: u16, volts: f64, totals: &mut Totals) -> Result<()> {
        let settings = ReadSettings { volts, range: Some(1), conversions: 4 };
        let map = match self.instrument.read_reference(row, &settings) {
            Ok(map) => map,
            Err(error) => return self.read_failed(error, totals),
        };
        let expected = self.prediction.reference(self.instrument.applied_volts(volts), 1);
        for (column, &measured) in map.conductance.iter().enumerate() {
            totals.values += 1;
            if !Expectation::allows(expected, expected, measured) {
                return Err(format!(
                    "R_cal of column {column} reads {measured:e} S; {expected:?} was expected"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn products(
        &mut self,
        volts: &Array2<f64>,
        conversions: u16,
        totals: &mut Totals,
    ) -> Result<()> {
        let before = self.conductance();
        let columns = usize::from(self.instrument.device().columns);
        let applied: Vec<Vec<f64>> = volts
            .outer_iter()
            .map(|vector| vector.iter().map(|&volts| self.instrument.applied_volts(volts)).collect())
            .collect();
        let product = |campaign: &Self, cells: &[f64], n: usize, range| {
            campaign.prediction.product(cells, &applied[n], range, conversions)
        };
        let expected: Vec<Vec<Expectation>> =
            (0..volts.nrows()).map(|n| product(self, &before, n, 0)).collect();
        let currents = expected.iter().flatten().map(|current| current.value);
        let Some(range) = self.range(currents) else { return Ok(()) };
        self.ledger.allow(worst_v(0.2));
        let products = match self.instrument.mvm(
            volts.view(),
            ProductSettings { range, conversions, interval_ns: 0 },
            |_| {},
        ) {
            Ok(products) => products,
            Err(error) => return self.read_failed(error, totals),
        };
        self.settle(&Expected::new(), totals)?;
        let after = self.conductance();
        for n in 0..volts.nrows() {
            let (then, now) = (product(self, &before, n, range), product(self, &after, n, range));
            for column in 0..columns {
                totals.values += 1;
                let measured = products.currents[[n, column]];
                if !Expectation::allows(then[column], now[column], measured) {
                    return Err(format!(
                        "product {n}, column {column} is {measured:e} A in range {range}; {:?} before and {:?} \
                         after were expected",
                        then[column], now[column]
                    ));
                }
            }
        }
        Ok(())
    }

    pub(super) fn trace(
        &mut self,
        row: u16,
        column: u16,
        volts: f64,
        samples: u16,
        totals: &mut Totals,
    ) -> Result<()> {
        self.ledger.allow(worst_v(volts));
        let asked = ReadColumn {
            row,
            column,
            volts: Volts(volts as f32),
            range: 2,
            samples,
            interval_ns: 10_000,
            delay_ns: None,
        };
        match self.instrument.read_column(asked) {
            Ok(trace) if trace.codes.len() == usize::from(samples) => Ok(()),
            Ok(trace) => Err(format!("{} samples of {samples}", trace.codes.len())),
            Err(error) => self.read_failed(error, totals),
        }
    }
}
