//! The netlist as written: symbols with their pins, groups of parts with patterns for their nets; and written out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::Connection;
use crate::Result;

/// A net's name for a pin that stays open.
const OPEN: &str = "NC";

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    /// Nets a ground pin may be on.
    pub(super) grounds: Vec<String>,
    /// Nets a supply pin may be on.
    pub(super) supplies: Vec<String>,
    /// Of them, those that must have a capacitor of 10 µF or more.
    pub(super) bulk: Vec<String>,
    pub(super) symbols: BTreeMap<String, Symbol>,
    pub(super) parts: Vec<Group>,
    /// By board: nets of each pin of the processor.
    pub(super) hosts: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

/// A kind of part.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Symbol {
    /// What to order, unless the value says it.
    pub(super) part: Option<String>,
    pub(super) package: String,
    /// Where the pins are from.
    pub(super) source: String,
    pub(super) numbers: Numbers,
    #[serde(default)]
    channels: Vec<String>,
    /// "number name kind".
    pins: Vec<String>,
    /// By supply pin: what is beside it.
    #[serde(default)]
    pub(super) supplies: BTreeMap<String, String>,
    /// For every part that doesn't say otherwise.
    #[serde(default)]
    nets: BTreeMap<String, String>,
}

/// How far the pin numbers can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Numbers {
    /// Read in the source.
    Read,
    /// The usual ones, to be held against the data sheet.
    Standard,
    /// None: names stand in for them.
    Names,
}

/// Parts of one kind and purpose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    pub(super) symbol: String,
    refs: Vec<String>,
    /// Kind of chip, as the firmware selects it.
    pub(super) select: Option<String>,
    pub(super) value: Option<String>,
    pub(super) role: String,
    #[serde(default)]
    nets: BTreeMap<String, String>,
}

impl Group {
    /// Every reference, ranges written out.
    pub(super) fn references(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for reference in &self.refs {
            let Some((first, last)) = reference.split_once("..") else {
                all.push(reference.clone());
                continue;
            };
            let digits = |text: &str| text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
            let (letters, from) = first.split_at(digits(first));
            let (_, to) = last.split_at(digits(last));
            for number in from.parse::<u32>()?..=to.parse::<u32>()? {
                all.push(format!("{letters}{number}"));
            }
        }
        Ok(all)
    }

    /// As people write it: "U10, U11" or "R100–R115".
    pub(super) fn named(&self) -> String {
        self.refs.iter().map(|range| range.replace("..", "–")).collect::<Vec<_>>().join(", ")
    }
}

impl Symbol {
    /// Number, name and kind of each pin.
    fn pins(&self) -> Result<Vec<[&str; 3]>> {
        let split = |pin: &'_ String| -> Option<[String; 3]> {
            let mut words = pin.split(' ').map(str::to_owned);
            let three = [words.next()?, words.next()?, words.next()?];
            words.next().is_none().then_some(three)
        };
        self.pins
            .iter()
            .map(|pin| {
                split(pin).ok_or_else(|| format!("not \"number name kind\": {pin}"))?;
                let mut words = pin.split(' ');
                Ok([(); 3].map(|()| words.next().unwrap_or_default()))
            })
            .collect()
    }

    /// The pattern whose channels include the pin `name`, and which channel it is.
    fn pattern<'a>(
        &self,
        nets: &'a BTreeMap<String, String>,
        name: &str,
    ) -> Option<(&'a str, Option<usize>)> {
        if let Some(net) = nets.get(name) {
            return Some((net, None));
        }
        nets.iter().filter(|(pattern, _)| pattern.contains('*')).find_map(|(pattern, net)| {
            let at = self.channels.iter().position(|channel| pattern.replace('*', channel) == name)?;
            Some((net.as_str(), Some(at)))
        })
    }
}

impl Source {
    /// Every pin of every part, capacitors beside supply pins included.
    pub(super) fn connections(&self) -> Result<Vec<Connection>> {
        let mut all = Vec::new();
        let mut beside = 1000;
        for group in &self.parts {
            let name = &group.symbol;
            let symbol = self.symbols.get(name).ok_or_else(|| format!("no symbol {name}"))?;
            let pins = symbol.pins()?;
            let unknown = group.nets.keys().chain(symbol.nets.keys()).find(|key| {
                let is = |pin: &[&str; 3]| {
                    pin[1] == key.as_str() || symbol.channels.iter().any(|c| key.replace('*', c) == pin[1])
                };
                !pins.iter().any(is)
            });
            if let Some(key) = unknown {
                return Err(format!("{}: {name} has no pin {key}", group.named()).into());
            }
            let value = group.value.clone().or_else(|| symbol.part.clone()).unwrap_or_default();
            for (part, reference) in group.references()?.into_iter().enumerate() {
                for [number, pin, kind] in &pins {
                    let found =
                        symbol.pattern(&group.nets, pin).or_else(|| symbol.pattern(&symbol.nets, pin));
                    let (net, channel) =
                        found.ok_or_else(|| format!("{reference} pin {number} ({pin}) has no net"))?;
                    let line = channel.map_or(part, |channel| part * symbol.channels.len() + channel);
                    let net = net
                        .replace("{line}", &line.to_string())
                        .replace("{part}", &part.to_string())
                        .replace("{group}", &format!("{}{}", line / 2, line % 2));
                    all.push(Connection {
                        reference: reference.clone(),
                        value: value.clone(),
                        package: symbol.package.clone(),
                        number: (*number).to_owned(),
                        name: (*pin).to_owned(),
                        kind: (*kind).to_owned(),
                        net: (net != OPEN).then_some(net),
                    });
                }
            }
        }
        let mut capacitors = Vec::new();
        for pin in all.iter().filter(|pin: &&Connection| pin.kind == "supply") {
            for value in self.beside(&pin.reference, &pin.name)? {
                let ends = [pin.net.clone(), Some(self.return_of(&all, &pin.reference))];
                for (end, net) in (1..).zip(ends) {
                    capacitors.push(Connection {
                        reference: format!("C{beside}"),
                        value: format!("{value} X7R, at {} pin {}", pin.reference, pin.number),
                        package: "0603".to_owned(),
                        number: format!("{end}"),
                        name: format!("{end}"),
                        kind: "passive".to_owned(),
                        net,
                    });
                }
                beside += 1;
            }
        }
        all.extend(capacitors);
        Ok(all)
    }

    /// The capacitors beside a supply pin.
    fn beside(&self, reference: &str, pin: &str) -> Result<Vec<&str>> {
        let symbol = self.symbol_of(reference)?;
        Ok(match symbol.supplies.get(pin).map(String::as_str) {
            None | Some("inside") => Vec::new(),
            Some(values) => values.split(" + ").collect(),
        })
    }

    fn symbol_of(&self, reference: &str) -> Result<&Symbol> {
        for group in &self.parts {
            if group.references()?.iter().any(|one| one == reference) {
                return self.symbols.get(&group.symbol).ok_or_else(|| "no such symbol".into());
            }
        }
        Err(format!("no part {reference}").into())
    }

    /// The ground a part's capacitors go to: its own, or the first there is.
    fn return_of(&self, all: &[Connection], reference: &str) -> String {
        let own = all.iter().find(|pin| pin.reference == reference && pin.kind == "ground");
        own.and_then(|pin| pin.net.clone()).or_else(|| self.grounds.first().cloned()).unwrap_or_default()
    }

    /// Number of parts.
    pub(super) fn references(&self, pins: &[Connection]) -> usize {
        pins.iter().map(|pin| pin.reference.as_str()).collect::<BTreeSet<_>>().len()
    }
}
