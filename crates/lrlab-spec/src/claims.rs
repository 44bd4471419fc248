//! Claims, which are checked and passed to the report unchanged.

use std::collections::{BTreeMap, BTreeSet};

use lrlab_runs::Cell;
use lrlab_search::TRIAL;
use serde_json::Value as Json;

use crate::claim_metric;
use crate::conditions;
use crate::coordinate::{OFF, label, meets};
use crate::expand::NO_CELL;
use crate::mistake::Log;
use crate::ranges::Wrong;
use crate::resolve::Resolved;
use crate::suggest;
use crate::tree::{Key, Node, Value};
use crate::walk::walk;

const SEED: &str = "seed";

/// The number of arms that a warning names.
const MOST_ARMS: usize = 3;

/// Axes whose values validate on different examples.
const VALIDATION: [&str; 3] = ["data.validation", "data.split_seed", "data.limit.validation"];

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
    let expect = claim.get("expect").filter(|node| node.text() == Some("equivalent"));
    if let Some(expect) = expect.filter(|_| within || !has("margin")) {
        let (what, hint) = if within {
            ("a tolerance", "a value within its tolerance is \"supported\"")
        } else {
            ("no margin", "give `margin`, the largest difference that counts as none")
        };
        log.error(expect.place, format!("a claim with {what} is never equivalent"), hint.to_owned());
    }
}

/// Checks that there are arms that every claim covers, and arms to compare them with.
pub(crate) fn check_places(log: &mut Log, root: &Node, cells: &[Resolved], searched: &[String]) {
    let claims = root.get("claims").map(Node::list).unwrap_or_default();
    let Some(first) = cells.first().filter(|_| !claims.is_empty()) else { return };
    let names: Vec<&str> = first.cell.keys().map(String::as_str).filter(|name| *name != SEED).collect();
    let arms = arms(cells, searched);
    // `on` is every monitor, unless a monitor has that name.
    let on = cells.iter().all(|resolved| resolved.cell.get("monitor").is_none_or(|name| name != "on"));
    let meets = |name: &str, ours: &Json, wanted: &Json| {
        meets(ours, wanted) || (on && name == "monitor" && wanted == "on" && ours != OFF)
    };
    for claim in claims {
        let places = PLACES.map(|key| claim.get(key));
        let mut good = true;
        for (key, node) in places.into_iter().flatten().flat_map(conditions::entries) {
            let name = key.name.as_str();
            if name == TRIAL || searched.contains(&key.name) {
                let (message, hint) = if name == TRIAL {
                    let message = "`trial` numbers the points of the search: an arm has the best one only";
                    (message.to_owned(), "leave it out".to_owned())
                } else {
                    (
                        format!(
                            "`{name}` is searched: an arm has its best value only, which no claim can select"
                        ),
                        format!("leave it out, or list the values to compare as an axis: axes.{name} = […]"),
                    )
                };
                log.error(key.place, message, hint);
                good = false;
                continue;
            }
            let found = cells.iter().filter_map(|resolved| resolved.cell.get(name)).cloned();
            good &= is_single(log, &key, node)
                && conditions::check(
                    log,
                    (&key, std::slice::from_ref(node)),
                    &names,
                    found,
                    |ours, wanted| meets(name, ours, wanted),
                );
        }
        if !good {
            continue;
        }
        let has = |arm: &Cell, key: &Key, node: &Node| {
            arm.get(&key.name).is_some_and(|ours| meets(&key.name, ours, &node.json()))
        };
        let fits = |arm: &Cell, place: &Node| {
            conditions::entries(place).iter().all(|(key, node)| has(arm, key, node))
        };
        let [covered, than] = places.map(|place| {
            let found: Vec<&Cell> =
                arms.iter().filter(|arm| place.is_none_or(|place| fits(arm, place))).collect();
            if let Some(place) = place.filter(|_| found.is_empty()) {
                log.error(place.place, NO_CELL, None);
            }
            found
        });
        if let [_, Some(place)] = places
            && !covered.is_empty()
            && !than.is_empty()
        {
            compared(log, place, &covered, &than);
            same_examples(log, claim, place, &covered);
        }
    }
}

