//! Keras's, timm's, transformers' and Optax's conventions where they differ from PyTorch's, as constructors: what they give is
//! data like any other, so a file can hold it.

use crate::{FloorSpec, ScheduleSpec, Span, WarmupClock, WarmupShape, WarmupSpec};

/// Keras 3: patience is counted otherwise, thresholds are absolute, floors are shares, a boundary belongs to the value before it;
/// lengths are steps.
pub mod keras {
    use super::{ScheduleSpec, Span, WarmupClock, above, warm};
    use crate::{
        ControllerSpec, CosineSpec, CosineWarmRestartsSpec, Every, Interpolation, Knot, Mode, PatienceRule,
        PiecewiseLinearSpec, Plateau, ThresholdMode,
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
        Plateau { factor, patience, threshold, threshold_mode, mode, cooldown, rule, ..Plateau::default() }
            .into()
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
    /// ```
    /// use lrlab_schedulers::{Horizon, keras};
    /// let run = Horizon { updates: 30, updates_per_epoch: 10 };
    /// let schedule = keras::piecewise_constant(&[10, 20], &[1.0, 0.5, 0.1]).build(&run)?;
    /// assert_eq!([0, 10, 11, 20, 21].map(|t| schedule.lr(1.0, run.at(t))), [1.0, 1.0, 0.5, 0.5, 0.1]);
    /// # Ok::<(), lrlab_schedulers::Error>(())
    /// ```
    #[must_use]
    pub fn piecewise_constant(boundaries: &[u64], values: &[f64]) -> ScheduleSpec {
        let moments = boundaries.iter().map(|boundary| Span::Updates(boundary.saturating_add(1)));
        let jump = |(at, pair): (Span, &[f64])| {
            [Knot { at, factor: pair[0] }, Knot { at, factor: pair[pair.len() - 1] }]
        };
        let mut knots: Vec<Knot> = moments.zip(values.windows(2)).flat_map(jump).collect();
        if knots.is_empty() {
            knots.extend(values.first().map(|&factor| Knot { at: Span::Updates(0), factor }));
        }
        PiecewiseLinearSpec { knots, every: Every::Update, interpolate: Interpolation::Linear }.into()
    }
}

/// timm: time is the epoch, floored; milestones act an epoch early; a cosine need not wait for its warm-up.
pub mod timm {
    use super::{ScheduleSpec, Span, WarmupClock, warm};
    use crate::{CosineWarmRestartsSpec, Every, MultiStepSpec, Restarts, StaircaseSpec, TanhSpec};

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
        /// `warmup_prefix`: whether the cosine begins when the warm-up has ended; default false, where it has moved on
        /// by then.
        pub warmup_prefix: bool,
        /// `k_decay`: exponent of the share of a cycle; default 1.
        pub k_decay: f64,
    }

    impl Cosine {
        /// timm's defaults for one cycle of so many epochs.
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

    /// `TanhLRScheduler` with `lb` and `ub` and what [`Cosine`] holds but `k_decay`: one rate per epoch. Without the prefix its
    /// warm-up ends at the rate that the curve has by then, not at the base rate.
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
        let clock = if cosine.warmup_prefix { WarmupClock::After } else { WarmupClock::Aimed };
        by_epoch(warm(Span::Epochs(cosine.warmup_t as f64), cosine.warmup_start, clock, falls.into()))
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
}

/// transformers: bounds of `GreedyLR` are rates, and a reset is followed by the cooldown; one cosine ends with the last update.
pub mod transformers {
    use super::{ScheduleSpec, Span, WarmupClock, above, warm};
    use crate::{ControllerSpec, CosineSpec, Greedy, ResetRule};

    /// `GreedyLR(min_lr, max_lr, …)` for the initial rate `lr`: `greedy` with gains as bounds and transformers' count of the
    /// cuts at the floor, after whose `reset_after`-th (`reset_start`) it begins anew and waits for `cooldown`.
    ///
    /// `greedy` holds the other parameters under the same names; `smooth` with its `window_size` is `window`. A change below
    /// `eps` (1e-8) is made here and not there.
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
    /// the run has `min_lr_rate` times it. The warm-up begins with `warmup_lr_rate`, by default `1 / num_warmup_steps`.
    ///
    /// ```
    /// use lrlab_schedulers::{Horizon, transformers};
    /// let run = Horizon { updates: 12, updates_per_epoch: 12 };
    /// let schedule = transformers::cosine_warmup_with_min_lr(4, 12, 0.5, 0.25, None).build(&run)?;
    /// assert_eq!([0, 1, 3, 7, 11].map(|t| schedule.lr(1.0, run.at(t))), [0.25, 0.5, 1.0, 0.625, 0.25]);
    /// # Ok::<(), lrlab_schedulers::Error>(())
    /// ```
    #[must_use]
    pub fn cosine_warmup_with_min_lr(
        num_warmup_steps: u64,
        num_training_steps: u64,
        num_cycles: f64,
        min_lr_rate: f64,
        warmup_lr_rate: Option<f64>,
    ) -> ScheduleSpec {
        let start = warmup_lr_rate.unwrap_or(1.0 / num_warmup_steps.max(1) as f64);
        let t_max = Span::Updates(num_training_steps.saturating_sub(num_warmup_steps).max(1));
        let cosine = above(min_lr_rate, CosineSpec { t_max, num_cycles, ..CosineSpec::default() }.into());
        warm(Span::Updates(num_warmup_steps.saturating_sub(1)), start, WarmupClock::After, cosine)
    }
}

/// Optax: patience is counted to its end, and what is averaged lies apart.
pub mod optax {
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
}

/// A schedule above a share of the base rate, where there is one.
fn above(at: f64, of: ScheduleSpec) -> ScheduleSpec {
    if at == 0.0 { of } else { FloorSpec { at, of: Box::new(of) }.into() }
}

/// A schedule behind its warm-up, where there is one.
fn warm(over: Span, start_factor: f64, clock: WarmupClock, then: ScheduleSpec) -> ScheduleSpec {
    if over.amount() == 0.0 {
        then
    } else {
        WarmupSpec { over, start_factor, clock, shape: WarmupShape::Linear, then: Box::new(then) }.into()
    }
}
