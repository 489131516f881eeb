//! A whole emulated board in one value: the firmware core, its front end (OR-16's or the OpenMENA shield's), and the emulated bench below. It moves
//! only when stepped, on one thread.

use crate::bench::{BenchFiles, Emulation, EmulationError};
use ohmrig_emulator::board::Board;
use ohmrig_firmware::bench_hardware::BenchHardware;
use ohmrig_firmware::core::{Boot, CellCount, Core, JobCell, Liveness, Nameplate, Next, Now, Storage};
use ohmrig_firmware::hardware::Watchdog;
use ohmrig_firmware::openmena::OpenMena;
use ohmrig_firmware::or16::{Or16, Or16Config};
use ohmrig_firmware::store::STORE_BYTES;
use ohmrig_protocol::bench::Bench;
use ohmrig_protocol::frame::encoded_bytes;
use ohmrig_protocol::message::{CELL_SUMS_BYTES, ResetReason};
use self_cell::{MutBorrow, self_cell};

/// Frames of a small array, bytes; a large one gets what a read of its widest row takes.
const FRAME_BYTES: usize = 2048;

/// What statics are on a board: the memory the firmware works in.
struct Memory {
    receive: Vec<u8>,
    transmit: Vec<u8>,
    data: Vec<u8>,
    codes: Vec<i16>,
    cells: Vec<CellCount>,
    lines: Vec<u64>,
    item: Vec<u8>,
    job: Vec<JobCell>,
    ring: Vec<u8>,
}

impl Memory {
    fn new(rows: usize, columns: usize) -> Self {
        let frame = FRAME_BYTES.max(encoded_bytes(columns * CELL_SUMS_BYTES + 64));
        Self {
            receive: vec![0; frame],
            transmit: vec![0; 4 * frame],
            data: vec![0; frame],
            codes: vec![0; columns],
            cells: vec![CellCount::NONE; rows * columns],
            lines: vec![0; rows + columns + 1],
            item: vec![0; STORE_BYTES],
            job: vec![JobCell::EMPTY; rows * columns],
            ring: vec![0; 16 * frame],
        }
    }

    fn lend(&mut self) -> Storage<'_> {
        let Self { receive, transmit, data, codes, cells, lines, item, job, ring } = self;
        Storage { receive, transmit, data, codes, cells, lines, item, job, ring }
    }
}

self_cell!(
    /// The firmware core and the memory it borrows.
    struct Firmware {
        owner: MutBorrow<Memory>,
        #[covariant]
        dependent: Core,
    }
);

/// The front end of the board that is emulated.
enum FrontEnd {
    Or16(Box<Or16<BenchHardware<Board>>>),
    OpenMena(Box<OpenMena<BenchHardware<Board>>>),
}

impl FrontEnd {
    fn hardware(&mut self) -> &mut BenchHardware<Board> {
        match self {
            Self::Or16(front_end) => front_end.hardware_mut(),
            Self::OpenMena(front_end) => front_end.hardware_mut(),
        }
    }

    fn board(&mut self) -> &mut Board {
        self.hardware().bench()
    }

    fn poll(&mut self, core: &mut Core<'_>, now: Now) -> Next {
        match self {
            Self::Or16(front_end) => core.poll(now, &mut **front_end),
            Self::OpenMena(front_end) => core.poll(now, &mut **front_end),
        }
    }
}

/// An emulated board running the firmware.
pub struct EmulatedDevice {
    firmware: Firmware,
    front_end: FrontEnd,
    files: BenchFiles,
    liveness: Liveness,
    watchdog: EmulatedWatchdog,
}

/// The hardware watchdog of an emulated processor, on the link clock.
#[derive(Clone, Copy, Debug, Default)]
struct EmulatedWatchdog {
    now_ns: u64,
    fed_ns: u64,
}

/// It bites when it hasn't been fed for so long.
const WATCHDOG_NS: u64 = 1_000_000_000;

impl EmulatedWatchdog {
    fn bites(&self) -> bool {
        self.now_ns.saturating_sub(self.fed_ns) > WATCHDOG_NS
    }
}

impl Watchdog for EmulatedWatchdog {
    fn feed(&mut self) {
        self.fed_ns = self.now_ns;
    }
}

/// What an emulated device wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Another step.
    Step,
    /// Bytes from the host.
    Bytes,
}

impl EmulatedDevice {
    /// Powers up a board.
    ///
    /// # Errors
    /// [`EmulationError`]: an impossible geometry, a state file that doesn't fit or is in use.
    pub fn power_up(emulation: &Emulation) -> Result<Self, EmulationError> {
        let (board, files) = emulation.power_up()?;
        let (firmware, front_end) = boot(board, ResetReason::PowerOn)?;
        let (liveness, watchdog) = (Liveness::default(), EmulatedWatchdog::default());
        Ok(Self { firmware, front_end, files, liveness, watchdog })
    }

