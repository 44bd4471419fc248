//! The status of the recorded jobs, and the runs that no job covers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lrlab_runs::{Plan, PlannedRun, RunId, RunStore};

use super::client::{Queued, queue};
use super::submission::{Member, Submission, submissions};
use crate::attempt::{Ending, newest};
use crate::state::SILENT_S;
use crate::{Error, RunState, SearchState, retry, run_state};

/// Which runs to submit, and whether to submit them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitMode {
    /// Runs that are not done; failed runs are retried.
    All,
    /// Runs that are neither done nor out of retries.
    NotFailed,
    /// Like `All`, but only writes the scripts, for someone who submits them by hand.
    WriteOnly,
}

/// The status of the recorded jobs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SubmissionStatus {
    /// Jobs that have not ended.
    pub queued: Vec<Queued>,
    /// Missing runs that one of these jobs will execute.
    pub covered: BTreeSet<RunId>,
    /// All runs of the grids to which these jobs belong, also those that are done.
    pub planned: BTreeSet<RunId>,
    /// Jobs that were submitted when the store was another folder.
    pub moved: Vec<MovedJobs>,
    /// Whether scripts were written that may have been submitted elsewhere: no job is recorded, and Slurm is not on this
    /// machine.
    pub unknown: bool,
}

/// Jobs that work in another folder than the store, which was moved or copied after they were submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedJobs {
    /// The folder in which they work.
    pub folder: PathBuf,
    /// Their ids, ascending.
    pub jobs: BTreeSet<u64>,
}

impl std::fmt::Display for MovedJobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let jobs: Vec<String> = self.jobs.iter().map(u64::to_string).collect();
        let (folder, jobs) = (self.folder.display(), jobs.join(" "));
        write!(
            f,
            "the queued jobs {jobs} were submitted from another folder, {folder}, and work there: `scancel {jobs}` cancels \
             them, and `run` then submits what is missing here"
        )
    }
}

/// Returns the runs of `plan` whose jobs used up their retries. A run that failed once, and whose job was cancelled
/// before the retry, is not among them.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn given_up(store: &RunStore, plan: &Plan) -> Result<BTreeSet<RunId>, Error> {
    let submissions = submissions(store, &plan.experiment)?;
    let members =
        || submissions.iter().flat_map(|(_, submission)| &submission.arrays).flat_map(|array| &array.runs);
    let mut given_up = BTreeSet::new();
    for PlannedRun { run_id, .. } in &plan.runs {
        let folder = store.run_dir(run_id);
        let exit = newest(&folder)?.and_then(|newest| newest.exit);
        if store.is_finished(run_id) || !exit.is_some_and(|exit| matches!(exit.ending, Ending::Failed(_))) {
            continue;
        }
        let since = members().find(|member| member.run_id == *run_id).map_or(0, |member| member.since);
        if matches!(retry::retry_decision(&folder, since)?, retry::RetryDecision::Exhausted(_)) {
            given_up.insert(run_id.clone());
        }
    }
    Ok(given_up)
}

/// Queries Slurm for the status of the recorded jobs of an experiment.
///
/// # Errors
/// Returns [`Error::Unreachable`] if Slurm cannot be reached, unless no job is recorded.
pub fn submission_status(store: &RunStore, experiment: &str) -> Result<SubmissionStatus, Error> {
    let submissions = submissions(store, experiment)?;
    if submissions.is_empty() {
        return Ok(SubmissionStatus::default());
    }
    let mut status = SubmissionStatus::default();
    let all = match queue() {
        Ok(all) => all,
        // Scripts that were only written say nothing about jobs.
        Err(_) if jobs(&submissions).is_empty() => {
            status.unknown = true;
            return Ok(status);
        }
        Err(source) => return Err(Error::Unreachable { jobs: jobs(&submissions), source }),
    };
    for (folder, submission) in &submissions {
        let (mut wanted, before) = (None, status.queued.len());
        let ours = |name: &str, job: Option<u64>| -> Vec<Queued> {
            let same = |queued: &&Queued| {
                queued.name == name || job.is_some_and(|job| queued.base() == job.to_string())
            };
            all.iter().filter(same).cloned().collect()
        };
        for array in &submission.arrays {
            let queued = ours(&array.name, array.job);
            if !queued.is_empty() {
                if wanted.is_none() {
                    wanted = Some(wanted_by_search(store, folder)?);
                }
                let wanted = wanted.as_ref().and_then(Option::as_ref);
                let is_wanted =
                    |member: &&Member| wanted.is_none_or(|wanted| wanted.contains(&member.run_id));
                for member in array.runs.iter().filter(is_wanted) {
                    if will_be_executed(store, member)? {
                        status.covered.insert(member.run_id.clone());
                    }
                }
            }
            status.queued.extend(queued);
        }
        status.queued.extend(ours(&submission.report_name, submission.report_job));
        if status.queued.len() > before {
            let plan = Submission::plan(folder)?;
            status.planned.extend(plan.into_iter().flat_map(|plan| plan.runs).map(|run| run.run_id));
        }
        let folder = &submission.settings.out;
        if status.queued.len() > before && !is_here(store, folder) {
            let jobs = status.queued[before..].iter().filter_map(|queued| queued.base().parse().ok());
            status.moved.push(MovedJobs { folder: folder.clone(), jobs: jobs.collect() });
        }
    }
    Ok(status)
}

/// Returns whether a folder is the store, after resolving symbolic links.
fn is_here(store: &RunStore, folder: &Path) -> bool {
    let place = |path: &Path| path.canonicalize().ok();
    place(folder).is_some_and(|folder| place(store.root()) == Some(folder))
}

