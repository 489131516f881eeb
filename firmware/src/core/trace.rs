//! Traces: columns sampled at even intervals into a ring that the host empties while it fills.
//!
//! A conversion that can't be started within half an interval of its instant is a lost sample, and ends the trace: a
//! trace has no gaps. With the ring full nothing is converted; whether that loses a sample says the instrument's clock.

use super::acquire::{Conversion, Step, is_saturated};
use crate::front_end::{FrontEnd, FrontEndError, Path, Settle};
use ohmrig_protocol::message::{JobId, Trace, TraceSource};

/// Bytes of a reply with samples besides them, beyond what every reply has: its scalars.
pub(super) const SAMPLES_OVERHEAD_BYTES: usize = 16;

/// What to sample, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct TraceOrder {
    pub(super) trace: Trace,
    /// DAC code of the driver.
    pub(super) code: u16,
}

/// A trace under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct TraceMachine {
    pub(super) order: TraceOrder,
    stage: Stage,
    /// Conversions in the sample at hand.
    summed: u16,
    conversion: Conversion,
    converting: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Range,
    Connect,
    Drive,
    Sample,
}

/// What is known of the samples in the ring; outlives the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tape {
    pub(super) job: JobId,
    /// Bytes of one sample of all its columns.
    pub(super) sample_bytes: usize,
    /// Samples the ring holds.
    pub(super) capacity: u32,
    /// Samples taken.
    pub(super) taken: u32,
    /// Samples before this one may be overwritten.
    pub(super) arrived: u32,
    pub(super) saturated: u32,
    pub(super) first_at_ns: Option<u64>,
}

/// What a trace wants after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum TraceStep {
    /// As any machine.
    On(Step),
    /// Nothing, until samples have been fetched.
    Full,
    /// A sample is lost.
    Lost,
}

impl Tape {
    pub(super) fn new(trace: &Trace, ring: &[u8]) -> Self {
        let sample_bytes = usize::from(trace.columns) * Trace::code_bytes(trace.summed);
        #[allow(clippy::cast_possible_truncation)] // Rings are far below 4 GiB.
        let capacity = (ring.len() / sample_bytes.max(1)) as u32;
        Self { job: trace.job, sample_bytes, capacity, taken: 0, arrived: 0, saturated: 0, first_at_ns: None }
    }

    pub(super) fn is_full(&self) -> bool {
        self.taken - self.arrived >= self.capacity
    }

    /// Bytes of the ring that sample `index` has.
    pub(super) fn place(&self, index: u32) -> core::ops::Range<usize> {
        let start = (index % self.capacity.max(1)) as usize * self.sample_bytes;
        start..start + self.sample_bytes
    }
}

impl TraceMachine {
    pub(super) fn new(order: TraceOrder) -> Self {
        Self { order, stage: Stage::Range, summed: 0, conversion: Conversion::default(), converting: false }
    }

    /// One step, and whether a conversion was read out in it.
    #[inline(never)]
    pub(super) fn step(
        &mut self,
        front_end: &mut impl FrontEnd,
        tape: &mut Tape,
        ring: &mut [u8],
        codes: &mut [i16],
        now_ns: u64,
    ) -> Result<(TraceStep, bool), FrontEndError> {
        let Trace { source, column, columns, range, .. } = self.order.trace;
        let settle = match self.stage {
            Stage::Range => {
                self.stage = Stage::Connect;
                front_end.set_range(range)?
            }
            Stage::Connect => {
                self.stage = Stage::Drive;
                match source {
                    TraceSource::Row(_) => Settle::default(),
                    TraceSource::Open => front_end.connect(Path::Open)?,
                    TraceSource::Reference(row) => front_end
                        .connect(Path::Reference { row, column: (columns == 1).then_some(column) })?,
                    TraceSource::Bias(column) => front_end.connect(Path::Bias(column))?,
                    TraceSource::Forming { row, .. } => front_end.connect(Path::Forming(row))?,
                    TraceSource::RowAlone(row) => front_end.connect(Path::Alone(row))?,
                }
            }
            Stage::Drive => {
                self.stage = Stage::Sample;
                match source {
                    TraceSource::Open => Settle::default(),
                    TraceSource::Row(row)
                    | TraceSource::Reference(row)
                    | TraceSource::Forming { driven: row, .. }
                    | TraceSource::RowAlone(row) => front_end.drive_row(row, self.order.code)?,
                    TraceSource::Bias(_) => front_end.drive_bias(self.order.code)?,
                }
            }
            Stage::Sample => return self.sample(front_end, tape, ring, codes, now_ns),
        };
        Ok((TraceStep::On(Step::Again(settle)), false))
    }

    fn sample(
        &mut self,
        front_end: &mut impl FrontEnd,
        tape: &mut Tape,
        ring: &mut [u8],
        codes: &mut [i16],
        now_ns: u64,
    ) -> Result<(TraceStep, bool), FrontEndError> {
        let Trace { column, columns, samples, interval_ns, summed, .. } = self.order.trace;
        if !self.converting {
            if tape.is_full() {
                return Ok((TraceStep::Full, false));
            }
            let first_at_ns = *tape.first_at_ns.get_or_insert(now_ns);
            let conversions = u64::from(tape.taken) * u64::from(summed) + u64::from(self.summed);
            let due_ns = first_at_ns.saturating_add(conversions.saturating_mul(u64::from(interval_ns)));
            if now_ns < due_ns {
                let ns = u32::try_from(due_ns - now_ns).unwrap_or(u32::MAX);
                return Ok((TraceStep::On(Step::Again(Settle { ns })), false));
            }
            if now_ns - due_ns > u64::from(interval_ns / 2) {
                return Ok((TraceStep::Lost, false));
            }
            self.converting = true;
        }
        let codes = codes.get_mut(..usize::from(columns)).unwrap_or_default();
        match self.conversion.step(front_end, column, codes)? {
            step @ Step::Again(_) => return Ok((TraceStep::On(step), false)),
            Step::Done => {}
        }
        self.converting = false;
        let linear = front_end.description().converters.adc_linear;
        let place = ring.get_mut(tape.place(tape.taken)).unwrap_or_default();
        for (index, &code) in codes.iter().enumerate() {
            tape.saturated = tape.saturated.saturating_add(u32::from(is_saturated(code, linear)));
            if summed == 1 {
                if let Some(slot) = place.as_chunks_mut::<2>().0.get_mut(index) {
                    *slot = code.to_le_bytes();
                }
            } else if let Some(slot) = place.as_chunks_mut::<4>().0.get_mut(index) {
                let before = if self.summed == 0 { 0 } else { i32::from_le_bytes(*slot) };
                *slot = before.saturating_add(i32::from(code)).to_le_bytes();
            }
        }
        self.summed += 1;
        if self.summed >= summed {
            self.summed = 0;
            tape.taken += 1;
        }
        let step = if tape.taken >= samples { Step::Done } else { Step::NOW };
        Ok((TraceStep::On(step), true))
    }
}
