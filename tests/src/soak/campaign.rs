//! One board from power-up to scrap: its commands one after the other, what a failed one means, and how a lost session
//! is opened again.

use super::command::{Command, Drawer, Spoil};
use super::ledger::{Expected, Ledger};
use super::prediction::Prediction;
use super::rig::{Rig, Wire};
use super::{Journal, Totals};
use ndarray::Array2;
use ohmrig::bench::{Emulation, profile};
use ohmrig::client::{Client, LinkError};
use ohmrig::device::EmulatedDevice;
use ohmrig::instrument::{Instrument, InstrumentError, ResetCells};
use ohmrig::transport::inject::{Fault, Faulty, Inject, Tally};
use ohmrig_emulator::profile::WireProfile;
use ohmrig_emulator::random::Random;
use ohmrig_protocol::message::{FaultCode, JobEnd, JobId, JobState, Limits, Pulse, Refusal, Scheme};
use std::sync::Arc;
use std::time::Duration;

/// Any cell of a board that is SAFE or DEAD, V.
const REST_V: f64 = 0.02;

/// Each arming, ms; longer than any command takes on the link clock.
pub(super) const ARM_MS: u32 = 600_000;

/// Jobs that the host may start for one region, and so times that a cell may get its most pulses in one pass.
pub(super) const JOBS_PER_PASS: u64 = 3;

/// Sessions tried before a device counts as gone.
const CONNECTIONS: u32 = 30;

pub(super) type Result<T> = std::result::Result<T, String>;

/// As commanded + 20 mV + 0.5 %: the most a cell may see of it.
pub(super) fn worst_v(commanded: f64) -> f64 {
    commanded.abs() * 1.005 + 0.02
}

/// The most any cell but the selected one may see, as commanded.
pub(super) fn other_v(pulse: &Pulse) -> f64 {
    let volts = f64::from(pulse.volts.0).abs();
    match pulse.scheme {
        Scheme::Half | Scheme::SymmetricHalf => volts / 2.0,
        // Columns at 2V/3 pull rows at V/3 up.
        Scheme::Third => volts * 2.0 / 3.0,
        Scheme::Grounded | Scheme::Floating => volts,
    }
}

/// Why a command brought nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was refused, and nothing was touched.
    Refused(Refusal),
    /// The device found a fault while executing it.
    Faulted,
    /// The link or the device went away with so many *once* requests in flight.
    Lost(u32),
    /// A job ended early or is gone.
    Job,
    /// The device was reset in the middle of a job, and the host says of each cell what it knows.
    Reset(Box<ResetCells>),
}

/// What a fault may come from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Causes {
    pub(super) chip: bool,
    pub(super) silence: bool,
    pub(super) write: bool,
}

/// One board.
pub(super) struct Campaign {
    pub(super) wire: Wire,
    pub(super) tally: Arc<Tally>,
    pub(super) instrument: Instrument,
    pub(super) drawer: Drawer,
    pub(super) ledger: Ledger,
    pub(super) prediction: Prediction,
    pub(super) limits: Limits,
    /// Of the boot whose limits they are.
    pub(super) boot: u64,
    /// Latched, as far as the host was told.
    pub(super) fault: Option<FaultCode>,
    /// Whether the device named it as the latched one; else it only said that it found it, perhaps behind another.
    pub(super) named: bool,
    /// Jobs that were given up and may have left results.
    pub(super) held: Vec<JobId>,
    pub(super) causes: Causes,
    /// A fault register was set. It keeps that until it is written, and not everything looks at it.
    pub(super) register_set: bool,
    pub(super) power_cycles: u64,
    /// What came of the present command, for the journal.
    pub(super) notes: Vec<String>,
}

