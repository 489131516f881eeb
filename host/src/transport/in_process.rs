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
    start: Instant,
    /// The device has dealt with everything it was sent.
    silent: bool,
}

impl InProcess {
    /// Takes over a device.
    #[must_use]
    pub fn new(device: EmulatedDevice) -> Self {
        Self { device, to_device: Vec::new(), to_host: Vec::new(), start: Instant::now(), silent: false }
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
            let link_ns = self.start.elapsed().as_nanos() as u64;
            let (taken, wish) =
                self.device.step(&self.to_device, link_ns, &mut self.to_host).map_err(failed)?;
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
        self.device.keep_state().map_err(failed)
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
