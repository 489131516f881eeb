//! What a command says: lines for people, or one JSON object for scripts, and progress on stderr.

use super::failure::Failure;
use crate::run_file::Measurement;
use crate::transport::inject::{Fault, Inject, Tally};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::sync::Arc;

/// How much was said at some time.
#[derive(Debug)]
pub(super) struct Mark {
    lines: usize,
    fields: Map<String, Value>,
}

/// Collects what a command has to say.
#[derive(Debug)]
pub struct Output {
    json: bool,
    /// The object is out already.
    announced: bool,
    fields: Map<String, Value>,
    /// Faults of the link, counted until the end.
    faults: Option<Arc<Tally>>,
    /// Lines for people so far.
    lines: RefCell<Vec<String>>,
    /// The measurement whose result this is.
    measurement: Option<Measurement>,
}

impl Output {
    /// For people, or as JSON.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let mut fields = Map::new();
        // In every command's output, whether or not there is a device.
        for key in ["board", "profile", "seed"] {
            fields.insert(key.to_owned(), Value::Null);
        }
        Self { json, announced: false, fields, faults: None, lines: RefCell::default(), measurement: None }
    }

    /// A line for people.
    pub fn say(&self, line: impl fmt::Display) {
        let line = line.to_string();
        if !self.json {
            // A closed pipe (`| head`) is no reason to stop what is being measured.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
        self.lines.borrow_mut().push(line);
    }

    /// A line for people that isn't part of a result: one of many, to be seen at once and not kept.
    #[cfg(feature = "probe")]
    pub(super) fn show(&self, line: impl fmt::Display) {
        if !self.json {
            let _ = writeln!(std::io::stdout(), "{line}");
            let _ = std::io::stdout().flush();
        }
    }

    /// Whether what is said is one JSON object.
    #[cfg(feature = "probe")]
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// How much was said so far.
    pub(super) fn mark(&self) -> Mark {
        Mark { lines: self.lines.borrow().len(), fields: self.fields.clone() }
    }

    /// What was said since a mark, to be said again by another process if this one doesn't live to the end.
    pub(super) fn said_since(&self, mark: &Mark) -> Value {
        let fields: Map<String, Value> = self
            .fields
            .iter()
            .filter(|(name, value)| mark.fields.get(*name) != Some(*value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let lines = self.lines.borrow();
        json!({"lines": lines.get(mark.lines..).unwrap_or_default(), "fields": fields})
    }

    /// Says what [`said_since`](Self::said_since) kept.
    pub(super) fn say_again(&mut self, said: &Value) {
        for line in said["lines"].as_array().into_iter().flatten() {
            self.say(line.as_str().unwrap_or_default());
        }
        for (name, value) in said["fields"].as_object().into_iter().flatten() {
            self.fields.insert(name.clone(), value.clone());
        }
    }

    /// The result of this measurement is what the command says; noted in the run file once it is said.
    pub(super) fn is_result_of(&mut self, measurement: Measurement) {
        self.measurement = Some(measurement);
    }

    /// A field for scripts; dots in `name` make nested objects.
    pub fn set(&mut self, name: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        let mut object = &mut self.fields;
        let mut names = name.split('.').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                object.insert(name.to_owned(), value);
                return;
            }
            let nested = object.entry(name).or_insert_with(|| json!({}));
            match nested {
                Value::Object(map) => object = map,
                _ => return,
            }
        }
    }

    /// For a command that serves until it is ended: prints the object now, as everything it has to say is known.
    pub fn announce(&mut self) {
        self.fields.insert("ok".to_owned(), Value::Bool(true));
        if self.json {
            let _ = writeln!(std::io::stdout(), "{}", Value::Object(self.fields.clone()));
            self.announced = true;
        }
        let _ = std::io::stdout().flush();
    }

    /// Says that the link is damaged on purpose; what happened is reported at the end.
    pub(super) fn injecting(&mut self, inject: Inject, tally: Arc<Tally>) {
        self.say(format_args!("link     FAULTS INJECTED on purpose: {inject}"));
        self.set("link.inject", inject.to_string());
        self.faults = Some(tally);
    }

    /// What was injected, as fields and as a line.
    fn report_faults(&mut self) {
        let Some(tally) = self.faults.take() else { return };
        let mut counts = Vec::new();
        for fault in Fault::ALL {
            self.set(&format!("link.injected.{}", fault.name()), tally.count(fault));
            if tally.count(fault) > 0 {
                counts.push(format!("{} {}", fault.name(), tally.count(fault)));
            }
        }
        self.set("link.injected.frames", tally.frames());
        let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
        let line = format!("link faults injected: {counts} (in {} frames, both directions)", tally.frames());
        if self.announced {
            eprintln!("ohmrig: {line}");
        } else {
            self.say(line);
        }
    }

    /// A progress bar on stderr; hidden where stderr is no terminal.
    #[must_use]
    pub fn bar(&self, length: usize, what: &str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg:>28} [{bar:40}] {pos}/{len} {elapsed}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        bar
    }

    /// Ends a command: prints the object, or the failure, and returns the exit status.
    pub fn finish(mut self, result: Result<(), Failure>) -> u8 {
        self.report_faults();
        let (status, ok) = match &result {
            Ok(()) => (0, true),
            Err(failure) => (failure.kind.status(), false),
        };
        self.fields.insert("ok".to_owned(), Value::Bool(ok));
        if let Err(failure) = &result {
            let error = json!({"kind": failure.kind.name(), "message": failure.message});
            self.fields.insert("error".to_owned(), error);
            if !self.json || self.announced {
                eprintln!("ohmrig: {failure}");
            }
        }
        if let (Err(failure), Some(measurement)) = (&result, &mut self.measurement) {
            // Why it stopped is good to know later; the failure itself is told in any case.
            if let Err(error) = measurement.failed(&failure.message) {
                log::debug!("{error}");
            }
        }
        if self.json && !self.announced {
            let _ = writeln!(std::io::stdout(), "{}", Value::Object(self.fields));
        }
        let _ = std::io::stdout().flush();
        if let (Ok(()), Some(measurement)) = (&result, &self.measurement)
            && let Err(error) = measurement.said()
        {
            log::warn!("the next command of this kind will say this result again: {error}");
        }
        status
    }
}

