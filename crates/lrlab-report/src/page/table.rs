//! A table on the page.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use crate::Column;
use crate::table::{Link, Row, Table, markdown as table_markdown};

/// The maximum number of table rows on the page; the CSV file has all of them.
const PAGE_ROWS: usize = 2000;

/// Tables with more rows are linked from `report.md` instead of included.
const MARKDOWN_ROWS: usize = 100;

/// A table with only the rows that the page shows.
pub(crate) struct Excerpt {
    pub(super) table: Table,
    /// The number of rows of the whole table.
    rows: usize,
}

impl Excerpt {
    pub(crate) fn of(mut table: Table) -> Self {
        let rows = table.rows.len();
        table.rows.truncate(PAGE_ROWS);
        Self { table, rows }
    }
}

#[derive(Serialize)]
pub(super) struct PageTable {
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

/// Returns one of the tables as the templates show it.
///
/// Links to runs have the first `digits` digits of their ids.
pub(super) fn page_table(tables: &Arc<[Excerpt]>, index: usize, digits: usize) -> PageTable {
    let Excerpt { table, rows: count } = &tables[index];
    let columns = table
        .shown()
        .map(|(_, c)| PageColumn { title: c.title.clone(), detail: c.detail.clone(), numeric: c.numeric })
        .collect();
    let (count, shown) = (*count, table.rows.len());
    PageTable {
        name: table.name,
        title: table.title.clone(),
        caption: [table.caption.clone(), hidden(table)].join(" ").trim_end().to_owned(),
        long: table.long,
        latex: table.fits_latex(),
        columns,
        rows: minijinja::Value::make_object_iterable((Arc::clone(tables), index), move |(tables, index)| {
            let table = &tables[*index].table;
            let row =
                move |row| minijinja::Value::from(minijinja::value::Serde(page_row(table, row, digits)));
            Box::new(table.rows.iter().map(row))
        }),
        count,
        more: count - shown,
        markdown: if count <= MARKDOWN_ROWS { table_markdown(table) } else { String::new() },
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
pub(super) fn column_style(table: &Table) -> String {
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

/// A row of the page. One cell links to the row's arm or run: the run id, or else the first number with runs.
fn page_row(table: &Table, row: &Row, digits: usize) -> PageRow {
    let has_ids = table.columns.iter().any(|column| column.key == "run_id");
    let linked = |(i, column): &(usize, &Column)| match &row.link {
        Some(Link::Run(_)) if has_ids => column.key == "run_id",
        Some(_) | None => !row.cells[*i].runs.is_empty(),
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
            Some(Link::Run(id)) => format!("#run-{}", id.as_str().get(..digits).unwrap_or_default()),
            None => "#runs".to_owned(),
        });
        PageCell { text, class: class.join(" "), href }
    };
    PageRow { rule: row.rule, cells: table.shown().map(cell).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TableCell, Value};

    /// The page names the number of rows that it leaves out.
    #[test]
    fn long_tables_are_cut() {
        let shown = |rows: u64| {
            let row = |i| Row { cells: vec![TableCell::from(Value::Count(i))], rule: false, link: None };
            let table = Table {
                name: "t",
                title: String::new(),
                caption: String::new(),
                columns: vec![Column::number("i", "i", "")],
                rows: (0..rows).map(row).collect(),
                long: true,
            };
            let page = page_table(&[Excerpt::of(table)].into(), 0, 8);
            (page.rows.try_iter().unwrap().count(), page.count, page.more, page.markdown.is_empty())
        };
        assert_eq!(shown(0), (0, 0, 0, false));
        assert_eq!(shown(100), (100, 100, 0, false));
        assert_eq!(shown(101), (101, 101, 0, true));
        assert_eq!(shown(2000), (2000, 2000, 0, true));
        assert_eq!(shown(2003), (2000, 2003, 3, true));
    }
}
