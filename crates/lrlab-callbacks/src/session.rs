//! Callbacks and a schedule in a training loop of one's own: what the loop would have to keep count of.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use lrlab_runs::{Decision, DecisionKind, EpochMetrics, exact_history, finite};
use lrlab_schedulers::{Horizon, Mark, Schedule};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::{Action, Callbacks, Context, Error, Host, Moment, Phase};

/// Why a run ended early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// A callback asked for it.
    Stopped,
    /// A callback found that the run had diverged.
    Diverged,
}

/// A run as callbacks see it. The loop asks for the rate, tells what happened, and looks whether it is over; rates,
/// gains, decisions, trials and the order of the phases are kept here, and the [`Host`] does what is about weights.
///
/// ```
/// # use lrlab_callbacks::{Averaging, Error, Host};
/// # use lrlab_schedulers::Observation;
/// # /// A parabola, `loss = w²`.
/// # #[derive(Default)]
/// # struct Weights { now: f64, kept: std::collections::BTreeMap<String, f64> }
/// # impl Weights { fn loss(&self) -> f64 { self.now * self.now } }
/// # impl Host for Weights {
/// #     fn save(&mut self, tag: &str) -> Result<(), Error> { self.kept.insert(tag.to_owned(), self.now); Ok(()) }
/// #     fn restore(&mut self, tag: &str) -> Result<(), Error> { self.now = self.kept[tag]; Ok(()) }
/// #     fn discard(&mut self, tag: &str) -> Result<(), Error> { self.kept.remove(tag); Ok(()) }
/// #     fn average(&mut self, _: Averaging) -> Result<(), Error> { Ok(()) }
/// #     fn recompute_norm_statistics(&mut self) -> Result<(), Error> { Ok(()) }
/// #     fn trial(&mut self, _: f64, _: u64) -> Result<Observation, Error> { Ok(Observation { value: 0.0, stderr: None }) }
/// # }
/// use lrlab_callbacks::{Callbacks, Session, ValidationLossMonitor};
/// use lrlab_runs::EpochMetrics;
/// use lrlab_schedulers::{ControllerSpec, Horizon, ScheduleSpec};
///
/// let mut weights = Weights { now: 1.0, ..Weights::default() };
/// let run = Horizon { updates: 100, updates_per_epoch: 10 };
/// let monitor = ControllerSpec::parse("plateau = { factor = 0.1, patience = 1 }")?.build()?;
/// let callbacks = Callbacks::default().with(ValidationLossMonitor::new(monitor, "val_loss")?);
/// let mut session = Session::new(callbacks, ScheduleSpec::parse("static")?.build(&run)?, 1.0, run);
///
/// session.begin(&mut weights)?;
/// while !session.over() {
///     session.epoch_begins(&mut weights)?;
///     for _ in 0..run.updates_per_epoch {
///         let loss = weights.loss();
///         weights.now -= session.lr() * 2.0 * weights.now;
///         session.updated(loss, None, &mut weights)?;
///     }
///     session.epoch_ended(EpochMetrics { val_loss: Some(weights.loss()), ..EpochMetrics::default() }, &mut weights)?;
/// }
/// session.end(&mut weights)?;
/// // At rate 1 the weight only jumps from side to side, until the monitor cuts the rate.
/// assert_eq!(session.decisions()[0].reason, "cut × 0.1: 2 bad > patience 1, best 1 at observation 1");
/// assert!(weights.loss() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    callbacks: Callbacks,
    schedule: Box<dyn Schedule>,
    marks: Vec<Mark>,
    base: f64,
    horizon: Horizon,
    begun: Instant,
    /// Seconds of earlier attempts.
    earlier_s: f64,
    count: Count,
}

/// What changes: the part that is saved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Count {
    update: u64,
    epoch: u64,
    /// Rate of the last update.
    lr: f64,
    /// Gains by callback.
    gains: BTreeMap<String, f64>,
    #[serde(with = "exact_history")]
    history: Vec<EpochMetrics>,
    decisions: Vec<Decision>,
    end: Option<End>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    count: Count,
    elapsed_s: f64,
    callbacks: Value,
}

impl Session {
    /// Before the first update of a run of this length; `schedule` was built for it.
    #[must_use]
    pub fn new(callbacks: Callbacks, schedule: Box<dyn Schedule>, base: f64, horizon: Horizon) -> Self {
        let marks = schedule.marks();
        let lr = schedule.lr(base, horizon.at(0));
        let count = Count { lr, ..Count::default() };
        Self { callbacks, schedule, marks, base, horizon, begun: Instant::now(), earlier_s: 0.0, count }
    }

    /// The rate of the next update: the schedule's times the gains in force.
    #[must_use]
    pub fn lr(&self) -> f64 {
        self.schedule_lr() * self.gain()
    }

    /// The product of the gains in force.
    #[must_use]
    pub fn gain(&self) -> f64 {
        self.count.gains.values().product()
    }

    fn schedule_lr(&self) -> f64 {
        self.schedule.lr(self.base, self.horizon.at(self.count.update))
    }

    /// Updates made.
    #[must_use]
    pub fn update(&self) -> u64 {
        self.count.update
    }

