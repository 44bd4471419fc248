//! Removes files that no experiment refers to any more.
//!
//! An experiment refers to the runs of its plans: the last complete plan and every later partial plan (`--filter`,
//! `--seeds`, `--set`).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lrlab_runs::{
    KeptFor, Plan, PlannedRun, RunId, RunStore, has_penultimate, kept_penultimate, lock_folder, write_atomic,
};

use crate::attempt::{in_use, newest};
use crate::clock::Clock;
use crate::stale::{is_stale, stale_files};
use crate::{Acquired, Attempt, Error, ReadSpec, beginnings, read_json, read_undamaged, slurm, to_json};

/// The kind of garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The folder of a run.
    Run,
    /// A frozen runner.
    Binary,
    /// Remains of an interrupted collection.
    Leftover,
    /// A temporary file of a killed process.
    Temporary,
    /// The state of a finished run that no unfinished run of an experiment continues.
    State,
}

/// Selects the states of finished runs that are removed.
#[derive(Clone, Copy)]
pub struct States<'a> {
    /// Reads the specifications of runs, to find those that continue another.
    pub read: &'a ReadSpec<'a>,
    /// Whether states that are kept for runs which are not planned yet (`--keep all`) are removed too.
    pub all: bool,
}

/// A file or folder that no experiment refers to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Garbage {
    /// Its path.
    pub path: PathBuf,
    /// Its kind.
    pub kind: Kind,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it is a run with a result.
    pub done: bool,
}

const NAMED: &str = "named.json";
/// The prefix of folders that are being removed.
const REMOVING: &str = ".gc-";

/// Adds the runs of `plan` to those that its experiment refers to, or replaces them if `only` is set. A damaged list
/// is set aside.
pub(crate) fn add_referenced(store: &RunStore, plan: &Plan, only: bool) -> Result<(), Error> {
    let path = list(store, &plan.experiment);
    // Two calls at the same time add their runs one after the other, on file systems with locks.
    let _lock = lock_folder(&store.experiment_dir(&plan.experiment))?;
    let before = match read_json::<BTreeSet<RunId>>(&path) {
        Err(Error::Json { source, .. }) => {
            let aside = path.with_extension("json.damaged");
            std::fs::rename(&path, &aside).map_err(|e| Error::io(&path, e))?;
            tracing::warn!(
                "{}: damaged ({source}), moved to {}; {IF_DAMAGED}",
                path.display(),
                aside.display()
            );
            Some(unreferenced_by_others(store, &plan.experiment)?)
        }
        read => read?,
    };
    let before = before.unwrap_or_default();
    let mut named: BTreeSet<RunId> = plan.runs.iter().map(|run| run.run_id.clone()).collect();
    if !only {
        named.extend(before.iter().cloned());
    }
    if named != before || !path.is_file() {
        write_atomic(&path, &to_json(&path, &named)?)?;
    }
    Ok(())
}

fn list(store: &RunStore, experiment: &str) -> PathBuf {
    store.experiment_dir(experiment).join(NAMED)
}

/// How a damaged list is handled, so that nothing is removed because of the damage.
const IF_DAMAGED: &str =
    "every run that no other experiment refers to is kept until a `run` of the whole experiment";

/// Returns the runs that an experiment refers to. A damaged list is reported; see [`IF_DAMAGED`].
fn listed(store: &RunStore, experiment: &str) -> Result<BTreeSet<RunId>, Error> {
    match read_json(&list(store, experiment)) {
        Err(Error::Json { path, source }) => {
            tracing::warn!("{}: damaged ({source}); {IF_DAMAGED}", path.display());
            unreferenced_by_others(store, experiment)
        }
        read => Ok(read?.unwrap_or_default()),
    }
}

/// Returns the runs in the store that no other experiment refers to.
fn unreferenced_by_others(store: &RunStore, experiment: &str) -> Result<BTreeSet<RunId>, Error> {
    let mut ids: BTreeSet<RunId> = ids(store)?.collect();
    for other in
        folders(store.root())?.iter().filter_map(|path| name(path)).filter(|other| other != experiment)
    {
        // The call that needs a damaged plan reports it.
        let planned = store.plan(&other).ok().flatten().map(|plan| plan.runs).unwrap_or_default();
        let listed: Option<Vec<RunId>> = read_json(&list(store, &other)).ok().flatten();
        for id in planned.into_iter().map(|run| run.run_id).chain(listed.into_iter().flatten()) {
            ids.remove(&id);
        }
    }
    Ok(ids)
}

