//! Conditions on cells: tables of coordinates in `[[exclude]]`, `[[include]]`, claims and a
//! Slurm profile's classes, and `--filter`.

use lrlab_runs::Cell;
use serde_json::Value as Json;

use crate::coordinate::{OFF, label, meets};
use crate::mistake::{Log, Severity};
use crate::suggest;
use crate::tree::{Key, Node, Value};
use crate::walk::target;

/// Coordinates that every cell has in addition to those of its axes.
pub(crate) const DERIVED: [&str; 3] = ["monitor", "epochs", "dataset"];

/// Coordinates, each with the values that satisfy the condition.
pub(crate) type Conditions = Vec<(String, Vec<Json>)>;

/// The entries of a table of coordinates. Unquoted dotted keys, which are nested tables in TOML, count as one key.
pub(crate) fn entries(node: &Node) -> Vec<(Key, &Node)> {
    let mut found = Vec::new();
    flatten(node, "", &mut found);
    found
}

fn flatten<'a>(node: &'a Node, path: &str, found: &mut Vec<(Key, &'a Node)>) {
    for (key, child) in node.table() {
        let name = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
        if matches!(child.value, Value::Table(_)) {
            flatten(child, &name, found);
        } else {
            found.push((Key { name, place: key.place }, child));
        }
    }
}

/// The values that satisfy a condition: a single value or a list.
pub(crate) fn values(node: &Node) -> &[Node] {
    if let Value::List(items) = &node.value { items } else { std::slice::from_ref(node) }
}

/// Returns whether `name` is a key of a run that can be an axis.
pub(crate) fn is_key(name: &str) -> bool {
    target(name).is_ok()
}

/// The value of a run's key as a coordinate; a missing value is `off`.
pub(crate) fn coordinate(value: Json) -> Json {
    if value.is_null() { Json::from(OFF) } else { value }
}

/// A cell's coordinate, or the value of a key that is not an axis in its resolved specification.
pub(crate) fn of_run(cell: &Cell, spec: impl FnOnce() -> Option<Json>, name: &str) -> Option<Json> {
    if let Some(value) = cell.get(name) {
        return Some(value.clone());
    }
    let path = format!("/{}", name.replace('.', "/"));
    let spec = is_key(name).then(spec).flatten()?;
    spec.pointer(&path).cloned().map(coordinate)
}

/// Returns whether a coordinate is one of the wanted values.
pub(crate) fn any(ours: Option<Json>, wanted: impl IntoIterator<Item = Json>) -> bool {
    ours.is_some_and(|ours| wanted.into_iter().any(|wanted| meets(&ours, &wanted)))
}

/// Logs a coordinate that cells do not have, or values that no cell has. `names` are the coordinates of the cells, `found`
/// their values of this coordinate, and `meets` compares one of these with a requested value.
pub(crate) fn check(
    log: &mut Log,
    condition: (&Key, &[Node]),
    names: &[&str],
    found: impl Iterator<Item = Json>,
    meets: impl Fn(&Json, &Json) -> bool,
) -> bool {
    log_unmatched(log, Severity::Error, condition, names, found, meets)
}

/// Like [`check`], for a file that several experiments share: a coordinate that only this experiment lacks is a warning. A
/// coordinate that no experiment can have is an error.
pub(crate) fn of_site(
    log: &mut Log,
    (key, wanted): (&Key, &[Node]),
    names: &[&str],
    found: impl Iterator<Item = Json>,
    meets: impl Fn(&Json, &Json) -> bool,
) -> bool {
    let elsewhere = names.contains(&key.name.as_str()) || is_key(&key.name);
    let severity = if elsewhere { Severity::Warning } else { Severity::Error };
    log_unmatched(log, severity, (key, wanted), names, found, meets)
}

fn log_unmatched(
    log: &mut Log,
    severity: Severity,
    (key, wanted): (&Key, &[Node]),
    names: &[&str],
    found: impl Iterator<Item = Json>,
    meets: impl Fn(&Json, &Json) -> bool,
) -> bool {
    let mut known: Vec<Json> = Vec::new();
    for value in found {
        if !known.contains(&value) {
            known.push(value);
        }
    }
    if known.is_empty() {
        let hint = suggest::among(&key.name, names.iter().copied());
        log.push(severity, key.place, format!("`{}` is not an axis of this grid", key.name), hint);
        return false;
    }
    let mut good = true;
    for node in wanted {
        let json = node.json();
        if known.iter().any(|ours| meets(ours, &json)) {
            continue;
        }
        let labels: Vec<String> = known.iter().map(label).collect();
        let names = labels.iter().map(String::as_str);
        // No number is misspelt for another one.
        let hint = if json.is_number() {
            Some(format!("expected one of {}", suggest::list(names)))
        } else {
            suggest::among(&label(&json), names)
        };
        log.push(severity, node.place, format!("no cell has `{}` = `{}`", key.name, label(&json)), hint);
        good = false;
    }
    good
}
