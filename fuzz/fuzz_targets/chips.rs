//! The firmware on chips that lie: the emulated board with answers spoiled, edges lost and calls failing wherever the
//! input says. Whatever they say, there is an answer in a bounded number of steps, and no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ohmrig_emulator::board::{Board, BoardError};
use ohmrig_firmware::bench_hardware::BenchHardware;
use ohmrig_firmware::core::{Boot, CellCount, Core, JobCell, Nameplate, Next, Now, Storage};
use ohmrig_firmware::or16::{Or16, Or16Config};
use ohmrig_firmware::store::STORE_BYTES;
use ohmrig_fuzz::{Asked, emulation};
use ohmrig_protocol::bench::{Bench, BenchInfo, ChipSelect, OutputLine};
use ohmrig_protocol::frame::{self, Header, Kind};
use ohmrig_protocol::message::ResetReason;
use ohmrig_protocol::session::{Hello, Welcome};
use ohmrig_protocol::version;

const FRAME: usize = 1024;
const REQUESTS: usize = 12;

/// A board whose calls go wrong by a script: one byte a call, 0 to 239 for right.
struct Lying {
    board: Board,
    script: std::vec::IntoIter<u8>,
}

/// The board's own error, or one of the script's.
#[derive(Debug)]
#[allow(dead_code)] // It is there to be printed.
enum LyingError {
    Board(BoardError),
    Scripted,
}

impl From<BoardError> for LyingError {
    fn from(error: BoardError) -> Self {
        Self::Board(error)
    }
}

impl Lying {
    /// What is wrong with this call: 1 to 16, or 0.
    fn wrong(&mut self) -> Result<u8, LyingError> {
        match self.script.next().unwrap_or(0) {
            255 => Err(LyingError::Scripted),
            byte => Ok(byte.saturating_sub(239)),
        }
    }
}

impl Bench for Lying {
    type Error = LyingError;

    fn info(&mut self) -> Result<BenchInfo, LyingError> {
        Ok(self.board.info()?)
    }
    fn now_ns(&mut self) -> Result<u64, LyingError> {
        Ok(self.board.now_ns()?)
    }
    fn wait_until_ns(&mut self, at_ns: u64) -> Result<(), LyingError> {
        Ok(self.board.wait_until_ns(at_ns)?)
    }
    fn spi_write(&mut self, select: ChipSelect, frame: usize, out: &[u8]) -> Result<(), LyingError> {
        match self.wrong()? {
            0 => Ok(self.board.spi_write(select, frame, out)?),
            // Lost, or a bit turned over.
            1..4 => Ok(()),
            n => {
                let mut out = out.to_vec();
                let at = usize::from(n) * 7 % out.len().max(1);
                if let Some(byte) = out.get_mut(at) {
                    *byte ^= 1 << (n % 8);
                }
                Ok(self.board.spi_write(select, frame, &out)?)
            }
        }
    }
    fn spi_transfer(
        &mut self,
        select: ChipSelect,
        frame: usize,
        out: &[u8],
        input: &mut [u8],
    ) -> Result<(), LyingError> {
        let wrong = self.wrong()?;
        self.board.spi_transfer(select, frame, out, input)?;
        match wrong {
            0 => {}
            1 => input.fill(0xFF),
            2 => input.fill(0),
            n => {
                let at = usize::from(n) * 5 % input.len().max(1);
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << (n % 8);
                }
            }
        }
        Ok(())
    }
    fn i2c(&mut self, address: u8, out: &[u8], input: &mut [u8]) -> Result<bool, LyingError> {
        let wrong = self.wrong()?;
        let acknowledged = self.board.i2c(address, out, input)?;
        if wrong > 1 {
            input.fill(wrong.wrapping_mul(17));
        }
        Ok(acknowledged && wrong != 1)
    }
    fn set_output(&mut self, line: OutputLine, high: bool) -> Result<(), LyingError> {
        if self.wrong()? == 0 { Ok(self.board.set_output(line, high)?) } else { Ok(()) }
    }
    fn start_pulse(&mut self, width_ns: u32) -> Result<(), LyingError> {
        if self.wrong()? == 0 { Ok(self.board.start_pulse(width_ns)?) } else { Ok(()) }
    }
    fn stop_pulse(&mut self) -> Result<(), LyingError> {
        self.wrong()?;
        Ok(self.board.stop_pulse()?)
    }
    fn pulse_done(&mut self) -> Result<bool, LyingError> {
        Ok(self.wrong()? == 0 && self.board.pulse_done()?)
    }
    fn start_conversion(&mut self) -> Result<(), LyingError> {
        if self.wrong()? == 0 { Ok(self.board.start_conversion()?) } else { Ok(()) }
    }
    fn conversion_done(&mut self) -> Result<bool, LyingError> {
        Ok(self.wrong()? == 0 && self.board.conversion_done()?)
    }
    fn supply_good(&mut self) -> Result<bool, LyingError> {
        Ok(self.wrong()? == 0 && self.board.supply_good()?)
    }
    fn flash_read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), LyingError> {
        Ok(self.board.flash_read(offset, into)?)
    }
    fn flash_write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), LyingError> {
        Ok(self.board.flash_write(offset, bytes)?)
    }
    fn flash_erase(&mut self, offset: u32) -> Result<(), LyingError> {
        Ok(self.board.flash_erase(offset)?)
    }
    fn set_switches(&mut self, closed: u16) -> Result<(), LyingError> {
        Ok(self.board.set_switches(closed)?)
    }
    fn arm_switches(&mut self, closed: u16) -> Result<(), LyingError> {
        Ok(self.board.arm_switches(closed)?)
    }
    fn set_dac(&mut self, code: u16) -> Result<(), LyingError> {
        Ok(self.board.set_dac(code)?)
    }
    fn read_adc(&mut self, first: u8, codes: &mut [u16]) -> Result<(), LyingError> {
        Ok(self.board.read_adc(first, codes)?)
    }
}

