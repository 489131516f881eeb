//! `ohmrig emulate`: a virtual board behind a pseudo-terminal or a TCP port.

use super::open::emulation;
use super::{Failure, Global, Output};
use crate::device::EmulatedDevice;
use crate::listen::{Address, FaultyLanes, Listener};
use crate::transport::inject::Fault;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Emulate {
    /// Where clients find it: `pty`, or `tcp:HOST:PORT` (port 0: any free one)
    #[arg(long, default_value = "pty", value_name = "ADDRESS")]
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

impl Emulate {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let mut emulation = emulation(self.profile.as_deref(), global)?;
        emulation.rows = self.rows.unwrap_or(emulation.rows);
        emulation.columns = self.cols.unwrap_or(emulation.columns);
        if matches!(self.listen, Address::Unix(_)) {
            return Err(Failure::usage(
                "--listen unix:… is for `ohmrig bench`; a board listens on pty or tcp:HOST:PORT",
            ));
        }
        self.listen.require_local(self.allow_remote).map_err(Failure::usage)?;
        if global.inject.is_some_and(|inject| inject.rate(Fault::Reset) > 0.0) {
            return Err(Failure::usage(
                "--inject reset=…: `ohmrig emulate` doesn't power-cycle itself; use --port emulated",
            ));
        }
        let mut device = EmulatedDevice::power_up(&emulation)?;
        let mut listener = Listener::open(&self.listen).map_err(Failure::failed)?;
        let port = listener.port();
        output.set("board", "or16-emulated");
        output.set("emulated", true);
        output.set("profile", &emulation.profile.name);
        output.set("seed", emulation.seed);
        output.set("rows", emulation.rows);
        output.set("columns", emulation.columns);
        output.set("port", &port);
        output.say(port.as_str());
        let lanes = global.inject.map(FaultyLanes::new);
        if let (Some(inject), Some(lanes)) = (global.inject, &lanes) {
            output.injecting(inject, lanes.tally());
        }
        output.announce();
        log::info!(
            "virtual board {} rows × {} columns, profile {}, seed {}: ohmrig --port {port} info; Ctrl-C ends it",
            emulation.rows,
            emulation.columns,
            emulation.profile.name,
            emulation.seed
        );
        listener.serve_device(&mut device, lanes).map_err(Failure::failed)
    }
}
