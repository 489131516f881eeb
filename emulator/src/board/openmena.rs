//! The published OpenMENA shield's analog part: row drivers of an AD5593R behind DG442 switches, the microcontroller's DAC behind eight
//! more on the columns, a shunt and an INA333 per column, and the microcontroller's ADC. Sources of all values: [`Shield`] and
//! `profiles/openmena.toml`. Voltages of lines are against virtual ground.
//!
//! A line behind an open switch hangs on its resistor to virtual ground; behind a closed one, driver and switch pull against that
//! resistor. The devices see lines settled from the moment a switch moves (a DG442 takes 0.25 µs) or a code is taken; the
//! amplifiers follow with their slope and one lag, from what they would have settled at before the last change. All columns are sampled
//! at the start of a conversion.

use alloc::vec;
use alloc::vec::Vec;
use core::f64::consts::{FRAC_PI_2, TAU};

use ohmrig_protocol::bench::{ChipSelect, OutputLine};
use serde::{Deserialize, Serialize};

use super::linearity::Linearity;
use super::rig::{Analog, Rig};
use super::{BoardError, BoardState, Options};
use crate::chips::ad5593r::{self, Ad5593r};
use crate::crossbar::{Crossbar, Line, Lines};
use crate::random::Random;

/// Rows and columns there are lines for.
const LINES: usize = 8;
/// One channel of the ADC, ns.
const CHANNEL_NS: u64 = 2_000;
/// Codes of the converters on the board.
const CODES: f64 = 4096.0;
/// Largest code of the microcontroller's DAC.
const BIAS_TOP: f64 = 4095.0;
/// Changes that follow each other within this time, ns, are one step for the amplifiers.
const BURST_NS: u64 = 5_000;
/// Stream of the seed.
const STREAM: u64 = 0x6f6d_656e;

/// The shield's values. What is drawn for a line is drawn evenly within a limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shield {
    /// V_REF of the row drivers (V).
    pub reference_v: f64,
    /// Virtual ground of rows and columns, against ground (V).
    pub virtual_ground_v: f64,
    /// Limit of what the trimmer leaves of its error (V).
    pub virtual_ground_error_v: f64,
    /// From a row to virtual ground (Ω).
    pub row_ohm: f64,
    /// From a column to virtual ground (Ω).
    pub shunt_ohm: f64,
    /// Limit of these and the gain resistors' relative error.
    pub resistor_error: f64,
    /// A closed switch (Ω).
    pub switch_ohm: f64,
    /// Limit of a switch's difference to that (Ω).
    pub switch_error_ohm: f64,
    /// Gain resistor of a column's amplifier (Ω).
    pub gain_ohm: f64,
    /// Limit of an amplifier's input offset (V).
    pub amplifier_offset_v: f64,
    /// White noise at an amplifier's input (V/√Hz).
    pub amplifier_noise_v_per_root_hz: f64,
    /// Gain times bandwidth of an amplifier (Hz).
    pub gain_bandwidth_hz: f64,
    /// Slope of an amplifier's output (V/s).
    pub slew_v_per_s: f64,
    /// How near to its supplies an amplifier gets (V).
    pub headroom_v: f64,
    /// Output of an amplifier without current (V).
    pub output_reference_v: f64,
    /// Limit of the difference to that, the same for all columns (V).
    pub output_reference_error_v: f64,
    /// Supply of the amplifiers and range of the ADC (V).
    pub supply_v: f64,
    /// Limit of a row driver's relative gain error.
    pub dac_gain_error: f64,
    /// Limit of a row driver's offset (V).
    pub dac_offset_v: f64,
    /// Peak integral nonlinearity of a row driver (LSB of 12 bits).
    pub dac_inl_lsb: f64,
    /// Lowest voltage of the column driver, against ground (V).
    pub bias_lowest_v: f64,
    /// From there to its highest (V).
    pub bias_width_v: f64,
    /// Output resistance of the column driver (Ω).
    pub bias_ohm: f64,
    /// Limit of the ADC's relative gain error.
    pub adc_gain_error: f64,
    /// Limit of the ADC's offset (V).
    pub adc_offset_v: f64,
    /// Peak integral nonlinearity of the ADC (LSB of 12 bits).
    pub adc_inl_lsb: f64,
    /// White noise of the ADC, rms (LSB of 12 bits).
    pub adc_noise_lsb: f64,
    /// Standard deviation of the temperature around the ambient one (K).
    pub temperature_k: f64,
}

