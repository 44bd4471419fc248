//! The JSON schema of experiment files: for editors, and for the walk that finds the mistakes.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::RunSpec;

/// The JSON schema (draft 2020-12) of an experiment file, for editors that complete and check TOML by one.
#[must_use]
pub fn schema() -> Value {
    EXPERIMENT.clone()
}

/// The schema, made once.
pub(crate) static EXPERIMENT: LazyLock<Value> = LazyLock::new(experiment);

/// What a run is made of by name: definitions of the file rather than keys of a run.
const NAMED: [&str; 4] = ["model", "schedule", "monitor", "seed"];

/// A definition, `RunKeys` or `SgdSpec`; an empty schema, which allows everything, for a name there is none of.
pub(crate) fn definition(name: &str) -> &'static Value {
    &EXPERIMENT["$defs"][name]
}

fn experiment() -> Value {
    let mut run = serde_json::to_value(schemars::schema_for!(RunSpec)).unwrap_or_default();
    let mut definitions = take(&mut run, "$defs");
    let properties = take(&mut run, "properties");

    let mut run_keys: Map<String, Value> =
        properties.into_iter().filter(|(key, _)| !NAMED.contains(&key.as_str())).collect();
    run_keys.insert("data".into(), reference("DataKeys"));
    let mut data = definitions.get_mut("DataSpec").map(|spec| take(spec, "properties")).unwrap_or_default();
    let mut limit = definitions.get_mut("LimitSpec").map(|spec| take(spec, "properties")).unwrap_or_default();
    for keys in [&mut run_keys, &mut data, &mut limit] {
        keys.values_mut().for_each(accept_off);
    }
    let mut data_keys = data.clone();
    data_keys.remove("source");

    definitions.insert("RunKeys".into(), object(run_keys, &[], "Keys of a run."));
    definitions.insert("DataKeys".into(), object(data_keys, &[], "How data are prepared."));
    definitions.insert("DataSpec".into(), object(data, &["source"], "Data and how they are prepared."));
    definitions.insert("LimitSpec".into(), object(limit, &[], "Upper bounds on the examples used."));
    definitions.insert("Model".into(), model());
    definitions.insert("Claim".into(), claim());
    definitions.insert("Axes".into(), axes(&definitions));

    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lrlab experiment",
        "type": "object",
        "properties": {
            "name": { "type": "string", "pattern": "^[a-z0-9-]+$", "description": "Names the experiment's folder." },
            "description": { "type": "string", "description": "What it asks, for readers of the report." },
            "axes": reference("Axes"),
            "zip": {
                "type": "array", "items": { "type": "array", "items": { "type": "string" } },
                "description": "Axes that advance together instead of being multiplied.",
            },
            "defaults": reference("RunKeys"),
            "models": map(&reference("Model"), "Networks with their data."),
            "data": map(&reference("DataSpec"), "Data sets."),
            "schedules": map(&reference("ScheduleSpec"), "Rates over time."),
            "monitors": map(&reference("MonitorSpec"), "What changes the rate by a metric; `off` is built in."),
            "exclude": {
                "type": "array", "items": { "type": "object" },
                "description": "Cells that are left out: coordinates, each a value or a list of them.",
            },
            "include": {
                "type": "array", "items": { "type": "object" },
                "description": "Further cells: coordinates, each a value or a list; axes left out run over all values.",
            },
            "claims": { "type": "array", "items": reference("Claim"), "description": "What should come out." },
        },
        "additionalProperties": false,
        "required": ["name", "axes"],
        "$defs": definitions,
    })
}

fn model() -> Value {
    let properties = [
        ("network", reference("ModelSpec")),
        ("data", json!({ "type": "string", "description": "Name of a data set under [data]." })),
        ("set", reference("RunKeys")),
    ];
    let properties: Map<String, Value> =
        properties.into_iter().map(|(key, schema)| (key.to_owned(), schema)).collect();
    object(properties, &["network", "data"], "A network, its data and its overrides of the defaults.")
}

