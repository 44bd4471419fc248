//! `lrlab run`: executes a grid, from the experiment file to the report.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Device;
use lrlab_grid::{Origin, Origins, Owner, RunState};
use lrlab_options::{RunArgs, Selection};
use lrlab_runs::{Plan, PlannedRun, Records, RunId, RunStore};

use super::executor::Executor;
use super::grid::{Execution, Grid};
use super::on_record;
use super::plan::show;
use super::preflight::run_preflight;
use super::report;
use super::resolve::{read_with_records, resolve_whole};
use super::stored::namesake;
use crate::device;
use crate::progress::{counted, eprint_line};
use crate::{Exit, Registry, provenance};

/// Read, resolve, preflight, record, execute, report: each step uses the results of the steps before it.
pub(crate) fn run(args: &RunArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let RunArgs { selection, on_record, machine, .. } = args;
    let trains_here = !args.executor.on_cluster();
    anyhow::ensure!(
        trains_here || !args.accept_numerics,
        "--accept-numerics is for runs on this machine: the nodes of a grid have to be of one kind"
    );
    let device = if trains_here { device::open(machine.device)? } else { Device::Cpu };
    let (plan, records) = read_with_records(selection, on_record, registry)?;
    report::check_documents(&plan)?;
    let store = RunStore::new(&selection.out);
    let executor = Executor::chosen(&args.executor, &plan, &store, machine)?;

    if args.dry_run {
        let store = on_record::with_store(store, std::slice::from_ref(&plan), records)?;
        show(&plan, &store, registry, false)?;
        executor.dry_run(&Grid {
            plan: &plan,
            store: &store,
            registry,
            machine,
            device: &device,
            trains_here,
            reported: &plan,
        })?;
        return Ok(Exit::Done);
    }
    if let Some(namesake) =
        namesake(&selection.experiment, &store, &plan.experiment, "its plan and its report")
    {
        eprint_line(&format!("warning: {namesake}"));
    }
    let kept = if args.keep_plan { store.plan(&plan.experiment)? } else { None };
    let reported = kept.as_ref().unwrap_or(&plan);
    let grid = Grid { plan: &plan, store: &store, registry, machine, device: &device, trains_here, reported };
    on_record::import(&store, &plan, records, |store, records| {
        check_origins(&Grid { store, ..grid }, records, args)
    })?;
    set_damaged_aside(&plan, &store)?;
    let again = if args.rerun_others { of_others(&grid)? } else { BTreeSet::new() };
    let preflight = run_preflight(&grid, &again)?;
    if !preflight.show() {
        return Ok(Exit::BadInput);
    }
    if !again.is_empty() {
        // Another process may have set some of them aside, and trained them, during the preflight.
        let again = again.intersection(&of_others(&grid)?).cloned().collect();
        set_aside(&grid, &again, "of other builds or machines")?;
    }
    if args.rerun_others || args.accept_numerics {
        set_aside(&grid, &interrupted_by_others(&grid)?, "interrupted in another numerics class")?;
    }
    match &kept {
        Some(_) => lrlab_grid::record_runs(&store, &plan)?,
        None => lrlab_grid::record(&store, &plan)?,
    }
    if selection.part.is_whole() {
        lrlab_grid::set_referenced(&store, &plan)?;
    }
    match executor.execute(&grid, &preflight)? {
        Execution::Ended { summary, exit } => Ok(report::conclude(reported, &store, &summary, exit)),
        Execution::Left(exit) => Ok(exit),
    }
}

/// Returns the runs that a process is training, with a description of the process. One that has long been silent is probably
/// dead.
fn running<'a>(plan: &'a Plan, store: &RunStore) -> anyhow::Result<Vec<(&'a PlannedRun, Owner)>> {
    let (_, states) = lrlab_grid::status(store, plan)?;
    let heard = plan.runs.iter().zip(states).filter(|(_, state)| !state.is_silent());
    let running = heard.filter_map(|(run, state)| match state {
        RunState::Running { owner, .. } => Some((run, owner)),
        _ => None,
    });
    Ok(running.collect())
}

