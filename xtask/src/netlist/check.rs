//! What must hold of the netlist, and what the boards' pin tables say.

use std::collections::{BTreeMap, BTreeSet};

use super::Connection;
use super::source::Source;

/// Everything that is wrong, a sentence each.
pub(super) fn complaints(source: &Source, pins: &[Connection]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut seen = BTreeSet::new();
    let mut nets: BTreeMap<&str, Vec<&Connection>> = BTreeMap::new();
    for pin in pins {
        let Connection { reference, number, name, kind, net, .. } = pin;
        if !seen.insert((reference, number)) {
            complaints.push(format!("{reference} is there twice (pin {number})"));
        }
        match (kind.as_str(), net) {
            ("nc", Some(net)) => complaints.push(format!("{reference} pin {number} ({name}) is on {net}")),
            ("supply", Some(net)) if !source.supplies.contains(net) => {
                complaints.push(format!("supply pin {name} of {reference} is on {net}"));
            }
            ("ground", Some(net)) if !source.grounds.contains(net) => {
                complaints.push(format!("ground pin {name} of {reference} is on {net}"));
            }
            ("supply" | "ground" | "input" | "analog" | "passive", None) if name != "NC" => {
                complaints.push(format!("{reference} pin {number} ({name}, {kind}) is open"));
            }
            _ => {}
        }
        if let Some(net) = net {
            nets.entry(net).or_default().push(pin);
        }
    }
    for (net, on) in &nets {
        if on.len() < 2 {
            complaints.push(format!("net {net} has one pin: {} pin {}", on[0].reference, on[0].number));
        }
        let driven = |pin: &&&Connection| pin.kind == "output" && pin.value != "LM339PW";
        // Data lines that several parts drive are open until selected.
        if on.iter().filter(driven).count() > 1 && !net.ends_with("_MISO") {
            complaints.push(format!("net {net} has several drivers"));
        }
        let hears = on.iter().any(|pin| matches!(pin.kind.as_str(), "input" | "analog"));
        let all_hear = on.iter().all(|pin| matches!(pin.kind.as_str(), "input" | "nc"));
        if hears && all_hear {
            complaints.push(format!("net {net} has no driver"));
        }
    }
    for (name, symbol) in &source.symbols {
        let needs = pins.iter().filter(|pin| pin.kind == "supply").filter(|pin| {
            symbol.part.as_deref() == Some(pin.value.as_str()) && !symbol.supplies.contains_key(&pin.name)
        });
        for pin in needs.map(|pin| pin.name.as_str()).collect::<BTreeSet<_>>() {
            complaints.push(format!("nothing is said of what decouples {pin} of {name}"));
        }
    }
    for supply in &source.bulk {
        let large = |pin: &&Connection| pin.reference.starts_with('C') && pin.value.starts_with("10 µF");
        if !pins.iter().filter(large).any(|pin| pin.net.as_ref() == Some(supply)) {
            complaints.push(format!("{supply} has no 10 µF"));
        }
    }
    complaints
}

/// Nets of the processor's connector, supplies and grounds apart.
#[cfg(test)]
pub(super) fn host_nets(pins: &[Connection]) -> BTreeSet<String> {
    let on = pins.iter().filter(|pin| pin.reference == "J5" && pin.kind == "passive");
    on.filter_map(|pin| pin.net.clone()).filter(|net| net != "+3V3").collect()
}

/// What a board's `AnalogParts` say: the nets of each pin. A signal is named as its net; `drive_` is the bus of DACs and
/// switches both.
#[cfg(test)]
pub(super) fn pin_table(board: &str) -> BTreeMap<String, Vec<String>> {
    let table = board.split_once("struct AnalogParts {").and_then(|(_, rest)| rest.split_once('}'));
    let lines = table.map_or("", |(table, _)| table).lines().map(str::trim);
    let entries = lines.filter(|line| !line.starts_with("//")).filter_map(|line| {
        let (signal, pin) = line.strip_suffix(',')?.split_once(": ")?;
        // Peripherals (SPI1, DMA1_CH1, PIO0) are no pins: these are a port and a number, or PIN_ and a number.
        let number = pin.strip_prefix("PIN_").or_else(|| {
            pin.strip_prefix('P').and_then(|rest| rest.strip_prefix(|port: char| port.is_ascii_uppercase()))
        })?;
        number.chars().all(|digit| digit.is_ascii_digit()).then_some((signal, pin))
    });
    entries
        .map(|(signal, pin)| {
            let net = signal.to_uppercase();
            let nets = match net.strip_prefix("DRIVE_") {
                Some(line) => vec![format!("DAC_{line}"), format!("SWITCH_{line}")],
                None => vec![net],
            };
            (pin.to_owned(), nets)
        })
        .collect()
}
