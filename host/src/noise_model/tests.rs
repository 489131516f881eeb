use super::*;
use crate::run_file::{Arrays, Session};
use ndarray::array;
use std::process::Command;

fn recorded(id: i64, kind: &str, settings: Value, value: Value, arrays: &[(&str, Array2<f64>)]) -> Recorded {
    Recorded {
        id,
        session: 1,
        kind: kind.to_owned(),
        digest: String::new(),
        settings,
        state: "said".to_owned(),
        started_unix_s: 0.0,
        ended_unix_s: Some(1.0),
        temperature_k: None,
        calibration: None,
        value,
        error: None,
        arrays: arrays.iter().map(|(name, array)| ((*name).to_owned(), array.clone())).collect::<Arrays>(),
        pieces: Vec::new(),
    }
}

fn contents(measurements: Vec<Recorded>) -> Contents {
    let session = Session {
        id: 1,
        started_unix_s: 0.0,
        array: "test".to_owned(),
        board: "or16-emulated".to_owned(),
        emulated: true,
        // What would end a careless string.
        profile: Some("a\"b\\c'''".to_owned()),
        seed: Some("1".to_owned()),
        size: (2, 5),
        firmware: "0.1.0".to_owned(),
        git: "none".to_owned(),
        ohmrig: "0.1.0".to_owned(),
    };
    Contents { path: "run.sqlite".into(), sessions: vec![session], measurements }
}

/// Two targets; errors of ±1 µS around +0.5 µS at 20 µS, of ±2 µS at 40 µS, and a cell that was given up.
fn programmed() -> Recorded {
    let targets = array![[20e-6, 20e-6, 20e-6, 20e-6, 20e-6], [40e-6, 40e-6, 40e-6, 40e-6, 40e-6]];
    let errors = array![[1.5e-6, -0.5e-6, 1.5e-6, -0.5e-6, 9e-6], [2e-6, -2e-6, 2e-6, -2e-6, 0.0]];
    let outcome = array![[1.0, 1.0, 1.0, 1.0, 4.0], [1.0, 1.0, 1.0, 1.0, 3.0]];
    let read = &targets + &errors;
    recorded(
        1,
        "program",
        Value::Null,
        json!({}),
        &[("target_s", targets), ("conductance_s", read), ("outcome", outcome)],
    )
}

fn noisy() -> Recorded {
    let cell = |current_a: f64, density: f64| {
        json!({"current_a": current_a, "flicker": {
            "resolved": true, "density_1_hz_per_hz": {"value": density, "relative_standard_uncertainty": 0.05},
            "exponent": {"value": 1.02, "standard_uncertainty": 0.02}, "white_per_hz": {"value": 1e-9, "standard_uncertainty": 1e-10},
            "band_hz": [0.1, 2000.0],
        }})
    };
    let cells = json!({"cells": [cell(4e-6, 4e-7), cell(8e-6, 2e-7), {"current_a": 1e-6, "flicker": null, "flags": ["saturated"]}]});
    recorded(2, "noise", json!({"volts": 0.2}), cells, &[])
}

#[test]
fn programming_errors_give_bias_and_spread_over_conductance_without_cells_that_were_given_up() {
    let model = NoiseModel::fit(&contents(vec![programmed()])).unwrap();
    let deviations = model.programming.unwrap();
    assert_eq!((deviations.count, model.excluded), (8, 2));
    let at = |line: [Estimate; 2], x: f64| line[0].value + line[1].value * x;
    // Two values at each target: the lines go through both groups, up to the correction for two parameters of the mean.
    assert!((at(deviations.bias, 0.5) - 0.5e-6).abs() < 1e-12 && at(deviations.bias, 1.0).abs() < 1e-12);
    let correction = (8.0_f64 / 6.0).sqrt();
    assert!((at(deviations.ln_spread, 0.5).exp() / (1e-6 * correction) - 1.0).abs() < 1e-6);
    assert!((at(deviations.ln_spread, 1.0).exp() / (2e-6 * correction) - 1.0).abs() < 1e-6);
}

#[test]
fn a_run_without_a_fitting_measurement_and_one_with_too_few_cells_are_refused_in_words() {
    let error = NoiseModel::fit(&contents(Vec::new())).unwrap_err().to_string();
    assert!(error.contains("program, noise, drift or iv"), "{error}");
    let mut short = programmed();
    for array in short.arrays.values_mut() {
        *array = array.slice(ndarray::s![0..1, 0..3]).to_owned();
    }
    let error = NoiseModel::fit(&contents(vec![short])).unwrap_err().to_string();
    assert!(error.contains("programming error") && error.contains("needs at least 8"), "{error}");
    let mut open = programmed();
    open.state = "open".to_owned();
    assert!(NoiseModel::fit(&contents(vec![open])).is_err(), "a measurement that isn't finished");
}

#[test]
fn what_is_written_compiles_and_holds_the_fitted_numbers() {
    let contents = contents(vec![programmed(), noisy()]);
    let model = NoiseModel::fit(&contents).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for simulator in [Simulator::Aihwkit, Simulator::CrossSim] {
        let files = model.write(&contents, simulator, folder.path()).unwrap();
        let text = std::fs::read_to_string(&files[0]).unwrap();
        assert!(!text.contains("FIT = {}"));
        let parameters = model.parameters(&contents);
        for value in [
            &parameters["read_noise"]["ln_density_1_hz"]["level"][0],
            &parameters["programming"]["ln_sigma_us"][1][0],
        ] {
            assert!(
                value.is_f64() && text.contains(&value.to_string()),
                "{value} is not in {}",
                files[0].display()
            );
        }
        assert!(text.contains("\"drift\": None"), "a part that wasn't measured");
        assert!(text.contains("Cycle to cycle") && text.contains("Device to device"));
        match Command::new("python3").args(["-m", "py_compile"]).arg(&files[0]).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => eprintln!("not compiled: python3: {error}"),
        }
        // Ours is the number that Python reads back.
        let read = format!(
            "import ast;t=open({:?}).read();i=t.index('FIT = {{');d=0\n",
            files[0].display().to_string()
        ) + "for k in range(i,len(t)):\n d+=(t[k]=='{')-(t[k]=='}')\n if t[k]=='}' and d==0: break\n"
            + "print(repr(ast.literal_eval(t[i+6:k+1])['g_max_us']))";
        if let Ok(output) = Command::new("python3").args(["-c", &read]).output() {
            let printed = String::from_utf8_lossy(&output.stdout);
            let got: f64 = printed
                .trim()
                .parse()
                .unwrap_or_else(|_| panic!("{printed}{}", String::from_utf8_lossy(&output.stderr)));
            assert_eq!(got, model.range_s.1 * 1e6);
        }
    }
}

#[test]
fn conductances_for_fusion_import_are_output_by_output_in_microsiemens() {
    let text = fusion_csv(&array![[1e-6, 2e-6, 3e-6], [4e-6, 5e-6, 6e-6]]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..6], ["1", "AnalogLinear", "6", "3", "2", "0"]);
    let values: Vec<f64> = lines[6].split(',').map(|value| value.parse().unwrap()).collect();
    for (value, expected) in values.into_iter().zip([1.0, 4.0, 2.0, 5.0, 3.0, 6.0]) {
        assert!((value - expected).abs() < 1e-9);
    }
}
