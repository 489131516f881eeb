//! Putting an image onto a board: every check that can be made is made before a probe is touched, every other one before
//! anything is written.
//!
//! What a probe can do is behind the traits [`Probes`] and [`Target`], so that all of this runs without one.

pub mod chip;
#[cfg(feature = "probe")]
mod probe;

#[cfg(feature = "probe")]
pub use probe::UsbProbes;

use crate::image::Image;
use chip::Sign;
use std::ops::Range;
use thiserror::Error;

/// A debug probe that is plugged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeInfo {
    /// What `--probe` takes: `VID:PID:SERIAL`, or without the serial number where it has none.
    pub selector: String,
    /// What it calls itself.
    pub name: String,
    /// Whether this user may open it.
    pub permitted: bool,
}

/// What goes wrong at a probe.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// It can't be opened.
    #[error("{0}")]
    Open(String),
    /// Opened, but no chip answers, or not as its kind does.
    #[error("{0}")]
    Attach(String),
    /// The chip would have to be erased to be let in.
    #[error("{0}")]
    Locked(String),
    /// A read or write of the chip's memory, or of its flash.
    #[error("{0}")]
    Access(String),
    /// What was read back isn't what was written.
    #[error("what was read back is not what was written")]
    Verify,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Flash is erased.
    Erase,
    /// Flash is written.
    Program,
    /// Flash is read back.
    Verify,
}

impl Phase {
    /// For a progress bar.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Erase => "erasing",
            Self::Program => "writing",
            Self::Verify => "verifying",
        }
    }
}

/// Told how far it is: the phase, bytes done, bytes in all.
pub type OnProgress<'a> = dyn FnMut(Phase, u64, u64) + 'a;

/// The probes of this machine.
pub trait Probes {
    /// A chip behind one of them.
    type Target: Target;

    /// Those that are plugged in; touches none.
    fn list(&mut self) -> Vec<ProbeInfo>;

    /// The flash of a chip; `None` for one that there is no algorithm for. Touches no probe.
    fn flash_of(&self, chip: &str) -> Option<Vec<Range<u64>>>;

    /// Opens a probe and stops the chip behind it.
    ///
    /// # Errors
    /// [`ProbeError`].
    fn attach(&mut self, probe: &ProbeInfo, chip: &str) -> Result<Self::Target, ProbeError>;
}

/// A chip that a probe has hold of.
pub trait Target {
    /// Reads a register.
    ///
    /// # Errors
    /// [`ProbeError::Access`].
    fn read_word(&mut self, address: u32) -> Result<u32, ProbeError>;

