//! From axes to the points of the grid, in their fixed order.

use std::sync::Arc;

use crate::axes::{self, Axis, label, same};
use crate::definitions::Definitions;
use crate::mistake::Log;
use crate::resolve::chosen;
use crate::suggest;
use crate::tree::{Key, Node, Place, Value};

/// A coordinate; the cells along an axis share it.
pub(crate) type Coordinate = Arc<(Key, Node)>;

/// One cell's coordinates.
pub(crate) type Point = Vec<Coordinate>;

/// More cells than anyone means.
pub(crate) const MOST_CELLS: usize = 100_000;

/// The product of the axes without what is excluded, then what is included.
pub(crate) fn points(log: &mut Log, root: &Node, axes: &[Axis], definitions: &Definitions) -> Vec<Point> {
    let groups = axes::groups(log, root, axes);
    let sides: Vec<Vec<Point>> = groups.iter().map(|group| side(axes, group)).collect();
    let place = root.get("axes").map_or(root.place, |node| node.place);
    let mut points = product(log, &sides, place);
    exclude(log, root, axes, definitions, &mut points);
    for entry in entries(root, "include") {
        let Some(sides) = include(log, entry, axes, &groups, definitions) else { continue };
        points.extend(product(log, &sides, entry.place));
    }
    points
}

fn entries<'a>(root: &'a Node, key: &str) -> &'a [Node] {
    root.get(key).map(Node::list).unwrap_or_default()
}

/// The values of axes that advance together.
fn side(axes: &[Axis], group: &[usize]) -> Vec<Point> {
    let length = group.iter().map(|index| axes[*index].values.len()).min().unwrap_or(0);
    let at = |i: usize| {
        group
            .iter()
            .map(|index| Arc::new((axes[*index].key.clone(), axes[*index].values[i].clone())))
            .collect()
    };
    (0..length).map(at).collect()
}

/// Every choice of one from each side, the last side fastest.
fn product(log: &mut Log, sides: &[Vec<Point>], place: Place) -> Vec<Point> {
    let count = sides.iter().try_fold(1_usize, |count, side| count.checked_mul(side.len()));
    if count.is_none_or(|count| count > MOST_CELLS) {
        let count =
            count.map_or_else(|| "more cells than can be counted".to_owned(), |n| format!("{n} cells"));
        log.error(place, format!("the axes make {count}: at most {MOST_CELLS}"), None);
        return Vec::new();
    }
    sides.iter().fold(vec![Vec::new()], |points, side| {
        let extend = |point: &Point| -> Vec<Point> {
            side.iter().map(|more| point.iter().chain(more).cloned().collect()).collect()
        };
        points.iter().flat_map(extend).collect()
    })
}

/// The values of a condition: one, or a list of them.
fn values(node: &Node) -> &[Node] {
    if let Value::List(items) = &node.value { items } else { std::slice::from_ref(node) }
}

/// The coordinate of a point along an axis; the data set is the model's.
fn coordinate<'a>(point: &'a Point, name: &str, definitions: &'a Definitions) -> Option<&'a Node> {
    if name != "dataset" {
        return chosen(point, name);
    }
    definitions.model(chosen(point, "model")?.text()?)?.get("data")
}

fn exclude(log: &mut Log, root: &Node, axes: &[Axis], definitions: &Definitions, points: &mut Vec<Point>) {
    let all = points.clone();
    for entry in entries(root, "exclude") {
        if !conditions(log, entry, axes, &all, definitions) {
            continue;
        }
        let fits = |point: &Point| {
            entry.table().iter().all(|(key, node)| {
                let Some(ours) = coordinate(point, &key.name, definitions) else { return false };
                values(node).iter().any(|value| same(&value.json(), &ours.json()))
            })
        };
        if !all.iter().any(fits) {
            log.error(entry.place, "this excludes no cell of the grid", None);
        }
        points.retain(|point| !fits(point));
    }
}

/// Whether a condition speaks of the grid's axes and values.
fn conditions(log: &mut Log, entry: &Node, axes: &[Axis], all: &[Point], definitions: &Definitions) -> bool {
    let mut good = !entry.table().is_empty();
    if !good {
        log.error(entry.place, "this names no coordinates", None);
    }
    for (key, node) in entry.table() {
        let names = || axes.iter().map(Axis::name).chain(["dataset"]);
        if !names().any(|name| name == key.name) {
            let hint = suggest::among(&key.name, names().collect::<Vec<_>>());
            log.error(key.place, format!("`{}` is no axis of this grid", key.name), hint);
            good = false;
            continue;
        }
        for value in values(node) {
            let json = value.json();
            let mut known: Vec<String> = Vec::new();
            for point in all {
                let Some(ours) = coordinate(point, &key.name, definitions).map(Node::json) else { continue };
                let label = if same(&ours, &json) { label(&json) } else { label(&ours) };
                if !known.contains(&label) {
                    known.push(label);
                }
            }
            if !known.contains(&label(&json)) {
                let hint =
                    suggest::among(&label(&json), known.iter().map(String::as_str).collect::<Vec<_>>());
                log.error(value.place, format!("no cell has `{}` = `{}`", key.name, label(&json)), hint);
                good = false;
            }
        }
    }
    good
}

/// The sides of an entry's own product: its values where it has some, the axes' otherwise; axes that advance together
/// still do where it names none of them.
fn include(
    log: &mut Log,
    entry: &Node,
    axes: &[Axis],
    groups: &[Vec<usize>],
    definitions: &Definitions,
) -> Option<Vec<Vec<Point>>> {
    let mut good = true;
    for (key, _) in entry.table() {
        if !axes.iter().any(|axis| axis.name() == key.name) {
            let hint = suggest::among(&key.name, axes.iter().map(Axis::name).collect::<Vec<_>>());
            log.error(key.place, format!("`{}` is no axis of this grid", key.name), hint);
            good = false;
        }
    }
    let mut sides = Vec::new();
    for group in groups {
        if group.iter().all(|index| entry.entry(axes[*index].name()).is_none()) {
            sides.push(side(axes, group));
            continue;
        }
        for axis in group.iter().map(|index| &axes[*index]) {
            let Some((key, node)) = entry.entry(axis.name()) else {
                sides.push(axis.values.iter().map(|value| single(&axis.key, value.clone())).collect());
                continue;
            };
            let own: Vec<Node> = values(node)
                .iter()
                .filter_map(|node| axes::value(log, axis.name(), node, definitions))
                .collect();
            good &= own.len() == values(node).len();
            sides.push(own.into_iter().map(|node| single(key, node)).collect());
        }
    }
    good.then_some(sides)
}

fn single(key: &Key, node: Node) -> Point {
    vec![Arc::new((key.clone(), node))]
}
