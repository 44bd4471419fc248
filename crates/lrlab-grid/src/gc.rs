//! Removes files that no experiment refers to any more.
//!
//! An experiment refers to the runs of its plans: the last complete plan and every later partial plan (`--filter`,
//! `--seeds`, `--set`).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lrlab_runs::{Plan, RunId, RunStore, write_atomic};

use crate::attempt::{in_use, newest};
use crate::clock::Clock;
use crate::stale::{is_stale, stale_files};
use crate::{Acquired, Attempt, Error, read_json, slurm, to_json};

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
    let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
    let ids = folders(&store.runs_dir())?.into_iter().filter_map(name);
    let mut ids: BTreeSet<RunId> = ids.filter_map(|id| RunId::try_from(id).ok()).collect();
    for other in folders(store.root())?.into_iter().filter_map(name).filter(|other| other != experiment) {
        // The call that needs a damaged plan reports it.
        let planned = store.plan(&other).ok().flatten().map(|plan| plan.runs).unwrap_or_default();
        let listed: Option<Vec<RunId>> = read_json(&list(store, &other)).ok().flatten();
        for id in planned.into_iter().map(|run| run.run_id).chain(listed.into_iter().flatten()) {
            ids.remove(&id);
        }
    }
    Ok(ids)
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

/// Returns the runs that experiments refer to, and the experiments. The experiment of `only` refers to the runs of that
/// plan alone.
fn referenced(store: &RunStore, only: Option<&Plan>) -> Result<(BTreeSet<RunId>, Vec<String>), Error> {
    let (mut named, mut experiments) = (BTreeSet::new(), Vec::new());
    for folder in folders(store.root())? {
        let Some(name) = folder.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(plan) = store.plan(name)? else { continue };
        if let Some(only) = only.filter(|only| only.experiment == name) {
            named.extend(only.runs.iter().map(|run| run.run_id.clone()));
        } else {
            named.extend(plan.runs.into_iter().map(|run| run.run_id));
            named.extend(listed(store, name)?);
        }
        experiments.push(name.to_owned());
    }
    Ok((named, experiments))
}

