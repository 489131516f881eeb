//! OR-16, the board, emulated: chips, wiring and crossbar on one virtual clock, behind the bench seam.
//!
//! Time passes by waits, by the bits of transactions ([`SPI_BIT_NS`], [`CHIP_SELECT_GAP_NS`], [`I2C_BIT_NS`]) and by
//! nothing else. A pulse ends at its exact time within whatever makes time pass. Gate DACs answer, but no gate line
//! reaches the crossbar yet.
//!
//! What is modelled of the time that voltages need:
//!
//! - A DAC's output moves at its slope limit, then exponentially; the chip itself tells it at any time.
//! - The devices see an edge of TGP0 as three steps (`settling::Stairs`): the old voltages until the line is halfway, the
//!   mean of what follows for some five time constants, then the settled voltage. So a pulse is as wide at half its
//!   height as it was asked to be, and its top is flat for less. A falling edge is one step at the halfway time: what is
//!   left then is below half of the pulse. All lines follow the one with the largest step. Any other change of the lines (a code, a
//!   switch) is seen settled from its moment on; writing is by TGP0 alone.
//! - The ADCs see what DACs, amplifiers (second order, slower the more conductance a column has) and input filters
//!   have let through since the last change (`settling`); changes in a burst count as one at the burst's end.

mod chips;
pub mod climate;
mod conversion;
mod flicker;
mod imperfections;
mod linearity;
mod settling;
mod small_signal;
mod wiring;

use alloc::vec::Vec;

use ohmrig_protocol::bench::{Bench, BenchInfo, ChipKind, ChipSelect, OutputLine};
use serde::{Deserialize, Serialize};

use crate::chips::ad7606c::Ad7606c;
use crate::chips::adgs1414d::Adgs1414d;
use crate::chips::ltc2688::Ltc2688;
use crate::chips::tmp117::{self, Tmp117};
use crate::chips::{LONGEST_FRAME, SpiFaults};
use crate::crossbar::{CircuitError, Crossbar};
use crate::flash::{Flash, FlashError, SECTOR_BYTES};
use crate::truth::CellTruth;
use chips::{Chips, Port};
use climate::Climate;
use conversion::Readings;
use imperfections::BoardErrors;
use settling::Stairs;
use small_signal::SmallSignal;
use wiring::Wiring;

pub use conversion::Noise;
pub use flicker::Flicker;
pub use imperfections::{BoardImperfections, MAINS_HZ};
pub use settling::{CLAMP_V, GAIN_BANDWIDTH_HZ, INPUT_F, LINEAR_V};
pub use wiring::{CALIBRATION_OHMS, FORMING_OHMS, ROW_OHMS, SWITCH_OHMS};

/// One SPI bit, ns: 20 MHz for every chip, as a board's DACs and ADCs have. A board takes 10 MHz for what the switches shift
/// out (`firmware/src/board/spi_clock.rs`), so that its switch frames last 1.2 µs longer than here.
///
/// | chip | bit | its limit |
/// | --- | --- | --- |
/// | LTC2688 | 50 ns | 50 MHz to write, 20 MHz to read (the board's design) |
/// | AD7606C-16 | 50 ns | 23.5 MHz (Linux `ad7606_spi.c`, `MAX_SPI_FREQ_HZ`) |
/// | ADGS1414D | 50 ns | 50 MHz to write (data sheet rev. 0, table 6) |
pub const SPI_BIT_NS: u64 = 50;
/// Chip select high between frames, ns.
pub const CHIP_SELECT_GAP_NS: u64 = 100;
/// One bit on I²C at 400 kHz, ns.
pub const I2C_BIT_NS: u64 = 2_500;
/// Ambient temperature unless set, °C; resistances are stated at it.
const ROOM_CELSIUS: f64 = 25.0;
/// 0 °C in K.
const ZERO_CELSIUS_K: f64 = 273.15;
/// Changes that follow each other within this time, ns, are one step for the settling of the amplifiers: a burst of
/// DAC updates, not a pulse.
const BURST_NS: u64 = 5_000;

/// The last instant that can be waited for, ns: 146 years after the last that a host may ask for, so that what it does
/// then has time, and so that pulses and transactions on top of it still fit the clock.
pub const LATEST_NS: u64 = 3 << 62;

