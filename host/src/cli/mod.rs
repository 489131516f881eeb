//! The command line: a module per command, what they share here.

mod bench;
mod budget;
mod calibrate;
mod correct;
mod demo;
mod disturb;
mod drift;
mod emulate;
mod endurance;
mod export;
mod failure;
#[cfg(feature = "probe")]
mod flash;
mod form;
mod info;
mod iv;
mod line_gains;
mod list;
#[cfg(feature = "probe")]
mod logs;
mod mvm;
mod noise;
mod open;
mod output;
mod program;
mod pulse;
mod read;
mod report;
mod retention;
mod safe;
mod selftest;
mod served;
mod settings;
mod solve;
mod tempco;
mod train;
mod work;

pub use failure::{Failure, Kind};
pub use output::Output;

use crate::interrupt;
use crate::transport::Port;
use crate::transport::inject::Inject;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Program conductances of a resistive crossbar, multiply with them, and measure what the devices do.
///
/// Without --port, every command works on an emulated board in this process, and says so.
#[derive(Debug, Parser)]
#[command(name = "ohmrig", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The device: `emulated[:PROFILE]`, `qemu[:PROFILE]`, `tcp://HOST:PORT`, or a serial device's path, `PATH@BAUD` for a
    /// UART at another rate than 2 MBd
    #[arg(long, global = true, default_value = "emulated", env = "OHMRIG_PORT", value_name = "PORT")]
    pub(crate) port: Port,
    /// Print one JSON object on stdout and nothing else; progress and logs go to stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Seed of the emulated devices, their noise and the board's errors
    #[arg(long, global = true, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Append what is measured to this run file (SQLite)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) run: Option<PathBuf>,
    /// Write what the emulated cells really are to this file (JSON), at most once a second and at exit
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) truth: Option<PathBuf>,
    /// Keep the emulated board (devices, noise, time, flash) in this file between processes
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// ARM image for `--port qemu`
    #[arg(long, global = true, env = "OHMRIG_FIRMWARE", value_name = "ELF")]
    pub(crate) firmware: Option<PathBuf>,
    /// Damage the link on purpose, e.g. `drop=0.05,corrupt=0.02,duplicate=0.02,seed=1` (docs/protocol.md has every key)
    #[arg(long, global = true, value_name = "SPEC")]
    pub(crate) inject: Option<Inject>,
    /// Which log lines on stderr, the device's among them [default: environment variable RUST_LOG, else warn]
    #[arg(long, global = true, value_enum, value_name = "LEVEL")]
    pub(crate) log_level: Option<LogLevel>,
    /// How log lines on stderr look
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// Seed where none is given: emulated results are the same every time unless asked otherwise.
const SEED: u64 = 1;

impl Global {
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or(SEED)
    }
}

/// Forms of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line of text each.
    Text,
    /// A JSON object each.
    Json,
}

/// The least important lines to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// None
    Off,
    /// What failed
    Error,
    /// What may need a look
    Warn,
    /// What happened
    Info,
    /// What somebody debugs with (boards say nothing of this unless built with DEFMT_LOG=debug)
    Debug,
    /// More of that
    Trace,
}

