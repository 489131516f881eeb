//! What is made of the netlist: one line per pin, and the tables of the page.

use std::{collections::BTreeMap, fmt::Write};

use super::Connection;
use super::source::{Numbers, Source};
use crate::{Result, page::with_table};

/// One line per pin: reference, value, package, pin, name, net (empty: open).
pub(super) fn csv(pins: &[Connection]) -> String {
    let mut text = "reference,value,package,pin,name,net\n".to_owned();
    for pin in pins {
        let Connection { reference, value, package, number, name, net, .. } = pin;
        let net = net.as_deref().unwrap_or_default();
        writeln!(text, "{reference},\"{value}\",\"{package}\",{number},{name},{net}").unwrap_or_default();
    }
    text
}

/// The page with its tables renewed.
pub(super) fn into_page(page: &str, source: &Source, pins: &[Connection]) -> Result<String> {
    let mut page = page.to_owned();
    for (name, table) in [
        ("parts", parts(source)),
        ("symbols", symbols(source)),
        ("hosts", hosts(source, pins)),
        ("test-points", test_points(source, pins)),
        ("counts", counts(source, pins)),
    ] {
        page = with_table(&page, name, &table)?;
    }
    Ok(page)
}

fn parts(source: &Source) -> String {
    let mut table = "| reference | part | for |\n| --- | --- | --- |\n".to_owned();
    for group in source.parts.iter().filter(|group| group.symbol != "TESTPOINT") {
        let symbol = source.symbols.get(&group.symbol);
        let part = symbol.and_then(|symbol| symbol.part.as_deref()).unwrap_or_default();
        let value = group.value.as_deref().unwrap_or_default();
        let what = [part, value].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ");
        let select = group.select.as_ref().map_or(String::new(), |kind| format!(" (`{kind}`)"));
        writeln!(table, "| {} | {what} | {}{select} |", group.named(), group.role).unwrap_or_default();
    }
    table
}

fn symbols(source: &Source) -> String {
    let mut table = "| part | package | pin numbers | from |\n| --- | --- | --- | --- |\n".to_owned();
    for symbol in source.symbols.values() {
        let Some(part) = &symbol.part else { continue };
        let numbers = match symbol.numbers {
            Numbers::Read => "read there",
            Numbers::Standard => "the usual ones, **to be checked**",
            Numbers::Names => "**to be taken from the data sheet**: names only",
        };
        writeln!(table, "| {part} | {} | {numbers} | {} |", symbol.package, symbol.source)
            .unwrap_or_default();
    }
    table
}

fn hosts(source: &Source, pins: &[Connection]) -> String {
    let names: Vec<&String> = source.hosts.keys().collect();
    let mut table = "| J5 | net |".to_owned();
    names.iter().for_each(|name| write!(table, " `{name}` |").unwrap_or_default());
    table.push_str("\n| --- | --- |");
    names.iter().for_each(|_| table.push_str(" --- |"));
    table.push('\n');
    for pin in pins.iter().filter(|pin| pin.reference == "J5") {
        let net = pin.net.as_deref().unwrap_or_default();
        write!(table, "| {} | {net} |", pin.number).unwrap_or_default();
        for host in source.hosts.values() {
            let found = host.iter().find(|(_, nets)| nets.iter().any(|has| has == net));
            let at = match found {
                Some((pin, _)) => pin.replace("PIN_", "GP"),
                None if net == "+3V3" => "3V3".to_owned(),
                None if pin.kind == "ground" => "GND".to_owned(),
                None => "–".to_owned(),
            };
            write!(table, " {at} |").unwrap_or_default();
        }
        table.push('\n');
    }
    table
}

fn test_points(source: &Source, pins: &[Connection]) -> String {
    let mut table = "| | net | what |\n| --- | --- | --- |\n".to_owned();
    for group in source.parts.iter().filter(|group| group.symbol == "TESTPOINT") {
        let named = group.named();
        let net = pins.iter().find(|pin| pin.reference == named).and_then(|pin| pin.net.as_deref());
        writeln!(table, "| {named} | {} | {} |", net.unwrap_or_default(), group.role).unwrap_or_default();
    }
    table
}

fn counts(source: &Source, pins: &[Connection]) -> String {
    let mut nets: BTreeMap<&str, usize> = BTreeMap::new();
    for net in pins.iter().filter_map(|pin| pin.net.as_deref()) {
        *nets.entry(net).or_default() += 1;
    }
    format!(
        "{} parts, {} pins, {} nets, in [`hardware/or16.csv`](hardware/or16.csv), one line per pin.\n",
        source.references(pins),
        pins.len(),
        nets.len()
    )
}