/// What no board could do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BoardError {
    /// A chip that isn't fitted.
    #[error("no chip {} of kind {:?}: {fitted} fitted", .select.index, .select.kind)]
    Absent {
        /// Asked for.
        select: ChipSelect,
        /// How many there are of that kind.
        fitted: usize,
    },
    /// Bytes that aren't whole frames.
    #[error("{bytes} bytes out and {input} in as frames of {frame} (1 to {LONGEST_FRAME})")]
    Frame {
        /// Bytes of a frame.
        frame: usize,
        /// Bytes out.
        bytes: usize,
        /// Room for bytes in.
        input: usize,
    },
    /// A pulse without width.
    #[error("a pulse of 0 ns")]
    NoPulse,
    /// An instant too far away.
    #[error("instant {at_ns} ns on the instrument clock; the last one is {LATEST_NS}, in 438 years")]
    Clock {
        /// Asked for.
        at_ns: u64,
    },
    /// The processor hangs in this call: it never returns.
    #[error("the call never returns")]
    Hung,
    /// The flash can't.
    #[error(transparent)]
    Flash(#[from] FlashError),
    /// The crossbar has no solution.
    #[error(transparent)]
    Circuit(#[from] CircuitError),
}

/// What makes one board different from another.
#[derive(Clone, Copy, Debug)]
pub struct BoardOptions {
    /// Limits of its errors, and its noise.
    pub imperfections: BoardImperfections,
    /// Draws the errors and the noise.
    pub seed: u64,
    /// Told to whoever asks; a number no earlier boot has had, not from a seed.
    pub boot_nonce: u64,
    /// Size of the flash, a multiple of [`SECTOR_BYTES`].
    pub flash_bytes: u32,
}

/// What outlives power, and the noise's position; the crossbar is its owner's to keep. The temperature is a function of
/// seed and time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoardState {
    /// The instrument clock, ns.
    pub now_ns: u64,
    /// The noise to come.
    pub noise: Noise,
    /// Temperature around which that of the board wanders, °C.
    pub ambient_celsius: f64,
    /// Contents of the flash.
    #[serde(with = "crate::flash::sparse")]
    pub flash: Vec<u8>,
}

/// One board with its crossbar.
#[derive(Debug)]
pub struct Board {
    crossbar: Crossbar,
    chips: Chips,
    thermometer: Tmp117,
    flash: Flash,
    boot_nonce: u64,
    imperfections: BoardImperfections,
    errors: BoardErrors,
    noise: Noise,
    climate: Climate,
    ambient_celsius: f64,
    now_ns: u64,
    /// Until when the crossbar has been taken.
    held_ns: u64,
    pulse_ends_ns: Option<u64>,
    /// The supervisor's flag.
    dipped: bool,
    dips: Vec<u64>,
    hung: bool,
    wiring: Wiring,
    /// The last edge of TGP0 while the devices still feel it, and where the lines were before it.
    edge: Option<Edge>,
    before_edge: Wiring,
    /// Room for lines on their way.
    partway: Wiring,
    changed_ns: u64,
    /// Largest step of a line's source in the burst of changes that ended at `changed_ns`, V.
    step_v: f64,
    /// Before that burst.
    previous: Wiring,
    /// Room for the next wiring.
    spare: Wiring,
    small_signal: SmallSignal,
    /// When that was worked out; nothing once it no longer holds.
    small_signal_ns: Option<u64>,
    readings: Readings,
}

/// An edge of TGP0.
#[derive(Clone, Copy, Debug)]
struct Edge {
    at_ns: u64,
    rising: bool,
    stairs: Stairs,
}

impl Edge {
    /// When the devices no longer notice it, ns.
    fn over_ns(&self) -> u64 {
        self.at_ns + if self.rising { self.stairs.flat_ns } else { self.stairs.half_ns }
    }

    /// What holds at `at_ns`: how far the lines are, and until when, ns.
    fn level(&self, at_ns: u64) -> (f64, u64) {
        let half_ns = self.at_ns + self.stairs.half_ns;
        if at_ns < half_ns { (0.0, half_ns) } else { (self.stairs.level, self.over_ns()) }
    }
}

