use super::*;
use crate::instrument::{Books, CellDone, JobNote};
use ndarray::{ArrayView2, array};
use ohmrig_protocol::message::{CellResult, JobEnd, JobId, Outcome, Region};
use ohmrig_protocol::units::Siemens;
use serde_json::json;

fn identity(emulated: bool) -> RunIdentity {
    RunIdentity {
        board: "or16".into(),
        emulated,
        profile: emulated.then(|| "ideal".into()),
        seed: emulated.then_some(1),
        firmware: "0.1.0".into(),
        git: "abc".into(),
        rows: 16,
        columns: 16,
        boot_nonce: 77,
        session: 1,
        calibration: None,
    }
}

fn begin(file: &RunFile, volts: f64, input: ArrayView2<'_, f64>, fresh: bool) -> Measurement {
    let settings = json!({"volts": volts});
    let inputs = [("input_v", input)];
    let order = MeasurementOrder { kind: "pulse", settings: &settings, inputs: &inputs, changes_array: true };
    Measurement::begin(file, &order, Moment::default(), fresh).unwrap()
}

#[test]
fn a_measurement_that_stopped_is_taken_up_with_its_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sqlite");
    let input = array![[1.0, 2.0]];
    let file = RunFile::open(&path, &identity(true)).unwrap();
    let mut first = begin(&file, 0.2, input.view(), false);
    assert_eq!(first.taken(), None);
    first.keep("one", &json!({"x": 1}), &[("a", input.view())]).unwrap();
    first.intend("two", &json!({"y": 2})).unwrap();
    let id = first.id();
    drop((first, file));
    let file = RunFile::open(&path, &identity(true)).unwrap();
    let mut again = begin(&file, 0.2, input.view(), false);
    assert_eq!((again.id(), again.taken().unwrap().pieces), (id, 1));
    assert_eq!(again.array("one", "a").unwrap().unwrap(), input);
    assert_eq!(again.array("", "input_v").unwrap().unwrap(), input);
    let two = again.piece("two").unwrap().unwrap();
    assert_eq!((two.intent, two.value), (Some(json!({"y": 2})), None));
    // Done and not said: nothing is left to do. Said: the same order is another measurement.
    again.done(&json!({}), &[], &json!({"lines": ["x"]}), Moment::default()).unwrap();
    let third = begin(&file, 0.2, input.view(), false);
    assert_eq!(third.complete().unwrap().said, json!({"lines": ["x"]}));
    third.said().unwrap();
    assert_ne!(begin(&file, 0.2, input.view(), false).id(), id);
}

#[test]
fn other_settings_or_inputs_are_another_measurement_and_the_open_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = RunFile::open(&folder.path().join("run.sqlite"), &identity(true)).unwrap();
    let first = begin(&file, 0.2, array![[1.0]].view(), false);
    for (volts, input) in [(0.3, array![[1.0]]), (0.2, array![[1.5]])] {
        let other = begin(&file, volts, input.view(), false);
        assert_ne!(other.id(), first.id());
        assert!(other.left_open().contains(&(first.id(), "pulse".into())));
    }
    let value = json!({});
    let digest = |kind, inputs: &[(&str, ArrayView2<'_, f64>)]| {
        MeasurementOrder { kind, settings: &value, inputs, changes_array: false }.digest()
    };
    let (flat, tall) = (array![[1.0, 2.0]], array![[1.0], [2.0]]);
    assert_ne!(digest("a", &[("x", flat.view())]), digest("a", &[("x", tall.view())]));
    assert_ne!(digest("a", &[("x", flat.view())]), digest("b", &[("x", flat.view())]));
    assert_eq!(digest("a", &[]).len(), 64);
}

#[test]
fn what_changed_an_array_that_is_gone_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = RunFile::open(&folder.path().join("run.sqlite"), &identity(true)).unwrap();
    let first = begin(&file, 0.2, array![[1.0]].view(), true);
    let second = begin(&file, 0.2, array![[1.0]].view(), true);
    assert_ne!(first.id(), second.id());
    assert!(second.started_over());
    assert!(second.left_open().is_empty());
}

