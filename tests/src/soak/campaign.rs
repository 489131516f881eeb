//! One board from power-up to scrap: every command's outcome against what the host said and what ground truth says.

use super::command::{Command, Drawer, Spoil};
use super::ledger::{Expected, Ledger};
use super::prediction::{Expectation, Prediction};
use super::rig::{Rig, Wire};
use super::{Journal, Totals};
use ndarray::Array2;
use ohmrig::bench::{Emulation, profile};
use ohmrig::client::{Client, LinkError};
use ohmrig::device::EmulatedDevice;
use ohmrig::instrument::{Instrument, InstrumentError, ProductSettings, ProgramOrder, ReadSettings};
use ohmrig::transport::inject::{Fault, Faulty, Inject, Tally};
use ohmrig_emulator::chips::BitFlip;
use ohmrig_emulator::profile::WireProfile;
use ohmrig_emulator::random::Random;
use ohmrig_protocol::message::{
    Algorithm, FaultCode, JobEnd, JobId, JobState, LimitName, Limits, Pulse, ReadColumn, Refusal, Region,
    Reply, Request, Scheme, Staircase,
};
use ohmrig_protocol::units::Volts;
use std::sync::Arc;
use std::time::Duration;

/// Any cell of a board that is SAFE or DEAD, V.
const REST_V: f64 = 0.02;

/// Each arming, ms; longer than any command takes on the link clock.
const ARM_MS: u32 = 600_000;

/// Jobs that the host may start for one region, and so times that a cell may get its most pulses in one pass.
const JOBS_PER_PASS: u64 = 3;

/// Sessions tried before a device counts as gone.
const CONNECTIONS: u32 = 30;

type Result<T> = std::result::Result<T, String>;

/// As commanded + 20 mV + 0.5 %: the most a cell may see of it.
fn worst_v(commanded: f64) -> f64 {
    commanded.abs() * 1.005 + 0.02
}

