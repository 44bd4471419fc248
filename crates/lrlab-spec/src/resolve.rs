//! Resolves a point of the grid to a run with all values and their origins.

use lrlab_config::Precision;
use lrlab_runs::Cell;
use lrlab_search::TRIAL;
use serde_json::{Value as Json, json};

use crate::conditions::{self, Conditions};
use crate::coordinate::{LR_SCALE, OFF, OPTIMIZER, Point, chosen, is_named};
use crate::definitions::{CellValue, Definitions, Named};
use crate::mistake::Log;
use crate::tree::{Key, Node, Place, Value};
use crate::walk::target;
use crate::{ModelSpec, RunSpec, coupled};

/// A cell and its run.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) cell: Cell,
    pub(crate) spec: RunSpec,
}

/// The built-in values of a run. All other keys are required.
fn built_in() -> Node {
    Node::built_in(&json!({
        "accumulate": 1,
        "averaging": null,
        "clip_norm": null,
        "data": { "split_seed": 0, "validation": null, "limit": {}, "pin_digest": null, "augment": {}, "tokens": {} },
        "divergence": null,
        "early_stopping": null,
        "keep_top": 0,
        "log_every": 0,
        "label_smoothing": 0.0,
        "lr_max": null,
        "lr_min": 0.0,
        "precision": "f32",
        "select": "val_accuracy",
    }))
}

/// Keys of a run without a built-in value.
const REQUIRED: [&str; 4] = ["lr", "epochs", "batch_size", "optimizer"];

/// Keys that can be set to `"off"`.
const MAY_BE_OFF: [&str; 10] = [
    "averaging",
    "clip_norm",
    "divergence",
    "early_stopping",
    "lr_max",
    "data.validation",
    "data.pin_digest",
    "data.limit.train",
    "data.limit.validation",
    "data.limit.test",
];

/// Keys of tagged tables: a table with another variant replaces the existing one instead of being merged.
const TAGGED: [&str; 7] =
    ["optimizer", "model", "data.source", "schedule", "monitor.controller", "averaging", "divergence.action"];

/// Logs required keys that are set neither by axes, searched keys or defaults nor by the named models.
pub(crate) fn require(log: &mut Log, axes: &[&str], models: &[&Named], defaults: &Node) {
    for name in REQUIRED {
        let given = |node: &Node| node.get(name).is_some();
        let is_axis = axes.contains(&name);
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

/// The run at a point; errors are logged.
pub(crate) fn resolve(
    log: &mut Log,
    point: &Point,
    tree: &Node,
    definitions: &Definitions,
) -> Option<Resolved> {
    let mut spec: RunSpec = match serde_json::from_value(tree.json()) {
        Ok(spec) => spec,
        Err(error) => {
            let place = chosen(point, "model")?.place;
            log.error(place, format!("a run of this model cannot be read: {error}"), None);
            return None;
        }
    };
    definitions.bind(&mut spec);
    for found in coupled::run(&spec) {
        let place = tree.place_near(&found.path);
        // The same value may be invalid for several lengths of a run; the first error suffices.
        if !log.has_error_at(place) {
            log.error(place, found.message, found.suggestion);
        }
    }
    if spec.precision != Precision::F32 && !definitions.honours_bf16(&spec.model) {
        let place = tree.place_near("precision");
        if !log.has_error_at(place) {
            let name = if let ModelSpec::Custom(custom) = &spec.model { &custom.name } else { "" };
            let message = format!(
                "`precision` is \"{}\", but the network `{name}` is not registered with support for it",
                spec.precision.name()
            );
            let hint = "train it with `precision = \"f32\"`, or register it with `Registration::bf16`";
            log.error(place, message, hint.to_owned());
        }
    }
    if spec.data.validates_on_test() {
        let place = tree.place_near("data.validation");
        if !log.knows_of(place) {
            let message = "`validation` is the test split: choices by validation (best epoch, monitor, early stopping) depend on \
                           the test examples";
            log.warn(
                place,
                message,
                "hold out training examples, unless you reproduce such a protocol".to_owned(),
            );
        }
    }
    for (path, examples) in spec.data.limits_without_effect() {
        let place = tree.place_near(path);
        if !log.knows_of(place) {
            let key = path.trim_start_matches("data.");
            let message = format!("`{key}` has no effect: the split has {examples} examples");
            log.warn(place, message, "leave it out: it gives the runs other ids".to_owned());
        }
    }
    if let Some(examples) = spec.data.training_examples() {
        for found in spec.oversized(examples) {
            let place = tree.place_near(found.key);
            if !log.knows_of(place) {
                log.warn(place, found.message, found.suggestion);
            }
        }
    }
    let dataset = definitions.model(chosen(point, "model")?.text()?)?.get("data")?.text()?;
    Some(Resolved { cell: cell(point, dataset, &spec), spec })
}

/// All values of the run at a point with their places in the file and the arguments.
pub(crate) fn tree(log: &mut Log, point: &Point, definitions: &Definitions) -> Option<Node> {
    let mut tree = unscaled(log, point, definitions)?;
    if let (Some(scale), Some(lr)) =
        (scale(point, definitions).and_then(Node::number), tree.get("lr").and_then(Node::number))
    {
        put(&mut tree, "lr", |node| node.value = Value::Float(lr * scale));
    }
    Some(tree)
}

/// Like [`tree`], with the rate before the named optimizer scales it. `[[set]]` comes last.
pub(crate) fn unscaled(log: &mut Log, point: &Point, definitions: &Definitions) -> Option<Node> {
    let mut tree = named_parts(point, definitions)?;
    for entry in point.iter().filter(|entry| !is_named(&entry.0.name) && entry.0.name != TRIAL) {
        let (key, value) = &**entry;
        if let Err(message) = apply(&mut tree, &key.name, value) {
            let model = chosen(point, "model").and_then(Node::text).unwrap_or_default();
            log.error(key.place, format!("for the model `{model}` {message}"), None);
            return None;
        }
    }
    let mut sets =
        definitions.cell_values.iter().filter(|set| fits(&set.conditions, point, definitions)).peekable();
    let varied = if sets.peek().is_some() { varied(point, &tree) } else { Vec::new() };
    for set in sets {
        for value in &set.values {
            if let Err(message) = change(&mut tree, value, &varied) {
                if !log.has_error_at(value.place()) {
                    log.error(value.place(), message, None);
                }
                return None;
            }
        }
    }
    switch_off(&mut tree);
    Some(tree)
}

/// A key that an axis or a search has set: its name there, its path in the tree, the place of its value, and the table of the
/// file that varies it.
type Varied<'a> = (&'a str, String, Option<Place>, &'static str);

fn varied<'a>(point: &'a Point, tree: &Node) -> Vec<Varied<'a>> {
    let trial = point.iter().position(|entry| entry.0.name == TRIAL).unwrap_or(point.len());
    let keys =
        point.iter().enumerate().filter(|(_, entry)| !is_named(&entry.0.name) && entry.0.name != TRIAL);
    keys.map(|(index, entry)| {
        let name = entry.0.name.as_str();
        let path = rule_of(tree, name).unwrap_or_else(|| name.to_owned());
        let place = tree.at(&path).map(|node| node.place);
        (name, path, place, if index < trial { AXES } else { SPACE })
    })
    .collect()
}

