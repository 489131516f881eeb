//! `ohmrig export`: a run file's arrays for other programs, or what was measured of noise as a model that other simulators
//! run.

use super::report::{describe, no_run};
use super::{Failure, Global, Output};
use crate::export::{self, Format};
use crate::noise_model::{NoiseModel, NoiseModelError, Simulator};
use crate::run_file::Contents;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

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
    /// Apache Parquet: a line per element with row, column and value; board, seed, calibration and settings in its metadata
    Parquet,
    /// Programming error, read noise, 1/f noise and drift as a noise model for aihwkit (Python), and conductances for its fusion_import
    Aihwkit,
    /// The same with the current–voltage law as a custom device for CrossSim (Python)
    #[value(name = "crosssim")]
    CrossSim,
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
            FormatArg::Parquet => Format::Parquet,
            FormatArg::Aihwkit => return model(&contents, Simulator::Aihwkit, &folder, output),
            FormatArg::CrossSim => return model(&contents, Simulator::CrossSim, &folder, output),
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

/// Fits and writes a noise model, and says what it is made of.
fn model(
    contents: &Contents,
    simulator: Simulator,
    folder: &Path,
    output: &mut Output,
) -> Result<(), Failure> {
    let fitted = NoiseModel::fit(contents).map_err(|error| match error {
        NoiseModelError::Nothing { .. } => Failure::usage(error),
        error => Failure::failed(error),
    })?;
    let written = fitted.write(contents, simulator, folder).map_err(Failure::failed)?;
    describe(contents, output);
    let parts = [
        ("programming error", "program", fitted.programming.map(|d| d.count)),
        ("read noise", "noise", fitted.read_noise.map(|n| n.ln_density_1_hz.cells)),
        ("drift", "drift", fitted.drift.map(|d| d.exponent.cells)),
        ("current–voltage law", "iv", fitted.current.as_ref().map(|c| c.parameter.cells)),
    ];
    for (part, command, cells) in parts {
        match cells {
            Some(cells) => output.say(format_args!("model    {part} of {cells} cells")),
            None => output.say(format_args!(
                "model    no {part}: measure it with `ohmrig {command} --run …`; the model has none"
            )),
        }
    }
    let files: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    for file in &files {
        output.say(format_args!("export   {file}"));
    }
    output.set("folder", folder.display().to_string());
    output.set("files", &files);
    output.set("model", fitted.parameters(contents));
    Ok(())
}
