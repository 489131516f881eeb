//! `.npy` files in and out, checked before anything is done with them.

use ndarray::{Array2, ArrayView2};
use ndarray_npy::{ReadNpyError, ReadNpyExt, WriteNpyExt};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A file that isn't the array it should be.
#[derive(Debug, Error)]
pub enum ArrayError {
    /// Can't be opened or read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not a `.npy` file.
    #[error("{}: not a .npy file ({why}); write it with numpy.save", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Elements of another type.
    #[error("{}: elements are {found}; they must be float64 or float32 (numpy: a.astype('float64'))", .path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// NumPy's name of what they are.
        found: String,
    },
    /// Not two-dimensional.
    #[error("{}: the array has {found} dimensions; it must have 2, {expected}", .path.display())]
    Dimensions {
        /// The file.
        path: PathBuf,
        /// Dimensions it has.
        found: usize,
        /// What they should be.
        expected: &'static str,
    },
    /// Another shape than needed.
    #[error("{}: the array is {} × {}; it must be {expected}", .path.display(), .found.0, .found.1)]
    Shape {
        /// The file.
        path: PathBuf,
        /// The shape it has.
        found: (usize, usize),
        /// The shape it should have.
        expected: String,
    },
    /// NaN or infinite.
    #[error("{}: element [{}, {}] is {value}; every element must be finite", .path.display(), .index.0, .index.1)]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// Where.
        index: (usize, usize),
        /// What it is.
        value: f64,
    },
}

/// Reads a two-dimensional array of finite float64 or float32; `axes` names its axes for messages.
///
/// # Errors
/// [`ArrayError`].
pub fn read(path: &Path, axes: &'static str) -> Result<Array2<f64>, ArrayError> {
    let bytes = std::fs::read(path).map_err(|source| ArrayError::Io { path: path.to_owned(), source })?;
    if !holds_what_it_says(&bytes) {
        let why = "it ends early".to_owned();
        return Err(ArrayError::Format { path: path.to_owned(), why });
    }
    let array = match Array2::<f64>::read_npy(bytes.as_slice()) {
        Err(ReadNpyError::WrongDescriptor(_)) => {
            Array2::<f32>::read_npy(bytes.as_slice()).map(|array| array.mapv(f64::from))
        }
        other => other,
    }
    .map_err(|error| explain(path, axes, error))?;
    match array.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some((index, &value)) => Err(ArrayError::NotFinite { path: path.to_owned(), index, value }),
        None => Ok(array),
    }
}

/// Whether the file is as long as its header and the shape in it need: the reader takes memory for them before it looks. What is wrong in
/// other ways it says itself.
fn holds_what_it_says(bytes: &[u8]) -> bool {
    // Version, and the header's length in two bytes (version 1) or four (NumPy, numpy.lib.format).
    let (length, rest) = match bytes.strip_prefix(b"\x93NUMPY") {
        Some([1, _, a, b, rest @ ..]) => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        Some([_, _, a, b, c, d, rest @ ..]) => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return true,
    };
    let Some((header, data)) = rest.split_at_checked(length) else { return false };
    let header = String::from_utf8_lossy(header);
    // Nothing but the shape is in parentheses; an element has a byte at least.
    header.split('(').skip(1).all(|group| {
        let shape = group.split(')').next().unwrap_or_default();
        let mut lengths = shape.split(',').map(str::trim).filter(|text| !text.is_empty());
        let elements =
            lengths.try_fold(1_usize, |all, text| all.checked_mul(text.trim_end_matches('L').parse().ok()?));
        elements.is_some_and(|elements| elements <= data.len())
    })
}

fn explain(path: &Path, axes: &'static str, error: ReadNpyError) -> ArrayError {
    let path = path.to_owned();
    match error {
        ReadNpyError::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            ArrayError::Io { path, source }
        }
        ReadNpyError::WrongDescriptor(found) => ArrayError::Type { path, found: found.to_string() },
        ReadNpyError::WrongNdim(_, found) => ArrayError::Dimensions { path, found, expected: axes },
        ReadNpyError::Io(_) => ArrayError::Format { path, why: "it ends early".to_owned() },
        other => ArrayError::Format { path, why: other.to_string() },
    }
}

