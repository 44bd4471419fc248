//! The product of the grid's points with the trials of their arms.

use std::collections::BTreeMap;
use std::sync::Arc;

use lrlab_search::{Space, TRIAL};
use serde_json::Value as Json;

use super::Rules;
use super::spec::MethodSpec;
use crate::coordinate::{Point, chosen};
use crate::definitions::Definitions;
use crate::effect;
use crate::expand::MOST_CELLS;
use crate::mistake::Log;
use crate::resolve::{applies, named_parts};
use crate::tree::{Key, Node};

/// The points of the grid, each with every trial of its arm. All arms have the same number of trials.
pub(crate) fn trials(
    log: &mut Log,
    rules: &Rules,
    points: &[Point],
    definitions: &Definitions,
) -> Vec<Point> {
    let mut of_arm: BTreeMap<[String; 4], Vec<Point>> = BTreeMap::new();
    let (mut used, mut all) = (vec![false; rules.spaces.len()], Vec::new());
    let mut whys: BTreeMap<&str, String> = BTreeMap::new();
    let words = |arm: &[String; 4]| {
        arm.iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join(" / ")
    };
    for point in points {
        let name = |axis: &str| chosen(point, axis).and_then(Node::text).unwrap_or_default().to_owned();
        let arm = [name("model"), name("schedule"), name("monitor"), name("optimizer")];
        if !of_arm.contains_key(&arm) {
            let Some(tree) = named_parts(point, definitions) else { continue };
            let idle = effect::of_parts(&tree);
            let idle = |key: &Key| idle.iter().find(|idle| idle.covers(&key.name));
            let open: Vec<bool> = rules
                .spaces
                .iter()
                .map(|(key, _)| applies(&tree, &key.name) && idle(key).is_none())
                .collect();
            for (key, why) in rules.spaces.iter().filter_map(|(key, _)| Some((key, &idle(key)?.why))) {
                whys.entry(&key.name).or_insert_with(|| why.clone());
                // An arm that does not search the rate still needs one.
                if key.name == "lr" && tree.get("lr").is_none() && !log.has_error_at(key.place) {
                    let words = words(&arm);
                    let message =
                        format!("`lr` is not searched for `{words}`, where it has no effect: {why}");
                    log.error(key.place, message, "give `lr` in [defaults] too".to_owned());
                }
            }
            used.iter_mut().zip(&open).for_each(|(used, open)| *used |= open);
            let Some(trials) = of_one(log, rules, &open, &words(&arm)) else { return Vec::new() };
            of_arm.insert(arm.clone(), trials);
        }
        let trials = &of_arm[&arm];
        if all.len() + trials.len() > MOST_CELLS {
            log.error(rules.place, format!("the search makes more than {MOST_CELLS} runs"), None);
            return Vec::new();
        }
        all.extend(trials.iter().map(|trial| point.iter().chain(trial).cloned().collect::<Point>()));
    }
    for ((key, _), _) in rules.spaces.iter().zip(&used).filter(|(_, used)| !**used) {
        if log.has_error_at(key.place) {
            continue;
        }
        match whys.get(key.name.as_str()) {
            Some(why) => {
                log.error(key.place, format!("`{}` has no effect in any run: {why}", key.name), None);
            }
            None => log.error(key.place, format!("no run of the grid has `{}`", key.name), None),
        }
    }
    let counts =
        |(arm, trials): (&[String; 4], &Vec<Point>)| format!("{} for `{}`", trials.len(), words(arm));
    let fewest = of_arm.iter().min_by_key(|(_, trials)| trials.len());
    let most = of_arm.iter().max_by_key(|(_, trials)| trials.len());
    if let (Some(fewest), Some(most)) = (fewest, most)
        && fewest.1.len() < most.1.len()
    {
        let message =
            format!("arms would have different numbers of trials: {}, {}", counts(fewest), counts(most));
        let hint =
            "set `trials` (of `random` or `halving`), the number of points drawn for every arm".to_owned();
        log.error(rules.place, message, hint);
    }
    all
}

/// The trials of one arm, from the spaces of its keys.
fn of_one(log: &mut Log, rules: &Rules, open: &[bool], arm: &str) -> Option<Vec<Point>> {
    let spaces: Vec<&(Key, Space)> =
        rules.spaces.iter().zip(open).filter(|(_, open)| **open).map(|(space, _)| space).collect();
    let named: Vec<(String, Space)> =
        spaces.iter().map(|(key, space)| (key.name.clone(), space.clone())).collect();
    let trials = match &rules.method {
        MethodSpec::Grid(_) => None,
        MethodSpec::Random(random) => Some(random.trials),
        MethodSpec::Halving(halving) => halving.trials,
    };
    // Counted before any point is made.
    let count = trials.or_else(|| lrlab_search::points(&named));
    if count.is_some_and(|count| count > MOST_CELLS) {
        log.error(rules.place, format!("the search makes more than {MOST_CELLS} runs"), None);
        return None;
    }
    let drawn = if let Some(trials) = trials {
        let drawn = lrlab_search::draw(&named, trials, rules.seed).ok();
        if drawn.is_none() {
            let message = format!("the space holds fewer than {trials} points for `{arm}`");
            log.error(rules.place, message, "use fewer trials or a larger space".to_owned());
        }
        drawn?
    } else {
        for (key, _) in spaces.iter().filter(|(_, space)| space.values().is_none()) {
            let message = format!("the values of `{}` cannot be counted", key.name);
            let hint =
                "set `points` of its range, or `trials` of the method (`random` or `halving`)".to_owned();
            log.error(key.place, message, hint);
        }
        lrlab_search::grid(&named).ok()?
    };
    let place = rules.place;
    let number = Key { name: TRIAL.to_owned(), place };
    let point = |(index, values): (usize, Vec<Json>)| -> Point {
        let trial = (number.clone(), Node { place, ..Node::built_in(&Json::from(index)) });
        let values = values
            .iter()
            .zip(&spaces)
            .map(|(value, (key, _))| (key.clone(), Node { place: key.place, ..Node::built_in(value) }));
        std::iter::once(trial).chain(values).map(Arc::new).collect()
    };
    Some(drawn.into_iter().enumerate().map(point).collect())
}
