//! Shared parts of the tables: coordinates, and rules between blocks.

use lrlab_runs::Cell;

use crate::table::{MISSING, Row, TableCell};
use crate::{Column, Report, Run, Value, label};

/// One column per axis of the grid.
pub(super) fn axis_columns(report: &Report) -> Vec<Column> {
    let constant = |axis: &str| report.arms.len() > 1 && report.values(axis).len() == 1;
    let column = |axis: &String| Column {
        numeric: axis == label::EPOCHS,
        constant: constant(axis),
        ..Column::text(axis, axis)
    };
    report.axes.iter().map(column).collect()
}

/// The coordinates of an arm.
pub(super) fn axis_cells(report: &Report, arm: usize) -> Vec<TableCell> {
    report.axes.iter().map(|axis| coordinate(&report.arms[arm].cell, axis)).collect()
}

/// The cell of a coordinate; an empty field in CSV if there is none.
pub(super) fn coordinate(cell: &Cell, axis: &str) -> TableCell {
    Value::Label(label::coordinate(cell, axis)).into()
}

/// The cell of a run's seed.
pub(super) fn seed(run: &Run) -> TableCell {
    Value::Label(Some(run.seed.clone()).filter(|seed| seed != MISSING)).into()
}

/// Marks the rows at which a block starts. `blocks` contains the block of each row.
pub(super) fn rule<T: PartialEq>(rows: &mut [Row], blocks: &[T]) {
    for i in 1..rows.len().min(blocks.len()) {
        rows[i].rule = blocks[i] != blocks[i - 1];
    }
}
