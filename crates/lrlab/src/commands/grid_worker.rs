//! `lrlab grid-worker`: the task of a job array. It claims runs of its class until none is left. Near its time limit it
//! requeues itself.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use lrlab_grid::slurm::{self, Array, Submission};
use lrlab_grid::{
    Deadline, GridOutcome, Interrupt, LocalExecutor, OnFailure, Others, SlurmJob, Workload, origins,
};
use lrlab_options::Machine;
use lrlab_runs::{PlannedRun, RunId, RunStore, write_exclusive};

use super::grid::Grid;
use super::launch::{Launcher, planned, show};
use super::search::Stages;
use super::slurm::machine;
use crate::device;
use crate::progress::{Progress, eprint_line};
use crate::{Exit, Registry, provenance};

/// How long before the time limit Slurm may send its signal.
const EARLY: Duration = Duration::from_mins(1);
/// The polling interval for trials that other workers have claimed.
const POLL: Duration = Duration::from_secs(1);
/// How long requeueing is retried while the Slurm controller does not respond.
const REQUEUE_TIMEOUT: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub(crate) struct GridWorkerArgs {
    /// The folder of the submission.
    #[arg(long, value_name = "DIR")]
    submission: PathBuf,
    /// The resource class.
    #[arg(long, value_name = "NAME")]
    class: String,
}

pub(crate) fn grid_worker(args: &GridWorkerArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let began = Instant::now();
    let interrupt = Interrupt::on_signals()?;
    let submission = Submission::read(&args.submission)?
        .with_context(|| format!("{} contains no submission", args.submission.display()))?;
    let array = submission.arrays.iter().find(|array| array.class == args.class);
    let array = array.with_context(|| format!("this submission has no class {:?}", args.class))?;
    let settings = &submission.settings;
    let store = RunStore::new(&settings.out);
    let plan = Submission::plan(&args.submission)?
        .with_context(|| format!("{} contains no plan", args.submission.display()))?;
    let members: BTreeMap<&RunId, u32> =
        array.runs.iter().map(|member| (&member.run_id, member.since)).collect();
    let runs = plan.runs.iter().filter(|run| members.contains_key(&run.run_id)).cloned();
    let runs: Vec<PlannedRun> = runs.collect();

    let machine = machine(settings)?;
    let device = device::open(machine.device)?;
    let class = provenance::numerics(&device);
    check_numerics(&store, &plan.runs, &class)?;
    agree_on_numerics(&args.submission, &class)?;
    let launch = Launcher::new(&store, &machine, &device)?;
    let (limit, save) = (array.resources.time_s, array.resources.save_before_s);
    let margin = Duration::from_secs(save) + EARLY.min(Duration::from_secs(limit / 10));
    let executor = LocalExecutor {
        jobs: array.resources.runs_at_once as usize,
        threads: Some(machine.threads.map_or_else(|| threads(array), NonZeroUsize::get)),
        devices: launch.devices(),
        on_failure: if settings.fail_fast { OnFailure::FailFast } else { OnFailure::KeepGoing },
        others: Others::Leave,
        deadline: Some(Deadline { at: began + Duration::from_secs(limit), margin }),
        ..LocalExecutor::default()
    };
    let done = runs.iter().filter(|run| store.is_finished(&run.run_id)).count();
    let job = SlurmJob::current();
    eprint_line(&format!(
        "{} of class {}: {done} of {} runs done, {}",
        submission.experiment,
        array.class,
        runs.len(),
        job.as_ref()
            .map_or_else(|| "no job".to_owned(), |j| format!("job {}, start {}", j.job, j.restarts + 1))
    ));
    let (ours, wait) = (|id: &RunId| members.contains_key(id), |next| wait(next, &interrupt));
    let stages = Stages { plan: &plan, store: &store, keep: machine.keep, ours: &ours, wait: &wait };
    let mut started = 0;
    let outcome = stages.run(|runs, until| {
        let late = executor.deadline.is_some_and(|deadline| deadline.at < Instant::now() + deadline.margin);
        // The first run is always started, so that every job makes progress.
        if started > 0 && late {
            return Ok(GridOutcome { missing: runs.len(), out_of_time: true, ..GridOutcome::default() });
        }
        let since = runs.iter().map(|run| members.get(&run.run_id).copied().unwrap_or(0)).collect();
        let grid = Grid {
            plan: &plan,
            store: &store,
            registry,
            machine: &machine,
            device: &device,
            trains_here: true,
            reported: &plan,
        };
        let beginnings = grid.beginnings(runs)?;
        // Other jobs may have longer runs with the same beginning.
        let all = plan.runs.iter().zip(grid.beginnings(&plan.runs)?);
        let elsewhere = all.filter(|(run, _)| !members.contains_key(&run.run_id));
        let continued_elsewhere =
            elsewhere.filter_map(|(run, beginning)| Some((beginning?.run_id, run.run_id.clone()))).collect();
        let workload = Workload {
            runs,
            since,
            until,
            first: task(),
            beginnings,
            continued_elsewhere,
            numerics: Some(class.clone()),
            memory: None,
        };
        let outcome = work(&executor, &store, workload, &interrupt, &launch)?;
        started += outcome.started;
        Ok(outcome)
    })?;
    eprint_line(&describe(&outcome));
    if settings.fail_fast && !outcome.failed.is_empty() {
        let others = submission.arrays.iter().filter_map(|array| array.job);
        others.for_each(|job| drop(slurm::cancel(job)));
    }
    let out_of_time = outcome.out_of_time || (outcome.interrupted && interrupt.is_out_of_time());
    let left = outcome.missing > outcome.elsewhere && outcome.common_failure.is_none();
    if let (true, true, Some(job)) = (out_of_time && outcome.started > 0, left, job) {
        requeue(&job)?;
        return Ok(Exit::Interrupted);
    }
    Ok(match outcome {
        GridOutcome { interrupted: true, .. } => Exit::Interrupted,
        GridOutcome { failed, .. } if !failed.is_empty() => Exit::SomeFailed,
        GridOutcome { .. } => Exit::Done,
    })
}

