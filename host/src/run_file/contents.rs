//! A run file to look at: everything in it, read at once, while somebody may still be measuring into it.

use super::measurement::array_from;
use super::schema::FORMAT;
use super::{RunFileError, format_of};
use ndarray::Array2;
use rusqlite::{Connection, OpenFlags, Row, params};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A process that wrote to the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Its number.
    pub id: i64,
    /// Seconds since 1970.
    pub started_unix_s: f64,
    /// Board, size, profile and seed in words.
    pub array: String,
    /// Board name.
    pub board: String,
    /// Whether the board is emulated.
    pub emulated: bool,
    /// Profile of an emulated board, if known.
    pub profile: Option<String>,
    /// Seed of an emulated board, if known.
    pub seed: Option<String>,
    /// Rows and columns.
    pub size: (u16, u16),
    /// Firmware version.
    pub firmware: String,
    /// Git commit of the firmware.
    pub git: String,
    /// Version of the host.
    pub ohmrig: String,
}

/// Arrays by name.
pub type Arrays = BTreeMap<String, Array2<f64>>;

/// A part of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedPiece {
    /// Its name.
    pub name: String,
    /// Its results; `Null` if it was begun and never kept.
    pub value: Value,
    /// Its arrays.
    pub arrays: Arrays,
}

/// A measurement as it is in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its number.
    pub id: i64,
    /// The process that began it.
    pub session: i64,
    /// Name of the command.
    pub kind: String,
    /// SHA-256 of kind, settings and inputs.
    pub digest: String,
    /// What was asked for.
    pub settings: Value,
    /// `open`, `done`, `said` or `abandoned`.
    pub state: String,
    /// Seconds since 1970.
    pub started_unix_s: f64,
    /// Seconds since 1970.
    pub ended_unix_s: Option<f64>,
    /// Beside the array, K.
    pub temperature_k: Option<f64>,
    /// The calibration in force on the board; one that was applied from a file is in the settings.
    pub calibration: Option<String>,
    /// Results; `Null` if it isn't done.
    pub value: Value,
    /// Why it last stopped.
    pub error: Option<String>,
    /// Inputs and results.
    pub arrays: Arrays,
    /// Its parts, in the order they were begun.
    pub pieces: Vec<RecordedPiece>,
}

impl Recorded {
    /// Whether it came to its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state.as_str(), "done" | "said")
    }
}

/// Everything in a run file.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// The file.
    pub path: PathBuf,
    /// Who wrote to it; at least one, all of one array.
    pub sessions: Vec<Session>,
    /// What was measured.
    pub measurements: Vec<Recorded>,
}