/// Applies a value of `[[set]]`, which must not replace the value of an axis or a search, not even with a table around it.
fn change(tree: &mut Node, value: &CellValue, varied: &[Varied<'_>]) -> Result<(), String> {
    match value {
        CellValue::Keys(table) => merge(tree, table, ""),
        CellValue::Path(key, node) => apply(tree, &key.name, node)?,
    }
    let replaced = |(_, path, place, _): &&Varied<'_>| tree.at(path).map(|node| node.place) != *place;
    varied.iter().find(replaced).map_or(Ok(()), |(name, .., table)| Err(is_varied(name, table)))
}

/// The tables of the file that vary keys.
pub(crate) const AXES: &str = "[axes]";
pub(crate) const SPACE: &str = "[search.space]";

/// The error of a value of `[[set]]` for a key that `table` varies.
pub(crate) fn is_varied(name: &str, table: &str) -> String {
    format!("`{name}` is set by {table}, so [[set]] cannot change it")
}

/// The factor by which the point's named optimizer multiplies the base rate.
pub(crate) fn scale<'a>(point: &Point, definitions: &'a Definitions) -> Option<&'a Node> {
    definitions.lr_scale(chosen(point, OPTIMIZER)?.text()?)
}

/// The coordinate of a point along an axis, or the value of another key in its named parts.
pub(crate) fn coordinate(point: &Point, name: &str, definitions: &Definitions) -> Option<Json> {
    if let Some(node) = chosen(point, name) {
        return Some(node.json());
    }
    match name {
        "dataset" => Some(definitions.model(chosen(point, "model")?.text()?)?.get("data")?.json()),
        "monitor" => Some(Json::from(OFF)),
        _ if conditions::is_key(name) => {
            Some(conditions::coordinate(named_parts(point, definitions)?.at(name)?.json()))
        }
        _ => None,
    }
}

/// Returns whether a point meets all conditions.
pub(crate) fn fits(conditions: &Conditions, point: &Point, definitions: &Definitions) -> bool {
    conditions
        .iter()
        .all(|(name, wanted)| conditions::any(coordinate(point, name, definitions), wanted.iter().cloned()))
}

/// The values from a point's model, schedule, monitor and seed, before other axes set their keys.
pub(crate) fn named_parts(point: &Point, definitions: &Definitions) -> Option<Node> {
    let named = |all: &[Named], name: Option<&str>| {
        all.iter().find(|named| Some(named.key.name.as_str()) == name).map(|named| named.node.clone())
    };
    let model = definitions.model(chosen(point, "model")?.text()?)?;
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
    let schedule = named(&definitions.schedules, chosen(point, "schedule")?.text())?;
    put(&mut tree, "schedule", |node| *node = schedule);
    let chosen_monitor = chosen(point, "monitor");
    let monitor = chosen_monitor.and_then(Node::text).unwrap_or(OFF);
    let off = Node { value: Value::Null, place: chosen_monitor.map_or(Place::BUILT_IN, |node| node.place) };
    let monitor = if monitor == OFF { off } else { named(&definitions.monitors, Some(monitor))? };
    put(&mut tree, "monitor", |node| *node = monitor);
    if let Some(name) = chosen(point, OPTIMIZER) {
        let mut rule = named(&definitions.optimizers, name.text())?;
        if let Value::Table(entries) = &mut rule.value {
            entries.retain(|(key, _)| key.name != LR_SCALE);
        }
        put(&mut tree, OPTIMIZER, |node| *node = rule);
    }
    let seed = chosen(point, "seed")?.clone();
    put(&mut tree, "seed", |node| *node = seed);
    Some(tree)
}

