//! The board: two UARTs, a clock, the ways to end. All `unsafe` of the image is in this file.
//!
//! Sources: QEMU's models `hw/arm/mps2.c`, `hw/char/cmsdk-apb-uart.c`, `hw/watchdog/cmsdk-apb-watchdog.c` and
//! `hw/misc/mps2-fpgaio.c`, which name what
//! they model: Arm Application Note AN386 and Arm DDI 0479C, "Cortex-M System Design Kit TRM".

use core::{
    cell::{Cell, RefCell},
    fmt::Write as _,
};

use cortex_m::{interrupt::InterruptNumber, peripheral::NVIC, peripheral::syst::SystClkSource};
use cortex_m_rt::exception;
use cortex_m_semihosting::hio;
use critical_section::Mutex;
use heapless::spsc::{Consumer, Producer, Queue};
use ohmrig_firmware::board::log_ring::LogBatch;
use ohmrig_firmware::board::serve::Station;
use ohmrig_memory_functions as _;
use ohmrig_protocol::message::ResetReason;

/// System clock, Hz: `SYSCLK_FRQ` in `hw/arm/mps2.c`.
const SYSTEM_CLOCK_HZ: u32 = 25_000_000;

/// Exit status after a panic, as that of a Rust process.
pub(crate) const EXIT_PANIC: u32 = 101;
/// Exit status after a HardFault.
pub(crate) const EXIT_HARD_FAULT: u32 = 102;

/// One 32-bit device register.
#[derive(Clone, Copy)]
struct Register(u32);

impl Register {
    fn read(self) -> u32 {
        // SAFETY: every `Register` in this file is an aligned device register of the board's memory map.
        unsafe { core::ptr::read_volatile(self.0 as *const u32) }
    }

    fn write(self, value: u32) {
        // SAFETY: as in `read`; none of the registers gives a device access to memory.
        unsafe { core::ptr::write_volatile(self.0 as *mut u32, value) }
    }
}

/// Interrupts in use: `uartirq` in `hw/arm/mps2.c`, receive of UART n.
#[derive(Clone, Copy)]
#[repr(u16)]
enum Interrupt {
    Uart0Receive = 0,
    Uart1Receive = 2,
}

// SAFETY: the numbers are constant and those of the hardware.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self as u16
    }
}

/// Bytes a UART holds for the main loop: more than two of the longest frames of either link.
const RECEIVE_BYTES: usize = 8192;
type ReceiveQueue = Queue<u8, RECEIVE_BYTES>;

/// Registers of a CMSDK APB UART, by offset and bit as in `hw/char/cmsdk-apb-uart.c`.
#[derive(Clone, Copy)]
struct UartRegisters {
    data: Register,
    state: Register,
    control: Register,
    interrupt: Register,
    divider: Register,
}

const STATE_TX_FULL: u32 = 1;
const STATE_RX_FULL: u32 = 1 << 1;
const CONTROL_TX: u32 = 1;
const CONTROL_RX: u32 = 1 << 1;
const CONTROL_RX_INTERRUPT: u32 = 1 << 3;
const INTERRUPT_RX: u32 = 1 << 1;
/// Smallest divider the UART takes, for 1.5625 MBd; QEMU ignores the rate.
const FASTEST_DIVIDER: u32 = 16;

impl UartRegisters {
    const fn at(base: u32) -> Self {
        Self {
            data: Register(base),
            state: Register(base + 0x4),
            control: Register(base + 0x8),
            interrupt: Register(base + 0xC),
            divider: Register(base + 0x10),
        }
    }
}

/// What the interrupt and the main loop share about one UART.
struct Receiver {
    registers: UartRegisters,
    queue: Mutex<RefCell<Option<Producer<'static, u8>>>>,
    /// The queue was full: the last byte waits in the UART and its interrupt is off.
    stalled: Mutex<Cell<bool>>,
}

impl Receiver {
    const fn at(base: u32) -> Self {
        Self {
            registers: UartRegisters::at(base),
            queue: Mutex::new(RefCell::new(None)),
            stalled: Mutex::new(Cell::new(false)),
        }
    }