/// Refuses an array of another shape; `None` stands for any length.
///
/// # Errors
/// [`ArrayError::Shape`].
pub fn require_shape(
    path: &Path,
    array: &Array2<f64>,
    rows: Option<usize>,
    columns: Option<usize>,
) -> Result<(), ArrayError> {
    let found = array.dim();
    let fits =
        |length: usize, needed: Option<usize>| length > 0 && needed.is_none_or(|needed| needed == length);
    if fits(found.0, rows) && fits(found.1, columns) {
        return Ok(());
    }
    let text = |n: Option<usize>| n.map_or_else(|| "(at least 1)".to_owned(), |n| n.to_string());
    let expected = format!("{} × {}", text(rows), text(columns));
    Err(ArrayError::Shape { path: path.to_owned(), found, expected })
}

/// Writes an array as float64 `.npy`, complete or not at all.
///
/// # Errors
/// [`ArrayError::Io`].
pub fn write(path: &Path, array: ArrayView2<'_, f64>) -> Result<(), ArrayError> {
    let io = |source| ArrayError::Io { path: path.to_owned(), source };
    replace(path, &npy_bytes(array).map_err(io)?).map_err(io)
}

/// An array as the bytes of a float64 `.npy` file.
///
/// # Errors
/// The writer's.
pub fn npy_bytes(array: ArrayView2<'_, f64>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Replaces a file's contents so that a reader sees the old or the new, never a part.
///
/// # Errors
/// The system's.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.prefix(".ohmrig-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array, array};
    use std::fs::File;

    fn saved<A: WriteNpyExt>(array: &A) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        array.write_npy(File::create(&path).unwrap()).unwrap();
        (folder, path)
    }

    #[test]
    fn float64_and_float32_are_read_alike() {
        let (_a, path) = saved(&array![[1.5_f64, 2.0]]);
        assert_eq!(read(&path, "(rows, cols)").unwrap(), array![[1.5, 2.0]]);
        let (_b, path) = saved(&array![[1.5_f32, 2.0]]);
        assert_eq!(read(&path, "(rows, cols)").unwrap(), array![[1.5, 2.0]]);
    }

    #[test]
    fn a_shape_that_no_memory_holds_is_refused() {
        let (_folder, path) = saved(&array![[1.5_f64, 2.0]]);
        let whole = std::fs::read(&path).unwrap();
        for shape in ["(40000000004, 80), }", "(18446744073709551615, 2), }", "(1, 99999999999999999999), }"]
        {
            let mut damaged = whole.clone();
            let start = damaged.windows(6).position(|window| window == b"(1, 2)").unwrap();
            damaged[start..start + shape.len()].copy_from_slice(shape.as_bytes());
            std::fs::write(&path, damaged).unwrap();
            let error = read(&path, "(rows, cols)").unwrap_err().to_string();
            assert!(error.contains("it ends early"), "{shape}: {error}");
        }
    }

    #[test]
    fn another_type_is_named() {
        let (_folder, path) = saved(&array![[1_i32]]);
        let text = read(&path, "(rows, cols)").unwrap_err().to_string();
        assert!(text.contains("<i4") && text.contains("float64"), "{text}");
    }

    #[test]
    fn another_number_of_dimensions_is_named() {
        let (_folder, path) = saved(&Array::from_vec(vec![1.0_f64, 2.0]));
        let error = read(&path, "(rows, cols)").unwrap_err();
        assert!(matches!(error, ArrayError::Dimensions { found: 1, .. }), "{error}");
    }

    #[test]
    fn what_is_not_finite_is_named_with_its_place() {
        let (_folder, path) = saved(&array![[1.0, 2.0], [3.0, f64::NAN]]);
        let error = read(&path, "(rows, cols)").unwrap_err();
        assert!(matches!(error, ArrayError::NotFinite { index: (1, 1), .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_no_npy_is_told_apart_from_one_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        assert!(matches!(read(&path, "(rows, cols)"), Err(ArrayError::Io { .. })));
        std::fs::write(&path, b"hello").unwrap();
        assert!(matches!(read(&path, "(rows, cols)"), Err(ArrayError::Format { .. })));
    }

    #[test]
    fn a_shape_is_required_where_it_is_known() {
        let array = Array2::zeros((3, 4));
        let path = Path::new("x.npy");
        assert!(require_shape(path, &array, None, Some(4)).is_ok());
        let text = require_shape(path, &array, Some(5), Some(4)).unwrap_err().to_string();
        assert_eq!(text, "x.npy: the array is 3 × 4; it must be 5 × 4");
        assert!(require_shape(path, &Array2::zeros((0, 4)), None, Some(4)).is_err());
    }

    #[test]
    fn what_was_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.npy");
        let array = array![[1e-6, -2.5]];
        write(&path, array.view()).unwrap();
        assert_eq!(read(&path, "(rows, cols)").unwrap(), array);
    }
}
