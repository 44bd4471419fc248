//! The cost of runs: seconds, examples per second, parameters.

use std::sync::Arc;

use crate::arm::{Arm, Estimate};
use crate::stats::summary;
use crate::table::{Link, Row, TableCell};
use crate::tables::cells::{axis_cells, axis_columns, rule};
use crate::{Column, Report, Run, Table, Unit, Value};

/// One row per arm.
pub(super) fn cost(report: &Report) -> Table {
    let mut columns = axis_columns(report);
    columns.extend([
        Column::number("runs", "runs", "done/planned").fields(&["runs", "runs_planned"]),
        Column::number("parameters", "parameters", "trained"),
        Column::estimate("seconds", "seconds per run", "all"),
        Column::estimate("train_s", "training", "s"),
        Column::estimate("eval_s", "evaluation", "s"),
        Column::estimate("data_s", "data", "s"),
        Column::estimate("input_share", "waiting for batches", "% of the time"),
        Column::estimate("examples_per_s", "examples/s", "training"),
        Column::estimate("updates", "updates", "executed"),
    ]);
    let mut rows: Vec<Row> = (0..report.arms.len()).map(|arm| row(report, arm)).collect();
    rule(&mut rows, &report.block_of_arms());
    Table {
        name: "cost",
        title: "Cost".to_owned(),
        caption: format!(
            "Mean ± sample standard deviation over seeds without diverged runs, which ended early. The time of a run that \
             continued a shorter run includes the time of the shorter run up to that point. Total computing time of all \
             finished runs, including diverged ones: {}. Times depend on the machine and its load.",
            total(report)
        ),
        columns,
        rows,
        long: true,
    }
}

/// Seconds of a run for training, evaluation and reading data, including those of the shorter run that it continued.
pub(crate) fn seconds(run: &Run) -> Option<f64> {
    run.result().map(|r| r.seconds().iter().sum())
}

/// Seconds spent on a run itself, without those of the shorter run that it continued.
fn spent(run: &Run) -> Option<f64> {
    run.result().map(|r| r.timing.train_s + r.timing.eval_s + r.timing.data_s)
}

/// The computing time of the missing runs of an arm in seconds, at the pace of its finished ones without those that diverged,
/// which ended early; `None` if there are none.
pub(crate) fn remaining(arm: &Arm) -> Option<f64> {
    let missing = arm.runs.len() - arm.done();
    let pace = || summary(&arm.counted().filter_map(spent).collect::<Vec<_>>());
    if missing == 0 { Some(0.0) } else { pace().map(|pace| pace.mean * missing as f64) }
}

/// "3.2 h".
pub(crate) fn total(report: &Report) -> String {
    let s = report.runs().filter_map(spent).fold(0.0, |sum, seconds| sum + seconds);
    match s {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn row(report: &Report, arm: usize) -> Row {
    let it = &report.arms[arm];
    let runs: Arc<[_]> = it.counted().map(|run| run.id.clone()).collect();
    let over = |of: &dyn Fn(&Run) -> Option<f64>, unit: Unit| -> TableCell {
        let values: Vec<f64> = it.counted().filter_map(of).filter(|x| x.is_finite()).collect();
        let estimate = Estimate { summary: summary(&values), planned: it.runs.len() };
        TableCell { value: Value::Estimate(estimate, unit), bold: false, runs: runs.clone() }
    };
    let clock = |of: fn(&lrlab_runs::Timing) -> f64| move |run: &Run| run.result().map(|r| of(&r.timing));
    let part = |index: usize| move |run: &Run| run.result().map(|r| r.seconds()[index]);
    let parameters = it.results().map(|r| r.provenance.parameters).max().filter(|n| *n > 0);
    let mut cells = axis_cells(report, arm);
    cells.push(Value::Share(it.done(), it.runs.len()).into());
    cells.push(parameters.map_or(Value::Number(None, Unit::Plain), |n| Value::Count(n as u64)).into());
    cells.extend([
        over(&seconds, Unit::Seconds),
        over(&part(0), Unit::Seconds),
        over(&part(1), Unit::Seconds),
        over(&part(2), Unit::Seconds),
        over(&|run| run.result()?.timing.input_share, Unit::Percent),
        over(&clock(|t| t.examples_per_s), Unit::Whole),
        over(&clock(|t| t.updates_executed as f64), Unit::Whole),
    ]);
    Row { cells, rule: false, link: Some(Link::Arm(arm)) }
}
