//! `[report]`: the leading metrics and the baselines of the report, and its additional documents.

use std::path::{Component, Path};

use lrlab_runs::{Cell, Search};

use crate::claim_metric;
use crate::conditions;
use crate::coordinate::meets;
use crate::mistake::Log;
use crate::ranges::Wrong;
use crate::resolve::Resolved;
use crate::tree::{Node, Value};
use crate::walk::walk;

/// The extension of document templates.
const TEMPLATE: &str = ".jinja";

/// Extensions of languages whose special characters documents do not escape.
const MARKUP: [&str; 4] = [".html", ".htm", ".xhtml", ".xml"];

/// Names of the report's files and folders, which documents cannot use.
const TAKEN: [&str; 6] =
    ["report.md", "report.html", "manifest.json", "ro-crate-metadata.json", "tables", "figures"];

/// The templates of documents, each of which renders to a separate file.
pub(crate) fn documents(log: &mut Log, root: &Node) -> Vec<String> {
    let Some(section) = root.get("report") else { return Vec::new() };
    let schema = serde_json::json!({ "$ref": "#/$defs/Report" });
    if !walk(log, section, &schema, "report") {
        return Vec::new();
    }
    let mut made: Vec<&str> = Vec::new();
    for node in section.get("documents").map(Node::list).unwrap_or_default() {
        let text = node.text().unwrap_or_default();
        let Some(file) = text.strip_suffix(TEMPLATE) else {
            let hint = format!("name it after the file that it makes, such as `paper.md{TEMPLATE}`");
            log.error(node.place, format!("`{text}` does not end in `{TEMPLATE}`"), hint);
            continue;
        };
        let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if Path::new(text).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
        {
            let hint = "name a template in the experiment's folder, or below it".to_owned();
            log.error(node.place, format!("`{text}` leads out of the experiment's folder"), hint);
        } else if MARKUP.iter().any(|extension| name.to_lowercase().ends_with(extension)) {
            let hint = "documents are Markdown (`.md`), LaTeX (`.tex`) or plain text".to_owned();
            log.error(node.place, format!("`{text}` renders to a language without escapes"), hint);
        } else if name.is_empty() || TAKEN.contains(&name) {
            log.error(node.place, format!("the report has its own file `{name}`"), None);
        } else if made.contains(&name) {
            log.error(node.place, format!("two templates render to `{name}`"), None);
        } else {
            made.push(name);
        }
    }
    let all = section.get("documents").map(Node::list).unwrap_or_default();
    all.iter().filter_map(Node::text).map(str::to_owned).collect()
}

/// The leading metrics.
pub(crate) fn metrics(log: &mut Log, root: &Node) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for node in root.at("report.metrics").map(Node::list).unwrap_or_default() {
        let Some(name) = node.text() else { continue };
        if let Some(Wrong { message, suggestion }) = claim_metric::check(name) {
            log.error(node.place, message, suggestion);
            continue;
        }
        // The default prefix.
        let full = if name.contains('.') { name.to_owned() } else { format!("final.{name}") };
        if names.contains(&full) {
            log.error(node.place, format!("`{name}` is listed twice"), None);
        } else {
            names.push(full);
        }
    }
    names
}

/// The baselines, each a value of an axis of the grid.
pub(crate) fn baseline(log: &mut Log, root: &Node, cells: &[Resolved], search: Option<&Search>) -> Cell {
    let Some(section) = root.at("report.baseline") else { return Cell::new() };
    let names: Vec<&str> =
        cells.iter().take(1).flat_map(|cell| cell.cell.keys()).map(String::as_str).collect();
    let mut named = Cell::new();
    for (key, node) in conditions::entries(section) {
        if key.name == "seed" {
            let hint = "leave it out: the report compares runs of equal seed".to_owned();
            log.error(key.place, "a seed cannot be a baseline", hint);
        } else if search.is_some_and(|search| search.keys.contains(&key.name)) {
            let hint = format!("list the values to compare as an axis: axes.{} = […]", key.name);
            log.error(
                key.place,
                format!("`{}` is searched: the report has its best value only", key.name),
                hint,
            );
        } else if matches!(node.value, Value::List(_)) {
            log.error(node.place, format!("`{}` has one baseline, found a list", key.name), None);
        } else {
            let values = || cells.iter().filter_map(|resolved| resolved.cell.get(&key.name));
            if conditions::check(log, (&key, std::slice::from_ref(node)), &names, values().cloned(), meets) {
                let wanted = node.json();
                named.extend(values().find(|ours| meets(ours, &wanted)).map(|ours| (key.name, ours.clone())));
            }
        }
    }
    named
}