    /// Moves the byte in the UART, if any, to the queue. Where there's no room it stays in the UART, which holds
    /// the sender back in QEMU.
    fn take_byte(&self) {
        critical_section::with(|cs| {
            // Before DATA is read: the next byte may come any time after.
            self.registers.interrupt.write(INTERRUPT_RX);
            if self.registers.state.read() & STATE_RX_FULL == 0 {
                return;
            }
            let mut queue = self.queue.borrow_ref_mut(cs);
            let Some(queue) = queue.as_mut() else { return };
            let room = queue.ready();
            if self.stalled.borrow(cs).replace(!room) == room {
                // Before DATA is read as well: a byte that comes while the interrupt is off raises none later.
                let interrupt = if room { CONTROL_RX_INTERRUPT } else { 0 };
                self.registers.control.write(CONTROL_TX | CONTROL_RX | interrupt);
            }
            if room {
                // Only the low byte holds data; a queue that is ready takes it.
                let _ = queue.enqueue(self.registers.data.read() as u8);
            }
        });
    }
}

static UART0: Receiver = Receiver::at(0x4000_4000);
static UART1: Receiver = Receiver::at(0x4000_5000);

/// One of the board's UARTs, receiving by interrupt into a queue.
pub(crate) struct Uart {
    receiver: &'static Receiver,
    received: Consumer<'static, u8>,
}

impl Uart {
    fn new(receiver: &'static Receiver, interrupt: Interrupt, queue: &'static mut ReceiveQueue) -> Self {
        let (producer, received) = queue.split();
        critical_section::with(|cs| receiver.queue.borrow_ref_mut(cs).replace(producer));
        receiver.registers.divider.write(FASTEST_DIVIDER);
        receiver.registers.control.write(CONTROL_TX | CONTROL_RX | CONTROL_RX_INTERRUPT);
        // SAFETY: no critical section is built on masking this interrupt.
        unsafe { NVIC::unmask(interrupt) };
        Self { receiver, received }
    }

    /// Copies what has arrived, as much as fits into `into`, and returns how many bytes that is. Never waits.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> usize {
        let mut count = 0;
        for (slot, byte) in into.iter_mut().zip(core::iter::from_fn(|| self.received.dequeue())) {
            *slot = byte;
            count += 1;
        }
        if critical_section::with(|cs| self.receiver.stalled.borrow(cs).get()) {
            self.receiver.take_byte();
        }
        count
    }

    /// Whether [`read`](Self::read) would return something.
    pub(crate) fn readable(&self) -> bool {
        self.received.ready()
    }

    /// Sends bytes from the front of `bytes` until the transmitter is busy, and returns how many. Never waits.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        let UartRegisters { data, state, .. } = self.receiver.registers;
        bytes
            .iter()
            .take_while(|byte| {
                let free = state.read() & STATE_TX_FULL == 0;
                if free {
                    data.write(u32::from(**byte));
                }
                free
            })
            .count()
    }
}

/// The other end took or gave no byte for [`SILENCE_NS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end of the UART has been silent for {} s", SILENCE_NS / 1_000_000_000)]
pub(crate) struct Silent;

/// How long the blocking calls wait, ns. The bench answers within milliseconds; this only has to outlast a machine
/// that is busy with something else.
const SILENCE_NS: u64 = 20_000_000_000;

impl embedded_io::Error for Silent {
    fn kind(&self) -> embedded_io::ErrorKind {
        embedded_io::ErrorKind::TimedOut
    }
}

impl embedded_io::ErrorType for Uart {
    type Error = Silent;
}

impl embedded_io::Read for Uart {
    /// Waits for at least one byte.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Silent> {
        if into.is_empty() {
            return Ok(0);
        }
        if !self.readable() {
            let start = now_ns();
            sleep_until(|| self.readable() || now_ns() - start > SILENCE_NS);
        }
        match Uart::read(self, into) {
            0 => Err(Silent),
            count => Ok(count),
        }
    }
}

impl embedded_io::Write for Uart {
    /// Waits until at least one byte has gone.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Silent> {
        let mut busy_since = None;
        loop {
            let count = Uart::write(self, bytes);
            if count > 0 || bytes.is_empty() {
                return Ok(count);
            }
            let since = *busy_since.get_or_insert_with(now_ns);
            if now_ns() - since > SILENCE_NS {
                return Err(Silent);
            }
        }
    }

    /// A byte that was taken is on its way; there's nothing to wait for.
    fn flush(&mut self) -> Result<(), Silent> {
        Ok(())
    }
}

