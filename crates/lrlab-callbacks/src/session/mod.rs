//! The driver of callbacks in a training loop: counts, rates, decisions, and the order of the phases.

mod state;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use lrlab_runs::{Decision, DecisionKind, EpochMetrics, finite};
use lrlab_schedulers::{Driver, Horizon, Hyper, Schedule};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::rate::{Gains, Rate, product};
use crate::{Action, Callbacks, Context, Error, Hook, Host, Phase, SaveEvery};
use state::Saved;
pub use state::{SessionState, StopReason};

/// Drives the callbacks of a run. The loop gets the rate from it, reports updates and epochs, and checks whether the run is
/// over. The session computes rates, records decisions, requests trials and runs the phases in order. The [`Host`] carries
/// out actions on the weights.
///
/// ```
/// # use lrlab_callbacks::{Error, Host};
/// # /// A parabola, `loss = w²`.
/// # #[derive(Default)]
/// # struct Weights { now: f64, kept: std::collections::BTreeMap<String, f64> }
/// # impl Weights { fn loss(&self) -> f64 { self.now * self.now } }
/// # impl Host for Weights {
/// #     fn save(&mut self, tag: &str) -> Result<(), Error> { self.kept.insert(tag.to_owned(), self.now); Ok(()) }
/// #     fn restore(&mut self, tag: &str) -> Result<(), Error> { self.now = self.kept[tag]; Ok(()) }
/// #     fn discard(&mut self, tag: &str) -> Result<(), Error> { self.kept.remove(tag); Ok(()) }
/// # }
/// use lrlab_callbacks::{Callbacks, EpochMetrics, Session, ValidationLossMonitor};
/// use lrlab_schedulers::{ControllerSpec, Horizon, ScheduleSpec};
///
/// let mut weights = Weights { now: 1.0, ..Weights::default() };
/// let run = Horizon { updates: 100, updates_per_epoch: 10 };
/// let monitor = ControllerSpec::parse("plateau = { factor = 0.1, patience = 1 }")?.build()?;
/// let callbacks = Callbacks::default().with(ValidationLossMonitor::new(monitor, "val_loss")?);
/// let mut session = Session::new(callbacks, ScheduleSpec::parse("static")?.build(&run)?, 1.0, run);
///
/// session.begin(&mut weights)?;
/// while !session.is_over() {
///     session.begin_epoch(&mut weights)?;
///     for _ in session.epoch_updates() {
///         let loss = weights.loss();
///         weights.now -= session.lr() * 2.0 * weights.now;
///         session.end_update(loss, None, &mut weights)?;
///         if session.is_over() {
///             break; // A callback may stop the run within an epoch.
///         }
///     }
///     session.end_epoch(EpochMetrics { val_loss: Some(weights.loss()), ..EpochMetrics::default() }, &mut weights)?;
/// }
/// session.end(&mut weights)?;
/// // At rate 1 the weight alternates between 1 and −1 until the monitor cuts the rate.
/// assert_eq!(session.decisions()[0].reason, "cut × 0.1: 2 bad > patience 1, best 1 at observation 1");
/// assert!(weights.loss() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    callbacks: Callbacks,
    rate: Rate,
    /// The rates of parameter groups by name.
    group_rates: BTreeMap<String, Rate>,
    driver: Arc<Driver>,
    /// The metrics of the next recorded update.
    logged: BTreeMap<String, f64>,
    started: Instant,
    /// Seconds of earlier attempts.
    earlier_s: f64,
    /// When to store a checkpoint, and the elapsed time of the last one.
    checkpoints: Option<(SaveEvery, f64)>,
    state: SessionState,
}

