//! The conventions of Optax: a cut occurs at the `patience`-th bad observation, and averages do not overlap.

use crate::{ControllerSpec, Plateau};

/// `contrib.reduce_on_plateau(factor, patience, rtol, atol, cooldown, accumulation_size, min_scale)`: a cut at the
/// `patience`-th bad mean of `accumulation_size` observations, patience and cooldown counted in such means.
///
/// A `patience` of 0, which cuts at every improvement there, counts as 1.
///
/// ```
/// use lrlab_schedulers::{Decision, Observation, optax};
/// let mut controller = optax::reduce_on_plateau(0.5, 1, 1e-4, 0.0, 0, 2, 0.0).build()?;
/// let cuts = [1.0, 0.8, 1.0, 0.9, 0.7, 0.8].map(|value| {
///     controller.observe(&Observation { value, stderr: None }) != Decision::Keep
/// });
/// assert_eq!(cuts, [false, false, false, true, false, false]);
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
#[must_use]
pub fn reduce_on_plateau(
    factor: f64,
    patience: u64,
    rtol: f64,
    atol: f64,
    cooldown: u64,
    accumulation_size: u32,
    min_scale: f64,
) -> ControllerSpec {
    Plateau {
        factor,
        patience: patience.saturating_sub(1),
        threshold: rtol,
        min_delta: atol,
        cooldown,
        accumulate: accumulation_size,
        min_gain: min_scale,
        ..Plateau::default()
    }
    .into()
}