/// The most any cell but the selected one may see, as commanded.
fn other_v(pulse: &Pulse) -> f64 {
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
enum Failure {
    /// It was refused, and nothing was touched.
    Refused(Refusal),
    /// The device found a fault while executing it.
    Faulted,
    /// The link or the device went away with so many *once* requests in flight.
    Lost(u32),
    /// A job ended early or is gone.
    Job,
}

/// What a fault may come from.
#[derive(Clone, Copy, Debug, Default)]
struct Causes {
    chip: bool,
    silence: bool,
    write: bool,
}

/// One board.
pub(super) struct Campaign {
    wire: Wire,
    tally: Arc<Tally>,
    instrument: Instrument,
    drawer: Drawer,
    ledger: Ledger,
    prediction: Prediction,
    limits: Limits,
    /// Of the boot whose limits they are.
    boot: u64,
    /// Latched, as far as the host was told.
    fault: Option<FaultCode>,
    /// Whether the device named it as the latched one; else it only said that it found it, perhaps behind another.
    named: bool,
    /// Jobs that were given up and may have left results.
    held: Vec<JobId>,
    causes: Causes,
    power_cycles: u64,
    /// What came of the present command, for the journal.
    notes: Vec<String>,
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
    fn settle(&mut self, expected: &Expected, totals: &mut Totals) -> Result<u64> {
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
    fn failure(&mut self, error: InstrumentError, totals: &mut Totals) -> Result<Failure> {
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
            InstrumentError::JobEnded { .. } | InstrumentError::JobLost { .. } => Failure::Job,
            other => return Err(other.to_string()),
        })
    }

    fn has_cause(&self, code: FaultCode) -> Result<()> {
        let caused = match code {
            FaultCode::LinkSilent => self.causes.silence,
            FaultCode::OverCurrent => self.causes.write,
            _ => self.causes.chip,
        };
        if caused { Ok(()) } else { Err(format!("{code:?} without a cause")) }
    }

    /// The device found this fault just now; it is latched unless another one is already.
    fn fault_found(&mut self, code: FaultCode, totals: &mut Totals) -> Result<()> {
        totals.faults += 1;
        self.has_cause(code)?;
        if self.fault.is_none() {
            (self.fault, self.named) = (Some(code), false);
        }
        Ok(())
    }

    /// The device says that this fault is latched: it must be the one it named before, or have a cause.
    fn fault_named(&mut self, code: FaultCode) -> Result<()> {
        match self.fault {
            Some(known) if known == code => {}
            Some(known) if self.named && self.wire.rig().power_cycles == self.power_cycles => {
                return Err(format!("{code:?} is latched, and it was {known:?} that nobody has cleared"));
            }
            _ => self.has_cause(code)?,
        }
        (self.fault, self.named) = (Some(code), true);
        Ok(())
    }

    /// A refusal that only a latched fault can explain.
    fn must_be_latched(&self, refusal: &Refusal) -> Result<()> {
        match refusal {
            Refusal::Faulted(_) => Ok(()),
            other => Err(format!("refused without reason: {other:?}")),
        }
    }

    fn reconnect(&mut self, totals: &mut Totals) -> Result<()> {
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
    fn new_boot(&mut self) -> bool {
        let boot = self.instrument.client().welcome().boot_nonce;
        let new = self.boot != boot;
        if new {
            (self.boot, self.limits) = (boot, self.instrument.device().limits);
        }
        new
    }

    fn wait(&mut self, time: Duration) -> Result<()> {
        self.wire.rig().wait(time).map_err(|error| error.to_string())
    }

    /// Whether it is armed now.
    fn arm(&mut self, milliseconds: u32, totals: &mut Totals) -> Result<bool> {
        match self.instrument.arm(milliseconds) {
            Ok(()) if self.fault.is_some() && self.wire.rig().power_cycles == self.power_cycles => {
                Err(format!("armed although {:?} is latched", self.fault))
            }
            Ok(()) => {
                // From here on a bad link may be silent for long enough.
                self.causes.silence = true;
                Ok(true)
            }
            Err(error) => match self.failure(error, totals)? {
                Failure::Refused(refusal) => self.must_be_latched(&refusal).map(|()| false),
                _ => Ok(false),
            },
        }
    }

    /// How it is; a fault that was told must still be there.
    fn status(&mut self, totals: &mut Totals) -> Result<bool> {
        let status = match self.instrument.status() {
            Ok(status) => status,
            Err(error) => return self.failure(error, totals).map(|_| false),
        };
        let reset = self.wire.rig().power_cycles != self.power_cycles;
        match (status.fault, self.fault) {
            (Some(fault), _) => self.fault_named(fault.code)?,
            (None, Some(known)) if !reset => return Err(format!("the fault {known:?} is lost")),
            (None, _) => self.fault = None,
        }
        Ok(true)
    }

    /// Clears the latched fault: not by another name, but by its own.
    fn clear(&mut self, totals: &mut Totals) -> Result<()> {
        self.mend();
        if !self.status(totals)? {
            return Ok(());
        }
        let Some(code) = self.fault else { return Ok(()) };
        let wrong = if code == FaultCode::Bus { FaultCode::Chip } else { FaultCode::Bus };
        match self.instrument.clear_fault(wrong) {
            Ok(()) => return Err(format!("{code:?} was cleared as {wrong:?}")),
            Err(error) => match self.failure(error, totals)? {
                Failure::Refused(Refusal::NoSuchFault) => {}
                Failure::Refused(other) => return Err(format!("clearing {wrong:?}: {other:?}")),
                _ => return Ok(()),
            },
        }
        match self.instrument.clear_fault(code) {
            Ok(()) => {
                self.fault = None;
                // Unless all chips were reset just now, one may still hold what a bit flip put into it.
                let chip = self.causes.chip && !matches!(code, FaultCode::Chip | FaultCode::Timeout);
                self.causes = Causes { chip, ..Causes::default() };
                Ok(())
            }
            Err(error) => match self.failure(error, totals)? {
                Failure::Refused(other) => Err(format!("clearing {code:?}: {other:?}")),
                // Perhaps it was cleared; the next status tells.
                Failure::Lost(_) => {
                    self.fault = None;
                    self.causes = Causes { chip: true, silence: true, write: true };
                    Ok(())
                }
                _ => Ok(()),
            },
        }
    }

    fn silence(&mut self, totals: &mut Totals) -> Result<()> {
        if !self.arm(ARM_MS, totals)? || self.wire.rig().power_cycles != self.power_cycles {
            return Ok(());
        }
        self.wait(Duration::from_millis(2_500))?;
        let cycles = self.power_cycles;
        if self.status(totals)?
            && self.wire.rig().power_cycles == cycles
            && self.fault != Some(FaultCode::LinkSilent)
        {
            return Err(format!("2.5 s of silence while armed, and the fault is {:?}", self.fault));
        }
        Ok(())
    }

    fn tighten(&mut self, factor: f64, totals: &mut Totals) -> Result<()> {
        let factor = factor as f32;
        let asked = Limits {
            cell: Volts(self.limits.cell.0 * factor),
            read: Volts((self.limits.read.0 * factor).max(0.4)),
            ..self.limits
        };
        let looser = asked.cell.0 > self.limits.cell.0 || asked.read.0 > self.limits.read.0;
        let request = Request::TightenLimits(asked);
        let answer = self.instrument.client_mut().request(&request, |reply| match reply {
            Reply::Refused(refusal) => {
                Err(InstrumentError::Refused { request: "tighten limits", refusal: *refusal })
            }
            _ => Ok(()),
        });
        match answer {
            Ok(()) if looser => Err(format!("limits were loosened by {factor}")),
            Ok(()) => {
                self.limits = asked;
                // Reads are checked against them before they are sent.
                self.reconnect(totals)
            }
            Err(error) => match self.failure(error, totals)? {
                Failure::Refused(Refusal::Invalid { .. }) if looser => Ok(()),
                Failure::Refused(refusal) => Err(format!("tightening by {factor}: {refusal:?}")),
                _ => Ok(()),
            },
        }
    }

    /// The most sensitive range but one that is linear for all of `currents`, or none.
    fn range(&mut self, currents: impl Iterator<Item = f64> + Clone) -> Option<u8> {
        let fits = |range: &u8| currents.clone().all(|current| self.prediction.is_linear(current, *range));
        (0..3u8).find(fits)
    }

    fn conductance(&self) -> Vec<f64> {
        self.ledger.truth().iter().map(|cell| cell.conductance_s).collect()
    }

    /// After a read that failed.
    fn read_failed(&mut self, error: InstrumentError, totals: &mut Totals) -> Result<()> {
        match self.failure(error, totals)? {
            Failure::Refused(refusal) => self.must_be_latched(&refusal),
            _ => Ok(()),
        }
    }

    fn read(&mut self, region: Region, volts: f64, conversions: u16, totals: &mut Totals) -> Result<()> {
        let before = self.conductance();
        let rows = usize::from(region.row)..usize::from(region.row + region.rows);
        let columns = usize::from(region.column)..usize::from(region.column + region.columns);
        let applied = self.instrument.applied_volts(volts);
        let row = |campaign: &Self, cells: &[f64], row, range| {
            campaign.prediction.row(cells, row, applied, range, conversions)
        };
        let expected: Vec<Vec<Expectation>> = rows.clone().map(|i| row(self, &before, i, 0)).collect();
        let currents =
            expected.iter().flat_map(|cells| cells[columns.clone()].iter()).map(|cell| cell.value * applied);
        let Some(range) = self.range(currents) else { return Ok(()) };
        self.ledger.allow(worst_v(volts));
        let settings = ReadSettings { volts, range: Some(range), conversions };
        let map = match self.instrument.read_cells(region, &settings) {
            Ok(map) => map,
            Err(error) => return self.read_failed(error, totals),
        };
        self.settle(&Expected::new(), totals)?;
        let after = self.conductance();
        for (i, at) in rows.enumerate() {
            let (then, now) = (row(self, &before, at, range), row(self, &after, at, range));
            for (j, column) in columns.clone().enumerate() {
                totals.values += 1;
                let measured = map.conductance[[i, j]];
                if !Expectation::allows(then[column], now[column], measured) {
                    let truth = (before[at * then.len() + column], after[at * then.len() + column]);
                    return Err(format!(
                        "cell {at}, {column} reads {measured:e} S in range {range}; it is {truth:?} S, so that \
                         {:?} before and {:?} after were expected",
                        then[column], now[column]
                    ));
                }
            }
        }
        Ok(())
    }

    fn reference(&mut self, row: u16, volts: f64, totals: &mut Totals) -> Result<()> {
        let settings = ReadSettings { volts, range: Some(1), conversions: 4 };
        let map = match self.instrument.read_reference(row, &settings) {
            Ok(map) => map,
            Err(error) => return self.read_failed(error, totals),
        };
        let expected = self.prediction.reference(self.instrument.applied_volts(volts), 1);
        for (column, &measured) in map.conductance.iter().enumerate() {
            totals.values += 1;
            if !Expectation::allows(expected, expected, measured) {
                return Err(format!(
                    "R_cal of column {column} reads {measured:e} S; {expected:?} was expected"
                ));
            }
        }
        Ok(())
    }

    fn products(&mut self, volts: &Array2<f64>, conversions: u16, totals: &mut Totals) -> Result<()> {
        let before = self.conductance();
        let columns = usize::from(self.instrument.device().columns);
        let applied: Vec<Vec<f64>> = volts
            .outer_iter()
            .map(|vector| vector.iter().map(|&volts| self.instrument.applied_volts(volts)).collect())
            .collect();
        let product = |campaign: &Self, cells: &[f64], n: usize, range| {
            campaign.prediction.product(cells, &applied[n], range, conversions)
        };
        let expected: Vec<Vec<Expectation>> =
            (0..volts.nrows()).map(|n| product(self, &before, n, 0)).collect();
        let currents = expected.iter().flatten().map(|current| current.value);
        let Some(range) = self.range(currents) else { return Ok(()) };
        self.ledger.allow(worst_v(0.2));
        let products = match self.instrument.mvm(volts.view(), ProductSettings { range, conversions }, |_| {})
        {
            Ok(products) => products,
            Err(error) => return self.read_failed(error, totals),
        };
        self.settle(&Expected::new(), totals)?;
        let after = self.conductance();
        for n in 0..volts.nrows() {
            let (then, now) = (product(self, &before, n, range), product(self, &after, n, range));
            for column in 0..columns {
                totals.values += 1;
                let measured = products.currents[[n, column]];
                if !Expectation::allows(then[column], now[column], measured) {
                    return Err(format!(
                        "product {n}, column {column} is {measured:e} A in range {range}; {:?} before and {:?} \
                         after were expected",
                        then[column], now[column]
                    ));
                }
            }
        }
        Ok(())
    }

    fn trace(&mut self, row: u16, column: u16, volts: f64, samples: u16, totals: &mut Totals) -> Result<()> {
        self.ledger.allow(worst_v(volts));
        let asked =
            ReadColumn { row, column, volts: Volts(volts as f32), range: 2, samples, interval_ns: 10_000 };
        match self.instrument.read_column(asked) {
            Ok(trace) if trace.codes.len() == usize::from(samples) => Ok(()),
            Ok(trace) => Err(format!("{} samples of {samples}", trace.codes.len())),
            Err(error) => self.read_failed(error, totals),
        }
    }

    /// Whether the limits in force and the array allow a pulse.
    fn permits(&self, pulse: &Pulse) -> bool {
        let device = self.instrument.device();
        let volts = f64::from(pulse.volts.0);
        let others = u32::from(device.rows) * u32::from(device.columns) > 1;
        let width = pulse.width.0;
        volts.is_finite()
            && pulse.gate.is_none()
            && pulse.row < device.rows
            && pulse.column < device.columns
            && worst_v(volts) <= f64::from(self.limits.cell.0)
            && (!others || worst_v(other_v(pulse)) <= f64::from(self.limits.half_select.0))
            && (self.limits.width_min.0..=self.limits.width_max.0).contains(&width)
    }

    /// Cells on which a pulse counts.
    fn counted(&self, pulse: &Pulse) -> Vec<usize> {
        let quiet = self.drawer.amplitudes().map_or(f64::INFINITY, |amplitudes| amplitudes.quiet);
        if f64::from(pulse.volts.0).abs() <= quiet {
            return Vec::new();
        }
        match pulse.scheme {
            Scheme::Grounded => {
                let columns = self.instrument.device().columns;
                (0..columns).map(|column| self.ledger.index(pulse.row, column)).collect()
            }
            _ => vec![self.ledger.index(pulse.row, pulse.column)],
        }
    }

    /// Pulses in one pipeline.
    fn pulses(&mut self, pulses: &[Pulse], totals: &mut Totals) -> Result<()> {
        if !self.arm(ARM_MS, totals)? {
            return Ok(());
        }
        let faulted = self.fault.is_some();
        self.causes.write = true;
        for pulse in pulses {
            if !self.permits(pulse) {
                continue;
            }
            let (selected, others) = (worst_v(pulse.volts.0.into()), worst_v(other_v(pulse)));
            self.ledger.allow(others);
            let cell = self.ledger.index(pulse.row, pulse.column);
            self.ledger.allow_cell(cell, selected);
        }
        let mut replies: Vec<Option<std::result::Result<(), Refusal>>> = vec![None; pulses.len()];
        let requests = pulses.iter().map(|&pulse| Request::Pulse(pulse));
        let sent = self.instrument.client_mut().pipeline(requests, |index, reply| {
            match reply {
                Reply::Pulsed { .. } => replies[index] = Some(Ok(())),
                Reply::Refused(refusal) => replies[index] = Some(Err(*refusal)),
                other => {
                    return Err(InstrumentError::Argument(format!("a pulse was answered by {other:?}")));
                }
            }
            Ok(())
        });
        let in_flight = match sent {
            Ok(()) => 0,
            Err(error) => match self.failure(error, totals)? {
                Failure::Lost(unknown) => unknown,
                other => return Err(format!("a pipeline of pulses ended in {other:?}")),
            },
        };
        let mut range = vec![(0u64, 0u64); self.ledger.truth().len()];
        let (mut certain, mut unanswered, mut ended) = (0, 0, 0);
        for (pulse, reply) in pulses.iter().zip(&replies) {
            let (at_least, at_most) = match reply {
                Some(Ok(())) if !self.permits(pulse) => {
                    return Err(format!("{pulse:?} was applied against {:?}", self.limits));
                }
                Some(Ok(())) => {
                    totals.acknowledged += 1;
                    certain += self.counted(pulse).len() as u64;
                    (1, 1)
                }
                Some(Err(Refusal::Fault(code))) => {
                    self.fault_found(*code, totals)?;
                    totals.unknown += 1;
                    ended += self.counted(pulse).len() as u64;
                    (0, 1)
                }
                Some(Err(refusal)) => {
                    totals.refused += 1;
                    self.must_be_refused(pulse, refusal, faulted)?;
                    (0, 0)
                }
                None if self.permits(pulse) => {
                    unanswered += 1;
                    (0, 1)
                }
                None => (0, 0),
            };
            for cell in self.counted_if_permitted(pulse) {
                range[cell].0 += at_least;
                range[cell].1 += at_most;
            }
        }
        totals.unknown += u64::from(in_flight).min(unanswered);
        let expected =
            range.iter().enumerate().filter(|(_, r)| r.1 > 0).map(|(i, r)| (i, r.0..=r.1)).collect();
        let applied = self.settle(&expected, totals)?;
        let uncertain = applied - certain;
        // Grounded unselected lines count on a whole row.
        let per_pulse = u64::from(self.instrument.device().columns);
        if uncertain > ended + u64::from(in_flight) * per_pulse {
            return Err(format!(
                "{uncertain} pulses beyond the acknowledged ones, {in_flight} reported as unknown"
            ));
        }
        totals.unknown_applied += uncertain;
        Ok(())
    }

    fn counted_if_permitted(&self, pulse: &Pulse) -> Vec<usize> {
        if self.permits(pulse) { self.counted(pulse) } else { Vec::new() }
    }

    /// A pulse was refused: because of a fault, or because the limits forbid it.
    fn must_be_refused(&mut self, pulse: &Pulse, refusal: &Refusal, faulted: bool) -> Result<()> {
        match refusal {
            Refusal::Faulted(code) => self.fault_named(*code),
            // A fault disarms; a power cycle does.
            Refusal::NotArmed if faulted || self.wire.rig().power_cycles > self.power_cycles => Ok(()),
            Refusal::Limit { limit: LimitName::PulsesPerCell, .. } => {
                Err(format!("{pulse:?} was refused by a count nobody could have reached"))
            }
            Refusal::Limit { .. }
            | Refusal::Invalid { .. }
            | Refusal::OutsideArray { .. }
            | Refusal::Unsupported(_)
                if !self.permits(pulse) =>
            {
                Ok(())
            }
            other => Err(format!("{pulse:?} was refused: {other:?}")),
        }
    }

    fn program(
        &mut self,
        region: Region,
        targets: &[f64],
        max_pulses: u16,
        passes: u8,
        totals: &mut Totals,
    ) -> Result<()> {
        let Some([set, reset]) = self.drawer.amplitudes().and_then(|amplitudes| amplitudes.sure) else {
            return Ok(());
        };
        let stairs = |(start, stop): (f64, f64)| Staircase {
            start: Volts(start as f32 * 1.0001),
            step: Volts(0.03),
            stop: Volts(stop as f32 * 0.9999),
        };
        let (set, reset) = (stairs(set), stairs(reset));
        let top = f64::from(set.stop.0.max(reset.stop.0));
        if worst_v(top) > f64::from(self.limits.cell.0) || self.fault.is_some() {
            return Ok(());
        }
        let shape = (usize::from(region.rows), usize::from(region.columns));
        let order = ProgramOrder {
            origin: (region.row, region.column),
            targets: Array2::from_shape_fn(shape, |(i, j)| targets[i * shape.1 + j]),
            window: 0.02 * targets.iter().copied().fold(0.0, f64::max),
            algorithm: Algorithm::Incremental { set, reset },
            width: 50e-6,
            scheme: Scheme::Half,
            read_volts: 0.2,
            range: Some(2),
            conversions: 4,
            max_pulses,
            max_reversals: 6,
            passes,
        };
        self.ledger.allow(worst_v(top / 2.0).max(worst_v(0.2)));
        let cells: Vec<(usize, (usize, usize))> = (0..shape.0)
            .flat_map(|i| (0..shape.1).map(move |j| (i, j)))
            .map(|(i, j)| (self.ledger.index(region.row + i as u16, region.column + j as u16), (i, j)))
            .collect();
        for (cell, _) in &cells {
            self.ledger.allow_cell(*cell, worst_v(top));
        }
        self.causes.silence = true;
        self.causes.write = true;
        let mut started = Vec::new();
        let done = self.instrument.program(
            &order,
            |job, _| {
                started.push(job);
                Ok(())
            },
            |_| {},
        );
        match done {
            Ok(programmed) => {
                let expected = cells
                    .iter()
                    .map(|&(cell, index)| {
                        let pulses = u64::from(programmed.pulses[index]);
                        (cell, pulses..=pulses)
                    })
                    .collect();
                totals.jobs += 1;
                totals.job_pulses += self.settle(&expected, totals)?;
                Ok(())
            }
            Err(error) => {
                self.held.extend(started);
                match self.failure(error, totals)? {
                    Failure::Refused(Refusal::ResultsHeld(job)) if self.held.contains(&job) => {}
                    Failure::Refused(refusal) => self.must_be_latched(&refusal)?,
                    _ => {}
                }
                totals.jobs_lost += 1;
                let most = u64::from(max_pulses) * u64::from(passes) * JOBS_PER_PASS;
                let expected = cells.iter().map(|&(cell, _)| (cell, 0..=most)).collect();
                totals.jobs_lost_pulses += self.settle(&expected, totals)?;
                self.release(totals)
            }
        }
    }

    /// Frees what jobs that were given up have left.
    fn release(&mut self, totals: &mut Totals) -> Result<()> {
        while let Some(&job) = self.held.last() {
            if let Err(error) = self.instrument.release_job(job) {
                match self.failure(error, totals)? {
                    Failure::Refused(Refusal::NoSuchJob { .. }) => {}
                    // The next one that is refused because of it tries again.
                    Failure::Lost(_) => break,
                    other => return Err(format!("releasing job {job:?}: {other:?}")),
                }
            }
            self.held.pop();
        }
        Ok(())
    }

    fn spoil(&mut self, spoil: Spoil) {
        let mut rig = self.wire.rig();
        let board = rig.device.board();
        match spoil {
            Spoil::Dead(chip) => {
                if let Ok(faults) = board.faults(chip) {
                    faults.dead = true;
                }
            }
            Spoil::Flip { chip, frames_ahead, wire, bit } => {
                if let Ok(faults) = board.faults(chip) {
                    faults.flips.push(BitFlip { frames_ahead, wire, bit });
                }
            }
            Spoil::StuckBusy(index) => {
                if let Some(adc) = board.adc(index) {
                    adc.stuck_busy = true;
                }
            }
            Spoil::FaultRegister(chip, bits) => {
                if let Some(dac) = board.dac(chip) {
                    dac.set_fault(bits);
                }
            }
            Spoil::Thermometer => board.thermometer().dead = true,
        }
    }

    /// Every chip in order again; what a flip has left in registers stays.
    fn mend(&mut self) {
        let mut rig = self.wire.rig();
        let board = rig.device.board();
        board.thermometer().dead = false;
        for index in 0..=u8::MAX {
            if let Some(adc) = board.adc(index) {
                adc.stuck_busy = false;
            }
            for kind in Drawer::KINDS {
                let select = ohmrig_protocol::bench::ChipSelect { kind, index };
                if let Ok(faults) = board.faults(select) {
                    faults.dead = false;
                    faults.flips.clear();
                }
                if let Some(dac) = board.dac(select) {
                    dac.set_fault(0);
                }
            }
        }
    }
}
