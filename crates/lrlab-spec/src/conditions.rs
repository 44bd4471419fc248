//! Conditions on cells: tables of coordinates in `[[exclude]]`, `[[include]]`, claims and a
//! Slurm profile's classes, and `--filter`.

use lrlab_runs::Cell;
use serde_json::Value as Json;

use crate::coordinate::{OFF, label, meets};
use crate::mistake::Log;
use crate::suggest;
use crate::tree::{Key, Node, Value};
use crate::walk::target;

/// Coordinates that every cell has besides those along its axes.
pub(crate) const DERIVED: [&str; 3] = ["monitor", "epochs", "dataset"];

/// The entries of a table of coordinates. Unquoted dotted keys are tables to TOML and one key here.
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

/// The values that meet a condition: one, or a list of them.
pub(crate) fn values(node: &Node) -> &[Node] {
    if let Value::List(items) = &node.value { items } else { std::slice::from_ref(node) }
}

/// Whether `name` is a key of a run that may be an axis, of this grid or another.
pub(crate) fn is_key(name: &str) -> bool {
    target(name).is_ok()
}

/// The value of a run's key as a coordinate: what is absent is `off`.
pub(crate) fn coordinate(value: Json) -> Json {
    if value.is_null() { Json::from(OFF) } else { value }
}

/// A cell's coordinate, or what its run, resolved as `spec`, has of a key that is no axis of the grid.
pub(crate) fn of_run(cell: &Cell, spec: impl FnOnce() -> Option<Json>, name: &str) -> Option<Json> {
    if let Some(value) = cell.get(name) {
        return Some(value.clone());
    }
    let path = format!("/{}", name.replace('.', "/"));
    let spec = is_key(name).then(spec).flatten()?;
    spec.pointer(&path).cloned().map(coordinate)
}

/// Whether a coordinate is one of the wanted values.
pub(crate) fn any(ours: Option<Json>, wanted: impl IntoIterator<Item = Json>) -> bool {
    ours.is_some_and(|ours| wanted.into_iter().any(|wanted| meets(&ours, &wanted)))
}

/// Logs a coordinate that cells do not have, or values of it that none of the cells has. `names` are the cells' own
/// coordinates, `found` the values that they have of this one, `meets` compares one of those with a wanted one.
pub(crate) fn check(
    log: &mut Log,
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
        log.error(key.place, format!("`{}` is no axis of this grid", key.name), hint);
        return false;
    }
    let mut good = true;
    for node in wanted {
        let json = node.json();
        if known.iter().any(|ours| meets(ours, &json)) {
            continue;
        }
        let labels: Vec<String> = known.iter().map(label).collect();
        let hint = suggest::among(&label(&json), labels.iter().map(String::as_str));
        log.error(node.place, format!("no cell has `{}` = `{}`", key.name, label(&json)), hint);
        good = false;
    }
    good
}