impl Shield {
    /// The published values, and those that are assumed for what isn't published, without error or noise.
    pub const IDEAL: Self = Self {
        reference_v: 1.5,
        virtual_ground_v: 0.75,
        virtual_ground_error_v: 0.0,
        row_ohm: 680.0,
        shunt_ohm: 680.0,
        resistor_error: 0.0,
        switch_ohm: 150.0,
        switch_error_ohm: 0.0,
        gain_ohm: 2200.0,
        amplifier_offset_v: 0.0,
        amplifier_noise_v_per_root_hz: 0.0,
        gain_bandwidth_hz: 350e3,
        slew_v_per_s: 0.16e6,
        headroom_v: 0.05,
        output_reference_v: 1.65,
        output_reference_error_v: 0.0,
        supply_v: 3.3,
        dac_gain_error: 0.0,
        dac_offset_v: 0.0,
        dac_inl_lsb: 0.0,
        bias_lowest_v: 0.545,
        bias_width_v: 2.1945,
        bias_ohm: 100.0,
        adc_gain_error: 0.0,
        adc_offset_v: 0.0,
        adc_inl_lsb: 0.0,
        adc_noise_lsb: 0.0,
        temperature_k: 0.0,
    };
}

/// Refuses an array larger than the shield.
pub(super) fn require_lines(crossbar: &Crossbar) -> Result<(), BoardError> {
    let (rows, columns) = (crossbar.rows(), crossbar.columns());
    if (rows, columns) == (LINES, LINES) {
        Ok(())
    } else {
        Err(BoardError::Lines { rows, columns, lines: LINES })
    }
}

/// What one row has.
#[derive(Clone, Debug)]
struct Row {
    gain: f64,
    offset_v: f64,
    linearity: Linearity,
    switch_ohm: f64,
    ohm: f64,
}

/// What one column has.
#[derive(Clone, Debug)]
struct Column {
    switch_ohm: f64,
    shunt_ohm: f64,
    gain: f64,
    offset_v: f64,
    /// 1 over 2π times the bandwidth, s.
    lag_s: f64,
}

/// The states of all lines.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wiring {
    rows: Vec<Line>,
    columns: Vec<Line>,
}

impl Wiring {
    fn lines(&self) -> Lines<'_> {
        Lines { rows: &self.rows, columns: &self.columns }
    }
}

/// What is the shield's own.
#[derive(Debug)]
pub(super) struct OpenMena {
    shield: Shield,
    drivers: Ad5593r,
    rows: Vec<Row>,
    columns: Vec<Column>,
    ground_error_v: f64,
    output_reference_v: f64,
    adc_gain: f64,
    adc_offset_v: f64,
    adc_linearity: Linearity,
    /// Switches that are closed, that the next pulse closes, and whether one does now.
    closed: u16,
    armed: u16,
    pulsing: bool,
    bias_code: u16,
    wiring: Wiring,
    /// Before the last burst of changes, and when that was.
    previous: Wiring,
    changed_ns: u64,
    codes: [u16; LINES],
    converted_ns: u64,
}

/// A source behind a resistance that pulls against a resistor to virtual ground.
fn divided(volts: f64, source_ohm: f64, ground_ohm: f64) -> Line {
    let sum = source_ohm + ground_ohm;
    Line::Driven { volts: volts * ground_ohm / sum, ohms: source_ohm * ground_ohm / sum }
}

impl OpenMena {
    /// The row drivers, to look at or to spoil.
    pub(super) fn row_drivers(&mut self) -> &mut Ad5593r {
        &mut self.drivers
    }

    fn switches(&self) -> u16 {
        if self.pulsing { self.armed } else { self.closed }
    }

    fn derive(&self) -> Wiring {
        let switches = self.switches();
        let row = |(number, row): (usize, &Row)| {
            let open = Line::Driven { volts: 0.0, ohms: row.ohm };
            if switches >> number & 1 == 0 {
                return open;
            }
            self.drivers.output(number).map_or(open, |(volts, code)| {
                let error = row.linearity.error_lsb(f64::from(code) * 16.0) * self.drivers.lsb_v();
                let driver_v = volts * row.gain + row.offset_v + error;
                divided(
                    driver_v - self.shield.virtual_ground_v - self.ground_error_v,
                    row.switch_ohm,
                    row.ohm,
                )
            })
        };
        let bias_v = self.shield.bias_lowest_v
            + self.shield.bias_width_v * f64::from(self.bias_code) / BIAS_TOP
            - self.shield.virtual_ground_v
            - self.ground_error_v;
        let on = (switches >> LINES).count_ones();
        let column = |(number, column): (usize, &Column)| {
            if switches >> (LINES + number) & 1 == 0 {
                return Line::Driven { volts: 0.0, ohms: column.shunt_ohm };
            }
            // Its output resistance carries all closed columns' currents; each is taken to have its share of it alone.
            divided(bias_v, column.switch_ohm + self.shield.bias_ohm * f64::from(on), column.shunt_ohm)
        };
        Wiring {
            rows: self.rows.iter().enumerate().map(row).collect(),
            columns: self.columns.iter().enumerate().map(column).collect(),
        }
    }