impl From<LogLevel> for log::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::Off,
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Classify handwritten digits with the crossbar: program, multiply, compare (the place to start)
    Demo(demo::Demo),
    /// Show profiles, serial ports and debug probes with what is behind them, and whether QEMU can be used
    ///
    /// To see what is behind a serial port on USB it is opened and a session is asked for, which ends the session of a host
    /// that has gone without a word, and its job. A port that another program has open is left alone.
    List(list::List),
    /// Show who the device is and how it is
    Info,
    /// Check every chip, and every driver and amplifier against the reference resistors
    Selftest(selftest::Selftest),
    /// Calibrate drivers, amplifiers and the devices' curve against the reference resistors
    Calibrate(calibrate::CalibrateCommand),
    /// Measure conductances cell by cell
    Read(read::Read),
    /// Apply write pulses to one cell
    Pulse(pulse::PulseCommand),
    /// Form pristine cells: pulses through 10 kΩ, higher and then wider, until they conduct
    Form(form::FormCommand),
    /// Program conductances with write-verify
    Program(program::ProgramCommand),
    /// Multiply vectors with the array
    Mvm(mvm::MvmCommand),
    /// Current over voltage of one cell, up and down, and which law it follows
    Iv(iv::Iv),
    /// Noise of cells: spectrum, 1/f, telegraph noise, Allan deviation, the instrument's own beside them
    Noise(noise::Noise),
    /// Program bands of conductance and watch each band's mean and spread over time
    Retention(retention::Retention),
    /// Program cells and find each one's drift exponent ν
    Drift(drift::Drift),
    /// SET and RESET cells over and over: their window over the number of cycles, and how long they last
    Endurance(endurance::Endurance),
    /// What pulses on one cell do to the others, with unselected lines at V/2, V/3, open or grounded
    Disturb(disturb::DisturbCommand),
    /// Temperature coefficients, from reads while the board's temperature wanders
    Tempco(tempco::Tempco),
    /// Exact column currents of an array with line resistance: the circuit solver alone, no board
    Solve(solve::SolveCommand),
    /// Make a report of a run file: one HTML file with pictures and tables that opens anywhere
    Report(report::ReportCommand),
    /// Write the arrays of a run file for other programs
    Export(export::ExportCommand),
    /// Show what cells have been through over all power-ups; name the array, tighten limits for good
    Budget(budget::Budget),
    /// End everything, disarm, go to SAFE; optionally clear a latched fault or drop held results
    Safe(safe::Safe),
    /// Put an image onto a board through a debug probe, verify it, start it
    #[cfg(feature = "probe")]
    Flash(flash::FlashCommand),
    /// Show what the device's firmware logs
    ///
    /// Until Ctrl-C: time since its start in seconds, level, text. First comes what it has kept since its start, if nobody has
    /// read that yet. Opens a session, which ends another host's. Every other command shows the same lines on stderr beside
    /// its own, from --log-level on. A board emulated in a host process runs no image: its log is that process's own.
    #[cfg(feature = "probe")]
    Logs(logs::Logs),
    /// Be a virtual board that any client can open
    Emulate(emulate::Emulate),
    /// Be the analog bench of a firmware image (docs/bench-protocol.md)
    Bench(bench::Bench),
    /// Print shell completions
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
}

impl Command {
    /// Whether it is one end of a link between host and device.
    fn has_link(&self) -> bool {
        #[cfg(feature = "probe")]
        if matches!(self, Self::Flash(_)) {
            return false;
        }
        !matches!(
            self,
            Self::List(_)
                | Self::Solve(_)
                | Self::Report(_)
                | Self::Export(_)
                | Self::Bench(_)
                | Self::Completions { .. }
                | Self::Man
        )
    }
}

/// Runs a command line and returns the exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = match Cli::command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&arguments, &error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&arguments, &error),
    };
    start_log(cli.global.log_level, cli.global.log_format);
    let mut output = Output::new(cli.global.json);
    let result = interrupt::install()
        .map_err(|error| Failure::failed(format!("signals can't be caught: {error}")))
        .and_then(|()| execute(&cli, &mut output));
    output.finish(result)
}