impl Board {
    /// A board at power-on at time 0 with an erased flash: all chips at reset, all reset lines low.
    ///
    /// # Errors
    /// A flash size that isn't whole sectors.
    pub fn new(crossbar: Crossbar, options: BoardOptions) -> Result<Self, BoardError> {
        let state = BoardState {
            now_ns: 0,
            noise: Noise::new(options.seed),
            ambient_celsius: ROOM_CELSIUS,
            flash: Flash::new(options.flash_bytes)?.contents().to_vec(),
        };
        Self::restore(crossbar, options, state)
    }

    /// The same board after a power cycle. `options` are those it was made with, except for the boot nonce.
    ///
    /// # Errors
    /// A flash of another size than `options` says.
    pub fn restore(crossbar: Crossbar, options: BoardOptions, state: BoardState) -> Result<Self, BoardError> {
        if state.flash.len() != options.flash_bytes as usize {
            let (saved, bytes) = (state.flash.len(), options.flash_bytes as usize);
            return Err(FlashError::Saved { saved, bytes }.into());
        }
        if state.now_ns > LATEST_NS {
            return Err(BoardError::Clock { at_ns: state.now_ns });
        }
        let (rows, columns) = (crossbar.rows(), crossbar.columns());
        let mut board = Self {
            chips: Chips::new(rows, columns),
            thermometer: Tmp117::new(state.ambient_celsius, state.now_ns),
            flash: Flash::from_contents(state.flash)?,
            boot_nonce: options.boot_nonce,
            errors: BoardErrors::draw(&options.imperfections, rows, columns, options.seed),
            imperfections: options.imperfections,
            noise: state.noise,
            climate: Climate::new(options.imperfections.temperature_k, options.seed),
            ambient_celsius: state.ambient_celsius,
            now_ns: state.now_ns,
            held_ns: state.now_ns,
            pulse_ends_ns: None,
            dipped: false,
            dips: Vec::new(),
            hung: false,
            wiring: Wiring::default(),
            edge: None,
            before_edge: Wiring::default(),
            partway: Wiring::default(),
            changed_ns: state.now_ns,
            step_v: 0.0,
            previous: Wiring::default(),
            spare: Wiring::default(),
            small_signal: SmallSignal::default(),
            small_signal_ns: None,
            readings: Readings::new(rows, columns),
            crossbar,
        };
        for line in [OutputLine::DacClear, OutputLine::SwitchReset, OutputLine::AdcReset] {
            board.set_level(line, false);
        }
        board.wiring.derive(&board.chips, &board.errors);
        board.previous = board.wiring.clone();
        Ok(board)
    }

    /// What [`restore`](Self::restore) needs, the crossbar apart.
    ///
    /// # Errors
    /// The crossbar had no solution on the way to now.
    pub fn save(&mut self) -> Result<BoardState, BoardError> {
        self.catch_up()?;
        Ok(BoardState {
            now_ns: self.now_ns,
            noise: self.noise.clone(),
            ambient_celsius: self.ambient_celsius,
            flash: self.flash.contents().to_vec(),
        })
    }

    /// The crossbar, as of the last [`catch_up`](Self::catch_up).
    pub fn crossbar(&self) -> &Crossbar {
        &self.crossbar
    }

    /// Temperature of board and array now, °C.
    pub fn celsius(&mut self) -> f64 {
        self.ambient_celsius + self.climate.deviation(self.now_ns)
    }

    /// Changes the temperature around which it wanders, °C.
    pub fn set_ambient_celsius(&mut self, celsius: f64) {
        self.ambient_celsius = celsius;
    }

    /// Takes the crossbar to the present; it is otherwise left behind until something asks for it.
    ///
    /// # Errors
    /// The crossbar had no solution.
    pub fn catch_up(&mut self) -> Result<(), BoardError> {
        self.catch_up_to(self.now_ns)
    }

