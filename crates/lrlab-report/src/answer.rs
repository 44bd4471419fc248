//! The answer to the experiment's question, for the first screen: what was found, in sentences.

use std::fmt::Write;

use crate::compare::pairs_needed;
use crate::label::phrase;
use crate::stats::summary;
use crate::table::{Value, signed};
use crate::{Comparison, Contrast, Finding, Metric, Reason, Report, Unit, Verdict};

/// The three ways in which a setting shows: how often the network is right, how sure it is, and how much of that it only
/// has on what it was trained on.
pub(crate) const METRICS: [Metric; 3] =
    [Metric::last("val_accuracy"), Metric::last("val_loss"), Metric::last("accuracy_gap")];

/// Contrasts that the first screen has room for.
const CONTRASTS: usize = 3;

/// Comparisons of a contrast that are told one by one; more are summarised.
const ONE_BY_ONE: usize = 2;

/// Values of an axis that are told one by one.
const VALUES: usize = 5;

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Sentence {
    /// What it is about: "schedule against static, 18 arms"; empty where it is about everything.
    pub about: String,
    /// What was found.
    pub text: String,
}

/// What was found, the most important first, with how far it can be trusted.
#[must_use]
pub fn answer(report: &Report) -> Vec<Sentence> {
    let mut out = vec![trust(report)];
    out.extend(
        report.contrasts.iter().enumerate().take(CONTRASTS).flat_map(|(i, it)| contrast(report, i, it)),
    );
    if let Some(rest) = report.contrasts.get(CONTRASTS..).filter(|rest| !rest.is_empty()) {
        let words: Vec<String> = rest.iter().map(Contrast::word).collect();
        out.push(plain(format!("The table of differences also compares {}.", words.join("; "))));
    }
    out.extend(claims(report));
    out.retain(|sentence| !sentence.text.is_empty());
    out
}

fn plain(text: String) -> Sentence {
    Sentence { about: String::new(), text }
}

/// How much can be known from so many runs.
fn trust(report: &Report) -> Sentence {
    let pairs = || report.comparisons.iter().filter_map(|c| c.paired.as_ref()).map(|paired| paired.summary.n);
    let text = match (report.counts.done, pairs().max()) {
        (0, _) => "No run is done: nothing is known yet.".to_owned(),
        (_, None) if report.contrasts.is_empty() => alone(report),
        (_, None) => {
            "No two runs of equal seed that could be compared are done: nothing is known yet.".to_owned()
        }
        (_, Some(1)) => {
            "One seed: no difference below can be told from chance. It is what these runs measured, and \
                         other seeds may turn it round."
                .to_owned()
        }
        (_, Some(n))
            if report
                .comparisons
                .iter()
                .all(|c| matches!(c.finding(), Finding::TooFew | Finding::NotRun)) =>
        {
            let families = report.comparisons.iter().filter(|c| c.paired.is_some()).map(|c| c.family);
            let needed = pairs_needed(families.min().unwrap_or(1));
            format!(
                "With {n} seeds no difference can be told from chance; {needed} are the fewest that could. This is what \
                 was measured, not what is known:"
            )
        }
        _ => String::new(),
    };
    plain(text)
}

/// A grid in which nothing is compared.
fn alone(report: &Report) -> String {
    let mut measured: Vec<(usize, f64)> = (0..report.arms.len())
        .filter_map(|arm| Some((arm, report.arms[arm].estimate(METRICS[0]).summary?.mean)))
        .collect();
    measured.sort_by(|a, b| b.1.total_cmp(&a.1));
    let Some(&(arm, _)) = measured.first() else {
        return "Nothing is compared: no two arms differ in one axis alone, and none has a validation accuracy.".to_owned();
    };
    let estimate = Value::Estimate(report.arms[arm].estimate(METRICS[0]), Unit::Percent);
    let n = report.arms[arm].estimate(METRICS[0]).n();
    let name = report.axes.iter().map(|axis| phrase(axis, &report.arms[arm].label(axis)));
    let name = name.collect::<Vec<_>>().join(", ");
    match measured.len() {
        1 => format!(
            "Nothing is compared: the grid has one arm with figures. {name}: validation accuracy {estimate} % (n = {n})."
        ),
        arms => format!(
            "Nothing is compared: no two of the {arms} arms differ in one axis alone. The highest validation accuracy is \
             {estimate} % (n = {n}), of {name}."
        ),
    }
}

/// What a contrast shows.
fn contrast(report: &Report, index: usize, it: &Contrast) -> Vec<Sentence> {
    let of = |metric: Metric| -> Vec<&Comparison> {
        let about = |c: &&Comparison| (c.contrast, c.metric) == (index, metric) && c.paired.is_some();
        report.comparisons.iter().filter(about).collect()
    };
    let by_metric: Vec<(Metric, Vec<&Comparison>)> =
        METRICS.into_iter().map(|metric| (metric, of(metric))).filter(|(_, all)| !all.is_empty()).collect();
    let Some((_, first)) = by_metric.first() else { return Vec::new() };
    let first_value =
        if it.reason == Reason::First { " (the axis' first value; no baseline is named)" } else { "" };
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
        let (mean, unit) = (number(*metric, average(all)), unit(*metric));
        let name = if i == 0 { name(*metric).to_owned() } else { capital(name(*metric)) };
        let count = in_how_many(*metric, all);
        parts.push(format!("{name} {mean} {unit} on average{values}, {count}."));
    }
    if let Some(c) = largest(first) {
        let place = place(report, it, c.arm);
        let place = if place.is_empty() { place } else { format!(" ({place})") };
        let value = it.value(&report.arms[c.arm]);
        parts.push(format!("Largest difference: {value}{place}, {}, n = {}.", in_full(c), pairs(c)));
    }
    let axis = it.axis();
    let axis = if NAMED.contains(&axis.as_str()) { capital(&axis) } else { axis };
    let about = format!("{axis} against {}{first_value}, {} arms", it.against(), first.len());
    vec![Sentence { about, text: parts.join(" ") }]
}