fn claim() -> Value {
    json!({
        "type": "object",
        "description": "Something that should come out, for the report.",
        "properties": {
            "id": { "type": "string" },
            "text": { "type": "string", "description": "What is claimed, for readers." },
            "metric": { "type": "string", "description": "A figure, with `final.`, `best.`, `max.` or `min.` before it." },
            "where": { "type": "object", "description": "Coordinates of the arms it speaks about." },
            "value": { "type": "number" },
            "tolerance": { "type": "number", "description": "Reproduced within so much of the value." },
            "compare": { "oneOf": COMPARISONS.map(|name| json!({ "type": "string", "const": name })) },
            "than": { "type": "object", "description": "Coordinates of the arms it is compared with." },
        },
        "additionalProperties": false,
        "required": ["id", "text", "metric"],
    })
}

/// How a claim compares.
const COMPARISONS: [&str; 11] =
    [">=", ">", "<=", "<", "=", "at_least", "above", "at_most", "below", "within", "about"];

/// Every leaf of a run is an axis.
fn axes(definitions: &Map<String, Value>) -> Value {
    let names = |text: &str| json!({ "type": "array", "minItems": 1, "items": { "type": "string" }, "description": text });
    let mut properties = Map::new();
    properties.insert("model".into(), names("Names of [models]."));
    properties.insert("schedule".into(), names("Names of [schedules]."));
    properties.insert("monitor".into(), names("`off` or names of [monitors]."));
    let seeds = json!({ "type": "array", "minItems": 1, "items": { "type": "integer", "minimum": 0 } });
    properties.insert("seed".into(), seeds);
    let mut leaves = Vec::new();
    collect("", &json!({ "$ref": "#/$defs/RunKeys" }), definitions, &mut leaves);
    collect("model", &json!({ "$ref": "#/$defs/ModelSpec" }), definitions, &mut leaves);
    for (path, schema) in leaves {
        properties.insert(path, json!({ "type": "array", "minItems": 1, "items": schema }));
    }
    object(
        properties,
        &["model", "schedule", "seed"],
        "The grid: their product in this order, the last fastest.",
    )
}

fn collect(path: &str, schema: &Value, definitions: &Map<String, Value>, leaves: &mut Vec<(String, Value)>) {
    let target =
        schema["$ref"].as_str().and_then(|name| definitions.get(name.trim_start_matches("#/$defs/")));
    let resolved = target.unwrap_or(schema);
    let parts = [resolved].into_iter().chain(branches(resolved));
    let mut inside = parts.filter_map(|part| part["properties"].as_object()).flatten().peekable();
    if inside.peek().is_none() {
        let variants = branches(resolved).any(|branch| branch["$ref"].is_string());
        if !path.is_empty() && resolved["type"] != "object" && !variants {
            leaves.push((path.to_owned(), schema.clone()));
        }
        for branch in branches(resolved).filter(|branch| branch["$ref"].is_string()) {
            collect(path, branch, definitions, leaves);
        }
        return;
    }
    for (key, schema) in inside {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        collect(&path, schema, definitions, leaves);
    }
}

/// The alternatives of a schema.
pub(crate) fn branches(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten()
}

/// TOML has no null: what may be absent is switched off by `"off"`.
fn accept_off(schema: &mut Value) {
    let off = json!({ "type": "string", "const": "off" });
    if let Some(branches) = schema["anyOf"].as_array_mut() {
        branches.retain(|branch| branch["type"] != "null");
        branches.push(off);
    } else if let Some(types) = schema["type"].as_array() {
        let one = types.iter().find(|name| *name != "null").cloned();
        schema["type"] = one.unwrap_or_default();
        if let Value::Object(fields) = schema {
            fields.remove("default");
            let description = fields.remove("description");
            *schema = json!({ "anyOf": [schema.take(), off] });
            schema["description"] = description.unwrap_or_default();
        }
    }
}

fn take(schema: &mut Value, key: &str) -> Map<String, Value> {
    match schema.get_mut(key).map(Value::take) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn map(values: &Value, description: &str) -> Value {
    json!({ "type": "object", "additionalProperties": values, "description": description })
}

fn object(properties: impl Into<Value>, required: &[&str], description: &str) -> Value {
    json!({
        "type": "object", "description": description,
        "properties": properties.into(), "additionalProperties": false, "required": required,
    })
}
