//! The log of a device, made readable by the image it runs. defmt sends numbers in place of its texts; the texts are in the
//! ELF file.

use crate::client::{Device, LogBatch};
use crate::image::{self, Image, ImageError};
use defmt_decoder::{DecodeError, Table};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a device's log can't be read.
#[derive(Debug, Error)]
pub enum DeviceLogError {
    /// Not an image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An image, and not the one that the device runs.
    #[error(
        "{} is not what the device runs, its log would be nonsense: the device runs {} git {} build {}, the file is {} git {} build {}",
        .path.display(), .device.0, .device.1, none(&.device.2), .image.0, .image.1, none(&.image.2)
    )]
    OtherImage {
        /// The file.
        path: PathBuf,
        /// Board, git commit and build id that the device tells.
        device: Box<(String, String, String)>,
        /// Those of the file.
        image: Box<(String, String, String)>,
    },
    /// A device in a host process.
    #[error(
        "the device {board} runs in a host process, not from an image: its log is part of that process's own (--log-level info there)"
    )]
    NoImage {
        /// What it calls itself.
        board: String,
    },
    /// No image in the usual folders fits.
    #[error(
        "no image here is what the device runs ({board} git {git} build {build}); looked in {}{}; name it with --elf",
        .folders.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", "),
        others_text(.others)
    )]
    NotFound {
        /// The device's board.
        board: String,
        /// Its git commit.
        git: String,
        /// Its build id.
        build: String,
        /// Where.
        folders: Vec<PathBuf>,
        /// Name, git commit and build id of images of that board that were found.
        others: Vec<(String, String, String)>,
    },
    /// The image has no usable log texts.
    #[error("{}: its log texts can't be read: {reason}", .path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        reason: String,
    },
}

fn none(text: &str) -> &str {
    if text.is_empty() { "(none)" } else { text }
}

fn others_text(others: &[(String, String, String)]) -> String {
    let one = |(name, git, build): &(String, String, String)| format!("{name} git {git} build {build}");
    match others {
        [] => String::new(),
        some => format!(" and found {}", some.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

/// One line of a device's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Since the device's start, s, as it tells them; empty where it doesn't.
    pub time_s: String,
    /// Its level, in small letters.
    pub level: String,
    /// What it says.
    pub message: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12} {:<5} {}", self.time_s, self.level, self.message)
    }
}

impl Line {
    /// A line that the host adds.
    #[must_use]
    pub fn about_the_device(message: impl Into<String>) -> Self {
        Self { time_s: String::new(), level: "warn".to_owned(), message: message.into() }
    }

    /// The level as the host's own logs have it.
    #[must_use]
    pub fn log_level(&self) -> log::Level {
        self.level.parse().unwrap_or(log::Level::Info)
    }
}

/// Reads the log of one image.
pub struct DeviceLog {
    table: Table,
}

impl DeviceLog {
    /// For `device`, with the image in `elf`, or else one of the usual folders that is what it runs. Also returns the image's
    /// path.
    ///
    /// # Errors
    /// [`DeviceLogError`].
    pub fn open(device: &Device, elf: Option<&Path>) -> Result<(Self, PathBuf), DeviceLogError> {
        if device.build.is_empty() {
            return Err(DeviceLogError::NoImage { board: device.board.clone() });
        }
        let image = match elf {
            Some(path) => Image::read(path)?,
            None => find(device, image::folders())?,
        };
        require(device, &image)?;
        let unusable = |reason: String| DeviceLogError::Table { path: image.path.clone(), reason };
        let bytes = std::fs::read(&image.path).map_err(|error| unusable(error.to_string()))?;
        let table = Table::parse(&bytes).map_err(|error| unusable(error.to_string()))?;
        let table = table.ok_or_else(|| unusable("it has none".to_owned()))?;
        Ok((Self { table }, image.path))
    }

    /// The lines of a batch; what is missing before it, and what can't be read, are lines too.
    #[must_use]
    pub fn lines(&self, batch: &LogBatch) -> Vec<Line> {
        let mut lines = Vec::new();
        if batch.frames_lost > 0 {
            lines.push(Line::about_the_device(format!(
                "{} log frames were lost on the link",
                batch.frames_lost
            )));
        }
        if batch.dropped > 0 {
            lines.push(Line::about_the_device(format!(
                "the device had no room for {} log records",
                batch.dropped
            )));
        }
        // A batch is of whole records, so nothing is left over from one to the next.
        let mut decoder = self.table.new_stream_decoder();
        decoder.received(&batch.records);
        loop {
            match decoder.decode() {
                Ok(frame) => lines.push(Line {
                    time_s: frame.display_timestamp().map(|time| time.to_string()).unwrap_or_default(),
                    level: frame.level().map_or("info", |level| level.as_str()).to_owned(),
                    message: frame.display_message().to_string(),
                }),
                Err(DecodeError::UnexpectedEof) => return lines,
                Err(DecodeError::Malformed) => {
                    lines.push(Line::about_the_device(
                        "a log record that the image has no text for".to_owned(),
                    ));
                }
            }
        }
    }
}

