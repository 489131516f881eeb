//! The soak as a program: `cargo xtask soak` runs it.

use ohmrig_tests::soak::{INJECT, Length, Options, run};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "soak [--minutes N | --commands N] [--seed S] [--inject drop=0.05,…]";

fn options() -> Result<Options, String> {
    let mut options = Options {
        seed: 1,
        length: Length::Time(Duration::from_secs(60)),
        inject: INJECT.parse().map_err(|error| format!("the default faults: {error}"))?,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value; {USAGE}"))?;
        let wrong = |what: &str| format!("{word} {value}: it must be {what}; {USAGE}");
        match word.as_str() {
            "--seed" => options.seed = value.parse().map_err(|_| wrong("a whole number"))?,
            "--commands" => {
                let commands = value.parse().ok().filter(|&n| n > 0);
                options.length = Length::Commands(commands.ok_or_else(|| wrong("a number from 1 on"))?);
            }
            "--minutes" => {
                let minutes = value.parse().ok().filter(|&minutes| (0.01..=1e5).contains(&minutes));
                let minutes: f64 = minutes.ok_or_else(|| wrong("0.01 to 100000"))?;
                options.length = Length::Time(Duration::from_secs_f64(60.0 * minutes));
            }
            "--inject" => options.inject = value.parse().map_err(|error: String| wrong(&error))?,
            _ => return Err(format!("{word} is none of: {USAGE}")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("soak: {message}");
            return ExitCode::from(2);
        }
    };
    match run(&options, |line| println!("{line}")) {
        Ok(_) => ExitCode::SUCCESS,
        Err(violation) => {
            eprintln!("{violation}");
            ExitCode::FAILURE
        }
    }
}
