//! Pulses and jobs against ground truth: what limits forbid is refused, what was acknowledged happened once, and what was
//! reported as unknown at most once.

use super::Totals;
use super::campaign::{ARM_MS, Campaign, Failure, JOBS_PER_PASS, Result, other_v, worst_v};
use ndarray::Array2;
use ohmrig::instrument::{Books, CellDone, InstrumentError, JobNote, ProgramOrder, Target};
use ohmrig_protocol::message::{
    Algorithm, JobEnd, JobId, LimitName, Limits, Pulse, Refusal, Region, Reply, Request, Scheme, Staircase,
};
use ohmrig_protocol::units::Volts;

impl Campaign {
    pub(super) fn tighten(&mut self, factor: f64, totals: &mut Totals) -> Result<()> {
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

    /// Whether the limits in force and the array allow a pulse.
    pub(super) fn permits(&self, pulse: &Pulse) -> bool {
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
    pub(super) fn counted(&self, pulse: &Pulse) -> Vec<usize> {
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
    pub(super) fn pulses(&mut self, pulses: &[Pulse], totals: &mut Totals) -> Result<()> {
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

    pub(super) fn counted_if_permitted(&self, pulse: &Pulse) -> Vec<usize> {
        if self.permits(pulse) { self.counted(pulse) } else { Vec::new() }
    }

    /// A pulse was refused: because of a fault, or because the limits forbid it.
    pub(super) fn must_be_refused(&mut self, pulse: &Pulse, refusal: &Refusal, faulted: bool) -> Result<()> {
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

    pub(super) fn program(
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
            target: Target::InPlace,
            row_ohms: 0.0,
            work: None,
            guard: 0.0,
            window: 0.02 * targets.iter().copied().fold(0.0, f64::max),
            algorithm: Algorithm::Incremental { set, reset },
            width: 50e-6,
            scheme: Scheme::Half,
            read_volts: 0.2,
            range: Some(2),
            conversions: (4, 16),
            confirm: 0,
            max_pulses,
            max_reversals: 6,
            passes,
            wait: 0.0,
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
        let mut started = Started::default();
        let done = self.instrument.program(&order, &[], &mut started, |_| {});
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
                self.held.extend(started.0);
                let mut untouched = Vec::new();
                match self.failure(error, totals)? {
                    // In a later pass they were touched in an earlier one.
                    Failure::Reset(told) if told.pass == 0 => untouched = told.not_done,
                    Failure::Refused(Refusal::ResultsHeld(job)) if self.held.contains(&job) => {}
                    Failure::Refused(refusal) => self.must_be_latched(&refusal)?,
                    _ => {}
                }
                totals.jobs_lost += 1;
                let most = u64::from(max_pulses) * u64::from(passes) * JOBS_PER_PASS;
                let untouched: Vec<usize> =
                    untouched.into_iter().map(|(row, column)| self.ledger.index(row, column)).collect();
                let expected = cells
                    .iter()
                    .map(|&(cell, _)| (cell, 0..=if untouched.contains(&cell) { 0 } else { most }))
                    .collect();
                totals.jobs_lost_pulses += self.settle(&expected, totals)?;
                self.release(totals)
            }
        }
    }

    /// Frees what jobs that were given up have left.
    pub(super) fn release(&mut self, totals: &mut Totals) -> Result<()> {
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
}

/// Numbers of the jobs that were sent, for those that have to be released by hand.
#[derive(Default)]
struct Started(Vec<JobId>);

impl Books for Started {
    fn sending(&mut self, job: &JobNote) -> std::result::Result<(), String> {
        self.0.push(job.id);
        Ok(())
    }

    fn results(&mut self, _: JobId, _: &[CellDone]) -> std::result::Result<(), String> {
        Ok(())
    }

    fn ended(&mut self, _: JobId, _: &[CellDone], _: Option<JobEnd>) -> std::result::Result<(), String> {
        Ok(())
    }
}
