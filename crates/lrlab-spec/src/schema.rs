//! The JSON schema of experiment files, for editors and for checking files.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use lrlab_config::Limit;
use lrlab_runs::{LONGEST_NAME, RESERVED_NAMES};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::RunSpec;
use crate::claim_metric;
use crate::coordinate::{LR_SCALE, NAMED, OPTIMIZER};
use crate::search::spec::Spaces;

/// The JSON schema (draft 2020-12) of an experiment file, for completion and checks in editors.
#[must_use]
pub fn schema() -> Value {
    EXPERIMENT.clone()
}

/// The schema, computed once.
pub(crate) static EXPERIMENT: LazyLock<Value> = LazyLock::new(experiment);

/// A definition such as `RunKeys` or `SgdConfig`; an empty schema, which allows everything, for an unknown name.
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
    let limit_name = Limit::schema_name();
    let mut limit =
        definitions.get_mut(&*limit_name).map(|spec| take(spec, "properties")).unwrap_or_default();
    for keys in [&mut run_keys, &mut data, &mut limit] {
        keys.values_mut().for_each(accept_off);
    }
    let mut data_keys = data.clone();
    data_keys.remove("source");

    definitions.insert("RunKeys".into(), object(run_keys, &[], "Keys of a run."));
    definitions.insert("DataKeys".into(), object(data_keys, &[], "The preparation of data."));
    definitions.insert("DataSpec".into(), object(data, &["source"], "Data and its preparation."));
    definitions.insert(limit_name.into_owned(), object(limit, &[], "Upper bounds on the examples used."));
    definitions.insert("Model".into(), model());
    let optimizer = optimizer(&definitions);
    definitions.insert("Optimizer".into(), optimizer);
    definitions.insert("Claim".into(), claim());
    definitions.insert("Report".into(), report());
    let leaves = leaves(&definitions);
    definitions.insert("Axes".into(), axes(&leaves));
    let cell_values = cell_values(&leaves, &definitions);
    definitions.insert("CellValues".into(), cell_values);
    let mut search = serde_json::to_value(schemars::schema_for!(Spaces)).unwrap_or_default();
    definitions.extend(take(&mut search, "$defs"));
    let mut spec = definitions.remove("SearchSpec").unwrap_or_default();
    let mut search_keys = take(&mut spec, "properties");
    search_keys.insert("space".into(), space(&leaves));
    definitions.insert("Search".into(), object(search_keys, &["method", "space"], SEARCH));

    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lrlab experiment",
        "type": "object",
        "properties": {
            "name": {
                "type": "string", "pattern": "^[a-z0-9-]+$", "maxLength": LONGEST_NAME, "not": { "enum": RESERVED_NAMES },
                "description": "Names the experiment's folder.",
            },
            "description": { "type": "string", "description": "The question, for readers of the report." },
            "axes": reference("Axes"),
            "zip": {
                "type": "array", "items": { "type": "array", "items": { "type": "string" } },
                "description": "Axes that advance together instead of being multiplied.",
            },
            "defaults": reference("RunKeys"),
            "models": map(&reference("Model"), "Networks with their data."),
            "data": map(&reference("DataSpec"), "Data sets."),
            "optimizers": map(&reference("Optimizer"), "Update rules, for the axis `optimizer`."),
            "schedules": map(&reference("ScheduleSpec"), "Learning rates over time."),
            "monitors": map(&reference("MonitorSpec"), "Controllers that change the learning rate by a metric; `off` is built in."),
            "exclude": {
                "type": "array", "items": { "type": "object" },
                "description": "Excluded cells: `dataset` and keys that can be axes, each with a value or a list of values.",
            },
            "include": {
                "type": "array", "items": { "type": "object" },
                "description": "Additional cells: coordinates, each a value or a list; axes that are not given take all their values.",
            },
            "set": {
                "type": "array", "items": reference("CellValues"),
                "description": "Values of the cells that meet `where`. They are not coordinates: such cells stay in their arms.",
            },
            "report": reference("Report"),
            "search": reference("Search"),
            "claims": { "type": "array", "items": reference("Claim"), "description": "Expected outcomes." },
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

/// The schema of an update rule with the factor of its rate.
fn optimizer(definitions: &Map<String, Value>) -> Value {
    let mut properties = rules(definitions);
    let scale = json!({
        "type": "number", "exclusiveMinimum": 0,
        "description": "The factor of `lr`, so that several rules can share one axis of rates. Default: 1.",
    });
    properties.insert(LR_SCALE.into(), scale);
    object(properties, &[], "An update rule.")
}

/// The update rules, each with the schema of its constants.
fn rules(definitions: &Map<String, Value>) -> Map<String, Value> {
    let rules = definitions.get("OptimizerConfig").into_iter().flat_map(branches);
    let rules = rules.filter_map(|rule| rule["properties"].as_object()).flatten();
    rules.map(|(name, schema)| (name.clone(), schema.clone())).collect()
}

fn report() -> Value {
    let documents = json!({
        "type": "array", "items": { "type": "string" },
        "description": "Templates of documents that the report renders, relative to this file: `paper.md.jinja` makes `paper.md`.",
    });
    let baseline = json!({
        "type": "object",
        "description": "The value of an axis that the arms with its other values are compared with: `{ lr = 0.1 }`. Without one it is the fixed rate, no monitor, or the axis' first value.",
    });
    let paper = json!({
        "type": "boolean",
        "description": "Whether the experiment reproduces the paper, so that the report draws the paper's figures. Default: false.",
    });
    let metrics = json!({
        "type": "array", "items": { "type": "string", "pattern": claim_metric::pattern() },
        "description": "The metrics that the report leads with, named as in claims: `[\"best.test_accuracy\", \"update_ms\"]`. Default: validation accuracy, validation loss and accuracy gap after the last update.",
    });
    let properties =
        [("documents", documents), ("metrics", metrics), ("baseline", baseline), ("paper", paper)];
    let properties: Map<String, Value> =
        properties.into_iter().map(|(key, schema)| (key.to_owned(), schema)).collect();
    object(properties, &[], "Leading metrics and baselines of the report, and its additional documents.")
}

fn claim() -> Value {
    json!({
        "type": "object",
        "description": "An expected outcome, which the report checks.",
        "properties": {
            "id": { "type": "string", "minLength": 1 },
            "text": { "type": "string", "description": "The claim in words." },
            "metric": { "type": "string", "pattern": claim_metric::pattern(), "description": "A metric with the prefix `final.`, `best.`, `premium.` (best − final), `max.` or `min.`." },
            "where": { "type": "object", "description": "Coordinates of the arms that the claim covers." },
            "value": { "type": "number" },
            "tolerance": { "type": "number", "minimum": 0, "description": "The largest deviation from `value` that counts as agreement." },
            "compare": { "oneOf": COMPARISONS.map(|name| json!({ "type": "string", "const": name })) },
            "than": { "type": "object", "description": "Coordinates of the arms to compare with." },
            "arms": {
                "oneOf": SCOPES.map(|name| json!({ "type": "string", "const": name })),
                "description": "Where the claim must hold: in `every` arm (default), in `most`, or on `average`.",
            },
            "margin": { "type": "number", "exclusiveMinimum": 0, "description": "The equivalence margin: a difference within ± `margin` counts as none." },
            "expect": {
                "oneOf": EXPECTED.map(|name| json!({ "type": "string", "const": name })),
                "description": "The verdict that `report --check` expects. Default: `supported`.",
            },
        },
        "additionalProperties": false,
        "required": ["id", "text", "metric"],
    })
}

/// The comparisons of a claim.
const COMPARISONS: [&str; 11] =
    [">=", ">", "<=", "<", "=", "at_least", "above", "at_most", "below", "within", "about"];

/// The scopes of a claim.
const SCOPES: [&str; 3] = ["every", "most", "average"];

/// The verdicts that an experiment can expect of a claim.
const EXPECTED: [&str; 4] = ["supported", "contradicted", "equivalent", "any"];

const SEARCH: &str = "A separate search in every arm of the grid, with the same number of trials, judged on the \
                      validation split; the winner is the arm's result.";

/// Every single value of a run by its dotted path. Schedules nest recursively, so their keys are given as a pattern.
fn leaves(definitions: &Map<String, Value>) -> Vec<(String, Value)> {
    let mut leaves = Vec::new();
    collect("", &json!({ "$ref": "#/$defs/RunKeys" }), definitions, &mut leaves);
    collect("model", &json!({ "$ref": "#/$defs/ModelSpec" }), definitions, &mut leaves);
    // A key of the run's update rule.
    let of_rules: BTreeMap<String, Value> = leaves
        .iter()
        .filter_map(|(path, schema)| match path.split('.').collect::<Vec<_>>()[..] {
            [OPTIMIZER, _, key] => Some((format!("{OPTIMIZER}.{key}"), schema.clone())),
            _ => None,
        })
        .collect();
    leaves.extend(of_rules);
    leaves
}

/// Every leaf of a run can be an axis.
fn axes(leaves: &[(String, Value)]) -> Value {
    let list = |items: Value| json!({ "type": "array", "minItems": 1, "items": items });
    let names = |text: &str| {
        let mut names = list(json!({ "type": "string" }));
        names["description"] = Value::from(text);
        names
    };
    let mut properties = by_path(leaves, &list);
    properties.insert("model".into(), names("Names of [models]."));
    properties.insert("schedule".into(), names("Names of [schedules]."));
    let keys = properties.remove(OPTIMIZER).unwrap_or_default();
    let named = names("Names of [optimizers].");
    properties.insert(OPTIMIZER.into(), json!({ "anyOf": [named, keys] }));
    properties.insert("monitor".into(), names("`off` or names of [monitors]."));
    let mut seeds = list(json!({ "type": "integer", "minimum": 0 }));
    seeds["description"] = Value::from("Seeds of initialisation, order, augmentation and dropout.");
    properties.insert("seed".into(), seeds);
    let mut axes = object(
        properties,
        &["model", "schedule", "seed"],
        "The grid: their product in this order, the last fastest. Any single value of a run can be an axis.",
    );
    axes["patternProperties"] = json!({ NESTED: list(json!({})) });
    axes
}

/// The keys that a search can vary.
fn space(leaves: &[(String, Value)]) -> Value {
    let of = |_: Value| reference("SpaceSpec");
    let mut properties = by_path(leaves, &of);
    for name in ["schedule", "monitor"] {
        let text = format!("A key of the {name} of the runs, by its path: {name}.….key = {{ … }}");
        properties.insert(name.into(), json!({ "type": "object", "description": text }));
    }
    let mut space = object(properties, &[], "The searched keys, each with its possible values.");
    space["patternProperties"] = json!({ NESTED: reference("SpaceSpec") });
    space["minProperties"] = json!(1);
    space
}

/// The keys of a run, and every leaf by its path, can be set for some cells.
fn cell_values(leaves: &[(String, Value)], definitions: &Map<String, Value>) -> Value {
    let mut properties = by_path(leaves, &|schema| schema);
    let keys = definitions.get("RunKeys").and_then(|keys| keys["properties"].as_object());
    properties.extend(keys.into_iter().flatten().map(|(name, schema)| (name.clone(), schema.clone())));
    let mut rules = rules(definitions);
    let short = leaves.iter().filter_map(|(path, schema)| match path.split('.').collect::<Vec<_>>()[..] {
        [OPTIMIZER, key] => Some((key.to_owned(), schema.clone())),
        _ => None,
    });
    rules.extend(short);
    properties.insert(OPTIMIZER.into(), object(rules, &[], "The update rule, or keys of the current one."));
    for name in ["schedule", "monitor"] {
        let text = format!("A key of the {name} of the matching runs, by its path: {name}.….key = …");
        properties.insert(name.into(), json!({ "type": "object", "description": text }));
    }
    let conditions = json!({
        "type": "object", "minProperties": 1,
        "description": "Conditions: `dataset` and keys that can be axes, each with a value or a list of values.",
    });
    properties.insert("where".into(), conditions);
    let mut values = object(properties, &["where"], "Values of some cells.");
    values["patternProperties"] = json!({ NESTED: {} });
    values
}

/// Keys of schedules and monitors by their path.
const NESTED: &str = r"^(schedule|monitor)\.";

/// Properties for dotted paths, quoted (`"optimizer.sgd.momentum"`) and unquoted, which are nested tables in TOML.
fn by_path(leaves: &[(String, Value)], of: &dyn Fn(Value) -> Value) -> Map<String, Value> {
    let mut properties = Map::new();
    for (path, schema) in leaves {
        properties.insert(path.clone(), of(schema.clone()));
        if let Some((first, rest)) = path.split_once('.') {
            nest(&mut properties, first, rest, of(schema.clone()));
        }
    }
    properties
}

fn nest(properties: &mut Map<String, Value>, first: &str, rest: &str, schema: Value) {
    let table = properties
        .entry(first)
        .or_insert_with(|| json!({ "type": "object", "properties": {}, "additionalProperties": false }));
    let Some(inner) = table.get_mut("properties").and_then(Value::as_object_mut) else { return };
    match rest.split_once('.') {
        Some((next, rest)) => nest(inner, next, rest, schema),
        None => drop(inner.insert(rest.to_owned(), schema)),
    }
}

fn collect(path: &str, schema: &Value, definitions: &Map<String, Value>, leaves: &mut Vec<(String, Value)>) {
    if schema["$ref"] == "#/$defs/ScheduleSpec" {
        return;
    }
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

/// Allows `"off"` for optional values, because TOML has no null.
fn accept_off(schema: &mut Value) {
    let off = json!({ "type": "string", "const": "off" });
    if let Some(branches) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
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
