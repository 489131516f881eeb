//! OR-16, the board, emulated: chips, wiring and crossbar on one virtual clock, behind the bench seam.
//!
//! Time passes by waits, by the bits of transactions ([`SPI_BIT_NS`], [`CHIP_SELECT_GAP_NS`], [`I2C_BIT_NS`]) and by
//! nothing else. A pulse ends at its exact time within whatever makes time pass. The devices see the lines' settled
//! voltages from the moment they are set; what the ADCs see lags behind as `settling` describes. Gate DACs answer, but no
//! gate line reaches the crossbar yet.

mod chips;
mod imperfections;
mod settling;
mod wiring;

use alloc::vec;
use alloc::vec::Vec;
use core::f64::consts::TAU;

use ohmrig_protocol::bench::{Bench, BenchInfo, ChipKind, ChipSelect, OutputLine};
use serde::{Deserialize, Serialize};

use crate::chips::ad7606c::{Ad7606c, CHANNELS as ADC_CHANNELS};
use crate::chips::adgs1414d::Adgs1414d;
use crate::chips::ltc2688::Ltc2688;
use crate::chips::tmp117::{self, Tmp117};
use crate::chips::{LONGEST_FRAME, SpiFaults};
use crate::crossbar::{CircuitError, Crossbar};
use crate::flash::{Flash, FlashError, SECTOR_BYTES};
use crate::random::Random;
use chips::{Chips, Port};
use imperfections::BoardErrors;
use wiring::Wiring;

pub use imperfections::BoardImperfections;
pub use settling::{CLAMP_V, LINEAR_V};
pub use wiring::{CALIBRATION_OHMS, FORMING_OHMS, ROW_OHMS, SWITCH_OHMS};

/// One SPI bit, ns, by chip: 20 MHz each, which all of them stand in both directions.
///
/// | chip | bit | its limit |
/// | --- | --- | --- |
/// | LTC2688 | 50 ns | 50 MHz to write, 20 MHz to read (the board's design) |
/// | AD7606C-16 | 50 ns | 23.5 MHz (Linux `ad7606_spi.c`, `MAX_SPI_FREQ_HZ`) |
/// | ADGS1414D | 50 ns | 50 MHz (ADGS1412 data sheet rev. B, "Theory of Operation") |
pub const SPI_BIT_NS: u64 = 50;
/// Chip select high between frames, ns.
pub const CHIP_SELECT_GAP_NS: u64 = 100;
/// One bit on I²C at 400 kHz, ns.
pub const I2C_BIT_NS: u64 = 2_500;
/// Temperature beside the array unless set, °C.
const ROOM_CELSIUS: f64 = 25.0;
/// Changes that follow each other within this time, ns, are one step for the settling of the amplifiers: a burst of
/// DAC updates, not a pulse.
const BURST_NS: u64 = 5_000;
/// A step's rest below this fraction is over: 11.2 V of it are 0.06 LSB at ±6.25 V.
const SETTLED: f64 = 1e-6;
const NOISE_STREAM: u64 = 0x6164_6373;

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

/// What outlives power, and the noise's position; the crossbar is its owner's to keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoardState {
    /// The instrument clock, ns.
    pub now_ns: u64,
    /// The noise to come.
    pub noise: Random,
    /// Contents of the flash.
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
    errors: BoardErrors,
    adc_noise_lsb: f64,
    noise: Random,
    now_ns: u64,
    /// Until when the crossbar has been taken.
    held_ns: u64,
    pulse_ends_ns: Option<u64>,
    wiring: Wiring,
    changed_ns: u64,
    /// Largest step of a line's source in the burst of changes that ended at `changed_ns`, V.
    step_v: f64,
    /// Before that burst, with the amplifiers' outputs then once somebody needed them.
    previous: Wiring,
    previous_outputs: Option<Vec<f64>>,
    /// Room for the next wiring.
    spare: Wiring,
    currents: Vec<f64>,
    outputs: Vec<f64>,
}

impl Board {
    /// A board at power-on at time 0 with an erased flash: all chips at reset, all reset lines low.
    ///
    /// # Errors
    /// A flash size that isn't whole sectors.
    pub fn new(crossbar: Crossbar, options: BoardOptions) -> Result<Self, BoardError> {
        let state = BoardState {
            now_ns: 0,
            noise: Random::new(options.seed, NOISE_STREAM),
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
        let (rows, columns) = (crossbar.rows(), crossbar.columns());
        let mut board = Self {
            chips: Chips::new(rows, columns),
            thermometer: Tmp117::new(ROOM_CELSIUS, state.now_ns),
            flash: Flash::from_contents(state.flash)?,
            boot_nonce: options.boot_nonce,
            errors: BoardErrors::draw(&options.imperfections, rows, columns, options.seed),
            adc_noise_lsb: options.imperfections.adc_noise_lsb,
            noise: state.noise,
            now_ns: state.now_ns,
            held_ns: state.now_ns,
            pulse_ends_ns: None,
            wiring: Wiring::default(),
            changed_ns: state.now_ns,
            step_v: 0.0,
            previous: Wiring::default(),
            previous_outputs: None,
            spare: Wiring::default(),
            currents: vec![0.0; columns],
            outputs: vec![0.0; columns],
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
            flash: self.flash.contents().to_vec(),
        })
    }

