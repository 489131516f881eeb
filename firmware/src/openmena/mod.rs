//! The published OpenMENA shield (github.com/ali20480/OpenMENA) as a front end: an AD5593R drives eight rows through DG442
//! switches, one DAC of the microcontroller drives the columns through eight more, and INA333 amplifiers tell what each column's shunt
//! drops. `docs/openmena.md` says what this can and what it refuses.
//!
//! With a switch open its line is held at virtual ground by its resistor; so SAFE and DEAD are all switches open, and nothing that
//! crosses the I²C bus, which carries no check, reaches the array before it has been read back: codes are written with
//! the switches open. A pulse is the switches' closing, timed by the processor.

mod faults;
pub mod parts;
#[cfg(test)]
mod tests;

use crate::chips::ad5593r::{self, Ad5593r, CHANNELS, Channel, DacCode};
use crate::front_end::{Description, FrontEnd, FrontEndError, Path, Progress, Selection, Settle};
use crate::hardware::{Mounted, Peripherals, Persistent, Sequencer};
use crate::log::{log, words};
use ohmrig_protocol::message::Scheme;
use ohmrig_protocol::units::{Kelvin, Volts};
use parts::{LINES, ZERO_CODE, ZERO_CONVERSIONS, ZERO_TOLERANCE};

/// Switches of all rows.
const ALL_ROWS: u16 = 0x00FF;
/// Of the first column.
const FIRST_COLUMN: u16 = 0x0100;
/// At the middle, a row's driver is at virtual ground.
const GROUNDED: [DacCode; CHANNELS] = [DacCode::MIDDLE; CHANNELS];

/// What the board is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// At power-on, in DEAD, and after any error: nothing is believed.
    Unknown,
    /// The DACs are resetting.
    Resetting,
    /// Everything is set up; amplifiers are about to tell what they say of no current, `started` or not.
    Zeroing {
        started: bool,
    },
    Safe,
    Selected(Selection),
    /// Codes have been read back; one edge is allowed.
    Loaded(Selection),
    /// That edge has been given.
    Pulsed(Selection),
}

/// The front end, owner of its hardware.
#[derive(Debug)]
pub struct OpenMena<H> {
    hardware: H,
    description: Description,
    phase: Phase,
    /// Codes of the rows.
    driven: [DacCode; CHANNELS],
    /// Whether rows are on their drivers.
    connected: bool,
    /// Sums of the codes of no current, and how many.
    zeros: [u32; CHANNELS],
    summed: u16,
}

impl<H: Mounted> OpenMena<H> {
    /// Takes the hardware; touches nothing.
    pub fn new(hardware: H) -> Self {
        Self {
            hardware,
            description: Description {
                name: "openmena",
                rows: LINES,
                columns: LINES,
                converters: parts::CONVERTERS,
                limits: parts::LIMITS,
                pulse_feedback: parts::CONVERTERS.feedback,
                gates: false,
                schemes: &parts::SCHEMES,
                references: false,
                forming: false,
                dac_top: 0xFFF,
                spans: (parts::ROW_SPAN, parts::COLUMN_SPAN),
                guard_after_ns: parts::REPORT_AFTER_NS,
                report_after_ns: parts::REPORT_AFTER_NS,
                edge: parts::PULSE_EDGE,
                conversion_ns: parts::CONVERSION_NS,
                conversion_timeout_ns: parts::CONVERSION_TIMEOUT_NS,
            },
            phase: Phase::Unknown,
            driven: GROUNDED,
            connected: false,
            zeros: [0; CHANNELS],
            summed: 0,
        }
    }

    /// The hardware, for what is not the front end's business (clock, flash). Chips must be left alone.
    pub fn hardware_mut(&mut self) -> &mut H {
        &mut self.hardware
    }

