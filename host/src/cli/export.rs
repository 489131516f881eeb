//! `ohmrig export`: a run file's arrays for other programs.

use super::report::{describe, no_run};
use super::{Failure, Global, Output};
use crate::export::{self, Format};
use crate::run_file::Contents;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct ExportCommand {
    /// The run file; it may be written to meanwhile
    file: PathBuf,
    /// What to write
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: FormatArg,
    /// Folder to write into, made if it isn't there [default: the run file's name without its ending, and `-export`]
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// NumPy arrays of float64
    Npy,
    /// Comma-separated values, a line per row
    Csv,
}

impl ExportCommand {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        no_run(global, "export")?;
        let contents = Contents::read(&self.file)?;
        let folder = self.output.clone().unwrap_or_else(|| {
            let mut name = self.file.file_stem().unwrap_or_default().to_owned();
            name.push("-export");
            self.file.with_file_name(name)
        });
        let format = match self.to {
            FormatArg::Npy => Format::Npy,
            FormatArg::Csv => Format::Csv,
        };
        let written = export::write(&contents, format, &folder).map_err(Failure::failed)?;
        describe(&contents, output);
        output.set("folder", folder.display().to_string());
        output.set("files", written.len());
        output.say(format_args!(
            "export   {} files in {}; measurements.json says what they are",
            written.len(),
            folder.display()
        ));
        Ok(())
    }
}
