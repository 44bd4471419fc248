//! Tables of the decisions of callbacks during training: counts and epochs per arm, and a log.

use std::sync::Arc;

use lrlab_runs::{Decision, DecisionKind};

use crate::table::{Link, Row, TableCell};
use crate::tables::cells::{axis_cells, axis_columns, rule, seed};
use crate::{Column, Report, Run, Table, Unit, Value};

/// One row per arm, source and kind.
pub(super) fn decisions(report: &Report) -> Option<Table> {
    let mut columns = axis_columns(report);
    columns.extend([
        Column::text("source", "source"),
        Column::text("kind", "decision"),
        Column::number("runs", "runs affected", "of those not diverged").fields(&["runs", "runs_of"]),
        Column::number("per_run", "per run", "mean"),
        Column::number("first_epoch", "first", "median epoch of affected runs"),
        Column::text("after_epochs", "after epoch (count)"),
        Column::number("gain", "final gain", "mean of affected runs"),
    ]);
    let blocks = report.block_of_arms();
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    for (arm, block) in blocks.into_iter().enumerate() {
        for (source, kind) in kinds(report, arm) {
            places.push(block);
            rows.push(row(report, arm, &source, kind));
        }
    }
    rule(&mut rows, &places);
    (!rows.is_empty()).then(|| Table {
        name: "decisions",
        title: "Decisions of monitors and other callbacks".to_owned(),
        caption: "Decisions of callbacks over the finished runs of an arm without diverged runs; “5 (2×)” denotes two \
                  decisions after epoch 5. Arms without a row have no decisions."
            .to_owned(),
        columns,
        rows,
        long: false,
    })
}

fn kinds(report: &Report, arm: usize) -> Vec<(String, DecisionKind)> {
    let mut kinds = Vec::new();
    for decision in report.arms[arm].counted().filter_map(Run::result).flat_map(|r| &r.decisions) {
        let kind = (decision.source.clone(), decision.kind);
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

fn row(report: &Report, arm: usize, source: &str, kind: DecisionKind) -> Row {
    let fits = |d: &&Decision| d.source == source && d.kind == kind;
    let it = &report.arms[arm];
    let per_run: Vec<Vec<&Decision>> =
        it.counted().filter_map(Run::result).map(|r| r.decisions.iter().filter(fits).collect()).collect();
    let with: Vec<&Vec<&Decision>> = per_run.iter().filter(|list| !list.is_empty()).collect();
    let runs: Arc<[_]> = it.counted().map(|run| run.id.clone()).collect();
    let number = |value: Value| TableCell { value, bold: false, runs: runs.clone() };
    let total = per_run.iter().map(Vec::len).sum::<usize>() as f64;
    let mut firsts: Vec<u64> = with.iter().filter_map(|list| list.iter().map(|d| d.epoch).min()).collect();
    firsts.sort_unstable();
    let gains: Vec<f64> = with.iter().filter_map(|list| list.last().map(|d| d.gain)).collect();
    let mut epochs: Vec<u64> = per_run.iter().flatten().map(|d| d.epoch).collect();
    epochs.sort_unstable();
    let mut cells = axis_cells(report, arm);
    cells.extend([
        Value::Text(source.to_owned()).into(),
        Value::Text(word(kind).to_owned()).into(),
        number(Value::Share(with.len(), per_run.len())),
        number(Value::Plain((!per_run.is_empty()).then(|| total / per_run.len() as f64), 1)),
        number(Value::Number(median(&firsts), Unit::Epochs)),
        number(Value::Times(epochs)),
        number(Value::Plain(crate::stats::summary(&gains).map(|s| s.mean), 3)),
    ]);
    Row { cells, rule: false, link: Some(Link::Arm(arm)) }
}

const fn word(kind: DecisionKind) -> &'static str {
    match kind {
        DecisionKind::Cut => "cut",
        DecisionKind::Raise => "raise",
        DecisionKind::Rewind => "rewind",
        DecisionKind::Stop => "stop",
    }
}

fn median(sorted: &[u64]) -> Option<f64> {
    let n = sorted.len();
    (n > 0).then(|| f64::midpoint(sorted[(n - 1) / 2] as f64, sorted[n / 2] as f64))
}

/// The log of all decisions, one row each.
pub(super) fn log(report: &Report) -> Option<Table> {
    let mut columns = axis_columns(report);
    columns.extend([
        Column::text("seed", "seed"),
        Column::number("epoch", "after epoch", ""),
        Column::number("update", "after update", ""),
        Column::text("source", "source"),
        Column::text("kind", "decision"),
        Column::number("lr_before", "rate before", ""),
        Column::number("lr_after", "rate after", ""),
        Column::text("reason", "reason"),
    ]);
    let mut rows = Vec::new();
    for (arm, run) in
        report.arms.iter().enumerate().flat_map(|(i, arm)| arm.runs.iter().map(move |run| (i, run)))
    {
        let runs: Arc<[_]> = [run.id.clone()].into();
        for (i, d) in run.result().into_iter().flat_map(|r| &r.decisions).enumerate() {
            let rate = |x: Option<f64>| TableCell {
                value: Value::Scientific(x),
                bold: false,
                runs: Arc::clone(&runs),
            };
            let mut cells = Vec::with_capacity(columns.len());
            cells.extend(axis_cells(report, arm));
            cells.extend([
                seed(run),
                Value::Count(d.epoch).into(),
                Value::Count(d.update).into(),
                Value::Text(d.source.clone()).into(),
                Value::Text(word(d.kind).to_owned()).into(),
                rate(d.lr_before),
                rate(d.lr_after),
                Value::Text(d.reason.clone()).into(),
            ]);
            rows.push(Row { cells, rule: i == 0, link: run.identified.then(|| Link::Run(run.id.clone())) });
        }
    }
    (!rows.is_empty()).then(|| Table {
        name: "decision-log",
        title: "All decisions".to_owned(),
        caption: "Decisions of callbacks with their reasons. A decision takes effect at the next update."
            .to_owned(),
        columns,
        rows,
        long: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3, 4]), Some(3.5));
        assert_eq!(median(&[3, 4, 9]), Some(4.0));
    }
}
