//! Claims: kept as the file states them, checked so that the report can read them.

use serde_json::Value as Json;

use crate::axes::{label, same};
use crate::mistake::Log;
use crate::resolve::Resolved;
use crate::suggest;
use crate::tree::Node;
use crate::walk::{Slot, walk};

/// Checks every claim by itself.
pub(crate) fn read(log: &mut Log, root: &Node) -> Json {
    let Some(node) = root.get("claims") else { return Json::Array(Vec::new()) };
    let schema = serde_json::json!({ "type": "array", "items": { "$ref": "#/$defs/Claim" } });
    if !walk(log, node, &schema, Slot { owner: "", key: "claims" }) {
        return Json::Array(Vec::new());
    }
    let mut ids: Vec<&str> = Vec::new();
    for claim in node.list() {
        if let Some((_, id)) = claim.entry("id") {
            let text = id.text().unwrap_or_default();
            if ids.contains(&text) {
                log.error(id.place, format!("two claims are called `{text}`"), None);
            }
            ids.push(text);
        }
        complete(log, claim);
    }
    node.json()
}

/// A claim needs something to be held against and a way to compare.
fn complete(log: &mut Log, claim: &Node) {
    let has = |key| claim.get(key).is_some();
    if !has("value") && !has("than") {
        let hint = "give `value`, or `than` with the coordinates of other arms".to_owned();
        log.error(claim.place, "the claim has nothing to be held against", hint);
    }
    let compare = claim.get("compare").and_then(Node::text);
    let within = matches!(compare, None | Some("=" | "within" | "about"));
    if within && !has("tolerance") {
        let hint = "give `tolerance`, or `compare = \">=\"`, \">\", \"<=\" or \"<\"".to_owned();
        log.error(claim.place, "the claim has no way to compare", hint);
    }
    if !within && let Some(tolerance) = claim.get("tolerance") {
        log.error(
            tolerance.place,
            "a comparison by order takes no tolerance",
            "shift `value` instead".to_owned(),
        );
    }
    if let Some(tolerance) = claim.get("tolerance").filter(|node| node.number().is_some_and(|x| x < 0.0)) {
        log.error(tolerance.place, "`tolerance` is below 0", None);
    }
}

/// Checks that claims speak of cells that the grid has.
pub(crate) fn check_places(log: &mut Log, root: &Node, cells: &[Resolved]) {
    let Some(first) = cells.first() else { return };
    for claim in root.get("claims").map(Node::list).unwrap_or_default() {
        let coordinates =
            ["where", "than"].into_iter().filter_map(|key| claim.get(key)).flat_map(Node::table);
        for (key, node) in coordinates {
            let names = || first.cell.keys().map(String::as_str);
            if !names().any(|name| name == key.name) {
                log.error(
                    key.place,
                    format!("`{}` is no axis of this grid", key.name),
                    suggest::among(&key.name, names()),
                );
                continue;
            }
            let wanted = node.json();
            let on = key.name == "monitor" && wanted == "on";
            let mut known: Vec<String> = Vec::new();
            let found = cells.iter().filter_map(|resolved| resolved.cell.get(&key.name)).any(|value| {
                if !known.contains(&label(value)) {
                    known.push(label(value));
                }
                same(value, &wanted) || (on && value != "off")
            });
            if !found {
                let hint = suggest::among(&label(&wanted), known.iter().map(String::as_str));
                log.error(node.place, format!("no cell has `{}` = `{}`", key.name, label(&wanted)), hint);
            }
        }
    }
}
