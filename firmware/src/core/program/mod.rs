//! Write-verify of a region as a job: column by column, cell by cell, read → pulse → read until the cell is inside
//! its window or a budget is spent.
//!
//! | module | what it is |
//! | --- | --- |
//! | `machine` | the job, step by step |
//! | `verify` | what a read of the cell says, and whether it must be longer |
//! | `algorithms` | which pulse comes next |
//! | `model` | what a pulse is expected to do, corrected by what it did |

mod algorithms;
mod machine;
mod model;
mod verify;

pub(super) use machine::{ProgramMachine, ProgramOrder};

use ohmrig_protocol::message::CellResult;

/// Target and result of one cell of a job.
#[derive(Clone, Copy, Debug)]
pub struct JobCell {
    pub(super) target: f32,
    pub(super) result: CellResult,
}

impl JobCell {
    /// Of no job.
    pub const EMPTY: Self = Self { target: 0.0, result: CellResult::PENDING };
}
