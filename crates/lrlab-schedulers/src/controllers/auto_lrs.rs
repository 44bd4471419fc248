//! Chooses the next rate with short trials.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{OnNan, check_bounds, cut, gaussian::Surrogate};
use crate::{Controller, Decision, Error, Observation, check};

/// `auto_lrs = { trials = 5, updates = 20 }`: tries several gains from a snapshot and continues with the best.
///
/// After every `every` observations it requests `trials` trials from the host ([`Decision::Try`]). A trial trains
/// `updates` updates from the same weights and optimizer state, evaluates the validation loss, and restores the state. The
/// first trial uses the current gain `g`, the next two the bounds `g / reach` and `g · reach` (within
/// `min_gain … max_gain`), and each further one the gain with the lowest lower confidence bound of a Gaussian process over
/// the logarithm of the gain, fitted to the losses so far. The gain with the lowest loss becomes the current one, but it
/// replaces `g` only if its loss is lower by more than `z · √(s² + s_g²)`, where `s` are the standard errors. A trial whose
/// loss is NaN or infinite does not count. If all are, the gain becomes the lowest one tried.
///
/// A search costs `trials · updates` updates and `trials` evaluations of the validation split. Source: Jin et al.,
/// "`AutoLRS`: automatic learning-rate schedule by Bayesian optimization on the fly", ICLR 2021 (arXiv 2105.10762),
/// without its forecast of the loss of a longer stage: the last loss of a trial counts.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct AutoLrs {
    /// Observations from one search to the next, ≥ 1; default 1.
    pub every: u64,
    /// Trials of a search, 2 … 32; default 5.
    pub trials: u32,
    /// Updates of a trial, ≥ 1; default 20.
    pub updates: u64,
    /// The largest ratio of a trial's gain to the current gain, above 1, at most 1e6; default 4.
    pub reach: f64,
    /// The required difference of losses in standard errors, 0 … 1e30; default 0.
    pub z: f64,
    /// The lowest gain, 0 … 1; default 0.
    pub min_gain: f64,
    /// The highest gain, 1 … 1e30; default 10.
    pub max_gain: f64,
    /// The effect of a NaN or infinite metric; default `count_as_bad`, which searches as after any other metric.
    pub on_nan: OnNan,
}

impl Default for AutoLrs {
    fn default() -> Self {
        Self {
            every: 1,
            trials: 5,
            updates: 20,
            reach: 4.0,
            z: 0.0,
            min_gain: 0.0,
            max_gain: 10.0,
            on_nan: OnNan::CountAsBad,
        }
    }
}

/// The state of [`AutoLrs`].
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct AutoLrsState {
    /// The current gain.
    pub gain: f64,
    /// Observations so far.
    pub seen: u64,
    /// The trials of the current or the last search.
    pub tried: Vec<Trial>,
    /// The gain of the current trial.
    pub trying: Option<f64>,
}

/// The result of a trial.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Trial {
    /// The gain.
    pub gain: f64,
    /// The loss; `None` if it is not finite.
    pub loss: Option<f64>,
    /// The standard error of the loss; 0 if unknown.
    pub stderr: f64,
}

