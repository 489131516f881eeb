//! Run files: what was measured on which board with which settings, in SQLite, one transaction per measurement, so that
//! a killed run keeps all it had. Boards are never mixed in one file, nor emulated with real.

use ndarray::ArrayView2;
use ohmrig_protocol::message::{JobId, Region};
use rusqlite::{Connection, OptionalExtension, params};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// Layout of the tables; another number is refused.
const FORMAT: i64 = 1;

/// Who was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunIdentity {
    /// Board name.
    pub board: String,
    /// Emulated by this process.
    pub emulated: bool,
    /// Profile of an emulated board.
    pub profile: Option<String>,
    /// Seed of an emulated board.
    pub seed: Option<u64>,
    /// Firmware version.
    pub firmware: String,
    /// Git commit of the firmware.
    pub git: String,
    /// Rows of the array.
    pub rows: u16,
    /// Columns of the array.
    pub columns: u16,
}

impl RunIdentity {
    /// What must be the same for measurements to be in one file.
    fn array(&self) -> String {
        let Self { board, emulated, profile, seed, rows, columns, .. } = self;
        let kind = if *emulated { "emulated" } else { "real" };
        let profile = profile.as_deref().map(|p| format!(", profile {p}")).unwrap_or_default();
        let seed = seed.map(|s| format!(", seed {s}")).unwrap_or_default();
        format!("{kind} board {board}, {rows} × {columns}{profile}{seed}")
    }
}

/// Why a run file can't be used.
#[derive(Debug, Error)]
pub enum RunFileError {
    /// SQLite's own.
    #[error("run file {}: {source}", .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Of another layout.
    #[error("run file {} has format {found}, this ohmrig writes {FORMAT}; use another file", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// Of another board.
    #[error("run file {} is of {found}; this is {asked}: use another file", .path.display())]
    AnotherBoard {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who was to be added.
        asked: String,
    },
}

/// An open run file.
#[derive(Debug)]
pub struct RunFile {
    connection: Connection,
    path: PathBuf,
    run: i64,
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS run (
  id INTEGER PRIMARY KEY, started_unix_s REAL NOT NULL, array TEXT NOT NULL, board TEXT NOT NULL,
  emulated INTEGER NOT NULL, profile TEXT, seed TEXT, rows INTEGER NOT NULL, columns INTEGER NOT NULL,
  firmware TEXT NOT NULL, git TEXT NOT NULL, ohmrig TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS measurement (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run(id), at_unix_s REAL NOT NULL, kind TEXT NOT NULL,
  settings TEXT NOT NULL, value_json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS array (
  measurement INTEGER NOT NULL REFERENCES measurement(id), name TEXT NOT NULL, rows INTEGER NOT NULL,
  columns INTEGER NOT NULL, float64_le BLOB NOT NULL, PRIMARY KEY (measurement, name));
CREATE TABLE IF NOT EXISTS job (
  id TEXT PRIMARY KEY, run INTEGER NOT NULL REFERENCES run(id), at_unix_s REAL NOT NULL, first_row INTEGER NOT NULL,
  first_column INTEGER NOT NULL, rows INTEGER NOT NULL, columns INTEGER NOT NULL);
";

impl RunFile {
    /// Opens or creates a run file for one board.
    ///
    /// # Errors
    /// [`RunFileError`]; nothing is written to a file of another board.
    pub fn open(path: &Path, identity: &RunIdentity) -> Result<Self, RunFileError> {
        let at = |source| RunFileError::Sqlite { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(at)?;
        connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(at)?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(at)?;
        if found != 0 && found != FORMAT {
            return Err(RunFileError::Format { path: path.to_owned(), found });
        }
        if found == 0 {
            connection.execute_batch(SCHEMA).map_err(at)?;
            connection.pragma_update(None, "user_version", FORMAT).map_err(at)?;
        }
        let asked = identity.array();
        let found: Option<String> = connection
            .query_row("SELECT array FROM run WHERE array != ?1 LIMIT 1", [&asked], |row| row.get(0))
            .optional()
            .map_err(at)?;
        if let Some(found) = found {
            return Err(RunFileError::AnotherBoard { path: path.to_owned(), found, asked });
        }
        connection
            .execute(
                "INSERT INTO run (started_unix_s, array, board, emulated, profile, seed, rows, columns, firmware, git, \
                 ohmrig) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    unix_s(),
                    asked,
                    identity.board,
                    identity.emulated,
                    identity.profile,
                    identity.seed.map(|seed| seed.to_string()),
                    identity.rows,
                    identity.columns,
                    identity.firmware,
                    identity.git,
                    env!("CARGO_PKG_VERSION"),
                ],
            )
            .map_err(at)?;
        let run = connection.last_insert_rowid();
        Ok(Self { connection, path: path.to_owned(), run })
    }

    /// Appends a measurement with its arrays, all or nothing.
    ///
    /// # Errors
    /// [`RunFileError::Sqlite`].
    pub fn measurement(
        &mut self,
        kind: &str,
        settings: &serde_json::Value,
        values: &serde_json::Value,
        arrays: &[(&str, ArrayView2<'_, f64>)],
    ) -> Result<(), RunFileError> {
        let run = self.run;
        let mut write = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            transaction.execute(
                "INSERT INTO measurement (run, at_unix_s, kind, settings, value_json) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![run, unix_s(), kind, settings.to_string(), values.to_string()],
            )?;
            let measurement = transaction.last_insert_rowid();
            for (name, array) in arrays {
                let bytes: Vec<u8> = array.iter().flat_map(|value| value.to_le_bytes()).collect();
                transaction.execute(
                    "INSERT INTO array VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![measurement, name, array.nrows() as i64, array.ncols() as i64, bytes],
                )?;
            }
            transaction.commit()
        };
        write().map_err(|source| RunFileError::Sqlite { path: self.path.clone(), source })
    }

    /// Takes down a job that is about to be sent.
    ///
    /// # Errors
    /// [`RunFileError::Sqlite`].
    pub fn job(&mut self, job: JobId, region: Region) -> Result<(), RunFileError> {
        self.connection
            .execute(
                "INSERT INTO job VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    format!("{:#018x}", job.0),
                    self.run,
                    unix_s(),
                    region.row,
                    region.column,
                    region.rows,
                    region.columns
                ],
            )
            .map(|_| ())
            .map_err(|source| RunFileError::Sqlite { path: self.path.clone(), source })
    }
}

fn unix_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
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
        }
    }

    #[test]
    fn a_measurement_is_there_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.sqlite");
        let mut run = RunFile::open(&path, &identity(true)).unwrap();
        let values = array![[1.0, 2.0]];
        run.job(JobId(7), Region { row: 0, column: 0, rows: 1, columns: 2 }).unwrap();
        run.measurement("read", &json!({"volts": 0.2}), &json!({}), &[("conductance_s", values.view())])
            .unwrap();
        drop(run);
        let run = RunFile::open(&path, &identity(true)).unwrap();
        let bytes: Vec<u8> =
            run.connection.query_row("SELECT float64_le FROM array", [], |row| row.get(0)).unwrap();
        assert_eq!(bytes[8..], 2.0_f64.to_le_bytes());
        let job: String = run.connection.query_row("SELECT id FROM job", [], |row| row.get(0)).unwrap();
        assert_eq!(job, "0x0000000000000007");
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
    fn a_file_that_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.sqlite");
        std::fs::write(&path, [b'x'; 2000]).unwrap();
        assert!(matches!(RunFile::open(&path, &identity(true)), Err(RunFileError::Sqlite { .. })));
    }
}
