//! Tables of searches: one row per arm with its winner and cost, and one row per trial.

use lrlab_search::TrialStatus;

use crate::arm::Estimate;
use crate::search::{ArmSearch, TrialReport};
use crate::table::{Link, Row, TableCell};
use crate::tables::cells::{axis_columns, coordinate};
use crate::{Column, Metric, Report, Table, Value, label};

/// The searched keys, in the order in which trials name them.
fn keys(report: &Report) -> Vec<&str> {
    let mut keys: Vec<&str> = Vec::new();
    let all = report.searches.iter().flat_map(|search| &search.trials).flat_map(|trial| trial.point.keys());
    for key in all.map(String::as_str) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

fn arm_columns(report: &Report) -> Vec<Column> {
    axis_columns(report)
}

fn text(words: impl Into<String>) -> TableCell {
    Value::Text(words.into()).into()
}

fn arm_cells(report: &Report, search: &ArmSearch) -> Vec<TableCell> {
    report.axes.iter().map(|axis| coordinate(&search.cell, axis)).collect()
}

/// Whether an optimizer scales the searched rates, so that the trained ones have their own column.
fn scaled(report: &Report) -> bool {
    let mut trials = report.searches.iter().flat_map(|search| &search.trials);
    trials.any(|trial| {
        let searched = trial.point.get("lr").and_then(serde_json::Value::as_f64);
        searched.is_some_and(|lr| trial.lr.is_some_and(|trained| trained != lr))
    })
}

/// The columns of the searched keys.
struct Point<'a> {
    keys: Vec<&'a str>,
    scaled: bool,
}

impl<'a> Point<'a> {
    fn of(report: &'a Report) -> Self {
        Self { keys: keys(report), scaled: scaled(report) }
    }

    fn columns(&self) -> impl Iterator<Item = Column> {
        let trained = self.scaled.then(|| Column::text("trained_lr", "lr × lr_scale"));
        self.keys.iter().map(|key| Column::text(key, key)).chain(trained)
    }

    fn cells(&self, trial: Option<&TrialReport>) -> impl Iterator<Item = TableCell> {
        let value = move |key: &&str| trial.and_then(|trial| trial.point.get(*key)).map(label::value);
        let trained = self.scaled.then(|| trial.and_then(|trial| trial.lr).map(|lr| lr.to_string()));
        self.keys.iter().map(value).chain(trained).map(|value| Value::Label(value).into())
    }
}

/// A value of the metric by which trials are ranked, with its runs.
fn ranked(value: Option<f64>, trial: &TrialReport) -> TableCell {
    TableCell { value: Value::Plain(value, 4), bold: false, runs: trial.ids().cloned().collect() }
}

/// One row per arm; `None` without a search.
pub(super) fn winners(report: &Report) -> Option<Table> {
    if report.searches.is_empty() {
        return None;
    }
    let point = Point::of(report);
    let mut columns = arm_columns(report);
    columns.extend([Column::text("metric", "metric"), Column::number("trials", "trials", "")]);
    columns.push(Column::text("winner", "winner").fields(&["winner", "winner_state"]));
    columns.extend(point.columns());
    columns.extend([
        Column::number("value", "best value", "validation"),
        Column::estimate("test_accuracy", "test accuracy", "of the winner"),
        Column::number("epochs_trained", "epochs trained", ""),
        Column::number("full_epochs", "epochs without pruning", ""),
    ]);
    let row = |search: &ArmSearch| {
        let winner = search.winner.map(|winner| &search.trials[winner]);
        let arm = report.arms.iter().position(|arm| arm.cell == search.cell);
        let test = arm.map(|arm| report.arms[arm].estimate(Metric::best("test_accuracy")));
        let mut cells = arm_cells(report, search);
        cells.extend([text(&search.metric), Value::Count(search.trials.len() as u64).into()]);
        let (number, word) = match search.winner {
            Some(number) => (Some(number as u64), "found"),
            None if search.over => (None, "every trial diverged"),
            None => (None, "in progress"),
        };
        let shown = number.map_or_else(|| word.to_owned(), |number| format!("trial {number}"));
        cells.push(Value::Tagged { shown, number, word }.into());
        cells.extend(point.cells(winner));
        let value = winner.map(|trial| ranked(trial.values.last().copied().flatten(), trial));
        cells.push(value.unwrap_or_else(|| Value::Plain(None, 4).into()));
        let unit = Metric::best("test_accuracy").unit();
        let none = || Estimate { summary: None, planned: arm.map_or(0, |arm| report.arms[arm].runs.len()) };
        let tested = arm.filter(|_| winner.is_some()).map(|arm| &report.arms[arm]);
        cells.push(TableCell {
            value: Value::Estimate(test.filter(|_| winner.is_some()).unwrap_or_else(none), unit),
            bold: false,
            runs: tested.into_iter().flat_map(|arm| arm.measured(Metric::best("test_accuracy"))).collect(),
        });
        cells.extend([Value::Count(search.epochs).into(), Value::Count(search.full_epochs).into()]);
        Row { cells, rule: false, link: arm.map(Link::Arm) }
    };
    Some(Table {
        name: "search",
        title: "Search".to_owned(),
        caption: "Every arm has its own search with the same number of trials. Trials are ranked by the best epoch on the \
                  validation split. The other tables show the winners; test metrics were computed once, at the end."
            .to_owned(),
        columns,
        rows: report.searches.iter().map(row).collect(),
        long: false,
    })
}

