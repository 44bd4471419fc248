//! Tables as CSV (RFC 4180) for programs: raw numbers in the shortest decimals that read back, nothing rounded.
//! A cell with a spread becomes several columns; what is missing is empty.

use super::{Column, Table, Value};

/// The whole file.
pub(crate) fn csv(table: &Table) -> String {
    let mut out = String::new();
    let mut line = |fields: Vec<String>| {
        out.push_str(&fields.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(","));
        out.push('\n');
    };
    let shapes: Vec<Vec<&str>> = (0..table.columns.len())
        .map(|i| table.rows.first().map_or(vec![""], |row| suffixes(&row.cells[i].value)))
        .collect();
    let name = |(column, suffixes): (&Column, &Vec<&'static str>)| -> Vec<String> {
        suffixes.iter().map(|suffix| format!("{}{suffix}", column.key)).collect()
    };
    line(table.columns.iter().zip(&shapes).flat_map(name).collect());
    for row in &table.rows {
        line(row.cells.iter().flat_map(|cell| fields(&cell.value)).collect());
    }
    out
}

fn suffixes(value: &Value) -> Vec<&'static str> {
    match value {
        Value::Estimate(..) => vec!["_mean", "_std", "_n"],
        Value::Difference(..) => vec!["_mean", "_low", "_high", "_n"],
        Value::Interval(..) => vec!["_low", "_high"],
        _ => vec![""],
    }
}

fn fields(value: &Value) -> Vec<String> {
    let number = |x: Option<f64>| x.map_or_else(String::new, |x| format!("{x}"));
    let bounds = |b: Option<(f64, f64)>| [number(b.map(|b| b.0)), number(b.map(|b| b.1))];
    match value {
        Value::Text(text) => vec![text.clone()],
        Value::Count(n) => vec![n.to_string()],
        Value::Number(x, _) | Value::Plain(x, _) | Value::P(x) => vec![number(*x)],
        Value::Estimate(e, _) => {
            vec![number(e.summary.map(|s| s.mean)), number(e.summary.and_then(|s| s.std)), e.n().to_string()]
        }
        Value::Difference(d, ..) => {
            let [low, high] = bounds(d.and_then(|d| d.interval));
            vec![number(d.map(|d| d.mean)), low, high, d.map_or(0, |d| d.n).to_string()]
        }
        Value::Interval(b, _) => bounds(*b).to_vec(),
    }
}

fn quoted(field: &str) -> String {
    // A spreadsheet takes a leading =, + or @ for a formula.
    let formula = field.starts_with(['=', '+', '@']) && field.parse::<f64>().is_err();
    let field = if formula { format!("'{field}") } else { field.to_owned() };
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted() {
        let check = |field, expected: &str| assert_eq!(quoted(field), expected);
        check("plain", "plain");
        check("a,b", "\"a,b\"");
        check("say \"so\"", "\"say \"\"so\"\"\"");
        check("two\nlines", "\"two\nlines\"");
        check("=SUM(A1)", "'=SUM(A1)");
        check("-0.5", "-0.5");
        check("+0.5", "+0.5");
    }
}
