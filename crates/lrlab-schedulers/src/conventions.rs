//! Constructors for the conventions of Keras, timm and transformers that differ from PyTorch. They return ordinary
//! specifications.

use crate::{ScheduleSpec, Span, WarmupClock, WarmupShape, WarmupSpec};

/// Keras 3: another counting rule of patience, absolute thresholds, and lengths in steps.
pub mod keras {
    use super::{ScheduleSpec, Span, WarmupClock, with_warmup};
    use crate::{ControllerSpec, CosineSpec, Mode, PatienceRule, Plateau, ThresholdMode};

    /// `ReduceLROnPlateau(factor, patience, min_delta, cooldown)` as a controller. It cuts at the `patience`-th bad epoch
    /// instead of the one after it, a cooldown of 1 has no effect, and `min_delta` is in the unit of the metric.
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
    /// (`initial` if `warmup_steps` is 0).
    ///
    /// The rate rises linearly from `initial` to the base rate over `warmup_steps`, falls along half a cosine to `alpha`
    /// times the base rate over `decay_steps` further updates, and then holds. Lengths are in updates.
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
        with_warmup(Span::Updates(warmup_steps), initial / base, WarmupClock::After, cosine.into())
    }
}

/// timm: whole epochs, milestones that act one epoch early, and a cosine that may start with its warm-up.
pub mod timm {
    use super::{ScheduleSpec, Span, WarmupClock, with_warmup};
    use crate::{CosineWarmRestartsSpec, Every, MultiStepSpec, StaircaseSpec};

    /// The parameters of `CosineLRScheduler`, in epochs. Rates are factors of the base rate, except for `lr_min`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Cosine {
        /// `t_initial`: the epochs of the first cycle.
        pub t_initial: u64,
        /// `lr_min`: the rate at the end of a cycle, absolute; default 0.
        pub lr_min: f64,
        /// `cycle_mul`: the ratio of the lengths of consecutive cycles; default 1.
        pub cycle_mul: f64,
        /// `cycle_decay`: the ratio of the peaks of consecutive cycles; default 1.
        pub cycle_decay: f64,
        /// `cycle_limit`: the number of cycles, after which `lr_min` holds; default 1.
        pub cycle_limit: u32,
        /// `warmup_t`: the epochs of the warm-up; default 0.
        pub warmup_t: u64,
        /// `warmup_lr_init` divided by the base rate; default 0.
        pub warmup_start: f64,
        /// `warmup_prefix`: whether the cosine starts after the warm-up instead of with it; default false.
        pub warmup_prefix: bool,
    }

    impl Cosine {
        /// Returns the defaults of timm for one cycle of `t_initial` epochs.
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
    /// // Without the prefix, two epochs of the cosine have passed at the end of the warm-up, so the rate never reaches 1.
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
            k_decay: 1.0,
        };
        let clock = if cosine.warmup_prefix { WarmupClock::After } else { WarmupClock::Hidden };
        by_epoch(with_warmup(Span::Epochs(cosine.warmup_t as f64), cosine.warmup_start, clock, falls.into()))
    }

    /// `MultiStepLRScheduler(decay_t, decay_rate)`: each cut is one epoch earlier than `decay_t`, because the scheduler
    /// counts the milestones up to `t + 1`. Epoch 0 counts as 1.
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

/// transformers: the bounds of `GreedyLR` are rates, and the cooldown follows a reset.
pub mod transformers {
    use crate::{ControllerSpec, Greedy, ResetRule};

    /// `GreedyLR(min_lr, max_lr, …)` for the initial rate `lr`: `greedy` with bounds as gains and [`ResetRule::AtLeast`].
    ///
    /// `greedy` contains the other parameters under the same names, except that `reset_start` is `reset_after` and `smooth`
    /// with `window_size` is `window`. transformers does not apply changes below `eps` (1e-8).
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
    /// // The second cut at the minimum resets the state, and the next observation is ignored.
    /// assert_eq!(rates, [0.2, 0.1, 0.1, 0.05, 0.05, 0.1, 0.1, 0.2]);
    /// # Ok::<(), lrlab_schedulers::Error>(())
    /// ```
    #[must_use]
    pub fn greedy(lr: f64, min_lr: f64, max_lr: f64, greedy: &Greedy) -> ControllerSpec {
        let (min_gain, max_gain, reset_rule) = (min_lr / lr, max_lr / lr, ResetRule::AtLeast);
        Greedy { min_gain, max_gain, reset_rule, ..greedy.clone() }.into()
    }
}

/// Returns the schedule with a warm-up, unless its length is 0.
fn with_warmup(over: Span, start_factor: f64, clock: WarmupClock, then: ScheduleSpec) -> ScheduleSpec {
    if over.amount() == 0.0 {
        then
    } else {
        WarmupSpec { over, start_factor, clock, shape: WarmupShape::Linear, then: Box::new(then) }.into()
    }
}
