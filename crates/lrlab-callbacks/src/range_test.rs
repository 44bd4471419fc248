//! The rate-range test: find a rate by sweeping through all of them (Smith, WACV 2017).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::metric::times_worse;
use crate::{Action, Callback, Context, Error, Moment, NoSuggestion, Phase, Suggestion, suggest_lr};

const NAME: &str = "range_test";

/// The sweep. Defaults are Lightning's `LearningRateFinder`'s.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeTestConfig {
    /// The first rate, > 0; default 1e-8.
    pub min_lr: f64,
    /// The last rate, > `min_lr`; default 1.
    pub max_lr: f64,
    /// Updates of the sweep, > 1; default 100.
    pub updates: u64,
    /// Weight of the past in the smoothed loss, 0 ≤ β < 1; default 0.98.
    pub smoothing: f64,
    /// The sweep ends where the smoothed loss exceeds `least + (divergence − 1) · |least|`, which for a least value above
    /// 0 is this multiple of it; > 1; default 4.
    pub divergence: f64,
}

impl Default for RangeTestConfig {
    fn default() -> Self {
        Self { min_lr: 1e-8, max_lr: 1.0, updates: 100, smoothing: 0.98, divergence: 4.0 }
    }
}

impl RangeTestConfig {
    /// What is out of its range, if anything is: what was expected, and what was found. `called` says what the reader calls
    /// a field of this name.
    #[must_use]
    pub fn mistake(&self, called: impl Fn(&str) -> String) -> Option<String> {
        let Self { min_lr, max_lr, updates, smoothing, divergence } = *self;
        let [min, max] = ["min_lr", "max_lr"].map(&called);
        let one = |name: &str, expected: &str, found: &dyn std::fmt::Display| {
            format!("expected {} {expected}, found {found}", called(name))
        };
        if !(min_lr > 0.0 && min_lr < max_lr && max_lr.is_finite()) {
            return Some(format!(
                "expected 0 < {min} < {max}, both finite, found {min} = {min_lr:e} and {max} = {max_lr:e}"
            ));
        }
        if updates <= 1 {
            return Some(one("updates", "above 1", &updates));
        }
        if !(0.0..1.0).contains(&smoothing) {
            return Some(one("smoothing", "from 0 to below 1", &smoothing));
        }
        (divergence.is_nan() || divergence <= 1.0).then(|| one("divergence", "above 1", &divergence))
    }
}

/// Raises the rate exponentially from update to update, `min_lr · (max_lr / min_lr)^(i / (updates − 1))`, by a
/// gain on whatever schedule there is, and records the smoothed loss. Ends the run after the sweep, or where
/// the loss diverges or the gradient is not finite.
///
/// [`RangeTest::suggestion`] is a rate within the descent of the smoothed loss, by the rule of [`suggest_lr`]. The loss at
/// a rate belongs to the weights before that rate's update.
#[derive(Debug, Clone)]
pub struct RangeTest {
    config: RangeTestConfig,
    state: State,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    /// Rate and smoothed loss.
    points: Vec<(f64, f64)>,
    /// Moving average before its bias is taken out.
    average: f64,
}

impl RangeTest {
    /// # Errors
    /// A field out of its range.
    pub fn new(config: RangeTestConfig) -> Result<Self, Error> {
        match config.mistake(str::to_owned) {
            Some(mistake) => Err(Error::config(NAME, mistake)),
            None => Ok(Self { config, state: State::default() }),
        }
    }

    /// Rate and smoothed loss, one per update with a finite loss.
    #[must_use]
    pub fn points(&self) -> &[(f64, f64)] {
        &self.state.points
    }

    /// The rate to begin with, by [`suggest_lr`].
    ///
    /// # Errors
    /// The loss shows no descent; see [`NoSuggestion`].
    pub fn suggestion(&self) -> Result<Suggestion, NoSuggestion> {
        suggest_lr(&self.state.points, self.config.smoothing)
    }

    /// The gain under which the next update has its rate.
    fn gain(&self, context: &Context<'_>) -> Result<Action, Error> {
        if context.schedule_lr <= 0.0 {
            let message = format!("the schedule's rate is {} and no gain changes it", context.schedule_lr);
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

    /// Takes in a loss; says why the sweep ends, if it does.
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
        match (phase, context.moment) {
            (Phase::Control, Moment::FitStart) if context.update == 0 => Ok(vec![self.gain(context)?]),
            (Phase::Control, Moment::Update { loss, grad_norm }) => {
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