    fn dac(&mut self) -> Ad5593r<H::I2c<'_>> {
        Ad5593r::new(self.hardware.i2c(), ad5593r::ADDRESS)
    }

    /// Does `work`; if it fails, nothing is believed any more.
    fn trusting<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, FrontEndError>,
    ) -> Result<T, FrontEndError> {
        let outcome = work(self);
        if outcome.is_err() {
            self.phase = Phase::Unknown;
        }
        outcome
    }

    /// Whether rows may be driven.
    fn require_idle(&self) -> Result<(), FrontEndError> {
        if matches!(self.phase, Phase::Safe | Phase::Selected(_)) {
            Ok(())
        } else {
            Err(faults::misuse(words!("not in SAFE or selected")))
        }
    }

    fn is_up(&self) -> bool {
        !matches!(self.phase, Phase::Unknown | Phase::Resetting | Phase::Zeroing { .. })
    }

    fn require_up(&self) -> Result<(), FrontEndError> {
        if self.is_up() { Ok(()) } else { Err(faults::misuse(words!("not set up"))) }
    }

    fn set_switches(&mut self, closed: u16) -> Result<(), FrontEndError> {
        self.hardware.peripherals().set_switches(closed).map_err(faults::bus)
    }

    /// Rows off their drivers, and so at virtual ground.
    fn disconnect(&mut self) -> Result<(), FrontEndError> {
        if core::mem::take(&mut self.connected) { self.set_switches(0) } else { Ok(()) }
    }

    /// Puts the row drivers at codes, off the rows, and reads back what has moved; whether anything has.
    fn stage(&mut self, codes: [DacCode; CHANNELS]) -> Result<bool, FrontEndError> {
        if codes == self.driven {
            return Ok(false);
        }
        self.disconnect()?;
        let before = self.driven;
        let mut dac = Ad5593r::new(self.hardware.i2c(), ad5593r::ADDRESS);
        let moving = || Channel::all().zip(codes).zip(before).filter(|((_, to), from)| to != from);
        for ((channel, code), _) in moving() {
            dac.write(channel, code).map_err(faults::dac)?;
        }
        for ((channel, code), _) in moving() {
            dac.verify(channel, code).map_err(faults::dac)?;
        }
        self.driven = codes;
        Ok(true)
    }

    /// Puts all rows at codes.
    fn drive(&mut self, codes: [DacCode; CHANNELS]) -> Result<Settle, FrontEndError> {
        let moved = self.stage(codes)? | !self.connected;
        if !self.connected {
            self.set_switches(ALL_ROWS)?;
            self.connected = true;
        }
        Ok(if moved { parts::READ } else { parts::NONE })
    }

    /// Rows at virtual ground, whether they weren't.
    fn ground(&mut self) -> Result<bool, FrontEndError> {
        let was_connected = self.connected;
        self.disconnect()?;
        self.stage(GROUNDED)?;
        Ok(was_connected)
    }

    /// Opens every switch and ends a pulse.
    fn pull(&mut self) -> Result<(), FrontEndError> {
        self.phase = Phase::Unknown;
        self.connected = false;
        let stopped = self.hardware.sequencer().stop_pulse().map_err(faults::bus);
        let disarmed = self.hardware.peripherals().arm_switches(0).map_err(faults::bus);
        self.set_switches(0).and(stopped).and(disarmed)
    }

    /// Takes a pulse's codes away.
    fn clear(&mut self) -> Result<(), FrontEndError> {
        self.hardware.peripherals().arm_switches(0).map_err(faults::bus)?;
        self.set_bias(0.0)?;
        self.stage(GROUNDED).map(drop)
    }

    fn set_bias(&mut self, volts: f32) -> Result<(), FrontEndError> {
        let code = parts::bias_code(volts)
            .ok_or_else(|| faults::misuse(words!("a column voltage outside the span")))?;
        self.hardware.peripherals().set_dac(code).map_err(faults::bus)
    }

    fn convert(&mut self) -> Result<(), FrontEndError> {
        self.hardware.sequencer().start_conversion().map_err(faults::bus)
    }

    fn is_converted(&mut self) -> Result<bool, FrontEndError> {
        self.hardware.sequencer().conversion_done().map_err(faults::bus)
    }

    /// Adds one conversion to what the amplifiers say of no current; whether that was the last.
    fn add_zero(&mut self) -> Result<bool, FrontEndError> {
        let mut codes = [0; CHANNELS];
        self.hardware.peripherals().read_adc(0, &mut codes).map_err(faults::bus)?;
        for (zero, code) in self.zeros.iter_mut().zip(codes) {
            if code.abs_diff(ZERO_CODE) > ZERO_TOLERANCE {
                return Err(faults::zero(code));
            }
            *zero += u32::from(code);
        }
        self.summed += 1;
        Ok(self.summed >= ZERO_CONVERSIONS)
    }

    fn step_to_safe(&mut self) -> Result<Progress, FrontEndError> {
        let (next, settle) = match self.phase {
            Phase::Unknown => {
                self.pull()?;
                self.dac().reset().map_err(faults::dac)?;
                (Phase::Resetting, Settle { ns: ad5593r::RESET_US * 1_000 })
            }
            Phase::Resetting => {
                self.dac().set_up(DacCode::MIDDLE).map_err(faults::dac)?;
                self.driven = GROUNDED;
                self.set_bias(0.0)?;
                (self.zeros, self.summed) = ([0; CHANNELS], 0);
                (Phase::Zeroing { started: false }, parts::READ)
            }
            Phase::Zeroing { started: false } => {
                self.convert()?;
                (Phase::Zeroing { started: true }, Settle { ns: parts::CONVERSION_NS })
            }
            Phase::Zeroing { started: true } => {
                if !self.is_converted()? {
                    return Err(faults::late());
                }
                if self.add_zero()? {
                    self.phase = Phase::Safe;
                    return Ok(Progress::Done(parts::NONE));
                }
                (Phase::Zeroing { started: false }, parts::NONE)
            }
            Phase::Loaded(_) | Phase::Pulsed(_) => {
                self.hardware.sequencer().stop_pulse().map_err(faults::bus)?;
                self.clear()?;
                self.phase = Phase::Safe;
                return Ok(Progress::Done(parts::READ));
            }
            Phase::Safe | Phase::Selected(_) => {
                let moved = self.ground()?;
                self.phase = Phase::Safe;
                return Ok(Progress::Done(if moved { parts::READ } else { parts::NONE }));
            }
        };
        self.phase = next;
        Ok(Progress::Again(settle))
    }
}

