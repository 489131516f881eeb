//! The log channel: records reach the host beside the answers, and whatever is logged, however much, and whatever gets lost on
//! the way, the instrument does the same.

use ohmrig::bench::{Emulation, profile};
use ohmrig::client::{Client, LogBatch};
use ohmrig::instrument::{Instrument, ReadSettings};
use ohmrig::transport::inject::Faulty;
use ohmrig::transport::{Pace, Transport, TransportError};
use ohmrig_emulator::board::Board;
use ohmrig_firmware::bench_hardware::BenchHardware;
use ohmrig_firmware::board::log_ring::{LogBatch as Taken, LogRing};
use ohmrig_firmware::board::memory::Memory;
use ohmrig_firmware::board::serve::{Station, Turn};
use ohmrig_firmware::core::{Boot, Core, Nameplate};
use ohmrig_firmware::hardware::Watchdog;
use ohmrig_firmware::or16::{Or16, Or16Config};
use ohmrig_protocol::message::{Reply, Request, ResetReason};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A processor whose link is two queues, and which logs as much as it finds room for, or nothing.
struct Processor {
    start: Instant,
    from_host: VecDeque<u8>,
    to_host: Vec<u8>,
    log: LogRing<1024>,
    logs: bool,
}

impl Station for Processor {
    fn link_ns(&mut self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.from_host.len());
        for (slot, byte) in into.iter_mut().zip(self.from_host.drain(..count)) {
            *slot = byte;
        }
        count
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        // As a slow UART: a few bytes at a time.
        let count = bytes.len().min(64);
        self.to_host.extend_from_slice(&bytes[..count]);
        count
    }

    fn take_log(&mut self, into: &mut [u8]) -> Taken {
        // Many more than there is room for.
        for length in 1..if self.logs { 40 } else { 1 } {
            self.log.push(&vec![0xAA; length]);
            self.log.push(&[0]);
            self.log.close();
        }
        self.log.take(into)
    }

    fn sleep(&mut self, _: u64) {}
}

impl Watchdog for Processor {
    fn feed(&mut self) {}
}

/// A board as on a microcontroller, turned by whoever waits for its bytes.
struct Chatty {
    core: Core<'static>,
    front_end: Or16<BenchHardware<Board>>,
    processor: Processor,
    turn: Turn,
}

impl Chatty {
    fn new(logs: bool) -> Self {
        let emulation = Emulation::new(profile(Some("rram-cmo")).unwrap(), 1000);
        let (board, _files) = emulation.power_up().unwrap();
        let hardware = BenchHardware::new(board).unwrap();
        let front_end = Or16::new(hardware, Or16Config { rows: 16, columns: 16, gates: false }).unwrap();
        let nameplate = Nameplate { board: "chatty", emulated: true, firmware: "0", git: "0", build: &[] };
        let boot = Boot { nonce: 7, reset: ResetReason::PowerOn, panic: None };
        let memory: &'static mut Memory<256, 16, 2048, 4096> = Box::leak(Box::new(Memory::new()));
        let processor = Processor {
            start: Instant::now(),
            from_host: VecDeque::new(),
            to_host: Vec::new(),
            log: LogRing::new(),
            logs,
        };
        let core = Core::new(nameplate, boot, memory.storage());
        Self { core, front_end, processor, turn: Turn::default() }
    }
}

impl Transport for Chatty {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        self.processor.from_host.extend(bytes);
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
        let end = Instant::now() + timeout;
        while self.processor.to_host.is_empty() && Instant::now() < end {
            let Self { core, front_end, processor, turn } = self;
            turn.once(core, front_end, Or16::hardware_mut, processor).expect("an emulated bench has a clock");
        }
        let count = buffer.len().min(self.processor.to_host.len());
        buffer[..count].copy_from_slice(&self.processor.to_host[..count]);
        self.processor.to_host.drain(..count);
        Ok(count)
    }

    fn pace(&self) -> Pace {
        Pace::IN_PROCESS
    }
}

/// What came of some work: conductances of all cells after pulses on some, counted pulses, and the log.
struct Outcome {
    cells: Vec<u64>,
    pulses: u64,
    log: Vec<LogBatch>,
}

fn work(transport: Box<dyn Transport>) -> Outcome {
    let mut instrument = Instrument::new(Client::connect(transport, "chatty").unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&heard);
    instrument.client_mut().listen_to_log(Box::new(move |batch| ear.lock().unwrap().push(batch)));
    let done = |reply: &Reply<'_>| match reply {
        Reply::Refused(refusal) => panic!("{refusal:?}"),
        _ => Ok::<(), ohmrig::client::LinkError>(()),
    };
    instrument.client_mut().request(&Request::Arm { milliseconds: 60_000 }, done).unwrap();
    for column in 0..8 {
        let pulse = ohmrig_protocol::message::Pulse {
            row: 1,
            column,
            volts: ohmrig_protocol::units::Volts(1.5),
            width: ohmrig_protocol::units::Seconds(1e-4),
            scheme: ohmrig_protocol::message::Scheme::Half,
            gate: None,
        };
        instrument.client_mut().request(&Request::Pulse(pulse), done).unwrap();
    }
    instrument.client_mut().request(&Request::Safe, done).unwrap();
    let settings = ReadSettings { volts: 0.2, range: Some(1), conversions: 4 };
    let cells = instrument.read_cells(instrument.whole(), &settings).unwrap();
    let pulses = instrument.status().unwrap().counters.pulses;
    drop(instrument);
    let log = std::mem::take(&mut *heard.lock().unwrap());
    Outcome { cells: cells.conductance.iter().map(|g| g.to_bits()).collect(), pulses, log }
}

