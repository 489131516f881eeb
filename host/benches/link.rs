//! What windowed batches of products cost on a slow wire: the client and an emulated board with a serial line of 1 Mbaud
//! between them, all in virtual time, so that the figures are exact and the same everywhere.
//!
//! `cargo bench -p ohmrig --bench link` prints them; it fails below the marks, also as part of `cargo test`.

use ndarray::Array2;
use ohmrig::bench::{Emulation, profile};
use ohmrig::client::Client;
use ohmrig::device::{EmulatedDevice, Wish};
use ohmrig::instrument::{Instrument, InstrumentError, ProductSettings};
use ohmrig::transport::{Pace, Transport, TransportError};
use ohmrig_protocol::bench::Bench;
use ohmrig_protocol::message::{Mvm, Reply, Request};
use std::collections::VecDeque;
use std::io;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One byte with start and stop bit at 1 Mbaud, ns.
const BYTE_NS: u64 = 10_000;

/// Bytes a device can have waiting to be sent before it stops working: its transmit buffer.
const TRANSMIT_BYTES: u64 = 4 * 2048;

/// Vectors, and vectors per request; 16 × 16.
const VECTORS: usize = 449;
const BATCH: usize = 16;
const LINES: usize = 16;

/// Marks: bytes beyond payload over payload, and the share of time in which the busier direction is occupied.
const OVERHEAD: f64 = 0.05;
const OCCUPIED: f64 = 0.90;

/// One direction of the wire.
#[derive(Default)]
struct Line {
    /// When its last byte is through.
    free_ns: u64,
    bytes: u64,
    /// Frames or pieces, each with when it is through.
    on_the_way: VecDeque<(u64, Vec<u8>)>,
}

impl Line {
    fn send(&mut self, bytes: &[u8], now_ns: u64) {
        let count = bytes.len() as u64;
        self.bytes += count;
        self.free_ns = self.free_ns.max(now_ns) + count * BYTE_NS;
        self.on_the_way.push_back((self.free_ns, bytes.to_vec()));
    }
}

/// Both directions and the host's clock, for whoever measures.
#[derive(Default)]
struct Wire {
    to_device: Line,
    to_host: Line,
    host_ns: u64,
}

/// A board at the far end of the wire. The device works for as long as its instrument clock says, the host takes no time,
/// and bytes a busy device hasn't read yet wait for it, as in the receive buffer of its UART driver.
struct Paced {
    device: EmulatedDevice,
    device_ns: u64,
    unread: Vec<u8>,
    wire: Arc<Mutex<Wire>>,
}

impl Paced {
    fn instrument_ns(&mut self) -> u64 {
        self.device.board().now_ns().expect("an emulated board has a clock")
    }
}

impl Transport for Paced {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        let mut wire = self.wire.lock().expect("one thread");
        let now_ns = wire.host_ns;
        wire.to_device.send(bytes, now_ns);
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
        let wire = Arc::clone(&self.wire);
        let mut wire = wire.lock().expect("one thread");
        let wire = &mut *wire;
        loop {
            if let Some((at_ns, piece)) = wire.to_host.on_the_way.pop_front() {
                wire.host_ns = wire.host_ns.max(at_ns);
                let bytes = buffer.len().min(piece.len());
                buffer[..bytes].copy_from_slice(&piece[..bytes]);
                if bytes < piece.len() {
                    wire.to_host.on_the_way.push_front((at_ns, piece[bytes..].to_vec()));
                }
                return Ok(bytes);
            }
            while let Some((_, bytes)) =
                wire.to_device.on_the_way.pop_front_if(|(at, _)| *at <= self.device_ns)
            {
                self.unread.extend(bytes);
            }
            // A full transmit buffer holds the device up until there is room.
            let backlog_ns = TRANSMIT_BYTES * BYTE_NS;
            self.device_ns = self.device_ns.max(wire.to_host.free_ns.saturating_sub(backlog_ns));
            let before = self.instrument_ns();
            let mut said = Vec::new();
            let (taken, wish) =
                self.device.step(&self.unread, self.device_ns, &mut said).map_err(|error| {
                    TransportError::Io { port: "wire".into(), source: io::Error::other(error) }
                })?;
            self.unread.drain(..taken);
            self.device_ns += self.instrument_ns() - before;
            if !said.is_empty() {
                wire.to_host.send(&said, self.device_ns);
            }
            if wish == Wish::Bytes && said.is_empty() && self.unread.is_empty() {
                match wire.to_device.on_the_way.front() {
                    Some((at_ns, _)) => self.device_ns = self.device_ns.max(*at_ns),
                    None => {
                        wire.host_ns += timeout.as_nanos() as u64;
                        return Ok(0);
                    }
                }
            }
        }
    }

    fn pace(&self) -> Pace {
        Pace::IN_PROCESS
    }
}

