//! Refusals in words: what was asked, what is allowed, what to do.

use ohmrig_protocol::message::{FaultCode, Field, JobEnd, LimitName, Refusal, StorageProblem};

/// One line for a refusal of `request`.
#[must_use]
pub fn describe(request: &str, refusal: &Refusal) -> String {
    let why = match refusal {
        Refusal::NotArmed => "writing is not armed".to_owned(),
        Refusal::Faulted(code) => {
            format!(
                "the fault {} is latched; find its cause, then `ohmrig safe --clear-fault {}`",
                fault(*code),
                fault(*code)
            )
        }
        Refusal::JobRuns(job) => format!("job {:#018x} is running; wait for it, or `ohmrig safe`", job.0),
        Refusal::ResultsHeld(job) => format!(
            "the results of job {:#018x} were never fetched; the command that began it takes them with its --run FILE, \
             `ohmrig safe --discard-held` drops them",
            job.0
        ),
        Refusal::NoSuchJob { .. } => "the device knows no such job".to_owned(),
        Refusal::NoSuchFault => "no such fault is latched; `ohmrig info` shows what is".to_owned(),
        Refusal::Limit { limit, asked, allowed } => {
            format!("limit {}: {} asked, {} allowed", limit_name(*limit), number(*asked), number(*allowed))
        }
        Refusal::Invalid { field, asked, min, max } => format!(
            "{} is {}; it may be {} to {}",
            field_name(*field),
            number(*asked),
            number(*min),
            number(*max)
        ),
        Refusal::OutsideArray { rows, columns } => {
            format!("cells outside the array of {rows} rows × {columns} columns (counted from 0)")
        }
        Refusal::Fault(code) => format!(
            "the device found a fault meanwhile ({}) and went to SAFE; `ohmrig info` says more",
            fault(*code)
        ),
        Refusal::Unsupported(field) => format!("this board can't: {}", field_name(*field)),
        Refusal::Storage(problem) => format!("it has to survive power loss, but {}", storage(problem)),
        Refusal::ArraysFull { slots } => format!(
            "the flash has room for the budgets of {slots} arrays and has as many; `ohmrig budget --arrays` shows them, \
             `ohmrig budget --forget-array NAME` frees one"
        ),
        Refusal::NoSuchArray => {
            "no array of this name is known here; `ohmrig budget --arrays` shows them".to_owned()
        }
        Refusal::ArrayPlugged => "this array is plugged in; name another one first".to_owned(),
        Refusal::RecordsFull { records } => {
            format!("the flash has room for {records} records and none for another kind")
        }
        Refusal::NoSuchRecord { newest } => format!("no such record is kept here; the newest is {newest}"),
        Refusal::RecordCrc { stored, announced } => format!(
            "the record arrived damaged and is not in force: CRC {stored:#010x} as stored, {announced:#010x} as announced; \
             send it again"
        ),
        Refusal::NoRecordBegun => "no record was begun in this start of the device; begin again".to_owned(),
    };
    format!("{request} refused: {why}")
}

/// What is wrong with a device's flash, and what to do.
#[must_use]
pub fn storage(problem: &StorageProblem) -> String {
    match problem {
        StorageProblem::TooSmall { bytes: 0, needed } => {
            format!("the board has no flash; it needs {needed} bytes")
        }
        StorageProblem::TooSmall { bytes, needed } => {
            format!("the flash has {bytes} bytes and needs {needed} for an array of this size")
        }
        StorageProblem::EraseUnit { found, own } => {
            format!(
                "the flash erases {found} bytes at once and this firmware {own}; build the firmware for this flash"
            )
        }
        StorageProblem::Layout { found, own } => format!(
            "the flash has layout {found} and this firmware writes {own}; flash the firmware that wrote it, or erase the flash \
             and with it all budgets"
        ),
        StorageProblem::Foreign => {
            "the flash holds something that no ohmrig wrote; erase it first".to_owned()
        }
        StorageProblem::Failed { offset } => {
            format!(
                "the flash failed at byte {offset:#x} (worn out?); restart the device to try again, replace it if that fails"
            )
        }
        StorageProblem::Damaged => {
            "the flash's contents make no sense and nothing of them was believed; if a restart finds the same, erase the flash \
             and with it all budgets"
                .to_owned()
        }
        StorageProblem::Geometry { rows, columns } => {
            format!("the flash was laid out for {rows} rows × {columns} columns")
        }
    }
}

/// Whether a refusal is one of safety: a limit, a missing arming, a fault, budgets that can't be kept.
#[must_use]
pub const fn is_safety(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::NotArmed
            | Refusal::Faulted(_)
            | Refusal::Fault(_)
            | Refusal::Limit { .. }
            | Refusal::Storage(_)
    )
}

