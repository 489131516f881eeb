//! `ohmrig logs`: what a device's firmware says, as it says it.

use super::open::open_without_log;
use super::{Failure, Global, Output};
use crate::client::LinkError;
use crate::device_log::{DeviceLog, DeviceLogError, Line};
use crate::image::Image;
use crate::instrument::InstrumentError;
use crate::transport::Port;
use clap::Args;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The image that the device runs [default: the one in target/images that is]
    #[arg(long, value_name = "ELF")]
    elf: Option<PathBuf>,
    /// End after so many seconds
    #[arg(long = "for", value_name = "S")]
    seconds: Option<f64>,
}

/// From one look at what has come to the next, and from one look at whether the device is still the same to the next.
const LOOK: Duration = Duration::from_millis(50);
const ASK: Duration = Duration::from_secs(1);

impl Logs {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        if matches!(global.port, Port::Emulated(_)) {
            return Err(Failure::usage(
                "a board emulated in this process runs no image; its log is this process's own: any command with --log-level \
                 info shows it (`ohmrig logs` is for boards and for --port qemu)",
            ));
        }
        let seconds = self.seconds.unwrap_or(f64::INFINITY);
        if seconds.is_nan() || seconds <= 0.0 {
            return Err(Failure::usage(format!("--for {seconds}: it must be a time in seconds")));
        }
        // A file that is no image is told before any device is touched.
        if let Some(path) = &self.elf {
            Image::read(path)?;
        }
        let mut opened = open_without_log(global, output)?;
        let elf = self.elf.clone().or_else(|| opened.image());
        let (log, path) = DeviceLog::open(opened.instrument.device(), elf.as_deref())?;
        output.say(format_args!("log      by {}; Ctrl-C ends it", path.display()));
        output.set("elf", path.display().to_string());
        let (sender, lines) = mpsc::channel();
        let listener = Box::new(move |batch| {
            for line in log.lines(&batch) {
                // Nobody reads any more only when the command is about to end.
                let _ = sender.send(line);
            }
        });
        opened.instrument.client_mut().listen_to_log(listener);
        let mut records = Vec::new();
        let mut show = |output: &Output| {
            for line in lines.try_iter() {
                output.show(&line);
                if output.is_json() {
                    records.push(line);
                }
            }
        };
        let (start, mut asked) = (Instant::now(), Instant::now());
        let ended = loop {
            show(output);
            let left = seconds - start.elapsed().as_secs_f64();
            if left <= 0.0 {
                break Ok(());
            }
            if asked.elapsed() >= ASK {
                asked = Instant::now();
                match opened.instrument.status() {
                    Ok(_) => {}
                    Err(InstrumentError::Link(LinkError::SessionLost { boot_then, boot_now, .. }))
                        if boot_then != boot_now =>
                    {
                        output.show(Line::about_the_device("the device was reset"));
                        if let Err(error) = opened.instrument.client_mut().reconnect() {
                            break Err(error.into());
                        }
                    }
                    Err(error) => break Err(error),
                }
            }
            if let Err(error) = opened.instrument.client_mut().pause(LOOK.min(Duration::from_secs_f64(left)))
            {
                break Err(InstrumentError::from(error));
            }
        };
        show(output);
        output.set("records", &records);
        match ended {
            Err(InstrumentError::Link(LinkError::Interrupted { .. })) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<DeviceLogError> for Failure {
    fn from(error: DeviceLogError) -> Self {
        Self::usage(error)
    }
}
