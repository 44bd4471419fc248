//! The values of searched keys.

use lrlab_search::Space;
use serde_json::Value as Json;

use crate::axes::{Axis, typed};
use crate::coordinate::{label, same};
use crate::mistake::Log;
use crate::schema::{branches, definition};
use crate::suggest;
use crate::tree::{Key, Node, Value};
use crate::walk::{Target, target, type_of, walk};

/// Keys that a search cannot vary, with the reason.
const FIXED: [(&str, &str); 2] =
    [("epochs", "it is the common budget of the trials"), ("select", "it selects the epoch that counts")];

/// Reads the spaces of a table, in which unquoted dotted keys are nested tables. Returns whether there was no error.
pub(super) fn read(
    log: &mut Log,
    table: &Node,
    path: &str,
    axes: &[Axis],
    spaces: &mut Vec<(Key, Space)>,
) -> bool {
    let mut good = true;
    for (key, node) in table.table() {
        let name = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
        let fixed = FIXED.iter().find(|(fixed, _)| *fixed == name);
        let found = match target(&name) {
            Ok(_) if axes.iter().any(|axis| axis.name() == name) => {
                log.error(
                    key.place,
                    format!("`{name}` is an axis of the grid and cannot also be searched"),
                    None,
                );
                None
            }
            Ok(_) if fixed.is_some() => {
                let why = fixed.map_or("", |(_, why)| why);
                log.error(key.place, format!("`{name}` cannot be searched: {why}"), None);
                None
            }
            Ok(target) => values(log, &name, node, &target),
            Err(_) if name == "seed" => {
                log.error(key.place, "`seed` cannot be searched: it is random, not a setting", None);
                None
            }
            Err(allowed) if target_below(&name) && is_table(node) && !allowed.is_empty() => {
                good &= read(log, node, &name, axes, spaces);
                continue;
            }
            Err(allowed) => {
                let hint = suggest::among(&key.name, allowed.iter().copied());
                log.error(key.place, format!("`{name}` is not a searchable key"), hint);
                None
            }
        };
        // What remains are limits of the search itself, such as that of `points`.
        let checked = found.and_then(|space| match space.check(&name) {
            Ok(()) => Some(space),
            Err(error) => {
                log.error(key.place, error.to_string(), None);
                None
            }
        });
        match checked {
            Some(space) => spaces.push((Key { name, place: key.place }, space)),
            None => good = false,
        }
    }
    good
}

/// Returns whether a path can be extended by keys.
fn target_below(path: &str) -> bool {
    let Err(allowed) = target(path) else { return false };
    allowed.iter().any(|key| match target(&format!("{path}.{key}")) {
        Ok(_) => true,
        Err(deeper) => deeper != allowed,
    })
}

fn is_table(node: &Node) -> bool {
    matches!(node.value, Value::Table(_))
}

/// The possible values of a key.
fn values(log: &mut Log, name: &str, node: &Node, target: &Target<'_>) -> Option<Space> {
    if !walk(log, node, definition("SpaceSpec"), name) {
        return None;
    }
    let (kind, inner) = node.table().first()?;
    if kind.name == "choice" {
        return choice(log, name, inner, target);
    }
    let types: Vec<&str> =
        std::iter::once(target.schema).chain(branches(target.schema)).filter_map(type_of).collect();
    let whole = types.contains(&"integer");
    if !whole && !types.contains(&"number") {
        let hint = format!("write {name} = {{ choice = […] }}");
        log.error(kind.place, format!("`{name}` is not a number, so it has no range"), hint);
        return None;
    }
    let mut ends = Vec::new();
    for key in ["min", "max"] {
        let end = inner.get(key)?;
        if !walk(log, end, target.schema, target.key) {
            return None;
        }
        ends.push((end, end.number()?));
    }
    let ((_, min), (end, max)) = (ends[0], ends[1]);
    if min >= max {
        log.error(end.place, format!("`max` is {max}: expected a number above `min`, which is {min}"), None);
        return None;
    }
    let points = inner.get("points").and_then(Node::number).map(|points| points as usize);
    if kind.name == "linear" {
        return Some(Space::Linear { min, max, points, whole });
    }
    if min <= 0.0 {
        let place = ends[0].0.place;
        log.error(place, format!("`min` is {min}: a logarithm needs a number above 0"), None);
        return None;
    }
    Some(Space::Log { min, max, points, whole })
}

fn choice(log: &mut Log, name: &str, list: &Node, target: &Target<'_>) -> Option<Space> {
    if list.list().is_empty() {
        log.error(list.place, format!("the choice is empty for `{name}`"), None);
        return None;
    }
    let checked: Vec<Option<Json>> = list
        .list()
        .iter()
        .map(|item| walk(log, item, target.schema, target.key).then(|| typed(item, target.schema).json()))
        .collect();
    let values: Vec<Json> = checked.into_iter().collect::<Option<_>>()?;
    for (i, value) in values.iter().enumerate() {
        if values[..i].iter().any(|earlier| same(earlier, value)) {
            let place = list.list()[i].place;
            log.error(place, format!("`{}` occurs twice in the choice of `{name}`", label(value)), None);
            return None;
        }
    }
    Some(Space::Choice(values))
}