#[test]
fn a_job_is_found_again_with_the_cells_that_came_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sqlite");
    let region = Region { row: 3, column: 4, rows: 1, columns: 2 };
    let note = JobNote { id: JobId(u64::MAX - 6), pass: 1, region, boot_nonce: 77 };
    let result = CellResult {
        conductance: Siemens(1.5e-5),
        uncertainty: Siemens(2e-8),
        pulses: 7,
        reversals: 2,
        outcome: Outcome::Inside,
    };
    let cell = CellDone { row: 3, column: 5, result };
    {
        let file = RunFile::open(&path, &identity(true)).unwrap();
        let mut measurement = begin(&file, 0.2, array![[1.0]].view(), false);
        let mut jobs = measurement.jobs("tile 1");
        jobs.sending(&note).unwrap();
        jobs.results(note.id, &[cell]).unwrap();
        assert!(measurement.jobs("tile 2").past().unwrap().is_empty());
    }
    let file = RunFile::open(&path, &identity(true)).unwrap();
    let mut measurement = begin(&file, 0.2, array![[1.0]].view(), false);
    let mut jobs = measurement.jobs("tile 1");
    let past = jobs.past().unwrap();
    assert_eq!((past[0].note, past[0].cells.as_slice(), past[0].ended), (note, [cell].as_slice(), false));
    jobs.ended(note.id, &[], Some(JobEnd::Disarmed)).unwrap();
    assert!(jobs.past().unwrap()[0].ended);
    // On another array the job is of no use.
    drop((measurement, file));
    let file = RunFile::open(&path, &identity(true)).unwrap();
    assert!(begin(&file, 0.2, array![[1.0]].view(), true).jobs("tile 1").past().unwrap().is_empty());
}

#[test]
fn sessions_are_all_ours_only_if_every_one_wrote_itself_down() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sqlite");
    for session in [3, 4, 6] {
        drop(RunFile::open(&path, &RunIdentity { session, ..identity(true) }).unwrap());
    }
    let file = RunFile::open(&path, &RunIdentity { session: 7, ..identity(true) }).unwrap();
    let measurement = begin(&file, 0.2, array![[1.0]].view(), false);
    assert!(measurement.sessions_are_ours(77, 3, 4).unwrap());
    assert!(measurement.sessions_are_ours(77, 5, 7).unwrap());
    assert!(!measurement.sessions_are_ours(77, 3, 7).unwrap());
    assert!(!measurement.sessions_are_ours(78, 3, 4).unwrap());
}

#[test]
fn emulated_and_real_boards_are_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sqlite");
    drop(RunFile::open(&path, &identity(true)).unwrap());
    let error = RunFile::open(&path, &identity(false)).unwrap_err().to_string();
    assert!(error.contains("emulated board") && error.contains("real board"), "{error}");
}

#[test]
fn files_that_are_none_of_ours_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text"), [b'x'; 2000]).unwrap();
    assert!(matches!(ClaimedFile::claim(&path("text")), Err(RunFileError::NotSqlite { .. })));
    assert!(matches!(ClaimedFile::claim(folder.path()), Err(RunFileError::Folder { .. })));
    assert!(matches!(ClaimedFile::claim(&path("no/run")), Err(RunFileError::Missing { .. })));
    let other = Connection::open(path("other")).unwrap();
    other.execute_batch("CREATE TABLE t (x); PRAGMA application_id = 5;").unwrap();
    assert!(matches!(ClaimedFile::claim(&path("other")), Err(RunFileError::AnotherProgram { found: 5, .. })));
    drop(RunFile::open(&path("run"), &identity(true)).unwrap());
    Connection::open(path("run")).unwrap().pragma_update(None, "user_version", FORMAT + 1).unwrap();
    let error = ClaimedFile::claim(&path("run")).unwrap_err();
    assert!(matches!(error, RunFileError::Format { .. }) && error.to_string().contains("newer"), "{error}");
}

#[test]
fn one_process_at_a_time_has_a_run_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sqlite");
    let first = RunFile::open(&path, &identity(true)).unwrap();
    assert!(matches!(ClaimedFile::claim(&path), Err(RunFileError::InUse { .. })));
    drop(first);
    assert!(ClaimedFile::claim(&path).is_ok());
}

#[test]
fn a_full_file_is_an_error_that_keeps_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sqlite");
    let file = RunFile::open(&path, &identity(true)).unwrap();
    let mut measurement = begin(&file, 0.2, array![[1.0]].view(), false);
    measurement.keep("first", &json!(1), &[]).unwrap();
    let pages: i64 = file.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    file.connection
        .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))
        .unwrap();
    let large = ndarray::Array2::<f64>::zeros((100, 100));
    let error = measurement.keep("second", &json!(2), &[("a", large.view())]).unwrap_err();
    assert!(matches!(error, RunFileError::Full { .. }), "{error}");
    assert!(measurement.piece("first").unwrap().is_some() && measurement.piece("second").unwrap().is_none());
}
