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
        output.say(format_args!(
            "image    {}, firmware {} (git {}): {}",
            image.name(),
            image.firmware,
            image.git,
            path.display()
        ));
        let bar = output.bar(image.size(), "");
        let flashed =
            flash(&mut UsbProbes::default(), &image, self.board.as_deref(), self.probe.as_deref(), &mut {
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
            log::warn!(
                "ohmrig doesn't know how a {} identifies itself; its identity was not compared",
                flashed.chip
            );
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
        [] => "Name it with --board once `cargo xtask images` has put images into target/images, or an image with --image ELF".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::image::tests::{elf, label};
    use clap::Parser;
    use std::path::Path;

    /// How `ohmrig flash` with these arguments fails. None of them may reach a probe: one might be plugged in.
    fn failure(arguments: &[&str]) -> Failure {
        let cli = Cli::try_parse_from(["ohmrig", "flash"].iter().chain(arguments)).unwrap();
        let Command::Flash(command) = &cli.command else { panic!("not flash") };
        command.run(&cli.global, &mut Output::new(true)).unwrap_err()
    }

    fn file(folder: &Path, name: &str, bytes: &[u8]) -> String {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    #[test]
    fn whatever_is_wrong_with_the_image_is_told_in_a_line_before_a_probe_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let image = |name: &str, at: u32, board: &str, chip: &str| {
            file(folder.path(), name, &elf((at, b"code"), &[(".ohmrig", label(board, chip).as_bytes())]))
        };
        let text = file(folder.path(), "notes.txt", b"not an image");
        let foreign = file(folder.path(), "foreign.elf", &elf((0, b"code"), &[]));
        let nucleo = image("nucleo.elf", 0x0800_0000, "nucleo-g474re", "STM32G474RETx");
        let qemu = image("qemu.elf", 0, "mps2-an386", "");
        let unknown = image("unknown.elf", 0, "x", "STM32Z9");
        let beyond = image("beyond.elf", 0x2000_0000, "pico", "RP2040");
        for (arguments, says) in [
            (vec![], vec!["--board", "--image"]),
            (vec!["--board", "no-such-board"], vec!["no-such-board.elf", "cargo xtask images"]),
            (vec!["--image", "/nowhere.elf"], vec!["/nowhere.elf"]),
            (vec!["--image", &text], vec!["notes.txt", "no 32-bit ELF file"]),
            (vec!["--image", &foreign], vec!["foreign.elf", "not an ohmrig image"]),
            (vec!["--image", &nucleo, "--board", "pico"], vec!["nucleo-g474re", "not for pico"]),
            (vec!["--image", &qemu], vec!["mps2-an386", "--port qemu"]),
            (vec!["--image", &unknown], vec!["STM32Z9"]),
            (vec!["--image", &beyond], vec!["0x20000000", "RP2040 has no flash"]),
            (
                vec!["--image", &nucleo, "--probe", "ffff:ffff:none"],
                vec!["--probe ffff:ffff:none", "plugged in"],
            ),
        ] {
            let failure = failure(&arguments);
            assert_eq!(failure.kind, Kind::Usage, "{failure}");
            for part in says {
                assert!(failure.message.contains(part), "{part:?} is not in {:?}", failure.message);
            }
        }
    }
}
