//! OR-16, the reference analog board, as a front end: LTC2688 drivers, a matrix of ADGS1414D switches, AD7606C-16
//! converters and a TMP117, for any geometry from 1×1 to 256×256 by repeating chips.
//!
//! What each cell sees decides every order here. Nothing is closed before all DACs have been read back at 0 V; columns
//! break before they make; outside of a pulse every driver is at 0 V or at a read voltage; and no edge comes before
//! all that will move has been read back. After any complaint of a chip nothing is believed any more: the next
//! [`make_safe`](FrontEnd::make_safe) begins with the reset lines.

mod bring_up;
mod drive;
mod faults;
mod population;
mod pulse;
mod settling;
mod switches;
#[cfg(test)]
mod tests;

use crate::chips::ad7606c::{Ad7606c, CHANNELS, SATURATION_VOLTS};
use crate::chips::ltc2688;
use crate::chips::tmp117::{self, Tmp117};
use crate::front_end::{Description, FrontEnd, FrontEndError, LineSpan, Path, Progress, Selection, Settle};
use crate::hardware::{Hardware, Persistent, Sequencer};
use crate::log::{log, words};
use drive::Driven;
use embedded_hal::digital::{OutputPin, PinState};
use ohmrig_protocol::bench::{ChipKind, OutputLine};
use ohmrig_protocol::message::{Converters, Limits, MAX_RANGES, Scheme};
use ohmrig_protocol::units::{Amperes, Joules, Kelvin, Ohms, Seconds, VoltSeconds, Volts};
use population::{MAX_LINES, Population};
use pulse::Plan;
use switches::{Arrangement, Lines, Switches};

/// What the board allows at most. A cell: the drivers' ±5 V. A half-selected cell: half of that and its tolerance.
/// Reads: what no device in use is disturbed by. Widths: from what a slewing output can do to what a one-shot timer
/// of 32 bits at ns lasts. Current: an output's and a TIA's at 1 kΩ ‖ 100 kΩ. What a cell may get in all: a million
/// pulses of 1 ms at 5 V and 5 mA.
pub const LIMITS: Limits = Limits {
    cell: Volts(5.0),
    half_select: Volts(2.6),
    read: Volts(0.5),
    width_min: Seconds(5e-6),
    width_max: Seconds(1.0),
    current: Amperes(5e-3),
    pulses_per_cell: 1_000_000,
    dose_per_cell: VoltSeconds(5e3),
    energy_per_cell: Joules(25.0),
};

/// Span of the row and bias DACs: ± so much, V.
pub const SPAN_VOLTS: f32 = 5.0;
/// The same of a line, less the step that 2¹⁶ codes leave out at the top.
pub const SPAN: LineSpan =
    LineSpan { lowest: Volts(-SPAN_VOLTS), highest: Volts(SPAN_VOLTS * (1.0 - 1.0 / 32768.0)) };

/// All of them: every line has a driver and switches of its own.
pub const SCHEMES: [Scheme; 5] =
    [Scheme::Half, Scheme::SymmetricHalf, Scheme::Third, Scheme::Grounded, Scheme::Floating];

/// The current of a pulse is first sampled this long after the edge …
const GUARD_AFTER_NS: u32 = 10_000;
/// … and once more when DAC, amplifier and the converter's filter have settled to 2⁻¹⁴ of a full-scale step (22 µs by
/// the settling table, and some room).
const REPORT_AFTER_NS: u32 = 25_000;

/// Nominal relations: ±5 V of the row DACs and ±6.25 V of the ADCs over 2¹⁶ codes; the feedback resistors as they are in
/// effect, 100 kΩ always in parallel.
const CONVERTERS: Converters = Converters {
    dac_step: Volts(10.0 / 65536.0),
    dac_zero: 0x8000,
    adc_step: Volts(12.5 / 65536.0),
    adc_linear: (SATURATION_VOLTS / 12.5 * 65536.0) as u16,
    feedback: [
        Ohms(100e3),
        Ohms(1.0 / (1.0 / 100e3 + 1.0 / 10e3)),
        Ohms(1.0 / (1.0 / 100e3 + 1.0 / 1e3)),
        Ohms(0.0),
    ],
    reference: Ohms(10e3),
};

