//! Errors of making and writing reports.

/// An error while making or writing a report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Failed to read or write a file of the store or of the report.
    #[error(transparent)]
    Files(#[from] lrlab_runs::Error),
    /// The trials of a search cannot be judged.
    #[error(transparent)]
    Search(#[from] lrlab_search::Error),
    /// Failed to read a file of the store.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Failed to write the report.
    #[error("failed to write the report: {0}")]
    Writing(#[from] std::io::Error),
    /// The folder has no report, but files that a report would overwrite.
    #[error(
        "{folder}: {} would be overwritten, but no earlier report wrote it: move it or choose another folder",
        files.join(", ")
    )]
    WouldOverwrite {
        /// The folder.
        folder: std::path::PathBuf,
        /// The files, relative to it.
        files: Vec<String>,
    },
    /// The experiments cannot be combined in one report.
    #[error("cannot combine these experiments in one report: {0}")]
    Together(String),
    /// A table is inconsistent.
    #[error("tables/{table}.csv: {message}")]
    Csv {
        /// The table.
        table: String,
        /// The inconsistency.
        message: String,
    },
    /// Failed to render a built-in template.
    #[error("template: {0}")]
    Template(#[from] minijinja::Error),
    /// Failed to render a document.
    #[error("{place}: {message}")]
    Document {
        /// The template and the line.
        place: String,
        /// The cause.
        message: String,
    },
    /// Failed to serialize a value as JSON.
    #[error("failed to serialize as JSON: {0}")]
    Json(#[from] serde_json::Error),
}
