//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::progress::tell;
use crate::{CheckpointEvery, DeviceChoice, Exit, Registry, color, commands};

/// The lab for learning-rate schedules.
#[derive(Debug, Parser)]
#[command(name = "lrlab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the runs of an experiment, what is done and what is missing.
    Plan(commands::plan::PlanArgs),
    /// Run a whole grid and write its report.
    Run(commands::run::RunArgs),
    /// Run one planned run; `run` starts these.
    #[command(hide = true)]
    Worker(commands::worker::WorkerArgs),
    /// The task of a job array: runs of a grid until none is left.
    #[command(hide = true)]
    GridWorker(commands::grid_worker::GridWorkerArgs),
    /// The job after the arrays: the report, and what was lost is submitted again.
    #[command(hide = true)]
    GridReport(commands::cluster::GridReportArgs),
    /// Claim and run one run of a grid: a line of `run --emit commands`.
    #[command(hide = true)]
    GridRun(commands::grid_worker::GridRunArgs),
    /// Try a model before anything is queued.
    #[command(hide = true)]
    Preflight(commands::preflight::PreflightArgs),
    /// Show how far a grid is.
    Status(commands::status::StatusArgs),
    /// Write the report of a grid.
    Report(commands::report::ReportArgs),
    /// Remove what no experiment names any more, after showing it.
    Gc(commands::gc::GcArgs),
    /// Look at schedules and controllers without training.
    Schedule(commands::schedule::ScheduleArgs),
    /// Find a rate: sweep through all of them on an experiment's model and data, and suggest one.
    LrFind(commands::lr_find::LrFindArgs),
    /// Print the JSON schema of experiment files, for editors: `experiments/schema.json` is a copy.
    Schema,
    /// List, fetch and verify data sets.
    Data(commands::data::DataArgs),
    /// Measure how fast this machine trains.
    Bench(commands::bench::BenchArgs),
    /// Check that a device trains as the CPU does: operators, batches, bits, learning, killed runs; a table in the end.
    Kit(commands::kit::KitArgs),
}

/// Which experiment, and which of its runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Selection {
    /// The experiment file.
    #[arg(default_value = "experiments/quickstart.toml")]
    pub(crate) experiment: PathBuf,
    /// The store: results, plans, reports.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) part: Part,
}

/// Which part of an experiment, and what of it is changed.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Part {
    /// Override a key of the experiment (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Only cells that match (repeatable; one key twice means either).
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Only the first N seeds.
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<usize>,
    /// Only the run with this id, or with an id that begins so; a trial of a search is trained in full.
    #[arg(long, value_name = "RUN_ID")]
    pub(crate) run: Option<String>,
}

impl Part {
    /// Whether it is the whole experiment as its file states it.
    pub(crate) fn is_whole(&self) -> bool {
        let Self { set, filter, seeds, run } = self;
        set.is_empty() && filter.is_empty() && seeds.is_none() && run.is_none()
    }
}

/// Which files stay after a run is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keep {
    /// Figures and logs only.
    None,
    /// The best epoch's weights as `best.safetensors`.
    Best,
    /// The best and the last epoch's weights, and the last two checkpoints.
    All,
}

impl Keep {
    /// The word on the command line.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Best => "best",
            Self::All => "all",
        }
    }

    /// How many weights stay: the best, the last.
    pub(crate) const fn weights(self) -> usize {
        match self {
            Self::None => 0,
            Self::Best => 1,
            Self::All => 2,
        }
    }

    /// Whether checkpoints stay.
    pub(crate) const fn checkpoints(self) -> bool {
        matches!(self, Self::All)
    }
}

/// Where and with what a run trains.
#[derive(Debug, Clone, Args)]
pub(crate) struct Machine {
    /// Where to train: auto, cpu, cuda, cuda:N or metal.
    #[arg(long, default_value = "auto")]
    pub(crate) device: DeviceChoice,
    /// Which weights stay.
    #[arg(long, value_enum, default_value = "best")]
    pub(crate) keep: Keep,
    /// Threads per run; by default the cores divided among the jobs.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// How often a run's state is saved while it trains: "5 seconds", "200 updates", "1 epoch" or "never".
    #[arg(long, value_name = "INTERVAL", default_value_t)]
    pub(crate) checkpoint_every: CheckpointEvery,
}

/// Runs the command line with the built-in models and data sets and those of `registry`.
#[must_use]
pub fn cli(registry: &Registry) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print();
            if error.use_stderr() {
                // Bad input, which clap also numbers 2.
                return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
            }
            // Help or the version.
            commands::said(printed);
            return ended(Exit::Done).into();
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(color::on_stderr())
        .init();
    match run(cli.command, registry) {
        Ok(exit) => ended(exit).into(),
        Err(error) => {
            complain(&error);
            Exit::BadInput.into()
        }
    }
}

/// What the command ends with: all is well only if all that there was to say arrived.
fn ended(exit: Exit) -> Exit {
    let Some(error) = commands::unsaid() else { return exit };
    tell(&format!("error: standard output: {error}"));
    if exit == Exit::Done { Exit::Unsaid } else { exit }
}

fn run(command: Command, registry: &Registry) -> anyhow::Result<Exit> {
    lrlab_kernels::check_environment()?;
    match command {
        Command::Plan(args) => commands::plan::plan(&args, registry),
        Command::Run(args) => commands::run::run(&args, registry),
        Command::Worker(args) => commands::worker::worker(&args, registry),
        Command::GridWorker(args) => commands::grid_worker::grid_worker(&args),
        Command::GridReport(args) => commands::cluster::grid_report(&args),
        Command::GridRun(args) => commands::grid_worker::grid_run(&args),
        Command::Preflight(args) => commands::preflight::preflight(&args, registry),
        Command::Gc(args) => commands::gc::gc(&args, registry),
        Command::Status(args) => commands::status::status(&args, registry),
        Command::Report(args) => commands::report::report(&args, registry),
        Command::Schedule(args) => commands::schedule::schedule(&args),
        Command::LrFind(args) => commands::lr_find::lr_find(&args, registry),
        Command::Schema => commands::schema::schema(),
        Command::Data(args) => commands::data::data(&args),
        Command::Bench(args) => commands::bench::bench(&args),
        Command::Kit(args) => commands::kit::kit(&args),
    }
}

/// Tells an error and its causes on standard error; a cause that was already quoted is not told twice.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&cause);
        }
    }
    tell(&format!("error: {text}"));
}
