//! The emulated bench of this process: which board it is, and the files that follow it (`--truth`, `--state`).

mod served;
mod state_file;
mod truth_file;

pub use served::ServedBench;

use ohmrig_emulator::board::{Board, BoardError, BoardOptions};
use ohmrig_emulator::crossbar::{Crossbar, CrossbarError};
use ohmrig_emulator::profile::{Profile, ProfileError};
use ohmrig_firmware::core::flash_bytes;
use state_file::{Saved, StateFile};
use std::io;
use std::path::PathBuf;
use thiserror::Error;
use truth_file::TruthFile;

/// Arrays whose budgets the flash of an emulated board has room for, at least.
const ARRAYS: u32 = 4;

/// Why there is no emulated bench.
#[derive(Debug, Error)]
pub enum EmulationError {
    /// The profile.
    #[error("{0}")]
    Profile(#[from] ProfileError),
    /// A profile file that can't be read.
    #[error("profile {}: {source}", .path.display())]
    ProfileFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The array.
    #[error("{0}")]
    Crossbar(#[from] CrossbarError),
    /// The circuit or a chip.
    #[error("emulated board: {0}")]
    Board(BoardError),
    /// Rows or columns.
    #[error("an array of {rows} rows × {columns} columns; each must be 1 to 256")]
    Geometry {
        /// Rows asked for.
        rows: u16,
        /// Columns asked for.
        columns: u16,
    },
    /// The state file is another process's.
    #[error("state file {} is in use by another ohmrig; close that one first", .path.display())]
    StateInUse {
        /// The file.
        path: PathBuf,
    },
    /// The state file can't be read or written.
    #[error("state file {}: {why}", .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The state file is of another array.
    #[error(
        "state file {} holds {found}, asked for is {asked}; use its own settings or another file",
        .path.display()
    )]
    StateOfAnother {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What was asked for.
        asked: String,
    },
    /// No randomness for the boot nonce.
    #[error("the system gives no random numbers: {0}")]
    Entropy(getrandom::Error),
}

/// Reads a profile: a built-in name, or a TOML file.
///
/// # Errors
/// [`EmulationError`].
pub fn profile(name: Option<&str>) -> Result<Profile, EmulationError> {
    let name = name.unwrap_or(Profile::DEFAULT);
    if !name.ends_with(".toml") {
        return Ok(Profile::built_in(name)?);
    }
    let path = PathBuf::from(name);
    let text =
        std::fs::read_to_string(&path).map_err(|source| EmulationError::ProfileFile { path, source })?;
    Ok(Profile::from_toml(&text)?)
}

/// Which board to emulate, and the files that follow it.
#[derive(Clone, Debug)]
pub struct Emulation {
    /// Devices and board.
    pub profile: Profile,
    /// Rows of the array.
    pub rows: u16,
    /// Columns of the array.
    pub columns: u16,
    /// Draws devices, errors and noise.
    pub seed: u64,
    /// Ground truth goes here.
    pub truth: Option<PathBuf>,
    /// State is kept here between processes.
    pub state: Option<PathBuf>,
}

impl Emulation {
    /// A fresh array of a profile's own size.
    #[must_use]
    pub fn new(profile: Profile, seed: u64) -> Self {
        let (rows, columns) = (profile.rows, profile.columns);
        Self { profile, rows, columns, seed, truth: None, state: None }
    }

    /// Powers up the board, from its state file if it has one.
    ///
    /// # Errors
    /// [`EmulationError`].
    pub fn power_up(&self) -> Result<(Board, BenchFiles), EmulationError> {
        let state = self.state.as_deref().map(StateFile::lock).transpose()?;
        let saved = state.as_ref().map(StateFile::load).transpose()?.flatten();
        let options = options(&self.profile, self.seed, (self.rows, self.columns))?;
        let fresh = saved.is_none();
        let board = match saved {
            None => {
                let (rows, columns) = (usize::from(self.rows), usize::from(self.columns));
                let crossbar = Crossbar::new(rows, columns, &self.profile.device, self.seed)?;
                Board::new(crossbar, options).map_err(EmulationError::Board)?
            }
            Some(saved) => {
                self.require_same(&saved)?;
                Board::restore(saved.crossbar, options, saved.board).map_err(|error| {
                    let path = self.state.clone().unwrap_or_default();
                    EmulationError::State {
                        path,
                        why: format!("{error}; if another build wrote it, name another file"),
                    }
                })?
            }
        };
        let truth = self.truth.clone().map(TruthFile::new);
        let files =
            BenchFiles { truth, state, profile: self.profile.clone(), seed: self.seed, options, fresh };
        Ok((board, files))
    }

