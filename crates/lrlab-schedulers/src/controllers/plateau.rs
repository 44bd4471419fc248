//! Cuts the rate when a metric stops improving.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::schedules::is_default;
use crate::{Controller, Decision, Error, Observation, check};

/// `plateau = { factor = 0.5, patience = 2 }`: cuts the gain when the metric stops improving.
///
/// An observation `m` is better than the best one `b` if it improves on it by more than a margin: `m < b − margin`
/// (`mode = "min"`) or `m > b + margin` (`"max"`), where `margin` is `threshold · |b|` (`threshold_mode = "rel"`)
/// or `threshold` (`"abs"`). With `|b|` the rule is correct for negative metrics, whereas `b (1 − threshold)` of
/// `ReduceLROnPlateau` accepts worse values. After more than `patience` observations in a row that are not better, the gain
/// becomes `max(gain · factor, min_gain)`, and the next `cooldown` observations are not counted.
///
/// With `accumulate`, the mean of that many observations counts as one; the first `start_after` observations are ignored.
///
/// Order within an observation, as in `ReduceLROnPlateau`: compare with the best; count down the cooldown; cut.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Plateau {
    /// Factor of a cut, 0 < x < 1; default 0.1.
    pub factor: f64,
    /// Bad observations in a row that are tolerated; default 10.
    pub patience: u64,
    /// The improvement that a better observation exceeds, 0 … 1e30; default 1e-4.
    pub threshold: f64,
    /// The unit of `threshold`; default `rel`.
    pub threshold_mode: ThresholdMode,
    /// The direction of improvement; default `min`.
    pub mode: Mode,
    /// Observations after a cut that do not count; default 0.
    pub cooldown: u64,
    /// The lowest gain, 0 … 1; default 0.
    pub min_gain: f64,
    /// The counting rule of patience and cooldown; default `torch`.
    pub rule: PatienceRule,
    /// The effect of a NaN or infinite metric; default `count_as_bad`.
    pub on_nan: OnNan,
    /// Whether a cut restores weights and optimizer to the best state; default false.
    pub rewind: bool,
    /// The required improvement in the unit of the metric, in addition to the threshold, 0 … 1e30; default 0.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_default"))]
    pub min_delta: f64,
    /// How many observations are averaged to one, 1 … 10000; default 1.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_one"))]
    pub accumulate: u32,
    /// The number of initial observations to ignore; default 0.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_default"))]
    pub start_after: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_one(n: &u32) -> bool {
    *n == 1
}

impl Default for Plateau {
    fn default() -> Self {
        Self {
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            mode: Mode::Min,
            cooldown: 0,
            min_gain: 0.0,
            rule: PatienceRule::Torch,
            on_nan: OnNan::CountAsBad,
            rewind: false,
            min_delta: 0.0,
            accumulate: 1,
            start_after: 0,
        }
    }
}

/// The direction in which a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Mode {
    /// Lower is better, as for losses.
    #[default]
    Min,
    /// Higher is better, as for accuracies.
    Max,
}

/// The unit of a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ThresholdMode {
    /// Relative to the absolute value of the best metric.
    #[default]
    Rel,
    /// The unit of the metric.
    Abs,
}

/// The counting rule of bad observations and cooldowns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum PatienceRule {
    /// Cuts after more than `patience` bad observations in a row (`ReduceLROnPlateau`).
    #[default]
    Torch,
    /// Cuts at the `patience`-th bad observation. The cooldown is counted down first, so a cooldown of 1 has no effect
    /// (Keras).
    Keras,
}

/// The effect of a NaN or infinite metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum OnNan {
    /// Training ends.
    Stop,
    /// Weights and optimizer return to the best state immediately, and the gain is cut.
    Rewind,
    /// The observation counts as not better.
    #[default]
    CountAsBad,
    /// The observation is ignored.
    Ignore,
}

impl Mode {
    /// Returns whether `value` improves on `best` by more than `margin`.
    pub(crate) fn beats(self, value: f64, best: f64, margin: f64) -> bool {
        match self {
            Self::Min => value < best - margin,
            Self::Max => value > best + margin,
        }
    }
}

impl ThresholdMode {
    /// Returns the improvement on `best` that a better value exceeds.
    pub(crate) fn margin(self, threshold: f64, best: f64) -> f64 {
        match self {
            Self::Rel => threshold * best.abs(),
            Self::Abs => threshold,
        }
    }
}

/// The state of [`Plateau`].
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct PlateauState {
    /// The current gain.
    pub gain: f64,
    /// The best metric so far and the index of its observation, counted from 1.
    pub best: Option<(f64, u64)>,
    /// Observations in a row that were not better.
    pub bad: u64,
    /// Remaining observations of the cooldown.
    pub cooldown: u64,
    /// Observations so far.
    pub seen: u64,
    /// The observations of the current incomplete mean; a NaN or infinite observation is `None`.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub held: Vec<Option<f64>>,
}

