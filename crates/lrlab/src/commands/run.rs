//! `lrlab run`: a whole grid, from the experiment file to its report.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use candle_core::Device;
use clap::Args;
use lrlab_grid::{
    Assignment, Finish, Interrupt, LocalExecutor, Machine as Host, Notice, OnFailure, Origins, SearchState,
    Share,
};
use lrlab_runs::{Plan, PlannedRun, RunStore};

use super::launch::Launch;
use super::plan::{read_experiment, resolve, show};
use super::preflight::{Flown, Preflight};
use super::{cluster, launch, report, say_line, search};
use crate::options::{Keep, Machine, Selection};
use crate::progress::{Progress, clock, complain, tell};
use crate::{DeviceChoice, Exit, Registry, device, provenance};

/// What one run may need where it was not measured; small networks on small data stay well below.
pub(crate) const MEMORY_PER_RUN: u64 = 3 << 30;

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
    /// What the cluster calls its partitions and what runs need there (TOML); needed for Slurm.
    #[arg(long, value_name = "FILE", required_if_eq("executor", "slurm"))]
    slurm_profile: Option<PathBuf>,
    /// With Slurm: stay until the grid is done.
    #[arg(long)]
    wait: bool,
    /// Print what would do the runs instead of doing them: a command per run, or the scripts for Slurm.
    #[arg(long, value_enum, conflicts_with_all = ["wait", "dry_run"])]
    emit: Option<Emit>,
    /// Plan and estimate, start nothing.
    #[arg(long)]
    dry_run: bool,
    /// Results of another build or another class of numerics are put aside, and their runs are done again.
    #[arg(long)]
    rerun_others: bool,
    #[command(flatten)]
    failing: Failing,
}

