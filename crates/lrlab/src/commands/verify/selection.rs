//! Selects finished runs to verify.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::bail;
use lrlab_options::{Part, QUICKSTART, RecordedArgs, Selection};
use lrlab_runs::{Cell, Records, RunId, RunResult, RunStore};

use crate::Registry;
use crate::commands::launch;
use crate::commands::on_record::{check_id, nearest, records_beside};
use crate::commands::resolve::{read_experiment, resolve_with};
use crate::program::program;
use crate::progress::eprint_line;

/// A finished run.
pub(super) struct Recorded {
    pub(super) run_id: RunId,
    /// Its cell; empty if only a damaged result is left.
    pub(super) cell: Cell,
    /// Its result, or why it cannot be read.
    pub(super) result: Result<RunResult, String>,
}

/// The source of finished runs.
enum Source {
    Store(RunStore),
    Records(Records, Vec<PathBuf>),
}

impl Source {
    fn ids(&self) -> anyhow::Result<Vec<RunId>> {
        Ok(match self {
            Self::Store(store) => store.done()?,
            Self::Records(records, _) => records.iter().map(|record| record.result.run_id.clone()).collect(),
        })
    }

    fn has(&self, id: &RunId) -> bool {
        match self {
            Self::Store(store) => store.is_done(id),
            Self::Records(records, _) => records.get(id).is_some(),
        }
    }

    /// Returns a run with its result. An unreadable result does not affect other runs.
    fn recorded(&self, run_id: &RunId) -> Recorded {
        let result = match self {
            Self::Store(store) => store.result(run_id).map_err(|error| format!("{error:#}")),
            Self::Records(records, _) => Ok(records.get(run_id).map(|record| (*record.result).clone())),
        };
        let result = result.and_then(|result| result.ok_or_else(|| "its result no longer exists".to_owned()));
        let cell = match (&result, self) {
            (Ok(result), _) => result.cell.clone(),
            (Err(_), Self::Store(store)) => {
                let planned = launch::planned(store, &store.run_dir(run_id));
                planned.map(|planned| planned.cell).unwrap_or_default()
            }
            (Err(_), Self::Records(..)) => Cell::new(),
        };
        Recorded { run_id: run_id.clone(), cell, result }
    }
}

/// The files, for messages.
impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(store) => store.root().display().fmt(f),
            Self::Records(_, paths) => {
                let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
                f.write_str(&paths.join(", "))
            }
        }
    }
}

/// Reads the selected runs.
pub(super) fn read_selected(args: &RecordedArgs, registry: &Registry) -> anyhow::Result<Vec<Recorded>> {
    let file = args.experiment.as_deref().unwrap_or(Path::new(QUICKSTART));
    args.run.iter().try_for_each(|id| check_id(id, &file.display().to_string()))?;
    let source = source(args, file, registry)?;
    let planned = planned(args, file, &source, registry)?;
    let finished: Vec<RunId> = match &planned {
        None => source.ids()?,
        Some(planned) => planned.iter().filter(|id| source.has(id)).cloned().collect(),
    };
    let chosen: Vec<RunId> = if args.run.is_empty() {
        finished
    } else {
        let named = |id: &String| match &with_prefix(id, &finished)[..] {
            [one] => Ok((*one).clone()),
            [] => bail!(not_finished(id, file, &source, planned.as_deref())?),
            several => bail!("{} runs have ids that start with {id}: give more digits", several.len()),
        };
        args.run.iter().map(named).collect::<anyhow::Result<_>>()?
    };
    if chosen.is_empty() {
        let file = file.display();
        match planned {
            Some(planned) => bail!(
                "nothing to verify: none of the {} runs of {file} is finished in {source}; `{} run {file}` trains them",
                planned.len(),
                program()
            ),
            None => bail!("nothing to verify: {source} has no finished run"),
        }
    }
    let mut seen = BTreeSet::new();
    let distinct = chosen.iter().filter(|id| seen.insert(*id));
    let recorded = distinct.map(|id| source.recorded(id)).collect();
    Ok(match args.sample {
        Some(n) => sample(recorded, n.get()),
        None => recorded,
    })
}