impl Contents {
    /// Reads a run file.
    ///
    /// # Errors
    /// [`RunFileError`]; a file in which boards, or emulated and real, are mixed is refused.
    pub fn read(path: &Path) -> Result<Self, RunFileError> {
        let at = |source| RunFileError::from_sqlite(path, source);
        let connection = open(path)?;
        // One transaction: what is written meanwhile is seen whole or not at all.
        let connection = connection.unchecked_transaction().map_err(at)?;
        let sessions = all(&connection, "SELECT * FROM run ORDER BY id", session).map_err(at)?;
        let Some(first) = sessions.first() else {
            return Err(content(path, "nothing was measured into it yet".to_owned()));
        };
        if let Some(other) =
            sessions.iter().find(|other| (&other.array, other.emulated) != (&first.array, first.emulated))
        {
            return Err(RunFileError::Mixed {
                path: path.to_owned(),
                first: first.array.clone(),
                other: other.array.clone(),
            });
        }
        let rows = all(&connection, "SELECT * FROM measurement ORDER BY id", |row| {
            let recorded = Recorded {
                id: row.get("id")?,
                session: row.get("run")?,
                kind: row.get("kind")?,
                digest: row.get("digest")?,
                settings: Value::Null,
                state: row.get("state")?,
                started_unix_s: row.get("started_unix_s")?,
                ended_unix_s: row.get("ended_unix_s")?,
                temperature_k: row.get("temperature_k")?,
                calibration: row.get("calibration")?,
                value: Value::Null,
                error: row.get("error")?,
                arrays: Arrays::new(),
                pieces: Vec::new(),
            };
            Ok((recorded, row.get::<_, String>("settings")?, row.get::<_, Option<String>>("value_json")?))
        })
        .map_err(at)?;
        let mut measurements = Vec::new();
        for (mut recorded, settings, value) in rows {
            recorded.settings = parse(path, Some(&settings))?;
            recorded.value = parse(path, value.as_deref())?;
            recorded.arrays = arrays(path, &connection, recorded.id, "")?;
            let pieces: Vec<(String, Option<String>)> = connection
                .prepare(
                    "SELECT name, value_json FROM piece WHERE measurement = ?1 ORDER BY begun_unix_s, rowid",
                )
                .and_then(|mut query| {
                    query.query_map([recorded.id], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
                })
                .map_err(at)?;
            for (name, value) in pieces {
                let value = parse(path, value.as_deref())?;
                let arrays = arrays(path, &connection, recorded.id, &name)?;
                recorded.pieces.push(RecordedPiece { name, value, arrays });
            }
            measurements.push(recorded);
        }
        Ok(Self { path: path.to_owned(), sessions, measurements })
    }

    /// Whether the board is emulated.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.sessions.iter().any(|session| session.emulated)
    }
}

fn open(path: &Path) -> Result<Connection, RunFileError> {
    if path.is_dir() {
        return Err(RunFileError::Folder { path: path.to_owned() });
    }
    std::fs::metadata(path).map_err(|source| RunFileError::Missing { path: path.to_owned(), source })?;
    let at = |source| RunFileError::from_sqlite(path, source);
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(at)?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(at)?;
    match format_of(&connection, path)? {
        Some(FORMAT) => Ok(connection),
        Some(found) => Err(RunFileError::Format { path: path.to_owned(), found }),
        None => Err(RunFileError::AnotherProgram { path: path.to_owned(), found: 0 }),
    }
}

fn content(path: &Path, what: String) -> RunFileError {
    RunFileError::Content { path: path.to_owned(), what }
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], row)?.collect()
}

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: row.get("id")?,
        started_unix_s: row.get("started_unix_s")?,
        array: row.get("array")?,
        board: row.get("board")?,
        emulated: row.get("emulated")?,
        profile: row.get("profile")?,
        seed: row.get("seed")?,
        size: (row.get("rows")?, row.get("columns")?),
        firmware: row.get("firmware")?,
        git: row.get("git")?,
        ohmrig: row.get("ohmrig")?,
    })
}

fn parse(path: &Path, json: Option<&str>) -> Result<Value, RunFileError> {
    let Some(json) = json else { return Ok(Value::Null) };
    serde_json::from_str(json).map_err(|error| content(path, format!("a value that is no JSON ({error})")))
}

fn arrays(
    path: &Path,
    connection: &Connection,
    measurement: i64,
    piece: &str,
) -> Result<Arrays, RunFileError> {
    let rows: Vec<(String, u32, u32, Vec<u8>)> = connection
        .prepare("SELECT name, rows, columns, float64_le FROM array WHERE measurement = ?1 AND piece = ?2")
        .and_then(|mut query| {
            query
                .query_map(params![measurement, piece], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })?
                .collect()
        })
        .map_err(|source| RunFileError::from_sqlite(path, source))?;
    rows.into_iter()
        .map(|(name, rows, columns, bytes)| {
            let array = array_from(rows as usize, columns as usize, &bytes).ok_or_else(|| {
                content(path, format!("array {name} is {rows} × {columns} and has {} bytes", bytes.len()))
            })?;
            Ok((name, array))
        })
        .collect()
}
