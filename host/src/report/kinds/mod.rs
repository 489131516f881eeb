//! How each kind of measurement is shown: one file each, and one for kinds that have none. A new kind takes a file with
//! a function `show` and a line in [`KINDS`].

mod calibrate;
mod cells;
mod demo;
mod disturb;
mod drift;
mod endurance;
mod in_circuit;
mod iv;
mod mvm;
mod noise;
mod other;
mod program;
mod pulse;
mod read;
mod retention;
mod selftest;
mod tempco;

use super::page::Page;
use crate::run_file::Recorded;

/// Shows a measurement: says what it says in words, then in pictures. Settings, results and arrays are shown for every
/// kind by the report itself.
type Show = fn(&Recorded, &mut Page);

const KINDS: [(&str, Show); 16] = [
    ("calibrate", calibrate::show),
    ("calibrate check", calibrate::check),
    ("demo", demo::show),
    ("disturb", disturb::show),
    ("drift", drift::show),
    ("endurance", endurance::show),
    ("iv", iv::show),
    ("mvm", mvm::show),
    ("noise", noise::show),
    ("program", program::show),
    ("program-in-circuit", in_circuit::show),
    ("pulse", pulse::show),
    ("read", read::show),
    ("retention", retention::show),
    ("selftest", selftest::show),
    ("tempco", tempco::show),
];

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let found = KINDS.iter().find(|(kind, _)| *kind == recorded.kind);
    found.map_or(other::show as Show, |(_, show)| *show)(recorded, page);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_file::Arrays;
    use ndarray::array;
    use serde_json::{Value, json};

    fn recorded(kind: &str, arrays: Arrays, value: Value) -> Recorded {
        Recorded {
            id: 1,
            session: 1,
            kind: kind.to_owned(),
            digest: String::new(),
            settings: Value::Null,
            state: "open".to_owned(),
            started_unix_s: 0.0,
            ended_unix_s: None,
            temperature_k: None,
            calibration: None,
            value,
            error: None,
            arrays,
            pieces: Vec::new(),
        }
    }

    #[test]
    fn a_measurement_that_was_only_begun_or_has_other_arrays_than_expected_is_shown_all_the_same() {
        let odd: Arrays =
            ["target_s", "conductance_s", "pulses", "current_a", "reference_a", "deviation_relative"]
                .into_iter()
                .zip([
                    array![[1.0]],
                    array![[1.0, f64::NAN]],
                    array![[], []],
                    array![[0.0]],
                    array![[1.0], [2.0]],
                    array![[0.0]],
                ])
                .map(|(name, array)| (name.to_owned(), array))
                .collect();
        for (kind, _) in KINDS.iter().copied().chain([("unheard-of", other::show as Show)]) {
            for (arrays, value) in [
                (Arrays::new(), Value::Null),
                (odd.clone(), Value::Null),
                (odd.clone(), json!({"cells": [], "bands": [], "schemes": [], "moved": []})),
                (
                    odd.clone(),
                    json!({"cells": [{}], "bands": [{}], "schemes": [{"row": 0}], "moved": [{}], "left_out": [{}]}),
                ),
            ] {
                let mut page = Page::default();
                show(&recorded(kind, arrays, value), &mut page);
                assert!(page.finish("t").contains("</html>"));
            }
        }
    }
}
