//! The errors of the files of runs.

use std::path::{Path, PathBuf};

/// An error of the files of runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is damaged.
    #[error("{path}: damaged ({source}); `run` makes it again")]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// A result is in the folder of another run.
    #[error(
        "{path}: this is the result of run {found}, expected {expected}; `run` sets it aside and redoes the run"
    )]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// The run that it belongs to.
        found: String,
        /// The run that the folder belongs to.
        expected: String,
    },
    /// A folder, or a link to nothing, is in the place of a file.
    #[error("{0}: not a file")]
    NotAFile(PathBuf),
    /// A checkpoint was written under another numerics class, so resuming from it would mix bits.
    #[error(
        "{path}: the checkpoint cannot be resumed: it was written under the numerics class {found:?}, and this process has \
         {expected:?}; use a --device and a machine of its class, or choose another --out; --accept-numerics and --rerun-others \
         start the run over"
    )]
    OtherNumerics {
        /// The checkpoint.
        path: PathBuf,
        /// The class of the checkpoint.
        found: String,
        /// The class of this process.
        expected: String,
    },
    /// A record file is compressed.
    #[error(
        "{0}: a file compressed by gzip, expected lines of JSON: decompress it first (`gunzip --keep {0}`)"
    )]
    CompressedRecords(PathBuf),
    /// A line of a record file is not a record.
    #[error(
        "{path}:{line}:{column}: not a record of a run ({why}), expected a complete result.json on one line"
    )]
    BadRecord {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The cause.
        why: String,
    },
    /// A file or folder contains no record.
    #[error(
        "{0}: no record of a run, expected a file with a complete result.json per line, or a folder of such *.jsonl files"
    )]
    NoRecords(PathBuf),
    /// Two records of one run differ.
    #[error("{0}; keep one of the two lines")]
    Conflict(Box<Conflict>),
    /// A string is not a run id.
    #[error("{0:?} is not a run id, expected 32 hexadecimal digits")]
    BadId(String),
}

/// Two results of one run, neither of which contains the other ([`RunResult::contains`](crate::RunResult::contains)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The run: its id and its coordinates.
    pub run: String,
    /// The file and line, or the folder, of the first result.
    pub first: String,
    /// The file and line of the other result.
    pub other: String,
    /// What differs.
    pub difference: String,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { run, first, other, difference } = self;
        write!(f, "{other}: another result of run {run} than in {first}: {difference}")
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

/// Returns the message without the position, which is meaningless within a one-line text.
pub(crate) fn of_a_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).map_or_else(|| text.clone(), str::to_owned)
}
