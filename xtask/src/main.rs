//! Builds the runner, starts grids, and runs every check: `cargo xtask --help`.
//!
//! It does not depend on candle, so it builds in seconds. On unix the started runner replaces it, so that signals and
//! exit codes are the runner's.

mod bench;
mod chaos;
mod cuda;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod emulated;
mod options;
mod runner;
mod steps;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Context;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use lrlab_options::{
    DeviceChoice, GcArgs, QUICKSTART, ReportArgs, RunArgs, StatusArgs, TensorBoardArgs, VerifyArgs,
};

use crate::bench::BenchOptions;
use crate::chaos::ChaosOptions;
use crate::options::OfRunner;

/// The command that starts grids; the runner's is `run`.
const RUN_GRID: &str = "run-grid";

/// Builds the runner, starts grids, runs every check.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the runner and run a whole grid; finished runs are not redone
    #[command(name = RUN_GRID)]
    RunGrid(OfRunner<RunArgs>),
    /// Write the report of a grid
    Report(OfRunner<ReportArgs>),
    /// Show the progress of a grid, also while it runs
    Status(OfRunner<StatusArgs>),
    /// Lay out the finished runs of a grid for TensorBoard
    #[command(name = "tensorboard")]
    TensorBoard(OfRunner<TensorBoardArgs>),
    /// Redo finished runs and compare them bit for bit
    Verify(OfRunner<VerifyArgs>),
    /// List the files that no experiment refers to any more; with --yes, remove them
    Gc(OfRunner<GcArgs>),
    /// Build the runner that run-grid would use
    Build {
        /// Where to train: auto, cpu, cuda, cuda:N or metal
        #[arg(long, default_value = "auto")]
        device: DeviceChoice,
    },
    /// Measure the training speed of this machine, alone or in turn with a peer
    Bench(BenchOptions),
    /// Kill a grid at random moments, resume it each time, and compare it with an undisturbed one
    Chaos(ChaosOptions),
    /// Check everything that the README promises
    Test {
        /// Only these steps
        #[arg(value_name = "STEP", value_parser = test::names())]
        steps: Vec<String>,
    },
}

fn main() -> ExitCode {
    let given = lrlab_options::negative_numbers_as_values(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&given).unwrap_or_else(|error| error.exit());
    match run(cli.command, &given) {
        Ok(code) => code,
        Err(error) => {
            workspace::eprint_line(&format!("error: {error:#}"));
            // Nothing was started; 1 would mean that some runs failed.
            ExitCode::from(2)
        }
    }
}

fn run(command: Command, given: &ArgMatches) -> anyhow::Result<ExitCode> {
    match command {
        Command::RunGrid(command) => start(&command, given, command.options.machine.device, Some(QUICKSTART)),
        Command::Report(command) => start(&command, given, DeviceChoice::Cpu, Some(QUICKSTART)),
        Command::Status(command) => start(&command, given, DeviceChoice::Cpu, Some(QUICKSTART)),
        Command::TensorBoard(command) => start(&command, given, DeviceChoice::Cpu, Some(QUICKSTART)),
        Command::Verify(command) => {
            let recorded = &command.options.recorded;
            // Records and ids need no experiment.
            let experiment = (recorded.records.is_empty() && recorded.run.is_empty()).then_some(QUICKSTART);
            start(&command, given, command.options.device, experiment)
        }
        Command::Gc(command) => start(&command, given, DeviceChoice::Cpu, None),
        Command::Build { device } => {
            workspace::eprint_line(&runner::find(None, device)?.display().to_string());
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(options) => bench::bench(&options),
        Command::Chaos(options) => chaos::chaos(&options),
        Command::Test { steps } => test::test(&steps),
    }
}

/// Starts the runner with a command of `cargo xtask`; `experiment` is the default one.
fn start<T: Args>(
    command: &OfRunner<T>,
    given: &ArgMatches,
    device: DeviceChoice,
    experiment: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let (name, given) = given.subcommand().context("a command is required")?;
    let cli = Cli::command();
    let declared = cli.find_subcommand(name).context("the command is declared")?;
    let verb = if name == RUN_GRID { "run" } else { name };
    let arguments = options::arguments(verb, declared, given, experiment)?;
    let own = command.runner.as_deref();
    runner::exec(&runner::find(own, device)?, own, &arguments)
}
