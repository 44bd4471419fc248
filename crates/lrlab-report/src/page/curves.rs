//! The data of the page's interactive curves: the histories of the runs as compact JSON.
//!
//! Fractions are stored in millionths and other numbers with six significant digits; `tables/curves.csv` has full precision.
//! A learning-rate curve that several runs share is stored once.

use std::collections::HashMap;

use lrlab_runs::EpochMetrics;
use serde::Serialize;
use serde_json::Number;

use crate::figure::PALETTE;
use crate::rates::{Rates, thinned};
use crate::{Arm, Metric, Report, Run, Unit, label, tables};

/// The axes that determine the panel of an arm.
const PANEL: [&str; 4] = [label::EXPERIMENT, "model", "dataset", label::EPOCHS];

/// The number of arms that a panel shows initially.
const FIRST: usize = 4;

/// The maximum number of runs with curves on the page, which bounds its size and loading time.
pub(super) const MOST_RUNS: usize = 2000;

/// The learning rate, which is drawn by update instead of by epoch.
const RATE: &str = "lr";

#[derive(Serialize)]
struct Curves {
    palette: &'static [&'static str],
    metrics: Vec<PageMetric>,
    panels: Vec<Panel>,
    /// By the report's index of the arm.
    arms: Vec<Vec<PageRun>>,
    rates: Vec<RateLine>,
}

#[derive(Serialize)]
struct PageMetric {
    key: String,
    title: String,
    sign: &'static str,
    factor: f64,
    /// The unit of the stored values: 10⁻⁶ for fractions, else 1.
    unit: f64,
    /// The number of decimals; `None` shows four significant digits.
    digits: Option<usize>,
}

impl PageMetric {
    /// A metric that the program measures.
    fn known(metric: Metric) -> Self {
        Self {
            key: metric.key.to_owned(),
            title: metric.title().to_owned(),
            sign: metric.unit().sign(),
            factor: metric.unit().factor(),
            unit: if is_fraction(metric) { MILLIONTH } else { 1.0 },
            digits: Some(metric.unit().digits()),
        }
    }

    /// A user-defined metric or a scheduled hyperparameter.
    fn own(name: &str) -> Self {
        Self { key: name.to_owned(), title: name.to_owned(), sign: "", factor: 1.0, unit: 1.0, digits: None }
    }
}

#[derive(Serialize)]
struct Panel {
    name: String,
    arms: Vec<PanelArm>,
}

#[derive(Serialize)]
struct PanelArm {
    /// Index in the report's arms.
    arm: usize,
    name: String,
    color: usize,
    dashed: bool,
    /// Whether the arm is shown initially.
    first: bool,
}

#[derive(Serialize)]
struct PageRun {
    /// The unique prefix of the id; `None` without the data of the run.
    id: Option<String>,
    seed: String,
    state: &'static str,
    /// Completed epochs, one per entry of the lists in `values`; absent where they are 1, 2, …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    epochs: Vec<u64>,
    updates_per_epoch: Option<u64>,
    /// The run's computing time, spread evenly over its epochs.
    seconds_per_epoch: Option<f64>,
    /// For each metric except the learning rate, the values by epoch in units of [`PageMetric::unit`]; empty if the run has
    /// none.
    values: Vec<Vec<Option<Number>>>,
    /// Index into `rates`.
    rate: Option<usize>,
}

/// A learning rate over epochs.
#[derive(Serialize)]
struct RateLine {
    /// Whether the rate of every update is known; otherwise there are two points per epoch, its first and last update.
    joined: bool,
    x: Vec<f64>,
    y: Vec<f64>,
}

/// The curves of every run as JSON that is safe inside a `script` element; `None` for more than [`MOST_RUNS`] runs.
pub(super) fn json(report: &Report) -> Result<Option<String>, serde_json::Error> {
    if report.runs().count() > MOST_RUNS {
        return Ok(None);
    }
    let mut lines = RateLines::default();
    let measured = |key: &&str| {
        let mut epochs = report.runs().filter_map(Run::result).flat_map(|result| &result.history);
        epochs.any(|epoch| epoch.get(key).flatten().is_some_and(f64::is_finite))
    };
    let own = tables::own_names(report);
    let own = || own.iter().map(String::as_str).filter(measured);
    let known = EpochMetrics::NAMES
        .into_iter()
        .filter(|key| *key != RATE && *key != "lr_first" && Metric::parse(key).is_some())
        .filter(measured);
    let keys: Vec<&str> = known.chain(own()).collect();
    let digits = report.id_digits();
    let arms: Vec<Vec<PageRun>> = report
        .arms
        .iter()
        .map(|arm| arm.runs.iter().map(|run| page_run(run, &keys, digits, &mut lines)).collect())
        .collect();
    let curves = Curves {
        palette: &PALETTE,
        metrics: EpochMetrics::NAMES
            .into_iter()
            .filter(|key| keys.contains(key) || (*key == RATE && !lines.all.is_empty()))
            .filter_map(Metric::parse)
            .map(PageMetric::known)
            .chain(own().map(PageMetric::own))
            .collect(),
        panels: panels(report),
        arms,
        rates: lines.all,
    };
    // Prevents `</script>` in names from ending the element.
    Ok(Some(serde_json::to_string(&curves)?.replace('<', "\\u003c")))
}

