//! Boards, emulated: chips, wiring and crossbar on one virtual clock, behind the bench seam. `or16` and `openmena` are how two
//! of them are wired; `rig` is what they have in common.
//!
//! Time passes by waits, by the bits of transactions ([`SPI_BIT_NS`], [`CHIP_SELECT_GAP_NS`], [`I2C_BIT_NS`]) and by
//! nothing else. A pulse ends at its exact time within whatever makes time pass.

pub mod climate;
mod flicker;
mod linearity;
mod noise;
mod openmena;
mod or16;
mod rig;

use alloc::boxed::Box;
use alloc::vec::Vec;

use ohmrig_protocol::bench::{Bench, BenchInfo, ChipSelect, OutputLine};
use serde::{Deserialize, Serialize};

use crate::chips::ad5593r::Ad5593r;
use crate::chips::ad7606c::Ad7606c;
use crate::chips::adgs1414d::Adgs1414d;
use crate::chips::ltc2688::Ltc2688;
use crate::chips::tmp117::Tmp117;
use crate::chips::{LONGEST_FRAME, SpiFaults};
use crate::crossbar::{CircuitError, Crossbar};
use crate::flash::{Flash, FlashError};
use crate::profile::{BoardProfile, Imperfections};
use crate::truth::CellTruth;
use openmena::OpenMena;
use or16::Or16;
use rig::Rig;

pub use flicker::Flicker;
pub use noise::Noise;
pub use openmena::Shield;
pub use or16::{
    BoardImperfections, CALIBRATION_OHMS, CHIP_SELECT_GAP_NS, CLAMP_V, FORMING_OHMS, GAIN_BANDWIDTH_HZ,
    INPUT_F, LINEAR_V, MAINS_HZ, ROW_OHMS, SPI_BIT_NS, SWITCH_OHMS,
};
pub use rig::I2C_BIT_NS;

