//! Expands axes to the points of the grid, in their fixed order.

use std::sync::Arc;

use crate::axes::{self, Axis};
use crate::conditions::{self, Conditions};
use crate::coordinate::{Point, meets};
use crate::definitions::Definitions;
use crate::mistake::Log;
use crate::resolve::{coordinate, fits};
use crate::suggest;
use crate::tree::{Key, Node, Place};

/// The maximum number of cells.
pub(crate) const MOST_CELLS: usize = 100_000;

/// The error of conditions that can be met, but not together.
pub(crate) const NO_CELL: &str = "no cell of the grid matches";

/// The product of the axes without excluded cells, followed by included cells.
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

/// The entries of an array of tables.
pub(crate) fn entries<'a>(root: &'a Node, key: &str) -> &'a [Node] {
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
        let count = count.map_or_else(|| "too many cells to count".to_owned(), |n| format!("{n} cells"));
        log.error(place, format!("the axes give {count}: at most {MOST_CELLS}"), None);
        return Vec::new();
    }
    sides.iter().fold(vec![Vec::new()], |points, side| {
        let extend = |point: &Point| -> Vec<Point> {
            side.iter().map(|more| point.iter().chain(more).cloned().collect()).collect()
        };
        points.iter().flat_map(extend).collect()
    })
}

fn exclude(log: &mut Log, root: &Node, axes: &[Axis], definitions: &Definitions, points: &mut Vec<Point>) {
    let all = points.clone();
    for entry in entries(root, "exclude") {
        if let Some(found) = conditions(log, entry, axes, &all, definitions) {
            points.retain(|point| !fits(&found, point, definitions));
        }
    }
}

/// Reads a table of conditions. Conditions that no point can meet are errors.
pub(crate) fn conditions(
    log: &mut Log,
    node: &Node,
    axes: &[Axis],
    points: &[Point],
    definitions: &Definitions,
) -> Option<Conditions> {
    let wanted = conditions::entries(node);
    if wanted.is_empty() {
        log.error(node.place, "expected at least one coordinate", None);
        return None;
    }
    let names: Vec<&str> = axes.iter().map(Axis::name).chain(conditions::DERIVED).collect();
    let mut good = true;
    for (key, node) in &wanted {
        let found = points.iter().filter_map(|point| coordinate(point, &key.name, definitions));
        good &= conditions::check(log, (key, conditions::values(node)), &names, found, meets);
    }
    let values = |node: &Node| conditions::values(node).iter().map(Node::json).collect();
    let read: Conditions = wanted.iter().map(|(key, node)| (key.name.clone(), values(node))).collect();
    if good && !points.iter().any(|point| fits(&read, point, definitions)) {
        log.error(node.place, NO_CELL, None);
    }
    good.then_some(read)
}

/// The sides of the product of an `[[include]]` entry: the entry's values, or else those of the axes. Zipped axes that the
/// entry does not name still advance together.
fn include(
    log: &mut Log,
    entry: &Node,
    axes: &[Axis],
    groups: &[Vec<usize>],
    definitions: &Definitions,
) -> Option<Vec<Vec<Point>>> {
    let mut good = true;
    let given = conditions::entries(entry);
    for (key, _) in &given {
        if !axes.iter().any(|axis| axis.name() == key.name) {
            let hint = suggest::among(&key.name, axes.iter().map(Axis::name).collect::<Vec<_>>());
            log.error(key.place, format!("`{}` is not an axis of this grid", key.name), hint);
            good = false;
        }
    }
    let own = |axis: &Axis| given.iter().find(|(key, _)| key.name == axis.name());
    let mut sides = Vec::new();
    for group in groups {
        if group.iter().all(|index| own(&axes[*index]).is_none()) {
            sides.push(side(axes, group));
            continue;
        }
        for axis in group.iter().map(|index| &axes[*index]) {
            let Some((key, node)) = own(axis) else {
                sides.push(axis.values.iter().map(|value| single(&axis.key, value.clone())).collect());
                continue;
            };
            let values = conditions::values(node);
            let checked: Vec<Node> =
                values.iter().filter_map(|node| axes::value(log, axis.name(), node, definitions)).collect();
            good &= checked.len() == values.len();
            sides.push(checked.into_iter().map(|node| single(key, node)).collect());
        }
    }
    good.then_some(sides)
}

fn single(key: &Key, node: Node) -> Point {
    vec![Arc::new((key.clone(), node))]
}