/// The feedback setting of the largest current.
const WIDEST: u8 = 2;
/// Feedback in effect in a pulse at its widest, by the setting of reads: 1 kΩ in parallel to what is in already.
const PULSE_FEEDBACK: [Ohms; MAX_RANGES] = [
    Ohms(1.0 / (1.0 / 100e3 + 1.0 / 1e3)),
    Ohms(1.0 / (1.0 / 100e3 + 1.0 / 10e3 + 1.0 / 1e3)),
    Ohms(1.0 / (1.0 / 100e3 + 1.0 / 1e3)),
    Ohms(0.0),
];

/// One cycle at the ADC's 1 MSPS; BUSY is over earlier.
const CONVERSION_NS: u32 = 1_000;
/// No conversion without oversampling takes a tenth of this.
const CONVERSION_TIMEOUT_NS: u32 = 20_000;

/// Lines that hold the board DEAD while low, in the order in which that is best: the array is off before the DACs move.
const RESET_LINES: [OutputLine; 3] = [OutputLine::SwitchReset, OutputLine::DacClear, OutputLine::AdcReset];

/// What is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Or16Config {
    /// Rows of the array, 1 to 256.
    pub rows: u16,
    /// Columns of the array, 1 to 256.
    pub columns: u16,
    /// Whether there are DACs on 1T1R gate lines, one line per column.
    pub gates: bool,
}

/// No OR-16 has this geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rows} rows × {columns} columns: each must be 1 to {MAX_LINES}")]
pub struct NoSuchGeometry {
    /// Rows asked for.
    pub rows: u16,
    /// Columns asked for.
    pub columns: u16,
}

/// What the board is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// At power-on, in DEAD, and after any error: nothing is believed.
    Unknown,
    /// Reset lines low.
    Held,
    /// Reset lines high, everything open; this part is next to be set up.
    SettingUp(u16),
    /// Up; this DAC is next to be put to 0 V.
    Zeroing(u16),
    /// All drivers at 0 V, read back; the switches are next.
    Arranging,
    Safe,
    Selected(Selection),
    /// Everything has been read back; one edge is allowed.
    Loaded(Plan),
    /// That edge has been given.
    Pulsed(Plan),
    /// As `Selected`, but switches that were moved for the pulse are still so: when the pulse's codes were taken away, the
    /// lines were perhaps on their way back to 0 V.
    Unloaded(Selection),
    /// Something else than in SAFE is connected.
    Connected(Path),
}

/// The front end, owner of its hardware.
#[derive(Debug)]
pub struct Or16<H> {
    hardware: H,
    description: Description,
    population: Population,
    switches: Switches,
    driven: Driven,
    /// Rows were put at codes that haven't been confirmed.
    unconfirmed: bool,
    range: u8,
    /// The column whose amplifier has its 1 kΩ in for the current of a pulse.
    widened: Option<u16>,
    phase: Phase,
    kelvin: Option<Kelvin>,
}

impl<H: Hardware> Or16<H> {
    /// Takes the hardware; touches nothing.
    ///
    /// # Errors
    /// A geometry beyond what chip selects can address.
    pub fn new(hardware: H, config: Or16Config) -> Result<Self, NoSuchGeometry> {
        let Or16Config { rows, columns, gates } = config;
        if ![rows, columns].iter().all(|lines| (1..=MAX_LINES).contains(lines)) {
            return Err(NoSuchGeometry { rows, columns });
        }
        Ok(Self {
            hardware,
            description: Description {
                name: "or16",
                rows,
                columns,
                converters: CONVERTERS,
                limits: LIMITS,
                pulse_feedback: PULSE_FEEDBACK,
                gates,
                schemes: &SCHEMES,
                references: true,
                forming: true,
                dac_top: u16::MAX,
                spans: (SPAN, SPAN),
                guard_after_ns: GUARD_AFTER_NS,
                report_after_ns: REPORT_AFTER_NS,
                edge: settling::PULSE_EDGE,
                conversion_ns: CONVERSION_NS,
                conversion_timeout_ns: CONVERSION_TIMEOUT_NS,
            },
            population: Population { rows, columns, gates },
            switches: Switches::OPEN,
            driven: Driven::NONE,
            unconfirmed: false,
            range: 0,
            widened: None,
            phase: Phase::Unknown,
            kelvin: None,
        })
    }

