//! Counts the instructions of matrix-vector products, the firmware's own apart from the emulator's, so that the test run
//! can see them grow. Under `qemu-system-arm -icount shift=0` an instruction is a nanosecond, and COUNTER counts 40 of
//! them.
#![no_std]
#![no_main]

#[allow(dead_code)]
#[path = "../src/hal.rs"]
mod hal;

use cortex_m::singleton;
use ohmrig_firmware::bench_hardware::BenchHardware;
use ohmrig_firmware::board::memory::Memory;
use ohmrig_firmware::board::serve::{Station, Turn};
use ohmrig_firmware::core::{Boot, Core, Nameplate};
use ohmrig_firmware::hardware::Watchdog;
use ohmrig_firmware::or16::{Or16, Or16Config};
use ohmrig_protocol::bench::{Bench, BenchInfo, ChipSelect, OutputLine};
use ohmrig_protocol::frame::{self, Header, Kind, SessionId};
use ohmrig_protocol::message::{Mvm, Request, ResetReason};
use ohmrig_protocol::session::{Hello, session_id};
use ohmrig_protocol::version;

/// Vectors of a request, and requests.
const VECTORS: u16 = 16;
const REQUESTS: u32 = 4;
const NONCE: u64 = 1;

/// A bench that notes how long its calls take.
struct Timed<B> {
    bench: B,
    clock: hal::LinkClock,
    inside_ns: u64,
    calls: u64,
}

impl<B: Bench> Timed<B> {
    fn call<T>(&mut self, work: impl FnOnce(&mut B) -> Result<T, B::Error>) -> Result<T, B::Error> {
        let start = self.clock.now_ns();
        let result = work(&mut self.bench);
        self.inside_ns += self.clock.now_ns() - start;
        self.calls += 1;
        result
    }
}

impl<B: Bench> Bench for Timed<B> {
    type Error = B::Error;

    fn info(&mut self) -> Result<BenchInfo, B::Error> {
        self.call(Bench::info)
    }
    fn now_ns(&mut self) -> Result<u64, B::Error> {
        self.call(Bench::now_ns)
    }
    fn wait_until_ns(&mut self, at_ns: u64) -> Result<(), B::Error> {
        self.call(|bench| bench.wait_until_ns(at_ns))
    }
    fn spi_write(&mut self, select: ChipSelect, frame: usize, out: &[u8]) -> Result<(), B::Error> {
        self.call(|bench| bench.spi_write(select, frame, out))
    }
    fn spi_transfer(
        &mut self,
        select: ChipSelect,
        frame: usize,
        out: &[u8],
        input: &mut [u8],
    ) -> Result<(), B::Error> {
        self.call(|bench| bench.spi_transfer(select, frame, out, input))
    }
    fn i2c(&mut self, address: u8, out: &[u8], input: &mut [u8]) -> Result<bool, B::Error> {
        self.call(|bench| bench.i2c(address, out, input))
    }
    fn set_output(&mut self, line: OutputLine, high: bool) -> Result<(), B::Error> {
        self.call(|bench| bench.set_output(line, high))
    }
    fn start_pulse(&mut self, width_ns: u32) -> Result<(), B::Error> {
        self.call(|bench| bench.start_pulse(width_ns))
    }
    fn stop_pulse(&mut self) -> Result<(), B::Error> {
        self.call(Bench::stop_pulse)
    }
    fn pulse_done(&mut self) -> Result<bool, B::Error> {
        self.call(Bench::pulse_done)
    }
    fn start_conversion(&mut self) -> Result<(), B::Error> {
        self.call(Bench::start_conversion)
    }
    fn conversion_done(&mut self) -> Result<bool, B::Error> {
        self.call(Bench::conversion_done)
    }
    fn supply_good(&mut self) -> Result<bool, B::Error> {
        self.call(Bench::supply_good)
    }
    fn flash_read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), B::Error> {
        self.call(|bench| bench.flash_read(offset, into))
    }
    fn flash_write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), B::Error> {
        self.call(|bench| bench.flash_write(offset, bytes))
    }
    fn flash_erase(&mut self, offset: u32) -> Result<(), B::Error> {
        self.call(|bench| bench.flash_erase(offset))
    }
    fn set_switches(&mut self, closed: u16) -> Result<(), B::Error> {
        self.call(|bench| bench.set_switches(closed))
    }
    fn arm_switches(&mut self, closed: u16) -> Result<(), B::Error> {
        self.call(|bench| bench.arm_switches(closed))
    }
    fn set_dac(&mut self, code: u16) -> Result<(), B::Error> {
        self.call(|bench| bench.set_dac(code))
    }
    fn read_adc(&mut self, first: u8, codes: &mut [u16]) -> Result<(), B::Error> {
        self.call(|bench| bench.read_adc(first, codes))
    }
}

type FrontEnd = Or16<BenchHardware<Timed<ohmrig_emulated::Board>>>;

