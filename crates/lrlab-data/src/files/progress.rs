//! How far a download is.

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The repository.
    pub repo: String,
    /// The file.
    pub file: String,
    /// Bytes that have come.
    pub bytes: u64,
    /// Bytes of the whole file; 0 where unknown.
    pub total: u64,
}

/// Told how far a download is, from any thread; it must not block.
pub type Progress = std::sync::Arc<dyn Fn(&Fetched) + Send + Sync>;
