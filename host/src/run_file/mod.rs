//! Run files: what was measured on which board with which settings, in SQLite. Every piece of a measurement is one
//! transaction, so that a killed run keeps all it had and the same command takes it up again. Boards are never mixed in
//! one file, nor emulated with real.

mod contents;
mod error;
mod jobs;
mod measurement;
mod schema;

pub use contents::{Arrays, Contents, Recorded, RecordedPiece, Session};
pub use error::RunFileError;
pub use jobs::PastJobs;
pub use measurement::{Complete, Measurement, MeasurementOrder, Moment, Piece, Taken};

use rusqlite::{Connection, OptionalExtension, params};
use schema::{APPLICATION, FORMAT, TABLES};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

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
    /// The device's boot.
    pub boot_nonce: u64,
    /// The link's session, counted within the boot.
    pub session: u32,
    /// Id of the calibration in force on the board.
    pub calibration: Option<String>,
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

/// A run file that is ours, before it is known which board is there. Opened before any device is touched.
#[derive(Debug)]
pub struct ClaimedFile {
    connection: Connection,
    path: PathBuf,
    lock: File,
}

/// An open run file; clones share it.
#[derive(Clone, Debug)]
pub struct RunFile {
    // Dropped before the lock.
    connection: Rc<Connection>,
    path: Rc<Path>,
    /// This process's row in `run`.
    run: i64,
    calibration: Option<String>,
    _lock: Rc<File>,
}

impl ClaimedFile {
    /// Opens or creates a run file for this process alone.
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn claim(path: &Path) -> Result<Self, RunFileError> {
        if path.is_dir() {
            return Err(RunFileError::Folder { path: path.to_owned() });
        }
        let lock = lock(path)?;
        let at = |source| RunFileError::from_sqlite(path, source);
        let connection = Connection::open(path).map_err(|source| unopened(path, source))?;
        connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(at)?;
        let found = format_of(&connection, path)?;
        // A commit is on the disk when it returns: what was reported as done outlives a power cut too.
        connection.pragma_update(None, "synchronous", "FULL").map_err(at)?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(at)?;
        if mode != "wal" {
            let why = format!("its journal stays in mode {mode}; ohmrig needs WAL");
            return Err(RunFileError::NotWritable { path: path.to_owned(), why });
        }
        if found.is_none() {
            let fresh = connection.unchecked_transaction().map_err(at)?;
            fresh.execute_batch(TABLES).map_err(at)?;
            fresh.pragma_update(None, "application_id", APPLICATION).map_err(at)?;
            fresh.pragma_update(None, "user_version", FORMAT).map_err(at)?;
            fresh.commit().map_err(at)?;
        }
        Ok(Self { connection, path: path.to_owned(), lock })
    }

    /// Enters the board that measures now.
    ///
    /// # Errors
    /// [`RunFileError`]; nothing is written to a file of another board.
    pub fn enter(self, identity: &RunIdentity) -> Result<RunFile, RunFileError> {
        let Self { connection, path, lock } = self;
        let at = |source| RunFileError::from_sqlite(&path, source);
        let asked = identity.array();
        let found: Option<String> = connection
            .query_row("SELECT array FROM run WHERE array != ?1 LIMIT 1", [&asked], |row| row.get(0))
            .optional()
            .map_err(at)?;
        if let Some(found) = found {
            return Err(RunFileError::AnotherBoard { path, found, asked });
        }
        connection
            .execute(
                "INSERT INTO run (started_unix_s, array, board, emulated, profile, seed, rows, columns, firmware, git, \
                 ohmrig, boot, session) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
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
                    format!("{:#018x}", identity.boot_nonce),
                    identity.session,
                ],
            )
            .map_err(at)?;
        let run = connection.last_insert_rowid();
        let calibration = identity.calibration.clone();
        Ok(RunFile {
            connection: Rc::new(connection),
            path: path.into(),
            run,
            calibration,
            _lock: Rc::new(lock),
        })
    }
}

impl RunFile {
    /// Opens or creates a run file for one board.
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn open(path: &Path, identity: &RunIdentity) -> Result<Self, RunFileError> {
        ClaimedFile::claim(path)?.enter(identity)
    }

    /// Several statements, all or nothing.
    fn transaction<T>(
        &self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, RunFileError> {
        let whole = || {
            let transaction = self.connection.unchecked_transaction()?;
            let result = write(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        whole().map_err(|source| RunFileError::from_sqlite(&self.path, source))
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, RunFileError> {
        read(&self.connection).map_err(|source| RunFileError::from_sqlite(&self.path, source))
    }
}

/// Locks a run file against other processes, on a file beside it: SQLite's own locks belong to SQLite.
fn lock(path: &Path) -> Result<File, RunFileError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => RunFileError::Missing { path: path.to_owned(), source },
        std::io::ErrorKind::StorageFull => RunFileError::Full { path: path.to_owned() },
        _ => RunFileError::NotWritable { path: path.to_owned(), why: source.to_string() },
    };
    let lock = File::options().create(true).truncate(false).write(true).open(name).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(RunFileError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// What SQLite's "unable to open" comes from.
fn unopened(path: &Path, source: rusqlite::Error) -> RunFileError {
    match File::options().create(true).truncate(false).write(true).open(path) {
        Err(error) => RunFileError::NotWritable { path: path.to_owned(), why: error.to_string() },
        Ok(_) => RunFileError::from_sqlite(path, source),
    }
}

/// The format of a run file; `None` for an empty database.
fn format_of(connection: &Connection, path: &Path) -> Result<Option<i64>, RunFileError> {
    let at = |source| RunFileError::from_sqlite(path, source);
    let number =
        |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(at);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).map_err(at)?;
    let (application, format) = (number("application_id")?, number("user_version")?);
    match (application, format) {
        (0, 0) if tables == 0 => Ok(None),
        (APPLICATION, FORMAT) => Ok(Some(FORMAT)),
        (APPLICATION, found) => Err(RunFileError::Format { path: path.to_owned(), found }),
        (found, _) => Err(RunFileError::AnotherProgram { path: path.to_owned(), found }),
    }
}

fn unix_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests;