/// Checks that a coordinate of a claim is one value, and not a seed.
fn is_single(log: &mut Log, key: &Key, node: &Node) -> bool {
    if key.name == SEED {
        let hint =
            "leave it out: the runs of an arm, which differ in the seed, are judged together".to_owned();
        log.error(key.place, "a claim cannot select a seed", hint);
    } else if matches!(node.value, Value::List(_)) {
        let hint =
            "write a claim for each value; [[set]], [[exclude]] and [[include]] accept lists".to_owned();
        log.error(node.place, format!("`{}` has one value in a claim, found a list", key.name), hint);
    } else {
        return true;
    }
    false
}

/// The coordinates of the arms: those of the cells without the seed and what a search selects.
fn arms(cells: &[Resolved], searched: &[String]) -> Vec<Cell> {
    let arm = |resolved: &Resolved| -> Cell {
        let is_own = |key: &&String| *key != SEED && *key != TRIAL && !searched.contains(key);
        let own = resolved.cell.iter().filter(|(key, _)| is_own(key));
        own.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let mut seen = BTreeSet::new();
    cells.iter().map(arm).filter(|arm| seen.insert(format!("{arm:?}"))).collect()
}

/// Checks that every arm that the claim covers has a counterpart: another arm of `than` that agrees with it in all coordinates
/// that `place`, the value of `than`, does not give. Logs an error if none has one, and a warning if some do not.
fn compared(log: &mut Log, place: &Node, covered: &[&Cell], than: &[&Cell]) {
    let changed: Vec<String> = conditions::entries(place).into_iter().map(|(key, _)| key.name).collect();
    let kept = |arm: &Cell| {
        let kept = arm.iter().filter(|(key, _)| !changed.contains(key));
        format!("{:?}", kept.collect::<Vec<_>>())
    };
    let mut others: BTreeMap<String, Vec<&Cell>> = BTreeMap::new();
    for arm in than {
        others.entry(kept(arm)).or_default().push(arm);
    }
    let is_alone =
        |arm: &&Cell| others.get(&kept(arm)).is_none_or(|found| found.iter().all(|it| *it == *arm));
    let alone: Vec<&Cell> = covered.iter().copied().filter(is_alone).collect();
    if alone.is_empty() {
        return;
    }
    if alone.len() < covered.len() {
        let is_common = |key: &str| covered.iter().all(|arm| arm.get(key) == alone[0].get(key));
        let own = |arm: &&Cell| {
            let own = arm.iter().filter(|(key, _)| !is_common(key));
            own.map(|(key, value)| format!("{key} = {}", label(value))).collect::<Vec<_>>().join(", ")
        };
        let more = match alone.len().saturating_sub(MOST_ARMS) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let (has, is) = if alone.len() == 1 { ("has", "is") } else { ("have", "are") };
        let message = format!(
            "{} of {} arms {has} no counterpart in `than` and {is} never judged: {}{more}",
            alone.len(),
            covered.len(),
            alone.iter().take(MOST_ARMS).map(own).collect::<Vec<_>>().join("; ")
        );
        log.warn(place.place, message, "restrict `where` to arms that have one".to_owned());
    } else if covered.iter().any(|arm| than.contains(arm)) {
        let hint = "give it a coordinate that differs from those in `where`".to_owned();
        log.error(place.place, "`than` selects the same cells as `where`, so nothing is compared", hint);
    } else {
        let names = suggest::list(changed.iter().map(String::as_str));
        let message = format!("no cell of the grid differs from those in `where` only in {names}");
        let hint = "name in `than` each coordinate that differs".to_owned();
        log.error(place.place, message, hint);
    }
}

/// Logs a warning if the claim compares a validation metric of arms that validate on different examples.
fn same_examples(log: &mut Log, claim: &Node, than: &Node, covered: &[&Cell]) {
    let Some(metric) = claim.get("metric") else { return };
    let name = metric.text().unwrap_or_default();
    let measured = name.rsplit('.').next().unwrap_or_default();
    if !measured.starts_with("val_") && !measured.ends_with("_gap") {
        return;
    }
    let differs = |(key, node): &(Key, &Node)| {
        VALIDATION.contains(&key.name.as_str())
            && covered.iter().any(|arm| arm.get(&key.name).is_none_or(|ours| !meets(ours, &node.json())))
    };
    for (key, _) in conditions::entries(than).into_iter().filter(differs) {
        let message = format!(
            "`{name}` is measured on different examples in `where` and `than`, which differ in `{}`",
            key.name
        );
        log.warn(metric.place, message, "compare a metric of the test split".to_owned());
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
