//! OR-16's analog part: LTC2688 drivers, a matrix of ADGS1414D switches, AD7606C-16 converters, a TMP117.
//!
//! Gate DACs answer, but no gate line reaches the crossbar yet. What is modelled of the time that voltages need:
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
mod conversion;
mod imperfections;
mod settling;
mod small_signal;
mod wiring;

use alloc::vec::Vec;
use ohmrig_protocol::bench::{ChipKind, ChipSelect, OutputLine};

use super::rig::{Analog, Rig};
use super::{BoardError, BoardState, Options};
use crate::chips::LONGEST_FRAME;
use crate::chips::SpiFaults;
use crate::chips::ad7606c::Ad7606c;
use crate::chips::adgs1414d::Adgs1414d;
use crate::chips::ltc2688::Ltc2688;
use crate::chips::tmp117::{self, Tmp117};
use crate::crossbar::Crossbar;
use chips::{Chips, Port};
use conversion::Readings;
use imperfections::BoardErrors;
use settling::Stairs;
use small_signal::SmallSignal;
use wiring::Wiring;

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
/// Changes that follow each other within this time, ns, are one step for the settling of the amplifiers: a burst of
/// DAC updates, not a pulse.
const BURST_NS: u64 = 5_000;

/// What is OR-16's own.
#[derive(Debug)]
pub(super) struct Or16 {
    chips: Chips,
    thermometer: Tmp117,
    imperfections: BoardImperfections,
    errors: BoardErrors,
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

impl Or16 {
    /// The wires of any SPI chip, to spoil.
    ///
    /// # Errors
    /// A chip that isn't fitted.
    pub(super) fn faults(&mut self, select: ChipSelect) -> Result<&mut SpiFaults, BoardError> {
        Ok(self.chips.port(select)?.into_faults())
    }

    /// A DAC, to look at or to spoil; nothing if `select` is no DAC that is fitted.
    pub(super) fn dac(&mut self, select: ChipSelect) -> Option<&mut Ltc2688> {
        match self.chips.port(select) {
            Ok(Port::Dac(port)) => Some(&mut port.chip),
            _ => None,
        }
    }

    /// A switch chip, to look at; nothing if `select` is none that is fitted.
    pub(super) fn switch(&mut self, select: ChipSelect) -> Option<&mut Adgs1414d> {
        match self.chips.port(select) {
            Ok(Port::Switch(port)) => Some(&mut port.chip),
            _ => None,
        }
    }

    /// ADC number `index`, to look at or to spoil.
    pub(super) fn adc(&mut self, index: u8) -> Option<&mut Ad7606c> {
        match self.chips.port(ChipSelect { kind: ChipKind::Adc, index }) {
            Ok(Port::Adc(port)) => Some(&mut port.chip),
            _ => None,
        }
    }

    /// The thermometer, to look at or to spoil.
    pub(super) fn thermometer(&mut self) -> &mut Tmp117 {
        &mut self.thermometer
    }

    fn set_level(&mut self, line: OutputLine, high: bool, now_ns: u64) {
        match line {
            OutputLine::DacClear => self.chips.all_dacs().for_each(|dac| dac.set_clear(!high, now_ns)),
            OutputLine::SwitchReset => self.chips.all_switches().for_each(|chip| chip.set_reset(!high)),
            OutputLine::AdcReset => {
                self.chips.adcs.iter_mut().for_each(|adc| adc.chip.set_reset(!high, now_ns));
            }
        }
    }
}

impl Rig<Or16> {
    /// In series with each row and each column while a cell is read, Ω.
    pub(super) fn line_ohms(&self) -> (Vec<f64>, Vec<f64>) {
        let BoardErrors { rows, columns, .. } = &self.analog.errors;
        (
            rows.iter().map(|row| ROW_OHMS + row.connect_ohms).collect(),
            columns.iter().map(|column| column.sense.ohms).collect(),
        )
    }

    fn set_tgp0(&mut self, high: bool) -> Result<(), BoardError> {
        let now_ns = self.now_ns;
        let mut any = false;
        for dac in self.analog.chips.all_dacs() {
            any |= dac.set_tgp0(high, now_ns);
        }
        if !any {
            return Ok(());
        }
        self.analog.spare.derive(&self.analog.chips, &self.analog.errors);
        if self.analog.spare == self.analog.wiring {
            return Ok(());
        }
        // From here to halfway the devices go on seeing what they see now: one piece, which catching up would cut.
        match self.analog.edge {
            Some(edge) if now_ns < edge.over_ns() => {
                self.catch_up_to(now_ns)?;
                self.analog.partway.set_between(
                    &self.analog.before_edge,
                    &self.analog.wiring,
                    edge.level(now_ns).0,
                );
                core::mem::swap(&mut self.analog.before_edge, &mut self.analog.partway);
            }
            Some(edge) => {
                self.catch_up_to(edge.over_ns())?;
                self.analog.before_edge.clone_from(&self.analog.wiring);
            }
            None => self.analog.before_edge.clone_from(&self.analog.wiring),
        }
        let stairs = Stairs::new(self.analog.spare.largest_step_v(&self.analog.wiring));
        self.analog.edge = Some(Edge { at_ns: now_ns, rising: high, stairs });
        self.analog.small_signal_ns = None;
        self.take_spare();
        Ok(())
    }

