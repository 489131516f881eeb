//! `--truth FILE`: what the emulated cells really are, rewritten atomically.

use crate::arrays::replace;
use ohmrig_emulator::board::Board;
use ohmrig_emulator::truth::Truth;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Least time between two writes.
const TRUTH_EVERY: Duration = Duration::from_secs(1);

/// A truth file and what was last written to it.
pub(super) struct TruthFile {
    path: PathBuf,
    written: Option<Truth>,
    looked_at: Option<Instant>,
}

impl TruthFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, written: None, looked_at: None }
    }

    pub(super) fn is_due(&self) -> bool {
        self.looked_at.is_none_or(|at| at.elapsed() >= TRUTH_EVERY)
    }

    pub(super) fn update(&mut self, board: &mut Board) {
        self.looked_at = Some(Instant::now());
        let truth: Truth = match board.truth() {
            Ok(cells) => cells.into_iter().collect(),
            Err(error) => {
                log::error!("ground truth: {error}");
                return;
            }
        };
        if self.written.as_ref() == Some(&truth) {
            return;
        }
        let written = serde_json::to_vec(&truth)
            .map_err(io::Error::other)
            .and_then(|bytes| replace(&self.path, &bytes));
        match written {
            Ok(()) => self.written = Some(truth),
            Err(error) => log::error!("truth file {}: {error}", self.path.display()),
        }
    }
}
