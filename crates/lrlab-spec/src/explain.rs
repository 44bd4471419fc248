//! Lists every value of a run with its origin.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::coordinate::{LR_SCALE, label};
use crate::mistake::Log;
use crate::resolve::Resolved;
use crate::tree::{Node, Place};

/// `key = value  # origin`, one line per value; the origin of a key that the experiment does not set is `default`. `tree` has
/// the rate before `scale`, the factor of the optimizer, which is part of the rate's origin.
pub(crate) fn explain(log: &Log, resolved: &Resolved, tree: &Node, scale: Option<&Node>) -> String {
    let mut lines = Vec::new();
    leaves("", &serde_json::to_value(&resolved.spec).unwrap_or_default(), &mut lines);
    let width = lines.iter().map(|(path, value)| path.len() + value.len()).max().unwrap_or(0);
    let cell: Vec<String> =
        resolved.cell.iter().map(|(key, value)| format!("{key}={}", label(value))).collect();
    let mut text = format!("# {}\n", cell.join(" "));
    for (path, value) in lines {
        let mut origin = given(tree, &path).map_or_else(|| "default".to_owned(), |place| log.describe(place));
        if let Some(scale) = scale.filter(|_| path == "lr") {
            let number = |node: &Node| label(&node.json());
            let base = tree.get("lr").map(number).unwrap_or_default();
            let _ = write!(origin, ", {base} × {LR_SCALE} {} ({})", number(scale), log.describe(scale.place));
        }
        let pad = width - path.len() - value.len();
        let _ = writeln!(text, "{path} = {value}{:pad$}  # {origin}", "");
    }
    text
}

/// The place of a given value, or of the `"off"` that disabled its table.
fn given(tree: &Node, path: &str) -> Option<Place> {
    tree.at(path).map(|node| node.place)
}

fn leaves(path: &str, json: &Json, lines: &mut Vec<(String, String)>) {
    match json {
        Json::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(&path, value, lines);
            }
        }
        Json::Null => lines.push((path.to_owned(), "none".to_owned())),
        Json::Object(_) => lines.push((path.to_owned(), "{}".to_owned())),
        _ => lines.push((path.to_owned(), json.to_string())),
    }
}
