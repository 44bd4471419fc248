//! The table of claims with measurements and verdicts.

use std::sync::Arc;

use crate::claim::Measured;
use crate::stats::SIGN_FLIP;
use crate::table::{Claimed, Difference, Link, Row, TableCell};
use crate::{ClaimVerdict, Column, Report, Table, Unit, Value};

/// One row per claim and covered arm.
pub(super) fn claims(report: &Report) -> Option<Table> {
    if report.claims.is_empty() {
        return None;
    }
    let columns = vec![
        Column::text("id", "claim"),
        Column::text("text", "statement"),
        Column::text("verdict", "verdict"),
        Column::number("claimed", "claimed", "").suffixed(&["compare", "value", "tolerance", "than"]),
        Column::estimate("measured", "measured", "mean ± std"),
        Column::number("difference", "difference", "mean, 95 % interval")
            .suffixed(&["mean", "low", "high", "n"]),
        Column::number("p_uncorrected", "p", "sign-flip"),
        Column::number("p", "p", "sign-flip, Holm"),
        Column::number("p_holm_smallest", "smallest p", "Holm"),
        Column::number("p_equivalent", "p", "equivalence"),
        Column::text("arm", "arm"),
        Column::text("arm_verdict", "verdict in this arm"),
        Column::text("metric", "metric"),
        Column::text("note", "note"),
    ];
    let mut rows = Vec::new();
    for claim in &report.claims {
        let before = rows.len();
        if claim.average.is_some() {
            rows.push(row(report, claim, None));
        }
        rows.extend(claim.measured.iter().map(|m| row(report, claim, Some(m))));
        if rows.len() == before {
            rows.push(row(report, claim, None));
        }
        rows[before].rule = before > 0;
    }
    Some(Table {
        name: "claims",
        title: if report.paper { "The paper's claims" } else { "Claims" }.to_owned(),
        caption: format!(
            "Comparisons are paired by seed. Supported: the difference has the claimed sign, with p < 0.05 in a sign-flip test \
             after Holm's correction over the claim's planned arms, whose smallest possible value is given beside it (for a \
             value with a tolerance: two one-sided t-tests place the mean within the tolerance). Contradicted: the opposite \
             sign with p < 0.05 (for a value with a tolerance: the 95 % t-interval lies outside it). Equivalent: two \
             one-sided t-tests place the difference within the claim's margin, which takes precedence. Undecided: none of \
             the above applies. \
             {SIGN_FLIP} Conditions, tolerances and margins are those of the experiment file."
        ),
        columns,
        rows,
        long: false,
    })
}

fn row(report: &Report, claim: &ClaimVerdict, measured: Option<&Measured>) -> Row {
    let text = |t: &str| -> TableCell { Value::Text(t.to_owned()).into() };
    let unit = claim.metric.map_or(Unit::Plain, crate::Metric::unit);
    let of_arm = measured.zip(claim.metric).map(|(m, metric)| report.arms[m.arm].measured(metric));
    let runs: Arc<[_]> = match measured {
        Some(m) => claim.runs_of(m, &report.arms).into(),
        None => claim.runs(&report.arms).into(),
    };
    let number = |value: Value| TableCell { value, bold: false, runs: Arc::clone(&runs) };
    let ours =
        measured.map_or_else(|| crate::arm::Estimate { summary: None, planned: 0 }, |m| m.estimate.clone());
    let judged = measured.map_or(claim.average.as_ref(), |m| m.judged.as_ref());
    let away = judged.map(|j| Difference { mean: j.summary.mean, interval: j.interval, n: j.summary.n });
    let planned = measured.or_else(|| claim.measured.iter().max_by_key(|m| m.estimate.planned));
    let planned = planned.map_or(0, |m| m.estimate.planned);
    let arm = match measured {
        Some(m) => arm_name(report, m.arm),
        None if claim.average.is_some() => "average".to_owned(),
        None => String::new(),
    };
    let figure = claim.metric.map_or_else(String::new, |m| {
        let sign = Some(m.unit().sign()).filter(|sign| !sign.is_empty());
        format!("{}{} {}", m.title(), sign.map_or_else(String::new, |sign| format!(" in {sign}")), m.place())
    });
    let cells = vec![
        text(&claim.id),
        text(&claim.text),
        TableCell { value: Value::Text(claim.verdict.word().to_owned()), bold: true, runs: Arc::default() },
        Value::Claimed(Box::new(Claimed {
            shown: claim.claimed.clone(),
            compare: claim.compare,
            value: claim.value,
            tolerance: claim.tolerance,
            than: claim.than.clone(),
        }))
        .into(),
        TableCell {
            value: Value::Estimate(ours, unit),
            bold: false,
            runs: of_arm.into_iter().flatten().collect(),
        },
        number(Value::Difference(away, unit.of_differences(), planned)),
        number(Value::P(judged.map(|j| j.p_uncorrected))),
        number(Value::P(judged.map(|j| j.p))),
        Value::P(judged.map(|j| j.smallest_p)).into(),
        number(Value::P(judged.and_then(|j| j.p_equivalent))),
        text(&arm),
        text(measured.map_or(claim.verdict, |m| m.verdict).word()),
        text(&figure),
        text(&claim.note),
    ];
    Row { cells, rule: false, link: measured.map(|m| Link::Arm(m.arm)) }
}

/// "resnet · cifar10 · 20 · static · off".
fn arm_name(report: &Report, arm: usize) -> String {
    report.axes.iter().map(|axis| report.arms[arm].label(axis)).collect::<Vec<_>>().join(" · ")
}
