//! Everything that reads and doesn't write: cells, a raw column, the reference resistors, matrix-vector products.
//! Each fills the reply's data as it goes.

use super::acquire::{Conversion, Step, is_saturated};
use crate::front_end::{FrontEnd, FrontEndError, Path, Settle};
use ohmrig_protocol::message::{CELL_SUMS_BYTES, CellSums, Region};

/// Where a measurement is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Measurement {
    /// Cells of a region, row by row: each row at +V and −V, all its columns at once.
    Cells(CellScan),
    /// Samples of one column.
    Column(ColumnTrace),
    /// Products.
    Products(Products),
}

/// What a measurement works with.
pub(super) struct Workspace<'a> {
    /// The reply's data.
    pub(super) data: &'a mut [u8],
    /// One code per column.
    pub(super) codes: &'a mut [i16],
    /// The request's body.
    pub(super) body: &'a [u8],
    /// Instrument time.
    pub(super) now_ns: u64,
}

/// Conversions at even intervals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    pub(super) interval_ns: u32,
    pub(super) first_at_ns: Option<u64>,
}

impl Pace {
    /// The wait before conversion `index`, counted from the first, if it isn't due yet.
    fn wait(&mut self, index: u16, now_ns: u64) -> Option<Step> {
        let first_at_ns = *self.first_at_ns.get_or_insert(now_ns);
        let due_ns = first_at_ns.saturating_add(u64::from(index) * u64::from(self.interval_ns));
        // The wait fits: requests whose conversions take longer than a second are refused.
        let ns = u32::try_from(due_ns.saturating_sub(now_ns)).unwrap_or(u32::MAX);
        (ns > 0).then_some(Step::Again(Settle { ns }))
    }
}

/// Cells or, with `reference`, reference resistors through one row's driver.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellScan {
    pub(super) region: Region,
    pub(super) plus: u16,
    pub(super) minus: u16,
    pub(super) zero: u16,
    pub(super) range: u8,
    pub(super) conversions: u16,
    /// Through R_cal instead of cells; the region is then one row of the column asked for, or of all.
    pub(super) reference: Option<ReferenceColumns>,
    pub(super) pace: Pace,
    pub(super) row: u16,
    pub(super) stage: ScanStage,
    pub(super) done: u16,
    pub(super) conversion: Conversion,
}

/// The columns whose reference resistors are connected.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReferenceColumns {
    One(u16),
    All,
}

/// Stages of a scan, per row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanStage {
    Range,
    Connect,
    DrivePlus,
    Plus,
    DriveMinus,
    Minus,
    Ground,
}

/// Samples of one column at even intervals.
#[derive(Clone, Copy, Debug)]
pub(super) struct ColumnTrace {
    pub(super) row: u16,
    pub(super) column: u16,
    pub(super) code: u16,
    pub(super) range: u8,
    pub(super) samples: u16,
    pub(super) pace: Pace,
    pub(super) delay_ns: Option<u32>,
    pub(super) done: u16,
    pub(super) driven: bool,
    pub(super) ranged: bool,
    pub(super) conversion: Conversion,
}

/// A batch of vectors.
///
/// Once a vector's last conversion is over, the next vector's codes are written, read back and put out; the codes of that
/// conversion are read from the converters while the rows settle. Not earlier: a frame of the next vector's codes gone
/// wrong could put one out, and what the converters are about to sample would be wrong without anything showing it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Products {
    pub(super) range: u8,
    pub(super) conversions: u16,
    pub(super) pace: Pace,
    pub(super) vectors: u16,
    /// The vector on the rows, or the next one.
    pub(super) vector: u16,
    pub(super) stage: ProductStage,
    /// Conversions of it.
    pub(super) done: u16,
    pub(super) saturated: u32,
    pub(super) conversion: Conversion,
}

/// Stages of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProductStage {
    Range,
    Drive,
    /// The rows settle from here on; what was converted last has still to be read.
    Confirm {
        settle: Settle,
    },
    /// Until they have.
    Settle {
        until_ns: u64,
    },
    Sample,
}

impl Products {
    /// Bytes of one output: an i16 code, or an i32 sum of several.
    pub(super) fn output_bytes(conversions: u16) -> usize {
        if conversions == 1 { 2 } else { 4 }
    }
}

