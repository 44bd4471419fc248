//! Submits the runs that no job covers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lrlab_runs::{Plan, PlannedRun, RunId, RunStore};
use lrlab_spec::SlurmClass;

use super::client::{cancel, sbatch, test};
use super::status::{self, Open, SubmissionStatus, SubmitMode, choose};
use super::submission::{Array, Member, PLAN, Settings, Submission, folder};
use super::{SlurmError, script};
use crate::attempt::newest;
use crate::{Acquired, Attempt, ClaimMonitor, ClaimState, Ending, Error, Liveness, baseline, to_json};

/// The outcome of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct SubmitOutcome {
    /// The submission, if anything was missing.
    pub submitted: Option<(PathBuf, Submission)>,
    /// The status before.
    pub before: SubmissionStatus,
}

/// Submits the missing runs of `plan` that no queued job covers.
///
/// Creates one array per class of the profile, with as many tasks as runs up to the limit of the profile, and a job that
/// writes the report after them. If Slurm rejects a script, the jobs submitted before it are cancelled.
///
/// In a search, the number of due trials determines the number of tasks; these continue with the trials that follow.
///
/// # Errors
/// Returns an error if a file cannot be written, Slurm cannot be reached ([`Error::Unreachable`]), or Slurm rejects a
/// script.
pub fn submit(
    store: &RunStore,
    plan: &Plan,
    settings: &Settings,
    mode: SubmitMode,
) -> Result<SubmitOutcome, Error> {
    script::check_path(&settings.out)?;
    let (before, open) = status::open(store, plan, mode)?;
    if open.due.is_empty() {
        return Ok(SubmitOutcome { submitted: None, before });
    }
    let lease = lease(&folder(store, &plan.experiment))?;
    // Another call may have submitted these runs while this one waited.
    let (before, open) = status::open(store, plan, mode)?;
    if open.due.is_empty() {
        lease.end(Ending::Done)?;
        return Ok(SubmitOutcome { submitted: None, before });
    }
    let folder = lease.folder().to_path_buf();
    let mut submission = compose(store, plan, &open, settings, lease.number())?;
    let scripts = write(&submission, &folder)?;
    let path = folder.join(PLAN);
    lrlab_runs::write_atomic(&path, &to_json(&path, plan)?)?;
    // The submission is recorded first, because jobs without a recorded id are found by name.
    submission.write(&folder)?;
    if mode == SubmitMode::WriteOnly {
        lease.end(Ending::Done)?;
        return Ok(SubmitOutcome { submitted: Some((folder, submission)), before });
    }
    let sent = send(&mut submission, &scripts);
    submission.write(&folder)?;
    if let Err(source) = sent {
        // Jobs that exist, or may exist, remain recorded.
        if !matches!(source, SlurmError::NotCancelled { .. } | SlurmError::Uncertain { .. }) {
            Submission::remove(&folder)?;
        }
        lease.end(Ending::Done)?;
        return Err(Error::Slurm(source));
    }
    lease.end(Ending::Done)?;
    Ok(SubmitOutcome { submitted: Some((folder, submission)), before })
}

/// Returns the scripts that would be submitted, by name. Writes nothing and does not call Slurm.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn texts(store: &RunStore, plan: &Plan, settings: &Settings) -> Result<Vec<(String, String)>, Error> {
    script::check_path(&settings.out)?;
    let unfinished = |run: &PlannedRun| Ok(!store.is_finished(&run.run_id));
    let open = choose(store, plan, unfinished, |_| Ok(false))?;
    if open.due.is_empty() {
        return Ok(Vec::new());
    }
    let slurm = folder(store, &plan.experiment);
    let number = newest(&slurm)?.map_or(1, |newest| newest.number + 1);
    let submission = compose(store, plan, &open, settings, number)?;
    let folder = std::path::absolute(slurm.join("attempts").join(number.to_string()))
        .map_err(|e| Error::io(&slurm, e))?;
    Ok(all_scripts(&submission, &folder))
}