impl AutoLrs {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check::range("every", self.every as f64, self.every >= 1, "at least 1")?;
        let trials = f64::from(self.trials);
        check::range("trials", trials, (2.0..=32.0).contains(&trials), "a whole number from 2 to 32")?;
        check::range("updates", self.updates as f64, self.updates >= 1, "at least 1")?;
        let reach = self.reach > 1.0 && self.reach <= 1e6;
        check::range("reach", self.reach, reach, "a number above 1, at most 1e6")?;
        check::rate("z", self.z)?;
        check_bounds(self.min_gain, self.max_gain)
    }

    /// Returns the lowest and the highest gain of a search around `gain`.
    fn bounds(&self, gain: f64) -> (f64, f64) {
        (cut(gain, 1.0 / self.reach, self.min_gain), (gain * self.reach).min(self.max_gain))
    }

    /// Returns the next gain to try; `None` at the end of the search.
    fn candidate(&self, state: &AutoLrsState) -> Option<f64> {
        let (low, high) = self.bounds(state.gain);
        if state.tried.len() >= self.trials as usize || low >= high {
            return None;
        }
        let new = |gain: &f64| state.tried.iter().all(|trial| trial.gain != *gain);
        [state.gain, low, high].into_iter().find(new).or_else(|| {
            let points: Vec<_> =
                state.tried.iter().map(|trial| (libm::log(trial.gain), trial.loss)).collect();
            let x = Surrogate::fit(&points)?.lowest(libm::log(low), libm::log(high))?;
            Some(libm::exp(x).clamp(low, high)).filter(new)
        })
    }

    fn next(&self, state: &mut AutoLrsState) -> Decision {
        match self.candidate(state) {
            Some(gain) => {
                state.trying = Some(gain);
                let reason = format!("trial {} of {}: gain {gain}", state.tried.len() + 1, self.trials);
                Decision::Try { gain, updates: self.updates, reason }
            }
            None => self.choose(state),
        }
    }

    fn choose(&self, state: &mut AutoLrsState) -> Decision {
        let now = state.gain;
        let finite = || state.tried.iter().filter_map(|trial| Some((trial, trial.loss?)));
        let best = finite().min_by(|a, b| a.1.total_cmp(&b.1));
        let held = finite().find(|(trial, _)| trial.gain == now);
        let gain = match (best, held) {
            (None, _) => state.tried.iter().map(|trial| trial.gain).fold(now, f64::min),
            (Some((best, loss)), Some((held, loss_now))) => {
                let margin = check::saturate(self.z * libm::hypot(best.stderr, held.stderr));
                if loss < loss_now - margin { best.gain } else { now }
            }
            (Some((best, _)), None) => best.gain,
        };
        if gain == now {
            return Decision::Keep;
        }
        let verb = if gain > now { "raise" } else { "cut" };
        let losses: Vec<String> = state.tried.iter().map(|trial| describe(trial, now)).collect();
        let reason = format!(
            "{verb} × {}: the best of {} trials of {} updates ({})",
            gain / now,
            state.tried.len(),
            self.updates,
            losses.join(", ")
        );
        state.gain = gain;
        Decision::Gain { gain, reason }
    }
}

fn describe(trial: &Trial, now: f64) -> String {
    let loss = trial.loss.map_or_else(|| "diverged".to_owned(), |loss| format!("{loss:.4}"));
    format!("× {:.3}: {loss}", trial.gain / now)
}

impl Controller for AutoLrs {
    type State = AutoLrsState;

    fn init(&self) -> AutoLrsState {
        AutoLrsState { gain: 1.0, seen: 0, tried: Vec::new(), trying: None }
    }

    fn observe(&self, state: &mut AutoLrsState, seen: &Observation) -> Decision {
        // The host may have abandoned the last search.
        state.trying = None;
        if !seen.value.is_finite() {
            let value = seen.value;
            match self.on_nan {
                OnNan::Stop => return Decision::Stop { reason: format!("the metric is {value}") },
                OnNan::Ignore => return Decision::Keep,
                OnNan::Rewind => {
                    let (gain, _) = self.bounds(state.gain);
                    let reason = format!("cut × {}: the metric is {value}", gain / state.gain);
                    state.gain = gain;
                    return Decision::Rewind { gain, reason };
                }
                OnNan::CountAsBad => {}
            }
        }
        state.seen = state.seen.saturating_add(1);
        if !state.seen.is_multiple_of(self.every) {
            return Decision::Keep;
        }
        state.tried.clear();
        self.next(state)
    }

    fn tried(&self, state: &mut AutoLrsState, seen: &Observation) -> Decision {
        let Some(gain) = state.trying.take() else { return Decision::Keep };
        let loss = Some(seen.value).filter(|loss| loss.is_finite());
        let stderr = seen.stderr.filter(|stderr| stderr.is_finite()).map_or(0.0, f64::abs);
        state.tried.push(Trial { gain, loss, stderr });
        self.next(state)
    }
}
