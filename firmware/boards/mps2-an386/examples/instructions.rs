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
use ohmrig_firmware::core::{Boot, Core, Nameplate, Next, Now};
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
}

impl<B: Bench> Timed<B> {
    fn call<T>(&mut self, work: impl FnOnce(&mut B) -> Result<T, B::Error>) -> Result<T, B::Error> {
        let start = self.clock.now_ns();
        let result = work(&mut self.bench);
        self.inside_ns += self.clock.now_ns() - start;
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
    let timed = Timed { bench: ohmrig_emulated::board(NONCE), clock, inside_ns: 0 };
    let Ok(hardware) = BenchHardware::new(timed) else { panic!("no bench") };
    let config = Or16Config { rows: hardware.info().rows, columns: hardware.info().columns, gates: false };
    let Ok(mut front_end) = Or16::new(hardware, config) else { panic!("no such geometry") };
    let nameplate = Nameplate { board: "mps2-an386", emulated: true, firmware: "", git: "", build: &[] };
    let boot = Boot { nonce: NONCE, reset: ResetReason::PowerOn, panic: None };
    let mut core = Core::new(nameplate, boot, memory.storage());

    let hello =
        Header { version: version::CURRENT, kind: Kind::Hello, session: SessionId::NONE, sequence: 0 };
    answer(&mut core, &mut front_end, &clock, hello, &Hello { host_nonce: 7 });
    let header = Header {
        version: version::CURRENT,
        kind: Kind::Request,
        session: session_id(7, NONCE, 1),
        sequence: 0,
    };
    // From 0 to 39 mV in steps of 5 mV, each vector the same: two bytes per row, eight rows.
    let mut codes = [0; 2 * 8 * VECTORS as usize];
    for (slot, row) in codes.as_chunks_mut::<2>().0.iter_mut().zip((0..8u16).cycle()) {
        *slot = (0x8000 + 33 * row).to_le_bytes();
    }
    let request = Request::Mvm(Mvm { range: 0, conversions: 1, interval_ns: 0, codes: &codes });
    // The first brings the board to SAFE; it isn't counted.
    answer(&mut core, &mut front_end, &clock, header, &request);
    let inside_ns = front_end.hardware_mut().bench().inside_ns;
    let start_ns = clock.now_ns();
    for sequence in 1..=REQUESTS {
        let bytes = answer(&mut core, &mut front_end, &clock, Header { sequence, ..header }, &request);
        if bytes < codes.len() {
            panic!("a reply of {bytes} bytes is no products");
        }
    }
    let all_ns = clock.now_ns() - start_ns;
    let emulator_ns = front_end.hardware_mut().bench().inside_ns - inside_ns;
    let products = u64::from(REQUESTS) * u64::from(VECTORS);
    hal::say(format_args!(
        "instructions per product: firmware {} emulator {}",
        (all_ns - emulator_ns) / products,
        emulator_ns / products
    ));
    hal::exit(0)
}

/// Sends one frame and runs the core until its answer is complete; the bytes of the answer.
fn answer(
    core: &mut Core<'_>,
    front_end: &mut FrontEnd,
    clock: &hal::LinkClock,
    header: Header,
    body: &impl serde::Serialize,
) -> usize {
    let mut out = [0; 1024];
    let Ok(length) = frame::encode(header, body, &mut out) else { panic!("a frame too long") };
    let mut sent = 0;
    loop {
        sent += core.receive(out.get(sent..length).unwrap_or_default(), clock.now_ns());
        let Ok(instrument_ns) = front_end.hardware_mut().now_ns() else { panic!("no clock") };
        let next = core.poll(Now { instrument_ns, link_ns: clock.now_ns() }, front_end);
        match next {
            Next::WaitUntil(at_ns) => {
                let _ = front_end.hardware_mut().wait_until_ns(at_ns);
            }
            Next::Idle if sent == length && !core.outgoing().is_empty() => {
                let bytes = core.outgoing().len();
                core.sent(bytes);
                return bytes;
            }
            _ => {}
        }
    }
}
