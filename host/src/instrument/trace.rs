//! Traces: columns sampled at even intervals by a job on the device, fetched while it runs.

use super::{Instrument, InstrumentError, unexpected};
use crate::client::LinkError;
use ohmrig_protocol::message::{
    JobEnd, JobId, JobState, Region, Reply, Request, Samples, Trace, TraceSource,
};
use ohmrig_protocol::units::Volts;

/// Times a lost link is picked up again within one trace.
const RECONNECTS: u32 = 3;

/// What to sample, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceOrder {
    /// What the amplifiers see.
    pub source: TraceSource,
    /// Of the driver, V; 0 for open rows.
    pub volts: f64,
    /// First column.
    pub column: u16,
    /// Columns.
    pub columns: u16,
    /// Feedback setting.
    pub range: u8,
    /// Samples.
    pub samples: u32,
    /// From one conversion to the next, ns.
    pub interval_ns: u32,
    /// Conversions averaged in one sample.
    pub averaged: u16,
}

/// Sampled columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// Instrument time of the first conversion, ns.
    pub at_ns: u64,
    /// Of every column: mean ADC code of each sample.
    pub codes: Vec<Vec<f64>>,
    /// Conversions beyond the linear range, all columns together; any makes the trace unfit for anything.
    pub saturated: u32,
}

/// How far fetching is.
struct Fetched {
    traces: Traces,
    /// Samples that have arrived.
    arrived: u32,
    taken: u32,
}

impl Instrument {
    /// Takes a trace. `progress` is told the samples that have arrived. The array is in SAFE afterwards.
    ///
    /// # Errors
    /// [`InstrumentError`]; `JobEnded` with [`JobEnd::LostSample`] and the number of samples before it if one was lost:
    /// a trace has no gaps.
    pub fn trace(
        &mut self,
        order: &TraceOrder,
        progress: impl FnMut(u32),
    ) -> Result<Traces, InstrumentError> {
        let job = JobId(getrandom::u64().map_err(LinkError::Entropy)?);
        self.trace_as(job, order, progress)
    }

    /// As [`trace`](Self::trace), as a job of this number.
    pub(super) fn trace_as(
        &mut self,
        job: JobId,
        order: &TraceOrder,
        mut progress: impl FnMut(u32),
    ) -> Result<Traces, InstrumentError> {
        let row = match order.source {
            TraceSource::Row(row) | TraceSource::Reference(row) | TraceSource::RowAlone(row) => row,
            TraceSource::Forming { row, driven } => row.max(driven),
            TraceSource::Open | TraceSource::Bias(_) => 0,
        };
        self.check_region(Region { row, column: order.column, rows: 1, columns: order.columns })?;
        if let TraceSource::Bias(column) = order.source {
            self.check_region(Region { row, column, rows: 1, columns: 1 })?;
        }
        if !matches!(order.source, TraceSource::Open | TraceSource::Reference(_)) {
            self.check_read_volts(order.volts)?;
        }
        self.feedback(order.range)?;
        let boot = self.client.welcome().boot_nonce;
        let request = Request::Trace(Trace {
            job,
            source: order.source,
            volts: Volts(order.volts as f32),
            column: order.column,
            columns: order.columns,
            range: order.range,
            samples: order.samples,
            interval_ns: order.interval_ns,
            summed: order.averaged,
        });
        let columns = (0..order.columns).map(|_| Vec::with_capacity(order.samples as usize));
        let traces = Traces { at_ns: 0, codes: columns.collect(), saturated: 0 };
        let mut fetched = Fetched { traces, arrived: 0, taken: 0 };
        let mut reconnects = 0;
        let mut started = self.done(&request, "trace");
        loop {
            match started.and_then(|()| self.fetch_samples(job, order, &mut fetched)) {
                Ok(()) if fetched.arrived >= order.samples => break,
                Ok(()) => progress(fetched.arrived),
                Err(InstrumentError::Link(
                    error @ (LinkError::TimedOut { .. } | LinkError::SessionLost { .. }),
                )) if reconnects < RECONNECTS => {
                    log::warn!("{error}; opening a new session to go on with trace {:#018x}", job.0);
                    reconnects += 1;
                    self.client.reconnect()?;
                }
                Err(error) => return Err(error),
            }
            started = Ok(());
            // Everything taken has arrived and more was wanted: has it ended?
            if fetched.arrived < fetched.taken {
                continue;
            }
            match self.job_state(job)? {
                JobState::Running { .. } => {}
                JobState::Ended { cells, .. } if cells > fetched.arrived => {}
                JobState::Ended { end: JobEnd::Finished, .. } => {}
                JobState::Ended { end, cells: done, of, .. } => {
                    self.release_job(job)?;
                    return Err(InstrumentError::JobEnded { job: job.0, end, done, of });
                }
                JobState::Unknown { boot_nonce } => {
                    return Err(InstrumentError::JobLost { job: job.0, reset: boot_nonce != boot });
                }
            }
        }
        self.finish_trace(job)?;
        Ok(fetched.traces)
    }

