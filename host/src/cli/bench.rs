//! `ohmrig bench`: the analog bench of a firmware image, for QEMU or a board without analog parts.

use super::open::emulation;
use super::{Failure, Global, Output};
use crate::listen::{Address, Listener};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Where the firmware's bench UART is connected: `unix:PATH` or `tcp:HOST:PORT` (port 0: any free one)
    #[arg(long, value_name = "ADDRESS")]
    listen: Address,
    /// Devices and board: a built-in name or a TOML file
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Rows of the array [default: the profile's]
    #[arg(long, value_name = "N")]
    rows: Option<u16>,
    /// Columns of the array [default: the profile's]
    #[arg(long, value_name = "N", alias = "columns")]
    cols: Option<u16>,
    /// Listen on an address that other machines can reach; there is no authentication
    #[arg(long)]
    allow_remote: bool,
}

impl Bench {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let mut emulation = emulation(self.profile.as_deref(), global)?;
        emulation.rows = self.rows.unwrap_or(emulation.rows);
        emulation.columns = self.cols.unwrap_or(emulation.columns);
        if matches!(self.listen, Address::Pty) {
            return Err(Failure::usage(
                "--listen pty is for `ohmrig emulate`; a bench listens on unix:PATH or tcp:HOST:PORT",
            ));
        }
        self.listen.require_local(self.allow_remote).map_err(Failure::usage)?;
        let (board, files) = emulation.power_up()?;
        let mut listener = Listener::open(&self.listen).map_err(Failure::failed)?;
        let port = listener.port();
        output.set("board", "or16-bench");
        output.set("emulated", true);
        output.set("profile", &emulation.profile.name);
        output.set("seed", emulation.seed);
        output.set("rows", emulation.rows);
        output.set("columns", emulation.columns);
        output.set("port", &port);
        output.say(port.as_str());
        output.announce();
        listener.serve_bench(board, files).map_err(Failure::failed)
    }
}