impl Measurement {
    /// Conversions made so far is the caller's to count: it gets `true` with each that was read out.
    #[inline(never)]
    pub(super) fn step(
        &mut self,
        front_end: &mut impl FrontEnd,
        work: Workspace<'_>,
    ) -> Result<(Step, bool), FrontEndError> {
        match self {
            Self::Cells(scan) => scan.step(front_end, work),
            Self::Column(trace) => trace.step(front_end, work),
            Self::Products(products) => products.step(front_end, work),
        }
    }
}

impl CellScan {
    fn step(
        &mut self,
        front_end: &mut impl FrontEnd,
        work: Workspace<'_>,
    ) -> Result<(Step, bool), FrontEndError> {
        let settle = match self.stage {
            ScanStage::Range => {
                work.data.fill(0);
                self.stage = if self.reference.is_some() { ScanStage::Connect } else { ScanStage::DrivePlus };
                front_end.set_range(self.range)?
            }
            ScanStage::Connect => {
                self.stage = ScanStage::DrivePlus;
                let column = match self.reference {
                    Some(ReferenceColumns::One(column)) => Some(column),
                    _ => None,
                };
                front_end.connect(Path::Reference { row: self.row, column })?
            }
            ScanStage::DrivePlus => {
                self.stage = ScanStage::Plus;
                front_end.drive_row(self.row, self.plus)?
            }
            ScanStage::DriveMinus => {
                self.stage = ScanStage::Minus;
                front_end.drive_row(self.row, self.minus)?
            }
            ScanStage::Plus | ScanStage::Minus => return self.sample(front_end, work),
            ScanStage::Ground => {
                let settle = front_end.drive_row(self.row, self.zero)?;
                self.row = self.row.saturating_add(1);
                if self.row >= self.region.row.saturating_add(self.region.rows) {
                    return Ok((Step::Done, false));
                }
                self.stage = ScanStage::DrivePlus;
                settle
            }
        };
        Ok((Step::Again(settle), false))
    }

    fn sample(
        &mut self,
        front_end: &mut impl FrontEnd,
        work: Workspace<'_>,
    ) -> Result<(Step, bool), FrontEndError> {
        if let Some(wait) = self.pace.wait(self.done, work.now_ns) {
            return Ok((wait, false));
        }
        let codes = work.codes.get_mut(..usize::from(self.region.columns)).unwrap_or_default();
        match self.conversion.step(front_end, self.region.column, codes)? {
            step @ Step::Again(_) => return Ok((step, false)),
            Step::Done => {}
        }
        let linear = front_end.description().converters.adc_linear;
        let line = usize::from(self.row.saturating_sub(self.region.row)) * codes.len();
        let cells = work.data.as_chunks_mut::<CELL_SUMS_BYTES>().0.iter_mut().skip(line);
        for (cell, &code) in cells.zip(codes.iter()) {
            let mut sums = CellSums::from_bytes(cell);
            let (sum, squares) = if self.stage == ScanStage::Plus {
                (&mut sums.plus, &mut sums.plus_squares)
            } else {
                (&mut sums.minus, &mut sums.minus_squares)
            };
            *sum = sum.saturating_add(i32::from(code));
            if is_saturated(code, linear) {
                *squares = -1;
            } else if *squares >= 0 {
                *squares = squares.saturating_add(i64::from(code) * i64::from(code));
            }
            *cell = sums.to_bytes();
        }
        self.done = self.done.saturating_add(1);
        if self.done >= self.conversions {
            self.done = 0;
            self.pace.first_at_ns = None;
            self.stage =
                if self.stage == ScanStage::Plus { ScanStage::DriveMinus } else { ScanStage::Ground };
        }
        Ok((Step::NOW, true))
    }
}

impl ColumnTrace {
    fn step(
        &mut self,
        front_end: &mut impl FrontEnd,
        work: Workspace<'_>,
    ) -> Result<(Step, bool), FrontEndError> {
        if !self.ranged {
            self.ranged = true;
            return Ok((Step::Again(front_end.set_range(self.range)?), false));
        }
        if !self.driven {
            self.driven = true;
            let settle = front_end.drive_row(self.row, self.code)?;
            return Ok((Step::Again(self.delay_ns.map_or(settle, |ns| Settle { ns })), false));
        }
        if let Some(wait) = self.pace.wait(self.done, work.now_ns) {
            return Ok((wait, false));
        }
        let mut code = [0];
        match self.conversion.step(front_end, self.column, &mut code)? {
            step @ Step::Again(_) => return Ok((step, false)),
            Step::Done => {}
        }
        let [code] = code;
        if let Some(slot) = work.data.as_chunks_mut::<2>().0.get_mut(usize::from(self.done)) {
            *slot = code.to_le_bytes();
        }
        self.done = self.done.saturating_add(1);
        Ok((if self.done >= self.samples { Step::Done } else { Step::NOW }, true))
    }
}