    /// After anything analog may have changed: takes the crossbar to now under the old lines and sets the new ones.
    fn rewire(&mut self) -> Result<(), BoardError> {
        self.analog.spare.derive(&self.analog.chips, &self.analog.errors);
        if self.analog.spare == self.analog.wiring {
            return Ok(());
        }
        self.catch_up()?;
        if self.analog.edge.is_some() && !self.analog.spare.drives_the_lines_of(&self.analog.wiring) {
            self.analog.edge = None;
        }
        if !self.analog.spare.has_the_connections_of(&self.analog.wiring) {
            self.analog.small_signal_ns = None;
        }
        self.take_spare();
        Ok(())
    }

    /// The spare wiring becomes the present one.
    fn take_spare(&mut self) {
        let step_v = self.analog.spare.largest_step_v(&self.analog.wiring);
        if self.now_ns - self.analog.changed_ns > BURST_NS {
            core::mem::swap(&mut self.analog.previous, &mut self.analog.wiring);
            self.analog.readings.forget_previous();
            self.analog.step_v = 0.0;
        }
        core::mem::swap(&mut self.analog.wiring, &mut self.analog.spare);
        self.analog.step_v = self.analog.step_v.max(step_v);
        self.analog.changed_ns = self.now_ns;
    }
}

impl Analog for Or16 {
    type Imperfections = BoardImperfections;

    fn new(crossbar: &Crossbar, options: &Options<BoardImperfections>, state: &BoardState) -> Self {
        let (rows, columns) = (crossbar.rows(), crossbar.columns());
        let mut board = Self {
            chips: Chips::new(rows, columns),
            thermometer: Tmp117::new(state.ambient_celsius, state.now_ns),
            errors: BoardErrors::draw(&options.imperfections, rows, columns, options.seed),
            imperfections: options.imperfections,
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
        };
        for line in [OutputLine::DacClear, OutputLine::SwitchReset, OutputLine::AdcReset] {
            board.set_level(line, false, state.now_ns);
        }
        board.wiring.derive(&board.chips, &board.errors);
        board.previous = board.wiring.clone();
        board
    }

    fn temperature_k(imperfections: &BoardImperfections) -> f64 {
        imperfections.temperature_k
    }

    fn hold_to(rig: &mut Rig<Self>, to_ns: u64) -> Result<(), BoardError> {
        while rig.held_ns < to_ns {
            let (level, until_ns) = match rig.analog.edge {
                Some(edge) if rig.held_ns < edge.over_ns() => edge.level(rig.held_ns),
                _ => (1.0, to_ns),
            };
            let until_ns = until_ns.min(to_ns);
            let lines = if level == 0.0 {
                rig.analog.before_edge.lines()
            } else if level == 1.0 {
                rig.analog.wiring.lines()
            } else {
                rig.analog.partway.set_between(&rig.analog.before_edge, &rig.analog.wiring, level);
                rig.analog.partway.lines()
            };
            rig.crossbar.hold(&lines, rig.held_ns, until_ns)?;
            rig.held_ns = until_ns;
        }
        Ok(())
    }

    fn edge(rig: &mut Rig<Self>, high: bool) -> Result<(), BoardError> {
        rig.set_tgp0(high)
    }

    fn restart(rig: &mut Rig<Self>) -> Result<(), BoardError> {
        let (rows, columns) = (rig.crossbar.rows(), rig.crossbar.columns());
        rig.analog.chips.restart(rows, columns);
        rig.rewire()
    }

    fn exchange(
        rig: &mut Rig<Self>,
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
            rig.analog.chips.port(select)?;
            rig.advance(rig.now_ns + bits * SPI_BIT_NS + CHIP_SELECT_GAP_NS + rig.stretch_ns)?;
            if rig.analog.chips.port(select)?.frame(sdi, sdo, rig.now_ns) {
                rig.rewire()?;
            }
        }
        Ok(())
    }

    fn listens(&self, address: u8) -> bool {
        address == tmp117::ADDRESS && !self.thermometer.dead
    }

    fn i2c(rig: &mut Rig<Self>, _address: u8, out: &[u8], input: &mut [u8]) -> Result<bool, BoardError> {
        let now_ns = rig.now_ns;
        let Rig { analog, climate, ambient_celsius, .. } = rig;
        analog.thermometer.follow(now_ns, |at_ns| *ambient_celsius + climate.deviation(at_ns));
        Ok(analog.thermometer.transaction(out, input, now_ns))
    }

    fn set_output(rig: &mut Rig<Self>, line: OutputLine, high: bool) -> Result<(), BoardError> {
        let now_ns = rig.now_ns;
        rig.analog.set_level(line, high, now_ns);
        rig.rewire()
    }

    fn convert(rig: &mut Rig<Self>) -> Result<(), BoardError> {
        rig.convert()
    }

    fn is_converted(&self, now_ns: u64) -> bool {
        !self.chips.adcs.iter().any(|adc| adc.chip.busy(now_ns))
    }

    fn set_switches(_: &mut Rig<Self>, _: u16) -> Result<(), BoardError> {
        Err(BoardError::NotFitted("switches on the processor's pins"))
    }

    fn arm_switches(_: &mut Rig<Self>, _: u16) -> Result<(), BoardError> {
        Err(BoardError::NotFitted("switches on the processor's pins"))
    }

    fn set_dac(_: &mut Rig<Self>, _: u16) -> Result<(), BoardError> {
        Err(BoardError::NotFitted("a line on the processor's DAC"))
    }

    fn read_adc(&self, _: u8, _: &mut [u16]) -> Result<(), BoardError> {
        Err(BoardError::NotFitted("a line on the processor's ADC"))
    }
}

#[cfg(test)]
mod tests;
