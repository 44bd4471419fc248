//! `lrlab run`: a whole grid, from the experiment file to its report.

use std::fmt::Write as _;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use candle_core::Device;
use clap::Args;
use lrlab_grid::{
    Assignment, Ending, Finish, Interrupt, LocalExecutor, Machine as Host, Notice, OnFailure, WorkerCommand,
};
use lrlab_runs::{Event, Plan, RunStore};

use super::plan::{read_experiment, resolve, show};
use super::{report, say_line};
use crate::cli::{Machine, Selection};
use crate::progress::{Progress, tell};
use crate::{Exit, Registry, device};

/// What one run may need; small networks on small data stay well below.
const MEMORY_PER_RUN: u64 = 3 << 30;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    machine: Machine,
    /// Runs at once; by default chosen from cores, memory and devices.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Where runs go.
    #[arg(long, value_enum, default_value = "local")]
    executor: Executor,
    /// Plan and estimate, start nothing.
    #[arg(long)]
    dry_run: bool,
    /// The other runs go on when one fails (the default).
    #[arg(long, conflicts_with = "fail_fast")]
    keep_going: bool,
    /// Stop the other runs when one fails.
    #[arg(long)]
    fail_fast: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Executor {
    /// Processes on this machine.
    Local,
}

pub(crate) fn run(args: &RunArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let Executor::Local = args.executor;
    let Some(experiment) = read_experiment(&args.selection, registry)? else { return Ok(Exit::BadInput) };
    let device = args.machine.device.open()?;
    let Some(plan) = resolve(&experiment, &args.selection, registry)? else { return Ok(Exit::BadInput) };
    let store = RunStore::new(&args.selection.out);
    let jobs = jobs(args, &plan);
    if args.dry_run {
        show(&plan, &store)?;
        estimate(&plan, &store, jobs);
        return Ok(Exit::Done);
    }
    refuse_other_numerics(&plan, &store, &device)?;
    lrlab_grid::record(&store, &plan)?;
    let device = device::name(&device);
    let finish = execute(args, &plan, &store, jobs, &device)?;
    let reported = report::write(&plan, &store, None);
    say_line(&summary(&plan, &finish));
    if let Err(error) = &reported {
        tell(&format!("error: the report could not be written: {error:#}"));
    }
    Ok(match finish {
        Finish { interrupted: true, .. } => Exit::Interrupted,
        Finish { .. } if reported.is_err() => Exit::SomeFailed,
        Finish { failed, missing, .. } if !failed.is_empty() || missing > 0 => Exit::SomeFailed,
        Finish { .. } => Exit::Done,
    })
}

/// Bits are comparable only within one class of numerics: results of another are never mixed in silently.
fn refuse_other_numerics(plan: &Plan, store: &RunStore, device: &Device) -> anyhow::Result<()> {
    let class = crate::provenance::numerics(device);
    if plan.runs.iter().all(|run| store.is_done(&run.run_id)) {
        return Ok(());
    }
    for run in &plan.runs {
        if let Some(result) = store.result(&run.run_id)?
            && result.provenance.numerics != class
        {
            anyhow::bail!(
                "{} of this grid was run in the numerics class {:?}, this machine's is {class:?}: \
                 take another --out, or the --device it was begun on",
                run.run_id.short(),
                result.provenance.numerics
            );
        }
    }
    Ok(())
}

/// The binary that runs now, also where another was built in its place since: a grid is run by one build.
fn this_program() -> std::io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok(format!("/proc/{}/exe", std::process::id()).into());
    }
    std::env::current_exe()
}

/// A GPU takes one run at a time unless told otherwise.
fn jobs(args: &RunArgs, plan: &Plan) -> usize {
    match (args.jobs, args.machine.device.open()) {
        (Some(jobs), _) => usize::from(jobs),
        (None, Ok(device)) if !device.is_cpu() => 1,
        (None, _) => Host::detect().jobs(plan.runs.len(), MEMORY_PER_RUN),
    }
}