/// What a failed run does to the rest.
#[derive(Debug, Args)]
struct Failing {
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
    /// Job arrays.
    Slurm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Emit {
    /// One command per line, for GNU parallel and the like; each may be started anywhere and any number of times.
    Commands,
    /// The scripts for `sbatch`.
    Slurm,
}

pub(crate) fn run(args: &RunArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let Some(experiment) = read_experiment(&args.selection, registry)? else { return Ok(Exit::BadInput) };
    let on_slurm = args.executor == Executor::Slurm || args.emit == Some(Emit::Slurm);
    // On Slurm it is the node that must have the device.
    let device = if on_slurm { Device::Cpu } else { args.machine.device.open()? };
    let Some(plan) = resolve(&experiment, &args.selection, registry)? else { return Ok(Exit::BadInput) };
    let store = RunStore::new(&args.selection.out);
    let settings = match &args.slurm_profile {
        Some(path) if on_slurm => {
            let Some(profile) = cluster::read_profile(path, &plan)? else { return Ok(Exit::BadInput) };
            let Machine { device, keep, threads, checkpoint_every } = &args.machine;
            let threads = threads.map(NonZeroUsize::get);
            let device = device.to_string();
            Some(cluster::settings(
                &store,
                profile,
                device,
                keep.word(),
                checkpoint_every.to_string(),
                threads,
                args.failing.fail_fast,
            )?)
        }
        None if on_slurm => anyhow::bail!("--emit slurm needs --slurm-profile FILE"),
        Some(_) => anyhow::bail!("--slurm-profile is for --executor slurm or --emit slurm"),
        None => None,
    };
    if args.dry_run {
        show(&plan, &store)?;
        estimate(&plan, &store, jobs(args, &plan, &device, &[], None), None);
        if let Some(settings) = &settings {
            cluster::show_scripts(&store, &plan, settings)?;
        }
        return Ok(Exit::Done);
    }
    set_damaged_aside(&plan, &store)?;
    mind_other_origins(args, &plan, &store, (!on_slurm).then_some(&device))?;
    let Some(flown) = preflight(args, &plan, &store, &device, on_slurm)? else { return Ok(Exit::BadInput) };
    lrlab_grid::record(&store, &plan)?;
    if args.selection.part.is_whole() {
        lrlab_grid::name_only(&store, &plan)?;
    }
    match (args.emit, settings) {
        (Some(Emit::Commands), _) => emit_commands(args, &plan, &store),
        (Some(Emit::Slurm), Some(settings)) => cluster::emit_scripts(&store, &plan, &settings),
        (_, Some(settings)) => cluster::run(&store, &plan, &settings, args.wait),
        (_, None) => here(args, &plan, &store, &device, &flown),
    }
}

/// Runs the grid on this machine.
fn here(
    args: &RunArgs,
    plan: &Plan,
    store: &RunStore,
    device: &Device,
    flown: &Flown,
) -> anyhow::Result<Exit> {
    let launch = Launch::new(
        store,
        args.machine.device,
        device,
        args.machine.keep.word(),
        &args.machine.checkpoint_every.to_string(),
    )?;
    let jobs = jobs(args, plan, device, &launch.gpus, Some(flown));
    let finish = match execute(args, plan, store, jobs, &launch, flown) {
        Ok(finish) => finish,
        // What was begun is on record, and the same command goes on.
        Err(error) => {
            complain(&error);
            tell("the grid was stopped by this; runs that are done stay done, and the same command goes on");
            return Ok(Exit::SomeFailed);
        }
    };
    let reported = report::write(plan, store, None);
    say_line(&summary(plan, &finish));
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

/// Runs whose results are damaged are done again.
fn set_damaged_aside(plan: &Plan, store: &RunStore) -> anyhow::Result<()> {
    for run in &plan.runs {
        if let Some(damage) = store.damage(&run.run_id)? {
            lrlab_grid::put_aside(store, &run.run_id)?;
            tell(&format!("note: {damage}; what there was is in `superseded` in the run's folder"));
        }
    }
    Ok(())
}

/// Results of other builds and classes of numerics are never mixed in silently: another class is refused, another
/// build is told, and both can be put aside. Without a device, only what is there is compared.
fn mind_other_origins(
    args: &RunArgs,
    plan: &Plan,
    store: &RunStore,
    device: Option<&Device>,
) -> anyhow::Result<()> {
    let all = lrlab_grid::origins(store, &plan.runs)?;
    let build = provenance::own_build().unwrap_or_default();
    let class = device.map(provenance::numerics).or_else(|| Some(all.0.keys().next()?.numerics.clone()));
    let Some(class) = class else { return Ok(()) };
    let (classes, builds) = all.others(&build, &class);
    if args.rerun_others {
        let again: Vec<_> = classes.0.values().chain(builds.0.values()).flatten().collect();
        again.iter().try_for_each(|id| lrlab_grid::put_aside(store, id))?;
        if !again.is_empty() {
            tell(&format!(
                "{}: {} results of other builds or machines were put aside (in `superseded` in the runs' folders)",
                plan.experiment,
                again.len()
            ));
        }
        return Ok(());
    }
    let complete = plan.runs.iter().all(|run| store.is_done(&run.run_id));
    if let (Some((other, runs)), false) = (classes.0.iter().next(), complete) {
        anyhow::bail!(
            "{} of this grid was run in the numerics class {:?}, this machine's is {class:?}: results would not \
             compare to the bit. Take another --out, the --device it was begun on, or --rerun-others",
            runs[0].short(),
            other.numerics
        );
    }
    for line in told_builds(&builds) {
        tell(&format!("note: {line}; the report says so (--rerun-others does them again with this build)"));
    }
    Ok(())
}

fn told_builds(builds: &Origins) -> Vec<String> {
    let line = |(origin, runs): (&lrlab_grid::Origin, &Vec<_>)| {
        format!("{} results were made by another build: {}", runs.len(), origin.build_words())
    };
    builds.0.iter().map(line).collect()
}

/// `None`: something is wrong, and it was told.
fn preflight(
    args: &RunArgs,
    plan: &Plan,
    store: &RunStore,
    device: &Device,
    on_slurm: bool,
) -> anyhow::Result<Option<Flown>> {
    let preflight = Preflight {
        store,
        device: &device::name(device),
        small: on_slurm,
        threads: args.machine.threads.map(NonZeroUsize::get),
        kept: match args.machine.keep {
            Keep::None => 0,
            Keep::Best => 1,
            Keep::All => 2,
        },
    };
    match preflight.fly(plan)? {
        Ok(flown) => {
            flown.notes().into_iter().for_each(|note| tell(&format!("warning: {note}")));
            Ok(Some(flown))
        }
        Err(wrong) => {
            for words in wrong {
                tell(&format!("error: preflight: {words}"));
            }
            tell("nothing was started");
            Ok(None)
        }
    }
}

/// A command for each run that is not done; of a search, for each that is due.
fn emit_commands(args: &RunArgs, plan: &Plan, store: &RunStore) -> anyhow::Result<Exit> {
    let program = cluster::freeze_this(store)?;
    let out = std::path::absolute(store.root())?;
    let Machine { device, keep, threads, checkpoint_every } = &args.machine;
    let emit = |run: &PlannedRun, until: Option<u64>| {
        let mut words = vec![program.display().to_string(), "grid-run".to_owned()];
        words.extend([
            "--run".to_owned(),
            run.run_id.to_string(),
            "--out".to_owned(),
            out.display().to_string(),
        ]);
        words.extend(until.map(|epochs| format!("--until-epoch={epochs}")));
        words.extend([format!("--device={device}"), format!("--keep={}", keep.word())]);
        words.push(format!("--checkpoint-every={checkpoint_every}"));
        words.extend(threads.map(|threads| format!("--threads={threads}")));
        // No path holds the NUL that cannot be quoted.
        say_line(&shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default());
    };
    let Some(search) = SearchState::read(store, plan)? else {
        let missing = plan.runs.iter().filter(|run| !store.is_finished(&run.run_id));
        missing.for_each(|run| emit(run, None));
        return Ok(Exit::Done);
    };
    search.prune(store, plan, keep.checkpoints())?;
    let due = search.due();
    for due in &due {
        let run = &plan.runs[due.run];
        emit(run, search::until(run, due.until));
    }
    tell(&if due.is_empty() {
        format!("{}: the search is over; `lrlab report` shows it", plan.experiment)
    } else {
        format!(
            "{}: {}, and only these: which trials go on is decided by all of them. Once they are done, the same \
             command prints what follows, and nothing when the search is over",
            plan.experiment,
            search::until_words(&due)
        )
    });
    Ok(Exit::Done)
}

/// Runs at once. GPUs take as many as their memory holds of those that need least, and the executor sees to it that those
/// that need more get it; the rest is a matter of cores and memory.
fn jobs(
    args: &RunArgs,
    plan: &Plan,
    device: &Device,
    gpus: &[lrlab_grid::Gpu],
    flown: Option<&Flown>,
) -> usize {
    if let Some(jobs) = args.jobs {
        return usize::from(jobs);
    }
    let host = Host::detect();
    let memory = flown.and_then(Flown::memory_per_run).unwrap_or(MEMORY_PER_RUN);
    let fit = host.jobs(plan.runs.len(), memory);
    if device.is_cpu() {
        return fit;
    }
    let on_devices = match args.machine.device {
        DeviceChoice::Metal => 1,
        _ => lrlab_grid::at_once(gpus, flown.and_then(Flown::least_device_mib)),
    };
    on_devices.min(fit)
}

fn estimate(plan: &Plan, store: &RunStore, jobs: usize, flown: Option<&Flown>) {
    let missing: Vec<_> = plan.runs.iter().filter(|run| !store.is_finished(&run.run_id)).collect();
    if missing.is_empty() {
        return;
    }
    let mut costs = lrlab_grid::Costs::measured(store, &plan.runs);
    let measured = costs.estimate(missing.iter().copied(), jobs).unknown < missing.len();
    for run in &missing {
        if let Some(seen) = flown.and_then(|flown| flown.of(run)) {
            costs.assume(run, seen.update_s * seen.updates_per_epoch as f64);
        }
    }
    let estimate = costs.estimate(missing.iter().copied(), jobs);
    let basis = if measured { "" } else { ", judged by the first updates" };
    tell(&match estimate.wall_s.zip(estimate.seconds) {
        Some((wall, all)) => format!(
            "{} runs to do, about {} with {jobs} at once ({} of work{basis})",
            estimate.runs,
            clock(wall),
            clock(all)
        ),
        None => format!("{} runs to do, {jobs} at once; no run of this kind was measured yet", estimate.runs),
    });
}

fn execute(
    args: &RunArgs,
    plan: &Plan,
    store: &RunStore,
    jobs: usize,
    launch: &Launch,
    flown: &Flown,
) -> anyhow::Result<Finish> {
    let executor = LocalExecutor {
        jobs,
        threads: args.machine.threads.map(NonZeroUsize::get),
        devices: launch.devices(),
        on_failure: if args.failing.fail_fast { OnFailure::FailFast } else { OnFailure::KeepGoing },
        ..LocalExecutor::default()
    };
    let runs = search::asked_for(plan, store)?;
    let done = runs.iter().filter(|run| store.is_finished(&run.run_id)).count();
    let total = runs.len();
    let device = launch.device_words();
    tell(&format!("{}: {total} runs, {done} of {total} done, {jobs} at once on {device}", plan.experiment));
    if plan.search.is_none() {
        estimate(plan, store, jobs, Some(flown));
    }
    let interrupt = Interrupt::on_signals()?;
    let mut progress = Progress::new(&runs, done);
    let mut observe = |run: &PlannedRun, notice: Notice<'_>| launch::show(&mut progress, run, notice);
    let keep = args.machine.keep.checkpoints();
    let stages = search::Stages { plan, store, keep, ours: &|_| true, wait: &|_| false };
    let finish = stages.run(|runs, until| {
        // Who says how many has the last word on it.
        let memory = if args.jobs.is_none() { flown.memory(&launch.gpus, runs) } else { None };
        let share = Share { memory, ..search::share(store, runs, until)? };
        let command = |assignment: &Assignment<'_>| launch.command(assignment);
        Ok(executor.run_share(store, share, &interrupt, command, &mut observe)?)
    });
    progress.close();
    finish
}

fn summary(plan: &Plan, finish: &Finish) -> String {
    let Finish { done, executed, failed, missing, interrupted, alike, .. } = finish;
    let total = done + failed.len() + missing;
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
    if let Some(reason) = alike {
        let n = failed.len();
        let _ = write!(
            text,
            "; stopped, because the first {n} runs failed for one reason, and the rest would too: {reason}"
        );
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
