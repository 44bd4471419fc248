//! The table of runs, and the runs' histories as CSV.

use std::io;

use lrlab_runs::EpochMetrics;

use crate::table::{Link, MISSING, Row, TableCell, csv_file, csv_names};
use crate::tables::cells::{axis_cells, axis_columns, seed};
use crate::{Column, Error, Metric, Report, Run, Table, Value, label};

const SHOWN: [Metric; 6] = [
    Metric::best("epoch"),
    Metric::best("val_accuracy"),
    Metric::best("test_accuracy"),
    Metric::best("test_f1"),
    Metric::last("val_accuracy"),
    Metric::last("val_loss"),
];

/// The number of displayed digits of a digest.
const DIGEST: usize = 12;

/// One row per planned run with its state and main metrics.
pub(super) fn runs(report: &Report) -> Table {
    let mut columns = axis_columns(report);
    columns.extend([
        Column::text("seed", "seed"),
        Column::text("run_id", "run"),
        Column::text("state", "state"),
        Column::number("epochs_done", "epochs done", ""),
    ]);
    columns.extend(SHOWN.map(|m| {
        Column::number(&m.name().replace('.', "_"), &super::result::short(m), &super::result::detail(m))
    }));
    columns.push(Column::text("result_blake3", "result.json (BLAKE3)"));
    columns.push(Column::text("error", "error"));
    let (digits, mut rows) = (report.id_digits(), Vec::new());
    for (i, arm) in report.arms.iter().enumerate() {
        for (k, run) in arm.runs.iter().enumerate() {
            let (digest, error) = (run.state.digest().unwrap_or_default(), run.state.error());
            let text = |t: &str| -> TableCell { Value::Text(t.to_owned()).into() };
            let mut cells = Vec::with_capacity(columns.len());
            cells.extend(axis_cells(report, i));
            cells.extend([seed(run), id(run, digits).into(), text(run.word())]);
            let done = run.result().map_or(0, |r| r.history.len() as u64);
            cells.push(Value::Count(done).into());
            cells.extend(SHOWN.map(|m| TableCell {
                value: if run.diverged() { Value::Diverged } else { Value::Number(run.figure(m), m.unit()) },
                bold: false,
                runs: run.figure(m).map(|_| run.id.clone()).into_iter().collect(),
            }));
            cells.extend([Value::Id(digest.to_owned(), DIGEST).into(), text(error)]);
            let link = run.identified.then(|| Link::Run(run.id.clone()));
            rows.push(Row { cells, rule: k == 0 && i > 0, link });
        }
    }
    Table {
        name: "runs",
        title: "All runs".to_owned(),
        caption: "All planned runs with the digests of their results.".to_owned(),
        columns,
        rows,
        long: true,
    }
}

fn id(run: &Run, digits: usize) -> Value {
    if run.identified { Value::Id(run.id.to_string(), digits) } else { Value::Label(None) }
}

/// Writes the history of every run as CSV: one line per run and epoch with the run's coordinates, and a column for each
/// measured metric, including user-defined metrics and scheduled hyperparameters. Learning rates are those of the epoch's
/// first and last update.
///
/// # Errors
/// Returns an error if writing fails.
pub(crate) fn curves(report: &Report, out: &mut dyn io::Write) -> Result<(), Error> {
    let measured = |name: &&str| {
        let mut epochs = report.runs().filter_map(Run::result).flat_map(|result| &result.history);
        epochs.any(|epoch| value(epoch, name).is_some())
    };
    let own = own_names(report);
    let names = EpochMetrics::NAMES.into_iter().chain(own.iter().map(String::as_str));
    let metrics: Vec<&str> = names.filter(measured).collect();
    let axes = report.axes.iter().map(String::as_str);
    // Avoids the name `lr`, which an axis may have.
    let named = metrics.iter().map(|name| if *name == "lr" { "lr_last" } else { *name });
    let header = csv_names(axes.chain(["seed", "run_id", "state", "epoch"]).chain(named));
    let arm_lines = |arm: &crate::Arm| -> Vec<Vec<String>> {
        let place = report.axes.iter().map(|axis| label::coordinate(&arm.cell, axis).unwrap_or_default());
        let place: Vec<String> = place.collect();
        let line = |run: &Run, epoch: &EpochMetrics| {
            let seed = if run.seed == MISSING { String::new() } else { run.seed.clone() };
            let own = [seed, run.id.to_string(), run.word().to_owned(), epoch.epoch.to_string()];
            let number = |name: &&str| value(epoch, name).map_or_else(String::new, |x| x.to_string());
            place.iter().cloned().chain(own).chain(metrics.iter().map(number)).collect()
        };
        let of = |run| -> Vec<Vec<String>> {
            let history = Run::result(run).into_iter().flat_map(|result| &result.history);
            history.map(|epoch| line(run, epoch)).collect()
        };
        arm.runs.iter().flat_map(of).collect()
    };
    csv_file("curves", [header].into_iter().chain(report.arms.iter().flat_map(arm_lines)), out)
}

/// The names of own metrics and of constants that follow a schedule, sorted.
pub(crate) fn own_names(report: &Report) -> Vec<String> {
    let epochs = report.runs().filter_map(Run::result).flat_map(|result| &result.history);
    let mut names = std::collections::BTreeSet::new();
    for name in epochs.flat_map(EpochMetrics::own_names) {
        if !names.contains(name) && !EpochMetrics::NAMES.contains(&name) {
            names.insert(name.to_owned());
        }
    }
    names.into_iter().collect()
}

fn value(epoch: &EpochMetrics, name: &str) -> Option<f64> {
    epoch.get(name).flatten().filter(|x| x.is_finite())
}