    /// The crossbar, as of the last [`catch_up`](Self::catch_up).
    pub fn crossbar(&self) -> &Crossbar {
        &self.crossbar
    }

    /// The same, to change.
    pub fn crossbar_mut(&mut self) -> &mut Crossbar {
        &mut self.crossbar
    }

    /// Takes the crossbar to the present; it is otherwise left behind until something asks for it.
    ///
    /// # Errors
    /// The crossbar had no solution.
    pub fn catch_up(&mut self) -> Result<(), BoardError> {
        if self.held_ns < self.now_ns {
            self.crossbar.hold(&self.wiring.lines(), self.held_ns, self.now_ns)?;
            self.held_ns = self.now_ns;
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

    /// The thermometer, to look at or to spoil.
    pub fn thermometer(&mut self) -> &mut Tmp117 {
        &mut self.thermometer
    }

    fn advance(&mut self, to_ns: u64) -> Result<(), BoardError> {
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
        if any { self.rewire() } else { Ok(()) }
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
        let step_v = self.spare.largest_step_v(&self.wiring);
        if self.now_ns - self.changed_ns > BURST_NS {
            core::mem::swap(&mut self.previous, &mut self.wiring);
            self.previous_outputs = None;
            self.step_v = 0.0;
        }
        core::mem::swap(&mut self.wiring, &mut self.spare);
        self.step_v = self.step_v.max(step_v);
        self.changed_ns = self.now_ns;
        Ok(())
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

    /// What every ADC's filter passes on at this instant, V per column, noise of the devices included.
    fn sample(&mut self) -> Result<(), BoardError> {
        settled_outputs(
            &mut self.crossbar,
            &self.wiring,
            Some(self.now_ns),
            &mut self.currents,
            &mut self.outputs,
        )?;
        let elapsed_s = (self.now_ns - self.changed_ns) as f64 * 1e-9;
        for column in 0..self.outputs.len() {
            let adc = &self.chips.adcs[column / ADC_CHANNELS].chip;
            let filter_s = 1.0 / (TAU * adc.bandwidth_hz(column % ADC_CHANNELS));
            let settling_s = self.wiring.amplifiers[column].settling_s;
            let left = settling::remaining(elapsed_s, self.step_v, settling_s, filter_s);
            if left > SETTLED {
                let before = self.previous_output(column)?;
                self.outputs[column] += (before - self.outputs[column]) * left;
            }
        }
        Ok(())
    }

    /// The settled output of a column before the last burst of changes, V, with the devices as they are now.
    fn previous_output(&mut self, column: usize) -> Result<f64, BoardError> {
        if let Some(outputs) = &self.previous_outputs {
            return Ok(outputs[column]);
        }
        let mut outputs = vec![0.0; self.outputs.len()];
        settled_outputs(&mut self.crossbar, &self.previous, None, &mut self.currents, &mut outputs)?;
        let output = outputs[column];
        self.previous_outputs = Some(outputs);
        Ok(output)
    }

    /// One conversion of every ADC; the samples of an oversampled one are all of this instant.
    fn convert(&mut self) -> Result<(), BoardError> {
        self.catch_up()?;
        let samples = self.chips.adcs.iter().map(|adc| adc.chip.oversampling()).max().unwrap_or(1);
        let mut inputs = vec![[0.0; ADC_CHANNELS]; self.chips.adcs.len()];
        for sample in 0..samples {
            self.sample()?;
            for (number, (inputs, adc)) in inputs.iter_mut().zip(&self.chips.adcs).enumerate() {
                let averaged = adc.chip.oversampling();
                if sample >= averaged {
                    continue;
                }
                for (channel, input) in inputs.iter_mut().enumerate() {
                    let column = number * ADC_CHANNELS + channel;
                    let mut volts = match self.outputs.get(column) {
                        Some(output) => self.errors.columns[column].adc.distort(*output),
                        None => 0.0,
                    };
                    if self.adc_noise_lsb > 0.0 {
                        volts += self.adc_noise_lsb * adc.chip.lsb_v(channel) * self.noise.normal();
                    }
                    *input += volts / f64::from(averaged);
                }
            }
        }
        for (inputs, adc) in inputs.iter().zip(&mut self.chips.adcs) {
            adc.chip.convert(inputs, self.now_ns);
        }
        Ok(())
    }
}

/// Amplifier outputs once everything has settled, V; with the devices' noise if `at_ns` says when it is.
fn settled_outputs(
    crossbar: &mut Crossbar,
    wiring: &Wiring,
    at_ns: Option<u64>,
    currents: &mut [f64],
    outputs: &mut [f64],
) -> Result<(), BoardError> {
    match at_ns {
        _ if !wiring.is_live() => currents.fill(0.0),
        Some(at_ns) => crossbar.sample(&wiring.lines(), at_ns, currents)?,
        None => crossbar.currents(&wiring.lines(), currents)?,
    }
    for ((output, amplifier), current) in outputs.iter_mut().zip(&wiring.amplifiers).zip(currents) {
        *output = amplifier.output(*current);
    }
    Ok(())
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
