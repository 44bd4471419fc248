//! The table of methods over the tasks of a grid.

use std::sync::Arc;

use crate::label::CONDITIONS;
use crate::table::{Row, TableCell};
use crate::tables::cells::{axis_cells, axis_columns};
use crate::{Column, Profile, Report, Run, Table, Value, profile};

/// The ratios at which the table shows the profiles.
const WITHIN: [(f64, &str, &str); 4] = [
    (1.0, "best", "best"),
    (1.02, "within_2", "≤ 2 %"),
    (1.05, "within_5", "≤ 5 %"),
    (1.1, "within_10", "≤ 10 %"),
];

/// One row per method.
pub(super) fn profiles(report: &Report) -> Option<Table> {
    let Profile { metric, tasks, methods } = profile(report)?;
    let of_method = |axis: &String| !CONDITIONS.contains(&axis.as_str());
    let mut columns: Vec<Column> =
        axis_columns(report).into_iter().filter(|column| of_method(&column.key)).collect();
    columns.extend(WITHIN.map(|(_, key, title)| Column::number(key, title, "share of tasks, %")));
    columns.push(Column::number("worst", "largest", "error / lowest error"));
    columns.push(Column::number(
        "interquartile_mean",
        "interquartile mean",
        &format!("{}, %", metric.title()),
    ));
    let rows = methods.iter().map(|method| {
        let has = |run: &&Run| run.figure(metric).is_some();
        let runs: Arc<[_]> = method
            .arms
            .iter()
            .flat_map(|arm| report.arms[*arm].runs.iter().filter(has))
            .map(|run| run.id.clone())
            .collect();
        let number = |value| TableCell { value, bold: false, runs: Arc::clone(&runs) };
        let place = axis_cells(report, method.arms[0]).into_iter().zip(&report.axes);
        let mut cells: Vec<TableCell> =
            place.filter(|(_, axis)| of_method(axis)).map(|(cell, _)| cell).collect();
        cells.extend(WITHIN.map(|(tau, ..)| number(Value::Plain(Some(100.0 * method.within(tau)), 0))));
        let worst = method.ratios.iter().copied().fold(1.0, f64::max);
        cells.push(number(Value::Plain(Some(worst).filter(|x| x.is_finite()), 3)));
        cells.push(number(Value::Number(Some(method.interquartile_mean), metric.unit())));
        Row { cells, rule: false, link: None }
    });
    Some(Table {
        name: "methods",
        title: "Methods over all tasks".to_owned(),
        caption: format!(
            "Methods over {tasks} tasks; a task is a model, a data set and a budget. The error is one minus the {} at the \
             selected epoch, mean over seeds. Best and ≤: share of tasks in which the error is the lowest of all methods, or \
             exceeds the lowest by at most the given percentage (performance profiles, Dolan and Moré 2002). Interquartile \
             mean: mean over the runs of all tasks without the highest and the lowest quarter (Agarwal et al. 2021).",
            metric.title()
        ),
        columns,
        rows: rows.collect(),
        long: false,
    })
}
