//! Options shared by several commands.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{CheckpointEvery, DeviceChoice};

/// The default experiment, of which the program contains a copy.
pub(crate) const QUICKSTART: &str = "experiments/quickstart.toml";

/// An experiment and a selection of its runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Selection {
    /// The experiment file.
    #[arg(default_value = QUICKSTART)]
    pub(crate) experiment: PathBuf,
    /// The store: results, plans and reports.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) part: Part,
}

/// A selection of an experiment's runs, and overrides.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Part {
    #[command(flatten)]
    pub(crate) cells: Cells,
    /// Only the run with this id or prefix of an id; a trial of a search is trained in full.
    #[arg(long, value_name = "RUN_ID")]
    pub(crate) run: Option<String>,
}

impl Part {
    /// Whether it is the whole experiment without overrides.
    pub(crate) fn is_whole(&self) -> bool {
        self.cells.are_all() && self.run.is_none()
    }
}

/// A selection of an experiment's cells, and overrides.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Cells {
    /// Override a key of the experiment (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Only matching cells (repeatable; several values of one key are alternatives).
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Only the first N seeds.
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<usize>,
}

impl Cells {
    /// Whether they are all cells of the experiment without overrides.
    pub(crate) fn are_all(&self) -> bool {
        let Self { set, filter, seeds } = self;
        set.is_empty() && filter.is_empty() && seeds.is_none()
    }
}

/// The files to keep after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keep {
    /// Metrics and logs only.
    None,
    /// Also the best epoch's weights, as `best.safetensors`.
    Best,
    /// Also the last epoch's weights, the last two checkpoints, and the state that a longer run can continue.
    All,
}

impl Keep {
    /// Returns how many sets of weights are kept: the best, the last.
    pub(crate) const fn weights(self) -> usize {
        match self {
            Self::None => 0,
            Self::Best => 1,
            Self::All => 2,
        }
    }

    /// Whether checkpoints are kept.
    pub(crate) const fn checkpoints(self) -> bool {
        matches!(self, Self::All)
    }
}

impl std::fmt::Display for Keep {
    /// The value on the command line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Best => "best",
            Self::All => "all",
        })
    }
}

impl std::str::FromStr for Keep {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        <Self as ValueEnum>::from_str(text, false)
    }
}

/// The device and execution options of a run.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Machine {
    /// Where to train: auto, cpu, cuda, cuda:N or metal.
    #[arg(long, default_value = "auto")]
    pub(crate) device: DeviceChoice,
    /// Which weights to keep.
    #[arg(long, value_enum, default_value = "best")]
    pub(crate) keep: Keep,
    /// Threads per run; by default the cores divided among the jobs.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// How often to save a run's state while it trains: "auto" (2 % of the time since the start, at most a minute),
    /// "5 seconds", "200 updates", "1 epoch" or "never".
    #[arg(long, value_name = "INTERVAL", default_value_t)]
    pub(crate) checkpoint_every: CheckpointEvery,
    /// Train every run from its first update, even if a shorter run with the same beginning is done.
    #[arg(long)]
    pub(crate) from_scratch: bool,
}

impl Machine {
    /// Returns the options that pass these values on to another process of this program.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let Self { device, keep, threads, checkpoint_every, from_scratch } = self;
        let mut arguments = vec![
            format!("--device={device}"),
            format!("--keep={keep}"),
            format!("--checkpoint-every={checkpoint_every}"),
        ];
        arguments.extend(threads.map(|threads| format!("--threads={threads}")));
        arguments.extend(from_scratch.then(|| "--from-scratch".to_owned()));
        arguments
    }
}
