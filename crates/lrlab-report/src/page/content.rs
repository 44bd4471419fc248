//! The contents of the page, from a report.

use std::collections::HashSet;
use std::sync::Arc;

use lrlab_runs::RunId;
use serde::Serialize;

use super::curves;
use super::table::{Excerpt, PageTable, column_style, page_table};
use crate::answer::{Sentence, answer};
use crate::figure::{FOREST, Width};
use crate::report::LEAK;
use crate::table::MISSING;
use crate::{Figure, Report, Run, figure, label, tables};

const STYLE: &str = include_str!("../templates/style.css");
/// The page's scripts, in the order in which they run.
const SCRIPTS: [&str; 4] = [
    include_str!("../templates/vendor/uplot/uPlot.iife.min.js"),
    include_str!("../templates/page.js"),
    include_str!("../templates/tables.js"),
    include_str!("../templates/curves.js"),
];
/// Style sheet and licence notice of uPlot, which draws the curves.
const UPLOT_STYLE: &str = include_str!("../templates/vendor/uplot/uPlot.min.css");
const UPLOT_LICENCE: &str = include_str!("../templates/vendor/uplot/LICENSE");

/// The name of the store in which the command repeats a run.
const REPEATED: &str = "repeated";

/// Placeholder for the run id in the command that repeats a run.
const RUN_ID: &str = "RUN_ID";

/// What the templates show.
#[derive(Serialize)]
pub(super) struct Page<'a> {
    experiment: &'a str,
    description: &'a str,
    answer: Vec<Sentence>,
    forest: Option<PageForest>,
    leaks: Vec<&'a str>,
    progress: String,
    complete: bool,
    open: bool,
    facts: Vec<Fact>,
    warnings: Vec<&'a str>,
    arms: Vec<PageArm>,
    cost: String,
    tables: Vec<PageTable>,
    figures: Vec<PageFigure<'a>>,
    undrawn: usize,
    style: &'static str,
    figure_style: String,
    /// CSS rules for the columns of the tables.
    column_style: String,
    commands: Vec<PageCommand<'a>>,
    scripts: &'static [&'static str],
    curves: Option<&'a str>,
    most_runs: usize,
    uplot_style: &'static str,
    uplot_licence: &'static str,
}

/// A line of the header: the grid, the data, the machine.
#[derive(Serialize)]
struct Fact {
    name: &'static str,
    items: Vec<String>,
}

#[derive(Serialize)]
struct PageFigure<'a> {
    name: String,
    title: String,
    caption: String,
    svg: &'a str,
    paper: bool,
}

/// The forest plot in the layouts for a wide page and for a phone.
#[derive(Serialize)]
struct PageForest {
    name: &'static str,
    caption: String,
    page: String,
    phone: String,
}

/// The command that repeats a run of an experiment, with [`RUN_ID`] as placeholder for the id.
#[derive(Serialize)]
struct PageCommand<'a> {
    /// Empty if the report has only one experiment.
    experiment: &'a str,
    folder: &'a str,
    command: String,
}

#[derive(Serialize)]
struct PageArm {
    anchor: String,
    /// Index of its experiment's command, if the plan has it.
    command: Option<usize>,
    name: String,
    runs: Vec<PageRun>,
}

#[derive(Serialize)]
struct PageRun {
    /// Whether the entry is the link target for the run: experiments may share a run.
    anchor: bool,
    /// The unique prefix of the id, and the remaining digits.
    id: (String, String),
    seed: String,
    word: &'static str,
    error: String,
}

/// The contents that are embedded in the page.
#[derive(Default)]
pub(super) struct Inline<'a> {
    /// The figures as SVG.
    pub(super) drawn: &'a [String],
    /// The runs' curves as JSON, unless there are too many.
    pub(super) curves: Option<&'a str>,
    /// Whether runs are in progress, so that the page reloads itself.
    pub(super) open: bool,
}

