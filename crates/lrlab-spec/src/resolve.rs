//! From a point of the grid to a run with every value spelled out and its origin known.

use lrlab_runs::Cell;
use serde_json::{Value as Json, json};

use crate::axes::NAMED;
use crate::definitions::{Definitions, Named, OFF};
use crate::expand::Point;
use crate::mistake::Log;
use crate::tree::{Key, Node, Place, Value};
use crate::{RunSpec, coupled};

/// A cell, its run, and the tree that the run was read from.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) cell: Cell,
    pub(crate) spec: RunSpec,
    pub(crate) tree: Node,
}

/// What a run is unless the experiment says otherwise. What is not here has to be given.
fn built_in() -> Node {
    Node::built_in(&json!({
        "accumulate": 1,
        "clip_norm": null,
        "data": { "split_seed": 0, "validation": null, "limit": {}, "pin_digest": null, "augment": {}, "tokens": {} },
        "early_stopping": null,
        "label_smoothing": 0.0,
        "lr_max": null,
        "lr_min": 0.0,
        "select": "val_accuracy",
    }))
}

/// Keys of a run without a built-in value.
const REQUIRED: [&str; 4] = ["lr", "epochs", "batch_size", "optimizer"];

/// Keys that `"off"` empties.
const MAY_BE_OFF: [&str; 8] = [
    "clip_norm",
    "early_stopping",
    "lr_max",
    "data.validation",
    "data.pin_digest",
    "data.limit.train",
    "data.limit.validation",
    "data.limit.test",
];

/// Keys of a table with one variant of several: another variant replaces it instead of being merged.
const TAGGED: [&str; 3] = ["optimizer", "model", "data.source"];

/// Logs what has to be given and is not, for the models that the axes name.
pub(crate) fn require(log: &mut Log, axes: &[String], models: &[&Named], defaults: &Node) {
    for name in REQUIRED {
        let given = |node: &Node| node.get(name).is_some();
        let is_axis = axes.iter().any(|axis| axis == name);
        if is_axis || given(defaults) || log.meant.iter().any(|meant| meant == name) {
            continue;
        }
        let without: Vec<&&Named> =
            models.iter().filter(|model| !model.node.get("set").is_some_and(given)).collect();
        let Some(first) = without.first() else { continue };
        let names = crate::suggest::list(without.iter().map(|model| model.key.name.as_str()));
        let hint = format!("give it in [defaults], in [models.{}.set] or as an axis", first.key.name);
        log.error(first.key.place, format!("`{name}` is missing for {names}"), hint);
    }
}

/// The run at a point; what is wrong with it goes to the log.
pub(crate) fn resolve(log: &mut Log, point: &Point, definitions: &Definitions) -> Option<Resolved> {
    let chosen = |axis: &str| point.iter().find(|(key, _)| key.name == axis).map(|(_, node)| node);
    let named = |all: &[Named], name: Option<&str>| {
        all.iter().find(|named| Some(named.key.name.as_str()) == name).map(|named| named.node.clone())
    };
    let model = named(&definitions.models, chosen("model")?.text())?;
    let dataset = model.get("data")?.text()?;
    let mut tree = built_in();
    merge(&mut tree, &definitions.defaults, "");
    let data = named(&definitions.data, Some(dataset))?;
    put(&mut tree, "data", |node| merge(node, &data, "data"));
    if let Some(set) = model.get("set") {
        merge(&mut tree, set, "");
    }
    let network = model.get("network")?.clone();
    put(&mut tree, "model", |node| *node = network);
    let schedule = named(&definitions.schedules, chosen("schedule")?.text())?;
    put(&mut tree, "schedule", |node| *node = schedule);
    let monitor = chosen("monitor").and_then(Node::text).unwrap_or(OFF);
    let off =
        Node { value: Value::Null, place: chosen("monitor").map_or(Place::BUILT_IN, |node| node.place) };
    let monitor = if monitor == OFF { off } else { named(&definitions.monitors, Some(monitor))? };
    put(&mut tree, "monitor", |node| *node = monitor);
    let seed = chosen("seed")?.clone();
    put(&mut tree, "seed", |node| *node = seed);
    for (key, value) in point.iter().filter(|(key, _)| !NAMED.contains(&key.name.as_str())) {
        if let Err(message) = apply(&mut tree, &key.name, value) {
            let model = chosen("model").and_then(Node::text).unwrap_or_default();
            log.error(key.place, format!("for the model `{model}` {message}"), None);
            return None;
        }
    }
    switch_off(&mut tree);
    let spec: RunSpec = match serde_json::from_value(tree.json()) {
        Ok(spec) => spec,
        Err(error) => {
            log.error(chosen("model")?.place, format!("a run of this model cannot be read: {error}"), None);
            return None;
        }
    };
    for found in coupled::run(&spec) {
        log.error(tree.place_near(found.path), found.message, found.suggestion);
    }
    Some(Resolved { cell: cell(point, dataset, &spec), spec, tree })
}

