//! An emulated board in this process, stepped whenever somebody waits for it: no thread, no race, no time lost.

use super::{Pace, Transport, TransportError};
use crate::bench::EmulationError;
use crate::device::{EmulatedDevice, Wish};
use std::io;
use std::time::{Duration, Instant};

/// The device and the bytes between it and us.
pub struct InProcess {
    device: EmulatedDevice,
    /// Sent and not yet taken by the device.
    to_device: Vec<u8>,
    /// Said by the device and not yet read.
    to_host: Vec<u8>,
    clock: LinkClock,
    /// The device has dealt with everything it was sent.
    silent: bool,
}

impl InProcess {
    /// Takes over a device.
    #[must_use]
    pub fn new(device: EmulatedDevice) -> Self {
        let clock = LinkClock { passed: Duration::ZERO, since: Instant::now() };
        Self { device, to_device: Vec::new(), to_host: Vec::new(), clock, silent: false }
    }
}

/// The link's time: what has passed, less what the emulation took beyond what a board does at once. Meanwhile nobody in this
/// process can say anything, and a large array that is slow to compute, or to write into a file, must not look like a host that has died.
struct LinkClock {
    passed: Duration,
    since: Instant,
}

impl LinkClock {
    /// Most that one call of the device counts for.
    const AT_ONCE: Duration = Duration::from_millis(100);

    /// The device's turn begins: link time, ns.
    fn enter(&mut self) -> u64 {
        self.outside(self.since.elapsed());
        self.passed.as_nanos() as u64
    }

    /// It has ended.
    fn leave(&mut self) {
        self.inside(self.since.elapsed());
    }

    fn outside(&mut self, time: Duration) {
        self.passed += time;
        self.since += time;
    }

    fn inside(&mut self, time: Duration) {
        self.passed += time.min(Self::AT_ONCE);
        self.since += time;
    }
}

impl Transport for InProcess {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        self.silent = false;
        self.to_device.extend_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
        let end = Instant::now() + timeout;
        while self.to_host.is_empty() {
            let link_ns = self.clock.enter();
            let stepped = self.device.step(&self.to_device, link_ns, &mut self.to_host);
            self.clock.leave();
            let (taken, wish) = stepped.map_err(failed)?;
            self.to_device.drain(..taken);
            if wish == Wish::Bytes && self.to_host.is_empty() {
                // Nothing will come before something is sent; long waits still see the watchdog.
                self.silent = self.to_device.is_empty();
                std::thread::sleep(timeout.min(Duration::from_millis(1)));
                return Ok(0);
            }
            if Instant::now() >= end {
                break;
            }
        }
        let bytes = buffer.len().min(self.to_host.len());
        buffer[..bytes].copy_from_slice(&self.to_host[..bytes]);
        self.to_host.drain(..bytes);
        Ok(bytes)
    }

    fn pace(&self) -> Pace {
        Pace::IN_PROCESS
    }

    fn is_silent(&self) -> bool {
        self.silent
    }

    fn keep_state(&mut self) -> Result<(), TransportError> {
        self.clock.enter();
        let kept = self.device.keep_state();
        self.clock.leave();
        kept.map_err(failed)
    }

    fn power_cycle(&mut self) -> Result<(), TransportError> {
        self.silent = false;
        self.to_device.clear();
        self.to_host.clear();
        self.device.power_cycle().map_err(failed)
    }
}

fn failed(error: EmulationError) -> TransportError {
    TransportError::Io { port: "emulated".into(), source: io::Error::other(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_the_emulation_takes_is_no_silence_of_the_host_and_the_hosts_own_is() {
        let mut clock = LinkClock { passed: Duration::ZERO, since: Instant::now() };
        clock.outside(Duration::from_secs(3));
        assert_eq!(clock.passed, Duration::from_secs(3), "the host's own");
        // Five seconds of writing a large array's state.
        clock.inside(Duration::from_secs(5));
        assert_eq!(clock.passed, Duration::from_millis(3_100));
        clock.inside(Duration::from_millis(20));
        assert_eq!(clock.passed, Duration::from_millis(3_120), "a step that is over at once counts as it is");
    }
}
