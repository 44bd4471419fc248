//! `manifest.json`: from every number in the tables to the runs it is made of, and to the digests of their results; and
//! the report's own files with their digests, by which the next report knows them.

use std::fmt::Write;
use std::path::Path;

use lrlab_runs::write_atomic_parts;
use serde_json::{Value as Json, json};

use crate::figure::FOREST;
use crate::{Error, Figure, Report, Row, Run, State, Table, Value, forest};

/// Its name.
pub(crate) const MANIFEST: &str = "manifest.json";
/// By which one is known.
pub(crate) const FORMAT: &str = "lrlab report manifest v1";

/// All of the file but its list of files: one line per run, number and figure, so that it can be searched and compared
/// line by line.
pub(crate) struct Manifest(String);

impl Manifest {
    pub(crate) fn of(report: &Report, tables: &[Table], figures: &[Figure]) -> Result<Self, Error> {
        let mut out = format!("{{\n\"format\": \"{FORMAT}\",\n");
        for (key, value) in [
            ("experiment", serde_json::to_string(&report.experiment)?),
            ("counts", serde_json::to_string(&report.counts)?),
            ("origin", serde_json::to_string(&report.origin)?),
        ] {
            let _ = writeln!(out, "\"{key}\": {value},");
        }
        section(&mut out, "runs", report.runs().map(run))?;
        section(&mut out, "numbers", tables.iter().flat_map(numbers))?;
        let drawn =
            |name: &str, caption: &str| json!({ "file": format!("figures/{name}.svg"), "caption": caption });
        let forest = forest(report).map(|it| drawn(FOREST, &it.caption));
        let figures = figures.iter().map(|it| drawn(&it.name, &it.caption));
        section(&mut out, "figures", forest.into_iter().chain(figures))?;
        Ok(Self(out))
    }

    /// Writes the whole file. `files` are the report's own, with their digests.
    pub(crate) fn write(&self, path: &Path, files: &[(String, String)]) -> Result<(), Error> {
        let file = |(name, digest): &(String, String)| json!({ "file": name, "blake3": digest });
        let mut end = String::new();
        section(&mut end, "files", files.iter().map(file))?;
        let end = end.trim_end_matches([',', '\n']);
        Ok(write_atomic_parts(path, &[self.0.as_bytes(), end.as_bytes(), b"\n}\n"])?)
    }
}

fn section(out: &mut String, name: &str, lines: impl Iterator<Item = Json>) -> Result<(), Error> {
    let _ = writeln!(out, "\"{name}\": [");
    for (i, line) in lines.enumerate() {
        out.push_str(if i == 0 { "" } else { ",\n" });
        out.push_str(&serde_json::to_string(&line)?);
    }
    out.push_str("\n],\n");
    Ok(())
}

fn run(run: &Run) -> Json {
    let digest = match &run.state {
        State::Done { digest, .. } => Some(digest.as_str()),
        State::Failed { .. } | State::Missing => None,
    };
    json!({ "run_id": run.id, "state": run.word(), "cell": run.cell, "result_blake3": digest })
}

/// Every number of a table with the runs it is made of.
fn numbers(table: &Table) -> impl Iterator<Item = Json> {
    let rows = table.rows.iter().enumerate();
    rows.flat_map(move |(row, Row { cells, .. })| {
        let made = table.columns.iter().zip(cells).filter(|(_, cell)| !cell.runs.is_empty());
        made.map(move |(column, cell)| {
            json!({
                "table": format!("tables/{}.csv", table.name),
                "row": row + 1,
                "column": column.key,
                "shown": cell.value.to_string(),
                "value": number(&cell.value),
                "runs": cell.runs,
            })
        })
    })
}

fn number(value: &Value) -> Json {
    value.sort_key().filter(|x| x.is_finite()).map_or(Json::Null, Json::from)
}
