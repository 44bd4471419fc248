//! `lrlab plan`: the runs of an experiment and their states.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::slice;

use anyhow::{Context, bail};
use clap::Args;
use lrlab_grid::RunState;
use lrlab_runs::{Call, Cell, Plan, Records, RunStore};
use lrlab_spec::{Experiment, RunSpec};

use super::lines::{counts, line};
use super::on_record::{Digests, RecordFiles, check_id};
use super::{print, print_line};
use crate::options::{Cells, Selection};
use crate::progress::{eprint_line, report_mistakes};
use crate::{Exit, Registry};

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    on_record: RecordFiles,
    /// Print each resolved value and where it comes from.
    #[arg(long)]
    explain: bool,
}

pub(crate) fn plan(args: &PlanArgs, registry: &Registry) -> anyhow::Result<Exit> {
    if args.explain {
        let experiment = read_experiment(&args.selection, registry)?;
        let Cells { filter, seeds, .. } = &args.selection.part.cells;
        let texts = experiment.explain(filter, *seeds)?;
        print_line(&narrowed(texts, &experiment, &args.selection, registry)?.join("\n"));
        return Ok(Exit::Done);
    }
    let (plan, store) = read_plan(&args.selection, &args.on_record, registry)?;
    show(&plan, &store)?;
    Ok(Exit::Done)
}

/// Reads the selected runs of an experiment, and the store together with the runs on record.
pub(crate) fn read_plan(
    selection: &Selection,
    on_record: &RecordFiles,
    registry: &Registry,
) -> anyhow::Result<(Plan, RunStore)> {
    let (plan, records) = read_with_records(selection, on_record, registry)?;
    let store = RecordFiles::with_store(RunStore::new(&selection.out), slice::from_ref(&plan), records)?;
    Ok((plan, store))
}

/// Reads the selected runs of an experiment, and the runs on record.
pub(crate) fn read_with_records(
    selection: &Selection,
    on_record: &RecordFiles,
    registry: &Registry,
) -> anyhow::Result<(Plan, Records)> {
    let experiment = read_experiment(selection, registry)?;
    let records = on_record.read(&selection.experiment)?;
    Ok((resolve_with(&experiment, selection, registry, &records)?, records))
}

/// Reads an experiment and reports its warnings. The error contains all its mistakes.
pub(crate) fn read_experiment(selection: &Selection, registry: &Registry) -> anyhow::Result<Experiment> {
    let path = &selection.experiment;
    let (text, name) = (read_text(path)?, path.display().to_string());
    let experiment = lrlab_spec::read(&text, &name, &selection.part.cells.set, &registry.catalog())?;
    if !experiment.warnings.is_empty() {
        report_mistakes(&experiment.warnings);
    }
    Ok(experiment)
}

/// Reads a text file in UTF-8.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| name.clone())?;
    Ok(lrlab_spec::decode(&bytes, &name)?)
}

/// Resolves the selected runs of an experiment to their identities.
pub(crate) fn resolve(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
) -> anyhow::Result<Plan> {
    resolve_with(experiment, selection, registry, &Records::default())
}

/// Like [`resolve`]. The digests of data sets with runs on record are taken from there, and the data are not needed.
pub(crate) fn resolve_with(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
    records: &Records,
) -> anyhow::Result<Plan> {
    resolve_by(experiment, selection, registry, records, &Missing::Fails)
}

/// Like [`resolve_with`], for a report: data that are not here have the digest of the store's plan, or else none, with a note.
pub(crate) fn resolve_for_report(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
    records: &Records,
) -> anyhow::Result<Plan> {
    let stored = RunStore::new(&selection.out).plan(&experiment.name).ok().flatten();
    let digests = Digests::of_plan(&stored.unwrap_or_default());
    resolve_by(experiment, selection, registry, records, &Missing::Noted(digests))
}

/// What becomes of runs whose data cannot be read.
enum Missing {
    /// They are an error.
    Fails,
    /// They have one of these digests, or else none.
    Noted(Digests),
}

fn resolve_by(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
    records: &Records,
    missing: &Missing,
) -> anyhow::Result<Plan> {
    let mut plan = resolve_all(experiment, selection, registry, records, missing)?;
    if let Some(index) = selected_run(&plan, selection)? {
        plan.runs = vec![plan.runs.swap_remove(index)];
        // A single run is not a search; it is trained in full.
        plan.search = None;
    }
    Ok(plan)
}

/// Returns the selected cells of an experiment with their runs.
pub(crate) fn cells(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
) -> anyhow::Result<Vec<(Cell, RunSpec)>> {
    let Cells { filter, seeds, .. } = &selection.part.cells;
    narrowed(experiment.cells(filter, *seeds)?, experiment, selection, registry)
}

/// Narrows values in the order of the cells to that of the run that `--run` selects.
fn narrowed<T>(
    all: Vec<T>,
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
) -> anyhow::Result<Vec<T>> {
    if selection.part.run.is_none() {
        return Ok(all);
    }
    let plan = resolve_all(experiment, selection, registry, &Records::default(), &Missing::Fails)?;
    let index = selected_run(&plan, selection)?.unwrap_or_default();
    Ok(all.into_iter().skip(index).take(1).collect())
}

