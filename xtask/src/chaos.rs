//! `cargo xtask chaos`: the end-to-end test that kills a grid, with any number of kills.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use crate::runner::BUILD;
use crate::steps::{StepResult, all};
use crate::test::END_TO_END;
use crate::workspace::{cargo, eprint_line};

/// Options of `chaos`.
#[derive(Debug, Args)]
pub(crate) struct ChaosOptions {
    /// Number of kills
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    kills: u64,
    /// Seed of the kills' times and processes
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// The experiment file [default: tests/chaos.toml]
    #[arg(long, value_name = "FILE")]
    experiment: Option<PathBuf>,
}

/// Runs the test.
pub(crate) fn chaos(options: &ChaosOptions) -> anyhow::Result<ExitCode> {
    let mut build = cargo()?;
    build.args(BUILD);
    let mut test = cargo()?;
    test.args(["test", "--release", "--package", "lrlab-tests", "--package", "lrlab"]);
    test.args(["--test", END_TO_END, "--", "chaos::", "--nocapture"]);
    test.env("LRLAB_CHAOS_KILLS", options.kills.to_string());
    test.env("LRLAB_CHAOS_SEED", options.seed.to_string());
    if let Some(experiment) = &options.experiment {
        if !experiment.is_file() {
            bail!("there is no experiment file {}", experiment.display());
        }
        test.env("LRLAB_CHAOS_EXPERIMENT", std::path::absolute(experiment)?);
    }
    eprint_line(&format!("{} kills with seed {}", options.kills, options.seed));
    Ok(if all([build, test])? == StepResult::Passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