/// Serialises concurrent submissions: waits until this process may submit.
fn lease(folder: &Path) -> Result<Attempt, Error> {
    let mut monitor = ClaimMonitor::new(Duration::from_mins(1));
    loop {
        let newest = newest(folder)?;
        let next = newest.as_ref().map_or(1, |newest| newest.number + 1);
        let busy = newest.filter(|newest| newest.exit.is_none()).is_some_and(|newest| {
            match newest.owner.liveness() {
                Liveness::Alive => true,
                Liveness::Dead => false,
                Liveness::Unknown => {
                    let id = RunId::of("submission", "");
                    let sign = monitor.state(&id, newest.number, newest.touched, Instant::now());
                    matches!(sign, ClaimState::Fresh | ClaimState::Unconfirmed)
                }
            }
        });
        if !busy && let Acquired::Attempt(attempt) = Attempt::claim(folder, next)? {
            return Ok(attempt);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn compose(
    store: &RunStore,
    plan: &Plan,
    open: &Open<'_>,
    settings: &Settings,
    number: u32,
) -> Result<Submission, Error> {
    // The same experiment may be in several stores.
    let here = RunId::of(&settings.out.to_string_lossy(), "");
    let name = |what: &str| format!("lrlab-{}-{}-{number}-{what}", plan.experiment, &here.short()[..6]);
    let mut arrays = Vec::new();
    for class in &settings.profile.classes {
        let of_class = |run: &&&PlannedRun| is(settings.profile.class_of(&run.cell, &run.spec), class);
        let runs: Vec<&PlannedRun> = open.all.iter().filter(of_class).copied().collect();
        if runs.is_empty() {
            continue;
        }
        let at_once = open.due.iter().filter(of_class).count().max(1) as u32;
        let tasks = at_once.div_ceil(class.resources.runs_at_once).min(settings.profile.max_tasks);
        let members =
            runs.iter().map(|run| Ok(Member { run_id: run.run_id.clone(), since: baseline(store, run)? }));
        arrays.push(Array {
            class: class.name.clone(),
            resources: class.resources.clone(),
            name: name(&class.name),
            tasks,
            throttle: settings.profile.throttle.filter(|n| *n < tasks),
            job: None,
            runs: members.collect::<Result<_, Error>>()?,
        });
    }
    Ok(Submission {
        experiment: plan.experiment.clone(),
        settings: settings.clone(),
        arrays,
        report_name: name("report"),
        report_job: None,
    })
}

fn is(a: &SlurmClass, b: &SlurmClass) -> bool {
    a.name == b.name
}

const REPORT: &str = "report.sbatch";

fn all_scripts(submission: &Submission, folder: &Path) -> Vec<(String, String)> {
    let settings = &submission.settings;
    let mut texts: Vec<(String, String)> = submission
        .arrays
        .iter()
        .map(|array| (format!("{}.sbatch", array.class), script::array(array, settings, folder)))
        .collect();
    texts.push((REPORT.to_owned(), script::report(&submission.report_name, settings, folder)));
    texts
}

/// Writes the scripts and returns their paths.
fn write(submission: &Submission, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = std::path::absolute(folder).map_err(|e| Error::io(folder, e))?;
    let log = folder.join("log");
    std::fs::create_dir_all(&log).map_err(|e| Error::io(&log, e))?;
    let mut paths = Vec::new();
    for (name, text) in all_scripts(submission, &folder) {
        let path = folder.join(name);
        lrlab_runs::write_atomic(&path, text.as_bytes())?;
        paths.push(path);
    }
    Ok(paths)
}

/// Submits the arrays and then the report. If a script is refused, the jobs submitted before it are cancelled.
fn send(submission: &mut Submission, scripts: &[PathBuf]) -> Result<(), SlurmError> {
    for script in scripts {
        test(script).map_err(|source| refused(script, source))?;
    }
    match send_in_order(submission, scripts) {
        Err(SlurmError::Script { script, source }) if !matches!(*source, SlurmError::Silent { .. }) => {
            Err(cancel_submitted(submission, SlurmError::Script { script, source }))
        }
        Err(source) => Err(SlurmError::Uncertain { source: Box::new(source) }),
        Ok(()) => Ok(()),
    }
}

/// Submits one script after another, up to the first that fails.
fn send_in_order(submission: &mut Submission, scripts: &[PathBuf]) -> Result<(), SlurmError> {
    let mut after = "--dependency=afterany".to_owned();
    let jobs = submission.arrays.iter_mut().map(|array| &mut array.job).chain([&mut submission.report_job]);
    for (job, script) in jobs.zip(scripts) {
        let more: &[&str] = if script.ends_with(REPORT) { &[&after] } else { &[] };
        let id = sbatch(script, more).map_err(|source| refused(script, source))?;
        *job = Some(id);
        after = format!("{after}:{id}");
    }
    Ok(())
}

fn refused(script: &Path, source: SlurmError) -> SlurmError {
    SlurmError::Script { script: script.to_path_buf(), source: Box::new(source) }
}

/// Cancels as many arrays of a submission as possible. Returns the error to report.
fn cancel_submitted(submission: &mut Submission, source: SlurmError) -> SlurmError {
    let mut left = None;
    for array in &mut submission.arrays {
        match array.job.map(cancel) {
            Some(Err(error)) => left = Some(error),
            Some(Ok(())) => array.job = None,
            None => {}
        }
    }
    let Some(left) = left else { return source };
    let jobs = submission.arrays.iter().filter_map(|array| array.job).collect();
    SlurmError::NotCancelled { jobs, left: Box::new(left), source: Box::new(source) }
}