impl Plateau {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self { factor, threshold, min_gain, min_delta, .. } = *self;
        super::check_cut("factor", factor)?;
        check::rate("threshold", threshold)?;
        check::unit("min_gain", min_gain)?;
        check::rate("min_delta", min_delta)?;
        let accumulate = f64::from(self.accumulate);
        check::range(
            "accumulate",
            accumulate,
            (1.0..=1e4).contains(&accumulate),
            "a whole number from 1 to 10000",
        )
    }

    fn is_better(&self, value: f64, best: f64) -> bool {
        let margin = self.threshold_mode.margin(self.threshold, best) + self.min_delta;
        self.mode.beats(value, best, margin)
    }

    /// Returns the gain after a cut; `None` if it is at its minimum.
    fn cut(&self, gain: f64) -> Option<f64> {
        let cut = super::cut(gain, self.factor, self.min_gain);
        (cut < gain).then_some(cut)
    }
}

impl Controller for Plateau {
    type State = PlateauState;

    fn init(&self) -> PlateauState {
        PlateauState { gain: 1.0, best: None, bad: 0, cooldown: 0, seen: 0, held: Vec::new() }
    }

    fn observe(&self, state: &mut PlateauState, seen: &Observation) -> Decision {
        let Some(value) = self.value(state, seen.value) else {
            state.seen = state.seen.saturating_add(1);
            return Decision::Keep;
        };
        self.decide(state, value, |best| self.is_better(value, best))
    }
}

impl Plateau {
    /// Returns the value to evaluate: the observation, or the mean of `accumulate` observations; `None` if the
    /// observation is ignored or the mean is incomplete.
    fn value(&self, state: &mut PlateauState, value: f64) -> Option<f64> {
        if state.seen < self.start_after {
            return None;
        }
        if self.accumulate <= 1 {
            state.held.clear();
            return Some(value);
        }
        if !value.is_finite() && self.on_nan != OnNan::CountAsBad {
            if self.on_nan == OnNan::Rewind {
                state.held.clear();
            }
            return Some(value);
        }
        super::push_last(&mut state.held, value.is_finite().then_some(value), self.accumulate);
        if state.held.len() < self.accumulate as usize {
            return None;
        }
        let n = state.held.len() as f64;
        state.held.drain(..).map(|held| held.map(|x| x / n)).sum::<Option<f64>>().or(Some(f64::NAN))
    }

    /// One observation, judged by `is_better` against the best one so far.
    pub(crate) fn decide(
        &self,
        state: &mut PlateauState,
        value: f64,
        is_better: impl Fn(f64) -> bool,
    ) -> Decision {
        state.seen = state.seen.saturating_add(1);
        if !value.is_finite() {
            match self.on_nan {
                OnNan::Stop => return Decision::Stop { reason: format!("the metric is {value}") },
                OnNan::Ignore => return Decision::Keep,
                OnNan::Rewind => return self.rewind_from(state, value),
                OnNan::CountAsBad => {}
            }
        }
        let better = value.is_finite() && state.best.is_none_or(|(best, _)| is_better(best));
        if better {
            state.best = Some((value, state.seen));
        }
        let Some(bad) = self.count(state, better) else { return Decision::Keep };
        let Some(gain) = self.cut(state.gain) else { return Decision::Keep };
        let factor = gain / state.gain;
        state.gain = gain;
        let (sign, best) = (if self.rule == PatienceRule::Torch { '>' } else { '≥' }, describe(state.best));
        let reason = format!("cut × {factor}: {bad} bad {sign} patience {}, {best}", self.patience);
        if self.rewind { Decision::Rewind { gain, reason } } else { Decision::Gain { gain, reason } }
    }

    /// Counts an observation. Returns the number of bad ones in a row if they exhaust the patience.
    fn count(&self, state: &mut PlateauState, better: bool) -> Option<u64> {
        if self.rule == PatienceRule::Keras && state.cooldown > 0 {
            state.cooldown -= 1;
            state.bad = 0;
        }
        if better {
            state.bad = 0;
        } else if self.rule == PatienceRule::Torch || state.cooldown == 0 {
            state.bad = state.bad.saturating_add(1);
        }
        if self.rule == PatienceRule::Torch && state.cooldown > 0 {
            state.cooldown -= 1;
            state.bad = 0;
        }
        let exhausted = match self.rule {
            PatienceRule::Torch => state.bad > self.patience,
            PatienceRule::Keras => state.bad > 0 && state.bad >= self.patience,
        };
        if !exhausted {
            return None;
        }
        state.cooldown = self.cooldown;
        Some(std::mem::take(&mut state.bad))
    }

    fn rewind_from(&self, state: &mut PlateauState, value: f64) -> Decision {
        let gain = self.cut(state.gain).unwrap_or(state.gain);
        let factor = gain / state.gain;
        (state.gain, state.bad, state.cooldown) = (gain, 0, self.cooldown);
        let best = describe(state.best);
        Decision::Rewind { gain, reason: format!("cut × {factor}: the metric is {value}, {best}") }
    }
}

fn describe(best: Option<(f64, u64)>) -> String {
    match best {
        Some((best, at)) => format!("best {best} at observation {at}"),
        None => "no best yet".to_owned(),
    }
}
