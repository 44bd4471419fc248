//! A look at a run's files: what is to be done with it.

use std::time::{Duration, Instant};

use super::grid::Grid;
use crate::attempt::{Newest, newest};
use crate::budget::{Standing, standing};
use crate::{Acquired, Attempt, Ending, Error, Failure, Life, Owner, Sign, slurm};

/// What a look at a run's files came to.
pub(super) enum Look {
    Done,
    /// It is as far as it is to go.
    Paused,
    Failed(Box<Failure>),
    Away {
        owner: Option<Owner>,
        lives: bool,
    },
    Rest(Duration),
    Stopping,
    Ours {
        attempt: Attempt,
        alone: bool,
    },
    /// No device has room for it now.
    Crowded,
    /// There is not enough time left for it.
    Late,
}

impl Grid<'_> {
    /// Claims a run, unless it is done, or someone else has it, or it was tried often enough.
    pub(super) fn look(&mut self, index: usize) -> Result<Look, Error> {
        let id = &self.share.runs[index].run_id;
        if self.store.is_finished(id) {
            return Ok(Look::Done);
        }
        let folder = self.store.run_dir(id);
        let newest = newest(&folder)?;
        let next = newest.as_ref().map_or(1, |newest| newest.number + 1);
        let mut alone = false;
        if let Some(newest) = newest {
            if newest.exit.is_none()
                && let Some(lives) = self.lives(index, &newest)
            {
                return Ok(Look::Away { owner: Some(newest.owner), lives });
            }
            if let Some(epochs) = self.share.until[index]
                && self.store.paused_after(id)?.is_some_and(|made| made >= epochs)
            {
                return Ok(Look::Paused);
            }
            match standing(&folder, self.share.since[index])? {
                Standing::Spent(failure) => return Ok(Look::Failed(failure)),
                Standing::Stopping => return Ok(Look::Stopping),
                Standing::Open { alone: on_its_own, rest } => {
                    // Counted from the last sign of life; where clocks disagree, it is no matter.
                    let over = newest.touched.elapsed().unwrap_or(rest);
                    let rest = rest.saturating_sub(over);
                    if !rest.is_zero() {
                        return Ok(Look::Rest(rest));
                    }
                    alone = on_its_own;
                }
            }
        }
        if !self.in_time(index) {
            return Ok(Look::Late);
        }
        if !self.places.fits(self.need(index), alone) {
            return Ok(Look::Crowded);
        }
        let Acquired::Attempt(attempt) = Attempt::claim(&folder, next)? else {
            return Ok(Look::Away { owner: None, lives: false });
        };
        if self.store.is_finished(id) {
            attempt.end(Ending::Done)?;
            return Ok(Look::Done);
        }
        if self.store.is_done(id) {
            // A search gave it up, and now it goes on: it is not done any more.
            self.store.revive(id)?;
        }
        Ok(Look::Ours { attempt, alone })
    }

    /// Whether the owner of a claim that has not ended was seen to live; `None` where it is gone and the run may be
    /// taken over.
    fn lives(&mut self, index: usize, newest: &Newest) -> Option<bool> {
        match newest.owner.life() {
            Life::Alive => Some(true),
            Life::Dead => None,
            Life::Unknown => {
                let id = &self.share.runs[index].run_id;
                match self.patience.sign(id, newest.number, newest.touched, Instant::now()) {
                    Sign::Beating => Some(true),
                    Sign::Quiet => Some(false),
                    Sign::Stale => {
                        let job = newest.owner.slurm.as_ref();
                        job.is_some_and(|job| slurm::is_running(&job.job) == Some(true)).then_some(false)
                    }
                    Sign::Gone => None,
                }
            }
        }
    }

    /// Whether there is time for an epoch of the run, and for saving it.
    fn in_time(&self, index: usize) -> bool {
        // The first is begun in any case: without it nothing would ever get further.
        let Some(deadline) = self.executor.deadline.filter(|_| self.started > 0) else { return true };
        let epoch = self.costs.epoch_s(&self.share.runs[index]).unwrap_or(0.0);
        let left = deadline.at.saturating_duration_since(Instant::now());
        left.as_secs_f64() > epoch + deadline.margin.as_secs_f64()
    }
}