/// Returns the given records, or else the store, or, if it has no finished run of the experiment, the records beside the
/// experiment.
fn source(args: &RecordedArgs, file: &Path, registry: &Registry) -> anyhow::Result<Source> {
    let read = |paths: Vec<PathBuf>| -> anyhow::Result<Source> {
        Ok(Source::Records(Records::read(&paths)?, paths))
    };
    if !args.records.is_empty() {
        return read(args.records.clone());
    }
    let store = RunStore::new(&args.out);
    let done: BTreeSet<RunId> = store.done()?.into_iter().collect();
    let Some(folder) = records_beside(file)? else { return Ok(Source::Store(store)) };
    let records = read(vec![folder.clone()])?;
    // The store may have runs of other experiments.
    let counts = match planned(args, file, &records, registry)? {
        Some(planned) => planned.iter().any(|id| done.contains(id)),
        None => !done.is_empty(),
    };
    if counts {
        return Ok(Source::Store(store));
    }
    eprint_line(&format!(
        "note: {} has no finished run of {}: those on record in {} are verified",
        args.out.display(),
        file.display(),
        folder.display()
    ));
    Ok(records)
}

/// Returns the runs of the experiment; `None` if records or ids select the runs.
fn planned(
    args: &RecordedArgs,
    file: &Path,
    source: &Source,
    registry: &Registry,
) -> anyhow::Result<Option<Vec<RunId>>> {
    if args.experiment.is_none() && !(args.records.is_empty() && args.run.is_empty()) {
        anyhow::ensure!(args.cells.are_all(), "--set, --filter and --seeds require an experiment file");
        return Ok(None);
    }
    let part = Part { cells: args.cells.clone(), run: None };
    let selection = Selection { experiment: file.to_path_buf(), out: args.out.clone(), part };
    let experiment = read_experiment(&selection, registry)?;
    let none = Records::default();
    let on_record = if let Source::Records(records, _) = source { records } else { &none };
    let plan = resolve_with(&experiment, &selection, registry, on_record)?;
    Ok(Some(plan.runs.into_iter().map(|run| run.run_id).collect()))
}

fn with_prefix<'a>(digits: &str, ids: &'a [RunId]) -> Vec<&'a RunId> {
    ids.iter().filter(|id| id.as_str().starts_with(digits)).collect()
}

/// Explains why the run of --run is not among the finished ones.
fn not_finished(id: &str, file: &Path, source: &Source, planned: Option<&[RunId]>) -> anyhow::Result<String> {
    let (file, all) = (file.display(), source.ids()?);
    if let Some(planned) = planned {
        if !with_prefix(id, planned).is_empty() {
            return Ok(format!(
                "run {id} of {file} is not finished in {source}; `{} run {file} --run {id}` trains it",
                program()
            ));
        }
        if let [one, ..] = with_prefix(id, &all)[..] {
            return Ok(format!(
                "run {one} does not belong to {file} with its data and these options; without an experiment, --run \
                 accepts any finished run"
            ));
        }
    }
    let near = match &nearest(id, &all)[..] {
        [] => "no run is finished there".to_owned(),
        near => format!("the most similar are {}", near.join(", ")),
    };
    Ok(format!("{source} has no finished run {id}; {near}"))
}

/// Samples `n` runs regardless of their results: round-robin over the arms, in order of ids.
fn sample(mut recorded: Vec<Recorded>, n: usize) -> Vec<Recorded> {
    let all = recorded.len();
    if n >= all {
        if n > all {
            eprint_line(&format!("note: --sample {n}: all {all} runs are redone"));
        }
        return recorded;
    }
    recorded.sort_by(|a, b| a.run_id.cmp(&b.run_id));
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let mut rank = |recorded: &Recorded| {
        let mut arm = recorded.cell.clone();
        arm.remove("seed");
        let before = taken.entry(serde_json::to_string(&arm).unwrap_or_default()).or_default();
        *before += 1;
        *before
    };
    let mut ranked: Vec<(usize, Recorded)> =
        recorded.into_iter().map(|recorded| (rank(&recorded), recorded)).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    eprint_line(&format!("note: a sample of {n} of {all} runs, the same in every call"));
    ranked.into_iter().take(n).map(|(_, recorded)| recorded).collect()
}