/// One row per trial; `None` without a search.
pub(super) fn trials(report: &Report) -> Option<Table> {
    if report.searches.is_empty() {
        return None;
    }
    let point = Point::of(report);
    let stages = report.searches.iter().map(|search| search.stages.len()).max().unwrap_or(0);
    let mut columns = arm_columns(report);
    columns.push(Column::number("trial", "trial", ""));
    columns.extend(point.columns());
    columns.extend((0..stages).map(|stage| {
        let epochs: Vec<u64> = report.searches.iter().filter_map(|s| s.stages.get(stage).copied()).collect();
        let same = epochs.windows(2).all(|pair| pair[0] == pair[1]);
        let title = match epochs.first() {
            Some(epoch) if same => format!("epoch {epoch}"),
            _ => format!("stage {}", stage + 1),
        };
        Column::number(&format!("stage_{}", stage + 1), &title, "validation")
    }));
    columns.extend([
        Column::text("outcome", "outcome").fields(&["outcome_epoch", "outcome"]),
        Column::number("epochs_trained", "epochs trained", ""),
    ]);
    let mut rows = Vec::new();
    for (i, search) in report.searches.iter().enumerate() {
        let arm = report.arms.iter().position(|arm| arm.cell == search.cell);
        for (number, trial) in search.trials.iter().enumerate() {
            let mut cells = arm_cells(report, search);
            cells.push(Value::Count(number as u64).into());
            cells.extend(point.cells(Some(trial)));
            cells.extend((0..stages).map(|stage| ranked(trial.values.get(stage).copied().flatten(), trial)));
            cells.extend([outcome(trial.status).into(), Value::Count(trial.epochs).into()]);
            rows.push(Row { cells, rule: number == 0 && i > 0, link: arm.map(Link::Arm) });
        }
    }
    Some(Table {
        name: "trials",
        title: "All trials".to_owned(),
        caption: "Best value of the metric up to each completed stage, mean over the ranking seeds. The best trials of a \
                  stage continue; diverged trials rank last and never continue."
            .to_owned(),
        columns,
        rows,
        long: true,
    })
}

/// The outcome of a trial, with its epoch if it was pruned.
fn outcome(status: TrialStatus) -> Value {
    let tagged = |word: &'static str| Value::Tagged { shown: word.to_owned(), number: None, word };
    match status {
        TrialStatus::Active => tagged("active"),
        TrialStatus::Pruned(epochs) => Value::Tagged {
            shown: format!("pruned after epoch {epochs}"),
            number: Some(epochs),
            word: "pruned",
        },
        TrialStatus::Diverged(_) => tagged("diverged"),
        TrialStatus::Lost => tagged("lost"),
        TrialStatus::Won => tagged("won"),
    }
}
