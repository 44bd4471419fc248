//! The main results in sentences, for the top of the page.

use std::fmt::Write;

use crate::compare::pairs_needed;
use crate::label::phrase;
use crate::metric::At;
use crate::stats::summary;
use crate::table::{Value, limit, p_value, signed};
use crate::{Comparison, Contrast, Finding, Metric, Reason, Report, Unit, Verdict};

/// The metric of contrasts between arms that have none of the report's metrics in common.
const OTHERWISE: Metric = Metric::best("test_accuracy");

/// The maximum number of contrasts in the summary.
const CONTRASTS: usize = 3;

/// The maximum number of comparisons of a contrast that are reported one by one; more are summarised.
const ONE_BY_ONE: usize = 2;

/// The maximum number of values of an axis that are listed one by one.
const VALUES: usize = 5;

/// A result in words.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Sentence {
    /// The subject: "schedule against static, 18 arms"; empty if the sentence is about the whole experiment.
    pub about: String,
    /// The result.
    pub text: String,
}

/// The main results: first the limits of the evidence, then the contrasts, then the claims.
#[must_use]
pub fn answer(report: &Report) -> Vec<Sentence> {
    let mut out = contrasts(report);
    out.extend(claims(report));
    out
}

/// The sentences of [`answer`] without the claims.
pub(crate) fn contrasts(report: &Report) -> Vec<Sentence> {
    let mut out = vec![limitations(report)];
    out.extend(
        report.contrasts.iter().enumerate().take(CONTRASTS).flat_map(|(i, it)| contrast(report, i, it)),
    );
    if let Some(rest) = report.contrasts.get(CONTRASTS..).filter(|rest| !rest.is_empty()) {
        let words: Vec<String> = rest.iter().map(Contrast::word).collect();
        out.push(plain(format!(
            "Further contrasts, listed in the table of differences: {}.",
            words.join("; ")
        )));
    }
    out.retain(|sentence| !sentence.text.is_empty());
    out
}

fn plain(text: String) -> Sentence {
    Sentence { about: String::new(), text }
}

/// What the number of finished runs allows to conclude; empty if some comparison can be significant.
fn limitations(report: &Report) -> Sentence {
    let pairs = || report.comparisons.iter().filter_map(|c| c.paired.as_ref()).map(|paired| paired.summary.n);
    let text = match (report.counts.done, pairs().max()) {
        (0, _) => "No run has finished yet.".to_owned(),
        (_, None) if report.contrasts.is_empty() => without_contrasts(report),
        (_, None) if report.comparisons.is_empty() => {
            "The arms are measured on different examples, so no metric of theirs can be compared.".to_owned()
        }
        (_, None) => "No pair of runs with equal seeds has finished yet.".to_owned(),
        (_, Some(1)) => {
            "There is one seed per arm, so no difference can be tested for significance; other seeds may \
                         reverse it."
                .to_owned()
        }
        (_, Some(n)) if !report.comparisons.iter().any(Comparison::can_be_significant) => {
            let families = report.comparisons.iter().filter(|c| c.paired.is_some()).map(|c| c.family);
            let needed = pairs_needed(families.min().unwrap_or(1));
            format!(
                "With {n} seeds per arm no difference can be significant; at least {needed} seeds are needed. The \
                 differences below are descriptive:"
            )
        }
        _ => String::new(),
    };
    plain(text)
}

/// The result of a grid without contrasts.
fn without_contrasts(report: &Report) -> String {
    let Some(&metric) = report.metrics.first() else { return String::new() };
    let mut measured: Vec<(usize, f64)> = (0..report.arms.len())
        .filter_map(|arm| Some((arm, report.arms[arm].estimate(metric).summary?.mean)))
        .collect();
    if measured.iter().any(|(arm, _)| !report.arms[*arm].leaks()) {
        measured.retain(|(arm, _)| !report.arms[*arm].leaks());
    }
    let lower = metric.higher_is_better() == Some(false);
    measured.sort_by(|a, b| if lower { a.1.total_cmp(&b.1) } else { b.1.total_cmp(&a.1) });
    let what = name(metric);
    let Some(&(arm, _)) = measured.first() else {
        return format!(
            "There is nothing to compare: no two arms differ in exactly one axis, and no arm has a value of {what}."
        );
    };
    let estimate = Value::Estimate(report.arms[arm].estimate(metric), metric.unit()).to_string();
    let estimate = [estimate.as_str(), metric.unit().sign()].join(" ").trim_end().to_owned();
    let n = report.arms[arm].estimate(metric).n();
    let name = report.axes.iter().map(|axis| phrase(axis, &report.arms[arm].label(axis)));
    let name = name.collect::<Vec<_>>().join(", ");
    match measured.len() {
        1 => format!(
            "There is nothing to compare: only one arm has results. {name}: {what} {estimate} (n = {n})."
        ),
        arms => format!(
            "There is nothing to compare: no two of the {arms} arms differ in exactly one axis. The {} {what} is {estimate} \
             (n = {n}), reached by {name}.",
            if lower { "lowest" } else { "highest" }
        ),
    }
}

