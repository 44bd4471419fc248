//! Runs on record: finished runs in files outside the store.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::slice;

use anyhow::Context;
use lrlab_data::Source;
use lrlab_options::RecordFiles;
use lrlab_runs::{Conflict, Error, Plan, Record, Records, RunId, RunResult, RunStore};
use lrlab_spec::{DataSpec, RunSpec};
use serde::Deserialize;

use crate::program::program;
use crate::progress::eprint_line;

/// Reads the files for an experiment.
pub(crate) fn read_for(files: &RecordFiles, experiment: &Path) -> anyhow::Result<Records> {
    read(&paths(files, experiment)?)
}

/// Reads the files for several experiments.
pub(crate) fn read_for_all(files: &RecordFiles, experiments: &[PathBuf]) -> anyhow::Result<Records> {
    let mut paths = experiments
        .iter()
        .map(|experiment| paths(files, experiment))
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    paths.sort();
    paths.dedup();
    read(&paths)
}

/// Whether an experiment has no files of records.
pub(crate) fn has_none(files: &RecordFiles, experiment: &Path) -> anyhow::Result<bool> {
    Ok(paths(files, experiment)?.is_empty())
}

fn paths(files: &RecordFiles, experiment: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if files.no_records || !files.paths.is_empty() {
        return Ok(files.paths.clone());
    }
    Ok(records_beside(experiment)?.into_iter().collect())
}

/// Keeps the records of the plans' runs, checks them against the store, and reports their number.
fn for_plans(store: &RunStore, plans: &[Plan], mut records: Records) -> anyhow::Result<Records> {
    if records.is_empty() {
        return Ok(records);
    }
    let planned: BTreeSet<&RunId> = plans.iter().flat_map(|plan| &plan.runs).map(|run| &run.run_id).collect();
    // These results have been set aside, to be repeated.
    let superseded = superseded(store, &records)?;
    records.retain(|id| planned.contains(id) && !superseded.contains(id));
    check_conflicts(store, &records, ", or ignore the records with --no-records")?;
    for plan in plans {
        let known = plan.runs.iter().filter(|run| records.get(&run.run_id).is_some()).count();
        // A search does not need all of its runs.
        let of = if plan.search.is_some() { String::new() } else { format!(" of {}", plan.runs.len()) };
        let runs = if known == 1 && of.is_empty() { "run is" } else { "runs are" };
        eprint_line(&format!("{}: {known}{of} {runs} on record", plan.experiment));
    }
    Ok(records)
}

/// Returns the store with the plans' runs on record, for commands that only read.
pub(crate) fn with_store(store: RunStore, plans: &[Plan], records: Records) -> anyhow::Result<RunStore> {
    let records = for_plans(&store, plans, records)?;
    Ok(store.with_records(records))
}

/// Imports the plan's runs on record into the store if `check` accepts the store with them. Damaged results are still in
/// their places then.
pub(crate) fn import(
    store: &RunStore,
    plan: &Plan,
    records: Records,
    check: impl FnOnce(&RunStore, &Records) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let records = for_plans(store, slice::from_ref(plan), records)?;
    check(&store.clone().with_records(records.clone()), &records)?;
    import_all(store, &records).map(drop)
}

/// Reads files of records.
///
/// # Errors
/// Returns an error if a record has the id of another run than that of its specification and its data, because it was
/// changed.
pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Records> {
    let records = Records::read(paths)?;
    for record in records.iter() {
        let result = &record.result;
        // Another build may write specifications that this one cannot read.
        let Ok(spec) = RunSpec::deserialize(&*result.spec) else { continue };
        let id = lrlab_spec::run_id(&spec, &result.provenance.dataset_digest)?;
        anyhow::ensure!(
            id == result.run_id,
            "{}: the record of run {} was changed: its specification and the digest of its data are those of run {id}",
            record.place(),
            result.run_id
        );
    }
    Ok(records)
}

