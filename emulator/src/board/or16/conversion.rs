//! One sample of every column: currents, amplifiers, what is picked up on the way, what has settled, converters.

use alloc::vec;
use alloc::vec::Vec;
use core::f64::consts::TAU;

use super::imperfections::HARMONICS;
use super::wiring::{Conditions, Wiring};
use super::{Or16, settling};
use crate::board::rig::Rig;
use crate::board::{BoardError, ROOM_CELSIUS};
use crate::chips::ad7606c::CHANNELS;
use crate::crossbar::Crossbar;

/// The devices' conductances are looked at again for the gain of noise after this time without a write, ns.
const SMALL_SIGNAL_NS: u64 = 1_000_000_000;

/// Room for what a sample passes through.
#[derive(Debug)]
pub(super) struct Readings {
    /// Noise of each row's driver, V.
    rows: Vec<f64>,
    /// Out of each column, A.
    currents: Vec<f64>,
    /// What that noise adds, A.
    noise: Vec<f64>,
    /// At each ADC input, V.
    outputs: Vec<f64>,
    /// Settled outputs before the last burst of changes, V.
    previous: Option<Vec<f64>>,
}

impl Readings {
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        let columns = vec![0.0; columns];
        Self {
            rows: vec![0.0; rows],
            currents: columns.clone(),
            noise: columns.clone(),
            outputs: columns,
            previous: None,
        }
    }

    /// There has been another burst of changes.
    pub(super) fn forget_previous(&mut self) {
        self.previous = None;
    }
}

/// Out of every column into what it is connected to (A); with the devices' noise if `at_ns` says when it is.
fn currents(
    crossbar: &mut Crossbar,
    wiring: &Wiring,
    at_ns: Option<u64>,
    currents: &mut [f64],
) -> Result<(), BoardError> {
    match at_ns {
        _ if !wiring.is_live() => currents.fill(0.0),
        Some(at_ns) => crossbar.sample(&wiring.lines(), at_ns, currents)?,
        None => crossbar.currents(&wiring.lines(), currents)?,
    }
    Ok(())
}

impl Rig<Or16> {
    /// What every ADC's filter passes on at this instant, V per column, all noise but the ADCs' own included.
    fn sample(&mut self) -> Result<(), BoardError> {
        currents(
            &mut self.crossbar,
            &self.analog.wiring,
            Some(self.now_ns),
            &mut self.analog.readings.currents,
        )?;
        self.update_small_signal();
        self.draw_dac_noise();
        let flicker = self.analog.imperfections.reference_flicker_per_root_hz;
        let white = self.analog.imperfections.reference_white;
        let reference = 1.0 + self.noise.reference.sample(self.now_ns, flicker, white);
        let conditions = Conditions { reference, ..self.conditions() };
        let picked_up = self.pick_up();
        let elapsed_s = (self.now_ns - self.analog.changed_ns) as f64 * 1e-9;
        for column in 0..self.analog.readings.outputs.len() {
            let amplifier = &self.analog.wiring.amplifiers[column];
            let (current_a, noise_a) =
                (self.analog.readings.currents[column], self.analog.readings.noise[column]);
            let mut output = amplifier.output(current_a, noise_a, &conditions);
            let filter_s = self.filter_s(column);
            let closed_loop = amplifier.closed_loop(self.analog.small_signal.load_s(column));
            if !settling::is_over(elapsed_s, self.analog.step_v, &closed_loop, filter_s) {
                let left = settling::remaining(elapsed_s, self.analog.step_v, &closed_loop, filter_s);
                output += (self.previous_output(column)? - output) * left;
            }
            self.analog.readings.outputs[column] =
                output + picked_up.at(&self.analog.errors.columns[column].hum_v);
        }
        Ok(())
    }

    /// Lag of the filter of a column's ADC, s.
    fn filter_s(&self, column: usize) -> f64 {
        1.0 / (TAU * self.analog.chips.adcs[column / CHANNELS].chip.bandwidth_hz(column % CHANNELS))
    }

    /// Without noise.
    fn conditions(&mut self) -> Conditions {
        Conditions { kelvin: self.celsius() - ROOM_CELSIUS, reference: 1.0 }
    }

    fn update_small_signal(&mut self) {
        if self.analog.small_signal_ns.is_none_or(|known_ns| self.now_ns - known_ns >= SMALL_SIGNAL_NS) {
            self.analog.small_signal.update(&self.crossbar, &self.analog.wiring);
            self.analog.small_signal_ns = Some(self.now_ns);
        }
    }

