//! `report.html` and `report.md`, from templates in this crate.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use crate::table::{Link, Table, markdown as table_markdown, markdown_escape};
use crate::{Error, Figure, Report, Run, tables};

const HTML: &str = include_str!("templates/report.html");
const MARKDOWN: &str = include_str!("templates/report.md");
const STYLE: &str = include_str!("templates/style.css");
const SCRIPT: &str = include_str!("templates/page.js");

/// Runs are made again in a store of this name, beside the one that the report is of.
const REPEATED: &str = "repeated";

/// Longer tables are linked from `report.md`, not shown: a repository's pages do not render files of any size.
const MARKDOWN_ROWS: usize = 100;

#[derive(Serialize)]
struct Page<'a> {
    experiment: &'a str,
    description: &'a str,
    progress: String,
    complete: bool,
    facts: Vec<Fact>,
    warnings: &'a [String],
    arms: Vec<PageArm>,
    folder: Option<&'a str>,
    cost: String,
    tables: Vec<PageTable>,
    figures: Vec<PageFigure>,
    style: &'static str,
    script: &'static str,
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
    rows: Vec<PageRow>,
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
    hint: String,
}

#[derive(Serialize)]
struct PageFigure {
    name: String,
    title: String,
    caption: String,
    svg: String,
    paper: bool,
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

/// One file, no network.
pub(crate) fn html(
    report: &Report,
    tables: &[Table],
    figures: &[Figure],
    drawn: &[String],
) -> Result<String, Error> {
    let mut env = environment()?;
    env.set_auto_escape_callback(|_| AutoEscape::Html);
    env.add_template("report.html", HTML)?;
    render(&env, "report.html", report, tables, figures, drawn)
}

/// For a repository: tables as text, figures by path.
pub(crate) fn markdown(report: &Report, tables: &[Table], figures: &[Figure]) -> Result<String, Error> {
    let mut env = environment()?;
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.add_filter("md", |text: String| markdown_escape(&text));
    env.add_template("report.md", MARKDOWN)?;
    render(&env, "report.md", report, tables, figures, &[])
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
    tables: &[Table],
    figures: &[Figure],
    drawn: &[String],
) -> Result<String, Error> {
    let tables: Vec<PageTable> = tables.iter().map(page_table).collect();
    let figures: Vec<PageFigure> = figures
        .iter()
        .enumerate()
        .map(|(i, figure)| PageFigure {
            name: figure.name.clone(),
            title: figure.title.clone(),
            caption: figure.caption.clone(),
            svg: drawn.get(i).cloned().unwrap_or_default(),
            paper: figure.paper,
        })
        .collect();
    let page = Page {
        experiment: &report.experiment,
        description: &report.description,
        progress: tables::progress(&report.counts),
        complete: report.counts.done == report.counts.planned,
        facts: facts(report),
        warnings: &report.warnings,
        arms: (0..report.arms.len()).map(|i| page_arm(report, i)).collect(),
        folder: report.call.as_ref().map(|call| call.folder.as_str()),
        cost: tables::total(report),
        tables,
        figures,
        style: STYLE,
        script: SCRIPT,
    };
    let mut text = env.get_template(name)?.render(minijinja::value::Serde(page))?;
    // HTML has no other control characters, and names may come from anywhere.
    text.retain(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    // Jinja drops the last line's end.
    text.push('\n');
    Ok(text)
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

fn page_table(table: &Table) -> PageTable {
    let columns = table
        .shown()
        .map(|(_, c)| PageColumn { title: c.title.clone(), detail: c.detail.clone(), numeric: c.numeric })
        .collect();
    let rows = table
        .rows
        .iter()
        .map(|row| PageRow {
            rule: row.rule,
            cells: table.shown().map(|(i, column)| page_cell(row, &row.cells[i], column)).collect(),
        })
        .collect();
    PageTable {
        name: table.name,
        title: table.title.clone(),
        caption: table.caption.clone(),
        long: table.long,
        latex: table.fits_latex(),
        columns,
        rows,
        markdown: if table.rows.len() <= MARKDOWN_ROWS { table_markdown(table) } else { String::new() },
    }
}

fn page_cell(row: &crate::table::Row, cell: &crate::table::TableCell, column: &crate::Column) -> PageCell {
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
    let hint = match &cell.runs[..] {
        [] => String::new(),
        runs => format!("from {}", runs.iter().map(lrlab_runs::RunId::short).collect::<Vec<_>>().join(", ")),
    };
    PageCell {
        text,
        class: class.join(" "),
        sort: cell.value.sort_key().filter(|x| x.is_finite()),
        href,
        hint,
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
