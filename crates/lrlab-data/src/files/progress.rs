//! Downloads: whether they are allowed, and their progress.

/// The progress of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The repository.
    pub repo: String,
    /// The file.
    pub file: String,
    /// Bytes received.
    pub bytes: u64,
    /// The size of the file in bytes; 0 if unknown.
    pub total: u64,
}

/// Receives the progress of downloads, from any thread. It must not block.
pub type Progress = std::sync::Arc<dyn Fn(&Fetched) + Send + Sync>;

/// What happens to missing files.
#[derive(Clone, Copy)]
pub(crate) enum Missing<'a> {
    /// They are downloaded.
    Download(&'a Progress),
    /// They are an error.
    Reject,
}
