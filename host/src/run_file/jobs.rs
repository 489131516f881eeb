//! Jobs of a measurement: written down before they are sent, cells as their results come in, so that a job is found
//! again by its number and no cell that is done is done again.

use super::{Measurement, RunFileError, unix_s};
use crate::instrument::{Books, CellDone, JobNote, PastJob};
use ohmrig_protocol::message::{CellResult, JobEnd, JobId, Outcome, Region};
use ohmrig_protocol::units::Siemens;
use rusqlite::params;

/// The jobs of one stage of a measurement (a stage is one programming order).
#[derive(Debug)]
pub struct PastJobs<'a> {
    measurement: &'a mut Measurement,
    stage: &'a str,
}

impl Measurement {
    /// The books of the jobs of a stage.
    pub fn jobs<'a>(&'a mut self, stage: &'a str) -> PastJobs<'a> {
        PastJobs { measurement: self, stage }
    }
}

impl PastJobs<'_> {
    /// Jobs that were sent for this stage, oldest first; those of an array that is gone are left out.
    ///
    /// # Errors
    /// [`RunFileError`].
    pub fn past(&self) -> Result<Vec<PastJob>, RunFileError> {
        let file = &self.measurement.file;
        let rows: Vec<(String, u8, Region, String, Option<String>)> = file.read(|connection| {
            connection
                .prepare(
                    "SELECT id, pass, first_row, first_column, rows, columns, boot, ended FROM job \
                     WHERE measurement = ?1 AND stage = ?2 AND coalesce(ended, '') != 'lost with its array' \
                     ORDER BY sent_unix_s, rowid",
                )?
                .query_map(params![self.measurement.id, self.stage], |row| {
                    let region = Region {
                        row: row.get(2)?,
                        column: row.get(3)?,
                        rows: row.get(4)?,
                        columns: row.get(5)?,
                    };
                    Ok((row.get(0)?, row.get(1)?, region, row.get(6)?, row.get(7)?))
                })?
                .collect()
        })?;
        rows.into_iter()
            .map(|(id, pass, region, boot, ended)| {
                let number = |text: &str| {
                    u64::from_str_radix(text.trim_start_matches("0x"), 16)
                        .map_err(|_| file.content(format!("`{text}` is no job number")))
                };
                let note = JobNote { id: JobId(number(&id)?), pass, region, boot_nonce: number(&boot)? };
                Ok(PastJob { note, cells: self.cells(&id)?, ended: ended.is_some() })
            })
            .collect()
    }

    fn cells(&self, job: &str) -> Result<Vec<CellDone>, RunFileError> {
        let file = &self.measurement.file;
        let rows: Vec<(CellDone, u8)> = file.read(|connection| {
            connection
                .prepare(
                    "SELECT row, column, conductance_s, uncertainty_s, pulses, reversals, outcome FROM job_cell \
                     WHERE job = ?1",
                )?
                .query_map([job], |row| {
                    // SQLite knows no NaN.
                    let siemens = |n: usize| row.get::<_, Option<f32>>(n).map(|g| Siemens(g.unwrap_or(f32::NAN)));
                    let result = CellResult {
                        conductance: siemens(2)?,
                        uncertainty: siemens(3)?,
                        pulses: row.get(4)?,
                        reversals: row.get(5)?,
                        outcome: Outcome::Pending,
                    };
                    Ok((CellDone { row: row.get(0)?, column: row.get(1)?, result }, row.get(6)?))
                })?
                .collect()
        })?;
        rows.into_iter()
            .map(|(mut cell, code)| {
                cell.result.outcome = Outcome::from_code(code)
                    .ok_or_else(|| file.content(format!("job {job} has a cell of unknown outcome {code}")))?;
                Ok(cell)
            })
            .collect()
    }
}

fn name(job: JobId) -> String {
    format!("{:#018x}", job.0)
}

impl Books for PastJobs<'_> {
    fn sending(&mut self, job: &JobNote) -> Result<(), String> {
        let (measurement, stage, region) = (&self.measurement, self.stage, job.region);
        measurement
            .file
            .transaction(|connection| {
                connection.execute(
                    "INSERT INTO job VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, NULL)",
                    params![
                        name(job.id),
                        measurement.id,
                        stage,
                        job.pass,
                        region.row,
                        region.column,
                        region.rows,
                        region.columns,
                        format!("{:#018x}", job.boot_nonce),
                        unix_s()
                    ],
                )
            })
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    fn results(&mut self, job: JobId, cells: &[CellDone]) -> Result<(), String> {
        self.write(job, cells, None)
    }

    fn ended(&mut self, job: JobId, cells: &[CellDone], end: Option<JobEnd>) -> Result<(), String> {
        let end = end.map_or_else(|| "unknown to the device".to_owned(), |end| format!("{end:?}"));
        self.write(job, cells, Some(end))
    }
}

impl PastJobs<'_> {
    fn write(&self, job: JobId, cells: &[CellDone], end: Option<String>) -> Result<(), String> {
        let job = name(job);
        self.measurement
            .file
            .transaction(|connection| {
                let mut insert = connection.prepare_cached(
                    "INSERT OR REPLACE INTO job_cell VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?;
                for CellDone { row, column, result } in cells {
                    insert.execute(params![
                        job,
                        row,
                        column,
                        result.conductance.0,
                        result.uncertainty.0,
                        result.pulses,
                        result.reversals,
                        result.outcome as u8
                    ])?;
                }
                if let Some(end) = end {
                    connection.execute("UPDATE job SET ended = ?2 WHERE id = ?1", params![job, end])?;
                }
                Ok(())
            })
            .map_err(|error| error.to_string())
    }
}
