//! Experiments, resolved to plans: the selected runs with their identities.

use std::collections::BTreeSet;
use std::slice;
use std::sync::Arc;

use anyhow::bail;
use lrlab_options::{Cells, Part, RecordFiles, Selection};
use lrlab_runs::{Call, Cell, Plan, Records, RunId, RunStore};
use lrlab_spec::{Catalog, DataSpec, Experiment, RunSpec};

use super::experiment_file::read_text;
use super::known::{Known, MissingData, Stored};
use super::on_record::{self, check_id};
use super::stored::{complete, stored_plan};
use crate::Registry;
use crate::program::program;
use crate::progress::{eprint_line, report_mistakes};

/// Reads the selected runs of an experiment, and the store together with the runs on record.
pub(super) fn read_plan(
    selection: &Selection,
    on_record: &RecordFiles,
    registry: &Registry,
) -> anyhow::Result<(Plan, RunStore)> {
    let experiment = read_experiment(selection, registry)?;
    with_records(&experiment, selection, on_record::read_for(on_record, &selection.experiment)?, registry)
}

/// Like [`read_plan`], for commands that train nothing; see [`read_trained`].
pub(crate) fn read_trained_plan(
    selection: &Selection,
    on_record: &RecordFiles,
    registry: &Registry,
) -> anyhow::Result<(Plan, RunStore)> {
    let records = on_record::read_for(on_record, &selection.experiment)?;
    let experiment = read_trained(selection, registry, &records)?;
    with_records(&experiment, selection, records, registry)
}

/// Knows what is on record and in the store, whose digests are used for data that are not on this machine.
fn known_to<'a>(experiment: &Experiment, store: &'a RunStore, records: &'a Records) -> Known<'a> {
    Known {
        stored: Some(Stored::of(experiment, store)),
        missing: MissingData::DownloadUnknown,
        ..Known::recorded(records)
    }
}

fn with_records(
    experiment: &Experiment,
    selection: &Selection,
    records: Records,
    registry: &Registry,
) -> anyhow::Result<(Plan, RunStore)> {
    let store = RunStore::new(&selection.out);
    let known = known_to(experiment, &store, &records);
    let plan = resolve_from(experiment, selection, registry, &known)?;
    let store = on_record::with_store(store, slice::from_ref(&plan), records)?;
    Ok((plan, store))
}

/// Reads the selected runs of an experiment, and the runs on record.
pub(crate) fn read_with_records(
    selection: &Selection,
    on_record: &RecordFiles,
    registry: &Registry,
) -> anyhow::Result<(Plan, Records)> {
    let experiment = read_experiment(selection, registry)?;
    let records = on_record::read_for(on_record, &selection.experiment)?;
    let store = RunStore::new(&selection.out);
    let known = Known { stored: Some(Stored::of(&experiment, &store)), ..Known::recorded(&records) };
    Ok((resolve_from(&experiment, selection, registry, &known)?, records))
}

/// Reads an experiment and reports its warnings. The error contains all its mistakes.
pub(crate) fn read_experiment(selection: &Selection, registry: &Registry) -> anyhow::Result<Experiment> {
    read_from(selection, &registry.catalog())
}

/// Like [`read_experiment`], for commands that train nothing: parts that this program does not register are taken from the
/// stored plan and the runs on record.
pub(crate) fn read_trained(
    selection: &Selection,
    registry: &Registry,
    records: &Records,
) -> anyhow::Result<Experiment> {
    let mut catalog = registry.catalog();
    if let Ok(Some(plan)) = stored_plan(&selection.experiment, &RunStore::new(&selection.out)) {
        complete(&mut catalog, plan.runs.iter().map(|run| &*run.spec));
    }
    complete(&mut catalog, records.iter().map(|record| &*record.result.spec));
    read_from(selection, &catalog)
}

fn parse(selection: &Selection, catalog: &Catalog) -> anyhow::Result<Experiment> {
    let path = &selection.experiment;
    let (text, name) = (read_text(path)?, path.display().to_string());
    Ok(lrlab_spec::read(&text, &name, &selection.part.cells.set, catalog)?)
}

fn read_from(selection: &Selection, catalog: &Catalog) -> anyhow::Result<Experiment> {
    let experiment = parse(selection, catalog)?;
    if !experiment.warnings.is_empty() {
        report_mistakes(&experiment.warnings);
    }
    Ok(experiment)
}

/// Resolves the selected runs of an experiment to their identities, from its data.
pub(crate) fn resolve(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
) -> anyhow::Result<Plan> {
    resolve_with(experiment, selection, registry, &Records::default())
}

/// Checks that an experiment contains the selected runs, without printing warnings and notes.
pub(crate) fn check(selection: &Selection, registry: &Registry) -> anyhow::Result<()> {
    let experiment = parse(selection, &registry.catalog())?;
    let known = Known { quiet: true, ..Known::default() };
    resolve_from(&experiment, selection, registry, &known).map(drop)
}

/// Resolves all runs of the experiment of which `selection` selects a part, without printing warnings and notes. Runs whose data
/// are neither on this machine nor known have other ids.
pub(crate) fn resolve_whole(
    selection: &Selection,
    registry: &Registry,
    records: &Records,
) -> anyhow::Result<Plan> {
    let cells = Cells { set: selection.part.cells.set.clone(), ..Cells::default() };
    let whole = Selection { part: Part { cells, run: None }, ..selection.clone() };
    let (experiment, store) = (parse(&whole, &registry.catalog())?, RunStore::new(&whole.out));
    let known = Known {
        stored: Some(Stored::of(&experiment, &store)),
        missing: MissingData::Ignore,
        quiet: true,
        ..Known::recorded(records)
    };
    resolve_from(&experiment, &whole, registry, &known)
}

