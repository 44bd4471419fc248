//! The schema of `[search]`.

use std::borrow::Cow;

use lrlab_config::Metric;
use lrlab_schedulers::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// `[search]` without its space.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchSpec {
    /// The method: how trials are chosen and how long each is trained.
    pub(super) method: MethodSpec,
    /// The metric of the validation split that ranks trials, by their best epoch up to the rung. Default: the run's `select`.
    #[serde(default)]
    #[schemars(with = "Option<ValidationMetric>")]
    pub(super) metric: Option<String>,
    /// The seed of the drawn points; independent of the runs' seeds.
    #[serde(default)]
    pub(super) seed: u64,
    /// The number of seeds, the first ones, whose mean ranks a trial; the winner is also run with the others. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub(super) seeds: usize,
}

/// The schema of the name of a metric of the validation split that can rank trials.
struct ValidationMetric;

impl JsonSchema for ValidationMetric {
    fn schema_name() -> Cow<'static, str> {
        "ValidationMetric".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "enum": Metric::names().filter(|name| name.starts_with("val_")).collect::<Vec<_>>(),
            "$comment": "not usable for a search, which ranks by the validation split",
        })
    }
}

const fn one() -> usize {
    1
}

/// The method of a search: how trials are chosen and how long each is trained.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum MethodSpec {
    /// Every point, trained in full.
    Grid(GridSearchSpec),
    /// Points drawn at random, trained in full (Bergstra and Bengio, JMLR 2012).
    Random(RandomSearchSpec),
    /// Successive halving: all trials start, and the best part of each rung continues (Jamieson and Talwalkar, AISTATS 2016).
    Halving(HalvingSpec),
}

/// `grid = {}`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GridSearchSpec {}

/// `random = { trials = 20 }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RandomSearchSpec {
    /// Points per arm.
    #[schemars(range(min = 1))]
    pub(super) trials: usize,
}

/// `halving = { trials = 9, rungs = ["1 epoch", "3 epochs"], eta = 3 }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HalvingSpec {
    /// Points per arm, drawn at random. Default: every point of the space.
    #[serde(default)]
    #[schemars(range(min = 2))]
    pub(super) trials: Option<usize>,
    /// The times at which trials are ranked, in whole epochs or fractions of the run, increasing. The schedule always refers
    /// to the full length of the run.
    pub(super) rungs: Vec<Span>,
    /// The reduction factor: one in `eta` trials continues at each rung. Default: 2.
    #[serde(default = "two")]
    #[schemars(range(min = 2))]
    pub(super) eta: usize,
}

pub(super) const fn two() -> usize {
    2
}

/// The possible values of a key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "only its schema is used; values are read from the tree, which has their places"
)]
enum SpaceSpec {
    /// Uniform from `min` to `max`.
    Linear(RangeSpec),
    /// Uniform in the logarithm from `min` to `max`.
    Log(RangeSpec),
    /// One of the listed values.
    Choice(Vec<serde_json::Value>),
}

/// `{ min = 1e-3, max = 1.0 }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "as above")]
struct RangeSpec {
    /// The minimum.
    min: f64,
    /// The maximum.
    max: f64,
    /// The number of evenly spaced values, including both ends. Default: any value in between.
    #[serde(default)]
    #[schemars(range(min = 2))]
    points: Option<usize>,
}

/// Adds the schema of a space to the definitions, because no other type refers to it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct Spaces {
    /// The spaces by key.
    space: SpaceSpec,
    /// The other keys of `[search]`.
    search: SearchSpec,
}
