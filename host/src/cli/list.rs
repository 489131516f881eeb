//! `ohmrig list`: what there is to open, and what is behind it.

use super::{Failure, Global, Output};
use crate::bench::profile;
use crate::client::{Client, Device, LinkError};
use crate::transport::{BAUD, SLOW_BAUD, Serial, Transport, TransportError};
use clap::Args;
use ohmrig_emulator::profile::Profile;
use serde_json::{Value, json};
use serialport::{SerialPortInfo, SerialPortType};
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct List {
    /// Don't open serial ports
    #[arg(long)]
    no_open: bool,
}

/// How long something behind a port may take to answer. A device does within milliseconds.
const PATIENCE: Duration = Duration::from_millis(400);

impl List {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        list_profiles(output)?;
        let ports = serialport::available_ports()
            .map_err(|error| Failure::failed(format!("serial ports can't be listed: {error}")))?;
        output.say(if self.no_open {
            "Serial ports (--port PATH; not opened):"
        } else {
            "Serial ports (--port PATH; those on USB were opened to see what is there):"
        });
        if ports.is_empty() {
            output.say("  none");
        }
        let mut listed = Vec::new();
        for port in &ports {
            let found = self.look(port);
            let description = describe(&port.port_type);
            output.say(format_args!("  {:<24} {description}{}", port.port_name, found.text()));
            listed.push(found.json(&port.port_name, &description));
        }
        output.set("serial_ports", listed);
        #[cfg(feature = "probe")]
        list_probes(&mut crate::flash::UsbProbes::default(), output);
        let qemu = qemu_problem(global);
        output.say("ARM image in QEMU (--port qemu:PROFILE):");
        output.say(format_args!("  {}", qemu.as_deref().unwrap_or("ready")));
        output.set("qemu.ready", qemu.is_none());
        output.set("qemu.problem", qemu);
        Ok(())
    }

    /// What is behind a port.
    fn look(&self, port: &SerialPortInfo) -> Found {
        // Whatever hangs at a port that isn't on USB, it isn't one of our boards.
        if self.no_open || !matches!(port.port_type, SerialPortType::UsbPort(_)) {
            return Found::NotOpened;
        }
        let mut last = Found::Silent;
        for baud in [BAUD, SLOW_BAUD] {
            let name = format!("{}@{baud}", port.port_name);
            last = match Serial::open(&name) {
                Ok(transport) => ask(Box::new(transport), &port.port_name, baud),
                Err(error) => Found::NotOpen(error),
            };
            if matches!(last, Found::Ours { .. }) {
                break;
            }
        }
        last
    }
}

/// What is behind a port.
enum Found {
    /// It wasn't opened.
    NotOpened,
    /// It can't be.
    NotOpen(TransportError),
    /// Nothing answers.
    Silent,
    /// Something else answers, or an ohmrig of another protocol version.
    Other(LinkError),
    /// One of ours, at this rate.
    Ours { device: Box<Device>, baud: u32 },
}

/// Asks who is there.
fn ask(transport: Box<dyn Transport>, port: &str, baud: u32) -> Found {
    match Client::connect_within(transport, port, PATIENCE) {
        Ok(client) => Found::Ours { device: Box::new(client.device().clone()), baud },
        Err(LinkError::NoAnswer { .. }) => Found::Silent,
        Err(LinkError::Transport(error)) => Found::NotOpen(error),
        Err(error) => Found::Other(error),
    }
}

impl Found {
    /// For people, behind the port's name.
    fn text(&self) -> String {
        match self {
            Self::NotOpened => String::new(),
            Self::NotOpen(error) => format!("\n    {error}"),
            Self::Silent => "\n    no ohmrig answers".to_owned(),
            Self::Other(error) => format!("\n    {error}"),
            Self::Ours { device, baud } => format!(
                "\n    {}{}, {} rows × {} columns, firmware {} (git {}){}",
                device.board,
                if device.emulated { " EMULATED" } else { "" },
                device.rows,
                device.columns,
                device.firmware,
                device.git,
                if *baud == BAUD { String::new() } else { format!(", at {baud} Bd: --port PATH@{baud}") },
            ),
        }
    }

