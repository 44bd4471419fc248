//! Checks a tree against its schema: unknown keys, wrong types and values out of range.

use serde_json::Value as Json;

use crate::mistake::Log;
use crate::ranges;
use crate::schema::{EXPERIMENT, branches};
use crate::suggest;
use crate::tree::{Key, Node, Value};

/// Checks `node`, the value of `key`, against `schema`, and logs all errors. Returns whether there were none.
pub(crate) fn walk(log: &mut Log, node: &Node, schema: &Json, key: &str) -> bool {
    if let Some(name) = referred(schema) {
        if name == "Span" {
            return span(log, node);
        }
        return walk(log, node, &EXPERIMENT["$defs"][name], key);
    }
    if let Value::Other(name) = node.value {
        log.error(node.place, format!("found {name}, which no key accepts"), None);
        return false;
    }
    let alternatives = alternatives(schema);
    if !alternatives.is_empty() {
        return alternative(log, node, &alternatives, key);
    }
    let Some(kind) = type_of(schema) else { return anything(log, node) };
    match (kind, &node.value) {
        ("object", Value::Table(_)) => return object(log, node, schema),
        ("array", Value::List(items)) => {
            let checked: Vec<bool> =
                items.iter().map(|item| walk(log, item, &schema["items"], key)).collect();
            return !checked.contains(&false);
        }
        ("string", Value::Text(text)) => {
            if let Some(word) = schema["const"].as_str()
                && word != text
            {
                log.error(node.place, format!("unknown value \"{text}\""), suggest::among(text, [word]));
                return false;
            }
        }
        ("boolean", Value::Bool(_)) | ("number" | "integer", Value::Integer(_)) => {}
        ("number", Value::Float(x)) => {
            if !x.is_finite() {
                log.error(node.place, format!("{} is {x}, expected a finite number", named(key)), None);
                return false;
            }
        }
        ("integer", Value::Float(x)) if x.fract() == 0.0 && x.abs() < 9e15 => {
            log.error(
                node.place,
                format!("expected an integer for {}, found a number with a decimal point", named(key)),
                format!("write `{x}`"),
            );
            return false;
        }
        _ => {
            log.error(node.place, mismatch(kind, node, key), instead(kind, node));
            return false;
        }
    }
    range(log, node, schema, kind, key)
}

fn named(key: &str) -> String {
    if key.is_empty() { "the value".to_owned() } else { format!("`{key}`") }
}

fn mismatch(kind: &str, node: &Node, key: &str) -> String {
    format!("expected {} for {}, found {}", noun(kind), named(key), node.kind())
}

fn noun(kind: &str) -> &'static str {
    match kind {
        "object" => "a table",
        "array" => "a list",
        "string" => "a string",
        "boolean" => "`true` or `false`",
        "integer" => "an integer",
        _ => "a number",
    }
}

/// A suggestion for a quoted number or boolean: `"0.1"` instead of `0.1`.
fn instead(kind: &str, node: &Node) -> Option<String> {
    let text = node.text()?.trim();
    let fits = match kind {
        "number" => text.parse::<f64>().is_ok_and(f64::is_finite),
        "integer" => text.parse::<i64>().is_ok(),
        "boolean" => matches!(text, "true" | "false"),
        _ => false,
    };
    fits.then(|| format!("write it without quotes: `{text}`"))
}

/// The largest integer that is exact in JSON, and so in a run's identity.
const MOST_EXACT: i64 = 1 << 53;

fn range(log: &mut Log, node: &Node, schema: &Json, kind: &str, key: &str) -> bool {
    if let (Value::Integer(n), "integer") = (&node.value, kind)
        && !(0..=MOST_EXACT).contains(n)
    {
        log.error(node.place, format!("{} is {n}: expected 0 … {MOST_EXACT}", named(key)), None);
        return false;
    }
    let Some(wrong) = ranges::check(schema, key, node) else { return true };
    log.error(node.place, wrong.message, wrong.suggestion);
    false
}

/// Checks a value that is passed on unchanged: it must be representable in JSON.
fn anything(log: &mut Log, node: &Node) -> bool {
    let children: Vec<&Node> = match &node.value {
        Value::List(items) => items.iter().collect(),
        Value::Table(entries) => entries.iter().map(|(_, node)| node).collect(),
        Value::Other(name) => {
            log.error(node.place, format!("{name} cannot be passed on"), None);
            return false;
        }
        Value::Float(x) if !x.is_finite() => {
            log.error(node.place, format!("{x} is not a finite number"), None);
            return false;
        }
        _ => return true,
    };
    // Collects all results first, so that all errors are logged.
    let checked: Vec<bool> = children.into_iter().map(|child| anything(log, child)).collect();
    !checked.contains(&false)
}

