//! `ohmrig safe`: ends everything; clears a fault that is named, and drops what an ended command has left, if told to.

use super::open::open;
use super::{Failure, Global, Output};
use crate::instrument::refusal;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Safe {
    /// Clear this latched fault afterwards: link-silent, over-current, chip, timeout, bus, brown-out, job-stalled, watchdog, panic or flash
    #[arg(long, value_name = "FAULT", value_parser = parse_fault)]
    clear_fault: Option<ohmrig_protocol::message::FaultCode>,
    /// Drop the results of a job whose command was killed before it fetched them; with its run file they could still be had
    #[arg(long)]
    discard_held: bool,
}

fn parse_fault(name: &str) -> Result<ohmrig_protocol::message::FaultCode, String> {
    refusal::fault_of(name).ok_or_else(|| {
        format!("no fault is called `{name}`; link-silent, over-current, chip, timeout, bus, brown-out, job-stalled, watchdog, panic or flash")
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
        let held = if self.discard_held { opened.instrument.discard_held()? } else { None };
        if let Some(job) = held {
            output.say(format_args!("dropped  the results of job {:#018x}", job.0));
        } else if self.discard_held {
            output.say(format_args!("dropped  nothing: no results are held"));
        }
        output.set("discarded_job", held.map(|job| format!("{:#018x}", job.0)));
        let status = opened.instrument.status()?;
        output.say(format_args!("status   {:?}", status.mode));
        output.set("mode", format!("{:?}", status.mode));
        output.set("fault", status.fault.map(|fault| refusal::fault(fault.code)));
        Ok(())
    }
}
