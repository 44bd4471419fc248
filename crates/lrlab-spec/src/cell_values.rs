//! Values of some cells, in `[[set]]`.

use serde_json::json;

use crate::axes::{self, Axis};
use crate::coordinate::{NAMED, OPTIMIZER, Point};
use crate::definitions::{CellValue, CellValues, Definitions};
use crate::expand::{self, entries};
use crate::mistake::Log;
use crate::resolve::{AXES, SPACE, is_varied};
use crate::schema::definition;
use crate::tree::{Key, Node, Value};
use crate::walk::{follow, target, walk};

/// The key of the conditions in an entry; all other keys are values.
const WHERE: &str = "where";

/// Checks that `[[set]]` is a list of tables with conditions.
pub(crate) fn check_shape(log: &mut Log, node: &Node) {
    let conditions = json!({ "type": "object" });
    let entry = json!({ "type": "object", "properties": { WHERE: conditions }, "required": [WHERE] });
    walk(log, node, &json!({ "type": "array", "items": entry }), "set");
}

/// Reads `[[set]]`, whose errors are logged. `searched` are the keys of `[search.space]`.
pub(crate) fn read(
    log: &mut Log,
    root: &Node,
    axes: &[Axis],
    searched: &[String],
    points: &[Point],
    definitions: &Definitions,
) -> Vec<CellValues> {
    let mut one = |entry: &Node| {
        let given: Vec<_> = entry.table().iter().filter(|(key, _)| key.name != WHERE).collect();
        if given.is_empty() {
            log.error(entry.place, "expected at least one value in addition to `where`", None);
            return None;
        }
        let mut read = Vec::new();
        for (key, node) in given {
            values(log, &nested(key, node), axes, searched, &mut read);
        }
        for value in &mut read {
            let (CellValue::Keys(node) | CellValue::Path(_, node)) = value;
            definitions.check_functions(log, node);
        }
        let conditions = expand::conditions(log, entry.get(WHERE)?, axes, points, definitions)?;
        Some(CellValues { conditions, values: read })
    };
    entries(root, "set").iter().filter_map(&mut one).collect()
}

/// A key and its value as a table; a quoted dotted key gives nested tables, as an unquoted one does.
fn nested(key: &Key, node: &Node) -> Node {
    key.name.rsplit('.').fold(node.clone(), |node, name| {
        let inner = Key { name: name.to_owned(), place: key.place };
        Node { value: Value::Table(vec![(inner, node)]), place: key.place }
    })
}

/// Reads the values in a table with one key. Keys of a run are checked and merged as in a model's `set`.
fn values(log: &mut Log, table: &Node, axes: &[Axis], searched: &[String], read: &mut Vec<CellValue>) {
    let mut single = Vec::new();
    flatten(table, "", &mut single);
    let mut is_free = true;
    for (key, _) in &single {
        let varied =
            if NAMED.contains(&key.name.as_str()) || axes.iter().any(|axis| same(axis.name(), &key.name)) {
                AXES
            } else if searched.iter().any(|searched| same(searched, &key.name)) {
                SPACE
            } else {
                continue;
            };
        log.error(key.place, is_varied(&key.name, varied), None);
        is_free = false;
    }
    let Some((first, inside)) = table.table().first().filter(|_| is_free) else { return };
    // A run does not have these keys if an axis gives it another schedule, monitor, network or update rule.
    let is_part = NAMED.contains(&first.name.as_str())
        || (first.name == OPTIMIZER && axes.iter().any(|axis| axis.name() == OPTIMIZER));
    let is_named = |path: &str| is_part || is_short(path);
    let (paths, keys): (Vec<_>, Vec<_>) = single.into_iter().partition(|(key, _)| is_named(&key.name));
    if !keys.is_empty() {
        let mut inside = inside.clone();
        if let Value::Table(entries) = &mut inside.value {
            entries.retain(|(key, _)| !is_named(&format!("{}.{}", first.name, key.name)));
        }
        let table = Node { value: Value::Table(vec![(first.clone(), inside)]), place: table.place };
        if walk(log, &table, definition("RunKeys"), "set") {
            read.push(CellValue::Keys(table));
        }
    }
    for (key, node) in paths {
        let Ok(target) = follow(&key.name) else {
            axes::known(log, &key, "key");
            continue;
        };
        if walk(log, node, target.schema, target.key) {
            read.push(CellValue::Path(key, node.clone()));
        }
    }
}

/// The values in a table by their paths. An empty table is a value too.
fn flatten<'a>(node: &'a Node, path: &str, found: &mut Vec<(Key, &'a Node)>) {
    for (key, child) in node.table() {
        let name = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
        if child.table().is_empty() || target(&name).is_ok() {
            found.push((Key { name, place: key.place }, child));
        } else {
            flatten(child, &name, found);
        }
    }
}

/// Returns whether two paths can lead to one key: `optimizer.momentum` is a short form of `optimizer.sgd.momentum`.
pub(crate) fn same(a: &str, b: &str) -> bool {
    let is_short_form = |short: &str, path: &str| {
        let rest = path.strip_prefix("optimizer.").and_then(|rest| rest.split_once('.'));
        is_short(short) && rest.is_some_and(|(_, key)| short.strip_prefix("optimizer.") == Some(key))
    };
    a == b || is_short_form(a, b) || is_short_form(b, a)
}

/// Returns whether a path refers to a key of the run's update rule without naming the rule.
fn is_short(path: &str) -> bool {
    path.strip_prefix("optimizer.").is_some_and(|key| {
        !key.contains('.') && definition("Optimizer")["properties"].get(key).is_none() && target(path).is_ok()
    })
}
