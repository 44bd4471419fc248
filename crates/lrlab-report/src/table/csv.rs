//! Tables as CSV (RFC 4180) for programs: raw numbers in the shortest decimals that read back, nothing rounded, one
//! column for each number. What is missing is empty.

use std::borrow::Cow;

use super::{Table, Value};

/// The whole file.
pub(crate) fn csv(table: &Table) -> String {
    let rows = table.rows.iter().map(|row| row.cells.iter().flat_map(|cell| fields(&cell.value)).collect());
    file([header(table)].into_iter().chain(rows))
}

/// A file of lines, fields quoted where they have to be.
pub(crate) fn file(lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        // Memory takes any number of fields of any length.
        let _ = writer.write_record(line.iter().map(|field| guarded(field).into_owned()));
    }
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// No two columns share a name, whatever the axes of a grid are called.
fn header(table: &Table) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in table.columns.iter().flat_map(|column| &column.fields) {
        let free = |name: &String| !names.contains(name);
        let mut other = (2..).map(|n| format!("{name}_{n}"));
        let name = if free(name) { name.clone() } else { other.find(free).unwrap_or_default() };
        names.push(name);
    }
    names
}

fn fields(value: &Value) -> Vec<String> {
    let number = |x: Option<f64>| x.map_or_else(String::new, |x| format!("{x}"));
    let whole = |n: &usize| n.to_string();
    let bounds = |b: Option<(f64, f64)>| [number(b.map(|b| b.0)), number(b.map(|b| b.1))];
    match value {
        Value::Text(text) => vec![text.clone()],
        Value::Label(text) => vec![text.clone().unwrap_or_default()],
        Value::Count(n) => vec![n.to_string()],
        Value::Share(have, of) => vec![whole(have), whole(of)],
        Value::Runs(done, planned, diverged) => [done, planned, diverged].map(whole).to_vec(),
        Value::Signs(signs) => {
            signs.map_or_else(|| vec![String::new(); 3], |signs| signs.iter().map(whole).collect())
        }
        Value::Times(epochs) => vec![epochs.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")],
        Value::Told { number, word, .. } => {
            vec![number.map_or_else(String::new, |n| n.to_string()), (*word).to_owned()]
        }
        Value::Claimed { compare, value, tolerance, than, .. } => {
            vec![(*compare).to_owned(), number(*value), number(*tolerance), than.clone()]
        }
        Value::Number(x, _) | Value::Plain(x, _) | Value::Scientific(x) | Value::P(x) => vec![number(*x)],
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

/// A spreadsheet takes a leading =, + or @ for a formula.
fn guarded(field: &str) -> Cow<'_, str> {
    let formula = field.starts_with(['=', '+', '@']) && field.parse::<f64>().is_err();
    if formula { format!("'{field}").into() } else { field.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;

    #[test]
    fn fields_are_quoted() {
        let check = |field: &str, expected: &str| {
            let line = vec![field.to_owned(), String::new()];
            assert_eq!(file([line].into_iter()), format!("{expected},\n"));
        };
        check("plain", "plain");
        check("a,b", "\"a,b\"");
        check("say \"so\"", "\"say \"\"so\"\"\"");
        check("two\nlines", "\"two\nlines\"");
        check("=SUM(A1)", "'=SUM(A1)");
        check("-0.5", "-0.5");
        check("+0.5", "+0.5");
    }

    #[test]
    fn no_two_columns_share_a_name() {
        let columns = ["runs", "seed", "runs_planned"].map(|axis| Column::text(axis, axis));
        let own = [
            Column::number("runs", "runs", "").fields(&["runs", "runs_planned"]),
            Column::text("seed", "seed"),
        ];
        let table = Table {
            name: "t",
            title: String::new(),
            caption: String::new(),
            columns: columns.into_iter().chain(own).collect(),
            rows: Vec::new(),
            long: false,
        };
        assert_eq!(csv(&table), "runs,seed,runs_planned,runs_2,runs_planned_2,seed_2\n");
    }
}