/// Sets damaged results aside that no record has replaced, so that their runs are redone. Those of runs that are running are
/// left to their process.
fn set_damaged_aside(plan: &Plan, store: &RunStore) -> anyhow::Result<()> {
    let mut damaged = Vec::new();
    for run in &plan.runs {
        damaged.extend(store.damage(&run.run_id)?.map(|damage| (run, damage)));
    }
    if damaged.is_empty() {
        return Ok(());
    }
    let running = running(plan, store)?;
    for (run, damage) in damaged {
        if running.iter().all(|(other, _)| other.run_id != run.run_id) {
            lrlab_grid::supersede(store, &run.run_id)?;
            eprint_line(&format!("note: {damage}; its files are now in `superseded` in the run's folder"));
        }
    }
    Ok(())
}

/// Results of different builds and numerics classes are never mixed silently: another class is an error while runs are
/// missing, unless it is accepted, another build a note, and `--rerun-others` sets both aside. If the runs train elsewhere,
/// only existing results are compared. A damaged result counts as the one on record, or as missing.
fn check_origins(grid: &Grid<'_>, records: &Records, args: &RunArgs) -> anyhow::Result<()> {
    let Grid { plan, store, .. } = grid;
    let mut all = lrlab_grid::origins(store, &plan.runs)?;
    if let Some(elsewhere) = of_other_parts(grid, records, &args.selection)? {
        for (origin, runs) in elsewhere.0 {
            all.0.entry(origin).or_default().extend(runs);
        }
    }
    let missing: BTreeSet<&RunId> = grid.missing()?.into_iter().map(|run| &run.run_id).collect();
    let mut complete = true;
    for id in plan.runs.iter().map(|run| &run.run_id) {
        match (store.damage(id)?, records.get(id)) {
            (None, _) => complete &= !missing.contains(id),
            (Some(_), None) => complete = false,
            (Some(_), Some(record)) if store.result(id).is_err() => {
                all.0.entry(Origin::from(&record.result.provenance)).or_default().push(id.clone());
            }
            // Only the state at the last pause is damaged.
            (Some(_), Some(_)) => {}
        }
    }
    let Some((class, classes, builds)) = others(grid, &all).filter(|_| !args.rerun_others) else {
        return Ok(());
    };
    let numerics = classes.0.iter().map(|(origin, runs)| (origin.numerics.as_str(), runs.len()));
    let of = if grid.trains_here { "this device has" } else { "most others have" };
    let others = provenance::other_numerics(numerics, all.len(), of, &class);
    if let (Some(others), false, false) = (others.first(), complete, grid.trains_here) {
        anyhow::bail!("{others}. Use another --out, or --rerun-others to repeat them");
    }
    if let (Some(others), false) = (others.first(), complete || args.accept_numerics) {
        anyhow::bail!(
            "{others}. Use the --device of the earlier runs, another --out, --rerun-others to repeat them here, or \
             --accept-numerics to keep both"
        );
    }
    for others in others {
        eprint_line(&format!("note: {others}; the report mentions it (--rerun-others repeats them here)"));
    }
    for line in describe_builds(&builds) {
        eprint_line(&format!(
            "note: {line}; the report mentions it (--rerun-others redoes them with this build)"
        ));
    }
    Ok(())
}

/// Returns the results of the experiment's runs that this call does not select, if none of them has the numerics class of this
/// device.
fn of_other_parts(
    grid: &Grid<'_>,
    records: &Records,
    selection: &Selection,
) -> anyhow::Result<Option<Origins>> {
    let Grid { plan, store, .. } = grid;
    if plan.part.is_none() || !grid.trains_here {
        return Ok(None);
    }
    let ids: BTreeSet<&RunId> = plan.runs.iter().map(|run| &run.run_id).collect();
    let mut others = resolve_whole(selection, grid.registry, records)?.runs;
    others.retain(|run| !ids.contains(&run.run_id));
    let origins = lrlab_grid::origins(store, &others)?;
    let class = provenance::numerics(grid.device);
    Ok(Some(origins).filter(|origins| origins.0.keys().all(|origin| origin.numerics != class)))
}

