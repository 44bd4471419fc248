//! Reads an experiment file and expands it to cells, or returns all errors.

use std::collections::{BTreeMap, BTreeSet};

use lrlab_runs::{Cell, RESERVED_NAMES, RunId, Search};
use lrlab_search::TRIAL;
use serde_json::Value as Json;

use crate::axes::{self, Axis};
use crate::cell_values;
use crate::coordinate::{Coordinate, NAMED, Point, label};
use crate::definitions::{Catalog, CellValue, Definitions, Named, check_length};
use crate::mistake::{Log, Mistakes};
use crate::resolve::{Resolved, require};
use crate::schema::EXPERIMENT;
use crate::tree::{Node, Place, Value, parse, parse_argument};
use crate::walk::{missing, unknown, walk};
use crate::{
    RunSpec, claims, conditions, effect, expand, explain, report, resolve, run_id, search, select, suggest,
};

/// A valid experiment, expanded and resolved.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// The name, which is also that of its folder.
    pub name: String,
    /// The question.
    pub description: String,
    /// The claims as given in the file: a list of tables.
    pub claims: Json,
    /// Templates of documents that the report renders, relative to the file's folder.
    pub documents: Vec<String>,
    /// The leading metrics of the report; empty for the default ones.
    pub metrics: Vec<String>,
    /// The baseline values that the file names, by axis.
    pub baseline: Cell,
    /// Whether the experiment reproduces the paper, so that the report draws the paper's figures.
    pub paper: bool,
    /// The rules of the search whose trials the cells are, if there is one.
    pub search: Option<Search>,
    /// Warnings.
    pub warnings: Mistakes,
    cells: Vec<Resolved>,
    points: Vec<Point>,
    definitions: Definitions,
    log: Log,
}

impl Experiment {
    /// Returns the matching cells with their runs, in the fixed order of the grid.
    ///
    /// A filter is `KEY=VALUE` over the cells' coordinates. Values of the same key are alternatives; filters of different
    /// keys must all match. `seeds` keeps the first N seeds.
    ///
    /// # Errors
    /// Returns an error if a filter is not `KEY=VALUE`, names an unknown coordinate or matches no cell, or if there are fewer
    /// seeds than requested.
    pub fn cells(&self, filters: &[String], seeds: Option<usize>) -> Result<Vec<(Cell, RunSpec)>, Mistakes> {
        Ok(self.each_cell(filters, seeds)?.collect())
    }

    /// Like [`Experiment::cells`], but lazy.
    ///
    /// # Errors
    /// Returns the errors of [`Experiment::cells`].
    pub fn each_cell(
        &self,
        filters: &[String],
        seeds: Option<usize>,
    ) -> Result<impl ExactSizeIterator<Item = (Cell, RunSpec)>, Mistakes> {
        let chosen = self.select(filters, seeds)?;
        let cell = |index: usize| (self.cells[index].cell.clone(), self.cells[index].spec.clone());
        Ok(chosen.into_iter().map(cell))
    }

    /// Returns the factor by which the optimizer `[optimizers.NAME]` multiplies `lr`; `None` if it has no `lr_scale`.
    #[must_use]
    pub fn lr_scale(&self, name: &str) -> Option<f64> {
        self.definitions.lr_scale(name)?.number()
    }

    /// Returns every value of the matching runs with its origin, `file:line`, `--set …` or `default`, as one text for each of
    /// [`Experiment::cells`].
    ///
    /// # Errors
    /// Returns the errors of [`Experiment::cells`].
    pub fn explain(&self, filters: &[String], seeds: Option<usize>) -> Result<Vec<String>, Mistakes> {
        let chosen = self.select(filters, seeds)?;
        let mut log = self.log.clone();
        let mut text = |index: usize| {
            let point = &self.points[index];
            let tree = resolve::unscaled(&mut log, point, &self.definitions);
            let scale = resolve::scale(point, &self.definitions);
            tree.map(|tree| explain::explain(&self.log, &self.cells[index], &tree, scale)).unwrap_or_default()
        };
        Ok(chosen.into_iter().map(&mut text).collect())
    }

