//! Weight averaging.

use lrlab_config::{AverageEvery, AveragingConfig, EmaConfig, LawaConfig, SwaConfig};
use lrlab_schedulers::{Horizon, Span};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::{Action, Averaging, Callback, Context, Error, Hook, Phase};

const NAME: &str = "weight_averaging";

/// Updates an average of the weights during the run and replaces the weights by it at the end, after control actions, with
/// recomputed batch-norm statistics. A run may have one such callback, because the host keeps one average.
///
/// The averaged weights take precedence over those that [`EarlyStopping`](crate::EarlyStopping) restores.
#[derive(Debug, Clone)]
pub struct WeightAveraging {
    rule: Averaging,
    every: AverageEvery,
    start: Span,
    /// The number of updates of the average.
    count: u64,
}

impl WeightAveraging {
    /// Creates the callback for a rule, from `start` on.
    ///
    /// # Errors
    /// Returns an error if the interval or the number of weights is 0, the decay is outside 0 ≤ decay < 1, or the rule is
    /// [`Averaging::Apply`].
    pub fn new(rule: Averaging, every: AverageEvery, start: Span) -> Result<Self, Error> {
        let message = match rule {
            Averaging::Exponential { decay } if !(0.0..1.0).contains(&decay) => {
                Some(format!("decay is {decay}, expected 0 ≤ decay < 1"))
            }
            Averaging::Latest { k: 0 } => Some("k is 0, expected at least 1".to_owned()),
            Averaging::Apply => Some("`Apply` is not an averaging rule".to_owned()),
            _ if every.is_zero() => Some("the interval is 0, expected more than 0".to_owned()),
            _ => None,
        };
        match message {
            Some(message) => Err(Error::config(NAME, message)),
            None => Ok(Self { rule, every, start, count: 0 }),
        }
    }

    /// Creates the callback from its configuration.
    ///
    /// # Errors
    /// See [`WeightAveraging::new`].
    pub fn of(config: &AveragingConfig) -> Result<Self, Error> {
        let rule = match config {
            AveragingConfig::Ema(ema) => Averaging::Exponential { decay: ema.decay },
            AveragingConfig::Swa(_) => Averaging::Uniform,
            AveragingConfig::Lawa(lawa) => Averaging::Latest { k: lawa.k },
        };
        let (every, start) = config.times();
        Self::new(rule, every, start)
    }

    /// Creates an exponential moving average over all updates: `average ← decay · average + (1 − decay) · weights`.
    ///
    /// # Errors
    /// Returns an error if `decay` is outside 0 ≤ decay < 1.
    pub fn ema(decay: f64) -> Result<Self, Error> {
        Self::of(&AveragingConfig::Ema(EmaConfig { decay, ..EmaConfig::default() }))
    }

    /// Creates stochastic weight averaging (Izmailov et al., UAI 2018): the mean over the epochs from `start` on.
    ///
    /// # Errors
    /// See [`WeightAveraging::new`].
    pub fn swa(start: Span) -> Result<Self, Error> {
        Self::of(&AveragingConfig::Swa(SwaConfig { start, ..SwaConfig::default() }))
    }

    /// Creates latest weight averaging (Kaddour, 2022): the mean over the last `k` epochs.
    ///
    /// # Errors
    /// Returns an error if `k` is 0.
    pub fn lawa(k: usize) -> Result<Self, Error> {
        Self::of(&AveragingConfig::Lawa(LawaConfig { k, ..LawaConfig::default() }))
    }

    fn is_due(&self, context: &Context<'_>) -> bool {
        let horizon = Horizon { updates: context.updates, updates_per_epoch: context.updates_per_epoch };
        let start = self.start.resolve_updates(&horizon);
        let due = match (self.every, context.hook) {
            (AverageEvery::Cycle, Hook::UpdateEnd { .. }) => {
                context.restarts() || context.update == context.updates
            }
            // Intervals of whole epochs: after the control phase of the epoch.
            (every, Hook::EpochEnd(_)) => {
                every.whole_epochs().is_some_and(|epochs| context.epoch.is_multiple_of(epochs))
            }
            (AverageEvery::Length(length), Hook::UpdateEnd { .. }) if self.every.whole_epochs().is_none() => {
                context.update.saturating_sub(start).is_multiple_of(length.resolve_updates(&horizon))
            }
            _ => false,
        };
        due && context.update >= start
    }
}

impl Callback for WeightAveraging {
    fn name(&self) -> &'static str {
        NAME
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        if phase != Phase::Snapshot {
            return Ok(Vec::new());
        }
        if self.is_due(context) {
            self.count += 1;
            return Ok(vec![Action::Average(self.rule)]);
        }
        if context.hook == Hook::FitEnd && self.count > 0 {
            return Ok(vec![Action::Average(Averaging::Apply), Action::RecomputeNormStatistics]);
        }
        Ok(Vec::new())
    }

    fn state(&self) -> Value {
        to_state(&self.count)
    }

    fn restore(&mut self, state: Value) -> Result<(), Error> {
        self.count = from_state(NAME, state)?;
        Ok(())
    }
}