/// Axes whose names are words.
const NAMED: [&str; 4] = ["schedule", "monitor", "model", "dataset"];

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// "validation accuracy".
fn name(metric: Metric) -> &'static str {
    if metric.key == "accuracy_gap" { "gap between training and validation accuracy" } else { metric.title() }
}

/// The coordinates of an arm on the axes that the grid varies and the contrast does not.
pub(crate) fn place(report: &Report, contrast: &Contrast, arm: usize) -> String {
    let varied = report.axes.iter().filter(|axis| !contrast.axes.contains(axis) && varies(report, axis));
    varied.map(|axis| phrase(axis, &report.arms[arm].label(axis))).collect::<Vec<_>>().join(", ")
}

fn varies(report: &Report, axis: &str) -> bool {
    // A data set that goes with the model says nothing more.
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

/// A difference as a sentence gives it, without its unit.
pub(crate) fn number(metric: Metric, x: f64) -> String {
    let digits = if metric.unit().factor() > 1.0 { 1 } else { metric.unit().digits() };
    signed(x * metric.unit().factor(), digits)
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
    let mut text = format!("{} {} {}", name(c.metric), number(c.metric, paired.summary.mean), unit(c.metric));
    if let Some((low, high)) = paired.t_interval {
        let _ = write!(text, " [{}, {}]", number(c.metric, low), number(c.metric, high));
    }
    match c.finding() {
        Finding::NotRun | Finding::TooFew => {}
        finding => {
            let p = Value::P(Some(paired.p_holm)).to_string();
            let sign = if p.starts_with('<') { "" } else { "= " };
            let _ = write!(text, ", p {sign}{p}, {}", finding.word());
        }
    }
    text
}

/// " (cosine +2.1, step +1.5, exponential −0.2)"; nothing where there is one value.
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
    let said = |(value, x): &(String, f64)| format!("{value} {}", number(metric, *x));
    match ranked.as_slice() {
        [] | [_] => String::new(),
        [best, .., worst] if ranked.len() > VALUES => {
            format!(" (from {} to {}, {} values)", said(best), said(worst), ranked.len())
        }
        _ => format!(" ({})", ranked.iter().map(said).collect::<Vec<_>>().join(", ")),
    }
}

/// "better in 5, worse in 1 of 18 arms"; where nothing can be tested, on which side the means lie.
fn in_how_many(metric: Metric, all: &[&Comparison]) -> String {
    let of = all.len();
    let count = |finding: Finding| all.iter().filter(|c| c.finding() == finding).count();
    if count(Finding::TooFew) == of {
        let above = all.iter().filter(|c| mean(c) > 0.0).count();
        let below = all.iter().filter(|c| mean(c) < 0.0).count();
        let words = if metric.key == "accuracy_gap" { ["larger", "smaller"] } else { ["higher", "lower"] };
        let (word, count) = if above >= below { (words[0], above) } else { (words[1], below) };
        return format!("{word} in {count} of {of} arms");
    }
    if count(Finding::Undecided) == of {
        return format!("no evidence in any of {of} arms");
    }
    let none = |n: usize| if n == 0 { "none".to_owned() } else { n.to_string() };
    let equivalent = match count(Finding::Equivalent) {
        0 => String::new(),
        n => format!(", equivalent in {n}"),
    };
    format!(
        "better in {}{equivalent}, worse in {} of {of} arms",
        none(count(Finding::Better)),
        none(count(Finding::Worse))
    )
}

/// The largest difference, of those that are more than chance where there are any.
fn largest<'a>(all: &[&'a Comparison]) -> Option<&'a Comparison> {
    let sure = |c: &&&Comparison| matches!(c.finding(), Finding::Better | Finding::Worse);
    let by_size = |a: &&&Comparison, b: &&&Comparison| mean(a).abs().total_cmp(&mean(b).abs());
    all.iter().filter(sure).max_by(by_size).or_else(|| all.iter().max_by(by_size)).copied()
}

/// "Of 6 claims 2 are supported, 1 is contradicted and 3 are undecided."
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
    let said = kinds.into_iter().filter_map(|kind| {
        let of: Vec<&str> = report
            .claims
            .iter()
            .filter(|claim| claim.verdict == kind)
            .map(|claim| claim.id.as_str())
            .collect();
        let some = if of.len() > 3 { format!("{}, …", of[..3].join(", ")) } else { of.join(", ") };
        (!of.is_empty()).then(|| format!("{} {} ({some})", of.len(), kind.word()))
    });
    let text = said.collect::<Vec<_>>().join(", ");
    let about = if count == 1 {
        "The experiment's claim".to_owned()
    } else {
        format!("The experiment's {count} claims")
    };
    (count > 0).then_some(Sentence { about, text: format!("{text}.") })
}