    /// The last sample may arrive before the job has ended.
    pub(super) fn finish_trace(&mut self, job: JobId) -> Result<(), InstrumentError> {
        while let JobState::Running { .. } = self.job_state(job)? {
            self.client.pause_between_looks()?;
        }
        self.release_job(job)
    }

    fn fetch_samples(
        &mut self,
        job: JobId,
        order: &TraceOrder,
        fetched: &mut Fetched,
    ) -> Result<(), InstrumentError> {
        let offset = fetched.arrived;
        let request = Request::FetchSamples { job, offset, arrived: offset };
        self.client.request(&request, |reply| match reply {
            Reply::Samples(samples) if samples.offset == offset => fetched.take(order, samples),
            other => Err(unexpected("fetch samples", other)),
        })
    }
}

impl Fetched {
    fn take(&mut self, order: &TraceOrder, samples: &Samples<'_>) -> Result<(), InstrumentError> {
        let code_bytes = Trace::code_bytes(order.averaged);
        let columns = usize::from(order.columns);
        let count = samples.codes.len() / (columns * code_bytes);
        let left = (order.samples - self.arrived) as usize;
        if count > left || samples.codes.len() != count * columns * code_bytes {
            let expected = left * columns * code_bytes;
            return Err(InstrumentError::Size {
                request: "fetch samples",
                expected,
                got: samples.codes.len(),
            });
        }
        let averaged = f64::from(order.averaged);
        let mut place = 0..columns;
        let mut add = |code: f64| {
            let column = place.next().unwrap_or_else(|| {
                place = 1..columns;
                0
            });
            self.traces.codes[column].push(code);
        };
        if code_bytes == 2 {
            samples
                .codes
                .as_chunks::<2>()
                .0
                .iter()
                .for_each(|&code| add(f64::from(i16::from_le_bytes(code))));
        } else {
            let sums = samples.codes.as_chunks::<4>().0.iter();
            sums.for_each(|&sum| add(f64::from(i32::from_le_bytes(sum)) / averaged));
        }
        self.arrived += count as u32;
        self.taken = samples.taken;
        self.traces.saturated = samples.saturated;
        self.traces.at_ns = samples.first_at_ns;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Emulation, profile};
    use crate::client::Client;
    use crate::device::EmulatedDevice;
    use crate::transport::InProcess;

    fn instrument() -> Instrument {
        let emulation = Emulation::new(profile(Some("rram-cmo")).unwrap(), 3);
        let device = EmulatedDevice::power_up(&emulation).unwrap();
        Instrument::new(Client::connect(Box::new(InProcess::new(device)), "emulated").unwrap())
    }

    const ORDER: TraceOrder = TraceOrder {
        source: TraceSource::Row(2),
        volts: 0.2,
        column: 1,
        columns: 3,
        range: 0,
        samples: 20_000,
        interval_ns: 50_000,
        averaged: 1,
    };

    fn mean(codes: &[f64]) -> f64 {
        codes.iter().sum::<f64>() / codes.len() as f64
    }

