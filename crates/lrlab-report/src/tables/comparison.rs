//! Tables of paired comparisons: a compact table of differences and a table with all statistics.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::arm;
use crate::compare::pairs_needed;
use crate::stats::SIGN_FLIP;
use crate::table::{Difference, Link, Row, TableCell};
use crate::tables::cells::{axis_cells, axis_columns, rule};
use crate::tables::result::{detail, short, with_leading};
use crate::{Column, Comparison, Finding, Metric, Report, Table, Unit, Value};

/// The metrics of the compact table: test metrics, and two indicators of overfitting.
const SHOWN: [Metric; 5] = [
    Metric::best("test_accuracy"),
    Metric::best("test_f1"),
    Metric::last("test_accuracy"),
    Metric::last("val_loss"),
    Metric::last("accuracy_gap"),
];

/// One row per pair of arms, one column per metric: mean difference with its 95 % t-interval.
pub(super) fn differences(report: &Report) -> Option<Table> {
    let first = report.comparisons.first()?;
    let metrics: Vec<Metric> = with_leading(report, &SHOWN)
        .into_iter()
        .filter(|m| report.comparisons.iter().any(|c| c.metric == *m && c.paired.is_some()))
        .collect();
    let metrics = if metrics.is_empty() { vec![first.metric] } else { metrics };
    let mut columns = vec![Column::text("contrast", "contrast")];
    columns.extend(axis_columns(report));
    columns.extend(metrics.iter().map(|m| {
        let sign = if m.unit() == Unit::Percent { detail(*m).replace('%', "pp") } else { detail(*m) };
        Column::number(&m.name().replace('.', "_"), &format!("Δ {}", short(*m)), &sign)
            .suffixed(&["mean", "low", "high", "n"])
    }));
    let blocks = report.block_of_arms();
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    let by_metric: BTreeMap<_, &Comparison> =
        report.comparisons.iter().map(|c| ((c.contrast, c.arm, c.baseline, c.metric.name()), c)).collect();
    for contrast in 0..report.contrasts.len() {
        let mut known = HashSet::new();
        let pairs = report.comparisons.iter().filter(|c| c.contrast == contrast);
        for c in pairs.filter(|c| known.insert((c.arm, c.baseline))) {
            let mut cells = vec![Value::Text(against(report, c)).into()];
            cells.extend(axis_cells(report, c.arm));
            cells.extend(metrics.iter().map(|metric| {
                let found = by_metric.get(&(c.contrast, c.arm, c.baseline, metric.name()));
                found.map_or_else(
                    || Value::Difference(None, unit(*metric), 0).into(),
                    |c| difference(report, c),
                )
            }));
            places.push((contrast, blocks[c.arm]));
            rows.push(Row { cells, rule: false, link: Some(Link::Arm(c.arm)) });
        }
    }
    rule(&mut rows, &places);
    Some(Table {
        name: "differences",
        title: "Differences from the baseline, paired by seed".to_owned(),
        caption: caption(report),
        columns,
        rows,
        long: false,
    })
}

fn caption(report: &Report) -> String {
    let n = report.comparisons.iter().filter_map(|c| c.paired.as_ref()).map(|p| p.summary.n).max();
    let (n, families) = (n.unwrap_or(0), || report.comparisons.iter().map(|c| c.family));
    let smallest = report.comparisons.iter().filter_map(Comparison::smallest_p).reduce(f64::min);
    let verdict = if report.comparisons.iter().any(Comparison::can_be_significant) {
        let most = families().max().unwrap_or(1);
        format!("n = {n} pairs, up to {most} comparisons per family.")
    } else {
        let least = families().min().unwrap_or(1);
        format!(
            "With n = {n} pairs and {least} or more comparisons per family, the smallest possible adjusted p is {:.3}, so no \
             difference can be significant; {} seeds are needed.",
            smallest.unwrap_or(1.0),
            pairs_needed(least)
        )
    };
    format!(
        "Mean over seeds of (arm − baseline) with 95 % t-interval. Bold: p < 0.05 in a sign-flip test after \
         Holm's correction over the planned comparisons with the same contrast, metric and block (a block is a model, a \
         data set and a budget), and not equivalent to zero within the margin of the claims about the metric. {SIGN_FLIP} \
         {verdict}"
    )
}

/// "schedule vs static".
fn against(report: &Report, c: &Comparison) -> String {
    report.contrasts[c.contrast].word()
}

fn unit(metric: Metric) -> Unit {
    metric.unit().of_differences()
}

fn difference(report: &Report, c: &Comparison) -> TableCell {
    let d = c.paired.as_ref().map(|p| Difference {
        mean: p.summary.mean,
        interval: p.t_interval,
        n: p.summary.n,
    });
    TableCell {
        value: Value::Difference(d, unit(c.metric), c.planned),
        bold: matches!(c.finding(), Finding::Better | Finding::Worse | Finding::Different),
        runs: arm::paired(&report.arms[c.arm], &report.arms[c.baseline], c.metric).collect(),
    }
}

