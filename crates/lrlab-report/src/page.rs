//! `report.html` and `report.md`, from templates in this crate.

mod curves;

use std::io;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use crate::answer::{Sentence, answer};
use crate::figure::{FOREST, Width};
use crate::report::LEAK;
use crate::staged::Write;
use crate::table::{Link, Row, Table, markdown as table_markdown, markdown_escape};
use crate::{Error, Figure, Report, Run, figure, tables};

const HTML: &str = include_str!("templates/report.html");
const MARKDOWN: &str = include_str!("templates/report.md");
const STYLE: &str = include_str!("templates/style.css");
/// In the order in which they run.
const SCRIPTS: [&str; 4] = [
    include_str!("templates/vendor/uplot/uPlot.iife.min.js"),
    include_str!("templates/page.js"),
    include_str!("templates/tables.js"),
    include_str!("templates/curves.js"),
];
/// The library that draws the curves: its style, and the notice that its licence asks for.
const UPLOT_STYLE: &str = include_str!("templates/vendor/uplot/uPlot.min.css");
const UPLOT_LICENCE: &str = include_str!("templates/vendor/uplot/LICENSE");

/// Runs are made again in a store of this name, beside the one that the report is of.
const REPEATED: &str = "repeated";

/// A table of more rows goes on in its CSV alone: browsers do not lay out tables of any size.
const PAGE_ROWS: usize = 2000;

/// Longer tables are linked from `report.md`, not shown: a repository's pages do not render files of any size.
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
    folder: Option<&'a str>,
    cost: String,
    tables: Vec<PageTable>,
    figures: Vec<PageFigure<'a>>,
    style: &'static str,
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
    /// Made one by one, while the page is written.
    rows: minijinja::Value,
    count: usize,
    /// Rows that are in the CSV alone.
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
    sort: Option<f64>,
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

/// The answer's figure, drawn for a page and for a phone.
#[derive(Serialize)]
struct PageForest {
    name: &'static str,
    caption: String,
    page: String,
    phone: String,
}

#[derive(Serialize)]
struct PageArm {
    anchor: String,
    name: String,
    runs: Vec<PageRun>,
}

#[derive(Serialize)]
struct PageRun {
    id: String,
    seed: String,
    word: &'static str,
    command: Option<String>,
    error: String,
}

/// What the one file of the page has in itself.
#[derive(Default)]
struct Inline<'a> {
    /// The figures as SVG.
    drawn: &'a [String],
    /// The runs' curves as JSON, unless there are too many.
    curves: Option<&'a str>,
    /// Whether runs are under way: the page loads itself again.
    open: bool,
}

