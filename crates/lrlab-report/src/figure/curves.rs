//! Figures of the runs' histories.

use std::collections::HashMap;
use std::fmt::Write;

use super::{Dash, Figure, Line, Panel, Scale};
use crate::rates::{Rates, corners};
use crate::stats::summary;
use crate::table::MISSING;
use crate::{Arm, Metric, Report, Run, Unit, label};

/// The figures by epoch, in order: the paper's three figures under the fixed rate, if the experiment reproduces the paper,
/// then every metric and the learning rate of each group of arms.
///
/// The latter are omitted if there are more than [`GROUPS`] groups.
pub(super) fn curves(report: &Report) -> Vec<Figure> {
    let mut out = if report.paper { paper(report) } else { Vec::new() };
    let groups = report.grouped(&CURVES);
    if undrawn(report) > 0 {
        return out;
    }
    let colors = schedule_colors(report);
    for (group, name) in groups.iter().zip(names(report, &groups)) {
        let keys = ["train_loss", "val_loss", "train_accuracy", "val_accuracy", "val_f1", "lr"];
        out.extend(keys.iter().filter_map(|key| by_metric(report, &colors, group, key, &name)));
    }
    out
}

/// The maximum number of groups of arms that are drawn.
const GROUPS: usize = 20;

/// The number of groups of arms if they are too many to be drawn, else 0.
pub(crate) fn undrawn(report: &Report) -> usize {
    Some(report.grouped(&CURVES).len()).filter(|n| *n > GROUPS).unwrap_or(0)
}

/// The label of the vertical axis of the learning rate.
const RATE: &str = "learning rate";

/// The maximum number of lines in a panel.
const LINES: usize = 4;

/// The axes whose arms share a figure.
const CURVES: [&str; 3] = [label::SCHEDULE, label::MONITOR, label::EPOCHS];

/// The file name prefix of each group of arms, before the metric's name; prefixes are unique.
fn names(report: &Report, groups: &[Vec<usize>]) -> Vec<String> {
    let title_and_cell = |group: &Vec<usize>| {
        let arm = group.first().map(|i| &report.arms[*i]);
        let mut cell = arm.map(|arm| arm.cell.clone()).unwrap_or_default();
        cell.retain(|axis, _| !CURVES.contains(&axis.as_str()));
        (arm.map(|arm| subject(report, arm)).unwrap_or_default(), cell)
    };
    label::file_names(&groups.iter().map(title_and_cell).collect::<Vec<_>>())
}

/// The subject of an arm's figures: its coordinates on all axes except [`CURVES`].
fn subject(report: &Report, arm: &Arm) -> String {
    let named = report.axes.iter().filter(|axis| !CURVES.contains(&axis.as_str()));
    named.map(|axis| arm.label(axis)).collect::<Vec<_>>().join(", ")
}

/// The arms grouped by budget, in the report's order.
fn budgets(report: &Report, arms: &[usize]) -> Vec<(String, Vec<usize>)> {
    let mut out: Vec<(String, Vec<usize>)> = Vec::new();
    for &i in arms {
        let epochs = report.arms[i].label(label::EPOCHS);
        match out.iter_mut().find(|(other, _)| *other == epochs) {
            Some((_, list)) => list.push(i),
            None => out.push((epochs, vec![i])),
        }
    }
    out
}

/// The maximum number of arms that a caption names.
const NAMED: usize = 6;

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

