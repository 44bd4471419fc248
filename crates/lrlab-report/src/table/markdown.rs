//! Tables as GitHub-flavored Markdown.

use super::Table;

/// A pipe table.
pub(crate) fn markdown(table: &Table) -> String {
    let mut out = String::new();
    let mut line = |cells: Vec<String>| {
        out.push_str("| ");
        out.push_str(&cells.join(" | "));
        out.push_str(" |\n");
    };
    line(table.shown().map(|(_, c)| escape(&c.heading())).collect());
    line(table.shown().map(|(_, c)| if c.numeric { "---:" } else { "---" }.to_owned()).collect());
    for row in &table.rows {
        let show = |cell: &super::TableCell| {
            let text = escape(&cell.value.to_string());
            if cell.bold { format!("**{text}**") } else { text }
        };
        line(table.shown().map(|(i, _)| show(&row.cells[i])).collect());
    }
    out
}

/// Escapes the special characters of Markdown and HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\n' | '\r' => out.push(' '),
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
        check("a|b", "a\\|b");
        check("<script>", "&lt;script&gt;");
        check("a_b*c*", "a\\_b\\*c\\*");
        check("two\nlines", "two lines");
    }
}
