//! Builds the runner, starts grids, and runs every check: `cargo xtask --help`.
//!
//! It does not depend on candle, so it builds in seconds. On unix the started runner replaces it, so that signals and
//! exit codes are the runner's.

mod bench;
mod chaos;
mod cuda;
mod options;
mod runner;
mod steps;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bench::BenchOptions;
use crate::chaos::ChaosOptions;
use crate::options::{
    GcOptions, ReportOptions, RunOptions, StatusOptions, TensorBoardOptions, VerifyOptions,
};

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
    RunGrid(RunOptions),
    /// Write the report of a grid
    Report(ReportOptions),
    /// Show the progress of a grid, also while it runs
    Status(StatusOptions),
    /// Lay out the finished runs of a grid for TensorBoard
    #[command(name = "tensorboard")]
    TensorBoard(TensorBoardOptions),
    /// Redo finished runs and compare them bit for bit
    Verify(VerifyOptions),
    /// List the files that no experiment refers to any more; with --yes, remove them
    Gc(GcOptions),
    /// Build the runner that run-grid would use
    Build {
        /// Where to train: auto, cpu, cuda, cuda:N or metal
        #[arg(long, default_value = "auto")]
        device: String,
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
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            workspace::eprint_line(&format!("error: {error:#}"));
            // Nothing was started; 1 would mean that some runs failed.
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::RunGrid(options) => {
            let program = runner::find(options.runner.as_deref(), &options.device)?;
            runner::exec(&program, options.runner.as_deref(), &options.arguments()?)
        }
        Command::Report(options) => {
            let program = runner::find(options.runner.as_deref(), "cpu")?;
            runner::exec(&program, options.runner.as_deref(), &options.arguments()?)
        }
        Command::Status(options) => {
            let program = runner::find(options.runner.as_deref(), "cpu")?;
            runner::exec(&program, options.runner.as_deref(), &options.arguments()?)
        }
        Command::TensorBoard(options) => {
            let program = runner::find(options.runner.as_deref(), "cpu")?;
            runner::exec(&program, options.runner.as_deref(), &options.arguments()?)
        }
        Command::Verify(options) => {
            let program = runner::find(options.runner.as_deref(), &options.device)?;
            runner::exec(&program, options.runner.as_deref(), &options.arguments()?)
        }
        Command::Gc(options) => {
            let program = runner::find(options.runner.as_deref(), "cpu")?;
            runner::exec(&program, options.runner.as_deref(), &options.arguments()?)
        }
        Command::Build { device } => {
            workspace::eprint_line(&runner::find(None, &device)?.display().to_string());
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(options) => bench::bench(&options),
        Command::Chaos(options) => chaos::chaos(&options),
        Command::Test { steps } => test::test(&steps),
    }
}