/// Figures 1 to 3 of the paper: fixed rate, no monitor, one panel per model.
fn paper(report: &Report) -> Vec<Figure> {
    let fixed = |monitored: bool| -> Vec<usize> {
        let fits = |arm: &Arm| arm.fixed_rate && arm.monitored == monitored && arm.done() > 0;
        report.arms.iter().enumerate().filter(|(_, arm)| fits(arm)).map(|(i, _)| i).collect()
    };
    let plain = fixed(false);
    let arms = if plain.is_empty() { fixed(true) } else { plain };
    let budgets = budgets(report, &arms);
    let mut out = Vec::new();
    for (index, (epochs, arms)) in budgets.iter().enumerate() {
        // Figure 1a, 1b, … of several budgets.
        let letter = if budgets.len() > 1 { LETTERS.get(index..=index).unwrap_or_default() } else { "" };
        let suffix =
            if budgets.len() > 1 { format!("-{}-epochs", label::slug(epochs)) } else { String::new() };
        let within = if budgets.len() > 1 { format!(" ({epochs} epochs)") } else { String::new() };
        let missing = |arm: &&Arm| {
            let wanted = arm.fixed_rate && !arm.monitored && arm.label(label::EPOCHS) == *epochs;
            wanted && arm.done() == 0
        };
        let missing: Vec<String> =
            report.arms.iter().filter(missing).map(|arm| subject(report, arm)).collect();
        let missing = match missing.len() {
            0 => String::new(),
            n if n > NAMED => format!(" {n} arms have no finished run."),
            _ => format!(" Without a finished run: {}.", missing.join("; ")),
        };
        let figure = |number: u32, name: &str, what: &str, keys: &[(&str, &str, usize)]| {
            let trained = keys.iter().any(|(key, ..)| key.starts_with("train"));
            let running = if trained {
                "Training metrics are running means over the epoch in training mode. "
            } else {
                ""
            };
            Figure {
                name: format!("figure-{number}-{name}{suffix}"),
                title: format!(
                    "Figure {number}{letter}. {what} by epoch under a static learning rate{within}"
                ),
                caption: format!(
                    "{what} by epoch under a static learning rate{within}. {running}Lines: mean over seeds; bands: ± one \
                 sample standard deviation. {}{missing}",
                    counts(report, arms, |arm| Some(subject(report, arm)))
                ),
                paper: true,
                panels: arms.iter().map(|arm| paper_panel(report, *arm, keys)).collect(),
            }
        };
        let loss = [("train_loss", "training", 2), ("val_loss", "validation", 1)];
        let training = [("train_accuracy", "training", 2)];
        let validation = [("val_accuracy", "validation", 1)];
        out.push(figure(1, "loss", "Training and validation loss", &loss));
        out.push(figure(2, "training-accuracy", "Training accuracy", &training));
        out.push(figure(3, "validation-accuracy", "Validation accuracy", &validation));
    }
    out.retain(drawn);
    out
}

fn paper_panel(report: &Report, arm: usize, keys: &[(&str, &str, usize)]) -> Panel {
    let it = &report.arms[arm];
    let mut panel = empty_panel(subject(report, it), keys.first().map_or("", |key| key.0));
    for (key, words, color) in keys {
        panel.lines.extend(lines(it, key, words, *color, Dash::Solid));
    }
    if let Some(line) =
        panel.lines.iter().find(|line| keys.len() > 1 && line.label == "validation" && !line.diverged)
    {
        let lowest = line.points.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        panel.rules.extend(lowest.map(|(epoch, _)| (*epoch, format!("lowest at {epoch}"))));
    }
    finish(&mut panel);
    panel
}

/// One metric of a group of arms, with at least one panel per budget.
fn by_metric(report: &Report, colors: &Colors, arms: &[usize], key: &str, name: &str) -> Option<Figure> {
    let metric = Metric::parse(key)?;
    let subject = subject(report, &report.arms[*arms.first()?]);
    let budgets = budgets(report, arms);
    let mut panels: Vec<Panel> = Vec::new();
    for (epochs, arms) in &budgets {
        let plural = if epochs == "1" { "epoch" } else { "epochs" };
        for (words, arms) in multiples(report, arms) {
            let mut panel = empty_panel(format!("{subject}, {epochs} {plural}{words}"), key);
            for arm in arms {
                panel.lines.extend(arm_lines(report, colors, arm, key, !words.is_empty()));
            }
            finish(&mut panel);
            panels.push(panel);
        }
    }
    panels.retain(|panel| !panel.lines.is_empty());
    // Small multiples share an axis.
    if panels.iter().any(|panel| panel.y_scale == Scale::Log) {
        for panel in &mut panels {
            panel.y_scale = Scale::Log;
        }
    }
    let what = metric.title();
    let mut capital = what.to_owned();
    capital.get_mut(..1).map(str::make_ascii_uppercase);
    let spread = if key == "lr" {
        "Lines: rate of every update, mean over seeds. Marks without a line: rates of the first and last update of each \
         epoch, if the records hold no others."
    } else {
        "Lines: mean over seeds; bands: ± one sample standard deviation."
    };
    let figure = Figure {
        name: format!("{name}-{}", label::slug(if key == "lr" { "learning-rate" } else { key })),
        paper: false,
        title: format!("{capital} by epoch: {subject}"),
        caption: format!("{capital} by epoch, {subject}. {spread} {}", counts(report, arms, |_| None)),
        panels,
    };
    drawn(&figure).then_some(figure)
}

