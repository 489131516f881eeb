//! Pulses in long trains: kept armed, each counted by the device in the cell's own budget, which is what a process that takes up
//! an interrupted train goes by.

use super::Failure;
use super::open::Opened;
use crate::instrument::{InstrumentError, refusal};
use ohmrig_protocol::message::{FaultCode, Field, LimitName, Pulse, Refusal, Region};

/// Pulses between two armings.
const PULSES_PER_ARMING: u32 = 100;

/// Trains of one command.
#[derive(Debug, Default)]
pub(super) struct Train {
    /// Pulses until the array has to be armed again.
    armed: u32,
}

/// What became of a pulse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    Yes,
    /// The cell may not get any more: why.
    NoMore(String),
    /// The board has no such scheme, in words.
    NoScheme(String),
}

impl Train {
    /// One more pulse. A cell whose budget is spent, or whose column's current passed its limit, gets no more, and a scheme that
    /// the board hasn't gets none; anything else that is refused ends the command.
    pub(super) fn pulse(&mut self, opened: &mut Opened, pulse: Pulse) -> Result<Applied, Failure> {
        if self.armed == 0 {
            self.arm(opened, pulse)?;
        }
        self.armed -= 1;
        let mut answer = opened.instrument.pulse(pulse);
        if let Err(InstrumentError::Refused { refusal: Refusal::NotArmed, .. }) = answer {
            // A slow link let the arming run out: nothing was applied.
            self.arm(opened, pulse)?;
            answer = opened.instrument.pulse(pulse);
        }
        let instrument = &mut opened.instrument;
        match answer {
            Ok(_) => Ok(Applied::Yes),
            Err(InstrumentError::Refused { refusal: Refusal::Fault(FaultCode::OverCurrent), .. }) => {
                instrument.clear_fault(FaultCode::OverCurrent)?;
                self.armed = 0;
                Ok(Applied::NoMore("its column's current passed the limit in a pulse".to_owned()))
            }
            Err(InstrumentError::Refused { request, refusal: Refusal::Limit { limit, asked, allowed } })
                if matches!(
                    limit,
                    LimitName::PulsesPerCell | LimitName::DosePerCell | LimitName::EnergyPerCell
                ) =>
            {
                let refused = Refusal::Limit { limit, asked, allowed };
                Ok(Applied::NoMore(format!("its budget is spent ({})", refusal::describe(request, &refused))))
            }
            Err(error @ InstrumentError::Refused { refusal: Refusal::Unsupported(Field::Scheme), .. }) => {
                Ok(Applied::NoScheme(error.to_string()))
            }
            Err(error) => {
                instrument.give_up(&error);
                Err(error.into())
            }
        }
    }

    fn arm(&mut self, opened: &mut Opened, pulse: Pulse) -> Result<(), Failure> {
        let milliseconds = 10_000.0 + 1e3 * f64::from(PULSES_PER_ARMING) * f64::from(pulse.width.0);
        opened.instrument.arm(milliseconds as u32)?;
        self.armed = PULSES_PER_ARMING;
        Ok(())
    }

    /// Disarms.
    pub(super) fn end(&mut self, opened: &mut Opened) -> Result<(), Failure> {
        self.armed = 0;
        Ok(opened.instrument.safe()?)
    }
}

/// Pulses that one cell has got in all, by the device's count.
pub(super) fn counted(opened: &mut Opened, row: u16, column: u16) -> Result<u64, Failure> {
    let cell = Region { row, column, rows: 1, columns: 1 };
    Ok(u64::from(opened.instrument.budgets(cell)?.pulses[(0, 0)]))
}

/// 1 to `last` in even steps of the logarithm, whole numbers.
pub(super) fn log_grid(last: u64, per_decade: u16) -> Vec<u64> {
    let step = |k: u32| 10_f64.powf(f64::from(k) / f64::from(per_decade)).round() as u64;
    let mut grid: Vec<u64> = (0..).map(step).take_while(|count| *count < last).collect();
    grid.dedup();
    grid.push(last);
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_grid_has_both_ends_and_nothing_twice() {
        assert_eq!(log_grid(1, 5), [1]);
        assert_eq!(log_grid(100, 3), [1, 2, 5, 10, 22, 46, 100]);
        assert_eq!(log_grid(12, 10), [1, 2, 3, 4, 5, 6, 8, 10, 12]);
    }
}