/// A panel for every combination of experiment, model, data set and budget, and, if there are several, one with all arms.
fn panels(report: &Report) -> Vec<Panel> {
    let (fixed, free): (Vec<&String>, Vec<&String>) =
        report.axes.iter().partition(|axis| PANEL.contains(&axis.as_str()));
    let free: Vec<&str> = free.into_iter().map(String::as_str).collect();
    let varied: Vec<&str> =
        report.axes.iter().map(String::as_str).filter(|axis| report.values(axis).len() > 1).collect();
    let mut panels: Vec<Panel> = report
        .grouped(&free)
        .into_iter()
        .map(|arms| {
            let of = |axis: &&String| coordinate(&report.arms[*arms.first()?], axis, &varied);
            let named: Vec<String> = fixed.iter().filter_map(of).collect();
            let name = if named.is_empty() { "all arms".to_owned() } else { named.join(", ") };
            panel(report, name, &arms, &free, &varied)
        })
        .collect();
    if panels.len() > 1 {
        let all: Vec<usize> = (0..report.arms.len()).collect();
        let axes: Vec<&str> = report.axes.iter().map(String::as_str).collect();
        panels.push(panel(report, "all arms".to_owned(), &all, &axes, &varied));
    }
    panels
}

/// A panel of arms that are named by their coordinates on `axes`. The stroke shows the monitor, the colour the other
/// coordinates; the fixed rate is black, as in the figures.
fn panel(report: &Report, name: String, arms: &[usize], axes: &[&str], varied: &[&str]) -> Panel {
    let color_key = |arm: &Arm| -> Vec<String> {
        axes.iter().filter(|axis| **axis != label::MONITOR).map(|axis| arm.label(axis)).collect()
    };
    let mut color_keys: Vec<Vec<String>> = Vec::new();
    if !arms.iter().any(|i| report.arms[*i].fixed_rate) {
        color_keys.push(Vec::new());
    }
    for fixed in [true, false] {
        for arm in arms.iter().map(|i| &report.arms[*i]).filter(|arm| arm.fixed_rate == fixed) {
            if !color_keys.contains(&color_key(arm)) {
                color_keys.push(color_key(arm));
            }
        }
    }
    let first = shown_first(report, arms);
    let arms = arms.iter().map(|i| {
        let arm = &report.arms[*i];
        let named: Vec<String> = axes.iter().filter_map(|axis| coordinate(arm, axis, varied)).collect();
        PanelArm {
            arm: *i,
            name: if named.is_empty() { "every run".to_owned() } else { named.join(", ") },
            color: color_keys.iter().position(|other| *other == color_key(arm)).unwrap_or(0),
            dashed: arm.monitored,
            first: first.contains(i),
        }
    });
    Panel { name, arms: arms.collect() }
}

/// The arms that are shown initially: unmonitored before monitored arms and the fixed rate before other schedules, in the
/// report's order; arms without a result last.
fn shown_first(report: &Report, arms: &[usize]) -> Vec<usize> {
    let mut order = arms.to_vec();
    order.sort_by_key(|i| {
        let arm = &report.arms[*i];
        (arm.done() == 0, arm.monitored, !arm.fixed_rate)
    });
    order.truncate(FIRST);
    order
}

/// A coordinate in display form, with the name of the axis if the value is a number; `None` if the axis is not one of those
/// on which the report's arms differ, or if the coordinate is the absence of a monitor.
fn coordinate(arm: &Arm, axis: &str, varied: &[&str]) -> Option<String> {
    if !varied.contains(&axis) {
        return None;
    }
    let value = arm.label(axis);
    match axis {
        label::EXPERIMENT | "model" | "dataset" | label::SCHEDULE => Some(value),
        label::EPOCHS => Some(format!("{value} {}", if value == "1" { "epoch" } else { "epochs" })),
        label::MONITOR if !arm.monitored => None,
        label::MONITOR if matches!(value.as_str(), "on" | "–") => Some("monitor".to_owned()),
        label::MONITOR => Some(value),
        _ => Some(format!("{axis} {value}")),
    }
}

fn page_run(run: &Run, keys: &[&str], digits: usize, lines: &mut RateLines) -> PageRun {
    let history = run.result().map_or(&[][..], |result| &result.history);
    let series = |key: &&str| -> Vec<Option<Number>> {
        let fraction = EpochMetrics::NAMES.contains(key) && Metric::parse(key).is_some_and(is_fraction);
        let number = |x| if fraction { Some(whole(x / MILLIONTH)) } else { Number::from_f64(short(x)) };
        let of = |epoch: &EpochMetrics| epoch.get(key).flatten().filter(|x| x.is_finite()).and_then(number);
        let values: Vec<Option<Number>> = history.iter().map(of).collect();
        if values.iter().any(Option::is_some) { values } else { Vec::new() }
    };
    let values: Vec<_> = keys.iter().map(series).collect();
    let counted = history.iter().zip(1..).all(|(epoch, n)| epoch.epoch == n)
        && values.iter().any(|list| !list.is_empty());
    let updates = run.result().and_then(|result| result.updates);
    PageRun {
        id: run.identified.then(|| run.id.as_str().get(..digits).unwrap_or_default().to_owned()),
        seed: run.seed.clone(),
        state: run.word(),
        epochs: if counted { Vec::new() } else { history.iter().map(|epoch| epoch.epoch).collect() },
        updates_per_epoch: updates.map(|updates| updates.per_epoch),
        seconds_per_epoch: seconds_per_epoch(run).map(short),
        values,
        rate: lines.of(run),
    }
}

