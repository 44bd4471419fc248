//! Stored plans, and how they differ from the file or the selection of a call.

use std::collections::BTreeSet;
use std::path::Path;

use lrlab_runs::{Call, Plan, RunStore};
use lrlab_spec::{Catalog, Registered, RunSpec};
use serde::Deserialize;
use serde_json::Value as Json;

use super::experiment_file::{experiment_name, read_text};
use crate::Registry;
use crate::program::program;
use crate::progress::counted;

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
    complete(&mut catalog, plan.runs.iter().map(|run| &*run.spec));
    let Ok(experiment) = lrlab_spec::read(&text, &file.to_string(), &call.set, &catalog) else {
        return Some(format!(
            "{file} has errors that it did not have when it was planned: `{} plan {file}` shows them",
            program()
        ));
    };
    let id = |spec: &RunSpec| lrlab_spec::run_id(spec, "").ok();
    let specs = plan.runs.iter().filter_map(|run| RunSpec::deserialize(&*run.spec).ok());
    let planned: BTreeSet<_> = specs.filter_map(|spec| id(&spec)).collect();
    let now: BTreeSet<_> = experiment.each_cell(&[], None).ok()?.filter_map(|(_, spec)| id(&spec)).collect();
    let (gone, new) = (planned.difference(&now).count(), now.difference(&planned).count());
    match (gone, new) {
        (0, 0) => None,
        // The call that made the plan left them out.
        (0, _) if plan.part.is_some() => None,
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

/// Returns the plan that the store contains of an experiment file, if any.
pub(crate) fn stored_plan(experiment: &Path, store: &RunStore) -> anyhow::Result<Option<Plan>> {
    Ok(store.plan(&experiment_name(experiment)?)?)
}

/// Adds the custom parts of trained runs that the catalog lacks. A function of time is only a name: no rate can be computed
/// with it.
pub(super) fn complete<'a>(catalog: &mut Catalog, specs: impl Iterator<Item = &'a Json>) {
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
