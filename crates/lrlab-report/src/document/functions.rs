//! The functions of templates, which return numbers, texts, tables and figures of a report.

use std::collections::BTreeMap;

use lrlab_runs::{Cell, RunId};
use minijinja::value::Kwargs;
use minijinja::{ErrorKind, Value};
use serde_json::Value as Json;

use super::format::Format;
use super::names::expected;
use crate::figure::FOREST;
use crate::stats::summary;
use crate::table::{self, Link, MISSING, fixed};
use crate::tables::{remaining, seconds};
use crate::{Judged, Metric, Report, Unit, arm, claim, figures, forest, label, tables};

pub(super) type Result<T> = std::result::Result<T, minijinja::Error>;

/// The title of the forest plot.
const ANSWER: &str = "Differences from the baseline";

pub(super) fn invalid(message: String) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, message)
}

/// The values of an axis, if some arm has the axis.
pub(super) fn known_axis(report: &Report, axis: &str) -> Result<Vec<String>> {
    let values = report.values(axis);
    if values.iter().all(|label| label == MISSING) {
        let expected = expected(&report.axes, "it has no axes");
        return Err(invalid(format!("the report has no axis `{axis}`: {expected}")));
    }
    Ok(values)
}

/// The arms with the given coordinates, of which there is at least one.
pub(super) fn matching(report: &Report, place: &Kwargs) -> Result<Vec<usize>> {
    let mut cell = Cell::new();
    for axis in place.args() {
        let value: Value = place.get(axis)?;
        known_axis(report, axis)?;
        let json = match value.as_str() {
            Some(text) => Json::from(text),
            None => serde_json::from_str(&value.to_string()).map_err(|_| {
                invalid(format!("invalid coordinate {axis} = {value}: expected a string or a number"))
            })?,
        };
        cell.insert(axis.to_owned(), json);
    }
    place.assert_all_used()?;
    let arms: Vec<usize> = claim::matching(&report.arms, &cell).collect();
    if arms.is_empty() {
        return Err(invalid(format!("no arm has {}", claim::coordinates(&cell))));
    }
    Ok(arms)
}

/// The only arm with the given coordinates.
fn one(report: &Report, place: &Kwargs) -> Result<usize> {
    match matching(report, place)?[..] {
        [arm] => Ok(arm),
        ref arms => {
            let named: Vec<String> =
                arms.iter().take(3).map(|arm| claim::coordinates(&report.arms[*arm].cell)).collect();
            Err(invalid(format!(
                "{} arms match ({}{}): name more coordinates",
                arms.len(),
                named.join("; "),
                if arms.len() > 3 { "; …" } else { "" }
            )))
        }
    }
}

fn metric(name: &str) -> Result<Metric> {
    Metric::parse(name).ok_or_else(|| {
        invalid(format!(
            "unknown metric {name:?}: expected a name such as \"best.test_accuracy\" or \"final.val_loss\""
        ))
    })
}

