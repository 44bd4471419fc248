//! Tables as LaTeX with `booktabs`: `\input` them where a table should float.

use std::fmt::Write;

use super::{Column, Row, Table, TableCell, Value};

/// Characters of text that fit across a page in `\small`.
const PAGE: usize = 90;

/// A `table` environment; needs `\usepackage{booktabs}`, and `graphicx` where the table is wider than a page.
pub(crate) fn latex(table: &Table, experiment: &str) -> String {
    let shown: Vec<usize> = table.shown().map(|(i, _)| i).collect();
    let cells = |row: &Row| -> Vec<String> { shown.iter().map(|i| show(&row.cells[*i])).collect() };
    let columns: String = shown.iter().map(|i| if table.columns[*i].numeric { 'r' } else { 'l' }).collect();
    let wide = width(table) > PAGE;
    let packages = if wide { "booktabs,graphicx" } else { "booktabs" };
    let (open, close) = if wide { ("\\resizebox{\\textwidth}{!}{%\n  ", "}") } else { ("", "") };
    let mut out = String::new();
    let _ = writeln!(out, "% {}.tex: needs \\usepackage{{{packages}}}", table.name);
    let _ = writeln!(out, "\\begin{{table}}[tbp]\n  \\centering\\small\\setlength{{\\tabcolsep}}{{4pt}}");
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
    out
}

fn line(out: &mut String, cells: &[String]) {
    // After \\ a bracket would be read as its optional argument.
    let guard = if cells.first().is_some_and(|cell| cell.starts_with('[')) { "{}" } else { "" };
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

/// LaTeX's special characters, and the signs that this crate prints, as commands that every engine knows.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\textbackslash{}"),
            '{' | '}' | '_' | '%' | '&' | '#' | '$' => {
                out.push('\\');
                out.push(c);
            }
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("$<$"),
            '>' => out.push_str("$>$"),
            '|' => out.push_str("\\textbar{}"),
            '"' => out.push_str("\\textquotedbl{}"),
            '±' => out.push_str("$\\pm$"),
            '−' => out.push_str("$-$"),
            '–' => out.push_str("--"),
            '—' => out.push_str("---"),
            '…' => out.push_str("\\ldots{}"),
            '×' => out.push_str("$\\times$"),
            '·' => out.push_str("$\\cdot$"),
            '≥' => out.push_str("$\\geq$"),
            '≤' => out.push_str("$\\leq$"),
            'Δ' => out.push_str("$\\Delta$"),
            '→' => out.push_str("$\\to$"),
            '²' => out.push_str("$^2$"),
            'ⁿ' => out.push_str("$^n$"),
            '“' => out.push_str("``"),
            '”' => out.push_str("''"),
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specials() {
        let check = |text, expected: &str| assert_eq!(escape(text), expected);
        check("val_acc 50% & #1 $x$ {y}", "val\\_acc 50\\% \\& \\#1 \\$x\\$ \\{y\\}");
        check("a\\b ~ ^", "a\\textbackslash{}b \\textasciitilde{} \\textasciicircum{}");
        check("0.81 ± 0.01", "0.81 $\\pm$ 0.01");
        check("−1 < 2 – … \n", "$-$1 $<$ 2 -- \\ldots{}  ");
        check("\u{0}\u{7}x", "x");
    }
}