/// Ambient temperature unless set, °C; resistances are stated at it.
const ROOM_CELSIUS: f64 = 25.0;
/// 0 °C in K.
const ZERO_CELSIUS_K: f64 = 273.15;

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
    /// An array that doesn't fit.
    #[error("an array of {rows} × {columns}; this board has lines for {lines} × {lines}")]
    Lines {
        /// Rows of the array.
        rows: usize,
        /// Columns of the array.
        columns: usize,
        /// Lines of the board, each way.
        lines: usize,
    },
    /// Something that only another board has.
    #[error("this board has not got {0}")]
    NotFitted(&'static str),
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
pub struct Options<I> {
    /// Limits of its errors, and its noise.
    pub imperfections: I,
    /// Draws the errors and the noise.
    pub seed: u64,
    /// Told to whoever asks; a number no earlier boot has had, not from a seed.
    pub boot_nonce: u64,
    /// Size of the flash, a multiple of [`SECTOR_BYTES`](crate::flash::SECTOR_BYTES).
    pub flash_bytes: u32,
}

/// Options of a board of any kind.
pub type BoardOptions = Options<BoardKind>;

/// Which board, and how far it is from ideal.
#[derive(Clone, Copy, Debug)]
pub enum BoardKind {
    /// OR-16.
    Or16(BoardImperfections),
    /// The OpenMENA shield.
    OpenMena(Shield),
}

impl From<BoardProfile> for BoardKind {
    fn from(profile: BoardProfile) -> Self {
        match (profile.imperfections, profile.openmena) {
            (Imperfections::OpenMena, shield) => Self::OpenMena(shield.unwrap_or(Shield::IDEAL)),
            (Imperfections::Ideal, _) => Self::Or16(BoardImperfections::IDEAL),
            (Imperfections::Or16, _) => Self::Or16(BoardImperfections::OR16),
        }
    }
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
pub struct Board(Kind);

#[derive(Debug)]
enum Kind {
    Or16(Box<Rig<Or16>>),
    OpenMena(Box<Rig<OpenMena>>),
}

/// The same with whichever board it is.
macro_rules! each {
    ($board:expr, $rig:ident => $work:expr) => {
        match &mut $board.0 {
            Kind::Or16($rig) => $work,
            Kind::OpenMena($rig) => $work,
        }
    };
}

impl Board {
    /// A board at power-on at time 0 with an erased flash: all chips at reset, all reset lines low.
    ///
    /// # Errors
    /// A flash size that isn't whole sectors, or an array that the board has no lines for.
    pub fn new(crossbar: Crossbar, options: BoardOptions) -> Result<Self, BoardError> {
        let Options { imperfections, seed, boot_nonce, flash_bytes } = options;
        Ok(Self(match imperfections {
            BoardKind::Or16(imperfections) => {
                let options = Options { imperfections, seed, boot_nonce, flash_bytes };
                Kind::Or16(Box::new(Rig::new(crossbar, options)?))
            }
            BoardKind::OpenMena(imperfections) => {
                openmena::require_lines(&crossbar)?;
                let options = Options { imperfections, seed, boot_nonce, flash_bytes };
                Kind::OpenMena(Box::new(Rig::new(crossbar, options)?))
            }
        }))
    }

    /// The same board after a power cycle. `options` are those it was made with, except for the boot nonce.
    ///
    /// # Errors
    /// A flash of another size than `options` says, or an array that the board has no lines for.
    pub fn restore(crossbar: Crossbar, options: BoardOptions, state: BoardState) -> Result<Self, BoardError> {
        let Options { imperfections, seed, boot_nonce, flash_bytes } = options;
        Ok(Self(match imperfections {
            BoardKind::Or16(imperfections) => {
                let options = Options { imperfections, seed, boot_nonce, flash_bytes };
                Kind::Or16(Box::new(Rig::restore(crossbar, options, state)?))
            }
            BoardKind::OpenMena(imperfections) => {
                openmena::require_lines(&crossbar)?;
                let options = Options { imperfections, seed, boot_nonce, flash_bytes };
                Kind::OpenMena(Box::new(Rig::restore(crossbar, options, state)?))
            }
        }))
    }

    /// Whether it is the OpenMENA shield.
    pub fn is_openmena(&self) -> bool {
        matches!(self.0, Kind::OpenMena(_))
    }

    /// What [`restore`](Self::restore) needs, the crossbar apart.
    ///
    /// # Errors
    /// The crossbar had no solution on the way to now.
    pub fn save(&mut self) -> Result<BoardState, BoardError> {
        each!(self, rig => rig.save())
    }

    /// The crossbar, as of the last [`catch_up`](Self::catch_up).
    pub fn crossbar(&self) -> &Crossbar {
        match &self.0 {
            Kind::Or16(rig) => rig.crossbar(),
            Kind::OpenMena(rig) => rig.crossbar(),
        }
    }

    /// What is in series with each row and each column while a cell is read, Ω: for tests of what a calibration finds; `None`
    /// on a board without switches of its own.
    pub fn line_ohms(&self) -> Option<(Vec<f64>, Vec<f64>)> {
        match &self.0 {
            Kind::Or16(rig) => Some(rig.line_ohms()),
            Kind::OpenMena(_) => None,
        }
    }

    /// Temperature of board and array now, °C.
    pub fn celsius(&mut self) -> f64 {
        each!(self, rig => rig.celsius())
    }

    /// Changes the temperature around which it wanders, °C.
    pub fn set_ambient_celsius(&mut self, celsius: f64) {
        each!(self, rig => rig.set_ambient_celsius(celsius));
    }

    /// Takes the crossbar to the present; it is otherwise left behind until something asks for it.
    ///
    /// # Errors
    /// The crossbar had no solution.
    pub fn catch_up(&mut self) -> Result<(), BoardError> {
        each!(self, rig => rig.catch_up())
    }

    /// What every cell is and has seen at present. Looking changes nothing, not even the last bits, in which a crossbar
    /// taken to the present in two steps differs from one taken there in one.
    ///
    /// # Errors
    /// The crossbar had no solution.
    pub fn truth(&mut self) -> Result<Vec<CellTruth>, BoardError> {
        each!(self, rig => rig.truth())
    }

    /// The wires of any SPI chip, to spoil.
    ///
    /// # Errors
    /// A chip that isn't fitted.
    pub fn faults(&mut self, select: ChipSelect) -> Result<&mut SpiFaults, BoardError> {
        match &mut self.0 {
            Kind::Or16(rig) => rig.analog.faults(select),
            Kind::OpenMena(_) => Err(BoardError::Absent { select, fitted: 0 }),
        }
    }

    fn or16(&mut self) -> Option<&mut Or16> {
        match &mut self.0 {
            Kind::Or16(rig) => Some(&mut rig.analog),
            Kind::OpenMena(_) => None,
        }
    }

    /// A DAC, to look at or to spoil; nothing if `select` is no DAC that is fitted.
    pub fn dac(&mut self, select: ChipSelect) -> Option<&mut Ltc2688> {
        self.or16()?.dac(select)
    }

    /// A switch chip, to look at; nothing if `select` is none that is fitted.
    pub fn switch(&mut self, select: ChipSelect) -> Option<&mut Adgs1414d> {
        self.or16()?.switch(select)
    }

    /// ADC number `index`, to look at or to spoil.
    pub fn adc(&mut self, index: u8) -> Option<&mut Ad7606c> {
        self.or16()?.adc(index)
    }

    /// The thermometer, to look at or to spoil; nothing if there is none.
    pub fn thermometer(&mut self) -> Option<&mut Tmp117> {
        Some(self.or16()?.thermometer())
    }

    /// The OpenMENA shield's row drivers, to look at or to spoil; nothing on another board.
    pub fn row_drivers(&mut self) -> Option<&mut Ad5593r> {
        match &mut self.0 {
            Kind::Or16(_) => None,
            Kind::OpenMena(rig) => Some(rig.analog.row_drivers()),
        }
    }

    /// The flash, to look at or to spoil.
    pub fn flash(&mut self) -> &mut Flash {
        each!(self, rig => rig.flash())
    }

    /// The supplies dip at `at_ns` of the instrument clock, or as soon as it has passed: every chip starts anew, a
    /// pulse under way ends, and a supervisor notes it if there is one.
    pub fn brown_out_at(&mut self, at_ns: u64) {
        each!(self, rig => rig.brown_out_at(at_ns));
    }

    /// From now on every frame to an SPI chip of OR-16 takes so many ns more, as on a bus that somebody else holds.
    pub fn stretch_frames(&mut self, ns: u64) {
        each!(self, rig => rig.stretch_frames(ns));
    }

    /// From now on no call returns, as when a bus transaction waits for something that never happens.
    pub fn hang(&mut self) {
        each!(self, rig => rig.hang());
    }

    /// Whether a call has been hanging; only a reset of the processor ends that.
    pub fn is_hung(&self) -> bool {
        match &self.0 {
            Kind::Or16(rig) => rig.is_hung(),
            Kind::OpenMena(rig) => rig.is_hung(),
        }
    }
}

impl Bench for Board {
    type Error = BoardError;

    fn info(&mut self) -> Result<BenchInfo, BoardError> {
        each!(self, rig => rig.info())
    }
    fn now_ns(&mut self) -> Result<u64, BoardError> {
        each!(self, rig => rig.now_ns())
    }
    fn wait_until_ns(&mut self, at_ns: u64) -> Result<(), BoardError> {
        each!(self, rig => rig.wait_until_ns(at_ns))
    }
    fn spi_write(&mut self, select: ChipSelect, frame: usize, out: &[u8]) -> Result<(), BoardError> {
        each!(self, rig => rig.spi_write(select, frame, out))
    }
    fn spi_transfer(
        &mut self,
        select: ChipSelect,
        frame: usize,
        out: &[u8],
        input: &mut [u8],
    ) -> Result<(), BoardError> {
        each!(self, rig => rig.spi_transfer(select, frame, out, input))
    }
    fn i2c(&mut self, address: u8, out: &[u8], input: &mut [u8]) -> Result<bool, BoardError> {
        each!(self, rig => rig.i2c(address, out, input))
    }
    fn set_output(&mut self, line: OutputLine, high: bool) -> Result<(), BoardError> {
        each!(self, rig => rig.set_output(line, high))
    }
    fn start_pulse(&mut self, width_ns: u32) -> Result<(), BoardError> {
        each!(self, rig => rig.start_pulse(width_ns))
    }
    fn stop_pulse(&mut self) -> Result<(), BoardError> {
        each!(self, rig => rig.stop_pulse())
    }
    fn pulse_done(&mut self) -> Result<bool, BoardError> {
        each!(self, rig => rig.pulse_done())
    }
    fn start_conversion(&mut self) -> Result<(), BoardError> {
        each!(self, rig => rig.start_conversion())
    }
    fn supply_good(&mut self) -> Result<bool, BoardError> {
        each!(self, rig => rig.supply_good())
    }
    fn conversion_done(&mut self) -> Result<bool, BoardError> {
        each!(self, rig => rig.conversion_done())
    }
    fn flash_read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), BoardError> {
        each!(self, rig => rig.flash_read(offset, into))
    }
    fn flash_write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), BoardError> {
        each!(self, rig => rig.flash_write(offset, bytes))
    }
    fn flash_erase(&mut self, offset: u32) -> Result<(), BoardError> {
        each!(self, rig => rig.flash_erase(offset))
    }
    fn set_switches(&mut self, closed: u16) -> Result<(), BoardError> {
        each!(self, rig => rig.set_switches(closed))
    }
    fn arm_switches(&mut self, closed: u16) -> Result<(), BoardError> {
        each!(self, rig => rig.arm_switches(closed))
    }
    fn set_dac(&mut self, code: u16) -> Result<(), BoardError> {
        each!(self, rig => rig.set_dac(code))
    }
    fn read_adc(&mut self, first: u8, codes: &mut [u16]) -> Result<(), BoardError> {
        each!(self, rig => rig.read_adc(first, codes))
    }
}