/// Claims and executes one run of a grid: a line of `--emit commands`.
#[derive(Debug, Args)]
pub(crate) struct GridRunArgs {
    /// The store.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The run.
    #[arg(long, value_name = "RUN_ID")]
    run: String,
    /// Pause after this many completed epochs; the search decides whether the run is resumed.
    #[arg(long, value_name = "EPOCH", value_parser = clap::value_parser!(u64).range(1..))]
    until_epoch: Option<u64>,
    /// The working directory, to which relative paths of data refer.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The numerics class of the machine that printed the command; another one is an error.
    #[arg(long, value_name = "CLASS")]
    numerics: Option<String>,
    #[command(flatten)]
    machine: Machine,
}

pub(crate) fn grid_run(args: &GridRunArgs) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::on_signals()?;
    let store = RunStore::new(std::path::absolute(&args.out)?);
    if let Some(folder) = &args.folder {
        std::env::set_current_dir(folder).with_context(|| format!("--folder {}", folder.display()))?;
    }
    let id = RunId::try_from(args.run.clone())?;
    let runs = [planned(&store, &store.run_dir(&id))?];
    let device = device::open(args.machine.device)?;
    let class = provenance::numerics(&device);
    if let Some(expected) = args.numerics.as_ref().filter(|expected| **expected != class) {
        anyhow::bail!(
            "this machine has the numerics class {class:?}, and the command was printed for {expected:?}: the results would \
             not be comparable bit for bit"
        );
    }
    let launch = Launcher::new(&store, &args.machine, &device)?;
    let executor = LocalExecutor {
        threads: args.machine.threads.map(NonZeroUsize::get),
        devices: launch.devices(),
        others: Others::Leave,
        ..LocalExecutor::default()
    };
    let workload =
        Workload { until: vec![args.until_epoch], numerics: Some(class), ..Workload::all(&store, &runs)? };
    let outcome = work(&executor, &store, workload, &interrupt, &launch)?;
    Ok(match outcome {
        GridOutcome { interrupted: true, .. } => Exit::Interrupted,
        GridOutcome { failed, .. } if !failed.is_empty() => Exit::SomeFailed,
        GridOutcome { .. } => Exit::Done,
    })
}