    /// What the noise of the rows' drivers does to each amplifier's current, in the band that amplifier and ADC let
    /// through: white, so independent from sample to sample.
    fn draw_dac_noise(&mut self) {
        let density = self.analog.imperfections.dac_noise_v_per_root_hz;
        if density == 0.0 {
            return;
        }
        for volts in &mut self.analog.readings.rows {
            *volts = density * self.noise.dac.normal();
        }
        let bus: f64 = self
            .analog
            .wiring
            .bus_shares
            .iter()
            .zip(&self.analog.readings.rows)
            .map(|(share, volts)| share * volts)
            .sum();
        self.analog.readings.noise.fill(0.0);
        self.analog.small_signal.add_currents(&self.analog.readings.rows, &mut self.analog.readings.noise);
        for column in 0..self.analog.readings.noise.len() {
            let amplifier = &self.analog.wiring.amplifiers[column];
            let closed_loop = amplifier.closed_loop(self.analog.small_signal.load_s(column));
            let root_hz = libm::sqrt(closed_loop.noise_bandwidth_hz(self.filter_s(column)));
            let from_column = amplifier.share * self.analog.readings.noise[column];
            self.analog.readings.noise[column] = root_hz * (from_column + amplifier.calibration_s * bus);
        }
    }

    /// What is on every amplifier's output at this instant that has nothing to do with its input.
    fn pick_up(&mut self) -> PickedUp {
        let flicker = self.analog.imperfections.supply_flicker_v_per_root_hz;
        let supply_v =
            self.noise.supply.sample(self.now_ns, flicker, self.analog.imperfections.supply_white_v);
        if self.analog.imperfections.hum_v == [0.0; HARMONICS] {
            return PickedUp { supply_v, harmonics: [(0.0, 0.0); HARMONICS] };
        }
        let period_ns = self.analog.errors.mains_ns;
        let angle = TAU * ((self.now_ns % period_ns) as f64 / period_ns as f64);
        let (sine, cosine) = (libm::sin(angle), libm::cos(angle));
        let (mut s, mut c) = (0.0, 1.0);
        let harmonics = core::array::from_fn(|_| {
            (s, c) = (s * cosine + c * sine, c * cosine - s * sine);
            (s, c)
        });
        PickedUp { supply_v, harmonics }
    }

    /// The settled output of a column before the last burst of changes, V, with the devices as they are now.
    fn previous_output(&mut self, column: usize) -> Result<f64, BoardError> {
        if let Some(outputs) = &self.analog.readings.previous {
            return Ok(outputs[column]);
        }
        let mut outputs = vec![0.0; self.analog.readings.outputs.len()];
        currents(&mut self.crossbar, &self.analog.previous, None, &mut outputs)?;
        let conditions = self.conditions();
        for (output, amplifier) in outputs.iter_mut().zip(&self.analog.previous.amplifiers) {
            *output = amplifier.output(*output, 0.0, &conditions);
        }
        let output = outputs[column];
        self.analog.readings.previous = Some(outputs);
        Ok(output)
    }

    /// One conversion of every ADC; the samples of an oversampled one are all of this instant.
    pub(super) fn convert(&mut self) -> Result<(), BoardError> {
        self.catch_up()?;
        let samples = self.analog.chips.adcs.iter().map(|adc| adc.chip.oversampling()).max().unwrap_or(1);
        let mut inputs = vec![[0.0; CHANNELS]; self.analog.chips.adcs.len()];
        for sample in 0..samples {
            self.sample()?;
            for (number, (inputs, adc)) in inputs.iter_mut().zip(&self.analog.chips.adcs).enumerate() {
                let averaged = adc.chip.oversampling();
                if sample >= averaged {
                    continue;
                }
                for (channel, input) in inputs.iter_mut().enumerate() {
                    let column = number * CHANNELS + channel;
                    let lsb_v = adc.chip.lsb_v(channel);
                    let mut volts = match self.analog.readings.outputs.get(column) {
                        Some(&output) => {
                            let code = output / lsb_v + 32768.0;
                            self.analog.errors.columns[column].adc.distort(output, code, lsb_v)
                        }
                        None => 0.0,
                    };
                    if self.analog.imperfections.adc_noise_lsb > 0.0 {
                        volts += self.analog.imperfections.adc_noise_lsb * lsb_v * self.noise.adc.normal();
                    }
                    *input += volts / f64::from(averaged);
                }
            }
        }
        for (inputs, adc) in inputs.iter().zip(&mut self.analog.chips.adcs) {
            adc.chip.convert(inputs, self.now_ns);
        }
        Ok(())
    }
}

/// Supply noise, and sine and cosine of each harmonic of the mains.
struct PickedUp {
    supply_v: f64,
    harmonics: [(f64, f64); HARMONICS],
}

impl PickedUp {
    /// For a column with these amplitudes, V.
    fn at(&self, hum_v: &[(f64, f64); HARMONICS]) -> f64 {
        let hum = |((sine, cosine), (s, c)): (&(f64, f64), &(f64, f64))| sine * s + cosine * c;
        self.supply_v + hum_v.iter().zip(&self.harmonics).map(hum).sum::<f64>()
    }
}