/// Adds a file by its name and by what writes it.
type Add<'a> = &'a mut dyn FnMut(&str, Write<'_>) -> Result<(), Error>;

/// One file, no network, and its figures beside it.
pub(crate) fn html(
    report: &Report,
    tables: &Arc<Vec<Table>>,
    figures: &[Figure],
    open: bool,
    add: Add<'_>,
) -> Result<(), Error> {
    let mut env = environment()?;
    env.set_auto_escape_callback(|_| AutoEscape::Html);
    env.add_template("report.html", HTML)?;
    let drawn: Vec<String> = figures.iter().map(figure::panels).collect();
    for it in figures {
        let svg = figure::svg(it);
        add(&format!("figures/{}.svg", it.name), &mut |file| Ok(file.write_all(svg.as_bytes())?))?;
    }
    if let Some(forest) = &figure::forest(report) {
        let svg = figure::forest_svg(forest, Width::Page);
        add(&format!("figures/{FOREST}.svg"), &mut |file| Ok(file.write_all(svg.as_bytes())?))?;
    }
    let curves = curves::json(report)?;
    let inline = Inline { drawn: &drawn, curves: curves.as_deref(), open };
    add("report.html", &mut |file| render(&env, "report.html", report, tables, figures, &inline, file))
}

/// For a repository: tables as text, figures by path.
pub(crate) fn markdown(
    report: &Report,
    tables: &Arc<Vec<Table>>,
    figures: &[Figure],
) -> Result<String, Error> {
    let mut env = environment()?;
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.add_filter("md", |text: String| markdown_escape(&text));
    env.add_template("report.md", MARKDOWN)?;
    let mut text = Vec::new();
    render(&env, "report.md", report, tables, figures, &Inline::default(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Lines that hold nothing but a block leave no trace.
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
        page: figure::forest_svg(&forest, Width::Page),
        phone: figure::forest_svg(&forest, Width::Phone),
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
        arms: (0..report.arms.len()).map(|i| page_arm(report, i)).collect(),
        folder: report.call.as_ref().map(|call| call.folder.as_str()),
        cost: tables::total(report),
        tables,
        figures,
        style: STYLE,
        scripts: &SCRIPTS,
        curves: inline.curves,
        most_runs: curves::MOST_RUNS,
        uplot_style: UPLOT_STYLE,
        uplot_licence: UPLOT_LICENCE,
    };
    let page = minijinja::value::Serde(page);
    env.get_template(name)?.render_captured_to(page, Clean(&mut *out))?;
    // Jinja drops the last line's end.
    Ok(out.write_all(b"\n")?)
}

/// Passes text on without control characters other than the ends of lines and tabs: HTML has no others, and names may
/// come from anywhere.
struct Clean<W>(W);

impl<W: io::Write> io::Write for Clean<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Templates write whole texts.
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
    let mut seeds: Vec<String> = Vec::new();
    for run in report.runs() {
        if !seeds.contains(&run.seed) {
            seeds.push(run.seed.clone());
        }
    }
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

/// What every row of a table says alike, and a reader is not shown in each.
fn hidden(table: &Table) -> String {
    let Some(row) = table.rows.first() else { return String::new() };
    let constant = table.columns.iter().zip(&row.cells).filter(|(column, _)| column.constant);
    let words: Vec<String> =
        constant.map(|(column, cell)| format!("{} {}", column.title, cell.value)).collect();
    if words.is_empty() { String::new() } else { format!("The same in every row: {}.", words.join(", ")) }
}

fn page_row(table: &Table, row: &Row) -> PageRow {
    let cells = table.shown().map(|(i, column)| page_cell(row, &row.cells[i], column)).collect();
    PageRow { rule: row.rule, cells }
}

fn page_cell(row: &Row, cell: &crate::table::TableCell, column: &crate::Column) -> PageCell {
    let text = cell.value.to_string();
    let verdict = matches!(column.key.as_str(), "verdict" | "arm_verdict");
    let mut class = Vec::new();
    for (is, name) in [
        (column.numeric, "num"),
        (cell.bold, "best"),
        (cell.value.is_missing(), "missing"),
        (verdict, "verdict"),
        (verdict && text == "supported", "good"),
        (verdict && text == "contradicted", "bad"),
        (matches!(column.key.as_str(), "run_id" | "result_blake3"), "mono"),
        (matches!(column.key.as_str(), "text" | "reason" | "note" | "error" | "metric" | "arm"), "prose"),
    ] {
        if is {
            class.push(name);
        }
    }
    let href = (!cell.runs.is_empty()).then(|| match &row.link {
        Some(Link::Arm(arm)) => format!("#arm-{arm}"),
        Some(Link::Run(id)) => format!("#run-{id}"),
        None => "#runs".to_owned(),
    });
    PageCell {
        text,
        class: class.join(" "),
        sort: cell.value.sort_key().filter(|x| x.is_finite()).map(curves::short),
        href,
    }
}

fn page_arm(report: &Report, i: usize) -> PageArm {
    let arm = &report.arms[i];
    PageArm {
        anchor: format!("arm-{i}"),
        name: report
            .axes
            .iter()
            .map(|axis| format!("{axis} {}", arm.label(axis)))
            .collect::<Vec<_>>()
            .join(" · "),
        runs: arm.runs.iter().map(|run| page_run(report, run)).collect(),
    }
}

fn page_run(report: &Report, run: &Run) -> PageRun {
    let error = match &run.state {
        crate::State::Failed { error } => error.clone(),
        crate::State::Done { .. } | crate::State::Missing => String::new(),
    };
    PageRun {
        id: run.id.to_string(),
        seed: run.seed.clone(),
        word: run.word(),
        command: report.call.as_ref().map(|call| call.command(&run.id, REPEATED)),
        error,
    }
}
