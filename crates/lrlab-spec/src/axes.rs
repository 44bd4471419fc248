//! The axes of the grid and the conditions on its cells.

use serde_json::Value as Json;

use crate::conditions;
use crate::coordinate::{NAMED, OFF, OPTIMIZER, is_named, label, same};
use crate::definitions::{Definitions, undefined};
use crate::mistake::Log;
use crate::schema::definition;
use crate::suggest;
use crate::tree::{Key, Node, Value};
use crate::walk::{target, walk};

/// A name and its values in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) key: Key,
    pub(crate) values: Vec<Node>,
}

impl Axis {
    pub(crate) fn name(&self) -> &str {
        &self.key.name
    }
}

/// Reads `[axes]`; axes with errors are omitted.
pub(crate) fn read(log: &mut Log, root: &Node, definitions: &Definitions) -> Vec<Axis> {
    let Some(node) = root.get("axes") else { return Vec::new() };
    if !matches!(node.value, Value::Table(_)) {
        log.error(node.place, format!("expected a table of lists for `axes`, found {}", node.kind()), None);
        return Vec::new();
    }
    let axes: Vec<Axis> = conditions::entries(node)
        .into_iter()
        .filter_map(|(key, node)| axis(log, key, node, definitions))
        .collect();
    for name in ["model", "schedule", "seed"] {
        if !node.table().iter().any(|(key, _)| key.name == name)
            && !log.meant.iter().any(|meant| meant == name)
        {
            let hint = if name == "seed" {
                "seed = [0, 1, 2]".to_owned()
            } else {
                format!("list names of [{name}s]")
            };
            log.error(node.place, format!("the axis `{name}` is missing"), hint);
        }
    }
    axes
}

/// The names under `[axes]`, including those of axes with errors.
pub(crate) fn declared(root: &Node) -> Vec<String> {
    let lists = root.get("axes").map(conditions::entries).unwrap_or_default();
    lists.into_iter().map(|(key, _)| key.name).collect()
}

fn axis(log: &mut Log, key: Key, node: &Node, definitions: &Definitions) -> Option<Axis> {
    if !known(log, &key) {
        return None;
    }
    let Value::List(items) = &node.value else {
        let hint = format!("write a list; for one value of every run use [defaults]: {} = …", key.name);
        let hint = if is_named(&key.name) { "write a list".to_owned() } else { hint };
        log.error(
            node.place,
            format!("the axis `{}` is {}, not a list of values", key.name, node.kind()),
            hint,
        );
        return None;
    };
    if items.is_empty() {
        log.error(node.place, format!("the axis `{}` has no values", key.name), None);
        return None;
    }
    let values: Vec<Node> =
        items.iter().filter_map(|item| value(log, &key.name, item, definitions)).collect();
    duplicates(log, &key.name, &values);
    (values.len() == items.len()).then_some(Axis { key, values })
}

/// Returns whether the axis is known; logs an error otherwise.
fn known(log: &mut Log, key: &Key) -> bool {
    if is_named(&key.name) {
        return true;
    }
    let Err(allowed) = target(&key.name) else { return true };
    if key.name == "dataset" || key.name == "data" {
        let hint = "a model names its data set: define a model for each under [models]".to_owned();
        log.error(key.place, format!("unknown axis `{}`", key.name), hint);
        return false;
    }
    let parent = key.name.rsplit_once('.').map_or("", |(parent, _)| parent);
    let ends_early = target_is_table(&key.name);
    let prefix = if ends_early { &key.name } else { parent };
    let paths: Vec<String> = allowed
        .iter()
        .map(|name| if prefix.is_empty() { (*name).to_owned() } else { format!("{prefix}.{name}") })
        .chain(if prefix.is_empty() { NAMED.map(str::to_owned).to_vec() } else { Vec::new() })
        .collect();
    if ends_early {
        let hint = format!("name one of its keys: {}", suggest::list(paths.iter().map(String::as_str)));
        log.error(key.place, format!("`{}` is a table, and an axis is a single value", key.name), hint);
        return false;
    }
    if let Some(name) = suggest::nearest(&key.name, paths.iter().map(String::as_str)) {
        log.meant.push(name.to_owned());
    }
    let hint = suggest::among(&key.name, paths.iter().map(String::as_str));
    log.error(key.place, format!("unknown axis `{}`", key.name), hint);
    false
}