fn of_image(image: &Image) -> (String, String, String) {
    (image.name(), image.git.clone(), image.build.clone())
}

/// Refuses an image that isn't the device's.
fn require(device: &Device, image: &Image) -> Result<(), DeviceLogError> {
    if image.board == device.board && image.git == device.git && image.build == device.build {
        return Ok(());
    }
    Err(DeviceLogError::OtherImage {
        path: image.path.clone(),
        device: Box::new((device.board.clone(), device.git.clone(), device.build.clone())),
        image: Box::new(of_image(image)),
    })
}

/// The image in `folders` that the device runs, whatever its name.
fn find(device: &Device, folders: Vec<PathBuf>) -> Result<Image, DeviceLogError> {
    let (fits, others): (Vec<_>, Vec<_>) =
        image::all(&folders).into_iter().partition(|image| image.build == device.build);
    if let Some(image) = fits.into_iter().next() {
        return Ok(image);
    }
    let others = others.iter().filter(|image| image.board == device.board).map(of_image).collect();
    Err(DeviceLogError::NotFound {
        board: device.board.clone(),
        git: device.git.clone(),
        build: device.build.clone(),
        folders,
        others,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Emulation, profile};
    use crate::client::Client;
    use crate::device::EmulatedDevice;
    use crate::image::tests::{elf, label};
    use crate::transport::InProcess;

    /// A device that says it runs an image.
    fn device(board: &str, build: &str) -> Device {
        let emulation = Emulation::new(profile(Some("ideal")).unwrap(), 1);
        let transport = InProcess::new(EmulatedDevice::power_up(&emulation).unwrap());
        let client = Client::connect(Box::new(transport), "emulated").unwrap();
        let (board, git, build) = (board.to_owned(), "0123456789ab".to_owned(), build.to_owned());
        Device { board, git, build, ..client.device().clone() }
    }

    /// An image of `pico` with this build id, in its own folder.
    fn image(build: u8) -> (tempfile::TempDir, PathBuf) {
        let mut note: Vec<u8> = [4u32, 20, 3].iter().flat_map(|word| word.to_le_bytes()).collect();
        note.extend(b"GNU\0");
        note.extend([build; 20]);
        let text = label("pico", "RP2040");
        let sections = [(".ohmrig", text.as_bytes()), (".note.gnu.build-id", &note)];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pico.elf");
        std::fs::write(&path, elf((0x1000_0000, b"code"), &sections)).unwrap();
        (folder, path)
    }

    #[test]
    fn an_image_that_the_device_does_not_run_is_refused_with_what_both_are() {
        let (_folder, path) = image(0xAA);
        for device in [device("pico", "bbbbbbbbbbbbbbbb"), device("pico2", "aaaaaaaaaaaaaaaa")] {
            let error = DeviceLog::open(&device, Some(&path)).err().unwrap().to_string();
            for part in [&device.board, &device.build, "aaaaaaaaaaaaaaaa", "0123456789ab", "pico.elf"] {
                assert!(error.contains(part), "{part} is not in {error}");
            }
        }
        let mut rebuilt = device("pico", "aaaaaaaaaaaaaaaa");
        rebuilt.git = "ba9876543210".to_owned();
        let error = DeviceLog::open(&rebuilt, Some(&path)).err().unwrap().to_string();
        assert!(error.contains("ba9876543210") && error.contains("0123456789ab"), "{error}");
    }

    #[test]
    fn the_image_is_found_by_what_it_is_and_else_what_there_is_is_told() {
        let (folder, path) = image(0xAA);
        let folders = vec![PathBuf::from("/nowhere"), folder.path().to_owned()];
        let found = find(&device("pico", "aaaaaaaaaaaaaaaa"), folders.clone()).unwrap();
        assert_eq!(found.path, path);
        let error = find(&device("pico", "bbbbbbbbbbbbbbbb"), folders).unwrap_err().to_string();
        assert!(
            error.contains("bbbbbbbbbbbbbbbb")
                && error.contains("pico git 0123456789ab build aaaaaaaaaaaaaaaa"),
            "{error}"
        );
    }

    #[test]
    fn a_device_in_a_host_process_runs_no_image() {
        let error = DeviceLog::open(&device("or16-emulated", ""), None).err().unwrap();
        assert!(matches!(error, DeviceLogError::NoImage { .. }), "{error}");
    }
}
