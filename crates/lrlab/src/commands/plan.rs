//! `lrlab plan`: the runs of an experiment and their states.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::slice;

use anyhow::{Context, bail};
use clap::Args;
use lrlab_data::Source;
use lrlab_grid::{Beginning, RunState};
use lrlab_runs::{Call, Cell, Plan, Records, RunStore};
use lrlab_spec::{Catalog, DataSpec, Experiment, Registered, RunSpec};
use serde::Deserialize;
use serde_json::Value as Json;

use super::grid::beginnings;
use super::lines::{counts, line};
use super::on_record::{Digests, RecordFiles, check_id};
use super::{print, print_line};
use crate::options::{Cells, QUICKSTART, Selection};
use crate::program::program;
use crate::progress::{counted, eprint_line, report_mistakes, with_causes};
use crate::{Exit, Registry};

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    on_record: RecordFiles,
    /// Print each resolved value and its origin.
    #[arg(long)]
    explain: bool,
    /// List every run; by default, a grid of more than 100 runs is summarised.
    #[arg(long, conflicts_with = "explain")]
    cells: bool,
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
    for warning in lrlab_grid::origins(&store, &plan.runs)?.warnings() {
        eprint_line(&format!("note: {warning}"));
    }
    show(&plan, &store, registry, args.cells)?;
    Ok(Exit::Done)
}

/// Reads the selected runs of an experiment, and the store together with the runs on record.
fn read_plan(
    selection: &Selection,
    on_record: &RecordFiles,
    registry: &Registry,
) -> anyhow::Result<(Plan, RunStore)> {
    let experiment = read_experiment(selection, registry)?;
    with_records(&experiment, selection, on_record.read(&selection.experiment)?, registry)
}

/// Like [`read_plan`], for commands that train nothing; see [`read_trained`].
pub(crate) fn read_trained_plan(
    selection: &Selection,
    on_record: &RecordFiles,
    registry: &Registry,
) -> anyhow::Result<(Plan, RunStore)> {
    let records = on_record.read(&selection.experiment)?;
    let experiment = read_trained(selection, registry, &records)?;
    with_records(&experiment, selection, records, registry)
}

fn with_records(
    experiment: &Experiment,
    selection: &Selection,
    records: Records,
    registry: &Registry,
) -> anyhow::Result<(Plan, RunStore)> {
    let store = RunStore::new(&selection.out);
    let known = Known {
        stored: Some(Stored::of(experiment, &store)),
        missing: MissingData::DownloadUnknown,
        ..Known::recorded(&records)
    };
    let plan = resolve_from(experiment, selection, registry, &known)?;
    let store = RecordFiles::with_store(store, slice::from_ref(&plan), records)?;
    Ok((plan, store))
}

/// The known digests of data sets, which need not be available on this machine.
#[derive(Default)]
struct Known<'a> {
    /// From runs on record; they take precedence over the data.
    recorded: Digests,
    /// From the store, for data that are not on this machine.
    stored: Option<Stored<'a>>,
    /// What else to do about data that are not on this machine.
    missing: MissingData,
    /// Whether notes about the data are not printed.
    quiet: bool,
}

/// The digests in a store: those of the stored plan, then those of the results.
struct Stored<'a> {
    planned: Digests,
    store: &'a RunStore,
    results: OnceCell<Digests>,
}

/// What to do about data that are not on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum MissingData {
    /// They are downloaded.
    #[default]
    Download,
    /// They are downloaded if the store does not know their digest.
    DownloadUnknown,
    /// They have an empty digest if the store does not know it.
    Ignore,
}

impl<'a> Stored<'a> {
    /// An unreadable plan is reported as a note and has no digests.
    fn of(experiment: &Experiment, store: &'a RunStore) -> Self {
        let planned = match store.plan(&experiment.name) {
            Ok(stored) => stored.as_ref().map(Digests::planned).unwrap_or_default(),
            Err(error) => {
                eprint_line(&format!("note: {error}; its digests are not used for missing data"));
                Digests::default()
            }
        };
        Self { planned, store, results: OnceCell::new() }
    }