    /// What every cell is and has seen at present. Looking changes nothing, not even the last bits, in which a crossbar
    /// taken to the present in two steps differs from one taken there in one.
    ///
    /// # Errors
    /// The crossbar had no solution.
    pub fn truth(&mut self) -> Result<Vec<CellTruth>, BoardError> {
        let (crossbar, held_ns) = (self.crossbar.clone(), self.held_ns);
        let caught_up = self.catch_up();
        let present = core::mem::replace(&mut self.crossbar, crossbar);
        self.held_ns = held_ns;
        caught_up.map(|()| present.truth().collect())
    }

    /// As far as `to_ns`, no later than the present.
    fn catch_up_to(&mut self, to_ns: u64) -> Result<(), BoardError> {
        if self.held_ns < to_ns {
            let kelvin = ZERO_CELSIUS_K + self.ambient_celsius + self.climate.deviation(to_ns);
            self.crossbar.set_temperature(kelvin)?;
        }
        while self.held_ns < to_ns {
            let (level, until_ns) = match self.edge {
                Some(edge) if self.held_ns < edge.over_ns() => edge.level(self.held_ns),
                _ => (1.0, to_ns),
            };
            let until_ns = until_ns.min(to_ns);
            let lines = if level == 0.0 {
                self.before_edge.lines()
            } else if level == 1.0 {
                self.wiring.lines()
            } else {
                self.partway.set_between(&self.before_edge, &self.wiring, level);
                self.partway.lines()
            };
            self.crossbar.hold(&lines, self.held_ns, until_ns)?;
            self.held_ns = until_ns;
        }
        Ok(())
    }

    /// The wires of any SPI chip, to spoil.
    ///
    /// # Errors
    /// A chip that isn't fitted.
    pub fn faults(&mut self, select: ChipSelect) -> Result<&mut SpiFaults, BoardError> {
        Ok(self.chips.port(select)?.into_faults())
    }

    /// A DAC, to look at or to spoil; nothing if `select` is no DAC that is fitted.
    pub fn dac(&mut self, select: ChipSelect) -> Option<&mut Ltc2688> {
        match self.chips.port(select) {
            Ok(Port::Dac(port)) => Some(&mut port.chip),
            _ => None,
        }
    }

    /// A switch chip, to look at; nothing if `select` is none that is fitted.
    pub fn switch(&mut self, select: ChipSelect) -> Option<&mut Adgs1414d> {
        match self.chips.port(select) {
            Ok(Port::Switch(port)) => Some(&mut port.chip),
            _ => None,
        }
    }

    /// ADC number `index`, to look at or to spoil.
    pub fn adc(&mut self, index: u8) -> Option<&mut Ad7606c> {
        match self.chips.port(ChipSelect { kind: ChipKind::Adc, index }) {
            Ok(Port::Adc(port)) => Some(&mut port.chip),
            _ => None,
        }
    }

    /// The flash, to look at or to spoil.
    pub fn flash(&mut self) -> &mut Flash {
        &mut self.flash
    }

    /// The thermometer, to look at or to spoil.
    pub fn thermometer(&mut self) -> &mut Tmp117 {
        &mut self.thermometer
    }

    /// The supplies dip at `at_ns` of the instrument clock, or as soon as it has passed: every chip starts anew, a
    /// pulse under way ends, and the supervisor notes it.
    pub fn brown_out_at(&mut self, at_ns: u64) {
        self.dips.push(at_ns);
    }

    fn brown_out(&mut self) -> Result<(), BoardError> {
        self.dipped = true;
        self.pulse_ends_ns = None;
        let (rows, columns) = (self.crossbar.rows(), self.crossbar.columns());
        self.chips.restart(rows, columns);
        self.rewire()
    }

    /// From now on no call returns, as when a bus transaction waits for something that never happens.
    pub fn hang(&mut self) {
        self.hung = true;
    }

    /// Whether a call has been hanging; only a reset of the processor ends that.
    pub fn is_hung(&self) -> bool {
        self.hung
    }

    fn advance(&mut self, to_ns: u64) -> Result<(), BoardError> {
        if self.hung {
            return Err(BoardError::Hung);
        }
        while let Some(due) = self.dips.iter().position(|&at_ns| at_ns <= to_ns) {
            let at_ns = self.dips.swap_remove(due).max(self.now_ns);
            self.pass(at_ns)?;
            self.brown_out()?;
        }
        self.pass(to_ns)
    }