/// Like [`resolve_with`], ignoring `--run`.
fn resolve_all(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
    records: &Records,
    missing: &Missing,
) -> anyhow::Result<Plan> {
    let Cells { filter, seeds, .. } = &selection.part.cells;
    let cells = experiment.each_cell(filter, *seeds)?;
    let (cache, mut noted) = (RunStore::new(&selection.out).cache_dir(), BTreeSet::new());
    let on_record = Digests::of(records);
    let mut plan = lrlab_grid::resolve(&experiment.name, cells, |data| {
        if let Some(digest) = on_record.get(data) {
            return Ok(digest.to_owned());
        }
        let identified = registry.identify(data, &cache);
        let (digest, notes) = match (identified, missing) {
            (Ok(identified), _) => identified,
            (Err(error), Missing::Noted(digests)) => {
                let digest = digests.get(data).unwrap_or_default().to_owned();
                let without = if digest.is_empty() { "; its runs count as not run" } else { "" };
                (digest, vec![format!("{error}{without}")])
            }
            (Err(error), Missing::Fails) => return Err(error.into()),
        };
        for note in notes {
            if noted.insert(note.clone()) {
                eprint_line(&format!("note: {note}"));
            }
        }
        Ok(digest)
    })?;
    plan.description.clone_from(&experiment.description);
    plan.claims.clone_from(&experiment.claims);
    plan.documents.clone_from(&experiment.documents);
    plan.baseline.clone_from(&experiment.baseline);
    plan.paper = experiment.paper;
    plan.search.clone_from(&experiment.search);
    plan.call = call(selection);
    Ok(plan)
}

/// Returns the position in the plan of the run that `--run` selects.
fn selected_run(plan: &Plan, selection: &Selection) -> anyhow::Result<Option<usize>> {
    let Some(id) = &selection.part.run else { return Ok(None) };
    let file = selection.experiment.display();
    check_id(id, &file.to_string())?;
    let found: Vec<usize> =
        (0..plan.runs.len()).filter(|index| plan.runs[*index].run_id.as_str().starts_with(id)).collect();
    match found[..] {
        [index] => Ok(Some(index)),
        [] => bail!(
            "{file} has no run {id}: the experiment, its overrides (--set) or its data differ from those that the \
             id was derived from; `lrlab plan {file}` lists the ids"
        ),
        _ => bail!("{} runs have ids that begin with {id}: give more digits", found.len()),
    }
}

/// The variable in which a program that starts this one passes its own command line, quoted for a shell.
const CALLED_AS: &str = "LRLAB_CALLED_AS";

/// The parts of this call that runs depend on; `None` if a path is not valid Unicode.
fn call(selection: &Selection) -> Option<Call> {
    let own = || {
        let program = std::env::args().next().unwrap_or_else(|| "lrlab".to_owned());
        vec![program, "run".to_owned()]
    };
    let called = std::env::var(CALLED_AS).ok().and_then(|words| shlex::split(&words));
    Some(Call {
        program: called.filter(|words| !words.is_empty()).unwrap_or_else(own),
        experiment: selection.experiment.to_str()?.to_owned(),
        folder: std::env::current_dir().ok()?.to_str()?.to_owned(),
        set: selection.part.cells.set.clone(),
    })
}

/// Prints every run with its state, and the totals.
pub(crate) fn show(plan: &Plan, store: &RunStore) -> anyhow::Result<()> {
    print(&listing(plan, store)?);
    super::search::show(plan, store)
}

/// Lists every needed run with its state, and the totals.
pub(crate) fn listing(plan: &Plan, store: &RunStore) -> anyhow::Result<String> {
    let (status, states) = lrlab_grid::status(store, plan)?;
    let mut text = String::new();
    for (run, state) in plan.runs.iter().zip(&states).filter(|(_, state)| **state != RunState::Unneeded) {
        let _ = writeln!(text, "{}", line(run, state));
    }
    let _ = writeln!(text, "{}: {}", plan.experiment, counts(&status));
    Ok(text)
}

/// Returns the name of the experiment in `path` without checking the rest of the file.
pub(crate) fn stored_plan(experiment: &Path, store: &RunStore) -> anyhow::Result<Plan> {
    let name = experiment_name(experiment)?;
    store.plan(&name)?.with_context(|| {
        format!(
            "{} contains no plan of {name:?}: `lrlab run {}` makes one",
            store.root().display(),
            experiment.display()
        )
    })
}

fn experiment_name(path: &Path) -> anyhow::Result<String> {
    let name = path.display().to_string();
    let table: toml::Table = read_text(path)?.parse().with_context(|| name.clone())?;
    let found = table.get("name").and_then(toml::Value::as_str);
    Ok(found.with_context(|| format!("{name}: the key `name` is missing"))?.to_owned())
}
