//! The figure of performance profiles.

use super::curves::{Colors, multiples, named, schedule_colors};
use super::{Dash, Figure, Line, Panel, Scale};
use crate::profile::{Method, Profile, profile};
use crate::{Report, label};

/// The largest ratio that is drawn.
const MOST: f64 = 1.5;

/// The performance profiles of all methods; `None` if the report has no [`Profile`].
pub(super) fn profiles(report: &Report) -> Option<Figure> {
    let Profile { metric, tasks, methods } = profile(report)?;
    let colors = schedule_colors(report);
    let ratios = methods.iter().flat_map(|method| &method.ratios).copied();
    let most = 100.0 * (ratios.filter(|ratio| *ratio <= MOST).fold(1.01, f64::max) - 1.0);
    let first: Vec<usize> = methods.iter().map(|method| method.arms[0]).collect();
    let panels = multiples(report, &first).into_iter().map(|(words, arms)| Panel {
        title: format!("{tasks} tasks{words}"),
        x_label: "error above lowest (%)".to_owned(),
        x_range: (0.0, most.ceil()),
        y_label: "tasks (%)".to_owned(),
        y_scale: Scale::Linear,
        y_bounds: (Some(0.0), Some(100.0)),
        lines: arms
            .iter()
            .filter_map(|arm| methods.iter().find(|method| method.arms[0] == *arm))
            .map(|method| line(report, &colors, method, !words.is_empty(), most.ceil()))
            .collect(),
        rules: Vec::new(),
    });
    Some(Figure {
        name: "profiles".to_owned(),
        title: "Performance profiles".to_owned(),
        caption: format!(
            "Performance profiles (Dolan and Moré 2002): share of {tasks} tasks (a model, a data set and a budget each) in \
             which a method's error (one minus the {} at the selected epoch) exceeds the lowest error of all methods by at \
             most the given percentage.",
            metric.title()
        ),
        paper: false,
        panels: panels.collect(),
    })
}

/// The profile of a method as a step function.
fn line(report: &Report, colors: &Colors, method: &Method, titled: bool, most: f64) -> Line {
    let mut ratios = method.ratios.clone();
    ratios.sort_by(f64::total_cmp);
    let share = |ratio: f64| 100.0 * method.within(ratio);
    let mut points = vec![(0.0, share(1.0))];
    for ratio in ratios.into_iter().filter(|ratio| *ratio > 1.0 && 100.0 * (ratio - 1.0) <= most) {
        let x = 100.0 * (ratio - 1.0);
        points.extend(points.last().map(|(_, before)| (x, *before)));
        points.push((x, share(ratio)));
    }
    points.extend(points.last().map(|(_, before)| (most, *before)));
    let arm = &report.arms[method.arms[0]];
    Line {
        label: named(arm, titled),
        color: colors.get(&arm.label(label::SCHEDULE)).copied().unwrap_or(0),
        dash: if arm.monitored { Dash::Dashed } else { Dash::Solid },
        points,
        band: Vec::new(),
        diverged: false,
        marks: false,
        joined: true,
    }
}
