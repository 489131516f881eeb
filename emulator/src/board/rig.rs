//! What every emulated board has: a crossbar, a flash, a climate and one virtual clock, on which pulses end and supplies dip at
//! their exact time. What is analog is the board's own ([`Analog`]).

use alloc::vec::Vec;
use core::fmt::Debug;

use ohmrig_protocol::bench::{Bench, BenchInfo, ChipSelect, OutputLine};

use super::climate::Climate;
use super::noise::Noise;
use super::{BoardError, BoardState, LATEST_NS, Options, ROOM_CELSIUS, ZERO_CELSIUS_K};
use crate::crossbar::Crossbar;
use crate::flash::{Flash, FlashError, SECTOR_BYTES};
use crate::truth::CellTruth;

/// One bit on I²C at 400 kHz, ns.
pub const I2C_BIT_NS: u64 = 2_500;

/// The analog part of a board and what it does to the rest of it.
pub(super) trait Analog: Debug + Sized {
    /// Limits of its errors, and its noise.
    type Imperfections: Copy;

    /// As at power-on at `now_ns`.
    fn new(crossbar: &Crossbar, options: &Options<Self::Imperfections>, state: &BoardState) -> Self;

    /// Standard deviation of the temperature around the ambient one, K.
    fn temperature_k(imperfections: &Self::Imperfections) -> f64;

    /// Takes the crossbar, which is at the right temperature, as far as `to_ns`.
    fn hold_to(rig: &mut Rig<Self>, to_ns: u64) -> Result<(), BoardError>;

    /// A pulse's rising or falling edge.
    fn edge(rig: &mut Rig<Self>, high: bool) -> Result<(), BoardError>;

    /// Every chip starts anew.
    fn restart(rig: &mut Rig<Self>) -> Result<(), BoardError>;

    /// As [`Bench::spi_transfer`]; without `input`, what comes back is dropped.
    fn exchange(
        rig: &mut Rig<Self>,
        select: ChipSelect,
        frame: usize,
        out: &[u8],
        input: Option<&mut [u8]>,
    ) -> Result<(), BoardError>;

    /// Whether a chip listens at this I²C address.
    fn listens(&self, address: u8) -> bool;

    /// An I²C transaction with a chip that listens.
    fn i2c(rig: &mut Rig<Self>, address: u8, out: &[u8], input: &mut [u8]) -> Result<bool, BoardError>;

    /// As [`Bench::set_output`].
    fn set_output(rig: &mut Rig<Self>, line: OutputLine, high: bool) -> Result<(), BoardError>;

    /// As [`Bench::start_conversion`].
    fn convert(rig: &mut Rig<Self>) -> Result<(), BoardError>;

    /// As [`Bench::conversion_done`].
    fn is_converted(&self, now_ns: u64) -> bool;

    /// As [`Bench::set_switches`].
    fn set_switches(rig: &mut Rig<Self>, closed: u16) -> Result<(), BoardError>;

    /// As [`Bench::arm_switches`].
    fn arm_switches(rig: &mut Rig<Self>, closed: u16) -> Result<(), BoardError>;

    /// As [`Bench::set_dac`].
    fn set_dac(rig: &mut Rig<Self>, code: u16) -> Result<(), BoardError>;

    /// As [`Bench::read_adc`].
    fn read_adc(&self, first: u8, codes: &mut [u16]) -> Result<(), BoardError>;
}

/// One board with its crossbar.
#[derive(Debug)]
pub(super) struct Rig<A> {
    pub(super) crossbar: Crossbar,
    pub(super) flash: Flash,
    boot_nonce: u64,
    pub(super) noise: Noise,
    pub(super) climate: Climate,
    pub(super) ambient_celsius: f64,
    pub(super) now_ns: u64,
    /// Until when the crossbar has been taken.
    pub(super) held_ns: u64,
    pulse_ends_ns: Option<u64>,
    /// The supplies have dipped since this was last asked.
    dipped: bool,
    dips: Vec<u64>,
    hung: bool,
    /// Additional time of every SPI frame, ns.
    pub(super) stretch_ns: u64,
    pub(super) analog: A,
}

impl<A: Analog> Rig<A> {
    pub(super) fn new(crossbar: Crossbar, options: Options<A::Imperfections>) -> Result<Self, BoardError> {
        let state = BoardState {
            now_ns: 0,
            noise: Noise::new(options.seed),
            ambient_celsius: ROOM_CELSIUS,
            flash: Flash::new(options.flash_bytes)?.contents().to_vec(),
        };
        Self::restore(crossbar, options, state)
    }

    pub(super) fn restore(
        crossbar: Crossbar,
        options: Options<A::Imperfections>,
        state: BoardState,
    ) -> Result<Self, BoardError> {
        if state.flash.len() != options.flash_bytes as usize {
            let (saved, bytes) = (state.flash.len(), options.flash_bytes as usize);
            return Err(FlashError::Saved { saved, bytes }.into());
        }
        if state.now_ns > LATEST_NS {
            return Err(BoardError::Clock { at_ns: state.now_ns });
        }
        Ok(Self {
            analog: A::new(&crossbar, &options, &state),
            flash: Flash::from_contents(state.flash)?,
            boot_nonce: options.boot_nonce,
            noise: state.noise,
            climate: Climate::new(A::temperature_k(&options.imperfections), options.seed),
            ambient_celsius: state.ambient_celsius,
            now_ns: state.now_ns,
            held_ns: state.now_ns,
            pulse_ends_ns: None,
            dipped: false,
            dips: Vec::new(),
            hung: false,
            stretch_ns: 0,
            crossbar,
        })
    }

