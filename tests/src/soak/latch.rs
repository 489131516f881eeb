//! Arming and faults: what is latched stays until it is cleared by its name, and nothing is latched without a cause.

use super::Totals;
use super::campaign::{ARM_MS, Campaign, Causes, Failure, Result};
use ohmrig_protocol::message::{FaultCode, Refusal};
use std::time::Duration;

impl Campaign {
    pub(super) fn has_cause(&mut self, code: FaultCode) -> Result<()> {
        let caused = match code {
            FaultCode::LinkSilent => self.causes.silence,
            FaultCode::OverCurrent => self.causes.write,
            _ => self.causes.chip,
        };
        if caused {
            return Ok(());
        }
        let latched = self.instrument.status().map(|status| status.fault);
        Err(format!("{code:?} without a cause; latched is {latched:?}"))
    }

    /// The device found this fault just now; it is latched unless another one is already.
    pub(super) fn fault_found(&mut self, code: FaultCode, totals: &mut Totals) -> Result<()> {
        totals.faults += 1;
        self.has_cause(code)?;
        if self.fault.is_none() {
            (self.fault, self.named) = (Some(code), false);
        }
        Ok(())
    }

    /// The device says that this fault is latched: it must be the one it named before, or have a cause.
    pub(super) fn fault_named(&mut self, code: FaultCode) -> Result<()> {
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
    pub(super) fn must_be_latched(&self, refusal: &Refusal) -> Result<()> {
        match refusal {
            Refusal::Faulted(_) => Ok(()),
            other => Err(format!("refused without reason: {other:?}")),
        }
    }

    /// Whether it is armed now.
    pub(super) fn arm(&mut self, milliseconds: u32, totals: &mut Totals) -> Result<bool> {
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
    pub(super) fn status(&mut self, totals: &mut Totals) -> Result<bool> {
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
    pub(super) fn clear(&mut self, totals: &mut Totals) -> Result<()> {
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
                // Unless all chips were reset for it, one may still hold what a bit flip put into it.
                let reset = matches!(code, FaultCode::Chip | FaultCode::Timeout);
                let chip = self.causes.chip && (!reset || self.register_set);
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

    pub(super) fn silence(&mut self, totals: &mut Totals) -> Result<()> {
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
}