/// All statistics of all comparisons.
pub(super) fn comparisons(report: &Report) -> Option<Table> {
    if report.comparisons.is_empty() {
        return None;
    }
    let mut columns = vec![Column::text("contrast", "contrast")];
    columns.extend(axis_columns(report));
    columns.extend([
        Column::text("metric", "metric"),
        Column::number("pairs", "pairs", "done/planned").fields(&["pairs", "pairs_planned"]),
        Column::number("difference", "difference", "mean"),
        Column::number("std", "std", "of differences"),
        Column::number("t", "95 % interval", "t").suffixed(&["low", "high"]),
        Column::number("bootstrap", "95 % interval", "bootstrap").suffixed(&["low", "high"]),
        Column::number("positive", "seeds", "+/0/−").fields(&["positive", "zero", "negative"]),
        Column::number("same", "same network", "pairs"),
        Column::number("p", "p", "sign-flip"),
        Column::number("p_smallest", "smallest p", "sign-flip"),
        Column::number("family", "family", "comparisons"),
        Column::number("p_holm", "p", "Holm"),
        Column::number("p_signed_rank", "p", "signed rank"),
        Column::number("effect", "effect", "mean / std"),
        Column::number("superiority", "P(arm > baseline)", "all pairs of runs"),
        Column::text("conclusion", "conclusion"),
    ]);
    let blocks = report.block_of_arms();
    let mut rows: Vec<Row> = report.comparisons.iter().map(|c| long_row(report, c, columns.len())).collect();
    let places: Vec<_> = report.comparisons.iter().map(|c| (c.contrast, blocks[c.arm])).collect();
    rule(&mut rows, &places);
    Some(Table {
        name: "comparisons",
        title: "All paired comparisons".to_owned(),
        caption: format!(
            "Arm minus baseline, paired by seed: mean difference, t-interval, BCa bootstrap interval (10,000 resamples; none \
             if all differences are equal), two-sided sign-flip test with Holm's correction over the comparisons with the \
             same contrast, metric and block, signed-rank test, standardised mean difference with Hedges' correction, and the \
             probability that a run of the arm exceeds a run of the baseline, unpaired. {SIGN_FLIP} Signed-rank tests are exact \
             for up to 100 nonzero differences; for more, the normal approximation is used. “n too small”: no outcome with this \
             number of pairs can be significant after the correction."
        ),
        columns,
        rows,
        long: true,
    })
}

/// The row of a comparison, allocated for `columns` cells, because a grid can have tens of thousands of comparisons.
fn long_row(report: &Report, c: &Comparison, columns: usize) -> Row {
    let (arm, baseline) = (&report.arms[c.arm], &report.arms[c.baseline]);
    let (unit, made_of) = (unit(c.metric), arm::paired(arm, baseline, c.metric).collect::<Arc<[_]>>());
    let every: Arc<[_]> = arm.measured(c.metric).chain(baseline.measured(c.metric)).collect();
    let p = c.paired.as_ref();
    let signs = p.map(|p| {
        let count = |keep: fn(f64) -> bool| p.differences.iter().filter(|d| keep(**d)).count();
        [count(|d| d > 0.0), count(|d| d == 0.0), count(|d| d < 0.0)]
    });
    let number = |value: Value| TableCell { value, bold: false, runs: made_of.clone() };
    let mut cells: Vec<TableCell> = Vec::with_capacity(columns);
    cells.push(Value::Text(against(report, c)).into());
    cells.extend(axis_cells(report, c.arm));
    cells.push(Value::Text(format!("{}, {}", c.metric.title(), c.metric.place())).into());
    cells.push(Value::Share(p.map_or(0, |p| p.summary.n), c.planned).into());
    cells.extend([
        number(Value::Number(p.map(|p| p.summary.mean), unit)),
        number(Value::Number(p.and_then(|p| p.summary.std), unit)),
        number(Value::Interval(p.and_then(|p| p.t_interval), unit)),
        number(Value::Interval(p.and_then(|p| p.bootstrap.interval()), unit)),
        number(Value::Signs(signs)),
        number(p.map_or(Value::Label(None), |p| Value::Count(p.same as u64))),
        number(Value::P(p.map(|p| p.test.p))),
        Value::P(p.map(|p| p.test.smallest)).into(),
        Value::Count(c.family as u64).into(),
        number(Value::P(p.map(|p| p.p_holm))),
        number(Value::P(p.and_then(|p| p.signed_rank).map(|test| test.p))),
        number(Value::Number(p.and_then(|p| p.effect), Unit::Score)),
        TableCell {
            value: Value::Number(p.and_then(|p| p.superiority), Unit::Score),
            bold: false,
            runs: every,
        },
        Value::Text(c.finding().word().to_owned()).into(),
    ]);
    Row { cells, rule: false, link: Some(Link::Arm(c.arm)) }
}
