//! The parameters of `PyTorch` with its names (`T_max` or `t_max`) and defaults.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

pub use crate::{Anneal, CyclicMode};
#[cfg(feature = "toml")]
use crate::{Error, parse::parse};

macro_rules! spec {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        #[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
        #[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),* }
    };
}

/// A scheduler of `torch.optim.lr_scheduler` as data, named without `LR`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Spec {
    /// No scheduler: a fixed rate.
    Static {},
    /// `ConstantLR`.
    Constant(Constant),
    /// `StepLR`.
    Step(Step),
    /// `MultiStepLR`.
    MultiStep(MultiStep),
    /// `LinearLR`.
    Linear(Linear),
    /// `ExponentialLR`.
    Exponential(Exponential),
    /// `PolynomialLR`.
    Polynomial(Polynomial),
    /// `CosineAnnealingLR`.
    Cosine(Cosine),
    /// `CosineAnnealingWarmRestarts`.
    CosineWarmRestarts(CosineWarmRestarts),
    /// `CyclicLR`.
    Cyclic(Cyclic),
    /// `OneCycleLR`.
    OneCycle(OneCycle),
    /// `SequentialLR`.
    Sequential(Sequential),
    /// `ChainedScheduler`.
    Chained(Chained),
}

impl Spec {
    /// Parses `cosine = { T_max = 50 }`.
    ///
    /// # Errors
    /// Returns an error with line and column if the text is not a scheduler.
    #[cfg(feature = "toml")]
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse(text)
    }
}