    /// The indices of the matching cells.
    fn select(&self, filters: &[String], seeds: Option<usize>) -> Result<Vec<usize>, Mistakes> {
        let mut log = Log::new("", "");
        let chosen = select::select(&mut log, &self.cells, self.search.as_ref(), filters, seeds);
        if log.has_errors() { Err(log.finish()) } else { Ok(chosen) }
    }
}

/// Reads an experiment. `overrides` are `KEY=VALUE` with a dotted path into the file and replace its values.
///
/// # Errors
/// Returns all errors of the file and the overrides, with their positions and, if available, suggestions. If the text is not
/// valid TOML, only the parser's errors are returned.
pub fn read(
    text: &str,
    file_name: &str,
    overrides: &[String],
    catalog: &Catalog,
) -> Result<Experiment, Mistakes> {
    let mut log = Log::new(file_name, text);
    let (mut root, complaints) = parse(text, 0);
    for (place, message) in &complaints {
        log.error(*place, format!("invalid TOML: {message}"), None);
    }
    if complaints.is_empty() && root.table().is_empty() {
        log.error(root.place, format!("{file_name} is empty: expected at least `name` and [axes]"), None);
    }
    for argument in overrides {
        override_one(&mut log, &mut root, argument);
    }
    if log.has_errors() {
        return Err(log.finish());
    }
    let mut definitions = sections(&mut log, &root, catalog);
    let axes = axes::read(&mut log, &root, &definitions);
    let declared = axes::declared(&root);
    let searched = root.at("search.space").map(Node::table).unwrap_or_default();
    let given: Vec<&str> = declared
        .iter()
        .map(String::as_str)
        .chain(searched.iter().map(|(key, _)| key.name.as_str()))
        .collect();
    require(&mut log, &given, &used_models(&axes, &root, &definitions), &definitions.defaults);
    let claims = claims::read(&mut log, &root);
    let documents = report::documents(&mut log, &root);
    let metrics = report::metrics(&mut log, &root);
    let mut rules = search::read(&mut log, &root, &axes);
    // Conditions on an invalid axis would only repeat its error.
    let complete = axes.len() == declared.len();
    let mut points = if complete { expand::points(&mut log, &root, &axes, &definitions) } else { Vec::new() };
    if complete && !log.has_errors() {
        let searched = rules.as_ref().map(|rules| rules.search.keys.as_slice()).unwrap_or_default();
        definitions.cell_values = cell_values::read(&mut log, &root, &axes, searched, &points, &definitions);
    }
    if log.has_errors() {
        return Err(log.finish());
    }
    if let Some(rules) = &rules {
        points = search::trials(&mut log, rules, &points, &definitions);
        if log.has_errors() {
            return Err(log.finish());
        }
    }
    definitions.warn_of_unused(&mut log, |axis| used_names(&axes, &root, axis));
    let mut effects = BTreeSet::new();
    let mut cells = Vec::with_capacity(points.len());
    for point in &points {
        let Some(tree) = resolve::tree(&mut log, point, &definitions) else { continue };
        places(&tree, &mut effects);
        cells.extend(resolve::resolve(&mut log, point, &tree, &definitions));
    }
    if cells.is_empty() {
        log.error(root.place, "the grid has no cells", None);
    }
    let mut baseline = Cell::new();
    if cells.len() == points.len() {
        if let Some(rules) = &mut rules {
            search::rungs(&mut log, rules, &cells);
        }
        check_doubles(&mut log, &points, &cells);
        let used = used_models(&axes, &root, &definitions);
        let replaced = check_effect(&mut log, &definitions, &used, &effects);
        effect::check(&mut log, &points, &cells, &replaced);
        let searched = rules.as_ref().map(|rules| rules.search.keys.as_slice()).unwrap_or_default();
        claims::check_places(&mut log, &root, &cells, searched);
        baseline = report::baseline(&mut log, &root, &cells, rules.as_ref().map(|rules| &rules.search));
    }
    if log.has_errors() {
        return Err(log.finish());
    }
    let word = |key: &str| root.get(key).and_then(Node::text).unwrap_or_default().to_owned();
    let (name, description, warnings) = (word("name"), word("description"), log.finish());
    let search = rules.map(|rules| rules.search);
    Ok(Experiment {
        name,
        description,
        claims,
        documents,
        metrics,
        baseline,
        paper: root.at("report.paper").is_some_and(|node| node.value == Value::Bool(true)),
        search,
        warnings,
        cells,
        points,
        definitions,
        log,
    })
}

