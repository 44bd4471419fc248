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
    let entries = conditions::entries(node);
    for (i, (key, _)) in entries.iter().enumerate() {
        if entries[..i].iter().any(|(other, _)| other.name == key.name) {
            log.error(key.place, format!("the axis `{}` is given twice", key.name), None);
        }
    }
    let axes: Vec<Axis> =
        entries.into_iter().filter_map(|(key, node)| axis(log, key, node, definitions)).collect();
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
    if !known(log, &key, "axis") {
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

/// Returns whether a single value of a run has this path; logs an error otherwise. `what` names it, as an axis or a key.
pub(crate) fn known(log: &mut Log, key: &Key, what: &str) -> bool {
    if is_named(&key.name) {
        return true;
    }
    let Err(allowed) = target(&key.name) else { return true };
    if key.name == "dataset" || key.name == "data" {
        let hint = "a model names its data set: define a model for each under [models]".to_owned();
        log.error(key.place, format!("unknown {what} `{}`", key.name), hint);
        return false;
    }
    if target_is_table(&key.name) {
        let hint = format!("name one of its keys: {}", below(&key.name, &allowed).join(", "));
        let article = if what == "axis" { "an" } else { "a" };
        let message = format!("`{}` is a table, and {article} {what} is a single value", key.name);
        log.error(key.place, message, hint);
        return false;
    }
    // The table in which the path leaves the schema.
    let mut prefix = key.name.as_str();
    while !prefix.is_empty() && !target_is_table(prefix) {
        prefix = prefix.rsplit_once('.').map_or("", |(parent, _)| parent);
    }
    let (paths, tables) = keys_of(prefix, &target(prefix).err().unwrap_or_default());
    let mut single: Vec<&str> = paths.iter().map(String::as_str).collect();
    for name in named_in(prefix) {
        single.push(name);
    }
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    // The first key that is unknown, and what follows it.
    let depth = if prefix.is_empty() { 0 } else { prefix.split('.').count() };
    let mut rest = key.name.split('.').skip(depth);
    let word = rest.next().unwrap_or_default();
    let rest: Vec<&str> = rest.collect();
    let last = |path: &&str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let names: Vec<String> = single.iter().chain(&tables).map(last).collect();
    let near = suggest::nearest(word, names.iter().map(String::as_str))
        .and_then(|near| single.iter().chain(&tables).find(|path| last(path) == near));
    let hint = match near {
        Some(path) if last(path) == word => format!("`{path}` is a single value"),
        Some(path) if rest.is_empty() && tables.contains(path) && *path != OPTIMIZER => {
            let keys = below(path, &target(path).err().unwrap_or_default());
            format!("did you mean a key of `{path}`, such as {}?", keys.first().map_or("", String::as_str))
        }
        Some(path) => {
            let meant = [&[*path], &rest[..]].concat().join(".");
            log.meant.push(meant.clone());
            format!("did you mean `{meant}`?")
        }
        None => {
            let either = |what: &str, names: Vec<&str>| {
                (!names.is_empty()).then(|| format!("{what} {}", suggest::list(names)))
            };
            let parts = [either("one of", single), either("a key of", tables)];
            format!("expected {}", parts.into_iter().flatten().collect::<Vec<_>>().join(", or "))
        }
    };
    log.error(key.place, format!("unknown {what} `{}`", key.name), hint);
    false
}

/// The axes of names and seeds, which are not below any key.
fn named_in(prefix: &str) -> impl Iterator<Item = &'static str> + use<> {
    prefix.is_empty().then_some(NAMED).into_iter().flatten()
}

/// The paths of the keys of a table: single values, and tables of values. A key of the run's update rule need not name the rule.
fn keys_of(prefix: &str, keys: &[&str]) -> (Vec<String>, Vec<String>) {
    let path = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
    let mut paths: Vec<String> =
        keys.iter().map(|key| path(key)).filter(|path| !is_named(path) || path == OPTIMIZER).collect();
    if prefix == OPTIMIZER {
        let rules = keys.iter().filter_map(|rule| target(&path(rule)).err()).flatten();
        for key in rules.map(path).collect::<Vec<_>>() {
            if target(&key).is_ok() && !paths.contains(&key) {
                paths.push(key);
            }
        }
    }
    paths.into_iter().partition(|path| target(path).is_ok())
}

/// The keys of a table as axes, in backticks; of a table within it, an example.
fn below(prefix: &str, keys: &[&str]) -> Vec<String> {
    let (single, tables) = keys_of(prefix, keys);
    let example = |table: &String| {
        let mut path = table.clone();
        while let Err(keys) = target(&path) {
            path = format!("{path}.{}", keys.first()?);
        }
        Some(path)
    };
    let single = single.into_iter().chain(tables.iter().filter_map(example));
    single.map(|path| format!("`{path}`")).collect()
}

/// Whether a path ends at a table of the schema, so that appending one of its keys gives a known name.
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