/// The results of a contrast.
fn contrast(report: &Report, index: usize, it: &Contrast) -> Vec<Sentence> {
    // Means over arms with different numbers of seeds would be compared.
    let (complete, incomplete): (Vec<_>, Vec<_>) =
        report.summarised(index).into_iter().partition(|c| pairs(c) == c.planned);
    let (all, left_out) = if complete.is_empty() { (incomplete, Vec::new()) } else { (complete, incomplete) };
    let of =
        |metric: Metric| -> Vec<&Comparison> { all.iter().filter(|c| c.metric == metric).copied().collect() };
    let mut by_metric: Vec<(Metric, Vec<&Comparison>)> =
        report.metrics.iter().map(|metric| (*metric, of(*metric))).collect();
    by_metric.retain(|(_, all)| !all.is_empty());
    if by_metric.is_empty() {
        by_metric.push((OTHERWISE, of(OTHERWISE)));
    }
    let Some((_, first)) = by_metric.first().filter(|(_, all)| !all.is_empty()) else { return Vec::new() };
    let first_value =
        if it.reason == Reason::First { " (the first value of the axis; no baseline is named)" } else { "" };
    if first.len() <= ONE_BY_ONE {
        let one = |c: &&Comparison| {
            let all = by_metric.iter().filter_map(|(_, all)| all.iter().find(|other| other.arm == c.arm));
            let text = all.map(|c| in_full(c)).collect::<Vec<_>>().join("; ");
            let place = place(report, it, c.arm);
            let place = if place.is_empty() { place } else { format!(", {place}") };
            Sentence {
                about: format!(
                    "{} against {}{place}{first_value}",
                    it.value(&report.arms[c.arm]),
                    it.against()
                ),
                text: format!("{text}; n = {}.", pairs(c)),
            }
        };
        return first.iter().map(one).collect();
    }
    let mut parts: Vec<String> = Vec::new();
    for (i, (metric, all)) in by_metric.iter().enumerate() {
        let values = if i == 0 { by_value(report, it, all) } else { String::new() };
        let mean = with_unit(*metric, average(all));
        let name = if i == 0 { name(*metric) } else { capital(&name(*metric)) };
        let count = count_by_finding(*metric, all);
        parts.push(format!("{name} {mean} on average{values}, {count}."));
    }
    if let Some(c) = largest(first) {
        let place = place(report, it, c.arm);
        let place = if place.is_empty() { place } else { format!(" ({place})") };
        let value = it.value(&report.arms[c.arm]);
        parts.push(format!("Largest difference: {value}{place}, {}, n = {}.", in_full(c), pairs(c)));
    }
    let left_out: Vec<usize> =
        left_out.iter().filter(|c| c.metric == first[0].metric).map(|c| c.arm).collect();
    let counted: Vec<usize> = first.iter().map(|c| c.arm).collect();
    let of = common(report, &left_out, &counted);
    match left_out.len() {
        0 => {}
        1 => parts.push(format!("1 more arm{of} has fewer seeds and is left out.")),
        more => parts.push(format!("{more} more arms{of} have fewer seeds and are left out.")),
    }
    let axis = it.axis();
    let axis = if NAMED.contains(&axis.as_str()) { capital(&axis) } else { axis };
    let last = by_metric.iter().all(|(metric, _)| metric.at == At::Final);
    let when = if last { format!(", {}", At::Final.place()) } else { String::new() };
    let about = format!("{axis} against {}{first_value}, {} arms{when}", it.against(), first.len());
    vec![Sentence { about, text: parts.join(" ") }]
}

