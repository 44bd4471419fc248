//! The conventions of transformers: the bounds of `GreedyLR` are rates, a cooldown follows a reset, and one of the cosines
//! reaches its end value at the last update.

use super::{ScheduleSpec, Span, WarmupClock, above, warm};
use crate::{ControllerSpec, CosineSpec, Error, Greedy, ResetRule, check};

/// `GreedyLR(min_lr, max_lr, …)` for the initial rate `lr`: `greedy` with the bounds converted to gains and with
/// [`ResetRule::AtLeast`]. It resets after `reset_after` (`reset_start`) cuts at the lower bound and then ignores `cooldown`
/// observations.
///
/// `greedy` contains the other parameters under the same names; `window` corresponds to `smooth` with `window_size`. Unlike
/// transformers, this controller also applies changes below `eps` (1e-8).
///
/// ```
/// use lrlab_schedulers::{Decision, Greedy, Observation, transformers};
/// let greedy = Greedy { factor: 0.5, patience: 0, cooldown: 1, reset_after: 2, ..Greedy::default() };
/// let mut controller = transformers::greedy(0.1, 0.05, 1.0, &greedy).build()?;
/// let mut gain = 1.0;
/// let rates = [1.0; 8].map(|value| {
///     if let Decision::Gain { gain: new, .. } = controller.observe(&Observation { value, stderr: None }) {
///         gain = new;
///     }
///     0.1 * gain
/// });
/// // The second cut at the floor begins anew; the observation after it is not looked at.
/// assert_eq!(rates, [0.2, 0.1, 0.1, 0.05, 0.05, 0.1, 0.1, 0.2]);
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
#[must_use]
pub fn greedy(lr: f64, min_lr: f64, max_lr: f64, greedy: &Greedy) -> ControllerSpec {
    let (min_gain, max_gain, reset_rule) = (min_lr / lr, max_lr / lr, ResetRule::AtLeast);
    Greedy { min_gain, max_gain, reset_rule, ..greedy.clone() }.into()
}

/// `get_cosine_with_min_lr_schedule_with_warmup_lr_rate(num_warmup_steps, num_training_steps, num_cycles, min_lr_rate,
/// warmup_lr_rate)`, the type `cosine_warmup_with_min_lr`: the last update of the warm-up has the base rate, the last one of
/// the run has `min_lr_rate` times it. The warm-up begins with `warmup_lr_rate`, by default `1 / num_warmup_steps`; a warm-up
/// of one update has only that rate, and the second value of the cosine follows.
///
/// # Errors
/// Returns an error without a warm-up: in transformers such a run starts at the second value of the cosine, which no
/// specification does.
///
/// ```
/// use lrlab_schedulers::{Horizon, transformers};
/// let run = Horizon { updates: 12, updates_per_epoch: 12 };
/// let schedule = transformers::cosine_warmup_with_min_lr(4, 12, 0.5, 0.25, None)?.build(&run)?;
/// assert_eq!([0, 1, 3, 7, 11].map(|t| schedule.lr(1.0, run.at(t))), [0.25, 0.5, 1.0, 0.625, 0.25]);
/// let error = transformers::cosine_warmup_with_min_lr(0, 12, 0.5, 0.25, None).unwrap_err().to_string();
/// assert_eq!(error, "cosine_warmup_with_min_lr.num_warmup_steps: 0 is not at least 1");
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
pub fn cosine_warmup_with_min_lr(
    num_warmup_steps: u64,
    num_training_steps: u64,
    num_cycles: f64,
    min_lr_rate: f64,
    warmup_lr_rate: Option<f64>,
) -> Result<ScheduleSpec, Error> {
    let steps = num_warmup_steps as f64;
    check::range("cosine_warmup_with_min_lr.num_warmup_steps", steps, num_warmup_steps >= 1, "at least 1")?;
    let start = warmup_lr_rate.unwrap_or(1.0 / steps);
    let t_max = Span::Updates(num_training_steps.saturating_sub(num_warmup_steps).max(1));
    let cosine = above(min_lr_rate, CosineSpec { t_max, num_cycles, ..CosineSpec::default() }.into());
    // The cosine starts at the last update of the warm-up, which is the first one if there is only one.
    let (over, clock) = match num_warmup_steps {
        1 => (1, WarmupClock::Shared),
        steps => (steps - 1, WarmupClock::After),
    };
    Ok(warm(Span::Updates(over), start, clock, cosine))
}
