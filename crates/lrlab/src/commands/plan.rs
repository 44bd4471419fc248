//! `lrlab plan`: from an experiment file to its runs, and what is done of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use clap::Args;
use lrlab_grid::RunState;
use lrlab_runs::{Plan, RunStore};
use lrlab_spec::Experiment;

use super::status::{counts, line};
use super::worker::cache_dir;
use super::{say, say_line};
use crate::cli::Selection;
use crate::progress::tell;
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
    let Some(text) = read_text(path)? else { return Ok(None) };
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

/// The text of a file that a user wrote; another encoding than UTF-8 is told, and `None` is returned.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<Option<String>> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| name.clone())?;
    Ok(lrlab_spec::decode(&bytes, &name).map_err(|mistakes| tell(&mistakes.for_stderr())).ok())
}

/// The selected runs of an experiment, each with its identity.
pub(crate) fn resolve(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
) -> anyhow::Result<Option<Plan>> {
    let cells = match experiment.each_cell(&selection.filter, selection.seeds) {
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

/// Shows every run with its state, and the sums.
pub(crate) fn show(plan: &Plan, store: &RunStore) -> anyhow::Result<()> {
    say(&listing(plan, store)?);
    super::search::show(plan, store)
}

/// Every run that is asked for with its state, and the sums.
pub(crate) fn listing(plan: &Plan, store: &RunStore) -> anyhow::Result<String> {
    let (status, states) = lrlab_grid::status(store, plan)?;
    let mut text = String::new();
    for (run, state) in plan.runs.iter().zip(&states).filter(|(_, state)| **state != RunState::Unneeded) {
        let _ = writeln!(text, "{}", line(run, state));
    }
    let _ = writeln!(text, "{}: {}", plan.experiment, counts(&status));
    Ok(text)
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
    let name = path.display().to_string();
    let text = lrlab_spec::decode(&std::fs::read(path).with_context(|| name.clone())?, &name)?;
    let table: toml::Table = text.parse().with_context(|| path.display().to_string())?;
    let name = table.get("name").and_then(toml::Value::as_str);
    Ok(name.with_context(|| format!("{}: no name", path.display()))?.to_owned())
}
