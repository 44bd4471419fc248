//! Resolves cells to a plan: the identity of every run is derived before the first run starts.

use std::collections::BTreeMap;
use std::sync::Arc;

use lrlab_runs::{Cell, Plan, PlannedRun, RunId, RunStore};
use lrlab_spec::{DataSpec, RunSpec, run_id};

use crate::replace::replace;
use crate::{Error, gc, to_json};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Creates the plan of an experiment: its cells with their identities, in the given order. Writes nothing.
///
/// `digest` returns the content digest of a data set and is called once per distinct [`DataSpec`]. `known` returns the
/// specification of a run that is in memory, for example in a record, which the plan then shares. The caller fills in the
/// description and the claims of the experiment.
///
/// # Errors
/// Returns an error if data sets cannot be identified (the error lists all of them), a specification cannot be serialised,
/// or two cells are the same run.
pub fn resolve(
    experiment: &str,
    cells: impl IntoIterator<Item = (Cell, RunSpec)>,
    mut digest: impl FnMut(&DataSpec) -> Result<String, BoxError>,
    known: impl Fn(&RunId) -> Option<Arc<serde_json::Value>>,
) -> Result<Plan, Error> {
    let mut digests: Vec<(DataSpec, Option<String>)> = Vec::new();
    let mut unknown: Vec<(String, BoxError)> = Vec::new();
    let mut seen: BTreeMap<RunId, usize> = BTreeMap::new();
    let mut runs: Vec<PlannedRun> = Vec::new();
    for (cell, spec) in cells {
        let at = digests.iter().position(|(data, _)| *data == spec.data).unwrap_or_else(|| {
            let found = digest(&spec.data).map_err(|error| unknown.push((describe_cell(&cell), error))).ok();
            digests.push((spec.data.clone(), found));
            digests.len() - 1
        });
        let Some(dataset_digest) = digests[at].1.clone() else { continue };
        let run_id = run_id(&spec, &dataset_digest)
            .map_err(|source| Error::Identity { cell: describe_cell(&cell), source })?;
        if let Some(first) = seen.insert(run_id.clone(), runs.len()) {
            return Err(Error::Duplicate {
                id: run_id,
                first: describe_cell(&runs[first].cell),
                second: describe_cell(&cell),
            });
        }
        let spec = serde_json::to_value(&spec)
            .map_err(|source| Error::Spec { cell: describe_cell(&cell), source })?;
        let spec = known(&run_id).filter(|known| **known == spec).unwrap_or_else(|| spec.into());
        runs.push(PlannedRun { run_id, cell, spec, dataset_digest });
    }
    // The same data set with another limit fails for the same reason, which is reported once.
    let mut reported: Vec<String> = Vec::new();
    unknown.retain(|(_, error)| {
        let new = !reported.contains(&error.to_string());
        reported.push(error.to_string());
        new
    });
    if !unknown.is_empty() {
        return Err(Error::Data(unknown));
    }
    Ok(Plan { experiment: experiment.to_owned(), description: String::new(), runs, ..Plan::default() })
}

/// Writes `plan.json`, and `spec.json` of every run that is not done. From then on the experiment refers to these runs
/// in addition to earlier ones.
///
/// A `spec.json` that is up to date is not written.
///
/// # Errors
/// Returns an error if writing fails.
pub fn record(store: &RunStore, plan: &Plan) -> Result<(), Error> {
    store.write_plan(plan)?;
    record_runs(store, plan)
}

/// Like [`record`], but keeps the stored plan of the experiment, of which `plan` is a part.
///
/// # Errors
/// Returns an error if writing fails.
pub fn record_runs(store: &RunStore, plan: &Plan) -> Result<(), Error> {
    gc::add_referenced(store, plan, false)?;
    plan.runs.iter().filter(|run| !store.is_finished(&run.run_id)).try_for_each(|run| write_spec(store, run))
}

/// Makes the runs of the whole experiment the only ones it refers to; others become garbage. Call it after
/// [`record`].
///
/// # Errors
/// Returns an error if writing fails.
pub fn set_referenced(store: &RunStore, plan: &Plan) -> Result<(), Error> {
    gc::add_referenced(store, plan, true)
}

/// Formats a cell as text: `model=resnet schedule=cosine seed=0`.
pub(crate) fn describe_cell(cell: &Cell) -> String {
    let word = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    cell.iter().map(|(key, value)| format!("{key}={}", word(value))).collect::<Vec<_>>().join(" ")
}

/// Writes `spec.json`. It can be derived from the plan, so it is renamed into place but not synced, which keeps planning of
/// ten thousand runs within a second.
pub(crate) fn write_spec(store: &RunStore, run: &PlannedRun) -> Result<(), Error> {
    let folder = store.run_dir(&run.run_id);
    let path = folder.join("spec.json");
    let bytes = to_json(&path, run)?;
    if std::fs::read(&path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    replace(&path, |temporary| std::fs::write(temporary, &bytes)).map_err(|e| Error::io(&path, e))
}