/// Splits arms of one budget into panels of at most [`LINES`] arms, each with a suffix for its title. Too many arms for one
/// panel are split by monitor; if that is not enough, into chunks that each contain the fixed rate, if there is one.
pub(super) fn multiples(report: &Report, arms: &[usize]) -> Vec<(String, Vec<usize>)> {
    if arms.len() <= LINES {
        return vec![(String::new(), arms.to_vec())];
    }
    let mut by_monitor: Vec<(String, Vec<usize>)> = Vec::new();
    for &arm in arms {
        let monitor = label::phrase(label::MONITOR, &report.arms[arm].label(label::MONITOR));
        let words = if monitor == MISSING { String::new() } else { format!(", {monitor}") };
        match by_monitor.iter_mut().find(|(other, _)| *other == words) {
            Some((_, list)) => list.push(arm),
            None => by_monitor.push((words, vec![arm])),
        }
    }
    if by_monitor.len() == 1 {
        by_monitor[0].0.clear();
    }
    let mut out = Vec::new();
    for (words, arms) in by_monitor {
        if arms.len() <= LINES {
            out.push((words, arms));
            continue;
        }
        let fixed = arms.iter().copied().find(|arm| report.arms[*arm].fixed_rate);
        let others: Vec<usize> = arms.into_iter().filter(|arm| Some(*arm) != fixed).collect();
        let each = LINES - usize::from(fixed.is_some());
        out.extend(
            others.chunks(each).map(|few| (words.clone(), fixed.iter().chain(few).copied().collect())),
        );
    }
    out
}

/// The lines of an arm. Their label includes the monitor unless the panel's title does (`titled`).
fn arm_lines(report: &Report, colors: &Colors, arm: usize, key: &str, titled: bool) -> Vec<Line> {
    let it = &report.arms[arm];
    let dash = if it.monitored { Dash::Dashed } else { Dash::Solid };
    let color = colors.get(&it.label(label::SCHEDULE)).copied().unwrap_or(0);
    lines(it, key, &named(it, titled), color, dash)
}

/// The label of an arm: its schedule, and its monitor unless the panel's title has it (`titled`).
pub(super) fn named(arm: &Arm, titled: bool) -> String {
    let schedule = arm.label(label::SCHEDULE);
    match arm.label(label::MONITOR).as_str() {
        _ if titled || !arm.monitored => schedule,
        "on" | MISSING => format!("{schedule}, monitor"),
        other => format!("{schedule}, {other}"),
    }
}

/// The palette index of every schedule.
pub(super) type Colors = HashMap<String, usize>;

/// Assigns each schedule the same colour in all figures, and the fixed rate the first colour, black.
pub(super) fn schedule_colors(report: &Report) -> Colors {
    let mut colors = Colors::new();
    let mut next = usize::from(!report.arms.iter().any(|arm| arm.fixed_rate));
    for fixed in [true, false] {
        for arm in report.arms.iter().filter(|arm| arm.fixed_rate == fixed) {
            colors.entry(arm.label(label::SCHEDULE)).or_insert_with(|| {
                next += 1;
                next - 1
            });
        }
    }
    colors
}

