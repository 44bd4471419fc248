//! The conventions of Keras 3: a cut occurs at the `patience`-th bad epoch, thresholds are absolute, lower bounds are fractions
//! of the base rate, a boundary belongs to the value before it, and lengths are numbers of steps.

use super::{ScheduleSpec, Span, WarmupClock, above, warm};
use crate::{
    ControllerSpec, CosineSpec, CosineWarmRestartsSpec, Error, Every, Interpolation, Knot, Mode,
    PatienceRule, PiecewiseLinearSpec, Plateau, Problem, ThresholdMode,
};

/// `ReduceLROnPlateau(factor, patience, min_delta, cooldown)` as a controller: a cut at the `patience`-th bad
/// epoch, not after it; a cooldown of 1 does nothing; `min_delta` in the metric's own unit.
///
/// ```
/// use lrlab_schedulers::{Decision, Mode, Observation, keras};
/// let mut controller = keras::plateau(0.1, 2, 1e-4, 0, Mode::Min).build()?;
/// let cuts = [1.0; 5].map(|value| controller.observe(&Observation { value, stderr: None }) != Decision::Keep);
/// assert_eq!(cuts, [false, false, true, false, true]);
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
#[must_use]
pub fn plateau(factor: f64, patience: u64, min_delta: f64, cooldown: u64, mode: Mode) -> ControllerSpec {
    let (threshold, threshold_mode, rule) = (min_delta, ThresholdMode::Abs, PatienceRule::Keras);
    Plateau { factor, patience, threshold, threshold_mode, mode, cooldown, rule, ..Plateau::default() }.into()
}

/// `CosineDecay(initial, decay_steps, alpha, warmup_target, warmup_steps)` for the base rate `warmup_target`
/// (`initial` where `warmup_steps` is 0).
///
/// A line from `initial` to the base rate over `warmup_steps`, then half a cosine over `decay_steps` *more* to
/// `alpha` times the base rate, which holds. Lengths are updates.
///
/// ```
/// use lrlab_schedulers::{Horizon, keras};
/// let run = Horizon { updates: 30, updates_per_epoch: 10 };
/// let schedule = keras::cosine_decay(0.25, 20, 0.5, 1.0, 10).build(&run)?;
/// assert_eq!([0, 10, 20, 30].map(|t| schedule.lr(1.0, run.at(t))), [0.25, 1.0, 0.75, 0.5]);
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
#[must_use]
pub fn cosine_decay(
    initial: f64,
    decay_steps: u64,
    alpha: f64,
    base: f64,
    warmup_steps: u64,
) -> ScheduleSpec {
    let t_max = Span::Updates(decay_steps);
    let cosine = CosineSpec { t_max, eta_min: alpha * base, ..CosineSpec::default() };
    warm(Span::Updates(warmup_steps), initial / base, WarmupClock::After, cosine.into())
}

/// `CosineDecayRestarts(initial, first_decay_steps, t_mul, m_mul, alpha)` for the base rate `initial`.
///
/// `m_mul` acts on what lies above the floor `alpha · base`, not on the top itself. Lengths are updates.
///
/// ```
/// use lrlab_schedulers::{Horizon, keras};
/// let run = Horizon { updates: 30, updates_per_epoch: 10 };
/// let schedule = keras::cosine_decay_restarts(10, 2.0, 0.5, 0.5).build(&run)?;
/// assert_eq!([0, 5, 10, 20].map(|t| schedule.lr(1.0, run.at(t))), [1.0, 0.75, 0.75, 0.625]);
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
#[must_use]
pub fn cosine_decay_restarts(first_decay_steps: u64, t_mul: f64, m_mul: f64, alpha: f64) -> ScheduleSpec {
    let falls = CosineWarmRestartsSpec {
        t_0: Span::Updates(first_decay_steps),
        t_mult: t_mul,
        eta_min: 0.0,
        decay: m_mul,
        limit: None,
        every: Every::Update,
        k_decay: 1.0,
    };
    above(alpha, falls.into())
}

/// `PiecewiseConstantDecay(boundaries, values)` for the base rate 1: `values` are rates, and each of them but the first
/// begins one update after its boundary. Boundaries are updates.
///
/// # Errors
/// Returns an error unless there is one value more than boundaries.
///
/// ```
/// use lrlab_schedulers::{Horizon, keras};
/// let run = Horizon { updates: 30, updates_per_epoch: 10 };
/// let schedule = keras::piecewise_constant(&[10, 20], &[1.0, 0.5, 0.1])?.build(&run)?;
/// assert_eq!([0, 10, 11, 20, 21].map(|t| schedule.lr(1.0, run.at(t))), [1.0, 1.0, 0.5, 0.5, 0.1]);
/// let error = keras::piecewise_constant(&[10, 20], &[1.0, 0.5]).unwrap_err().to_string();
/// assert!(error.starts_with("piecewise_constant.values: "), "{error}");
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
pub fn piecewise_constant(boundaries: &[u64], values: &[f64]) -> Result<ScheduleSpec, Error> {
    if values.len() != boundaries.len() + 1 {
        let expected = format!("{}: one more than boundaries", boundaries.len() + 1);
        return Err(Error::new(
            "piecewise_constant.values",
            Problem::Length { found: values.len(), expected },
        ));
    }
    let moments = boundaries.iter().map(|boundary| Span::Updates(boundary.saturating_add(1)));
    let jump = |(at, pair): (Span, &[f64])| {
        [Knot { at, factor: pair[0] }, Knot { at, factor: pair[pair.len() - 1] }]
    };
    let mut knots: Vec<Knot> = moments.zip(values.windows(2)).flat_map(jump).collect();
    if knots.is_empty() {
        knots.extend(values.first().map(|&factor| Knot { at: Span::Updates(0), factor }));
    }
    Ok(PiecewiseLinearSpec { knots, every: Every::Update, interpolate: Interpolation::Linear }.into())
}
