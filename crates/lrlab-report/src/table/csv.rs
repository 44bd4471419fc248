//! Tables as CSV (RFC 4180): unrounded numbers in their shortest round-trip representation, one column per number. Missing
//! values are empty fields.

use std::borrow::Cow;
use std::io;

use super::{Table, Value};
use crate::Error;

/// Writes a table as CSV.
///
/// # Errors
/// Returns an error if a row does not have one cell per column, or writing fails.
pub(crate) fn csv(table: &Table, out: &mut dyn io::Write) -> Result<(), Error> {
    let rows = table.rows.iter().map(|row| row.cells.iter().flat_map(|cell| fields(&cell.value)).collect());
    file(table.name, [header(table)].into_iter().chain(rows), out)
}

/// Writes lines, quoting fields as necessary.
///
/// # Errors
/// Returns [`Error::Csv`] if two lines differ in their number of fields, or writing fails.
pub(crate) fn file(
    name: &str,
    lines: impl Iterator<Item = Vec<String>>,
    out: &mut dyn io::Write,
) -> Result<(), Error> {
    let failed = |message: String| Error::Csv { table: name.to_owned(), message };
    let mut writer = csv::Writer::from_writer(out);
    for (i, line) in lines.enumerate() {
        let fields = line.iter().map(|field| guarded(field).into_owned());
        writer.write_record(fields).map_err(|error| failed(format!("line {}: {error}", i + 1)))?;
    }
    writer.flush().map_err(|error| failed(error.to_string()))
}

fn header(table: &Table) -> Vec<String> {
    names(table.columns.iter().flat_map(|column| &column.fields).map(String::as_str))
}

/// Makes column names unique by numeric suffixes.
pub(crate) fn names<'a>(wanted: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in wanted {
        let free = |name: &String| !names.contains(name);
        let mut others = (2..).map(|n| format!("{name}_{n}"));
        let name = Some(name.to_owned()).filter(free).or_else(|| others.find(free)).unwrap_or_default();
        names.push(name);
    }
    names
}

fn fields(value: &Value) -> Vec<String> {
    let number = |x: Option<f64>| x.map_or_else(String::new, |x| format!("{x}"));
    let whole = |n: &usize| n.to_string();
    let bounds = |b: Option<(f64, f64)>| [number(b.map(|b| b.0)), number(b.map(|b| b.1))];
    match value {
        Value::Text(text) | Value::Id(text, _) => vec![text.clone()],
        Value::Label(text) => vec![text.clone().unwrap_or_default()],
        Value::Diverged => vec![String::new()],
        Value::Count(n) => vec![n.to_string()],
        Value::Share(have, of) => vec![whole(have), whole(of)],
        Value::Runs(done, planned, diverged) => [done, planned, diverged].map(whole).to_vec(),
        Value::Signs(signs) => {
            signs.map_or_else(|| vec![String::new(); 3], |signs| signs.iter().map(whole).collect())
        }
        Value::Times(epochs) => vec![epochs.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")],
        Value::Tagged { number, word, .. } => {
            vec![number.map_or_else(String::new, |n| n.to_string()), (*word).to_owned()]
        }
        Value::Claimed(it) => {
            vec![it.compare.to_owned(), number(it.value), number(it.tolerance), it.than.clone()]
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

/// Quotes a leading =, + or @, which a spreadsheet would interpret as a formula.
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
            let mut text = Vec::new();
            file("t", [line].into_iter(), &mut text).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), format!("{expected},\n"));
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
    fn rows_of_unequal_length_are_an_error() {
        let lines = [vec!["a".to_owned(), "b".to_owned()], vec!["1".to_owned()]];
        assert_eq!(
            file("results", lines.into_iter(), &mut Vec::new()).unwrap_err().to_string(),
            "tables/results.csv: line 2: CSV error: found record with 1 fields, but the previous \
             record has 2 fields"
        );
    }

    #[test]
    fn column_names_are_unique() {
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
        let mut text = Vec::new();
        csv(&table, &mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "runs,seed,runs_planned,runs_2,runs_planned_2,seed_2\n");
    }
}
