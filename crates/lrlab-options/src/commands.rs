//! The options of each command.

use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::machine::at_least_one;
use crate::selection::store_folder;
use crate::{Cells, DeviceChoice, Machine, Part, RecordFiles, STORE, Selection};

/// The options of `run`: a grid.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct RunArgs {
    /// The experiment and the part of it.
    #[command(flatten)]
    pub selection: Selection,
    /// The runs on record.
    #[command(flatten)]
    pub on_record: RecordFiles,
    /// The device and execution of runs.
    #[command(flatten)]
    pub machine: Machine,
    /// Where the runs are executed.
    #[command(flatten)]
    pub executor: ExecutorArgs,
    /// Print the plan and an estimate without starting runs.
    #[arg(long)]
    pub dry_run: bool,
    /// Set results of other builds or numerics classes aside and train their runs again. Interrupted runs of other classes start
    /// over.
    #[arg(long)]
    pub rerun_others: bool,
    /// Train the missing runs even if existing results, or processes that train others, have another numerics class. The output and
    /// the report state this. Interrupted runs of other classes start over.
    #[arg(long, conflicts_with = "rerun_others")]
    pub accept_numerics: bool,
    /// Keep the stored plan of the experiment, which these runs are a part of, and report all of it: for `redo`.
    #[arg(long, hide = true)]
    pub keep_plan: bool,
}

/// The options that choose an executor.
#[derive(Debug, Args)]
pub struct ExecutorArgs {
    /// The maximum number of concurrent runs; by default derived from cores, memory and devices.
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroU16>)]
    pub jobs: Option<NonZeroU16>,
    /// Where to execute the runs.
    #[arg(long, value_enum, default_value = "local")]
    pub executor: Target,
    /// The cluster's partitions and the resources of runs (TOML); required for Slurm.
    #[arg(long, value_name = "FILE", required_if_eq("executor", "slurm"))]
    pub slurm_profile: Option<PathBuf>,
    /// With Slurm: wait until the grid is done.
    #[arg(long)]
    pub wait: bool,
    /// Do not execute the runs; print one command per run, or the Slurm scripts.
    #[arg(long, value_enum, conflicts_with_all = ["wait", "dry_run"])]
    pub emit: Option<Emit>,
    /// Continue with the other runs when one fails (the default).
    #[arg(long, conflicts_with = "fail_fast")]
    pub keep_going: bool,
    /// Stop the other runs when one fails.
    #[arg(long)]
    pub fail_fast: bool,
}

/// Where runs are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Processes on this machine.
    Local,
    /// Job arrays.
    Slurm,
}

/// What is printed instead of executing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Emit {
    /// One command per line, for tools such as GNU parallel; each may run on any host and may be repeated.
    Commands,
    /// The scripts for `sbatch`.
    Slurm,
}

impl ExecutorArgs {
    /// Whether the runs train on the nodes of a cluster rather than on the device of this process.
    #[must_use]
    pub fn on_cluster(&self) -> bool {
        self.executor == Target::Slurm || self.emit == Some(Emit::Slurm)
    }
}

/// The options of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The experiment and the part of it.
    #[command(flatten)]
    pub selection: Selection,
    /// Further experiment files: one report of all of them, in which the experiment is an axis.
    #[arg(value_name = "EXPERIMENT", conflicts_with = "run")]
    pub others: Vec<PathBuf>,
    /// The runs on record.
    #[command(flatten)]
    pub on_record: RecordFiles,
    /// The folder to write to; by default `DIR/<experiment>/report`, and `DIR/A+B/report` for several experiments. Files
    /// that are not from an earlier report are kept.
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Print the verdict on each claim, and fail unless each is the one that the experiment expects (`expect`, by default
    /// "supported").
    #[arg(long)]
    pub check: bool,
}

/// The options of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The experiment and the part of it.
    #[command(flatten)]
    pub selection: Selection,
    /// The runs on record.
    #[command(flatten)]
    pub on_record: RecordFiles,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Refresh every second, with curves, until the grid is done or Ctrl-C; without a terminal, print once.
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,
}

/// The options of `tensorboard`.
#[derive(Debug, Args)]
pub struct TensorBoardArgs {
    /// The experiment and the part of it.
    #[command(flatten)]
    pub selection: Selection,
    /// The runs on record.
    #[command(flatten)]
    pub on_record: RecordFiles,
}

/// The options of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The finished runs to redo.
    #[command(flatten)]
    pub recorded: RecordedArgs,
    /// Where to train: auto, cpu, cuda, cuda:N or metal.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Threads per run; by default the cores divided among the jobs.
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroUsize>)]
    pub threads: Option<NonZeroUsize>,
    /// The maximum number of concurrent runs; by default derived from cores, memory and devices.
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroU16>)]
    pub jobs: Option<NonZeroU16>,
    /// Redo the runs in this new or empty folder and keep it.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// The options that select runs.
#[derive(Debug, Args)]
pub struct RecordedArgs {
    /// The experiment whose finished runs are redone. Without one: every run of --records; the runs of --run, of any
    /// experiment; or otherwise those of experiments/quickstart.toml.
    pub experiment: Option<PathBuf>,
    /// The store with the results.
    #[arg(long, value_name = "DIR", default_value = STORE, value_parser = store_folder())]
    pub out: PathBuf,
    /// Take the results from this file of records (one complete result.json per line), or from the *.jsonl files of
    /// this folder, instead of the store (repeatable). Neither store nor experiment is needed. If the store has no
    /// finished run of the experiment, the default is `results/NAME/*.jsonl` beside its file `NAME.toml`.
    #[arg(long, value_name = "FILE|DIR")]
    pub records: Vec<PathBuf>,
    /// The cells of the experiment.
    #[command(flatten)]
    pub cells: Cells,
    /// Only the run with this id or prefix of an id (repeatable).
    #[arg(long, value_name = "RUN_ID")]
    pub run: Vec<String>,
    /// Only a sample of N runs: round-robin over the arms, in order of ids. Ids are hashes, so the sample is deterministic
    /// and does not depend on results.
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroUsize>)]
    pub sample: Option<NonZeroUsize>,
}

/// The options of `gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// An experiment file: its current runs that match the options below are kept; its other runs are removed.
    pub experiment: Option<PathBuf>,
    /// The store.
    #[arg(long, value_name = "DIR", default_value = STORE, value_parser = store_folder())]
    pub out: PathBuf,
    /// Remove the listed files.
    #[arg(long)]
    pub yes: bool,
    /// Also remove the states of finished runs that --keep all keeps for longer runs that are not planned yet.
    #[arg(long)]
    pub states: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The runs of the experiment that are kept.
    #[command(flatten, next_help_heading = "Runs of EXPERIMENT to keep (its other runs are removed)")]
    pub part: Part,
}