/// Sleeps between interrupts until `ready`; looks again after every one, at least every 10 ms.
pub(crate) fn sleep_until(mut ready: impl FnMut() -> bool) {
    // Interrupts are held off between the question and the sleep, or one that answers it there would be slept over;
    // a pending interrupt ends `wfi` all the same (Armv7-M ARM, B1.5.19).
    while !cortex_m::interrupt::free(|_| {
        let now = ready();
        if !now {
            cortex_m::asm::wfi();
        }
        now
    }) {}
}

/// COUNTER of the FPGA's system control block: one count per system clock while PRESCALE is 0 (`resync_counter` in
/// `hw/misc/mps2-fpgaio.c`).
const COUNTER: Register = Register(0x4002_8018);
const PRESCALE: Register = Register(0x4002_801C);
const NS_PER_COUNT: u64 = 1_000_000_000 / SYSTEM_CLOCK_HZ as u64;

/// Counts since the clock was started, as last read: COUNTER and its carries past 32 bits.
static COUNTS: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

/// Nanoseconds since the board was started, in steps of 40 ns.
fn now_ns() -> u64 {
    critical_section::with(|cs| {
        let counts = COUNTS.borrow(cs);
        let last = counts.get();
        let now = last.wrapping_add(COUNTER.read().wrapping_sub(last as u32).into());
        counts.set(now);
        now.wrapping_mul(NS_PER_COUNT)
    })
}

/// Microseconds since the board was started.
pub(crate) fn now_us() -> u64 {
    now_ns() / 1_000
}

/// Time for watchdogs and time-outs: host time, since QEMU's virtual clock follows it.
#[derive(Clone, Copy)]
pub(crate) struct LinkClock(());

impl LinkClock {
    /// Nanoseconds since the board was started, in steps of 40 ns.
    pub(crate) fn now_ns(&self) -> u64 {
        now_ns()
    }
}

/// Registers of the CMSDK APB watchdog, by offset and bit as in `hw/watchdog/cmsdk-apb-watchdog.c`.
mod watchdog {
    use super::Register;

    pub(super) const LOAD: Register = Register(0x4000_8000);
    /// Interrupt (bit 0) after LOAD counts, reset (bit 1) after as many more.
    pub(super) const CONTROL: Register = Register(0x4000_8008);
    pub(super) const CONTROL_INTERRUPT_AND_RESET: u32 = 0b11;
    /// Any write starts the count anew.
    pub(super) const CLEAR: Register = Register(0x4000_800C);
    pub(super) const LOCK: Register = Register(0x4000_8C00);
    pub(super) const UNLOCK: u32 = 0x1ACC_E551;
}

/// A word at the end of the 16 MiB of PSRAM (`hw/arm/mps2.c`), which nothing else uses and a reset leaves alone.
const LAST_WORDS: Register = Register(0x21FF_FFFC);
/// There when the watchdog was about to reset the board.
const BITTEN: u32 = 0xB17E_B17E;

/// The board's watchdog.
pub(crate) struct HardwareWatchdog(());

impl HardwareWatchdog {
    /// Starts it: without food it resets the board after twice as many seconds, at most 170 s of them.
    pub(crate) fn start(seconds: u32) -> Self {
        watchdog::LOCK.write(watchdog::UNLOCK);
        watchdog::LOAD.write(SYSTEM_CLOCK_HZ.saturating_mul(seconds));
        watchdog::CONTROL.write(watchdog::CONTROL_INTERRUPT_AND_RESET);
        Self(())
    }
}

impl ohmrig_firmware::hardware::Watchdog for HardwareWatchdog {
    fn feed(&mut self) {
        watchdog::CLEAR.write(1);
    }
}

/// The watchdog's first time is over. Whatever hangs, it is reset when the second is.
#[exception]
unsafe fn NonMaskableInt() {
    LAST_WORDS.write(BITTEN);
    loop {
        cortex_m::asm::nop();
    }
}

/// The host's line with the link clock and the watchdog, as the loop wants them.
pub(crate) struct HostLine {
    pub(crate) uart: Uart,
    pub(crate) clock: LinkClock,
    pub(crate) watchdog: HardwareWatchdog,
}

impl Station for HostLine {
    fn link_ns(&mut self) -> u64 {
        self.clock.now_ns()
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        Uart::read(&mut self.uart, into)
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        Uart::write(&mut self.uart, bytes)
    }

    fn take_log(&mut self, into: &mut [u8]) -> LogBatch {
        ohmrig_log::take(into)
    }

    fn sleep(&mut self, until_ns: u64) {
        sleep_until(|| self.uart.readable() || self.clock.now_ns() >= until_ns);
    }
}

