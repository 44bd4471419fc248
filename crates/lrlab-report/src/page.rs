//! `report.html` and `report.md`, from templates in this crate.

mod curves;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use lrlab_runs::RunId;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, HtmlEscape, Value};
use serde::Serialize;

use crate::answer::{Sentence, answer};
use crate::figure::{FOREST, Width};
use crate::marked::marked;
use crate::report::LEAK;
use crate::staged::Write;
use crate::table::{Link, MISSING, Row, Table, markdown as table_markdown, markdown_escape};
use crate::{Column, Error, Figure, Report, Run, figure, label, tables};

const HTML: &str = include_str!("templates/report.html");
const MARKDOWN: &str = include_str!("templates/report.md");
const STYLE: &str = include_str!("templates/style.css");
/// The page's scripts, in the order in which they run.
const SCRIPTS: [&str; 4] = [
    include_str!("templates/vendor/uplot/uPlot.iife.min.js"),
    include_str!("templates/page.js"),
    include_str!("templates/tables.js"),
    include_str!("templates/curves.js"),
];
/// Style sheet and licence notice of uPlot, which draws the curves.
const UPLOT_STYLE: &str = include_str!("templates/vendor/uplot/uPlot.min.css");
const UPLOT_LICENCE: &str = include_str!("templates/vendor/uplot/LICENSE");

/// The name of the store in which the command repeats a run.
const REPEATED: &str = "repeated";

/// Placeholder for the run id in the command that repeats a run.
const RUN_ID: &str = "RUN_ID";

/// The maximum number of table rows on the page; the CSV file has all of them.
const PAGE_ROWS: usize = 2000;

/// Tables with more rows are linked from `report.md` instead of included.
const MARKDOWN_ROWS: usize = 100;

#[derive(Serialize)]
struct Page<'a> {
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
struct PageTable {
    name: &'static str,
    title: String,
    caption: String,
    long: bool,
    latex: bool,
    columns: Vec<PageColumn>,
    /// Rows, generated lazily while the page is written.
    rows: minijinja::Value,
    count: usize,
    /// The number of rows that only the CSV file has.
    more: usize,
    markdown: String,
}

#[derive(Serialize)]
struct PageColumn {
    title: String,
    detail: String,
    numeric: bool,
}

#[derive(Serialize)]
struct PageRow {
    rule: bool,
    cells: Vec<PageCell>,
}

#[derive(Serialize)]
struct PageCell {
    text: String,
    class: String,
    href: Option<String>,
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
    /// Index of its experiment's command.
    command: usize,
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
struct Inline<'a> {
    /// The figures as SVG.
    drawn: &'a [String],
    /// The runs' curves as JSON, unless there are too many.
    curves: Option<&'a str>,
    /// Whether runs are in progress, so that the page reloads itself.
    open: bool,
}

