//! A measuring command's way through its run file: begun or taken up, kept piece by piece, done, said. Without `--run`
//! the same way leads through nothing.

use super::open::Opened;
use super::output::{Mark, Output};
use super::{Failure, Global};
use crate::calibration::{Calibration, Corrections, EffectiveSettings};
use crate::instrument::{
    FormOrder, Formed, InCircuit, InstrumentError, NoBooks, ProgramOrder, Programmed, Progress, ResetCells,
};
use crate::run_file::{Measurement, MeasurementOrder, Moment, Piece};
use ndarray::{Array2, ArrayView2};
use ohmrig_protocol::message::FaultCode;
use serde_json::{Value, json};

/// A measurement under way.
pub(super) struct Work {
    measurement: Option<Measurement>,
    mark: Mark,
}

impl Opened {
    /// Begins a measurement or takes up one that stopped; `None` if it was done and only had to be said, which it is now.
    pub(super) fn begin(
        &mut self,
        global: &Global,
        order: &MeasurementOrder<'_>,
        output: &mut Output,
    ) -> Result<Option<Work>, Failure> {
        let mark = output.mark();
        let Some(file) = self.run.clone() else {
            return Ok(Some(Work { measurement: None, mark }));
        };
        let now = self.moment()?;
        let measurement = Measurement::begin(&file, order, now, self.fresh)?;
        let path = global.run.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
        for (id, kind) in measurement.left_open() {
            output.say(format_args!(
                "run      measurement {id} ({kind}) of {path} was never finished; the command it is of would go on with it"
            ));
        }
        output.set("run", &path);
        output.set("measurement", measurement.id());
        output.set("resumed", measurement.taken().is_some());
        output.is_result_of(measurement.clone());
        if measurement.started_over() {
            output.say("run      the emulated array of an interrupted run ended with its process (--state keeps one): begun again");
        }
        if let Some(taken) = measurement.taken() {
            let complete = measurement.complete();
            output.set(
                "resume",
                json!({
                    "measurement": measurement.id(), "started_unix_s": taken.started_unix_s, "pieces": taken.pieces,
                    "jobs": taken.jobs, "complete": complete.is_some(),
                }),
            );
            if let Some(complete) = complete {
                output.say(format_args!(
                    "resumed  measurement {} was done and not yet reported; nothing is done again, this is its result",
                    measurement.id()
                ));
                output.say_again(&complete.said);
                return Ok(None);
            }
            output.say(format_args!(
                "resumed  measurement {} goes on where it stopped: {} pieces are done, {} jobs were sent",
                measurement.id(),
                taken.pieces,
                taken.jobs
            ));
            self.after_silence(output)?;
        }
        let mark = output.mark();
        Ok(Some(Work { measurement: Some(measurement), mark }))
    }

    /// A host that was killed while the device was armed leaves the fault `link-silent`; its cause is known here.
    fn after_silence(&mut self, output: &Output) -> Result<(), Failure> {
        let fault = self.instrument.status()?.fault;
        if fault.is_some_and(|fault| fault.code == FaultCode::LinkSilent) {
            self.instrument.clear_fault(FaultCode::LinkSilent)?;
            output.say("resumed  fault link-silent cleared: it is from when this run's host ended");
        }
        Ok(())
    }

    /// Instrument time and temperature, for the record.
    fn moment(&mut self) -> Result<Moment, InstrumentError> {
        let status = self.instrument.status()?;
        Ok(Moment {
            at_ns: status.at_ns,
            temperature_k: status.temperature.map(|kelvin| f64::from(kelvin.0)),
        })
    }

    /// Programs an order whose jobs are kept under `stage`; says what resets left unknown.
    pub(super) fn program(
        &mut self,
        work: &mut Work,
        stage: &str,
        order: &ProgramOrder,
        output: &mut Output,
        progress: impl FnMut(Progress),
    ) -> Result<Programmed, Failure> {
        let programmed = match &mut work.measurement {
            None => self.instrument.program(order, &[], &mut NoBooks, progress),
            Some(measurement) => {
                let mut jobs = measurement.jobs(stage);
                let past = jobs.past()?;
                self.instrument.program(order, &past, &mut jobs, progress)
            }
        };
        match programmed {
            Ok(programmed) => {
                for cells in &programmed.resets {
                    say_reset(
                        output,
                        cells,
                        "their job was lost, so they are read first and then gone on with",
                    );
                }
                Ok(programmed)
            }
            Err(error) => {
                if let InstrumentError::JobReset(cells) = &error {
                    say_reset(output, cells, "read them, or run the same command again");
                }
                Err(error.into())
            }
        }
    }
}

impl Opened {
    /// Programs in circuit. Its jobs are kept; a run that is taken up starts with the first turn again, which leaves alone
    /// what is where it should be.
    pub(super) fn program_in_circuit(
        &mut self,
        work: &mut Work,
        order: &ProgramOrder,
        settings: &EffectiveSettings,
        calibration: Option<&Calibration>,
        turns: u8,
        progress: impl FnMut(Progress),
    ) -> Result<InCircuit, Failure> {
        let instrument = &mut self.instrument;
        let calibrated = calibration.map(|calibration| (calibration, Corrections::ALL));
        Ok(match &mut work.measurement {
            None => {
                instrument.program_in_circuit(order, settings, calibrated, turns, &mut NoBooks, progress)?
            }
            Some(measurement) => {
                let mut jobs = measurement.jobs("in circuit");
                instrument.program_in_circuit(order, settings, calibrated, turns, &mut jobs, progress)?
            }
        })
    }