/// A number with six digits at most, and no trailing zeros.
fn number(value: f32) -> String {
    if value != 0.0 && !(1e-3..1e6).contains(&value.abs()) { format!("{value:e}") } else { value.to_string() }
}

/// A fault's name on the command line.
#[must_use]
pub const fn fault(code: FaultCode) -> &'static str {
    match code {
        FaultCode::LinkSilent => "link-silent",
        FaultCode::OverCurrent => "over-current",
        FaultCode::Chip => "chip",
        FaultCode::Timeout => "timeout",
        FaultCode::Bus => "bus",
        FaultCode::BrownOut => "brown-out",
        FaultCode::JobStalled => "job-stalled",
        FaultCode::Watchdog => "watchdog",
        FaultCode::Panic => "panic",
        FaultCode::Flash => "flash",
    }
}

/// The fault of a name.
#[must_use]
pub fn fault_of(name: &str) -> Option<FaultCode> {
    use FaultCode as F;
    [
        F::LinkSilent,
        F::OverCurrent,
        F::Chip,
        F::Timeout,
        F::Bus,
        F::BrownOut,
        F::JobStalled,
        F::Watchdog,
        F::Panic,
        F::Flash,
    ]
    .into_iter()
    .find(|&code| fault(code) == name)
}

/// How a job ended, in words.
#[must_use]
pub fn job_end(end: JobEnd) -> String {
    match end {
        JobEnd::Finished => "finished".to_owned(),
        JobEnd::Aborted => "it was aborted (by request, or by a new session)".to_owned(),
        JobEnd::Fault(code) => format!("fault {}; `ohmrig info` says more", fault(code)),
        JobEnd::Disarmed => "the arming ran out".to_owned(),
        JobEnd::LostSample => "the next conversion was not started in time; use a longer interval, fewer columns or a faster link".to_owned(),
    }
}

const fn limit_name(limit: LimitName) -> &'static str {
    match limit {
        LimitName::Cell => "voltage across the selected cell, with tolerance (V)",
        LimitName::HalfSelect => "voltage across an unselected cell, with tolerance (V)",
        LimitName::Read => "voltage across a cell in a read, with tolerance (V)",
        LimitName::WidthMin => "shortest pulse (s)",
        LimitName::WidthMax => "longest pulse (s)",
        LimitName::Current => "current of a column (A)",
        LimitName::PulsesPerCell => "pulses per cell",
        LimitName::DosePerCell => "dose per cell (V s)",
        LimitName::EnergyPerCell => "energy per cell (J)",
        LimitName::Conversions => "conversions in one request",
        LimitName::Frame => "bytes of a reply",
        LimitName::JobCells => "cells of a job",
        LimitName::DacSpan => "output of the drivers (V)",
    }
}

const fn field_name(field: Field) -> &'static str {
    match field {
        Field::Name => "the length of the name (printable ASCII)",
        Field::Volts => "the voltage (V)",
        Field::Width => "the pulse width (s)",
        Field::Range => "the range",
        Field::Conversions => "the number of conversions",
        Field::Data => "the length of the data (bytes)",
        Field::Target => "a target conductance (S)",
        Field::Window => "the window (S)",
        Field::Staircase => "a pulse amplitude (V)",
        Field::Limits => "a limit",
        Field::Arm => "the arming time (ms)",
        Field::Gate => "a gate voltage (V)",
        Field::MaxPulses => "the pulse budget",
        Field::Scheme => "the scheme of unselected lines",
        Field::Job => "the job number",
        Field::Offset => "the offset into the results",
        Field::Interval => "the time between samples or of all of them (s)",
        Field::Samples => "the number of samples",
        Field::Model => "a number of the device model",
        Field::Source => "currents from anything but cells",
        Field::Algorithm => "the rule by which pulses follow reads",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_with_both_values() {
        let text = describe("pulse", &Refusal::Limit { limit: LimitName::Cell, asked: 5.5, allowed: 5.0 });
        assert_eq!(
            text,
            "pulse refused: limit voltage across the selected cell, with tolerance (V): 5.5 asked, 5 allowed"
        );
    }

    #[test]
    fn a_small_number_keeps_its_digits() {
        assert_eq!(number(2e-5), "2e-5");
        assert_eq!(number(0.25), "0.25");
    }

    #[test]
    fn a_fault_is_found_by_the_name_it_is_shown_with() {
        assert_eq!(fault_of("over-current"), Some(FaultCode::OverCurrent));
        assert_eq!(fault_of("nothing"), None);
    }
}