impl Campaign {
    pub(super) fn new(seed: u64, inject: Inject, totals: &mut Totals, journal: &mut Journal) -> Result<Self> {
        let mut dice = Random::new(seed, 1);
        let mut below = |n: u64| dice.next_u64() % n;
        let names = ["ideal", "resistor", "ecram", "pcm", "rram-hfox", "rram-cmo", "rram-cmo"];
        let mut profile = profile(Some(names[below(7) as usize])).map_err(|error| error.to_string())?;
        let most = [8, 16, 16, 16, 24, 48][below(6) as usize];
        let (rows, columns) = (1 + below(most) as u16, 1 + below(most) as u16);
        if rows.max(columns) <= 16 && below(3) == 0 {
            profile.device.wires = WireProfile { row_segment_ohm: 1.0, column_segment_ohm: 0.5 };
        }
        let mut emulation = Emulation::new(profile.clone(), below(u64::MAX));
        (emulation.rows, emulation.columns) = (rows, columns);
        let mut inject = inject;
        inject.seed = below(u64::MAX);
        journal.note(format!("board: profile {}, {rows} × {columns}, seed {seed}, {inject}", profile.name));
        let device = EmulatedDevice::power_up(&emulation).map_err(|error| error.to_string())?;
        let wire = Wire::new(Rig::new(device));
        let faulty = Faulty::new(Box::new(wire.clone()), inject);
        let tally = faulty.tally();
        // A reset may fall into the greeting; the transport is gone with the client then.
        let mut client = Client::connect(Box::new(faulty), "soak");
        for _ in 0..CONNECTIONS {
            if client.is_ok() {
                break;
            }
            // Other faults: the same ones would end the same way.
            inject.seed = inject.seed.wrapping_add(1);
            client = Client::connect(Box::new(Faulty::new(Box::new(wire.clone()), inject)), "soak");
        }
        let instrument = Instrument::new(client.map_err(|error| error.to_string())?);
        let device = instrument.device();
        if (device.rows, device.columns) != (rows, columns) {
            return Err(format!(
                "{rows} × {columns} introduces itself as {} × {}",
                device.rows, device.columns
            ));
        }
        let (limits, boot) = (device.limits, instrument.client().welcome().boot_nonce);
        let prediction = Prediction::new(&profile, device.converters, rows, columns);
        let truth = {
            let mut rig = wire.rig();
            rig.settle().map_err(|error| error.to_string())?;
            rig.truth()
        };
        let power_cycles = wire.rig().power_cycles;
        totals.power_cycles += power_cycles;
        Ok(Self {
            power_cycles,
            tally,
            instrument,
            drawer: Drawer::new(Random::new(seed, 2), &profile, rows, columns),
            ledger: Ledger::new(columns, truth, REST_V),
            prediction,
            limits,
            boot,
            fault: None,
            named: false,
            held: Vec::new(),
            causes: Causes::default(),
            register_set: false,
            notes: Vec::new(),
            wire,
        })
    }

    /// Draws a command, does it, checks it.
    pub(super) fn command(&mut self, totals: &mut Totals, journal: &mut Journal) -> Result<()> {
        if self.fault.is_some() && self.drawer.below(3) > 0 {
            journal.note("clear the fault".to_owned());
            let cleared = self.clear(totals);
            self.notes.drain(..).for_each(|note| journal.note(note));
            cleared?;
        }
        let command = self.drawer.draw();
        journal.note(format!("{command:?}"));
        // Devices that a command left working, or that were power-cycled meanwhile, come to rest first.
        let done = self.execute(&command, totals).and_then(|()| self.settle(&Expected::new(), totals));
        self.notes.drain(..).for_each(|note| journal.note(note));
        done.map(|_| ())
    }

    /// Adds what the link did.
    pub(super) fn finish(self, totals: &mut Totals) -> Result<()> {
        totals.frames += self.tally.frames();
        totals.link_faults += Fault::ALL.iter().map(|&fault| self.tally.count(fault)).sum::<u64>();
        Ok(())
    }

    /// Lets the device come to rest and compares all cells. Returns the pulses that came.
    pub(super) fn settle(&mut self, expected: &Expected, totals: &mut Totals) -> Result<u64> {
        let truth = {
            let mut rig = self.wire.rig();
            rig.settle().map_err(|error| error.to_string())?;
            rig.truth()
        };
        totals.cells += truth.len() as u64;
        let cycles = self.wire.rig().power_cycles;
        totals.power_cycles += cycles - self.power_cycles;
        if cycles > self.power_cycles {
            // What was latched is gone or comes again under its name.
            self.fault = None;
            self.power_cycles = cycles;
        }
        self.new_boot();
        self.ledger.settle(truth, expected)
    }

