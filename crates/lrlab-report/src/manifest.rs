//! `manifest.json`: from every number in the tables to the runs it is made of, and to the digests of their results; and
//! the report's own files with their digests, by which the next report knows them.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use crate::{Error, Figure, Report, Run, State, Table, Value};

/// Its name.
pub(crate) const MANIFEST: &str = "manifest.json";
/// By which one is known.
pub(crate) const FORMAT: &str = "lrlab report manifest v1";

/// What it is of.
pub(crate) struct Manifest<'a> {
    pub(crate) report: &'a Report,
    pub(crate) tables: &'a [Table],
    pub(crate) figures: &'a [Figure],
}

impl Manifest<'_> {
    /// The whole file: one line per run, number, figure and file, so that it can be searched and compared line by line.
    /// `files` are the report's own, with their digests.
    pub(crate) fn text(&self, files: &[(String, String)]) -> Result<String, Error> {
        let Self { report, tables, figures } = self;
        let mut out = format!("{{\n\"format\": \"{FORMAT}\",\n");
        for (key, value) in [
            ("experiment", serde_json::to_string(&report.experiment)?),
            ("counts", serde_json::to_string(&report.counts)?),
            ("origin", serde_json::to_string(&report.origin)?),
        ] {
            let _ = writeln!(out, "\"{key}\": {value},");
        }
        section(&mut out, "runs", &report.runs().map(run).collect::<Vec<_>>())?;
        let numbers: Vec<Json> = tables.iter().flat_map(entries).collect();
        section(&mut out, "numbers", &numbers)?;
        let drawn =
            |it: &Figure| json!({ "file": format!("figures/{}.svg", it.name), "caption": it.caption });
        section(&mut out, "figures", &figures.iter().map(drawn).collect::<Vec<_>>())?;
        let file = |(name, digest): &(String, String)| json!({ "file": name, "blake3": digest });
        section(&mut out, "files", &files.iter().map(file).collect::<Vec<_>>())?;
        let end = out.trim_end_matches([',', '\n']).len();
        out.truncate(end);
        out.push_str("\n}\n");
        Ok(out)
    }
}

fn section(out: &mut String, name: &str, lines: &[Json]) -> Result<(), Error> {
    let lines: Vec<String> = lines.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    let _ = writeln!(out, "\"{name}\": [\n{}\n],", lines.join(",\n"));
    Ok(())
}

fn run(run: &Run) -> Json {
    let digest = match &run.state {
        State::Done { digest, .. } => Some(digest.as_str()),
        State::Failed { .. } | State::Missing => None,
    };
    json!({ "run_id": run.id, "state": run.word(), "cell": run.cell, "result_blake3": digest })
}

fn entries(table: &Table) -> Vec<Json> {
    let mut out = Vec::new();
    for (i, row) in table.rows.iter().enumerate() {
        for (column, cell) in table.columns.iter().zip(&row.cells) {
            if !cell.runs.is_empty() {
                out.push(json!({
                    "table": format!("tables/{}.csv", table.name),
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