/// Adds a file, given its name and the function that writes it.
type Add<'a> = &'a mut dyn FnMut(&str, Write<'_>) -> Result<(), Error>;

/// Adds the self-contained page and the figure files.
pub(crate) fn html(
    report: &Report,
    tables: &Arc<Vec<Table>>,
    figures: &[Figure],
    open: bool,
    add: Add<'_>,
) -> Result<(), Error> {
    let mut env = environment()?;
    env.set_auto_escape_callback(|_| AutoEscape::Html);
    env.add_filter("code", |text: String| {
        let escape = |part: &str| HtmlEscape(part).to_string();
        let code = |part: &str| format!("<code>{}</code>", HtmlEscape(part));
        Value::from_safe_string(marked(&text, escape, code))
    });
    env.add_template("report.html", HTML)?;
    let drawn: Vec<String> = figures.iter().map(figure::panels).collect();
    for it in figures {
        let svg = figure::svg(it);
        add(&format!("figures/{}.svg", it.name), &mut |file| Ok(file.write_all(svg.as_bytes())?))?;
        let tex = figure::pgfplots(it);
        add(&format!("figures/{}.tex", it.name), &mut |file| Ok(file.write_all(tex.as_bytes())?))?;
    }
    if let Some(forest) = &figure::forest(report) {
        let svg = figure::forest_svg(forest, Width::Page, false);
        add(&format!("figures/{FOREST}.svg"), &mut |file| Ok(file.write_all(svg.as_bytes())?))?;
        let tex = figure::forest_pgfplots(forest);
        add(&format!("figures/{FOREST}.tex"), &mut |file| Ok(file.write_all(tex.as_bytes())?))?;
    }
    let curves = curves::json(report)?;
    let inline = Inline { drawn: &drawn, curves: curves.as_deref(), open };
    add("report.html", &mut |file| render(&env, "report.html", report, tables, figures, &inline, file))
}

/// The report as Markdown, with tables as text and figures by path.
pub(crate) fn markdown(
    report: &Report,
    tables: &Arc<Vec<Table>>,
    figures: &[Figure],
) -> Result<String, Error> {
    let mut env = environment()?;
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.add_filter("md", |text: String| markdown_escape(&text));
    env.add_filter("code", |text: String| marked(&text, markdown_escape, |code| format!("`{code}`")));
    env.add_template("report.md", MARKDOWN)?;
    let mut text = Vec::new();
    render(&env, "report.md", report, tables, figures, &Inline::default(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// An environment in which lines that contain only a block tag produce no output.
fn environment() -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    Ok(env)
}

fn render(
    env: &Environment<'_>,
    name: &str,
    report: &Report,
    tables: &Arc<Vec<Table>>,
    figures: &[Figure],
    inline: &Inline<'_>,
    out: &mut dyn io::Write,
) -> Result<(), Error> {
    let (digits, mut known) = (report.id_digits(), HashSet::new());
    let column_style = tables.iter().map(column_style).collect();
    let tables: Vec<PageTable> = (0..tables.len()).map(|table| page_table(tables, table)).collect();
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
    let page = Page {
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
    };
    let page = minijinja::value::Serde(page);
    env.get_template(name)?.render_captured_to(page, Clean(&mut *out))?;
    // Jinja strips the final newline.
    Ok(out.write_all(b"\n")?)
}

/// A writer that drops control characters other than newlines and tabs, which HTML does not allow.
struct Clean<W>(W);

impl<W: io::Write> io::Write for Clean<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Templates write complete UTF-8 strings.
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        let dropped = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        text.split(dropped).try_for_each(|part| self.0.write_all(part.as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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

fn page_table(tables: &Arc<Vec<Table>>, index: usize) -> PageTable {
    let table = &tables[index];
    let columns = table
        .shown()
        .map(|(_, c)| PageColumn { title: c.title.clone(), detail: c.detail.clone(), numeric: c.numeric })
        .collect();
    PageTable {
        name: table.name,
        title: table.title.clone(),
        caption: [table.caption.clone(), hidden(table)].join(" ").trim_end().to_owned(),
        long: table.long,
        latex: table.fits_latex(),
        columns,
        rows: minijinja::Value::make_object_iterable((Arc::clone(tables), index), |(tables, index)| {
            let table = &tables[*index];
            Box::new(
                table
                    .rows
                    .iter()
                    .take(PAGE_ROWS)
                    .map(|row| minijinja::Value::from(minijinja::value::Serde(page_row(table, row)))),
            )
        }),
        count: table.rows.len(),
        more: table.rows.len().saturating_sub(PAGE_ROWS),
        markdown: if table.rows.len() <= MARKDOWN_ROWS { table_markdown(table) } else { String::new() },
    }
}

/// The values of the constant columns, which the page omits from the rows.
fn hidden(table: &Table) -> String {
    let Some(row) = table.rows.first() else { return String::new() };
    let constant = table.columns.iter().zip(&row.cells).filter(|(column, _)| column.constant);
    let words: Vec<String> =
        constant.map(|(column, cell)| format!("{} {}", column.title, cell.value)).collect();
    if words.is_empty() { String::new() } else { format!("Identical in all rows: {}.", words.join(", ")) }
}

/// A predicate on columns.
type OfKind = fn(&Column) -> bool;

/// CSS rules for the columns of a table, so that cells need no classes.
fn column_style(table: &Table) -> String {
    let kinds: [(&str, OfKind); 4] = [
        ("text-align: right", |column| column.numeric),
        (
            "font-family: ui-monospace, Menlo, Consolas, \"Liberation Mono\", monospace; font-size: .82em",
            |column| matches!(column.key.as_str(), "run_id" | "result_blake3"),
        ),
        ("white-space: normal; min-width: 15rem; max-width: 26rem", |column| {
            matches!(column.key.as_str(), "text" | "reason" | "note" | "error" | "metric" | "arm")
        }),
        ("font-weight: 700", is_verdict),
    ];
    let mut out = String::new();
    for (rule, of_kind) in kinds {
        let cells = table.shown().enumerate().filter(|(_, (_, column))| of_kind(column));
        let cells: Vec<String> =
            cells.map(|(place, _)| format!("#{} td:nth-child({})", table.name, place + 1)).collect();
        if !cells.is_empty() {
            let _ = writeln!(out, "{} {{ {rule} }}", cells.join(", "));
        }
    }
    out
}

fn is_verdict(column: &Column) -> bool {
    matches!(column.key.as_str(), "verdict" | "arm_verdict")
}

/// A row of the page. One cell links to the row's arm or run: the run id, or else the first number.
fn page_row(table: &Table, row: &Row) -> PageRow {
    let linked = |(i, column): &(usize, &Column)| match &row.link {
        Some(Link::Run(_)) => column.key == "run_id",
        Some(Link::Arm(_)) | None => !row.cells[*i].runs.is_empty(),
    };
    let linked = table.shown().find(linked).map(|(i, _)| i);
    let cell = |(i, column): (usize, &Column)| {
        let text = row.cells[i].value.to_string();
        let mut class = Vec::new();
        for (is, name) in [
            (row.cells[i].bold && !is_verdict(column), "best"),
            (row.cells[i].value.is_missing(), "missing"),
            (is_verdict(column) && text == "supported", "good"),
            (is_verdict(column) && text == "contradicted", "bad"),
        ] {
            if is {
                class.push(name);
            }
        }
        let href = (linked == Some(i)).then(|| match &row.link {
            Some(Link::Arm(arm)) => format!("#arm-{arm}"),
            Some(Link::Run(_)) => format!("#run-{text}"),
            None => "#runs".to_owned(),
        });
        PageCell { text, class: class.join(" "), href }
    };
    PageRow { rule: row.rule, cells: table.shown().map(cell).collect() }
}

fn page_arm<'a>(report: &'a Report, i: usize, digits: usize, known: &mut HashSet<&'a RunId>) -> PageArm {
    let arm = &report.arms[i];
    PageArm {
        anchor: format!("arm-{i}"),
        command: report.calls.keys().position(|name| *name == arm.label(label::EXPERIMENT)).unwrap_or(0),
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
    let error = match &run.state {
        crate::State::Failed { error } => error.clone(),
        crate::State::Done { .. } | crate::State::Missing => String::new(),
    };
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
    let several = report.calls.len() > 1;
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
