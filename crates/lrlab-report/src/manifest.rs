//! `manifest.json`: from every number in the tables to the runs it is made of, and to the digests of their results.

use serde_json::{Map, Value as Json, json};

use crate::{Error, Report, State, Table, Value};

/// The whole file.
pub(crate) fn manifest(
    report: &Report,
    tables: &[Table],
    figures: &[crate::Figure],
) -> Result<String, Error> {
    let mut runs = Map::new();
    for run in report.runs() {
        let digest = match &run.state {
            State::Done { digest, .. } => Json::from(digest.as_str()),
            State::Failed { .. } | State::Missing => Json::Null,
        };
        runs.insert(
            run.id.to_string(),
            json!({ "state": run.word(), "cell": run.cell, "result_blake3": digest }),
        );
    }
    let mut numbers = Map::new();
    for table in tables {
        numbers.insert(format!("tables/{}.csv", table.name), Json::Array(entries(table)));
    }
    let drawn: Vec<Json> = figures
        .iter()
        .map(|f| json!({ "file": format!("figures/{}.svg", f.name), "caption": f.caption }))
        .collect();
    let whole = json!({
        "format": "lrlab report manifest v1",
        "experiment": report.experiment,
        "counts": report.counts,
        "origin": report.origin,
        "runs": runs,
        "tables": numbers,
        "figures": drawn,
    });
    let mut text = serde_json::to_string_pretty(&whole)?;
    text.push('\n');
    Ok(text)
}

fn entries(table: &Table) -> Vec<Json> {
    let mut out = Vec::new();
    for (i, row) in table.rows.iter().enumerate() {
        for (column, cell) in table.columns.iter().zip(&row.cells) {
            if !cell.runs.is_empty() {
                out.push(json!({
                    "row": i + 1,
                    "column": column.key,
                    "shown": cell.value.to_string(),
                    "value": number(&cell.value),
                    "runs": cell.runs,
                }));
            }
        }
    }
    out
}

fn number(value: &Value) -> Json {
    value.sort_key().filter(|x| x.is_finite()).map_or(Json::Null, Json::from)
}