fn span(log: &mut Log, node: &Node) -> bool {
    match serde_json::from_value::<lrlab_schedulers::Span>(node.json()) {
        Ok(_) => true,
        Err(error) => {
            log.error(node.place, error.to_string(), None);
            false
        }
    }
}

/// Checks a value with alternatives: words, tables with one key each, or one schema and a word.
fn alternative(log: &mut Log, node: &Node, all: &[&Json], key: &str) -> bool {
    let words: Vec<&str> = all.iter().flat_map(|branch| words_of(branch)).collect();
    let variants: Vec<(&str, &Json)> = all.iter().filter_map(|branch| variant(branch)).collect();
    if let Some(text) = node.text()
        && words.contains(&text)
    {
        return true;
    }
    let rest = all.iter().find(|branch| words_of(branch).is_empty() && variant(branch).is_none());
    if let (Some(text), Some(kind @ ("integer" | "number"))) =
        (node.text(), rest.and_then(|rest| type_of(rest)))
        && instead("number", node).is_none()
    {
        let message = format!("unknown value \"{text}\" for {}", named(key));
        log.error(node.place, message, suggest::or_among(noun(kind), text, words));
        return false;
    }
    if let Some(schema) = rest {
        return walk(log, node, schema, key);
    }
    match (&node.value, variants.is_empty()) {
        (Value::Table(entries), false) => tagged(log, node, entries, &variants, key),
        (Value::Text(text), true) => {
            log.error(
                node.place,
                format!("unknown value \"{text}\" for {}", named(key)),
                suggest::among(text, words),
            );
            false
        }
        (Value::Text(text), false) => {
            let names = variants.iter().map(|(name, _)| *name).chain(words.iter().copied());
            let hint = match suggest::nearest(text, names.clone()) {
                Some(name) if words.contains(&name) => format!("did you mean \"{name}\"?"),
                Some(name) => format!("write {{ {name} = {{ }} }}"),
                None => format!("expected one of {}", suggest::list(names)),
            };
            log.error(node.place, format!("\"{text}\" is not a valid value for {}", named(key)), hint);
            false
        }
        (_, empty) => {
            log.error(node.place, mismatch(if empty { "string" } else { "object" }, node, key), None);
            false
        }
    }
}

/// Checks a tagged table, `{ sgd = { … } }`, which has exactly one variant.
fn tagged(
    log: &mut Log,
    node: &Node,
    entries: &[(Key, Node)],
    variants: &[(&str, &Json)],
    key: &str,
) -> bool {
    let names = || variants.iter().map(|(name, _)| *name);
    let mut good = true;
    for (tag, value) in entries {
        if let Some((_, schema)) = variants.iter().find(|(name, _)| *name == tag.name) {
            good &= walk(log, value, schema, &tag.name);
        } else {
            unknown(log, tag, names());
            good = false;
        }
    }
    // Unknown keys already have an error.
    let known: Vec<&Key> =
        entries.iter().map(|(tag, _)| tag).filter(|tag| names().any(|name| name == tag.name)).collect();
    let place = known.get(1).map_or(node.place, |key| key.place);
    if known.len() > 1 || entries.is_empty() {
        let message = match known.len() {
            0 => format!("{} is empty", named(key)),
            n => format!("{} must have exactly one variant, found {n}", named(key)),
        };
        log.error(place, message, format!("expected exactly one of {}", suggest::list(names())));
        good = false;
    }
    good
}

fn object(log: &mut Log, node: &Node, schema: &Json) -> bool {
    let properties = schema["properties"].as_object();
    let allowed = || properties.into_iter().flatten().map(|(name, _)| name.as_str());
    let open = schema["additionalProperties"] != Json::Bool(false);
    let mut good = true;
    for (key, value) in node.table() {
        if let Some(inner) = properties.and_then(|all| all.get(&key.name)) {
            good &= walk(log, value, inner, &key.name);
        } else if open {
            good &= walk(log, value, &schema["additionalProperties"], &key.name);
        } else {
            unknown(log, key, allowed());
            good = false;
        }
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
    for name in required.filter(|name| node.get(name).is_none()) {
        good = false;
        missing(log, node, name);
    }
    good
}

/// Logs an unknown key.
pub(crate) fn unknown<'a>(log: &mut Log, key: &Key, allowed: impl Iterator<Item = &'a str> + Clone) {
    if let Some(name) = suggest::nearest(&key.name, allowed.clone()) {
        log.meant.push(name.to_owned());
    }
    let hint = suggest::among(&key.name, allowed).unwrap_or_else(|| "it has no keys".to_owned());
    log.error(key.place, format!("unknown key `{}`", key.name), hint);
}

