//! `ohmrig report`: a run file as one page of HTML.

use super::{Failure, Global, Output};
use crate::arrays;
use crate::report;
use crate::run_file::Contents;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct ReportCommand {
    /// The run file; it may be written to meanwhile
    file: PathBuf,
    /// Write the report here [default: the run file's name with .html]
    #[arg(long, short, value_name = "HTML")]
    output: Option<PathBuf>,
}

impl ReportCommand {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        no_run(global, "report")?;
        let contents = Contents::read(&self.file)?;
        let path = self.output.clone().unwrap_or_else(|| self.file.with_extension("html"));
        let html = report::render(&contents);
        arrays::replace(&path, html.as_bytes())
            .map_err(|error| Failure::failed(format_args!("{}: {error}", path.display())))?;
        describe(&contents, output);
        output.set("report", path.display().to_string());
        output.say(format_args!("report   {} ({} kB)", path.display(), html.len().div_ceil(1000)));
        Ok(())
    }
}

/// These commands take their file as an argument.
pub(super) fn no_run(global: &Global, command: &str) -> Result<(), Failure> {
    match &global.run {
        Some(path) => Err(Failure::usage(format_args!(
            "--run {0} is where measurements go; here it is `ohmrig {command} {0}`",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// What is in a run file, in a line and as fields.
pub(super) fn describe(contents: &Contents, output: &mut Output) {
    let open = contents.measurements.iter().filter(|recorded| !recorded.is_done()).count();
    if let Some(session) = contents.sessions.first() {
        output.set("board", &session.board);
        output.set("profile", &session.profile);
        output.set("seed", &session.seed);
        output.say(format_args!(
            "run      {}: {}, {} measurements, {open} not finished",
            contents.path.display(),
            session.array,
            contents.measurements.len()
        ));
    }
    output.set("emulated", contents.is_emulated());
    output.set("measurements", contents.measurements.len());
    output.set("open", open);
}
