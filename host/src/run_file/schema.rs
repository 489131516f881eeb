//! Tables of a run file. `docs/runs.md` describes them for those who read them with other programs.

/// Layout of the tables (`PRAGMA user_version`); another number is refused.
pub(super) const FORMAT: i64 = 2;

/// `PRAGMA application_id`: the letters `ohmr`.
pub(super) const APPLICATION: i64 = 0x6f68_6d72;

pub(super) const TABLES: &str = "
CREATE TABLE run (
  id INTEGER PRIMARY KEY, started_unix_s REAL NOT NULL, array TEXT NOT NULL, board TEXT NOT NULL,
  emulated INTEGER NOT NULL, profile TEXT, seed TEXT, rows INTEGER NOT NULL, columns INTEGER NOT NULL,
  firmware TEXT NOT NULL, git TEXT NOT NULL, ohmrig TEXT NOT NULL, boot TEXT NOT NULL, session INTEGER NOT NULL);
CREATE TABLE measurement (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run(id), last_run INTEGER NOT NULL REFERENCES run(id),
  kind TEXT NOT NULL, digest TEXT NOT NULL, settings TEXT NOT NULL, state TEXT NOT NULL,
  started_unix_s REAL NOT NULL, ended_unix_s REAL, started_instrument_ns INTEGER, ended_instrument_ns INTEGER,
  temperature_k REAL, calibration TEXT, value_json TEXT, said_json TEXT, error TEXT);
CREATE TABLE piece (
  measurement INTEGER NOT NULL REFERENCES measurement(id), name TEXT NOT NULL, begun_unix_s REAL NOT NULL,
  intent_json TEXT, kept_unix_s REAL, value_json TEXT, PRIMARY KEY (measurement, name));
CREATE TABLE array (
  measurement INTEGER NOT NULL REFERENCES measurement(id), piece TEXT NOT NULL, name TEXT NOT NULL,
  rows INTEGER NOT NULL, columns INTEGER NOT NULL, float64_le BLOB NOT NULL,
  PRIMARY KEY (measurement, piece, name));
CREATE TABLE job (
  id TEXT PRIMARY KEY, measurement INTEGER NOT NULL REFERENCES measurement(id), stage TEXT NOT NULL,
  pass INTEGER NOT NULL, first_row INTEGER NOT NULL, first_column INTEGER NOT NULL, rows INTEGER NOT NULL,
  columns INTEGER NOT NULL, boot TEXT NOT NULL, sent_unix_s REAL NOT NULL, ended TEXT);
CREATE TABLE job_cell (
  job TEXT NOT NULL REFERENCES job(id), row INTEGER NOT NULL, column INTEGER NOT NULL, conductance_s REAL,
  uncertainty_s REAL, pulses INTEGER NOT NULL, reversals INTEGER NOT NULL, outcome INTEGER NOT NULL,
  PRIMARY KEY (job, row, column));
";