/// " (resnet)": the first value of an axis that `arms` share and `others` do not have.
fn common(report: &Report, arms: &[usize], others: &[usize]) -> String {
    let label = |arm: &usize, axis: &String| report.arms[*arm].label(axis);
    let shared = |axis: &&String| {
        let first = arms.first().map(|arm| label(arm, axis));
        first.is_some()
            && arms.iter().all(|arm| Some(label(arm, axis)) == first)
            && others.iter().all(|arm| Some(label(arm, axis)) != first)
    };
    report
        .axes
        .iter()
        .find(shared)
        .map_or_else(String::new, |axis| format!(" ({})", phrase(axis, &label(&arms[0], axis))))
}

/// Axes whose names are English words, which a sentence capitalises.
const NAMED: [&str; 4] = ["schedule", "monitor", "model", "dataset"];

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// "validation accuracy".
fn name(metric: Metric) -> String {
    metric.phrase().replace("accuracy gap", "gap between training and validation accuracy")
}

/// The coordinates of an arm on the axes that the grid varies and the contrast does not.
pub(crate) fn place(report: &Report, contrast: &Contrast, arm: usize) -> String {
    let varied = report.axes.iter().filter(|axis| !contrast.axes.contains(axis) && varies(report, axis));
    varied.map(|axis| phrase(axis, &report.arms[arm].label(axis))).collect::<Vec<_>>().join(", ")
}

fn varies(report: &Report, axis: &str) -> bool {
    // The model implies the data set.
    let by_model = axis == "dataset" && report.axes.iter().any(|axis| axis == "model");
    !by_model && report.arms.iter().any(|arm| arm.cell.get(axis) != report.arms[0].cell.get(axis))
}

fn pairs(c: &Comparison) -> usize {
    c.paired.as_ref().map_or(0, |paired| paired.summary.n)
}

fn mean(c: &Comparison) -> f64 {
    c.paired.as_ref().map_or(0.0, |paired| paired.summary.mean)
}

fn average(all: &[&Comparison]) -> f64 {
    summary(&all.iter().map(|c| mean(c)).collect::<Vec<_>>()).map_or(0.0, |s| s.mean)
}

/// A difference, rounded and signed, without its unit.
pub(crate) fn number(metric: Metric, x: f64) -> String {
    signed(x * metric.unit().factor(), digits(metric))
}

/// An interval of a difference, without its unit.
pub(crate) fn interval(metric: Metric, (low, high): (f64, f64)) -> String {
    let [low, high] = [low, high].map(|x| limit(x * metric.unit().factor(), digits(metric)));
    format!("[{low}, {high}]")
}

fn digits(metric: Metric) -> usize {
    if metric.unit().factor() > 1.0 { 1 } else { metric.unit().digits() }
}

/// As [`number`], with its unit.
fn with_unit(metric: Metric, x: f64) -> String {
    let (number, unit) = (number(metric, x), unit(metric));
    if unit.is_empty() { number } else { format!("{number} {unit}") }
}

pub(crate) fn unit(metric: Metric) -> &'static str {
    match metric.unit() {
        Unit::Percent | Unit::Points => "points",
        other => other.sign(),
    }
}

/// "validation accuracy +2.4 points [+1.9, +2.9], p = 0.008, better".
fn in_full(c: &Comparison) -> String {
    let Some(paired) = &c.paired else { return String::new() };
    let mut text = format!("{} {}", name(c.metric), with_unit(c.metric, paired.summary.mean));
    if let Some(limits) = paired.t_interval {
        let _ = write!(text, " {}", interval(c.metric, limits));
    }
    match c.finding() {
        Finding::NotRun | Finding::TooFew => {}
        finding => {
            let _ = write!(text, ", {}", p_value(paired.p_holm));
            if c.family > 1 {
                let before = p_value(paired.test.p);
                let _ = write!(text, " ({before} before Holm's correction over {} comparisons)", c.family);
            }
            let _ = write!(text, ", {}", finding.word());
        }
    }
    text
}

