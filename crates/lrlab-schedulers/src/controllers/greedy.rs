//! Raises the rate while the metric improves, and lowers it otherwise.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{Mode, OnNan, ThresholdMode, check_bounds, check_cut, cut, push_last};
use crate::schedules::is_default;
use crate::{Controller, Decision, Error, Observation, check};

/// `greedy = { factor = 0.95, patience = 10 }`: `GreedyLR`, which raises and lowers the gain.
///
/// More than `patience` better observations in a row divide the gain by `factor`; more than `patience` others multiply it by
/// `factor`, within `min_gain … max_gain`. An observation is better if it improves on the best one by more than a margin, as
/// in [`crate::Plateau`]. `warmup` observations after a raise and `cooldown` observations after a cut are ignored, also as
/// the best. With `window` > 1 the metric is the mean of the last `window` observations. After `reset_after` cuts in a row
/// without effect, because the gain is at `min_gain`, the state is reset and the gain is 1 again.
///
/// Source: arXiv 2512.14527 and the implementation in transformers 5.23, whose bounds are rates instead of gains (with its
/// default minimum of 1e-3, smaller rates never fall).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Greedy {
    /// Factor of a cut, and divisor of a raise, 0 < x < 1; default 0.95.
    pub factor: f64,
    /// A change needs more than this number of better, or of other, observations in a row; default 10.
    pub patience: u64,
    /// The improvement that a better observation exceeds, 0 … 1e30; default 1e-6.
    pub threshold: f64,
    /// The unit of `threshold`; default `abs`.
    pub threshold_mode: ThresholdMode,
    /// The direction of improvement; default `min`.
    pub mode: Mode,
    /// Ignored observations after a cut; default 0.
    pub cooldown: u64,
    /// Ignored observations after a raise; default 0.
    pub warmup: u64,
    /// Number of observations to average, 1 … 10000; default 1.
    pub window: u32,
    /// The lowest gain, 0 … 1; default 0.
    pub min_gain: f64,
    /// The highest gain, 1 … 1e30; default 10.
    pub max_gain: f64,
    /// Number of cuts without effect at the lowest gain after which the state is reset; default 0: never.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_zero"))]
    pub reset_after: u64,
    /// Which cuts count towards `reset_after`; default `without_effect`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_default"))]
    pub reset_rule: ResetRule,
    /// The effect of a NaN or infinite metric; default `count_as_bad`.
    pub on_nan: OnNan,
}

/// Which cuts of a [`Greedy`] count towards `reset_after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ResetRule {
    /// Cuts in a row without effect. After a reset the next observation counts.
    #[default]
    WithoutEffect,
    /// As in transformers: every cut since the last raise that leaves the gain at `min_gain`, including the one that reaches
    /// it. After a reset `cooldown` observations are ignored.
    AtLeast,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Default for Greedy {
    fn default() -> Self {
        Self {
            factor: 0.95,
            patience: 10,
            threshold: 1e-6,
            threshold_mode: ThresholdMode::Abs,
            mode: Mode::Min,
            cooldown: 0,
            warmup: 0,
            window: 1,
            min_gain: 0.0,
            max_gain: 10.0,
            reset_after: 0,
            reset_rule: ResetRule::WithoutEffect,
            on_nan: OnNan::CountAsBad,
        }
    }
}

/// The state of [`Greedy`].
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct GreedyState {
    /// The current gain.
    pub gain: f64,
    /// The best metric so far.
    pub best: Option<f64>,
    /// Better observations in a row.
    pub good: u64,
    /// Other observations in a row.
    pub bad: u64,
    /// Observations still to ignore.
    pub wait: u64,
    /// Cuts that count towards `reset_after`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub stuck: u64,
    /// The last metrics, oldest first.
    pub recent: Vec<f64>,
}

