//! Finds the runs of a grid that continue shorter ones.

use std::collections::{BTreeMap, HashMap};

use lrlab_runs::{PlannedRun, RunId, RunStore, has_penultimate};
use lrlab_spec::RunSpec;

use crate::{Error, read_undamaged};

/// The assumed number of batches per epoch for a data set of unknown size. The worker repeats the check with the data.
const ASSUMED_BATCHES: usize = 97;

/// The shorter run that a run continues: see [`RunSpec::continues`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// The shorter run.
    pub run_id: RunId,
    /// Its epochs, which need not be repeated.
    pub epochs: u64,
    /// The index of the shorter run if it is not finished.
    pub waits_for: Option<usize>,
}

/// A run that others may continue.
struct Candidate {
    run_id: RunId,
    spec: RunSpec,
    waits_for: Option<usize>,
}

/// Returns the specification of a run, with the registered functions that its schedules refer to; `None` if it is invalid or a
/// function is not registered, so that the run continues no other.
pub type ReadSpec<'a> = dyn Fn(&PlannedRun) -> Option<RunSpec> + 'a;

/// Returns for each run the longest one that it continues: one of `runs` that is still to be done, or a finished one of the
/// store whose state is kept. Finished runs do not continue another run.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn beginnings(
    store: &RunStore,
    runs: &[PlannedRun],
    read: &ReadSpec<'_>,
) -> Result<Vec<Option<Beginning>>, Error> {
    let mut groups: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
    let mut keys: Vec<Option<String>> = vec![None; runs.len()];
    for (index, run) in runs.iter().enumerate() {
        if store.is_finished(&run.run_id) {
            continue;
        }
        let Some(spec) = read(run) else { continue };
        let key = shared_settings(run);
        keys[index] = Some(key.clone());
        let candidate = Candidate { run_id: run.run_id.clone(), spec, waits_for: Some(index) };
        groups.entry(key).or_default().push(candidate);
    }
    for run in with_penultimate(store)? {
        let Some(group) = groups.get_mut(&shared_settings(&run)) else { continue };
        let Some(spec) = read(&run) else { continue };
        if group.iter().all(|candidate| candidate.run_id != run.run_id) {
            group.push(Candidate { run_id: run.run_id, spec, waits_for: None });
        }
    }
    for group in groups.values_mut() {
        // A finished run precedes an unfinished one of the same length.
        group.sort_by_key(|candidate| {
            (std::cmp::Reverse(candidate.spec.epochs), candidate.waits_for.is_some())
        });
    }
    let mut compared = HashMap::new();
    let mut find = |index: usize, key: &String| {
        let group = groups.get(key)?;
        let longer = group.iter().find(|candidate| candidate.waits_for == Some(index))?;
        let shorter =
            group.iter().find(|candidate| continues(&longer.spec, &candidate.spec, &mut compared))?;
        let Candidate { run_id, spec, waits_for } = shorter;
        Some(Beginning { run_id: run_id.clone(), epochs: spec.epochs, waits_for: *waits_for })
    };
    Ok(keys.iter().enumerate().map(|(index, key)| key.as_ref().and_then(|key| find(index, key))).collect())
}

/// Like [`RunSpec::continues`]. The rates of runs that differ only in the seed are compared once.
fn continues(longer: &RunSpec, shorter: &RunSpec, compared: &mut HashMap<String, bool>) -> bool {
    if shorter.epochs >= longer.epochs {
        return false;
    }
    let seedless =
        |spec: &RunSpec| serde_json::to_string(&RunSpec { seed: 0, ..spec.clone() }).unwrap_or_default();
    let key = format!("{}\n{}", seedless(longer), seedless(shorter));
    // All runs of a group have the same seed.
    *compared.entry(key).or_insert_with(|| {
        let assumed = ASSUMED_BATCHES * longer.batch_size * longer.accumulate;
        longer.continues(shorter, longer.data.training_examples().unwrap_or(assumed))
    })
}

/// Returns a text of the settings that a run shares with runs that continue it.
fn shared_settings(run: &PlannedRun) -> String {
    let mut spec = (*run.spec).clone();
    if let Some(keys) = spec.as_object_mut() {
        keys.retain(|key, _| key != "epochs" && key != "schedule");
    }
    format!("{} {spec}", run.dataset_digest)
}

/// Returns the finished runs of the store whose penultimate state is kept. A run whose specification is damaged is reported
/// and left out: a longer run does without it.
fn with_penultimate(store: &RunStore) -> Result<Vec<PlannedRun>, Error> {
    let folder = store.runs_dir();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(&folder, e)),
    };
    let folders = entries.flatten().map(|entry| entry.path()).filter(|folder| has_penultimate(folder));
    let mut runs: Vec<PlannedRun> = Vec::new();
    for path in folders.map(|folder| folder.join("spec.json")) {
        let run = read_undamaged(&path)?;
        if run.is_none() && path.is_file() {
            tracing::warn!("{}: damaged; no longer run continues the state of this run", path.display());
        }
        runs.extend(run);
    }
    runs.retain(|run| store.is_finished(&run.run_id));
    runs.sort_by(|a, b| a.run_id.cmp(&b.run_id));
    Ok(runs)
}
