//! `lrlab plan`: from an experiment file to its runs, and what is done of them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use clap::Args;
use lrlab_grid::{RunState, SearchState};
use lrlab_runs::{Plan, RunStore};
use lrlab_spec::Experiment;

use super::say_line;
use super::worker::cache_dir;
use crate::cli::Selection;
use crate::progress::{label, tell};
use crate::{Exit, Registry};

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    selection: Selection,
    /// Print each resolved value and where it comes from.
    #[arg(long)]
    explain: bool,
}

pub(crate) fn plan(args: &PlanArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let Some(experiment) = read_experiment(&args.selection, registry)? else { return Ok(Exit::BadInput) };
    if args.explain {
        return match experiment.explain(&args.selection.filter, args.selection.seeds) {
            Ok(text) => {
                say_line(&text);
                Ok(Exit::Done)
            }
            Err(mistakes) => {
                tell(&mistakes.for_stderr());
                Ok(Exit::BadInput)
            }
        };
    }
    let Some(plan) = resolve(&experiment, &args.selection, registry)? else { return Ok(Exit::BadInput) };
    show(&plan, &RunStore::new(&args.selection.out))?;
    Ok(Exit::Done)
}

/// Reads an experiment; its mistakes are told, all of them, and `None` is returned.
pub(crate) fn read_experiment(
    selection: &Selection,
    registry: &Registry,
) -> anyhow::Result<Option<Experiment>> {
    let path = &selection.experiment;
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let name = path.display().to_string();
    match lrlab_spec::read(&text, &name, &selection.set, &registry.catalog()) {
        Ok(experiment) => {
            if !experiment.warnings.is_empty() {
                tell(&experiment.warnings.for_stderr());
            }
            Ok(Some(experiment))
        }
        Err(mistakes) => {
            tell(&mistakes.for_stderr());
            Ok(None)
        }
    }
}

/// The selected runs of an experiment, each with its identity.
pub(crate) fn resolve(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
) -> anyhow::Result<Option<Plan>> {
    let cells = match experiment.cells(&selection.filter, selection.seeds) {
        Ok(cells) => cells,
        Err(mistakes) => {
            tell(&mistakes.for_stderr());
            return Ok(None);
        }
    };
    let (cache, mut told) = (cache_dir(&selection.out), BTreeSet::new());
    let mut plan = lrlab_grid::resolve(&experiment.name, cells, |data| {
        let (digest, notes) = registry.identify(data, &cache)?;
        for note in notes {
            if told.insert(note.clone()) {
                tell(&format!("note: {note}"));
            }
        }
        Ok(digest)
    })?;
    plan.description.clone_from(&experiment.description);
    plan.claims.clone_from(&experiment.claims);
    plan.search.clone_from(&experiment.search);
    Ok(Some(plan))
}

/// Every run with its state, and the sums.
pub(crate) fn show(plan: &Plan, store: &RunStore) -> anyhow::Result<()> {
    let (status, states) = lrlab_grid::status(store, plan)?;
    let search = SearchState::read(store, plan)?.map(|search| search.asked_for());
    let asked = |index: usize| search.as_ref().is_none_or(|asked| asked[index]);
    for (_, (run, state)) in plan.runs.iter().zip(&states).enumerate().filter(|(index, _)| asked(*index)) {
        let state = match state {
            RunState::Done => "done".to_owned(),
            RunState::Running { owner, .. } => format!("running (process {} on {})", owner.pid, owner.host),
            RunState::Failed(failure) => format!("failed: {}", failure.message),
            RunState::Missing => "missing".to_owned(),
        };
        say_line(&format!("{}  {}  {state}", run.run_id.short(), label(&run.cell)));
    }
    say_line(&format!(
        "{}: {} runs, {} done, {} running, {} failed, {} missing",
        plan.experiment, status.total, status.done, status.running, status.failed, status.missing
    ));
    super::search::show(plan, store)
}

/// The name of the experiment in `path`, without checking the rest of it.
pub(crate) fn stored_plan(experiment: &Path, store: &RunStore) -> anyhow::Result<Plan> {
    let name = experiment_name(experiment)?;
    store.plan(&name)?.with_context(|| {
        format!(
            "{} holds no plan of {name:?}: `lrlab run {}` makes one",
            store.root().display(),
            experiment.display()
        )
    })
}

fn experiment_name(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let table: toml::Table = text.parse().with_context(|| path.display().to_string())?;
    let name = table.get("name").and_then(toml::Value::as_str);
    Ok(name.with_context(|| format!("{}: no name", path.display()))?.to_owned())
}
