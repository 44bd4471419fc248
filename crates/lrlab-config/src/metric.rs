//! Names of metrics.

use std::borrow::Cow;

use lrlab_runs::EpochMetrics;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The schema of the name of a metric of [`EpochMetrics`] with a preferred direction.
#[derive(Debug, Clone, Copy)]
pub struct Metric;

impl Metric {
    /// Returns the names, in the order of [`EpochMetrics::NAMES`].
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
            "$comment": "a metric without a preferred direction, so it has no best epoch",
        })
    }
}