/// Hands in bytes, and polls until everything is taken and there is nothing to do but wait for bytes.
fn exchange(
    core: &mut Core<'_>,
    front_end: &mut Or16<BenchHardware<Lying>>,
    link_ns: &mut u64,
    bytes: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    for step in 0.. {
        assert!(step < ohmrig_fuzz::MOST_STEPS, "no end after {step} steps");
        *link_ns += 1_000;
        let taken = core.receive(rest, *link_ns);
        rest = &rest[taken..];
        let Ok(instrument_ns) = front_end.hardware_mut().now_ns() else { return out };
        let next = core.poll(Now { instrument_ns, link_ns: *link_ns }, front_end);
        let sent = core.outgoing().len();
        out.extend_from_slice(core.outgoing());
        core.sent(sent);
        match next {
            Next::WaitUntil(at_ns) => {
                let waited = front_end.hardware_mut().bench().wait_until_ns(at_ns);
                waited.expect("the emulator waits");
            }
            Next::Idle if rest.is_empty() && taken == 0 => break,
            Next::Ready | Next::Idle => {}
        }
        // A job goes on as long as it likes.
        if !out.is_empty() && rest.is_empty() && step > 5_000 {
            break;
        }
    }
    out
}

fuzz_target!(|input: ((u8, u8), Vec<Asked>, Vec<u8>)| {
    let ((rows, columns), asked, script) = input;
    let emulation = emulation(0, rows, columns);
    let (board, _files) = emulation.power_up().expect("an emulated board");
    let Ok(hardware) = BenchHardware::new(Lying { board, script: script.into_iter() }) else { return };
    let config = Or16Config { rows: emulation.rows, columns: emulation.columns, gates: false };
    let Ok(mut front_end) = Or16::new(hardware, config) else { return };
    let cells = usize::from(emulation.rows) * usize::from(emulation.columns);
    let (mut receive, mut transmit, mut data) = ([0; FRAME], [0; 2 * FRAME], [0; FRAME]);
    let mut codes = vec![0; usize::from(emulation.columns)];
    let (mut counts, mut job) = (vec![CellCount::NONE; cells], vec![JobCell::EMPTY; cells]);
    let lines = usize::from(emulation.rows) + usize::from(emulation.columns) + 1;
    let (mut lines, mut item) = (vec![0; lines], [0; STORE_BYTES]);
    let mut ring = [0; 2 * FRAME];
    let storage = Storage {
        receive: &mut receive,
        transmit: &mut transmit,
        data: &mut data,
        codes: &mut codes,
        cells: &mut counts,
        lines: &mut lines,
        item: &mut item,
        job: &mut job,
        ring: &mut ring,
    };
    let nameplate = Nameplate { board: "fuzz", emulated: true, firmware: "0", git: "0", build: &[] };
    let mut core = Core::new(nameplate, Boot { nonce: 1, reset: ResetReason::PowerOn, panic: None }, storage);
    let mut link_ns = 0;
    let welcome =
        // The first start that the flash has counted.
        Welcome { host_nonce: 1, boot_nonce: 1 << 32 | 1, sessions: 1, max_frame: 0, window: 0, job_cells: 0 };
    let mut send = |kind, sequence, body: &[u8]| {
        let mut out = vec![0; frame::encoded_bytes(body.len())];
        let session = welcome.session();
        let header = Header { version: version::CURRENT, kind, session, sequence };
        let length = frame::encode(header, &frame::Serialized(body), &mut out).expect("room for a frame");
        if length <= FRAME {
            exchange(&mut core, &mut front_end, &mut link_ns, &out[..length]);
        }
    };
    send(Kind::Hello, 0, &postcard::to_allocvec(&Hello { host_nonce: 1 }).expect("a hello"));
    for (sequence, asked) in (0..).zip(asked.iter().take(REQUESTS)) {
        let body = match asked {
            Asked::Body(body) => body.clone(),
            other => match other.with(emulation.rows, |request| postcard::to_allocvec(request)) {
                Some(body) => body.expect("a request"),
                None => continue,
            },
        };
        send(Kind::Request, sequence, &body);
    }
});