#[test]
fn an_instrument_that_never_stops_logging_does_the_same_as_a_silent_one() {
    let silent = work(Box::new(Chatty::new(false)));
    let chatty = work(Box::new(Chatty::new(true)));
    assert_eq!((silent.pulses, chatty.pulses), (8, 8));
    assert_eq!(silent.cells, chatty.cells);
    assert!(silent.log.is_empty());
    assert!(chatty.log.len() > 10, "{} batches", chatty.log.len());
    for batch in &chatty.log {
        assert_eq!(batch.frames_lost, 0);
        assert_eq!(batch.records.last(), Some(&0), "a record is cut");
    }
    // There was never room for all that was logged, and the device said so.
    assert!(chatty.log.iter().map(|batch| u64::from(batch.dropped)).sum::<u64>() > 0);
}

#[test]
fn log_frames_that_a_bad_link_loses_are_counted_and_pulses_stay_single() {
    let inject = "drop=0.1,corrupt=0.05,duplicate=0.05,seed=3".parse().unwrap();
    let outcome = work(Box::new(Faulty::new(Box::new(Chatty::new(true)), inject)));
    assert_eq!(outcome.pulses, 8);
    let lost: u64 = outcome.log.iter().map(|batch| u64::from(batch.frames_lost)).sum();
    assert!(lost > 0, "of {} batches", outcome.log.len());
}

/// Standard output, standard error and status of `ohmrig`.
fn ohmrig(arguments: &[&str]) -> (String, String, Option<i32>) {
    let mut command = std::process::Command::new(ohmrig_tests::ohmrig());
    let output = command.args(arguments).stdin(std::process::Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn a_board_emulated_by_another_process_says_where_its_log_is() {
    let board = ohmrig_tests::Emulated::start("tcp:127.0.0.1:0", ["--seed", "1"]);
    let (_, said, status) = ohmrig(&["--port", &board.port, "logs", "--for", "1"]);
    board.end();
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("or16-emulated") && said.contains("process's own"), "{said}");
}

#[test]
fn a_device_in_this_process_logs_among_the_hosts_own_lines() {
    let (told, said, status) = ohmrig(&["--log-level", "info", "info"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("info: ohmrig_firmware::core: session 1 of this start"), "{said}");
    assert!(!told.contains("session 1 of this start"), "{told}");
    let (_, said, _) = ohmrig(&["--log-level", "error", "info"]);
    assert_eq!(said, "");
}

#[cfg(unix)]
mod qemu {
    use super::ohmrig;
    use ohmrig::image::Image;
    use std::path::PathBuf;

    fn image() -> PathBuf {
        std::env::var_os("OHMRIG_QEMU_IMAGE").expect("cargo xtask test names the image").into()
    }

    #[test]
    #[ignore = "needs the ARM image and QEMU: cargo xtask test"]
    fn qemu_what_the_image_logs_is_read_over_the_link_with_time_and_level() {
        let (told, said, status) = ohmrig(&["--port", "qemu", "--json", "logs", "--for", "1"]);
        assert_eq!(status, Some(0), "{said}");
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let records = told["records"].as_array().unwrap();
        let messages: Vec<&str> = records.iter().map(|record| record["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["start 1 of this board, by power-on", "session 1 of this start"]);
        for record in records {
            assert_eq!(record["level"], "info");
            let seconds: f64 = record["time_s"].as_str().unwrap().parse().unwrap();
            assert!(seconds > 0.0 && seconds < 60.0, "{seconds}");
        }
    }

    #[test]
    #[ignore = "needs the ARM image and QEMU: cargo xtask test"]
    fn qemu_device_lines_stand_among_the_hosts_own() {
        let (told, said, status) = ohmrig(&["--port", "qemu", "--log-level", "info", "info"]);
        assert_eq!(status, Some(0), "{said}");
        let line = said.lines().find(|line| line.starts_with("info: device: ")).unwrap_or_default();
        assert!(line.ends_with("start 1 of this board, by power-on"), "{said}");
        assert!(!told.contains("session 1 of this start"), "{told}");
        let (_, said, _) = ohmrig(&["--port", "qemu", "info"]);
        assert_eq!(said, "");
    }

    #[test]
    #[ignore = "needs the ARM image and QEMU: cargo xtask test"]
    fn qemu_another_image_is_refused_with_what_both_are() {
        let scratch = ohmrig_tests::Scratch::new("logs");
        let own = Image::read(&image()).unwrap();
        assert_eq!(own.build.len(), 16);
        let mut bytes = std::fs::read(image()).unwrap();
        let id: Vec<u8> = (0..8)
            .map(|index| u8::from_str_radix(&own.build[2 * index..2 * index + 2], 16).unwrap())
            .collect();
        let at = bytes.windows(8).position(|window| window == id).unwrap();
        bytes[at] ^= 0xFF;
        let other = scratch.path("other.elf");
        std::fs::write(&other, bytes).unwrap();
        let other_build = Image::read(&other).unwrap().build;
        let (_, said, status) =
            ohmrig(&["--port", "qemu", "logs", "--for", "1", "--elf", &other.display().to_string()]);
        assert_eq!(status, Some(2));
        for part in [&own.build, &other_build, &own.git, "other.elf"] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }
}
