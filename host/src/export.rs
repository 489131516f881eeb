//! A run file's numbers for other programs: one file per array, and one that says what they are.

mod parquet;

use crate::arrays;
use crate::run_file::{Arrays, Contents, Recorded};
use ndarray::Array2;
use serde_json::{Value, json};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What arrays are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// NumPy, float64.
    Npy,
    /// Comma-separated, a line per row, no head.
    Csv,
    /// Parquet: a line per element, with its row, its column, and its value under the array's name.
    Parquet,
}

/// What a file of one array says of itself, where its format has a place for it.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// Why nothing, or not everything, was written.
#[derive(Debug, Error)]
#[error("{}: {source}", .path.display())]
pub struct ExportError {
    /// File or folder.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// Writes every array of a run file into a folder, with `measurements.json`, which names them. Returns the files written.
///
/// # Errors
/// [`ExportError`].
pub fn write(contents: &Contents, format: Format, folder: &Path) -> Result<Vec<PathBuf>, ExportError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| ExportError { path, source }
    };
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    let mut written = Vec::new();
    let mut save = |stem: &str, arrays: &Arrays, labels: &Labels| -> Result<Value, ExportError> {
        let mut files = serde_json::Map::new();
        for (name, array) in arrays {
            let file = format!("{stem}-{}.{}", plain(name), format.extension());
            let path = folder.join(&file);
            let bytes = format.bytes(name, array, labels).map_err(at(&path))?;
            arrays::replace(&path, &bytes).map_err(at(&path))?;
            written.push(path);
            files
                .insert(name.clone(), json!({"file": file, "rows": array.nrows(), "columns": array.ncols()}));
        }
        Ok(Value::Object(files))
    };
    let mut measurements = Vec::new();
    for recorded in &contents.measurements {
        let stem = format!("{:04}-{}", recorded.id, plain(&recorded.kind));
        let labels = labels(contents, recorded);
        let mut pieces = Vec::new();
        for piece in &recorded.pieces {
            let mut labels = labels.clone();
            labels.push(("piece", piece.name.clone()));
            let arrays = save(&format!("{stem}-{}", plain(&piece.name)), &piece.arrays, &labels)?;
            pieces.push(json!({"name": piece.name, "value": piece.value, "arrays": arrays}));
        }
        measurements.push(json!({
            "id": recorded.id, "kind": recorded.kind, "state": recorded.state, "run": recorded.session,
            "started_unix_s": recorded.started_unix_s, "ended_unix_s": recorded.ended_unix_s,
            "temperature_k": recorded.temperature_k, "calibration": recorded.calibration,
            "digest": recorded.digest, "settings": recorded.settings, "value": recorded.value,
            "error": recorded.error, "arrays": save(&stem, &recorded.arrays, &labels)?, "pieces": pieces,
        }));
    }
    let runs: Vec<Value> = contents
        .sessions
        .iter()
        .map(|run| {
            json!({
                "id": run.id, "started_unix_s": run.started_unix_s, "board": run.board, "emulated": run.emulated,
                "profile": run.profile, "seed": run.seed, "rows": run.size.0, "columns": run.size.1,
                "firmware": run.firmware, "git": run.git, "ohmrig": run.ohmrig,
            })
        })
        .collect();
    let path = folder.join("measurements.json");
    let index = json!({"emulated": contents.is_emulated(), "runs": runs, "measurements": measurements});
    let bytes = serde_json::to_vec_pretty(&index).map_err(|error| at(&path)(error.into()))?;
    arrays::replace(&path, &bytes).map_err(at(&path))?;
    written.push(path);
    Ok(written)
}

/// Where a measurement's numbers are from.
fn labels(contents: &Contents, recorded: &Recorded) -> Labels {
    let mut labels = vec![
        ("measurement", recorded.id.to_string()),
        ("kind", recorded.kind.clone()),
        ("digest", recorded.digest.clone()),
        ("run", recorded.session.to_string()),
        ("settings", recorded.settings.to_string()),
        ("started_unix_s", recorded.started_unix_s.to_string()),
    ];
    labels.extend(recorded.temperature_k.map(|kelvin| ("temperature_k", kelvin.to_string())));
    labels.extend(recorded.calibration.clone().map(|id| ("calibration", id)));
    if let Some(run) = contents.sessions.iter().find(|run| run.id == recorded.session) {
        labels.extend([
            ("board", run.board.clone()),
            ("emulated", run.emulated.to_string()),
            ("firmware", run.firmware.clone()),
            ("git", run.git.clone()),
            ("ohmrig", run.ohmrig.clone()),
        ]);
        labels.extend(run.profile.clone().map(|profile| ("profile", profile)));
        labels.extend(run.seed.clone().map(|seed| ("seed", seed)));
    }
    labels
}

impl Format {
    const fn extension(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// A file's bytes. Only Parquet has a place for the array's name and for labels.
    fn bytes(self, name: &str, array: &Array2<f64>, labels: &Labels) -> io::Result<Vec<u8>> {
        match self {
            Self::Npy => arrays::npy_bytes(array.view()),
            Self::Csv => Ok(csv(array).into_bytes()),
            Self::Parquet => parquet::bytes(name, array.view(), labels).map_err(io::Error::other),
        }
    }
}

/// Every digit that a float64 has; what isn't a number is `nan`, as NumPy reads it.
fn csv(array: &Array2<f64>) -> String {
    let mut text = String::new();
    for row in array.rows() {
        for (column, value) in row.iter().enumerate() {
            let comma = if column > 0 { "," } else { "" };
            // Writing to a string doesn't fail.
            let _ = match value {
                value if value.is_nan() => write!(text, "{comma}nan"),
                value => write!(text, "{comma}{value:e}"),
            };
        }
        text.push('\n');
    }
    text
}

/// A name that is a file's on every system.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn every_digit_survives_csv() {
        let text = csv(&array![[1.0 / 3.0, f64::NAN], [-4.7e-5, 0.0]]);
        let lines: Vec<Vec<f64>> =
            text.lines().map(|line| line.split(',').map(|v| v.parse().unwrap()).collect()).collect();
        assert_eq!(lines[0][0], 1.0 / 3.0);
        assert!(lines[0][1].is_nan());
        assert_eq!(lines[1], [-4.7e-5, 0.0]);
    }

    #[test]
    fn a_name_becomes_a_file_name() {
        assert_eq!(plain("rows 0-15/../x"), "rows-0-15----x");
    }
}
