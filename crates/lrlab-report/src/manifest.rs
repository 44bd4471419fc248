//! `manifest.json`: the runs behind every number in the tables with the digests of their results, and the report's files
//! with their digests, by which the next report recognises them.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use lrlab_runs::{RunId, write_atomic_with};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::figure::FOREST;
use crate::{Error, Figure, Report, Row, Run, State, Table, forest};

/// The file name.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The format identifier in the file.
pub(crate) const FORMAT: &str = "lrlab report manifest v1";

/// The contents of the manifest except its list of files: one line per run, number and figure, so that the file can be
/// searched and compared line by line. It is generated while it is written to limit memory use.
pub(crate) struct Manifest<'a> {
    pub(crate) report: &'a Report,
    pub(crate) tables: &'a [Table],
    pub(crate) figures: &'a [Figure],
}

impl Manifest<'_> {
    /// Writes the manifest. `files` are the report's files with their digests.
    pub(crate) fn write(&self, path: &Path, files: &[(String, String)]) -> Result<(), Error> {
        Ok(write_atomic_with(path, |out| self.lines(out, files))?)
    }

    /// Writes a temporary manifest with only the list of files, for the time in which they are replaced.
    pub(crate) fn write_files(path: &Path, files: &[(String, String)]) -> Result<(), Error> {
        Ok(write_atomic_with(path, |out| {
            writeln!(out, "{{\n\"format\": \"{FORMAT}\",")?;
            file_lines(out, files)
        })?)
    }

    fn lines(&self, out: &mut dyn Write, files: &[(String, String)]) -> io::Result<()> {
        let Self { report, tables, figures } = *self;
        writeln!(out, "{{\n\"format\": \"{FORMAT}\",")?;
        for (key, value) in [
            ("experiment", serde_json::to_string(&report.experiment)?),
            ("counts", serde_json::to_string(&report.counts)?),
            ("origin", serde_json::to_string(&report.origin)?),
        ] {
            writeln!(out, "\"{key}\": {value},")?;
        }
        section(out, "runs", report.runs().map(run), ",")?;
        let known: BTreeSet<&RunId> = report.runs().filter(|run| run.identified).map(|run| &run.id).collect();
        section(out, "numbers", tables.iter().flat_map(|table| numbers(table, &known)), ",")?;
        let drawn =
            |name: &str, caption: &str| json!({ "file": format!("figures/{name}.svg"), "caption": caption });
        let forest = forest(report).map(|it| drawn(FOREST, &it.caption));
        let figures = figures.iter().map(|it| drawn(&it.name, &it.caption));
        section(out, "figures", forest.into_iter().chain(figures), ",")?;
        file_lines(out, files)
    }
}

fn file_lines(out: &mut dyn Write, files: &[(String, String)]) -> io::Result<()> {
    let file = |(name, digest): &(String, String)| json!({ "file": name, "blake3": digest });
    section(out, "files", files.iter().map(file), "")?;
    writeln!(out, "}}")
}

fn section(
    out: &mut dyn Write,
    name: &str,
    lines: impl Iterator<Item = impl Serialize>,
    end: &str,
) -> io::Result<()> {
    writeln!(out, "\"{name}\": [")?;
    for (i, line) in lines.enumerate() {
        out.write_all(if i == 0 { b"" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &line)?;
    }
    writeln!(out, "\n]{end}")
}

fn run(run: &Run) -> Json {
    let digest = match &run.state {
        State::Done { digest, .. } => Some(digest.as_str()),
        State::Failed { .. } | State::Missing => None,
    };
    let id = run.identified.then_some(&run.id);
    json!({ "run_id": id, "state": run.word(), "cell": run.cell, "result_blake3": digest })
}

/// A number of a table.
#[derive(Serialize)]
struct Number<'a> {
    column: &'a str,
    row: usize,
    runs: Vec<&'a str>,
    shown: String,
    table: String,
    value: Option<f64>,
}

/// Every number of a table with its runs, of which only those in `known` have an id.
fn numbers<'a>(table: &'a Table, known: &'a BTreeSet<&RunId>) -> impl Iterator<Item = Number<'a>> {
    let rows = table.rows.iter().enumerate();
    rows.flat_map(move |(row, Row { cells, .. })| {
        let made = table.columns.iter().zip(cells).filter(|(_, cell)| !cell.runs.is_empty());
        made.map(move |(column, cell)| Number {
            column: &column.key,
            row: row + 1,
            runs: cell.runs.iter().filter(|id| known.contains(id)).map(RunId::as_str).collect(),
            shown: cell.value.to_string(),
            table: format!("tables/{}.csv", table.name),
            value: cell.value.sort_key().filter(|x| x.is_finite()),
        })
    })
}
