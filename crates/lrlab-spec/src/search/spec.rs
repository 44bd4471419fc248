//! What `[search]` holds.

use std::borrow::Cow;

use lrlab_config::Metric;
use lrlab_schedulers::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// `[search]`, its space left aside.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchSpec {
    /// How trials are chosen and how long each is trained.
    pub(super) method: MethodSpec,
    /// The metric of the validation split that decides, each trial's best epoch so far. Default: the run's `select`.
    #[serde(default)]
    #[schemars(with = "Option<ValidationMetric>")]
    pub(super) metric: Option<String>,
    /// Seed of the drawn points; not the runs' seed.
    #[serde(default)]
    pub(super) seed: u64,
    /// The first so many seeds judge a trial, by their mean; the winner is run with the others too. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub(super) seeds: usize,
}

/// The schema of a text that names a metric of the validation split by which a search may decide.
struct ValidationMetric;

impl JsonSchema for ValidationMetric {
    fn schema_name() -> Cow<'static, str> {
        "ValidationMetric".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "enum": Metric::names().filter(|name| name.starts_with("val_")).collect::<Vec<_>>(),
            "$comment": "nothing to search by: the validation split decides",
        })
    }
}

const fn one() -> usize {
    1
}

/// How trials are chosen and how long each is trained.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum MethodSpec {
    /// Every point, trained in full.
    Grid(GridSearchSpec),
    /// Points drawn at random, trained in full (Bergstra and Bengio, JMLR 2012).
    Random(RandomSearchSpec),
    /// Every trial for a while, the better part for longer (Jamieson and Talwalkar, AISTATS 2016).
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
    /// When trials are judged, in whole epochs or parts of the run, increasing. The schedule is laid over the whole run.
    pub(super) rungs: Vec<Span>,
    /// One in so many goes on at each rung. Default: 2.
    #[serde(default = "two")]
    #[schemars(range(min = 2))]
    pub(super) eta: usize,
}

pub(super) const fn two() -> usize {
    2
}

/// The values a key may take.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "the walk reads the tree, which knows its places; this is its schema")]
enum SpaceSpec {
    /// Evenly from `min` to `max`.
    Linear(RangeSpec),
    /// Evenly in the logarithm from `min` to `max`.
    Log(RangeSpec),
    /// One of these.
    Choice(Vec<serde_json::Value>),
}

/// `{ min = 1e-3, max = 1.0 }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "as above")]
struct RangeSpec {
    /// The lowest value.
    min: f64,
    /// The highest value.
    max: f64,
    /// Only so many values, both ends among them. Default: any value between.
    #[serde(default)]
    #[schemars(range(min = 2))]
    points: Option<usize>,
}

/// Makes the schema of a space known: nothing else names it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct Spaces {
    /// By key.
    space: SpaceSpec,
    /// The rest.
    search: SearchSpec,
}