/// Returns the runs that the search submitted in `folder` may still train; `None` if it is not a search.
fn wanted_by_search(store: &RunStore, folder: &Path) -> Result<Option<BTreeSet<RunId>>, Error> {
    let Some(plan) = Submission::plan(folder)? else { return Ok(None) };
    let Some(state) = SearchState::read(store, &plan)? else { return Ok(None) };
    let wanted = plan.runs.iter().zip(state.members(|_| true)).filter(|(_, wanted)| *wanted);
    Ok(Some(wanted.map(|(run, _)| run.run_id.clone()).collect()))
}

fn jobs(submissions: &[(PathBuf, Submission)]) -> Vec<u64> {
    submissions.iter().flat_map(|(_, s)| s.arrays.iter().filter_map(|array| array.job)).collect()
}

/// Returns whether the workers of an array will still execute a run: it is neither done nor out of retries.
fn will_be_executed(store: &RunStore, member: &Member) -> Result<bool, Error> {
    if store.is_finished(&member.run_id) {
        return Ok(false);
    }
    let folder = store.run_dir(&member.run_id);
    let over = newest(&folder)?.is_none_or(|newest| newest.exit.is_some());
    Ok(!(over && matches!(retry::retry_decision(&folder, member.since)?, retry::RetryDecision::Exhausted(_))))
}

/// Runs that no job covers.
pub(super) struct Open<'a> {
    /// The runs that can start, or be resumed, now.
    pub(super) due: Vec<&'a PlannedRun>,
    /// These runs and those that may become due after them, which the same workers execute.
    pub(super) all: Vec<&'a PlannedRun>,
}

/// Returns the status of the recorded jobs, and the runs that no job covers.
pub(super) fn open<'a>(
    store: &RunStore,
    plan: &'a Plan,
    mode: SubmitMode,
) -> Result<(SubmissionStatus, Open<'a>), Error> {
    let status = submission_status(store, &plan.experiment)?;
    let given_up = if mode == SubmitMode::NotFailed { given_up(store, plan)? } else { BTreeSet::new() };
    let free = |run: &PlannedRun| -> Result<bool, Error> {
        Ok(!status.covered.contains(&run.run_id)
            && match run_state(store, run)? {
                RunState::Done => false,
                RunState::Failed(_) => !given_up.contains(&run.run_id),
                // A run belongs to another executor while its claim changes. This only decides whether a job is
                // submitted; the job decides later whether it may take over the run.
                RunState::Running { silent_s, .. } => silent_s > SILENT_S,
                RunState::Missing
                | RunState::Damaged { .. }
                | RunState::Paused { .. }
                | RunState::Pruned { .. }
                | RunState::Unneeded => true,
            })
    };
    let open = choose(store, plan, free, |run| Ok(given_up.contains(&run.run_id)))?;
    Ok((status, open))
}

/// Returns the runs that are due and `free`. An arm of a search with a run that is `given_up` is omitted, because
/// promotion compares all its trials.
pub(super) fn choose<'a>(
    store: &RunStore,
    plan: &'a Plan,
    free: impl Fn(&PlannedRun) -> Result<bool, Error>,
    given_up: impl Fn(&PlannedRun) -> Result<bool, Error>,
) -> Result<Open<'a>, Error> {
    let mut chosen = vec![false; plan.runs.len()];
    let Some(search) = SearchState::read(store, plan)? else {
        for (run, chosen) in plan.runs.iter().zip(&mut chosen) {
            *chosen = free(run)?;
        }
        let due: Vec<&PlannedRun> = selected(plan, &chosen);
        return Ok(Open { all: due.clone(), due });
    };
    for (_, verdict) in &search.arms {
        let due = || verdict.due.iter().map(|due| due.run);
        let mut whole = true;
        for run in due() {
            whole &= !given_up(&plan.runs[run])?;
        }
        for run in due().filter(|_| whole) {
            chosen[run] = free(&plan.runs[run])?;
        }
    }
    let all = selected(plan, &search.members(|run| chosen[run]));
    let unfinished = |run: &&PlannedRun| !store.is_finished(&run.run_id);
    Ok(Open { due: selected(plan, &chosen), all: all.into_iter().filter(unfinished).collect() })
}

fn selected<'a>(plan: &'a Plan, chosen: &[bool]) -> Vec<&'a PlannedRun> {
    plan.runs.iter().zip(chosen).filter(|(_, chosen)| **chosen).map(|(run, _)| run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Acquired, Attempt, Failure, FailureKind};

    #[test]
    fn runs_without_retries_left_are_given_up() {
        use FailureKind::{Io, Killed, Panic};
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::new(folder.path());
        for (failures, expected) in [
            (&[][..], false),
            (&[Killed], false),
            (&[Killed; 4], true),
            (&[Panic], true),
            (&[Io, Killed], false),
        ] {
            let run_id = RunId::of(&format!("{failures:?}"), "");
            for (number, kind) in (1..).zip(failures) {
                let claimed = Attempt::claim(&store.run_dir(&run_id), number).unwrap();
                let Acquired::Attempt(attempt) = claimed else { unreachable!() };
                let failure = Failure { kind: *kind, ..Failure::lost(number, "x") };
                attempt.end(Ending::Failed(Box::new(failure))).unwrap();
            }
            let run = PlannedRun {
                run_id: run_id.clone(),
                cell: lrlab_runs::Cell::new(),
                spec: serde_json::Value::Null.into(),
                dataset_digest: String::new(),
            };
            let plan = Plan { experiment: "e".to_owned(), runs: vec![run], ..Plan::default() };
            assert_eq!(given_up(&store, &plan).unwrap().contains(&run_id), expected, "{failures:?}");
        }
    }
}