const SET: &str = "--set ";

fn override_one(log: &mut Log, root: &mut Node, argument: &str) {
    let source = log.argument(SET, argument);
    let whole = Place { source: Some(source), start: SET.len(), end: SET.len() + argument.len() };
    match parse_argument(argument, source, SET.len()) {
        Ok((keys, node)) => {
            if !root.set(&keys, node) {
                log.error(whole, "the path leads into a value that is not a table", None);
            }
        }
        Err(message) => log.error(whole, message, "write --set defaults.lr=0.1".to_owned()),
    }
}

/// Checks the top level and every definition.
fn sections(log: &mut Log, root: &Node, catalog: &Catalog) -> Definitions {
    let properties = &EXPERIMENT["properties"];
    let allowed = || properties.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    for (key, node) in root.table() {
        match key.name.as_str() {
            "name" | "description" | "zip" | "exclude" | "include" => {
                walk(log, node, &properties[&key.name], &key.name);
            }
            "set" => cell_values::check_shape(log, node),
            "axes" | "defaults" | "models" | "data" | "optimizers" | "schedules" | "monitors" | "claims"
            | "report" | "search" => {}
            name => match elsewhere(root, name, node) {
                Some(path) => {
                    log.error(key.place, format!("unknown key `{name}`"), format!("did you mean `{path}`?"));
                }
                None => unknown(log, key, allowed()),
            },
        }
    }
    for name in ["name", "axes"].into_iter().filter(|name| root.get(name).is_none()) {
        missing(log, root, name);
    }
    if let Some(node) = root.get("name") {
        check_name(log, node);
    }
    Definitions::read(log, root, catalog)
}

/// Checks the name of the experiment, which is also that of its folder.
fn check_name(log: &mut Log, node: &Node) {
    let Some(name) = node.text() else { return };
    if name.is_empty() || !name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        log.error(
            node.place,
            format!("\"{name}\" is not a valid name: expected `a` … `z`, `0` … `9` and `-`"),
            None,
        );
    } else if RESERVED_NAMES.contains(&name) {
        let message = format!("invalid experiment name `{name}`: the store reserves a folder of that name");
        let hint = format!(
            "choose another name, for example `{name}-1`; reserved are {}",
            suggest::list(RESERVED_NAMES)
        );
        log.error(node.place, message, hint);
    } else {
        check_length(log, node.place, name);
    }
}

/// The correct path of a key of a run, or of a table of definitions, at the top level.
fn elsewhere(root: &Node, name: &str, node: &Node) -> Option<String> {
    if matches!(node.value, Value::Table(_)) && ["model", "schedule", "monitor"].contains(&name) {
        return Some(format!("{name}s"));
    }
    let is_axis = root.get("axes").is_some_and(|axes| axes.get(name).is_some());
    let is_key = EXPERIMENT["$defs"]["RunKeys"]["properties"].get(name).is_some() && name != "data";
    let is_named =
        NAMED.contains(&name) && suggest::nearest(name, ["models", "schedules", "monitors"]).is_none();
    match (is_axis || is_named, is_key) {
        (true, _) => Some(format!("axes.{name}")),
        (false, true) => Some(format!("defaults.{name}")),
        (false, false) => None,
    }
}

