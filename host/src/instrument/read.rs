//! Conductances from sums of ADC codes, with their uncertainties; raw traces; the reference resistors.

use super::{Instrument, InstrumentError, unexpected};
use ndarray::Array2;
use ohmrig_protocol::frame::body_bytes;
use ohmrig_protocol::message::{
    CELL_SUMS_BYTES, CellSums, MAX_CONVERSIONS, ReadCells, ReadColumn, ReadReference, Region, Reply, Request,
};
use ohmrig_protocol::units::Volts;

/// Bytes of a reply besides its bulk data: variant, length, counters.
pub(super) const REPLY_OVERHEAD: usize = 24;

/// How cells are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadSettings {
    /// Read voltage, V, positive; both polarities are applied.
    pub volts: f64,
    /// Feedback setting; `None` for the most sensitive one in which a cell is not saturated.
    pub range: Option<u8>,
    /// Conversions at each polarity.
    pub conversions: u16,
}

/// A map of conductances, (rows, columns) of the region that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct CellMap {
    /// S.
    pub conductance: Array2<f64>,
    /// Standard uncertainty from the scatter of the conversions and from quantisation, S. What calibration adds
    /// (gain of driver and amplifier) is not in it.
    pub uncertainty: Array2<f64>,
    /// Beyond the linear range in the least sensitive setting tried; such a conductance is only a lower bound.
    pub saturated: Array2<bool>,
    /// Feedback setting that each cell was read with.
    pub range: Array2<u8>,
}

/// Raw samples of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Instrument time of the first sample, ns.
    pub at_ns: u64,
    /// ADC codes.
    pub codes: Vec<i16>,
}

impl Instrument {
    /// Measures a region cell by cell.
    ///
    /// # Errors
    /// [`InstrumentError`]; nothing is sent for arguments that can't be.
    pub fn read_cells(
        &mut self,
        region: Region,
        settings: &ReadSettings,
    ) -> Result<CellMap, InstrumentError> {
        self.check_region(region)?;
        let Some(range) = settings.range else { return self.read_cells_ranging(region, settings) };
        let scale = self.siemens_per_code(range, settings.volts)?;
        let sums = self.read_sums(region, settings, range)?;
        Ok(CellMap::from_sums(region, &sums, settings.conversions, (range, scale)))
    }

    /// Reads in the most sensitive range, and again in the next while any cell is saturated.
    fn read_cells_ranging(
        &mut self,
        region: Region,
        settings: &ReadSettings,
    ) -> Result<CellMap, InstrumentError> {
        let mut map: Option<CellMap> = None;
        for (range, _) in self.ranges() {
            let next = self.read_cells(region, &ReadSettings { range: Some(range), ..*settings })?;
            let merged = match map.take() {
                None => next,
                Some(mut kept) => {
                    for (index, saturated) in kept.saturated.indexed_iter_mut() {
                        if *saturated {
                            *saturated = next.saturated[index];
                            kept.conductance[index] = next.conductance[index];
                            kept.uncertainty[index] = next.uncertainty[index];
                            kept.range[index] = range;
                        }
                    }
                    kept
                }
            };
            let clean = !merged.saturated.iter().any(|&saturated| saturated);
            map = Some(merged);
            if clean {
                break;
            }
        }
        map.ok_or_else(|| InstrumentError::Argument("the device announces no ranges".to_owned()))
    }

    fn read_sums(
        &mut self,
        region: Region,
        settings: &ReadSettings,
        range: u8,
    ) -> Result<Vec<CellSums>, InstrumentError> {
        let volts = Volts(self.check_read_volts(settings.volts)?);
        let parts = self.read_parts(region, settings.conversions)?;
        let requests = parts.iter().map(|&region| {
            Request::ReadCells(ReadCells { region, volts, range, conversions: settings.conversions })
        });
        let mut sums = vec![CellSums::default(); region.cells() as usize];
        self.client.pipeline(requests, |index, reply| match reply {
            Reply::Cells { sums: bytes } => {
                let part = parts[index];
                let cells = parse_sums("read cells", bytes, part.cells() as usize)?;
                for (row, cells) in cells.chunks(usize::from(part.columns)).enumerate() {
                    let row = usize::from(part.row - region.row) + row;
                    let at = row * usize::from(region.columns) + usize::from(part.column - region.column);
                    sums[at..at + cells.len()].copy_from_slice(cells);
                }
                Ok(())
            }
            other => Err(unexpected("read cells", other)),
        })?;
        Ok(sums)
    }

