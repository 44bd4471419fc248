//! Selection of cells by `--filter` and `--seeds`.

use std::collections::{BTreeMap, BTreeSet};

use lrlab_runs::Search;
use lrlab_search::TRIAL;
use serde_json::Value as Json;

use crate::cell_values::same;
use crate::conditions;
use crate::coordinate::meets;
use crate::mistake::Log;
use crate::resolve::Resolved;
use crate::tree::{Key, Place, parse_argument};

const FILTER: &str = "--filter ";
const SEEDS: &str = "--seeds ";

/// The matching cells. Values of the same key are alternatives; filters of different keys must all match.
pub(crate) fn select(
    log: &mut Log,
    cells: &[Resolved],
    search: Option<&Search>,
    filters: &[String],
    seeds: Option<usize>,
) -> Vec<usize> {
    let wanted: Vec<(String, Json)> =
        filters.iter().filter_map(|argument| condition(log, cells, search, argument)).collect();
    let (given_seeds, seeds) = (seeds, seeds.map(|n| first_seeds(log, cells, n)));
    let fits = |resolved: &Resolved| {
        let by_filter = wanted.iter().all(|(key, _)| {
            let either = wanted.iter().filter(|(other, _)| other == key);
            conditions::any(coordinate(resolved, key), either.map(|(_, value)| value.clone()))
        });
        let seed = resolved.cell.get("seed");
        by_filter && seeds.as_ref().is_none_or(|seeds| seed.is_some_and(|seed| seeds.contains(seed)))
    };
    let chosen: Vec<usize> = (0..cells.len()).filter(|index| fits(&cells[*index])).collect();
    if log.has_errors() || cells.is_empty() {
        return chosen;
    }
    let given = |log: &mut Log| {
        let filters = filters.iter().map(|filter| format!("{FILTER}{filter}"));
        let options: Vec<String> = filters.chain(given_seeds.map(|n| format!("{SEEDS}{n}"))).collect();
        let source = log.argument("", &options.join(" "));
        Place { source: Some(source), start: 0, end: log.sources[source].text.len() }
    };
    if chosen.is_empty() {
        let place = given(log);
        log.error(place, "no cell matches all of these", None);
    } else if let Some(search) = search {
        let ranking = trials(cells, &chosen)
            .into_iter()
            .map(|seeds| seeds.into_iter().take(search.seeds.max(1)).collect::<Vec<_>>());
        let mut incomplete = ranking.filter(|seeds| !seeds.iter().all(|(_, is_chosen)| *is_chosen));
        if let Some(ranking) = incomplete.next() {
            let list: Vec<String> = ranking.iter().map(|(seed, _)| seed.to_string()).collect();
            let message = format!(
                "the search ranks trials by the seeds {}: without one of them, other trials would win",
                list.join(", ")
            );
            let place = given(log);
            log.error(place, message, "select all of them".to_owned());
        }
    }
    chosen
}

/// The trials that a selection contains at least in part: their seeds in the order of the cells, and whether they are chosen.
fn trials(cells: &[Resolved], chosen: &[usize]) -> Vec<Vec<(Json, bool)>> {
    let chosen: BTreeSet<usize> = chosen.iter().copied().collect();
    let mut all: BTreeMap<String, Vec<(Json, bool)>> = BTreeMap::new();
    for (index, resolved) in cells.iter().enumerate() {
        let mut cell = resolved.cell.clone();
        let Some(seed) = cell.remove("seed") else { continue };
        let key = serde_json::to_string(&cell).unwrap_or_default();
        all.entry(key).or_default().push((seed, chosen.contains(&index)));
    }
    all.into_values().filter(|seeds| seeds.iter().any(|(_, is_chosen)| *is_chosen)).collect()
}

fn coordinate(resolved: &Resolved, name: &str) -> Option<Json> {
    conditions::of_run(&resolved.cell, || serde_json::to_value(&resolved.spec).ok(), name)
}

fn condition(
    log: &mut Log,
    cells: &[Resolved],
    search: Option<&Search>,
    argument: &str,
) -> Option<(String, Json)> {
    let source = log.argument(FILTER, argument);
    let whole = Place { source: Some(source), start: FILTER.len(), end: FILTER.len() + argument.len() };
    let (keys, node) = match parse_argument(argument, source, FILTER.len()) {
        Ok(parsed) => parsed,
        Err(message) => {
            log.error(whole, message, None);
            return None;
        }
    };
    let name = keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(".");
    let place = Place { end: keys.last().map_or(whole.end, |key| key.place.end), ..whole };
    if search.is_some_and(|search| name == TRIAL || search.keys.iter().any(|key| same(key, &name))) {
        log.error(place, format!("`{name}` is searched: an arm's trials are ranked together"), None);
        return None;
    }
    let names: Vec<&str> =
        cells.first().into_iter().flat_map(|resolved| resolved.cell.keys()).map(String::as_str).collect();
    let key = Key { name, place };
    let found = cells.iter().filter_map(|resolved| coordinate(resolved, &key.name));
    conditions::check(log, (&key, std::slice::from_ref(&node)), &names, found, meets)
        .then(|| (key.name, node.json()))
}

/// The first `n` seeds in the order of the cells.
fn first_seeds(log: &mut Log, cells: &[Resolved], n: usize) -> Vec<Json> {
    let mut seeds: Vec<Json> = Vec::new();
    for seed in cells.iter().filter_map(|resolved| resolved.cell.get("seed")) {
        if !seeds.contains(seed) {
            seeds.push(seed.clone());
        }
    }
    if n == 0 || n > seeds.len() {
        let source = log.argument(SEEDS, &n.to_string());
        let end = log.sources[source].text.len();
        let place = Place { source: Some(source), start: SEEDS.len(), end };
        log.error(
            place,
            format!("the experiment has {} seeds", seeds.len()),
            format!("give 1 … {}", seeds.len()),
        );
    }
    seeds.truncate(n);
    seeds
}