/// What a run cost.
struct Cost {
    to_device: u64,
    to_host: u64,
    wall_ns: u64,
}

impl Cost {
    fn say(&self, what: &str) -> bool {
        let payload = (VECTORS * LINES * 2 * 2) as f64;
        let bytes = (self.to_device + self.to_host) as f64;
        let overhead = bytes / payload - 1.0;
        let busier = self.to_device.max(self.to_host);
        let occupied = (busier * BYTE_NS) as f64 / self.wall_ns as f64;
        println!(
            "{what}: {VECTORS} products of {LINES} × {LINES} at 1 Mbaud in {:.3} ms, {:.0} per second; {:.2} bytes each ({} are \
             payload), overhead {:.2} % (at most {:.0} %), busier direction occupied {:.2} % (at least {:.0} %)",
            self.wall_ns as f64 * 1e-6,
            VECTORS as f64 / (self.wall_ns as f64 * 1e-9),
            bytes / VECTORS as f64,
            LINES * 4,
            100.0 * overhead,
            100.0 * OVERHEAD,
            100.0 * occupied,
            100.0 * OCCUPIED,
        );
        overhead <= OVERHEAD && occupied >= OCCUPIED
    }
}

/// Runs `work` on a fresh board, the connection not counted.
fn measure(work: impl FnOnce(&mut Instrument)) -> Cost {
    let emulation = Emulation::new(profile(Some("rram-cmo")).expect("built in"), 1);
    let device = EmulatedDevice::power_up(&emulation).expect("a board of the profile's own size");
    let wire = Arc::new(Mutex::new(Wire::default()));
    let paced = Paced { device, device_ns: 0, unread: Vec::new(), wire: Arc::clone(&wire) };
    let mut instrument =
        Instrument::new(Client::connect(Box::new(paced), "wire").expect("an emulated board"));
    let snapshot = || {
        let wire = wire.lock().expect("one thread");
        (wire.to_device.bytes, wire.to_host.bytes, wire.host_ns)
    };
    let before = snapshot();
    work(&mut instrument);
    let after = snapshot();
    assert_eq!(instrument.client().traffic().repeated, 0, "nothing is lost on this wire");
    Cost { to_device: after.0 - before.0, to_host: after.1 - before.1, wall_ns: after.2 - before.2 }
}

fn volts() -> Array2<f64> {
    Array2::from_shape_fn((VECTORS, LINES), |(n, i)| 0.2 * ((n * 7 + i * 3) % 32) as f64 / 32.0)
}

/// Requests of 16 vectors each, as many in flight as the window takes.
fn batches_of_16(instrument: &mut Instrument) {
    let converters = instrument.device().converters;
    let code = |volts: f64| (volts / f64::from(converters.dac_step.0)).round() as u16 + converters.dac_zero;
    let codes: Vec<u8> = volts().iter().flat_map(|&volts| code(volts).to_le_bytes()).collect();
    let requests = codes
        .chunks(BATCH * LINES * 2)
        .map(|codes| Request::Mvm(Mvm { range: 2, conversions: 1, interval_ns: 0, codes }));
    let mut outputs = 0;
    instrument
        .client_mut()
        .pipeline(requests, |_, reply| {
            let Reply::Mvm { codes, .. } = reply else { panic!("{reply:?}") };
            outputs += codes.len();
            Ok::<(), InstrumentError>(())
        })
        .expect("nothing is lost on this wire");
    assert_eq!(outputs, VECTORS * LINES * 2);
}

/// As the library does it: the largest batches that fit the device's frames.
fn as_the_library_does(instrument: &mut Instrument) {
    let settings = ProductSettings { range: 2, conversions: 1, interval_ns: 0 };
    instrument.mvm(volts().view(), settings, |_| {}).expect("nothing is lost on this wire");
}

fn main() -> ExitCode {
    let good =
        [measure(batches_of_16).say("requests of 16"), measure(as_the_library_does).say("Instrument::mvm")];
    if good.iter().all(|&good| good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
