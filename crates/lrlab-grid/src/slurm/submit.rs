//! Submits what nobody does yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lrlab_runs::{Plan, PlannedRun, RunId, RunStore};
use lrlab_spec::{SlurmClass, SlurmProfile};
use serde::{Deserialize, Serialize};

use super::client::{Queued, cancel, queue, sbatch, test};
use super::submission::{folder, submissions};
use super::{Array, Member, SlurmError, Submission, script};
use crate::attempt::newest;
use crate::{Acquired, Attempt, Ending, Error, Life, Patience, RunState, Sign, baseline, budget, run_state};

/// Seconds without a beat after which a job is submitted for a run that somebody has.
const SILENT_S: f64 = 90.0;

/// How the runs of a submission are done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The frozen runner.
    pub program: PathBuf,
    /// The store, from the root of the file system.
    pub out: PathBuf,
    /// Where to train.
    pub device: String,
    /// Which weights stay.
    pub keep: String,
    /// How often a run's state is saved.
    pub checkpoint_every: String,
    /// Threads per run.
    pub threads: Option<usize>,
    /// What a failed run does to the rest.
    pub fail_fast: bool,
    /// Set for the jobs.
    pub env: BTreeMap<String, String>,
    /// The profile, for what is submitted again.
    pub profile: SlurmProfile,
    /// How many submissions in a row brought no run further.
    pub fruitless: u32,
}

/// What the jobs on record are doing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// Jobs that have not ended.
    pub queued: Vec<Queued>,
    /// Runs that are not done and that one of these jobs will do.
    pub covered: BTreeSet<RunId>,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was submitted, if anything was missing.
    pub submitted: Option<(PathBuf, Submission)>,
    /// What had been before.
    pub before: Standing,
}

/// Asks Slurm what the recorded jobs of an experiment are doing.
///
/// # Errors
/// [`Error::Unreachable`] where there are such jobs and Slurm cannot be asked: then nothing is known about them.
pub fn standing(store: &RunStore, experiment: &str) -> Result<Standing, Error> {
    let submissions = submissions(store, experiment)?;
    if submissions.is_empty() {
        return Ok(Standing::default());
    }
    let all = queue().map_err(|source| Error::Unreachable { jobs: jobs(&submissions), source })?;
    let mut standing = Standing::default();
    for (_, submission) in &submissions {
        let ours = |name: &str, job: Option<u64>| -> Vec<Queued> {
            let same = |queued: &&Queued| {
                queued.name == name || job.is_some_and(|job| base(&queued.job) == job.to_string())
            };
            all.iter().filter(same).cloned().collect()
        };
        for array in &submission.arrays {
            let queued = ours(&array.name, array.job);
            if !queued.is_empty() {
                for member in &array.runs {
                    if will_be_done(store, member)? {
                        standing.covered.insert(member.run_id.clone());
                    }
                }
            }
            standing.queued.extend(queued);
        }
        standing.queued.extend(ours(&submission.report_name, submission.report_job));
    }
    Ok(standing)
}

/// `17` of `17_3` and of `17_[4-7%2]`.
fn base(job: &str) -> &str {
    job.split('_').next().unwrap_or(job)
}

fn jobs(submissions: &[(PathBuf, Submission)]) -> Vec<u64> {
    submissions.iter().flat_map(|(_, s)| s.arrays.iter().filter_map(|array| array.job)).collect()
}

/// Whether the workers of an array would still do a run: it is neither done nor given up.
fn will_be_done(store: &RunStore, member: &Member) -> Result<bool, Error> {
    if store.is_done(&member.run_id) {
        return Ok(false);
    }
    let folder = store.run_dir(&member.run_id);
    let over = newest(&folder)?.is_none_or(|newest| newest.exit.is_some());
    Ok(!(over && matches!(budget::standing(&folder, member.since)?, budget::Standing::Spent(_))))
}

/// Which runs are submitted, and whether they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What is not done; what failed before is tried again.
    All,
    /// What is not done and has not failed.
    NotFailed,
    /// As `All`, but the scripts are only written: someone submits them by hand.
    WriteOnly,
}

/// Submits the runs of `plan` that are not done and that no queued job will do.
///
/// One array per class of the profile, of as many tasks as runs where the site allows it, and a job that writes the
/// report after them. Where Slurm refuses one script, none is left behind.
///
/// # Errors
/// Files that cannot be written, [`Error::Unreachable`], and what Slurm refuses.
pub fn submit(store: &RunStore, plan: &Plan, settings: &Settings, mode: Mode) -> Result<Outcome, Error> {
    let (before, missing) = open(store, plan, mode)?;
    if missing.is_empty() {
        return Ok(Outcome { submitted: None, before });
    }
    let lease = lease(&folder(store, &plan.experiment))?;
    // Another call may have submitted them while this one waited for its turn.
    let (before, missing) = open(store, plan, mode)?;
    if missing.is_empty() {
        lease.end(Ending::Done)?;
        return Ok(Outcome { submitted: None, before });
    }
    let folder = lease.folder().to_path_buf();
    let mut submission = compose(store, plan, &missing, settings, lease.number())?;
    let scripts = write(&submission, &folder)?;
    // On record before it is submitted: a job is found again by its name.
    submission.write(&folder)?;
    if mode == Mode::WriteOnly {
        lease.end(Ending::Done)?;
        return Ok(Outcome { submitted: Some((folder, submission)), before });
    }
    let sent = send(&mut submission, &scripts);
    submission.write(&folder)?;
    if let Err(source) = sent {
        std::fs::remove_file(folder.join("submission.json")).map_err(|e| Error::io(&folder, e))?;
        return Err(Error::Slurm(source));
    }
    lease.end(Ending::Done)?;
    Ok(Outcome { submitted: Some((folder, submission)), before })
}

