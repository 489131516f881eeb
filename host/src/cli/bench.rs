//! `ohmrig bench`: the analog bench of a firmware image, for QEMU or a board without analog parts.

use super::served::ServedArray;
use super::{Failure, Global, Output};
use crate::listen::{Address, Listener};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Where the firmware's bench UART is connected: `unix:PATH` or `tcp:HOST:PORT` (port 0: any free one)
    #[arg(long, value_name = "ADDRESS")]
    listen: Address,
    #[command(flatten)]
    array: ServedArray,
}

impl Bench {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let emulation = self.array.emulation(global)?;
        if matches!(self.listen, Address::Pty) {
            return Err(Failure::usage(
                "--listen pty is for `ohmrig emulate`; a bench listens on unix:PATH or tcp:HOST:PORT",
            ));
        }
        self.listen.require_local(self.array.allow_remote).map_err(Failure::usage)?;
        let (board, files) = emulation.power_up()?;
        let mut listener = Listener::open(&self.listen).map_err(Failure::failed)?;
        let port = listener.port();
        ServedArray::say(output, "bench", &emulation, &port);
        output.announce();
        listener.serve_bench(board, files).map_err(Failure::failed)
    }
}
