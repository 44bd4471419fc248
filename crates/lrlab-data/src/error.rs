//! Everything that can be wrong with data, with the file and the row.

use std::path::{Path, PathBuf};

use lrlab_config::CustomConfig;

/// The cause of an error from a library below.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong. Rows count from 0 within their file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder lacks a file of its data set.
    #[error("{}: not there; {hint}", path.display())]
    MissingFile {
        /// The file or folder that should be there.
        path: PathBuf,
        /// What the folder is expected to hold.
        hint: &'static str,
    },
    /// A folder stands where a data set has a file, or a file where it has a folder.
    #[error("{}: {found} of that name; {hint}", path.display())]
    WrongKind {
        /// Where it stands.
        path: PathBuf,
        /// `a file` or `a folder`.
        found: &'static str,
        /// What the folder is expected to hold.
        hint: &'static str,
    },
    /// Something stands among a folder's examples that is none, and may hold some.
    #[error(
        "{}: {found}, expected one .txt file per review here; move it elsewhere, or let its name begin with a dot",
        path.display()
    )]
    NotAnExample {
        /// Where it stands.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A file ends early or holds a part of a row.
    #[error("{}: row {row} is cut off: {bytes} bytes are no whole number of rows of {row_bytes} bytes", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The first row that is not whole.
        row: usize,
        /// The file's size.
        bytes: u64,
        /// A row's size.
        row_bytes: u64,
    },
    /// A file is not the format it should be, or its content is damaged.
    #[error("{}: {}truncated or corrupt: {source}", path.display(), at(*row))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The first row that could not be read; `None` where no row was reached.
        row: Option<usize>,
        /// Why.
        source: Cause,
    },
    /// A file uses what its format allows and this build has no reader for.
    #[error("{}: this build cannot read it: {source}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it uses.
        source: Cause,
    },
    /// A column is compressed with a codec that is not read.
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
        "{}: no column of {what}: expected one named {}; the file has {}; rename the one that holds them",
        path.display(), list(names), list(found)
    )]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// What the column holds.
        what: &'static str,
        /// The names it may have.
        names: &'static [&'static str],
        /// The columns that are there.
        found: Vec<String>,
    },
    /// Several columns of a table may be the one that is read.
    #[error(
        "{}: {} may each be the column of {what}; name the one that is {own:?}", path.display(), list(found)
    )]
    AmbiguousColumn {
        /// The file.
        path: PathBuf,
        /// What the column holds.
        what: &'static str,
        /// The name that goes before all others.
        own: &'static str,
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
        /// The type that is read.
        expected: &'static str,
        /// The type that is there.
        found: String,
    },
    /// A column of labels holds the names of classes.
    #[error(
        "{}: column {column:?} holds names of classes, expected integers, the classes counted from 0; number them in every \
         file alike, for example by the order of their letters, in Python with \
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
        /// Why.
        source: image::ImageError,
    },
    /// A picture has a format that is not read.
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
        /// Width and height that are read.
        expected: (u32, u32),
        /// Width and height that are there.
        found: (u32, u32),
    },
    /// A label is no class.
    #[error("{}: row {row}: label {label} is out of range 0 … {}", path.display(), classes - 1)]
    Label {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The label.
        label: i128,
        /// How many classes there are.
        classes: usize,
    },
    /// A text has no content.
    #[error("{}: {}the text is empty", path.display(), at(*row))]
    EmptyText {
        /// The file.
        path: PathBuf,
        /// The row; `None` where the file is the text.
        row: Option<usize>,
    },
    /// A text is no UTF-8.
    #[error("{}: {}the text is not UTF-8: {source}", path.display(), at(*row))]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// The row; `None` where the file is the text.
        row: Option<usize>,
        /// Where it fails.
        source: std::str::Utf8Error,
    },
    /// The data have another content than the one asked for.
    #[error("{dataset}: the data's digest is {found}, but {expected} is pinned")]
    PinnedDigest {
        /// The data set.
        dataset: String,
        /// The digest asked for.
        expected: String,
        /// The digest found.
        found: String,
    },
    /// A split asks for more examples than there are, or for none.
    #[error("{dataset}: {wanted} examples for validation leave none for training: there are {available}")]
    TooFewExamples {
        /// The data set.
        dataset: String,
        /// Examples asked for.
        wanted: usize,
        /// Examples there are.
        available: usize,
    },
    /// A setting is out of its range.
    #[error("{setting} = {value}: {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A file is not in the local cache and the network is switched off.
    #[error(
        "{repo}: {file} is not in the cache {} and HF_HUB_OFFLINE forbids the network", cache.display()
    )]
    Offline {
        /// The repository.
        repo: String,
        /// The file.
        file: String,
        /// The cache that was searched.
        cache: PathBuf,
    },
    /// A download failed; nothing was left in the cache.
    #[error("{repo}: {file} could not be downloaded: {source}")]
    Download {
        /// The repository.
        repo: String,
        /// The file.
        file: String,
        /// Why.
        source: Cause,
    },
    /// The source is a custom data set, which only the runner that registers it can load.
    #[error("no data set is registered under the name {name:?}; use a runner that registers it")]
    Custom {
        /// Its name.
        name: String,
    },
    /// This build cannot reach the hub.
    #[error("{dataset}: this build has no access to the hub (feature `hub` is off); give a folder")]
    HubDisabled {
        /// The data set.
        dataset: &'static str,
    },
    /// A tokenizer could not be trained or applied.
    #[error("tokenizer: {source}")]
    Tokenizer {
        /// Why.
        source: Cause,
    },
    /// A file of the catalog is not what it should be.
    #[error("catalog entry {name}: {source}")]
    Catalog {
        /// The entry.
        name: String,
        /// Why.
        source: toml::de::Error,
    },
    /// The thread that makes batches ahead of time could not be started.
    #[error("a thread for the batches could not be started: {source}")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// The thread that makes batches ahead of time panicked, which is a bug.
    #[error("making a batch panicked: {message}")]
    Maker {
        /// What it said.
        message: String,
    },
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// The codecs that are read, for a reader.
const CODECS: &str = "none, Snappy, gzip, Zstandard, Brotli or LZ4";

/// Where in the file, if anywhere.
fn at(row: Option<usize>) -> String {
    row.map_or_else(String::new, |row| format!("row {row}: "))
}

/// Names in quotes.
fn list(names: &[impl AsRef<str>]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{:?}", name.as_ref())).collect();
    quoted.join(", ")
}

impl Error {
    pub(crate) fn custom(custom: &CustomConfig) -> Self {
        Self::Custom { name: custom.name.clone() }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }
}
