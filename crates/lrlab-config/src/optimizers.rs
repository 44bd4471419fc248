//! Update rules.

use lrlab_schedulers::{Driver, Error, Horizon, Hyper, Problem, ScheduleSpec};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An update rule and its constants, without the learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent with PyTorch's rule; the default momentum is 0.9, in PyTorch 0.
    Sgd(SgdConfig),
    /// Adam (Kingma and Ba, ICLR 2015), with weight decay added to the gradient.
    Adam(AdamConfig),
    /// `AdamW` (Loshchilov and Hutter, ICLR 2019), with decoupled weight decay, by default 0.01 as in `torch.optim.AdamW`.
    #[serde(rename = "adamw", deserialize_with = "decoupled")]
    #[schemars(schema_with = "decoupled_schema")]
    AdamW(AdamConfig),
}

/// A constant of an update rule that follows a schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduledHyper<'a> {
    /// The constant.
    pub hyper: Hyper,
    /// The key of its schedule: `sgd.momentum_schedule`.
    pub key: &'static str,
    /// The constant, which is the schedule's base rate.
    pub base: f64,
    /// The schedule.
    pub schedule: &'a ScheduleSpec,
}

impl OptimizerConfig {
    /// Returns the constants that follow a schedule.
    #[must_use]
    pub fn scheduled(&self) -> Vec<ScheduledHyper<'_>> {
        let all: Vec<Constant<'_>> = match self {
            Self::Sgd(sgd) => vec![
                (Hyper::Momentum, "sgd.momentum_schedule", sgd.momentum, &sgd.momentum_schedule),
                (
                    Hyper::WeightDecay,
                    "sgd.weight_decay_schedule",
                    sgd.weight_decay,
                    &sgd.weight_decay_schedule,
                ),
            ],
            Self::Adam(adam) => adam.all_scheduled([
                "adam.beta1_schedule",
                "adam.beta2_schedule",
                "adam.weight_decay_schedule",
            ]),
            Self::AdamW(adam) => adam.all_scheduled([
                "adamw.beta1_schedule",
                "adamw.beta2_schedule",
                "adamw.weight_decay_schedule",
            ]),
        };
        all.into_iter()
            .filter_map(|(hyper, key, base, schedule)| {
                Some(ScheduledHyper { hyper, key, base, schedule: schedule.as_ref()? })
            })
            .collect()
    }

    /// Returns the schedules of constants, so that the caller can insert the functions of a [`lrlab_schedulers::LambdaSpec`].
    pub fn schedules_mut(&mut self) -> impl Iterator<Item = &mut ScheduleSpec> {
        let all = match self {
            Self::Sgd(sgd) => [Some(&mut sgd.momentum_schedule), Some(&mut sgd.weight_decay_schedule), None],
            Self::Adam(adam) | Self::AdamW(adam) => [
                Some(&mut adam.beta1_schedule),
                Some(&mut adam.beta2_schedule),
                Some(&mut adam.weight_decay_schedule),
            ],
        };
        all.into_iter().flatten().flatten()
    }

    /// Returns the driver of the scheduled constants for a run of this length. It drives the group `""`, which contains all
    /// parameters.
    ///
    /// # Errors
    /// Returns an error if a schedule cannot be built, or if its value leaves the range of the constant at one of 501 evenly
    /// spaced updates or at a mark of the schedule. The path starts with the rule: `sgd.momentum_schedule`.
    pub fn driver(&self, run: &Horizon) -> Result<Driver, Error> {
        let mut driver = Driver::default();
        for ScheduledHyper { hyper, key, base, schedule } in self.scheduled() {
            let built = schedule.build(run).map_err(|error| error.under(key))?;
            let (accepted, expected): (fn(f64) -> bool, _) = match hyper {
                Hyper::WeightDecay => (|x| x >= 0.0, "a weight decay, at least 0"),
                _ => (|x| (0.0..1.0).contains(&x), "a momentum, at least 0 and below 1"),
            };
            let sampled = (0..=SAMPLES).map(|i| (run.updates - 1).saturating_mul(i) / SAMPLES);
            let marked = built.marks().into_iter().map(|mark| mark.update.min(run.updates - 1)).take(1000);
            let values = sampled.chain(marked).map(|update| built.lr(base, run.at(update)));
            if let Some(value) = values.into_iter().find(|value| !accepted(*value)) {
                return Err(Error::new(key, Problem::Range { value, expected }));
            }
            driver = driver.drive("", hyper, base, built);
        }
        Ok(driver)
    }
}