impl<H: Mounted + Persistent> FrontEnd for OpenMena<H> {
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
            log!(error, "the switches' pins don't work");
        }
    }

    fn make_safe(&mut self) -> Result<Progress, FrontEndError> {
        self.trusting(Self::step_to_safe)
    }

    fn set_range(&mut self, range: u8) -> Result<Settle, FrontEndError> {
        self.require_up()?;
        if range == 0 { Ok(parts::NONE) } else { Err(faults::misuse(words!("no such feedback setting"))) }
    }

    fn drive_rows(&mut self, codes: &[u8]) -> Result<Settle, FrontEndError> {
        self.require_idle()?;
        let (codes, rest) = codes.as_chunks::<2>();
        if codes.len() != CHANNELS || !rest.is_empty() {
            return Err(faults::misuse(words!("not two bytes for each row")));
        }
        let mut whole = GROUNDED;
        for (place, &code) in whole.iter_mut().zip(codes) {
            *place = DacCode::new(u16::from_le_bytes(code))
                .ok_or_else(|| faults::misuse(words!("a code beyond 12 bits")))?;
        }
        self.trusting(|this| this.drive(whole))
    }

    /// They were read back before the switches closed.
    fn confirm_rows(&mut self, _everything: bool) -> Result<(), FrontEndError> {
        self.require_idle()
    }

    fn drive_row(&mut self, row: u16, code: u16) -> Result<Settle, FrontEndError> {
        self.require_idle()?;
        let code = DacCode::new(code).ok_or_else(|| faults::misuse(words!("a code beyond 12 bits")))?;
        let mut codes = self.driven;
        *codes.get_mut(usize::from(row)).ok_or_else(|| faults::misuse(words!("no such row")))? = code;
        self.trusting(|this| this.drive(codes))
    }

    fn ground_rows(&mut self) -> Result<Settle, FrontEndError> {
        self.require_idle()?;
        self.trusting(|this| Ok(if this.ground()? { parts::READ } else { parts::NONE }))
    }

    fn start_conversion(&mut self) -> Result<(), FrontEndError> {
        self.require_up()?;
        self.trusting(Self::convert)
    }

    fn conversion_done(&mut self) -> Result<bool, FrontEndError> {
        self.require_up()?;
        self.trusting(Self::is_converted)
    }

    /// What the ADC found below the mean code of no current: the amplifiers don't invert, and codes here are those of
    /// amplifiers that do.
    fn read_codes(&mut self, first: u16, codes: &mut [i16]) -> Result<(), FrontEndError> {
        self.require_up()?;
        let mut found = [0; CHANNELS];
        let (Ok(start), Some(found)) = (u8::try_from(first), found.get_mut(..codes.len())) else {
            return Err(faults::misuse(words!("no such columns")));
        };
        if usize::from(first) + codes.len() > CHANNELS {
            return Err(faults::misuse(words!("no such columns")));
        }
        self.trusting(|this| {
            this.hardware.peripherals().read_adc(start, found).map_err(faults::bus)?;
            let zeros = this.zeros.iter().skip(usize::from(first));
            for ((code, &mut found), &sum) in codes.iter_mut().zip(found).zip(zeros) {
                let count = u32::from(ZERO_CONVERSIONS);
                let difference = ((sum + count / 2) / count) as i32 - i32::from(found);
                *code = i16::try_from(difference).map_err(|_| faults::beyond())?;
            }
            Ok(())
        })
    }

    fn connect(&mut self, _path: Path) -> Result<Settle, FrontEndError> {
        Err(faults::misuse(words!("rows can't be disconnected, and nothing else be connected")))
    }

    fn drive_bias(&mut self, _code: u16) -> Result<Settle, FrontEndError> {
        Err(faults::misuse(words!("there are no bias drivers")))
    }

    fn select(&mut self, selection: Selection) -> Result<Settle, FrontEndError> {
        self.require_idle()?;
        if selection.row >= LINES || selection.column >= LINES {
            return Err(faults::misuse(words!("no such cell")));
        }
        if selection.forming || !self.description.schemes.contains(&selection.scheme) {
            return Err(faults::misuse(words!("no such scheme")));
        }
        self.phase = Phase::Selected(selection);
        Ok(parts::NONE)
    }

    fn load_pulse(
        &mut self,
        volts: Volts,
        gate: Option<Volts>,
        _widest: bool,
    ) -> Result<Settle, FrontEndError> {
        let Phase::Selected(selection) = self.phase else {
            return Err(faults::misuse(words!("nothing is selected")));
        };
        if gate.is_some() {
            return Err(faults::misuse(words!("a gate voltage without gates")));
        }
        let row_switch = 1 << selection.row;
        let (row_volts, column_volts, armed) = match selection.scheme {
            Scheme::SymmetricHalf => {
                (volts.0 / 2.0, -volts.0 / 2.0, row_switch | FIRST_COLUMN << selection.column)
            }
            _ => (volts.0, 0.0, row_switch),
        };
        let code = parts::row_code(row_volts)
            .ok_or_else(|| faults::misuse(words!("a row voltage outside the span")))?;
        parts::bias_code(column_volts)
            .ok_or_else(|| faults::misuse(words!("a column voltage outside the span")))?;
        self.trusting(|this| {
            let moved = this.ground()?;
            let mut codes = GROUNDED;
            if let Some(place) = codes.get_mut(usize::from(selection.row)) {
                *place = code;
            }
            this.stage(codes)?;
            this.set_bias(column_volts)?;
            this.hardware.peripherals().arm_switches(armed).map_err(faults::bus)?;
            this.phase = Phase::Loaded(selection);
            Ok(if moved { parts::READ } else { parts::DRIVE })
        })
    }

    fn start_pulse(&mut self, width_ns: u32) -> Result<(), FrontEndError> {
        let Phase::Loaded(selection) = self.phase else {
            return Err(faults::misuse(words!("no pulse is loaded")));
        };
        self.phase = Phase::Pulsed(selection);
        self.trusting(|this| this.hardware.sequencer().start_pulse(width_ns).map_err(faults::bus))
    }

    fn pulse_done(&mut self) -> Result<bool, FrontEndError> {
        self.trusting(|this| this.hardware.sequencer().pulse_done().map_err(faults::bus))
    }

    fn stop_pulse(&mut self) -> Result<(), FrontEndError> {
        self.trusting(|this| this.hardware.sequencer().stop_pulse().map_err(faults::bus))
    }

    fn unload_pulse(&mut self) -> Result<Settle, FrontEndError> {
        let (Phase::Loaded(selection) | Phase::Pulsed(selection)) = self.phase else {
            return Err(faults::misuse(words!("no pulse is loaded")));
        };
        self.trusting(|this| {
            this.clear()?;
            this.phase = Phase::Selected(selection);
            Ok(parts::READ)
        })
    }

    fn check_chip(&mut self, step: u16) -> Result<Progress, FrontEndError> {
        self.require_idle()?;
        if step > 0 {
            return Err(faults::misuse(words!("no such part")));
        }
        self.trusting(|this| {
            let driven = this.driven;
            let mut dac = this.dac();
            dac.check().map_err(faults::dac)?;
            for (channel, code) in Channel::all().zip(driven) {
                dac.verify(channel, code).map_err(faults::dac)?;
            }
            Ok(Progress::Done(parts::NONE))
        })
    }

    /// The shield has no supervisor: a DAC chip that lost its supply has lost its settings, and that is what is asked.
    fn watch(&mut self) -> Result<(), FrontEndError> {
        if self.is_up() { self.confirm_supply() } else { Ok(()) }
    }

    fn confirm_supply(&mut self) -> Result<(), FrontEndError> {
        self.trusting(|this| this.dac().check_enabled().map_err(faults::supply))
    }

    /// There is no thermometer beside the array.
    fn temperature(&mut self) -> Result<Option<Kelvin>, FrontEndError> {
        Ok(None)
    }
}