fn cell(point: &Point, dataset: &str, spec: &RunSpec) -> Cell {
    let mut cell: Cell = point.iter().map(|entry| (entry.0.name.clone(), entry.1.json())).collect();
    cell.entry("monitor".to_owned()).or_insert_with(|| Json::from(OFF));
    cell.insert("epochs".to_owned(), Json::from(spec.epochs));
    cell.insert("dataset".to_owned(), Json::from(dataset));
    cell
}

/// Changes an entry of a table, which is created if it is missing.
fn put(tree: &mut Node, name: &str, change: impl FnOnce(&mut Node)) {
    let Value::Table(entries) = &mut tree.value else { return };
    let index = entries.iter().position(|(key, _)| key.name == name).unwrap_or_else(|| {
        let empty = Node { value: Value::Table(Vec::new()), place: Place::BUILT_IN };
        entries.push((Key { name: name.to_owned(), place: Place::BUILT_IN }, empty));
        entries.len() - 1
    });
    change(&mut entries[index].1);
}

/// Merges `over` into `base` with precedence. Tables are merged key by key unless they have different variants.
fn merge(base: &mut Node, over: &Node, path: &str) {
    let variant = |node: &Node| node.table().first().map(|(key, _)| key.name.clone());
    let is_schedule = path.starts_with("optimizer.") && path.ends_with("_schedule");
    let replaces = (TAGGED.contains(&path) || is_schedule) && variant(base) != variant(over);
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

/// Returns whether a path exists in the tree: it does not if it refers to another variant, or to a monitor that is off.
pub(crate) fn applies(tree: &Node, path: &str) -> bool {
    blocked(tree, path).is_none()
}

/// The prefix at which a path leaves the tree, and the value there.
fn blocked<'a>(tree: &'a Node, path: &'a str) -> Option<(&'a str, &'a str)> {
    if rule_of(tree, path).is_some() {
        return None;
    }
    path.match_indices('.').find_map(|(at, _)| {
        let (walked, rest) = (&path[..at], &path[at + 1..]);
        let (key, is_last) = rest.split_once('.').map_or((rest, true), |(key, _)| (key, false));
        let node = tree.at(walked);
        if walked == "monitor" && node.is_none_or(|node| matches!(node.value, Value::Null)) {
            return Some((walked, OFF));
        }
        let fixed = TAGGED.contains(&walked) || (walked.starts_with("schedule.") && !is_last);
        let found =
            || node.and_then(|node| node.table().first()).map_or("nothing", |(key, _)| key.name.as_str());
        (fixed && node.is_none_or(|node| node.get(key).is_none())).then(|| (walked, found()))
    })
}

/// The path of a key of the current update rule: `optimizer.weight_decay` becomes `optimizer.sgd.weight_decay` for `sgd`.
/// `None` for any other path, and if the rule has no such key.
fn rule_of(tree: &Node, path: &str) -> Option<String> {
    let key = path.strip_prefix("optimizer.").filter(|key| !key.contains('.'))?;
    let (rule, _) = tree.get(OPTIMIZER)?.table().first()?;
    let own = format!("optimizer.{}.{key}", rule.name);
    (rule.name != key && target(&own).is_ok()).then_some(own)
}

/// Sets a value by its path.
fn apply(tree: &mut Node, path: &str, value: &Node) -> Result<(), String> {
    if let Some(own) = rule_of(tree, path) {
        return apply(tree, &own, value);
    }
    if let Some((walked, found)) = blocked(tree, path) {
        return Err(format!("`{walked}` is `{found}`, so `{path}` has no effect"));
    }
    let (mut node, mut keys) = (tree, path.split('.').peekable());
    while let Some(key) = keys.next() {
        if matches!(node.value, Value::Null | Value::Text(_)) {
            node.value = Value::Table(Vec::new());
        }
        if keys.peek().is_none() {
            // A table of the schema, unlike one that is passed on unchanged, is merged.
            let is_table = target(path).is_err();
            put(node, key, |slot| if is_table { merge(slot, value, path) } else { *slot = value.clone() });
            return Ok(());
        }
        put(node, key, |_| ());
        let Value::Table(entries) = &mut node.value else {
            return Err(format!("`{path}` leads into a value that is not a table"));
        };
        let Some((_, child)) = entries.iter_mut().find(|(known, _)| known.name == key) else {
            return Err(format!("there is no `{key}` in the path `{path}`"));
        };
        node = child;
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