    pub(super) fn save(&mut self) -> Result<BoardState, BoardError> {
        self.catch_up()?;
        Ok(BoardState {
            now_ns: self.now_ns,
            noise: self.noise.clone(),
            ambient_celsius: self.ambient_celsius,
            flash: self.flash.contents().to_vec(),
        })
    }

    pub(super) fn crossbar(&self) -> &Crossbar {
        &self.crossbar
    }

    pub(super) fn flash(&mut self) -> &mut Flash {
        &mut self.flash
    }

    pub(super) fn celsius(&mut self) -> f64 {
        self.celsius_at(self.now_ns)
    }

    pub(super) fn celsius_at(&mut self, at_ns: u64) -> f64 {
        self.ambient_celsius + self.climate.deviation(at_ns)
    }

    pub(super) fn set_ambient_celsius(&mut self, celsius: f64) {
        self.ambient_celsius = celsius;
    }

    pub(super) fn catch_up(&mut self) -> Result<(), BoardError> {
        self.catch_up_to(self.now_ns)
    }

    /// As far as `to_ns`, no later than the present.
    pub(super) fn catch_up_to(&mut self, to_ns: u64) -> Result<(), BoardError> {
        if self.held_ns < to_ns {
            let kelvin = ZERO_CELSIUS_K + self.celsius_at(to_ns);
            self.crossbar.set_temperature(kelvin)?;
        }
        A::hold_to(self, to_ns)
    }

    pub(super) fn truth(&mut self) -> Result<Vec<CellTruth>, BoardError> {
        let (crossbar, held_ns) = (self.crossbar.clone(), self.held_ns);
        let caught_up = self.catch_up();
        let present = core::mem::replace(&mut self.crossbar, crossbar);
        self.held_ns = held_ns;
        caught_up.map(|()| present.truth().collect())
    }

    pub(super) fn brown_out_at(&mut self, at_ns: u64) {
        self.dips.push(at_ns);
    }

    fn brown_out(&mut self) -> Result<(), BoardError> {
        self.dipped = true;
        self.pulse_ends_ns = None;
        A::restart(self)
    }

    pub(super) fn stretch_frames(&mut self, ns: u64) {
        self.stretch_ns = ns;
    }

    pub(super) fn hang(&mut self) {
        self.hung = true;
    }

    pub(super) fn is_hung(&self) -> bool {
        self.hung
    }

    pub(super) fn advance(&mut self, to_ns: u64) -> Result<(), BoardError> {
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
            self.end_pulse()?;
        }
        self.now_ns = self.now_ns.max(to_ns);
        Ok(())
    }

    fn end_pulse(&mut self) -> Result<(), BoardError> {
        self.pulse_ends_ns = None;
        A::edge(self, false)
    }
}

impl<A: Analog> Bench for Rig<A> {
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
        A::exchange(self, select, frame, out, None)
    }

    fn spi_transfer(
        &mut self,
        select: ChipSelect,
        frame: usize,
        out: &[u8],
        input: &mut [u8],
    ) -> Result<(), BoardError> {
        A::exchange(self, select, frame, out, Some(input))
    }

    fn i2c(&mut self, address: u8, out: &[u8], input: &mut [u8]) -> Result<bool, BoardError> {
        let acknowledged = self.analog.listens(address);
        // Start, address and stop; nine bits a byte; and start and address again to read.
        let bytes = out.len() + input.len();
        let mut bits = 11;
        if acknowledged {
            bits += 9 * bytes as u64;
            bits += if out.is_empty() || input.is_empty() { 0 } else { 10 };
        }
        self.advance(self.now_ns + bits * I2C_BIT_NS)?;
        if acknowledged { A::i2c(self, address, out, input) } else { Ok(false) }
    }

    fn set_output(&mut self, line: OutputLine, high: bool) -> Result<(), BoardError> {
        A::set_output(self, line, high)
    }

    fn start_pulse(&mut self, width_ns: u32) -> Result<(), BoardError> {
        if width_ns == 0 {
            return Err(BoardError::NoPulse);
        }
        // Started again while it lasts, the one-shot counts anew and there is no edge.
        if self.pulse_ends_ns.is_none() {
            self.catch_up()?;
            self.crossbar.note_write_edge();
            A::edge(self, true)?;
        }
        self.pulse_ends_ns = Some(self.now_ns + u64::from(width_ns));
        Ok(())
    }

    fn stop_pulse(&mut self) -> Result<(), BoardError> {
        if self.pulse_ends_ns.is_some() { self.end_pulse() } else { Ok(()) }
    }

    fn pulse_done(&mut self) -> Result<bool, BoardError> {
        Ok(self.pulse_ends_ns.is_none())
    }

    fn start_conversion(&mut self) -> Result<(), BoardError> {
        A::convert(self)
    }

    fn supply_good(&mut self) -> Result<bool, BoardError> {
        Ok(!core::mem::take(&mut self.dipped))
    }

    fn conversion_done(&mut self) -> Result<bool, BoardError> {
        Ok(self.analog.is_converted(self.now_ns))
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

    fn set_switches(&mut self, closed: u16) -> Result<(), BoardError> {
        A::set_switches(self, closed)
    }

    fn arm_switches(&mut self, closed: u16) -> Result<(), BoardError> {
        A::arm_switches(self, closed)
    }

    fn set_dac(&mut self, code: u16) -> Result<(), BoardError> {
        A::set_dac(self, code)
    }

    fn read_adc(&mut self, first: u8, codes: &mut [u16]) -> Result<(), BoardError> {
        self.analog.read_adc(first, codes)
    }
}