/// The mean time per executed epoch. Epochs that were repeated after an interruption count as executed.
fn seconds_per_epoch(run: &Run) -> Option<f64> {
    let result = run.result()?;
    let before = result.provenance.continued.as_ref().map_or(0, |continued| continued.work.updates);
    let executed = (result.timing.updates_executed + before) as f64;
    let epochs = match result.updates {
        Some(updates) if executed > 0.0 => executed / updates.per_epoch as f64,
        _ => result.history.len() as f64,
    };
    tables::seconds(run).map(|seconds| seconds / epochs).filter(|x| x.is_finite() && *x > 0.0)
}

/// Deduplicated learning-rate curves.
#[derive(Default)]
struct RateLines {
    all: Vec<RateLine>,
    known: HashMap<Vec<(u64, u64)>, usize>,
    rates: Rates,
}

impl RateLines {
    /// The index of the run's curve; `None` if the run has none.
    fn of(&mut self, run: &Run) -> Option<usize> {
        let (joined, points) = match self.rates.of(run) {
            Some((rates, per_epoch)) => (true, line(&rates, per_epoch)),
            None => (false, ends(run)),
        };
        if points.is_empty() {
            return None;
        }
        let key = points.iter().map(|(x, y)| (x.to_bits(), y.to_bits())).collect();
        Some(*self.known.entry(key).or_insert_with(|| {
            let (x, y) = points.iter().map(|(x, y)| (short(*x), short(*y))).unzip();
            self.all.push(RateLine { joined, x, y });
            self.all.len() - 1
        }))
    }
}

/// The points of a learning-rate curve: small changes between updates become sloped lines, which need few points after
/// thinning; larger ones stay vertical steps.
fn line(rates: &[f64], per_epoch: u64) -> Vec<(f64, f64)> {
    const STEP: f64 = 0.03;
    let (low, high) =
        rates.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(*x), b.max(*x)));
    let at = |update: usize| update as f64 / per_epoch.max(1) as f64;
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (update, rate) in rates.iter().enumerate() {
        if let Some((_, before)) =
            points.last().copied().filter(|(_, y)| (y - rate).abs() > STEP * (high - low))
        {
            points.push((at(update), before));
        }
        points.push((at(update), *rate));
    }
    points.extend(rates.last().map(|rate| (at(rates.len()), *rate)));
    thinned(&points)
}

/// The rates of the first and last update of each epoch.
fn ends(run: &Run) -> Vec<(f64, f64)> {
    let finite = |x: Option<f64>| x.filter(|x| x.is_finite());
    let history = run.result().into_iter().flat_map(|result| &result.history);
    let ends = history.flat_map(|epoch| {
        let x = epoch.epoch as f64;
        [(x - 1.0, finite(epoch.lr_first)), (x, finite(epoch.lr))]
    });
    ends.filter_map(|(x, rate)| Some((x, rate?))).collect()
}

/// The unit in which fractions are stored.
const MILLIONTH: f64 = 1e-6;

fn is_fraction(metric: Metric) -> bool {
    matches!(metric.unit(), Unit::Percent | Unit::Points | Unit::Score)
}

/// The nearest integer.
fn whole(x: f64) -> Number {
    Number::from(x.round() as i64)
}

/// Rounds to six significant digits.
fn short(x: f64) -> f64 {
    format!("{x:.5e}").parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stay_steps_and_slopes_need_few_points() {
        assert_eq!(line(&[0.1, 0.1, 0.05, 0.05], 2), [(0.0, 0.1), (1.0, 0.1), (1.0, 0.05), (2.0, 0.05)]);
        let slope: Vec<f64> = (0..1000).map(|update| 1.0 - f64::from(update) / 1000.0).collect();
        assert_eq!(line(&slope, 100), [(0.0, 1.0), (9.99, slope[999]), (10.0, slope[999])]);
        let cosine: Vec<f64> = (0..192)
            .map(|update| 0.5 + 0.5 * (std::f64::consts::PI * f64::from(update) / 192.0).cos())
            .collect();
        let line = line(&cosine, 16);
        assert!(line.len() < 80, "{} points", line.len());
    }

    #[test]
    fn numbers_have_six_digits() {
        let check = |x: f64, expected: f64| assert_eq!(short(x), expected);
        check(0.123_456_789, 0.123_457);
        check(123_456_789.0, 123_457_000.0);
        check(0.75, 0.75);
        check(-1.0 / 3.0, -0.333_333);
        check(0.0, 0.0);
    }
}