/// Like [`resolve`]. The digests of data that are not on this machine are taken from the store if it has them.
pub(crate) fn resolve_stored(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
) -> anyhow::Result<Plan> {
    let store = RunStore::new(&selection.out);
    let known = Known {
        stored: Some(Stored::of(experiment, &store)),
        missing: MissingData::DownloadUnknown,
        ..Known::default()
    };
    resolve_from(experiment, selection, registry, &known)
}

/// Like [`resolve`]. The digests of data sets come from `records` where possible, and these data are not needed.
pub(crate) fn resolve_with(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
    records: &Records,
) -> anyhow::Result<Plan> {
    resolve_from(experiment, selection, registry, &Known::recorded(records))
}

/// Like [`resolve_with`], for a report: runs whose data are neither available nor known count as not run, with a note.
pub(crate) fn resolve_for_report(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
    records: &Records,
) -> anyhow::Result<Plan> {
    let store = RunStore::new(&selection.out);
    let known = Known {
        stored: Some(Stored::of(experiment, &store)),
        missing: MissingData::Ignore,
        ..Known::recorded(records)
    };
    resolve_from(experiment, selection, registry, &known)
}

fn resolve_from(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
    known: &Known<'_>,
) -> anyhow::Result<Plan> {
    let mut plan = resolve_all(experiment, selection, registry, known)?;
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
    let files = RecordFiles { paths: Vec::new(), no_records: false };
    narrowed(experiment.cells(filter, *seeds)?, experiment, selection, &files, registry)
}

/// Narrows values in the order of the cells to that of the run that `--run` selects.
pub(super) fn narrowed<T>(
    all: Vec<T>,
    experiment: &Experiment,
    selection: &Selection,
    files: &RecordFiles,
    registry: &Registry,
) -> anyhow::Result<Vec<T>> {
    if selection.part.run.is_none() {
        return Ok(all);
    }
    let (store, records) =
        (RunStore::new(&selection.out), on_record::read_for(files, &selection.experiment)?);
    let known = known_to(experiment, &store, &records);
    let plan = resolve_all(experiment, selection, registry, &known)?;
    let index = selected_run(&plan, selection)?.unwrap_or_default();
    Ok(all.into_iter().skip(index).take(1).collect())
}

/// Like [`resolve_from`], ignoring `--run`.
fn resolve_all(
    experiment: &Experiment,
    selection: &Selection,
    registry: &Registry,
    known: &Known<'_>,
) -> anyhow::Result<Plan> {
    let Cells { filter, seeds, .. } = &selection.part.cells;
    let cells = experiment.each_cell(filter, *seeds)?;
    let (cache, mut noted) = (RunStore::new(&selection.out).cache_dir(), BTreeSet::new());
    let digest = |data: &DataSpec| {
        let (digest, notes) = known.digest(data, registry, &cache)?;
        for note in notes {
            if noted.insert(note.clone()) && !known.quiet {
                eprint_line(&format!("note: {note}"));
            }
        }
        Ok(digest)
    };
    let on_record = |id: &RunId| known.records?.get(id).map(|record| Arc::clone(&record.result.spec));
    let mut plan = lrlab_grid::resolve(&experiment.name, cells, digest, on_record)?;
    plan.description.clone_from(&experiment.description);
    plan.claims.clone_from(&experiment.claims);
    plan.documents.clone_from(&experiment.documents);
    plan.metrics.clone_from(&experiment.metrics);
    plan.baseline.clone_from(&experiment.baseline);
    plan.paper = experiment.paper;
    plan.search.clone_from(&experiment.search);
    plan.call = call(selection);
    let filtered = if seeds.is_some() { experiment.each_cell(filter, None)?.len() } else { plan.runs.len() };
    plan.part = part(selection, filtered > plan.runs.len());
    Ok(plan)
}

/// Returns the options that select some of the experiment's runs; `None` if all are selected. `fewer_seeds` says whether
/// `--seeds` leaves runs out.
fn part(selection: &Selection, fewer_seeds: bool) -> Option<String> {
    let Part { cells: Cells { filter, seeds, .. }, run } = &selection.part;
    let filters = filter.iter().map(|filter| format!("--filter {filter}"));
    let seeds = seeds.iter().filter(|_| fewer_seeds).map(|seeds| format!("--seeds {seeds}"));
    let options: Vec<String> =
        filters.chain(seeds).chain(run.iter().map(|run| format!("--run {run}"))).collect();
    (!options.is_empty()).then(|| options.join(" "))
}

/// Returns the index in the plan of the run that `--run` selects.
fn selected_run(plan: &Plan, selection: &Selection) -> anyhow::Result<Option<usize>> {
    let Some(id) = &selection.part.run else { return Ok(None) };
    let Cells { filter, seeds, .. } = &selection.part.cells;
    let file = selection.experiment.display();
    check_id(id, &file.to_string())?;
    let found: Vec<usize> =
        (0..plan.runs.len()).filter(|index| plan.runs[*index].run_id.as_str().starts_with(id)).collect();
    match found[..] {
        [index] => Ok(Some(index)),
        [] if !filter.is_empty() || seeds.is_some() => {
            bail!("none of the runs of {file} that --filter and --seeds select has the id {id}")
        }
        [] => bail!(
            "{file} has no run {id}: the experiment, its overrides (--set) or its data differ from those that the \
             id was derived from; `{} plan {file}` lists the ids",
            program()
        ),
        _ => bail!("{} runs have ids that start with {id}: give more digits", found.len()),
    }
}

/// The environment variable in which a parent program passes its own command line, quoted for a shell.
const CALLED_AS: &str = "LRLAB_CALLED_AS";

/// Returns the parts of this call that runs depend on; `None` if a path is not valid Unicode.
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
