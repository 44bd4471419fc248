//! Tables of the results by arm.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::arm::Estimate;
use crate::metric::Split;
use crate::table::{Link, Row, TableCell};
use crate::tables::cells::{axis_cells, axis_columns, rule};
use crate::{Column, Counts, Metric, Report, Run, Table, Value};

const MAIN: [Metric; 8] = [
    Metric::best("test_accuracy"),
    Metric::best("test_f1"),
    Metric::last("test_accuracy"),
    Metric::best("val_accuracy"),
    Metric::last("val_accuracy"),
    Metric::last("val_loss"),
    Metric::last("train_eval_accuracy"),
    Metric::last("accuracy_gap"),
];
const KEYS: [&str; 16] = [
    "train_loss",
    "train_accuracy",
    "train_eval_loss",
    "train_eval_accuracy",
    "val_loss",
    "val_accuracy",
    "val_f1",
    "val_precision",
    "val_recall",
    "val_ece",
    "accuracy_gap",
    "loss_gap",
    "test_loss",
    "test_accuracy",
    "test_f1",
    "test_ece",
];

/// The main table.
pub(crate) fn results(report: &Report) -> Table {
    let caption = "Mean ± sample standard deviation over seeds. Best: at the epoch with the best value of the \
                   selection metric on the validation split; final: after the last update. Gap: training minus \
                   validation accuracy, both in evaluation mode. Bold: best mean of its block, only among complete \
                   arms. (k/n): the mean is over k of n planned runs; diverged runs are excluded.";
    table(report, "results", "Results", caption, &with_leading(report, &MAIN), false)
}

/// The main metrics, or those that the experiment names, for a terminal.
pub(crate) fn brief(report: &Report) -> Table {
    let metrics = [
        Metric::best("test_accuracy"),
        Metric::best("test_f1"),
        Metric::best("val_accuracy"),
        Metric::last("val_loss"),
    ];
    let metrics = if report.metrics == Metric::LEADING { &metrics[..] } else { &report.metrics };
    table(report, "brief", "Results", "", metrics, false)
}

/// `metrics` after those that the experiment names.
pub(super) fn with_leading(report: &Report, metrics: &[Metric]) -> Vec<Metric> {
    if report.metrics == Metric::LEADING {
        return metrics.to_vec();
    }
    let others = metrics.iter().filter(|metric| !report.metrics.contains(metric));
    report.metrics.iter().chain(others).copied().collect()
}

/// All metrics after the last update.
pub(crate) fn last(report: &Report) -> Table {
    let caption = "All metrics after the last update, mean ± sample standard deviation over seeds.";
    table(report, "final", "All metrics after the last update", caption, &KEYS.map(Metric::last), true)
}

/// All metrics at the selected epoch.
pub(crate) fn best(report: &Report) -> Table {
    let caption = "All metrics at the epoch with the best value of the selection metric on the validation split, \
                   mean ± sample standard deviation over seeds.";
    let mut metrics = vec![Metric::best("epoch")];
    metrics.extend(KEYS.map(Metric::best));
    table(report, "best", "All metrics at the selected epoch", caption, &metrics, true)
}

/// "46 of 48 runs done, 1 diverged; 1 missing, 1 failed".
pub(crate) fn progress(counts: &Counts) -> String {
    let mut out = format!("{} of {} runs done", counts.done, counts.planned);
    for (n, word) in
        [(counts.diverged, "diverged"), (counts.stopped, "stopped early"), (counts.pruned, "pruned")]
    {
        if n > 0 {
            let _ = write!(out, ", {n} {word}");
        }
    }
    for (n, word) in [(counts.missing, "missing"), (counts.failed, "failed")] {
        if n > 0 {
            let _ = write!(out, "; {n} {word}");
        }
    }
    out
}

/// The title of a metric, abbreviated for column headings: "val. accuracy".
pub(super) fn short(metric: Metric) -> String {
    metric.title().replace("validation", "val.").replace("training", "train").replace(" (running)", "")
}