/// A template value with named parts that renders as `shown`.
fn parts<const N: usize>(shown: String, parts: [(&'static str, Value); N]) -> Value {
    let mut map: BTreeMap<&str, Value> = parts.into_iter().collect();
    map.insert("shown", shown.into());
    map.into()
}

/// The value, or `none`.
fn maybe<T: Into<Value>>(value: Option<T>) -> Value {
    value.map_or_else(|| Value::from(()), Into::into)
}

/// The coordinates of an arm by axis.
pub(super) fn coordinates(cell: &Cell) -> Value {
    cell.iter()
        .map(|(axis, value)| (axis.clone(), Value::from(label::value(value))))
        .collect::<BTreeMap<_, _>>()
        .into()
}

fn ids<'a>(runs: impl Iterator<Item = &'a RunId>) -> Value {
    runs.map(ToString::to_string).collect::<Vec<_>>().into()
}

fn with_unit(text: String, unit: Unit) -> String {
    if unit.sign().is_empty() { text } else { format!("{text} {}", unit.sign()) }
}

pub(super) fn estimate(report: &Report, name: &str, place: &Kwargs) -> Result<Value> {
    let (metric, arm) = (metric(name)?, &report.arms[one(report, place)?]);
    let (unit, estimate) = (metric.unit(), arm.estimate(metric));
    let number = |x: f64| fixed(x * unit.factor(), unit.digits());
    let shown = estimate.summary.map_or_else(
        || "not run".to_owned(),
        |s| {
            let spread = s.std.map_or_else(String::new, |std| format!(" ± {}", number(std)));
            let of = if estimate.complete() { String::new() } else { format!(" of {}", estimate.planned) };
            format!("{} (n = {}{of})", with_unit(format!("{}{spread}", number(s.mean)), unit), s.n)
        },
    );
    let has = |run: &&crate::Run| run.figure(metric).is_some();
    Ok(parts(
        shown,
        [
            ("mean", maybe(estimate.summary.map(|s| s.mean))),
            ("std", maybe(estimate.summary.and_then(|s| s.std))),
            ("n", estimate.n().into()),
            ("planned", estimate.planned.into()),
            ("runs", ids(arm.runs.iter().filter(has).map(|run| &run.id))),
        ],
    ))
}

pub(super) fn difference(report: &Report, name: &str, contrast: &str, place: &Kwargs) -> Result<Value> {
    let (metric, arm) = (metric(name)?, one(report, place)?);
    let Some(index) =
        report.contrasts.iter().position(|known| known.axes.iter().any(|axis| axis == contrast))
    else {
        let known: Vec<String> =
            report.contrasts.iter().flat_map(|it| &it.axes).map(|a| format!("\"{a}\"")).collect();
        let expected = expected(&known, "it compares no arms");
        return Err(invalid(format!("the report has no contrast along {contrast:?}: {expected}")));
    };
    let found = report.comparisons.iter().find(|c| (c.arm, c.metric, c.contrast) == (arm, metric, index));
    let Some(comparison) = found else {
        let arm = claim::coordinates(&report.arms[arm].cell);
        let word = report.contrasts[index].word();
        return Err(invalid(format!("{arm} has no comparison by {name} ({word})")));
    };
    let paired = comparison.paired.as_ref();
    let unit = metric.unit().of_differences();
    let shown = paired.map_or_else(
        || "not run".to_owned(),
        |p| {
            let d = table::Difference { mean: p.summary.mean, interval: p.t_interval, n: p.summary.n };
            let text = table::Value::Difference(Some(d), unit, d.n).to_string();
            format!("{} (n = {}, {})", with_unit(text, unit), d.n, table::p_value(p.p_holm))
        },
    );
    let runs: Vec<RunId> =
        arm::paired(&report.arms[comparison.arm], &report.arms[comparison.baseline], metric).collect();
    Ok(parts(
        shown,
        [
            ("mean", maybe(paired.map(|p| p.summary.mean))),
            ("low", maybe(paired.and_then(|p| p.t_interval).map(|interval| interval.0))),
            ("high", maybe(paired.and_then(|p| p.t_interval).map(|interval| interval.1))),
            ("n", paired.map_or(0, |p| p.summary.n).into()),
            ("p", maybe(paired.map(|p| p.test.p))),
            ("p_holm", maybe(paired.map(|p| p.p_holm))),
            ("p_holm_smallest", maybe(comparison.smallest_p())),
            ("family", comparison.family.into()),
            ("same", paired.map_or(0, |p| p.same).into()),
            ("effect", maybe(paired.and_then(|p| p.effect))),
            ("superiority", maybe(paired.and_then(|p| p.superiority))),
            ("conclusion", comparison.finding().word().into()),
            ("runs", ids(runs.iter())),
        ],
    ))
}

pub(super) fn one_claim(report: &Report, id: &str) -> Result<Value> {
    let found = report.claims.iter().find(|claim| claim.id == id);
    found.map(|claim| claimed(report, claim)).ok_or_else(|| {
        let known: Vec<&str> = report.claims.iter().map(|claim| claim.id.as_str()).collect();
        invalid(format!("unknown claim {id:?}: {}", expected(&known, "the experiment has no claims")))
    })
}

pub(super) fn claimed(report: &Report, claim: &crate::ClaimVerdict) -> Value {
    let unit = claim.metric.map_or(Unit::Plain, Metric::unit);
    let unit = unit.of_differences();
    let judged = |name: String, at: Value, verdict: claim::Verdict, judged: Option<&Judged>, runs: Value| {
        let d =
            judged.map(|j| table::Difference { mean: j.summary.mean, interval: j.interval, n: j.summary.n });
        let n = d.map_or(0, |d| d.n);
        let text = with_unit(table::Value::Difference(d, unit, n).to_string(), unit);
        let by_seed = judged.map_or(&[][..], |j| &j.by_seed);
        let by_seed: BTreeMap<String, Value> =
            by_seed.iter().map(|(seed, x)| (seed.clone(), (*x).into())).collect();
        parts(
            if d.is_some() { text } else { "not run".to_owned() },
            [
                ("arm", name.into()),
                ("at", at),
                ("verdict", verdict.word().into()),
                ("mean", maybe(d.map(|d| d.mean))),
                ("low", maybe(d.and_then(|d| d.interval).map(|interval| interval.0))),
                ("high", maybe(d.and_then(|d| d.interval).map(|interval| interval.1))),
                ("n", n.into()),
                ("p", maybe(judged.map(|j| j.p))),
                ("p_uncorrected", maybe(judged.map(|j| j.p_uncorrected))),
                ("p_smallest", maybe(judged.map(|j| j.smallest_p))),
                ("same", judged.map_or(0, |j| j.same).into()),
                ("by_seed", by_seed.into()),
                ("runs", runs),
            ],
        )
    };
    let arms: Vec<Value> = claim
        .measured
        .iter()
        .map(|m| {
            let cell = &report.arms[m.arm].cell;
            let name = claim::coordinates(cell);
            judged(
                name,
                coordinates(cell),
                m.verdict,
                m.judged.as_ref(),
                ids(claim.runs_of(m, &report.arms).iter()),
            )
        })
        .collect();
    let average = claim.average.as_ref();
    parts(
        claim.verdict.word().to_owned(),
        [
            ("id", claim.id.as_str().into()),
            ("text", claim.text.as_str().into()),
            ("claimed", claim.claimed.as_str().into()),
            ("metric", maybe(claim.metric.map(|metric| format!("{} {}", metric.title(), metric.place())))),
            ("margin", maybe(claim.margin.map(|x| with_unit(fixed(x * unit.factor(), unit.digits()), unit)))),
            ("verdict", claim.verdict.word().into()),
            ("scope", claim.scope.word().into()),
            ("note", claim.note.as_str().into()),
            (
                "average",
                average.map_or_else(
                    || Value::from(()),
                    |it| {
                        judged(
                            "average".to_owned(),
                            coordinates(&Cell::new()),
                            it.verdict,
                            average,
                            ids(claim.runs(&report.arms).iter()),
                        )
                    },
                ),
            ),
            ("arms", arms.into()),
        ],
    )
}

pub(super) fn setting(report: &Report, key: &str, place: &Kwargs) -> Result<Value> {
    let pointer = format!("/{}", key.replace('.', "/"));
    let arms = matching(report, place)?;
    let runs = || arms.iter().flat_map(|arm| &report.arms[*arm].runs);
    let seeds: Vec<Json> =
        runs().filter(|_| key == label::SEED).map(|run| run.seed.as_str().into()).collect();
    let set = runs().map(|run| run.spec.pointer(&pointer).unwrap_or(&Json::Null));
    let mut values: Vec<&Json> = if seeds.is_empty() { set.collect() } else { seeds.iter().collect() };
    values.dedup();
    let has = |run: &crate::Run| run.spec.pointer(&pointer).is_some();
    if key != label::SEED && !runs().any(has) {
        let known = arms
            .first()
            .and_then(|arm| report.arms[*arm].runs.first())
            .map(|run| keys_beside(&run.spec, key));
        let expected = expected(&known.unwrap_or_default(), "there are no keys beside it");
        return Err(invalid(format!("these runs have no setting {key:?}: {expected}")));
    }
    match values[..] {
        [Json::Null] => Ok("off".into()),
        [value] => Ok(label::value(value).into()),
        _ => Err(invalid(format!(
            "`{key}` has several values in these runs: {}",
            values.iter().take(3).map(|v| label::value(v)).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// The computing time of the missing runs in seconds; `none` if an arm has no finished run.
pub(super) fn time_left(report: &Report, place: &Kwargs) -> Result<Value> {
    let of = matching(report, place)?.into_iter().map(|arm| remaining(&report.arms[arm]));
    Ok(maybe(of.sum::<Option<f64>>()))
}

/// The mean computing time of the finished runs in seconds; `none` without one.
pub(super) fn mean_time(report: &Report, place: &Kwargs) -> Result<Value> {
    let arms = matching(report, place)?;
    let times = arms.into_iter().flat_map(|arm| report.arms[arm].counted()).filter_map(seconds);
    Ok(maybe(summary(&times.collect::<Vec<_>>()).map(|summary| summary.mean)))
}

/// A table, or its rows about the arms with the given coordinates.
pub(super) fn one_table(report: &Report, name: &str, place: &Kwargs, format: Format) -> Result<Value> {
    let Some(mut found) = tables::table(report, name) else {
        let all = tables::tables(report);
        let known: Vec<&str> = all.iter().map(|table| table.name).collect();
        let expected = expected(&known, "the report has no tables");
        return Err(invalid(format!("unknown table {name:?}: {expected}")));
    };
    let mut label = report.experiment.clone();
    if place.args().next().is_some() {
        let arms = matching(report, place)?;
        if !found.rows.iter().any(|row| matches!(row.link, Some(Link::Arm(_)))) {
            return Err(invalid(format!(
                "the rows of the table {name:?} are not about arms: leave out the coordinates"
            )));
        }
        found.rows.retain(|row| matches!(row.link, Some(Link::Arm(arm)) if arms.contains(&arm)));
        let place = place.args().map(|axis| Ok(format!("{axis} = {}", place.peek::<Value>(axis)?)));
        let place = place.collect::<Result<Vec<_>>>()?.join(", ");
        found.caption = format!(
            "{} Shown: rows of {place}; the numbers in this text are of the whole table.",
            found.caption
        );
        label = format!("{label}-{}", place.replace(" = ", "-").replace(", ", "-"));
        if let Some(first) = found.rows.first_mut() {
            first.rule = false;
        }
        hide_constant_coordinates(&mut found);
    }
    Ok(Value::from_safe_string(match format {
        Format::Latex => table::latex(&found, &label),
        Format::Markdown | Format::Plain => table::markdown(&found),
    }))
}

/// Hides the coordinates that are the same in all rows.
fn hide_constant_coordinates(table: &mut table::Table) {
    let [first, others @ ..] = &*table.rows else { return };
    for (index, column) in table.columns.iter_mut().enumerate() {
        let value = &first.cells[index].value;
        let same = others.iter().all(|row| row.cells[index].value == *value);
        column.constant |= !others.is_empty() && same && matches!(value, table::Value::Label(_));
    }
}

/// The path of a figure, without extension for LaTeX, because `\input` adds `.tex`.
fn figure_path(name: &str, format: Format) -> Value {
    let extension = if format == Format::Latex { "" } else { ".svg" };
    Value::from_safe_string(format!("figures/{name}{extension}"))
}

/// The figures in the report's order, the forest plot first.
pub(super) fn all_figures(report: &Report, format: Format) -> Vec<Value> {
    let of = |name: &str, title: &str, caption: &str, paper: bool| {
        parts(
            name.to_owned(),
            [
                ("name", name.into()),
                ("title", title.into()),
                ("caption", caption.into()),
                ("paper", paper.into()),
                ("path", figure_path(name, format)),
            ],
        )
    };
    let answer = forest(report).map(|forest| of(FOREST, ANSWER, &forest.caption, false));
    let others = figures(report);
    let others = others.iter().map(|figure| of(&figure.name, &figure.title, &figure.caption, figure.paper));
    answer.into_iter().chain(others).collect()
}

pub(super) fn one_figure(report: &Report, name: &str, format: Format) -> Result<Value> {
    let all = figures(report);
    let answer = forest(report).map(|_| FOREST);
    let known: Vec<&str> = answer.into_iter().chain(all.iter().map(|figure| figure.name.as_str())).collect();
    if !known.contains(&name) {
        let expected = expected(&known, "the report has no figures");
        return Err(invalid(format!("unknown figure {name:?}: {expected}")));
    }
    Ok(figure_path(name, format))
}

/// The keys of the innermost table on the path `key` of a specification.
fn keys_beside(spec: &Json, key: &str) -> Vec<String> {
    let mut table = spec;
    for part in key.split('.') {
        match table.get(part) {
            Some(inner) if inner.is_object() => table = inner,
            _ => break,
        }
    }
    table.as_object().map(|table| table.keys().cloned().collect()).unwrap_or_default()
}
