//! Notice that training has left the sane, and act.

use lrlab_config::{DivergenceConfig, OnDivergence};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::metric::times_worse;
use crate::{Action, Callback, Context, Error, Moment, Phase};

const NAME: &str = "divergence_guard";
/// Where the last sane weights are kept.
const TAG: &str = "divergence_guard-sane";

/// Watches the loss of every update for NaN, infinity and explosion, and with [`OnDivergence::Rewind`] the validation loss
/// of every epoch for NaN and infinity: the update that ends an epoch is judged by nothing else.
#[derive(Debug, Clone)]
pub struct DivergenceGuard {
    config: DivergenceConfig,
    state: State,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    /// The first update's loss.
    first: Option<f64>,
    /// Exploding updates in a row.
    over: u64,
    /// Rewinds or cuts so far.
    acted: u64,
    gain: f64,
}

impl DivergenceGuard {
    /// # Errors
    /// An explosion factor or a gain factor out of its range.
    pub fn new(config: DivergenceConfig) -> Result<Self, Error> {
        if let Some(explosion) = config.explosion.filter(|&x| !(x > 1.0 && x.is_finite())) {
            return Err(Error::config(NAME, format!("explosion is {explosion}, expected a number above 1")));
        }
        let (factor, sane) = match config.action {
            OnDivergence::Rewind { factor, .. } => (factor, factor > 0.0 && factor <= 1.0),
            OnDivergence::Cut { factor, .. } => (factor, factor > 0.0 && factor < 1.0),
            OnDivergence::Diverge | OnDivergence::Stop => (1.0, true),
        };
        if !sane {
            return Err(Error::config(
                NAME,
                format!("factor is {factor}, expected a number between 0 and 1"),
            ));
        }
        Ok(Self { config, state: State { first: None, over: 0, acted: 0, gain: 1.0 } })
    }

    /// What is wrong, if anything is.
    fn diagnose(&mut self, loss: f64, grad_norm: Option<f64>) -> Option<String> {
        if !loss.is_finite() {
            return Some(format!("loss is {loss}"));
        }
        if let Some(norm) = grad_norm.filter(|norm| !norm.is_finite()) {
            return Some(format!("gradient norm is {norm}"));
        }
        let first = *self.state.first.get_or_insert(loss);
        let bound = self.config.explosion.map(|factor| times_worse(first, factor))?;
        self.state.over = if loss > bound { self.state.over + 1 } else { 0 };
        (self.state.over >= self.config.patience.max(1))
            .then(|| format!("loss {loss} > {bound} for {} updates, the first was {first}", self.state.over))
    }

    /// What is done about the value of a metric after `update` updates.
    fn act(&mut self, (metric, value): (&str, f64), finite: bool, update: u64, what: &str) -> Vec<Action> {
        self.state.over = 0;
        let reason = |verb: &str| format!("{verb} at update {update}: {what}");
        let (factor, limit, rewind) = match self.config.action {
            OnDivergence::Diverge => return vec![Action::Diverge { reason: reason("diverged") }],
            OnDivergence::Stop => {
                return vec![Action::Stop { metric: metric.to_owned(), value, reason: reason("stop") }];
            }
            OnDivergence::Rewind { factor, limit } => (factor, limit, true),
            OnDivergence::Cut { factor, limit } => (factor, limit, false),
        };
        if self.state.acted >= limit || !(finite || rewind) {
            return vec![Action::Diverge { reason: reason("diverged") }];
        }
        self.state.acted += 1;
        self.state.gain *= factor;
        let verb = format!("{} and cut × {factor}", if rewind { "rewind" } else { "slow down" });
        let reason = reason(&verb);
        let mut actions = Vec::new();
        if rewind {
            actions.push(Action::Restore { tag: TAG.to_owned(), reason: reason.clone() });
        }
        let gain = self.state.gain;
        actions.push(Action::SetGain { gain, metric: metric.to_owned(), value, reason });
        actions
    }
}

impl Callback for DivergenceGuard {
    fn name(&self) -> &'static str {
        NAME
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        let keeps = matches!(self.config.action, OnDivergence::Rewind { .. });
        Ok(match (phase, context.moment) {
            (Phase::Control, Moment::Update { loss, grad_norm }) => {
                let finite = loss.is_finite() && grad_norm.is_none_or(f64::is_finite);
                match self.diagnose(loss, grad_norm) {
                    Some(what) => self.act(("loss", loss), finite, context.update, &what),
                    None => Vec::new(),
                }
            }
            (Phase::Control, Moment::Epoch(metrics)) if keeps && context.update < context.updates => {
                match metrics.val_loss.filter(|loss| !loss.is_finite()) {
                    Some(loss) => {
                        let what = format!("validation loss is {loss}");
                        self.act(("val_loss", loss), false, context.update, &what)
                    }
                    None => Vec::new(),
                }
            }
            (Phase::Snapshot, Moment::FitStart) if keeps && context.update == 0 => {
                vec![Action::Save { tag: TAG.to_owned() }]
            }
            (Phase::Snapshot, Moment::Epoch(metrics))
                if keeps && self.state.over == 0 && metrics.val_loss.is_none_or(f64::is_finite) =>
            {
                vec![Action::Save { tag: TAG.to_owned() }]
            }
            _ => Vec::new(),
        })
    }

    fn state(&self) -> Value {
        to_state(&self.state)
    }

    fn restore(&mut self, state: Value) -> Result<(), Error> {
        self.state = from_state(NAME, state)?;
        Ok(())
    }
}
