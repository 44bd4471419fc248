//! Names of metrics.

use std::borrow::Cow;

use lrlab_runs::EpochMetrics;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The schema of a text that names a metric of [`EpochMetrics`] of which one value is better than another.
#[derive(Debug, Clone, Copy)]
pub struct Metric;

impl Metric {
    /// The names, in the order of [`EpochMetrics::NAMES`].
    pub fn names() -> impl Iterator<Item = &'static str> {
        EpochMetrics::NAMES.into_iter().filter(|name| EpochMetrics::higher_is_better(name).is_some())
    }
}

impl JsonSchema for Metric {
    fn schema_name() -> Cow<'static, str> {
        "Metric".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "enum": Self::names().collect::<Vec<_>>(),
            "$comment": "neither better high nor low, so there is no best epoch by it",
        })
    }
}