/// Returns the ids of the runs that have a folder in the store.
fn ids(store: &RunStore) -> Result<impl Iterator<Item = RunId>, Error> {
    Ok(folders(&store.runs_dir())?.into_iter().filter_map(|path| RunId::try_from(name(&path)?).ok()))
}

/// Returns the name of a file or folder; `None` if it is not UTF-8.
fn name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

/// Returns the runs that the experiment of `plan` refers to besides those of the plan. A call for a part of an
/// experiment writes the plan of that part.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn other_runs(store: &RunStore, plan: &Plan) -> Result<Vec<RunId>, Error> {
    let mut named = listed(store, &plan.experiment)?;
    for run in &plan.runs {
        named.remove(&run.run_id);
    }
    Ok(named.into_iter().collect())
}

/// Returns the plans of the experiments in the store. `only` stands for its experiment, which need not have a plan there:
/// its runs may have been imported.
fn plans(store: &RunStore, only: Option<&Plan>) -> Result<Vec<Plan>, Error> {
    let mut plans: Vec<Plan> = only.cloned().into_iter().collect();
    for folder in folders(store.root())? {
        let Some(name) = folder.file_name().and_then(|name| name.to_str()) else { continue };
        if only.is_none_or(|only| only.experiment != name) {
            plans.extend(store.plan(name)?);
        }
    }
    Ok(plans)
}

/// Returns the runs that experiments refer to, and the experiments. The experiment of `only` refers to the runs of that
/// plan alone.
fn referenced(store: &RunStore, only: Option<&Plan>) -> Result<(BTreeSet<RunId>, Vec<String>), Error> {
    let (mut named, mut experiments) = (BTreeSet::new(), Vec::new());
    for plan in plans(store, only)? {
        named.extend(plan.runs.into_iter().map(|run| run.run_id));
        if only.is_none_or(|only| only.experiment != plan.experiment) {
            named.extend(listed(store, &plan.experiment)?);
        }
        experiments.push(plan.experiment);
    }
    Ok((named, experiments))
}

/// Returns the finished runs of the store whose states unfinished runs of an experiment continue. The experiment of `only`
/// refers to the runs of that plan alone. If the specification of an unfinished run is damaged, which is reported, it may
/// continue any finished run.
fn continued(store: &RunStore, only: Option<&Plan>, read: &ReadSpec<'_>) -> Result<BTreeSet<RunId>, Error> {
    let mut continued = BTreeSet::new();
    if !folders(&store.runs_dir())?.iter().any(|run_dir| has_penultimate(run_dir)) {
        return Ok(continued);
    }
    for mut plan in plans(store, only)? {
        if only.is_none_or(|only| only.experiment != plan.experiment) {
            let planned: BTreeSet<RunId> = plan.runs.iter().map(|run| run.run_id.clone()).collect();
            let mut others = listed(store, &plan.experiment)?;
            others.extend(slurm::submission_status(store, &plan.experiment)?.covered);
            for id in others.difference(&planned) {
                let path = store.run_dir(id).join("spec.json");
                let run = read_undamaged::<PlannedRun>(&path)?;
                if run.is_none() && path.is_file() && !store.is_finished(id) {
                    tracing::warn!(
                        "{}: damaged; every kept state is left, because this run may continue any of them, until a `run` \
                         of {} writes the file again",
                        path.display(),
                        plan.experiment
                    );
                    return Ok(ids(store)?.collect());
                }
                plan.runs.extend(run);
            }
        }
        // The trials of a search start from scratch.
        if plan.search.is_none() {
            let finished = beginnings(store, &plan.runs, read)?.into_iter().flatten();
            continued.extend(finished.filter(|run| run.waits_for.is_none()).map(|run| run.run_id));
        }
    }
    Ok(continued)
}

