//! Matrix-vector products: volts on the rows, amperes out of the columns.

use super::read::REPLY_OVERHEAD;
use super::{Instrument, InstrumentError, unexpected};
use ndarray::{Array2, ArrayView2};
use ohmrig_protocol::frame::body_bytes;
use ohmrig_protocol::message::{MAX_CONVERSIONS, Mvm, Reply, Request};
use ohmrig_protocol::units::Volts;

/// Bytes of a request for products besides its codes.
const REQUEST_OVERHEAD: usize = 16;

/// A run is cut into at least this many requests, as long as each has this many vectors: while the first comes in and
/// while the last goes out, the other direction of the link is idle, which costs more than a few headers.
const PIECES: usize = 16;

/// How products are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProductSettings {
    /// Feedback setting.
    pub range: u8,
    /// Conversions averaged per vector.
    pub conversions: u16,
    /// From one conversion of a vector to the next, ns: a mains period over `conversions` averages hum out. 0 for as fast
    /// as they go.
    pub interval_ns: u32,
}

/// Outputs of a batch of products.
#[derive(Clone, Debug, PartialEq)]
pub struct Products {
    /// Column currents, A, (vectors, columns).
    pub currents: Array2<f64>,
    /// Samples beyond the linear range.
    pub saturated: u64,
}

impl Instrument {
    /// Multiplies: `volts` is (vectors, rows), the result (vectors, columns). `progress` gets the vectors done so far.
    ///
    /// # Errors
    /// [`InstrumentError`]; nothing is sent if any voltage can't be applied.
    pub fn mvm(
        &mut self,
        volts: ArrayView2<'_, f64>,
        settings: ProductSettings,
        mut progress: impl FnMut(usize),
    ) -> Result<Products, InstrumentError> {
        let (rows, columns) = (usize::from(self.device().rows), usize::from(self.device().columns));
        let vectors = volts.nrows();
        if volts.ncols() != rows {
            return Err(InstrumentError::Argument(format!(
                "input vectors have {} elements, the array has {rows} rows",
                volts.ncols()
            )));
        }
        let ProductSettings { range, conversions, interval_ns } = settings;
        if conversions == 0 || u32::from(conversions) > MAX_CONVERSIONS {
            return Err(InstrumentError::Argument(format!(
                "{conversions} conversions per vector; it must be 1 to {MAX_CONVERSIONS}"
            )));
        }
        let amperes_per_code =
            -f64::from(self.device().converters.adc_step.0) / self.feedback(range)? / f64::from(conversions);
        let codes = self.row_codes(volts)?;
        let output_bytes = if conversions == 1 { 2 } else { 4 };
        let per_frame = self
            .vectors_per_frame(rows, columns * output_bytes, settings)?
            .min(vectors.div_ceil(PIECES).max(PIECES));
        let mut currents = Array2::zeros((vectors, columns));
        let (mut saturated, mut done) = (0, 0);
        let requests = codes
            .chunks((per_frame * rows * 2).max(1))
            .map(|codes| Request::Mvm(Mvm { range, conversions, interval_ns, codes }));
        self.client.pipeline(requests, |index, reply| match reply {
            Reply::Mvm { saturated: beyond, codes } => {
                let first = index * per_frame;
                let here = per_frame.min(vectors - first);
                let expected = here * columns * output_bytes;
                if codes.len() != expected {
                    return Err(InstrumentError::Size { request: "MVM", expected, got: codes.len() });
                }
                for (n, code) in codes.chunks_exact(output_bytes).enumerate() {
                    let code = match *code {
                        [a, b] => f64::from(i16::from_le_bytes([a, b])),
                        [a, b, c, d] => f64::from(i32::from_le_bytes([a, b, c, d])),
                        _ => continue,
                    };
                    currents[(first + n / columns, n % columns)] = code * amperes_per_code;
                }
                saturated += u64::from(*beyond);
                done += here;
                progress(done);
                Ok(())
            }
            other => Err(unexpected("MVM", other)),
        })?;
        Ok(Products { currents, saturated })
    }

    /// Bytes an MVM can't do without: its inputs as DAC codes and its outputs as ADC codes or sums.
    #[must_use]
    pub fn mvm_payload_bytes(&self, conversions: u16) -> usize {
        let output = if conversions == 1 { 2 } else { 4 };
        usize::from(self.device().rows) * 2 + usize::from(self.device().columns) * output
    }

    fn vectors_per_frame(
        &self,
        rows: usize,
        output: usize,
        settings: ProductSettings,
    ) -> Result<usize, InstrumentError> {
        let ProductSettings { conversions, interval_ns, .. } = settings;
        let vector_ns = u64::from(conversions) * u64::from(interval_ns);
        if vector_ns > 1_000_000_000 {
            return Err(InstrumentError::Argument(format!(
                "{conversions} conversions every {interval_ns} ns take longer than a second per vector, the most there is"
            )));
        }
        let body = body_bytes(self.client.frame_bytes());
        let vectors = (body.saturating_sub(REQUEST_OVERHEAD) / (rows * 2))
            .min(body.saturating_sub(REPLY_OVERHEAD) / output)
            .min((MAX_CONVERSIONS / u32::from(conversions)) as usize)
            .min((1_000_000_000 / vector_ns.max(1)) as usize);
        if vectors == 0 {
            return Err(InstrumentError::Argument(format!(
                "one vector of {rows} rows doesn't fit the device's frames of {} bytes",
                self.client.frame_bytes()
            )));
        }
        Ok(vectors)
    }

    /// Little-endian DAC codes of voltages, row-major.
    fn row_codes(&self, volts: ArrayView2<'_, f64>) -> Result<Vec<u8>, InstrumentError> {
        let converters = self.device().converters;
        let zero = f32::from(converters.dac_zero);
        let mut codes = Vec::with_capacity(volts.len() * 2);
        for ((vector, row), &value) in volts.indexed_iter() {
            let volts = self
                .check_read_volts(value)
                .map_err(|error| InstrumentError::Argument(format!("vector {vector}, row {row}: {error}")))?;
            let code = converters.dac_steps(Volts(volts)) + zero;
            if !(0.0..=65535.0).contains(&code) {
                return Err(InstrumentError::Argument(format!(
                    "vector {vector}, row {row}: {value} V is beyond the row drivers"
                )));
            }
            codes.extend_from_slice(&(code as u16).to_le_bytes());
        }
        Ok(codes)
    }
}