    fn require_same(&self, saved: &Saved) -> Result<(), EmulationError> {
        let describe = |profile: &Profile, seed: u64, rows: usize, columns: usize| {
            format!("profile {}, seed {seed}, {rows} × {columns}", profile.name)
        };
        let path = self.state.clone().unwrap_or_default();
        let found = describe(&saved.profile, saved.seed, saved.crossbar.rows(), saved.crossbar.columns());
        let asked = describe(&self.profile, self.seed, usize::from(self.rows), usize::from(self.columns));
        if found != asked {
            return Err(EmulationError::StateOfAnother { path, found, asked });
        }
        if saved.profile != self.profile {
            let found = format!("{found} with other values in the profile");
            return Err(EmulationError::StateOfAnother { path, found, asked });
        }
        Ok(())
    }
}

/// What makes a board, with a boot nonce that no earlier boot has had.
fn options(
    profile: &Profile,
    seed: u64,
    (rows, columns): (u16, u16),
) -> Result<BoardOptions, EmulationError> {
    Ok(BoardOptions {
        imperfections: profile.board.into(),
        seed,
        boot_nonce: getrandom::u64().map_err(EmulationError::Entropy)?,
        flash_bytes: flash_bytes(rows, columns, ARRAYS),
    })
}

/// The files that follow a board.
pub struct BenchFiles {
    truth: Option<TruthFile>,
    state: Option<StateFile>,
    profile: Profile,
    seed: u64,
    fresh: bool,
    options: BoardOptions,
}

impl BenchFiles {
    /// Whether the array began to be with this power-up: no state file had it.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Writes the state, if it is kept.
    ///
    /// # Errors
    /// [`EmulationError`] if it can't be written.
    pub fn keep(&self, board: &mut Board) -> Result<(), EmulationError> {
        self.state.as_ref().map_or(Ok(()), |state| state.save(&self.profile, self.seed, board))
    }

    /// To be called often: writes the truth if it is due.
    pub fn note(&mut self, board: &mut Board) {
        if let Some(truth) = &mut self.truth
            && truth.is_due()
        {
            truth.update(board);
        }
    }

    /// The board after a power cycle: same devices, flash and time, new boot nonce.
    ///
    /// # Errors
    /// [`EmulationError`].
    pub fn power_cycle(&self, board: &mut Board) -> Result<Board, EmulationError> {
        let state = board.save().map_err(EmulationError::Board)?;
        let options =
            BoardOptions { boot_nonce: getrandom::u64().map_err(EmulationError::Entropy)?, ..self.options };
        Board::restore(board.crossbar().clone(), options, state).map_err(EmulationError::Board)
    }

    /// To be called at the end: writes everything.
    pub fn finish(&mut self, board: &mut Board) {
        if let Some(truth) = &mut self.truth {
            truth.update(board);
        }
        if let Err(error) = self.keep(board) {
            log::error!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ohmrig_emulator::truth::Truth;
    use std::path::Path;

    fn emulation(folder: &Path) -> Emulation {
        let mut emulation = Emulation::new(profile(Some("ideal")).unwrap(), 5);
        emulation.state = Some(folder.join("array.json"));
        emulation.truth = Some(folder.join("truth.json"));
        emulation
    }

    #[test]
    fn the_end_leaves_truth_and_state_and_the_next_process_takes_it_up() {
        use ohmrig_protocol::bench::Bench;
        let folder = tempfile::tempdir().unwrap();
        let emulation = emulation(folder.path());
        let (mut board, mut files) = emulation.power_up().unwrap();
        board.wait_until_ns(123_456).unwrap();
        files.finish(&mut board);
        drop(files);
        let text = std::fs::read_to_string(folder.path().join("truth.json")).unwrap();
        let truth: Truth = serde_json::from_str(&text).unwrap();
        assert_eq!(truth.cells.len(), 256);
        let (mut board, _files) = emulation.power_up().unwrap();
        assert_eq!(board.now_ns().unwrap(), 123_456);
    }

    #[test]
    fn one_process_at_a_time_has_a_state_file() {
        let folder = tempfile::tempdir().unwrap();
        let emulation = emulation(folder.path());
        let _first = emulation.power_up().unwrap();
        assert!(matches!(emulation.power_up(), Err(EmulationError::StateInUse { .. })));
    }

    #[test]
    fn a_state_file_of_another_array_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut emulation = emulation(folder.path());
        let (mut board, mut files) = emulation.power_up().unwrap();
        files.finish(&mut board);
        drop(files);
        emulation.seed = 6;
        let error = emulation.power_up().err().unwrap().to_string();
        assert!(error.contains("seed 5") && error.contains("seed 6"), "{error}");
    }

    #[test]
    fn a_state_file_with_a_flash_of_another_size_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let emulation = emulation(folder.path());
        let (mut board, mut files) = emulation.power_up().unwrap();
        files.finish(&mut board);
        drop(files);
        let path = emulation.state.as_deref().unwrap();
        let mut state: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        state["board"]["flash"][0] = 159_744.into();
        std::fs::write(path, state.to_string()).unwrap();
        let error = emulation.power_up().err().unwrap().to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("159744"), "{error}");
    }
}