/// Returns the runs whose results on record were set aside in the store in order to repeat them.
///
/// # Errors
/// Returns an error if earlier results cannot be read.
pub(crate) fn superseded(store: &RunStore, records: &Records) -> anyhow::Result<BTreeSet<RunId>> {
    let mut found = BTreeSet::new();
    for record in records.iter() {
        let id = &record.result.run_id;
        let earlier = store.run_dir(id).join("superseded");
        let folders = match std::fs::read_dir(&earlier) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            folders => folders.and_then(Iterator::collect::<std::io::Result<Vec<_>>>),
        };
        for folder in folders.with_context(|| earlier.display().to_string())? {
            let path = folder.path().join("result.json");
            let bytes = match std::fs::read(&path) {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    continue;
                }
                // A folder or a link, which was set aside as damage.
                Err(_) if path.symlink_metadata().is_ok_and(|it| !it.is_file()) => continue,
                bytes => bytes.with_context(|| path.display().to_string())?,
            };
            // A damaged result says nothing about the one on record.
            let aside = serde_json::from_slice::<RunResult>(&bytes).ok();
            // Either may be the beginning of the other, which a search pruned.
            let equal = |aside: RunResult| aside.contains(&record.result) || record.result.contains(&aside);
            if aside.is_some_and(equal) {
                found.insert(id.clone());
            }
        }
    }
    Ok(found)
}

/// Returns the folder of records beside an experiment file, if it contains any.
///
/// # Errors
/// Returns an error if the folder exists and cannot be read.
pub(crate) fn records_beside(experiment: &Path) -> anyhow::Result<Option<PathBuf>> {
    // A link to an experiment has the records beside the file that it refers to.
    match (beside(experiment)?, experiment.canonicalize()) {
        (None, Ok(linked)) => beside(&linked),
        (found, _) => Ok(found),
    }
}

fn beside(experiment: &Path) -> anyhow::Result<Option<PathBuf>> {
    let Some(name) = experiment.file_stem() else { return Ok(None) };
    let folder = experiment.with_file_name("results").join(name);
    let entries = std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match entries {
        Ok(entries) => {
            let has_records = entries.iter().any(|entry| lrlab_runs::is_record_file(&entry.path()));
            Ok(has_records.then_some(folder))
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error)
            .with_context(|| format!("{}: the records of {}", folder.display(), experiment.display())),
    }
}

/// Imports runs into the store, where they take the place of damaged results. Returns the number of new runs. Call
/// [`check_conflicts`] first.
pub(crate) fn import_all(store: &RunStore, records: &Records) -> anyhow::Result<usize> {
    let mut new = 0;
    for record in records.iter() {
        replace_damage(store, record)?;
        new += usize::from(store.put(&record.result)?);
    }
    Ok(new)
}

/// Sets a damaged result of a run aside, and reports it, so that the recorded one can take its place.
fn replace_damage(store: &RunStore, record: &Record) -> anyhow::Result<()> {
    let id = &record.result.run_id;
    let moved = store.set_damage_aside(id)?;
    let Some(folder) = moved.first().and_then(|path| path.parent()) else { return Ok(()) };
    let what = if moved.iter().any(|path| path.ends_with("result.json")) {
        format!("the result is damaged and is replaced with the one on record in {}", record.place())
    } else {
        "the state at its last pause is damaged".to_owned()
    };
    let (run, folder) = (store.run_dir(id), folder.display());
    eprint_line(&format!("note: {}: {what}; the damaged files are now in {folder}", run.display()));
    Ok(())
}

/// Rejects runs whose result in the store and whose recorded one differ, unless a search pruned one of them and the other
/// contains it. Damaged results are ignored.
pub(crate) fn check_conflicts(store: &RunStore, records: &Records, hint: &str) -> anyhow::Result<()> {
    let mut conflicts = Vec::new();
    for record in records.iter() {
        let id = &record.result.run_id;
        let ours = match store.result(id) {
            Ok(Some(ours)) => ours,
            Err(error @ Error::Io { .. }) => return Err(error.into()),
            Ok(None) | Err(_) => continue,
        };
        if !ours.contains(&record.result) && !record.result.contains(&ours) {
            let folder = store.run_dir(id).display().to_string();
            conflicts.push(Conflict::new((&ours, folder), (&record.result, record.place())).to_string());
        }
    }
    anyhow::ensure!(
        conflicts.is_empty(),
        "{}\nkeep one of the two: remove the line or the run's folder (`{} verify` shows which one is reproducible){hint}",
        conflicts.join("\n"),
        program()
    );
    Ok(())
}

