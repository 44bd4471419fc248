//! The executors of the runs of a grid. Each is a variant of [`Executor`]; only this module distinguishes them.

use std::path::PathBuf;

use clap::Args;
use lrlab_grid::OnFailure;
use lrlab_grid::slurm::Settings;
use lrlab_runs::{Plan, RunStore};

use super::grid::{Execution, Grid};
use super::local::{Local, show_estimate};
use super::preflight::PreflightReport;
use super::{emit, slurm};
use crate::Exit;
use crate::options::Machine;

/// The options that choose an executor.
#[derive(Debug, Args)]
pub(crate) struct ExecutorArgs {
    /// Runs at once; by default chosen from cores, memory and devices.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Where to execute the runs.
    #[arg(long, value_enum, default_value = "local")]
    executor: Target,
    /// The site's partitions and the resources of runs (TOML); required for Slurm.
    #[arg(long, value_name = "FILE", required_if_eq("executor", "slurm"))]
    slurm_profile: Option<PathBuf>,
    /// With Slurm: wait until the grid is done.
    #[arg(long)]
    wait: bool,
    /// Instead of executing the runs, print a command per run, or the scripts for Slurm.
    #[arg(long, value_enum, conflicts_with_all = ["wait", "dry_run"])]
    emit: Option<Emit>,
    /// Continue with the other runs when one fails (the default).
    #[arg(long, conflicts_with = "fail_fast")]
    keep_going: bool,
    /// Stop the other runs when one fails.
    #[arg(long)]
    fail_fast: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    /// Processes on this machine.
    Local,
    /// Job arrays.
    Slurm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Emit {
    /// One command per line, for tools such as GNU parallel; each can be started on any machine and repeatedly.
    Commands,
    /// The scripts for `sbatch`.
    Slurm,
}

/// The executor of the runs of a grid.
pub(crate) enum Executor {
    /// Processes on this machine.
    Local(Local),
    /// One command per run on standard output.
    Commands,
    /// Job arrays; `wait` waits until they have ended.
    Slurm { settings: Box<Settings>, wait: bool },
    /// The scripts of the job arrays, to be submitted by hand.
    SlurmScripts { settings: Box<Settings> },
}

impl ExecutorArgs {
    /// Whether the runs train on the nodes of a cluster rather than on the device of this process.
    pub(crate) fn on_cluster(&self) -> bool {
        self.executor == Target::Slurm || self.emit == Some(Emit::Slurm)
    }

    /// Returns the executor for the runs of a plan.
    pub(crate) fn executor(
        &self,
        plan: &Plan,
        store: &RunStore,
        machine: &Machine,
    ) -> anyhow::Result<Executor> {
        let profile = match (&self.slurm_profile, self.on_cluster()) {
            (Some(path), true) => Some(slurm::read_profile(path, plan)?),
            (None, true) => anyhow::bail!("--emit slurm needs --slurm-profile FILE"),
            (Some(_), false) => anyhow::bail!("--slurm-profile is for --executor slurm or --emit slurm"),
            (None, false) => None,
        };
        let on_failure = if self.fail_fast { OnFailure::FailFast } else { OnFailure::KeepGoing };
        Ok(match (profile, self.emit) {
            (_, Some(Emit::Commands)) => Executor::Commands,
            (None, _) => Executor::Local(Local { jobs: self.jobs, on_failure }),
            (Some(profile), emit) => {
                let settings = Box::new(slurm::settings(store, profile, machine, self.fail_fast)?);
                match emit {
                    None => Executor::Slurm { settings, wait: self.wait },
                    Some(_) => Executor::SlurmScripts { settings },
                }
            }
        })
    }
}

impl Executor {
    /// Prints an estimate and the scripts that would be submitted. Starts nothing.
    pub(crate) fn dry_run(&self, grid: &Grid<'_>) -> anyhow::Result<()> {
        match self {
            Self::Local(local) => show_estimate(grid, local.at_once(grid, &[], None), None),
            Self::Commands => {}
            Self::Slurm { settings, .. } | Self::SlurmScripts { settings } => {
                show_estimate(grid, Local::default().at_once(grid, &[], None), None);
                slurm::show_scripts(grid, settings)?;
            }
        }
        Ok(())
    }

    /// Executes the missing runs of a recorded plan, or submits them.
    pub(crate) fn execute(&self, grid: &Grid<'_>, preflight: &PreflightReport) -> anyhow::Result<Execution> {
        match self {
            Self::Local(local) => local.execute(grid, preflight),
            Self::Commands => emit::print_commands(grid).map(|()| Execution::Left(Exit::Done)),
            Self::Slurm { settings, wait } => slurm::execute(grid, settings, *wait),
            Self::SlurmScripts { settings } => {
                slurm::print_scripts(grid, settings).map(|()| Execution::Left(Exit::Done))
            }
        }
    }
}