    /// What the amplifier of a column settles at for a current out of it, V.
    fn output_v(&self, number: usize, wiring: &Wiring, amperes: f64) -> f64 {
        let column = &self.columns[number];
        let volts = match wiring.columns[number] {
            Line::Driven { volts, ohms } => volts + amperes * ohms,
            Line::Floating => 0.0,
        };
        let (lowest, highest) = (self.shield.headroom_v, self.shield.supply_v - self.shield.headroom_v);
        (self.output_reference_v + column.gain * (volts + column.offset_v)).clamp(lowest, highest)
    }

    /// What is left of an output's step of `step_v` after `elapsed_s`.
    fn remaining(&self, number: usize, step_v: f64, elapsed_s: f64) -> f64 {
        let lag_s = self.columns[number].lag_s;
        let slewing_s = (step_v / self.shield.slew_v_per_s - lag_s).max(0.0);
        if elapsed_s < slewing_s {
            return 1.0 - elapsed_s * self.shield.slew_v_per_s / step_v;
        }
        let left = if slewing_s > 0.0 { lag_s * self.shield.slew_v_per_s / step_v } else { 1.0 };
        left * libm::exp(-(elapsed_s - slewing_s) / lag_s)
    }
}

impl Rig<OpenMena> {
    /// After a switch or a code may have moved.
    fn rewire(&mut self) -> Result<(), BoardError> {
        let next = self.analog.derive();
        if next == self.analog.wiring {
            return Ok(());
        }
        self.catch_up()?;
        let present = core::mem::replace(&mut self.analog.wiring, next);
        if self.now_ns - self.analog.changed_ns > BURST_NS {
            self.analog.previous = present;
        }
        self.analog.changed_ns = self.now_ns;
        Ok(())
    }
}

impl Analog for OpenMena {
    type Imperfections = Shield;

    fn new(crossbar: &Crossbar, options: &Options<Shield>, state: &BoardState) -> Self {
        let shield = options.imperfections;
        let mut random = Random::new(options.seed, STREAM);
        let mut within = |limit: f64| (2.0 * random.uniform() - 1.0) * limit;
        let mut curves = Random::new(options.seed, STREAM + 1);
        let ground_error_v = within(shield.virtual_ground_error_v);
        let output_reference_v = shield.output_reference_v + within(shield.output_reference_error_v);
        let (adc_gain, adc_offset_v) = (1.0 + within(shield.adc_gain_error), within(shield.adc_offset_v));
        let rows = (0..crossbar.rows())
            .map(|_| Row {
                gain: 1.0 + within(shield.dac_gain_error),
                offset_v: within(shield.dac_offset_v),
                linearity: Linearity::draw(shield.dac_inl_lsb, 0.0, &mut curves),
                switch_ohm: shield.switch_ohm + within(shield.switch_error_ohm),
                ohm: shield.row_ohm * (1.0 + within(shield.resistor_error)),
            })
            .collect();
        let columns = (0..crossbar.columns())
            .map(|_| {
                let gain = 1.0 + 100e3 / (shield.gain_ohm * (1.0 + within(shield.resistor_error)));
                Column {
                    switch_ohm: shield.switch_ohm + within(shield.switch_error_ohm),
                    shunt_ohm: shield.shunt_ohm * (1.0 + within(shield.resistor_error)),
                    gain,
                    offset_v: within(shield.amplifier_offset_v),
                    lag_s: gain / (TAU * shield.gain_bandwidth_hz),
                }
            })
            .collect();
        let mut board = Self {
            drivers: Ad5593r::new(shield.reference_v),
            shield,
            rows,
            columns,
            ground_error_v,
            output_reference_v,
            adc_gain,
            adc_offset_v,
            adc_linearity: Linearity::draw(shield.adc_inl_lsb, 0.0, &mut curves),
            closed: 0,
            armed: 0,
            pulsing: false,
            bias_code: 0,
            wiring: Wiring::default(),
            previous: Wiring::default(),
            changed_ns: state.now_ns,
            codes: [0; LINES],
            converted_ns: state.now_ns,
        };
        board.wiring = board.derive();
        board.previous = board.wiring.clone();
        board
    }

    fn temperature_k(shield: &Shield) -> f64 {
        shield.temperature_k
    }

