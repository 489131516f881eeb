//! `ohmrig info`: who the device is and how it is.

use super::open::open;
use super::output::si;
use super::{Failure, Global, Output};
use crate::instrument::refusal;
use ohmrig_protocol::message::{Limits, ResetReason};
use serde_json::{Value, json};

pub(super) fn run(global: &Global, output: &mut Output) -> Result<(), Failure> {
    let mut opened = open(global, output)?;
    let status = opened.instrument.status()?;
    let device = opened.instrument.device();
    let welcome = opened.instrument.client().welcome();
    output.say(format_args!(
        "firmware {} (git {}), front end {}",
        device.firmware, device.git, device.front_end
    ));
    output.say(format_args!("started  {}, start {} of this board", reset(device.reset), device.boots));
    if let Some((text, boot)) = &device.last_panic {
        output.say(format_args!("panicked before start {boot}: {text}"));
    }
    output.say(format_args!("array    {}", super::budget::quoted(&device.array)));
    if let Some(problem) = &device.storage {
        output.say(format_args!(
            "flash    NOT IN USE, nothing can be written to cells: {}",
            refusal::storage(problem)
        ));
    }
    output.say(format_args!(
        "link     frames of {} bytes, {} requests in flight, jobs of {} cells",
        welcome.max_frame, welcome.window, welcome.job_cells
    ));
    let converters = &device.converters;
    let ranges: Vec<f64> = converters.feedback.iter().map(|r| f64::from(r.0)).filter(|r| *r > 0.0).collect();
    let full: Vec<String> = ranges
        .iter()
        .enumerate()
        .map(|(i, r)| {
            let volts = f64::from(converters.adc_linear) * f64::from(converters.adc_step.0);
            format!("{i}: {} (±{})", si(*r, "Ω"), si(volts / r, "A"))
        })
        .collect();
    output.say(format_args!("ranges   {}", full.join(", ")));
    output.say(format_args!("limits   {}", limits_text(&device.limits)));
    if device.limits != device.board_limits {
        output.say(format_args!("of board {}", limits_text(&device.board_limits)));
    }
    output.say(format_args!(
        "status   {:?}, {}, temperature {}",
        status.mode,
        if status.armed_ms > 0 { format!("armed for {} ms", status.armed_ms) } else { "disarmed".to_owned() },
        status.temperature.map_or("not measured yet".to_owned(), |t| format!("{:.2} °C", t.0 - 273.15))
    ));
    match status.fault {
        Some(fault) => output.say(format_args!(
            "fault    {} at instrument time {} s{}; clear it with `ohmrig safe --clear-fault {}`",
            refusal::fault(fault.code),
            fault.at_ns as f64 * 1e-9,
            fault.chip.map(|(kind, index)| format!(", chip {kind:?} {index}")).unwrap_or_default(),
            refusal::fault(fault.code)
        )),
        None => output.say(match device.last_fault {
            Some((fault, boot)) => {
                format!("fault    none; the last was {} in start {boot}", refusal::fault(fault.code))
            }
            None => "fault    none".to_owned(),
        }),
    }
    let c = status.counters;
    output.say(format_args!(
        "counters {} frames, {} bad, {} repeated, {} out of order; {} conversions, {} pulses",
        c.frames, c.bad_frames, c.repeated, c.unexecuted, c.conversions, c.pulses
    ));
    if let Some(stack) = status.stack {
        output.say(format_args!("stack    {} of {} bytes used at most", stack.used, stack.bytes));
    }
    output.set("stack", status.stack.map(|stack| json!({"bytes": stack.bytes, "used": stack.used})));
    output.set("firmware", &device.firmware);
    output.set("git", &device.git);
    output.set("front_end", &device.front_end);
    output.set("reset", format!("{:?}", device.reset));
    output.set("boots", device.boots);
    output.set("array", &device.array);
    output.set("storage", device.storage.as_ref().map(refusal::storage));
    output.set("last_fault", device.last_fault.map(|(fault, _)| refusal::fault(fault.code)));
    output.set("last_fault_boot", device.last_fault.map(|(_, boot)| boot));
    output.set("last_panic", device.last_panic.as_ref().map(|(text, _)| text));
    output.set("last_panic_boot", device.last_panic.as_ref().map(|(_, boot)| boot));
    output.set("link.max_frame_bytes", welcome.max_frame);
    output.set("link.window", welcome.window);
    output.set("link.job_cells", welcome.job_cells);
    output.set("ranges_ohm", ranges);
    output.set("reference_ohm", converters.reference.0);
    output.set("limits", limits_json(&device.limits));
    output.set("board_limits", limits_json(&device.board_limits));
    output.set("mode", format!("{:?}", status.mode));
    output.set("armed_s", f64::from(status.armed_ms) * 1e-3);
    output.set("fault", status.fault.map(|fault| refusal::fault(fault.code)));
    output.set("temperature_k", status.temperature.map(|t| t.0));
    output.set("instrument_time_s", status.at_ns as f64 * 1e-9);
    output.set("counters.frames", c.frames);
    output.set("counters.bad_frames", c.bad_frames);
    output.set("counters.repeated", c.repeated);
    output.set("counters.unexecuted", c.unexecuted);
    output.set("counters.pulses", c.pulses);
    output.set("counters.conversions", c.conversions);
    Ok(())
}

fn limits_text(limits: &Limits) -> String {
    format!(
        "cell {} V, half-selected {} V, read {} V, pulses {} to {}, column {}; per cell in all {} pulses, {}, {}",
        limits.cell.0,
        limits.half_select.0,
        limits.read.0,
        si(f64::from(limits.width_min.0), "s"),
        si(f64::from(limits.width_max.0), "s"),
        si(f64::from(limits.current.0), "A"),
        limits.pulses_per_cell,
        si(f64::from(limits.dose_per_cell.0), "V s"),
        si(f64::from(limits.energy_per_cell.0), "J"),
    )
}

fn limits_json(limits: &Limits) -> Value {
    json!({
        "cell_v": limits.cell.0, "half_select_v": limits.half_select.0, "read_v": limits.read.0,
        "width_min_s": limits.width_min.0, "width_max_s": limits.width_max.0,
        "current_a": limits.current.0, "pulses_per_cell": limits.pulses_per_cell,
        "dose_per_cell_v_s": limits.dose_per_cell.0, "energy_per_cell_j": limits.energy_per_cell.0,
    })
}

/// Why it started, in words.
fn reset(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::PowerOn => "at power-on",
        ResetReason::External => "by its reset pin or a debugger",
        ResetReason::Watchdog => "by its watchdog",
        ResetReason::BrownOut => "after a supply dip",
        ResetReason::Panic => "after a firmware panic",
        ResetReason::Unknown => "for a reason the board can't tell",
    }
}
