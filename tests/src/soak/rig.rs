//! The board, the wire to it with a link clock of its own, and what only a test may do to them.

use ohmrig::bench::EmulationError;
use ohmrig::device::{EmulatedDevice, Wish};
use ohmrig::transport::{Pace, Transport, TransportError};
use ohmrig_emulator::truth::CellTruth;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Link time of one step of the device.
const STEP_NS: u64 = 1_000;

/// Steps that a device makes whenever somebody reads, even if it has answered: what lets a job get on.
const STEPS_PER_READ: u32 = 400;

/// A board on the bench.
pub(super) struct Rig {
    pub(super) device: EmulatedDevice,
    to_device: Vec<u8>,
    to_host: Vec<u8>,
    link_ns: u64,
    /// The device has dealt with everything it was sent.
    silent: bool,
    /// After so many more writes nothing gets through; `true` in the direction to the host.
    pub(super) cut: Option<(u32, bool)>,
    pub(super) power_cycles: u64,
}

impl Rig {
    pub(super) fn new(device: EmulatedDevice) -> Self {
        Self {
            device,
            to_device: Vec::new(),
            to_host: Vec::new(),
            link_ns: 0,
            silent: false,
            cut: None,
            power_cycles: 0,
        }
    }

    fn step(&mut self) -> Result<(), EmulationError> {
        self.link_ns += STEP_NS;
        let (taken, wish) = self.device.step(&self.to_device, self.link_ns, &mut self.to_host)?;
        self.to_device.drain(..taken);
        self.silent = wish == Wish::Bytes && self.to_device.is_empty();
        Ok(())
    }

    /// Runs the device until it has nothing more to do.
    pub(super) fn settle(&mut self) -> Result<(), EmulationError> {
        self.step()?;
        while !self.silent {
            self.step()?;
        }
        Ok(())
    }

    /// Lets the link be silent for a time.
    pub(super) fn wait(&mut self, time: Duration) -> Result<(), EmulationError> {
        let end = self.link_ns + time.as_nanos() as u64;
        while self.link_ns < end {
            // As often as the core asks to be polled.
            self.link_ns = end.min(self.link_ns + 10_000_000);
            self.settle()?;
        }
        Ok(())
    }

    pub(super) fn power_cycle(&mut self) -> Result<(), EmulationError> {
        self.power_cycles += 1;
        self.silent = false;
        self.to_device.clear();
        self.to_host.clear();
        self.device.power_cycle()
    }

    pub(super) fn truth(&mut self) -> Vec<CellTruth> {
        self.device.board().truth().expect("every emulated circuit here has a solution")
    }
}

/// The rig as it is shared between a test and the client's transport.
#[derive(Clone)]
pub(super) struct Wire(Arc<Mutex<Rig>>);

impl Wire {
    pub(super) fn new(rig: Rig) -> Self {
        Self(Arc::new(Mutex::new(rig)))
    }

    pub(super) fn rig(&self) -> MutexGuard<'_, Rig> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Wire {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        let mut rig = self.rig();
        rig.silent = false;
        let deaf = match &mut rig.cut {
            Some((0, mute)) => !*mute,
            Some((after, _)) => {
                *after -= 1;
                false
            }
            None => false,
        };
        if !deaf {
            rig.to_device.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
        let mut rig = self.rig();
        let end = Instant::now() + timeout;
        let mut steps = 0;
        rig.silent = false;
        while !rig.silent && (steps < STEPS_PER_READ || rig.to_host.is_empty() && Instant::now() < end) {
            rig.step().map_err(failed)?;
            steps += 1;
        }
        if matches!(rig.cut, Some((0, true))) {
            rig.to_host.clear();
        }
        if rig.to_host.is_empty() {
            // Whoever waits in vain waits for all of it.
            rig.link_ns += timeout.as_millis() as u64 * 1_000_000;
        }
        let bytes = buffer.len().min(rig.to_host.len());
        buffer[..bytes].copy_from_slice(&rig.to_host[..bytes]);
        rig.to_host.drain(..bytes);
        Ok(bytes)
    }

    fn pace(&self) -> Pace {
        // A device that has dealt with everything says so, which ends an attempt at once; the times are for one that
        // hangs. Looks at a job follow each other without a pause: reading is what drives it.
        let seconds = Duration::from_secs;
        Pace {
            base: seconds(60),
            measuring: seconds(60),
            hello: seconds(60),
            poll: Duration::ZERO,
            ..Pace::IN_PROCESS
        }
    }

    fn is_silent(&self) -> bool {
        let rig = self.rig();
        rig.silent && rig.to_host.is_empty()
    }

    fn power_cycle(&mut self) -> Result<(), TransportError> {
        self.rig().power_cycle().map_err(failed)
    }
}

fn failed(error: EmulationError) -> TransportError {
    TransportError::Io { port: "soak".into(), source: io::Error::other(error) }
}