impl Session {
    /// Creates a session before the first update of a run of length `horizon`, for which `schedule` was built, with the base
    /// rate `base`.
    #[must_use]
    pub fn new(callbacks: Callbacks, schedule: Box<dyn Schedule>, base: f64, horizon: Horizon) -> Self {
        let rate = Rate::new(schedule, base, horizon);
        let state = SessionState {
            lr: rate.at(0, &Gains::new(), 1.0),
            updates_per_epoch: Some(horizon.updates_per_epoch),
            ..SessionState::default()
        };
        Self {
            callbacks,
            rate,
            group_rates: BTreeMap::new(),
            driver: Arc::default(),
            logged: BTreeMap::new(),
            started: Instant::now(),
            earlier_s: 0.0,
            checkpoints: None,
            state,
        }
    }

    /// Stores a checkpoint ([`Host::checkpoint`]) at this interval and after the last epoch. [`Session::begin`] continues
    /// from the last one, with the same bits as a run that was never interrupted, if the loop derives its batches and its random
    /// numbers from [`Session::update`].
    ///
    /// A checkpoint at the last update of an epoch, or after a stop within it, is stored after the metrics of the epoch.
    ///
    /// # Errors
    /// Returns [`Error::Config`] if the interval is not above 0.
    pub fn checkpoint_every(mut self, every: SaveEvery) -> Result<Self, Error> {
        every.check("Session::checkpoint_every")?;
        self.checkpoints = Some((every, 0.0));
        Ok(self)
    }

    /// Sets bounds of the rate, which apply after the gains. If `lr_min` exceeds `lr_max`, the rate is `lr_min`.
    #[must_use]
    pub fn clamp_lr(mut self, lr_min: f64, lr_max: Option<f64>) -> Self {
        self.rate.clamp(lr_min, lr_max);
        self.group_rates.values_mut().for_each(|rate| rate.clamp(lr_min, lr_max));
        self.state.lr = self.lr();
        self
    }

    /// Adds the schedule of a parameter group with its own base rate ([`Session::lr_of`]). The gains apply to all groups.
    /// Callbacks and logs receive the rate of the run.
    #[must_use]
    pub fn with_schedule(mut self, name: impl Into<String>, schedule: Box<dyn Schedule>, base: f64) -> Self {
        let mut rate = Rate::new(schedule, base, self.horizon());
        rate.copy_bounds(&self.rate);
        self.group_rates.insert(name.into(), rate);
        self
    }

    /// Sets schedules of hyperparameters other than the rate: momentum, β₁, β₂, weight decay. The loop applies their values
    /// before each update ([`Session::hypers`]), as `lrlab_optim::VarMapHost` does. Gains and bounds of the rate do not apply
    /// to them. Their values at the last update of an epoch belong to its metrics ([`EpochMetrics::hyperparameters`]) and to the
    /// logs: `weight_decay`, or `GROUP/weight_decay` for a group.
    ///
    /// For the rate of a group ([`Hyper::Lr`]), use [`Session::with_schedule`].
    #[must_use]
    pub fn with_driver(mut self, driver: impl Into<Arc<Driver>>) -> Self {
        self.driver = driver.into();
        self
    }

    /// Calls `set` with the group, the hyperparameter and its value for the next update, for each schedule of
    /// [`Session::with_driver`].
    pub fn hypers(&self, set: impl FnMut(&str, &Hyper, f64)) {
        self.driver.apply(self.horizon().at(self.state.update), set);
    }

    /// Returns the rate of the group `name` ([`Session::with_schedule`]) for the next update; `None` if the group does not exist.
    #[must_use]
    pub fn lr_of(&self, name: &str) -> Option<f64> {
        self.group_rates.get(name).map(|rate| rate.at(self.state.update, &self.state.gains, 1.0))
    }

    /// Returns the rate of the next update: the rate of the schedule times the gains, within the bounds.
    #[must_use]
    pub fn lr(&self) -> f64 {
        self.lr_at(self.state.update, 1.0)
    }

    fn lr_at(&self, update: u64, factor: f64) -> f64 {
        self.rate.at(update, &self.state.gains, factor)
    }

    /// Returns the rate of the last update, or the rate of the first update if no update is complete.
    #[must_use]
    pub fn last_lr(&self) -> f64 {
        self.state.lr
    }