/// The number of intervals into which a run is divided to check the range of values.
const SAMPLES: u64 = 500;

/// `sgd = { momentum = 0.9 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SgdConfig {
    /// μ, at least 0 and below 1. Default: 0.9 (in `torch.optim.SGD`: 0).
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub momentum: f64,
    /// Nesterov momentum; requires a momentum above 0.
    pub nesterov: bool,
    /// λ, weight decay: λ times the parameter is added to the gradient.
    #[schemars(range(min = 0))]
    pub weight_decay: f64,
    /// Also decay parameters of norms and biases, as PyTorch does by default. Otherwise they form a group without decay.
    pub decay_all: bool,
    /// μ over time, with `momentum` as its base rate: `{ one_cycle = { … } }`. Default: constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum_schedule: Option<ScheduleSpec>,
    /// λ over time, with `weight_decay` as its base rate: `{ cosine = {} }`. Default: constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay_schedule: Option<ScheduleSpec>,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self {
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
            decay_all: false,
            momentum_schedule: None,
            weight_decay_schedule: None,
        }
    }
}

/// `adam = {}` or `adamw = {}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamConfig {
    /// β₁, decay of the first moment, at least 0 and below 1.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub beta1: f64,
    /// β₂, decay of the second moment, at least 0 and below 1.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub beta2: f64,
    /// Added to the denominator.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub eps: f64,
    /// λ, weight decay. Default: 0.01 for `adamw`, 0 for `adam`.
    #[schemars(range(min = 0))]
    pub weight_decay: f64,
    /// Also decay parameters of norms and biases, as a single PyTorch parameter group does.
    pub decay_all: bool,
    /// β₁ over time, with `beta1` as its base rate. The bias correction takes the β₁ in force, as in torch. Default: constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta1_schedule: Option<ScheduleSpec>,
    /// β₂ over time, with `beta2` as its base rate, likewise. Default: constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta2_schedule: Option<ScheduleSpec>,
    /// λ over time, with `weight_decay` as its base rate: `{ cosine = {} }`. Default: constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay_schedule: Option<ScheduleSpec>,
}

/// A constant of a rule, the key of its schedule, its value and its schedule.
type Constant<'a> = (Hyper, &'static str, f64, &'a Option<ScheduleSpec>);

impl AdamConfig {
    fn all_scheduled(&self, keys: [&'static str; 3]) -> Vec<Constant<'_>> {
        vec![
            (Hyper::Beta1, keys[0], self.beta1, &self.beta1_schedule),
            (Hyper::Beta2, keys[1], self.beta2, &self.beta2_schedule),
            (Hyper::WeightDecay, keys[2], self.weight_decay, &self.weight_decay_schedule),
        ]
    }

    /// The constants of `torch.optim.AdamW` and `candle_nn::ParamsAdamW`: a weight decay of 0.01 on every parameter.
    /// `adamw = {}` in an experiment file has the same weight decay, without norms and biases.
    #[must_use]
    pub fn adamw() -> Self {
        Self { weight_decay: ADAMW_DECAY, decay_all: true, ..Self::default() }
    }
}

/// The default weight decay of `AdamW`.
const ADAMW_DECAY: f64 = 0.01;

/// Reads the table of `adamw`.
fn decoupled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AdamConfig, D::Error> {
    let mut given: Map<String, Value> = Map::deserialize(deserializer)?;
    given.entry("weight_decay").or_insert_with(|| ADAMW_DECAY.into());
    AdamConfig::deserialize(Value::Object(given)).map_err(D::Error::custom)
}

/// The schema of [`AdamConfig`] with the defaults of `adamw`.
fn decoupled_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = AdamConfig::json_schema(generator);
    if let Some(default) = schema.pointer_mut("/properties/weight_decay/default") {
        *default = ADAMW_DECAY.into();
    }
    schema
}

/// `adam = {}`: no weight decay.
impl Default for AdamConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            decay_all: false,
            beta1_schedule: None,
            beta2_schedule: None,
            weight_decay_schedule: None,
        }
    }
}