/// Returns the contents of the page of a report.
pub(super) fn page<'a>(
    report: &'a Report,
    tables: &Arc<[Excerpt]>,
    figures: &[Figure],
    inline: &Inline<'a>,
) -> Page<'a> {
    let (digits, mut known) = (report.id_digits(), HashSet::new());
    let column_style = tables.iter().map(|it| column_style(&it.table)).collect();
    let tables: Vec<PageTable> = (0..tables.len()).map(|table| page_table(tables, table, digits)).collect();
    let figures: Vec<PageFigure> = figures
        .iter()
        .enumerate()
        .map(|(i, figure)| PageFigure {
            name: figure.name.clone(),
            title: figure.title.clone(),
            caption: figure.caption.clone(),
            svg: inline.drawn.get(i).map_or("", String::as_str),
            paper: figure.paper,
        })
        .collect();
    let forest = figure::forest(report).map(|forest| PageForest {
        name: FOREST,
        page: figure::forest_svg(&forest, Width::Page, true),
        phone: figure::forest_svg(&forest, Width::Phone, true),
        caption: forest.caption,
    });
    let (leaks, warnings): (Vec<&str>, Vec<&str>) =
        report.warnings.iter().map(String::as_str).partition(|warning| warning.starts_with(LEAK));
    Page {
        experiment: &report.experiment,
        description: &report.description,
        answer: answer(report),
        forest,
        leaks,
        progress: tables::progress(&report.counts),
        complete: report.counts.done == report.counts.planned,
        open: inline.open,
        facts: facts(report),
        warnings,
        arms: (0..report.arms.len()).map(|i| page_arm(report, i, digits, &mut known)).collect(),
        cost: tables::total(report),
        tables,
        figures,
        undrawn: figure::undrawn(report),
        style: STYLE,
        figure_style: figure::style(),
        column_style,
        commands: commands(report),
        scripts: &SCRIPTS,
        curves: inline.curves,
        most_runs: curves::MOST_RUNS,
        uplot_style: UPLOT_STYLE,
        uplot_licence: UPLOT_LICENCE,
    }
}

fn facts(report: &Report) -> Vec<Fact> {
    let mut known = HashSet::new();
    let seeds: Vec<&str> =
        report.runs().map(|run| run.seed.as_str()).filter(|seed| known.insert(*seed)).collect();
    let axis = |axis: &String| format!("{axis}: {}", report.values(axis).join(", "));
    let mut grid: Vec<String> = report.axes.iter().map(axis).collect();
    grid.push(format!("seed: {}", seeds.join(", ")));
    let sizes = |(model, sizes): (&String, &Vec<usize>)| {
        (!sizes.is_empty()).then(|| {
            format!("{model}: {}", sizes.iter().copied().map(grouped).collect::<Vec<_>>().join(", "))
        })
    };
    let origin = &report.origin;
    let all = [
        ("Grid", grid),
        ("Data", origin.datasets.clone()),
        ("Notes on the data", origin.notes.clone()),
        ("Parameters", origin.parameters.iter().filter_map(sizes).collect()),
        ("Device", origin.devices.clone()),
        ("Host", origin.hosts.clone()),
        ("Numerics", origin.numerics.clone()),
        ("Build", origin.builds.clone()),
    ];
    let facts = all.into_iter().map(|(name, items)| Fact { name, items });
    facts.filter(|fact| !fact.items.is_empty()).collect()
}

/// 272474 as "272,474".
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

fn page_arm<'a>(report: &'a Report, i: usize, digits: usize, known: &mut HashSet<&'a RunId>) -> PageArm {
    let arm = &report.arms[i];
    PageArm {
        anchor: format!("arm-{i}"),
        command: if report.axes.iter().any(|axis| axis == label::EXPERIMENT) {
            report.calls.keys().position(|name| *name == arm.label(label::EXPERIMENT))
        } else {
            (!report.calls.is_empty()).then_some(0)
        },
        name: report
            .axes
            .iter()
            .map(|axis| format!("{axis} {}", arm.label(axis)))
            .collect::<Vec<_>>()
            .join(" · "),
        runs: arm.runs.iter().map(|run| page_run(run, digits, known)).collect(),
    }
}

fn page_run<'a>(run: &'a Run, digits: usize, known: &mut HashSet<&'a RunId>) -> PageRun {
    let error = run.state.error().to_owned();
    let id = if run.identified { run.id.as_str() } else { MISSING };
    let (first, others) = id.split_at_checked(digits).unwrap_or((id, ""));
    PageRun {
        anchor: run.identified && known.insert(&run.id),
        id: (first.to_owned(), others.to_owned()),
        seed: run.seed.clone(),
        word: run.word(),
        error,
    }
}

fn commands(report: &Report) -> Vec<PageCommand<'_>> {
    let Some(run) = report.runs().find(|run| run.identified) else { return Vec::new() };
    let several = report.axes.iter().any(|axis| axis == label::EXPERIMENT);
    report
        .calls
        .iter()
        .map(|(name, call)| PageCommand {
            experiment: if several { name } else { "" },
            folder: &call.folder,
            command: call.command(&run.id, REPEATED).replace(run.id.as_str(), RUN_ID),
        })
        .collect()
}
