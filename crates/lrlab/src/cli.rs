//! The command line.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use lrlab_options::{GcArgs, ReportArgs, RunArgs, StatusArgs, TensorBoardArgs, VerifyArgs};

use crate::program::program;
use crate::progress::{eprint_line, report_error};
use crate::{Exit, Registry, commands, log, provenance};

/// The lab for learning-rate schedules.
#[derive(Debug, Parser)]
#[command(name = "lrlab", version, long_version = provenance::version())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a commented template of an experiment.
    New(commands::new::NewArgs),
    /// List the runs of an experiment and their states.
    Plan(commands::plan::PlanArgs),
    /// Execute the runs of an experiment and write the report.
    Run(RunArgs),
    /// Set the result of one run aside and train the run again as planned; a trial that a search pruned is trained in full.
    Redo(commands::redo::RedoArgs),
    /// Execute one planned run; started by `run`.
    #[command(hide = true)]
    Worker(commands::worker::WorkerArgs),
    /// The task of a job array: executes runs of a grid until none is left.
    #[command(hide = true)]
    GridWorker(commands::grid_worker::GridWorkerArgs),
    /// The job that runs after the arrays: writes the report and resubmits lost runs.
    #[command(hide = true)]
    GridReport(commands::slurm::GridReportArgs),
    /// Claim and execute one run of a grid: a line of `run --emit commands`.
    #[command(hide = true)]
    GridRun(commands::grid_worker::GridRunArgs),
    /// Test a model before a grid starts.
    #[command(hide = true)]
    Preflight(commands::preflight::PreflightArgs),
    /// Show the progress of a grid.
    Status(StatusArgs),
    /// Write the report of a grid.
    Report(ReportArgs),
    /// Write the finished runs of a grid as TensorBoard logs, and print the command that opens them.
    ///
    /// `DIR/<experiment>/tensorboard` contains a folder per finished run, named after its cell: curves by epoch, the final,
    /// best and test metrics as scalars, and the hyperparameters for the HParams tab. Earlier logs are replaced.
    #[command(name = "tensorboard")]
    TensorBoard(TensorBoardArgs),
    /// Redo finished runs and compare them bit for bit.
    ///
    /// Each run is redone from its recorded specification, in a temporary store, by the preflight and the workers of
    /// `run`. Epochs, decisions, outcome, final and best metrics are compared; times and machines are not. One line per run
    /// shows `identical`, or the first difference, both values, and how builds, machines and data differ.
    ///
    /// Exit code 0: all runs are identical. 4: a run differs. 1: a run failed or was not redone. 2: bad input, or a run cannot be verified,
    /// because its data differs or cannot be read, its model fails the preflight, or its record was changed or is damaged.
    /// 85: interrupted; the same command starts over.
    Verify(VerifyArgs),
    /// Move finished runs between stores and files of records.
    ///
    /// A file of records has one run per line, each a complete result.json, sorted by id. `run`, `plan`, `status`,
    /// `report`, `tensorboard` and `verify` read such files with --records, by default those in `results/NAME` in the folder of `NAME.toml`.
    Records(commands::records::RecordsArgs),
    /// List and remove files that no experiment refers to any more.
    Gc(GcArgs),
    /// Inspect schedules and controllers without training.
    Schedule(commands::schedule::ScheduleArgs),
    /// Run a learning-rate range test on an experiment's model and data, and suggest a rate.
    LrFind(commands::lr_find::LrFindArgs),
    /// Print shell completions.
    Completions(commands::shell::CompletionsArgs),
    /// Write the man pages.
    Man(commands::shell::ManArgs),
    /// Print the JSON schema of experiment files for editors; `experiments/schema.json` is a copy.
    Schema,
    /// List, fetch and verify data sets.
    Data(commands::data::DataArgs),
    /// Measure the training speed of this machine.
    Bench(commands::bench::BenchArgs),
    /// Check that a device trains like the CPU: operators, batches, bits, learning, killed runs; prints a table.
    Kit(commands::kit::KitArgs),
}

/// Runs the command line with the built-in models and data sets and those of `registry`.
#[must_use]
pub fn cli(registry: &Registry) -> ExitCode {
    let parsed = command().try_get_matches().and_then(|given| Cli::from_arg_matches(&given));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print();
            if error.use_stderr() {
                // clap also uses 2 for bad input.
                return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
            }
            // Help or the version.
            commands::note_write(printed);
            return ended(Exit::Done).into();
        }
    };
    log::init(matches!(cli.command, Command::Worker(_) | Command::GridWorker(_) | Command::GridReport(_)));
    match run(cli.command, registry) {
        Ok(exit) => ended(exit).into(),
        Err(error) => {
            report_error(&error);
            Exit::BadInput.into()
        }
    }
}

/// Returns the declaration of the command line.
fn command() -> clap::Command {
    lrlab_options::negative_numbers_as_values(Cli::command())
}

/// Returns the exit code of the command; success requires that all output was written.
fn ended(exit: Exit) -> Exit {
    let Some(error) = commands::write_error() else { return exit };
    eprint_line(&format!("error: standard output: {error}"));
    if exit == Exit::Done { Exit::OutputFailed } else { exit }
}

fn run(command: Command, registry: &Registry) -> anyhow::Result<Exit> {
    lrlab_kernels::check_environment()?;
    crate::assemble::data_memory()?;
    match command {
        Command::New(args) => commands::new::new(&args),
        Command::Plan(args) => commands::plan::plan(&args, registry),
        Command::Run(args) => commands::run::run(&args, registry),
        Command::Redo(args) => redo(&args, registry),
        Command::Worker(args) => commands::worker::worker(&args, registry),
        Command::GridWorker(args) => commands::grid_worker::grid_worker(&args, registry),
        Command::GridReport(args) => commands::slurm::grid_report(&args),
        Command::GridRun(args) => commands::grid_worker::grid_run(&args),
        Command::Preflight(args) => commands::preflight::preflight(&args, registry),
        Command::Gc(args) => commands::gc::gc(&args, registry),
        Command::Status(args) => commands::status::status(&args, registry),
        Command::Report(args) => commands::report::report(&args, registry),
        Command::TensorBoard(args) => commands::tensorboard::tensorboard(&args, registry),
        Command::Verify(args) => commands::verify::verify(&args, registry),
        Command::Records(args) => commands::records::records(&args, registry),
        Command::Schedule(args) => commands::schedule::schedule(&args, registry),
        Command::LrFind(args) => commands::lr_find::lr_find(&args, registry),
        Command::Completions(args) => Ok(commands::shell::completions(&args, Cli::command().name(program()))),
        Command::Man(args) => commands::shell::man(&args, Cli::command().name(program())),
        Command::Schema => commands::schema::schema(),
        Command::Data(args) => commands::data::data(&args),
        Command::Bench(args) => commands::bench::bench(&args),
        Command::Kit(args) => commands::kit::kit(&args),
    }
}

/// Trains the run by the `run` command.
fn redo(args: &commands::redo::RedoArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let arguments = commands::redo::prepare(args, registry)?;
    let Command::Run(run) = Cli::try_parse_from(&arguments)?.command else {
        anyhow::bail!("`run` is another command here, which is a bug")
    };
    commands::run::run(&run, registry)
}
