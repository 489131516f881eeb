//! `ohmrig flash`: puts an image onto a board through a debug probe.

use super::{Failure, Global, Kind, Output};
use crate::flash::{FlashError, Phase, UsbProbes, flash};
use crate::image::{self, Image, ImageError};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct FlashCommand {
    /// The board, by the name of its image: target/images/NAME.elf [default: what --image is for]
    #[arg(long, value_name = "NAME")]
    board: Option<String>,
    /// The debug probe: VID:PID[:SERIAL] or its serial number, as `ohmrig list` shows them [default: the only one]
    #[arg(long, value_name = "SELECTOR")]
    probe: Option<String>,
    /// The image [default: that of --board in target/images]
    #[arg(long, value_name = "ELF")]
    image: Option<PathBuf>,
}

impl FlashCommand {
    pub(super) fn run(&self, _: &Global, output: &mut Output) -> Result<(), Failure> {
        let path = match (&self.image, &self.board) {
            (Some(path), _) => path.clone(),
            (None, Some(board)) => image::find(board, image::folders())?,
            (None, None) => return Err(Failure::usage(format!("which board? {}", what_there_is()))),
        };
        let image = Image::read(&path)?;
        output.set("board", &image.board);
        output.set("image.path", path.display().to_string());
        output.set("image.name", image.name());
        output.set("image.git", &image.git);
        output.set("image.build", &image.build);
        output.set("image.firmware", &image.firmware);
        output.say(format_args!("image    {}, firmware {} (git {}): {}", image.name(), image.firmware, image.git, path.display()));
        let bar = output.bar(image.size(), "");
        let flashed = flash(&mut UsbProbes::default(), &image, self.board.as_deref(), self.probe.as_deref(), &mut {
            let mut shown = None;
            let bar = bar.clone();
            move |phase: Phase, done, of| {
                if shown != Some(phase) {
                    shown = Some(phase);
                    bar.set_message(phase.name());
                }
                bar.set_length(of);
                bar.set_position(done);
            }
        });
        bar.finish_and_clear();
        let flashed = flashed?;
        output.set("probe", &flashed.probe.selector);
        output.set("chip", &flashed.chip);
        output.set("bytes", flashed.bytes);
        output.set("verified", true);
        output.set("chip_identified", flashed.identified);
        if !flashed.identified {
            log::warn!("ohmrig doesn't know how a {} identifies itself; its identity was not compared", flashed.chip);
        }
        output.say(format_args!(
            "flashed  {} bytes onto the {} at {} ({}), verified, started",
            flashed.bytes, flashed.chip, flashed.probe.selector, flashed.probe.name
        ));
        output.say("next     `ohmrig list` shows its port; then `ohmrig --port PORT info`, `ohmrig --port PORT selftest`");
        Ok(())
    }
}

/// What may be named.
fn what_there_is() -> String {
    let mut names: Vec<String> =
        image::all(&image::folders()).iter().filter(|image| image.chip.is_some()).map(Image::name).collect();
    names.sort();
    names.dedup();
    match names.as_slice() {
        [] => "Name an image with --image ELF; there is none in target/images yet (`cargo xtask images` builds them)".to_owned(),
        names => format!("Name it with --board (in target/images: {}), or an image with --image ELF", names.join(", ")),
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::usage(error)
    }
}

impl From<FlashError> for Failure {
    fn from(error: FlashError) -> Self {
        let kind = match error {
            FlashError::OtherBoard { .. }
            | FlashError::NotFlashed { .. }
            | FlashError::UnknownChip { .. }
            | FlashError::OutsideFlash { .. }
            | FlashError::SeveralProbes { .. }
            | FlashError::NoSuchProbe { .. } => Kind::Usage,
            FlashError::NoProbe
            | FlashError::NotPermitted { .. }
            | FlashError::Open { .. }
            | FlashError::NoChip { .. } => Kind::Link,
            FlashError::OtherChip { .. } | FlashError::Locked { .. } => Kind::Refused,
            FlashError::Program { .. } | FlashError::NotReset { .. } => Kind::Failed,
        };
        Self::new(kind, error)
    }
}