fn estimate(plan: &Plan, store: &RunStore, jobs: usize) {
    let missing: Vec<_> = plan.runs.iter().filter(|run| !store.is_done(&run.run_id)).collect();
    let costs = lrlab_grid::Costs::measured(store, &plan.runs);
    let estimate = costs.estimate(missing.iter().copied(), jobs);
    say_line(&match estimate.wall_s {
        Some(seconds) => format!("{} runs to do, about {seconds:.0} s with {jobs} at once", estimate.runs),
        None => format!("{} runs to do, {jobs} at once; no run of this kind was measured yet", estimate.runs),
    });
}

fn execute(
    args: &RunArgs,
    plan: &Plan,
    store: &RunStore,
    jobs: usize,
    device: &str,
) -> anyhow::Result<Finish> {
    let on_failure = if args.fail_fast { OnFailure::FailFast } else { OnFailure::KeepGoing };
    let executor = LocalExecutor {
        jobs,
        threads: args.machine.threads.map(NonZeroUsize::get),
        on_failure,
        ..LocalExecutor::default()
    };
    let done = plan.runs.iter().filter(|run| store.is_done(&run.run_id)).count();
    tell(&format!(
        "{}: {} runs, {done} of {} done, {jobs} at once on {device}",
        plan.experiment,
        plan.runs.len(),
        plan.runs.len()
    ));

    let program = this_program()?;
    let out = std::path::absolute(store.root())?;
    let command = |assignment: &Assignment<'_>| {
        let Assignment { run, folder, threads, .. } = assignment;
        let words = ["worker", "--watch-stdin", "--run", run.run_id.as_str()].map(Into::into);
        let mut args_ = Vec::from(words);
        args_.extend(["--out".into(), out.clone().into_os_string()]);
        args_.extend(["--attempt".into(), folder.as_os_str().to_owned()]);
        args_.extend(["--device", device, "--keep", args.machine.keep.word()].map(Into::into));
        args_.extend(["--threads".into(), threads.to_string().into()]);
        args_.extend(["--checkpoint-every".into(), args.machine.checkpoint_every.to_string().into()]);
        WorkerCommand { program: program.clone(), args: args_, env: Vec::new() }
    };
    let interrupt = Interrupt::on_signals()?;
    let mut progress = Progress::new(&plan.runs, done);
    let finish = executor.run(store, &plan.runs, &interrupt, command, |run, notice| match notice {
        Notice::Said(Event::Note { message }) => progress.note(&run.run_id, message),
        Notice::Said(event) => progress.event(&run.run_id, event),
        Notice::Ended { ending: Ending::Done, seconds, .. } => progress.done(&run.run_id, seconds),
        Notice::Ended { ending: Ending::Failed(failure), again, .. } => {
            let again = if again { " (it will be tried again)" } else { "" };
            progress.failed(&run.run_id, &format!("{}{again}", failure.message));
        }
        Notice::EndedElsewhere(None) => progress.done(&run.run_id, 0.0),
        Notice::EndedElsewhere(Some(failure)) => progress.failed(&run.run_id, &failure.message),
        Notice::Began { .. }
        | Notice::Elsewhere(_)
        | Notice::Ended { ending: Ending::Interrupted | Ending::Paused, .. } => {}
    })?;
    progress.close();
    Ok(finish)
}

fn summary(plan: &Plan, finish: &Finish) -> String {
    let Finish { done, executed, failed, missing, interrupted, .. } = finish;
    let total = plan.runs.len();
    let mut text = format!("{}: {done} of {total} runs are done ({executed} in this call)", plan.experiment);
    if !failed.is_empty() {
        let _ = write!(text, ", {} failed", failed.len());
    }
    if *missing > 0 {
        let _ = write!(text, ", {missing} are missing");
    }
    if *interrupted {
        text.push_str("; interrupted: the same command goes on where it was");
    }
    for (index, failure) in failed {
        let run = &plan.runs[*index];
        let _ = write!(
            text,
            "\n  {} {}: {}",
            run.run_id.short(),
            crate::progress::label(&run.cell),
            failure.message
        );
    }
    text
}
