//! The report's tables.

mod comparison;
mod cost;
mod decision;
mod result;
mod runs;
mod search;
mod verdict;

pub(crate) use cost::total;
pub(crate) use result::{brief, progress};
pub(crate) use runs::curves;

use lrlab_runs::Cell;

use crate::table::{MISSING, Row, TableCell};
use crate::{Column, Report, Run, Table, Value, label};

/// Every table of a report, in reading order.
#[must_use]
pub fn tables(report: &Report) -> Vec<Table> {
    let mut out = vec![result::results(report)];
    out.extend(search::searches(report));
    out.extend(verdict::claims(report));
    out.extend(comparison::differences(report));
    out.extend(decision::decisions(report));
    out.push(cost::cost(report));
    out.push(result::last(report));
    out.push(result::best(report));
    out.extend(comparison::comparisons(report));
    out.extend(decision::log(report));
    out.push(runs::runs(report));
    out
}

/// One column per axis of the grid.
fn axis_columns(report: &Report) -> Vec<Column> {
    let constant = |axis: &str| report.arms.len() > 1 && report.values(axis).len() == 1;
    let column = |axis: &String| Column {
        numeric: axis == label::EPOCHS,
        constant: constant(axis),
        ..Column::text(axis, axis)
    };
    report.axes.iter().map(column).collect()
}

/// The coordinates of an arm.
fn axis_cells(report: &Report, arm: usize) -> Vec<TableCell> {
    report.axes.iter().map(|axis| coordinate(&report.arms[arm].cell, axis)).collect()
}

/// One coordinate, empty for programs where there is none.
fn coordinate(cell: &Cell, axis: &str) -> TableCell {
    Value::Label(label::coordinate(cell, axis)).into()
}

/// A run's seed.
fn seed(run: &Run) -> TableCell {
    Value::Label(Some(run.seed.clone()).filter(|seed| seed != MISSING)).into()
}

/// The index of the block that an arm is in: where it changes, a rule is drawn.
fn block_of(blocks: &[Vec<usize>], arm: usize) -> Option<usize> {
    blocks.iter().position(|block| block.contains(&arm))
}

/// Marks the rows at which another block begins; `blocks` holds one per row.
fn rule(rows: &mut [Row], blocks: &[Option<usize>]) {
    for i in 1..rows.len().min(blocks.len()) {
        rows[i].rule = blocks[i] != blocks[i - 1];
    }
}
