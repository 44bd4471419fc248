//! The learning-rate range test (Smith, WACV 2017).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::metric::times_worse;
use crate::{Action, Callback, Context, Error, Hook, NoSuggestion, Phase, Suggestion, suggest_lr};

const NAME: &str = "range_test";

/// The configuration of a sweep. The defaults are those of `LearningRateFinder` in Lightning.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeTestConfig {
    /// The first rate, at least 1e-30; default 1e-8.
    pub min_lr: f64,
    /// The last rate, > `min_lr` and at most 1e30; default 1.
    pub max_lr: f64,
    /// The number of updates of the sweep, > 1; default 100.
    pub updates: u64,
    /// The weight β of earlier losses in the smoothed loss, 0 ≤ β < 1; default 0.98.
    pub smoothing: f64,
    /// The sweep ends when the smoothed loss exceeds `least + (divergence − 1) · |least|`, which is `divergence · least` for a
    /// positive least value; > 1; default 4.
    pub divergence: f64,
}

impl Default for RangeTestConfig {
    fn default() -> Self {
        Self { min_lr: 1e-8, max_lr: 1.0, updates: 100, smoothing: 0.98, divergence: 4.0 }
    }
}

impl RangeTestConfig {
    /// Returns the error message for a field that is out of range, if there is one. `display_name` maps the name of a field to
    /// the name in the message.
    #[must_use]
    pub fn mistake(&self, display_name: impl Fn(&str) -> String) -> Option<String> {
        let Self { min_lr, max_lr, updates, smoothing, divergence } = *self;
        let [min, max] = ["min_lr", "max_lr"].map(&display_name);
        let message = |name: &str, expected: &str, found: &dyn std::fmt::Display| {
            format!("expected {} {expected}, found {found}", display_name(name))
        };
        if !(min_lr > 0.0 && min_lr < max_lr && max_lr.is_finite()) {
            return Some(format!(
                "expected 0 < {min} < {max}, both finite, found {min} = {min_lr:e} and {max} = {max_lr:e}"
            ));
        }
        if min_lr < 1e-30 || max_lr > 1e30 {
            return Some(format!(
                "expected {min} and {max} from 1e-30 to 1e30, found {min} = {min_lr:e} and {max} = {max_lr:e}"
            ));
        }
        if updates <= 1 {
            return Some(message("updates", "above 1", &updates));
        }
        if !(0.0..1.0).contains(&smoothing) {
            return Some(message("smoothing", "from 0 to below 1", &smoothing));
        }
        (divergence.is_nan() || divergence <= 1.0).then(|| message("divergence", "above 1", &divergence))
    }
}

/// Increases the rate exponentially with the updates, `min_lr · (max_lr / min_lr)^(i / (updates − 1))`, by a gain on the
/// schedule, and records the smoothed loss. Ends the run after the sweep, or when the loss diverges or the gradient is not
/// finite.
///
/// [`RangeTest::suggestion`] applies [`suggest_lr`] to the recorded losses. The loss at a rate is measured before the update
/// with this rate.
#[derive(Debug, Clone)]
pub struct RangeTest {
    config: RangeTestConfig,
    state: State,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    /// Rates and smoothed losses.
    points: Vec<(f64, f64)>,
    /// The moving average before bias correction.
    average: f64,
}

impl RangeTest {
    /// Creates the callback.
    ///
    /// # Errors
    /// Returns an error if a field is out of range.
    pub fn new(config: RangeTestConfig) -> Result<Self, Error> {
        match config.mistake(str::to_owned) {
            Some(mistake) => Err(Error::config(NAME, mistake)),
            None => Ok(Self { config, state: State::default() }),
        }
    }

    /// Returns the rate and the smoothed loss of each update with a finite loss.
    #[must_use]
    pub fn points(&self) -> &[(f64, f64)] {
        &self.state.points
    }

    /// Returns the suggested rate, by [`suggest_lr`].
    ///
    /// # Errors
    /// Returns [`NoSuggestion`] if the loss shows no descent.
    pub fn suggestion(&self) -> Result<Suggestion, NoSuggestion> {
        suggest_lr(&self.state.points, self.config.smoothing)
    }

    /// Returns the gain that gives the rate of the next update.
    fn gain(&self, context: &Context<'_>) -> Result<Action, Error> {
        if context.schedule_lr <= 0.0 {
            let message = format!(
                "the rate of the schedule is {}, expected more than 0; use a static schedule",
                context.schedule_lr
            );
            return Err(Error::config(NAME, message));
        }
        let RangeTestConfig { min_lr, max_lr, updates, .. } = self.config;
        let lr = min_lr * libm::pow(max_lr / min_lr, context.update as f64 / (updates - 1) as f64);
        Ok(Action::SetGain {
            gain: lr / context.schedule_lr,
            metric: "loss".to_owned(),
            value: self.state.points.last().map_or(f64::NAN, |point| point.1),
            reason: format!("range test: rate {lr} for update {}", context.update),
        })
    }

    /// Records a loss. Returns the reason if the sweep ends.
    fn record(&mut self, loss: f64, grad_norm: Option<f64>, context: &Context<'_>) -> Option<String> {
        if !loss.is_finite() {
            return Some(format!("loss is {loss} at rate {}", context.lr));
        }
        if let Some(norm) = grad_norm.filter(|norm| !norm.is_finite()) {
            return Some(format!("gradient norm is {norm} at rate {}", context.lr));
        }
        let beta = self.config.smoothing;
        let state = &mut self.state;
        state.average = beta * state.average + (1.0 - beta) * loss;
        let smoothed = state.average / (1.0 - libm::pow(beta, (state.points.len() + 1) as f64));
        state.points.push((context.lr, smoothed));
        let least = state.points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let bound = times_worse(least, self.config.divergence);
        if smoothed > bound && state.points.len() > 1 {
            return Some(format!(
                "loss {smoothed} > {bound}, the least being {least}, at rate {}",
                context.lr
            ));
        }
        (context.update >= self.config.updates).then(|| format!("all {} rates tried", self.config.updates))
    }
}

impl Callback for RangeTest {
    fn name(&self) -> &'static str {
        NAME
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        match (phase, context.hook) {
            (Phase::Control, Hook::FitStart) if context.update == 0 => Ok(vec![self.gain(context)?]),
            (Phase::Control, Hook::UpdateEnd { loss, grad_norm, .. }) => {
                match self.record(loss, grad_norm, context) {
                    Some(reason) => Ok(vec![Action::Stop { metric: "loss".to_owned(), value: loss, reason }]),
                    None => Ok(vec![self.gain(context)?]),
                }
            }
            _ => Ok(Vec::new()),
        }
    }

    fn state(&self) -> Value {
        to_state(&self.state)
    }

    fn restore(&mut self, state: Value) -> Result<(), Error> {
        self.state = from_state(NAME, state)?;
        Ok(())
    }
}
