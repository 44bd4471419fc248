//! The paper's claims beside ours.

use crate::claim::Measured;
use crate::table::{Link, Row, TableCell};
use crate::tables::result::place;
use crate::{ClaimVerdict, Column, Report, Run, Table, Unit, Value};

/// One row per claim and arm that it speaks about.
pub(super) fn claims(report: &Report) -> Option<Table> {
    if report.claims.is_empty() {
        return None;
    }
    let columns = vec![
        Column::text("id", "claim"),
        Column::text("text", "what is claimed"),
        Column::text("verdict", "verdict"),
        Column::number("claimed", "claimed", "").suffixed(&["compare", "value", "tolerance", "than"]),
        Column::estimate("measured", "measured", "mean ± std"),
        Column::number("difference", "difference", "to expected"),
        Column::text("arm", "arm"),
        Column::text("metric", "figure"),
        Column::text("note", "note"),
    ];
    let mut rows = Vec::new();
    for claim in &report.claims {
        let before = rows.len();
        rows.extend(claim.measured.iter().map(|m| row(report, claim, Some(m))));
        if rows.len() == before {
            rows.push(row(report, claim, None));
        }
        rows[before].rule = before > 0;
    }
    Some(Table {
        name: "claims",
        title: "The paper's claims beside ours".to_owned(),
        caption:
            "A claim is reproduced where the mean over our seeds meets its condition in every arm that it \
                  speaks about. Conditions and tolerances are the experiment file's, set before the runs."
                .to_owned(),
        columns,
        rows,
        long: false,
    })
}

fn row(report: &Report, claim: &ClaimVerdict, measured: Option<&Measured>) -> Row {
    let text = |t: &str| -> TableCell { Value::Text(t.to_owned()).into() };
    let unit = claim.metric.map_or(Unit::Plain, crate::Metric::unit);
    let runs: Vec<_> = measured
        .iter()
        .flat_map(|m| report.arms[m.arm].runs.iter())
        .filter(|run: &&Run| claim.metric.is_some_and(|m| run.figure(m).is_some()))
        .map(|run| run.id.clone())
        .collect();
    let number = |value: Value| TableCell { value, bold: false, runs: runs.clone() };
    let ours =
        measured.map_or_else(|| crate::arm::Estimate { summary: None, planned: 0 }, |m| m.estimate.clone());
    let away = measured.and_then(|m| Some(m.estimate.summary?.mean - m.expected?));
    let figure = claim.metric.map_or_else(String::new, |m| format!("{}, {}", m.title(), place(m)));
    let cells = vec![
        text(&claim.id),
        text(&claim.text),
        TableCell { value: Value::Text(claim.verdict.word().to_owned()), bold: true, runs: Vec::new() },
        Value::Claimed {
            shown: claim.claimed.clone(),
            compare: claim.compare,
            value: claim.value,
            tolerance: claim.tolerance,
            than: claim.than.clone(),
        }
        .into(),
        number(Value::Estimate(ours, unit)),
        number(Value::Number(away, if unit == Unit::Percent { Unit::Points } else { unit })),
        text(&measured.map_or_else(String::new, |m| arm_name(report, m.arm))),
        text(&figure),
        text(&claim.note),
    ];
    Row { cells, rule: false, link: measured.map(|m| Link::Arm(m.arm)) }
}

/// "resnet · cifar10 · 20 · static · off".
fn arm_name(report: &Report, arm: usize) -> String {
    report.axes.iter().map(|axis| report.arms[arm].label(axis)).collect::<Vec<_>>().join(" · ")
}