/// The names along an axis, including those of `[[include]]`.
fn used_names<'a>(axes: &'a [Axis], root: &'a Node, axis: &str) -> Vec<&'a str> {
    let own = axes.iter().filter(|known| known.name() == axis).flat_map(|known| &known.values);
    let included = root.get("include").map(Node::list).unwrap_or_default();
    let included = included.iter().filter_map(|entry| entry.get(axis)).flat_map(conditions::values);
    own.chain(included).filter_map(Node::text).collect()
}

fn used_models<'a>(axes: &[Axis], root: &Node, definitions: &'a Definitions) -> Vec<&'a Named> {
    let names = used_names(axes, root, "model");
    definitions.models.iter().filter(|model| names.contains(&model.key.name.as_str())).collect()
}

/// Logs cells with equal coordinates and cells that give the same run, one error per origin.
fn check_doubles(log: &mut Log, points: &[Point], cells: &[Resolved]) {
    // Compares identities instead of specifications, which would need megabytes for ten thousand cells.
    let mut seen: BTreeMap<RunId, usize> = BTreeMap::new();
    for (index, resolved) in cells.iter().enumerate() {
        let id = match run_id(&resolved.spec, "") {
            Ok(id) => id,
            Err(error) => {
                let place = points[index].iter().map(|entry| entry.0.place).max().unwrap_or(Place::BUILT_IN);
                log.error(place, error.to_string(), None);
                continue;
            }
        };
        let Some(earlier) = seen.insert(id, index) else { continue };
        let text = || {
            let one = |entry: &Coordinate| format!("{} = {}", entry.0.name, label(&entry.1.json()));
            points[index].iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let differing = points[index]
            .iter()
            .zip(&points[earlier])
            .find(|(a, b)| a.0.name != TRIAL && a.1.json() != b.1.json());
        if let Some((ours, theirs)) = differing {
            let (key, ours, theirs) = (&ours.0, &ours.1, &theirs.1);
            let (a, b) = (label(&theirs.json()), label(&ours.json()));
            log.error(ours.place, format!("`{a}` and `{b}` along `{}` give the same runs", key.name), None);
        } else {
            let place = points[index].iter().map(|entry| entry.0.place).max().unwrap_or(Place::BUILT_IN);
            if !log.has_error_at(place) {
                log.error(place, format!("duplicate cell: {}", text()), None);
            }
        }
    }
}

/// Logs values that every run replaces: a warning in the file, an error in an argument. Returns the paths that the other
/// arguments set.
fn check_effect(
    log: &mut Log,
    definitions: &Definitions,
    models: &[&Named],
    used: &BTreeSet<Place>,
) -> BTreeMap<Place, BTreeSet<String>> {
    let mut given = Vec::new();
    values(&definitions.defaults, "", &mut given);
    for model in models {
        if let Some(set) = model.node.get("set") {
            values(set, "", &mut given);
        }
    }
    for value in definitions.cell_values.iter().flat_map(|set| &set.values) {
        match value {
            CellValue::Keys(table) => values(table, "", &mut given),
            CellValue::Path(key, node) => given.push((key.name.clone(), node.place)),
        }
    }
    let mut arguments: BTreeMap<Place, BTreeSet<String>> = BTreeMap::new();
    for (path, place) in given {
        let argument = place.source != Some(0);
        if used.contains(&place) {
            if argument {
                arguments.entry(place).or_default().insert(path);
            }
            continue;
        }
        let message = format!("`{path}` has no effect: every run replaces it");
        if argument { log.error(place, message, None) } else { log.warn(place, message, None) }
    }
    arguments
}

fn places(node: &Node, used: &mut BTreeSet<Place>) {
    used.insert(node.place);
    for (_, child) in node.table() {
        places(child, used);
    }
}

fn values(node: &Node, path: &str, given: &mut Vec<(String, Place)>) {
    for (key, child) in node.table() {
        let path = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
        // An empty table, `adam = {}`, is a value too.
        if child.table().is_empty() {
            given.push((path, child.place));
        } else {
            values(child, &path, given);
        }
    }
}
