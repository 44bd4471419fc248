//! The named parts of an experiment: defaults, models, data, schedules, monitors.

use lrlab_config::{CustomConfig, Source};
use lrlab_runs::LONGEST_NAME;
use lrlab_schedulers::{ControllerSpec, Lambdas, ScheduleSpec};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::conditions::Conditions;
use crate::coordinate::{LR_SCALE, OFF};
use crate::coupled::{self, Disagreement, Kind};
use crate::mistake::Log;
use crate::schema::definition;
use crate::tree::{Key, Node, Place, Value};
use crate::walk::walk;
use crate::{ModelSpec, MonitorSpec, RunSpec, suggest};

/// The models, data sets and functions of time that a user's runner registers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Custom models.
    pub models: Vec<Registered>,
    /// Custom data sets.
    pub data: Vec<Registered>,
    /// Functions that schedules name.
    pub lambdas: Lambdas,
}

/// A model or data set that a user's runner registers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registered {
    /// Its name.
    pub name: String,
    /// The version, which is part of the identity of its runs; `None` adds nothing to the identity.
    pub version: Option<String>,
    /// Whether a model multiplies in the precision of its parameters, so that it supports `precision = "bf16"`.
    pub bf16: bool,
}

impl Registered {
    /// Creates a registration without a version, for `precision = "f32"` only.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: None, bf16: false }
    }
}

/// A named table.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) key: Key,
    pub(crate) node: Node,
}

/// Values of the cells that meet conditions, from `[[set]]`. They are not coordinates of these cells, so that runs with
/// different values can belong to one arm.
#[derive(Debug, Clone)]
pub(crate) struct CellValues {
    pub(crate) conditions: Conditions,
    pub(crate) values: Vec<CellValue>,
}

/// One key of an entry of `[[set]]`.
#[derive(Debug, Clone)]
pub(crate) enum CellValue {
    /// A table of keys of a run, which is merged like a model's `set`.
    Keys(Node),
    /// A key by its path, and its value. What the key belongs to is chosen by an axis or, for `optimizer.weight_decay`, left
    /// open, so a run of another kind does not have the key.
    Path(Key, Node),
}

impl CellValue {
    /// The place of its key.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Keys(table) => table.table().first().map_or(table.place, |(key, _)| key.place),
            Self::Path(key, _) => key.place,
        }
    }
}

/// The definitions that axes refer to.
#[derive(Debug, Clone)]
pub(crate) struct Definitions {
    pub(crate) defaults: Node,
    pub(crate) models: Vec<Named>,
    pub(crate) data: Vec<Named>,
    pub(crate) optimizers: Vec<Named>,
    pub(crate) schedules: Vec<Named>,
    pub(crate) monitors: Vec<Named>,
    /// `[[set]]`, which needs the points of the grid and is read after them.
    pub(crate) cell_values: Vec<CellValues>,
    catalog: Catalog,
}

impl Definitions {
    /// Reads and checks every definition on its own.
    pub(crate) fn read(log: &mut Log, root: &Node, catalog: &Catalog) -> Self {
        let empty = Node { value: Value::Table(Vec::new()), place: root.place };
        let defaults = root.get("defaults").cloned().unwrap_or(empty);
        walk(log, &defaults, definition("RunKeys"), "defaults");
        let mut found = Self {
            data: section(log, root, "data", |log, named| data(log, named, catalog)),
            models: section(log, root, "models", |log, named| model(log, named, catalog)),
            optimizers: section(log, root, "optimizers", optimizer),
            schedules: section(log, root, "schedules", schedule),
            monitors: section(log, root, "monitors", monitor),
            cell_values: Vec::new(),
            defaults,
            catalog: catalog.clone(),
        };
        found.check_data_names(log);
        let named = found.optimizers.iter_mut().chain(&mut found.schedules).map(|named| &mut named.node);
        let sets = found.models.iter_mut().filter_map(|named| named.node.get_mut("set"));
        for node in named.chain(sets).chain([&mut found.defaults]) {
            lambdas(log, node, &catalog.lambdas);
        }
        for named in found.monitors.iter().filter(|named| named.key.name == OFF) {
            log.error(named.key.place, "`off` is built in and cannot be defined", None);
        }
        found
    }