    /// Completed epochs.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.count.epoch
    }

    /// Whether there is nothing left to do: every update was made, or a callback ended the run.
    #[must_use]
    pub fn over(&self) -> bool {
        self.count.end.is_some() || self.count.update >= self.horizon.updates
    }

    /// Who ended the run early, if anyone did.
    #[must_use]
    pub fn ended(&self) -> Option<&End> {
        self.count.end.as_ref()
    }

    /// Completed epochs' figures.
    #[must_use]
    pub fn history(&self) -> &[EpochMetrics] {
        &self.count.history
    }

    /// What was decided, with reasons.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.count.decisions
    }

    /// The callbacks, to read what one of them knows.
    #[must_use]
    pub fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    /// Before the first update, also after a resume.
    ///
    /// # Errors
    /// Callbacks that cannot work ([`Callbacks::run`]), or the host's.
    pub fn begin(&mut self, host: &mut dyn Host) -> Result<(), Error> {
        self.begun = Instant::now();
        self.tell(Moment::FitStart, host)
    }

    /// Before an epoch's first update.
    ///
    /// # Errors
    /// A callback's or the host's.
    pub fn epoch_begins(&mut self, host: &mut dyn Host) -> Result<(), Error> {
        self.tell(Moment::EpochStart, host)
    }

    /// After an update at [`Session::lr`]: its loss (of the weights before it) and, where known, the gradient's norm.
    ///
    /// # Errors
    /// A callback's or the host's.
    pub fn updated(&mut self, loss: f64, grad_norm: Option<f64>, host: &mut dyn Host) -> Result<(), Error> {
        self.count.lr = self.lr();
        self.count.update += 1;
        self.tell(Moment::Update { loss, grad_norm }, host)
    }

    /// After an epoch: its figures, of which `epoch` and `lr` are filled in here. `None` is what was not measured:
    /// callbacks that count measurements wait for the next one. What was measured and is not finite is `Some` of it.
    ///
    /// # Errors
    /// A callback's or the host's.
    pub fn epoch_ended(&mut self, mut metrics: EpochMetrics, host: &mut dyn Host) -> Result<(), Error> {
        self.count.epoch += 1;
        (metrics.epoch, metrics.lr) = (self.count.epoch, finite(self.count.lr));
        self.count.history.push(metrics.clone());
        self.tell(Moment::Epoch(&metrics), host)
    }

    /// After the last update.
    ///
    /// # Errors
    /// A callback's or the host's.
    pub fn end(&mut self, host: &mut dyn Host) -> Result<(), Error> {
        self.tell(Moment::FitEnd, host)
    }

    /// The loop is about to give up.
    ///
    /// # Errors
    /// A callback's or the host's.
    pub fn failed(&mut self, error: &str, host: &mut dyn Host) -> Result<(), Error> {
        self.tell(Moment::Failed { error }, host)
    }

    /// Everything that is to be saved beside weights and optimizer.
    #[must_use]
    pub fn state(&self) -> Value {
        let (count, callbacks) = (self.count.clone(), self.callbacks.state());
        to_state(&Saved { count, elapsed_s: self.elapsed_s(), callbacks })
    }

    /// Goes on from what [`Session::state`] gave. Schedule, base rate and callbacks stay as they are here.
    ///
    /// # Errors
    /// A state of another shape.
    pub fn restore(&mut self, state: Value) -> Result<(), Error> {
        let Saved { count, elapsed_s, callbacks } = from_state("session", state)?;
        self.callbacks.restore(callbacks)?;
        (self.count, self.earlier_s, self.begun) = (count, elapsed_s, Instant::now());
        Ok(())
    }

    fn elapsed_s(&self) -> f64 {
        self.earlier_s + self.begun.elapsed().as_secs_f64()
    }

    /// Lets callbacks see a moment, phase by phase, and does what they ask for.
    fn tell(&mut self, moment: Moment<'_>, host: &mut dyn Host) -> Result<(), Error> {
        for phase in Phase::ALL {
            let context = Context {
                moment,
                update: self.count.update,
                epoch: self.count.epoch,
                updates: self.horizon.updates,
                updates_per_epoch: self.horizon.updates_per_epoch,
                epochs: self.horizon.updates.div_ceil(self.horizon.updates_per_epoch.max(1)),
                lr: self.count.lr,
                schedule_lr: self.schedule_lr(),
                gain: self.gain(),
                marks: &self.marks,
                elapsed_s: self.elapsed_s(),
                history: &self.count.history,
                decisions: &self.count.decisions,
            };
            let mut asked = VecDeque::from(self.callbacks.run(phase, &context)?);
            while let Some((source, action)) = asked.pop_front() {
                if let Action::Try { factor, updates } = action {
                    let seen = host.trial(factor, updates)?;
                    asked.extend(self.callbacks.tried(&source, &seen)?);
                } else {
                    self.act(source, action, host)?;
                }
            }
        }
        Ok(())
    }

    fn act(&mut self, source: String, action: Action, host: &mut dyn Host) -> Result<(), Error> {
        let before = self.lr();
        let about_weights = action.carry_out(host)?;
        let gain_before = self.count.gains.get(&source).copied().unwrap_or(1.0);
        let (kind, metric, value, reason) = match action {
            Action::SetGain { gain, metric, value, reason } => {
                self.count.gains.insert(source.clone(), gain);
                let kind = if gain < gain_before { DecisionKind::Cut } else { DecisionKind::Raise };
                (kind, metric, value, reason)
            }
            Action::Restore { reason, .. } => (DecisionKind::Rewind, String::new(), f64::NAN, reason),
            Action::Stop { metric, value, reason } => {
                self.count.end.get_or_insert(End::Stopped);
                (DecisionKind::Stop, metric, value, reason)
            }
            Action::Diverge { reason } => {
                self.count.end = Some(End::Diverged);
                (DecisionKind::Stop, String::new(), f64::NAN, reason)
            }
            _ => {
                debug_assert!(about_weights, "what is left is about weights");
                return Ok(());
            }
        };
        self.count.decisions.push(Decision {
            update: self.count.update,
            epoch: self.count.epoch,
            kind,
            lr_before: finite(before),
            lr_after: finite(self.lr()),
            gain: self.count.gains.get(&source).copied().unwrap_or(1.0),
            source,
            metric,
            value: finite(value),
            reason,
        });
        Ok(())
    }
}