    #[test]
    fn a_trace_longer_than_any_frame_or_ring_comes_whole_and_takes_its_time() {
        let mut instrument = instrument();
        let before = instrument.status().unwrap();
        let traces = instrument.trace(&ORDER, |_| {}).unwrap();
        let after = instrument.status().unwrap();
        assert!(traces.codes.iter().all(|column| column.len() == 20_000));
        assert_eq!((traces.codes.len(), traces.saturated), (3, 0));
        // Each conversion was counted once, and the last began 19,999 intervals after the first.
        assert_eq!(after.counters.conversions - before.counters.conversions, 20_000);
        let since_first = after.at_ns - traces.at_ns;
        assert!((999_950_000..1_003_000_000).contains(&since_first), "{since_first} ns");
        assert_eq!(after.job, None);
        // 0.2 V across 10 µS and more into 100 kΩ is beyond 1000 codes of 0.19 mV.
        assert!(traces.codes.iter().all(|column| mean(column) < -1000.0));
    }

    #[test]
    fn sums_of_conversions_are_means_of_as_many_samples() {
        let mut instrument = instrument();
        let fine = instrument.trace(&TraceOrder { samples: 4000, ..ORDER }, |_| {}).unwrap();
        let coarse = instrument.trace(&TraceOrder { samples: 250, averaged: 16, ..ORDER }, |_| {}).unwrap();
        for (fine, coarse) in fine.codes.iter().zip(&coarse.codes) {
            assert_eq!(coarse.len(), 250);
            // 1/f noise of a few parts in a thousand between the two.
            assert!((mean(coarse) / mean(fine) - 1.0).abs() < 0.02);
        }
    }

    #[test]
    fn open_rows_and_the_reference_are_sampled_without_the_array() {
        let mut instrument = instrument();
        let open = TraceOrder { source: TraceSource::Open, volts: 0.0, samples: 200, ..ORDER };
        // Offsets of converter and amplifier: within 4 mV, that is 21 codes.
        let traces = instrument.trace(&open, |_| {}).unwrap();
        assert!(traces.codes.iter().all(|column| mean(column).abs() < 25.0), "{traces:?}");
        let reference = TraceOrder { source: TraceSource::Reference(0), columns: 1, samples: 200, ..ORDER };
        let code = mean(&instrument.trace(&reference, |_| {}).unwrap().codes[0]);
        // 0.2 V, 10 kΩ, 100 kΩ: −2 V, less offsets of 4 mV and 1 % from switch and tolerances.
        let volts = code * f64::from(instrument.device().converters.adc_step.0);
        assert!((volts + 2.0).abs() < 0.03, "{volts} V");
    }

    #[test]
    fn an_interval_too_short_for_the_board_loses_a_sample_and_says_which() {
        let mut instrument = instrument();
        // Refused where no conversion fits, lost where its read-out doesn't.
        let none = TraceOrder { interval_ns: 100, ..ORDER };
        assert!(matches!(instrument.trace(&none, |_| {}), Err(InstrumentError::Refused { .. })));
        let short = TraceOrder { interval_ns: 6_000, columns: 15, ..ORDER };
        match instrument.trace(&short, |_| {}) {
            Err(InstrumentError::JobEnded { end: JobEnd::LostSample, done, of: 20_000, .. }) => {
                assert!((1..10).contains(&done), "{done}");
            }
            other => panic!("{other:?}"),
        }
        // And the instrument is free for the next.
        assert!(instrument.trace(&TraceOrder { samples: 10, ..ORDER }, |_| {}).is_ok());
    }

    #[test]
    fn what_cannot_be_sampled_is_refused_before_anything_is_sent() {
        let mut instrument = instrument();
        let sent = instrument.client().traffic().sent;
        for bad in [
            TraceOrder { column: 15, columns: 2, ..ORDER },
            TraceOrder { source: TraceSource::Row(16), ..ORDER },
            TraceOrder { volts: 2.0, ..ORDER },
            TraceOrder { range: 7, ..ORDER },
        ] {
            assert!(instrument.trace(&bad, |_| {}).is_err(), "{bad:?}");
            assert_eq!(instrument.client().traffic().sent, sent);
        }
    }
}
