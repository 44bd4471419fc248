//! `lrlab run`: executes a grid, from the experiment file to the report.

use std::collections::BTreeSet;

use candle_core::Device;
use lrlab_options::RunArgs;
use lrlab_runs::{Plan, Records, RunId, RunStore};

use super::executor::Executor;
use super::grid::{Execution, Grid};
use super::on_record;
use super::origins::{check_origins, check_running, interrupted_by_others, of_others};
use super::plan::show;
use super::preflight::run_preflight;
use super::report;
use super::resolve::read_with_records;
use super::stored::namesake;
use crate::device;
use crate::program::program;
use crate::progress::{counted, eprint_line};
use crate::{Exit, Registry};

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
    // The other runs of the experiment may be on record alone.
    let all_records = if plan.part.is_some() { records.clone() } else { Records::default() };
    on_record::import(&store, &plan, records, |store, records| {
        check_origins(&Grid { store, ..grid }, records, all_records, args)
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
    if !args.accept_numerics {
        // Another process may have started during the preflight.
        check_running(&grid)?;
    }
    match &kept {
        Some(_) => lrlab_grid::record_runs(&store, &plan)?,
        None => lrlab_grid::record(&store, &plan)?,
    }
    if selection.part.is_whole() {
        show_dropped(&plan, &store)?;
        lrlab_grid::set_referenced(&store, &plan)?;
    }
    match executor.execute(&grid, &preflight)? {
        Execution::Ended { summary, exit } => Ok(report::conclude(reported, &store, &summary, exit)),
        Execution::Left(exit) => Ok(exit),
    }
}

/// Says how many finished runs of earlier calls, such as those with `--set`, the experiment no longer refers to.
fn show_dropped(plan: &Plan, store: &RunStore) -> anyhow::Result<()> {
    let dropped = lrlab_grid::other_runs(store, plan)?;
    let finished = dropped.iter().filter(|id| store.is_finished(id)).count();
    if finished > 0 {
        eprint_line(&format!(
            "note: {} of earlier calls of {} {} not among its current ones: `{} gc` lists {them}, and `gc --yes` removes {them}",
            counted(finished, "finished run"),
            plan.experiment,
            if finished == 1 { "is" } else { "are" },
            program(),
            them = if finished == 1 { "it" } else { "them" },
        ));
    }
    Ok(())
}

/// Sets damaged results aside that no record has replaced, so that their runs are redone. Those of runs that are running are
/// left to their process.
fn set_damaged_aside(plan: &Plan, store: &RunStore) -> anyhow::Result<()> {
    for run in &plan.runs {
        let Some(damage) = store.damage(&run.run_id)? else { continue };
        if lrlab_grid::running(store, [&run.run_id])?.is_empty() {
            lrlab_grid::supersede(store, &run.run_id)?;
            eprint_line(&format!("note: {damage}; its files are now in `superseded` in the run's folder"));
        }
    }
    Ok(())
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
