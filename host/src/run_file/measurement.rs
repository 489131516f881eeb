//! One measurement of a run file: begun, kept piece by piece, done, said. What stopped on the way is taken up by the
//! next command that asks for the same.

use super::{RunFile, RunFileError, unix_s};
use ndarray::{Array2, ArrayView2};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What is to be measured. Two orders are the same if kind, settings and inputs are.
#[derive(Clone, Copy, Debug)]
pub struct MeasurementOrder<'a> {
    /// Name of the command.
    pub kind: &'a str,
    /// Everything that decides what is done, in SI units.
    pub settings: &'a Value,
    /// Arrays that were given, kept with the measurement.
    pub inputs: &'a [(&'a str, ArrayView2<'a, f64>)],
    /// Whether its pieces leave the array changed, so that the rest means nothing on another array.
    pub changes_array: bool,
}

impl MeasurementOrder<'_> {
    /// SHA-256 of kind, settings and inputs, hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut text = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        text(self.kind);
        text(&self.settings.to_string());
        for (name, array) in self.inputs {
            text(name);
            text(&format!("{:?}", array.dim()));
        }
        for (_, array) in self.inputs {
            hash.update(bytes_of(*array));
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Where the instrument is in its own time, and how warm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    /// Instrument time, ns.
    pub at_ns: u64,
    /// Beside the array, K.
    pub temperature_k: Option<f64>,
}

/// What an earlier process left of a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taken {
    /// When it was begun, seconds since 1970.
    pub started_unix_s: f64,
    /// Pieces that are done.
    pub pieces: u32,
    /// Jobs that were sent.
    pub jobs: u32,
}

/// A measurement that was done by a process that didn't live to say so.
#[derive(Clone, Debug, PartialEq)]
pub struct Complete {
    /// What it would have said.
    pub said: Value,
}

/// A part of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// What was written down before it was begun, if anything.
    pub intent: Option<Value>,
    /// What came of it; `None` if that was never written down.
    pub value: Option<Value>,
}

/// A measurement under way.
#[derive(Clone, Debug)]
pub struct Measurement {
    pub(super) file: RunFile,
    pub(super) id: i64,
    taken: Option<Taken>,
    complete: Option<Complete>,
    left_open: Vec<(i64, String)>,
    started_over: bool,
}