impl Products {
    fn step(
        &mut self,
        front_end: &mut impl FrontEnd,
        work: Workspace<'_>,
    ) -> Result<(Step, bool), FrontEndError> {
        match self.stage {
            ProductStage::Range => {
                work.data.fill(0);
                self.stage = ProductStage::Drive;
                return Ok((Step::Again(front_end.set_range(self.range)?), false));
            }
            ProductStage::Drive => return Ok((self.drive(front_end, work.body)?, false)),
            ProductStage::Confirm { settle } => {
                self.stage = ProductStage::Settle { until_ns: work.now_ns.saturating_add(settle.ns.into()) };
                front_end.confirm_rows(self.vector.saturating_add(1) >= self.vectors)?;
                let Some(before) = self.vector.checked_sub(1) else { return Ok((Step::NOW, false)) };
                self.read(front_end, before, work)?;
                return Ok((Step::NOW, true));
            }
            ProductStage::Settle { until_ns } => {
                self.stage = ProductStage::Sample;
                // At most what the front end said.
                let ns = u32::try_from(until_ns.saturating_sub(work.now_ns)).unwrap_or(u32::MAX);
                if ns > 0 {
                    return Ok((Step::Again(Settle { ns }), false));
                }
            }
            ProductStage::Sample => {}
        }
        if let Some(wait) = self.pace.wait(self.done, work.now_ns) {
            return Ok((wait, false));
        }
        match self.conversion.convert(front_end)? {
            step @ Step::Again(_) => return Ok((step, false)),
            Step::Done => {}
        }
        self.done = self.done.saturating_add(1);
        if self.done < self.conversions {
            self.read(front_end, self.vector, work)?;
            return Ok((Step::NOW, true));
        }
        self.done = 0;
        self.pace.first_at_ns = None;
        if self.vector.saturating_add(1) >= self.vectors {
            self.read(front_end, self.vector, work)?;
            return Ok((Step::Done, true));
        }
        self.vector = self.vector.saturating_add(1);
        Ok((self.drive(front_end, work.body)?, false))
    }

    /// Puts the vector's codes out. The vectors are what the request's body ends with ([`Mvm`]).
    ///
    /// [`Mvm`]: ohmrig_protocol::message::Mvm
    fn drive(&mut self, front_end: &mut impl FrontEnd, body: &[u8]) -> Result<Step, FrontEndError> {
        let bytes = usize::from(front_end.description().rows) * 2;
        let left = usize::from(self.vectors.saturating_sub(self.vector)).saturating_mul(bytes);
        let codes = body.get(body.len().saturating_sub(left)..).and_then(|codes| codes.get(..bytes));
        let settle = front_end.drive_rows(codes.unwrap_or_default())?;
        self.stage = ProductStage::Confirm { settle };
        Ok(Step::NOW)
    }

    /// Reads the last conversion out, into the data of `vector`.
    fn read(
        &mut self,
        front_end: &mut impl FrontEnd,
        vector: u16,
        work: Workspace<'_>,
    ) -> Result<(), FrontEndError> {
        front_end.read_codes(0, work.codes)?;
        let linear = front_end.description().converters.adc_linear;
        let first = usize::from(vector).saturating_mul(work.codes.len());
        for &code in work.codes.iter() {
            self.saturated = self.saturated.saturating_add(is_saturated(code, linear).into());
        }
        if self.conversions == 1 {
            let slots = work.data.as_chunks_mut::<2>().0.iter_mut().skip(first);
            slots.zip(work.codes.iter()).for_each(|(slot, code)| *slot = code.to_le_bytes());
        } else {
            let slots = work.data.as_chunks_mut::<4>().0.iter_mut().skip(first);
            for (slot, &code) in slots.zip(work.codes.iter()) {
                *slot = i32::from_le_bytes(*slot).saturating_add(i32::from(code)).to_le_bytes();
            }
        }
        Ok(())
    }
}
