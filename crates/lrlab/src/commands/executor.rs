//! Executors, which run a grid locally or on Slurm. Each executor is a variant of [`Executor`]; no other module
//! distinguishes them.

use std::num::NonZeroU16;

use lrlab_grid::OnFailure;
use lrlab_grid::slurm::Settings;
use lrlab_options::{Emit, ExecutorArgs, Machine};
use lrlab_runs::{Plan, RunStore};

use super::grid::{Execution, Grid};
use super::local::{Local, show_estimate};
use super::preflight::PreflightReport;
use super::{emit, slurm};
use crate::Exit;

/// Executes the runs of a grid.
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

impl Executor {
    /// Returns the executor that the options choose for the runs of a plan.
    pub(crate) fn chosen(
        args: &ExecutorArgs,
        plan: &Plan,
        store: &RunStore,
        machine: &Machine,
    ) -> anyhow::Result<Self> {
        let profile = match (&args.slurm_profile, args.on_cluster()) {
            (Some(path), true) => Some(slurm::read_profile(path, plan)?),
            (None, true) => anyhow::bail!("--emit slurm needs --slurm-profile FILE"),
            (Some(_), false) => anyhow::bail!("--slurm-profile is for --executor slurm or --emit slurm"),
            (None, false) if args.wait => {
                anyhow::bail!("--wait is for --executor slurm; the local executor always waits")
            }
            (None, false) => None,
        };
        let prints_commands = args.emit == Some(Emit::Commands);
        if prints_commands && args.on_cluster() {
            anyhow::bail!(
                "--emit commands prints commands for this kind of device: leave out --executor slurm"
            );
        }
        if args.jobs.is_some() && args.on_cluster() {
            anyhow::bail!(
                "--jobs is for runs on this machine: `runs_at_once` of the Slurm profile is for those of a job"
            );
        }
        if prints_commands && (args.jobs.is_some() || args.fail_fast) {
            anyhow::bail!(
                "--jobs and --fail-fast are for runs that this command executes, not for --emit commands"
            );
        }
        let on_failure = if args.fail_fast { OnFailure::FailFast } else { OnFailure::KeepGoing };
        Ok(match (profile, args.emit) {
            (_, Some(Emit::Commands)) => Self::Commands,
            (None, _) => Self::Local(Local { jobs: args.jobs.map(NonZeroU16::get), on_failure }),
            (Some(profile), emit) => {
                let settings = Box::new(slurm::settings(store, profile, machine, args.fail_fast)?);
                match emit {
                    None => Self::Slurm { settings, wait: args.wait },
                    Some(_) => Self::SlurmScripts { settings },
                }
            }
        })
    }

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

    /// Executes, submits or prints the missing runs of a recorded plan.
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
