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
    /// Text that is no run id.
    #[error("{0:?} is no run id: expected 32 hexadecimal digits")]
    BadId(String),
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }
    pub(crate) fn json(path: &Path, source: serde_json::Error) -> Self {
        Self::Json { path: path.to_path_buf(), source }
    }
}