    fn hold_to(rig: &mut Rig<Self>, to_ns: u64) -> Result<(), BoardError> {
        if rig.held_ns < to_ns {
            rig.crossbar.hold(&rig.analog.wiring.lines(), rig.held_ns, to_ns)?;
            rig.held_ns = to_ns;
        }
        Ok(())
    }

    fn edge(rig: &mut Rig<Self>, high: bool) -> Result<(), BoardError> {
        rig.analog.pulsing = high;
        if !high {
            rig.analog.armed = 0;
        }
        rig.rewire()
    }

    /// The microcontroller, which has its own supply, goes on.
    fn restart(rig: &mut Rig<Self>) -> Result<(), BoardError> {
        rig.analog.pulsing = false;
        rig.analog.drivers.restart();
        rig.rewire()
    }

    fn exchange(
        _: &mut Rig<Self>,
        select: ChipSelect,
        _: usize,
        _: &[u8],
        _: Option<&mut [u8]>,
    ) -> Result<(), BoardError> {
        Err(BoardError::Absent { select, fitted: 0 })
    }

    fn listens(&self, address: u8) -> bool {
        address == ad5593r::ADDRESS && self.drivers.listens()
    }

    fn i2c(rig: &mut Rig<Self>, _: u8, out: &[u8], input: &mut [u8]) -> Result<bool, BoardError> {
        let now_ns = rig.now_ns;
        let acknowledged = rig.analog.drivers.transaction(out, input, now_ns);
        rig.rewire()?;
        Ok(acknowledged)
    }

    fn set_output(_: &mut Rig<Self>, _: OutputLine, _: bool) -> Result<(), BoardError> {
        Err(BoardError::NotFitted("a reset line"))
    }

    fn convert(rig: &mut Rig<Self>) -> Result<(), BoardError> {
        rig.catch_up()?;
        let count = rig.analog.columns.len();
        let mut currents = vec![0.0; count];
        rig.crossbar.sample(&rig.analog.wiring.lines(), rig.now_ns, &mut currents)?;
        let mut before = vec![0.0; count];
        rig.crossbar.currents(&rig.analog.previous.lines(), &mut before)?;
        let elapsed_s = (rig.now_ns - rig.analog.changed_ns) as f64 * 1e-9;
        let board = &mut rig.analog;
        for number in 0..count {
            let settled = board.output_v(number, &board.wiring, currents[number]);
            let from = board.output_v(number, &board.previous, before[number]);
            let left = board.remaining(number, libm::fabs(from - settled), elapsed_s);
            let shield = &board.shield;
            let density = board.columns[number].gain * shield.amplifier_noise_v_per_root_hz;
            let bandwidth_hz = FRAC_PI_2 * shield.gain_bandwidth_hz / board.columns[number].gain;
            let mut volts = settled + (from - settled) * left;
            if density > 0.0 {
                volts += density * libm::sqrt(bandwidth_hz) * rig.noise.dac.normal();
            }
            let mut code = (volts * board.adc_gain + board.adc_offset_v) / shield.supply_v * CODES;
            code += board.adc_linearity.error_lsb(code * 16.0);
            if shield.adc_noise_lsb > 0.0 {
                code += shield.adc_noise_lsb * rig.noise.adc.normal();
            }
            board.codes[number] = libm::rint(code).clamp(0.0, CODES - 1.0) as u16;
        }
        board.converted_ns = rig.now_ns + CHANNEL_NS * count as u64;
        Ok(())
    }

    fn is_converted(&self, now_ns: u64) -> bool {
        now_ns >= self.converted_ns
    }

    fn set_switches(rig: &mut Rig<Self>, closed: u16) -> Result<(), BoardError> {
        rig.analog.closed = closed;
        rig.rewire()
    }

    fn arm_switches(rig: &mut Rig<Self>, closed: u16) -> Result<(), BoardError> {
        rig.analog.armed = closed;
        rig.rewire()
    }

    fn set_dac(rig: &mut Rig<Self>, code: u16) -> Result<(), BoardError> {
        if f64::from(code) > BIAS_TOP {
            return Err(BoardError::NotFitted("a DAC of more than 12 bits"));
        }
        rig.analog.bias_code = code;
        rig.rewire()
    }

    fn read_adc(&self, first: u8, codes: &mut [u16]) -> Result<(), BoardError> {
        let found = self.codes.get(usize::from(first)..).and_then(|rest| rest.get(..codes.len()));
        let Some(found) = found else { return Err(BoardError::NotFitted("that many ADC channels")) };
        codes.copy_from_slice(found);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