    /// Switches the board off and on: same cells, flash and time, another boot.
    ///
    /// # Errors
    /// As for [`power_up`](Self::power_up).
    pub fn power_cycle(&mut self) -> Result<(), EmulationError> {
        self.reset(ResetReason::PowerOn)
    }

    /// Starts the board anew for another reason. Its reset lines open every switch, as at power-on.
    ///
    /// # Errors
    /// As for [`power_up`](Self::power_up).
    pub fn reset(&mut self, reason: ResetReason) -> Result<(), EmulationError> {
        let board = self.files.power_cycle(self.front_end.board())?;
        (self.firmware, self.front_end) = boot(board, reason)?;
        self.liveness = Liveness::default();
        self.watchdog.feed();
        Ok(())
    }

    /// One step: hands in bytes from the host at link time `link_ns`, returns how many were taken, appends what the
    /// device sends to `out`, and says what it wants next.
    ///
    /// # Errors
    /// [`EmulationError::Board`] if the emulated circuit has no solution.
    pub fn step(
        &mut self,
        incoming: &[u8],
        link_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Wish), EmulationError> {
        self.watchdog.now_ns = link_ns;
        if self.front_end.board().is_hung() {
            // The processor waits in a call that never returns; what comes in meanwhile is lost.
            if self.watchdog.bites() {
                self.reset(ResetReason::Watchdog)?;
            }
            return Ok((incoming.len(), Wish::Bytes));
        }
        let instrument_ns = self.front_end.hardware().now_ns().map_err(EmulationError::Board)?;
        let front_end = &mut self.front_end;
        let (taken, next) = self.firmware.with_dependent_mut(|_, core| {
            let taken = core.receive(incoming, link_ns);
            (taken, front_end.poll(core, Now { instrument_ns, link_ns }))
        });
        if self.front_end.board().is_hung() {
            // The call hasn't come back, so nothing after it has happened.
            return Ok((taken, Wish::Bytes));
        }
        let sent = self.firmware.with_dependent_mut(|_, core| {
            let outgoing = core.outgoing();
            let sent = outgoing.len();
            out.extend_from_slice(outgoing);
            core.sent(sent);
            sent
        });
        if self.liveness.observe(next, instrument_ns, taken + sent) {
            self.watchdog.feed();
        } else if self.watchdog.bites() {
            self.reset(ResetReason::Watchdog)?;
            return Ok((taken, Wish::Step));
        }
        let board = self.front_end.board();
        let wish = match next {
            Next::Ready => Wish::Step,
            Next::WaitUntil(at_ns) => {
                board.wait_until_ns(at_ns).map_err(EmulationError::Board)?;
                Wish::Step
            }
            Next::Idle if taken > 0 => Wish::Step,
            Next::Idle => Wish::Bytes,
        };
        self.files.note(board);
        Ok((taken, wish))
    }

    /// Writes the present state to the state file, if there is one.
    ///
    /// # Errors
    /// [`EmulationError`] if it can't be written.
    pub fn keep_state(&mut self) -> Result<(), EmulationError> {
        self.files.keep(self.front_end.board())
    }

    /// Whether its cells began to be with this process: no state file had them.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.files.is_fresh()
    }

    /// The board below, for tests and ground truth.
    pub fn board(&mut self) -> &mut Board {
        self.front_end.board()
    }
}

/// The firmware from its first instruction on.
fn boot(board: Board, reset: ResetReason) -> Result<(Firmware, FrontEnd), EmulationError> {
    let shield = board.is_openmena();
    let name = if shield { "openmena-emulated" } else { "or16-emulated" };
    let hardware = BenchHardware::new(board).map_err(EmulationError::Board)?;
    let info = *hardware.info();
    let nameplate = Nameplate {
        board: name,
        emulated: true,
        firmware: env!("CARGO_PKG_VERSION"),
        git: env!("OHMRIG_GIT_HASH"),
        build: &[],
    };
    let boot = Boot { nonce: info.boot_nonce, reset, panic: None };
    let front_end = if shield {
        FrontEnd::OpenMena(Box::new(OpenMena::new(hardware)))
    } else {
        let config = Or16Config { rows: info.rows, columns: info.columns, gates: false };
        let front_end = Or16::new(hardware, config)
            .map_err(|error| EmulationError::Geometry { rows: error.rows, columns: error.columns })?;
        FrontEnd::Or16(Box::new(front_end))
    };
    let memory = MutBorrow::new(Memory::new(usize::from(info.rows), usize::from(info.columns)));
    let firmware = Firmware::new(memory, |memory| Core::new(nameplate, boot, memory.borrow_mut().lend()));
    Ok((firmware, front_end))
}

impl Drop for EmulatedDevice {
    fn drop(&mut self) {
        let board = self.front_end.board();
        self.files.finish(board);
    }
}
