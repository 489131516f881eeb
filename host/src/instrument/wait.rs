//! Letting time pass by the instrument's clock: a job on the device, so that emulated time passes at once, real time is
//! the board's own, and a broken link in between costs nothing.

use super::{Instrument, InstrumentError};
use crate::client::LinkError;
use ohmrig_protocol::message::{JobEnd, JobId, JobState, Request};

/// Times a lost link is picked up again within one wait.
const RECONNECTS: u32 = 3;

impl Instrument {
    /// Waits until an instant of the instrument's clock, ns. `progress` is told the present instant now and then; an
    /// instant that is past ends at once. The array is in SAFE meanwhile.
    ///
    /// # Errors
    /// [`InstrumentError`]; `JobLost` if the device was reset, after which its clock is another one.
    pub fn wait_until(
        &mut self,
        until_ns: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<(), InstrumentError> {
        let boot = self.client.welcome().boot_nonce;
        let mut reconnects = 0;
        'job: loop {
            let job = JobId(getrandom::u64().map_err(LinkError::Entropy)?);
            let mut started = self.done(&Request::Wait { job, until_ns }, "wait");
            loop {
                match started.and_then(|()| self.job_state(job)) {
                    Ok(JobState::Running { .. }) => progress(self.status()?.at_ns),
                    Ok(JobState::Ended { end, cells, of, .. }) => {
                        self.release_job(job)?;
                        match end {
                            JobEnd::Finished => return Ok(()),
                            // A new session ends the job of the old one; the instant is still the same.
                            JobEnd::Aborted if reconnects > 0 => continue 'job,
                            end => {
                                return Err(InstrumentError::JobEnded { job: job.0, end, done: cells, of });
                            }
                        }
                    }
                    Ok(JobState::Unknown { boot_nonce }) if boot_nonce == boot && reconnects > 0 => {
                        continue 'job;
                    }
                    Ok(JobState::Unknown { boot_nonce }) => {
                        return Err(InstrumentError::JobLost { job: job.0, reset: boot_nonce != boot });
                    }
                    Err(InstrumentError::Link(
                        error @ (LinkError::TimedOut { .. } | LinkError::SessionLost { .. }),
                    )) if reconnects < RECONNECTS => {
                        log::warn!("{error}; opening a new session to go on waiting");
                        reconnects += 1;
                        self.client.reconnect()?;
                    }
                    Err(error) => return Err(error),
                }
                started = self.client.pause_between_looks().map_err(InstrumentError::from);
            }
        }
    }

    /// Waits for a time by the instrument's clock, s.
    ///
    /// # Errors
    /// As [`wait_until`](Self::wait_until); `Argument` for a time that is negative, not finite or beyond the clock.
    pub fn wait(&mut self, seconds: f64, progress: impl FnMut(u64)) -> Result<(), InstrumentError> {
        let ns = seconds * 1e9;
        if !(ns >= 0.0 && ns < u64::MAX as f64 / 2.0) {
            return Err(InstrumentError::Argument(format!(
                "a wait of {seconds} s is not possible; 0 to 292 years are"
            )));
        }
        let now_ns = self.status()?.at_ns;
        self.wait_until(now_ns.saturating_add(ns as u64), progress)
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

    #[test]
    fn a_wait_of_a_year_takes_a_year_of_instrument_time_and_nothing_else() {
        let mut instrument = instrument();
        let year = 365.25 * 86400.0;
        let before = instrument.status().unwrap();
        instrument.wait(year, |_| {}).unwrap();
        let after = instrument.status().unwrap();
        let passed = (after.at_ns - before.at_ns) as f64 * 1e-9;
        // What the switches need to get back to SAFE comes on top.
        assert!((year..year + 0.01).contains(&passed), "{passed} s");
        assert_eq!(after.counters.pulses, 0);
        assert_eq!(after.job, None);
    }

    #[test]
    fn an_instant_that_is_past_ends_at_once_and_an_impossible_time_is_refused_before_anything_is_sent() {
        let mut instrument = instrument();
        instrument.wait_until(0, |_| {}).unwrap();
        let sent = instrument.client().traffic().sent;
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e30] {
            let error = instrument.wait(bad, |_| {}).unwrap_err();
            assert!(matches!(error, InstrumentError::Argument(_)), "{error}");
        }
        assert_eq!(instrument.client().traffic().sent, sent);
    }
}