impl Greedy {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_cut("factor", self.factor)?;
        check::rate("threshold", self.threshold)?;
        let window = f64::from(self.window);
        check::range("window", window, (1.0..=1e4).contains(&window), "a whole number from 1 to 10000")?;
        check_bounds(self.min_gain, self.max_gain)
    }

    fn mean(&self, recent: &mut Vec<f64>, value: f64) -> f64 {
        push_last(recent, value, self.window);
        let n = recent.len() as f64;
        recent.iter().map(|x| x / n).sum()
    }

    fn reset(&self, state: &mut GreedyState) -> Decision {
        let stuck = state.stuck;
        let before = std::mem::replace(state, self.init()).gain;
        if before == state.gain {
            return Decision::Keep;
        }
        let reason = format!("gain back to 1: {stuck} cuts at the least gain {before}");
        Decision::Gain { gain: state.gain, reason }
    }

    fn change(&self, state: &mut GreedyState, gain: f64, words: &str) -> Decision {
        if gain == state.gain {
            return Decision::Keep;
        }
        let (verb, factor) =
            if gain > state.gain { ("raise", gain / state.gain) } else { ("cut", gain / state.gain) };
        state.gain = gain;
        Decision::Gain { gain, reason: format!("{verb} × {factor}: {words} patience {}", self.patience) }
    }
}

impl Controller for Greedy {
    type State = GreedyState;

    fn init(&self) -> GreedyState {
        GreedyState { gain: 1.0, best: None, good: 0, bad: 0, wait: 0, stuck: 0, recent: Vec::new() }
    }

    fn observe(&self, state: &mut GreedyState, seen: &Observation) -> Decision {
        let value = seen.value;
        if !value.is_finite() {
            match self.on_nan {
                OnNan::Stop => return Decision::Stop { reason: format!("the metric is {value}") },
                OnNan::Ignore => return Decision::Keep,
                OnNan::Rewind => {
                    let gain = cut(state.gain, self.factor, self.min_gain);
                    (state.gain, state.good, state.bad, state.wait) = (gain, 0, 0, self.cooldown);
                    let reason = format!("cut × {}: the metric is {value}", self.factor);
                    return Decision::Rewind { gain, reason };
                }
                OnNan::CountAsBad => {}
            }
        }
        let mean = if value.is_finite() { self.mean(&mut state.recent, value) } else { value };
        if state.wait > 0 {
            (state.wait, state.good, state.bad) = (state.wait - 1, 0, 0);
            return Decision::Keep;
        }
        let better = |best: f64| {
            let margin = self.threshold_mode.margin(self.threshold, best);
            self.mode.beats(mean, best, margin)
        };
        if mean.is_finite() && state.best.is_none_or(better) {
            state.best = Some(mean);
            (state.good, state.bad) = (state.good.saturating_add(1), 0);
        } else {
            (state.good, state.bad) = (0, state.bad.saturating_add(1));
        }
        if state.good > self.patience {
            state.stuck = 0;
            let (good, gain) = (state.good, (state.gain / self.factor).min(self.max_gain));
            (state.good, state.wait) = (0, self.warmup);
            return self.change(state, gain, &format!("{good} better >"));
        }
        if state.bad > self.patience {
            let (bad, gain) = (state.bad, cut(state.gain, self.factor, self.min_gain));
            (state.bad, state.wait) = (0, self.cooldown);
            state.stuck = match self.reset_rule {
                ResetRule::WithoutEffect if gain < state.gain => 0,
                ResetRule::AtLeast if gain > self.min_gain => state.stuck,
                ResetRule::WithoutEffect | ResetRule::AtLeast => state.stuck.saturating_add(1),
            };
            if self.reset_after > 0 && state.stuck >= self.reset_after {
                let decision = self.reset(state);
                if self.reset_rule == ResetRule::AtLeast {
                    state.wait = self.cooldown;
                }
                return decision;
            }
            return self.change(state, gain, &format!("{bad} bad >"));
        }
        Decision::Keep
    }
}