/// The mean line with its band over the runs that did not diverge, and a thin line for each diverged run.
fn lines(arm: &Arm, key: &str, words: &str, color: usize, dash: Dash) -> Vec<Line> {
    let line = |label: String, points, band, diverged| Line {
        label,
        color,
        dash,
        points,
        band,
        diverged,
        marks: false,
        joined: true,
    };
    let finite: Vec<&Run> = arm.counted().collect();
    let diverged = arm.runs.iter().filter(|run| run.diverged());
    let mut out = Vec::new();
    if key == "lr" {
        let (points, joined) = rate_line(&finite);
        out.push(Line { joined, ..line(words.to_owned(), points, Vec::new(), false) });
        for run in diverged {
            let (points, joined) = rate_line(&[run]);
            out.push(Line { joined, ..line(String::new(), points, Vec::new(), true) });
        }
    } else {
        let (points, band) = mean_line(&finite, key);
        out.push(line(words.to_owned(), points, band, false));
        out.extend(diverged.map(|run| line(String::new(), curve(run, key), Vec::new(), true)));
    }
    out.retain(|line| !line.points.is_empty());
    if let Some(first) = out.first_mut() {
        words.clone_into(&mut first.label);
    }
    out
}

type Points = Vec<(f64, f64)>;
type Band = Vec<(f64, f64, f64)>;

/// The mean rate of every update as a joined line, if the records determine it for every run; otherwise the rates of the
/// first and last update of each epoch as separate points.
fn rate_line(runs: &[&Run]) -> (Points, bool) {
    let mut rates = Rates::default();
    let mut exact = runs.iter().map(|run| rates.of(run));
    let Some((first, per_epoch)) = exact.next().unwrap_or_else(|| Some((Vec::new(), 1))) else {
        return (mean_line(runs, "lr").0, false);
    };
    // Sums of differences, so that the mean of equal rates is exactly that rate.
    let mut sums = vec![0.0; first.len()];
    for run in exact {
        let Some((rates, _)) = run.filter(|(_, other)| *other == per_epoch) else {
            return (mean_line(runs, "lr").0, false);
        };
        sums.truncate(rates.len());
        sums.iter_mut().zip(rates).zip(&first).for_each(|((sum, rate), first)| *sum += rate - first);
    }
    let mean: Vec<f64> = first.iter().zip(sums).map(|(first, sum)| first + sum / runs.len() as f64).collect();
    (corners(&mean, per_epoch), true)
}

/// The mean and the band of ± one standard deviation, up to the last epoch for which every run has the metric.
fn mean_line(runs: &[&Run], key: &str) -> (Points, Band) {
    let curves: Vec<Points> = runs.iter().map(|run| curve(run, key)).filter(|c| !c.is_empty()).collect();
    let length = curves.iter().map(Vec::len).min().unwrap_or(0);
    let (mut points, mut band) = (Vec::new(), Vec::new());
    for i in 0..length {
        let x = curves[0][i].0;
        let values: Vec<f64> = curves.iter().filter(|c| c[i].0 == x).map(|c| c[i].1).collect();
        let Some(s) = summary(&values).filter(|s| s.n == curves.len()) else { break };
        points.push((x, s.mean));
        if let Some(std) = s.std.filter(|_| key != "lr") {
            band.push((x, s.mean - std, s.mean + std));
        }
    }
    (points, band)
}

/// A run's metric by epoch in display units, up to the first epoch without it. The learning rate has two points per epoch:
/// the first and the last update.
fn curve(run: &Run, key: &str) -> Points {
    let factor = Metric::parse(key).map_or(1.0, |m| m.unit().factor());
    let mut points = Vec::new();
    for epoch in run.result().iter().flat_map(|result| &result.history) {
        let get = |name: &str| epoch.get(name).flatten().filter(|x| x.is_finite()).map(|x| x * factor);
        let Some(y) = get(key) else { break };
        let x = epoch.epoch as f64;
        if key == "lr" {
            points.extend(get("lr_first").map(|first| (x - 1.0, first)));
        }
        points.push((x, y));
    }
    points
}