    /// Returns a digest, and where it comes from.
    fn get(&self, data: &DataSpec) -> Option<(&str, &'static str)> {
        let planned = self.planned.get(data).map(|digest| (digest, "in the stored plan"));
        planned.or_else(|| {
            let results = self.results.get_or_init(|| Digests::of_results(self.store));
            results.get(data).map(|digest| (digest, "of the runs in the store"))
        })
    }
}

impl Known<'_> {
    fn recorded(records: &Records) -> Self {
        Self { recorded: Digests::of(records), ..Self::default() }
    }

    /// Returns the digest of a data set, and notes about it: from the runs on record, the files on this machine, and, as
    /// [`MissingData`] says, the network and the store.
    fn digest(
        &self,
        data: &DataSpec,
        registry: &Registry,
        cache: &Path,
    ) -> anyhow::Result<(String, Vec<String>)> {
        // A digest that is not the required one is of other data.
        let required = |digest: &str| data.pin_digest.as_deref().is_none_or(|pin| pin == digest);
        if let Some(digest) = self.recorded.get(data).filter(|digest| required(digest)) {
            return Ok((digest.to_owned(), Vec::new()));
        }
        let mut found = registry.identify_local(data, cache);
        // The loader of a registered data set has used the network already, if it does.
        let can_download = !matches!(data.source, Source::Custom(_));
        if self.missing == MissingData::Download
            && can_download
            && found.as_ref().is_err_and(|error| is_missing(error, data))
        {
            found = registry.identify(data, cache);
        }
        let Err(error) = found else { return found };
        let missing = is_missing(&error, data);
        let stored = self.stored.as_ref().filter(|_| missing).and_then(|stored| stored.get(data));
        if let Some((digest, place)) = stored.filter(|(digest, _)| required(digest)) {
            let name = data.source.name();
            let note = format!(
                "the data of {name} are not available, so the digest {place} is used ({})",
                with_causes(&error)
            );
            return Ok((digest.to_owned(), vec![note]));
        }
        match self.missing {
            MissingData::Ignore => {
                let note = format!("{}; its runs count as not run", with_causes(&error));
                Ok((String::new(), vec![note]))
            }
            MissingData::DownloadUnknown if missing && can_download => registry.identify(data, cache),
            _ => Err(error),
        }
    }
}

/// Reads the selected runs of an experiment, and the runs on record.
pub(crate) fn read_with_records(
    selection: &Selection,
    on_record: &RecordFiles,
    registry: &Registry,
) -> anyhow::Result<(Plan, Records)> {
    let experiment = read_experiment(selection, registry)?;
    let records = on_record.read(&selection.experiment)?;
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
    if let Ok(plan) = stored_plan(&selection.experiment, &RunStore::new(&selection.out)) {
        complete(&mut catalog, plan.runs.iter().map(|run| &run.spec));
    }
    complete(&mut catalog, records.iter().map(|record| &record.result.spec));
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

/// Adds the custom parts of trained runs that the catalog lacks. A function of time is only a name: no rate can be computed
/// with it.
fn complete<'a>(catalog: &mut Catalog, specs: impl Iterator<Item = &'a Json>) {
    let version = |part: &Json| part.get("version").and_then(Json::as_str).map(str::to_owned);
    let add = |known: &mut Vec<Registered>, part: Option<&Json>| {
        let Some((part, name)) = part.and_then(|part| Some((part, part.get("name")?.as_str()?))) else {
            return;
        };
        if !known.iter().any(|known| known.name == name) {
            known.push(Registered { version: version(part), bf16: true, ..Registered::new(name) });
        }
    };
    for spec in specs {
        add(&mut catalog.models, spec.pointer("/model/custom"));
        add(&mut catalog.data, spec.pointer("/data/source/custom"));
        let mut lambdas = Vec::new();
        for part in ["schedule", "optimizer"] {
            find_lambdas(&spec[part], &mut lambdas);
        }
        for (name, part) in lambdas.iter().filter_map(|part| Some((part.get("name")?.as_str()?, part))) {
            if !catalog.lambdas.names().any(|(known, _)| known == name) {
                catalog.lambdas.register(name, version(part), |_| 1.0);
            }
        }
    }
}

