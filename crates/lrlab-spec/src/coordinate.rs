//! The coordinates of cells along the axes of the grid, and their equality.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::tree::{Key, Node};

/// Axes that are not a single key of a run.
pub(crate) const NAMED: [&str; 4] = ["model", "schedule", "monitor", "seed"];

/// The axis over the names of `[optimizers]`. Unlike those of [`NAMED`], it is also a key of a run.
pub(crate) const OPTIMIZER: &str = "optimizer";

/// The key of the factor of the rate in a table of `[optimizers]`.
pub(crate) const LR_SCALE: &str = "lr_scale";

/// Returns whether an axis selects names or seeds instead of setting a single key.
pub(crate) fn is_named(axis: &str) -> bool {
    NAMED.contains(&axis) || axis == OPTIMIZER
}

/// The built-in monitor, which needs no definition.
pub(crate) const OFF: &str = "off";

/// A coordinate; the cells along an axis share it.
pub(crate) type Coordinate = Arc<(Key, Node)>;

/// The coordinates of a cell.
pub(crate) type Point = Vec<Coordinate>;

/// A point's coordinate along an axis.
pub(crate) fn chosen<'a>(point: &'a Point, axis: &str) -> Option<&'a Node> {
    point.iter().find(|entry| entry.0.name == axis).map(|entry| &entry.1)
}

/// Returns whether two coordinates are equal: `1` equals `1.0`; integers are compared exactly.
pub(crate) fn same(a: &Json, b: &Json) -> bool {
    a == b || ((a.is_f64() || b.is_f64()) && a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b))
}

/// Returns whether a coordinate satisfies a condition; `1` also matches the name `"1"`.
pub(crate) fn meets(ours: &Json, wanted: &Json) -> bool {
    same(ours, wanted) || label(ours) == label(wanted)
}

/// A coordinate in display form.
pub(crate) fn label(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