/// "best, %".
pub(super) fn detail(metric: Metric) -> String {
    let running = if metric.title().ends_with("(running)") { "running" } else { "" };
    [metric.at.word(), running, metric.unit().sign()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

fn table(
    report: &Report,
    name: &'static str,
    title: &str,
    caption: &str,
    metrics: &[Metric],
    long: bool,
) -> Table {
    let measured = |metric: &&Metric| report.arms.iter().any(|arm| arm.estimate(**metric).summary.is_some());
    // Omits metrics that no run has, unless no run is done yet.
    let metrics: Vec<Metric> =
        metrics.iter().filter(|m| report.counts.done == 0 || measured(m)).copied().collect();
    let mut columns = axis_columns(report);
    columns.push(Column::number("runs", "runs", "").fields(&["runs", "runs_planned", "runs_diverged"]));
    columns.extend(
        metrics.iter().map(|m| Column::estimate(&m.name().replace('.', "_"), &short(*m), &detail(*m))),
    );
    let mut rows: Vec<Row> = (0..report.arms.len()).map(|arm| row(report, arm, &metrics)).collect();
    let first = columns.len() - metrics.len();
    let mut competing: BTreeMap<Option<Split>, Vec<Vec<usize>>> = BTreeMap::new();
    for (k, metric) in metrics.iter().enumerate() {
        let groups = competing.entry(metric.split()).or_insert_with(|| competitors(report, *metric));
        for group in groups {
            embolden(&mut rows, group, first + k, *metric);
        }
    }
    rule(&mut rows, &report.block_of_arms());
    Table { name, title: title.to_owned(), caption: caption.to_owned(), columns, rows, long }
}

fn row(report: &Report, arm: usize, metrics: &[Metric]) -> Row {
    let it = &report.arms[arm];
    let mut cells = axis_cells(report, arm);
    cells.push(Value::Runs(it.done(), it.runs.len(), it.diverged()).into());
    cells.extend(metrics.iter().map(|metric| {
        let has = |run: &&Run| run.figure(*metric).is_some();
        TableCell {
            value: Value::Estimate(it.estimate(*metric), metric.unit()),
            bold: false,
            runs: it.runs.iter().filter(has).map(|run| run.id.clone()).collect(),
        }
    }));
    Row { cells, rule: false, link: Some(Link::Arm(arm)) }
}

/// The arms of each block that share the examples on which a metric is measured.
fn competitors(report: &Report, metric: Metric) -> Vec<Vec<usize>> {
    let mut groups = Vec::new();
    for mut rest in report.blocks() {
        while let Some(&arm) = rest.first() {
            let shares = |other: &usize| report.arms[arm].shares_examples(&report.arms[*other], metric);
            let (alike, others) = rest.into_iter().partition(shares);
            groups.push(alike);
            rest = others;
        }
    }
    groups
}

/// Sets the best mean of a block in bold. Only complete arms take part, all tied arms are set in bold, and a block of fewer
/// than two or only equal means has no best.
fn embolden(rows: &mut [Row], block: &[usize], column: usize, metric: Metric) {
    let Some(higher) = metric.higher_is_better() else { return };
    let mean = |row: &Row| match &row.cells[column].value {
        Value::Estimate(estimate @ Estimate { summary: Some(s), .. }, unit) if estimate.complete() => {
            // Means that are printed equal are ties.
            format!("{:.*}", unit.digits(), s.mean * unit.factor()).parse().ok()
        }
        _ => None,
    };
    let means: Vec<f64> = block.iter().filter_map(|i| mean(&rows[*i])).collect();
    let best = means.iter().copied().reduce(if higher { f64::max } else { f64::min });
    if means.len() < 2 || means.iter().all(|m| Some(*m) == best) {
        return;
    }
    for i in block {
        rows[*i].cells[column].bold = mean(&rows[*i]) == best;
    }
}