    fn pass(&mut self, to_ns: u64) -> Result<(), BoardError> {
        if let Some(ends_ns) = self.pulse_ends_ns
            && ends_ns <= to_ns
        {
            self.now_ns = self.now_ns.max(ends_ns);
            self.lower_tgp0()?;
        }
        self.now_ns = self.now_ns.max(to_ns);
        Ok(())
    }

    fn lower_tgp0(&mut self) -> Result<(), BoardError> {
        self.pulse_ends_ns = None;
        self.set_tgp0(false)
    }

    fn set_tgp0(&mut self, high: bool) -> Result<(), BoardError> {
        let now_ns = self.now_ns;
        let mut any = false;
        for dac in self.chips.all_dacs() {
            any |= dac.set_tgp0(high, now_ns);
        }
        if !any {
            return Ok(());
        }
        self.spare.derive(&self.chips, &self.errors);
        if self.spare == self.wiring {
            return Ok(());
        }
        // From here to halfway the devices go on seeing what they see now: one piece, which catching up would cut.
        match self.edge {
            Some(edge) if now_ns < edge.over_ns() => {
                self.catch_up_to(now_ns)?;
                self.partway.set_between(&self.before_edge, &self.wiring, edge.level(now_ns).0);
                core::mem::swap(&mut self.before_edge, &mut self.partway);
            }
            Some(edge) => {
                self.catch_up_to(edge.over_ns())?;
                self.before_edge.clone_from(&self.wiring);
            }
            None => self.before_edge.clone_from(&self.wiring),
        }
        let stairs = Stairs::new(self.spare.largest_step_v(&self.wiring));
        self.edge = Some(Edge { at_ns: now_ns, rising: high, stairs });
        self.small_signal_ns = None;
        self.take_spare();
        Ok(())
    }

    fn set_level(&mut self, line: OutputLine, high: bool) {
        let now_ns = self.now_ns;
        match line {
            OutputLine::DacClear => self.chips.all_dacs().for_each(|dac| dac.set_clear(!high, now_ns)),
            OutputLine::SwitchReset => self.chips.all_switches().for_each(|chip| chip.set_reset(!high)),
            OutputLine::AdcReset => {
                self.chips.adcs.iter_mut().for_each(|adc| adc.chip.set_reset(!high, now_ns));
            }
        }
    }

    /// After anything analog may have changed: takes the crossbar to now under the old lines and sets the new ones.
    fn rewire(&mut self) -> Result<(), BoardError> {
        self.spare.derive(&self.chips, &self.errors);
        if self.spare == self.wiring {
            return Ok(());
        }
        self.catch_up()?;
        if self.edge.is_some() && !self.spare.drives_the_lines_of(&self.wiring) {
            self.edge = None;
        }
        if !self.spare.has_the_connections_of(&self.wiring) {
            self.small_signal_ns = None;
        }
        self.take_spare();
        Ok(())
    }

    /// The spare wiring becomes the present one.
    fn take_spare(&mut self) {
        let step_v = self.spare.largest_step_v(&self.wiring);
        if self.now_ns - self.changed_ns > BURST_NS {
            core::mem::swap(&mut self.previous, &mut self.wiring);
            self.readings.forget_previous();
            self.step_v = 0.0;
        }
        core::mem::swap(&mut self.wiring, &mut self.spare);
        self.step_v = self.step_v.max(step_v);
        self.changed_ns = self.now_ns;
    }

    fn exchange(
        &mut self,
        select: ChipSelect,
        frame: usize,
        out: &[u8],
        mut input: Option<&mut [u8]>,
    ) -> Result<(), BoardError> {
        let room = input.as_ref().map_or(out.len(), |input| input.len());
        if !(1..=LONGEST_FRAME).contains(&frame) || !out.len().is_multiple_of(frame) || room != out.len() {
            return Err(BoardError::Frame { frame, bytes: out.len(), input: room });
        }
        let mut ignored = [0; LONGEST_FRAME];
        for (number, sdi) in out.chunks_exact(frame).enumerate() {
            let sdo = match &mut input {
                Some(input) => &mut input[number * frame..][..frame],
                None => &mut ignored[..frame],
            };
            let bits = 8 * frame as u64;
            // An absent chip costs no time.
            self.chips.port(select)?;
            self.advance(self.now_ns + bits * SPI_BIT_NS + CHIP_SELECT_GAP_NS)?;
            if self.chips.port(select)?.frame(sdi, sdo, self.now_ns) {
                self.rewire()?;
            }
        }
        Ok(())
    }
}