/// Logs a missing key, unless it was probably misspelt.
pub(crate) fn missing(log: &mut Log, node: &Node, name: &str) {
    if !log.meant.iter().any(|meant| meant == name) {
        log.error(node.place, format!("`{name}` is missing"), None);
    }
}

fn referred(schema: &Json) -> Option<&str> {
    schema["$ref"].as_str().map(|name| name.trim_start_matches("#/$defs/"))
}

/// The type of a schema, ignoring `null`.
pub(crate) fn type_of(schema: &Json) -> Option<&str> {
    match &schema["type"] {
        Json::String(name) => Some(name),
        Json::Array(names) => names.iter().filter_map(Json::as_str).find(|name| *name != "null"),
        _ => None,
    }
}

fn words_of(branch: &Json) -> Vec<&str> {
    let listed = branch["enum"].as_array().into_iter().flatten();
    listed.chain([&branch["const"]]).filter_map(Json::as_str).collect()
}

/// The alternatives of a schema, flattened, without null.
fn alternatives(schema: &Json) -> Vec<&Json> {
    let leaves = |branch| {
        let below = alternatives(branch);
        if below.is_empty() { vec![branch] } else { below }
    };
    branches(schema).filter(|branch| branch["type"] != "null").flat_map(leaves).collect()
}

/// The name and schema of an alternative that is a table with one key.
fn variant(branch: &Json) -> Option<(&str, &Json)> {
    let properties = branch["properties"].as_object()?;
    (properties.len() == 1).then(|| properties.iter().next())?.map(|(name, schema)| (name.as_str(), schema))
}

/// The end of a path through the schema.
pub(crate) struct Target<'a> {
    pub(crate) schema: &'a Json,
    /// The last key of the path.
    pub(crate) key: &'a str,
}

/// Follows a dotted path through the schema of a run's keys to a single value.
///
/// # Errors
/// Returns the allowed keys at the point where the path leaves the schema or if it does not end at a single value.
pub(crate) fn target(path: &str) -> Result<Target<'static>, Vec<&'static str>> {
    let target = follow(path)?;
    let inside = children(target.schema);
    if inside.is_empty() { Ok(target) } else { Err(inside.iter().map(|(name, _)| *name).collect()) }
}

/// Like [`target`], for a path that may end at a table.
pub(crate) fn follow(path: &str) -> Result<Target<'static>, Vec<&'static str>> {
    let defs = &EXPERIMENT["$defs"];
    let (mut schema, mut last) = (&defs["RunKeys"], "");
    let mut rest = path.split('.').peekable();
    let named = [("model", "ModelSpec"), ("schedule", "ScheduleSpec"), ("monitor", "MonitorSpec")];
    if let Some((key, owner)) = rest.peek().and_then(|first| named.iter().find(|(key, _)| key == first)) {
        rest.next();
        (schema, last) = (&defs[owner], key);
    }
    for key in rest {
        let inside = children(schema);
        // `optimizer.weight_decay` refers to the run's update rule.
        let of_a_rule = || {
            let rules = inside.iter().filter(|_| last == "optimizer");
            rules.flat_map(|(_, rule)| children(rule)).find(|(name, _)| *name == key)
        };
        let Some((name, child)) = inside.iter().find(|(name, _)| *name == key).copied().or_else(of_a_rule)
        else {
            return Err(inside.iter().map(|(name, _)| *name).collect());
        };
        (schema, last) = (child, name);
    }
    Ok(Target { schema, key: last })
}

/// The keys inside a schema: an object's, or the tags of its variants.
fn children(mut schema: &'static Json) -> Vec<(&'static str, &'static Json)> {
    loop {
        if let Some(name) = referred(schema) {
            schema = &EXPERIMENT["$defs"][name];
        } else if let Some(inner) = branches(schema).find(|branch| referred(branch).is_some()) {
            schema = inner;
        } else {
            break;
        }
    }
    let parts = std::iter::once(schema).chain(branches(schema));
    parts
        .filter_map(|part| part["properties"].as_object())
        .flatten()
        .map(|(name, schema)| (name.as_str(), schema))
        .collect()
}