spec! {
    /// `constant = { factor = 0.5, total_iters = 5 }`
    Constant {
        /// Factor until `total_iters`, 0 … 1; default 1/3.
        #[cfg_attr(feature = "serde", serde(default = "third"))]
        factor: f64,
        /// Steps; default 5.
        #[cfg_attr(feature = "serde", serde(default = "five"))]
        total_iters: f64,
    }
}
spec! {
    /// `step = { step_size = 30 }`
    Step {
        /// Steps between two cuts.
        step_size: f64,
        /// Factor of a cut; default 0.1.
        #[cfg_attr(feature = "serde", serde(default = "tenth"))]
        gamma: f64,
    }
}
spec! {
    /// `multi_step = { milestones = [30, 80] }`
    MultiStep {
        /// The steps of the cuts; one that is listed twice cuts twice.
        milestones: Vec<f64>,
        /// Factor of a cut; default 0.1.
        #[cfg_attr(feature = "serde", serde(default = "tenth"))]
        gamma: f64,
    }
}
spec! {
    /// `linear = { start_factor = 0.1, total_iters = 5 }`
    Linear {
        /// First factor, 0 < x ≤ 1; default 1/3.
        #[cfg_attr(feature = "serde", serde(default = "third"))]
        start_factor: f64,
        /// Last factor, 0 … 1; default 1.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        end_factor: f64,
        /// Steps; default 5.
        #[cfg_attr(feature = "serde", serde(default = "five"))]
        total_iters: f64,
    }
}
spec! {
    /// `exponential = { gamma = 0.95 }`
    Exponential {
        /// Factor of every step.
        gamma: f64,
    }
}
spec! {
    /// `polynomial = { total_iters = 50, power = 0.9 }`
    Polynomial {
        /// Steps; default 5.
        #[cfg_attr(feature = "serde", serde(default = "five"))]
        total_iters: f64,
        /// Exponent; default 1.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        power: f64,
    }
}
spec! {
    /// `cosine = { T_max = 50 }`
    Cosine {
        /// Steps of half a period.
        #[cfg_attr(feature = "serde", serde(alias = "T_max"))]
        t_max: f64,
        /// The lowest rate; default 0.
        #[cfg_attr(feature = "serde", serde(default))]
        eta_min: f64,
    }
}
spec! {
    /// `cosine_warm_restarts = { T_0 = 10, T_mult = 2 }`
    CosineWarmRestarts {
        /// Steps of the first cycle, > 0.
        #[cfg_attr(feature = "serde", serde(alias = "T_0"))]
        t_0: u64,
        /// Growth of the cycles, ≥ 1; default 1.
        #[cfg_attr(feature = "serde", serde(alias = "T_mult", default = "once"))]
        t_mult: u64,
        /// The lowest rate; default 0.
        #[cfg_attr(feature = "serde", serde(default))]
        eta_min: f64,
    }
}
spec! {
    /// `cyclic = { base_lr = 0.001, max_lr = 0.01 }`
    Cyclic {
        /// The lowest rate.
        base_lr: f64,
        /// The highest rate of the first cycle.
        max_lr: f64,
        /// Steps up; default 2000.
        #[cfg_attr(feature = "serde", serde(default = "two_thousand"))]
        step_size_up: f64,
        /// Steps down; default: as many as up.
        #[cfg_attr(feature = "serde", serde(default))]
        step_size_down: Option<f64>,
        /// The sequence of peaks; default `triangular`.
        #[cfg_attr(feature = "serde", serde(default))]
        mode: CyclicMode,
        /// Base of `exp_range`; default 1.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        gamma: f64,
        /// Whether momentum changes in the opposite direction of the rate; default true.
        #[cfg_attr(feature = "serde", serde(default = "yes"))]
        cycle_momentum: bool,
        /// The lowest momentum; default 0.8.
        #[cfg_attr(feature = "serde", serde(default = "cyclic_base_momentum"))]
        base_momentum: f64,
        /// The highest momentum; default 0.9.
        #[cfg_attr(feature = "serde", serde(default = "cyclic_max_momentum"))]
        max_momentum: f64,
    }
}
spec! {
    /// `one_cycle = { max_lr = 0.1, total_steps = 100 }`
    OneCycle {
        /// The highest rate.
        max_lr: f64,
        /// Steps of the cycle, instead of `epochs` and `steps_per_epoch`.
        #[cfg_attr(feature = "serde", serde(default))]
        total_steps: Option<u64>,
        /// With `steps_per_epoch`, instead of `total_steps`.
        #[cfg_attr(feature = "serde", serde(default))]
        epochs: Option<u64>,
        /// With `epochs`, instead of `total_steps`.
        #[cfg_attr(feature = "serde", serde(default))]
        steps_per_epoch: Option<u64>,
        /// Share of the rise, 0 … 1; default 0.3.
        #[cfg_attr(feature = "serde", serde(default = "three_tenths"))]
        pct_start: f64,
        /// The shape of the phases; default `cos`.
        #[cfg_attr(feature = "serde", serde(default))]
        anneal_strategy: Anneal,
        /// Whether momentum changes in the opposite direction of the rate; default true.
        #[cfg_attr(feature = "serde", serde(default = "yes"))]
        cycle_momentum: bool,
        /// The lowest momentum; default 0.85.
        #[cfg_attr(feature = "serde", serde(default = "one_cycle_base_momentum"))]
        base_momentum: f64,
        /// The highest momentum; default 0.95.
        #[cfg_attr(feature = "serde", serde(default = "one_cycle_max_momentum"))]
        max_momentum: f64,
        /// `max_lr` divided by the first rate; default 25.
        #[cfg_attr(feature = "serde", serde(default = "twenty_five"))]
        div_factor: f64,
        /// The first rate divided by the last; default 1e4.
        #[cfg_attr(feature = "serde", serde(default = "ten_thousand"))]
        final_div_factor: f64,
        /// Whether a symmetric fall precedes the last phase; default false.
        #[cfg_attr(feature = "serde", serde(default))]
        three_phase: bool,
    }
}
spec! {
    /// `sequential = { schedulers = [{ linear = {} }, { cosine = { T_max = 20 } }], milestones = [5] }`
    Sequential {
        /// The schedulers in order.
        schedulers: Vec<Spec>,
        /// The start of each scheduler except the first.
        milestones: Vec<f64>,
    }
}
spec! {
    /// `chained = { schedulers = [{ constant = {} }, { exponential = { gamma = 0.9 } }] }`
    Chained {
        /// The schedulers, which all apply.
        schedulers: Vec<Spec>,
    }
}

const fn third() -> f64 {
    1.0 / 3.0
}
const fn tenth() -> f64 {
    0.1
}
const fn one() -> f64 {
    1.0
}
const fn once() -> u64 {
    1
}
const fn five() -> f64 {
    5.0
}
const fn two_thousand() -> f64 {
    2000.0
}
const fn cyclic_base_momentum() -> f64 {
    0.8
}
const fn cyclic_max_momentum() -> f64 {
    0.9
}
const fn one_cycle_base_momentum() -> f64 {
    0.85
}
const fn one_cycle_max_momentum() -> f64 {
    0.95
}
const fn three_tenths() -> f64 {
    0.3
}
const fn twenty_five() -> f64 {
    25.0
}
const fn ten_thousand() -> f64 {
    1e4
}
const fn yes() -> bool {
    true
}