/// Returns the files that no experiment refers to: runs without an owner, frozen runners without jobs or processes, files
/// that killed processes left behind, and states of finished runs. The experiment of `only` refers to the runs of that plan
/// alone. Removes nothing.
///
/// # Errors
/// Returns an error if a file cannot be read, and [`Error::Unreachable`] if there are jobs and Slurm cannot be reached.
pub fn garbage(store: &RunStore, only: Option<&Plan>, states: States<'_>) -> Result<Vec<Garbage>, Error> {
    let (mut named, experiments) = referenced(store, only)?;
    let mut builds = BTreeSet::new();
    for experiment in &experiments {
        let status = slurm::submission_status(store, experiment)?;
        named.extend(status.covered);
        named.extend(status.planned);
        if status.unknown || !status.queued.is_empty() {
            let submissions = slurm::submissions(store, experiment)?;
            builds.extend(
                submissions.iter().filter_map(|(_, submission)| build_of(&submission.settings.program)),
            );
        }
    }
    let clock = Clock::of(store.root());
    let continued = continued(store, only, states.read)?;
    let mut garbage = Vec::new();
    for path in folders(&store.runs_dir())? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let (kind, done) = match RunId::try_from(name.to_owned()) {
            Ok(id) if named.contains(&id) => {
                let unneeded = store.is_finished(&id) && !continued.contains(&id);
                let kept = kept_penultimate(&path).filter(|(_, kept)| states.all || *kept == KeptFor::Plan);
                if let Some((state, _)) = kept.filter(|_| unneeded)
                    && !in_use(&path)?
                {
                    let bytes = size(&state)?;
                    garbage.push(Garbage { bytes, path: state, kind: Kind::State, done: true });
                }
                continue;
            }
            Ok(_) if in_use(&path)? => continue,
            Ok(id) => (Kind::Run, store.is_done(&id)),
            Err(_) if name.starts_with(REMOVING) => (Kind::Leftover, false),
            Err(_) => continue,
        };
        garbage.push(Garbage { bytes: size(&path)?, path, kind, done });
    }
    for path in folders(&store.bin_dir())? {
        // A new copy is referenced only after its jobs are recorded.
        let needed = path.file_name().is_some_and(|build| builds.contains(build));
        if !needed && is_stale(&path, clock) && !runs_here(&path) {
            garbage.push(Garbage { bytes: size(&path)?, path, kind: Kind::Binary, done: false });
        }
    }
    for path in stale_files(store, clock)? {
        if !garbage.iter().any(|item| path.starts_with(&item.path)) {
            garbage.push(Garbage { bytes: size(&path)?, path, kind: Kind::Temporary, done: false });
        }
    }
    Ok(garbage)
}

/// Returns the build of a frozen runner from the name of its folder, because the store may have had another path when its
/// jobs were submitted.
fn build_of(program: &Path) -> Option<OsString> {
    Some(program.parent()?.file_name()?.to_owned())
}

/// Returns whether a process of this machine, such as an emitted command, runs a program in `folder`.
fn runs_here(folder: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut programs = processes.filter_map(|process| std::fs::read_link(process.path().join("exe")).ok());
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    programs.any(|program| program.starts_with(&folder))
}

/// Removes `garbage`, except items that are needed again. Returns the number of removed items.
///
/// # Errors
/// Returns an error if a file cannot be read or removed.
pub fn collect(store: &RunStore, garbage: &[Garbage], states: States<'_>) -> Result<usize, Error> {
    let mut removed = 0;
    let continued = continued(store, None, states.read)?;
    for item in garbage {
        let target = match item.kind {
            Kind::Run => retire(store, &item.path)?,
            Kind::Leftover => Some(item.path.clone()),
            Kind::State => is_unneeded(&item.path, &continued)?.then(|| item.path.clone()),
            Kind::Binary | Kind::Temporary => {
                is_stale(&item.path, Clock::of(store.root())).then(|| item.path.clone())
            }
        };
        if let Some(path) = target {
            let result =
                if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            result.map_err(|e| Error::io(&path, e))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Returns whether the state at `path` belongs to none of the runs that others continue.
fn is_unneeded(path: &Path, continued: &BTreeSet<RunId>) -> Result<bool, Error> {
    let Some(run_dir) = path.parent() else { return Ok(false) };
    let name = run_dir.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    Ok(path.is_dir() && !continued.contains(&RunId::try_from(name)?) && !in_use(run_dir)?)
}

/// Claims a run so that no process starts it, checks again that no experiment refers to it, and renames its folder.
fn retire(store: &RunStore, path: &Path) -> Result<Option<PathBuf>, Error> {
    if in_use(path)? {
        return Ok(None);
    }
    let next = newest(path)?.map_or(1, |newest| newest.number + 1);
    let Acquired::Attempt(claim) = Attempt::claim(path, next)? else { return Ok(None) };
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let id = RunId::try_from(name.clone())?;
    if referenced(store, None)?.0.contains(&id) {
        return Ok(None);
    }
    let target = path.with_file_name(format!("{REMOVING}{name}"));
    std::fs::rename(path, &target).map_err(|e| Error::io(path, e))?;
    claim.discard();
    Ok(Some(target))
}

/// Returns the folders in `folder`, sorted; none if it does not exist.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(folder, e)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn size(path: &Path) -> Result<u64, Error> {
    let meta = std::fs::symlink_metadata(path).map_err(|e| Error::io(path, e))?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(path).map_err(|e| Error::io(path, e))? {
        bytes += size(&entry.map_err(|e| Error::io(path, e))?.path())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