    /// The hardware, for what is not the front end's business (clock, flash). Chips must be left alone.
    pub fn hardware_mut(&mut self) -> &mut H {
        &mut self.hardware
    }

    /// Does `work`; if it fails, nothing is believed any more.
    fn trusting<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, FrontEndError>,
    ) -> Result<T, FrontEndError> {
        work(self).map_err(|error| self.distrust(error))
    }

    /// What went wrong. Chips that have lost their supply complain in many ways; the supervisor says what it was.
    #[inline(never)]
    fn distrust(&mut self, error: FrontEndError) -> FrontEndError {
        self.phase = Phase::Unknown;
        self.require_supply().err().unwrap_or(error)
    }

    fn require_supply(&mut self) -> Result<(), FrontEndError> {
        match self.hardware.supply_good() {
            Ok(true) => Ok(()),
            Ok(false) => Err(faults::brown_out()),
            Err(_) => Err(faults::bus(None)),
        }
    }

    /// Whether rows may be driven.
    fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Safe | Phase::Selected(_) | Phase::Unloaded(_) | Phase::Connected(_))
    }

    /// Whether amplifiers, converters and sensor work.
    fn is_up(&self) -> bool {
        self.is_idle() || matches!(self.phase, Phase::Loaded(_) | Phase::Pulsed(_))
    }

    fn require_idle(&self) -> Result<(), FrontEndError> {
        if self.is_idle() {
            Ok(())
        } else {
            Err(faults::misuse(words!("not in SAFE, selected or connected")))
        }
    }

    fn require_up(&self) -> Result<(), FrontEndError> {
        if self.is_up() { Ok(()) } else { Err(faults::misuse(words!("not set up"))) }
    }

    /// Into an arrangement, every amplifier on the feedback that is set.
    fn arrange(&mut self, to: &Arrangement) -> Result<bool, FrontEndError> {
        let narrowed = self.widen(None)?;
        Ok(self.switches.arrange(&mut self.hardware, &self.population, to)? | narrowed)
    }

    /// Puts 1 kΩ in parallel to whatever feedback is set, of this column only or of none; whether that moved a switch.
    fn widen(&mut self, column: Option<u16>) -> Result<bool, FrontEndError> {
        if self.range == WIDEST || self.widened == column {
            return Ok(false);
        }
        let lines = column.map_or(Lines::None, Lines::Only);
        let Self { switches, hardware, population, .. } = self;
        switches.set_group(hardware, population, (ChipKind::Feedback1k, lines), true)?;
        self.widened = column;
        Ok(true)
    }

    /// Puts switches back that were moved for a pulse; whether there were any.
    fn rejoin(&mut self) -> Result<bool, FrontEndError> {
        let selection = match self.phase {
            Phase::Unloaded(selection) => selection,
            Phase::Loaded(_) | Phase::Pulsed(_) => return Ok(false),
            _ => return self.widen(None),
        };
        let moved = self.arrange(&Arrangement::selected(selection.column))?;
        self.phase = Phase::Selected(selection);
        Ok(moved)
    }

    /// One driver at a code.
    fn drive_line(&mut self, kind: ChipKind, line: u16, code: u16) -> Result<Settle, FrontEndError> {
        self.trusting(|this| {
            this.rejoin()?;
            let (select, codes) = this.driven.with(kind, line, code);
            if this.driven.stage(&mut this.hardware, select, &codes)? {
                this.driven.put_out(&mut this.hardware, select)?;
            }
            Ok(settling::read(this.range))
        })
    }

    /// Whether any driver was not at 0 V.
    fn ground(&mut self) -> Result<bool, FrontEndError> {
        let mut moved = false;
        let Self { driven, hardware, .. } = self;
        for select in self.population.dacs() {
            if driven.stage(hardware, select, &[drive::zero(select.kind).0; ltc2688::CHANNELS])? {
                driven.put_out(hardware, select)?;
                moved = true;
            }
        }
        Ok(moved)
    }

    fn settle_if(&self, moved: bool) -> Settle {
        if moved { settling::read(self.range) } else { settling::NONE }
    }

    fn set_lines(&mut self, state: PinState) -> Result<(), FrontEndError> {
        let mut outcome = Ok(());
        for line in RESET_LINES {
            // Every line is tried: one that fails must not keep the others from moving.
            let set = self.hardware.output(line).set_state(state).map_err(|_| faults::bus(None));
            outcome = outcome.and(set);
        }
        outcome
    }

    /// Pulls the reset lines: every switch open, every DAC at its reset value.
    fn pull(&mut self) -> Result<(), FrontEndError> {
        self.phase = Phase::Unknown;
        self.switches = Switches::OPEN;
        self.driven = Driven::NONE;
        self.unconfirmed = false;
        self.range = 0;
        self.widened = None;
        let stopped = self.hardware.sequencer().stop_pulse().map_err(|_| faults::bus(None));
        self.set_lines(PinState::Low).and(stopped)
    }

    fn step_to_safe(&mut self) -> Result<Progress, FrontEndError> {
        let (next, settle) = match self.phase {
            Phase::Unknown => {
                self.pull()?;
                (Phase::Held, settling::RESET_HELD)
            }
            Phase::Held => {
                self.set_lines(PinState::High)?;
                (Phase::SettingUp(0), settling::RESET_OVER)
            }
            Phase::SettingUp(step) => match self.population.part(step) {
                Some(part) => {
                    bring_up::set_up(&mut self.hardware, part)?;
                    (Phase::SettingUp(step + 1), settling::NONE)
                }
                None => (Phase::Arranging, settling::PULSE_OVER),
            },
            Phase::Loaded(plan) | Phase::Pulsed(plan) => {
                self.hardware.sequencer().stop_pulse().map_err(|_| faults::bus(None))?;
                plan.unload(&mut self.hardware, &self.population)?;
                (Phase::Zeroing(0), settling::NONE)
            }
            Phase::Selected(_) | Phase::Unloaded(_) | Phase::Connected(_) => {
                (Phase::Zeroing(0), settling::NONE)
            }
            Phase::Zeroing(step) => match self.population.dac(step) {
                Some(select) => {
                    self.driven.ground(&mut self.hardware, select)?;
                    (Phase::Zeroing(step + 1), settling::NONE)
                }
                None => (Phase::Arranging, settling::PULSE_OVER),
            },
            Phase::Arranging => {
                self.arrange(&Arrangement::SAFE)?;
                self.phase = Phase::Safe;
                return Ok(Progress::Done(settling::sense(self.range)));
            }
            Phase::Safe => {
                let moved = self.ground()?;
                return Ok(Progress::Done(self.settle_if(moved)));
            }
        };
        self.phase = next;
        Ok(Progress::Again(settle))
    }
}

