//! The errors of data sets, with the file and the row.

use std::path::{Path, PathBuf};

use lrlab_config::CustomConfig;

/// The cause of an error in a dependency.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An error of a data set. Rows count from 0 within their file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A picture, text or token sequence in a cache file does not match its checksum.
    #[error("{}: row {row} is damaged; remove the file to rebuild it", path.display())]
    DamagedCache {
        /// The file.
        path: PathBuf,
        /// The picture, text or sequence.
        row: usize,
    },
    /// A folder lacks a file of its data set.
    #[error("{}: not found; {hint}", path.display())]
    MissingFile {
        /// The missing file or folder.
        path: PathBuf,
        /// The expected content of the folder.
        hint: &'static str,
    },
    /// A folder has the name of a file of the data set, or the reverse.
    #[error("{}: found {found}; {hint}", path.display())]
    WrongKind {
        /// The path.
        path: PathBuf,
        /// `a file` or `a folder`.
        found: &'static str,
        /// The expected content of the folder.
        hint: &'static str,
    },
    /// An entry among the examples of a folder is not an example, and may contain some.
    #[error(
        "{}: {found}, expected one .txt file per review here; move it elsewhere, or start its name with a dot",
        path.display()
    )]
    NotAnExample {
        /// The path.
        path: PathBuf,
        /// The kind of entry.
        found: &'static str,
    },
    /// A file ends within a row.
    #[error("{}: row {row} is cut off: {bytes} bytes are not a multiple of {row_bytes} bytes per row", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The first incomplete row.
        row: usize,
        /// The size of the file.
        bytes: u64,
        /// The size of a row.
        row_bytes: u64,
    },
    /// A file has another format or is damaged.
    #[error("{}: {}truncated or corrupt: {source}", path.display(), at(*row))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The first row that could not be read; `None` if the error precedes all rows.
        row: Option<usize>,
        /// The cause.
        source: Cause,
    },
    /// A file uses a feature of its format that this build does not support.
    #[error("{}: not supported by this build: {source}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The unsupported feature.
        source: Cause,
    },
    /// A column is compressed with an unsupported codec.
    #[error(
        "{}: column {column:?} is compressed with {codec}, expected {CODECS}; write the file again, in Python with \
         pyarrow.parquet.write_table(table, file, compression=\"zstd\")",
        path.display()
    )]
    Codec {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The codec.
        codec: String,
    },
    /// A table lacks a column.
    #[error(
        "{}: no column of {what}: expected one named {}; the file has {}; {advice}",
        path.display(), list(names), list(found)
    )]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// What the column holds.
        what: &'static str,
        /// The names it may have.
        names: Vec<String>,
        /// The existing columns.
        found: Vec<String>,
        /// What to do.
        advice: Box<str>,
    },
    /// Several columns of a table are candidates.
    #[error(
        "{}: {} are candidates for the column of {what}; rename the right one to {own:?}, or name it in a source of the hub: \
         {key} = {:?}",
        path.display(), list(found), found.first().map_or("", String::as_str)
    )]
    AmbiguousColumn {
        /// The file.
        path: PathBuf,
        /// What the column holds.
        what: &'static str,
        /// The preferred name.
        own: String,
        /// The key of a source that names the column.
        key: &'static str,
        /// The columns.
        found: Vec<String>,
    },
    /// A column holds another type of value.
    #[error("{}: column {column:?} holds {found}, expected {expected}", path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The expected type.
        expected: &'static str,
        /// The type of the column.
        found: String,
    },
    /// A column of labels contains names of classes.
    #[error(
        "{}: column {column:?} contains names of classes, expected integers that count classes from 0; number them in the \
         same way in every file, for example alphabetically, in Python with \
         frame[{column:?}] = frame[{column:?}].map({{name: i for i, name in enumerate(sorted(names))}})",
        path.display()
    )]
    LabelNames {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// A value is missing.
    #[error("{}: row {row}: column {column:?} is null", path.display())]
    NullValue {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The column.
        column: String,
    },
    /// A picture does not decode.
    #[error("{}: row {row}: the picture does not decode: {source}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The cause.
        source: image::ImageError,
    },
    /// A picture has an unsupported format.
    #[error(
        "{}: row {row}: the picture is in the format {found}, expected PNG, JPEG or WebP; convert it", path.display()
    )]
    PictureFormat {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The format.
        found: String,
    },
    /// A picture has another size.
    #[error("{}: row {row}: the picture is {} × {} pixels, expected {} × {}", path.display(), found.0, found.1, expected.0, expected.1)]
    PictureSize {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The expected width and height.
        expected: (u32, u32),
        /// The width and height of the picture.
        found: (u32, u32),
    },
    /// A picture has colours in a data set whose first picture is grey.
    #[error("{}: row {row}: the picture has colours, but the first picture of the data set is grey; convert one kind to the other", path.display())]
    PictureColours {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
    },
    /// A label is not a class.
    #[error("{}: row {row}: label {label} is out of range 0 … {}", path.display(), classes - 1)]
    Label {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The label.
        label: i128,
        /// The number of classes.
        classes: usize,
    },
    /// A text is empty.
    #[error("{}: {}the text is empty", path.display(), at(*row))]
    EmptyText {
        /// The file.
        path: PathBuf,
        /// The row; `None` if the text is a file of its own.
        row: Option<usize>,
    },
    /// A text is not valid UTF-8.
    #[error("{}: {}the text is not UTF-8: {source}", path.display(), at(*row))]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// The row; `None` if the text is a file of its own.
        row: Option<usize>,
        /// The position of the error.
        source: std::str::Utf8Error,
    },
    /// The content of the data does not have the required digest.
    #[error("{dataset}: the digest of the data is {found}, expected {expected} (pin_digest)")]
    PinnedDigest {
        /// The data set.
        dataset: String,
        /// The required digest.
        expected: String,
        /// The digest of the data.
        found: String,
    },
    /// Validation takes all examples.
    #[error("{dataset}: {wanted} examples for validation leave none for training: there are {available}")]
    TooFewExamples {
        /// The data set.
        dataset: String,
        /// The requested number of examples.
        wanted: usize,
        /// The number of available examples.
        available: usize,
    },
    /// A split has no example.
    #[error(
        "{dataset}: the {split} split has no example, expected at least 1: the data has {train} rows for training and \
         validation, and {test} for the test"
    )]
    EmptySplit {
        /// The data set.
        dataset: String,
        /// `training`, `validation` or `test`.
        split: &'static str,
        /// The rows for training and validation together, before any limit.
        train: usize,
        /// The rows for the test, before any limit.
        test: usize,
    },
    /// All labels are equal.
    #[error(
        "{dataset}: every label is 0, expected at least 2 classes; name the column that holds them in the source: label = \"…\""
    )]
    OneClass {
        /// The data set.
        dataset: String,
    },
    /// A setting is out of its range.
    #[error("{setting} is {value}, expected {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The expected range.
        expected: &'static str,
    },
    /// A file is not in the local cache.
    #[error("{repo}: {file} is not in the cache {}", cache.display())]
    NotCached {
        /// The repository.
        repo: String,
        /// The file.
        file: String,
        /// The folder of the cache.
        cache: PathBuf,
    },
    /// A file is not in the local cache, and the network is disabled.
    #[error(
        "{repo}: {file} is not in the cache {} and HF_HUB_OFFLINE disables the network", cache.display()
    )]
    Offline {
        /// The repository.
        repo: String,
        /// The file.
        file: String,
        /// The folder of the cache.
        cache: PathBuf,
    },
    /// A download failed. The cache is unchanged.
    #[error("{repo}: failed to download {file}: {source}")]
    Download {
        /// The repository.
        repo: String,
        /// The file.
        file: String,
        /// The cause.
        source: Cause,
    },
    /// The source is a custom data set, which only the runner that registers it can load.
    #[error("no data set is registered under the name {name:?}; use a runner that registers it")]
    Custom {
        /// Its name.
        name: String,
    },
    /// The data set has no version in a folder.
    #[error("{dataset} has no version in a folder: only cifar10 and imdb do; omit the folder")]
    NoFolder {
        /// The data set.
        dataset: String,
    },
    /// This build has no access to the hub.
    #[error("{dataset}: this build has no access to the hub (feature `hub` is off); give a folder")]
    HubDisabled {
        /// The data set.
        dataset: String,
    },
    /// A data set of the hub is described by neither the experiment nor the catalog.
    #[error(
        "{repo}: the catalog does not list this repository, so `{missing}` is needed: the parquet files, such as \
             {missing} = [\"default/{missing}/0000.parquet\"]; {}",
        listed_near(repo, listed)
    )]
    NotListed {
        /// The repository.
        repo: String,
        /// The missing setting.
        missing: &'static str,
        /// The repositories in the catalog.
        listed: Vec<String>,
    },
    /// Examples in memory are inconsistent.
    #[error("{dataset}: {place}: {problem}")]
    InMemory {
        /// The name of the data set.
        dataset: String,
        /// The part and the row.
        place: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// A tokenizer could not be trained or applied.
    #[error("tokenizer: {source}")]
    Tokenizer {
        /// The cause.
        source: Cause,
    },
    /// An entry of the catalog is invalid.
    #[error("catalog entry {name}: {source}")]
    Catalog {
        /// The entry.
        name: String,
        /// The cause.
        source: toml::de::Error,
    },
    /// The prefetch thread could not be started.
    #[error("failed to start the prefetch thread: {source}")]
    Thread {
        /// The cause.
        source: std::io::Error,
    },
    /// The prefetch thread panicked, which is a bug.
    #[error("the prefetch thread panicked: {message}")]
    PrefetchPanic {
        /// The message of the panic.
        message: String,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// The supported codecs, for display.
const CODECS: &str = "none, Snappy, gzip, Zstandard, Brotli or LZ4";

/// Formats the position in a file.
fn at(row: Option<usize>) -> String {
    row.map_or_else(String::new, |row| format!("row {row}: "))
}

/// Formats names in quotes.
fn list(names: &[impl AsRef<str>]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{:?}", name.as_ref())).collect();
    quoted.join(", ")
}

/// The listed repository that a misspelt name means, or all of them.
fn listed_near(repo: &str, listed: &[String]) -> String {
    match lrlab_config::nearest(repo, listed.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("listed are {}", list(listed)),
    }
}

impl Error {
    /// Returns whether the data is not available on this machine, as opposed to damaged, changed or described
    /// incorrectly.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        match self {
            Self::MissingFile { .. }
            | Self::NotCached { .. }
            | Self::Offline { .. }
            | Self::Download { .. }
            | Self::HubDisabled { .. } => true,
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    pub(crate) fn custom(custom: &CustomConfig) -> Self {
        Self::Custom { name: custom.name.clone() }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }
}