fn work(
    executor: &LocalExecutor,
    store: &RunStore,
    workload: Workload<'_>,
    interrupt: &Interrupt,
    launch: &Launcher,
) -> anyhow::Result<GridOutcome> {
    let done = workload.runs.iter().filter(|run| store.is_finished(&run.run_id)).count();
    let mut progress = Progress::new(workload.runs, workload.runs.len(), done);
    let outcome = executor.run_workload(
        store,
        workload,
        interrupt,
        |assignment| launch.command(assignment),
        |run, notice| show(&mut progress, run, notice),
    )?;
    progress.close();
    Ok(outcome)
}

/// Waits for the trials of other workers, whose results decide which trials are promoted. Returns whether to continue:
/// only as many tasks of the array wait as the next stage may need.
fn wait(next: usize, interrupt: &Interrupt) -> bool {
    if task().is_some_and(|task| task >= next) {
        return false;
    }
    let began = Instant::now();
    while began.elapsed() < POLL && interrupt.requests() == 0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    interrupt.requests() == 0
}

fn describe(outcome: &GridOutcome) -> String {
    let GridOutcome { done, executed, failed, missing, elsewhere, .. } = outcome;
    let failed = failed.len();
    format!(
        "{executed} done here, {done} in all, {failed} failed, {missing} missing ({elsewhere} claimed elsewhere)"
    )
}

/// The index of this task in the array.
fn task() -> Option<usize> {
    std::env::var("SLURM_ARRAY_TASK_ID").ok()?.parse().ok()
}

fn threads(array: &Array) -> usize {
    (array.resources.cpus / array.resources.runs_at_once.max(1)).max(1) as usize
}

/// Rejects a node whose numerics class differs from that of existing results, or of a process that is training.
fn check_numerics(store: &RunStore, runs: &[PlannedRun], class: &str) -> anyhow::Result<()> {
    for (_, owner) in lrlab_grid::running(store, runs.iter().map(|run| &run.run_id))? {
        if let Some(other) = owner.numerics.as_ref().filter(|other| *other != class) {
            anyhow::bail!(
                "{owner} is training this grid with the numerics class {other:?}, this node has {class:?}: {ONE_KIND}"
            );
        }
    }
    let all = origins(store, runs)?;
    if let Some(other) = all.0.keys().find(|origin| origin.numerics != class) {
        anyhow::bail!(
            "results of this grid have the numerics class {:?}, this node has {class:?}: {ONE_KIND}",
            other.numerics
        );
    }
    Ok(())
}

/// Rejects a node whose numerics class differs from that of the first task of the submission, which may not have a result yet.
fn agree_on_numerics(submission: &Path, class: &str) -> anyhow::Result<()> {
    let path = submission.join("numerics");
    if !write_exclusive(&path, class.as_bytes())? {
        let first = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        anyhow::ensure!(
            first == class,
            "the first task of this grid has the numerics class {first:?}, this node has {class:?}: {ONE_KIND}"
        );
    }
    Ok(())
}

/// Why nodes of several kinds are rejected, and what to do.
const ONE_KIND: &str = "their results would not be comparable bit for bit. Request nodes of one kind \
                        (`extra = [\"--constraint=…\"]` in the profile)";

/// Requeues this job, and retries while the Slurm controller does not respond.
fn requeue(job: &SlurmJob) -> anyhow::Result<()> {
    eprint_line(&format!("requeueing job {}", job.job));
    let began = Instant::now();
    loop {
        match slurm::requeue(&job.job) {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() > REQUEUE_TIMEOUT => return Err(error.into()),
            Err(error) => eprint_line(&format!("{error}")),
        }
        std::thread::sleep(Duration::from_secs(5));
    }
}
