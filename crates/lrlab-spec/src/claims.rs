//! Claims, which are checked and passed to the report unchanged.

use serde_json::Value as Json;

use crate::claim_metric;
use crate::conditions;
use crate::coordinate::meets;
use crate::mistake::Log;
use crate::ranges::Wrong;
use crate::resolve::Resolved;
use crate::tree::Node;
use crate::walk::walk;

/// Keys of a claim that contain coordinates.
const PLACES: [&str; 2] = ["where", "than"];

/// Checks every claim on its own.
pub(crate) fn read(log: &mut Log, root: &Node) -> Json {
    let Some(node) = root.get("claims") else { return Json::Array(Vec::new()) };
    let schema = serde_json::json!({ "type": "array", "items": { "$ref": "#/$defs/Claim" } });
    let mut good = walk(log, node, &schema, "claims");
    for metric in node.list().iter().filter_map(|claim| claim.get("metric")) {
        if let Some(Wrong { message, suggestion }) = metric.text().and_then(claim_metric::check) {
            log.error(metric.place, message, suggestion);
            good = false;
        }
    }
    if !good {
        return Json::Array(Vec::new());
    }
    let mut ids: Vec<&str> = Vec::new();
    for claim in node.list() {
        if let Some((_, id)) = claim.entry("id") {
            let text = id.text().unwrap_or_default();
            if ids.contains(&text) {
                log.error(id.place, format!("duplicate claim `{text}`"), None);
            }
            ids.push(text);
        }
        complete(log, claim);
    }
    Json::Array(node.list().iter().map(stated).collect())
}

/// Checks that a claim has a reference value and a comparison.
fn complete(log: &mut Log, claim: &Node) {
    let has = |key| claim.get(key).is_some();
    if !has("value") && !has("than") {
        let hint = "give `value`, or `than` with the coordinates of other arms".to_owned();
        log.error(claim.place, "the claim has no reference value", hint);
    }
    let compare = claim.get("compare").and_then(Node::text);
    let within = matches!(compare, None | Some("=" | "within" | "about"));
    if within && !has("tolerance") {
        let hint = "give `tolerance`, or `compare = \">=\"`, \">\", \"<=\" or \"<\"".to_owned();
        log.error(claim.place, "the claim has no comparison", hint);
    }
    if !within && let Some(tolerance) = claim.get("tolerance") {
        log.error(tolerance.place, "an inequality has no tolerance", "shift `value` instead".to_owned());
    }
    if within && let Some(margin) = claim.get("margin") {
        log.error(
            margin.place,
            "a claim with a tolerance has no margin",
            "remove `margin`, or compare by an inequality".to_owned(),
        );
    }
}

/// Checks that the coordinates of claims match cells of the grid.
pub(crate) fn check_places(log: &mut Log, root: &Node, cells: &[Resolved]) {
    let Some(first) = cells.first() else { return };
    let names: Vec<&str> = first.cell.keys().map(String::as_str).collect();
    for claim in root.get("claims").map(Node::list).unwrap_or_default() {
        let coordinates = PLACES.into_iter().filter_map(|key| claim.get(key)).flat_map(conditions::entries);
        for (key, node) in coordinates {
            let monitor = key.name == "monitor";
            let meets = |ours: &Json, wanted: &Json| {
                meets(ours, wanted) || (monitor && wanted == "on" && ours != "off")
            };
            let found = cells.iter().filter_map(|resolved| resolved.cell.get(&key.name)).cloned();
            conditions::check(log, (&key, std::slice::from_ref(node)), &names, found, meets);
        }
    }
}

/// A claim in the form that the report reads, with each coordinate under one key.
fn stated(claim: &Node) -> Json {
    let mut json = claim.json();
    for place in PLACES {
        if let (Some(node), Some(slot)) = (claim.get(place), json.get_mut(place)) {
            *slot =
                conditions::entries(node).into_iter().map(|(key, node)| (key.name, node.json())).collect();
        }
    }
    json
}
