//! What can go wrong with the files of a run.

use std::path::{Path, PathBuf};

/// What can go wrong with the files of a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: it is damaged ({source}); the same `run` makes it again")]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A result lies in the folder of another run.
    #[error("{path}: it is the result of run {found}, not of {expected}; the same `run` makes it again")]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// The run it says it is.
        found: String,
        /// The run whose folder it is in.
        expected: String,
    },
    /// A checkpoint that cannot be gone on from without mixing bits.
    #[error(
        "{path}: this checkpoint is of the numerics class {found:?}, this machine's is {expected:?}: go on with the \
         --device and on a machine of its class, take another --out, or remove it to begin anew"
    )]
    OtherNumerics {
        /// The checkpoint.
        path: PathBuf,
        /// Its class.
        found: String,
        /// The class here.
        expected: String,
    },
    /// A line of a file of records is none.
    #[error(
        "{path}:{line}:{column}: it is no record of a run ({why}): expected a whole result.json on one line"
    )]
    BadRecord {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// Why.
        why: String,
    },
    /// Nothing is on record in a file or folder.
    #[error(
        "{0}: no record of a run is in it: expected a file with a whole result.json a line, or a folder of such *.jsonl files"
    )]
    NoRecords(PathBuf),
    /// Two records of one run differ.
    #[error("{0}; keep one of the two lines")]
    Conflict(Box<Conflict>),
    /// Text that is no run id.
    #[error("{0:?} is no run id: expected 32 hexadecimal digits")]
    BadId(String),
}

/// Two records of one run that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The run.
    pub id: String,
    /// File and line of the first one.
    pub first: (PathBuf, usize),
    /// File and line of the other one.
    pub other: (PathBuf, usize),
    /// Where they differ first, such as `history[3].val_loss`.
    pub place: String,
    /// The values there as JSON, the first one's first.
    pub values: [String; 2],
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, first, other, place, values: [there, here] } = self;
        let [first, other] = [first, other].map(|(path, line)| format!("{}:{line}", path.display()));
        write!(
            f,
            "{other}: another result of run {id} than in {first}: {place} is {here} here and {there} there"
        )
    }
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }
    pub(crate) fn json(path: &Path, source: serde_json::Error) -> Self {
        Self::Json { path: path.to_path_buf(), source }
    }
}

/// What is wrong, without the place within a text of one line.
pub(crate) fn of_a_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).map_or_else(|| text.clone(), str::to_owned)
}
