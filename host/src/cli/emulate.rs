//! `ohmrig emulate`: a virtual board behind a pseudo-terminal or a TCP port.

use super::served::ServedArray;
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
    #[command(flatten)]
    array: ServedArray,
}

impl Emulate {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let emulation = self.array.emulation(global)?;
        if matches!(self.listen, Address::Unix(_)) {
            return Err(Failure::usage(
                "--listen unix:… is for `ohmrig bench`; a board listens on pty or tcp:HOST:PORT",
            ));
        }
        self.listen.require_local(self.array.allow_remote).map_err(Failure::usage)?;
        if global.inject.is_some_and(|inject| inject.rate(Fault::Reset) > 0.0) {
            return Err(Failure::usage(
                "--inject reset=…: `ohmrig emulate` doesn't power-cycle itself; use --port emulated",
            ));
        }
        let mut device = EmulatedDevice::power_up(&emulation)?;
        let mut listener = Listener::open(&self.listen).map_err(Failure::failed)?;
        let port = listener.port();
        ServedArray::say(output, "emulated", &emulation, &port);
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
