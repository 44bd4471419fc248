//! Every run, and the curves that the figures draw.

use lrlab_runs::EpochMetrics;

use crate::table::{Link, MISSING, Row, TableCell, csv_file};
use crate::tables::cells::{axis_cells, axis_columns, seed};
use crate::{Column, Metric, Report, State, Table, Value};

const SHOWN: [Metric; 6] = [
    Metric::best("epoch"),
    Metric::best("val_accuracy"),
    Metric::best("test_accuracy"),
    Metric::best("test_f1"),
    Metric::last("val_accuracy"),
    Metric::last("val_loss"),
];

/// One row per planned run, with what is known of it.
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
    let mut rows = Vec::new();
    for (i, arm) in report.arms.iter().enumerate() {
        for (k, run) in arm.runs.iter().enumerate() {
            let (digest, error) = match &run.state {
                State::Done { digest, .. } => (digest.as_str(), ""),
                State::Failed { error } => ("", error.as_str()),
                State::Missing => ("", ""),
            };
            let text = |t: &str| -> TableCell { Value::Text(t.to_owned()).into() };
            let mut cells = axis_cells(report, i);
            cells.extend([seed(run), text(run.id.as_str()), text(run.word())]);
            let done = run.result().map_or(0, |r| r.history.len() as u64);
            cells.push(Value::Count(done).into());
            cells.extend(SHOWN.map(|m| TableCell {
                value: Value::Number(run.result().and_then(|r| m.of(r)), m.unit()),
                bold: false,
                runs: vec![run.id.clone()],
            }));
            cells.extend([text(digest), text(error)]);
            rows.push(Row { cells, rule: k == 0 && i > 0, link: Some(Link::Run(run.id.clone())) });
        }
    }
    Table {
        name: "runs",
        title: "Every run".to_owned(),
        caption: "Every planned run, with the digest of its result.".to_owned(),
        columns,
        rows,
        long: true,
    }
}

/// The history of every run as tidy CSV: one line per run, epoch and metric that was measured.
pub(crate) fn curves(report: &Report) -> String {
    let header = ["run_id", "seed", "epoch", "metric", "value"].map(str::to_owned).to_vec();
    let lines = report.runs().flat_map(|run| {
        let seed = if run.seed == MISSING { "" } else { &run.seed };
        let epochs = run.result().into_iter().flat_map(|result| &result.history);
        epochs.flat_map(move |epoch| {
            let measured =
                |name: &'static str| Some((name, epoch.get(name).flatten().filter(|x| x.is_finite())?));
            EpochMetrics::NAMES.into_iter().filter_map(measured).map(move |(name, value)| {
                vec![
                    run.id.to_string(),
                    seed.to_owned(),
                    epoch.epoch.to_string(),
                    name.to_owned(),
                    value.to_string(),
                ]
            })
        })
    });
    csv_file([header].into_iter().chain(lines))
}