/// Returns whether a path ends at a table of the schema, so that appending one of its keys gives a known name.
fn target_is_table(path: &str) -> bool {
    let Err(allowed) = target(path) else { return false };
    allowed.first().is_some_and(|first| match target(&format!("{path}.{first}")) {
        Ok(_) => true,
        Err(deeper) => deeper != allowed,
    })
}

/// Checks one value of an axis; numbers get their key's type.
pub(crate) fn value(log: &mut Log, axis: &str, node: &Node, definitions: &Definitions) -> Option<Node> {
    let mut names = |what, section, defined: Vec<&str>| {
        let Some(name) = node.text() else {
            log.error(node.place, format!("expected the name of a {what}, found {}", node.kind()), None);
            return None;
        };
        if defined.contains(&name) {
            return Some(node.clone());
        }
        undefined(log, node, what, section, defined.into_iter());
        None
    };
    let keys = |all: &'_ [crate::definitions::Named]| -> Vec<String> {
        all.iter().map(|named| named.key.name.clone()).collect()
    };
    match axis {
        "model" => names("model", "models", keys(&definitions.models).iter().map(String::as_str).collect()),
        OPTIMIZER => {
            let defined = keys(&definitions.optimizers);
            names("optimizer", "optimizers", defined.iter().map(String::as_str).collect())
        }
        "schedule" => {
            names("schedule", "schedules", keys(&definitions.schedules).iter().map(String::as_str).collect())
        }
        "monitor" => {
            let defined = keys(&definitions.monitors);
            names(
                "monitor",
                "monitors",
                std::iter::once(OFF).chain(defined.iter().map(String::as_str)).collect(),
            )
        }
        "seed" => {
            let schema = &definition("Axes")["properties"]["seed"]["items"];
            walk(log, node, schema, "seed").then(|| node.clone())
        }
        _ => {
            let target = target(axis).ok()?;
            walk(log, node, target.schema, target.key).then(|| typed(node, target.schema))
        }
    }
}

/// Converts an integer to a float if the schema expects a number, so that `1` and `1.0` are the same coordinate.
pub(crate) fn typed(node: &Node, schema: &Json) -> Node {
    let is_number = |schema: &Json| schema["type"] == "number";
    match node.value {
        Value::Integer(n) if is_number(schema) || crate::schema::branches(schema).any(is_number) => {
            Node { value: Value::Float(n as f64), place: node.place }
        }
        _ => node.clone(),
    }
}

fn duplicates(log: &mut Log, name: &str, values: &[Node]) {
    for (i, value) in values.iter().enumerate() {
        let json = value.json();
        if values[..i].iter().any(|earlier| same(&earlier.json(), &json)) {
            log.error(value.place, format!("`{}` occurs twice in the axis `{name}`", label(&json)), None);
        }
    }
}

/// Groups of axes that advance together, as indices; every axis is in exactly one group, in the order of its first axis.
pub(crate) fn groups(log: &mut Log, root: &Node, axes: &[Axis]) -> Vec<Vec<usize>> {
    let mut group_of: Vec<usize> = (0..axes.len()).collect();
    let zip = root.get("zip");
    for list in zip.map(Node::list).unwrap_or_default() {
        let mut members = Vec::new();
        for item in list.list() {
            let Some(name) = item.text() else { continue };
            match axes.iter().position(|axis| axis.name() == name) {
                Some(index) => members.push((index, item)),
                None if !log.has_errors() => {
                    let hint = suggest::among(name, axes.iter().map(Axis::name).collect::<Vec<_>>());
                    log.error(item.place, format!("`{name}` is not an axis of this grid"), hint);
                }
                None => {}
            }
        }
        let Some(&(first, _)) = members.iter().min_by_key(|(index, _)| *index) else { continue };
        for (index, item) in members {
            if group_of[index] != index || group_of.iter().enumerate().any(|(i, g)| *g == index && i != index)
            {
                if group_of[index] != first {
                    log.error(item.place, format!("`{}` is zipped twice", axes[index].name()), None);
                }
                continue;
            }
            let (have, want) = (axes[index].values.len(), axes[first].values.len());
            if have != want {
                let message = format!(
                    "zipped axes need equal lengths: `{}` has {have} values, `{}` has {want}",
                    axes[index].name(),
                    axes[first].name()
                );
                log.error(item.place, message, None);
                continue;
            }
            group_of[index] = first;
        }
    }
    (0..axes.len())
        .filter(|index| group_of[*index] == *index)
        .map(|first| (0..axes.len()).filter(|index| group_of[*index] == first).collect())
        .collect()
}