/// Collects the tables `lambda` of nested schedules.
fn find_lambdas<'a>(json: &'a Json, found: &mut Vec<&'a Json>) {
    match json {
        Json::Object(fields) => {
            for (key, value) in fields {
                if key == "lambda" { found.push(value) } else { find_lambdas(value, found) }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| find_lambdas(item, found)),
        _ => {}
    }
}

/// Reads a text file in UTF-8. The program contains a copy of the quickstart, which is used if the file does not exist.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    let name = path.display().to_string();
    if path == Path::new(QUICKSTART) && !path.exists() {
        return Ok(include_str!("../quickstart.toml").to_owned());
    }
    let bytes = std::fs::read(path).with_context(|| name.clone())?;
    Ok(lrlab_spec::decode(&bytes, &name)?)
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
    let plan = resolve_all(experiment, selection, registry, &Known::default())?;
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
    let mut plan = lrlab_grid::resolve(&experiment.name, cells, |data| {
        let (digest, notes) = known.digest(data, registry, &cache)?;
        for note in notes {
            if noted.insert(note.clone()) && !known.quiet {
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

/// Whether an error means that data are missing on this machine. Every error of a registered data set's loader counts, and
/// that this program does not register the data set.
fn is_missing(error: &anyhow::Error, data: &DataSpec) -> bool {
    match error.downcast_ref::<lrlab_data::Error>() {
        Some(error) => error.is_missing() || matches!(error, lrlab_data::Error::Custom { .. }),
        None => matches!(data.source, Source::Custom(_)),
    }
}

/// Returns the index in the plan of the run that `--run` selects.
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

/// Prints every run with its state, and the totals. A large grid is summarised unless `all` is set. Lint warnings about
/// schedules and controllers go to standard error.
pub(crate) fn show(plan: &Plan, store: &RunStore, registry: &Registry, all: bool) -> anyhow::Result<()> {
    for warning in lint_warnings(plan) {
        eprint_line(&format!("warning: {warning}"));
    }
    let beginnings = beginnings(plan, store, &plan.runs, registry)?;
    let listed = all || plan.runs.len() <= MOST_LISTED;
    print(&if listed { listing(plan, store, &beginnings)? } else { summary(plan, store)? });
    if let Some(reused) = reused(plan, &beginnings) {
        print_line(&reused);
    }
    super::search::show(plan, store)
}

/// Describes how many runs continue shorter ones.
fn reused(plan: &Plan, beginnings: &[Option<Beginning>]) -> Option<String> {
    let longer = beginnings.iter().flatten().count();
    let reused: u64 = beginnings.iter().flatten().map(|beginning| beginning.epochs).sum();
    (longer > 0).then(|| {
        format!(
            "{}: {} {} with the same beginning, which saves {} of training (--from-scratch trains them in full)",
            plan.experiment,
            counted(longer, "run"),
            if longer == 1 { "continues a shorter one" } else { "continue shorter ones" },
            counted(usize::try_from(reused).unwrap_or(usize::MAX), "epoch")
        )
    })
}

/// The maximum number of runs that are listed without `--cells`.
const MOST_LISTED: usize = 100;

/// The maximum number of values of a coordinate in a summary.
const MOST_VALUES: usize = 12;

/// Lists the values along each coordinate, the runs that are neither done nor missing, and the totals.
fn summary(plan: &Plan, store: &RunStore) -> anyhow::Result<String> {
    let mut values: Vec<(&String, Vec<String>)> = Vec::new();
    for (key, value) in plan.runs.iter().flat_map(|run| &run.cell) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match values.iter_mut().find(|(known, _)| *known == key) {
            Some((_, all)) if all.contains(&value) => {}
            Some((_, all)) => all.push(value),
            None => values.push((key, vec![value])),
        }
    }
    let mut text = String::new();
    for (key, all) in values {
        let more =
            if all.len() > MOST_VALUES { format!(", … ({} values)", all.len()) } else { String::new() };
        let _ = writeln!(text, "{key}: {}{more}", all[..all.len().min(MOST_VALUES)].join(", "));
    }
    let (status, states) = lrlab_grid::status(store, plan)?;
    let is_listed =
        |state: &RunState| !matches!(state, RunState::Done | RunState::Missing | RunState::Unneeded);
    for (run, state) in plan.runs.iter().zip(&states).filter(|(_, state)| is_listed(state)) {
        let _ = writeln!(text, "{}", line(run, state));
    }
    let file = plan.call.as_ref().map_or("FILE", |call| &call.experiment);
    let _ = writeln!(
        text,
        "{}: {}; `{} plan {file} --cells` lists the runs",
        plan.experiment,
        counts(&status),
        program()
    );
    Ok(text)
}

/// Returns the warnings about the schedules, controllers and other settings of a plan, each once with its number of runs.
fn lint_warnings(plan: &Plan) -> Vec<String> {
    let mut found: Vec<(String, usize)> = Vec::new();
    let mut add = |warning: &str| match found.iter_mut().find(|(known, _)| known == warning) {
        Some((_, runs)) => *runs += 1,
        None => found.push((warning.to_owned(), 1)),
    };
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for run in &plan.runs {
        let Ok(spec) = RunSpec::deserialize(&run.spec) else { continue };
        spec.doubts().iter().for_each(|doubt| add(doubt));
        let Some(horizon) = spec.horizon() else { continue };
        let name = run.cell.get("schedule").and_then(|name| name.as_str()).unwrap_or_default();
        let controllers: Vec<_> = spec.monitor.iter().map(|monitor| monitor.controller.clone()).collect();
        let monitor = run.cell.get("monitor").map(ToString::to_string).unwrap_or_default();
        let key = format!(
            "{name} {monitor} {:?} {controllers:?} {} {:?} {horizon:?}",
            spec.schedule, spec.lr, spec.optimizer
        );
        let warnings = known.entry(key).or_insert_with(|| {
            // A schedule that cannot be built is reported when the experiment is read.
            let found = lrlab_schedulers::lint(&spec.schedule, spec.lr, &horizon, &controllers);
            let found = found.unwrap_or_default().into_iter();
            let found = found.map(|finding| format!("schedule `{name}`: {finding}"));
            let constants = spec.optimizer.scheduled().into_iter().flat_map(|hyper| {
                let found = lrlab_schedulers::lint(hyper.schedule, hyper.base, &horizon, &[]);
                let named = move |finding| format!("`optimizer.{}`: {finding}", hyper.key);
                found.unwrap_or_default().into_iter().map(named)
            });
            found.chain(constants).collect()
        });
        for warning in warnings.iter() {
            add(warning);
        }
    }
    found.into_iter().map(|(warning, runs)| format!("{warning} ({})", counted(runs, "run"))).collect()
}

/// Describes how an experiment file differs from the file that its stored plan was made from; `None` if it does not.
pub(crate) fn changes(path: &Path, plan: &Plan, registry: &Registry) -> Option<String> {
    let (call, file) = (plan.call.as_ref()?, path.display());
    let planned = Path::new(&call.folder).join(&call.experiment);
    if let (Ok(ours), Ok(theirs)) = (path.canonicalize(), planned.canonicalize())
        && ours != theirs
    {
        return Some(format!(
            "the last plan of {:?} was made from {}, not from {file}",
            plan.experiment,
            planned.display()
        ));
    }
    let text = read_text(path).ok()?;
    let mut catalog = registry.catalog();
    complete(&mut catalog, plan.runs.iter().map(|run| &run.spec));
    let Ok(experiment) = lrlab_spec::read(&text, &file.to_string(), &call.set, &catalog) else {
        return Some(format!(
            "{file} has errors that it did not have when it was planned: `{} plan {file}` shows them",
            program()
        ));
    };
    let id = |spec: &RunSpec| lrlab_spec::run_id(spec, "").ok();
    let specs = plan.runs.iter().filter_map(|run| RunSpec::deserialize(&run.spec).ok());
    let planned: BTreeSet<_> = specs.filter_map(|spec| id(&spec)).collect();
    let now: BTreeSet<_> = experiment.each_cell(&[], None).ok()?.filter_map(|(_, spec)| id(&spec)).collect();
    let (gone, new) = (planned.difference(&now).count(), now.difference(&planned).count());
    match (gone, new) {
        (0, 0) => None,
        (0, new) => Some(format!(
            "{file} has {} that the last plan does not contain ({} in total): `{} plan {file}` lists all",
            counted(new, "cell"),
            now.len(),
            program()
        )),
        (gone, _) => Some(format!(
            "{file} has changed since it was planned: {} of the last plan {} no longer among its {}; `{} plan {file}` \
            lists the current ones",
            counted(gone, "run"),
            if gone == 1 { "is" } else { "are" },
            counted(now.len(), "cell"),
            program()
        )),
    }
}

/// Warns if `path` replaces `what` ("its report") of another existing file whose experiment has the same name.
pub(crate) fn namesake(path: &Path, store: &RunStore, name: &str, what: &str) -> Option<String> {
    let plan = store.plan(name).ok().flatten()?;
    let call = plan.call?;
    let other = Path::new(&call.folder).join(&call.experiment);
    let differs = path.canonicalize().ok()? != other.canonicalize().ok()?;
    (differs && experiment_name(&other).ok()? == name).then(|| {
        format!(
            "{} has the same name {name:?}: {} replaces {what} in {}; rename one of the experiments",
            other.display(),
            path.display(),
            store.experiment_dir(name).display()
        )
    })
}

/// Describes the runs of the stored plan that a selection of the same file does not contain; `None` if it contains all.
pub(crate) fn left_out(plan: &Plan, store: &RunStore) -> Option<String> {
    let stored = store.plan(&plan.experiment).ok().flatten()?;
    let ids: BTreeSet<_> = plan.runs.iter().map(|run| &run.run_id).collect();
    let count = stored.runs.iter().filter(|run| !ids.contains(&run.run_id)).count();
    let set = |call: Option<&Call>| call.map(|call| call.set.clone()).unwrap_or_default();
    let (ours, theirs) = (set(plan.call.as_ref()), set(stored.call.as_ref()));
    (count > 0 && ours != theirs).then(|| {
        let options: Vec<String> = theirs.iter().map(|set| format!(" --set {set}")).collect();
        let how = if options.is_empty() { "no --set".to_owned() } else { options.concat().trim().to_owned() };
        format!(
            "{} of the last plan, made with {how}, {} not selected",
            counted(count, "run"),
            if count == 1 { "is" } else { "are" }
        )
    })
}

/// Lists every needed run with its state and the shorter one that it continues, and the totals.
pub(crate) fn listing(
    plan: &Plan,
    store: &RunStore,
    beginnings: &[Option<Beginning>],
) -> anyhow::Result<String> {
    let (status, states) = lrlab_grid::status(store, plan)?;
    let mut text = String::new();
    for ((run, state), beginning) in plan.runs.iter().zip(&states).zip(beginnings) {
        if *state == RunState::Unneeded {
            continue;
        }
        let continues = beginning
            .as_ref()
            .map(|beginning| {
                format!(
                    ", continues {} after {}",
                    beginning.run_id.short(),
                    counted(usize::try_from(beginning.epochs).unwrap_or(usize::MAX), "epoch")
                )
            })
            .unwrap_or_default();
        let _ = writeln!(text, "{}{continues}", line(run, state));
    }
    let _ = writeln!(text, "{}: {}", plan.experiment, counts(&status));
    Ok(text)
}

/// Returns the plan that the store contains of an experiment file.
pub(crate) fn stored_plan(experiment: &Path, store: &RunStore) -> anyhow::Result<Plan> {
    let name = experiment_name(experiment)?;
    store.plan(&name)?.with_context(|| {
        format!(
            "{} contains no plan of {name:?}: `{} run {}` creates one",
            store.root().display(),
            program(),
            experiment.display()
        )
    })
}

/// Returns the name of the experiment in `path` without checking the rest of the file.
fn experiment_name(path: &Path) -> anyhow::Result<String> {
    let name = path.display().to_string();
    let table: toml::Table = read_text(path)?.parse().with_context(|| name.clone())?;
    let found = table.get("name").and_then(toml::Value::as_str);
    Ok(found.with_context(|| format!("{name}: the key `name` is missing"))?.to_owned())
}