impl ohmrig_firmware::hardware::Watchdog for HostLine {
    fn feed(&mut self) {
        self.watchdog.feed();
    }
}

/// Everything the main loop drives.
pub(crate) struct Board {
    /// The host's line: serial 0 of QEMU.
    pub(crate) host: Uart,
    /// The bench tunnel: serial 1 of QEMU.
    pub(crate) bench: Uart,
    /// The link clock.
    pub(crate) clock: LinkClock,
    /// Why the board was started.
    pub(crate) reset: ResetReason,
}

impl Board {
    /// Starts clock, 10 ms tick and UARTs. `None` the second time.
    pub(crate) fn start() -> Option<Self> {
        let mut core = cortex_m::Peripherals::take()?;
        let queue0 = cortex_m::singleton!(: ReceiveQueue = Queue::new())?;
        let queue1 = cortex_m::singleton!(: ReceiveQueue = Queue::new())?;

        let reset = if LAST_WORDS.read() == BITTEN { ResetReason::Watchdog } else { ResetReason::PowerOn };
        LAST_WORDS.write(0);
        PRESCALE.write(0);
        COUNTER.write(0);
        core.SYST.set_clock_source(SystClkSource::Core);
        core.SYST.set_reload(SYSTEM_CLOCK_HZ / 100 - 1);
        core.SYST.clear_current();
        core.SYST.enable_counter();
        core.SYST.enable_interrupt();
        Some(Self {
            host: Uart::new(&UART0, Interrupt::Uart0Receive, queue0),
            bench: Uart::new(&UART1, Interrupt::Uart1Receive, queue1),
            clock: LinkClock(()),
            reset,
        })
    }
}

/// Reads the clock more often than COUNTER wraps (every 172 s), whatever the main loop does.
#[exception]
fn SysTick() {
    now_ns();
}

#[exception]
unsafe fn DefaultHandler(interrupt: i16) {
    match interrupt {
        0 => UART0.take_byte(),
        2 => UART1.take_byte(),
        other => panic!("interrupt {other} is not in use"),
    }
}

/// Prints a line on QEMU's standard error. Slow: for the start and the end.
pub(crate) fn say(line: core::fmt::Arguments<'_>) {
    // Without a console there is still the exit status.
    let _ = hio::hstderr().map(|mut console| writeln!(console, "{line}"));
}

/// A number that no earlier start has had: the host's time, and how long QEMU has run.
#[cfg(feature = "emulated")]
pub(crate) fn start_nonce() -> u64 {
    /// SYS_CLOCK and SYS_TIME (Arm "Semihosting for AArch32 and AArch64"): centiseconds of execution, seconds since 1970.
    const CLOCK: usize = 0x10;
    const TIME: usize = 0x11;
    // SAFETY: neither operation has a parameter block.
    let [clock, time] =
        [CLOCK, TIME].map(|operation| unsafe { cortex_m_semihosting::syscall1(operation, 0) } as u64);
    time << 32 | clock << 16 | u64::from(COUNTER.read() & 0xFFFF)
}

/// Ends QEMU with `status`.
pub(crate) fn exit(status: u32) -> ! {
    /// SYS_EXIT_EXTENDED and ADP_Stopped_ApplicationExit (Arm "Semihosting for AArch32 and AArch64").
    const EXIT_EXTENDED: usize = 0x20;
    const APPLICATION_EXIT: u32 = 0x2_0026;
    let block = [APPLICATION_EXIT, status];
    // SAFETY: the operation reads two words from `block`, which outlives it.
    unsafe { cortex_m_semihosting::syscall(EXIT_EXTENDED, &block) };
    loop {
        cortex_m::asm::wfi();
    }
}

/// Where nothing resets: a panic or fault says what it is and ends QEMU.
#[cfg(not(feature = "reset-on-panic"))]
mod ends {
    use core::panic::PanicInfo;

    use cortex_m_rt::{ExceptionFrame, exception};

    use super::{EXIT_HARD_FAULT, EXIT_PANIC, exit, say};

    #[panic_handler]
    fn panic(info: &PanicInfo<'_>) -> ! {
        cortex_m::interrupt::disable();
        say(format_args!("{info}"));
        exit(EXIT_PANIC)
    }

    #[exception]
    unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
        say(format_args!("HardFault at {:#010x}", frame.pc()));
        exit(EXIT_HARD_FAULT)
    }
}