    /// Returns whether a network supports bf16; a custom one declares it when it is registered.
    pub(crate) fn honours_bf16(&self, model: &ModelSpec) -> bool {
        let ModelSpec::Custom(custom) = model else { return true };
        self.catalog.models.iter().any(|known| known.name == custom.name && known.bf16)
    }

    /// Looks up the functions that the schedules of a run refer to. Missing functions have already been reported.
    pub(crate) fn bind(&self, run: &mut RunSpec) {
        let _ = run.bind(&self.catalog.lambdas);
    }

    /// Checks the functions that the schedules in a value of `[[set]]` refer to, and adds their versions.
    pub(crate) fn check_functions(&self, log: &mut Log, node: &mut Node) {
        lambdas(log, node, &self.catalog.lambdas);
    }

    /// The table of a model.
    pub(crate) fn model(&self, name: &str) -> Option<&Node> {
        self.models.iter().find(|named| named.key.name == name).map(|named| &named.node)
    }

    /// The factor of the rate of a named optimizer, if it has one.
    pub(crate) fn lr_scale(&self, name: &str) -> Option<&Node> {
        self.optimizers.iter().find(|named| named.key.name == name)?.node.get(LR_SCALE)
    }

    /// Warns of definitions that are not used.
    pub(crate) fn warn_of_unused<'a>(&self, log: &mut Log, used: impl Fn(&str) -> Vec<&'a str>) {
        let models = used("model");
        let data: Vec<&str> = self.models.iter().filter_map(|model| model.node.get("data")?.text()).collect();
        let sections = [
            ("model", &self.models, models),
            ("data set", &self.data, data),
            ("optimizer", &self.optimizers, used("optimizer")),
            ("schedule", &self.schedules, used("schedule")),
            ("monitor", &self.monitors, used("monitor")),
        ];
        for (what, all, used) in sections {
            for Named { key, .. } in all.iter().filter(|named| !used.contains(&named.key.name.as_str())) {
                log.warn(key.place, format!("{what} `{}` is defined but not used", key.name), None);
            }
        }
    }

    /// Checks that the data set of every model is defined.
    fn check_data_names(&self, log: &mut Log) {
        for model in &self.models {
            let Some(node) = model.node.get("data") else { continue };
            if let Some(name) = node.text()
                && !self.data.iter().any(|data| data.key.name == name)
            {
                undefined(log, node, "data set", "data", self.data.iter().map(|data| data.key.name.as_str()));
            }
        }
    }
}

/// Checks the length of a name, because files are named after it.
pub(crate) fn check_length(log: &mut Log, place: Place, name: &str) {
    if name.len() > LONGEST_NAME {
        let message = format!(
            "a name of {} bytes is too long: at most {LONGEST_NAME}, because files are named after it",
            name.len()
        );
        log.error(place, message, "use `description` for a longer text".to_owned());
    }
}

/// Logs a name without a definition.
pub(crate) fn undefined<'a>(
    log: &mut Log,
    node: &Node,
    what: &str,
    section: &str,
    defined: impl Iterator<Item = &'a str> + Clone,
) {
    let name = node.text().unwrap_or_default();
    let hint = match suggest::nearest(name, defined.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if defined.clone().next().is_none() => format!("define it under [{section}.{name}]"),
        None => format!("defined are {}; define it under [{section}.{name}]", suggest::list(defined)),
    };
    log.error(node.place, format!("undefined {what} `{name}`"), hint);
}

fn section(log: &mut Log, root: &Node, name: &str, check: impl Fn(&mut Log, &mut Named)) -> Vec<Named> {
    let Some(node) = root.get(name) else { return Vec::new() };
    if !matches!(node.value, Value::Table(_)) {
        let message = format!("expected a table of definitions for `{name}`, found {}", node.kind());
        log.error(node.place, message, format!("write [{name}.some-name]"));
    }
    node.table()
        .iter()
        .map(|(key, node)| {
            if !key.name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.+".contains(c))
                || key.name.is_empty()
            {
                let message = format!(
                    "`{}` is not a valid name: expected letters from a to z, digits, `_`, `-`, `.` and `+`",
                    key.name
                );
                log.error(key.place, message, None);
            } else {
                check_length(log, key.place, &key.name);
            }
            let mut named = Named { key: key.clone(), node: node.clone() };
            check(log, &mut named);
            named
        })
        .collect()
}

