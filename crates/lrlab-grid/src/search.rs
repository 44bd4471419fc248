//! How the searches of a plan stand, from the files of its runs: what is due, who is out, who won.

use std::path::Path;

use lrlab_runs::{EpochMetrics, Outcome, Plan, PlannedRun, RunStore};
use lrlab_search::{Arm, Due, Record, Verdict, arms, judge};
use serde::Deserialize;

use crate::{Error, attempts, read_json};

/// How the searches of a plan stand.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchState {
    /// Every arm of the grid with what follows from what is known of its trials.
    pub arms: Vec<(Arm, Verdict)>,
    runs: usize,
}

impl SearchState {
    /// The searches of `plan`; `None` where its runs are no trials.
    ///
    /// # Errors
    /// A result that cannot be read.
    pub fn read(store: &RunStore, plan: &Plan) -> Result<Option<Self>, Error> {
        let Some(search) = &plan.search else { return Ok(None) };
        let known = plan.runs.iter().map(|run| record(store, run)).collect::<Result<Vec<_>, _>>()?;
        let judged = |arm: Arm| {
            let verdict = judge(&arm, |run| known[run].as_ref());
            (arm, verdict)
        };
        Ok(Some(Self {
            arms: arms(search, &plan.runs).into_iter().map(judged).collect(),
            runs: plan.runs.len(),
        }))
    }

    /// What to train next, over all arms.
    #[must_use]
    pub fn due(&self) -> Vec<Due> {
        self.arms.iter().flat_map(|(_, verdict)| verdict.due.iter().copied()).collect()
    }

    /// Whether each run of the plan is asked for: trials are, and the further seeds of a winner.
    #[must_use]
    pub fn asked_for(&self) -> Vec<bool> {
        let mut asked = vec![false; self.runs];
        for (arm, verdict) in &self.arms {
            for (number, trial) in arm.trials.iter().enumerate() {
                let further = trial.further.iter().filter(|_| verdict.winner == Some(number));
                trial.judged.iter().chain(further).for_each(|run| asked[*run] = true);
            }
        }
        asked
    }

    /// Ends the paused runs that nobody goes on with; how many there were. Without `keep` their checkpoints go: a
    /// search that wants such a run after all begins it anew.
    ///
    /// # Errors
    /// Their files cannot be read, written or removed.
    pub fn prune(&self, store: &RunStore, plan: &Plan, keep: bool) -> Result<usize, Error> {
        let mut pruned = 0;
        for run in self.arms.iter().flat_map(|(_, verdict)| &verdict.out) {
            let id = &plan.runs[*run].run_id;
            if store.prune(id)? {
                pruned += 1;
                if !keep {
                    remove_checkpoints(&store.run_dir(id))?;
                }
            }
        }
        Ok(pruned)
    }
}

fn remove_checkpoints(run_dir: &Path) -> Result<(), Error> {
    for (number, _) in attempts(run_dir)? {
        let folder = run_dir.join("attempts").join(number.to_string()).join("checkpoints");
        match std::fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(&folder, e)),
            _ => {}
        }
    }
    Ok(())
}

/// What the files say of a run: its result, or where it paused.
fn record(store: &RunStore, run: &PlannedRun) -> Result<Option<Record>, Error> {
    let folder = store.run_dir(&run.run_id);
    if let Some(part) = read_part(&folder.join("result.json"))? {
        return Ok(Some(Record::new(part.history, Some(part.outcome))));
    }
    Ok(read_part(&folder.join("paused.json"))?.map(|part| Record::new(part.history, None)))
}

fn read_part(path: &Path) -> Result<Option<Part>, Error> {
    read_json(path)
}

/// The part of a result that judges need.
#[derive(Deserialize)]
struct Part {
    history: Vec<EpochMetrics>,
    outcome: Outcome,
}
