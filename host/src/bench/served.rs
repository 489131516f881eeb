//! A bench fed with the bytes of a firmware image.

use super::{BenchFiles, EmulationError};
use ohmrig_emulator::bench_server::BenchServer;
use ohmrig_emulator::board::Board;

/// A bench with its files, fed with bytes from firmware.
pub struct ServedBench {
    board: Board,
    files: BenchFiles,
    server: BenchServer,
}

impl ServedBench {
    /// Takes over a board.
    #[must_use]
    pub fn new(board: Board, files: BenchFiles) -> Self {
        Self { board, files, server: BenchServer::new() }
    }

    /// Does what the bytes from the firmware say; appends what the firmware must be sent.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if let Err(error) = self.server.feed(bytes, &mut self.board, out) {
            log::error!("bench: {error}");
        }
        self.files.note(&mut self.board);
    }

    /// Another firmware, another boot: same devices, same flash, new boot nonce.
    ///
    /// # Errors
    /// [`EmulationError`].
    pub fn power_cycle(&mut self) -> Result<(), EmulationError> {
        self.board = self.files.power_cycle(&mut self.board)?;
        self.server = BenchServer::new();
        Ok(())
    }
}

impl Drop for ServedBench {
    fn drop(&mut self) {
        self.files.finish(&mut self.board);
    }
}
