//! Decides from the files of a run how to proceed, and claims it.

use std::time::{Duration, Instant};

use super::grid::Grid;
use crate::attempt::{Newest, newest};
use crate::retry::{RetryDecision, retry_decision};
use crate::{Acquired, Attempt, ClaimState, Ending, Error, Failure, Liveness, Owner, slurm};

/// The result of trying to claim a run.
pub(super) enum Claim {
    Done,
    /// The run is trained up to the requested epoch.
    Paused,
    Failed(Box<Failure>),
    Elsewhere {
        owner: Option<Owner>,
        alive: bool,
    },
    Delayed(Duration),
    KeepsStopping,
    Held {
        attempt: Attempt,
        exclusive: bool,
    },
    /// No device currently has capacity for the run.
    NoCapacity,
    /// The remaining time is too short for the run.
    OutOfTime,
}

impl Grid<'_> {
    /// Claims a run, unless it is done, another process has claimed it, or its retries are used up. A run whose files cannot be
    /// read or written fails, and the others go on.
    pub(super) fn claim(&mut self, index: usize) -> Result<Claim, Error> {
        match self.try_claim(index) {
            Err(Error::Io { path, source } | Error::Runs(lrlab_runs::Error::Io { path, source })) => {
                let message = format!("{}: {source}", path.display());
                Ok(Claim::Failed(Box::new(Failure::inaccessible(message))))
            }
            claimed => claimed,
        }
    }

    fn try_claim(&mut self, index: usize) -> Result<Claim, Error> {
        let id = &self.workload.runs[index].run_id;
        if self.store.is_finished(id) {
            return Ok(Claim::Done);
        }
        let folder = self.store.run_dir(id);
        let newest = newest(&folder)?;
        let next = newest.as_ref().map_or(1, |newest| newest.number + 1);
        let mut exclusive = false;
        if let Some(newest) = newest {
            if newest.exit.is_none()
                && let Some(alive) = self.owner_alive(index, &newest)
            {
                return Ok(Claim::Elsewhere { owner: Some(newest.owner), alive });
            }
            if let Some(epochs) = self.workload.until[index]
                && self.store.paused_after(id)?.is_some_and(|completed| completed >= epochs)
            {
                return Ok(Claim::Paused);
            }
            match retry_decision(&folder, self.workload.since[index])? {
                RetryDecision::Exhausted(failure) => return Ok(Claim::Failed(failure)),
                RetryDecision::KeepsStopping => return Ok(Claim::KeepsStopping),
                RetryDecision::Retry { exclusive: on_its_own, delay } => {
                    // The delay starts at the last change of the claim. If clocks disagree, only the delay is wrong.
                    let elapsed = newest.touched.elapsed().unwrap_or(delay);
                    let delay = delay.saturating_sub(elapsed);
                    if !delay.is_zero() {
                        return Ok(Claim::Delayed(delay));
                    }
                    exclusive = on_its_own;
                }
            }
        }
        if !self.in_time(index) {
            return Ok(Claim::OutOfTime);
        }
        if !self.slots.fits(self.need(index), exclusive) {
            return Ok(Claim::NoCapacity);
        }
        let owner = Owner { numerics: self.workload.numerics.clone(), ..Owner::current() };
        let Acquired::Attempt(attempt) = Attempt::claim_as(&owner, &folder, next)? else {
            return Ok(Claim::Elsewhere { owner: None, alive: false });
        };
        if self.store.is_finished(id) {
            attempt.end(Ending::Done)?;
            return Ok(Claim::Done);
        }
        if self.store.is_done(id) {
            // A search eliminated the run, which is now resumed and no longer counts as done.
            self.store.revive(id)?;
        }
        Ok(Claim::Held { attempt, exclusive })
    }

    /// Returns whether the owner of an open claim is alive; `None` if the claim is abandoned and the run can be taken over.
    fn owner_alive(&mut self, index: usize, newest: &Newest) -> Option<bool> {
        match newest.owner.liveness() {
            Liveness::Alive => Some(true),
            Liveness::Dead => None,
            Liveness::Unknown => {
                let id = &self.workload.runs[index].run_id;
                match self.claims.state(id, newest.number, newest.touched, Instant::now()) {
                    ClaimState::Fresh => Some(true),
                    ClaimState::Unconfirmed => Some(false),
                    ClaimState::Stale => {
                        let job = newest.owner.slurm.as_ref();
                        job.is_some_and(|job| slurm::is_running(&job.job) == Some(true)).then_some(false)
                    }
                    ClaimState::Expired => None,
                }
            }
        }
    }

    /// Returns whether there is time for an epoch of the run and for saving it.
    fn in_time(&self, index: usize) -> bool {
        // The first run is always started, so that every job makes progress.
        let Some(deadline) = self.executor.deadline.filter(|_| self.started > 0) else { return true };
        let epoch = self.costs.epoch_s(&self.workload.runs[index]).unwrap_or(0.0);
        let left = deadline.at.saturating_duration_since(Instant::now());
        left.as_secs_f64() > epoch + deadline.margin.as_secs_f64()
    }
}
