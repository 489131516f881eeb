//! Board images (ELF): which board, chip and source they are of, as their section `.ohmrig` says; their build id; what they put
//! where; and where they are found.

use object::elf::{NT_GNU_BUILD_ID, PT_LOAD};
use object::read::elf::{ElfFile32, FileHeader as _, ProgramHeader as _};
use object::{Object as _, ObjectSection as _};
use ohmrig_protocol::message::BUILD_BYTES;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The section that says what an image is: lines of a key, `=` and a value (`firmware/boards/build-script`).
const LABEL: &str = ".ohmrig";
/// The version of that which is understood here.
const LABEL_VERSION: &str = "1";

/// Why a file is no image of ours.
#[derive(Debug, Error)]
pub enum ImageError {
    /// It can't be read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It isn't an ELF file of a 32-bit processor.
    #[error(
        "{} is not an image: no 32-bit ELF file ({reason}); `cargo xtask images` builds images into target/images",
        .path.display()
    )]
    NotElf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An ELF file without our label.
    #[error("{} is an ELF file, but not an ohmrig image: it has no section {LABEL}", .path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A label that isn't understood.
    #[error("{}: its section {LABEL} can't be used: {reason}; is the image of another version than this ohmrig?", .path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is none of that name.
    #[error("no image {name}.elf (looked in {}); build it with `cargo xtask images`, or name a file", folders_text(.folders))]
    NotFound {
        /// The name asked for.
        name: String,
        /// Where.
        folders: Vec<PathBuf>,
    },
}

fn folders_text(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Bytes that an image puts at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where they are loaded.
    pub address: u32,
    /// What.
    pub bytes: Vec<u8>,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The file.
    pub path: PathBuf,
    /// The board it is for.
    pub board: String,
    /// `emulated`, or empty.
    pub variant: String,
    /// The chip to flash, by the name probe-rs has for it; `None` for a board that isn't flashed.
    pub chip: Option<String>,
    /// Firmware version.
    pub firmware: String,
    /// Git commit it was built from.
    pub git: String,
    /// First bytes of its build id in hexadecimal digits, as a device tells them; empty if it has none.
    pub build: String,
    /// What it puts where.
    pub segments: Vec<Segment>,
}

impl Image {
    /// Reads an image.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn read(path: &Path) -> Result<Self, ImageError> {
        let bytes = fs::read(path).map_err(|source| ImageError::Io { path: path.to_owned(), source })?;
        Self::parse(path, &bytes)
    }

    /// As [`read`](Self::read), of bytes that were read from `path`.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ImageError> {
        let not_elf = |reason: String| ImageError::NotElf { path: path.to_owned(), reason };
        let unread = |error: object::read::Error| not_elf(error.to_string());
        let elf = ElfFile32::<object::Endianness>::parse(bytes).map_err(unread)?;
        let label = elf.section_by_name(LABEL).ok_or(ImageError::NotOurs { path: path.to_owned() })?;
        let label = label.data().map_err(unread)?;
        let wrong = |reason: String| ImageError::Label { path: path.to_owned(), reason };
        let label = std::str::from_utf8(label).map_err(|error| wrong(error.to_string()))?;
        let value = |key: &str| {
            let line = label.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.map(str::to_owned).ok_or_else(|| wrong(format!("no `{key}` in it")))
        };
        let version = value("ohmrig")?;
        if version != LABEL_VERSION {
            return Err(wrong(format!("version {version}, and {LABEL_VERSION} is understood")));
        }
        let board = value("board")?;
        if board.is_empty() {
            return Err(wrong("`board` is empty".to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            board,
            variant: value("variant")?,
            chip: Some(value("chip")?).filter(|chip| !chip.is_empty()),
            firmware: value("firmware")?,
            git: value("git")?,
            build: build_id(&elf).map_err(unread)?,
            segments: segments(&elf).map_err(not_elf)?,
        })
    }

    /// `board`, with its variant if it has one: the name its file has in `target/images`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.variant.as_str() {
            "" => self.board.clone(),
            variant => format!("{}-{variant}", self.board),
        }
    }

    /// Bytes in all.
    #[must_use]
    pub fn size(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes.len()).sum()
    }
}

