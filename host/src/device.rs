//! A whole emulated board in one value: the firmware core, its OR-16 front end, and the emulated bench below. It moves
//! only when stepped, on one thread.

use crate::bench::{BenchFiles, Emulation, EmulationError};
use ohmrig_emulator::board::Board;
use ohmrig_firmware::bench_hardware::BenchHardware;
use ohmrig_firmware::core::{Boot, Core, JobCell, Liveness, Nameplate, Next, Now, Storage};
use ohmrig_firmware::hardware::Watchdog;
use ohmrig_firmware::or16::{Or16, Or16Config};
use ohmrig_protocol::bench::Bench;
use ohmrig_protocol::frame::encoded_bytes;
use ohmrig_protocol::message::{CELL_SUMS_BYTES, ResetReason};

/// Frames of a small array, bytes; a large one gets what a read of its widest row takes.
const FRAME_BYTES: usize = 2048;

/// An emulated board running the firmware.
pub struct EmulatedDevice {
    core: Core<'static>,
    front_end: Or16<BenchHardware<Board>>,
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
    /// Powers up a board. Its working memory (some 100 kB, more for large arrays) is never freed: a process has one.
    ///
    /// # Errors
    /// [`EmulationError`]: an impossible geometry, a state file that doesn't fit or is in use.
    pub fn power_up(emulation: &Emulation) -> Result<Self, EmulationError> {
        let (board, files) = emulation.power_up()?;
        let (core, front_end) = boot(board, ResetReason::PowerOn)?;
        let (liveness, watchdog) = (Liveness::default(), EmulatedWatchdog::default());
        Ok(Self { core, front_end, files, liveness, watchdog })
    }

    /// Switches the board off and on: same cells, flash and time, another boot. Working memory of the boot before is
    /// not freed either.
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
        let board = self.files.power_cycle(self.front_end.hardware_mut().bench())?;
        (self.core, self.front_end) = boot(board, reason)?;
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
        if self.front_end.hardware_mut().bench().is_hung() {
            // The processor waits in a call that never returns; what comes in meanwhile is lost.
            if self.watchdog.bites() {
                self.reset(ResetReason::Watchdog)?;
            }
            return Ok((incoming.len(), Wish::Bytes));
        }
        let taken = self.core.receive(incoming, link_ns);
        let hardware = self.front_end.hardware_mut();
        let instrument_ns = hardware.now_ns().map_err(EmulationError::Board)?;
        let next = self.core.poll(Now { instrument_ns, link_ns }, &mut self.front_end);
        if self.front_end.hardware_mut().bench().is_hung() {
            // The call hasn't come back, so nothing after it has happened.
            return Ok((taken, Wish::Bytes));
        }
        let outgoing = self.core.outgoing();
        let sent = outgoing.len();
        out.extend_from_slice(outgoing);
        self.core.sent(sent);
        if self.liveness.observe(next, instrument_ns, taken + sent) {
            self.watchdog.feed();
        } else if self.watchdog.bites() {
            self.reset(ResetReason::Watchdog)?;
            return Ok((taken, Wish::Step));
        }
        let board = self.front_end.hardware_mut().bench();
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

    /// The board below, for tests and ground truth.
    pub fn board(&mut self) -> &mut Board {
        self.front_end.hardware_mut().bench()
    }
}

/// The firmware from its first instruction on.
fn boot(
    board: Board,
    reset: ResetReason,
) -> Result<(Core<'static>, Or16<BenchHardware<Board>>), EmulationError> {
    let hardware = BenchHardware::new(board).map_err(EmulationError::Board)?;
    let info = *hardware.info();
    let (rows, columns) = (usize::from(info.rows), usize::from(info.columns));
    let frame = FRAME_BYTES.max(encoded_bytes(columns * CELL_SUMS_BYTES + 64));
    let storage = Storage {
        receive: vec![0; frame].leak(),
        transmit: vec![0; 4 * frame].leak(),
        data: vec![0; frame].leak(),
        codes: vec![0; columns].leak(),
        pulses: vec![0; rows * columns].leak(),
        job: vec![JobCell::EMPTY; rows * columns].leak(),
    };
    let nameplate = Nameplate {
        board: "or16-emulated",
        emulated: true,
        firmware: env!("CARGO_PKG_VERSION"),
        git: env!("OHMRIG_GIT_HASH"),
    };
    let boot = Boot { nonce: info.boot_nonce, reset };
    let config = Or16Config { rows: info.rows, columns: info.columns, gates: false };
    let front_end = Or16::new(hardware, config)
        .map_err(|error| EmulationError::Geometry { rows: error.rows, columns: error.columns })?;
    Ok((Core::new(nameplate, boot, storage), front_end))
}

impl Drop for EmulatedDevice {
    fn drop(&mut self) {
        let board = self.front_end.hardware_mut().bench();
        self.files.finish(board);
    }
}