    /// Erases what the image needs, writes it and reads it back.
    ///
    /// # Errors
    /// [`ProbeError::Access`], [`ProbeError::Verify`].
    fn program(&mut self, image: &Image, progress: &mut OnProgress<'_>) -> Result<(), ProbeError>;

    /// Resets it, so that it starts what it has.
    ///
    /// # Errors
    /// [`ProbeError::Access`].
    fn reset(&mut self) -> Result<(), ProbeError>;
}

/// Why a board wasn't flashed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FlashError {
    /// The image is for another board than was asked for.
    #[error("{file} is an image for {image}, not for {asked} (--board); nothing was touched")]
    OtherBoard {
        /// The file.
        file: String,
        /// What the image says.
        image: String,
        /// What was asked for.
        asked: String,
    },
    /// A board that no probe flashes.
    #[error(
        "{file}: the board {board} is QEMU's and isn't flashed; run it with `ohmrig --port qemu --firmware {file} info`"
    )]
    NotFlashed {
        /// The file.
        file: String,
        /// The board.
        board: String,
    },
    /// probe-rs knows no such chip.
    #[error(
        "{file} is for the chip {chip}, which probe-rs doesn't know; correct --chip in the board's .cargo/config.toml"
    )]
    UnknownChip {
        /// The file.
        file: String,
        /// The chip.
        chip: String,
    },
    /// The image doesn't fit.
    #[error(
        "{file} puts bytes at {start:#010x} to {end:#010x}, where {chip} has no flash: is it linked with this chip's memory.x?"
    )]
    OutsideFlash {
        /// The file.
        file: String,
        /// The chip.
        chip: String,
        /// First address.
        start: u64,
        /// Behind the last.
        end: u64,
    },
    /// Nothing plugged in.
    #[error(
        "no debug probe is plugged in: connect the board's ST-Link, or a Raspberry Pi Debug Probe to its SWD pins, by USB"
    )]
    NoProbe,
    /// Which one?
    #[error("{} debug probes are plugged in; name one with --probe: {}", .found.len(), .found.join("; "))]
    SeveralProbes {
        /// Selector and name of each.
        found: Vec<String>,
    },
    /// None of that name.
    #[error("no debug probe matches --probe {asked}; plugged in: {}", none_or(.found))]
    NoSuchProbe {
        /// As asked for.
        asked: String,
        /// Selector and name of each.
        found: Vec<String>,
    },
    /// The system doesn't let this user.
    #[error(
        "this user may not open the probe {probe}; on Linux install probe-rs' udev rules (docs/flashing.md) and plug it in again"
    )]
    NotPermitted {
        /// The probe.
        probe: String,
    },
    /// It can't be opened.
    #[error("the probe {probe} can't be opened: {reason}; is another program using it?")]
    Open {
        /// The probe.
        probe: String,
        /// What it says.
        reason: String,
    },
    /// No chip, or none that behaves like the right one.
    #[error(
        "no {chip} answers at the probe {probe}: {reason}; is the board powered, SWD wired, and is it this board?"
    )]
    NoChip {
        /// The chip.
        chip: String,
        /// The probe.
        probe: String,
        /// What it says.
        reason: String,
    },
    /// Another chip.
    #[error(
        "the chip at the probe {probe} is not a {chip}: register {register:#010x} reads {found:#010x}, a {chip} has {expected:#x} in the \
         bits {mask:#x}; nothing was written"
    )]
    OtherChip {
        /// The chip of the image.
        chip: String,
        /// The probe.
        probe: String,
        /// Identity register.
        register: u32,
        /// What it reads.
        found: u32,
        /// What it should.
        expected: u32,
        /// In which bits.
        mask: u32,
    },
    /// A lock.
    #[error("the {chip} at the probe {probe} is locked: {what}; nothing was written")]
    Locked {
        /// The chip.
        chip: String,
        /// The probe.
        probe: String,
        /// How, and what to do.
        what: String,
    },
    /// It went wrong while the flash was being written.
    #[error(
        "the {chip} at the probe {probe} was not flashed: {reason}; it has no whole image now: flash it again"
    )]
    Program {
        /// The chip.
        chip: String,
        /// The probe.
        probe: String,
        /// What happened.
        reason: String,
    },
    /// Flashed and verified, but not started.
    #[error(
        "flashed and verified, but the {chip} didn't take a reset: {reason}; switch the board off and on"
    )]
    NotReset {
        /// The chip.
        chip: String,
        /// What happened.
        reason: String,
    },
}

