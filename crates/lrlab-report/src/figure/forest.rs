//! The forest plot: paired differences with their intervals, a row for each arm and a panel for each metric.

mod svg;

use std::collections::BTreeMap;
use std::fmt::Write;

pub(crate) use self::svg::{Width, svg};
pub(super) use self::svg::{look, title};
use crate::answer::place;
use crate::{Comparison, Contrast, Finding, Metric, Report};

/// The file name without extension.
pub(crate) const FOREST: &str = "answer";

/// The maximum number of panels; the first metrics are drawn.
const PANELS: usize = 4;

/// The maximum number of rows if fewer arms than that are worse by a metric of the figure. Beyond it, these are drawn, then
/// those with the largest differences.
const ROWS: usize = 36;

/// A forest plot of paired differences: a row for each arm, a panel for each metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    /// The caption.
    pub caption: String,
    /// The metrics, one per panel.
    pub metrics: Vec<Metric>,
    /// The rows, by contrast.
    pub groups: Vec<ForestGroup>,
}

/// The rows of one contrast.
#[derive(Debug, Clone, PartialEq)]
pub struct ForestGroup {
    /// "schedule against static".
    pub title: String,
    /// The rows from best to worst by the first metric.
    pub rows: Vec<ForestRow>,
}

/// One arm against its baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct ForestRow {
    /// The arm in display form.
    pub label: String,
    /// The difference by each metric of the figure; `None` if there is none.
    pub points: Vec<Option<ForestPoint>>,
}

/// A paired difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForestPoint {
    /// The mean difference.
    pub mean: f64,
    /// The 95 % t-interval; `None` for fewer than two pairs.
    pub interval: Option<(f64, f64)>,
    /// The conclusion.
    pub finding: Finding,
}

/// The forest plot of a report; `None` if the report has no comparisons.
#[must_use]
pub fn forest(report: &Report) -> Option<Forest> {
    let measured =
        |metric: &Metric| report.comparisons.iter().any(|c| c.metric == *metric && c.paired.is_some());
    let metrics: Vec<Metric> = report.metrics.iter().copied().filter(measured).take(PANELS).collect();
    let mut groups: Vec<(&Contrast, Vec<Compared>)> = report
        .contrasts
        .iter()
        .enumerate()
        .map(|(index, contrast)| (contrast, compared(report, &metrics, index)))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    let all: usize = groups.iter().map(|(_, rows)| rows.len()).sum();
    if all == 0 {
        return None;
    }
    // Intervals over different numbers of seeds are not comparable.
    for (_, rows) in &mut groups {
        if rows.iter().any(|row| row.complete) {
            rows.retain(|row| row.complete);
        }
    }
    let fewer = all - groups.iter().map(|(_, rows)| rows.len()).sum::<usize>();
    let mut by_length: Vec<&mut Vec<Compared>> = groups.iter_mut().map(|(_, rows)| rows).collect();
    by_length.sort_by_key(|rows| rows.len());
    let (mut free, count) = (ROWS, by_length.len());
    for (shown, rows) in by_length.into_iter().enumerate() {
        rows.sort_by(|a, b| {
            let size = || size(b).abs().total_cmp(&size(a).abs());
            is_worse(b).cmp(&is_worse(a)).then_with(size)
        });
        // Rows that a short group does not need are for the longer ones.
        let share = (free / (count - shown)).max(1);
        rows.truncate(share.max(rows.iter().filter(|row| is_worse(row)).count()));
        free = free.saturating_sub(rows.len());
    }
    let n = seeds(&groups);
    let groups: Vec<ForestGroup> =
        groups.into_iter().map(|(contrast, rows)| group(report, &metrics, contrast, rows)).collect();
    let shown: usize = groups.iter().map(|group| group.rows.len()).sum();
    let complete = all - fewer;
    let mut left = String::new();
    if shown < complete {
        let runs = if fewer > 0 { " with all runs" } else { "" };
        left = format!(
            " Shown: {shown} of the {complete} differences{runs}, of each contrast those that are worse by a metric of the \
             figure, then the largest by {}.",
            metrics[0].phrase()
        );
    }
    if fewer > 0 {
        let _ =
            write!(left, " {fewer} of {all} differences are left out, because runs of theirs are missing.");
    }
    if !left.is_empty() {
        left.push_str(" tables/differences.csv lists all.");
    }
    let caption = format!(
        "Arm minus baseline, paired by seed ({n}): mean and 95 % t-interval; arrows mark intervals that extend beyond the \
         panel. Better and worse: p < 0.05 in a sign-flip test after Holm's correction.{left}"
    );
    Some(Forest { caption, metrics, groups })
}

/// An arm and its difference by each metric.
struct Compared {
    arm: usize,
    points: Vec<Option<ForestPoint>>,
    /// The numbers of its pairs.
    pairs: Vec<usize>,
    /// Whether all runs of the arm and its baseline have ended.
    complete: bool,
}

fn compared(report: &Report, metrics: &[Metric], contrast: usize) -> Vec<Compared> {
    let mut arms: BTreeMap<usize, Compared> = BTreeMap::new();
    for c in report.summarised(contrast) {
        let Some(panel) = metrics.iter().position(|metric| *metric == c.metric) else { continue };
        let row = arms.entry(c.arm).or_insert_with(|| Compared {
            arm: c.arm,
            points: vec![None; metrics.len()],
            pairs: Vec::new(),
            complete: [c.arm, c.baseline].into_iter().all(|arm| {
                let arm = &report.arms[arm];
                arm.done() == arm.runs.len()
            }),
        });
        row.points[panel] = point(c);
        let pairs = c.paired.as_ref().map_or(0, |paired| paired.summary.n);
        row.pairs.push(pairs);
    }
    arms.into_values().collect()
}

/// "n = 8", or "n = 2 to 8".
fn seeds(groups: &[(&Contrast, Vec<Compared>)]) -> String {
    let pairs = || groups.iter().flat_map(|(_, rows)| rows).flat_map(|row| &row.pairs);
    let (least, most) = (pairs().min().unwrap_or(&0), pairs().max().unwrap_or(&0));
    if least == most { format!("n = {most}") } else { format!("n = {least} to {most}") }
}

fn group(report: &Report, metrics: &[Metric], contrast: &Contrast, mut rows: Vec<Compared>) -> ForestGroup {
    let higher = metrics.first().is_none_or(|metric| metric.higher_is_better() != Some(false));
    rows.sort_by(|a, b| if higher { size(b).total_cmp(&size(a)) } else { size(a).total_cmp(&size(b)) });
    let row = |Compared { arm, points, .. }| {
        let (value, place) = (contrast.value(&report.arms[arm]), place(report, contrast, arm));
        let label = if place.is_empty() { value } else { format!("{value}: {place}") };
        ForestRow { label, points }
    };
    ForestGroup {
        title: format!("{} against {}", contrast.axis(), contrast.against()),
        rows: rows.into_iter().map(row).collect(),
    }
}

fn point(c: &Comparison) -> Option<ForestPoint> {
    let paired = c.paired.as_ref()?;
    Some(ForestPoint { mean: paired.summary.mean, interval: paired.t_interval, finding: c.finding() })
}

/// An arm's mean difference by the first metric it has.
fn size(row: &Compared) -> f64 {
    row.points.iter().flatten().next().map_or(0.0, |point| point.mean)
}

/// Whether an arm is worse than its baseline by a metric of the figure.
fn is_worse(row: &Compared) -> bool {
    row.points.iter().flatten().any(|point| point.finding == Finding::Worse)
}