impl Measurement {
    /// Begins a measurement, or takes up the last one of the same order that was begun and not said to be done. With
    /// `fresh`, the array is another one than any earlier process had: what changed that one is begun again.
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn begin(
        file: &RunFile,
        order: &MeasurementOrder<'_>,
        now: Moment,
        fresh: bool,
    ) -> Result<Self, RunFileError> {
        let digest = order.digest();
        let left_open = file.read(|connection| {
            connection
                .prepare(
                    "SELECT id, kind FROM measurement WHERE state = 'open' AND digest != ?1 ORDER BY id",
                )?
                .query_map([&digest], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        let found: Option<(i64, String, f64, Option<String>)> = file.read(|connection| {
            connection
                .query_row(
                    "SELECT id, state, started_unix_s, said_json FROM measurement WHERE digest = ?1 \
                     AND state IN ('open', 'done') ORDER BY id DESC LIMIT 1",
                    [&digest],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
                )
                .optional()
        })?;
        let mut started_over = false;
        if let Some((id, state, started_unix_s, said)) = found {
            let complete = match (state.as_str(), said) {
                ("done", Some(said)) => Some(Complete { said: file.parse(&said)? }),
                _ => None,
            };
            started_over = fresh && order.changes_array && complete.is_none();
            if !started_over {
                let (pieces, jobs) = file.transaction(|connection| {
                    connection
                        .execute("UPDATE measurement SET last_run = ?1, error = NULL WHERE id = ?2", params![file.run, id])?;
                    if fresh {
                        connection.execute(
                            "UPDATE job SET ended = 'lost with its array' WHERE measurement = ?1 AND ended IS NULL",
                            [id],
                        )?;
                    }
                    let count = |sql: &str| connection.query_row(sql, [id], |row| row.get::<_, u32>(0));
                    Ok((
                        count("SELECT count(*) FROM piece WHERE measurement = ?1 AND value_json IS NOT NULL")?,
                        count("SELECT count(*) FROM job WHERE measurement = ?1")?,
                    ))
                })?;
                let taken = Some(Taken { started_unix_s, pieces, jobs });
                return Ok(Self { file: file.clone(), id, taken, complete, left_open, started_over });
            }
            file.transaction(|connection| {
                connection.execute("UPDATE measurement SET state = 'abandoned' WHERE id = ?1", [id])
            })?;
        }
        let id = file.transaction(|connection| {
            connection.execute(
                "INSERT INTO measurement (run, last_run, kind, digest, settings, state, started_unix_s, \
                 started_instrument_ns, temperature_k, calibration) VALUES (?1, ?1, ?2, ?3, ?4, 'open', ?5, ?6, ?7, ?8)",
                params![
                    file.run,
                    order.kind,
                    digest,
                    order.settings.to_string(),
                    unix_s(),
                    now.at_ns as i64,
                    now.temperature_k,
                    file.calibration
                ],
            )?;
            let id = connection.last_insert_rowid();
            insert_arrays(connection, id, "", order.inputs)?;
            Ok(id)
        })?;
        Ok(Self { file: file.clone(), id, taken: None, complete: None, left_open, started_over })
    }

    /// Its number in the file.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// What an earlier process left, if this goes on with it.
    #[must_use]
    pub fn taken(&self) -> Option<Taken> {
        self.taken
    }

    /// Set if there is nothing left to do.
    #[must_use]
    pub fn complete(&self) -> Option<&Complete> {
        self.complete.as_ref()
    }

    /// Other measurements that were begun and never done: number and kind.
    #[must_use]
    pub fn left_open(&self) -> &[(i64, String)] {
        &self.left_open
    }

    /// Whether one of the same order was there and had to be begun again, because its array is gone.
    #[must_use]
    pub fn started_over(&self) -> bool {
        self.started_over
    }

    /// Whether every session of a boot after number `from` up to number `to` was of a process that wrote to this file.
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn sessions_are_ours(&self, boot_nonce: u64, from: u32, to: u32) -> Result<bool, RunFileError> {
        let count: u32 = self.file.read(|connection| {
            connection.query_row(
                "SELECT count(DISTINCT session) FROM run WHERE boot = ?1 AND session > ?2 AND session <= ?3",
                params![format!("{boot_nonce:#018x}"), from, to],
                |row| row.get(0),
            )
        })?;
        Ok(to.checked_sub(from) == Some(count))
    }

    /// A piece that an earlier process, or this one, has begun.
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn piece(&self, name: &str) -> Result<Option<Piece>, RunFileError> {
        let found: Option<(Option<String>, Option<String>)> = self.file.read(|connection| {
            connection
                .query_row(
                    "SELECT intent_json, value_json FROM piece WHERE measurement = ?1 AND name = ?2",
                    params![self.id, name],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
        })?;
        let Some((intent, value)) = found else { return Ok(None) };
        let parse = |text: Option<String>| text.map(|text| self.file.parse(&text)).transpose();
        Ok(Some(Piece { intent: parse(intent)?, value: parse(value)? }))
    }

    /// An array of a piece, or of the measurement itself (piece "").
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn array(&self, piece: &str, name: &str) -> Result<Option<Array2<f64>>, RunFileError> {
        let found: Option<(u32, u32, Vec<u8>)> = self.file.read(|connection| {
            connection
                .query_row(
                    "SELECT rows, columns, float64_le FROM array WHERE measurement = ?1 AND piece = ?2 AND name = ?3",
                    params![self.id, piece, name],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )
                .optional()
        })?;
        found
            .map(|(rows, columns, bytes)| self.file.array_of(rows as usize, columns as usize, &bytes))
            .transpose()
    }

    /// Writes down that a piece is about to be begun which must not be done twice.
    ///
    /// # Errors
    /// [`RunFileError`]; then it must not be begun.
    pub fn intend(&mut self, name: &str, intent: &Value) -> Result<(), RunFileError> {
        self.file.transaction(|connection| {
            connection.execute(
                "INSERT OR REPLACE INTO piece (measurement, name, begun_unix_s, intent_json) VALUES (?1, ?2, ?3, ?4)",
                params![self.id, name, unix_s(), intent.to_string()],
            )
        })?;
        Ok(())
    }

    /// Takes back an intent of which it is certain that nothing came.
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn forget(&mut self, name: &str) -> Result<(), RunFileError> {
        self.file.transaction(|connection| {
            connection.execute(
                "DELETE FROM piece WHERE measurement = ?1 AND name = ?2 AND value_json IS NULL",
                params![self.id, name],
            )
        })?;
        Ok(())
    }

    /// Keeps a piece that is done, with its arrays.
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn keep(
        &mut self,
        name: &str,
        value: &Value,
        arrays: &[(&str, ArrayView2<'_, f64>)],
    ) -> Result<(), RunFileError> {
        self.file.transaction(|connection| {
            connection.execute(
                "INSERT INTO piece (measurement, name, begun_unix_s, kept_unix_s, value_json) VALUES (?1, ?2, ?3, ?3, ?4) \
                 ON CONFLICT (measurement, name) DO UPDATE SET kept_unix_s = ?3, value_json = ?4",
                params![self.id, name, unix_s(), value.to_string()],
            )?;
            insert_arrays(connection, self.id, name, arrays)
        })
    }

    /// Ends the measurement with its results and everything the command will say.
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn done(
        &mut self,
        value: &Value,
        arrays: &[(&str, ArrayView2<'_, f64>)],
        said: &Value,
        now: Moment,
    ) -> Result<(), RunFileError> {
        self.file.transaction(|connection| {
            connection.execute(
                "UPDATE measurement SET state = 'done', ended_unix_s = ?2, ended_instrument_ns = ?3, \
                 temperature_k = coalesce(?4, temperature_k), value_json = ?5, said_json = ?6 WHERE id = ?1",
                params![
                    self.id,
                    unix_s(),
                    now.at_ns as i64,
                    now.temperature_k,
                    value.to_string(),
                    said.to_string()
                ],
            )?;
            insert_arrays(connection, self.id, "", arrays)
        })?;
        // Before the result is said: what is left to do after that, and could be interrupted, is then as little as can be.
        self.file.read(|connection| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
    }

    /// Notes why it stopped; it stays open.
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn failed(&mut self, error: &str) -> Result<(), RunFileError> {
        self.file.transaction(|connection| {
            connection.execute("UPDATE measurement SET error = ?2 WHERE id = ?1", params![self.id, error])
        })?;
        Ok(())
    }

    /// The result of a done measurement has been said: the same command now starts another.
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn said(&self) -> Result<(), RunFileError> {
        self.file.transaction(|connection| {
            connection
                .execute("UPDATE measurement SET state = 'said' WHERE id = ?1 AND state = 'done'", [self.id])
        })?;
        Ok(())
    }
}

impl RunFile {
    /// A measurement in one go, for what can't be taken up in the middle.
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn measurement(
        &mut self,
        kind: &str,
        settings: &Value,
        values: &Value,
        arrays: &[(&str, ArrayView2<'_, f64>)],
    ) -> Result<(), RunFileError> {
        let digest = MeasurementOrder { kind, settings, inputs: &[], changes_array: false }.digest();
        self.transaction(|connection| {
            connection.execute(
                "INSERT INTO measurement (run, last_run, kind, digest, settings, state, started_unix_s, ended_unix_s, \
                 value_json, calibration) VALUES (?1, ?1, ?2, ?3, ?4, 'said', ?5, ?5, ?6, ?7)",
                params![
                    self.run,
                    kind,
                    digest,
                    settings.to_string(),
                    unix_s(),
                    values.to_string(),
                    self.calibration
                ],
            )?;
            insert_arrays(connection, connection.last_insert_rowid(), "", arrays)
        })
    }

    pub(super) fn parse(&self, json: &str) -> Result<Value, RunFileError> {
        serde_json::from_str(json).map_err(|error| self.content(format!("a value that is no JSON ({error})")))
    }

    pub(super) fn content(&self, what: String) -> RunFileError {
        RunFileError::Content { path: self.path.to_path_buf(), what }
    }

    fn array_of(&self, rows: usize, columns: usize, bytes: &[u8]) -> Result<Array2<f64>, RunFileError> {
        array_from(rows, columns, bytes).ok_or_else(|| {
            self.content(format!("an array of {rows} × {columns} with {} bytes of float64", bytes.len()))
        })
    }
}

/// An array from its little-endian bytes, if they are as many as it takes.
pub(super) fn array_from(rows: usize, columns: usize, bytes: &[u8]) -> Option<Array2<f64>> {
    let (values, rest) = bytes.as_chunks::<8>();
    let values = values.iter().map(|&value| f64::from_le_bytes(value)).collect();
    Array2::from_shape_vec((rows, columns), values).ok().filter(|_| rest.is_empty())
}

fn bytes_of(array: ArrayView2<'_, f64>) -> Vec<u8> {
    array.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn insert_arrays(
    connection: &Connection,
    measurement: i64,
    piece: &str,
    arrays: &[(&str, ArrayView2<'_, f64>)],
) -> rusqlite::Result<()> {
    for (name, array) in arrays {
        connection.execute(
            "INSERT OR REPLACE INTO array VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![measurement, piece, name, array.nrows() as i64, array.ncols() as i64, bytes_of(*array)],
        )?;
    }
    Ok(())
}