impl Bench for Board {
    type Error = BoardError;

    fn info(&mut self) -> Result<BenchInfo, BoardError> {
        Ok(BenchInfo {
            rows: self.crossbar.rows() as u16,
            columns: self.crossbar.columns() as u16,
            flash_bytes: self.flash.contents().len() as u32,
            flash_erase_bytes: SECTOR_BYTES,
            boot_nonce: self.boot_nonce,
        })
    }

    fn now_ns(&mut self) -> Result<u64, BoardError> {
        Ok(self.now_ns)
    }

    fn wait_until_ns(&mut self, at_ns: u64) -> Result<(), BoardError> {
        if at_ns > LATEST_NS {
            return Err(BoardError::Clock { at_ns });
        }
        self.advance(at_ns)
    }

    fn spi_write(&mut self, select: ChipSelect, frame: usize, out: &[u8]) -> Result<(), BoardError> {
        self.exchange(select, frame, out, None)
    }

    fn spi_transfer(
        &mut self,
        select: ChipSelect,
        frame: usize,
        out: &[u8],
        input: &mut [u8],
    ) -> Result<(), BoardError> {
        self.exchange(select, frame, out, Some(input))
    }

    fn i2c(&mut self, address: u8, out: &[u8], input: &mut [u8]) -> Result<bool, BoardError> {
        let acknowledged = address == tmp117::ADDRESS && !self.thermometer.dead;
        // Start, address and stop; nine bits a byte; and start and address again to read.
        let bytes = out.len() + input.len();
        let mut bits = 11;
        if acknowledged {
            bits += 9 * bytes as u64;
            bits += if out.is_empty() || input.is_empty() { 0 } else { 10 };
        }
        self.advance(self.now_ns + bits * I2C_BIT_NS)?;
        let Self { climate, ambient_celsius, .. } = self;
        self.thermometer.follow(self.now_ns, |at_ns| *ambient_celsius + climate.deviation(at_ns));
        Ok(acknowledged && self.thermometer.transaction(out, input, self.now_ns))
    }

    fn set_output(&mut self, line: OutputLine, high: bool) -> Result<(), BoardError> {
        self.set_level(line, high);
        self.rewire()
    }

    fn start_pulse(&mut self, width_ns: u32) -> Result<(), BoardError> {
        if width_ns == 0 {
            return Err(BoardError::NoPulse);
        }
        // Started again while high, the one-shot counts anew and there is no edge.
        if self.pulse_ends_ns.is_none() {
            self.catch_up()?;
            self.crossbar.note_write_edge();
            self.set_tgp0(true)?;
        }
        self.pulse_ends_ns = Some(self.now_ns + u64::from(width_ns));
        Ok(())
    }

    fn stop_pulse(&mut self) -> Result<(), BoardError> {
        if self.pulse_ends_ns.is_some() { self.lower_tgp0() } else { Ok(()) }
    }

    fn pulse_done(&mut self) -> Result<bool, BoardError> {
        Ok(self.pulse_ends_ns.is_none())
    }

    fn start_conversion(&mut self) -> Result<(), BoardError> {
        self.convert()
    }

    fn supply_good(&mut self) -> Result<bool, BoardError> {
        Ok(!core::mem::take(&mut self.dipped))
    }

    fn conversion_done(&mut self) -> Result<bool, BoardError> {
        Ok(!self.chips.adcs.iter().any(|adc| adc.chip.busy(self.now_ns)))
    }

    fn flash_read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), BoardError> {
        Ok(self.flash.read(offset, into)?)
    }

    fn flash_write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), BoardError> {
        Ok(self.flash.write(offset, bytes)?)
    }

    fn flash_erase(&mut self, offset: u32) -> Result<(), BoardError> {
        Ok(self.flash.erase(offset)?)
    }
}

#[cfg(test)]
mod tests;