/// " (cosine +2.1, step +1.5, exponential −0.2)"; empty if there is only one value.
fn by_value(report: &Report, contrast: &Contrast, all: &[&Comparison]) -> String {
    let metric = all[0].metric;
    let mut values: Vec<(String, Vec<&Comparison>)> = Vec::new();
    for c in all {
        let value = contrast.value(&report.arms[c.arm]);
        match values.iter_mut().find(|(other, _)| *other == value) {
            Some((_, list)) => list.push(c),
            None => values.push((value, vec![c])),
        }
    }
    let mut ranked: Vec<(String, f64)> =
        values.into_iter().map(|(value, list)| (value, average(&list))).collect();
    let higher = metric.higher_is_better() != Some(false);
    ranked.sort_by(|a, b| if higher { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) });
    let shown = |(value, x): &(String, f64)| format!("{value} {}", number(metric, *x));
    match ranked.as_slice() {
        [] | [_] => String::new(),
        [best, .., worst] if ranked.len() > VALUES => {
            format!(" (from {} to {}, {} values)", shown(best), shown(worst), ranked.len())
        }
        _ => format!(" ({})", ranked.iter().map(shown).collect::<Vec<_>>().join(", ")),
    }
}

/// "significantly better in 5, significantly worse in 1 of 18 arms"; if n is too small for any test, the more frequent sign:
/// "higher in 12 of 18 arms".
fn count_by_finding(metric: Metric, all: &[&Comparison]) -> String {
    let of = all.len();
    let count = |finding: Finding| all.iter().filter(|c| c.finding() == finding).count();
    let equivalent = match count(Finding::Equivalent) {
        0 => String::new(),
        n => format!(", equivalent in {n}"),
    };
    if !all.iter().any(|c| c.can_be_significant()) {
        let above = all.iter().filter(|c| mean(c) > 0.0).count();
        let below = all.iter().filter(|c| mean(c) < 0.0).count();
        let words = if metric.key == "accuracy_gap" { ["larger", "smaller"] } else { ["higher", "lower"] };
        if above + below == 0 {
            return format!("equal in all {of} arms{equivalent}");
        }
        let (word, count) = if above >= below { (words[0], above) } else { (words[1], below) };
        return format!("{word} in {count} of {of} arms{equivalent}");
    }
    if count(Finding::Undecided) == of {
        return format!("not significant in any of {of} arms");
    }
    let none = |n: usize| if n == 0 { "none".to_owned() } else { n.to_string() };
    if metric.higher_is_better().is_none() {
        return format!(
            "significantly different in {}{equivalent} of {of} arms",
            none(count(Finding::Different))
        );
    }
    format!(
        "significantly better in {}{equivalent}, significantly worse in {} of {of} arms",
        none(count(Finding::Better)),
        none(count(Finding::Worse))
    )
}

/// The largest significant difference, or the largest of all if none is significant.
fn largest<'a>(all: &[&'a Comparison]) -> Option<&'a Comparison> {
    let significant =
        |c: &&&Comparison| matches!(c.finding(), Finding::Better | Finding::Worse | Finding::Different);
    let by_size = |a: &&&Comparison, b: &&&Comparison| mean(a).abs().total_cmp(&mean(b).abs());
    all.iter().filter(significant).max_by(by_size).or_else(|| all.iter().max_by(by_size)).copied()
}

/// "2 supported (a, b), 1 contradicted (c)."
fn claims(report: &Report) -> Option<Sentence> {
    let count = report.claims.len();
    let kinds = [
        Verdict::Supported,
        Verdict::Contradicted,
        Verdict::Equivalent,
        Verdict::Undecided,
        Verdict::NotRun,
        Verdict::Unreadable,
    ];
    let counts = kinds.into_iter().filter_map(|kind| {
        let of: Vec<&str> = report
            .claims
            .iter()
            .filter(|claim| claim.verdict == kind)
            .map(|claim| claim.id.as_str())
            .collect();
        let some = if of.len() > 3 { format!("{}, …", of[..3].join(", ")) } else { of.join(", ") };
        (!of.is_empty()).then(|| format!("{} {} ({some})", of.len(), kind.word()))
    });
    let text = counts.collect::<Vec<_>>().join(", ");
    let about = if count == 1 {
        "The experiment's claim".to_owned()
    } else {
        format!("The experiment's {count} claims")
    };
    (count > 0).then_some(Sentence { about, text: format!("{text}.") })
}
