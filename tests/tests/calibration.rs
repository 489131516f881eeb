//! Calibrated products against what was measured in circuit, on boards with all imperfections of `or16`. Boards are drawn
//! from seeds of 1000 and above, which nothing was tuned on.

use ndarray::{Array1, Array2, Axis};
use ohmrig::bench::{Emulation, profile};
use ohmrig::calibration::{Calibration, Corrections, Effective, EffectiveSettings, Plan, calibrate, check};
use ohmrig::client::Client;
use ohmrig::device::EmulatedDevice;
use ohmrig::error_metrics::{MvmErrors, errors, noise_rms};
use ohmrig::instrument::{Instrument, ProductSettings};
use ohmrig::product_noise;
use ohmrig::transport::InProcess;
use ohmrig_protocol::message::MAX_RECORD_BYTES;
use ohmrig_tests::parasitics::{Experiment, LINE_OHMS};
use ohmrig_tests::{Scratch, ohmrig};
use serde_json::Value;
use std::process::{Command, Stdio};

const VOLTS: f64 = 0.2;

fn instrument(name: &str, seed: u64) -> Instrument {
    let emulation = Emulation::new(profile(Some(name)).unwrap(), seed);
    let transport = InProcess::new(EmulatedDevice::power_up(&emulation).unwrap());
    Instrument::new(Client::connect(Box::new(transport), "emulated").unwrap())
}

/// Evenly distributed in ±[`VOLTS`], from a fixed sequence (Knuth's MMIX generator).
fn signed_vectors(vectors: usize, rows: usize) -> Array2<f64> {
    let mut state = 1_u64;
    Array2::from_shape_simple_fn((vectors, rows), || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        VOLTS * (2.0 * (state >> 11) as f64 / (1_u64 << 53) as f64 - 1.0)
    })
}

/// Errors of products with all corrections and with none, both against the matrix measured in circuit just before.
fn corrected_and_raw(
    instrument: &mut Instrument,
    calibration: &Calibration,
    vectors: usize,
    g_max: f64,
) -> [MvmErrors; 2] {
    let rows = usize::from(instrument.device().rows);
    let wanted = signed_vectors(vectors, rows);
    [Corrections::ALL, Corrections::NONE].map(|corrections| {
        // Raw products are compared with the same calibrated matrix: that is what they are wrong about.
        let how = EffectiveSettings { volts: VOLTS, repeats: 4, conversions: 16 };
        let matrix =
            Effective::measure(instrument, &how, Some((calibration, Corrections::ALL)), |_, _| {}).unwrap();
        let range = matrix.range;
        let nominal = (range, instrument.feedback(range).unwrap());
        let many = ProductSettings { range, conversions: 32, interval_ns: calibration.hum.interval_ns(32) };
        let zero = instrument.mvm(Array2::zeros((8, rows)).view(), many, |_| {}).unwrap().currents;
        let zero: Array1<f64> = zero.mean_axis(Axis(0)).unwrap();
        let inputs = calibration.inputs(wanted.view(), corrections);
        let once = ProductSettings { range, conversions: 1, interval_ns: 0 };
        let [first, second] = [(); 2].map(|()| {
            let measured = instrument.mvm(inputs.view(), once, |_| {}).unwrap();
            assert_eq!(measured.saturated, 0);
            calibration.currents(measured.currents.view(), zero.view(), nominal, corrections, None)
        });
        let exact = wanted.dot(&matrix.siemens);
        let full_scale = rows as f64 * g_max * VOLTS;
        errors(
            wanted.view(),
            first.view(),
            exact.view(),
            full_scale,
            Some(noise_rms(first.view(), second.view())),
        )
    })
}

#[test]
fn resistors_are_multiplied_within_a_thousandth_of_full_scale() {
    let g_max = profile(Some("resistor")).unwrap().device.conductance.maximum_s;
    for seed in 1000..1001 {
        let mut instrument = instrument("resistor", seed);
        let calibration = calibrate(&mut instrument, Plan::default(), |_, _| {}).unwrap();
        let [corrected, raw] = corrected_and_raw(&mut instrument, &calibration, 10_000, g_max);
        println!(
            "seed {seed}: worst full_scale {:.4} %, raw {:.4} %",
            100.0 * corrected.full_scale_worst,
            100.0 * raw.full_scale_worst
        );
        assert!(corrected.full_scale_worst <= 1e-3, "seed {seed}: {corrected:?}");
        assert!(corrected.full_scale_worst < raw.full_scale_worst, "seed {seed}: {corrected:?} {raw:?}");
    }
}