impl<H: Persistent> FrontEnd for Or16<H> {
    type Flash<'a>
        = H::Flash<'a>
    where
        Self: 'a;

    fn flash(&mut self) -> H::Flash<'_> {
        self.hardware.flash()
    }

    fn description(&self) -> &Description {
        &self.description
    }

    fn dead(&mut self) {
        if self.pull().is_err() {
            log!(error, "the reset lines don't work");
        }
    }

    fn make_safe(&mut self) -> Result<Progress, FrontEndError> {
        self.trusting(Self::step_to_safe)
    }

    fn set_range(&mut self, range: u8) -> Result<Settle, FrontEndError> {
        self.require_up()?;
        let branch = |range| match range {
            0 => Ok(None),
            1 => Ok(Some(ChipKind::Feedback10k)),
            2 => Ok(Some(ChipKind::Feedback1k)),
            _ => Err(faults::misuse(words!("no such feedback setting"))),
        };
        let (from, to) = (branch(self.range)?, branch(range)?);
        if from == to {
            return Ok(settling::NONE);
        }
        self.trusting(|this| {
            this.widen(None)?;
            // The new branch first: in between, the gain is low and no amplifier leaves its range for it.
            for (branch, lines) in [(to, Lines::All), (from, Lines::None)] {
                if let Some(kind) = branch {
                    this.switches.set_group(&mut this.hardware, &this.population, (kind, lines), true)?;
                }
            }
            this.range = range;
            Ok(settling::sense(range))
        })
    }

    fn drive_rows(&mut self, codes: &[u8]) -> Result<Settle, FrontEndError> {
        self.require_idle()?;
        let (codes, rest) = codes.as_chunks::<2>();
        if codes.len() != usize::from(self.description.rows) || !rest.is_empty() {
            return Err(faults::misuse(words!("not two bytes for each row")));
        }
        self.trusting(|this| {
            this.rejoin()?;
            let Self { hardware, driven, population, .. } = this;
            let mut moving = 0u16;
            for (select, codes) in population.chips(ChipKind::RowDac).zip(codes.chunks(ltc2688::CHANNELS)) {
                // Channels without a row stay at 0 V.
                let mut whole = [drive::zero(select.kind).0; ltc2688::CHANNELS];
                for (place, &code) in whole.iter_mut().zip(codes) {
                    *place = u16::from_le_bytes(code);
                }
                moving |= u16::from(driven.stage(hardware, select, &whole)?) << select.index;
            }
            for select in population.chips(ChipKind::RowDac) {
                if moving >> select.index & 1 != 0 {
                    drive::update(hardware, select)?;
                }
            }
            this.unconfirmed = true;
            Ok(settling::read(this.range))
        })
    }

    fn confirm_rows(&mut self, everything: bool) -> Result<(), FrontEndError> {
        self.require_idle()?;
        self.trusting(|this| {
            let Self { hardware, driven, population, .. } = this;
            for select in population.chips(ChipKind::RowDac) {
                driven.confirm(hardware, select, everything)?;
            }
            this.unconfirmed = false;
            Ok(())
        })
    }

    fn drive_row(&mut self, row: u16, code: u16) -> Result<Settle, FrontEndError> {
        self.require_idle()?;
        if row >= self.description.rows {
            return Err(faults::misuse(words!("no such row")));
        }
        self.drive_line(ChipKind::RowDac, row, code)
    }

    fn ground_rows(&mut self) -> Result<Settle, FrontEndError> {
        self.require_up()?;
        self.trusting(|this| {
            let moved = this.rejoin()? | this.ground()?;
            Ok(this.settle_if(moved))
        })
    }

    fn start_conversion(&mut self) -> Result<(), FrontEndError> {
        self.require_up()?;
        if self.unconfirmed {
            return Err(faults::misuse(words!("rows are not confirmed")));
        }
        self.trusting(|this| this.hardware.sequencer().start_conversion().map_err(|_| faults::bus(None)))
    }

    fn conversion_done(&mut self) -> Result<bool, FrontEndError> {
        self.require_up()?;
        self.trusting(|this| this.hardware.sequencer().conversion_done().map_err(|_| faults::bus(None)))
    }

    fn read_codes(&mut self, first: u16, codes: &mut [i16]) -> Result<(), FrontEndError> {
        self.require_up()?;
        let first = usize::from(first);
        let end = first + codes.len();
        if end > usize::from(self.description.columns) {
            return Err(faults::misuse(words!("no such columns")));
        }
        self.trusting(|this| {
            let chips = this.population.chips(ChipKind::Adc).zip((0..).step_by(CHANNELS));
            let asked = chips.filter(|(_, start)| start + CHANNELS > first && *start < end);
            let mut codes = codes.iter_mut();
            for (select, start) in asked {
                let samples = Ad7606c::new(this.hardware.chip(select))
                    .read()
                    .map_err(|error| faults::adc(select, error))?;
                let before = first.saturating_sub(start);
                // Samples first: `zip` must not take a code for which there is none left.
                for (sample, code) in samples.iter().skip(before).zip(codes.by_ref()) {
                    *code = sample.0;
                }
            }
            Ok(())
        })
    }

    fn connect(&mut self, path: Path) -> Result<Settle, FrontEndError> {
        self.require_idle()?;
        let Description { rows, columns, .. } = self.description;
        let there = match path {
            Path::Open => true,
            Path::Reference { row, column } => row < rows && column.is_none_or(|column| column < columns),
            Path::Bias(column) => column < columns,
            Path::Forming(row) | Path::Alone(row) => row < rows,
        };
        if !there {
            return Err(faults::misuse(words!("no such line")));
        }
        if self.phase == Phase::Connected(path) {
            return Ok(settling::NONE);
        }
        self.trusting(|this| {
            let moved = this.ground()? | this.arrange(&Arrangement::of(path))?;
            this.phase = Phase::Connected(path);
            Ok(this.settle_if(moved))
        })
    }

    fn drive_bias(&mut self, code: u16) -> Result<Settle, FrontEndError> {
        let Phase::Connected(Path::Bias(column)) = self.phase else {
            return Err(faults::misuse(words!("no bias driver is connected")));
        };
        self.drive_line(ChipKind::BiasDac, column, code)
    }

    fn select(&mut self, selection: Selection) -> Result<Settle, FrontEndError> {
        self.require_idle()?;
        if selection.row >= self.description.rows || selection.column >= self.description.columns {
            return Err(faults::misuse(words!("no such cell")));
        }
        self.trusting(|this| {
            let moved = this.arrange(&Arrangement::selected(selection.column))?;
            this.phase = Phase::Selected(selection);
            Ok(this.settle_if(moved))
        })
    }

    fn load_pulse(
        &mut self,
        volts: Volts,
        gate: Option<Volts>,
        widest: bool,
    ) -> Result<Settle, FrontEndError> {
        let (Phase::Selected(selection) | Phase::Unloaded(selection)) = self.phase else {
            return Err(faults::misuse(words!("nothing is selected")));
        };
        let plan = Plan::new(&self.population, selection, volts, gate)?;
        self.trusting(|this| {
            let moved = this.ground()? | this.arrange(&Arrangement::loaded(selection))?;
            if widest && this.range != WIDEST {
                this.widen(Some(selection.column))?;
            }
            plan.load(&mut this.hardware, &this.population)?;
            this.phase = Phase::Loaded(plan);
            Ok(this.settle_if(moved))
        })
    }

    fn start_pulse(&mut self, width_ns: u32) -> Result<(), FrontEndError> {
        let Phase::Loaded(plan) = self.phase else {
            return Err(faults::misuse(words!("no pulse is loaded")));
        };
        self.phase = Phase::Pulsed(plan);
        self.trusting(|this| this.hardware.sequencer().start_pulse(width_ns).map_err(|_| faults::bus(None)))
    }

    fn pulse_done(&mut self) -> Result<bool, FrontEndError> {
        self.trusting(|this| this.hardware.sequencer().pulse_done().map_err(|_| faults::bus(None)))
    }

    fn stop_pulse(&mut self) -> Result<(), FrontEndError> {
        self.trusting(|this| this.hardware.sequencer().stop_pulse().map_err(|_| faults::bus(None)))
    }

    fn unload_pulse(&mut self) -> Result<Settle, FrontEndError> {
        let (Phase::Loaded(plan) | Phase::Pulsed(plan)) = self.phase else {
            return Err(faults::misuse(words!("no pulse is loaded")));
        };
        self.trusting(|this| {
            plan.unload(&mut this.hardware, &this.population)?;
            this.phase = Phase::Unloaded(plan.selection);
            Ok(settling::PULSE_OVER)
        })
    }

    fn check_chip(&mut self, step: u16) -> Result<Progress, FrontEndError> {
        self.require_idle()?;
        let Some(part) = self.population.part(step) else {
            return Err(faults::misuse(words!("no such part")));
        };
        self.trusting(|this| {
            let Self { hardware, switches, driven, .. } = this;
            bring_up::check(hardware, part, |chip| switches.closed(chip), |chip| driven.of(chip))?;
            let more = step < u16::MAX && this.population.part(step + 1).is_some();
            Ok(if more { Progress::Again(settling::NONE) } else { Progress::Done(settling::NONE) })
        })
    }

    fn watch(&mut self) -> Result<(), FrontEndError> {
        if !self.is_up() {
            return Ok(());
        }
        self.trusting(|this| {
            this.require_supply()?;
            this.population.dacs().try_for_each(|select| bring_up::check_faults(&mut this.hardware, select))
        })
    }

    fn confirm_supply(&mut self) -> Result<(), FrontEndError> {
        self.trusting(Self::require_supply)
    }

    fn temperature(&mut self) -> Result<Option<Kelvin>, FrontEndError> {
        // What the sensor says has no bearing on the array, so no error of it costs the trust in the rest.
        if self.is_up() {
            let mut sensor = Tmp117::new(self.hardware.i2c(), tmp117::ADDRESS);
            if let Some(kelvin) = sensor.temperature_kelvin().map_err(faults::thermometer)? {
                self.kelvin = Some(Kelvin(kelvin));
            }
        }
        Ok(self.kelvin)
    }
}
