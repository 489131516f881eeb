//! Run files: any bytes, and valid files with bytes changed, are refused with a reason or opened, and what is opened can
//! be written to or says why not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ohmrig::run_file::{RunFile, RunIdentity};
use ohmrig_protocol::message::{JobId, Region};

fuzz_target!(|data: &[u8]| {
    let file = ohmrig_fuzz::file(data, ".sqlite");
    let identity = RunIdentity {
        board: "or16-emulated".into(),
        emulated: true,
        profile: Some("ideal".into()),
        seed: Some(1),
        firmware: "0.1.0".into(),
        git: "0".into(),
        rows: 2,
        columns: 2,
    };
    if let Ok(mut run) = RunFile::open(file.path(), &identity) {
        let values = serde_json::json!({"n": 1});
        let _ = run.job(JobId(1), Region { row: 0, column: 0, rows: 1, columns: 1 });
        let _ = run.measurement("read", &values, &values, &[]);
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut beside = file.path().as_os_str().to_owned();
        beside.push(suffix);
        let _ = std::fs::remove_file(beside);
    }
});