#[test]
fn the_linear_part_of_a_memristor_arrays_error_is_no_larger_than_its_noise() {
    let g_max = profile(Some("rram-cmo")).unwrap().device.conductance.maximum_s;
    for seed in 1000..1001 {
        let mut instrument = instrument("rram-cmo", seed);
        let calibration = calibrate(&mut instrument, Plan::default(), |_, _| {}).unwrap();
        let [corrected, raw] = corrected_and_raw(&mut instrument, &calibration, 10_000, g_max);
        println!("seed {seed}: {:?}, raw {:?}", corrected.parts, raw.parts);
        let parts = corrected.parts.unwrap();
        assert!(parts.linear_l2 <= parts.noise_l2.unwrap(), "seed {seed}: {parts:?}");
    }
}

#[test]
fn the_noise_of_products_is_what_the_profile_s_own_sources_add_up_to() {
    for name in ["resistor", "rram-cmo"] {
        let profile = profile(Some(name)).unwrap();
        let mut instrument = instrument(name, 1000);
        let wanted = signed_vectors(2000, 16);
        let how = EffectiveSettings { volts: VOLTS, repeats: 2, conversions: 16 };
        let matrix = Effective::measure(&mut instrument, &how, None, |_, _| {}).unwrap();
        let once = ProductSettings { range: matrix.range, conversions: 1, interval_ns: 0 };
        let before_ns = instrument.status().unwrap().at_ns;
        let first = instrument.mvm(wanted.view(), once, |_| {}).unwrap().currents;
        let apart_s = (instrument.status().unwrap().at_ns - before_ns) as f64 * 1e-9;
        let second = instrument.mvm(wanted.view(), once, |_| {}).unwrap().currents;
        let found = noise_rms(first.view(), second.view());
        let ohms = instrument.feedback(matrix.range).unwrap();
        let products = product_noise::Products {
            inputs: wanted.view(),
            siemens: matrix.siemens.view(),
            ohms,
            lsb_v: f64::from(instrument.device().converters.adc_step.0),
            conversions: 1,
            interval_s: 0.0,
            over_mains: false,
            apart_s,
        };
        let sources = product_noise::predicted(&profile, &products).unwrap();
        let predicted = product_noise::together(&sources);
        println!(
            "{name}: noise {found:.4e} A, of the profile's sources {predicted:.4e} A: {:.3}, {sources:?}",
            found / predicted
        );
        assert!((1.0 / 1.2..1.2).contains(&(found / predicted)), "{name}: {found:.3e} A, {predicted:.3e} A");
    }
}

#[test]
fn a_calibration_holds_on_its_own_board_survives_storage_and_is_refused_elsewhere() {
    let mut board = instrument("resistor", 1000);
    let calibration = calibrate(&mut board, Plan::default(), |_, _| {}).unwrap();
    let stored = Calibration::from_bytes(&calibration.to_bytes()).unwrap();
    assert_eq!(stored, calibration);
    assert_eq!(stored.id(), calibration.id());
    board.wait(3600.0, |_| {}).unwrap();
    let found = check(&mut board, &stored, 64, |_, _| {}).unwrap();
    // 64 comparisons of normal deviations: one in six such checks has one beyond three standard uncertainties by chance,
    // one in 10 000 has four.
    assert!(found.moved.len() < 4, "{found:?}");
    let found = check(&mut instrument("resistor", 1001), &stored, 64, |_, _| {}).unwrap();
    assert!(found.moved.len() > 32, "another board passes for this one: {found:?}");
    assert!(stored.require("another", 16, 16, 3).is_err());
    assert!(stored.require("or16-emulated", 16, 17, 3).is_err());
    assert!(Calibration::from_bytes(&calibration.to_bytes()[1..]).is_err());
}