fn data(log: &mut Log, named: &mut Named, catalog: &Catalog) {
    if !walk(log, &named.node, definition("DataSpec"), &named.key.name) {
        return;
    }
    let source = named.node.get("source").and_then(|node| readable::<Source>(log, node));
    match &source {
        Some(Source::Custom(custom)) => {
            registered(log, &mut named.node, "source", custom, "data set", &catalog.data);
        }
        Some(source) => without_effect(log, &named.node, Kind::held_by(source)),
        None => {}
    }
}

/// Warns of settings for the other kind of data.
fn without_effect(log: &mut Log, node: &Node, kind: Option<Kind>) {
    let (key, other) = match kind {
        Some(Kind::Pictures) => ("tokens", Kind::Text),
        Some(Kind::Text) => ("augment", Kind::Pictures),
        None => return,
    };
    if let Some((key, _)) = node.entry(key) {
        let message = format!("`{}` is for {} and has no effect here", key.name, other.word());
        log.error(key.place, message, None);
    }
}

fn model(log: &mut Log, named: &mut Named, catalog: &Catalog) {
    walk(log, &named.node, definition("Model"), &named.key.name);
    let Some(network) = named.node.get("network") else { return };
    let Some(spec) = readable::<ModelSpec>(log, network) else { return };
    complain(log, network, "model", coupled::model(&spec));
    if let ModelSpec::Custom(custom) = &spec {
        registered(log, &mut named.node, "network", custom, "model", &catalog.models);
    }
}

/// The advice for a name that this program does not register.
const ELSEWHERE: &str =
    "call the program that registers it, or name that program to `cargo xtask run-grid` with `--runner PATH`";

/// Checks that a custom name is registered, and adds the registered version to the definition.
fn registered(
    log: &mut Log,
    node: &mut Node,
    key: &str,
    custom: &CustomConfig,
    what: &str,
    known: &[Registered],
) {
    if let Some(found) = known.iter().find(|known| known.name == custom.name) {
        if let Some(version) = &found.version {
            let keys =
                [key, "custom", "version"].map(|name| Key { name: name.to_owned(), place: Place::BUILT_IN });
            node.set(&keys, Node { value: Value::Text(version.clone()), place: Place::BUILT_IN });
        }
        return;
    }
    let hint = if known.is_empty() {
        format!("this program registers no {what}s; {ELSEWHERE}")
    } else {
        suggest::among(&custom.name, known.iter().map(|known| known.name.as_str())).unwrap_or_default()
    };
    let place = node.place_near(&format!("{key}.custom.name"));
    log.error(place, format!("unknown {what} `{}`", custom.name), hint);
}

/// Checks that every function that a nested schedule refers to is registered, and adds its version to the definition.
fn lambdas(log: &mut Log, node: &mut Node, known: &Lambdas) {
    let list = match &mut node.value {
        Value::Table(entries) => {
            entries.iter_mut().map(|(key, child)| (key.name == "lambda", child)).collect()
        }
        Value::List(items) => items.iter_mut().map(|item| (false, item)).collect(),
        _ => Vec::new(),
    };
    for (is_lambda, child) in list {
        let Some(name) = child.get("name").filter(|_| is_lambda) else {
            lambdas(log, child, known);
            continue;
        };
        let Some(text) = name.text() else { continue };
        match known.names().find(|(known, _)| *known == text) {
            Some((_, Some(version))) => {
                let keys = [Key { name: "version".to_owned(), place: Place::BUILT_IN }];
                let version = version.to_owned();
                child.set(&keys, Node { value: Value::Text(version), place: Place::BUILT_IN });
            }
            Some((_, None)) => {}
            None => {
                let hint = if known.names().next().is_none() {
                    format!("this program registers no functions; {ELSEWHERE}")
                } else {
                    suggest::among(text, known.names().map(|(name, _)| name)).unwrap_or_default()
                };
                log.error(name.place, format!("unknown function `{text}`"), hint);
            }
        }
    }
}