/// A number with an SI prefix, four digits: `47.00 µS`.
#[must_use]
pub(super) fn si(value: f64, unit: &str) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value} {unit}");
    }
    const PREFIXES: [(f64, &str); 8] = [
        (1e6, "M"),
        (1e3, "k"),
        (1.0, ""),
        (1e-3, "m"),
        (1e-6, "µ"),
        (1e-9, "n"),
        (1e-12, "p"),
        (1e-15, "f"),
    ];
    let (scale, prefix) =
        PREFIXES.into_iter().find(|&(scale, _)| value.abs() >= 0.99995 * scale).unwrap_or(PREFIXES[7]);
    let scaled = value / scale;
    let digits = if scaled.abs() >= 100.0 {
        1
    } else if scaled.abs() >= 10.0 {
        2
    } else {
        3
    };
    format!("{scaled:.digits$} {prefix}{unit}")
}

/// A fraction in percent.
#[must_use]
pub(super) fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_make_nested_objects() {
        let mut output = Output::new(true);
        output.set("mvm.l2_relative", 0.5);
        output.set("mvm.vectors", 3);
        assert_eq!(output.fields["mvm"], json!({"l2_relative": 0.5, "vectors": 3}));
        assert_eq!(output.fields["board"], Value::Null);
    }

    #[test]
    fn numbers_get_the_prefix_that_fits() {
        assert_eq!(si(47.0e-6, "S"), "47.00 µS");
        assert_eq!(si(1e-3, "A"), "1.000 mA");
        assert_eq!(si(-2.5e3, "Ω"), "-2.500 kΩ");
        assert_eq!(si(0.0, "V"), "0 V");
    }
}