fn execute(cli: &Cli, output: &mut Output) -> Result<(), Failure> {
    let global = &cli.global;
    if global.inject.is_some() && !cli.command.has_link() {
        return Err(Failure::usage("--inject: this command has no link between host and device to damage"));
    }
    match &cli.command {
        Command::Demo(command) => command.run(global, output),
        Command::List(command) => command.run(global, output),
        Command::Info => info::run(global, output),
        Command::Selftest(command) => command.run(global, output),
        Command::Calibrate(command) => command.run(global, output),
        Command::Read(command) => command.run(global, output),
        Command::Pulse(command) => command.run(global, output),
        Command::Form(command) => command.run(global, output),
        Command::Program(command) => command.run(global, output),
        Command::Mvm(command) => command.run(global, output),
        Command::Iv(command) => command.run(global, output),
        Command::Noise(command) => command.run(global, output),
        Command::Retention(command) => command.run(global, output),
        Command::Drift(command) => command.run(global, output),
        Command::Endurance(command) => command.run(global, output),
        Command::Disturb(command) => command.run(global, output),
        Command::Tempco(command) => command.run(global, output),
        Command::Solve(command) => command.run(global, output),
        Command::Report(command) => command.run(global, output),
        Command::Export(command) => command.run(global, output),
        Command::Budget(command) => command.run(global, output),
        Command::Safe(command) => command.run(global, output),
        #[cfg(feature = "probe")]
        Command::Flash(command) => command.run(global, output),
        #[cfg(feature = "probe")]
        Command::Logs(command) => command.run(global, output),
        Command::Emulate(command) => command.run(global, output),
        Command::Bench(command) => command.run(global, output),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "ohmrig", &mut text);
            page(output, "completions", &text)
        }
        Command::Man => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text).map_err(Failure::failed)?;
            page(output, "man", &text)
        }
    }
}

/// Prints generated text as it is, or as a field.
fn page(output: &mut Output, field: &str, text: &[u8]) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(text);
    output.say(text.trim_end());
    output.set(field, text);
    Ok(())
}

/// Help and version go to stdout; a wrong command line is told as text or, with `--json` on it, as JSON.
fn usage(arguments: &[OsString], error: &clap::Error) -> u8 {
    use clap::error::ErrorKind;
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return 0;
    }
    if arguments.iter().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let first = text.split("\n\n").next().unwrap_or(&text).trim_start_matches("error: ").to_owned();
        return Output::new(true).finish(Err(Failure::usage(first)));
    }
    let _ = error.print();
    Kind::Usage.status()
}

fn start_log(level: Option<LogLevel>, format: LogFormat) {
    use std::io::Write;
    let mut builder = match level {
        Some(level) => {
            let mut builder = env_logger::Builder::new();
            builder.filter_level(level.into());
            builder
        }
        None => env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")),
    };
    builder.format(move |out, record| match format {
        LogFormat::Text => {
            writeln!(
                out,
                "{}: {}: {}",
                record.level().as_str().to_lowercase(),
                record.target(),
                record.args()
            )
        }
        LogFormat::Json => {
            let line = serde_json::json!({
                "level": record.level().as_str().to_lowercase(),
                "target": record.target(),
                "message": record.args().to_string(),
            });
            writeln!(out, "{line}")
        }
    });
    // A second start in one process (tests) keeps the first.
    let _ = builder.try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_work_before_and_after_the_command() {
        for line in ["ohmrig --json --seed 7 info", "ohmrig info --json --seed 7"] {
            let cli = parse(line).unwrap();
            assert!(cli.global.json);
            assert_eq!(cli.global.seed(), 7);
        }
    }

    #[test]
    fn without_a_port_the_board_is_emulated() {
        if std::env::var_os("OHMRIG_PORT").is_none() {
            assert_eq!(parse("ohmrig info").unwrap().global.port, Port::Emulated(None));
        }
    }

    #[test]
    fn faults_are_injected_where_there_is_a_link_and_refused_elsewhere() {
        let inject = parse("ohmrig info --inject drop=0.5,seed=3").unwrap().global.inject.unwrap();
        assert_eq!(inject.to_string(), "drop=0.5,seed=3");
        for (line, has_link) in [
            ("list", false),
            ("flash", false),
            ("logs", true),
            ("man", false),
            ("bench --listen unix:/b", false),
            ("emulate", true),
        ] {
            assert_eq!(parse(&format!("ohmrig {line}")).unwrap().command.has_link(), has_link, "{line}");
        }
        assert!(parse("ohmrig info --inject drop=1.5").is_err());
    }

    #[test]
    fn a_malformed_port_is_a_usage_error() {
        assert!(parse("ohmrig --port tcp://nowhere info").is_err());
        assert_eq!(run(["ohmrig", "--json", "--port", "tcp://nowhere", "info"].map(OsString::from)), 2);
    }
}