/// The digests of data sets, read from runs or plans, so that the data themselves are not needed.
#[derive(Default)]
pub(crate) struct Digests(Vec<(DataSpec, String)>);

impl Digests {
    /// Reads the digests. A record that this version cannot read has none.
    pub(crate) fn of(records: &Records) -> Self {
        let results = records.iter().map(|record| &*record.result);
        Self::collected(results.map(|result| (&*result.spec, result.provenance.dataset_digest.as_str())))
    }

    /// Reads the digests of the runs in a store. A damaged result has none.
    pub(crate) fn of_results(store: &RunStore) -> Self {
        let done = store.done().unwrap_or_else(|error| {
            eprint_line(&format!("note: {error}; the digests of its runs are not used for missing data"));
            Vec::new()
        });
        let results: Vec<_> = done.iter().filter_map(|id| store.result(id).ok().flatten()).collect();
        let results = results.iter();
        Self::collected(results.map(|result| (&*result.spec, result.provenance.dataset_digest.as_str())))
    }

    /// Takes the digests of a stored plan.
    pub(crate) fn planned(plan: &Plan) -> Self {
        Self::collected(plan.runs.iter().map(|run| (&*run.spec, run.dataset_digest.as_str())))
    }

    fn collected<'a>(all: impl Iterator<Item = (&'a serde_json::Value, &'a str)>) -> Self {
        let mut digests: Vec<(DataSpec, String)> = Vec::new();
        for (spec, digest) in all.filter(|(_, digest)| !digest.is_empty()) {
            let Some(Ok(data)) = spec.get("data").map(DataSpec::deserialize) else { continue };
            let collected = (content(&data), digest.to_owned());
            if !digests.contains(&collected) {
                digests.push(collected);
            }
        }
        Self(digests)
    }

    /// Returns the digest of a data set; `None` if none is known, or the sources disagree.
    pub(crate) fn get(&self, data: &DataSpec) -> Option<&str> {
        let wanted = content(data);
        let mut found = self.0.iter().filter(|(data, _)| *data == wanted).map(|(_, digest)| digest.as_str());
        found.next().filter(|_| found.next().is_none())
    }
}

/// The content of a data set, without the location of its files and the required digest: equal for runs with the same
/// identity.
fn content(data: &DataSpec) -> DataSpec {
    let mut data = DataSpec { pin_digest: None, ..data.clone() };
    if let Source::Cifar10(files) | Source::Imdb(files) = &mut data.source {
        files.folder = None;
    }
    data
}

/// Checks that `id` can be a prefix of a run id; the error refers to the experiment `file` for a list of ids.
pub(crate) fn check_id(id: &str, file: &str) -> anyhow::Result<()> {
    let digits = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    anyhow::ensure!(
        !id.is_empty() && id.len() <= 32 && digits,
        "--run {id:?} is not a run id: expected up to 32 hexadecimal digits in lower case; `{} plan {file}` lists the ids",
        program()
    );
    Ok(())
}

/// Returns the three ids with the smallest Hamming distance to `id`, or fewer.
pub(crate) fn nearest<'a>(id: &str, ids: &'a [RunId]) -> Vec<&'a str> {
    let mut all: Vec<(usize, &str)> = ids
        .iter()
        .map(RunId::as_str)
        .map(|other| (id.bytes().zip(other.bytes()).filter(|(a, b)| a != b).count(), other))
        .collect();
    all.sort_unstable();
    all.into_iter().take(3).map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_ids_come_first() {
        let ids: Vec<RunId> = ["0a", "1b", "1c", "2d"]
            .map(|digits| RunId::try_from(format!("{digits}{}", "0".repeat(30))).unwrap())
            .into();
        let near: Vec<&str> = nearest("1d", &ids).into_iter().map(|id| &id[..2]).collect();
        assert_eq!(near, ["1b", "1c", "2d"]);
        assert!(nearest("1d", &[]).is_empty());
    }
}
