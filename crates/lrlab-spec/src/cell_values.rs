//! Values of some cells, in `[[set]]`.

use serde_json::json;

use crate::axes::{self, Axis};
use crate::conditions;
use crate::coordinate::{Point, is_named};
use crate::definitions::{CellValues, Definitions};
use crate::expand::{self, entries};
use crate::mistake::Log;
use crate::tree::{Key, Node};
use crate::walk::walk;

/// The key of the conditions in an entry; all other keys are values.
const WHERE: &str = "where";

/// Checks that `[[set]]` is a list of tables with conditions.
pub(crate) fn check_shape(log: &mut Log, node: &Node) {
    let conditions = json!({ "type": "object" });
    let entry = json!({ "type": "object", "properties": { WHERE: conditions }, "required": [WHERE] });
    walk(log, node, &json!({ "type": "array", "items": entry }), "set");
}

/// Reads `[[set]]`; entries with errors are omitted.
pub(crate) fn read(
    log: &mut Log,
    root: &Node,
    axes: &[Axis],
    points: &[Point],
    definitions: &Definitions,
) -> Vec<CellValues> {
    let read = |entry: &Node| one(log, entry, root, axes, points, definitions);
    entries(root, "set").iter().filter_map(read).collect()
}

fn one(
    log: &mut Log,
    entry: &Node,
    root: &Node,
    axes: &[Axis],
    points: &[Point],
    definitions: &Definitions,
) -> Option<CellValues> {
    let searched = root.at("search.space").map(conditions::entries).unwrap_or_default();
    let is_condition = |key: &Key| key.name.split('.').next() == Some(WHERE);
    let given: Vec<_> =
        conditions::entries(entry).into_iter().filter(|(key, _)| !is_condition(key)).collect();
    if given.is_empty() {
        log.error(entry.place, "expected at least one value in addition to `where`", None);
        return None;
    }
    let mut values = Vec::new();
    let count = given.len();
    for (key, node) in given {
        let name = key.name.as_str();
        let varied = if is_named(name) || axes.iter().any(|axis| axis.name() == name) {
            Some("[axes]")
        } else {
            searched.iter().any(|(searched, _)| searched.name == name).then_some("[search]")
        };
        if let Some(table) = varied {
            let message = format!("`{name}` is set by {table}, so [[set]] cannot change it");
            log.error(key.place, message, None);
        } else if axes::known(log, &key, "key")
            && let Some(node) = axes::value(log, name, node, definitions)
        {
            values.push((key, node));
        }
    }
    let conditions = expand::conditions(log, entry.get(WHERE)?, axes, points, definitions)?;
    (values.len() == count).then_some(CellValues { conditions, values })
}