/// What the recorded jobs are doing, and the runs that are left for others.
fn open<'a>(store: &RunStore, plan: &'a Plan, mode: Mode) -> Result<(Standing, Vec<&'a PlannedRun>), Error> {
    let standing = standing(store, &plan.experiment)?;
    let mut missing = Vec::new();
    for run in plan.runs.iter().filter(|run| !standing.covered.contains(&run.run_id)) {
        let open = match run_state(store, run)? {
            RunState::Done => false,
            RunState::Missing => true,
            RunState::Failed(_) => mode != Mode::NotFailed,
            // What another executor works on is its own, while it gives signs of life. This decides only whether a
            // job is submitted; whether it may take the run over is another question.
            RunState::Running { silent_s, .. } => silent_s > SILENT_S,
        };
        if open {
            missing.push(run);
        }
    }
    Ok((standing, missing))
}

/// The scripts that would be submitted for all of `runs`, by their names. Nothing is written.
///
/// # Errors
/// Files that cannot be read.
pub fn texts(
    store: &RunStore,
    plan: &Plan,
    runs: &[&PlannedRun],
    settings: &Settings,
) -> Result<Vec<(String, String)>, Error> {
    let slurm = folder(store, &plan.experiment);
    let number = newest(&slurm)?.map_or(1, |newest| newest.number + 1);
    let submission = compose(store, plan, runs, settings, number)?;
    let folder = std::path::absolute(slurm.join("attempts").join(number.to_string()))
        .map_err(|e| Error::io(&slurm, e))?;
    Ok(all_scripts(&submission, &folder))
}

/// Of several that submit at once, one does; the others wait for it.
fn lease(folder: &Path) -> Result<Attempt, Error> {
    let mut patience = Patience::new(Duration::from_mins(1));
    loop {
        let newest = newest(folder)?;
        let next = newest.as_ref().map_or(1, |newest| newest.number + 1);
        let busy =
            newest.filter(|newest| newest.exit.is_none()).is_some_and(|newest| match newest.owner.life() {
                Life::Alive => true,
                Life::Dead => false,
                Life::Unknown => {
                    let id = RunId::of("submission", "");
                    let sign = patience.sign(&id, newest.number, newest.touched, Instant::now());
                    matches!(sign, Sign::Beating | Sign::Quiet)
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
    missing: &[&PlannedRun],
    settings: &Settings,
    number: u32,
) -> Result<Submission, Error> {
    // The same experiment may lie in several stores.
    let here = RunId::of(&settings.out.to_string_lossy(), "");
    let name = |what: &str| format!("lrlab-{}-{}-{number}-{what}", plan.experiment, &here.short()[..6]);
    let mut arrays = Vec::new();
    for class in &settings.profile.classes {
        let of_class = |run: &&&PlannedRun| is(settings.profile.class_of(&run.cell), class);
        let runs: Vec<&PlannedRun> = missing.iter().filter(of_class).copied().collect();
        if runs.is_empty() {
            continue;
        }
        let tasks =
            (runs.len() as u32).div_ceil(class.resources.runs_at_once).min(settings.profile.max_tasks);
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
    if let Some(rest) = settings.profile.classes.last() {
        let text = script::report(&submission.report_name, &rest.resources, settings, folder);
        texts.push((REPORT.to_owned(), text));
    }
    texts
}

/// Writes the scripts; their paths.
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

/// Submits the arrays and the report after them; takes back what was submitted where one is refused.
fn send(submission: &mut Submission, scripts: &[PathBuf]) -> Result<(), SlurmError> {
    for script in scripts {
        test(script)?;
    }
    let mut send_all = || {
        let mut after = vec!["--dependency=afterany".to_owned()];
        for (array, script) in submission.arrays.iter_mut().zip(scripts) {
            let job = sbatch(script, &[])?;
            array.job = Some(job);
            after.push(job.to_string());
        }
        if let Some(script) = scripts.last() {
            submission.report_job = Some(sbatch(script, &[&after.join(":")])?);
        }
        Ok(())
    };
    let sent = send_all();
    if sent.is_err() {
        for job in submission.arrays.iter().filter_map(|array| array.job) {
            cancel(job)?;
        }
    }
    sent
}
