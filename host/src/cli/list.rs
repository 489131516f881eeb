//! `ohmrig list`: what there is to open.

use super::{Failure, Global, Output};
use crate::bench::profile;
use ohmrig_emulator::profile::Profile;
use serde_json::json;

pub(super) fn run(global: &Global, output: &mut Output) -> Result<(), Failure> {
    output.say("Emulated boards (--port emulated:PROFILE):");
    let mut profiles = Vec::new();
    for name in Profile::names() {
        let profile = profile(Some(name))?;
        let default = if name == Profile::DEFAULT { "  [default]" } else { "" };
        output.say(format_args!("  {name:<12} {}{default}", profile.description));
        profiles.push(
            json!({"name": name, "description": profile.description, "default": name == Profile::DEFAULT}),
        );
    }
    output.set("profiles", profiles);
    let ports = serialport::available_ports()
        .map_err(|error| Failure::failed(format!("serial ports can't be listed: {error}")))?;
    output.say("Serial ports (--port PATH; not probed):");
    if ports.is_empty() {
        output.say("  none");
    }
    for port in &ports {
        output.say(format_args!("  {:<24} {}", port.port_name, describe(&port.port_type)));
    }
    let ports: Vec<_> = ports
        .iter()
        .map(|port| json!({"port": port.port_name, "description": describe(&port.port_type)}))
        .collect();
    output.set("serial_ports", ports);
    let qemu = qemu_problem(global);
    output.say("ARM image in QEMU (--port qemu:PROFILE):");
    output.say(format_args!("  {}", qemu.as_deref().unwrap_or("ready")));
    output.set("qemu.ready", qemu.is_none());
    output.set("qemu.problem", qemu);
    Ok(())
}

fn describe(kind: &serialport::SerialPortType) -> String {
    match kind {
        serialport::SerialPortType::UsbPort(usb) => {
            format!("USB {:04x}:{:04x} {}", usb.vid, usb.pid, usb.product.as_deref().unwrap_or(""))
        }
        serialport::SerialPortType::PciPort => "PCI".to_owned(),
        serialport::SerialPortType::BluetoothPort => "Bluetooth".to_owned(),
        serialport::SerialPortType::Unknown => String::new(),
    }
}

/// Why QEMU can't be used, if it can't.
#[cfg(unix)]
fn qemu_problem(global: &Global) -> Option<String> {
    crate::qemu::check(global.firmware.as_deref()).err().map(|error| error.to_string())
}

#[cfg(not(unix))]
fn qemu_problem(_: &Global) -> Option<String> {
    Some("needs a Unix system".to_owned())
}
