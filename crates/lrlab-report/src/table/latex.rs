//! Tables as LaTeX floats with `booktabs`, for `\input`.

use std::fmt::Write;

use super::tex::{escape, needs_t1};
use super::{Column, Row, Table, TableCell, Value};

/// The number of characters in `\small` that fit into the text width.
const PAGE: usize = 90;

/// A `table` environment. A comment in the first line lists the required packages: `booktabs`, `graphicx` if the table is
/// wider than the text, and the T1 font encoding if a letter requires it.
pub(crate) fn latex(table: &Table, experiment: &str) -> String {
    let shown: Vec<usize> = table.shown().map(|(i, _)| i).collect();
    let cells = |row: &Row| -> Vec<String> { shown.iter().map(|i| show(&row.cells[*i])).collect() };
    let columns: String = shown.iter().map(|i| if table.columns[*i].numeric { 'r' } else { 'l' }).collect();
    let wide = width(table) > PAGE;
    let packages = if wide { "booktabs,graphicx" } else { "booktabs" };
    let (open, close) = if wide { ("\\resizebox{\\linewidth}{!}{%\n  ", "}") } else { ("", "") };
    let mut out = String::new();
    let _ = writeln!(out, "\\begin{{table}}[htbp]\n  \\centering\\small\\setlength{{\\tabcolsep}}{{4pt}}");
    let _ = writeln!(out, "  \\caption{{{}}}", escape(&table.caption));
    let _ = writeln!(out, "  \\label{{tab:{}-{}}}", crate::label::reference(experiment), table.name);
    let _ = writeln!(out, "  {open}\\begin{{tabular}}{{@{{}}{columns}@{{}}}}\n    \\toprule");
    line(&mut out, &shown.iter().map(|i| escape(&table.columns[*i].title)).collect::<Vec<_>>());
    if shown.iter().any(|i| !table.columns[*i].detail.is_empty()) {
        line(&mut out, &shown.iter().map(|i| escape(&table.columns[*i].detail)).collect::<Vec<_>>());
    }
    out.push_str("    \\midrule\n");
    for (i, row) in table.rows.iter().enumerate() {
        if row.rule && i > 0 {
            out.push_str("    \\addlinespace\n");
        }
        line(&mut out, &cells(row));
    }
    let _ = writeln!(out, "    \\bottomrule\n  \\end{{tabular}}{close}\n\\end{{table}}");
    let encoding = if needs_t1(&out) { "\\usepackage[T1]{fontenc}" } else { "" };
    format!("% {}.tex: needs \\usepackage{{{packages}}}{encoding}\n{out}", table.name)
}

fn line(out: &mut String, cells: &[String]) {
    // A bracket after \\ would start its optional argument, and a star belong to it.
    let guard = if cells.first().is_some_and(|cell| cell.starts_with(['[', '*'])) { "{}" } else { "" };
    let _ = writeln!(out, "    {guard}{} \\\\", cells.join(" & "));
}

fn show(cell: &TableCell) -> String {
    let text = escape(&cell.value.to_string());
    if cell.bold { bold(&cell.value, &text) } else { text }
}

/// The widest row in characters.
fn width(table: &Table) -> usize {
    let column = |(i, column): (usize, &Column)| {
        let cells = table.rows.iter().map(|row| row.cells[i].value.to_string().chars().count());
        cells.chain([column.title.chars().count(), column.detail.chars().count()]).max().unwrap_or(0) + 1
    };
    table.shown().map(column).sum()
}

fn bold(value: &Value, text: &str) -> String {
    match value {
        Value::Estimate(..) | Value::Difference(..) => format!("\\textbf{{\\boldmath {text}}}"),
        _ => format!("\\textbf{{{text}}}"),
    }
}
