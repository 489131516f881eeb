//! Turns a request into the machine that executes it, after every check that can be made before anything is touched.

use super::acquire::Conversion;
use super::limits::{Checks, Refused};
use super::measure::{
    CellScan, ColumnTrace, Measurement, Pace, ProductStage, Products, ReferenceColumns, ScanStage,
};
use super::program::{JobCell, ProgramOrder};
use super::trace::{SAMPLES_OVERHEAD_BYTES, TraceOrder};
use crate::front_end::Description;
use ohmrig_protocol::frame;
use ohmrig_protocol::message::{
    Algorithm, BUDGET_BYTES, CELL_SUMS_BYTES, DoseLaw, Field, LimitName, MAX_CONVERSIONS, Model, Mvm,
    Program, ReadCells, ReadColumn, ReadReference, Refusal, Region, Request, Scheme, Staircase, Trace,
    TraceSource,
};
use ohmrig_protocol::units::{Seconds, Volts};

/// The request in a body, if it is one. Not inlined: it is long, and asked for in several places.
#[inline(never)]
pub(super) fn asked(body: &[u8]) -> Option<Request<'_>> {
    frame::decode_body(body).ok()
}

#[allow(clippy::cast_precision_loss)] // Numbers for messages only.
impl Checks<'_> {
    #[inline(never)]
    fn range(&self, range: u8) -> Result<(), Refused> {
        let feedback = &self.description.converters.feedback;
        let settings = feedback.iter().take_while(|feedback| feedback.0 > 0.0).count();
        if usize::from(range) < settings {
            return Ok(());
        }
        let max = settings.saturating_sub(1) as f32;
        Err(self.refuse(Refusal::Invalid { field: Field::Range, asked: f32::from(range), min: 0.0, max }))
    }

    #[inline(never)]
    fn conversions(&self, each: u16, times: u32) -> Result<(), Refused> {
        if each == 0 {
            let max = MAX_CONVERSIONS as f32;
            return Err(self.refuse(Refusal::Invalid {
                field: Field::Conversions,
                asked: 0.0,
                min: 1.0,
                max,
            }));
        }
        let asked = u64::from(each) * u64::from(times);
        if asked <= u64::from(MAX_CONVERSIONS) {
            return Ok(());
        }
        Err(self.beyond(LimitName::Conversions, asked as f32, MAX_CONVERSIONS as f32))
    }

    /// The link doesn't answer meanwhile, so one request waits for a second at most; longer ones are several.
    #[inline(never)]
    fn duration(&self, conversions: u32, interval_ns: u32) -> Result<(), Refused> {
        let seconds = conversions as f32 * interval_ns as f32 * 1e-9;
        self.within(Field::Interval, seconds, 0.0, 1.0)
    }

    #[inline(never)]
    fn reply(&self, bytes: usize) -> Result<(), Refused> {
        if bytes <= self.reply_bytes {
            return Ok(());
        }
        Err(self.beyond(LimitName::Frame, bytes as f32, self.reply_bytes as f32))
    }

    fn references(&self) -> Result<(), Refused> {
        if self.description.references {
            Ok(())
        } else {
            Err(self.refuse(Refusal::Unsupported(Field::Source)))
        }
    }

    #[inline(never)]
    fn region(&self, region: Region) -> Result<(), Refused> {
        let Description { rows, columns, .. } = *self.description;
        if region.is_within(rows, columns) {
            Ok(())
        } else {
            Err(self.refuse(Refusal::OutsideArray { rows, columns }))
        }
    }

    pub(super) fn budgets(&self, region: Region) -> Result<(), Refused> {
        self.region(region)?;
        self.reply(region.cells() as usize * BUDGET_BYTES)
    }

    #[inline(never)]
    pub(super) fn read_cells(&self, asked: &ReadCells) -> Result<Measurement, Refused> {
        self.region(asked.region)?;
        self.range(asked.range)?;
        self.within(Field::Volts, asked.volts.0, f32::MIN_POSITIVE, f32::MAX)?;
        let plus = self.read_volts(asked.volts)?;
        self.conversions(asked.conversions, 2 * u32::from(asked.region.rows))?;
        self.reply(asked.region.cells() as usize * CELL_SUMS_BYTES)?;
        Ok(Measurement::Cells(self.scan(asked.region, plus, asked.range, asked.conversions)))
    }

    /// The resistors' power is small at any voltage of the DACs; cells are disconnected meanwhile.
    #[inline(never)]
    pub(super) fn read_reference(&self, asked: &ReadReference) -> Result<Measurement, Refused> {
        self.references()?;
        let region = match asked.column {
            Some(column) => Region { row: asked.row, column, rows: 1, columns: 1 },
            None => Region { row: asked.row, column: 0, rows: 1, columns: self.description.columns },
        };
        self.region(region)?;
        self.range(asked.range)?;
        self.within(Field::Volts, asked.volts.0, f32::MIN_POSITIVE, f32::MAX)?;
        let plus = self.row_code(asked.volts)?;
        self.conversions(asked.conversions, 2)?;
        self.duration(2 * u32::from(asked.conversions), asked.interval_ns)?;
        self.reply(usize::from(region.columns) * CELL_SUMS_BYTES)?;
        Ok(Measurement::Cells(CellScan {
            reference: Some(asked.column.map_or(ReferenceColumns::All, ReferenceColumns::One)),
            pace: Pace { interval_ns: asked.interval_ns, first_at_ns: None },
            ..self.scan(region, plus, asked.range, asked.conversions)
        }))
    }

    /// ±V are codes mirrored about zero, so that both polarities are equally far from it.
    fn scan(&self, region: Region, plus: u16, range: u8, conversions: u16) -> CellScan {
        let zero = self.description.converters.dac_zero;
        let minus = zero.saturating_sub(plus.saturating_sub(zero));
        CellScan {
            region,
            plus,
            minus,
            zero,
            range,
            conversions,
            reference: None,
            pace: Pace::default(),
            row: region.row,
            stage: ScanStage::Range,
            done: 0,
            conversion: Conversion::default(),
        }
    }

    #[inline(never)]
    pub(super) fn read_column(&self, asked: &ReadColumn) -> Result<Measurement, Refused> {
        self.region(Region { row: asked.row, column: asked.column, rows: 1, columns: 1 })?;
        self.range(asked.range)?;
        let code = self.read_volts(asked.volts)?;
        self.conversions(asked.samples, 1)?;
        self.reply(usize::from(asked.samples) * 2)?;
        self.duration(u32::from(asked.samples), asked.interval_ns)?;
        self.duration(1, asked.delay_ns.unwrap_or_default())?;
        Ok(Measurement::Column(ColumnTrace {
            row: asked.row,
            column: asked.column,
            code,
            range: asked.range,
            samples: asked.samples,
            pace: Pace { interval_ns: asked.interval_ns, first_at_ns: None },
            delay_ns: asked.delay_ns,
            done: 0,
            driven: false,
            ranged: false,
            conversion: Conversion::default(),
        }))
    }

    #[inline(never)]
    pub(super) fn products(&self, asked: &Mvm<'_>) -> Result<Measurement, Refused> {
        let Description { rows, columns, .. } = *self.description;
        self.range(asked.range)?;
        let vector_bytes = usize::from(rows) * 2;
        let vectors = asked.codes.len() / vector_bytes;
        let whole = vectors * vector_bytes == asked.codes.len();
        let Some(vectors) = u16::try_from(vectors).ok().filter(|&vectors| whole && vectors > 0) else {
            return Err(self.refuse(Refusal::Invalid {
                field: Field::Data,
                asked: asked.codes.len() as f32,
                min: vector_bytes as f32,
                max: vector_bytes as f32 * f32::from(u16::MAX),
            }));
        };
        self.read_codes(asked.codes)?;
        self.conversions(asked.conversions, u32::from(vectors))?;
        self.duration(u32::from(vectors) * u32::from(asked.conversions), asked.interval_ns)?;
        let outputs = usize::from(vectors) * usize::from(columns);
        self.reply(outputs * Products::output_bytes(asked.conversions))?;
        Ok(Measurement::Products(Products {
            range: asked.range,
            conversions: asked.conversions,
            pace: Pace { interval_ns: asked.interval_ns, first_at_ns: None },
            vectors,
            vector: 0,
            stage: ProductStage::Range,
            done: 0,
            saturated: 0,
            conversion: Conversion::default(),
        }))
    }

    /// Nothing is driven through open rows; reference resistors stand any voltage of the DACs.
    #[inline(never)]
    pub(super) fn trace(&self, asked: &Trace, ring: &[u8]) -> Result<TraceOrder, Refused> {
        let Description { rows, columns, .. } = *self.description;
        if !matches!(asked.source, TraceSource::Row(_)) {
            self.references()?;
        }
        let row = match asked.source {
            TraceSource::Row(row) | TraceSource::Reference(row) | TraceSource::RowAlone(row) => row,
            TraceSource::Forming { row, driven } => row.max(driven),
            TraceSource::Bias(column) if column >= columns => rows,
            TraceSource::Open | TraceSource::Bias(_) => 0,
        };
        let region = Region { row, column: asked.column, rows: 1, columns: asked.columns };
        if !region.is_within(rows, columns) {
            return Err(self.refuse(Refusal::OutsideArray { rows, columns }));
        }
        self.range(asked.range)?;
        let code = match asked.source {
            TraceSource::Row(_)
            | TraceSource::Bias(_)
            | TraceSource::Forming { .. }
            | TraceSource::RowAlone(_) => self.read_volts(asked.volts)?,
            TraceSource::Reference(_) => self.row_code(asked.volts)?,
            TraceSource::Open => {
                self.within(Field::Volts, asked.volts.0, 0.0, 0.0)?;
                self.description.converters.dac_zero
            }
        };
        self.within(Field::Samples, asked.samples as f32, 1.0, u32::MAX as f32)?;
        let least = self.description.conversion_ns as f32;
        self.within(Field::Interval, asked.interval_ns as f32 * 1e-9, least * 1e-9, u32::MAX as f32 * 1e-9)?;
        self.conversions(asked.summed, 1)?;
        let bytes = usize::from(asked.columns) * Trace::code_bytes(asked.summed);
        self.reply(bytes + SAMPLES_OVERHEAD_BYTES)?;
        if bytes > ring.len() {
            let (asked, allowed) = (bytes as f32, ring.len() as f32);
            return Err(self.beyond(LimitName::Frame, asked, allowed));
        }
        Ok(TraceOrder { trace: *asked, code })
    }

    /// Checks a write-verify job and copies its targets into the job's cells.
    #[inline(never)]
    pub(super) fn program(
        &self,
        asked: &Program<'_>,
        cells: &mut [JobCell],
    ) -> Result<ProgramOrder, Refused> {
        self.region(asked.region)?;
        self.range(asked.range)?;
        let count = asked.region.cells() as usize;
        if count > cells.len() {
            let (asked, allowed) = (count as f32, cells.len() as f32);
            return Err(self.beyond(LimitName::JobCells, asked, allowed));
        }
        let bytes = count as f32 * 4.0;
        self.within(Field::Data, asked.targets.len() as f32, bytes, bytes)?;
        self.within(Field::Window, asked.window.0, f32::MIN_POSITIVE, f32::MAX)?;
        self.within(Field::MaxPulses, f32::from(asked.max_pulses), 1.0, f32::from(u16::MAX))?;
        self.within(Field::Volts, asked.read_volts.0, f32::MIN_POSITIVE, f32::MAX)?;
        let read_code = self.read_volts(asked.read_volts)?;
        self.conversions(asked.conversions, 2)?;
        self.conversions(asked.max_conversions, 2)?;
        if asked.confirm > 0 {
            self.conversions(asked.confirm, 2)?;
        }
        let least = f32::from(asked.conversions);
        self.within(Field::Conversions, f32::from(asked.max_conversions), least, f32::MAX)?;
        let width_ns = self.width(asked.width)?;
        let (mut gap_ns, mut widest_ns) = (0, width_ns);
        match &asked.algorithm {
            Algorithm::Incremental { set, reset } => {
                self.staircase(set, 1.0, asked.scheme)?;
                self.staircase(reset, -1.0, asked.scheme)?;
            }
            Algorithm::Identical { set, reset } => {
                self.amplitude(*set, 1.0, asked.scheme)?;
                self.amplitude(*reset, -1.0, asked.scheme)?;
            }
            Algorithm::Seeking { stairs } => {
                self.staircase(stairs, 1.0, asked.scheme)?;
                self.staircase(stairs, -1.0, asked.scheme)?;
            }
            Algorithm::Model(model) => self.model(model, asked.scheme)?,
            Algorithm::Form(_) if !self.description.forming => {
                return Err(self.refuse(Refusal::Unsupported(Field::Algorithm)));
            }
            Algorithm::Form(forming) => {
                self.staircase(&forming.volts, 1.0, asked.scheme)?;
                widest_ns = self.width(forming.widest)?;
                self.within(Field::Width, forming.widest.0, asked.width.0, f32::MAX)?;
                gap_ns = self.gap(forming.gap)?;
            }
        }
        let targets = asked.targets.as_chunks::<4>().0;
        for target in targets {
            let target = f32::from_le_bytes(*target);
            // NaN leaves a cell alone.
            if !target.is_nan() {
                self.within(Field::Target, target, 0.0, f32::MAX)?;
            }
        }
        for (cell, target) in cells.iter_mut().zip(targets) {
            *cell = JobCell { target: f32::from_le_bytes(*target), ..JobCell::EMPTY };
        }
        let zero = self.description.converters.dac_zero;
        let mirrored = zero.saturating_sub(read_code.saturating_sub(zero));
        Ok(ProgramOrder {
            job: asked.job,
            region: asked.region,
            window: asked.window.0,
            algorithm: asked.algorithm,
            width_ns,
            widest_ns,
            gap_ns,
            scheme: asked.scheme,
            read_volts: asked.read_volts,
            read_codes: [read_code, mirrored],
            range: asked.range,
            conversions: asked.conversions,
            max_conversions: asked.max_conversions,
            confirm: asked.confirm,
            max_pulses: asked.max_pulses,
            max_reversals: asked.max_reversals,
        })
    }

    /// The largest amplitude decides: every pulse of the job is within the limits if it is.
    fn staircase(&self, stairs: &Staircase, sign: f32, scheme: Scheme) -> Result<(), Refused> {
        let Staircase { start, step, stop } = *stairs;
        self.within(Field::Staircase, start.0, f32::MIN_POSITIVE, stop.0)?;
        self.within(Field::Staircase, step.0, f32::MIN_POSITIVE, f32::MAX)?;
        self.amplitude(stop, sign, scheme)
    }

    fn amplitude(&self, volts: Volts, sign: f32, scheme: Scheme) -> Result<(), Refused> {
        self.within(Field::Staircase, volts.0, f32::MIN_POSITIVE, f32::MAX)?;
        self.pulse_volts(Volts(sign * volts.0), scheme)
    }

    /// Only what the arithmetic needs: a law that is wrong about the devices is corrected by them.
    fn model(&self, model: &Model, scheme: Scheme) -> Result<(), Refused> {
        let Model { set, reset, floor, ceiling, melting: _ } = model;
        self.within(Field::Model, floor.0, 0.0, f32::MAX)?;
        self.within(Field::Model, ceiling.0 - floor.0, f32::MIN_POSITIVE, f32::MAX)?;
        for (law, sign) in [(set, 1.0), (reset, -1.0)] {
            let DoseLaw { threshold, reference, dose, exponent, stop } = *law;
            self.within(Field::Model, threshold.0, 0.0, stop.0)?;
            self.within(Field::Model, reference.0 - threshold.0, f32::MIN_POSITIVE, f32::MAX)?;
            self.within(Field::Model, dose, f32::MIN_POSITIVE, f32::MAX)?;
            self.within(Field::Model, exponent, 0.1, 10.0)?;
            self.amplitude(stop, sign, scheme)?;
        }
        Ok(())
    }

    /// A rest between pulse and read, in ns.
    fn gap(&self, gap: Seconds) -> Result<u32, Refused> {
        self.within(Field::Interval, gap.0, 0.0, 1.0)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Just checked.
        Ok(libm::roundf(gap.0 * 1e9) as u32)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn codes_of_products_are_what_the_body_of_their_request_ends_with() {
        let codes = [1, 2, 3, 4, 0, 0];
        let mvm = Mvm { range: 1, conversions: 300, interval_ns: 70_000, codes: &codes };
        let mut out = [0; 64];
        let header = frame::Header {
            version: 0,
            kind: frame::Kind::Request,
            session: frame::SessionId::NONE,
            sequence: 0,
        };
        let length = frame::encode(header, &Request::Mvm(mvm), &mut out).unwrap();
        let (_, body) = frame::decode(out.get_mut(..length - 1).unwrap()).unwrap();
        assert!(body.ends_with(&codes));
        assert_eq!(asked(body), Some(Request::Mvm(mvm)));
    }
}
