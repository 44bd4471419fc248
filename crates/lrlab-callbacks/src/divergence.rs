//! Detection of divergence, and the reaction to it.

use lrlab_config::{DivergenceConfig, OnDivergence};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::metric::times_worse;
use crate::{Action, Callback, Context, Error, Hook, Phase};

const NAME: &str = "divergence_guard";
/// The tags of snapshots: one has the last weights that are known to be sane, and the other is free, or has later weights
/// that the next update will confirm.
const TAGS: [&str; 2] = ["divergence_guard-sane", "divergence_guard-sane-2"];

/// Detects NaN, infinity and explosion in the loss of every update and, with [`OnDivergence::Rewind`], NaN and infinity in the
/// validation loss of every epoch, which alone shows the effect of the last update of the epoch. Where it is not measured, the
/// weights at the end of an epoch count as sane after the next update, whose loss is computed with them.
#[derive(Debug, Clone)]
pub struct DivergenceGuard {
    config: DivergenceConfig,
    state: State,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    /// The loss of the first update.
    first: Option<f64>,
    /// Consecutive updates with an exploded loss.
    over: u64,
    /// The number of rewinds or cuts.
    acted: u64,
    gain: f64,
    /// The index of the tag of the sane weights.
    #[serde(default)]
    sane: usize,
    /// Whether the snapshot under the other tag is later and not confirmed yet.
    #[serde(default)]
    unconfirmed: bool,
}

impl DivergenceGuard {
    /// Creates the callback.
    ///
    /// # Errors
    /// Returns an error if the explosion factor or the gain factor is out of range.
    pub fn new(config: DivergenceConfig) -> Result<Self, Error> {
        if let Some(explosion) = config.explosion.filter(|&x| !(x > 1.0 && x.is_finite())) {
            return Err(Error::config(NAME, format!("explosion is {explosion}, expected a number above 1")));
        }
        let (factor, in_range) = match config.action {
            OnDivergence::Rewind { factor, .. } => (factor, factor > 0.0 && factor <= 1.0),
            OnDivergence::Cut { factor, .. } => (factor, factor > 0.0 && factor < 1.0),
            OnDivergence::Diverge | OnDivergence::Stop => (1.0, true),
        };
        if !in_range {
            return Err(Error::config(
                NAME,
                format!("factor is {factor}, expected a number between 0 and 1"),
            ));
        }
        Ok(Self {
            config,
            state: State { first: None, over: 0, acted: 0, gain: 1.0, sane: 0, unconfirmed: false },
        })
    }

    /// Returns a description of the divergence, if there is one.
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

    /// Returns the actions for a diverged metric after `update` updates.
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
            self.state.unconfirmed = false;
            actions.push(Action::Rewind { tag: self.sane_tag(), reason: reason.clone() });
        }
        let gain = self.state.gain;
        actions.push(Action::SetGain { gain, metric: metric.to_owned(), value, reason });
        actions
    }

    fn sane_tag(&self) -> String {
        TAGS[self.state.sane % TAGS.len()].to_owned()
    }

    /// Saves the weights at the end of an epoch, after which the loss of the last update did not exceed the bound.
    fn save(&mut self, val_loss: Option<f64>) -> Vec<Action> {
        if val_loss.is_some_and(|loss| !loss.is_finite()) {
            return Vec::new();
        }
        let confirmed = val_loss.is_some();
        self.state.unconfirmed = !confirmed;
        let tag = if confirmed { self.state.sane } else { self.state.sane + 1 };
        vec![Action::Save { tag: TAGS[tag % TAGS.len()].to_owned() }]
    }
}

impl Callback for DivergenceGuard {
    fn name(&self) -> &'static str {
        NAME
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        let keeps = matches!(self.config.action, OnDivergence::Rewind { .. });
        Ok(match (phase, context.hook) {
            (Phase::Control, Hook::UpdateEnd { loss, grad_norm, .. }) => {
                let finite = loss.is_finite() && grad_norm.is_none_or(f64::is_finite);
                if let Some(what) = self.diagnose(loss, grad_norm) {
                    return Ok(self.act(("loss", loss), finite, context.update, &what));
                }
                // An exploded loss, tolerated for a while, does not confirm the weights.
                if std::mem::take(&mut self.state.unconfirmed) && self.state.over == 0 {
                    self.state.sane = (self.state.sane + 1) % TAGS.len();
                }
                Vec::new()
            }
            (Phase::Control, Hook::EpochEnd(metrics)) if keeps && context.update < context.updates => {
                match metrics.val_loss.filter(|loss| !loss.is_finite()) {
                    Some(loss) => {
                        let what = format!("validation loss is {loss}");
                        self.act(("val_loss", loss), false, context.update, &what)
                    }
                    None => Vec::new(),
                }
            }
            (Phase::Snapshot, Hook::FitStart) if keeps && context.update == 0 => {
                vec![Action::Save { tag: self.sane_tag() }]
            }
            (Phase::Snapshot, Hook::EpochEnd(metrics)) if keeps && self.state.over == 0 => {
                self.save(metrics.val_loss)
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