#[cortex_m_rt::entry]
fn main() -> ! {
    let Some(hal::Board { clock, .. }) = hal::Board::start() else { panic!("started twice") };
    let Some(memory) = singleton!(: Memory<64, 8, 2048, 4096> = Memory::new()) else {
        panic!("started twice")
    };
    let timed = Timed { bench: ohmrig_emulated::board(NONCE), clock, inside_ns: 0, calls: 0 };
    let Ok(hardware) = BenchHardware::new(timed) else { panic!("no bench") };
    let config = Or16Config { rows: hardware.info().rows, columns: hardware.info().columns, gates: false };
    let Ok(mut front_end) = Or16::new(hardware, config) else { panic!("no such geometry") };
    let nameplate = Nameplate { board: "mps2-an386", emulated: true, firmware: "", git: "", build: &[] };
    let boot = Boot { nonce: NONCE, reset: ResetReason::PowerOn, panic: None };
    let mut core = Core::new(nameplate, boot, memory.storage());

    // From 0 to 35 mV in steps of 5 mV, every row another than in the vector before: two bytes per row, eight rows.
    let mut codes = [0; 2 * 8 * VECTORS as usize];
    for (slot, n) in codes.as_chunks_mut::<2>().0.iter_mut().zip(0..) {
        let (vector, row) = (n / 8, n % 8);
        *slot = (0x8000 + 33u16 * ((vector + row) % 8)).to_le_bytes();
    }
    let request = Request::Mvm(Mvm { range: 0, conversions: 1, interval_ns: 0, codes: &codes });
    let hello =
        Header { version: version::CURRENT, kind: Kind::Hello, session: SessionId::NONE, sequence: 0 };
    let mut host = Host { clock, frame: [0; 1024], length: 0, sent: 0, answer: 0, over: false };
    let mut turn = Turn::default();
    host.put(hello, &Hello { host_nonce: 7 });
    host.ask(&mut turn, &mut core, &mut front_end);
    let session = session_id(7, NONCE, 1);
    let header = Header { version: version::CURRENT, kind: Kind::Request, session, sequence: 0 };
    // The first brings the board to SAFE; it isn't counted.
    host.put(header, &request);
    host.ask(&mut turn, &mut core, &mut front_end);

    let looks = 1_000;
    let start_ns = clock.now_ns();
    for _ in 0..looks {
        core::hint::black_box(clock.now_ns());
    }
    let look_ns = (clock.now_ns() - start_ns) / looks;
    let bench = front_end.hardware_mut().bench();
    (bench.inside_ns, bench.calls) = (0, 0);
    let mut all_ns = 0;
    for sequence in 1..=REQUESTS {
        host.put(Header { sequence, ..header }, &request);
        let start_ns = clock.now_ns();
        let bytes = host.ask(&mut turn, &mut core, &mut front_end);
        all_ns += clock.now_ns() - start_ns;
        if bytes < codes.len() {
            panic!("a reply of {bytes} bytes is no products");
        }
    }
    let Timed { inside_ns, calls, .. } = *front_end.hardware_mut().bench();
    // Of the two looks at the clock for a call, half is inside.
    let emulator_ns = inside_ns - calls * look_ns;
    let firmware_ns = all_ns - inside_ns - calls * look_ns;
    let products = u64::from(REQUESTS) * u64::from(VECTORS);
    hal::say(format_args!(
        "instructions per product: firmware {} emulator {}",
        firmware_ns / products,
        emulator_ns / products
    ));
    let stack = ohmrig_cortex_m::stack();
    hal::say(format_args!("stack: {} bytes used of {}", stack.used, stack.bytes));
    hal::exit(0)
}

/// The station of a board whose host has one frame to send and counts the bytes of the answer.
struct Host {
    clock: hal::LinkClock,
    frame: [u8; 1024],
    length: usize,
    sent: usize,
    answer: usize,
    over: bool,
}

impl Host {
    fn put(&mut self, header: Header, body: &impl serde::Serialize) {
        let Ok(length) = frame::encode(header, body, &mut self.frame) else { panic!("a frame too long") };
        (self.length, self.sent, self.answer, self.over) = (length, 0, 0, false);
    }

    /// Turns the main loop until the answer is complete; its bytes.
    fn ask(&mut self, turn: &mut Turn, core: &mut Core<'_>, front_end: &mut FrontEnd) -> usize {
        while !self.over {
            let Ok(()) = turn.once(core, front_end, FrontEnd::hardware_mut, self) else { panic!("no clock") };
        }
        self.answer
    }
}

impl Station for Host {
    fn link_ns(&mut self) -> u64 {
        self.clock.now_ns()
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let rest = self.frame.get(self.sent..self.length).unwrap_or_default();
        let count = rest.len().min(into.len());
        into.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.sent += count;
        count
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.answer += bytes.len();
        self.over |= bytes.last() == Some(&0);
        bytes.len()
    }

    fn sleep(&mut self, _until_ns: u64) {}
}

impl Watchdog for Host {
    fn feed(&mut self) {}
}