fn optimizer(log: &mut Log, named: &mut Named) {
    walk(log, &named.node, definition("Optimizer"), &named.key.name);
    // Unknown keys already have an error.
    let keys = || named.node.table().iter().map(|(key, _)| key).filter(|key| key.name != LR_SCALE);
    let rules: Vec<&Key> = keys().filter(|key| optimizer_rules().any(|rule| rule == key.name)).collect();
    let misspelt = rules.is_empty() && keys().next().is_some();
    if rules.len() != 1 && !misspelt && matches!(named.node.value, Value::Table(_)) {
        let place = rules.get(1).map_or(named.node.place, |key| key.place);
        let message =
            format!("`{}` must have exactly one update rule, found {}", named.key.name, rules.len());
        log.error(place, message, format!("expected exactly one of {}", suggest::list(optimizer_rules())));
    }
}

/// The names of the update rules.
fn optimizer_rules() -> impl Iterator<Item = &'static str> + Clone {
    let properties = definition("Optimizer")["properties"].as_object();
    properties.into_iter().flatten().map(|(name, _)| name.as_str()).filter(|name| *name != LR_SCALE)
}

fn schedule(log: &mut Log, named: &mut Named) {
    walk(log, &named.node, definition("ScheduleSpec"), &named.key.name);
    check_all::<ScheduleSpec>(log, &named.node, ScheduleSpec::check);
}

fn monitor(log: &mut Log, named: &mut Named) {
    walk(log, &named.node, definition("MonitorSpec"), &named.key.name);
    if let Some(controller) = named.node.get("controller") {
        check_all::<ControllerSpec>(log, controller, ControllerSpec::check);
    }
    let found = readable::<MonitorSpec>(log, &named.node).and_then(|spec| coupled::monitor(&spec));
    complain(log, &named.node, "monitor", found);
}

/// Logs all errors of a check that stops at its first one, by replacing the reported value and repeating the check.
fn check_all<T: DeserializeOwned>(
    log: &mut Log,
    node: &Node,
    check: impl Fn(&T) -> Result<(), lrlab_schedulers::Error>,
) {
    let (mut json, mut seen) = (json_without_mistakes(log, node, false), Vec::new());
    loop {
        let Ok(spec) = serde_json::from_value::<T>(json.clone()) else {
            // Replaces a length that has an error, so that the check can continue.
            let filled = json_without_mistakes(log, node, true);
            if !seen.is_empty() || filled == json {
                return;
            }
            json = filled;
            continue;
        };
        let Err(error) = check(&spec) else { return };
        if seen.contains(&error.path) {
            return;
        }
        let key = coupled::last_key(&error.path);
        log.error(node.place_near(&error.path), format!("`{key}`: {}", error.problem), None);
        if !harmless(&mut json, &error.path) {
            return;
        }
        seen.push(error.path);
    }
}

/// Replaces a reported value by a valid one.
fn harmless(json: &mut Json, path: &str) -> bool {
    let Some(value) = json.pointer_mut(&format!("/{}", path.replace('.', "/"))) else { return false };
    *value = match value {
        Json::Number(_) => Json::from(0.5),
        Json::String(_) => Json::from(STAND_IN),
        _ => return false,
    };
    true
}

/// Logs violated constraints in a definition, which corresponds to `root` in their paths.
fn complain(log: &mut Log, node: &Node, root: &str, found: impl IntoIterator<Item = Disagreement>) {
    for Disagreement { path, message, suggestion } in found {
        let path = path.strip_prefix(root).unwrap_or(&path).trim_start_matches('.');
        log.error(node.place_near(path), message, suggestion);
    }
}

/// Reads a definition without the parts that have known errors.
fn readable<T: DeserializeOwned>(log: &Log, node: &Node) -> Option<T> {
    serde_json::from_value(json_without_mistakes(log, node, false)).ok()
}

/// A table without the values that have known errors; with `fill`, such values are replaced by a length.
fn json_without_mistakes(log: &Log, node: &Node, fill: bool) -> Json {
    if !matches!(node.value, Value::Table(_)) {
        return node.json();
    }
    let good = node.table().iter().filter(|(key, _)| !log.has_error_at(key.place));
    let entry = |(key, child): &(Key, Node)| {
        let wrong = log.has_error_at(child.place) && !matches!(child.value, Value::Table(_));
        let json = if wrong { Json::from(STAND_IN) } else { json_without_mistakes(log, child, fill) };
        (fill || !wrong).then(|| (key.name.clone(), json))
    };
    Json::Object(good.filter_map(entry).collect())
}

/// A length that is valid for every key.
const STAND_IN: &str = "1 epoch";