    fn json(&self, port: &str, description: &str) -> Value {
        let device = match self {
            Self::Ours { device, baud } => json!({
                "board": device.board, "emulated": device.emulated, "rows": device.rows, "columns": device.columns,
                "firmware": device.firmware, "git": device.git, "build": device.build, "baud": baud,
            }),
            _ => Value::Null,
        };
        let problem = match self {
            Self::NotOpen(error) => Some(error.to_string()),
            Self::Other(error) => Some(error.to_string()),
            _ => None,
        };
        json!({
            "port": port, "description": description, "opened": !matches!(self, Self::NotOpened | Self::NotOpen(_)),
            "device": device, "problem": problem,
        })
    }
}

fn list_profiles(output: &mut Output) -> Result<(), Failure> {
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
    Ok(())
}

/// Probes are listed without touching them, and so without what is behind them: asking would stop the processor there.
#[cfg(feature = "probe")]
fn list_probes(probes: &mut impl crate::flash::Probes, output: &mut Output) {
    output.say("Debug probes (`ohmrig flash --probe SELECTOR`; not opened, that would stop the board):");
    let found = probes.list();
    if found.is_empty() {
        output.say("  none");
    }
    for probe in &found {
        let permitted = if probe.permitted { "" } else { "  this user may not open it (docs/flashing.md)" };
        output.say(format_args!("  {:<40} {}{permitted}", probe.selector, probe.name));
    }
    let found: Vec<Value> = found
        .iter()
        .map(|probe| json!({"selector": probe.selector, "name": probe.name, "permitted": probe.permitted}))
        .collect();
    output.set("probes", found);
}

fn describe(kind: &SerialPortType) -> String {
    match kind {
        SerialPortType::UsbPort(usb) => {
            format!("USB {:04x}:{:04x} {}", usb.vid, usb.pid, usb.product.as_deref().unwrap_or(""))
        }
        SerialPortType::PciPort => "PCI".to_owned(),
        SerialPortType::BluetoothPort => "Bluetooth".to_owned(),
        SerialPortType::Unknown => String::new(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Emulation, profile};
    use crate::device::EmulatedDevice;
    use crate::transport::{InProcess, Pace};

    /// A port where something sends the same bytes for ever, or nothing.
    struct Noise(&'static [u8]);

    impl Transport for Noise {
        fn write_all(&mut self, _: &[u8]) -> Result<(), TransportError> {
            Ok(())
        }

        fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
            std::thread::sleep(timeout.min(Duration::from_millis(5)));
            buffer[..self.0.len()].copy_from_slice(self.0);
            Ok(self.0.len())
        }

        fn pace(&self) -> Pace {
            Pace::DEVICE
        }
    }

    #[test]
    fn a_device_behind_a_port_says_who_it_is() {
        let emulation = Emulation::new(profile(Some("ideal")).unwrap(), 1);
        let device = EmulatedDevice::power_up(&emulation).unwrap();
        let found = ask(Box::new(InProcess::new(device)), "COM7", SLOW_BAUD);
        let text = found.text();
        assert!(text.contains("or16-emulated EMULATED, 16 rows × 16 columns"), "{text}");
        assert!(text.contains("--port PATH@115200"), "{text}");
        let json = found.json("COM7", "USB");
        assert_eq!((&json["device"]["board"], &json["problem"]), (&json!("or16-emulated"), &Value::Null));
    }

    #[test]
    fn a_silent_port_and_one_that_talks_something_else_are_told_apart_in_a_short_time() {
        let start = std::time::Instant::now();
        assert!(matches!(ask(Box::new(Noise(b"")), "COM7", BAUD), Found::Silent));
        let other = ask(Box::new(Noise(b"$GPGGA,\0")), "COM7", BAUD);
        assert!(other.text().contains("not an ohmrig"), "{}", other.text());
        assert_eq!(other.json("COM7", "")["device"], Value::Null);
        // Twice the patience, and the last of the hellos that began within it.
        assert!(start.elapsed() < 4 * PATIENCE, "{:?}", start.elapsed());
    }
}
