//! What `emulate` and `bench` share: which array they serve, and what they say of it.

use super::open::emulation;
use super::{Failure, Global, Output};
use crate::bench::Emulation;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct ServedArray {
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
    pub(super) allow_remote: bool,
}

impl ServedArray {
    /// The emulation asked for.
    pub(super) fn emulation(&self, global: &Global) -> Result<Emulation, Failure> {
        let mut emulation = emulation(self.profile.as_deref(), global)?;
        emulation.rows = self.rows.unwrap_or(emulation.rows);
        emulation.columns = self.cols.unwrap_or(emulation.columns);
        Ok(emulation)
    }

    /// What is served, and where.
    pub(super) fn say(output: &mut Output, body: &str, emulation: &Emulation, port: &str) {
        let front_end = if emulation.profile.board.openmena.is_some() { "openmena" } else { "or16" };
        output.set("board", format!("{front_end}-{body}"));
        output.set("emulated", true);
        output.set("profile", &emulation.profile.name);
        output.set("seed", emulation.seed);
        output.set("rows", emulation.rows);
        output.set("columns", emulation.columns);
        output.set("port", port);
        output.say(port);
    }
}
