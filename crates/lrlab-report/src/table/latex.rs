//! Tables as LaTeX with `booktabs`: `\input` them where a table should float.

use super::{Table, Value};

/// A `table` environment; needs `\usepackage{booktabs}` and nothing else.
pub(crate) fn latex(table: &Table, experiment: &str) -> String {
    let columns: String = table.columns.iter().map(|c| if c.numeric { 'r' } else { 'l' }).collect();
    let mut out = format!(
        "% {}: needs \\usepackage{{booktabs}}\n\\begin{{table}}[tbp]\n  \\centering\\small\\setlength{{\\tabcolsep}}{{4pt}}\n  \
         \\caption{{{}}}\n  \\label{{tab:{}-{}}}\n  \\begin{{tabular}}{{@{{}}{columns}@{{}}}}\n    \\toprule\n",
        table.name,
        escape(&table.caption),
        crate::label::slug(experiment),
        table.name,
    );
    let mut line = |cells: Vec<String>| {
        out.push_str("    ");
        out.push_str(&cells.join(" & "));
        out.push_str(" \\\\\n");
    };
    line(table.columns.iter().map(|c| escape(&c.title)).collect());
    if table.columns.iter().any(|c| !c.detail.is_empty()) {
        line(table.columns.iter().map(|c| escape(&c.detail)).collect());
    }
    out.push_str("    \\midrule\n");
    for (i, row) in table.rows.iter().enumerate() {
        if row.rule && i > 0 {
            out.push_str("    \\addlinespace\n");
        }
        let cells: Vec<String> = row
            .cells
            .iter()
            .map(|cell| {
                let text = escape(&cell.value.to_string());
                if cell.bold { bold(&cell.value, &text) } else { text }
            })
            .collect();
        // A bracket after \\ would be read as its optional argument.
        let start = if cells.first().is_some_and(|c| c.starts_with('[')) { "{}" } else { "" };
        out.push_str(&format!("    {start}{} \\\\\n", cells.join(" & ")));
    }
    out.push_str("    \\bottomrule\n  \\end{tabular}\n\\end{table}\n");
    out
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