/// Returns the files that no experiment refers to: runs without an owner, frozen runners without jobs or processes, and
/// files that killed processes left behind. The experiment of `only` refers to the runs of that plan alone. Removes
/// nothing.
///
/// # Errors
/// Returns an error if a file cannot be read, and [`Error::Unreachable`] if there are jobs and Slurm cannot be reached.
pub fn garbage(store: &RunStore, only: Option<&Plan>) -> Result<Vec<Garbage>, Error> {
    let (mut named, experiments) = referenced(store, only)?;
    let mut builds = BTreeSet::new();
    for experiment in &experiments {
        let status = slurm::submission_status(store, experiment)?;
        named.extend(status.covered);
        if !status.queued.is_empty() {
            let submissions = slurm::submissions(store, experiment)?;
            builds.extend(
                submissions.iter().filter_map(|(_, submission)| build_of(&submission.settings.program)),
            );
        }
    }
    let clock = Clock::of(store.root());
    let mut garbage = Vec::new();
    for path in folders(&store.runs_dir())? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let (kind, done) = match RunId::try_from(name.to_owned()) {
            Ok(id) if named.contains(&id) || in_use(&path)? => continue,
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
pub fn collect(store: &RunStore, garbage: &[Garbage]) -> Result<usize, Error> {
    let mut removed = 0;
    for item in garbage {
        let target = match item.kind {
            Kind::Run => retire(store, &item.path)?,
            Kind::Leftover => Some(item.path.clone()),
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
mod tests {
    use lrlab_runs::PlannedRun;

    use super::*;

    fn plan(experiment: &str, runs: &[&RunId]) -> Plan {
        let run = |id: &&RunId| PlannedRun {
            run_id: (*id).clone(),
            cell: [].into(),
            spec: serde_json::json!({}),
            dataset_digest: String::new(),
        };
        Plan {
            experiment: experiment.to_owned(),
            description: String::new(),
            runs: runs.iter().map(run).collect(),
            ..Plan::default()
        }
    }

    fn age(path: &Path) {
        let before = std::time::SystemTime::now() - crate::stale::STALE_AFTER * 2;
        std::fs::File::open(path).unwrap().set_modified(before).unwrap();
    }

    #[test]
    fn stale_temporary_files_of_unowned_runs_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::new(folder.path());
        let ids: Vec<RunId> = (0..3).map(|n| RunId::of(&n.to_string(), "")).collect();
        let plan = plan("e", &ids.iter().collect::<Vec<_>>());
        store.write_plan(&plan).unwrap();
        // 0 is done, after an attempt that was killed; 1 is being worked on; 2 was left by a process that died.
        let claimed = |id, number| match Attempt::claim(&store.run_dir(id), number).unwrap() {
            Acquired::Attempt(attempt) => attempt,
            Acquired::Taken => unreachable!(),
        };
        claimed(&ids[0], 1).end(crate::Ending::Done).unwrap();
        claimed(&ids[2], 1).end(crate::Ending::Interrupted).unwrap();
        let held = claimed(&ids[1], 1);
        std::fs::write(store.run_dir(&ids[0]).join("result.json"), "{}").unwrap();
        let mut stale = Vec::new();
        let mut leave = |path: PathBuf, old: bool| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "12").unwrap();
            if old {
                age(&path);
                stale.push(path);
            }
        };
        let run = |n: usize, name: &str| store.run_dir(&ids[n]).join(name);
        leave(run(0, "attempts/1/best.safetensors"), true);
        leave(run(0, "attempts/1/epoch-0003.safetensors"), true);
        leave(run(2, "attempts/1/.progress.tmp"), true);
        leave(folder.path().join("bin/0123/.lrlab.7.tmp"), true);
        leave(folder.path().join("e/report/.abc.tmp"), true);
        // Recent, in use, or complete.
        leave(run(2, ".spec.7.tmp"), false);
        leave(run(2, "attempts/1/best.safetensors"), false);
        leave(run(1, "attempts/1/.progress.tmp"), false);
        age(&run(1, "attempts/1/.progress.tmp"));
        age(&run(2, "attempts/1/best.safetensors"));
        // A checkpoint is a folder; one of its files was written a moment ago.
        for (name, old) in [(".a.tmp", true), (".b.tmp", false)] {
            let checkpoint = run(2, "attempts/1/checkpoints").join(name);
            leave(checkpoint.join("state.json"), false);
            if old {
                age(&checkpoint.join("state.json"));
            }
            age(&checkpoint);
        }
        stale.push(run(2, "attempts/1/checkpoints/.a.tmp"));
        stale.sort();

        let found = garbage(&store, None).unwrap();
        let mut paths: Vec<_> = found.iter().map(|item| item.path.clone()).collect();
        paths.sort();
        assert_eq!(paths, stale);
        assert!(found.iter().all(|item| item.kind == Kind::Temporary && item.bytes >= 2));
        // A file that is modified between listing and removal is kept.
        std::fs::write(run(0, "attempts/1/best.safetensors"), "3").unwrap();
        assert_eq!(collect(&store, &found).unwrap(), stale.len() - 1);
        assert_eq!(garbage(&store, None).unwrap(), []);
        drop(held);
        assert_eq!(garbage(&store, None).unwrap().len(), 1, "the run no longer has an owner");
    }

    #[test]
    fn only_unreferenced_and_unused_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::new(folder.path());
        let ids: Vec<RunId> = (0..6).map(|n| RunId::of(&n.to_string(), "")).collect();
        for id in &ids {
            std::fs::create_dir_all(store.run_dir(id)).unwrap();
            std::fs::write(store.run_dir(id).join("result.json"), "{}").unwrap();
        }
        // The complete plan was 0 and 1, then a partial plan added 2, then a partial plan is 0 alone; 3 belongs to
        // another experiment; 4 has an owner; 5 is garbage.
        for (runs, only) in [(&[&ids[0], &ids[1]][..], true), (&[&ids[2]], false), (&[&ids[0]], false)] {
            let plan = plan("e", runs);
            store.write_plan(&plan).unwrap();
            add_referenced(&store, &plan, only).unwrap();
        }
        store.write_plan(&plan("f", &[&ids[3]])).unwrap();
        let Acquired::Attempt(held) = Attempt::claim(&store.run_dir(&ids[4]), 1).unwrap() else {
            unreachable!()
        };
        std::fs::create_dir_all(folder.path().join("bin/0123")).unwrap();
        // The runner may just have been copied.
        assert_eq!(garbage(&store, None).unwrap().len(), 1);
        age(&folder.path().join("bin/0123"));

        let found = garbage(&store, None).unwrap();
        let paths: Vec<_> = found.iter().map(|item| item.path.clone()).collect();
        assert_eq!(paths, [store.run_dir(&ids[5]), folder.path().join("bin/0123")]);
        assert!(found[0].done && found[0].bytes == 2);

        // A run that is referenced between listing and removal is kept.
        store.write_plan(&plan("g", &[&ids[5]])).unwrap();
        assert_eq!(collect(&store, &found).unwrap(), 1);
        assert!(store.is_done(&ids[5]));
        std::fs::remove_dir_all(folder.path().join("g")).unwrap();
        assert_eq!(collect(&store, &garbage(&store, None).unwrap()).unwrap(), 1);
        assert!(!store.run_dir(&ids[5]).exists());
        drop(held);
        // The whole experiment is 0 now.
        add_referenced(&store, &plan("e", &[&ids[0]]), true).unwrap();
        assert_eq!(collect(&store, &garbage(&store, None).unwrap()).unwrap(), 3);
        let left = folders(&folder.path().join("store")).unwrap();
        assert_eq!(left.len(), 2);
    }
}
