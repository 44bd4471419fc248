//! `lrlab gc`: lists and removes files that no experiment refers to any more.

use std::collections::BTreeMap;

use anyhow::bail;
use lrlab_grid::{Garbage, GarbageKind, States};
use lrlab_options::{GcArgs, Selection};
use lrlab_runs::{Plan, PlannedRun, RunStore};

use super::launch::planned;
use super::print_line;
use super::resolve::{read_experiment, resolve_stored};
use super::stored::{changes, stored_plan};
use crate::program::program;
use crate::progress::{counted, eprint_line};
use crate::{Exit, Registry};

/// The runs that a given experiment keeps.
#[derive(Debug, serde::Serialize)]
struct Kept {
    experiment: String,
    /// Selected runs, which are kept.
    runs: usize,
    /// Runs that it referred to before and no longer refers to.
    others: usize,
}

pub(crate) fn gc(args: &GcArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let store = RunStore::new(&args.out);
    let plan = match &args.experiment {
        Some(experiment) => {
            let (experiment, out, part) = (experiment.clone(), args.out.clone(), args.part.clone());
            let selection = Selection { experiment, out, part };
            if let Ok(Some(planned)) = stored_plan(&selection.experiment, &store)
                && let Some(changes) = changes(&selection.experiment, &planned, registry)
            {
                eprint_line(&format!("warning: {changes}"));
            }
            let plan = resolve_stored(&read_experiment(&selection, registry)?, &selection, registry)?;
            check_data(&store, &plan)?;
            Some(plan)
        }
        None if args.part.is_whole() => None,
        None => bail!("--set, --filter, --seeds and --run require an experiment file"),
    };
    if !store.runs_dir().is_dir() {
        let (out, program) = (args.out.display(), program());
        let what = match args.out.exists() {
            true if args.out.is_dir() => "not a store, it has no folder `store`",
            true => "not a folder",
            false => "no such folder",
        };
        bail!("{out}: {what}: expected a store, which `{program} run` creates; --out names another one");
    }
    let other_runs = match &plan {
        Some(plan) => lrlab_grid::other_runs(&store, plan)?,
        None => Vec::new(),
    };
    let kept = plan.as_ref().map(|plan| Kept {
        experiment: plan.experiment.clone(),
        runs: plan.runs.len(),
        others: other_runs.len(),
    });
    let states = States { read: &|run| registry.spec(run).ok(), all: args.states };
    let garbage = lrlab_grid::garbage(&store, plan.as_ref(), states)?;
    let bytes: u64 = garbage.iter().map(|item| item.bytes).sum();
    let removed = if args.yes {
        if let Some(plan) = plan.filter(|plan| store.plan(&plan.experiment).is_ok_and(|old| old.is_some())) {
            store.write_plan(&plan)?;
            lrlab_grid::set_referenced(&store, &plan)?;
        }
        lrlab_grid::collect(&store, &garbage, states)?
    } else {
        0
    };
    if args.json {
        let all = serde_json::json!({ "garbage": garbage, "bytes": bytes, "removed": removed, "kept": kept });
        print_line(&serde_json::to_string_pretty(&all)?);
        return Ok(Exit::Done);
    }
    if let Some(Kept { experiment, runs, .. }) = kept {
        let is_other = |item: &&Garbage| {
            let id = item.path.file_name().and_then(|name| name.to_str());
            other_runs.iter().any(|other| Some(other.as_str()) == id)
        };
        let (others, unreferenced): (Vec<_>, Vec<_>) =
            garbage.iter().filter(|item| item.kind == GarbageKind::Run).partition(is_other);
        let (runs, others) = (counted(runs, "selected run"), counted(others.len(), "other run"));
        let unreferenced = counted(unreferenced.len(), "run");
        print_line(&format!(
            "{experiment} keeps {runs}; {others} of this experiment and {unreferenced} that belong to no experiment can be removed"
        ));
    }
    for item in &garbage {
        print_line(&line(item));
    }
    let size = size(bytes);
    print_line(&match (garbage.len(), args.yes) {
        (0, _) => {
            "nothing to remove: everything in this store belongs to an experiment or is in use".to_owned()
        }
        (n, true) => format!("{removed} of {n} removed ({size})"),
        (n, false) => format!("{}, {size}; --yes removes them", counted(n, "item")),
    });
    Ok(Exit::Done)
}

/// Rejects data on this machine other than those of the stored plan: every run on those would count as one that the experiment
/// no longer refers to.
fn check_data(store: &RunStore, plan: &Plan) -> anyhow::Result<()> {
    let data = |run: &PlannedRun| (run.spec["data"].to_string(), run.dataset_digest.clone());
    let ours: BTreeMap<String, String> = plan.runs.iter().map(data).collect();
    // Runs of earlier calls on the data of the last plan are those of earlier data.
    let last = store.plan(&plan.experiment).ok().flatten();
    let last: BTreeMap<String, String> = last.iter().flat_map(|last| &last.runs).map(data).collect();
    let earlier = lrlab_grid::other_runs(store, plan)?.into_iter();
    let earlier = earlier.filter_map(|id| planned(store, &store.run_dir(&id)).ok()).map(|run| data(&run));
    for (source, theirs) in earlier {
        let is_current = last.get(&source).is_none_or(|last| *last == theirs);
        if let Some(ours) = ours.get(&source).filter(|ours| **ours != theirs && is_current) {
            bail!(
                "the data on this machine have the digest {ours}, but {theirs} in the plans of {:?}, whose runs would be \
                 removed; call gc where those data are, or `{} run` first if the experiment now uses these",
                plan.experiment,
                program()
            );
        }
    }
    Ok(())
}

fn line(item: &Garbage) -> String {
    let what = match (item.kind, item.done) {
        (GarbageKind::Run, true) => "run with a result",
        (GarbageKind::Run, false) => "run without a result",
        (GarbageKind::Binary, _) => "frozen runner",
        (GarbageKind::Leftover, _) => "left by an earlier gc",
        (GarbageKind::Temporary, _) => "temporary",
        (GarbageKind::State, _) => "kept state",
    };
    format!("{:>10}  {what:<20}  {}", size(item.bytes), item.path.display())
}

fn size(bytes: u64) -> String {
    match bytes as f64 {
        b if b < 1e3 => format!("{b} B"),
        b if b < 1e6 => format!("{:.1} kB", b / 1e3),
        b if b < 1e9 => format!("{:.1} MB", b / 1e6),
        b => format!("{:.1} GB", b / 1e9),
    }
}