/// Returns the runs with results of other builds and numerics classes, none of which is running.
fn of_others(grid: &Grid<'_>) -> anyhow::Result<BTreeSet<RunId>> {
    let Grid { plan, store, .. } = grid;
    let Some((_, classes, builds)) = others(grid, &lrlab_grid::origins(store, &plan.runs)?) else {
        return Ok(BTreeSet::new());
    };
    let again: BTreeSet<RunId> = classes.0.into_values().chain(builds.0.into_values()).flatten().collect();
    if !grid.trains_here && !again.is_empty() {
        let jobs = lrlab_grid::slurm::submission_status(store, &plan.experiment)?.queued;
        if !jobs.is_empty() {
            let ids: BTreeSet<&str> = jobs.iter().map(lrlab_grid::slurm::Queued::base).collect();
            anyhow::bail!(
                "jobs of an earlier call are queued and would repeat these runs with its program: cancel them first, with \
                 `scancel {}`",
                ids.into_iter().collect::<Vec<_>>().join(" ")
            );
        }
    }
    for (run, owner) in running(plan, store)? {
        if again.contains(&run.run_id) {
            anyhow::bail!(
                "{} is running ({owner}), and its earlier result is one that --rerun-others sets aside: stop that process \
                 first",
                run.run_id.short()
            );
        }
    }
    Ok(again)
}

/// Returns the interrupted runs that cannot be resumed because their checkpoints are of another numerics class.
fn interrupted_by_others(grid: &Grid<'_>) -> anyhow::Result<BTreeSet<RunId>> {
    let Grid { plan, store, .. } = grid;
    let build = provenance::own_build().unwrap_or_default();
    let class = provenance::numerics(grid.device);
    // A checkpoint of another build is skipped.
    let is_other = |run: &&PlannedRun| {
        let saved = lrlab_runs::saved_numerics(&store.run_dir(&run.run_id), &build);
        saved.is_some_and(|saved| saved != class)
    };
    if !grid.trains_here {
        return Ok(BTreeSet::new());
    }
    let mut found: BTreeSet<RunId> =
        grid.missing()?.into_iter().filter(is_other).map(|run| run.run_id.clone()).collect();
    if !found.is_empty() {
        for (run, _) in running(plan, store)? {
            found.remove(&run.run_id);
        }
    }
    Ok(found)
}

/// Moves the files of runs to `superseded`, so that they start over. `which` describes the runs.
fn set_aside(grid: &Grid<'_>, again: &BTreeSet<RunId>, which: &str) -> anyhow::Result<()> {
    let Grid { plan, store, .. } = grid;
    again.iter().try_for_each(|id| lrlab_grid::supersede(store, id))?;
    if !again.is_empty() {
        eprint_line(&format!(
            "{}: {} {which} moved to `superseded` in the runs' folders",
            plan.experiment,
            counted(again.len(), "run")
        ));
    }
    Ok(())
}

/// The numerics class of this grid, and the runs of other classes and of other builds.
fn others(grid: &Grid<'_>, all: &Origins) -> Option<(String, Origins, Origins)> {
    let build = provenance::own_build().unwrap_or_default();
    let here = grid.trains_here.then(|| provenance::numerics(grid.device));
    let class = here.or_else(|| most_frequent(all))?;
    let (classes, builds) = all.others(&build, &class);
    Some((class, classes, builds))
}

/// Returns the numerics class of most results.
fn most_frequent(all: &Origins) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (origin, runs) in &all.0 {
        *counts.entry(&origin.numerics).or_default() += runs.len();
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(class, _)| class.to_owned())
}

fn describe_builds(builds: &Origins) -> Vec<String> {
    let line = |(origin, runs): (&Origin, &Vec<_>)| {
        format!("{} results come from another build: {}", runs.len(), origin.describe_build())
    };
    builds.0.iter().map(line).collect()
}