    /// Returns the product of the gains.
    #[must_use]
    pub fn gain(&self) -> f64 {
        product(&self.state.gains)
    }

    fn gain_of(&self, callback: &str) -> f64 {
        self.state.gains.get(callback).copied().unwrap_or(1.0)
    }

    /// Returns the length of the run.
    #[must_use]
    pub fn horizon(&self) -> Horizon {
        self.rate.horizon()
    }

    /// Returns the number of completed updates.
    #[must_use]
    pub fn update(&self) -> u64 {
        self.state.update
    }

    /// Returns the number of completed epochs.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.state.epoch
    }

    /// Returns whether the run is over: all updates are complete, or it ended early.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state.stop.is_some() || self.state.update >= self.horizon().updates
    }

    /// Returns the reason if the run ends early.
    #[must_use]
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.state.stop
    }

    /// Returns the metrics of completed epochs, oldest first.
    #[must_use]
    pub fn history(&self) -> &[EpochMetrics] {
        &self.state.history
    }

    /// Returns the decisions, oldest first.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.state.decisions
    }

    /// Returns the callbacks.
    #[must_use]
    pub fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    /// Returns the seconds since [`Session::begin`], without earlier attempts.
    #[must_use]
    pub fn attempt_s(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Returns the 0-based indices of the remaining updates of the current epoch. A loop over them checks
    /// [`Session::is_over`] after each update, because a callback may stop the run within the epoch.
    #[must_use]
    pub fn epoch_updates(&self) -> std::ops::Range<u64> {
        let end = (self.state.epoch + 1) * self.horizon().updates_per_epoch.max(1);
        self.state.update..end.min(self.horizon().updates).max(self.state.update)
    }

    /// Begins the run, or continues it after a resume. Before the first update, it continues from the checkpoint of the host
    /// if there is one ([`Host::resume`]).
    ///
    /// # Errors
    /// Returns an error if the callbacks are invalid ([`Callbacks::run`]), the checkpoint belongs to another run, or a callback
    /// or the host fails.
    pub fn begin(&mut self, host: &mut dyn Host) -> Result<(), Error> {
        self.started = Instant::now();
        if self.state.update == 0
            && let Some(state) = host.resume()?
        {
            self.restore(state)?;
        }
        self.dispatch(Hook::FitStart, host)
    }

    /// Begins an epoch.
    ///
    /// # Errors
    /// Returns an error if a callback or the host fails.
    pub fn begin_epoch(&mut self, host: &mut dyn Host) -> Result<(), Error> {
        self.dispatch(Hook::EpochStart, host)
    }

    /// Adds a user-defined metric to the update that [`Session::end_update`] records next, for the loggers of updates
    /// ([`JsonlLogger::progress_every`](crate::JsonlLogger::progress_every), [`CsvUpdateLogger`](crate::CsvUpdateLogger),
    /// [`TensorBoardLogger::updates_every`](crate::TensorBoardLogger::updates_every)). For metrics of an epoch, use
    /// [`EpochMetrics::extra`].
    pub fn log(&mut self, name: impl Into<String>, value: f64) {
        self.logged.insert(name.into(), value);
    }

    /// Records an update at [`Session::lr`] with its loss, computed before the weights changed, and its gradient norm, if known.
    ///
    /// # Errors
    /// Returns an error if a callback or the host fails.
    pub fn end_update(
        &mut self,
        loss: f64,
        grad_norm: Option<f64>,
        host: &mut dyn Host,
    ) -> Result<(), Error> {
        self.state.lr = self.lr();
        self.state.update += 1;
        let extra = std::mem::take(&mut self.logged);
        self.dispatch(Hook::UpdateEnd { loss, grad_norm, extra: &extra }, host)?;
        let at_epoch_end = self.epoch_updates().is_empty();
        let due = match self.checkpoints {
            Some((SaveEvery::Updates(n), _)) => self.state.update.is_multiple_of(n),
            Some((SaveEvery::Minutes(minutes), last)) => self.elapsed_s() - last >= 60.0 * minutes,
            Some((SaveEvery::Epochs(_), _)) | None => false,
        };
        // The loop may end the epoch early after a stop, which a resumed run would not do.
        let open = !at_epoch_end && self.state.stop.is_none();
        if due && open { self.checkpoint(host) } else { Ok(()) }
    }

    fn checkpoint(&mut self, host: &mut dyn Host) -> Result<(), Error> {
        host.checkpoint(&self.state())?;
        let now = self.elapsed_s();
        if let Some((_, last)) = &mut self.checkpoints {
            *last = now;
        }
        Ok(())
    }

    /// Records the metrics of an epoch and sets their `epoch`, `lr` and `hyperparameters`. `None` means that a metric was not
    /// measured, so that callbacks that count measurements wait for the next one. A measured metric is `Some`, even if it is not
    /// finite.
    ///
    /// # Errors
    /// Returns an error if a callback or the host fails.
    pub fn end_epoch(&mut self, mut metrics: EpochMetrics, host: &mut dyn Host) -> Result<(), Error> {
        self.state.epoch += 1;
        (metrics.epoch, metrics.lr) = (self.state.epoch, finite(self.state.lr));
        let last = self.horizon().at(self.state.update.saturating_sub(1));
        self.driver.apply(last, |group, hyper, value| {
            let name = if group.is_empty() { hyper.to_string() } else { format!("{group}/{hyper}") };
            metrics.hyperparameters.insert(name, value);
        });
        self.state.history.push(metrics.clone());
        self.dispatch(Hook::EpochEnd(&metrics), host)?;
        let due = match self.checkpoints {
            Some((SaveEvery::Epochs(n), _)) => self.state.epoch.is_multiple_of(n),
            Some((SaveEvery::Updates(n), _)) => self.state.update.is_multiple_of(n),
            Some((SaveEvery::Minutes(minutes), last)) => self.elapsed_s() - last >= 60.0 * minutes,
            None => return Ok(()),
        };
        if due || self.is_over() { self.checkpoint(host) } else { Ok(()) }
    }

    /// Ends the run early because the loop detected divergence.
    pub fn diverge(&mut self) {
        self.state.stop = Some(StopReason::Diverged);
    }

    /// Ends the run, after the last update or early.
    ///
    /// # Errors
    /// Returns an error if a callback or the host fails.
    pub fn end(&mut self, host: &mut dyn Host) -> Result<(), Error> {
        self.dispatch(Hook::FitEnd, host)
    }

    /// Reports that the run fails with `error`.
    ///
    /// # Errors
    /// Returns an error if a callback or the host fails.
    pub fn fail(&mut self, error: &str, host: &mut dyn Host) -> Result<(), Error> {
        self.dispatch(Hook::Failed { error }, host)
    }

    /// Returns the state to save in addition to weights and optimizer, as a JSON value.
    #[must_use]
    pub fn state(&self) -> Value {
        let (count, callbacks) = (self.state.clone(), self.callbacks.state());
        to_state(&Saved { count, elapsed_s: self.elapsed_s(), callbacks })
    }

    /// Restores the output of [`Session::state`]. Schedule, base rate, bounds and callbacks do not change.
    ///
    /// # Errors
    /// Returns an error if the state has another shape or belongs to another run: see [`Session::resume`].
    pub fn restore(&mut self, state: Value) -> Result<(), Error> {
        let Saved { count, elapsed_s, callbacks } = from_state("session", state)?;
        self.resume(count, callbacks, elapsed_s)
    }

    /// Returns the state without callbacks and elapsed time, for loops with their own file format.
    #[must_use]
    pub fn progress(&self) -> &SessionState {
        &self.state
    }

    /// Restores the parts of a state: [`Session::progress`], [`Callbacks::state`], and the elapsed seconds of all earlier
    /// attempts.
    ///
    /// # Errors
    /// Returns an error if the state does not belong to the callbacks of `self`, its epochs have another number of updates, or it
    /// has more updates than the run. A run may be longer than the one that saved the state.
    pub fn resume(&mut self, progress: SessionState, callbacks: Value, elapsed_s: f64) -> Result<(), Error> {
        let Horizon { updates, updates_per_epoch } = self.horizon();
        let saved = progress.updates_per_epoch.unwrap_or(updates_per_epoch);
        if saved != updates_per_epoch {
            let message = format!("the state has {saved} updates per epoch, the run has {updates_per_epoch}");
            return Err(Error::config("session", message));
        }
        if progress.update > updates {
            let message = format!("the state has {} updates, the run has {updates}", progress.update);
            return Err(Error::config("session", message));
        }
        self.callbacks.restore(callbacks)?;
        (self.state, self.earlier_s, self.started) = (progress, elapsed_s, Instant::now());
        self.state.updates_per_epoch = Some(updates_per_epoch);
        Ok(())
    }

    fn elapsed_s(&self) -> f64 {
        self.earlier_s + self.attempt_s()
    }

    /// Runs all phases of a hook and carries out the requested actions.
    fn dispatch(&mut self, hook: Hook<'_>, host: &mut dyn Host) -> Result<(), Error> {
        for phase in Phase::ALL {
            let Horizon { updates, updates_per_epoch } = self.horizon();
            let context = Context {
                hook,
                update: self.state.update,
                epoch: self.state.epoch,
                updates,
                updates_per_epoch,
                epochs: updates.div_ceil(updates_per_epoch.max(1)),
                lr: self.state.lr,
                schedule_lr: self.rate.schedule_at(self.state.update),
                gain: self.gain(),
                marks: self.rate.marks(),
                elapsed_s: self.elapsed_s(),
                history: &self.state.history,
                decisions: &self.state.decisions,
            };
            let mut actions = VecDeque::from(self.callbacks.run(phase, &context)?);
            while let Some((source, action)) = actions.pop_front() {
                if let Action::Try { factor, updates } = action {
                    let first = self.state.update;
                    let mut lrs = (0..updates).map(|i| self.lr_at(first + i, factor));
                    let observation = host.trial(&mut lrs)?;
                    actions.extend(self.callbacks.tried(&source, &observation)?);
                } else {
                    self.act(source, action, host)?;
                }
            }
        }
        Ok(())
    }

    fn act(&mut self, source: String, action: Action, host: &mut dyn Host) -> Result<(), Error> {
        let diverged = self.state.stop == Some(StopReason::Diverged);
        if diverged && action.changes_weights() {
            // The weights of a diverged run do not change.
            return Ok(());
        }
        let lr_before = self.lr();
        let (kind, metric, value, reason) = match action {
            Action::SetGain { gain, metric, value, reason } => {
                let before = self.gain_of(&source);
                if gain == before {
                    return Ok(());
                }
                self.state.gains.insert(source.clone(), gain);
                let kind = if gain < before { DecisionKind::Cut } else { DecisionKind::Raise };
                (kind, metric, value, reason)
            }
            Action::Stop { metric, value, reason } => {
                self.state.stop.get_or_insert(StopReason::Stopped);
                (DecisionKind::Stop, metric, value, reason)
            }
            Action::Diverge { reason } => {
                self.diverge();
                (DecisionKind::Stop, String::new(), f64::NAN, reason)
            }
            action => {
                action.carry_out(host)?;
                let (Action::Restore { reason, .. } | Action::Rewind { reason, .. }) = action else {
                    return Ok(());
                };
                (DecisionKind::Rewind, String::new(), f64::NAN, reason)
            }
        };
        let decision = Decision {
            update: self.state.update,
            epoch: self.state.epoch,
            kind,
            lr_before: finite(lr_before),
            lr_after: finite(self.lr()),
            gain: self.gain_of(&source),
            source,
            metric,
            value: finite(value),
            reason,
        };
        host.decided(&decision);
        self.state.decisions.push(decision);
        Ok(())
    }
}
