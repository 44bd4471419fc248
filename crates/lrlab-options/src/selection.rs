//! The experiment, the store, the part of the experiment, and the records.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};

use crate::machine::at_least_one;

/// The default experiment, of which the program contains a copy.
pub const QUICKSTART: &str = "experiments/quickstart.toml";

/// The default store.
pub const STORE: &str = "runs";

/// Parses the folder of a store, which may not exist yet.
#[must_use]
pub fn store_folder() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        let existing = path.ancestors().find(|part| part.symlink_metadata().is_ok());
        match existing.filter(|part| !part.is_dir()) {
            Some(file) => Err(format!("{} is not a folder", file.display())),
            None => Ok(path),
        }
    })
}

/// An experiment and a selection of its runs.
#[derive(Debug, Clone, Args)]
pub struct Selection {
    /// The experiment file.
    #[arg(default_value = QUICKSTART)]
    pub experiment: PathBuf,
    /// The store: results, plans and reports.
    #[arg(long, value_name = "DIR", default_value = STORE, value_parser = store_folder())]
    pub out: PathBuf,
    /// A part of the experiment.
    #[command(flatten)]
    pub part: Part,
}

/// A selection of an experiment's runs, and overrides.
#[derive(Debug, Clone, Default, Args)]
pub struct Part {
    /// The cells.
    #[command(flatten)]
    pub cells: Cells,
    /// Only the run with this id or prefix of an id; a trial of a search is trained in full.
    #[arg(long, value_name = "RUN_ID")]
    pub run: Option<String>,
}

impl Part {
    /// Whether it is the whole experiment without overrides.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.cells.are_all() && self.run.is_none()
    }
}

/// A selection of an experiment's cells, and overrides.
#[derive(Debug, Clone, Default, Args)]
pub struct Cells {
    /// Override a key of the experiment (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Only matching cells (repeatable; several values of one key are alternatives).
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// Only the first N seeds.
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroUsize>.map(NonZeroUsize::get))]
    pub seeds: Option<usize>,
}

impl Cells {
    /// Whether they are all cells of the experiment without overrides.
    #[must_use]
    pub fn are_all(&self) -> bool {
        let Self { set, filter, seeds } = self;
        set.is_empty() && filter.is_empty() && seeds.is_none()
    }
}

/// The files of records to read: by default those beside the experiment.
#[derive(Debug, Clone, Args)]
pub struct RecordFiles {
    /// Count the runs in this file of records (one complete result.json per line), or in the *.jsonl files of this
    /// folder, as done (repeatable). The digests of their data are taken from the records, so the data are not needed.
    /// `run` imports the runs into the store first, like `records import`. By default `results/NAME/*.jsonl` beside an
    /// experiment file `NAME.toml`, if there are any.
    #[arg(long = "records", value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// Do not read the records beside the experiment.
    #[arg(long, conflicts_with = "paths")]
    pub no_records: bool,
}