/// The first bytes of the ELF note `NT_GNU_BUILD_ID`; empty without one.
fn build_id(elf: &ElfFile32<'_, object::Endianness>) -> Result<String, object::read::Error> {
    let Some(section) = elf.section_by_name(".note.gnu.build-id") else { return Ok(String::new()) };
    // Length of the owner's name and of the content, the type, the name "GNU", the content (System V ABI, "Note Section").
    let data = section.data()?;
    let is_note = data.len() >= 16 + BUILD_BYTES && data[8..12] == NT_GNU_BUILD_ID.0.to_le_bytes();
    let id = if is_note { &data[16..16 + BUILD_BYTES] } else { &[] };
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What is loaded, or what is wrong with it.
fn segments(elf: &ElfFile32<'_, object::Endianness>) -> Result<Vec<Segment>, String> {
    let (endian, data) = (elf.endian(), elf.data());
    let mut segments = Vec::new();
    let headers = elf.elf_header().program_headers(endian, data).map_err(|error| error.to_string())?;
    for header in headers {
        let bytes = header.data(endian, data).map_err(|()| "a segment lies beyond the file".to_owned())?;
        if header.p_type(endian) == PT_LOAD && !bytes.is_empty() {
            // Where it is loaded, not where it runs: initial values of variables lie in flash.
            segments.push(Segment { address: header.p_paddr(endian), bytes: bytes.to_vec() });
        }
    }
    if segments.is_empty() { Err("nothing in it is loaded".to_owned()) } else { Ok(segments) }
}

/// Where images are looked for: `images` beside or above the executable (`target/release/ohmrig`), `target/images` below the
/// working directory.
#[must_use]
pub fn folders() -> Vec<PathBuf> {
    let executable = std::env::current_exe().ok();
    let above = executable.iter().flat_map(|path| path.ancestors().skip(1).take(3));
    let mut folders: Vec<PathBuf> = above.map(|folder| folder.join("images")).collect();
    folders.push(Path::new("target/images").to_owned());
    folders
}

/// The file of the image called `name` in one of `folders`.
///
/// # Errors
/// [`ImageError::NotFound`].
pub fn find(name: &str, folders: Vec<PathBuf>) -> Result<PathBuf, ImageError> {
    let file = format!("{name}.elf");
    match folders.iter().map(|folder| folder.join(&file)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => Err(ImageError::NotFound { name: name.to_owned(), folders }),
    }
}

/// Every image in `folders`; what isn't one is passed over.
#[must_use]
pub fn all(folders: &[PathBuf]) -> Vec<Image> {
    let files = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let files = files.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .filter(|path| path.extension().is_some_and(|e| e == "elf"))
        .filter_map(|path| Image::read(&path).ok())
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A 32-bit ARM ELF file with one loaded segment and the sections given, as small as it can be.
    pub(crate) fn elf(segment: (u32, &[u8]), sections: &[(&str, &[u8])]) -> Vec<u8> {
        const HEADER: usize = 52;
        const PROGRAM_HEADER: usize = 32;
        let mut names = vec![0];
        let mut content = segment.1.to_vec();
        // The empty section first, that of the names last.
        let mut table = vec![[0u32; 10]];
        for (name, bytes) in sections.iter().copied().chain([(".shstrtab", [].as_slice())]) {
            let name_at = names.len() as u32;
            names.extend(name.bytes().chain([0]));
            let is_names = name == ".shstrtab";
            let (kind, bytes) = if is_names { (3, names.as_slice()) } else { (1, bytes) };
            let offset = (HEADER + PROGRAM_HEADER + content.len()) as u32;
            table.push([name_at, kind, 0, 0, offset, bytes.len() as u32, 0, 0, 1, 0]);
            content.extend(bytes.to_vec());
        }
        let table_at = (HEADER + PROGRAM_HEADER + content.len()) as u32;
        let mut file = vec![0x7F, b'E', b'L', b'F', 1, 1, 1];
        file.resize(16, 0);
        file.extend([2u16, 40].iter().flat_map(|half| half.to_le_bytes()));
        file.extend([1, 0, HEADER as u32, table_at, 0].iter().flat_map(|word| word.to_le_bytes()));
        let halves = [HEADER, PROGRAM_HEADER, 1, 40, table.len(), table.len() - 1];
        file.extend(halves.iter().flat_map(|&half| (half as u16).to_le_bytes()));
        let size = segment.1.len() as u32;
        let program = [1, (HEADER + PROGRAM_HEADER) as u32, 0, segment.0, size, size, 5, 4];
        file.extend(program.iter().flat_map(|word: &u32| word.to_le_bytes()));
        file.extend(content);
        file.extend(table.iter().flatten().flat_map(|word| word.to_le_bytes()));
        file
    }

    /// The label of an image.
    pub(crate) fn label(board: &str, chip: &str) -> String {
        format!("ohmrig=1\nboard={board}\nvariant=\nchip={chip}\nfirmware=0.1.0\ngit=0123456789ab\n")
    }

    /// A note with a build id of 20 bytes, all `byte`.
    fn note(byte: u8) -> Vec<u8> {
        let mut note: Vec<u8> = [4u32, 20, 3].iter().flat_map(|word| word.to_le_bytes()).collect();
        note.extend(b"GNU\0");
        note.extend([byte; 20]);
        note
    }

    #[test]
    fn an_image_says_what_it_is_and_what_it_puts_where() {
        let text = label("nucleo-g474re", "STM32G474RETx").replace("variant=", "variant=emulated");
        let sections = [(LABEL, text.as_bytes()), (".note.gnu.build-id", &note(0xB1))];
        let image = Image::parse(Path::new("a.elf"), &elf((0x0800_0000, b"code"), &sections)).unwrap();
        assert_eq!(image.name(), "nucleo-g474re-emulated");
        assert_eq!(image.chip.as_deref(), Some("STM32G474RETx"));
        assert_eq!((image.git.as_str(), image.build.as_str()), ("0123456789ab", "b1b1b1b1b1b1b1b1"));
        assert_eq!(image.segments, [Segment { address: 0x0800_0000, bytes: b"code".to_vec() }]);
        assert_eq!(image.size(), 4);
    }

    #[test]
    fn a_board_without_a_chip_is_not_flashed() {
        let text = label("mps2-an386", "");
        let image =
            Image::parse(Path::new("a.elf"), &elf((0, b"code"), &[(LABEL, text.as_bytes())])).unwrap();
        assert_eq!((image.chip, image.build.as_str()), (None, ""));
    }

    #[test]
    fn what_is_no_image_is_told_with_its_name_and_why() {
        let newer = label("b", "c").replace("ohmrig=1", "ohmrig=2");
        let cut = "ohmrig=1\nboard=b\n";
        for (bytes, why) in [
            (b"#!/bin/sh".to_vec(), "no 32-bit ELF file"),
            (Vec::new(), "no 32-bit ELF file"),
            (elf((0, b"code"), &[]), "not an ohmrig image"),
            (elf((0, b"code"), &[(LABEL, newer.as_bytes())]), "version 2, and 1"),
            (elf((0, b"code"), &[(LABEL, cut.as_bytes())]), "no `variant`"),
            (elf((0, b"code"), &[(LABEL, &[0xFF])]), "utf-8"),
            (elf((0, b""), &[(LABEL, label("b", "c").as_bytes())]), "nothing in it is loaded"),
        ] {
            let error = Image::parse(Path::new("a.elf"), &bytes).unwrap_err().to_string();
            assert!(error.contains("a.elf") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_cut_or_damaged_image_is_refused_or_read_but_never_a_panic() {
        let text = label("b", "c");
        let whole = elf((0, b"code"), &[(LABEL, text.as_bytes()), (".note.gnu.build-id", &note(1))]);
        for length in 0..whole.len() {
            let _ = Image::parse(Path::new("a.elf"), &whole[..length]);
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[length] ^= 1 << bit;
                let _ = Image::parse(Path::new("a.elf"), &damaged);
            }
        }
    }

    #[test]
    fn a_missing_image_names_every_folder_that_was_looked_in() {
        let folders = vec![PathBuf::from("/nowhere/a"), PathBuf::from("/nowhere/b")];
        let error = find("pico", folders).unwrap_err().to_string();
        assert!(error.contains("pico.elf") && error.contains("/nowhere/a, /nowhere/b"), "{error}");
    }
}
