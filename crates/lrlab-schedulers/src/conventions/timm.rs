//! The conventions of timm: time is the number of completed epochs, milestones take effect one epoch early, and a cosine may
//! start together with its warm-up.

use super::{ScheduleSpec, Span, WarmupClock, warm};
use crate::{
    CosineWarmRestartsSpec, Every, LinearSpec, MultiStepSpec, Restarts, SequentialSpec, StaircaseSpec,
    TanhSpec,
};

/// What `CosineLRScheduler` takes, in epochs. Rates are factors of the base rate but for `lr_min`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cosine {
    /// `t_initial`: epochs of the first cycle.
    pub t_initial: u64,
    /// `lr_min`: the rate at a cycle's end, absolute; default 0.
    pub lr_min: f64,
    /// `cycle_mul`: each cycle's length over the one before; default 1.
    pub cycle_mul: f64,
    /// `cycle_decay`: each cycle's top over the one before; default 1.
    pub cycle_decay: f64,
    /// `cycle_limit`: how many cycles; then `lr_min` holds; default 1.
    pub cycle_limit: u32,
    /// `warmup_t`: epochs of the warm-up; default 0.
    pub warmup_t: u64,
    /// `warmup_lr_init` over the base rate; default 0.
    pub warmup_start: f64,
    /// `warmup_prefix`: whether the cosine starts after the warm-up; default false, which starts both at the same time.
    pub warmup_prefix: bool,
    /// `k_decay`: exponent of the share of a cycle; default 1.
    pub k_decay: f64,
}

impl Cosine {
    /// timm's defaults for one cycle of `t_initial` epochs.
    #[must_use]
    pub fn new(t_initial: u64) -> Self {
        Self {
            t_initial,
            lr_min: 0.0,
            cycle_mul: 1.0,
            cycle_decay: 1.0,
            cycle_limit: 1,
            warmup_t: 0,
            warmup_start: 0.0,
            warmup_prefix: false,
            k_decay: 1.0,
        }
    }
}

/// `CosineLRScheduler`: one rate per epoch.
///
/// ```
/// use lrlab_schedulers::{Horizon, timm};
/// let run = Horizon { updates: 80, updates_per_epoch: 10 };
/// let rates = |warmup_prefix| {
///     let cosine = timm::Cosine { warmup_t: 2, warmup_prefix, ..timm::Cosine::new(6) };
///     let schedule = timm::cosine(&cosine).build(&run)?;
///     Ok::<_, lrlab_schedulers::Error>([0, 1, 2, 5, 8].map(|epoch| schedule.lr(1.0, run.at(10 * epoch))))
/// };
/// let close = |a: [f64; 5], b: [f64; 5]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
/// assert!(close(rates(true)?, [0.0, 0.5, 1.0, 0.5, 0.0]));
/// // Without the prefix the cosine has moved for two epochs when the warm-up ends: 1 is never reached.
/// let at = |t: f64| (1.0 + (std::f64::consts::PI * t / 6.0).cos()) / 2.0;
/// assert!(close(rates(false)?, [0.0, 0.5, at(2.0), at(5.0), 0.0]));
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
#[must_use]
pub fn cosine(cosine: &Cosine) -> ScheduleSpec {
    let falls = CosineWarmRestartsSpec {
        t_0: Span::Epochs(cosine.t_initial as f64),
        t_mult: cosine.cycle_mul,
        eta_min: cosine.lr_min,
        decay: cosine.cycle_decay,
        limit: Some(cosine.cycle_limit),
        every: Every::Update,
        k_decay: cosine.k_decay,
    };
    let clock = if cosine.warmup_prefix { WarmupClock::After } else { WarmupClock::Hidden };
    by_epoch(warm(Span::Epochs(cosine.warmup_t as f64), cosine.warmup_start, clock, falls.into()))
}

/// `TanhLRScheduler` with `lb`, `ub` and the fields of [`Cosine`] except `k_decay`: one rate per epoch. Without
/// `warmup_prefix`, the warm-up ends at the current rate of the curve instead of the base rate.
///
/// ```
/// use lrlab_schedulers::{Horizon, timm};
/// let run = Horizon { updates: 80, updates_per_epoch: 10 };
/// let cosine = timm::Cosine { warmup_t: 2, ..timm::Cosine::new(6) };
/// let schedule = timm::tanh(&cosine, -2.0, 2.0).build(&run)?;
/// let top = (1.0 - (-2.0_f64 / 3.0).tanh()) / 2.0;
/// for (epoch, expected) in [(0, 0.0), (1, top / 2.0), (2, top), (3, 0.5)] {
///     assert!((schedule.lr(1.0, run.at(10 * epoch)) - expected).abs() < 1e-12);
/// }
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
#[must_use]
pub fn tanh(cosine: &Cosine, lb: f64, ub: f64) -> ScheduleSpec {
    let restarts =
        Restarts { t_mult: cosine.cycle_mul, decay: cosine.cycle_decay, limit: Some(cosine.cycle_limit) };
    let falls = TanhSpec {
        t_max: Span::Epochs(cosine.t_initial as f64),
        lb,
        ub,
        eta_min: cosine.lr_min,
        every: Every::Update,
        restarts: Some(restarts),
    };
    let over = Span::Epochs(cosine.warmup_t as f64);
    if cosine.warmup_prefix && cosine.warmup_t > 0 {
        // The ramp ends at the base rate, above the curve's first one.
        let rise = LinearSpec {
            start_factor: cosine.warmup_start,
            end_factor: 1.0,
            total_iters: over,
            every: Every::Update,
        };
        let schedulers = vec![rise.into(), falls.into()];
        return by_epoch(SequentialSpec { schedulers, milestones: vec![over] }.into());
    }
    by_epoch(warm(over, cosine.warmup_start, WarmupClock::Aimed, falls.into()))
}

/// `MultiStepLRScheduler(decay_t, decay_rate)`: each cut one epoch before the epoch that is named, because it
/// counts the milestones up to `t + 1`. An epoch 0 counts as 1.
///
/// ```
/// use lrlab_schedulers::{Horizon, timm};
/// let run = Horizon { updates: 50, updates_per_epoch: 10 };
/// let schedule = timm::multi_step(&[2, 4], 0.5).build(&run)?;
/// assert_eq!([0, 1, 2, 3, 4].map(|epoch| schedule.lr(1.0, run.at(10 * epoch))), [1.0, 0.5, 0.5, 0.25, 0.25]);
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
#[must_use]
pub fn multi_step(decay_t: &[u64], decay_rate: f64) -> ScheduleSpec {
    let milestones = decay_t.iter().map(|&epoch| Span::Epochs(epoch.saturating_sub(1) as f64)).collect();
    MultiStepSpec { milestones, gamma: decay_rate, gammas: Vec::new() }.into()
}

fn by_epoch(of: ScheduleSpec) -> ScheduleSpec {
    StaircaseSpec { step: Span::Epochs(1.0), of: Box::new(of) }.into()
}