/// `ohmrig --json` on a board that is kept in `state`; its exit status and what it said.
fn said(state: &str, arguments: &[&str]) -> (i32, Value) {
    let mut command = Command::new(ohmrig());
    command
        .args(["--json", "--port", "emulated:resistor", "--seed", "1004", "--state", state])
        .args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn the_board_keeps_its_calibrations_products_use_the_one_in_force_and_one_can_go_back() {
    let scratch = Scratch::new("kept-calibration");
    let path = |name: &str| scratch.path(name).display().to_string();
    let (state, run, input) = (path("state"), path("run"), path("input.npy"));
    ohmrig::arrays::write(&scratch.path("input.npy"), signed_vectors(4, 16).view()).unwrap();
    let product = ["--run", &run, "mvm", &input];
    let (status, raw) = said(&state, &product);
    assert_eq!((status, &raw["calibration"]), (0, &Value::Null));
    let ids: Vec<Value> = (1..=2)
        .map(|number| {
            let (status, made) = said(&state, &["calibrate", "--conversions", "16"]);
            assert_eq!((status, &made["number"]), (0, &Value::from(number)));
            made["id"].clone()
        })
        .collect();
    assert_ne!(ids[0], ids[1]);
    let (_, history) = said(&state, &["calibrate", "--history"]);
    let list = history["calibrations"].as_array().unwrap();
    assert_eq!(list.iter().map(|kept| kept["id"].clone()).collect::<Vec<_>>(), ids);
    assert_eq!((&list[0]["in_force"], &list[1]["in_force"]), (&Value::from(false), &Value::from(true)));
    assert_eq!(said(&state, &product).1["calibration"], ids[1]);
    assert_eq!(said(&state, &["calibrate", "--roll-back", "1"]).0, 0);
    assert_eq!(said(&state, &product).1["calibration"], ids[0]);
    assert_eq!(said(&state, &["mvm", &input, "--raw"]).1["calibration"], Value::Null);
    let (status, held) = said(&state, &["calibrate", "--check"]);
    assert_eq!((status, &held["id"]), (0, &ids[0]), "{held}");
    // Every record carries the one that was in force.
    let open = rusqlite::Connection::open(&run).unwrap();
    let mut rows = open.prepare("SELECT calibration FROM measurement ORDER BY id").unwrap();
    let kept: Vec<Value> = rows
        .query_map([], |row| row.get::<_, Option<String>>(0))
        .unwrap()
        .map(|id| id.unwrap().into())
        .collect();
    assert_eq!(kept, [Value::Null, ids[1].clone(), ids[0].clone()]);

    let (status, none) = said(&state, &["calibrate", "--roll-back", "9"]);
    assert_ne!(status, 0);
    assert!(none["error"]["message"].as_str().unwrap().contains("it has 1, 2"), "{none}");
    let (status, none) = said(&path("another"), &["mvm", &input, "--no-row-gain"]);
    assert_eq!(status, 2, "{none}");
    let (status, none) = said(&path("another"), &["calibrate", "--check"]);
    assert_eq!(status, 1, "{none}");
}

#[test]
fn what_50_ohms_of_switch_and_line_do_to_products_is_cut_thirtyfold_in_circuit() {
    let lines =
        Experiment { devices: "ideal", side: 32, window_percent: 0.3, seed: 1000, line_ohms: LINE_OHMS };
    let found = lines.evaluate();
    println!("{found:?}: {:.0} times less", found.before / found.after);
    assert!(found.before > 30.0 * found.after, "{found:?}");
    // And so products come out, converters' noise and all.
    assert!(found.products_raw > 30.0 * found.products.0, "{found:?}");
    assert_eq!(found.given_up, 0, "{found:?}");
}

#[test]
fn the_calibration_of_a_large_board_fits_its_flash_and_says_the_same() {
    let mut board = instrument("resistor", 1001);
    let mut calibration = calibrate(&mut board, Plan { conversions: 4, array: false }, |_, _| {}).unwrap();
    // As of 64 rows and columns.
    calibration.drivers = calibration.drivers.iter().copied().cycle().take(64).collect();
    for range in &mut calibration.ranges {
        *range = range.iter().copied().cycle().take(64).collect();
    }
    for lines in [&mut calibration.linearity.drivers, &mut calibration.linearity.converters] {
        *lines = lines.iter().copied().cycle().take(64).collect();
    }
    let bytes = calibration.to_bytes();
    assert!(bytes.len() <= MAX_RECORD_BYTES as usize, "{} bytes", bytes.len());
    let kept = Calibration::from_bytes(&bytes).unwrap();
    assert_eq!((kept.id(), kept.to_bytes()), (calibration.id(), bytes));
    for (kept, made) in kept.ranges.iter().flatten().zip(calibration.ranges.iter().flatten()) {
        // Values to the last bit, uncertainties to single precision.
        assert_eq!(kept.ohms.value, made.ohms.value);
        assert!((kept.ohms.u / made.ohms.u - 1.0).abs() < 1e-7, "{kept:?} {made:?}");
    }
    for (kept, made) in kept.drivers.iter().zip(&calibration.drivers) {
        assert_eq!((kept.gain.value, kept.offset_v.value), (made.gain.value, made.offset_v.value));
    }
    assert!(Calibration::from_bytes(&kept.to_bytes()[..4000]).is_err());
}
