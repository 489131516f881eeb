//! What a measurement of known cells should say, and how far off it may be: the circuit's solution for the devices' true
//! conductances, give or take the profile's noise and the board's imperfections. Noise counts with six standard
//! deviations, which of 10⁷ normal values none exceeds but by a chance of one in fifty.

use ohmrig_emulator::board::{
    BoardImperfections, BoardKind, CALIBRATION_OHMS, GAIN_BANDWIDTH_HZ, ROW_OHMS, SWITCH_OHMS,
};
use ohmrig_emulator::circuit::wired::Segments;
use ohmrig_emulator::circuit::{Ends, Line, Wires, operate};
use ohmrig_emulator::profile::Profile;
use ohmrig_protocol::message::Converters;

/// Standard deviations of what is normal.
const SIGMAS: f64 = 6.0;
/// Means of what is exponential: e⁻¹⁸ is 1.5·10⁻⁸, for some 10⁵ traps.
const MEANS: f64 = 18.0;
/// √(ln of the bandwidth) of flicker noise between an hour and a microsecond, times `SIGMAS`.
const FLICKER: f64 = 6.0 * 4.7;
/// Relative accuracy of the predicted circuit.
const TOLERANCE: f64 = 1e-9;

/// A value, and the interval it must be in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expectation {
    pub(super) value: f64,
    pub(super) bound: f64,
}

impl Expectation {
    /// Whether `measured` is within both bounds, or between the two values: cells may move while they are read.
    pub(super) fn allows(before: Self, after: Self, measured: f64) -> bool {
        let lowest = (before.value - before.bound).min(after.value - after.bound);
        let highest = (before.value + before.bound).max(after.value + after.bound);
        (lowest..=highest).contains(&measured)
    }
}

/// How one board measures.
pub(super) struct Prediction {
    profile: Profile,
    board: BoardImperfections,
    converters: Converters,
    rows: usize,
    columns: usize,
}

impl Prediction {
    pub(super) fn new(profile: &Profile, converters: Converters, rows: u16, columns: u16) -> Self {
        let BoardKind::Or16(board) = profile.board.into() else { panic!("predictions are of an OR-16") };
        let (rows, columns) = (usize::from(rows), usize::from(columns));
        Self { profile: profile.clone(), board, converters, rows, columns }
    }

    pub(super) fn feedback(&self, range: u8) -> f64 {
        f64::from(self.converters.feedback[usize::from(range)].0)
    }

    /// Whether `current`, A, stays well within a range's linear span.
    pub(super) fn is_linear(&self, current: f64, range: u8) -> bool {
        let linear = f64::from(self.converters.adc_linear) * f64::from(self.converters.adc_step.0);
        current.abs() * self.feedback(range) < 0.8 * linear
    }

    /// Relative deviation of one device's conductance, S, from its true one at `conversions` samples.
    fn device_share(&self, conductance: f64, conversions: u16) -> f64 {
        let device = &self.profile.device;
        let most = device.conductance.maximum_s;
        let white = device.read_noise.deviation(conductance, most) / f64::from(conversions).sqrt();
        let flicker = device.flicker.map_or(0.0, |flicker| flicker.level(conductance, most));
        let telegraph = device.telegraph.map_or(0.0, |telegraph| telegraph.amplitude);
        SIGMAS * white + FLICKER * flicker + MEANS * telegraph
    }

    /// Relative deviation that the board adds to everything.
    fn board_share(&self) -> f64 {
        let board = &self.board;
        let warm = SIGMAS * board.temperature_k;
        board.dac_gain
            + board.adc_gain
            // Two resistors in parallel.
            + 2.0 * (board.feedback + board.feedback_per_kelvin * warm)
            + SIGMAS * board.reference_white
            + FLICKER * board.reference_flicker_per_root_hz
            // Settling to 2⁻¹⁴ of a step, of driver and of amplifier.
            + 2.0 / 16384.0
    }

    /// Volts at an amplifier's output that come on top, polarity by polarity.
    fn output_v(&self) -> f64 {
        let board = &self.board;
        let step = f64::from(self.converters.adc_step.0);
        board.hum_v.iter().sum::<f64>()
            + SIGMAS * board.supply_white_v
            + FLICKER * board.supply_flicker_v_per_root_hz
            + (board.adc_inl_lsb + board.adc_carry_lsb + SIGMAS * board.adc_noise_lsb + 1.0) * step
    }

    /// Volts by which a row driver may miss its code.
    fn driver_v(&self) -> f64 {
        (self.board.dac_inl_lsb + self.board.dac_carry_lsb + 0.5) * f64::from(self.converters.dac_step.0)
    }