    /// A region in parts that one reply and one request can carry: bands of rows where a row fits.
    fn read_parts(&self, region: Region, conversions: u16) -> Result<Vec<Region>, InstrumentError> {
        let per_row = 2 * u32::from(conversions);
        if conversions == 0 || per_row > MAX_CONVERSIONS {
            return Err(InstrumentError::Argument(format!(
                "{conversions} conversions per cell; it must be 1 to {}",
                MAX_CONVERSIONS / 2
            )));
        }
        let cells = body_bytes(self.client.frame_bytes()).saturating_sub(REPLY_OVERHEAD) / CELL_SUMS_BYTES;
        let columns = usize::from(region.columns).min(cells.max(1));
        let rows = (cells / columns).min((MAX_CONVERSIONS / per_row) as usize).max(1);
        Ok(split(region, rows, columns))
    }

    /// −dG/dcode of a read at ±`volts`: amplifiers invert, so a positive conductance gives negative codes at +V.
    fn siemens_per_code(&self, range: u8, volts: f64) -> Result<f64, InstrumentError> {
        if !(volts.is_finite() && volts > 0.0) {
            return Err(InstrumentError::Argument(format!(
                "the read voltage is {volts} V; it must be positive"
            )));
        }
        let step = f64::from(self.device().converters.adc_step.0);
        Ok(-step / (self.feedback(range)? * self.applied_volts(volts)))
    }

    /// Conductance of every column's reference resistor as measured through one row's driver: 1/R_cal if driver and
    /// amplifier are exact. (1, columns).
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn read_reference(&mut self, row: u16, settings: &ReadSettings) -> Result<CellMap, InstrumentError> {
        let columns = self.device().columns;
        let region = Region { row, column: 0, rows: 1, columns };
        self.check_region(region)?;
        let reference = f64::from(self.device().converters.reference.0);
        let range = match settings.range {
            Some(range) => range,
            None => self.range_for(1.1 * settings.volts / reference)?,
        };
        let scale = self.siemens_per_code(range, settings.volts)?;
        let request = Request::ReadReference(ReadReference {
            row,
            column: None,
            volts: Volts(settings.volts as f32),
            range,
            conversions: settings.conversions,
            interval_ns: 0,
        });
        let sums = self.client.request(&request, |reply| match reply {
            Reply::Reference { sums } => parse_sums("read reference", sums, usize::from(columns)),
            other => Err(unexpected("read reference", other)),
        })?;
        Ok(CellMap::from_sums(region, &sums, settings.conversions, (range, scale)))
    }

    /// Raw samples of one column while one row is driven, in one request.
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn read_column(&mut self, read: ReadColumn) -> Result<Trace, InstrumentError> {
        self.check_region(Region { row: read.row, column: read.column, rows: 1, columns: 1 })?;
        self.check_read_volts(f64::from(read.volts.0))?;
        self.client.request(&Request::ReadColumn(read), |reply| match reply {
            Reply::Column { at_ns, codes } => {
                let expected = usize::from(read.samples) * 2;
                if codes.len() != expected {
                    return Err(InstrumentError::Size { request: "read column", expected, got: codes.len() });
                }
                let (pairs, _) = codes.as_chunks::<2>();
                Ok(Trace {
                    at_ns: *at_ns,
                    codes: pairs.iter().map(|&pair| i16::from_le_bytes(pair)).collect(),
                })
            }
            other => Err(unexpected("read column", other)),
        })
    }
}

pub(super) fn parse_sums(
    request: &'static str,
    bytes: &[u8],
    cells: usize,
) -> Result<Vec<CellSums>, InstrumentError> {
    let expected = cells * CELL_SUMS_BYTES;
    if bytes.len() != expected {
        return Err(InstrumentError::Size { request, expected, got: bytes.len() });
    }
    Ok(bytes.as_chunks::<CELL_SUMS_BYTES>().0.iter().map(CellSums::from_bytes).collect())
}