    fn execute(&mut self, command: &Command, totals: &mut Totals) -> Result<()> {
        match command {
            Command::Read { region, volts, conversions } => self.read(*region, *volts, *conversions, totals),
            Command::Reference { row, volts } => self.reference(*row, *volts, totals),
            Command::Products { vectors, seed, conversions } => {
                let mut dice = Random::new(*seed, 1);
                let shape = (usize::from(*vectors), usize::from(self.instrument.device().rows));
                let volts = Array2::from_shape_simple_fn(shape, || 0.4 * dice.uniform() - 0.2);
                self.products(&volts, *conversions, totals)
            }
            Command::Trace { row, column, volts, samples } => {
                self.trace(*row, *column, *volts, *samples, totals)
            }
            Command::Pulse(pulse) => self.pulses(&[*pulse], totals),
            Command::Pulses(pulses) => self.pulses(pulses, totals),
            Command::Program { region, targets, max_pulses, passes } => {
                self.program(*region, targets, *max_pulses, *passes, totals)
            }
            Command::Status => self.status(totals).map(|_| ()),
            Command::UnknownJob(id) => {
                let boot = self.instrument.client().welcome().boot_nonce;
                match self.instrument.job_state(JobId(*id)) {
                    Ok(JobState::Unknown { boot_nonce }) if boot_nonce == boot => Ok(()),
                    Ok(other) => Err(format!("job {id} was never started and is {other:?}")),
                    Err(error) => self.failure(error, totals).map(|_| ()),
                }
            }
            Command::CheckChips => match self.instrument.check_chips() {
                Ok(()) => Ok(()),
                Err(error) => match self.failure(error, totals)? {
                    Failure::Refused(refusal) => self.must_be_latched(&refusal),
                    _ => Ok(()),
                },
            },
            Command::Safe => match self.instrument.safe() {
                Ok(()) => Ok(()),
                Err(error) => self.failure(error, totals).map(|_| ()),
            },
            Command::Tighten(factor) => self.tighten(*factor, totals),
            Command::Late(pulse) => {
                if self.arm(500, totals)? {
                    self.wait(Duration::from_millis(600))?;
                    match self.instrument.pulse(*pulse) {
                        Ok(_) => return Err("a pulse after the arming had run out".to_owned()),
                        Err(error) => {
                            self.failure(error, totals)?;
                        }
                    }
                }
                Ok(())
            }
            Command::Silence => self.silence(totals),
            Command::PowerCycle => self.wire.rig().power_cycle().map_err(|error| error.to_string()),
            Command::Reconnect => self.reconnect(totals),
            Command::Spoil(spoil, then) => {
                totals.chip_faults += 1;
                self.spoil(*spoil);
                let cycles = self.wire.rig().power_cycles;
                self.causes.chip = true;
                self.register_set |= matches!(spoil, Spoil::FaultRegister(..));
                self.execute(then, totals)?;
                self.settle(&Expected::new(), totals)?;
                self.status(totals)?;
                // A dead chip is found by whoever looks at all of them, if nobody has found it yet. A board that is
                // switched on again has new ones.
                if let (Spoil::Dead(chip), None) = (spoil, self.fault)
                    && self.instrument.check_chips().is_ok()
                    && self.wire.rig().power_cycles == cycles
                {
                    return Err(format!("{chip:?} is dead and nobody noticed"));
                }
                self.mend();
                self.status(totals).map(|_| ())
            }
            Command::Cut { after, mute, then } => {
                self.wire.rig().cut = Some((*after, *mute));
                self.causes.silence = true;
                let done = self.execute(then, totals);
                self.wire.rig().cut = None;
                done
            }
        }
    }

    /// What a failed request means; opens a new session where the old one is lost.
    pub(super) fn failure(&mut self, error: InstrumentError, totals: &mut Totals) -> Result<Failure> {
        self.notes.push(format!("  → {error}"));
        Ok(match error {
            InstrumentError::Refused { refusal: Refusal::Fault(code), .. }
            | InstrumentError::JobEnded { end: JobEnd::Fault(code), .. } => {
                self.fault_found(code, totals)?;
                Failure::Faulted
            }
            InstrumentError::Refused { refusal, .. } => {
                totals.refused += 1;
                if let Refusal::Faulted(code) = refusal {
                    self.fault_named(code)?;
                }
                Failure::Refused(refusal)
            }
            InstrumentError::Link(
                LinkError::TimedOut { unknown, .. } | LinkError::SessionLost { unknown, .. },
            ) => {
                self.reconnect(totals)?;
                Failure::Lost(unknown)
            }
            // Programming opens new sessions by itself, on a dead link in vain.
            InstrumentError::Link(LinkError::NoAnswer { .. } | LinkError::NotOhmrig { .. }) => {
                self.reconnect(totals)?;
                Failure::Job
            }
            InstrumentError::JobReset(cells) => Failure::Reset(cells),
            InstrumentError::JobEnded { .. } | InstrumentError::JobLost { .. } => Failure::Job,
            other => return Err(other.to_string()),
        })
    }

    pub(super) fn reconnect(&mut self, totals: &mut Totals) -> Result<()> {
        self.wire.rig().cut = None;
        let mut connected = self.instrument.client_mut().reconnect();
        for _ in 0..CONNECTIONS {
            if connected.is_ok() {
                break;
            }
            connected = self.instrument.client_mut().reconnect();
        }
        connected.map_err(|error| format!("no new session: {error}"))?;
        totals.reconnects += 1;
        if self.new_boot() {
            return Ok(());
        }
        if self.instrument.device().limits != self.limits {
            let (before, now) = (self.limits, self.instrument.device().limits);
            return Err(format!("without a reset the limits went from {before:?} to {now:?}"));
        }
        Ok(())
    }

    /// Takes over what a device that has been reset said of itself; whether it has.
    pub(super) fn new_boot(&mut self) -> bool {
        let boot = self.instrument.client().welcome().boot_nonce;
        let new = self.boot != boot;
        if new {
            (self.boot, self.limits) = (boot, self.instrument.device().limits);
        }
        new
    }

    pub(super) fn wait(&mut self, time: Duration) -> Result<()> {
        self.wire.rig().wait(time).map_err(|error| error.to_string())
    }
}
