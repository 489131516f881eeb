//! `ohmrig safe`: ends everything; clears a fault that is named.

use super::open::open;
use super::{Failure, Global, Output};
use crate::instrument::refusal;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Safe {
    /// Clear this latched fault afterwards: link-silent, over-current, chip, timeout, bus, brown-out, job-stalled, watchdog or panic
    #[arg(long, value_name = "FAULT", value_parser = parse_fault)]
    clear_fault: Option<ohmrig_protocol::message::FaultCode>,
}

fn parse_fault(name: &str) -> Result<ohmrig_protocol::message::FaultCode, String> {
    refusal::fault_of(name).ok_or_else(|| {
        format!("no fault is called `{name}`; link-silent, over-current, chip, timeout, bus, brown-out, job-stalled, watchdog or panic")
    })
}

impl Safe {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let mut opened = open(global, output)?;
        opened.instrument.safe()?;
        if let Some(code) = self.clear_fault {
            opened.instrument.clear_fault(code)?;
            output.say(format_args!("cleared  {}", refusal::fault(code)));
        }
        let status = opened.instrument.status()?;
        output.say(format_args!("status   {:?}", status.mode));
        output.set("mode", format!("{:?}", status.mode));
        output.set("fault", status.fault.map(|fault| refusal::fault(fault.code)));
        Ok(())
    }
}
