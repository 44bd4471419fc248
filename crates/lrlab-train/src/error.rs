//! What can go wrong while training.

/// What can go wrong while training. Divergence is not among them: it is an outcome.
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
    /// A setting that makes no sense here.
    #[error("{name} is {value}: expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        expected: String,
    },
    /// Something that is no state of a run.
    #[error("the state of the run cannot be read: {reason}")]
    State {
        /// Why.
        reason: String,
    },
    /// The state could not be kept, and it had to be.
    #[error("the state of the run cannot be kept: {0}")]
    Keep(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Weights could not be written.
    #[error("{path}: {source}")]
    Weights {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: candle_core::Error,
    },
}