    /// Column currents, A, with the rows at `volts`.
    fn currents(&self, conductance: &[f64], volts: &[f64]) -> Vec<f64> {
        let driven = |volts: f64, ohms: f64| Line::Driven { volts, ohms };
        let left: Vec<Line> = volts.iter().map(|&v| driven(v, ROW_OHMS + SWITCH_OHMS)).collect();
        let bottom = vec![driven(0.0, SWITCH_OHMS); self.columns];
        let ends = Ends { left: &left, right: &[], top: &[], bottom: &bottom };
        let device = &self.profile.device;
        let wires = if device.wires.row_segment_ohm == 0.0 {
            Wires::Ideal
        } else {
            let row = Segments::Uniform(device.wires.row_segment_ohm);
            Wires::Resistive { row, column: Segments::Uniform(device.wires.column_segment_ohm) }
        };
        let solved = operate(conductance, device.current, &wires, &ends, TOLERANCE);
        solved.expect("the emulator has solved the same").bottom
    }

    /// Share of a step that is left when the firmware samples a column of `sum`, S. Its settling table (`or16::settling`)
    /// takes an amplifier without a load; one with a load is slower by its noise gain.
    fn unsettled(&self, sum: f64, range: u8) -> f64 {
        // By range: R·C, and time from the edge to the sample less a slewing driver's, s.
        let (lag_s, wait_s) = [(1e-6, 27e-6), (0.23e-6, 19.7e-6), (0.07e-6, 17.5e-6)][usize::from(range)];
        let loop_s = (1.0 + self.feedback(range) * sum) / (core::f64::consts::TAU * GAIN_BANDWIDTH_HZ);
        // From one polarity to the other is two steps.
        2.0 * (-wait_s / (lag_s + loop_s)).exp()
    }

    fn column_sum(&self, conductance: &[f64], column: usize) -> f64 {
        conductance.iter().skip(column).step_by(self.columns).sum()
    }

    /// Share of a row's voltage that the spread of the switches' resistance may take.
    fn switch_share(&self, conductance: &[f64], row: usize) -> f64 {
        let sum: f64 = conductance[row * self.columns..][..self.columns].iter().sum();
        2.0 * (self.board.switch_chip_ohms + self.board.switch_channel_ohms) * sum
    }

    /// Conductances, S, of one row's cells as a read at ±`volts` says them.
    pub(super) fn row(
        &self,
        conductance: &[f64],
        row: usize,
        volts: f64,
        range: u8,
        conversions: u16,
    ) -> Vec<Expectation> {
        let mut rows = vec![0.0; self.rows];
        rows[row] = volts;
        let absolute = self.output_v() / (self.feedback(range) * volts);
        let share = self.board_share() + self.switch_share(conductance, row) + self.driver_v() / volts;
        let cells = &conductance[row * self.columns..][..self.columns];
        let currents = self.currents(conductance, &rows);
        currents
            .iter()
            .zip(cells)
            .enumerate()
            .map(|(column, (current, &cell))| {
                let value = current / volts;
                let unsettled = self.unsettled(self.column_sum(conductance, column), range);
                let share = share + unsettled + self.device_share(cell, conversions);
                Expectation { value, bound: absolute + value.abs() * share }
            })
            .collect()
    }

    /// Column currents, A, of a product.
    pub(super) fn product(
        &self,
        conductance: &[f64],
        volts: &[f64],
        range: u8,
        conversions: u16,
    ) -> Vec<Expectation> {
        let board = &self.board;
        let feedback = self.feedback(range);
        let currents = self.currents(conductance, volts);
        (0..self.columns)
            .map(|column| {
                let (mut moved, mut sum) = (0.0, 0.0);
                for (row, volts) in volts.iter().enumerate() {
                    let cell = conductance[row * self.columns + column];
                    let share = self.board_share()
                        + self.switch_share(conductance, row)
                        + self.device_share(cell, conversions);
                    moved += (volts * cell).abs() * share
                        // The other rows' currents lift nothing but this column's own switch.
                        + cell * (self.driver_v() + board.dac_offset_v);
                    sum += cell;
                }
                // Products are not taken at two polarities: offsets stay.
                let offset = board.adc_offset_v + board.tia_offset_v * (1.0 + feedback * sum);
                let leakage = self.rows as f64 * 8.0 * board.leakage_a;
                let most = volts.iter().fold(0.0_f64, |most, volts| most.max(volts.abs()));
                let unsettled = self.unsettled(sum, range) * most * sum;
                let bound = moved + leakage + unsettled + (offset + self.output_v()) / feedback;
                Expectation { value: currents[column], bound }
            })
            .collect()
    }

    /// 1/R_cal, S, as read at `volts` in a range.
    pub(super) fn reference(&self, volts: f64, range: u8) -> Expectation {
        let value = 1.0 / CALIBRATION_OHMS;
        let board = &self.board;
        let switch = SWITCH_OHMS + board.switch_chip_ohms + board.switch_channel_ohms;
        let calibration = board.calibration + board.calibration_per_kelvin * SIGMAS * board.temperature_k;
        let share = self.board_share()
            + calibration
            + self.driver_v() / volts
            // All columns' resistors hang on the bus behind one switch.
            + 2.0 * (self.columns as f64 + 1.0) * switch / CALIBRATION_OHMS;
        Expectation { value, bound: value * share + self.output_v() / (self.feedback(range) * volts) }
    }
}
