//! Why a run file can't be used, in one line that says what to do.

use super::schema::FORMAT;
use rusqlite::{ErrorCode, ffi};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

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
    /// No room, or beyond a limit of size.
    #[error(
        "run file {}: the disk is full or a size limit is reached; what was done before is kept, so make room and run the \
         same command again",
        .path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Not writable.
    #[error("run file {} can't be written ({why}); change its permissions, or use another file", .path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// A folder.
    #[error("run file {} is a folder; name a file in it", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// Missing, or in a folder that is missing.
    #[error("there is no run file {} ({source})", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Some other file.
    #[error("{} is no run file: it is not an SQLite file; use another name", .path.display())]
    NotSqlite {
        /// The file.
        path: PathBuf,
    },
    /// Some other program's file.
    #[error(
        "{} is no run file: it is an SQLite file of another program (application id {found:#x}); use another name",
        .path.display()
    )]
    AnotherProgram {
        /// The file.
        path: PathBuf,
        /// Its application id.
        found: i64,
    },
    /// Of another layout.
    #[error(
        "run file {} has format {found}, this ohmrig writes {FORMAT}; use {}",
        .path.display(),
        if *found > FORMAT { "a newer ohmrig, or another file" } else { "another file, or the ohmrig that wrote it" }
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// Somebody else writes to it.
    #[error("run file {} is in use by another ohmrig; wait until that one ends, or use another file", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
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
    /// Boards that don't belong into one file.
    #[error("run file {} mixes {first} and {other}; nothing that is said of it would mean anything", .path.display())]
    Mixed {
        /// The file.
        path: PathBuf,
        /// One array.
        first: String,
        /// Another.
        other: String,
    },
    /// Something in it that this program doesn't write.
    #[error("run file {}: {what}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl RunFileError {
    /// Whether the file that was named is the wrong one, rather than that using it failed.
    #[must_use]
    pub const fn is_wrong_file(&self) -> bool {
        matches!(
            self,
            Self::Folder { .. }
                | Self::Missing { .. }
                | Self::NotSqlite { .. }
                | Self::AnotherProgram { .. }
                | Self::Format { .. }
                | Self::AnotherBoard { .. }
                | Self::Mixed { .. }
        )
    }

    /// What an error of SQLite means for a run file.
    pub(super) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path },
            // A full disk where SQLite expects none: the index of its log, what is flushed late; and a write beyond the
            // process's limit of file sizes, or a quota.
            Some(ErrorCode::SystemIoFailure)
                if extended(&source).is_some_and(|code| {
                    matches!(
                        code,
                        ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_FSYNC
                    )
                }) =>
            {
                Self::Full { path }
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::NotWritable { path, why: "it is read-only".to_owned() }
            }
            Some(ErrorCode::NotADatabase) => Self::NotSqlite { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path },
            _ => Self::Sqlite { path, source },
        }
    }
}

fn extended(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_as_one_wherever_sqlite_runs_into_it() {
        for code in
            [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_IOERR_FSYNC]
        {
            let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let error = RunFileError::from_sqlite(Path::new("run"), source);
            assert!(matches!(error, RunFileError::Full { .. }), "{code}: {error}");
        }
        let source = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_READ), None);
        assert!(matches!(RunFileError::from_sqlite(Path::new("run"), source), RunFileError::Sqlite { .. }));
    }
}
