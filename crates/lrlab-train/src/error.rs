//! The errors of training.

/// An error of training. Divergence is not an error: it is an outcome.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor operation failed.
    #[error("tensor operation: {0}")]
    Tensor(#[from] candle_core::Error),
    /// Reading examples failed.
    #[error(transparent)]
    Data(#[from] lrlab_data::Error),
    /// A callback failed.
    #[error(transparent)]
    Callback(#[from] lrlab_callbacks::Error),
    /// A setting is out of range.
    #[error("{name} is {value}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// The expected range.
        expected: String,
    },
    /// The input is not the state of a run.
    #[error("the state of the run cannot be read: {reason}")]
    State {
        /// The cause.
        reason: String,
    },
    /// A checkpoint that the run depends on could not be written.
    #[error("the checkpoint cannot be written: {0}")]
    Checkpoint(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Weights could not be written.
    #[error("{path}: {source}")]
    Weights {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: candle_core::Error,
    },
}

impl Error {
    /// The error that a split has no examples.
    pub(crate) fn empty(split: &'static str) -> Self {
        Self::Setting { name: split, value: "empty".to_owned(), expected: "at least one example".to_owned() }
    }
}
