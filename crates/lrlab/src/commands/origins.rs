//! The builds and numerics classes of a grid's runs: which results, checkpoints and running processes this call may be mixed
//! with.

use std::collections::{BTreeMap, BTreeSet};

use lrlab_grid::{Origin, Origins};
use lrlab_options::{RunArgs, Selection};
use lrlab_runs::{Plan, PlannedRun, Records, RunId};

use super::grid::Grid;
use super::resolve::resolve_whole;
use crate::progress::{counted, eprint_line};
use crate::provenance;

/// Results of different builds and numerics classes are never mixed silently: another class is an error while runs are
/// missing, unless it is accepted, another build a note, and `--rerun-others` sets both aside. If the runs train elsewhere,
/// only existing results are compared. A damaged result counts as the one on record, or as missing. The same holds for runs that
/// another process is training, and for interrupted ones.
///
/// `records` are those of the grid's runs, and `all_records` those of all runs of the experiment if the grid is a part of it.
pub(super) fn check_origins(
    grid: &Grid<'_>,
    records: &Records,
    all_records: Records,
    args: &RunArgs,
) -> anyhow::Result<()> {
    let Grid { plan, store, .. } = grid;
    let mut all = lrlab_grid::origins(store, &plan.runs)?;
    if let Some(elsewhere) = of_other_parts(grid, all_records, &args.selection)? {
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
    if !complete && !args.accept_numerics {
        check_running(grid)?;
        if !args.rerun_others {
            check_interrupted(grid)?;
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

/// Rejects a grid if another process is training runs of the experiment in another numerics class, which may not have a result
/// yet.
pub(super) fn check_running(grid: &Grid<'_>) -> anyhow::Result<()> {
    let Grid { plan, store, .. } = grid;
    if !grid.trains_here || grid.missing()?.is_empty() {
        return Ok(());
    }
    let class = provenance::numerics(grid.device);
    // The other process may have selected other runs.
    let others = lrlab_grid::other_runs(store, plan)?;
    for (id, owner) in lrlab_grid::running(store, ids(plan).chain(&others))? {
        if let Some(other) = owner.numerics.as_ref().filter(|other| **other != class) {
            anyhow::bail!(
                "{owner} is training {} with the numerics class {other:?}, and this device has {class:?}: equal bits are not \
                 guaranteed across the two. Use the --device of that process, another --out, or --accept-numerics to keep \
                 both",
                id.short()
            );
        }
    }
    Ok(())
}

/// Rejects a grid with interrupted runs whose checkpoints are of another numerics class.
fn check_interrupted(grid: &Grid<'_>) -> anyhow::Result<()> {
    let found = interrupted_by_others(grid)?;
    if let Some(first) = found.first() {
        anyhow::bail!(
            "{} interrupted in another numerics class than that of this device ({:?}), such as {}: its checkpoint cannot be \
             resumed. Use the --device of the earlier call, another --out, or --accept-numerics or --rerun-others to start \
             over",
            if found.len() == 1 {
                "1 run was".to_owned()
            } else {
                format!("{} were", counted(found.len(), "run"))
            },
            provenance::numerics(grid.device),
            first.short()
        );
    }
    Ok(())
}

/// Returns the results of the experiment's runs that this call does not select, in the store or among `records`, if none of
/// them has the numerics class of this device.
fn of_other_parts(
    grid: &Grid<'_>,
    records: Records,
    selection: &Selection,
) -> anyhow::Result<Option<Origins>> {
    let Grid { plan, store, .. } = grid;
    if plan.part.is_none() || !grid.trains_here {
        return Ok(None);
    }
    let ids: BTreeSet<&RunId> = plan.runs.iter().map(|run| &run.run_id).collect();
    let mut others = resolve_whole(selection, grid.registry, &records)?.runs;
    others.retain(|run| !ids.contains(&run.run_id));
    let origins = lrlab_grid::origins(&(*store).clone().with_records(records), &others)?;
    let class = provenance::numerics(grid.device);
    Ok(Some(origins).filter(|origins| origins.0.keys().all(|origin| origin.numerics != class)))
}

/// Returns the runs with results of other builds and numerics classes, none of which is running.
pub(super) fn of_others(grid: &Grid<'_>) -> anyhow::Result<BTreeSet<RunId>> {
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
    for (id, owner) in lrlab_grid::running(store, ids(plan))? {
        if again.contains(id) {
            anyhow::bail!(
                "{} is running ({owner}), and its earlier result is one that --rerun-others sets aside: stop that process \
                 first",
                id.short()
            );
        }
    }
    Ok(again)
}

/// Returns the interrupted runs that cannot be resumed because their checkpoints are of another numerics class.
pub(super) fn interrupted_by_others(grid: &Grid<'_>) -> anyhow::Result<BTreeSet<RunId>> {
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
        for (id, _) in lrlab_grid::running(store, ids(plan))? {
            found.remove(id);
        }
    }
    Ok(found)
}

fn ids(plan: &Plan) -> impl Iterator<Item = &RunId> {
    plan.runs.iter().map(|run| &run.run_id)
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
