//! `--state FILE`: an emulated board between processes.

use super::EmulationError;
use crate::arrays::replace;
use ohmrig_emulator::board::{Board, BoardState};
use ohmrig_emulator::crossbar::Crossbar;
use ohmrig_emulator::profile::Profile;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Layout of state files; another number is refused.
const STATE_FORMAT: u32 = 3;

/// Everything that outlives a process.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) format: u32,
    pub(super) profile: Profile,
    pub(super) seed: u64,
    pub(super) crossbar: Crossbar,
    pub(super) board: BoardState,
}

/// A state file, locked for this process. The lock is on a file beside it, which outlives the renames that replace it.
pub(super) struct StateFile {
    path: PathBuf,
    _lock: File,
}

impl StateFile {
    pub(super) fn lock(path: &Path) -> Result<Self, EmulationError> {
        let failed =
            |source: io::Error| EmulationError::State { path: path.to_owned(), why: source.to_string() };
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&name).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(EmulationError::StateInUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    pub(super) fn load(&self) -> Result<Option<Saved>, EmulationError> {
        let failed = |why: String| EmulationError::State { path: self.path.clone(), why };
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        let saved: Saved = serde_json::from_str(&text)
            .map_err(|error| failed(format!("not a state file of this version ({error})")))?;
        if saved.format != STATE_FORMAT {
            return Err(failed(format!("format {}, this ohmrig reads {STATE_FORMAT}", saved.format)));
        }
        Ok(Some(saved))
    }

    /// Replaces the file's contents with a board's present state.
    pub(super) fn save(&self, profile: &Profile, seed: u64, board: &mut Board) -> Result<(), EmulationError> {
        let state = board.save().map_err(EmulationError::Board)?;
        let saved = Saved {
            format: STATE_FORMAT,
            profile: profile.clone(),
            seed,
            crossbar: board.crossbar().clone(),
            board: state,
        };
        let failed = |why: String| EmulationError::State { path: self.path.clone(), why };
        let bytes = serde_json::to_vec(&saved).map_err(|error| failed(error.to_string()))?;
        replace(&self.path, &bytes).map_err(|error| failed(error.to_string()))
    }
}