/// A region in parts of at most `rows` × `columns`, row by row.
pub(super) fn split(region: Region, rows: usize, columns: usize) -> Vec<Region> {
    let cut = |first: u16, length: u16, most: usize| {
        let most = most.clamp(1, usize::from(u16::MAX)) as u16;
        (0..length).step_by(usize::from(most)).map(move |at| (first + at, most.min(length - at)))
    };
    let mut parts = Vec::new();
    for (row, rows) in cut(region.row, region.rows, rows) {
        parts.extend(cut(region.column, region.columns, columns).map(|(column, columns)| Region {
            row,
            column,
            rows,
            columns,
        }));
    }
    parts
}

impl CellMap {
    /// From sums at both polarities of `conversions` each: G = scale · (mean₊ − mean₋) / 2.
    fn from_sums(region: Region, sums: &[CellSums], conversions: u16, (range, scale): (u8, f64)) -> Self {
        let shape = (usize::from(region.rows), usize::from(region.columns));
        let n = f64::from(conversions);
        let cell = |index: (usize, usize)| sums[index.0 * shape.1 + index.1];
        Self {
            conductance: Array2::from_shape_fn(shape, |index| {
                let sums = cell(index);
                scale * (f64::from(sums.plus) - f64::from(sums.minus)) / (2.0 * n)
            }),
            uncertainty: Array2::from_shape_fn(shape, |index| {
                let sums = cell(index);
                let plus = variance_of_mean(f64::from(sums.plus), sums.plus_squares as f64, n);
                let minus = variance_of_mean(f64::from(sums.minus), sums.minus_squares as f64, n);
                scale.abs() / 2.0 * (plus + minus).sqrt()
            }),
            saturated: Array2::from_shape_fn(shape, |index| {
                let sums = cell(index);
                sums.plus_squares < 0 || sums.minus_squares < 0
            }),
            range: Array2::from_elem(shape, range),
        }
    }
}

/// Variance of the mean of `n` codes from their sum and sum of squares (GUM 4.2.3), and of the rounding of a code
/// (1/12, GUM F.2.2.1), which averaging doesn't reduce where the noise is below a code step.
pub(super) fn variance_of_mean(sum: f64, squares: f64, n: f64) -> f64 {
    let scatter = if n > 1.0 { ((squares - sum * sum / n) / (n - 1.0) / n).max(0.0) } else { 0.0 };
    scatter + 1.0 / 12.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conductance_follows_from_sums_with_the_amplifiers_sign() {
        // 100 kΩ, 0.2 V, 10⁻⁴ V per code, 10 µS: ∓0.2 V at the amplifier, ∓2000 codes.
        let scale = -1e-4 / (100e3 * 0.2);
        let sums = CellSums { plus: -4000, plus_squares: 8_000_000, minus: 4000, minus_squares: 8_000_000 };
        let region = Region { row: 0, column: 0, rows: 1, columns: 1 };
        let map = CellMap::from_sums(region, &[sums], 2, (0, scale));
        assert!((map.conductance[(0, 0)] - 1e-5).abs() < 1e-18);
        // No scatter: only rounding, √(2/12)/2 codes.
        let rounding = 5e-9 * (2.0_f64 / 12.0).sqrt() / 2.0;
        assert!((map.uncertainty[(0, 0)] / rounding - 1.0).abs() < 1e-12);
        assert!(!map.saturated[(0, 0)]);
    }

    #[test]
    fn scatter_of_codes_becomes_the_uncertainty_of_their_mean() {
        // Codes 1, 2, 3, 4: variance 5/3, of the mean 5/12; with rounding 6/12.
        assert!((variance_of_mean(10.0, 30.0, 4.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_saturated_polarity_marks_the_cell() {
        let region = Region { row: 0, column: 0, rows: 1, columns: 1 };
        let sums = CellSums { plus: 9, plus_squares: -1, minus: 9, minus_squares: 81 };
        assert!(CellMap::from_sums(region, &[sums], 1, (0, 1.0)).saturated[(0, 0)]);
    }

    #[test]
    fn parts_cover_a_region_once() {
        let region = Region { row: 3, column: 1, rows: 7, columns: 5 };
        let mut seen = Array2::<u8>::zeros((12, 8));
        for part in split(region, 3, 2) {
            assert!(part.rows <= 3 && part.columns <= 2);
            for row in part.row..part.row + part.rows {
                for column in part.column..part.column + part.columns {
                    seen[(usize::from(row), usize::from(column))] += 1;
                }
            }
        }
        for ((row, column), &count) in seen.indexed_iter() {
            let inside = (3..10).contains(&row) && (1..6).contains(&column);
            assert_eq!(count, u8::from(inside));
        }
    }
}
