//! Run files: any bytes, and valid files with bytes changed, are refused with a reason, or read for a report, or taken
//! up by a measurement that can go on or says why not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ohmrig::run_file::{Contents, Measurement, MeasurementOrder, Moment, RunFile, RunFileError, RunIdentity};
use serde_json::json;
use std::path::Path;

/// Takes up the measurement that the corpus has files of.
fn go_on(path: &Path) -> Result<(), RunFileError> {
    let identity = RunIdentity {
        board: "or16-emulated".into(),
        emulated: true,
        profile: Some("rram-cmo".into()),
        seed: Some(1),
        firmware: "0.1.0".into(),
        git: "0".into(),
        rows: 2,
        columns: 2,
        boot_nonce: 1,
        session: 1,
        calibration: None,
    };
    let file = RunFile::open(path, &identity)?;
    let settings = json!({
        "column": 0, "columns": 2, "conversions": 16, "range": null, "row": 0, "rows": 2, "volts": 0.2
    });
    let order = MeasurementOrder { kind: "read", settings: &settings, inputs: &[], changes_array: false };
    let mut measurement = Measurement::begin(&file, &order, Moment::default(), false)?;
    measurement.piece("rows 0-1")?;
    measurement.array("rows 0-1", "conductance_s")?;
    measurement.jobs("pass").past()?;
    measurement.intend("more", &json!({}))
}

fuzz_target!(|data: &[u8]| {
    let file = ohmrig_fuzz::file(data, ".sqlite");
    let _ = Contents::read(file.path());
    let _ = go_on(file.path());
    let _ = Contents::read(file.path());
    for suffix in ["-wal", "-shm", "-journal", ".lock"] {
        let mut beside = file.path().as_os_str().to_owned();
        beside.push(suffix);
        let _ = std::fs::remove_file(beside);
    }
});
