//! What identifies a data set's content.

/// Which content a configuration names, without decoding it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetIdentity {
    /// The data set's name.
    pub name: String,
    /// Digest of the content: the files' bytes, or the generator's version and settings. 64 hexadecimal digits.
    pub digest: String,
    /// The files; empty for synthetic sets.
    pub files: Vec<FileIdentity>,
    /// Warnings and remarks that belong to every result on this content.
    pub notes: Vec<String>,
}

/// A file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIdentity {
    /// Its path within the data set.
    pub file: String,
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// The name of the known variant it is (`original`, `jpeg-copy`), `None` for an unknown one.
    pub variant: Option<String>,
}