fn cell(point: &Point, dataset: &str, spec: &RunSpec) -> Cell {
    let mut cell: Cell = point.iter().map(|(key, node)| (key.name.clone(), node.json())).collect();
    cell.entry("monitor".to_owned()).or_insert_with(|| Json::from(OFF));
    cell.insert("epochs".to_owned(), Json::from(spec.epochs));
    cell.insert("dataset".to_owned(), Json::from(dataset));
    cell
}

/// Changes the entry of a table, made where there is none.
fn put(tree: &mut Node, name: &str, change: impl FnOnce(&mut Node)) {
    let Value::Table(entries) = &mut tree.value else { return };
    let index = entries.iter().position(|(key, _)| key.name == name).unwrap_or_else(|| {
        let empty = Node { value: Value::Table(Vec::new()), place: Place::BUILT_IN };
        entries.push((Key { name: name.to_owned(), place: Place::BUILT_IN }, empty));
        entries.len() - 1
    });
    change(&mut entries[index].1);
}

/// `over` wins; tables are merged key by key unless they hold different variants.
fn merge(base: &mut Node, over: &Node, path: &str) {
    let variant = |node: &Node| node.table().first().map(|(key, _)| key.name.clone());
    let replaces = TAGGED.contains(&path) && variant(base) != variant(over);
    if replaces || !matches!((&base.value, &over.value), (Value::Table(_), Value::Table(_))) {
        *base = over.clone();
        return;
    }
    base.place = over.place;
    for (key, node) in over.table() {
        let path = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
        if base.get(&key.name).is_none() {
            put(base, &key.name, |slot| *slot = node.clone());
        } else {
            put(base, &key.name, |slot| merge(slot, node, &path));
        }
    }
}

/// Sets the value of an axis.
fn apply(tree: &mut Node, path: &str, value: &Node) -> Result<(), String> {
    let mut node = tree;
    let mut walked = String::new();
    let mut keys = path.split('.').peekable();
    while let Some(key) = keys.next() {
        if TAGGED.contains(&walked.as_str()) && node.get(key).is_none() {
            let found = node.table().first().map_or("nothing", |(key, _)| key.name.as_str());
            return Err(format!("`{walked}` is `{found}`, so the axis `{path}` sets nothing"));
        }
        if matches!(node.value, Value::Null | Value::Text(_)) {
            node.value = Value::Table(Vec::new());
        }
        if keys.peek().is_none() {
            put(node, key, |slot| *slot = value.clone());
            return Ok(());
        }
        put(node, key, |_| ());
        let Value::Table(entries) = &mut node.value else { return Err(format!("`{walked}` is no table")) };
        let Some((_, child)) = entries.iter_mut().find(|(known, _)| known.name == key) else {
            return Err(format!("`{walked}` has no `{key}`"));
        };
        node = child;
        walked = if walked.is_empty() { key.to_owned() } else { format!("{walked}.{key}") };
    }
    Ok(())
}

fn switch_off(tree: &mut Node) {
    for path in MAY_BE_OFF {
        let Some(place) = tree.at(path).filter(|node| node.text() == Some(OFF)).map(|node| node.place) else {
            continue;
        };
        let keys: Vec<Key> =
            path.split('.').map(|name| Key { name: name.to_owned(), place: Place::BUILT_IN }).collect();
        tree.set(&keys, Node { value: Value::Null, place });
    }
}