fn none_or(found: &[String]) -> String {
    if found.is_empty() { "none".to_owned() } else { found.join("; ") }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flashed {
    /// The probe.
    pub probe: ProbeInfo,
    /// The chip.
    pub chip: String,
    /// Bytes written and read back.
    pub bytes: usize,
    /// Whether the chip's identity was compared; ohmrig doesn't know every chip that probe-rs does.
    pub identified: bool,
}

/// Refuses an image that isn't for the board asked for, is for no board that is flashed, or doesn't fit its chip; returns the
/// chip. Touches no probe.
///
/// # Errors
/// [`FlashError`].
pub fn check<P: Probes>(probes: &P, image: &Image, board: Option<&str>) -> Result<String, FlashError> {
    let file = image.path.display().to_string();
    if let Some(asked) = board
        && asked != image.board
        && asked != image.name()
    {
        return Err(FlashError::OtherBoard { file, image: image.name(), asked: asked.to_owned() });
    }
    let Some(chip) = image.chip.clone() else {
        return Err(FlashError::NotFlashed { file, board: image.board.clone() });
    };
    let Some(flash) = probes.flash_of(&chip) else { return Err(FlashError::UnknownChip { file, chip }) };
    for segment in &image.segments {
        let start = u64::from(segment.address);
        let end = start + segment.bytes.len() as u64;
        if !flash.iter().any(|range| range.start <= start && end <= range.end) {
            return Err(FlashError::OutsideFlash { file, chip, start, end });
        }
    }
    Ok(chip)
}

/// The one probe that is meant.
fn choose(found: Vec<ProbeInfo>, selector: Option<&str>) -> Result<ProbeInfo, FlashError> {
    let names = |found: &[ProbeInfo]| {
        found.iter().map(|p| format!("{} ({})", p.selector, p.name)).collect::<Vec<_>>()
    };
    let matching: Vec<ProbeInfo> = match selector {
        None => found.clone(),
        Some(asked) => found.iter().filter(|probe| is_meant(&probe.selector, asked)).cloned().collect(),
    };
    match (matching.as_slice(), selector) {
        ([probe], _) if !probe.permitted => Err(FlashError::NotPermitted { probe: probe.selector.clone() }),
        ([probe], _) => Ok(probe.clone()),
        ([], None) => Err(FlashError::NoProbe),
        ([], Some(asked)) => Err(FlashError::NoSuchProbe { asked: asked.to_owned(), found: names(&found) }),
        (several, _) => Err(FlashError::SeveralProbes { found: names(several) }),
    }
}

/// Whether `asked` is a selector, all of it or as far as it goes (`VID:PID`), or a serial number.
fn is_meant(selector: &str, asked: &str) -> bool {
    let (selector, asked) = (selector.to_ascii_lowercase(), asked.to_ascii_lowercase());
    let serial = selector.splitn(3, ':').nth(2);
    selector == asked || selector.starts_with(&format!("{asked}:")) || serial == Some(asked.as_str())
}

/// Flashes an image, verifies it and starts it.
///
/// # Errors
/// [`FlashError`], the first of all that apply.
pub fn flash<P: Probes>(
    probes: &mut P,
    image: &Image,
    board: Option<&str>,
    selector: Option<&str>,
    progress: &mut OnProgress<'_>,
) -> Result<Flashed, FlashError> {
    let chip = check(probes, image, board)?;
    let probe = choose(probes.list(), selector)?;
    let at = || probe.selector.clone();
    let mut target = probes.attach(&probe, &chip).map_err(|error| {
        let (chip, probe, reason) = (chip.clone(), at(), error.to_string());
        match error {
            ProbeError::Open(_) => FlashError::Open { probe, reason },
            ProbeError::Locked(what) => FlashError::Locked { chip, probe, what },
            _ => FlashError::NoChip { chip, probe, reason },
        }
    })?;
    let known = chip::chip(&chip);
    if let Some(known) = known {
        let mut read = |sign: Sign| {
            let unread = |error: ProbeError| FlashError::NoChip {
                chip: chip.clone(),
                probe: at(),
                reason: format!("register {:#010x}: {error}", sign.register),
            };
            target.read_word(sign.register).map_err(unread)
        };
        let Sign { register, mask, value: expected } = known.identity;
        let found = read(known.identity)?;
        if !known.identity.is_in(found) {
            return Err(FlashError::OtherChip { chip, probe: at(), register, found, expected, mask });
        }
        if let Some((sign, what)) = known.unlocked
            && !sign.is_in(read(sign)?)
        {
            return Err(FlashError::Locked { chip, probe: at(), what: what.to_owned() });
        }
    }
    target.program(image, progress).map_err(|error| FlashError::Program {
        chip: chip.clone(),
        probe: at(),
        reason: error.to_string(),
    })?;
    target.reset().map_err(|error| FlashError::NotReset { chip: chip.clone(), reason: error.to_string() })?;
    Ok(Flashed { probe, chip, bytes: image.size(), identified: known.is_some() })
}

#[cfg(test)]
mod tests;