    /// Forms cells; those that an earlier process has formed are done.
    pub(super) fn form(
        &mut self,
        work: &mut Work,
        order: &FormOrder,
        progress: impl FnMut(Progress),
    ) -> Result<Formed, Failure> {
        Ok(match &mut work.measurement {
            None => self.instrument.form(order, &[], &mut NoBooks, progress)?,
            Some(measurement) => {
                let mut jobs = measurement.jobs("form");
                let past = jobs.past()?;
                self.instrument.form(order, &past, &mut jobs, progress)?
            }
        })
    }
}

/// What a reset left of a job, cell by cell.
fn say_reset(output: &mut Output, cells: &ResetCells, advice: &str) {
    output.say(format_args!(
        "reset    job {:#018x}, pass {}: {} cells certainly done, {} certainly not begun, {} unknown ({advice})",
        cells.job,
        cells.pass + 1,
        cells.done.len(),
        cells.not_done.len(),
        cells.unknown.len()
    ));
    for (what, list) in [("done", &cells.done), ("not done", &cells.not_done), ("unknown", &cells.unknown)] {
        if !list.is_empty() {
            output.say(format_args!("         {what}: {}", ranges(list)));
        }
    }
    output.set(
        "reset",
        json!({
            "job": format!("{:#018x}", cells.job), "pass": cells.pass, "done": cells.done,
            "not_done": cells.not_done, "unknown": cells.unknown,
        }),
    );
}

/// Cells in words: `row 3: columns 0-7, 9; row 4: …`. The list is in order.
fn ranges(cells: &[(u16, u16)]) -> String {
    let mut rows: Vec<(u16, Vec<(u16, u16)>)> = Vec::new();
    for &(row, column) in cells {
        if rows.last().is_none_or(|(last, _)| *last != row) {
            rows.push((row, Vec::new()));
        }
        let Some((_, runs)) = rows.last_mut() else { continue };
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == column => *end = column,
            _ => runs.push((column, column)),
        }
    }
    let text = |(first, last): &(u16, u16)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    rows.iter()
        .map(|(row, runs)| {
            format!("row {row} columns {}", runs.iter().map(text).collect::<Vec<_>>().join(", "))
        })
        .collect::<Vec<_>>()
        .join("; ")
}

impl Work {
    /// A piece that is done, or was begun.
    pub(super) fn piece(&self, name: &str) -> Result<Option<Piece>, Failure> {
        Ok(self.measurement.as_ref().map(|measurement| measurement.piece(name)).transpose()?.flatten())
    }

    /// The value of a piece that is done.
    pub(super) fn done_piece(&self, name: &str) -> Result<Option<Value>, Failure> {
        Ok(self.piece(name)?.and_then(|piece| piece.value))
    }

    /// Whether nobody but processes of this run file had a session of a boot after one and up to another.
    pub(super) fn sessions_are_ours(&self, boot_nonce: u64, from: u32, to: u32) -> Result<bool, Failure> {
        let ours = |measurement: &Measurement| measurement.sessions_are_ours(boot_nonce, from, to);
        Ok(self.measurement.as_ref().map(ours).transpose()?.unwrap_or(false))
    }

    /// An array of a piece.
    pub(super) fn array(&self, piece: &str, name: &str) -> Result<Array2<f64>, Failure> {
        let found = self
            .measurement
            .as_ref()
            .map(|measurement| measurement.array(piece, name))
            .transpose()?
            .flatten();
        found.ok_or_else(|| {
            Failure::failed(format_args!("the run file has piece {piece} without its array {name}"))
        })
    }

    /// Writes down what is about to be done and must not be done twice.
    pub(super) fn intend(&mut self, name: &str, intent: &Value) -> Result<(), Failure> {
        Ok(self.measurement.as_mut().map_or(Ok(()), |measurement| measurement.intend(name, intent))?)
    }

    /// Takes back an intent that certainly came to nothing.
    pub(super) fn forget(&mut self, name: &str) -> Result<(), Failure> {
        Ok(self.measurement.as_mut().map_or(Ok(()), |measurement| measurement.forget(name))?)
    }

    /// Keeps a piece that is done.
    pub(super) fn keep(
        &mut self,
        opened: &mut Opened,
        name: &str,
        value: &Value,
        arrays: &[(&str, ArrayView2<'_, f64>)],
    ) -> Result<(), Failure> {
        let Some(measurement) = &mut self.measurement else { return Ok(()) };
        opened.instrument.client_mut().keep_state()?;
        Ok(measurement.keep(name, value, arrays)?)
    }

    /// Ends the measurement; everything the command has to say must have been said and set.
    pub(super) fn done(
        mut self,
        opened: &mut Opened,
        output: &Output,
        value: &Value,
        arrays: &[(&str, ArrayView2<'_, f64>)],
    ) -> Result<(), Failure> {
        let Some(measurement) = &mut self.measurement else { return Ok(()) };
        let now = opened.moment()?;
        opened.instrument.client_mut().keep_state()?;
        Ok(measurement.done(value, arrays, &output.said_since(&self.mark), now)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_told_row_by_row_in_runs() {
        let cells = [(0, 1), (0, 2), (0, 3), (0, 7), (2, 0)];
        assert_eq!(ranges(&cells), "row 0 columns 1-3, 7; row 2 columns 0");
    }
}