fn empty_panel(title: String, key: &str) -> Panel {
    let unit = Metric::parse(key).map_or(Unit::Plain, Metric::unit);
    let (words, bounds) = match key {
        "train_loss" | "val_loss" => ("loss".to_owned(), (Some(0.0), None)),
        "lr" => (RATE.to_owned(), (Some(0.0), None)),
        _ => {
            let top = if unit == Unit::Percent { 100.0 } else { 1.0 };
            let words = Metric::parse(key).map_or("", Metric::title).replace(" (running)", "");
            (words, (Some(0.0), Some(top)))
        }
    };
    let sign = if unit.sign().is_empty() { String::new() } else { format!(" ({})", unit.sign()) };
    Panel {
        title,
        x_label: "epoch".to_owned(),
        x_range: (1.0, 1.0),
        y_label: format!("{words}{sign}"),
        y_scale: Scale::Linear,
        y_bounds: bounds,
        lines: Vec::new(),
        rules: Vec::new(),
    }
}

/// Sets the range, scale and marks of a panel from its lines.
fn finish(panel: &mut Panel) {
    let xs = || panel.lines.iter().flat_map(|line| line.points.iter().map(|p| p.0));
    let (low, high) = xs().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
    if low <= high {
        panel.x_range = (low, high);
    }
    let finite = panel.lines.iter().filter(|line| !line.diverged);
    let mut ys: Vec<f64> = finite.flat_map(|line| line.points.iter().map(|p| p.1)).collect();
    ys.sort_by(f64::total_cmp);
    // The rate gets a log axis if it spans decades for a substantial part of the run, not only at its end.
    let rate = panel.y_label == RATE;
    let tail = ys.get(ys.len() / 10).copied().unwrap_or(0.0);
    let decades =
        rate && ys.first().is_some_and(|low| *low > 0.0) && ys.last().is_some_and(|high| high / tail > 30.0);
    let wide = decades
        || match (ys.first(), ys.get(ys.len() / 2), ys.last()) {
            (Some(low), Some(middle), Some(high)) => !rate && *low > 0.0 && high / middle > 20.0,
            _ => false,
        };
    if wide && panel.y_bounds.1.is_none() {
        panel.y_scale = Scale::Log;
    }
    let many = panel.lines.len() > 1;
    let single = panel.x_range.0 == panel.x_range.1;
    let count = panel.lines.len() as f64;
    for (i, line) in panel.lines.iter_mut().enumerate() {
        line.marks = !line.joined || (line.points.len() <= 25 && !rate);
        if single && many {
            // With a single epoch, draws the arms side by side instead of on top of each other.
            let shift = 0.8 * ((i as f64 + 0.5) / count - 0.5);
            line.points.iter_mut().for_each(|p| p.0 += shift);
            line.band.iter_mut().for_each(|b| b.0 += shift);
        }
    }
}

fn drawn(figure: &Figure) -> bool {
    figure.panels.iter().any(|panel| !panel.lines.is_empty())
}

/// "n = 2 per arm; 1 of 6 runs missing."
fn counts(report: &Report, arms: &[usize], panel: impl Fn(&Arm) -> Option<String>) -> String {
    let arms = || arms.iter().map(|arm| &report.arms[*arm]);
    let n = |arm: &Arm| arm.done() - arm.diverged();
    let planned: usize = arms().map(|arm| arm.runs.len()).sum();
    let done: usize = arms().map(Arm::done).sum();
    let diverged: usize = arms().map(Arm::diverged).sum();
    let (low, high) = (arms().map(n).min().unwrap_or(0), arms().map(n).max().unwrap_or(0));
    let each: Option<Vec<String>> =
        arms().map(|arm| Some(format!("n = {} ({})", n(arm), panel(arm)?))).collect();
    let mut out = match each {
        Some(each) if low < high && each.len() <= NAMED => each.join(", "),
        Some(_) if low < high => format!("n = {low} to {high} per panel"),
        Some(_) => format!("n = {low} per panel"),
        None if low < high => format!("n = {low} to {high} per arm"),
        None => format!("n = {low} per arm"),
    };
    if done < planned {
        let _ = write!(out, "; {} of {planned} runs missing", planned - done);
    }
    if diverged > 0 {
        let _ = write!(out, "; {diverged} diverged (thin lines ending in ×, excluded from means)");
    }
    out.push('.');
    out
}
