//! What can go wrong while a report is made.

/// A report could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the store, or of the report, could not be read or written.
    #[error(transparent)]
    Files(#[from] lrlab_runs::Error),
    /// A file of the store could not be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The report could not be written.
    #[error("writing the report: {0}")]
    Writing(#[from] std::io::Error),
    /// The folder is no report's, and has files that a report would overwrite.
    #[error(
        "{folder}: {} would be overwritten, and the folder has no report yet: move them away, or name another folder",
        files.join(", ")
    )]
    InTheWay {
        /// The folder.
        folder: std::path::PathBuf,
        /// The files, relative to it.
        files: Vec<String>,
    },
    /// The experiments cannot be in one report.
    #[error("these experiments cannot share a report: {0}")]
    Together(String),
    /// A table's rows and columns do not fit.
    #[error("tables/{table}.csv: {message}")]
    Csv {
        /// The table.
        table: String,
        /// What does not fit.
        message: String,
    },
    /// A template of the page failed.
    #[error("template: {0}")]
    Template(#[from] minijinja::Error),
    /// A document cannot be rendered.
    #[error("{place}: {message}")]
    Document {
        /// The template and the line.
        place: String,
        /// What is wrong there.
        message: String,
    },
    /// A value could not be written as JSON.
    #[error("writing JSON: {0}")]
    Json(#[from] serde_json::Error),
}
