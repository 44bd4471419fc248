//! Averages of the weights along a run.

use lrlab_config::{AverageEvery, AveragingConfig, EmaConfig, LawaConfig, SwaConfig};
use lrlab_schedulers::{Horizon, Span};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::{Action, Averaging, Callback, Context, Error, Moment, Phase};

const NAME: &str = "weight_averaging";

/// Feeds an average of the weights along the run and puts it in their place at the end, after control, with
/// batch-norm statistics recomputed for it. One per run: the host keeps one average.
///
/// Averaged weights win over those that [`EarlyStopping`](crate::EarlyStopping) restores.
#[derive(Debug, Clone)]
pub struct WeightAveraging {
    rule: Averaging,
    every: AverageEvery,
    start: Span,
    /// How often weights were taken in.
    fed: u64,
}

impl WeightAveraging {
    /// Any rule, from `start` on.
    ///
    /// # Errors
    /// An interval of 0, a decay outside 0 … 1, no weights to average, or [`Averaging::Apply`], which is no rule.
    pub fn new(rule: Averaging, every: AverageEvery, start: Span) -> Result<Self, Error> {
        let message = match rule {
            Averaging::Exponential { decay } if !(0.0..1.0).contains(&decay) => {
                Some(format!("decay is {decay}, expected 0 ≤ decay < 1"))
            }
            Averaging::Latest { k: 0 } => Some("the latest 0 weights have no mean".to_owned()),
            Averaging::Apply => Some("`Apply` is no way to average".to_owned()),
            _ if every.is_zero() => Some("takes in weights every 0, expected more".to_owned()),
            _ => None,
        };
        match message {
            Some(message) => Err(Error::config(NAME, message)),
            None => Ok(Self { rule, every, start, fed: 0 }),
        }
    }

    /// As `config` states.
    ///
    /// # Errors
    /// As [`WeightAveraging::new`].
    pub fn of(config: &AveragingConfig) -> Result<Self, Error> {
        let rule = match config {
            AveragingConfig::Ema(ema) => Averaging::Exponential { decay: ema.decay },
            AveragingConfig::Swa(_) => Averaging::Uniform,
            AveragingConfig::Lawa(lawa) => Averaging::Latest { k: lawa.k },
        };
        let (every, start) = config.times();
        Self::new(rule, every, start)
    }

    /// Exponential moving average after every update: `average ← decay · average + (1 − decay) · weights`.
    ///
    /// # Errors
    /// A decay outside 0 ≤ decay < 1.
    pub fn ema(decay: f64) -> Result<Self, Error> {
        Self::of(&AveragingConfig::Ema(EmaConfig { decay, ..EmaConfig::default() }))
    }

    /// Stochastic weight averaging (Izmailov et al., UAI 2018): the mean over the epochs from `start` on.
    ///
    /// # Errors
    /// None for this rule; see [`WeightAveraging::new`].
    pub fn swa(start: Span) -> Result<Self, Error> {
        Self::of(&AveragingConfig::Swa(SwaConfig { start, ..SwaConfig::default() }))
    }

    /// Latest weight averaging (Kaddour, 2022): the mean over the last `k` epochs.
    ///
    /// # Errors
    /// `k` is 0.
    pub fn lawa(k: usize) -> Result<Self, Error> {
        Self::of(&AveragingConfig::Lawa(LawaConfig { k, ..LawaConfig::default() }))
    }

    fn feeds(&self, context: &Context<'_>) -> bool {
        let horizon = Horizon { updates: context.updates, updates_per_epoch: context.updates_per_epoch };
        let start = self.start.resolve_updates(&horizon);
        let due = match (self.every, context.moment) {
            (AverageEvery::Cycle, Moment::Update { .. }) => {
                context.restarts() || context.update == context.updates
            }
            // Whole epochs: after control has seen the epoch's figures.
            (every, Moment::Epoch(_)) => {
                every.whole_epochs().is_some_and(|epochs| context.epoch.is_multiple_of(epochs))
            }
            (AverageEvery::Length(length), Moment::Update { .. }) if self.every.whole_epochs().is_none() => {
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
        if self.feeds(context) {
            self.fed += 1;
            return Ok(vec![Action::Average(self.rule)]);
        }
        if context.moment == Moment::FitEnd && self.fed > 0 {
            return Ok(vec![Action::Average(Averaging::Apply), Action::RecomputeNormStatistics]);
        }
        Ok(Vec::new())
    }

    fn state(&self) -> Value {
        to_state(&self.fed)
    }

    fn restore(&mut self, state: Value) -> Result<(), Error> {
        self.fed = from_state(NAME, state)?;
        Ok(())
    }
}
